"""Studies: claims with thresholds fixed in advance, verdicts, and the notebooks that carry them.

    from interp.studies import Claim, gate, measured, verdicts

`claims` decides, `table` shows and records, `notebooks` builds, `runner` executes, `board` sums up.
Names load on first use, so importing this costs nothing. No module here is called like a public name: importing the
module would hide the function.
"""

import importlib

_WHERE = {
    "Claim": "claims",
    "Gate": "claims",
    "Measured": "claims",
    "Verdict": "claims",
    "gate": "claims",
    "measured": "claims",
    "share": "claims",
    "mean_area": "areas",
    "rank_correlation": "ranks",
    "shuffled_correlation": "ranks",
    "cell_correlation": "cells",
    "how_often": "cells",
    "share_of_cells": "cells",
    "size_of_cells": "cells",
    "split_half": "cells",
    "at_end": "curves",
    "draw_curves": "curves",
    "fall": "curves",
    "share_of_steps": "curves",
    "span": "curves",
    "Table": "table",
    "VerdictChanged": "table",
    "verdicts": "table",
    "check_recorded": "table",
    "recorded": "table",
    "home": "where",
    "names": "where",
    "find": "where",
    "build": "notebooks",
    "check": "notebooks",
    "pull": "notebooks",
    "run": "runner",
    "StudyFailed": "runner",
    "run_source": "forked",
    "write_html": "page",
    "scoreboard": "board",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(
            f"module 'interp.studies' has no attribute {name!r} (it has: {', '.join(__all__)})"
        )
    found = getattr(importlib.import_module(f"interp.studies.{_WHERE[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
