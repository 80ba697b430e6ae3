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
# "When Mary and John went to the store, John gave a drink to" ... Every language model says " Mary". Somewhere inside, something has
# noticed that John comes twice, and something else has written the other name. In the next three hours you find out which parts those
# are, first with your own ten lines of code and then with a toolkit, and you learn when *not* to believe what you find.
#
# 180 minutes · beginner · eight exercises · two cores are enough

# %% [markdown]
# **You will be able to** write an activation patch by hand and say what it measures; split a logit difference over the heads that wrote
# it; follow one edge between two heads; say what a circuit is worth beside random ones; and name a case in which patching finds nothing
# although the part matters.
#
# **You should know** a little Python with PyTorch tensors, and that a transformer has layers with attention heads and MLPs, which all add
# to one stream of vectors (the *residual stream*).
#
# **How it works.** Each part begins with a prediction: write it down *before* you run the cell. An exercise ends in `check("circuits-1",
# answer)`, which tells you what went wrong if something did. `hint("circuits-1")` helps, three times, and `solution("circuits-1")` shows a
# solution. Levels: ★ warm-up, ★★ the heart of it, ★★★ if you want more. What you did is kept in `workshop-progress.json` beside this
# notebook.
#
# | part | minutes |
# | --- | --- |
# | 1 Look | 20 |
# | 2 Patch, by hand | 40 |
# | 3 Patch, all heads at once | 15 |
# | 4 Who writes it? Direct logit attribution | 30 |
# | 5 Where patching is blind | 20 |
# | 6 One edge | 25 |
# | 7 A circuit, and what it is worth | 15 |
# | 8 What random circuits get, and why | 15 |

# %% [markdown] tags=["instructor"]
# **Before the class.** Run `interp doctor` on every laptop; the model takes 15 to 30 seconds to load, which is a good moment for the
# first slide. Everything else in this lesson takes seconds, and the evaluation in part 7 about ten.
#
# **The thread.** The lesson asks one question three times with sharper tools: *where* is the answer (patching), *who* writes it (direct
# attribution), *through which path* (path patching). Say this at the start and at each change of part.
#
# **If time is short** leave out part 6. Do not leave out parts 5 and 8: they are what protects people from their own results. A break of fifteen minutes fits
# after part 3, when everybody has a map of heads on the screen.
#
# **The minutes** are for a class that says its predictions aloud and talks about them, which takes about a third of each part; somebody who reads alone is done in a bit more than two hours. They are
# estimates: every part was read and every answer written by one who knew the lesson, and no class has been timed. If a part runs over, let fast people go on: each exercise stands by itself, and nothing later needs an earlier
# answer.

# %%
import torch

import interp
from interp.workshop import begin, check, hint, progress, solution

torch.set_grad_enabled(False)  # nothing is trained here: no tensor needs to remember its past
model, task = begin("circuits")  # the model, and four prompts with a corrupted twin each
progress("circuits")

# %%
task.show()

# %% [markdown] tags=["slide"]
# ## 1 Look
#
# A *clean* prompt repeats one name (the subject, at S1 and S2); the answer is the other name (IO, the indirect object). Its *corrupted*
# twin repeats the other name instead, so that the answer flips. Everything else is the same, token by token. That is what makes the
# comparison fair: whatever differs inside the model comes from the repeated name.
#
# We measure one number: **logit(answer) − logit(wrong name)** at the last position, END.

# %% [markdown] tags=["instructor"]
# *Ask:* why a difference of two logits and not a probability? (It does not move when all names become more likely; it is linear in the
# final stream, which part 4 needs.)
#
# *Usually goes wrong:* people read the logits at the answer's own position. The logits at position p guess the token at p + 1.

# %% [markdown]
# *Before you go on: is the model sure? Write down a guess for the logit difference. 0 is undecided, 3 means odds of 20 to 1.*
#
# Then look around for five minutes: change a name in the prompt, and find (a) what the model would say next, (b) from which layer on that is its first guess, and
# (c) one head that looks from the last token at " Mary". You need none of it below; it shows what kind of thing you are about to take apart.

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
# `run_with_hooks` takes the hook off again. `_, cache = model.run_with_cache(tokens)` keeps every activation:
# `cache["blocks.20.hook_resid_pre"]`, the stream that layer 20 reads. `task.corrupted` are the corrupted twins, [prompt, position] like `task.clean`.
#
# *Predict: at S2, the repeated name, the clean and the corrupted prompt differ. If you patch the stream **at S2**, will it bring the answer
# back at layer 20? At layer 22? At layer 26? Write down three yes or no.*

# %% [markdown]
# **Exercise 2 ★★** For each of the layers 20, 22 and 26: put the clean stream (`hook_resid_pre`) at S2 into the corrupted run, and give the
# mean logit difference that comes out, a list of three numbers. `task.positions["S2"]` is the index of S2 in each prompt, [prompt]: `activation[torch.arange(4), s2]` is the
# vector of each prompt at its own S2.

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
# That was the method. `interp.patch` does the same at every place that an address names, and draws it. A star is an axis:

# %%
interp.patch(model, task, "resid_pre.*@*", unit="fraction").plot(
    title="Share of the answer restored"
)

# %% [markdown] tags=["instructor"]
# *Point at the picture:* one bright column at S2 until layer 20, one at END from layer 24 on, nothing in between. The information makes one
# jump, from S2 to END. "So what kind of part could carry it?" Only attention moves anything between positions.
#
# *Usually goes wrong:* `activation[:, s2]` indexes every prompt with every S2. In these four prompts S2 stands at the same place, so it happens to be right, and the
# check cannot tell; with prompts of several lengths it is wrong and nothing says so. Mention it. Hooks added with `add_hook` stay on the model
# (the check says so); the corrupted activation goes into the clean run.

# %% [markdown] tags=["slide"]
# ## 3 Patch, all heads at once
#
# The answer jumps from S2 to END between layers 20 and 24. Only attention heads move anything between positions. So: **which heads?**
#
# There are 30 × 9 = 270 of them, and `interp.patch(model, task, "L*H*@END")` patches what each of them writes at END.
#
# *Predict: how many of 270 heads matter? Write down a number.*

# %% [markdown]
# **Exercise 3 ★** Patch all heads at END, and draw the result with its `.plot()`. Name the three heads that bring most of the answer back.

# %%
### BEGIN SOLUTION
### STUB: heads = ...
effect = interp.patch(model, task, "L*H*@END")
effect.plot(title="Logit difference restored by each head at END")
heads = effect.top(3, by="high").labels
### END SOLUTION
check("circuits-3", heads)

# %% [markdown] tags=["slide"]
# ## 4 Who writes it? Direct logit attribution
#
# The final stream is a *sum*: embedding + what each head wrote + what each MLP wrote. The logits are a linear read of that sum, after one norm.
# So the logit difference splits *exactly* into shares, one for each head:
#
# share of a head = (its write × gain ÷ scale of the stream) · (W_U[answer] − W_U[wrong])

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
print("L20H0 writes", direct.sel(layer=20, head=0))
direct.plot(title="Logit difference that each head writes")

# %% [markdown]
# **The aha.** L20H0 brings back more than a third of the answer, yet it writes none of it. It does not say " Mary"; it tells *later heads where to look*. Two
# heads can look equally important in a patching map and do entirely different jobs.

# %% [markdown] tags=["instructor"]
# *The aha comes here; let it stand.* Ask the room what L20H0 could be doing before anybody scrolls on. (It moves "John was the one who came
# twice" to END, and L23H3 uses that in its query.)
#
# *Usually goes wrong:* the norm. Dividing each write by its *own* size makes the shares not add up any more.

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
# And in the model? Each dot is a head: to the right what it is enough for, upwards what is lost without it.

# %%
import matplotlib.pyplot as plt

enough = interp.patch(model, task, "L*H*@END", unit="fraction").values.ravel()
kept = interp.patch(model, task, "L*H*@END", direction="noising", unit="fraction").values
figure, axes = plt.subplots(figsize=(5, 4))
axes.scatter(enough, 1 - kept.ravel(), s=14)
axes.axline((0, 0), slope=1, color="grey", lw=1)
axes.set(xlabel="restored by denoising (share)", ylabel="lost by noising (share)")
axes.set_title("Denoising and noising, one dot a head")
figure.tight_layout()

# %% [markdown] tags=["instructor"]
# *Ask:* a dot far below the line is good enough and yet not needed: what is it? (Part of an OR: it has a backup.) Above the line: part of an AND.
#
# *If somebody says* "then I just use both": yes, and with k backups you need pairs, triples ... there is no method that is never blind.

# %% [markdown] tags=["slide"]
# ## 6 One edge
#
# L20H0 tells later heads where to look. Does it tell L23H3, through that head's **query**? *Path patching* changes what travels along this one
# edge, and nothing else.
#
# *Predict: L20H0 alone restores more than 3 logits. How many of them go through L23H3's query?*

# %% [markdown]
# **Exercise 6 ★★★** In the corrupted run, add to what L23H3's query reads at END the difference "clean minus corrupted" of what L20H0 writes there.
# Give the change of the mean logit difference. An edit of one thing that is read looks like this:
#
# ```python
# edit = interp.Intervention("L23H3.q_in@-1", lambda read, seen: read + something)   # read: [prompt, 1, d_model]
# logits = interp.run(model, tokens, [edit]).logits
# ```
#
# `task.metric(logits)` is the logit difference of each prompt, what you computed in exercise 1.


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
# Hardly anything, and with the wrong sign: the strongest writer is *not* steered by L20H0. Who is, then? Compare several heads' queries:

# %%
for receiver in ("L22H5", "L23H0", "L23H3", "L24H4", "L29H1"):
    print(receiver, interp.path_patch(model, task, "L20H0", f"{receiver}.q_in@END").mean())

# %% [markdown] tags=["instructor"]
# *The point:* a story ("L20H0 steers L23H3, the strongest writer") that fits two maps can still be wrong, and one edge tells. L23H0's query carries about half
# of L20H0's effect: that is a circuit of two heads, found by hand. *Ask:* where is the other half? (Other receivers, MLPs, longer paths.)

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
scores = interp.discover(model, task, method="eap")  # a score for each of 70,651 edges
circuit = interp.Circuit.top(scores, 500)
judged = interp.evaluate(model, task.heldout(), circuit, sets=5)  # shown after exercise 7
print(len(circuit), "of", len(circuit) + len(~circuit), "edges")

# %% [markdown]
# *Before you compute it: the circuit has 500 of 70,651 edges. Which faithfulness would surprise you?*
#
# **Exercise 7 ★★★** Compute the faithfulness on the held-out prompts. `judged.sel(measure="clean").examples` has the logit difference of each prompt in the clean
# run; the measures "corrupted" and "circuit" have those of the other two.

# %%
### BEGIN SOLUTION
### STUB: faithfulness = ...
clean, corrupted, kept = (
    judged.sel(measure=name).examples.mean() for name in ("clean", "corrupted", "circuit")
)
faithfulness = (kept - corrupted) / (clean - corrupted)
### END SOLUTION
check("circuits-7", faithfulness)

# %%
judged

# %%
interp.faithfulness_curve(model, task.heldout(), scores, sizes=(100, 300, 1000), sets=2).plot()

# %% [markdown] tags=["instructor"]
# *Ask:* four prompts: would you publish this? (Look at the interval that `judged` prints.) Then: random circuits got 0.000, how impressed are you? Take answers, and go on
# to part 8.
#
# *Usually goes wrong:* a ratio for each prompt, and then the mean. One prompt with a small denominator rules it.

# %% [markdown] tags=["slide"]
# ## 8 What random circuits get, and why
#
# Random circuits of 500 edges restore *nothing*. That sounds like a hard test that our circuit has passed. Is it?
#
# An edge does something only if it lies on a **path**: something flows into it from the embedding, and what it changes reaches the logits.
#
# *Predict: of 500 random edges, how many lie on a path from the embedding to the logits? And of our circuit's 500?*

# %% [markdown]
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
# at a part where one of ours begins and end where one of ours ends. The heads are ours, the wiring is not:

# %%
import random

writers, readers = ({edge[i] for edge in circuit} for i in (0, 1))
between = [edge for edge in circuit | ~circuit if edge[0] in writers and edge[1] in readers]
for seed in (0, 1, 2):
    rewired = interp.Circuit.of(random.Random(seed).sample(between, 500), like=circuit)
    got = interp.evaluate(model, task.heldout(), rewired, sets=1).sel(measure="faithfulness")
    print(len(rewired.prune()), "of 500 edges on a path:", got)

# %% [markdown]
# Now more than a hundred edges are on a path, between the very heads of the circuit, and still hardly anything comes back. *That* is worth reporting: which edges, and not only
# which heads.

# %% [markdown] tags=["instructor"]
# *The point:* a control is as good as it is hard. "0.000 at random" is true and says next to nothing. *Ask:* which control would you want for a circuit of *heads*? (Other heads of the
# same layers, as many edges, connected.) And how many random circuits does it take to say "better than 95 of 100"?
#
# *Usually goes wrong:* people join the five random circuits and prune the union, whose edges connect each other.

# %% [markdown] tags=["slide"]
# ## What to remember
#
# - A patch answers "is it enough *here*, for *this* contrast". Say clean, corrupted, place and metric, or the number means nothing.
# - *Who writes* and *who decides* are different heads. A patching map shows both in the same colour; an edge tells them apart.
# - Denoising misses ANDs, noising misses ORs. Where they disagree there is something to find.
# - A circuit counts on prompts that did not choose it, beside random circuits that are *connected*: loose edges are easy to beat.

# %% [markdown]
# ## To take home: a question that nobody has answered
#
# L23H3 writes more of the answer than any other head, and L20H0 does not tell it where to look. What does? Is there a *small* set of edges into L23H3 that
# carries most of what it needs, and is it the same set in other templates? What would be a fair random control for a set of edges into one head?
#
# Further reading: Wang et al. 2022 (arXiv 2211.00593), the circuit for these sentences in GPT-2; Heimersheim and Nanda 2024 (arXiv 2404.15255), how to use
# and interpret activation patching.

# %%
progress("circuits")
