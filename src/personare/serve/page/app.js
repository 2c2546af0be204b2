// Which part is shown, in which language. A part is loaded when it is opened.
import { change, translate } from "./words.js";
import { $, complain, nameVoices } from "./common.js";
import { rename } from "./options.js";

const PARTS = ["make", "talk", "shelf", "doctor"];
const begun = new Map();
let last = "make";

const named = () => (last = PARTS.find((part) => location.hash === `#${part}`) ?? last);

async function show() {
  const name = named();
  for (const part of PARTS) $(part).hidden = part !== name;
  for (const link of document.querySelectorAll("nav a")) link.ariaCurrent = link.hash === `#${name}` ? "page" : null;
  const part = await import(`./${name}.js`);
  if (!begun.has(name)) part.begin();
  begun.set(name, part);
  if (named() === name) part.show();
}

$("language").onclick = async () => {
  await change();
  rename();
  nameVoices();
  begun.get(named())?.show?.();
};
addEventListener("hashchange", show);
// What nobody catches is told to who looks; a fault of the page itself stays in the console too.
addEventListener("unhandledrejection", (event) => {
  complain(event.reason);
  if (event.reason.name === "Error") event.preventDefault();
});
translate();
show();
