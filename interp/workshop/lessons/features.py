"""Features and learning: exercises on superposition, autoencoders, cards, steering, and a plateau."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import interp
from interp._numbers import to_numpy
from interp.workshop.exercise import Exercise
from interp.workshop.exercise import Setting as Base

SITE, LAYER = "resid_post.15", 15
HAPPY = ["I am so happy today", "What a wonderful surprise", "We laughed all evening"]
SAD = ["I am so sad today", "What a terrible loss", "We cried all evening"]
NEUTRAL = ["When I came home I felt very", "After the phone call she was"]
WORDS = (" happy", " sad")
K = 4  # latents on, in features-3
TRAINED = "resid_post.7"  # of features-4
RECIPE = {"width": 512, "k": 16, "tokens": 60_000, "batch": 512}
STARTS, RATE = (0.1, 0.01, 0.001), 0.05  # of features-7


class Setting(Base):
    """The default model, a pentagon, a small autoencoder, a latent with labels, and short texts."""

    names = ("model", "data")

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.data = made_data(model)
        self.words = [
            model.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in WORDS
        ]

    def hand_out(self) -> tuple:
        return self.model, made_data(self.model, self.data.heldout.clone())

    @property
    def sae(self) -> Any:
        """The dictionary of features-4, trained as the lesson does, and kept on disk."""

        def make() -> Any:
            acts = interp.features.activations(self.model, TRAINED, tokens=6_000)
            return interp.features.load_or_train(self.model, TRAINED, acts, **RECIPE)

        return self.once("sae", make)

    def at_end(self, ids: Tensor, layer: int = LAYER, position: Any = -1) -> Tensor:
        """The stream after a layer, at the last position [d_model]."""
        name = f"blocks.{layer}.hook_resid_post"
        return self.once(f"{name} {ids.tolist()}", lambda: self.model.run_with_cache(ids)[1][name])[
            0, position
        ]

    def difference(self, logits: Tensor) -> float:
        """The logit of " happy" minus that of " sad", at the last position."""
        return float(logits[0, -1, self.words[0]] - logits[0, -1, self.words[1]])


def made_data(model: Any, heldout: Tensor | None = None) -> SimpleNamespace:
    """The lesson's numbers; the same at each call."""
    angles = 2 * math.pi * torch.arange(5) / 5
    pentagon = torch.stack([angles.cos(), angles.sin()])  # [2, 5]
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    def chance(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw)

    uneven = torch.linspace(0.3, 2, 32)  # some coordinates vary more than others
    W_dec = torch.nn.functional.normalize(uneven * normal(64, 32), dim=-1)
    on = (chance(300, 64) < 0.03) * (1 + normal(300, 64).abs())
    b_dec = normal(32)
    sae = SimpleNamespace(W_dec=W_dec, b_dec=b_dec, W_enc=0.7 * (W_dec.T + 0.02 * normal(32, 64)))
    sae.b_enc = -0.5 * torch.ones(64)
    label = chance(400) < 0.2  # "the token is a number"
    strong = label & (chance(400) < 0.3)
    weak = chance(400) < 0.25
    latent = strong * (3 + chance(400)) + (weak & ~strong) * chance(400)
    bos = model.tokenizer.bos_token_id

    def ids(text: str) -> Tensor:
        words = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor([[bos, *words]], device=model.W_U.device)

    return SimpleNamespace(
        W=pentagon,
        uneven=pentagon * torch.tensor([1.0, 0.9, 0.6, 0.3, 0.8]),
        x=on @ W_dec + b_dec + 0.05 * normal(300, 32),
        sae=sae,
        latent=latent,
        is_number=label,
        happy=[ids(text) for text in HAPPY],
        sad=[ids(text) for text in SAD],
        neutral=[ids(text) for text in NEUTRAL],
        heldout=held_out(model) if heldout is None else heldout,
    )


def held_out(model: Any) -> Tensor:
    """Four pieces of 64 tokens that no dictionary of the lesson was trained on [4, 64]."""
    corpus = interp.texts.documentation()
    return interp.texts.chunks(model, corpus, length=64, split="heldout")[:4].to(model.W_U.device)


# --- 1: five features in two dimensions -----------------------------------------------------------

one = Exercise(
    "features-1",
    1,
    "what comes out for each of the five features alone: a table, feature in by feature out",
    ("feature in", "feature out"),
    hints=(
        "One feature alone is a row of the identity: torch.eye(5) holds all five inputs at once.",
        "Down to two dimensions: h = x @ W.T. Up again: h @ W + b. Then ReLU, at the very end.",
        "torch.relu(torch.eye(5) @ data.W.T @ data.W + b) with b = -cos(72 degrees), -0.309.",
    ),
    remember="A diagonal. One at a time, five features fit into two dimensions without disturbing"
    " each other at all: bias and ReLU cut off the 0.31 that the neighbours read.",
)
BIAS = -math.cos(2 * math.pi / 5)


@one.right
def _(s):
    W, b = s.data.W, -np.cos(2 * np.pi / 5)
    return torch.relu(torch.eye(5) @ W.T @ W + b)


@one.another
def _(s):
    W = to_numpy(s.data.W)
    rows = []
    for feature in range(5):
        hidden = W[:, feature]
        rows.append([max(0.0, float(hidden @ W[:, out]) + BIAS) for out in range(5)])
    return rows


@one.mistake("ReLU forgotten", "There are negative numbers in it: the ReLU at the end is missing.")
def _(s):
    return s.data.W.T @ s.data.W + BIAS


@one.mistake(
    "bias forgotten",
    "Neighbours disturb each other by 0.31. That is what the bias is for: it is missing.",
)
def _(s):
    return torch.relu(s.data.W.T @ s.data.W)


@one.mistake(
    "the bias has the wrong sign",
    "The bias lifts everything up instead of pressing the disturbance below zero: b is negative.",
)
def _(s):
    return torch.relu(s.data.W.T @ s.data.W - BIAS)


@one.mistake(
    "the bias inside the hidden layer",
    "The bias was added to the two hidden numbers. It belongs to the five outputs, before the ReLU.",
)
def _(s):
    return torch.relu((s.data.W.T + BIAS) @ s.data.W)


@one.mistake(
    "degrees taken for radians",
    "cos(72) in Python is the cosine of 72 radians, -0.97. 72 degrees are 2 * pi / 5.",
)
def _(s):
    return torch.relu(s.data.W.T @ s.data.W - math.cos(72))


@one.mistake("ReLU before the bias", "The ReLU comes last: after the bias, not before it.")
def _(s):
    return torch.relu(s.data.W.T @ s.data.W) + BIAS


@one.mistake(
    "the wrong side of W",
    "That is what is left in two dimensions, W Wᵀ. Features are the columns of W: five in, five out.",
)
def _(s):
    return torch.relu(s.data.W @ s.data.W.T + BIAS)


# --- 2: dimensions per feature --------------------------------------------------------------------

two = Exercise(
    "features-2",
    2,
    "the dimensionality of each of the five features of data.uneven, five numbers",
    ("feature",),
    hints=(
        "D_i = |W_i|² / sum over j of (Ŵ_i · W_j)², where Ŵ_i is W_i divided by its length, and j runs"
        " over all features, i itself included.",
        "Features are columns: unit = W / W.norm(dim=0); unit.T @ W is [i, j].",
        "W.norm(dim=0) ** 2 / ((unit.T @ W) ** 2).sum(1).",
    ),
    remember="Together they have at most as many dimensions as there are, two: a feature that is"
    " longer takes more of its direction for itself.",
)


def _dimensionality(W: Tensor, *, unit: bool = True, self_too: bool = True, power: int = 2, axis=1):
    norms = W.norm(dim=0)
    overlap = ((W / norms if unit else W).T @ W).abs() ** power
    overlap = overlap if self_too else overlap - torch.diag(overlap.diagonal())
    return norms**2 / overlap.sum(axis)


@two.right
def _(s):
    W = s.data.uneven
    unit = W / W.norm(dim=0)
    return W.norm(dim=0) ** 2 / ((unit.T @ W) ** 2).sum(1)


@two.another
def _(s):
    W = s.data.uneven.T.tolist()
    found = []
    for w in W:
        length2 = w[0] ** 2 + w[1] ** 2
        shared = sum((w[0] * v[0] + w[1] * v[1]) ** 2 / length2 for v in W)
        found.append(length2 / shared)
    return found


@two.mistake("not divided by its length", "Ŵ_i is W_i divided by its length; you used W_i itself.")
def _(s):
    return _dimensionality(s.data.uneven, unit=False)


@two.mistake(
    "itself left out",
    "The sum over j includes i itself: a feature with a dimension of its own has D = 1, not infinity.",
)
def _(s):
    return _dimensionality(s.data.uneven, self_too=False)


@two.mistake("not squared", "The overlaps in the sum are squared.")
def _(s):
    return _dimensionality(s.data.uneven, power=1)


@two.mistake(
    "all five alike",
    "All five come out alike, as for a pentagon of equal lengths. Three reasons are common: data.W"
    " instead of data.uneven; both W normalised, so that the lengths are gone; or the sum over i instead"
    " of j (Ŵ, the one of length one, is the feature that you ask about).",
)
def _(s):
    return _dimensionality(s.data.uneven, axis=0)


@two.mistake("upside down", "That is one over what is asked for.")
def _(s):
    return 1 / _dimensionality(s.data.uneven)


@two.mistake("the length not squared", "The numerator is the length squared, |W_i|².")
def _(s):
    W = s.data.uneven
    return _dimensionality(W) / W.norm(dim=0)


@two.mistake(
    "lengths over the wrong axis",
    "Features are columns. You normalised rows: W.norm(dim=0) has five lengths, W.norm(dim=1) two.",
)
def _(s):
    W = s.data.uneven
    unit = W / W.norm(dim=1, keepdim=True)
    return W.norm(dim=0) ** 2 / ((unit.T @ W) ** 2).sum(1)


# --- 3: an autoencoder in a few lines -------------------------------------------------------------

three = Exercise(
    "features-3",
    2,
    "the explained variance of the top-4 autoencoder on data.x, one number",
    hints=(
        "Encode: latents = relu((x - b_dec) @ W_enc + b_enc), and of each token keep the four largest."
        " Decode: latents @ W_dec + b_dec.",
        "values, index = latents.topk(4, dim=-1); torch.zeros_like(latents).scatter(-1, index, values)"
        " keeps the four of each row.",
        "1 - ((x - decoded) ** 2).sum() / ((x - x.mean(0)) ** 2).sum().",
    ),
    remember="Explained variance says how much comes back, and nothing about what the latents"
    " mean: compare it with PCA's, at the same number of numbers per token.",
)


def _decoded(
    s, *, axis=-1, minus=True, plus=True, top=True, relu=True, bias=True, k: int = K
) -> Tensor:
    sae, x = s.data.sae, s.data.x
    latents = (x - sae.b_dec if minus else x) @ sae.W_enc + (sae.b_enc if bias else 0)
    latents = torch.relu(latents) if relu else latents
    if top:
        values, index = latents.topk(k, dim=axis)
        latents = torch.zeros_like(latents).scatter(axis, index, values)
    return latents @ sae.W_dec + (sae.b_dec if plus else 0)


def _explained(s, decoded: Tensor, *, centre: bool = True) -> Tensor:
    x = s.data.x
    return 1 - ((x - decoded) ** 2).sum() / ((x - x.mean(0) if centre else x) ** 2).sum()


@three.right
def _(s):
    x, sae = s.data.x, s.data.sae
    latents = torch.relu((x - sae.b_dec) @ sae.W_enc + sae.b_enc)
    values, index = latents.topk(4, dim=-1)
    latents = torch.zeros_like(latents).scatter(-1, index, values)
    decoded = latents @ sae.W_dec + sae.b_dec
    return 1 - ((x - decoded) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()


@three.another
def _(s):
    x, sae = to_numpy(s.data.x.double()), s.data.sae
    W_enc, b_enc, W_dec, b_dec = map(to_numpy, (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec))
    latents = np.maximum((x - b_dec) @ W_enc + b_enc, 0)
    latents[np.arange(len(x))[:, None], np.argsort(latents, 1)[:, :-K]] = 0
    error = x - latents @ W_dec - b_dec
    return 1 - error.var(0).sum() / x.var(0).sum() - (error.mean(0) ** 2).sum() / x.var(0).sum()


@three.mistake(
    "top-k over the wrong axis",
    "You kept the four tokens at which each latent is largest. Top-k is over latents: each token keeps"
    " its own four.",
)
def _(s):
    return _explained(s, _decoded(s, axis=0))


@three.mistake(
    "all latents kept",
    "Every latent that is above zero was used. Top-4 keeps the four largest of each token.",
)
def _(s):
    return _explained(s, _decoded(s, top=False))


@three.mistake(
    "b_dec not subtracted",
    "The encoder reads x - b_dec: the centre is subtracted before, and added back at the end.",
)
def _(s):
    return _explained(s, _decoded(s, minus=False))


@three.mistake("b_dec not added back", "The decoder adds b_dec at the end; you left it out.")
def _(s):
    return _explained(s, _decoded(s, plus=False))


@three.mistake(
    "the mean not subtracted",
    "You divided by the size of x, or by x.var() over everything. Subtract each coordinate's own mean,"
    " x.mean(0): else the mean alone counts as explained.",
)
def _(s):
    return _explained(s, _decoded(s), centre=False)


@three.mistake(
    "what is not explained", "That is the share that is lost. Explained is one minus that."
)
def _(s):
    return 1 - _explained(s, _decoded(s))


@three.mistake(
    "the mean over coordinates",
    "You took the explained variance of each coordinate and averaged. Coordinates with little variance"
    " then count as much as large ones: sum first.",
)
def _(s):
    x = s.data.x
    error = (x - _decoded(s)) ** 2
    return (1 - error.sum(0) / ((x - x.mean(0)) ** 2).sum(0)).mean()


@three.mistake(
    "ReLU forgotten",
    "The ReLU is missing: the four largest of a token can be negative, and a latent is never below zero.",
)
def _(s):
    return _explained(s, _decoded(s, relu=False))


@three.mistake("b_enc forgotten", "The encoder adds b_enc before the ReLU; you left it out.")
def _(s):
    return _explained(s, _decoded(s, bias=False))


@three.mistake("three latents kept", "You kept three latents of each token. k is 4.")
def _(s):
    return _explained(s, _decoded(s, k=3))


@three.mistake("five latents kept", "You kept five latents of each token. k is 4.")
def _(s):
    return _explained(s, _decoded(s, k=5))


# --- 4: a dictionary of a language model ----------------------------------------------------------

four = Exercise(
    "features-4",
    2,
    "the share of the loss that the dictionary recovers on data.heldout, one number",
    hints=(
        "Three runs of the model on data.heldout: as it is, with sae.reconstruct(activation) in place of"
        " the activation, and with the mean activation in its place. Each has a loss.",
        'model.run_with_hooks(tokens, return_type="loss", fwd_hooks=[(name, hook)]) with name ='
        ' "blocks.7.hook_resid_post". The hook changes activation[:, 1:] and leaves position 0 alone.'
        " The mean is over all chunks and all positions but the first.",
        "(loss with the mean - loss with the reconstruction) / (loss with the mean - loss as it is).",
    ),
    remember="Explained variance counts every direction alike; this asks whether the model can"
    " work with what came back. Beside it belongs what PCA gets with as many numbers.",
    note='If you trained the dictionary in another way, give it as well: check("features-4", recovered,'
    " sae=sae).",
    uses=("sae",),
)


def _splice(
    s, new=None, *, layer: int = 7, first: int = 1, off: bool = False, rows: int | None = None
) -> float:
    """The loss on the held-out text, with a function of the activation in its place."""

    def put(act: Tensor, hook: Any) -> Tensor:
        return torch.cat([act[:, :first], new(act[:, first:])], 1)

    hooks = [] if new is None else [(f"blocks.{layer}.hook_resid_post", put)]
    tokens = s.data.heldout[:rows]
    if off:
        logits = s.model.run_with_hooks(tokens, fwd_hooks=hooks).log_softmax(-1)
        return -float(logits.gather(2, tokens[..., None]).mean())
    return float(s.model.run_with_hooks(tokens, return_type="loss", fwd_hooks=hooks))


def _mean(s, layer: int = 7, first: int = 1) -> Tensor:
    name = f"blocks.{layer}.hook_resid_post"
    cache = s.once("heldout", lambda: s.model.run_with_cache(s.data.heldout)[1])
    return cache[name][:, first:].flatten(0, 1).mean(0)


def _losses(s, **how) -> tuple[float, float, float]:
    """As it is, reconstructed, mean in its place."""

    def make() -> tuple[float, float, float]:
        off = {"off": how.get("off", False)}
        mean = _mean(s, how.get("layer", 7), how.get("first", 1))
        back = _splice(s, s.sae.reconstruct, **how)
        plain = s.once(f"plain {off}", lambda: _splice(s, **off))
        return plain, back, _splice(s, mean.expand_as, **how)

    return s.once(f"losses {how}", make)


def _judged(s) -> interp.Result:
    return s.once("judged", lambda: interp.features.evaluate(s.model, s.sae, s.data.heldout))


@four.right
def _(s):
    tokens, name = s.data.heldout, "blocks.7.hook_resid_post"
    _, cache = s.model.run_with_cache(tokens)
    mean = cache[name][:, 1:].mean((0, 1))

    def loss(new):
        def put(activation, hook):
            activation[:, 1:] = new(activation[:, 1:])
            return activation

        return s.model.run_with_hooks(tokens, return_type="loss", fwd_hooks=[(name, put)])

    plain, back, ablated = loss(lambda x: x), loss(s.sae.reconstruct), loss(lambda x: mean)
    return (ablated - back) / (ablated - plain)


@four.another
def _(s):
    return _judged(s).sel(measure="loss recovered")


@four.mistake(
    "explained variance",
    "That is explained variance: how much of the activation comes back. Asked for is what it is worth"
    " to the model, in loss.",
)
def _(s):
    return _judged(s).sel(measure="explained variance")


@four.mistake(
    "zero instead of the mean",
    "You put zeros in where the mean belongs. That breaks the model far more, and beside it every"
    " dictionary looks good.",
)
def _(s):
    plain, back, _ = _losses(s)
    zero = s.once("zeros", lambda: _splice(s, torch.zeros_like))
    return (zero - back) / (zero - plain)


@four.mistake(
    "what is lost instead of what is recovered", "That is the share that is lost: one minus it."
)
def _(s):
    plain, back, ablated = _losses(s)
    return (back - plain) / (ablated - plain)


@four.mistake(
    "a ratio of losses",
    "You divided one loss by another. A loss has no zero that means anything here: use the way from the"
    " mean (0) to the model as it is (1).",
)
def _(s):
    plain, back, _ = _losses(s)
    return plain / back


@four.mistake(
    "the loss instead of a share",
    "That is the loss with the reconstruction. Place it between the mean's loss (0) and the model's (1).",
)
def _(s):
    return _losses(s)[1]


@four.mistake(
    "the first position replaced as well",
    "You replaced position 0 too. The dictionary was trained without it: the sink's vector is far longer"
    " than all others. Begin at position 1, in the mean as well.",
)
def _(s):
    plain, back, ablated = _losses(s, first=0)
    return (ablated - back) / (ablated - plain)


@four.mistake(
    "the token itself instead of the next one",
    "You scored each token's own logit. The logits at position p guess the token at p + 1;"
    ' return_type="loss" does that for you.',
)
def _(s):
    plain, back, ablated = _losses(s, off=True)
    return (ablated - back) / (ablated - plain)


@four.mistake(
    "layer off by one", "You put it in at another layer: resid_post.7 is blocks.7.hook_resid_post."
)
def _(s):
    plain, back, ablated = _losses(s, layer=6)
    return (ablated - back) / (ablated - plain)


@four.mistake(
    "the hook changes nothing",
    "All of the loss comes back, to the last digit: the hook changed nothing. Does it return the"
    " activation, does it change the one that it returns, and is its name one of the model's (try"
    " `name in model.hook_dict`: a name that is not there is ignored in silence)?",
)
def _(s):
    return 1.0


@four.mistake(
    "the first position in the mean",
    "The mean was taken over position 0 as well, whose vector is far longer than all others. Begin the"
    " mean at position 1.",
)
def _(s):
    plain, back, _ = _losses(s)
    mean = _mean(s, first=0)
    ablated = s.once("mean with the first", lambda: _splice(s, mean.expand_as))
    return (ablated - back) / (ablated - plain)


@four.mistake(
    "one layer too late",
    "You put it in one layer too late: resid_post.7 is blocks.7.hook_resid_post.",
)
def _(s):
    plain, back, ablated = _losses(s, layer=8)
    return (ablated - back) / (ablated - plain)


@four.mistake(
    "one text alone", "That is the first of the four texts alone. Use all of data.heldout."
)
def _(s):
    def make() -> tuple[float, float, float]:
        mean = _mean(s)
        return tuple(_splice(s, new, rows=1) for new in (None, s.sae.reconstruct, mean.expand_as))

    plain, back, ablated = s.once("losses one text", make)
    return (ablated - back) / (ablated - plain)


# --- 5: reading a card ----------------------------------------------------------------------------

five = Exercise(
    "features-5",
    1,
    "of all tokens at which the latent is on, the share that are numbers, one number",
    hints=(
        "A latent is on where it is above zero. That is a mask.",
        "data.is_number[mask] are the labels of those tokens.",
        "data.is_number[data.latent > 0].float().mean().",
    ),
    remember="The ten strongest tokens are all numbers, so that list looks perfectly clean; yet of"
    " all tokens at which it is on, two in three are not. Look at the whole range.",
)


@five.right
def _(s):
    return s.data.is_number[s.data.latent > 0].float().mean()


@five.another
def _(s):
    on, label = to_numpy(s.data.latent > 0), to_numpy(s.data.is_number)
    return (on & label).sum() / on.sum()


@five.mistake(
    "the strongest ten alone",
    "You looked at the strongest tokens only, as a list of top tokens does. That is how one fools oneself: take all"
    " tokens at which the latent is on.",
)
def _(s):
    return s.data.is_number[s.data.latent.topk(10).indices].float().mean()


@five.mistake(
    "recall instead of precision",
    "You asked: of all numbers, at how many is it on? Asked for is the other way round.",
)
def _(s):
    return (s.data.latent > 0)[s.data.is_number].float().mean()


@five.mistake(
    "all tokens", "That is the share of numbers among all tokens, whatever the latent does."
)
def _(s):
    return s.data.is_number.float().mean()


@five.mistake(
    "weighted by strength",
    "You weighted each token by how strongly the latent is on. Count tokens.",
)
def _(s):
    return (s.data.latent * s.data.is_number).sum() / s.data.latent.sum()


@five.mistake(
    "accuracy", "That is accuracy: it counts the many tokens at which nothing happens as right."
)
def _(s):
    return ((s.data.latent > 0) == s.data.is_number).float().mean()


@five.mistake(
    "the wrong denominator", "You divided by all tokens. Divide by those at which the latent is on."
)
def _(s):
    return ((s.data.latent > 0) & s.data.is_number).float().mean()


@five.mistake("a number of tokens", "That is how many tokens. Asked for is a share of them.")
def _(s):
    return ((s.data.latent > 0) & s.data.is_number).sum()


@five.mistake(
    "another threshold",
    "You counted a latent as on above one half. On is above zero, however weakly.",
)
def _(s):
    return s.data.is_number[s.data.latent > 0.5].float().mean()


# --- 6: steering ----------------------------------------------------------------------------------

six = Exercise(
    "features-6",
    2,
    'the mean change of logit(" happy") minus logit(" sad") when the direction is added at the last'
    f" position of {SITE}, one number",
    hints=(
        "The direction is the mean over happy texts of the stream at their last token, minus the same"
        " over sad texts: a vector of 576 numbers.",
        f'cache["blocks.{LAYER}.hook_resid_post"][0, -1] is the vector of one text. To add it, hook the'
        " same name: activation[:, -1] += direction.",
        "For both neutral prompts: the difference of the two logits with the hook minus without it; then"
        " the mean of the two changes.",
    ),
    remember="Six short sentences make a push of 1.4 logits, a factor of four in the odds. Is that more than"
    " random directions do, and what else did it change? See below.",
)


def _direction(s, *, layer: int = LAYER, position: Any = -1) -> Tensor:
    def mean(texts: list[Tensor]) -> Tensor:
        rows = [s.at_end(ids, layer, position) for ids in texts]
        return torch.stack([row if row.ndim == 1 else row.mean(0) for row in rows]).mean(0)

    return mean(s.data.happy) - mean(s.data.sad)


def _pushed(s, direction: Tensor, **how) -> float:
    return float(np.mean(_changes(s, direction, **how)))


def _changes(
    s, direction: Tensor, *, layer: int = LAYER, at: Any = -1, instead: bool = False
) -> list[float]:
    """The change for each neutral prompt, with the direction added at some positions."""

    def push(act: Tensor, hook: Any) -> Tensor:
        act = act.clone()
        act[:, at] = direction + (0 if instead else act[:, at])
        return act

    hooks = [(f"blocks.{layer}.hook_resid_post", push)]
    before = s.once("neutral", lambda: [s.difference(s.model(ids)) for ids in s.data.neutral])
    after = (s.model.run_with_hooks(ids, fwd_hooks=hooks) for ids in s.data.neutral)
    return [s.difference(logits) - was for logits, was in zip(after, before)]


@six.right
def _(s):
    name = "blocks.15.hook_resid_post"

    def mean(texts):
        return torch.stack([s.model.run_with_cache(ids)[1][name][0, -1] for ids in texts]).mean(0)

    direction = mean(s.data.happy) - mean(s.data.sad)

    def push(activation, hook):
        activation[:, -1] += direction
        return activation

    happy, sad = (s.model.to_single_token(word) for word in (" happy", " sad"))
    changes = []
    for ids in s.data.neutral:
        before = s.model(ids)[0, -1]
        after = s.model.run_with_hooks(ids, fwd_hooks=[(name, push)])[0, -1]
        changes.append((after[happy] - after[sad]) - (before[happy] - before[sad]))
    return torch.stack(changes).mean()


@six.another
def _(s):
    def at_end(ids):
        return interp.run(s.model, ids, keep=[f"{SITE}@-1"]).kept[f"{SITE}@-1"][0]

    happy, sad = (torch.stack([at_end(i) for i in t]).mean(0) for t in (s.data.happy, s.data.sad))
    push = interp.Intervention(f"{SITE}@-1", lambda act, seen: act + (happy - sad))
    changes = [
        s.difference(interp.run(s.model, ids, [push]).logits) - s.difference(s.model(ids))
        for ids in s.data.neutral
    ]
    return np.mean(changes)


@six.mistake("sad minus happy", "The direction points the other way: it is happy minus sad.")
def _(s):
    return _pushed(s, -_direction(s))


@six.mistake(
    "direction of length one",
    "You divided the direction by its length. Next to a stream that is far longer, length one does next"
    " to nothing; add the difference as it is.",
)
def _(s):
    direction = _direction(s)
    return _pushed(s, direction / direction.norm())


@six.mistake(
    "added at every position",
    "You added it at every position, the first token included, which upsets the sink. Only the last"
    " position is asked for.",
)
def _(s):
    return _pushed(s, _direction(s), at=slice(None))


@six.mistake(
    "averaged over all positions",
    "The direction was averaged over all positions of each text, the first token included. Take the last"
    " position.",
)
def _(s):
    return _pushed(s, _direction(s, position=slice(None)))


@six.mistake(
    "layer off by one", "You read and wrote one layer earlier: resid_pre.15 is resid_post.14."
)
def _(s):
    return _pushed(s, _direction(s, layer=LAYER - 1), layer=LAYER - 1)


@six.mistake(
    "the logits instead of their change",
    "That is the difference after the push. Subtract what it was before.",
)
def _(s):
    before = float(np.mean([s.difference(s.model(ids)) for ids in s.data.neutral]))
    return _pushed(s, _direction(s)) + before


@six.mistake(
    "the hook changes nothing",
    "Nothing changed. Does the hook return the activation, does it change the one that it returns, and"
    " is its name one of the model's (try `name in model.hook_dict`: a name that is not there is ignored"
    " in silence)?",
)
def _(s):
    return 0.0


@six.mistake(
    "set instead of added",
    "You put the direction in the place of the stream. It is added to what is there.",
)
def _(s):
    return _pushed(s, _direction(s), instead=True)


@six.mistake("the sum over prompts", "You added the two prompts' changes. Asked for is their mean.")
def _(s):
    return 2 * _pushed(s, _direction(s))


@six.mistake("one prompt alone", "That is the first neutral prompt alone. Average over both.")
def _(s):
    return _changes(s, _direction(s))[0]


@six.mistake(
    "sums instead of means",
    "The direction is three times too long: it is the mean over the happy texts minus the mean over the"
    " sad ones, not the sums.",
)
def _(s):
    return _pushed(s, len(HAPPY) * _direction(s))


@six.mistake(
    "added at every position but the first",
    "You added it at every position but the first. Only the last position is asked for.",
)
def _(s):
    return _pushed(s, _direction(s), at=slice(1, None))


@six.mistake(
    "one layer too late",
    "You read and wrote one layer later: the name is blocks.15.hook_resid_post.",
)
def _(s):
    return _pushed(s, _direction(s, layer=LAYER + 1), layer=LAYER + 1)


# --- 7: why learning can be abrupt ----------------------------------------------------------------

seven = Exercise(
    "features-7",
    3,
    f"the step at which a * b first reaches one half, from each of the starts {STARTS}, three numbers",
    ("start",),
    hints=(
        "The loss is (1 - a b)² / 2. Its gradient is -(1 - a b) b for a, and -(1 - a b) a for b.",
        "Both updates use the values from *before* the step: compute both gradients, then change both.",
        f"rate = {RATE}; a = b = start; step = 0; while a * b < 0.5: error = 1 - a * b; a, b = a + rate *"
        " error * b, b + rate * error * a; step += 1.",
    ),
    remember="A start ten times smaller costs the same number of steps each time: a plateau whose"
    " length goes with the logarithm of the start, and then a jump.",
)


def _steps(*, leak=False, double=False, on_a=False, late=0, rate=RATE) -> list[int]:
    found = []
    for start in STARTS:
        a = b = start
        step = 0
        while (a if on_a else a * b) < 0.5:
            error = (2 if double else 1) * (1 - a * b)
            if leak:
                a = a + rate * error * b
                b = b + rate * (1 - a * b) * a
            else:
                a, b = a + rate * error * b, b + rate * error * a
            step += 1
        found.append(step + late)
    return found


@seven.right
def _(s):
    steps = []
    for start in (0.1, 0.01, 0.001):
        a = b = start
        step = 0
        while a * b < 0.5:
            error = 1 - a * b
            a, b = a + 0.05 * error * b, b + 0.05 * error * a
            step += 1
        steps.append(step)
    return steps


@seven.another
def _(s):
    found = []
    for start in STARTS:
        w = torch.tensor([start, start], dtype=torch.float64, requires_grad=True)
        step = 0
        while float(w.detach().prod()) < 0.5:
            with torch.enable_grad():
                (grad,) = torch.autograd.grad((1 - w.prod()) ** 2 / 2, w)
            w = (w - RATE * grad).detach().requires_grad_(True)
            step += 1
        found.append(step)
    return found


@seven.mistake(
    "an edit that leaks",
    "You changed a first, and b's step already used the new a. Compute both gradients before you change"
    " either.",
)
def _(s):
    return _steps(leak=True)


@seven.mistake(
    "the half forgotten",
    "Your gradient is twice as large: the loss has a factor one half in front.",
)
def _(s):
    return _steps(double=True)


@seven.mistake(
    "a instead of a times b",
    "You waited until a alone reaches one half. What the model computes is a times b.",
)
def _(s):
    return _steps(on_a=True)


@seven.mistake(
    "off by one step",
    "One step too many: the start is step 0, so the value after the first update is step 1.",
)
def _(s):
    return _steps(late=1)


@seven.mistake(
    "one step too few", "One step too few: count the update with which it reaches one half."
)
def _(s):
    return _steps(late=-1)


@seven.mistake(
    "the formula for small steps",
    "These are the solution of the differential equation, with steps of no length. It is close (and a"
    " good way to see the logarithm), but asked for are steps of gradient descent, which are whole"
    " numbers.",
)
def _(s):
    return [math.log(1 / start**2 - 1) / (2 * RATE) for start in STARTS]


@seven.mistake("half the rate", f"Learning is half as fast as asked: the rate is {RATE}.")
def _(s):
    return _steps(rate=RATE / 2)


@seven.mistake("the starts in another order", "The order is that of the starts: 0.1 comes first.")
def _(s):
    return _steps()[::-1]


@seven.mistake("divided by the first", "Asked for are numbers of steps, not how many times longer.")
def _(s):
    return [step / _steps()[0] for step in _steps()]


EXERCISES = [one, two, three, four, five, six, seven]
