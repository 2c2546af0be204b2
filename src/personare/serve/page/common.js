// What the parts share.
import { blob, get } from "./api.js";
import { chosen, said, stage, t } from "./words.js";

export const $ = (id) => document.getElementById(id);

export const make = (tag, properties = {}, ...children) => {
  const it = Object.assign(document.createElement(tag), properties);
  it.append(...children);
  return it;
};
export const list = (words) => words.map((textContent) => make("li", { textContent }));

// What a service says of an error; where the language has no words for it, those for its kind go before.
export const reason = (error) => {
  const words = [error?.detail ?? error?.message, error?.hint].filter(Boolean);
  const kind = error?.error?.code ?? error?.code ?? "", known = said(kind);
  return (known === kind || said(words[0]) !== words[0] ? "" : `${known} · `) + words.map(said).join(" — ");
};

// Where a job stands.
export const standing = (job) => (job.status === "queued" ? [t("waiting"), job.ahead && t("ahead", job.ahead)]
  : job.status === "cancelled" ? [t("cancelled")] : [stage(job.stage), `${job.progress} %`]).filter(Boolean).join(" · ");

export function complain(error) {
  const notice = $("notice");
  notice.textContent = error ? error.message ?? String(error) : "";
  notice.hidden = !error;
  if (error) notice.scrollIntoView({ block: "nearest" });
}

export async function save(state, name) {
  const link = make("a", { href: URL.createObjectURL(await blob(state.files[name])) });
  link.download = state.id + { video: ".mp4", curves: ".curves.json", motion: ".motion.npz" }[name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export async function fillVoices(...selects) {
  const { voices } = await get("/v1/voices");
  const ready = voices.filter((voice) => voice.ready);
  const mine = navigator.language.toLowerCase();
  const wanted = [mine, { zh: "cmn", en: "en-us" }[mine.slice(0, 2)], mine.split("-")[0], "en-us", "en"];
  const usual = wanted.map((name) => ready.find((voice) => voice.name.toLowerCase() === name)).find(Boolean);
  for (const select of selects) {
    select.replaceChildren(...ready.map((voice) => Object.assign(new Option("", voice.name), { voice })));
    if (usual) select.value = usual.name;
  }
  nameVoices();
}

export function nameVoices() {
  const names = new Intl.DisplayNames(chosen(), { type: "language" });
  for (const one of document.querySelectorAll("#voice option, #say-voice option")) {
    let name = one.voice.description;
    try { if (chosen() !== "en") name = names.of(one.value); } catch { /* no language's name */ }
    one.text = `${name} (${one.value})`;
  }
}

// The engines that suit; those that are not ready cannot be chosen. An option's `engine` is one with its styles.
export async function fillEngines(select, suits = () => true) {
  const [{ engines }, { styles }] = await Promise.all([get("/v1/engines"), get("/v1/styles")]);
  select.replaceChildren(...engines.filter(suits).map((one) => Object.assign(
    new Option(one.ready ? one.engine : `${one.engine} (${t("not_ready")})`, one.engine),
    { disabled: !one.ready, engine: { ...one, styles: styles.filter((it) => it.engine === one.engine).map((it) => it.name) } })));
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
