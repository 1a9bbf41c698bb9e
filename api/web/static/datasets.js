// Bringing pictures: what is dropped or chosen is checked, packed where it is loose, sent, named, and made a dataset.
import { say } from "./api.js";
import { captionsOf, chosen, dropped, nameOf, sorted, wrongWith } from "./drop.js";
import { forget, isAlive, remembered } from "./upload.js";
import { Card, interrupted } from "./cards.js";
import { sha256 } from "./sha256.js";

const zone = document.getElementById("drop");
const refusals = document.getElementById("refusals");
const list = document.getElementById("uploads");
const project = zone.dataset.project;
const waiting = [];
let busy = false;

const room = () => ({ most: Number(zone.dataset.most), left: zone.dataset.left === "" ? null : Number(zone.dataset.left) });

function refuse(name, why, { mild = false, actions = [] } = {}) {
  const line = document.createElement("li");
  const strong = document.createElement("strong");
  strong.textContent = name;
  line.append(strong, ` ${why} `);
  if (mild) line.className = "mild";
  for (const [word, act] of actions) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "little";
    button.textContent = word;
    button.onclick = () => { line.remove(); act(); };
    line.append(button, " ");
  }
  refusals.append(line);
}

/** Take what was dropped or chosen. */
async function take(items) {
  refusals.replaceChildren();
  const found = sorted(items);
  for (const { path, file } of found.archives) {
    const wrong = await wrongWith(file, room());
    if (wrong) refuse(path, `is not sent: ${wrong}.`);
    else await add(file.name, `${file.name}:${file.size}:${file.lastModified}`, () => file);
  }
  if (found.loose.length) await takeLoose(found);
  for (const { path } of found.tableLike) {
    if (found.pictures.length) refuse(path, "is left out: a table of captions is called metadata.jsonl or metadata.csv.");
  }
  const left = found.left - (found.pictures.length ? found.tableLike.length : 0);
  if (left && (found.archives.length || found.loose.length)) {
    refuse(`${left} other ${left === 1 ? "file" : "files"}`, "stay here: only pictures (PNG, JPEG, WebP), captions and archives are taken.", { mild: true });
  } else if (left) {
    refuse(items[0].path + (left > 1 ? ` and ${left - 1} more` : ""), "cannot be taken: drop pictures with their captions, or a zip, tar, tar.gz or parquet file.");
  }
}

function takeLoose({ pictures, loose, bare }) {
  if (!pictures.length) return refuse("These captions", "come without pictures: drop both together.");
  const send = (files) => {
    const size = files.reduce((sum, { file }) => sum + file.size, 0);
    const { most, left } = room();
    if (size > most || (left !== null && size > left)) return refuse(nameOf(loose), "is not sent: together these files are larger than what may be stored.");
    const mark = files.map(({ path, file }) => `${path}:${file.size}:${file.lastModified}`).sort().join("\n");
    return add(nameOf(files), mark, (card) => card.pack(files));
  };
  if (!bare.length) return send(loose);
  const some = bare.length === pictures.length ? "have no captions" : `of ${pictures.length} pictures have no caption`;
  const actions = [["Take captions from the file names", () => send([...loose, ...captionsOf(bare)])]];
  if (bare.length < pictures.length) {
    const without = new Set(bare);
    actions.push(["Leave them out", () => send(loose.filter((one) => !without.has(one)))]);
  }
  refuse(`${bare.length} pictures`, `${bare.length === pictures.length ? "have no captions" : some}: put a .txt of the same name beside each, or one metadata.jsonl or metadata.csv for all.`, { actions });
}

async function add(name, told, made) {
  const mark = await sha256(new TextEncoder().encode(told).buffer);
  const before = list.querySelector(`[data-mark="${mark}"]`);
  if (before?.dataset.open === "yes") return;
  before?.remove();
  const card = new Card({ name, mark, made, project, ended });
  list.append(card.element);
  waiting.push(card);
  if (waiting.length === 1 && !busy) card.element.querySelector("[name=name]").focus();
  next();
}

async function next() {
  if (busy) return;
  const card = waiting.shift();
  if (!card) return;
  busy = true;
  try { await card.send(); } finally { busy = false; next(); }
}

/** Go to the dataset that was made, unless others are still on their way. */
function ended(dataset) {
  const others = [...list.children].some((item) => item.dataset.open === "yes");
  if (!others) location.assign(`/datasets/${dataset.id}`);
  else {
    say(`${dataset.name}, version ${dataset.version}, is being checked.`);
    document.dispatchEvent(new CustomEvent("changed"));
  }
}

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  // A file that misses the zone would replace the page.
  document.addEventListener(kind, async (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    zone.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind !== "drop") return;
    try { await take(await dropped(event.dataTransfer)); } catch (error) { refuse("This", `cannot be read: ${error.message}`); }
  });
}
for (const button of zone.querySelectorAll("[data-choose]")) {
  const field = document.getElementById(button.dataset.choose);
  button.onclick = () => field.click();
  field.onchange = async () => {
    const items = chosen(field);
    field.value = "";
    if (items.length) await take(items);
  };
}
for (const entry of remembered(project)) {
  if (isAlive(entry)) refuse(entry.name, "is being sent from another tab.", { mild: true });
  else interrupted(entry, { list, again: () => document.getElementById("files").click(), gone: () => forget(entry.key) });
}
