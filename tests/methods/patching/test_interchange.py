"""Interchange: a swap is the run that it says, a subspace is judged beside its controls."""

import numpy as np
import pytest
import torch

import interp
from interp.methods.patching import Subspace, random_weights
from interp.methods.runs import swap_accuracy
from interp.toys.data.hierarchical_equality import SITE

CLEAN = [
    "When Mary and John went to the store, John gave a drink to",
    "After a while Mary and John went to the store, John gave a drink to",
    "When Mary and Tom went to the store, Tom gave a ring to",
    "After a while Mary and Tom went to the store, Tom gave a ring to",
]
SOURCE = [text.replace("John gave", "Mary gave").replace("Tom gave", "Mary gave") for text in CLEAN]


def no_swap(result):
    """What is printed below an interchange: the share without any swap."""
    return result.metadata["compare with"]["no swap"]


def several_lengths(model):
    names = [" John", " John", " Tom", " Tom"]
    return interp.tasks.pairs(
        model, CLEAN, answers=[" Mary"] * 4, wrong=names, source=SOURCE, swapped=names
    )


@pytest.fixture(scope="module")
def task(tiny):
    return interp.tasks.ioi(tiny, n=12, corruption="position")


@pytest.fixture(scope="module")
def equality():
    return interp.toys.equality_model()


@pytest.fixture(scope="module")
def space(tiny, task):
    return interp.align(tiny, task.split(0.5)[0], "resid_post.1@END", k=3, steps=4)


# --- sweeps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["resid_post.*@END", "L*H*@S2", "mlp.*", ["attn.1", "mlp.1"]])
def test_engine_and_hooks_swap_alike(any_tiny, where):
    task = interp.tasks.ioi(any_tiny, n=8, corruption="name")
    a, b = (interp.interchange(any_tiny, task, where, backend=x) for x in ("engine", "hooks"))
    assert a.metadata["backend"] == "engine" and b.metadata["backend"] == "hooks"
    assert (a.examples == b.examples).all() and set(np.unique(a.examples)) <= {0, 1}


def test_a_swap_is_the_run_with_the_source_s_value(tiny, task):
    """Slowly: one prompt and one layer at a time, and the logits looked at by hand."""
    found = interp.interchange(tiny, task, "resid_post.*@S2")
    for layer in range(3):
        site = f"resid_post.{layer}@S2"
        for i in range(len(task)):
            one = task[[i]]
            kept = interp.run(tiny, one.corrupted, keep=[site], positions=one.positions).kept[site]
            edit = interp.Intervention(site, interp.edits.set_to(kept))
            logits = interp.run(tiny, one.clean, [edit], positions=one.positions).logits[0, -1]
            after, io = logits[one.swap_answers[0, 0]], logits[one.answers[0, 0]]
            assert found.examples[layer, i] == float(after > io)
    plain = interp.run(tiny, task, last_only=True).logits
    after, io = (plain.gather(1, ids)[:, 0] for ids in (task.swap_answers, task.answers))
    assert no_swap(found) == pytest.approx(float((after > io).float().mean()))


def test_what_no_swap_gives_is_printed_and_drawn_on_the_scale_of_a_share(tiny, task):
    found = interp.interchange(tiny, task, "resid_post.*@END")
    for text in (repr(found), found._repr_html_(), found.caption()):
        assert f"no swap{':' if text == repr(found) else ''} {no_swap(found):.3f}" in text
    ax = found.plot()
    assert "resid_post.*@END" in ax.get_title() and ax.get_ylim() == (-0.03, 1.03)
    (line,) = [line for line in ax.lines if line.get_label().startswith("no swap")]
    assert set(line.get_ydata()) == {no_swap(found)}
    image = interp.interchange(tiny, task, "L*H*@END").plot().images[0]
    assert image.get_clim() == (0, 1)
    several = several_lengths(tiny)
    parts = [no_swap(interp.interchange(tiny, several[[i]], "resid_post.0@END")) for i in range(4)]
    together = interp.interchange(tiny, several, "resid_post.0@END")
    assert no_swap(together) == pytest.approx(np.mean(parts))


def test_it_is_noising_with_another_metric(tiny, task):
    swapped = interp.interchange(tiny, task, "L*H*")
    patched = interp.patch(tiny, task, "L*H*", direction="noising", metric=swap_accuracy(task))
    np.testing.assert_allclose(patched.values + no_swap(swapped), swapped.values, 1e-6)


def test_prompts_of_several_lengths_are_those_of_each_alone(tiny):
    task = several_lengths(tiny)
    together = interp.interchange(tiny, task, "resid_post.*@END")
    alone = [interp.interchange(tiny, task[[i]], "resid_post.*@END").examples for i in range(4)]
    assert (together.examples == np.concatenate(alone, -1)).all()
    fitted = interp.align(tiny, task, "resid_post.1@END", k=32, steps=2, controls=False)
    assert fitted.k == 32 and len(fitted.metadata["pairs"]) == 4


def test_an_answer_that_stays_is_compared_with_the_wrong_ones_or_with_every_token(tiny):
    ids = torch.tensor([[4, 5, 6], [4, 6, 5], [5, 6, 4]])
    source = ids.flip(1)
    answers, swapped = [[7], [8], [9]], [[8], [8], [9]]
    make = interp.tasks.pairs
    bare = make(tiny, ids, answers=answers, source=source, swapped=swapped)
    wrong = make(tiny, ids, answers=answers, wrong=[[10]] * 3, source=source, swapped=swapped)
    logits = torch.zeros(3, 32)
    logits[0, 8], logits[0, 7] = 2.0, 1.0  # the swapped answer is above the answer
    logits[1, 8], logits[1, 20] = 1.0, 2.0  # on top of the wrong one, not of all
    logits[2, 9] = 3.0
    assert swap_accuracy(bare).of(logits, {}).tolist() == [1, 0, 1]
    assert swap_accuracy(wrong).of(logits, {}).tolist() == [1, 1, 1]
    assert swap_accuracy(bare).columns is None and swap_accuracy(wrong).columns is not None


# --- subspaces ------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["resid_post.1@END", "attn.0", "L1H2.z@S2", "L1H2@END"])
def test_the_whole_space_is_the_plain_swap(any_tiny, site):
    task = interp.tasks.ioi(any_tiny, n=8)
    width = 8 if site.endswith("z@S2") else 32
    turned = torch.linalg.qr(torch.randn(width, width, generator=torch.manual_seed(0))).Q
    plain = interp.interchange(any_tiny, task, site)
    for backend in (None, "hooks"):
        found = interp.interchange(any_tiny, task, subspace=Subspace(turned, site), backend=backend)
        assert (found.sel(swapped="subspace").examples == plain.examples).all()
        assert (found.sel(swapped="whole site").examples == plain.examples).all()
        assert found.sel(swapped="no swap").values == no_swap(plain)


def test_a_subspace_s_intervention_is_what_interchange_runs(tiny, task, space):
    judge = task.split(0.5)[1]
    found = interp.interchange(tiny, judge, subspace=space)
    kept = interp.run(tiny, judge.corrupted, keep=[space.site]).kept[space.site]
    logits = interp.run(tiny, judge.clean, [space.swap(kept)], last_only=True).logits
    right = swap_accuracy(judge).of(logits, {})
    assert (found.sel(swapped="subspace").examples == right.numpy()).all()


def test_a_fit_by_the_engine_is_the_fit_by_hooks(any_tiny):
    task = interp.tasks.ioi(any_tiny, n=8)
    fits = [
        interp.align(
            any_tiny, task, "resid_post.1@S2", k=2, steps=3, controls=False, backend=backend
        )
        for backend in ("engine", "hooks")
    ]
    assert fits[0].angles(fits[1]).max() < 0.05
    assert np.allclose(*(fit.curve.values for fit in fits), atol=1e-4)


def test_the_controls_stand_beside_it_and_are_printed(tiny, task, space):
    found = interp.interchange(tiny, task.split(0.5)[1], subspace=space)
    rows = found.coords["swapped"]
    assert rows == [
        "subspace",
        "whole site",
        "random subspace",
        "placebo",
        "labels at random",
        "random weights",
        "random weights, no swap",
        "no swap",
    ]
    assert all(row in repr(found) for row in rows)
    twin = random_weights(tiny, int(space.metadata["seed"]))
    judge = task.split(0.5)[1]
    alone = no_swap(interp.interchange(twin, judge, space.site))
    assert float(found.sel(swapped="random weights, no swap").values) == pytest.approx(alone)
    losses = space.plot().lines[0].get_ydata()  # a running mean, so the last is that of the tail
    window = max(1, len(losses) // 10)
    assert losses[-1] == pytest.approx(space.curve.values[0, -window:].mean())
    assert set(space.controls) == {"labels at random", "random weights"}
    assert space.curve.coords["fit"] == ["subspace", "labels at random", "random weights"]
    bare = Subspace(space.basis, space.site)
    left_out = interp.interchange(tiny, task, subspace=bare).metadata[
        "controls that were not fitted"
    ]
    assert left_out == ["labels at random", "random weights"]


def test_a_placebo_is_as_long_as_what_it_stands_for():
    from interp.methods.patching.interchange import placebo

    change = torch.randn(5, 7, generator=torch.manual_seed(0))
    drawn = placebo(change, torch.manual_seed(1))
    assert torch.allclose(drawn.norm(dim=-1), change.norm(dim=-1), rtol=1e-5)
    assert float((torch.cosine_similarity(drawn, change).abs()).max()) < 0.95


def test_a_subspace_comes_back_from_its_file(tiny, task, space, tmp_path):
    back = Subspace.load(space.save(tmp_path / "space.safetensors"))
    assert torch.equal(back.basis, space.basis) and back.metadata == space.metadata
    assert back.curve == space.curve and back.fingerprint == space.fingerprint
    judge = task.split(0.5)[1]
    a, b = (interp.interchange(tiny, judge, subspace=x) for x in (space, back))
    assert (a.examples == b.examples).all()
    assert space.plot() is not None and "3 of 32 dimensions" in repr(back)


def test_random_weights_are_others_of_the_same_shape(any_tiny):
    before = torch.random.get_rng_state()
    one, two, same = (random_weights(any_tiny, seed) for seed in (1, 2, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    shapes = [[tuple(p.shape) for p in m.parameters()] for m in (any_tiny, one)]
    assert sorted(shapes[0]) == sorted(shapes[1])
    tokens = torch.tensor([[1, 5, 6]])
    a, b, c = (interp.run(m, tokens, last_only=True).logits for m in (one, two, same))
    assert torch.equal(a, c) and not torch.allclose(a, b)


# --- what is known is found -----------------------------------------------------------------------


def test_the_handwritten_variable_has_accuracy_one(equality):
    model, truth = equality
    for variable, basis in truth.items():
        task = interp.toys.equality_task(model, n=64, variable=variable)
        assert float(task.behaviour(model).values[0, 0]) == 1
        found = interp.interchange(model, task, subspace=Subspace(basis, SITE))
        assert found.sel(swapped="subspace").values == 1
        assert found.sel(swapped="whole site").values < 0.7  # it swaps the other variable too


def test_a_learned_subspace_swaps_the_variable_and_its_controls_do_not(equality):
    """Geiger et al. report 0.97 for a learned rotation of a trained network."""
    model, _ = equality
    find, judge = (interp.toys.equality_task(model, n=128, seed=seed) for seed in (1, 0))
    space = interp.align(model, find, SITE, k=2, steps=60, seed=2)
    found = interp.interchange(model, judge, subspace=space)
    assert found.sel(swapped="subspace").values >= 0.97
    for control in found.coords["swapped"][2:]:
        assert found.sel(swapped=control).values < 0.75, control


def test_a_mask_finds_the_neurons(equality):
    model, _ = equality
    find, judge = (interp.toys.equality_task(model, n=128, seed=seed) for seed in (1, 0))
    space = interp.align(model, find, "mlp.1.post@END", k=2, kind="mask", steps=60, controls=False)
    assert space.basis.nonzero()[:, 0].tolist() == [0, 1]  # those of the left pair
    assert interp.interchange(model, judge, subspace=space).sel(swapped="subspace").values == 1


def test_a_boundary_closes_around_what_is_needed(equality):
    model, _ = equality
    find, judge = (interp.toys.equality_task(model, n=128, seed=seed) for seed in (1, 0))
    space = interp.align(model, find, SITE, k=6, kind="boundless", steps=80, controls=False, seed=2)
    assert space.k < 6
    found = interp.interchange(model, judge, subspace=space)
    assert found.sel(swapped="subspace").values >= 0.95


def test_on_a_linear_model_the_known_subspace_is_found():
    """Tokens are sums of four signs along orthonormal directions; the answer reads two of them."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.manual_seed(3))).Q
    net = interp.toys.net(
        d_vocab=21, n_layers=1, n_heads=1, d_model=12, attention="none", norm="none",
        positions="none",
    )  # fmt: skip
    with torch.no_grad():
        net.embed.weight.zero_()
        net.embed.weight[1:17] = signs @ turn[:, :4].T
        net.unembed.original_component.weight.zero_()
        net.unembed.original_component.weight[17:] = 1.5 * signs[::4, :2] @ turn[:, :2].T
    from interp.toys.model.transformer import wrapped

    model = wrapped(net, "linear")
    every = [(a, b) for a in range(16) for b in range(16) if a != b]
    answer = [[17 + i // 4] for i in range(16)]
    wrong = [[17 + j for j in range(4) if j != i // 4] for i in range(16)]
    task = interp.tasks.pairs(
        model,
        [[0, 1 + a] for a, _ in every],
        answers=[answer[a] for a, _ in every],
        wrong=[wrong[a] for a, _ in every],
        source=[[0, 1 + b] for _, b in every],
        swapped=[answer[b] for _, b in every],
    )
    space = interp.align(model, task, "resid_pre.0@END", k=2, steps=120, batch=64, controls=False)
    assert space.angles(turn[:, :2]).max() < 5


# --- wrong input ----------------------------------------------------------------------------------


def test_pairs_of_the_fit_are_refused(tiny, task, space):
    with pytest.raises(ValueError, match="6 of these 12 pairs are among those"):
        interp.interchange(tiny, task, subspace=space)


def test_a_subspace_of_another_model_is_refused(tiny_gpt2, space):
    task = interp.tasks.ioi(tiny_gpt2, n=4)
    with pytest.raises(ValueError, match="found in 'tiny' and means nothing in 'tiny-gpt2'"):
        interp.interchange(tiny_gpt2, task, subspace=space)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m, t: interp.interchange(m, t), "needs a site"),
        (lambda m, t: interp.interchange(m, "a text", "resid_post.*@END"), "needs source"),
        (
            lambda m, t: interp.interchange(
                m, interp.tasks.ioi(m, n=4, corruption="abc"), "resid_post.*@END"
            ),
            "does not say what the answers are after an interchange",
        ),
        (
            lambda m, t: interp.align(
                m, interp.tasks.pairs(m, ["a text"], answers=[" Mary"]), "resid_post.1@END"
            ),
            "needs source prompts",
        ),
        (lambda m, t: interp.align(m, t, "resid_post.1@END", k=33), "has 32 dimensions, so k is"),
        (lambda m, t: interp.align(m, t, "resid_post.*@END"), "is many"),
        (lambda m, t: interp.align(m, t, "resid_post.1@IOU"), "IOU"),
        (lambda m, t: interp.align(m, t, "L1H1.pattern"), "holds no vector"),
        (lambda m, t: interp.align(m, t, "resid_post.1@END", kind="dsa"), "did you mean 'das'"),
        (lambda m, t: interp.align(m, t, "resid_post.1@END", steps=0), "at least 1"),
        (
            lambda m, t: interp.interchange(
                m, t, "resid_post.2@END", subspace=Subspace(torch.eye(32), "resid_post.1@END")
            ),
            "is one of 'resid_post.1@END', not of 'resid_post.2@END'",
        ),
        (
            lambda m, t: interp.interchange(
                m, t, subspace=Subspace(torch.eye(31), "resid_post.1@END")
            ),
            "directions of 31 numbers",
        ),
        (
            lambda m, t: interp.interchange(
                m, t, subspace=Subspace(torch.eye(32), "mlp.1@END"), resume="x.npz"
            ),
            "a subspace is one site",
        ),
        (lambda m, t: Subspace(torch.ones(32, 2), "resid_post.1@END"), "are orthonormal"),
        (lambda m, t: Subspace(torch.eye(32), "resid_post.*@END"), "is many"),
        (lambda m, t: Subspace(torch.eye(32), "resid_post.1@END").save("x.npz"), "x.safetensors"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(tiny, task, call, says):
    with pytest.raises(ValueError, match=says):
        call(tiny, task)
