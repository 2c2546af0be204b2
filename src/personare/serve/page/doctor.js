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
  async () => says("webrtc", "RTCPeerConnection" in window, "no_webrtc"),
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
