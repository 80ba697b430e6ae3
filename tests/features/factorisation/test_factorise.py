"""Semi-nonnegative factorisation, what detects concepts, the hierarchy, steering at matched KL.
Laws, on tiny models.
"""

import dataclasses

import numpy as np
import pytest
import torch

import interp
from interp import features, texts
from interp._stats import auroc
from interp.features.factorisation import factorise, nonnegative
from interp.interventions import run
from interp.methods.steering import matched_kl
from interp.methods.steering.direction import Direction

SITE = "mlp.1.post"


@pytest.fixture(scope="module")
def ids():
    found = torch.randint(5, 200, (20, 9), generator=torch.Generator().manual_seed(0))
    found[:, 0] = 1
    return found


def planted(n=1000, rank=12, d=100, keep=10, seed=0):
    g = torch.Generator().manual_seed(seed)
    W = torch.randn(rank, d, generator=g)
    W = W * torch.zeros_like(W).scatter(1, W.abs().topk(keep, 1).indices, 1.0)
    Y = (torch.rand(n, rank, generator=g) < 0.2) * torch.rand(n, rank, generator=g)
    return Y @ W + 0.02 * torch.randn(n, d, generator=g), W


# --- least squares --------------------------------------------------------------------------------


@pytest.mark.parametrize("rank, d", [(6, 20), (20, 6)])
def test_loadings_are_those_of_scipy(rank, d):
    from scipy.optimize import nnls

    g = torch.Generator().manual_seed(rank)
    W, x = torch.randn(rank, d, generator=g).double(), torch.randn(50, d, generator=g).double()
    gram = W @ W.T + 1e-6 * torch.eye(rank)
    found = nonnegative.nonnegative(gram, x @ W.T)
    augmented = np.concatenate([W.T.numpy(), 1e-3 * np.eye(rank)])
    for row, z in zip(x.numpy(), found.numpy()):
        expected, _ = nnls(augmented, np.concatenate([row, np.zeros(rank)]))
        assert np.abs(expected - z).max() < 1e-5
    assert (found >= 0).all()


def test_two_by_two_by_hand():
    # directions (1, 0) and (1, 1): (3, 2) = 1 * the first + 2 * the second; (1, -1) would need -1
    # of the second, so 1 and 0
    weights = {"W_dec": torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "b_dec": torch.zeros(2)}
    one = features.Dictionary("snmf", weights, SITE)
    x = torch.tensor([[3.0, 2.0], [1.0, -1.0], [-1.0, -1.0], [0.0, 4.0]])
    expected = torch.tensor([[1.0, 2.0], [1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    assert torch.allclose(one.encode(x), expected, atol=1e-6)
    assert torch.allclose(one.encode(x.reshape(2, 2, 2)), expected.reshape(2, 2, 2), atol=1e-6)
    # two tokens, rank 2: exact
    W, curve = factorise.semi_nmf(
        torch.tensor([[2.0, 0.0], [0.0, -3.0]]), 2, sparsity=0.5, ridge=0.0
    )
    assert sorted((W / W.norm(dim=1, keepdim=True)).round().tolist()) == [[0.0, -1.0], [1.0, 0.0]]
    assert curve[-1]["error"] < 1e-6


def test_solving_on_supports_is_solving_each_alone():
    g = torch.Generator().manual_seed(0)
    A, right = (
        torch.randn(9, 7, generator=g).double(),
        torch.randn(30, 7, generator=g).double().requires_grad_(),
    )
    gram, support = A.T @ A, torch.rand(30, 7, generator=g) < 0.4
    support[0] = False
    found = nonnegative.on_support(gram, right, support)
    for z, b, on in zip(found, right, support):
        assert (z[~on] == 0).all() and torch.allclose(gram[on][:, on] @ z[on], b[on], atol=1e-8)
    found.sum().backward()
    assert torch.isfinite(right.grad).all() and (right.grad[~support] == 0).all()


def test_gradients_of_loadings_are_their_differences():
    x, W = planted(5)
    one = features.Dictionary(
        "snmf", {"W_dec": W.double(), "b_dec": torch.zeros(100).double()}, SITE
    )
    x = x.double().requires_grad_()
    z = one.encode(x)
    step = 1e-4 * torch.randn(5, 100, generator=torch.Generator().manual_seed(1)).double()
    (grad,) = torch.autograd.grad(z.sum(), x)
    after = one.encode((x + step).detach()).sum()
    assert float(after - z.detach().sum()) == pytest.approx(float((grad * step).sum()), rel=1e-3)


# --- factorising ----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["random", "svd"])
@pytest.mark.parametrize("sparsity", [None, 0.1])
def test_the_error_never_rises_and_planted_directions_are_found(sparsity, start):
    x, W = planted()
    found, curve = factorise.semi_nmf(x.double(), 12, sparsity=sparsity, start=start)
    for phase in {c["phase"] for c in curve} - {"narrowing"}:
        errors = [c["error"] for c in curve if c["phase"] == phase]
        assert all(b <= a * (1 + 1e-9) for a, b in zip(errors, errors[1:])), phase
    assert curve[-1]["explained"] > 0.95
    if sparsity:
        assert ((found != 0).sum(1) == 10).all()
        mine, truth = (
            factorise.as_dictionary(w.float(), SITE, name, {})
            for w, name in ((found, "found"), (W, "truth"))
        )
        assert float(features.matched_cosine_similarity(mine, truth).values) > 0.95


def test_the_svd_start_is_the_larger_side_of_the_singular_vectors():
    x = planted(40)[0].double()
    y = factorise._svd_start(x, 5)
    left, size, _ = torch.linalg.svd(x, full_matrices=False)
    for i in range(5):
        sides = [(sign * left[:, i]).clamp_min(0) * size[i] ** 0.5 for sign in (1, -1)]
        wanted = max(sides, key=lambda side: float(side.norm()))
        assert torch.allclose(y[:, i], wanted, atol=1e-5) and (y > 0).all()
    one, other = (factorise.semi_nmf(x, 5, start="svd", seed=s, steps=8)[0] for s in (0, 1))
    assert torch.equal(one, other)  # no seed changes it


def test_multiplicative_updates_end_at_the_least_squares_and_never_rise():
    x, W = planted(40)
    gram, right = (W @ W.T).double(), (x @ W.T).double()

    def cost(y):
        return float(((y @ gram) * y).sum() / 2 - (y * right).sum())

    y = torch.ones(40, 12).double()
    costs = []
    for _ in range(300):
        y = nonnegative.multiplied(y, gram, right, 3)
        costs.append(cost(y))
    assert (y >= 0).all() and all(b <= a + 1e-12 for a, b in zip(costs, costs[1:]))
    assert costs[-1] == pytest.approx(cost(nonnegative.nonnegative(gram, right)), abs=1e-3)


def test_a_factorisation_is_a_dictionary_like_any_other(tiny, ids, tmp_path):
    parts = features.factorise(tiny, SITE, ids, rank=10, sparsity=0.1, steps=20)
    again = features.factorise(tiny, SITE, ids, rank=10, sparsity=0.1, steps=20)
    assert torch.equal(parts.W_dec, again.W_dec) and parts.kind == "snmf"
    d = parts.d_in
    assert ((parts.W_dec != 0).sum(1) <= round(0.1 * d)).all()
    loaded = features.load(parts.save(tmp_path / "parts"))
    x = features.activations(tiny, SITE, ids).of()
    assert torch.equal(loaded.encode(x), parts.encode(x)) and (parts.encode(x) >= 0).all()
    assert features.evaluate(tiny, parts, ids[:4]).sel(measure="explained variance").values < 1
    changed = run(
        tiny, ids[:2], features.ablate(parts, int(parts.encode(x).sum(0).argmax()))
    ).logits
    assert not torch.allclose(changed, run(tiny, ids[:2]).logits)
    assert parts.metadata["tokens"] == 160 and {"phase", "error", "explained"} == set(
        parts.metadata["curve"][-1]
    )


def test_more_tokens_explain_no_less_than_directions_allow():
    x, _ = planted(30)
    _, full = factorise.semi_nmf(x, 30, steps=100)  # as many directions as tokens
    assert full[-1]["explained"] > 0.999


@pytest.mark.parametrize(
    "options, said",
    [
        ({"rank": 161}, "rank=161: 160 tokens are sums of 160 directions at most"),
        ({"rank": 0}, "rank=0"),
        ({"sparsity": -0.1}, "sparsity=-0.1"),
        ({"sparsity": 1.5}, "sparsity=1.5"),
        ({"ridge": -1.0}, "ridge=-1.0"),
        ({"steps": 3}, "steps=3"),
        ({"start": "svd "}, "did you mean 'svd'"),
        ({"start": "svd", "rank": 100}, "rank=100: start='svd' has one direction for each"),
    ],
)
def test_factorising_refuses_what_cannot_be(tiny, ids, options, said):
    with pytest.raises(ValueError, match=said):
        features.factorise(tiny, SITE, ids, **options)
    with pytest.raises(ValueError, match="all zero"):
        factorise.semi_nmf(torch.zeros(20, 4), 2)


# --- concepts -------------------------------------------------------------------------------------


def test_the_splits_share_no_word_and_no_frame():
    find, heldout = texts.concepts("find"), texts.concepts("heldout", n=15)
    assert len({s.concept for s in find}) == 20 and {s.concept for s in find} == {
        s.concept for s in heldout
    }

    def frame(s):
        return s.text.replace(s.word, "{}", 1)

    assert not {frame(s) for s in find} & {frame(s) for s in heldout}
    for concept in {s.concept for s in find}:
        here, there = (set(texts.concept_words(concept, split)) for split in texts.SPLITS)
        assert not here & there and {s.word for s in find if s.concept == concept} <= here
        assert 3 <= len(there) and 24 <= sum(s.concept == concept for s in find) <= 30
        assert not (here | there) & set(texts.NEUTRAL)
    assert find == texts.concepts("find") and find != texts.concepts("find", seed=1)
    assert all(s.word in s.text for s in [*find, *heldout])
    with pytest.raises(ValueError, match="did you mean 'metals'"):
        texts.concept_words("metal", "find")


def test_prompts_of_many_lengths_are_read_in_order(tiny):
    prompts = [torch.tensor(p) for p in ([1, 7, 8], [1, 9], [1, 10, 11], [1, 12, 13, 14])]
    read = features.prompt_activations(tiny, SITE, prompts)
    assert read.prompt.tolist() == [0, 0, 1, 2, 2, 3, 3, 3] and read.activations.tokens[
        :, 0
    ].tolist() == [7, 8, 9, 10, 11, 12, 13, 14]
    alone = run(tiny, prompts[3][None], keep=[SITE]).kept[SITE][0, 1:]
    assert torch.allclose(read.activations.of()[5:], alone, atol=1e-5)
    both = features.identity(SITE, alone.shape[1])
    assert torch.allclose(read.pooled(both)[3], both.encode(alone).amax(0), atol=1e-5)
    with pytest.raises(ValueError, match="the first token alone"):
        features.prompt_activations(tiny, SITE, [torch.tensor([1])])


def test_auroc_by_hand():
    scores = np.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    a = np.array([True, False, True])
    assert auroc(scores, np.stack([a, ~a])).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    first = np.array([True, False, False])
    assert auroc(scores, first).tolist() == [1, 0.5]
    assert auroc(scores[:, 0], np.stack([first, ~first])).tolist() == [1, 0]
    assert auroc(scores[:, 0], first) == 1 and isinstance(auroc(scores[:, 0], a), float)


def test_what_carries_a_label_is_found_and_shuffled_labels_are_chance(tiny):
    g = torch.Generator().manual_seed(0)
    labels = ["a", "b", "c"] * 20
    first = {"a": 20, "b": 60, "c": 100}  # the token that says the label

    def make(shift):
        return [
            torch.tensor(
                [1, first[c] + shift, *torch.randint(150, 200, (3,), generator=g).tolist()]
            )
            for c in labels
        ]

    find, heldout = (features.prompt_activations(tiny, SITE, make(0)) for _ in range(2))
    means = features.mean_differences(find, labels)
    parts = features.factorise(tiny, SITE, find.activations, rank=20, sparsity=None, steps=40)
    random = features.random_sparse(find.activations, 20, sparsity=0.1)
    found = features.concept_detection([parts, means, random], find, labels, heldout, labels)
    assert (found.sel(dictionary="difference of means").values > 0.95).all() and found.sel(
        dictionary=parts.name
    ).values.mean() > 0.9
    assert found.metadata["latents"]["difference of means"] == {"a": 0, "b": 1, "c": 2}
    assert features.concept_of(means, find, labels) == ["a", "b", "c"] and set(
        features.concept_of(parts, find, labels, at_least=1.1)
    ) == {None}
    shuffled = [
        features.concept_detection(parts, find, labels, heldout, labels, shuffle=s).values.mean()
        for s in range(10)
    ]
    assert abs(np.mean(shuffled) - 0.5) < 0.1
    with pytest.raises(ValueError, match="59 labels for 60 prompts"):
        features.concept_detection(parts, find, labels[1:], heldout, labels)
    with pytest.raises(ValueError, match="in one only"):
        features.concept_detection(parts, find, labels, heldout, ["d", *labels[1:]])


# --- hierarchy ------------------------------------------------------------------------------------


def test_directions_that_share_neurons_come_under_one_parent():
    g = torch.Generator().manual_seed(0)
    families = torch.zeros(4, 100)
    for i in range(4):
        families[i, 10 * i : 10 * i + 8] = 1
    leaves = families.repeat_interleave(3, 0) * (
        1 + 0.1 * torch.rand(12, 100, generator=g)
    ) + 0.01 * torch.rand(12, 100, generator=g)
    names = [f"{f}{i}" for f in "abcd" for i in range(3)]
    parts = factorise.as_dictionary(leaves, SITE, "leaves", {})
    tree = interp.replications.feature_hierarchy(
        parts, (4, 2), sparsity=0.08, share=0.08, names=names
    )
    parent = dict(zip(tree.coords["latent"], tree.metadata["parents"]["4"]))
    assert len({parent[n] for n in names}) == 4 and all(
        parent[f"{f}0"] == parent[f"{f}2"] for f in "abcd"
    )
    assert (
        tree.sel(latent="a0", other="a1").values > 0.9
        and tree.sel(latent="a0", other="b1").values < 0.2
    )
    assert [n[0] for n in tree.coords["latent"]] in [
        [f for f in order for _ in range(3)] for order in _orders("abcd")
    ]
    assert tree.plot().get_title()
    ratio = interp.replications.within_and_across(
        interp.replications.shared_neurons(parts, 0.08), [n[0] for n in names]
    )
    assert ratio.sel(pairs="within").values > 0.9 > 0.2 > ratio.sel(pairs="across").values
    with pytest.raises(ValueError, match="each is smaller than the one before"):
        interp.replications.feature_hierarchy(parts, (4, 6))
    with pytest.raises(ValueError, match="two latents or more"):
        interp.replications.within_and_across(np.eye(3), ["a", "b", None])


def _orders(letters):
    from itertools import permutations

    return [list(p) for p in permutations(letters)]


def test_shared_neurons_by_hand():
    rows = torch.tensor([[3.0, 2.0, 0.1, 0.0], [5.0, 0.2, -4.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    parts = factorise.as_dictionary(rows, SITE, "three", {})
    assert interp.replications.shared_neurons(parts, 0.5).tolist() == [
        [1, 0.5, 0],
        [0.5, 1, 0],
        [0, 0, 1],
    ]


# --- steering at matched KL -----------------------------------------------------------------------


def test_pushes_are_as_strong_as_asked(any_tiny, ids):
    width = features.activations(any_tiny, SITE, ids[:1]).of().shape[1]
    g = torch.Generator().manual_seed(3)
    one, other = (
        Direction(torch.randn(width, generator=g), SITE),
        Direction(40 * torch.randn(width, generator=g), SITE),
    )
    sae = dataclasses.replace(
        features.identity(SITE, width),
        weights={
            **features.identity(SITE, width).weights,
            "W_dec": one.vector.expand(2 * width, -1),
        },
    )
    pushes = {
        "one": one,
        "other": other,
        "as latents": lambda s: features.steer(sae, {3: s}),
        "nothing": one * 0.0,
    }
    found = interp.methods.steering.matched_kl_strengths(
        any_tiny, ids, pushes, kl=0.02, tolerance=0.01
    )
    base = run(any_tiny, ids, last_only=True).logits.log_softmax(-1)
    for name in ("one", "other"):
        here = run(
            any_tiny, ids, [pushes[name].push(float(found.sel(push=name).values))], last_only=True
        ).logits.log_softmax(-1)
        kl = float((base.exp() * (base - here)).sum(-1).mean())
        assert kl == pytest.approx(0.02, rel=0.011) and found.metadata["kl"][name] == pytest.approx(
            kl, rel=1e-3
        )
    values = dict(zip(found.coords["push"], found.values))
    assert values["as latents"] == pytest.approx(values["one"], rel=0.02) and np.isnan(
        values["nothing"]
    )
    with pytest.raises(ValueError, match="'nothing' has strength nan"):
        interp.methods.steering.token_logit_gain(
            any_tiny, ids, pushes, found, dict.fromkeys(pushes, [5]), [6]
        )


def test_a_search_that_is_not_monotone_still_ends_where_it_says():
    for curve in (
        lambda s: 0.3 * s,
        lambda s: s**4,
        lambda s: 5 * s / (1 + s),
        lambda s: 1e-9 if s < 50 else 2 * s,
        lambda s: s + 0.3 * np.sin(9 * s),
    ):
        search = matched_kl._search(0.5, 0.02, 60, 1.0)
        at = next(search)
        try:
            while True:
                at = search.send(float(curve(at)))
        except StopIteration as end:
            strength, reached = end.value
        assert np.isnan(strength) if curve(49) < 1e-8 else abs(curve(strength) - 0.5) <= 0.01
        assert np.isnan(strength) or reached == pytest.approx(curve(strength))


def test_gains_are_differences_of_logits(any_tiny, ids):
    width = features.activations(any_tiny, SITE, ids[:1]).of().shape[1]
    push = Direction(torch.randn(width, generator=torch.Generator().manual_seed(0)), SITE)
    prompts = [ids[0], ids[1][:5], ids[2]]
    found = interp.methods.steering.token_logit_gain(
        any_tiny,
        prompts,
        {"a": push, "b": push},
        {"a": 2.0, "b": 0.0},
        {"a": [7, 9], "b": [7]},
        [11, 12, 13],
    )
    for i, prompt in enumerate(prompts):
        change = (
            run(any_tiny, prompt, [push.push(2.0)]).logits[0, -1]
            - run(any_tiny, prompt).logits[0, -1]
        )
        expected = change[[7, 9]].mean() - change[[11, 12, 13]].mean()
        assert found.sel(push="a").examples[i] == pytest.approx(float(expected), abs=1e-4)
    assert np.abs(found.sel(push="b").examples).max() < 1e-5
    for wrong, said in (({}, "has no words"), ({"a": []}, "no words")):
        with pytest.raises(ValueError, match=said):
            interp.methods.steering.token_logit_gain(
                any_tiny, prompts, {"a": push}, {"a": 1.0}, wrong, [11]
            )
    with pytest.raises(ValueError, match="kl=0"):
        interp.methods.steering.matched_kl_strengths(any_tiny, prompts, {"a": push}, kl=0)


def test_latents_are_compared_at_one_strength(tiny, ids):
    read = features.prompt_activations(tiny, SITE, ids)
    labels = ["a", "b"] * 10
    means, random = (
        features.mean_differences(read, labels),
        features.random_sparse(read.activations, 5, sparsity=0.2),
    )
    chosen = {means.name: {"a": 0, "b": 1}, random.name: {"a": 4, "b": 2}}
    words = {"a": [7, 8], "b": [9]}
    found = features.latent_gain(tiny, ids[:3], [means, random], chosen, words, [11, 12], kl=0.01)
    assert found.values.shape == (2, 2) and found.examples.shape == (2, 2, 3)
    one = Direction(random.W_dec[2], SITE)
    strength = interp.methods.steering.matched_kl_strengths(tiny, ids[:3], {"x": one}, kl=0.01)
    alone = interp.methods.steering.token_logit_gain(
        tiny, ids[:3], {"x": one}, strength, {"x": [9]}, [11, 12]
    )
    assert found.sel(dictionary=random.name, concept="b").values == pytest.approx(
        alone.values[0], rel=0.05, abs=1e-3
    )
    assert texts.single_words(_Tokenizer(), ["the", "strange", "cat"]) == ["the", "cat"]


def test_labels_are_the_tokens_read_and_written(tiny, ids):
    read = features.prompt_activations(tiny, SITE, ids)
    x = read.activations.of()
    most = int(x[:, 3].argmax())
    width = x.shape[1]
    one = features.identity(SITE, width)
    table = features.latent_tokens(tiny, one, read, {"third": 3}, n=300)
    means = {
        int(t): float(x[read.activations.tokens[:, 0] == t, 3].clamp_min(0).mean())
        for t in read.activations.tokens[:, 0].unique()
    }
    assert (
        len(table.loc["third", "on"].split(",")) == sum(v > 0 for v in means.values())
        and float(x[most, 3]) > 0
    )
    assert table.loc["third", "latent"] == 3 and table.loc["third", "raises"]


class _Tokenizer:
    unk_token_id = None

    def __call__(self, text, add_special_tokens):
        import types

        return types.SimpleNamespace(input_ids=[1] * (1 + (len(text) > 5)))
