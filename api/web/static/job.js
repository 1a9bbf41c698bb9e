// The page of a job: it hears of what happens as it happens, and asks for its parts again when something did.
import { call, say } from "./api.js";
import { readable } from "./curves.js";
import { enliven } from "./page.js";
import { wipe } from "./wipe.js";
import { zoom } from "./zoom.js";

const list = document.getElementById("events");
const job = list.dataset.job;
const address = `/v1/fine_tuning/jobs/${job}/events`;
const status = document.getElementById("stream");
const older = document.getElementById("older");
const MOST = 400;
let last = list.dataset.after;
let source = null;
let ended = list.dataset.open !== "yes";
let due = null;

const isNew = (event) => event.type !== "metrics" && !list.querySelector(`[data-event="${event.id}"]`);

function row(event) {
  const line = document.createElement("li");
  line.className = event.level;
  line.dataset.event = event.id;
  const time = document.createElement("time");
  time.dateTime = new Date(event.created_at * 1000).toISOString();
  const kind = Object.assign(document.createElement("span"), { className: "kind", textContent: event.type });
  const text = Object.assign(document.createElement("span"), { textContent: event.message });
  line.append(time, kind, text);
  enliven(line);
  return line;
}

/** Ask for the page's parts once in a while, however much happens. */
function refresh() {
  due ??= setTimeout(() => { due = null; document.dispatchEvent(new CustomEvent("changed")); }, 1200);
}

function listen() {
  if (ended || source || document.hidden) return;
  // The browser resumes by itself after a lost connection, with the last id that it saw.
  source = new EventSource(`${address}?stream=true${last ? `&after=${last}` : ""}`);
  source.onopen = () => { status.textContent = "Live."; };
  source.onmessage = (message) => {
    if (message.data === "[DONE]") { ended = true; stop("It has ended."); refresh(); return; }
    const event = JSON.parse(message.data);
    last = event.id;
    if (isNew(event)) {
      list.prepend(row(event));
      while (!older.disabled && list.children.length > MOST) list.lastElementChild.remove();
    }
    refresh();
  };
  source.onerror = () => {
    status.textContent = "The connection was lost; it is tried again. The page is refreshed meanwhile.";
    if (source.readyState !== EventSource.CLOSED) return;
    source = null;
    setTimeout(listen, 5000);
  };
}

function stop(text) {
  source?.close();
  source = null;
  status.textContent = text;
}

// A browser opens few connections to one host: pages that nobody looks at hold none.
document.addEventListener("visibilitychange", () => (document.hidden ? stop("") : listen()));
addEventListener("pagehide", () => stop(""));
addEventListener("pageshow", listen);

older.onclick = async () => {
  const oldest = list.lastElementChild?.dataset.event;
  older.disabled = true;
  try {
    let page = { data: [], last_id: oldest, has_more: true };
    let added = 0;
    while (page.has_more && added === 0) {
      page = await call("GET", `${address}?limit=100${page.last_id ? `&after=${page.last_id}` : ""}`);
      for (const event of page.data.filter(isNew)) { list.append(row(event)); added += 1; }
    }
    older.hidden = !page.has_more;
    if (!added) say("There are no older events.");
  } catch (problem) {
    say(problem.message, { bad: true });
  } finally {
    older.disabled = false;
  }
};

const smooth = document.getElementById("smooth");
smooth.onchange = () => document.getElementById("curves").classList.toggle("plain", !smooth.checked);

function bind() {
  for (const button of document.querySelectorAll("button.promote")) {
    button.onclick = () => {
      const dialog = document.getElementById("promote");
      dialog.querySelector("[name=model]").value = button.dataset.model;
      document.getElementById("promote-what").textContent = button.dataset.title;
      dialog.showModal();
    };
  }
  readable(document);
  zoom();
  wipe();
}

document.addEventListener("refreshed", bind);
bind();
listen();
