// The pictures of a dataset: a page of rows at a time, and one at a time in a dialog, by mouse or arrow keys.
import { call, say } from "./api.js";

const PAGE = 48;
const place = document.getElementById("pictures");
const list = document.getElementById("gallery");
const more = document.getElementById("more");
const said = document.getElementById("gallery-said");
const viewer = document.getElementById("viewer");
const total = Number(place.dataset.total);
const known = new Map();
let listed = 0;
let open = 0;
let shown = 0;
let turn = 0; // Counts what was asked to be shown: a row that comes late is not put over a later one.

/** Return rows from one on, as many as there are at most. */
async function rowsFrom(index, limit) {
  const after = index > 0 ? `&after=${index - 1}` : "";
  const page = await call("GET", `${place.dataset.rows}?limit=${limit}${after}`);
  for (const row of page.data) known.set(row.index, row);
  return page.data;
}

async function row(index) {
  if (!known.has(index)) await rowsFrom(index, 1);
  return known.get(index);
}

function picture(source, text) {
  const image = document.createElement("img");
  image.src = source;
  image.alt = text;
  image.width = image.height = 128;
  image.loading = "lazy";
  return image;
}

function item(one) {
  const entry = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  const pictures = document.createElement("span");
  pictures.append(picture(one.thumbnail, ""));
  if (one.loser_thumbnail) {
    pictures.className = "pair-of";
    pictures.append(picture(one.loser_thumbnail, ""));
  }
  const caption = document.createElement("span");
  caption.className = "caption";
  caption.textContent = one.caption;
  button.append(pictures, caption);
  button.onclick = () => show(one.index);
  entry.append(button);
  return entry;
}

async function load() {
  const button = more.querySelector("button");
  button.disabled = true;
  try {
    const rows = await rowsFrom(listed, PAGE);
    list.append(...rows.map(item));
    listed += rows.length;
    said.textContent = "";
  } catch (problem) {
    said.textContent = problem.message;
  } finally {
    button.disabled = false;
  }
  more.hidden = listed >= total;
  document.getElementById("count").textContent = `${listed} of ${total}`;
}

/** Show one row in the dialog: the file itself, and its small picture until it is there; or beside it another row. */
async function show(index, beside) {
  const mine = ++turn;
  open = index;
  let one, other;
  try {
    one = await row(index);
    other = beside === undefined ? undefined : await row(beside);
  } catch (problem) {
    if (mine === turn) open = shown;
    say(problem.message, { bad: true });
    return;
  }
  if (mine !== turn) return;
  shown = index;
  const file = `${place.dataset.rows}/${index}/content`;
  const two = Boolean(other || one.loser_thumbnail);
  const figures = [large(one.thumbnail, file, one.caption, one, two)];
  if (other) {
    figures.push(large(other.thumbnail, `${place.dataset.rows}/${beside}/content`, other.caption, other, two));
    figures.forEach((figure, at) => figure.append(note(`row ${at ? beside : index}`)));
  } else if (one.loser_thumbnail) {
    figures.push(large(one.loser_thumbnail, `${file}?loser=true`, `Lost: ${one.caption}`, one, two));
    figures.forEach((figure, at) => figure.append(note(at ? "the one that lost" : "the better one")));
  }
  viewer.querySelector(".shown").replaceChildren(...figures);
  viewer.querySelector(".said").textContent = one.caption;
  document.getElementById("viewer-head").textContent = `${index + 1} of ${total}`;
  document.getElementById("viewer-facts").textContent = `row ${index} · ${one.file_name} · ${one.width} × ${one.height}`;
  document.getElementById("original").href = file;
  document.getElementById("before").disabled = index === 0;
  document.getElementById("next").disabled = index + 1 >= total;
  if (!viewer.open) viewer.showModal();
}

/** The picture in the size that it will have when its file is there; a small one is drawn larger. */
function large(small, file, text, { width, height }, two) {
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  const room = Math.min(820, innerWidth - 64) / (two ? 2 : 1) - (two ? 8 : 0);
  const scale = Math.min(room / width, (0.56 * innerHeight) / height, Math.max(1, 420 / Math.max(width, height)));
  image.style.width = `${Math.round(width * scale)}px`;
  image.style.height = `${Math.round(height * scale)}px`;
  image.src = small;
  image.alt = text;
  const whole = new Image();
  whole.onload = () => {
    image.src = file;
    if (whole.naturalWidth < 200) image.className = "pixels";
  };
  whole.src = file;
  figure.append(image);
  return figure;
}

function note(text) {
  const caption = document.createElement("figcaption");
  caption.textContent = text;
  return caption;
}

const step = (by) => {
  const to = open + by;
  if (to >= 0 && to < total) show(to);
};
document.getElementById("before").onclick = () => step(-1);
document.getElementById("next").onclick = () => step(1);
viewer.onkeydown = (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by && !event.altKey) {
    event.preventDefault();
    step(by);
  }
};
viewer.onclose = () => { turn += 1; };
more.querySelector("button").onclick = load;
const form = document.getElementById("goto");
if (form) {
  form.onsubmit = (event) => {
    event.preventDefault();
    show(Number(form.elements.row.value));
  };
}
document.addEventListener("click", (event) => {
  const rows = event.target.closest("[data-rows-of]")?.dataset.rowsOf.split(",");
  if (rows) show(...rows.map(Number));
});
load();
