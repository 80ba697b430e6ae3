"""The workshop: lessons with exercises, and checks that say why an answer is wrong.

`begin` starts a lesson, `check` looks at an answer, `hint` and `solution` help, `progress` shows
how far one is. An exercise is a row of one file in `lessons/`: its solution, a second solution,
and the mistakes that people make, all of them functions that a test runs.
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
