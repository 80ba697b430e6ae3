"""Progress measures and numbers about curves: worked out by hand, and on models whose answers are
known.
"""

import numpy as np
import pytest
import torch

import interp
from interp import toys
from interp.replications.two_parameter_icl import Two
from interp.results import Result
from interp.studies import at_end, drop_from_peak, share_of_steps, training_time_between
from interp.toys.data import Batch, make

SOURCE = make(
    "in_context_classes", classes=64, labels=4, pairs=4, burstiness=2, width=16, positions=9
)
MODEL = dict(
    d_vocab=4,
    d_in=25,
    d_model=25,
    n_heads=1,
    n_ctx=9,
    embed="identity",
    positions="none",
    norm="none",
    identity=("O",),
    mlp=[0, 8],
)


def batches(n=40):
    return {
        split: SOURCE.batch(n, torch.Generator().manual_seed(1), split) for split in ("icl", "iwl")
    }


def curves(rows, steps=(0, 1, 2, 3, 4), names=("a", "b"), n=5):
    """Curves of one seed without any spread: rows [measure step]."""
    values = np.array(rows, float).T[None]
    examples = np.repeat(values[..., None], n, -1)
    return Result(
        values,
        ("seed", "step", "measure"),
        {"seed": [0], "step": list(steps), "measure": list(names)},
        "x",
        "share",
        {},
        examples,
    )


# --- measures -------------------------------------------------------------------------------------


def test_right_answers_are_counted_at_the_last_place():
    model = toys.transformer(d_vocab=6, n_ctx=5, d_model=16)
    inputs = torch.randint(6, (7, 5), generator=torch.Generator().manual_seed(0))
    said = model.original_model(inputs)[:, -1].argmax(-1)

    def last(answers):
        return torch.cat([torch.full((7, 4), -100), answers[:, None]], 1)

    got = toys.accuracy_on(
        {"all": Batch(inputs, last(said)), "none": Batch(inputs, last((said + 1) % 6))}
    )(model)
    assert (
        got.dims == ("measure",)
        and got.values.tolist() == [1.0, 0.0]
        and got.examples.shape == (2, 7)
    )


def test_the_circuit_is_measured_as_the_pattern_says():
    model, some = toys.transformer(**MODEL, seed=3), batches()
    got = toys.in_context(some)(model)
    assert got.coords["measure"] == [
        "icl",
        "iwl",
        "labels in context",
        "previous token",
        "matching label",
    ]
    pattern = [model.blocks[i].attn for i in range(2)]
    x = some["icl"].inputs
    for layer, attn in enumerate(pattern):
        scores = (
            (attn.q(x) @ attn.k(x).mT * attn.scale)
            .masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf)
            .softmax(-1)
        )
        if layer == 0:
            back = np.mean([[scores[b, i, i - 1].item() for i in (1, 3, 5, 7)] for b in range(40)])
        else:
            match = (scores[:, -1] * some["icl"].labels["match"]).sum(-1).mean().item()
        x = x + scores @ attn.v(x)
    shares = dict(zip(got.coords["measure"], got.values))
    assert shares["previous token"] == pytest.approx(back, abs=1e-5) and shares[
        "matching label"
    ] == pytest.approx(match, abs=1e-5)
    assert 0 < shares["labels in context"] < 1


def test_batches_of_other_sizes_or_without_labels_are_refused():
    with pytest.raises(ValueError, match="one size"):
        toys.accuracy_on({"a": batches(3)["icl"], "b": batches(4)["icl"]})
    with pytest.raises(ValueError, match="in_context_classes"):
        toys.in_context(batches(3), on="swap")


def test_seeds_keep_their_sequences():
    recipe = toys.Recipe(
        "small", model={"d_vocab": 6, "n_layers": 1, "d_model": 8}, steps=2, batch=4
    )

    def draw(n, g):
        return Batch(torch.randint(6, (n, 4), generator=g), torch.randint(6, (n, 4), generator=g))

    runs = [toys.train(recipe.but(seed=seed), draw=draw) for seed in (0, 1)]
    some = {"x": draw(9, torch.Generator().manual_seed(0))}
    both = toys.over_training(runs, toys.accuracy_on(some))
    assert both.examples.shape == (2, len(runs[0].steps), 1, 9)
    assert np.array_equal(
        both.examples[1], toys.over_training(runs[1], toys.accuracy_on(some)).examples
    )


# --- the head with two parameters -----------------------------------------------------------------


def test_two_large_parameters_are_a_perfect_induction_head():
    two, one = Two(SOURCE, 8, 0), batches()["icl"]
    with torch.no_grad():
        logits, first, second = two(one.inputs)
        assert torch.allclose(first[4, :5], torch.full((5,), 0.2)) and torch.allclose(
            second, torch.full_like(second, 1 / 9)
        )
        two.back.fill_(50.0)
        two.match.fill_(500.0)
        logits, first, second = two(one.inputs)
    assert torch.allclose(first.diagonal(-1), torch.ones(8)) and not first.triu(1).any()
    assert (second * one.labels["match"]).sum(-1).mean() > 0.95
    assert logits.shape == (40, 4)


def test_two_parameters_learn_and_do_so_alike_twice():
    options = dict(steps=30, checkpoints=[10], seeds=[0, 1])
    got = interp.replications.two_parameters(SOURCE, batches(), **options)
    assert got.dims == ("seed", "step", "measure") and got.coords["step"] == [0, 10, 30]
    assert got == interp.replications.two_parameters(SOURCE, batches(), **options)
    back, match = got.metadata["parameters"]["0"]
    assert back != 0 and match != 0
    assert got.sel(step=0, measure="previous token").values == pytest.approx(
        np.mean([1 / 2, 1 / 4, 1 / 6, 1 / 8])
    )


# --- numbers about curves -------------------------------------------------------------------------


def test_spans_are_shares_of_the_training():
    rise = curves([[0, 0, 1, 1, 1], [0, 0, 0, 0.5, 1]])
    assert training_time_between(rise, ("a", 0.1), ("a", 0.9)).value == pytest.approx(0.2)
    assert training_time_between(rise, ("a", 0.5), ("b", 0.5)).value == pytest.approx((3 - 1.5) / 4)
    assert training_time_between(rise, ("b", 0.5), ("a", 0.5)).value == pytest.approx(
        -(3 - 1.5) / 4
    )
    assert training_time_between(rise, ("a", 0.5), ("b", 2.0)).value == pytest.approx(
        (4 - 1.5) / 4
    )  # never: the end
    with pytest.raises(ValueError, match="measure"):
        training_time_between(rise, ("c", 0.5), ("b", 0.5))


def test_ends_falls_and_windows():
    some = curves([[0.5, 0.9, 0.9, 0.6, 0.6], [0.5, 0.8, 0.6, 0.7, 0.2]], steps=(0, 10, 20, 30, 50))
    assert at_end(some, "a").value == pytest.approx(0.6) and at_end(
        some, "a", minus="b"
    ).value == pytest.approx(0.4)
    assert drop_from_peak(some, "a").value == pytest.approx(0.3) and drop_from_peak(
        some, "a", last=2
    ).value == pytest.approx(0.3)
    assert share_of_steps(some, at_least={"a": 0.85}, since=0).value == pytest.approx(20 / 50)
    assert share_of_steps(some, at_least={"a": 0.85}, since=10).value == pytest.approx(10 / 40)
    assert share_of_steps(
        some, at_most={"b": 0.7}, order=("b", "a"), since=0
    ).value == pytest.approx((10 + 20) / 50)
    with pytest.raises(ValueError, match="no checkpoint after"):
        share_of_steps(some, since=50)


def test_the_interval_draws_seeds_and_sequences():
    g = np.random.default_rng(0)
    examples = (g.random((3, 4, 1, 50)) < np.array([0.2, 0.5, 0.8])[:, None, None, None]).astype(
        float
    )
    some = Result(
        examples.mean(-1),
        ("seed", "step", "measure"),
        {"seed": [0, 1, 2], "step": [0, 1, 2, 3], "measure": ["a"]},
        "x",
        "share",
        {},
        examples,
    )
    all_, one = at_end(some, "a"), at_end(some.sel(seed=[1]), "a")
    assert all_.value == pytest.approx(examples[:, -1].mean()) and all_.n == 150 and one.n == 50
    assert all_.high - all_.low > one.high - one.low > 0
