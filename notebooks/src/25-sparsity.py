# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sparsity: what can a model do without?
#
# Paper: Jaiswal et al. 2023, "The Emergence of Essential Sparsity in Large Pre-trained Models: The Weights that Matter", arXiv 2306.03805; Luo et al. 2024, "Sparsing Law: Towards Large Language Models with Greater Activation Sparsity", arXiv 2411.02335
#
# **The question.** A language model of 135 million weights: how many of them can be set to zero before it breaks? Does it break
# all at once, and which of its abilities goes first? And of the neurons, how many does it need for one word?
#
# **A picture.** Take the smallest stones out of a wall. At first nothing happens. Then the wall bends, and at some point it is
# no wall any more. Taking stones at random is another matter: the wall falls at the first few.
#
# *Before you run anything: what share of the weights, smallest first, would you dare to remove without retraining? And would
# the model first forget capitals, lose track of names, stop finding a word in a text, or write bad English?*
#
# **What we found.** A fifth of the weights, smallest first, can go without any rise of the loss (in a copy whose weights had
# been stored in four bits), while a random tenth breaks the model. After that the loss bends upwards, and at our eight levels a
# power curve fits it better than two lines with a knee. The paper's sharp point was not tested: it looks at accuracies. There is
# a hint that abilities go before language: on 16 prompts half of the logit difference between names is lost with 36 % of the weights, half of what
# context gains on text with 44 %, but on other prompts names went with language. Of the neurons, 35 % can be silent
# at any one word if perplexity may grow by 1 %. In networks that we trained, the share of active neurons falls with ReLU (from
# 0.28 to 0.17) and rises with SiLU (from 0.36 to 0.51), the directions that the paper gives.
#
# 12 minutes · beginner · you should know what a loss in nats and an MLP's neuron are

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | weights: models | BERT and other language and vision transformers, Vicuna-7B | SmolLM2-135M, whose weights were stored in four bits |
# | what is removed | the smallest weights of attention and MLPs, in the model as a whole (their code) | the same matrices; the share is taken in each matrix, and beside that in the model as a whole |
# | retrained | no | no |
# | what is measured | accuracy on tasks | loss on text, logit differences on three tasks |
# | neurons: models | trained by them, 0.1 to 1.2 billion weights, gated MLPs | SmolLM2-135M (gated), and networks of two layers trained here (not gated) |
# | metric | PPL-p %: the share of neurons silenced when perplexity has grown by p % | the same |
#
# The left column is from the abstracts and the authors' code.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp import toys
from interp.replications import activation_sparsity, pruned
from interp.studies import converged, gate, load_claims, measured, verdicts

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
ABILITIES = {"names": "#cc79a7", "capitals": "#e69f00", "needle": "#56b4e9", "language": "#8c564b"}
ACTS = {"ReLU": "#b2182b", "SiLU": "#6a3d9a"}

# %%
claims = load_claims("25-sparsity")
claims

# %% [markdown]
# ## A text, and three abilities
#
# The text is prose of our own, in chunks of 48 tokens. The abilities are `names` (who got the drink? the other one of two
# people), `capitals`, and `needle` (a sentence hidden in a text, asked for at its end). All are measured as a logit
# difference: how far the right answer is ahead of a wrong one, zero when the model does not know. Where a knee lies, and
# which ability goes first, is found on one half of texts and prompts and judged on the other.

# %%
model = interp.load(MODEL)
numbers = {"find": 3, "judge": 5} if FAST else {"find": 8, "judge": 16}
prose = interp.texts.prose()
texts, tasks = {}, {}
for half, n in numbers.items():
    split = "find" if half == "find" else "heldout"
    texts[half] = interp.texts.chunks(model, prose, length=48, n=n, split=split)
    tasks[half] = {
        "names": interp.tasks.ioi(model, n, split=split),
        "capitals": interp.tasks.capitals(model, n, split=split),
        "needle": interp.tasks.needle(model, n, length=64, split=split),
    }
able = [
    gate(
        f"{name}: answer above wrong",
        measured(task.with_metric("accuracy").clean_metric(model)),
        at_least=0.8,
    )
    for name, task in tasks["judge"].items()
]
print(*able, sep="\n")

# %% [markdown]
# ## Exercise 1: two of every four
#
# Some processors multiply twice as fast if two of every four neighbouring weights are zero (the 2:4 pattern). Which two
# should go? Write the function for one group of weights.


# %%
def without_smallest(weights, n):
    """The weights of one group, the n smallest of them set to zero."""
    kept = np.array(weights, dtype=float)
    ### BEGIN SOLUTION
    ### STUB: kept[:n] = 0
    kept[np.argsort(np.abs(kept))[:n]] = 0
    ### END SOLUTION
    return kept


def check_group(function):
    """What is right or wrong about the function."""
    given = [0.1, -2.0, -0.3, 1.0]
    found, other = (list(function(*case)) for case in ((given, 2), ([3.0, 1.0, -2.0], 1)))
    if found == [0, -2, 0, 1] and other != [3, 0, -2]:
        return f"Two of four is right. One of three, of [3, 1, -2], gives {other}: count with n."
    if found == [0, -2, 0, 1]:
        return "Right: the two nearest to zero are gone, and the largest, -2, is still there."
    if found == [0.1, 0, 0, 1]:
        return "-2 is the largest weight of the four, and it is gone: small means near to zero."
    if sorted(found) == [-2, 0, 0, 1] or 0 not in found:
        return "Two of the four should be zero, and the others should stay where they were."
    return f"{given} became {found}; the two nearest to zero, 0.1 and -0.3, should be gone."


print(check_group(without_smallest))

# %% [markdown]
# ## Removing the smallest weights
#
# Now the whole model. Each time a copy of it is made and a share of the weights of attention and MLPs is set to zero;
# embeddings and norms stay, and nothing is trained afterwards.

# %%
LEVELS = [0, 0.2, 0.35] if FAST else [0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5]
FEW = [0.1, 0.2] if FAST else [0.1, 0.2, 0.3, 0.4]
EIGHTHS = [] if FAST else [1 / 8, 2 / 8, 3 / 8, 4 / 8]
TWO, HALF = ([], []) if FAST else ([0.3, 0.4], [0.5])


def losses(other, half):
    """The loss of each chunk, in nats per token."""
    return interp.methods.text.cross_entropy(other, texts[half]).examples


def sweep(levels, abilities=False, **how):
    """Losses [chunk level], and logit differences [prompt level] by task, of each half."""
    found = {half: {"text": [], "names": [], "capitals": [], "needle": []} for half in numbers}
    for share in levels:
        other = pruned(model, share, **how) if share else model
        for half, kept in found.items():
            kept["text"].append(losses(other, half))
            for name, task in tasks[half].items() if abilities else ():
                kept[name].append(task.clean_metric(other).examples)
    return {h: {k: np.stack(v, 1) for k, v in kept.items() if v} for h, kept in found.items()}


# %%
by_size = sweep(LEVELS, abilities=not FAST)
dense = {half: by_size[half]["text"][:, :1] for half in numbers}


def others(levels, **how):
    """Losses [chunk level] of each half, the dense model first."""
    found = sweep(levels, **how) if levels else {h: {"text": dense[h][:, :0]} for h in numbers}
    return {h: np.hstack([dense[h], found[h]["text"]]) for h in numbers}


at_random = others(FEW, by="random")
of_eight = others(EIGHTHS, within=8)
whole = others(TWO, within="model")
two_four = others(HALF, within=4)

# %%
COMMON = [0, *FEW]  # levels at which weights were removed at random as well
shared = [k for k, level in enumerate(COMMON) if level in LEVELS]
pair = [
    by_size["judge"]["text"][:, [LEVELS.index(COMMON[k]) for k in shared]],
    at_random["judge"][:, shared],
]
bands = [[measured(one) for one in rows.T] for rows in pair]
interp.plots.lines(
    [rows.mean(0) for rows in pair],
    [100 * COMMON[k] for k in shared],
    placed=True,
    interval=([[m.low for m in row] for row in bands], [[m.high for m in row] for row in bands]),
    names=["smallest first", "at random"],
    colours=[BLUE, ORANGE],
    x_name="% of the weights removed",
    unit="nats per token",
    title="Loss on text without some of the weights",
)

# %%
ways = {
    "smallest of each matrix": (LEVELS, by_size["judge"]["text"]),
    "smallest of every 8": ([0, *EIGHTHS], of_eight["judge"]),
    "smallest of every 4": ([0, *HALF], two_four["judge"]),
    "smallest of the model": ([0, *TWO], whole["judge"]),
    "at random": ([0, *FEW], at_random["judge"]),
}
for name, (levels, rows) in ways.items():
    print(name, dict(zip(np.round(levels, 3).tolist(), rows.mean(0).round(2).tolist())))

# %% [markdown]
# With the smallest fifth of its weights gone the model writes as well as before (3.74 nats per token, 3.76 with all of them).
# With a random *tenth* gone it is broken (8.3 nats), and with a fifth it is worse than a model that takes every token for
# equally likely (13.5; that one has 10.8). So it is the size that makes weights dispensable, and not that there are so many.
#
# ## Is there a point at which it breaks?
#
# The paper speaks of a *sharp dropping point*. We draw two lines that meet at a knee, choose the knee that fits best on one
# half of the text, and compare the slopes before and after it on the other half.


# %%
def joined(x, y, knee):
    """Two lines that meet at the knee: their error, and level, slope before, slope after."""
    parts = np.stack([np.ones_like(x), np.minimum(x, knee), np.maximum(x - knee, 0)], 1)
    solved = np.linalg.lstsq(parts, y, rcond=None)[0]
    return ((parts @ solved - y) ** 2).sum(), solved, parts @ solved


def knee_of(x, y):
    """The place at which two joined lines fit best."""
    places = np.arange(x[1], x[-2] + 1e-9, 0.01)
    return min(places, key=lambda knee: joined(x, y, knee)[0])


def slopes(levels, rows):
    """Slope before over slope after the knee that the other half's text places."""
    x = np.array(levels)
    knee = knee_of(x, rows["find"].mean(0))

    def ratio(some):
        _, before, after = joined(x, some.mean(0), knee)[1]
        return before / after

    return knee, measured(rows["judge"], ratio)


# %%
few = gate("levels measured (FAST measures fewer)", measured([len(LEVELS)] * 2), at_least=6)
text_rows = {half: by_size[half]["text"] for half in numbers}
knee, ratio = slopes(LEVELS, text_rows)
knee_r, ratio_r = slopes([0, *FEW], at_random)
knee_n, ratio_n = slopes([0, *EIGHTHS], of_eight) if EIGHTHS else (np.nan, None)
v_drop = claims["drop"].judge(ratio, control=ratio_r)
v_n = claims["n-of-m"].judge(ratio_n, gate=few)
print(f"knees: {knee:.2f} (each matrix), {knee_n:.2f} (every 8), {knee_r:.2f} (at random)")
print("slope before over slope after:", ratio, "at random:", ratio_r)
print(v_drop, v_n, sep="\n")

# %% [markdown]
# Before the knee, which the other half's text puts at 33 %, the loss rises 0.08 times as steeply as after it. We had fixed
# random removal as the control. There the loss rises and then *falls*, when nothing is left to break: the ratio is -1.25 and can
# be compared with nothing. In groups of eight the ratio is 0.198, where 0.2 is allowed. But what does such a number show? A plain
# parabola, drawn at the levels of the groups, gives 0.16, and a fourth power, at the levels of the matrices, 0.07. So it cannot tell a sharp drop from a
# smooth bend, and both rows are *not testable here*. (This was seen when the built study was read; by its threshold, the one
# on groups had held.)
#
# In groups of eight the loss rises earlier than in a matrix, but half of each group costs less than half of each matrix (5.8
# against 6.0 nats). Two of every four cost more (6.5). The model as a whole, the authors' way, loses a little less
# (4.02 at 30 %, against 4.08 by matrix).
#
# Two lines always have a knee, even if they are drawn through a smooth curve. So we ask whether they are the better
# fit: leave out one level, fit the others, and see how far off the level is that was left out. The rival is a power
# curve, level + height · share^b, with one number less to choose.


# %%
def power(x, y, at):
    """A curve level + height * x ** b, fitted to (x, y): its values at other places."""
    fits = []
    for b in np.arange(1, 8.01, 0.5):
        parts = np.stack([np.ones_like(x), x**b], 1)
        solved = np.linalg.lstsq(parts, y, rcond=None)[0]
        fits.append((((parts @ solved - y) ** 2).sum(), solved[0] + solved[1] * at**b))
    return min(fits, key=lambda fit: fit[0])[1]


def lines(x, y, at):
    """Two joined lines, fitted to (x, y): their value at another place."""
    knee = knee_of(x, y)
    level, before, after = joined(x, y, knee)[1]
    return level + before * min(at, knee) + after * max(at - knee, 0)


def left_out(rows, fit):
    """Root mean square error at each inner level when it is left out of the fit."""
    x, y = np.array(LEVELS), rows.mean(0)
    inner = range(1, len(x) - 1)
    off = [fit(np.delete(x, i), np.delete(y, i), x[i]) - y[i] for i in inner]
    return np.sqrt(np.mean(np.square(off)))


# %%
corner = None
if few.passed:
    corner = measured(
        text_rows["judge"], lambda rows: left_out(rows, lines) / left_out(rows, power), n_boot=200
    )
    print({fit.__name__: left_out(text_rows["judge"], fit).round(3) for fit in (lines, power)})
v_corner = claims["corner"].judge(corner, gate=few)
extra = at_random["judge"][:, 1 + FEW.index(0.2)] - text_rows["judge"][:, LEVELS.index(0.2)]
v_which = claims["which-weights"].judge(measured(extra))
print(v_corner, v_which, sep="\n")

# %%
fine, x, y = np.arange(0, 0.501, 0.01), np.array(LEVELS), text_rows["judge"].mean(0)
ax = interp.plots.lines(
    [[power(x, y, at) for at in fine], [lines(x, y, at) for at in fine]],
    100 * fine,
    placed=True,
    names=["a power curve", "two lines"],
    colours=[GREEN, GREY],
    x_name="% of the weights removed, smallest first",
    unit="nats per token",
    title="Loss (dots) with a power fit and a fit of two lines",
)
for mark in list(ax.lines):
    mark.set_marker("")
ax.plot(100 * x, y, "o", color=BLUE)
ax.set_ylim(3, None)

# %% [markdown]
# The power curve is the better fit by far: a level that it has not seen is off by 0.07 nats, and with two lines by 0.22.
# We see no kink between 20 and 35 %. One at 40 % or above would have escaped this test, since few levels lie there. What looks
# like a point at which the model breaks also depends on how much loss one is ready to see: on our text 25 % of the weights cost
# 0.14 nats, 30 % cost 0.32, 40 % cost 0.88.

# %% [markdown]
# ## Which ability goes first?
#
# Abilities and language have to be compared in one unit. For each of the three abilities it is the logit difference as a
# share of the dense model's. For language it is the gain in nats over a model that knows how frequent words are and nothing
# of the context (the mean of the model's own predictions): zero when the context is not used at all. The number is the
# sparsity at which half is left. Both are shares of their start; mind that a logit difference also shrinks when the model
# merely grows less sure.


# %%
def frequency_loss():
    """The loss of each judged chunk under the model's mean prediction, whatever the context."""
    logits = interp.run(model, texts["find"]).logits[:, 1:-1]
    mean = logits.softmax(-1).mean((0, 1)).log()
    return (-mean[texts["judge"][:, 2:].long()]).mean(1).cpu().numpy()


def halved(curve):
    """The sparsity at which a curve first has half its dense value (the last level, if never)."""
    left = curve / curve[0]
    k = int(np.argmax(left <= 0.5))
    if left[k] > 0.5:
        return LEVELS[-1]
    part = (left[k - 1] - 0.5) / (left[k - 1] - left[k])
    return LEVELS[k - 1] + part * (LEVELS[k] - LEVELS[k - 1])


def halves(rows):
    """For each ability, the sparsity at which it is half, from rows [prompt ability level]."""
    return np.array([halved(curve) for curve in rows.mean(0)])


# %%
names, prompts = (
    list(tasks["judge"]),
    gate("prompts (FAST takes none)", measured([0 if FAST else 16] * 2), at_least=16),
)
apart_order, before = None, None
if not FAST:
    skills = {h: np.stack([by_size[h][name] for name in names], 1) for h in numbers}
    gain = frequency_loss()[:, None] - text_rows["judge"]
    order = np.array(names)[np.argsort(halves(skills["find"]))]
    first, last = names.index(order[0]), names.index(order[-1])
    apart_order = measured(skills["judge"], lambda rows: halves(rows)[last] - halves(rows)[first])
    both = np.concatenate([skills["judge"], gain[:, None]], 1)  # abilities, then language
    before = {
        name: measured(both, lambda rows, k=k: halves(rows)[-1] - halves(rows)[k])
        for k, name in enumerate(names)
    }
    print("half is left at, found:", dict(zip(names, halves(skills["find"]).round(3).tolist())))
    print("judged:", dict(zip([*names, "language"], halves(both).round(3).tolist())))
    for k, name in enumerate(names):
        print(name, "right answer ahead:", (skills["judge"][:, k] > 0).mean(0).round(2))
v_order = claims["order"].judge(apart_order, gate=[prompts, *able])
v_before = claims["before-language"].judge(before, gate=[prompts, *able])
print(v_order, v_before, *(f"{name}: {v.measured}" for name, v in v_before.parts), sep="\n")

# %% tags=["cover"]
if not FAST:
    draws = np.random.default_rng(0).integers(0, len(both), (1000, len(both)))
    again = both[draws].mean(1)  # [draw ability level]
    interp.plots.lines(
        both.mean(0) / both.mean(0)[:, :1],
        100 * np.array(LEVELS),
        placed=True,
        interval=np.percentile(again / again[:, :, :1], [2.5, 97.5], axis=0),
        names=[*names, "language"],
        colours=list(ABILITIES.values()),
        x_name="% of the weights removed, smallest first",
        unit="share left",
        title="What is left of three abilities and of language, 16 prompts or texts",
    )

# %% [markdown]
# All three abilities are nearly whole with a fifth of the weights gone, and at 40 % each has lost more than language has. On the
# judged prompts the names go first: half is left at 36 % of the weights removed, capitals at 39 %, the needle at 41 %,
# language at 44 %. But this order is not to be trusted. On the other half of the prompts capitals went first and names last, so the claim on
# the order does not hold. The bands show why: the loss of names differs most from prompt to prompt, and 16 prompts
# are few. On these prompts names halve before language (8.6 points of sparsity, interval 5.3 to 15), but on the eight others
# they halve at 44 %, together with it; the needle goes a little before it (2.8 points), and for capitals the interval touches
# zero. So that abilities go before language is a hint. Accuracy shows the damage later and unevenly: with half of the weights the
# right answer is still ahead of the wrong one in every needle, in 81 % of the capitals and in 62 % of the names (chance: 50).
#
# ## Neurons that are silent for one word
#
# Weights that are removed are gone for every word. A neuron can also be silent for one word and speak at the next. With ReLU
# many neurons give exactly zero. SmolLM2 has SiLU, which is hardly ever zero, so Luo and colleagues count a neuron as
# silent if what it writes is small: its activation times the norm of its output weights. Each layer has one threshold, set
# so that the silenced neurons together make up the same share of every layer's output (the *error*). The error is raised until
# perplexity has grown by p %, and the share of silenced neurons is then the PPL-p % sparsity.
#
# ### Exercise 2: which neuron goes first?
#
# Write the function that names the neuron which a rising threshold silences first.


# %%
def silenced_first(activations, output_norms):
    """The number of the neuron that a rising threshold silences first."""
    ### BEGIN SOLUTION
    ### STUB: return int(np.argmin(activations))
    return int(np.argmin(np.abs(activations) * np.array(output_norms)))
    ### END SOLUTION


def check_neuron(function):
    """What is right or wrong about the function."""
    found = function([4.0, 0.5, 1.0, -3.0], [0.1, 1.0, 0.3, 1.0])
    if found == 2:
        return "Right: neuron 2 writes 0.3, less than 0.4, 0.5 and 3 (minus or not)."
    if found == 1:
        return "Neuron 1 has the smallest activation, but it writes more (0.5) than another."
    if found == 0:
        return "Neuron 0 has the smallest output weights, but it is very active and writes 0.4."
    if found == 3:
        return "An activation of -3 is large: the threshold looks at sizes."
    return f"{found!r} is the number of no neuron."


print(check_neuron(silenced_first))

# %%
ERRORS = {
    "size": [0, 0.02, 0.05, 0.1]
    if FAST
    else [0, 0.01, 0.02, 0.03, 0.045, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3],
    "random": [0, 0.003, 0.02] if FAST else [0, 0.003, 0.01, 0.03],
}
silenced = {
    by: activation_sparsity(model, texts["judge"], fit=texts["find"], errors=errors, by=by)
    for by, errors in ERRORS.items()
}


def share_at(percent):
    """A statistic of rows [chunk 2 error]: the share silenced where perplexity has grown so far."""

    def statistic(rows):
        share, loss = rows.mean(0)
        cost, limit = loss - loss[0], np.log(1 + percent / 100)
        k = int(np.argmax(cost >= limit))
        if cost[k] < limit:
            return share[-1]
        part = (limit - cost[k - 1]) / (cost[k] - cost[k - 1])
        return share[k - 1] + part * (share[k] - share[k - 1])

    return statistic


def rows_of(some):
    """Shares and losses [chunk 2 error]."""
    return np.stack([some.share.examples, some.loss.examples]).transpose(2, 0, 1)


# %%
costs = {
    by: {p: measured(rows_of(some), share_at(p)) for p in (1, 5, 10)}
    for by, some in silenced.items()
}
v_silenced = claims["silenced"].judge(costs["size"][1], control=costs["random"][1])
for by, of in costs.items():
    print(by, {p: str(m) for p, m in of.items()})
    print(silenced[by].share.values.round(3), silenced[by].loss.values.round(3))
print(v_silenced)

# %%
most = 100 * (np.exp(silenced["size"].loss.values - silenced["size"].loss.values[0]) - 1)
cheap = most <= 20
interp.plots.lines(
    most[cheap],
    100 * silenced["size"].share.values[cheap],
    placed=True,
    names=None,
    guide=(np.ones(cheap.sum()), "1 % more"),
    x_name="% of the neurons silenced, smallest first",
    unit="% more perplexity",
    title="What it costs to silence neurons",
)

# %% [markdown]
# With 1 % more perplexity 35 % of the neurons can be silent (interval 29 to 41), although SiLU is never zero. With 5 % more it
# is 46 %, with 10 % it is 55 %. At random, 7.5 % of the neurons, the least that we tried, more than double perplexity; a straight line from
# there to 1 % gives about one in a thousand, which was not measured. So the metric gives a usable number for a model in which nothing is exactly zero.
# Whether it suits any activation was not tested, and that half of the neurons cannot be silenced at a small cost was known
# when we asked for 30 %, which the interval contains.
#
# ## Over training
#
# Does a network become more sparse while it learns? According to the paper it does with ReLU and it does the opposite with
# SiLU. We train two-layer networks on words of documentation, three with ReLU and three with SiLU, at a constant learning
# rate (the authors, too, look at the stage before it decays). As in their code, one error serves all checkpoints of a run.
#
# *Which of the two would you expect to use fewer neurons at the end?*

# %%
SEEDS, STEPS = [] if FAST else [3, 4, 5], 1200
SHOWN = (150, 200, 300, 400, 600, 800, 1000, 1200)
recipe = toys.Recipe(
    "activation-sparsity",
    data="text_with_repeats",
    data_options=dict(vocab=500, n_ctx=32, repeats=0.0),
    model=dict(n_layers=2, n_heads=2, d_model=64, mlp=256, positions="rotary"),
    steps=STEPS,
    batch=32,
    lr=3e-3,
    warmup=50,
    checkpoints=SHOWN,
)
runs = {
    act: toys.train_seeds(recipe.but(name=f"sparsity-{act}", model={"act": act.lower()}), SEEDS)
    for act in ACTS
    if SEEDS
}

# %%
TOLERATED = (0, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)


def over_training(run):
    """The share of active neurons and the loss, [checkpoint], at one error for the whole run."""
    place, other = (
        run.source.batch(64, torch.Generator().manual_seed(seed), "heldout") for seed in (0, 1)
    )
    shares, costs = [], []
    for step in SHOWN:
        some = activation_sparsity(
            run.model(step), other.inputs, fit=place.inputs, targets=other.targets, errors=TOLERATED
        )
        shares.append(some.share.values)
        costs.append(some.loss.values)
    shares, costs = np.stack(shares), np.stack(costs)
    growth = np.exp(costs - costs[:, :1]).mean(0)  # of perplexity, the mean over checkpoints
    error = np.interp(1.01, np.maximum.accumulate(growth), TOLERATED)
    active = [1 - np.interp(error, TOLERATED, row) for row in shares]
    return np.array(active), costs[:, 0], error


# %%
trained = {act: [over_training(run) for run in of] for act, of in runs.items()}
enough = gate("seeds trained (FAST trains none)", measured([len(SEEDS)] * 2), at_least=3)
steady, change, apart = [], None, None
if SEEDS:
    active = {act: np.stack([run[0] for run in of]) for act, of in trained.items()}
    loss = {act: np.stack([run[1] for run in of]) for act, of in trained.items()}
    half = SHOWN.index(STEPS // 2)
    steady = [
        converged(active[act][:, -1], active[act][:, half], within=0.05, name=f"share, {act}")
        for act in ACTS
    ]
    difference = abs(loss["ReLU"] - loss["SiLU"])
    alike = converged(difference[:, -1], difference[:, half], within=0.05, name="loss apart")
    change = {
        "ReLU falls": measured(active["ReLU"][:, 0] - active["ReLU"][:, -1]),
        "SiLU rises": measured(active["SiLU"][:, -1] - active["SiLU"][:, 0]),
    }
    apart = measured(difference[:, -1])
    for act in ACTS:
        print(act, "active:", active[act].round(3), "loss at the end:", loss[act][:, -1].round(3))
v_alike = claims["comparable"].judge(apart, gate=[enough, alike] if SEEDS else enough)
v_trends = claims["trends"].judge(change, gate=[enough, *steady])
print(v_alike, v_trends, *steady, sep="\n")

# %%
if SEEDS:
    interp.plots.lines(
        [active[act].mean(0) for act in ACTS],
        SHOWN,
        placed=True,
        interval=np.array([[active[a].min(0) for a in ACTS], [active[a].max(0) for a in ACTS]]),
        band="three seeds",
        names=list(ACTS),
        colours=list(ACTS.values()),
        x_name="training step",
        unit="share of neurons active",
        title="Active neurons over training, at the error that costs 1 % perplexity",
    )

# %% [markdown]
# The two go opposite ways with every seed. With ReLU the share of active neurons falls from 0.28 at step 150 to 0.17 at step
# 1,200, and with SiLU it rises from 0.36 to 0.51, and at the end their losses lie 0.016 nats apart on average (0.004, 0.011 and 0.033).
# Both directions of the paper's sentence come out in networks several hundred times smaller than its smallest. Settled they are
# not: two fifths of ReLU's fall come in the second half of the training (within the 0.05 that we allow, barely), and SiLU rises
# until step 800 or 1,000 and then falls a little. Only the directions are judged; of power laws and of convergence eight
# points cannot tell. (A first run of other networks, 800 steps long, had failed that gate by 0.059 for SiLU; so these were trained longer.)
#
# ## Verdicts

# %%
verdicts(
    "25-sparsity",
    [v_drop, v_n, v_silenced, v_alike, v_trends, v_corner, v_which, v_order, v_before],
    model=MODEL,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - Magnitude is a good guide: a fifth of the weights, smallest first, costs nothing, and a random tenth breaks the model.
# - A knee found by two lines is no proof of a knee. Hold the two lines against a smooth curve, on points that neither has seen.
# - The loss on text may be late to show what pruning does. Test what the model is meant to do.
# - An order found on sixteen prompts, or eight, may be the order of these prompts. Look at other ones before telling a story about circuits.
# - A ratio is a poor control if what it is divided by can change its sign.
# - "Sparse" needs a price. At 1 % more perplexity SmolLM2 needs two thirds of its neurons for a word, at 10 % less than half.
#
# ## What did not reproduce, and what was not tried
#
# - **A sharp dropping point** is not what we see in the loss: the paper looks at accuracies, which stay up until the right answer falls
#   behind, and so may fall more suddenly than a loss. Its sentence is *not testable here*, because of our control and because a ratio of
#   slopes cannot tell a knee from a bend. What would decide it: a fit of a knee against a smooth curve, with the rule fixed beforehand, at some twenty
#   levels, on accuracies of several hundred prompts.
# - **The order of abilities**, and whether they go before language, would need some hundred prompts of each kind; the bands of 16 are 10 points of sparsity wide.
# - **Abrupt sparsification** during the training of BERT, and larger data leading to sparser models, were not tried; nor was any
#   effect of width, depth or scale on the share of active neurons.
# - **The weights had been stored in four bits**, sixteen levels for each block of 32. The smallest ones are coarse to begin with, so that a
#   fifth can go may be in part a property of this copy. Within a block many are of equal size, and of these the first ones go.
# - **Our small networks** have MLPs without a gate, 160,000 weights and a vocabulary of 500 words.
# - FAST measures few levels and trains nothing; most rows are not tested there.
# - **What was known.** See the head of the claims' file: another text's losses were known, and a first run with other networks.
#   No threshold was changed after it.
#
# ## Try it
#
# A model with half of its weights, and what it has to say: `half = interp.replications.pruned(model, 0.5)`, then
# `interp.generate(half, "The old lighthouse", max_new_tokens=30)`. At which share does it begin to ramble?
#
# ## Further reading
#
# - Runwal, Pedapati and Chen 2024, "From PEFT to DEFT: Parameter Efficient Finetuning for Reducing Activation Density in
#   Transformers", arXiv 2402.01911: a term in the loss that makes neurons silent.
# - Song et al. 2024, "ProSparse: Introducing and Enhancing Intrinsic Activation Sparsity within Large Language Models", arXiv
#   2402.13516: SiLU exchanged for ReLU, and trained further.
# - Zhang et al. 2024, "ReLU² Wins: Discovering Efficient Activation Functions for Sparse LLMs", arXiv 2402.03804: neurons
#   counted by what they write.
# - Yin et al. 2023, "Junk DNA Hypothesis", arXiv 2310.02277: small weights matter for hard tasks.
