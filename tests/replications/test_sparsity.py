"""Pruned copies and silenced neurons: counts by hand, and slow versions of every number."""

import pytest
import torch

import interp
from interp import Intervention, toys
from interp.models import bridge
from interp.replications import activation_sparsity, pruned
from interp.replications.sparsity import _thresholds, smallest

TOKENS = torch.randint(0, 60, (6, 12), generator=torch.Generator().manual_seed(1))
OTHER = torch.randint(0, 60, (5, 12), generator=torch.Generator().manual_seed(2))


def matrices(model):
    return [
        part.weight
        for layer in range(bridge.dims(model).n_layers)
        for which in bridge.MATRICES
        if (part := bridge.linear(model, layer, which)) is not None
    ]


def test_a_share_of_every_matrix_goes_and_it_is_the_smaller_one(tiny):
    before = [w.clone() for w in matrices(tiny)]
    new = pruned(tiny, 0.3)
    for old, now, kept in zip(before, matrices(tiny), matrices(new)):
        assert torch.equal(old, now)  # the model itself is as it was
        gone = kept == 0
        assert gone.sum() == round(0.3 * old.numel())
        assert old[gone].abs().max() <= old[~gone].abs().min()
        assert torch.equal(kept[~gone], old[~gone])


def test_what_is_no_matrix_of_attention_or_mlp_stays(tiny):
    new, seen = pruned(tiny, 1.0), {id(w) for w in matrices(tiny)}
    weights = dict(new.named_parameters())
    for name, value in tiny.named_parameters():
        if id(value) not in seen and "bias" not in name:
            assert torch.equal(weights[name], value), name
    assert all(not w.any() for w in matrices(new))


def test_the_whole_model_has_one_limit(tiny):
    new = pruned(tiny, 0.4, within="model")
    old = torch.cat([w.flatten() for w in matrices(tiny)])
    now = torch.cat([w.flatten() for w in matrices(new)])
    assert (now == 0).sum() == round(0.4 * len(old))
    assert old[now == 0].abs().max() <= old[now != 0].abs().min()


def test_groups_lie_along_the_inputs_of_either_kind_of_matrix(tiny, tiny_gpt2):
    for model in (tiny, tiny_gpt2):
        new = pruned(model, 0.5, within=4)
        for layer in range(bridge.dims(model).n_layers):
            for which in bridge.MATRICES:
                part = bridge.linear(new, layer, which)
                if part is None:
                    continue
                reads = part.weight.T if bridge.transposed(part) else part.weight
                zeros = (reads.unflatten(-1, (-1, 4)) == 0).sum(-1)
                assert (zeros == 2).all(), (layer, which)


def test_a_pruned_model_computes_with_its_own_weights(any_tiny):
    tokens = TOKENS[:2]
    dense = interp.run(any_tiny, tokens).logits
    assert torch.equal(interp.run(pruned(any_tiny, 0.0), tokens).logits, dense)
    new = pruned(any_tiny, 0.5)
    assert not torch.allclose(interp.run(new, tokens).logits, dense, atol=1e-4)
    bare = pruned(any_tiny, 1.0)
    kept = interp.run(bare, tokens, keep=["mlp.1.post"]).kept["mlp.1.post"]
    assert (kept - kept[:1, :1]).abs().max() < 1e-5  # with no weights nothing depends on the token


def test_random_weights_go_by_seed_and_not_by_size(tiny):
    a, b, c = (matrices(pruned(tiny, 0.5, by="random", seed=s)) for s in (0, 0, 1))
    assert all(torch.equal(x, y) for x, y in zip(a, b))
    assert not all(torch.equal(x, y) for x, y in zip(a, c))
    old = torch.cat([w.flatten() for w in matrices(tiny)]).abs()
    gone = torch.cat([w.flatten() for w in a]) == 0
    assert old[gone].mean() == pytest.approx(float(old.mean()), rel=0.05)


def test_of_equal_sizes_the_first_go():
    assert smallest(torch.tensor([2.0, 1, 1, 0, 1]), 3).tolist() == [0, 1, 1, 1, 0]
    assert not smallest(torch.ones(3), 0).any()


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(share=1.5), "from 0 to 1"),
        (dict(share=0.3, within=4), "no whole number"),
        (dict(share=0.5, within="layer"), "within='matrix'"),
        (dict(share=0.5, by="norm"), "by='size'"),
        (dict(share=0.2, within=5), "no groups of 5"),
    ],
)
def test_what_cannot_be_pruned(tiny, options, says):
    with pytest.raises(ValueError, match=says):
        pruned(tiny, **options)


# --- silenced neurons -----------------------------------------------------------------------------


def test_nothing_tolerated_is_the_plain_loss(any_tiny):
    silenced = activation_sparsity(any_tiny, OTHER, fit=TOKENS, errors=[0, 0.2])
    plain = interp.methods.text.cross_entropy(any_tiny, OTHER)
    assert silenced.loss.examples[0] == pytest.approx(plain.examples, abs=1e-5)
    assert (silenced.share.examples[0] == 0).all()
    assert silenced.share.values[1] > 0.05
    assert silenced.loss.dims == ("error",) and silenced.loss.examples.shape == (2, 5)


def test_the_loss_is_that_of_the_edits_by_hand_and_the_first_position_keeps_its_neurons(tiny):
    kept = interp.run(tiny, TOKENS, keep=[f"mlp.{n}.post" for n in range(3)]).kept
    edits, counts = [], []
    for layer in range(3):
        weight = bridge.linear(tiny, layer, "out").weight.detach().T
        acts = kept[f"mlp.{layer}.post"][:, 1:].flatten(0, 1)
        limit, norms = _thresholds(acts, weight, [0.3])[0][0], weight.norm(dim=1)

        def edit(activation, seen, limit=limit, norms=norms):
            after = activation.clone()
            off = activation[:, 1:].abs() * norms <= limit
            after[:, 1:][off] = 0
            counts.append(off.float().mean((1, 2)))
            return after

        edits.append(Intervention(f"mlp.{layer}.post", edit))
    by_hand = interp.methods.text.cross_entropy(tiny, OTHER, edits)
    silenced = activation_sparsity(tiny, OTHER, fit=TOKENS, errors=[0.3])
    assert silenced.loss.examples[0] == pytest.approx(by_hand.examples, abs=1e-5)
    assert silenced.share.examples[0] == pytest.approx(sum(counts).numpy() / 3, abs=1e-6)


def test_the_silenced_part_of_a_layer_is_the_error_tolerated(tiny):
    acts = interp.run(tiny, TOKENS, keep=["mlp.0.post"]).kept["mlp.0.post"][:, 1:].flatten(0, 1)
    weight = bridge.linear(tiny, 0, "out").weight.detach().T
    for error, (limit, share) in zip((0.1, 0.25, 0.4), _thresholds(acts, weight, [0.1, 0.25, 0.4])):
        off = torch.zeros(acts.shape, dtype=torch.bool)
        ratio = 0.0
        for t, a in enumerate(acts):
            written = a[:, None] * weight  # [neuron d_model], neuron by neuron
            off[t] = written.norm(dim=1) <= limit
            ratio += float(written[off[t]].sum(0).norm() / written.sum(0).norm()) / len(acts)
        assert ratio == pytest.approx(error, abs=0.02)
        assert share == pytest.approx(float(off.float().mean()), abs=1e-3)


def test_a_relu_that_is_zero_is_silent_already():
    net = toys.transformer(d_vocab=60, n_layers=2, d_model=32, mlp=64, act="relu")
    silenced = activation_sparsity(net, OTHER, fit=TOKENS, errors=[0, 0.1])
    kept = interp.run(net, OTHER, keep=["mlp.0.post", "mlp.1.post"]).kept
    zero = torch.stack([(x[:, 1:] == 0).float().mean((1, 2)) for x in kept.values()]).mean(0)
    assert silenced.share.examples[0] == pytest.approx(zero.numpy(), abs=1e-6)
    assert silenced.share.values[1] > silenced.share.values[0]


def test_random_silences_as_many(tiny):
    errors = [0.2, 0.5]
    by_size = activation_sparsity(tiny, TOKENS, fit=TOKENS, errors=errors)
    random = activation_sparsity(tiny, TOKENS, fit=TOKENS, errors=errors, by="random")
    again = activation_sparsity(tiny, TOKENS, fit=TOKENS, errors=errors, by="random")
    assert random.share.values == pytest.approx(by_size.share.values, abs=0.03)
    assert (random.loss.examples == again.loss.examples).all()


def test_targets_are_where_the_loss_is_taken(tiny):
    targets = torch.full_like(OTHER, -100)
    targets[:, 3] = OTHER[:, 4]
    one = activation_sparsity(tiny, OTHER, fit=TOKENS, errors=[0], targets=targets)
    log_probs = interp.run(tiny, OTHER).logits.log_softmax(-1)[:, 3]
    by_hand = -log_probs.gather(1, OTHER[:, 4:5].long())[:, 0]
    assert one.loss.examples[0] == pytest.approx(by_hand.numpy(), abs=1e-5)


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(errors=[1.5]), "from 0 to 1"),
        (dict(by="norm"), "by='size'"),
        (dict(targets=torch.zeros(5, 3, dtype=torch.long)), "next token of each position"),
        (dict(targets=torch.full((5, 12), -100)), "chunk 0 has no target"),
    ],
)
def test_what_cannot_be_silenced(tiny, options, says):
    with pytest.raises(ValueError, match=says):
        activation_sparsity(tiny, OTHER, fit=TOKENS, **options)


def test_a_text_is_no_chunks(tiny):
    with pytest.raises(ValueError, match="texts.chunks"):
        activation_sparsity(tiny, OTHER, fit="The dog")
    bare = toys.transformer(d_vocab=60, n_layers=1, d_model=32)
    with pytest.raises(ValueError, match="no MLP"):
        activation_sparsity(bare, OTHER, fit=TOKENS)
