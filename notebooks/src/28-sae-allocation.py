# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Allocation: should every token get the same number of latents?
#
# Paper: Ayonrinde 2024, "Adaptive Sparse Allocation with Mutual Choice & Feature Choice Sparse Autoencoders", arXiv 2411.02124
#
# **The question.** A top-k sparse autoencoder (SAE) writes every token with k latents, the word "the" as well as a rare name. That is one way to spend a
# budget of matches between tokens and latents. The paper proposes two others. With *mutual choice*, the tokens of a batch compete: the largest
# matches of the whole batch are kept, whosever they are. With *feature choice*, each latent gets an equal share of the tokens. Do they describe
# activations better at the same total cost, and do fewer latents die?
#
# **How we look.** We train all three on the same activations of SmolLM2 with the same budget, three seeds each, and compare them on text that none
# has seen.
#
# **What we found.** Mutual choice reconstructs better than top-k: it leaves 9 % less of the variance unexplained, with every
# seed and already after half of the training, though with 4 to 5 % more latents on for new text than top-k's 32. Whether fewer latents die
# could not be settled. Feature choice has no dead latent at all; mutual choice has more than top-k at the end of our training
# and had fewer halfway, so the answer depends on how long one trains. Both new ways give more latents to rare tokens (rank
# correlation 0.87 and 0.81), and not to tokens after which it is hard to continue (-0.14 and -0.11).
#
# 12 minutes · intermediate · you should know what a top-k sparse autoencoder is

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from functools import partial

import numpy as np

import interp
from interp import features
from interp.studies import converged, gate, load_claims, measured, verdicts

SITE = "resid_post.9"
K, BATCH, TOKENS, WIDTH = (16, 512, 8_000, 512) if FAST else (32, 128, 200_000, 1152)
SEEDS = range(2 if FAST else 3)
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # top-k, mutual choice, feature choice
KINDS = {
    "top-k": dict(kind="topk"),
    "mutual choice": dict(kind="mutualchoice", aux="k"),
    "feature choice": dict(kind="featurechoice", aux="k"),
}

# %% [markdown]
# ## Three ways to spend one budget
#
# All SAEs read the residual stream after layer 9. A latent is *on* for a token if it takes part in writing it, and *dead* if it is on
# for none of the held-out tokens. After training, mutual choice keeps one threshold for all its latents and feature choice one
# for each, so that the number of latents that are on for new text is near the budget and not equal to it.
#
# | | the author | here |
# | --- | --- | --- |
# | model | GPT-2 small, and Gemma 2 2B | SmolLM2-135M, layer 9 |
# | SAEs | tens of thousands of latents | 1,152 latents, 32 on for each token on average |
# | training | hundreds of millions of tokens | 200,000 tokens, 1,562 steps of 128: 60,000 tokens of Python documentation, each read about three times |
# | auxiliary loss, which keeps latents alive | aux_zipf_loss | aux_k_loss for all three: the formula of the other was not at hand |
#
# (The left column is from memory.)

# %%
model = interp.load(MODEL)
kept = partial(features.cache_folder, MODEL, "study-22-fast" if FAST else "study-22")
acts = features.activations(model, SITE, tokens=4_000 if FAST else 60_000, folder=kept("find"))
heldout = features.activations(
    model, SITE, tokens=1_000 if FAST else 8_000, split="heldout", folder=kept("heldout")
)


def train(tokens, note=""):
    """The SAEs of each kind, one for each seed."""
    recipe = dict(width=WIDTH, k=K, tokens=tokens, batch=BATCH)
    return {
        name: [
            features.load_or_train(
                model, SITE, acts, name=f"{name}, seed {s}{note}", seed=s, **kind, **recipe
            )
            for s in SEEDS
        ]
        for name, kind in KINDS.items()
    }


saes, half = train(TOKENS), train(TOKENS // 2, ", half the training")

# %% [markdown]
# *Before you run the next cell: with mutual choice, tokens compete for latents. How unequal will it be: will the richest tokens get twice as many
# latents as the poorest, or ten times as many? And which tokens will be rich?*

# %% tags=["cover"]
on = {
    name: (some[0].encode(heldout.of(SITE)) != 0).sum(1).sort().values
    for name, some in saes.items()
}
at = np.linspace(0, len(heldout) - 1, 101).round().astype(int)
interp.plots.lines(
    np.stack([numbers.numpy()[at] for numbers in on.values()]),
    range(101),
    placed=True,
    names=list(on),
    colours=[BLUE, ORANGE, GREEN],
    x_name="tokens, from the fewest latents to the most, %",
    unit="latents on",
    title="Latents for each token on held-out text, seed 0",
)
# %% [markdown]
# Top-k gives every token its 32. With mutual choice (orange) the richest tenth of the tokens have more than 70 latents and the
# poorest tenth fewer than 10. With feature choice (green) the spread is similar, with fewer latents throughout: 23 on average,
# since its thresholds let less through on new text than the budget allows.
#
# ## The claims

# %%
claims = load_claims("28-sae-allocation")
claims


# %%
def compare(some):
    """Unexplained variance, latents on, and share of dead latents, by kind and seed."""
    each = [one for group in some.values() for one in group]
    use = features.densities(each, heldout)
    x = heldout.of(SITE)
    left = [(x - one.reconstruct(x)).pow(2).sum() for one in each]
    left = np.array(left) / float((x - x.mean(0)).pow(2).sum())
    columns = [left, use.metadata["latents on"].values(), use.metadata["dead"].values()]
    shape = (len(some), -1)
    return [dict(zip(some, np.reshape(list(x), shape))) for x in columns], use


(left, latents, dead), use = compare(saes)
(left_half, _, dead_half), _ = compare(half)
for name in KINDS:
    print(
        f"{name:14} unexplained {left[name].round(4)}, latents on {latents[name].round(1)},"
        f" dead {dead[name].astype(int)} of {WIDTH}; with half the training unexplained"
        f" {left_half[name].round(4)}, dead {dead_half[name].astype(int)}"
    )

# %%
VARIANTS = list(KINDS)[1:]
gain, gain_half = ({v: 1 - x[v] / x["top-k"] for v in VARIANTS} for x in (left, left_half))
fewer, fewer_half = ({v: (x["top-k"] - x[v]) / WIDTH for v in VARIANTS} for x in (dead, dead_half))
judged = {}


def judge(key, end, half, within, gates=None):
    """Judges a claim part by part; a part whose number had not settled is not testable."""
    parts = {}
    for name, numbers in end.items():
        settled = converged(
            getattr(numbers, "value", numbers), half[name], within=within, name=f"{key}, {name}"
        )
        got = numbers if hasattr(numbers, "value") else measured(numbers)
        tested = [settled, *([gates[name]] if gates else [])]
        parts[name] = claims[key].part(name).judge(got, gate=tested)
        print(f"{name}: {parts[name].word}: {got}", *tested, sep="\n    ")
    judged[key] = claims[key].judge(parts)
    print(judged[key])


equal = {
    v: gate(f"{K} over latents on, {v}", measured(K / latents[v]), at_least=0.95) for v in VARIANTS
}
some = gate("dead latents of top-k, %", measured(100 * dead["top-k"] / WIDTH), at_least=1.0)
judge("fewer-dead", fewer, fewer_half, within=0.02, gates=dict.fromkeys(VARIANTS, some))
judge("reconstruction", gain, gain_half, within=0.02, gates=equal)

# %% [markdown]
# How many latents die is no fixed property of a method. Top-k had 112 to 136 of them after half of the training and 148 to 173 at the end; mutual choice had 90 to 120, fewer than top-k, and then 204 to 246,
# more than top-k. So a comparison after 100,000 tokens would have said the opposite of one after 200,000, and neither had settled. Feature choice had none at either time, as one would expect, since
# every latent must take its share of tokens in every batch; but how many it saves depends on how many top-k loses, and that had not settled either.
#
# Reconstruction: mutual choice leaves 0.149 of the variance unexplained and top-k 0.164, nearly the same with every seed. The lead, 9 %, moved by less than 0.01 in the second half of the training, so this part of the claim
# is tested, and it holds. Feature choice is as good as top-k but for 1 %, with nearly a third fewer latents on; here the difference moved by a little more than the 0.02 that we allow, so this part stays open.
#
# ## How often is each latent used?

# %%
by_rank = np.maximum(use.values[:: len(SEEDS)], 0.5 / len(heldout))
interp.plots.lines(
    by_rank,
    use.coords["rank"],
    log="xy",
    names=list(KINDS),
    colours=[BLUE, ORANGE, GREEN],
    guide=(by_rank[0][9] * 10 / np.array(use.coords["rank"]), "Zipf's law"),
    x_name="latents, from the most used",
    unit="share of tokens",
    title="How often each latent is on, seed 0",
).set_ylim(0.4 / len(heldout), 1)
# %% [markdown]
# On these axes Zipf's law is a straight line. Feature choice (green) is nearly flat, because it was told to be: each latent gets
# an equal share. The other two are flatter than Zipf's law for the first hundred latents and then fall far below it, and end in
# latents that are never on.
#
# ## A question of our own: which tokens get more latents?

# %%
pairs = [some[v][0] for v in VARIANTS for some in (saes, half)]
hard = features.l0_difficulty_correlation(
    model, pairs, heldout.part(0, 4 if FAST else 32), acts.tokens
)
hard.sel(dictionary=[some.name for some in pairs[::2]]).plot(
    title="A token's latents and how hard it is"
)
# %%
names = {"loss": "next-token loss", "rarity": "rarity of the token"}
rho, rho_half = {}, {}
for v in VARIANTS:
    for short, measure in names.items():
        rho[f"{v}, {short}"] = measured(hard.sel(dictionary=saes[v][0].name, measure=measure))
        before = hard.sel(dictionary=half[v][0].name, measure=measure)
        rho_half[f"{v}, {short}"] = float(before.values)
judge("adaptive", rho, rho_half, within=0.1)

# %% [markdown]
# "Hard" can mean several things. Rare tokens get more latents (0.87 and 0.81), and so do tokens far from the mean activation and,
# less so, tokens that the model had not expected (own loss, 0.45 and 0.42). Tokens after which the *next* one is hard to foretell
# do not; they get slightly fewer. So at layer 9 latents are spent on what a token is, and not on how hard it will be to
# continue. (Intervals are over chunks of one seed.)
#
# ## The new auxiliary loss
#
# The paper's abstract says what its new loss is for and not how it is computed, and the full text was not at hand. The package has one that we made up
# from that sentence (`aux="zipf"`). A verdict on our own formula would say nothing about the paper's, so this claim is not tested.

# %%
judged["aux-zipf"] = claims["aux-zipf"].judge(None)
print(judged["aux-zipf"])

# %% [markdown]
# ## Verdicts

# %%
verdicts("28-sae-allocation", judged.values(), model=model, fast=FAST)

# %% [markdown]
# ## What to remember
#
# - One budget can be spent in several ways, and tokens that compete for latents end up with very different numbers of them.
# - "Adaptive" says that the number of latents varies. With what it varies is a question of its own: here with rarity, and not with the next token's loss.
# - The number of dead latents depends on how long one trains, and even which method has fewer can turn round. Ask for it at half the steps before you compare methods by it.
#
# ## Try it
#
# Feature choice need not give all latents the same share: with `exponent=1.0` the shares follow Zipf's law. How do its latents'
# uses compare with the figure above? And here is what the model loses when it reads each reconstruction (1 would be nothing):

# %%
features.table(
    features.evaluate(
        model, [group[0] for group in saes.values()], heldout, tokens=250 if FAST else 1_000
    )
)[["latents on", "explained variance", "loss recovered"]]

# %% [markdown]
# ## What did not reproduce
#
# - **Better reconstruction:** for mutual choice it does reproduce. For feature choice we cannot say, as the difference from top-k, one percent, had not settled; it is trained to the same budget, and on new text has
#   fewer latents on.
# - **Fewer dead features:** not testable, since the numbers had not settled after 1,562 steps.
# - **Trained twice as long as at first.** With 100,000 tokens the lead of mutual choice was the same 9 %, but it moved by 0.03 in one seed between half and all of the training, so both rows of the paper were
#   not testable. We doubled the training for that reason; thresholds and the gate are those of before.
# - **The new auxiliary loss** is not tested: its formula was not at hand.
# - **Small SAEs:** 1,152 latents for 576 dimensions, trained for minutes on one kind of text.
# - **Chosen after a first look.** Batches of 128 instead of 512, to have more steps. The thresholds are those of before.
# - FAST trains on 8,000 tokens and has two seeds.
#
# Further reading: Gao et al. 2024, "Scaling and evaluating sparse autoencoders", for top-k and its auxiliary loss; Bussmann et al. 2024, "BatchTopK
# Sparse Autoencoders", for what is here called mutual choice.
