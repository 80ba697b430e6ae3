# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Multiple choice: how does the right word become the right letter?
#
# Paper: Lieberum et al. 2023, "Does Circuit Analysis Interpretability Scale? Evidence from Multiple Choice Capabilities in Chinchilla", arXiv 2307.09458; probability on the options after Wiegreffe et al. 2023, "Increasing Probability Mass on Answer Choices Does Not Always Improve Accuracy", arXiv 2305.14596
#
# **The question.** "Which is gold? A. fish B. gold C. lake D. rain. Answer:" To say " B", a model has to find the right
# word among the options and then name the letter that stands before it. Some heads look at the right line. How do they
# know which one it is? Do they look for *the second item*, for *the word gold*, or for something else?
#
# **How we look.** SmolLM2 cannot do it: it is right in a quarter of the prompts. So we train it for a minute on 40 words, three times from
# three seeds, and look at how the trained models do it with words that they were not trained on. The main test is a swap. We
# give the heads what another prompt had in its place, and read off whose letter comes out.
#
# *Before you run anything: a head at the last token asks, and the lines answer. If the head is given the question of another
# prompt, in which another line is right, what will the model say?*
#
# **What we found.** The heads that look at the right line do not look for the second item, and not for the word either. Given
# another prompt's queries they still answer their own prompt (94 of 100 times); given the keys of another prompt's lines they
# mostly name that prompt's line (61 of 100). So it seems to be the lines that say "it is me", though this number had not settled by half of
# the training and is not judged. Four of 64 directions are enough for queries, keys and values. Of all direct effects on the
# letter, 24 of 300 nodes have 90 %. And a model whose probability lies on the options to 96 % can still guess among them.
#
# 12 minutes · intermediate · you should know what queries and keys are

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | model | Chinchilla with 70 billion parameters, which can do it | SmolLM2-135M, which cannot; layers 12 to 23 are trained for a minute |
# | questions | MMLU: the model has to know the answer, and to name its letter | the answer's text stands in the question: only the letter is left to find |
# | output nodes | logit attribution, attention patterns, activation patching | logit attribution; then all other nodes are averaged away |
# | semantics of the heads | low-rank queries, keys and values; changed labels | the same, and swaps between prompts with the same words in another order |
# | controls | | random directions, random heads, random nodes; three seeds; half of the training |
#
# What holds here holds of a small model that was made to do the task, and may have been made to do it in its own way.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
from functools import cache

import numpy as np

import interp
from interp.methods.runs import random_heads
from interp.replications import multiple_choice as mc
from interp.studies import converged, gate, load_claims, measured, verdicts

SEEDS = [1, 2] if FAST else [1, 2, 3]
# options, prompts a step, rate and steps of each stage; what comes before the last is half of all
STAGES = [(2, 6, 2e-4, 20), (4, 4, 1e-4, 40), (4, 4, 1e-4, 60)]
if FAST:
    STAGES = [(4, 2, 1e-4, 1)]  # no training to speak of: the claims about it are not tested
claims = load_claims("09-multiple-choice")
claims

# %% [markdown]
# ## The model cannot do it, and then it can
#
# The words of training, those by which heads and directions are found, and those by which they are judged have none in
# common. All numbers below are of the last kind.

# %%
base = interp.load(MODEL)
n = 8 if FAST else 24
find = mc.letters(base, mc.TO_FIND, 8 if FAST else 16, seed=1)
judge = mc.letters(base, mc.TO_JUDGE, n, seed=2)
order = mc.letters(base, mc.TO_JUDGE, n, seed=3, shuffled=True)
new = mc.letters(base, mc.TO_JUDGE, n, seed=4, shuffled=True, labels=mc.OTHERS)
for task in (judge, order, new):
    print(base.tokenizer.decode(task.prompts[1]).split("|>")[-1], end="\n\n")


def right(task, logits):
    """The share of prompts whose right letter is the likeliest of the four."""
    return float((mc.chosen(task, logits) == mc.places(task)).double().mean())


@cache
def answers(model, task):
    """The logits after each prompt; asked for once more, they are not computed again."""
    return interp.run(model, task, last_only=True).logits


# %%
text, losses = ["The weather was fine, and they walked along the river until it was dark."], []


def trained(seed):
    """The model after half of the steps, and after all."""
    model = half = base
    for stage, (options, batch, rate, steps) in enumerate(STAGES):
        task, half = (
            mc.letters(base, mc.TRAINED_ON, 400, 100 * stage + seed, options=options),
            model,
        )
        how = dict(layers="12-23", batch=batch, lr=rate, steps=steps, seed=seed + 10 * stage)
        tuned = interp.finetune(model, task, heldout=find[:4], other_texts=text, **how)
        model = tuned.model
        losses.append(tuned.losses.values)
    return half, model


models = [trained(seed) for seed in SEEDS]  # [seed][half, end]
interp.plots.lines(
    np.concatenate(losses).reshape(len(SEEDS), -1),
    range(1, 1 + sum(steps for *_, steps in STAGES)),
    placed=True,
    names=[f"seed {seed}" for seed in SEEDS],
    x_name="step",
    unit="nats",
    title="Loss of the right letter (two options first, then four)",
)

# %%
kinds = {"in order": judge, "another order": order, "new labels": new}


def each(measure):
    """A number of each model [seed half-or-end], or several [seed half-or-end number]."""
    return np.array([[measure(model) for model in pair] for pair in models])


accuracy = each(lambda model: [right(task, answers(model, task)) for task in kinds.values()])
before = [right(task, answers(base, task)) for task in kinds.values()]
interp.plots.heatmap(
    np.vstack([before, accuracy[:, 0].mean(0), accuracy[:, 1].mean(0)]),
    ["before", "half of the training", "end"],
    list(kinds),
    row_name="",
    col_name="labels of the options",
    title="Accuracy on words that were not trained on (chance: 0.25)",
    unit="share right",
    limit=1.0,
)
able = gate("accuracy with A to D in order", measured(accuracy[:, 1, 0]), at_least=0.9)
print(able)


def judged(key, values, *more, within=0.15, relative=False, **options):
    """The verdict on the numbers at the end [seed half-or-end], if they are those at half."""
    settled = converged(values[:, 1], values[:, 0], within=within, relative=relative, name=key)
    one = claims[key] if not more else claims[key].part(more[0])
    return one.judge(measured(values[:, 1]), gate=[able, settled], **options)


v_labels = claims["labels"].judge(
    {part: judged("labels", accuracy[..., i], part) for i, part in enumerate(kinds) if i},
    gate=[able, converged(accuracy[:, 1, 0], accuracy[:, 0, 0], within=0.15, name="accuracy")],
)
print(v_labels)

# %% [markdown]
# Before training a quarter of the prompts is right, which is chance. After half of the training 97 %
# of the answers are right, at the end all are, and the loss is near zero (but for a few
# single steps). The labels were always A to D in order, and yet new labels such as M, V, Z, S are found in 82 % of the prompts at the
# end. At half of the training it was 58 %. The step from one to the other is larger than the 0.15 that we allow, so the row
# "labels" is not judged: what was learned keeps getting more general while the loss is already small.
#
# ## Who writes the letter?
#
# Logit attribution gives each head's and each MLP's direct effect: what it writes at the last token, read through the
# unembedding, for the right letter and against the others. We take the 24 nodes (of 300) with the largest effects on the first
# words, and ask on the other words how much of all direct effects is theirs. Then we leave these 24 as they are and let
# the other 276 write what they write on average. If the 24 were all that is needed, the answer would stay.

# %%
shape = interp.logit_attribution(base, find[:4], "L*H*").values.shape
nodes = [f"L{i}H{j}" for i, j in np.ndindex(shape)] + [f"mlp.{i}" for i in range(shape[0])]


def direct(model, task):
    """Each node's direct effect on the right letter's lead, mean over prompts."""
    parts = [interp.logit_attribution(model, task, where) for where in ("L*H*", "mlp.*")]
    return np.concatenate([part.values.ravel() for part in parts])


def written(model):
    """The share of the direct effects that is the 24's, and the 24."""
    effects, top = np.abs(direct(model, judge)), np.argsort(-np.abs(direct(model, find)))[:24]
    return effects[top].sum() / effects.sum(), top


def kept(model, some):
    """The share of the lead that is kept when these nodes alone are as they are."""
    left = mc.keep_only(model, find, judge, [nodes[i] for i in some], nodes)
    return float(mc.lead(judge, left).mean() / mc.lead(judge, answers(model, judge)).mean())


outputs = [[written(model) for model in pair] for pair in models]
shares = np.array([[share for share, _ in pair] for pair in outputs])
alone = np.array([[kept(m, top) for m, (_, top) in zip(*both)] for both in zip(models, outputs)])
drawn = np.random.default_rng(0).permuted(np.tile(range(len(nodes)), (len(SEEDS), 1)), axis=1)[
    :, :24
]
random_nodes = measured([kept(end, some) for (_, end), some in zip(models, drawn)])
v_few = judged("few-nodes", shares)
v_enough = judged("enough", alone, control=random_nodes)
print([nodes[i] for i in outputs[0][1][1][:8]], v_few, v_enough, sep="\n")

# %% [markdown]
# 24 nodes of 300 have 0.90 of all direct effects (0.885 to 0.902), where 24 random ones would have 0.08. A small set of
# output nodes, as the paper says. Alone they are nothing: with all others averaged away 0.04 of the lead is left. They write
# the letter, and others have to tell them which. (That number was 0.19 away at half of the training for one seed, so
# "enough" is not judged.) In seed 1 the largest is L23H0.
#
# ## Where do heads look?
#
# A head is called a *correct-letter head* here if it gives the right option's line at least 0.4 of its attention, and at least three
# times as much as a wrong one, on both sets of words.

# %%
heads = [[mc.letter_heads(model, find) for model in pair] for pair in models]
also = [[set(mc.letter_heads(model, judge)) for model in pair] for pair in models]
counts = np.array(
    [[len(a & set(b)) for a, b in zip(*both)] for both in zip(also, heads)], dtype=float
)
v_heads = judged("letter-heads", counts, within=0.5, relative=bool(counts[:, 1].all()))
print("before training:", mc.letter_heads(base, find))
print(*(f"seed {s}: {', '.join(pair[1])}" for s, pair in zip(SEEDS, heads)), v_heads, sep="\n")

# %%
shown = heads[0][1][0] if heads[0][1] else "L23H0"
layer, head = map(int, shown[1:].split("H"))
interp.plots.heatmap(
    np.round(mc.looks(models[0][1], judge)[1][layer, head], 2),
    ["A is right", "B is right", "C is right", "D is right"],
    ["line A", "line B", "line C", "line D"],
    row_name="",
    col_name="line looked at, from the last token",
    title=f"Attention of {shown} to the four lines, seed {SEEDS[0]}",
    unit="attention",
    limit=1.0,
)

# %% [markdown]
# Before training no head does this. After it 9 to 13 do, in layers 17 to 28, and L23H0 is the first in all three seeds. How
# many there are was still changing at half of the training, by more than a half of the number, so the count is not judged. In the
# picture each row is the right answer, and the head looks along the diagonal.
#
# ## What do the heads look for?
#
# Each prompt gets a donor: the same four words in another order, and another word is asked for. In the picture's first example the
# prompt asks for the second line. Its donor asks for a word that is on line $j$ there, and on line $k$ of the prompt
# itself. So three answers tell three ideas apart:
#
# | what is swapped in says | the model answers |
# | --- | --- |
# | "line $j$ is right", whatever stands there | the letter of the donor's right line |
# | "the word is gold" | the letter that the donor's word has in the prompt itself |
# | nothing that matters | the prompt's own right letter |

# %%
donors = mc.letters(base, mc.TO_JUDGE, n, seed=2, donors=True)
print(*(base.tokenizer.decode(t.prompts[1]).split("|>")[-1] for t in (judge, donors)), sep="\n\n")
own, line, word = mc.places(judge), mc.places(donors), mc.places(donors, "word")


def says(logits):
    """Shares of answers: the prompt's letter, that of the donor's line, of its word, another."""
    said = mc.chosen(judge, logits)
    shares = [float((said == place).double().mean()) for place in (own, line, word)]
    return [*shares, 1 - sum(shares)]


swaps = {
    what: np.array(
        [
            [says(mc.swapped(model, judge, donors, some, what)) for model, some in zip(*both)]
            for both in zip(models, heads)
        ]
    )
    for what in "qk"
}

# %% tags=["cover"]
interp.plots.heatmap(
    np.vstack([[says(answers(end, judge)) for _, end in models], *(swaps[w][:, 1] for w in "qk")])
    .reshape(3, len(SEEDS), 4)
    .mean(1),
    ["nothing", "queries", "keys"],
    ["its own line", "the donor's line", "the donor's word", "another"],
    row_name="taken from the donor",
    col_name="whose letter the model says",
    title="Correct-letter heads given another prompt's queries or keys",
    unit="share of prompts",
    limit=1.0,
)

# %%
others = [
    random_heads(base, pair[1], sets=1, layers=range(12, 24))[0] if pair[1] else []
    for pair in heads
]
random_said = np.array(
    [says(mc.swapped(end, judge, donors, some)) for (_, end), some in zip(models, others)]
)
v_nth = judged("nth-item", swaps["q"][..., 1], control=measured(random_said[:, 1]))
v_word = judged("word", swaps["q"][..., 2], control=measured(random_said[:, 2]))
v_keys = judged("keys", swaps["k"][..., 1])
print(v_nth, v_word, v_keys, sep="\n")

# %% [markdown]
# With another prompt's queries almost nothing happens: 94 % of the answers stay, 1 % go to the donor's line and 4 % to the
# donor's word. Random heads give 0 %. So both ideas fail for the queries of these heads: they say neither "the second item" nor "gold". With the
# donor's keys, in the same heads, 61 % of the answers go to the donor's line. The asking is the same for every
# prompt, and the lines answer it: something before these heads has already marked the right line. A repeated word is easy to
# mark, since the line's word can look back at the question, which comes first. This share was 0.29 away at half of
# the training for one seed, so it is shown and not judged.
#
# The paper's sentence is about queries *and* keys. We test the queries, and a key that says "the second item" would be the same in prompt
# and donor, so that the swap of keys cannot show it. What it shows is that the keys say something else as well. And our models were
# trained to find a repeated word, where Chinchilla answers questions of knowledge. So the row "nth-item", which by its threshold
# came out as *does not hold*, says something about our models and nothing about the paper's: it is not testable here.
#
# ## How few directions are enough, and for which labels?
#
# The queries at the last token, and the keys and values of the lines, are cut down to the directions in which they vary most
# on the first words, with the labels A to D in order. Then the same directions are used with new labels.

# %%
few = [
    [mc.Directions(model, find, some) for model, some in zip(*both)] for both in zip(models, heads)
]


def cut(task, rank, **options):
    """Accuracy in so many directions, as a share of the model's own [seed half-or-end]."""
    base_rate = accuracy[..., 0 if task is judge else 2]
    inside = [[right(task, one.kept(task, rank, **options)) for one in pair] for pair in few]
    return np.array(inside) / np.maximum(base_rate, 1 / n)


ranks = {f"{rank} directions": rank for rank in (4, 12)}
ordered = {part: cut(judge, rank) for part, rank in ranks.items()}
dealt = {part: measured(cut(judge, rank, drawn=0)[:, 1]) for part, rank in ranks.items()}
relabelled = cut(new, 4)
v_rank = claims["low-rank"].judge(
    {part: judged("low-rank", ordered[part], part, control=dealt[part]) for part in ranks},
    gate=able,
)
can = gate("accuracy with new labels", measured(accuracy[:, 1, 2]), at_least=0.5)
drop = ordered["4 directions"] - relabelled
settled = converged(drop[:, 1], drop[:, 0], within=0.15, name="partial")
v_partial = claims["partial"].judge(measured(drop[:, 1]), gate=[able, can, settled])
bars = [*(measured(x[:, 1]) for x in ordered.values()), *dealt.values(), measured(relabelled[:, 1])]
interp.plots.bars(
    [m.value for m in bars],
    ["4, in order", "12, in order", "4 random", "12 random", "4, new labels"],
    interval=np.array([(m.low, m.high) for m in bars]).T,
    title="Accuracy kept by a few of 64 directions",
    unit="share of the model's own",
)
print(v_rank, v_partial, sep="\n")

# %% [markdown]
# Four directions keep 0.99 of the accuracy (0.96 to 1), twelve keep all; as many random ones keep 0.5 (0.25 to 0.75). So
# the compression works, as in the paper. The same four directions used with new labels keep 0.57 of what the model can do with
# new labels. That is the paper's "partial explanation", in direction; but the gap was 0.39 away at half of the training
# for one seed, and is not judged.
#
# ## Probability on the options is not accuracy
#
# Wiegreffe and colleagues ask a question about the untrained model: does it help if more of the probability lies on the options?
# Listing the options, and one example, put it there. The questions are capitals, which SmolLM2 knows.
#
# *Before you run the next cell: where will it be right most often? Without options, with them, or with letters?*

# %%
other = interp.tasks.capitals(base, n=12 if FAST else 19)
facts, shots = (
    [
        (c, base.tokenizer.decode(a).strip())
        for c, a in zip(task.labels["country"], task.answers[:, 0])
    ]
    for task in (other.heldout(), other)
)


def question(fact, known, form, place):
    """A question with its answer and the other options."""
    country, city = fact
    at = known.index(fact)
    cities = [known[(at + k) % len(known)][1] for k in (3, 5, 8)]
    cities.insert(place, city)
    lines = [f"{letter}. {one}" for letter, one in zip("ABCD", cities)]
    shown = {"": [], "words": [f"Options: {', '.join(cities)}"], "letters": lines}[form]
    names = list("ABCD") if form == "letters" else cities
    text = "\n".join([f"Question: What is the capital of {country}?", *shown, "Answer:"])
    return text, f" {names[place]}", [f" {x}" for i, x in enumerate(names) if i != place]


def attentive(form, example):
    """Probability on the four options, and whether the right one is the likeliest [prompt]."""
    texts, options = [], []
    for i, fact in enumerate(facts):
        text, answer, wrong = question(fact, facts, form, i % 4)
        if example:
            first, its, _ = question(shots[i % len(shots)], shots, form, (i // 4) % 4)
            text = f"{first}{its}\n\n{text}"
        texts.append(text)
        options.append([answer, *wrong])
    rights, wrongs = [some[0] for some in options], [some[1:] for some in options]
    p = answers(base, interp.tasks.pairs(base, texts, answers=rights, wrong=wrongs)).softmax(-1)
    ids = [[base.tokenizer(x, add_special_tokens=False).input_ids[0] for x in o] for o in options]
    four = np.array([[float(p[i, token]) for token in row] for i, row in enumerate(ids)])
    return np.array([four.sum(1), four.argmax(1) == 0])


asked = {
    (form, example): attentive(form, example)
    for form in ("", "words", "letters")
    for example in (False, True)
}

# %%
names = [f"{form or 'not listed'}{', one example' if ex else ''}" for form, ex in asked]
interp.plots.heatmap(
    [both.mean(1) for both in asked.values()],
    names,
    ["probability on the options", "accuracy among them"],
    row_name="how the options are given",
    col_name="",
    title="Capitals: the model attends to the options, but is it right?",
    unit="share",
    limit=1.0,
)
gained = {form: asked[form, True] - asked["", False] for form in ("words", "letters")}
v_mass = claims["mass"].judge({form: measured(gain[0]) for form, gain in gained.items()})
knows = gate("capitals without options", measured(asked["", False][1]), at_least=0.6)
v_prompting = claims["prompting"].judge(
    {form: measured(gain[1]) for form, gain in gained.items()},
    gate=[knows, gate("mass gained", measured(gained["letters"][0]), at_least=0.4)],
)
print(v_mass, v_prompting, sep="\n")

# %% [markdown]
# The model knows all 19 capitals when nothing is listed, although it puts 1 % of its probability on the four cities. Listing
# them as words and giving one example raises that to 46 %, letters and one example to 96 %: the paper's simple method
# works. It is the example that does it. The list alone does nothing (0.5 and 4 %), and an example without a list gives 70 %.
# Accuracy goes the other way, from 1.00 to 0.63 with words, and to 0.26 with letters, which is guessing. The
# model has learned that a letter is wanted, and not which one. That accuracy could not rise is due to our questions, which are easy;
# that it falls is not.
#
# ## Two exercises
#
# **1. A donor that tells the three ideas apart.** The prompt below asks for "lake". Write a donor: the same words in an
# order of your own, and the word that it asks for. Each of the three ideas (that line, that word, nothing matters) has to lead to
# another letter.

# %%
options, wanted = ["gold", "lake", "rain", "wolf"], "lake"  # lines A to D: the right letter is B
### BEGIN SOLUTION
### STUB: donor, donor_wanted = ["lake", "gold", "wolf", "rain"], "gold"
donor, donor_wanted = ["rain", "gold", "wolf", "lake"], "rain"
### END SOLUTION


def check_donor(donor, donor_wanted):
    """What is wrong with the donor, or which letters tell the ideas apart."""
    if sorted(donor) != sorted(options) or donor_wanted not in options:
        return "Not yet: with other words, no line of the prompt could be the donor's word."
    own, line, word = (
        words.index(one)
        for words, one in ((options, wanted), (donor, donor_wanted), (options, donor_wanted))
    )
    if word == own:
        return "Not yet: it asks for the same word, so 'that word' looks like 'nothing matters'."
    if line == own:
        return "Not yet: the right line is the same, so 'that line' looks like 'nothing matters'."
    if line == word:
        return "Not yet: its word is on one line in both, so 'that line' looks like 'that word'."
    letters = "ABCD"
    return f"Right: that line {letters[line]}, that word {letters[word]}, nothing {letters[own]}."


print(check_donor(donor, donor_wanted))

# %% [markdown]
# **2. How many prompts?** A model that guesses among four options is right in 0.25 of the prompts. How many prompts are needed
# at least, so that the 95 % interval around 0.25 (1.96 standard errors to either side) ends below 0.35?

# %%
### BEGIN SOLUTION
### STUB: prompts = 24
prompts = 73
### END SOLUTION


def check_prompts(prompts):
    """Whether so many prompts are enough, and how far off the number is."""
    end = 0.25 + 1.96 * (0.25 * 0.75 / prompts) ** 0.5
    if end >= 0.35:
        hint = " That is one standard error; the interval has 1.96." if prompts in (19, 20) else ""
        return f"Not yet: with {prompts} prompts the interval ends at {end:.3f}.{hint}"
    if prompts > 73:
        hint = " Did you take 0.5 as the share?" if prompts in (96, 97) else ""
        return f"Enough (it ends at {end:.3f}), but fewer will do.{hint}"
    return f"Right: it ends at {end:.3f}. With 24 prompts it ends at 0.423."


print(check_prompts(prompts))

# %% [markdown]
# ## Verdicts

# %%
rows = [v_few, v_enough, v_heads, v_rank, v_nth, v_word, v_keys, v_partial, v_labels]
verdicts("09-multiple-choice", [*rows, v_mass, v_prompting], model=MODEL, fast=FAST)

# %% [markdown]
# ## What to remember
#
# - A head that looks at the right place need not be the one that found it. Swap its queries and its keys apart, and see
#   which of them decides.
# - To tell "the second item" from "the word gold", build prompts in which each idea leads to a letter of its own.
# - Who writes the answer and who finds it are two questions. 24 nodes have 90 % of the direct effects and alone keep 4 % of the
#   lead.
# - Probability on the options says that the form of the answer was understood. It says nothing about the answer.
# - Look at half of the training. Accuracy was the same there, and five of the numbers behind it were not.
#
# ## What did not reproduce, and what was not tried
#
# - **"Nth item"** in the queries: not in these models, which does not test the paper's sentence. They were fine-tuned on one kind of question in which the right word
#   is repeated; Chinchilla answers questions of knowledge, where nothing is repeated. There the queries may have to say more.
# - **Not judged, because the numbers at half of the training were others:** how many heads, whether 24 nodes are enough, what the keys
#   say, and how far the few directions and the training itself carry over to other labels. Training two or three times as long would decide
#   them.
# - **The thresholds are ours**; the paper's abstract gives no numbers.
# - **Heads share keys and values** in groups of three, so a swap or a cut of keys also reaches heads that were not chosen.
# - **What had been seen before.** The recipe, and a first look at ranks, labels and swaps, come from pilots with other seeds, other words
#   and partly other ways of training; the claims' file says which. Two options first, because with four the models
#   guess for a long time, and how long hangs on the draw.
# - **FAST** does not train to speak of: it judges the two rows on capitals alone, with 12 capitals. With these few the row "mass" is partly.
#
# ## Try it
#
# - The values: `mc.swapped(model, judge, donors, heads, "v")`. Which letter comes out when a line's content is another prompt's?
# - Three options, or six: `mc.letters(base, mc.TO_JUDGE, 24, 2, options=3)`. Does what was learned with four work there?
#
# ## Further reading
#
# - Wiegreffe et al. 2024, "Answer, Assemble, Ace: Understanding How LMs Answer Multiple Choice Questions", arXiv 2407.15018.
# - Feng and Steinhardt 2023, "How do Language Models Bind Entities in Context?", arXiv 2310.17191: another way to say which belongs
#   to which, and what multiple choice does in its place.
