"""Every public function, handed what does not belong there: one sentence of ours, and no traceback
out of torch, pandas or Python.
"""

import contextlib
import inspect
import io
import pickle
import subprocess
import sys
import traceback
import typing
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch

import interp
from interp._arguments import checked, fits, quoted, words
from interp._lazy import homes

ROOT = Path(interp.__file__).parent
WRONG = {
    "text": "hello",
    "texts": ["a", "b"],
    "table": pd.DataFrame({"prompt": ["a b"]}),
    "None": None,
    "number": 3,
    "mapping": {"a": 1},
}
# they load, fetch or train when they are given a name
WORK = {
    "interp.load",
    "interp.models.fetch",
    "interp.models.remove",
    "interp.scale.loaded",
    "interp.texts.hub",
    "interp.toys.load_or_train",
    "interp.toys.train_seeds",
}


def public_functions() -> dict[str, typing.Callable]:
    """Each function that people reach through a package, by its name."""
    found: dict[str, typing.Callable] = {}
    for stub in sorted(ROOT.rglob("__init__.pyi"), key=lambda p: len(p.parts)):
        package = ".".join(("interp", *stub.parent.relative_to(ROOT).parts))
        for name in homes(stub):
            value = getattr(import_module(package), name)
            if inspect.isfunction(value) and value not in found.values():
                found[f"{package}.{name}"] = value
    for name in (*interp.tasks.OWN, *interp.tasks.TASKS, "make", "text", "repetition_loss"):
        found.setdefault(f"interp.tasks.{name}", getattr(interp.tasks, name))
    return found


FUNCTIONS = public_functions()


def needed(function) -> list[inspect.Parameter]:
    """The parameters that a call must give."""
    return [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]


@pytest.fixture(scope="module")
def right(tiny):
    task = interp.tasks.ioi(tiny, n=2)
    scores = interp.discover(tiny, task, "eap")
    result = interp.patch(tiny, task, "L*H*")
    return {
        "model": tiny,
        "task": task,
        "circuit": interp.Circuit.top(scores, 20),
        "scores": scores,
        "result": result,
        "a": result,
        "b": result,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - WORK))
def test_what_does_not_belong_is_answered_in_a_sentence(name, right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, raw = FUNCTIONS[name], []
    for parameter in needed(function):
        for kind, value in WRONG.items():
            given = {p.name: right.get(p.name, "L*H*") for p in needed(function)}
            given[parameter.name] = value
            try:
                with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                    warnings.simplefilter("ignore")
                    function(**given)
            except (ValueError, TypeError, FileNotFoundError) as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                if ROOT not in Path(last.filename).parents or len(str(error)) < 20:
                    raw.append(f"{parameter.name}={kind}: {error!r}")
            except Exception as error:
                raw.append(f"{parameter.name}={kind}: {error!r}")
    assert not raw, "\n".join(raw)


def test_the_sentence_quotes_what_was_typed_and_shows_the_call(tiny):
    task = interp.tasks.ioi(tiny, n=2)
    cases = [
        (lambda: interp.patch("gpt2", task, "L*H*"), "got 'gpt2': model = interp.load.'gpt2'."),
        (lambda: interp.tasks.ioi(None), "interp.tasks.ioi: .* a model, got None"),
        (lambda: interp.patch(tiny, task), "missing a required argument: 'where' .*patch.model"),
        (lambda: interp.patch(tiny, task, None), "an address such as 'L10H7'.*not None"),
        (lambda: interp.patch(tiny, task, "L*H*", metrics="kl"), "did you mean 'metric'"),
        (lambda: interp.evaluate(tiny, task, "c.json"), "Circuit.load.'circuit.json'.*'c.json'"),
        (lambda: interp.head_scores(tiny, task), "by name, on=task"),
        (lambda: interp.run(tiny, "The dog", None), "interventions is a list of Interventions"),
        (lambda: interp.Circuit.top("ten"), "missing a required argument: 'n'.*top.scores, 500"),
        (lambda: interp.Circuit.top(None, 3), "interp.Circuit.top: scores is a Result.*None"),
        (lambda: interp.find(None), "words is a text, not None"),
        (
            lambda: interp.methods.ablation.token_set("The dog", "END"),
            "task is a task, not 'The dog'.*interp.tasks.pairs",
        ),
    ]
    for call, says in cases:
        with pytest.raises(TypeError, match=says):
            call()


@pytest.mark.parametrize(
    "value, kind, fit",
    [
        ("ab", Sequence[str], False),  # a text is not a list of its letters
        (["ab"], Sequence[str], True),
        (["a", 1], Sequence[str], False),
        (torch.tensor([1, 2]), Sequence[int], True),
        (torch.tensor(3), int, True),
        (3, float, True),
        (0.5, int, False),
        ({"a": [1]}, Mapping[str, Sequence[int]], True),
        ({"a": 1}, Mapping[str, Sequence[int]], False),
        (None, str | None, True),
        (interp.Site.parse("L1H1"), str, True),
        (pd.DataFrame({"a": [1]}), Sequence[str], False),
        ((1, 2.5), tuple[int, float], True),
        (len, typing.Callable, True),
        ("x", typing.Any, True),
    ],
)
def test_kinds_by_hand(value, kind, fit):
    assert fits(value, kind) is fit


def test_words_of_kinds():
    assert words(Sequence[str] | None) == "a list of texts, or None"
    assert words(Mapping[str, float]) == "a dictionary of numbers by name"
    assert words(Mapping[str, interp.methods.lenses.Lens]) == "a dictionary of Lenses by name"
    assert quoted("x" * 100).startswith("'xxx") and len(quoted("x" * 100)) < 62
    assert quoted([1]) == "the list [1]" and quoted(torch.ones(2, 3)) == "a Tensor of shape (2, 3)"


def test_help_shows_the_options_of_a_method_and_types_without_their_modules():
    graph = interp.features.AttributionGraph
    assert str(inspect.signature(graph.intervene)).endswith("n: int = 10) -> Result")
    for method in (graph.intervene, graph.plot, interp.features.FeatureCircuit.plot):
        text = inspect.getdoc(method)
        assert "Args:" in text and "A graph." not in text and "see `" not in text
    pairs = str(inspect.signature(interp.tasks.pairs))
    assert "positions: Mapping[str, Any] | None = None" in pairs and "collections" not in pairs


def test_what_fits_passes_through_unchanged():
    def add(a: int, b: float = 1.0, *rest: int, c: str = "", **more: int) -> tuple:
        return a, b, rest, c, more

    same = checked(add, "interp.add")
    for args, options in [((1,), {}), ((1, 2, 3), {"c": "x", "d": 4})]:
        assert same(*args, **options) == add(*args, **options)
    with pytest.raises(TypeError, match="rest are a whole number, not 'x'"):
        same(1, 2, "x")
    assert str(inspect.signature(same)) == str(inspect.signature(add))


def test_a_function_is_one_object_and_can_be_pickled():
    assert interp.patch is interp.methods.patching.patch and interp.chat is interp.tasks.chat
    for function in (interp.patch, interp.tasks.ioi, interp.methods.weights.composition):
        assert pickle.loads(pickle.dumps(function)) is function


NUMPY = """
import numpy as np, pandas as pd, torch, interp
tiny = interp.load("tiny")
task, texts, width = interp.tasks.ioi(tiny, n=2), ["The dog", "The cat sat"], tiny.cfg.d_model
scores = interp.discover(tiny, task, "eap")
site = interp.Site.parse
lens = lambda x: interp.logit_lens(tiny, x)
patch = lambda x: interp.patch(tiny, task, x)
for call, plain, other in [
    (lens, texts, pd.Series(texts)),
    (lens, texts, np.array(texts)),
    (patch, "L0H*", site("L0H*")),
    (patch, ["L0H1"], [site("L0H1")]),
    (patch, ["L0H1"], {"L0H1"}),
    (patch, {"a": "L0H1"}, {"a": site("L0H1")}),
    (lambda x: interp.ablate(tiny, task, x), ["L0H1", "mlp.1"], {"L0H1": 1, "mlp.1": 1}.keys()),
    (lambda x: interp.discover(tiny, task, "eap_ig", steps=x), 2, np.int64(2)),
    (lambda x: interp.faithfulness_curve(tiny, task, scores, x, sets=1), [0.25, 1.0],
     torch.tensor([0.25, 1.0])),
    (lambda x: interp.steer(tiny, task, interp.Direction(x, "resid_post.1@*"), strengths=(0, 1)),
     torch.ones(width), np.ones(width, dtype=np.float32)),
    (lambda x: interp.attention_knockout(tiny, task, x, "S1"), -1, np.int64(-1)),
]:
    np.testing.assert_array_equal(call(plain).values, call(other).values, str(other))
print("the same")
"""


@pytest.mark.slow
def test_numpy_pandas_and_sites_are_as_good_as_python_lists():
    # in a Python of its own: here the annotations are checked, which say less than what is taken
    ran = subprocess.run([sys.executable, "-c", NUMPY], capture_output=True, text=True)
    assert ran.stdout.endswith("the same\n"), ran.stderr[-2000:]


def test_one_where_several_belong_is_told_to_stand_in_a_list(tiny):
    zero = interp.Intervention("L0H1", interp.edits.zero())
    with pytest.raises(TypeError, match=r"a list of texts or Sites .*keep=\[...\]"):
        interp.run(tiny, "The dog", keep="L0H1")
    with pytest.raises(TypeError, match=r"interventions=\[...\]"):
        interp.run(tiny, "The dog", zero)


def test_arguments_in_the_wrong_order_are_counted(tiny):
    with pytest.raises(TypeError, match="the second argument is a model, got 'prompts.csv'"):
        interp.tasks.read(tiny, "prompts.csv")
    with pytest.raises(TypeError, match=r"got 'The dog ran': model = interp.load\(\)"):
        interp.logit_lens("The dog ran", tiny)
