# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of circuit discovery: which edges, found how, and how good are they?
#
# A model's components talk through the residual stream: what one writes, a later one reads. Every such pair is an
# *edge*. SmolLM2-135M has 301 senders (the embedding, 270 heads, 30 MLPs) and 481 receivers (each head's query, each
# KV head's keys and values, each MLP, the logits): 70,651 edges. A *circuit* is a set of them; all others are cut,
# that is, they carry what the corrupted prompt would have sent. This tour finds circuits for indirect objects in
# several ways, and judges them on prompts with other names, always beside random circuits of the same size.
#
# Numbers in the text are of the full run; they come from a dozen prompts and are here to show the tools.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp
from interp import Circuit

model = interp.load(MODEL)
task = interp.tasks.ioi(model, n=6 if FAST else 12)
judge = task.heldout()
task.show(2)

# %% [markdown]
# ## Every edge at once
#
# Attribution patching asks for all edges in one backward pass: how far does an edge's message move when the prompt
# is corrupted, and how steeply does the answer depend on it there? The slope is taken at the clean prompt (EAP) or
# averaged on the way from the corrupted one (EAP-IG). A positive score says: corrupting this edge lowers the answer.

# %%
quick = interp.discover(model, task, "eap")
scores = interp.discover(model, task, "eap_ig", steps=5)
scores.top(10)

# %% [markdown]
# They agree on which edges are large (the rank correlation of the sizes is 0.83), less on the sign (0.44 with it), and
# on half of the 500 largest.

# %%
interp.methods.circuits.agreement(quick, scores, n=500)

# %% [markdown]
# ## From scores to a circuit
#
# The 500 largest scores make a circuit. Edges on no way from the embedding to the logits carry nothing and are
# pruned; the 150 largest of the rest are drawn here, layers upwards, heads at fixed places, the MLPs beside them.

# %% tags=["cover"]
circuit = Circuit.top(scores, 500).prune()
circuit.plot(max_edges=150)
# %%
interp.evaluate(model, judge, circuit)

# %% [markdown]
# Faithfulness is the share of the answer that is left when everything else is cut, on prompts that chose nothing:
# 0.82 for 450 edges, 0.6 % of the model. Completeness 1.00: with only these edges cut, nothing of the answer is left.
# Random circuits of that size keep nothing of the answer, though cutting them does harm (random completeness 0.34,
# three sets). Keeping nothing is a low bar, since most of their edges lead nowhere. A higher
# one: as many edges into each layer's queries, keys, values and MLP as the circuit has.

# %%
interp.evaluate(model, judge, circuit, sets=3, match="layers")

# %% [markdown]
# Still nothing: knowing where to read is not enough, it must be the right message. What does the circuit lose without
# each of its components?

# %%
interp.methods.circuits.minimality(model, judge[:4], circuit, of="components").top(8)

# %% [markdown]
# Without the embedding, or MLP 0, all is lost: every word comes in through them. Then single heads: 0.55 without L23H3,
# 0.37 without L20H0, 0.33 without L17H4. L29H0 is in the circuit and works against it: edges were chosen by the size
# of their scores, and without that head faithfulness *rises* by 0.21.

# %% [markdown]
# ## How large must it be?
#
# One number for one size can flatter. The whole curve cannot: from a thousandth of the edges to all of them.

# %%
curve = interp.faithfulness_curve(model, judge, scores, sets=1)
curve.plot()
# %%
interp.methods.circuits.cpr_cmd(curve)

# %% [markdown]
# Half of the answer needs 71 edges, 0.8 needs 353, all of it about 3,500 (5 %). CPR is the area under this curve, CMD
# the area between it and 1 (0 is perfect); by size they are 0.99 and 0.01. Both areas are on a linear scale, so the
# small circuits on the left, where the curve differs most from 1, hardly count: look at the picture, too.
# The order matters as much as the size. Here are the same scores *signed*, the edges that work against the answer
# last:

# %%
interp.faithfulness_curve(
    model, judge, scores, (0.001, 0.01, 0.1, 0.5), absolute=False, sets=1
).plot()
# %% [markdown]
# Faithfulness of 2.6 is no mistake and no virtue: leave out what works against the answer, and the logit difference
# is larger than the whole model's. Such a circuit is not faithful, it is one-sided. So a number without its order says
# little.

# %% [markdown]
# ## Methods against each other
#
# The same curve for what needs no integration, for two ways to change what flows back (GIM: softmax at twice the
# temperature, less into queries, keys and values; RelP: attention patterns are constants), for products of components'
# scores, for what follows the content of the stream, for the mere size of a message, and for dice. The magnitudes are taken on four prompts: they cost most.

# %%
methods = {"eap_ig": scores, "eap": quick} | {
    m: interp.discover(model, task, m)
    for m in ("gim", "relp", "node_attribution", "information_flow")
}
methods |= {
    "magnitude": interp.discover(model, task[:4], "magnitude"),
    "random": interp.discover(model, task, "random"),
}
sizes = (0.002, 0.01, 0.05, 0.2) if FAST else (0.002, 0.005, 0.01, 0.02, 0.05, 0.2)
curves = {
    m: interp.faithfulness_curve(model, judge, s, sizes, sets=1).sel(circuit="discovered")
    for m, s in methods.items()
}
interp.results.stack(curves, axis="method").plot(
    title="Circuits found by eight methods, held-out prompts"
)
# %% [markdown]
# EAP-IG is best at most sizes; EAP is as good at 141 edges and behind it after. GIM costs what EAP costs and lies below it
# here. RelP begins beside them and stays at 0.4 however many edges come: it scores no edge into a query or a
# key, and here these decide where the last heads look. Products of components' scores reach
# half of the answer at 707 edges, sizes of messages nothing below 1,413. Information flow goes *below zero*: it
# follows content and gives queries and keys no score, so none of its first 1,400 edges is one of them (596 of EAP-IG's
# are). That may be why its circuits end farther from the answer than the corrupted run: nothing steers where heads look.
#
# What each cost, and how many of its 500 strongest edges are among EAP-IG's:

# %%
for name, one in methods.items():
    shared = interp.methods.circuits.agreement(Circuit.top(scores, 500), Circuit.top(one, 500)).sel(
        measure="first in second"
    )
    print(
        f"{name:18} {one.metadata.get('seconds', 0):5.1f} s on {one.metadata['n']} prompts   "
        f"shared with eap_ig {float(shared.values):.0%}"
    )

# %% [markdown]
# Different roads, different edges: EAP shares two thirds with EAP-IG, GIM 59 %, RelP 41 %, the others a fifth to a quarter, chance under
# 1 %. Seconds depend on what else the machine was doing; none of these methods takes a run an edge.

# %% [markdown]
# ## Cutting edges one after another
#
# ACDC walks from the logits backwards and cuts every edge that the prediction does not miss. That is a run an edge:
# here only among the edges that EAP-IG scores highest (300 in the fast run, 1,000 in the full one), and on few prompts.
# What it leaves has no order: an edge's number is what it was worth when its turn came, 0 if it was cut.

# %%
walked = interp.discover(
    model, task[: 4 if FAST else 6], "acdc", among=300 if FAST else 1000, tau=0.02
)
kept = Circuit.threshold(walked, 1e-9)
print(
    f"{walked.metadata['runs']} runs, {walked.metadata['seconds']:.0f} s: {len(kept)} edges kept, "
    f"{len(kept.prune())} on a way to the logits"
)
kept.prune().plot()
# %%
judged = {"ACDC": kept, "EAP-IG, as many edges": Circuit.top(scores, len(kept))}
judged = {name: interp.evaluate(model, judge, one, sets=2) for name, one in judged.items()}
interp.results.stack(judged, axis="circuit", name="two circuits").sel(
    measure=["faithfulness", "completeness"]
)

# %%
interp.methods.circuits.agreement(Circuit.top(scores, len(kept)), kept)

# %% [markdown]
# ACDC kept 34 of its 1,000 candidates, in 688 runs. Eleven of those lead nowhere any more, since what fed them was cut
# after them; the other 23 hold 0.64 of the answer, against 0.48 for EAP-IG's 34 largest. Half of the edges are the
# same. So at this size testing edges given what is already cut pays off; it costs several times as much, and gives
# one circuit instead of an order of all edges.

# %% [markdown]
# ## Would other prompts give the same circuit?

# %%
interp.methods.circuits.stability(model, task, "eap_ig", n=500, seeds=2)

# %% [markdown]
# With 500 edges, 0.6 of those in either circuit are in both, whether the prompts are drawn anew or made with another
# seed; chance is 0.004. The large edges are safe; the rim of a circuit is a matter of the prompts.

# %% [markdown]
# ## Try it
#
# `circuit.save("ioi.json")` keeps a circuit; `interp evaluate ioi.json` judges it again, `interp discover --task capitals`
# finds one without Python. Five tasks' circuits lie in `circuits/`: `Circuit.load(file).plot()`, and `circuit & other` for
# the edges that two tasks share. Greedy instead of top: `Circuit.greedy(scores, 500)`. Cut edges that carry the mean
# instead of the other prompt: `by="mean"`. Which methods find a circuit that is known for certain: `circuits/METHODS.md`.
