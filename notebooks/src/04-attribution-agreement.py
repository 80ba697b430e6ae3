# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which words did the answer hang on? Nine measures, and whether they agree
#
# Paper: Neely, Schouten, Bleeker and Lucic 2022, "A Song of (Dis)agreement: Evaluating the Evaluation of Explainable Artificial Intelligence in Natural Language Processing", arXiv 2205.04559
#
# **The question.** A model says " Paris". Which words of the prompt made it say so? There are many ways to ask: follow
# the gradient back to the words, take a word away and see what is lost, or look where the attention goes. If two ways
# rank the words differently, they cannot both be right about the same question.
#
# **A picture.** Think of a committee's decision. You can ask what would have come out if one member had stayed at home
# (occlusion), average that over all ways in which others stay at home as well (Shapley values), ask how strongly the
# decision reacts to each member's tone of voice (gradients), or film who looks at whom (attention).
#
# *Before you run anything: which of the four would you trust? And would the film agree with the rest?*
#
# **What we found.** The measures agree only in part, and they are not equally good. Among the paper's kinds of measures 12
# of 21 pairs have a rank correlation of 0.3 or less, and the best agreement between attention and an attribution method
# is 0.41: right in direction for the paper, less clear than we asked for. Where the right answer is known, occlusion, Shapley values and attention knock-out find the deciding
# words in 88 to 91 % of all comparisons with another word (50 % would be guessing), gradients in 80 and 81 %. For attention
# it depends on the number that is taken from it. Weighted by the size of what is moved, it finds the deciding words as well
# as any measure (93 %); rollout, which multiplies attention through the layers, points away from them (24 %).
#
# 10 minutes · beginner · you should know what attention weights and a gradient are

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | models | an LSTM and a small transformer, trained on each dataset | SmolLM2-135M, which was not trained on these tasks |
# | tasks | five datasets, one sequence or a pair | three kinds of prompts: a fact, a list, two clauses (indirect objects) |
# | attribution | five methods | gradient x input, integrated gradients, occlusion, Shapley values, attention knock-out |
# | attention | two measures | four: last layer, all layers, rollout, attention x value norm |
# | agreement | rank correlation, prompt by prompt | Kendall's tau, prompt by prompt, tokens ranked by size |
# | right answers | none | the words that decide the answer are known, so we can also ask who finds them |
#
# "Strongly" has no number in the abstract. We call 0.3 and less not strong, and said so before measuring.
#
# One thing changed after a first run. That run had judged the two quoted sentences on all nine measures. Two of the nine,
# knock-out and attention x value norm, are not of the paper's kind, and the strongest agreement was between them. So they
# were taken out of the paper's rows and became a question of our own. These prompts had already shown its answer;
# therefore its number is printed below, but it gets no verdict.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from itertools import combinations

import numpy as np
from scipy.stats import kendalltau, mannwhitneyu

import interp
from interp.studies import Measured, gate, load_claims, measured, verdicts

ATTRIBUTION = ["gradient x input", "integrated gradients", "occlusion", "shapley", "knock-out"]
ATTENTION = ["last attention", "mean attention", "rollout", "attention norm"]
NAMES = [*ATTRIBUTION, *ATTENTION]

# %%
claims = load_claims("04-attribution-agreement")
claims

# %% [markdown]
# ## Prompts whose cause is known
#
# In each prompt a few words decide the answer together: the country whose capital is asked for, the days or months of a
# list, the names of two people (one of them stands there twice). The rest of the sentence is the same in all prompts, or
# nearly so where names are asked for.

# %%
model = interp.load(MODEL)
n = 3 if FAST else 8
PLACES = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Germany": "Berlin",
    "Russia": "Moscow", "China": "Beijing", "Egypt": "Cairo", "Greece": "Athens",
    "England": "London", "Ireland": "Dublin", "Austria": "Vienna",
}  # fmt: skip
MONTHS = "January February March April May June July August September October November December"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
lands, cities = list(PLACES)[:n], list(PLACES.values())[:n]
rows = [s for words in (MONTHS, DAYS) for s in zip(*(words.split()[k:] for k in range(5)))][:n]
facts = interp.tasks.pairs(
    model,
    [f"On the map of the world you will find that the capital of {land} is" for land in lands],
    answers=[f" {city}" for city in cities],
    wrong=[f" {city}" for city in cities[1:] + cities[:1]],
    name="facts",
)
lists = interp.tasks.pairs(
    model,
    [f"Here is a list in the usual order: {a}, {b}, {c}," for a, b, c, _, _ in rows],
    answers=[f" {right}" for _, _, _, right, _ in rows],
    wrong=[f" {wrong}" for _, _, _, _, wrong in rows],
    name="lists",
)
tasks = {"facts": facts, "lists": lists}
if not FAST:
    tasks["names"] = interp.tasks.ioi(model, n)
deciding = {"facts": [[land] for land in lands], "lists": [row[:3] for row in rows]}
for task in tasks.values():
    print(model.tokenizer.decode(task.prompts[0]))

# %%
able = [
    gate(
        f"{name}: answer above wrong",
        measured(task.with_metric("accuracy").clean_metric(model)),
        at_least=0.8,
    )
    for name, task in tasks.items()
]
print(*able, sep="\n")


# %%
def truth(name, task):
    """Which tokens decide the answer [pos prompt]."""
    if name == "names":  # the three names of each prompt
        places = [task.positions[key] for key in ("IO", "S1", "S2")]
        return np.stack([sum(at == pos for at in places) > 0 for pos in range(task.clean.shape[1])])
    words = deciding[name]
    return np.array(
        [
            [model.tokenizer.decode(token).strip() in words[row] for token in ids]
            for row, ids in enumerate(task.clean)
        ]
    ).T


decides = {name: truth(name, task) for name, task in tasks.items()}
print({name: int(where.sum(0)[0]) for name, where in decides.items()}, "deciding words in a prompt")

# %% [markdown]
# ## Nine measures
#
# | measure | what it gives for a word |
# | --- | --- |
# | gradient x input | how fast the answer's lead changes along the word's embedding, in the run itself |
# | integrated gradients | the same, averaged over the way from a prompt of " the" to the real one; the values should add up to the whole lead |
# | occlusion | the lead lost when " the" stands in the word's place |
# | Shapley values | the same, averaged over drawn sets of other words that are replaced as well |
# | knock-out | the lead lost when the last token may not look at the word, in any layer |
# | last attention | attention from the last token in the last layer, mean over heads |
# | mean attention | the same over all layers |
# | rollout | attention multiplied through the layers |
# | attention norm | the size of what the heads move from the word to the last token (attention x value norm) |
#
# The answer's lead is its logit minus that of a wrong answer. A word that is "taken away" is replaced by " the", whose
# embedding is a real word's: next to a mean or a zero embedding integrated gradients do not converge in this model. The
# Shapley values are measured twice, with other random draws, so that we know how much of a disagreement is noise.

# %%
options = dict(baseline=" the", steps=8 if FAST else 64, samples=2 if FAST else 6)
found = {
    name: {by: interp.attribute(model, task, by=by, **options) for by in NAMES}
    for name, task in tasks.items()
}
again = {
    name: interp.attribute(model, task, by="shapley", seed=1, **options)
    for name, task in tasks.items()
}

# %% tags=["cover"]
shown = "lists"
order = [
    "occlusion",
    "shapley",
    "integrated gradients",
    "gradient x input",
    "knock-out",
    *ATTENTION,
]
rows = np.abs(np.stack([found[shown][by].examples[1:, 0] for by in order]))
interp.plots.heatmap(
    rows / rows.max(1, keepdims=True),
    order,
    found[shown]["occlusion"].coords["pos"][1:],
    row_name="measure",
    col_name="token",
    title="One prompt, nine answers to: which words did it hang on?",
    unit="share of the largest",
    centred=False,
)

# %% [markdown]
# Each row is one measure of the same prompt, the brightest cell its strongest word. Five of the nine name the last item of
# the list, " March", or the comma after it, and Shapley values name " February". Three name a word outside the list:
# gradient x input "Here", mean attention and rollout the word " the".
#
# ## Do they agree?
#
# Kendall's tau compares two rankings of the same words: 1 is the same order, 0 is chance. It is taken prompt by prompt
# over all tokens but the first, which no attribution method may take away, and words are ranked by the size of their
# value, since attention has no sign.


# %%
def tau(a, b, first=1):
    """Kendall's tau of two measures' sizes [prompt], tokens before `first` left out."""
    return np.array(
        [kendalltau(np.abs(x), np.abs(y)).statistic for x, y in zip(a[first:].T, b[first:].T)]
    )


pairs = list(combinations(NAMES, 2))
each = np.array(
    [
        np.concatenate([tau(of[a].examples, of[b].examples) for of in found.values()])
        for a, b in pairs
    ]
).T  # [prompt pair]
each = np.nan_to_num(each)  # a measure that is the same for all tokens ranks nothing
matrix = np.eye(len(NAMES))
for (a, b), value in zip(pairs, each.mean(0)):
    i, j = NAMES.index(a), NAMES.index(b)
    matrix[i, j] = matrix[j, i] = value
interp.plots.heatmap(
    matrix,
    NAMES,
    NAMES,
    row_name="measure",
    col_name="measure",
    title="Agreement of rankings (Kendall's tau, mean over prompts)",
    unit="tau",
    limit=1.0,
)

# %%
same = np.concatenate(
    [tau(found[name]["shapley"].examples, again[name].examples) for name in tasks]
)
repeat = gate("Shapley values, measured twice: tau", measured(same, unit="prompts"), at_least=0.5)
missing = max(of["integrated gradients"].metadata["missing"] for of in found.values())
whole = Measured(1 - missing, 1 - missing, 1 - missing, n, "prompts", "worst task")
adds_up = gate("share of the whole that integrated gradients add up to", whole, at_least=0.9)
print(repeat, adds_up, sep="\n")

# %%
theirs = [*ATTRIBUTION[:4], *ATTENTION[:3]]  # the kinds of measures that the paper has
inner = [i for i, (a, b) in enumerate(pairs) if a in theirs and b in theirs]
across = [i for i in inner if (pairs[i][0] in ATTENTION) != (pairs[i][1] in ATTENTION)]
gates = [*able, repeat, adds_up]
v_apart = claims["attention-apart"].judge(
    measured(each[:, across], lambda rows: rows.mean(0).max()), gate=gates
)
v_none = claims["none-agree"].judge(
    measured(each[:, inner], lambda rows: (rows.mean(0) <= 0.3).mean()), gate=gates
)


def with_attribution(attention):
    """Its agreement with the five attribution methods, the mean [prompt]."""
    return each[:, [pairs.index((by, attention)) for by in ATTRIBUTION]].mean(1)


gain = with_attribution("attention norm") - with_attribution("mean attention")
v_weighted = claims["weighted-attention"].judge(measured(gain), gate=gates)
nearest = sorted(across, key=lambda i: -each[:, i].mean())[:3]
print("nearest:", {pairs[i]: round(float(each[:, i].mean()), 2) for i in nearest})
print(v_apart, v_none, v_weighted, sep="\n")

# %% [markdown]
# Of the paper's kinds of measures, the last layer's attention comes nearest to an attribution: a tau of 0.41 with
# occlusion, 0.40 with Shapley values. That may not be "strong", but it is more than the 0.3 that we allowed. Of all 21
# pairs of these seven measures 12 (0.571) stay at 0.3 or below, which is the right direction and fewer than the 70 % that
# we asked for. So both sentences of the paper hold partly. The last row of the picture belongs to attention norm: it
# agrees well with knock-out and with the other two kinds of attention weights, but it is not of the paper's kind.
#
# ## Who finds the words that decide?
#
# The paper had no right answer to compare with. Here we have one. AUROC is the chance that a deciding word gets a higher
# value than another word of the prompt; a guess gets 0.5.


# %%
def auroc(values, where):
    """The chance that a deciding token's size is above another's [prompt]."""
    out = []
    for x, yes in zip(np.abs(values[1:]).T, where[1:].T):
        ahead = mannwhitneyu(x[yes], x[~yes]).statistic
        out.append(ahead / (yes.sum() * (~yes).sum()))
    return np.array(out)


areas = {
    by: np.concatenate([auroc(found[name][by].examples, decides[name]) for name in tasks])
    for by in NAMES
}
interp.plots.bars(
    [areas[by].mean() for by in NAMES],
    NAMES,
    interval=np.array([(m.low, m.high) for m in map(measured, areas.values())]).T,
    title="Who finds the words that decide the answer?",
    unit="AUROC",
)

# %%
families = {"attribution": ATTRIBUTION, "attention": ATTENTION}
v_finds = claims["finds-the-cause"].judge(
    {
        family: measured(np.mean([areas[by] for by in names], 0))
        for family, names in families.items()
    },
    gate=able,
)
print({by: round(float(areas[by].mean()), 2) for by in NAMES})
print(v_finds)

# %% [markdown]
# The bars are above one half for all measures but rollout, which gathers attention on early tokens. Attention norm is up
# with the best, although it uses neither the answer nor a gradient: it merely disregards words that a head looks at
# without moving anything. For the verdict the measures are averaged by family: the five attribution methods reach 0.86 and
# pass; the four kinds of attention reach 0.68, since rollout pulls their mean down.
#
# ## The first token
#
# The first token is a resting place: it gets much of the attention and says nothing about the answer. One would expect
# that leaving it out helps.


# %%
def first_matters(of):
    mean, knocked = of["mean attention"].examples, of["knock-out"].examples
    return tau(mean, knocked) - tau(mean, knocked, first=0)


shift = np.concatenate([first_matters(of) for of in found.values()])
v_first = claims["first-token"].judge(measured(shift), gate=able)
print(v_first)

# %% [markdown]
# It does not: mean attention and knock-out agree a little *better* with the first token than without it (by 0.04). Both put
# it high. For knock-out that is no statement about its content: when the last token may not look at its resting place,
# that attention has to go elsewhere, and this alone changes the answer.
#
# ## Verdicts

# %%
verdicts(
    "04-attribution-agreement",
    [v_apart, v_none, v_finds, v_weighted, v_first],
    model=MODEL,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - Two explanations that rank the words differently cannot both be right about the same question. Which one is right only
#   shows on prompts whose deciding words are known.
# - Ask what a measure leaves out. Attention says where a head looks, and the size of what it moves says whether that matters.
# - Rollout collects attention on the early tokens, where every layer rests a little. It finds them whatever the answer is.
# - Integrated gradients promise to add up. Look whether they do: in this model they need 64 steps and a real word in the place
#   of what is taken away.
# - Measure noise before you call something a disagreement: sampled Shapley values agree with themselves only to a tau of 0.55.
#
# ## What did not reproduce, and what was not tried
#
# - **Nothing was trained**: the authors train each model on each dataset, and ours continues text.
# - **Ranking by size** throws the sign away, because attention has none. In a signed measure a word that speaks *against*
#   the answer counts as much as one that speaks for it.
# - **One replacement**, " the". Another word in a token's place may give other values; the mean embedding and zero could not be
#   used with integrated gradients, which do not add up there.
# - **24 prompts**, eight of each kind; the deciding words are the same few kinds of words in all of them.
#
# ## Try it
#
# Your own sentence: `interp.attribute(model, "The capital of France is", by="occlusion").plot()`. Which word would you
# have named? Then `by="rollout"`, and look at its first token.
#
# ## Further reading
#
# - Jain and Wallace 2019, "Attention is not Explanation", arXiv 1902.10186.
# - Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", arXiv 1703.01365: integrated gradients.
# - Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", arXiv 2005.00928: rollout.
# - Kobayashi et al. 2020, "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms", arXiv 2004.10102:
#   attention x value norm.
