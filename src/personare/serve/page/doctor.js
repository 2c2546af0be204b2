// What works here, and what to do about the rest.
import { get, reach } from "./api.js";
import { $, make } from "./common.js";
import { said, t } from "./words.js";

export function begin() {
  $("again").onclick = show;
}

export async function show() {
  const list = $("checks");
  list.replaceChildren();
  for (const check of CHECKS) {
    const lines = await check().catch((error) => [[t("service"), false, error.message]]);
    for (const [name, good, words] of lines)
      list.append(make("li", { className: good ? "good" : good === null ? "" : "bad" },
        make("span", {}, name), make("span", {}, words)));
  }
}

const says = (name, good, otherwise, bad = false) => [[t(name), good || bad, t(good ? "works" : otherwise)]];

// Whether two ends in this page reach each other.
async function connects() {
  const ends = [new RTCPeerConnection(), new RTCPeerConnection()], [one, other] = ends;
  try {
    ends.forEach((end, i) => { end.onicecandidate = ({ candidate }) => ends[1 - i].addIceCandidate(candidate).catch(() => {}); });
    const channel = one.createDataChannel("loop");
    other.ondatachannel = (event) => { event.channel.onmessage = ({ data }) => event.channel.send(data); };
    const back = new Promise((resolve) => {
      channel.onmessage = () => resolve(true);
      setTimeout(resolve, 5000, false);
    });
    channel.onopen = () => channel.send("?");
    await one.setLocalDescription();
    await other.setRemoteDescription(one.localDescription);
    await other.setLocalDescription();
    await one.setRemoteDescription(other.localDescription);
    return await back;
  } finally {
    for (const end of ends) end.close();
  }
}

// Each gives lines of a name, whether it is good (null: nobody needs it), and what to do.
const CHECKS = [
  async () => {
    const ready = await (await reach("/readyz")).json(), free = (ready.disk_free_bytes / 1e9).toFixed(1);
    return [
      ...says("service", ready.ready, "not_ready"),
      ...says("place", ready.place, "full"),
      [t("disk"), ready.disk, ready.disk ? t("free", free) : t("disk_full")],
    ];
  },
  async () => (await get("/v1/engines")).engines.map((one) =>
    [one.engine, one.ready || null, one.ready ? said(one.summary) : one.missing.join(" · ")]),
  async () => ("RTCPeerConnection" in window ? says("WebRTC", await connects().catch(() => false), "no_loop") : says("WebRTC", false, "no_webrtc", null)),
  async () => says("h264", window.RTCRtpReceiver?.getCapabilities?.("video")?.codecs
    .some((one) => one.mimeType === "video/H264"), "no_h264", null),
  async () => says("audio", isSecureContext && "AudioWorkletNode" in window, "no_worklet"),
  async () => {
    const devices = await navigator.mediaDevices?.enumerateDevices();
    if (!devices) return says("microphone", false, "insecure");
    return says("microphone", devices.some((one) => one.kind === "audioinput"), "no_device", null);
  },
];
