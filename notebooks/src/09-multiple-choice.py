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
# **The question.** "Question: Which option is gold? A. fish B. gold C. lake D. rain. Answer:" To say " B", a model has
# to find the right word among the options and then name the letter that stands before it. Which heads do that, and what do they know: the letter
# itself, or only that it is the second of the list?
#
# **How we look.** SmolLM2 cannot do it: it says A whatever is asked. So we train it for a minute on 40 words, three times from
# three seeds, and look at how the trained models do it with words that they were not trained on.
#
# *Before you run anything: the model learns with the letters A to D in order. What will it say when they come as C, A, D, B?*
#
# **What we found.** Not written yet: one sentence, when the verdicts below are there.
#
# 6 minutes · intermediate · you should know what queries and keys are

# %% [markdown]
# ## What the authors did, and what we did
#
# | | the authors | here |
# | --- | --- | --- |
# | model | Chinchilla with 70 billion parameters, which can do it | SmolLM2-135M, which cannot, after a minute of fine-tuning (LoRA) |
# | questions | MMLU: knowledge and letters | the answer's text stands in the question, so that only the letter is left to find |
# | output nodes | by their direct effect on the letters' logits | by what the logit difference loses without them, on other prompts |
# | controls | | random components, random heads; three seeds |
#
# What holds here holds of a small model that was made to do the task, and may have been made to do it in its own way.

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import random

import numpy as np
import torch

import interp
from interp.replications import multiple_choice as mc
from interp.studies import converged, gate, load_claims, measured, verdicts

SEEDS = [0] if FAST else [0, 1, 2]
STEPS = 18 if FAST else 36  # and as many again: what is judged must not change by that
claims = load_claims("09-multiple-choice")
claims

# %% [markdown]
# ## The model cannot do it, and then it can

# %%
base = interp.load(MODEL)
known, unseen = mc.WORDS[:40], mc.WORDS[40:]
train = mc.letters(base, known, 600, seed=0)
find, judge = mc.letters(base, unseen, 24, seed=1), mc.letters(base, unseen, 48, seed=2)
options = dict(how="lora", rank=8, layers=range(8, 28), lr=3e-3, batch=8, steps=STEPS)
halves = [interp.finetune(base, train, heldout=judge, seed=s, **options) for s in SEEDS]
tuned = [
    interp.finetune(half.model, train, heldout=judge, seed=s + 10, **options)
    for s, half in zip(SEEDS, halves)
]
halves[0]
# (the rest: letter heads, low rank, swapped queries, permuted and new labels, probability on the options)
