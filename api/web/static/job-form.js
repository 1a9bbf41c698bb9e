// The form of a new job: its settings follow model, method and preset, and what it will take is told while one types.
import { call } from "./api.js";
import { tell, valuesOf } from "./form.js";

const form = document.getElementById("job");
const panel = document.getElementById("estimate");
let asking = null;
let arriving = null;
let due = null;
let anew = false;

if (form) start();

function start() {
  const model = document.getElementById("f-model");
  const other = document.getElementById("f-model-other");
  const method = document.getElementById("f-method.type");
  model.addEventListener("change", () => {
    const named = model.selectedOptions[0].hasAttribute("data-other");
    other.hidden = !named;
    other.name = named ? "model" : "";
    model.name = named ? "" : "model";
    if (named) other.focus(); else settings();
  });
  other.addEventListener("change", () => settings());
  method.addEventListener("change", () => settings({ other: true }));
  form.addEventListener("change", (event) => { if (event.target.matches("[data-preset]")) settings({ other: true }); });
  form.addEventListener("input", () => { forget(); due = setTimeout(estimate, 450); });
  form.addEventListener("submit", forget);
  // What was chosen on a page that is shown again is not what its settings were made for.
  if (method.value !== [...method.options].find((each) => each.defaultSelected)?.value) settings({ other: true });
  else estimate();
}

/** What was asked for before something was typed or sent says nothing about it. */
function forget() {
  clearTimeout(due);
  asking?.abort();
}

const modelName = () => form.elements.model?.value.trim() ?? "";

/** Fetch the settings of what is chosen now. What was typed stays, unless another method or preset was chosen.
 *  Until they are here nothing can be typed into the old ones, nor the job be started with them. */
async function settings({ other = false } = {}) {
  arriving?.abort();
  anew ||= other; // Also for a model that is chosen before they have come.
  const mine = arriving = new AbortController();
  const here = new URL(location.href);
  here.searchParams.set("model", modelName());
  here.searchParams.set("method", form.elements["method.type"].value);
  const preset = form.querySelector("[data-preset]:checked")?.value;
  if (anew) here.searchParams.set("preset", preset ?? "recommended");
  const typed = anew ? [] : fields().filter((each) => each.value !== "").map((each) => [each.name, each.value]);
  const part = document.getElementById("method");
  const focused = document.activeElement;
  const again = part.contains(focused) ? focused.id || focused.value : null;
  hold(true);
  try {
    const answer = await fetch(here, { headers: { Accept: "text/html" }, signal: mine.signal });
    const fresh = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("method");
    if (fresh && mine === arriving) {
      const open = part.querySelector("#more")?.open;
      part.replaceWith(fresh);
      anew = false;
      if (open) fresh.querySelector("#more").open = true;
      for (const [name, value] of typed) if (form.elements[name]) form.elements[name].value = value;
      history.replaceState(null, "", here);
    }
  } catch { /* The settings that are shown stay; what is wrong with them is told by the estimate. */ }
  if (mine !== arriving) return;
  arriving = null;
  hold(false);
  if (again) (document.getElementById(again) ?? document.querySelector(`#method [data-preset][value="${again}"]`))?.focus();
  estimate();
}

function hold(on) {
  const held = [...document.querySelectorAll("#method :is(input, select, textarea)"), form.querySelector("button:not([type=button])")];
  for (const each of held) if (each) each.disabled = on;
  document.getElementById("method").setAttribute("aria-busy", String(on));
}

const fields = () => [...document.querySelectorAll("#method [name^='method.']")];

async function estimate() {
  asking?.abort();
  asking = new AbortController();
  const mine = asking;
  const body = valuesOf(form);
  if (arriving || !body.training_file || !body.model) return; // It is asked for when the settings have come.
  panel.classList.add("stale");
  try {
    show(await call("POST", "/v1/fine_tuning/estimates", body, { signal: mine.signal }));
    tell(form, []);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    const left = tell(form, problem.errors ?? [], { focus: false });
    say(left.join(" ") || (problem.errors?.length ? "Mend what is marked to see it." : problem.message));
  } finally {
    if (mine === asking) panel.classList.remove("stale");
  }
}

function say(text) {
  const line = document.createElement("p");
  line.className = "soft";
  line.textContent = text;
  panel.replaceChildren(line);
}

function show(found) {
  const list = document.createElement("dl");
  list.className = "facts";
  const place = found.queue_position === 1 ? "next" : `number ${found.queue_position}`;
  const facts = [
    ["Time", found.seconds === null ? "known after a first job on this model" : `about ${span(found.seconds)}`],
    ["Optimiser steps", found.steps.toLocaleString()],
    ["Memory", found.memory_bytes_at_least === null ? "not known" : `at least ${size(found.memory_bytes_at_least)}`],
    ["Disk", found.disk_bytes === null ? "not known" : `up to ${size(found.disk_bytes)}`],
    ["Runs on", found.device === "gpu" ? "a GPU" : "any processor"],
    ["In the queue", place],
    ["Starts", found.estimated_start === null ? (found.queue_position === 1 ? "when a worker is free" : "not known yet") : moment(found.estimated_start)],
  ];
  for (const [name, value] of facts) {
    const row = document.createElement("div");
    row.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value }));
    list.append(row);
  }
  panel.replaceChildren(list);
  for (const [text, tone] of [[found.waits_for && `No such worker is there now: ${found.waits_for}. The job would wait for one.`, "busy"], [found.refused, "bad"]]) {
    if (!text) continue;
    panel.append(Object.assign(document.createElement("p"), { className: `notice small ${tone}`, textContent: text }));
  }
}

function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function size(bytes) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}

function moment(seconds) {
  const left = seconds - Date.now() / 1000;
  return left < 5 ? "at once" : `in about ${span(left)}`;
}
