"""Texts where no hub is needed: documentation every installation has, prose of our own, local files.

>>> docs = interp.texts.documentation()               # docstrings of Python and the packages interp needs
>>> tokens = interp.texts.chunks(model, docs, length=128, n=64, split="find")
>>> interp.cross_entropy(model, tokens)
"""

from interp.texts.concepts import NEUTRAL, Sentence, concept_words, concepts, single_words
from interp.texts.corpus import SPLITS, Corpus, Document, files
from interp.texts.docstrings import documentation
from interp.texts.from_hub import hub
from interp.texts.own_prose import prose
from interp.texts.source_code import code
from interp.texts.tokens import chunks

__all__ = [
    "NEUTRAL",
    "SPLITS",
    "Corpus",
    "Document",
    "Sentence",
    "chunks",
    "code",
    "concept_words",
    "concepts",
    "documentation",
    "files",
    "hub",
    "prose",
    "single_words",
]
