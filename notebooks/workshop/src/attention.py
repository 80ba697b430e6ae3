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
# do one thing wherever they are, heads that work in one text and hardly in another, and a place that gets far more attention than it seems to deserve.
#
# 180 minutes · beginner · seven exercises · two cores are enough

# %% [markdown]
# **You will be able to** read a pattern the right way round; find induction heads by a score that you wrote; say what the first token gets and
# what it gives back; tell a head that rests from one that works; keep the heads of a KV group apart; and block attention in a window of layers.
#
# **You should know** a little Python with PyTorch tensors, and what queries, keys and values are. The lesson *Circuits* is not needed.
#
# **How it works.** Each part begins with a prediction: write it down *before* you run the cell. An exercise ends in `check("attention-1",
# answer)`, which tells you what went wrong if something did; do not round your answer, or keep three decimals. `hint("attention-1")` helps, three times, and
# `solution("attention-1")` shows a solution. Levels: ★ warm-up, ★★ the heart of it, ★★★ if you want more. What you did is kept in
# `workshop-progress.json` beside this notebook. Words are explained in `glossary.md`, beside this notebook; it explains *sink* too, so look it up after part 4.
#
# | part | minutes |
# | --- | --- |
# | 1 A head with a job: induction | 45 |
# | 2 The first token | 15 |
# | 3 One token, forty times | 15 |
# | *a break* | 15 |
# | 4 What the first token gives | 20 |
# | 5 Active and dormant heads | 20 |
# | 6 Does the same head fetch a needle? | 20 |
# | 7 Knock-out | 30 |

# %% [markdown] tags=["instructor"]
# **Before the class.** Run `interp doctor` on every laptop; the model takes 15 to 30 seconds to load. Every cell takes a few seconds, and so does every check but one: the first
# wrong answer to exercise 7 is compared with known mistakes, some fifty runs of the model, which takes half a minute or more (a bar says so).
#
# **The thread.** First a head that does what it looks like (induction), then attention that means nothing (the sink), and then how to tell the two apart:
# values (part 4), rest and work (part 5), and knock-out (part 7). The sentence to repeat all day: *a pattern says where a head looks, not what it does*.
#
# **If time is short,** here is a cut of 40 minutes, ready to use (the minutes are estimates); run every given cell in any case, for later ones use their names.
#
# | part | as planned | cut | what goes |
# | --- | --- | --- | --- |
# | 5 | 20 | 8 | the exercise: take the prediction, run `solution("attention-5")`, talk about the controls, which are the point |
# | 6 | 20 | 8 | the exercise: take the prediction, run `solution("attention-6")`, talk about the other place |
# | 7 | 30 | 14 | the exercise: take the prediction, run `solution("attention-7")`, read the figure of the last cell together |
#
# The break is in the 180 minutes, after part 3. Use the cut from the start with people who work alone, and decide at the break with a class.
#
# **The minutes** are for a class that says its predictions aloud and talks about them. They are estimates, and tight: one reader who knew nothing of the lesson and did it alone thought that a human needs 205 to
# 220, most of it in parts 1 and 7 (part 7 has been made shorter since), and no class has been timed. If a part runs over, let fast people go on. Exercise 6 needs the scores of exercise 1: whoever is
# stuck there runs `solution("attention-1")`, pastes it, and adds a line `induction = answer`.
#
# **If nothing happens:** a hook name that does not exist is ignored in silence, which is TransformerLens' way; `name in model.hook_dict` tells. After three hints `hint` shows all three again.

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
# Take twenty random tokens and say them twice. There is nothing to understand, and in the first block this model guesses none of them right. In the second block it guesses 45 %: some heads look
# back to *what came after this token last time*.
#
# *Predict: of 270 heads, how many give more than half of their attention to what came after this token last time? In which layers: early, middle, late?*

# %%
interp.widgets.attention(
    model, "one apple two lemons three plums, one apple two lemons three"
).wait()

# %% [markdown]
# The large picture is one head, the small ones are others. Type a layer's heads, such as `L4H*`, where the heads are named to see those of one layer; page through a few layers, and find one that looks from the second "apple" to what came after the first. (The
# first column is grey: the widget leaves the first token out unless you tick it, so that the rest can be seen. It comes back in part 2. Without a widget you see a still picture, with that column blank.)
#
# In code, `model.run_with_cache(tokens)` gives the logits and a cache of everything, and `cache["blocks.4.attn.hook_pattern"]` is layer 4's pattern `[prompt, head, dest, src]`: the **row** is the
# token that looks, the **column** the token that is looked at, and each row sums to one.
#
# **Exercise 1 ★★** `tokens` are `<|im_start|>` (position 0), a block of twenty random tokens (1 to 20), and the same block again (21 to 40). Compute for each head the mean
# attention from each token of the second block (positions 21 to 40) to the token *after* the first coming of the same token (for the last one, position 40, that is position 21), over both prompts: a table of 30
# layers by 9 heads. Draw `A B ... A` with positions under it before you write an index.

# %%
### BEGIN SOLUTION
### STUB: induction = ...
_, cache = model.run_with_cache(tokens)
dest = torch.arange(21, 41)
looks = [cache[f"blocks.{l}.attn.hook_pattern"][:, :, dest, dest - 19] for l in layers]
induction = torch.stack(looks).mean((1, 3))  # [layer, head]
### END SOLUTION
check("attention-1", induction)

# %% tags=["exercise"]
if induction is ...:  # so that the notebook runs to its end: the picture below stays empty
    induction = torch.full((30, 9), torch.nan)
    print("No table yet: solve exercise 1, and run its cell and the next two again.")

# %%
assert induction is not ..., "this picture needs your table of exercise 1, in the name induction"
figure, axes = plt.subplots(figsize=(9, 3))
picture = axes.imshow(torch.as_tensor(induction).T, aspect="auto", cmap="Blues", vmin=0, vmax=1)
axes.set(xlabel="layer", ylabel="head", title="Induction score of every head")
figure.colorbar(picture, label="share of attention")
figure.tight_layout()

# %% [markdown]
# L18H6 gives .83 of its attention to the token after, L17H4, L17H3 and L17H5 more than half; eleven heads are above .3, all from layer 17 on. The others do something else here, or nothing.

# %% [markdown] tags=["instructor"]
# *May go wrong:* off by one, in all three ways. Draw `A B ... A` on the board with positions under it, and count once together. The check tells the
# duplicate-token score (the same token) from the induction score (the one after it).
#
# *Numbers:* L18H6 .83, L17H4 .66, L17H3 .60, L17H5 .55, then L23H2 .47. The model's first guess is right at 45 % of the second block's tokens (32 % and 58 % in the two prompts), with a mean probability of .14.
#
# *When the widget opens:* say that the grey column is the first token, left out; `L4H*` pages to a layer (`L17H*` shows three of the four strongest, so do not say it before the exercise). The menu "induction" finds the heads in one click, so open it after the exercise.
#
# *Ask:* why random tokens? (So that nothing but the repetition can help.)

# %% [markdown] tags=["slide"]
# ## 2 The first token
#
# Now an ordinary text. Before each text stands `<|im_start|>`, a token without any content.
#
# *Predict: on average over all heads and positions, which share of attention does this first token get? A head that looked evenly at all it can see would give it .09 (the early tokens see few others).*

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

# %% [markdown]
# Is it `<|im_start|>` that gets so much, because it is special? Take it away, or put another token in its place:


# %%
def first_token(ids):
    """The mean attention to the first token, over all heads."""
    kept = model.run_with_cache(ids)[1]
    firsts = [kept[f"blocks.{l}.attn.hook_pattern"][..., 1:, 0] for l in layers]
    return float(torch.stack(firsts).mean())


print("without it:", round(first_token(text[:, 1:]), 2))
for word in (" the", " Dog", " banana"):
    other = text.clone()
    other[0, 0] = model.to_single_token(word)
    print(f"{word!r} in its place:", round(first_token(other), 2))

# %% [markdown]
# It need not be special: **whatever stands first** gets nearly half of all attention. Such a token is called an *attention sink*.

# %% [markdown] tags=["instructor"]
# *Let people say their guesses aloud before the check.* Expect few to say nearly half (no class has been asked).
#
# *Numbers:* .45; without `<|im_start|>` .48, with other words .45 to .48; even attention .09. By layer from 0 on: .05, .01 in layers 0 and 1; .13 to .30 in 2 to 9; .05, .02 in 10 and 11; .38 to .68 in 12 to 19; .49 to .86 from 20 on.
#
# *Then ask for explanations,* and write them all down: it is a special token; it comes first; everybody can see it; it has a large norm. The cell after the exercise removes "it is special"; part 3 shows that
# coming first is not enough either.

# %% [markdown] tags=["slide"]
# ## 3 One token, forty times
#
# So is it the first *position* alone that makes a sink? Take `<|im_start|>` away, and say " the" forty times.
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
# **The aha.** It is .08, what even attention gives, so there is no sink. Attention mixes *values*. If all tokens are the same vector, every mixture is the same vector too, wherever a head looks: layer after layer,
# all positions stay identical, and none can become special. What stands first becomes a sink only if something *different* follows.
#
# (But is a position not different by where it is? In GPT-2 it is: position vectors are added to the tokens. This model turns queries and keys by their position instead (*rotary*): that changes who looks where, and
# never what is carried.) One other token in front is enough:

# %%
dog, word = model.to_single_token(" Dog"), model.to_single_token(" the")
mixed = torch.tensor([[dog] + [word] * 39])
print('" Dog", then 39 times " the":', round(first_token(mixed), 2))

# %% [markdown] tags=["instructor"]
# *Numbers:* .083; even attention gives .084; with " Dog" in front .54, with `<|im_start|>` in front .54. After the last layer the forty vectors, of length 4,700, differ by less than .04.
#
# *Ask:* what have parts 2 and 3 shown together? (Not the special token, and not the position alone: the first token, where what follows differs from it.) *A question to expect:* "but positions are embedded!" Not here: rotary.
#
# *May go wrong:* `<|im_start|>` kept in front; "the" without its blank.

# %% [markdown] tags=["slide"]
# ## 4 What the first token gives
#
# Nearly half of all attention goes to one token. What does it give in return?
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
# So a head that looks at the first token does *less than its attention says*, and that is the point: softmax forces each head to spend all its attention somewhere, at every
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
# Where the line is low, looking at the first token changes little. Layers 0, 1, 2, 10 and 11 are exceptions: there the first token's value is as large as the others', or larger. Look up how much attention these layers give it:

# %%
given = [float(seen[f"blocks.{l}.attn.hook_pattern"][..., 1:, 0].mean()) for l in layers]
print({l: round(share, 2) for l, share in enumerate(given)})

# %% [markdown]
# One to five percent (thirteen in layer 2), less than all others. Where the first token would give much, heads do not rest on it.
#
# Over all layers it takes .45 of the attention and gives .31 of the sum, where a share is attention times the size of the value. That is less than its attention says, but it is not little: a head that looked evenly at all it
# can see would give it .09 of its attention.

# %% [markdown] tags=["instructor"]
# *May go wrong:* `head % 3` instead of `head // 3` (repeat instead of repeat_interleave). It runs, it has the right shape, and every number belongs to
# another head; worth a minute for everybody.
#
# *Numbers:* exercise 4 gives .24, .31, .47, each three times.
#
# *Ask:* what would you average attention patterns over now? (Not over position 0.) Does a small value mean that nothing is given? (Attention times the size of the value: the first token still has .31 of the sum,
# instead of .45 of the attention; an even look gives it .09. "Less than its attention says" is right; "little" and "nothing" are not.)

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
# L12H2 is the head that rests so much more in prose than in code; L25H2 is one that does the opposite. Each dot below is one token: to the right how much of the head's attention is *not* on the first token, upwards how large a vector it writes.

# %%
figure, axes = plt.subplots(figsize=(5, 3.4))
for kind, ids in (("prose", text), ("code", code)):
    seen = model.run_with_cache(ids)[1]
    awake = 1 - seen["blocks.12.attn.hook_pattern"][0, 2, 1:, 0]
    written = seen["blocks.12.attn.hook_z"][0, 1:, 2] @ model.blocks[12].attn.W_O[2]
    axes.scatter(awake.cpu(), written.norm(dim=-1).cpu(), s=14, label=kind)
axes.set(xlabel="attention not on the first token", ylabel="size of what it writes", ylim=(0, None))
axes.set_title("L12H2, one dot a token")
axes.legend()
figure.tight_layout()

# %% [markdown]
# The same head, two lives: in this prose it mostly rests, in this code it mostly works, and writes nearly twice as much (10.5 against 5.8 on average). But the largest of 270 differences is large by chance, too. The control: other prose
# against the same prose, and other code against the same code.

# %%
other_prose = """My grandmother never wrote a recipe down. She tasted the soup, added a little salt,
and looked out of the window until she knew that it was ready for the children coming home."""
other_code = """class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)
"""


def ids_of(words):
    """Token ids [1, n], with <|im_start|> in front."""
    ids = model.tokenizer(words, add_special_tokens=False)["input_ids"]
    return torch.tensor([[model.tokenizer.bos_token_id, *ids]])


def resting(ids):
    """How much each head rests [layer, head]."""
    kept = model.run_with_cache(ids)[1]
    firsts = [kept[f"blocks.{l}.attn.hook_pattern"][0, :, 1:, 0].mean(-1) for l in layers]
    return torch.stack(firsts)


rests = {"prose": resting(text), "code": resting(code)}
rests |= {"prose 2": resting(ids_of(other_prose)), "code 2": resting(ids_of(other_code))}
for a, b in (("prose", "code"), ("prose 2", "code 2"), ("prose", "prose 2"), ("code", "code 2")):
    d = rests[a] - rests[b]
    print(f"{a} - {b}: largest {d.abs().max():.2f}; L12H2 {d[12, 2]:+.2f}, L25H2 {d[25, 2]:+.2f}")

# %% [markdown]
# The control matters. Two prose texts differ by .22 at most, but two pieces of code differ by up to .60, more than prose and code do in the first pair (.44) and as much as in the second (.61): the *largest* of 270 differences says little. What holds up is a head named before one
# looks: L25H2 gives the first token .44 and .58 less in prose than in code, where the controls give .14 and −.00; L12H2 .40 and .28 more, where they give −.01 and −.13. A list of "sink heads" of a model is a list for a text.

# %% [markdown] tags=["instructor"]
# *Numbers:* L12H2 rests .65 in the prose and .25 in the code, L25H2 .44 and .88. The controls, largest difference, L12H2 and L25H2: prose − code .44, +.40, −.44; prose 2 − code 2 .61, +.28, −.58; prose − prose 2 .22, −.01, +.14;
# code − code 2 .60, −.13, −.00. The largest differences: L25H2 −.44, L12H2 +.40, L22H0 −.38, L26H7 −.37, L28H7 −.37; the mean over heads is −.002.
#
# *Ask:* what would you want to see before you believe that L12H2 is a "code head"? (More prose, more code, and something that is neither, such as a list or a poem.)
#
# *Be honest:* with its mean output in place of each output, L12H2 is hardly missed: the loss changes by −.001 nats on this prose and by −.02 on this code. Working is not the same as being needed.
#
# *May go wrong:* the mean over everything, as in exercise 2, which leaves one number instead of 270.

# %% [markdown] tags=["slide"]
# ## 6 Does the same head fetch a needle?
#
# "The key is in the kitchen. The map is in the garden. To find the key, Anna went to the" needs a head that goes back and *fetches* " kitchen". Is it an induction head, or
# another kind (a *retrieval head*)?
#
# *Predict Spearman's correlation between the two scores over 270 heads: 0 is unrelated, 1 is the same ranking.*

# %%
task.show(4)

# %% [markdown]
# (Each story has one prompt, without a corrupted twin. OTHER is the other place. The model is small: its first guess is right in three of the four.)
#
# **Exercise 6 ★★** For each head, the mean attention from the last token to the needle (`task.positions["NEEDLE"]`, one index a prompt). Then Spearman's correlation with
# the induction score of part 1: `scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic`. The needle stands elsewhere in each second prompt, so index with `torch.arange(4)` beside it.

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

# %% [markdown]
# About one half: "the two agree in part". But agree about what? The control is the *other* place, which nobody should fetch. And then the same facts in other words, so that the end *repeats* what was said: "Anna keeps
# the key in the kitchen. Tom keeps the map in the garden. Now Anna looks for the key in the".

# %%
import scipy.stats

assert induction is not ..., "this needs your table of exercise 1, in the name induction"
first = model.run_with_cache(task.clean)[1]
ends = [first[f"blocks.{l}.attn.hook_pattern"][:, :, -1] for l in layers]  # [prompt, head, src]
looks = {}
for name in ("NEEDLE", "OTHER"):
    at = task.positions[name]
    here = [torch.stack([end[i, :, at[i]] for i in range(4)]) for end in ends]  # [prompt, head]
    looks[name] = torch.stack(here).mean(1)  # [layer, head]
    table = torch.as_tensor(induction)
    found = scipy.stats.spearmanr(table.ravel(), looks[name].ravel()).statistic
    print(f"correlation with attention to {name}: {found:.2f}")

told = "Anna keeps the key in the kitchen. Tom keeps the map in the garden."
ids = ids_of(told + " Now Anna looks for the key in the")
place = int((ids[0] == model.to_single_token(" kitchen")).nonzero())
again = model.run_with_cache(ids)[1]
for layer, head in ((18, 6), (17, 4), (17, 3), (17, 5), (23, 8)):
    literal = again[f"blocks.{layer}.attn.hook_pattern"][0, head, -1, place]
    n, o = (looks[name][layer, head] for name in ("NEEDLE", "OTHER"))
    print(f"L{layer}H{head}: needle {n:.2f}, other {o:.2f}; where words repeat {literal:.2f}")

# %% [markdown]
# The other place gets the same correlation, .52 against .49: the number is not about the needle at all. And L18H6, the strongest induction head, gives the needle .01 of its attention in these stories, and .90 where the words repeat. So *that*
# prompt is an induction prompt, whatever story it tells, and in ours the strongest induction heads fetch nothing. A head such as L23H8 looks at the needle in both (.27), and more than at the other place (.17). A head's name says what it did on
# the prompts that named it.

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 6 gives .49; the other place .52. Attention to the needle, to the other place, and where words repeat: L18H6 .01, .01, .90; L17H4 .02, .02, .08; L17H3 .01, .01, .11; L17H5 .06, .10, .33; L23H8 .27, .17, .27. The model's answers: garden (wrong), park, library, market; the mean log-probability of the right one is −1.25.
#
# *The point:* a correlation over all heads is ruled by what most heads do, and most heads look a little at all nouns. A control (the other place) shows it. And a prompt that repeats words is an induction prompt, whatever
# story it tells.
#
# *Ask:* which heads *would* you call retrieval heads, and what would you test? (Those that look more at the needle than at the other place, in other stories, and whose attention to it is needed: part 7.)
#
# *May go wrong:* `pattern[:, :, -1, needle]` pairs every prompt with every needle; the two tables flattened in different orders.

# %% [markdown] tags=["slide"]
# ## 7 Knock-out
#
# A head that looks at the needle need not use it. Block its attention to the needle, and see whether the answer suffers: *attention knock-out*, in a window of eight
# layers, so that the next layer cannot make up for it.
#
# *Predict: in which eight layers does it hurt to block attention to the needle: 0 to 7, 8 to 15, 16 to 23, 22 to 29?*

# %% [markdown]
# **Exercise 7 ★★★** In each of the four windows, block attention from END to the needle, in all heads, *before the softmax*: set
# `blocks.{layer}.attn.hook_attn_scores` [prompt, head, dest, src] to minus infinity there. Give the change of the answer's mean log-probability, blocked minus free: four numbers. A hook is a function that
# gets an activation and returns another one; here is one that does something else, and a function that you can use:


# %%
def halve(scores, hook):  # the second argument must be called hook
    return scores / 2


def log_prob(hooks):
    """The answer's mean log-probability at END in a run with these hooks."""
    logits = model.run_with_hooks(task.clean, fwd_hooks=hooks)[:, -1]
    return logits.log_softmax(-1).gather(1, task.answers).mean()


print("free:", log_prob([]))
print("layer 0 halved:", log_prob([("blocks.0.attn.hook_attn_scores", halve)]))

# %% [markdown]
# A list of eight such pairs, one for each layer of the window, makes one run. The hook must return the scores, and **a name that does not exist is ignored in silence**:
# `"blocks.0.attn.hook_attn_scores" in model.hook_dict` tells.


# %%
### BEGIN SOLUTION
### STUB: changes = ...
def block(scores, hook):
    scores[rows, :, -1, needle] = -torch.inf
    return scores


windows = [range(first, first + 8) for first in (0, 8, 16, 22)]
hooks = [[(f"blocks.{l}.attn.hook_attn_scores", block) for l in window] for window in windows]
changes = [log_prob(some) - log_prob([]) for some in hooks]
### END SOLUTION
check("attention-7", changes)

# %% [markdown]
# The toolkit has this as `interp.attention_knockout`, with a window around every layer (four layers before it and three after; near the ends the windows are shorter). Beside it: one layer at a time, and the same for the *other* place, which
# should not hurt.

# %%
figure, axes = plt.subplots(figsize=(7, 3.4))
for place, window in (("NEEDLE", 8), ("NEEDLE", 1), ("OTHER", 8)):
    cut = interp.attention_knockout(model, task, "END", place, window=window, metric="log_prob")
    axes.plot(cut.values, marker="o", ms=3, label=f"{place}, {window} layer{'s' * (window > 1)}")
axes.axhline(0, color="grey", lw=1)
axes.set(xlabel="layer (centre of the window)", ylabel="change of log-probability (nats)")
axes.set_title("The answer when END cannot look at a place")
axes.legend()
figure.tight_layout()

# %% [markdown]
# The windows that contain layer 23 (centres 20 to 27) cost 1.8 to 2.5 nats; blocked alone, layer 23 costs 1.1 and every other layer at most 0.3. So layer 23 is a large part of why both 16 to 23 and 22 to 29 hurt, and not all of it: a window costs
# about twice what layer 23 does, and the windows around 18 and 19, which end before it, cost 0.3 and 0.45. (Beyond 27 the window is cut off and no longer contains 23.) Blocking the *other* place helps, by 0.6 nats: the two places compete for the answer.

# %% [markdown] tags=["instructor"]
# *Numbers:* exercise 7 gives −.00, −.05, −1.9, −1.9, against −1.25 in the free run. In the figure: windows around 20 to 27 (with layer 23) −1.8 to −2.5, around 18 and 19 (without it) −.3 and −.45; one layer at a time: layer 23 −1.1, 21 −.3; the other place, in windows around 20 to 25, +.6.
#
# *Ask:* why do two windows hurt? (Both contain layers 22 and 23; layer 23 alone costs half as much. Then: which heads of layer 23? L23H8 is one to try.)
#
# *May go wrong:* setting the *pattern* to zero after the softmax. Then the row no longer sums to one, and the head loses everything else a little
# as well; the numbers come out similar, which is worse than wildly wrong. A hook that changes nothing (no return, a wrong name, rows and columns swapped) gives four zeros, and the check says why.

# %% [markdown] tags=["slide"]
# ## What to remember
#
# - Rows look, columns are looked at. Say it aloud before you index.
# - Attention is not influence: the first token gets .45 of it and gives .31 of the sum (attention times the size of the value), where an even look would be .09: less than its attention says, and still a lot.
# - Leave position 0 out of means, whatever stands there. (`model.to_tokens("...")` puts no `<|im_start|>` in front for this model; put it there yourself, as the lesson's texts have it.)
# - The largest of 270 numbers is large. Ask what the same analysis gives where there is nothing to find: other prose, the other place.
# - A head rests at some tokens and works at others: "a sink head" is a statement about a head and a text.
# - Heads share keys and values: a KV head's name is not a head's name.
# - To know whether attention to a place matters, block it.

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
