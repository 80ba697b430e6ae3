# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Calibrating attention sinks: how much of the gain is the search's own?
#
# Paper: Yu et al. 2024, "Unveiling and Harnessing Hidden Attention Sinks: Enhancing Large Language Models without Training through Attention Calibration", arXiv 2406.15765; Han et al. 2025, "ZeroTuning: Unlocking the Initial Token's Power to Enhance Large Language Models Without Training", arXiv 2505.11739; Kang et al. 2025, "See What You Are Told: Visual Attention Sink in Large Multimodal Models", arXiv 2503.03321
#
# **The question.** Heads rest much of their attention on tokens that carry nothing: the first one, and some later ones.
# Two papers scale that attention up or down in heads that a search has chosen, and the model answers better, without any
# training. How much of such a gain is left on questions that the search has not seen?
#
# **A picture.** Try 270 lucky charms on a hundred coin tosses, keep the twenty under which you won most often, and report
# how often you won. You will have won more often than half, whatever a charm does. An honest number comes from new
# tosses.
#
# *Before you run anything: a search raises the accuracy on its own hundred questions by some points. What share of that
# do you expect on a hundred new ones? And what would the same search find if the right answers were shuffled first?*
#
# **What we found.** The gain is real here, and a cheaper method has more of it. Twenty heads that were chosen on 100 prompts
# raise the accuracy by 4.1 points on 100 others (95 % interval 2.4 to 5.9; without one of the four tasks it is 2.7), no less
# than on their own (4.0). A search on few prompts does overfit: with four it gains 7.0 points on these and 2.3 on others. With
# shuffled labels no accuracy is gained on either half. A number added to each class's logit, without touching a head,
# gains 5.9. Less attention to later sinks gains 0.9 points. Such sinks are common: 65 % of the heads have one in at least two
# of twenty texts. To forbid the three strongest of them costs no less than to forbid three other tokens.
#
# 10 minutes · intermediate · you should know what an attention pattern and an attention sink are (study 10)

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | models | Llama 2 and others (ACT); Llama 3.1 8B, Qwen, DeepSeek (ZeroTuning); models that see (visual sinks) | SmolLM2-135M, text |
# | tasks | public datasets: classification, choice, conversation | four small classification tasks of 240 items, written for this study |
# | later sinks | mean attention of a column above 0.1 (ACT's script); the first such column is spared | the same threshold; the first token is spared, and a column needs at least 16 queries |
# | calibration | later sinks times 0.4, the rest shared out in proportion | later sinks times 0.4, the row divided by its sum: in proportion, too, but a little more than 0.4 stays |
# | first token | scaled, each head its own way | the same: times 2 or times 1/2 |
# | which queries | all (ACT's script) | the last token alone: what the answer is read from |
# | search | one run for each head over 900 prompts of each dataset (ACT's script) | the slope of every head in one backward pass |
# | judged on | test sets | the half of the items that was not searched, both ways round |
#
# Averages over few queries are large by themselves: the last token, looked at once, has the mean attention that it was
# given that one time. Hence the 16 queries; a token that every query looks at once comes to 1/16 at most.
#
# Wordings, the number of heads (20) and the factor (2) were tried on 40 pilot items of each task (38 of sentiment), which
# are not used below.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from collections import defaultdict
from functools import partial

import numpy as np
import torch
from scipy.optimize import minimize

import interp
from interp._stats import spearman
from interp.methods.text.token_losses import token_losses
from interp.replications.calibration_items import ITEMS, classes
from interp.replications.sink_calibration import (
    choose_heads,
    choose_in_blocks,
    edited,
    promise,
    prompts,
    random_heads,
)
from interp.replications.sink_calibration import label_log_probs as of_label
from interp.replications.sink_calibration import right as is_right
from interp.studies import (
    Measured,
    gate,
    load_claims,
    measured,
    rank_correlation,
    ratio_of_means,
    verdicts,
)

HALVES = ("first", "second")
K, FACTOR, BETA = 20, 2.0, 0.4
DRAWS = 1 if FAST else 2
SIZES = () if FAST else (4, 10, 20, 50)  # prompts that are searched, beside a whole half

# %%
claims = load_claims("12-calibrating-sinks")
claims

# %% [markdown]
# ## Sinks in the middle of a text
#
# The attention that a token gets is averaged over the queries that see it. A head has a *later sink* in a text when a
# token other than the first gets more than 0.1. For comparison, each query's attention after the first token is dealt out
# at random over the tokens it sees: heads that concentrate on one token now do so on another one each time.

# %%
model = interp.load(MODEL)
n_texts, length, queries = (6 if FAST else 20), 64, 16
texts = interp.texts.chunks(model, interp.texts.prose(), length=length, n=n_texts)
kept = interp.run(model, texts, keep=["L*H*.pattern", "resid_post.15"], last_only=True).kept
pattern, counted = kept["L*H*.pattern"], slice(1, length - queries + 1)


def received(pattern):
    """Attention that each counted later column gets, mean over queries [layer head text src]."""
    return (pattern.sum(-2) / torch.arange(length, 0, -1))[..., counted]


torch.manual_seed(0)
dealt = pattern.clone()
for q in range(2, length):
    order = torch.rand(*pattern.shape[:3], q).argsort(-1)
    dealt[..., q, 1 : q + 1] = pattern[..., q, 1 : q + 1].gather(-1, order)


def heads_with_sinks(pattern, above=0.1):
    """The share of heads that have a later sink in at least a tenth of the texts."""
    has = (received(pattern) > above).any(-1).flatten(0, 1).T.numpy()  # [text head]
    return measured(has, lambda rows: (rows.mean(0) >= 0.1).mean())


v_later = claims["later-sinks"].judge(heads_with_sinks(pattern), control=heads_with_sinks(dealt))
print(v_later, f"above 0.3: {heads_with_sinks(pattern, 0.3)}", sep="\n")

# %%
share = received(pattern).gt(0.1).any(-1).float().mean(-1).numpy()
interp.plots.heatmap(
    share,
    range(len(share)),
    range(share.shape[1]),
    row_name="layer",
    col_name="head",
    title="Share of the texts in which a head has a later sink",
    unit="share of texts",
    centred=False,
)

# %% [markdown]
# 65 % of the heads have a later sink, where dealing the attention out at random leaves 4 %. With the stricter threshold
# of 0.3, which study 10 uses for the first token, it is 21 %. Most of them are in layers 3 to 10, where nearly
# every head has one in most texts. Above layer 11 it is single heads, such as L16H6 and L28H6, that have one in every text.
# Some of these sinks stand right behind the first token. Yu and colleagues' first finding holds.
#
# ## Are they like the first token?
#
# The first token's stream is huge in one dimension. Visual sinks are said to share that property with it, and to be of no
# use: without them a model does as well. We take the three tokens of each text with the most attention, mean over all
# heads, forbid everybody to look at them, and read the loss on the 14 tokens after the last counted column.

# %%
total = received(pattern).mean((0, 1))  # [text src]
strongest = total.argsort(-1, descending=True)[:, :3] + 1
stream = kept["resid_post.15"]
dimension = int(stream[:, 0].abs().mean(0).argmax())
massive = stream[..., dimension].abs() / stream.square().mean(-1).sqrt()
of_sinks = massive.gather(1, strongest)[:, 0].numpy()
print(f"dimension {dimension}: first token {massive[:, 0].mean():.1f} times the root mean square")
print("strongest later sink of each text:", np.round(np.sort(of_sinks)[::-1], 1))
print(f"all counted tokens: median {massive[:, counted].median():.2f}")
print("what they are:", [model.tokenizer.decode(i) for i in texts.gather(1, strongest[:, :1])])
print("where they stand:", sorted(strongest[:, 0].tolist()))
the = texts == model.tokenizer(" the")["input_ids"][0]
its_first = the & (the.cumsum(-1) == 1)
print("first ' the' of its text:", int(its_first.gather(1, strongest[:, :1]).sum()))
v_massive = claims["massive"].judge(measured((of_sinks >= 20).astype(float)))
print(v_massive)


# %%
def loss_without(columns):
    """The loss on the tokens after the counted columns when none may look at `columns` [text]."""
    blocked = torch.zeros(texts.shape, dtype=torch.bool).scatter_(1, columns, True)
    knock_out = [interp.Intervention("L*H*.scores", interp.edits.knock_out(blocked))]
    logits = interp.run(model, texts, knock_out if columns.numel() else []).logits
    return token_losses(logits, texts)[:, counted.stop - 1 :].mean(-1).numpy()


def others(seed):
    """Three other counted columns of each text, drawn at random."""
    chance = torch.rand(n_texts, length - queries, generator=torch.Generator().manual_seed(seed))
    return chance.scatter(1, strongest - 1, -1.0).argsort(-1, descending=True)[:, :3] + 1


whole = loss_without(strongest[:, :0])
cost = loss_without(strongest) - whole
by_chance = np.mean([loss_without(others(seed)) - whole for seed in range(1 if FAST else 2)], 0)
v_removing = claims["removing"].judge(measured(cost), control=measured(by_chance))
print(f"loss {whole.mean():.2f}", v_removing, sep="\n")
print(f"without the sinks {measured(cost)}, without three others {measured(by_chance)}")

# %% [markdown]
# The strongest later sink is nearly always a " the" (in half of the texts the first of its kind) or a full stop, and it
# may stand anywhere. After layer 15 it does not share the first token's large dimension (507): the first token has 24 times
# the root mean square there, these tokens 6 to 18 times, and *any* token of the text 11 in the median. But most later sinks are
# in earlier layers, where we did not look, so this says little. (The row is not judged: our threshold of 20 came from models with wider streams, and
# with 576 dimensions nothing can have more than 24 times.)
#
# When no token may look at the three strongest, the loss on what follows rises by 0.18 nats (0.12 to 0.24), which is no less
# than for three other tokens (0.13, 0.07 to 0.19). For images it was said to cost nothing; what we removed are words.
#
# ## Four tasks between chance and certainty

# %%
n = 16 if FAST else 100
data = {(task, half): prompts(model, task, half, n) for task in ITEMS for half in HALVES}


def correct(task):
    """Which items of both halves the model answers rightly, choosing among the classes."""
    return np.concatenate([is_right(data[task, h].logits, data[task, h].labels) for h in HALVES])


tasks = []
for task in ITEMS:
    accuracy, chance = measured(correct(task), unit="prompts"), 1 / len(classes(task))
    inside = chance + 0.1 <= accuracy.value <= 0.95
    tasks += [task] if inside else []
    print(f"{task}: {accuracy}, chance {chance:.2f}, {'enters' if inside else 'left out'}")
count = Measured(len(tasks), len(tasks), len(tasks), len(ITEMS), "tasks", "count")
enough = gate("tasks between chance + 10 points and 95 %", count, at_least=3)

# %% [markdown]
# ## The first token against other tokens
#
# *Exercise 1.* Scaling a column of attention is one line, and easy to get wrong. Write it for one row.


# %%
def scaled(row, column, factor):
    """A row of attention with one column scaled, as long as attention has to be."""
    ### BEGIN SOLUTION
    out = np.array(row, dtype=float)
    out[column] *= factor
    return out / out.sum()
    ### END SOLUTION


# %%
def known_mistake(got):
    """What is wrong with a row whose first column should be twice as large, if it is known."""
    if np.allclose(got, [1.2, 0.3, 0.1]):
        return "this row sums to 1.6: attention sums to one, so divide the row by its sum"
    if np.allclose(got, [1.0, 0.3, 0.1]) or np.allclose(got, [1.0, 0.0, 0.0]):
        return "the first column was cut off at one: divide the row by its sum instead"
    if np.isclose(sum(got), 1) and np.isclose(got[1] / got[2], 3) and not np.isclose(got[0], 0.75):
        return "sums to one and keeps the others' proportions, but by another factor than 2"
    return f"{got} is not [0.75, 0.19, 0.06]"


def check_scaled(answer):
    """Says whether a row was scaled rightly, or what is wrong with it."""
    row = np.array([0.6, 0.3, 0.1])
    got, other = answer(row, 0, 2.0), answer(row.copy(), 1, 0.5)
    if np.shape(got) != (3,):
        return "no answer yet: return a new row, of as many numbers as before"
    if row[0] != 0.6:
        return "the row that was given has been changed, too: copy it first"
    if not np.allclose(got, [0.75, 0.1875, 0.0625]):
        return known_mistake(got)
    if not np.allclose(other, [0.705882, 0.176471, 0.117647]):
        return "right for column 0 and factor 2, but column 1 and factor 0.5 give something else"
    return "right"


check_scaled(scaled)

# %% [markdown]
# The attention of the last token to one kind of column is now scaled in all heads: to the first token, to one token of
# the prompt's beginning that was drawn at random, and to the words that the prompt asks about ("Barcelona").

# %%
everywhere = np.ones((model.cfg.n_layers, model.cfg.n_heads))
thirds = {"early layers": slice(0, 10), "late layers": slice(20, 30)}
factors = [0.5, 2.0] if FAST else [0.25, 0.5, 2.0, 4.0]


def only(where, factor):
    """The factors of all heads: `factor` in these layers, 1 elsewhere."""
    out = everywhere.copy()
    out[where] = factor
    return out


edits = {
    (kind, f): (kind, only(slice(None), f)) for kind in ("first", "item", "random") for f in factors
}
edits |= {
    (name, f): ("first", only(where, f)) for name, where in thirds.items() for f in (0.5, 2.0)
}
moved, gained = defaultdict(list), defaultdict(list)
for task in tasks:
    for half in HALVES:
        some = data[task, half]
        for key, logits in zip(edits, edited(some, list(edits.values()))):
            before = of_label(some.logits, some.labels)
            moved[key].append(of_label(logits, some.labels) - before)
            gained[key].append(is_right(logits, some.labels) - is_right(some.logits, some.labels))
moved = {key: np.concatenate(rows) for key, rows in moved.items()}
gained = {key: np.concatenate(rows) for key, rows in gained.items()}


def size(kind):
    """Mean size of the change for times 2 and times 1/2 [prompt]."""
    return np.mean([np.abs(moved[kind, f]) for f in (0.5, 2.0)], 0)


names = {"first": "first token", "item": "words asked about", "random": "random token"}
interp.plots.lines(
    [[100 * gained[kind, f].mean() for f in factors] for kind in names],
    factors,
    x_name="factor on the last token's attention, all heads",
    title="Accuracy gained by scaling the attention to one kind of token",
    unit="points",
    names=list(names.values()),
    log="x",
)

# %%
v_first = claims["first-matters-more"].judge(
    {
        "than a random token": ratio_of_means(size("first"), size("random")),
        "than the words asked about": ratio_of_means(size("first"), size("item")),
    },
    gate=enough,
)
v_early = claims["early-layers"].judge(
    ratio_of_means(size("early layers"), size("late layers")), gate=enough
)
print({name: round(float(size(name).mean()), 4) for name in [*names, *thirds]})
print(v_first, *[f"  {name}: {part.measured}" for name, part in v_first.parts], sep="\n")
print(v_early, v_early.measured, sep="\n")

# %% [markdown]
# Scaling the first token moves the right answer twice as far as scaling a token drawn at random (2.2), and a quarter as far
# as scaling the words that are asked about (0.24): when these get twice the attention, the accuracy rises by 2 points, and with a
# quarter of it, it falls by 19. How far is not how well: Han and colleagues say that *tuning* the first token, head by head, gains
# more, and tuning the other tokens was not tried here, so this is a question of our own. Scaling the first token in *all* heads
# helps nowhere by more than a quarter of a point. It is the late layers in which it matters, three times as much
# as in the early ones. But we scale what the last token reads alone. Where every query is scaled, what early layers do at
# the other positions counts, too; so the row on layers is not testable here (by its threshold it had been *does not hold*, 0.29).
#
# ## The search
#
# A head's slope is the change of the right class's log-probability when the logarithm of the factor rises by one. One
# backward pass gives it for all heads and all prompts, and for any labels: labels enter only as weights. So a search with
# shuffled labels costs no more than one with the right labels. Is a slope any good for a factor of 2? We compare it with
# the real effect of heads that are scaled one at a time.

# %%
some = data[tasks[-1], "first"]
promised = promise(some, "first", some.labels)
tried = np.random.default_rng(0).choice(everywhere.size, 12 if FAST else 24, replace=False)
alone = [everywhere.copy() for _ in tried]
for head, sheet in zip(tried, alone):
    sheet.flat[head] = FACTOR
effect = of_label(edited(some, [("first", sheet) for sheet in alone]), some.labels).mean(-1)
effect = effect - of_label(some.logits, some.labels).mean()
valid = gate(
    "promised and real effect of one head, rank correlation",
    rank_correlation(promised.flat[tried], effect),
    at_least=0.7,
)
print(valid)

# %%
kv = [head // 3 for head in range(everywhere.size)]
both = np.stack(
    [
        promise(data[task, half], "first", data[task, half].labels).ravel()
        for task in tasks
        for half in HALVES
    ],
    -1,
)  # [head, halves of the tasks]


def agreement(rows):
    """Rank correlation of the two halves, mean of the tasks."""
    return np.mean([spearman(rows[:, 2 * i], rows[:, 2 * i + 1]) for i in range(len(tasks))])


rarer = min((both > 0).mean(0).min(), (both < 0).mean(0).min())
ways = Measured(rarer, rarer, rarer, everywhere.size, "heads", "least of all halves")
v_preferences = claims["preferences"].judge(
    measured(both, agreement, groups=kv, n_boot=300),
    gate=[enough, valid],
    provided=gate("share of heads that prefer the rarer way", ways, at_least=0.2),
)
print(v_preferences, v_preferences.measured, sep="\n")

# %% [markdown]
# In one task, for 24 heads taken singly, a slope predicts the real effect of a factor of 2 well (rank correlation 0.94). Heads do
# have preferences: in each task, at least 42 % of them want more attention to the first token and at least 42 % want less, and
# two halves of 100 prompts agree on which (0.94). That is within one wording; whether a head keeps its preference across tasks was
# not asked. So scaling all heads alike may well do nothing where choosing them does something.
#
# *Exercise 2.* A search on half A gains 6 points on A and 2 on B; a search on half B gains 8 on B and 4 on A. Compute the
# honest gain, and by how many points the gain where it was searched is too high, from this table (rows: searched on A, B; columns:
# judged on A, B).

# %%
table = np.array([[6.0, 2.0], [4.0, 8.0]])
### BEGIN SOLUTION
### STUB: honest, flattery = None, None
honest = (table[0, 1] + table[1, 0]) / 2
flattery = (table[0, 0] + table[1, 1]) / 2 - honest
### END SOLUTION


# %%
def check_honest(honest, flattery):
    """Says whether the two numbers are right, or what they are instead."""
    if honest is None or flattery is None:
        return "no answer yet: two numbers are asked for"
    if np.isclose(honest, 7):
        return "7 is the gain on the halves that were searched: judge on the other half"
    if np.isclose(honest, 5):
        return "5 is the mean of all four: half of it was judged where it was searched"
    if np.isclose(honest, 2) or np.isclose(honest, 4):
        return f"{honest:g} is one way round: the other way round counts as well"
    if not np.isclose(honest, 3):
        return f"{honest} is not the mean of the two gains on the other half"
    if np.isclose(flattery, 4):
        return "right"
    return "the honest gain is right; compare it with the gain on the halves that were searched"


check_honest(honest, flattery)

# %% [markdown]
# Now the same for our tasks. For each half, 20 heads are chosen on it and judged on both; the same with shuffled labels (the
# accuracy, too, is then counted against the shuffled labels); and 20 random heads, each way at random. *Class offsets* are the cheapest calibration
# there is: one number added to the logit of each class, fitted on one half, without touching a head.
#
# Two questions were added when a first run had answered the others: how does the search fare that counts right answers,
# as ACT's does, and how one on four, ten, twenty or fifty prompts? For the latter each half is cut into blocks of that
# size. A prompt is judged by the heads of its own block, and by those of a block of the other half.


# %%
settings = dict(factor=FACTOR, beta=BETA)
choose = partial(choose_heads, k=K, **settings)


def gain(logits, some, labels):
    """Accuracy and log-probability gained on each prompt, by these labels [2 prompt]."""
    return np.stack([f(logits, labels) - f(some.logits, labels) for f in (is_right, of_label)])


def offsets(some):
    """One number for each class that makes the labels likeliest."""

    def loss(by):
        return -of_label(some.logits + np.append(0, by), some.labels).mean()

    return np.append(0, minimize(loss, np.zeros(some.logits.shape[-1] - 1)).x)


rng = np.random.default_rng(0)
gains = {kind: defaultdict(list) for kind in ("first", "sinks")}
for task in tasks:
    shuffled = {h: [rng.permutation(data[task, h].labels) for _ in range(DRAWS)] for h in HALVES}
    for here, there in (HALVES, HALVES[::-1]):  # judged here
        some, other = data[task, here], data[task, there]
        for kind, out in gains.items():
            sets = [choose(x, kind, x.labels) for x in (some, other)]
            sets += [choose(some, kind, labels) for labels in shuffled[here]]
            sets += [choose(other, kind, labels) for labels in shuffled[there]]
            sets += [random_heads(some, kind, sets[1], rng, **settings) for _ in range(DRAWS)]
            every = ["searched half", "other half", *["shuffled, searched half"] * DRAWS]
            every += ["shuffled, other half"] * DRAWS + ["random heads"] * DRAWS
            by = [some.labels] * 2 + shuffled[here] * 2 + [some.labels] * DRAWS
            if kind == "sinks":
                sets, every = [*sets, 1 / sets[1]], [*every, "raised instead"]
            if not FAST:
                sets += [choose(x, kind, x.labels, by="accuracy") for x in (some, other)]
                every += ["by accuracy, searched half", "by accuracy, other half"]
            for size in SIZES if kind == "first" else ():
                sets += [choose_in_blocks(x, size, k=K, **settings) for x in (some, other)]
                every += [f"{size} prompts, searched", f"{size} prompts, other half"]
            by += [some.labels] * (len(sets) - len(by))
            logits = edited(some, [(kind, sheet) for sheet in sets])
            each = [gain(x, some, y) for x, y in zip(logits, by)]
            for name in dict.fromkeys(every):
                out[name].append(np.mean([x for x, its in zip(each, every) if its == name], 0))
        out = gains["first"]
        out["class offsets"].append(gain(some.logits + offsets(other), some, some.labels))
gains = {kind: {k: np.concatenate(v, -1) for k, v in out.items()} for kind, out in gains.items()}

# %% tags=["cover"]
sizes = [*SIZES, n]


def by_size(what):
    """The gain in points, with its interval, when so many prompts are searched."""
    names = [f"{size} prompts, {what[0]}" for size in SIZES] + [what[1]]
    return [measured(100 * gains["first"][name][0]) for name in names]


curves = [by_size(what) for what in (("searched", "searched half"), ("other half", "other half"))]
level = measured(100 * gains["first"]["class offsets"][0]).value
interp.plots.lines(
    [[m.value for m in curve] for curve in curves],
    sizes,
    interval=[[[getattr(m, end) for m in curve] for curve in curves] for end in ("low", "high")],
    x_name="prompts that were searched",
    title="Accuracy gained on searched prompts and on others",
    unit="points",
    names=["prompts that were searched", "prompts of the other half"],
    guide=([level] * len(sizes), f"class offsets, no head ({n} prompts)"),
    colours=["#d55e00", "#7b3294"],
    log="x",
)

# %%
bars = ["searched half", "other half", "random heads", "shuffled, searched half"]
bars += ["shuffled, other half", "class offsets"]
numbers = [measured(100 * gains["first"][name][0]) for name in bars]
ax = interp.plots.bars(
    [m.value for m in numbers],
    bars,
    interval=np.array([(m.low, m.high) for m in numbers]).T,
    title="Accuracy gained by scaling attention to the first token in 20 heads",
    unit="points",
)
_ = ax.set_ylim(-5, 9)

# %%
also = ["searched half", "other half", "raised instead", "random heads", *bars[3:5]]
numbers = [measured(100 * gains["sinks"][name][0]) for name in also]
again = interp.plots.bars(
    [m.value for m in numbers],
    also,
    interval=np.array([(m.low, m.high) for m in numbers]).T,
    title="Accuracy gained by scaling attention to later sinks",
    unit="points",
)
_ = again.set_ylim(-5, 9)

# %%
for kind, out in gains.items():
    print(f"{kind}: accuracy in points, log-probability in nats")
    for name, (accuracy, nats) in out.items():
        print(f"  {name:24} {measured(100 * accuracy)!s:24} {measured(nats)}")

by_task = {
    name: [100 * part.mean() for part in np.split(gains["first"][name][0], len(tasks))]
    for name in ("searched half", "other half", "random heads", "class offsets")
}
interp.plots.heatmap(
    np.array(list(by_task.values())).T,
    tasks,
    list(by_task),
    row_name="task",
    col_name="judged on",
    title="Accuracy gained in each task (first token)",
    unit="points",
)

# %%
gates = [enough, valid]
judged = Measured(*[len(tasks) * 2 * n] * 4, "prompts", "count")
fine = [*gates, gate("prompts that are judged", judged, at_least=400)]
v_tuning = claims["tuning-gain"].judge(
    measured(gains["first"]["other half"][0]),
    control=measured(gains["first"]["random heads"][0]),
    gate=gates,
)
v_calibration = claims["calibration-gain"].judge(
    measured(gains["sinks"]["other half"][0]),
    control=measured(gains["sinks"]["random heads"][0]),
    gate=fine,
)


def flattered(kind, searched="searched half", other="other half"):
    """Accuracy gained on the prompts that were searched minus that on others [prompt]."""
    if FAST and searched != "searched half":
        return None
    return measured(gains[kind][searched][0] - gains[kind][other][0])


v_overfitting = claims["overfitting"].judge(
    {"first token": flattered("first"), "later sinks": flattered("sinks")}, gate=gates
)
rule = ["by accuracy, searched half", "by accuracy, other half"]
v_by_accuracy = claims["by-accuracy"].judge(flattered("first", *rule), gate=fine)
few = ["10 prompts, searched", "10 prompts, other half"]
v_few = claims["few-prompts"].judge(flattered("first", *few), gate=fine)
seen = gains["first"]["shuffled, searched half"][1]
v_nothing = claims["nothing-to-find"].judge(
    {
        "searched half": measured(seen),
        "searched half minus the other": measured(seen - gains["first"]["shuffled, other half"][1]),
    },
    gate=fine,
)
v_offsets = claims["class-offsets"].judge(
    measured(gains["first"]["class offsets"][0] - gains["first"]["other half"][0]), gate=fine
)
print(v_tuning, v_calibration, v_overfitting, v_by_accuracy, v_few, sep="\n")
print(v_nothing, v_offsets, sep="\n")

# %% [markdown]
# At the left of the first picture, with four prompts searched, the two curves lie 4.8 points apart: that is the search's
# own. With ten prompts it is 2.5 points (1.4 to 3.8). At 50 they have met, and twenty heads from 100 prompts gain 4.1
# points on others, where random heads gain 0.4. Averaged over so many prompts, a head's slope is a reliable number (see
# above), and choosing among 270 reliable numbers is no gamble. A search that counts right answers, estimated from the slopes,
# gains 1.6 points on either half. ACT's script runs each head instead; how far that one overfits, this does not say.
# The gain comes mostly from one task: without continents it is 2.7 points. And our random heads, each way at random, do not
# separate the choice of heads from the choice of ways.
#
# Shuffled labels gain no accuracy, on either half. In log-probability, however, they gain 0.57 nats where they were
# searched *and 0.56 on the other half*. Nearly all of this is no overfitting; 0.008 (0.003 to 0.014) is. A likely reason is that a model that
# is sure of itself is punished by wrong labels, so that heads which make it unsure help with any labels; we did not measure how
# sure it was. It would look like a discovery to somebody who had tried shuffled labels on one half only, or reported
# log-probability alone.
#
# What do the heads do? In three of the tasks they gain about as much as class offsets; on continents offsets gain nearly
# twice as much (15 points against 8.5). There the model has a favourite: of 40 pilot items it called one " America" and
# 19 " Europe". One number for each class, without a look inside, is at least as good as twenty heads. That the heads do the same
# thing is likely, but was not tested; heads on top of offsets would tell.
#
# Less attention to later sinks gains 0.9 points (interval 0.1 to 1.6; ACT reports up to 7.3 with Llama-30B and with all queries
# changed). More attention in the same heads loses 3, as it must, since they were chosen because less should help. In random
# heads with later sinks less attention gains 0.1.
#
# ## Verdicts

# %%
verdicts(
    "12-calibrating-sinks",
    [
        v_later,
        v_massive,
        v_removing,
        v_first,
        v_early,
        v_preferences,
        v_tuning,
        v_calibration,
        v_overfitting,
        v_by_accuracy,
        v_few,
        v_nothing,
        v_offsets,
    ],
    model=MODEL,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - A search overfits by as much as its scores are noisy. Ask how well two halves agree on the scores, before you
#   ask what was gained.
# - Judge on the other half, both ways round, and beside random heads. That costs one more run.
# - Shuffled labels are a control for the whole procedure. Look at them on both halves: what they gain on *both* is not
#   overfitting but something that helps whatever the labels are.
# - Put the cheapest method beside yours. Class offsets need no model internals and did better here.
# - Averages over few queries are large by themselves. Count a sink only where enough queries look.
#
# ## What did not reproduce, and what was not tried
#
# - **Earlier layers have greater impact** is not judged: here the late ones have, when the last token's attention is scaled. Scaling
#   every query in every layer would decide whether that is the model or our choice.
# - **Removing sinks is harmless:** not for words. Visual sinks are irrelevant to the question; a text has few such
#   tokens. Longer texts, with tokens that truly say nothing (line breaks, list marks), would be a closer match.
# - **Later sinks and massive activations** could not be judged with our threshold. One in terms of the share of the
#   squared length would do, fixed before it is measured.
# - **The gains are small**, and two of the four tasks are near their ceiling (95 and 93 %). A task in the middle, or
#   another model, would tell whether 4 points is little or what was there to get.
# - **Our search is gentler than the authors'**: slopes of the log-probability in place of one run for each head, always
#   20 heads, one factor. More choices mean more overfitting.
# - **One model, one wording** of each task. FAST has a sixth of the prompts and judges what needs many as *not testable*.
#
# ## Try it
#
# - Let the search choose 80 heads, or a factor of 4 (`K`, `FACTOR`). Where do the two halves part?
# - Give a task a prompt of your own in `interp/replications/calibration_items.py`, one with a strong bias towards one
#   class.
#
# ## Further reading
#
# - Gu et al. 2025, "When Attention Sink Emerges in Language Models: An Empirical View", arXiv 2410.10781 (study 10).
# - Zhao et al. 2021, "Calibrate Before Use: Improving Few-Shot Performance of Language Models", arXiv 2102.09690: class
#   offsets.
# - Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks", arXiv 2309.17453.
