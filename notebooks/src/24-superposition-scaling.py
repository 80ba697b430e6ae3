# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Superposition and scaling: does the loss fall as one over the width?
#
# Paper: Liu, Liu and Gore 2025, "Superposition Yields Robust Neural Scaling", arXiv 2505.10465
#
# Found: with all features kept, overlaps fall as 1/m as the paper says, but in our short runs the loss falls more slowly (exponents 0.73, 0.70 and 0.45 where 1 is claimed), and less alike for different frequencies; SmolLM2's token directions overlap 125 times as much as random ones, mostly along one shared direction
#
# The geometry comes out: squared overlaps times m stay between 1.0 and 1.4 from 5 to 40 dimensions. The scaling does not:
# the loss falls faster than in the weak regime for alpha 0 and 0.5, but short of 1/m, and at alpha 1 it stops falling
# at 20 dimensions. These runs are short; what longer ones would give is not known here.

# %% [markdown]
# ## What the paper says, and what would count here
#
# A model with m dimensions stores n features, n much larger than m. When it drops the rare ones (weak superposition), its
# loss is the weight of what it dropped, and falls with m as the features' frequencies say. When it keeps all of them
# (strong superposition), the loss is what they overlap, and that falls as 1/m whatever the frequencies.
#
# Thresholds were fixed before measuring. The runs are much smaller than the paper's (200 features for 1,000,
# 900 steps of 128 vectors for 20,000 of 2,048): this had to fit into minutes on two cores. One language model gives no scaling
# law, so for SmolLM2 only the geometry is asked for; the paper's claim that models' losses follow from it is not judged.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from dataclasses import replace

import numpy as np
import torch

import interp
from interp.replications import superposition_scaling as toy
from interp.studies import Claim, gate, measured, verdicts

LIU = dict(source="Liu, Liu and Gore 2025, abstract", control="none")
ALPHAS, WIDTHS = [0.0, 0.5, 1.0], [5, 10, 20] if FAST else [5, 10, 20, 40]
PARTS = tuple(f"alpha {a:g}" for a in ALPHAS)

# %%
strong = Claim(
    "strong",
    says="Under strong superposition the loss scales as 1/m for many frequency distributions",
    paper="loss ~ 1/m",
    metric=(
        "largest distance of an exponent from 1 over three alphas; all three within 0.2 of one "
        "another"
    ),
    direction="<=",
    holds=0.2,
    partly=0.4,
    null=1.0,
    **LIU,
    varies="trained",
)
weak = Claim(
    "weak",
    says="Under weak superposition the exponent follows that of the feature frequencies",
    paper="loss ~ m ** -alpha",
    metric="distance of the exponent from alpha, by alpha; the exponent rises with alpha",
    direction="<=",
    holds=0.25,
    null=1.0,
    parts=(*PARTS, "rises with alpha"),
    needs=(4, 1),
    **LIU,
    varies="trained",
)
rises = replace(weak, direction=">=", holds=0.0, null=0.0, parts=(), needs=None)
overlap = Claim(
    "overlap",
    says="The squared overlaps of the features' directions scale as 1/m",
    paper="1/m",
    metric=(
        "squared cosine * m, the largest over the smallest across m, by alpha (strong "
        "superposition)"
    ),
    direction="<=",
    holds=2.0,
    partly=4.0,
    null=WIDTHS[-1] / WIDTHS[0],
    parts=PARTS,
    needs=(3, 1),
    **LIU,
    varies="trained",
)
language = Claim(
    "language-model",
    says="Open language models are in strong superposition: their overlaps are of the size 1/m",
    paper="overlaps ~ 1/m in four families",
    metric=(
        "mean squared cosine of unembedding rows * 576 (random directions: 1), at least 0.5; "
        "frequent tokens above the rest"
    ),
    direction="<=",
    holds=2.5,
    partly=5.0,
    null=576.0,
    **LIU,
)

# %% [markdown]
# ## Two regimes
#
# The toy recovers a vector x of sparse features as ReLU(W Wᵀ x + b). Feature i is on with a chance in proportion to
# i^-(1 + alpha), and then uniform on [0, 2). Weight decay makes the rows of rare features vanish; the opposite, a growth
# that pulls every row to length 1, keeps all. Three seeds each.

# %%
sizes = dict(
    features=200, steps=400 if FAST else 900, lr=0.02 if FAST else 0.01, batch=128, seeds=3
)
kept = toy.sweep(WIDTHS, ALPHAS, decay=-1.0, **sizes)
dropped = toy.sweep(WIDTHS, ALPHAS, decay=1.0, **sizes)
for name, found in (("strong", kept), ("weak", dropped)):
    print(
        name,
        "superposition: share of features represented, alpha by m\n",
        found.sel(measure="represented").values.round(2),
    )

# %% [markdown]
# Growth keeps every feature. Decay keeps very few: 6 % of 200 are 12 features in 40 dimensions, fewer than there is room for. So what
# limits the weak runs is the decay as much as the width, and their exponents should be read with that in mind.
#
# ## How the loss falls with the width

# %% tags=["cover"]
curves = [(kept, "strong", a) for a in ALPHAS] + [(dropped, "weak", a) for a in ALPHAS]
losses = np.log10([found.sel(measure="loss", alpha=a).values for found, _, a in curves])
interp.plots.lines(
    losses,
    WIDTHS,
    x_name="dimensions m",
    unit="log10 of the mean squared error",
    names=[f"{name}, alpha {a:g}" for _, name, a in curves],
    title="Loss by width in two regimes",
)
# %%
exponents = {
    name: toy.exponents_by_seed(found) for name, found in (("strong", kept), ("weak", dropped))
}
for name, by_seed in exponents.items():
    print(name, "exponents:", *(f"alpha {a:g}: {measured(by_seed.sel(alpha=a))};" for a in ALPHAS))
print("strong, with the interval of the fit over m:", toy.exponents(kept).values.round(2).tolist())

# %%
by_seed = exponents["strong"]
off = measured(abs(by_seed.examples - 1).max(0))
spread = by_seed.examples.max(0) - by_seed.examples.min(0)
alike = gate("1 less the spread of the three exponents", measured(1 - spread), at_least=0.8)
able = gate(
    "share of features represented in the strong regime",
    measured(kept.sel(measure="represented").examples.mean((0, 1))),
    at_least=0.99,
)
v_strong = strong.judge(off, gate=able, provided=alike)
print(v_strong, alike, sep="\n")

# %%
by_seed = exponents["weak"]
off = {part: measured(abs(by_seed.sel(alpha=a).examples - a)) for part, a in zip(PARTS, ALPHAS)}
gain = measured(by_seed.sel(alpha=1.0).examples - by_seed.sel(alpha=0.0).examples)
few = gate(
    "share of features dropped in the weak regime",
    measured(1 - dropped.sel(measure="represented").examples.mean((0, 1))),
    at_least=0.2,
)
v_weak = weak.judge(off | {"rises with alpha": rises.judge(gain)}, gate=few)
print(v_weak, *(f"{name}: {v.word}, {v.measured}" for name, v in v_weak.parts), sep="\n")

# %% [markdown]
# Strong: 0.73, 0.70 and 0.45, each with a wide interval over seeds; none is within 0.2 of 1, the third is beyond 0.4, and they differ by
# more than 0.2 from one another. Weak: 0.21, 0.39 and 0.47 rise with alpha as claimed, but alpha 1 is far from 1. For alpha 0 and 0.5 the
# strong regime is the steeper one, as the paper says; for alpha 1 the two cannot be told apart.
#
# ## Where the features lie

# %%
rows = kept.sel(measure="squared overlap * m")
interp.plots.lines(
    rows.values,
    WIDTHS,
    x_name="dimensions m",
    unit="mean squared cosine * m",
    names=list(PARTS),
    title="Overlap of the features, strong superposition (1: random directions)",
)
# %%
ratios = toy.spread_over_m(kept)
v_overlap = overlap.judge(
    {part: measured(ratios.sel(alpha=a)) for part, a in zip(PARTS, ALPHAS)}, gate=able
)
print(v_overlap, *(f"{name}: {v.word}, {v.measured}" for name, v in v_overlap.parts), sep="\n")

# %% [markdown]
# This claim holds without reserve: the squared overlap times m changes by less than 1.4 while m changes by 8. It lies
# between random directions (1) and 1.4 times that.
#
# ## A language model's tokens as features
#
# SmolLM2 has 49,152 tokens in 576 dimensions; each row of its unembedding is a token's direction. Word lists with
# frequencies are not part of this package: how frequent a token is we count in the docstrings of installed packages, which
# are documentation, not the model's training data. "Frequent" is the first thousand there, "unseen" what never occurs.

# %%
model = interp.load(MODEL)
directions = model.W_U.T.detach().float()
text = interp.texts.chunks(model, interp.texts.documentation(), length=128, n=200 if FAST else 1000)
counts = torch.bincount(text[:, 1:].flatten(), minlength=len(directions))
order = counts.argsort(descending=True, stable=True)
groups = {
    "all": directions,
    "frequent": directions[order[:1000]],
    "seen": directions[order[1000 : int((counts > 0).sum())]],
    "unseen": directions[counts == 0],
}

# %%
squares = {name: measured(toy.group_overlaps(some)) for name, some in groups.items()}
centred = {
    name: measured(toy.group_overlaps(some - directions.mean(0))) for name, some in groups.items()
}
for name, some in groups.items():
    length = some.norm(dim=1)
    print(
        f"{name:9} {len(some):6} tokens, norm {length.mean():.2f} +- {length.std():.2f}: squared "
        f"cosine * m {squares[name]}, without the mean direction {centred[name]}"
    )

# %%
names = [f"{kind}, {name}" for kind in ("as they are", "less their mean") for name in groups]
each = [*squares.values(), *centred.values()]
interp.plots.bars(
    [one.value for one in each],
    names,
    unit="mean squared cosine * m",
    title="Overlap of token directions in SmolLM2 (1: random)",
    interval=([one.low for one in each], [one.high for one in each]),
)
# %%
floor = gate("squared cosine * m", squares["all"], at_least=0.5)
above = gate(
    "frequent tokens less all",
    measured(toy.group_overlaps(groups["frequent"]) - toy.group_overlaps(directions)),
    at_least=0.0,
)
v_language = language.judge(squares["all"], provided=(floor, above))
print(v_language)

# %% [markdown]
# Token directions are far from random: 125 times as much overlap, a mean squared cosine of 0.22. Most of that is one direction they share,
# which moves all logits alike, so that the softmax does not see it. Without it 6.1 is left, still above the 5 of "partly". Tokens unseen
# in our texts share most (141); the frequent ones share the least (18), where the claim has them above the rest. Taking off
# everyone's mean gives those a common part of their own (68), so that order says little. The verdict is on the rows as they are, as fixed.
#
# ## Verdicts

# %%
verdicts(
    "24-superposition-scaling", [v_strong, v_weak, v_overlap, v_language], model=model, fast=FAST
)

# %% [markdown]
# ## Try it
#
# Train longer, `toy.sweep(WIDTHS, ALPHAS, decay=-1.0, steps=5000)`, with more features (`features=1000`) or more of them on
# at a time (`active=4.0`). One model alone: `toy.train(features=200, dimensions=2)` can be drawn in the plane.

# %%
small = toy.train(features=12, dimensions=2, alpha=0.0, steps=300, batch=128)
interp.plots.scatter(
    small.weight[:, 0],
    small.weight[:, 1],
    [str(i) for i in range(12)],
    x_name="dimension 0",
    y_name="dimension 1",
    title="Twelve features in two dimensions",
)

# %% [markdown]
# ## What did not reproduce
#
# - **The loss does not fall as 1/m here.** Exponents of 0.73, 0.70 and 0.45, and at alpha 1 the loss at 40 dimensions is no lower than
#   at 20. More training may mend it: 900 steps of 128 vectors show a rare feature a few times only. One seed with
#   400 features and 1,500 steps of 256 gave 0.65, 0.73 and 0.61, which is more alike but no steeper.
# - **The weak regime is hardly one of width:** decay left fewer features than dimensions.
# - **SmolLM2's unembedding is no set of random directions.** A shared direction makes up most of its overlap. With it or without, the threshold
#   of 2.5 is missed. It is tied to the embedding, and its weights were stored in four bits and unpacked.
# - **FAST is another experiment:** 400 steps at twice the learning rate and three widths. Its verdicts are recorded apart.
# - **Not tested here:** losses of language models by width, Chinchilla's law, other models.
