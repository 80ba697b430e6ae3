"""Multiple choice with a letter to name: prompts, and what is measured on one trained model."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._types import Model
from interp.edits import Edit, set_to
from interp.interventions import Intervention, run
from interp.models import bridge
from interp.tasks.pairs import pairs
from interp.tasks.task import Task

TRAINED_ON = (
    "apple bird car egg house milk plane box sand sun rock math code phone king lamp tree fish dog"
    " cat water bread wine gold iron road river hill lake book pen desk door wall ball ring coat"
    " shoe rain snow"
).split()
TO_FIND = (
    "hat cup bag key bed cake bell bone bowl brick bridge brush candle card chain chair clock cloth"
    " cloud crown drum engine fence field finger flag flower forest garden gate grass hammer hand"
    " head heart honey horn ice island jacket"
).split()
TO_JUDGE = (
    "kitchen knife leaf lemon map mirror mountain mouse nail needle nose ocean oil orange paint"
    " pencil pepper pipe pocket pot potato rabbit radio roof root rope rose sail school seed shell"
    " shirt silk silver skin sky snake soap sock spoon spring steel stick storm sword"
).split()
LETTERS = "ABCD"
OTHERS = "EFGHKLMNPQRSTUVWXYZ"


def letters(
    model: Model,
    words: Sequence[str],
    n: int,
    seed: int,
    *,
    options: int = 4,
    labels: str = LETTERS,
    shuffled: bool = False,
    donors: bool = False,
) -> Task:
    """A task that asks for the letter of the option that the question names.

    Example:
        >>> task = letters(model, TO_JUDGE, 32, seed=2)

    Args:
        model: A model, or its tokenizer.
        words: What the options are drawn from, one token each.
        n: How many prompts; each place is right equally often.
        seed: Draws words and labels.
        options: How many options a prompt has.
        labels: The options' labels.
        shuffled: Draw as many of them in any order; otherwise the first ones in order.
        donors: In place of each prompt a second one with the same words in another order, which
            asks for another word, at another place than both words have in the first.

    Returns:
        Prompts of one length, with the labels "place", the right option's ("0" is the first),
        "names", the options' labels, and, of donors, "word": where the donor's right word stands in
        the first prompt.

    Raises:
        ValueError: If there are fewer words or labels than options, or fewer than three options
            where donors are asked for.
    """
    if not 2 <= options <= min(len(set(words)), len(labels)) or (donors and options < 3):
        raise ValueError(
            f"options={options}: at least two{', with donors three' if donors else ''}, and no more"
            f" than the {len(set(words))} words and {len(labels)} labels, options=4"
        )
    rng, again = random.Random(f"letters {seed}"), random.Random(f"donors {seed}")
    prompts, answers, wrong = [], [], []
    said: dict[str, list[str]] = {"place": [], "names": [], "word": []}
    for i in range(n):
        listed, place = rng.sample(list(words), options), i % options
        names = rng.sample(labels, options) if shuffled else list(labels[:options])
        word = place
        if donors:
            word, new = again.sample([k for k in range(options) if k != place], 2)
            others = again.sample([o for k, o in enumerate(listed) if k != word], options - 1)
            listed, place = [*others[:new], listed[word], *others[new:]], new
        rows = [f"{name}. {option}" for name, option in zip(names, listed)]
        prompts.append("\n".join([f"Which is {listed[place]}?", *rows, "Answer:"]))
        answers.append(f" {names[place]}")
        wrong.append([f" {name}" for k, name in enumerate(names) if k != place])
        for key, value in (("place", str(place)), ("names", "".join(names)), ("word", str(word))):
            said[key].append(value)
    return pairs(model, prompts, answers=answers, wrong=wrong, labels=said, name="letters")


def chosen(task: Task, logits: Float[Tensor, "batch d_vocab"]) -> Int[Tensor, " batch"]:
    """The place of the option whose letter is likeliest after each prompt."""
    return _of_options(task, logits).argmax(-1)


def lead(task: Task, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
    """The right letter's logit minus the mean of the others."""
    each, right = _of_options(task, logits), places(task)
    own = each.gather(1, right[:, None])[:, 0]
    return own - (each.sum(-1) - own) / (each.shape[1] - 1)


def places(task: Task, key: str = "place") -> Int[Tensor, " batch"]:
    """The place of the right option of each prompt, or what another label of the task says."""
    return torch.tensor([int(place) for place in task.labels[key]])


def _of_options(task: Task, logits: Tensor) -> Tensor:
    """The logits of the letters, in the order of the lines [batch option]."""
    code = task.tokenizer
    ids = [
        [code.encode(f" {name}", add_special_tokens=False)[0] for name in names]
        for names in task.labels["names"]
    ]
    return logits.gather(1, torch.tensor(ids, device=logits.device)).cpu()


def lines(task: Task) -> list[list[int]]:
    """The positions of each option's line: its letter, the stop, the word, the end of the line."""
    words = [task.tokenizer.decode([int(i)]) for i in task.clean[0]]
    ends = [i for i, word in enumerate(words) if "\n" in word]
    return [list(range(a + 1, b + 1)) for a, b in zip(ends, ends[1:])]


def looks(
    model: Model, task: Task
) -> tuple[Float[Tensor, "layer head 2"], Float[Tensor, "layer head right line"]]:
    """Each head's attention from the last token to the right option's line and to the mean wrong
    one [layer head right-or-wrong], and to each of the four lines where the first is right, the
    second, ... [layer head right line].
    """
    rows = run(model, task, keep=["L*H*.pattern@END"], last_only=True).kept["L*H*.pattern@END"]
    rows = rows.flatten(3)  # layer head batch src
    mass = torch.stack([rows[..., at].sum(-1) for at in lines(task)], -1).cpu()
    right = places(task)
    own = mass.gather(-1, right.expand(mass.shape[:3])[..., None])[..., 0]
    two = torch.stack([own.mean(-1), ((mass.sum(-1) - own) / 3).mean(-1)], -1)
    return two, torch.stack([mass[:, :, right == k].mean(2) for k in range(4)], 2)


def letter_heads(model: Model, task: Task, *, least: float = 0.4, times: float = 3.0) -> list[str]:
    """The heads that look at the right option's line from the last token, strongest first."""
    two, _ = looks(model, task)
    right, wrong = two.unbind(-1)
    found = [
        (float(right[layer, head]), f"L{layer}H{head}")
        for layer, head in torch.cartesian_prod(*map(torch.arange, right.shape)).tolist()
        if right[layer, head] >= least and right[layer, head] >= times * wrong[layer, head]
    ]
    return [name for _, name in sorted(found, reverse=True)]


def keep_only(
    model: Model, find: Task, judge: Task, kept: Sequence[str], every: Sequence[str]
) -> Float[Tensor, "batch d_vocab"]:
    """The logits at the last token when every component but some writes there what it writes on
    average over other prompts.
    """
    means = run(model, find, keep=["L*H*.z@END", "mlp.*@END"], last_only=True).kept
    z, mlp = (means[key].flatten(-3, -2).mean(-2) for key in ("L*H*.z@END", "mlp.*@END"))
    edits = []
    for name in sorted(set(every) - set(kept)):
        if name.startswith("mlp"):
            edits.append(Intervention(f"{name}@END", set_to(mlp[int(name.split(".")[1])])))
        else:
            layer, head = map(int, name[1:].split("H"))
            edits.append(Intervention(f"{name}.z@END", set_to(z[layer, head])))
    return run(model, judge, edits, last_only=True).logits


def swapped(
    model: Model, task: Task, donors: Task, heads: Sequence[str], what: str = "q"
) -> Float[Tensor, "batch d_vocab"]:
    """The logits at the last token when heads are given the queries of other prompts there ("q"),
    or their keys or values at the options' lines ("k", "v").

    Heads that share keys and values with these are given them, too.
    """
    sites = [f"{head}.q" for head in heads] if what == "q" else _shared(model, heads, what)
    at = [task.clean.shape[1] - 1] if what == "q" else [p for line in lines(task) for p in line]
    theirs = run(model, donors, keep=sites, last_only=True).kept
    edits = [Intervention(f"{s}@{p}", set_to(theirs[s][:, p])) for s in sites for p in at]
    return run(model, task, edits, last_only=True).logits


class Directions:
    """The directions in which queries at the last token, and keys and values at the options' lines,
    vary most between prompts.

    Example:
        >>> few = Directions(model, find, heads)
        >>> few.kept(judge, 4)        # the logits with nothing but the first four of each
    """

    def __init__(self, model: Model, find: Task, heads: Sequence[str]) -> None:
        self.model = model
        queries = [f"{head}.q" for head in heads]
        others = [s for what in "kv" for s in _shared(model, heads, what)]
        values = run(model, find, keep=[*queries, *others], last_only=True).kept
        end, at = find.clean.shape[1] - 1, [p for line in lines(find) for p in line]
        self.at = {s: [end] if s in queries else at for s in [*queries, *others]}
        seen = {s: values[s][:, here].flatten(0, -2) for s, here in self.at.items()}
        self.mean = {s: x.mean(0) for s, x in seen.items()}
        self.basis = {
            s: torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh for s, x in seen.items()
        }

    def kept(
        self, judge: Task, rank: int, *, drawn: int | None = None
    ) -> Float[Tensor, "batch d_vocab"]:
        """The logits when the first `rank` directions alone are kept, around the mean. With
        `drawn`, as many directions drawn by that seed are.

        Heads that share keys and values with these have them changed, too.
        """
        rng = None if drawn is None else torch.Generator().manual_seed(drawn)
        edits = []
        for site, at in self.at.items():
            basis = self.basis[site][:rank]
            if rng is not None:
                d = basis.shape[1]
                square = torch.randn(d, d, generator=rng, dtype=torch.float64)
                basis = torch.linalg.qr(square).Q[:rank].to(basis)
            edit = _projected(self.mean[site], basis)
            edits += [Intervention(f"{site}@{p}", edit) for p in at]
        return run(self.model, judge, edits, last_only=True).logits


def _shared(model: Model, heads: Sequence[str], what: str) -> list[str]:
    """The keys or values that these heads read, each once."""
    d = bridge.dims(model)
    group = d.n_heads // d.n_kv_heads
    named = sorted({(int(h[1:].split("H")[0]), int(h.split("H")[1]) // group) for h in heads})
    return [f"L{layer}KV{g}.{what}" for layer, g in named]


def _projected(mean: Float[Tensor, " d"], basis: Float[Tensor, "rank d"]) -> Edit:
    """An edit that keeps what lies in these directions, around the mean."""

    def edit(act: Tensor, seen: Any) -> Tensor:
        return mean + (act - mean) @ basis.T @ basis

    return edit
