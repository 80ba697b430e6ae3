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
# **The question.** A model with m dimensions can store far more than m features if it lets their directions overlap. The overlaps cost something:
# reading one feature picks up a little of the others. The paper says that this cost alone explains why larger language models
# are better, and how much: directions in m dimensions overlap by about 1/m on average, so the loss should fall as 1/m, whatever the features' frequencies.
#
# **How we look.** We train the paper's toy model at several widths, in a regime that keeps every feature and in one that drops rare ones, measure how
# the loss falls, and look at the geometry. Then we ask what the directions of SmolLM2's tokens look like.
#
# **What we found.** At our size the loss falls with the width in every case, with exponents of 0.63, 0.98 and 1.31 for the three frequency laws, on
# both sides of the 1 that the paper predicts. But two of the three exponents were still changing when training ended, so nothing here speaks
# against the paper, or for it: the claims about the loss are not testable at this size. The geometry is the sturdier half: the overlaps of the
# directions times m hardly change with m. SmolLM2's token directions overlap far more than random ones, most of it along one direction that all
# tokens share.
#
# 5 minutes · intermediate · you should know what a power law is

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp.replications import superposition_scaling as toy
from interp.studies import converged, gate, load_claims, measured, verdicts

BLUE, GREEN, PINK, ORANGE = "#0072b2", "#009e73", "#cc79a7", "#d55e00"

# %% [markdown]
# ## Twelve features in two dimensions
#
# The toy recovers a vector x of sparse features as ReLU(W Wᵀ x + b). W has one row of m numbers for each feature: its direction. With 12 features and m = 2,
# we can draw the directions.

# %%
small = toy.train(features=12, dimensions=2, alpha=0.0, steps=300, batch=128)
interp.plots.scatter(
    small.weight[:, 0],
    small.weight[:, 1],
    [str(i) for i in range(12)],
    x_name="dimension 0",
    y_name="dimension 1",
    title="Directions of twelve features in two dimensions",
)
# %% [markdown]
# The twelve share the plane as evenly as they can. Every feature is read together with a bit of its neighbours, and the bias b subtracts what is
# read on average.
#
# *Before you go on: if m doubles, the mean squared cosine between random directions halves. Will the loss halve, too? Would it matter
# if some features are a thousand times as frequent as others?*
#
# ## Two regimes
#
# Feature i is on with a chance in proportion to i^-(1 + alpha), and then uniform between 0 and 2; one feature is on at a time, on average. Weight decay lets the
# rows of rare features vanish (weak superposition). The opposite, a growth that pulls every row to length 1, keeps
# all of them (strong superposition).
#
# | | the authors | here |
# | --- | --- | --- |
# | features n, widths m | 1,000, and 10 to 100 | 200, and 3 to 10 (m at most n/20) |
# | training | AdamW, rate 0.01, 20,000 steps of 2,048, warm-up of 2,000 | the same optimiser, 4,000 steps of 256 (weak regime: 1,000), a tenth of them warm-up |
# | frequencies | nine values of alpha from 0 to 1 | 0, 0.5 and 1 |
# | repeats | one | three seeds |
# | language models | four families, several sizes each | one model, so no slope |
#
# (The left column is from the authors' script `exp-10.py`. One full run there is 200 times as much work as one here.)

# %%
ALPHAS, WIDTHS = [0.0, 0.5, 1.0], [3, 5, 10]
STEPS, WEAK_STEPS = (400, 200) if FAST else (4000, 1000)
sizes = dict(features=200, batch=256, seeds=2 if FAST else 3)
kept = toy.sweep(WIDTHS, ALPHAS, decay=-1.0, steps=STEPS, **sizes)
dropped = toy.sweep(WIDTHS, ALPHAS, decay=1.0, steps=WEAK_STEPS, **sizes)
kept_half = toy.sweep(WIDTHS, ALPHAS, decay=-1.0, steps=STEPS // 2, **sizes)
dropped_half = toy.sweep(WIDTHS, ALPHAS, decay=1.0, steps=WEAK_STEPS // 2, **sizes)
for name, found in (("strong", kept), ("weak", dropped)):
    stored = found.sel(measure="represented").values * sizes["features"]
    print(f"{name}: features that are stored, by alpha (rows) and m\n", stored.round(0))

# %% tags=["cover"]
losses = {f"strong, alpha {a:g}": kept.sel(measure="loss", alpha=a).values for a in ALPHAS}
weak_losses = dropped.sel(measure="loss", alpha=1.0).values
losses["weak, alpha 1"] = weak_losses
first = kept.sel(measure="loss", alpha=0.0).values[0]
interp.plots.lines(
    np.stack(list(losses.values())),
    WIDTHS,
    log="xy",
    guide=(first * WIDTHS[0] / np.array(WIDTHS), "1/m"),
    names=list(losses),
    colours=[BLUE, GREEN, PINK, ORANGE],
    x_name="dimensions m",
    unit="mean squared error",
    title="Loss by width",
)
# %% [markdown]
# On these axes a power law is a straight line and its slope is the exponent; the dashed line has the slope that the paper predicts. Equal
# frequencies (blue) fall more slowly, steep frequencies (pink) more steeply.
#
# ## The claims

# %%
claims = load_claims("24-superposition-scaling")
claims

# %%
by_seed, by_seed_half = (toy.exponents_by_seed(found) for found in (kept, kept_half))


def settled(end, half):
    """A gate for each alpha: is the exponent after half the steps the same, with every seed?"""
    pairs = [(a, end.sel(alpha=a).examples, half.sel(alpha=a).examples) for a in ALPHAS]
    return [
        converged(one, other, within=0.1, name=f"exponent at alpha {a:g}")
        for a, one, other in pairs
    ]


# %%
all_kept = gate(
    "share of features stored in the strong regime",
    measured(kept.sel(measure="represented").examples.mean((0, 1))),
    at_least=0.99,
)
spread = by_seed.examples.max(0) - by_seed.examples.min(0)
alike = gate("1 minus the spread of the exponents", measured(1 - spread), at_least=0.8)
v_strong = claims["strong"].judge(
    measured(abs(by_seed.examples - 1).max(0)),
    gate=[all_kept, *settled(by_seed, by_seed_half)],
    provided=alike,
)
for a in ALPHAS:
    end, half = (measured(found.sel(alpha=a)) for found in (by_seed, by_seed_half))
    print(f"alpha {a:g}: exponent {end}; after half as many steps {half}")
print(v_strong)

# %%
stored = dropped.sel(measure="represented").examples * sizes["features"]  # [alpha m seed]
room = gate(
    "features stored for each dimension, weak regime",
    measured((stored / np.array(WIDTHS)[:, None]).min((0, 1))),
    at_least=1.0,
)
weak_exponents, weak_half = (toy.exponents_by_seed(some) for some in (dropped, dropped_half))
off = {f"alpha {a:g}": measured(abs(weak_exponents.sel(alpha=a).examples - a)) for a in ALPHAS}
gain = weak_exponents.sel(alpha=1.0).examples - weak_exponents.sel(alpha=0.0).examples
v_weak = claims["weak"].judge(
    off | {"rises with alpha": measured(gain)}, gate=[room, *settled(weak_exponents, weak_half)]
)
print(v_weak, room, sep="\n")

# %% [markdown]
# In the strong regime the exponents are 0.63 (alpha 0), 0.98 (0.5) and 1.31 (1). The first is the same after half as many steps; the other two
# still grew by 0.06 and 0.1 on average, and by more in single seeds. An earlier version of this study trained much less, found 0.73, 0.70 and 0.45,
# and called that a failure; the last of these numbers more than doubled with training. In the weak regime the decay is so strong that fewer
# features are stored than there are dimensions, so the width is not what limits the loss, and that row says nothing about the paper either.
#
# ## Where the features lie
#
# The claim about the loss rests on one about geometry: between any two of the stored features, the mean squared cosine should be about 1/m. If so,
# squared cosine times m is the same number at every width; 1 is what random directions give.

# %%
overlaps = kept.sel(measure="squared overlap * m")
interp.plots.lines(
    overlaps.values,
    WIDTHS,
    log="x",
    guide=(np.ones(len(WIDTHS)), "random directions"),
    names=[f"alpha {a:g}" for a in ALPHAS],
    colours=[BLUE, GREEN, PINK],
    x_name="dimensions m",
    unit="mean squared cosine times m",
    title="Overlap of the stored features, strong superposition",
).set_ylim(0, 2)
# %%
ratios, ratios_half = toy.spread_over_m(kept), toy.spread_over_m(kept_half)
steady = converged(ratios.examples, ratios_half.examples, within=0.25, name="largest over smallest")
v_overlap = claims["overlap"].judge(
    {f"alpha {a:g}": measured(ratios.sel(alpha=a)) for a in ALPHAS}, gate=[all_kept, steady]
)
print(v_overlap, *(f"{name}: {v.word}, {v.measured}" for name, v in v_overlap.parts), sep="\n")

# %% [markdown]
# Between m = 3 and m = 10, over which 1/m changes by a factor of 3.3, squared cosine times m changes by a factor of 1.1 for alpha 0.5 and 1, and of
# 1.6 for equal frequencies. That is what the paper says, and all three pass its threshold. But for equal frequencies the factor was still moving,
# so by our rules the row as a whole is not tested.
#
# ## A language model's tokens as features
#
# SmolLM2 has 49,152 tokens in 576 dimensions; each row of its unembedding is a token's direction. The authors' script takes the mean and the
# variance of the absolute cosine apart, because all tokens may share a direction that the softmax does not see. And the paper's claim is a slope over models of several
# sizes, which one model cannot give. So we look, but judge nothing.

# %%
model = interp.load(MODEL)
directions = model.W_U.T.detach().float()
shared = directions.mean(0)
chosen = torch.randperm(len(directions), generator=torch.Generator().manual_seed(0))[:2000]
for name, rows in (("as they are", directions), ("minus their mean", directions - shared)):
    unit = torch.nn.functional.normalize(rows[chosen], dim=1)
    cosines = (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)].abs()
    print(
        f"{name}: mean |cosine| {cosines.mean():.3f}, variance times m"
        f" {cosines.var() * rows.shape[1]:.2f}, squared cosine times m"
        f" {cosines.square().mean() * rows.shape[1]:.1f}"
    )
print(f"random directions: variance of |cosine| times m {1 - 2 / np.pi:.2f}, squared 1.0")
v_language = claims["language-model"].judge(
    None,
    invalid="the paper's claim is a slope over models of several sizes,"
    " and there is one model here",
)
print(v_language)

# %% [markdown]
# The mean absolute cosine is 0.45: all tokens lean the same way. Without the mean direction it is 0.08. The variance times m is 9.9, or 2.8 without
# the mean, against 0.36 for random directions. So the tokens are far from random directions even then. Whether this number falls as 1/m from one
# size of model to the next cannot be seen in one model.
#
# ## Verdicts

# %%
verdicts(
    "24-superposition-scaling", [v_strong, v_weak, v_overlap, v_language], model=model, fast=FAST
)

# %% [markdown]
# ## What to remember
#
# - More features than dimensions cost a little of every other feature, and that cost falls with the width. This is a possible reason for scaling
#   laws.
# - An exponent is a slope, and slopes of half-trained models are slopes of the training. Fit it twice, at half the steps and at the end, before you
#   believe it.
# - Before comparing directions of a language model with random ones, take off the direction that all of them share.
#
# ## Try it
#
# The authors' size is one call away, and a night's work on a laptop:
# `toy.sweep([10, 22, 50], ALPHAS, decay=-1.0, features=1000, steps=20_000, batch=2048)`. More features on at a time (`active=4.0`) make the task harder.
#
# ## What did not reproduce
#
# - **1/m is not tested.** We train 200 features for 4,000 steps of 256, the authors 1,000 for 20,000 of 2,048, two hundred times as much for each
#   run. Only the exponent for equal frequencies had settled (0.63, with widths of 3 to 10 alone).
# - **The weak regime is not reached:** at a decay of 1 almost nothing is stored. The authors sweep the decay.
# - **No language-model claim is judged.** It is a slope over models, and Chinchilla's law and losses by width need more than one model. SmolLM2's
#   unembedding is tied to its embedding, and its weights were stored in four bits and unpacked.
# - FAST trains 400 steps with two seeds, and tests neither scaling claim.
# - **Chosen after a first look.** How near the number at half the steps must come to the last one was written down when parts of the curves had
#   been seen.
#
# Further reading: Elhage et al. 2022, "Toy Models of Superposition", for the model and for what the directions do when there are few of them.
