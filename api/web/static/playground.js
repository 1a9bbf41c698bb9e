// Draws with one model or two, shows pictures on their way, and remembers what was drawn.
import { call, hold, say } from "./api.js";
import { tell, valuesOf } from "./form.js";
import { asCurl, asPython } from "./snippets.js";
import { Stage } from "./stage.js";
import { events } from "./stream.js";

const PATH = "/v1/images/generations";
const PLAIN = {
  queue_full: "The queue is full.",
  drawing_timeout: "Nobody drew it in time: no serving worker was free.",
  drawing_cancelled: "Somebody cancelled it.",
};
const form = document.getElementById("draw");
const [go, cancel, reseed, blind, pair, lock] = ["go", "cancel", "reseed", "blind", "pair", "lock"].map((id) => document.getElementById(id));
const fields = form.elements;
const stage = new Stage(document.getElementById("stage"));
let running = null;

const anySeed = () => Math.floor(Math.random() * (2 ** 31 - 10));

/** What is asked of the API, beside the model. */
function asked() {
  const { beside, model, ...body } = valuesOf(form);
  return { model, ...body };
}

function modelsAsked() {
  return pair.checked ? [fields.model.value, fields.beside.value] : [fields.model.value];
}

async function draw() {
  if (running) running.abort();
  tell(form, []);
  if (!lock.checked || fields.seed.value === "") fields.seed.value = anySeed();
  rewrite();
  const body = asked();
  remember();
  const seeds = Array.from({ length: Number.isInteger(body.n) && body.n > 0 && body.n <= 10 ? body.n : 1 }, (_, index) => body.seed + index);
  const columns = stage.begin(modelsAsked(), seeds, body.prompt ?? "");
  const mine = running = new AbortController();
  busy(true);
  await Promise.all(columns.map((column) => drawOne(column, { ...body, model: column.model }, mine.signal)));
  if (running === mine) {
    running = null;
    busy(false);
  }
  document.dispatchEvent(new CustomEvent("changed"));
}

async function drawOne(column, body, signal) {
  let waiting = null;
  column.tell("Waiting for a serving worker…");
  try {
    const stream = events(PATH, { ...body, stream: true, partial_images: 3 }, {
      signal,
      begun: (headers) => { waiting = watch(headers.get("Location"), column, signal); },
    });
    for await (const event of stream) {
      waiting?.stop();
      if (event.error) throw Object.assign(new Error(event.error.message), { code: event.error.code, errors: [] });
      if (event.b64_json) column.take(event);
    }
    if (!column.frames.every((frame) => frame.done)) column.end("The connection was lost before all was drawn. Draw again.", { bad: true });
  } catch (problem) {
    if (problem.name === "AbortError") { column.end("Cancelled."); return; }
    const left = tell(form, problem.errors ?? []);
    const wait = problem.seconds ? ` Try again in ${problem.seconds} seconds.` : "";
    column.end(PLAIN[problem.code]?.concat(wait) ?? (left.join(" ") || problem.message), { bad: true });
  } finally {
    waiting?.stop();
  }
}

/** Tell the place in the queue until the first picture comes. */
function watch(address, column, signal) {
  if (!address) return null;
  let over = false;
  (async () => {
    while (!over && !signal.aborted) {
      try {
        const { status, queue_position: place } = await call("GET", address, undefined, { signal });
        if (over) return;
        if (status === "queued") column.tell(place > 1 ? `Place ${place} in the queue.` : "Next in the queue.");
        else if (status === "running") column.tell("A worker has begun.");
      } catch { /* It is asked again. */ }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  })();
  return { stop: () => { over = true; } };
}

function busy(is) {
  go.setAttribute("aria-busy", String(is));
  cancel.hidden = !is;
}

/** The address says what is drawn, so that a reload or a friend sees the same form. */
function remember() {
  const told = new URLSearchParams({ model: fields.model.value, prompt: fields.prompt.value });
  if (pair.checked) told.set("beside", fields.beside.value);
  history.replaceState(null, "", `?${told}`);
}

function rewrite() {
  const body = asked();
  document.getElementById("code-curl").textContent = asCurl(body);
  document.getElementById("code-python").textContent = asPython(body);
  document.getElementById("second").hidden = !pair.checked;
  if (blind) blind.hidden = !pair.checked;
}

async function compare() {
  const { model, prompt, n = 1, seed, ...rest } = asked();
  if (!prompt) { tell(form, [{ param: "prompt", message: "Write a prompt first." }]); return; }
  const free = hold(blind);
  const first = seed ?? anySeed();
  const { steps, guidance_scale, size, negative_prompt } = rest;
  try {
    const made = await call("POST", "/v1/comparisons", {
      models: modelsAsked(),
      prompts: [prompt],
      seeds: Array.from({ length: Math.min(n, 4) }, (_, index) => first + index),
      steps, guidance_scale, size, negative_prompt,
    });
    location.assign(`/comparisons/${made.id}`);
  } catch (problem) {
    const left = tell(form, (problem.errors ?? []).map(({ param, message }) => ({ param: param === "models.1" ? "beside" : param?.startsWith("models") ? "model" : param, message })));
    free();
    if (left.length || !problem.errors?.length) say(left.join(" ") || problem.message, { bad: true });
  }
}

/** Take the settings of an earlier picture, and show it. */
function again(button) {
  const settings = JSON.parse(button.dataset.settings);
  if (![...fields.model.options].some((option) => option.value === settings.model)) fields.model.prepend(new Option(settings.model, settings.model));
  for (const name of ["model", "prompt", "negative_prompt", "steps", "guidance_scale", "size"]) fields[name].value = settings[name] ?? "";
  fields.n.value = 1;
  fields.seed.value = settings.seed;
  lock.checked = true;
  pair.checked = false;
  rewrite();
  if (!running) stage.show(button.dataset.url, settings);
  window.scrollTo({ top: 0, behavior: "instant" });
  fields.prompt.focus({ preventScroll: true });
}

form.noValidate = true;
form.onsubmit = (event) => { event.preventDefault(); draw(); };
form.onkeydown = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); draw(); } };
form.oninput = rewrite;
pair.onchange = rewrite;
reseed.onclick = () => { fields.seed.value = anySeed(); const kept = lock.checked; lock.checked = true; draw(); lock.checked = kept; };
cancel.onclick = () => running?.abort();
if (blind) blind.onclick = compare;
document.addEventListener("click", (event) => { const button = event.target.closest(".again"); if (button) again(button); });
window.addEventListener("pagehide", () => running?.abort());
rewrite();
