# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["slide"]
# # Circuits: who writes the answer?
#
# "When Mary and John went to the store, John gave a drink to" ... A language model says " Mary". Somewhere inside, something has
# noticed that John comes twice, and something else has written the other name. In the next three hours you find out which parts those
# are, first with your own ten lines of code and then with a toolkit, and you learn when *not* to believe what you find.
#
# 180 minutes · beginner · eight exercises · two cores are enough

# %% [markdown]
# **You will be able to** write an activation patch by hand and say what it measures; split a logit difference over the heads that wrote
# it; follow one edge between two heads; say what a circuit is worth beside random ones; and give an example in which patching finds
# nothing although the part matters.
#
# **You should know** a little Python with PyTorch tensors, and that a transformer has layers with attention heads and MLPs, which all add
# to one stream of vectors (the *residual stream*).
#
# **How it works.** Each part begins with a prediction: write it down *before* you run the cell. An exercise ends in `check("circuits-1",
# answer)`, which tells you what went wrong if something did; do not round your answer, or keep three decimals. `hint("circuits-1")` helps, three times, and
# `solution("circuits-1")` shows a solution. Levels: ★ warm-up, ★★ the heart of it, ★★★ if you want more. What you did is kept in
# `workshop-progress.json` beside this notebook. Words are explained in `glossary.md`, addresses such as `"L*H*@END"` in `addresses.md`, both beside this notebook.
#
# | part | minutes |
# | --- | --- |
# | 1 Look | 20 |
# | 2 Patch, by hand | 40 |
# | 3 Patch, all heads at once | 10 |
# | *a break* | 15 |
# | 4 Who writes it? Direct logit attribution | 30 |
# | 5 Where patching is blind | 12 |
# | 6 One edge | 28 |
# | 7 A circuit, and what it is worth | 12 |
# | 8 What random circuits get, and why | 13 |

# %% [markdown] tags=["instructor"]
# **Before the class.** Run `interp doctor` on every laptop; the model takes 15 to 30 seconds to load, which is a good moment for the
# first slide. Everything else in this lesson takes seconds, and the evaluation in part 7 about ten.
#
# **The thread.** The lesson asks one question three times with sharper tools: *where* is the answer (patching), *who* writes it (direct
# attribution), *through which path* (path patching). Say this at the start and at each change of part.
#
# **If time is short** show the plots of parts 3 and 5 by demonstration, or the second half of part 8. Keep part 6: what part 4 suggests is tested only there. Do not leave out
# parts 5 and 8 either: they are what protects people from their own results. The break is in the 180 minutes, after part 3, when everybody has a map of heads on the screen.
#
# **The minutes** are for a class that says its predictions aloud and talks about them. They are estimates: one reader who knew nothing of the lesson did it alone, in about 150 minutes by their
# own estimate, and no class has been timed. Slow places: exercises 2, 4 and 6. If a part runs over, let fast people go on. Checks of one exercise need no other; but the cells after an exercise use
# names of earlier cells (`circuit`, `scores`, `judged` from part 7 in part 8).
#
# **If somebody is stuck:** a kernel that was restarted needs the first code cell again, `import matplotlib.pyplot as plt` for part 5 (it stands in part 2, in the cell that draws), and for part 8 the first cell of part 7. A hook name that does not exist is ignored in silence, which
# is TransformerLens' way: `name in model.hook_dict` tells. After three hints `hint` shows all three again. `begin("circuits")` gives fresh copies of everything if something was changed in place.

# %%
import torch

import interp
from interp.workshop import begin, check, hint, progress, solution

torch.set_grad_enabled(False)  # nothing is trained here: no tensor needs to remember its past
model, task = begin("circuits")  # the model, and four prompts with a corrupted twin each
progress("circuits")

# %%
task.show(4)

# %% [markdown] tags=["slide"]
# ## 1 Look
#
# A *clean* prompt repeats one name (the subject, at S1 and S2); the answer is the other name (IO, the indirect object). Its *corrupted*
# twin repeats the other name instead, so that the answer flips. Everything else is the same, token by token. That is what makes the
# comparison fair: whatever differs inside the model comes from the repeated name.
# (Two sentences, so that S2 does not always stand at the same place; S1+1 is the token after S1. You can forget the line "after the swap".)
#
# We measure one number: **logit(answer) − logit(wrong name)** at the last position, END.

# %% [markdown] tags=["instructor"]
# *Ask:* why a difference of two logits and not a probability? (It does not move when all names become more likely; it is linear in the
# final stream, which part 4 needs.)
#
# *What they see:* the lens' first guess at END is " Mary" from layer 29 on (at 28 it is " the"); L23H0 is a quick find for (c), with the button of the first tab. The tabs for
# patching, circuit and features are grey because they need two prompts or a dictionary. Exercise 1: 5.26, prompt by prompt 7.1, 4.9, 5.5, 3.5 (the corrupted prompts −3.32).
#
# *May go wrong:* people read the logits at the answer's own position, where the logits at position p guess the token at p + 1; or they index with all answers at every prompt.

# %% [markdown]
# *Predict: is the model sure? Write down a guess for the logit difference. 0 is undecided, 3 means odds of 20 to 1.*
#
# Write it down before you run the next cell, whose list of next tokens gives part of it away. Then look around for five minutes: change a name in the prompt, and find (a) what the model would say next, (b) in the tab with the *lens* (what the model would say if it stopped after each
# layer) from which layer on that is its first guess, and (c) one head that looks from the last token at " Mary". You need none of it below; it shows what kind of thing you are about to take
# apart. Tabs that need a second prompt or a dictionary are grey.

# %%
interp.widgets.explore(model, "When Mary and John went to the store, John gave a drink to").wait()

# %% [markdown]
# **Exercise 1 ★** Run the model on `task.clean` ([prompt, position] token ids) and compute the mean logit difference yourself.
# `model(tokens)` gives logits [prompt, position, token]; `task.answers` and `task.wrong` are token ids [prompt, 1].

# %%
### BEGIN SOLUTION
### STUB: logit_difference = ...
logits = model(task.clean)[:, -1]
difference = logits.gather(1, task.answers) - logits.gather(1, task.wrong)
logit_difference = difference.mean()
### END SOLUTION
check("circuits-1", logit_difference)

# %% [markdown] tags=["slide"]
# ## 2 Patch, by hand
#
# ![The clean run's activation at one layer and position is copied into the corrupted run](pictures/circuits.svg)
#
# Take an activation out of the clean run and put it into the corrupted run. If the answer comes back, the information was *there*: in
# that layer, at that position. This is **activation patching** (here *denoising*: clean into corrupted).

# %% [markdown]
# A hook is a function that the model calls with an activation and that may return another one:
#
# ```python
# def double_it(activation, hook):      # activation: [prompt, position, d_model]
#     return 2 * activation
#
# logits = model.run_with_hooks(tokens, fwd_hooks=[("blocks.20.hook_resid_pre", double_it)])
# ```
#
# The second argument must be called `hook`, the function must return the activation, and the name must be one of the model's: **a name that does not exist is ignored in silence**, so ask
# `"blocks.20.hook_resid_pre" in model.hook_dict` when nothing happens. `run_with_hooks` takes the hook off again. `_, cache = model.run_with_cache(tokens)` keeps every activation:
# `cache["blocks.20.hook_resid_pre"]`, the stream that layer 20 reads. `task.corrupted` are the corrupted twins, [prompt, position] like `task.clean`.
#
# *Predict: at S2, the repeated name, the clean and the corrupted prompt differ. If you patch the stream **at S2**, will it bring the answer
# back at layer 20? At layer 22? At layer 26? Write down three yes or no.*

# %% [markdown]
# **Exercise 2 ★★** For each of the layers 20, 22 and 26: put the clean stream (`hook_resid_pre`) at S2 into the corrupted run, and give the
# mean logit difference that comes out, a list of three numbers. `s2 = task.positions["S2"]` is the index of S2 in each prompt, [prompt]:
# `activation[torch.arange(4), s2]` is the vector of each prompt at its own S2.

# %%
### BEGIN SOLUTION
### STUB: patched = ...
_, clean_cache = model.run_with_cache(task.clean)
rows, s2 = torch.arange(len(task)), task.positions["S2"]
patched = []
for layer in (20, 22, 26):
    name = f"blocks.{layer}.hook_resid_pre"

    def put_clean(activation, hook):
        activation[rows, s2] = clean_cache[name][rows, s2]
        return activation

    logits = model.run_with_hooks(task.corrupted, fwd_hooks=[(name, put_clean)])[:, -1]
    patched.append((logits.gather(1, task.answers) - logits.gather(1, task.wrong)).mean())
### END SOLUTION
check("circuits-2", patched)

# %% [markdown]
# That was the method. `interp.patch` does the same at every place that an address names: a star is an axis, and a name after @ is a position, each prompt's own. It gives the *change*
# against the corrupted run; with `unit="fraction"` 0 is the corrupted run and 1 the clean one.

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.2))
for at in ("S1", "IO", "S2", "END"):
    restored = interp.patch(model, task, f"resid_pre.*@{at}", unit="fraction").values
    axes.plot(restored, marker="o", ms=3, label=at)
axes.set(xlabel="layer", ylabel="share of the answer restored")
axes.set_title("The stream at one position, clean into corrupted")
axes.legend()
figure.tight_layout()

# %% [markdown]
# Read it from left to right: up to layer 19 everything is at S2, from layer 24 on nearly everything is at END, and most of it moves in **two large steps**, in layer 20 and in layer 23. A small one comes first: in
# layer 19 S2 falls from 1.0 to .79, and END rises from −.03 to .07. Between the large steps a third of it is at S2 and half of it at END. (S1 and IO stay at zero: there the two prompts are the same token, and no information about the repeated name has reached them.)

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 2 gives 3.44, −0.23, −3.38: in shares .79, .36, −.01. Expect predictions of yes, no, no; layer 22 is "partly".
#
# *Point at the picture:* a small step and two large ones. From 19 to 20 S2 falls from 1.0 to .79, and END rises from −.03 to .07 (L19H2, the largest of its layer, restores .81 logits). From 20 to 21 S2 falls from .79 to .36, and END rises from .07 to .55 (that is L20H0, exercise 3); from 23 to 24 S2 falls from .34 to .05, and END rises from .57 to .85
# (layer 23, whose L23H3 reads S2). "So what kind of part could carry it?" Only attention moves anything between positions.
#
# *May go wrong:* `activation[:, s2]` indexes every prompt with every S2. Two templates are there so that the check notices. Hooks added with `add_hook` stay on the model (the check says so); the
# corrupted activation goes into the clean run. Somebody who patches S1 gets the corrupted run's number in each layer, with a perfect hook: before S2 the two prompts run alike.

# %% [markdown] tags=["slide"]
# ## 3 Patch, all heads at once
#
# The answer goes from S2 to END in layers 19 to 23, most of it in layers 20 and 23. Only attention heads move anything between positions. So: **which heads?**
#
# There are 30 × 9 = 270 of them, and `interp.patch(model, task, "L*H*@END")` patches what each of them writes at END.
#
# *Predict: how many of 270 heads matter? Write down a number.*

# %% [markdown]
# **Exercise 3 ★** Patch all heads at END, and plot the result with its `.plot()`. Name the three heads that bring most of the answer back: a list of
# three names such as "L4H2". (A result's `.top(3).labels` are names; but `top` ranks by *size*, whatever the sign, unless its `by` says otherwise.)

# %%
### BEGIN SOLUTION
### STUB: heads = ...
effect = interp.patch(model, task, "L*H*@END")
effect.plot(title="Logit difference restored by each head at END")
heads = effect.top(3, by="high").labels
### END SOLUTION
check("circuits-3", heads)

# %% [markdown]
# About ten of 270 heads matter, and not all of them help: two heads, L24H4 and L29H0, are nearly as blue as the best are red. Their clean output makes the answer *worse*, by 2.5 and 1.9 logits.
# Such *negative heads* are found in many models; a common guess is that they keep the model from being too sure.

# %% [markdown] tags=["instructor"]
# *Numbers:* L23H3 2.99, L20H0 2.84, L29H1 2.45, L23H0 1.06, L19H2 .81, L23H2 .72; L24H4 −2.47, L29H0 −1.95. *A question to expect:* "What are the blue ones?" (The corrupted prompt has
# an answer too, the other name. A head that pushes against whatever is about to be said loses from both.)
#
# *May go wrong:* `effect.top(3)` without `by="high"` ranks by size, and puts the negative head L24H4 (2.47 in size) before L29H1 (2.45). The check says so.
#
# *What the check cannot see:* by noising, or with all positions patched, the same three heads come first. Names alone do not say how they were found.

# %% [markdown] tags=["slide"]
# ## 4 Who writes it? Direct logit attribution
#
# The final stream is a *sum*: embedding + what each head wrote + what each MLP wrote. The logits are a linear read of that sum, after one norm.
# So the logit difference splits *exactly* into shares, one for each part (embedding, heads, MLPs):
#
# share of a head = (its write × gain ÷ scale of the stream) · (W_U[:, answer] − W_U[:, wrong])

# %% [markdown]
# *Predict: L20H0 brings back much of the answer. Does it write the name itself?*
#
# **Exercise 4 ★★** Compute the share of each head of layer 23 in the clean run at END (nine numbers, averaged over the prompts). A head's write is `z @ W_O`. You need
# the clean run's `cache["blocks.23.attn.hook_z"]` [prompt, position, head, d_head], `model.blocks[23].attn.W_O` [head, d_head, d_model], `model.W_U`
# [d_model, token], the gain `model.ln_final.weight` [d_model], and the scale `cache["ln_final.hook_scale"]` [prompt, position, 1]. `torch.einsum` keeps the axes in order:
# `torch.einsum("bhe,hed->bhd", z, W_O)` multiplies each head's z by its own W_O.

# %%
### BEGIN SOLUTION
### STUB: shares = ...
_, cache = model.run_with_cache(task.clean)
z = cache["blocks.23.attn.hook_z"][:, -1]
write = torch.einsum("bhe,hed->bhd", z, model.blocks[23].attn.W_O)
towards = (model.W_U[:, task.answers[:, 0]] - model.W_U[:, task.wrong[:, 0]]).T
normed = write * model.ln_final.weight / cache["ln_final.hook_scale"][:, -1][:, None]
shares = torch.einsum("bhd,bd->bh", normed, towards).mean(0)
### END SOLUTION
check("circuits-4", shares)

# %% [markdown]
# All 270 heads, by the toolkit, and L20H0 among them:

# %%
direct = interp.logit_attribution(model, task)
print(f"L20H0 writes {direct.sel(layer=20, head=0).values:.2f}")
print(f"all heads together {direct.values.sum():.2f}")
direct.plot(title="Logit difference that each head writes")

# %% [markdown]
# **The aha.** L20H0 brings back a third of the answer, yet it writes none of it. It does not say " Mary"; perhaps it tells *later heads where to look* (part 6 tests that). Two
# heads can look equally important in a patching map and do entirely different jobs.
#
# Three more things to see. All heads together write 3.15 of the 5.26 logits; MLPs and the embedding write the rest. L23H3 restores 2.99 and writes 1.48: a patch counts the clean write *minus* the
# corrupted one, which points the other way. And a difference has two ends: look at them one by one.

# %%
heads_to_see = ((23, 3), (23, 0), (23, 1), (23, 2), (29, 1))
sides = {side: interp.logit_attribution(model, task, toward=side) for side in ("answer", "wrong")}
for layer, head in heads_to_see:
    answer, wrong = (shown.values[layer, head] for shown in sides.values())
    print(f"L{layer}H{head}: writes {answer:+.2f} to the answer, {wrong:+.2f} to the wrong name")

# %% [markdown]
# So L23H3, the first of both lists, does not write the answer: it lowers *both* names, the wrong one by 2.0 and the right one by 0.5. It **suppresses the name that was repeated**. Of the five heads that we looked at, those that do write the answer
# are L29H1 (1.8), L23H0 (1.3), L23H1 (1.1) and L23H2 (1.0). A logit difference hides which of its two ends moved. (A logit counts here against the mean of all logits.)

# %% [markdown] tags=["instructor"]
# *The aha comes here; let it stand.* Ask the room what L20H0 could be doing before anybody scrolls on, and write the guesses down: part 6 tests one of them, and it fails.
#
# *Numbers:* exercise 4 gives .82, .47, .57, 1.48, .00, −.01, −.01, .37, .08. L20H0 writes .06. By direct attribution the first are L23H3 1.48, L29H1 1.05, L23H0 .82; the last are L29H0 −1.02 and L24H4 −.99.
#
# *May go wrong:* the norm. Dividing each write by its *own* size makes the shares not add up any more. And people who add up all heads think that they have a mistake: heads alone are not all parts.

# %% [markdown] tags=["slide"]
# ## 5 Where patching is blind
#
# Two ways to ask: **denoising** puts one clean value into the corrupted run (is it *enough*?), **noising** puts one corrupted value into the clean
# run (is it *needed*?). If a part were a switch of its own, the two would agree.
#
# Models have backups. Suppose two heads *a* and *b* both know the answer, and either is enough: the output is **a OR b**.
#
# *Predict: what does noising say about a?*

# %% [markdown]
# **Exercise 5 ★★** Clean is a = b = 1, corrupted a = b = 0. For the gates OR = max(a, b), AND = min(a, b), SUM = (a + b) / 2, compute the effect of
# patching *a* alone: by denoising (how much the output rises), and by noising (how much it falls; count a fall as positive). Give a
# table: rows OR, AND, SUM; columns denoising, noising.

# %%
### BEGIN SOLUTION
### STUB: effects = ...
gates = {"OR": max, "AND": min, "SUM": lambda a, b: (a + b) / 2}
effects = [[g(1, 0) - g(0, 0), g(1, 1) - g(0, 1)] for g in gates.values()]
### END SOLUTION
check("circuits-5", effects)

# %% [markdown]
# And in the model? Each dot is a head: to the right what it is enough for, upwards what is lost without it. (`interp.patch(..., direction="noising", unit="fraction")` gives what is *kept*, 1 is the
# clean run; so 1 minus it is lost.)

# %%
restored = interp.patch(model, task, "L*H*@END", unit="fraction").values
kept = interp.patch(model, task, "L*H*@END", direction="noising", unit="fraction").values
figure, axes = plt.subplots(figsize=(5.5, 4.4))
axes.scatter(restored, 1 - kept, s=14)
for layer, head in zip(*(abs(restored) > 0.07).nonzero()):
    spot = (restored[layer, head], 1 - kept[layer, head])
    axes.annotate(f"L{layer}H{head}", spot, xytext=(4, -9), textcoords="offset points", size=8)
axes.axline((0, 0), slope=1, color="grey", lw=1)
axes.set(xlabel="restored by denoising (share)", ylabel="lost by noising (share)")
axes.set_title("Denoising and noising, one dot a head")
figure.tight_layout()

# %% [markdown]
# The dots lie close to the line: on these prompts the two directions tell nearly the same story, and no head is a clear OR or AND. A little below the line are L23H3 (0.35 restored, 0.31 lost), L23H0 (0.12, 0.09) and
# L23H2 (0.08, 0.04): each is good enough for more than is lost without it, so they stand in for each other a little. L19H2 is above it (0.09, 0.19): more is lost without it than it can bring back alone. One does not know before one has looked: run both.

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 5 gives [[1, 0], [0, 1], [.5, .5]]: rows OR, AND, SUM, columns denoising, noising.
#
# *Ask:* where would a head of an OR be, good enough and yet not needed? (Below the line.) One of an AND? (Above it.)
#
# *Point at the picture:* L23H3, L23H0 and L23H2 just below the line (weak backups of each other); L19H2 .09 / .19 above it, the largest gap; L20H0 .33 / .34; L29H1 .29 / .28; the negative heads L24H4 −.29 / −.24 and L29H0 −.23 / −.22 at the lower left.
#
# *If somebody says* "then I just use both": yes, and with k backups you need pairs, triples ... there is no method that is never blind.

# %% [markdown] tags=["slide"]
# ## 6 One edge
#
# Perhaps L20H0 tells later heads where to look. Does it tell L23H3, through that head's **query**? *Path patching* changes what travels along this one
# edge, and nothing else.
#
# *Predict: L20H0 alone restores 2.8 logits. How many of them go through L23H3's query?*

# %% [markdown]
# **Exercise 6 ★★★** In the corrupted run, add to what L23H3's query reads at END the difference "clean minus corrupted" of what L20H0 writes there.
# Give the change of the mean logit difference. An edit of one thing that is read looks like this:
#
# ```python
# edit = interp.Intervention("L23H3.q_in@-1", lambda read, seen: read + something)   # both [prompt, 1, d_model]
# logits = interp.run(model, tokens, [edit]).logits
# ```
#
# What you add must have the axes [prompt, 1, d_model] as well: `vector[:, None]` makes them of [prompt, d_model]. `task.metric(logits)` is the logit difference of each prompt, what you computed in exercise 1.


# %%
### BEGIN SOLUTION
### STUB: edge = ...
def write(tokens):
    """What L20H0 writes at END."""
    _, cache = model.run_with_cache(tokens)
    return cache["blocks.20.attn.hook_z"][:, -1, 0] @ model.blocks[20].attn.W_O[0]


sent = write(task.clean) - write(task.corrupted)
edit = interp.Intervention("L23H3.q_in@-1", lambda read, seen: read + sent[:, None])
logits = interp.run(model, task.corrupted, [edit]).logits
edge = task.metric(logits).mean() - task.metric(model(task.corrupted)).mean()
### END SOLUTION
check("circuits-6", edge)

# %% [markdown]
# Hardly anything, and with the wrong sign: L20H0 does not steer L23H3 through its query. Whom, then? All nine heads of the layer:

# %%
for head in range(9):
    reads = f"L23H{head}.q_in@END"
    print(f"{reads}: {interp.path_patch(model, task, 'L20H0', reads).mean().values:+.2f}")

# %% [markdown]
# **L23H0** is the answer: its query alone carries 1.2 of the 2.8 logits that L20H0 restores, and H1, H2 and H7 of the layer are steered as well. (The edges need not add up: a later head can take something back, and
# what one path does depends on the others.) And what does L23H3 depend on? Patch the head, its pattern alone, and at S2 the values that it reads:

# %%
for what in ("L23H3@END", "L23H3.pattern", "L23KV1.v@S2"):
    print(f"{what}: {interp.patch(model, task, what).mean().values:+.2f}")

# %% [markdown]
# L23H3 looks from END at S2 in both runs alike (0.51 of its attention in the clean run, 0.53 in the corrupted one): its pattern makes next to no difference, and nobody has to steer it. What it *reads* at S2 does: the values of its KV
# head at that one position bring back 3.2 logits. Two stories in one layer: heads that are told where to look, and a head that always looks at the same place and finds something else there.

# %% [markdown] tags=["instructor"]
# *The point:* a story ("L20H0 steers L23H3, the head at the top of both maps") that fits two maps can still be wrong, and one edge tells.
#
# *Numbers:* exercise 6 gives −.18. The nine queries of layer 23: H0 1.22, H2 .99, H7 .93, H1 .64, H4 .22, H5 .15, H3 −.18. L23H3: the head 2.99, its pattern −.07, the values at S2 3.21 (KV head 1 serves heads 3, 4, 5); on held-out prompts 3.81, .05, 4.02.
#
# *May go wrong:* shapes. `read` is [prompt, 1, d_model], and adding [prompt, d_model] makes [prompt, prompt, d_model]: the last line of the long error says so.

# %% [markdown] tags=["slide"]
# ## 7 A circuit, and what it is worth
#
# A circuit is a set of edges that is said to do the task. Test it: keep its edges, cut *all* others (they carry the corrupted value), and see how
# much of the behaviour is left.
#
# **Faithfulness** = (circuit − corrupted) / (clean − corrupted): 0 all edges cut, 1 the whole model.
#
# Two controls, always: prompts that did not choose the circuit, and *random circuits of the same size*.

# %%
# a score for each of 70,651 edges, by edge attribution patching (eap): one run backwards
scores = interp.discover(model, task, method="eap")
circuit = interp.Circuit.top(scores, 500)
judged = interp.evaluate(model, task.heldout(), circuit, sets=5)  # shown after exercise 7
print(len(circuit), "of", len(circuit) + len(~circuit), "edges")

# %% [markdown]
# *Predict the faithfulness of these 500 of 70,651 edges: 0.1, 0.5, 0.9?*
#
# **Exercise 7 ★★★** Compute the faithfulness on the held-out prompts. `judged.sel(measure="clean").examples` has the logit difference of each prompt in the clean
# run; the measures "corrupted" and "circuit" have those of the other two. (Call nothing `circuit`: you need the one that is there in part 8.)

# %%
### BEGIN SOLUTION
### STUB: faithfulness = ...
whole, nothing, some = (
    judged.sel(measure=name).examples.mean() for name in ("clean", "corrupted", "circuit")
)
faithfulness = (some - nothing) / (whole - nothing)
### END SOLUTION
check("circuits-7", faithfulness)

# %%
judged

# %%
sizes = (100, 300, 500, 1000)
interp.faithfulness_curve(model, task.heldout(), scores, sizes=sizes, sets=2).plot()

# %% [markdown]
# A hundred edges cover a tenth of the way from the corrupted to the clean run, 300 edges cover more than half of it, and 1,000 edges three quarters; random circuits of these sizes cover none of it. `judged` says more. The circuit *alone* prefers the right name by 0.8 logits, where the
# model prefers it by 4.1: it is 63 % of the way from −4.7, and still a weak preference. Completeness 1.00 says that without these 500 edges nothing is left. And the interval, from four prompts, is wide.

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 7 gives .63 (95 % interval .51 to .70). Clean 4.08, corrupted −4.71, the circuit .81. The curve: .11, .57, .63, .74 for 100, 300, 500, 1,000 edges.
#
# *Ask:* four prompts: would you publish this? (Look at the interval that `judged` prints.) Then: random circuits got 0.000, how impressed are you? Take answers, and go on
# to part 8.
#
# *If somebody's later cells fail* with "has no attribute 'prune'": they called a number `circuit`. Run the first cell of this part again.
#
# *May go wrong:* a ratio for each prompt, and then the mean. One prompt with a small denominator rules it.

# %% [markdown] tags=["slide"]
# ## 8 What random circuits get, and why
#
# Random circuits of 500 edges restore *nothing*. That sounds like a hard test that our circuit has passed. Is it?
#
# An edge does something only if it lies on a **path**: something flows into it from the embedding, and what it changes reaches the logits.
#
# *Predict: of 500 random edges, how many lie on a path from the embedding to the logits? And of our circuit's 500?*

# %% [markdown]
# (`~circuit` is all other edges, `circuit | ~circuit` are all.)
#
# **Exercise 8 ★★** `circuit.prune()` is the same circuit without its loose ends, and `len(...)` counts edges. Compute the share of the 500 edges that lie on a path, three
# numbers: (a) of our circuit; (b) of random circuits of its size, the mean over the five that `random_circuits(circuit, sets=5, seed=0, match="size")` gives; (c) the
# same with `match="layers"`, where a random circuit has as many edges into each layer as ours.

# %%
from interp.methods.circuits import random_circuits

### BEGIN SOLUTION
### STUB: shares = ...
shares = [len(circuit.prune()) / 500]
for match in ("size", "layers"):
    drawn = random_circuits(circuit, sets=5, seed=0, match=match)
    shares.append(sum(len(one.prune()) for one in drawn) / 2500)
### END SOLUTION
check("circuits-8", shares)

# %% [markdown]
# So beating random edges shows that a circuit is *connected*. A control that is hard to beat has to be connected, too. Here is one: 500 random edges among those that begin
# at a part where one of ours begins and end where one of ours ends. The heads are ours, the wiring is not. They have fewer edges on a path than our 500, so beside them stand circuits of ours
# that are smaller:

# %%
import random

writers, readers = ({edge[i] for edge in circuit} for i in (0, 1))
between = [edge for edge in circuit | ~circuit if edge[0] in writers and edge[1] in readers]
drawn = [random.Random(seed).sample(between, 500) for seed in (0, 1, 2)]
tried = {f"rewired {i}": interp.Circuit.of(edges, like=circuit) for i, edges in enumerate(drawn)}
tried |= {f"our best {size}": interp.Circuit.top(scores, size) for size in (150, 200)}
for name, one in tried.items():
    got = interp.evaluate(model, task.heldout(), one, sets=1).sel(measure="faithfulness")
    print(f"{name}: {len(one.prune())} edges on a path, faithfulness {got.values:.2f}")

# %% [markdown]
# With 100 to 200 edges on a path, between the very heads of the circuit, still nothing comes back. Our own best 150 and 200 edges, with about as many on a path, bring back .14 and .52. *That* is worth reporting: it matters which edges, and not
# only which heads.

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 8 gives .846, .018, .054: 423 of our 500 edges are on a path, and about 9 and 27 of the random ones.
#
# *The point:* a control is as good as it is hard. "0.000 at random" is true and says next to nothing. *Ask:* which control would you want for a circuit of *heads*? (Other heads of the
# same layers, as many edges, connected.) And how many random circuits does it take to say "better than 95 of 100"? (At least 100, better more.)
#
# *May go wrong:* people join the five random circuits and prune the union, whose edges connect each other.

# %% [markdown] tags=["slide"]
# ## What to remember
#
# - A patch answers "is it enough *here*, for *this* contrast". Say clean, corrupted, place and metric, or the number means nothing.
# - *Who writes* and *who is needed* can be different heads. A patching map shows both in the same colour; an edge tells them apart.
# - Denoising misses ANDs, noising misses ORs. Where they disagree there is something to find.
# - A circuit counts on prompts that did not choose it, beside random circuits that are *connected*: loose edges are easy to beat.

# %% [markdown]
# ## To take home: a question that nobody has answered
#
# L23H3 looks at S2 in both runs alike, and what it reads there makes the difference. Where does that come from? Which parts before layer 23 write at S2 "this name is here for the second time", is it a
# *small* set of edges into the values of L23's second KV head, and is it the same set in other templates? What would be a fair random control for a set of edges into one head?
#
# Further reading: Wang et al. 2022 (arXiv 2211.00593), the circuit for these sentences in GPT-2; Heimersheim and Nanda 2024 (arXiv 2404.15255), how to use
# and interpret activation patching.

# %%
progress("circuits")
