// A dictionary's latents: a list to find one in, its card, and an edit with what the model then says.

const ROWS = 200; // of the list, drawn at once
const REST = 120; // ms the slider rests before it asks

// --- pure ------------------------------------------------------------------------------------------------------

// The places in the index that match what is searched, in order: {latents, words, density, largest} -> [place].
export function ordered(index, sort, find, labels = {}, kept = []) {
  const text = find.trim().toLowerCase();
  const number = /^\d+$/.test(text);
  const fits = (i) => !text || (number && String(index.latents[i]).startsWith(text)) || `${labels[index.latents[i]] ?? ""} ${index.words[i]}`.toLowerCase().includes(text);
  const places = index.latents.map((_, i) => i).filter(fits);
  if (sort === "kept") return places.sort((a, b) => kept.includes(index.latents[b]) - kept.includes(index.latents[a]) || index.latents[a] - index.latents[b]);
  const by = { density: index.density, largest: index.largest }[sort];
  return by ? places.sort((a, b) => by[b] - by[a] || index.latents[a] - index.latents[b]) : places.sort((a, b) => index.latents[a] - index.latents[b]);
}

// The rows of a list around a place, when only so many are drawn: [first, last].
export function around(place, count, rows = ROWS) {
  const first = Math.max(0, Math.min(Math.max(place, 0) - Math.floor(rows / 2), count - rows));
  return [first, Math.min(count, first + rows)];
}

// The one before or after in the list; at its ends, and where it is not in it, the nearest there is.
export function next(list, latent, way) {
  if (!list.length) return null;
  const at = list.indexOf(latent);
  if (at < 0) return list[way > 0 ? 0 : list.length - 1];
  return list[Math.max(0, Math.min(list.length - 1, at + way))];
}

// The ends of the slider, in multiples of the latent's largest value.
export const range = (by) => (by === "steer" ? [-3, 3] : [0, 4]);

// --- drawing ---------------------------------------------------------------------------------------------------

function list(view, parent) {
  const { model } = view;
  const side = tag("nav", { class: "interp-feat-list", "aria-label": "latents" }, parent);
  const box = tag("label", { class: "interp-field interp-entry" }, side);
  tag("span", { text: "find" }, box);
  const find = tag("input", { type: "search", placeholder: "word or number", spellcheck: "false", autocomplete: "off" }, box);
  const order = tag("label", { class: "interp-field" }, side);
  tag("span", { text: "sort" }, order);
  const sort = tag("select", {}, order);
  for (const [value, text] of [["number", "by number"], ["density", "by share of tokens"], ["largest", "by largest value"]]) tag("option", { value, text }, sort);
  tag("option", { value: "kept", text: "my list first" }, sort);
  const count = tag("div", { class: "interp-feat-count", role: "status" }, side);
  const rows = tag("ul", { class: "interp-feat-rows", role: "listbox", tabindex: 0, "aria-label": "latents; arrow keys move" }, side);
  let places = [];
  const latents = () => { const all = model.get("index").latents; return places.map((i) => all[i]); };
  const choose = (latent) => { if (latent !== null && latent !== model.get("latent")) view.ask({ latent }); };
  const draw = () => {
    const index = model.get("index"), chosen = model.get("latent");
    places = ordered(index, model.get("sort"), model.get("find"), model.get("labels"), model.get("mine"));
    const at = places.findIndex((i) => index.latents[i] === chosen), [first, last] = around(at, places.length);
    rows.replaceChildren();
    if (first) tag("li", { class: "interp-feat-more", text: `… ${first} before`, role: "presentation" }, rows);
    for (const i of places.slice(first, last)) {
      const on = index.latents[i] === chosen;
      const says = `${index.latents[i]}: ${index.words[i]}; on at ${percent(index.density[i])} of tokens, largest ${digits(index.largest[i])}`;
      const row = tag("li", { role: "option", "aria-selected": String(on), title: says, "data-latent": index.latents[i] }, rows);
      tag("b", { text: index.latents[i] }, row);
      tag("span", { text: `${model.get("mine").includes(index.latents[i]) ? "★ " : ""}${model.get("labels")[index.latents[i]] ?? index.words[i]}` }, row);
      tag("i", { text: model.get("sort") === "largest" ? digits(index.largest[i]) : percent(index.density[i]) }, row);
      if (on) requestAnimationFrame(() => { rows.scrollTop = Math.max(0, row.offsetTop - rows.clientHeight / 2); });
    }
    if (last < places.length) tag("li", { class: "interp-feat-more", text: `… ${places.length - last} more`, role: "presentation" }, rows);
    count.textContent = places.length === index.latents.length ? `${places.length} latents, ${index.tokens.toLocaleString("en")} tokens` : `${places.length} of ${index.latents.length} latents`;
  };
  const mark = () => {
    const chosen = rows.querySelector(`[data-latent="${model.get("latent")}"]`);
    if (!chosen) { draw(); return; }
    rows.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
    chosen.setAttribute("aria-selected", "true");
    const { offsetTop: top, offsetHeight: tall } = chosen;
    if (top < rows.scrollTop || top + tall > rows.scrollTop + rows.clientHeight) rows.scrollTop = Math.max(0, top - rows.clientHeight / 2);
  };
  view.listen(find, "input", () => view.save({ find: find.value }));
  view.listen(find, "keydown", (event) => { event.stopPropagation(); if (event.key === "Enter") { event.preventDefault(); choose(next(latents(), null, 1)); } });
  view.listen(sort, "change", () => view.save({ sort: sort.value }));
  view.listen(sort, "keydown", (event) => event.stopPropagation());
  view.listen(rows, "click", (event) => { const row = event.target.closest("[data-latent]"); if (row) choose(Number(row.dataset.latent)); });
  view.listen(rows, "keydown", (event) => {
    const way = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!way) return;
    take(event);
    choose(next(latents(), model.get("latent"), way));
  });
  view.on("labels mine", draw);
  view.shows("find sort index", () => { if (find.value !== model.get("find")) find.value = model.get("find"); sort.value = model.get("sort"); draw(); });
  view.on("latent", mark);
  return { step: (way) => choose(next(latents(), model.get("latent"), way)) };
}

function header(view, parent, index) {
  const { model } = view;
  const bar = tag("div", { class: "interp-feat-head" }, parent);
  button(view, bar, "‹", "previous latent of the list", () => index.step(-1));
  const box = tag("label", { class: "interp-field" }, bar);
  tag("span", { text: "latent" }, box);
  const number = tag("input", { type: "number", step: 1, class: "interp-feat-number" }, box);
  button(view, bar, "›", "next latent of the list", () => index.step(1));
  view.listen(number, "change", () => { if (Number.isInteger(number.valueAsNumber)) view.ask({ latent: number.valueAsNumber }); });
  view.listen(number, "keydown", (event) => event.stopPropagation());
  view.shows("latent", () => { number.value = model.get("latent"); });
  const own = entry(view, bar, "my label", "a name of your own", (text) => model.send({ do: "label", latent: model.get("latent"), text }));
  own.box.classList.add("interp-feat-own");
  const star = button(view, bar, "☆", "put it on my list, or take it off", () => model.send({ do: "keep", latent: model.get("latent") }));
  const second = tag("label", { class: "interp-field" }, bar);
  tag("span", { text: "beside" }, second);
  const other = tag("input", { type: "number", step: 1, min: 0, class: "interp-feat-second", placeholder: "none" }, second);
  view.listen(other, "change", () => view.ask({ beside: Number.isInteger(other.valueAsNumber) ? other.valueAsNumber : -1 }));
  view.listen(other, "keydown", (event) => event.stopPropagation());
  view.shows("beside", () => { other.value = model.get("beside") < 0 ? "" : model.get("beside"); });
  view.shows("latent labels mine", () => {
    own.show(model.get("labels")[model.get("latent")] ?? "");
    star.textContent = model.get("mine").includes(model.get("latent")) ? "★" : "☆";
  });
}

// The card is HTML made in Python, where every word of the text is escaped; the same as in a file.
function card(view, parent) {
  const { model } = view;
  const box = tag("div", { class: "interp-feat-card", "aria-live": "polite" }, parent);
  let shown = null;
  view.shows("reply", () => {
    const { card: one, latent, beside, why } = model.get("reply");
    const html = one && `${why ? `<p class="interp-feat-why"></p>` : ""}${one}${beside ? `<div class="interp-feat-beside">${beside}</div>` : ""}`;
    if (!html || html === shown) return;
    box.innerHTML = shown = html;
    if (why) box.querySelector(".interp-feat-why").textContent = why;
    box.classList.toggle("interp-feat-two", Boolean(beside));
    for (const line of box.querySelectorAll(".c")) dress(line, { title: "click for the whole context" });
    for (const near of box.querySelectorAll("[data-latent]")) {
      if (!model.get("index").latents.includes(Number(near.dataset.latent))) continue;
      dress(near, { role: "button", tabindex: 0, "aria-label": `latent ${near.dataset.latent}, a neighbour of ${latent}` });
    }
  });
  view.answers(box, "reply", { only: ["latent", "beside"] });
  const go = (event) => {
    const near = event.target.closest('[data-latent][role="button"]');
    if (!near || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
    take(event);
    view.ask({ latent: Number(near.dataset.latent) });
  };
  view.listen(box, "click", (event) => event.target.closest(".c")?.classList.toggle("interp-feat-open"));
  view.listen(box, "click", go);
  view.listen(box, "keydown", go);
}

function edit(view, parent) {
  const { model } = view;
  const box = tag("section", { class: "interp-feat-edit", "aria-label": "edit" }, parent);
  const left = tag("div", { class: "interp-feat-try" }, box);
  const right = tag("div", { class: "interp-feat-next" }, box);
  const bar = tag("div", { class: "interp-feat-bar" }, left);
  choice(view, bar, "edit", [["ablate", "ablate"], ["clamp", "clamp"], ["steer", "steer"]], "by");
  const field = tag("label", { class: "interp-field interp-feat-slide" }, bar);
  const slider = tag("input", { type: "range", step: 0.05, "aria-label": "strength, in multiples of the latent's largest value" }, field);
  const says = tag("output", {}, field);
  choice(view, bar, "at", [["all", "every token but the first"], ["end", "the last token"]], "where");
  const prompt = entry(view, left, "prompt", "its strongest context", (text) => view.ask({ text: text.replaceAll("↵", "\n") }));
  prompt.box.classList.add("interp-feat-prompt");
  const text = tag("div", { class: "interp-feat-text", "aria-label": "the latent's value at each token of the prompt" }, left);
  const note = tag("p", { class: "interp-feat-note" }, left);
  const amount = () => {
    const known = view.fits("reply", ["latent"]), largest = model.get("reply").largest || 1, by = model.get("by"), strength = Number(slider.value);
    says.textContent = `${known ? digits(strength * largest) : "…"} (${digits(strength)} × its largest value)`;
    field.hidden = by === "ablate";
  };
  let resting = null;
  view.listen(slider, "input", () => {
    amount();
    view.draft({ strength: Number(slider.value) });
    clearTimeout(resting);
    resting = setTimeout(() => {
      resting = null;
      if (view.signal.aborted) return;
      view.ask({ strength: Number(slider.value) });
      view.draft(null);
    }, REST);
  });
  view.listen(slider, "keydown", (event) => event.stopPropagation());
  view.shows("strength by reply latent", () => {
    const [low, high] = range(model.get("by")), strength = model.get("strength");
    slider.min = Math.min(low, strength);
    slider.max = Math.max(high, strength);
    if (resting === null) slider.value = strength; // else a hand is on it
    amount();
  });
  view.on("latent text", () => { if (!view.fits("reply", ["latent", "text"])) prompt.show(model.get("text").replaceAll("\n", "↵")); });
  view.shows("reply", () => {
    const { tokens, values, largest, prompt: shown, kl, title } = model.get("reply");
    if (!tokens) return;
    prompt.show(shown.replaceAll("\n", "↵"));
    text.replaceChildren();
    tokens.forEach((word, i) => {
      const one = tag("span", { text: word.replaceAll("\n", "↵"), title: `${token(word)}: ${digits(values[i])}` }, text);
      if (values[i]) { one.classList.add("interp-feat-on"); one.style.setProperty("--a", Math.min(1, Math.max(0, values[i] / (largest || 1)))); }
    });
    if (kl !== undefined) note.textContent = `${title}; what the dictionary does not explain is kept. KL from the unedited run: ${digits(kl)} nats`;
  });
  view.says("reply", () => {
    const { title, kl, changed } = model.get("reply");
    if (!changed) return "";
    const most = changed[0];
    return `${title}: KL ${digits(kl)} nats${most ? `; ${token(most.token)} ${percent(most.clean)} → ${percent(most.now)}` : ""}`;
  });
  view.answers(text, "reply", { only: ["latent", "text"], has: (reply) => Boolean(reply.tokens) });
  view.answers(note, "reply", { has: (reply) => reply.kl !== undefined });
  nextTokens(view, right, () => {
    const { top, changed } = model.get("reply");
    return top && { top, changed, title: "with the edit", edited: true, word: "edited", without: "without the edit" };
  });
}

export default {
  initialize: kept,
  render(context) {
    const view = frame(context, `Features: ${context.model.get("name")}`);
    const columns = tag("div", { class: "interp-feat-columns" }, view.body);
    const side = tag("div", { class: "interp-feat-side" }, columns);
    const main = tag("div", { class: "interp-feat-main" }, columns);
    const index = list(view, side);
    header(view, main, index);
    card(view, main);
    edit(view, main);
    return view.close;
  },
};
