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
# reading one feature picks up a little of the others. The paper says that this cost is a main reason why larger language
# models are better, and says how much better: the squared cosine of two directions in m dimensions is about 1/m on average, so the loss
# should fall as 1/m, whatever the features' frequencies.
#
# **How we look.** We train the paper's toy model at several widths, in a regime that keeps every feature and in one that drops rare ones, measure how
# the loss falls, and look at the geometry. Then we ask what the directions of SmolLM2's tokens look like.
#
# **What we found.** None of the paper's claims could be tested with our means: training took a tenth of the authors' steps, and
# the numbers had not settled. With as many features as in the paper, the loss falls with the width with exponents of 0.74,
# 1.00 and 1.03 for three frequency laws, close to the 1 that the paper predicts; but after half of our training they were
# 0.56, 0.62 and 0.49. All we can say is that with longer training the loss falls faster with the width, in all three cases.
# The overlaps of the directions fall with the width, too, though somewhat more slowly than 1/m. SmolLM2's token
# directions overlap far more than random ones, most of it along one direction that all tokens share.
#
# 10 minutes · intermediate · you should know what a power law is

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp.replications import superposition_scaling as toy
from interp.studies import converged, gate, load_claims, measured, verdicts

BLUE, GREEN, PINK = "#0072b2", "#009e73", "#cc79a7"

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
# Twelve features lie all around the plane, in groups and with gaps: there is no room for twelve directions that do not
# disturb one another. Whoever reads feature 2 also reads some of features 4 and 8, and the bias b subtracts what is read on
# average. (After 300 steps the directions are still moving.)
#
# *Before you go on: if m doubles, the mean squared cosine between random directions halves. Will the loss halve, too? Would it matter
# if some features are a thousand times as frequent as others?*
#
# ## Two regimes
#
# Feature i is on with a chance in proportion to i^-(1 + alpha), so a larger alpha makes the common features more common; if on,
# it is uniform between 0 and 2, and one feature is on at a time, on average. Weight decay lets the rows of rare features
# vanish (weak superposition). The opposite, a growth that pulls every row to length 1, keeps all of them (strong
# superposition).
#
# | | the authors | here |
# | --- | --- | --- |
# | features n, widths m | 1,000, and 10 to 100 | 1,000, and 10, 22 and 50 (m at most n/20); weak regime: 200, and 3, 5 and 10 |
# | training | AdamW, rate 0.01, 20,000 steps of 2,048, warm-up of 2,000 | the same optimiser, 2,000 steps of 2,048 (weak regime: 1,000 of 256), a tenth of them warm-up |
# | weak superposition | a range of weight decays | a decay of 0.2 |
# | frequencies | nine values of alpha from 0 to 1 | 0, 0.5 and 1 |
# | repeats | one | two seeds |
# | language models | four families, several sizes each | one model, so no slope |
#
# (The left column is from the authors' script `exp-10.py`. One full run there has ten times as many steps as one here.)

# %%
ALPHAS = [0.0, 0.5, 1.0]
FEW, few = [3, 5, 10], dict(features=200, batch=256, seeds=2)
WIDTHS, sizes = (FEW, few) if FAST else ([10, 22, 50], dict(features=1000, batch=2048, seeds=2))
STEPS, WEAK_STEPS = (400, 200) if FAST else (2000, 1000)
kept = toy.sweep(WIDTHS, ALPHAS, decay=-1.0, steps=STEPS, **sizes)
kept_half = toy.sweep(WIDTHS, ALPHAS, decay=-1.0, steps=STEPS // 2, **sizes)
dropped = toy.sweep(FEW, ALPHAS, decay=0.2, steps=WEAK_STEPS, **few)
dropped_half = toy.sweep(FEW, ALPHAS, decay=0.2, steps=WEAK_STEPS // 2, **few)
stored = kept.sel(measure="represented").values * sizes["features"]
stored_weak = dropped.sel(measure="represented").values * few["features"]
print("strong: features that are stored, by alpha (rows) and m\n", stored.round(0))
print("weak: features that are stored, by alpha (rows) and m\n", stored_weak.round(0))

# %% tags=["cover"]
losses = {f"alpha {a:g}": kept.sel(measure="loss", alpha=a).values for a in ALPHAS}
first = kept.sel(measure="loss", alpha=0.0).values[0]
interp.plots.lines(
    np.stack(list(losses.values())),
    WIDTHS,
    log="xy",
    guide=(first * WIDTHS[0] / np.array(WIDTHS), "1/m"),
    names=list(losses),
    colours=[BLUE, GREEN, PINK],
    x_name="dimensions m",
    unit="mean squared error",
    title="Loss by width, strong superposition",
)
# %% [markdown]
# On these axes a power law is a straight line and its slope is the exponent; the dashed line has the slope that the paper predicts. With equal
# frequencies (blue) the loss falls more slowly than that; with skewed ones (green and pink) about as fast.
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
per_seed = dropped.sel(measure="represented").examples * few["features"]  # [alpha m seed]
room = gate(
    "features stored for each dimension, weak regime",
    measured((per_seed / np.array(FEW)[:, None]).min((0, 1))),
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
# In the strong regime the exponents are 0.74 (alpha 0), 1.00 (0.5) and 1.03 (1). Two of them lie where the paper says, but we
# cannot count that in its favour: with half as many steps they were 0.62 and 0.49, so longer training would probably move
# them further. An exponent of a network that is still learning is a number about the learning.
#
# In the weak regime more features are stored than there are dimensions (at least 1.4 for each), so the width does limit the loss. Its exponents
# moved even more: by 0.51, 0.65 and 0.70 in the worse of two seeds (the gates in the table of verdicts). So that claim is not
# tested either.
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
# From m = 10 to m = 50, over which 1/m changes by a factor of 5, squared cosine times m rises by a factor of 1.3 to 1.6. So the
# overlap falls with the width by a factor of 3 to 4, somewhat more slowly than 1/m, and all three cases pass the claim's
# threshold of 2. But in one case the factor moved by 0.41 between half and all of the training, more than the 0.25 that we
# allow, so by our rules the claim is not tested. (The 3.3 that the table gives for "no effect" belongs to the widths of
# the FAST run, 3 to 10; for 10 to 50 it would be 5.)
#
# ## A language model's tokens as features
#
# SmolLM2 has 49,152 tokens in 576 dimensions; each row of its unembedding is a token's direction. All tokens may share a direction,
# which adds the same to every logit and which the softmax therefore does not see; this is why the authors' script
# looks at the variance of the absolute cosine apart from its mean. And the paper's claim is a slope over models of several
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
# The mean absolute cosine is 0.45: all tokens lean the same way. Without their mean direction it is 0.08. The variance times m
# is 9.9, or 2.8 without the mean, against 0.36 for random directions. So the tokens are far from random directions even
# then. Whether the variance falls as 1/m from one size of model to the next cannot be seen in one model.
#
# ## Verdicts

# %%
verdicts(
    "24-superposition-scaling", [v_strong, v_weak, v_overlap, v_language], model=model, fast=FAST
)

# %% [markdown]
# ## What to remember
#
# - If there are more features than dimensions, reading one picks up a little of the others, and that cost falls with the
#   width. This is a possible reason for scaling laws.
# - An exponent is a slope, and slopes of half-trained models are slopes of the training. Fit it twice, at half the steps and at the end, before you
#   believe it.
# - Before comparing directions of a language model with random ones, take off the direction that all of them share.
#
# ## Try it
#
# The authors' training is one call away, and a night's work on a laptop: `toy.sweep([10, 22, 50], ALPHAS, decay=-1.0, features=1000, steps=20_000, batch=2048)`.
# More features on at a time (`active=4.0`) make the task harder.
#
# ## What did not reproduce
#
# - **1/m is not tested.** We train 1,000 features for 2,000 steps of 2,048, and the authors for 20,000. None of the three exponents had settled.
# - **Earlier versions gave other exponents:** 0.73, 0.70 and 0.45 after short training, and 0.63, 0.98 and 1.31 with 200 features.
# - **Weak superposition is not tested.** It was trained with 200 features and one decay; the authors sweep the decay. Exponents of
#   200 features in 3 to 10 dimensions depend on which few features are stored, and that was still changing.
# - **No language-model claim is judged.** It is a slope over models, and one model has no slope. SmolLM2's unembedding is tied
#   to its embedding, and its weights were stored in four bits and unpacked.
# - FAST trains 200 features for 400 steps, and tests neither scaling claim.
# - **Two seeds** give the range of two runs and no more.
# - **Chosen after a first look.** How near the number at half the steps must come to the last one was written down when parts of the curves had
#   been seen.
#
# Further reading: Elhage et al. 2022, "Toy Models of Superposition", for the model and for what the directions do when there are few of them.
