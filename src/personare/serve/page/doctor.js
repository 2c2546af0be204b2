// What works here, and what to do about the rest.
import { call, get } from "./api.js";
import { $, make } from "./common.js";
import { said, t } from "./words.js";

export function begin() {
  $("again").onclick = show;
}

export async function show() {
  const list = $("checks");
  list.replaceChildren();
  for (const check of CHECKS) {
    let result;
    try {
      result = await check();
    } catch (error) {
      result = [t("service"), false, error.message];
    }
    for (const [name, good, words] of Array.isArray(result[0]) ? result : [result]) {
      const line = make("li", { className: good === null ? "" : good ? "good" : "bad" });
      for (const textContent of ["", name, words]) line.append(make("span", { textContent }));
      list.append(line);
    }
  }
}

const says = (name, good, otherwise, bad = null) => [t(name), good || bad, good ? t("works") : t(otherwise)];

// A connection to the service that carries nothing: whether it comes about, or what hinders it.
async function connects() {
  if (!("RTCPeerConnection" in window)) return t("no_webrtc");
  const { ice_servers, reason } = await get("/v1/webrtc");
  if (reason) return said(reason);
  const peer = new RTCPeerConnection({ iceServers: ice_servers.map((urls) => ({ urls })) });
  const until = (state, is, most) => new Promise((resolve) => {
    setTimeout(resolve, most, false);
    (peer[`on${state.toLowerCase()}change`] = () => peer[state] === is && resolve(true))();
  });
  try {
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
    await peer.setLocalDescription();
    await until("iceGatheringState", "complete", 1500);
    const text = peer.localDescription.sdp;
    if (!text.includes("a=candidate")) return t("no_loop");
    const answer = await call("/v1/webrtc", { method: "POST", type: "application/sdp", text });
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    return await until("connectionState", "connected", 5000) || t("no_udp");
  } catch (error) {
    return error.status === 422 ? t("no_codec") : error.message;
  } finally {
    peer.close();
  }
}

const CHECKS = [
  async () => {
    const answer = await fetch("/readyz").catch(() => null);
    if (!answer) return [t("service"), false, t("no_reach")];
    const ready = await answer.json();
    const lines = [says("service", ready.ready, "not_ready", false), says("place", ready.place, "full", false)];
    if (ready.disk_free_bytes !== undefined)
      lines.push([t("disk"), ready.disk, ready.disk ? t("free", (ready.disk_free_bytes / 1e9).toFixed(1)) : t("disk_full")]);
    return lines;
  },
  async () => (await get("/v1/engines")).engines.map((one) =>
    [one.engine, one.ready ? true : null, one.ready ? said(one.summary) : one.missing.join(" · ")]),
  async () => {
    const found = await connects();
    return [t("webrtc"), found === true, found === true ? t("works") : found];
  },
  async () => says("h264", window.RTCRtpReceiver?.getCapabilities?.("video")?.codecs
    .some((one) => one.mimeType === "video/H264"), "no_h264"),
  async () => says("audio", isSecureContext && "AudioWorkletNode" in window, "no_worklet", false),
  async () => {
    if (!navigator.mediaDevices) return [t("mic_check"), false, t("insecure")];
    const devices = await navigator.mediaDevices.enumerateDevices();
    const there = devices.some((one) => one.kind === "audioinput");
    return [t("mic_check"), there ? true : null, there ? t("works") : t("no_microphone", "–")];
  },
];
