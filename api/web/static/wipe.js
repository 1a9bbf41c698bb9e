// Two pictures of one prompt, one over the other, with an edge that moves: by pointer, or by the slider's keys.

const part = document.getElementById("wipe");
const [prompt, left, right] = ["prompt", "left", "right"].map((name) => document.getElementById(`wipe-${name}`));
const slider = document.getElementById("wipe-at");
const both = part.querySelector(".both");
const [under, over] = both.querySelectorAll("img");
const edge = both.querySelector(".edge");
let chosen = false;

/** Take the pictures that the strip has now; choices stay, and until one is made the newest is on the right. */
export function wipe() {
  const shots = [...document.querySelectorAll("button.shot")];
  const columns = [...new Set(shots.map((shot) => shot.dataset.column))];
  part.hidden = columns.length < 2;
  if (part.hidden) return;
  fill(prompt, [...new Set(shots.map((shot) => shot.dataset.prompt))], 0);
  fill(left, columns, 0);
  fill(right, columns, columns.length - 1, !chosen);
  show();
}

function fill(select, names, preferred, again = false) {
  const before = [...select.options].map((option) => option.value);
  if (before.join("\n") === names.join("\n")) return;
  const value = select.value;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  select.value = !again && names.includes(value) ? value : names[preferred];
}

function show() {
  const of = (column) => document.querySelector(
    `button.shot[data-prompt="${CSS.escape(prompt.value)}"][data-column="${CSS.escape(column)}"] img`);
  for (const [image, select, name] of [[over, left, "left"], [under, right, "right"]]) {
    const found = of(select.value);
    image.hidden = !found;
    if (found && image.src !== found.src) image.src = found.src;
    image.alt = found?.alt ?? "";
    part.querySelector(`.tag.${name}`).textContent = select.value;
  }
  move();
}

function move() {
  const share = Number(slider.value);
  over.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  edge.style.insetInlineStart = `${share}%`;
  slider.setAttribute("aria-valuetext", `${share} % ${left.value}, ${100 - share} % ${right.value}`);
}

for (const select of [prompt, left, right]) select.onchange = () => { chosen = true; show(); };
slider.oninput = move;
both.onpointerdown = (event) => { both.setPointerCapture(event.pointerId); drag(event); };
both.onpointermove = (event) => { if (both.hasPointerCapture(event.pointerId)) drag(event); };

function drag(event) {
  const box = both.getBoundingClientRect();
  slider.value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
  move();
}
