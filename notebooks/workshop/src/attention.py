# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["slide"]
# # Attention is strange: what do heads look at?
#
# An attention pattern is the most beautiful picture in the field and the easiest to be fooled by. In the next three hours you find heads that
# do one thing wherever they are, heads that do nothing most of the time, and a token that everybody looks at *because it says nothing*.
#
# 180 minutes · beginner · seven exercises · two cores are enough

# %% [markdown]
# **You will be able to** read a pattern the right way round; find induction heads by a score that you wrote; say why the first token gets nearly
# half of all attention and what it gives back; tell a head that rests from one that works; keep the heads of a KV group apart; and block attention in a window of layers.
#
# **You should know** a little Python with PyTorch tensors, and what queries, keys and values are. The lesson *Circuits* is not needed.
#
# **How it works.** Each part begins with a prediction: write it down *before* you run the cell. An exercise ends in `check("attention-1",
# answer)`, which tells you what went wrong if something did. `hint("attention-1")` helps, three times, and `solution("attention-1")` shows a
# solution. Levels: ★ warm-up, ★★ the heart of it, ★★★ if you want more. What you did is kept in `workshop-progress.json` beside this
# notebook.
#
# | part | minutes |
# | --- | --- |
# | 1 A head with a job: induction | 40 |
# | 2 The sink | 20 |
# | 3 One token, forty times | 20 |
# | 4 What the sink gives | 30 |
# | 5 Active and dormant heads | 25 |
# | 6 Does the same head fetch a needle? | 20 |
# | 7 Knock-out | 25 |

# %% [markdown] tags=["instructor"]
# **Before the class.** Run `interp doctor` on every laptop; the model takes 15 to 30 seconds to load. Nothing else in this lesson takes longer than a
# few seconds.
#
# **The thread.** First a head that does what it looks like (induction), then attention that means nothing (the sink), and then how to tell the two apart:
# values (part 4), rest and work (part 5), and knock-out (part 7). The sentence to repeat all day: *a pattern says where a head looks, not what it does*.
#
# **If time is short** leave out part 6. A break of fifteen minutes fits after part 3, on the question that it leaves open.
#
# **The minutes** are for a class that says its predictions aloud and talks about them, which takes about a third of each part; somebody who reads alone is done in a bit more than two hours. They are
# estimates: every part was read and every answer written by one who knew the lesson, and no class has been timed. If a part runs over, let fast people go on: each exercise stands by itself, and nothing later needs an earlier
# answer (exercise 6 needs the scores of exercise 1: `solution("attention-1")`).

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import interp
from interp.workshop import begin, check, hint, progress, solution

torch.set_grad_enabled(False)  # nothing is trained here: no tensor needs to remember its past
# the model; random tokens, twice [2, 41]; prose [1, n]; code [1, m]; four stories with a needle
model, tokens, text, code, task = begin("attention")
layers = range(model.cfg.n_layers)
progress("attention")

# %% [markdown] tags=["slide"]
# ## 1 A head with a job: induction
#
# ![An induction head looks from the second A to the token after the first A](pictures/attention.svg)
#
# Take twenty random tokens and say them twice. There is nothing to understand, and still a model predicts the second block nearly perfectly: some heads
# look back to *what came after this token last time*.

# %%
interp.widgets.attention(
    model, "one apple two lemons three plums, one apple two lemons three"
).wait()

# %% [markdown]
# The widget shows one head after another: find one in a layer from 15 on that looks from the second "apple" to what came after the first.
#
# In code, `model.run_with_cache(tokens)` gives the logits and a cache of everything, and `cache["blocks.17.attn.hook_pattern"]` is layer 17's pattern `[prompt, head, dest, src]`: the **row** is the
# token that looks, the **column** the token that is looked at, and each row sums to one.
#
# *Predict: of 270 heads, how many are induction heads? In which layers: early, middle, late?*
#
# **Exercise 1 ★★** `tokens` are `<|im_start|>` (position 0), a block of twenty random tokens (1 to 20), and the same block again (21 to 40). Compute for each head the mean
# attention from the tokens of the second block to the token *after* the same token in the first block, over both prompts: a table of 30 layers by 9 heads. Draw `A B ... A` with positions
# under it before you write an index.

# %%
### BEGIN SOLUTION
### STUB: induction = ...
_, cache = model.run_with_cache(tokens)
dest = torch.arange(21, 41)
looks = [cache[f"blocks.{l}.attn.hook_pattern"][:, :, dest, dest - 19] for l in layers]
induction = torch.stack(looks).mean((1, 3))  # [layer, head]
### END SOLUTION
check("attention-1", induction)

# %%
figure, axes = plt.subplots(figsize=(9, 3))
picture = axes.imshow(np.array(induction).T, aspect="auto", cmap="Blues", vmin=0, vmax=1)
axes.set(xlabel="layer", ylabel="head", title="Induction score of every head")
figure.colorbar(picture, label="share of attention")
figure.tight_layout()

# %% [markdown] tags=["instructor"]
# *Usually goes wrong:* off by one, in all three ways. Draw `A B ... A` on the board with positions under it, and count once together. The check tells the
# duplicate-token score (the same token) from the induction score (the one after it).
#
# *Ask:* why random tokens? (So that nothing but the repetition can help.)

# %% [markdown] tags=["slide"]
# ## 2 The sink
#
# Now an ordinary text. Before each text stands `<|im_start|>`, a token without any content.
#
# *Predict: on average over all heads and positions, which share of attention does this first token get? One in thirty-five would be fair.*

# %% [markdown]
# **Exercise 2 ★** Compute the mean attention to the first token on `text`, over all heads and all destinations from 1 on.

# %%
### BEGIN SOLUTION
### STUB: to_first = ...
_, cache = model.run_with_cache(text)
to_first = torch.stack([cache[f"blocks.{l}.attn.hook_pattern"][..., 1:, 0] for l in layers])
to_first = to_first.mean()
### END SOLUTION
check("attention-2", to_first)

# %% [markdown] tags=["instructor"]
# *Let people say their guesses aloud before the check.* Hardly anybody says nearly half.
#
# *Then ask for explanations,* and write them all down: it is a special token; it comes first; everybody can see it; it has a large norm. Part 3 removes two
# of them.

# %% [markdown] tags=["slide"]
# ## 3 One token, forty times
#
# Is it `<|im_start|>` that makes the sink, or the first *position*? Take `<|im_start|>` away, and say " the" forty times.
#
# *Predict: (a) the first " the" becomes the sink; (b) there is no sink; (c) the last one does. Write your letter down.*

# %% [markdown]
# **Exercise 3 ★** The mean attention to the first token, as before, on forty times " the" and nothing else. `model.to_single_token(" the")` is its id; the model wants ids
# `[1, 40]`.

# %%
### BEGIN SOLUTION
### STUB: without_start = ...
the = model.to_single_token(" the")
_, cache = model.run_with_cache(torch.tensor([[the] * 40]))
patterns = [cache[f"blocks.{l}.attn.hook_pattern"][..., 1:, 0] for l in layers]
without_start = torch.stack(patterns).mean()
### END SOLUTION
check("attention-3", without_start)

# %% [markdown]
# **The aha.** Attention mixes *values*. If all tokens are the same vector, every mixture is the same vector too, wherever a head looks: layer after layer,
# all positions stay identical, and nobody can become special. A sink needs a first token that is *different* by what it is alone with: itself.

# %% [markdown] tags=["slide"]
# ## 4 What the sink gives
#
# Nearly half of all attention goes to one token. If it gave as much as others do, everything would be full of it.
#
# A head copies *values*, weighted by attention. So look at the first token's value.
#
# *Predict: is the first token's value larger than the others', as large, or smaller?*

# %% [markdown]
# This model has 9 query heads a layer and only 3 sets of keys and values (*grouped-query attention*): heads 0, 1, 2 share KV head 0, heads 3, 4, 5 share
# KV head 1, and so on.
#
# **Exercise 4 ★★** For each of the nine heads of layer 15, on `text`: the norm of the value at the first token over the mean norm of the values at all
# other tokens. `cache["blocks.15.attn.hook_v"]` is `[prompt, position, KV head, d_head]`.

# %%
### BEGIN SOLUTION
### STUB: ratio = ...
_, cache = model.run_with_cache(text)
norms = cache["blocks.15.attn.hook_v"][0].norm(dim=-1)  # [position, KV head]
ratio = (norms[0] / norms[1:].mean(0)).repeat_interleave(3)
### END SOLUTION
check("attention-4", ratio)

# %% [markdown]
# So a head that looks at the first token does *little*, and that is the point: softmax forces each head to spend all its attention somewhere, at every
# token, also where it has no job. It rests where it does least harm. Is that so in all layers?

# %%
seen = model.run_with_cache(text)[1]
every = [seen[f"blocks.{l}.attn.hook_v"][0].norm(dim=-1) for l in layers]
figure, axes = plt.subplots(figsize=(6, 3))
axes.plot([float((v[0] / v[1:].mean(0)).mean()) for v in every], marker="o")
axes.axhline(1, color="grey", lw=1)
axes.set(xlabel="layer", ylabel="ratio of norms", ylim=(0, None))
axes.set_title("Value of the first token over the mean of the others")
figure.tight_layout()

# %% [markdown]
# Layers 0, 1, 10 and 11 are exceptions: there the first token's value is *large*. Look up how much attention these layers give it (part 2, layer by layer): one
# to five percent, less than all others. Where the first token would give much, heads do not rest on it.

# %% [markdown] tags=["instructor"]
# *Usually goes wrong:* `head % 3` instead of `head // 3` (repeat instead of repeat_interleave). It runs, it has the right shape, and every number belongs to
# another head; worth a minute for everybody.
#
# *Ask:* what would you average attention patterns over now? (Not over position 0.)

# %% [markdown] tags=["slide"]
# ## 5 Active and dormant heads
#
# A head is **dormant** at a token where it leaves its attention on the first token, and **active** where it looks elsewhere. Is that a property of the head?
#
# *Predict: a head that rests in prose most of the time, does it rest in code as well? How much can one head differ between the two: by .05, .1, .4?*

# %%
print(model.tokenizer.decode(text[0]), model.tokenizer.decode(code[0]), sep="\n\n")

# %% [markdown]
# **Exercise 5 ★★** For each head: the mean attention to the first token on `text` minus the same on `code`, over destinations from 1 on; a table of 30 layers by 9 heads. It is positive where a
# head rests in prose and works in code.


# %%
### BEGIN SOLUTION
### STUB: difference = ...
def rest(ids):
    """Each head's mean attention to the first token [layer, head]."""
    _, cache = model.run_with_cache(ids)
    return torch.stack(
        [cache[f"blocks.{l}.attn.hook_pattern"][0, :, 1:, 0].mean(-1) for l in layers]
    )


difference = rest(text) - rest(code)
### END SOLUTION
check("attention-5", difference)

# %% [markdown]
# L12H2 has the largest difference. Each dot below is one token: to the right how much of the head's attention is *not* on the first token, upwards how large a vector it writes.

# %%
figure, axes = plt.subplots(figsize=(5, 3.4))
for kind, ids in (("prose", text), ("code", code)):
    seen = model.run_with_cache(ids)[1]
    awake = 1 - seen["blocks.12.attn.hook_pattern"][0, 2, 1:, 0]
    written = seen["blocks.12.attn.hook_z"][0, 1:, 2] @ model.blocks[12].attn.W_O[2]
    axes.scatter(awake.cpu(), written.norm(dim=-1).cpu(), s=14, label=kind)
axes.set(xlabel="attention not on the first token", ylabel="size of what it writes")
axes.set_title("L12H2, one dot a token")
axes.legend()
figure.tight_layout()

# %% [markdown]
# The same head, two lives: in prose it mostly sleeps and writes little, in code it mostly works and writes twice as much. A list of "sink heads" of a model is a list for a text.

# %% [markdown] tags=["instructor"]
# *Ask:* forty tokens of each: what would you want to see before you believe it? (Other prose and other code; two halves of the prose against each other as a control. On a larger sample the
# largest differences are about .3, and two halves of prose differ by .1.)
#
# *Be honest:* taking such a head out costs hardly any loss, in code as in prose (.03 nats at most). Working is not the same as being needed.
#
# *Usually goes wrong:* the mean over everything, as in exercise 2, which leaves one number instead of 270.

# %% [markdown] tags=["slide"]
# ## 6 Does the same head fetch a needle?
#
# "Anna keeps the key in the kitchen. ... Now Anna looks for the key in the" needs a head that goes back and *fetches* " kitchen". Is it an induction head, or
# another kind (a *retrieval head*)?
#
# *Predict Spearman's correlation between the two scores over 270 heads: 0 is unrelated, 1 is the same ranking.*

# %%
task.show()

# %% [markdown]
# **Exercise 6 ★★** For each head, the mean attention from the last token to the needle (`task.positions["NEEDLE"]`). Then Spearman's correlation with
# the induction score of part 1: `scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic`. The needle stands elsewhere in each prompt, so index with `torch.arange(4)` beside it.

# %%
### BEGIN SOLUTION
### STUB: correlation = ...
from scipy.stats import spearmanr

_, cache = model.run_with_cache(task.clean)
rows, needle = torch.arange(len(task)), task.positions["NEEDLE"]
fetch = [cache[f"blocks.{l}.attn.hook_pattern"][rows, :, -1, needle] for l in layers]
retrieval = torch.stack(fetch).mean(1)
correlation = spearmanr(induction.ravel(), retrieval.ravel()).statistic
### END SOLUTION
check("attention-6", correlation)

# %% [markdown] tags=["slide"]
# ## 7 Knock-out
#
# A head that looks at the needle need not use it. Block the look, and see whether the answer suffers: *attention knock-out*, in a window of eight
# layers, so that the next layer cannot make up for it.
#
# *Predict: which eight layers hurt, if you block the look in them: 0 to 7, 8 to 15, 16 to 23, 22 to 29?*

# %% [markdown]
# **Exercise 7 ★★★** In each of the four windows, block attention from END to the needle, in all heads, *before the softmax*: set
# `blocks.{layer}.attn.hook_attn_scores` [prompt, head, dest, src] to minus infinity there. Give the change of the answer's mean log-probability, blocked minus free: four numbers. A hook is a function that
# gets an activation and returns another one:
#
# ```python
# def halve(scores, hook):
#     return scores / 2
#
# logits = model.run_with_hooks(task.clean, fwd_hooks=[("blocks.0.attn.hook_attn_scores", halve)])
# ```
#
# `task.answers` are the answers' token ids [prompt, 1], and `logits[:, -1].log_softmax(-1)` are log-probabilities at END.


# %%
### BEGIN SOLUTION
### STUB: changes = ...
def block(scores, hook):
    scores[rows, :, -1, needle] = -torch.inf
    return scores


def log_prob(hooks):
    logits = model.run_with_hooks(task.clean, fwd_hooks=hooks)[:, -1]
    return logits.log_softmax(-1).gather(1, task.answers).mean()


windows = [range(first, first + 8) for first in (0, 8, 16, 22)]
hooks = [[(f"blocks.{l}.attn.hook_attn_scores", block) for l in window] for window in windows]
changes = [log_prob(some) - log_prob([]) for some in hooks]
### END SOLUTION
check("attention-7", changes)

# %% [markdown]
# The toolkit's verb for it, with a window centred on every layer:

# %%
interp.attention_knockout(model, task, "END", "NEEDLE", window=8, metric="log_prob").plot(
    title="Log-probability of the answer when END cannot look at the needle"
)

# %% [markdown] tags=["instructor"]
# *Usually goes wrong:* setting the *pattern* to zero after the softmax. Then the row no longer sums to one, and the head loses everything else a little
# as well; the numbers come out similar, which is worse than wildly wrong.

# %% [markdown] tags=["slide"]
# ## What to remember
#
# - Rows look, columns are looked at. Say it aloud before you index.
# - Attention is not influence: the first token gets nearly half of it and gives little back.
# - Leave position 0 out of means, and never run a text without its first token.
# - A head rests at some tokens and works at others: "a sink head" is a statement about a head and a text.
# - Heads share keys and values: a KV head's name is not a head's name.
# - To know whether a look matters, block it.

# %% [markdown]
# ## To take home: a question that nobody has answered
#
# A dormant head *could* do its job at any token and mostly does not. What decides, at a given token, whether it wakes up? Is there a direction in the stream
# before layer 15, readable by a simple probe, that says which heads are about to leave the sink, and does pushing along it wake them?
#
# Further reading: Olsson et al. 2022 (arXiv 2209.11895), induction heads; Xiao et al. 2023 (arXiv 2309.17453) and Gu et al. 2024 (arXiv 2410.10781), attention
# sinks; Guo et al. 2024 (arXiv 2410.13835), active and dormant heads; Wu et al. 2024 (arXiv 2404.15574), retrieval heads.

# %%
progress("attention")
