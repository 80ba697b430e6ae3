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
# **The question.** Hide a sentence in a text and ask for it at the end. The model can only answer by going back to the
# sentence. Do particular attention heads do that, are they few, and does the model fail without them?
#
# **How we look.** While the model writes the answer, we watch where each head attends. A head that looks at exactly the
# word to be written next, again and again, is a *retrieval head*. Then we switch such heads off, and as many random heads.
#
# *Before you run anything: SmolLM2-135M has 270 heads. How many of them, would you guess, fetch the needle?*
#
# **What we found.** A few heads copy the answer out of the text, the same ones for other prompts and at four times the length.
# With 13 of them set to zero the model finds 39 of 100 needles, and with 13 random heads at least 99; capitals and prose
# hardly need the 13. Set to their mean instead, which is milder, the same 13 cost 15 points (20 needles), and it takes 27 to cost 65.
# We cannot say that they are a kind of their own: all 13 are among the 27 heads with the highest induction score. But
# when the question uses other words than the needle, so that there is no repetition to follow, it is again these heads
# that look at the needle, if less strongly.
#
# 15 minutes · intermediate · you should know what an attention pattern is, and what an induction head does

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np

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

model = interp.load(MODEL)

# %% [markdown]
# ## The task
#
# To find heads, the prompt goes on with the answer, so that each of its three tokens is predicted once. To judge, the
# model must give the first word by itself, with other words in other texts.

# %%
n, length = 20, 128
find = interp.tasks.needle(model, n=n, length=length, forced=True)
judge = interp.tasks.needle(model, n=n if FAST else 100, length=length, split="heldout")
find.show(1)

# %% [markdown]
# ## Which heads copy from the needle?
#
# The paper's score: while a token of the needle is being written, a head scores when the position it attends to most
# lies in the needle and holds just that token, which the model must also predict rightly. 1 means the whole needle.

# %% tags=["cover"]
found = interp.head_scores(model, ["retrieval"], on=find).sel(score="retrieval")
ranked = found.top(found.values.size, by="high").labels
heads = ranked[: int((found.values > 0.1).sum())]
k = int(0.05 * found.values.size)
found.plot(marks={"score above 0.1": heads}, title="Retrieval score of every head")

# %%
print(f"{len(heads)} of {found.values.size} heads score above 0.1")
found.top(k, by="high")

# %% [markdown]
# 29 heads score above 0.1 (framed), most of them in layers 17 to 24. The list shows the best 13, which is 5 % of all heads;
# two of them copy nearly every token.
#
# *A prediction: if these 13 heads are switched off, how many of 100 needles will the model still find?*
#
# ## The claims
#
# | | the authors | here |
# | --- | --- | --- |
# | models | 4 families, 6 sizes, from 7B parameters on; Llama-2 7B is their example | SmolLM2-135M |
# | texts | up to long contexts (32 to 128 thousand tokens after extension) | 128 tokens, and 512 |
# | needle | a sentence; the answer is many tokens long | an answer of three tokens |
# | while scoring | the model writes freely | each token of the answer is given and predicted once |
# | a retrieval head | score above 0.1 (from a review of the paper) | the same |
# | masking | the heads' output is zero, beside random heads | the same; and their mean in a second table |
#
# "Universal" cannot be tested with one model. Here it means that this one, fifty times smaller than Llama-2 7B, has such
# heads, and that prompts agree on which. The last two of the seven claims below are our own questions. They are there
# because a needle that is asked for in its own words can be found by induction, without knowing what it means.

# %%
claims = load_claims("13-retrieval-heads")
claims

# %% [markdown]
# ## Do other needles in other texts agree?

# %%
able = gate(
    "the needle's first word on top",
    measured(judge.with_metric("top1").clean_metric(model), unit="prompts"),
    at_least=0.85,
)
again = interp.head_scores(model, ["retrieval"], on=find.heldout()).sel(score="retrieval")
best = gate(f"held-out score of {ranked[0]}", measured(again.pick(ranked[:1]).mean()), at_least=0.5)
v_present = claims["present"].judge(split_half(found), gate=able, provided=best)
v_sparse = claims["sparse"].judge(share_of_cells(again, above=0.1), gate=able)
print(able, v_present, v_sparse, f"share above 0.1: {v_sparse.measured}", sep="\n")

# %% [markdown]
# The two halves of ten prompts agree almost perfectly, and the best head copies every held-out needle. 11 % of the heads are above 0.1, where the
# paper has less than 5 %. But this number is not comparable: with an answer of three tokens, a head that copies one of them in every
# third prompt is already above 0.1. So this claim is not testable here.
#
# ## The same heads in a longer text?

# %%
far = interp.tasks.needle(model, n=5, length=192 if FAST else 512, forced=True, seed=1)
long = interp.head_scores(model, ["retrieval"], on=far).sel(score="retrieval")
print(f"correlation over all heads: {cell_correlation(found, long)}")
interp.plots.scatter(
    found.values,
    long.values,
    found.labels(),
    x_name=f"score at {find.clean.shape[1]} tokens",
    y_name=f"score at {far.clean.shape[1]} tokens",
    title="Retrieval scores in short and in long prompts",
)

# %% [markdown]
# Yes: the scores at 514 tokens are nearly those at 130 (correlation 0.96), though a few heads of middle rank fall.
#
# ## Always on, or only sometimes?
#
# A head is active in a prompt when it scores above 0.1 there, that is, when it copies at least one of the tokens.

# %%
often = share_of_examples(again.pick(heads), 0.1)
dynamic = claims["dynamic"]
v_dynamic = dynamic.judge(
    {
        "some always": share_of_cells(often, above=0.9, least=True),
        "most not always": share_of_cells(1 - often, above=0.1),
    },
    gate=able,
)
print(v_dynamic, *(f"{name}: {v.measured}" for name, v in v_dynamic.parts), sep="\n")
often.plot(title="Share of held-out prompts in which a head is active")

# %% [markdown]
# Half of them, 15 of 29, are active in at least 90 % of the prompts, the others only in some. The paper says that 12 heads of Llama-2 7B are
# always active and the rest are not. It does not say that the rest are the majority. Here they are not (48 %), so the name
# that the row below has for them, "most not always", says too much; it passes from 40 % on.
#
# ## Are they induction heads?
#
# An induction head looks at what came after the last occurrence of the current token. Our question repeats the needle's
# words up to the answer, so induction alone would find it. How much do the two scores have in common?

# %%
induction = interp.head_scores(model, ["induction"]).sel(score="induction")
strongest = {(c[0], c[1]) for c in induction.cells(induction.top(27, by="high").labels)}
is_induction = np.array([tuple(c) in strongest for c in found.cells(found.labels())])


def not_induction(rows):
    """The share of the k highest-scoring heads that are not among the induction heads."""
    top = np.argsort(-rows.mean(0), kind="stable")[:k]
    return 1 - is_induction[top].mean()


per_prompt = found.examples.reshape(-1, found.examples.shape[-1]).T  # [prompt head]
v_induction = claims["other-than-induction"].judge(measured(per_prompt, not_induction), gate=able)
alike = np.corrcoef(found.values.ravel(), induction.values.ravel())[0, 1]
print(v_induction, f"correlation over all heads: {alike:.2f}", sep="\n")
interp.plots.scatter(
    induction.values,
    found.values,
    found.labels(),
    x_name="induction score (random tokens, repeated)",
    y_name="retrieval score",
    title="Retrieval against induction, every head",
)

# %% [markdown]
# Nearly everything (correlation 0.87). All 13 highest-scoring heads are among the 27 with the highest induction score, so on
# this task we cannot tell retrieval from induction. The two are not proportional, though: L23H7 retrieves as well as L18H6
# at half its induction score, and L21H5 retrieves 0.70 with an induction score of little more than 0.1. A tenth of all heads
# is a generous list, and its last members are weak induction heads.
#
# Now ask in other words. The needle says "The secret plan of Oslo is the ...", and the question becomes "Which hidden plan
# belongs to Oslo?" No two words of the needle stand there in a row, so the meaning has to help. Where do the heads look at the end of the prompt?

# %%
few = dict(n=8 if FAST else n, length=length)
asked = {
    "in its own words": interp.tasks.needle(model, seed=2, **few),
    "in other words": interp.tasks.needle(model, seed=2, paraphrased=True, **few),
}
looks = {
    name: interp.methods.attention.attention_between(model, task, "END", "NEEDLE0")
    for name, task in asked.items()
}
understood = gate(
    "asked in other words: the needle's word above another needle's",
    measured(asked["in other words"].with_metric("accuracy").clean_metric(model), unit="prompts"),
    at_least=0.85,
)
v_meaning = claims["by-meaning"].judge(cell_correlation(*looks.values()), gate=understood)
print(understood, v_meaning, sep="\n")
interp.plots.scatter(
    looks["in its own words"].values,
    looks["in other words"].values,
    found.labels(),
    x_name="attention to the needle's word, asked in its own words",
    y_name="asked in other words",
    title="Attention from the end to the needle's first word",
)

# %%
print("mean attention of the 13 heads to the needle's word:")
for name, look in looks.items():
    print(f"  asked {name}: {measured(look.pick(ranked[:k]).mean())}")

# %% [markdown]
# The model prefers the right needle's word in all twenty prompts, and the same heads look at it (correlation 0.95 over all
# heads). L18H6, the strongest induction head, gives the needle's word 0.86 of its attention although no repeated words
# lead there. Taken together the 13 heads look less strongly, 0.27 on average instead of 0.42, and L20H6 only 0.11 instead of
# 0.55. So the shared words help, but they are not needed. (This does not show that these heads find the needle by
# themselves: earlier layers may have told the last position where to look.)
#
# ## Without them
#
# We mask the 13 highest-scoring heads (their output becomes zero, as in the paper), and beside them 13 random heads: none of
# the 29 retrieval heads, and none of layers 0 and 1, on which everything later builds. A needle counts as found when its first
# word is the model's first choice.

# %%
rule = dict(layers=found.coords["layer"][2:], avoid=heads, metric="top1")
ranked_ablation = interp.methods.ablation.ranked_ablation
lost = ranked_ablation(model, judge, ranked, [k], by="zero", sets=1 if FAST else 3, **rule)
of_ranked, of_random = (lost.sel(heads=h, number=k) for h in ("ranked", "random"))
needle_loss, random_loss = measured(0 - of_ranked), measured(0 - of_random)
spared = gate("change of accuracy with random heads masked", measured(of_random), at_least=-0.05)
v_causal = claims["causal"].judge(
    measured(of_random - of_ranked), control=random_loss, provided=spared, gate=able
)
print(v_causal, f"lost without the 13 heads: {needle_loss}", sep="\n")
print(f"each random set of {k}: {lost.metadata['random effects'][str(k)]}")

# %% [markdown]
# 61 of 100 needles are lost without the 13 heads, and one at most without any of the three random sets.
#
# Zero is far from what a head ever writes. A milder way puts the head's mean over the prompts in its place, here for 13
# and for 27 heads (20 prompts, one random set).

# %%
some = judge[: 8 if FAST else 20]
numbers = [k] if FAST else [k, 27]
ranked_ablation(model, some, ranked, numbers, by="mean", sets=1, **rule).table()

# %% [markdown]
# With their mean in place of zero, the same 13 heads cost 15 points instead of about 60, and 27 heads cost 65. So more heads than
# the first 13 can fetch the needle, and part of the damage that zero does is not loss of information: a zero is far from
# anything that the later layers have ever read.
#
# A harder control than the paper's: zero for 13 random heads from the same layers as the masked ones.

# %%
layers = sorted({layer for layer, _ in found.cells(ranked[:k])})
near = interp.methods.runs.random_heads(model, ranked[:k], sets=1, layers=layers, avoid=heads)
interp.ablate(model, some, near, by="zero", metric="top1").table()

# %% [markdown]
# Nothing is lost with random heads of the same layers: it is these heads, not their layers (20 prompts, one set).
#
# What does the model write without them?

# %%
mask = [Intervention(f"{head}.z", zero()) for head in ranked[:k]]
others = [
    [Intervention(f"{head}.z", zero()) for head in heads_of_set]
    for heads_of_set in lost.metadata["random sets"][str(k)]
]
for name, edits in (("nothing", []), ("the retrieval heads", mask), ("random heads", others[0])):
    written = interp.generate(model, judge[: 2 if FAST else 4].clean, edits, max_new_tokens=3)
    print(f"masked: {name:20} ", *(f"[{one.text.strip()}]" for one in written))
print(
    "in the needle:               ",
    *(f"[{answer}]" for answer in judge.labels["answer"][: 2 if FAST else 4]),
)

# %% [markdown]
# In two of these four prompts the first word is gone, and the model makes something up, as the paper says: "song of the",
# "cow.". In the other two it has the first word, which is all that we count, and then goes wrong. With random heads
# masked one of the four breaks off early, too, after its second word. Four prompts are examples; that a failing model
# *hallucinates* is a part of the quoted sentence that we do not measure.
#
# ## What does not need them
#
# Capitals, asked without any context: "The capital of France is". And running text, by its cross-entropy.

# %%
facts = interp.tasks.capitals(model, n=19)
known = [
    ranked_ablation(model, task, ranked, [k], by="zero", sets=1 if FAST else 3, **rule)
    for task in (facts, facts.heldout())
]
memory_loss, any_loss = (
    measured([x for r in known for x in (0 - r.sel(heads=h, number=k)).examples])
    for h in ("ranked", "random")
)
deep = gate("needle accuracy lost", needle_loss, at_least=0.5)
v_memory = claims["memory"].judge(memory_loss, control=needle_loss, provided=deep, gate=able)
print(v_memory, f"lost with random heads masked: {any_loss}", sep="\n")

# %%
text = interp.texts.chunks(
    model,
    interp.texts.prose(),
    length=64 if FAST else 128,
    n=4 if FAST else 10,
    split="heldout",
    join="\n\n",
)
cross_entropy = interp.methods.text.cross_entropy
plain, masked = cross_entropy(model, text), cross_entropy(model, text, mask)
random = mean_of([cross_entropy(model, text, edits) for edits in others[: 1 if FAST else 2]])
print(f"cross-entropy of prose, nats per token: {measured(plain)}")
print(f"more without the retrieval heads: {measured(masked - plain)}")
print(f"more without random heads: {measured(random - plain)}")

# %% [markdown]
# The model gets as many capitals right as before: some are lost and as many are won, which is why the interval is 8 points
# wide to either side. Its cross-entropy on prose rises by 0.02 nats without the retrieval heads, and by 0.10 without random
# ones. So these heads matter much for copying out of the context, and less than others for running text. (The random
# heads come from layers 2 to 29, the retrieval heads mostly from layers 17 to 24, so the two are not alike in depth.)
#
# ## Verdicts

# %%
verdicts(
    "13-retrieval-heads",
    [v_present, v_sparse, v_dynamic, v_causal, v_memory, v_induction, v_meaning],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - A small group of heads carries most of the retrieval. How small depends on how they are switched off: 13 of 270 by zeros,
#   27 by means.
# - A task can be solved by a cheaper trick than the one that you have in mind. If the question repeats the needle, induction is enough; ask in
#   other words before you speak of understanding.
# - Two scores that agree (here retrieval and induction) may be one ability seen twice.
# - Zero ablation can make an effect look larger than it is (here 60 points against 15). Put the mean in place as well, and
#   look at both.
#
# ## What did not reproduce, and what we cannot say
#
# - **How sparse they are** cannot be said with answers of three tokens.
# - **Other heads than induction heads:** no. The paper's authors distinguish the two kinds; in this model all 13 are among the
#   27 heads with the highest induction score.
# - **That the model hallucinates** without them is shown on four prompts and not measured.
# - **The causal row needed prompts.** With 20, an earlier run could not separate the random heads' loss from zero and said
#   "partly"; with 100 it holds. The threshold is the same.
# - **Masking was not repeated with the question in other words.** That the same heads look there is a correlation.
# - **"Always active"** means at least 90 % of 20 prompts, and "active" means one token of three.
# - **One model,** so "universal" means only that prompts agree. Two of the paper's claims are not tested: that the heads stay the
#   same when the context is extended, and that reasoning in steps needs them.
# - The mean ablation, and the random heads of the same layers, were taken on 20 prompts and one random set. FAST has fewer prompts and sets.
#
# ## Try it
#
# - Mask one head alone: `interp.ablate(model, judge, ["L18H6"], by="zero", metric="top1")`.
# - Hide the needle elsewhere, `interp.tasks.needle(model, depth=0.0, forced=True)`, or take longer texts (`length=1024`).
# - Does the mask hurt as much when the question is in other words? `interp.tasks.needle(model, paraphrased=True)`.
# - Another model: set `MODEL`.
#
# ## Further reading
#
# - Wu et al. 2024, arXiv 2404.15574: the same heads before and after a model is trained for long contexts.
# - Olsson et al. 2022, "In-context Learning and Induction Heads", arXiv 2209.11895.
