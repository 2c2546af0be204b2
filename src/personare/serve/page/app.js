// Which part is shown, in which language. A part is loaded when it is opened.
import { change, chosen, translate } from "./words.js";
import { nameVoices } from "./common.js";
import { rename } from "./options.js";

const PARTS = ["make", "talk", "shelf", "doctor"];
const begun = new Map();

const named = () => (PARTS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "make");

async function show() {
  const name = named();
  for (const part of PARTS) document.getElementById(part).hidden = part !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const part = await import(`./${name}.js`);
  if (!begun.has(name)) part.begin?.();
  begun.set(name, part);
  if (named() === name) part.show?.();
}

const language = document.getElementById("language");
function label() {
  language.textContent = chosen() === "zh" ? "English" : "中文";
  language.lang = chosen() === "zh" ? "en" : "zh";
}
language.addEventListener("click", async () => {
  await change();
  label();
  rename();
  nameVoices();
  begun.get(named())?.show?.();
});
addEventListener("hashchange", show);
translate();
label();
show();
