"""Toy data: exact generators, one file per source, each drawn from by a seeded generator.

>>> source = interp.toys.data.make("bigram_backcopy", n_ctx=64, triggers=3)
>>> batch = source.batch(64, torch.Generator().manual_seed(0), split="train")
>>> batch.inputs, batch.targets, batch.labels["trigger"]
>>> interp.toys.data.names()

Options are plain numbers and strings, so that a recipe can be written down;
`dataclasses.asdict(source)` returns them.
"""

from dataclasses import fields
from typing import Any

from interp._errors import unknown
from interp.toys.data.bigram_backcopy import BigramBackcopy
from interp.toys.data.characters import Characters
from interp.toys.data.dual_process import DualProcess
from interp.toys.data.in_context_classes import InContextClasses
from interp.toys.data.key_value_recall import KeyValueRecall
from interp.toys.data.modular_addition import ModularAddition
from interp.toys.data.out_of_context_reasoning import OutOfContextReasoning
from interp.toys.data.repeated_tokens import RepeatedTokens
from interp.toys.data.source import IGNORE, Batch, Source
from interp.toys.data.superposition import Superposition
from interp.toys.data.text_with_repeats import TextWithRepeats

# A source goes by its file's name, so that its import line above is all it takes to add one.
SOURCES = {
    made.__module__.rpartition(".")[2]: made
    for made in list(globals().values())
    if isinstance(made, type) and issubclass(made, Source) and made is not Source
}

__all__ = ["IGNORE", "SOURCES", "Batch", "Source", "make", "names"]


def names() -> list[str]:
    """The names of all sources."""
    return sorted(SOURCES)


def make(name: str, **options: Any) -> Source:
    """The source of this name with these options.

    Example:
        >>> interp.toys.data.make("modular_addition", p=53, share=0.3, seed=1)

    Args:
        name: One of `names()`.
        options: The fields of the source's dataclass.

    Returns:
        A `Source`.

    Raises:
        ValueError: For a name or an option that does not exist, with the nearest ones.
    """
    if name not in SOURCES:
        raise unknown("source of toy data", name, SOURCES, "make('bigram_backcopy', n_ctx=64)")
    source_class = SOURCES[name]
    known = [f.name for f in fields(source_class)]
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    return source_class(**options)
