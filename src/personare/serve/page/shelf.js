// Avatars and clips that are there.
import { blob, follow, get, call, remove, upload } from "./api.js";
import { $, complain, fillAvatars, make, reason, save, standing } from "./common.js";
import { chosen, said, t } from "./words.js";

const FOLLOWED_MS = 1500;
const cards = new Map();
let timer = null;

export function begin() {
  const file = $("keep-portrait");
  file.onchange = () => { file.previousElementSibling.textContent = file.files[0]?.name ?? t("choose_picture"); };
  $("keep").onsubmit = (event) => { event.preventDefault(); keep().catch(complain); };
}

export function show() {
  complain(null);
  fill().catch(complain);
}

// What is there; again and again, while something is under way and somebody looks.
async function fill() {
  clearTimeout(timer);
  const [avatars, jobs] = await Promise.all([get("/v1/avatars"), get("/v1/jobs?limit=24")]);
  const busy = [put($("avatars"), avatars.data, avatarCard), put($("jobs"), jobs.data.filter((job) => job.kind === "clip"), jobCard)];
  clearTimeout(timer);
  if (busy.includes(true)) timer = setTimeout(() => !$("shelf").hidden && fill().catch(complain), FOLLOWED_MS);
}

// One card each, made anew where it has changed: one that plays goes on. Whether something is under way.
function put(place, things, cardOf) {
  const all = things.map((one) => {
    const key = place.id + (one.id ?? one.name), as = chosen() + JSON.stringify(one);
    if (cards.get(key)?.as !== as) cards.set(key, { as, card: cardOf(one) });
    return cards.get(key).card;
  });
  if (!all.length) all.push(make("li", { className: "empty", textContent: t("empty_shelf") }));
  for (const one of [...place.children]) if (!all.includes(one)) one.remove();
  all.forEach((one, i) => one !== place.children[i] && place.insertBefore(one, place.children[i]));
  return things.some((one) => ["queued", "in_progress", "preparing"].includes(one.status));
}

function avatarCard(avatar) {
  const ready = avatar.status === "ready", picture = make("img", { alt: "" });
  if (ready) showPicture(picture, `/v1/avatars/${encodeURIComponent(avatar.name)}/preview.jpg`);
  const card = make("li", {}, picture, make("p", {}, make("b", { textContent: avatar.name }),
    ` · ${ready ? avatar.engine : t("preparing")}`));
  for (const line of [...(avatar.photo?.advice ?? []).map((one) => said(one)), avatar.consent].filter(Boolean))
    card.append(make("p", { className: "hint", textContent: line }));
  card.append(actions(
    ready && [t("use"), () => { location.hash = "#make"; fillAvatars($("avatar")).then(() => choose(avatar.name)).catch(complain); }],
    [t("remove"), () => forget(avatar.name, `/v1/avatars/${encodeURIComponent(avatar.name)}`)],
  ));
  return card;
}

function jobCard(job) {
  const picture = make("img", { alt: "" }), card = make("li"), isMade = job.status === "completed";
  if (job.files.thumbnail) {
    showPicture(picture, job.files.thumbnail);
    card.append(picture);
  }
  const what = job.request.text ?? job.report?.engine ?? "";
  if (what) card.append(make("p", { textContent: what.slice(0, 120) }));
  if (job.status === "in_progress") card.append(make("progress", { max: 100, value: job.progress }));
  card.append(make("p", { className: job.error ? "hint bad" : "hint",
    textContent: job.error ? reason(job.error) : isMade ? new Date(job.created_at * 1000).toLocaleString(chosen() === "zh" ? "zh-CN" : []) : standing(job) }));
  card.append(actions(
    job.files.video && [t("play"), ({ target }) => play(job, picture, target).catch(complain)],
    job.files.video && [t("download_video"), () => save(job, "video").catch(complain)],
    [t("remove"), () => forget(job.id, `/v1/jobs/${job.id}`)],
  ));
  return card;
}

async function play(job, picture, button) {
  button.disabled = true;
  const video = make("video", { controls: true, playsInline: true, src: URL.createObjectURL(await blob(job.files.video)) });
  picture.replaceWith(video);
  button.remove();
  video.focus();
  await video.play();
}

function actions(...given) {
  return make("div", { className: "actions" }, ...given.filter(Boolean).map(([textContent, onclick]) =>
    make("button", { type: "button", textContent, onclick })));
}

async function showPicture(picture, path) {
  try {
    picture.src = URL.createObjectURL(await blob(path));
    picture.onload = () => URL.revokeObjectURL(picture.src);
  } catch { picture.remove(); }
}

function choose(name) {
  const field = $("avatar");
  field.value = name;
  field.dispatchEvent(new Event("change"));
}

async function forget(name, path) {
  if (!confirm(t("removing", name))) return;
  await remove(path).catch(complain);
  show();
}

async function keep() {
  complain(null);
  const name = $("keep-name").value.trim(), file = $("keep-portrait").files[0];
  if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(name)) throw new Error(t("name_wrong"));
  if (!file) throw new Error(t("choose_picture"));
  const portrait = await upload(file, "portrait");
  const avatar = await (await call("/v1/avatars", { method: "POST", json: { name, portrait, consent: $("keep-consent").value } })).json();
  $("keep").reset();
  $("keep-portrait").onchange();
  await fill();
  let last = null;
  for await (const state of follow(avatar.job)) last = state;
  await fill();
  if (last?.error) throw new Error(reason(last.error));
}
