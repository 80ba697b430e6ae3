// What each layer would say: a table of top tokens, coloured, and the list of one cell.

const COLUMN = { least: 44, most: 88, room: 720, label: 44 };

// --- pure ------------------------------------------------------------------------------------------------------

// A rank's place on a logarithmic scale: 1 on top, towards 0 at the end of the vocabulary.
export const rankShare = (rank, vocab) => (rank === null ? null : Math.max(0, 1 - Math.log10(1 + rank) / Math.log10(vocab)));

// The colour scale of a table, and a function from a number to its share of it.
export function colouring(by, numbers, vocab) {
  if (by === "rank") return { scale: { low: 0, high: 1, diverging: false }, share: (v) => rankShare(v, vocab) };
  if (by !== "logit_diff") return { scale: { low: 0, high: 1, diverging: false }, share: (v) => v };
  const most = Math.max(0, ...numbers.flat().filter((v) => v !== null).map(Math.abs)) || 1;
  return { scale: { low: -most, high: most, diverging: true }, share: (v) => v };
}

// The ranks that stand under the colour bar.
export const rankTicks = (vocab) => [0, 1, 10, 100, 1000, 10000, 100000].filter((r) => r < vocab);

// How wide n columns are.
export const columnWidth = (n) => Math.round(Math.max(COLUMN.least, Math.min(COLUMN.most, COLUMN.room / n)));

// Where a key leads from a cell; null for a key that is not ours. Layers go upward.
export function moved(key, [row, column], rows, columns) {
  const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
  if (key === "Home") return [row, 0];
  if (key === "End") return [row, columns - 1];
  if (!step) return null;
  const keep = (v, n) => Math.max(0, Math.min(n - 1, v));
  return [keep(row + step[0], rows), keep(column + step[1], columns)];
}

// The first position of the page before or after this one; null where there is none.
export function page(start, shown, total, way) {
  const next = way < 0 ? Math.max(0, start - shown) : Math.min(total - shown, start + shown);
  return next === start || shown >= total ? null : next;
}

// A whole number with thin spaces: 12 345.
export const whole = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");

// A token as a cell's text.
export const word = (text) => (text.trim() ? text.trim() : token(text).replace(/\u00a0/g, "⍽"));

// --- drawing ---------------------------------------------------------------------------------------------------

function controls(view) {
  const { model } = view;
  const bar = tag("div", { class: "interp-lens-controls" }, view.body);
  const fresh = { start: -1, layer: -1, token: -1 };
  const examples = model.get("examples").map((text, i) => [String(i), text]);
  const ours = !model.get("in_panel"); // else the panel has the prompt
  if (ours && examples.length) choice(view, bar, "prompt", [...examples, ["-1", "a text of one's own"]], "prompt");
  const line = entry(view, bar, examples.length ? "or type one" : "prompt", "type a text and press Enter", (text) => view.ask({ text: text.replaceAll("↵", "\n"), prompt: -1, ...fresh }));
  line.box.classList.add("interp-lens-prompt");
  line.box.hidden = !ours;
  choice(view, bar, "colour", [["rank", "rank of the answer"], ["logit_diff", "logit difference"], ["prob", "probability of the answer"], ["top", "probability of the top token"]], "by");
  const words = ["answer", "against"].map((trait) => {
    const one = entry(view, bar, trait, "", (text) => view.ask({ [trait]: text.replaceAll("␣", " ") }));
    one.box.classList.add("interp-lens-word");
    return one;
  });
  if (model.get("layers") > 12) choice(view, bar, "layers", [["0", "all that fit"], ["2", "every 2nd"], ["3", "every 3rd"], ["5", "every 5th"]], "step");
  const show = () => {
    const reply = view.fits("reply", ["text", "prompt", "answer", "against"]) ? model.get("reply") : {};
    line.show((reply.prompt ?? model.get("text")).replaceAll("\n", "↵"));
    words[0].show((reply.answers ?? [model.get("answer")]).map(token).join(" "));
    words[1].show((reply.wrong ?? [model.get("against")]).map(token).join(" "));
  };
  view.shows("reply text prompt answer against", show);
}

function legend(parent, reply, vocab, scale) {
  parent.replaceChildren();
  const about = reply.by === "top" ? "" : ` ${reply.answers.map(token).join(" ")}${reply.by === "logit_diff" ? ` − ${reply.wrong.map(token).join(" ")}` : ""}`;
  const name = `${reply.title}${about}`;
  if (reply.by !== "rank") { colourBar(parent, scale, reply.unit, name); return; }
  tag("span", { text: name }, parent);
  const bar = tag("div", { class: "interp-lens-ranks", role: "img", "aria-label": "colours from many tokens above the answer to none" }, parent);
  tag("i", {}, bar);
  for (const rank of rankTicks(vocab)) {
    if (rank === 1) continue;
    const one = tag("span", { text: rank === 0 ? "0: on top" : whole(rank) }, bar);
    one.style.left = `${100 * rankShare(rank, vocab)}%`;
  }
}

function valueText(reply, by, value) {
  if (value === null) return "";
  return by === "rank" ? `rank of the answer ${whole(value)}` : by === "logit_diff" ? `logit difference ${digits(value, true)}` : `${reply.title} ${percent(value)}`;
}

function side(box, reply, name) {
  box.replaceChildren();
  const at = reply.token - reply.start, layer = reply.layer;
  const head = tag("h4", { text: `layer ${layer} ` }, box);
  tag("span", { text: `after ${reply.token} ${token(reply.tokens[at])}` }, head);
  if (!reply.list.length) { tag("p", { text: "this lens has no such layer" }, box); return; }
  const list = tag("ol", { "aria-label": `${name}: most likely tokens` }, box);
  for (const [text, share] of reply.list) {
    const line = tag("li", { class: reply.answers.includes(text) ? "interp-lens-answer" : "" }, list);
    tag("span", { text: token(text), title: text }, line);
    tag("i", {}, tag("span", {}, line)).style.width = `${Math.max(1, 100 * share)}%`;
    tag("span", { text: percent(share) }, line);
  }
  const facts = tag("div", { class: "interp-lens-facts" }, box);
  const fact = (key, value, kind = "") => { tag("span", { text: key }, facts); tag("span", { text: value, class: kind }, facts); };
  if (reply.ablated) fact("ablated", reply.ablated);
  fact("answer", reply.answers.map(token).join(" "), "interp-lens-token");
  fact("rank (0: on top)", whole(reply.measures.rank));
  fact("probability", percent(reply.measures.prob));
  fact(`logit minus that of ${reply.wrong.map(token).join(" ")}`, digits(reply.measures.logit_diff, true));
}

export default {
  initialize: kept,
  render(context) {
    const { model } = context, view = frame(context, model.get("name"));
    controls(view);
    const pages = tag("div", { class: "interp-lens-pages" }, view.body);
    const main = tag("div", { class: "interp-lens-main" }, view.body);
    const left = tag("div", { class: "interp-lens-left" }, main);
    const table = tag("table", { class: "interp-lens-table", role: "grid", "aria-label": `${model.get("name")}: layers upward, positions to the right` }, tag("div", { class: "interp-lens-scroll" }, left));
    const key = tag("div", { class: "interp-lens-legend" }, left);
    const list = tag("div", { class: "interp-lens-side", "aria-live": "polite" }, main);
    const turn = (way) => { const { start, tokens, total } = model.get("reply"), to = page(start, tokens.length, total, way); if (to !== null) view.ask({ start: to }); };
    const back = button(view, pages, "‹", "earlier tokens", () => turn(-1));
    const where = tag("span", {}, pages);
    const on = button(view, pages, "›", "later tokens", () => turn(1));

    const draw = () => {
      const reply = model.get("reply");
      main.hidden = !reply.tokens;
      pages.hidden = !reply.tokens || reply.tokens.length >= reply.total;
      if (!reply.tokens) return;
      const { tokens, rows, start, total } = reply, vocab = model.get("vocab");
      where.textContent = `tokens ${start} to ${start + tokens.length - 1} of ${total}`;
      back.disabled = page(start, tokens.length, total, -1) === null;
      on.disabled = page(start, tokens.length, total, 1) === null;
      const focused = table.contains(document.activeElement);
      const { scale, share } = colouring(reply.by, reply.numbers, vocab);
      const wide = columnWidth(tokens.length);
      table.replaceChildren();
      table.style.width = "100%";
      table.style.maxWidth = `${COLUMN.label + (wide + 1) * tokens.length}px`;
      table.style.minWidth = `${COLUMN.label + 30 * tokens.length}px`;
      const cols = tag("colgroup", {}, table);
      tag("col", {}, cols).style.width = `${COLUMN.label}px`;
      for (const _ of tokens) tag("col", {}, cols);
      tag("th", { text: "layer" }, tag("tr", {}, tag("thead", {}, table)));
      const body = tag("tbody", {}, table);
      for (let i = rows.length - 1; i >= 0; i--) {
        const row = tag("tr", {}, body);
        tag("th", { scope: "row", text: String(rows[i]) }, row);
        tokens.forEach((_, j) => {
          const text = reply.top[i][j], value = reply.numbers[i][j];
          if (text === null) { tag("td", { class: "interp-lens-wait", "aria-label": "nothing here yet" }, row); return; }
          const chosen = rows[i] === reply.layer && start + j === reply.token;
          const says = `layer ${rows[i]}, after ${start + j} ${token(tokens[j])}: ${token(text)} ${percent(reply.sure[i][j])}${reply.by === "top" ? "" : `; ${valueText(reply, reply.by, value)}`}`;
          const cell = tag("td", { role: "gridcell", tabindex: chosen ? 0 : -1, "aria-selected": String(chosen), "aria-label": says, title: says, text: word(text), "data-row": i, "data-column": j }, row);
          cell.style.background = fill(share(value), scale);
          cell.classList.toggle("interp-lens-strong", Math.abs(share(value)) > 0.55 * scale.high);
          if (chosen && focused) cell.focus({ preventScroll: true });
        });
      }
      const foot = tag("tfoot", {}, table);
      const names = tag("tr", {}, foot), places = tag("tr", { class: "interp-lens-place" }, foot);
      tag("th", { text: "after" }, names);
      tag("th", {}, places);
      tokens.forEach((text, j) => { tag("th", { scope: "col", text: word(text), title: text, "data-place": start + j }, names); tag("th", { text: start + j }, places); });
      legend(key, reply, vocab, scale);
      side(list, reply, model.get("name"));
    };
    const choose = ([row, column]) => { const { rows, start } = model.get("reply"); view.ask({ layer: rows[row], token: start + column }); };
    const placeOf = (node) => (node?.dataset?.row === undefined ? null : [Number(node.dataset.row), Number(node.dataset.column)]);
    view.listen(table, "click", (event) => { const at = placeOf(event.target); if (at) { event.target.focus({ preventScroll: true }); choose(at); } });
    view.listen(table, "keydown", (event) => {
      const at = placeOf(document.activeElement), reply = model.get("reply");
      const to = at && (event.key === "Enter" || event.key === " " ? at : moved(event.key, at, reply.rows.length, reply.tokens.length));
      if (!to) return;
      take(event);
      table.querySelector(`[data-row="${to[0]}"][data-column="${to[1]}"]`)?.focus();
      choose(to);
    });
    view.on("reply", draw);
    view.says("reply", () => {
      const { tokens, layer, token: at, start, list: found, measures, answers } = model.get("reply");
      if (!tokens || !found.length) return "";
      return `layer ${layer}, after ${at} ${token(tokens[at - start])}: ${token(found[0][0])} ${percent(found[0][1])}; rank of ${answers.map(token).join(" ")} ${whole(measures.rank)}`;
    });
    const table_ = ["text", "prompt", "by", "answer", "against", "start", "step", "ablated", "ablated_by"]; // not the chosen cell
    view.answers(left, "reply", { only: table_ });
    view.answers(pages, "reply", { only: table_ });
    view.answers(list, "reply");
    draw();
    return view.close;
  },
};
