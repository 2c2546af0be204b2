// What works here, and what to do about the rest.
import { dial, get, reach, until } from "./api.js";
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

// A connection to the service that carries nothing: whether it comes about, or what hinders it.
async function connects() {
  if (!("RTCPeerConnection" in window)) return t("no_webrtc");
  const { ice_servers, reason } = await get("/v1/webrtc");
  if (reason) return said(reason);
  const peer = new RTCPeerConnection({ iceServers: ice_servers.map((urls) => ({ urls })) });
  try {
    await dial(peer, "/v1/webrtc");
    return await until(peer, "connectionState", "connected", 5000) || t("no_udp");
  } catch (error) {
    return error.status === 422 ? t("no_codec") : error.message;
  } finally {
    peer.close();
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
  async () => {
    const found = await connects();
    return [["WebRTC", found === true, found === true ? t("works") : found]];
  },
  async () => says("h264", window.RTCRtpReceiver?.getCapabilities?.("video")?.codecs
    .some((one) => one.mimeType === "video/H264"), "no_h264", null),
  async () => says("audio", isSecureContext && "AudioWorkletNode" in window, "no_worklet"),
  async () => {
    const devices = await navigator.mediaDevices?.enumerateDevices();
    if (!devices) return says("microphone", false, "insecure");
    return says("microphone", devices.some((one) => one.kind === "audioinput"), "no_device", null);
  },
];
