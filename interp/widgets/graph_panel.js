// What stands beside the attribution graph: the chosen node with what made it and what it makes, its name and group, the
// experiment, its card.

const LISTED = 6, LOGITS = 5;
const KINDS = { feature: "feature", error: "error", mlp: "whole MLP", token: "token", logit: "logit" };

const isFree = (node) => node.kind !== "token" && node.kind !== "logit";

// A node as a row that chooses it.
function nodeRow(view, graph, list, i, effect, of) {
  const { model } = view, node = graph.nodes[i], name = node.name;
  const own = model.get("names")[name] ?? model.get("words")[name] ?? "";
  const li = tag("li", {}, list), one = tag("button", { class: "interp-graph-row", type: "button", title: `${titleOf(node, model.get("plan").tokens, own)}: ${digits(effect, true)}` }, li);
  tag("span", { class: "interp-graph-row-name", text: node.kind === "logit" ? token(node.text) : name }, one);
  tag("span", { class: "interp-graph-row-says", text: node.kind === "logit" ? "logit" : `${token(model.get("plan").tokens[node.pos] ?? "")}${own ? ` ${own}` : ""}` }, one);
  const track = tag("span", { class: "interp-graph-track", "aria-hidden": "true" }, one);
  tag("span", { class: effect < 0 ? "down" : "up", style: `width:${Math.min(100, (100 * Math.abs(effect)) / (of || 1))}%` }, track);
  tag("span", { class: `interp-graph-number ${effect < 0 ? "down" : "up"}`, text: digits(effect, true) }, one);
  view.listen(one, "click", () => view.save({ node: name }));
}

// The chosen node: what it is, its inputs, which add up to its value, and its outputs.
function about(view, graph, parent) {
  const { model } = view, head = tag("div", { class: "interp-graph-about" }, parent);
  const lists = tag("div", { class: "interp-graph-lists" });
  const list = (title, note = "") => {
    const part = tag("div", { class: "interp-graph-part" }, lists);
    const line = tag("div", { class: "interp-graph-subtitle", text: title }, part);
    if (note) tag("small", { text: ` ${note}` }, line);
    return tag("ul", { class: "interp-graph-list" }, part);
  };
  const sum = (into, text, value, strong = false) => {
    const row = tag("div", { class: `interp-graph-row interp-graph-sum ${strong ? "all" : ""}` }, tag("li", {}, into));
    tag("span", { class: "interp-graph-row-says", text }, row);
    tag("span", { class: "interp-graph-number", text: digits(value, !strong) || "0" }, row);
  };
  const draw = () => {
    const i = graph().place.get(model.get("node")), plan = model.get("plan");
    head.replaceChildren(); lists.replaceChildren();
    if (i === undefined) { overview(view, graph(), head, list); return; }
    const node = graph().nodes[i], own = model.get("names")[node.name] ?? model.get("words")[node.name] ?? "";
    tag("div", { class: "interp-graph-title", text: node.kind === "logit" ? `logit of ${token(node.text)}` : node.name }, head);
    const where = node.kind === "logit" ? "" : ` at ${node.pos}, ${token(plan.tokens[node.pos] ?? "")}`;
    const value = node.kind === "feature" || node.kind === "logit" ? `; value ${digits(node.value)}` : "";
    tag("div", { class: "interp-graph-soft", text: `${KINDS[node.kind]}${where}${value}${isFree(node) ? `; ${percent(node.share)} of the influence` : ""}${own ? ` · ${own}` : ""}` }, head);
    if (node.inputs || node.kind === "feature" || node.kind === "logit") {
      const into = list("inputs", "in its own unit");
      const most = Math.max(0, ...node.into.slice(0, LISTED).map((e) => Math.abs(e.effect)));
      for (const e of node.into.slice(0, LISTED)) nodeRow(view, graph(), into, e.from, e.effect, most);
      for (const [what, count, amount] of parts(node, LISTED)) sum(into, { others: `${count} other inputs`, bias: "bias", pruned: "inputs that were pruned away" }[what], amount);
      sum(into, "together", node.value, true);
    }
    if (node.outputs) {
      const out = list("outputs", `${node.outputs}, by influence; in the unit of each`);
      const most = Math.max(0, ...node.out.slice(0, LISTED).map((e) => Math.abs(e.effect)));
      for (const e of node.out.slice(0, LISTED)) nodeRow(view, graph(), out, e.to, e.effect, most);
    }
  };
  view.shows("node plan names words", draw);
  return { lists };
}

// Before a node is chosen: what the graph is worth, and where to begin.
function overview(view, graph, head, list) {
  const { model } = view, { scores, pruned } = model.get("metadata"), plan = model.get("plan");
  tag("div", { class: "interp-graph-title", text: "How much this graph explains" }, head);
  const says = { completeness: "of all inputs, the share that is no error and no whole MLP", replacement: "of what reaches the logits, the share that begins at tokens", errors: "of all influence, the share that passes errors and whole MLPs" };
  for (const [name, value] of Object.entries(scores)) tag("div", { class: "interp-graph-soft", text: `${name} ${digits(value)}${says[name] ? `: ${says[name]}` : ""}` }, head);
  if (pruned) tag("div", { class: "interp-graph-soft", text: "(of the whole graph, before it was pruned)" }, head);
  if (plan["left out"]) tag("div", { class: "interp-graph-soft", text: `${plan["left out"]} nodes of least influence are not on this page` }, head);
  const best = list("most influential", "share of the influence; click one");
  for (const i of plan.order.slice(0, 10)) {
    const node = graph.nodes[i], own = model.get("names")[node.name] ?? model.get("words")[node.name] ?? "";
    const one = tag("button", { class: "interp-graph-row", type: "button" }, tag("li", {}, best));
    tag("span", { class: "interp-graph-row-name", text: node.name }, one);
    tag("span", { class: "interp-graph-row-says", text: `${token(plan.tokens[node.pos] ?? "")}${own ? ` ${own}` : ""}` }, one);
    tag("span", { class: "interp-graph-number", text: percent(node.share) }, one);
    view.listen(one, "click", () => view.save({ node: node.name }));
  }
}

// A name of one's own, a group, a pin: all three are saved with the graph.
function naming(view, graph, parent) {
  const { model } = view, row = tag("div", { class: "interp-graph-own" }, parent);
  const name = entry(view, row, "name", "your own", (text) => model.send({ do: "name", text: model.get("node"), name: text }));
  const group = entry(view, row, "group", "capital", (text) => model.send({ do: "group", text: model.get("node"), name: text }));
  const pin = button(view, row, "pin", "always show this node", () => model.send({ do: "pin", text: model.get("node") }));
  // what is typed stays while other things change
  const held = new Map(), put = (line, text) => { const key = `${model.get("node")} ${text}`; if (held.get(line) !== key) { held.set(line, key); line.show(text); } };
  view.shows("node names groups pinned marked plan", () => {
    const node = model.get("node"), i = graph().place.get(node);
    row.hidden = i === undefined;
    if (i === undefined) return;
    name.box.hidden = !isFree(graph().nodes[i]);
    put(name, model.get("names")[node] ?? "");
    put(group, Object.entries(model.get("groups")).find(([, some]) => some.includes(node))?.[0] ?? "");
    const marked = model.get("marked").length;
    group.box.firstChild.textContent = marked > 1 ? `group of ${marked}` : "group";
    pin.textContent = model.get("pinned").includes(node) ? "unpin" : "pin";
  });
}

// Another value for the chosen feature, and what graph and model say of all that are set.
function experiment(view, graph, parent) {
  const { model } = view, box = tag("section", { class: "interp-graph-try", "aria-label": "set to other values" }, parent);
  if (!model.get("metadata").live) { box.hidden = true; return; }
  const row = tag("div", { class: "interp-graph-own" }, box);
  const node = () => graph().nodes[graph().place.get(model.get("node"))];
  const set = (value) => view.ask({ values: { ...model.get("values"), [model.get("node")]: value } });
  const field = tag("label", { class: "interp-field" }, row);
  tag("span", { text: "set to" }, field);
  const line = tag("input", { type: "number", step: "any", class: "interp-graph-amount" }, field);
  view.listen(line, "change", () => { if (Number.isFinite(line.valueAsNumber)) set(line.valueAsNumber); });
  view.listen(line, "keydown", (event) => event.stopPropagation());
  button(view, row, "off", "set this feature to 0", () => set(0));
  button(view, row, "double", "set this feature to twice its value", () => set(2 * node().value));
  const whole = button(view, row, "group off", "set all features of its group to 0", () => view.ask({ values: { ...model.get("values"), ...Object.fromEntries(mates().map((name) => [name, 0])) } }));
  const mates = () => (Object.values(model.get("groups")).find((some) => some.includes(model.get("node"))) ?? []).filter((name) => graph().nodes[graph().place.get(name)]?.kind === "feature");
  const chips = tag("div", { class: "interp-graph-set" }, box), answer = tag("div", { class: "interp-graph-answer", "aria-live": "polite" }, box);
  const draw = () => {
    const one = node(), values = model.get("values");
    row.hidden = one?.kind !== "feature";
    if (one && document.activeElement !== line) line.value = values[one.name] ?? Number(one.value.toPrecision(4));
    whole.hidden = mates().length < 2;
    box.hidden = row.hidden && !Object.keys(values).length;
    chips.replaceChildren();
    for (const [name, value] of Object.entries(values)) {
      const chip = tag("button", { class: "interp-graph-chip", type: "button", title: `${name} as it was`, text: `${name} = ${digits(value)} ✕` }, chips);
      view.listen(chip, "click", () => { const rest = { ...model.get("values") }; delete rest[name]; view.ask({ values: rest }); });
    }
    if (chips.childElementCount > 1) view.listen(tag("button", { class: "interp-graph-chip", type: "button", text: "all as before" }, chips), "click", () => view.ask({ values: {} }));
    answer.hidden = !Object.keys(values).length;
  };
  view.shows("node values groups plan", draw);
  view.shows("reply plan", () => {
    const { rows } = model.get("reply");
    if (!rows?.length) return;
    answer.replaceChildren();
    const table = tag("table", {}, answer), head = tag("tr", {}, tag("thead", {}, table)), body = tag("tbody", {}, table);
    for (const text of ["", "before", "graph", "model"]) tag("th", { scope: "col", text }, head);
    const logits = rows.filter(([name]) => name.startsWith("logits:")).length, listed = rows.filter((_, r) => r >= logits || r < LOGITS);
    listed.forEach(([name, before, by, now], r) => {
      const logit = name.startsWith("logits:"), last = listed[r - 1]?.[0] ?? "";
      const set = name in model.get("values");
      const line = tag("tr", { class: logit ? "logit" : set ? "set" : "" }, body);
      const first = r > 0 && !logit && !set && (last in model.get("values") || last.startsWith("logits:"));
      if (first) line.classList.add("first");
      tag("th", { scope: "row", text: logit ? token(name.slice(7)) : name, title: name }, line);
      for (const value of [before, by, now]) tag("td", { text: digits(value) }, line);
    });
    const more = rows.some(([name]) => !name.startsWith("logits:") && !(name in model.get("values")));
    tag("p", { class: "interp-graph-soft", text: `logits: distance from the mean logit${logits > LOGITS ? `, ${LOGITS} of ${logits}` : ""}.${more ? " Below: features where graph and model part most." : ""} The graph keeps attention patterns and norms; the model computes all again.` }, answer);
  });
  view.answers(answer, "reply", { has: (reply) => Boolean(reply.rows?.length) });
}

// Contexts where a text was read, else what its direction does to the logits. HTML made in Python, where words are escaped.
function card(view, graph, parent) {
  const { model } = view, box = tag("div", { class: "interp-graph-card" }, parent);
  if (!model.get("metadata").cards) { box.hidden = true; return; }
  view.shows("card", () => {
    const { html, up, down } = model.get("card");
    box.replaceChildren();
    if (html) { const held = tag("div", {}, box); held.innerHTML = html; }
    else if (up) {
      tag("div", { class: "interp-graph-subtitle", text: "adds to the logits, if it stood at the end" }, box);
      for (const [text, some] of [["raises", up], ["lowers", down]]) tag("div", { class: "interp-graph-words", text: `${text} ${some.map(([word, value]) => `${token(word)} ${digits(value, true)}`).join("  ")}` }, box);
      tag("p", { class: "interp-graph-soft", text: "for contexts: interp.widgets.graph(graph, model, on=text)" }, box);
    }
  });
  view.shows("node plan", () => { box.hidden = graph().nodes[graph().place.get(model.get("node"))]?.kind !== "feature"; });
  view.answers(box, "card");
}

function keeping(view, parent) {
  const { model } = view, row = tag("div", { class: "interp-graph-own" }, parent);
  const file = entry(view, row, "file", "graph.json", () => {});
  file.show(model.get("metadata").file);
  button(view, row, "save", "write the graph with names, groups and pins to this file", () => model.send({ do: "save", text: file.line.value }));
  const note = tag("p", { class: "interp-graph-soft", role: "status" }, parent);
  view.shows("note", () => { note.textContent = model.get("note"); });
}

function panel(view, graph, parent) {
  const { lists } = about(view, graph, parent);
  naming(view, graph, parent);
  experiment(view, graph, parent);
  parent.appendChild(lists);
  card(view, graph, parent);
  keeping(view, parent);
}
