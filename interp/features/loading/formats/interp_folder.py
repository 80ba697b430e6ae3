"""Folders that `Dictionary.save` writes for kinds that no other tool has."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from interp import _files
from interp.features.dictionary import OWN_CFG, OWN_WEIGHTS, SCHEMA, Dictionary
from interp.features.loading.formats.config import Where, configuration

HOLDS = f"{OWN_CFG} with {OWN_WEIGHTS} (interp)"


class OwnForm(BaseModel):
    """Our own configuration of a dictionary."""

    model_config = ConfigDict(strict=True, extra="forbid")
    kind: str
    site: str
    to: str | None = None
    name: str = ""
    settings: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


def finds(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (path / OWN_CFG).is_file() and (path / OWN_WEIGHTS).is_file()


def read(path: Path, where: Where) -> Dictionary:
    """The dictionary."""
    cfg, (weights, _) = configuration(path / OWN_CFG), _files.read_tensors(path / OWN_WEIGHTS)
    if cfg.pop("schema", None) != SCHEMA:
        raise ValueError(f"another version of interp wrote it (its schema is not {SCHEMA})")
    _files.typed(cfg, OwnForm, path, "a dictionary saved by interp")
    site, to = where.or_else(cfg["site"], cfg.get("to"), repr(str(path)))
    return Dictionary(**{**cfg, "weights": weights, "site": site, "to": to})
