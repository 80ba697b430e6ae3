// Shared by all widgets: this text stands before each widget's own module, so nothing here is imported.
// Python owns the state. The page draws it, reports clicks, and listens to every trait it shows.

const SVG_SPACE = "http://www.w3.org/2000/svg";
const SLOW = 200; // ms after which an unanswered click shows "computing"

const dress = (node, attributes, parent) => {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  parent?.appendChild(node);
  return node;
};

// A new element: tag("button", {class: "interp-button", text: "undo"}, parent).
export const tag = (name, attributes = {}, parent = null) => dress(document.createElement(name), attributes, parent);
export const svg = (name, attributes = {}, parent = null) => dress(document.createElementNS(SVG_SPACE, name), attributes, parent);

// --- numbers and colours ---------------------------------------------------------------------------------------

// {low, high, diverging} of numbers; null does not count. Diverging data is centred on zero.
export function scaleOf(values) {
  const seen = values.filter((v) => v !== null && Number.isFinite(v));
  if (!seen.length) return { low: 0, high: 1, diverging: false };
  let low = seen[0], high = seen[0];
  for (const v of seen) { if (v < low) low = v; if (v > high) high = v; }
  if (low < 0) {
    const most = Math.max(-low, high);
    return { low: -most, high: most, diverging: true };
  }
  return { low: 0, high: high || 1, diverging: false };
}

// The CSS colour of a number on a scale. Colours are mixed from the theme's, so they follow light and dark.
export function fill(value, scale) {
  if (value === null || !Number.isFinite(value)) return "var(--interp-missing)";
  const share = Math.round(1000 * Math.min(1, Math.abs(value) / scale.high)) / 10;
  const end = !scale.diverging ? "--interp-much" : value < 0 ? "--interp-down" : "--interp-up";
  return `color-mix(in srgb, var(${end}) ${share}%, var(--interp-zero))`;
}

// A number as people write it: three figures, a real minus sign, no trailing noise.
export function digits(value, sign = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.095 || size === 0 ? 2 : 3;
  const text = size !== 0 && size < 0.0005 ? size.toExponential(0) : size.toFixed(places);
  const before = value < 0 && Number(text) !== 0 ? "−" : sign && Number(text) !== 0 ? "+" : "";
  return before + text;
}

export const percent = (share) =>
  share === null || share === undefined ? "–" : share >= 0.0995 ? `${(100 * share).toFixed(0)} %` : share >= 0.00095 ? `${(100 * share).toFixed(1)} %` : share > 0 ? "<0.1 %" : "0 %";

// A token so that its space can be seen.
export const token = (text) => text.replace(/\n/g, "↵").replace(/^ /, "␣").replace(/^$/, "∅");

// A colour bar with its unit: colourBar(parent, scale, "logits", "effect of ablating one head").
export function colourBar(parent, scale, unit, name = "") {
  const bar = tag("div", { class: "interp-bar", role: "img", "aria-label": `colours from ${digits(scale.low)} to ${digits(scale.high)} ${unit}` }, parent);
  if (name) tag("span", { class: "interp-bar-name", text: name }, bar);
  tag("span", { class: "interp-bar-end", text: digits(scale.low, scale.diverging) }, bar);
  tag("span", { class: scale.diverging ? "interp-bar-two" : "interp-bar-one" }, bar);
  tag("span", { class: "interp-bar-end", text: `${digits(scale.high, scale.diverging)} ${unit}` }, bar);
  return bar;
}

// --- answers ---------------------------------------------------------------------------------------------------

// Whether an answer is to the question that stands now: now(name) gives a trait, `only` the names that count (null: all;
// the model's weights always do).
export function answersTo(answer, now, only = null) {
  const question = answer?.question;
  if (!question) return false;
  return Object.keys(question).every((name) => (only && !only.includes(name) && name !== "weights") || JSON.stringify(question[name]) === JSON.stringify(now(name)));
}

// --- the frame of a widget -------------------------------------------------------------------------------------

// Everything around a widget's own drawing: title, "computing", the line for errors, the Python of the state.
//   view.body           where to draw
//   view.on("a b", f)   f on every change of these traits; forgotten when the view closes
//   view.shows("a b", f)  the same, and f once now
//   view.listen(node, "click", f)
//   view.ask({a: 1})    sets traits and expects an answer: "computing" shows until it comes
//   view.save({b: 2})   sets traits that ask nothing
//   view.says("a b", f, "reply")  f gives the main number of this answer in words; it stands under the title where the page is narrow
//   view.answers(node, "reply", {only, has})  node shows this answer: hidden behind "computing" while it is another question's
//   view.fits("reply", only)  whether the answer is to the question that the page shows (of which only these traits count)
//   view.draft({a: 1})  the page shows a state that it has not sent (null: it has), to which no answer can fit yet
//   view.close          what render returns
export function frame({ model, el, signal }, name) {
  const stop = new AbortController();
  const close = () => stop.abort();
  if (signal?.aborted) close();
  signal?.addEventListener("abort", close, { once: true });
  const root = tag("section", { class: "interp", "aria-label": model.get("title") || name }, el);
  el.classList.add("interp-holder");
  const top = tag("div", { class: "interp-top" }, root);
  const head = tag("header", { class: "interp-head" }, top);
  const title = tag("span", { class: "interp-title", text: model.get("title") || name }, head);
  const busy = tag("span", { class: "interp-busy", role: "status", "aria-live": "polite" }, head);
  const main = tag("p", { class: "interp-says", "aria-hidden": "true" }, top);
  const problem = tag("p", { class: "interp-problem", role: "alert", hidden: true }, root);
  const body = tag("div", { class: "interp-body" }, root);
  const foot = tag("footer", { class: "interp-foot" }, root);
  const details = tag("details", { class: "interp-code" }, foot);
  tag("summary", { text: "Python of this state" }, details);
  const code = tag("pre", {}, details);
  const tools = tag("div", { class: "interp-tools" }, foot);

  const on = (names, f) => {
    const events = names.split(" ").map((n) => `change:${n}`).join(" ");
    model.on(events, f);
    stop.signal.addEventListener("abort", () => model.off(events, f));
  };
  const shows = (names, f) => { on(names, f); f(); };
  const listen = (target, type, f, options = {}) => target.addEventListener(type, f, { ...options, signal: stop.signal });
  const save = (state) => {
    for (const [key, value] of Object.entries(state)) model.set(key, value);
    model.save_changes();
  };
  let late = null;
  // An answer carries its question; what the page shows is the model's state, or a draft of the next one.
  let draft = {};
  const regions = [];
  let sentence = null;
  const fits = (trait, only = null) => answersTo(model.get(trait), (name) => (name in draft ? draft[name] : model.get(name)), only);
  const judge = () => {
    sentence?.();
    for (const { node, trait, only, has, word } of regions) {
      const old = !fits(trait, only) || (has !== null && !has(model.get(trait)));
      node.classList.toggle("interp-old", old);
      node.toggleAttribute("aria-busy", old);
      word.textContent = !old ? "" : model.get("problem") && model.get("asked") <= model.get("answered") && !model.get("busy") ? "not computed" : "computing";
      if (word.parentNode !== node) node.appendChild(word);
    }
  };
  const says = (names, f, trait = "reply") => {
    sentence = () => { main.textContent = fits(trait) ? f() || "" : model.get(trait)?.question ? "computing" : ""; };
    shows(names, sentence);
  };
  const answers = (node, trait = "reply", { only = null, has = null } = {}) => {
    node.classList.add("interp-answer");
    regions.push({ node, trait, only, has, word: tag("div", { class: "interp-old-word", "aria-hidden": "true" }) });
    judge();
  };
  const drafted = (state) => { draft = state ?? {}; judge(); };
  const working = () => {
    const open = model.get("asked") > model.get("answered");
    if (!open) { clearTimeout(late); late = null; }
    busy.textContent = model.get("busy") || (open && late === "shown" ? "computing" : "");
    root.classList.toggle("interp-is-busy", Boolean(busy.textContent));
  };
  const ask = (state) => {
    save({ ...state, asked: model.get("asked") + 1 });
    if (late === null) late = setTimeout(() => { late = "shown"; working(); }, SLOW);
  };
  const complain = () => {
    problem.textContent = model.get("problem");
    problem.hidden = !problem.textContent;
  };
  const program = () => { code.textContent = model.get("python"); };
  // A token is marked wherever it stands, in this widget and in those it is linked to: what shows the token of
  // position 3 has data-place="3".
  const mark = (at) => {
    for (const node of root.querySelectorAll(".interp-linked")) node.classList.remove("interp-linked");
    if (at !== null) for (const node of root.querySelectorAll(`[data-place="${at}"]`)) node.classList.add("interp-linked");
  };
  let over = null;
  const point = (event) => {
    const place = event.type === "pointerleave" ? undefined : event.target.closest?.("[data-place]")?.dataset.place;
    const at = place === undefined ? null : Number(place);
    if (at === over) return;
    over = at;
    window.dispatchEvent(new CustomEvent("interp-token", { detail: { group: model.get("linked"), at, root } }));
  };
  listen(root, "pointerover", point);
  listen(root, "pointerleave", point);
  listen(window, "interp-token", ({ detail }) => { if (detail.root === root || (detail.group && detail.group === model.get("linked"))) mark(detail.at); });
  on("busy asked answered", working);
  on("problem", complain);
  on("python", program);
  model.on("change", judge);
  stop.signal.addEventListener("abort", () => model.off("change", judge));
  stop.signal.addEventListener("abort", () => { clearTimeout(late); root.remove(); });
  working(); complain(); program();
  tooling(tools, { model, listen, on, signal: stop.signal });
  return { model, root, head, title, body, code, on, shows, says, listen, save, ask, answers, fits, draft: drafted, close, signal: stop.signal };
}

// The text on the clipboard, also where the page may not write to it by itself.
async function copy(text, parent) {
  try { await navigator.clipboard.writeText(text); return; } catch { /* no permission: by hand */ }
  const field = tag("textarea", { class: "interp-hidden", text }, parent);
  field.select();
  document.execCommand("copy");
  field.remove();
}

// The state as a line of text that `widget.follow(...)` and the field beside it understand.
export function linkOf(state, kind) {
  const given = Object.entries(state).map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(JSON.stringify(value))}`);
  return `${kind}?${given.join("&")}`;
}

// Copy and save what is shown.
function tooling(parent, { model, listen, on, signal }) {
  const small = (text, says, act) => listen(tag("button", { class: "interp-tool", type: "button", text, title: says, "aria-label": says }, parent), "click", act);
  const done = tag("span", { class: "interp-done", role: "status" }, parent);
  const say = (text) => { done.textContent = text; setTimeout(() => { if (!signal.aborted) done.textContent = ""; }, 1500); };
  small("copy Python", "copy the Python of this state", () => copy(model.get("python"), parent).then(() => say("copied")));
  small("copy link", "copy the state as a line of text that opens it again: widget.follow(text)", () => copy(linkOf(Object.fromEntries(model.get("remembers").map((name) => [name, model.get(name)])), model.get("kind")), parent).then(() => say("copied")));
  const line = tag("input", { class: "interp-open", type: "text", placeholder: "open a link", "aria-label": "open a link: paste it and press Enter", spellcheck: "false" }, parent);
  listen(line, "keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter" && line.value.trim()) { event.preventDefault(); model.send({ do: "open", text: line.value }); line.value = ""; }
  });
  for (const form of ["png", "svg", "csv"]) small(form.toUpperCase(), `save what is shown as ${form.toUpperCase()}`, () => { say("saving"); model.send({ do: "export", as: form }); });
  const receive = (message, buffers) => {
    if (!message?.file || !buffers?.length) return;
    const url = URL.createObjectURL(new Blob([buffers[0]]));
    tag("a", { href: url, download: message.file }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    say("saved");
  };
  model.on("msg:custom", receive);
  signal.addEventListener("abort", () => model.off("msg:custom", receive));
}

// A key this widget takes for itself: JupyterLab's own shortcuts must not fire as well.
export const take = (event) => { event.preventDefault(); event.stopPropagation(); };

// A labelled choice: select(view, parent, "ablate by", ["zero", "mean"], trait).
export function choice(view, parent, label, options, trait) {
  const box = tag("label", { class: "interp-field" }, parent);
  tag("span", { text: label }, box);
  const list = tag("select", {}, box);
  for (const one of options) {
    const [value, text] = Array.isArray(one) ? one : [one, one];
    tag("option", { value, text }, list);
  }
  const kind = typeof view.model.get(trait);
  const read = (text) => (kind === "number" ? Number(text) : kind === "boolean" ? text === "true" : text);
  const show = () => { list.value = String(view.model.get(trait)); };
  view.listen(list, "change", () => view.ask({ [trait]: read(list.value) }));
  view.listen(list, "keydown", (event) => event.stopPropagation());
  view.on(trait, show);
  show();
  return box;
}

// In a panel, which chooses the prompt itself: that prompt, or the mean of all of them.
export function meanToo(view, parent, count) {
  const { model } = view, box = tag("label", { class: "interp-field interp-mean" }, parent);
  const tick = tag("input", { type: "checkbox" }, box);
  tag("span", { text: `mean of ${count} prompts` }, box);
  let one = Math.max(0, model.get("prompt"));
  view.listen(tick, "change", () => view.ask({ prompt: tick.checked ? -1 : one }));
  view.listen(tick, "keydown", (event) => event.stopPropagation());
  view.shows("prompt", () => {
    const now = model.get("prompt");
    if (now >= 0) one = now;
    tick.checked = now < 0;
  });
  return box;
}

// A button that does one thing.
export function button(view, parent, text, says, act) {
  const one = tag("button", { class: "interp-button", type: "button", text, title: says, "aria-label": says }, parent);
  view.listen(one, "click", act);
  return one;
}

// A line of text that is sent with Enter or on leaving the field: entry(view, parent, "heads", "L5H1 L7H*", (text) => ...).
export function entry(view, parent, label, hint, send) {
  const box = tag("label", { class: "interp-field interp-entry" }, parent);
  tag("span", { text: label }, box);
  const line = tag("input", { type: "text", placeholder: hint, spellcheck: "false", autocomplete: "off" }, box);
  let sent = "";
  const done = () => { if (line.value !== sent) { sent = line.value; send(line.value); } };
  view.listen(line, "change", done);
  view.listen(line, "keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") { event.preventDefault(); sent = null; done(); }
  });
  return { box, line, show: (text) => { if (document.activeElement !== line || sent !== line.value) { line.value = text; } sent = text; } };
}
