# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["slide"]
# # Features and learning: more meanings than neurons
#
# A model of 576 numbers per token knows far more than 576 things. How can they fit? How does one get them out again, and how does one notice that what came
# out is a story and not a finding? And why does learning stand still for so long, only to happen all at once?
#
# 180 minutes · intermediate · seven exercises · two cores are enough

# %% [markdown]
# **You will be able to** say what superposition is and draw it; write a sparse autoencoder; train one on a language model and say what it is worth to the model; read a feature's card without fooling yourself; steer
# a model with a direction that you made; and explain a plateau in a learning curve with a model of two numbers.
#
# **You should know** a little Python with PyTorch tensors, and what a matrix product and a gradient are. The other lessons are not needed.
#
# **How it works.** Each part begins with a prediction: write it down *before* you run the cell. An exercise ends in `check("features-1",
# answer)`, which tells you what went wrong if something did; do not round your answer, or keep three decimals. `hint("features-1")` helps, three times, and
# `solution("features-1")` shows a solution. Levels: ★ warm-up, ★★ the heart of it, ★★★ if you want more. What you did is kept in
# `workshop-progress.json` beside this notebook. Words are explained in `glossary.md`, beside this notebook.
#
# | part | minutes |
# | --- | --- |
# | 1 Five features in two dimensions | 20 |
# | 2 Train it: who gets a dimension? | 20 |
# | 3 A sparse autoencoder | 30 |
# | *a break* | 15 |
# | 4 A dictionary of a language model | 38 |
# | 5 Reading cards without fooling oneself | 12 |
# | 6 Steering | 25 |
# | 7 Why learning can be abrupt | 20 |

# %% [markdown] tags=["instructor"]
# **Before the class.** Run `interp doctor` on every laptop. Parts 4 and 6 use the language model; in part 4 a dictionary is trained, in half a minute on a quiet laptop, once: it is kept in the cache of each
# machine, and needs no network. The first check of exercise 4 runs the model some thirty times, which takes twenty seconds. Everything else is small tensors and answers at once.
#
# **The thread.** Superposition says that features are directions and share space (1, 2). An autoencoder tries to undo that (3), also in a language model (4). What it finds has to be judged
# (4, 5), and used (6). Part 7 stands alone and is the best one to end a day with.
#
# **If time is short** leave out part 2's exercise, but show its picture. The break is in the 180 minutes, before part 4: run its first cell, and go. For those who are done early: other k in
# exercise 3; more tokens in the cell after it; other words, and texts without the word "happy", in part 6.
#
# **The minutes** are for a class that says its predictions aloud and talks about them. They are estimates: one reader who knew nothing of the lesson did it alone, in about 130 minutes by their own
# estimate, and no class has been timed. If a part runs over, let fast people go on: each exercise stands by itself, and nothing later needs an earlier answer.
#
# **If a right answer is refused:** somebody changed `data` in place (`x = data.x; x -= ...` changes data.x). The check says so; the first code cell again gives new copies. A hook name that does not exist is
# ignored in silence: `name in model.hook_dict` tells. After three hints `hint` shows all three again.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import interp
from interp.workshop import begin, check, hint, progress, solution

# the language model; and what the exercises work with: W and uneven (1, 2), x and sae (3),
# heldout (4), latent and is_number (5), happy, sad and neutral (6)
model, data = begin("features")
progress("features")

# %% [markdown] tags=["slide"]
# ## 1 Five features in two dimensions
#
# ![Five features as the directions of a pentagon](pictures/features.svg)
#
# Five features share two numbers. Feature *i* is the direction W_i, a column of `W` [2, 5]. Down: h = W x. Up again: ReLU(Wᵀ h + b).

# %% [markdown]
# *Predict: one feature is on with strength 1, the others are off. What do the five outputs show after bias and ReLU: the feature itself, and the others?*
#
# **Exercise 1 ★** Send each of the five features alone (`torch.eye(5)`) through `data.W` and back, with the bias b = −cos 72° for all outputs and a ReLU. Give
# the table [feature in, feature out].

# %%
### BEGIN SOLUTION
### STUB: table = ...
bias = -np.cos(2 * np.pi / 5)
table = torch.relu(torch.eye(5) @ data.W.T @ data.W + bias)
### END SOLUTION
check("features-1", table)

# %% [markdown]
# **The aha.** Two dimensions hold five features without any disturbance, as long as one is on at a time. It has a price: the bias *subtracts* 0.31 from the feature too, so that it comes back as
# 0.69 at strength 1, 0.19 at strength 0.5, and not at all below 0.31. And what if two are on together?
#
# *Predict: 1 and 2 are neighbours, 1 and 3 are far apart. Which pair survives?*

# %%
bias = -np.cos(2 * np.pi / 5)
pairs = torch.tensor([[1.0, 1, 0, 0, 0], [1, 0, 1, 0, 0]])
print(torch.relu(pairs @ data.W.T @ data.W + bias).round(decimals=2))

# %% [markdown]
# Neighbours (first row) even help each other: both come back with full size, for each reads 0.31 of the other. Features far apart (second row) destroy each other: 1 and 3 vanish, and 2, which lies
# between them and was off, appears with 0.31. *That* is interference.

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 1 gives .69 on the diagonal and 0 elsewhere. Pairs: [1, 1, 0, 0, 0] and [0, .31, 0, 0, 0].
#
# *May go wrong:* W Wᵀ [2, 2] instead of Wᵀ W [5, 5]. Say which axis is features before anybody types.

# %% [markdown] tags=["slide"]
# ## 2 Train it: who gets a dimension?
#
# In part 1 the directions of W were given. Now a model learns them: train W on five features, and look.
#
# *Predict: what does the picture look like if each feature is on in half of all examples, and what if in one of fifty?*


# %%
def train(probability, steps=1500):
    """W [2, 5] of the toy model, trained on features that are on with this probability."""
    torch.manual_seed(3)
    W = (0.3 * torch.randn(2, 5)).requires_grad_(True)
    b = torch.zeros(5, requires_grad=True)
    optimiser = torch.optim.Adam([W, b], lr=0.01)
    for _ in range(steps):
        x = torch.rand(256, 5) * (torch.rand(256, 5) < probability)
        loss = ((torch.relu(x @ W.T @ W + b) - x) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return W.detach()


trained = {probability: train(probability) for probability in (0.5, 0.02)}
figure, both = plt.subplots(1, 2, figsize=(7, 3.4))
for axes, (probability, W) in zip(both, trained.items()):
    for x, y in W.T:
        axes.plot([0, x], [0, y], marker="o", color="tab:blue")
    axes.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal")
    axes.set_title(f"each feature on in {probability:.0%}")

# %% [markdown]
# On the left features are often on together, so interference is expensive: four of them form two opposite pairs, at right angles, and the fifth is given up (its arrow has no length). Opposite features
# do not disturb each other, because what one reads of the other is negative and the ReLU cuts it off. On the right they are hardly ever on together, and all five share.
#
# How much of the space does a feature have for itself? Its *dimensionality* is D_i = |W_i|² / Σ_j (Ŵ_i · W_j)², where Ŵ_i is W_i divided by its length: 1 for a
# feature with a dimension of its own, 1/2 for two that share one.
#
# **Exercise 2 ★★** Compute the five numbers for `data.uneven`, a pentagon whose features have different lengths.

# %%
### BEGIN SOLUTION
### STUB: dimensionality = ...
W = data.uneven
unit = W / W.norm(dim=0)
dimensionality = W.norm(dim=0) ** 2 / ((unit.T @ W) ** 2).sum(1)
### END SOLUTION
check("features-2", dimensionality)

# %% [markdown]
# And the two that you saw trained?

# %%
for probability, W in trained.items():
    unit = W / W.norm(dim=0)
    found = W.norm(dim=0) ** 2 / ((unit.T @ W) ** 2).sum(1)
    print(f"on in {probability:.0%}:", found.round(decimals=2))

# %% [markdown]
# Often on: half a dimension for each of four, none for the fifth. Rarely on: two fifths of a dimension for all of them. (Other starts can end differently at 50 %: change the seed in `train`.)

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 2 gives .70, .57, .24, .07, .42. The trained ones: .51, 0, .50, .50, .49, and .4 for each of five.
#
# *Ask:* why opposite pairs? (The ReLU makes the one invisible to the other.) With seeds 0 and 1 the training at 50 % ends elsewhere: two opposite, one alone with .8, two weak with .1.

# %% [markdown] tags=["slide"]
# ## 3 A sparse autoencoder
#
# If activations are sparse sums of many directions, learn the directions: a wide layer in which only *k* latents may be on.
#
# latents = top-k( ReLU( (x − b_dec) W_enc + b_enc ) )        x̂ = latents W_dec + b_dec
#
# **Explained variance** = 1 − Σ (x − x̂)² / Σ (x − mean)²

# %% [markdown]
# *Predict: 64 directions in 32 dimensions, about two on at a time, and a little noise. Which share of the variance can four latents bring back?*
#
# **Exercise 3 ★★** Write the forward pass of the autoencoder in `data.sae` (`W_enc` [32, 64], `b_enc`, `W_dec` [64, 32], `b_dec`) with k = 4, and give its explained
# variance on `data.x` [300, 32]. Change nothing in place: `x = data.x` is no copy, so write `x - b` and not `x -= b`.

# %%
### BEGIN SOLUTION
### STUB: explained = ...
x, sae = data.x, data.sae
latents = torch.relu((x - sae.b_dec) @ sae.W_enc + sae.b_enc)
values, index = latents.topk(4, dim=-1)
latents = torch.zeros_like(latents).scatter(-1, index, values)
decoded = latents @ sae.W_dec + sae.b_dec
explained = 1 - ((x - decoded) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
### END SOLUTION
check("features-3", explained)

# %% [markdown]
# This autoencoder was not trained: it has the true directions, and an encoder that reads each of them off with a simple product. Training is the same forward pass with a gradient. In
# the toolkit it is `features.train`, here on made-up activations whose true directions are known, so that one can see whether it found them. ("embed" is the name of the place that
# activations come from; made-up ones need some name.) The mean over the true directions of the cosine with the latent that matches best is 1 if all were found:

# %%
made = interp.features.synthetic(features=64, d=32, on=3.0, tokens=10_000, seed=0)
toy_sae = interp.features.train(None, "embed", made.activations, width=64, k=3, tokens=60_000)
print("matched cosine", interp.features.matched_cosine_similarity(toy_sae, made.truth))

# %% [markdown]
# This short training finds part of them; more tokens find more (try it). In a language model nobody knows the truth, and no such number can be had.

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 3 gives .73; with k = 1, 2, 3, 5, 8: .45, .62, .69, .74, .75. Four components of PCA: .41. The trained one matches with a cosine of .67.
#
# *May go wrong:* top-k over the batch instead of over latents; dividing by Σ x² (the mean then counts as explained); `x -= b_dec`, which changes `data.x` for the rest of the session (the check notices).
#
# *Ask:* what is the control? (PCA with as many numbers per token, and a random dictionary.) Why not 1, with about two on? (The 64 directions are not orthogonal, so the encoder reads a little of each of the
# others; latents of 1 to 3 come back too small, because of b_enc; and there is noise.)

# %% [markdown] tags=["slide"]
# ## 4 A dictionary of a language model
#
# The same on the stream of a language model after layer 7: 576 numbers per token, 512 latents, 16 of them on. Now nobody knows the true directions. (A set of latents with their directions is also called a
# *dictionary*.)
#
# What *can* be asked: put the reconstruction back into the model, in place of the activation. Does it still predict text?
#
# **Loss recovered** = (loss with the mean − loss with the reconstruction) / (loss with the mean − loss as it is)
#
# *Predict: sixteen numbers per token instead of 576. Which share of the loss comes back?*

# %% [markdown]
# `features.train` does the training; `features.load_or_train` is the same and keeps the result on disk, so that nobody trains twice. The text is the documentation of installed Python packages.
# This dictionary is small and its training short: a real one has thousands of latents, many more than the stream has dimensions, and reads millions of tokens. Ours, with 512 for 576 dimensions, shows the
# method and no superposition.

# %%
acts = interp.features.activations(model, "resid_post.7", tokens=6_000)
sae = interp.features.load_or_train(
    model, "resid_post.7", acts, width=512, k=16, tokens=60_000, batch=512
)
sae

# %% [markdown]
# **Exercise 4 ★★** Compute the *loss recovered* (the formula above) on `data.heldout` [4, 64], text that the training has not seen. `sae.reconstruct(x)` is what the dictionary makes of activations `x`. A run with another
# activation, and its mean loss over all tokens, in nats:
#
# ```python
# def double_it(activation, hook):      # activation: [chunk, position, d_model]
#     activation[:, 1:] = 2 * activation[:, 1:]
#     return activation
#
# hooks = [("blocks.7.hook_resid_post", double_it)]
# loss = model.run_with_hooks(data.heldout, return_type="loss", fwd_hooks=hooks)
# ```
#
# The second argument must be called `hook`, and a name that does not exist is ignored in silence (`name in model.hook_dict` tells). `_, cache = model.run_with_cache(tokens)` keeps all activations,
# `cache["blocks.7.hook_resid_post"]` is what comes out of layer 7.
#
# Leave position 0 alone, as above: the dictionary was trained without it. "The mean" is the mean activation of `data.heldout`, over all chunks and all positions but the first. If you train a dictionary of
# your own, give it to the check, as the cell does.

# %%
### BEGIN SOLUTION
### STUB: recovered = ...
name = "blocks.7.hook_resid_post"


def loss(new):
    """The loss with a function of the activation in its place."""

    def put(activation, hook):
        activation[:, 1:] = new(activation[:, 1:])
        return activation

    with torch.no_grad():
        return model.run_with_hooks(data.heldout, return_type="loss", fwd_hooks=[(name, put)])


with torch.no_grad():
    _, cache = model.run_with_cache(data.heldout)
mean = cache[name][:, 1:].mean((0, 1))
plain, back, ablated = loss(lambda x: x), loss(sae.reconstruct), loss(lambda x: mean)
recovered = (ablated - back) / (ablated - plain)
### END SOLUTION
check("features-4", recovered, sae=sae)

# %% [markdown]
# What should that be compared with? PCA with 16 numbers per token, and 16 random directions, on the same text:

# %%
random_directions, pca = interp.features.baselines(acts, k=16)
compared = {"ours": sae, "16 components of PCA": pca, "16 random directions": random_directions}
judged = interp.features.evaluate(model, list(compared.values()), data.heldout)
for name, one in zip(compared, judged.sel(measure="loss recovered").values):
    print(f"{name}: {one:.2f}")

# %% [markdown]
# Sixteen numbers of PCA bring back three quarters of the loss, and sixteen random directions (for each token the best of 2,304) a fifth: ours is better than both, and the distance to PCA is what the training is
# worth. The comparison is not quite fair to PCA: it has one set of 16 directions for all tokens, and the dictionary chooses 16 of 512 for each. And four pieces of text are few: the first alone gives another number (try it).

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 4 gives .896. The losses: 4.38 as it is, 4.83 reconstructed, 8.72 with the mean, 16.0 with zeros. PCA .74 (95 % interval .72 to .75), random .19 (.15 to .22), ours .81 to .95: four pieces of text. (`evaluate` counts its losses without the first guess, so its 4.33 and 4.79 are a little smaller).
#
# *May go wrong:* zeros in place of the mean. The loss with zeros is so bad that every dictionary recovers nearly all of it: say that the baseline is half of the number. A hook that returns nothing, or
# changes a copy, gives exactly 1.
#
# *Ask:* "90 % recovered", is that good? (The tenth that is lost is .45 nats for each token, beside a loss of 4.38. PCA gets .74: is that far behind?)

# %% [markdown] tags=["slide"]
# ## 5 Reading cards without fooling oneself
#
# A latent is often named after a list of its top tokens. Here are the ten tokens at which one is strongest, a latent that was made up for this exercise, with labels. All ten are numbers. "A number latent!"
#
# *Predict: of **all** tokens at which it is on, how many are numbers?*

# %%
strongest = data.latent.topk(10)
for value, at in zip(strongest.values, strongest.indices):
    print(f"{value:.2f}  {'number' if data.is_number[at] else 'something else'}")

# %% [markdown]
# **Exercise 5 ★** Of all tokens at which `data.latent` is on (above zero), which share are numbers (`data.is_number`)?

# %%
### BEGIN SOLUTION
### STUB: share = ...
share = data.is_number[data.latent > 0].float().mean()
### END SOLUTION
check("features-5", share)

# %%
figure, axes = plt.subplots(figsize=(6, 2.6))
bins = np.linspace(0.01, 4, 30)
for name, mask in (("numbers", data.is_number), ("something else", ~data.is_number)):
    axes.hist(data.latent[mask].numpy(), bins=bins, alpha=0.6, label=name)
axes.set(xlabel="strength of the latent", ylabel="tokens")
axes.set_title("All tokens at which the latent is on")
axes.legend()
figure.tight_layout()

# %%
for low, high in ((2, 9), (0, 1)):
    inside = data.is_number[(data.latent > low) & (data.latent <= high)]
    print(f"between {low} and {high}: {int(inside.sum())} of {len(inside)} are numbers")
print(f"of all tokens: {float(data.is_number.float().mean()):.0%}")

# %% [markdown]
# Two latents in one: above 2 all 23 tokens are numbers, and below 1 numbers are no more frequent than among all tokens (18 % and 21 %). So "numbers, above 2" is right as far as *precision* goes: of the tokens that it names, all are numbers.
# *Recall* is another question: of the 400 tokens 83 are numbers, and above 2 it finds 23 of them, 28 %. A value above 2 says "a number"; a value below says little. A description is a claim about *all* values that it names, and it
# needs both numbers.
#
# Does your own dictionary have such latents? Here is the *card* of one. For the reason that you have just seen, a card of this toolkit shows not only the strongest tokens (eight of them) but also some of each quarter of the values,
# down to the weakest. This latent is on at 94 of 4,064 tokens. Its strongest tokens are about *default*, *optional*, *deprecated*; read the weaker ones before you believe a description, and try other numbers than 3:

# %%
interp.features.card(model, sae, 3, tokens=4_000)

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 5 gives .34 (41 of 121); above 2 it is 23 of 23, below 1 it is 18 of 98, 18 %; among all tokens 83 of 400, 21 %. Recall: above 2 it finds 23 of the 83 numbers (28 %), above zero 41 (49 %).
#
# *The point:* the top of the range is clean, and most of the range is not. *Ask:* is it a bad latent? (Not necessarily: above 2 its precision is 1. Then say so: "above 2", and that it misses most numbers.) *Then:* which of the two, precision or recall, does a list of top tokens show?
# (A little of precision, at the top; nothing of recall.)

# %% [markdown] tags=["slide"]
# ## 6 Steering
#
# If a feature is a direction, adding it should do what it means. The cheapest direction of all: the mean stream of three happy sentences minus that of three sad
# ones.
#
# *Predict: are three sentences of each kind enough to move "When I came home I felt very"? Up or down, by how many logits?*

# %% [markdown]
# **Exercise 6 ★★** Make the direction from `data.happy` and `data.sad` (lists of token ids [1, position]) at the last token, after layer 15: `model.run_with_cache(ids)[1]["blocks.15.hook_resid_post"]`
# is [1, position, d_model]. Add it there at the last position (`activation[:, -1]`) of each prompt in `data.neutral`, with a hook as in exercise 4. How does logit(" happy") − logit(" sad") change? One
# number, in logits: the mean over the two prompts.

# %%
name = "blocks.15.hook_resid_post"
happy, sad = (model.to_single_token(word) for word in (" happy", " sad"))
### BEGIN SOLUTION
### STUB: change = ...


def mean_at_end(texts):
    """The mean over texts of the stream at the last token."""
    with torch.no_grad():
        return torch.stack([model.run_with_cache(ids)[1][name][0, -1] for ids in texts]).mean(0)


direction = mean_at_end(data.happy) - mean_at_end(data.sad)


def push(activation, hook):
    activation[:, -1] += direction
    return activation


changes = []
for ids in data.neutral:
    with torch.no_grad():
        before = model(ids)[0, -1]
        after = model.run_with_hooks(ids, fwd_hooks=[(name, push)])[0, -1]
    changes.append((after[happy] - after[sad]) - (before[happy] - before[sad]))
change = torch.stack(changes).mean()
### END SOLUTION
check("features-6", change)

# %% [markdown]
# Is 1.4 much? Two controls: random directions of the same length, and the three pairs of sentences one by one.


# %%
def at_end(ids):
    """The stream after layer 15 at the last token."""
    with torch.no_grad():
        return model.run_with_cache(ids)[1]["blocks.15.hook_resid_post"][0, -1]


singly = [at_end(a) - at_end(b) for a, b in zip(data.happy, data.sad)]
length = torch.stack(singly).mean(0).norm()


def moved(push):
    """The change when this vector is added, averaged over the neutral prompts."""
    edit = interp.Intervention("resid_post.15@-1", lambda read, seen: read + push)
    changes = []
    for ids in data.neutral:
        by = interp.run(model, ids, [edit]).logits[0, -1] - interp.run(model, ids).logits[0, -1]
        changes.append(float(by[happy] - by[sad]))
    return np.mean(changes)


torch.manual_seed(0)
noise = [torch.nn.functional.normalize(torch.randn(576), dim=0) * length for _ in range(8)]
print("random directions:", [round(moved(push), 2) for push in noise])
print("pairs one by one: ", [round(moved(push), 2) for push in singly])

# %% [markdown]
# Seven of the eight random directions move it by −0.5 to +0.4, and the eighth by 1.26: ours is larger than all eight, and not by far. And the three pairs give 1.5, 2.4 and 0.35: the first is the one that says "happy" and "sad", and the third
# does no more than a random direction. So six sentences do push the right way; "1.4 logits" alone would have said more than we know. Next one would ask whether other words of mood move too (" glad", " miserable"),
# and what else changes.

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 6 gives 1.39 ("When I came home I felt very" 1.37, "After the phone call she was" 1.41). The direction has length 54, the stream it is added to 167. Eight random directions: mean .18, standard deviation .56, the largest 1.26. Pairs: 1.51, 2.42, .35.
#
# *Ask:* how would you know that it is *mood* and not the word "happy" being copied? (Score other words: " glad", " miserable"; use texts without the word.)

# %% [markdown] tags=["slide"]
# ## 7 Why learning can be abrupt
#
# An induction head is two heads: one finds the token before, one uses it. Each is useless without the other. The smallest model of that: the output is **a · b**, and it
# should become 1.
#
# Loss (1 − a b)² / 2, gradient descent, both start small.
#
# *Predict: if you start ten times smaller, does learning take ten times as long?*

# %% [markdown]
# **Exercise 7 ★★★** Gradient descent with rate 0.05 from a = b = 0.1, from 0.01 and from 0.001. After how many steps is a · b first at least one half? The start is step 0.

# %%
### BEGIN SOLUTION
### STUB: steps = ...
steps = []
for start in (0.1, 0.01, 0.001):
    a = b = start
    step = 0
    while a * b < 0.5:
        error = 1 - a * b
        a, b = a + 0.05 * error * b, b + 0.05 * error * a
        step += 1
    steps.append(step)
### END SOLUTION
check("features-7", steps)

# %%
figure, axes = plt.subplots(figsize=(6, 2.8))
for start in (0.1, 0.01, 0.001):
    a, curve = start, []
    for _ in range(220):
        curve.append(a * a)
        a += 0.05 * (1 - a * a) * a
    axes.plot(curve, label=f"start {start}")
axes.set(xlabel="step", ylabel="a · b", title="a · b during learning, from three starts")
axes.legend()
figure.tight_layout()

# %% [markdown]
# From 0.1 it is an ordinary S, with nothing abrupt about it; from 0.001 it is a plateau and then a jump. The three curves have the *same* shape, moved to the right by 47 or 48 steps each. While a and b are
# small, each grows by a factor of 1.05 a step, and ln(10) / ln(1.05) = 47: ten times smaller takes 47 steps more, not ten times as long.

# %% [markdown]
# The real thing: a small transformer (two layers of two heads) that forms induction heads, checkpoint by checkpoint. It trains for a minute the first time, so copy this into a cell when you have that minute:
#
# ```python
# def induction(model):
#     return interp.head_scores(model, "induction", length=12)
#
# run = interp.toys.load_or_train("induction")
# scores = interp.toys.over_training(run, induction).sel(score="induction", layer=1).to_frame()
# scores.pivot(index="step", columns="head", values="head score").plot()
# ```
#
# Nothing for a hundred steps and more: both heads of layer 1 give the token after the first coming 2 % of their attention at step 117. At step 213 it is 37 to 40 %, at step 287 about 90 %.
# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 7 gives 47, 94, 142 (from 0.0001: 189). The transformer: induction scores of L1H0 and L1H1 .02 and .02 at step 117, .05 and .09 at 158, .37 and .40 at 213, .87 and .94 at 287, .99 and .98 at 700. Run it once on the projector's laptop before the class: then it
# loads in two seconds.
#
# *May go wrong:* updating `a` and then using the new `a` for `b`. The numbers come out slightly different, and it is a bug that in a real optimiser nobody would ever see.
#
# *Say at the end:* "sudden" is a word about the loss, not about the weights. They moved all the time.

# %% [markdown] tags=["slide"]
# ## What to remember
#
# - Features are directions; there may be more of them than dimensions, if they are rarely on together.
# - Explained variance says how much comes back, loss recovered what that is worth to the model, and neither what it means. Compare with PCA and with random directions.
# - A list of top tokens shows the top of a latent's range. Judge all of it, by precision and by recall.
# - A direction that steers shows that pushing there moves the answer. Random directions can do that, too: set eight beside it, and measure what else it changes.
# - A product of two things that each need the other learns late and fast.

# %% [markdown]
# ## To take home: a question that nobody has answered
#
# The two-number model says that the plateau's length goes with the logarithm of the start. Does an induction head's? Which number of a real transformer *is* "the start", and if
# you make it ten times smaller, is the plateau longer by the same number of steps each time?
#
# Further reading: Elhage et al. 2022 (arXiv 2209.10652), toy models of superposition; Gao et al. 2024 (arXiv 2406.04093), top-k autoencoders; Bolukbasi et al. 2021 (arXiv
# 2104.07143), an illusion of top examples; Reddy 2023 (arXiv 2312.03002), abrupt in-context learning.

# %%
progress("features")
