// What heads look at: a matrix and the prompt's tokens for one head, small matrices for many.

const ROOM = 360, ARCS = 46, LEFT = 84 + ARCS, SMALL = 68, LABEL = 12;
const HINT = "each row: what that token attends to";

// --- pure ------------------------------------------------------------------------------------------------------

// Numbers from whole ones as they came: share of `top`, sixteen bits each.
export function unpack(view, top) {
  const out = new Float32Array(view.byteLength / 2);
  for (let i = 0; i < out.length; i++) out[i] = (view.getUint16(2 * i, true) / 65535) * top;
  return out;
}

// What a token looks at (itself and those before) and what looks at it (those after): two lists by token.
export function around(matrix, n, at) {
  const to = [], by = [];
  for (let j = 0; j < n; j++) {
    to.push(j <= at ? matrix[at * n + j] : 0);
    by.push(j > at ? matrix[j * n + at] : 0);
  }
  return { to, by };
}

// The places of the k largest numbers above zero, largest first.
export function largest(values, k) {
  return [...values.keys()].filter((i) => values[i] > 0).sort((a, b) => values[b] - values[a] || a - b).slice(0, k);
}

// Arcs beside the rows: from a token to those it looks at (up) and to those that look at it (down), the strongest few.
export function arcs(matrix, n, at, limit, first, most = 6) {
  const { to, by } = around(matrix, n, at);
  if (!first && n > 1) to[0] = 0;
  to[at] = 0;
  const pick = (values, kind) => largest(values, most).filter((i) => values[i] >= 0.05 * limit).map((i) => ({ at: i, kind, share: Math.min(1, values[i] / (limit || 1)) }));
  return [...pick(to, "to"), ...pick(by, "by")];
}

// An arc that bends to the left: its path between two rows.
export const bend = (x, y0, y1, room) => {
  const out = Math.min(room, 8 + Math.abs(y1 - y0) * 0.45);
  return `M${x} ${y0}C${x - out} ${y0} ${x - out} ${y1} ${x} ${y1}`;
};

// How large a matrix of n tokens is drawn: pixels a cell, and every which token carries its label.
export function layout(n, room = ROOM) {
  const cell = n <= room / 4 ? Math.min(34, Math.floor(room / n)) : room / n;
  return { cell, size: cell * n, every: Math.max(1, Math.ceil(LABEL / cell)) };
}

// #rgb or #rrggbb as three numbers.
export function rgb(text) {
  const hex = text.trim().replace("#", "");
  const six = hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex;
  return [0, 2, 4].map((i) => parseInt(six.slice(i, i + 2), 16));
}

// The pixels of a lower triangle: `share(i)` of the i-th cell from zero's colour to much's; above it nothing is drawn.
export function pixels(share, n, colours, first = true) {
  const out = new Uint8ClampedArray(4 * n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      const k = i * n + j, s = Math.min(1, share(k));
      const colour = !first && j === 0 && n > 1 ? colours.missing : colours.zero.map((z, c) => z + s * (colours.much[c] - z));
      out.set([...colour, 255], 4 * k);
    }
  }
  return out;
}

// A token as a label: its space left out, cut to so many letters.
export function short(text, letters = 11) {
  const seen = text.trim() || token(text);
  return seen.length > letters ? `${seen.slice(0, letters - 1)}…` : seen;
}

// The pixels that slanted labels need under a matrix.
export const below = (tokens) => 12 + Math.ceil(5.4 * Math.max(...tokens.map((t) => short(t, 10).length)));

// --- drawing ---------------------------------------------------------------------------------------------------

function colours(root) {
  const style = getComputedStyle(root);
  return Object.fromEntries(["zero", "much", "missing"].map((name) => [name, rgb(style.getPropertyValue(`--interp-${name}`))]));
}

function paint(canvas, share, n, found, first) {
  canvas.width = canvas.height = n;
  canvas.getContext("2d").putImageData(new ImageData(pixels(share, n, found, first), n, n), 0, 0);
}

// Calls f when the widget gets its colours (a new one is not on the page yet) and when the page turns dark or light.
function onColours(view, f) {
  let last = "";
  const look = () => {
    const now = JSON.stringify(colours(view.root));
    if (now !== last) { last = now; f(); }
  };
  const theme = new MutationObserver(look), size = new ResizeObserver(look);
  for (const node of [document.body, document.documentElement]) theme.observe(node, { attributes: true });
  size.observe(view.root);
  view.signal.addEventListener("abort", () => { theme.disconnect(); size.disconnect(); });
  view.listen(matchMedia("(prefers-color-scheme: dark)"), "change", look);
}

function controls(view) {
  const { model } = view;
  const bar = tag("div", { class: "interp-att-controls" }, view.body);
  const examples = model.get("examples").map((text, i) => [String(i), text]);
  const ours = !model.get("in_panel"); // else the panel has the prompt
  if (ours && examples.length) {
    const box = choice(view, bar, "prompt", [...examples, ["-1", "a text of one's own"]], "prompt");
    box.classList.add("interp-att-choose");
  }
  const line = entry(view, bar, examples.length ? "or type one" : "prompt", "type a text and press Enter", (text) => view.ask({ text: text.replaceAll("↵", "\n"), prompt: -1 }));
  line.box.classList.add("interp-att-prompt");
  line.box.hidden = !ours;
  const heads = entry(view, bar, "heads", "L5H1 L7H*", (text) => view.ask({ heads: text, find: "", head: "" }));
  heads.box.classList.add("interp-att-heads");
  const finds = tag("label", { class: "interp-field" }, bar);
  tag("span", { text: "or those with most" }, finds);
  const find = tag("select", {}, finds);
  tag("option", { value: "", text: "choose a score" }, find);
  for (const [name, what] of model.get("finds")) tag("option", { value: name, text: `${name}: ${what}`, title: what }, find);
  view.listen(find, "change", () => view.ask({ find: find.value, head: "" }));
  view.listen(find, "keydown", (event) => event.stopPropagation());
  choice(view, bar, "show", [["false", "attention"], ["true", "attention × value norm"]], "weighted");
  choice(view, bar, "first token", [["true", "coloured"], ["false", "left out"]], "first");
  const all = button(view, bar, "all heads", "show every head of the model in small", () => view.save({ wall: !model.get("wall") }));
  view.shows("wall", () => all.setAttribute("aria-pressed", String(model.get("wall"))));
  const state = () => { heads.show(model.get("heads")); find.value = model.get("find"); };
  const prompt = () => line.show(((view.fits("reply", ["text", "prompt"]) ? model.get("reply").prompt : null) ?? model.get("text")).replaceAll("\n", "↵"));
  view.on("heads find", state);
  view.on("reply text prompt", prompt);
  state(); prompt();
}

function list(parent, title, kind, words, values, { unit, limit }, none = "no token") {
  const box = tag("div", { class: kind ? "interp-att-by-list" : "" }, parent);
  const head = tag("h4", {}, box);
  tag("span", { class: `interp-att-swatch ${kind}` }, head);
  tag("span", { text: title }, head);
  const best = largest(values, 5).filter((i) => values[i] >= 0.002 * limit);
  if (!best.length) tag("div", { class: "interp-att-none", text: none }, box);
  for (const i of best) {
    const row = tag("div", { class: "interp-att-line" }, box);
    tag("span", { text: `${i} ${token(words[i])}`, title: words[i] }, row);
    const bar = tag("i", {}, tag("span", {}, row));
    bar.style.width = `${(100 * values[i]) / (values[best[0]] || 1)}%`;
    tag("span", { text: digits(values[i]), title: unit }, row);
  }
}

// The large matrix: a canvas under an SVG with the labels, the marked row and the pointer's target.
function matrix(view, parent, pointed) {
  const box = tag("div", { class: "interp-att-big" }, parent);
  const canvas = tag("canvas", {}, box);
  const labels = svg("svg", { role: "img" }, box);
  let shown = null, row = null, bows = null, names = [];
  const at = (event) => {
    const { cell } = shown.plan, spot = labels.getBoundingClientRect();
    const place = (v) => Math.max(0, Math.min(shown.n - 1, Math.floor(v / cell)));
    return [place(event.clientY - spot.top - 2), place(event.clientX - spot.left - LEFT)];
  };
  const draw = (reply, values) => {
    const n = reply.tokens.length, plan = layout(n);
    shown = { n, plan, reply, values };
    labels.replaceChildren();
    dress(labels, { width: LEFT + plan.size + 4, height: plan.size + below(reply.tokens) + 12, "aria-label": `${reply.head}: ${reply.name} from each token to each` });
    Object.assign(canvas.style, { left: `${LEFT}px`, top: "2px", width: `${plan.size}px`, height: `${plan.size}px` });
    canvas.classList.toggle("interp-att-fine", n > ROOM / 4);
    names = [];
    for (let i = 0; i < n; i += plan.every) {
      const middle = (i + 0.5) * plan.cell;
      const one = svg("text", { x: LEFT - 5, y: 2 + middle + 4, "text-anchor": "end", "data-place": i, text: short(reply.tokens[i]) }, labels);
      names.push([i, one]);
      svg("text", { transform: `translate(${LEFT + middle + 4} ${plan.size + 8}) rotate(-55)`, "text-anchor": "end", "data-place": i, text: short(reply.tokens[i], 10) }, labels);
    }
    bows = svg("g", { class: "interp-att-arcs" }, labels);
    row = svg("rect", { class: "interp-att-row" }, labels);
    const hit = svg("rect", { class: "interp-att-hit", x: LEFT, y: 2, width: plan.size, height: plan.size }, labels);
    const abort = { signal: view.signal };
    hit.addEventListener("pointermove", (event) => { const [i, j] = at(event); if (j <= i) pointed.over(i, j); else pointed.leave(); }, abort);
    hit.addEventListener("pointerleave", () => pointed.leave(), abort);
    hit.addEventListener("click", (event) => pointed.pin(at(event)[0]), abort);
    colour();
  };
  const colour = () => {
    if (!shown) return;
    const { values, n, reply } = shown;
    paint(canvas, (k) => values[k] / (reply.limit || 1), n, colours(view.root), reply.first);
  };
  const mark = (i) => {
    if (!shown) return;
    const { cell } = shown.plan;
    dress(row, { x: LEFT, y: 2 + i * cell, width: (i + 1) * cell, height: Math.max(cell, 2) });
    bows.replaceChildren();
    const right = LEFT - 10 - 6.2 * Math.max(...shown.reply.tokens.map((text) => short(text).length)), y = (k) => 2 + (k + 0.5) * cell;
    for (const one of arcs(shown.values, shown.n, i, shown.reply.limit, shown.reply.first))
      svg("path", { class: one.kind, d: bend(Math.max(ARCS, right), y(i), y(one.at), Math.max(ARCS, right) - 3), "stroke-width": (0.8 + 4 * one.share).toFixed(1), opacity: (0.35 + 0.6 * one.share).toFixed(2) }, bows);
    for (const [k, name] of names) name.classList.toggle("interp-att-here", k === i);
  };
  return { draw, colour, mark };
}

// Many heads in small: buttons that choose the one in large.
function multiples(view, parent) {
  const box = tag("div", { class: "interp-att-many" }, parent);
  const title = tag("p", {}, box);
  const grid = tag("div", { class: "interp-att-grid", role: "group", "aria-label": "heads in small" }, box);
  const legend = tag("div", {}, box);
  let repaint = () => {};
  const draw = (reply) => {
    const { side: s, many, score } = reply, bytes = new Uint8Array(reply.small.buffer, reply.small.byteOffset, reply.small.byteLength);
    title.textContent = score
      ? `${many.length} heads with most ${score.name}: ${score.what}, in ${score.unit} (on ${score.on}; null ${digits(score.null)})`
      : reply.telling ? `${many.length} heads that look most from the last token at one that is neither the first nor itself`
      : `${many.length} ${many.length === 1 ? "head" : "heads"}${reply.asked > many.length ? ` of ${reply.asked} asked for` : ""}: choose one to see it in large`;
    const focused = grid.contains(document.activeElement) ? document.activeElement.dataset.head : null;
    grid.replaceChildren();
    const canvases = many.map(({ head, score: value }) => {
      const chosen = head === reply.head;
      const says = `head ${head}${value === null ? "" : `, ${score.name} ${digits(value)}`}`;
      const one = tag("button", { class: "interp-att-small", type: "button", "aria-pressed": String(chosen), "aria-label": says, title: says, tabindex: chosen ? 0 : -1, "data-head": head }, grid);
      const name = tag("span", {}, one);
      tag("b", { text: head }, name);
      if (value !== null) tag("span", { text: digits(value) }, name);
      one.addEventListener("click", () => view.ask({ head }), { signal: view.signal });
      const canvas = tag("canvas", {}, one);
      canvas.style.width = canvas.style.height = `${SMALL}px`;
      return canvas;
    });
    const buttons = [...grid.children];
    if (!buttons.some((b) => b.tabIndex === 0) && buttons.length) buttons[0].tabIndex = 0;
    buttons.find((b) => b.dataset.head === focused)?.focus();
    repaint = () => {
      const found = colours(view.root);
      canvases.forEach((canvas, i) => paint(canvas, (k) => bytes[i * s * s + k] / 255, s, found, reply.first));
    };
    repaint();
    legend.replaceChildren();
    colourBar(legend, { low: 0, high: reply.limits, diverging: false }, reply.unit, "small pictures");
  };
  view.listen(grid, "keydown", (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const all = [...grid.children], at = all.indexOf(document.activeElement);
    if (!move || at < 0) return;
    take(event);
    all[Math.max(0, Math.min(all.length - 1, at + move))].focus();
  });
  return { box, draw, colour: () => repaint() };
}

// All heads of the model as one picture: a click opens one.
function wall(view, parent) {
  const { model } = view, box = tag("div", { class: "interp-att-wall" }, parent);
  const says = tag("p", { class: "interp-att-key" }, box), holder = tag("div", { class: "interp-att-wall-holder" }, box), canvas = tag("canvas", { role: "img" }, holder);
  let plan = null;
  const draw = () => {
    box.hidden = !model.get("wall");
    const now = model.get("every");
    if (box.hidden || !now.bytes) return;
    const { layers, heads, side: s } = now, data = new Uint8Array(now.bytes.buffer, now.bytes.byteOffset, now.bytes.byteLength);
    plan = { layers, heads, step: s + 2 };
    canvas.width = layers * plan.step;
    canvas.height = heads * plan.step;
    const pen = canvas.getContext("2d"), found = colours(view.root);
    for (let l = 0; l < layers; l++) for (let h = 0; h < heads; h++)
      pen.putImageData(new ImageData(pixels((k) => data[(l * heads + h) * s * s + k] / 255, s, found, model.get("first")), s, s), l * plan.step, h * plan.step);
    canvas.setAttribute("aria-label", `attention of all ${layers * heads} heads, layers to the right, heads downward`);
    says.textContent = `all ${layers * heads} heads: layer 0 to ${layers - 1} from left to right, head 0 to ${heads - 1} downward; click one to see it in large`;
  };
  const at = (event) => {
    const place = canvas.getBoundingClientRect();
    const l = Math.floor(((event.clientX - place.left) / place.width) * plan.layers), h = Math.floor(((event.clientY - place.top) / place.height) * plan.heads);
    return `L${Math.max(0, Math.min(plan.layers - 1, l))}H${Math.max(0, Math.min(plan.heads - 1, h))}`;
  };
  view.listen(canvas, "pointermove", (event) => { if (plan) canvas.title = at(event); });
  view.listen(canvas, "click", (event) => { if (plan) view.ask({ head: at(event) }); });
  view.shows("every wall", draw);
  view.answers(holder, "every");
  return { colour: draw };
}

export default {
  initialize: kept,
  render(context) {
    const view = frame(context, "Attention"), { model } = view;
    controls(view);
    const main = tag("div", { class: "interp-att-main" }, view.body);
    const left = tag("div", {}, main), side = tag("div", { class: "interp-att-side" }, main);
    const name = tag("p", { class: "interp-att-name" }, left);
    const tokens = tag("div", { class: "interp-att-tokens", role: "group", "aria-label": "tokens of the prompt: arrow keys choose one" }, side);
    const lists = tag("div", { class: "interp-att-lists", "aria-live": "polite" }, side);
    let reply = null, values = null, spans = [], hover = null;
    const pinned = () => { const n = reply.tokens.length, at = model.get("token"); return at < 0 || at >= n ? n - 1 : at; };
    const pin = (at) => { hover = null; view.save({ token: at }); shade(); };
    const pointed = {
      over: (i, j) => { hover = i; shade(); readout.textContent = `${i} ${token(reply.tokens[i])} → ${j} ${token(reply.tokens[j])}: ${digits(values[i * reply.tokens.length + j])} ${reply.unit}`; },
      leave: () => { hover = null; if (reply) shade(); readout.textContent = HINT; },
      pin,
    };
    const big = matrix(view, left, pointed);
    const readout = tag("div", { class: "interp-att-readout", text: HINT }, left);
    const legend = tag("div", {}, left);
    const small = multiples(view, side);
    const many = wall(view, view.body);

    const shade = () => {
      const n = reply.tokens.length, at = hover ?? pinned();
      const { to, by } = around(values, n, at);
      if (!reply.first) to[0] = 0;
      spans.forEach((span, j) => {
        const share = Math.min(1, (to[j] + by[j]) / (reply.limit || 1));
        span.style.background = share ? `color-mix(in srgb, var(${j <= at ? "--interp-much" : "--interp-up"}) ${Math.round(100 * share)}%, transparent)` : "";
        span.classList.toggle("interp-att-strong", share > 0.55);
        span.classList.toggle("interp-att-hover", hover === j);
        span.setAttribute("aria-pressed", String(j === pinned()));
        span.tabIndex = j === pinned() ? 0 : -1;
      });
      lists.replaceChildren();
      list(lists, `${token(reply.tokens[at])} looks at`, "", reply.tokens, to, reply);
      list(lists, `looks at ${token(reply.tokens[at])}`, "interp-att-by", reply.tokens, by, reply, at === reply.tokens.length - 1 ? "no token comes after it" : "no token");
      big.mark(at);
    };
    const draw = () => {
      reply = model.get("reply");
      main.hidden = !reply.tokens;
      if (!reply.tokens) return;
      values = unpack(reply.big, reply.top);
      hover = null;
      name.replaceChildren();
      tag("b", { text: reply.head }, name);
      tag("span", { text: `  ${reply.weighted ? "attention × norm of the value" : "attention"}${reply.shares.length ? `; same keys and values as ${reply.shares.join(" ")}` : ""}${reply.ablated ? `; ablated: ${reply.ablated}` : ""}` }, name);
      tokens.replaceChildren();
      spans = reply.tokens.map((text, i) => {
        const one = tag("span", { class: "interp-att-token", role: "button", "aria-label": `token ${i}: ${text}`, text: token(text) }, tokens);
        one.dataset.at = one.dataset.place = i;
        return one;
      });
      legend.replaceChildren();
      colourBar(legend, { low: 0, high: reply.limit, diverging: false }, reply.unit);
      big.draw(reply, values);
      small.draw(reply);
      shade();
    };
    const under = (event) => event.target.dataset?.at;
    view.listen(tokens, "pointerover", (event) => { const at = under(event); if (at !== undefined) { hover = Number(at); shade(); } });
    view.listen(tokens, "pointerleave", () => pointed.leave());
    view.listen(tokens, "click", (event) => { const at = under(event); if (at !== undefined) pin(Number(at)); });
    view.listen(tokens, "keydown", (event) => {
      const n = reply.tokens.length, at = pinned();
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: n - 1 }[event.key];
      if (to === undefined) return;
      take(event);
      pin(Math.max(0, Math.min(n - 1, to)));
      spans[pinned()].focus();
    });
    view.on("reply", draw);
    for (const part of [left, tokens, lists]) view.answers(part, "reply");
    view.answers(small.box, "reply", { only: ["text", "prompt", "heads", "find", "weighted", "first", "ablated", "ablated_by"] }); // not the one in large
    view.on("token", () => reply?.tokens && shade());
    view.says("reply token", () => {
      const now = model.get("reply");
      if (!now.tokens) return "";
      const n = now.tokens.length, chosen = model.get("token"), at = chosen < 0 || chosen >= n ? n - 1 : chosen;
      const { to } = around(unpack(now.big, now.top), n, at);
      if (!now.first) to[0] = 0;
      const [best] = largest(to, 1);
      return `${now.head}: ${at} ${token(now.tokens[at])} looks most at ${best === undefined ? "no token" : `${best} ${token(now.tokens[best])}, ${digits(to[best])} ${now.unit}`}`;
    });
    onColours(view, () => { big.colour(); small.colour(); many.colour(); });
    draw();
    return view.close;
  },
};
