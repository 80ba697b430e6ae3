# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # When does an attention sink emerge?
#
# Paper: Gu et al. 2025, "When Attention Sink Emerges in Language Models: An Empirical View", arXiv 2410.10781
#
# Found: three quarters of SmolLM2's heads rest on the first token of any text, and none when one token is repeated; in small models the sink grows with training and follows the fixed token, but a key bias only delays it, and with sigmoid attention a weak one is left (0.30 of the attention against 0.52)
#
# In SmolLM2-135M three quarters of the heads rest on the first token, whatever it is: of prose, of code, of random
# tokens. Of one token repeated 64 times, none does. What they find there is a value a quarter as long as the others'. In a small
# transformer the sink grows with training, more slowly at a tenth of the learning rate, and stands wherever the fixed token stands.
# But a key bias without a value only delays it while there is a `<bos>` to rest on, and with sigmoid attention a weak sink is
# left, which crosses the line in one seed of three.

# %% [markdown]
# ## What the paper says, and what would count here
#
# The paper's measure: a position's *importance* for a head is the mean attention it receives from itself and the tokens
# after it; the sink rate is the share of heads for which it is above 0.3, in texts of 64 tokens. The thresholds were
# fixed before anything was measured.
#
# The first half asks SmolLM2. The second trains small transformers, where one part can be changed at a time. The paper's
# are far larger and train far longer; in our budget a small model of plain text grew no sink, so the
# text is Bigram-Backcopy (notebook 11): by bigrams, but after one of the three most frequent characters the character before
# it comes again. A first token that means nothing (`<bos>`) leads. One layer, one head, 32 tokens; three seeds, and
# the intervals are over seeds.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from dataclasses import replace
from functools import partial

import numpy as np
import torch

import interp
from interp import Intervention, toys
from interp.edits import remove_sink, zero
from interp.studies import Claim, gate, measured, rank_correlation, share_of_cells, verdicts

PAPER = "Gu et al. 2025, abstract"
REPO = "the paper's repository"

# %%
universal = Claim(
    "universal",
    says=(
        "Attention sinks exist universally in language models, with various inputs, even in small "
        "models"
    ),
    paper="all models looked at",
    source=PAPER,
    metric="sink rate of the first token at least 0.5, and of every other position below 0.1",
    holds=0.5,
    null=0.0,
    control="the highest rate of any other position",
    parts=("prose", "code", "random tokens"),
    needs=(3, 1),
)
repeated = Claim(
    "repeated-token",
    says="One token repeated has no sink in some models",
    paper="LLaMA-2-7B: 92.5 % of heads in text, 0 % (from memory, not checked)",
    source=REPO,
    metric="sink rate of the first of 64 equal tokens, no first token of the tokenizer before it",
    direction="<=",
    holds=0.05,
    partly=0.4,
    null=1.0,
    control="random tokens",
)
emerges = Claim(
    "emerges",
    says="The sink emerges during effective optimisation; with a small learning rate it is weaker",
    paper="curves over training",
    source=REPO,
    metric=(
        "rank correlation of step and importance of the first token, at least 0.8; importance "
        "less that at a tenth of the learning rate, at least 0.1"
    ),
    holds=0.8,
    null=0.0,
    control="none",
    parts=("grows with steps", "weaker at a tenth of the rate"),
    needs=(2, 1),
    varies="trained",
)
slower = replace(emerges, holds=0.1, parts=(), needs=None)
moves = Claim(
    "position",
    says="Where the sink is depends on the data: it moves with a fixed token",
    paper="moves to where the token is fixed",
    source=REPO,
    metric="importance of the fixed token's position less the highest of the others",
    holds=0.1,
    null=0.0,
    control="none",
    parts=("fixed at 1", "fixed at 2", "fixed at 3"),
    needs=(3, 1),
    varies="trained",
)
bias = Claim(
    "key-bias",
    says="The sink acts like a key bias: much attention, next to no value",
    paper="a learned key bias takes the sink away from tokens",
    source=PAPER,
    metric=(
        "norm of the first token's value over the median of the others', at most 0.3; its "
        "importance with a key bias that has no value over that without, at most 1/3"
    ),
    direction="<=",
    holds=0.3,
    null=1.0,
    control="none",
    parts=("value of the first token", "importance with a key bias"),
    needs=(2, 1),
)
third = replace(bias, holds=1 / 3, parts=(), needs=None, varies="trained")
unnormalised = Claim(
    "sigmoid",
    says="Sigmoid attention without normalisation has no sinks",
    paper="none up to 1B parameters",
    source=PAPER,
    direction="<=",
    metric=(
        "share of heads with importance (rows divided by their sum) above 0.3; and the loss is at "
        "most 0.05 nats above softmax's"
    ),
    holds=0.05,
    partly=1 / 3,
    control="softmax",
    varies="trained",
)

# %% [markdown]
# ## SmolLM2: text, code, random tokens, one token
#
# 64 tokens each. The tokenizer's first token is left out: whatever stands first has to serve.

# %%
model, n = interp.load(MODEL), 4 if FAST else 16
draw = torch.Generator().manual_seed(0)
inputs = {
    name: interp.texts.chunks(model, corpus, length=65, n=n)[:, 1:]
    for name, corpus in (("prose", interp.texts.prose()), ("code", interp.texts.code()))
}
inputs["random tokens"] = torch.randint(200, model.cfg.d_vocab, (n, 64), generator=draw)
inputs["one token, 64 times"] = torch.randint(
    200, model.cfg.d_vocab, (n, 1), generator=draw
).expand(-1, 64)
got = {
    name: interp.methods.attention.attention_received(model, tokens)
    for name, tokens in inputs.items()
}
rates = np.stack([(g.values > 0.3).mean((0, 1)) for g in got.values()])  # [input pos]
interp.plots.lines(
    rates[:, :32],
    range(32),
    x_name="position",
    title="Share of heads for which a position is a sink",
    unit="share of heads",
    names=list(got),
)
# %%
first = {name: share_of_cells(g.sel(pos=0), above=0.3) for name, g in got.items()}
other = {
    name: share_of_cells(g.sel(pos=1 + int(r[1:].argmax())), above=0.3)
    for (name, g), r in zip(got.items(), rates)
}
alone = {
    name: gate(
        f"share of heads without another sink ({name})",
        measured([1 - other[name].value] * 2),
        at_least=0.9,
    )
    for name in universal.parts
}
one = replace(universal, parts=(), needs=None)
v_universal = universal.judge(
    {
        name: one.judge(first[name], control=other[name], provided=alone[name])
        for name in universal.parts
    }
)
v_repeated = repeated.judge(first["one token, 64 times"], control=first["random tokens"])
print(
    v_universal,
    v_repeated,
    *(f"{name}: {first[name]}, highest other {other[name]}" for name in first),
    sep="\n",
)

# %% [markdown]
# The first token is a sink for about three quarters of the heads, even when it was drawn at random; no other position
# is one for more than 6 % (and those are among the last, which few queries see; the figure ends at 32). Repeat one token and nothing is left: every position then has the same content, and content is
# what marks the first one.
#
# ## What the first token carries
#
# The length of its key, of its value and of its stream, over the median of the other positions, by layer:

# %%
norms = {
    name: interp.methods.attention.activation_norms(model, inputs["prose"], where)
    for name, where in (("value", "L*KV*.v"), ("key", "L*KV*.k"), ("stream", "resid_post.*"))
}
over = {
    name: np.log10(r.examples.take(0, -2) / np.median(r.examples[..., 1:, :], -2)).mean(-1)
    for name, r in norms.items()
}
by_layer = np.stack([x.reshape(len(x), -1).mean(1) for x in over.values()])
interp.plots.lines(
    by_layer,
    range(by_layer.shape[1]),
    x_name="layer",
    title="The first token: long stream, short value",
    unit="log10 of the ratio",
    names=list(over),
)
# %%
value = norms["value"].examples
short = measured(
    np.median(value[:, :, 0] / np.median(value[:, :, 1:], 2), (0, 1))
)  # [prompt]: the median KV head
print("norm of the first token's value over the others':", short)
plain = interp.methods.text.cross_entropy(model, inputs["prose"])
for name, edits in (
    ("values of the first token zero", [Intervention("L*KV*.v@0", zero())]),
    ("no attention to it", [Intervention("L*H*.pattern", remove_sink())]),
):
    edited = interp.methods.text.cross_entropy(model, inputs["prose"], edits)
    print(f"{name}: loss {measured((edited - plain).examples)} above {plain.values:.2f}")

# %% [markdown]
# From layer 11 on the stream of the first token is a hundred times as long as any other, and before, in layers 2 to 8, ten times.
# Where it is long, its value is short: a quarter of the others'. Only in layers 10 and 11, where no head rests on it (last figure), is it not.
# That does not make it dispensable. Handing its attention on to the others costs 0.1 nats. Setting its values to zero costs 0.7; the first token
# can read nothing but itself, so this changes its own stream, too, by which it is known.
#
# ## A sink emerges in a small transformer
#
# Importance of the first token over training, by seed; and with a tenth of the learning rate.

# %%
seeds, steps = [0, 1, 2], 200 if FAST else 600
options = dict(
    steps=steps,
    batch=32,
    lr=0.01,
    weight_decay=1e-4,
    warmup=20,
    checkpoints=[1, 3, 10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 600, 1000, 1500],
)
recipe = toys.Recipe(
    "backcopy", data="bigram_backcopy", data_options={"n_ctx": 32}, model={"n_layers": 1}, **options
)
changes = {
    "softmax": {},
    "tenth of the rate": {"lr": 1e-3},
    "key bias": {"model": {"key_bias": True}},
    "sigmoid": {"model": {"attention": "sigmoid"}},
    **{f"fixed at {k}": {"data_options": {"bos_at": k}} for k in (1, 2, 3)},
}
runs = {
    name: toys.train_seeds(recipe.but(**change), seeds, processes=1 if FAST else 2)
    for name, change in changes.items()
}

# %%
batches = {
    name: each[0].source.batch(64, torch.Generator().manual_seed(0), "heldout")
    for name, each in runs.items()
}
grown = {
    name: toys.over_training(
        each,
        partial(
            interp.methods.attention.attention_received, task=batches[name].inputs, to_one=True
        ),
    ).sel(layer=0, head=0)
    for name, each in runs.items()
}
end = {name: g.sel(step=steps).values for name, g in grown.items()}  # [seed pos]

# %% tags=["cover"]
shown = ["softmax", "tenth of the rate", "key bias", "sigmoid"]
curves = np.stack([grown[name].sel(pos=0).values for name in shown])  # [name seed step]
interp.plots.lines(
    curves.mean(1),
    grown["softmax"].coords["step"],
    x_name="training step (log spaced)",
    title="When the first token becomes a sink",
    unit="importance of the first token",
    names=shown,
    interval=(curves.min(1), curves.max(1)),
    band="three seeds",
)
# %%
curve = grown["softmax"].sel(pos=0)
v_emerges = emerges.judge(
    {
        "grows with steps": measured(
            [rank_correlation(curve.coords["step"], one).value for one in curve.values]
        ),
        "weaker at a tenth of the rate": slower.judge(
            measured(end["softmax"][:, 0] - end["tenth of the rate"][:, 0])
        ),
    },
    note="'weaker' has its own threshold, 0.1",
)
print(v_emerges, *(f"{name}: {v.measured}" for name, v in v_emerges.parts), sep="\n")

# %% [markdown]
# The sink forms within a hundred steps or so and goes on growing. At a tenth of the learning rate it is weaker after as
# many steps, by 0.10: just over the threshold, and the interval reaches well below it.
#
# ## It moves with the fixed token
#
# The same text, but `<bos>` stands at position 1, 2 or 3 in every row.

# %%
moved = np.stack([end[f"fixed at {k}"].mean(0) for k in (1, 2, 3)])
interp.plots.lines(
    moved[:, :24],
    range(24),
    x_name="position",
    title="Importance by position, <bos> at 1, 2 or 3",
    unit="importance (mean of seeds)",
    names=[f"<bos> at {k}" for k in (1, 2, 3)],
)
lead = {
    f"fixed at {k}": end[f"fixed at {k}"][:, k]
    - np.delete(end[f"fixed at {k}"][:, :24], k, 1).max(1)
    for k in (1, 2, 3)
}
v_moves = moves.judge(
    {name: measured(x) for name, x in lead.items()},
    note="among the first 24 positions: the last ones are seen by few queries",
)
print(v_moves, *(f"{name}: {v.measured}" for name, v in v_moves.parts), sep="\n")

# %% [markdown]
# The sink follows `<bos>` in every case, most clearly at position 1. Further in, part of the attention stays with the position
# before it in some seeds: there is some text by then that a head can look at, and the queries before `<bos>` have no sink at all.
#
# ## A key with no token, and sigmoid attention

# %%
loss = {
    name: toys.over_training(runs[name], toys.loss_on(batches[name]), steps=[steps])
    .sel(step=steps, slice="all")
    .values
    for name in shown
}
v_bias = bias.judge(
    {
        "value of the first token": short,
        "importance with a key bias": third.judge(
            measured(end["key bias"][:, 0] / end["softmax"][:, 0])
        ),
    },
    note="the value is SmolLM2's, the key bias the small model's",
)
alike = gate(
    "0.05 nats less what its loss is above softmax's",
    measured(0.05 - (loss["sigmoid"] - loss["softmax"])),
    at_least=0,
)
rate = {name: measured((end[name][:, 0] > 0.3).astype(float)) for name in ("sigmoid", "softmax")}
v_sigmoid = unnormalised.judge(rate["sigmoid"], control=rate["softmax"], provided=alike)
print(v_bias, *(f"{name}: {v.measured}" for name, v in v_bias.parts), v_sigmoid, sep="\n")
raw = (
    toys.over_training(
        runs["sigmoid"],
        partial(interp.methods.attention.attention_received, task=batches["sigmoid"].inputs),
        steps=[steps],
    )
    .sel(pos=0)
    .values.ravel()
)
print(
    *(
        f"{name}: importance by seed {end[name][:, 0].round(2)}, loss {loss[name].mean():.3f}"
        for name in shown
    ),
    f"sigmoid, undivided: {raw.round(2)}",
    sep="\n",
)

# %% [markdown]
# The key bias slows the sink down (0.28 against 0.39 after 200 steps in the figure above), but after 600 steps `<bos>`, a token in
# every row, has as much as without it. With sigmoid attention the first token has 0.28, 0.32 and 0.29 by seed, against 0.52 with softmax: one seed
# in three is above 0.3, and the loss is 0.051 above softmax's where 0.05 was allowed. Both misses are narrow, and three seeds cannot tell.
#
# ## Verdicts

# %%
verdicts(
    "10-when-sinks-emerge",
    [v_universal, v_repeated, v_emerges, v_moves, v_bias, v_sigmoid],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## Try it
#
# Other parts: `recipe.but(model={"attention": "sigmoid_norm"})`, `weight_decay=1.0`, `model={"qk_norm": True}`. Where do the heads
# of SmolLM2 have their sinks? Below, in prose.

# %%
got["prose"].sel(pos=0).plot(title="Importance of the first token, by head")

# %% [markdown]
# ## What did not reproduce
#
# - **A key bias does not take the sink away.** In the paper's models the first token is any word, and the bias is the
#   only thing that is there in every text. Here `<bos>` is, from the first step on. The paper's case is a text without one.
# - **Sigmoid attention has a weak sink.** Its verdict hangs on one seed (0.32) and is the other way round in the short run (FAST, 200 steps).
#   Dividing the rows by their sum is not what makes it: the undivided weights are 0.39, 0.27 and 0.34. Longer training
#   may raise it or not; the curve was still rising. That it is weaker than with softmax holds in each seed.
# - **Narrow passes.** The learning rate's effect (0.104 against 0.1) could fall either way with other seeds; in the short run
#   the sink with `<bos>` at position 3 has not formed in every seed, and "position" holds partly there.
# - **A small model of plain text grew no sink in our budget.** Two layers of four heads, 64 wide, 600 steps on characters of the
#   bundled prose (one seed, outside this notebook): no head gave the first token more than 0.2, and even attention gives 0.13. So the
#   small models here read Bigram-Backcopy, where a sink is certain, and speak for that data alone.
# - **Sizes were chosen on trials with seed 0**, one of the three judged: attention alone, without an MLP (which weakens the sink), and the learning
#   rate. The thresholds were not touched.
# - **Left out for time:** weight decay, sigmoid with normalised rows, prefix language models, models without a fixed first token.
# - The learning rates are 0.01 and 0.001: small models bear more. Three seeds give rough intervals.
# - SmolLM2's weights were stored in four bits and unpacked, so numbers may differ a little from the original model's.
