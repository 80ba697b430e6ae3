// The patching explorer: two prompts, a map of effects that fills in, and the predictions of one patched run.

// the two prompts that are chosen or typed: {clean, corrupted: tokens, differs, names, texts, answer, wrong, metric}, or {}
const promptNow = (model) => model.get("pair");
const TYPED = ["clean", "corrupted", "answer", "wrong"], NONE = { clean: "", corrupted: "", answer: "", wrong: "" };
const own = (model) => !model.get("metadata").prompts.length || Boolean(model.get("clean") || model.get("corrupted"));

function settings(view) {
  const { model } = view, metadata = model.get("metadata"), row = tag("div", { class: "interp-patch-controls" }, view.body);
  choice(view, row, "patch", metadata.sites, "site");
  choice(view, row, "direction", [["denoising", "clean into corrupted (denoising)"], ["noising", "corrupted into clean (noising)"]], "direction");
  if (metadata.prompts.length && !model.get("in_panel")) which(view, row);
  else if (metadata.prompts.length > 1) meanToo(view, row, metadata.prompts.length);
  return row;
}

// One of the task's prompts, all of them, or the typed pair.
function which(view, parent) {
  const { model } = view, box = tag("label", { class: "interp-field" }, parent);
  tag("span", { text: "prompt" }, box);
  const list = tag("select", {}, box);
  for (const [value, text] of prompts(model.get("metadata").prompts)) tag("option", { value, text }, list);
  const typed = tag("option", { value: "own", text: "the typed pair" });
  view.listen(list, "change", () => { if (list.value !== "own") view.ask({ ...NONE, prompt: Number(list.value) }); });
  view.listen(list, "keydown", (event) => event.stopPropagation());
  view.shows("prompt clean corrupted", () => {
    if (own(model)) list.appendChild(typed);
    else typed.remove();
    list.value = own(model) ? "own" : String(model.get("prompt"));
  });
}

// Two prompts and two answers of one's own. While a prompt of the task is shown, its texts stand in the fields.
function texts(view, above) {
  const { model } = view, row = tag("div", { class: "interp-patch-texts" }, view.body), lines = {};
  const words = tag("div", { class: "interp-patch-answers" }, above);
  const now = () => {
    if (own(model)) return Object.fromEntries(TYPED.map((name) => [name, model.get(name)]));
    const [clean, corrupted] = promptNow(model).texts ?? ["", ""];
    return { ...NONE, clean, corrupted };
  };
  const says = { clean: ["clean", "The capital of France is"], corrupted: ["corrupted", "The capital of Italy is"], answer: ["answer", ""], wrong: ["wrong", ""] };
  for (const name of TYPED) {
    const [label, hint] = says[name];
    lines[name] = entry(view, name === "answer" || name === "wrong" ? words : row, label, hint, (text) => view.ask({ ...now(), [name]: text.replaceAll("↵", "\n") }));
    lines[name].box.classList.add(`interp-patch-${name}`);
  }
  view.shows("prompt pair clean corrupted answer wrong", () => {
    const typed = now(), pair = view.fits("pair") ? promptNow(model) : {};
    for (const name of TYPED) lines[name].show(typed[name].replaceAll("\n", "↵"));
    for (const name of ["answer", "wrong"]) {
      lines[name].line.placeholder = pair[name] === undefined ? "" : token(pair[name]);
      lines[name].line.title = name === "answer" ? "one token; empty: the likeliest after the clean prompt" : "one token; empty: the likeliest after the corrupted prompt";
    }
  });
}

// Clean above corrupted, a column a token, what differs marked.
function pair(view) {
  const { model } = view, box = tag("div", { class: "interp-patch-pair" }, view.body);
  const draw = () => {
    const one = promptNow(model), all = !own(model) && model.get("prompt") === -1, into = model.get("direction") === "denoising" ? "corrupted" : "clean";
    box.replaceChildren();
    if (!one.clean) return;
    // A column a position, clean above corrupted: where the page is narrow the columns go on in a second line.
    const grid = tag("div", { class: "interp-patch-tokens" }, box), sides = tag("div", { class: "interp-patch-place" }, grid);
    for (const kind of ["clean", "corrupted"]) tag("span", { class: "interp-patch-kind", text: kind === into ? `${kind} (patched)` : kind }, sides);
    one.clean.forEach((_, i) => {
      const place = tag("div", { class: "interp-patch-place" }, grid), differs = one.differs.includes(i), name = one.names[String(i)];
      for (const kind of ["clean", "corrupted"]) {
        const chip = tag("span", { class: `interp-patch-token${differs ? " differs" : ""}`, "data-at": i, "data-place": i, text: token(one[kind][i]), title: `position ${i}${name ? `, ${name}` : ""}` }, place);
        if (differs) tag("span", { class: "interp-hidden", text: " (differs)" }, chip);
      }
      tag("span", { class: "interp-patch-name", text: name ?? "" }, place);
    });
    const line = tag("p", { class: "interp-patch-soft" }, box);
    tag("span", { class: "interp-patch-token differs", text: "shaded" }, line);
    const which = all ? `: the two prompts differ. This is the first of ${model.get("metadata").prompts.length} prompts that are averaged.` : ": the two prompts differ.";
    tag("span", { text: `${which} Answer of the clean prompt ${token(one.answer)}, wrong answer ${token(one.wrong)}.` }, line);
  };
  view.on("pair direction", draw);
  draw();
  view.answers(box, "pair");
  return (column) => { for (const chip of box.querySelectorAll("[data-at]")) chip.classList.toggle("over", Number(chip.dataset.at) === column); };
}

function picture(view, parent, light) {
  const { model } = view, metadata = model.get("metadata"), L = metadata.layers;
  const holder = tag("div", { class: "interp-patch-holder" }, parent), hint = tag("p", { class: "interp-patch-hint" }, parent);
  const legend = tag("div", { class: "interp-patch-legend" }, parent);
  let box, columns, rects = null, cursor, mark, over = null, here = null, scale = scaleOf([]);

  const build = () => {
    const heads = model.get("site") === "heads", one = promptNow(model);
    holder.replaceChildren();
    legend.replaceChildren();
    hint.textContent = "";
    rects = null;
    if (!one.clean) return;
    columns = heads ? metadata.heads : one.clean.length;
    over = here = null; // where the pointer was on another map
    box = mapBox(L, columns, !heads);
    const root = svg("svg", {
      class: "interp-patch-map", width: box.width, height: box.height, viewBox: `0 0 ${box.width} ${box.height}`, tabindex: 0, role: "application",
      "aria-label": `map of ${L} layers by ${columns} ${heads ? "heads" : "positions"}. Arrow keys move, Enter patches the cell and shows the predictions.`,
    }, holder);
    for (let l = 0; l < L; l += every(box.high, 13))
      svg("text", { class: "interp-tick", x: box.left - 5, y: cellAt(box, L, l, 0).y + box.high / 2 + 4, "text-anchor": "end", text: l }, root);
    svg("text", { class: "interp-axis", transform: `translate(11 ${box.top + (L * box.high) / 2}) rotate(-90)`, "text-anchor": "middle", text: "layer" }, root);
    const bottom = box.top + L * box.high, words = !heads && box.wide >= 12;
    for (let c = 0; c < columns; c += words ? 1 : every(box.wide, 18)) {
      const x = box.left + (c + 0.5) * box.wide, differs = words && one.differs.includes(c);
      const text = words ? short(token(one.clean[c]), 12) : String(c);
      svg("text", words
        ? { class: `interp-tick${differs ? " differs" : ""}`, transform: `translate(${x + 4} ${bottom + 12}) rotate(-50)`, "text-anchor": "end", text }
        : { class: "interp-tick", x, y: bottom + 14, "text-anchor": "middle", text }, root);
    }
    if (!words) svg("text", { class: "interp-axis", x: box.left + (columns * box.wide) / 2, y: bottom + 30, "text-anchor": "middle", text: heads ? "head" : "position" }, root);
    rects = [];
    for (let l = 0; l < L; l++) for (let c = 0; c < columns; c++)
      rects.push(svg("rect", { ...cellAt(box, L, l, c), width: box.wide - 1, height: box.high - 1, "data-i": l * columns + c }, root));
    mark = svg("rect", { class: "interp-patch-mark", width: box.wide + 1, height: box.high + 1 }, root);
    cursor = svg("rect", { class: "interp-patch-cursor", width: box.wide + 1, height: box.high + 1 }, root);
    listenTo(root);
    colour();
  };

  const colour = () => {
    if (!rects) return;
    const reply = model.get("reply"), values = view.fits("reply") ? reply.values.flat() : [];
    scale = scaleOf(values.map((v) => v ?? null));
    if (!scale.diverging && values.length) scale = { ...scale, low: 0 };
    rects.forEach((rect, i) => {
      const value = values[i] ?? null;
      rect.setAttribute("class", value === null ? "waits" : "");
      rect.style.fill = value === null ? "" : fill(value, scale);
    });
    legend.replaceChildren();
    if (values.length) colourBar(legend, scale, reply.unit, reply.name);
    const still = reply.done < reply.of;
    if (!view.fits("reply")) tag("span", { class: "interp-patch-soft", role: "status", text: model.get("problem") ? "not computed" : "computing" }, legend);
    else if (still) tag("span", { class: "interp-patch-soft", role: "status", text: `${reply.done} of ${reply.of} layers computed` }, legend);
    else if (reply.clean !== undefined) tag("span", { class: "interp-patch-soft", text: `clean run ${digits(reply.clean)}, corrupted run ${digits(reply.corrupted)} ${reply.unit}` }, legend);
    point();
  };

  const point = () => {
    if (!rects) return;
    const chosen = model.get("cell"), at = over ?? here, tokens = promptNow(model).clean, heads = model.get("site") === "heads";
    const put = (rect, cell) => {
      rect.style.display = cell ? "" : "none";
      if (cell) { const { x, y } = cellAt(box, L, ...cell); rect.setAttribute("x", x - 1); rect.setAttribute("y", y - 1); }
    };
    put(mark, chosen.length === 2 && chosen[1] < columns ? chosen : null);
    put(cursor, at && at[1] < columns ? at : null);
    const value = at && view.fits("reply") ? model.get("reply").values?.[at[0]]?.[at[1]] : null;
    const valueText = value === null || value === undefined ? "not computed yet" : `${digits(value, true)} ${model.get("reply").unit}`;
    hint.textContent = at ? `${cellName(model.get("site"), at, tokens)}: ${valueText}` : "Click a cell to see what its patch does to the predictions.";
    light(heads ? null : (at ?? (chosen.length ? chosen : [null, null]))[1]);
  };

  const choose = (cell) => view.save({ cell: cell && String(cell) !== String(model.get("cell")) ? cell : [] });
  const cellOf = (event) => {
    const i = event.target.dataset?.i;
    return i === undefined ? null : [Math.floor(i / columns), i % columns];
  };
  const listenTo = (root) => {
    view.listen(root, "pointerover", (event) => { over = cellOf(event); point(); });
    view.listen(root, "pointerleave", () => { over = null; point(); });
    view.listen(root, "click", (event) => { const cell = cellOf(event); if (cell) { here = null; choose(cell); } });
    view.listen(root, "keydown", (event) => {
      const from = here ?? (model.get("cell").length ? model.get("cell") : [0, 0]);
      if (event.key.startsWith("Arrow")) { take(event); here = moved(from, event.key, L, columns); over = null; point(); }
      else if (event.key === "Enter" || event.key === " ") { take(event); choose(from); }
      else if (event.key === "Escape") { take(event); here = null; choose(null); }
    });
    view.listen(root, "blur", () => { here = null; point(); });
  };
  view.on("site pair", build);
  view.on("prompt direction clean corrupted answer wrong weights problem", colour);
  view.on("reply", colour);
  view.on("cell", point);
  build();
  view.answers(holder, "pair");
}

// The predictions of the run that is patched, before and after.
function predictions(view, parent) {
  const { model } = view, box = tag("div", { class: "interp-patch-prediction", "aria-live": "polite" }, parent);
  const draw = () => {
    const prediction = model.get("prediction"), cell = model.get("cell");
    box.replaceChildren();
    if (!cell.length) { tag("p", { class: "interp-patch-soft", text: "No cell is chosen: the predictions before and after its patch will stand here." }, box); return; }
    if (!view.fits("pair")) { tag("p", { class: "interp-patch-soft", text: model.get("problem") ? "not computed" : "computing" }, box); return; }
    tag("div", { class: "interp-patch-subtitle", text: cellName(model.get("site"), cell, promptNow(model).clean) }, box);
    if (!view.fits("prediction")) { tag("p", { class: "interp-patch-soft", text: model.get("problem") ? "not computed" : "computing" }, box); return; }
    const table = tag("table", {}, box), run = model.get("direction") === "denoising" ? "corrupted run" : "clean run";
    const head = tag("tr", {}, tag("thead", {}, table)), row = tag("tr", {}, tag("tbody", {}, table));
    for (const text of ["", run, "patched", "change"]) tag("th", { scope: "col", text }, head);
    tag("th", { scope: "row", text: promptNow(model).metric }, row);
    for (const [text, strong] of [[digits(prediction.before)], [digits(prediction.after), true], [digits(prediction.after - prediction.before, true)]]) tag("td", { text, class: strong ? "now" : null }, row);
    tag("div", { class: "interp-patch-subtitle", text: prediction.n > 1 ? `likeliest next tokens, mean over ${prediction.n} prompts` : "likeliest next tokens" }, box);
    const list = tag("ol", { class: "interp-patch-next" }, box); // a full bar is 100 %
    for (const one of prediction.tokens) {
      const item = tag("li", { "aria-label": `${one.text}: ${percent(one.before)} before, ${percent(one.after)} patched` }, list);
      tag("span", { class: `interp-patch-word ${one.is}`, text: token(one.text), title: one.is === "answer" ? "answer" : one.is === "wrong" ? "wrong answer" : null }, item);
      const track = tag("span", { class: "interp-patch-track" }, item);
      tag("span", { class: "interp-patch-fill", style: `width:${100 * one.after}%` }, track);
      tag("span", { class: "interp-patch-was", style: `left:${100 * one.before}%` }, track);
      tag("span", { class: "interp-patch-share", text: percent(one.before) }, item);
      tag("span", { class: "interp-patch-share now", text: percent(one.after) }, item);
    }
    const key = tag("p", { class: "interp-patch-soft interp-patch-key" }, box);
    tag("span", { class: "interp-patch-swatch" }, key);
    tag("span", { text: "patched" }, key);
    tag("span", { class: "interp-patch-tick" }, key);
    tag("span", { text: `${run}, unpatched` }, key);
    if (prediction.n === 1) tag("span", { text: "underlined: answer; dotted: wrong answer" }, key);
  };
  view.on("prediction cell site direction prompt clean corrupted answer wrong pair weights problem", draw);
  draw();
  view.says("prediction cell site direction prompt pair", () => {
    const prediction = model.get("prediction"), cell = model.get("cell");
    if (!cell.length || !view.fits("pair")) return "";
    return `${cellName(model.get("site"), cell, promptNow(model).clean)}: ${promptNow(model).metric} ${digits(prediction.before)} → ${digits(prediction.after)} (${digits(prediction.after - prediction.before, true)})`;
  }, "prediction");
}

export default {
  initialize: kept,
  render(context) {
    const view = frame(context, "patching");
    texts(view, settings(view));
    const light = pair(view), columns = tag("div", { class: "interp-patch-columns" }, view.body);
    picture(view, tag("div", { class: "interp-patch-left" }, columns), light);
    predictions(view, tag("div", { class: "interp-patch-right" }, columns));
    return view.close;
  },
};
