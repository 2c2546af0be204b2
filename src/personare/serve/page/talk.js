// A live session: the voice of a text or of the microphone goes in, a speaking face comes out.
import { authorised, blob, call, post, remove } from "./api.js";
import { $, complain, engineOf, fillAvatars, fillEngines, fillVoices, make, reason } from "./common.js";
import { controls, values } from "./options.js";
import { said, t } from "./words.js";

const OPTIONS = ["emotion", "style", "size", "audio"];
const CONNECT_MS = 5000, RECEIVED_MS = 200;  // what a receiver still holds of the old voice
let session = null, socket = null, sound = null, watcher = null, microphone = null, starting = false;

export function begin() {
  fillVoices($("say-voice")).catch(complain);
  fillEngines($("live-engine"), (one) => one.driven_by?.includes("speech") && one.lookahead_seconds !== null)
    .then(chooseEngine).catch(complain);
  $("live-engine").onchange = chooseEngine;
  const orEnd = (act) => () => act().catch((error) => { end(); complain(error); });
  $("start").onclick = orEnd(start);
  $("stop").onclick = end;
  $("say").onclick = orEnd(sayIt);
  $("interrupt").onclick = interrupt;
  $("live-avatar").onchange = () => { chooseEngine(); still().catch(complain); };
  $("mic").onclick = () => (microphone ? stopMicrophone() : startMicrophone().catch((error) => complain(new Error(t("no_microphone", error.message)))));
  addEventListener("keydown", (event) => {
    if ($("talk").hidden) return;
    if (event.key === "Escape" && session) interrupt();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); $("say").click(); }
  });
  document.addEventListener("visibilitychange", () => session && send({ type: document.hidden ? "pause" : "resume" }));
  addEventListener("pagehide", () => session && fetch(`/v1/sessions/${session.id}`, { method: "DELETE", keepalive: true, headers: authorised() }));
}

export function show() {
  fillAvatars($("live-avatar")).then(still).catch(complain);
}

function chooseEngine() {
  const field = $("live-engine"), own = engineOf($("live-avatar"));
  if (own) field.value = own;
  field.disabled = Boolean(own || session);
  const engine = engineOf(field);
  if (engine) $("live-options").replaceChildren(...controls(engine, OPTIONS.filter((name) => name in engine.options), $("live-avatar").selectedOptions[0].kept));
}

// Who will speak, until the session shows it.
async function still() {
  const name = $("live-avatar").value, shown = $("still"), before = shown.src;
  shown.src = name ? URL.createObjectURL(await blob(`/v1/avatars/${encodeURIComponent(name)}/preview.jpg`)) : "portrait.jpg";
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}

async function start() {
  if (session || starting) return;
  starting = true;
  $("start").disabled = true;
  complain(null);
  state(t("connecting"));
  try {
    sound = new AudioContext({ sampleRate: 16000, latencyHint: "interactive" });  // within the tap: else it stays silent
    await sound.audioWorklet.addModule("worklet.js");
    await sound.resume();
    const wanted = { transport: $("transport").value, options: values($("live-options")) };
    if ($("live-avatar").value) wanted.avatar = $("live-avatar").value;
    else wanted.engine = $("live-engine").value || null;
    session = await post("/v1/sessions", wanted);
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
    await connect(session.transport === "webrtc" ? "none" : "mjpeg");
    if (session.transport !== "webrtc") watcher = pictures();
    figure(t("transport"), `${session.transport} — ${said(reason)}`);
    running(true);
    $("say-text").focus();
  } finally {
    starting = false;
    $("start").disabled = false;
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
  $("figures").replaceChildren();
  state("");
}

function running(is) {
  $("start").hidden = is;
  $("stop").hidden = !is;
  for (const field of $("who").querySelectorAll("select, input")) field.disabled = is;
  if (!is) $("live-engine").disabled = Boolean(engineOf($("live-avatar")));
  $("still").hidden = is;
  const rtc = session?.transport === "webrtc";
  $("canvas").hidden = !is || rtc;
  $("live").hidden = !is || !rtc;
  $("mic").disabled = $("interrupt").disabled = !is;
}

function connect(media) {
  return new Promise((resolve, reject) => {
    const address = new URL(`${session.ws}?media=${media}&token=${session.token}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const mine = socket = new WebSocket(address);
    mine.binaryType = "arraybuffer";
    mine.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) watcher?.take(data);
      else { hear(JSON.parse(data)); resolve(); }
    };
    mine.onclose = (event) => {
      reject(new Error(event.reason || t("lost")));
      if (socket === mine) { end(); complain(new Error(event.reason || t("lost"))); }
    };
  });
}

const send = (message) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));

function hear(event) {
  if (event.type === "interrupted" || event.error?.code === "worker_lost") watcher?.goOn();
  if (event.type === "utterance.started") state(t("speaking"));
  else if (["session.ready", "utterance.finished", "interrupted"].includes(event.type)) state(t("idle"));
  else if (event.type === "error") complain(reason(event.error));
}

async function sayIt() {
  const text = $("say-text").value.trim();
  if (!text) { complain(new Error(t("no_text"))); return; }
  complain(null);
  if (!session) await start();
  send({ type: "say", text, voice: $("say-voice").value || null });
}

function interrupt() {
  watcher?.void();
  send({ type: "interrupt" });
}

async function startMicrophone() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, channelCount: 1 } });
  const source = sound.createMediaStreamSource(stream), node = new AudioWorkletNode(sound, "microphone", { numberOfOutputs: 0 });
  source.connect(node);
  node.port.onmessage = ({ data }) => {
    if (socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > 64000) return;
    const piece = new Uint8Array(8 + data.byteLength), head = new DataView(piece.buffer);
    head.setUint8(0, 3);
    head.setUint32(4, sound.sampleRate, true);
    piece.set(new Uint8Array(data.buffer), 8);
    socket.send(piece);
  };
  microphone = { close() { source.disconnect(); node.port.close(); for (const track of stream.getTracks()) track.stop(); } };
  $("mic").setAttribute("aria-pressed", "true");
}

function stopMicrophone() {
  if (!microphone) return;
  microphone.close();
  microphone = null;
  send({ type: "input_audio_buffer.commit" });
  $("mic").setAttribute("aria-pressed", "false");
}

// MJPEG and PCM over the socket: a picture is shown when its sound is played.
function pictures() {
  const node = new AudioWorkletNode(sound, "player", { numberOfInputs: 0, outputChannelCount: [1] });
  const canvas = $("canvas"), pen = canvas.getContext("2d"), ready = [];
  const [frames, seconds = 1] = session.fps.split("/"), frame = 1000 * seconds / frames;
  let born = -1, isVoid = false, playing = -1, newest = -1, drawn = 0, since = performance.now();
  node.connect(sound.destination);
  const show = () => {
    let picture = null;
    while (ready.length && ready[0].index <= playing) { picture?.bitmap.close(); picture = ready.shift(); }
    if (picture) { pen.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height); picture.bitmap.close(); drawn++; }
  };
  const clear = () => {
    node.port.postMessage({ clear: true });
    for (const one of ready.splice(0)) one.bitmap.close();
    playing = Infinity;  // the first picture of what comes does not wait for its sound
  };
  node.port.onmessage = ({ data: index }) => {
    playing = index;
    show();
    if (index % 3 === 0) send({ type: "shown", index });
    const now = performance.now();
    if (now - since > 1000) {
      figure(t("delay"), `${Math.round(Math.max(0, newest - index) * frame) + Math.round((sound.outputLatency || 0) * 1000)} ms`);
      figure(t("frames"), (drawn / (now - since) * 1000).toFixed(0));
      [drawn, since] = [0, now];
    }
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
    goOn() {},
    close() { node.port.onmessage = null; node.disconnect(); this.void(); },
  };
}

async function webrtc() {
  if (!("RTCPeerConnection" in window)) throw new Error(t("no_webrtc"));
  const peer = new RTCPeerConnection({ iceServers: session.ice_servers.map((urls) => ({ urls })) });
  const video = $("live"), stream = new MediaStream();
  let place = null, timer = null, silence = null;
  const close = () => {
    clearInterval(timer);
    clearTimeout(silence);
    video.muted = false;
    peer.close();
    video.srcObject = null;
    if (place) call(`${place}?token=${session?.token ?? ""}`, { method: "DELETE" }).catch(() => {});
  };
  try {
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
    peer.ontrack = ({ track, receiver }) => { stream.addTrack(track); if (track.kind === "audio") receiver.jitterBufferTarget = 0; };
    const connected = new Promise((resolve, reject) => {
      const no = () => reject(new Error(t("no_rtc")));
      setTimeout(no, CONNECT_MS);
      peer.onconnectionstatechange = () => ({ connected: resolve, failed: no })[peer.connectionState]?.();
    });
    connected.catch(() => {});
    await peer.setLocalDescription(await peer.createOffer());
    await new Promise((resolve) => {
      setTimeout(resolve, 1500);
      (peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && resolve())();
    });
    const answer = await call(`${session.whep}?token=${session.token}`, { method: "POST", type: "application/sdp", text: peer.localDescription.sdp });
    place = answer.headers.get("Location");
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    await connected;
  } catch (error) {
    close();
    throw error;
  }
  video.srcObject = stream;
  await video.play();
  timer = setInterval(async () => {
    for (const one of (await peer.getStats()).values())
      if (one.type === "inbound-rtp" && one.kind === "video") {
        figure(t("frames"), Math.round(one.framesPerSecond ?? 0));
        if (one.jitterBufferEmittedCount) figure(t("delay"), `${Math.round(one.jitterBufferDelay / one.jitterBufferEmittedCount * 1000)} ms`);
      }
  }, 1000);
  peer.addEventListener("connectionstatechange", () => peer.connectionState === "failed" && session && (end(), complain(new Error(t("lost")))));
  return {
    take() {},
    void() { clearTimeout(silence); video.muted = true; },
    goOn() { silence = setTimeout(() => { video.muted = false; }, RECEIVED_MS); },
    close,
  };
}

function figure(name, value) {
  const terms = [...document.querySelectorAll("#figures dt")];
  let term = terms.find((one) => one.textContent === name);
  if (!term) $("figures").append(term = make("dt", {}, name), make("dd"));
  term.nextElementSibling.textContent = value;
}

function state(words) { $("live-state").textContent = words; }
