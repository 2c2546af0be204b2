// The service, as the page calls it. A key is asked for when it is wanted, and kept in this tab only.
import { $, reason } from "./common.js";
import { t } from "./words.js";

class Refused extends Error {
  constructor(status, problem) {
    super(reason(problem) || `HTTP ${status}`);
    this.status = status;
  }
}

const key = () => sessionStorage.getItem("key");
export const authorised = () => (key() ? { Authorization: `Bearer ${key()}` } : {});

let asking = null;
function askForKey() {
  const dialog = $("key"), field = $("key-value");
  asking ??= new Promise((resolve) => {
    dialog.onclose = () => {
      sessionStorage.setItem("key", field.value.trim());
      field.value = "";
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

export const reach = (path, options) => fetch(path, options).catch(() => { throw new Refused(0, { detail: t("no_reach") }); });

export async function call(path, { method = "GET", json, body = json && JSON.stringify(json), type = json && "application/json" } = {}) {
  for (;;) {
    const headers = authorised();
    if (type) headers["Content-Type"] = type;
    const answer = await reach(path, { method, headers, body });
    if (answer.status === 401) {
      await askForKey();
      if (key()) continue;
    }
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
    return answer;
  }
}

export const get = async (path) => (await call(path)).json();
export const post = async (path, json) => (await call(path, { method: "POST", json })).json();
export const remove = (path) => call(path, { method: "DELETE" });
export const blob = async (path) => (await call(path)).blob();

// Whether a peer connection comes into a state in time.
export const until = (peer, state, is, most) => new Promise((resolve) => {
  setTimeout(resolve, most, false);
  (peer[`on${state.toLowerCase()}change`] = () => peer[state] === is && resolve(true))();
});

// Offers to receive pictures and sound, and takes the answer. Where the connection then is.
export async function dial(peer, path) {
  for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
  await peer.setLocalDescription();
  await until(peer, "iceGatheringState", "complete", 1500);
  const body = peer.localDescription.sdp;
  if (!body.includes("a=candidate")) throw new Error(t("no_loop"));
  const answer = await call(path, { method: "POST", type: "application/sdp", body });
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  return answer.headers.get("Location");
}

export async function upload(file, purpose) {
  const body = new FormData();
  body.append("purpose", purpose);
  body.append("file", file);
  return (await (await call("/v1/files", { method: "POST", body })).json()).id;
}

// A job at each of its changes, until it has ended; comes back after a lost connection. Its last
// state; nothing, if it was deleted.
export async function follow(id, told = () => {}) {
  for (let pause = 500; ; pause = Math.min(pause * 2, 5000)) {
    try {
      const answer = await call(`/v1/jobs/${id}/events`);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          const [, kind, data] = /^event: (.*)\ndata: (.*)$/m.exec(event) ?? [];
          if (kind === "gone") return null;
          if (!data) continue;
          pause = 500;
          const state = JSON.parse(data);
          told(state);
          if (kind === "done") return state;
        }
      }
    } catch (error) {
      if (error.status >= 400) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
