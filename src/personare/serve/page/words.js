// The page's words. An element says which by data-t. A browser loads those of its own language.
const WORDS = { en: {}, zh: {} }, SENTENCES = { en: {} }, NUMBER = /\d+(\.\d+)?/g;
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
  const numbers = words.match(NUMBER);
  return SENTENCES[language][words.replace(NUMBER, "{}")]?.replace(/{}/g, () => numbers.shift()) ?? words;
};
export const chosen = () => language;
export function translate() {
  const [mine, other] = language === "zh" ? ["zh-CN", "en"] : ["en", "zh-CN"];
  document.documentElement.lang = mine;
  document.getElementById("language").lang = other;
  for (const { dataset, firstChild } of document.querySelectorAll("[data-t]")) {
    WORDS.en[dataset.t] ??= firstChild.data;
    firstChild.data = t(dataset.t);
  }
}
export async function change() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  await load();
  translate();
}
