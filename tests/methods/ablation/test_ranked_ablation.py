"""Rankings against random heads, and numbers about all cells of a result."""

import numpy as np
import pytest

import interp
from interp.results import Result
from interp.studies import (
    Claim,
    cell_correlation,
    gate,
    measured,
    share_of_cells,
    share_of_examples,
    split_half,
)
from interp.studies.verdict_rules import Measured


@pytest.fixture(scope="module")
def ioi(_tiny):
    return interp.tasks.ioi(_tiny["tiny"], n=4)


def test_random_heads_from_given_layers(any_tiny):
    found, others = ["L1H2@END", "L2H0@END"], ["L2H1"]
    sets = interp.methods.runs.random_heads(any_tiny, found, sets=8, layers=[1, 2], avoid=others)
    for one in sets:
        assert len(set(one)) == 2 and all(
            s.startswith(("L1", "L2")) and s.endswith("@END") for s in one
        )
        assert not {*found, "L2H1@END"} & set(one)
    assert {s[:2] for one in sets for s in one} == {"L1", "L2"}
    assert any(
        s.startswith("L0")
        for one in interp.methods.runs.random_heads(any_tiny, found, sets=20, layers="any")
        for s in one
    )
    assert (
        interp.methods.runs.random_heads(
            any_tiny, ["L1H0", "L1H1"], sets=3, avoid=["L1H2"], layers=[1, 2]
        )
        != []
    )
    with pytest.raises(ValueError, match="too few are left"):
        interp.methods.runs.random_heads(
            any_tiny, ["L1H0", "L1H1", "L1H2"], layers=[1], avoid=["L1H3"]
        )
    with pytest.raises(ValueError, match=r"layers=\[99\]"):
        interp.methods.runs.random_heads(any_tiny, ["L1H0"], layers=[1, 99])
    with pytest.raises(ValueError, match="choice of layers"):
        interp.methods.runs.random_heads(any_tiny, ["L1H0"], layers="sam")


def test_ranked_ablation_is_ablate_of_each_set(any_tiny, ioi):
    ranked = ["L2H1", "L1H0", "L1H3"]
    found = interp.methods.ablation.ranked_ablation(
        any_tiny, ioi, ranked, (1, 3), sets=2, layers=[1, 2], avoid=["L1H1"], by="zero"
    )
    alone = [interp.ablate(any_tiny, ioi, ranked[:k], by="zero").values for k in (1, 3)]
    np.testing.assert_allclose(found.sel(heads="ranked").values, alone, atol=1e-5)
    for k in (1, 3):
        sets = found.metadata["random sets"][str(k)]
        assert sets == interp.methods.runs.random_heads(
            any_tiny, ranked[:k], sets=2, layers=[1, 2], avoid=["L1H1"]
        )
        each = [interp.ablate(any_tiny, ioi, s, by="zero").examples for s in sets]
        np.testing.assert_allclose(
            found.sel(heads="random", number=k).examples, np.mean(each, 0), atol=1e-5
        )
        np.testing.assert_allclose(
            found.metadata["random effects"][str(k)], np.mean(each, 1), atol=1e-5
        )
    assert interp.plots.kind(found.dims, found.coords) == "lines"
    assert Result.__eq__(found, found)


def test_ranked_ablation_says_what_is_wrong(tiny, ioi):
    for numbers in ((), (0,), (3,), (1, 1)):
        with pytest.raises(ValueError, match="numbers="):
            interp.methods.ablation.ranked_ablation(tiny, ioi, ["L2H1", "L1H0"], numbers)


def result(examples):
    examples = np.asarray(examples, dtype=float)
    coords = {"head": list(range(len(examples)))}
    return Result(examples.mean(-1), ("head",), coords, "score", "share", {}, examples)


def test_split_half_by_hand():
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(200, 1)), rng.normal(size=(200, 8))
    even, odd = (truth + noise)[:, 0::2].mean(1), (truth + noise)[:, 1::2].mean(1)
    got = split_half(result(truth + noise), n_boot=200)
    assert got.value == pytest.approx(np.corrcoef(even, odd)[0, 1])
    assert abs(got.value - 0.8) < 0.07  # variance 1 of truth, 1/4 of noise in a mean of four
    assert got.low < got.value and got.n == 4
    nothing = split_half(result(noise), n_boot=200)
    assert abs(nothing.value) < 0.2 and nothing.low < 0 < nothing.high
    with pytest.raises(ValueError, match="4 or more"):
        split_half(result(noise[:, :3]))


def test_cell_correlation_of_ranks_and_other_numbers_of_examples():
    a = result(np.repeat([[1.0], [2.0], [3.0], [9.0]], 5, 1))
    b = result(np.repeat([[10.0], [20.0], [30.0], [31.0]], 3, 1))
    assert cell_correlation(a, b, ranks=True).value == pytest.approx(1)
    assert cell_correlation(a, b).value == pytest.approx(np.corrcoef(a.values, b.values)[0, 1])
    assert cell_correlation(a, b).n == 3
    with pytest.raises(ValueError, match="not on the same cells"):
        cell_correlation(a, result(b.examples[:3]))


def test_share_of_cells_and_how_often():
    scores = result([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0.2, 0.2, 0.2, 0.0]])
    assert share_of_cells(scores, above=0.15).value == 0.5
    assert share_of_cells(scores, above=0.25).value == 0.25
    assert share_of_cells(scores, above=0.25, least=True).value == 0.5
    often = share_of_examples(scores, 0.1)
    assert often.values.tolist() == [1, 0.25, 0, 0.75] and often.unit == "share of prompts"
    assert (
        share_of_cells(result([[1] * 9 + [0]] * 2), above=0.9, least=True).value == 1
    )  # 0.9 up to rounding


def test_a_condition_that_fails_makes_holds_partly():
    claim = Claim(
        "c",
        says="s",
        paper="p",
        source="s",
        metric="m",
        holds=0.5,
        partly=0.2,
        null=0.0,
        control="none",
    )
    met, unmet = (gate("other half", measured([v, v]), at_least=0.5) for v in (0.7, 0.3))
    high, low, none = (
        Measured(0.6, 0.5, 0.7, 9),
        Measured(0.3, 0.2, 0.4, 9),
        Measured(0.1, -0.1, 0.2, 9),
    )
    assert (
        claim.judge(high, provided=met).word == "holds"
        and "and other half = 0.7" in claim.judge(high, provided=met).why
    )
    assert claim.judge(high, provided=[met, unmet]).word == "partly"
    assert "other half = 0.3 (not >= 0.5)" in claim.judge(high, provided=unmet).why
    assert (
        claim.judge(low, provided=unmet).word == "partly"
        and claim.judge(none, provided=met).word == "does not hold"
    )
    assert claim.judge(high, provided=met, gate=unmet).word == "not testable here"
