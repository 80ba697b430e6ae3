"""Circuits read from weights: by explicit products, by weights wired by hand, and by what must not
change them.
"""

import numpy as np
import pytest
import torch

import interp
from interp.methods.weights import ov_qk
from interp.models import bridge


def folded(model, which, layer, head):
    """W_Q, W_K or W_V of one query head by the plainest way: its own KV head, centred, times the
    gain.
    """
    d, norm = bridge.dims(model), interp.engine.find(model).layers[layer].norm1
    W = bridge.projection(model, which, layer)[0]
    W = W[head // d.group if which in "KV" else head].double()
    centre = torch.eye(d.d_model).double() - (1 / d.d_model if d.norm == "ln" else 0)
    return centre @ norm.weight.double().diag() @ W


def write(model, layer, head):
    return bridge.projection(model, "O", layer)[0][head].double()


# --- read-outs ------------------------------------------------------------------------------------


def test_ov_of_layer_zero_is_what_the_head_really_writes(any_tiny):
    """One token alone: the head attends to it fully, and what it writes is the read-out up to one
    scale.
    """
    d, token = bridge.dims(any_tiny), 60
    read = interp.methods.weights.ov_readout(any_tiny, "L0H3", [token], k=d.d_vocab)
    embed = interp.engine.find(any_tiny).embed[token].double()
    centred = embed - embed.mean() if d.norm == "ln" else embed
    unit = centred / centred.pow(2).mean().sqrt()
    wrote = unit @ folded(any_tiny, "V", 0, 3) @ write(any_tiny, 0, 3)
    wrote = wrote - wrote.mean() if d.norm == "ln" else wrote
    engine = interp.engine.find(any_tiny)
    logits = (wrote * engine.final_norm.weight) @ engine.unembed.weight.double().T
    order = read.coords["output"]
    expected = (logits - logits.mean()).sort(descending=True).values
    np.testing.assert_allclose(read.values[0], expected.numpy(), atol=1e-3)
    assert len(order) == d.d_vocab


def test_qk_of_layer_zero_is_the_models_own_score(tiny):
    """In a model without biases the read-out of two tokens is the attention score, rotation
    included.
    """
    query, keys, n = 70, [60, 61, 62, 63], 3
    tokens = torch.tensor([[keys[i], 64, 65, query] for i in range(4)])
    scores = interp.run(tiny, tokens, keep=["L0H3.scores@-1"]).kept["L0H3.scores@-1"][
        :, 0
    ]  # at offset 3
    read = interp.methods.weights.qk_readout(
        tiny, "L0H3", [query], k=bridge.dims(tiny).d_vocab, offset=n
    )
    names = ov_qk._words(tiny, list(range(bridge.dims(tiny).d_vocab)))
    found = torch.tensor([read.sel(key=names[t]).values[0] for t in keys])
    torch.testing.assert_close(
        found - found[0], (scores - scores[0]).double(), atol=1e-3, rtol=1e-3
    )
    flat = interp.methods.weights.qk_readout(tiny, "L0H3", [query], k=bridge.dims(tiny).d_vocab)
    assert abs(flat.values - read.values).max() > 1e-3


def test_read_outs_take_words_and_give_the_best(any_tiny):
    read = interp.methods.weights.ov_readout(any_tiny, "L1H2", [" Mary", " John"], k=3)
    assert read.coords["input"] == [" Mary", " John"] and read.dims == ("input", "output")
    every = interp.methods.weights.ov_readout(
        any_tiny, "L1H2", [" Mary", " John"], k=bridge.dims(any_tiny).d_vocab
    )
    for word in (" Mary", " John"):
        assert (
            read.sel(input=word).top(3, by="high").labels
            == every.sel(input=word).top(3, by="high").labels
        )


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: interp.methods.weights.ov_readout(m, "L*H0", [" Mary"]), "of one head"),
        (lambda m: interp.methods.weights.ov_readout(m, "mlp.1", [" Mary"]), "of heads"),
        (lambda m: interp.methods.weights.ov_readout(m, "L9H0", [" Mary"]), "no such layer"),
        (lambda m: interp.methods.weights.ov_readout(m, "L1H0", []), "no tokens"),
        (lambda m: interp.methods.weights.ov_readout(m, "L1H0", " Mary John"), "not one token"),
        (lambda m: interp.methods.weights.qk_readout(m, "L1H0", [10**6]), "token ids must be"),
        (lambda m: interp.methods.weights.qk_readout(m, "L1H0", [5], offset=-1), "offset=-1"),
    ],
)
def test_wrong_read_outs_are_one_sentence(any_tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(any_tiny)


# --- composition ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["q", "k", "v"])
def test_composition_by_the_explicit_product(any_tiny, kind):
    scores = interp.methods.weights.composition(any_tiny, kind=kind)

    def OV(layer, head):
        return folded(any_tiny, "V", layer, head) @ write(any_tiny, layer, head)

    for (la, a), (lb, b) in [((0, 1), (1, 2)), ((0, 3), (2, 0)), ((1, 0), (2, 3))]:
        QK = folded(any_tiny, "Q", lb, b) @ folded(any_tiny, "K", lb, b).T
        reads = {"q": QK, "k": QK.T, "v": OV(lb, b)}[kind]
        expected = (OV(la, a) @ reads).norm() / (OV(la, a).norm() * reads.norm())
        found = scores.sel(sender=f"L{la}H{a}", receiver=f"L{lb}H{b}").values
        assert float(found) == pytest.approx(float(expected), rel=1e-4)
    assert np.isnan(scores.sel(sender="L1H0", receiver="L1H1").values) and np.isnan(
        scores.sel(sender="L2H0", receiver="L0H1").values
    )


@pytest.mark.parametrize("kind", ["q", "k", "v"])
def test_components_are_the_rank_one_circuits(any_tiny, kind):
    scores = interp.methods.weights.composition(
        any_tiny, ["L0H1"], ["L2H3"], kind=kind, components=True
    )
    OV = folded(any_tiny, "V", 0, 1) @ write(any_tiny, 0, 1)
    QK = folded(any_tiny, "Q", 2, 3) @ folded(any_tiny, "K", 2, 3).T
    reads = {"q": QK, "k": QK.T, "v": folded(any_tiny, "V", 2, 3) @ write(any_tiny, 2, 3)}[kind]
    U, sigma, Vh = torch.linalg.svd(OV, full_matrices=False)
    expected = [
        (torch.outer(U[:, i], Vh[i]) @ reads).norm() / reads.norm()
        for i in range(scores.values.shape[1])
    ]
    np.testing.assert_allclose(
        scores.values[0, :, 0], torch.stack(expected).numpy(), rtol=2e-3, atol=1e-4
    )
    whole = interp.methods.weights.composition(any_tiny, ["L0H1"], ["L2H3"], kind=kind).values[0, 0]
    sigma = sigma[
        : len(expected)
    ].numpy()  # squares of the parts, weighted by their singular values, make the whole
    assert whole**2 == pytest.approx(
        ((sigma * scores.values[0, :, 0]) ** 2).sum() / (sigma**2).sum(), rel=1e-3
    )


def test_the_content_part_is_offset_zero_and_a_rotation_by_n_is_the_rotary_score(tiny):
    flat, zero = (interp.methods.weights.composition(tiny, kind="q", offset=o) for o in (None, 0))
    np.testing.assert_array_equal(flat.values, zero.values)
    angle = 5 * interp.engine.find(tiny).rotations[0].inv_freq.double()
    half = len(angle)
    turn = torch.zeros(2 * half, 2 * half).double()
    for i, a in enumerate(angle):  # dimension i turns together with dimension i + half
        turn[i, i] = turn[i + half, i + half] = a.cos()
        turn[i, i + half], turn[i + half, i] = a.sin(), -a.sin()
    OV = folded(tiny, "V", 0, 1) @ write(tiny, 0, 1)
    QK = folded(tiny, "Q", 2, 3) @ turn @ folded(tiny, "K", 2, 3).T
    for kind, reads in (("q", QK), ("k", QK.T)):
        found = interp.methods.weights.composition(
            tiny, ["L0H1"], ["L2H3"], kind=kind, offset=5
        ).values[0, 0]
        assert found == pytest.approx(
            float((OV @ reads).norm() / OV.norm() / reads.norm()), rel=1e-4
        )


def test_turning_writer_and_reader_together_changes_nothing():
    from interp.methods.weights.composition import _score

    torch.manual_seed(0)
    S, R = torch.randn(4, 12), torch.randn(12, 4)
    Q = torch.linalg.qr(torch.randn(12, 12)).Q
    for components in (False, True):
        torch.testing.assert_close(_score(S @ Q.T, Q @ R, components), _score(S, R, components))
    inside = torch.linalg.qr(torch.randn(4, 4)).Q  # nor does a turn inside either head
    torch.testing.assert_close(_score(inside @ S, R @ inside, False), _score(S, R, False))
    direction = torch.eye(12)[:1]
    assert (
        float(_score(direction, direction.T, False)) == 1
        and float(_score(direction, R - direction.T @ R[:1], False)) == 0
    )


def test_the_null_is_one_over_the_root_of_the_width(any_tiny):
    scores = interp.methods.weights.composition(any_tiny, rotations=60)
    null = scores.metadata["null"]
    assert null["rms"] == pytest.approx(32**-0.5) and null["low"] < null["mean"] < null["high"]
    assert null["mean"] == pytest.approx(null["rms"], rel=0.1)


def test_dimensions_may_be_left_out(tiny):
    whole, part = (
        interp.methods.weights.composition(tiny),
        interp.methods.weights.composition(tiny, without=[3]),
    )
    assert np.nanmax(np.abs(whole.values - part.values)) > 1e-4
    S, R = (
        folded(tiny, "V", 0, 1) @ write(tiny, 0, 1),
        folded(tiny, "Q", 2, 3) @ folded(tiny, "K", 2, 3).T,
    )
    S[:, 3], R[3] = 0, 0
    expected = (S @ R).norm() / S.norm() / R.norm()
    assert float(part.sel(sender="L0H1", receiver="L2H3").values) == pytest.approx(
        float(expected), rel=1e-4
    )


def test_heads_that_share_a_kv_head_share_what_they_write_with(tiny):
    assert bridge.dims(tiny).group == 2
    V = ov_qk.value(tiny, 1)
    torch.testing.assert_close(V[0], V[1])
    torch.testing.assert_close(V[2], V[3])
    assert (V[1] - V[2]).abs().max() > 1e-3
    torch.testing.assert_close(V[3].double(), folded(tiny, "V", 1, 3), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: interp.methods.weights.composition(m, kind="qq"), "did you mean 'q'"),
        (lambda m: interp.methods.weights.composition(m, "L2H0", "L1H0"), "in a layer before"),
        (
            lambda m: interp.methods.weights.composition(m, kind="v", offset=1),
            "not turned by position",
        ),
        (lambda m: interp.methods.weights.composition(m, without=[99]), "0 to 31"),
        (lambda m: interp.methods.weights.composition(m, []), "no heads"),
    ],
)
def test_wrong_compositions_are_one_sentence(any_tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(any_tiny)


def test_offsets_need_rotary_positions(tiny_gpt2):
    with pytest.raises(ValueError, match="not rotary"):
        interp.methods.weights.composition(tiny_gpt2, offset=2)


def test_a_model_that_is_not_known_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(interp.engine, "find", lambda model: None)
    monkeypatch.setattr(interp.engine, "why_not", lambda model: "norms come after the blocks")
    with pytest.raises(ValueError, match="known pre-norm model: norms come after"):
        interp.methods.weights.composition(tiny)
