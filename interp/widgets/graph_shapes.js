// The attribution graph's geometry and rules: which nodes are shown, where they stand, which edges are drawn.

const FIELDS = ["name", "kind", "layer", "pos", "value", "bias", "missing", "share", "inputs", "sum", "outputs", "text"];

// The plan as objects: nodes with their edges, {nodes, edges, place (name -> number)}.
export function unpacked(plan) {
  const nodes = plan.nodes.map((row, i) => ({ i, ...Object.fromEntries(FIELDS.map((name, k) => [name, row[k]])), into: [], out: [] }));
  const edges = plan.edges.map(([from, to, effect, passed]) => ({ from, to, effect, passed }));
  for (const edge of edges) { nodes[edge.to].into.push(edge); nodes[edge.from].out.push(edge); }
  for (const node of nodes) {
    node.into.sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
    node.out.sort((a, b) => b.passed - a.passed);
  }
  return { nodes, edges, place: new Map(nodes.map((node) => [node.name, node.i])) };
}

// The nodes that are shown: tokens, logits, so many of the most influential, and one's own (by name).
export function shownOf(graph, order, count, own) {
  const fixed = graph.nodes.filter((node) => node.kind === "token" || node.kind === "logit").map((node) => node.i);
  const named = own.map((name) => graph.place.get(name)).filter((i) => i !== undefined);
  return [...new Set([...fixed, ...order.slice(0, count), ...named])];
}

// What these nodes have of all influence.
export const shareOf = (graph, order, count) => order.slice(0, count).reduce((sum, i) => sum + graph.nodes[i].share, 0);

// The edges between shown nodes that are drawn, from the weakest: the largest, and those of one node.
export function drawnEdges(edges, shown, most, focus = null, near = 8) {
  const inside = new Set(shown), there = edges.filter((e) => inside.has(e.from) && inside.has(e.to));
  const best = new Set([...there].sort((a, b) => b.passed - a.passed).slice(0, most));
  if (focus !== null) {
    const size = { to: (e) => Math.abs(e.effect), from: (e) => e.passed };
    for (const end of ["to", "from"]) for (const e of there.filter((one) => one[end] === focus).sort((a, b) => size[end](b) - size[end](a)).slice(0, near)) best.add(e);
  }
  return there.filter((e) => best.has(e)).sort((a, b) => a.passed - b.passed);
}

const LEFT = 40, RIGHT = 10, CHIP = 21, LETTER = 6.3;
const least = (n, low, high) => Math.max(low, Math.min(high, n));
export const brief = (text, most = 12) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Where everything stands, in pixels: {width, height, at (node -> {x, y, w?}), columns, rows, bottom, slanted}.
export function arrange(graph, shown, tokens, room, weights = {}) {
  const nodes = shown.map((i) => graph.nodes[i]), cells = new Map(), logits = [];
  for (const node of nodes) {
    if (node.kind === "logit") { logits.push(node); continue; }
    const key = `${node.layer} ${node.pos}`;
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(node);
  }
  for (const cell of cells.values()) cell.sort((a, b) => b.share - a.share || a.i - b.i);
  const inner = room - LEFT - RIGHT, need = tokens.map(() => 0);
  for (const [key, cell] of cells) { const [layer, pos] = key.split(" ").map(Number); if (layer >= 0) need[pos] = Math.max(need[pos], cell.length); }
  // columns: as wide as what stands in them asks for, and as their token, if there is room for it
  const asked = tokens.map((word, pos) => (need[pos] ? 14 + 15 * Math.min(need[pos], 5) : 10)), sum = asked.reduce((a, b) => a + b, 0) || 1;
  const wide = asked.map((w) => (w * inner) / sum);
  let x = LEFT;
  const columns = wide.map((w, pos) => { const column = { pos, x: x + w / 2, w, word: brief(token(tokens[pos]), 10), busy: need[pos] > 0 }; x += w; return column; });
  const slanted = columns.some((c) => c.word.length * LETTER > c.w - 2);
  // rows: from the logits down, as high as their fullest cell
  const layers = [...new Set(nodes.filter((n) => n.kind !== "logit").map((n) => n.layer))].sort((a, b) => b - a);
  const per = (pos) => Math.max(1, Math.floor(wide[pos] / 15));
  const lines = layers.map((layer) => Math.max(1, ...tokens.map((_, pos) => Math.ceil((cells.get(`${layer} ${pos}`)?.length ?? 0) / per(pos)))));
  const natural = lines.map((n) => 24 + 13 * (n - 1)), tall = natural.reduce((a, b) => a + b, 0), factor = least(tall, 250, 425) / (tall || 1);
  const at = new Map();
  const chips = [...logits].sort((a, b) => (weights[b.i] ?? 0) - (weights[a.i] ?? 0)).map((node) => ({ node, w: LETTER * brief(token(node.text)).length + 14 }));
  const ranks = [[]];
  for (const chip of chips) {
    const used = ranks[ranks.length - 1].reduce((a, c) => a + c.w + 6, 0);
    if (used && used + chip.w > inner) ranks.push([]);
    ranks[ranks.length - 1].push(chip);
  }
  ranks.forEach((rank, r) => {
    let cx = room - RIGHT - rank.reduce((a, c) => a + c.w + 6, -6);
    for (const { node, w } of rank) { at.set(node.i, { x: cx + w / 2, y: 14 + r * (CHIP + 4), w }); cx += w + 6; }
  });
  let y = 14 + CHIP / 2 + (ranks.length - 1) * (CHIP + 4) + 14;
  const rows = layers.map((layer, r) => {
    const height = natural[r] * (layer < 0 ? Math.min(1, factor) : factor), row = { layer, y: y + height / 2, height };
    for (const { pos, x: middle, w } of columns) {
      const cell = cells.get(`${layer} ${pos}`) ?? [], n = per(pos), count = Math.ceil(cell.length / n);
      cell.forEach((node, k) => {
        const line = Math.floor(k / n), inLine = Math.min(n, cell.length - line * n), gap = Math.min(22, w / inLine);
        at.set(node.i, { x: middle + ((k % n) - (inLine - 1) / 2) * gap, y: row.y + (line - (count - 1) / 2) * 13 * Math.min(1, factor) });
      });
    }
    y += height;
    return row;
  });
  return { width: room, height: y + (slanted ? 62 : 22), bottom: y, at, columns, rows, slanted };
}

// A line from a source up to what it acts on.
export function curve(a, b) {
  const middle = (a.y + b.y) / 2;
  return `M${a.x.toFixed(1)} ${a.y.toFixed(1)}C${a.x.toFixed(1)} ${middle.toFixed(1)} ${b.x.toFixed(1)} ${middle.toFixed(1)} ${b.x.toFixed(1)} ${b.y.toFixed(1)}`;
}

// What a node's value is made of, so that it adds up: the listed inputs, the others, the bias, what was pruned away.
export function parts(node, most) {
  if (node.kind !== "feature" && node.kind !== "logit") return [];
  const listed = node.into.slice(0, most), others = node.sum - listed.reduce((sum, e) => sum + e.effect, 0);
  const rest = [["others", node.inputs - listed.length, others], ["bias", 0, node.bias], ["pruned", 0, node.missing]];
  return rest.filter(([what, count, value]) => (what === "others" ? count > 0 : Math.abs(value) > 5e-4));
}

// A node in words: its place and token, then what it is called.
export function titleOf(node, tokens, called = "") {
  if (node.kind === "logit") return `logit of ${token(node.text)}`;
  if (node.kind === "token") return `token ${token(node.text)} at ${node.pos}`;
  const what = { feature: "", error: "what the dictionary leaves out, ", mlp: "the whole MLP, " }[node.kind];
  return `${node.name}: ${called ? `${called}, ` : ""}${what}at ${token(tokens[node.pos] ?? "")}`;
}
