// The circuit explorer's geometry and rules.

const LANE = 1.3, GAP = 0.7, FOOT = 0.3;

// Pixels of the plan's units: {dx, dy, left, top, width, height, x(u), y(u)}. One unit is a head, or a layer.
export function geometry(plan, room = 530) {
  const last = Math.max(...Object.values(plan.nodes).map((n) => n.x)), units = last + 1.9;
  const dx = Math.max(8, Math.min(60, Math.floor((room - 40) / units))), dy = Math.max(8, Math.min(44, Math.floor(455 / (plan.layers + 2.2))));
  const left = 34, top = 10, height = Math.round((plan.layers + 1.95) * dy) + 24, width = Math.round(units * dx);
  const x = (u) => left + (u + 0.8) * dx, y = (u) => top + (plan.layers + 0.75 - u) * dy;
  return { dx, dy, left, top, width: left + width + 2, height: top + height + 30, bottom: top + height, x, y, lane: last };
}

// Edges that can be told apart at once: of more, the largest; the rest is faded until one points at it.
const READABLE = 60;
export const readable = (edges, most = READABLE) => {
  const size = (e) => (e.score === null ? 0 : Math.abs(e.score));
  return new Set([...edges].sort((a, b) => size(b) - size(a)).slice(0, most).map((e) => e.key));
};

// Of the edges on a component's paths those that are lit: its own largest, and the largest beyond it.
export const litOf = (edges, touches, most = READABLE) => {
  const own = readable(edges.filter(touches), most / 2);
  return new Set([...own, ...readable(edges.filter((e) => !own.has(e.key)), most - own.size)]);
};

// Labels so that none lies on another or on a component: for each {x, y, w} the first free side, or null where there is
// none. Earlier ones have the choice.
export function spread(labels, dots, r, least = -Infinity, high = 11, most = Infinity) {
  const taken = dots.map(({ x, y }) => [x - r, y - r, x + r, y + r]);
  const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  return labels.map(({ x, y, w }) => {
    const gap = r + 2;
    const sides = [
      { dx: gap, dy: 3.5, anchor: "start", box: [x + gap, y - high / 2, x + gap + w, y + high / 2] },
      { dx: -gap, dy: 3.5, anchor: "end", box: [x - gap - w, y - high / 2, x - gap, y + high / 2] },
      { dx: 0, dy: -gap - 1, anchor: "middle", box: [x - w / 2, y - gap - high, x + w / 2, y - gap] },
      { dx: 0, dy: gap + high - 2, anchor: "middle", box: [x - w / 2, y + gap, x + w / 2, y + gap + high] },
    ];
    const free = sides.find((side) => side.box[0] >= least && side.box[2] <= most && !taken.some((other) => meets(side.box, other)));
    if (!free) return null;
    taken.push(free.box);
    return { dx: free.dx, dy: free.dy, anchor: free.anchor };
  });
}

// What an edge is now: "in" the circuit, "cut" out of it, or "off"; b: whether the other circuit has it.
export function stateOf(edge, { shown, cut, added }) {
  const chosen = (edge.a >= 0 && edge.a < shown && !cut.has(edge.key)) || added.has(edge.key);
  return { is: chosen ? "in" : cut.has(edge.key) ? "cut" : "off", b: edge.b >= 0 && edge.b < shown };
}

// How it is drawn: "both", "only-a", "only-b" of two circuits; "helps", "hurts", "plain" of one; "cut", or null.
export function lookOf(edge, state, diff) {
  const { is, b } = stateOf(edge, state);
  if (is === "cut") return "cut";
  if (diff) return is === "in" ? (b ? "both" : "only-a") : b ? "only-b" : null;
  return is !== "in" ? null : edge.sign > 0 ? "helps" : edge.sign < 0 ? "hurts" : "plain";
}

// Whether a component that stands at a place meets an edge at another: "" is every place, "3+" is 3 and what follows.
const meet = (place, at) => !place || !at || place === at || (at.endsWith("+") && Number(place) >= Number.parseInt(at, 10));
const later = (place) => (/^\d+$/.test(place) ? `${place}+` : ""); // named places have no order that all prompts share
const earlier = (place, at) => !/^\d+$/.test(place) || !/^\d+\+?$/.test(at) || at.endsWith("+") || Number(place) <= Number(at);

// The edges and components on some way through a component (or into a KV group): {nodes, keys}. Where edges are at
// places, a way goes on at the place where it is; only keys and values take it to another, which is not earlier.
export function paths(edges, name) {
  const nodes = new Set([name]), keys = new Set();
  const owner = (edge) => edge.at.replace(/\.[^.]*$/, "");
  const moves = (edge) => /\.[kv]_in$/.test(edge.at);
  const into = (edge, node) => edge.to.includes(node) || owner(edge) === node;
  const walk = (start, out) => {
    const todo = [...start], seen = new Set(start.map(String));
    const go = (node, at) => {
      nodes.add(node);
      if (!seen.has(`${node},${at}`)) { seen.add(`${node},${at}`); todo.push([node, at]); }
    };
    while (todo.length) {
      const [node, at] = todo.pop();
      for (const edge of edges) {
        const place = edge.place ?? "";
        if (out ? edge.from !== node || !meet(place, at) : !into(edge, node) || !(moves(edge) ? earlier(place, at) : meet(place, at))) continue;
        keys.add(edge.key);
        if (!out) go(edge.from, place);
        else for (const next of edge.to) go(next, moves(edge) ? later(place) : place);
      }
    }
  };
  // at the places where it reads and writes; its own edges are all on its ways
  const own = edges.filter((edge) => edge.from === name || into(edge, name));
  const heads = own.find((edge) => owner(edge) === name && !edge.to.includes(name))?.to ?? [];
  const starts = [...new Set(own.map((edge) => edge.place ?? ""))];
  walk(starts.map((at) => [name, at]), false);
  if (!heads.length) walk(starts.map((at) => [name, at]), true);
  for (const head of heads) {
    nodes.add(head);
    walk(starts.map((at) => [head, later(at)]), true);
  }
  return { nodes, keys };
}

// The same of several components: what lies on a way through one of them.
export function pathsOf(edges, names) {
  const each = names.map((name) => paths(edges, name));
  return { nodes: new Set(each.flatMap((one) => [...one.nodes])), keys: new Set(each.flatMap((one) => [...one.keys])) };
}

// The group of a component, or undefined; the first that has it.
export const groupOf = (groups, name) => Object.keys(groups).find((group) => groups[group].includes(name));
// The components that a name stands for: those of a group, or itself.
export const membersOf = (groups, name) => groups[name] ?? [name];

// The slider: few edges get as much room on it as many. Both ways between 0..1000 and 0..most edges.
export const countAt = (at, most) => (at <= 0 ? 0 : most < 2 ? most : Math.max(1, Math.round(most ** (at / 1000))));
export const placeOf = (count, most) => (count <= 0 ? 0 : most < 2 ? 1000 : Math.max(1, Math.round((1000 * Math.log(count)) / Math.log(most))));

// A receiver in words: "L5H6 query", "L5KV1 keys (heads 3 to 5)".
export function reads(at, to) {
  const [owner, part] = at.split(".").length > 2 ? [at.slice(0, at.lastIndexOf(".")), ""] : at.split(".");
  const what = { q_in: "query", k_in: "keys", v_in: "values" }[part];
  if (!what) return owner;
  const heads = to.map((h) => h.replace(/^L\d+H/, ""));
  if (!owner.includes("KV")) return `${owner} ${what}`;
  if (heads.length === 1) return `${to[0]} ${what}`;
  return `${owner} ${what} (heads ${heads[0]} to ${heads[heads.length - 1]})`;
}

// Where an edge is read, in a circuit by position.
export const atPlace = (edge) => (edge.place ? ` at ${/^\d+$/.test(edge.place) ? "position " : ""}${edge.place}` : "");

export const thick = (width) => 0.7 + 4.8 * width;
export const bezier = (path, at) => {
  const p = path.map((v, i) => (i % 2 ? at.y(v) : at.x(v)).toFixed(1));
  return `M${p[0]} ${p[1]}C${p[2]} ${p[3]} ${p[4]} ${p[5]} ${p[6]} ${p[7]}`;
};

// Where an arrow key goes from a component: the nearest in the row beside, above or below.
export function step(nodes, names, from, key) {
  const here = nodes[from];
  if (!here) return names[0] ?? "";
  const side = key === "ArrowLeft" ? -1 : key === "ArrowRight" ? 1 : 0;
  const far = (n) => side ? (nodes[n].x - here.x) * side : (nodes[n].y - here.y) * (key === "ArrowUp" ? 1 : -1);
  const off = (n) => side ? Math.abs(nodes[n].y - here.y) : Math.abs(nodes[n].x - here.x);
  const ahead = names.filter((n) => n !== from && far(n) > 1e-6 && (!side || off(n) < 0.5));
  const cost = (n) => side ? far(n) : 100 * far(n) + off(n);
  return ahead.reduce((best, n) => (best === null || cost(n) < cost(best) ? n : best), null) ?? from;
}

// Every how many labels one is written, so that they do not touch.
export const every = (size, wide) => [1, 2, 5, 10, 20].find((n) => n * size >= wide) ?? 20;
const MARKS = ["circle", "square", "diamond", "triangle", "cross", "down"];
export const markOf = (kind, r) => ({
  circle: `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`, square: `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  diamond: `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0z`, triangle: `M0 ${-1.2 * r}L${1.2 * r} ${r}H${-1.2 * r}z`,
  down: `M0 ${1.2 * r}L${1.2 * r} ${-r}H${-1.2 * r}z`,
  cross: `M${-0.4 * r} ${-1.2 * r}h${0.8 * r}v${0.8 * r}h${0.8 * r}v${0.8 * r}h${-0.8 * r}v${0.8 * r}h${-0.8 * r}v${-0.8 * r}h${-0.8 * r}v${-0.8 * r}h${0.8 * r}z`,
}[kind]);
export const roleLook = (roles, role) => {
  const i = roles.indexOf(role);
  return i < 0 ? { mark: "circle", hue: -1 } : { mark: MARKS[i % MARKS.length], hue: i % 8 };
};

// The edges a list shows: those in a circuit or cut, largest first; all of a chosen component's.
export function listed(edges, state, most, all) {
  const size = (e) => (e.score === null ? 0 : Math.abs(e.score));
  const some = edges.filter((e) => { const { is, b } = stateOf(e, state); return all || is !== "off" || b; });
  return some.sort((a, b) => size(b) - size(a)).slice(0, most);
}
