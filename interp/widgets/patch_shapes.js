// The patching explorer's geometry and words.

// Where the cells of a map are; layer 0 is the lowest row. words: columns are tokens, written at a slant.
export function mapBox(layers, columns, words, room = 510) {
  const wide = Math.max(7, Math.min(38, Math.floor((room - 48) / columns))), high = Math.max(6, Math.min(24, Math.floor(370 / layers)));
  const left = 42, top = 6, foot = words && wide >= 12 ? 78 : 36;
  const lean = words && wide >= 12 ? 10 : 0;
  return { wide, high, left, top, foot, width: left + columns * wide + 4 + lean, height: top + layers * high + foot };
}

export const every = (size, room) => [1, 2, 5, 10, 20, 50].find((n) => n * size >= room) ?? 100;
export const cellAt = (box, layers, layer, column) => ({ x: box.left + column * box.wide, y: box.top + (layers - 1 - layer) * box.high });
export const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Where an arrow key goes on the map.
export function moved([layer, column], key, layers, columns) {
  const by = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key] ?? [0, 0];
  return [Math.max(0, Math.min(layers - 1, layer + by[0])), Math.max(0, Math.min(columns - 1, column + by[1]))];
}

// A cell in words: "residual stream before layer 12, position 9 ␣John", "L5H1, all positions".
export function cellName(site, [layer, column], tokens) {
  if (site === "heads") return `L${layer}H${column}, all positions`;
  const what = { resid_pre: `residual stream before layer ${layer}`, attn: `attention output of layer ${layer}`, mlp: `MLP output of layer ${layer}` }[site];
  return `${what}, position ${column} ${token(tokens[column] ?? "")}`;
}

// The prompts a list offers: each by its first differing token, and all of them.
export const prompts = (all) => [
  ...all.map((p, i) => [i, `${i + 1}: ${token(p.clean[p.differs[0]] ?? "")} / ${token(p.corrupted[p.differs[0]] ?? "")}`]),
  ...(all.length > 1 ? [[-1, `mean of ${all.length} prompts`]] : []),
];
