"""Long sweeps stop and go on: fewer runs the second time, the same numbers, a clean model; and
wrong input.
"""

import sys

import numpy as np
import pytest
import torch

import interp
from interp.methods.runs import checkpoint
from interp.models import bridge, state
from interp.tasks.metrics import Metric

EITHER = pytest.mark.parametrize("backend", ["engine", "hooks"])


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


def counting(task, stop=None, keep=()):
    """The task's metric, which counts the runs it judged and is interrupted at one of them."""
    seen = []

    def of(logits, kept):
        seen.append(1)
        if len(seen) == stop:
            raise KeyboardInterrupt
        return task.metric(logits)

    return seen, Metric("counted", "logits", of, keep)


def hooked(model):
    return sum(len(h.fwd_hooks) + len(h._forward_hooks) for h in model.hook_dict.values()) + sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.blocks
    )


def free():
    """Whether another thread could take the lock."""
    import threading

    got = []
    thread = threading.Thread(
        target=lambda: got.append(
            bridge.LOCK.acquire(timeout=1) and (bridge.LOCK.release() or True)
        )
    )
    thread.start(), thread.join()
    return got == [True]


VERBS = {
    "patch": lambda m, t, **o: interp.patch(m, t, "mlp.*@*", **o),
    "ablate": lambda m, t, **o: interp.ablate(m, t, "L*H*", by="resample", **o),
    "trace": lambda m, t, **o: interp.causal_trace(
        m, t, "resid_pre.*@*", subject="S2", samples=2, **o
    ),
    "greedy": lambda m, t, **o: interp.methods.ablation.greedy_ablation(m, t, "L*H*", steps=2, **o),
    "pairs": lambda m, t, **o: interp.methods.ablation.pairwise_ablation(
        m, t, ["L0H*", "L2H0"], **o
    ),
}


@EITHER
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("keep", [(), ("L2H0.pattern@END",)], ids=["logits", "watched"])
def test_an_interrupted_sweep_goes_on_where_it_stopped(
    any_tiny, ioi, tmp_path, monkeypatch, backend, verb, keep
):
    monkeypatch.setattr(
        sys.modules["interp.engine.sizes"], "TOKENS", 64
    )  # small parts: tiny models would finish in one
    monkeypatch.setattr("interp.methods.runs.sweep.TOKENS_PER_RUN", 128)
    before, go = hooked(any_tiny), VERBS[verb]
    whole_count, metric = counting(ioi, keep=keep)
    whole = go(any_tiny, ioi, metric=metric, backend=backend, resume=tmp_path / "whole.npz")
    total, path = len(whole_count), tmp_path / "there" / "sweep.npz"
    _, metric = counting(ioi, stop=2 * total // 3, keep=keep)
    with pytest.raises(KeyboardInterrupt):
        go(any_tiny, ioi, metric=metric, backend=backend, resume=path)
    assert hooked(any_tiny) == before and free()
    second, metric = counting(ioi, keep=keep)
    resumed = go(any_tiny, ioi, metric=metric, backend=backend, resume=path)
    assert len(second) < total * 0.75
    np.testing.assert_allclose(resumed.examples, whole.examples, atol=1e-5)
    third, metric = counting(ioi, keep=keep)
    again = go(any_tiny, ioi, metric=metric, backend=backend, resume=path)
    assert len(third) <= 6  # nothing but the unedited runs
    np.testing.assert_array_equal(again.examples, resumed.examples)
    assert not list(tmp_path.rglob("*.part"))


def test_cells_are_written_as_they_come(any_tiny, ioi, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    monkeypatch.setattr("interp.methods.runs.sweep.TOKENS_PER_RUN", 64)
    path, done = tmp_path / "sweep.npz", []

    def of(logits, kept):
        if path.exists():
            with np.load(path) as file:
                done.append(int(file["done"].sum()))
        return ioi.metric(logits)

    interp.patch(
        any_tiny, ioi, "L*H*", metric=Metric("m", "logits", of), backend="hooks", resume=path
    )
    assert (
        done == sorted(done) and done[0] == 0 and done[-1] == 12 + 2 - 1
    )  # twelve heads and the two plain runs


@EITHER
def test_a_file_of_another_sweep_is_refused(any_tiny, ioi, tmp_path, backend):
    path = tmp_path / "sweep.npz"

    def go(m=any_tiny, t=ioi, where="L*H*", **o):
        return interp.ablate(m, t, where, **{"backend": backend, "resume": path, **o})

    first = go()
    np.testing.assert_array_equal(go().examples, first.examples)
    others = [
        (dict(where="L*H*@END"), "other method, sites"),
        (dict(t=ioi.heldout()), "other tokens"),
        (dict(metric="log_prob"), "other metric"),
        (dict(by="resample"), "other method"),
        (dict(reference=ioi.corrupted), "other options"),
        (dict(backend={"engine": "hooks", "hooks": "engine"}[backend]), "other method"),
    ]
    for change, says in others:
        with pytest.raises(ValueError, match=f"belongs to another sweep.*{says}.*delete the file"):
            go(**change)
    np.testing.assert_array_equal(go().examples, first.examples)
    kind = bridge.name(any_tiny)
    with pytest.raises(ValueError, match="other weights"):
        go(m=interp.models.tiny(kind, seed=1))


def test_two_metrics_of_one_name_are_told_apart(any_tiny, ioi, tmp_path):
    path = tmp_path / "sweep.npz"
    interp.patch(
        any_tiny, ioi, "L*H*", metric=Metric("m", "logits", lambda x, k: ioi.metric(x)), resume=path
    )
    with pytest.raises(ValueError, match="metric on the unedited run"):
        interp.patch(
            any_tiny,
            ioi,
            "L*H*",
            metric=Metric("m", "logits", lambda x, k: 2 * ioi.metric(x) + 1),
            resume=path,
        )


def test_what_is_no_sweep_is_refused_and_left_alone(any_tiny, ioi, tmp_path):
    with pytest.raises(ValueError, match="a sweep to resume is saved as .npz"):
        interp.patch(any_tiny, ioi, "L*H*", resume=tmp_path / "sweep.json")
    saved = interp.patch(any_tiny, ioi, "L*H*").save(tmp_path / "result.npz")
    was = saved.read_bytes()
    with pytest.raises(ValueError, match="not a sweep to resume"):
        interp.patch(any_tiny, ioi, "L*H*", resume=saved)
    assert saved.read_bytes() == was
    interp.patch(any_tiny, ioi, "L*H*", resume=tmp_path / "sweep.npz")
    with pytest.raises(ValueError, match="schema is not 1"):
        interp.Result.load(tmp_path / "sweep.npz")


def test_one_changed_weight_changes_the_fingerprint():
    model = interp.models.tiny("tiny")
    was = state.weights_hash(model)
    assert was == state.weights_hash(interp.models.tiny("tiny"))
    weight = next(model.parameters())
    weight.data[0, 0] = torch.nextafter(weight.data[0, 0], torch.tensor(9.0))
    assert state.weights_hash(model) != was


# --- wrong input, both ways -----------------------------------------------------------------------


@EITHER
@pytest.mark.parametrize("verb", [interp.patch, interp.ablate])
@pytest.mark.parametrize(
    "where, says",
    [
        ("resid_pre.*@S9", "unknown position 'S9': did you mean"),
        ("resid_pre.*@99", "no position 99"),
        ("mlp.7", "no such layer: 'mlp.7' .this model has layers 0 to 2"),
        (["L0H0", "L3H0"], "no such layer: 'L3H0'"),
        ("L9H7.k", r"'L9H7.k': keys and values belong to a KV head.*try 'L9KV0.k'"),
        ("L0H9", "no such head"),
    ],
)
def test_addresses_that_do_not_exist(any_tiny, ioi, verb, where, says, backend):
    with pytest.raises(ValueError, match=says):
        verb(any_tiny, ioi, where, backend=backend)


@EITHER
@pytest.mark.parametrize(
    "reference, says",
    [
        (torch.ones(2, 3, dtype=torch.long), "need.* prompts of the task's length"),
        (torch.ones(5, dtype=torch.long), "prompts of the task's length"),
        (torch.ones(2, 5), r"token ids \[batch pos\]"),
    ],
)
def test_references_that_do_not_line_up(any_tiny, ioi, backend, reference, says):
    with pytest.raises(ValueError, match=says):
        interp.ablate(any_tiny, ioi, "L*H*", reference=reference, backend=backend)


@EITHER
@pytest.mark.parametrize("verb", VERBS)
def test_a_model_in_training_mode_is_refused(ioi, any_tiny, backend, verb):
    any_tiny.train()
    try:
        with pytest.raises(ValueError, match="call model.eval"):
            VERBS[verb](any_tiny, ioi, backend=backend)
    finally:
        any_tiny.eval()
    assert free()


@EITHER
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "of",
    [lambda x, k: x, lambda x, k: x.mean(), lambda x, k: 1.0],
    ids=["vocab", "scalar", "float"],
)
def test_a_metric_of_the_wrong_shape_is_refused(ioi, any_tiny, backend, verb, of):
    with pytest.raises(ValueError, match=r"'odd' gave .*one number per example, shape \(4,\)"):
        VERBS[verb](any_tiny, ioi, metric=Metric("odd", "x", of), backend=backend)
