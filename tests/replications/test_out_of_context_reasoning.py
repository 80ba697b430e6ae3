"""Measures of out-of-context reasoning, worked out on maps wired by hand; and what superposition is
judged by.
"""

import numpy as np
import pytest
import torch

from interp import toys
from interp.replications import superposition_scaling as toy
from interp.replications.out_of_context_reasoning import answers, margins, norms, questions
from interp.results import Result
from interp.toys.data import make
from interp.toys.model.transformer import wrapped

PARTS = dict(
    n_layers=1,
    n_heads=1,
    embed="identity",
    tied=True,
    norm="none",
    positions="none",
    attention="linear",
    attention_scale=1.0,
)


@pytest.fixture
def source():
    return make("out_of_context_reasoning", names=8, cities=2, noise=2, n_ctx=5, share=0.25)


def wired(source, gain=1.0, query=1.0):
    """A net that infers: each name writes its city and what that implies, each question its kind of
    answer.
    """
    d = source.d_vocab
    net = toys.net(d_vocab=d, d_model=d, n_ctx=5, identity=("K", "V"), query_start=0.0, **PARTS)
    kinds = [slice(2, 2 + source.cities), slice(2 + source.cities, 2 + 2 * source.cities)]
    with torch.no_grad():
        out = torch.zeros(d, d)  # [from to]
        for name, city in enumerate(source.city_of.tolist()):
            out[
                2 + 2 * source.cities + name,
                [2 + city, 2 + source.cities + int(source.implied_by[city])],
            ] = gain
        for asked, kind in enumerate(kinds):
            out[asked, kind] = gain
        net.blocks[0].attn.o.weight.copy_(out.T)
        reads = torch.zeros(d)
        reads[:2], reads[2 + 2 * source.cities : -source.noise - 1] = query, query
        net.blocks[0].attn.q.weight[:, -1] = reads  # END asks
    return net


def test_a_wired_net_infers_and_its_margin_is_known(source):
    net = wired(source, gain=3.0, query=0.5)
    attn = net.blocks[0].attn
    lead = margins(attn.W_V[0] @ attn.W_O[0], attn.W_Q[0][-1], source)
    assert lead.tolist() == pytest.approx(
        [1.5] * 16
    )  # city and kind agree on one token: 3 * .5 twice, once elsewhere
    at, answer, trained = questions(source)
    assert trained.sum() == 8 + 2 and len(answer) == 16
    found = answers(source, n=40)(wrapped(net, "wired"))
    assert found.sel(measure="accuracy").values.tolist() == [1, 1, 1] and found.sel(
        measure="rank"
    ).values.tolist() == [1, 1, 1]


def test_norms_at_margin_one_know_no_scale(source):
    one, other = norms(wired(source), source), norms(wired(source, gain=7.0, query=0.3), source)
    for key in ("nuclear at margin 1", "frobenius at margin 1", "rank"):
        assert one[key] == pytest.approx(other[key], rel=1e-4)
    assert other["margin"] == pytest.approx(2.1, rel=1e-5) and one["margin"] == pytest.approx(1)
    # 8 names write 2 tokens, 2 questions write 2 tokens each
    assert (
        one["frobenius"]
        == pytest.approx(20**0.5, rel=1e-5)
        == norms(wired(source), source, block=True)["frobenius"]
    )
    assert one["nuclear"] >= one["frobenius"] and one["rank"] == pytest.approx(
        (one["nuclear"] / one["frobenius"]) ** 2
    )


def test_norms_refuse_what_has_no_margin(source):
    with pytest.raises(ValueError, match="train longer"):
        norms(wired(source, query=-1.0, gain=0.0), source)
    with pytest.raises(ValueError, match="one layer with one head"):
        norms(toys.net(d_vocab=source.d_vocab, d_model=16, n_layers=2), source)


def test_queries_start_where_they_are_told():
    net = toys.net(d_vocab=8, d_model=4, query_start=0.25)
    plain = toys.net(d_vocab=8, d_model=4)
    assert (net.blocks[0].attn.q.weight == 0.25).all() and not torch.equal(
        plain.blocks[0].attn.q.weight, net.blocks[0].attn.q.weight
    )
    assert torch.equal(
        plain.blocks[0].attn.v.weight, net.blocks[0].attn.v.weight
    )  # the other weights are drawn as before


def test_exponents_and_spreads_by_seed():
    m = [1, 2, 4]
    by_seed = np.stack([[float(w) ** -p for w in m] for p in (1.0, 0.5)], -1)[
        None
    ]  # [alpha m seed]
    overlap = np.stack([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]], -1)[None]
    cells = np.stack([by_seed, np.ones_like(by_seed), overlap])
    coords = {"measure": list(toy.MEASURES), "alpha": [0.0], "m": m}
    found = Result(cells.mean(-1), tuple(coords), coords, "", "", {}, cells)
    assert toy.exponents_by_seed(found).examples[0] == pytest.approx(
        [1.0, 0.5]
    ) and toy.exponents_by_seed(found).values[0] == pytest.approx(0.75)
    assert toy.spread_over_m(found).examples[0].tolist() == [3.0, 1.0]


def test_overlaps_of_groups():
    random = torch.randn(600, 16, generator=torch.Generator().manual_seed(0))
    assert toy.group_overlaps(random, groups=6, size=200).mean() == pytest.approx(1, rel=0.1)
    assert toy.group_overlaps(torch.ones(50, 16), groups=2, size=20) == pytest.approx([16, 16])
    with pytest.raises(ValueError, match="needs two"):
        toy.group_overlaps(random[:1])
