# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Features as groups of neurons: semi-nonnegative factorisation of MLP activations
#
# Paper: Shafran, Geiger and Geva 2025, "Decomposing MLP Activations into Interpretable Features via Semi-Nonnegative Matrix Factorization", arXiv 2506.10920
#
# Found: features of a few neurons each tell concepts in part (AUROC 0.84; an SAE of the same size 0.89, difference of means 0.94), do not steer better than difference of means, and share hardly more neurons within a concept than across
#
# On 594 short sentences about 20 concepts, in four layers, the factorisation finds weekdays, months and numbers and misses jobs, animals and metals. At equal
# strength its features raise a concept's words by 0.33 nats, the SAE's by 0.08, difference of means by 0.59; the lead over the SAE
# has an interval that includes zero. Two features of one concept share 1.26 times as many neurons as two of different ones; the claim asks for 3.

# %% [markdown]
# ## What the paper says, and what would count here
#
# The activations of an MLP's neurons X are written as loadings times features, X = Y W: loadings Y are never negative and say how
# much of each feature a token has; a feature, a row of W, is a group of few neurons that fire together. The paper says that such
# features match concepts, steer a model better than those of sparse autoencoders (SAEs) and than differences of means, and that factorising
# again shows a hierarchy.
#
# The thresholds were fixed before measuring. The paper lets a language model judge features and steered texts; there is none
# here. So detection is by sentences whose concept is known (written by us), and steering by the logits of the concept's words, none of which
# was among the sentences that features were chosen on. Those are 594 sentences about 20 concepts, few for any method.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np

import interp
from interp import features, texts
from interp.studies import Claim, gate, measured, ratio_of_means, verdicts

PAPER = dict(source="Shafran, Geiger and Geva 2025, abstract", paper="no number")
LAYERS, N, RANK, PROMPTS = ([16], 12, 50, 2) if FAST else ([4, 10, 16, 22], 30, 100, 6)
STEPS, TOKENS = (30, 40_000) if FAST else (100, 300_000)

# %%
concepts = Claim(
    "concepts",
    says="SNMF features match human concepts",
    metric="AUROC of the best feature for a concept on held-out sentences, mean",
    holds=0.9,
    partly=0.75,
    null=0.5,
    control="the best of as many random sparse directions",
    **PAPER,
    varies="trained",
)
steering = Claim(
    "steering",
    says="SNMF features beat SAEs and difference of means on causal steering",
    metric=(
        "gain of the concept's held-out words at KL = 0.5 nats: SNMF's less the other's; one "
        "interval above 0, neither difference below"
    ),
    holds=0.0,
    null=0.0,
    control="none",
    parts=("over the SAE", "over difference of means"),
    needs=(1, 1),
    **PAPER,
    varies="trained",
)
hierarchy = Claim(
    "hierarchy",
    says="Recursive SNMF shows groups of neurons reused across related features",
    metric=(
        "share of top neurons two features of one concept have in common, over that of two "
        "concepts'"
    ),
    holds=3.0,
    partly=1.5,
    null=1.0,
    control="the same with the features' concepts mixed",
    **PAPER,
    varies="trained",
)

# %% [markdown]
# ## Sentences, and the neurons' activations on them
#
# Six words in ten and six frames in ten of each concept are used to find features and choose among them, the others to judge.
# Position 0, the attention sink, is left out.

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
# The factorisation; a top-k SAE of as many latents, ten of them on, trained on the same tokens again and again; the difference of means, which
# knows the concepts; and random directions of as few neurons as the factorisation's.

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
# For each concept the feature that tells its sentences best is chosen on `find` and judged on the held-out ones. A sentence's score is the
# largest loading of its tokens. With labels mixed, choosing among so many features gives 0.5 again, as it should.

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
# What are these features? The tokens that each loads on most in the `find` sentences, and those that its neurons write, read through the MLP's output
# matrix and the unembedding alone.

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
v_concepts = concepts.judge(by["SNMF"], control=by[names[3]], gate=able)
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
# In part. SNMF's best features reach 0.84, clearly more than random directions of as few neurons among which one may choose as freely (0.71), so the
# loadings do carry concepts, but less than the claim asks for, and less than a top-k SAE of 100 latents on the same tokens (0.89). Layer 10 is its best (0.89). The
# table, of layer 16, shows some of why: one feature for countries and cities, one for drinks, clothes and furniture; that for animals reads lake, field, grass, words of the frames. With
# 100 features for 4,117 tokens, and four fifths of all loadings above zero, there is no room for one concept each. What the neurons write is seldom what
# the feature reads.
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
v_steering = steering.judge(less, gate=works, provided=neither)
print(v_steering, works, *(f"{name}: {one}" for name, one in (gained | less).items()), sep="\n")

# %% [markdown]
# SNMF's features do steer: the words they were named for, never seen in `find`, gain 0.33 nats, the SAE's 0.08, random ones 0.09. But the
# interval of the lead over the SAE includes zero, and difference of means is ahead (0.59). That is the work of one layer: in layers 4 and 10
# SNMF has the largest gain of the four, in layer 22 difference of means gains about 1.9 nats and SNMF 0.3. In layer 16 no method gains anything. The
# verdict was to be on the mean over layers, and stands.
#
# ## A hierarchy
#
# The features of one layer are factorised again, into half as many, and those into half as many again. Features of one branch stand side by
# side; the colour is the share of top neurons (1 % of a feature's) that two have in common.

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
v_hierarchy = hierarchy.judge(ratio, control=control)
print(
    v_hierarchy,
    f"within {both[0].mean():.3f}, across {both[1].mean():.3f}; concepts mixed: ratio {control}",
    sep="\n",
)
print("features with a concept:", {site: sum(o is not None for o in own[site]) for site in sites})

# %% [markdown]
# Two features of the same concept share 16 % of their fifteen top neurons, two of different concepts 13 %: a ratio of 1.26, more than with concepts
# mixed, but far from 3. A concept has about three
# features. The picture shows no blocks: branches share little more than others.
#
# ## Verdicts

# %%
verdicts("23-snmf-mlp-features", [v_concepts, v_steering, v_hierarchy], model=model, fast=FAST)

# %% [markdown]
# ## Try it
#
# Other ranks (`rank=200`), all entries kept (`sparsity=None`), or the stream instead of neurons (`"resid_post.10"`). And a feature at work:

# %%
best = found[middle].metadata["latents"]["SNMF"]["months"]
strength = gains[middle].metadata["strengths"]["SNMF: months"] * length[middle]
interp.generate(
    model, "The next word is", features.steer(made[middle][0], {best: strength}), max_new_tokens=10
)

# %% [markdown]
# ## What did not reproduce
#
# - **Concepts:** 0.84 where 0.9 was asked for, below the SAE. The paper has larger models, more tokens a concept and a language model's judgement; our
#   AUROC asks that one feature tell one concept from nineteen others in new frames.
# - **Steering:** not better than difference of means over four layers, and the lead over the SAE is not certain with 20 concepts. There is no judge of
#   texts here: gains are of logits, on six prompts, at one strength. How a feature is chosen matters: ours are those that detect best.
# - **Hierarchy:** hardly any. Features for single words, such as one for each weekday, would need more features than 100 for 20 concepts.
# - **Ours and the paper's procedure differ:** kept entries are fitted again, entries are dropped step by step, and loadings begin sparse, which was chosen
#   among five variants by the AUROC on `find` at layer 10, after a first one (beginning with clusters of tokens) had been seen to give 0.80 on its
#   held-out sentences. Thresholds and layers were not touched. 100 steps are few.
# - **Explained variance** is lower than the SAE's in every layer (0.18 to 0.61 against 0.52 to 0.81), as features of 15 neurons of 1,536 must be.
# - FAST is one layer (16), half the features and a third of the sentences; its verdicts are recorded apart.
