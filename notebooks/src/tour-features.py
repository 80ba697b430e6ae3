# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of features: train a sparse autoencoder, judge it, read it, edit with it
#
# An activation is a list of 576 numbers, and no single one of them means anything. A *sparse autoencoder* (SAE) writes it as a
# sum of a few directions out of a long list, its *latents*; the hope is that these mean something. This tour trains one
# on a laptop, asks what it loses, reads its latents on cards, edits them, and says how far to trust them. Nothing is
# claimed here: every number is of this run, and stands beside the number of tokens it was counted on.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp
from interp import features

model = interp.load(MODEL)
SITE = "resid_post.15"
WIDTH, TOKENS = (512, 40_000) if FAST else (2304, 300_000)
kept = features.cache_folder(MODEL, "tour-fast" if FAST else "tour")

# %% [markdown]
# ## Activations
#
# The text is documentation that comes with Python's packages; one half of its documents is for training, the other
# for judging and reading. The first token of each chunk is left out everywhere: it is the attention sink, whose
# activation is a hundred times as long as any other and says nothing about the text.

# %%
acts = features.activations(model, SITE, tokens=2_000 if FAST else TOKENS, folder=kept / "find")
heldout = features.activations(
    model, SITE, tokens=800 if FAST else 16_000, split="heldout", folder=kept / "heldout"
)
print(acts, heldout, sep="\n")

# %% [markdown]
# ## Training
#
# A top-k SAE keeps the k largest latents of each token and reconstructs the activation from them. sae-lens trains it;
# the result is saved in its format. Other kinds are a word away: `kind="batchtopk"`, "jumprelu", "matryoshka",
# "gated", "standard", "mutualchoice", "featurechoice", or a transcoder.

# %%
recipe = dict(kind="topk", width=WIDTH, tokens=TOKENS, batch=256 if FAST else 1024)
sae = features.load_or_train(model, SITE, acts, k=32, name="k = 32", **recipe)
first, last = sae.metadata["curve"][0], sae.metadata["curve"][-1]
for name in ("loss", "explained", "dead"):
    print(f"{name:10} {first[name]:8.3f} -> {last[name]:8.3f}")

# %% [markdown]
# ## What does it lose?
#
# *Explained variance* is how much of the activations' spread is kept. *Loss recovered* is harder: the model goes on
# with the reconstruction in place of the activation, and its own loss says what was missing; 1 is nothing, 0 is as
# bad as the mean. Both mean little without a floor: as many random directions, and as many principal components.

# %%
ks = (8, 32) if FAST else (8, 32, 64)
saes = [
    sae if k == 32 else features.load_or_train(model, SITE, acts, k=k, name=f"k = {k}", **recipe)
    for k in ks
]
floors = features.baselines(acts, k=32, width=WIDTH)
judged = features.evaluate(model, [*saes, *floors], heldout, tokens=254 if FAST else 2_540)
features.table(judged)[
    ["latents on", "explained variance", "loss recovered", "dead", "dense", "tokens"]
].round(3)

# %% [markdown]
# More latents on is better on both counts, and none is free: a reader of a token has as many latents to look at. The
# picture below is the usual one for comparing dictionaries; further up and to the left is better.

# %%
features.pareto(judged)
# %% [markdown]
# ## What do its latents stand for?
#
# One pass over text the SAE has not seen gives every latent's values. Its description is counted, not invented: the
# tokens that take up a much larger share of the latent's activation than of the text, at the token itself, before or
# after it. Where none does, it says so.

# %%
seen = features.firings(model, sae, on=heldout)
lines = features.describe(model, seen)
print(lines.description.str.split().str[0].value_counts().to_dict(), f"tokens: {len(seen):,}")
clear = (
    lines[lines.density > 0.002]
    .sort_values("share", ascending=False)
    .drop_duplicates("description")
)
clear.head(8).round(3)

# %% [markdown]
# The clearest latents are little more than one token. Those that gather several words are of more interest; here is the
# card of one. It shows the strongest contexts, and examples from each quarter of the latent's range: a description made from the top
# alone often fails further down.

# %%
known = (
    clear[clear.description.str.match("(on|after|before) [a-z]{3,}, [a-z]{4,}")].index[:3].tolist()
)
cards = features.cards(model, sae, known, on=seen)
cards[0]

# %% [markdown]
# The logits are what the latent's direction would say if nothing came after it; fourteen layers do, so at a middle layer they
# are a hint at most. `card.html("17.html")` writes a card as a file, `features.page(cards, "cards.html")` many with an index and
# a filter.

# %% [markdown]
# ## Edit
#
# `ablate`, `clamp` and `steer` change a latent and leave the rest of the activation, also what the SAE does not
# explain, as it was. What is a latent worth to the model on this text? Here is what its loss becomes without it, for
# the latents of the three cards.

# %%
text = heldout.tokens[: 2 if FAST else 16]
plain = interp.methods.text.cross_entropy(model, text)
for card in cards:
    without = interp.methods.text.cross_entropy(model, text, features.ablate(sae, card.latent))
    print(
        f"{card.latent:5} {card.description:32} {without.values - plain.values:+.4f} nats a token "
        f"({text[:, 1:].numel():,} tokens)"
    )

# %% [markdown]
# Next to nothing: other latents say much the same, and the error term says the rest.
#
# Steering adds a latent's direction, whatever the text is about. Too little does little; too much breaks the text, and
# a word that the latent is on at need not be one that it makes the model say.

# %%
strength = cards[0].maximum
for times in (0, 1, 3):
    steered = features.steer(sae, {known[0]: times * strength})
    print(
        f"{times} x",
        repr(
            interp.generate(
                model, "The best way to learn", steered, max_new_tokens=8 if FAST else 16
            ).text
        ),
    )

# %% [markdown]
# ## Which latents does a task use?
#
# `attribution` asks for each latent how the answer would change if it took its value in the corrupted prompt. "ig" takes the mean slope
# on the way there (one gradient at the start says next to nothing here); latents and error then add up to what patching the whole
# site does. "error" is all that the latents do not write: where it is the largest, most of what the task needs is not in them. Names
# are rare in documentation, and this SAE has learned little about them.

# %%
task = interp.tasks.ioi(model, n=4 if FAST else 16)
effect = features.latent_attribution(model, task, sae, method="ig", steps=5 if FAST else 10)
site = interp.patch(model, task, SITE, direction="noising")
print(
    f"all latents and the error {effect.values.sum():.2f}, the site patched "
    f"{float(site.values):.2f}"
)
effect.top(6)

# %% [markdown]
# `features.circuit(model, task, [early, middle, late])` goes on from here: which latents act through which.

# %% [markdown]
# ## By hand
#
# The widget has all of it: search the list, step through cards, click a neighbour, type a prompt, and move the slider
# to see what the model would say. A saved notebook shows it as a picture.

# %% tags=["cover"]
widget = interp.widgets.features(model, sae, seen, latent=known[0], by="clamp", strength=2.0)
widget.wait()

# %% [markdown]
# ## How far to trust it: another seed
#
# The same recipe from another seed gives another dictionary. Directions are matched one to one; 1 would be the
# same list. Two random dictionaries, matched the same way, are the floor.

# %%
again = features.load_or_train(model, SITE, acts, k=32, seed=1, name="seed 1", **recipe)
other = features.baselines(acts, k=32, width=WIDTH, seed=1)[0]
for pair in ((sae, again), (floors[0], other)):
    same = features.matched_cosine_similarity(*pair)
    print(
        f"{pair[0].name:12} {pair[1].name:12} mean cosine {float(same.values):.2f}, above 0.9: "
        f"{same.metadata['above 0.9']} of {same.metadata['pairs']}"
    )

# %% [markdown]
# ## How far to trust it: absorption
#
# A latent that seems to mean "starts with s" may be off just where a narrower latent says the same on the side. The
# score below is a small form of Chanin et al. 2024 (arXiv 2409.14507): words of one token, a probe for each first letter,
# and the share of words on which the letter's own latents are off while a few others carry its direction. It runs no
# ablation and has a few dozen words a letter, so read the interval, and the F1 of the letters' own latents: where the SAE has no latent for a
# letter, nothing can be absorbed from it.

# %%
words = features.first_letters(model, SITE, most=16 if FAST else 80)
absorbed = features.absorption(sae, words.x, words.labels, words=words.words)
letters = absorbed.metadata["classes"]
print(absorbed, f"{absorbed.metadata['words']} words")
print(
    {
        letter: (one["probe F1"], one["own F1"], one["absorbed"][:1])
        for letter, one in list(letters.items())[:6]
    }
)

# %% [markdown]
# ## Ready dictionaries
#
# Any folder that sae-lens wrote loads, and is tried on a text: widths, site and reconstruction must fit the model. With
# a hub, `features.load("gpt2-small-res-jb", "blocks.8.hook_resid_pre", model=model)` fetches a release.

# %%
folder = sae.save(kept / "sae")
print(features.load(folder, model=model))
try:
    features.check(model, features.identity("resid_post.15", 768))
except ValueError as error:
    print(error)

# %% [markdown]
# ## Try it
#
# - Sort the widget's list by share of tokens. What do the densest latents stand for? Ablate one.
# - Find a latent for a word of your choice in the list, and steer with it at a prompt of yours.
# - Train with `kind="matryoshka"` or another width, and put it into the same `judge`: is it further up and to the left?
