"""What is switched on in a notebook changes no number: every public verb under each of torch's
global states.
"""

import traceback
import warnings
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

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


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


STATES = {
    "gradients off, float64, a default device": lambda model: both(
        torch.set_grad_enabled(False), default_dtype(torch.float64), torch.device("meta")
    ),
    "inference mode, float16, deterministic": lambda model: both(
        torch.inference_mode(), default_dtype(torch.float16), deterministic()
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


# --- many states, each alone ----------------------------------------------------------------------


@contextmanager
def training(model):
    model.train()
    try:
        yield
    finally:
        model.eval()


@contextmanager
def hooked(model):
    """A hook of the user's own that changes what the second layer writes."""
    hook = model.blocks[1].mlp.register_forward_hook(lambda module, args, out: out * 2)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def printing():
    torch.set_printoptions(precision=1)
    try:
        yield
    finally:
        torch.set_printoptions(profile="default")


ALONE = {
    "float64": lambda model: default_dtype(torch.float64),
    "bfloat16": lambda model: default_dtype(torch.bfloat16),
    "no_grad": lambda model: torch.no_grad(),
    "inference mode": lambda model: torch.inference_mode(),
    "autocast": lambda model: torch.autocast("cpu", dtype=torch.bfloat16),
    "parameters that learn": requiring,
    "deterministic algorithms": lambda model: deterministic(),
    "default device meta": lambda model: torch.device("meta"),
    "anomalies are looked for": lambda model: torch.autograd.set_detect_anomaly(True),
    "warnings are errors": lambda model: warnings_are_errors(),
    "NumPy raises": lambda model: np.errstate(divide="raise", invalid="raise", over="raise"),
    "short printing": lambda model: printing(),
    "training mode": training,
    "a user's hook": hooked,
}


def outcome(call, model, task, enter, want):
    """What came of one call under a state: a word, and where it is a fault what was said."""
    torch.manual_seed(0)
    try:
        with enter(model):
            found = list(numbers(call(model, task)))
    except (ValueError, TypeError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = Path(interp.__file__).parent in Path(last.filename).parents
        return ("refused", "") if ours else ("other", f"{error!r} ({last.filename}:{last.lineno})")
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "other", f"{error!r} ({last.filename}:{last.lineno})"
    equal = len(found) == len(want) and all(
        one.shape == other.shape and np.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True)
        for one, other in zip(found, want)
    )
    return ("equal", "") if equal else ("silent", "other numbers")


def table(names, task):
    """Counts of what came of verbs under each state alone, and what was said of each fault."""
    model = interp.load("tiny")  # its own: some states are the model's
    counts, faults = {state: Counter() for state in [*ALONE, "another thread"]}, []
    for name in names:
        call, answers = CALLS[name], []
        torch.manual_seed(0)
        want = list(numbers(call(model, task)))
        for state, enter in ALONE.items():
            word, said = outcome(call, model, task, enter, want)
            if state == "a user's hook" and word == "silent":
                word, said = "followed", ""  # the hook changes the model, and the numbers follow it
            counts[state][word] += 1
            faults += [f"{name}, {state}: {said}"] if said else []

        def elsewhere(call=call, want=want, answers=answers):
            answers.append(outcome(call, model, task, lambda model: both(), want))

        thread = Thread(target=elsewhere)
        thread.start()
        thread.join()
        counts["another thread"][answers[0][0]] += 1
        faults += [f"{name}, another thread: {answers[0][1]}"] if answers[0][1] else []
    return counts, faults


FEW = ["patch", "attribution_patch", "ablate", "logit_lens", "generate", "run", "features: check"]


def test_a_few_verbs_under_every_state_alone(task):
    counts, faults = table([name for name in FEW if name in CALLS], task)
    assert not faults, "\n".join(faults)
    assert all(found["equal"] or found["refused"] for found in counts.values())


@pytest.mark.fuzz
def test_every_verb_under_every_state_alone(task, capsys):
    counts, faults = table(CALLS, task)
    with capsys.disabled():
        for state, found in counts.items():
            print(f"\n{state}: {sum(found.values())} verbs, {dict(found)}", end="")
        print()
    assert not faults, "\n".join(faults)
