"""Hugging Face datasets by id, where `datasets` is installed and a hub can be reached."""

from itertools import islice
from typing import Any

from interp._errors import unknown
from interp.texts.corpus import Corpus, Document

HOW = "texts.documentation(), texts.prose() and texts.files(...) need no hub"


def hub(
    dataset: str, *, part: str = "train", column: str = "text", n: int = 1000, **options: Any
) -> Corpus:
    """The first n texts of a Hugging Face dataset, one document per row.

    Example:
        >>> interp.texts.hub("roneneldan/TinyStories", n=500)

    Args:
        dataset: Its name on the hub.
        part: The dataset's own split, such as "train".
        column: Where the text is.
        n: How many rows.
        **options: Go to `datasets.load_dataset` (streamed, so that only what is read is fetched).

    Raises:
        ImportError: If the package `datasets` is missing; interp does not install it.
        ConnectionError: If there is no hub, or HF_HUB_OFFLINE is set.
        ValueError: If there is no such column.
    """
    try:
        from datasets import load_dataset
    except ImportError:
        raise ImportError(
            f"texts.hub needs the package `datasets`: pip install datasets ({HOW})"
        ) from None
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError(f"cannot read the dataset {dataset!r}: HF_HUB_OFFLINE is set ({HOW})")
    try:
        rows = list(islice(load_dataset(dataset, split=part, streaming=True, **options), n))
    except Exception as error:  # a dozen kinds: no route, no such dataset, private, no such part
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ConnectionError(f"cannot read the dataset {dataset!r} ({reason}); {HOW}") from error
    if rows and column not in rows[0]:
        raise unknown("column", column, rows[0])
    texts = ((f"{dataset} {i}", str(row[column])) for i, row in enumerate(rows))
    return Corpus(
        dataset, tuple(Document(name, text) for name, text in texts if text.strip()), {"part": part}
    )
