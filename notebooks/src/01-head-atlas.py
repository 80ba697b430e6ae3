# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A head atlas: which heads matter, how far do they look, and what do they look like?
#
# Paper: Li et al. 2023, "How Does Attention Work in Vision Transformers? A Visual Analytics Attempt", arXiv 2303.13731
#
# **The question.** A small language model has 270 attention heads. Which of them matter, how far back does
# each one look, and how many kinds of attention pattern are there? Li and colleagues put these questions to
# vision transformers. We put them to SmolLM2-135M.
#
# **How we look.** We switch off one head at a time and read the loss on prose, measure how far each head
# looks back, and lay all 270 patterns out on one map.
#
# *Before you run anything: do you expect early heads to look near and late heads to look far?*
#
# **What we found.** A tenth of the heads carries over half of the loss that ablations add (0.59, narrowly), and ten components
# summarise most of the patterns. On the map one group of heads stands apart, in layers 3 to 9: our detectors take
# them for heads that rest on the first token, but one of them, L4H5, rests on a second sink, a word inside the text.
# How much one head *helps* is only partly the same on other text (0.43), and heads do not look farther with depth.
#
# 15 minutes · beginner · you should know what an attention pattern is

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | model | vision transformers | SmolLM2-135M, a language model |
# | importance | "multiple pruning-based metrics": the change when a head is pruned | the change of the loss when a head takes its mean over other text; its estimate from gradients; the length of what it writes |
# | distance | attention strength between neighbouring patches | how many tokens a head looks back |
# | patterns | summarised by an autoencoder | summarised by ten principal components |
#
# Of the paper we read the abstract. It asks questions ("among the numerous attention heads, which one is
# more important?") and names methods, but states no result that another model could contradict. So all rows
# below are questions of ours, with thresholds of ours.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import math

import interp
from interp.methods.attention.head_scores import DETECTORS, strongest
from interp.results import mean_of
from interp.studies import (
    gate,
    load_claims,
    measured,
    rank_correlation,
    ratio_of_means,
    shuffled_correlation,
    verdicts,
)

# %%
claims = load_claims("01-head-atlas")
claims

# %% [markdown]
# ## Text, and the gate
#
# Chunks of plain prose, from two halves of the documents: heads are chosen on the first half and judged on the second. The
# measure is the mean loss of the next token, over every position of a chunk but the first.

# %%
model = interp.load(MODEL)
n, length, wide = (4, 10, 4) if FAST else (8, 24, 12)
find = interp.tasks.text(model, n=n, length=length)
judge = find.heldout()
loss = interp.methods.text.cross_entropy(model, judge.clean)
loss

# %%
dims = interp.models.bridge.dims(model)
SHARED = dims.group  # query heads that read the same keys and values: drawn together
able = gate(
    "nats a token better than guessing", measured(math.log(dims.d_vocab) - loss), at_least=5
)
print(able)

# %% [markdown]
# The model predicts this prose well enough for an ablation to show, although the chunks are short.

# %% [markdown]
# ## Which heads are important?
#
# Replace what a head writes by its mean over other text, position by position, and read the loss: the atlas' first
# map. Above zero means that the text is worse predicted without the head. Outlined are the 27 heads (a tenth) whose
# ablation added most on the first half; the colours are those of the second.

# %%
others = interp.texts.chunks(model, interp.texts.prose(), length=length, split="find")
found = interp.ablate(
    model, find, "L*H*", reference=others, metric=interp.methods.runs.loss_metric(find)
)
held = interp.ablate(
    model, judge, "L*H*", reference=others, metric=interp.methods.runs.loss_metric(judge)
)
best = found.top(round(0.1 * found.values.size), by="high").labels
held.plot(
    title="loss added by ablating one head, held-out text",
    marks={"the 27 chosen on the other half": held.cells(best)},
)

# %% [markdown]
# Few cells are dark, most of them in layers 0 and 1, where ten of the 27 lie; and there is much blue: without some heads
# the text is better predicted. Is a pale cell more than noise? The largest, with their intervals over the chunks:

# %%
held.top(12, by="high")

# %% [markdown]
# Of these, outside the first two layers, only L10H8, L12H5, L17H6 and L13H0 stand well clear of zero. Now
# the verdicts: the share of the 27 heads beside that of random heads, the agreement of the ranks on the two
# halves, and the share of the first head alone.

# %%
strangers = interp.methods.runs.random_heads(model, best, layers="any")
v_concentrated = claims["concentrated"].judge(
    ratio_of_means(held.pick(best).sum(), held.sum()),
    gate=able,
    control=ratio_of_means(mean_of([held.pick(s).sum() for s in strangers]), held.sum()),
)
v_stable = claims["stable"].judge(
    rank_correlation(found, held, together=SHARED),
    control=shuffled_correlation(found, held, within=True),
    gate=able,
)
print(
    v_concentrated, v_stable, ratio_of_means(held.pick(best[:1]).sum(), held.sum()), best, sep="\n"
)

# %% [markdown]
# The 27 heads carry 0.59 of the sum, random sets 0.07, and the first head 0.07 by itself: importance is
# concentrated. The interval runs to 2.1, because the sum itself has many negative terms and may be small.
# The ranks of the two halves correlate by 0.43, less than the 0.7 asked for; when heads change places
# within their layer, 0.13 is left.
#
# Two cheaper measures need no run for each head: the gradient's estimate of the same loss (one backward
# pass), and the length of what the head writes.

# %%
cheap = interp.head_scores(
    model, ["gradient", "output norm"], on=judge, metric=interp.methods.runs.loss_metric(judge)
)
three = {
    "ablation": held,
    "gradient": cheap.sel(score="gradient"),
    "norm": cheap.sel(score="output norm"),
}
pairs = {part: [three[name] for name in part.split(", ")] for part in claims["metrics-agree"].parts}
v_agree = claims["metrics-agree"].judge(
    {p: rank_correlation(*pairs[p], together=SHARED) for p in pairs},
    control={p: shuffled_correlation(*pairs[p], within=True) for p in pairs},
    gate=able,
)
print(v_agree, *((p, str(v.measured), str(v.control)) for p, v in v_agree.parts), sep="\n")

# %% [markdown]
# None of the three pairs agrees. But this comparison was wrong from the start: the ablation has a sign (a
# head helps or hurts), and the two cheap measures have none. So the row is not testable as we set it up.
# Compare size with size: how large is the change in each chunk, up or down, on average?

# %%
sizes = {"found": abs(found.examples).mean(-1), "held": abs(held.examples).mean(-1)}
compared = {
    "size of the ablation, two halves": (sizes["found"], sizes["held"]),
    "size of the ablation, the gradient's estimate": (sizes["held"], three["gradient"]),
}
for what, two in compared.items():
    got = rank_correlation(*two, together=SHARED)
    print(f"{what}: {got}, n = {got.n} KV groups")

# %% [markdown]
# The *size* of an ablation belongs to the head (0.82 between the halves), and one backward pass predicts it
# (0.95). What changes from text to text is the sign: many heads help to predict one short text and hinder
# another. The length of what a head writes predicts neither the loss nor the gradient's estimate.

# %% [markdown]
# ## How far do heads look?
#
# Attention by distance, the mean of the heads of ten layers each, on longer chunks.

# %%
text = interp.tasks.text(model, n=wide, length=64).heldout()
thirds = {"first third": range(10), "second third": range(10, 20), "last third": range(20, 30)}
profile = interp.methods.attention.attention_by_distance(model, text, groups=thirds)
profile.sel(distance=range(1, 25)).plot(
    title="attention by distance back, the first token left out"
)

# %% [markdown]
# All thirds look mostly at the token just before. The middle layers do so most (0.12), the last least, and the *first*
# third has the thickest tail: 0.015 at 24 tokens back, nearly three times the others. Head by head, the mean distance:

# %%
atlas = interp.head_scores(model, [*DETECTORS, "entropy", "distance"], on=text)
far = atlas.sel(score="distance")
far.plot(title="how far each head looks back, on average (the first token left out)")

# %%
v_trend = claims["trend"].judge(
    rank_correlation(far, "layer", together=SHARED),
    control=shuffled_correlation(far, "layer"),
    gate=able,
)
print(v_trend)

# %% [markdown]
# The distances fall a little with depth (-0.21): the wrong sign. The map says why it is no simple slope either: the
# longest stand together in layers 3 to 8, and again in 23 and 24. What do these heads look at, so far back? The next section tells.

# %% [markdown]
# ## What patterns are there?
#
# All 270 heads' patterns on the same text, each flattened to one long vector, and the two directions in which they
# differ most. Each head is coloured by the detector (a score for one kind of pattern, such as looking at the previous
# token) that answers strongest to it.

# %% tags=["cover"]
space = interp.methods.attention.pattern_components(model, text, components=2)
interp.plots.scatter(
    *space.values,
    far.labels(),
    groups=strongest(atlas.sel(score=list(DETECTORS))),
    top=10,
    x_name="first component of the pattern",
    y_name="second component",
    title="an atlas of the attention patterns of 270 heads",
)

# %% [markdown]
# The map has three ends. To the right lie the heads that rest on the first token. Below left are
# heads that look at the token just before. At the top stands a group of heads of layers 3 to 9. Most have the colour of
# first-token heads, but they lie far from the other heads of that colour, so they must be doing something else as well.
# How many directions does it take to hold all of this?

# %%
kinds = {"with the sink": dict(sink=True), "without it": dict(sink=False)}
v_few = claims["few-kinds"].judge(
    {
        k: measured(
            interp.methods.attention.pattern_variance_explained(
                model, text, components=10, **kinds[k]
            )
        )
        for k in kinds
    },
    control={
        k: measured(
            interp.methods.attention.pattern_variance_explained(
                model, text, components=10, shuffled=True, **kinds[k]
            )
        )
        for k in kinds
    },
    gate=able,
)
print(v_few, *((p, str(v.measured), str(v.control)) for p, v in v_few.parts), sep="\n")

# %% [markdown]
# Ten components hold 0.79 of the variance, of shuffled patterns 0.50. Without the first token it is 0.71 against 0.20,
# just above the threshold (the interval begins at 0.69).
#
# The heads at the far ends, on one short chunk: for each detector the head that it likes best, the head at the top of
# the atlas, and the head whose ablation costs most.

# %%
ends = [atlas.sel(score=s).top(1, by="high").labels[0] for s in DETECTORS]
ends = dict.fromkeys(
    [*ends, *space.sel(component=2).top(1, by="high").labels, *held.top(1, by="high").labels]
)
interp.attention_patterns(model, find.clean[0, :12], list(ends)).plot(
    title="what six heads attend to in one chunk of prose"
)

# %% [markdown]
# L16H0 looks at the token before. The heads that score highest as duplicate-token head (L14H3) and
# induction head (L18H6) rest on the first token like L18H8, since nothing is repeated here. **L4H5 has
# another sink**: from " the" on it rests on that " the", a word that says nothing in particular, and hardly
# on the first token. So a second sink stands within the text, and if this head's neighbours on the map do
# the same, part of what we measured as looking far is resting there. L1H0, the most important head, looks at
# the few tokens before and at the full stop.

# %% [markdown]
# ## Why do the important heads matter?
#
# Importance on held-out text beside what a head does.

# %%
does = {s: atlas.sel(score=s) for s in DETECTORS[:3]} | {
    "off the sink": 1 - atlas.sel(score="first-token")
}
does["copying"] = interp.head_scores(model, "copying").sel(score="copying")
v_why = claims["why"].judge(
    {p: rank_correlation(held, does[p], together=SHARED) for p in does},
    control={p: shuffled_correlation(held, does[p], within=True) for p in does},
    gate=able,
)
print(v_why, *((p, str(v.measured), str(v.control)) for p, v in v_why.parts), sep="\n")

# %% [markdown]
# No. Heads that attend off the sink matter a little more (0.16), but so do other heads of the same layers (0.19). The
# one part clear of its control has the wrong sign: important heads copy the tokens they read *less* than others (-0.29).

# %%
interp.plots.scatter(
    does["off the sink"].values,
    held.values,
    held.labels(),
    groups=strongest(atlas.sel(score=list(DETECTORS))),
    top=8,
    x_name="attention off the first token",
    y_name="loss added by ablation (nats a token)",
    title="importance and attention off the sink",
)

# %% [markdown]
# The six heads that matter most do look off the sink, nearly all the time; but so do many heads that do not matter.

# %% [markdown]
# ## Verdicts

# %%
verdicts(
    "01-head-atlas",
    [v_concentrated, v_agree, v_stable, v_trend, v_few, v_why],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - Few heads matter for a given text, and which ones help depends on the text. The size of a head's effect
#   is stable; its sign is not.
# - One backward pass ranks heads by the size of their effect nearly as well as 270 ablations do.
# - Sinks are not only the first token. Look at patterns before you trust an average such as the distance
#   looked back.
#
# ## Try it
#
# `interp.head_scores(model)` works on any model; `interp.ablate(model, judge, ["L0H3", "L0H4"],
# metric=interp.methods.runs.loss_metric(judge))` ablates heads together; `interp.tasks.text(model,
# corpus=interp.texts.documentation())` is another kind of text. Here are the 27 heads at once:

# %%
interp.ablate(model, judge, best, reference=others, metric=interp.methods.runs.loss_metric(judge))

# %% [markdown]
# ## What did not reproduce, and what we cannot say
#
# - **Nothing here is a statement about the paper.** Its abstract introduces methods for vision
#   transformers. An earlier version of this notebook ascribed three of our questions to it
#   (`metrics-agree`, `stable`, `trend`) and scored two of them as failures.
# - **`metrics-agree` is not testable as it was set up**: it compares a loss that has a sign with two
#   measures that have none.
# - **Importance is measured on little text.** 270 ablations of every position are expensive, so each half
#   has 8 chunks of 24 tokens. More text should raise the ranks' agreement (0.43); we do not know how far. With
#   40 tokens nothing of it is left.
# - **270 heads are not 270 independent examples.** Three query heads share their keys and values, so the
#   intervals of correlations over heads are drawn from the 90 KV groups. Groups of one layer may still
#   resemble each other more than groups of different layers.
# - **The random sets come from the whole model**, as sets of the same layers cannot be drawn (ten of the
#   eighteen heads of layers 0 and 1 are among the 27). So the contrast of 0.59 with 0.07 is in part one of
#   early layers with all others.
# - **Distance does not grow with depth** (-0.21). Our measure leaves out the first token but not the second
#   sink, which we did not know of. We saw it in the patterns of four heads on two chunks; that the whole
#   group of layers 3 to 9 rests there is our reading of the map.
# - **No pattern says why a head matters.** The detectors know four kinds, and the important heads of layers
#   0 and 1 are of none of them.
# - Mean ablation takes away a head's variation, not its mean.
#
# ## Further reading
#
# - Li et al. 2023, arXiv 2303.13731.
# - Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv 1905.10650: heads that can be pruned.
# - Notebook 10 and the sinks of SmolLM2: the first token, and why heads rest on it.
