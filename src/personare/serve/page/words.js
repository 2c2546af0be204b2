// The page's words. An element says which by data-t. A browser loads those of its own language.
const WORDS = { en: {}, zh: {} };
let language = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const load = async () => Object.assign(WORDS[language], (await import(`./words.${language}.js`)).default);
await load();
export const t = (name, ...values) =>
  (WORDS[language][name] ?? name).replace(/\{(\d)\}/g, (_, i) => values[i]);
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
