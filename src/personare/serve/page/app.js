// Which part is shown, in which language.
import { change, chosen, translate } from "./words.js";
import * as make from "./make.js";
import * as talk from "./talk.js";
import * as shelf from "./shelf.js";
import * as doctor from "./doctor.js";

const PARTS = { make, talk, shelf, doctor };
const begun = new Set();

function show() {
  const name = location.hash.slice(1) in PARTS ? location.hash.slice(1) : "make";
  for (const part of Object.keys(PARTS)) document.getElementById(part).hidden = part !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!begun.has(name)) PARTS[name].begin?.();
  begun.add(name);
  PARTS[name].show?.();
}

const language = document.getElementById("language");
function label() {
  language.textContent = chosen() === "zh" ? "English" : "中文";
  language.lang = chosen() === "zh" ? "en" : "zh";
}
language.addEventListener("click", async () => {
  await change();
  label();
  PARTS[location.hash.slice(1)]?.show?.();
});
addEventListener("hashchange", show);
translate();
label();
show();
