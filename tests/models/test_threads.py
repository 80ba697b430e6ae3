"""Hooks act in the thread that set them; another thread's plain call gets the plain numbers."""

import threading

import torch

import interp
from interp.edits import zero
from interp.interventions import Intervention


def test_a_plain_call_in_another_thread_is_left_alone_and_disturbs_nothing(tiny):
    task = interp.tasks.ioi(tiny, n=4)
    other = task.clean[:1, :5] * 0 + 7
    with torch.no_grad():
        plain = tiny(other, return_type="logits")
    alone = interp.run(tiny, task, [Intervention("L0H1", zero())], keep=["mlp.*"])
    seen = []

    def edit(activation, _):
        def call():
            with torch.no_grad():
                seen.append(tiny(other, return_type="logits"))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()  # while our hooks are on the model
        return torch.zeros_like(activation)

    beside = interp.run(tiny, task, [Intervention("L0H1", edit)], keep=["mlp.*"])
    assert len(seen) == 1 and torch.equal(seen[0], plain)
    assert torch.equal(beside.logits, alone.logits)
    assert all(torch.equal(beside.kept[k], alone.kept[k]) for k in alone.kept)


def test_a_widgets_worker_puts_nothing_into_the_next_cells_cache():
    model = interp.load("tiny")
    task, other = interp.tasks.ioi(model, n=2), torch.arange(5, 12)[None]
    interp.run(model, other)
    expected = model.run_with_cache(task.clean)[1]["blocks.1.attn.hook_pattern"]
    done, failed = threading.Event(), []

    def work():
        while not done.is_set():
            try:
                interp.patch(model, task[:1], "L1H*", backend="hooks")
                interp.run(model, other, keep=["L1H*.pattern"])
            except Exception as error:  # shown by the assertion below
                failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(30):
            cached = model.run_with_cache(task.clean)[1]["blocks.1.attn.hook_pattern"]
            torch.testing.assert_close(cached, expected)
    finally:
        done.set()
        worker.join()
    assert not failed
