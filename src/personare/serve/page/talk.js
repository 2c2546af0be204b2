// A live session: the voice of a text or of the microphone goes in, a speaking face comes out.
import { authorised, blob, dial, post, remove, until } from "./api.js";
import { $, complain, engineOf, fillAvatars, fillEngines, fillVoices, listen, present, reason } from "./common.js";
import { showControls, values } from "./options.js";
import { said, t } from "./words.js";

const OPTIONS = ["emotion", "style", "size", "audio"];
const CONNECT_MS = 5000, RECEIVED_MS = 200;  // what a receiver still holds of the old voice
let session = null, socket = null, sound = null, watcher = null, microphone = null, starting = false;

export async function begin() {
  $("live-engine").onchange = chooseEngine;
  $("live-avatar").onchange = () => { chooseEngine(); still(); };
  const orEnd = (act) => () => act().catch((error) => { end(); complain(error); });
  $("start").onclick = orEnd(start);
  $("stop").onclick = end;
  $("say").onclick = orEnd(sayIt);
  $("interrupt").onclick = interrupt;
  $("mic").onclick = () => (microphone ? stopMicrophone() : startMicrophone());
  addEventListener("keydown", (event) => {
    if ($("talk").hidden) return;
    if (event.key === "Escape" && session) interrupt();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); $("say").click(); }
  });
  document.onvisibilitychange = () => send(document.hidden ? "pause" : "resume");
  addEventListener("pagehide", () => session && fetch(`/v1/sessions/${session.id}`, { method: "DELETE", keepalive: true, headers: authorised() }));
  const isLive = (one) => one.driven_by?.includes("speech") && one.lookahead_seconds !== null;
  await Promise.all([fillVoices($("say-voice"), navigator.language), fillEngines($("live-engine"), isLive).then(chooseEngine)]);
}

export const show = () => fillAvatars($("live-avatar")).then(still);

function chooseEngine() {
  const field = $("live-engine"), own = engineOf($("live-avatar"));
  if (own) field.value = own;
  field.disabled = Boolean(own || session);
  const engine = engineOf(field);
  if (engine) showControls($("live-options"), engine, (name) => OPTIONS.includes(name), $("live-avatar").selectedOptions[0].kept);
}

// Who will speak, until the session shows it.
async function still() {
  const name = $("live-avatar").value;
  present($("still"), name && await blob(`/v1/avatars/${encodeURIComponent(name)}/preview.jpg`), "portrait.jpg");
}

async function start() {
  if (session || starting) return;
  starting = $("start").disabled = true;
  complain(null);
  state(t("connecting"));
  try {
    sound = new AudioContext({ sampleRate: 16000, latencyHint: "interactive" });  // within the tap: else it stays silent
    await sound.audioWorklet.addModule("worklet.js");
    await sound.resume();
    session = await post("/v1/sessions", {
      avatar: $("live-avatar").value || null, engine: $("live-engine").value || null,
      options: values($("live-options")), transport: $("transport").value,
    });
    [$("canvas").width, $("canvas").height] = session.size;
    let reason = session.reason;
    if (session.transport === "webrtc") {
      try {
        watcher = await webrtc();
      } catch (error) {
        reason = error.message;
        session.transport = "websocket";
      }
    }
    const isWebrtc = session.transport === "webrtc";
    await connect(isWebrtc ? "none" : "mjpeg");
    if (!isWebrtc) watcher = pictures();
    $("by").textContent = `${session.transport} — ${said(reason)}`;
    running(true);
    $("say-text").focus();
  } finally {
    starting = $("start").disabled = false;
  }
}

function end() {
  stopMicrophone();
  watcher?.close();
  const old = socket;
  socket = null;
  old?.close();
  if (session) remove(`/v1/sessions/${session.id}`).catch(() => {});
  sound?.close();
  session = watcher = sound = null;
  running(false);
  state("");
}

function running(is) {
  $("start").hidden = is;
  $("stop").hidden = !is;
  for (const field of $("who").querySelectorAll("select, input")) field.disabled = is;
  if (!is) $("live-engine").disabled = Boolean(engineOf($("live-avatar")));
  const isWebrtc = session?.transport === "webrtc";
  $("still").hidden = is;
  $("canvas").hidden = !is || isWebrtc;
  $("live").hidden = !is || !isWebrtc;
  $("mic").disabled = $("interrupt").disabled = $("figures").hidden = !is;
}

function connect(media) {
  return new Promise((resolve, reject) => {
    const address = new URL(`${session.ws}?media=${media}&token=${session.token}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const mine = socket = new WebSocket(address);
    mine.binaryType = "arraybuffer";
    mine.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) watcher?.take?.(data);
      else { hear(JSON.parse(data)); resolve(); }
    };
    mine.onclose = (event) => {
      const error = new Error(event.reason || t("lost"));
      reject(error);
      if (socket === mine) { end(); complain(error); }
    };
  });
}

const send = (type, fields) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify({ type, ...fields }));

function hear(event) {
  if (event.type === "interrupted" || event.error?.code === "worker_lost") watcher?.goOn?.();
  if (event.type === "utterance.started") state(t("speaking"));
  else if (["session.ready", "utterance.finished", "interrupted"].includes(event.type)) state(t("idle"));
  else if (event.type === "error") complain(reason(event.error));
}

async function sayIt() {
  const text = $("say-text").value.trim();
  complain(text ? null : t("no_text"));
  if (!text) return;
  if (!session) await start();
  send("say", { text, voice: $("say-voice").value || null });
}

function interrupt() {
  watcher?.void();
  send("interrupt");
}

async function startMicrophone() {
  const stream = await listen({ echoCancellation: true, noiseSuppression: true, channelCount: 1 });
  const source = sound.createMediaStreamSource(stream), node = new AudioWorkletNode(sound, "microphone", { numberOfOutputs: 0 });
  source.connect(node);
  node.port.onmessage = ({ data }) => {
    if (socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > 64000) return;
    socket.send(new Blob([Uint32Array.of(3, sound.sampleRate), data]));  // 3: voice
  };
  microphone = () => { source.disconnect(); node.port.close(); for (const track of stream.getTracks()) track.stop(); };
  $("mic").ariaPressed = true;
}

function stopMicrophone() {
  if (!microphone) return;
  microphone();
  microphone = null;
  send("input_audio_buffer.commit");
  $("mic").ariaPressed = false;
}

// MJPEG and PCM over the socket: a picture is shown when its sound is played.
function pictures() {
  const node = new AudioWorkletNode(sound, "player", { numberOfInputs: 0, outputChannelCount: [1] });
  const canvas = $("canvas"), pen = canvas.getContext("2d"), ready = [];
  const [frames, seconds = 1] = session.fps.split("/"), frame = 1000 * seconds / frames;
  let born = -1, isVoid = false, playing = -1, newest = -1, drawn = 0, since = performance.now();
  node.connect(sound.destination);
  const show = () => {
    let bitmap = null;
    while (ready.length && ready[0].index <= playing) { bitmap?.close(); bitmap = ready.shift().bitmap; }
    if (bitmap) { pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height); bitmap.close(); drawn++; }
  };
  const clear = () => {
    node.port.postMessage({ clear: true });
    for (const one of ready.splice(0)) one.bitmap.close();
    playing = Infinity;  // the first picture of what comes does not wait for its sound
  };
  node.port.onmessage = ({ data: index }) => {
    playing = index;
    show();
    if (index % 3 === 0) send("shown", { index });
    const now = performance.now();
    if (now - since < 1000) return;
    tell(drawn / (now - since) * 1000, Math.max(0, newest - index) * frame + (sound.outputLatency || 0) * 1000);
    [drawn, since] = [0, now];
  };
  return {
    async take(data) {
      const head = new DataView(data), kind = head.getUint8(0), of = head.getUint16(2, true), index = head.getUint32(4, true);
      if (of !== born) [born, isVoid, newest] = [of, clear(), -1];
      if (isVoid) return;
      newest = Math.max(newest, index);
      if (kind === 2) {
        const sound = Float32Array.from(new Int16Array(data, 8), (value) => value / 32768);
        node.port.postMessage({ index, sound, rest: head.getUint8(1) === 0 }, [sound.buffer]);
      } else if (kind === 1) {
        const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 8)], { type: "image/jpeg" }));
        if (of !== born || isVoid) { bitmap.close(); return; }
        ready.push({ index, bitmap });
        ready.sort((a, b) => a.index - b.index);
        while (ready.length > 30) ready.shift().bitmap.close();
        show();
      }
    },
    void() { isVoid = true; clear(); },  // until the next generation comes
    close() { node.port.onmessage = null; node.disconnect(); this.void(); },
  };
}

async function webrtc() {
  if (!("RTCPeerConnection" in window)) throw new Error(t("no_webrtc"));
  const peer = new RTCPeerConnection({ iceServers: session.ice_servers.map((urls) => ({ urls })) });
  const video = $("live"), stream = new MediaStream(), query = `?token=${session.token}`;
  let place = null, timer = null, silence = null;
  const close = () => {
    clearInterval(timer);
    clearTimeout(silence);
    video.muted = false;
    peer.close();
    video.srcObject = null;
    if (place) remove(place + query).catch(() => {});
  };
  try {
    peer.ontrack = ({ track, receiver }) => { stream.addTrack(track); if (track.kind === "audio") receiver.jitterBufferTarget = 0; };
    place = await dial(peer, session.whep + query);
    if (!await until(peer, "connectionState", "connected", CONNECT_MS)) throw new Error(t("no_rtc"));
  } catch (error) {
    close();
    throw error;
  }
  video.srcObject = stream;
  await video.play();
  timer = setInterval(async () => {
    for (const one of (await peer.getStats()).values())
      if (one.type === "inbound-rtp" && one.kind === "video")
        tell(one.framesPerSecond ?? 0, one.jitterBufferDelay / one.jitterBufferEmittedCount * 1000);
  }, 1000);
  peer.onconnectionstatechange = () => peer.connectionState === "failed" && session && (end(), complain(t("lost")));
  return {
    void() { clearTimeout(silence); video.muted = true; },
    goOn() { silence = setTimeout(() => { video.muted = false; }, RECEIVED_MS); },
    close,
  };
}

function tell(frames, delay) {
  $("frames").textContent = Math.round(frames);
  $("delay").textContent = delay >= 0 ? `${Math.round(delay)} ms` : "";
}

function state(words) { $("live-state").textContent = words; }
