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
# answer)`, which tells you what went wrong if something did. `hint("features-1")` helps, three times, and `solution("features-1")` shows a
# solution. Levels: ★ warm-up, ★★ the heart of it, ★★★ if you want more. What you did is kept in `workshop-progress.json` beside this
# notebook.
#
# | part | minutes |
# | --- | --- |
# | 1 Five features in two dimensions | 25 |
# | 2 Train it: who gets a dimension? | 25 |
# | 3 A sparse autoencoder | 30 |
# | 4 A dictionary of a language model | 35 |
# | 5 Reading cards without fooling oneself | 15 |
# | 6 Steering | 25 |
# | 7 Why learning can be abrupt | 25 |

# %% [markdown] tags=["instructor"]
# **Before the class.** Run `interp doctor` on every laptop. Parts 4 and 6 use the language model; in part 4 a dictionary is trained, in half a minute on a quiet laptop, once. Everything else
# is small tensors and answers at once.
#
# **The thread.** Superposition says that features are directions and share space (1, 2). An autoencoder tries to undo that (3), also in a language model (4). What it finds has to be judged
# (4, 5), and used (6). Part 7 stands alone and is the best one to end a day with.
#
# **If time is short** leave out part 2's exercise, but show its picture. A break of fifteen minutes fits before part 4: run its first cell, and go.
#
# **The minutes** are for a class that says its predictions aloud and talks about them, which takes about a third of each part; somebody who reads alone is done in a bit more than two hours. They are
# estimates: every part was read and every answer written by one who knew the lesson, and no class has been timed. If a part runs over, let fast people go on: each exercise stands by itself, and nothing later needs an earlier
# answer.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import interp
from interp.workshop import begin, check, hint, progress, solution

model, data = begin("features")  # the language model, and the small tensors of the exercises
progress("features")

# %% [markdown] tags=["slide"]
# ## 1 Five features in two dimensions
#
# ![Five features as the directions of a pentagon](pictures/features.svg)
#
# Five features share two numbers. Feature *i* is the direction W_i, a column of `W` [2, 5]. Down: h = W x. Up again: ReLU(Wᵀ h + b).

# %% [markdown]
# *Predict: one feature is on, the others are off. What do the others show after the way down and up: nothing, a little, much?*
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
# **The aha.** Nothing is lost but size. Two dimensions hold five features *perfectly*, as long as one is on at a time. The price comes when two are on together:

# %%
bias = -np.cos(2 * np.pi / 5)
pairs = torch.tensor([[1.0, 1, 0, 0, 0], [1, 0, 1, 0, 0]])
print(torch.relu(pairs @ data.W.T @ data.W + bias).round(decimals=2))

# %% [markdown] tags=["instructor"]
# *Ask before the last cell:* neighbours on together, or two that are far apart: which pair survives? (1 and 2 do. 1 and 3 do not: both vanish, and 2, which lies
# between them, appears instead.)
#
# *Usually goes wrong:* W Wᵀ [2, 2] instead of Wᵀ W [5, 5]. Say which axis is features before anybody types.

# %% [markdown] tags=["slide"]
# ## 2 Train it: who gets a dimension?
#
# Nobody told a model to draw a pentagon. Train W on five features that are rarely on, and look.
#
# *Predict the picture if each feature is on in half of all examples, and if in one of fifty.*


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


figure, both = plt.subplots(1, 2, figsize=(7, 3.4))
for axes, probability in zip(both, (0.5, 0.02)):
    for x, y in train(probability).T:
        axes.plot([0, x], [0, y], marker="o", color="tab:blue")
    axes.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal")
    axes.set_title(f"each feature on in {probability:.0%}")

# %% [markdown]
# How much of the space has a feature for itself? Its *dimensionality* is D_i = |W_i|² / Σ_j (Ŵ_i · W_j)², where Ŵ_i is W_i divided by its length: 1 for a
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

# %% [markdown] tags=["instructor"]
# *Point at the pictures:* features that are on half of the time sit in two opposite pairs, and the fifth is given up; rare ones share, all five. *Ask:* why opposite
# pairs? (The ReLU makes the one invisible to the other.)

# %% [markdown] tags=["slide"]
# ## 3 A sparse autoencoder
#
# If activations are sparse sums of many directions, learn the directions: a wide layer in which only *k* latents may be on.
#
# latents = top-k( ReLU( (x − b_dec) W_enc + b_enc ) )        x̂ = latents W_dec + b_dec
#
# **Explained variance** = 1 − Σ (x − x̂)² / Σ (x − mean)²

# %% [markdown]
# *Predict: 64 directions in 32 dimensions, about two on at a time. Which share of the variance can four latents bring back?*
#
# **Exercise 3 ★★** Write the forward pass of the autoencoder in `data.sae` (`W_enc` [32, 64], `b_enc`, `W_dec` [64, 32], `b_dec`) with k = 4, and give its explained
# variance on `data.x` [300, 32].

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
# Training is the same forward pass with a gradient. The toolkit's verb, on activations whose true directions are known, so that one can see whether it found
# them (1 is a perfect match; this short training finds part of them, try more tokens):

# %%
made = interp.features.synthetic(features=64, d=32, on=3.0, tokens=10_000, seed=0)
sae = interp.features.train(None, "embed", made.activations, width=64, k=3, tokens=60_000)
print("matched cosine similarity", interp.features.matched_cosine_similarity(sae, made.truth))

# %% [markdown]
# %% [markdown] tags=["instructor"]
# *Usually goes wrong:* top-k over the batch instead of over latents; dividing by Σ x² (the mean then counts as explained).
#
# *Ask:* what is the control? (PCA with as many numbers per token, and a random dictionary.) Here the truth is known; in a language model it is not.

# %% [markdown] tags=["slide"]
# ## 4 A dictionary of a language model
#
# The same on the stream of a language model after layer 7: 576 numbers per token, 512 latents, 16 of them on. Now nobody knows the true directions.
#
# What *can* be asked: put the reconstruction back into the model, in place of the activation. Does it still predict text?
#
# **Loss recovered** = (loss with the mean − loss with the reconstruction) / (loss with the mean − loss as it is)
#
# *Predict: sixteen numbers per token instead of 576. Which share of the loss comes back?*

# %% [markdown]
# `features.train` does the training; `features.load_or_train` is the same and keeps the result on disk, so that nobody trains twice. The text is the documentation of installed Python packages.
# This dictionary is small and its training short: a real one has thousands of latents and reads millions of tokens.

# %%
acts = interp.features.activations(model, "resid_post.7", tokens=6_000)
sae = interp.features.load_or_train(
    model, "resid_post.7", acts, width=512, k=16, tokens=60_000, batch=512
)
sae

# %% [markdown]
# **Exercise 4 ★★** Compute the loss recovered on `data.heldout` [4, 64], text that the training has not seen. `sae.reconstruct(x)` is what the dictionary makes of activations `x`. A run with another
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
# Leave position 0 alone, as above: the dictionary was trained without it. "The mean" is the mean activation over all chunks and all positions but the first.

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
check("features-4", recovered)

# %% [markdown]
# Beside what? PCA with as many numbers per token, on the same text:

# %%
random_directions, pca = interp.features.baselines(acts, k=16)
interp.features.evaluate(model, [sae, pca], data.heldout).sel(measure="loss recovered")

# %% [markdown] tags=["instructor"]
# *Usually goes wrong:* zeros in place of the mean. The loss with zeros is so bad that every dictionary recovers nearly all of it: say that the baseline is half of the number.
#
# *Ask:* "90 % recovered", is that good? (The tenth that is lost is .4 nats for each token, beside a loss of 4.4. PCA gets .74: is that far behind?)

# %% [markdown] tags=["slide"]
# ## 5 Reading cards without fooling oneself
#
# A card shows the ten tokens at which a latent is strongest. All ten are numbers. "A number latent!"
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

# %% [markdown] tags=["instructor"]
# *The point:* the top of the range is clean, and most of the range is not. A description is a claim about *all* tokens at which a latent is on. *Ask:* is it a bad latent?
# (Not necessarily: above 2 it is a perfect detector. Then say so: "above 2".)

# %% [markdown] tags=["slide"]
# ## 6 Steering
#
# If a feature is a direction, adding it should do what it means. The cheapest direction of all: the mean stream of three happy sentences minus that of three sad
# ones.
#
# *Predict: will three sentences be enough to move "When I came home I felt very"? Up or down, by how many logits?*

# %% [markdown]
# **Exercise 6 ★★** Make the direction from `data.happy` and `data.sad` (token ids) at the last token, after layer 15 (`blocks.15.hook_resid_post`). Add it there at
# the last position of each prompt in `data.neutral`. How does logit(" happy") − logit(" sad") change, on average?

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

# %% [markdown] tags=["instructor"]
# *Ask:* how would you know that it is *mood* and not the word "happy" being copied? (Score other words: " glad", " miserable"; use texts without the word.) And what is the
# control? A random direction of the same length.

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
axes.set(xlabel="step", ylabel="a · b", title="A plateau, and then a jump")
axes.legend()
figure.tight_layout()

# %% [markdown]
# The real thing, a small transformer that forms an induction head, checkpoint by checkpoint (it trains for a minute the first time):
#
# ```python
# run = interp.toys.load_or_train("induction")
# ```

# %% [markdown] tags=["instructor"]
# *Usually goes wrong:* updating `a` and then using the new `a` for `b`. The numbers come out slightly different, and it is a bug that in a real optimiser nobody would ever see.
#
# *Say at the end:* "sudden" is a word about the loss, not about the weights. They moved all the time.

# %% [markdown] tags=["slide"]
# ## What to remember
#
# - Features are directions; there may be more of them than dimensions, if they are rarely on together.
# - Explained variance says how much comes back, loss recovered what that is worth to the model, and neither what it means. Compare with PCA and with random directions.
# - A card shows the top of a latent's range. Judge all of it.
# - A direction that steers is a cause; measure what else it changes.
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
