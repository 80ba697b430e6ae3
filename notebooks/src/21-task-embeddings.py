# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Task embeddings: can a task be put into the heads instead of the prompt?
#
# Paper: Park and Rhee 2025, "Soft Injection of Task Embeddings Outperforms Prompt-Based In-Context Learning", arXiv 2507.20906; Yin, Ye and Durrett 2024, "LoFiT: Localized Fine-tuning on LLM Representations", arXiv 2406.01563
#
# **The question.** Ten examples in a prompt, "Q: see / A: saw", tell a model what to do with "Q: go / A:". Where is that
# instruction once the model has read it? If it is in what the attention heads write at the last token, we should be able to
# average it, keep it, and put it into a prompt without any example.
#
# **What we found.** A learned mix of head outputs does about as well in this model as ten examples. Without examples none of the
# test words is right, as it must be, since nothing says what to do. With the mean of twelve few-shot prompts mixed into the
# heads at the last token, by shares that were learned on twenty words, 87 % are right; with ten examples in the prompt 85 % (the
# difference is -3 to 8 points). Whether the mix can beat the prompt, as it does in the paper, these tasks cannot tell. For
# capitals a function vector and an even mix get nothing right, and the learned mix 17 of 19. Trained offsets of eight heads
# reach 87 % of what LoRA gains with a hundredth of its numbers, and more than offsets of one draw of random heads. Whether the
# heads must be the task's own, two tasks could not tell.
#
# 15 minutes · intermediate · you should know what an attention head writes, and what LoRA is

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | models | 12 of 4 to 70 billion parameters (soft injection); Llama 2 and Gemma (LoFiT) | SmolLM2-135M |
# | tasks | 57; truthfulness and reasoning | five tasks that map one word to one word |
# | embedding | mean head output at the last token of 50 prompts of 10 examples | the same of 12 prompts of 10 examples |
# | shares | sigmoids, one a head, 400 steps on one example each | the same, 12 steps on all training words |
# | function vector | mean output of the heads with the largest causal effect, added in one layer | ten heads; layer and strength chosen on training words |
# | heads for offsets | learn to scale each head's output, keep the 3 % of heads with the longest vectors | the same; 8 of 270 heads |
# | LoRA | 20 to 200 times as many numbers | rank 1 on queries and values, 113 times as many |
#
# The authors' settings are those of their published code (SNU-DRL/Soft_Injection and fc2869/lo-fit). Words that train and
# words that test are never the same. Steps and learning rates were tried out on training words only, those of LoFiT on other
# heads than those that are judged.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import numpy as np
import torch

import interp
from interp.methods import steering
from interp.methods.runs import random_heads
from interp.replications.task_embeddings import FAMILIES, head_scalings, question, word_pairs
from interp.studies import converged, gate, load_claims, measured, verdicts

# %%
claims = load_claims("21-task-embeddings")
claims

# %% [markdown]
# ## Five tasks
#
# Two are forms of a verb, two are facts about a country, one is the opposite of a word. The "Q:" of the prompt is not
# decoration: the first token of a text is this model's attention sink, and a word that stands there loses its content. `interp`
# puts `<|im_start|>` in front of a string, but not of a list of token ids. With "Q:" before the word either way works.

# %%
model = interp.load(MODEL)
KINDS = ["past", "ing", "antonym"] if FAST else list(FAMILIES)
n_train, n_test, n_shown = (12, 8, 4) if FAST else (20, 20, 12)
words = {kind: word_pairs(model, kind) for kind in KINDS}
train = {kind: question(model, words[kind][0][:n_train], name=kind) for kind in KINDS}
test = {kind: question(model, words[kind][1][:n_test], name=kind) for kind in KINDS}
for kind in KINDS:
    pairs = ", ".join(f"{a} -> {b}" for a, b in words[kind][0][:3])
    print(f"{kind:9} {FAMILIES[kind]:18} {len(train[kind])} + {len(test[kind])} words: {pairs}")

# %% [markdown]
# ### Exercise 1: a prompt that keeps its word
#
# Write the prompt for one word, in the form above and without examples.


# %%
def ask(word):
    """The prompt for this word, without its answer."""
    ### BEGIN SOLUTION
    ### STUB: return word
    return f"Q: {word}\nA:"
    ### END SOLUTION


def check_prompt(prompt, word="go", answer="went"):
    """What is wrong with a prompt."""
    if not isinstance(prompt, str):
        return "✘ no answer yet: return a string"
    if prompt.startswith(word):
        return "✘ the word comes first: where nothing is put before it, its content is lost"
    if prompt.endswith(" "):
        return "✘ it ends in a space: the answer's token is ' went', with its space"
    if answer in prompt:
        return "✘ the answer stands in the prompt"
    if word not in prompt:
        return "✘ the word is missing"
    return "✔ right" if prompt == f"Q: {word}\nA:" else "✘ two lines: 'Q: ' and the word, then 'A:'"


print(check_prompt(ask("go")))

# %% [markdown]
# ### Exercise 2: the mix
#
# Soft injection replaces a head's output z by a mix of z and the mean output on few-shot prompts. A share of 0 leaves the
# head alone, a share of 1 makes it say the mean whatever the word is. Write the mix.


# %%
def mixed(z, mean, share):
    """This share of the mean, the rest of z."""
    ### BEGIN SOLUTION
    ### STUB: return z
    return (1 - share) * z + share * mean
    ### END SOLUTION


def check_mix(mix):
    """What is wrong with a mix."""
    z, mean = torch.tensor([1.0, 2.0]), torch.tensor([5.0, -2.0])
    if torch.allclose(mix(z, mean, 0.25), 0.25 * z + 0.75 * mean):
        return "✘ the shares are exchanged: share 0 should leave z alone"
    if torch.allclose(mix(z, mean, 0.25), z + 0.25 * mean):
        return "✘ the mean is added: at share 1 z is still there"
    if torch.allclose(mix(z, mean, 0.25), z) or torch.allclose(mix(z, mean, 0.25), mean):
        return "✘ the share has no effect"
    right = torch.allclose(mix(z, mean, 0.25), torch.tensor([2.0, 1.0]))
    return "✔ right" if right else "✘ a share of 1/4 should go a quarter of the way from z to mean"


print(check_mix(mixed))

# %% [markdown]
# ## Ten examples, none, and what is in between
#
# *Before you run the next cells: the mean of twelve prompts contains no word that is asked for. How many of the test words do you
# expect to be right when it is mixed into every head?*

# %%
few_shot = {
    kind: question(model, words[kind][0][:n_shown], words[kind][0], shots=10) for kind in KINDS
}
ten_shot = {
    kind: question(model, words[kind][1][:n_test], words[kind][0], shots=10) for kind in KINDS
}
learned = {
    kind: steering.soft_injection(
        model, few_shot[kind], train[kind], heldout=test[kind], steps=8 if FAST else 12
    )
    for kind in KINDS
}


def right(task, edits=()):
    """Whether the answer is on top [word]."""
    return task.metric(interp.run(model, task, edits, last_only=True).logits).numpy()


of = {kind: {"ten examples": right(ten_shot[kind])} for kind in KINDS}
for kind in KINDS:
    for name, mix in {
        "nothing": "none",
        "half": "half",
        "learned": "learned",
        "hard": "hard",
        "halfway": "halfway",
    }.items():
        of[kind][name] = learned[kind].score.sel(mix=mix).examples

# %% [markdown]
# ### A function vector
#
# Todd and colleagues' way: take the ten heads whose mean output on few-shot prompts most raises the answer's probability where the
# examples are scrambled, add up what they write, and add the sum to the residual stream in one layer. Which layer, and how
# many times, is chosen on training words.

# %%
LAYERS = (15,) if FAST else (9, 12, 15, 18)
vectors, chosen = {}, {}
for kind in KINDS:
    shuffled = question(
        model, words[kind][0][: 2 if FAST else 6], words[kind][0], shots=5, shuffled=True
    )
    vectors[kind] = steering.function_vector(model, shuffled, heads=10)
    small = train[kind][: 6 if FAST else 12]
    tried = {
        (layer, times): right(
            small, [vectors[kind].push(times, at=f"resid_post.{layer}@END")]
        ).mean()
        for layer in LAYERS
        for times in (1, 2, 4)
    }
    chosen[kind] = max(tried, key=tried.get)
    print(kind, "layer, times:", chosen[kind], "heads:", vectors[kind].metadata["heads"][:4])


def pushed(kind, vector):
    """A function vector in the layer and at the strength that were chosen for a task."""
    layer, times = chosen[kind]
    return [vector.push(times, at=f"resid_post.{layer}@END")]


other = {kind: KINDS[(i + 1) % len(KINDS)] for i, kind in enumerate(KINDS)}
for kind in KINDS:
    of[kind]["function vector"] = right(test[kind], pushed(kind, vectors[kind]))
    of[kind]["another vector"] = right(test[kind], pushed(kind, vectors[other[kind]]))
    of[kind]["another embedding"] = right(
        test[kind],
        steering.injection_interventions(model, learned[other[kind]].means, learned[kind].mix),
    )

# %% tags=["cover"]
COLUMNS = ["nothing", "function vector", "half", "learned", "ten examples"]
interp.plots.heatmap(
    [[of[kind][name].mean() for name in COLUMNS] for kind in KINDS],
    KINDS,
    [
        "nothing",
        "function vector,\none layer",
        "mix of one half,\nall heads",
        "learned mix,\nall heads",
        "ten examples\nin the prompt",
    ],
    row_name="task",
    col_name="what tells the model its task",
    title="Test words answered right: the task in the heads, or in the prompt",
    unit="share right",
    limit=1.0,
    centred=False,
)


# %%
def all_words(name):
    """One number a test word, over all tasks."""
    return np.concatenate([of[kind][name] for kind in KINDS])


able = gate(
    "ten examples in the prompt: share right", measured(all_words("ten examples")), at_least=0.6
)
room = gate("room above ten examples", measured(1 - all_words("ten examples")), at_least=0.05)
settled = converged(
    [of[kind]["learned"].mean() for kind in KINDS],
    [of[kind]["halfway"].mean() for kind in KINDS],
    within=0.15,
    name="share right with learned shares, by task",
)
enough = gate("test words (FAST has few)", measured([len(all_words("nothing"))] * 2), at_least=60)
print(able, room, settled, enough, sep="\n")

# %%
nothing, soft = all_words("nothing"), all_words("learned")
v_works = claims["without-demonstrations"].judge(
    measured(soft - nothing),
    control=measured(all_words("another embedding") - nothing),
    gate=[able, settled],
)
v_ten = claims["beats-ten-shot"].judge(
    measured(soft - all_words("ten examples")), gate=[able, room, settled, enough]
)
v_learn = claims["worth-learning"].judge(
    {
        "one half for every head": measured(soft - all_words("half")),
        "rounded to 0 or 1": measured(soft - all_words("hard")),
    },
    gate=[able, settled, enough],
)
v_vector = claims["function-vector"].judge(
    measured(all_words("function vector") - nothing),
    control=measured(all_words("another vector") - nothing),
    gate=[able, enough],
)
v_layers = claims["many-layers"].judge(
    measured(soft - all_words("function vector")), gate=[able, settled, enough]
)
print(v_works, v_ten, v_learn, v_vector, v_layers, sep="\n")

# %% [markdown]
# Without examples nothing is right in any task. The learned mix (fourth column) is right where ten examples are (fifth), task by
# task: 87 % of the words against 85 %, a difference of 0.02 with an interval from -0.03 to 0.08. So the first claim holds. The
# second is not testable here: ten examples leave 15 % of the words of these five tasks, the paper's gain is a mean over 57, and a gain of five
# points cannot be told from none with 99 words. (By its threshold the row had been *does not hold*, which was changed when the
# built study was read.) The mix has also seen more: twenty answers while it learned, beside its twelve prompts of ten examples.
#
# With another task's embedding in the same shares 16 % are right. Those shares were learned for the right embedding, though; how
# much of the 87 % learning alone would bring, with another task's embedding from the beginning, was not tried.
#
# Two things are learned from the columns between. An even mix of one half does well for verbs and nothing for
# capitals: learning brings 42 points (other even shares than one half were not tried). Whether the shares are soft matters
# little: rounded to 0 or 1 they lose 2 points (interval 0 to 5). And a function vector in one layer does half of the work
# (55 %; with another task's vector, which asks for other answers, no word is right; a vector of random heads was not tried), most of
# it for verbs and languages. It is not trained and has ten heads in one layer, so what makes the learned mix better is not
# told apart here.
#
# The function vector changed once. A first short run made it of two prompts, and it got 2 of 24 test words right; it is made of
# six prompts here, as in the pilot on training words. The threshold was not changed.
#
#
# ## Which heads, and do they serve other tasks?
#
# The shares say how much of each head's output is replaced. All start at one half; dark heads were left alone. Averaged over the
# tasks:

# %%
interp.plots.heatmap(
    np.mean([learned[kind].mix.values for kind in KINDS], 0).T,
    range(9),
    range(30),
    row_name="head",
    col_name="layer",
    title="How much of each head is replaced by its few-shot mean",
    unit="share, mean of tasks",
    limit=1.0,
    centred=False,
)

# %% [markdown]
# Now each task gets its own embedding, but the shares that were learned for another task.

# %%
across = {
    kind: {
        source: right(
            test[kind],
            steering.injection_interventions(model, learned[kind].means, learned[source].mix),
        )
        for source in KINDS
    }
    for kind in KINDS
}
interp.plots.heatmap(
    [[across[kind][source].mean() for source in KINDS] for kind in KINDS],
    KINDS,
    KINDS,
    row_name="embedding and test words of",
    col_name="shares learned for",
    title="A task's embedding with the shares of another task",
    unit="share right",
    limit=1.0,
    centred=False,
)

# %%
advantage = []
for kind in KINDS:
    others = [source for source in KINDS if source != kind]
    similar = [across[kind][s] for s in others if FAMILIES[s] == FAMILIES[kind]]
    dissimilar = [across[kind][s] for s in others if FAMILIES[s] != FAMILIES[kind]]
    if similar:  # opposites have no similar task here
        advantage.append(np.mean(similar, 0) - np.mean(dissimilar, 0))
v_transfer = claims["transfer"].judge(
    measured(np.concatenate(advantage)), gate=[able, settled, enough]
)
print(v_transfer)

# %% [markdown]
# Read the matrix by rows. Verbs are right whoever's shares are used (0.80 to 1), opposites hardly with any but their own (0.1 to
# 0.4), and capitals need their own, too: with the shares of languages, which are facts of a country as well, 0.32, less than with
# those of opposites (0.37). So shares of a similar task are better than others by 0.11 (interval 0.05 to 0.18 over words; there are two pairs of
# similar tasks), which is the direction of the claim and less than the 0.2 that we asked for.
#
#
# ## Offsets of eight heads against LoRA
#
# The second paper trains. First a vector is learned for each head that scales its output, with a price on its size; the eight
# heads with the longest vectors (3 % of 270) are kept. Then a constant vector is learned for each of the eight and added
# to what it writes, at every token. That makes 512 numbers. LoRA of rank 1 on queries and values has 57,600. Both get the same
# prompts without examples, the same steps and the same words to be tested on.

# %%
JUDGED = ["past", "antonym"]
SEEDS = [0] if FAST else [0, 1, 2]
STEPS = 2 if FAST else 20
selected = {
    kind: head_scalings(model, train[kind][:12], steps=1 if FAST else 20).top(8).labels
    for kind in JUDGED
}
drawn_heads = {
    kind: random_heads(model, selected[kind], sets=1, layers="any")[0] for kind in JUDGED
}
for kind in JUDGED:
    print(kind, selected[kind])
both = set(selected["past"]) & set(selected["antonym"])
print(f"{len(both)} of 8 heads are selected for both tasks: {', '.join(sorted(both))}")

# %%
text = interp.texts.chunks(model, interp.texts.prose(), n=2, length=16 if FAST else 32)


def tuned(kind, steps, **how):
    """The sheet of the test words before and after, for each seed."""
    return interp.finetune(
        model,
        train[kind],
        heldout=test[kind],
        other_texts=text,
        steps=steps,
        batch=6,
        seed=SEEDS,
        **how,
    )


ways = {
    "LoRA": dict(how="lora", rank=1, matrices=("q", "v"), lr=0.01),
    "selected heads": dict(how="offsets", lr=0.2),
    "other task's heads": dict(how="offsets", lr=0.2),
    "random heads": dict(how="offsets", lr=0.2),
}
# %%
end, half, before, numbers, spill = {}, {}, {}, {}, {}
for kind, another in (("past", "antonym"), ("antonym", "past")):
    heads = {
        "selected heads": selected[kind],
        "other task's heads": selected[another],
        "random heads": drawn_heads[kind],
    }
    for way, how in ways.items():
        if FAST and (kind, way) not in (
            ("past", "LoRA"),
            ("past", "selected heads"),
            ("antonym", "LoRA"),
        ):
            continue  # a short run trains, to see that it can, and judges nothing trained
        how = {**how, **({"heads": heads[way]} if way in heads else {})}
        found = tuned(kind, STEPS, **how)
        scores = found.heldout.sel(measure="answer on top")
        before[kind, way], end[kind, way] = (
            scores.sel(when=when).values for when in ("before", "after")
        )
        numbers[way] = found.n_trained
        spill[kind, way] = found.sheet.sel(measure="other text: KL", when="after").values
        if way != "random heads" and not FAST:
            found = tuned(kind, STEPS // 2, **how)
            half[kind, way] = found.heldout.sel(measure="answer on top", when="after").values
        print(kind, way, np.round(end[kind, way], 2), np.round(half.get((kind, way), np.nan), 2))

# %%
interp.plots.heatmap(
    [[end.get((kind, way), np.array(np.nan)).mean() for way in ways] for kind in JUDGED],
    JUDGED,
    [
        "LoRA",
        "offsets of\nselected heads",
        "offsets of the\nother task's heads",
        "offsets of\nrandom heads",
    ],
    row_name="task",
    col_name=f"what is trained, {STEPS} steps",
    title="Test words answered right after training, mean over seeds",
    unit="share right",
    limit=1.0,
    centred=False,
)
print({way: f"{count:,} numbers" for way, count in numbers.items()})
print("KL on prose:", {" ".join(key): round(float(value), 2) for key, value in spill.items()})


def each(way, when=end):
    """One number a training, over tasks and seeds; none where it was not trained."""
    return np.concatenate([np.atleast_1d(when.get((kind, way), [])) for kind in JUDGED])


seeds = gate("seeds (FAST trains one)", measured([len(SEEDS)] * 2), at_least=3)
learns = gate("LoRA: share right", measured(each("LoRA")), at_least=0.5)


def steady(*names):
    """Gates: half the steps gave the same."""
    return [
        converged(each(way), each(way, half), within=0.2, name=f"share right, {way}")
        for way in names
        if half
    ]


# %%
ready = seeds.passed and learns.passed
own, gain = each("selected heads"), each("selected heads") - each("selected heads", before)
v_lora = claims["matches-lora"].judge(
    measured(gain / (each("LoRA") - each("LoRA", before))) if ready else None,
    gate=[seeds, learns, *steady("selected heads", "LoRA")],
)
v_local = claims["localisation"].judge(
    measured(own - each("other task's heads")) if ready else None,
    gate=[seeds, learns, *steady("selected heads", "other task's heads")],
)
v_random = claims["better-than-random"].judge(
    measured(own - each("random heads")) if ready else None,
    gate=[seeds, learns, *steady("selected heads")],
)
print(v_lora, v_local, v_random, sep="\n")

# %% [markdown]
# Offsets of the selected heads are right in 82 % of the words, LoRA in 93 %: 0.87 of its gain (interval 0.78 to 0.95), with 113
# times fewer numbers. That is "comparable" by less than the 0.95 we asked for. They beat one random draw of eight heads in each task by 22
# points. In one task the own heads are better than the other task's (95 against 90 %), in the other the other task's (82 against
# 68 %); four of the eight are the same for both. Two tasks that share half of their heads cannot decide whether the heads
# must be the task's own, so that row is not testable here (by its threshold it had been *does not hold*).
#
# And look at the KL above. On 64 tokens of ordinary prose the predictions of all these models have moved by 2.5 to 8 nats a token, more
# with offsets than with LoRA, whose learning rate was 20 times smaller. What such a model then writes we did not look at. The
# learned mix changes nothing but the last token of the prompts that it is put into.
#
#
# ## Verdicts

# %%
verdicts(
    "21-task-embeddings",
    [v_works, v_ten, v_transfer, v_learn, v_vector, v_layers, v_lora, v_local, v_random],
    model=MODEL,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - Much of what ten examples tell the model stands, on average, in what its heads write at the last token. It can be kept and put
#   back without them.
# - A mean carries the task and no word. Where it replaces too much, as with one half everywhere, the model knows no capital. A
#   guess is that heads which read *this* word must be left alone; which these are we did not check.
# - Try the simple thing beside the learned one. Hard shares lose at most five points here; an even mix loses 42.
# - Heads that beat random ones may not be a task's own. Put the heads of another task beside them.
# - Ask what a change does elsewhere. Right answers on the task say nothing of the rest of the model.
#
# ## What did not reproduce, and what was not tried
#
# - **Better than ten examples.** The paper's gain is a mean of 57 tasks, many of them long and hard, with models thirty times as
#   large and larger. Five tasks that ten examples nearly solve leave 15 points. Harder tasks and some hundred words would decide it.
# - **Localisation.** Two tasks, three seeds, 20 steps. Both are one word in, one word out, so their heads may well be the same. More tasks
#   of different kinds would decide it.
# - **One draw of words and of demonstrations.** The shares start at one half and see all words at each step, so nothing else is drawn;
#   another draw of the words may move a task by a word or two.
# - **Heads of the first step** were chosen by 12 words and 20 steps, with a price on size that was set on two other tasks. With a
#   small price all vectors grew equally long, and the ranking meant nothing.
# - **Random heads** were not trained for half the steps, and were drawn once for each task; that their training had settled, and what other draws
#   give, is not known. Offsets and LoRA were trained at different rates, and both lose on opposites in the second half of the training.
# - Natural text, other models, and vectors that are not learned (inference-time intervention), with which LoFiT compares
#   itself as well.
#
# ## Try it
#
# - Put a task into a sentence: `interp.generate(model, "The opposite of summer is", steering.injection_interventions(model,
#   learned["antonym"].means, learned["antonym"].mix), max_new_tokens=1)`.
# - Mix only some layers: `heads=[f"L{layer}H*" for layer in range(10, 25)]` in `soft_injection`. What do capitals need?
# - Make the shares sparse: `l1=1.0`. How few heads carry a task?
#
# ## Further reading
#
# - Todd et al. 2023, "Function Vectors in Large Language Models", arXiv 2310.15213.
# - Hendel et al. 2023, "In-Context Learning Creates Task Vectors", arXiv 2310.15916.
# - Li et al. 2023, "Inference-Time Intervention: Eliciting Truthful Answers from a Language Model", arXiv 2306.03341.
# - Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685.
