"""The known circuits, one a file with a `KNOWN_MODEL` in it: adding one is adding a file."""

from importlib import import_module
from pkgutil import iter_modules

from interp.circuits.known.build import KnownModel


def every() -> dict[str, KnownModel]:
    """Each known circuit by its file's name."""
    return {
        module.name: import_module(f"{__name__}.{module.name}").KNOWN_MODEL
        for module in iter_modules(__path__)
    }
