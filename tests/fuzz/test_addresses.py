"""An address means what was typed: what is accepted says so when it is written again, and what is
not accepted is quoted in one short sentence.
"""

import re

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

from interp.sites import Site

PIECES = ["L", "0", "1", "01", "10", "H", "KV", "*", ".", "@", "+", "-", "q", "k", "v", "z", "_in"]
PIECES += ["mlp", "resid_post", "resid_pre", "embed", "logits", "in", "post", "END", "S2", "neuron"]
PIECES += [" ", "\n", "\t", "٢", "𝟙", "₁", "é", "[", "]", ":", ",", "/", "\x00", "9" * 50]
STRINGS = st.one_of(
    st.text(max_size=20),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.from_regex(r"L\d+H\d+(\.\w+)?(@\w+)?", fullmatch=True),
)


def check(text):
    try:
        site = Site.parse(text)
    except ValueError as error:
        assert len(str(error)) < 1_000
        return False
    written = str(site)
    assert Site.parse(written) == site and written == text, (text, written)
    assert not re.search(r"[^\x20-\x7e]", text.partition("@")[0]), text
    assert not re.search(r"(?<![\w.])[A-Za-z]+0\d", text.partition("@")[0]), text
    return True


def run(n):
    accepted = []

    @seed(0)
    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @example("L1H0\n")
    @example("L١H٢")
    @example("L0H𝟙")
    @example("L1H01")
    @example("L0H0@+2")
    @example("L0H0@-0")
    @example("x" * 400_000)
    @example("L" + "9" * 5_000 + "H0")
    @given(STRINGS)
    def tried(text):
        accepted.append(check(text))

    tried()
    return accepted


def test_what_is_accepted_is_what_was_typed():
    assert any(run(400))


@pytest.mark.fuzz
def test_many_strings(capsys):
    accepted = run(20_000)
    with capsys.disabled():
        print(f"\n{len(accepted)} strings: {sum(accepted)} accepted as typed, others refused")
