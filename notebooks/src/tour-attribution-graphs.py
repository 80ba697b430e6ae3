# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of attribution graphs: what one answer was made of, and how far to believe it
#
# 20 minutes · intermediate · you should know what attention heads, MLPs and sparse autoencoders are
#
# An *attribution graph* says of one prompt which features made its answer, and which features made those. Its features
# are latents of *transcoders*, sparse layers that stand in for the MLPs. The graph is a picture of a model that was
# partly replaced and partly held still, so it can be wrong in two ways. This tour draws a graph where the algorithm is
# known, tries it on the model, and then draws one of a language model, where most stays hidden.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp import features, toys

# %% [markdown]
# ## A model whose algorithm can be read
#
# Two layers, two heads each, and MLPs, trained on sequences that repeat: after "a b c ... a b" comes "c". It takes two
# heads to do that. `toys.gpt_neox` puts the trained weights into an architecture that the engine runs.

# %%
recipe = toys.RECIPES["induction"].but(model={"mlp": 128}, name="induction with MLPs")
run = toys.load_or_train(recipe)
small = toys.gpt_neox(run)
heldout = run.source.batch(200, torch.Generator().manual_seed(9), "heldout")
rows = heldout.inputs[heldout.labels["length"] == 8]
prompt, answer = rows[2][None, :12], int(rows[2][12])
print("prompt", prompt[0].tolist(), "answer", answer)

# %% [markdown]
# *Before you run the next cell: at the last token, which earlier position would you expect the heads of the second
# layer to look at?*

# %%
pattern = interp.attention_patterns(small, prompt, "L*H*").values.reshape(2, 2, 12, 12)
middle = int(pattern[1, :, -1].sum(0).argmax())
for head in range(2):
    print(f"L1H{head} at the last token looks at {pattern[1, head, -1].argmax()}")
for head in range(2):
    print(f"L0H{head} at position {middle} looks at {pattern[0, head, middle].argmax()}")

# %% [markdown]
# Not at the answer itself, but two positions further on. There the first layer has gathered what is needed: one of its heads
# brought the token that has to be matched, the other the answer. So the answer travels in two steps: from its own
# position to the middle one, and from there to the end. This is the path that a graph has to find.

# %% [markdown]
# ## Transcoders for all layers, and the graph
#
# A transcoder is trained to write what the MLP writes, from what the MLP reads, with few latents on at a token. Both
# layers are trained from one reading of the text.

# %%
text = run.source.batch(2000, torch.Generator().manual_seed(0)).inputs
small_transcoders = features.train_transcoders(
    small, "0-1", text, width=256, k=16, tokens=20_000 if FAST else 60_000, batch=256
)
for one in small_transcoders:
    print(one.name, f"explains {one.metadata['curve'][-1]['explained']:.2f} of its MLP's output")
graph = features.graph(small, prompt, small_transcoders, nodes=None, edges=None)
graph

# %% [markdown]
# The scores stand first. *Completeness* is the share of all inputs that is no error, *replacement* the share of what
# reaches the logits that begins at tokens. With transcoders for every layer, little is left to errors. Now: what made
# the answer?

# %%
end = f"logits:t{answer}"
strongest = graph.inputs(end, 8)
strongest

# %%
carries = next(
    name
    for name in graph.inputs(end, 100).coords["node"]
    if graph[name].kind == "feature" and graph[name].pos == middle
)
graph.inputs(carries, 4)

# %% [markdown]
# The embedding of the answer's own token, at its earlier position, is the strongest input by far: it passes the two heads, whose patterns
# the graph holds, and no MLP. Beside it stands a feature at the middle position, whose own strongest input is again the answer's
# token: the same two heads, with a feature between them. The graph has found the path.

# %% [markdown]
# ## Does the model agree?
#
# `graph.intervene` sets a feature to another value and asks twice: the graph, which moves everything in proportion,
# and the model, which computes all again. Here each feature is switched off, one at a time.

# %%
names = [node.name for node in graph.nodes if node.kind == "feature"]
names = sorted(names, key=lambda name: -abs(graph.effects[graph.place(end), graph.place(name)]))
changes = {}
for name in names[: 20 if FAST else 120]:
    said = graph.intervene({name: 0.0}, n=0).sel(node=end).values
    changes[name] = said[1:] - said[0]
table = np.array(list(changes.values()))
print(
    f"{carries}: by the graph {changes[carries][0]:+.2f}, in the model {changes[carries][1]:+.2f}"
)
print(f"correlation over {len(table)} features: {np.corrcoef(table.T)[0, 1]:.2f}")

# %% [markdown]
# Switching the feature on the path off does what the graph says. Over all features the agreement is far from perfect. Here is
# the feature where the two part most.

# %%
worst = max(changes, key=lambda name: abs(changes[name][0] - changes[name][1]))
print(f"{worst}: by the graph {changes[worst][0]:+.2f}, in the model {changes[worst][1]:+.2f}")
node = graph[worst]
transcoder = small_transcoders[node.layer]
off = features.ablate(transcoder, node.index, at=node.pos)
again = interp.run(small, prompt, off, keep=["L1H*.pattern"]).kept["L1H*.pattern"]
for head in range(2):
    before, after = pattern[1, head, -1, middle], float(again[head, 0, -1, middle])
    print(
        f"L1H{head} at the last token, to position {middle}: {before:.2f} before, {after:.2f} after"
    )

# %% [markdown]
# Where the numbers above say that attention moved, that is one reason: a graph holds the patterns, so it does not know
# what a feature does to *where* a head looks. This is the first way in which a graph is wrong, and no score shows it;
# only an intervention does.

# %% [markdown]
# ## A language model, and a window of its layers
#
# Now the capital of France, in a model of thirty layers, with transcoders for four of them, trained for a minute. This
# is far too little for good features; it is enough to see what a graph says about itself.

# %%
model = interp.load(MODEL)
transcoders = features.train_transcoders(
    model,
    "16-17" if FAST else "15-18",
    width=256 if FAST else 1024,
    tokens=2_000 if FAST else 20_000,
    batch=256,
)
for one in transcoders:
    last = one.metadata["curve"][-1]
    print(one.name, f"explains {last['explained']:.2f}, {last['dead']} latents dead")
france = features.graph(
    model,
    "The capital of France is",
    transcoders,
    max_nodes=200 if FAST else 4000,
    nodes=None,
    edges=None,
)
france

# %% [markdown]
# Completeness is close to nothing: nearly all influence passes whole MLPs, for which no latent stands, and errors.
# That is the second way in which a graph is wrong, and this one it says itself. Which kinds of nodes carry the
# influence?

# %%
flow = france.node_influence()
kinds = np.array([node.kind for node in france.nodes])
for kind in ("mlp", "error", "feature", "token"):
    print(f"{kind:8} {flow[kinds == kind].sum() / flow.sum():.3f} of the influence")

# %% [markdown]
# The features are there, hundreds of them, with a small share of the influence together. Here are those that matter most
# for the likeliest answer, and what becomes of it without the first of them, by the graph and in the model. Do both
# move it in the same direction?

# %%
first = next(iter(france.weights))
found = france.inputs(first, len(france.nodes))
mine = [name for name in found.coords["node"] if france[name].kind == "feature"][:5]
for name in mine:
    print(f"{name:18} {float(found.sel(node=name).values):+.3f}")
without = france.intervene({mine[0]: 0.0}, n=0).sel(node=first).values
print(f"{first} without {mine[0]}: before {without[0]:.2f}, graph {without[1]:.2f},", end=" ")
print(f"model {without[2]:.2f}")

# %% [markdown]
# ## By hand
#
# In the widget, click a node for what made it; the list adds up to its value, with what was pruned away as a row of its
# own. Name nodes, group them, and press "off" to ask graph and model what changes. A saved notebook shows the last
# state as a picture.

# %% tags=["cover"]
widget = interp.widgets.graph(graph, small, node=carries, values={carries: 0.0}, shown=24)
widget.wait()

# %%
interp.widgets.graph(france, model, node=mine[0])

# %% [markdown]
# ## Try it
#
# 1. Take another sequence (`rows[0]`, `rows[3]`) and find the middle position before you look at the patterns. Is there
#    always a feature on the path?
# 2. Set the feature `worst` to twice its value in the widget. Which way do graph and model go, and what do the heads
#    then look at?
# 3. Train the transcoders of the language model on 100,000 tokens and for ten layers (20 minutes): how far does
#    completeness rise?
#
# ## What to remember
#
# - A graph explains a model whose attention is held and whose MLPs are partly replaced. Read its scores first.
# - Errors and whole MLPs are nodes, so that nothing is hidden; a graph that consists of them explains nothing.
# - An edge is a prediction. `graph.intervene` tests it.
