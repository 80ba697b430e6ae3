"""Before `interp` is imported: shapes are checked, no hub is asked, one thread. Then the models
that tests share.
"""

import os

# set here and not in a Makefile, so that a bare `pytest` behaves the same; child processes inherit
# them
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# one thread: tests may share their cores, where two spinning threads ran ten times slower than one
os.environ["OMP_NUM_THREADS"] = "1"
for recording in ("INTERP_RECORD", "INTERP_ROWS", "INTERP_NOTEBOOKS"):
    os.environ.pop(
        recording, None
    )  # a developer's shell must not make a test write into the repository

from jaxtyping import install_import_hook

# an int is a number: 2 is fine where a float is asked for
install_import_hook("interp", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import pytest
from browser import browser, lab, open_notebook  # noqa: F401  fixtures

TINY = ("tiny", "tiny-gpt2", "tiny-neox")


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marker
def pytest_collection_modifyitems(items):
    """A test's fixtures say what it needs: the browser, the default model, another architecture."""
    for item in items:
        uses = set(getattr(item, "fixturenames", ()))
        if uses & {"browser", "lab", "open_notebook"}:
            item.add_marker("browser")
        if "smollm2" in uses:
            item.add_marker("model")
        if hasattr(item, "callspec") and item.callspec.params.get("any_tiny") in TINY[1:]:
            item.add_marker("architecture")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import sys

    if "torch" in sys.modules:  # else OMP_NUM_THREADS says it, when a test imports torch
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def _tiny():
    """Every tiny model, made once; frozen, and no verb changes one."""
    from interp import models

    return {kind: models.tiny(kind) for kind in TINY}


@pytest.fixture(scope="session")
def tiny(_tiny):
    """Llama-style: grouped queries (4 heads, 2 KV heads), RMSNorm, rotary positions."""
    return _tiny["tiny"]


@pytest.fixture(scope="session")
def tiny_gpt2(_tiny):
    """GPT-2-style: LayerNorm, learned positions, biases."""
    return _tiny["tiny-gpt2"]


@pytest.fixture(scope="session")
def tiny_neox(_tiny):
    """Pythia-style: attention and MLP in parallel."""
    return _tiny["tiny-neox"]


@pytest.fixture(scope="session", params=TINY)
def any_tiny(request, _tiny):
    """Each of the tiny models in turn."""
    return _tiny[request.param]


@pytest.fixture(scope="session")
def smollm2():
    """The default model, fetched where it is missing; where that cannot be, CI fails and a laptop
    skips.
    """
    import interp

    try:
        return interp.load()
    except (ConnectionError, OSError) as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs the default model: {error}")
