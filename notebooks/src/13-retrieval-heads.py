# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Retrieval heads: which heads fetch the needle?
#
# Paper: Wu et al. 2024, "Retrieval Head Mechanistically Explains Long-Context Factuality", arXiv 2404.15574
#
# **The question.** Hide a sentence in a text and ask for it at the end. The model can only answer by going
# back to the sentence. Do particular attention heads do that, and does the model fail without them?
#
# **How we look.** While the model writes the answer, we watch where each head attends. A head that looks at
# exactly the word to be written next, again and again, is a *retrieval head*. Then we switch the best 13
# off, and as many random heads.
#
# *Before you run anything: SmolLM2-135M has 270 heads. How many of them, would you guess, fetch the
# needle?*
#
# **What we found.** A few heads copy the answer out of the text, the same ones for other prompts and at
# four times the length, and without 13 of them only 8 of 20 needles are found. Capitals and prose hardly
# need them. How sparse they are cannot be said with answers of three tokens, and most of the 13 are
# induction heads as well, since our question repeats the needle's words.
#
# 12 minutes · intermediate · you should know what an attention pattern is, and what an induction head does

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | models | 4 families, 6 sizes; Llama-2 7B is their example | SmolLM2-135M |
# | texts | long contexts (32 to 128 thousand tokens after extension) | 128 tokens, and 512 |
# | needle | a sentence; the answer is many tokens long | an answer of three tokens |
# | while scoring | the model writes freely | each token of the answer is given and predicted once |
# | a retrieval head | score above 0.1 (from a review of the paper) | the same |
# | masking | the heads' output is zero, beside random heads | the same; and their mean in a second table |
#
# "Universal" cannot be tested with one model. Here it means that this one, fifty times smaller than Llama-2
# 7B, has such heads, and that prompts agree on which. "Intrinsic" (the same heads after the context is
# extended) becomes the same heads in short and in long prompts, without a verdict. That reasoning in steps
# needs these heads is not tested: this model reasons too poorly to ask.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp
from interp import Intervention
from interp.edits import zero
from interp.results import mean_of
from interp.studies import (
    cell_correlation,
    gate,
    load_claims,
    measured,
    share_of_cells,
    share_of_examples,
    split_half,
    verdicts,
)

# %%
claims = load_claims("13-retrieval-heads")
claims

# %% [markdown]
# ## The task
#
# To find heads, the prompt goes on with the answer, so that each of its three tokens is predicted once. To
# judge, the model must give the first word by itself, with other words in other texts.

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
# Most of them are in layers 17 to 24. Do other needles in other texts agree?

# %%
again = interp.head_scores(model, ["retrieval"], on=find.heldout()).sel(score="retrieval")
best = gate(f"held-out score of {ranked[0]}", measured(again.pick(ranked[:1]).mean()), at_least=0.5)
v_present = claims["present"].judge(split_half(found), gate=able, provided=best)
v_sparse = claims["sparse"].judge(share_of_cells(again, above=0.1), gate=able)
print(v_present, v_sparse, sep="\n")

# %% [markdown]
# The two halves of ten prompts agree almost perfectly, and the best head copies every held-out needle. 30
# of 270 heads are above 0.1 there, 11 %, where the paper has less than 5 %. But this number is not
# comparable: with an answer of three tokens, a head that copies one of them in every third prompt is
# already above 0.1. So the row is not testable here.
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
v_dynamic = claims["dynamic"].judge(
    {
        "some always": share_of_cells(often, above=0.9, least=True),
        "most not always": claims["dynamic"]
        .part("most not always")
        .judge(share_of_cells(1 - often, above=0.1)),
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
# Half of them, 15 of 29, are active in at least 90 % of the prompts, the others only in some. The paper
# says that 12 heads of Llama-2 7B are always active and the rest are not; it does not say that the rest are
# the majority.

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
v_causal = claims["causal"].judge(measured(gap), control=random_loss, provided=spared, gate=able)
print(v_causal, f"each random set of {k}: {lost.metadata['random effects'][str(k)]}", sep="\n")

# %% [markdown]
# The gap is large enough. The second half of the claim fails by a little: the random heads cost 6 points
# where 5 were allowed. With 20 prompts that is a single prompt more or less, and half of it comes from one
# of the five random sets. Hence "partly", and not more than that can be said with 20 prompts.
#
# Zero is far from what a head ever writes. A milder way puts its mean over the prompts in its place:

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
v_memory = claims["memory"].judge(memory_loss, control=needle_loss, provided=deep, gate=able)
print(v_memory, f"lost with random heads masked: {any_loss}", sep="\n")
print("right without any mask:", *(f"{r.metadata['clean']:.0%}" for r in known))

# %% [markdown]
# One capital was lost and another won. The second line says what random heads cost. Now running text, by
# its cross-entropy in nats per token:

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
# Prose costs almost nothing without the retrieval heads, and about a tenth of a nat more without random
# ones. These heads are much needed for copying from the context, and less than others for running text.
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
# ## What to remember
#
# - A handful of heads (here 13 of 270) carry most of the retrieval, and the model makes something up
#   without them.
# - Zero ablation makes the effect look sharper than it is: with their mean in place, the same 13 heads cost
#   15 points instead of 60.
# - A question in the needle's own words can be answered by induction. To test retrieval, ask in other
#   words.
#
# ## Try it
#
# Which heads look at the needle's first word when it is asked for? Below. Then mask one head alone,
# `interp.ablate(model, judge, ["L18H6"], by="zero", metric="top1")`, hide the needle elsewhere,
# `interp.tasks.needle(model, depth=0.0, forced=True)`, or ask in other words, `interp.tasks.needle(model,
# paraphrased=True)`. Another model: set `MODEL`.

# %%
interp.methods.attention.attention_between(model, judge, "END", "NEEDLE0").top(5)

# %% [markdown]
# ## What did not reproduce, and what we cannot say
#
# - **Are they induction heads?** Our question repeats the needle's words up to the answer, so a head that
#   looks at what came after the same words finds it without knowing what it means. Measured apart from this
#   notebook, retrieval and induction scores correlate by about 0.88 over heads, and 10 of the 13
#   highest-scoring heads are among the 13 best induction heads. The paper's authors distinguish the two
#   kinds. Until the needle is asked for in other words, the rows above are about copying, by whatever
#   means.
# - **How sparse they are is not testable here** (an earlier version said "does not hold"): the threshold of
#   0.1 means something else with needles of three tokens than with whole sentences.
# - **Random heads are not free.** 13 of them cost 6 points of needle accuracy on average, one set 15; from
#   the layers of the retrieval heads they cost nothing. With 20 prompts the verdict "partly" depends on a
#   single one.
# - **Zero makes the effect look sharper than it is.** With their mean in its place, 13 heads cost 15
#   points; it takes 27, a tenth of the model, to lose 65.
# - **Not tested here:** other models, training for longer contexts, reasoning in steps. The paper's
#   contexts are far longer, and its score is taken while the model writes freely.
# - The weights here were stored in four bits and unpacked, so numbers may differ a little from the original
#   model's.
#
# ## Further reading
#
# - Wu et al. 2024, arXiv 2404.15574; Olsson et al. 2022, "In-context Learning and Induction Heads", arXiv
#   2209.11895.
