"""A function over many points: the plain loop's bits, whatever runs them and however often it was
stopped.
"""

import inspect
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import interp
from interp.scale import join, points
from interp.scale.identity import identity
from interp.scale.join import assembled
from interp.scale.point_files import Folder

AXES = {"task": ["a", "b"], "seed": [0, 1, 2]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Each test in a folder of its own, where "runs" does not exist."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(name="ran"):
    """The points that a function has noted in a file."""
    return Path(name).read_text().split() if Path(name).exists() else []


def note(*words, name="ran"):
    with open(name, "a") as file:
        file.write("-".join(map(str, words)) + "\n")


def score(task, seed):
    note(task, seed)
    return 10.0 * "ab".index(task) + seed / 3


def test_each_parameter_is_an_axis_in_the_order_of_the_loop():
    result = interp.over(score, AXES, unit="points")
    right = [[10.0 * t + s / 3 for s in range(3)] for t in range(2)]
    assert result.dims == ("task", "seed") and result.coords == AXES
    assert np.array_equal(result.values, right) and result.unit == "points"
    assert ran() == ["a-0", "a-1", "a-2", "b-0", "b-1", "b-2"]
    assert result.name == "score" and float(result.sel(task="b", seed=1).values) == 10 + 1 / 3


GIVEN = {
    "number": (lambda seed: seed + 0.25, (), {}),
    "truth": (lambda seed: seed == 1, (), {}),
    "tensor": (lambda seed: torch.tensor(float(seed)).bfloat16(), (), {}),
    "array": (
        lambda seed: np.full((2, 3), seed, np.float32),
        ("axis 0", "axis 1"),
        {"axis 0": [0, 1], "axis 1": [0, 1, 2]},
    ),
    "list": (lambda seed: [seed, 7], ("axis 0",), {"axis 0": [0, 1]}),
    "dictionary": (
        lambda seed: {"loss": np.float32(0.1) * seed, "n": 3},
        ("measure",),
        {"measure": ["loss", "n"]},
    ),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_what_a_point_may_return(kind):
    fn, dims, coords = GIVEN[kind]
    result = interp.over(fn, {"seed": range(3)})
    assert result.dims == ("seed", *dims) and result.coords == {"seed": [0, 1, 2], **coords}
    values = [fn(seed) for seed in range(3)]
    plain = [
        list(map(float, v.values())) if isinstance(v, dict) else np.asarray(v, float).tolist()
        for v in (x.float().numpy() if isinstance(x, torch.Tensor) else x for x in values)
    ]
    assert np.array_equal(result.values, plain)
    assert interp.over(fn, {"seed": range(3)}) == result == join()


def whole(seed):
    drawn = np.random.default_rng(seed).normal(size=(2, 5))
    at = {"layer": [3, 4]}
    metadata = {"metric": "m", "seed": seed}
    return interp.Result(drawn.mean(-1), ("layer",), at, "effect", "logits", metadata, drawn)


def test_a_result_keeps_its_axes_its_unit_and_its_examples():
    result = interp.over(whole, {"seed": range(4)})
    assert result.dims == ("seed", "layer") and result.unit == "logits"
    assert result.name == "whole, 4 points: effect"
    assert interp.over(whole, {"seed": [0]}, "one").name == "effect"
    assert result.metadata == {"metric": "m", "function": "whole"}  # what all points agree on
    for seed in range(4):
        assert np.array_equal(result.sel(seed=seed).examples, whole(seed).examples)
        assert points()[(seed,)] == whole(seed)
    assert result.ci()[0].shape == (4, 2)
    result.plot()
    result.top(3)


@pytest.mark.parametrize("value", [None, "text", [[1], [1, 2]], {"a": "b"}, {}, 1j, 2**60 + 1])
def test_what_is_no_number_is_the_points_error(value):
    result = interp.over(lambda seed: value if seed else 1.0, {"seed": [0, 1]})
    assert np.isnan(result.values[1]) and result.values[0] == 1.0
    assert "seed=1" in result.metadata["failed"]


def ratio(seed):
    below = [1.0, 2.0 + seed, 3.0]
    metadata = {"denominator": below, "ratios": {}}
    return interp.Result(2.0, (), {}, "faithfulness", "fraction", metadata, np.array([1, 2, 3.0]))


def test_ratios_with_a_denominator_each_say_why_they_have_no_interval():
    result = interp.over(ratio, {"seed": range(3)})
    with pytest.warns(UserWarning, match="3 of 3 intervals of .* are NaN: each point is a ratio"):
        low, _ = result.ci()
    assert np.isnan(low).all()
    one = points()[(0,)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repr(result)
        result.to_frame()
        assert not np.isnan(one.ci()[0])


def test_a_point_without_a_processor_is_of_no_unlike_processor():
    """A worker that is killed says nothing of its processor."""
    interp.over(score, {"task": ["a"], "seed": [0, 1]})
    files = Folder(Path("runs"))
    manifest = files.manifest()
    records = {k: files.record(point) for k, point in enumerate(manifest.points())}
    lost = records[1].model_copy(
        update={"checksum": None, "error": "RuntimeError: gone", "processor": ""}
    )
    note = assembled(manifest, {0: records[0], 1: lost}, files).metadata["note"]
    assert "1 of 2 points failed" in note and "processor" not in note
    other = records[1].model_copy(update={"processor": "another"})
    note = assembled(manifest, {0: records[0], 1: other}, files).metadata["note"]
    assert "unlike processors" in note and "another" in note


# --- resuming -------------------------------------------------------------------------------------


def test_what_is_finished_is_not_run_again():
    first = interp.over(score, {"task": ["a"], "seed": [0, 1]})
    assert interp.over(score, {"task": ["a"], "seed": [0, 1]}) == first and len(ran()) == 2
    more = interp.over(score, AXES)
    assert ran()[2:] == ["a-2", "b-0", "b-1", "b-2"]
    assert np.array_equal(more.sel(task="a").values[:2], first.values[0])
    Path("ran").unlink()
    assert more == interp.over(score, AXES, "elsewhere") and len(ran()) == 6


def test_an_interrupted_call_goes_on_and_gives_the_same_bits():
    def stopped(task, seed):
        note(task, seed)
        if (task, seed) == ("b", 0) and not Path("went on").exists():
            raise KeyboardInterrupt
        return torch.randn(3).sum() + seed

    with pytest.raises(KeyboardInterrupt, match="3 of 6 points were finished, and the same") as at:
        interp.over(stopped, AXES)
    part = at.value.result
    assert np.isfinite(part.values[0]).all() and np.isnan(part.values[1]).all()
    Path("went on").touch()
    result = interp.over(stopped, AXES)
    assert ran() == ["a-0", "a-1", "a-2", "b-0", "b-0", "b-1", "b-2"]
    assert result == interp.over(stopped, AXES, "in one go")
    assert np.array_equal(part.values[0], result.values[0])


def test_a_killed_process_loses_the_point_at_hand_and_no_other():
    script = Path("script.py")
    script.write_text(
        "import os, signal, sys, interp\n"
        "def score(seed):\n"
        "    if seed == 2 and len(sys.argv) > 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    print(seed)\n"
        "    return seed / 7\n"
        "print(interp.over(score, {'seed': range(4)}).values.tolist())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(interp.__file__).parents[1])}

    def call(*words):
        command = [sys.executable, "-u", "script.py", *words]
        return subprocess.run(command, capture_output=True, text=True, env=env)

    killed = call("die")
    assert killed.returncode == -signal.SIGKILL and killed.stdout.split() == ["0", "1"]
    again = call()
    assert again.stdout.split("\n")[:3] == ["2", "3", str([seed / 7 for seed in range(4)])]


def test_errors_stay_with_their_points_and_only_they_are_tried_again():
    def fails(task, seed):
        note(task, seed)
        if seed == 1 and not Path("mended").exists():
            raise ArithmeticError("no such number")
        return seed

    result = interp.over(fails, AXES)
    assert np.isnan(result.values[:, 1]).all() and np.isfinite(result.values[:, [0, 2]]).all()
    assert result.metadata["failed"] == {
        "task='a', seed=1": "ArithmeticError: no such number",
        "task='b', seed=1": "ArithmeticError: no such number",
    }
    assert "2 of 6 points failed and are NaN, such as task='a', seed=1 (Arith" in repr(result)
    assert result._picture()["missing"] == "failed"
    assert interp.over(fails, AXES) == result == join() and len(ran()) == 6
    Path("mended").touch()
    mended = interp.over(fails, AXES, retry=True)
    assert ran()[6:] == ["a-1", "b-1"] and "failed" not in mended.metadata
    assert np.array_equal(mended.values, [[0, 1, 2], [0, 1, 2]])
    with open(next(Path("runs/points").glob("a-1-*.json"))) as file:
        assert json.load(file)["error"] == ""


def test_where_every_point_fails_there_is_still_an_answer():
    def fails(seed):
        raise ValueError("never")

    result = interp.over(fails, {"seed": [0, 1]})
    assert np.isnan(result.values).all() and "2 of 2 points failed" in repr(result)
    assert "2 of 2 points failed" in result._repr_html_()


def test_an_error_of_an_older_function_is_tried_with_the_new_one():
    def make(broken):
        def fn(seed):
            if broken and seed == 1:
                raise ValueError("broken")
            return seed

        return fn

    interp.over(make(True), {"seed": [0, 1]})
    with pytest.raises(ValueError, match="1 of 2 points in 'runs' were made by another version"):
        interp.over(make(False), {"seed": [0, 1]})
    kept = interp.over(make(False), {"seed": [0, 1]}, changed="keep")
    assert np.array_equal(kept.values, [0, 1])
    assert "1 of 2 points were kept that were made by another version of the function" in repr(kept)
    assert join() == kept and interp.over(make(False), {"seed": [0, 1]}, changed="keep") == kept


def test_a_damaged_file_is_run_again():
    right = interp.over(score, AXES)
    file = next(Path("runs/points").glob("b-1-*.npz"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    Path("ran").unlink()
    with pytest.warns(UserWarning, match="damaged and counts as not run: task='b', seed=1"):
        assert interp.over(score, AXES) == right
    assert ran() == ["b-1"]
    next(Path("runs/points").glob("a-2-*.json")).write_text("{")
    with pytest.warns(UserWarning, match="task='a', seed=2"):
        assert interp.over(score, AXES) == right
    assert ran() == ["b-1", "a-2"]


# --- what has changed is noticed ------------------------------------------------------------------


def written(source, name="fn"):
    """The function that a source defines, as in a notebook's cell."""
    space = {"__name__": "__main__", "note": note, "np": np}
    exec(source, space)
    return space[name]


PLAIN = """
SCALE = 2
def helper(x):
    return x * SCALE
def fn(seed, power=1):
    return helper(seed) ** power
"""
OTHERS = {
    "the code": PLAIN.replace("helper(seed)", "-helper(seed)"),
    "a default": PLAIN.replace("power=1", "power=2"),
    "a constant it reads": PLAIN.replace("SCALE = 2", "SCALE = 3"),
    "a function it calls": PLAIN.replace("x * SCALE", "x + SCALE"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_changed_function_is_refused_in_a_sentence(what):
    axes = {"seed": [1, 2, 3]}
    before = interp.over(written(PLAIN), axes)
    new = written(OTHERS[what])
    with pytest.raises(ValueError, match="3 of 3 points .* another version of the function: chang"):
        interp.over(new, axes)
    with pytest.raises(ValueError, match="3 of 4 points .* another version"):
        interp.over(new, {"seed": [1, 2, 3, 4]}, shard="4/4")  # also those of other shards
    assert np.array_equal(interp.over(new, axes, changed="keep").values, before.values)
    again = interp.over(new, axes, changed="rerun")
    assert np.array_equal(again.values, [new(1), new(2), new(3)])
    assert not np.array_equal(again.values, before.values) and "note" not in again.metadata


def test_a_comment_a_docstring_and_a_place_are_no_change():
    first = interp.over(written(PLAIN), {"seed": [1]})
    moved = PLAIN.replace("    return helper", "\n    'Says.'\n    # why\n    return  helper")
    assert interp.over(written(moved), {"seed": [1]}) == first


def test_a_bound_argument_and_an_object_on_an_axis_are_noticed():
    def mean(data, power):
        return float(np.mean(data) ** power)

    data = {"small": np.arange(3.0), "large": np.arange(9.0)}
    first = interp.over(partial(mean, power=2), {"data": data})
    assert first.coords == {"data": ["small", "large"]} and first.values.tolist() == [1.0, 16.0]
    with pytest.raises(ValueError, match="2 of 2 points .* another version of the function"):
        interp.over(partial(mean, power=3), {"data": data})
    other = data | {"large": np.arange(10.0)}
    with pytest.raises(ValueError, match="1 of 2 points .* with another object as data: changed"):
        interp.over(partial(mean, power=2), {"data": other})
    again = interp.over(partial(mean, power=2), {"data": other}, changed="rerun")
    assert again.values.tolist() == [1.0, 20.25]
    Path("runs").rename("elsewhere")
    assert interp.over(partial(mean, power=2), {"data": other}) == again


def test_another_version_of_a_package_and_other_threads_are_noticed(monkeypatch):
    interp.over(score, AXES)
    with pytest.raises(ValueError, match=r"6 of 6 points .* made with threads=1 \(now 2\)"):
        interp.over(score, AXES, threads=2)
    real = interp.scale.identity.versions()
    monkeypatch.setattr(
        interp.scale.identity, "versions", lambda: {**real, "torch": "9.9", "extra": "1"}
    )
    says = rf"made with extra missing \(now 1\), with torch {real['torch'].split('+')[0]}.* 9.9"
    with pytest.raises(ValueError, match=says):
        interp.over(score, AXES)
    with pytest.raises(ValueError, match="unequal"):
        first, *rest = AXES["seed"]
        interp.over(score, AXES, changed="keep", shard="1/6")
        monkeypatch.setattr(interp.scale.identity, "versions", lambda: real)
        manifest = json.loads(Path("runs/over.json").read_text()) | {"accepted": []}
        Path("runs/over.json").write_text(json.dumps(manifest))
        join()


def test_another_question_does_not_go_into_the_same_folder():
    interp.over(score, AXES)
    with pytest.raises(ValueError, match="'runs' holds points of score over task, seed, and this"):
        interp.over(lambda seed: seed, {"seed": [1]})
    with pytest.raises(ValueError, match="holds points of score, and this call is of other"):

        def other(task, seed):
            return 0

        interp.over(other, AXES)


def test_the_hash_of_a_function_is_the_same_in_another_process():
    source = (
        PLAIN
        + "\nWORDS = {'b', 'a', 'c'}\ndef all(seed): return fn(seed), WORDS, seed in {'x', 'y'}"
    )
    code = (
        f"exec({source!r}, globals()); from interp.scale.identity import identity;"
        "print(identity(all).digest)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(interp.__file__).parents[1])}
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**env, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_what_a_hash_sees(tiny):
    class Own:
        def __init__(self, n):
            self.n = n

    task = interp.tasks.ioi(tiny, n=2)
    pairs = [
        (1, 1.0),
        ("1", 1),
        (torch.ones(2), torch.ones(3)),
        (torch.ones(2), torch.tensor([1.0, 1.001])),
        (np.ones(2), np.ones(2, np.float32)),
        (Own(1), Own(2)),
        (task, interp.tasks.ioi(tiny, n=2, seed=1)),
        ([1, [2]], [1, [3]]),
        (partial(score, seed=1), partial(score, seed=2)),
        (interp.patch, interp.ablate),
        (torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
    ]
    for a, b in pairs:
        assert identity(a).digest == identity(a).digest != identity(b).digest
    assert identity(task).digest == identity(interp.tasks.ioi(tiny, n=2)).digest
    assert identity(Own(1)).digest == identity(Own(1)).digest
    loop = []
    loop.append(loop)
    assert identity(loop).digest and identity(lambda seed: tiny).models == ("tiny",)


# --- shards ---------------------------------------------------------------------------------------


def test_shards_put_together_are_the_plain_loop(capsys):
    plain = interp.over(whole, {"seed": range(7)}, "plain")
    with pytest.raises(FileNotFoundError, match="no points in 'runs': interp.over"):
        join()
    parts = [interp.over(whole, {"seed": range(7)}, shard=f"{k}/3") for k in (1, 3)]
    assert np.isnan(parts[0].values[[1, 2, 4, 5]]).all() and "shard 1/3 alone: 3 of 7" in repr(
        parts[0]
    )
    assert parts[0]._picture()["missing"] == "not run"
    with pytest.raises(ValueError) as gaps:
        join("runs")
    assert str(gaps.value) == (
        "'runs' lacks 2 of 7 points (seed=1; seed=4): shard 2 of 3 did not finish; run them again"
        " (sbatch --array=2 ...): what is finished is not run twice"
    )
    interp.over(whole, {"seed": range(7)}, shard="2/3")
    assert join("runs") == plain
    assert interp.over(whole, {"seed": range(7)}) == plain
    assert "sbatch --array=1-3 --wrap='python " in capsys.readouterr().err


def test_the_line_for_slurm_is_the_call_that_was_made(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["jobs/score.py", "2/8", "--name", "a b"])
    interp.over(score, AXES, shard="2/8")
    said = capsys.readouterr().err
    assert "score: shard 2/8, 1 of 6 points" in said
    line = shlex.split(said.split("SLURM: ")[1].split("\n")[0])
    assert line[:2] == ["sbatch", "--array=1-8"] and line[2].startswith("--wrap=")
    wrapped = shlex.split(line[2].removeprefix("--wrap="))
    assert wrapped == ["python", "jobs/score.py", "$SLURM_ARRAY_TASK_ID/8", "--name", "a b"]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    interp.over(score, AXES, shard="2/8")
    assert "sbatch" not in capsys.readouterr().err


def test_a_gap_without_shards_names_the_call(monkeypatch):
    interp.over(score, AXES)
    next(Path("runs/points").glob("a-2-*.json")).unlink()
    with pytest.raises(ValueError, match="lacks 1 of 6 points .task='a', seed=2.: the same call"):
        join()


# --- random numbers, warnings, threads ------------------------------------------------------------


def drawn(seed):
    first = random.random()
    time.sleep(0.01)  # another thread would draw here
    return [first, float(np.random.rand()), float(torch.rand(()))]


def test_what_is_drawn_hangs_on_the_point_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    up = interp.over(drawn, {"seed": [0, 1, 2]}, "up")
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    torch.manual_seed(6)
    down = interp.over(drawn, {"seed": [2, 1, 0]}, "down")
    assert np.array_equal(up.values, down.values[::-1]) and len(np.unique(up.values)) == 9


def test_a_warning_of_a_point_is_heard_once():
    import warnings

    def warns(seed):
        warnings.warn("the sample is small", stacklevel=1)
        return seed

    with pytest.warns(UserWarning, match=r"the sample is small \(in 3 of 3 points\)") as heard:
        interp.over(warns, {"seed": range(3)})
    assert len(heard) == 1


def test_every_point_computes_with_as_many_threads():
    before = torch.get_num_threads()
    result = interp.over(lambda seed: torch.get_num_threads(), {"seed": [0]}, threads=3)
    assert result.values.tolist() == [3] and torch.get_num_threads() == before


# --- other processes ------------------------------------------------------------------------------


def heads(seed, verb="patch"):
    """A real sweep, on a model that each process loads once, and notes that it did."""
    from interp.scale.loaded import _HERE

    fresh = not _HERE
    model = interp.scale.loaded("tiny")
    if fresh:
        note(os.getpid(), name="loads")
    return getattr(interp, verb)(model, interp.tasks.ioi(model, n=3, seed=seed), "L*H*")


@pytest.fixture
def none_loaded():
    from interp.scale.loaded import _HERE

    _HERE.clear()
    yield
    _HERE.clear()


def test_the_function_in_the_help_of_loaded_runs(monkeypatch, tiny):
    shown = inspect.getdoc(interp.scale.loaded).split("Example:")[1].split("Args:")[0]
    code = "\n".join(line[8:] for line in shown.splitlines() if line.strip())
    monkeypatch.setattr(interp.scale, "loaded", lambda name: tiny)
    exec(code.replace("L10H7", "L1H2"), said := {"interp": interp})
    assert said["score"]("ioi", 0).unit == "logits"


SWEEPS = {"verb": ["patch", "ablate"], "seed": range(3)}


@pytest.mark.slow
def test_processes_give_the_bits_of_the_plain_loop_and_load_the_model_once(none_loaded):
    plain = interp.over(heads, {"seed": range(3), "verb": ["patch"]}, "plain")
    assert len(ran("loads")) == 1
    Path("loads").unlink()
    assert interp.over(heads, {"seed": range(3), "verb": ["patch"]}, client=2) == plain
    pids = ran("loads")
    assert 1 <= len(pids) == len(set(pids)) <= 2 and str(os.getpid()) not in pids


def test_a_process_that_dies_loses_nothing():
    here = os.getpid()

    def dies(seed):
        if seed == 3 and os.getpid() != here and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        note(seed)
        return seed / 7

    result = interp.over(dies, {"seed": range(6)}, client=2)
    assert result.values.tolist() == [seed / 7 for seed in range(6)] and Path("died").exists()


def test_a_point_that_its_process_dies_of_is_that_points_error():
    def dies(seed):
        if seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return seed

    result = interp.over(dies, {"seed": range(5)}, client=2)
    assert result.metadata["failed"] == {"seed=2": "WorkerDied: its process ended (out of memory?)"}
    assert result.values[[0, 1, 3, 4]].tolist() == [0, 1, 3, 4]


class Jobs:
    """A client as submitit's: jobs without callbacks, handed over as one array."""

    def __init__(self):
        self.batches, self.jobs = 0, []

    def batch(self):
        from contextlib import contextmanager

        @contextmanager
        def opened():
            yield
            self.batches += 1

        return opened()

    def submit(self, fn, *args):
        class Job:
            looks = 0

            def done(self):
                self.looks += 1
                return self.looks > 2

            def result(self):
                return fn(*args)

            def cancel(self):
                pass

        self.jobs.append(Job())
        return self.jobs[-1]


def test_anything_with_submit_runs_the_points():
    plain = interp.over(drawn, {"seed": range(5)}, "plain")
    with ThreadPoolExecutor(3) as threads:  # one point at a time, whatever the threads
        assert interp.over(drawn, {"seed": range(5)}, "threads", client=threads) == plain
    jobs = Jobs()
    assert interp.over(drawn, {"seed": range(5)}, "jobs", client=jobs) == plain
    assert jobs.batches == 1 and len(jobs.jobs) == 5


def test_points_that_end_in_any_order_make_the_same_result():
    class Backwards(Jobs):
        def submit(self, fn, *args):
            job = super().submit(fn, *args)
            job.done = lambda: self.jobs[-1] is job and bool(self.jobs.pop())
            return job

    def fails(seed):
        if seed > 2:
            raise ValueError(f"no prompts for {seed}")
        return interp.Result(float(seed), (), {}, "n", "u", {"metric": f"m{min(seed, 1)}"})

    plain = interp.over(fails, {"seed": range(5)}, "plain")
    assert "such as seed=3 (ValueError: no prompts for 3)" in plain.metadata["note"]
    assert interp.over(fails, {"seed": range(5)}, client=Backwards()) == plain == join()


def test_an_interrupt_while_workers_run_keeps_what_they_finished_and_cancels_the_rest():
    cancelled = []

    class Stopped(Jobs):
        def submit(self, fn, *args):
            job, number = super().submit(fn, *args), len(self.jobs) - 1

            def done():
                if number == 2:
                    raise KeyboardInterrupt
                return True

            job.done, job.cancel = done, lambda: cancelled.append(number)
            return job

    with pytest.raises(KeyboardInterrupt, match="goes on from 'runs'"):
        interp.over(drawn, {"seed": range(5)}, client=Stopped())
    assert cancelled == [0, 1, 2, 3, 4]  # all are looked at before the first is read

    class Late(Stopped):
        def submit(self, fn, *args):
            job, number = super().submit(fn, *args), len(self.jobs) - 1
            looks = iter([number != 4, "stop", True])

            def done():
                if next(looks) == "stop":
                    raise KeyboardInterrupt
                return number != 4

            job.done = done
            return job

    cancelled.clear()
    with pytest.raises(KeyboardInterrupt, match="4 of 5 points were finished") as stopped:
        interp.over(drawn, {"seed": range(5)}, client=Late())
    assert cancelled == [4] and np.isnan(stopped.value.result.values[4]).all()
    plain = interp.over(drawn, {"seed": range(5)}, "plain")
    assert interp.over(drawn, {"seed": range(5)}) == plain
    assert np.array_equal(stopped.value.result.values[:4], plain.values[:4])


def test_workers_that_are_gone_are_a_sentence_and_the_call_goes_on():
    class Gone(Jobs):
        def submit(self, fn, *args):
            job = super().submit(fn, *args)
            if len(self.jobs) == 3:

                def result():
                    raise ModuleNotFoundError("No module named 'interp'")

                job.result = result
            return job

    says = "could not run the points .ModuleNotFound.*same packages.* 2 of 5 points are finished"
    with pytest.raises(RuntimeError, match=says):
        interp.over(drawn, {"seed": range(5)}, client=Gone())
    assert interp.over(drawn, {"seed": range(5)}) == interp.over(drawn, {"seed": range(5)}, "plain")


def test_a_model_does_not_travel(tiny):
    with pytest.raises(ValueError, match="reads 'tiny', a loaded model.*interp.scale.loaded"):
        interp.over(lambda seed: tiny.cfg.n_layers, {"seed": [0]}, client=2)
    assert interp.over(lambda seed: tiny.cfg.n_layers, {"seed": [0]}).values.tolist() == [
        tiny.cfg.n_layers
    ]


def waits(seed):
    """A point that says which process runs it, and waits to be killed the first time."""
    Path(f"pid-{seed}").write_text(str(os.getpid()))
    if seed == 2 and not Path("killed").exists():
        time.sleep(60)
    return heads(seed)


@pytest.mark.slow
def test_a_cluster_of_two_workers_loses_nothing_when_one_is_killed(folder, none_loaded):
    """dask.distributed with two processes, one of them killed in the middle of a point."""
    distributed = pytest.importorskip("distributed")
    import threading

    plain = interp.over(heads, {"seed": range(5)}, "plain")

    def kill():
        pid = folder / "pid-2"
        while not pid.exists() or not pid.read_text():
            time.sleep(0.05)
        time.sleep(0.3)
        (folder / "killed").touch()
        os.kill(int(pid.read_text()), signal.SIGKILL)

    settings = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        client.run(os.chdir, str(folder))
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        result = interp.over(waits, {"seed": range(5)}, client=client)
        killer.join(timeout=10)
    assert (folder / "killed").exists() and not killer.is_alive()
    assert np.array_equal(result.values, plain.values)
    assert np.array_equal(result.examples, plain.examples)
    assert "failed" not in result.metadata and join() == result


# --- what was typed -------------------------------------------------------------------------------

WRONG = {
    "no axis": (lambda: interp.over(score, {}), "has nothing to run over: interp.over"),
    "a text": (lambda: interp.over(score, {"task": "a", "seed": [1]}), "a list of labels, got 'a'"),
    "no labels": (lambda: interp.over(score, {"task": [], "seed": [1]}), "'task' has no labels"),
    "twice": (lambda: interp.over(score, {"task": ["a", "a"], "seed": [1]}), "label 'a' twice"),
    "an object": (
        lambda: interp.over(score, {"task": [object()], "seed": [1]}),
        r"number or a word, got <object.*'task': .'a name': object",
    ),
    "another name": (
        lambda: interp.over(score, {"job": ["a"], "seed": [1]}),
        r"score\(task, seed\) does not take the axes job, seed",
    ),
    "too few": (lambda: interp.over(score, {"task": ["a"]}), "missing a required argument: 'seed'"),
    "changed": (
        lambda: interp.over(score, AXES, changed="renew"),
        "unknown choice for changed 'renew'.*rerun",
    ),
    "shard": (lambda: interp.over(score, AXES, shard="9/8"), "shard='9/8' is not a part.*'1/8'"),
    "shard 0": (lambda: interp.over(score, AXES, shard="0/8"), "shard='0/8' is not a part"),
    "client": (
        lambda: interp.over(score, AXES, client="dask"),
        "client='dask' runs nothing.*Clien",
    ),
    "client 0": (lambda: interp.over(score, AXES, client=0), "client=0 runs nothing"),
    "threads": (lambda: interp.over(score, AXES, threads=0), "threads=0: a point computes with"),
    "fn": (lambda: interp.over("score", AXES), "fn is a function.*not 'score'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_belong_is_answered_before_anything_runs(what):
    call, says = WRONG[what]
    with pytest.raises((ValueError, TypeError), match=says):
        call()
    assert not Path("runs").exists() and ran() == []


def test_points_on_unequal_axes_are_each_there():
    def grows(seed):
        return np.arange(seed + 1.0)

    says = r"seed=0 has axis 0: 1 .value., and seed=1 has axis 0: 2.*scale.points\('runs'\)"
    with pytest.raises(ValueError, match=says):
        interp.over(grows, {"seed": [0, 1]})
    assert points()[(1,)].values.tolist() == [0.0, 1.0]

    def layers(layer):
        return interp.Result([1.0], ("layer",), {"layer": [0]}, "x", "u")

    with pytest.raises(ValueError, match="an axis 'layer', which is also a parameter"):
        interp.over(layers, {"layer": [0]}, "other")


def test_how_long_the_rest_takes_is_said_from_what_is_finished(capsys):
    def slow(seed):
        return seed

    interp.over(slow, {"seed": [0, 1]})
    for file in Path("runs/points").glob("*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": 60.0}))
    interp.over(slow, {"seed": range(5)})
    assert "slow: 2 of 5 points are finished, 3 to run, about 3 min" in capsys.readouterr().err
