// Avatars and clips that are there.
import { blob, follow, get, post, remove, upload } from "./api.js";
import { $, button, complain, fillAvatars, make, present, reason, save, standing } from "./common.js";
import { chosen, said, t } from "./words.js";

const FOLLOWED_MS = 1500;
const cards = new Map();
let timer = null;

export function begin() {
  const file = $("keep-portrait");
  file.onchange = () => { file.previousSibling.data = file.files[0]?.name ?? t("choose_picture"); };
  $("keep").onsubmit = (event) => { event.preventDefault(); keep(); };
}

export function show() {
  complain(null);
  return fill();
}

// What is there; again and again, while something is under way and somebody looks.
async function fill() {
  clearTimeout(timer);
  const [avatars, jobs] = await Promise.all([get("/v1/avatars"), get("/v1/jobs?limit=24")]);
  const busy = [put($("avatars"), avatars.data, avatarCard), put($("jobs"), jobs.data.filter((job) => job.kind === "clip"), jobCard)];
  clearTimeout(timer);
  if (busy.includes(true)) timer = setTimeout(() => $("shelf").hidden || fill(), FOLLOWED_MS);
}

// One card each, made anew where it has changed: one that plays goes on. Whether something is under way.
function put(place, things, cardOf) {
  const all = things.map((one) => {
    const key = place.id + (one.id ?? one.name), as = chosen() + JSON.stringify(one);
    if (cards.get(key)?.as !== as) cards.set(key, { as, card: cardOf(one) });
    return cards.get(key).card;
  });
  if (!all.length) all.push(make("li", { className: "empty" }, t("empty_shelf")));
  for (const one of [...place.children]) if (!all.includes(one)) one.remove();
  all.forEach((one, i) => one !== place.children[i] && place.insertBefore(one, place.children[i]));
  return things.some((one) => ["queued", "in_progress", "preparing"].includes(one.status));
}

function avatarCard(avatar) {
  const ready = avatar.status === "ready", path = `/v1/avatars/${encodeURIComponent(avatar.name)}`;
  const hints = [...(avatar.photo?.advice ?? []).map((one) => said(one)), avatar.consent].filter(Boolean);
  return make("li", {},
    picture(ready && `${path}/preview.jpg`),
    make("p", {}, make("b", {}, avatar.name), ` · ${ready ? avatar.engine : t("preparing")}`),
    ...hints.map((one) => make("p", { className: "hint" }, one)),
    actions(ready && button("use", () => use(avatar.name)), button("remove", () => forget(avatar.name, path))));
}

function jobCard(job) {
  const made = picture(job.files.thumbnail), what = job.request.text ?? job.report?.engine;
  const when = () => new Date(job.created_at * 1000).toLocaleString(chosen() === "zh" ? "zh-CN" : []);
  return make("li", {},
    job.files.thumbnail && made,
    what && make("p", {}, what.slice(0, 120)),
    job.status === "in_progress" && make("progress", { max: 100, value: job.progress }),
    make("p", { className: job.error ? "hint bad" : "hint" },
      job.error ? reason(job.error) : job.status === "completed" ? when() : standing(job)),
    actions(
      job.files.video && button("play", ({ target }) => play(job, made, target)),
      job.files.video && button("video", () => save(job, "video")),
      button("remove", () => forget(job.id, `/v1/jobs/${job.id}`))));
}

const actions = (...buttons) => make("div", { className: "actions" }, ...buttons);

function picture(path) {
  const it = make("img", { alt: "" });
  if (path) blob(path).then((data) => present(it, data)).catch(() => it.remove());
  it.onload = () => URL.revokeObjectURL(it.src);
  return it;
}

async function play(job, made, button) {
  button.disabled = true;
  const video = make("video", { controls: true, playsInline: true });
  present(video, await blob(job.files.video));
  made.replaceWith(video);
  button.remove();
  video.focus();
  await video.play();
}

async function use(name) {
  location.hash = "#make";
  const field = $("avatar");
  await fillAvatars(field);
  field.value = name;
  field.dispatchEvent(new Event("change"));
}

async function forget(name, path) {
  if (!confirm(t("removing", name))) return;
  await remove(path).finally(fill);
}

async function keep() {
  complain(null);
  const name = $("keep-name").value.trim(), file = $("keep-portrait").files[0];
  if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(name)) throw new Error(t("name_wrong"));
  if (!file) throw new Error(t("choose_picture"));
  const portrait = await upload(file, "portrait");
  const avatar = await post("/v1/avatars", { name, portrait, consent: $("keep-consent").value });
  $("keep").reset();
  $("keep-portrait").onchange();
  await fill();
  const last = await follow(avatar.job);
  await fill();
  if (last?.error) throw new Error(reason(last.error));
}
