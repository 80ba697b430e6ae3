# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Active-dormant heads: why a head rests on the first token
#
# Paper: Guo et al. 2024, "Active-Dormant Attention Heads: Mechanistically Demystifying Extreme-Token Phenomena in LLMs", arXiv 2410.13835
#
# Found: the one head rests on the first token where it has nothing to copy (0.90 of its attention) and leaves it at triggers, the value of that token shrinking to 0.31 of the others'; with ReLU there is no sink; no peak of the stream came in the steps we had, and no five heads of SmolLM2 change by 0.3 between prose and code
#
# Trained for seconds on text that needs one head now and then, the head gives 0.90 of its attention to the first token
# where it has nothing to do, and 0.90 less at triggers, where it looks at the token to be copied; the value of the first
# token shrinks to 0.31 of the others'. With ReLU in place of softmax there is no sink. What did not come: the stream of
# the first token does not grow in three layers (1.12 of the others', the claim asks for 5), so that SGD could not
# take the peak away. In SmolLM2 heads do rest more on the first token in one kind of text than in another, but the fifth
# largest difference between prose and code is 0.28 and not 0.3, and only 5 of the 8 heads cost more where they are active.

# %% [markdown]
# ## What the paper says, and what would count here
#
# The thresholds were fixed before anything was measured. In **Bigram-Backcopy** text every character follows the last
# one by bigrams, but after a *trigger* (one of the three most frequent characters) the character before it comes again.
# A head has work to do at triggers and none elsewhere. The paper's model has one layer and one head (256 wide, 256 tokens,
# 10,000 steps); ours is 64 wide, reads 32 tokens and trains for 1,500 steps of 32 rows, in seconds. Three seeds each; the
# intervals are over seeds.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from dataclasses import replace

import numpy as np
import torch

import interp
from interp import toys
from interp.studies import (
    Claim,
    gate,
    measured,
    quantile_of_cells,
    rank_correlation,
    share_of_cells,
    verdicts,
)

PAPER = "Guo et al. 2024, abstract"

# %%
extreme = Claim(
    "extreme-tokens",
    says=(
        "Transformers with one to three layers trained on Bigram-Backcopy show the extreme-token "
        "phenomena"
    ),
    paper="attention sinks, value-state drains, residual-state peaks",
    source=PAPER,
    control="the untrained model",
    metric="sink: attention to the first token where the head idles, at least 0.7; drain: norm of "
    "its value over the others', at most 0.4; "
    "peak: norm of its stream over the others' in a three-layer model, at least 5",
    holds=0.7,
    null=0.0,
    parts=("sink", "drain", "peak"),
    needs=(3, 2),
    varies="trained",
)
drain = replace(extreme, holds=0.4, direction="<=", null=1.0, parts=(), needs=None)
peak = replace(extreme, holds=5, null=1.0, parts=(), needs=None)
switch = Claim(
    "active-dormant",
    says="Heads switch between an active and a dormant phase, by the input",
    paper="sink on non-triggers, active on triggers",
    source=PAPER,
    metric=(
        "less attention to the first token at triggers, at least 0.6; attention from a trigger to "
        "the token before it, at least 0.7"
    ),
    holds=0.6,
    null=0.0,
    control="the untrained model",
    parts=("leaves the sink", "looks back"),
    needs=(2, 1),
    varies="trained",
)
back = replace(switch, holds=0.7, parts=(), needs=None)
mutual = Claim(
    "mutual-reinforcement",
    says=(
        "Attention to the sink and the shrinking of its value drive each other: the score grows "
        "with the log of time"
    ),
    paper="proved for a simplified model",
    source=f"{PAPER}; log t: from memory, not checked",
    metric=(
        "from step 50 on: R2 of the first token's score, less the others', against log step; "
        "minus the rank correlation of its value's norm with the step"
    ),
    holds=0.9,
    null=0.0,
    control="none",
    parts=("score grows as log t", "value shrinks"),
    needs=(2, 1),
    varies="trained",
)
mitigated = Claim(
    "mitigated",
    says="ReLU in place of softmax, and SGD in place of Adam, mitigate the extreme-token phenomena",
    paper="ReLU: sink and drain; SGD: peak",
    source=f"{PAPER}; which mitigates which: from memory, not checked",
    metric=(
        "ReLU: attention to the first token at most 0.05, and its value's norm at least 0.8 of "
        "the others'; SGD: peak at most half of Adam's (testable where Adam's is at least 2)"
    ),
    holds=0.05,
    direction="<=",
    control="softmax",
    parts=("ReLU: sink", "ReLU: value", "SGD: peak"),
    needs=(3, 1),
    varies="trained",
)
kept = replace(mitigated, parts=(), needs=None, holds=0.8, direction=">=")
halved = replace(mitigated, parts=(), needs=None, holds=0.5, null=1.0, control="none")
domains = Claim(
    "domains",
    says="Heads of language models are active on one kind of text and dormant on another",
    paper="one head of Llama-2-7B (L16H25)",
    source=PAPER,
    metric=(
        "five heads whose attention to the first token differs by 0.3 or more between prose and "
        "code; ablation costs more where they are active, for 80 % of them"
    ),
    holds=0.3,
    partly=0.3,
    null=0.0,
    control="prose against the other half of the prose",
    parts=("differ", "matter where active"),
    needs=(2, 1),
)
matter = replace(domains, holds=0.8, partly=0.8, null=0.5, control="none", parts=(), needs=None)

# %% [markdown]
# ## The data and the model
#
# Attention alone, without an MLP: what a head adds where it has nothing to say then goes straight to the output.

# %%
seeds, steps, side_by_side = [0, 1, 2], 400 if FAST else 1500, dict(processes=1 if FAST else 2)
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
runs = toys.train_seeds(recipe, seeds, **side_by_side)
batch = runs[0].source.batch(64, torch.Generator().manual_seed(0), "heldout")
print("triggers:", [runs[0].source.characters[i] for i in runs[0].source.triggers_ids])

# %% [markdown]
# Did it learn to copy? The loss at triggers, where the next character is certain (nats):

# %%
loss = toys.over_training(runs, toys.loss_on(batch, ["trigger", "bigram"]), steps=[0, steps])
copied = loss.sel(slice="trigger")
able = gate(
    "nats won at triggers",
    measured((copied.sel(step=0) - copied.sel(step=steps)).values),
    at_least=1.0,
)
print(able)
print(
    "loss at triggers and elsewhere, by seed:",
    *(loss.sel(step=steps, slice=s).values.round(2) for s in ("trigger", "bigram")),
)

# %% [markdown]
# ## A sink forms
#
# Over training, on held-out text. *Dormant* places are those where the next character is drawn by bigrams; the head can
# say nothing about it.

# %% tags=["cover"]
found = toys.over_training(runs, toys.sinks_on(batch)).sel(layer=0)
names = ["dormant: to first", "active: to first", "active: to previous", "value ratio"]
curves = np.stack([found.sel(measure=name).values for name in names])
said = dict(
    x_name="training step",
    title="One head learns to rest on the first token",
    unit="share of attention (value ratio: norm)",
)
interp.plots.lines(
    curves.mean(1),
    found.coords["step"],
    names=names,
    interval=(curves.min(1), curves.max(1)),
    band="three seeds",
    **said,
)
# %%
end, start = (
    {name: found.sel(step=s, measure=name).values for name in found.coords["measure"]}
    for s in (steps, 0)
)
v_switch = switch.judge(
    {
        "leaves the sink": measured(end["dormant: to first"] - end["active: to first"]),
        "looks back": back.judge(
            measured(end["active: to previous"]), control=measured(start["active: to previous"])
        ),
    },
    control={"leaves the sink": measured(start["dormant: to first"] - start["active: to first"])},
    gate=able,
    note="'looks back' has its own threshold, 0.7",
)
print(v_switch, *(f"{name}: {v.word}, {v.measured}" for name, v in v_switch.parts), sep="\n")

# %% [markdown]
# At the end the head rests on the first token nine times out of ten where it idles, and hardly ever at a trigger. Its
# switch is the token it reads: the same head, the same text.
#
# ## Does the stream grow, too?
#
# A peak of the residual stream needs more layers. Three of them with MLPs, 256 wide; trained by Adam and, for later, by SGD.

# %%
deep = recipe.but(
    name="backcopy-deep",
    model={"n_layers": 3, "mlp": 256},
    batch=16,
    lr=3e-3,
    steps=150 if FAST else 400,
)
by = {"Adam": deep, "SGD": deep.but(name="backcopy-sgd", optimizer="sgd", momentum=0.9, lr=0.3)}
deeps = {
    name: toys.train_seeds(one, seeds[:2] if FAST else seeds, **side_by_side)
    for name, one in by.items()
}
grown = {name: toys.over_training(each, toys.sinks_on(batch)) for name, each in deeps.items()}
streams = {
    name: g.sel(measure="stream ratio").values.max(-1) for name, g in grown.items()
}  # [seed step], of the layer where it is highest
for name, each in deeps.items():
    print(
        f"{name}: loss {np.mean([run.losses[-50:].mean() for run in each]):.2f}; the first "
        f"token's stream over the others', by seed:",
        streams[name][:, -1].round(2),
    )
    print(
        "   its attention, by layer:",
        grown[name].sel(step=deep.steps, measure="dormant: to first").values.mean(0).round(2),
    )

# %%
v_extreme = extreme.judge(
    {
        "sink": measured(end["dormant: to first"]),
        "drain": drain.judge(measured(end["value ratio"]), control=measured(start["value ratio"])),
        "peak": peak.judge(
            measured(streams["Adam"][:, -1]), control=measured(streams["Adam"][:, 0])
        ),
    },
    control={"sink": measured(start["dormant: to first"])},
    gate=able,
    note="the parts have thresholds of their own, as in the metric",
)
print(v_extreme, *(f"{name}: {v.word}, {v.measured}" for name, v in v_extreme.parts), sep="\n")

# %% [markdown]
# Sink and drain are there. The peak is not: after 400 steps the stream of the first token is about as long as any other (1.12, and 1.46 before
# training), under Adam as under SGD. In three layers it is the first that does the copying, and its head rests on the first token a third of the time: with MLPs
# behind it, what the head adds where it idles can be muted later, and so costs less.
#
# ## Do the two drive each other?
#
# While the value shrinks, resting there costs less and less, and the score of the first token goes on growing. The
# paper's theory has it grow as log t.

# %%
late = [s for s in found.coords["step"] if s >= 50]
gap, value = (found.sel(step=late, measure=name).values for name in ("score gap", "value ratio"))
v_mutual = mutual.judge(
    {
        "score grows as log t": measured(
            [np.corrcoef(np.log(late), one)[0, 1] ** 2 for one in gap]
        ),
        "value shrinks": measured([-rank_correlation(late, one).value for one in value]),
    },
    gate=able,
)
print(v_mutual, *(f"{name}: {v.measured}" for name, v in v_mutual.parts), sep="\n")
said = dict(x_name="training step", title="Score of the first token less the others'", unit="score")
interp.plots.lines(gap, late, names=[f"seed {s}" for s in seeds], **said)
# %% [markdown]
# From step 75 on the value shrinks (rank correlation with the step: -0.98), and the score grows. But it does not follow log t as
# closely as the threshold asks: it hardly moves up to step 400, while the value falls most, and then rises faster than the log.
#
# ## Without softmax, without Adam
#
# ReLU attention can give nothing to anybody, so it needs no place to rest.

# %%
at = min(steps, 600)
relus = toys.train_seeds(
    recipe.but(name="backcopy-relu", model={"attention": "relu"}, steps=at), seeds, **side_by_side
)
flat = toys.over_training(relus, toys.sinks_on(batch)).sel(layer=0, step=at)
copies = (
    toys.over_training(relus, toys.loss_on(batch, ["trigger"]), steps=[at])
    .sel(step=at, slice="trigger")
    .values
)
peaked = gate("peak under Adam", measured(streams["Adam"][:, -1]), at_least=2)
ratio = streams["SGD"][:, -1] / streams["Adam"][:, -1]
v_mitigated = mitigated.judge(
    {
        "ReLU: sink": measured(flat.sel(measure="dormant: to first").values),
        "ReLU: value": kept.judge(
            measured(flat.sel(measure="value ratio").values), control=measured(end["value ratio"])
        ),
        "SGD: peak": halved.judge(measured(ratio), gate=peaked),
    },
    control={"ReLU: sink": measured(end["dormant: to first"])},
    gate=able,
    note="the parts have thresholds of their own, as in the metric",
)
print(
    f"loss at triggers with ReLU: {copies.round(2)}",
    v_mitigated,
    *(f"{name}: {v.word}, {v.measured}" for name, v in v_mitigated.parts),
    sep="\n",
)

# %% [markdown]
# The copying is learned as well (loss near 0 at triggers), and by the mean over seeds the first token gets 0.03: in two of the three seeds
# next to nothing, in one 0.10, which is above the threshold. Its value is no shorter than the others'. Whether SGD takes the peak away cannot
# be asked where Adam makes none.
#
# ## Heads of a language model
#
# Which heads of SmolLM2 rest on the first token in prose and not in code, or the other way round? Code is of Python's
# own library. The heads are chosen on one half of the documents and judged on the other.

# %%
model = interp.load(MODEL)
size = dict(n=6, length=48) if FAST else dict(n=12, length=64)
find = {
    name: interp.tasks.text(model, corpus=corpus(), **size)
    for name, corpus in (("prose", interp.texts.prose), ("code", interp.texts.code))
}
judge = {name: task.heldout() for name, task in find.items()}
tasks = {**{f"find {name}": task for name, task in find.items()}, **judge}
rest = {
    name: interp.head_scores(model, ["first-token"], on=task).sel(score="first-token")
    for name, task in tasks.items()
}
chosen, differs, same = (
    rest[a] - rest[b]
    for a, b in (("find prose", "find code"), ("prose", "code"), ("find prose", "prose"))
)
heads = chosen.top(5 if FAST else 8).labels
chosen.plot(
    marks={"largest differences": heads}, title="Attention to the first token: prose less code"
)
differs.pick(heads).plot(title="The same heads in held-out text: prose less code")
# %% [markdown]
# Without them, one at a time, on the held-out texts (their output becomes zero, which is what a dormant head
# writes): what does each cost in prose and in code?

# %%
costs = {
    name: interp.ablate(
        model,
        judge[name],
        [[h] for h in heads],
        by="zero",
        metric=interp.methods.runs.loss_metric(judge[name]),
    )
    for name in find
}
signs = np.sign(chosen.pick(heads).values)  # 1: rests in prose, so active in code
more = (costs["code"].examples - costs["prose"].examples) * signs[:, None]
more = interp.Result(
    more.mean(-1), ("head",), {"head": heads}, "loss more where active", "nats a token", {}, more
)
fifth = 1 - 4 / (differs.values.size - 1)  # quantile of the fifth largest difference
v_domains = domains.judge(
    {
        "differ": quantile_of_cells(differs, quantile=fifth),
        "matter where active": matter.judge(share_of_cells(more, above=0)),
    },
    control={"differ": quantile_of_cells(same, quantile=fifth)},
    note="'matter where active': share of the heads, at least 0.8",
)
print(v_domains, *(f"{name}: {v.word}, {v.measured}" for name, v in v_domains.parts), sep="\n")
print(
    "cost in nats a token:",
    {
        h: {name: round(float(c.values[i]), 3) for name, c in costs.items()}
        for i, h in enumerate(heads)
    },
)

# %% [markdown]
# Heads do differ between the two, and more than between the two halves of the prose (0.10, intervals overlap), but less than the claim asks: 0.28 for
# the fifth largest difference. And what a single head costs is next to nothing (0.03 nats at most), in prose as in code: 5 of 8 cost more
# where they rest less, which could be chance.
#
# ## Verdicts

# %%
verdicts(
    "11-active-dormant-heads",
    [v_extreme, v_switch, v_mutual, v_mitigated, v_domains],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## Try it
#
# Any part can be changed: `recipe.but(model={"attention": "sigmoid"})`, or `{"mlp": 256}`, or more triggers
# (`data_options={"triggers": 5}`). Every checkpoint is a model that all tools open. Below: what the head looks at in one line of text.

# %%
interp.attention_patterns(runs[0].model(), batch.inputs[0], "L0H0").plot()

# %% [markdown]
# ## What did not reproduce
#
# - **No peak of the residual stream.** The paper's models train for 10,000 steps, 256 wide; ours stop after 400 at 64. A
#   peak may need the time. SGD against Adam is therefore not testable here.
# - **Score against log t: R2 0.85, not 0.9.** The paper's theory is about a simplified model at late times; our fit begins at step
#   50, when the sink is still forming, and the score speeds up at the end. That start was fixed before the fit and not moved.
# - **An MLP makes the sink weaker.** The paper's one-layer model has one. With one of 256 neurons our head gave the first token
#   0.33 to 0.38 of its attention where it idles after 600 to 1,000 steps (seed 0, two learning rates), and 0.6 without. We chose
#   attention alone, the learning rate and the sizes on that seed, one of the three judged; the thresholds were not touched. An earlier trial with twice the
#   length, twice the batch, 2,500 steps and wider initial embeddings had reached 0.83 with an MLP.
# - **In the short run (FAST, 400 steps) the sink is only at 0.68** and the drain at 0.38, so "extreme-tokens" does not hold there.
# - **Domains.** The paper's head is found in a model fifty times as large, between Wikipedia and GitHub. In SmolLM2 the largest differences on held-out
#   text are a little below the threshold, and one head of 270 matters so little that its cost is within the noise of twelve chunks. The threshold of 0.3
#   is as it was; that a miss counts as a miss and not as "partly" is the study's rule, which our code had left out until a
#   short run showed 0.297.
# - Three seeds give rough intervals: they are little more than the range of the seeds.
