"""No file is believed: files of every format, cut short, flipped, or with a value of another kind.

The law: a reader returns something that can be shown, or raises ValueError or OSError with one
short sentence; no other error, no hang. `pytest -m fuzz tests/fuzz` runs many more and
prints the counts.
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from dictionaries import cross_layer
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import interp
from interp import Result, _files, _store, features, tasks, toys
from interp._errors import listed, unknown
from interp.circuits import Circuit, load, read, write
from interp.dims import Graph
from interp.features.circuits.feature_circuit import FeatureCircuit
from interp.features.graphs.attribution_graph import AttributionGraph
from interp.features.graphs.influence import Node
from interp.models.tiny_models import make
from interp.studies.claim_files import load_claims
from interp.studies.notebooks import page
from interp.studies.notebooks.run import load_table
from interp.studies.verdict_table import recorded
from interp.toys.training import recipe as recipes
from interp.toys.training import runs
from interp.widgets.features import _notes
from interp.widgets.restore import _stored

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


def write_crosscoder(folder):
    ones = {"W_enc": (5, 4), "b_enc": (4,), "W_dec": (4, 5), "b_dec": (5,), "threshold": (4,)}
    ones |= {"scale": (2,), "frequency": (4,)}
    weights = {name: torch.ones(size) for name, size in ones.items()}
    return features.Crosscoder(weights, "resid_post.1", ("a", "b"), (3, 2)).save(folder)


WRITTEN = Path(__file__).parents[1] / "features/loading/fixtures"  # what other tools wrote


def write_other(name):
    """Copies what another tool wrote; a file into a folder of its own."""

    def write(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return Path(shutil.copytree(WRITTEN / name, folder))

    return write


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
    rows = recorded("00-start-here")["fast"]["rows"][:2]
    content = {"name": "n", "rows": rows, "model": "m", "fast": True}
    return _store.write_text(path, json.dumps(content))


def write_feature_circuit(path):
    nodes = {"resid_post.0:1": 0.5, "resid_post.1:2": -0.5}
    edges = {("resid_post.0:1", "resid_post.1:2"): 0.25, ("resid_post.1:2", "output"): 1.0}
    return FeatureCircuit(nodes, edges, ("resid_post.0", "resid_post.1"), {"task": "t"}).save(path)


def attribution_graph():
    nodes = (
        Node("token", "embed", -1, 0, 5, label="a"),
        Node("feature", "mlp.0", 0, 0, 1, 2.0, 0.1),
        Node("error", "mlp.0", 0, 0),
        Node("logit", "logits", 1, 0, 7, 3.0, 0.0, "b"),
    )
    effects = np.zeros((4, 4))
    effects[1, 0], effects[3, 1], effects[3, 2] = 1.5, 2.0, -0.5
    scores, groups = {"completeness": 0.5}, {"mine": ("mlp.0:1@0",)}
    return AttributionGraph(nodes, effects, {"logits:b": 1.0}, ("a",), scores, groups)


def write_auto_circuit(path):
    values = {"blocks.0.hook_q_input": (2, 1), "blocks.0.hook_k_input": (2, 1)}
    values |= {"blocks.0.hook_v_input": (2, 1), "blocks.0.hook_mlp_in": (3,)}
    values |= {"blocks.0.hook_resid_post": (4,)}
    torch.save({name: torch.rand(size) for name, size in values.items()}, path)
    return path


def write_lines(path):
    rows = [{"clean": "The dog", "corrupted": "The cat", "answer": " is", "wrong": " was"}] * 3
    return _store.write_text(path, "\n".join(map(json.dumps, rows)))


def write_csv(path):
    text = "clean,corrupted,answer,wrong\nThe dog,The cat, is, was\nA dog,A cat, is, was\n"
    return _store.write_text(path, text)


def write_eap_ioi(path):
    head = "clean,corrupted,corrupted_hard,correct_idx,incorrect_idx"
    right, wrong = _MODEL["tiny"].tokenizer(" dog The").input_ids[-2:]
    return _store.write_text(path, f"{head}\n" + f"The dog,The cat,x,{right},{wrong}\n" * 2)


def write_auto_circuit_prompts(path):
    prompt = {
        "clean": "The dog",
        "corrupt": "The cat",
        "answers": [" is"],
        "wrong_answers": [" was"],
    }
    content = {"seq_labels": ["first", "last"], "word_idxs": {"end": 1}, "prompts": [prompt] * 2}
    return _store.write_text(path, json.dumps(content))


def write_claims(path):
    lines = ['[sparse]\nquote = "few"\nplace = "A 2024"\nmetric = "share"\nunit = "prompts"']
    lines += ['direction = "<="\nholds = 0.05\npartly = 0.1\nnull = 1.0\nneeds = [2, 1]']
    lines += ["[sparse.parts.code]\nholds = 0.04\n[sparse.parts.prose]\n"]
    return _store.write_text(path, "\n".join(lines))


def write_widget_notebook(path):
    state = {"state": {"head": "L1H1", "chosen": [1, 2]}, "widget": "attention"}
    data = {"text/plain": "attention"}
    output = nbformat.v4.new_output("display_data", data=data, metadata={"interp": state})
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])]), path
    )
    return path


def write_recipe(path):
    recipe = recipes.Recipe(name="r", data="repeated_tokens", steps=2)
    return _store.write_text(path, recipe.to_json())


def write_labels(path):
    return _store.write_text(path, json.dumps({"labels": {"3": "names"}, "mine": [3, 5]}))


def read_net(folder):
    return read_run(folder).net()


def write_net(folder):
    net = toys.net(n_layers=1, n_heads=1, d_model=4, d_vocab=8, n_ctx=6)
    recipe = recipes.Recipe(name="r", data="repeated_tokens", steps=2)
    path = _store.write_tensors(
        runs.checkpoint(folder, 0), {name: p.detach() for name, p in net.named_parameters()}
    )
    head = {"steps": [0], "sizes": [path.stat().st_size], "metadata": {}}
    head |= {"options": {"n_layers": 1, "n_heads": 1, "d_model": 4, "d_vocab": 8, "n_ctx": 6}}
    runs.finish(folder, recipe, [1.0, 0.5], head | {"words": ["a"], "bos": None})
    return folder


def write_ledger(path):
    path.unlink(missing_ok=True)
    read_ledger(path)
    return path


def read_ledger(path):
    return _MODEL["patch"](path)


def write_shards(folder):
    shutil.rmtree(folder, ignore_errors=True)
    read_shards(folder)
    return folder


def read_shards(folder):
    ids = torch.arange(5, 29).reshape(2, 12)
    return {"z": features.activations(_MODEL["tiny"], "mlp.1", ids, folder=folder).of()}


def write_training(folder):
    shutil.rmtree(folder, ignore_errors=True)
    read_training(folder)
    return folder


def read_training(folder):
    options = {"width": 8, "k": 2, "tokens": 64, "batch": 32, "folder": folder}
    with contextlib.redirect_stderr(io.StringIO()):
        return features.train(_MODEL["tiny"], "mlp.1", _MODEL["acts"], **options).weights


def write_model(folder):
    folder.mkdir(exist_ok=True)
    for file in _MODEL["saved"].iterdir():
        shutil.copy(file, folder)
    return folder


def read_model(folder):
    return interp.load(folder, progress=False).cfg.n_layers


_MODEL: dict = {}  # the tiny model, put here by a fixture


def read_lines(path):
    return tasks.read(path, _MODEL["tiny"])


def prepare(tiny, folder):
    """The model and what else some readers read with."""
    task = interp.tasks.ioi(tiny, n=2)
    acts = features.activations(tiny, "mlp.1", torch.arange(5, 101).reshape(8, 12))
    hf_model, tokenizer = make("tiny")
    hf_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

    def patch(path):
        return {"z": torch.tensor(interp.patch(tiny, task, "L0H*", resume=path).values)}

    _MODEL.update(tiny=tiny, patch=patch, acts=acts, saved=folder)


@pytest.fixture(scope="module", autouse=True)
def _model(tiny, tmp_path_factory):
    prepare(tiny, tmp_path_factory.mktemp("saved"))


# name: (suffix, write, the files within a folder that are damaged, read)
FORMATS = {
    "circuit": ("circuit.json", lambda p: circuit().save(p), load),
    "EAP-IG graph": ("g.json", lambda p: write(p, circuit(), d_model=8), read),
    "EAP-IG scores": ("g.pt", lambda p: write(p, circuit(), d_model=8), read),
    "auto-circuit": ("a.pt", write_auto_circuit, read),
    "result": ("r.npz", write_result, Result.load),
    "feature circuit": ("f.json", write_feature_circuit, FeatureCircuit.load),
    "attribution graph": (
        "g.json",
        lambda path: attribution_graph().save(path),
        AttributionGraph.load,
    ),
    "Neuronpedia's graph": (
        "n.json",
        lambda path: attribution_graph().to_neuronpedia(path, slug="s"),
        AttributionGraph.from_neuronpedia,
    ),
    "dictionary": ("sae", write_dictionary, features.load),
    "dictionary of sae-lens 3": ("old", write_other("sae_lens/3.22.2-factor"), features.load),
    "dictionary_learning": ("ae", write_other("dictionary_learning/batchtopk"), features.load),
    "sparsify": ("layers.1.mlp", write_other("sparsify/layers.1.mlp"), features.load),
    "Gemma Scope": (
        "layer_1",
        write_other("gemma_scope/gemma-scope-2b-pt-res/layer_1/width_16k/average_l0_3"),
        lambda p: features.load(p, site="resid_post.1"),
    ),
    "circuit-tracer": ("set", write_other("circuit_tracer/jumprelu"), features.load_all),
    "Gemma Scope 2": (
        "layer_1_width_16k_l0_small_affine",
        write_other(
            "gemma_scope_2/gemma-scope-2-1b-pt/transcoder_all/layer_1_width_16k_l0_small_affine"
        ),
        features.load,
    ),
    "circuit-tracer, cross-layer": (
        "clt",
        write_other("circuit_tracer/cross_layer_jumprelu"),
        features.CrossLayerTranscoder.load,
    ),
    "cross-layer transcoder": (
        "own",
        lambda p: cross_layer(d=4, n=5).save(p),
        features.CrossLayerTranscoder.load,
    ),
    "crosscoder": ("crosscoder", write_crosscoder, features.Crosscoder.load),
    "run": ("run", write_run, read_run),
    "notebook": ("n.ipynb", write_notebook, lambda p: page.export(p, p.with_suffix(".html"))),
    "verdict table": ("v.json", write_table, load_table),
    "tensors": (
        "t.safetensors",
        lambda p: _store.write_tensors(p, {"w": torch.ones(4)}),
        _files.read_tensors,
    ),
    "prompts": ("p.jsonl", write_lines, read_lines),
    "prompts, CSV": ("p.csv", write_csv, read_lines),
    "prompts, EAP-IG's IOI": ("ioi.csv", write_eap_ioi, read_lines),
    "prompts, auto-circuit's": ("p.json", write_auto_circuit_prompts, read_lines),
    "claims": ("claims.toml", write_claims, load_claims),
    "widget in a notebook": (
        "w.ipynb",
        write_widget_notebook,
        lambda p: _stored("attention", p, 0),
    ),
    "recipe": ("recipe.json", write_recipe, lambda p: recipes.from_json(p.read_text("utf-8"))),
    "labels of latents": ("labels.json", write_labels, lambda p: _notes(str(p))),
    "net of a run": ("net", write_net, read_net),
    "ledger": ("ledger.npz", write_ledger, read_ledger),
    "activations": ("acts", write_shards, read_shards),
    "training of a dictionary": ("train", write_training, read_training),
    "model folder": ("model", write_model, read_model),
}
SUMMED = (
    "tensors",
    "ledger",
    "activations",
    "training of a dictionary",
)  # those that carry a checksum: what is read is what was written
SLOW = ("circuit", "EAP-IG graph", "notebook", "model folder", "training of a dictionary")
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
    """Seconds of work, so that a busy machine hangs nothing."""

    def stop(*_):
        raise Hang(f"took more than {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


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


def shown(found):
    """What people do first with what they read."""
    repr(found)
    if hasattr(found, "_repr_html_"):
        found._repr_html_()


class Hang(BaseException):
    """Raised by the alarm; no reader catches it."""


def outcome(kind, target, whole):
    """What came of reading one damaged file: a word, and where it is a fault what was said."""
    _, _, reader = FORMATS[kind]
    try:
        with at_most(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = reader(target)
            shown(found)
    except (ValueError, OSError) as error:
        said = str(error)
        if not said or len(said) > LONGEST or "bug" in said:
            return "other", f"a message of {len(said)} characters: {said[:200]}"
        return "refused", ""
    except Hang:
        return "hang", f"more than {SECONDS} s"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "other", f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
    if kind in SUMMED and not same(found, whole):
        return "silent", "other numbers than were written"
    return "read", ""


def same(found, whole):
    """Whether two answers of a reader hold the same tensors."""
    tensors = [x if isinstance(x, dict) else x[0] for x in (found, whole)]
    return tensors[0].keys() == tensors[1].keys() and all(
        torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0]
    )


def copy(source, target):
    """The file or the folder once more, in place of what stands there."""
    if target.is_dir():
        shutil.rmtree(target)
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def run(kind, folder, n):
    """The counts of n damaged files, and what was said of each kind of fault."""
    counts, faults = Counter(), {}
    name, make, reader = FORMATS[kind]
    target, kept = folder / name, folder / f"kept-{name}"
    make(target)
    copy(target, kept)
    whole = reader(target)

    @seed(0)
    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # nothing is made smaller: every fault is counted
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def tried(data):
        copy(kept, target)
        files = [p for p in target.rglob("*") if p.is_file() and p.suffix != ".lock"]
        damage(data.draw(st.sampled_from(sorted(files) or [target])), data.draw)
        word, said = outcome(kind, target, whole)
        counts[word] += 1
        if said:
            faults.setdefault(re.sub(r"[0-9]+|'[^']*'", "", said), said)

    tried()
    assert counts["refused"] > 0
    return counts, list(faults.values())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_read_or_refused_with_a_sentence(kind, tmp_path):
    assert not run(kind, tmp_path, 4 if kind in SLOW else 12)[1]


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", FORMATS)
def test_many_damaged_files(kind, tmp_path, capsys):
    counts, faults = run(kind, tmp_path, 100 if kind in SLOW else 400)
    with capsys.disabled():
        print(
            f"\n{kind}: {sum(counts.values())} files, {counts['read']} read,"
            f" {counts['refused']} refused with a sentence, {counts['other']} other,"
            f" {counts['hang']} hangs, {counts['silent']} silent"
        )
    assert not faults, "\n".join(faults)


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


@pytest.mark.parametrize("sizes", [{"n_ctx": 64}, {"d_vocab": 10**6}, {"n_layers": 1_000}])
def test_weights_of_other_sizes_than_the_run_says_are_refused_before_they_are_made(tmp_path, sizes):
    folder = write_net(tmp_path / "net")
    content = json.loads((folder / runs.DONE).read_text())
    content["options"] |= sizes
    (folder / runs.DONE).write_text(json.dumps(content))
    with at_most(3), pytest.raises(ValueError, match="are not of the model that its run.json"):
        read_net(folder)


READERS = ["circuit", "EAP-IG graph", "EAP-IG scores", "result", "feature circuit", "notebook"]
READERS += ["tensors", "prompts", "prompts, CSV", "claims", "widget in a notebook"]


@pytest.mark.parametrize("kind", READERS)
def test_a_pipe_or_a_device_is_no_file(kind, tmp_path):
    name, _, reader = FORMATS[kind]
    pipe, device = tmp_path / f"pipe-{name}", tmp_path / f"device-{name}"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")

    def stop(*_):
        raise Hang("a pipe was waited for")

    before = signal.signal(signal.SIGALRM, stop)  # who waits works for no second of `at_most`
    signal.alarm(60)
    try:
        for path in (pipe, device):
            with pytest.raises(
                (ValueError, OSError), match="pipe or a device|no such file|no notebook"
            ):
                reader(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_message_lists_no_more_than_a_screen():
    assert listed(["a", "b", "c"], 2) == "a, b, ..."
    names = ["x" * 10_000 + str(i) for i in range(1_000)]
    assert len(listed(names)) < LONGEST and len(str(unknown("site", names[1], names))) < LONGEST
    with pytest.raises(ValueError) as caught:
        tasks.read([{**dict.fromkeys(names, 1), "prompts": "a"}], _MODEL["tiny"])
    assert len(str(caught.value)) < LONGEST


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
