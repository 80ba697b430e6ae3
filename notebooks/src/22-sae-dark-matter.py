# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Dark matter: what does a sparse autoencoder leave out?
#
# Paper: Engels, Riggs and Tegmark 2024, "Decomposing the Dark Matter of Sparse Autoencoders", arXiv 2410.14670
#
# **The question.** A sparse autoencoder (SAE) writes an activation as a sum of a few learned directions, and something is always missing. Is
# what is missing just noise, or features that a larger SAE would find, or something of another kind? The paper calls it dark matter, and its first
# finding is a surprise: a plain linear map can tell from the activation about half of what the SAE will get wrong.
#
# **How we look.** We train SAEs on the residual stream after layer 9 of SmolLM2. A linear map of the activation, fitted by
# least squares, predicts each error; we judge it on held-out tokens by R2, the share of the variance that it predicts. What
# it predicts is the "linear" part of the error and the rest the "nonlinear" part, and we ask what each part costs. Then we
# do the same with directions that nobody learned: random ones and principal components.
#
# **What we found.** The paper's first number comes out, but it is not particular to SAEs: a linear map predicts 0.49 of
# their error vector, and more of the errors of principal components that leave as much out (0.61) and of random
# directions (0.87). The less a reconstruction explains, the more its error looks like the activation itself. The squared
# norm of the error is predicted at 0.83, where the paper has more than 0.9. The tokens that a small SAE gets wrong are those that a
# large one gets wrong (correlation 0.95). Against the paper, the part of the error that no linear map predicts is not harder
# to learn here: a small SAE explains more of it than of the linear part. What it costs in loss had not settled.
#
# 15 minutes · intermediate · you should know what a sparse autoencoder and R2 are

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from dataclasses import replace
from functools import partial

import numpy as np

import interp
from interp import features
from interp.studies import (
    Measured,
    converged,
    gate,
    load_claims,
    measured,
    ratio_of_means,
    verdicts,
)

K, BATCH, TOKENS = (16, 512, 8_000) if FAST else (32, 128, 100_000)
SITE, SMALL, LARGE = "resid_post.9", *((64, 512) if FAST else (144, 1152))
SEEDS = range(2 if FAST else 3)

# %% [markdown]
# ## Activations, and SAEs
#
# The text is documentation of Python packages, in chunks of 128 tokens. The first token of each chunk, the attention sink, is left out. SAEs are
# trained on one half of the documents, and everything below is measured on the other.
#
# | | the authors | here |
# | --- | --- | --- |
# | model | Gemma 2 2B and 9B, Llama 3.1 8B | SmolLM2-135M |
# | SAEs | Gemma Scope, 16,384 to a million latents, billions of tokens | top-k, 144 and 1,152 latents, 100,000 tokens in 780 steps, three seeds |
# | error maps | least squares, fitted on 150,000 activations | the same, on 20,000 |
# | the nonlinear part | SAEs trained on it, its share of the loss, gradient pursuit | the same |
# | baselines | none that we know of | random directions, principal components |
#
# (The left column is from the paper's abstract, from a published summary of its methods, and for the rest from memory.)

# %%
model = interp.load(MODEL)
kept = partial(features.cache_folder, MODEL, "study-22-fast" if FAST else "study-22")
acts = features.activations(model, SITE, tokens=4_000 if FAST else 60_000, folder=kept("find"))
heldout = features.activations(
    model, SITE, tokens=1_000 if FAST else 8_000, split="heldout", folder=kept("heldout")
)
fit = acts if FAST else acts.part(0, 158)  # what linear maps are fitted to
print(acts, heldout, f"maps are fitted to {len(fit):,} tokens", sep="\n")

# %%
train = partial(features.load_or_train, model, SITE, kind="topk", k=K, batch=BATCH)


def saes(width, tokens, note=""):
    """A top-k SAE for each seed."""
    return [
        train(acts, width=width, seed=s, tokens=tokens, name=f"{width}, seed {s}{note}")
        for s in SEEDS
    ]


large, small = saes(LARGE, TOKENS), saes(SMALL, TOKENS)
large_half, small_half = (saes(w, TOKENS // 2, ", half") for w in (LARGE, SMALL))

# %% [markdown]
# ## How much of the error does a linear map predict?
#
# *Before you run the next cell: if an SAE's error were only noise, how much of it could a linear map of the activation predict? And if the
# error were a hundred features that the SAE has not learned?*

# %%
ON = (4, 8, 16, 32, 64)  # how many principal components write an activation
random = features.baselines(fit, K, width=LARGE)[0]
components = [features.baselines(fit, k, width=k)[1] for k in ON]
components = [replace(d, name=f"{k} components") for k, d in zip(ON, components)]
groups = {
    f"SAE, {LARGE} latents": large,
    "SAE, half the training": large_half,
    "principal components, 4 to 64 on": components,
    f"random directions, {LARGE}": [random],
}
found = features.predict_error([d for some in groups.values() for d in some], fit, heldout)
MEASURES = ("error vector", "squared error norm", "unexplained")
ours, half, pca, floor = (
    [found.sel(measure=m, dictionary=[d.name for d in some]).values for m in MEASURES]
    for some in groups.values()
)

# %% tags=["cover"]
interp.plots.scatter(
    np.concatenate([100 * some[2] for some in (ours, half, pca, floor)]),
    np.concatenate([some[0] for some in (ours, half, pca, floor)]),
    [""] * sum(map(len, groups.values())),
    groups=[name for name, some in groups.items() for _ in some],
    top=0,
    x_name="variance that is left out, %",
    y_name="R2 of the error vector",
    title="How much of the error a linear map predicts, layer 9",
).set_ylim(0, 1)
# %% [markdown]
# Each point is one way of writing activations; the three seeds of an SAE lie on top of one another. The SAEs (blue) leave 17 % of
# the variance out, and a linear map predicts half of that. With half the training (orange) they leave 19 % out, and a
# little more of it can be predicted (0.53). Principal components (green) go the same way: the fewer of them
# write the activation, the more is left out, and the better it can be predicted. In the limit nothing is written, the error *is* the
# activation, and a linear map predicts it perfectly. So a large number at the top of this figure says first of all that a reconstruction is poor.
#
# ## The claims

# %%
claims = load_claims("22-sae-dark-matter")
claims

# %%
SETTLED = 0.05  # how near a number at half the training must come
judged = {}


def judge(key, end, before, got=None, *gates):
    """Judges a claim, if the number at half the training was the same with every seed."""
    settled = converged(end, before, within=SETTLED, name=key)
    judged[key] = claims[key].judge(got or measured(end), gate=[settled, *gates])
    print(judged[key].measured or "", judged[key], settled, *gates, sep="\n")


judge("error-vector", ours[0], half[0])
judge("error-norm", ours[1], half[1])

# %% [markdown]
# About half of the error vector can be predicted, as in the paper, with every seed, and nearly the same after half of the training.
# The squared norm is predicted at 0.83, a little short of our threshold of 0.85.
#
# ## Is that particular to SAEs?
#
# The paper's sentence needs no comparison. But before we call it a property of SAEs, we ask the same of directions that
# nobody learned: random ones, and principal components that leave as much of the variance out.


# %%
def judge_parts(key, end, before):
    """Judges a claim of several parts; one that had not settled is not testable."""
    parts = {}
    for name in claims[key].parts:
        settled = converged(end[name], before[name], within=SETTLED, name=f"{key}, {name}")
        parts[name] = claims[key].part(name).judge(measured(end[name]), gate=settled)
        print(f"{name}: {parts[name].word}, {parts[name].measured}", settled, sep="\n    ")
    judged[key] = claims[key].judge(parts)
    print(judged[key])


def lead(some):
    """R2 of the error vector, SAE minus other directions, by seed."""
    alike = np.interp(some[2], pca[2][::-1], pca[0][::-1])  # components that leave as much out
    return dict(zip(claims["specific"].parts, (some[0] - floor[0][0], some[0] - alike)))


judge_parts("specific", lead(ours), lead(half))

# %% [markdown]
# It is not. The errors of random directions are predicted better by 0.38, those of principal components by 0.12. What is
# particular to SAEs is rather the opposite: *less* of what they leave out is linear in the activation. (64 components leave
# 18 % out, the SAEs 17 %; we compare these.)
#
# ## Which tokens are hard: small SAEs against large ones

# %%
x = heldout.of(SITE)
lengths = [(x - sae.reconstruct(x)).norm(dim=-1)[:400] for sae in (small[0], large[0])]
ids = heldout.tokens[:, heldout.skip :].flatten()[:400]
interp.plots.scatter(
    *lengths,
    [repr(model.to_string(i)) for i in ids],
    top=6,
    x_name=f"error norm, {SMALL} latents",
    y_name=f"error norm, {LARGE} latents",
    title="Error norms of 400 tokens, layer 9",
)
# %%
few_random = features.baselines(fit, K, width=SMALL)[0]
others = [few_random, components[ON.index(K)]]


def with_large(big, little):
    """Correlations with each large SAE's error norms: of its small one, random, components."""
    norms = features.error_norms([*big, *little, *others], heldout).values
    n = len(big)
    return norms[:n, n : 2 * n].diagonal(), *norms[:n, 2 * n :].T


alike, alike_half = with_large(large, small), with_large(large_half, small_half)
judge("across-widths", alike[0], alike_half[0])
names = claims["specific-tokens"].parts
ahead, ahead_half = (
    {name: some[0] - other for name, other in zip(names, some[1:])} for some in (alike, alike_half)
)
print("random directions, principal components:", *(row.round(3) for row in alike[1:]))
judge_parts("specific-tokens", ahead, ahead_half)

# %% [markdown]
# The points lie along one curve: what is hard for 144 latents is hard for 1,152 (correlation 0.95 over all held-out tokens). Learning has something to do with it: random directions say much less
# about which tokens the large SAE will miss (0.30). But 32 principal components, which know nothing of sparsity, say nearly as much (0.91).
# The SAE is ahead of them with every seed, by 0.05.
#
# ## Is the nonlinear part of another kind?
#
# If the nonlinear part is of another kind, an SAE trained on it should do worse than one trained on the linear part. So the
# error of each large SAE is split in two, and a small SAE (144 latents) is trained on each part.


# %%
def unexplained(sae, on):
    """The squared error of an SAE as a share of the squared distance from the mean."""
    x = on.of(SITE)
    return float((x - sae.reconstruct(x)).pow(2).sum() / (x - x.mean(0)).pow(2).sum())


def on_parts(sae):
    """What small SAEs leave of the linear and the nonlinear error, [training part]."""
    pieces, tests = features.split_error(sae, acts, heldout)
    return [
        [
            unexplained(train(piece, width=SMALL, tokens=tokens, seed=0), test)
            for piece, test in zip(pieces, tests)
        ]
        for tokens in (TOKENS // 2, TOKENS // 4)
    ]


left = np.array([on_parts(sae) for sae in large])  # [seed training part]
print("unexplained of the linear part", left[:, 0, 0].round(2), "nonlinear", left[:, 0, 1].round(2))
gap = left[..., 1] - left[..., 0]
judge("nonlinear-worse", gap[:, 0], gap[:, 1])

# %% [markdown]
# How much loss does each part cost? The model continues from the activation with the error taken out of it, the whole of it or one
# part. If the nonlinear part costs "a proportional amount", its share of the added loss is its share of the squared error. (One seed.)

# %%
costs = [
    features.error_losses(model, sae, fit, heldout, tokens=250 if FAST else 1_000)
    for sae in (large[0], large_half[0])
]
share, share_half = (features.nonlinear_share(one) for one in costs)
whole = measured(costs[0].sel(**{"left out": "whole error"}))
print(
    f"the whole error costs {whole} nats; the nonlinear part has"
    f" {share.metadata['of the norm']:.2f} of the squared error and"
    f" {share.metadata['of the loss']:.2f} of the loss"
)
off = measured(share.examples * np.sign(share.values))
room = 0.5 - (off.high - off.low) / 2
sharp = gate("0.5 minus half the interval", Measured(room, room, room, off.n), at_least=0.15)
judge("nonlinear-loss", off.value, abs(float(share_half.values)), off, sharp)

# %% [markdown]
# Two of the paper's arguments do not come out here. A small SAE leaves 0.62 of the nonlinear part unexplained and 0.69 of the linear part: the
# nonlinear part is the *easier* one, in all three seeds, and it was so after half of the training. One reason may be size. With 1,152 latents
# many features are still unlearned, and errors of features that are not yet learned are just what a further SAE can pick up. The paper's SAEs are
# at least fourteen times as large.
#
# The loss does not decide it. The nonlinear part is half of the squared error and 0.71 of the loss that the error costs, but the
# distance between the two shares, 0.20, has a wide interval (-0.13 to 0.55), and it moved by 0.10 between half and all of the
# training. Not testable.
#
# ## Better latents by gradient pursuit
#
# The encoder chooses the latents in one step. Gradient pursuit uses the same directions and as many of them, but chooses one
# after another, and fits all chosen ones again after each. If much of the nonlinear error were the encoder's fault, it
# would go away. (It is slow: one seed, maps fitted on 4,000 tokens and judged on 1,000.)

# %%
some, few = (fit.part(0, 12), heldout.part(0, 4)) if FAST else (fit.part(0, 32), heldout.part(0, 8))


def decrease(sae):
    """By how much pursuit lessens the squared nonlinear error, as a share of it."""
    both = features.predict_error([sae, features.with_gradient_pursuit(sae)], some, few)
    before, after = both.sel(measure="unexplained, nonlinear part").examples
    return ratio_of_means(before - after, before)


less, less_half = decrease(large[0]), decrease(large_half[0])
lower = gate("decrease (is the search better than the encoder at all?)", less, at_least=0.0)
judge("pursuit", less.value, less_half.value, less, lower)

# %% [markdown]
# Pursuit takes away 0.18 of the squared nonlinear error with as many latents. That is a little more than we had called "very
# slight" (0.15). Most of the nonlinear error stays, though, so the encoder's choice of latents is not the main reason for it.
#
# ## Verdicts

# %%
verdicts("22-sae-dark-matter", judged.values(), model=model, fast=FAST)

# %% [markdown]
# ## What to remember
#
# - "Half of the error can be predicted" needs a second number beside it: how much is left out. Errors of a bad reconstruction are always predictable.
# - Compare a finding about SAEs with directions that nobody learned. Here they show the same effect, and more of it.
# - Which tokens are hard is mostly a property of the tokens. Small SAEs, large SAEs and principal components agree on it.
#
# ## Try it
#
# Any dictionary can be asked what it leaves out. Here is the small SAE, with all its numbers: it leaves 26 % of the variance out, and
# 0.77 of its error vector can be predicted.

# %%
features.predict_error(small[0], fit, heldout).table()

# %% [markdown]
# ## What did not reproduce
#
# - **The squared norm is predicted at 0.83,** not above 0.9.
# - **SAEs trained on the nonlinear part are better, not worse,** than SAEs trained on the linear part. Our SAEs are far smaller than the paper's.
# - **The nonlinear part's share of the loss** moved by 0.10 between half and all of the training: not testable. That this part
#   contains fewer features that are not yet learned, the first of the paper's three arguments, was not measured.
# - **Gradient pursuit takes 18 % off,** a little more than "very slight" (our threshold was 15 %). One seed and a thousand tokens.
# - **Linear maps from the SAEs of earlier layers,** the paper's second way to reduce the nonlinear error, were not tried.
# - **Chosen after a first look.** Batches of 128 were chosen because an SAE trained with batches of 512 was still improving: it went
#   from 80 to 83 % of the variance (of its training batches) in the second half of the training. The thresholds were fixed before.
# - FAST trains on 8,000 tokens, where nothing has settled.
#
# Further reading: Gurnee 2024, "SAE reconstruction errors are (empirically) pathological", for what errors do to the model; Gao et al. 2024,
# "Scaling and evaluating sparse autoencoders", for what larger SAEs still leave out.
