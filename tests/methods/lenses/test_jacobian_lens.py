"""The Jacobian lens: TransformerLens' own estimate, exact where the Jacobian is constant, and the
logit lens where it is the identity.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp.methods.lenses import Lens, read_jacobian_lens
from interp.models import bridge

OPTIONS = dict(skip=3, cached=False)


def text(model, n=3, length=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(5, bridge.dims(model).d_vocab, (n, length), generator=g)


@pytest.mark.parametrize("backend", ["engine", "hooks"])
def test_it_is_transformer_lens_own_estimate(any_tiny, backend, monkeypatch):
    from transformer_lens.tools.analysis import JacobianLens

    ids = text(any_tiny)
    lens = interp.jacobian_lens(any_tiny, ids, backend=backend, **OPTIONS)
    texts = {str(i): row[None] for i, row in enumerate(ids)}
    monkeypatch.setattr(any_tiny, "to_tokens", lambda t, **_: texts[t])
    theirs = JacobianLens.fit(
        any_tiny, list(texts), corpus="test", skip_first_positions=3, show_progress=False
    )
    assert lens.layers == (0, 1, 2) and theirs.source_layers == [0, 1]
    for layer in (0, 1):
        torch.testing.assert_close(
            lens.jacobian(layer), theirs.jacobians[layer], atol=2e-5, rtol=1e-4
        )
    h = torch.randn(2, 32)
    torch.testing.assert_close(lens.read(1, h), theirs.transport(h, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(lens.read(2, h), h, atol=0, rtol=0)


def test_rows_are_those_of_the_whole_on_the_texts_where_they_were_drawn(tiny):
    one = text(tiny, n=1)
    whole = interp.jacobian_lens(tiny, one, **OPTIONS)
    same = interp.jacobian_lens(tiny, one.repeat(4, 1), rows=8, **OPTIONS)
    torch.testing.assert_close(same.weight, whole.weight, atol=1e-6, rtol=1e-4)
    many = text(tiny, n=8)
    torch.testing.assert_close(
        interp.jacobian_lens(tiny, many, rows=16, **OPTIONS).weight.mean(),
        interp.jacobian_lens(tiny, many, **OPTIONS).weight.mean(),
        atol=2e-3,
        rtol=0,
    )


def test_texts_of_several_lengths_count_alike(tiny):
    a, b = text(tiny, n=1), text(tiny, n=1, length=9, seed=1)
    both = interp.jacobian_lens(tiny, [a[0].tolist(), b[0].tolist()], **OPTIONS)
    each = [interp.jacobian_lens(tiny, ids, **OPTIONS).weight for ids in (a, b)]
    torch.testing.assert_close(both.weight, sum(each) / 2, atol=1e-6, rtol=1e-4)


def test_it_is_exact_where_layers_add_nothing(monkeypatch):
    model = interp.load("tiny-neox")  # its own: its layers are made to write nothing
    with torch.no_grad():
        for block in model.blocks:
            for linear in (block.attn.o, block.mlp.out):
                for p in linear.parameters():
                    p.zero_()
    lens = interp.jacobian_lens(model, text(model), **OPTIONS)
    # added up over later positions, each of which depends on its own stream alone
    torch.testing.assert_close(lens.weight, torch.zeros_like(lens.weight), atol=1e-6, rtol=0)
    task = interp.tasks.ioi(model, n=2)
    np.testing.assert_allclose(
        interp.logit_lens(model, task, lens=lens).values,
        interp.logit_lens(model, task).values,
        atol=1e-5,
    )


def test_a_saved_lens_reads_the_same_and_transformer_lens_reads_it(tiny, tmp_path):
    from transformer_lens.tools.analysis import JacobianLens

    lens = interp.jacobian_lens(tiny, text(tiny), layers=[1], **OPTIONS)
    path = lens.save(tmp_path / "lens.pt")
    back = read_jacobian_lens(path, tiny)
    torch.testing.assert_close(back.weight, lens.weight, atol=1e-6, rtol=0)
    assert (back.layers, back.kind, back.fingerprint) == ((1, 2), "Jacobian lens", lens.fingerprint)
    theirs = JacobianLens.load(str(path)).validate_model(tiny)
    torch.testing.assert_close(theirs.jacobians[1], lens.jacobian(1), atol=1e-6, rtol=0)
    theirs.save(str(tmp_path / "theirs.pt"))  # in half precision, as published
    half = read_jacobian_lens(tmp_path / "theirs.pt", tiny)
    torch.testing.assert_close(half.weight, lens.weight, atol=2e-3, rtol=2e-3)
    task = interp.tasks.ioi(tiny, n=2)
    read = interp.logit_lens(tiny, task, lens=back)
    assert read.metadata["method"] == "Jacobian lens" and np.isnan(read.values[0])
    with pytest.raises(ValueError, match="lens of another model"):
        read_jacobian_lens(path, interp.models.tiny("tiny", seed=5))
    with pytest.raises(ValueError, match="Jacobian lens is of another model"):
        interp.logit_lens(interp.models.tiny("tiny", seed=5), task, lens=lens)


def test_files_that_are_no_such_lens(tiny, tmp_path):
    path = tmp_path / "lens.pt"
    whole = {"J": {0: torch.eye(32)}, "n_prompts": 1, "source_layers": [0], "d_model": 32}
    for change, words in (
        ({"J": {}}, "it has no J"),
        ({"J": {0: torch.eye(8)}}, r"J\[0\] should have the shape"),
        ({"J": {2: torch.eye(32)}}, "layers 0 to 1 towards 2"),
        ({"metadata": {"target_layer": 1}}, "it reads layer 1"),
        ({"J": {0: torch.eye(32).long()}}, "real numbers"),
    ):
        torch.save({**whole, **change}, path)
        with pytest.raises(ValueError, match=words):
            read_jacobian_lens(path, tiny)
    torch.save(whole, path)
    assert not read_jacobian_lens(path, tiny).weight.any()  # J = 1: the logit lens


def test_it_is_kept_for_the_same_text_and_options(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path))
    options = dict(layers=[0], skip=3)
    kept = interp.jacobian_lens(tiny, text(tiny), **options)
    read = interp.jacobian_lens(tiny, text(tiny), **options)
    assert (kept.kl.metadata["from disk"], read.kl.metadata["from disk"]) == (False, True)
    torch.testing.assert_close(kept.weight, read.weight, atol=0, rtol=0)
    np.testing.assert_array_equal(kept.kl.values, read.kl.values)
    for other in (dict(options, skip=4), dict(options, rows=16)):
        assert not interp.jacobian_lens(tiny, text(tiny), **other).kl.metadata["from disk"]
    assert kept.kl.values[1, 1] == pytest.approx(0, abs=1e-5)
    kept.plot()


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(skip=11), "text 0, '.*has 12 tokens and no position left without the first 11 and"),
        (dict(layers=[7]), "no layer 7"),
        (dict(layers=[2]), "the last one, where the lens is the identity"),
        (dict(rows=0), "rows=0: between 1 and 32"),
        (dict(rows=5), "give 7 texts, or rows=11"),
        (dict(skip=-1), "skip=-1"),
        (dict(backend="fast"), "backend"),
    ],
)
def test_what_does_not_fit_gets_one_sentence(tiny, options, words):
    with pytest.raises(ValueError, match=words):
        interp.jacobian_lens(tiny, text(tiny), **{**OPTIONS, **options})


def test_a_tuned_lens_has_a_bias_and_is_no_jacobian(tiny):
    lens = interp.tuned_lens(tiny, text(tiny), layers=[0], steps=2, cached=False)
    lens = replace(lens, bias=torch.cat([torch.ones(1, 32), torch.zeros(1, 32)]))
    with pytest.raises(ValueError, match="has a bias"):
        lens.to_transformer_lens()


def test_a_text_that_is_too_short_is_quoted_and_few_texts_are_noticed(tiny):
    texts = ["The cat sat on the mat and looked at the dog", "A dog", "When Mary and John went"]
    for lens in (interp.jacobian_lens, interp.methods.lenses.lens_score):
        with pytest.raises(ValueError, match=r"text 1, '.*A dog'.*\(2 texts are too short\)"):
            lens(tiny, texts, skip=6)
    with pytest.warns(UserWarning, match="mean over 4 positions of 1 text: on other") as seen:
        interp.jacobian_lens(tiny, texts[:1], layers=[1], skip=7, cached=False)
    assert seen[0].filename == __file__


def test_every_lens_is_saved_and_read_with_its_divergences(tiny, tmp_path):
    jacobian = interp.jacobian_lens(tiny, text(tiny), layers=[1], **OPTIONS)
    tuned = interp.tuned_lens(tiny, text(tiny), layers=[0], steps=3, cached=False)
    tuned = replace(tuned, bias=torch.cat([torch.ones(1, 32), torch.zeros(1, 32)]))
    for lens, ending in ((jacobian, ".pt"), (jacobian, ".safetensors"), (tuned, ".safetensors")):
        back = Lens.load(lens.save(tmp_path / f"lens{ending}"), tiny)
        assert (back.layers, back.kind, back.fingerprint) == (
            lens.layers,
            lens.kind,
            lens.fingerprint,
        )
        torch.testing.assert_close(back.weight, lens.weight, atol=1e-6, rtol=0)
        torch.testing.assert_close(back.bias, lens.bias, atol=0, rtol=0)
        np.testing.assert_array_equal(back.kl.values, lens.kl.values)
        assert back.plot() is not None and "skip" in back.kl.metadata or lens is tuned
        with pytest.raises(ValueError, match="is a lens of"):
            Lens.load(tmp_path / f"lens{ending}", interp.models.tiny("tiny", seed=5))
    with pytest.raises(ValueError, match="bias, and .pt files have none: save it as 'x.safetens"):
        tuned.save(tmp_path / "x.pt")
    for call in (jacobian.save, lambda path: Lens.load(path, tiny)):
        with pytest.raises(ValueError, match=r"saved as .safetensors .*try 'x.safetensors'"):
            call(tmp_path / "x.npz")
    with pytest.raises(ValueError, match="no subspace .*methods.lenses.Lens.load reads it"):
        interp.methods.patching.Subspace.load(tmp_path / "lens.safetensors")
    with pytest.raises(ValueError, match="no[t] a result .*it is no whole .npz file"):
        interp.Result.load(tmp_path / "lens.safetensors")
    theirs = {"J": {0: torch.eye(32)}, "n_prompts": 1, "source_layers": [0], "d_model": 32}
    torch.save(theirs, tmp_path / "theirs.pt")
    with pytest.raises(ValueError, match="lens_score"):
        Lens.load(tmp_path / "theirs.pt", tiny).plot()
    torch.save({"weight": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is no Jacobian lens"):
        Lens.load(tmp_path / "other.pt", tiny)
