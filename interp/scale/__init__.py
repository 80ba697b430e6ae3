"""The same call over many points, in this process, on several processes or on a cluster.

| question | file |
| --- | --- |
| run a function at every point of some axes, or a shard of them | `over` |
| put the shards together; each point's own result | `join` |
| load a model once in each process | `loaded` |
| has the function changed since a point was finished | `identity` |
| what a folder of points holds | `point_files` |
| how a point is run, here or elsewhere | `workers` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
