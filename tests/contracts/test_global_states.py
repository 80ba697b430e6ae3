"""What is switched on in a notebook changes no number: every public verb under each of torch's
global states.
"""

from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch
from contracts.test_devices import FEATURES, VERBS, numbers

import interp
from interp._isolation import torch_defaults
from interp.models import bridge


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def requiring(model):
    """Parameters that learn, as those of a model in training."""
    parameters = list(model.parameters())
    for p in parameters:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(False)


@contextmanager
def both(*states):
    with ExitStack() as stack:
        for state in states:
            stack.enter_context(state)
        yield


STATES = {
    "gradients off, float64": lambda model: both(
        torch.set_grad_enabled(False), default_dtype(torch.float64)
    ),
    "inference mode, float16": lambda model: both(
        torch.inference_mode(), default_dtype(torch.float16)
    ),
    "autocast, parameters that learn": lambda model: both(
        torch.autocast("cpu", dtype=torch.bfloat16), requiring(model)
    ),
}
CALLS = {**VERBS, **{f"features: {name}": call for name, call in FEATURES.items()}}


@pytest.fixture(scope="module")
def task(tiny):
    return interp.tasks.ioi(tiny, n=4, seed=0)


@pytest.mark.parametrize("name", CALLS)
def test_global_states_change_no_number(tiny, task, name):
    torch.manual_seed(0)
    want = list(numbers(CALLS[name](tiny, task)))
    for state, enter in STATES.items():
        torch.manual_seed(0)
        with enter(tiny):
            held = (
                torch.get_default_dtype(),
                torch.is_grad_enabled(),
                torch.is_inference_mode_enabled(),
            )
            found = list(numbers(CALLS[name](tiny, task)))
            assert held == (
                torch.get_default_dtype(),
                torch.is_grad_enabled(),
                torch.is_inference_mode_enabled(),
            )
        assert len(found) == len(want)
        for one, other in zip(found, want):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7, err_msg=state)
    learnt = [p for p in tiny.parameters() if p.grad is not None]
    for p in learnt:
        p.grad = None
    assert not learnt


@pytest.mark.parametrize("state", [s for s in STATES if "learn" not in s])
def test_a_model_and_a_task_may_be_made_there_too(state):
    want = interp.attribution_patch(
        interp.load("tiny"), interp.tasks.ioi(interp.load("tiny"), n=4), "L*H*"
    )
    with STATES[state](None):
        model = interp.load("tiny")
        task = interp.tasks.ioi(model, n=4)
        for backend in ("engine", "hooks"):
            found = interp.attribution_patch(model, task, "L*H*", backend=backend)
            np.testing.assert_allclose(found.values, want.values, atol=1e-5)
    found = interp.attribution_patch(model, task, "L*H*")  # and used elsewhere
    np.testing.assert_allclose(found.values, want.values, atol=1e-5)


def test_the_default_dtype_comes_back_when_the_last_block_ends():
    with default_dtype(torch.float64):
        with torch_defaults():
            with pytest.raises(ZeroDivisionError), torch_defaults():
                assert torch.get_default_dtype() == torch.float32
                raise ZeroDivisionError
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float64


def test_a_run_keeps_its_gradients_where_it_is_asked_to(tiny):
    tokens = torch.arange(5, 13)[None]
    with torch.no_grad():
        assert not interp.run(tiny, tokens).logits.requires_grad
        leaf = torch.ones((), requires_grad=True)
        double = interp.Intervention("L1H0", lambda act, seen: act * leaf)
        assert interp.run(tiny, tokens, [double], grad=True).logits.requires_grad
    assert bridge.ready(tiny).hooked is None
