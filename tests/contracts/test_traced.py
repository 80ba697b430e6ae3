"""Every verb on a model that runs through nnsight gives the hook path's numbers, or a sentence."""

import pytest
from contracts.test_devices import FEATURES, VERBS, same
from plain_requests import served_by_hooks

import interp
from interp.engine import adapters
from interp.models.tiny_models import make

pytestmark = pytest.mark.slow

# what the sentence of a refusal says that works
WORK = {
    "ablate",
    "ablate, hooks",
    "attention_patterns",
    "causal_trace",
    "generate",
    "interchange",
    "patch",
    "patch, hooks",
    "probe",
    "run",
    "steer",
    "task.behaviour",
    "features: activations",
}
CALLS = {**VERBS, **{f"features: {name}": call for name, call in FEATURES.items()}}


@pytest.fixture(scope="module")
def traced():
    return served_by_hooks(*make("tiny"), "tiny")[0]


@pytest.fixture(scope="module")
def task(tiny):
    return interp.tasks.ioi(tiny, n=4, seed=0)


@pytest.mark.parametrize("name", CALLS)
def test_a_verb_gives_the_hook_paths_numbers_or_a_sentence(tiny, traced, task, name, monkeypatch):
    monkeypatch.setattr(adapters, "_known", lambda model: (None, "the hook path is asked for"))
    try:
        CALLS[name](traced, task)
    except ValueError as error:
        assert name not in WORK
        assert "\n" not in str(error)
        return
    same(CALLS[name], tiny, traced, task)


def test_what_is_said_to_work_is_tried():
    assert WORK <= set(CALLS)
