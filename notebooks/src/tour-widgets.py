# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of the widgets: five questions to one prompt, answered with the mouse
#
# "When Steven and Tom went to the restaurant, Steven gave a cup to" ... Tom. Which layer knows it, which places carry
# it, which heads say it, and what is left of the model when they are gone? Each cell below makes a widget that
# answers one of these questions; with a running kernel it can be clicked, and its state can be set from Python. A saved
# notebook shows each as a picture of the state it was left in.
#
# Numbers in the text are of the saved run.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp

model = interp.load(MODEL)
task = interp.tasks.ioi(model, n=4 if FAST else 8)
task.show(2)

# %% [markdown]
# ## When does the answer appear?
#
# `lens` reads the residual stream after each layer as if it were the last one. Rows are layers, columns are tokens; a
# cell holds the token on top there, its colour is the rank of the answer. Click a cell for its list of tokens; type
# another prompt or another answer above the table.

# %%
interp.widgets.lens(model, task).wait()

# %% [markdown]
# Only after the last layer: before it " the" stands on top at the end. The repeated name, at its second coming, has "'s".
#
# ## Which places carry it?
#
# `patching` puts a piece of the clean run into the corrupted one, in which the other name is repeated. The map fills
# in while you look, coarse first. A click on a cell shows what that patch does to the prediction. The fields above the
# map take a clean and a corrupted prompt of your own, of as many tokens each.

# %%
places = interp.widgets.patching(model, task, prompt=0, cell=[14, 10])
places.wait()

# %% [markdown]
# Up to layer 19 everything stands at the second "Steven"; from layer 24 on it is at the end. What moves it there
# sits in between.
#
# ## Where do heads look?
#
# `attention` shows one head in large and others in small. Point at a token to see where it looks from there. Heads can
# be found by a score, too: `find="induction"`. Here are the heads that the first notebook found: L23H3 and L29H1 write
# the answer, L20H0 and L19H2 tell others where not to look.

# %% tags=["cover"]
interp.widgets.attention(
    model, task, heads="L23H3 L29H1 L20H0 L19H2", head="L20H0", first=False
).wait()

# %% [markdown]
# L20H0 looks from the end at the second "Steven", in the layer where the map above changes. It says where the name is
# that must not be the answer.
#
# ## What happens without them?
#
# `heads` is the whole model as a grid, coloured by what each head writes for the answer. Click, drag or type to take
# heads out; beside the grid is what the model says then, next to what it said before. A head that tells others what
# to do writes little itself, and is pale: the line below the grid names the heads whose ablation changes most, by a
# gradient's estimate.

# %%
grid = interp.widgets.heads(model, task)
grid.heads = "L20H0"
grid.wait()

# %% [markdown]
# This one head is worth 2 of the 7 logits between the names, and more than half of the answer's probability in this
# prompt (30 % with it, 13.5 % without).
#
# The Python of a state stands below each widget, and in `.code`; `.value` has the numbers.

# %%
print(grid.code)
grid.value["logit difference"]

# %% [markdown]
# ## Which edges are enough?
#
# `circuit` draws scores of edges as a graph: layers upwards, heads at fixed places, MLPs beside them. The slider says
# how many of the strongest edges are kept; all others are cut, and the numbers say what is left of the answer. Click
# an edge to cut it, hover over a component to see its paths. A component that was clicked can be named and put into a
# group; the circuit's file keeps both.

# %%
scores = interp.discover(model, task, "eap_ig", steps=5)
graph = interp.widgets.circuit(scores, model, task.heldout(), shown=40)
graph.wait()

# %% [markdown]
# Forty edges of 70,651 keep half of the logit difference, on prompts with other names. L20H0 feeds the queries of the
# heads in layer 23, and those write to the logits.

# %%
{name: round(graph.numbers[name], 2) for name in ("clean", "value", "corrupted", "faithfulness")}

# %% [markdown]
# ## Try it
#
# - Type "L0H*" into the line of the heads widget, then choose "all but the marked".
# - Type a pair of your own into the patching widget: "The capital of France is", "The capital of Italy is". Where does
#   the country stand, and from which layer on is the answer at the end?
# - Move the slider of the circuit: how many edges does the answer need before random ones would do as well?
# - Find the previous-token heads in the attention widget, and ablate them in the grid. Does this prompt need them?
