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
# **The question.** Many heads of a language model spend most of their attention on the first token, whatever that token is. It carries
# next to no information, so why look there? And when in training does the habit form?
#
# **How we look.** First we measure the sink in SmolLM2, on text, on code, on random tokens and on one token repeated. Then we
# train small transformers, where one thing can be changed at a time: the learning rate, the place of the one
# fixed token, and the kind of attention.
#
# **What we found.** In SmolLM2 the first token is a sink for about three quarters of the heads, whether the text is prose, code or random tokens;
# if one token is repeated 64 times, there is no sink at all. What the heads find there is a value a quarter as long as the others', so the sink
# does act like a resting place. In small transformers it forms within a hundred steps and moves with the fixed token, though it is weaker away from the start. Sigmoid
# attention leaves about a quarter of the sinks that softmax has (4 of 40 heads against 15), though with so few heads that share is rough. Without a fixed first token our small models grow no sink, so whether a key bias would
# take it away could not be tested.
#
# 8 minutes · beginner · you should know what an attention pattern is

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from functools import partial

import numpy as np
import torch

import interp
from interp import Intervention, toys
from interp.edits import remove_sink, zero
from interp.methods.attention import activation_norms, attention_received
from interp.studies import (
    converged,
    gate,
    load_claims,
    measured,
    rank_correlation,
    ratio_of_means,
    share_of_cells,
    verdicts,
)

BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
LIGHT, YELLOW, GREY = "#56b4e9", "#e69f00", "#777777"

# %% [markdown]
# ## SmolLM2 on four kinds of input
#
# The *importance* of a position for a head is the mean attention it receives from itself and from all later tokens. The position is a
# *sink* of the head if its importance is above 0.3, in texts of 64 tokens. These definitions are the authors'. The special token `<|im_start|>`,
# with which prompts begin in the other notebooks, is left out here, so whatever comes first has to serve.
#
# *Before you run the next cell: for what share of the heads is the first token a sink, in prose? If the tokens are random? If all 64 tokens are
# the same?*

# %% tags=["cover"]
model, n = interp.load(MODEL), 4 if FAST else 16
draw = torch.Generator().manual_seed(0)
inputs = {
    "prose": interp.texts.chunks(model, interp.texts.prose(), length=65, n=n)[:, 1:],
    "code": interp.texts.chunks(model, interp.texts.code(), length=65, n=n)[:, 1:],
    "random tokens": torch.randint(200, model.cfg.d_vocab, (n, 64), generator=draw),
    "one token, 64 times": torch.randint(200, model.cfg.d_vocab, (n, 1), generator=draw),
}
inputs["one token, 64 times"] = inputs["one token, 64 times"].expand(-1, 64)
received = {name: attention_received(model, tokens) for name, tokens in inputs.items()}
first = {name: share_of_cells(r.sel(pos=0), above=0.3) for name, r in received.items()}
interp.plots.bars(
    [one.value for one in first.values()],
    list(first),
    interval=([one.low for one in first.values()], [one.high for one in first.values()]),
    unit="share of heads",
    title="Heads of SmolLM2 whose sink is the first token",
).set_ylim(0, 1)
# %% [markdown]
# Three quarters of the heads, and the content hardly matters: random tokens do as well as prose. But when all tokens are equal the sink is gone.
# Every position then has the same content, and it must be the content that marks the first token, not its place alone.
#
# ## The claims

# %%
claims = load_claims("10-when-sinks-emerge")
claims

# %%
rates = {name: (r.values > 0.3).mean((0, 1)) for name, r in received.items()}  # [pos]
others, alone = {}, []
for name in claims["universal"].parts:
    second = 1 + int(rates[name][1:].argmax())
    others[name] = share_of_cells(received[name].sel(pos=second), above=0.3)
    alone.append(
        gate(
            f"share of heads without another sink ({name})",
            measured([1 - others[name].value] * 2),
            at_least=0.9,
        )
    )
v_universal = claims["universal"].judge(
    {name: first[name] for name in others}, control=others, provided=alone
)
v_repeated = claims["repeated-token"].judge(
    first["one token, 64 times"], control=first["random tokens"]
)
for name in others:
    print(f"{name}: first token {first[name]}, highest other position {others[name]}")
print(v_universal, v_repeated, sep="\n")

# %% [markdown]
# ## What the first token carries
#
# How long are the first token's key, value and residual stream, compared with the median of the other positions?

# %%
sites = {"value": "L*KV*.v", "key": "L*KV*.k", "stream": "resid_post.*"}
norms = {name: activation_norms(model, inputs["prose"], site) for name, site in sites.items()}
over = {
    name: r.examples.take(0, -2) / np.median(r.examples[..., 1:, :], -2)
    for name, r in norms.items()
}
by_layer = [np.exp(np.log(x).reshape(len(x), -1).mean(1)) for x in over.values()]
interp.plots.lines(
    by_layer,
    range(len(by_layer[0])),
    placed=True,
    log="y",
    guide=(np.ones(len(by_layer[0])), "as long as the others"),
    names=list(over),
    colours=[LIGHT, YELLOW, GREY],
    x_name="layer",
    unit="times the others' length",
    title="Length of the first token's value, key and stream",
)
# %%
values = norms["value"].examples
ratio = np.median(values[:, :, 0] / np.median(values[:, :, 1:], 2), (0, 1))  # [prompt]
v_short = claims["short-value"].judge(measured(ratio))
plain = interp.methods.text.cross_entropy(model, inputs["prose"])
edits = {
    "its values set to zero": Intervention("L*KV*.v@0", zero()),
    "no attention to it": Intervention("L*H*.pattern", remove_sink()),
}
print(v_short, f"loss on prose {plain.values:.2f}", sep="\n")
for name, edit in edits.items():
    edited = interp.methods.text.cross_entropy(model, inputs["prose"], [edit])
    print(f"{name}: loss rises by {measured((edited - plain).examples)}")

# %% [markdown]
# The stream in the first token is more than a hundred times as long as the others' in layers 11 to 19 and falls to six times at the end; in layers 2 to 8 it
# is five to ten times as long. There the value is short, a quarter of the others' length or so. That does not make the sink dispensable: handing its
# attention on to the other tokens raises the loss a little (0.11 nats), and setting its values to zero costs more (0.72). A possible reason for the second,
# not tested: the first token can read nothing but itself, so its own values help to make the long stream by which heads recognise it.
#
# ## Small transformers, where one thing changes at a time
#
# The text is Bigram-Backcopy (study 11): characters follow bigrams, but after one of the three most frequent characters, the character before it
# comes again. A head is needed for the copying and for nothing else, so it wants a place to rest in between.
#
# | | the authors | here |
# | --- | --- | --- |
# | model | LLaMA-like, about 60M parameters and more | 2 layers of 4 heads, 64 wide, attention only |
# | data | web text, packed; a first token is optional | Bigram-Backcopy, with a fixed `<bos>` or without |
# | training | thousands of steps | 600 steps of 32 rows of 64 tokens, rate 0.01 |
# | repeats | one run each | 5 seeds (softmax, sigmoid), 3 for the rest |
# | a sink | importance above 0.3 in 64 tokens | the same |

# %%
STEPS = 100 if FAST else 600
recipe = toys.Recipe(
    "backcopy",
    data="bigram_backcopy",
    data_options={"n_ctx": 64},
    model={"n_layers": 2, "n_heads": 4, "d_model": 64},
    steps=STEPS,
    batch=32,
    lr=0.01,
    weight_decay=1e-4,
    warmup=20,
    checkpoints=[1, 3, 10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 600],
)
changes = {
    "softmax": {},
    "sigmoid": {"model": {"attention": "sigmoid"}},
    "a tenth of the rate": {"lr": 1e-3},
    "no first token": {"data_options": {"bos_at": None}},
    **{f"fixed at {k}": {"data_options": {"bos_at": k}} for k in (1, 2, 3)},
}
SEEDS = {"softmax": range(2 if FAST else 5), "sigmoid": range(2 if FAST else 5)}
few = range(2 if FAST else 3)
runs = {
    name: toys.train_seeds(recipe.but(**change), SEEDS.get(name, few), processes=1)
    for name, change in changes.items()
}

# %%
batches = {
    name: each[0].source.batch(64, torch.Generator().manual_seed(0), "heldout")
    for name, each in runs.items()
}
grown = {
    name: toys.over_training(
        each, partial(attention_received, task=batches[name].inputs, to_one=True)
    )
    for name, each in runs.items()
}
names = ["softmax", "a tenth of the rate", "sigmoid", "no first token"]
curves = [grown[name].sel(pos=0).values.mean((2, 3)) for name in names]  # [seed step]
steps = grown["softmax"].coords["step"]
interp.plots.lines(
    [c[:, 1:].mean(0) for c in curves],
    steps[1:],
    log="x",
    names=names,
    colours=[BLUE, GREEN, ORANGE, PINK],
    interval=[[end(c[:, 1:], 0) for c in curves] for end in (np.min, np.max)],
    band="lowest to highest seed",
    x_name="training step",
    unit="importance, mean over heads",
    title="Attention on the first token while small models train",
)
# %% [markdown]
# With a fixed first token and softmax, the sink is there within the first hundred steps and grows slowly afterwards. At a tenth of the learning
# rate it comes later and is weaker (by 0.08 at the end; we had asked for 0.1). Sigmoid attention gives the first token half as much. Without a fixed
# first token nothing forms: the pink line begins where even attention would be (0.07) and falls to 0.05. One run of 3,000 steps, outside this notebook,
# showed no sink either.

# %%
at = {name: dict(zip(names, curves))[name] for name in names}
rises = [rank_correlation(steps, one).value for one in at["softmax"]]
slower = at["softmax"][: len(few), -1] - at["a tenth of the rate"][:, -1]
v_emerges = claims["emerges"].judge(
    {"grows with steps": measured(rises), "weaker at a tenth of the rate": measured(slower)}
)
print(v_emerges, *(f"{name}: {v.word}, {v.measured}" for name, v in v_emerges.parts), sep="\n")

# %% [markdown]
# ## Does the sink follow the fixed token?
#
# The same text, but `<bos>` stands at position 1, 2 or 3 of every row.

# %%
moved = {k: grown[f"fixed at {k}"].values.mean((2, 3))[..., :24] for k in (1, 2, 3)}
interp.plots.lines(
    [moved[k][:, -1].mean(0) for k in moved],
    range(24),
    placed=True,
    names=[f"<bos> at {k}" for k in moved],
    colours=["#222222", "#7f7f7f", "#b8b8b8"],
    x_name="position",
    unit="importance, mean over heads",
    title="Attention by position when <bos> stands at 1, 2 or 3",
)


# %%
def lead(k, step):
    """Importance of position k minus the highest of the other first 24 positions, by seed."""
    by_position = moved[k][:, steps.index(step)]
    return by_position[:, k] - np.delete(by_position, k, 1).max(1)


settled = [
    converged(lead(k, STEPS), lead(k, STEPS // 2), within=0.1, name=f"lead of position {k}")
    for k in moved
]
v_moves = claims["position"].judge(
    {f"fixed at {k}": measured(lead(k, STEPS)) for k in moved}, gate=settled
)
print(v_moves, *settled, sep="\n")
print(*(f"{name}: {v.word}, {v.measured}" for name, v in v_moves.parts), sep="\n")

# %% [markdown]
# The attention moves with `<bos>` to each of the three positions, in every case to the position where the token stands. It is weaker there than at position 0, about
# half as much on average over the heads: the queries before `<bos>` cannot see it, and some heads keep a part of their attention on the first position (in one seed
# with `<bos>` at position 2, most of it).
# The lead over every other position is 0.06 to 0.08. Our threshold was 0.1, so this is partly what the paper says.

# %%
rate = {name: (grown[name].sel(pos=0).values > 0.3) for name in ("softmax", "sigmoid")}
of_none = (grown["no first token"].sel(pos=0).values[:, -1] > 0.3).mean((1, 2))
sink = gate("share of heads with a sink, no first token", measured(of_none), at_least=0.3)
v_bias = claims["key-bias"].judge(
    None, gate=sink, note="without a sink there is nothing that a key bias could take away"
)
half = steps.index(STEPS // 2)
still = [
    converged(
        rate[name][:, -1].mean((1, 2)), rate[name][:, half].mean((1, 2)), within=0.125, name=name
    )
    for name in rate
]
loss = {
    name: toys.over_training(runs[name], toys.loss_on(batches[name]), steps=[STEPS])
    .sel(step=STEPS, slice="all")
    .values
    for name in rate
}
alike = gate(
    "0.05 nats minus what the loss is above softmax's",
    measured(0.05 - (loss["sigmoid"] - loss["softmax"])),
    at_least=0,
)
sinks = gate(
    "share of heads with a sink, softmax",
    measured(rate["softmax"][:, -1].mean((1, 2))),
    at_least=0.1,
)
v_sigmoid = claims["sigmoid"].judge(
    ratio_of_means(rate["sigmoid"][:, -1].ravel(), rate["softmax"][:, -1].ravel()),
    gate=[sinks, *still],
    provided=alike,
)
for name in rate:
    heads = rate[name][:, -1]
    print(f"{name}: {heads.sum()} of {heads.size} heads have a sink, loss {loss[name].mean():.3f}")
print(v_bias, v_sigmoid, *still, sep="\n")

# %% [markdown]
# Without a fixed first token there is no sink to explain, so the key bias has nothing to take away and the claim is not testable here. (With
# `<bos>` in every row the model rests on `<bos>` whether or not it has a key bias, which says nothing about the paper's case.) Sigmoid attention
# reduces the sinks from 15 of 40 heads to 4, at a slightly higher loss. The paper finds none at all, so the claim holds partly. It is a narrow
# verdict: the interval of that share runs from 0.05 to 0.73, so another run may well say *does not hold*.
#
# ## Verdicts

# %%
verdicts(
    "10-when-sinks-emerge",
    [v_universal, v_repeated, v_short, v_emerges, v_moves, v_bias, v_sigmoid],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - A sink is where attention goes when a head has nothing to do. It is recognised by its content, and its value is short so that it does no harm.
# - The place is not special. Where one token stands in every text, attention collects there.
# - Softmax makes rows sum to one. Take that away and most of the sinks go, too.
# - The first position of a language model's activations is in a class of its own: leave it out of means, norms and dictionaries.
#
# ## Try it
#
# Other parts: `recipe.but(model={"attention": "sigmoid_norm"})`, `weight_decay=1.0`, `model={"qk_norm": True}`. Which heads of
# SmolLM2 have the sink? Below, in prose, by layer and head:

# %%
received["prose"].sel(pos=0).plot(title="Importance of the first token in prose, by head")

# %% [markdown]
# ## What did not reproduce, and what we cannot say
#
# - **A key bias could not be tested.** It needs a sink that forms without a fixed token, and in our budget none did (three seeds of 600 steps and one
#   of 3,000).
# - **The effect of the learning rate is smaller than the threshold** when it is averaged over eight heads.
# - **Sigmoid leaves a few sinks** where the paper finds none. Dividing the rows by their sum, as our measure does, is not the paper's case of an
#   attention that is never normalised.
# - **The small models read Bigram-Backcopy,** where a resting place is useful by construction, and speak for that data alone. Sizes were chosen on
#   trials with seed 0.
# - **Left out for time:** weight decay, sigmoid with normalised rows, prefix language models.
# - SmolLM2's weights were stored in four bits and unpacked, so numbers may differ a little from the original model's.
# - **Chosen after a first look.** How near the number at half the steps must come to the last one was written down when parts of the curves had
#   been seen.
#
# ## Further reading
#
# - Gu et al. 2025, arXiv 2410.10781.
# - Xiao et al. 2024, "Efficient Streaming Language Models with Attention Sinks", arXiv 2309.17453.
# - Study 11 of this collection: what one such head does when it is not resting.
