// The circuit explorer: layers as rows from the embedding up, every head at its own place, edges as curves.

function stage(view, at, picture) {
  const plan = view.model.get("plan");
  const { dx, dy } = at;
  for (let l = 0; l < plan.layers; l += every(dy, 13)) {
    svg("text", { class: "interp-tick", x: at.left - 2, y: at.y(l) + 4, "text-anchor": "end", text: l }, picture);
    svg("path", { class: "interp-circuit-row", d: `M${at.left + 4} ${at.y(l)}H${at.x(at.lane) + 4}` }, picture);
  }
  const heads = plan.heads, x = (h) => h + (plan.group > 1 ? GAP * Math.floor(h / plan.group) : 0);
  for (let h = 0; h < heads; h += every(dx, 18))
    svg("text", { class: "interp-tick", x: at.x(x(h)), y: at.bottom + 4, "text-anchor": "middle", text: h }, picture);
  svg("text", { class: "interp-tick", x: at.x(at.lane), y: at.bottom + 4, "text-anchor": "middle", text: "MLP" }, picture);
  svg("text", { class: "interp-axis", x: at.x(x(heads - 1) / 2), y: at.bottom + 22, "text-anchor": "middle", text: "head" }, picture);
  svg("text", { class: "interp-axis", transform: `translate(10 ${at.y((plan.layers - 1) / 2)}) rotate(-90)`, "text-anchor": "middle", text: "layer" }, picture);
  for (const g of plan.groups)
    svg("rect", {
      class: "interp-circuit-group", "data-node": `L${g.layer}KV${g.index}`, x: at.x(g.x0 - 0.34), y: at.y(g.y + 0.24),
      width: (g.x1 - g.x0 + 0.68) * dx, height: 0.56 * dy, rx: Math.min(6, 0.2 * dy),
    }, picture);
  const pale = Object.values(plan.nodes).filter((n) => n.kind === "head" || n.kind === "mlp");
  const r = Math.max(1, Math.min(2, dx / 8));
  svg("path", { class: "interp-circuit-pale", d: pale.map((n) => `M${(at.x(n.x) - r).toFixed(1)} ${at.y(n.y).toFixed(1)}h${2 * r}`).join(""), "stroke-width": 2 * r }, picture);
}

function graph(view, parent) {
  const { model } = view, diff = model.get("metadata").diff.length > 0;
  let plan, at, picture, lines, dots, hits, rest, named, bands, shape = "", drawn = [], full = new Set(), over = null, edgeOver = null, groupOver = null;
  const hint = tag("p", { class: "interp-circuit-hint" });

  const build = () => {
    plan = model.get("plan");
    const key = `${plan.layers} ${plan.heads} ${plan.group}`;
    if (key !== shape) {
      shape = key;
      picture?.remove();
      at = geometry(plan);
      picture = svg("svg", {
        class: "interp-circuit-graph", width: at.width, height: at.height, viewBox: `0 0 ${at.width} ${at.height}`, tabindex: 0, role: "application",
        "aria-label": `circuit of ${plan.layers} layers by ${plan.heads} heads. Arrow keys move between components, Enter chooses one and lists its edges, Delete cuts all of them.`,
      });
      parent.insertBefore(picture, parent.firstChild);
      stage(view, at, picture);
      bands = new Map([...picture.querySelectorAll(".interp-circuit-group")].map((rect) => [rect.dataset.node, rect]));
      lines = svg("g", { class: "interp-circuit-lines" }, picture);
      hits = svg("g", { class: "interp-circuit-hits" }, picture);
      dots = svg("g", {}, picture);
      rest = svg("g", {}, picture);
      named = svg("g", { class: "interp-circuit-names" }, picture);
      listenTo(picture);
    }
    draw();
  };

  const draw = () => {
    const now = stateNow(model);
    drawn = plan.edges.map((edge) => ({ ...edge, look: lookOf(edge, now, diff) })).filter((edge) => edge.look !== null);
    drawn.sort((a, b) => a.width - b.width);
    lines.replaceChildren(); hits.replaceChildren();
    for (const edge of drawn) {
      const d = bezier(edge.path, at), width = edge.look === "cut" ? 1 : thick(edge.width);
      edge.line = svg("path", { class: `interp-circuit-edge ${edge.look}`, d, "stroke-width": width.toFixed(2) }, lines);
      svg("path", { d, "data-edge": edge.key, "stroke-width": Math.max(9, width + 4).toFixed(1) }, hits);
    }
    full = readable(drawn.filter((e) => e.look !== "cut"));
    nodes();
    paint();
  };

  const nodes = () => {
    dots.replaceChildren(); named.replaceChildren(); rest.replaceChildren();
    const groups = model.get("groups"), roles = Object.keys(groups);
    const inside = new Set(Object.values(groups).flat());
    const live = drawn.filter((e) => e.look !== "cut"), senders = new Set(live.map((e) => e.from));
    for (const edge of live) {
      inside.add(edge.from);
      for (const name of edge.to) if (edge.to.length === 1 || senders.has(name)) inside.add(name);
    }
    inside.add("embed"); inside.add("logits");
    shared(live);
    const pinned = new Set(model.get("pinned")), called = model.get("names"), wanted = [];
    const r = Math.max(2.6, Math.min(5, at.dx / 8, at.dy / 3.6)), label = at.dx >= 30 && at.dy >= 13;
    for (const name of inside) {
      const n = plan.nodes[name];
      const g = svg("g", { class: `interp-circuit-node ${n.kind}`, "data-node": name, transform: `translate(${at.x(n.x).toFixed(1)} ${at.y(n.y).toFixed(1)})` }, dots);
      if (n.kind === "embed" || n.kind === "logits") {
        const text = n.kind === "embed" ? "embedding" : "logits", half = n.kind === "embed" ? 36 : 24;
        svg("rect", { x: -half, y: -8, width: 2 * half, height: 16, rx: 3, class: "interp-circuit-end" }, g);
        svg("text", { "text-anchor": "middle", y: 4, text }, g);
        continue;
      }
      const { mark, hue } = roleLook(roles, groupOf(groups, name));
      svg("circle", { r: Math.max(r + 3, Math.min(9, at.dx / 2)), class: "interp-circuit-catch" }, g);
      svg("path", { d: markOf(n.kind === "mlp" && hue < 0 ? "square" : mark, hue < 0 ? r : r + 0.8), class: `interp-circuit-dot ${hue < 0 ? "" : `hue${hue}`}` }, g);
      if (pinned.has(name)) svg("circle", { r: r + 4, class: "interp-circuit-pinned" }, g);
      if (label) wanted.push({ name, x: at.x(n.x), y: at.y(n.y), text: called[name] ?? name.replace("mlp.", "mlp ") });
    }
    // Pinned and named components have the choice of a place, then those with the largest edge.
    const weight = (name) => (pinned.has(name) || called[name] ? 1e9 : 0) + Math.max(0, ...live.filter((e) => e.from === name || e.to.includes(name)).map((e) => Math.abs(e.score ?? 0)));
    const heavy = new Map(wanted.map((one) => [one.name, weight(one.name)]));
    wanted.sort((a, b) => heavy.get(b.name) - heavy.get(a.name));
    const places = spread(wanted.map((one) => ({ ...one, w: 5.7 * one.text.length })), wanted, r, at.left + 2);
    wanted.forEach((one, i) => {
      const free = places[i] ?? { dx: r + 2, dy: 3.5, anchor: "start" };
      svg("text", { class: places[i] ? null : "interp-circuit-hidden-name", "data-name": one.name, x: one.x + free.dx, y: one.y + free.dy, "text-anchor": free.anchor, text: one.text }, named);
    });
    dots.inside = [...inside].sort((a, b) => plan.nodes[a].y - plan.nodes[b].y || plan.nodes[a].x - plan.nodes[b].x);
  };

  // The groups whose shared keys or values an edge now ends at.
  const shared = (live) => {
    const read = new Set(live.map((e) => e.at).filter((name) => name.includes("KV")));
    for (const g of plan.groups) {
      const name = `L${g.layer}KV${g.index}`, parts = ["k", "v"].filter((part) => read.has(`${name}.${part}_in`));
      bands.get(name).classList.toggle("read", parts.length > 0);
      if (at.dy >= 13) for (const part of parts)
        svg("text", { class: "interp-circuit-part", x: at.x((g.x0 + g.x1) / 2 + (part === "k" ? -0.28 : 0.28)), y: at.y(g.y - 0.3) + 4, "text-anchor": "middle", text: part }, rest);
    }
  };

  const paint = () => {
    const chosen = model.get("node"), focus = over ?? groupOver ?? (edgeOver ? null : chosen || null);
    const groups = model.get("groups"), some = membersOf(groups, focus), pinned = new Set(model.get("pinned"));
    const near = focus ? pathsOf(drawn.filter((e) => e.look !== "cut"), some) : null;
    const reading = (e) => some.some((name) => e.to.includes(name) || e.at.startsWith(`${name}.`)), touches = (e) => some.includes(e.from) || reading(e);
    const lit = near ? litOf(drawn.filter((e) => near.keys.has(e.key)), touches) : full;
    for (const edge of drawn) {
      edge.line.classList.toggle("dim", Boolean(near) && !near.keys.has(edge.key));
      const held = pinned.has(edge.from) || edge.to.some((name) => pinned.has(name));
      edge.line.classList.toggle("faint", edge.look !== "cut" && !lit.has(edge.key) && !held);
      edge.line.classList.toggle("over", edge.key === edgeOver);
    }
    for (const g of dots.children) {
      const name = g.dataset.node;
      g.classList.toggle("dim", Boolean(near) && !near.nodes.has(name));
      g.classList.toggle("chosen", membersOf(groups, chosen).includes(name));
    }
    for (const text of named.children) {
      text.classList.toggle("dim", Boolean(near) && !near.nodes.has(text.dataset.name));
      text.classList.toggle("asked", some.includes(text.dataset.name));
    }
    for (const [name, rect] of bands) rect.classList.toggle("chosen", name === (over ?? chosen));
    const edge = edgeOver && drawn.find((e) => e.key === edgeOver);
    if (edge) {
      const act = stateOf(edge, stateNow(model)).is === "in" ? "click cuts it" : edge.look === "cut" ? "cut; click restores it" : "click adds it";
      const score = edge.score === null ? "no score" : `score ${digits(edge.score, true)} ${plan.unit}`;
      hint.textContent = `${edge.from} → ${reads(edge.at, edge.to)}${atPlace(edge)}: ${score}; ${act}`;
    } else if (near) {
      const role = groups[focus] ? some.join(", ") : groupOf(groups, focus);
      const into = drawn.filter((e) => e.look !== "cut" && reading(e)).length;
      const out = drawn.filter((e) => e.look !== "cut" && some.includes(e.from)).length;
      hint.textContent = `${focus}${role ? ` (${role})` : ""}: reads ${into} edges, sends ${out}; ${lit.size < near.keys.size ? `of the ${near.keys.size} edges on its paths ${lit.size} are lit, the largest` : `the ${lit.size} edges on its paths are lit`}`;
    } else hint.textContent = drawn.length ? `${drawn.length > full.size + 5 ? `The largest ${full.size} edges are drawn in full, the others faded. ` : ""}Point at a component for its paths; click an edge to cut it.` : "";
  };

  const listenTo = (root) => {
    view.listen(root, "pointerover", (event) => {
      const node = event.target.closest?.("[data-node]")?.dataset.node ?? null, edge = event.target.dataset?.edge ?? null;
      if (node !== over || edge !== edgeOver) { over = node; edgeOver = edge; paint(); }
    });
    view.listen(root, "pointerleave", () => { over = edgeOver = null; paint(); });
    view.listen(root, "click", (event) => {
      const key = event.target.dataset?.edge, node = event.target.closest?.("[data-node]")?.dataset.node;
      if (key) { const edge = plan.edges.find((e) => e.key === key); if (edge) toggle(view, edge); }
      else view.save({ node: node && node !== model.get("node") ? node : "" });
    });
    view.listen(root, "keydown", (event) => {
      const here = over ?? model.get("node");
      if (event.key.startsWith("Arrow")) { take(event); over = step(plan.nodes, dots.inside, here, event.key) || null; edgeOver = null; paint(); }
      else if (event.key === "Enter" || event.key === " ") { take(event); view.save({ node: here && here !== model.get("node") ? here : "" }); }
      else if ((event.key === "Delete" || event.key === "Backspace") && here) { take(event); model.send({ do: "cut", text: here }); }
      else if (event.key === "Escape") { take(event); over = null; view.save({ node: "" }); paint(); }
    });
    view.listen(root, "blur", () => { over = null; paint(); });
  };

  view.on("plan", build);
  view.on("shown cut added", draw);
  view.on("node", paint);
  view.on("names pinned groups", draw);
  parent.appendChild(hint);
  build();
  return (group) => { groupOver = group; paint(); };
}

function legend(view, parent, light) {
  const { model } = view, box = tag("div", { class: "interp-circuit-legend" }, parent);
  const draw = () => {
    const plan = model.get("plan"), diff = model.get("metadata").diff, size = model.get("reply").size ?? {};
    box.replaceChildren();
    const line = (look, text, width = 2.5) => {
      const one = tag("span", { class: "interp-circuit-key" }, box);
      const image = svg("svg", { width: 26, height: 10, "aria-hidden": "true" }, one);
      svg("path", { class: `interp-circuit-edge ${look}`, d: "M1 5H25", "stroke-width": width }, image);
      tag("span", { text }, one);
    };
    if (diff.length) {
      line("both", `in both: ${size.both ?? 0}`); line("only-a", `only ${diff[0]}: ${size["only a"] ?? 0}`); line("only-b", `only ${diff[1]}: ${size["only b"] ?? 0}`);
      tag("span", { class: "interp-circuit-key", text: `${percent(size.jaccard ?? 0)} of the edges in either are in both` }, box);
    } else {
      const there = new Set(plan.edges.map((e) => e.sign));
      if (there.has(1)) line("helps", "helps (score > 0)");
      if (there.has(-1)) line("hurts", "hurts (score < 0)");
      if (there.has(0)) line("plain", "edge without a score");
      if (plan.scored) line("widest", `this wide: ${digits(plan.largest)} ${plan.unit}`, thick(1));
    }
    if (model.get("cut").length) line("cut", "cut", 1);
    if (plan.places?.length) tag("span", { class: "interp-circuit-key", text: `edges at ${plan.places.length} places, a line for each: ${plan.places.join(", ")}` }, box);
    if (plan.groups.length) tag("span", { class: "interp-circuit-key", text: `k, v: keys and values that ${plan.group} heads share` }, box);
    const groups = model.get("groups"), roles = Object.keys(groups);
    for (const role of roles) {
      const says = `${role}: ${groups[role].join(", ")}; a click lights its paths`;
      const one = tag("button", { type: "button", class: "interp-circuit-key interp-circuit-role", title: says, "aria-label": says, "aria-pressed": String(model.get("node") === role), "data-group": role }, box), { mark, hue } = roleLook(roles, role);
      const image = svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, one);
      svg("path", { d: markOf(mark, 5), class: `interp-circuit-dot hue${hue}` }, image);
      tag("span", { text: groups[role].length > 1 ? `${role} (${groups[role].length})` : role }, one);
    }
  };
  view.listen(box, "click", (event) => {
    const group = event.target.closest("[data-group]")?.dataset.group;
    if (group) view.save({ node: group === model.get("node") ? "" : group });
  });
  view.listen(box, "pointerover", (event) => light(event.target.closest("[data-group]")?.dataset.group ?? null));
  view.listen(box, "pointerleave", () => light(null));
  view.on("plan reply cut groups node", draw);
  if (model.get("metadata").diff.length) view.answers(box, "reply");
  draw();
}

export default {
  initialize: kept,
  render(context) {
    const view = frame(context, "circuit");
    controls(view);
    const columns = tag("div", { class: "interp-circuit-columns" }, view.body);
    const left = tag("div", { class: "interp-circuit-left" }, columns), right = tag("div", { class: "interp-circuit-right" }, columns);
    const light = graph(view, tag("div", { class: "interp-circuit-holder" }, left));
    legend(view, left, light);
    panel(view, right);
    return view.close;
  },
};
