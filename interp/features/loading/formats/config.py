"""What the readers of a format share: its configuration, and what the user said besides."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from interp import _files, sites
from interp._errors import short


class Where(NamedTuple):
    """The sites that the user gave, for files that do not say theirs."""

    site: str | None = None
    to: str | None = None

    def or_else(self, site: str | None, to: str | None, what: str) -> tuple[str, str | None]:
        """The sites given by the user, each before the one that the files say.

        Raises:
            ValueError: If neither says what the dictionary reads.
        """
        if self.site is None and site is None:
            raise ValueError(
                f"{what} does not say which site it reads: give it, features.load(...,"
                " site='resid_post.15')"
            )
        return self.site or str(site), self.to or to


def configuration(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file."""
    content = _files.read_json(path, "a dictionary's configuration", most=10_000_000)
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} should hold a mapping, and holds {short(content)}")
    return content


def site_of_hook(hook: str, what: str) -> str:
    """The address of a hook, as TransformerLens names it."""
    try:
        return str(sites.from_hook(hook))
    except ValueError as error:
        raise ValueError(
            f"{what}: {error}; give the site that you mean, features.load(..., site='resid_post.5')"
        ) from None


# What Hugging Face's modules are called, with the address of what each puts out and takes in.
_BLOCK = r"(?:.*\.)?(?:layers|h|blocks)[._](?P<layer>\d{1,4})"
_MODULES: tuple[tuple[str, str, str], ...] = (
    (rf"{_BLOCK}", "resid_post.{l}", "resid_pre.{l}"),
    (rf"{_BLOCK}\.mlp", "mlp.{l}", "mlp.{l}.module_in"),
    (rf"{_BLOCK}\.(?:attn|attention|self_attn|self_attention)", "attn.{l}", ""),
    (r"(?:.*\.)?(?:embed_tokens|wte|embed_in)", "embed", ""),
)


def site_of_module(name: str, taken_in: bool = False) -> str | None:
    """The address of what a Hugging Face module puts out, or takes in; None for others.

    Example:
        >>> site_of_module("model.layers.5.mlp")
        'mlp.5'
    """
    for pattern, out, into in _MODULES:
        found = re.fullmatch(pattern, name)
        if found:
            form = into if taken_in else out
            return form.format(l=found.groupdict().get("layer")) or None
    return None


def unit_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same dictionary with directions of length one.

    The norms go into the encoder, where they decide which latents are the largest.
    """
    if not {"W_dec", "W_enc", "b_enc"} <= set(weights):
        return weights  # the dictionary itself names what is missing
    norms = weights["W_dec"].norm(dim=-1)
    scaled = {
        "W_dec": weights["W_dec"] / norms[:, None],
        "W_enc": weights["W_enc"] * norms,
        "b_enc": weights["b_enc"] * norms,
    }
    return {**weights, **scaled}
