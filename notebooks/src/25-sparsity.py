# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sparsity

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

BLUE, ORANGE, GREEN, PINK, BLACK = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555"

# %%
claims = load_claims("25-sparsity")
claims

# %% [markdown]
# ## Gates

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
# ## Removing the smallest weights

# %%
LEVELS = [0, 0.2, 0.35, 0.5] if FAST else [0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5]
FEW = [0.1, 0.2, 0.4] if FAST else [0.1, 0.2, 0.3, 0.4]
EIGHTHS = [] if FAST else [1 / 8, 2 / 8, 3 / 8, 4 / 8]


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
whole = others([] if FAST else [0.3, 0.4], within="model")
two_four = others([] if FAST else [0.5], within=4)

# %%
ways = {
    "smallest of each matrix": (LEVELS, by_size["judge"]["text"], BLUE),
    "smallest of every 8": ([0, *EIGHTHS], of_eight["judge"], GREEN),
    "at random": ([0, *FEW], at_random["judge"], ORANGE),
}
for name, (levels, rows, _) in ways.items():
    print(name, dict(zip(np.round(levels, 3).tolist(), rows.mean(0).round(2).tolist())))
print("smallest of the model", whole["judge"].mean(0).round(2))
print("2:4", two_four["judge"].mean(0).round(2))


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
print(knee, knee_n, knee_r, ratio_r, v_drop, v_n, sep="\n")


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
    print({fit.__name__: left_out(text_rows["judge"], fit) for fit in (lines, power)})
v_corner = claims["corner"].judge(corner, gate=few)
extra = at_random["judge"][:, 1 + FEW.index(0.2)] - text_rows["judge"][:, LEVELS.index(0.2)]
v_which = claims["which-weights"].judge(measured(extra))
print(v_corner, v_which, sep="\n")

# %% [markdown]
# ## Which ability dies first?


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
    print("found:", dict(zip(names, halves(skills["find"]).round(3))), order)
    print("judged:", dict(zip([*names, "language"], halves(both).round(3))))
v_order = claims["order"].judge(apart_order, gate=[prompts, *able])
v_before = claims["before-language"].judge(before, gate=[prompts, *able])
print(v_order, v_before, *(f"{name}: {v.measured}" for name, v in v_before.parts), sep="\n")

# %% tags=["cover"]
if not FAST:
    left = both / both[:, :, :1].mean(0)
    ends = np.array(
        [[(m.low, m.high) for m in map(measured, one.T)] for one in left.swapaxes(0, 1)]
    )
    interp.plots.lines(
        left.mean(0),
        100 * np.array(LEVELS),
        placed=True,
        interval=(ends[..., 0], ends[..., 1]),
        names=[*names, "language"],
        colours=[BLUE, PINK, GREEN, BLACK],
        x_name="% of the weights removed, smallest first",
        unit="share left",
        title="What is left of three abilities and of language",
    )

# %% [markdown]
# ## Silencing neurons

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

# %% [markdown]
# ## Neurons over training

# %%
SEEDS, STEPS = [] if FAST else [0, 1, 2], 800
SHOWN = (150, 200, 250, 300, 400, 550, 700, 800)
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
ACTS = {"ReLU": ORANGE, "SiLU": BLUE}
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
        print(act, active[act].round(3), loss[act].round(3), [r[2] for r in trained[act]], sep="\n")
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
        title="Active neurons over training, at 1 % more perplexity",
    )

# %% [markdown]
# ## Verdicts

# %%
verdicts(
    "25-sparsity",
    [v_drop, v_n, v_silenced, v_alike, v_trends, v_corner, v_which, v_order, v_before],
    model=MODEL,
    fast=FAST,
)
