// Next tokens before and after a change: bars of the likeliest (a full one is 100 %), and those that changed most. Stands before a widget's own text.

export const points = (change) => `${digits(100 * change, true)} points`;

// read() gives {top, changed, title, edited, word, without, nothing}, or nothing yet; it is drawn at each reply.
export function nextTokens(view, parent, read) {
  const box = tag("div", {}, parent);
  const bar = (list, one, { edited, word }) => {
    const row = tag("li", { title: `${token(one.token)}: ${percent(one.now)}${edited ? `, not ${word} ${percent(one.clean)}` : ""}` }, list);
    tag("span", { class: "interp-next-token", text: token(one.token) }, row);
    const track = tag("span", { class: "interp-next-track", "aria-hidden": "true" }, row);
    tag("span", { class: "interp-next-fill", style: `width:${100 * one.now}%` }, track);
    if (edited) tag("span", { class: "interp-next-was", style: `left:${100 * one.clean}%` }, track);
    tag("span", { class: "interp-next-share", text: percent(one.now) }, row);
  };
  const show = () => {
    const reply = read();
    if (!reply) return; // what stands there is hidden until the next comes
    box.replaceChildren();
    tag("div", { class: "interp-next-title", text: `next tokens, ${reply.title}` }, box);
    const list = tag("ol", { class: "interp-next-tokens" }, box);
    for (const one of reply.top) bar(list, one, reply);
    if (reply.edited) tag("div", { class: "interp-next-key", text: `probability; the line marks it ${reply.without}` }, box);
    tag("div", { class: "interp-next-title", text: "changed most" }, box);
    if (!reply.changed.length) tag("div", { class: "interp-next-key", text: reply.edited ? "no token by more than 0.05 points" : reply.nothing }, box);
    const moved = tag("ol", { class: "interp-next-changed" }, box);
    for (const one of reply.changed) {
      const row = tag("li", {}, moved);
      tag("span", { class: "interp-next-token", text: token(one.token) }, row);
      tag("span", { text: `${percent(one.clean)} → ${percent(one.now)}` }, row);
      tag("span", { class: one.now > one.clean ? "interp-next-up" : "interp-next-down", text: `${one.now > one.clean ? "▲" : "▼"} ${points(one.now - one.clean)}` }, row);
    }
  };
  view.shows("reply", show);
  view.answers(box, "reply", { has: () => Boolean(read()) });
}
