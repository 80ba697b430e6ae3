"""What the tests of widgets share: a task, and widgets that are closed when the test ends."""

import pytest

import interp


@pytest.fixture(scope="session")
def task(tiny):
    return interp.tasks.ioi(tiny, n=3)


@pytest.fixture
def closed_after():
    """closed_after(widget) gives the widget with its work done, and closes it after the test."""
    shown = []

    def keep(widget):
        shown.append(widget)
        return widget.wait()

    yield keep
    for widget in shown:
        widget.close()
