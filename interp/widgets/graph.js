// The attribution graph: positions across, layers up, the strongest effects as lines.

const DRAWN = 60; // edges that can be told apart; a chosen node has its own beside them
const LABELS = 14; // names in the picture beside one's own

function controls(view, graph, parent) {
  const { model } = view, row = tag("div", { class: "interp-graph-controls" }, parent), most = () => model.get("plan").order.length;
  const box = tag("label", { class: "interp-field interp-graph-slide" }, row);
  tag("span", { text: "nodes" }, box);
  const slider = tag("input", { type: "range", min: 0, max: 1000, step: 1, "aria-label": "how many of the most influential nodes are shown" }, box);
  const says = tag("span", { class: "interp-graph-count" }, box);
  view.listen(slider, "input", () => view.save({ shown: countAt(Number(slider.value), most()) }));
  view.listen(slider, "keydown", (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!by) return;
    take(event); // one node at a time
    view.save({ shown: Math.max(0, Math.min(most(), model.get("shown") + by)) });
  });
  view.shows("shown plan", () => {
    const shown = model.get("shown"), { order } = model.get("plan");
    if (countAt(Number(slider.value), most()) !== shown) slider.value = placeOf(shown, most());
    says.textContent = `${Math.min(shown, most())} of ${most()}, with ${percent(shareOf(graph(), order, shown))} of their influence`;
    slider.setAttribute("aria-valuetext", says.textContent);
  });
}

function picture(view, graph, parent) {
  const { model } = view;
  const hint = tag("p", { class: "interp-graph-hint" });
  const root = svg("svg", { class: "interp-graph-picture", tabindex: 0, role: "application" }, parent);
  const layers = ["frame", "lines", "dots", "names"].map((name) => svg("g", { class: `interp-graph-${name}` }, root));
  const [stage, lines, dots, names] = layers;
  let at = null, shown = [], drawn = [], over = null, room = 0;
  const called = (node) => model.get("names")[node.name] ?? "";
  const groupOf = () => { const found = new Map(); Object.entries(model.get("groups")).forEach(([name, some], k) => some.forEach((one) => found.set(one, { name, hue: k % 8 }))); return found; };
  const own = () => [model.get("node"), ...model.get("pinned"), ...model.get("marked"), ...Object.keys(model.get("names")), ...Object.values(model.get("groups")).flat(), ...Object.keys(model.get("values"))].filter(Boolean);

  const build = () => {
    const plan = model.get("plan"), whole = graph();
    room = Math.max(300, Math.floor(parent.clientWidth || 600));
    shown = shownOf(whole, plan.order, model.get("shown"), own());
    at = arrange(whole, shown, plan.tokens, room, plan.weights);
    dress(root, { width: at.width, height: at.height, viewBox: `0 0 ${at.width} ${at.height}`, "aria-label": `attribution graph of ${plan.tokens.length} tokens, ${shown.length} nodes. Arrow keys move between nodes, Enter chooses one, P pins it, Delete sets it to 0.` });
    for (const layer of layers) layer.replaceChildren();
    for (const row of at.rows) {
      svg("path", { class: "interp-graph-rule", d: `M34 ${row.y}H${at.width - 4}` }, stage);
      if (row.layer >= 0) svg("text", { class: "interp-tick", x: 30, y: row.y + 4, "text-anchor": "end", text: row.layer }, stage);
    }
    svg("text", { class: "interp-tick", transform: `translate(9 ${(at.rows[0].y + at.bottom) / 2}) rotate(-90)`, "text-anchor": "middle", text: "layer" }, stage);
    let free = -Infinity;
    for (const column of at.columns) {
      if (column.x - free < 9 && !column.busy) continue;
      free = column.x;
      const place = at.slanted ? { transform: `translate(${column.x + 4} ${at.bottom + 8}) rotate(-38)`, "text-anchor": "end" } : { x: column.x, y: at.bottom + 12, "text-anchor": "middle" };
      svg("text", { class: "interp-graph-token", "data-place": column.pos, ...place, text: column.word }, stage);
    }
    nodes(plan, whole);
    paint();
  };

  const nodes = (plan, whole) => {
    const groups = groupOf(), pinned = new Set(model.get("pinned")), marked = new Set(model.get("marked")), set = model.get("values"), words = model.get("words");
    const largest = Math.max(1e-9, ...shown.filter((i) => isFree(whole.nodes[i])).map((i) => whole.nodes[i].share));
    const wanted = [], circles = [];
    for (const i of shown) {
      const node = whole.nodes[i], { x, y, w } = at.at.get(i), group = groups.get(node.name);
      const g = svg("g", { class: `interp-graph-node ${node.kind}${group ? ` hue${group.hue}` : ""}${set[node.name] === undefined ? "" : " set"}`, "data-i": i, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` }, dots);
      if (node.kind === "logit") {
        svg("rect", { class: "interp-graph-end", x: -w / 2, y: -10, width: w, height: 20, rx: 4 }, g);
        svg("text", { class: "interp-graph-token", "text-anchor": "middle", y: 4, text: brief(token(node.text)) }, g);
        continue;
      }
      const r = node.kind === "token" ? 3 : 3 + 5 * Math.sqrt(node.share / largest);
      svg("circle", { class: "interp-graph-catch", r: Math.max(9, r + 2) }, g);
      if (node.kind === "error" || node.kind === "mlp") svg("rect", { class: "interp-graph-dot", x: -r, y: -r, width: 2 * r, height: 2 * r }, g);
      else svg("circle", { class: "interp-graph-dot", r }, g);
      if (pinned.has(node.name)) svg("circle", { class: "interp-graph-pinned", r: r + 3.5 }, g);
      if (marked.has(node.name)) svg("circle", { class: "interp-graph-marked", r: r + 5.5 }, g);
      if (set[node.name] !== undefined) svg("path", { class: "interp-graph-cross", d: `M${-r} ${r}L${r} ${-r}` }, g);
      circles.push({ x, y });
      if (!isFree(node)) continue;
      const text = called(node) || group?.name || words[node.name] || (node.kind === "feature" ? node.name.replace(/^.*:(\d+)@.*$/, "$1") : "");
      const mine = Boolean(called(node) || group || pinned.has(node.name) || node.name === model.get("node"));
      if (text) wanted.push({ i, x, y, r, text: brief(text, mine ? 24 : 16), weight: node.share + (mine ? 10 : 0), mine });
    }
    wanted.sort((a, b) => b.weight - a.weight);
    const some = wanted.slice(0, LABELS + wanted.filter((one) => one.mine).length);
    const places = spread(some.map((one) => ({ ...one, w: 5.6 * one.text.length })), circles, 6, 36, 11, at.width - 2);
    some.forEach((one, k) => { if (places[k]) svg("text", { "data-i": one.i, x: one.x + places[k].dx, y: one.y + places[k].dy, "text-anchor": places[k].anchor, class: one.mine ? "mine" : null, text: one.text }, names); });
  };

  // The lines, and what is lit: all, or one node's own.
  const paint = () => {
    const plan = model.get("plan"), whole = graph(), chosen = whole.place.get(model.get("node")) ?? null, focus = over ?? chosen;
    drawn = drawnEdges(whole.edges, shown, DRAWN, focus);
    lines.replaceChildren();
    const lit = new Set(focus === null ? shown : [focus]);
    for (const edge of drawn) {
      const mine = focus === null || edge.from === focus || edge.to === focus;
      if (mine) { lit.add(edge.from); lit.add(edge.to); }
      const of = focus !== null && mine ? Math.sqrt(edge.passed / plan.largest) : edge.passed / plan.largest;
      svg("path", { class: `interp-graph-edge ${edge.effect < 0 ? "down" : "up"}${mine ? "" : " dim"}`, d: curve(at.at.get(edge.from), at.at.get(edge.to)), "stroke-width": (0.7 + 4 * Math.min(1, of)).toFixed(2) }, lines);
    }
    for (const g of dots.children) {
      const i = Number(g.dataset.i);
      g.classList.toggle("dim", focus !== null && !lit.has(i));
      g.classList.toggle("chosen", i === chosen);
    }
    for (const text of names.children) text.classList.toggle("dim", focus !== null && !lit.has(Number(text.dataset.i)));
    hint.textContent = focus === null
      ? `${shown.length} nodes, ${drawn.length} strongest effects. Point at a node for its own; click it to read it, Shift-click several to group them.`
      : `${titleOf(whole.nodes[focus], plan.tokens, called(whole.nodes[focus]) || model.get("words")[whole.nodes[focus].name])}; ${isFree(whole.nodes[focus]) ? `${percent(whole.nodes[focus].share)} of the influence` : ""}`.replace(/; $/, "");
  };

  const choose = (i) => view.save({ node: i === null || graph().nodes[i].name === model.get("node") ? "" : graph().nodes[i].name });
  const mark = (i) => {
    const name = graph().nodes[i].name, now = model.get("marked"), first = now.length || !model.get("node") ? [] : [model.get("node")];
    const next = now.includes(name) ? now.filter((one) => one !== name) : [...new Set([...first, ...now, name])];
    view.save({ marked: next, node: name });
  };
  const numberAt = (event) => { const held = event.target.closest?.("[data-i]")?.dataset.i; return held === undefined ? null : Number(held); };
  view.listen(root, "pointerover", (event) => { const i = numberAt(event); if (i !== over) { over = i; paint(); } });
  view.listen(root, "pointerleave", () => { over = null; paint(); });
  view.listen(root, "click", (event) => {
    const i = numberAt(event);
    if (i !== null && event.shiftKey) mark(i);
    else { if (model.get("marked").length) view.save({ marked: [] }); choose(i); }
  });
  view.listen(root, "keydown", (event) => {
    const here = over ?? graph().place.get(model.get("node")) ?? null;
    if (event.key.startsWith("Arrow")) {
      take(event);
      const spots = Object.fromEntries(shown.map((i) => [i, { x: at.at.get(i).x, y: -at.at.get(i).y }]));
      const ordered = [...shown].sort((a, b) => spots[a].y - spots[b].y || spots[a].x - spots[b].x).map(String);
      over = Number(step(spots, ordered, here === null ? undefined : String(here), event.key));
      paint();
    } else if (event.key === "Enter" || event.key === " ") { take(event); if (here !== null && event.shiftKey) mark(here); else choose(here); }
    else if (event.key === "Escape") { take(event); over = null; view.save({ node: "", marked: [] }); paint(); }
    else if (event.key.toLowerCase() === "p" && here !== null && !event.ctrlKey && !event.metaKey) { take(event); model.send({ do: "pin", text: graph().nodes[here].name }); }
    else if ((event.key === "Delete" || event.key === "Backspace") && here !== null) {
      take(event);
      if (model.get("metadata").live && graph().nodes[here].kind === "feature") view.ask({ values: { ...model.get("values"), [graph().nodes[here].name]: 0 } });
    }
  });
  view.listen(root, "blur", () => { if (over !== null) { over = null; paint(); } });
  view.on("node", () => { over = null; });
  view.shows("plan shown node pinned marked names groups words values", build);
  const watch = new ResizeObserver(() => { if (Math.abs(Math.floor(parent.clientWidth) - room) > 2 && parent.clientWidth) build(); });
  watch.observe(parent);
  view.signal.addEventListener("abort", () => watch.disconnect());
  parent.appendChild(hint);
}

function legend(view, parent) {
  const { model } = view, box = tag("div", { class: "interp-graph-legend" }, parent);
  view.shows("groups plan", () => {
    box.replaceChildren();
    const key = (text, draw) => { const one = tag("span", { class: "interp-graph-key" }, box); draw(svg("svg", { width: 26, height: 12, viewBox: "-13 -6 26 12", "aria-hidden": "true" }, one)); tag("span", { text }, one); };
    const kinds = new Set(model.get("plan").nodes.map((row) => row[1]));
    key("raises", (image) => svg("path", { class: "interp-graph-edge up", d: "M-12 0H12", "stroke-width": 2.5 }, image));
    key("lowers", (image) => svg("path", { class: "interp-graph-edge down", d: "M-12 0H12", "stroke-width": 2.5 }, image));
    const mark = (kind, text, shape) => { if (kinds.has(kind)) key(text, (image) => shape(svg("g", { class: `interp-graph-node ${kind}` }, image))); };
    mark("feature", "feature", (g) => svg("circle", { class: "interp-graph-dot", r: 5 }, g));
    mark("error", "error", (g) => svg("rect", { class: "interp-graph-dot", x: -4.5, y: -4.5, width: 9, height: 9 }, g));
    mark("mlp", "whole MLP", (g) => svg("rect", { class: "interp-graph-dot", x: -4.5, y: -4.5, width: 9, height: 9 }, g));
    Object.entries(model.get("groups")).forEach(([name, some], k) => key(`${name} (${some.length})`, (image) => svg("circle", { class: "interp-graph-dot", r: 5 }, svg("g", { class: `interp-graph-node feature hue${k % 8}` }, image))));
    tag("span", { class: "interp-graph-key", text: "width: influence that passes; size: a node's influence" }, box);
  });
}

export default {
  initialize: kept,
  render(context) {
    const view = frame(context, "attribution graph"), { model } = view;
    let held = null, from = null;
    const graph = () => { const plan = model.get("plan"); if (plan !== from) { from = plan; held = unpacked(plan); } return held; };
    const columns = tag("div", { class: "interp-graph-columns" }, view.body);
    const left = tag("div", { class: "interp-graph-left" }, columns), right = tag("div", { class: "interp-graph-right" }, columns);
    controls(view, graph, left);
    picture(view, graph, tag("div", { class: "interp-graph-holder" }, left));
    legend(view, left);
    panel(view, graph, right);
    view.says("reply values node", () => {
      const row = model.get("reply").rows?.[0], { scores } = model.get("metadata");
      if (row) return `${token(row[0].replace(/^logits:/, ""))}: ${digits(row[1])} before, ${digits(row[2])} by the graph, ${digits(row[3])} in the model`;
      return Object.entries(scores).map(([name, value]) => `${name} ${digits(value)}`).join(", ") || `${model.get("plan").nodes.length} nodes`;
    });
    return view.close;
  },
};
