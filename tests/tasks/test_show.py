"""A task of one's own shows itself, whatever its lengths and answers."""

import interp


def test_a_task_of_several_lengths_and_long_answers_shows_itself(tiny):
    task = interp.tasks.pairs(
        tiny,
        clean=["The keys to the cabinet", "The very old man"],
        corrupted=["The key to the cabinet", "The very old men"],
        answers=[" are here", " is"],
        wrong=[" is here", " are"],
    )
    text = repr(task.show())
    assert "The *keys* to the cabinet[END]" in text
    assert "answer ' are here', wrong ' is here'" in text  # as typed, the space in front too
    assert "The very old *man*[END]" in text
    page = task._repr_html_()
    assert "are here" in page and page.count("<tr>") == 6


def test_a_task_without_corrupted_prompts_shows_itself(tiny):
    task = interp.tasks.pairs(tiny, clean=["The dog", "The man"], answers=[" is", " is"])
    assert "corrupted" not in repr(task.show()).replace("clean and corrupted differ", "")


def test_source_prompts_are_called_so(tiny):
    texts = dict(clean=["The dog"], source=["The cat"], answers=[" is"], swapped=[" are"])
    task = interp.tasks.pairs(tiny, **texts)
    for text in (repr(task.show()), task._repr_html_()):
        assert "source" in text and "corrupted" not in text and "after the swap" in text
    assert "answer ' is', after the swap ' are'" in repr(task.show())
