// A panel of tabs. The first is its own: a prompt's tokens, the next tokens after one, and the heads that write them.

// --- pure --------------------------------------------------------------------------------------------------------

// The tab an arrow key leads to.
export function tabAfter(tabs, now, key) {
  const at = tabs.indexOf(now), last = tabs.length - 1;
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[key];
  return to === undefined ? null : tabs[Math.max(0, Math.min(last, to))];
}

// How dark a token of the prompt is: the less it was expected, in bits; full at ten.
export const surprise = (probability) => (probability === null || probability === undefined ? 0 : Math.max(0, Math.min(1, Math.log2(1 / Math.max(probability, 1e-6)) / 10)));

// --- drawing -----------------------------------------------------------------------------------------------------

function shared(view) {
  const { model } = view, bar = tag("div", { class: "interp-explore-bar" }, view.body);
  const examples = model.get("examples").map((text, i) => [String(i), text]);
  if (examples.length) choice(view, bar, "prompt", [...examples, ["-1", "a text of one's own"]], "prompt").classList.add("interp-explore-choose");
  const line = entry(view, bar, examples.length ? "or type one" : "prompt", "type a text and press Enter", (text) => view.ask({ text: text.replaceAll("↵", "\n"), prompt: -1, token: -1 }));
  line.box.classList.add("interp-explore-text");
  const heads = entry(view, bar, "ablated heads", "L20H0 L23H*", (text) => view.ask({ ablated: text }));
  heads.box.classList.add("interp-explore-heads");
  const by = choice(view, bar, "by", [["mean", "mean"], ["zero", "zero"]], "ablated_by");
  view.shows("tab", () => { heads.box.hidden = by.hidden = model.get("tab") === "heads"; }); // it has them itself
  view.shows("reply", () => line.show((model.get("reply").prompt ?? model.get("text")).replaceAll("\n", "↵")));
  view.shows("ablated", () => heads.show(model.get("ablated")));
}

function tabs(view, panels) {
  const { model } = view, list = tag("div", { class: "interp-explore-tabs", role: "tablist", "aria-label": "views of the prompt" }, view.body);
  const names = model.get("tabs"), buttons = new Map();
  for (const name of names) {
    const one = tag("button", { type: "button", role: "tab", class: "interp-explore-tab", text: name }, list);
    view.listen(one, "click", () => view.save({ tab: name }));
    buttons.set(name, one);
  }
  for (const [name, why] of Object.entries(model.get("absent"))) tag("span", { class: "interp-explore-absent", text: name, title: why }, list);
  view.listen(list, "keydown", (event) => {
    const to = tabAfter(names, model.get("tab"), event.key);
    if (to === null) return;
    take(event);
    view.save({ tab: to });
    buttons.get(to).focus();
  });
  view.shows("tab", () => {
    for (const [name, one] of buttons) {
      const on = name === model.get("tab");
      one.setAttribute("aria-selected", String(on));
      one.tabIndex = on ? 0 : -1;
    }
    panels(model.get("tab"));
  });
}

// The prompt as tokens: a click asks for the next tokens after one; the darker, the less it was expected.
function words(view, parent) {
  const { model } = view, box = tag("div", { class: "interp-explore-tokens", role: "group", "aria-label": "tokens of the prompt: arrow keys choose one" }, parent);
  tag("div", { class: "interp-explore-key", text: "Click a token for what the model predicts after it. The stronger its colour, the less a token was expected." }, parent);
  let spans = [];
  const draw = () => {
    const { tokens, expected, at } = model.get("reply");
    if (!tokens) return;
    const held = box.contains(document.activeElement);
    box.replaceChildren();
    spans = tokens.map((text, i) => {
      const says = `token ${i}: ${text}${expected[i] === null ? "" : `, expected with ${percent(expected[i])}`}`;
      const one = tag("span", { class: "interp-explore-token", role: "button", tabindex: i === at ? 0 : -1, "aria-pressed": String(i === at), "aria-label": says, title: says, "data-place": i, text: token(text) }, box);
      one.style.setProperty("--s", `${Math.round(70 * surprise(expected[i]))}%`);
      return one;
    });
    if (held) spans[at]?.focus();
  };
  view.listen(box, "click", (event) => { const at = event.target.dataset?.place; if (at !== undefined) view.ask({ token: Number(at) }); });
  view.listen(box, "keydown", (event) => {
    const { tokens, at } = model.get("reply");
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (to === undefined) return;
    take(event);
    view.ask({ token: Math.max(0, Math.min(tokens.length - 1, to)) });
  });
  view.shows("reply", draw);
  view.answers(box, "reply", { only: ["prompt", "text", "ablated", "ablated_by"] });
}

// The heads that write most here; a click looks at what one reads.
function writers(view, parent) {
  view.answers(parent, "reply");
  const { model } = view, title = tag("div", { class: "interp-next-title" }, parent), list = tag("ul", { class: "interp-explore-writers" }, parent);
  const key = tag("div", { class: "interp-next-key", text: "A click opens the head's attention. The first token is left out of what a head reads." }, parent);
  const draw = () => {
    const { writers: heads, about } = model.get("reply");
    title.textContent = heads ? "heads that write it" : "";
    key.hidden = !heads;
    list.replaceChildren();
    if (!heads) return;
    tag("li", { class: "interp-next-key", text: about }, list);
    const most = Math.max(...heads.map((one) => Math.abs(one.effect)), 1e-9);
    for (const one of heads) {
      const row = tag("button", { type: "button", class: "interp-explore-writer", "data-head": one.head, "aria-label": `${one.head}: ${digits(one.effect, true)} logits` }, tag("li", {}, list));
      tag("b", { text: one.head }, row);
      const track = tag("span", { class: "interp-explore-track", "aria-hidden": "true" }, row);
      tag("i", { class: one.effect < 0 ? "down" : "up", style: `width:${(100 * Math.abs(one.effect)) / most}%` }, track);
      tag("span", { text: digits(one.effect, true) }, row);
      const reads = tag("span", { class: "interp-explore-reads" }, row);
      if (one.read !== null) tag("span", { "data-place": one.src, text: `reads ${one.src} ${token(one.read)} ${percent(one.share)}` }, reads);
    }
  };
  view.listen(list, "click", (event) => {
    const head = event.target.closest("[data-head]")?.dataset.head;
    if (head) view.save({ head, tab: "attention" });
  });
  view.shows("reply", draw);
}

export default {
  initialize: kept,
  render(context) {
    const view = frame(context, "Explore"), { model } = view;
    shared(view);
    const holders = new Map();
    const open = (name) => {
      if (!holders.has(name)) holders.set(name, tag("div", { class: "interp-explore-panel", role: "tabpanel", "aria-label": name }, view.body));
      for (const [other, holder] of holders) holder.hidden = other !== name;
      fillIn(name);
    };
    // A tab's own widget is shown in it as soon as Python has made it.
    const fillIn = async (name) => {
      const reference = model.get("children")[name], holder = holders.get(name);
      if (!reference || !holder || holder.dataset.filled === reference) return;
      holder.dataset.filled = reference;
      holder.replaceChildren(); // a tab that was made again: the model was changed
      const manager = model.widget_manager, child = await manager.get_model(reference.replace("IPY_MODEL_", ""));
      const made = await manager.create_view(child);
      if (view.signal.aborted || holder.dataset.filled !== reference) { made.remove(); return; }
      holder.appendChild(made.el);
      view.signal.addEventListener("abort", () => made.remove());
    };
    tabs(view, open);
    const note = tag("p", { class: "interp-explore-key", role: "status" }, view.body);
    view.shows("tab prompt examples", () => {
      const typed = model.get("examples").length > 0 && model.get("prompt") < 0;
      note.textContent = typed && ["heads", "patching", "circuit"].includes(model.get("tab")) ? "This tab stays with the task's prompts: it cannot show the typed text." : "";
    });
    view.on("children", () => { for (const name of holders.keys()) fillIn(name); });
    const main = holders.get("next tokens") ?? tag("div", { class: "interp-explore-panel", hidden: true }, view.body);
    holders.set("next tokens", main);
    words(view, main);
    const columns = tag("div", { class: "interp-explore-columns" }, main);
    nextTokens(view, tag("div", {}, columns), () => {
      const { top, changed, title, ablated } = model.get("reply");
      return top && { top, changed, title, edited: Boolean(ablated), word: "ablated", without: "without ablation", nothing: "nothing is ablated" };
    });
    writers(view, tag("div", {}, columns));
    view.says("reply tab", () => {
      const { top, title, ablated } = model.get("reply");
      if (!top || model.get("tab") !== "next tokens") return ""; // the tab's own line stands there
      const [best] = top;
      return `${title}: ${token(best.token)} ${ablated ? `${percent(best.clean)} → ` : ""}${percent(best.now)}${ablated ? `, ablated ${ablated}` : ""}`;
    });
    return view.close;
  },
};
