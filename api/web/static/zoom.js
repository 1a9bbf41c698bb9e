// A picture of the strip seen large; the arrow keys go along iterations and prompts.

let shots = [];

export function zoom() {
  shots = [...document.querySelectorAll("button.shot")];
  for (const shot of shots) shot.onclick = () => open(shot);
}

function open(shot) {
  const dialog = document.getElementById("zoom");
  show(dialog, shot);
  dialog.onkeydown = (event) => {
    const next = { ArrowLeft: () => beside(dialog, -1), ArrowRight: () => beside(dialog, 1), ArrowUp: () => above(dialog, -1), ArrowDown: () => above(dialog, 1) }[event.key]?.();
    if (next === undefined) return;
    event.preventDefault();
    if (next) show(dialog, next);
  };
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  if (!dialog.open) dialog.showModal();
}

function show(dialog, shot) {
  const { prompt, column, row } = shot.dataset;
  dialog.dataset.prompt = prompt;
  dialog.dataset.row = row;
  const image = dialog.querySelector("img");
  const small = shot.querySelector("img");
  image.src = small.src;
  image.alt = small.alt;
  dialog.querySelector("figcaption").textContent = `${prompt} · ${column}`;
}

/** The row is the column's place: pictures of one prompt are of one table row. */
function beside(dialog, by) {
  const same = shots.filter((shot) => shot.dataset.prompt === dialog.dataset.prompt);
  return same[same.findIndex((shot) => shot.dataset.row === dialog.dataset.row) + by] ?? null;
}

function above(dialog, by) {
  const same = shots.filter((shot) => shot.dataset.row === dialog.dataset.row);
  return same[same.findIndex((shot) => shot.dataset.prompt === dialog.dataset.prompt) + by] ?? null;
}
