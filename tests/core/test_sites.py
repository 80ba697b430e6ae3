"""Addresses: every one round-trips, and a wrong one is answered with a right one."""

import pytest

from interp import sites
from interp.models.bridge import Dims, dims
from interp.sites import Site, expand

SMOL = Dims(30, 9, 3, 576, 64, 1536, 49152, 8192, "rms", False)


def every_address(d: Dims) -> list[Site]:
    found = []
    for (family, part), row in sites.TABLE.items():
        if family == "resid_mid" and d.parallel:
            continue
        star = Site(
            family,
            part,
            "*" if "{l}" in row.hook else None,
            "*" if family in ("head", "kv") else None,
        )
        found += expand(star, d).sites
    return found


def test_every_address_of_every_model_round_trips(any_tiny):
    d = dims(any_tiny)
    everywhere = every_address(d)
    assert len(everywhere) == len(set(map(str, everywhere)))
    for site in everywhere:
        for pos in (None, 4, -1, "END", "S1+1", "*"):
            assert Site.parse(str(site.at(pos))) == site.at(pos)


def test_every_address_names_a_hook_of_the_model(any_tiny):
    for site in every_address(dims(any_tiny)):
        assert site.hook in any_tiny.hook_dict, site


def test_stars_are_the_axes():
    grid = expand("L*H*", SMOL)
    assert (
        grid.dims == ("layer", "head")
        and grid.shape == (30, 9)
        and str(grid.sites[9 * 10 + 7]) == "L10H7"
    )
    assert expand("resid_pre.*@*", SMOL, 15).shape == (30, 15)
    assert expand("L3KV*.k", SMOL).dims == ("kv_head",)
    assert expand("mlp.3.post#*", SMOL).shape == (1536,)
    assert expand("L10H7", SMOL).shape == ()


def test_graph_sizes_by_hand():
    senders, receivers = sites.senders(SMOL), sites.receivers(SMOL)
    assert len(senders) == 1 + 30 * 10 == 301
    assert len(receivers) == 30 * (9 + 3 + 3 + 1) + 1 == 481
    assert sum(sites.precedes(s, r, SMOL) for s in senders for r in receivers) == 70_651


def test_a_kv_head_feeds_its_query_heads():
    assert [str(s) for s in sites.feeds(Site.parse("L9KV2.k"), SMOL)] == ["L9H6", "L9H7", "L9H8"]


@pytest.mark.parametrize(
    "typed, says",
    [
        ("h10.7", "try 'L10H7'"),
        ("L9H7.k", "try 'L9KV0.k'"),
        ("L9KV2", "try 'L9KV2.k'"),
        ("mpl.3", "did you mean 'mlp'"),
        ("mlp.3.pattern", "mlp has .pre, .post, .in"),
        ("mlp", "needs a layer"),
        ("embed.3", "no layers"),
        ("L3H1#5", "only .pre and .post of an MLP have neurons"),
        (7, "an address is a string"),
    ],
)
def test_a_wrong_address_is_answered_with_a_right_one(typed, says):
    with pytest.raises(ValueError) as error:
        Site.parse(typed)
    assert says in str(error.value) and str(typed) in str(error.value)


@pytest.mark.parametrize(
    "typed, says",
    [
        ("L30H0", "layers 0 to 29"),
        ("L0H9", "heads 0 to 8"),
        ("L9KV3.k", "KV heads 0 to 2"),
        ("mlp.3.post#1536", "neurons 0 to 1535"),
        ("resid_pre.5@15", "the prompt has 15 tokens"),
        ("resid_pre.5@S3", "did you mean 'S2'"),
    ],
)
def test_an_address_the_model_lacks_is_refused_with_the_range(typed, says):
    with pytest.raises(ValueError, match=says):
        expand(typed, SMOL, 15, {"S2": None, "END": None})


def test_parallel_blocks_have_no_middle(tiny_neox):
    with pytest.raises(ValueError, match="no resid_mid"):
        expand("resid_mid.1", dims(tiny_neox))
