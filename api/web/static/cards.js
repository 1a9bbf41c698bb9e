// One upload as people see it: how far it is, and what its dataset will be called.
import { call, say } from "./api.js";
import { tell, valuesOf } from "./form.js";
import { Upload } from "./upload.js";
import { packed } from "./zip.js";

let count = 0;

const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} KB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);

function span(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function blank() {
  const element = document.getElementById("upload").content.firstElementChild.cloneNode(true);
  const number = ++count;
  for (const one of element.querySelectorAll("[id]")) one.id += `-${number}`;
  for (const one of element.querySelectorAll("[for]")) one.htmlFor += `-${number}`;
  for (const one of element.querySelectorAll("[data-help]")) {
    one.dataset.help += `-${number}`;
    one.setAttribute("aria-describedby", one.dataset.help);
  }
  return element;
}

/** Say that an upload was interrupted, and how to go on: the browser must be given the file again. */
export async function interrupted(entry, { list, again, gone }) {
  let found;
  try {
    found = await call("GET", `/v1/uploads/${entry.id}`);
  } catch (problem) {
    if (problem.status === 404) gone();
    return; // Where the server does not answer, it may be there all the same.
  }
  if (list.querySelector(`[data-mark="${entry.mark}"]`)) return; // The same was chosen meanwhile, and goes on.
  if (found.status !== "pending") { gone(); return; }
  const element = blank();
  const slot = (name) => element.querySelector(`[data-slot=${name}]`);
  element.dataset.mark = entry.mark;
  slot("name").textContent = entry.name;
  const share = found.received_bytes / found.bytes;
  element.querySelector("progress").value = share;
  element.querySelector("progress").ariaLabel = `Upload of ${entry.name}`;
  slot("figures").textContent = `${size(found.received_bytes)} of ${size(found.bytes)}`;
  slot("said").textContent = `It was interrupted. ${Math.round(100 * share)} % has arrived: choose or drop the same again, and it goes on from there.`;
  slot("form").remove();
  element.querySelector("[data-act=cancel]").remove();
  slot("again").hidden = false;
  element.querySelector("[data-act=again]").onclick = again;
  element.querySelector("[data-act=discard]").onclick = async () => {
    gone();
    element.remove();
    try { await call("POST", `/v1/uploads/${entry.id}/cancel`); } catch (problem) { say(problem.message, { bad: true }); }
  };
  list.append(element);
}

export class Card {
  /** `made(card)` returns the bytes, `ended(dataset)` hears what came of them. */
  constructor({ name, mark, made, project, ended }) {
    Object.assign(this, { name, mark, made, project, ended, file: null, wanted: false });
    this.element = blank();
    this.element.dataset.open = "yes";
    this.element.dataset.mark = mark;
    this.slot("name").textContent = name;
    this.slot("said").textContent = "Waits for its turn.";
    this.bar.ariaLabel = `Upload of ${name}`;
    this.form = this.slot("form");
    this.form.noValidate = true;
    this.form.elements.name.value = name.replace(/\.(zip|tar|tar\.gz|tgz|parquet)$/i, "").replace(/[^A-Za-z0-9 ._-]/g, "-").replace(/^[ ._-]+/, "").slice(0, 100) || "pictures";
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.wanted = true;
      this.button.disabled = true;
      this.slot("promise").textContent = this.file ? "" : "It is made as soon as the file has arrived.";
      this.make();
    };
    this.cancelButton.onclick = () => this.cancel();
  }

  slot(name) { return this.element.querySelector(`[data-slot=${name}]`); }
  get bar() { return this.element.querySelector("progress"); }
  get button() { return this.form.querySelector("button"); }
  get cancelButton() { return this.element.querySelector("[data-act=cancel]"); }

  say(text) {
    if (this.slot("said").textContent !== text) this.slot("said").textContent = text;
  }

  /** Pack loose files into one. */
  async pack(files) {
    const told = (done) => {
      this.bar.value = done / files.length;
      this.slot("figures").textContent = `${done} of ${files.length} files read`;
    };
    this.say("Packing the pictures.");
    this.packing = new AbortController();
    return packed(files.map(({ path, file }) => ({ path, blob: file })), { told, signal: this.packing.signal });
  }

  async send() {
    if (this.element.dataset.open !== "yes") return;
    try {
      const blob = await this.made(this);
      if (this.element.dataset.open !== "yes") return;
      this.upload = new Upload(blob, this.name, { project: this.project, mark: this.mark, told: () => this.show() });
      this.show();
      this.file = await this.upload.run();
      this.cancelButton.remove();
      this.say("It has arrived.");
      if (!this.wanted) this.say("It has arrived. Name it and make the dataset.");
      this.make();
    } catch (problem) {
      if (this.element.dataset.open !== "yes") return;
      this.element.dataset.open = "failed";
      this.say(`It could not be sent. ${problem.message} What has arrived is kept for a day: drop the same again to go on.`);
      this.slot("said").classList.add("wrong");
      this.form.hidden = true;
      this.cancelButton.textContent = "Discard";
    }
  }

  show() {
    const { blob, sent, speed, secondsLeft, state, note } = this.upload;
    this.bar.value = sent / blob.size;
    const figures = [`${size(sent)} of ${size(blob.size)}`];
    if (state === "sending" && speed) figures.push(`${size(speed)}/s`, `${span(secondsLeft)} left`);
    this.slot("figures").textContent = figures.join(" · ");
    if (state === "sending") this.say("Sending. Leave this page open; if it closes, drop the same again and it goes on.");
    else if (state === "completing") this.say("Putting the parts together.");
    else if (note) this.say(note);
  }

  /** Make the dataset once the file is there and its name is settled. */
  async make() {
    if (!this.wanted || !this.file) return;
    const body = { ...valuesOf(this.form), file: this.file.id };
    if (body.split?.validation === undefined) delete body.split;
    tell(this.form, []);
    try {
      const dataset = await call("POST", "/v1/datasets", body);
      this.element.dataset.open = "done";
      const link = this.slot("made").querySelector("a");
      link.href = `/datasets/${dataset.id}`;
      link.textContent = `${dataset.name}, version ${dataset.version}`;
      this.slot("made").hidden = false;
      this.form.hidden = true;
      this.say("It is being checked.");
      this.ended(dataset);
    } catch (problem) {
      this.wanted = false;
      this.button.disabled = false;
      this.slot("promise").textContent = "";
      const left = tell(this.form, problem.errors ?? []);
      if (left.length || !problem.errors?.length) say(left.join(" ") || problem.message, { bad: true });
    }
  }

  async cancel() {
    this.element.dataset.open = "cancelled";
    this.packing?.abort();
    this.element.remove();
    await this.upload?.cancel();
    say(`${this.name} is not sent.`);
  }
}
