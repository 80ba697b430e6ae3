# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does a chat template make a model less able to use what it was given?
#
# Paper: Wang, Bai, Peng and Hsieh 2024, "On the loss of context-awareness in general instruction fine-tuning", arXiv 2411.02688; with questions after Li et al. 2025, "The Hidden Life of Tokens: Reducing Hallucination of Large Vision-Language Models via Visual Information Steering", arXiv 2502.03628, and Favero et al. 2024, "Multi-Modal Hallucination Control by Visual Information Grounding", arXiv 2403.14003
#
# **The question.** Chat models read what we say inside a template: special tokens that say whose turn it is. Does the same
# text, with the same question, become harder to use once that template is around it? And if so, does the model look
# away from the user's words?
#
# **How we look.** We hide a sentence in a text and ask for it. Every word of text, question and answer stays the same; only
# what stands around them changes: nothing, neutral words, or the chat template.
#
# *Before you run anything: the template puts 14 tokens around some sixty. Would you expect the answer's probability to change
# at all? And where would the attention go that the user's words lose?*
#
# **What we found.** Inside the template the model is much less sure of what it was told. The probability of the needle's word falls
# from 0.70 to 0.39, and neutral words in the template's place, as many tokens, cost nothing or even help (0.71 and 0.78). Asked
# in the needle's own words the model still puts the right word first in 19 of 20 prompts; asked in other words it does so in 3 of
# 20, and in 12 without the template. The user's text as a whole gets as much attention in the template as among neutral words
# (attention to the needle itself was not measured). Turning down the attention on everything else brings the probability
# back, and so does subtracting what the model would say without the text; but so does merely multiplying the logits, so that
# neither can be judged by the probability.
#
# 12 minutes · intermediate · you should know what an attention pattern is

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | models | open chat models, and models that they fine-tune themselves | SmolLM2-135M-Instruct |
# | needle | one sentence in texts of 200 to 8,000 tokens, 400 tests | "The secret plan of Oslo is ..." in 64 tokens, 20 prompts, and 6 others to choose on |
# | without a template | the user's text, line breaks, the first words of the answer | the same |
# | system prompt | empty | empty; the model's own is a condition of its own |
# | control | not in the abstract | neutral words in the template's place, as many tokens |
# | score of an answer | the share of the needle's words in what the model writes | the probability of the needle's first word |
# | steering | attention outside the user's message times 0.9 or 0.95, every head, rows renormalised | the same, with a factor chosen on other prompts |
# | context-dependency score | layer 15 of TinyLlama's 22 | layer 20 of 30 |
# | training | a fine-tuning that uses the score | not done |
#
# What the authors did is taken from their abstract and their code (YihanWang617/context_awareness). In the code the factor
# is called alpha, and its logarithm is added to the scores, so that 0.9 turns the attention down by a tenth only.
#
# Thresholds were fixed before the prompts that count were measured. Prompts of another seed, from the other half of words
# and texts, had been looked at before: they showed that a template costs something and that both cures do something. On them
# the factor and the strength were first chosen by probability; since that rewards mere confidence, the rule became the
# log-probability. There the control of the steering was drawn from all columns; a set that contains some of the template's
# own brings a part back, so it is now drawn from the user's.
#
# Some things changed after a first short run (14 prompts of 56 tokens, from the half that is judged): 20 prompts are judged
# where 32 had been planned, to save time, and the contrast, which had failed against its control, is no longer judged, because
# of what is said there. When the built study was read, the same was found to be true of the two rows on steering, and the row
# on attention was found not to test its sentence; they are not judged either.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp import Intervention
from interp.edits import reweight
from interp.replications.context_awareness import instructions
from interp.studies import Measured, gate, load_claims, measured, ratio_of_means, verdicts

model = interp.load(MODEL)

# %%
claims = load_claims("15-context-awareness")
claims

# %% [markdown]
# ## The same words in five wrappers
#
# The text is cut at the question's end: what the user says, and the beginning of the answer. Between them, and before, stands
# the wrapper. The plain prompt begins with the special token that the template begins with, too, so that the first token
# is the same everywhere: it is a resting place for attention, whatever it is.

# %%
length = 56 if FAST else 64
find = interp.tasks.needle(model, n=4 if FAST else 6, length=length)
judge = interp.tasks.needle(model, n=10 if FAST else 20, length=length, split="heldout")


def tokens(text):
    """The token ids of a text [pos], nothing put before it."""
    return torch.tensor(model.tokenizer(text, add_special_tokens=False).input_ids)


HINT = len(tokens("Answer: The secret plan of Oslo is the"))
CHAT = "<|im_start|>system\n%s<|im_end|>\n<|im_start|>user\n"
DEFAULT = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
REPLY = "<|im_end|>\n<|im_start|>assistant\n"
PAGE = "<|im_start|> Here is what was written %s\n"
LONG = "on the back of the page that they found in the old house by the sea last"
GOES_ON = " This goes on as follows\n"
WRAPPERS = {  # what stands before the user's tokens, and between them and the answer's
    "plain": ("<|im_start|>", "\n"),
    "neutral words": (PAGE % "there", GOES_ON),
    "chat template": (CHAT % "", REPLY),
    "more neutral words": (PAGE % LONG, GOES_ON),
    "default system prompt": (CHAT % DEFAULT, REPLY),
}
for name, (before, between) in WRAPPERS.items():
    print(f"{name:22} {len(tokens(before)):3} tokens before, {len(tokens(between))} between")


# %%
def spans(name):
    """Where the parts of a wrapped prompt end: before, the user's tokens, between, the answer's."""
    before, between = (len(tokens(part)) for part in WRAPPERS[name])
    user = judge.clean.shape[1] - HINT - 2
    return np.cumsum([before, user, between, HINT])


def wrapped(task, name, user=None, hint=HINT):
    """The prompts [prompt pos] with their user's and answer's tokens in another wrapper."""
    user = user or slice(1, -hint - 1)
    before, between = (tokens(part).expand(len(task), -1) for part in WRAPPERS[name])
    return torch.cat([before, task.clean[:, user], between, task.clean[:, -hint:]], 1)


for name, (before, between) in WRAPPERS.items():  # the same text, tokenised as a whole
    for task in (find, judge):
        for row, ids in zip(wrapped(task, name), task.clean):
            user, answer = (model.tokenizer.decode(x) for x in (ids[1 : -HINT - 1], ids[-HINT:]))
            assert tokens(before + user + between + answer).equal(row)
print(model.tokenizer.decode(wrapped(judge, "chat template")[0]))

# %% [markdown]
# ## What does the template cost?

# %%
HEADS = "L*H*.pattern@END"


def ask(ids, edits=()):
    """Logits at the end [prompt token], and each head's attention from there."""
    seen = interp.run(model, ids, edits, keep=[HEADS], last_only=True)
    return seen.logits, seen.kept[HEADS].squeeze(-2)


def log_prob(logits, task):
    """The log-probability of the needle's first word [prompt]."""
    chosen = torch.log_softmax(logits, -1).gather(1, task.answers[:, :1])
    return chosen[:, 0].double().cpu().numpy()


def rank(logits, task):
    """How many words stand above the needle's first [prompt]."""
    return (logits > logits.gather(1, task.answers[:, :1])).sum(-1).cpu().numpy()


asked = {name: ask(wrapped(judge, name)) for name in WRAPPERS}
logp = {name: log_prob(logits, judge) for name, (logits, _) in asked.items()}
prob = {name: np.exp(values) for name, values in logp.items()}
ranks = {name: rank(logits, judge) for name, (logits, _) in asked.items()}
for name in WRAPPERS:
    print(f"{name:22} {measured(prob[name])}   on top: {(ranks[name] == 0).mean():.2f}")

# %%
able = gate(
    "plain prompt: the needle's first word on top",
    measured(ranks["plain"] == 0, unit="prompts"),
    at_least=0.8,
)
pairs = {
    "empty system prompt": ("chat template", "neutral words"),
    "default system prompt": ("default system prompt", "more neutral words"),
}
v_costs = claims["template-costs"].judge(
    {part: measured(prob["plain"] - prob[chat]) for part, (chat, _) in pairs.items()},
    control={part: measured(prob["plain"] - prob[words]) for part, (_, words) in pairs.items()},
    gate=able,
    note=f"the word stays the first choice in {(ranks['chat template'] == 0).mean():.0%} of the"
    " prompts with an empty system prompt",
)
print(able, v_costs, sep="\n")
for part, v in v_costs.parts:
    print(f"{part}: {v.measured}, control {v.control}")

# %% [markdown]
# ### Asked in other words
#
# The question repeats the needle's words, so that the answer can be found by following a repetition. In these prompts it
# does not: "Which hidden plan belongs to Oslo?" The pilot had shown what happens, so this is shown and not judged.

# %%
long_hint = len(tokens("Answer: The hidden plan that belongs to Oslo is called the"))
reworded = interp.tasks.needle(
    model, n=2 if FAST else 20, length=length + 12, paraphrased=True, split="heldout"
)
for name in ("plain", "neutral words", "chat template"):
    x = ask(wrapped(reworded, name, hint=long_hint))[0]
    first = (rank(x, reworded) == 0).mean()
    print(f"{name:22} {measured(np.exp(log_prob(x, reworded)))}   on top: {first:.2f}")

# %% [markdown]
# Neutral words cost nothing (the longer ones even help, by 0.08), and the template takes 0.31 of the 0.70, nearly as much with the model's own system
# prompt (0.28). So neither the additional tokens are to blame nor the sentence that tells the assistant who it is. Does the model give
# wrong answers, then? Not when the question repeats the needle's words: in 19 of 20 prompts the right word is still the
# most likely one, only less likely. Sampling would often miss it; greedy decoding hardly would. Asked in other words,
# where the model is less sure to begin with, the right word comes first in 12 of 20 plain prompts and in 3 of 20 with the template.
#
# *A prediction: the user's tokens got 0.43 of the attention in the plain prompt. How much is left in the template?*
#
# ## Where does the attention go?
#
# We add up, from the last token of the prompt, the attention on each group of tokens. The first token is kept apart, since
# much of the attention rests there whatever it is.


# %%
GROUPS = ["first token", "before the user", "user", "between", "answer"]


def by_role(name, pattern):
    """Attention from the end to each group of tokens [group layer head prompt]."""
    edges = [0, 1, *spans(name)]
    return np.stack([pattern[..., a:b].sum(-1).cpu().numpy() for a, b in zip(edges, edges[1:])])


roles = {name: by_role(name, pattern) for name, (_, pattern) in asked.items()}
interp.plots.heatmap(
    np.array([roles[name].mean((1, 2, 3)) for name in WRAPPERS]),
    list(WRAPPERS),
    GROUPS,
    row_name="wrapper",
    col_name="group of tokens",
    title="Attention from the last token, mean of all heads",
    unit="share",
    centred=False,
)

# %% [markdown]
# Compare the rows that have equally many tokens: "neutral words" with "chat template". They are nearly the same. The user's
# tokens have less than in the plain prompt (0.37 in place of 0.43), but so they have among neutral words, simply because more
# tokens stand there. A long neutral beginning takes far more attention than the default system prompt, and costs nothing.
#
# ### Exercise 1
#
# `roles["chat template"]` has the axes group, layer, head and prompt. Take the first prompt and the mean of all heads: which
# share of the attention that is *not* on the first token goes to the user's tokens? Put your number into `mine`.


# %%
def on_user(name, heads=np.s_[:, :]):
    """The user's share of all attention of these heads that is not on the first token [prompt]."""
    first, user = (roles[name][k][heads].reshape(-1, len(judge)) for k in (0, 2))
    return user.sum(0) / (1 - first).sum(0)


def check_share(answer):
    """What is right or wrong with this share."""
    first, _, user, *_ = roles["chat template"][..., 0].mean((1, 2))
    known = {
        user / (1 - first): "Right: of what is left beside the first token, more than half.",
        user: "Here the first token still takes its part: divide by what is left without it.",
        100 * user / (1 - first): "A share lies between 0 and 1: this is in per cent.",
        roles["chat template"][2].mean(): "That is the mean of all prompts, first token included.",
        on_user("chat template").mean(): "That is the mean of all prompts: take the first alone.",
        roles["plain"][2, ..., 0].mean(): "That is the plain prompt, first token included.",
    }
    if answer is None:
        return "Nothing to check yet: write a number in the place of None."
    near = [says for number, says in known.items() if abs(answer - number) < 0.0051]
    return near[0] if near else "No: the mean of layers and heads, then user / (1 - first token)."


### BEGIN SOLUTION
### STUB: mine = None
first, _, user, *_ = roles["chat template"][..., 0].mean((1, 2))
mine = user / (1 - first)
### END SOLUTION
print(check_share(mine))


# %%
asked_find = {name: ask(wrapped(find, name)) for name in ("plain", "chat template")}
look = by_role("plain", asked_find["plain"][1])[2].mean(-1)
most = np.unravel_index(look.argmax(), look.shape)
before, after = (on_user(name) for name in ("neutral words", "chat template"))
one_before, one_after = (on_user(name, most) for name in ("neutral words", "chat template"))
fall = before - after
lost = logp["neutral words"] - logp["chat template"]
something = gate("lost from neutral words to the template", measured(lost), at_least=0.2)
v_leaves = claims["attention-leaves"].judge(
    {
        "all heads": ratio_of_means(fall, before),
        "the head that looks most": ratio_of_means(one_before - one_after, one_before),
        "falls where the answer is lost": measured(
            np.stack([fall, lost], 1), lambda rows: np.corrcoef(rows.T)[0, 1]
        ),
    },
    gate=[able, something],
)
plain = ratio_of_means(on_user("plain") - after, on_user("plain"))
print(something, v_leaves, *(f"{name}: {v.measured}" for name, v in v_leaves.parts), sep="\n")
print(f"the head that looks most: L{most[0]}H{most[1]}")
print(f"all heads, from the plain prompt to the template: {plain}")

# %% [markdown]
# Against neutral words the user's share does not fall, it rises by 2 %, and by 3 % in L21H7, the head that looks at the user's
# tokens most. Where the answer loses more, attention has not fallen more either (a correlation of 0.13, and the interval is wide).
# Against the plain prompt there is a fall, of 12 %: whoever compares with that, as the paper does, finds what it describes.
#
# What does this say? All of the user's tokens were added up, filler as well as needle; the fall hardly varies between prompts, so that
# its correlation could not have shown much; and the paper compares with the plain prompt. So the row does not test the
# paper's sentence, and is not testable here (by its thresholds it had been *does not hold*). Attention to the needle's own tokens,
# in the heads that fetch it (study 13), would be the better question.
#
# ## Steering the attention back
#
# If attention is not what was lost, will it help to turn it back? In every head, the columns outside the user's tokens are
# multiplied by a factor, and each row is renormalised. The authors take 0.9 or 0.95. We choose among five factors on six
# prompts, and judge on the twenty others. The control turns down as many columns in the user's own text instead, and the
# first token as well, as the steering does.

# %%
FACTORS = [0.9, 0.5, 0.2] if FAST else [0.95, 0.9, 0.5, 0.2, 0.05]


def turned_down(columns, factor):
    """Attention on these columns times the factor, in every head, each row renormalised."""
    return [Intervention("L*H*.pattern", reweight({int(at): factor for at in columns}))]


def outside(name):
    """The columns that are not the user's."""
    before, user, _, end = spans(name)
    return [at for at in range(end) if not before <= at < user]


chat = "chat template"


def steered(task, name, columns, factor):
    """Logits in this wrapper with the attention on some columns turned down."""
    return ask(wrapped(task, name), turned_down(columns, factor))[0]


tried = {}
for factor in FACTORS:
    tried[factor] = log_prob(steered(find, chat, outside(chat), factor), find).mean()
factor = max(tried, key=tried.get)
start = {name: log_prob(logits, find).mean() for name, (logits, _) in asked_find.items()}
interp.plots.lines(
    np.array([list(tried.values()), *([x] * len(tried) for x in start.values())]),
    FACTORS,
    names=["template, steered", *start],
    x_name="factor on attention outside the user's tokens",
    title="Log-probability of the needle's word by factor (6 other prompts)",
    unit="log-probability",
)
print(f"factor {factor}")

# %% [markdown]
# The authors' factors do next to nothing here; 0.2 brings the word back to where it is in the plain prompt.

# %%
logits = {name: asked[name][0] for name in WRAPPERS}
logits["template, steered"] = steered(judge, chat, outside(chat), factor)
logits["neutral words, steered"] = steered(judge, "neutral words", outside("neutral words"), factor)
draws = np.random.default_rng(0)
before, user, _, _ = spans(chat)
random = np.zeros(len(judge))
for at in range(0, len(judge), 4):  # other columns for every four prompts
    some = judge[at : at + 4]
    columns = draws.choice(np.arange(before, user), len(outside(chat)) - 1, replace=False)
    x = log_prob(steered(some, chat, [0, *columns], factor), some)
    random[at : at + 4] = np.exp(x)

# %%
edges = [0, 1, *spans(chat)]
groups = {name: range(a, b) for name, a, b in zip(GROUPS, edges, edges[1:])}
groups = {"all but the first token": outside(chat)[1:]} | groups
some = find[: 1 if FAST else 4]
untouched = log_prob(asked_find[chat][0], find)[: len(some)]
print(f"turned down: {'nothing':24} probability {np.exp(untouched).mean():.2f}")
for group, columns in groups.items():
    if group != "user":
        x = np.exp(log_prob(steered(some, chat, columns, factor), some))
        print(f"turned down: {group:24} probability {x.mean():.2f}")

# %%
now = {name: np.exp(log_prob(x, judge)) for name, x in logits.items()}
loss = now["plain"] - now[chat]


def comes_back(values):
    """The share of what the template costs that is back, and its interval."""
    return ratio_of_means(values - now[chat], loss)


costs = gate("probability that the template costs", measured(loss), at_least=0.05)
idle = comes_back(random)
rest = Measured(1 - idle.value, 1 - idle.high, 1 - idle.low, idle.n)
left = gate("share of the loss that random columns leave", rest, at_least=0.9)
v_steer = claims["steering"].judge(
    comes_back(now["template, steered"]), control=idle, provided=left, gate=[able, costs]
)
still = np.log(now["neutral words, steered"]) - np.log(now["template, steered"])
v_only = claims["only-the-template"].judge(
    ratio_of_means(lost - still, lost), gate=[able, something]
)
print(costs, left, v_steer, f"{v_steer.measured}, control {v_steer.control}", sep="\n")
print(v_only, v_only.measured, sep="\n")

# %% [markdown]
# All of the loss comes back, and more (1.27 of it); at the authors' own factors, almost none. Neutral words, steered alike, go
# from 0.71 to 0.80 (they start nearer to the top), and after steering the two wrappers are equal, as they must be when both are
# nearly masked. Turning down as many of the user's own tokens hurts, but it takes away part of the needle, so it could hardly
# help. What is more, we shall see below that merely multiplying the logits brings back 1.73 of the loss. On these prompts the
# probability measures how sure the model is, and cannot tell whether it uses the text better. So both rows on steering are not testable here
# (by their thresholds they had held).
#
# On four of the prompts that we chose the factor on, we also turned down one group at a time. Turning down the six tokens between
# the user and the answer gave 0.78. They end the user's turn and begin the assistant's, and get 3 % of the attention, as the
# neutral words there do. This is a hint, from four prompts, that what is read there matters.
#
# ### Exercise 2
#
# A head gives the user's tokens 0.4 of its attention, and 0.6 to the rest. The rest is multiplied by 0.2, and the row is
# renormalised. How much attention do the user's tokens get now?


# %%
def check_factor(answer):
    """What is right or wrong with the user's share after steering."""
    known = {
        0.4 / 0.52: "Right: 0.4 of the 0.52 that are left in the row.",
        0.88: "That gives the user all that the rest loses; the rest is scaled up again, too.",
        0.52: "That is the sum of the row before it is renormalised.",
        0.4: "The user's tokens are not multiplied, but they gain when the row is renormalised.",
        0.08 / 0.68: "That turns down the user's tokens in place of the rest.",
    }
    if answer is None:
        return "Nothing to check yet: write a number in the place of None."
    near = [says for number, says in known.items() if abs(answer - number) < 0.006]
    return near[0] if near else "No: multiply 0.6 by 0.2, then divide both parts by their sum."


### BEGIN SOLUTION
### STUB: mine = None
mine = 0.4 / (0.4 + 0.2 * 0.6)
### END SOLUTION
print(check_factor(mine))

# %% [markdown]
# ## Is the word still there where it is missed?
#
# Li and colleagues report of vision-language models that what is in the picture keeps a high rank even where something else
# is said. We count how many words stand before the needle's where the template makes the model miss it.

# %%
templates = (chat, "default system prompt")
missed = [(i, r) for name in templates for i, r in enumerate(ranks[name]) if r > 0]
prompts = [i for i, _ in missed]
n_missed = len(set(prompts))
some_missed = gate(
    "prompts missed", Measured(n_missed, n_missed, n_missed, max(n_missed, 1)), at_least=3
)
v_hidden = claims["hidden"].judge(
    measured([r < 10 for _, r in missed], groups=prompts) if n_missed > 1 else None,
    gate=[able, some_missed],
)
print(some_missed, v_hidden, sep="\n")
print("words before the needle's in these prompts:", sorted(int(r) for _, r in missed))

# %% [markdown]
# One of forty prompts (20 in two templates) is missed, and there a single word stands before the right one. That is too little to judge.
#
# ## Subtracting what needs no context
#
# Favero and colleagues amplify what a picture changes in the next word's distribution. Here the picture is the text: we run the
# template with the question alone, and add the difference of the logits as often as a strength says, chosen on six prompts.
# Beside it stand the same logits multiplied by as much, with nothing subtracted.

# %%
ASKED = len(tokens("Question: What is the secret plan of Oslo?"))
STRENGTHS = [0.25, 0.5, 1.0, 2.0]
question = slice(-HINT - 1 - ASKED, -HINT - 1)


def alone(task):
    """Logits in the chat template without the text: the question is all that the user says."""
    return ask(wrapped(task, chat, question))[0]


def amplified(seen, without, strength):
    """Logits, and as often as `strength` says what the context has changed in them."""
    return seen + strength * (seen - without)


print(model.tokenizer.decode(wrapped(judge, chat, question)[0]))
seen, without = asked_find[chat][0], alone(find)
tried = {s: log_prob(amplified(seen, without, s), find).mean() for s in STRENGTHS}
strength = max(tried, key=tried.get)
print({s: round(float(x), 2) for s, x in tried.items()}, f"strength {strength}", sep="\n")

# %%
seen, without = asked[chat][0], alone(judge)
logits["template, contrast"] = amplified(seen, without, strength)
logits["template, sharpened"] = (1 + strength) * seen
logits["template, contrast with another question"] = amplified(seen, without.roll(1, 0), strength)
now = {name: np.exp(log_prob(x, judge)) for name, x in logits.items()}
v_contrast = claims["contrast"].judge(
    comes_back(now["template, contrast"]),
    control=comes_back(now["template, sharpened"]),
    gate=[able, costs],
)
print(v_contrast, f"{v_contrast.measured}, control {v_contrast.control}", sep="\n")
for name, x in logits.items():
    print(f"{name:42} {measured(now[name])}   on top: {(rank(x, judge) == 0).mean():.2f}")

# %% [markdown]
# The contrast brings the probability to 0.95, above the plain prompt. But multiplying the logits does the same (0.93): where the
# right word is on top already, any sharpening brings its probability to 1. So the probability cannot say whether the
# context was amplified or the confidence, and the row is not testable here. That was found after measuring: by its threshold it had been *does not hold*.

# %% tags=["cover"]
shown = ["plain", "neutral words", chat, "default system prompt"]
shown += ["template, steered", "template, random columns"]
shown += ["template, contrast", "template, sharpened"]
bars = [measured((now | {"template, random columns": random})[name]) for name in shown]
interp.plots.bars(
    [m.value for m in bars],
    shown,
    interval=np.array([(m.low, m.high) for m in bars]).T,
    title="Probability of the needle's word, the same words in each wrapper",
    unit="probability",
)

# %% [markdown]
# The last bar is the reason to have a control for every intervention: multiplying the logits beats the steering, too. (Subtracting the
# logits of *another* question, printed above, also raises the probability, to 0.82.) The first choice, in prompts asked in other words, would be the test.
#
# ## Which instructions need their context?
#
# The authors score training examples: how much attention do the answer's tokens give the user's, in the head that gives most,
# in one layer? Where that is much, the answer depends on what the user said. We wrote twenty short passages, each with
# a question that only the passage answers, and with another that needs no passage. The second stands alone, or behind the
# same passage; alone it is shorter, and length by itself would tell the two kinds apart.

# %%
LAYER = 20
NEWLINE = tokens("\n")[0]


def dependency(user, answer):
    """By layer: attention from the answer to the user's tokens, best head, mean over the answer."""
    before, between = map(tokens, WRAPPERS[chat])
    ids = torch.cat([before, tokens(user), between, tokens(answer)])
    seen = interp.run(model, ids[None], keep=["L*H*.pattern"], last_only=True)
    pattern = seen.kept["L*H*.pattern"][:, :, 0]  # [layer head dest src]
    users = torch.zeros(len(ids), dtype=torch.bool)
    users[len(before) : len(before) + len(tokens(user))] = True
    mass = pattern[:, :, -len(tokens(answer)) :, users & (ids != NEWLINE)].sum(-1)
    return mass.amax(1).mean(-1).cpu().numpy()


given = {kind: rows[: 6 if FAST else 20] for kind, rows in instructions().items()}
score = {k: np.array([dependency(*row) for row in rows]) for k, rows in given.items()}
size = {k: [len(tokens(user)) for user, _ in rows] for k, rows in given.items()}


# %%
def area(rows):
    """The chance that an instruction that needs its passage scores above one that does not."""
    needs, others = rows[:, :1], rows[:, 1]
    return (needs > others).mean() + (needs == others).mean() / 2


NEEDS = "needs the passage"
kinds = {"no passage": "no passage", "the same passage, not needed": "passage not needed"}


def compare(values):
    """The area for both kinds, passages drawn."""
    return {
        part: measured(np.stack([values[NEEDS], values[kind]], 1), area, unit="passages")
        for part, kind in kinds.items()
    }


v_score = claims["dependency-score"].judge(compare({k: x[:, LAYER] for k, x in score.items()}))
print(v_score, *(f"{k}: {v.measured}" for k, v in v_score.parts), sep="\n")
print("by the number of the user's tokens alone:")
for part, m in compare(size).items():
    print(f"  {part}: {m}")

# %%
layers = range(score[NEEDS].shape[1])
areas = [compare({kind: x[:, at] for kind, x in score.items()}) for at in layers]
interp.plots.lines(
    np.array([[area[part].value for area in areas] for part in kinds]),
    layers,
    names=list(kinds),
    x_name="layer",
    title="AUROC of the context-dependency score by layer",
    unit="AUROC",
    guide=([0.5] * len(layers), "guessing"),
    colours=["#cc79a7", "#8c564b"],
)

# %% [markdown]
# The score tells them apart, 0.93 also where both have the same passage and the number of tokens says nothing (0.52). From
# layer 14 on nearly every layer does as well as the one that was fixed beforehand; some earlier ones guess. Mind what the
# score sees: answers that repeat words of the passage. An answer that follows from a passage without repeating it was
# not among the twenty, and how well the mere overlap of words would do was not measured. Without a passage the number of tokens
# alone tells the kinds apart perfectly, so that part shows nothing.
#
# ## Verdicts

# %%
verdicts(
    "15-context-awareness",
    [v_costs, v_leaves, v_steer, v_score, v_only, v_hidden, v_contrast],
    model=MODEL,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - A template changes an answer although every word of the question stays the same. Try a prompt with and without.
# - Compare with a wrapper of equally many neutral tokens. Against the plain prompt the user's tokens lose attention; against neutral
#   words they do not, although only the template hurts the answer.
# - An intervention that works does not prove the diagnosis.
# - A probability that rises may be confidence. Multiply the logits as a control before you believe a method.
# - "The right word is most likely" and "the right word is likely" are two measures, and the template hurts them differently.
#
# ## What did not reproduce, and what was not tried
#
# - **The bias of roles** was looked for in the attention of the last token to all of the user's tokens. Attention to the needle, in the heads that
#   fetch it, and patching keys and values of the six tokens between user and answer, on prompts that were not looked at, would decide it.
# - **Steering** needs a measure that sharpening does not move: the first choice in prompts asked in other words, beside as many tokens of the wrapper
#   without those six, and the loss on other text for what it costs.
# - **The loss by greedy decoding** is small in the judged prompts. A longer text, free writing scored by the share of the
#   needle's words, and the question in other words would show it; the last is shown above.
# - **Hidden words** need prompts that the template makes the model miss: fifty in other words would do.
# - **Contrast** needs a measure that sharpening does not move, such as the first choice, on such prompts as well.
# - **No fine-tuning**: neither was a base model compared with its chat model, nor a model trained with the score.
# - **One small model**, twenty prompts of 64 tokens, one kind of needle, one choice of neutral words for each length.
#
# ## Try it
#
# - Your own words for the wrapper: change `PAGE` and `GOES_ON`; keep the numbers of tokens that are printed there.
# - A longer text: `length = 256`. Does the template's cost grow?
# - `turned_down(range(*spans(chat)[1:3]), 0.2)` steers away from the six tokens alone. Try it on `judge`.
#
# ## Further reading
#
# - Zhang et al. 2023, "Tell Your Model Where to Attend: Post-hoc Attention Steering for LLMs", arXiv 2311.02262: steering at chosen heads.
# - Wu et al. 2024, "Retrieval Head Mechanistically Explains Long-Context Factuality", arXiv 2404.15574: the heads that fetch a
#   needle, in [13-retrieval-heads](13-retrieval-heads.ipynb).
