"""Progress: it says beforehand how long, names the step, and leaves nothing behind."""

import ast
import io
import sys
import time
from pathlib import Path

import pytest

from interp import _progress


class Clock:
    """A clock that is moved by hand, in place of the one of tqdm and of progress."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr("tqdm.std.time", lambda: self.now)

    def go(self, bar, steps, seconds):
        for _ in range(steps):
            self.now += seconds
            bar.update(1)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.delenv("INTERP_PROGRESS", raising=False)
    return Clock(monkeypatch)


def in_terminal(monkeypatch, tty):
    stream = io.StringIO()
    stream.isatty = lambda: tty
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.mark.parametrize("tty", [False, True])
def test_a_long_sweep_says_beforehand_how_long(monkeypatch, clock, tty):
    stream = in_terminal(monkeypatch, tty)
    bar = _progress.progress(None, "patching L*H*", total=20)
    bar._time = lambda: clock.now
    clock.now += 300  # what all parts share is prepared once
    clock.go(bar, 2, 5.0)
    assert "patching L*H*: about 6 min 40 s\n" in stream.getvalue()
    clock.go(bar, 3, 5.0)
    assert stream.getvalue().count("about 6 min 40 s") == 1  # said once
    bar.close()


@pytest.mark.parametrize("tty", [False, True])
def test_a_short_sweep_says_nothing(monkeypatch, clock, tty):
    stream = in_terminal(monkeypatch, tty)
    bar = _progress.progress(None, "short", total=20)
    bar._time = lambda: clock.now
    clock.go(bar, 4, 0.1)
    bar.close()
    assert not stream.getvalue().strip()


def test_a_log_has_a_line_a_minute_and_no_bar(monkeypatch, clock):
    stream = in_terminal(monkeypatch, tty=False)
    bar = _progress.progress(None, "sweep", total=100)
    bar._time = lambda: clock.now
    clock.go(bar, 30, 5.0)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "sweep: about 8 min 20 s" and len(lines) == 3
    assert "\r" not in stream.getvalue() and "sweep: 15 of 100, about" in lines[1]


def test_steps_are_named_and_an_empty_name_is_none(monkeypatch):
    heard = []
    with _progress.report_to(lambda what, done, of: heard.append(what)):
        with _progress.named("step 2 of 5"), _progress.named(""):
            list(_progress.progress(range(2), "mean ablation"))
        list(_progress.progress(range(2), "plain"))
    assert set(heard) == {"step 2 of 5, mean ablation", "plain"}


def test_a_bar_in_a_notebook_ends_as_an_empty_output(monkeypatch, clock):
    from IPython import display

    shown = []

    class Handle:
        def update(self, data, **options):
            shown.append((data, options))

    def show(page, display_id):
        shown.append((page, {}))
        return Handle()

    monkeypatch.setattr(display, "display", show)
    monkeypatch.setattr(_progress, "_in_notebook", lambda: True)
    bar = _progress.progress(None, "patching <b>", total=20)
    bar._time = lambda: clock.now
    clock.go(bar, 2, 5.0)
    assert "about 1 min 40 s in all, 1 min 30 s left" in shown[-1][0].data
    assert "&lt;b&gt;" in shown[-1][0].data
    bar.close()
    assert shown[-1] == ({}, {"raw": True})
    done = len(shown)
    bar.close()
    assert len(shown) == done
    short = _progress.progress(None, "short", total=20)
    short.close()
    assert len(shown) == done  # what was never shown is not taken away


def test_durations_in_words():
    words = {0.2: "1 s", 45: "45 s", 60: "1 min", 200: "3 min 20 s", 900: "15 min"}
    words |= {7500: "2 h 5 min", 3600: "1 h"}
    assert {seconds: _progress.duration(seconds) for seconds in words} == words


def test_an_interrupted_loop_closes_its_bar(monkeypatch):
    stream = in_terminal(monkeypatch, tty=True)
    with pytest.raises(KeyboardInterrupt):
        for _ in _progress.progress(range(5), "loop"):
            raise KeyboardInterrupt
    assert not stream.getvalue().strip()


def test_no_other_bar_is_drawn():
    """A bar of ipywidgets stays in a saved notebook as an output without its widget."""
    import interp

    folder = Path(interp.__file__).parent
    drawn = [p for p in folder.rglob("*.py") if "import tqdm" in p.read_text(encoding="utf-8")]
    assert drawn == [folder / "_progress.py"]


def test_a_bar_that_is_moved_by_hand_ends_with_its_work_whatever_happens():
    """Behind an interrupt, a bar that nobody closes would stand in the notebook, half full."""
    import interp

    loose = []
    for path in Path(interp.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "progress(None" not in text:
            continue
        tree = ast.parse(text)
        held = {
            ast.unparse(item.context_expr)
            for node in ast.walk(tree)
            if isinstance(node, ast.With)
            for item in node.items
        }
        for node in ast.walk(tree):
            by_hand = (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).split(".")[-1] == "progress"
                and node.args
                and ast.unparse(node.args[0]) == "None"
            )
            if by_hand and ast.unparse(node) not in held:
                loose.append((path.name, ast.unparse(node)))
    # three are given to a function first, and held by "with bar" there
    assert {name for name, _ in loose} <= {"sweep.py", "tuned_lens.py", "align.py"}, loose


def test_no_bar_where_none_is_wanted(monkeypatch, clock):
    stream = in_terminal(monkeypatch, tty=True)
    bar = _progress.progress(None, "quiet", total=20, show=False)
    clock.go(bar, 4, 60.0)
    bar.close()
    assert not stream.getvalue()
