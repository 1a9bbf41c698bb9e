// The form of a new comparison: two to six models, prompts from three places, and how many pictures that makes.
import { call, hold, say, sayNext } from "./api.js";
import { tell, valuesOf } from "./form.js";

const form = document.getElementById("new");
const rows = document.getElementById("models");

function body() {
  const { models, seeds, from, ...rest } = valuesOf(form);
  const told = { ...rest };
  if (models) told.models = Object.values(models);
  if (seeds) told.seeds = seeds.split(/[\s,]+/).filter(Boolean).map((one) => /^\d+$/.test(one) ? Number(one) : one);
  return told;
}

/** Say what is missing before anything is sent. */
function missing(told) {
  const wrong = [];
  if (rows) {
    const empty = [...rows.querySelectorAll("select")].filter((select) => !select.value);
    for (const select of empty) wrong.push({ param: select.name, message: "Choose a model." });
  }
  const from = form.elements.from.value;
  if (from === "typed" && !told.prompts?.length) wrong.push({ param: "prompts", message: "Write at least one prompt." });
  if (from === "dataset" && !told.dataset) wrong.push({ param: "dataset", message: "Choose a dataset." });
  return wrong;
}

form.noValidate = true;
form.onsubmit = async (event) => {
  event.preventDefault();
  const told = body();
  const wrong = missing(told);
  tell(form, wrong);
  if (wrong.length || form.querySelector("[aria-busy=true]")) return;
  const free = hold(form.querySelector("button.primary"));
  try {
    const made = await call("POST", "/v1/comparisons", told);
    sayNext("The pictures are being drawn.");
    location.assign(`/comparisons/${made.id}`);
  } catch (problem) {
    const left = tell(form, problem.errors ?? []);
    if (left.length || !problem.errors?.length) say(left.join(" ") || problem.message, { bad: true });
    free();
  }
};

function choose() {
  const from = form.elements.from.value;
  for (const part of form.querySelectorAll("[data-from]")) part.hidden = part.dataset.from !== from;
  count();
}

/** Tell how many pictures will be drawn, and how many pairs that gives to vote on. */
function count() {
  const told = body();
  const prompts = form.elements.from.value === "dataset" ? told.prompts_from : told.prompts?.length;
  const seeds = told.seeds?.length;
  const models = rows ? rows.querySelectorAll("select").length : 2;
  const line = document.getElementById("sum");
  if (!prompts || !seeds) { line.textContent = ""; return; }
  const pictures = prompts * seeds * models;
  const pairs = prompts * seeds * models * (models - 1) / 2;
  line.textContent = `${pictures} pictures, ${pairs} pair${pairs === 1 ? "" : "s"} to vote on`;
}

function renumber() {
  const all = [...rows.querySelectorAll(".contender")];
  all.forEach((row, index) => {
    const select = row.querySelector("select");
    select.name = select.id = `models.${index}`;
    select.id = `f-models.${index}`;
    row.querySelector("label").htmlFor = select.id;
    row.querySelector("label").textContent = `Model ${index + 1}`;
    row.querySelector(".away").hidden = all.length <= 2;
    row.querySelector(".away").onclick = () => { row.remove(); renumber(); };
  });
  document.getElementById("another").disabled = all.length >= Number(rows.dataset.most);
  count();
}

if (rows) {
  document.getElementById("another").onclick = () => {
    const fresh = rows.lastElementChild.cloneNode(true);
    const select = fresh.querySelector("select");
    select.value = "";
    select.removeAttribute("aria-invalid");
    fresh.querySelector(".wrong")?.remove();
    rows.append(fresh);
    renumber();
    select.focus();
  };
  renumber();
}
for (const radio of form.querySelectorAll("input[name=from]")) radio.onchange = choose;
form.addEventListener("input", count);
choose();
