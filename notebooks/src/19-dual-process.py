# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Dual process: read the context for rare words, remember the common ones
#
# Paper: Anand et al. 2025, "Dual Process Learning: Controlling Use of In-Context vs. In-Weights Strategies with Weight Forgetting", arXiv 2406.00053
#
# **The question.** A language model that has seen a word ten thousand times knows what class it belongs to. For a word that it has never seen, it must read the class off the
# context. The second ability is fragile: training on many known words makes reading unnecessary. Can one train a network so that it keeps reading, and even so that it does
# both, remembering common words and reading rare ones?
#
# **The trick.** Forget. Every so often the embeddings of all words are drawn anew ("active forgetting"), so that nothing about a word can be remembered for long. If the forgetting
# stops at some point ("temporary forgetting"), the network should go on reading what it does not know. The paper calls reading
# by structure alone *structural in-context learning* (structural ICL), and remembering *in-weights learning* (IWL).
#
# **What we found.** Only one seed of three learns to read, all at once, so none of the paper's claims could be tested. That one
# does what the paper describes: while embeddings are forgotten it reads unseen items almost perfectly, and for a while
# after forgetting stops it reads unseen items and remembers common ones. The other two stay at 0.6 on unseen items, where
# guessing gives 0.5, through our 2,000 steps of forgetting. What one network in three does is an observation and no test; all that we can say is that it
# depends on the seed.
#
# 8 minutes · intermediate · you should know what an embedding is

# %% tags=["parameters"]
MODEL = "a two-layer transformer, trained here"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp import toys
from interp.studies import Measured, converged, gate, load_claims, measured, verdicts

COLOURS = ["#0072b2", "#d55e00", "#009e73"]  # one for each seed
SEEDS = [0] if FAST else [0, 1, 2]
PLAIN, STOP, STEPS = (300, 300, 500) if FAST else (1500, 2000, 3000)

# %% [markdown]
# ## The task
#
# A sequence has four items, each followed by a marker of its class (A or B), and then an item whose class is asked for.
# Items come with Zipf's frequencies (the k-th most common one is seen 1/k times as often as the first), and an item's class never changes in training, so it can be read off the context or remembered. In a tenth of the sequences the query is not in the context.
#
# | | the authors | here |
# | --- | --- | --- |
# | sequences | words whose part of speech the sentence pattern gives away | items whose class a marker gives away |
# | items | 10,000 | 1,000 |
# | forgetting | not known to us in detail | every 100 steps |
# | optimiser | not known to us | Adam, rate 0.001, second average 0.95 (an embedding drawn anew starts without one) |
# | seeds | not known to us | three, each shown by itself |
#
# Four tests of 400 sequences, with their names in the code: *unseen items* (`structural`), with random classes, where only
# reading helps and guessing gives one half; *common* (`head`) and *rare* items (`tail`) whose label in the context is
# flipped, where right means following the context against the weights; and *not in context* (`weights`), where only
# remembering helps.

# %%
recipe = toys.Recipe(
    "dual-process",
    data="dual_process",
    data_options=dict(items=1000, alpha=1.0, absent=0.1),
    model=dict(n_layers=2, d_model=64, mlp=128, act="gelu"),
    steps=STEPS,
    batch=64,
    lr=1e-3,
    betas=(0.9, 0.95),
    weight_decay=0.01,
    checkpoints=(*range(99, STOP, 100), *range(STOP + 49, STEPS, 50)),
)
forgetting = recipe.but(forget_every=100, forget_rows=(0, 1000), forget_until=STOP)
source = toys.data.make("dual_process", **recipe.data_options)
tests = {
    split: source.batch(400, torch.Generator().manual_seed(7), split)
    for split in ("structural", "head", "tail", "weights")
}
shown = source.batch(1, torch.Generator().manual_seed(1), "heldout")
marker = {source.items: "A", source.items + 1: "B"}
print(*(marker.get(i, f"item {i}") for i in shown.inputs[0].tolist()), "->", end=" ")
print(marker[shown.targets[0, -1].item()])

# %% [markdown]
# *Before you run the next cell: in ordinary training, will the network learn to read the context for items that it has never seen? For how long?*

# %% tags=["cover"]
plain = toys.over_training(
    toys.train_seeds(recipe.but(steps=PLAIN), SEEDS, processes=1), toys.accuracy_on(tests)
)
runs = toys.train_seeds(forgetting, SEEDS, processes=1)
curves = toys.over_training(runs, toys.accuracy_on(tests))


def draw(some, split, title, guide):
    """One line for each seed."""
    interp.plots.lines(
        [some.sel(seed=s, measure=split).values for s in SEEDS],
        some.coords["step"],
        placed=True,
        names=[f"seed {s}" for s in SEEDS],
        colours=COLOURS[: len(SEEDS)],
        guide=(np.full(len(some.coords["step"]), 0.5), guide),
        x_name="training step",
        unit="share right",
        title=title,
    )


draw(plain, "structural", "Unseen items in ordinary training", "guessing")
draw(curves, "structural", f"Unseen items, embeddings drawn anew until step {STOP}", "guessing")
# %% [markdown]
# In ordinary training (first figure) unseen items rise to 0.6 in the first 100 steps and are back at guessing by step
# 1,000. With forgetting (second figure) one seed begins to read at about step 1,000 and then reads nearly every unseen item; the
# other two stay near 0.6. (The untrained network does not name a class at all, so all curves start at 0.) A mean of the
# three would show a network that reads half-heartedly, and no such network exists.
#
# The figure below is about common items whose label in the context is flipped. The seed that reads follows the flipped
# labels, against what it could remember, until some time after forgetting stops (step 2,000); then it begins to remember.

# %%
draw(curves, "head", f"Flipped labels of common items followed, forgetting until {STOP}", "half")

# %% [markdown]
# ## The claims

# %%
claims = load_claims("19-dual-process")
claims

# %%
steps = np.array(curves.coords["step"])
before, after = steps < STOP, steps > STOP
value = {
    split: np.stack([curves.sel(seed=s, measure=split).values for s in SEEDS])
    for split in ("structural", "head", "tail", "weights")
}
reached = value["structural"][:, before][:, -3:].mean(1)
formed = (reached >= 0.85).astype(float)


def over_seeds(numbers):
    """The mean with its interval over seeds; FAST has one seed, and no interval."""
    return measured(numbers) if len(numbers) > 1 else Measured(*[numbers[0]] * 3, 1)


print("unseen items right when forgetting stops, by seed:", reached.round(2))
majority = gate("share of seeds in which reading formed", over_seeds(formed), at_least=0.5)
seeds = gate("seeds (FAST trains one)", measured([len(SEEDS)] * 2), at_least=3)
print(majority)

# %%
unseen = np.stack([plain.sel(seed=s, measure="structural").values for s in SEEDS])


def best_by_others(k):
    """Unseen items right at the checkpoint that is best for the other seeds."""
    others = np.delete(unseen, k, 0) if len(SEEDS) > 1 else unseen
    return unseen[k, others.mean(0).argmax()]


best = np.array([best_by_others(k) for k in range(len(SEEDS))])
appears = gate("unseen items at their best, ordinary training", over_seeds(best), at_least=0.7)
falls = best - unseen[:, -3:].mean(1)
v_transient = claims["transient"].judge(
    measured(falls) if seeds.passed else None, gate=[seeds, appears]
)
print(v_transient, appears, sep="\n")

# %%
ends = {s: value[s][:, before][:, -3:].mean(1) for s in ("structural", "head")}
halves = {s: value[s][:, before][:, before.sum() // 2] for s in ends}
ready = seeds.passed and majority.passed
settled = [
    converged(ends[s], halves[s], within=0.1, name=name)
    for s, name in (("structural", "unseen items"), ("head", "flipped common items"))
]
v_active = claims["active"].judge(
    {"unseen items": measured(ends["structural"]), "flipped common items": measured(ends["head"])}
    if seeds.passed
    else None,
    gate=[seeds, majority, *settled],
)
late = {s: x[:, after] for s, x in value.items()}
both = (late["structural"] >= 0.85) & (late["head"] <= 0.7) & (late["head"] < late["tail"])
v_dual = claims["dual-process"].judge(
    measured(both.mean(1)) if seeds.passed else None, gate=[seeds, majority]
)
v_skew = claims["skew"].judge(
    None,
    gate=[seeds, majority],
    invalid="other frequencies were not trained: the comparison needs the circuit at every alpha",
)
print(v_active, v_dual, v_skew, sep="\n")
print("share of the time after forgetting with both strategies, by seed:", both.mean(1).round(2))

# %% [markdown]
# One of three seeds reads when forgetting stops. In that seed unseen items are at 1.0 and common items follow the context (0.95),
# as the paper says of active forgetting, and both strategies are there together for 0.38 of the time after forgetting. But a
# result of one seed in three is an observation, not a test, so the verdict is *not testable here*. In ordinary training
# reading hardly appears (0.58 at its best, and we ask for 0.7), so there is little that could vanish. The numbers that the table below gives for the
# other claims are over all three seeds, the two that never read included: read them seed by seed, as above.
#
# ## Verdicts

# %%
verdicts("19-dual-process", [v_transient, v_active, v_dual, v_skew], model=MODEL, fast=FAST)

# %% [markdown]
# ## What to remember
#
# - Look at seeds one by one before you average. If an ability forms all at once, a mean over seeds describes no network.
# - Forgetting takes away what remembering gains. It does not decide whether reading forms, or when.
# - Two strategies can share the work: in the seed that reads, 1,000 steps after the last forgetting, unseen items are still
#   read (0.92), flipped labels of common items are followed in 0.31 of the cases and those of rare items in 0.75.
#
# ## Try it
#
# Forget more often (`forget_every=10`, with `lr=2e-3`), for longer (`forget_until=6000`), or train with ten times as many items.
# Every checkpoint opens like any model; here is the seed that reads, at the end of its training:

# %%
toys.accuracy_on(tests)(runs[0].model())

# %% [markdown]
# ## What did not reproduce
#
# - **Reading forms in one seed of three.** One possible reason: with embeddings drawn anew every 100 steps, a network can
#   learn them again within the 100 steps. Outside this notebook three other recipes were tried on the two seeds that do
#   not read, for 3,000 steps each, and none formed reading; their shares on unseen items are in brackets: embeddings drawn
#   anew every 10 steps at a higher learning rate (0.65 and 0.80), four heads with rotary positions (0.63 and 0.55), and
#   10,000 items as in the paper (0.61 and 0.67), the last two at a rate of 0.003.
# - **The paper's settings are larger** (10,000 items) and were not known to us in detail; its code was not at hand.
# - **Other frequency laws** were not trained: as long as most seeds do not read, the comparison would say nothing. An earlier
#   version of this study said "holds" on one seed for each law, which was too little to judge by.
# - With Adam's usual second average (0.999) unseen items were not read at all (outside this notebook). Our guess is that an
#   embedding drawn anew then moves several times as fast as the rest.
#   FAST trains one seed for 500 steps and tests none of the claims.
#
# Further reading: Chen et al. 2023, "Improving Language Plasticity via Pretraining with Active Forgetting"; Singh et al. 2023, "The Transient Nature of Emergent In-Context Learning".
