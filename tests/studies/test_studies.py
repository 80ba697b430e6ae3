"""Verdict rules by hand, the record, the builder and the runners on a toy study that needs no
model.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from run_source import run_source

from interp.studies import (
    Claim,
    Measured,
    VerdictChanged,
    check_recorded,
    gate,
    measured,
    scoreboard,
    verdict_table,
    verdicts,
)
from interp.studies.notebooks import build, exercises, lint, page, run
from interp.studies.notebooks import source as notebook_source

BASE = dict(
    says="Heads copy names",
    paper="3 heads",
    source="Wang et al. 2022, Fig. 2",
    metric="logit difference lost",
)
GOOD = Measured(2.0, 1.6, 2.4, 40)
CONTROL = Measured(0.1, -0.1, 0.3, 20)


def claim(**change):
    return Claim(
        **{
            "key": "movers",
            **BASE,
            "holds": 1.0,
            "null": 0.0,
            "control": "10 random sets of 3 heads",
            **change,
        }
    )


@pytest.mark.parametrize(
    "got, control, word",
    [
        (GOOD, CONTROL, "holds"),
        (Measured(1.0, 0.9, 1.1, 9), CONTROL, "holds"),  # the threshold itself passes
        (Measured(0.5, 0.35, 0.6, 9), CONTROL, "partly"),  # beats the control, below the threshold
        (Measured(2.0, 0.25, 3.0, 9), CONTROL, "partly"),  # above the threshold, intervals overlap
        (Measured(2.0, 0.05, 3.0, 9), CONTROL, "does not hold"),  # includes the control's value
        (Measured(2.0, -0.1, 3.0, 9), CONTROL, "does not hold"),  # includes the null
        (Measured(-2.0, -3.0, -1.0, 9), CONTROL, "does not hold"),  # wrong sign
    ],
)
def test_rule(got, control, word):
    assert claim().judge(got, control=control).word == word


def test_rule_mirrors_for_less_than():
    c = claim(direction="<=", holds=-1.0)
    flip = lambda m: Measured(-m.value, -m.high, -m.low, m.n)  # noqa: E731
    assert c.judge(flip(GOOD), control=flip(CONTROL)).word == "holds"
    assert c.judge(GOOD, control=CONTROL).word == "does not hold"
    assert c.judge(Measured(-0.5, -0.6, -0.4, 9), control=flip(CONTROL)).word == "partly"


def test_floor_for_partly():
    low = Measured(0.3, 0.2, 0.4, 9)
    none = Measured(0.0, -0.1, 0.1, 9)
    assert claim(partly=0.25).judge(low, control=none).word == "partly"
    assert claim(partly=0.35).judge(low, control=none).word == "does not hold"


def test_a_failed_gate_is_never_a_refutation():
    failed = gate("accuracy", Measured(0.3, 0.2, 0.4, 40), at_least=0.9)
    passed = gate("accuracy", Measured(0.95, 0.9, 1.0, 40), at_least=0.9)
    assert claim().judge(GOOD, control=CONTROL, gate=[passed, failed]).word == "not testable here"
    assert claim().judge(None, gate=failed).word == "not testable here"
    assert claim().judge(GOOD, control=CONTROL, gate=passed).word == "holds"
    with pytest.raises(ValueError, match="nothing was measured"):
        claim().judge(None, gate=passed)


def test_control_cannot_be_forgotten():
    with pytest.raises(ValueError, match="has no control"):
        claim(control="")
    with pytest.raises(ValueError, match="which value means no effect"):
        claim(control="none", null=None)
    with pytest.raises(ValueError, match="must be compared with its control"):
        claim().judge(GOOD)
    assert claim(control="none").judge(GOOD).word == "holds"
    with pytest.raises(ValueError, match="was given one"):
        claim(control="none").judge(GOOD, control=CONTROL)


def test_control_is_the_null_when_none_is_given():
    assert claim(null=None).judge(GOOD, control=Measured(1.7, 1.5, 1.9, 9)).word == "does not hold"


@pytest.mark.parametrize(
    "change, said",
    [
        ({"source": " "}, "no source"),
        ({"direction": ">"}, "write '>=' or '<='"),
        ({"partly": 2.0}, "stricter"),
        ({"null": 5.0}, "would pass"),
        ({"needs": (2, 1)}, "no parts"),
        ({"parts": ("a",), "needs": (2, 1)}, r"write \(for holds"),
    ],
)
def test_bad_claims(change, said):
    with pytest.raises(ValueError, match=said):
        claim(**change)


def test_parts():
    c = claim(parts=("mover", "inhibition", "negative"), needs=(3, 2))
    weak = Measured(0.05, 0.0, 0.1, 9)
    judge = lambda *m: c.judge(dict(zip(c.parts, m)), control=CONTROL)  # noqa: E731
    assert judge(GOOD, GOOD, GOOD).word == "holds"
    assert judge(GOOD, GOOD, weak).word == "partly"
    assert judge(GOOD, weak, weak).word == "does not hold"
    some = claim(parts=("a", "b"))
    assert (
        some.judge(
            {"a": weak, "b": Measured(0.5, 0.35, 0.6, 9)}, control={"a": CONTROL, "b": CONTROL}
        ).word
        == "partly"
    )
    own = claim(key="own", holds=5.0).judge(GOOD, control=CONTROL)
    assert some.judge({"a": GOOD, "b": own}, control=CONTROL).word == "partly"
    with pytest.raises(ValueError, match="declared with the parts"):
        some.judge({"a": GOOD}, control=CONTROL)
    with pytest.raises(ValueError, match="has no parts"):
        claim().judge({"a": GOOD}, control=CONTROL)


def test_measured():
    x = np.random.default_rng(0).normal(1.0, 1.0, 400)
    got = measured(x)
    assert got.value == pytest.approx(x.mean()) and got.n == 400
    assert got.high - got.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert measured(x) == got
    pairs = np.stack([x, 2 * x], 1)
    assert measured(pairs, lambda p: np.corrcoef(p.T)[0, 1]).low == pytest.approx(1.0)
    with pytest.raises(ValueError, match="one number an example"):
        measured(pairs)
    with pytest.raises(ValueError, match="finite"):
        measured([1.0, float("nan")])
    with pytest.raises(ValueError, match="at least two"):
        measured([1.0])


def test_table_says_everything_in_words():
    failed = gate("IOI <accuracy>", Measured(0.3, 0.2, 0.4, 40), at_least=0.9)
    rows = [
        claim().judge(GOOD, control=CONTROL, note="a | note"),
        claim(key="b").judge(None, gate=failed),
    ]
    shown = verdict_table.Table("00-toy", tuple(map(verdict_table.row, rows)), "toy")
    for text in (repr(shown), shown._repr_html_()):
        for said in (
            "holds",
            "not testable here",
            "2 [1.6, 2.4]",
            "n = 40",
            "random sets of 3 heads",
            "Wang et al. 2022",
            "3 heads",
            "0.1 [-0.1, 0.3]",
        ):
            assert said in text
    assert "&lt;accuracy&gt;" in shown._repr_html_() and "background" not in shown._repr_html_()
    assert max(map(len, repr(shown).splitlines())) <= verdict_table.WIDTH


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A notebooks folder with one toy study."""
    (tmp_path / "nb" / "src").mkdir(parents=True)
    (tmp_path / "nb" / "src" / "00-toy.py").write_text(TOY)
    for readme in (tmp_path / "README.md", tmp_path / "nb" / "README.md"):
        readme.write_text("# Studies\n\n<!-- scoreboard -->\n<!-- /scoreboard -->\n\nend\n")
    monkeypatch.setenv("INTERP_NOTEBOOKS", str(tmp_path / "nb"))
    monkeypatch.delenv("INTERP_RECORD", raising=False)
    return tmp_path / "nb"


TOY = """# %% [markdown]
# # A toy study
#
# Paper: Nobody 2020, no arXiv
#
# Found: numbers near two are near two.

# %% tags=["parameters"]
MODEL = "toy"
FAST = False

# %%
import numpy as np
import matplotlib.pyplot as plt
import sys
from interp.studies import Claim, gate, measured, verdicts

# %% [markdown]
# ## The claim
#
# With $a_i * b_i$ as the effect.

# %%
claim = Claim(
    "two", says="It is two", paper="2.0", source="Nobody 2020, Table 1", metric="a number",
    holds=1.5, null=0.0, control="noise",
)

# %% [markdown]
# ## Measure

# %%
rng = np.random.default_rng(0)
n = 20 if FAST else 200
x, noise = rng.normal(2, 1, n), rng.normal(0, 1, n)
print("  7%|#    | progress", file=sys.stderr)
plt.plot(x)

# %%
### BEGIN SOLUTION
### STUB: best = None
best = x.max()
### END SOLUTION
print(f"best {best:.2f}")

# %%
able = gate("can count", measured(np.ones(10)), at_least=0.9)
row = claim.judge(measured(x), control=measured(noise), gate=able)
verdicts("00-toy", [row], model=MODEL, fast=FAST)
"""


def test_interactive_never_overwrites_and_says_so(folder, monkeypatch):
    row = claim().judge(GOOD, control=CONTROL)
    shown = verdicts("00-toy", [row], model="toy")
    assert "nothing was written" in shown.note and not (folder / "verdicts").exists()
    monkeypatch.setenv("INTERP_RECORD", "1")
    verdicts("00-toy", [row], model="toy")
    verdicts("00-toy", [row], model="toy", fast=True)
    text = (folder / "verdicts" / "00-toy.json").read_text()
    assert list(json.loads(text)) == ["full", "fast"]
    verdicts("00-toy", [row], model="toy")
    assert (folder / "verdicts" / "00-toy.json").read_text() == text
    monkeypatch.setenv("INTERP_RECORD", "")
    changed = claim().judge(CONTROL, control=CONTROL)
    assert "Differs" in repr(verdicts("00-toy", [changed], model="toy"))
    assert "No record of this model" in verdicts("00-toy", [changed], model="other").note
    monkeypatch.setenv("INTERP_RECORD", "check")
    with pytest.raises(VerdictChanged, match="recorded 'holds', now 'does not hold'"):
        verdicts("00-toy", [changed], model="toy")
    assert verdicts("00-toy", [changed], model="other").counts()["does not hold"] == 1
    with pytest.raises(VerdictChanged, match="recorded 'holds', now 'no such row'"):
        check_recorded("00-toy", [], fast=True, model="toy")
    with pytest.raises(VerdictChanged, match="python -m interp.studies build 01-none"):
        check_recorded("01-none", [], fast=True, model="toy")


def test_verdicts_refuses_unjudged_and_doubled_rows(folder):
    with pytest.raises(ValueError, match="judged claims"):
        verdicts("00-toy", [claim()], model="toy")
    row = claim().judge(GOOD, control=CONTROL)
    with pytest.raises(ValueError, match="row of its own"):
        verdicts("00-toy", [row, row], model="toy")


def test_build_is_deterministic_fresh_and_clean(folder):
    built = build.build("toy", folder)
    first = built.read_bytes()
    record = (folder / "verdicts" / "00-toy.json").read_text()
    assert build.check("00-toy", folder) == []
    assert build.build("00", folder, only="full").read_bytes() == first
    assert (folder / "verdicts" / "00-toy.json").read_text() == record
    text = first.decode()
    assert "image/png" in text and '"stderr"' not in text and "BEGIN SOLUTION" not in text
    assert '"execution"' not in text and len(first) < 100_000
    exercise = (folder / "exercises" / "00-toy.ipynb").read_text()
    assert "best = None  # YOUR CODE HERE" in exercise and "x.max" not in exercise
    assert len(scoreboard(folder)) == 2 and scoreboard(folder) == []
    assert (
        "✔ 1 holds" in (folder / "README.md").read_text()
        and "nb/00-toy.ipynb" in (folder.parent / "README.md").read_text()
    )

    source = folder / "src" / "00-toy.py"
    source.write_text(TOY.replace("near two are", "close to two are"))
    assert any("differs from its source from cell 1" in p for p in build.check("00-toy", folder))
    assert scoreboard(folder, write=False) != []
    source.write_text(TOY + "\n")
    assert any("another version of its source" in p for p in build.stale("00-toy", folder))


def test_refresh_takes_names_and_prose_and_keeps_outputs(folder):
    nbformat = pytest.importorskip("nbformat")
    source, target = folder / "src" / "00-toy.py", folder / "00-toy.ipynb"
    with pytest.raises(FileNotFoundError, match="never built"):
        build.refresh("00-toy", folder)
    build.build("00-toy", folder, only="full")
    before, outputs = (
        target.read_bytes(),
        [c.get("outputs") for c in nbformat.read(target, 4).cells],
    )
    assert build.refresh("00-toy", folder) is False and target.read_bytes() == before

    renamed = TOY.replace("noise", "control").replace("near two are", "close to two are")
    source.write_text(renamed)
    told = []
    assert build.refresh("00-toy", folder, report=told.append) is True and told == []
    after = nbformat.read(target, 4)
    assert [c.get("outputs") for c in after.cells] == outputs
    assert "close to two are" in after.cells[0].source and "control" in after.cells[6].source
    assert after.metadata["interp"]["outputs"] == build.KEPT
    assert build.check("00-toy", folder) == [] and build.refresh("00-toy", folder) is False

    source.write_text(renamed.replace("plt.plot(x)", "plt.plot(x + x)"))
    assert build.refresh("00-toy", folder, report=told.append) is True
    assert len(told) == 1 and "cell 7" in told[0]
    for other, why in (
        (renamed.replace("rng.normal(2, 1, n)", "rng.normal(3, 1, n)"), "a number in the code"),
        (renamed + "\n# %%\nprint(1)\n", "number, kind or tags"),
    ):
        kept = target.read_bytes()
        source.write_text(other)
        with pytest.raises(ValueError, match=why):
            build.refresh("00-toy", folder)
        assert target.read_bytes() == kept
    build.build("00-toy", folder, only="full")
    assert "outputs" not in nbformat.read(target, 4).metadata["interp"]


def test_pull_brings_edits_back_and_keeps_markers(folder):
    nbformat = pytest.importorskip("nbformat")
    source, dest = folder / "src" / "00-toy.py", folder / "00-toy.ipynb"
    dest.write_text(notebook_source.text_of(exercises.solved(notebook_source.read_source(source))))
    assert build.pull("00-toy", folder) is False and source.read_text() == TOY
    nb = nbformat.read(dest, 4)
    nb.cells[6].source = nb.cells[6].source.replace("n = 20", "n = 25")
    nbformat.write(nb, dest)
    assert build.pull("00-toy", folder) is True
    assert source.read_text() == TOY.replace("n = 20", "n = 25")
    nb.cells[7].source = nb.cells[7].source.replace("x.max()", "x.min()")
    nbformat.write(nb, dest)
    with pytest.raises(ValueError, match="solution markers"):
        build.pull("00-toy", folder)


def test_parameters(folder):
    nb = notebook_source.read_source(folder / "src" / "00-toy.py")
    assert notebook_source.parameters(nb) == {"MODEL": "'toy'", "FAST": "False"}
    with pytest.raises(ValueError, match="did you mean 'FAST'"):
        notebook_source.with_parameters(nb, {"FASTT": True})
    assert any(
        c.source == "FAST = True" for c in notebook_source.with_parameters(nb, {"FAST": True}).cells
    )


def test_hygiene(folder):
    source = folder / "src" / "00-toy.py"
    assert lint.problems("00-toy", folder) == []
    assert lint.claim_keys(notebook_source.read_source(source)) == ["two"]
    other = SimpleNamespace(
        cells=[
            SimpleNamespace(
                cell_type="code",
                source="b = replace(a, key='three', holds=0.5)\nreplace(b, holds=1)",
            )
        ]
    )
    assert lint.claim_keys(other) == ["three"]
    bad = (
        "\n# %%\nx = 'blocks.0.hook_z'\n\n# %%\n"
        + "a = 1\n" * 50
        + "\n# %%\nclass A: pass\n"
        + "\n# %%\ndef f():\n"
        + "    a = 1\n" * 20
        + "\n# %%\nb = '"
        + "b" * 100
        + "'\n"
        + "\n# %%\nimport interp\nfrom interp.results import nothing\ninterp.tasks.oi(1)\n"
        + "interp.tasks.ioi(1, many=2)\ninterp.Result.lode\ndef short(x): return x\n"
    )
    source.write_text(TOY.replace("# Paper:", "#").replace("= Claim(", "= str(") + bad)
    said = "\n".join(lint.problems("00-toy", folder))
    for part in (
        "no paper line",
        "'blocks.'",
        "cell 11 has 50 lines of code; at most 40",
        "has a class (A)",
        "function of 21 lines (f); at most 15",
        "a line of 106 columns",
        "imports 'nothing' from interp.results",
        "calls 'interp.tasks.oi'",
        "gives interp.tasks.ioi 'many', which it does not take",
        "calls 'interp.Result.lode'",
        "no Claim",
    ):
        assert part in said
    assert "(short)" not in said and said.count("interp.tasks.ioi") == 1
    nbformat = pytest.importorskip("nbformat")
    cell = nbformat.v4.new_code_cell(
        "x", outputs=[nbformat.v4.new_output("stream", text=f"read {Path.home()}/a.txt")]
    )
    assert any(
        "path of this computer" in p
        for p in lint.output_problems(nbformat.v4.new_notebook(cells=[cell]), 10)
    )
    assert any("no outputs" in p for p in lint.output_problems(nbformat.v4.new_notebook(), 10))


def test_exercise_markers():
    with pytest.raises(ValueError, match="unbalanced"):
        exercises.stub("### BEGIN SOLUTION\nx = 1")
    nested = "for i in x:\n    ### BEGIN SOLUTION\n    y = i\n    ### END SOLUTION\nz"
    assert exercises.stub(nested) == "for i in x:\n    ...  # YOUR CODE HERE\nz"
    assert exercises.solution(nested) == "for i in x:\n    y = i\nz"


def test_forked_run(folder):
    source = folder / "src" / "00-toy.py"
    ran = run_source(source, parameters={"FAST": True})
    assert ran.ok and ran.table.fast and len(ran.table) == 1 and "best" in ran.printed, ran.printed
    missing = run_source(source, parameters={"FAST": True}, record="check")
    assert not missing.ok and "record them" in missing.printed
    assert run_source(source, parameters={"FAST": True}, record="1").ok
    assert run_source(source, parameters={"FAST": True}, record="check").ok
    source.write_text(TOY.replace("holds=1.5", "holds=9.0"))
    changed = run_source(source, parameters={"FAST": True}, record="check")
    assert not changed.ok and "two: recorded 'holds', now 'partly'" in changed.printed
    source.write_text(TOY.replace("best = x.max()", "import time; time.sleep(60)"))
    slow = run_source(source, timeout=1)
    assert not slow.ok and "out of time (1 s)" in slow.printed


def test_run_writes_notebook_and_page(folder, tmp_path, capsys):
    shown = run.run("toy", fast=True, out=tmp_path / "out", model="other")
    assert shown.model == "other" and shown.fast and shown.counts()["holds"] == 1
    said = capsys.readouterr()
    assert "cell 1/7" in said.err and "Measure" in said.err and "✔ HOLDS  two" in said.out
    text = (tmp_path / "out" / "00-toy.html").read_text()
    assert (
        page.requests(text) == []
        and "data:image/png;base64" in text
        and "$" not in text.split("<body>")[0]
    )
    assert "<code>a_i * b_i</code>" in text
    assert not (folder / "verdicts").exists()


def test_a_failing_cell_is_named(folder, tmp_path):
    source = folder / "src" / "00-toy.py"
    source.write_text(TOY.replace("best = x.max()", "best = nothing"))
    with pytest.raises(run.StudyFailed, match="cell 5 of 6, section 'Measure', raised NameError"):
        run.run("toy", out=tmp_path / "out", progress=False)
    assert "NameError" in (tmp_path / "out" / "00-toy.html").read_text()


def test_page_refuses_the_network(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    out = nbformat.v4.new_output(
        "display_data", data={"text/html": "<script src='https://cdn.example/x.js'></script>"}
    )
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[out])])
    with pytest.raises(ValueError, match="cdn.example"):
        page.write_html(nb, tmp_path / "x.html")


def test_unknown_study_and_light_import(folder):
    with pytest.raises(ValueError, match="unknown study"):
        run.run("99-nope")
    code = (
        "import interp.studies, sys; interp.studies.Claim; interp.studies.verdicts; print([m for m"
        " in ('torch','nbformat','jupytext','nbclient') if m in sys.modules])"
    )
    assert (
        subprocess.check_output(
            [sys.executable, "-c", code], text=True, cwd=Path(__file__).resolve().parents[2]
        ).strip()
        == "[]"
    )


def test_the_list_of_claims_says_which_part_of_a_shared_sentence_was_tested(monkeypatch):
    """Two rows of one quote are told apart; a study without claims of a paper shows ours."""
    board = importlib.import_module("interp.studies.notebooks.scoreboard")
    base = dict(verdict="holds", source="abstract", narrow=[], gates=[], question="")
    rows = [
        base | dict(key="a", quote="Half and half.", says="The first half"),
        base | dict(key="b", quote="Half and half.", says="The second half"),
        base | dict(key="c", quote="Alone.", says="By itself"),
    ]
    assert [board._part_of(r, rows) for r in rows] == [
        ". Of this: The first half",
        ". Of this: The second half",
        "",
    ]
    ours = [base | dict(key="q", quote="", says="Is it?", question="Is it?")]
    assert board._of_the_paper(ours) == "none was tested; our questions: ✔ 1 holds"
    assert board._of_the_paper(rows + ours) == "✔ 3 holds"
    assert board._of_the_paper([]) == "not run yet"
