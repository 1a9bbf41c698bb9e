// Reading a curve: a line follows the pointer, or the arrow keys, and says the numbers of its step.

const SVG = "http://www.w3.org/2000/svg";

/** Make every chart below an element readable. */
export function readable(root) {
  for (const figure of root.querySelectorAll("figure.chart")) {
    const svg = figure.querySelector("svg[data-chart]");
    if (svg && !svg.bound) bind(figure, svg, JSON.parse(svg.dataset.chart));
  }
}

function bind(figure, svg, chart) {
  svg.bound = true;
  const [left, top, right, foot] = chart.box;
  const steps = [...new Set(chart.lines.flatMap((line) => line.points.map(([step]) => step)))].sort((a, b) => a - b);
  const out = figure.querySelector("output");
  const across = (step) => left + (step / chart.end) * (right - left);
  const down = (value) => {
    const share = (value - chart.span[0]) / (chart.span[1] - chart.span[0]);
    return foot - Math.min(1, Math.max(0, share)) * (foot - top);
  };
  const cursor = document.createElementNS(SVG, "g");
  cursor.setAttribute("class", "cursor");
  svg.append(cursor);
  let at = -1;

  function show(index) {
    at = Math.min(steps.length - 1, Math.max(0, index));
    const step = steps[at];
    cursor.replaceChildren(draw("line", { x1: across(step), x2: across(step), y1: top, y2: foot }));
    const told = [];
    for (const line of chart.lines) {
      const near = nearest(line.points, step);
      if (!near) continue;
      cursor.append(draw("circle", { cx: across(near[0]), cy: down(near[1]), r: 3.5, class: line.role }));
      told.push(`${chart.lines.length > 1 ? `${line.label} ` : ""}${number(near[1])}`);
    }
    out.textContent = `Step ${step}: ${told.join(", ")}`;
  }

  function hide() {
    at = -1;
    cursor.replaceChildren();
    out.textContent = "";
  }

  svg.onpointermove = (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const wanted = ((x - left) / (right - left)) * chart.end;
    show(closest(steps, wanted));
  };
  svg.onpointerleave = () => { if (document.activeElement !== figure) hide(); };
  figure.onfocus = () => { if (at < 0) show(steps.length - 1); };
  figure.onblur = hide;
  figure.onkeydown = (event) => {
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1, PageUp: at + 10, PageDown: at - 10 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(moves[event.key]);
  };
}

function draw(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function closest(steps, wanted) {
  let low = 0;
  let high = steps.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] < wanted) low = middle; else high = middle;
  }
  return wanted - steps[low] < steps[high] - wanted ? low : high;
}

const nearest = (points, step) => points[closest(points.map(([each]) => each), step)];
const number = (value) => Number(value.toPrecision(4)).toString();
