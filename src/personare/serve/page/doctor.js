// What works here, and what to do about the rest.
import { get } from "./api.js";
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
  } catch {
    return false;
  } finally {
    for (const end of ends) end.close();
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
  async () => ("RTCPeerConnection" in window ? says("webrtc", await connects(), "no_loop", false) : says("webrtc", false, "no_webrtc")),
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
