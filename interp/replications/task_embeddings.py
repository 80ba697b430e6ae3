"""Tasks given by pairs of words, and the heads that a task needs, found by learning scalings.

A pair is a question and its answer, "go" and "went". Words that train, and words that test, are
never the same, on neither side. The prompt is "Q: go\\nA:": a word that stood first would be lost,
since the first token's stream is that of the attention sink.

The scalings are the first step of LoFiT (Yin et al. 2024, arXiv 2406.01563): each head's output is
multiplied by one plus a learned vector, large vectors cost something, and the heads whose vectors
are longest are the task's. Its second step, offsets of these heads, is `interp.finetune`.
"""

import random
import time
from collections.abc import Sequence
from typing import Any

import torch

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import Intervention, run
from interp.methods.runs import sweep
from interp.models import bridge
from interp.results import Result
from interp.tasks.fewshot import PAIRS
from interp.tasks.pairs import pairs
from interp.tasks.task import Task, is_single, tokenizer_of

KINDS = {
    "past": PAIRS["past"],
    "ing": (
        "go going|see seeing|eat eating|run running|take taking|give giving|come coming|make"
        " making|write writing|know knowing|find finding|think thinking|speak speaking|buy"
        " buying|sing singing|win winning|begin beginning|bring bringing|build building|break"
        " breaking|catch catching|choose choosing|drink drinking|drive driving|fall falling|feel"
        " feeling|fight fighting|fly flying|get getting|grow growing|hear hearing|hold"
        " holding|keep keeping|leave leaving|lose losing|meet meeting|pay paying|ride riding|rise"
        " rising|say saying|sell selling|send sending|sit sitting|sleep sleeping|stand"
        " standing|swim swimming|teach teaching|tell telling|throw throwing|wake waking|wear"
        " wearing|draw drawing|seek seeking|hide hiding|shake shaking|lead leading|spend"
        " spending|walk walking|talk talking|work working|play playing|read reading|learn"
        " learning|look looking|help helping|move moving|live living|love loving|wait waiting"
    ).split("|"),
    "capital": PAIRS["capital"],
    "language": (  # one country for each language, so that no answer comes twice
        "France French|Germany German|Italy Italian|Spain Spanish|Portugal Portuguese|Russia"
        " Russian|China Chinese|Japan Japanese|Poland Polish|Greece Greek|Turkey Turkish|Denmark"
        " Danish|Sweden Swedish|Norway Norwegian|Finland Finnish|Hungary Hungarian|Korea"
        " Korean|Thailand Thai|Vietnam Vietnamese|Romania Romanian|Bulgaria Bulgarian|Ukraine"
        " Ukrainian|Iran Persian|Egypt Arabic|England English|Netherlands Dutch|Israel"
        " Hebrew|Pakistan Urdu|India Hindi|Indonesia Indonesian|Malaysia Malay|Iceland"
        " Icelandic|Mongolia Mongolian|Bangladesh Bengali|Albania Albanian|Croatia"
        " Croatian|Serbia Serbian|Armenia Armenian|Nepal Nepali|Estonia Estonian|Latvia"
        " Latvian|Lithuania Lithuanian"
    ).split("|"),
    "antonym": PAIRS["antonym"],
}
FAMILIES = {
    "past": "forms of a verb",
    "ing": "forms of a verb",
    "capital": "facts of a country",
    "language": "facts of a country",
    "antonym": "opposites",
}


def word_pairs(model: Any, kind: str, seed: int = 0) -> tuple[list, list]:
    """Pairs to train on and pairs to test on, of one token each, which share no word.

    Example:
        >>> train, test = word_pairs(model, "past")

    Args:
        model: A model, or its tokenizer.
        kind: "past", "ing", "capital", "language" or "antonym".
        seed: Deals the pairs to the two halves.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind not in KINDS:
        raise unknown("kind of pairs", kind, KINDS)
    tokenizer, used, whole = tokenizer_of(model), set(), []
    for pair in (tuple(text.split()) for text in KINDS[kind]):
        fits = len(set(pair)) == 2 and all(is_single(tokenizer, f" {word}") for word in pair)
        if fits and not used & set(pair):
            whole.append(pair)
            used |= set(pair)
    random.Random(f"{kind} {seed}").shuffle(whole)
    return whole[: len(whole) // 2], whole[len(whole) // 2 :]


def question(
    model: Any,
    asked: Sequence[tuple[str, str]],
    shown: Sequence[tuple[str, str]] = (),
    *,
    shots: int = 0,
    shuffled: bool = False,
    seed: int = 0,
    name: str = "words",
) -> Task:
    """Prompts "Q: go\\nA:" with their answers, after so many shown pairs drawn for each.

    Example:
        >>> train, test = word_pairs(model, "past")
        >>> ten_shot = question(model, test, train, shots=10)
        >>> zero_shot = question(model, test)

    Args:
        model: A model, or its tokenizer.
        asked: The pairs that are asked for.
        shown: The pairs that examples are drawn from; never the one that is asked for.
        shots: How many examples.
        shuffled: Whether each prompt has a corrupted one, in which the examples have one another's
            answers.
        seed: Draws the examples.
        name: What results call the task.

    Returns:
        A task whose metric is the share of answers on top.

    Raises:
        ValueError: If there are fewer pairs to show than examples.
    """
    rng, clean, corrupted = random.Random(seed), [], []
    for asks in asked:
        others = [pair for pair in shown if pair != asks]
        if len(others) < shots:
            raise ValueError(
                f"shots={shots}: {len(others)} pairs beside the one that is asked for can be shown"
            )
        examples = rng.sample(others, shots)
        answers = [answer for _, answer in examples]
        turned = answers[1:] + answers[:1]  # no question keeps its answer
        for prompts, given in ((clean, answers), (corrupted, turned)):
            before = "".join(f"Q: {q}\nA: {a}\n\n" for (q, _), a in zip(examples, given))
            prompts.append(f"{before}Q: {asks[0]}\nA:")
    return pairs(
        model,
        clean,
        corrupted if shuffled else None,
        answers=[f" {answer}" for _, answer in asked],
        name=name,
        metric="top1",
    )


@torch_defaults()
def head_scalings(
    model: Model, task: Task, *, steps: int = 20, lr: float = 0.01, l1: float = 200.0
) -> Result:
    """The length of the vector that each head's output would like to be scaled by, for a task.

    Example:
        >>> heads = head_scalings(model, task).top(8).labels
        >>> interp.finetune(model, task, how="offsets", heads=heads)

    Each head's output z becomes z (1 + a) at every position, with a vector a for each head that
    starts at zero. All prompts are used at each step, so nothing is drawn.

    Args:
        model: A loaded model.
        task: Prompts of one length, with answers.
        steps: How many steps of Adam.
        lr: The learning rate.
        l1: The weight of the mean size of a's entries in the loss, beside minus the log probability
            of the answer. Where it is small, Adam makes nearly all vectors equally long.

    Returns:
        The length of a, on (layer, head); `metadata["losses"]` has the answers' loss before each
        step and after the last, in nats.

    Raises:
        ValueError: If there is no step.

    Cost:
        A forward and a backward pass of the prompts per step: about 0.5 s for 16 prompts of 7
        tokens and SmolLM2 on one core.

    Reference:
        The first step of Yin et al. 2024 (arXiv 2406.01563); their code, fc2869/lo-fit, ranks heads
        by the length of the vector, too. It starts at small random vectors.
    """
    if steps < 1:
        raise ValueError(f"steps={steps}: at least one step, steps=20")
    started, d = time.perf_counter(), bridge.dims(model)
    scored = task.with_metric("log_prob")
    size, device = (d.n_layers, d.n_heads, d.d_head), bridge.device(model)
    a = torch.zeros(size, device=device, requires_grad=True)

    def scaled(layer: int, head: int) -> Any:
        return lambda act, seen: act * (1 + a[layer, head].to(act))

    edits = [
        Intervention(f"L{layer}H{head}.z", scaled(layer, head))
        for layer in range(d.n_layers)
        for head in range(d.n_heads)
    ]

    def loss_now(grad: bool) -> torch.Tensor:
        logits = run(model, scored, edits, last_only=True, grad=grad).logits
        return -scored.metric(logits).mean()

    optimiser, losses = torch.optim.Adam([a], lr=lr), []
    for _ in sweep.progress(range(steps), "scalings of heads"):
        optimiser.zero_grad()
        with torch.enable_grad():
            loss = loss_now(True)
            (loss + l1 * a.abs().mean()).backward(inputs=[a])
        losses.append(float(loss.detach()))
        optimiser.step()
    with torch.no_grad():
        losses.append(float(loss_now(False)))
    coords = {"layer": list(range(d.n_layers)), "head": list(range(d.n_heads))}
    about = sweep.provenance(
        model, task, "scalings of heads", started, steps=steps, lr=lr, l1=l1, losses=losses
    )
    return Result(
        to_numpy(a.detach().norm(dim=-1)),
        ("layer", "head"),
        coords,
        "length of the learned scaling",
        "1 is the head's own output",
        about,
    )
