"""Tasks from your own prompts: strings or token ids, in pairs or alone. Built-in tasks
use this door too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, NamedTuple

from torch import Tensor

from interp._errors import short, unknown
from interp._warn import warn
from interp.models.tokens import notice_space
from interp.tasks.chat import chat as templated
from interp.tasks.task import (
    METRICS,
    Row,
    Task,
    assemble,
    bos_word,
    check_metric,
    encode,
    first_tokens,
    single,
    tokenizer_of,
)

ANSWERS = ("all", "first")
MOST_TOKENS = 2**31  # no vocabulary is larger
QUOTED = 160  # characters of a prompt in a message
EXAMPLE = (
    "interp.tasks.pairs(model, clean=['The keys to the cabinet'], "
    "corrupted=['The key to the cabinet'], answers=[' are'], wrong=[' is'])"
)
SWAP_EXAMPLE = (
    "interp.tasks.pairs(model, clean=['The keys to the cabinet'], answers=[' are'], "
    "source=['The key to the cabinet'], swapped=[' is'])"
)
Place = Any  # a word, (start, end) in characters, a compiled pattern, a function, a token's number


class Prompt(NamedTuple):
    """One prompt: its ids, its text, where each token stands in it, and where the person's
    words begin.
    """

    ids: list[int]
    text: str
    spans: list[tuple[int, int]]
    start: int


def pairs(
    model: Any,
    clean: Any,
    corrupted: Any = None,
    answers: Any = None,
    wrong: Any = None,
    positions: Mapping[str, Any] | None = None,
    labels: Mapping[str, Sequence[Any]] | None = None,
    name: str = "mine",
    *,
    metric: str | None = None,
    answer_tokens: str = "all",
    chat: bool = False,
    source: Any = None,
    swapped: Any = None,
    metadata: Mapping[str, Any] | None = None,
    remake: Callable[..., Task] | None = None,
) -> Task:
    """A task of your own prompts, its alignment proved for this model's tokenizer.

    Example:
        >>> task = interp.tasks.pairs(
        ...     model,
        ...     clean=["The keys to the cabinet", "The key to the cabinets"],
        ...     corrupted=["The key to the cabinet", "The keys to the cabinets"],
        ...     answers=[" are", " is"],
        ...     wrong=[" is", " are"],
        ...     positions={"SUBJECT": re.compile("keys?"), "NOUN": re.compile("cabinets?")},
        ... )
        >>> interp.patch(model, task, "resid_pre.*@SUBJECT").plot()
        >>> find, judge = task.split(0.5)
        >>> task = interp.tasks.pairs(                 # for interp.interchange and interp.align
        ...     model,
        ...     clean=["The keys to the cabinet"], answers=[" are"], wrong=[" is"],
        ...     source=["The key to the cabinet"], swapped=[" is"],
        ... )

    Args:
        model: A model, or its tokenizer.
        clean: The prompts with the right answer: strings, or token ids (then taken as they are).
            The tokenizer's BOS token is put before a string unless it is there already; a tokenizer
            without one puts nothing first.
        corrupted: For each clean prompt one of as many tokens in which the answer is another, or
            None. `interp.tasks.corrupt` makes some. Without them, what compares two runs says so.
        answers: For each prompt a string as it follows the prompt (" are", with its space), a token
            id, or a list of alternatives. None: nothing is measured unless a verb brings its own
            metric.
        wrong: Wrong answers in the same form. With them the metric is the logit difference.
        positions: Names of places, each given by a word (its last token), a span of characters
            (start, end), a compiled regular expression (its first group, or all of it), a token's
            number, or a function of the prompt that gives one of these; or a list with one for each
            prompt. END, the last token, is always there.
        labels: Words about the prompts, a list for each name.
        name: What results and circuits call the task.
        metric: "logit_diff" where there are wrong answers, else "log_prob"; or a name of
            `interp.tasks.METRICS`.
        answer_tokens: "all" scores an answer of several tokens as a whole, by teacher forcing: the
            sum of the log-probabilities of its tokens, each after the prompt and the tokens before
            it. "first" scores its first token only, and `task.metadata["answers"]` says so.
        chat: Prompts are what a user says (or lists of messages); the model's chat template is put
            around them.
        source: For each clean prompt the one of as many tokens from which an interchange takes
            what it swaps. It is kept as the corrupted prompt: give one of the two.
        swapped: For each prompt the right answer after the swap, in the form of `answers`; it may
            be the answer itself, where the swap should change nothing. Kept as
            `task.swap_answers`.
        metadata: More to say about the prompts. remake: a function that makes the held-out half.

    Returns:
        A task. Prompts of several lengths are kept apart by length and run one length at a time, so
        that no padding enters a number.

    Raises:
        ValueError: If a clean and a corrupted prompt have different lengths, a position is not
            found, or an answer is missing.

    Warns:
        UserWarning: If an answer lacks the space that its prompt calls for.
    """
    tokenizer = tokenizer_of(model)
    if answer_tokens not in ANSWERS:
        raise unknown("choice of answer tokens", answer_tokens, ANSWERS, "answer_tokens='first'")
    size = getattr(getattr(model, "cfg", None), "d_vocab", None)
    ids = {"clean": clean, "corrupted": corrupted, "source": source}
    ids |= {"answers": answers, "wrong": wrong, "swapped": swapped}
    for what, given in ids.items():
        _check_ids(given, what, size)
    before = _prompts(tokenizer, clean, "clean", chat)
    n = len(before)
    other = "corrupted" if source is None else "source"
    if source is not None:
        if corrupted is not None:
            raise ValueError(
                "source= and corrupted= are the same prompts under two names (an interchange puts "
                "what stands in them into the clean run): give one of the two"
            )
        corrupted = source
    after = None if corrupted is None else _prompts(tokenizer, corrupted, other, chat, n)
    if after is not None:
        _line_up(tokenizer, before, after, other)
    rights = _answers(tokenizer, before, answers, "answers", answer_tokens)
    wrongs = _answers(tokenizer, before, wrong, "wrong", answer_tokens)
    if rights is None and wrongs is not None:
        raise ValueError(f"wrong answers without answers: give both, as in {EXAMPLE}")
    swaps = _answers(tokenizer, before, swapped, "swapped", answer_tokens)
    if swaps is not None and (after is None or rights is None):
        lacking = "answers" if rights is None else "source prompts"
        raise ValueError(
            f"swapped= says what the answer is after an interchange, and there are no {lacking}: "
            f"give them too, as in {SWAP_EXAMPLE}"
        )
    if source is not None and swaps is None:
        raise ValueError(
            "source= without swapped=: say for each prompt what its answer is after the swap, as "
            f"in {SWAP_EXAMPLE}"
        )
    for i, (right, others) in enumerate(zip(rights or [], wrongs or [])):
        if shared := [ids for ids in right if ids in others]:
            raise ValueError(
                f"prompt {i}: {tokenizer.decode(shared[0])!r} is an answer and a wrong answer: "
                "nothing is left to tell apart"
            )
    places = {key: _places(before, key, spec) for key, spec in (positions or {}).items()}
    if "END" in places:
        raise ValueError("END is always the last token of the prompt: give the place another name")
    words = {key: _labels(key, values, n) for key, values in (labels or {}).items()}
    rows = [
        Row(
            before[i].ids,
            None if after is None else after[i].ids,
            rights[i] if rights else [],
            wrongs[i] if wrongs else [],
            {key: at[i] for key, at in places.items()},
            {key: values[i] for key, values in words.items()},
            swaps[i] if swaps else (),
        )
        for i in range(n)
    ]
    details = {"bos": bos_word(tokenizer), **(metadata or {})}
    if source is not None:
        details["other prompts"] = "source"  # what `show` calls them
    if answer_tokens == "first":
        details["answers"] = "first token"
    if metric is None:
        metric = "logit_diff" if wrongs else "log_prob"
    check_metric(metric)
    if METRICS[metric].compares and rights and not wrongs:
        raise ValueError(
            f"metric={metric!r} compares with wrong answers, and there are none: give wrong=[...], "
            "or metric='log_prob'"
        )
    task = assemble(rows, name, metric, details, tokenizer, remake)
    return task.with_metric(metric) if rights else task


# --- prompts -----------------------------------------------------------------------------------


def _prompts(
    tokenizer: Any, given: Any, what: str, chat: bool, wanted: int | None = None
) -> list[Prompt]:
    if isinstance(given, Tensor):
        given = list(given[None] if given.ndim == 1 else given)
    elif hasattr(given, "tolist"):
        given = given.tolist()
    elif isinstance(given, str) or _is_ids(given):
        given = [given]
    if not isinstance(given, Sequence):
        raise TypeError(
            f"{what} is a {type(given).__name__}: give a list of strings, as in {EXAMPLE}; a "
            "file or "
            "a data frame goes to interp.tasks.read(source, model)"
        )
    if chat and given and isinstance(given[0], Mapping):
        given = [given]  # one conversation
    if not len(given):
        raise ValueError(
            f"{what} is empty: a task needs at least one example (n must be 1 or more)"
        )
    if wanted is not None and len(given) != wanted:
        raise ValueError(f"{wanted} clean prompts and {len(given)} {what} ones: give one for each")
    return [_prompt(tokenizer, one, what, i, chat) for i, one in enumerate(given)]


def _is_ids(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(x, int) and not isinstance(x, bool) for x in value)
    )


def _check_ids(given: Any, what: str, size: int | None) -> None:
    """A ValueError for a number, at any depth, that is no token's (-1 would count from the end)."""
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, Integral) and not isinstance(given, bool):
        if not 0 <= given < (size or MOST_TOKENS):
            known = f"0 to {(size or MOST_TOKENS) - 1}"
            raise ValueError(f"{what}: {short(given)} is no token's id: token ids are {known}")
    elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
        for one in given:
            if not isinstance(one, str):
                _check_ids(one, what, size)


def _prompt(tokenizer: Any, given: Any, what: str, i: int, chat: bool) -> Prompt:
    start = 0
    if chat:
        text = templated(tokenizer, given)
        own = given if isinstance(given, str) else str(given[-1].get("content", ""))
        start = max(text.rfind(own), 0)
    elif isinstance(given, str):
        text = given
    else:
        ids = given.tolist() if isinstance(given, Tensor) else given
        if not _is_ids(ids):
            raise TypeError(
                f"{what} prompt {i} is a {type(given).__name__}: a prompt is a string or a list of "
                f"token ids, as in {EXAMPLE}"
            )
        spans, text = [], ""
        for k in range(len(ids)):
            longer = tokenizer.decode(ids[: k + 1])
            spans.append((len(text), len(longer)))
            text = longer
        return Prompt(list(ids), text, spans, 0)
    if not text.strip():
        raise ValueError(f"{what} prompt {i} is empty: give some text, for example 'The keys are'")
    if not chat and what == "clean":
        notice_space(tokenizer, text)
    ids = encode(tokenizer, text)
    return Prompt(ids, text, _spans(tokenizer, text, ids), start)


def _spans(tokenizer: Any, text: str, ids: list[int]) -> list[tuple[int, int]]:
    """The characters of the text that each token stands for."""
    if getattr(tokenizer, "is_fast", False):
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans = [tuple(span) for span in found["offset_mapping"]]
        return [(0, 0)] * (len(ids) - len(spans)) + spans
    first = len(ids) - len(tokenizer(text, add_special_tokens=False).input_ids)
    spans, end = [(0, 0)] * first, 0
    for k in range(first, len(ids)):
        longer = len(tokenizer.decode(ids[first : k + 1]))
        spans.append((end, longer))
        end = longer
    return spans


def _line_up(
    tokenizer: Any, before: list[Prompt], after: list[Prompt], other: str = "corrupted"
) -> None:
    for i, (a, b) in enumerate(zip(before, after)):
        if a.ids == b.ids:
            raise ValueError(f"clean and {other} are the same: {short(a.text, QUOTED)}")
        if len(a.ids) != len(b.ids):
            k = next(
                (k for k, (x, y) in enumerate(zip(a.ids, b.ids)) if x != y),
                min(len(a.ids), len(b.ids)) - 1,
            )
            there = [[tokenizer.decode([t]) for t in p.ids[k : k + 3]] for p in (a, b)]
            raise ValueError(
                f"pair {i} has {len(a.ids)} clean and {len(b.ids)} {other} tokens, and patching "
                f"puts one prompt's activations into the other position by position. They part at "
                f"token {k}: {there[0]} in {short(a.text, QUOTED)}, {there[1]} in "
                f"{short(b.text, QUOTED)}. Change words for "
                "others of as many tokens (interp.tasks.corrupt.replace finds some), or leave "
                f"{other} out: ablation, lenses, attention, attribution to logits, head scores "
                "and "
                "steering work on the clean prompts alone."
            )


# --- positions ---------------------------------------------------------------------------------


def _places(prompts: list[Prompt], key: str, spec: Any) -> list[int]:
    span = isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(x, int) for x in spec)
    if isinstance(spec, Tensor):
        spec = spec.tolist()
    if isinstance(spec, Sequence) and not isinstance(spec, str) and not span:
        if len(spec) != len(prompts):
            raise ValueError(
                f"position {key}: {len(spec)} places for {len(prompts)} prompts: give one place "
                "for "
                "all, or a list with one for each"
            )
        each = list(spec)
    else:
        each = [spec] * len(prompts)
    return [_place(prompt, key, one) for prompt, one in zip(prompts, each)]


def _place(prompt: Prompt, key: str, spec: Place) -> int:
    """The token that a place means: the last one that it touches."""
    text = prompt.text
    if callable(spec):
        spec = spec(text[prompt.start :])
    if isinstance(spec, Integral) and not isinstance(spec, bool):
        if not -len(prompt.ids) <= spec < len(prompt.ids):
            raise ValueError(
                f"position {key}: there is no token {spec} in the {len(prompt.ids)} of"
                f" {short(text, QUOTED)}"
            )
        return int(spec) % len(prompt.ids)
    if isinstance(spec, str):
        word = re.compile(r"(?<!\w)" + re.escape(spec.strip()) + r"(?!\w)")
        found = list(word.finditer(text, prompt.start))
        if len(found) > 1:
            raise ValueError(
                f"position {key}: {spec!r} stands {len(found)} times in"
                f" {short(text, QUOTED)}: say which by a regular"
                f" expression (re.compile({spec.strip()!r} + ' gave')), by its characters "
                f"({found[0].start()}, {found[0].end()}), or by a function of the prompt"
            )
        if not found:
            raise ValueError(
                f"position {key}: {short(spec, QUOTED)} does not stand in {short(text, QUOTED)}"
            )
        start, end = found[0].span()
    elif isinstance(spec, re.Pattern):
        match = spec.search(text, prompt.start)
        if match is None:
            raise ValueError(
                f"position {key}: {spec.pattern!r} matches nothing in {short(text, QUOTED)}"
            )
        start, end = match.span(1 if spec.groups else 0)
    elif isinstance(spec, Sequence) and len(spec) == 2:
        start, end = (int(x) + prompt.start for x in spec)
    else:
        raise TypeError(
            f"position {key}: a place is a word, (start, end) in characters, a compiled regular "
            f"expression, a token's number, or a function that gives one of these; got"
            f" {short(spec)}"
        )
    touched = [k for k, (a, b) in enumerate(prompt.spans) if a < end and b > start]
    if not touched or not 0 <= start < end <= len(text):
        raise ValueError(
            f"position {key}: characters {start - prompt.start} to {end - prompt.start} hold no "
            f"token of {short(text[prompt.start :], QUOTED)}"
        )
    return touched[-1]


def _labels(key: str, values: Any, n: int) -> list[str]:
    values = [values] * n if isinstance(values, str) else list(values)
    if len(values) != n:
        raise ValueError(f"label {key!r} has {len(values)} values for {n} prompts")
    return [str(value) for value in values]


# --- answers -----------------------------------------------------------------------------------


def _answers(
    tokenizer: Any, prompts: list[Prompt], given: Any, what: str, answer_tokens: str
) -> list[list[list[int]]] | None:
    """The ids of each prompt's answers: for each prompt a list of answers, each a list of ids."""
    if given is None:
        return None
    if hasattr(given, "tolist"):
        given = given.tolist()
    each = [given] * len(prompts) if isinstance(given, (str, int)) else list(given)
    if len(each) != len(prompts):
        raise ValueError(
            f"{len(prompts)} prompts and {len(each)} {what}: give one for each, as in {EXAMPLE}"
        )
    noticed: list[str] = []
    found = []
    for i, (prompt, some) in enumerate(zip(prompts, each)):
        if is_gap(some):
            raise ValueError(
                f"prompt {i} has no answer among {what} (got {short(some)}): give one for each"
                f" prompt, as in {EXAMPLE}"
            )
        some = [some] if isinstance(some, (str, int)) else list(some)
        if not some:
            raise ValueError(f"prompt {i} has no answer among {what}: each needs at least one")
        ids = [_answer(tokenizer, prompt, one, what, i, noticed) for one in some]
        found.append([one[:1] for one in ids] if answer_tokens == "first" else ids)
    if noticed:
        more = f" (and {len(noticed) - 1} more like it)" if len(noticed) > 1 else ""
        warn(f"{what}: {noticed[0]}{more}")
    return found


def is_gap(value: Any) -> bool:
    """Whether a cell is empty: None, NaN, pandas' NA, or a text without a letter."""
    if isinstance(value, str):
        return not value
    nan = isinstance(value, float) and value != value
    return value is None or nan or type(value).__name__ in ("NAType", "NaTType")


def _answer(
    tokenizer: Any, prompt: Prompt, given: Any, what: str, i: int, noticed: list[str]
) -> list[int]:
    if isinstance(given, int) and not isinstance(given, bool):
        return [given]
    if _is_ids(given):
        return list(given)
    if not isinstance(given, str) or not given:
        raise TypeError(
            f"{what} of prompt {i}: an answer is a string (' are') or token ids, got {short(given)}"
        )
    if says := _space(tokenizer, prompt.text, given):
        noticed.append(f"prompt {i}: {says}")
    alone = tokenizer(given, add_special_tokens=False).input_ids
    whole = encode(tokenizer, prompt.text + given)
    # what follows the prompt in one text, where the prompt's own tokens stay as they are
    follows = whole[: len(prompt.ids)] == prompt.ids and len(whole) > len(prompt.ids)
    ids = list(whole[len(prompt.ids) :] if follows else alone)
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        pieces = [tokenizer.decode([token]) for token in ids]
        raise ValueError(
            f"{what} of prompt {i}: this tokenizer does not know {short(given)} (it reads "
            f"{short(pieces, QUOTED)}): use "
            "another word"
        )
    return ids


def _space(tokenizer: Any, text: str, answer: str) -> str:
    """What is wrong with the space between a prompt and its answer, "" where nothing is."""
    if not text or not answer[0].isalnum():
        return ""
    last = text[-1]
    if last == " ":
        return (
            f"the prompt ends with a space, and tokens carry their space in front: end the prompt "
            f"with {text.rstrip()[-20:]!r} and write the answer as {' ' + answer!r}"
        )
    if last.isdigit() and answer[0].isdigit():
        return ""
    if not (last.isalnum() or last in ".,:;!?'\u2019%"):
        return ""
    spaced, bare = (
        tokenizer(a, add_special_tokens=False).input_ids for a in (" " + answer, answer)
    )
    if spaced == bare:
        return ""
    return (
        f"{answer!r} has no space in front and would run into {text[-20:]!r}: the word's own token "
        f"is {' ' + answer!r}"
    )


# --- the built-in tasks ------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """One pair of prompts as text. places: name -> (the text before, the word that must stand
    there). swapped: the answers after an interchange, where the pair has any.
    """

    clean: str
    corrupted: str
    answers: Sequence[str]
    wrong: Sequence[str]
    places: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    swapped: Sequence[str] = ()


def build(
    name: str,
    tokenizer: Any,
    examples: Sequence[Example],
    metric: str,
    metadata: dict[str, Any],
    remake: Callable[..., Task],
) -> Task:
    """A built-in task: `pairs` with answers of one token, one length, and places proved by
    their text.
    """
    if not examples:
        raise ValueError("a task needs at least one example: n must be 1 or more")
    both = [(encode(tokenizer, e.clean), encode(tokenizer, e.corrupted)) for e in examples]
    length = len(both[0][0])
    for e, (clean, corrupted) in zip(examples, both):
        if not len(clean) == len(corrupted) == length:
            raise ValueError(
                f"prompts of {len(clean)} and {len(corrupted)} tokens among prompts of {length}: "
                f"{e.clean!r} and {e.corrupted!r} do not line up for this tokenizer"
            )
    return pairs(
        tokenizer,
        [e.clean for e in examples],
        [e.corrupted for e in examples],
        [[single(tokenizer, a) for a in e.answers] for e in examples],
        [[single(tokenizer, w) for w in e.wrong] for e in examples],
        {
            place: [_index(tokenizer, e, place, clean) for e, (clean, _) in zip(examples, both)]
            for place in examples[0].places
        },
        {key: [e.labels[key] for e in examples] for key in examples[0].labels},
        name,
        metric=metric,
        swapped=(
            [[single(tokenizer, w) for w in e.swapped] for e in examples]
            if examples[0].swapped
            else None
        ),
        metadata=metadata,
        remake=remake,
    )


def _index(tokenizer: Any, example: Example, place: str, tokens: list[int]) -> int:
    before, word = example.places[place]
    at = len(encode(tokenizer, before)) if before else len(first_tokens(tokenizer))
    found = tokenizer.decode([tokens[at]]).strip() if at < len(tokens) else "(past the end)"
    # the text before must be the tokens before: only then is this the word's own place
    if found != word.strip() or (before and encode(tokenizer, before) != tokens[:at]):
        raise ValueError(
            f"position {place} of {example.clean!r} should be {word!r} but token {at} is {found!r}"
        )
    return at


MOST = 20_000  # prompts that are drawn at once: more would take minutes before the first number


def different(n: int, draw: Callable[[int], Example], what: str) -> list[Example]:
    """n examples, example i from draw(i), no pair of prompts twice.

    Intervals count each example as one more observation.
    """
    if n > MOST:
        raise ValueError(f"n={n} is too many: at most {MOST:,} prompts of {what} (try n=100)")
    found: dict[tuple[str, str], Example] = {}
    for i in range(n):
        drawn = (draw(i) for _ in range(200))
        new = next((e for e in drawn if (e.clean, e.corrupted) not in found), None)
        if new is None:
            raise ValueError(
                f"n={n} is too many: the fillings of this half gave only {len(found)} different "
                f"{what} prompts"
            )
        found[new.clean, new.corrupted] = new
    return list(found.values())
