// The page's words. An element says which by data-t. A browser loads those of its own language.
const WORDS = { en: {}, zh: {} }, SENTENCES = { en: {} };
let language = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const load = async () => {
  Object.assign(WORDS[language], (await import(`./words.${language}.js`)).default);
  SENTENCES[language] ??= await (await fetch(`sentences.${language}.json`)).json();
};
await load();
export const t = (name, ...values) =>
  (WORDS[language][name] ?? name).replace(/\{(\d)\}/g, (_, i) => values[i]);
// What the service says, in the page's language if it is known there; numbers keep their places.
export const said = (words = "") => {
  const numbers = words.match(/\d+(\.\d+)?/g) ?? [];
  return SENTENCES[language][words.replace(/\d+(\.\d+)?/g, "{}")]?.replace(/{}/g, () => numbers.shift()) ?? words;
};
const STAGES = {
  find_face: "face points picture_points boxes pose", cut: "crop picture aligned", plate: "plate",
  build: "rig avatar front fit anchor projection tuning style", track: "track tracked",
  read: "appearance embedding latent latents labels masks reach", watch: "watched guide_points poses",
  hear: "voice hear emotion", move: "motion sampled",
};
// A job's stage in words: "puppet.face" is "finding the face".
export const stage = (name) => {
  const last = /^\w+\.(\w+)/.exec(name)?.[1];
  return last ? t(Object.keys(STAGES).find((one) => STAGES[one].split(" ").includes(last)) ?? "preparing") : said(name);
};
export const chosen = () => language;
export function translate(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const it of root.querySelectorAll("[data-t]")) {
    WORDS.en[it.dataset.t] ??= it.textContent;
    it.textContent = t(it.dataset.t);
  }
  for (const it of root.querySelectorAll("[data-t-label]")) it.setAttribute("aria-label", t(it.dataset.tLabel));
}
export async function change() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  await load();
  translate();
}
