"""Models wired by hand: they do their task, by their circuit alone, and the methods find it."""

import numpy as np
import pytest
import torch

import interp
from interp.circuits.known import KNOWN, known
from interp.methods.circuits import discovery, edges
from interp.methods.runs.metrics import metric_of
from interp.models.checks import check


@pytest.fixture(scope="module", params=KNOWN)
def wired(request):
    return known(request.param, n=8)


@pytest.fixture(scope="module")
def exact(wired):
    model, task, _ = wired
    return discovery.exact(model, task)


def auc(scores, circuit):
    """The chance that an edge of the circuit scores higher in size than one outside it; a tie
    counts half.
    """
    there = np.isfinite(scores.values)
    size, inside = np.abs(scores.values[there]), circuit.weights()[there] > 0
    more, same = (np.mean(f(size[inside][:, None], size[~inside])) for f in (np.greater, np.equal))
    return more + same / 2


def test_the_auc_by_hand(wired):
    model, task, circuit = wired
    scores = discovery.random(model, task)
    assert (
        auc(
            edges.edge_scores(
                torch.from_numpy(circuit.weights())[None],
                model,
                task,
                "",
                "",
                scores.metadata,
                False,
            ),
            circuit,
        )
        == 1
    )
    assert (
        auc(
            edges.edge_scores(
                -torch.from_numpy(circuit.weights())[None],
                model,
                task,
                "",
                "",
                scores.metadata,
                False,
            ),
            circuit,
        )
        == 1
    )  # size
    assert (
        auc(
            edges.edge_scores(
                torch.zeros(1, *scores.values.shape), model, task, "", "", scores.metadata, False
            ),
            circuit,
        )
        == 0.5
    )


def test_a_wired_model_does_its_task(wired):
    model, task, circuit = wired
    check(model)
    for one in (task, task.heldout()):
        rows = one.behaviour(model).values
        assert (
            rows[0, 0] == rows[1, 0] == 1 and rows[2, 0] > 2
        )  # answer above wrong, and on top, and by how much
        assert not set(map(tuple, one.clean.tolist())) & set(map(tuple, one.corrupted.tolist()))
    assert not set(map(tuple, task.clean.tolist())) & set(map(tuple, task.heldout().clean.tolist()))
    assert (
        circuit.prune().edges.keys() == circuit.edges.keys()
        and circuit.check(circuit.model, circuit.graph, task) is circuit
    )


def test_its_circuit_alone_does_the_task_and_no_edge_of_it_can_go(wired):
    model, task, circuit = wired
    graph = edges.Edges(model, task, metric_of(task))
    weights = torch.from_numpy(circuit.weights())
    less = [
        weights - torch.from_numpy(type(circuit).of([edge], circuit).weights()) for edge in circuit
    ]
    values = graph.cut(
        torch.stack([torch.ones_like(weights), weights, torch.zeros_like(weights), *less])
    ).mean(1)
    clean, alone, corrupted = values[:3].tolist()
    assert (alone - corrupted) / (clean - corrupted) == pytest.approx(1, abs=0.05)
    assert values[3:].max() < 0.6 * clean


def test_decoys_reach_the_answer_through_norms_alone(exact, wired):
    inside = wired[2].weights() > 0
    size = np.abs(np.nan_to_num(exact.values))
    assert size[~inside].max() < size[inside].min() / 50
    assert size[~inside].max() > 0  # they are there


def test_exact_effects_find_it_and_so_does_eap_ig(exact, wired):
    model, task, circuit = wired
    assert auc(exact, circuit) == 1
    for at in ("inputs", "activations"):
        assert auc(discovery.eap_ig(model, task, at=at), circuit) >= 0.95
    assert auc(discovery.eap(model, task), circuit) >= 0.9
    found = discovery.acdc(model, task, tau=0.1)
    kept = {
        (found.coords["sender"][s], found.coords["receiver"][r])
        for s, r in np.argwhere(np.nan_to_num(found.values))
    }
    assert kept == set(circuit)
    chance = [auc(discovery.random(model, task, seed=seed), circuit) for seed in range(40)]
    assert np.mean(chance) == pytest.approx(0.5, abs=0.08)


def test_another_seed_has_other_decoys_and_the_same_circuit():
    (model, task, circuit), (_, again, same) = (
        known("relay", n=4, seed=3),
        known("relay", n=4, seed=3),
    )
    assert torch.equal(task.clean, again.clean) and circuit == same == known("relay", n=4)[2]
    assert auc(discovery.exact(model, task), circuit) == 1


def test_an_unknown_known_circuit():
    with pytest.raises(ValueError, match="did you mean 'induction'"):
        interp.circuits.known("inductoin")


# --- the programs, wherever they are asked --------------------------------------------------------


def said_at(model, words):
    """The words before each position's answer, and the answers: [(words so far, the word said
    next)].
    """
    from interp.tasks.task import encode

    logits = interp.run(
        model, torch.tensor([encode(model.tokenizer, "".join(" " + w for w in words))])
    ).logits[0]
    said = [model.tokenizer.decode(i).strip() for i in logits.argmax(-1)]
    return [(words[:i], said[i]) for i in range(1, len(said))]


def drawn(seed, most, without=()):
    from interp.circuits.known.build import WORDS

    rng = np.random.default_rng(seed)
    return [str(w) for w in rng.permutation([w for w in WORDS if w not in without])[:most]], rng


@pytest.mark.parametrize("seed", range(5))
def test_the_programs_do_what_they_compute_at_every_position(seed):
    from interp.circuits.known.build import WORDS

    words, rng = drawn(seed, 9)
    assert all(out == so_far[-2] for so_far, out in said_at(known("previous", n=1)[0], words)[1:])
    words = [
        str(w) for w in rng.choice(drawn(seed, 3, ("ram", "pig"))[0], 5)
    ]  # three words at five places: some come again
    assert all(
        out == ("ram" if so_far[-1] in so_far[:-1] else "pig")
        for so_far, out in said_at(known("duplicate", n=1)[0], words)
    )
    words = [str(w) for w in rng.choice(["ram", "ram", "ant", "owl"], 7)]
    for so_far, out in said_at(known("frac_prevs", n=1)[0], words):
        eighths = 8 * so_far.count("ram") / (len(so_far) + 1)
        if abs(eighths % 1 - 0.5) > 0.15:  # not halfway between two answers
            assert out == WORDS[round(eighths)]
    some = drawn(seed, 3 + seed % 3, ("ram",))[0][:4]
    told = said_at(known("reverse", n=1)[0], [*some, "ram", *some[::-1]][:8])
    assert all(
        out == some[::-1][len(so_far) - len(some) - 1]
        for so_far, out in told
        if len(some) < len(so_far) <= 2 * len(some)
    )


def test_previous_is_exact_in_its_weights():
    from interp.circuits.known.build import SHARP, WRITE, S, T, decoys
    from interp.circuits.known.models import every

    w = decoys(2, 4, 0)
    every()["previous"].write(w)
    assert (
        torch.equal(w.v[0, 2, T] @ w.o[0, 2][:, S], WRITE * torch.eye(16))
        and w.v[0, 2].count_nonzero() == 16
    )
    qk = w.q[0, 2] @ w.k[0, 2].T  # [query's place, key's place]
    assert (
        torch.equal(qk[64:80, 64:80], SHARP * torch.eye(16).roll(1, 0).tril())
        and qk.count_nonzero() == 15
    )


def test_the_edge_lists_are_files(wired):
    from pathlib import Path

    _, task, circuit = wired
    file = Path(__file__).resolve().parents[2] / "circuits" / "known" / task.name / "wired.json"
    assert interp.circuits.load(file) == circuit, (
        f"known({task.name!r})[2].save('circuits/known/{task.name}/wired.json')"
    )
