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
# **The question.** A single neuron of an MLP rarely stands for one thing. Perhaps a *group* of neurons that fire together does. The paper finds such groups
# by writing the activations X of all neurons as Y W: each row of W is a feature, a handful of neurons, and Y says how much of each feature a token
# has. Y is never negative, so features add up and never cancel. The method is called semi-nonnegative matrix factorisation (SNMF).
#
# **How we look.** We wrote sentences about twenty concepts: weekdays, metals, drinks and so on. The neurons of four layers of SmolLM2 are factorised on
# one half of the words. On the other half we ask whether some feature tells each concept, and what happens when that feature is added to the
# neurons. Sparse autoencoders (SAEs), differences of means and random groups of neurons are asked the same.
#
# **What we found.** The features are recognisable: one is for numbers, one for months, one for nationalities and their languages. They tell a
# held-out concept with an AUROC of 0.84, where chance is 0.5, an SAE of the same size reaches 0.89 and the difference of means 0.94. But our
# factorisation made only 100 updates, explains 0.18 of the variance at layer 4, and nobody looked whether it had converged. So nothing here speaks for or against the
# paper: all three claims are *not testable* until that is known.
#
# 6 minutes · intermediate · you should know what the neurons of an MLP are

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | models | Llama 3.1, Gemma 2, GPT-2 | SmolLM2-135M, layers 4, 10, 16 and 22 |
# | sentences | 20 concepts | 20 concepts, 594 sentences to find features and 297 to judge them |
# | features | 50 a layer for GPT-2 small, each with 1 % of the neurons | 100 a layer, each with 1 % of the neurons |
# | fitting | up to 2,000 updates; starts from singular vectors, clusters or random loadings | 100 updates from random loadings |
# | judge | a language model describes features and rates steered texts | held-out sentences, and the logits of held-out words |
#
# (The left column is from the abstract and from the authors' repository, `run_snmf_steering.sh` and `seminmf.py`.)
#
# *Before you go on: there are a hundred features for twenty concepts and for all the words around them. Do you expect a feature for weekdays, or one
# for the word "on"?*

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np

import interp
from interp import features, texts
from interp.studies import gate, load_claims, measured, ratio_of_means, verdicts

LAYERS, N, RANK, PROMPTS = ([16], 12, 50, 2) if FAST else ([4, 10, 16, 22], 30, 100, 6)
STEPS, TOKENS = (30, 40_000) if FAST else (100, 300_000)

# %%
claims = load_claims("23-snmf-mlp-features")
claims

# %% [markdown]
# ## Sentences, and the neurons' activations on them
#
# Each sentence is a frame with a word of the concept put in. Six words in ten and six frames in ten are used to find features and to choose among
# them; the others judge. Position 0, the attention sink, is left out.

# %%
model = interp.load(MODEL)
find, heldout = texts.concepts("find", n=N), texts.concepts("heldout", n=N // 2)
labels, judged = [s.concept for s in find], [s.concept for s in heldout]
sites = [f"mlp.{layer}.post" for layer in LAYERS]
here, there = (
    features.prompt_activations(model, sites, [s.text for s in some]) for some in (find, heldout)
)
print(
    f"{len(find)} sentences ({len(here.prompt):,} tokens) to find, {len(heldout)} "
    f"({len(there.prompt):,}) to judge:",
    find[0],
    heldout[0],
    sep="\n",
)

# %% [markdown]
# ## Four dictionaries of the same neurons
#
# They are the factorisation; a top-k SAE with as many latents, ten of them on; the difference of means, which is told the concepts; and random
# groups of as few neurons as the factorisation's.

# %%
made = {}
for site in sites:
    snmf = features.factorise(model, site, here.activations, rank=RANK, steps=STEPS, name="SNMF")
    sae = features.load_or_train(
        model, site, here.activations, kind="topk", width=RANK, k=10, tokens=TOKENS, name="SAE"
    )
    means = features.mean_differences(here, labels, site)
    random = features.random_sparse(here.activations, RANK, site=site)
    made[site] = [snmf, sae, means, random]
    on = snmf.encode(there.activations.of(site)) > 0
    print(
        f"{site}: explained on find, SNMF {snmf.metadata['curve'][-1]['explained']:.2f}, SAE "
        f"{sae.metadata['curve'][-1]['explained']:.2f}; SNMF loadings above 0: "
        f"{on.float().sum(1).mean():.0f} of {RANK}"
    )

# %% [markdown]
# ## Do features match concepts?
#
# For each concept, the feature that tells its sentences best is chosen on one half of the sentences and judged on the other. A sentence's score is the largest
# loading among its tokens. If the labels are mixed, choosing among so many features gives 0.5 again, as it should.

# %% tags=["cover"]
found = {
    site: features.concept_detection(made[site], here, labels, there, judged) for site in sites
}
auroc = np.stack([found[site].values for site in sites])  # [layer dictionary concept]
names, every = found[sites[0]].coords["dictionary"], found[sites[0]].coords["concept"]
interp.plots.heatmap(
    auroc.mean(0) - 0.5,
    names,
    every,
    row_name="dictionary",
    col_name="concept",
    unit="AUROC less 0.5 (chance)",
    limit=0.5,
    title="Concepts told by the best feature, held-out sentences, mean over layers",
)
# %% [markdown]
# In the picture above, dark cells are concepts that some feature tells almost perfectly: weekdays, months and numbers, for every kind of dictionary that learned
# something. Jobs, metals and weather are hard for the factorisation and easier for the others.
#
# What are these features? The table shows the tokens on which each chosen feature of layer 16 is largest, and the tokens that its neurons write, read through the
# MLP's output matrix and the unembedding.

# %%
middle = sites[len(sites) // 2]
features.latent_tokens(model, made[middle][0], here, found[middle].metadata["latents"]["SNMF"])

# %%
mixed = [
    features.concept_detection(made[site][0], here, labels, there, judged, shuffle=0).values
    for site in sites
]
by = {
    name: measured(auroc[:, i].ravel(), groups=every * len(sites)) for i, name in enumerate(names)
}
able = gate(
    "AUROC of difference of means (is the concept in the neurons at all?)",
    by["difference of means"],
    at_least=0.75,
)
v_concepts = claims["concepts"].judge(by["SNMF"], control=by[names[3]], gate=able)
print(
    v_concepts,
    *(
        f"{name}: {one}; by layer {auroc[:, i].mean(1).round(2)}"
        for i, (name, one) in enumerate(by.items())
    ),
    sep="\n",
)
print("SNMF with labels mixed:", measured(np.ravel(mixed), groups=every * len(sites)))

# %% [markdown]
# Some rows are as clear as one could wish: *three, four, two, seven, six* or *Portuguese, Spanish, French, Arabic, Russian*. Others are honest accidents. One
# feature serves drinks, clothes and furniture at once, and the one for animals reads *lake, field, grass*, which are words of the frames. What the neurons
# write is seldom what the feature reads.
#
# The best features reach an AUROC of 0.84 on average (0.82, 0.89, 0.84 and 0.80 by layer), clearly more than the best of as many random groups of neurons (0.71), so the loadings do
# carry concepts. An SAE of the same size reaches 0.89. But four fifths of all loadings are still above zero, so these are hardly the
# features that the method would end with.
#
# ## Steering at equal strength
#
# The same features are added to the neurons at every position of neutral prompts, so strongly that the next-token prediction moves by
# 0.5 nats. How much more do the concept's held-out words gain than words of no concept?

# %%
prompts = [
    "I think it is about",
    "Then we talked about the",
    "The next word is",
    "She told me that the",
    "It was all because of",
    "My favourite is the",
][:PROMPTS]
words = {
    c: [f" {w}" for w in texts.single_words(model, texts.concept_words(c, "heldout"))]
    for c in every
}
neutral = [f" {w}" for w in texts.single_words(model, texts.NEUTRAL)]
length = {site: float(here.activations.of(site).norm(dim=-1).mean()) for site in sites}
gains = {
    site: features.latent_gain(
        model,
        prompts,
        made[site],
        found[site].metadata["latents"],
        words,
        neutral,
        scale=length[site],
    )
    for site in sites
}
gain = np.stack([gains[site].values for site in sites])
print(
    "latents that never moved the prediction by as much:",
    {site: g.metadata["unreached"] for site, g in gains.items()},
)

# %%
gained = {
    name: measured(gain[:, i].ravel(), groups=every * len(sites)) for i, name in enumerate(names)
}
interp.plots.lines(
    gain.mean(2).T,
    LAYERS,
    x_name="layer",
    names=names,
    unit="nats over neutral words",
    title="Gain of a concept's held-out words at 0.5 nats of KL",
)
# %%
less = {
    part: measured((gain[:, 0] - gain[:, i]).ravel(), groups=every * len(sites))
    for part, i in (("over the SAE", 1), ("over difference of means", 2))
}
works = gate("gain by difference of means", gained["difference of means"], at_least=0.1)
neither = [gate(f"SNMF's gain {part}", one, at_least=0.0) for part, one in less.items()]
v_steering = claims["steering"].judge(less, gate=works, provided=neither)
print(v_steering, works, *(f"{name}: {one}" for name, one in (gained | less).items()), sep="\n")

# %% [markdown]
# On average over the four layers, a concept's words gain 0.33 logits over neutral words with the factorisation's features, 0.08 with the SAE's, 0.09 with random
# groups and 0.59 with the difference of means. The layers disagree: in layers 4 and 10 the factorisation has the largest gain of all four, in layer 22 the
# difference of means gains about 1.9 and the factorisation 0.3, and in layer 16 nothing steers.
#
# ## Do features of one concept share neurons?
#
# The features of one layer are factorised again, into half as many, and those into half as many again. In the map, features of one branch stand side by side,
# and the colour is the share of top neurons (1 % of a feature's) that two features have in common. If there were a hierarchy, blocks would stand along the diagonal.

# %%
own = {site: features.concept_of(made[site][0], here, labels) for site in sites}
tree = interp.replications.feature_hierarchy(
    made[middle][0], (RANK // 2, RANK // 4), names=[o or "-" for o in own[middle]]
)
tree.plot(title=f"Features of {middle} in the order of their branches")
# %%
pairs = [
    interp.replications.within_and_across(
        interp.replications.shared_neurons(made[site][0]), own[site]
    )
    for site in sites
]
drawn = np.random.default_rng(0)
draw = [
    (site, drawn.permutation(np.array(own[site], dtype=object)).tolist())
    for site in sites
    for _ in range(10)
]
mixed = [
    interp.replications.within_and_across(interp.replications.shared_neurons(made[site][0]), mix)
    for site, mix in draw
]
both, chance = (np.concatenate([p.examples for p in some], 1) for some in (pairs, mixed))
ratio, control = (
    ratio_of_means(b[0], b[1], groups=[g for p in some for g in p.metadata["groups"]])
    for b, some in ((both, pairs), (chance, mixed))
)
v_hierarchy = claims["hierarchy"].judge(ratio, control=control)
print(
    v_hierarchy,
    f"within {both[0].mean():.3f}, across {both[1].mean():.3f}; concepts mixed: ratio {control}",
    sep="\n",
)
print("features with a concept:", {site: sum(o is not None for o in own[site]) for site in sites})

# %% [markdown]
# There are no blocks. Two features of the same concept share 16 % of their fifteen largest neurons and two of different concepts 13 %, a ratio of 1.26 (1.03 with the concepts
# mixed). That is a small effect of one level of features. It is not the paper's hierarchy, whose families (one feature for each weekday, say) need more than
# a hundred features for twenty concepts.
#
# ## Verdicts

# %%
verdicts("23-snmf-mlp-features", [v_concepts, v_steering, v_hierarchy], model=model, fast=FAST)

# %% [markdown]
# ## What to remember
#
# - A group of fifteen neurons can stand for a concept where none of the neurons does.
# - A factorisation is trained, too. Ask whether its features still change before you compare them with anything.
# - Choosing the best of a hundred features finds something even among random ones (0.71 here), so choose on one half and judge on the other, beside random features.
#
# ## Try it
#
# Start from singular vectors and go on for longer, `features.factorise(model, sites[1], here.activations, rank=RANK, steps=1000, start="svd")`, and see how much
# of the variance is explained (0.61 at layer 10 above). Or factorise the stream in place of neurons (`"resid_post.10"`). Here is a feature at work:

# %%
best = found[middle].metadata["latents"]["SNMF"]["months"]
strength = gains[middle].metadata["strengths"]["SNMF: months"] * length[middle]
interp.generate(
    model, "The next word is", features.steer(made[middle][0], {best: strength}), max_new_tokens=10
)

# %% [markdown]
# ## What did not reproduce
#
# - **None of the three claims is tested.** Our factorisation makes 100 updates from random loadings, and the same numbers after 50 were not measured. It explains 0.18 to 0.61 of the
#   variance where an SAE of the same size explains 0.52 to 0.81.
# - **The hierarchy is only drawn.** The number beside it looks at one level of features.
# - **Our procedure differs from the paper's.** Kept entries are fitted again, entries are dropped step by step, and the start was chosen among five variants by the AUROC on the finding half at
#   layer 10, after another start had been seen to give 0.80 on its held-out half.
# - **There is no judge of texts here.** Gains are of logits, on six prompts, at one strength, for the feature that detects best.
# - FAST is one layer (16), half the features and a third of the sentences.
#
# Further reading: Geva et al. 2021, "Transformer Feed-Forward Layers Are Key-Value Memories", for what single neurons do; Ding, Li and Jordan 2010, "Convex and
# Semi-Nonnegative Matrix Factorizations", for the method.
