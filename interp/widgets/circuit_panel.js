// What stands above and beside the circuit's graph: the slider, the numbers, the edges as a list, editing and saving.

function stateNow(model) {
  return { shown: model.get("shown"), cut: new Set(model.get("cut")), added: new Set(model.get("added")) };
}

// In or out of the circuit, by one click.
function toggle(view, edge) {
  const { model } = view, now = stateNow(model);
  const { is } = stateOf(edge, now);
  const without = (list) => model.get(list).filter((k) => k !== edge.key);
  if (is === "in") {
    const own = edge.a >= 0 && edge.a < now.shown;
    view.ask({ added: without("added"), cut: own ? [...without("cut"), edge.key] : model.get("cut") });
  } else {
    const own = edge.a >= 0 && edge.a < now.shown;
    view.ask({ cut: without("cut"), added: own ? model.get("added") : [...without("added"), edge.key] });
  }
}

function controls(view) {
  const { model } = view, row = tag("div", { class: "interp-circuit-controls" }, view.body);
  const box = tag("label", { class: "interp-field interp-circuit-slide" }, row);
  tag("span", { text: "edges" }, box);
  const slider = tag("input", { type: "range", min: 0, max: 1000, step: 1, class: "interp-circuit-slider" }, box);
  const readout = tag("span", { class: "interp-circuit-count" }, box);
  const show = () => {
    const plan = model.get("plan"), shown = model.get("shown");
    if (countAt(Number(slider.value), plan.most) !== shown) slider.value = placeOf(shown, plan.most);
    const least = plan.edges.find((e) => e.a === shown - 1) ?? plan.edges.find((e) => e.b === shown - 1);
    const at = !model.get("metadata").diff.length && plan.scored && least && least.score !== null ? `, |score| ≥ ${digits(Math.abs(least.score))} ${plan.unit}` : "";
    const text = `largest ${shown.toLocaleString("en")} of ${plan.total.toLocaleString("en")}${model.get("metadata").diff.length ? " in each" : ""}${at}`;
    readout.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    box.hidden = plan.total === 0;
  };
  view.listen(slider, "input", () => view.ask({ shown: countAt(Number(slider.value), model.get("plan").most) }));
  view.listen(slider, "keydown", (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!by) return;
    take(event); // one edge at a time
    view.ask({ shown: Math.max(0, Math.min(model.get("plan").most, model.get("shown") + by)) });
  });
  slider.setAttribute("aria-label", "how many of the largest edges are shown");
  view.on("shown plan", show);
  show();
  if (model.get("metadata").live) choice(view, row, "run", [["circuit", "this circuit alone"], ["model", "the model without the cut edges"]], "within");
  const undo = button(view, row, "undo", "undo the last change", () => model.send({ do: "undo" }));
  const clear = button(view, row, "restore all", "take back every cut and every added edge", () => model.send({ do: "clear" }));
  const able = () => { undo.disabled = !model.get("steps"); clear.disabled = !model.get("cut").length && !model.get("added").length; };
  view.on("steps cut added", able);
  able();
}

// The metric of the whole model, of what is shown, and with every edge cut.
function numbers(view, parent) {
  const { model } = view, box = tag("div", { class: "interp-circuit-numbers", "aria-live": "polite" }, parent);
  const draw = () => {
    const { numbers: now, other, size } = model.get("reply"), metadata = model.get("metadata");
    if (metadata.live && !now && box.childElementCount > 1) return; // the next numbers take the place of the last, which are hidden
    box.replaceChildren();
    if (!metadata.live) {
      const roles = Object.keys(model.get("groups")).length;
      if (size) tag("p", { text: size.edges ? `${metadata.diff.length ? `${metadata.diff[0]}: ` : ""}${plural(size.edges, "edge")} between ${plural(size.components, "component")}` : `${plural(size.components, "component")}${roles ? ` in ${plural(roles, "role")}` : ""}, no edges` }, box);
      return;
    }
    tag("div", { class: "interp-circuit-subtitle", text: now ? now.name : "metric" }, box);
    if (!now) return;
    const table = tag("table", {}, box), whole = model.get("within") === "model";
    const row = (name, value, strong = false, more = "") => {
      const one = tag("tr", { class: strong ? "now" : null }, table);
      tag("th", { scope: "row", text: name }, one);
      tag("td", { text: `${digits(value)} ${now.unit}` }, one);
      tag("td", { class: "interp-circuit-change", text: more }, one);
    };
    const change = now.before === null || now.before === undefined ? "" : `${digits(now.value - now.before, true) || "0"} by the last edit`;
    row("whole model", now.clean);
    row(whole ? "model without the cut edges" : metadata.diff.length ? `circuit ${metadata.diff[0]}` : "this circuit", now.value, true, change);
    if (other) row(`circuit ${metadata.diff[1]}`, other.value);
    row("every edge cut", now.corrupted);
    meter(box, whole ? "share of the whole model's effect" : metadata.diff.length ? `faithfulness of ${metadata.diff[0]}` : "faithfulness", now.faithfulness);
    if (other) meter(box, `faithfulness of ${metadata.diff[1]}`, other.faithfulness);
    const some = now.n < now.of ? `first ${now.n} of ${now.of} prompts` : plural(now.of, "prompt");
    tag("p", { class: "interp-circuit-soft", text: `mean over ${some}; 0 = every edge cut, 1 = whole model` }, box);
    if (now.doubt) tag("p", { class: "interp-circuit-soft", text: `note: ${now.doubt}` }, box);
  };
  view.on("reply within problem", draw);
  view.says("reply within", () => {
    const { numbers: now, size } = model.get("reply");
    if (!now) return "";
    const change = now.before === null || now.before === undefined ? "" : ` (${digits(now.value - now.before, true)} by the last edit)`;
    return `${plural(size.edges, "edge")}: ${now.name} ${digits(now.value)}${change}, faithfulness ${now.faithfulness === null ? "–" : digits(now.faithfulness)}`;
  });
  view.answers(box, "reply", { has: (reply) => !model.get("metadata").live || Boolean(reply.numbers) });
  draw();
}

const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

function meter(parent, name, value) {
  const text = value === null ? "–" : digits(value), box = tag("div", { class: "interp-circuit-meter", role: "img", "aria-label": `${name} ${text}` }, parent);
  tag("span", { text: name }, box);
  const track = tag("span", { class: "interp-circuit-track" }, box);
  tag("span", { class: "interp-circuit-fill", style: `width:${100 * Math.max(0, Math.min(1, value ?? 0))}%` }, track);
  tag("strong", { text }, box);
}

// The edges of the chosen component, or the largest ones: boxes to cut and to add them without a mouse.
function list(view, parent) {
  const { model } = view, MOST = 60;
  const title = tag("div", { class: "interp-circuit-subtitle" }, parent), items = tag("ul", { class: "interp-circuit-list" }, parent);
  const boxes = new Map();
  const draw = () => {
    const plan = model.get("plan"), name = model.get("node"), now = stateNow(model);
    const some = membersOf(model.get("groups"), name);
    const at = (e) => !name || some.some((one) => e.from === one || e.to.includes(one) || e.at.startsWith(`${one}.`));
    const rows = listed(plan.edges.filter(at), now, MOST, Boolean(name));
    title.hidden = items.hidden = !plan.edges.length;
    title.textContent = name ? `edges of ${name}${model.get("names")[name] ? ` (${model.get("names")[name]})` : ""}` : "largest edges";
    const focused = document.activeElement?.dataset?.key;
    items.replaceChildren(); boxes.clear();
    for (const edge of rows) {
      const state = stateOf(edge, now).is, row = tag("label", { class: state }, tag("li", {}, items));
      const box = tag("input", { type: "checkbox", "data-key": edge.key }, row);
      box.checked = state === "in";
      tag("span", { class: "interp-circuit-edge-name", text: `${edge.from} → ${reads(edge.at, edge.to)}${atPlace(edge)}` }, row);
      tag("span", { class: `interp-circuit-score ${edge.sign > 0 ? "up" : edge.sign < 0 ? "down" : ""}`, text: edge.score === null ? "" : digits(edge.score, true) }, row);
      boxes.set(edge.key, box);
    }
    if (!rows.length) tag("li", { class: "interp-circuit-soft", text: name ? "no edge of the circuit" : "no edge is shown" }, items);
    if (focused) boxes.get(focused)?.focus();
  };
  view.listen(items, "change", (event) => {
    const edge = model.get("plan").edges.find((e) => e.key === event.target.dataset.key);
    if (edge) toggle(view, edge);
  });
  view.listen(items, "keydown", (event) => { if (event.key !== "Tab") event.stopPropagation(); });
  view.on("plan shown cut added node names groups", draw);
  draw();
}

// A component's own name, its group, and whether it stays lit: all are saved with the circuit.
function naming(view, parent) {
  const { model } = view, row = tag("div", { class: "interp-circuit-own" }, parent);
  const line = entry(view, row, "name of it", "such as name mover", (text) => { if (model.get("node")) model.send({ do: "name", text: model.get("node"), name: text }); });
  const group = entry(view, row, "group", "such as name movers", (text) => { if (model.get("node")) model.send({ do: "group", text: model.get("node"), name: text }); });
  const known = tag("datalist", { id: `interp-groups-${Math.random().toString(36).slice(2)}` }, row);
  group.line.setAttribute("list", known.id);
  const pin = button(view, row, "pin", "keep the component and its edges lit", () => model.send({ do: "pin", text: model.get("node") }));
  view.shows("node names pinned groups", () => {
    const node = model.get("node"), groups = model.get("groups");
    row.hidden = !node || Boolean(groups[node]);
    group.box.hidden = node.includes("KV");
    group.show(groupOf(groups, node) ?? "");
    known.replaceChildren(...Object.keys(groups).map((value) => tag("option", { value })));
    line.show(model.get("names")[node] ?? "");
    pin.textContent = model.get("pinned").includes(node) ? "unpin" : "pin";
  });
}

function edit(view, parent) {
  const { model } = view, row = tag("div", { class: "interp-circuit-edit" }, parent);
  let typed = "";
  const line = entry(view, row, "edge", "L9H1 -> L10H7.q_in", (text) => { typed = text; });
  line.line.title = "an edge, or a component for all of its edges: L9H1 -> L10H7.q_in, mlp.0";
  const send = (act) => { typed = line.line.value; if (typed.trim()) model.send({ do: act, text: typed }); };
  button(view, row, "cut", "cut the edge, or all edges of the component", () => send("cut"));
  button(view, row, "add", "add the edge, or all edges of the component that the circuit has", () => send("add"));
  const show = () => { if (model.get("node") && !model.get("groups")[model.get("node")]) line.show(model.get("node")); };
  view.on("node", show);
  const save = tag("div", { class: "interp-circuit-edit" }, parent);
  const file = entry(view, save, "file", "circuit.json", () => {});
  file.show(model.get("metadata").file);
  button(view, save, "save", "write the circuit that is shown to this file", () => model.send({ do: "save", text: file.line.value }));
  const note = tag("p", { class: "interp-circuit-soft", role: "status" }, parent);
  const showNote = () => { note.textContent = model.get("note"); };
  view.on("note", showNote);
  showNote();
}

function panel(view, parent) {
  numbers(view, parent);
  list(view, parent);
  naming(view, parent);
  edit(view, parent);
}
