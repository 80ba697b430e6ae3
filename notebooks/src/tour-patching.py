# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of patching: what is enough, what is needed, and by which path
#
# Activation patching asks one question in many places: *if this part of the model had seen the other prompt, what
# would the answer be?* This tour shows the forms the question takes, and where two of them disagree. Every number
# below is computed here; nothing is chosen on it and then judged on it again, since nothing here is judged.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp

model = interp.load(MODEL)
task = interp.tasks.ioi(model, n=6 if FAST else 16)
task.show(2)

# %% [markdown]
# The clean prompt repeats the subject, its corrupted twin repeats the indirect object: one token differs (S2), and
# with it the right answer. The measure is the logit difference between the two names: far above zero on the clean
# prompts, far below on the corrupted ones.

# %% [markdown]
# ## Places: layer by position
#
# One cell of this map is one run of the model: corrupted prompt, clean residual stream at one layer and one
# position. 0 is the corrupted run, 1 the clean run, and nothing is clipped to that range. Columns before S2 are
# exactly zero: both prompts are the same up to there, so nothing *can* change.

# %%
stream = interp.patch(model, task, "resid_pre.*@*", unit="fraction")
stream

# %% [markdown]
# The answer is decided at S2 in the early layers and has moved to END in the late ones. Who carries it across?
# Attention outputs move things between positions, MLP outputs only change them in place.

# %%
interp.patch(model, task, "attn.*@*", unit="fraction")

# %%
interp.patch(model, task, "mlp.*@*", unit="fraction")

# %% [markdown]
# The one strong MLP cell is layer 0 at S2. It is no discovery about names: in this model the first MLP rewrites the
# token's embedding, so putting it in from the clean run is close to putting in the clean *token*.

# %% [markdown]
# ## Enough or needed: denoising against noising
#
# *Denoising* puts clean activations into the corrupted run: what is **enough** to bring the answer back? *Noising*
# puts corrupted activations into the clean run: what is **needed** for it? In a chain of single steps the two agree.
# Where two heads do the same work they do not: either is enough, neither is needed (a logical OR); where an answer
# needs both, each is needed and neither is enough (an AND).

# %%
enough = interp.patch(model, task, "L*H*", unit="fraction")
needed = interp.patch(model, task, "L*H*", direction="noising", unit="fraction")
enough

# %% [markdown]
# Noising is 1 where the clean run is unharmed, so its loss is one minus that. Heads above zero in the difference
# below bring back more than their absence takes away (something makes up for them); heads below zero are needed more
# than they are enough (they work together with something).

# %%
loss = 1 - needed
gap = enough - loss
gap.top(5)

# %% [markdown]
# ## Sets: one at a time is not all at once
#
# Effects of single heads do not add up. Here are the strongest heads one by one, and, as the last set, together.

# %%
best = enough.top(4).labels
together = interp.patch(model, task, [[h] for h in best] + [best], unit="fraction")
together

# %%
interp.methods.ablation.pairwise_ablation(model, task, best)

# %% [markdown]
# A pair's *interaction* is what ablating both changes beyond the sum of each alone. Below zero: each covers for the
# other, and one ablation alone shows too little. Above zero: they lie on one path, and cutting it twice costs no more
# than once; the two routes below explain which pairs are which.

# %% [markdown]
# ## Paths: from which head to which input
#
# Head patching says that a head matters, not to whom. Path patching changes what **one receiver** reads of **one
# sender**, and leaves everything else as it was. First, who speaks to the logits directly?

# %%
to_logits = interp.path_patch(model, task, "L*H*", "logits.in", unit="fraction")
to_logits

# %% [markdown]
# A head has three inputs. Its **query** says what it looks for, at END; the **keys** and **values** say what it finds,
# at S2 or elsewhere. Keys and values belong to KV heads, which three query heads share here: that is how the model
# is built, so that is what can be patched.

# %%
queries = interp.patch(model, task, "L*H*.q@END", unit="fraction")
values = interp.patch(model, task, "L*KV*.v@S2", unit="fraction")
queries.top(3)

# %%
values.top(3)

# %%
interp.patch(model, task, "L*KV*.k@S2", unit="fraction").top(3)

# %% [markdown]
# Two routes. One goes through a *value*: the head that writes most, L23H3, looks at S2 whatever name stands there
# and hands on what it finds (its KV head is L23KV1; its query makes no difference). The other goes through a *query*:
# L23H0 is told at END where to look. By whom?

# %%
steered = queries.top(1, by="high").labels[0].replace(".q", ".q_in")
interp.path_patch(model, task, "L*H*", steered, unit="fraction").top(4)

# %% [markdown]
# Two heads write into that query: the S-inhibition heads of the first notebook. And who writes what the value
# carries? Directly, and with everything on the way recomputed:

# %%
carried = values.top(1, by="high").labels[0].replace(".v", ".v_in")
direct = interp.path_patch(model, task, "mlp.*", carried, unit="fraction")
through = interp.path_patch(model, task, "mlp.*", carried, through="all", unit="fraction")
direct.top(3)

# %%
through.top(3)

# %% [markdown]
# It is the token itself again, as the first MLP writes it: most of it arrives directly, 23 layers later, the rest
# through what other parts add. `through="mlps"` lies between the two; it is what the IOI paper used.

# %% [markdown]
# ## A quick guess, and when it fails
#
# Attribution patching replaces all runs by one gradient: the effect of a patch is estimated as (clean activation
# minus corrupted activation) times the slope of the metric. That is a straight line through a curved function, and
# the table says where it misses: a head whose effect is large may be estimated as nearly nothing.

# %%
exact = interp.patch(model, task, "L*H*")
guess = interp.attribution_patch(model, task, "L*H*")
interp.methods.patching.attribution_error(exact, guess)

# %% [markdown]
# For the residual stream of early layers the line is far off: a whole token's worth of change goes through every
# softmax and norm above it.

# %%
exact_stream = interp.patch(model, task, "resid_pre.*@S2")
guess_stream = interp.attribution_patch(model, task, "resid_pre.*@S2")
interp.methods.patching.attribution_error(exact_stream, guess_stream)

# %% [markdown]
# Integrated gradients follow the curve in a few steps instead of one: the size is nearly right then, the order of
# layers that hardly differ is not.

# %%
steps = interp.attribution_patch(model, task, "resid_pre.*@S2", method="ig", steps=8)
interp.methods.patching.attribution_error(exact_stream, steps)

# %% [markdown]
# ## Noise, or another token?
#
# Causal tracing corrupts the subject with noise instead of another name. Noise leaves the prompts the model was
# trained on, so it can show parts of the model that only repair damage. The two maps side by side:

# %%
interp.causal_trace(model, task, "resid_pre.*@*", subject="S2", samples=2 if FAST else 6)

# %% [markdown]
# ## Try it
#
# Put your own places in: `interp.patch(model, task, "L19KV*.k")` patches keys (which three query heads share),
# `interp.patch(model, task, "mlp.0.post#*@S2")` single neurons, `metric="rank"` or `interp.methods.runs.kl_metric(model, task)` judge
# by something else, `direction="noising"` turns every question around.
