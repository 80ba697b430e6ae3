# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Information flow: two stages on the way to an answer
#
# Paper: Zhang et al. 2024, "Cross-modal Information Flow in Multimodal Large Language Models", arXiv 2411.18620; the knock-out after Geva et al. 2023, "Dissecting Recall of Factual Associations in Auto-Regressive Language Models", arXiv 2304.14767
#
# Found: facts are recalled in two stages, the relation first and the subject eight layers later; out of a context the answer's word is read directly, and that the question's turn comes after the context's says little: random tokens take turns, too
#
# When a model answers a question, what is looked up where, and in which layers does it reach the last position? Geva
# and colleagues cut attention in windows of layers and found two points for facts. Zhang and colleagues did the same
# for images: first the image goes into the question's tokens, then from there to the last position. We have no image
# here; a text before the question takes its place.
#
# Held out, cutting the subject costs 7.8 [7.4, 8.2] layers later than cutting the relation. With a context the order
# of the two stages is the papers' (3.4 and 5.5 layers), but the same cuts on tokens dealt at random give 7.6 and 10.5.
# The direct way from the context to the last position costs 0.99 of the answer's probability in its window, more than
# or as much as the way through the question. And the first token, which knows nothing, costs 0.96 on facts: a cut
# need not mean that something flowed there.

# %% [markdown]
# ## What the papers say, and what would count here
#
# These thresholds were written down before anything was measured. A window is 8 layers; "later" has to mean at
# least half a window, 4 layers. Of Geva et al. we read the abstract, of Zhang et al. the abstract and the published
# code, where the cuts and the change of the answer's probability come from (the abstract names the stages, not the
# measure). We compare with no number of theirs: every threshold is ours.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp
from interp.results import mean_of
from interp.studies import Claim, gate, measured, ratio_of_means, verdicts

GEVA, ZHANG = "Geva et al. 2023, abstract", "Zhang et al. 2024, abstract"
DEALT = (
    "the same cuts with the tokens dealt at random into sets of the same sizes, mean of the deals"
)
chain = ("context → question", "question → last")
stages = {"facts": ("relation → last", "subject → last"), "needle": chain, "conflict": chain}

# %%
two_points = Claim(
    "two-points",
    says=(
        "Two critical points: one from the relation positions followed by another from the "
        "subject positions"
    ),
    paper="relation first, then subject",
    source=GEVA,
    holds=4,
    null=0.0,
    control=DEALT,
    metric=(
        "layers by which the loss of subject → last lies later than that of relation → last "
        "(centre of each prompt's loss)"
    ),
)
order = Claim(
    "question-after-context",
    paper="lower and middle layers, then higher layers",
    source=ZHANG,
    says=(
        "First the context goes into the question tokens, in higher layers the result is "
        "propagated to the last position"
    ),
    metric="layers by which the loss of question → last lies later than that of context → question",
    holds=4,
    null=0.0,
    control=DEALT,
    parts=("needle", "conflict"),
    needs=(2, 1),
)
matter = Claim(
    "links-matter",
    says="Both stages are needed for the answer",
    paper="both change the answer's probability",
    source=ZHANG,
    metric=(
        "change of the answer's probability, share of the clean value, in the window chosen on find"
    ),
    direction="<=",
    holds=-0.3,
    null=0.0,
    control=DEALT,
    needs=(4, 2),
    parts=tuple(f"{name}: {route}" for name in ("needle", "conflict") for route in chain),
)
through = Claim(
    "through-the-question",
    paper="two stages, the second starts at the question tokens",
    source=ZHANG,
    says="The context reaches the last position by way of the question",
    metric=(
        "how much more context → question costs than context → last, shares of the clean "
        "probability, each in its window"
    ),
    holds=0.2,
    null=0.0,
    control=DEALT,
    parts=("needle", "conflict"),
    needs=(2, 1),
)
distinct = Claim(
    "distinct-stages",
    says="The stages are distinct: outside its own, a cut costs little",
    paper="two distinct stages",
    source=ZHANG,
    metric=(
        "mean loss in windows wholly on the other side of the boundary, share of the loss in its "
        "window"
    ),
    direction="<=",
    holds=0.25,
    null=1.0,
    control="all windows alike (their mean, share of the loss in its window)",
    parts=tuple(f"{name}: {route}" for name, pair in stages.items() for route in pair),
    needs=(6, 3),
)
idle = Claim(
    "nothing-flows-nothing-lost",
    says=(
        "A cut costs only where information flows (the first token, alike in all prompts, has none)"
    ),
    paper="the method's assumption, no number",
    source="our reading of Geva et al. 2023",
    metric=(
        "change of the answer's probability without first token → last, share of the clean value, "
        "in its worst window"
    ),
    holds=-0.2,
    null=-1.0,
    control="the second stage in its window",
    parts=tuple(stages),
    needs=(3, 1),
)

# %% [markdown]
# ## Three tasks
#
# *Facts* have no context but a relation ("The capital of") and a subject. A *needle* is a sentence in a text, asked
# for at the end; a *conflict* is a context that names a wrong capital, and the answer is what the context says.
# In the last two, everything before the question stands where the paper has its image.
#
# As in both papers, only prompts that the model answers are kept: here, with the answer on top of all tokens.

# %%
model = interp.load(MODEL)
made = {
    "facts": interp.tasks.capitals(model, n=12 if FAST else 22),
    "needle": interp.tasks.needle(model, n=5 if FAST else 10, length=64 if FAST else 96),
    "conflict": interp.tasks.conflict(model, n=48 if FAST else 96, against="other"),
}
right = {
    name: measured(task.heldout().with_metric("accuracy").clean_metric(model))
    for name, task in made.items()
}
able = [gate(f"{name}: answer above wrong", right[name], at_least=0.9) for name in made]
print(*able, sep="\n")

# %%
find = {name: task.answered(model) for name, task in made.items()}
judge = {name: task.heldout().answered(model) for name, task in made.items()}
print(
    *(
        f"{name}: {len(find[name])} and {len(judge[name])} of {len(task)} prompts kept"
        for name, task in made.items()
    ),
    sep="\n",
)
judge["conflict"].show(2)

# %% [markdown]
# ## The cuts
#
# Some tokens may not look at others, in 8 layers at a time. What does the probability of the answer lose? Beside
# the links of the two stages stand the direct way from the context to the last position, the last position's look
# at itself, and its look at the first token, which is the same in every prompt.

# %%
both = {"last → last": "END", "first token → last": 0}
text = {
    "context → question": "1:QUESTION-1",
    "question → last": "QUESTION:END-1",
    "context → last": "1:QUESTION-1",
    **both,
}
to = {
    "facts": {"relation → last": "1:SUBJECT-1", "subject → last": "SUBJECT", **both},
    "needle": text,
    "conflict": text,
}
at = {
    name: dict.fromkeys(to[name], "END") | {"context → question": "QUESTION:END-1"} for name in to
}
at["facts"] = "END"
cut = dict(window=8, every=3, metric="prob", unit="relative")
found = {
    name: interp.attention_knockout(model, find[name], at[name], to[name], **cut) for name in to
}
held = {
    name: interp.attention_knockout(model, judge[name], at[name], to[name], **cut) for name in to
}

# %% tags=["cover"]
held["facts"].plot(
    title="Facts: change of the answer's probability, a look cut in the 8 layers around each"
)
# %% [markdown]
# Two stages, apart: without the relation nearly all is lost in the windows around layers 9 to 15 and a fifth or less from
# layer 18 on; without the subject 0.4 is lost in the middle and nearly all from layer 21 on. The last position's look at
# itself costs a quarter at most. But the look at the first token costs as much as either stage: more of it below.

# %%
held["needle"].plot(
    title="Needle: change of the answer's probability, a look cut in the 8 layers around each"
)
# %% [markdown]
# Context → question costs most around layer 15, question → last around layer 18: the papers' order. The direct way
# costs more than either, and from layer 21 on nearly everything: the answer's word is read where it stands.

# %%
told = held["conflict"].sel(set=[*chain, "context → last", "last → last"])
told.plot(
    title="Conflict: change of the told answer's probability, a look cut in the 8 layers around "
    "each"
)
# %% [markdown]
# Again three humps in a row: context → question around layer 6, question → last around layers 12 to 18, context →
# last from layer 21 on. Here cuts also *raise* the told answer, up to 0.9 of its probability when the late layers may
# not look at the question. The told capital has a rival, the true one; a guess, not tested here, is that the late
# looks at the country bring that one.
#
# ## The same cuts with the tokens dealt at random
#
# Do these curves speak of *these* tokens? Deal the tokens between the first and the last one at random into sets of
# the same sizes, and cut again. Of the facts, one token of the relation plays the subject (so that the true subject
# is always among the "relation": a mirror, not a neutral control).

# %%
deals, dealt = 1 if FAST else 3, {}
inner = interp.methods.ablation.token_set(judge["facts"], "1:END-1")
runs = [
    interp.attention_knockout(
        model,
        judge["facts"],
        "END",
        {"relation → last": inner & ~one, "subject → last": one},
        **cut,
    )
    for one in interp.methods.runs.random_tokens(
        judge["facts"], "SUBJECT", among="1:SUBJECT-1", sets=deals
    )
]
dealt["facts"] = mean_of(runs)

# %%
for name in ("needle", "conflict"):
    inner, runs = interp.methods.ablation.token_set(judge[name], "1:END-1"), []
    for one in interp.methods.runs.random_tokens(judge[name], "QUESTION:END-1", sets=deals):
        queries = {"context → question": one, "question → last": "END", "context → last": "END"}
        keys = {
            "context → question": inner & ~one,
            "question → last": one,
            "context → last": inner & ~one,
        }
        runs.append(interp.attention_knockout(model, judge[name], queries, keys, **cut))
    dealt[name] = mean_of(runs)
dealt["needle"].plot(
    title="Needle: change of the answer's probability, the same cuts with tokens dealt at random"
)
# %% [markdown]
# Random tokens show the same two humps, lower and later: whatever a middle token brings to the last position, it has
# to read first.
#
# ## Which stage comes first?
#
# Each prompt's loss has a centre: the mean layer, weighted by what is lost there. How many layers lie between the
# centres of the two stages?

# %%
later, dealt_later = {}, {}
for name, (first, second) in stages.items():
    for gaps, curves in ((later, held), (dealt_later, dealt)):
        depth = interp.replications.loss_depth(curves[name].sel(set=[first, second]))
        gaps[name] = measured(depth.sel(set=second) - depth.sel(set=first))
    print(f"{name}: {later[name]} layers, dealt at random: {dealt_later[name]}")
v_points = two_points.judge(later.pop("facts"), control=dealt_later.pop("facts"), gate=able[0])
v_order = order.judge(later, control=dealt_later, gate=able[1:])

# %% [markdown]
# For facts the subject comes 7.8 layers after the relation, and 4.6 layers *before* it when one of the relation's
# tokens plays the subject. With a context the second stage comes later, too, by 3.4 and 5.5 layers, but later still
# (7.6 and 10.5) with tokens dealt at random: the order is there, and it says nothing about these tokens. Where does
# each needle prompt lose most?

# %%
interp.replications.loss_depth(held["needle"], how="peak").table()

# %% [markdown]
# Question → last has its peak at layer 18 in every prompt, on average 3 layers after context → question and 3.6
# before context → last.
#
# ## How much does each link carry?
#
# The window of each link was chosen on the other half of the prompts.

# %%
best = {
    (name, r): c.coords["layer"][c.sel(set=r).values.argmin()]
    for name, c in found.items()
    for r in to[name]
}
ours = {link: measured(held[link[0]].sel(set=link[1], layer=best[link])) for link in best}
pairs = {f"{name}: {r}": (name, r) for name in ("needle", "conflict") for r in chain}
random_ones = {
    k: measured(dealt[name].sel(set=r, layer=best[name, r])) for k, (name, r) in pairs.items()
}
v_matter = matter.judge(
    {k: ours[link] for k, link in pairs.items()}, control=random_ones, gate=able[1:]
)
print(
    *(f"{name}: {r}, around layer {best[name, r]}: {ours[name, r]}" for name, r in best), sep="\n"
)

# %% [markdown]
# Every link of the two stages costs over 0.3 of the probability. Is it the *only* way? If the context reached the last
# position by way of the question, the direct look would cost less.

# %%
direct, into, gain, random_gain = "context → last", "context → question", {}, {}
for name in ("needle", "conflict"):
    for gains, curves in ((gain, held), (random_gain, dealt)):
        costs = [curves[name].sel(set=r, layer=best[name, r]).examples for r in (direct, into)]
        gains[name] = measured(costs[0] - costs[1])
    print(
        f"{name}: {into} costs {gain[name]} more than {direct}; tokens dealt at random: "
        f"{random_gain[name]}"
    )
v_through = through.judge(gain, control=random_gain, gate=able[1:])

# %% [markdown]
# It costs more on needles, and as much in conflicts. Both ways are needed, in different layers.
#
# ## Are the stages distinct?
#
# The boundary lies midway between the centres of the two stages, on the prompts that were set aside to find it.
# What does a cut cost in windows that lie wholly on the other side?

# %%
away, anywhere = {}, {}
for name, (first, second) in stages.items():
    boundary = float(
        interp.replications.loss_depth(found[name].sel(set=[first, second])).mean().values
    )
    before, after = interp.replications.split_windows(held[name], boundary)
    for route, beyond in ((first, after), (second, before)):
        curve, key = held[name].sel(set=route), f"{name}: {route}"
        away[key], anywhere[key] = (
            ratio_of_means(c.mean(), curve.sel(layer=best[name, route]))
            for c in (beyond.sel(set=route), curve)
        )
    print(f"{name}: boundary at layer {boundary:.1f}")
v_distinct = distinct.judge(away, control=anywhere, gate=able)

# %% [markdown]
# (The shares stand in the table at the end.) A loss outside its stage is small for facts, 0.13 and 0.05 of the
# greatest one. In conflicts it is below zero: the cuts there raise the answer.
#
# ## Does a cut cost anything where nothing flows?
#
# The first token is the same in every prompt, so it cannot tell the answer. Its look costs 0.96 on facts, as much as
# the subject's; on needles almost nothing; in conflicts the told answer *gains*, up to 2.4 times its own
# probability:

# %%
second_stage = {name: ours[name, pair[1]] for name, pair in stages.items()}
v_idle = idle.judge(
    {name: ours[name, "first token → last"] for name in stages}, control=second_stage, gate=able
)
held["conflict"].sel(set="first token → last").plot(
    title="Conflict: change of the told answer's probability, first token → last cut"
)
# %%
interp.methods.attention.residual_norms(model, judge["facts"]).sel(layer=12)

# %% [markdown]
# The first token is an attention sink: its residual stream is over 150 times as long as any other. Heads
# that have nothing to do rest on it, and when they may not, their attention goes to tokens where it was never meant to
# go. So part of what any cut costs is this disturbance, and no part of it a flow.
#
# ## Verdicts

# %%
verdicts(
    "02-information-flow",
    [v_points, v_order, v_matter, v_through, v_distinct, v_idle],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## Try it
#
# - Which heads bring the needle? `interp.attention_knockout(model, judge["needle"], "END", "NEEDLE0:NEEDLE2",
#   window=8, heads=["L18H*"], metric="prob", unit="relative")`; leave `heads` out for all of them.
# - Narrow windows: `window=1` shows how much a single layer carries.
# - Another wrong answer: `interp.tasks.conflict(model, against="memory")` sets the told capital against the true one.
# - Set `MODEL` above to try another model.

# %% [markdown]
# ## What did not reproduce
#
# - **The order of the stages is no evidence here.** Context → question comes before question → last, by 5.5 layers in
#   conflicts (enough) and 3.4 on needles (too little). But tokens dealt at random show a greater delay, and have to:
#   their sets often hold the answer's own word, which is read late, and no token passes on what it has not read. A
#   control whose sets keep clear of the answer's word would be fairer; this one was fixed before and stays.
# - **The context does not go by the question alone.** Context → last costs 0.99 on needles against 0.44 for context →
#   question, and 0.99 against 0.98 in conflicts. In a text the answer's word stands there to be copied; an image
#   has no words. This is a difference of the tasks as much as of the models.
# - **One link of four does not beat random tokens.** Context → question on needles costs 0.44 [0.36, 0.53], tokens
#   dealt at random 0.28 [0.13, 0.46]: the intervals overlap.
# - **The shares of "distinct stages" are ill-posed where a curve changes its sign.** Question → last in conflicts costs
#   nothing outside its stage (-0.08), but gains and losses cancel in the mean of all windows (-0.08), too, and so
#   it cannot be told from its control: "does not hold". On needles, context → question misses 0.25 by a hair (0.26).
# - **A cut can cost everything where nothing flows** (first token, facts: 0.96). A claim about a link is safe only
#   beside other cuts of the same size, and a sink among the keys makes it unsafe altogether; all links above
#   leave the first token alone.
# - **Not tested:** that the image comes in twice, in general first and then the objects asked for. A needle has no
#   such two parts.
# - **Limits.** The model answers 21 of 96 held-out conflicts with the told capital on top: those are the easy ones,
#   and some share their country. There are ten needles, all below a hundred tokens. Windows stand at every third
#   layer, so a layer's place is known to three. Weights were stored in four bits and unpacked.
