// Forms that send JSON to the API, and tell at each field what is wrong with it.
import { call, hold, say } from "./api.js";
import { go } from "./page.js";

/** Return a form's values as the API takes them. A name with dots is a place in the body; data-type says what it is:
 *  number, values (one number, or several with commas between), json, list (a line an item), flag (a checkbox), text
 *  (default). What is empty is left out. */
export function valuesOf(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || field.type === "file" || field.closest("[hidden]")) continue;
    if (field.type === "radio" && !field.checked) continue;
    if (field.type === "checkbox" && field.dataset.type !== "flag" && !field.checked) continue;
    const value = valueOf(field);
    if (value === undefined) continue;
    const path = field.name.split(".");
    let place = body;
    for (const name of path.slice(0, -1)) place = place[name] ??= {};
    const last = path.at(-1);
    if (field.type === "checkbox" && field.dataset.type !== "flag") (place[last] ??= []).push(value);
    else place[last] = value;
  }
  return body;
}

function valueOf(field) {
  if (field.dataset.type === "flag") return field.checked;
  const text = field.value.trim();
  if (text === "") return undefined;
  switch (field.dataset.type) {
    case "number": return numberOf(text);
    case "values": return text.includes(",") ? text.split(",").map((part) => numberOf(part.trim())) : numberOf(text);
    case "json": try { return JSON.parse(text); } catch { return text; }
    case "list": return text.split("\n").map((line) => line.trim()).filter(Boolean);
    default: return text;
  }
}

const numberOf = (text) => (text === "" || Number.isNaN(Number(text)) ? text : Number(text));

/** Say at the fields what is wrong, and by default go to the first; return what belongs to none of them. */
export function tell(form, errors, { focus = true } = {}) {
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  for (const line of form.querySelectorAll(".wrong")) line.remove();
  const left = [];
  let first = null;
  for (const { param, message } of errors) {
    const field = fieldFor(form, param);
    if (!field) { left.push(message); continue; }
    const line = document.createElement("p");
    line.className = "wrong";
    line.id = `${field.id || field.name}-wrong`;
    line.textContent = message.replace(`${param}: `, "");
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", `${line.id} ${field.dataset.help ?? ""}`.trim());
    (field.closest(".field") ?? field.parentElement).append(line);
    const folded = field.closest("details");
    if (folded) folded.open = true;
    first ??= field;
  }
  if (focus) first?.focus();
  return left;
}

/** Find the field for a place in the body: the one of that name, or of the nearest place above it. */
function fieldFor(form, param) {
  const path = (param ?? "").split(".");
  while (path.length && path[0]) {
    const field = form.elements[path.join(".")];
    if (field) return field.length && !field.options ? field[0] : field;
    path.pop();
  }
  return null;
}

/** data-call="POST /v1/..." (with {name} of a field in the address) [data-then="/jobs/{id}"] [data-said="..."] */
export function bindForm(form) {
  form.noValidate = true;
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (form.querySelector("[aria-busy=true]")) return; // It is sent already, or a part of it is on its way.
    tell(form, []);
    const free = hold(event.submitter ?? form.querySelector("button:not([type=button])"));
    try {
      const body = valuesOf(form);
      const [method, path] = form.dataset.call.split(" ");
      const address = path.replace(/\{([\w.]+)\}/g, (_, name) => {
        const value = form.elements[name].value;
        delete body[name];
        return encodeURIComponent(value);
      });
      const answer = await call(method, address, method === "DELETE" ? undefined : body);
      form.closest("dialog")?.close();
      go(form.dataset.then ?? "", answer, form.dataset.said, free);
    } catch (problem) {
      const left = tell(form, problem.errors ?? []);
      if (left.length || !problem.errors?.length) say(left.join(" ") || problem.message, { bad: true });
      free();
    }
  };
}
