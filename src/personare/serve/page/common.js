// What the parts share.
import { get } from "./api.js";

export const $ = (id) => document.getElementById(id);

export const make = (tag, properties = {}, ...children) => {
  const it = Object.assign(document.createElement(tag), properties);
  it.append(...children);
  return it;
};
export const list = (words) => words.map((textContent) => make("li", { textContent }));

// What a service says of an error.
export const reason = (error) => [error?.detail ?? error?.message, error?.hint].filter(Boolean).join(" — ");

export function complain(error) {
  const notice = $("notice");
  notice.textContent = error ? error.message ?? String(error) : "";
  notice.hidden = !error;
  if (error) notice.scrollIntoView({ block: "nearest" });
}

export async function fillVoices(...selects) {
  const { voices } = await get("/v1/voices");
  const ready = voices.filter((voice) => voice.ready);
  const mine = navigator.language.toLowerCase();
  const wanted = [mine, { zh: "cmn", en: "en-us" }[mine.slice(0, 2)], mine.split("-")[0], "en-us", "en"];
  const usual = wanted.map((name) => ready.find((voice) => voice.name.toLowerCase() === name)).find(Boolean);
  for (const select of selects) {
    select.replaceChildren(...ready.map((voice) => new Option(`${voice.description} (${voice.name})`, voice.name)));
    if (usual) select.value = usual.name;
  }
}

export async function fillAvatars(select) {
  const { data } = await get("/v1/avatars");
  const before = select.value;
  select.replaceChildren(select.options[0], ...data.filter((one) => one.status === "ready")
    .map((one) => Object.assign(new Option(`${one.name} · ${one.engine}`, one.name), { engine: one.engine })));
  select.value = data.some((one) => one.name === before) ? before : "";
}
