"""Packages whose names load on first use, from a stub that editors read as well.

Every `__init__.py` says `__getattr__, __dir__, __all__ = attach(__name__)`, and the `__init__.pyi`
beside it lists the names, one `from interp.folder.file import name as name` each. A file may be
called like the function that it holds: the package then always answers with the function, also
after the file itself was imported. A function that is reached through a package holds what it is
given against its signature (`interp._arguments`); inside the toolkit functions are imported from
their files, and nothing is checked twice.
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any


def homes(stub: Path) -> dict[str, str]:
    """For each name that a stub exports, where it is: "module:name in the module"."""
    table: dict[str, str] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                table[alias.asname or alias.name] = f"{node.module}:{alias.name}"
    return table


class _Package(ModuleType):
    """A package in which a public function is never hidden by the file that holds it."""

    def __setattr__(self, name: str, value: Any) -> None:
        # importing interp.x.y makes Python set the module y as an attribute of interp.x
        home = self.__dict__.get("_HOMES", {}).get(name)
        if home and isinstance(value, ModuleType) and home != f"{self.__name__}:{name}":
            if home != f"{value.__name__}:{name}":
                return  # a folder called like a function: `__getattr__` finds the function
            value = getattr(value, name, value)
            if isinstance(value, FunctionType):
                value = public(value, self.__name__, name)
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return import_module, (self.__name__,)  # a function that reads it travels to a worker

    def __repr__(self) -> str:
        says = self.__dict__.get("_SAYS")
        return says() if says else super().__repr__()


def described(package: str, says: Callable[[], str]) -> None:
    """Lets a package say what is in it where it is the last line of a cell."""
    module = sys.modules[package]
    module.__dict__["_SAYS"] = says
    module.__class__ = _Package


def public(function: FunctionType, package: str, name: str) -> Callable:
    """The function as people reach it, the same object from every package that exports it."""
    if function not in _PUBLIC:
        from interp._arguments import checked

        named = f"{package}.{name}"
        if name in sys.modules["interp"].__dict__.get("_HOMES", {}):  # interp.patch is its name
            top = sys.modules["interp"].__dict__["_HOMES"][name]
            if top == f"{function.__module__}:{function.__name__}":
                named = f"interp.{name}"
        made = checked(function, named)
        made.__module__, made.__qualname__ = named.rsplit(".", 1)  # pickle finds it there
        _PUBLIC[function] = made
    return _PUBLIC[function]


_PUBLIC: dict[FunctionType, Callable] = {}


def attach(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """What a package's `__init__.py` needs: `__getattr__`, `__dir__` and `__all__`.

    Example:
        >>> __getattr__, __dir__, __all__ = attach(__name__)

    Args:
        package: The package's name; `__init__.pyi` lies beside its `__init__.py`.

    Returns:
        The three names, in this order.

    Raises:
        AttributeError: From `__getattr__`, for a name that the stub does not list; the nearest ones
        are named.
    """
    module = sys.modules[package]
    table = homes(Path(str(module.__file__)).with_suffix(".pyi"))
    module.__dict__["_HOMES"] = table
    module.__class__ = _Package

    def __getattr__(name: str) -> Any:
        if name not in table:
            from interp._errors import unknown

            raise AttributeError(str(unknown(f"name in {package}", name, sorted(table))))
        home, original = table[name].split(":")
        if home == package:  # a folder or a file of this package
            return import_module(f"{home}.{original}")
        value = getattr(import_module(home), original)
        if isinstance(value, FunctionType):
            value = public(value, package, name)
        module.__dict__[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(table)

    return __getattr__, __dir__, sorted(table)
