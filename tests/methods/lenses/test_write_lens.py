"""The lens on writes and the regression of writes: by hand, planted, and held to their nulls; facts
asked otherwise.
"""

from importlib import import_module

import numpy as np
import pytest
import torch

import interp
from interp._stats import t_point
from interp.interventions import run
from interp.models import bridge

write_regression = import_module("interp.replications.write_regression")


@pytest.fixture(scope="module")
def ioi(_tiny):
    return interp.tasks.ioi(_tiny["tiny"], n=8)


# --- write_lens -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where, cell", [("L*H*@END", (2, 1)), ("mlp.*@S2", (1,)), ("L1H3@END", ()), ("embed@END", ())]
)
def test_a_rank_is_counted_by_hand(any_tiny, where, cell):
    task = interp.tasks.ioi(any_tiny, n=4)
    ranks = interp.methods.lenses.write_lens(any_tiny, task, where, "answer")
    key = {"L*H*@END": "L2H1@END", "mlp.*@S2": "mlp.1@S2"}.get(where, where)
    write = run(any_tiny, task, keep=[key]).kept[key].double()
    gain, W_U = bridge.final_gain(any_tiny)[0].double(), bridge.unembedding(any_tiny)[0].double()
    write = write - write.mean(-1, keepdim=True) if bridge.dims(any_tiny).norm == "ln" else write
    for i in range(4):
        logits = W_U @ (gain * write[i])
        assert ranks.examples[cell][i] == int((logits > logits[task.answers[i, 0]]).sum())
    within = interp.methods.lenses.write_lens(any_tiny, task, where, "answer", within=50)
    np.testing.assert_array_equal(within.examples, ranks.examples < 50)


def test_a_list_of_writers_is_read_one_by_one(tiny, ioi):
    every = interp.methods.lenses.write_lens(tiny, ioi, "L*H*@END")
    some = interp.methods.lenses.write_lens(tiny, ioi, ["L2H1@END", "L0H*@END", "L2H1@END"])
    assert some.coords["site"] == ["L2H1@END", *(f"L0H{h}@END" for h in range(4))]
    np.testing.assert_array_equal(
        some.pick(["L0H3@END", "L2H1@END"]).examples, every.pick(["L0H3@END", "L2H1@END"]).examples
    )


def test_a_write_towards_a_token_has_it_on_top(tiny, ioi, monkeypatch):
    write_lens = import_module("interp.methods.lenses.write_lens")

    aim = bridge.unembedding(tiny)[0][ioi.answers[:, 0]] / bridge.final_gain(tiny)[0]

    def kept(size):
        return lambda *a, keep, **k: interp.interventions.Run(torch.empty(0), {keep[0]: size * aim})

    monkeypatch.setattr(write_lens, "run", kept(100.0))
    few = ioi.answers[:, 0]
    own = (aim * bridge.final_gain(tiny)[0]) @ bridge.unembedding(tiny)[0].T
    best = own.gather(-1, few[:, None])
    expected = (own > best).sum(-1).numpy()
    np.testing.assert_array_equal(
        interp.methods.lenses.write_lens(tiny, ioi, "mlp.1@END").examples, expected
    )
    monkeypatch.setattr(write_lens, "run", kept(1e-3))  # its length says nothing
    np.testing.assert_array_equal(
        interp.methods.lenses.write_lens(tiny, ioi, "mlp.1@END").examples, expected
    )


@pytest.mark.parametrize(
    "where, options, says",
    [
        ("resid_post.1@END", {}, "does not write"),
        ("L*H*.z@END", {}, "does not write"),
        ("L*H*", {}, "one position"),
        ("mlp.*@*", {}, "one position"),
        ("L*H*@END", dict(token="answers"), "did you mean 'answer'"),
        ("L*H*@END", dict(within=0), "at least one token"),
    ],
)
def test_wrong_lenses_are_one_sentence(tiny, ioi, where, options, says):
    with pytest.raises(ValueError, match=says):
        interp.methods.lenses.write_lens(tiny, ioi, where, **options)


# --- write_regression -----------------------------------------------------------------------------


def planted(monkeypatch, weights, noise, d=32, heads=4, seed=0):
    """Writers that are random vectors, and a target that is a constant, their weighted sum, and
    noise.
    """
    g = torch.Generator().manual_seed(seed)
    constant = torch.randn(d, generator=g, dtype=torch.double) * 5

    def read(model, task, sources, targets, shuffle):
        x = torch.randn(len(task), len(sources.sites), d, generator=g, dtype=torch.double)
        y = (
            constant
            + torch.einsum("pad,a->pd", x, weights)
            + noise * torch.randn(len(task), d, generator=g, dtype=torch.double)
        )
        return x, y[:, None].expand(-1, len(targets.sites), -1)

    monkeypatch.setattr(write_regression, "_read", read)


def test_planted_weights_are_found_and_their_signs(tiny, ioi, monkeypatch):
    weights = torch.zeros(12, dtype=torch.double)
    weights[[0, 5, 7]] = torch.tensor([1.0, -0.5, 2.0], dtype=torch.double)
    planted(monkeypatch, weights, 0.1)
    found = interp.replications.write_regression(tiny, ioi, "mlp.2@END", heldout=ioi.heldout())
    low, fitted, high = (
        found.coefficients.sel(interval=end).values.ravel() for end in ("low", "fitted", "high")
    )
    np.testing.assert_allclose(fitted, weights, atol=0.05)
    assert ((low <= weights.numpy()) & (weights.numpy() <= high)).sum() >= 10
    assert (found.signs[[0, 5, 7]] == [1, -1, 1]).all()
    beyond = found.fit.sel(of="writers beyond the intercept")
    assert beyond.values > 0.98 and beyond.examples.shape == (8,)


def test_without_noise_the_fit_is_whole_and_with_noise_alone_nothing(tiny, ioi, monkeypatch):
    weights = torch.linspace(-1, 1, 12, dtype=torch.double)
    planted(monkeypatch, weights, 0.0)
    found = interp.replications.write_regression(tiny, ioi, "mlp.2@END", heldout=ioi.heldout())
    np.testing.assert_allclose(
        found.coefficients.sel(interval="fitted").values.ravel(), weights, atol=1e-9
    )
    np.testing.assert_allclose(
        found.fit.sel(of="writers beyond the intercept").values, 1, atol=1e-9
    )
    planted(monkeypatch, 0 * weights, 1.0)
    found = interp.replications.write_regression(tiny, ioi, "mlp.2@END", heldout=ioi.heldout())
    assert abs(found.fit.sel(of="writers beyond the intercept").values) < 0.3
    assert found.fit.sel(of="intercept").values > 0.9  # a large R^2 that no writer has earned


def test_intervals_of_no_weight_hold_zero(tiny, ioi, monkeypatch):
    zero, wrong, all_ = torch.zeros(12, dtype=torch.double), 0, 0
    for seed in range(20):
        planted(monkeypatch, zero, 1.0, seed=seed)
        signs = interp.replications.write_regression(tiny, ioi, "mlp.2@END", heldout=ioi).signs
        wrong, all_ = wrong + int((signs != 0).sum()), all_ + len(signs)
    assert wrong / all_ < 0.1


def test_it_is_least_squares(any_tiny):
    task = interp.tasks.ioi(any_tiny, n=8)
    found = interp.replications.write_regression(
        any_tiny, task, "mlp.1@END", heldout=task.heldout()
    )
    heads = 4 if bridge.dims(any_tiny).parallel else 8
    keep = [f"L{i // 4}H{i % 4}@END" for i in range(heads)] + ["mlp.1@END"]
    kept = run(any_tiny, task, keep=keep).kept
    flat = [(kept[k] - kept[k].mean(0)).double().flatten() for k in keep]
    by_hand = np.linalg.lstsq(torch.stack(flat[:-1], 1).numpy(), flat[-1].numpy(), rcond=None)[0]
    fitted = found.coefficients.sel(interval="fitted").values.ravel()
    np.testing.assert_allclose(fitted[:heads], by_hand, rtol=1e-4, atol=1e-6)
    assert np.isnan(fitted[heads:]).all() and len(found.signs) == heads
    again = interp.replications.write_regression(
        any_tiny, task, "mlp.*@END", heldout=task.heldout()
    )
    np.testing.assert_allclose(
        again.coefficients.sel(target="mlp.1", interval="fitted").values.ravel()[:heads],
        by_hand,
        rtol=1e-4,
        atol=1e-6,
    )


def test_shuffled_writers_are_other_prompts_own():
    for seed in range(5):
        other = write_regression._moved(
            torch.randperm(7, generator=torch.Generator().manual_seed(seed))
        )
        assert sorted(other.tolist()) == list(range(7)) and (other != torch.arange(7)).all()


def test_students_t():
    for freedom, value in ((4, 2.776), (11, 2.201), (18, 2.101), (100, 1.984)):
        assert t_point(freedom) == pytest.approx(value, abs=1e-3)


def test_too_few_prompts_for_the_weights(tiny, ioi):
    with pytest.raises(ValueError, match="too few"):
        interp.replications.write_regression(tiny, ioi[:2], "mlp.2@END", heldout=ioi)
    with pytest.raises(ValueError, match="one position"):
        interp.replications.write_regression(tiny, ioi, "mlp.2", heldout=ioi)


# --- what the study asks of others ----------------------------------------------------------------


def test_a_fraction_of_the_trace_is_the_trace_over_the_loss(any_tiny):
    task = interp.tasks.ioi(any_tiny, n=4)

    def trace(**o):
        return interp.causal_trace(any_tiny, task, "mlp.*@S2", subject="S2", samples=2, **o)

    plain, part = trace(), trace(unit="fraction")
    np.testing.assert_allclose(
        part.values,
        plain.values / (plain.metadata["clean"] - plain.metadata["corrupted"]),
        rtol=1e-4,
    )
    whole = interp.causal_trace(
        any_tiny, task, ["resid_pre.0@S2"], subject="S2", samples=2, unit="fraction"
    )
    assert whole.values == pytest.approx(1, abs=1e-4) and "fraction" in part.unit
    with pytest.raises(ValueError, match="unit"):
        trace(unit="fractions")


def test_countries_are_asked_for_their_language(tiny, smollm2):
    task = interp.tasks.capitals(smollm2, n=16, relation="language")
    assert task.name == "languages" and task.metadata["relation"] == "language"
    assert not set(task.labels["country"]) & set(task.heldout().labels["country"])
    assert task.heldout().name == "languages"
    assert float(task.with_metric("accuracy").clean_metric(smollm2).values) > 0.9
    assert len(interp.tasks.capitals(tiny, n=2, relation="language")) == 2
    with pytest.raises(ValueError, match="did you mean 'language'"):
        interp.tasks.capitals(tiny, relation="languages")


def test_a_label_for_a_wrong_answer(tiny):
    task = interp.tasks.capitals(tiny, n=6)
    own = task.against("country")
    said = [tiny.tokenizer.decode([int(i)]).strip() for i in own.wrong[:, 0]]
    assert said == task.labels["country"] and (own.answers == task.answers).all()
    assert [t.tolist() for t in own.tokens("wrong")] == [t.tolist() for t in task.tokens("country")]
    with pytest.raises(ValueError, match="did you mean 'country'"):
        task.against("countries")
    with pytest.raises(ValueError, match="answer itself"):
        task.against("answer")


def test_results_side_by_side(tiny, ioi):
    one, two = (
        interp.patch(tiny, ioi, "mlp.*@END", direction=d, unit="fraction")
        for d in ("denoising", "noising")
    )
    both = interp.results.stack({"denoising": one, "noising": two}, axis="direction")
    assert both.dims == ("direction", "layer")
    np.testing.assert_array_equal(both.sel(direction="noising").examples, two.examples)
    with pytest.raises(ValueError, match="not on the axes"):
        interp.results.stack({"a": one, "b": interp.patch(tiny, ioi, "mlp.*@S2")})
    with pytest.raises(ValueError, match="axis 'layer'"):
        interp.results.stack({"a": one}, axis="layer")


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_a_window_is_its_layers_together(any_tiny, direction):
    task = interp.tasks.ioi(any_tiny, n=4)
    wide = interp.patch(any_tiny, task, "mlp.*@S2", window=2, direction=direction)
    sets = [["mlp.0@S2"], ["mlp.0@S2", "mlp.1@S2"], ["mlp.1@S2", "mlp.2@S2"]]
    by_hand = interp.patch(any_tiny, task, sets, direction=direction)
    np.testing.assert_allclose(wide.examples, by_hand.examples, atol=1e-5)
    with pytest.raises(ValueError, match="a window is for"):
        interp.patch(any_tiny, task, "L*H*@END", window=2)
