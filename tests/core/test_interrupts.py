"""An interrupt stops a verb with one line, and what was finished is in it: the same numbers as the
whole run's, NaN for the rest, and a model that is as it was.
"""

import subprocess
import sys
import textwrap
from importlib import import_module

import numpy as np
import pytest

import interp
from interp.tasks.metrics import Metric

EITHER = pytest.mark.parametrize("backend", ["engine", "hooks"])


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Tiny models would finish in one run."""
    monkeypatch.setattr(import_module("interp.engine.sizes"), "TOKENS", 8)
    monkeypatch.setattr("interp.methods.runs.sweep.TOKENS_PER_RUN", 64)


def stopping(task, stop=None):
    """The task's metric, interrupted once, when it is asked for the stop-th time."""
    seen = []

    def of(logits, kept):
        seen.append(1)
        if len(seen) == stop:
            raise KeyboardInterrupt
        return task.metric(logits)

    return seen, Metric("counted", "logits", of)


VERBS = {
    "patch": lambda m, t, **o: interp.patch(m, t, "mlp.*@*", **o),
    "fraction": lambda m, t, **o: interp.patch(
        m, t, "resid_pre.*@*", unit="fraction", direction="noising", **o
    ),
    "ablate": lambda m, t, **o: interp.ablate(m, t, "L*H*", **o),
    "knockout": lambda m, t, **o: interp.attention_knockout(m, t, "1:", "0", **o),
}


@EITHER
@pytest.mark.parametrize("verb", VERBS)
def test_what_was_finished_is_in_the_interrupt(any_tiny, ioi, backend, verb):
    count, metric = stopping(ioi)
    whole = VERBS[verb](any_tiny, ioi, metric=metric, backend=backend)
    if len(count) < 4:
        pytest.skip("one part")
    _, metric = stopping(ioi, stop=len(count) // 2 + 1)
    with pytest.raises(interp.results.Interrupted) as caught:
        VERBS[verb](any_tiny, ioi, metric=metric, backend=backend)
    part = caught.value.result
    if part is None and verb == "knockout":
        pytest.skip("the engine does all of it in one go")
    finished = np.isfinite(part.values)
    assert 0 < finished.sum() < part.values.size
    np.testing.assert_allclose(part.values[finished], whole.values[finished], atol=1e-5)
    assert (
        part.metadata["interrupted"]
        == f"{finished.sum()} of {part.values.size} cells were finished"
    )
    assert "stopped" in part.caption() and part._repr_html_()
    again = VERBS[verb](any_tiny, ioi, metric=metric, backend=backend)  # nothing is left behind
    np.testing.assert_allclose(again.values, whole.values, atol=1e-6)
    assert "interrupted" not in again.metadata


def test_greedy_steps_that_were_finished_are_kept(any_tiny, ioi):
    greedy = interp.methods.ablation.greedy_ablation
    count, metric = stopping(ioi)
    whole = greedy(any_tiny, ioi, "L*H*", steps=3, metric=metric)
    _, metric = stopping(ioi, stop=len(count) - 1)
    with pytest.raises(KeyboardInterrupt) as caught:
        greedy(any_tiny, ioi, "L*H*", steps=3, metric=metric)
    part = caught.value.result
    assert 1 <= len(part.values) < 3
    assert part.coords["step"] == whole.coords["step"][: len(part.values)]
    np.testing.assert_allclose(part.values, whole.values[: len(part.values)], atol=1e-6)
    _, metric = stopping(ioi, stop=2)
    with pytest.raises(KeyboardInterrupt) as caught:
        greedy(any_tiny, ioi, "L*H*", steps=3, metric=metric)
    assert caught.value.result is None


def test_a_trace_averages_the_draws_that_were_finished(any_tiny, ioi):
    def trace(samples, metric):
        return interp.causal_trace(
            any_tiny, ioi, "mlp.*@*", subject="S2", samples=samples, metric=metric
        )

    counts = [len(count) for count, m in [stopping(ioi)] if trace(1, m) is not None]
    _, metric = stopping(ioi, stop=int(2.5 * counts[0]))
    with pytest.raises(KeyboardInterrupt) as caught:
        trace(4, metric)
    part = caught.value.result
    samples = part.metadata["samples"]
    assert 1 <= samples < 4
    np.testing.assert_allclose(part.values, trace(samples, stopping(ioi)[1]).values, atol=1e-5)


def test_prompts_of_several_lengths_keep_what_every_prompt_has(any_tiny):
    task = interp.tasks.pairs(
        any_tiny, clean=["Tom went", "Tom and Mary went to the"], answers=[" a", " a"]
    )
    whole = interp.ablate(any_tiny, task, "mlp.*", by="zero")
    seen = []

    def of(logits):
        seen.append(1)
        if len(seen) == 3:  # in the first of the two runs of one length
            raise KeyboardInterrupt
        return logits[:, 5]

    with pytest.raises(KeyboardInterrupt) as caught:
        interp.ablate(any_tiny, task, "mlp.*", by="zero", metric=of)
    part = caught.value.result
    assert part is None or part.dims == whole.dims


def test_the_sentence_shows_the_call_that_goes_on(any_tiny, ioi, tmp_path):
    _, metric = stopping(ioi, stop=9)
    with pytest.raises(KeyboardInterrupt) as caught:
        interp.patch(any_tiny, ioi, "mlp.*@*", direction="noising", metric=metric)
    text = str(caught.value)
    assert "interp.patch(model, task, 'mlp.*@*', direction='noising'" in text
    assert "resume='patch.npz')" in text and "sys.last_value.result" in text
    assert caught.value._render_traceback_() == [f"Interrupted: {text}"]
    _, metric = stopping(ioi, stop=9)
    with pytest.raises(KeyboardInterrupt, match="The same call goes on from") as caught:
        interp.patch(any_tiny, ioi, "mlp.*@*", metric=metric, resume=str(tmp_path / "a.npz"))
    on = interp.patch(any_tiny, ioi, "mlp.*@*", metric=metric, resume=str(tmp_path / "a.npz"))
    whole = interp.patch(any_tiny, ioi, "mlp.*@*")
    np.testing.assert_allclose(on.values, whole.values, atol=1e-5)


def test_a_verb_without_parts_stops_with_one_line(any_tiny, ioi, monkeypatch):
    def interrupt(*given, **options):
        raise KeyboardInterrupt

    lens = import_module("interp.methods.lenses.logit_lens")
    monkeypatch.setattr(lens, "run", interrupt)
    with pytest.raises(interp.results.Interrupted, match=r"^interp.logit_lens was stopped\.$") as e:
        interp.logit_lens(any_tiny, ioi)
    shown = [f for f in e.traceback if "__tracebackhide__" not in f.frame.f_locals]
    assert e.value.result is None and len(shown) <= 6  # the tests' own checks are two of them


def test_a_second_interrupt_ends_at_once(any_tiny, ioi):
    def of(logits, kept):
        of.seen += 1
        if of.seen > 3:
            raise KeyboardInterrupt
        return ioi.metric(logits)

    of.seen = 0
    with pytest.raises(KeyboardInterrupt):
        interp.patch(any_tiny, ioi, "mlp.*@*", metric=Metric("m", "logits", of))
    assert interp.patch(any_tiny, ioi, "mlp.*@*").values.size


def test_a_script_prints_few_lines():
    script = """
        from interp._isolation import torch_defaults

        def deep(n):
            if n == 0:
                raise KeyboardInterrupt
            deep(n - 1)

        @torch_defaults()
        def verb():
            deep(20)

        verb()
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert out.returncode != 0 and "verb was stopped" in out.stderr
    assert len(out.stderr.splitlines()) < 10
