"""What a public function is given is held against its signature, before anything runs.

A text where a circuit belongs would otherwise end deep inside with "'str' object has no attribute
'graph'". The annotations are true (the tests check every one while they run), so they say what
belongs where, and the function's own example shows the call that works.
"""

import ast
import functools
import inspect
import numbers
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from interp._errors import unknown

# Where a value of each kind comes from; a new kind is a new row.
FROM = {
    "Activations": "interp.features.activations(model, 'resid_post.15') gives",
    "Card": "interp.features.card(model, dictionary, 17) gives",
    "Circuit": "interp.Circuit.top(scores, 500) or interp.Circuit.load('circuit.json') gives",
    "Codes": "interp.replications.head_codes(model, task) gives",
    "Dictionary": "interp.features.train(model, 'resid_post.15') or interp.features.load gives",
    "Direction": "interp.Direction(vector, 'resid_post.15@*') makes",
    "FeatureCircuit": "interp.features.circuit(model, task, dictionaries) gives",
    "Firings": "interp.features.firings(model, dictionary) gives",
    "Intervention": "interp.Intervention('L10H7', interp.edits.zero()) makes",
    "Lens": "interp.tuned_lens(model, texts) or interp.jacobian_lens(model, texts) gives",
    "Measured": "interp.studies.measured(values) gives",
    "PromptActivations": "interp.features.prompt_activations(model, 'resid_post.15', texts) gives",
    "Recipe": "interp.toys.Recipe(...) makes",
    "Result": "interp.patch(...) or another verb gives",
    "Run": "interp.toys.load_or_train('induction') gives",
}
# Parameters that take any object of some form, and never a text, a number, a list or None.
MADE = {
    "batch": "a batch, as interp.toys.data.bigram_backcopy and its like draw",
    "mix": "a number, or one for each head [layer head], as soft_injection of"
    " interp.methods.steering learns",
    "nb": "an executed notebook, as nbformat.read('my-notebook.ipynb', 4) gives",
    "sae": "an SAE of sae-lens",
}
NUMBERS = ("mix",)  # those that may be a number as well
PLAIN = {str: "a text", int: "a whole number", float: "a number", bool: "True or False"}
# What other packages call an option, in small letters, and what it is called here where it exists.
ELSEWHERE = {
    "batch_size": "batch",
    "eval_dataset": "heldout",
    "eval_set": "heldout",
    "layers_to_transform": "layers",
    "learning_rate": "lr",
    "lora_alpha": "alpha",
    "max_steps": "steps",
    "method": "how",
    "n_steps": "steps",
    "num_steps": "steps",
    "per_device_train_batch_size": "batch",
    "r": "rank",
    "lora_r": "rank",
    "random_state": "seed",
    "seeds": "seed",
    "target_modules": "matrices",
    "test": "heldout",
    "val": "heldout",
    "validation": "heldout",
    "wd": "weight_decay",
}
ADDRESSES = ("where", "senders", "receivers", "site", "sites", "head", "heads")
TASKS = ("source_task", "target_task", "heldout")
PROMPTS = ("task", "on", "prompts", "tokens", "texts")
WHOLE = 1000  # a longer list is not looked through


class WrongArgument(TypeError, ValueError):
    """What was given does not belong there: of another type, or a value that cannot be meant."""


def checked(function: Callable, name: str) -> Callable:
    """The function, which answers a wrong argument with one sentence.

    Example:
        >>> checked(evaluate, "interp.evaluate")(model, task, "circuit.json")
        WrongArgument: interp.evaluate: circuit is a Circuit, as interp.Circuit.top(scores, 500) or
        interp.Circuit.load('circuit.json') gives, not 'circuit.json'

    Args:
        function: A public function.
        name: What people call it.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # IPython and pytest leave this frame out
        try:
            given = signature.bind(*args, **options)
        except TypeError as error:
            raise WrongArgument(_cannot_bind(function, name, signature, options, error)) from None
        kinds = _kinds(function)
        for key, value in given.arguments.items():
            problem = _problem(signature.parameters[key], kinds.get(key, Any), value, function)
            if problem is not None:
                raise WrongArgument(f"{name}: {problem}{_shown(function)}")
        with _cpu_made():
            return function(*args, **options)

    call.__signature__ = _plainly(signature)  # type: ignore[attr-defined]
    return call


def _cpu_made() -> AbstractContextManager:
    """Inside, a tensor without a device of its own is made on the CPU, whatever
    `torch.set_default_device` says: what is made for a model says its device itself.
    """
    torch = sys.modules.get("torch")
    if torch is None or torch.get_default_device().type == "cpu":
        return nullcontext()
    return torch.device("cpu")


def shows(function: Callable) -> Callable[[Callable], Callable]:
    """A decorator for a method that hands all on to a function: `help` then shows the function's
    text and options, where it would show `**options` and the name of something out of reach.

    Args:
        function: What the method calls with itself as the first argument.
    """

    def of(method: Callable) -> Callable:
        own, *rest = inspect.signature(function).parameters.values()
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        back = inspect.signature(method).return_annotation
        shown = inspect.Signature([itself, *rest], return_annotation=back)
        method.__signature__ = _plainly(shown)  # type: ignore[attr-defined]
        entry = rf"^ +{own.name}: .*\n(?: {{12,}}.*\n)*"
        method.__doc__ = re.sub(entry, "", function.__doc__ or "", count=1, flags=re.M)
        return method

    return of


def _plainly(signature: inspect.Signature) -> inspect.Signature:
    """The signature as `help` shows it best: names of types without the modules they stand in."""

    def short(annotation: Any) -> Any:
        if annotation is inspect.Parameter.empty:
            return annotation
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        return _Plain(re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", text))

    parameters = [p.replace(annotation=short(p.annotation)) for p in signature.parameters.values()]
    back = short(signature.return_annotation)
    return signature.replace(parameters=parameters, return_annotation=back)


class _Plain(str):
    """A text that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


def checks(name: str) -> Callable[[Callable], Callable]:
    """A decorator: `checked` for a method, which no package exports."""
    return functools.partial(checked, name=name)


def _cannot_bind(
    function: Callable,
    name: str,
    signature: inspect.Signature,
    options: Mapping[str, Any],
    error: TypeError,
) -> str:
    """The sentence for a call with a missing argument, one too many, or an unknown option."""
    for key in options:
        if key not in signature.parameters:
            known = [p for p in signature.parameters if p != "model"]
            wrong = unknown(f"option of {name}", key, known, elsewhere=ELSEWHERE, most=16)
            return f"{wrong}{_shown(function)}"
    return f"{name}: {error}{_shown(function)}"


@functools.cache
def _kinds(function: Callable) -> dict[str, Any]:
    """What the signature says each argument is; a name that cannot be read says nothing."""
    try:
        return typing.get_type_hints(function)
    except Exception:  # a class that is imported for type checkers alone: its name will do
        written = inspect.signature(function).parameters.values()
        return {
            p.name: typing.ForwardRef(p.annotation)
            if isinstance(p.annotation, str)
            else p.annotation
            for p in written
            if p.annotation is not p.empty
        }


def _problem(parameter: inspect.Parameter, kind: Any, value: Any, function: Callable) -> str | None:
    """Why a value cannot be what the parameter asks for, in words; None where it can."""
    if parameter.kind is parameter.VAR_KEYWORD or value is parameter.default:
        return None
    if parameter.kind is parameter.VAR_POSITIONAL:
        wrong = [one for one in value if not fits(one, kind)]
        return f"{parameter.name} are {words(kind)}, not {quoted(wrong[0])}" if wrong else None
    if parameter.name == "model" and _is_model(kind):
        if value is None and _optional(kind):
            return None
        described = _described(function, "model")
        by_name = isinstance(value, str) and "name" in described
        if kind is Any and (by_name or not _is_plain(value)):
            return None  # a name, a circuit, a tokenizer: what the function says it takes
        return model_problem(value, tokenizer=kind is Any, place=_place(parameter, function))
    if parameter.name == "batches" and isinstance(value, Mapping):
        for one in filter(_is_plain, value.values()):
            return f"batches are batches by name, not {quoted(one)}"
    number = parameter.name in NUMBERS and isinstance(value, numbers.Real)
    if parameter.name in MADE and kind in (Any, object) and _is_plain(value) and not number:
        return f"{parameter.name} is {MADE[parameter.name]}, not {quoted(value)}"
    if kind is Any and parameter.name == "task" and "takes" in function.__dict__:
        return None  # texts and ids as well, which are read and answered where prompts are read
    if kind is Any and parameter.name in ("task", *TASKS):
        described = _described(function, parameter.name)
        if "text" in described or "ids" in described:
            table = hasattr(value, "columns")
            return (
                _task_problem(parameter.name, value, function) if table or value is None else None
            )
        return _task_problem(parameter.name, value, function)
    if fits(value, kind):
        return None
    if _is_task(value):
        takers = [p for p in inspect.signature(function).parameters if p in PROMPTS]
        if takers and takers[0] != parameter.name:
            return f"{quoted(value)} is given by name, {takers[0]}=task; {parameter.name} is " + (
                words(kind)
            )
    asked = words(kind)
    if parameter.name in ADDRESSES and fits("L0H0", kind):
        several = "" if kind is str else ", or several"
        asked = f"an address such as 'L10H7' or 'resid_post.*@END'{several}"
    if fits([value], kind) and not isinstance(value, Mapping):
        asked += f" (one of them too: {parameter.name}=[...])"
    return f"{parameter.name} is {asked}, not {quoted(value)}"


@functools.cache
def _described(function: Callable, name: str) -> str:
    """What the docstring's Args say of a parameter."""
    entry = re.search(
        rf"^\s*{name}: (.+?)(?=^\s*\w+(?:, \w+)*: |^\s*$|\Z)",
        inspect.getdoc(function) or "",
        re.M | re.S,
    )
    return entry[1] if entry else ""


# --- models and tasks --------------------------------------------------------------------------


def _is_model(kind: Any) -> bool:
    """Whether an annotation of a parameter `model` means a loaded model."""
    if kind is Any:
        return True
    return any(getattr(one, "__name__", "") == "Module" for one in (kind, *typing.get_args(kind)))


def _place(parameter: inspect.Parameter, function: Callable) -> str:
    """Which argument this is: "the second argument"."""
    at = list(inspect.signature(function).parameters).index(parameter.name)
    counted = ("first", "second", "third")
    return f"the {counted[at]} argument" if at < len(counted) else parameter.name


def _optional(kind: Any) -> bool:
    return type(None) in typing.get_args(kind)


def model_problem(
    model: Any, *, tokenizer: bool = False, place: str = "the first argument"
) -> str | None:
    """Why something is no loaded model, with the call that loads one; None where it is one.

    Args:
        model: What was given.
        tokenizer: Whether a tokenizer will do.
        place: Where it was given, in words.
    """
    if hasattr(model, "cfg") or (tokenizer and hasattr(model, "decode")):
        return None
    if hasattr(model, "config") and hasattr(model, "forward"):
        return (
            f"a {type(model).__name__} of Hugging Face is loaded first: "
            "model = interp.load(hf_model, tokenizer=tokenizer)"
        )
    name = isinstance(model, str) and re.fullmatch(r"[\w./~:\\-]+", model)  # no sentence
    load = f"interp.load({model!r})" if name else "interp.load()"
    return f"{place} is a model, got {quoted(model)}: model = {load}"


def _task_problem(name: str, value: Any, function: Callable) -> str | None:
    """Why something is no task, for functions that take nothing else."""
    if _is_task(value) or not (_is_plain(value) or hasattr(value, "shape")):
        return None
    if hasattr(value, "columns"):
        return (
            f"{name} is a task, not {quoted(value)}: make one of it, "
            "task = interp.tasks.read(frame, model)"
        )
    return (
        f"{name} is a task, not {quoted(value)}: make one, task = interp.tasks.pairs(model, "
        "clean=['The keys are'], corrupted=['The key is'], answers=[' here'], wrong=[' there'])"
    )


def _is_task(value: Any) -> bool:
    return any(c.__name__ == "Task" for c in type(value).__mro__)


# --- kinds -------------------------------------------------------------------------------------


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated kind; what cannot be told counts as yes.

    Example:
        >>> fits(["a", 1], Sequence[str])
        False
        >>> fits("ab", Sequence[str])          # a text is not a list of texts
        False
    """
    if kind in (Any, object, inspect.Parameter.empty):
        return True
    if kind is None or kind is type(None):
        return value is None
    if isinstance(kind, str):  # in quotes inside another annotation
        kind = typing.ForwardRef(kind)
    if isinstance(kind, typing.ForwardRef):
        name = _class_name(kind)
        return name is None or any(c.__name__ == name for c in type(value).__mro__)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inside)
    if kind is str:
        return isinstance(value, str) or type(value).__name__ == "Site"  # an address, read already
    if kind in (int, bool):
        return isinstance(value, numbers.Integral) or _one_number(value)
    if kind is float:
        return isinstance(value, numbers.Real) or _one_number(value)
    if inspect.isclass(kind) and issubclass(kind, os.PathLike):
        return isinstance(value, str | os.PathLike)
    if hasattr(kind, "array_type"):  # jaxtyping's shapes
        return kind.array_type is Any or isinstance(value, kind.array_type)
    made = origin or kind
    if made is Callable:
        return callable(value)
    if inspect.isclass(made) and issubclass(made, Mapping):
        key, entry = (*inside, Any, Any)[:2]
        return isinstance(value, Mapping) and (
            len(value) > WHOLE or all(fits(k, key) and fits(v, entry) for k, v in value.items())
        )
    if made is tuple:
        if not isinstance(value, tuple | list):
            return False
        each = inside[:1] * len(value) if inside[1:] == (...,) else inside
        return not inside or (
            len(each) == len(value) and all(fits(one, k) for one, k in zip(value, each))
        )
    if made in (Sequence, Iterable, list, typing.Sequence, typing.Iterable):
        return _is_list(value, made) and (
            not isinstance(value, list | tuple)
            or not inside
            or len(value) > WHOLE
            or all(fits(one, inside[0]) for one in value)
        )
    try:
        return isinstance(value, made)
    except TypeError:
        return True


def _class_name(kind: typing.ForwardRef) -> str | None:
    """The class that an annotation in quotes names; None where it says more than a name."""
    name = kind.__forward_arg__.rpartition(".")[2]
    return name if name.isidentifier() and name[:1].isupper() and name != "Any" else None


def _is_list(value: Any, made: Any) -> bool:
    """Whether a value is several things in order; a text, a mapping and a table are not."""
    if isinstance(value, str | bytes) or hasattr(value, "columns"):
        return False
    if isinstance(value, Mapping):
        return made is Iterable
    if getattr(value, "ndim", 1) == 0:
        return False
    return hasattr(value, "__iter__") and (made is Iterable or hasattr(value, "__len__"))


def _is_plain(value: Any) -> bool:
    """Whether a value is one of Python's own, or a table: never something that a verb gave."""
    own = str | bytes | list | tuple | Mapping | numbers.Number | None
    return isinstance(value, own) or hasattr(value, "columns")


def _one_number(value: Any) -> bool:
    """Whether an array or tensor holds one number alone."""
    return getattr(value, "ndim", None) == 0


# --- words -------------------------------------------------------------------------------------


def words(kind: Any) -> str:
    """What a kind is called in a sentence.

    Example:
        >>> words(Sequence[str] | None)
        'a list of texts, or None'
    """
    if kind in PLAIN:
        return PLAIN[kind]
    if kind is None or kind is type(None):
        return "None"
    if isinstance(kind, str):
        kind = typing.ForwardRef(kind)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        each = list(dict.fromkeys(words(one) for one in inside))
        return ", or ".join(each) if len(each) < 3 else ", ".join(each[:-1]) + f", or {each[-1]}"
    if hasattr(kind, "array_type"):
        return f"a tensor [{kind.dim_str}]"
    made = origin or kind
    if made is Callable:
        return "a function"
    name = getattr(made, "__name__", str(made))
    if isinstance(kind, typing.ForwardRef):
        name = _class_name(kind) or kind.__forward_arg__
    if name == "Module":
        return "a model, as interp.load() gives"
    if inspect.isclass(made) and issubclass(made, os.PathLike):
        return "a path"
    if inspect.isclass(made) and issubclass(made, Mapping):
        return "a dictionary" + (f" of {_plural(inside[1])} by name" if len(inside) == 2 else "")
    if made in (Sequence, Iterable, list, tuple, typing.Sequence, typing.Iterable):
        named = [one for one in inside if one is not ...]
        return "a list" + (f" of {_plural(named[0])}" if named else "")
    article = "an" if name[:1] in "AEIOU" else "a"
    return f"{article} {name}" + (f", as {FROM[name]}" if name in FROM else "")


def _plural(kind: Any) -> str:
    if kind in (Any, object):
        return "values"
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_plural(one) for one in typing.get_args(kind) if one is not type(None))
    said = words(kind).split(", as ")[0]
    for article in ("a ", "an "):
        said = said.removeprefix(article)
    head, _, rest = (
        said.partition(" ") if said.startswith(("list", "dictionary")) else (said, "", "")
    )
    hissing = head.endswith(("s", "x", "ch", "sh"))
    many = head[:-1] + "ies" if head.endswith("y") else head + ("es" if hissing else "s")
    return f"{many} {rest}".strip()


def quoted(value: Any) -> str:
    """What was typed, short enough for a sentence."""
    if value is None or isinstance(value, str | int | float | bool):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"
    name = type(value).__name__
    if isinstance(value, list | tuple | dict):
        text = repr(value)
        return f"the {name} {text}" if len(text) <= 60 else f"a {name} of {len(value)}"
    shape = getattr(value, "shape", None)
    size = f" of shape {tuple(shape)}" if shape is not None else ""
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}{size}"


def _whole(code: str) -> bool:
    """Whether a line of an example is a statement by itself."""
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


@functools.cache
def _shown(function: Callable) -> str:
    """The function's own example, as the end of a sentence."""
    calls: list[str] = []
    for line in (inspect.getdoc(function) or "").splitlines():
        text = line.strip()
        bare = re.sub(r"\s{2,}#.*", "", text[3:]).strip()
        if text.startswith(">>>"):
            calls.append(bare)
        elif text.startswith("...") and calls and not _whole(calls[-1]):
            calls[-1] += f" {bare}"
    own = [call for call in calls if f"{function.__name__}(" in call and len(call) <= 160]
    return f" (for example: {own[0]})" if own else ""
