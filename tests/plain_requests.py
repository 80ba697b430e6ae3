"""The requests of a model that runs through nnsight, answered by plain PyTorch hooks: what nnsight
does, without nnsight.
"""

import copy
import functools

import torch

from interp.models import bridge, traced


def answer(hf_model, ids, spots, given, last_only):
    """See `interp.models.traced.request`."""
    found, handles = {}, []

    def taken(spot):
        def hook(module, args, options):
            values = [*args, *options.values()]
            if spot not in given:
                found[spot] = values[0]
                return None
            new = given[spot]
            if args:
                return (new, *args[1:]), options
            return args, {**options, next(iter(options)): new}

        return hook

    def made(spot):
        def hook(module, args, output):
            if spot not in given:
                found[spot] = output[spot.item] if isinstance(output, tuple) else output
                return None
            new = given[spot]
            if not isinstance(output, tuple):
                return new
            return *output[: spot.item], new, *output[spot.item + 1 :]

        return hook

    for spot in {*spots, *given}:
        module = hf_model.get_submodule(spot.path)
        if spot.side == "input":
            handles.append(module.register_forward_pre_hook(taken(spot), with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(made(spot)))
    try:
        logits = hf_model(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    return logits[:, -1] if last_only else logits, found


def served_by_hooks(hf_model, tokenizer, name, served=""):
    """A model of requests over a copy of a Hugging Face model, and a list of its requests."""
    hf_model, asked = copy.deepcopy(hf_model), []

    @functools.wraps(answer)
    def fetch(*question):
        asked.append(question)
        return answer(hf_model, *question)

    net, cfg = traced.network(fetch, hf_model, name, served)
    return bridge.hooked(net, tokenizer, cfg), asked
