// A portrait and a voice become a clip.
import { blob, follow, post, remove, upload } from "./api.js";
import {
  $, button, complain, engineOf, fillAvatars, fillEngines, fillVoices, list, listen, pickVoice, present, reason, save, standing,
} from "./common.js";
import { chosen, said, t } from "./words.js";
import { showControls, values } from "./options.js";

const FIRST = ["emotion", "style", "expressiveness", "head_motion"];
const EXAMPLES = [
  ["example1", "Hello! I was a photo a minute ago. Nice to meet you.", "en-us"],
  ["example2", "Seven, six, five, four, three, two, one: bravo, we made it!", "en-us"],
  ["example3", "你好！一分钟前我还只是一张照片。很高兴认识你。", "zh"],
];
let portrait = null, uploaded = null, recorded = null, recorder = null, job = null, avatar = "";

export async function begin() {
  $("examples").append(...EXAMPLES.map(([name, words, language]) => button(name, () => {
    $("text").value = words;
    pickVoice($("voice"), language);
  })));
  $("make").onchange = showSource;
  $("portrait").onchange = () => takePortrait($("portrait").files[0]);
  $("bundled").onclick = () => takePortrait(null);
  const drop = $("drop");
  drop.ondragover = drop.ondragleave = drop.ondrop = ({ type }) => { drop.className = type === "dragover" ? "over" : ""; };
  $("sound").onchange = () => play($("sound-player"), $("sound").files[0]);
  $("record").onclick = record;
  $("engine").onchange = showOptions;
  $("avatar").onchange = avatarChosen;
  $("make").onsubmit = (event) => { event.preventDefault(); make().catch(failed); };
  $("cancel").onclick = () => job && post(`/v1/jobs/${job}/cancel`);
  const left = sessionStorage.getItem("job");
  if (left) watch(left).catch(failed);
  const [, words, language] = EXAMPLES[chosen() === "zh" ? 2 : 0];
  $("text").value = words;
  await Promise.all([fillEngines($("engine")), fillVoices($("voice"), language)]);
  avatarChosen();
  showOptions();
}

export function show() {
  showNote();
  return fillAvatars($("avatar"));
}

const source = () => $("make").elements.source.value;

function showSource() {
  for (const one of document.querySelectorAll("[data-source]")) one.hidden = one.dataset.source !== source();
}

function takePortrait(file) {
  portrait = file;
  uploaded = null;
  $("photo").replaceChildren();
  if (file) look(file);
  $("avatar").value = "";
  avatarChosen();
  const isVideo = file && !file.type.startsWith("image/");
  present($("preview"), isVideo ? null : file, "portrait.jpg");
  $("preview").style.opacity = isVideo ? 0.25 : 1;
  $("portrait-note").textContent = file ? `${file.name}, ${(file.size / 1e6).toFixed(1)} MB` : t("drop_here");
}

// What the photo is good for, while the rest is still being chosen.
async function look(file) {
  complain(null);
  const id = await upload(file, "portrait");
  if (portrait !== file) return;
  uploaded = id;
  const asked = await post("/v1/photos", { portrait: id });
  const last = await follow(asked.id);
  await remove(`/v1/jobs/${asked.id}`);
  if (portrait !== file || !last) return;
  const advice = last.report?.photo.advice ?? [reason(last.error)];
  $("photo").replaceChildren(...list(advice.length ? advice.map((one) => said(one)) : [t("good_photo")]));
}

function avatarChosen() {
  const engine = engineOf($("avatar"));
  $("engine").disabled = Boolean(engine);
  $("preview").style.opacity = engine ? 0.25 : 1;
  if (engine) $("engine").value = engine;
  if (avatar !== $("avatar").value) showOptions();
  avatar = $("avatar").value;
}

function play(player, file) {
  player.hidden = !file;
  present(player, file);
}

function showNote() {
  const engine = engineOf($("engine"));
  if (engine) $("engine-note").textContent = [said(engine.summary), ...(engine.ready ? [] : engine.missing)].join(" · ");
}

function showOptions() {
  const engine = engineOf($("engine"));
  if (!engine) return;
  showNote();
  const { kept } = $("avatar").selectedOptions[0];
  showControls($("main-options"), engine, (name) => FIRST.includes(name), kept);
  showControls($("options"), engine, (name) => ![...FIRST, "device"].includes(name), kept);
}

async function record() {
  if (recorder) { recorder.stop(); return; }
  const stream = await listen(), parts = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    for (const track of stream.getTracks()) track.stop();
    const type = recorder.mimeType.split(";")[0];
    recorded = new File(parts, `voice.${type.split("/")[1]}`, { type });
    recorder = null;
    $("record").textContent = t("record");
    play($("record-player"), recorded);
  };
  recorder.start();
  $("record").textContent = t("stop_record");
}

async function make() {
  complain(null);
  const from = source(), avatar = $("avatar").value || null;
  const wanted = { avatar, engine: avatar ? null : $("engine").value || null, options: values($("main-options"), $("options")) };
  if (from === "text") {
    wanted.text = $("text").value.trim();
    wanted.voice = $("voice").value || null;
    if (!wanted.text) throw new Error(t("no_text"));
  }
  const sound = { file: $("sound").files[0], microphone: recorded }[from];
  if (from !== "text" && !sound) throw new Error(t(from === "file" ? "no_sound" : "no_record"));
  Object.assign(wanted, { curves: { curves: "json" }, motion: { motion_out: "npz" } }[$("also").value]);
  busy(true);
  tell(t("sending"));
  if (!avatar && wanted.options.look !== "mesh") {
    const file = portrait ?? new File([await blob("/page/portrait.jpg")], "portrait.jpg");
    wanted.portrait = uploaded ?? await upload(file, "portrait");
  }
  if (sound) wanted.speech = await upload(sound, "speech");
  await watch((await post("/v1/jobs", wanted)).id);
}

async function watch(id) {
  job = id;
  sessionStorage.setItem("job", id);
  busy(true);
  const last = await follow(id, (state) => {
    $("bar").value = state.progress;
    tell(standing(state));
  });
  busy(false);
  sessionStorage.removeItem("job");
  job = null;
  if (!last) return;
  if (last.status === "completed") await showClip(last);
  else tell(last.status === "cancelled" ? t("cancelled") : t("failed", reason(last.error)));
}

async function showClip(state) {
  const video = $("clip"), report = state.report ?? {};
  present(video, await blob(state.files.video));
  video.hidden = false;
  $("empty").hidden = true;
  video.play().catch(() => {});
  tell(t("done", (report.audio_seconds ?? 0).toFixed(1), report.frames, (report.realtime_factor ?? 0).toFixed(1)));
  $("remarks").replaceChildren(...list((report.warnings ?? []).map((one) => said(one))));
  $("downloads").replaceChildren(...["video", "curves", "motion"].filter((name) => state.files[name])
    .map((name) => button(name, () => save(state, name))));
}

function busy(is) {
  $("go").disabled = is;
  $("cancel").hidden = !is;
  $("running").hidden = false;
  $("bar").hidden = !is;
  if (is) { $("bar").value = 0; $("remarks").replaceChildren(); $("downloads").replaceChildren(); }
}

function tell(words) { $("stage").textContent = words; }

function failed(error) {
  busy(false);
  job = null;
  uploaded = null;
  if (error.status === 404) sessionStorage.removeItem("job");
  $("running").hidden = true;
  complain(error);
}
