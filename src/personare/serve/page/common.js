// What the parts share.
import { blob, get } from "./api.js";
import { chosen, said, t } from "./words.js";

export const $ = (id) => document.getElementById(id);

export const make = (tag, properties = {}, ...children) => {
  const it = Object.assign(document.createElement(tag), properties);
  it.append(...children.filter(Boolean));
  return it;
};
export const list = (words) => words.map((one) => make("li", {}, one));
export const button = (name, onclick) => {
  const it = make("button", { type: "button", onclick }, t(name));
  it.dataset.t = name;
  return it;
};

// A file becomes what an element shows, in place of the one before.
export function present(element, file, otherwise = "") {
  if (element.src.startsWith("blob:")) URL.revokeObjectURL(element.src);
  element.src = file ? URL.createObjectURL(file) : otherwise;
}

// What a service says of an error; where the language has no words for it, those for its kind go before.
export const reason = (error) => {
  const words = [error?.detail ?? error?.message, error?.hint].filter(Boolean);
  const kind = error?.error?.code ?? error?.code ?? "", known = said(kind);
  return (known === kind || said(words[0]) !== words[0] ? "" : `${known} · `) + words.map(said).join(" — ");
};

// Where a job stands.
export const standing = (job) => (job.status === "queued" ? [t("waiting"), job.ahead && t("ahead", job.ahead)]
  : job.status === "cancelled" ? [t("cancelled")] : [said(job.doing), `${job.progress} %`]).filter(Boolean).join(" · ");

export function complain(error) {
  const notice = $("notice");
  notice.textContent = error?.message ?? error ?? "";
  notice.hidden = !error;
  if (error) notice.scrollIntoView({ block: "nearest" });
}

export async function listen(audio = true) {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Error(t("no_microphone", error.message));
  }
}

export async function save(state, name) {
  const link = make("a", { href: URL.createObjectURL(await blob(state.files[name])) });
  link.download = state.id + { video: ".mp4", curves: ".curves.json", motion: ".motion.npz" }[name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export async function fillVoices(select, language) {
  const { voices } = await get("/v1/voices");
  const ready = voices.filter((voice) => voice.ready);
  select.replaceChildren(...ready.map((voice) => Object.assign(new Option("", voice.name), { voice })));
  pickVoice(select, language);
  nameVoices();
}

// The voice of a language, else its usual one, else any of it.
export function pickVoice(select, language) {
  const names = [...select.options].map((one) => one.value), short = language.slice(0, 2);
  const exactly = (wanted) => names.find((name) => name.toLowerCase() === wanted);
  select.value = exactly(language.toLowerCase()) ?? exactly({ en: "en-us", zh: "cmn" }[short])
    ?? names.find((name) => name.startsWith(short)) ?? exactly("en-us") ?? names[0];
}

export function nameVoices() {
  const names = new Intl.DisplayNames(chosen(), { type: "language" });
  for (const one of document.querySelectorAll("#voice option, #say-voice option")) {
    let name = one.voice.description;
    try { if (chosen() !== "en") name = names.of(one.value); } catch { /* no language's name */ }
    one.text = `${name} (${one.value})`;
  }
}

// The engines that suit; those that are not ready cannot be chosen.
export async function fillEngines(select, suits = () => true) {
  const { engines } = await get("/v1/engines");
  select.replaceChildren(...engines.filter(suits).map((engine) => Object.assign(
    new Option(engine.ready ? engine.engine : `${engine.engine} (${t("not_ready")})`, engine.engine),
    { disabled: !engine.ready, engine })));
  select.value = "puppet";
}
export const engineOf = (select) => select.selectedOptions[0]?.engine;

export async function fillAvatars(select) {
  const { data } = await get("/v1/avatars");
  const before = select.value;
  select.replaceChildren(select.options[0], ...data.filter((one) => one.status === "ready")
    .map((one) => Object.assign(new Option(`${one.name} · ${one.engine}`, one.name), { engine: one.engine, kept: one.options })));
  select.value = data.some((one) => one.name === before) ? before : "";
}
