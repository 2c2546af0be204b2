// The service, as the page calls it. A key is asked for when it is wanted, and kept in this tab only.
import { $, reason } from "./common.js";
import { t } from "./words.js";

export class Refused extends Error {
  constructor(status, problem) {
    super(reason(problem) || `HTTP ${status}`);
    this.status = status;
  }
}

export const authorised = () => (sessionStorage.getItem("key") ? { Authorization: `Bearer ${sessionStorage.getItem("key")}` } : {});

let asking = null;
function askForKey() {
  const dialog = $("key"), field = $("key-value");
  asking ??= new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("key", field.value.trim());
      field.value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export async function call(path, { method = "GET", json, form, text, type, signal, headers = {} } = {}) {
  for (;;) {
    const sent = { ...headers, ...authorised() };
    if (json ?? type) sent["Content-Type"] = type ?? "application/json";
    let answer;
    try {
      answer = await fetch(path, { method, signal, headers: sent, body: json !== undefined ? JSON.stringify(json) : form ?? text });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, { detail: t("no_reach") });
    }
    if (answer.status === 401) {
      await askForKey();
      if (sessionStorage.getItem("key")) continue;
    }
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
    return answer;
  }
}

export const get = async (path, options) => (await call(path, options)).json();
export const post = async (path, json) => (await call(path, { method: "POST", json })).json();
export const remove = (path) => call(path, { method: "DELETE" });
export const blob = async (path) => (await call(path)).blob();

export async function upload(file, purpose, name = file.name) {
  const form = new FormData();
  form.append("purpose", purpose);
  form.append("file", file, name);
  return (await (await call("/v1/files", { method: "POST", form })).json()).id;
}

// A job at each of its changes, until it has ended; comes back after a lost connection.
export async function* follow(id, signal) {
  for (let pause = 500; ; pause = Math.min(pause * 2, 5000)) {
    try {
      const answer = await call(`/v1/jobs/${id}/events`, { signal });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          const data = /^data: (.*)$/m.exec(event)?.[1], kind = /^event: (.*)$/m.exec(event)?.[1];
          if (kind === "gone") return;
          if (!data) continue;
          pause = 500;
          yield JSON.parse(data);
          if (kind === "done") return;
        }
      }
    } catch (error) {
      if (signal?.aborted || error.status >= 400) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
