# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Features as groups of neurons: what fires together?
#
# Paper: Shafran, Geiger and Geva 2025, "Decomposing MLP Activations into Interpretable Features via Semi-Nonnegative Matrix Factorization", arXiv 2506.10920
#
# **The question.** A single neuron of an MLP rarely stands for one thing. Perhaps a *group* of neurons that fire together does. The paper finds such groups by
# writing the activations X of all neurons as Y W: each row of W is a feature, a handful of neurons, and Y says how much of each feature a token has.
# Y is never negative, so features add up and never cancel. It reports that these features match human concepts, and steer a model better than those of sparse
# autoencoders (SAEs), and better than the difference of means, which is told the concepts.
#
# **How we look.** Sentences about twenty concepts that we wrote ourselves: weekdays, metals, drinks and so on. We factorise the neurons of four layers of SmolLM2 on
# one half of the words and ask on the other half whether some feature tells each concept, and what happens when it is added.
#
# **What we found.** Some features match concepts and most do not, and whether they steer better than others this notebook
# cannot say in three layers of four. The best feature for a concept tells its held-out sentences with a mean AUROC of 0.78
# to 0.83 (0.5 is guessing, 1 perfect), where random groups of neurons reach 0.69 to 0.74, a small SAE 0.84 to 0.93, and the
# difference of means 0.89 to 0.98. The reason for the silence on steering is worth knowing: after half of the fitting the
# factorisation explains as much of the activations, but *which* features it consists of is still moving, and with them every
# number that depends on picking one.
#
# 8 minutes · intermediate · you should know what the neurons of an MLP are

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np

import interp
from interp import features, texts
from interp.replications import shared_neurons, within_and_across
from interp.studies import converged, gate, load_claims, measured, ratio_of_means, verdicts

LAYERS = [4, 10, 16, 22]
PARTS = {f"layer {n}": f"mlp.{n}.post" for n in LAYERS}
N, RANK, PROMPTS = (12, 50, 1) if FAST else (30, 100, 4)
STEPS, TOKENS = (20, 6_000) if FAST else (200, 300_000)
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
COLOURS = [BLUE, ORANGE, GREEN, GREY]  # SNMF, SAE, difference of means, random

# %% [markdown]
# ## Sentences, and the neurons on them
#
# Each sentence is a frame with a word of a concept put in. Six words in ten and six frames in ten are used to find features and to choose among them. The
# others are held out. Position 0, the attention sink, is left out.
#
# | | the authors | here |
# | --- | --- | --- |
# | models | Llama 3.1 8B, Gemma 2 2B, GPT-2 small | SmolLM2-135M, layers 4, 10, 16 and 22 |
# | sentences | 20 concepts | 20 concepts, 594 sentences to find and 297 to judge |
# | features | 50 to 400 a layer, 1 % of the neurons each | 100 a layer, 1 % of the neurons each |
# | fitting | up to 2,000 steps, starts from singular vectors, clusters or random numbers | up to 200 steps, in which X is fitted again before entries are dropped; starts from singular vectors |
# | judge | a language model reads features and steered texts | held-out sentences, and logits of held-out words |
#
# (The fitting is from the authors' script `run_snmf_steering.sh` and their `seminmf.py`; the rest of the left column is from the abstract and from memory.)

# %%
model = interp.load(MODEL)
find, heldout = texts.concepts("find", n=N), texts.concepts("heldout", n=N // 2)
labels, judged_labels = [s.concept for s in find], [s.concept for s in heldout]
here, there = (
    features.prompt_activations(model, list(PARTS.values()), [s.text for s in some])
    for some in (find, heldout)
)
print(f"{len(find)} sentences ({len(here.prompt):,} tokens) to find, {len(heldout)} to judge:")
print(find[0], heldout[0], sep="\n")


# %%
def factorised(site, steps):
    """The factorisation of a site's neurons."""
    return features.factorise(
        model, site, here.activations, rank=RANK, steps=steps, start="svd", name="SNMF"
    )


made, early = {}, {}
for part, site in PARTS.items():
    sae = features.load_or_train(
        model, site, here.activations, kind="topk", width=RANK, k=10, tokens=TOKENS, name="SAE"
    )
    means = features.mean_differences(here, labels, site)
    random = features.random_sparse(here.activations, RANK, site=site)
    made[part] = [factorised(site, STEPS), sae, means, random]
    early[part] = factorised(site, STEPS // 2)
    curves = [d.metadata["curve"] for d in (made[part][0], early[part], sae)]
    print(
        part,
        f"explained {curves[0][-1]['explained']:.2f} after {len(curves[0])} steps,",
        f"{curves[1][-1]['explained']:.2f} after {len(curves[1])},",
        f"SAE {curves[2][-1]['explained']:.2f}",
    )

# %% [markdown]
# ## What are these features?
#
# For each concept we take the feature that tells its sentences best on the `find` half. The table shows the tokens on which that
# feature is largest, and the tokens that its neurons write, read through the MLP's output matrix and the unembedding.
#
# *Before you look: there are 100 features for 20 concepts and all the words around them. Will a feature be about weekdays, or about "the"?*

# %%
found = {
    part: features.concept_detection(made[part], here, labels, there, judged_labels)
    for part in PARTS
}
SHOWN = "layer 10"
features.latent_tokens(model, made[SHOWN][0], here, found[SHOWN].metadata["latents"]["SNMF"])

# %% [markdown]
# Some are what one hopes for: body parts, numbers, family, languages, months. One feature serves countries and cities, one
# serves fruit and drinks, one animals and birds: these concepts share their best feature. And some are about nothing that
# we could name ("train, mine, School, Egypt, Her"). What the neurons write (right) is unreadable throughout, even where the
# tokens on the left are clear.
#
# ## Do they match concepts?

# %% tags=["cover"]
auroc = {part: found[part].values for part in PARTS}  # [dictionary concept]
names, every = found[SHOWN].coords["dictionary"], found[SHOWN].coords["concept"]
interp.plots.lines(
    np.stack([auroc[part].mean(1) for part in PARTS], 1),
    LAYERS,
    placed=True,
    names=["SNMF", "SAE", "difference of means", "random groups of neurons"],
    colours=COLOURS,
    x_name="layer",
    unit="AUROC, mean of 20 concepts",
    title="Concepts told by the best feature, held-out sentences",
).set_ylim(0.5, 1)
# %% [markdown]
# SNMF (blue) is above random groups of neurons (grey) and below the SAE (orange) in every layer. The difference of means
# (green) is told the concepts, and is best in three layers of four. All are read at layers 4, 10, 16 and 22.
#
# ## The claims

# %%
claims = load_claims("23-snmf-mlp-features")
claims

# %%
judged = {}


def judge(key, end, half, within, gates=None):
    """Judges a claim part by part; a part whose number had not settled is not testable."""
    parts = {}
    for name, by_concept in end.items():
        settled = converged(
            np.mean(by_concept), np.mean(half[name]), within=within, name=f"{key}, {name}"
        )
        tested = [settled, *([gates[name]] if gates else [])]
        got = measured(by_concept)
        parts[name] = claims[key].part(name).judge(got, gate=tested)
        print(f"{name}: {parts[name].word}: {got}", *tested, sep="\n    ")
    judged[key] = claims[key].judge(parts)
    print(judged[key])


found_early = {
    part: features.concept_detection(early[part], here, labels, there, judged_labels)
    for part in PARTS
}
auroc_early = {part: found_early[part].values for part in PARTS}
able = {
    part: gate("AUROC of difference of means", measured(auroc[part][2]), at_least=0.75)
    for part in PARTS
}
judge("concepts", {p: auroc[p][0] for p in PARTS}, auroc_early, within=0.03, gates=able)


# %%
def over_others(snmf):
    """AUROC of SNMF minus that of the others, mean over layers, by concept."""
    lead = {i: np.mean([snmf[p] - auroc[p][i] for p in PARTS], 0) for i in (3, 1)}
    return dict(zip(claims["better-than"].parts, lead.values()))


judge("better-than", over_others({p: auroc[p][0] for p in PARTS}), over_others(auroc_early), 0.03)

# %% [markdown]
# The factorisation explains as much after 100 steps as after 200 (0.18, 0.61, 0.31 and 0.39 of the squared activations; the
# SAE 0.52 to 0.81). By that measure it has converged. But the mean AUROC of the best features moved by 0.03 to 0.09. A likely
# reason: several features are nearly as good for a concept, small changes decide which one is best on the `find` half,
# and on the other half they differ. Only layer 16 had settled by our rule, just so (0.0296, and 0.03 is allowed), and
# there the claim holds in part (0.80). The comparison with random groups and with the SAE missed the rule as narrowly (0.0306).
#
# ## Do they steer?
#
# The same features are added to the neurons at every position of neutral prompts, each so strongly that the prediction of the next
# token moves equally far: by 0.5 nats of KL divergence from the prediction without it. How much more logit do the concept's
# held-out words gain than words of no concept?

# %%
prompts = [
    "I think it is about",
    "Then we talked about the",
    "The next word is",
    "She told me that the",
    "It was all because of",
    "My favourite is the",
][:PROMPTS]
steered_concepts = list(dict.fromkeys(["months", *every[:3]])) if FAST else every
words = {
    c: [f" {w}" for w in texts.single_words(model, texts.concept_words(c, "heldout"))]
    for c in steered_concepts
}
neutral = [f" {w}" for w in texts.single_words(model, texts.NEUTRAL)]


def gains(part, dictionaries, latents):
    """The gain of each concept's words [dictionary concept], and the strengths that it took."""
    length = float(here.activations.of(PARTS[part]).norm(dim=-1).mean())
    return features.latent_gain(model, prompts, dictionaries, latents, words, neutral, scale=length)


steered = {p: gains(p, made[p], found[p].metadata["latents"]) for p in PARTS}
steered_early = {
    p: gains(p, [early[p]], found_early[p].metadata["latents"]).values[0] for p in PARTS
}
gain = {p: steered[p].values for p in PARTS}
unreached = {p: steered[p].metadata["unreached"] for p in PARTS}
print(f"of {len(names) * len(words)} a layer, never moved the prediction by as much: {unreached}")

# %%
interp.plots.lines(
    np.stack([gain[part].mean(1) for part in PARTS], 1),
    LAYERS,
    placed=True,
    names=["SNMF", "SAE", "difference of means", "random groups of neurons"],
    colours=COLOURS,
    x_name="layer",
    unit="logits over neutral words",
    title="Gain of a concept's held-out words at 0.5 nats of KL",
)
# %%
works = {p: gate("gain by difference of means", measured(gain[p][2]), at_least=0.1) for p in PARTS}
for key, i in (("steering-sae", 1), ("steering-means", 2)):
    lead = {p: gain[p][0] - gain[p][i] for p in PARTS}
    lead_early = {p: steered_early[p] - gain[p][i] for p in PARTS}
    judge(key, lead, lead_early, within=0.1, gates=works)

# %% [markdown]
# At most layers nothing steers much: at a push of 0.5 nats, the words of the concept gain less than half a logit over neutral
# words, by SNMF, by SAE or by difference of means, and random groups of neurons do about as well in layers 10 and 16. Layer 22
# is the exception: there the difference of means gains 1.9 logits, and SNMF 0.3. The two comparisons can be judged in layer
# 10 alone, where SNMF is ahead of neither with any certainty (0.20 of the SAE and 0.06 of the difference of means, intervals around
# zero). In layers 4 and 22 the chosen features were still moving, and in layer 16 the difference of means did not steer either.
#
# ## Are neurons shared within a concept?
#
# A feature belongs to a concept if it tells the concept's sentences with an AUROC of 0.75 or more. Do two features of one concept have more of their
# fifteen neurons in common than two features of different ones?


# %%
def shared(dictionaries, draws=0):
    """Neurons in common within and across concepts, or the same with concepts mixed, by concept."""
    rng, rows, groups = np.random.default_rng(0), [], []
    for snmf in dictionaries:
        own = features.concept_of(snmf, here, labels)
        for _ in range(draws or 1):
            mixed = rng.permutation(np.array(own, dtype=object)).tolist() if draws else own
            pairs = within_and_across(shared_neurons(snmf), mixed)
            rows.append(pairs.examples)
            groups += pairs.metadata["groups"]
    return ratio_of_means(*np.concatenate(rows, 1), groups=groups), np.concatenate(rows, 1).mean(1)


last = [made[p][0] for p in PARTS]
ratio, (within, across) = shared(last)
before, _ = shared([early[p] for p in PARTS])
mixed, _ = shared(last, draws=10)
settled = converged(
    ratio.value, before.value, within=0.1, relative=True, name="ratio of shared neurons"
)
judged["shared-neurons"] = claims["shared-neurons"].judge(ratio, control=mixed, gate=settled)
judged["hierarchy"] = claims["hierarchy"].judge(None)
print(f"within a concept {within:.3f}, across {across:.3f}: ratio {ratio}; mixed {mixed}")
print(judged["shared-neurons"], settled, judged["hierarchy"], sep="\n")

# %% [markdown]
# Two features of one concept share 15 % of their neurons, two of different concepts 14 %: no difference to speak of (ratio 1.09,
# interval around 1). The paper's hierarchy, found by factorising the features again, is another question, and a hundred features
# for twenty concepts are too few to ask it.
#
# ## Verdicts

# %%
verdicts("23-snmf-mlp-features", judged.values(), model=model, fast=FAST)

# %% [markdown]
# ## What to remember
#
# - A reconstruction that no longer improves is not yet a stable set of features. Fit twice, or look at half of the steps, before you read one.
# - "Matches concepts" needs the score of random directions beside it. With a hundred to choose from, the best of them tell a concept at 0.7.
# - A method that is told the answer (the difference of means) is a ceiling to compare with, and a cheap one.
#
# ## Try it
#
# Other ranks (`rank=200`), all entries kept (`sparsity=None`), or the stream instead of neurons (`"resid_post.10"`). And here is
# the feature for months at work, with the push of the test above. Do you see a month?

# %%
best = found[SHOWN].metadata["latents"]["SNMF"]["months"]
length = float(here.activations.of(PARTS[SHOWN]).norm(dim=-1).mean())
strength = steered[SHOWN].metadata["strengths"]["SNMF: months"] * length
interp.generate(
    model, "The next word is", features.steer(made[SHOWN][0], {best: strength}), max_new_tokens=10
)

# %% [markdown]
# ## What did not reproduce
#
# - **Features that match concepts:** partly, in the one layer that had settled.
# - **Steering better than SAEs and than differences of means:** not shown for either in layer 10, the one layer where it can be
#   judged. In layer 22 the difference of means is far ahead (by 1.6 logits), but the features there were still moving. The text
#   above, steered by the feature for months, names no month.
# - **The hierarchy** is not tested.
# - **Our fit is another one:** multiplicative updates from singular vectors, up to 200 steps, one start. It leaves most of the
#   activations unexplained in three layers of four.
# - **Our judge is another one:** logits of held-out words at a fixed KL, in four prompts, in place of a language model that reads texts.
# - **Chosen after a first look.** An earlier version made 100 updates from random loadings and said "does not hold" of steering,
#   without a look at half of the training; the longer fit from singular vectors, and the gates, came after that.
# - FAST uses half the features, a third of the sentences, and steers with four concepts.
#
# Further reading: Geva et al. 2021, "Transformer Feed-Forward Layers Are Key-Value Memories", for what single neurons do; Ding, Li and Jordan 2010,
# "Convex and Semi-Nonnegative Matrix Factorizations", for the method.
