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
# Found: where structural in-context learning forms, temporary forgetting gives a dual process for a third of the time after it; but it forms in one seed of three within 2,000 steps, and in ordinary training hardly at all
#
# Ordinary training learns all by heart: on unseen items the network is right in 58 % of sequences at best and 50 % at the end.
# When embeddings are drawn anew every 100 steps, one seed of three learns to read the context for anything (0.98 on unseen
# items); the other two are at 0.6 when forgetting stops. In the one, common items go over to memory first: for 35 % of
# the remaining training unseen items are read in context while common ones are remembered.

# %% [markdown]
# ## What the paper says, and what would count here
#
# Four items, each followed by a marker of its class, then an item whose class is asked for. The answer can be read from the
# context, or remembered: an item's class never changes in training, and in a tenth of the sequences the query is not in context.
# Reading that works for items never seen is *structural* in-context learning. The paper's means to keep it is to draw the
# embeddings anew every so often ("active forgetting"), so that nothing about an item can be remembered for long, or to
# do so at first only ("temporary").
#
# The thresholds were fixed before anything was measured. The paper's sequences are patterns of parts of speech; ours are the
# same design with markers, with 1,000 items and not 10,000. Adam's second average is short here (0.95, not 0.999): an embedding drawn
# anew starts with none, and with a long one its first steps would be several times too large.

# %% tags=["parameters"]
MODEL = "a two-layer transformer, trained here"
FAST = False

# %%
from dataclasses import replace

import torch

from interp import toys
from interp.studies import (
    Claim,
    Measured,
    at_end,
    draw_curves,
    drop_from_peak,
    gate,
    share_of_steps,
    verdicts,
)

PAPER = "Anand et al. 2025, abstract"
SEEDS = [0] if FAST else [0, 1, 2]
STOP, STEPS, PLAIN = (1500, 2400, 1000) if FAST else (2000, 4000, 2000)

# %%
transient = Claim(
    "transient",
    says="Structural in-context learning appears early and then vanishes",
    paper="no number",
    source=PAPER,
    metric="highest share right on unseen items less that at the end, ordinary training",
    holds=0.2,
    partly=0.08,
    null=0.0,
    control="none",
    varies="trained",
)
active = Claim(
    "active",
    says=(
        "Active forgetting preserves structural in-context learning, at the cost of learning in "
        "the weights"
    ),
    paper="no number",
    source=f"{PAPER}; figure 3",
    holds=0.95,
    null=0.5,
    control="none",
    parts=("unseen items", "flipped head items"),
    needs=(2, 1),
    metric=(
        "share right on unseen items (>= 0.95) and of common items whose flipped label is "
        "followed (>= 0.9), at the end of forgetting"
    ),
    varies="trained",
)
follows = replace(active, holds=0.9, parts=(), needs=None)
dual = Claim(
    "dual-process",
    says=(
        "After temporary forgetting rare and unseen items are read in context and common ones are "
        "remembered"
    ),
    paper="no number",
    source=PAPER,
    holds=0.1,
    null=0.0,
    control="none",
    parts=tuple(f"seed {s}" for s in SEEDS),
    needs=(len(SEEDS), 1),
    metric="share of the training after forgetting stops with unseen items >= 0.85, flipped "
    "labels of common items followed in "
    "<= 0.7 and less often than those of rare items",
    varies="trained",
)
skew = Claim(
    "skew",
    says="The skew of the items' frequencies decides between the strategies",
    paper="alpha up to 1.5",
    source=f"{PAPER}; figure 3",
    metric=(
        "flipped labels followed, rare less common items, mean of the training after forgetting "
        "stops: growth with the exponent alpha"
    ),
    holds=0.0,
    null=0.0,
    control="none",
    parts=("1 over 0", "1.5 over 1"),
    needs=(2, 2),
    varies="trained",
)

# %% [markdown]
# ## The network and its tests
#
# Two layers of one head and an MLP each. Items come as rank to the power of minus alpha. Tests, 400 sequences each: `structural`
# has items never seen in training, with random classes; in `head` and `tail` all items are of the first or last tenth of the
# ranks and the query's label in context is flipped, so that what is counted is *following the context against the weights*; in
# `weights` the query is not in context. Guessing gives one half.

# %%
recipe = toys.Recipe(
    "dual-process",
    data="dual_process",
    data_options=dict(items=1000, alpha=1.0, absent=0.1),
    model=dict(n_layers=2, d_model=64, mlp=128, act="gelu"),
    steps=4000,
    batch=64,
    lr=1e-3,
    betas=(0.9, 0.95),
    weight_decay=0.01,
    checkpoints=(*range(99, STOP, 100), *range(STOP + 49, STEPS, 50)),
)
forgetting = recipe.but(steps=STEPS, forget_every=100, forget_rows=(0, 1000), forget_until=STOP)
source = toys.data.make("dual_process", **recipe.data_options)
tests = {
    split: source.batch(400, torch.Generator().manual_seed(7), split)
    for split in ("structural", "head", "tail", "weights")
}

# %% [markdown]
# ## Ordinary training

# %%
plain = toys.over_training(
    toys.train_seeds(recipe.but(steps=PLAIN), SEEDS), toys.accuracy_on(tests)
)
draw_curves(plain, title="Ordinary training: everything is remembered (thin: each seed)")
# %%
enough = gate(
    "seeds trained (FAST trains one, too few for this)",
    Measured(len(SEEDS), len(SEEDS), len(SEEDS), len(SEEDS)),
    at_least=3,
)
v_transient = transient.judge(
    drop_from_peak(plain, "structural", last=3),
    gate=enough,
    note="means of three checkpoints; structural learning hardly forms in ordinary training",
)
print(
    v_transient,
    f"unseen items at the end: {at_end(plain, 'structural', last=3)}, remembered: "
    f"{at_end(plain, 'weights')}",
    sep="\n",
)
for seed in SEEDS:
    print(f"seed {seed}: falls by {drop_from_peak(plain.sel(seed=[seed]), 'structural', last=3)}")

# %% [markdown]
# By step 1,000 the context is not believed any more, of common and rare items alike. Reading items never seen before hardly
# forms (0.58 at best, with a half by guessing), so there is little that could vanish: 9 points, not 20.
#
# ## Forgetting, and what comes after
#
# The items' embeddings are drawn anew every 100 steps until step 2,000; each point is taken just before the next draw, when most has
# been remembered. Then training goes on without.

# %% tags=["cover"]
runs = toys.train_seeds(forgetting, SEEDS)
curves = toys.over_training(runs, toys.accuracy_on(tests))
draw_curves(
    curves,
    title="Embeddings drawn anew every 100 steps, then no more",
    marks={"forgetting stops": STOP},
)
# %%
during = curves.sel(step=[s for s in runs[0].steps if s < STOP])
flipped = follows.judge(at_end(during, "head", last=3))
v_active = active.judge(
    {"unseen items": at_end(during, "structural", last=3), "flipped head items": flipped},
    gate=enough,
    note="means of three checkpoints; 'flipped head items' has its own threshold, 0.9",
)
print(v_active, *(f"{name}: {v.measured}" for name, v in v_active.parts), sep="\n")
print(
    f"rare items: {at_end(during, 'tail', last=3)}, query not in context: "
    f"{at_end(during, 'weights', last=3)}"
)

# %% [markdown]
# The mean hides what happened: one seed finds the reading circuit at about step 1,000, and then all items are read. The other
# two get by with what they remember within 100 steps, which for common items is a lot. Forgetting makes structural learning
# possible; it does not say when. (The intervals draw seeds again, so they are as wide as the seeds are apart.)
#
# ## Is there a dual process?

# %%
rule = dict(
    at_least={"structural": 0.85}, at_most={"head": 0.7}, order=("head", "tail"), since=STOP
)
single, each = replace(dual, parts=(), needs=None), {}
for s in SEEDS:
    formed = gate(
        f"unseen items right when forgetting stops, seed {s}",
        at_end(during.sel(seed=[s]), "structural", last=3),
        at_least=0.85,
    )
    each[f"seed {s}"] = single.judge(share_of_steps(curves.sel(seed=[s]), **rule), gate=formed)
    print(formed, each[f"seed {s}"].measured, sep="\n")
v_dual = dual.judge(
    each, note="each seed has its own gate: unseen items >= 0.85 when forgetting stops"
)
print(v_dual)

# %% [markdown]
# In seed 0, yes: when forgetting stops, common items are remembered within a few hundred steps, rare ones are still read for some
# hundred more, and unseen ones longest. It is a window, not an end: with 2,000 more steps all is remembered. The other
# two seeds never came to read, so the claim was not exercised there.
#
# ## The frequencies decide
#
# The same with items that all come alike often (alpha 0), and with a steeper law (1.5); one seed each.

# %%
alphas = [1.0] if FAST else [0.0, 1.0, 1.5]
by_skew = {1.0: curves.sel(seed=[0])}
for alpha in [a for a in alphas if a != 1.0]:
    by_skew[alpha] = toys.over_training(
        toys.train_seeds(forgetting.but(data_options={"alpha": alpha}), [0]),
        toys.accuracy_on(tests),
    )
    draw_curves(
        by_skew[alpha],
        title=f"Temporary forgetting, alpha {alpha:g}",
        marks={"forgetting stops": STOP},
    )

# %%
late = sum(s > STOP for s in runs[0].steps)
for alpha in alphas:
    before = at_end(by_skew[alpha].sel(step=during.coords["step"]), "structural", last=3)
    print(
        f"alpha {alpha:g}: unseen items when forgetting stops {before}; then rare less common "
        f"items "
        f"{at_end(by_skew[alpha], 'tail', minus='head', last=late)}, dual process "
        f"{share_of_steps(by_skew[alpha], **rule)} of the time"
    )
trained = gate(
    "values of alpha trained",
    Measured(len(alphas), len(alphas), len(alphas), len(alphas)),
    at_least=3,
)
more = {f"{b:g} over {a:g}": by_skew[b] - by_skew[a] for a, b in zip(alphas, alphas[1:])}
growth = {
    name: at_end(difference, "tail", minus="head", last=late) for name, difference in more.items()
} or None
v_skew = skew.judge(growth, gate=trained, note="one seed; FAST trains one alpha only")
print(v_skew, *(f"{name}: {v.measured}" for name, v in v_skew.parts), sep="\n")

# %% [markdown]
# The steeper the law, the larger the gap between rare and common items, as claimed. But that alone is no dual process. Only the
# network at alpha 1 came to read unseen items when forgetting stopped (0.99); at alpha 0 it stays near guessing (0.55), and at 1.5
# it reads some (about 0.7), which it keeps, while common items are remembered: a mild division of labour that lasts.
#
# ## Verdicts

# %%
verdicts("19-dual-process", [v_transient, v_active, v_dual, v_skew], model=MODEL, fast=FAST)

# %% [markdown]
# ## Try it
#
# Below: what one network does in the middle of the time after forgetting. Every checkpoint opens like any model, so look for the heads
# that read (`interp.run(model, tests["structural"].inputs, keep=["L*H*.pattern"])`), forget for longer (`forget_until=3000`), more
# often (`forget_every=50`), or never stop (`forget_until=None`).

# %%
middle = runs[0].steps[-late // 2]
print("step", middle)
toys.accuracy_on(tests)(runs[0].model(middle))

# %% [markdown]
# ## What did not reproduce
#
# - **Ordinary training does not show transience here.** Structural in-context learning has to form before it can vanish. Items are
#   remembered so quickly (1,000 items, two classes) that it barely does. The paper has ten times as many.
# - **Forgetting for 2,000 steps is not enough for every seed.** The number was fixed beforehand and is kept. The circuit forms all at
#   once (see the cover), at a step that differs from seed to seed; a longer `forget_until` is the first thing to try.
# - **The dual process is transient as well.** It lasts for a third of the time after forgetting, in the one seed that has it.
# - **The optimiser matters.** In two trials with Adam's usual second average (0.999) unseen items were not read: an embedding drawn
#   anew then learns several times as fast as the rest, and is remembered again within 50 steps. We do not know the paper's setting.
# - **One part was decided after the first run:** to judge the dual process seed by seed, for the mean of three seeds hides that
#   two were never able. The thresholds are the ones fixed before.
# - FAST trains one seed, with less time: it decides only the dual process of that seed. The gap over alpha has one seed each, so
#   its intervals are over sequences only; and with alpha 0 and 1.5 the circuit never
#   formed, so that growth compares a network that reads with two that hardly do.
