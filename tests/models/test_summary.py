"""What a notebook shows of a model, a task and a run."""

import interp
from interp.models.summary import show_in_notebooks, summary


def test_a_models_summary_says_its_shape(tiny):
    first, shape, *rest = summary(tiny)
    count = sum(p.numel() for p in tiny.parameters())
    assert "3 layers of 4 heads on 2 KV heads" in first and f"{count:,} parameters" in first
    assert "d_model 16" in shape or f"d_model {interp.models.bridge.dims(tiny).d_model}" in shape
    assert "L0H0 ... L2H3" in rest[0] and len(rest) == 3


def test_ipython_shows_the_summary_and_not_the_modules(tiny):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        show_in_notebooks(tiny)
        shown, _ = shell.display_formatter.format(tiny)
        assert shown["text/plain"].count("\n") == 4 and "<b>" in shown["text/html"]
    finally:
        InteractiveShell.clear_instance()


def test_a_run_and_a_task_say_what_they_hold(tiny):
    task = interp.tasks.ioi(tiny, n=2)
    ran = interp.run(tiny, task, keep=["L0H0.z"])
    assert repr(ran).splitlines()[1].startswith("  L0H0.z  [2 x ")
    page = task._repr_html_()
    assert "Task(ioi: 2" in page and "<table" in page and "tensor(" not in page
