// A portrait and a voice become a clip.
import { blob, call, follow, post, remove, upload } from "./api.js";
import { $, complain, engineOf, fillAvatars, fillEngines, fillVoices, list, make as element, reason, save, standing } from "./common.js";
import { chosen, said, t } from "./words.js";
import { controls, values } from "./options.js";

const FIRST = ["emotion", "style", "expressiveness", "head_motion"];
const EXAMPLES = [
  ["example1", "Hello! I was a photo a minute ago. Nice to meet you.", "en"],
  ["example2", "Seven, six, five, four, three, two, one: bravo, we made it!", "en"],
  ["example3", "你好！一分钟前我还只是一张照片。很高兴认识你。", "zh"],
];
let portrait = null, uploaded = null, recorded = null, recorder = null, job = null, watching = null, avatar = "";

export function begin() {
  for (const [name, text, language] of EXAMPLES) {
    const button = element("button", { type: "button", textContent: t(name) });
    button.dataset.t = name;
    button.onclick = () => {
      $("text").value = text;
      pick(language);
    };
    $("examples").append(button);
  }
  const [, text, language] = EXAMPLES[chosen() === "zh" ? 2 : 0];
  $("text").value = text;
  for (const one of document.querySelectorAll("[name=source]")) one.onchange = showSource;
  $("portrait").onchange = () => takePortrait($("portrait").files[0]);
  $("bundled").onclick = () => takePortrait(null);
  const drop = $("drop");
  for (const what of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(what, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", what === "dragover");
      if (what === "drop" && event.dataTransfer.files[0]) takePortrait(event.dataTransfer.files[0]);
    });
  }
  $("sound").onchange = () => play($("sound-player"), $("sound").files[0]);
  $("record").onclick = record;
  $("engine").onchange = showOptions;
  $("avatar").onchange = avatarChosen;
  for (const [one, other] of [["curves", "motion"], ["motion", "curves"]])  // a run writes one of them
    $(one).onchange = () => { if ($(one).checked) $(other).checked = false; };
  document.querySelector("#make form").onsubmit = (event) => { event.preventDefault(); make().catch(failed); };
  $("cancel").onclick = () => job && post(`/v1/jobs/${job}/cancel`).catch(complain);
  Promise.all([fillEngines($("engine")), fillVoices($("voice"))]).then(() => {
    avatarChosen();
    showOptions();
    pick(language);
  }).catch(complain);
  const left = sessionStorage.getItem("job");
  if (left) watch(left).catch(failed);
}

function pick(language) {
  const names = [...$("voice").options].map((one) => one.value), usual = { en: "en-us", zh: "cmn" }[language];
  $("voice").value = names.find((name) => name === usual) ?? names.find((name) => name.startsWith(language));
}

export function show() {
  fillAvatars($("avatar")).catch(complain);
  showNote();
}

function showSource() {
  const source = document.querySelector("[name=source]:checked").value;
  for (const one of document.querySelectorAll("[data-source]")) one.hidden = one.dataset.source !== source;
}

function takePortrait(file) {
  portrait = file;
  uploaded = null;
  $("photo").replaceChildren();
  if (file) look(file).catch(complain);
  $("avatar").value = "";
  avatarChosen();
  const shown = $("preview");
  if (shown.src.startsWith("blob:")) URL.revokeObjectURL(shown.src);
  shown.src = file && file.type.startsWith("image/") ? URL.createObjectURL(file) : "portrait.jpg";
  shown.style.opacity = file && !file.type.startsWith("image/") ? 0.25 : 1;
  $("portrait-note").textContent = file ? `${file.name}, ${(file.size / 1e6).toFixed(1)} MB` : t("drop_here");
}

// What the photo is good for, while the rest is still being chosen.
async function look(file) {
  complain(null);
  const id = await upload(file, "portrait");
  if (portrait !== file) return;
  uploaded = id;
  const asked = await post("/v1/photos", { portrait: id });
  let last = null;
  for await (const state of follow(asked.id)) last = state;
  await remove(`/v1/jobs/${asked.id}`);
  if (portrait !== file || !last) return;
  const advice = last.report?.photo.advice ?? [reason(last.error)];
  $("photo").replaceChildren(...list(advice.length ? advice.map((one) => said(one)) : [t("good_photo")]));
}

function avatarChosen() {
  const engine = $("avatar").selectedOptions[0]?.engine;
  $("engine").disabled = Boolean(engine);
  $("preview").style.opacity = engine ? 0.25 : 1;
  if (engine) $("engine").value = engine;
  if (avatar !== $("avatar").value) showOptions();
  avatar = $("avatar").value;
}

function play(player, file) {
  player.hidden = !file;
  if (player.src) URL.revokeObjectURL(player.src);
  if (file) player.src = URL.createObjectURL(file);
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
  const names = Object.keys(engine.options ?? {}).filter((name) => name !== "device");
  $("main-options").replaceChildren(...controls(engine, names.filter((name) => FIRST.includes(name)), kept));
  $("options").replaceChildren(...controls(engine, names.filter((name) => !FIRST.includes(name)), kept));
}

async function record() {
  if (recorder) { recorder.stop(); return; }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      for (const track of stream.getTracks()) track.stop();
      const type = recorder.mimeType.split(";")[0];
      recorded = new File(parts, `voice.${/mp4/.test(type) ? "m4a" : /ogg/.test(type) ? "ogg" : "webm"}`, { type });
      recorder = null;
      $("record").textContent = t("record");
      play($("record-player"), recorded);
    };
    recorder.start();
    $("record").textContent = t("stop_record");
  } catch (error) {
    complain(new Error(t("no_microphone", error.message)));
  }
}

async function make() {
  complain(null);
  const source = document.querySelector("[name=source]:checked").value;
  const wanted = {
    options: values($("main-options"), $("options")),
    engine: $("avatar").value ? null : $("engine").value || null,
  };
  if (source === "text") {
    wanted.text = $("text").value.trim();
    wanted.voice = $("voice").value || null;
    if (!wanted.text) throw new Error(t("no_text"));
  }
  const sound = source === "file" ? $("sound").files[0] : source === "microphone" ? recorded : null;
  if (source !== "text" && !sound) throw new Error(t(source === "file" ? "no_sound" : "no_record"));
  if ($("curves").checked) wanted.curves = "json";
  if ($("motion").checked) wanted.motion_out = "npz";
  busy(true);
  tell(t("sending"));
  if ($("avatar").value) wanted.avatar = $("avatar").value;
  else if (wanted.options.look !== "mesh") {
    const file = portrait ?? new File([await (await call("/page/portrait.jpg")).blob()], "portrait.jpg");
    wanted.portrait = uploaded ?? await upload(file, "portrait");
  }
  if (sound) wanted.speech = await upload(sound, "speech");
  const answer = await post("/v1/jobs", wanted);
  await watch(answer.id);
}

async function watch(id) {
  watching?.abort();
  watching = new AbortController();
  job = id;
  sessionStorage.setItem("job", id);
  busy(true);
  let last = null;
  for await (const state of follow(id, watching.signal)) {
    last = state;
    $("bar").value = state.progress;
    tell(standing(state));
  }
  busy(false);
  sessionStorage.removeItem("job");
  job = null;
  if (!last) return;
  if (last.status === "completed") await showClip(last);
  else tell(last.status === "cancelled" ? t("cancelled") : t("failed", reason(last.error)));
}

async function showClip(state) {
  const video = $("clip"), content = await blob(state.files.video);
  if (video.src) URL.revokeObjectURL(video.src);
  video.src = URL.createObjectURL(content);
  video.hidden = false;
  $("empty").hidden = true;
  video.play().catch(() => {});
  const report = state.report ?? {};
  tell(t("done", (report.audio_seconds ?? 0).toFixed(1), report.frames, (report.realtime_factor ?? 0).toFixed(1)));
  $("remarks").replaceChildren(...list((report.warnings ?? []).map((one) => said(one))));
  $("downloads").replaceChildren(...["video", "curves", "motion"].filter((name) => state.files[name]).map((name) => {
    const button = element("button", { type: "button", textContent: t(`download_${name}`) });
    button.dataset.t = `download_${name}`;
    button.onclick = () => save(state, name).catch(complain);
    return button;
  }));
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
