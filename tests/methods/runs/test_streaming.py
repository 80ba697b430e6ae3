"""A sweep that does not fit in its memory budget is done in pieces: the same numbers."""

import warnings

import numpy as np
import pytest
import torch

import interp
from interp.methods.runs import streaming, sweep
from interp.models import placement

N = 4


@pytest.fixture(scope="module")
def task(tiny):
    return interp.tasks.ioi(tiny, n=N)


@pytest.fixture
def narrow(monkeypatch, tiny, task):
    """Room for two prompts at a time, and for a few cells."""
    length = task.clean.shape[1]

    def squeeze(backend, kinds):
        each = streaming.bytes_of_a_prompt(tiny, length, kinds, backend)
        monkeypatch.setenv("INTERP_MEMORY", repr(2 * 2.5 * each / placement.GB))
        monkeypatch.setattr(streaming, "CELLS", 14)

    return squeeze


VERBS = {
    "patch heads by position": (
        lambda m, t, b, **o: interp.patch(m, t, "L*H*@*", backend=b, **o),
        ["z"],
    ),
    "patch, noising, a fraction": (
        lambda m, t, b, **o: interp.patch(
            m, t, "resid_pre.*@*", direction="noising", unit="fraction", backend=b, **o
        ),
        ["resid_pre"],
    ),
    "patch at a named position": (
        lambda m, t, b, **o: interp.patch(m, t, "L*H*.q@S2", metric="prob", backend=b, **o),
        ["q"],
    ),
    "patch, KL": (
        lambda m, t, b, **o: interp.patch(
            m, t, "L*H*", metric=interp.methods.runs.kl_metric(m, t), backend=b, **o
        ),
        ["z"],
    ),
    "ablate by the mean": (lambda m, t, b, **o: interp.ablate(m, t, "L*H*", backend=b, **o), ["z"]),
    "ablate by another prompt": (
        lambda m, t, b, **o: interp.ablate(m, t, "mlp.*@END", by="resample", backend=b, **o),
        ["mlp_out"],
    ),
    "ablate by zero": (
        lambda m, t, b, **o: interp.ablate(m, t, "L*H*", by="zero", backend=b, **o),
        ["z"],
    ),
    "causal trace": (
        lambda m, t, b, **o: interp.causal_trace(
            m, t, "mlp.*@*", subject="S2", samples=2, backend=b, **o
        ),
        ["mlp_out"],
    ),
    "attention knock-out": (
        lambda m, t, b: interp.attention_knockout(m, t, "END", "S2", backend=b),
        [],
    ),
}


@pytest.mark.parametrize("backend", ("engine", "hooks"))
@pytest.mark.parametrize("verb", VERBS)
def test_in_pieces_a_sweep_gives_the_same_numbers(tiny, task, narrow, monkeypatch, verb, backend):
    call, kinds = VERBS[verb]
    whole = call(tiny, task, backend)
    narrow(backend, kinds)
    seen, parts_of = [], streaming.prompts_at_once

    def spy(*args):
        parts = parts_of(*args)
        seen.append([len(part) for part in parts])
        return parts

    monkeypatch.setattr(streaming, "prompts_at_once", spy)
    pieces = call(tiny, task, backend)
    assert [2, 2] in seen
    # a fraction may divide by a small effect, which magnifies what sums in another order differ by
    np.testing.assert_allclose(pieces.examples, whole.examples, atol=1e-4, rtol=1e-4)
    assert pieces.metadata["backend"] == whole.metadata["backend"] == backend


@pytest.mark.parametrize("backend", ("engine", "hooks"))
def test_in_pieces_an_interrupted_sweep_goes_on(tiny, task, narrow, monkeypatch, tmp_path, backend):
    whole = interp.patch(tiny, task, "L*H*@*", backend=backend)
    narrow(backend, ["z"])
    path, calls = tmp_path / "sweep.npz", []
    name = "sweep_by_hooks" if backend == "hooks" else "sweep_by_engine"
    home = sweep if backend == "hooks" else sweep.engine_sweep
    by, broken = getattr(home, name), True

    def breaks(*args, **options):
        calls.append(1)
        if broken and len(calls) == 8:
            raise KeyboardInterrupt
        return by(*args, **options)

    monkeypatch.setattr(home, name, breaks)
    with pytest.raises(KeyboardInterrupt):
        interp.patch(tiny, task, "L*H*@*", backend=backend, resume=path)
    first, broken = len(calls), False
    calls.clear()
    again = interp.patch(tiny, task, "L*H*@*", backend=backend, resume=path)
    np.testing.assert_allclose(again.examples, whole.examples, atol=1e-6, rtol=1e-5)
    monkeypatch.setattr(home, name, by)
    total = len(whole.values.ravel()) // 7  # fourteen cells, two prompts at a time
    assert first == 8 and len(calls) < total


def test_cells_of_one_position_stay_together(monkeypatch):
    monkeypatch.setattr(streaming, "CELLS", 6)
    grid = [
        [interp.sites.Site("head", "out", layer, 0, None, at)]
        for layer in range(3)
        for at in range(4)
    ]
    pieces = list(streaming.cells_at_once(grid, range(len(grid)), 1))
    assert sorted(k for piece in pieces for k in piece) == list(range(12))
    assert [{grid[k][0].pos for k in piece} for piece in pieces] == [{0, 1}, {2, 3}]


def test_what_cannot_be_done_in_pieces_is_refused_with_both_sizes(tiny, task, narrow, monkeypatch):
    narrow("engine", ["z"])
    with pytest.raises(
        ValueError, match=r"4 prompts at once takes about .* budget is .*task\[:2\]"
    ):
        interp.patch(tiny, task, "L*H*", metric=lambda logits: logits[:, 0])
    monkeypatch.setenv("INTERP_MEMORY", "0.00001")
    with pytest.raises(ValueError, match="of one prompt of 1. tokens .*INTERP_MEMORY=1 "):
        interp.patch(tiny, task, "L*H*")
    monkeypatch.setenv("INTERP_MEMORY", "much")
    with pytest.raises(ValueError, match="INTERP_MEMORY='much' is no number of GB"):
        interp.patch(tiny, task, "L*H*")


def test_the_size_is_said_before_a_long_sweep(tiny, task, narrow, monkeypatch):
    narrow("engine", ["z"])
    monkeypatch.setattr(sweep, "LONG", 1)
    with pytest.warns(UserWarning, match="12 runs of|14 runs of") as said:
        interp.patch(tiny, task, "L*H*")
    assert any("2 prompts at a time to save memory" in str(w.message) for w in said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(sweep, "LONG", 1e9)
        interp.patch(tiny, task, "L*H*")


def test_with_room_nothing_is_cut(tiny, task, monkeypatch):
    monkeypatch.delenv("INTERP_MEMORY", raising=False)
    metric = interp.methods.runs.metrics.metric_of(task)
    parts = streaming.prompts_at_once(tiny, task.clean, ["z"], metric, "patch", "engine")
    assert len(parts) == 1 and torch.equal(parts[0], torch.arange(N))


def test_what_would_not_fit_is_refused_before_it_is_kept(tiny, task, monkeypatch):
    from interp import engine, interventions
    from interp.engine import sizes

    monkeypatch.setenv("INTERP_MEMORY", repr(400_000 / placement.GB))
    monkeypatch.setattr(interventions, "SMALL", 0)
    monkeypatch.setattr(sizes, "SMALL", 0)
    long = torch.arange(64).expand(4, 64) % 200
    need = 3 * 4 * 4 * 64 * 64 * 4  # layers, heads, prompts, queries, keys, bytes
    with pytest.raises(
        ValueError, match=rf"L\*H\*.pattern of 4 prompts of 64.*{placement.size(need)}"
    ):
        interp.run(tiny, long, keep=["L*H*.pattern"], last_only=True)
    kept = interp.run(tiny, long, keep=["L0H*.pattern", "L*H*.pattern@END"], last_only=True).kept
    assert kept["L0H*.pattern"].shape == (4, 4, 64, 64)
    with pytest.raises(ValueError, match="all logits of 4 prompts of 64 tokens takes about "):
        monkeypatch.setenv("INTERP_MEMORY", "0.00001")
        interp.run(tiny, long)
    with pytest.raises(ValueError, match="keeping pattern, z of 4 prompts of 64 tokens"):
        engine.run(engine.find(tiny), long, keep=("pattern", "z"))
