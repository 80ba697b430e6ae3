// The head grid: layers from left to right, heads from top to bottom, KV groups set apart.

// --- pure functions, tested with node ----------------------------------------------------------------------------

// Where the cells are: {cell, gap, left, top, width, height}. Sizes from 4 x 4 to 80 x 64 stay legible and in reach.
export function layout(layers, heads, group) {
  const cell = Math.max(7, Math.min(26, Math.floor(460 / layers), Math.floor(440 / heads)));
  const gap = group > 1 ? Math.max(2, Math.round(cell / 5)) : 0;
  const left = group > 1 ? 58 : 34, top = 30;
  const groups = Math.ceil(heads / group);
  return { cell, gap, left, top, width: left + layers * cell + 2, height: top + heads * cell + (groups - 1) * gap + 3 };
}

// Every how many labels one is written, so that they do not touch.
export const every = (cell, wide = 14) => [1, 2, 5, 10, 20].find((n) => n * cell >= wide) ?? 20;

export const place = (box, group, layer, head) => ({
  x: box.left + layer * box.cell,
  y: box.top + head * box.cell + (group > 1 ? Math.floor(head / group) * box.gap : 0),
});

// The heads a click takes: "head", its "kv" group, or its "layer", as numbers layer * heads + head.
export function taken(what, layer, head, heads, group) {
  if (what === "layer") return Array.from({ length: heads }, (_, h) => layer * heads + h);
  if (what === "kv") {
    const first = Math.floor(head / group) * group;
    return Array.from({ length: Math.min(group, heads - first) }, (_, i) => layer * heads + first + i);
  }
  return [layer * heads + head];
}

// The marked heads after these are switched together: all on, unless all were on. on: true or false insists.
export function toggled(marked, some, on = undefined) {
  const next = new Set(marked);
  const add = on ?? !some.every((i) => next.has(i));
  for (const i of some) add ? next.add(i) : next.delete(i);
  return next;
}

export const inverted = (marked, count) => new Set(Array.from({ length: count }, (_, i) => i).filter((i) => !marked.has(i)));
export const pairsOf = (marked, heads) => [...marked].sort((a, b) => a - b).map((i) => [Math.floor(i / heads), i % heads]);
export const setOf = (pairs, heads) => new Set(pairs.map(([l, h]) => l * heads + h));

// One path of crosses over the ablated cells: cheap also for thousands.
export function crosses(ablated, box, group, heads) {
  const inset = box.cell < 11 ? 1 : box.cell / 4.5, size = box.cell - 1 - 2 * inset;
  return [...ablated].map((i) => {
    const { x, y } = place(box, group, Math.floor(i / heads), i % heads);
    const [a, b] = [(x + inset).toFixed(1), (y + inset).toFixed(1)];
    return `M${a} ${b}l${size} ${size}m0 ${-size}l${-size} ${size}`;
  }).join("");
}

// --- drawing -----------------------------------------------------------------------------------------------------

function controls(view, marks) {
  const { model } = view;
  const row = tag("div", { class: "interp-heads-controls" }, view.body);
  if (model.get("free") && !model.get("in_panel")) {
    const prompt = entry(view, row, "prompt", "The capital of France is", (text) => view.ask({ text }));
    prompt.box.classList.add("interp-heads-prompt");
    const show = () => prompt.show(model.get("text"));
    view.shows("text", show);
  }
  choice(view, row, "ablate", [["false", "the marked heads"], ["true", "all but the marked"]], "keep");
  choice(view, row, "by", [["mean", "mean"], ["zero", "zero"], ["resample", "resample"], ["scale", "scale"]], "by");
  const factor = tag("label", { class: "interp-field" }, row);
  tag("span", { text: "times" }, factor);
  const number = tag("input", { type: "number", step: "0.25", class: "interp-heads-factor" }, factor);
  view.listen(number, "change", () => { if (Number.isFinite(number.valueAsNumber)) view.ask({ factor: number.valueAsNumber }); });
  view.listen(number, "keydown", (event) => event.stopPropagation());
  const showFactor = () => { number.value = model.get("factor"); factor.hidden = model.get("by") !== "scale"; };
  view.shows("by factor", showFactor);
  const heads = entry(view, row, "heads", "L5H1 L7H* L9KV2", (text) => view.ask({ heads: text }));
  heads.box.classList.add("interp-heads-names");
  const showHeads = () => heads.show(model.get("heads"));
  view.shows("heads chosen", showHeads);
  const undo = button(view, row, "undo", "undo the last change of marks", () => model.send({ do: "undo" }));
  const redo = button(view, row, "redo", "do what was taken back again", () => model.send({ do: "redo" }));
  const clear = button(view, row, "clear", "unmark all heads", () => marks.set(new Set()));
  button(view, row, "invert", "mark the unmarked heads and unmark the marked ones", () => marks.set(inverted(marks.get(), marks.count)));
  const able = () => { undo.disabled = !model.get("steps"); redo.disabled = !model.get("ahead"); clear.disabled = !model.get("chosen").length; };
  view.shows("steps ahead chosen", able);
  choice(view, row, "colour", model.get("palette").map(([name, says]) => [name, says === name || name === "direct effect" ? name : `${name}: ${says}`]), "colour").classList.add("interp-heads-colour");
}

function grid(view, parent, marks) {
  const { model } = view;
  const [L, H, group] = [model.get("n_layers"), model.get("n_heads"), model.get("group")];
  const box = layout(L, H, group);
  const picture = svg("svg", {
    class: `interp-heads-grid${box.cell < 11 ? " interp-heads-fine" : ""}`, width: box.width, height: box.height, viewBox: `0 0 ${box.width} ${box.height}`, tabindex: 0,
    role: "application", "aria-label": `${L} layers by ${H} heads. Arrow keys move, space marks a head, L its layer${group > 1 ? ", G its KV group" : ""}.`,
  }, parent);
  svg("text", { class: "interp-axis", x: box.left + (L * box.cell) / 2, y: 11, "text-anchor": "middle", text: "layer" }, picture);
  for (let l = 0; l < L; l += every(box.cell, 18))
    svg("text", { class: "interp-tick", "data-layer": l, x: box.left + (l + 0.5) * box.cell, y: box.top - 5, "text-anchor": "middle", text: l }, picture);
  for (let h = 0; h < H; h += every(box.cell, 11))
    svg("text", { class: "interp-tick", x: box.left - 6, y: place(box, group, 0, h).y + box.cell / 2 + 4, "text-anchor": "end", text: group > 1 ? h : `H${h}` }, picture);
  if (group > 1) {
    for (let g = 0; g * group < H; g++) {
      const [a, b] = [place(box, group, 0, g * group).y, place(box, group, 0, Math.min(H, (g + 1) * group) - 1).y + box.cell - 1];
      svg("path", { class: "interp-heads-bracket", d: `M${box.left - 22} ${a}h-5v${b - a}h5` }, picture);
      if ((b - a) >= 11 || g % every((b - a) + box.gap, 11) === 0)
        svg("text", { class: "interp-tick", x: box.left - 30, y: (a + b) / 2 + 4, "text-anchor": "end", text: `KV${g}` }, picture);
    }
  }
  const rects = [];
  for (let l = 0; l < L; l++) for (let h = 0; h < H; h++) {
    const { x, y } = place(box, group, l, h);
    rects.push(svg("rect", { x, y, width: box.cell - 1, height: box.cell - 1, "data-i": l * H + h }, picture));
  }
  const cross = svg("path", { class: "interp-heads-cross", "stroke-width": box.cell > 14 ? 1.8 : 1.2 }, picture);
  const cursor = svg("rect", { class: "interp-heads-cursor", width: box.cell + 1, height: box.cell + 1 }, picture);

  const colour = () => {
    const values = view.fits("colours") ? model.get("colours").values : [], scale = scaleOf(values);
    rects.forEach((rect, i) => { rect.style.fill = fill(values[i] ?? null, scale); });
  };
  const mark = () => {
    const marked = marks.get(), ablated = model.get("keep") ? inverted(marked, marks.count) : marked;
    rects.forEach((rect, i) => rect.classList.toggle("on", marked.has(i)));
    cross.setAttribute("d", crosses(ablated, box, group, H));
  };
  const point = () => {
    const [l, h] = model.get("pointer"), { x, y } = place(box, group, l, h);
    cursor.setAttribute("x", x - 1);
    cursor.setAttribute("y", y - 1);
  };
  marks.draw = mark;
  view.shows("colours colour text", colour);
  view.shows("chosen keep", mark);
  view.shows("pointer", point);
  gestures(view, picture, marks, { L, H, group });
}

// Mouse and keyboard on the grid. A drag marks what it passes and asks once, at its end.
function gestures(view, picture, marks, { L, H, group }) {
  const { model } = view;
  const at = (event) => {
    const i = document.elementFromPoint(event.clientX, event.clientY)?.dataset?.i;
    return i === undefined || !picture.contains(document.elementFromPoint(event.clientX, event.clientY)) ? null : Number(i);
  };
  const point = (layer, head) => {
    const [l, h] = model.get("pointer");
    if (l !== layer || h !== head) view.save({ pointer: [layer, head] });
  };
  const what = (event) => (event.shiftKey ? "layer" : event.altKey && group > 1 ? "kv" : "head");
  let drag = null, resting = null;
  view.listen(picture, "pointerdown", (event) => {
    const i = at(event);
    if (event.button !== 0 || i === null) return;
    event.preventDefault();
    picture.focus({ preventScroll: true });
    const some = taken(what(event), Math.floor(i / H), i % H, H, group);
    const next = toggled(marks.get(), some);
    drag = { on: next.has(i), what: what(event) };
    marks.trial(next);
    point(Math.floor(i / H), i % H);
  });
  view.listen(picture, "pointermove", (event) => {
    const i = at(event);
    if (i === null) return;
    if (drag) { marks.trial(toggled(marks.get(), taken(drag.what, Math.floor(i / H), i % H, H, group), drag.on)); return; }
    clearTimeout(resting); // the head the pointer rests on, not all it passes
    resting = setTimeout(() => { if (!view.signal.aborted) point(Math.floor(i / H), i % H); }, 60);
  });
  view.listen(picture, "pointerleave", () => clearTimeout(resting));
  view.listen(window, "pointerup", () => { if (drag) { drag = null; marks.set(marks.get()); } });
  view.listen(window, "pointercancel", () => { if (drag) { drag = null; marks.drop(); } });
  view.listen(picture, "click", (event) => {
    const layer = event.target.dataset?.layer;
    if (layer !== undefined) marks.set(toggled(marks.get(), taken("layer", Number(layer), 0, H, group)));
  });
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  view.listen(picture, "keydown", (event) => {
    const [l, h] = model.get("pointer");
    const whole = { " ": "head", Enter: "head", l: "layer", g: group > 1 ? "kv" : "head" }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (step[event.key]) point(Math.max(0, Math.min(L - 1, l + step[event.key][0])), Math.max(0, Math.min(H - 1, h + step[event.key][1])));
    else if (whole && !event.ctrlKey && !event.metaKey) marks.set(toggled(marks.get(), taken(event.shiftKey ? "layer" : whole, l, h, H, group)));
    else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) model.send({ do: event.shiftKey ? "redo" : "undo" });
    else if (event.key.toLowerCase() === "y" && (event.ctrlKey || event.metaKey)) model.send({ do: "redo" });
    else return;
    take(event);
  });
}

// The heads whose ablation changes most: by their direct effect, those that work through others are pale.
function likely(view, parent, marks) {
  const { model } = view, box = tag("div", { class: "interp-heads-likely" }, parent);
  const draw = () => {
    const { heads, why } = model.get("likely"), H = model.get("n_heads");
    box.replaceChildren();
    tag("span", { text: why || "Ablated alone, these change most, by a gradient's estimate:" }, box);
    for (const [i, effect] of heads ?? []) {
      const name = `L${Math.floor(i / H)}H${i % H}`;
      const one = button(view, box, name, `${name}: about ${digits(effect, true)} logits, the mean over the prompts; a click marks it and gives the true number`, () => {
        marks.set(toggled(marks.get(), [i]));
        view.save({ pointer: [Math.floor(i / H), i % H] });
      });
      one.dataset.head = name;
    }
  };
  view.shows("likely", draw);
  view.answers(box, "likely");
}

// What the grid's colours and marks mean, and the number of the head under the pointer.
function legend(view, parent, marks) {
  const { model } = view;
  const box = tag("div", { class: "interp-heads-legend" }, parent);
  const show = () => {
    box.replaceChildren();
    const { values, unit, name } = model.get("colours");
    if (values?.length) colourBar(box, scaleOf(values), unit, name);
  };
  view.shows("colours", show);
  view.answers(box, "colours");
  likely(view, parent, marks);
  const keys = tag("div", { class: "interp-heads-keys" }, parent);
  const sample = svg("svg", { width: 15, height: 13, "aria-hidden": "true" }, keys);
  svg("path", { class: "interp-heads-cross", "stroke-width": 1.8, d: "M3 2l9 9m0-9l-9 9" }, sample);
  const group = model.get("group") > 1 ? " · alt-click: its KV group" : "";
  tag("span", { text: `ablated · click or drag marks heads · shift-click: a layer${group} · or arrow keys and space` }, keys);
}

function attention(view, parent) {
  const { model } = view;
  const box = tag("div", { class: "interp-heads-attention" }, parent);
  const title = tag("div", { class: "interp-heads-subtitle", "aria-live": "polite" }, box);
  const holder = tag("div", {}, box);
  const says = tag("div", { class: "interp-heads-keys", "aria-hidden": "true" }, box);
  const show = () => {
    const one = model.get("attention");
    holder.replaceChildren();
    if (!one.rows) return;
    const value = model.get("colours").values?.[one.layer * model.get("n_heads") + one.head];
    const group = model.get("group"), kv = group > 1 ? ` (reads KV${Math.floor(one.head / group)})` : "";
    title.textContent = `under the pointer: L${one.layer}H${one.head}${kv}, ${digits(value ?? null, true)} ${model.get("colours").unit}`;
    const n = one.rows.length, cell = Math.max(2, Math.min(13, Math.floor(250 / n)));
    const words = cell >= 9, left = words ? 74 : 20, below = words ? 70 : 16;
    const picture = svg("svg", { width: left + n * cell + 4, height: n * cell + below, role: "img", "aria-label": `attention of L${one.layer}H${one.head}` }, holder);
    svg("rect", { class: "interp-heads-paper", x: left, y: 0, width: n * cell, height: n * cell }, picture);
    one.rows.forEach((row, dest) => row.forEach((share, src) => {
      const spot = svg("rect", { x: left + src * cell, y: dest * cell, width: cell, height: cell }, picture);
      spot.style.fill = fill(share, { low: 0, high: 1, diverging: false });
      spot.dataset.dest = dest;
      spot.dataset.src = src;
    }));
    if (words) {
      const short = (text) => (text.length > 9 ? text.slice(0, 8) + "…" : text);
      one.labels.forEach((label, i) => {
        svg("text", { class: "interp-tick", x: left - 4, y: (i + 0.5) * cell + 4, "text-anchor": "end", "data-place": one.all - n + i, text: short(label) }, picture);
        const [x, y] = [left + (i + 0.5) * cell + 4, n * cell + 6];
        svg("text", { class: "interp-tick", transform: `translate(${x} ${y}) rotate(-90)`, "text-anchor": "end", text: short(label) }, picture);
      });
    }
    const all = one.all > n ? `, the last ${n} of ${one.all} tokens` : "";
    says.textContent = `rows attend to columns${one.mean > 1 ? `, mean of ${one.mean} prompts, words of the first` : ""}${all}`;
    const rest = says.textContent;
    view.listen(picture, "pointermove", (event) => {
      const { dest, src } = event.target.dataset;
      says.textContent = dest === undefined ? rest : `“${one.labels[dest]}” attends to “${one.labels[src]}”: ${percent(one.rows[dest][src])}`;
    });
    view.listen(picture, "pointerleave", () => { says.textContent = rest; });
  };
  view.on("attention colours", show);
  view.answers(box, "attention");
  colourBar(box, { low: 0, high: 1, diverging: false }, "", "share of attention");
  show();
}

function numbers(view, parent) {
  const { model } = view;
  const table = tag("table", { class: "interp-heads-numbers" }, tag("div", { "aria-live": "polite" }, parent));
  const line = (body, name, one, form, change) => {
    const row = tag("tr", {}, body);
    tag("th", { scope: "row", text: name }, row);
    tag("td", { class: "interp-heads-now", text: one ? form(one.now) : "…" }, row);
    tag("td", { text: one ? form(one.clean) : "…" }, row);
    tag("td", { text: one ? change(one.now - one.clean) : "" }, row);
  };
  const show = () => {
    const reply = model.get("reply"), shown = reply.shown;
    table.replaceChildren();
    if (!shown) return;
    const head = tag("tr", {}, tag("thead", {}, table));
    for (const text of ["", reply.count ? "ablated" : "now", "not ablated", "change"]) tag(text ? "th" : "td", { scope: text ? "col" : null, text }, head);
    const body = tag("tbody", {}, table);
    const part = (title, one) => {
      tag("th", { colspan: 4, scope: "rowgroup", text: title }, tag("tr", { class: "interp-heads-part" }, body));
      const named = shown.answer && one === shown;
      line(body, named ? `logit of ${token(shown.answer)} minus ${token(shown.wrong)}` : "logit difference", one?.logit_diff, (v) => digits(v), (v) => digits(v, true));
      line(body, named ? `probability of ${token(shown.answer)}` : "probability of the answer", one?.prob, percent, points);
    };
    part(reply.title, shown);
    if (reply.n > 1 && shown.answer) part(`mean of ${reply.n} prompts`, reply.mean);
    table.classList.toggle("interp-heads-waiting", Boolean(reply.waiting));
  };
  view.shows("reply", show);
  view.answers(table.parentNode, "reply");
}

// States that were kept, beside each other and against what is shown.
function pinned(view, parent) {
  const { model } = view, box = tag("div", { class: "interp-heads-pins" }, parent);
  const row = tag("div", { class: "interp-heads-pinbar" }, box);
  button(view, row, "pin to compare", "keep these numbers to compare them with another state", () => model.send({ do: "pin" }));
  const table = tag("table", { class: "interp-heads-numbers" }, box);
  const draw = () => {
    const pins = model.get("pins"), shown = view.fits("reply") ? model.get("reply").shown : null;
    table.replaceChildren();
    if (!pins.length) return;
    const head = tag("tr", {}, tag("thead", {}, table)), body = tag("tbody", {}, table);
    for (const text of ["pinned", "logit diff.", "answer", "shown minus it", ""]) tag(text ? "th" : "td", { scope: text ? "col" : null, text }, head);
    for (const one of pins) {
      const line = tag("tr", {}, body), name = tag("th", { scope: "row" }, line);
      const says = `${one.keep ? "all but " : ""}${one.heads || "nothing"}, ${one.by}, ${one.prompt < 0 ? "mean" : `prompt ${one.prompt + 1}`}`;
      button(view, name, one.letter, `go back to ${says}`, () => model.send({ do: "return", letter: one.letter }));
      const other = one.of && model.get("fingerprint") && one.of !== model.get("fingerprint");
      tag("span", { text: ` ${says}${other ? ", with other weights" : ""}` }, name);
      tag("td", { text: digits(one.logit_diff) }, line);
      tag("td", { text: percent(one.prob) }, line);
      tag("td", { text: shown ? digits(shown.logit_diff.now - one.logit_diff, true) : "…" }, line);
      const off = tag("td", {}, line);
      button(view, off, "×", `forget ${one.letter}`, () => model.send({ do: "unpin", letter: one.letter }));
    }
  };
  view.shows("pins fingerprint reply heads keep by factor prompt", draw);
}

function prompts(view, parent) {
  const { model } = view;
  const holder = tag("div", {}, parent);
  const show = () => {
    holder.replaceChildren();
    const all = model.get("prompts");
    if (model.get("free") || all.length < 2) return;
    if (model.get("in_panel")) { meanToo(view, holder, all.length); return; }
    const options = [[-1, `mean of ${all.length} prompts`], ...all.map((text, i) => [i, `${i + 1}: ${text}`])];
    choice(view, holder, "prompt", options, "prompt").classList.add("interp-heads-prompts");
  };
  view.shows("prompts", show);
}

function render(context) {
  const view = frame(context, "Head ablation");
  const { model } = view;
  const heads = model.get("n_heads");
  // The marks as they are being made; Python has the say once they are sent.
  let trial = null;
  const marks = {
    count: model.get("n_layers") * heads,
    get: () => trial ?? setOf(model.get("chosen"), heads),
    trial: (next) => { trial = next; view.draft({ chosen: pairsOf(next, heads) }); marks.draw?.(); },
    drop: () => { trial = null; view.draft(null); marks.draw?.(); },
    set: (next) => { trial = null; view.ask({ chosen: pairsOf(next, heads) }); view.draft(null); marks.draw?.(); },
  };
  controls(view, marks);
  const columns = tag("div", { class: "interp-heads-columns" }, view.body);
  const left = tag("div", { class: "interp-heads-left" }, columns);
  const right = tag("div", { class: "interp-heads-right" }, columns);
  grid(view, left, marks);
  legend(view, left, marks);
  attention(view, left);
  prompts(view, right);
  numbers(view, right);
  pinned(view, right);
  nextTokens(view, right, () => {
    const { shown, title, count } = model.get("reply");
    return shown && { ...shown, title, edited: count > 0, word: "ablated", without: "without ablation", nothing: "nothing is ablated" };
  });
  view.says("reply", () => {
    const { shown, title, count } = model.get("reply");
    if (!shown) return "";
    const { prob, logit_diff: diff } = shown, answer = shown.answer ? token(shown.answer) : "answer";
    return `${title}: P(${answer}) ${count ? `${percent(prob.clean)} → ` : ""}${percent(prob.now)}, logit difference ${digits(diff.now)}${count ? ` (${digits(diff.now - diff.clean, true)})` : ""}`;
  });
  return view.close;
}

export default { initialize: kept, render };
