"""The trail of a run that was recorded on the way is the one that `trail` makes by itself."""

import torch

import interp
from interp.models import bridge


def recorded(model, tokens, hooks=()):
    with torch.no_grad(), bridge.recorded(model) as calls:
        end = bridge.forward(model, tokens, hooks, last_only=True)
    with torch.no_grad():
        return bridge.trail_of(model, tokens, calls, end)


def test_a_recorded_run_can_be_resumed_at_every_layer(any_tiny):
    for tokens in (torch.randint(5, 200, (2, 7)), torch.randint(5, 200, (1, 12))):
        found = recorded(any_tiny, tokens)
        with torch.no_grad():
            alone, whole = bridge.trail(any_tiny, tokens), bridge.forward(any_tiny, tokens)
        for one, other in zip(found.residuals, alone.residuals, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        for layer in range(len(found.residuals)):
            with torch.no_grad():
                again = bridge.resume(any_tiny, found, layer)
            torch.testing.assert_close(again, whole, atol=1e-4, rtol=1e-4)


def test_an_edited_run_has_no_trail():
    model = interp.load("tiny")
    tokens = torch.randint(5, 200, (1, 7))
    assert recorded(model, tokens) is not None
    middle = f"blocks.{len(model.blocks) // 2 - 1}.hook_out"
    assert recorded(model, tokens, [(middle, lambda x, hook=None: x + 1)]) is None
    model.blocks[0].mlp.register_forward_hook(lambda module, args, out: out)
    assert recorded(model, tokens) is None
