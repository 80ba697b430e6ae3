"""Studies: claims with thresholds fixed in advance, verdicts, and the notebooks that carry them.

    from interp.studies import Claim, gate, measured, verdicts

`verdict_rules` decides, `verdict_table` shows and records, `stats` has numbers with intervals,
`notebooks` builds and runs.
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
