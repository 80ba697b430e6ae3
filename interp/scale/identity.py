"""What a function is: a hash of its code and of what it reads, so that a change is noticed."""

import builtins
import dataclasses
import dis
import functools
import hashlib
import importlib.util
import inspect
import os
import platform
import re
import sys
import types
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

PACKAGES = ("torch", "transformers", "transformer-lens", "numpy")
DEEP = 40  # levels of values within values
DOCSTRING = 0x4000000  # the flag of a code object that has one, since Python 3.13


def versions() -> dict[str, str]:
    """The version of each package that a number may depend on, and Python's."""
    from interp import __version__

    found = {"python": platform.python_version(), "interp": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclasses.dataclass(frozen=True)
class Identity:
    """What was read of a value.

    Attributes:
        digest: A hash; equal where nothing that was read has changed.
        models: Names under which loaded models are read.
        modules: Modules of the user's own from which something is read.
    """

    digest: str
    models: tuple[str, ...]
    modules: tuple[str, ...]


def identity(value: Any) -> Identity:
    """What a function, or another value, is.

    Of a function: its code (not its comments, docstring or place), its defaults, what it closes
    over, and the globals that it reads. Functions and classes of the user's own that it reads are
    read in the same way; a module of the user's own that it imports counts as a whole file. What is
    installed counts by its name (see `versions`). Arrays, tensors and models count by their
    numbers; of an object that none of this fits, its type and, where it has one, its text.

    Example:
        >>> identity(score).digest == recorded
        True
    """
    reader = _Reader()
    reader.feed(value)
    models, modules = dict.fromkeys(reader.models), dict.fromkeys(reader.modules)
    return Identity(reader.hash.hexdigest()[:16], tuple(models), tuple(modules))


def installed(module: str) -> bool:
    """Whether a module belongs to Python, to an installed package or to this one."""
    top = module.partition(".")[0]
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names or top in ("interp", "builtins"):
        return True
    origin = _origin(module)
    return origin is None or bool({"site-packages", "dist-packages"} & set(PurePath(origin).parts))


def _origin(module: str) -> str | None:
    """The file of a module, loaded or not."""
    there = sys.modules.get(module)
    if there is not None:
        return getattr(there, "__file__", None)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec else None


class _Reader:
    """Feeds a value, and what it reads, to one hash."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.models: list[str] = []
        self.modules: list[str] = []
        self.seen: dict[int, int] = {}  # functions and classes, and what is being read
        self.inside: list[Any] = []
        self.name = ""

    def say(self, *words: Any) -> None:
        self.hash.update(repr(words).encode())

    def feed(self, value: Any, name: str = "") -> None:
        """Feeds one value; `name` is what the code calls it."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return self.say(type(value).__name__, value)
        if id(value) in self.seen:
            return self.say("again", self.seen[id(value)])
        self.seen[id(value)] = len(self.inside)
        self.inside.append(value)
        before, self.name = self.name, name or self.name
        try:
            if len(self.inside) > DEEP:
                self.say("deep", type(value).__qualname__)
            else:
                self._other(value)
        finally:
            self.name = before
            self.inside.pop()
            # a function is read once; two equal lists are the same, be they one object or two
            if not isinstance(value, types.FunctionType | type):
                del self.seen[id(value)]

    def _other(self, value: Any) -> None:
        if isinstance(value, types.CodeType):
            self._code(value)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, functools.partial):
            self.say("partial")
            self._each([value.func, *value.args])
            self._named(value.keywords)
        elif isinstance(value, types.MethodType):
            self.say("method")
            self._each([value.__func__, value.__self__])
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, types.ModuleType):
            self._module(value.__name__)
        elif isinstance(value, Mapping):
            self.say(type(value).__name__, len(value))
            self._each([part for pair in value.items() for part in pair])
        elif isinstance(value, list | tuple):
            self.say(type(value).__name__, len(value))
            self._each(value)
        elif isinstance(value, set | frozenset):
            self.say(type(value).__name__, sorted(map(_text, value)))
        elif isinstance(value, range | slice | PurePath):
            self.say(type(value).__name__, str(value))
        else:
            self._object(value)

    def _each(self, values: Iterable[Any]) -> None:
        for one in values:
            self.feed(one)

    def _named(self, values: Mapping[str, Any]) -> None:
        for key in sorted(values):
            self.say(key)
            self.feed(values[key], key)

    # --- code -------------------------------------------------------------------------------------

    def _code(self, code: types.CodeType) -> None:
        """What is done, without names of files, line numbers and the docstring."""
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self.say("code", arguments, code.co_flags & ~DOCSTRING)
        for step in dis.get_instructions(code):
            if step.opcode in dis.hasconst:  # their numbers move when a docstring is written
                self.say(step.opname)
                self.feed(step.argval)
            else:
                self.say(step.opname, _text(step.argval))

    def _function(self, function: types.FunctionType) -> None:
        if installed(function.__module__ or "builtins"):
            return self.say("installed", function.__module__, function.__qualname__)
        self._own(function.__module__)
        self.say("function")
        self._code(function.__code__)
        self._each([function.__defaults__, function.__kwdefaults__])
        cells = zip(function.__code__.co_freevars, function.__closure__ or ())
        self._named({name: _contents(cell) for name, cell in cells})
        self._named(
            {
                name: function.__globals__[name]
                for name in _global_names(function.__code__)
                if name in function.__globals__ and name not in vars(builtins)
            }
        )
        for module in _imports(function.__code__):
            self._module(module)

    def _class(self, cls: type) -> None:
        self.say("class", cls.__module__, cls.__qualname__)
        if installed(cls.__module__):
            return
        self._own(cls.__module__)
        skipped = {"__doc__", "__dict__", "__weakref__", "__module__", "__firstlineno__"}
        parts: dict[str, Any] = {}
        for name, part in vars(cls).items():
            if isinstance(part, staticmethod | classmethod):
                part = part.__func__
            elif isinstance(part, property):
                part = [part.fget, part.fset]
            if name not in skipped and not isinstance(part, types.GetSetDescriptorType):
                parts[name] = part
        self._each(cls.__bases__)
        self._named(parts)

    def _module(self, name: str) -> None:
        self.say("module", name)
        origin = None if installed(name) else _origin(name)
        if origin is None:
            return
        self._own(name)
        try:
            with open(origin, "rb") as file:
                self.hash.update(hashlib.sha256(file.read()).digest())
        except OSError:
            self.say("unread")

    def _own(self, module: str | None) -> None:
        if module and module != "__main__" and module in sys.modules:
            self.modules.append(module)

    # --- objects ----------------------------------------------------------------------------------

    def _object(self, value: Any) -> None:
        kind = type(value)
        self.say(kind.__module__, kind.__qualname__)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            from interp._numbers import to_numpy

            self.say(str(value.dtype))
            return self._array(to_numpy(value.detach().cpu().contiguous()))
        if torch is not None and isinstance(value, torch.nn.Module):
            from interp.models.state import weights_hash

            self.models.append(self.name or kind.__name__)
            return self.say(weights_hash(value))
        if kind.__module__ == "numpy" and hasattr(value, "tobytes"):
            return self._array(value)
        if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a data frame
            return self.feed(value.to_dict("list"))
        own = not installed(kind.__module__)
        if own:
            self._class(kind)
        inside = getattr(value, "__dict__", None)
        if inside is not None and (own or kind.__module__.split(".")[0] == "interp"):
            return self._named({k: v for k, v in inside.items() if isinstance(k, str)})
        self.say(_text(value))

    def _array(self, array: Any) -> None:
        self.say(str(array.dtype), array.shape)
        if array.dtype.hasobject:
            return self.feed(array.tolist())
        self.hash.update(array.tobytes())


def _text(value: Any) -> str:
    """A value as text, where the text says more than an address in memory."""
    named = getattr(value, "name_or_path", None)  # a tokenizer's
    if isinstance(named, str):
        return os.path.basename(named)
    if isinstance(value, str | bytes | int | float | complex | bool | None | tuple):
        return repr(value)
    if type(value).__repr__ is object.__repr__:
        return type(value).__qualname__
    try:
        text = repr(value)
    except Exception:  # anybody's own method
        return type(value).__qualname__
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a function that is not there yet
        return None


def _codes(code: types.CodeType) -> list[types.CodeType]:
    """A function's code, and the code of the functions that it makes."""
    codes = [code]
    for one in codes:
        codes += [part for part in one.co_consts if isinstance(part, types.CodeType)]
    return codes


def _global_names(code: types.CodeType) -> list[str]:
    names = {
        step.argval
        for one in _codes(code)
        for step in dis.get_instructions(one)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    return sorted(names)


def _imports(code: types.CodeType) -> list[str]:
    names = {
        step.argval
        for one in _codes(code)
        for step in dis.get_instructions(one)
        if step.opname == "IMPORT_NAME" and step.argval
    }
    return sorted(name for name in names if not installed(name))


def name_of(function: Any) -> str:
    """What a function is called in sentences."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    return "the function" if name == "<lambda>" else name


def parameters(function: Any) -> inspect.Signature | None:
    """The signature, or None where Python cannot tell."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
