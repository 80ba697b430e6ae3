"""Circuits: exercises on patching, direct logit attribution, paths, and what a circuit is worth."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import interp
from interp._numbers import to_numpy
from interp.methods.circuits import random_circuits
from interp.workshop.exercise import Exercise
from interp.workshop.exercise import Setting as Base

LAYERS = (20, 22, 26)  # where circuits-2 patches
TEMPLATES = (  # as long as each other, with S2 at different places
    "When {a} and {b} went to the {p}, {s} gave a {o} to",
    "When {a} and {b} came to the old {p}, {s} gave flowers to",
)
SENDER, RECEIVER = "L20H0", "L23H3"


def prompts(model: Any) -> interp.Task:
    """The lesson's four prompts."""
    return interp.tasks.ioi(model, n=4, seed=0, templates=TEMPLATES)


class Setting(Base):
    """The default model and four IOI prompts of two templates, whose S2 is not at one place."""

    names = ("model", "task")

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.task = prompts(model)

    def hand_out(self) -> tuple:
        return self.model, prompts(self.model)

    def cache(self, which: str = "clean") -> Any:
        """Every activation of the clean or the corrupted run."""
        tokens = getattr(self.task, which)
        return self.once(which, lambda: self.model.run_with_cache(tokens)[1])

    def logits(self, which: str = "clean") -> Tensor:
        """The logits of the clean or the corrupted run, at all positions."""
        return self.once(f"logits {which}", lambda: self.model(getattr(self.task, which)))

    def difference(self, logits: Tensor, position: int = -1) -> float:
        """The mean over prompts of the answer's logit minus the wrong answer's."""
        at = logits[:, position]
        task = self.task
        return float((at.gather(1, task.answers) - at.gather(1, task.wrong)).mean())

    def writes(self, layer: int, which: str = "clean") -> Tensor:
        """What each head of a layer writes [batch pos head d_model]."""
        z = self.cache(which)[f"blocks.{layer}.attn.hook_z"]
        return torch.einsum("bphe,hed->bphd", z, self.model.blocks[layer].attn.W_O)

    @property
    def judged(self) -> interp.Result:
        """The circuit of 500 edges, evaluated on held-out prompts."""

        def make() -> interp.Result:
            return interp.evaluate(self.model, self.task.heldout(), self.edges(), sets=2)

        return self.once("judged", make)

    def circuit(self) -> dict[str, np.ndarray]:
        """The metric of each held-out prompt: clean, corrupted, circuit, complement."""
        names = ("clean", "corrupted", "circuit", "complement")
        return {name: self.judged.sel(measure=name).examples.ravel() for name in names}

    def edges(self) -> interp.Circuit:
        """The circuit of 500 edges."""

        def make() -> interp.Circuit:
            scores = interp.discover(self.model, self.task, method="eap")
            return interp.Circuit.top(scores, 500)

        return self.once("edges", make)

    def random(self, match: str, seed: int = 0) -> list[interp.Circuit]:
        """Five random circuits of its size."""
        return self.once(
            f"random {match} {seed}",
            lambda: random_circuits(self.edges(), sets=5, seed=seed, match=match),
        )


# --- 1: the logit difference ----------------------------------------------------------------------

one = Exercise(
    "circuits-1",
    1,
    "the mean logit difference of the clean prompts, one number",
    hints=(
        "The model's answer is read where the next word would stand: at the last position.",
        "task.answers and task.wrong are token ids [prompt, 1], so logits.gather(1, task.answers)"
        " takes one logit from each row of logits [prompt, token].",
        "Take model(task.clean)[:, -1], gather the answer's logit and the wrong answer's, subtract,"
        " and average over the four prompts.",
    ),
    remember="A logit difference of 5 means odds of about 150 to 1 for the indirect object.",
)


@one.right
def _(s):
    logits = s.model(s.task.clean)[:, -1]
    return (logits.gather(1, s.task.answers) - logits.gather(1, s.task.wrong)).mean()


@one.another
def _(s):
    return s.task.clean_metric(s.model).mean()


@one.mistake(
    "corrupted prompts instead of clean ones",
    "You read the corrupted prompts. In them the other name is repeated, so the model prefers the"
    " other one.",
)
def _(s):
    return s.difference(s.logits("corrupted"))


@one.mistake(
    "position off by one",
    "You read one position too early: the logits at position p are the model's guess for the token"
    " after p. Which position guesses the word after the prompt?",
)
def _(s):
    return s.difference(s.logits(), -2)


@one.mistake(
    "averaged over all positions",
    "You averaged over every position. Only one position of the prompt predicts the answer.",
)
def _(s):
    return float(np.mean([s.difference(s.logits(), p) for p in range(s.task.clean.shape[1])]))


@one.mistake(
    "wrong minus right", "The sign is turned: it is the answer's logit minus the wrong answer's."
)
def _(s):
    return -s.difference(s.logits())


@one.mistake(
    "sum over prompts",
    "You added the prompts up. With a mean, the number does not depend on how many there are.",
)
def _(s):
    return len(s.task) * s.difference(s.logits())


@one.mistake(
    "probabilities instead of logits",
    "That is a difference of probabilities, which cannot be larger than 1. Leave the softmax out.",
)
def _(s):
    return s.difference(s.logits().softmax(-1))


@one.mistake(
    "BOS forgotten",
    "The first token, <|im_start|>, is missing. It is an attention sink, and without it a word"
    " becomes one. Give the model task.clean as it is.",
)
def _(s):
    return s.difference(s.model(s.task.clean[:, 1:]))


@one.mistake(
    "the answer's logit alone",
    "That is the logit of the right answer alone. A logit means nothing until it is compared: what"
    " does the model give the other name?",
)
def _(s):
    return float(s.logits()[:, -1].gather(1, s.task.answers).mean())


@one.mistake(
    "every prompt with every answer",
    "You indexed with all answers at each prompt: logits[:, task.answers] has every prompt's logit for"
    " every answer. Each prompt has its own answer: one logit from each row (gather).",
)
def _(s):
    last, task = s.logits()[:, -1], s.task
    return float((last[:, task.answers] - last[:, task.wrong]).mean())


@one.mistake("one prompt alone", "That is the first prompt alone. Average over the four prompts.")
def _(s):
    last, task = s.logits()[:, -1], s.task
    return float(last[0, task.answers[0, 0]] - last[0, task.wrong[0, 0]])


@one.mistake(
    "the wrong name's logit alone",
    "That is the logit of the wrong name alone. It is what you subtract from the answer's.",
)
def _(s):
    return float(s.logits()[:, -1].gather(1, s.task.wrong).mean())


# --- 2: a patching hook by hand -------------------------------------------------------------------

two = Exercise(
    "circuits-2",
    2,
    f"the mean logit difference, patched at S2, for each of the layers {LAYERS}, three numbers",
    ("layer",),
    hints=(
        "A hook is a function (activation, hook) that returns the activation to go on with. The run"
        " that you change is the corrupted one; what you put in comes from the clean one.",
        'S2 can stand elsewhere in each prompt: s2 = task.positions["S2"] has one index a prompt.'
        " With rows = torch.arange(4), activation[rows, s2] is the vector of each prompt at its S2.",
        "For each layer call model.run_with_hooks(task.corrupted, fwd_hooks=[(name, hook)]) with"
        ' name = f"blocks.{layer}.hook_resid_pre". The hook does activation[rows, s2] ='
        " clean_cache[name][rows, s2] and returns activation.",
    ),
    remember="This is what interp.patch does. At layer 20 most of what matters is still at"
    " S2, and at layer 26 nothing is: it has been carried to END.",
)


def _patched(s, layer, *, into="corrupted", out_of="clean", off=0, hook="hook_resid_pre", **how):
    return s.difference(
        s.model.run_with_hooks(
            getattr(s.task, into), fwd_hooks=[_copies(s, layer, out_of, off, hook, **how)]
        )
    )


def _copies(s, layer, out_of="clean", off=0, hook="hook_resid_pre", mean=False, outer=False):
    """A hook, under its name, that copies another run's activation at S2."""
    name = f"blocks.{layer}.{hook}"
    source, s2 = s.cache(out_of)[name], s.task.positions["S2"] + off
    source = source.mean(0, keepdim=True).expand_as(source) if mean else source
    at = (slice(None), s2) if outer else (torch.arange(len(s2)), s2)

    def edit(activation, hook):
        activation = activation.clone()
        activation[at] = source[at]
        return activation

    return name, edit


@two.right
def _(s):
    _, clean_cache = s.model.run_with_cache(s.task.clean)
    rows, s2 = torch.arange(4), s.task.positions["S2"]
    found = []
    for layer in (20, 22, 26):
        name = f"blocks.{layer}.hook_resid_pre"

        def put_clean(activation, hook, name=name):
            activation[rows, s2] = clean_cache[name][rows, s2]
            return activation

        logits = s.model.run_with_hooks(s.task.corrupted, fwd_hooks=[(name, put_clean)])[:, -1]
        difference = logits.gather(1, s.task.answers) - logits.gather(1, s.task.wrong)
        found.append(difference.mean())
    return found


@two.another
def _(s):
    effect = interp.patch(s.model, s.task, "resid_pre.*@S2")
    start = float(s.task.metric(s.logits("corrupted")).mean())
    return [effect.values[layer] + start for layer in LAYERS]


@two.mistake(
    "clean and corrupted swapped",
    "You put the corrupted run's activation into the clean run. That is noising; asked for is"
    " denoising: the clean activation goes into the corrupted run.",
)
def _(s):
    return [_patched(s, layer, into="clean", out_of="corrupted") for layer in LAYERS]


@two.mistake(
    "a hook left behind",
    "From the second layer on, an earlier layer's hook still acts. add_hook stays on the model until"
    " reset_hooks; run_with_hooks takes its hooks off by itself.",
)
def _(s):
    hooks, run = [_copies(s, layer) for layer in LAYERS], s.model.run_with_hooks
    upto = range(1, len(LAYERS) + 1)
    return [s.difference(run(s.task.corrupted, fwd_hooks=hooks[:k])) for k in upto]


@two.mistake(
    "all positions patched",
    "Each layer gives the clean run's number. Either you replaced the activation at every position, so"
    " that the whole prompt is the clean one, or the run that you changed was the clean one already.",
)
def _(s):
    return [s.difference(s.logits())] * len(LAYERS)


@two.mistake(
    "END instead of S2",
    "You patched the last position, END. Asked for is S2, the second time that the name comes.",
)
def _(s):
    def at_end(layer):
        effect = s.once("END", lambda: interp.patch(s.model, s.task, "resid_pre.*@END"))
        return float(effect.values[layer]) + s.difference(s.logits("corrupted"))

    return [at_end(layer) for layer in LAYERS]


@two.mistake(
    "position off by one",
    "You patched the token after S2. The names of positions are in task.positions.",
)
def _(s):
    return [_patched(s, layer, off=1) for layer in LAYERS]


@two.mistake(
    "mean over prompts patched in",
    "Every prompt got the average of all clean prompts. Each prompt gets its own clean activation:"
    " keep the batch axis.",
)
def _(s):
    return [_patched(s, layer, mean=True) for layer in LAYERS]


@two.mistake(
    "layer off by one",
    "You patched what the layer gives out (resid_post) instead of what goes into it (resid_pre).",
)
def _(s):
    return [_patched(s, layer, hook="hook_resid_post") for layer in LAYERS]


@two.mistake(
    "the change instead of the metric",
    "That is the change against the corrupted run. Asked for is the patched logit difference itself.",
)
def _(s):
    start = s.difference(s.logits("corrupted"))
    return [_patched(s, layer) - start for layer in LAYERS]


@two.mistake(
    "the change as a fraction",
    "These are shares of the way from the corrupted to the clean run. Asked for is the patched logit"
    " difference itself.",
)
def _(s):
    start = s.difference(s.logits("corrupted"))
    way = s.difference(s.logits()) - start
    return [(_patched(s, layer) - start) / way for layer in LAYERS]


@two.mistake(
    "every prompt at every S2",
    "activation[:, s2] takes the positions of all four S2 in every prompt, so each prompt is patched in"
    " two places. S2 does not stand at one place: pair each prompt with its own, activation[rows, s2].",
)
def _(s):
    return [_patched(s, layer, outer=True) for layer in LAYERS]


@two.mistake(
    "the first prompt's S2 in every prompt",
    "You patched every prompt where the *first* one has its S2. In the others S2 stands elsewhere:"
    ' task.positions["S2"] has one index a prompt.',
)
def _(s):
    off = s.task.positions["S2"][0] - s.task.positions["S2"]
    return [_patched(s, layer, off=off) for layer in LAYERS]


@two.mistake(
    "one layer too early",
    "The stream was patched one layer too early: a hook of resid_pre at layer 20 is what layer 20 reads.",
)
def _(s):
    return [_patched(s, layer - 1) for layer in LAYERS]


@two.mistake(
    "what attention writes instead of the stream",
    "You patched what the layer's attention writes (hook_attn_out). The stream holds the sum of all that"
    " was written before: hook_resid_pre.",
)
def _(s):
    return [_patched(s, layer, hook="hook_attn_out") for layer in LAYERS]


@two.mistake(
    "layers in the other order",
    "The three numbers are right and stand in the other order: layers 20, 22, 26.",
)
def _(s):
    return [_patched(s, layer) for layer in LAYERS[::-1]]


@two.mistake(
    "the hook changes nothing",
    "All layers give the corrupted run's number: the patch changed nothing. Three reasons are common."
    " The hook does not return the activation that it changed; its name is no hook's of the model (try"
    " `name in model.hook_dict`: a name that is not there is ignored in silence); or it patches a"
    " position before S2, such as S1, where clean and corrupted prompts have run alike so far.",
)
def _(s):
    return [s.difference(s.logits("corrupted"))] * len(LAYERS)


# --- 3: which heads -------------------------------------------------------------------------------

three = Exercise(
    "circuits-3",
    1,
    'the three heads that bring most of the answer back when patched at END, such as "L4H2"',
    ("head",),
    "labels",
    hints=(
        'interp.patch takes an address with stars: "L*H*" is every head, "@END" the last position.',
        "The result has .plot() and .top(3). top ranks by size, so that a head that makes the answer worse"
        ' can come first; by="high" ranks by what brings the answer back.',
        'effect = interp.patch(model, task, "L*H*@END"); then effect.top(3, by="high").labels.',
    ),
    remember="Do all three write the answer themselves? Patching cannot tell. The next exercise"
    " can.",
)


def _heads(s) -> np.ndarray:
    return s.once("heads", lambda: interp.patch(s.model, s.task, "L*H*@END").values)


def _best(values, n=3) -> list[tuple[int, int]]:
    order = np.argsort(-values.ravel())[:n]
    return [tuple(int(i) for i in np.unravel_index(k, values.shape)) for k in order]


@three.right
def _(s):
    effect = interp.patch(s.model, s.task, "L*H*@END")
    return effect.top(3, by="high").labels


@three.another
def _(s):
    return _best(_heads(s))


@three.mistake(
    "the heads that hurt",
    "These have the largest effect downwards: putting their clean value in makes the answer worse."
    " They are worth a look, but they bring nothing back.",
)
def _(s):
    return _best(-_heads(s))


@three.mistake(
    "ranked by size",
    "These are ranked by size: a head that works against the answer is among them. top ranks by size"
    ' unless told otherwise; by="high" ranks by what brings the answer back.',
)
def _(s):
    return _best(np.abs(_heads(s)))  # as top(3) ranks them


@three.mistake(
    "layer and head mixed up",
    "You unravelled the flat index with the wrong width: there are 9 heads in a layer, not 30."
    ' effect.top(3, by="high").labels does the unravelling for you.',
)
def _(s):
    layers, heads = _heads(s).shape
    flat = np.argsort(-_heads(s).ravel())[:3]
    return [(int(k) % layers, int(k) // layers) for k in flat]


@three.mistake(
    "ranked by what they write",
    "These are the heads that write most towards the answer in the clean run (direct logit"
    " attribution). Patching asks another question: who brings it back in the corrupted run?",
)
def _(s):
    return _best(interp.logit_attribution(s.model, s.task).values)


@three.mistake(
    "ranked by attention",
    "These heads look most at the indirect object from END. Looking is not doing: patching measures"
    " what happens to the answer.",
)
def _(s):
    io = s.task.positions["IO"][:, None, None]
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(s.model.cfg.n_layers)]
    rows = torch.stack([s.cache()[name][:, :, -1] for name in names])  # [layer batch head src]
    looks = rows.gather(3, io.expand(len(rows), -1, rows.shape[2], 1))[..., 0].mean(1)
    return _best(to_numpy(looks))


@three.mistake(
    "all layers averaged",
    "These are head numbers with the largest mean over layers. Head 3 of layer 10 has nothing to do"
    " with head 3 of layer 11: do not average over layers.",
)
def _(s):
    return [(0, int(h)) for h in np.argsort(-_heads(s).mean(0))[:3]]


@three.mistake(
    "counted from one",
    "The heads are right and counted from 1. Layers and heads count from 0 here, as in L0H0.",
)
def _(s):
    return [(layer + 1, head + 1) for layer, head in _best(_heads(s))]


@three.mistake(
    "layer and head changed places",
    "The heads are right, with layer and head swapped: the layer comes first, as in L4H2.",
)
def _(s):
    return [(head, layer) for layer, head in _best(_heads(s))]


# --- 4: direct logit attribution by hand ----------------------------------------------------------

four = Exercise(
    "circuits-4",
    2,
    "what each head of layer 23 writes towards the answer, in logits, nine numbers",
    ("head",),
    hints=(
        "A head writes z @ W_O into the stream. The logits are a linear read of the stream, after"
        " one norm: so each head has its own share of the logit difference.",
        "The direction to read is W_U[:, answer] - W_U[:, wrong], a vector for each prompt. The norm"
        " multiplies by ln_final.weight and divides by the scale of the whole stream.",
        'z = cache["blocks.23.attn.hook_z"][:, -1]; write = einsum("bhe,hed->bhd", z, W_O);'
        ' multiply by ln_final.weight, divide by cache["ln_final.hook_scale"][:, -1], take the'
        " product with the direction, and average over prompts.",
    ),
    remember="Head 3 writes 1.48 logits, nearly twice as much as the next one in its layer. Patching said"
    " more, 2.99: a patch replaces a write that in the corrupted run points the other way.",
)


def _direct(s, layer=23, *, which="clean", position=-1, gain=True, scale=True, minus=True, wo=None):
    model, task = s.model, s.task
    cache = s.cache(which)
    W_O = model.blocks[layer].attn.W_O if wo is None else wo(model.blocks[layer].attn.W_O)
    z = cache[f"blocks.{layer}.attn.hook_z"]
    z = z.mean(1) if position is None else z[:, position]
    write = torch.einsum("bhe,hed->bhd", z, W_O)
    towards = model.W_U[:, task.answers[:, 0]].T
    towards = towards - model.W_U[:, task.wrong[:, 0]].T if minus else towards
    at = -1 if position is None else position
    write = write * model.ln_final.weight if gain else write
    write = write / cache["ln_final.hook_scale"][:, at][:, None] if scale else write
    return torch.einsum("bhd,bd->bh", write, towards).mean(0)


@four.right
def _(s):
    _, cache = s.model.run_with_cache(s.task.clean)
    z = cache["blocks.23.attn.hook_z"][:, -1]
    write = torch.einsum("bhe,hed->bhd", z, s.model.blocks[23].attn.W_O)
    right, wrong = s.task.answers[:, 0], s.task.wrong[:, 0]
    towards = (s.model.W_U[:, right] - s.model.W_U[:, wrong]).T
    normed = write * s.model.ln_final.weight / cache["ln_final.hook_scale"][:, -1][:, None]
    return torch.einsum("bhd,bd->bh", normed, towards).mean(0)


@four.another
def _(s):
    return interp.logit_attribution(s.model, s.task).sel(layer=23)


@four.mistake(
    "the norm's scale forgotten",
    "The final norm divides the whole stream by its size, and you left that out. Divide by"
    ' cache["ln_final.hook_scale"] at the last position.',
)
def _(s):
    return _direct(s, scale=False)


@four.mistake(
    "the norm's gain forgotten",
    "The final norm has a gain for each coordinate, model.ln_final.weight. Multiply by it before you"
    " read out.",
)
def _(s):
    return _direct(s, gain=False)


@four.mistake(
    "each write normed by itself",
    "You divided each head's write by its own size. The stream is normed as a whole, so all shares"
    " are divided by the same number; otherwise they no longer add up to the logit difference.",
)
def _(s):
    write = s.writes(23)[:, -1]
    alone = write / write.pow(2).mean(-1, keepdim=True).sqrt() * s.model.ln_final.weight
    W_U, task = s.model.W_U, s.task
    towards = (W_U[:, task.answers[:, 0]] - W_U[:, task.wrong[:, 0]]).T
    return torch.einsum("bhd,bd->bh", alone, towards).mean(0)


@four.mistake(
    "the answer's logit alone",
    "You read the answer's logit and did not subtract the wrong answer's. A head that raises every"
    " name looks important that way.",
)
def _(s):
    return _direct(s, minus=False)


@four.mistake(
    "averaged over positions",
    "You averaged the heads' outputs over all positions. The logits at END read the stream at END.",
)
def _(s):
    return _direct(s, position=None)


@four.mistake(
    "corrupted run instead of clean",
    "These are the heads' writes in the corrupted run. Use the clean run's cache.",
)
def _(s):
    return _direct(s, which="corrupted")


@four.mistake(
    "a pattern instead of a write",
    "These are shares of attention from END to the indirect object. How much a head looks is not what"
    " it writes: take z and W_O.",
)
def _(s):
    pattern = s.cache()["blocks.23.attn.hook_pattern"][:, :, -1]
    at = s.task.positions["IO"][:, None, None].expand(-1, pattern.shape[1], 1)
    return pattern.gather(2, at)[..., 0].mean(0)


@four.mistake("position off by one", "You read the stream at the second-to-last position.")
def _(s):
    return _direct(s, position=-2)


@four.mistake(
    "the norm left out",
    "The final norm is missing: multiply each write by its gain, model.ln_final.weight, and divide by"
    ' the stream\'s scale, cache["ln_final.hook_scale"].',
)
def _(s):
    return _direct(s, gain=False, scale=False)


@four.mistake("another layer: 22", "These are the heads of layer 22. Layers count from 0.")
def _(s):
    return _direct(s, 22)


@four.mistake("another layer: 24", "These are the heads of layer 24. Layers count from 0.")
def _(s):
    return _direct(s, 24)


@four.mistake("the sum over prompts", "You added the prompts up: take the mean over them.")
def _(s):
    return len(s.task) * _direct(s)


@four.mistake(
    "one direction for all prompts",
    "You averaged the directions W_U[:, answer] - W_U[:, wrong] over prompts, or used every direction"
    " with every prompt. Each prompt has its own names: keep the batch axis until the product is taken.",
)
def _(s):
    model, task, cache = s.model, s.task, s.cache()
    write = s.writes(23)[:, -1] * model.ln_final.weight
    write = write / cache["ln_final.hook_scale"][:, -1][:, None]
    towards = (model.W_U[:, task.answers[:, 0]] - model.W_U[:, task.wrong[:, 0]]).mean(1)
    return (write @ towards).mean(0)


@four.mistake(
    "the effect of a patch",
    "These are effects of patching, as in exercise 3. Asked for is what the heads write in the clean"
    " run alone, without any patch.",
)
def _(s):
    return _heads(s)[23]


@four.mistake(
    "S2 instead of END",
    "You read what the heads write at S2. The answer is read at END, the last position.",
)
def _(s):
    model, task, cache = s.model, s.task, s.cache()
    rows, s2 = torch.arange(len(task)), task.positions["S2"]
    write = s.writes(23)[rows, s2] * model.ln_final.weight
    write = write / cache["ln_final.hook_scale"][rows, s2][:, None]
    towards = (model.W_U[:, task.answers[:, 0]] - model.W_U[:, task.wrong[:, 0]]).T
    return torch.einsum("bhd,bd->bh", write, towards).mean(0)


# --- 5: where denoising and noising disagree ------------------------------------------------------

five = Exercise(
    "circuits-5",
    2,
    "the effect of patching part a, rows OR, AND, SUM, columns denoising, noising",
    ("gate", "direction"),
    hints=(
        "Clean is a = b = 1, corrupted is a = b = 0. Denoising begins at the corrupted run and sets"
        " a to 1; noising begins at the clean run and sets a to 0.",
        "An effect is a difference. Denoising: gate(1, 0) - gate(0, 0). Say noising so that a part"
        " that is needed has a positive effect: gate(1, 1) - gate(0, 1).",
        "OR is max(a, b), AND is min(a, b), SUM is (a + b) / 2. That gives three rows of two numbers.",
    ),
    remember="With an OR, noising finds nothing, because the other part stands in; with an AND"
    " denoising finds nothing. Run both, and think when they disagree.",
)


def _gates(effect):
    gates = max, min, lambda a, b: (a + b) / 2
    return np.array([effect(gate) for gate in gates], dtype=float)


@five.right
def _(s):
    gates = {"OR": max, "AND": min, "SUM": lambda a, b: (a + b) / 2}
    return [[g(1, 0) - g(0, 0), g(1, 1) - g(0, 1)] for g in gates.values()]


@five.another
def _(s):
    table = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 1], [0, 0.5, 0.5, 1]])  # gate at 00, 01, 10, 11
    return torch.stack([table[:, 2] - table[:, 0], table[:, 3] - table[:, 1]], 1)


@five.mistake(
    "denoising and noising swapped, or OR and AND",
    "Either the two columns or the rows OR and AND have changed places. The order is OR, AND, SUM, and"
    " denoising, noising; denoising starts from the corrupted run and puts one clean value in.",
)
def _(s):
    return _gates(lambda g: (g(1, 1) - g(0, 1), g(1, 0) - g(0, 0)))


@five.mistake(
    "the sign of noising",
    "The numbers of noising have the other sign. Here an effect is what the part is good for: clean"
    " minus noised.",
)
def _(s):
    return _gates(lambda g: (g(1, 0) - g(0, 0), g(0, 1) - g(1, 1)))


@five.mistake(
    "the output instead of its change",
    "You gave the gate's output after the patch. An effect is the change against the run that you"
    " began with.",
)
def _(s):
    return _gates(lambda g: (g(1, 0), g(0, 1)))


@five.mistake(
    "both parts patched",
    "You changed a and b together. Patch a alone, and leave b as the run has it.",
)
def _(s):
    return _gates(lambda g: (g(1, 1) - g(0, 0), g(1, 1) - g(0, 0)))


@five.mistake(
    "denoising from the clean run",
    "For denoising you began at the wrong run: with b = 1. It begins at the corrupted run.",
)
def _(s):
    return _gates(lambda g: (g(1, 1) - g(0, 1), g(1, 1) - g(0, 1)))


@five.mistake(
    "the sum not halved", "SUM is (a + b) / 2, so that it is 1 when both are: the half is missing."
)
def _(s):
    table = _gates(lambda g: (g(1, 0) - g(0, 0), g(1, 1) - g(0, 1)))
    return table * np.array([[1], [1], [2]])


@five.mistake("SUM in another row", "The rows are in another order: OR, AND, SUM.")
def _(s):
    return _gates(lambda g: (g(1, 0) - g(0, 0), g(1, 1) - g(0, 1)))[[2, 0, 1]]


# --- 6: one path by hand --------------------------------------------------------------------------

six = Exercise(
    "circuits-6",
    3,
    f"the effect of the edge from {SENDER} to {RECEIVER}'s query at END, one number",
    hints=(
        f"Along one edge only one thing changes: what {RECEIVER}'s query reads. It reads the stream,"
        f" and {SENDER}'s clean write differs from its corrupted write by some vector.",
        f"Compute {SENDER}'s write z @ W_O at END in both runs. In the corrupted run, add clean minus"
        f" corrupted to what the query of {RECEIVER} reads, and to nothing else.",
        'interp.run(model, task.corrupted, [interp.Intervention("L23H3.q_in@-1", edit)]) with edit ='
        " lambda read, seen: read + difference[:, None]. The [:, None] makes [prompt, 1, d_model] of"
        " [prompt, d_model], which is the shape of what is read.",
    ),
    remember="This is path patching. L20H0 is important, yet not through this edge. Through which?",
)


def _sent(s, position=-1, head=0):
    clean, corrupted = s.writes(20), s.writes(20, "corrupted")
    return (clean - corrupted)[:, position, head]


def _edge(s, at="L23H3.q_in@-1", into="corrupted", sign=1.0, position=-1, head=0, sent=None):
    sent = sign * (_sent(s, position, head) if sent is None else sent)[:, None]
    edit = interp.Intervention(at, lambda read, seen: read + sent)
    logits = interp.run(s.model, getattr(s.task, into), [edit])[0]
    return s.difference(logits) - s.difference(s.logits(into))


@six.right
def _(s):
    def write(tokens):
        _, cache = s.model.run_with_cache(tokens)
        return cache["blocks.20.attn.hook_z"][:, -1, 0] @ s.model.blocks[20].attn.W_O[0]

    sent = write(s.task.clean) - write(s.task.corrupted)
    edit = interp.Intervention("L23H3.q_in@-1", lambda read, seen: read + sent[:, None])
    logits = interp.run(s.model, s.task.corrupted, [edit]).logits
    before = s.model(s.task.corrupted)
    return s.task.metric(logits).mean() - s.task.metric(before).mean()


@six.another
def _(s):
    return interp.path_patch(s.model, s.task, SENDER, f"{RECEIVER}.q_in@END").mean()


@six.mistake(
    "all paths instead of one",
    "That is ordinary patching: the head's new write reaches everything behind it. Only the query of"
    " L23H3 may read it.",
)
def _(s):
    return float(interp.patch(s.model, s.task, f"{SENDER}@END").mean().values)


@six.mistake(
    "noising instead of denoising",
    "You began with the clean run and sent the corrupted write. Asked for is denoising.",
)
def _(s):
    return _edge(s, into="clean", sign=-1.0)


@six.mistake(
    "clean and corrupted swapped",
    "The difference has the wrong sign: what is sent is the clean write minus the corrupted one.",
)
def _(s):
    return _edge(s, sign=-1.0)


@six.mistake(
    "the whole layer reads it",
    "You changed what all heads of layer 23 read. One head's query is one receiver: L23H3.q_in.",
)
def _(s):
    return _edge(s, at="attn.23.in@-1")


@six.mistake(
    "another head of the layer",
    "You took the last head of layer 20 instead of head 0: look at the index into the head axis.",
)
def _(s):
    return _edge(s, head=-1)


@six.mistake(
    "position off by one",
    "What was sent is the head's write at the second-to-last position. The query at END reads END.",
)
def _(s):
    return _edge(s, position=-2)


@six.mistake(
    "the metric instead of its change",
    "That is the logit difference after the change. Subtract the corrupted run's.",
)
def _(s):
    return _edge(s) + s.difference(s.logits("corrupted"))


@six.mistake(
    "the clean write added to the corrupted one",
    "You added the clean write on top: the corrupted one is still there. Add the difference, clean minus"
    " corrupted.",
)
def _(s):
    return _edge(s, sent=s.writes(20)[:, -1, 0])


@six.mistake(
    "in the clean run",
    "You added the difference to the clean run, which has the clean write already. Begin with the"
    " corrupted run.",
)
def _(s):
    return _edge(s, into="clean")


@six.mistake(
    "the key instead of the query",
    "You changed what the *keys* of the head read. Which token looks where is asked at END by the query:"
    " q_in.",
)
def _(s):
    return _edge(s, at="L23KV1.k_in@-1")


@six.mistake(
    "another receiver: head 0",
    "That is the edge to head 0 of layer 23, a good question for later. The receiver here is L23H3.",
)
def _(s):
    return _edge(s, at="L23H0.q_in@-1")


@six.mistake(
    "the edit changed nothing",
    "Nothing changed. Does the edit return what it read plus the difference, and is the difference not"
    " zero (the clean run's write minus the corrupted run's)?",
)
def _(s):
    return 0.0


@six.mistake(
    "a fraction instead of logits",
    "That is a share of the way from the corrupted to the clean run. Asked for is the change in logits.",
)
def _(s):
    return _edge(s) / (s.difference(s.logits()) - s.difference(s.logits("corrupted")))


# --- 7: what a circuit is worth -------------------------------------------------------------------

seven = Exercise(
    "circuits-7",
    3,
    "the faithfulness of the circuit of 500 edges on held-out prompts, one number",
    hints=(
        "Faithfulness is the share of the way from the corrupted run (0) to the clean run (1) that"
        " the circuit covers.",
        "judged.sel(measure=...).examples has one number for each prompt. Average over prompts first,"
        " and divide then: a single prompt's denominator can be close to zero.",
        "(circuit.mean() - corrupted.mean()) / (clean.mean() - corrupted.mean()).",
    ),
    remember="Seven edges in a thousand bring back 63 % of the way from the corrupted to the clean run,"
    " where random circuits of the same size bring back nothing.",
)


@seven.right
def _(s):
    names = ("clean", "corrupted", "circuit")
    clean, corrupted, circuit = (s.judged.sel(measure=name).examples.mean() for name in names)
    return (circuit - corrupted) / (clean - corrupted)


@seven.another
def _(s):
    return s.judged.sel(measure="faithfulness").values


@seven.mistake(
    "the mean of ratios",
    "You divided prompt by prompt and averaged the shares. A prompt whose clean and corrupted runs"
    " are close then rules the mean. Average first.",
)
def _(s):
    m = s.circuit()
    return float(np.mean((m["circuit"] - m["corrupted"]) / (m["clean"] - m["corrupted"])))


@seven.mistake(
    "a share of the clean run alone",
    "You divided by the clean metric. Then a circuit without any edge does not get 0: begin at the"
    " corrupted run.",
)
def _(s):
    m = s.circuit()
    return m["circuit"].mean() / m["clean"].mean()


@seven.mistake(
    "the complement instead of the circuit",
    "You measured everything but the circuit. That tells how complete the circuit is.",
)
def _(s):
    m = {k: v.mean() for k, v in s.circuit().items()}
    return (m["complement"] - m["corrupted"]) / (m["clean"] - m["corrupted"])


@seven.mistake("one minus faithfulness", "That is what is lost. Faithfulness is what is kept.")
def _(s):
    m = {k: v.mean() for k, v in s.circuit().items()}
    return (m["clean"] - m["circuit"]) / (m["clean"] - m["corrupted"])


@seven.mistake(
    "clean and corrupted swapped",
    "The circuit's distance from the clean run was divided by the way back: clean and corrupted"
    " changed places in part of the formula.",
)
def _(s):
    m = {k: v.mean() for k, v in s.circuit().items()}
    return (m["circuit"] - m["corrupted"]) / (m["corrupted"] - m["clean"])


@seven.mistake(
    "logits instead of a share",
    "That is in logits: how far the circuit is above the corrupted run. Divide by the whole way.",
)
def _(s):
    m = {k: v.mean() for k, v in s.circuit().items()}
    return m["circuit"] - m["corrupted"]


@seven.mistake(
    "the prompts that chose the circuit",
    "That is the faithfulness on the prompts that chose the circuit, which flatters it: use the"
    " held-out ones, `judged`.",
)
def _(s):
    def make() -> Any:
        return interp.evaluate(s.model, s.task, s.edges(), sets=1)

    return s.once("own prompts", make).sel(measure="faithfulness").values


@seven.mistake(
    "the circuit's metric itself",
    "That is the circuit's mean logit difference. Place it between the corrupted run's (0) and the clean"
    " run's (1).",
)
def _(s):
    return s.circuit()["circuit"].mean()


@seven.mistake("upside down", "The fraction stands on its head.")
def _(s):
    m = {k: v.mean() for k, v in s.circuit().items()}
    return (m["clean"] - m["corrupted"]) / (m["circuit"] - m["corrupted"])


@seven.mistake("medians instead of means", "You took medians over prompts. Asked for are means.")
def _(s):
    m = {k: np.median(v) for k, v in s.circuit().items()}
    return (m["circuit"] - m["corrupted"]) / (m["clean"] - m["corrupted"])


# --- 8: what random circuits get, and why ---------------------------------------------------------

eight = Exercise(
    "circuits-8",
    2,
    "the share of the 500 edges that lie on a path from the embedding to the logits: of the circuit,"
    ' of five random ones (match="size"; their mean), of five more (match="layers"), three numbers',
    ("circuit",),
    decimals=3,
    hints=(
        "An edge that nothing flows into, or whose end reaches nothing, does no work. circuit.prune()"
        " is the same circuit without such edges, and len(...) counts edges.",
        "random_circuits(circuit, sets=5, seed=0) gives a list of five circuits of 500 edges. Count"
        " what is left of each after prune(), divide by 500, and take the mean over the five.",
        'For match in ("size", "layers"): sum(len(r.prune()) for r in random_circuits(circuit, sets=5,'
        " seed=0, match=match)) / 2500. Before these two stands len(circuit.prune()) / 500.",
    ),
    remember="Random circuits get nothing because nearly all their edges are loose ends. A"
    " circuit that beats them has shown that it is connected, and little more.",
)


def _on_a_path(circuits):
    return np.mean([len(one.prune()) / len(one) for one in circuits])


def _shares(s, of=_on_a_path, seed=0):
    return [of([s.edges()]), of(s.random("size", seed)), of(s.random("layers", seed))]


@eight.right
def _(s):
    from interp.methods.circuits import random_circuits

    scores = interp.discover(s.model, s.task, method="eap")
    circuit = interp.Circuit.top(scores, 500)
    shares = [len(circuit.prune()) / 500]
    for match in ("size", "layers"):
        drawn = random_circuits(circuit, sets=5, seed=0, match=match)
        shares.append(sum(len(one.prune()) / 500 for one in drawn) / 5)
    return shares


@eight.another
def _(s):
    import networkx

    def share(circuit):
        graph = circuit.to_networkx()
        graph.add_nodes_from(["embed", "logits"])
        reached = networkx.descendants(graph, "embed") | {"embed"}
        useful = networkx.ancestors(graph, "logits") | {"logits"}
        kept = {(a, key) for a, b, key in graph.edges(keys=True) if a in reached and b in useful}
        return len(kept) / len(circuit)

    return _shares(s, lambda circuits: np.mean([share(one) for one in circuits]))


@eight.mistake(
    "the share that is cut", "That is the share of loose ends. Asked for is the share on a path."
)
def _(s):
    return 1 - np.array(_shares(s))


@eight.mistake(
    "a number of edges instead of a share",
    "These are numbers of edges. Divide by the 500 that each circuit has.",
)
def _(s):
    return 500 * np.array(_shares(s))


@eight.mistake(
    "a share of all edges of the model",
    "You divided by all 70,651 edges of the model. Each circuit has 500.",
)
def _(s):
    total = len(s.edges()) + len(~s.edges())
    return 500 / total * np.array(_shares(s))


@eight.mistake(
    "one random circuit instead of five",
    "You counted the first random circuit alone. They differ a lot: take the mean of the five.",
)
def _(s):
    return _shares(s, lambda circuits: _on_a_path(circuits[:1]))


@eight.mistake(
    "the random circuits joined",
    "You joined the five random circuits and pruned them as one. Their edges then connect each other:"
    " prune each circuit by itself, and average.",
)
def _(s):
    def joined(circuits):
        every = circuits[0]
        for one in circuits[1:]:
            every = every | one
        return len(every.prune()) / len(every)

    return _shares(s, joined)


@eight.mistake(
    "edges in common instead of edges on a path",
    "You counted edges that the random circuits have in common with the circuit. Asked for is which"
    " edges lie on a path, in each circuit by itself.",
)
def _(s):
    mine = s.edges()
    shares = _shares(s, lambda circuits: np.mean([len(one & mine) / 500 for one in circuits]))
    return [_on_a_path([mine]), *shares[1:]]


@eight.mistake(
    "layers and size swapped",
    'The last two numbers are swapped: first match="size", then match="layers".',
)
def _(s):
    circuit, size, layers = _shares(s)
    return [circuit, layers, size]


@eight.mistake(
    "other random circuits",
    "The counting is right, and your random circuits are others: draw them with sets=5, seed=0.",
)
def _(s):
    return _shares(s, seed=1)


@eight.mistake(
    "a circuit divided by itself",
    "Each circuit was divided by its own length after prune(). Divide by the 500 edges that it had.",
)
def _(s):
    return [1.0, 1.0, 1.0]


@eight.mistake(
    "the circuit pruned before the draw",
    "You pruned the circuit first, so that the random ones are drawn for a smaller circuit. Draw them for"
    " the circuit of 500 edges.",
)
def _(s):
    small = s.edges().prune()
    shares = [len(small) / 500]
    for match in ("size", "layers"):
        drawn = random_circuits(small, sets=5, seed=0, match=match)
        shares.append(sum(len(one.prune()) for one in drawn) / 2500)
    return shares


@eight.mistake(
    "relative to the circuit",
    "The last two were divided by the circuit's own number. Each is a share of 500 edges.",
)
def _(s):
    circuit, size, layers = _shares(s)
    return [circuit, size / circuit, layers / circuit]


EXERCISES = [one, two, three, four, five, six, seven, eight]
