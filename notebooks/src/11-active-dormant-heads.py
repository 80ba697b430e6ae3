# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why does a head rest on the first token?
#
# Paper: Guo et al. 2024, "Active-Dormant Attention Heads: Mechanistically Demystifying Extreme-Token Phenomena in LLMs", arXiv 2410.13835
#
# **The question.** In most language models the first token collects a large part of the attention (a *sink*), its value vector is short (a *drain*),
# and its residual stream is very long (a *peak*). Study 10 shows that this happens. Why does it? The paper's answer: a head that has
# nothing to do on this input needs somewhere to look where it does no harm.
#
# **How we look.** We train a transformer with a single head on text where we know at every position whether the head has work to do. Then we compare
# what it does where it works (*active*) and where it does not (*dormant*). Last, we look for heads of SmolLM2 that rest in prose and work in code,
# or the other way round.
#
# **What we found.** Our one head rests on the first token where it has nothing to copy (0.90 of its attention) and leaves it at triggers (0.00), and the first token's value
# shrinks to a third of the others' length. With ReLU attention, which need not sum to one, there is hardly any sink. The peak could not be tested, because it takes longer training than we
# can afford. In SmolLM2 some heads do rest more in prose than in code or the other way round, but less clearly than we asked for, and switching off a single one costs hardly any loss.
#
# 10 minutes · intermediate · you should know what an attention sink is (study 10)

# %% [markdown]
# ## The text, and the model
#
# In **Bigram-Backcopy** text, every character is drawn given the last one, by the character pairs of English. After a *trigger* (one of the three most frequent characters)
# this rule is broken: the character *before* the trigger comes again. A head is needed to look back at triggers, and nowhere else.
#
# | | the authors | here |
# | --- | --- | --- |
# | text | Bigram-Backcopy, 256 tokens | the same, 32 tokens |
# | model for sink and drain | one layer, one head, an MLP, 256 wide | one layer, one head, no MLP, 64 wide |
# | model for the peak | three layers, 256 wide | three layers, MLPs of 256, 64 wide |
# | training | 10,000 steps and more, 512 rows | 1,500 steps of 32 rows; three layers: 400 steps of 16 rows |
# | language models | Llama, OLMo; Wikipedia against GitHub | SmolLM2-135M; prose against Python code |
# | repeats | | three seeds; 12 texts of each kind |
#
# *Before you run the next cells: at which positions will the head look at the first token? At which at the token before?*

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import interp
from interp import toys
from interp.studies import (
    Measured,
    gate,
    load_claims,
    measured,
    quantile_of_cells,
    rank_correlation,
    share_of_cells,
    verdicts,
)

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"

# %%
SEEDS, STEPS, PROCESSES = range(3), 400 if FAST else 1500, 1
looks = [1, 3, 10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 600, 1000, 1500]
recipe = toys.Recipe(
    "backcopy",
    data="bigram_backcopy",
    data_options={"n_ctx": 32},
    model={"n_layers": 1},
    steps=STEPS,
    batch=32,
    lr=0.01,
    weight_decay=1e-4,
    warmup=20,
    checkpoints=looks if FAST else sorted([*looks, 750]),
)
runs = toys.train_seeds(recipe, SEEDS, processes=PROCESSES)
source = runs[0].source
batch = source.batch(64, torch.Generator().manual_seed(0), "heldout")
print("triggers:", [source.characters[i] for i in source.triggers_ids])

# %% tags=["cover"]
found = toys.over_training(runs, toys.sinks_on(batch)).sel(layer=0)
steps = found.coords["step"]
shown = {
    "dormant: to the first token": ("dormant: to first", BLUE),
    "at triggers: to the first token": ("active: to first", ORANGE),
    "at triggers: to the token before": ("active: to previous", GREEN),
}
curves = np.stack([found.sel(measure=name).values[:, 1:] for name, _ in shown.values()])
interp.plots.lines(
    curves.mean(1),
    steps[1:],
    log="x",
    names=list(shown),
    colours=[colour for _, colour in shown.values()],
    interval=(curves.min(1), curves.max(1)),
    band="lowest to highest seed",
    x_name="training step",
    unit="share of attention",
    title="Where the head looks while it learns",
)
# %% [markdown]
# Within a hundred steps the head has learned to look at the token before a trigger (green). Where it has nothing to copy it moves, more slowly, to the first
# token (blue). At triggers it hardly ever looks there (orange). Nothing but the token that it reads tells it which of the two to do.
#
# And what does it find at the first token?

# %%
ratios = found.sel(measure="value ratio").values[:, 1:]
interp.plots.lines(
    ratios.mean(0),
    steps[1:],
    log="x",
    interval=(ratios.min(0), ratios.max(0)),
    band="lowest to highest seed",
    guide=(np.ones(len(steps) - 1), "as long as the others"),
    names=["first token's value"],
    colours=[BLUE],
    x_name="training step",
    unit="times the others' length",
    title="Length of the first token's value while the head learns",
)
# %% [markdown]
# Little: the value shrinks to less than a third of the others' length. A head that rests there adds little to the stream.
#
# ## The claims

# %%
claims = load_claims("11-active-dormant-heads")
claims

# %% [markdown]
# First, did the models learn to copy at all? At a trigger the next character is certain, so the loss there should fall to zero.

# %%
loss = toys.over_training(runs, toys.loss_on(batch, ["trigger", "bigram"]), steps=[0, STEPS])
copied = loss.sel(slice="trigger")
able = gate(
    "nats won at triggers",
    measured((copied.sel(step=0) - copied.sel(step=STEPS)).values),
    at_least=1.0,
)
half = 200 if FAST else 750
start, middle, end = (
    {name: found.sel(step=s, measure=name).values for name in found.coords["measure"]}
    for s in (0, half, STEPS)
)
v_switch = claims["active-dormant"].judge(
    {
        "leaves the sink": measured(end["dormant: to first"] - end["active: to first"]),
        "looks back": measured(end["active: to previous"]),
    },
    control={
        "leaves the sink": measured(start["dormant: to first"] - start["active: to first"]),
        "looks back": measured(start["active: to previous"]),
    },
    gate=able,
)
print(able, v_switch, sep="\n")
print(*(f"{name}: {v.word}, {v.measured}" for name, v in v_switch.parts), sep="\n")
for name in ("dormant: to first", "active: to previous", "value ratio"):
    print(f"{name}, by seed: step {half} {middle[name].round(2)}, {STEPS} {end[name].round(2)}")

# %% [markdown]
# The head switches by 0.90 between the two kinds of positions, and at triggers it gives 0.91 of its attention to the token before. Both numbers still grew between steps 750 and
# 1,500, but every seed had passed both thresholds at step 750 already, so longer training should not change the verdict.
#
# ## Does the residual stream of the first token grow, too?
#
# A peak needs more layers: an early one writes it, a late one takes it away. So we train three layers with MLPs. Training is short here, 400 steps, where
# the authors take 10,000 and more.

# %%
deep = recipe.but(
    name="backcopy-deep",
    model={"n_layers": 3, "mlp": 256},
    batch=16,
    lr=3e-3,
    steps=150 if FAST else 400,
    checkpoints=looks,
)
deeps = toys.train_seeds(deep, SEEDS[:2] if FAST else SEEDS, processes=PROCESSES)
grown = toys.over_training(deeps, toys.sinks_on(batch))
stream = grown.sel(measure="stream ratio").values.max(-1)  # [seed step], the longest layer's
print("first token's stream over the others', by seed: before", stream[:, 0].round(2), end="")
print(f", at step {deep.steps}", stream[:, -1].round(2))
resting = grown.sel(step=deep.steps, measure="dormant: to first").values.mean(0)
print("attention to the first token where the heads idle, by layer:", resting.round(2))

# %%
enough = gate(
    "training steps of the three-layer model", Measured(*[deep.steps] * 3, 1), at_least=10_000
)
v_peak = (
    claims["extreme-tokens"]
    .part("peak")
    .judge(measured(stream[:, -1]), control=measured(stream[:, 0]), gate=enough)
)
v_extreme = claims["extreme-tokens"].judge(
    {
        "sink": measured(end["dormant: to first"]),
        "drain": measured(end["value ratio"]),
        "peak": v_peak,
    },
    control={"sink": measured(start["dormant: to first"]), "drain": measured(start["value ratio"])},
    gate=able,
)
print(v_extreme, *(f"{name}: {v.word}, {v.measured}" for name, v in v_extreme.parts), sep="\n")

# %% [markdown]
# Sink and drain are there. The peak is not: after 400 steps the first token's stream is about as long as any other. That is no failure of the claim, since our training is
# 25 times too short to see it, and so this part is *not testable here*. Where the heads of the three-layer model idle, the first token gets only a third of the attention in the
# first layer, and less in the others. A possible reason: with MLPs behind it, what a head adds where it idles can be taken away later, and so costs less.
#
# ## Do the sink and the drain drive each other?
#
# The paper's argument: the shorter the value, the less it costs to rest there, so attention grows; the more attention, the more it pays to
# shorten the value. As we remember the theory, the *score* of the first token (before the softmax) then grows with the logarithm of the
# training step. On a logarithmic axis that is a straight line.

# %%
late = [s for s in steps if s >= 50]
gap, value = (found.sel(step=late, measure=name).values for name in ("score gap", "value ratio"))
slope, level = np.polyfit(np.log(late), gap.mean(0), 1)
interp.plots.lines(
    gap,
    late,
    log="x",
    names=[f"seed {s}" for s in SEEDS],
    colours=[BLUE, ORANGE, GREEN],
    guide=(slope * np.log(late) + level, "growth with the log of the step"),
    x_name="training step",
    unit="score (before the softmax)",
    title="Score of the first token minus the others' mean score",
)
# %%
score_grows = [rank_correlation(late, one).value for one in gap]
v_mutual = claims["mutual-reinforcement"].judge(
    measured([-rank_correlation(late, one).value for one in value]), gate=able
)
v_log = claims["log-time"].judge(
    measured([np.corrcoef(np.log(late), one)[0, 1] ** 2 for one in gap]), gate=able
)
print(v_mutual, v_log, sep="\n")
print("rank correlation of the score with the step, by seed:", np.round(score_grows, 2))

# %% [markdown]
# The value shrinks while the score grows (rank correlation of its length with the step: -0.96), as the theory says. But that both happen together does not show that
# the one drives the other. To test that, one would have to hold one of them still during training, so the paper's claim is *not testable here*. The growth is no straight line on this axis: in two of the three seeds the score hardly
# moves up to step 600, while the value falls most, and then it rises faster than the logarithm. So to our own question the answer is "partly": R2 is 0.80, where we asked for 0.9.
#
# ## Without softmax
#
# The rows of ReLU attention need not sum to one. A head can give nothing to any token, so it should need no place to rest.

# %%
at = min(STEPS, 600)
relu = recipe.but(name="backcopy-relu", model={"attention": "relu"}, steps=at, checkpoints=looks)
relus = toys.train_seeds(relu, SEEDS, processes=PROCESSES)
flat = toys.over_training(relus, toys.sinks_on(batch)).sel(layer=0, step=at)
copies = toys.over_training(relus, toys.loss_on(batch, ["trigger"]), steps=[at])
peaked = gate("peak under Adam", measured(stream[:, -1]), at_least=2)
v_mitigated = claims["mitigated"].judge(
    {
        "ReLU: sink": measured(flat.sel(measure="dormant: to first").values),
        "ReLU: value": measured(flat.sel(measure="value ratio").values),
        "SGD: peak": claims["mitigated"].part("SGD: peak").judge(None, gate=peaked),
    },
    control={
        "ReLU: sink": measured(end["dormant: to first"]),
        "ReLU: value": measured(end["value ratio"]),
    },
    gate=able,
)
print("loss at triggers, by seed:", copies.sel(step=at, slice="trigger").values.round(2))
print("attention, by seed:", flat.sel(measure="dormant: to first").values.round(2))
print(v_mitigated, *(f"{name}: {v.word}, {v.measured}" for name, v in v_mitigated.parts), sep="\n")

# %% [markdown]
# The copying is learned as well as with softmax, and where the head idles it gives the first token 0.02 of its attention on average (0.04 in the worst of three seeds). Its value
# is no shorter than the others'. Whether SGD would take the peak away could not be tested, since training with Adam made no peak here.
#
# ## Heads of a language model
#
# Are there heads of SmolLM2 that rest on the first token in prose and not in code, or the other way round? We choose them on one half
# of the texts and judge them on the other.

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
    marks={"largest differences": heads}, title="Attention to the first token: prose minus code"
)
# %%
differs.pick(heads).plot(title="The marked heads in other texts: prose minus code")
# %% [markdown]
# If such a head is active in code and dormant in prose, then the model should miss it in code only. We ablate the heads one at a time (their output becomes
# zero, which is about what a dormant head writes).

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
v_domains = claims["domains"].judge(
    {
        "differ": quantile_of_cells(differs, quantile=fifth),
        "matter where active": claims["domains"]
        .part("matter where active")
        .judge(share_of_cells(more, above=0)),
    },
    control={"differ": quantile_of_cells(same, quantile=fifth)},
)
print(v_domains, *(f"{name}: {v.word}, {v.measured}" for name, v in v_domains.parts), sep="\n")
print("fifth largest difference within prose:", quantile_of_cells(same, quantile=fifth))
print("cost of each head, nats a token:")
for i, head in enumerate(heads):
    print(f"  {head:7}", {name: round(float(c.values[i]), 3) for name, c in costs.items()})

# %% [markdown]
# Heads do differ between prose and code. The fifth largest difference on other texts is 0.28, where we asked for 0.3; two halves of the prose differ by 0.10 (though with an interval up to
# 0.29, for they are few texts). So far the claim holds *partly*. But no single
# head matters much: its ablation costs 0.03 nats at most, in prose as in code, and five of the eight cost more where they are active, which could be chance.
#
# ## Verdicts

# %%
verdicts(
    "11-active-dormant-heads",
    [v_extreme, v_switch, v_mutual, v_log, v_mitigated, v_domains],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - A head with nothing to do still has to put its attention somewhere, because softmax rows sum to one. It puts it where it does no harm: on a token
#   whose value it has learned to shorten.
# - The same head is dormant on one input and active on another. "This head is a sink" is a statement about the head *and* the text.
# - Take away the need (ReLU attention), and sink and drain go away, while the task is learned just as well.
#
# ## Try it
#
# Other parts: `recipe.but(model={"attention": "sigmoid"})`, `{"mlp": 256}`, or more triggers, `data_options={"triggers": 5}`. Every checkpoint is a model
# that all tools open. Below: what the head looks at in one line of text. Rows are the reader, columns what it looks at (^ is
# the first token). Find the triggers (space, e and t), where it looks at the character before. There is an exception that we cannot explain: at "o" this head looks at the "o" itself.

# %%
line = max(batch.inputs, key=lambda row: len(row.unique()))[:20]  # a line with many characters
pattern = interp.attention_patterns(runs[0].model(), line, "L0H0")
text = ["^", *(source.characters[i].replace(" ", "␣") for i in line[1:])]
interp.plots.heatmap(
    np.squeeze(pattern.values),
    text,
    text,
    row_name="at this character",
    col_name="looks at",
    title="Attention of the head in one line of text",
    unit="share of attention",
    ax=plt.subplots(figsize=(6, 5))[1],
)
# %% [markdown]
# ## What did not reproduce, and what we cannot say
#
# - **The peak could not be tested.** The authors train three layers for 10,000 steps and more, 256 wide; ours stop after 400. A trial of 3,000 steps in the
#   authors' smallest set-up, outside this notebook, had a drain (0.22) and a sink (0.66) but no peak either (1.4). Without a peak, SGD could not be tested as
#   the cure for it. An earlier version of this study called this "does not hold".
# - **Mutual reinforcement is not tested.** We see sink and drain grow together, which other mechanisms would give as well. An earlier version counted the two curves as
#   "partly".
# - **The logarithm of time** (our question): R2 is 0.80, not 0.9. The theory is about a simplified model at late times; our fit begins at step 50, when the sink is still forming. That start was fixed before the fit
#   and not moved.
# - **An MLP makes the sink weaker.** The paper's one-layer model has one. With an MLP of 256 neurons our head gave the first token 0.33 to 0.38 of its attention
#   where it idles after 600 to 1,000 steps (seed 0, two learning rates), and 0.6 without. We chose attention alone, the learning rate and the sizes on
#   that seed, one of the three judged; the thresholds were not touched.
# - **After 400 steps the sink has not reached its threshold,** with one to two thousand steps it has: it forms slowly.
# - **Domains.** The paper studies one head of a model fifty times as large. An earlier version of this study said "does not hold", because a difference below 0.3
#   was not allowed to count as "partly"; that was stricter than the rule for all studies (right direction, and the interval excludes the null), which now holds here as
#   well. The threshold for "holds" is as it was.
# - Three seeds give rough intervals: they are little more than the range of the seeds.
#
# ## Further reading
#
# - Guo et al. 2024, arXiv 2410.13835.
# - Gu et al. 2025, arXiv 2410.10781 (study 10): when sinks emerge.
# - Sun et al. 2024, "Massive Activations in Large Language Models", arXiv 2402.17762: the peaks.
