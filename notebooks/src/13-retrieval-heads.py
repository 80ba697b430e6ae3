# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Retrieval heads: who fetches the needle?
#
# Paper: Wu et al. 2024, "Retrieval Head Mechanistically Explains Long-Context Factuality", arXiv 2404.15574
#
# Found: a few heads copy the answer out of the text, the same ones for other prompts and at four times the length; 13 of them masked cost 60 points of needle accuracy and next to nothing on capitals and prose, but they are 11 % of the heads, not under 5 %
#
# Hide a sentence in a text and ask for it at the end: some heads look exactly at the word to be written next. Of the
# 270 heads of SmolLM2-135M 29 do so for at least a tenth of the words, and one, L18H6, for nearly all of them. Half
# of the 29 are active in almost every prompt, half only in some. Without the 13 highest-scoring heads 8 of 20 needles
# are still found; without 13 random heads 19 of 20, which is a little more damage than the claim allows.

# %% [markdown]
# ## What the paper says, and what would count here
#
# The thresholds were fixed before anything was measured. "Universal" cannot be tested with one model: here it means
# that this model, fifty times smaller than the paper's Llama-2-7B, has such heads and that prompts agree on which.
# "Intrinsic" (the same heads after the context is extended) becomes: the same heads in short and in long prompts;
# it has no threshold and gets no verdict. The paper also finds that chain-of-thought reasoning needs these heads; this
# model reasons too poorly to ask, so only the other half of that claim is here: memory does not need them.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from dataclasses import replace

import interp
from interp import Intervention
from interp.edits import zero
from interp.results import mean_of
from interp.studies import (
    Claim,
    cell_correlation,
    gate,
    measured,
    share_of_cells,
    share_of_examples,
    split_half,
    verdicts,
)

PAPER = "Wu et al. 2024, abstract"
SCORE = "retrieval score (share of the needle's tokens copied)"

# %%
present = Claim(
    "present",
    says="Retrieval heads are universal: every model that reads long contexts has them",
    paper="all models looked at; best heads of Llama-2-7B-80K .94, .92, .80, .62",
    source=f"{PAPER}; scores: the paper's repository",
    metric=(
        f"correlation over heads of the {SCORE}, two halves of the prompts; the best head, held "
        f"out, scores >= 0.5"
    ),
    holds=0.9,
    partly=0.7,
    null=0.0,
    control="none",
)
sparse = Claim(
    "sparse",
    says="Retrieval heads are sparse: less than 5 % of the heads",
    paper="< 5 %",
    source=PAPER,
    metric="share of heads with a held-out score above 0.1",
    direction="<=",
    holds=0.05,
    partly=0.1,
    null=1.0,
    control="none",
)
dynamic = Claim(
    "dynamic",
    says="Retrieval heads are dynamically activated: some always, most depending on the context",
    paper="12 heads of Llama-2-7B attend to what is needed in every context",
    source=PAPER,
    metric=(
        "share of retrieval heads active in >= 90 % of held-out prompts: at least 0.1 (some), and "
        "at most 0.6 (most not)"
    ),
    holds=0.1,
    null=0.0,
    control="none",
    parts=("some always", "most not always"),
    needs=(2, 2),
)
not_always = replace(dynamic, holds=0.4, parts=(), needs=None)
causal = Claim(
    "causal",
    says="Pruning retrieval heads makes retrieval fail; pruning random heads does not",
    paper="30 retrieval heads masked against 30 random ones",
    source=f"{PAPER}; numbers of heads: the paper's repository",
    metric=(
        "needle accuracy with random heads masked less that with the top heads masked (5 % of "
        "heads)"
    ),
    holds=0.5,
    partly=0.2,
    null=0.0,
    control="what the random heads cost",
)
memory = Claim(
    "memory",
    says="Retrieval heads have little effect on what is answered from memory",
    source=PAPER,
    paper="little effect",
    metric="accuracy lost on capitals without any context, under the same mask",
    direction="<=",
    holds=0.1,
    partly=0.25,
    control="needle accuracy lost under the mask",
)

# %% [markdown]
# ## The task
#
# A sentence that nobody has written before stands somewhere in a text, and the question after the text can only
# be answered from it. To find heads, the prompt goes on with the answer (so that every one of its three tokens is
# predicted once); to judge, the model must give the first word by itself, with other words in other texts.

# %%
model = interp.load(MODEL)
n, length, sets = (
    20,
    128,
    5,
)  # in FAST too: what is cut there is the sweep over numbers of heads and what has no verdict
find = interp.tasks.needle(model, n=n, length=length, forced=True)
judge = interp.tasks.needle(model, n=n, length=length).heldout()
find.show(1)

# %% [markdown]
# Is the first word of the needle the model's most likely next token, in prompts that did not choose the heads?

# %%
able = gate(
    "the needle's first word on top",
    measured(judge.with_metric("top1").clean_metric(model)),
    at_least=0.85,
)
print(able)

# %% [markdown]
# ## Which heads copy from the needle?
#
# The paper's score: while a token of the needle is being written, a head scores when the position it attends to
# most lies in the needle and holds just that token, which the model must also predict rightly. 1 means the whole needle.

# %% tags=["cover"]
found = interp.head_scores(model, ["retrieval"], on=find).sel(score="retrieval")
ranked = found.top(found.values.size, by="high").labels
heads = ranked[: int((found.values > 0.1).sum())]
found.plot(marks={"retrieval heads: score above 0.1": heads}, title="Retrieval score of every head")
# %%
print(
    f"{len(heads)} of {found.values.size} heads above 0.1; by chance a head would score "
    f"{found.metadata['null']['retrieval']:.3f}"
)
found.top(13, by="high")

# %% [markdown]
# They stand in the layers 17 to 24 for the most part. Do other needles in other texts agree?

# %%
again = interp.head_scores(model, ["retrieval"], on=find.heldout()).sel(score="retrieval")
best = gate(f"held-out score of {ranked[0]}", measured(again.pick(ranked[:1]).mean()), at_least=0.5)
v_present = present.judge(split_half(found), gate=able, provided=best)
v_sparse = sparse.judge(share_of_cells(again, above=0.1), gate=able)
print(v_present, v_sparse, sep="\n")

# %% [markdown]
# The two halves of ten prompts agree almost perfectly, and the best head copies every held-out needle. But 30 of 270
# heads are above 0.1 there, 11 %: more than twice the share the paper gives.
#
# ## The same heads in a longer text?

# %%
far = interp.tasks.needle(
    model, n=5 if FAST else 10, length=192 if FAST else 512, forced=True, seed=1
)
long = interp.head_scores(model, ["retrieval"], on=far).sel(score="retrieval")
print(
    f"{long.examples.shape[-1]} of {len(far)} long prompts count: the model writes most of the "
    f"needle there"
)
print(
    "correlation over all heads:",
    cell_correlation(found, long),
    "of ranks:",
    cell_correlation(found, long, ranks=True),
)
print(
    "over the retrieval heads alone, of ranks:",
    cell_correlation(found.pick(heads), long.pick(heads), ranks=True),
)
interp.plots.scatter(
    found.values,
    long.values,
    found.labels(),
    x_name=f"score at {find.clean.shape[1]} tokens",
    y_name=f"score at {far.clean.shape[1]} tokens",
    title="Retrieval scores in short and in long prompts",
)
# %% [markdown]
# Yes: the scores at 512 tokens are those at 128 (correlation 0.96), and the order within the retrieval heads is kept.
#
# ## Always on, or only sometimes?
#
# A head is active in a prompt when it scores above 0.1 there, that is, when it copies at least one of the tokens.

# %%
often = share_of_examples(again.pick(heads), 0.1)
v_dynamic = dynamic.judge(
    {
        "some always": share_of_cells(often, above=0.9, least=True),
        "most not always": not_always.judge(share_of_cells(1 - often, above=0.1)),
    },
    gate=able,
    note=(
        "'most not always' has its own threshold: at least 0.4 of the heads are not always active "
        "(at most 0.6 are)"
    ),
)
print(v_dynamic, *(f"{name}: {v.measured}" for name, v in v_dynamic.parts), sep="\n")
often.plot(title="In what share of held-out prompts is a head active?")
# %% [markdown]
# Half of them, 15 of 29, are active in at least 90 % of the prompts, the rest in some. Both conditions are met, the
# second not by much.
#
# ## Without them
#
# Mask the highest-scoring heads (their output becomes zero, as in the paper) in other needles, and beside them as
# many random heads: none of the retrieval heads, and none of layers 0 and 1, which every prediction needs. The verdict
# is taken at 13 heads, 5 % of all.

# %%
size = found.values.size
numbers = [int(part * size) for part in ((0.05,) if FAST else (0.012, 0.03, 0.05, 0.075, 0.1))]
k = int(0.05 * size)
rule = dict(sets=sets, layers=found.coords["layer"][2:], avoid=heads, metric="top1")
lost = interp.methods.ablation.ranked_ablation(model, judge, ranked, numbers, by="zero", **rule)
lost.plot(title="Change of needle accuracy when heads are masked")
# %%
gap = (lost.sel(heads="random") - lost.sel(heads="ranked")).sel(number=k)
needle_loss, random_loss = (measured(0 - lost.sel(heads=h, number=k)) for h in ("ranked", "random"))
spared = gate(
    "change of accuracy with random heads masked",
    measured(lost.sel(heads="random", number=k)),
    at_least=-0.05,
)
v_causal = causal.judge(measured(gap), control=random_loss, provided=spared, gate=able)
print(v_causal, f"each random set of {k}: {lost.metadata['random effects'][str(k)]}", sep="\n")

# %% [markdown]
# The gap is large enough. The second half of the claim fails by a hair: the random heads cost 6 points where 5 were
# allowed, and half of that is one set of the five. Hence "partly".
#
# Zero is far from what a head ever writes. The milder way puts its mean over the prompts in its place:

# %%
some = judge[:8] if FAST else judge
interp.methods.ablation.ranked_ablation(
    model, some, ranked, [k, numbers[-1]][: 1 if FAST else 2], by="mean", **rule | dict(sets=2)
).table()

# %% [markdown]
# That costs 15 points at 13 heads instead of 60, and 65 points at 27. So the needle is fetched by more heads than the
# first 13, and part of what zero does at 13 is that it takes away more than the information.
#
# And random heads from the same layers as the masked ones, a harder control than the paper's:

# %%
layers = sorted({layer for layer, _ in found.cells(ranked[:k])})
near = interp.methods.runs.random_heads(model, ranked[:k], sets=sets, layers=layers, avoid=heads)
interp.ablate(model, some, near, by="zero", metric="top1").table()

# %% [markdown]
# Nothing is lost: it is these heads, not their layers.
#
# What does the model write instead?

# %%
mask = [Intervention(f"{head}.z", zero()) for head in ranked[:k]]
others = [
    [Intervention(f"{head}.z", zero()) for head in some]
    for some in lost.metadata["random sets"][str(k)]
]
for name, edits in (("nothing", []), ("the retrieval heads", mask), ("random heads", others[0])):
    written = interp.generate(model, judge[: 2 if FAST else 4].clean, edits, max_new_tokens=3)
    print(f"masked: {name:20} ", *(f"[{one.text.strip()}]" for one in written))
print(
    "in the needle:               ",
    *(f"[{answer}]" for answer in judge.labels["answer"][: 2 if FAST else 4]),
)

# %% [markdown]
# Where it fails it makes something up, as the paper says: "bee.", or a first word from the needle with an invented end.
#
# ## What does not need them
#
# Capitals, asked without any context: "The capital of France is".

# %%
facts = interp.tasks.capitals(model, n=19)
known = [
    interp.methods.ablation.ranked_ablation(model, task, ranked, [k], by="zero", **rule)
    for task in (facts, facts.heldout())
]
memory_loss, any_loss = (
    measured([x for r in known for x in (0 - r.sel(heads=h, number=k)).examples])
    for h in ("ranked", "random")
)
deep = gate("needle accuracy lost", needle_loss, at_least=0.5)
v_memory = memory.judge(memory_loss, control=needle_loss, provided=deep, gate=able)
print(v_memory, f"lost with random heads masked: {any_loss}", sep="\n")
print("right without any mask:", *(f"{r.metadata['clean']:.0%}" for r in known))

# %% [markdown]
# One capital was lost and another won; the second line says what random heads cost. Running text, by its cross-entropy
# (nats a token):

# %%
text = interp.texts.chunks(
    model,
    interp.texts.prose(),
    length=64 if FAST else 128,
    n=4 if FAST else 10,
    split="heldout",
    join="\n\n",
)
plain, masked = (
    interp.methods.text.cross_entropy(model, text),
    interp.methods.text.cross_entropy(model, text, mask),
)
random = mean_of(
    [interp.methods.text.cross_entropy(model, text, edits) for edits in others[: 1 if FAST else 3]]
)
print(
    f"cross-entropy {measured(plain)}; more with the mask: {measured(masked - plain)}, with "
    f"random heads masked: {measured(random - plain)}"
)

# %% [markdown]
# Prose costs almost nothing without the retrieval heads and about a tenth of a nat more without random ones. So the
# heads are special in both directions: much needed for copying from the context, and less than others for running text.
#
# ## Verdicts

# %%
verdicts(
    "13-retrieval-heads",
    [v_present, v_sparse, v_dynamic, v_causal, v_memory],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## Try it
#
# Which heads look at the needle's first word when it is asked for? Below. Then mask one head alone,
# `interp.ablate(model, judge, ["L18H6"], by="zero", metric="top1")`, hide the needle elsewhere,
# `interp.tasks.needle(model, depth=0.0, forced=True)`, or take longer texts (`length=1024`). Another model: set `MODEL`.

# %%
interp.methods.attention.attention_between(model, judge, "END", "NEEDLE0").top(5)

# %% [markdown]
# ## What did not reproduce
#
# - **They are not under 5 % of the heads.** 30 of 270 held-out scores lie above 0.1. A small model may need a larger share
#   of its heads for the same work. The threshold matters too: our needles have three tokens, so a head that copies one
#   of them in every third prompt already counts. (The threshold of 0.1 is given from memory of the paper, not checked.)
# - **Random heads are not free.** 13 of them cost 6 points of needle accuracy on average, one set 15; from the layers of
#   the retrieval heads they cost nothing. With 20 prompts a point more or less is chance, and the verdict "partly"
#   hangs on one.
# - **Zero makes the effect look sharper than it is.** With their mean in its place, 13 heads cost 15 points; it takes 27,
#   a tenth of the model, to lose 65.
# - **Not tested here:** other models ("universal"), training for longer contexts ("intrinsic"), reasoning in steps.
#   The paper's contexts are far longer, and its score is taken while the model writes freely; here the answer is given
#   and each of its tokens predicted once, with needles at five depths.
# - The weights here were stored in four bits and unpacked, so numbers may differ a little from the original model's.
