"""What the study of information flow needs: steps between windows, random tokens, the depth of a
loss, conflicts.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp.results import Result
from interp.tasks.capitals import CAPITALS


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


def test_a_step_between_windows_keeps_every_so_many(any_tiny, ioi):
    options = dict(window=2, metric="prob", unit="relative")
    every = interp.attention_knockout(any_tiny, ioi, "END", "S2", **options)
    some = interp.attention_knockout(any_tiny, ioi, "END", "S2", every=2, **options)
    kept = every.coords["layer"][::2]
    assert (
        some.coords["layer"] == kept and some.metadata["windows"] == every.metadata["windows"][::2]
    )
    np.testing.assert_allclose(some.examples, every.sel(layer=kept).examples, atol=1e-6)
    with pytest.raises(ValueError, match="every=0"):
        interp.attention_knockout(any_tiny, ioi, "END", "S2", every=0)


def test_random_tokens_are_as_many_from_the_pool_and_others(any_tiny, ioi):
    like, pool = (
        interp.methods.ablation.token_set(ioi, ["S2", "IO"]),
        interp.methods.ablation.token_set(ioi, "1:END-1"),
    )
    drawn = interp.methods.runs.random_tokens(ioi, ["S2", "IO"], sets=60)
    for one in drawn:
        assert (
            (one.sum(-1) == 2).all() and not (one & ~pool).any() and not (one == like).all(-1).any()
        )
    assert torch.equal(torch.stack(drawn).any(0), pool)  # every token of the pool has its turn
    assert all(
        torch.equal(a, b)
        for a, b in zip(drawn, interp.methods.runs.random_tokens(ioi, ["S2", "IO"], sets=60))
    )
    with pytest.raises(ValueError, match="widen `among`"):
        interp.methods.runs.random_tokens(ioi, "S2", among="S2")


def curve(*prompts):
    rows = np.array(prompts, dtype=float).T
    return Result(rows.mean(-1), ("layer",), {"layer": [0, 3, 6, 9]}, "cut", "share", {}, rows)


def test_the_depth_of_a_loss_by_hand():
    cut = curve([0, -0.5, -0.5, 0], [0.9, 0, -0.2, -0.6])
    assert interp.replications.loss_depth(cut).examples.tolist() == pytest.approx(
        [4.5, (6 * 0.2 + 9 * 0.6) / 0.8]
    )
    assert interp.replications.loss_depth(cut, how="peak").examples.tolist() == [3, 9]
    some = curve([0, -1, 0, 0], [0.1, 0, 0, 0], [0, 0, 0, -1])
    with pytest.raises(ValueError, match="prompt 1 loses nothing"):
        interp.replications.loss_depth(some)
    kept = interp.replications.loss_depth(some, drop=True)
    assert kept.examples.tolist() == [3, 9] and kept.metadata["kept"] == [0, 2]
    with pytest.raises(ValueError, match="prompt 0 loses nothing"):
        interp.replications.loss_depth(curve([0.1, 0, 0, 0]), drop=True)
    with pytest.raises(ValueError, match="did you mean"):
        interp.replications.loss_depth(cut, how="center")


def test_the_depth_of_a_loss_keeps_the_sets_apart():
    one, other = (
        curve([0, -0.5, -0.5, 0], [0.9, 0, -0.2, -0.6]),
        curve([-1, 0, 0, 0], [0, 0, 0, -1]),
    )
    coords, rows = {"set": ["a", "b"], **one.coords}, np.stack([one.examples, other.examples])
    both = interp.replications.loss_depth(
        Result(rows.mean(-1), ("set", "layer"), coords, "cut", "share", {}, rows)
    )
    assert both.dims == ("set",)
    for name, alone in (("a", one), ("b", other)):
        np.testing.assert_allclose(
            both.sel(set=name).examples, interp.replications.loss_depth(alone).examples
        )


def test_windows_on_either_side_of_a_depth_by_hand():
    cut = replace(
        curve([0, -1, -2, -3], [4, 5, 6, 7]), metadata={"window": 4}
    )  # layers -2-1, 1-4, 4-7, 7-10
    for depth, before, after in (
        (2, [0], [6, 9]),
        (4, [0], [6, 9]),
        (4.9, [0], [9]),
        (5, [0, 3], [9]),
        (7, [0, 3], [9]),
    ):
        sides = interp.replications.split_windows(cut, depth)
        assert [side.coords["layer"] for side in sides] == [before, after]
        np.testing.assert_array_equal(sides[1].examples, cut.sel(layer=after).examples)
    with pytest.raises(ValueError, match="wholly after 7.5"):
        interp.replications.split_windows(cut, 7.5)
    with pytest.raises(ValueError, match="wholly before 1.5"):
        interp.replications.split_windows(cut, 1.5)
    with pytest.raises(ValueError, match="attention_knockout"):
        interp.replications.split_windows(curve([0, 1, 2, 3]), 2)


def test_windows_of_a_knockout_are_split(any_tiny, ioi):
    cut = interp.attention_knockout(any_tiny, ioi, "END", "S2", window=2)
    (first, *_), windows = cut.coords["layer"], cut.metadata["windows"]
    before, after = interp.replications.split_windows(cut, 1)
    assert windows[0] == [0, 0] and before.coords["layer"] == [first]
    assert after.coords["layer"] == [
        c for c, (low, _) in zip(cut.coords["layer"], windows) if low >= 1
    ]


@pytest.mark.parametrize("against", ["memory", "other"])
def test_a_conflict_tells_a_wrong_capital(tiny, against):
    task = interp.tasks.conflict(tiny, n=12, against=against)
    capital = dict(pair.split() for pair in CAPITALS)
    for i in range(12):
        text = task.tokenizer.decode(task.clean[i].tolist())
        country, told = task.labels["country"][i], task.labels["told"][i]
        assert f"the name of the capital city of {country} is {told}." in text and text.endswith(
            f" The capital city of {country} is"
        )

        def word(ids):
            return task.tokenizer.decode([int(ids)]).strip()

        wrong = word(task.wrong[i, 0])
        assert (
            word(task.answers[i, 0]) == told != capital[country] == task.labels["memory"][i]
            and wrong != told
        )
        assert (
            wrong == capital[country]
            if against == "memory"
            else wrong in task.tokenizer.decode(task.corrupted[i].tolist())
        )
        changed = (task.clean[i] != task.corrupted[i]).nonzero()[:, 0].tolist()
        assert changed == [int(task.positions["TOLD"][i])]
    assert task.heldout().metadata["against"] == against
    with pytest.raises(ValueError, match="memory"):
        interp.tasks.conflict(tiny, against="memry")


def test_no_conflict_comes_twice(tiny):
    whole = interp.tasks.conflict(tiny, n=2)
    countries = whole.metadata["countries"]
    most = countries * (countries - 1)
    every = interp.tasks.conflict(tiny, n=most)
    assert len(set(map(tuple, every.clean.tolist()))) == most
    assert (
        len(set(every.labels["country"][:countries])) == countries
    )  # each once before any comes again
    with pytest.raises(ValueError, match="too many"):
        interp.tasks.conflict(tiny, n=most + 1)


def test_answered_keeps_the_prompts_with_the_answer_on_top(tiny):
    task = interp.tasks.ioi(tiny, n=6)
    top = interp.run(tiny, task.clean).logits[:, -1].argmax(-1)
    easy = replace(
        task, answers=torch.where(torch.arange(6)[:, None] % 2 == 0, top[:, None], task.wrong)
    )
    kept = easy.answered(tiny)
    assert (
        torch.equal(kept.clean, task.clean[[i for i in range(6) if easy.answers[i, 0] == top[i]]])
        and 3 <= len(kept) < 6
    )
    never = replace(task, answers=(top[:, None] + 1) % 50)
    with pytest.raises(ValueError, match="no examples are left"):
        never.answered(tiny)
