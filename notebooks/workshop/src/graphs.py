# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["slide"]
# # Attribution graphs: a picture of one answer, and what it is worth
#
# An attribution graph shows which features made a model's answer to one prompt, and which features made those. It looks like an explanation. How much of the model is in it? Where do its edges come
# from? And does the model do what the graph says?
#
# 90 minutes · intermediate · five exercises · two cores are enough

# %% [markdown]
# **You will be able to** say what a graph's completeness means and compute it; prune a graph by hand; compute an edge from frozen weights, without any run; predict an intervention from a graph, ask the
# model, and say why the two part.
#
# **You should know** what an attention pattern, an MLP and a sparse autoencoder are (the lessons *Attention is strange* and *Features and learning* are enough), and a little Python with PyTorch and NumPy.
#
# **How it works.** Each part begins with a prediction: write it down *before* you run the cell. An exercise ends in `check("graphs-1", answer)`, which tells you what went wrong if something did; do not
# round your answer, or keep three decimals. `hint("graphs-1")` helps, three times, and `solution("graphs-1")` shows a solution. Levels: ★ warm-up, ★★ the heart of it, ★★★ if you want more. What you did
# is kept in `workshop-progress.json` beside this notebook. Words are explained in `glossary.md`, beside this notebook.
#
# | part | minutes |
# | --- | --- |
# | 1 How much of the model is in the graph? | 20 |
# | 2 Pruning | 15 |
# | 3 An edge by hand | 25 |
# | 4 A prediction | 15 |
# | 5 Does the model agree? | 15 |

# %% [markdown] tags=["instructor"]
# **Before the class.** Run `interp doctor` on every laptop. This lesson needs no language model: a transformer of two layers and two transcoders are trained in the first cell, in about ten seconds, once; they are
# kept in the cache of each machine.
#
# **The thread.** Two exercises on paper (1, 2) make the numbers of a graph a matter of arithmetic. The third shows that an edge is a product of weights. The last two ask the model, and there the graph is
# sometimes wrong, even in sign: leave time for that.
#
# **If time is short** leave out exercise 4: exercise 5 stands by itself. The minutes are an estimate; no class has been timed.
#
# **Numbers** may differ in the last digits between machines, because the small model is trained on each; the checks compute their answers from the model at hand.

# %%
import numpy as np
import torch

import interp
from interp.workshop import begin, check, hint, progress, solution

# a small transformer, the attribution graph of one prompt, and what the exercises work with: names,
# kinds, effects and share (1, 2), target, embed, pattern, OV, scale and encoder (3), answer,
# feature (4) and features (5)
model, graph, data = begin("graphs")
progress("graphs")

# %% [markdown] tags=["slide"]
# ## 1 How much of the model is in the graph?
#
# ![A graph on paper: two tokens, five features, two errors, and a logit](pictures/graphs.svg)
#
# Nodes are tokens, features (latents of a *transcoder*, which stands in for an MLP), the *errors* that the transcoders leave out, and logits. An edge is a direct effect; what enters a node adds up to its
# value. Dashed lines lower their target.

# %% [markdown]
# The same graph as a table: row *target*, column *source*.

# %%
print("      " + "".join(f"{name:>6}" for name in data.names))
for name, row in zip(data.names, data.effects):
    print(f"{name:>6}" + "".join(f"{x:6.1f}" if x else "     ." for x in row.tolist()))

# %% [markdown]
# *Completeness* asks of every node: which share of its inputs is no error? Inputs count by their size, and each node counts by its *influence* on the logit.
#
# Influence follows shares back from the logit: y takes a share S[y, i] from node i, which takes S[i, j] from node j. So the influence of j is S[y, j] + Σ S[y, i] S[i, j] + ..., over paths of every length; y
# itself counts 1.
#
# *Predict: three tenths of what enters y comes from the error e1. Is completeness above or below 0.7?*
#
# **Exercise 1 ★** Compute the completeness of the graph on paper, from `data.effects` [target, source] and `data.kinds`.

# %%
### BEGIN SOLUTION
### STUB: completeness = ...
shares = data.effects.abs()
shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-9)
weights = torch.tensor([float(kind == "logit") for kind in data.kinds])
influence = weights @ shares + weights @ shares @ shares + weights @ shares @ shares @ shares
error = torch.tensor([kind == "error" for kind in data.kinds])
counts = (influence + weights) * shares.any(1)
completeness = (counts * (1 - shares[:, error].sum(1))).sum() / counts.sum()
### END SOLUTION
check("graphs-1", completeness)

# %% [markdown]
# **The aha.** y alone loses 0.4 to errors, and yet completeness is above 0.7, because the features behind y are explained better than y is. Completeness is a mean over the whole graph. Here is a real
# graph, of the small transformer in `model`: it was trained on sequences that repeat, so that after "a b c ... a b" it says c.

# %%
graph

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 1 gives .727. y alone .6; the plain mean over targets .856; replacement .568.
#
# *Ask:* which of the two scores would you rather have high, if you wanted to explain the answer? (Replacement asks where the answer's influence begins; completeness asks at every step.)

# %% [markdown] tags=["slide"]
# ## 2 Pruning
#
# A real graph has thousands of edges. What is shown is what is left after pruning: the nodes with the largest influence that together make up a given share of all influence. Tokens and logits always stay.
#
# *Predict: does an error survive pruning? And f2, whose own edge to y is one of the weakest?*

# %% [markdown]
# **Exercise 2 ★★** Prune the graph on paper to three quarters of the influence (`data.share`). Which features and errors are left? Give their names: `check("graphs-2", ["g1", ...])`.
#
# The sum of which three quarters are taken is over all nodes but y, tokens among them. The node that crosses the threshold stays.

# %%
### BEGIN SOLUTION
### STUB: kept = ...
shares = data.effects.abs()
shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-9)
weights = torch.tensor([float(kind == "logit") for kind in data.kinds])
influence = weights @ shares + weights @ shares @ shares + weights @ shares @ shares @ shares
kept, total = [], 0.0
for i in influence.argsort(descending=True).tolist():
    if total < data.share * influence.sum() and data.kinds[i] in ("feature", "error"):
        kept.append(data.names[i])
    total += float(influence[i])
### END SOLUTION
check("graphs-2", kept)

# %% [markdown]
# The real graph, pruned to less and less of its influence:

# %%
for share in (0.95, 0.8, 0.5):
    left = graph.prune(nodes=share, edges=None)
    kinds = [node.kind for node in left.nodes]
    print(f"{share:.0%} of the influence: {kinds.count('feature')} features", end=", ")
    print(f"{kinds.count('error')} errors")

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 2 gives e1, f2, g1 (influences: a .318, e1 .3, b .25, f2 .213, g1 .2, e0 .132, g3 .1, g2 .05, f1 .017).
#
# The real one: at 50 % a single error is left and no feature, for tokens and an error carry half of all influence.
#
# *Say:* a pruned picture with no error in it may still leave out most of the model. The scores that a pruned graph prints are those of the whole one.

# %% [markdown] tags=["slide"]
# ## 3 An edge by hand
#
# With the attention patterns and the norm's scale *held*, everything between two nodes is linear. The effect of a token at position p on a feature at position q of layer 0 has two ways: the stream (if
# p = q), and each head (if it looks from q at p).
#
# effect[p] = encoder · ( embed[q] if p = q + Σ_h pattern[h, q, p] · scale[p] · embed[p] OV[h] )
#
# *Predict: the feature stands at position 7. Is its own token its strongest input?*

# %% [markdown]
# `data.target` is the feature, `data.encoder` [64] what it reads, `data.embed` [12, 64] the tokens' embeddings, `data.pattern` [2, 12, 12] where the heads look (from, to), `data.OV` [2, 64, 64] what a
# head makes of a normed embedding (the norm's mean and gain are in it), and `data.scale` [12] the norm's scale at each position. The transcoder reads the stream before the MLP's norm, so there is no second scale.
#
# **Exercise 3 ★★** Compute the direct effect of each of the twelve tokens on the feature [position].

# %%
data.target

# %%
### BEGIN SOLUTION
### STUB: effect = ...
q = data.target.pos
effect = torch.zeros(len(data.embed))
for p in range(len(data.embed)):
    given = data.embed[q] * (p == q)
    for h in range(2):
        given = given + data.pattern[h, q, p] * data.scale[p] * data.embed[p] @ data.OV[h]
    effect[p] = given @ data.encoder
### END SOLUTION
check("graphs-3", effect)

# %% [markdown]
# The graph says the same, and all that is left to the feature's value is a bias:

# %%
print(graph.inputs(data.target.name, 4))
total = float(graph.effects[graph.place(data.target.name)].sum())
print(f"inputs {total:.3f} + bias {data.target.bias:.3f} = value {data.target.value:.3f}")

# %% [markdown] tags=["instructor"]
# *Numbers:* on our machine 1.27 from position 4, .53 from 5, .20 from 3, and only .09 from the feature's own token.
#
# *Ask:* what does the edge not know? (Why the heads look there: the patterns are held. In a model that does induction this is half of the algorithm.)

# %% [markdown] tags=["slide"]
# ## 4 A prediction
#
# An edge is a prediction: take the source away, and the target loses what the edge says. A node further on changes in proportion, and passes the change on. A feature cannot fall below zero.
#
# *Predict: `data.feature` is switched off. Does the answer's logit lose exactly what the feature's edge to it says?*

# %% [markdown]
# `graph.effects` [target, source] is an array, `graph.place(name)` the number of a node, `graph.nodes` has a `layer`, a `kind` and a `value` for each, `data.answer` is the name of the answer's logit.
#
# **Exercise 4 ★★★** By how much does the answer's logit change, as the graph has it, when `data.feature` (of layer 0) is switched off? Follow its own edge, and those through features of layer 1.

# %%
### BEGIN SOLUTION
### STUB: change = ...
i, end = graph.place(data.feature), graph.place(data.answer)
change = -graph.effects[end, i]
for j, node in enumerate(graph.nodes):
    if node.kind == "feature" and node.layer == 1:
        now = max(node.value - graph.effects[j, i], 0.0)
        change += graph.effects[end, j] * (now / node.value - 1)
### END SOLUTION
check("graphs-4", change)

# %% [markdown] tags=["instructor"]
# *Numbers:* −.471 on our machine, of which −.379 by its own edge; the model does −.347.

# %% [markdown] tags=["slide"]
# ## 5 Does the model agree?
#
# `graph.intervene({name: 0.0})` asks twice: the graph, and the model itself, which computes everything after the feature again.
#
# *Predict: for the five features of layer 0 that move the answer most, by the graph: how many move it in the same direction in the model?*

# %% [markdown]
# **Exercise 5 ★★** For each of `data.features`, switched off alone: the change of the answer's logit (`data.answer`) by the graph, and in the model. Give the table [feature, run].

# %%
### BEGIN SOLUTION
### STUB: table = ...
table = []
for name in data.features:
    before, by_graph, in_model = graph.intervene({name: 0.0}).sel(node=data.answer).values
    table.append([by_graph - before, in_model - before])
### END SOLUTION
check("graphs-5", table)

# %% [markdown]
# Where the columns differ, something moved that the graph holds. Where do the heads of layer 1 look from the last token, with each feature switched off?

# %%
for name in [None, *data.features]:
    off = []
    if name is not None:
        node = graph[name]
        off = interp.features.ablate(data.transcoders[0], node.index, at=node.pos)
    ran = interp.run(model, graph.metadata["ids"], off, keep=["L1H*.pattern"])
    looks = ran.kept["L1H*.pattern"][:, 0, -1]
    at = ", ".join(f"position {row.argmax()} with {row.max():.2f}" for row in looks)
    print(f"{name or 'as it is':14} L1H0, L1H1 look at {at}")

# %% [markdown]
# The heads look at the same position, most of them with nearly the same weight. What a graph does not know is not only where heads look: latents that were off may come on, the norms' scales change, and the
# MLPs' errors, which the graph keeps as they were, depend on the stream too.

# %% [markdown] tags=["instructor"]
# *Numbers:* graph −.47, +.39, +.37, −.25, +.24; model −.35, +.17, +.07, −.30, −.65. Four of five have the right sign, and the last is wrong by .9.
#
# *Ask:* what would you have to hold in the model for the two to agree exactly? (The patterns, the norms' scales, and the latents that were off.) What would that prove? (Only that the arithmetic is right.)

# %% [markdown] tags=["slide"]
# ## What to remember
#
# - Read a graph's scores before its picture: completeness, replacement, errors.
# - Influence adds up shares, without signs; an effect has a sign and a unit. Prune by the one, predict by the other.
# - An edge is a product of weights and of what was held in this run: where heads look, and the norms' scales. Why a head looks there is not in the graph.
# - A graph predicts. Ask the model, for more than one feature, and show those where they part.

# %% [markdown]
# ## To take home: a question that nobody has answered
#
# The graph holds the patterns. How large is the share of a model's answers in which the decisive step is *where* a head looks, so that no graph of this kind can show it? How would you measure that
# for one prompt, from a graph and a few interventions?
#
# Further reading: Ameisen et al. 2025, *Circuit Tracing: Revealing Computational Graphs in Language Models*; Dunefsky et al. 2024 (arXiv 2406.11944), transcoders; the notebook `tour-attribution-graphs`.

# %%
progress("graphs")
