"""No file is believed: files of every format, cut short, flipped, or with a value of another kind.

The law: a reader returns something that can be shown, or raises ValueError or OSError with one
short sentence; no other error, no hang. `pytest -m fuzz tests/fuzz` runs many more and
prints the counts.
"""

import json
import signal
import warnings
from collections import Counter
from contextlib import contextmanager

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from interp import Result, _files, _store, features, tasks
from interp.circuits import Circuit, load, read, write
from interp.dims import Graph
from interp.features.circuits.feature_circuit import FeatureCircuit
from interp.studies.notebooks import page
from interp.studies.notebooks.run import load_table
from interp.toys.training import recipe as recipes
from interp.toys.training import runs

SECONDS = 20  # of one reader; what takes longer hangs
LONGEST = 1_000  # characters of a message
GRAPH = Graph(2, 2, 1, False)
EDGES = {("embed", "mlp.0.in"): 0.5, ("mlp.0", "L1H1.q_in"): -0.25, ("L1H0", "logits.in"): None}


def circuit():
    evaluation = {"faithfulness": 0.9, "interval": [0.8, 1.0], "n": 8, "random": {"sets": 10}}
    task = {"name": "ioi", "n": 8, "seed": 0, "options": {}}
    source = {"kind": "discovered", "method": "eap", "options": {"steps": 5}}
    return Circuit(EDGES, GRAPH, "m", task, {"mover": ["L1H0"]}, source, evaluation)


def write_result(path):
    examples = np.arange(12.0).reshape(2, 3, 2)
    coords = {"layer": [0, 1], "head": ["a", "b", "c"]}
    dims, about = ("layer", "head"), {"task": "ioi", "at": {"pos": "END"}}
    return Result(examples.mean(-1), dims, coords, "r", "logits", about, examples).save(path)


def write_dictionary(folder):
    d, n, generator = 6, 10, torch.Generator().manual_seed(0)
    weights = {"W_enc": (d, n), "b_enc": (n,), "W_dec": (n, d), "b_dec": (d,)}
    weights = {name: torch.randn(size, generator=generator) for name, size in weights.items()}
    return features.Dictionary("topk", weights, "resid_post.1", settings={"k": 3}).save(folder)


def write_run(folder):
    recipe = recipes.Recipe(name="r", data="repeated_tokens", steps=2)
    folder.mkdir(exist_ok=True)
    _store.write_tensors(runs.checkpoint(folder, 0), {"w": torch.ones(3)})
    size = runs.checkpoint(folder, 0).stat().st_size
    head = {"steps": [0], "sizes": [size], "metadata": {}, "options": {"d_vocab": 8}}
    runs.finish(folder, recipe, [1.0, 0.5], head | {"words": ["a"], "bos": None})
    return folder


def read_run(folder):
    run = runs.opened(folder)
    if run is None:
        raise ValueError(f"{folder} is no finished run")
    return run


def write_notebook(path):
    v4 = nbformat.v4
    outputs = [
        v4.new_output("stream", text="1\n"),
        v4.new_output("display_data", data={"text/html": "<b>x</b>", "image/png": "iVBORw0KGgo="}),
    ]
    code = v4.new_code_cell("1", outputs=outputs, execution_count=1)
    nbformat.write(v4.new_notebook(cells=[v4.new_markdown_cell("# T"), code]), path)
    return path


def write_table(path):
    rows = [{"claim": "c", "verdict": "holds", "effect": 0.5}]
    return _store.write_text(
        path, json.dumps({"name": "n", "rows": rows, "model": "m", "fast": True})
    )


def write_feature_circuit(path):
    nodes = {"resid_post.0:1": 0.5, "resid_post.1:2": -0.5}
    edges = {("resid_post.0:1", "resid_post.1:2"): 0.25, ("resid_post.1:2", "output"): 1.0}
    return FeatureCircuit(nodes, edges, ("resid_post.0", "resid_post.1"), {"task": "t"}).save(path)


def write_auto_circuit(path):
    values = {"blocks.0.hook_q_input": (2, 1), "blocks.0.hook_k_input": (2, 1)}
    values |= {"blocks.0.hook_v_input": (2, 1), "blocks.0.hook_mlp_in": (3,)}
    values |= {"blocks.0.hook_resid_post": (4,)}
    torch.save({name: torch.rand(size) for name, size in values.items()}, path)
    return path


def write_lines(path):
    rows = [{"clean": "a b", "corrupted": "a c", "answer": " x", "wrong": " y"}] * 3
    return _store.write_text(path, "\n".join(map(json.dumps, rows)))


_MODEL: dict = {}  # the tiny model, put here by a fixture


def read_lines(path):
    return tasks.read(path, _MODEL["tiny"])


@pytest.fixture(scope="module", autouse=True)
def _model(tiny):
    _MODEL["tiny"] = tiny


# name: (suffix, write, the files within a folder that are damaged, read)
FORMATS = {
    "circuit": ("circuit.json", lambda p: circuit().save(p), load),
    "EAP-IG graph": ("g.json", lambda p: write(p, circuit(), d_model=8), read),
    "EAP-IG scores": ("g.pt", lambda p: write(p, circuit(), d_model=8), read),
    "auto-circuit": ("a.pt", write_auto_circuit, read),
    "result": ("r.npz", write_result, Result.load),
    "feature circuit": ("f.json", write_feature_circuit, FeatureCircuit.load),
    "dictionary": ("sae", write_dictionary, features.load),
    "run": ("run", write_run, read_run),
    "notebook": ("n.ipynb", write_notebook, lambda p: page.export(p, p.with_suffix(".html"))),
    "verdict table": ("v.json", write_table, load_table),
    "tensors": (
        "t.safetensors",
        lambda p: _store.write_tensors(p, {"w": torch.ones(4)}),
        _files.read_tensors,
    ),
    "prompts": ("p.jsonl", write_lines, read_lines),
}
STRANGE = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        10**9,
        10**400,
        1e308,
        "",
        "x" * 5_000,
        "L0H0",
        [],
        {},
        [[]],
        {"a": 1},
        [None],
    ]
    + [[1, 2, 3], "\n", "٢", float("nan"), float("inf"), -1.5]
)


@contextmanager
def at_most(seconds):
    def stop(*_):
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def places(content, at=()):
    """Every place in plain JSON."""
    yield at
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from places(value, (*at, key))


def changed(content, draw):
    """The content with one value replaced, dropped, doubled or renamed."""
    content = json.loads(json.dumps(content))
    all_places = [p for p in places(content) if p]
    if not all_places:
        return draw(STRANGE)
    *way, last = draw(st.sampled_from(all_places))
    inner = content
    for key in way:
        inner = inner[key]
    how = draw(st.sampled_from(["replace", "replace", "drop", "rename"]))
    if how == "drop":
        del inner[last]
    elif how == "rename" and isinstance(inner, dict):
        inner[f"{last}x"] = inner.pop(last)
    else:
        inner[last] = draw(STRANGE)
    return content


def damage(path, draw):
    """Damages one file in place: cut, flipped, nested, or one value changed."""
    raw = path.read_bytes()
    ways = ["cut", "flip", "grow"]
    try:
        lines = path.suffix == ".jsonl"
        content = [json.loads(x) for x in raw.splitlines()] if lines else json.loads(raw)
        ways += ["change"] * 6 + ["deep"]
    except ValueError:
        content, lines = None, False
    if content is None and path.suffix == ".pt":
        content = torch.load(path, weights_only=True)
        ways += ["tensors"] * 4
    how = draw(st.sampled_from(ways))
    if how == "cut":
        raw = raw[: draw(st.integers(0, len(raw)))]
    elif how == "flip":
        at = draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + bytes([raw[at] ^ (1 << draw(st.integers(0, 7)))]) + raw[at + 1 :]
    elif how == "grow":
        raw += draw(st.binary(min_size=1, max_size=20))
    elif how == "deep":
        raw = b"[" * 100_000
    elif how == "change":
        new = changed(content, draw)
        whole = isinstance(new, list) and lines
        raw = ("\n".join(map(json.dumps, new)) if whole else json.dumps(new)).encode()
    else:
        key = draw(st.sampled_from(sorted(content)))
        content[key] = draw(
            st.sampled_from(
                [None, 3, "x", [], torch.ones(0), torch.ones(2, 2, 2), torch.tensor(1j)]
                + [torch.full((4, 4), torch.nan), torch.ones(3, dtype=torch.int8)]
            )
        )
        if draw(st.booleans()):
            del content[key]
        torch.save(content, path)
        return
    path.write_bytes(raw)


def one(kind, folder, draw, counts):
    """One damaged file, read; what came of it is counted."""
    name, make, reader = FORMATS[kind]
    target = folder / name
    made = make(target)
    files = sorted(p for p in made.rglob("*") if p.is_file()) if made.is_dir() else [made]
    damage(draw(st.sampled_from(files)), draw)
    with at_most(SECONDS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = reader(target)
            repr(found)
            if hasattr(found, "_repr_html_"):
                found._repr_html_()
            counts["read"] += 1
        except (ValueError, OSError) as error:
            said = str(error)
            assert said and len(said) <= LONGEST and "bug" not in said, said[:2_000]
            counts["refused"] += 1


def run(kind, folder, n):
    counts: Counter = Counter()

    @seed(0)
    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def tried(data):
        one(kind, folder, data.draw, counts)

    tried()
    assert counts["refused"] > 0
    return counts


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_read_or_refused_with_a_sentence(kind, tmp_path):
    run(kind, tmp_path, 12)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", FORMATS)
def test_many_damaged_files(kind, tmp_path, capsys):
    counts = run(kind, tmp_path, 400)
    with capsys.disabled():
        print(f"\n{kind}: {sum(counts.values())} files, {dict(counts)}, other 0, hangs 0")


# --- what would fill the memory or never end ------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_layers": 10**9},
        {"n_layers": 1_000, "n_heads": 1_000},
        {"n_heads": 10**30},
        {"n_kv_heads": 0},
    ],
)
def test_a_giant_graph_ends_at_once(tmp_path, sizes):
    path = circuit().save(tmp_path / "c.json")
    content = json.loads(path.read_text())
    content["graph"] |= sizes
    path.write_text(json.dumps(content))
    with at_most(3), pytest.raises(ValueError, match=r"c\.json.*graph"):
        load(path)


def test_a_file_that_unpacks_to_gigabytes_ends_at_once(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, header=np.zeros(60_000_000, np.uint8), values=np.zeros(1))
    with at_most(3), pytest.raises(ValueError, match=r"bomb\.npz.*head claims 60 MB"):
        Result.load(path)


def test_a_pickle_is_not_run(tmp_path):
    import pickle

    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return (open, (str(canary), "w"))

    for name, content in (("a.pt", Evil()), ("b.npz", np.array([Evil()], dtype=object))):
        path = tmp_path / name
        if name.endswith(".pt"):
            path.write_bytes(pickle.dumps(content))
        else:
            np.savez(path, header=content, values=content, allow_pickle=True)
        with pytest.raises(ValueError):
            (read if name.endswith(".pt") else Result.load)(path)
        assert not canary.exists()


def test_a_flipped_bit_in_tensors_is_noticed(tmp_path):
    path = _store.write_tensors(tmp_path / "t.safetensors", {"w": torch.ones(64)}, {"k": "v"})
    tensors, metadata = _files.read_tensors(path)
    assert metadata == {"k": "v"} and torch.equal(tensors["w"], torch.ones(64))
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 16
    path.write_bytes(bytes(raw))
    with pytest.raises(ValueError, match="damaged"):
        _files.read_tensors(path)


def test_the_sum_of_words_changes_with_any_byte(tmp_path):
    raw = bytearray(np.random.default_rng(0).integers(0, 256, 1_003, np.uint8).tobytes())
    path = tmp_path / "f"
    path.write_bytes(bytes(raw))
    whole = _files.word_sum(path)
    for at in (0, 500, 999, 1_002):
        raw[at] ^= 64
        path.write_bytes(bytes(raw))
        assert _files.word_sum(path) != whole
        raw[at] ^= 64


def test_a_full_disk_names_the_path_and_how_much_was_needed(tmp_path):
    import resource

    path = _store.write_bytes(tmp_path / "kept.bin", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"kept\.bin.*2\.0 MB"):
            _store.write_bytes(path, bytes(2_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
