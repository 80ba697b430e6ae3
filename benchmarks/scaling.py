"""What a sweep and edge scores cost against prompts, tokens, layers and edges, with the law beside.

    python benchmarks/scaling.py            # the table, printed
    python benchmarks/scaling.py --write    # and put into benchmarks/README.md, with the figure
    python benchmarks/scaling.py --seconds 60     # less processor time; the longest cases are left

One axis is varied at a time, around a random Llama of 8 layers of 8 heads (width 256), 8 pairs of
16 random tokens that differ at position 10. Time is processor time on one thread: the smallest of
up to three runs of the whole verb, both reference runs included. A law is a sum of powers with
coefficients that are not negative, fitted to relative errors; which powers it has is fixed
beforehand, from what the algorithm does.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, table, write
from scipy.optimize import nnls

import interp
from interp.models.tiny_models import word_tokenizer

HERE = Path(__file__).parent
VERBS: dict[str, Callable[[Any, Any], Any]] = {
    "head sweep": lambda model, task: interp.patch(model, task, "L*H*"),
    "edge scores (EAP)": lambda model, task: interp.discover(model, task, "eap"),
}
COLOURS = {"head sweep": "#0072B2", "edge scores (EAP)": "#D55E00"}
LAYERS, HEADS, WIDTH, PROMPTS, TOKENS, DIFFERS = 8, 8, 256, 8, 16, 10


@dataclass
class Axis:
    """What is varied, and how the cost should grow with it.

    Attributes:
        cases: The values.
        powers: For each verb the powers in its law, and why in words.
    """

    name: str
    cases: tuple[int, ...]
    powers: dict[str, tuple[tuple[int, ...], str]]
    measured: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


AXES = [
    Axis(
        "prompts",
        (1, 3, 10, 30, 100, 300, 1000),
        {
            "head sweep": ((0, 1), "each prompt is a row of every batch"),
            "edge scores (EAP)": ((0, 1), "each prompt is a row of every batch"),
        },
    ),
    Axis(
        "tokens",
        (16, 50, 160, 500, 1000, 2000),
        {
            "head sweep": ((0, 1, 2), "reference runs as any run; a cell runs 6 positions again"),
            "edge scores (EAP)": ((0, 1, 2), "products by position, attention by pairs of them"),
        },
    ),
    Axis(
        "layers",
        (2, 4, 8, 16, 32),
        {
            "head sweep": ((0, 1, 2), "as many cells as layers, each running the layers above"),
            "edge scores (EAP)": ((0, 1, 2), "runs grow with layers, edges with their square"),
        },
    ),
    Axis(
        "edges",
        (2, 4, 8, 16, 32),  # heads a layer, of the same width altogether
        {"edge scores (EAP)": ((0, 1), "a product of writes and slopes for each edge")},
    ),
]


def llama(layers: int = LAYERS, heads: int = HEADS) -> Any:
    """A random Llama, loaded."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = word_tokenizer()
    config = LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=len(tokenizer),
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        attn_implementation="eager",
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    config._name_or_path = "random Llama"
    torch.manual_seed(0)
    net = LlamaForCausalLM(config)
    with torch.no_grad():  # logits that differ: a fresh model predicts all tokens alike
        net.model.norm.weight.fill_(4.0)
    return interp.load(net.eval(), tokenizer=tokenizer, check=False, progress=False)


def pairs(model: Any, n: int = PROMPTS, tokens: int = TOKENS) -> Any:
    """n pairs of random tokens that differ at one position, as far from the end as in the
    shortest.
    """
    task = interp.tasks.ioi(model, n=2)
    g = torch.Generator().manual_seed(0)
    clean = torch.randint(5, len(model.tokenizer), (n, tokens), generator=g)
    clean[:, 0] = task.clean[0, 0]
    corrupted = clean.clone()
    at = tokens - TOKENS + DIFFERS
    corrupted[:, at] = 5 + (clean[:, at] - 4) % (len(model.tokenizer) - 5)
    ends = {"END": torch.full((n,), tokens - 1)}
    rows = task[[i % len(task) for i in range(n)]]
    return replace(rows, clean=clean, corrupted=corrupted, positions=ends)


def cases(axis: Axis) -> Iterator[tuple[float, Any, Any]]:
    """(place on the axis, model, task), from small to large."""
    model = llama() if axis.name in ("prompts", "tokens") else None
    for case in axis.cases:
        if axis.name == "prompts":
            yield case, model, pairs(model, n=case)
        elif axis.name == "tokens":
            yield case, model, pairs(model, n=1, tokens=case)
        elif axis.name == "layers":
            model = llama(layers=case)
            yield case, model, pairs(model)
        else:
            model = llama(heads=case)
            scores = interp.discover(model, pairs(model, n=1), "eap")
            yield int(np.isfinite(scores.values).sum()), model, pairs(model)


def cost(job: Callable[[], Any]) -> float:
    """Processor seconds of a job: the smallest of up to three runs, of one where that is long."""
    found: list[float] = []
    while len(found) < 3 and sum(found) < 1.5:
        began = time.process_time()
        job()
        found.append(time.process_time() - began)
    return min(found)


def measure(seconds: float) -> None:
    """Fills every axis; a case that would take more than what is left of the time is left out."""
    job = VERBS["head sweep"], VERBS["edge scores (EAP)"]
    warm = llama(layers=2)
    for verb in job:  # what is done once in a process
        verb(warm, pairs(warm, n=1))
    for axis in AXES:
        axis.measured = {verb: [] for verb in axis.powers}
        for place, model, task in cases(axis):
            for verb, found in axis.measured.items():
                growth = (place / found[-1][0]) ** max(axis.powers[verb][0]) if found else 1.0
                if found and time.process_time() + growth * found[-1][1] > seconds:
                    print(f"{axis.name} {place:,}: {verb} is left out", flush=True)
                    continue
                took = cost(lambda: VERBS[verb](model, task))
                found.append((place, took))
                print(f"{axis.name} {place:,}: {verb} {took:.3g} s", flush=True)


def law(found: list[tuple[float, float]], powers: tuple[int, ...]) -> np.ndarray:
    """The coefficient of each power, fitted to relative errors."""
    x, y = np.array(found).T
    scale = x.max()  # so that no column is larger than the others by twelve orders
    columns = np.stack([(x / scale) ** p for p in powers], 1) / y[:, None]
    return nnls(columns, np.ones(len(x)))[0] / scale ** np.array(powers, float)


def value(coefficients: np.ndarray, powers: tuple[int, ...], x: Any) -> Any:
    """What a law says at x."""
    return sum(c * np.asarray(x, float) ** p for c, p in zip(coefficients, powers))


def words(coefficients: np.ndarray, powers: tuple[int, ...], symbol: str) -> str:
    """A law as a formula, in milliseconds."""
    terms = {0: "", 1: f" {symbol}", 2: f" {symbol}²"}
    parts = [f"{1000 * c:.3g}{terms[p]}" for c, p in zip(coefficients, powers) if c > 0]
    return " + ".join(parts) + " ms"


def rows() -> list[list[Any]]:
    """A row for each axis and verb."""
    out = []
    for axis in AXES:
        for verb, (powers, why) in axis.powers.items():
            found = axis.measured[verb]
            if len(found) < 3:
                continue
            fitted = law(found, powers)
            x, y = np.array(found).T
            off = np.abs(value(fitted, powers, x) / y - 1).max()
            (x0, y0), (x1, y1) = found[-2:]
            span = f"{x[0]:,.0f} to {x[-1]:,.0f}"
            ends = f"{y[0]:.3g} to {y[-1]:.3g}"
            formula = words(fitted, powers, axis.name[0])
            slope = np.log(y1 / y0) / np.log(x1 / x0)
            out.append([axis.name, verb, span, ends, f"{slope:.2f}", formula, f"{off:.0%}", why])
    return out


def draw(path: Path) -> None:
    """The measured costs as points, the laws as lines."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    figure = Figure(figsize=(11, 3.1), layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(AXES), sharey=True)
    for panel, axis in zip(panels, AXES):
        for verb, found in axis.measured.items():
            x, y = np.array(found).T
            powers = axis.powers[verb][0]
            line = np.geomspace(x[0], x[-1], 100)
            panel.plot(line, value(law(found, powers), powers, line), color=COLOURS[verb], lw=1)
            panel.plot(x, y, "o", color=COLOURS[verb], ms=4, label=verb)
        panel.set(xscale="log", yscale="log", xlabel=axis.name)
        for side in (panel.xaxis, panel.yaxis):
            side.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
            side.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_locator(LogLocator(numticks=9))
        if axis.name == "layers":
            panel.set_xticks(axis.cases)
            panel.xaxis.set_minor_locator(NullLocator())
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("processor seconds")
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle("Cost of a head sweep and of edge scores (points), and the law (lines)")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seconds", type=float, default=400.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["INTERP_PROGRESS"] = "0"
    measure(options.seconds)
    head = ["axis", "verb", "from, to", "CPU s", "last slope", "law", "farthest off", "why"]
    picture = "![Cost against prompts, tokens, layers and edges, and the law](scaling.png)"
    text = f"Measured on: {machine()}.\n\n{table(head, rows())}\n\n{picture}"
    print(text)
    print(f"{time.process_time():.0f} CPU s in all")
    if options.write:
        draw(HERE / "scaling.png")
        write(HERE / "README.md", "scaling", text)


if __name__ == "__main__":
    main()
