"""The same architecture with random weights: what a method finds in it is not what was learned."""

import copy
from dataclasses import asdict
from typing import Any

import torch

from interp._isolation import torch_defaults
from interp._types import Model
from interp.models import bridge
from interp.toys.model.parts import Net
from interp.toys.model.transformer import net, wrapped


@torch_defaults()
def random_weights(model: Model, seed: int = 0) -> Any:
    """A model of the same shape with fresh random weights, as its own library draws them.

    Example:
        >>> interp.methods.patching.random_weights(model, seed=1)

    Args:
        model: A loaded model: of Hugging Face's, or of `interp.toys`.
        seed: Decides the weights; no other generator is touched.

    Returns:
        A loaded model with the same tokenizer, in float32.

    Raises:
        ValueError: If the model is of another kind, of which no fresh one can be made.

    Cost:
        Some seconds for 135M parameters, and their memory.
    """
    inner = getattr(model, "original_model", None)
    name = f"{bridge.name(model)} with random weights"
    if isinstance(inner, Net):
        words = [model.tokenizer.decode([i]).strip() for i in range(inner.spec.d_vocab)]
        return wrapped(net(seed=seed, **asdict(inner.spec)), name, words)
    config = getattr(inner, "config", None)
    if not hasattr(config, "model_type"):
        raise ValueError(
            f"{bridge.name(model)!r} is no model of Hugging Face's or of interp.toys: a fresh one "
            "of its shape cannot be made"
        )
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = AutoModelForCausalLM.from_config(
            config, attn_implementation="eager", dtype=torch.float32
        )
        # in here too: TransformerLens draws weights of its own before it takes these
        return bridge.wrap(fresh.to(bridge.device(model)), model.tokenizer, name)
