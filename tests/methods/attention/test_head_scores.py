"""Head scores beyond the four detectors: by hand, by another way, and what they say to wrong
input.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp.interventions import run
from interp.methods.attention import pattern_scores, task_scores
from interp.methods.attention.head_scores import DETECTORS, SCORES
from interp.methods.weights import ov_qk
from interp.models import bridge


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


# --- patterns, by hand ----------------------------------------------------------------------------


def test_distance_and_waad_by_hand():
    one_back = torch.diag(torch.ones(19), -1)
    one_back[0, 0] = 1
    assert (
        float(pattern_scores.distance(one_back)) == 1 and float(pattern_scores.waad(one_back)) == 1
    )
    far = torch.zeros(20, 20)
    far[:, 0] = 1
    far[16, 0], far[16, 1] = 0, 1  # all on the sink, but for one row that looks 15 back
    assert float(pattern_scores.distance(far)) == 15 and float(pattern_scores.waad(far)) == 10


def test_entropy_by_hand_and_what_the_sink_gets_does_not_matter():
    pattern = torch.zeros(6, 6)
    pattern[:, 0] = 1
    pattern[5] = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.2, 0.0])
    assert float(pattern_scores.entropy(pattern)) == pytest.approx(math.log(4))
    pattern[4] = torch.tensor(
        [0.2, 0.8, 0.0, 0.0, 0.0, 0.0]
    )  # .8 of certainty beside .8 of four choices
    assert float(pattern_scores.entropy(pattern)) == pytest.approx(math.log(4) / 2)


def test_fai_by_hand():
    pattern = torch.zeros(8, 8)
    pattern[6, 1], pattern[7, 2], pattern[7, 3], pattern[4, 3] = 0.6, 0.4, 0.9, 1.0
    # sources 1, 2, 3 are seen from 4 later on by 3, 2, 1 tokens; the last entry is one token back
    # and not counted
    assert float(pattern_scores.fai(pattern)) == pytest.approx((0.6 / 3 + 0.4 / 2 + 0.9) / 3)
    with pytest.raises(ValueError, match="6 or more"):
        pattern_scores.fai(torch.eye(5))


def test_nulls_of_patterns_are_those_of_an_even_head(any_tiny):
    tokens = torch.arange(12).repeat(2, 1) + 5
    names = ["previous-token", "first-token", "entropy", "distance", "waad", "fai"]
    scored = interp.head_scores(any_tiny, names, on=tokens)
    rows = torch.tril(torch.ones(12, 12)) / torch.arange(1, 13)[:, None]
    assert scored.metadata["null"]["first-token"] == pytest.approx(
        float(rows[1:, 0].mean()), abs=1e-5
    )
    weighted = [
        (i / (i + 1), math.log(i)) for i in range(2, 12)
    ]  # (mass off the sink, entropy of an even row)
    expected = sum(m * h for m, h in weighted) / sum(m for m, _ in weighted)
    assert scored.metadata["null"]["entropy"] == pytest.approx(expected, abs=1e-5)
    assert scored.unit == "each score has its own" and scored.metadata["units"]["entropy"] == "nats"
    assert scored.sel(score="waad").unit == "tokens"


def test_scores_on_prompts_are_those_of_their_patterns(any_tiny):
    tokens = torch.arange(14).repeat(3, 1) + torch.tensor([[5], [6], [9]])
    scored = interp.head_scores(any_tiny, ["distance", "entropy"], on=tokens)
    pattern = interp.attention_patterns(any_tiny, tokens).examples  # [layer head dest src n]
    p = pattern[1, 2, :, :, 2]
    far = sum(p[i, j] * (i - j) for i in range(1, 14) for j in range(1, i + 1)) / p[1:, 1:].sum()
    assert scored.sel(score="distance", layer=1, head=2).examples[2] == pytest.approx(far, rel=1e-4)


# --- retrieval ------------------------------------------------------------------------------------


def test_copied_by_hand():
    tokens = torch.tensor([[0, 7, 8, 7, 9, 9]])
    places, right = torch.tensor([[1, 2]]), torch.tensor([[True, True]])

    def looks(a, b):
        return torch.tensor([a, b]).view(1, 1, 1, 2)

    assert task_scores.copied(looks(1, 2), tokens, places, right).item() == 1
    assert (
        task_scores.copied(looks(1, 1), tokens, places, right).item() == 0.5
    )  # in the needle, another token
    assert (
        task_scores.copied(looks(3, 2), tokens, places, right).item() == 0.5
    )  # the token, outside the needle
    assert (
        task_scores.copied(looks(1, 2), tokens, places, torch.tensor([[False, True]])).item() == 0.5
    )


def needle_task(model):
    """Prompts whose token at NEEDLE0 is the one the model predicts at READ0, found by trying the
    vocabulary.
    """
    task = interp.tasks.ioi(model, n=4, seed=0)
    length, found = task.clean.shape[1], []
    for row in task.clean:
        tries = row.repeat(bridge.dims(model).d_vocab, 1)
        tries[:, 4] = torch.arange(len(tries))
        said = run(model, tries, last_only=True).logits.argmax(-1)
        found += [t for t in tries[said == tries[:, 4]][:1]]
    if not found:
        pytest.skip("no prompt of this random model predicts its own token")

    def at(i):
        return torch.full((len(found),), i)

    clean = torch.stack(found)
    return replace(
        task[: len(found)],
        clean=clean,
        positions={"NEEDLE0": at(4), "READ0": at(length - 1), "END": at(length - 1)},
    )


def test_retrieval_is_where_each_head_looks_most(any_tiny):
    task = needle_task(any_tiny)
    scored = interp.head_scores(any_tiny, ["retrieval"], on=task)
    rows = interp.attention_patterns(any_tiny, task.clean).examples[:, :, -1]  # [layer head src n]
    np.testing.assert_array_equal(scored.examples[0], rows.argmax(2) == 4)
    assert scored.metadata["null"]["retrieval"] == pytest.approx(1 / task.clean.shape[1], abs=1e-5)


# --- context --------------------------------------------------------------------------------------


def test_context_divergence_is_the_move_of_z(any_tiny, ioi):
    task = replace(ioi, positions={**ioi.positions, "QUERY": torch.tensor([4, 4, 5, 6])})
    scored = interp.head_scores(any_tiny, ["context divergence"], on=task)
    row = task.clean[2]
    z = run(any_tiny, row, keep=["L1H3.z@-1"]).kept["L1H3.z@-1"][0]
    short = run(any_tiny, torch.cat([row[:1], row[5:]]), keep=["L1H3.z@-1"]).kept["L1H3.z@-1"][0]
    expected = (z - short).norm() / ((z.norm() + short.norm()) / 2)
    assert scored.sel(layer=1, head=3).examples[0, 2] == pytest.approx(float(expected), rel=1e-4)
    assert 0 < scored.metadata["null"]["context divergence"] < 2


# --- importance -----------------------------------------------------------------------------------


def test_importance_by_ablation_is_the_size_of_the_ablation(any_tiny, ioi):
    scored = interp.head_scores(any_tiny, "ablation", on=ioi)
    alone = interp.ablate(any_tiny, ioi, "L*H*")
    np.testing.assert_allclose(scored.examples[0], np.abs(alone.examples), atol=1e-5)
    assert scored.unit == "logits" and scored.metadata["null"]["ablation"] == pytest.approx(
        np.median(scored.values), rel=0.2
    )


def test_gradients_by_differences(any_tiny, ioi):
    ours, z = task_scores.gradients_at_z(any_tiny, ioi)
    step = 1e-2 * (z.mean(2, keepdim=True) - z)[1, 2]

    def move(s):
        return ioi.metric(
            run(
                any_tiny,
                ioi,
                [interp.Intervention("L1H2.z", lambda a, _: a + s * step)],
                last_only=True,
            ).logits
        )

    slope = (move(1.0) - move(-1.0)) / 2
    torch.testing.assert_close(slope, (ours[1, 2] * step).sum((-1, -2)), atol=2e-4, rtol=2e-2)


def test_the_gradient_agrees_with_ablation_in_the_last_layer(any_tiny, ioi):
    both = interp.head_scores(any_tiny, ["gradient", "ablation"], on=ioi).sel(layer=2).values
    assert np.corrcoef(both[0], both[1])[0, 1] > 0.8  # only the MLP and the norms stand between


def test_output_norm_is_that_of_what_is_written(any_tiny, ioi):
    scored = interp.head_scores(any_tiny, ["output norm"], on=ioi)
    wrote = run(any_tiny, ioi, keep=["L1H3"]).kept["L1H3"][:, 1:]
    np.testing.assert_allclose(
        scored.sel(layer=1, head=3).examples[0], wrote.norm(dim=-1).mean(-1).numpy(), rtol=1e-4
    )


# --- copying --------------------------------------------------------------------------------------


def test_a_head_that_writes_what_it_reads_copies():
    torch.manual_seed(0)
    embed, W = torch.randn(50, 12), torch.randn(12, 4)
    across = embed.T @ embed
    up = W.T @ across @ W  # OV = W W^T, which only ever raises the token it reads
    assert float(ov_qk.eigen_ratio(up)) == pytest.approx(1) and float(
        ov_qk.eigen_ratio(-up)
    ) == pytest.approx(-1)


def test_copying_by_the_whole_vocabulary_matrix(any_tiny):
    scored = interp.head_scores(any_tiny, ["copying"])
    d, engine = bridge.dims(any_tiny), interp.engine.find(any_tiny)
    layer, head = 1, 3
    W_V = bridge.projection(any_tiny, "V", layer)[0][head // d.group].double()
    W_O = bridge.projection(any_tiny, "O", layer)[0][head].double()
    gain, last = engine.layers[layer].norm1.weight.double(), engine.final_norm.weight.double()
    centre = torch.eye(d.d_model).double() - (1 / d.d_model if d.norm == "ln" else 0)
    logits = (
        engine.embed.double()
        @ centre
        @ gain.diag()
        @ W_V
        @ W_O
        @ centre
        @ last.diag()
        @ engine.unembed.weight.double().T
    )
    found = torch.linalg.eigvals(logits - logits.mean(-1, keepdim=True))
    expected = float(found.real.sum() / found.abs().sum())
    assert float(scored.sel(layer=layer, head=head).values[0]) == pytest.approx(expected, abs=1e-3)
    assert (
        -1 <= scored.values.min()
        and scored.values.max() <= 1
        and abs(scored.metadata["null"]["copying"]) < 0.5
    )


# --- the table, and wrong input -------------------------------------------------------------------


def test_a_score_that_is_unknown_is_answered_with_all_that_are_known(tiny):
    with pytest.raises(ValueError, match="unknown head score 'needle'") as error:
        interp.head_scores(tiny, "needle")
    assert all(name in str(error.value) for name in SCORES)


def test_every_score_has_a_source_and_a_null(any_tiny, ioi):
    names = [s for s in SCORES if s not in ("retrieval", "context divergence")]
    scored = interp.head_scores(any_tiny, names, on=ioi)
    assert scored.dims == ("score", "layer", "head") and np.isfinite(scored.values).all()
    for name in names:
        assert (
            np.isfinite(scored.metadata["null"][name])
            and scored.metadata["null is"][name]
            and scored.metadata["source"][name]
        )
    assert (
        scored.metadata["on"]["induction"] == "repeated random tokens"
        and scored.metadata["on"]["entropy"] == "the prompts given"
    )


@pytest.mark.parametrize(
    "names, says",
    [
        ("retreival", "did you mean 'retrieval'"),
        ([], "name at least one"),
        ("ablation", r"measured on a task: head_scores\(model, 'ablation', on=task\)"),
        ("retrieval", r"with a needle: .*'retrieval', on=interp.tasks.needle\(model\)\)"),
    ],
)
def test_wrong_scores_are_one_sentence(any_tiny, names, says):
    with pytest.raises(ValueError, match=says):
        interp.head_scores(any_tiny, names)


def test_scores_that_do_not_apply_say_so(any_tiny, ioi):
    with pytest.raises(ValueError, match=r"NEEDLE0 and READ0.*on=interp.tasks.needle\(model\)"):
        interp.head_scores(any_tiny, "retrieval", on=ioi)
    with pytest.raises(ValueError, match="unknown position 'QUERY'"):
        interp.head_scores(any_tiny, "context divergence", on=ioi)
    with pytest.raises(ValueError, match="has no gradient"):
        interp.head_scores(any_tiny, "gradient", on=ioi.with_metric("rank"))
    with pytest.raises(ValueError, match="leave nothing to score"):
        interp.head_scores(any_tiny, "entropy", on=torch.tensor([[1, 2]]))
    wrong = replace(
        ioi,
        positions={**ioi.positions, "NEEDLE0": ioi.positions["S1"], "READ0": ioi.positions["S2"]},
    )
    with pytest.raises(ValueError, match="nothing is retrieved"):
        interp.head_scores(any_tiny, "retrieval", on=wrong)


def test_one_score_alone_has_addresses_for_labels(any_tiny):
    alone = interp.head_scores(any_tiny, "copying")
    best = alone.top(3, by="high").labels
    assert best == alone.sel(score="copying").top(3, by="high").labels
    interp.ablate(any_tiny, interp.tasks.ioi(any_tiny, n=2), best)  # they are addresses
    assert alone.pick(best).values.tolist() == sorted(alone.values.ravel())[:-4:-1]
    assert "score: copying, layer" in repr(alone)
    two = interp.head_scores(any_tiny, ["induction", "first-token"], n=2, length=6)
    assert {label.split(" ")[1] for label in two.top(24).labels} == {"induction", "first-token"}


def test_a_score_that_was_not_measured_names_the_call_that_does(any_tiny):
    scored = interp.head_scores(any_tiny, n=2, length=6)
    with pytest.raises(ValueError, match=r"'copying' was not .*: head_scores\(model, 'copying'\)"):
        scored.sel(score="copying")
    with pytest.raises(ValueError, match="did you mean 'induction'"):
        scored.sel(score="inducton")


def test_the_calls_that_are_shown_for_other_scores_work(any_tiny):
    task = interp.tasks.ioi(any_tiny, n=2)
    calls = interp.head_scores(any_tiny, n=2, length=6).metadata["elsewhere"]["score"]
    assert set(calls) == set(SCORES) - set(DETECTORS)
    for name, call in calls.items():
        seen = {"interp": interp, "head_scores": interp.head_scores, "model": any_tiny}
        if name == "retrieval":  # reaches the needle, which random weights do not find
            with pytest.raises(ValueError, match="nothing is retrieved"):
                eval(call.replace("needle(model", "needle(model, n=2"), seen)
            continue
        found = eval(call, seen | {"task": task})
        assert found.coords["score"] == [name]


def test_the_help_names_every_score():
    listed = " ".join(interp.head_scores.__doc__.split())
    assert all(name in listed for name in SCORES)
