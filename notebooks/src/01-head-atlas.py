# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A head atlas: which heads matter, how far do they look, what do they look like?
#
# Paper: Li et al. 2023, "How Does Attention Work in Vision Transformers? A Visual Analytics Attempt", arXiv 2303.13731
#
# Found: a tenth of the heads carries over half of the loss that ablations add, but how much one head helps is only partly the same on other text; heads do not look farther with depth, and their patterns are of few kinds, among them heads of layers 3 to 9 that rest on a second sink
#
# The 27 heads that matter most on one half of the documents carry 0.59 [0.35, 2.1] of the loss that all 270 single
# ablations add on the other half; random heads carry 0.07. The heads' ranks agree between the halves by 0.43 only.
# The *size* of what an ablation does agrees by 0.82, and the gradient foretells it (0.95): what changes with the text is
# whether a head helps or hurts. Mean distance looked back falls with depth (-0.21) where we expected a rise, and ten
# components explain 0.79 of the variance of the patterns. No detector says which heads matter.

# %% [markdown]
# ## What the paper asks, and what would count here
#
# We read the abstract only. It asks three questions of the heads of vision transformers, and a fourth that joins
# them: which heads are more important (by several pruning-based metrics), how strongly patches attend to their
# spatial neighbours and how that changes over the layers, which patterns heads can learn at all (summed up by an
# autoencoder), and why the important heads are important. It states no numbers, so every threshold below is ours,
# fixed before measuring. **The transfer**: image patches become tokens, spatial neighbours become distance back in
# the text, accuracy after pruning becomes the cross-entropy of the next token after mean ablation, and the
# autoencoder becomes principal components. The verdicts are about this model of text, not about the paper's models.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import math

import interp
from interp.methods.attention.head_scores import DETECTORS, strongest
from interp.results import mean_of
from interp.studies import (
    Claim,
    gate,
    measured,
    rank_correlation,
    ratio_of_means,
    shuffled_correlation,
    verdicts,
)

PAPER = "Li et al. 2023, abstract (vision transformers; we transfer the question)"
SHUFFLED = "the same heads shuffled within each layer, 200 times"

# %%
concentrated = Claim(
    "concentrated",
    says="Among the numerous attention heads, some are more important than others",
    paper="no number",
    source=PAPER,
    holds=0.5,
    null=0.1,
    control="10 random sets of 27 of the other heads",
    metric=(
        "share of the summed loss of all 270 single ablations, carried by the 27 heads chosen on "
        "other text"
    ),
)
agree = Claim(
    "metrics-agree",
    says="Head importance is identified by multiple pruning-based metrics",
    paper="no number",
    source=PAPER,
    holds=0.5,
    partly=0.3,
    null=0.0,
    control=SHUFFLED,
    metric="rank correlation of two importance measures over heads",
    parts=("ablation, gradient", "ablation, norm", "gradient, norm"),
    needs=(3, 1),
)
stable = Claim(
    "stable",
    says="Importance belongs to the head (and not to the text it was measured on)",
    paper="no number",
    source=PAPER,
    holds=0.7,
    partly=0.4,
    null=0.0,
    control=SHUFFLED,
    metric="rank correlation over heads of the ablation's loss on two halves of the documents",
)
trend = Claim(
    "trend",
    says="Attention strengths change over the layers: early heads look near, late heads far",
    paper="no number",
    source=PAPER,
    holds=0.5,
    partly=0.2,
    null=0.0,
    control="heads shuffled over the whole model",
    metric="rank correlation over heads of the mean distance looked back with the layer",
)
few_kinds = Claim(
    "few-kinds",
    says="The attention patterns that individual heads could learn can be summarised",
    paper="no number",
    source=PAPER,
    holds=0.7,
    partly=0.4,
    null=0.0,
    metric="share of the variance of 270 heads' patterns that 10 principal components explain",
    control="every row of every pattern permuted, position 0 in place",
    parts=("with the sink", "without it"),
    needs=(2, 1),
)
why = Claim(
    "why",
    says="The attention patterns of the important heads say why they are important",
    paper="no number",
    source=PAPER,
    holds=0.3,
    null=0.0,
    control=SHUFFLED,
    metric="rank correlation over heads of importance with what the head does",
    parts=("off the sink", "previous-token", "induction", "duplicate-token", "copying"),
    needs=(2, 1),
)

# %% [markdown]
# ## Text, and the gate
#
# Chunks of plain prose, from two halves of the documents: heads are chosen on `find` and judged on `judge`. The
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
# ablation added most on `find`.

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
# Of these, outside the first two layers, only L10H8, L12H5, L17H6 and L13H0 stand well clear of zero. Now the verdicts: the share of
# the 27 beside that of random heads, the ranks on the two halves, and the share of the first head alone.

# %%
strangers = interp.methods.runs.random_heads(model, best, layers="any")
v_concentrated = concentrated.judge(
    ratio_of_means(held.pick(best).sum(), held.sum()),
    gate=able,
    control=ratio_of_means(mean_of([held.pick(s).sum() for s in strangers]), held.sum()),
)
v_stable = stable.judge(
    rank_correlation(found, held), control=shuffled_correlation(found, held, within=True), gate=able
)
print(
    v_concentrated, v_stable, ratio_of_means(held.pick(best[:1]).sum(), held.sum()), best, sep="\n"
)

# %% [markdown]
# The 27 carry 0.59 of the sum, random sets 0.07, the first head 0.07 by itself: importance is concentrated. The interval
# runs to 2.1 because the sum itself, with its many negative terms, may be small. Ranks agree by 0.43, less than
# the 0.7 asked for, and by 0.13 when heads change places within their layer.
#
# Two cheaper measures need no run a head: the gradient's estimate of the same loss (one backward pass), and the
# length of what the head writes.

# %%
cheap = interp.head_scores(
    model, ["gradient", "output norm"], on=judge, metric=interp.methods.runs.loss_metric(judge)
)
three = {
    "ablation": held,
    "gradient": cheap.sel(score="gradient"),
    "norm": cheap.sel(score="output norm"),
}
pairs = {part: [three[name] for name in part.split(", ")] for part in agree.parts}
v_agree = agree.judge(
    {p: rank_correlation(*pairs[p]) for p in pairs},
    control={p: shuffled_correlation(*pairs[p], within=True) for p in pairs},
    gate=able,
)
print(v_agree, *((p, str(v.measured), str(v.control)) for p, v in v_agree.parts), sep="\n")

# %% [markdown]
# None of the three pairs agrees. But the two cheap measures have no sign, while the ablation has one. (This look was taken
# after the verdict; it carries none of its own.) How large is the change in each chunk, up or down, on average?

# %%
sizes = {"found": abs(found.examples).mean(-1), "held": abs(held.examples).mean(-1)}
print("size of the ablation, two halves:", rank_correlation(sizes["found"], sizes["held"]))
print(
    "size of the ablation, the gradient's estimate:",
    rank_correlation(sizes["held"], three["gradient"]),
)

# %% [markdown]
# The size of an ablation belongs to the head (0.82 between the halves), and one backward pass foretells it (0.95). So
# the two measures disagree about the sign, not about the size: many heads move the prediction of a short text either
# way. The length of what a head writes says nothing of that kind.

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
v_trend = trend.judge(
    rank_correlation(far, "layer"), control=shuffled_correlation(far, "layer"), gate=able
)
print(v_trend)

# %% [markdown]
# The distances fall a little with depth (-0.21): the wrong sign. The map says why it is no simple slope either: the
# longest stand together in layers 3 to 8, and again in 23 and 24. What do these heads look at, so far back? The next section tells.

# %% [markdown]
# ## What patterns are there?
#
# All 270 heads' patterns on the same text, each flattened to one long vector, and the two directions in which they
# differ most. Each head is coloured by the detector that answers strongest to it.

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
# There are three ends. To the right lie the heads that rest on the first token, L18H8 at the tip. Below left are heads
# that look at what stands just before. The third, at the top, was on nobody's list: its heads are of layers
# 3 to 9. How many directions does it take to hold all of it?

# %%
kinds = {"with the sink": dict(sink=True), "without it": dict(sink=False)}
v_few = few_kinds.judge(
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
# L16H0 looks at the token before. The heads that detect duplicates (L14H3) and inductions (L18H6) rest on the first token
# like L18H8: nothing is repeated here for them to find. **L4H5 has another sink**: from " the" on it rests on that " the",
# which says nothing in particular, and hardly on the first token. So for this head a
# second sink stands within the text, and if its neighbours in the atlas do the same, part of what the last section called
# looking far is resting there. L1H0, the most
# important head, gathers the few tokens before and the full stop.

# %% [markdown]
# ## Why do the important heads matter?
#
# Importance on held-out text beside what a head does.

# %%
does = {s: atlas.sel(score=s) for s in DETECTORS[:3]} | {
    "off the sink": 1 - atlas.sel(score="first-token")
}
does["copying"] = interp.head_scores(model, "copying").sel(score="copying")
v_why = why.judge(
    {p: rank_correlation(held, does[p]) for p in does},
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
# ## Try it
#
# `interp.head_scores(model)` on any model; `interp.ablate(model, judge, ["L0H3", "L0H4"], metric=interp.methods.runs.loss_metric(judge))`
# ablates heads together; `interp.tasks.text(model, corpus=interp.texts.documentation())` is another kind of text.
# Here are the 27 at once:

# %%
interp.ablate(model, judge, best, reference=others, metric=interp.methods.runs.loss_metric(judge))

# %% [markdown]
# ## What did not reproduce
#
# - **The paper's models.** We read the abstract only, and asked its questions of a language model. The words "holds" and
#   "does not hold" are about that transfer; the paper gives no numbers to miss.
# - **Importance is measured on little text.** 270 ablations of every position are dear, so each half has 8 chunks of
#   24 tokens. A steady 0.01 nats a token drowns in that. More text would raise the ranks' agreement (0.43); we do not
#   know how far. In FAST mode (40 tokens) nothing of it is left: "concentrated" and "stable" then do not hold, for
#   want of text. The share of the summed loss divides by a sum that may come near zero, and does so in FAST mode.
# - **"metrics-agree" compares a loss that has a sign with two measures that have none.** That was our choice before
#   measuring and the verdict stands; compared size with size, ablation and gradient agree by 0.95. The length of what a
#   head writes agrees with neither.
# - **The random sets are from the whole model**, as sets of the same layers cannot be drawn (ten of the eighteen heads
#   of layers 0 and 1 are among the 27). So the contrast of 0.59 with 0.07 is in part one of early layers with all others.
# - **Distance does not grow with depth.** Our measure leaves out the first token but not the second sink, which we
#   did not know of. Leaving it out as well would be another measure, and another claim. We saw it in the
#   patterns of four heads (layers 3 and 4) on two chunks; that the whole group of layers 3 to 9 rests there is our reading of
#   the atlas, and what makes a token such a sink we did not ask.
# - **No pattern says why a head matters.** The detectors know four kinds; the important heads of layers 0 and 1 are of
#   none of them. An autoencoder, as the paper has it, might find shapes that ten straight directions miss.
# - Mean ablation takes away a head's variation, not its mean; and three query heads share keys and values.
