// The place where pictures come out of the noise: a column a model, a frame a seed.
import { addressOf } from "./stream.js";

const PARTS = 3;

export class Stage {
  constructor(place) {
    this.place = place;
  }

  /** Make room for what is about to be drawn; return a column for each model. */
  begin(models, seeds, prompt) {
    for (const image of this.place.querySelectorAll("img[src^='blob:']")) URL.revokeObjectURL(image.src);
    this.place.replaceChildren();
    this.place.classList.toggle("beside", models.length > 1);
    this.place.classList.toggle("many", seeds.length > 1);
    return models.map((model) => new Column(this.place, model, seeds, prompt));
  }

  /** Show one picture again. */
  show(url, settings) {
    const [column] = this.begin([settings.model], [settings.seed ?? settings.seeds?.[0]], settings.prompt);
    column.tell("");
    column.put(column.frames[0], url, true);
  }
}

class Column {
  constructor(place, model, seeds, prompt) {
    this.model = model;
    this.prompt = prompt;
    this.arrived = 0;
    this.whole = seeds.length * (PARTS + 1);
    this.root = element("section", "column");
    this.root.append(element("h2", "", model));
    this.line = element("p", "told soft");
    this.line.setAttribute("role", "status");
    this.bar = element("progress");
    this.bar.setAttribute("aria-label", `Drawing by ${model}`);
    this.sheet = element("div", "sheet");
    this.frames = seeds.map((seed) => this.frame(seed));
    this.root.append(this.line, this.bar, this.sheet);
    place.append(this.root);
  }

  frame(seed) {
    const figure = element("figure", "frame-of waiting");
    const image = element("img");
    image.alt = "";
    const caption = element("figcaption", "numeric", `Seed ${seed}`);
    figure.append(image, caption);
    this.sheet.append(figure);
    return { seed, figure, image, caption };
  }

  /** Take one event of the stream. */
  take(event) {
    const frame = this.frames.find((one) => one.seed === event.seed) ?? this.frames.find((one) => !one.done) ?? this.frames[0];
    const done = event.type.endsWith("completed");
    this.arrived = done ? Math.ceil((this.arrived + 1) / (PARTS + 1)) * (PARTS + 1) : this.arrived + 1;
    this.bar.max = this.whole;
    this.bar.value = Math.min(this.arrived, this.whole);
    this.tell(done ? "" : "Coming out of the noise…");
    this.put(frame, addressOf(event.b64_json), done);
  }

  put(frame, url, done) {
    const before = frame.image.src;
    frame.image.src = url;
    if (before.startsWith("blob:")) URL.revokeObjectURL(before);
    frame.image.alt = this.prompt;
    frame.image.onload = () => frame.image.classList.toggle("pixels", frame.image.naturalWidth <= 128);
    frame.figure.classList.remove("waiting");
    frame.figure.classList.toggle("coming", !done);
    if (!done || frame.done) return;
    frame.done = true;
    const link = element("a", "", "Download PNG");
    link.href = url;
    link.download = `${this.model.replace(/[^\w.-]+/g, "-")}-${frame.seed}.png`;
    frame.caption.append(" · ", link);
    if (this.frames.every((one) => one.done)) this.end("");
  }

  tell(text) {
    this.line.textContent = text;
    this.line.hidden = !text;
    if (!text && this.frames.every((one) => one.done)) this.bar.hidden = true;
  }

  /** Say how it ended; what has not come will not come. */
  end(text, { bad = false } = {}) {
    this.bar.hidden = true;
    this.line.hidden = !text;
    this.line.textContent = text;
    this.line.className = bad ? "told notice bad" : "told soft";
    for (const frame of this.frames) if (!frame.done) frame.figure.classList.remove("waiting", "coming");
  }
}

function element(name, classes = "", text = "") {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text) made.textContent = text;
  return made;
}
