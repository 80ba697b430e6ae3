"""Names for types that many signatures share."""

from typing import TypeAlias

from torch import nn

# What `interp.load` returns: TransformerLens' own TransformerBridge, or a small transformer with
# the
# same hook points. Named here once, so that no other file needs TransformerLens to say it.
Model: TypeAlias = nn.Module
