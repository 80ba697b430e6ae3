# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Can a small autoencoder name a circuit's heads without patching anything?
#
# Paper: O'Neill and Bui 2024, "Sparse Autoencoders Enable Scalable and Reliable Circuit Identification in Language Models", arXiv 2405.12522
#
# **The question.** Finding the heads of a circuit usually takes interventions: change a head, run the
# model, see what happens, 270 times. The paper proposes a shortcut. Record what each head writes on ten
# prompts that the model can answer and on ten that it cannot. Train a tiny sparse autoencoder on these
# vectors. A head belongs to the circuit if it has codes that appear only on the prompts that can be
# answered. No interventions, seconds of work.
#
# **How we look.** The heads that matter are found once, the slow way, by ablating each head on other
# prompts. Then every score (the codes, attribution patching, the bare size of what a head writes) ranks all
# heads, and we ask how high it puts the ones that matter: the area under the ROC curve, 0.5 for guessing.
#
# *Before you run anything: a head that writes something else for every name has many codes. What score will
# it get if prompts are called positive at random?*
#
# **What we found.** The codes take seconds, and a scan of all heads many times as long. Whether they name
# the right heads, this notebook cannot say: for indirect objects our negative prompts are ones that the
# model solves, and the paper's must be ones that it cannot. As they stand the codes rank heads little better
# than chance (0.60), and as well with labels dealt at random; attribution patching reaches 0.94, and the
# bare size of what a head writes 0.88.
#
# 12 minutes · intermediate · you should know what a sparse autoencoder and a ROC curve are

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | model | GPT-2 small and others with published circuits | SmolLM2-135M |
# | true heads | circuits from the literature | single ablations of every head, on other prompts |
# | negative prompts | the model cannot predict the next word | corrupted twins; in IOI they name the *other* person twice, which the model solves |
# | prompts | 10 + 10, codes counted on hundreds | 10 + 10, counted on the same |
# | vectors | means over positions | the last position, each head scaled to one size |
# | autoencoder | 500 full batches, a penalty of their own | sae-lens' standard one, 200 steps of 512 rows |
# | repeats | | five seeds |
#
# A head belongs to the circuit when its ablation moves the metric by 2 % of what the corrupted prompts move
# it by, with a 95 % interval that leaves out zero.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from dataclasses import replace

import numpy as np

import interp
from interp import plots
from interp.features.training.train_cache import cache_folder
from interp.replications.head_codes import codes_of, permuted, written
from interp.results import Result, mean_of
from interp.studies import Measured, gate, load_claims, mean_auroc, measured, verdicts

# %%
claims = load_claims("08-sae-codes-find-circuits")
claims

# %% [markdown]
# ## Three tasks, positive and negative prompts
#
# Positive prompts are ordinary prompts of the task. The negative ones are their corrupted twins: other names,
# a year that rules nothing out, other arguments. For indirect objects that is a mistake, as we found later. A
# twin in which the other person is named twice is a perfectly good prompt, which the model answers. FAST
# leaves docstrings out, and takes fewer prompts, seeds and steps.

# %%
model = interp.load(MODEL)
makers = {
    "IOI": interp.tasks.ioi,
    "greater-than": interp.tasks.greater_than,
    "docstring": interp.tasks.docstring,
}
names = list(makers)[:2] if FAST else list(makers)
N, SIZES, WIDTHS, SEEDS, STEPS, HELD = (
    (5, (5, 20), (), range(2), 100, 2)
    if FAST
    else (10, (3, 5, 10, 20), (50, 100), range(5), 200, 12)
)
made = {(name, seed): makers[name](model, n=20, seed=seed) for name in names for seed in SEEDS}
held = {name: makers[name](model, n=HELD).heldout() for name in names}
made["IOI", 0].show(1)

# %% [markdown]
# Can the model do them? We ask for 95 % of the prompts in IOI, 30 points above chance for docstrings (one of
# five arguments), and 0.3 more probability on the digits that are right in greater-than.

# %%
asked = {
    "IOI": ("accuracy", 0.95),
    "greater-than": ("prob_diff", 0.3),
    "docstring": ("accuracy", 0.5),
}
right = {
    name: measured(
        makers[name](model, n=8 if FAST else 32)
        .heldout()
        .with_metric(asked[name][0])
        .clean_metric(model)
    )
    for name in names
}
able = [gate(f"{name}: {asked[name][0]}", right[name], at_least=asked[name][1]) for name in names]
print(*able, sep="\n")

# %% [markdown]
# ## Which heads matter?
#
# On the other half of the names, nouns and functions, every head in turn takes its mean over the corrupted
# prompts, at all positions. (Kept in the cache: this scan is what the method wants to avoid.)

# %%
effects, truth = {}, {}
for name, task in held.items():
    effects[name] = interp.ablate(
        model,
        task,
        "L*H*",
        reference=task.corrupted,
        resume=cache_folder(MODEL, "study-08", f"{task.name}-{HELD}.npz"),
    )
    (low, high), (clean, corrupted) = (
        effects[name].ci(),
        task.behaviour(model).sel(measure=task.metric_title).values,
    )
    matters = (np.abs(effects[name].values) >= 0.02 * abs(clean - corrupted)) & (
        (low > 0) | (high < 0)
    )
    truth[name] = [head for head, yes in zip(effects[name].labels(), matters.ravel()) if yes]
    print(
        f"{name:12} {len(truth[name])} of {matters.size} heads; strongest",
        *effects[name].top(6).labels,
    )

# %% [markdown]
# ## The codes
#
# What all heads write at the last position, divided by each head's own size, trains one sparse autoencoder of
# 200 latents. The code of a head on a prompt is its strongest latent. A head's score is the share of its codes
# on positive prompts that it has on no negative one.

# %%
wrote = {
    key: [written(model, part) for part in (task.clean, task.corrupted)]
    for key, task in made.items()
}
runs, codes = [*((n, 200) for n in SIZES), *((N, width) for width in WIDTHS)], {}
for n, width in runs:
    for (name, seed), (yes, no) in wrote.items():
        codes[n, width, name, seed] = codes_of(yes[:n], no[:n], width=width, steps=STEPS, seed=seed)
found = {
    run: {
        name: [interp.replications.head_code_scores(codes[*run, name, seed]) for seed in SEEDS]
        for name in names
    }
    for run in runs
}
main = found[N, 200]
{key: codes[N, 200, "IOI", 0].metadata[key] for key in ("latents on", "explained", "codes")}

# %% tags=["cover"]
mean_of(main["IOI"]).plot(
    marks={"ablation's heads": truth["IOI"]},
    title=f"IOI: share of codes that only positives have ({N} + {N} prompts)",
)
# %% [markdown]
# L23H3 and L29H0 are found, and they are two of the four strongest heads. Most heads score nothing at all:
# what they write falls on the same codes on both kinds of prompts.
#
# ## Against its rivals
#
# All on the same prompts: the size of what a head writes at the last position, random scores, the same codes
# with prompts called positive at random, attribution patching, and EAP-IG with the edges out of a head summed.

# %%
rng, scores = (
    np.random.default_rng(0),
    {
        "codes": main,
        "codes, labels at random": {},
        "random": {},
        "output norm": {},
        "attribution patching": {},
        "EAP-IG": {},
    },
)
for name in names:
    tasks, like = [made[name, seed][:N] for seed in SEEDS[:2]], main[name][0]
    scores["codes, labels at random"][name] = [
        interp.replications.head_code_scores(permuted(codes[N, 200, name, seed], seed))
        for seed in SEEDS
    ]
    scores["random"][name] = [replace(like, values=rng.random(like.values.shape)) for _ in SEEDS]
    scores["output norm"][name] = [
        replace(like, values=wrote[name, seed][0][:N].norm(dim=-1).mean(0).numpy())
        for seed in SEEDS
    ]
    scores["attribution patching"][name] = [
        interp.attribution_patch(model, task, "L*H*", direction="noising") for task in tasks
    ]
    edges = [interp.discover(model, task, "eap_ig") for task in tasks]
    heads = ["H" in sender for sender in edges[0].coords["sender"]]
    scores["EAP-IG"][name] = [
        replace(like, values=np.nansum(e.values, 1)[heads].reshape(like.values.shape))
        for e in edges
    ]

# %%
if not FAST:
    again = {name: made[name, 0][:5] for name in names}
    scores["ablation, 5 other prompts"] = {
        name: [
            interp.ablate(
                model,
                task,
                "L*H*",
                reference=task.corrupted,
                resume=cache_folder(MODEL, "study-08", f"{task.name}-again.npz"),
            )
        ]
        for name, task in again.items()
    }
areas = {who: mean_auroc(of, truth) for who, of in scores.items()}
ends = [a.low for a in areas.values()], [a.high for a in areas.values()]
plots.bars(
    [a.value for a in areas.values()],
    list(areas),
    interval=ends,
    title="Which heads matter? (0.5: guessing)",
    unit="area under the ROC curve",
).set_ylim(0.3, 1)
# %%
each = {
    who: {name: round(mean_auroc({name: of[name]}, {name: truth[name]}).value, 2) for name in names}
    for who, of in scores.items()
}
for who, area in areas.items():
    print(f"{who:26} {area}", each[who])

# %%
grid = np.linspace(0, 1, 51)
curves = {
    who: interp.methods.circuits.roc_curve(mean_of(scores[who]["IOI"]), truth["IOI"])
    for who in list(scores)[:6]
}
told = [np.interp(grid, curve.coords[curve.dims[0]], curve.values) for curve in curves.values()]
Result(
    told,
    ("scores", "false positive rate"),
    {"scores": list(curves), "false positive rate": grid},
    "IOI: heads found",
    "true positive rate",
).plot()
# %%
norm = gate(
    "area minus the output norm's",
    mean_auroc(main, truth, against=scores["output norm"]),
    at_least=0,
)
v_recovers = claims["recovers"].judge(
    areas["codes"], control=areas["codes, labels at random"], gate=able, provided=norm
)
v_rivals = claims["against-attribution"].judge(
    mean_auroc(main, truth, against=scores["attribution patching"]), gate=able
)
print(v_recovers, norm, v_rivals, sep="\n")

# %% [markdown]
# The codes rank heads as well as the same codes with the labels mixed up, and no better. A head that writes
# something else on every prompt (names in IOI) has many codes, and some of them fall on positive prompts alone,
# whatever is called positive. The size of what a head writes is one number without any training, and comes close
# to attribution patching. But is this the paper's method? Not for IOI, where both kinds of prompts can be
# answered, so that nothing but the names differs. Measured apart from this notebook with three seeds, negative
# prompts that name three different people change the area in IOI from 0.64 to 0.73 (random labels: 0.69 and
# 0.68). So the sign turns, though 0.73 is still far below the output's size (0.91). Until all of it is measured
# that way, the two rows above are *not testable here*.
#
# ## How many examples, how many latents?

# %%
swept = {run: mean_auroc(found[run], truth) for run in runs}
at = [swept[n, 200] for n in SIZES]
plots.lines(
    [a.value for a in at],
    SIZES,
    x_name="positive prompts (and as many negative ones)",
    title="The codes' area by number of prompts (200 latents)",
    unit="area under the ROC curve",
    interval=([a.low for a in at], [a.high for a in at]),
).set_ylim(0.4, 1)
print({f"{n} + {n} prompts, {width} latents": str(area) for (n, width), area in swept.items()})

# %%
mixed = {
    name: [
        interp.replications.head_code_scores(permuted(codes[5, 200, name, seed], seed))
        for seed in SEEDS
    ]
    for name in names
}
ours, chance = (
    mean_auroc(of, truth, against=found[20, 200], how="ratio") for of in (found[5, 200], mixed)
)
v_few = claims["few-examples"].judge(ours, control=chance, gate=able)
print(v_few, chance)

# %% [markdown]
# Nearly flat: 5 + 5 prompts give 93 % of the area of 20 + 20, which is above the threshold. But so do 5 + 5
# prompts with their labels mixed up. Where the area is that of guessing, fewer examples have nothing to lose, so
# this row is not testable here, either. Fewer latents do a little better (0.69 with 50).
#
# ## What does the score depend on?
#
# The authors' published code takes the mean over positions, does not scale heads, counts codes instead of taking
# a share, and counts on many more prompts than it trains on (the last row has all of it). We try each of these, and
# pairs of heads in place of heads.

# %%
other = {
    "counted, not a share": {
        name: [
            interp.replications.head_code_scores(codes[N, 200, name, seed], count="number")
            for seed in SEEDS
        ]
        for name in names
    }
}
other["share of all codes"] = {
    name: [
        interp.replications.head_code_scores(codes[N, 200, name, seed], count="union")
        for seed in SEEDS
    ]
    for name in names
}
other["pairs, mean over the other head"] = {}
for name in names:
    pairs = [
        interp.replications.head_pair_scores(codes[N, 200, name, seed]).values for seed in SEEDS[:1]
    ]
    both = [np.nanmean(np.concatenate([p, p.T], 1), 1) for p in pairs]
    other["pairs, mean over the other head"][name] = [
        replace(main[name][0], values=b.reshape(main[name][0].values.shape)) for b in both
    ]

# %%
kinds = {
    "heads not scaled": {"normalise": "none"},
    "each head's mean taken away": {"normalise": "standardise"},
    "coded on all 20 + 20": {},
    "mean over positions": {},
    "mean over positions, not scaled, 20 + 20": {"normalise": "none"},
}
averaged = (
    {}
    if FAST
    else {
        key: [written(model, part, "mean") for part in (task.clean, task.corrupted)]
        for key, task in made.items()
        if key[1] < 2
    }
)
for kind, options in ({} if FAST else kinds).items():
    for name in names:
        read = averaged if "positions" in kind else wrote
        given = [
            (yes[:N], no[:N], (yes, no) if "20 + 20" in kind else None, seed)
            for (of, seed), (yes, no) in read.items()
            if of == name and seed < 2
        ]
        some = [
            codes_of(yes, no, steps=STEPS, seed=seed, others=others, **options)
            for yes, no, others, seed in given
        ]
        other.setdefault(kind, {})[name] = [
            interp.replications.head_code_scores(
                c, count="number" if "20 + 20" in kind else "share"
            )
            for c in some
        ]
for kind, of in {"as above": main, **other}.items():
    print(
        f"{kind:40} {mean_auroc(of, truth)}",
        {name: round(mean_auroc({name: of[name]}, {name: truth[name]}).value, 2) for name in names},
    )

# %% [markdown]
# How codes are counted changes nothing. Taking each head's mean away, so that codes need not tell heads apart,
# helps most: 0.89 for greater-than, 0.77 for docstrings, but below guessing for IOI (0.43). Means over positions
# come to 0.52, also with all that the authors' code does. None of these was chosen in advance, and none reaches the
# size of the output.
#
# ## How long does it take?
#
# We time the whole method, and an ablation of every ninth head (one in each layer, the time taken nine times), on the
# same prompts in the same process. Beside them stands attribution patching, which needs no scan either.

# %%
ratios, timed = {}, gate("prompts timed (FAST takes too few)", Measured(N, N, N, N), at_least=10)
for name in names if timed.passed else []:
    task = made[name, 0][:N]
    method, scan = (
        interp.replications.head_codes(model, task, steps=STEPS),
        interp.ablate(model, task, "L*H4", reference=task.corrupted),
    )
    took = [
        one.metadata["seconds"] for one in (method, scan, scores["attribution patching"][name][0])
    ]
    ratios[name] = 9 * took[1] / took[0]
    print(
        f"{name:12} the scan takes {ratios[name]:.1f} times as long as the codes, attribution "
        f"patching {took[2] / took[0]:.1f} times"
    )
v_quick = claims["seconds"].judge(
    measured(list(ratios.values())) if timed.passed else None, gate=[*able, timed]
)
print(v_quick)

# %% [markdown]
# Seconds instead of minutes: a scan of all heads takes 18 times as long as the codes. (The paper's "hours" are those
# of slower scans, and only one head in nine was timed here.) But attribution patching, whose area is 0.34 higher,
# takes about as long as the codes. Times vary with the machine; FAST takes none.

# %% [markdown]
# ## Verdicts

# %%
verdicts(
    "08-sae-codes-find-circuits", [v_recovers, v_rivals, v_few, v_quick], model=model, fast=FAST
)

# %% [markdown]
# ## What to remember
#
# - A method that looks for differences between two sets of prompts is only as good as the sets. If the model can
#   answer both, there is no circuit that is on in one and off in the other.
# - Compare a clever score with a stupid one. The length of what a head writes, without any training, ranks the heads
#   that matter almost as well as attribution patching.
# - Deal the labels at random once. What is left is what the method finds in any two sets of prompts.
#
# ## Try it
#
# - Repeat IOI with negative prompts that cannot be answered: `interp.tasks.ioi(model, n=20, corruption="abc")`.
# - Another size of the circuit: the 27 heads with the largest effects, `effects["IOI"].top(27).labels`, in place of `truth`.
# - Which pairs of heads go together? `interp.replications.head_pair_scores(codes[10, 200, "IOI", 0]).top(10, by="high")`.

# %% [markdown]
# ## What did not reproduce, and what we cannot say
#
# - **Recovery is not tested** (an earlier version said "does not hold"). The paper's negative prompts are ones on which
#   the model cannot predict the next word; our IOI twins are ones on which it can.
# - **Few examples.** At the level of guessing, an area that does not fall with fewer examples says nothing.
# - **The truth differs.** The paper's circuits come from the literature, on other, smaller models. Ours are single
#   ablations at all positions (IOI 13 heads, greater-than 8, docstrings 34 of 270), which miss heads that stand in for
#   each other. Intervals draw heads one by one although three share their keys, and are somewhat too narrow.
# - **The last position is read**, and heads that act earlier cannot be found there. The output's size reads the same
#   vectors, though, and reaches 0.88.
# - **The training differs.** Here it is sae-lens' standard autoencoder, 200 steps of 512 rows, with heads scaled to one
#   size; about two latents are on, and two thirds of the variance are explained. The number of steps was chosen by that
#   loss, not by the areas. Whether the areas had settled was not measured.
# - **More prompts.** The authors' published code counts codes on hundreds of prompts. Counted on 20 + 20 after training
#   on 10 + 10 the area is 0.64.
# - **One model,** instruction-tuned and small, its weights stored in four bits and unpacked.
#
# ## Further reading
#
# - Conmy et al. 2023, "Towards Automated Circuit Discovery for Mechanistic Interpretability", for the patching that the codes
#   are meant to replace; Syed et al. 2023, "Attribution Patching Outperforms Automated Circuit Discovery".
