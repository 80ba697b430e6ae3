// A measure over training: curves with a cursor, a slider through the checkpoints, a map of the one that is shown.

const HUES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#b8a900"];

// Where a step stands: evenly spaced on a log axis that holds 0.
export const along = (step, last) => Math.log1p(step) / Math.log1p(Math.max(1, last));

// The checkpoint nearest to a place between 0 and 1.
export function nearest(place, steps) {
  const last = steps[steps.length - 1];
  let best = 0;
  steps.forEach((s, i) => { if (Math.abs(along(s, last) - place) < Math.abs(along(steps[best], last) - place)) best = i; });
  return best;
}

// The ends of an axis that holds all numbers and zero.
export function span(rows) {
  const seen = rows.flat().filter(Number.isFinite);
  const low = Math.min(0, ...seen), high = Math.max(0, ...seen);
  return high > low ? [low, high] : [0, 1];
}

function plot(view, parent) {
  const { model } = view, steps = model.get("steps"), last = steps[steps.length - 1], W = 560, H = 210, left = 58, foot = 34, top = 8, right = 26;
  const [low, high] = span([...model.get("low"), ...model.get("high")]);
  const x = (s) => left + along(s, last) * (W - left - right), y = (v) => top + (1 - (v - low) / (high - low)) * (H - top - foot);
  const root = svg("svg", { class: "interp-steps-plot", width: W, height: H, viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${model.get("name")} over training, ${steps.length} checkpoints` }, parent);
  for (const v of [low, (low + high) / 2, high]) {
    svg("line", { class: "interp-steps-rule", x1: left, x2: W - right, y1: y(v), y2: y(v) }, root);
    svg("text", { class: "interp-steps-tick", x: left - 6, y: y(v) + 4, "text-anchor": "end", text: digits(v) }, root);
  }
  let free = -Infinity;
  for (const s of steps) {
    if (x(s) - free < 34) continue;
    free = x(s);
    svg("text", { class: "interp-steps-tick", x: x(s), y: H - foot + 15, "text-anchor": "middle", text: s }, root);
  }
  svg("text", { class: "interp-steps-tick", x: (left + W - right) / 2, y: H - 3, "text-anchor": "middle", text: "training step" }, root);
  svg("text", { class: "interp-steps-tick", transform: `translate(12 ${(top + H - foot) / 2}) rotate(-90)`, "text-anchor": "middle", text: model.get("unit") }, root);
  model.get("curves").forEach((curve, n) => {
    const upper = model.get("high")[n], lower = model.get("low")[n];
    if (upper.some((v, i) => v !== lower[i])) {
      const band = [...steps.map((s, i) => `${x(s)},${y(upper[i])}`), ...steps.map((s, i) => `${x(s)},${y(lower[i])}`).reverse()];
      svg("polygon", { points: band.join(" "), fill: HUES[n % 8], opacity: 0.18 }, root);
    }
    svg("polyline", { points: steps.map((s, i) => `${x(s)},${y(curve[i])}`).join(" "), fill: "none", stroke: HUES[n % 8], "stroke-width": 2 }, root);
  });
  const cursor = svg("line", { class: "interp-steps-cursor", y1: top, y2: H - foot }, root);
  const go = (event) => {
    const box = root.getBoundingClientRect(), place = ((event.clientX - box.left) * (W / box.width) - left) / (W - left - right);
    view.ask({ step: steps[nearest(place, steps)] });
  };
  view.listen(root, "pointerdown", (event) => { root.setPointerCapture(event.pointerId); go(event); });
  view.listen(root, "pointermove", (event) => { if (event.buttons) go(event); });
  view.shows("step", () => { for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(model.get("step"))); });
}

function slider(view, parent) {
  const { model } = view, steps = model.get("steps"), row = tag("label", { class: "interp-field interp-steps-row" }, parent);
  tag("span", { text: "checkpoint" }, row);
  const bar = tag("input", { type: "range", min: 0, max: steps.length - 1, step: 1, "aria-label": "checkpoint" }, row);
  const readout = tag("output", { class: "interp-steps-readout" }, row);
  view.listen(bar, "input", () => view.ask({ step: steps[Number(bar.value)] }));
  view.listen(bar, "keydown", (event) => event.stopPropagation());
  view.shows("step", () => {
    const at = steps.indexOf(model.get("step"));
    if (at < 0) return;
    bar.value = String(at);
    readout.textContent = `step ${steps[at]} of ${steps[steps.length - 1]}`;
    bar.setAttribute("aria-valuetext", readout.textContent);
  });
}

function legend(view, parent) {
  const { model } = view, steps = model.get("steps"), list = tag("ul", { class: "interp-steps-legend", "aria-live": "polite" }, parent);
  const draw = () => {
    const at = steps.indexOf(model.get("step"));
    if (at < 0) return;
    list.replaceChildren();
    model.get("labels").forEach((label, n) => {
      const item = tag("li", {}, list);
      tag("span", { class: "interp-steps-swatch", style: `background:${HUES[n % 8]}` }, item);
      tag("span", { text: label }, item);
      tag("span", { class: "interp-steps-now", text: `${digits(model.get("curves")[n][at])} ${model.get("unit")}` }, item);
    });
    if (model.get("high").some((row, n) => row.some((v, i) => v !== model.get("low")[n][i]))) tag("li", { class: "interp-steps-soft", text: "line: mean of the seeds; band: least to most" }, list);
  };
  view.shows("step", draw);
}

function heat(view, parent) {
  const { model } = view, maps = model.get("maps");
  if (!maps.length) return;
  const [down, across] = model.get("ticks"), [rowName, columnName] = model.get("axes"), steps = model.get("steps");
  const size = Math.max(7, Math.min(30, Math.floor(500 / across.length), Math.floor(420 / down.length))), left = 58, top = 6;
  const W = left + across.length * size + 6, H = top + down.length * size + 38, scale = scaleOf(maps.flat(2));
  tag("div", { class: "interp-steps-subtitle", text: `${model.get("name")}, by ${rowName} and ${columnName}` }, parent);
  const root = svg("svg", { class: "interp-steps-map", width: W, height: H, viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `map of ${down.length} by ${across.length} at the checkpoint shown` }, parent);
  const gap = (cells) => Math.max(1, Math.ceil(22 / size)) * (cells > 60 ? 2 : 1);
  down.forEach((text, r) => { if (r % gap(down.length) === 0) svg("text", { class: "interp-steps-tick", x: left - 6, y: top + (r + 0.5) * size + 4, "text-anchor": "end", text }, root); });
  across.forEach((text, c) => { if (c % gap(across.length) === 0) svg("text", { class: "interp-steps-tick", x: left + (c + 0.5) * size, y: top + down.length * size + 14, "text-anchor": "middle", text }, root); });
  svg("text", { class: "interp-steps-tick", x: left + (across.length * size) / 2, y: H - 4, "text-anchor": "middle", text: columnName }, root);
  svg("text", { class: "interp-steps-tick", transform: `translate(12 ${top + (down.length * size) / 2}) rotate(-90)`, "text-anchor": "middle", text: rowName }, root);
  const cells = down.map((_, r) => across.map((_, c) => {
    const cell = svg("rect", { x: left + c * size, y: top + r * size, width: size - 1, height: size - 1, "data-i": r * across.length + c }, root);
    return { cell, title: svg("title", {}, cell) };
  }));
  colourBar(parent, scale, model.get("unit"), "the same colours at every step");
  view.shows("step", () => {
    const now = maps[steps.indexOf(model.get("step"))];
    if (!now) return;
    cells.forEach((row, r) => row.forEach(({ cell, title }, c) => {
      cell.style.fill = fill(now[r][c], scale);
      title.textContent = `${rowName} ${down[r]}, ${columnName} ${across[c]}: ${digits(now[r][c], true)} ${model.get("unit")}`;
    }));
  });
}

function render(context) {
  const view = frame(context, `${context.model.get("name")} over training`);
  slider(view, view.body);
  const columns = tag("div", { class: "interp-steps-columns" }, view.body), one = tag("div", {}, columns), two = tag("div", {}, columns);
  plot(view, one);
  legend(view, one);
  heat(view, two);
  return view.close;
}

export default { initialize: kept, render };
