// What every page does: the menu, times in the reader's own zone, buttons and forms that call the API, parts that live.
import { call, hold, say, sayNext } from "./api.js";
import { bindForm } from "./form.js";
import { live } from "./live.js";

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const distances = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const STEPS = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [604800, "day", 86400]];

function ago(moment) {
  const seconds = (moment - Date.now()) / 1000;
  const step = STEPS.find(([most]) => Math.abs(seconds) < most);
  return step ? distances.format(Math.round(seconds / step[2]), step[1]) : moments.format(moment);
}

/** Make everything below an element work; called again for what is put into the page later. */
export function enliven(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    time.textContent = ago(moment);
    time.title = moments.format(moment);
  }
  for (const button of root.querySelectorAll("button[data-call]")) button.onclick = () => press(button);
  for (const button of root.querySelectorAll("button[data-open]")) {
    button.onclick = () => document.getElementById(button.dataset.open).showModal();
  }
  for (const button of root.querySelectorAll("button[data-close]")) button.onclick = () => button.closest("dialog").close();
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.onclick = () => copy(document.getElementById(button.dataset.copy));
  }
  for (const form of root.querySelectorAll("form[data-call]")) bindForm(form);
}

/** Copy an element's text; where the browser does not let a page do so (plain http), select it for the reader to. */
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent.trim());
    say("Copied.");
  } catch {
    getSelection().selectAllChildren(element);
    say("Selected: copy it by the keyboard.");
  }
}

/** data-call="POST /v1/..." [data-body='{...}'] [data-sure="Really?"] [data-said="Done."] [data-then="/where" | "stay"] */
async function press(button) {
  const { call: what, body, sure, said, then = "" } = button.dataset;
  if (sure && !confirm(sure)) return;
  const free = hold(button);
  try {
    const [method, path] = what.split(" ");
    const answer = await call(method, path, body ? JSON.parse(body) : undefined);
    go(then, answer, said, free);
  } catch (problem) {
    say(problem.message, { bad: true });
    free();
  }
}

/** Go where an answer leads: "/jobs/{id}" with what was answered, "stay", or (when empty) here again. What was held is
 *  let free only on a page that stays: until the next one is there, a second click would ask for the same again. */
export function go(then, answer, said, free) {
  if (then === "stay") {
    free();
    if (said) say(said);
    document.dispatchEvent(new CustomEvent("changed", { detail: answer }));
    return;
  }
  if (said) sayNext(said);
  if (then) location.assign(then.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(answer?.[name] ?? "")));
  else location.reload();
}

// Whatever works by a script is shown once all scripts of the page have run: what is clicked before would be lost.
document.addEventListener("DOMContentLoaded", () => document.documentElement.classList.add("ready"));

const menu = document.querySelector(".menu");
if (menu) {
  menu.onclick = () => {
    const open = menu.closest(".places").classList.toggle("open");
    menu.setAttribute("aria-expanded", String(open));
  };
}
const said = sessionStorage.getItem("said");
if (said) {
  sessionStorage.removeItem("said");
  say(said);
}
live(enliven);
enliven(document);
