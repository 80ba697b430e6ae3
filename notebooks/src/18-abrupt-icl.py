# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Abrupt in-context learning: two heads form, and an answer is read off the context
#
# Paper: Reddy 2024, "The mechanistic basis of data dependence and abrupt learning in an in-context classification task", arXiv 2312.03002
#
# Found: with classes four times in context the network reads labels off the context (ICL 0.99) through an induction head, with each once it learns by heart (IWL 0.95); two parameters do as well as the network, but the rise is not as abrupt as claimed and no measure runs ahead of it
#
# The data decide, in all three seeds: ICL 0.99 against 0.10, IWL 0.05 against 0.95. The query gives 0.80 of its attention to the labels
# of its own class, and without that ICL is 0.48, guessing. A network whose attention is two numbers reaches the same. The rise of ICL
# takes a third of the training; the claim allows a quarter. Both heads sharpen after ICL has begun, not before it.

# %% [markdown]
# ## What the paper says, and what would count here
#
# The task: eight items, each followed by its label, then an item whose label is asked for. Items are noisy copies of 1,024
# class means. When a context shows few classes, each several times ("bursty"), the answer can be read in context
# (in-context learning, ICL); the classes' labels never change in training, so it can also be learned by heart (in-weights
# learning, IWL). Who wins depends on the data, says the paper, and ICL comes at once.
#
# The thresholds were fixed before anything was measured. Against the paper the model is smaller (items in 31 dimensions and not
# 63, 33 places and not 65) and trained with Adam at a learning rate of 0.002 on batches of 64, so that a run takes under a minute.

# %% tags=["parameters"]
MODEL = "a two-layer attention network, trained here"
FAST = False

# %%
from dataclasses import replace

import torch

import interp
from interp import Intervention, toys
from interp.edits import counterfactual_pattern
from interp.studies import (
    Claim,
    Measured,
    at_end,
    draw_curves,
    gate,
    ratio_of_means,
    training_time_between,
    verdicts,
)

PAPER = "Reddy 2024, abstract"
SEEDS = [0] if FAST else [0, 1, 2]
STEPS = 1500 if FAST else 2500

# %%
data = Claim(
    "data",
    says="Burstiness favours in-context learning; without it the network learns in its weights",
    paper="no number",
    source=PAPER,
    metric=(
        "ICL with each class 4 times in context less ICL with each once; IWL the other way round"
    ),
    holds=0.6,
    null=0.0,
    control="none",
    parts=("ICL", "IWL"),
    needs=(2, 1),
    varies="trained",
)
abrupt = Claim(
    "abrupt",
    says="In-context learning is acquired abruptly, after a plateau",
    paper="no number",
    source=PAPER,
    metric=(
        "share of training from 10 % to 90 % of the rise of ICL, from guessing among the labels "
        "in context to all right"
    ),
    direction="<=",
    holds=0.25,
    partly=0.5,
    null=1.0,
    control="none",
    varies="trained",
)
mechanism = Claim(
    "induction-head",
    says="ICL is an induction head: the query looks at the label after the item like it",
    paper="no number",
    source=PAPER,
    metric=(
        "attention of the query to matching labels (>= 0.6); ICL when that pattern is made "
        "uniform (<= 0.6)"
    ),
    holds=0.6,
    null=0.25,
    control="none",
    parts=("looks", "needed"),
    needs=(2, 1),
    varies="trained",
)
needed = replace(
    mechanism, direction="<=", null=None, control="ICL without the clamp", parts=(), needs=None
)
measures = Claim(
    "progress",
    says="Progress measures precede ICL, and two parameters emulate the network",
    paper="no number",
    source=PAPER,
    metric="share of training by which attention to the token before starts to rise before ICL "
    "(>= 0.05); ICL of the "
    "two-parameter network over that of the network (>= 0.9)",
    holds=0.05,
    null=0.0,
    control="none",
    parts=("precedes", "two parameters"),
    needs=(2, 1),
    varies="trained",
)
emulates = replace(measures, holds=0.9, null=0.55, parts=(), needs=None)
nested = Claim(
    "nested",
    says="Three nested logits are learned one after the other",
    paper="3 logits",
    source=PAPER,
    metric=(
        "share of training from half the rise of attention to the token before to half that of "
        "attention to the matching label"
    ),
    holds=0.02,
    null=0.0,
    control="none",
    parts=tuple(f"seed {s}" for s in SEEDS),
    needs=(len(SEEDS), max(1, len(SEEDS) - 1)),
    varies="trained",
)

# %% [markdown]
# ## The network and its tests
#
# Two attention layers of one head each, no MLP between them, then two residual MLPs as the classifier. No norms, no output
# matrix. The first 33 entries of a vector say its place, counted from a random offset, so that a head has to compare
# places to find the one before. Each test has 400 sequences that training never shows: `icl` has new classes with random
# labels, so only the context helps; in `iwl` the query's class is not in context; in `swap` the labels are exchanged.

# %%
recipe = toys.Recipe(
    "abrupt-icl",
    data="in_context_classes",
    data_options=dict(classes=1024, labels=32, pairs=8, burstiness=4, width=31, positions=33),
    model=dict(
        n_layers=3,
        attention=["softmax", "softmax", "none"],
        mlp=[0, 128, 128],
        d_model=64,
        embed="identity",
        identity=["O"],
        positions="none",
        norm="none",
    ),
    steps=2500,
    batch=64,
    lr=2e-3,
    checkpoints=tuple(range(0, 2501, 50)),
)
source = toys.data.make("in_context_classes", **recipe.data_options)
tests = {
    split: source.batch(400, torch.Generator().manual_seed(7), split)
    for split in ("icl", "iwl", "swap")
}
bursty, single = (
    toys.train_seeds(recipe.but(steps=STEPS, data_options={"burstiness": b}), SEEDS) for b in (4, 1)
)

# %% [markdown]
# ## Bursty contexts: ICL, and how it comes
#
# Each class stands four times in its context, so there are two labels to choose from and guessing among them gives 0.52.

# %% tags=["cover"]
curves = toys.over_training(bursty, toys.in_context(tests))
draw_curves(
    curves,
    ["icl", "iwl", "labels in context", "previous token", "matching label"],
    title="Each class four times in context: the context is read (thin: each seed)",
)
# %%
able = gate("ICL at the end, bursty contexts", at_end(curves, "icl"), at_least=0.8)
enough = gate(
    "seeds trained in full (FAST trains one, shorter: too few for times)",
    Measured(*[len(SEEDS)] * 4),
    at_least=3,
)
chance = 0.5 + 0.5 / 32
low, high = (chance + part * (1 - chance) for part in (0.1, 0.9))
plateau = gate(
    "plateau: labels in context known (0.8) to 10 % of the rise",
    training_time_between(curves, ("labels in context", 0.8), ("icl", low)),
    at_least=0.1,
)
v_abrupt = abrupt.judge(
    training_time_between(curves, ("icl", low), ("icl", high)),
    gate=(able, enough),
    provided=plateau,
)
print(able, plateau, v_abrupt, sep="\n")
for seed in SEEDS:
    one = curves.sel(seed=[seed])
    print(
        f"seed {seed}: ICL {at_end(one, 'icl')}, the rise takes "
        f"{training_time_between(one, ('icl', low), ('icl', high))} of training"
    )

# %% [markdown]
# In order: within a tenth of the training the network names some label of the context, then ICL climbs to 0.99
# in every seed, and the attention to the matching label and to the token before climbs with it and further. The rise from one tenth to nine tenths takes a third of the
# training, more than the quarter that would count as abrupt, and it starts too soon after the first step to call the time between a plateau.
#
# ## Each class once: by heart
#
# The same network on contexts of eight classes, the query being one of them. The answer stands in context as before.

# %%
alone = toys.over_training(single, toys.in_context(tests))
draw_curves(
    alone,
    ["icl", "iwl", "labels in context", "previous token", "matching label"],
    title="Each class once in context: the labels are learned by heart",
)
# %%
v_data = data.judge(
    {"ICL": at_end(curves - alone, "icl"), "IWL": at_end(alone - curves, "iwl")}, gate=able
)
print(v_data, *(f"{name}: {v.measured}" for name, v in v_data.parts), sep="\n")
for name, some in (("four times", curves), ("once", alone)):
    print(
        f"{name:10}  ICL {at_end(some, 'icl')}  IWL {at_end(some, 'iwl')}  exchanged labels "
        f"followed {at_end(some, 'swap')}"
    )

# %% [markdown]
# As the paper says, the data decide, completely and in every seed: four times, the context is read and nothing is remembered (even
# exchanged labels are followed); once, all is remembered and the context is hardly used, although the answer stands there too.
#
# ## Is it an induction head?
#
# The first head should look one place back, so that a label's place knows its item; the second should look from the query to
# the labels of items like it. Here are both patterns in one sequence of new classes:

# %%
model = bursty[0].model()
tokens = tests["icl"].inputs[:1]
kept = interp.run(model, tokens, keep=["L0H0.pattern", "L1H0.pattern"]).kept
places = [
    f"item {i // 2 + 1}"
    if i % 2 == 0
    else f"label {int(tests['icl'].labels['context'][0, i // 2])}"
    for i in range(16)
] + ["query"]
for head in ("L0H0", "L1H0"):
    interp.plots.heatmap(
        kept[f"{head}.pattern"].squeeze(),
        places,
        places,
        row_name="attends from",
        col_name="attends to",
        title=f"{head}: where it looks (answer: label {int(tests['icl'].targets[0, -1])})",
        unit="attention",
    )

# %% [markdown]
# To see whether the second pattern is needed, it is made uniform:

# %%
clamp = [Intervention("L1H0.pattern", counterfactual_pattern("uniform"))]
clamped = toys.over_training(bursty, toys.accuracy_on(tests, clamp), steps=[STEPS])
v_needed = needed.judge(at_end(clamped, "icl"), control=at_end(curves, "icl"))
v_mechanism = mechanism.judge(
    {"looks": at_end(curves, "matching label"), "needed": v_needed},
    gate=able,
    note="null of attention: 4 of 17 places, uniformly; 'needed' has its own threshold, ICL <= 0.6",
)
print(v_mechanism, *(f"{name}: {v.measured}" for name, v in v_mechanism.parts), sep="\n")

# %% [markdown]
# The query gives 0.80 of its attention to the labels of its own class, and without that pattern ICL is back at guessing
# between the labels in context (0.48).
#
# ## Two parameters instead of two heads
#
# Now the attention is said by formula: the first layer gives the token before a score `back` and all others 0, the second scores
# a place by `match` times the likeness of what the first brought there to the query. Only these two numbers and the
# classifier learn. Does such a network behave like the whole one?

# %%
small = interp.replications.two_parameters(
    source, tests, steps=STEPS, lr=recipe.lr, checkpoints=recipe.checkpoints, seeds=SEEDS
)
draw_curves(
    small,
    ["icl", "iwl", "labels in context", "previous token", "matching label"],
    title="Attention by two parameters",
)
print("back and match, as learned:", small.metadata["parameters"])

# %%
ends = curves.values[:, 0].mean(0), curves.values[:, -1].mean(0)
part = {
    m: [a + f * (b - a) for f in (0.1, 0.5)] for m, a, b in zip(curves.coords["measure"], *ends)
}
back, match = "previous token", "matching label"
both = [c.sel(step=STEPS, measure="icl").mean("seed") for c in (small, curves)]
v_measures = measures.judge(
    {
        "precedes": training_time_between(curves, (back, part[back][0]), ("icl", low)),
        "two parameters": emulates.judge(ratio_of_means(*both)),
    },
    gate=(able, enough),
    note="'two parameters' has its own threshold: at least 0.9 of the network's ICL",
)
print(v_measures, *(f"{name}: {v.measured}" for name, v in v_measures.parts), sep="\n")

# %% [markdown]
# The two numbers do all that the whole attention does, 1.01 of its ICL, with the same two numbers in each seed. They stay small, though:
# never half as much attention on the matching label as in the network; the classifier reads the answer off a soft mixture. And attention to the
# token before, the progress measure, makes the first tenth of its way after ICL does, not 5 % of training earlier.
#
# ## One after the other?
#
# The paper explains the jump by three logits that are learned in turn, each of use only when the one before is there: naming
# a label of the context, looking at the token before, looking at the match. When has each made half its own way?

# %%
half = {m: (m, part[m][1]) for m in ("labels in context", back, match, "icl")}
first = gate(
    "labels in context before the token before",
    training_time_between(curves, half["labels in context"], half[back]),
    at_least=0.05,
)
v_nested = nested.judge(
    {
        f"seed {s}": training_time_between(curves.sel(seed=[s]), half[back], half[match])
        for s in SEEDS
    },
    gate=(able, enough),
    provided=first,
)
print(first, v_nested, *(f"{name}: {v.measured}" for name, v in v_nested.parts), sep="\n")
for m in half:
    print(
        f"{m:18} half way after {training_time_between(curves, ('icl', 0.0), half[m])}"
        " of training; in the "
        f"two-parameter network after {training_time_between(small, ('icl', 0.0), half[m])}"
    )

# %% [markdown]
# Labels of the context come first, clearly. Then the order is the other one, in every seed: attention to the matching label is half way
# by a twentieth of the training before attention to the token before. It can be: a little of the item before is enough for a match.
#
# ## Verdicts

# %%
verdicts(
    "18-abrupt-icl", [v_data, v_abrupt, v_mechanism, v_measures, v_nested], model=MODEL, fast=FAST
)

# %% [markdown]
# ## Try it
#
# Below: does a network that reads the context also know labels by heart? Then give each class twice (`burstiness=2`), fewer classes
# (`classes=128`), or common and rare ones (`alpha=1.0`), and see which of the two it learns. A first head held to the token
# before: `Intervention("L0H0.pattern", interp.edits.force_attention(...))`.

# %%
toys.accuracy_on(tests)(model)

# %% [markdown]
# ## What did not reproduce
#
# - **The rise is not abrupt enough, and there is hardly a plateau.** A third of the training, where a quarter was allowed, after a time at
#   guessing too short to count. Both are shares of the training, so they depend on how long one trains: in twice the steps the rise
#   would pass and the plateau be shorter still. Adam at 0.002 is fast; the paper trains with SGD (from memory, not checked), which we found
#   too slow to repeat here.
# - **Attention to the token before does not precede ICL.** It follows it. A better measure may: what is compared here is a tenth of
#   the way of each, and a head that looks back only a little may already be of use.
# - **Two parameters emulate the result, not the sharp heads**: about 2.3 and 2.1, with an attention that stays soft.
# - **The three logits** are judged on attention, half way, not on the logits of the paper's own model; "sequential" is our reading of it.
# - Not tried for lack of time: each class twice, fewer classes, skewed classes, and training with the first head clamped.
# - FAST trains one seed for 1,500 steps: it decides the two claims about the end of training, none of those about times.
