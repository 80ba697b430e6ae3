# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Information flow: in which layers does the last token read the answer?
#
# Paper: Zhang et al. 2024, "Cross-modal Information Flow in Multimodal Large Language Models", arXiv 2411.18620; the knock-out after Geva et al. 2023, "Dissecting Recall of Factual Associations in Auto-Regressive Language Models", arXiv 2304.14767
#
# **The question.** To complete "The capital of France is", a model has to move information about *capital* and about
# *France* to the last token. Which moves first, and in which layers? And when a text before the question already says
# the answer, which way does it take?
#
# **How we look.** We block attention from some tokens to others, in a window of eight layers at a time, and watch the
# probability of the answer. Where it collapses, something was being moved.
#
# *Before you run anything: would you expect the relation ("The capital of") or the subject ("France") to be read
# first? Write your guess down.*
#
# **What we found.** The relation is read in layers 9 to 15, and the subject follows about eight layers later (7.8, 95 %
# interval 7.4 to 8.2). When a context contains the answer, the last token reads the answer's word directly in the
# context, so the way through the question is not the only one. The question itself is also prepared first and read
# later, by 5.5 layers in conflicts but only 3.1 for a sentence hidden in a text. Randomly chosen tokens show much the same
# order, so that order by itself says little.
#
# 15 minutes · intermediate · you should know what an attention pattern is

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp
from interp.results import mean_of
from interp.studies import gate, load_claims, measured, ratio_of_means, verdicts

model = interp.load(MODEL)

# %% [markdown]
# ## Three kinds of prompt
#
# *Facts* have a relation ("The capital of") and a subject, and no context. A *needle* is one sentence in a text, asked
# for at the end: "The secret song of Sydney is the yellow lemon helmet." stands somewhere in a paragraph of prose, and
# the prompt ends in "Question: What is the secret song of Sydney? Answer: The secret song of Sydney is the". A *conflict*
# is a context that names a wrong capital; the answer is what the context says. Every prompt begins with the same special
# token, `<|im_start|>`; "the first token" below always means this one.
#
# | | the authors | here |
# | --- | --- | --- |
# | model | Geva: GPT-2 XL and GPT-J; Zhang: LLaVA models of 7B to 13B | SmolLM2-135M, 30 layers |
# | prompts | Geva: facts; Zhang: questions about an image | facts; questions about a *text*, which takes the image's place |
# | kept | prompts that the model answers | the same: the answer on top of all tokens |
# | blocked | Geva: last token → relation or subject; Zhang: image → question → last token | the same links; 8 layers at a time, every third layer |
# | compared with | no control in the abstracts | randomly chosen tokens; the first token, which knows nothing |
#
# The claims below are quoted from the abstracts. The authors' models and prompts in this table are given from memory.
# Zhang's "two distinct stages" are two visits of the image to the question (first general features, then the objects asked
# for). A text has no such two parts, so that is not tested here; we test that the last position comes last.

# %%
made = {
    "facts": interp.tasks.capitals(model, n=12 if FAST else 22),
    "needle": interp.tasks.needle(model, n=5 if FAST else 10, length=64 if FAST else 96),
    "conflict": interp.tasks.conflict(model, n=48 if FAST else 96, against="other"),
}
judged = {name: task.heldout() for name, task in made.items()}
judged["needle"] = interp.tasks.needle(
    model, n=5 if FAST else 40, length=64 if FAST else 96, split="heldout"
)
able = {
    name: gate(
        f"{name}: answer above the wrong one",
        measured(task.with_metric("accuracy").clean_metric(model), unit="prompts"),
        at_least=0.9,
    )
    for name, task in judged.items()
}
find = {name: task.answered(model) for name, task in made.items()}
judge = {name: task.answered(model) for name, task in judged.items()}
for name in made:
    print(able[name])
    print(f"  kept: {len(find[name])} prompts to choose windows, {len(judge[name])} to judge")

# %%
judge["conflict"].show(2)

# %% [markdown]
# ## What is blocked
#
# An arrow follows the information: "subject → last" is blocked by forbidding the last token to look at the subject.
# "context → question" forbids the question's tokens to look at the context, and "context → last" is the direct way.
#
# In every figure one colour keeps one role: the last token's attention to itself (blue), the first stage (orange),
# the second stage (green), the first token of the prompt (pink), and the direct way from the context to the last token
# (light blue). The layer on the axis is the centre of the blocked window.

# %%
stages = {
    "facts": ("relation → last", "subject → last"),
    "needle": ("context → question", "question → last"),
    "conflict": ("context → question", "question → last"),
}
ORANGE, GREEN = "#e69f00", "#009e73"  # the first stage and the second, in every figure
SELF, FIRST, DIRECT = "last → last", "first token → last", "context → last"
text = {
    SELF: ("END", "END"),
    "context → question": ("QUESTION:END-1", "1:QUESTION-1"),
    "question → last": ("END", "QUESTION:END-1"),
    FIRST: ("END", 0),
    DIRECT: ("END", "1:QUESTION-1"),
}
facts = {
    SELF: ("END", "END"),
    "relation → last": ("END", "1:SUBJECT-1"),
    "subject → last": ("END", "SUBJECT"),
    FIRST: ("END", 0),
}
links = {"facts": facts, "needle": text, "conflict": text}


def block(task, links):
    """The change of the answer's probability for each link, by the layer of the window's centre."""
    queries, keys = ({k: pair[i] for k, pair in links.items()} for i in (0, 1))
    return interp.attention_knockout(
        model, task, queries, keys, window=8, every=3, metric="prob", unit="relative"
    )


found = {name: block(find[name], links[name]) for name in links}
held = {name: block(judge[name], links[name]) for name in links}

# %% tags=["cover"]
held["facts"].plot(title="Facts: change of the answer's probability", figsize=(8.5, 3.6))

# %% [markdown]
# Two stages, clearly apart. When the relation is blocked, nearly everything is lost in the windows around
# layers 9 to 15, and a fifth or less from layer 18 on. When the subject is blocked, 0.4 is lost in the
# middle and nearly everything from layer 21 on. Blocking the last token's attention to itself costs a
# quarter at most. But look at the first token: blocking it costs as much as either stage, although it is
# the same in every prompt. We come back to that.
#
# *Now a prediction: when the context says the answer, will the last token read it in the context or in the question?*

# %%
held["needle"].plot(title="Needle: change of the answer's probability", figsize=(8.5, 3.6))

# %% [markdown]
# Blocking context → question costs most around layer 12, blocking question → last around layer 18: the order of the
# paper. But the direct way, context → last, costs at least as much as either from layer 15 on, and nearly everything from
# layer 21 on. The last token reads the answer's word where it stands.

# %%
held["conflict"].plot(
    title="Conflict: change of the probability of what the context says", figsize=(8.5, 3.6)
)

# %% [markdown]
# Again three valleys in a row: context → question around layer 6, question → last around layers 12 to 18,
# context → last from layer 21 on. Some curves rise far above zero: the probability of what the context says
# more than triples when the last token may not look at the first token. What the context says has a rival
# here, the true capital. A guess, not tested: the late layers look at the country to bring that one.
#
# ## The claims
#
# A picture is not yet a test. These are the claims, with thresholds that were fixed before anything was measured. "in 2 of
# 2; partly in 1" says of how many parts a claim needs all to hold, and how many are enough for *partly*.

# %%
claims = load_claims("02-information-flow")
claims

# %% [markdown]
# ## The same knock-outs on randomly chosen tokens
#
# Would other tokens show these curves, too? We draw as many random tokens as the question has and let them take its
# place; all other tokens take the place of the context. The word that is the answer is never drawn, and in a conflict
# the country is not drawn either: these words are read late by whatever looks at them, so they would make any order look
# like the real one.

# %%
ANSWER = {"needle": ["NEEDLE0", "NEEDLE1", "NEEDLE2"], "conflict": ["TOLD", "SUBJECT1", "SUBJECT2"]}
token_set = interp.methods.ablation.token_set
random_tokens = interp.methods.runs.random_tokens
dealt = {}
for name, answer in ANSWER.items():
    task, runs = judge[name][: 5 if FAST else 16], []
    inner = token_set(task, "1:END-1")
    clear = inner & ~token_set(task, answer)
    for some in random_tokens(task, "QUESTION:END-1", among=clear, sets=1 if FAST else 3):
        as_if = {"context → question": (some, inner & ~some), "question → last": ("END", some)}
        runs.append(block(task, as_if))
    dealt[name] = mean_of(runs)
shown = {link: dealt["needle"].sel(set=link) for link in stages["needle"]}
interp.plots.lines(
    [one.values for one in shown.values()],
    dealt["needle"].coords["layer"],
    interval=[[one.ci()[end] for one in shown.values()] for end in (0, 1)],
    names=list(shown),
    colours=[ORANGE, GREEN],
    x_name="layer",
    unit="share of the clean value",
    title="Needle: the same knock-outs on randomly chosen tokens",
)

# %% [markdown]
# Here random tokens stand for the question, and all others for the context. The losses are small, 0.15 at
# most where the real links cost 0.5 and 0.8. So the size of the effects belongs to the question and the
# context. The order is another matter.
#
# ## Which stage comes first?
#
# Each prompt's loss has a centre: the mean layer, weighted by how much is lost there. How many layers lie between the
# centres of the two stages?

# %%
countries = judge["conflict"].labels["country"]


def interval(examples, name, kept=None):
    """The mean with its interval over prompts; over countries for conflicts, where they repeat."""
    if name != "conflict":
        return measured(examples)
    asked = countries if kept is None else [countries[i] for i in kept]
    return measured(examples, groups=asked, unit="countries")


later, random_later = {}, {}
for name, (first, second) in stages.items():
    for gaps, curves in ((later, held), (random_later, dealt)):
        if name in curves:
            pair = curves[name].sel(set=[first, second])
            depth = interp.replications.loss_depth(pair, drop=True)  # of prompts that lose anything
            gap = depth.sel(set=second) - depth.sel(set=first)
            gaps[name] = interval(gap, name, depth.metadata["kept"])
    print(f"{name}: {later[name]} layers; random tokens: {random_later.get(name, 'not asked')}")
both = [able["needle"], able["conflict"]]
v_points = claims["two-points"].judge(later.pop("facts"), gate=able["facts"])
v_last = claims["last-position-last"].judge(later, gate=both)
v_order = claims["order-of-these-tokens"].judge(later, control=random_later, gate=both)

# %% [markdown]
# For facts the subject comes 7.8 layers after the relation. With a context, too, the second stage comes later: by 5.5
# layers in conflicts, which passes, and by 3.1 on needles, which is less than the half window (4 layers) that the claim
# asks for. But in conflicts randomly chosen tokens give 6.5 layers, and on needles their interval reaches from -1.0 to
# 4.4. Whatever a middle token passes on, it has to read first; so the order by itself says little about the question.
#
# ## How much does each link carry?
#
# The window of each link was chosen on other prompts than the ones that are judged here.

# %%
best = {
    (name, link): curve.coords["layer"][curve.sel(set=link).values.argmin()]
    for name, curve in found.items()
    for link in links[name]
}
cost = {
    (name, link): interval(held[name].sel(set=link, layer=layer), name)
    for (name, link), layer in best.items()
}
for (name, link), layer in best.items():
    print(f"{name}: {link}, around layer {layer}: {cost[name, link]}")

# %%
four = {f"{name}: {link}": (name, link) for name in ANSWER for link in stages[name]}
random_cost = {}
for key, (name, link) in four.items():
    curve = dealt[name].sel(set=link, layer=best[name, link])
    random_cost[key] = interval(curve, name, range(curve.examples.shape[-1]))
v_matter = claims["links-matter"].judge(
    {key: cost[pair] for key, pair in four.items()}, control=random_cost, gate=both
)
print(v_matter, *(f"{key}: {v.measured}" for key, v in v_matter.parts), sep="\n")

# %% [markdown]
# Each of the four links costs more than 0.3 of the probability, and each clearly more than randomly chosen tokens.
#
# If the context reached the last token mainly by way of the question, blocking the direct way would cost less than
# blocking context → question. Does it?

# %%
gain = {}
for name in ANSWER:
    direct, into = (
        held[name].sel(set=link, layer=best[name, link]).examples
        for link in (DIRECT, "context → question")
    )
    gain[name] = interval(direct - into, name)
    print(f"{name}: context → question costs {gain[name]} more than context → last")
v_through = claims["through-the-question"].judge(gain, gate=both)

# %% [markdown]
# It does not. On needles the direct way costs 0.52 more than the way through the question, and in conflicts the two cost
# the same. A text holds the answer's word, ready to be copied; an image does not. So this answers our question about texts
# and says nothing against the paper.
#
# ## Are the stages distinct?
#
# The boundary lies midway between the centres of the two stages, measured on the prompts that chose the windows. What does
# blocking a link cost in windows that lie wholly on the other side?

# %%
away, anywhere, sizes = {}, {}, {}
for name, (first, second) in stages.items():
    depths = interp.replications.loss_depth(found[name].sel(set=[first, second]), drop=True)
    boundary = float(depths.mean().values)
    before, after = interp.replications.split_windows(held[name], boundary)
    unit = {"groups": countries, "unit": "countries"} if name == "conflict" else {}
    for link, beyond in ((first, after), (second, before)):
        curve, key = held[name].sel(set=link), f"{name}: {link}"
        peak = curve.sel(layer=best[name, link])
        away[key], anywhere[key] = (
            ratio_of_means(c.mean(), peak, **unit) for c in (beyond.sel(set=link), curve)
        )
    print(f"{name}: boundary at layer {boundary:.1f}")

# %%
distinct, parts = claims["distinct-stages"], {}
for key, outside in away.items():
    mixed = "its losses and gains cancel over all windows, so there is no share to compare with"
    parts[key] = distinct.part(key).judge(
        outside, control=anywhere[key], invalid=mixed if anywhere[key].value < 0.05 else ""
    )
    print(f"{parts[key].word}: {key}, {outside}; all windows: {anywhere[key]}")
v_distinct = distinct.judge(parts, gate=list(able.values()))

# %% [markdown]
# For facts the stages are distinct: outside its own layers a link costs 0.13 and 0.05 of its greatest loss. On needles
# context → question still costs 0.28 later on. In conflicts blocking context → question later does not cost anything: the
# share is negative (-0.30), because the probability rises there. The share for question → last cannot be computed: its
# curve has losses and gains that cancel.
#
# ## Does it cost anything to block what knows nothing?
#
# The first token is the same in every prompt, so it cannot tell the answer.

# %%
second_stage = {name: cost[name, pair[1]] for name, pair in stages.items()}
v_idle = claims["nothing-flows-nothing-lost"].judge(
    {name: cost[name, FIRST] for name in stages}, control=second_stage, gate=list(able.values())
)
print(v_idle, *(f"{name}: {v.measured}" for name, v in v_idle.parts), sep="\n")
interp.methods.attention.residual_norms(model, judge["facts"]).sel(layer=12)

# %% [markdown]
# On facts it costs 0.96 of the answer's probability, as much as blocking the subject; on needles it costs
# next to nothing, and in conflicts the context's answer gains.
#
# The table says why this token is special: at layer 12 its residual stream is more than 150 times as long as any other
# (25,090 against 160 or less). It is an attention sink, a place where heads rest when they have nothing to do. The likely
# explanation, which we did not test: when they may not rest there, their attention goes to tokens where it was never
# meant to go, and the answer suffers although no information about it was blocked.
#
# ## Verdicts

# %%
verdicts(
    "02-information-flow",
    [v_points, v_last, v_order, v_matter, v_through, v_distinct, v_idle],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - Facts are recalled in two steps: the relation first (layers 9 to 15), the subject about eight layers
#   later.
# - When the text contains the answer, the last token copies it directly, in the late layers (from layer 15 on for
#   needles, from layer 21 on in conflicts), and the question matters as well.
# - An order of two stages is weak evidence. Compare it with randomly chosen tokens.
# - Blocking attention to a sink can destroy an answer without blocking any information. Keep the first
#   token out of what you block.
#
# ## What did not reproduce, and what we cannot say
#
# - **The order on needles.** 3.1 layers [2.5, 3.8] is in the paper's direction and less than half a window. An earlier
#   version with 10 needles found 3.4, so it is not for want of needles. Windows stand at every third layer, so a layer's
#   place is known to three.
# - **An earlier version said "does not hold" about the order.** It had been compared with randomly chosen tokens that
#   could include the answer's own word, which is read late by whatever looks at it. The claim is now judged against zero,
#   and the comparison, with tokens that keep clear of that word, is a question of ours.
# - **Not tested:** Zhang's "two distinct stages", two visits of the image to the question. A text has no
#   general features and objects.
# - **Not comparable:** the direct way. In a text the answer's word stands there to be copied.
# - **Limits.** The model puts the context's capital on top in 21 of 96 held-out conflicts: those are the easy ones, and
#   they come from 13 countries, which is what the intervals are over. Needles are below a hundred tokens. Weights were
#   stored in four bits and unpacked.
#
# ## Try it
#
# - Which heads bring the needle? `interp.attention_knockout(model, judge["needle"], "END", "NEEDLE0:NEEDLE2",
#   window=8, heads=["L18H*"], metric="prob", unit="relative")`; leave `heads` out for all of them.
# - Narrow windows: `window=1` shows how much a single layer carries.
# - Another wrong answer: `interp.tasks.conflict(model, against="memory")` sets what the context says against the true capital.
# - Set `MODEL` above to try another model.
#
# ## Further reading
#
# - Geva et al. 2023, arXiv 2304.14767: what the subject's position holds, and how attention heads extract the answer.
# - Zhang et al. 2024, arXiv 2411.18620: the same method for images.
# - Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks", arXiv 2309.17453: why the first token is special.
