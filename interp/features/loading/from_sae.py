"""The dictionary of a sae-lens object."""

from collections.abc import Mapping
from typing import Any

from interp._isolation import torch_defaults
from interp.features.dictionary import Dictionary
from interp.features.loading.formats.sae_lens import made


@torch_defaults()
def from_sae(
    sae: Any,
    *,
    name: str = "",
    metadata: Mapping[str, Any] | None = None,
    site: str | None = None,
    to: str | None = None,
) -> Dictionary:
    """The dictionary of a sae-lens SAE object, also of one in training; the weights are copied.

    Example:
        >>> features.from_sae(sae_lens.SAE.load_from_disk("sae"))

    Args:
        sae: A sae-lens SAE or TrainingSAE.
        name: How results name it.
        metadata: Plain JSON; what sae-lens recorded if None.
        site: What it reads; taken from sae-lens' hook name if None.
        to: What it writes, if that is another site.

    Returns:
        A `Dictionary` with its own copy of the weights.

    Raises:
        ValueError: If sae-lens' kind cannot be encoded here, rescales each activation, or names no
            hook.
    """
    state = {k: v.detach().clone() for k, v in sae.state_dict().items()}
    if hasattr(sae.cfg, "get_inference_sae_cfg_dict"):
        sae.process_state_dict_for_saving_inference(state)
        cfg = sae.cfg.get_inference_sae_cfg_dict()
    else:
        sae.process_state_dict_for_saving(state)
        cfg = sae.cfg.to_dict()
    return made(cfg, state, "the SAE", name=name, metadata=metadata, site=site, to=to)
