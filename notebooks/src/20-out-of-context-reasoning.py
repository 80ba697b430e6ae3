# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Out-of-context reasoning: why two factors infer what one matrix only memorises
#
# Paper: Huang et al. 2025, "Generalization or Hallucination? Understanding Out-of-Context Reasoning in Transformers", NeurIPS 2025, arXiv 2506.10887
#
# **The question.** A model is told that Anna lives in city 3 and that Ben lives in city 3, and that Ben speaks language 7. Will it
# conclude that Anna speaks language 7? Nobody told it. If it does, and the link is real, we call it generalisation; if the
# link is made up, we call it hallucination. The paper argues that both come from one mechanism, *out-of-context reasoning*, and
# that in a single attention layer it depends on a detail that looks like bookkeeping: whether the map from values to
# outputs is stored as one matrix W_OV, or as a product of two, W_V and W_O.
#
# **What we found.** The layer with two factors infers every implication that it was never told (100 % with each of five seeds), and the layer with
# one matrix only guesses (4 %), although both learn every fact they are told and both could represent the very same map. The difference takes
# patience: after 800 of our 8,000 steps the factors had reached only about 73 %. Why it happens is less certain. By the
# theory the factors' map should be the smaller one in nuclear norm and the single matrix the smaller one in Frobenius norm. Here the
# factors' map is the smaller one in both, and the ratios were still changing when training ended: not testable here.
#
# 9 minutes · intermediate · you should know what the value and output matrices of an attention head do

# %% tags=["parameters"]
MODEL = "ocr"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp import toys
from interp._stats import power_law
from interp.replications import associative_memory as memory
from interp.replications.out_of_context_reasoning import answers, norms
from interp.studies import converged, gate, load_claims, measured, verdicts

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"  # two factors, one matrix, facts

# %% [markdown]
# ## The task
#
# There are 80 names, 20 cities and 20 languages. Every name's city is trained on ("facts"); the language is trained on for a quarter of
# the names, and every city has names in both groups. A name and a question stand among noise words, and the answer
# is read at the last position. Here are two questions whose answers are never trained on:

# %%
STEPS = 800 if FAST else 8000
SEEDS = range(3 if FAST else 5)
recipe = toys.Recipe(
    "ocr",
    data="out_of_context_reasoning",
    data_options={"n_ctx": 8},
    steps=STEPS,
    batch=128,
    lr=5e-3,
    weight_decay=0.03,
    model=dict(
        n_layers=1,
        n_heads=1,
        d_model=128,
        embed="identity",
        tied=True,
        norm="none",
        positions="none",
        attention="linear",
        attention_scale=1.0,
        init_scale=0.01,
        query_start=0.01,
    ),
    checkpoints=sorted({int(STEPS * share) for share in (0.05, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 1)}),
)
source = toys.data.make("out_of_context_reasoning", n_ctx=8)
rows = source.batch(2, torch.Generator().manual_seed(0), split="heldout")
for row, answer in zip(rows.inputs, rows.targets[:, -1]):
    print(" | ".join(source.words[i] for i in row), "->", source.words[answer])

# %% [markdown]
# | | the authors | here |
# | --- | --- | --- |
# | data | 80 names, 20 cities, 20 implied words, sequences of 16 | the same, sequences of 8 |
# | model | one layer, one head, linear attention, one-hot embeddings of 128 | the same |
# | training | Adam, rate 0.005, weight decay 0.03, 2,000 steps of 252 | AdamW, the same rates, 8,000 steps of 128 |
# | start | the value and output matrices start as the identity | they start small and random, five seeds |
# | language models | five models are fine-tuned | not repeated |
#
# (The left column is from the authors' script `train_attn1_1heads.sh`.)
#
# *Before you run the next cell: both layers can represent exactly the same maps. Do you expect a difference on the facts? On
# the implications that were never trained on?*

# %% tags=["cover"]
kinds = {"two factors": ("K",), "one matrix": ("K", "V")}  # these matrices stay the identity
runs = {
    kind: toys.train_seeds(recipe.but(model={"identity": fixed}), SEEDS, processes=1)
    for kind, fixed in kinds.items()
}
curves = {
    kind: toys.over_training(some, answers(source)).sel(measure="accuracy")
    for kind, some in runs.items()
}
steps = curves["one matrix"].coords["step"]
shown = {
    "two factors, not trained on": (curves["two factors"].sel(split="heldout").values, BLUE),
    "one matrix, not trained on": (curves["one matrix"].sel(split="heldout").values, ORANGE),
    "facts, two factors": (curves["two factors"].sel(split="facts").values, GREY),
}
interp.plots.lines(
    np.stack([values.mean(0) for values, _ in shown.values()]),
    steps,
    names=list(shown),
    colours=[colour for _, colour in shown.values()],
    interval=[[end(v, 0) for v, _ in shown.values()] for end in (np.min, np.max)],
    band="lowest to highest seed",
    placed=True,
    x_name="training step",
    unit="share answered rightly",
    title="Implications that were never trained on",
)
# %% [markdown]
# The layer with two factors (grey) knows all facts at step 400; that the single matrix learns them, too, is checked below. On the
# facts nothing happens after that, while the blue curve goes on climbing: from one half at step 400 to 1 at step 3,200, long
# after the layer has stopped making mistakes in training. The orange line stays near 4 %; guessing among the twenty
# languages would give 5 %.
#
# ## The claims

# %%
claims = load_claims("20-out-of-context-reasoning")
claims

# %%
half = steps.index(STEPS // 2)
right = {kind: found.sel(split="heldout").values for kind, found in curves.items()}
facts = {kind: found.sel(split="facts").values for kind, found in curves.items()}
learned = [gate(f"facts, {kind}", measured(facts[kind][:, -1]), at_least=0.95) for kind in kinds]
settled = converged(
    right["two factors"][:, -1],
    right["two factors"][:, half],
    within=0.05,
    name="accuracy with two factors",
)
unable = gate(
    "share of wrong implications with one matrix",
    measured(1 - right["one matrix"][:, -1]),
    at_least=0.9,
)
v_infers = claims["factorised-infers"].judge(
    measured(right["two factors"][:, -1]),
    control=measured(right["one matrix"][:, -1]),
    gate=[*learned, settled],
    provided=unable,
)
for kind in kinds:
    for step in (1600, STEPS):
        if step in steps:
            print(f"{kind}, step {step}: {right[kind][:, steps.index(step)].round(2)} by seed")
print(v_infers, settled, sep="\n")

# %% [markdown]
# All five seeds reach 100 %, and they had done so at half the training (4,000 steps), so the number has settled. The authors'
# script makes 2,000 steps of 252 sequences, which is as many sequences as 4,000 steps here. At 1,600 steps one of our seeds
# is still at 87 %. So the claim holds, and whoever stops early will call it a partial success.
#
# ## How large is the map?
#
# The paper's theory says why. Gradient descent on two factors is drawn to maps with a small *nuclear norm* (the sum of the singular
# values). Such maps have few directions, so everyone in a city shares one, and what is learned of some of them holds for all. On
# one matrix it is drawn to a small *Frobenius norm* (the root of the sum of the squared entries), which has no such
# preference. Under cross-entropy all weights grow for ever, so raw norms say how long we trained. We therefore compare the
# maps at *margin 1*: each is scaled until its least certain trained answer leads by exactly 1.

# %%
sizes = {
    (kind, step): [norms(run.net(step), source) for run in runs[kind]]
    for kind in kinds
    for step in (STEPS // 2, STEPS)
}


def ratios(norm, step):
    """The norm with two factors over that with one matrix, seed by seed."""
    both = zip(sizes["two factors", step], sizes["one matrix", step])
    key = f"{norm} at margin 1"
    return np.array([ours[key] / theirs[key] for ours, theirs in both])


for norm in ("nuclear", "frobenius"):
    for step in (STEPS // 2, STEPS):
        print(f"{norm:9} norm, step {step}: two factors over one matrix {ratios(norm, step)}")

# %%
lower = gate(
    "share of seeds whose nuclear norm is lower with two factors",
    measured((ratios("nuclear", STEPS) < 1).astype(float)),
    at_least=1.0,
)
opposite = gate(
    "share of seeds whose Frobenius norm is lower with one matrix",
    measured((ratios("frobenius", STEPS) > 1).astype(float)),
    at_least=1.0,
)
steady = converged(
    ratios("nuclear", STEPS),
    ratios("nuclear", STEPS // 2),
    within=0.05,
    name="ratio of the nuclear norms",
)
v_nuclear = claims["nuclear-norm"].judge(
    measured(ratios("nuclear", STEPS)), gate=[*learned, steady], provided=[lower, opposite]
)
print(v_nuclear, steady, lower, opposite, sep="\n")

# %%
layers = {kind: some[0].net().blocks[0].attn for kind, some in runs.items()}
spectra = [torch.linalg.svdvals((a.W_V[0] @ a.W_O[0]).detach())[:60] for a in layers.values()]
interp.plots.lines(
    np.stack([s / s.sum() for s in spectra]),
    range(1, 61),
    placed=True,
    x_name="singular value",
    unit="share of the nuclear norm",
    names=list(layers),
    colours=[BLUE, ORANGE],
    title="Singular values of the map, seed 0",
)
# %% [markdown]
# At the same margin the factors' map has the smaller nuclear norm with every seed: 0.65 of the single matrix's. So far so good. But the theory also
# says that the single matrix ends with the smaller *Frobenius* norm, and it ends with more than twice the factors' (the ratio is about 0.4). A map
# with a smaller Frobenius norm and the same margin therefore exists, and the training of the single matrix has not found it. The ratio itself still
# moved, from 0.75 at half the training to 0.65 at the end. We compare two trainings on their way rather than the two minima of the theory, so this
# claim is *not testable here*. The figure shows how the two maps differ (seed 0): the factors' map has about twenty directions of
# similar size and little beyond them, and there are twenty cities; the single matrix has one large direction and about
# forty small ones at two levels.
#
# ## A question of our own: how many pairs does such a memory hold?
#
# Linear attention adds up one outer product of key and value for each pair it has seen, which is a Hebbian memory: neurons that fire together are
# wired together. (That is an identity, not a finding; the largest difference between the two sums is printed below.) Qiao
# 2025 (arXiv 2508.08289) asks how many pairs fit before they blur, if keys have d_k dimensions. In the worst case it is of
# the order of the square root of d_k; on average, of d_k. We measure the average case: random keys, 16 different values,
# and the number of pairs at which half are read rightly. (The figure's colours are new: they stand for dimensions.)

# %%
q, k, v = torch.randn(3, 2, 24, 16, generator=torch.Generator().manual_seed(0)) / 4
gap = (memory.linear_attention(q, k, v) - memory.hebbian_attention(q, k, v)).abs().max()
print(f"linear attention and a Hebbian memory differ by at most {gap:.1e}")
hebbian = [memory.accuracy(seed=seed) for seed in range(3 if FAST else 5)]
softmax = memory.accuracy([16, 32, 64], memory="softmax", trials=4)
interp.plots.lines(
    np.stack([hebbian[0].sel(d_k=16).values, hebbian[0].sel(d_k=64).values]),
    hebbian[0].coords["pairs per d_k"],
    placed=True,
    x_name="pairs for each dimension of the key",
    unit="share read rightly",
    names=["d_k = 16", "d_k = 64"],
    title="Reading a Hebbian memory",
)
# %%
powers = [power_law(one.coords["d_k"], memory.capacity(one).values)[0] for one in hebbian]
hebbian_4 = hebbian[0].sel(d_k=[16, 32, 64]).examples[..., :4]  # softmax has four draws
more = gate(
    "softmax minus Hebbian accuracy at 16 pairs a dimension",
    measured((softmax.examples - hebbian_4)[:, -1].ravel()),
    at_least=0.1,
)
v_fits = claims["capacity"].judge(measured(abs(np.array(powers) - 1)), provided=more)
half_read = memory.capacity(hebbian[0]).values.round().astype(int).tolist()
print("pairs read at 50 %:", dict(zip(hebbian[0].coords["d_k"], half_read)))
print("power of d_k:", measured(powers), v_fits, sep="\n")

# %% [markdown]
# About five pairs for each dimension of the key can be read at 50 %, whatever the dimension, so the number grows in proportion to d_k. The factor
# of five belongs to our question (16 values, half read rightly); the proportion does not. Softmax attention, with its scores
# multiplied by d_k, still reads nearly all of 16 pairs a dimension, 0.73 more than the linear memory does.
#
# ## Verdicts

# %%
verdicts(
    "20-out-of-context-reasoning", [v_infers, v_nuclear, v_fits], model="toys, one layer", fast=FAST
)

# %% [markdown]
# ## What to remember
#
# - Two parametrisations of the same map can generalise completely differently. What a layer *can* represent does not tell what training will *find*.
# - Training accuracy was perfect long before the inference was. Judge a trained toy only after the number you care about has
#   stopped moving.
# - Norms of trained weights mean little until both maps are scaled to the same margin, and even then only at convergence.
#
# ## Try it
#
# Train on more people's languages, `recipe.but(data_options={"share": 0.5})`, and see how soon the rest follows. Every tool of
# this package opens the trained layer; here is what END attends to in one row: the name and the question. (Linear attention
# does not sum to one, so these are weights and not shares.)

# %%
model = runs["two factors"][0].model()
pattern = interp.run(model, rows.inputs[:1], keep=["L0H0.pattern"]).kept["L0H0.pattern"]
for token, weight in zip(rows.inputs[0], pattern.reshape(-1, 8)[-1]):
    print(f"{source.words[token]:>12}: {weight:.2f}")

# %% [markdown]
# ## What did not reproduce
#
# - **The reason is not settled.** The nuclear norm comes out as the theory says, the Frobenius norm does not, and neither has converged. AdamW with
#   weight decay is not the gradient flow of the theory.
# - **Language models are not tested.** The paper fine-tunes five. Nor is hallucination: in the toy, true and made-up
#   implications are the same numbers under other words, so it would be no finding that they are learned alike.
# - **One mapping.** The mapping from names to cities is the same with every seed; only the starting weights and the order of the data differ.
# - **Chosen after a first look.** How near the number at half the steps must come to the last one was written down when parts of
#   the curves had been seen. An earlier version stopped at 800 steps and called the first claim partly true.
#
# Further reading: Cohen et al. 2023 on ripple effects of editing facts; Gunasekar et al. 2017, "Implicit Regularization in Matrix
# Factorization", for where the nuclear norm comes from.
