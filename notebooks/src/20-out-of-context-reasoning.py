# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Out-of-context reasoning: one map or two factors?
#
# Paper: Huang et al. 2025, "Generalization or Hallucination? Understanding Out-of-Context Reasoning in Transformers", NeurIPS 2025; with "Understanding Transformers through the Lens of Pavlovian Conditioning" (attention as an associative memory) and Sieber et al. 2024, arXiv 2405.15731 (attention as a state-space model)
#
# Found: two factors W_O W_V infer 73 % of what they were never told (47 to 91 % by seed), one matrix W_OV none of it; at equal margins the factors' map has the smaller nuclear norm with every seed, but the smaller Frobenius norm as well, so the reason given is only half seen; linear attention is a Hebbian memory to rounding and holds about 5 pairs for each dimension of its keys
#
# Five seeds of one attention layer, twice. Both ways of writing its weights know every fact and every implication they were
# told. Asked for the implications they were not told, the two factors answer 73 % rightly and the one matrix 0 %: a clear
# difference, though short of the 95 % the claim asks for. Raw norms mislead: the factors' nuclear norm is the larger one (789
# against 587) until both maps are scaled to the same margin; then it is 6 % smaller, with every seed.

# %% [markdown]
# ## What the papers say, and what would count here
#
# Everyone in city 3 speaks language 7. A model is told where 80 people live, and what 20 of them speak: does it say
# the rest? Whether the link is true of the world or made up ("everyone in city 3 owns a tiger") is the same to it: so
# one ability would give both generalisation and hallucination. The paper finds it in language models after
# fine-tuning, and in one attention layer, where it depends on how the layer's weights are written: W_O times W_V learns to
# infer, one matrix W_OV, which can hold the very same map, only learns by heart.
#
# Thresholds were fixed before measuring. Shrunk to fit: 800 steps of 128 rows with 6 tokens of noise at most (the paper's
# script: 2,000 of 252 with more). W_Q starts small and positive, as there; W_O and W_V start small and random.

# %% tags=["parameters"]
MODEL = "ocr"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp import toys
from interp._stats import power_law
from interp.replications import associative_memory as memory
from interp.replications.out_of_context_reasoning import answers, norms
from interp.studies import Claim, Measured, gate, measured, verdicts

HUANG, PAVLOV = (
    "Huang et al. 2025, abstract",
    "Understanding Transformers through the Lens of Pavlovian Conditioning, abstract",
)

# %%
infers = Claim(
    "factorised-infers",
    says=(
        "A one-layer attention-only model with factorised W_O W_V learns it, one with a combined "
        "W_OV cannot"
    ),
    paper="succeeds / fails",
    source=HUANG,
    metric="accuracy on implications never trained on, W_O W_V; W_OV has at most 10 %",
    holds=0.95,
    partly=0.5,
    control="one matrix W_OV",
    varies="trained",
)
nuclear = Claim(
    "nuclear-norm",
    says="The reason: the factors lean to a small nuclear norm of W_OV",
    paper="minimum nuclear against Frobenius norm",
    source=HUANG,
    metric=(
        "nuclear norm with factors over that with one matrix, both at margin 1; below 1 with "
        "every seed"
    ),
    direction="<=",
    holds=1.0,
    null=1.0,
    control="none",
    varies="trained",
)
both = Claim(
    "explains-both",
    says="It explains generalisation and hallucination of language models after fine-tuning",
    paper="five models",
    source=HUANG,
    metric="gain in rank of implications never trained on, over a control word",
    holds=0.0,
    null=0.0,
    control="none",
)
pavlov = Claim(
    "hebbian",
    says="Linear attention is a Hebbian association of keys with values",
    paper="an identity",
    source=PAVLOV,
    direction="<=",
    holds=1e-5,
    metric="largest difference of the two sums",
    control="softmax attention",
)
state = Claim(
    "state-space",
    says="Linear attention with decay is a selective state-space model",
    paper="an identity under conditions",
    source="Sieber et al. 2024, abstract",
    metric="largest difference of the two sums",
    direction="<=",
    holds=1e-5,
    control="a state that forgets in each place at its own pace",
)
fits = Claim(
    "capacity",
    says="A head stores of the order of d_k associations before they interfere",
    paper="O(d_k)",
    source=PAVLOV,
    direction="<=",
    holds=0.2,
    null=1.0,
    metric="distance from 1 of p in n ~ d_k^p, n pairs read at 50 %; softmax reads more",
    control="none",
)

# %% [markdown]
# ## The task
#
# A name and a question stand among noise; at END the answer is asked for. Everyone's city is trained on, and what
# follows for a quarter of the people. Every city has someone in both groups.

# %%
recipe = toys.Recipe(
    "ocr",
    data="out_of_context_reasoning",
    data_options={"n_ctx": 8},
    steps=800,
    batch=128,
    lr=5e-3,
    weight_decay=0.03,
    model=dict(
        n_layers=1,
        n_heads=1,
        d_model=128,
        embed="identity",
        tied=True,
        norm="none",
        positions="none",
        attention="linear",
        attention_scale=1.0,
        init_scale=0.01,
        query_start=0.01,
    ),
    checkpoints=[50, 100, 150, 200, 300, 400, 600, 800],
)
kinds = {"two factors": ("K",), "one matrix": ("K", "V")}  # the matrices that stay the identity
runs = {
    kind: toys.train_seeds(
        recipe.but(model={"identity": same}), range(3 if FAST else 5), processes=1
    )
    for kind, same in kinds.items()
}
source = runs["one matrix"][0].source
rows = source.batch(2, torch.Generator().manual_seed(0), split="heldout")
print(
    *(
        " | ".join(source.words[i] for i in row) + " -> " + source.words[y]
        for row, y in zip(rows.inputs, rows.targets[:, -1])
    ),
    sep="\n",
)

# %% [markdown]
# ## Learning by heart and inferring

# %% tags=["cover"]
curves = {
    kind: toys.over_training(some, answers(source)).sel(measure="accuracy")
    for kind, some in runs.items()
}
lines = [
    (f"{what}, {kind}", found.sel(split=split))
    for kind, found in curves.items()
    for what, split in (("facts", "facts"), ("implications never trained on", "heldout"))
]
low, high = (np.stack([pick(found.values, 0) for _, found in lines]) for pick in (np.min, np.max))
ax = interp.plots.lines(
    np.stack([found.values.mean(0) for _, found in lines]),
    curves["one matrix"].coords["step"],
    names=[name for name, _ in lines],
    interval=(low, high),
    x_name="step",
    unit="share right",
    title="Out-of-context reasoning, mean over seeds",
)
handles, names = ax.get_legend_handles_labels()
ax.legend(
    handles,
    [*names[:-1], "least to most of the seeds"],
    loc="center left",
    bbox_to_anchor=(1, 0.5),
    fontsize=7,
    frameon=False,
)
# %%
last = {
    kind: {split: measured(found.sel(split=split).values[:, -1]) for split in found.coords["split"]}
    for kind, found in curves.items()
}
for kind, by_split in last.items():
    print(
        f"{kind}:",
        *(f"{split} {m};" for split, m in by_split.items()),
        "of all seeds, heldout:",
        curves[kind].sel(split="heldout").values[:, -1].round(3),
    )
heart = [
    gate(f"facts, {kind}", by_split["facts"], at_least=0.95) for kind, by_split in last.items()
]
unable = gate(
    "share of wrong implications with one matrix",
    measured(1 - curves["one matrix"].sel(split="heldout").values[:, -1]),
    at_least=0.9,
)
v_infers = infers.judge(
    last["two factors"]["heldout"],
    control=last["one matrix"]["heldout"],
    gate=heart,
    provided=unable,
)
print(v_infers)

# %% [markdown]
# Both learn by heart without fault. Only the factors infer: 73 % on average, and seeds differ widely, from 47 to 91 %; the
# matrix gets none right, less than the 5 % of a random city. The interval reaches down to 58 %, far from the matrix, but 95 % is
# not reached, so the claim holds partly. The curve says more than its end: after a first rise and a fall while facts are being
# learned, inferring grows steadily, from 18 % at step 150 to 73 % at step 800, and has not levelled off. Whether the
# paper's longer training closes the gap was not tried here. The matrix's curve goes down.
#
# ## How large is the map?
#
# Cross-entropy lets weights grow for ever, so raw norms say how far training went. They are compared after scaling
# each map until its least certain trained answer leads by 1, with the attention scaled to 1 on average. Beside the whole map
# stands its part from names and questions to cities and languages, which the theory is about.

# %%
sizes = {
    (kind, part): [norms(run.net(), source, block=part == "block") for run in some]
    for kind, some in runs.items()
    for part in ("whole", "block")
}
for (kind, part), found in sizes.items():
    print(
        f"{kind:12} {part:6}",
        *(f"{key}: {measured([one[key] for one in found])};" for key in found[0]),
    )

# %%
ratio = {
    (key, part): [
        a[f"{key} at margin 1"] / b[f"{key} at margin 1"]
        for a, b in zip(sizes["two factors", part], sizes["one matrix", part])
    ]
    for key in ("nuclear", "frobenius")
    for part in ("whole", "block")
}
for (key, part), each in ratio.items():
    print(f"{key:10} {part:6} factors over one matrix: {measured(each)}; seeds {np.round(each, 2)}")
lower = gate(
    "share of seeds where the factors' is lower",
    measured([float(r < 1) for r in ratio["nuclear", "whole"]]),
    at_least=1.0,
)
v_nuclear = nuclear.judge(measured(ratio["nuclear", "whole"]), gate=heart, provided=lower)
print(v_nuclear)

# %%
W = {kind: some[0].net().blocks[0].attn for kind, some in runs.items()}
spectra = [torch.linalg.svdvals((a.W_V[0] @ a.W_O[0]).detach())[:60] for a in W.values()]
interp.plots.lines(
    np.stack([s / s.sum() for s in spectra]),
    range(1, 61),
    x_name="singular value",
    unit="share of the nuclear norm",
    names=list(W),
    title="Singular values of the map, seed 0",
)
# %% [markdown]
# At margin 1 the factors' nuclear norm is lower with every seed, by 6 % of the whole map and by 15 % in the part the theory is
# about. That is what the claim asks for. But the theory also says that one matrix has the smaller Frobenius norm, and it does not:
# there, too, the factors' is smaller, by 9 and by 35 %. So after 800 steps of Adam the one matrix has not come to the
# least Frobenius norm, and the table shows a difference of the two trainings rather than the two minima.
#
# ## The other half: language models
#
# A language model is not fine-tuned here: that takes minutes for each seed and relation. It would be decided by teaching
# SmolLM2 ten made-up people's cities and five of their languages (or pets), and asking for the other five.

# %%
tried = gate("language models fine-tuned here", Measured(0, 0, 0, 1), at_least=1)
v_both = both.judge(
    None,
    gate=tried,
    note="the toy's two relations, true and made up, are the same numbers under other words",
)

# %% [markdown]
# ## Attention as a memory, and as a state-space model
#
# Two identities, on random tokens in five draws: linear attention is what a Hebbian memory reads, and, when all of the state
# decays alike, what a selective state-space model computes. The controls break one condition each.

# %%
draws = []
for seed in range(5):
    q, k, v = torch.randn(3, 2, 24, 16, generator=torch.Generator().manual_seed(seed)) / 4
    decay = torch.rand(2, 24, generator=torch.Generator().manual_seed(seed))
    attention, each = (
        memory.linear_attention(q, k, v),
        torch.rand(2, 24, 16, generator=torch.Generator().manual_seed(seed)),
    )
    fading = memory.linear_attention(q, k, v, decay)
    softmax = (q @ k.mT).masked_fill(torch.ones(24, 24).triu(1) > 0, -torch.inf).softmax(-1) @ v
    others = (
        (memory.hebbian_attention(q, k, v), softmax),
        (
            memory.state_space(v, decay[..., None].expand_as(k), k, q),
            memory.state_space(v, each, k, q),
        ),
    )
    draws.append(
        [(x - y).abs().max().item() for y, pair in zip((attention, fading), others) for x in pair]
    )
same, soft, one_pace, own_pace = (measured(x) for x in zip(*draws))
v_pavlov, v_state = pavlov.judge(same, control=soft), state.judge(one_pace, control=own_pace)
print(v_pavlov, v_state, sep="\n")

# %% [markdown]
# ## How many pairs fit?
#
# Pairs of a random key and one of 16 values; a pair is read rightly when its value reads highest.

# %%
hebbian = [memory.accuracy(seed=seed) for seed in range(3 if FAST else 5)]
store = {
    kind: memory.accuracy([16, 32, 64], memory=kind, trials=4) for kind in ("delta", "softmax")
}
per = hebbian[0].coords["pairs per d_k"]
curve = [
    hebbian[0].sel(d_k=16),
    hebbian[0].sel(d_k=64),
    *(some.sel(d_k=64) for some in store.values()),
]
interp.plots.lines(
    np.stack([c.values for c in curve]),
    per,
    x_name="pairs for each dimension of the key",
    unit="share read rightly",
    names=["Hebbian, d_k 16", "Hebbian, d_k 64", "delta rule, d_k 64", "softmax, d_k 64"],
    title="Reading an associative memory",
)
# %%
powers = [power_law(one.coords["d_k"], memory.capacity(one).values)[0] for one in hebbian]
more = gate(
    "softmax less Hebbian accuracy at 16 pairs a dimension",
    measured(
        (store["softmax"].examples - hebbian[0].sel(d_k=[16, 32, 64]).examples[..., :4])[
            :, -1
        ].ravel()
    ),
    at_least=0.1,
)
v_fits = fits.judge(measured(abs(np.array(powers) - 1)), provided=more)
print(
    "pairs at 50 %:",
    dict(zip(hebbian[0].coords["d_k"], memory.capacity(hebbian[0]).values.round().tolist())),
    "power of d_k:",
    measured(powers),
    more,
    v_fits,
    sep="\n",
)

# %% [markdown]
# Half of the pairs are read at 86, 170, 349 and 682 pairs for keys of 16, 32, 64 and 128 dimensions: 5.4 pairs for each
# dimension, and a power of 0.995. Softmax at a sharpness of d_k still reads all of 16 pairs
# a dimension. The delta rule in one pass forgets early pairs while it corrects later ones, and ends below the Hebbian sum. The factor of 5 belongs to the question
# asked (16 values, half read rightly); the power does not.
#
# ## Verdicts

# %%
verdicts(
    "20-out-of-context-reasoning",
    [v_infers, v_nuclear, v_both, v_pavlov, v_state, v_fits],
    model="toys, one layer",
    fast=FAST,
)

# %% [markdown]
# ## Try it
#
# Other shares of people whose language is told: `recipe.but(data_options={"share": 0.5})`. Every tool opens the model:
# here END's attention for one row (linear attention: numbers, not shares).

# %%
best = runs["two factors"][0].model()
seen = interp.run(best, rows.inputs[:1], keep=["L0H0.pattern"])
print(
    *(
        f"{source.words[i]}: {w:.2f}"
        for i, w in zip(rows.inputs[0], next(iter(seen.kept.values())).reshape(-1, 8)[-1])
    ),
    sep=", ",
)

# %% [markdown]
# ## What did not reproduce
#
# - **Inferring is not complete.** 73 % where the claim asks for 95, with seeds from 47 to 91 %. The runs are shorter than the
#   paper's (the curve still rises when they end), batches half as large, and W_O and W_V start random where the paper's script starts them at a constant.
# - **The reason is half seen.** The nuclear norm comes out as said, the Frobenius norm does not. Nothing here was trained until its
#   direction stopped changing, and Adam with weight decay is not the gradient flow of the theory.
# - **Not tested here:** language models. "Not testable here" stands for our budget, not for a model that failed.
#   That true and made-up implications are learned alike is no finding in the toy: they are the same numbers.
# - From the paper on conditioning only the identity and the capacity are here; how errors grow with depth is not, nor is
#   recall of pairs by a language model. The mapping from names to cities is the same one with every seed.
