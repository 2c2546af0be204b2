// Avatars and clips that are there.
import { blob, follow, get, call, remove, upload } from "./api.js";
import { $, complain, fillAvatars, make, reason } from "./common.js";
import { save } from "./make.js";
import { said, t } from "./words.js";

let pictures = [];

export function begin() {
  const file = $("keep-portrait");
  file.onchange = () => { file.previousElementSibling.textContent = file.files[0]?.name ?? t("choose_picture"); };
  $("keep").onsubmit = (event) => { event.preventDefault(); keep().catch(complain); };
}

export function show() {
  complain(null);
  fill().catch(complain);
}

async function fill() {
  const [avatars, jobs] = await Promise.all([get("/v1/avatars"), get("/v1/jobs?limit=24")]);
  for (const picture of pictures) URL.revokeObjectURL(picture);
  pictures = [];
  $("avatars").replaceChildren(...avatars.data.map(avatarCard));
  $("jobs").replaceChildren(...jobs.data.filter((job) => job.kind === "clip").map(jobCard));
  for (const list of [$("avatars"), $("jobs")])
    if (!list.children.length) list.append(make("li", { className: "empty", textContent: t("empty_shelf") }));
}

function avatarCard(avatar) {
  const ready = avatar.status === "ready", picture = make("img", { alt: "", loading: "lazy" });
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
  const picture = make("img", { alt: "", loading: "lazy" });
  if (job.files.thumbnail) showPicture(picture, job.files.thumbnail);
  const what = job.request.text ?? job.report?.engine ?? "";
  const state = job.status === "completed" ? new Date(job.created_at * 1000).toLocaleString() : `${job.status} · ${job.progress} %`;
  const card = make("li", {}, job.files.thumbnail ? picture : "", make("p", { textContent: what.slice(0, 120) }),
    make("p", { className: job.error ? "hint bad" : "hint", textContent: job.error ? reason(job.error) : state }));
  card.append(actions(
    job.files.video && [t("download_video"), () => save(job, "video").catch(complain)],
    [t("remove"), () => forget(job.id, `/v1/jobs/${job.id}`)],
  ));
  return card;
}

function actions(...given) {
  return make("div", { className: "actions" }, ...given.filter(Boolean).map(([textContent, onclick]) =>
    make("button", { type: "button", textContent, onclick })));
}

async function showPicture(picture, path) {
  try {
    picture.src = URL.createObjectURL(await blob(path));
    pictures.push(picture.src);
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
