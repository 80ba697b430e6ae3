# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["slide"]
# # Attention is strange: what do heads look at, and what do they get?
#
# An attention pattern is the most beautiful picture in the field and the easiest to be fooled by. In the next three hours you find heads that
# do one thing wherever they are, heads that do nothing most of the time, and a token that everybody looks at *because it says nothing*.
#
# 180 minutes · beginner · six exercises · two cores are enough

# %% [markdown]
# **You will be able to** read a pattern the right way round; find induction heads by a score that you wrote; say why the first token gets nearly
# half of all attention and what it gives back; keep the heads of a KV group apart; and block attention in a window of layers.
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
# | 1 A head with a job: induction | 45 |
# | 2 The sink | 30 |
# | 3 One token, forty times | 20 |
# | 4 What the sink gives | 35 |
# | 5 Does the same head fetch a needle? | 25 |
# | 6 Knock-out | 25 |

# %% [markdown] tags=["instructor"]
# **Before the class.** Run `interp doctor` on every laptop; the model takes 15 to 30 seconds to load. Nothing else in this lesson takes longer than a
# few seconds.
#
# **The thread.** First a head that does what it looks like (induction), then attention that means nothing (the sink), and then how to tell the two apart:
# values (part 4) and knock-out (part 6). The sentence to repeat all day: *a pattern says where a head looks, not what it does*.
#
# **If time is short** leave out part 5.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import interp
from interp.workshop import begin, check, hint, progress, solution

# the model; repeated random tokens [2, 41]; a text [1, n]; four stories with a needle
model, tokens, text, task = begin("attention")
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
# A pattern is `[prompt, head, dest, src]`: the **row** is the token that looks, the **column** the token that is looked at, and each row sums to one.
#
# *Predict: of 270 heads, how many are induction heads? In which layers: early, middle, late?*
#
# **Exercise 1 ★★** `tokens` are `<|im_start|>`, a block of twenty random tokens, and the same block again. Compute for each head the mean attention from
# the tokens of the second block to the token *after* the same token in the first block.

# %%
### BEGIN SOLUTION
### STUB: induction = ...
with torch.no_grad():
    _, cache = model.run_with_cache(tokens)
dest = torch.arange(21, 41)
looks = [cache[f"blocks.{l}.attn.hook_pattern"][:, :, dest, dest - 19] for l in layers]
induction = torch.stack(looks).mean((1, 3))  # [layer, head]
### END SOLUTION
check("attention-1", induction)

# %%
figure, axes = plt.subplots(figsize=(9, 3))
picture = axes.imshow(induction.T, aspect="auto", cmap="Blues", vmin=0, vmax=1)
axes.set(xlabel="layer", ylabel="head", title="Induction score of every head")
figure.colorbar(picture, label="share of attention")

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
with torch.no_grad():
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
# **Exercise 3 ★** The mean attention to the first token, as before, on forty times " the" and nothing else.

# %%
### BEGIN SOLUTION
### STUB: without_start = ...
the = model.tokenizer(" the", add_special_tokens=False)["input_ids"]
with torch.no_grad():
    _, cache = model.run_with_cache(torch.tensor([the * 40]))
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
with torch.no_grad():
    _, cache = model.run_with_cache(text)
norms = cache["blocks.15.attn.hook_v"][0].norm(dim=-1)  # [position, KV head]
ratio = (norms[0] / norms[1:].mean(0)).repeat_interleave(3)
### END SOLUTION
check("attention-4", ratio)

# %% [markdown]
# So a head that looks at the first token does *little*, and that is the point: softmax forces each head to spend all its attention somewhere, at every
# token, also where it has no job. It rests where it does least harm. Such a head is *dormant* there, and *active* where it looks elsewhere:

# %%
rest = cache["blocks.15.attn.hook_pattern"][0, :, 1:, 0]
words = [model.tokenizer.decode(t) for t in text[0, 1:]]
figure, axes = plt.subplots(figsize=(9, 2.6))
axes.imshow(1 - rest, aspect="auto", cmap="Blues", vmin=0, vmax=1)
axes.set_xticks(range(len(words)), words, rotation=90, fontsize=8)
axes.set(ylabel="head of layer 15", title="Attention that is not on the first token")

# %%
every = [cache[f"blocks.{l}.attn.hook_v"][0].norm(dim=-1) for l in layers]
figure, axes = plt.subplots(figsize=(6, 3))
axes.plot([float((v[0] / v[1:].mean(0)).mean()) for v in every], marker="o")
axes.axhline(1, color="grey", lw=1)
axes.set(xlabel="layer", ylabel="ratio of norms", ylim=(0, None))
axes.set_title("Value of the first token over the mean of the others")

# %% [markdown]
# Layers 0, 1, 10 and 11 are exceptions: there the first token's value is *large*. Look up how much attention these layers give it (part 2, layer by layer): one
# to five percent, less than all others. Where the first token would give much, heads do not rest on it.

# %% [markdown] tags=["instructor"]
# *Usually goes wrong:* `head % 3` instead of `head // 3` (repeat instead of repeat_interleave). It runs, it has the right shape, and every number belongs to
# another head; worth a minute for everybody.
#
# *Ask:* what would you average attention patterns over now? (Not over position 0.)

# %% [markdown] tags=["slide"]
# ## 5 Does the same head fetch a needle?
#
# "Anna keeps the key in the kitchen. ... Now Anna looks for the key in the" needs a head that goes back and *fetches* " kitchen". Is it an induction head, or
# another kind (a *retrieval head*)?
#
# *Predict Spearman's correlation between the two scores over 270 heads: 0 is unrelated, 1 is the same ranking.*

# %%
task.show()

# %% [markdown]
# **Exercise 5 ★★** For each head, the mean attention from the last token to the needle (`task.positions["NEEDLE"]`). Then Spearman's correlation with
# the induction score of part 1 (`scipy.stats.spearmanr`).

# %%
### BEGIN SOLUTION
### STUB: correlation = ...
from scipy.stats import spearmanr

with torch.no_grad():
    _, cache = model.run_with_cache(task.clean)
rows, needle = torch.arange(len(task)), task.positions["NEEDLE"]
fetch = [cache[f"blocks.{l}.attn.hook_pattern"][rows, :, -1, needle] for l in layers]
retrieval = torch.stack(fetch).mean(1)
correlation = spearmanr(induction.ravel(), retrieval.ravel()).statistic
### END SOLUTION
check("attention-5", correlation)

# %% [markdown] tags=["slide"]
# ## 6 Knock-out
#
# A head that looks at the needle need not use it. Block the look, and see whether the answer suffers: *attention knock-out*, in a window of eight
# layers, so that the next layer cannot make up for it.
#
# *Predict: which eight layers hurt, if you block the look in them: 0 to 7, 8 to 15, 16 to 23, 22 to 29?*

# %% [markdown]
# **Exercise 6 ★★★** In each of the four windows, block attention from END to the needle, in all heads, *before the softmax* (`hook_attn_scores`, set to minus
# infinity). Give the change of the answer's mean log-probability: blocked minus free.


# %%
### BEGIN SOLUTION
### STUB: changes = ...
def block(scores, hook):
    scores[rows, :, -1, needle] = -torch.inf
    return scores


def log_prob(hooks):
    with torch.no_grad():
        logits = model.run_with_hooks(task.clean, fwd_hooks=hooks)[:, -1]
    return logits.log_softmax(-1).gather(1, task.answers).mean()


windows = [range(first, first + 8) for first in (0, 8, 16, 22)]
hooks = [[(f"blocks.{l}.attn.hook_attn_scores", block) for l in window] for window in windows]
changes = [log_prob(some) - log_prob([]) for some in hooks]
### END SOLUTION
check("attention-6", changes)

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
