"""Blocking and editing attention: token sets, knock-out in windows, pattern edits, effects,
weighted patterns.
"""

import numpy as np
import pytest
import torch

import interp
from interp import edits
from interp import engine as lean
from interp.edits import (
    counterfactual_pattern,
    force_attention,
    knock_out,
    redistribute,
    remove_sink,
    reweight,
    set_to,
)
from interp.interventions import Intervention, run
from interp.methods.ablation import token_set, token_sets
from interp.models import bridge

CLOSE = dict(atol=1e-4, rtol=1e-4)


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


def changed(model, task, interventions):
    """The change of the task's metric, run the long way."""

    def metric(edits):
        return task.metric(run(model, task, edits).logits)

    return (metric(interventions) - metric([])).numpy()


# --- token sets -----------------------------------------------------------------------------------


def test_token_sets_mean_what_they_say(ioi):
    at = torch.arange(ioi.clean.shape[1])
    io, s1, s2, end = (ioi.positions[name][:, None] for name in ("IO", "S1", "S2", "END"))
    rules = {
        "S2": at == s2,
        "S1+1": at == s1 + 1,  # the task's own name for it
        "S2-2": at == s2 - 2,
        0: (at == 0).expand(4, -1),
        "-1": at == end,
        "S1:S2": (at >= s1) & (at <= s2),
        "S2:": at >= s2,
        ":S1": at <= s1,
        "all": torch.ones(ioi.clean.shape, dtype=torch.bool),
        "~S1:S2": (at < s1) | (at > s2),
        "~~S2": at == s2,
    }
    for spec, rule in rules.items():
        assert torch.equal(token_set(ioi, spec), rule), spec
    assert torch.equal(
        token_set(ioi, ["IO", "S2:END-1", 0]), (at == io) | ((at >= s2) & (at < end)) | (at == 0)
    )
    assert torch.equal(token_set(ioi, token_set(ioi, "S2")), at == s2)
    rest = token_sets(ioi, {"names": ["IO", "S1"], "others": "rest"})["others"]
    assert torch.equal(rest, (at != io) & (at != s1))


@pytest.mark.parametrize(
    "spec, says",
    [
        ("S9", "did you mean"),
        (99, "no position 99: the prompts have"),
        ("END+1", "the prompts have"),
        ("S2:S1", "empty in prompt 0"),
        ("~all", "empty in prompt 0"),
        ([], "name at least one"),
        (("S1", "S2"), "a span is 'S1:S2'"),
        ("S1:S2:END", "not a span"),
        ("rest", "in a dictionary"),
        (True, "not a token set: True"),
        (torch.ones(2, 3, dtype=torch.bool), "boolean"),
    ],
)
def test_wrong_token_sets_are_one_sentence(ioi, spec, says):
    with pytest.raises(ValueError, match=says):
        token_set(ioi, spec)


# --- knock-out ------------------------------------------------------------------------------------

SETS = {"names": ["IO", "S1"], "S2": "S2", "first token": 0}


def test_a_window_of_all_layers_is_one_run_with_interventions_everywhere(any_tiny, ioi):
    swept = interp.attention_knockout(any_tiny, ioi, "END", "S2", window=3)
    assert swept.metadata["windows"] == [[0, 1], [0, 2], [1, 2]]
    keys = ioi.positions["S2"][:, None]
    alone = changed(any_tiny, ioi, [Intervention("L*H*.scores@END", knock_out(keys))])
    np.testing.assert_allclose(swept.sel(layer=1).examples, alone, **CLOSE)
    two = changed(
        any_tiny, ioi, [Intervention(f"L{layer}H*.scores@END", knock_out(keys)) for layer in (1, 2)]
    )
    np.testing.assert_allclose(swept.sel(layer=2).examples, two, **CLOSE)


def test_knocking_out_nothing_is_the_clean_run(any_tiny, ioi):
    n, length = ioi.clean.shape
    nothing = torch.zeros(n, length, length, dtype=torch.bool)
    assert (
        np.abs(changed(any_tiny, ioi, [Intervention("L*H*.scores", knock_out(nothing))])).max()
        < 1e-6
    )
    engine = lean.find(any_tiny)
    base = lean.run(engine, ioi.clean)
    ahead = nothing | torch.ones(length, length, dtype=torch.bool).triu(
        1
    )  # keys nobody sees anyway
    rows = [lean.Patch("scores", 1, block=block) for block in (nothing, ahead)]
    out = lean.sweep(engine, base, {}, rows, lean.columns(engine, ioi.columns))
    same = base.logits.gather(1, ioi.columns)
    torch.testing.assert_close(out, same.expand(2, *same.shape), **CLOSE)


def test_a_token_that_sees_only_itself_is_moved_by_its_own_value(any_tiny, ioi):
    """With every other key gone z is the token's own v, so the head writes v @ W_O: worked out by
    hand.
    """
    keep = ["L0KV0.v@END", "L0H0.z@END", "L0H1.z@END", "L0H0.pattern@END"]
    block = token_set(ioi, "END")[:, :, None] & token_set(ioi, ":END-1")[:, None, :]
    out = run(any_tiny, ioi, [Intervention("L0H*.scores", knock_out(block))], keep=keep)
    torch.testing.assert_close(out.kept["L0H0.z@END"], out.kept["L0KV0.v@END"], **CLOSE)
    assert torch.equal(out.kept["L0H0.pattern@END"], token_set(ioi, "END").float())
    if bridge.dims(any_tiny).group == 2:  # query head 1 reads the same value
        torch.testing.assert_close(out.kept["L0H1.z@END"], out.kept["L0KV0.v@END"], **CLOSE)
    effect = interp.attention_knockout(any_tiny, ioi, "END", "~END").sel(layer=0)
    alone = changed(
        any_tiny, ioi, [Intervention("L0H*.pattern@END", counterfactual_pattern("self"))]
    )
    np.testing.assert_allclose(effect.examples, alone, **CLOSE)


def test_the_other_keys_share_the_row_in_proportion(any_tiny, ioi):
    clean = run(any_tiny, ioi, keep=["L0H2.pattern@END"]).kept["L0H2.pattern@END"]
    cut = run(
        any_tiny,
        ioi,
        [Intervention("L0H2.scores@END", knock_out([0, 3]))],
        keep=["L0H2.pattern@END"],
    )
    by_hand = clean.clone()
    by_hand[:, [0, 3]] = 0
    by_hand = by_hand / (1 - clean[:, 0] - clean[:, 3])[:, None]
    torch.testing.assert_close(cut.kept["L0H2.pattern@END"], by_hand, **CLOSE)


def test_several_pairs_of_sets_are_the_runs_they_would_be_alone(any_tiny, ioi):
    pairs = {"S1 to S2": ("S2", "S1"), "S2 to END": ("END", "S2"), "END to END": ("END", "END")}
    at, to = ({name: pair[i] for name, pair in pairs.items()} for i in (0, 1))
    together = interp.attention_knockout(any_tiny, ioi, at, to)
    for name, (queries, keys) in pairs.items():
        alone = interp.attention_knockout(any_tiny, ioi, queries, keys)
        np.testing.assert_allclose(together.sel(set=name).examples, alone.examples, **CLOSE)
        assert alone.dims == ("layer",)


def test_layers_without_the_named_heads_are_left_out(any_tiny, ioi):
    effect = interp.attention_knockout(any_tiny, ioi, "END", "S2", heads=["L0H1"], window=1)
    assert effect.coords["layer"] == [0]
    alone = changed(
        any_tiny, ioi, [Intervention("L0H1.scores@END", knock_out(ioi.positions["S2"][:, None]))]
    )
    np.testing.assert_allclose(effect.sel(layer=0).examples, alone, **CLOSE)


def test_units_say_the_same_thing_in_other_words(any_tiny, ioi):
    metric, fraction, relative = (
        interp.attention_knockout(any_tiny, ioi, "END", "S2", metric="prob", unit=unit)
        for unit in ("metric", "fraction", "relative")
    )
    prob = ioi.with_metric("prob")
    clean, corrupted = (
        prob.metric(run(any_tiny, tokens).logits).double().numpy()
        for tokens in (ioi.clean, ioi.corrupted)
    )
    np.testing.assert_allclose(relative.examples, metric.examples / clean, **CLOSE)
    np.testing.assert_allclose(
        fraction.values, 1 + metric.values / (clean.mean() - corrupted.mean()), rtol=1e-3
    )


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(to="S9"), "did you mean"),
        (dict(to="S2:S1"), "empty in prompt"),
        (dict(at="S1", to="S2"), "wrong way round"),
        (dict(to="all"), "no token left to attend to"),
        (dict(at="all", to=0), "no token left to attend to"),
        (dict(to="S2", window=4), "1 to 3 layers long"),
        (dict(to="S2", window=0), "1 to 3 layers long"),
        (dict(to="S2", heads=[]), "name at least one"),
        (dict(to="S2", heads=["mlp.1"]), "heads are cut"),
        (dict(to="S2", heads=["L3H0"]), "layers 0 to 2"),
        (dict(to="S2", unit="relativ"), "did you mean 'relative'"),
        (dict(to="S2", backend="hook"), "did you mean 'hooks'"),
        (dict(to={}), "name at least one"),
        (dict(at={"a": "END"}, to={"b": "S2"}), "the same names"),
        (dict(to={"a": "rest"}), "beside at least one other"),
    ],
)
def test_wrong_knock_outs_are_one_sentence(any_tiny, ioi, options, says):
    with pytest.raises(ValueError, match=says):
        interp.attention_knockout(any_tiny, ioi, **{"at": "END", **options})


def test_a_relative_change_of_what_may_be_negative_is_refused(any_tiny, ioi):
    flipped = (
        ioi
        if float(ioi.metric(run(any_tiny, ioi).logits).min()) <= 0
        else ioi.with_metric("log_prob")
    )
    with pytest.raises(ValueError, match="above zero in every prompt"):
        interp.attention_knockout(any_tiny, flipped, "END", "S2", unit="relative")


def test_the_engine_refuses_a_block_that_fits_nothing(tiny):
    engine, tokens = lean.find(tiny), torch.arange(6).view(1, 6)
    base, none = lean.run(engine, tokens), torch.zeros(1, 6, 6, dtype=torch.bool)
    read = lean.residual()
    for patch, says in [
        (lean.Patch("pattern", 0, block=none), "block is for 'scores'"),
        (lean.Patch("scores", 0, block=none[:, :5]), r"boolean \[1 6 6\]"),
        (lean.Patch("scores", 0, block=~none), "nothing to attend to"),
    ]:
        with pytest.raises(ValueError, match=says):
            lean.sweep(engine, base, {}, [patch], read)


# --- edits of patterns ----------------------------------------------------------------------------

EDITS = {
    "remove_sink": remove_sink(),
    "remove_sink, its own row kept": remove_sink([0, 2]),
    "redistribute": redistribute([0, 1], share=0.6),
    "redistribute to": redistribute(0, [3, 4]),
    "redistribute evenly": redistribute(0, [3, 4], how="even", share=0.5),
    "force_attention": force_attention([2, 5]),
    "force_attention in part": force_attention([2, 5], share=0.7),
    "force_attention on one of each prompt": force_attention(torch.tensor([[2], [3]])),
    **{kind: counterfactual_pattern(kind) for kind in edits.PATTERNS},
}


@pytest.mark.parametrize("name", EDITS)
def test_edited_rows_sum_to_one_and_the_masked_stays_zero(any_tiny, ioi, name):
    two = ioi[:2]
    for at in ("", "@S2"):
        edit = Intervention(f"L*H*.pattern{at}", EDITS[name])
        out = run(any_tiny, two, [edit], keep=["L*H*.pattern"]).kept[
            "L*H*.pattern"
        ]  # [layer head batch dest src]
        torch.testing.assert_close(out.sum(-1), torch.ones(out.shape[:-1]), **CLOSE)
        assert float(out.min()) >= 0 and float(out.triu(1).abs().max()) == 0


def test_edits_at_one_position_are_the_edits_of_its_row(any_tiny, ioi):
    for name in EDITS:
        two = ioi[:2]
        whole = run(
            any_tiny, two, [Intervention("L0H3.pattern", EDITS[name])], keep=["L0H3.pattern@S2"]
        )
        row = run(
            any_tiny, two, [Intervention("L0H3.pattern@S2", EDITS[name])], keep=["L0H3.pattern@S2"]
        )
        torch.testing.assert_close(
            whole.kept["L0H3.pattern@S2"], row.kept["L0H3.pattern@S2"], **CLOSE
        )


def test_pattern_edits_by_hand():
    rows = torch.tensor(
        [[[1.0, 0, 0, 0], [0.8, 0.2, 0, 0], [0.5, 0.3, 0.2, 0], [0.4, 0.3, 0.2, 0.1]]]
    )
    worked_out = {
        "off the sink": (
            remove_sink(),
            [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0.6, 0.4, 0], [0, 0.5, 1 / 3, 1 / 6]],
        ),
        "half of it": (
            redistribute(0, share=0.5),
            [[1, 0, 0, 0], [0.4, 0.6, 0, 0], [0.25, 0.45, 0.3, 0], [0.2, 0.4, 0.8 / 3, 0.4 / 3]],
        ),
        "to 2": (
            redistribute(0, [2]),
            [[1, 0, 0, 0], [0.8, 0.2, 0, 0], [0, 0.3, 0.7, 0], [0, 0.3, 0.6, 0.1]],
        ),
        "to 2 and 3, evenly": (
            redistribute(0, [2, 3], how="even"),
            [[1, 0, 0, 0], [0.8, 0.2, 0, 0], [0, 0.3, 0.7, 0], [0, 0.3, 0.4, 0.3]],
        ),
        "all on 1": (force_attention(1), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]),
        "half on 1 and 2": (
            force_attention([1, 2], 0.5),
            [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0.25, 0.25, 0], [0.4, 0.25, 0.25, 0.1]],
        ),
        "uniform": (
            counterfactual_pattern(),
            [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0], [0.25] * 4],
        ),
        "first": (counterfactual_pattern("first"), [[1, 0, 0, 0]] * 4),
        "previous": (
            counterfactual_pattern("previous"),
            [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        ),
        "self": (counterfactual_pattern("self"), torch.eye(4).tolist()),
    }
    for name, (edit, result) in worked_out.items():
        torch.testing.assert_close(
            edit(rows, {})[0],
            torch.tensor(result, dtype=torch.float32),
            msg=lambda said: f"{name}: {said}",
        )
    last = rows[:, 3:]
    given = {"pos": torch.tensor([[3]])}
    torch.testing.assert_close(
        force_attention([1, 2], 0.5)(last, given)[0, 0], torch.tensor([0.4, 0.25, 0.25, 0.1])
    )


def test_removing_the_sink_is_reweighting_it_to_zero_where_that_is_possible(any_tiny, ioi):
    def off(edit):
        return changed(any_tiny, ioi, [Intervention("L*H*.pattern@END", edit)])

    sink, zeroed = off(remove_sink()), off(reweight({0: 0.0}))
    np.testing.assert_allclose(sink, zeroed, **CLOSE)
    cut = interp.attention_knockout(any_tiny, ioi, "END", 0, window=3).sel(layer=1)
    np.testing.assert_allclose(cut.examples, sink, **CLOSE)


@pytest.mark.parametrize("rotary", ["tiny", "tiny_neox"])
def test_when_nothing_sees_the_first_token_it_might_as_well_not_be_there(rotary, request):
    """Rotary positions are relative, so this is the run of the prompt without its first token,
    computed apart.
    """
    model = request.getfixturevalue(rotary)
    task = interp.tasks.ioi(model, n=3)
    shorter = run(model, task.clean[:, 1:]).logits
    for edit in (
        Intervention("L*H*.pattern", remove_sink()),
        Intervention("L*H*.scores", knock_out(_first_column(task))),
    ):
        torch.testing.assert_close(run(model, task, [edit]).logits[:, 1:], shorter, **CLOSE)
    cut = interp.attention_knockout(model, task, "1:", 0, window=3).sel(layer=1)
    there = task.metric(run(model, task).logits)
    np.testing.assert_allclose(cut.examples, task.metric(shorter[:, -1]) - there, **CLOSE)


def _first_column(task):
    """Every query but the first may not see the first token: a boolean [batch dest src]."""
    return token_set(task, "1:")[:, :, None] & token_set(task, 0)[:, None, :]


def test_a_share_of_zero_moves_nothing_and_a_heads_own_pattern_changes_nothing(any_tiny, ioi):
    own = run(any_tiny, ioi, keep=["L1H2.pattern"]).kept["L1H2.pattern"]
    for edit in (redistribute(0, share=0.0), set_to(own)):
        assert np.abs(changed(any_tiny, ioi, [Intervention("L1H2.pattern", edit)])).max() < 1e-5


def test_one_query_head_of_a_group_is_edited_alone(tiny):
    task = interp.tasks.ioi(tiny, n=2)
    keep = ["L0H0.pattern", "L0H1.pattern", "L0H1.z"]
    clean = run(tiny, task, keep=keep).kept
    out = run(tiny, task, [Intervention("L0H0.pattern", counterfactual_pattern())], keep=keep).kept
    assert torch.equal(clean["L0H1.pattern"], out["L0H1.pattern"]) and torch.equal(
        clean["L0H1.z"], out["L0H1.z"]
    )
    assert not torch.allclose(clean["L0H0.pattern"], out["L0H0.pattern"])


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: redistribute(0, share=1.5), "0 to 1"),
        (lambda: redistribute(0, how="evenly"), "did you mean 'even'"),
        (lambda: redistribute([0, 1], [1, 2]), "in common"),
        (lambda: force_attention(99), "source positions are 0 to"),
        (lambda: force_attention([]), "source positions are 0 to"),
        (lambda: force_attention(torch.ones(2, 3, dtype=torch.bool)), "a boolean of keys"),
        (
            lambda: force_attention(torch.ones(3, 1, dtype=torch.int64)),
            "3 prompts do not fit a run of 4",
        ),
        (lambda: counterfactual_pattern("frist"), "did you mean 'first'"),
    ],
)
def test_wrong_edits_are_one_sentence(tiny, make, says):
    task = interp.tasks.ioi(tiny, n=4)
    with pytest.raises(ValueError, match=says):
        run(tiny, task, [Intervention("L0H0.pattern", make())])


# --- effects --------------------------------------------------------------------------------------


def test_an_effect_is_the_change_of_the_metric(any_tiny, ioi):
    cut = [
        Intervention("L1H2.pattern@END", remove_sink()),
        Intervention("mlp.1@S2", edits.scale(0.5)),
    ]
    effect = interp.effect(any_tiny, ioi, cut)
    np.testing.assert_allclose(effect.examples, changed(any_tiny, ioi, cut), **CLOSE)
    assert effect.dims == () and effect.unit == ioi.metric_unit
    assert np.abs(interp.effect(any_tiny, ioi, []).examples).max() < 1e-5


def test_effects_of_several_sets_are_the_runs_they_would_be_alone(any_tiny, ioi):
    mean = run(any_tiny, ioi, keep=["L1H1.z"]).kept["L1H1.z"].mean(0, keepdim=True)
    half = Intervention("L0H1", edits.zero(), rows=slice(1, 3))  # some of the examples only
    a = Intervention("L1H1.z", set_to(mean))
    sets = {
        "none": [],
        "a": [a],
        "b": [half],
        "a, b and more": [a, half, Intervention("L2H0.pattern", remove_sink())],
    }
    together = interp.effect(any_tiny, ioi, sets, metric="prob")
    assert together.coords["set"] == list(sets)
    for name, one in sets.items():
        alone = interp.effect(any_tiny, ioi, one, metric="prob")
        np.testing.assert_allclose(together.sel(set=name).examples, alone.examples, **CLOSE)
    b = together.sel(set="b").examples
    assert np.abs(b[[0, 3]]).max() < 1e-6 < np.abs(b[[1, 2]]).min()


def test_wrong_effects_are_one_sentence(tiny):
    task = interp.tasks.ioi(tiny, n=2)
    for wrong, says in [({}, "name at least one"), (["L0H0"], "not an intervention: 'L0H0'")]:
        with pytest.raises(ValueError, match=says):
            interp.effect(tiny, task, wrong)
    with pytest.raises(ValueError, match="did you mean 'fraction'"):
        interp.effect(tiny, task, [], unit="fracton")


# --- patterns, weighted ---------------------------------------------------------------------------


def test_weighted_patterns_are_attention_times_the_norm_of_what_is_written(any_tiny, ioi):
    d = bridge.dims(any_tiny)
    kept = run(any_tiny, ioi, keep=["L*H*.pattern", "L*KV*.v"]).kept
    every = interp.attention_patterns(any_tiny, ioi, weighted=True)
    for layer, head in [(0, 0), (1, 3), (2, 1)]:
        W_O, _ = bridge.projection(any_tiny, "O", layer)
        norms = (kept["L*KV*.v"][layer, head // d.group] @ W_O[head]).norm(dim=-1)  # [batch src]
        by_hand = kept["L*H*.pattern"][layer, head] * norms[:, None, :]
        for got in (
            every.sel(layer=layer, head=head),
            interp.attention_patterns(any_tiny, ioi, f"L{layer}H{head}", weighted=True),
            interp.attention_patterns(any_tiny, ioi, f"L*H{head}", weighted=True).sel(layer=layer),
            interp.attention_patterns(any_tiny, ioi, f"L{layer}H*", weighted=True).sel(head=head),
        ):
            np.testing.assert_allclose(got.examples, by_hand.movedim(0, -1).numpy(), **CLOSE)
    assert every.unit == "norm in the residual stream"
    plain = interp.attention_patterns(any_tiny, ioi, "L0H0")
    np.testing.assert_allclose(plain.values.sum(-1), 1, atol=1e-5)
