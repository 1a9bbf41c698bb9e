// Forms whose answer holds a secret: it is shown once, in a dialog, and is then nowhere on the page.
// <form data-secret="POST /v1/...">; a field with data-days is a number of days from now.
import { call, hold, say } from "./api.js";
import { tell, valuesOf } from "./form.js";

const DAY = 24 * 3600;
const told = document.getElementById("told");

function bodyOf(form) {
  const body = valuesOf(form);
  for (const field of form.querySelectorAll("[data-days]")) {
    if (body[field.name] !== undefined) body[field.name] = Math.floor(Date.now() / 1000) + Number(body[field.name]) * DAY;
  }
  return body;
}

async function send(form) {
  tell(form, []);
  const free = hold(form.querySelector("button:not([type=button])"));
  try {
    const body = bodyOf(form);
    const [method, path] = form.dataset.secret.split(" ");
    const address = path.replace("{id}", () => encodeURIComponent(body.id));
    delete body.id;
    const answer = await call(method, address, body);
    form.closest("dialog")?.close();
    show(answer.key ?? answer.signing_secret);
  } catch (problem) {
    const left = tell(form, problem.errors ?? []);
    if (left.length || !problem.errors?.length) say(left.join(" ") || problem.message, { bad: true });
  } finally {
    free();
  }
}

function show(secret) {
  document.getElementById("secret").textContent = secret;
  told.showModal();
}

// It is open until the page is made anew: what is pressed on the old one would be lost.
document.getElementById("kept").onclick = leave;
told.oncancel = (event) => { event.preventDefault(); leave(); };
told.onclose = leave; // A browser lets nobody be kept by the second Escape.

function leave() {
  document.getElementById("secret").textContent = "";
  location.reload();
}
for (const form of document.querySelectorAll("form[data-secret]")) {
  form.noValidate = true;
  form.onsubmit = (event) => {
    event.preventDefault();
    send(form);
  };
}
// A button that opens a dialog about one of many: data-for is its id, data-name what it is called.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-open][data-for]");
  if (!button) return;
  const dialog = document.getElementById(button.dataset.open);
  dialog.querySelector("[name=id]").value = button.dataset.for;
  dialog.querySelector("[data-slot=name]").textContent = button.dataset.name;
});
