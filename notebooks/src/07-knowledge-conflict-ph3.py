# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Knowledge conflicts: can a few heads switch a model between memory and context?
#
# Paper: Jin et al. 2024, "Cutting Off the Head Ends the Conflict: A Mechanism for Interpreting and Mitigating Knowledge Conflicts in Language Models", arXiv 2402.18154; context-aware heads after He et al. 2024, "Cracking the Code of Hallucination in LVLMs with Vision-aware Head Divergence", arXiv 2412.13949
#
# **The question.** A context says that the capital of France is Rome. The model knows better. Which heads
# speak for its memory and which for the context, and does the other side win when one kind is switched off?
#
# **How we look.** We score every head twice: by path patching straight to the logits, as the paper does,
# and by switching the head off (zero ablation). Then we prune the five best heads of a kind, in countries
# that had no part in finding them, and count how often each answer comes out on top.
#
# *Before you run anything: would you expect the two ways of scoring to find the same heads?*
#
# **What we found.** Memory heads and context heads exist, and five of a kind steer the answer by about 70
# points, if ablation finds them. The heads that path patching finds are other ones: pruning them helps the
# context (+40 points) but costs the memory (-27), probably because they write both answers. Whether the
# heads steer other templates and relations could not be tested, since the model shows no conflict there.
#
# 10 minutes · intermediate · you should know path patching and ablation (the patching tour)

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | models | eight language models | SmolLM2-135M |
# | facts | several relations | capitals that the model knows; official languages for the transfer |
# | heads are found by | path patching | path patching to the logits, on all prompts; and zero ablation, on five prompts only |
# | pruning | heads set to zero (from memory of the paper) | the same, five heads, beside random heads |
# | steering | memory +44.0 %, context +38.5 %, means over eight models | points of the share on top, minus random heads |
#
# The template of the prompts is ours. The row `families` holds at any value above zero: what decides there
# is the control, the size of all other heads. What "context-aware" has to mean for a text has no number in
# a paper, so that row is a question of ours.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp
from interp.results import mean_of
from interp.studies import gate, load_claims, measured, quantile_of_cells, verdicts

# %%
claims = load_claims("07-knowledge-conflict-ph3")
claims

# %% [markdown]
# ## The conflict, for facts the model knows
#
# The claim is about *known* facts: a country stays only if the model, asked without any context, has its capital on
# top of the whole vocabulary. Every country is told several wrong capitals, so prompts are not independent:
# intervals below draw whole countries, and n is the number of countries.

# %%
model = interp.load(MODEL)
facts = interp.tasks.capitals(model, n=19)
known = [
    country
    for task in (facts, facts.heldout())
    for country in task.answered(model).labels["country"]
]
find = interp.tasks.conflict(model, n=19, answer="memory").having("country", known)
judge = interp.tasks.conflict(model, n=38, split="heldout", seed=1, answer="memory").having(
    "country", known
)
told = interp.tasks.conflict(model, n=38, split="heldout", seed=1).having("country", known)
judge.show(2)

# %% [markdown]
# There has to be a conflict: memory and context must each win in a fifth of the prompts or more. As the protocol asks,
# four wrong capitals for each country.

# %%
able = []
for answer in ("memory", "context"):
    wide = interp.tasks.conflict(model, n=76, split="heldout", seed=1, answer=answer).having(
        "country", known
    )
    top = measured(wide.with_metric("top1").clean_metric(model), groups=wide.labels["country"])
    able.append(gate(f"{answer} on top", top, at_least=0.2))
    print(able[-1])

# %% [markdown]
# The gate passes by little: 25 % memory, 23 % context. Half of the prompts go on with neither answer. It is
# a weak conflict, and both intervals reach below the fifth. With other wrong capitals the gate can fail
# (two for each country, drawn with seed 0: 33 % and 13 %), and for all countries, known or not, it did.
# Every verdict below stands on a narrow gate.

# %% [markdown]
# ## Which heads speak for which side?
#
# Path patching first: each head takes what it wrote when the context said a third thing, and only the
# logits see it. The measure is the logit of the true capital minus that of the told one. If it rises when a
# head forgets the context, the head is a context head; if it falls, a memory head. Layers 0 and 1, which
# every prediction needs, are left out of all rankings and of all random sets.

# %% tags=["cover"]
late, found, best = range(2, interp.models.bridge.dims(model).n_layers), {}, {}
found["paths"] = interp.path_patch(model, find, "L*H*", "logits.in", direction="noising")
found["ablation"] = interp.ablate(model, find[:5], "L*H*", by="zero")
for how, kind in ((how, kind) for how in found for kind in ("memory", "context")):
    best[how, kind] = (
        found[how].sel(layer=late).top(13, by="low" if kind == "memory" else "high").labels
    )
found["paths"].plot(
    marks={
        "memory heads": best["paths", "memory"][:5],
        "context heads": best["paths", "context"][:5],
    },
    title="Path patching to the logits: change of memory less context",
)

# %%
found["ablation"].plot(
    marks={
        "memory heads": best["ablation", "memory"][:5],
        "context heads": best["ablation", "context"][:5],
    },
    title="Zero ablation: change of memory less context",
)

# %% [markdown]
# Two maps of one question, and they hardly agree. Directly, a dozen heads of layers 23 to 29 write for one
# side or the other, and only three of them clearly for memory. By ablation most strong heads lie in layers
# 8 to 17. Those cannot write much to the logits directly, so they must act through later heads. L23H4
# changes sides: what it writes about the told word favours the context, and yet without it the context
# gains.
#
# Does the best head of each kind keep its sign in other countries, and is it stronger than random heads?

# %%
who, held, tops = (
    judge.labels["country"],
    {},
    [best["ablation", kind][0] for kind in ("memory", "context")],
)
strangers = interp.methods.runs.random_heads(model, tops[:1] * 40, sets=1, layers=late, avoid=tops)[
    0
]
held["paths"] = interp.path_patch(model, judge, "L*H*", "logits.in", direction="noising")
held["ablation"] = interp.ablate(
    model, judge[: len(set(who))], [[head] for head in tops + strangers], by="zero"
)

# %%
v_kinds, signs = [], {"memory head": -1, "context head": 1}
for how, claim in (("paths", claims["families"]), ("ablation", claims["families-ablation"])):
    pair = [best[how, kind][0] for kind in ("memory", "context")]
    rest = [label for label in held["paths"].sel(layer=late).labels() if label not in pair]
    two, others = [
        held[how].pick(x) if how == "paths" else held[how].sel(set=at)
        for x, at in ((pair, [0, 1]), (rest, range(2, 42)))
    ]
    more = quantile_of_cells(others, groups=who[: two.examples.shape[-1]])
    ours = {
        part: measured(sign * x, groups=who[: two.examples.shape[-1]])
        for x, (part, sign) in zip(two.examples, signs.items())
    }
    v_kinds.append(claim.judge(ours, control=more, gate=able))
    print(
        f"{how}:",
        *(f"{part} {name} {ours[part]}," for part, name in zip(ours, pair)),
        f"other heads {more}",
    )

# %% [markdown]
# Both kinds are there with either method. They keep their sign, and they are stronger than 99 % of the
# other heads. (By ablation the best context head stands in layer 11 of 30: "later layers" is true of the
# direct writers only.)
#
# ## Pruned
#
# *A prediction: when five context heads are switched off, how many more prompts will be answered from
# memory?*
#
# The first heads of a ranking are set to zero, in other countries, and beside them as many random heads. If
# context heads stood in memory's way, memory should rise without them, and the other way round.

# %%
rule = dict(sets=1 if FAST else 3, layers=late, by="zero", avoid=sum(best.values(), []))
opposed = {
    "memory, context heads pruned": (judge, "context"),
    "context, memory heads pruned": (told, "memory"),
}
pruned, v_steer = {}, []
for how, claim in (("paths", claims["steer"]), ("ablation", claims["steer-ablation"])):
    for part, (task, kind) in opposed.items():
        pruned[how, part] = interp.methods.ablation.ranked_ablation(
            model, task, best[how, kind], [5] if FAST else [1, 3, 5, 8, 13], metric="top1", **rule
        )
    at5 = {part: pruned[how, part].sel(number=5) for part in opposed}
    gains = {
        p: measured((r.sel(heads="ranked") - r.sel(heads="random")).examples, groups=who)
        for p, r in at5.items()
    }
    v_steer.append(
        claim.judge(
            gains,
            control={p: measured(r.sel(heads="random"), groups=who) for p, r in at5.items()},
            gate=able,
        )
    )
    print(
        how,
        *(f"{p}: {gains[p]}, random alone {r.values[1]:+.2f}" for p, r in at5.items()),
        sep="; ",
    )

# %%
pruned["ablation", "memory, context heads pruned"].plot(
    title="Context heads pruned (ablation): change of memory's share on top"
)

# %%
pruned["ablation", "context, memory heads pruned"].plot(
    title="Memory heads pruned (ablation): change of the context's share on top"
)

# %% [markdown]
# With heads found by ablation, five are enough to steer: memory +73 points, context +67, far more than
# random heads. With heads found by path patching memory *falls* by 27 points when the context heads go, and
# only the context half passes its threshold (+40). Random heads alone cost memory 3 points and give the
# context 13.
#
# Now each kind is pruned and its own answer counted; and the logits, which move whatever stands on top:

# %%
for how in found:
    own = {
        kind: interp.ablate(model, task, best[how, kind][:5], by="zero", metric="top1")
        for kind, task in (("memory", judge), ("context", told))
    }
    shift = interp.ablate(model, judge, [best[how, kind][:5] for kind in own], by="zero")
    print(
        how,
        *(
            f"{kind} heads pruned: own share {own[kind].values:+.2f}, memory less context "
            f"{x:+.1f} logits"
            for kind, x in zip(own, shift.values)
        ),
        sep="; ",
    )

# %% [markdown]
# The heads that path patching found do not differ in this respect: without its five context heads memory
# falls, too, and the logits move by 2.3 *against* memory, as much as without its memory heads. A likely
# reason, not tested: a head that writes the told capital writes the true one as well. Path patching with
# another told word cannot see that, since what a head writes about the country is the same in both runs.
# Ablation's two kinds move the logits by 9.8 and -7.3, each its own way.
#
# ## Another template, another relation
#
# The same heads, found on capitals, in "The capital city of France is Rome. The capital city of France is",
# and asked for official languages; countries held out, and known. A third template, `question`, puts
# neither answer on top.

# %%
spoken = (
    interp.tasks.capitals(model, n=16, split="heldout", relation="language")
    .answered(model)
    .labels["country"]
)
new = {
    "another template": (dict(n=19, template="plain"), known),
    "another relation": (dict(n=16, relation="language"), spoken),
}
for name, (options, kept) in new.items():
    new[name] = {
        kind: interp.tasks.conflict(model, split="heldout", answer=answer, **options).having(
            "country", kept
        )
        for answer, kind in (("memory", "context"), ("context", "memory"))
    }

# %%
v_general = []
for how, claim in (("paths", claims["general"]), ("ablation", claims["general-ablation"])):
    here = mean_of([pruned[how, part].sel(number=5) for part in opposed])
    usual, shares = float(here.values[0] - here.values[1]), {}
    for name, tasks in new.items():
        runs = [
            interp.methods.ablation.ranked_ablation(
                model, task, best[how, kind], [5], metric="top1", **rule
            ).sel(number=5)
            for kind, task in tasks.items()
        ]
        shares[name] = measured(
            mean_of([r.sel(heads="ranked") - r.sel(heads="random") for r in runs]).examples / usual
        )
        print(
            f"{how}, {name}: memory, then context:",
            *(
                f"{r.metadata['clean']:.0%} and {r.values[0]:+.0%} (random {r.values[1]:+.0%}),"
                for r in runs
            ),
            f"share {shares[name]}",
        )
    v_general.append(claim.judge(shares, gate=able))

# %% [markdown]
# Look at the shares before anything is pruned. In the other template memory is never on top (0 of the
# prompts), and asked for languages the context never is. Where only one side ever wins there is no conflict
# to steer, so neither set can test the claim, and both rows are "not testable here".
#
# For what it is worth: without ablation's context heads memory rises from 0 to 100 % in the other template,
# and without its memory heads the context rises from 0 to 58 % when languages are asked for. Removing the
# heads that path patching found leaves memory at 0 in the other template, and asked for languages memory
# falls from 92 % to nothing.
#
# ## What else are these heads?
#
# Context-aware heads are a third kind: their output at the end moves most when the context is taken away.

# %%
apart = interp.head_scores(model, ["context divergence"], on=find[:8], query="QUESTION").sel(
    score="context divergence"
)
best["divergence", "context"] = apart.sel(layer=late).top(13, by="high").labels
for name, on in (
    ("induction", None),
    ("retrieval", interp.tasks.needle(model, n=6, length=64, forced=True)),
):
    best[name, "heads"] = (
        interp.head_scores(model, [name], on=on)
        .sel(score=name, layer=late)
        .top(13, by="high")
        .labels
    )
apart.plot(
    marks={
        "context heads (paths)": best["paths", "context"][:5],
        "memory heads (paths)": best["paths", "memory"][:5],
    }
)

# %%
for one in list(best)[:5]:
    shared = [
        f"{' '.join(two)} {len(set(best[one]) & set(best[two]))}" for two in best if two != one
    ]
    print(f"{' '.join(one):20} {' '.join(best[one][:5])}: of 13 shared with {', '.join(shared)}")

# %%
interp.methods.attention.attention_between(model, judge, "END", "TOLD").pick(
    best["paths", "context"][:5] + best["paths", "memory"][:5]
).plot(title="Attention from END to the told capital: five context, five memory heads")

# %% [markdown]
# The two methods' lists of 13 share one memory head and no context head, which is about what chance gives
# (13 · 13 / 252 = 0.7). The direct context heads are in part copying heads of the usual kinds (4 of 13 are
# induction heads, 4 retrieval heads); those that ablation finds are not (1 and 1). Heads with a high
# context divergence are a third kind. Among the direct writers L24H4, a *memory* head, looks most at the
# told capital: it pushes it down.
#
# Now double the five context-aware heads: does the answer follow the context more often?

# %%
five = best["divergence", "context"][:5]
doubled = interp.ablate(
    model,
    told,
    [five, *interp.methods.runs.random_heads(model, five, sets=3, layers=late)],
    by="scale",
    factor=2.0,
    metric="top1",
).examples
chance, gain = (
    measured(doubled[1:].mean(0), groups=who),
    measured(doubled[0] - doubled[1:].mean(0), groups=who),
)
v_aware = claims["aware"].judge(gain, control=chance, gate=able)
print(v_aware, f"random alone: {chance}", sep="\n")

# %% [markdown]
# No: it follows the context less often, by 9 points. Reacting to the context is not the same as speaking
# for it. (Only a factor of two was tried.)
#
# Do memory heads remember, or do they only push down what stands in the context? If they remember, capitals
# asked *without* a context suffer without them; if they push down copies, a needle is copied better.

# %%
plain = facts.heldout().having("country", known).with_metric("log_prob")
copied = interp.tasks.needle(model, n=8, length=64).heldout().with_metric("log_prob")
for how in found:
    print(
        f"{how}: capital without a context, needle:",
        *(
            measured(interp.ablate(model, task, best[how, "memory"][:5], by="zero"))
            for task in (plain, copied)
        ),
        "nats",
    )

# %% [markdown]
# Here the two lists differ most. Ablation's memory heads remember: without them a capital asked alone loses
# 2.4 nats. They suppress copies a little, too (the needle gains 0.2). The memory heads that path patching
# found do not remember: both gain without them. They are negative copying heads, which push down whatever
# capital others write.
#
# ## Cost on prose

# %%
text = interp.tasks.text(model, n=8, length=64).heldout()
sets = {f"{how}: {kind} heads": best[how, kind][:5] for how, kind in best if how in found}
sets["random"] = interp.methods.runs.random_heads(
    model, best["paths", "memory"][:5], sets=1, layers=late, avoid=rule["avoid"]
)[0]
loss = interp.ablate(
    model, text, list(sets.values()), by="zero", metric=interp.methods.runs.loss_metric(text)
)
more = {name: measured(rise) for name, rise in zip(sets, loss.examples)}
v_cost = claims["cost"].judge({part: more[f"paths: {part}"] for part in claims["cost"].parts})
print(*(f"{name}: {rise} nats a token" for name, rise in more.items()), sep="\n")

# %% [markdown]
# Five context heads cost next to nothing, five memory heads 0.06 nats, a little more than allowed. Those
# that ablation finds cost 0.05 and 0.10.
#
# ## Verdicts

# %%
verdicts(
    "07-knowledge-conflict-ph3",
    [*v_kinds, *v_steer, *v_general, v_cost, v_aware],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - "Which heads matter for the conflict?" has two answers, depending on how you ask. Path patching to the
#   logits finds heads that write a word; ablation finds heads that decide.
# - A head that writes the context's answer may write the memory's as well. Pruning it helps nobody.
# - Before you ask whether a method transfers, check that the other task shows the phenomenon at all.
#
# ## Try it
#
# - What stands on top when neither answer does? `interp.generate(model, judge.clean, max_new_tokens=3)`.
# - A mean in place of the zero: `by="mean"` in `rule`.
# - Triple the context heads instead of pruning the memory heads: `interp.ablate(model, told, best["paths",
#   "context"][:5], by="scale", factor=3.0, metric="top1")`.
# - Another model: set `MODEL` above.

# %% [markdown]
# ## What did not reproduce, and what we cannot say
#
# - **Pruning by the paper's ranking steers one way only.** Context +40 points, memory -27. Our path
#   patching changes the told capital and reads the logits, so it lists heads that write a word and heads
#   that push it down. What decides between memory and context lies earlier, and ablation finds it. The
#   claim survives with another way of finding.
# - **The transfer was not tested.** An earlier version of this notebook scored it as a failure, without
#   asking for a conflict in the new prompts. There is none in either.
# - **Heads by ablation were found on five prompts only**, because 270 ablations of every prompt take long.
#   More prompts would make the ranking steadier.
# - **Context-aware heads do not bring the context** when doubled. He et al. work with images, and other
#   factors were not tried.
# - **The gate is narrow.** 15 known countries with four wrong capitals each. Two other draws were looked at
#   before the run: seed 0, two each, 33 % and 13 % (fails), and all countries. The seed here is the one
#   that `heldout()` takes.
# - **Zero is far out of distribution**; the paper prunes so, and the random heads beside it say what it
#   costs by itself.
# - **Not tested:** open-domain question answering, eight models, currencies, a context that is right.
#   Weights were stored in four bits and unpacked.
#
# ## Further reading
#
# - Jin et al. 2024, arXiv 2402.18154; "Taming Knowledge Conflicts in Language Models", arXiv 2503.10996, on
#   heads that are not of one kind alone.
