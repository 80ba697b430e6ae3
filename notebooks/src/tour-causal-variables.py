# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of causal variables: swap one thing, and say beforehand what should happen
#
# Patching asks whether the answer *changes*. An interchange intervention asks for more: a hypothesis says that the
# model computes with a **variable** (is this pair equal? in which place does the name stand?), so it also says what
# the answer must be once the variable is taken from another prompt. The share of prompts where that answer comes out
# is the *interchange accuracy*.
#
# First a network whose variables are known, then the default model, where they are not.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp

toy, truth = interp.toys.equality_model()
judge = interp.toys.equality_task(toy, n=64, variable="left")
judge.show(2)

# %% [markdown]
# Four objects; the answer is "same" when the first pair is equal exactly if the second pair is. The variable *left* is
# whether the first pair is equal. Swapped in from the source prompt, it changes the answer or leaves it: the last line
# of each prompt says which.

# %% [markdown]
# ## A whole site holds too much
#
# After the second layer the stream at the last position holds both pairs' comparisons. Swapping all of it swaps both
# variables, and the predicted answer comes out about as often as by chance.

# %%
interp.interchange(toy, judge, "resid_post.*@END").table()

# %% [markdown]
# ## A subspace of it is enough
#
# The network was written by hand, so the direction that holds *left* is known. With only that part of the stream
# swapped every prediction comes true. The other rows are what any such number must be read beside: a random direction,
# and a push of the same length in a random direction.

# %%
by_hand = interp.Subspace(truth["left"], "resid_post.1@END")
interp.interchange(toy, judge, subspace=by_hand)

# %% [markdown]
# ## Found again by gradient
#
# Distributed alignment search turns a subspace until swapping it gives the predicted answers. It is fitted on some
# pairs and judged on others, and the same fit is made twice more where there is nothing to find: to answers drawn at
# random, and in the same network with random weights. A subspace that can be trained to do anything shows nothing.

# %%
find = interp.toys.equality_task(toy, n=128, seed=1, variable="left")
space = interp.align(toy, find, "resid_post.1@END", k=2, steps=40 if FAST else 100, seed=2)
interp.interchange(toy, judge, subspace=space)

# %%
space.plot()

# %% [markdown]
# A perfect score does not mean that the subspace *is* the one written down: any that tilts far enough towards it
# flips the answer. The angle between the two, in degrees:

# %%
space.angles(by_hand)

# %% [markdown]
# ## A language model: which place, not which name
#
# In indirect-object identification the model may work with the *position* of the repeated name or with the name
# itself. The source prompts here have other names, and the answer in the other place: if the position is swapped in at
# S2, the answer must become the clean prompt's *other* name; if the name were swapped in, it would be neither.

# %%
model = interp.load(MODEL)
task = interp.tasks.ioi(model, n=8 if FAST else 24, corruption="position")
task.show(1)

# %%
layers = interp.interchange(model, task, "resid_post.*@S2")
layers

# %% [markdown]
# In the first layers the site holds the token itself and little else, and swapping it in leaves the prompt without a
# repeated name. Then the accuracy rises to a peak in the middle layers: what stands there is mostly a place. From
# layer 20 on the answer no longer depends on S2, because END has read it.

# %%
names = interp.tasks.ioi(model, n=8 if FAST else 24, corruption="name")
interp.interchange(model, names, "resid_post.*@END")

# %% [markdown]
# With sources that differ in the *name* instead, the predicted answer is the source's own name. At END the swap gives
# it only late in the model, once the name has been fetched.

# %% [markdown]
# ## A probe is no interchange
#
# Whether a label can be *read* somewhere does not say that the model uses it there. A linear probe for the order of
# the two names, beside labels that mean nothing and beside the tokens alone:

# %%
prompts = interp.tasks.ioi(model, n=40 if FAST else 96, seed=3)
first = [order == "ABBA" for order in prompts.labels["order"]]
interp.probe(model, prompts, first, "resid_post.*@S2")

# %% [markdown]
# ## Try it
#
# `interp.align(model, task, "resid_post.17@S2", k=8)` looks for the place in eight directions of that stream (half a
# minute; three times that with its controls), and `interp.interchange(model, task.heldout(), subspace=...)` judges it.
# Your own hypothesis is a list of sources and of answers: `interp.tasks.pairs(model, clean=..., answers=...,
# source=..., swapped=...)`.
