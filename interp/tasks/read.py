"""Tasks from files and tables: CSV, JSON, Parquet, data frames, datasets, and the field's own
formats.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from interp._errors import listed, short
from interp._files import regular, short_reason
from interp._store import existing
from interp._warn import warn
from interp.tasks.pairs import is_gap, pairs
from interp.tasks.task import Task, is_single, tokenizer_of

# What columns are called in the wild; the first that is there is taken.
NAMES = {
    "clean": ("clean", "prompt", "clean_prompt", "clean_prefix", "original", "text", "input"),
    "corrupted": (
        "corrupted",
        "corrupt",
        "corrupted_prompt",
        "corrupt_prompt",
        "counterfactual",
        "counterfactual_prompt",
        "patch_prefix",
    ),
    "answers": (
        "answers",
        "answer",
        "correct",
        "correct_answer",
        "clean_answer",
        "target",
        "label",
    ),
    "wrong": (
        "wrong",
        "wrong_answers",
        "wrong_answer",
        "incorrect",
        "incorrect_answer",
        "corrupted_answer",
        "patch_answer",
    ),
    "source": ("source", "source_prompt"),
    "swapped": ("swapped", "swapped_answer", "swapped_answers", "swap_answers"),
}
NEEDED = (
    "a column of clean prompts, and where you have them corrupted prompts, answers "
    "and wrong answers. "
    "Name yours: interp.tasks.read(source, model, columns={'clean': 'question', 'corrupted': "
    "'other_question', 'answers': 'right', 'wrong': 'not_right'})"
)


def read(
    source: Any,
    model: Any,
    columns: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    n: int | None = None,
    counterfactual: str | None = None,
    **options: Any,
) -> Task:
    """A task from a file or a table, one example a row.

    Example:
        >>> task = interp.tasks.read("prompts.csv", model)
        >>> task = interp.tasks.read("rows.jsonl", model,
        ...     columns={"clean": "question", "answers": "key"})
        >>> task = interp.tasks.read(frame, model, positions={"SUBJECT": re.compile("key")})
        >>> task = interp.tasks.read(datasets.load_dataset("mib-bench/ioi", split="train"), model,
        ...     n=32)

    Args:
        source: A path to a .csv, .tsv, .json, .jsonl or .parquet file; a pandas data frame; a
            Hugging Face dataset (one split of it); a list of dictionaries; or a dictionary of
            lists. Columns that have a usual name ("clean" or "prompt", "corrupted", "answers",
            "wrong", "source" and "swapped" for the prompts and the answers of an interchange, ...)
            are recognised, and so are the formats of EAP-IG (greater-than and IOI) and knowledge
            circuits (CSV), auto-circuit (JSON), feature-circuits (JSONL), and MIB (rows).
        model: A model, or its tokenizer.
        columns: Which column is what: "clean", "corrupted", "source", "answers", "wrong",
            "swapped", each the name of a column ("metadata.subject" for one inside another) or a
            function of the row; and "labels", a list of columns (without it, every column of words
            that is nothing else; [] for none).
        name: What results call the task; the file's name if None.
        n: The first so many rows.
        counterfactual: Which of MIB's counterfactuals are the corrupted prompts; the first if None.
        options: What `interp.tasks.pairs` takes besides: positions, metric, answer_tokens, chat.

    Returns:
        A task; columns of words that are nothing else are its labels.

    Raises:
        ValueError: If the file has none of the columns, with those that it has.
        TypeError: If the source is none of the above.
    """
    rows, extra = _rows(source)
    if not rows:
        raise ValueError(f"{_named(source)} has no rows: a task needs at least one example")
    if n is not None and n < 1:
        raise ValueError(f"n={n}: a task needs at least one example, n=1 or more")
    rows = _mappings(rows[:n], source)
    tokenizer = tokenizer_of(model)
    try:
        if columns is not None:
            found = _chosen(rows, columns, source)
        else:
            has = set(rows[0])
            known = next((make for fits, make in FORMATS if fits(has, rows[0])), None)
            found = known(rows, tokenizer, counterfactual) if known else _plain(rows, source)
        _check_gaps(found, source)
        found = {**found, **(extra(rows, tokenizer, found) if extra else {})}
    except (LookupError, AttributeError, TypeError, OverflowError) as error:
        if columns is not None and any(map(callable, columns.values())):
            raise  # of a function of the user's own
        raise ValueError(
            f"{_named(source)} has a row that does not fit the others ({error!r:.100}): each row"
            f" needs text in the columns {listed(map(repr, rows[0]))}"
        ) from None
    positions = {**found.pop("positions", {}), **options.pop("positions", {})}
    default = Path(source).stem if isinstance(source, (str, Path)) else "mine"
    try:
        return pairs(model, **found, positions=positions, name=name or default, **options)
    except TypeError as error:
        if not isinstance(source, (str, Path)):
            raise
        raise ValueError(f"{_named(source)}: {error}") from None  # the file's fault, not the call's


def _mappings(rows: list, source: Any) -> list[dict[str, Any]]:
    """The rows with all columns of the first, None where one has nothing."""
    odd = next((i for i, row in enumerate(rows) if not isinstance(row, Mapping)), None)
    if odd is not None:
        raise ValueError(
            f"{_named(source)}: row {odd} is {short(rows[odd])}, not a mapping of columns to values"
        )
    return [{**dict.fromkeys(rows[0]), **row} for row in rows]


def _check_gaps(found: Mapping[str, Any], source: Any) -> None:
    """A ValueError for the first cell that is empty where a prompt or an answer is needed."""
    for column in NAMES:
        gaps = [i for i, value in enumerate(found.get(column) or ()) if is_gap(value)]
        if gaps:
            which = ", ".join(map(str, gaps[:5])) + (", ..." if gaps[5:] else "")
            raise ValueError(
                f"{_named(source)} has nothing in {column!r} in {len(gaps)} of its"
                f" {len(found[column])} rows (row {which}, counted from 0): fill them in, or leave"
                " these rows out (of a data frame: frame.dropna(subset=[...]))"
            )


# --- rows -----------------------------------------------------------------------------------------


def _rows(source: Any) -> tuple[list[dict[str, Any]], Callable | None]:
    """The rows as dictionaries, and what the file says besides about positions."""
    if isinstance(source, (str, Path)):
        return _file(Path(source))
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        return source.to_dict("records"), None
    if isinstance(source, Mapping):
        first = next(iter(source.values()), None)
        if hasattr(first, "column_names"):
            raise ValueError(
                f"this dataset has the splits {listed(source)}: choose one, "
                f"interp.tasks.read(dataset[{next(iter(source))!r}], model)"
            )
        if "prompts" in source:
            return _auto_circuit(source)
        if all(
            isinstance(column, Sequence) and not isinstance(column, str)
            for column in source.values()
        ):
            keys = list(source)
            return [dict(zip(keys, row)) for row in zip(*source.values())], None
    if hasattr(source, "column_names") and hasattr(source, "__getitem__"):
        return [dict(row) for row in source], None
    if isinstance(source, Sequence) and all(isinstance(row, Mapping) for row in source):
        return [dict(row) for row in source], None
    hint = ""
    if isinstance(source, Sequence) and source and isinstance(source[0], str):
        hint = (
            "; strings go to interp.tasks.pairs(model, clean=[...], corrupted=[...], answers=[...])"
        )
    raise TypeError(
        f"a {type(source).__name__} is not a table of prompts: give a path ('prompts.csv'), a data "
        f"frame, a dataset, or a list of dictionaries{hint}"
    )


def _file(path: Path) -> tuple[list[dict[str, Any]], Callable | None]:
    regular(path)
    existing(path, "a task of strings is interp.tasks.pairs(model, clean=[...], answers=[...])")
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        import pandas as pd

        # as strings: "07" stays "07", and " are" keeps its space
        sep = "\t" if kind == ".tsv" else ","
        try:
            frame = pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False)
        except pd.errors.EmptyDataError:
            raise ValueError(
                f"{str(path)!r} is empty: a task needs a line with the columns' names, such as"
                " clean,corrupted,answers,wrong, and a line for each prompt"
            ) from None
        except UnicodeDecodeError:
            raise ValueError(f"{str(path)!r} is not UTF-8 text: save it as UTF-8 first") from None
        except pd.errors.ParserError as error:
            raise ValueError(
                f"{str(path)!r} is no table of {kind[1:]} ({str(error).strip()}): put a cell with"
                " a comma in quotation marks"
            ) from None
        if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for names
            raise ValueError(
                f"{str(path)!r} has rows with more cells than its {len(frame.columns)} columns"
                f" ({listed(map(repr, frame.columns))}): put a cell with a comma in quotation"
                " marks"
            )
        return frame.to_dict("records"), None
    if kind == ".parquet":
        import pandas as pd

        try:
            return pd.read_parquet(path).to_dict("records"), None
        except ImportError:
            raise ImportError("Parquet files need pyarrow: pip install pyarrow") from None
        except Exception as error:  # pyarrow's own, of several kinds
            raise ValueError(
                f"{str(path)!r} is no Parquet file, or was cut short ({short_reason(error)})"
            ) from None
    if kind in (".jsonl", ".ndjson"):
        lines = [line for line in _text(path).splitlines() if line.strip()]
        return _mappings([_json(path, line) for line in lines], str(path)) if lines else [], None
    if kind == ".json":
        found = _json(path, _text(path))
        if not isinstance(found, dict | list):
            raise ValueError(f"{str(path)!r} holds {short(found)}, not a table of prompts")
        try:
            return _rows(found)
        except TypeError as error:
            raise ValueError(f"{str(path)!r}: {error}") from None
    raise ValueError(
        f"{str(path)!r} is none of .csv, .tsv, .json, .jsonl, .parquet: save it as one of "
        "these, or "
        "give its rows as a list of dictionaries"
    )


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{str(path)!r} nests too deeply: it is no table of prompts") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON ({error})") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r} is not UTF-8 text: save it as UTF-8 first") from None


def _named(source: Any) -> str:
    return repr(str(source)) if isinstance(source, (str, Path)) else f"this {type(source).__name__}"


# --- columns --------------------------------------------------------------------------------------


def _chosen(rows: list[dict], columns: Mapping[str, Any], source: Any) -> dict[str, Any]:
    odd = [key for key in columns if key not in (*NAMES, "labels")]
    if odd or "clean" not in columns:
        raise ValueError(
            f"columns={dict(columns)!r}: the keys are clean (always), corrupted, source, answers,"
            " wrong, swapped and labels, for example columns={'clean': 'question',"
            " 'answers': 'key'}"
        )
    found: dict[str, Any] = {
        key: [_cell(row, columns[key], source) for row in rows] for key in NAMES if key in columns
    }
    left = [
        str(key)
        for key in rows[0]
        if str(key).strip().lower()
        in {
            name
            for role in NAMES
            if role not in columns and (role != "source" or "swapped" in columns)
            for name in NAMES[role]
        }
        and key not in columns.values()
    ]
    if left:
        warn(
            f"columns= names none of {listed(map(repr, left))}, so they are left out: add them,"
            f" for example columns={{..., {left[0]!r}: {left[0]!r}}}"
        )
    used = [*columns.values(), *left]
    labels = columns.get("labels", _words(rows, used))
    labels = [labels] if isinstance(labels, str) else labels
    return {
        **found,
        "labels": {key: [str(_cell(row, key, source)) for row in rows] for key in labels},
    }


def _cell(row: dict, column: Any, source: Any) -> Any:
    if callable(column):
        return column(row)
    value: Any = row
    for key in [column] if column in row else str(column).split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(
                f"{_named(source)} has no column {column!r}; it has {listed(map(repr, row))}"
            )
        value = value[key]
    return value


def _plain(rows: list[dict], source: Any) -> dict[str, Any]:
    """Columns with usual names."""
    has = {str(key).strip().lower(): key for key in rows[0]}
    chosen = {key: next((has[k] for k in names if k in has), None) for key, names in NAMES.items()}
    if chosen["swapped"] is None or chosen["corrupted"] is not None:
        chosen["source"] = None  # where a row comes from: a label
    if chosen["clean"] is None or not isinstance(rows[0][chosen["clean"]], (str, list)):
        raise ValueError(
            f"{_named(source)} has the columns {listed(map(repr, rows[0]))}, and a task needs "
            f"{NEEDED}"
        )
    found: dict[str, Any] = {
        key: [row[column] for row in rows] for key, column in chosen.items() if column is not None
    }
    words = _words(rows, list(chosen.values()))
    return {**found, "labels": {str(k): [str(row[k]) for row in rows] for k in words}}


def _words(rows: list[dict], used: list) -> list:
    """The columns of words and whole numbers that are nothing else: they are labels."""
    return [k for k in rows[0] if k not in used and isinstance(rows[0][k], (str, int))]


# --- the field's formats --------------------------------------------------------------------------


def _spaced(prompt: str, word: str) -> str:
    """The word as it follows the prompt: after a space unless the prompt ends with one."""
    return word if word[:1].isspace() or prompt[-1:].isspace() else f" {word}"


def _greater_than(rows: list[dict], tokenizer: Any, _: Any) -> dict[str, Any]:
    """EAP-IG: clean, corrupted, label, the label being a year of two digits that must be
    exceeded.
    """
    years = [f"{year:02d}" for year in range(100) if is_single(tokenizer, f"{year:02d}")]
    if len(years) < 90:
        raise ValueError(
            "these rows are EAP-IG's greater-than task, whose answers are numbers of two digits in "
            "one token, and this tokenizer has no such tokens: use interp.tasks.greater_than(model)"
        )
    labels = [int(row["label"]) for row in rows]
    return {
        "clean": [row["clean"] for row in rows],
        "corrupted": [row["corrupted"] for row in rows],
        "answers": [[y for y in years if int(y) > label] for label in labels],
        "wrong": [[y for y in years if int(y) <= label] for label in labels],
        "labels": {"year": [f"{label:02d}" for label in labels]},
        "metric": "prob_diff",
    }


def _ids(
    rows: list[dict], tokenizer: Any, right: str, wrong: str, inside: bool
) -> tuple[list[str], list[str]]:
    """Answers given as token ids of one tokenizer, as the words they are in this one."""
    out = []
    for column in (right, wrong):
        words = [tokenizer.decode([int(row[column])]) for row in rows]
        odd = [
            i
            for i, (word, row) in enumerate(zip(words, rows))
            if not word.strip() or (inside and word.strip() not in row["clean"])
        ]
        if odd:
            raise ValueError(
                f"column {column!r} holds token ids of another tokenizer: id "
                f"{rows[odd[0]][column]} "
                f"is {words[odd[0]]!r} in this one, which does not fit {rows[odd[0]]['clean']!r}. "
                "Write the answers as strings in columns 'answers' and 'wrong'"
            )
        out.append(words)
    return out[0], out[1]


def _eap_ioi(rows: list[dict], tokenizer: Any, _: Any) -> dict[str, Any]:
    """EAP-IG: clean, corrupted, corrupted_hard, correct_idx, incorrect_idx."""
    answers, wrong = _ids(rows, tokenizer, "correct_idx", "incorrect_idx", True)
    return {
        "clean": [row["clean"] for row in rows],
        "corrupted": [row["corrupted"] for row in rows],
        "answers": answers,
        "wrong": wrong,
    }


def _knowledge(rows: list[dict], tokenizer: Any, _: Any) -> dict[str, Any]:
    """Knowledge circuits and EAP-IG: clean, country_idx, corrupted, corrupted_country_idx."""
    answers, wrong = _ids(rows, tokenizer, "country_idx", "corrupted_country_idx", False)
    bad = [word for word in answers + wrong if not word.strip()[:1].isupper()]
    if bad:
        raise ValueError(
            f"country_idx holds token ids of another tokenizer ({bad[0]!r} is no country): "
            "write the "
            "answers as strings in columns 'answers' and 'wrong'"
        )
    return {
        "clean": [row["clean"] for row in rows],
        "corrupted": [row["corrupted"] for row in rows],
        "answers": answers,
        "wrong": wrong,
    }


def _feature_circuits(rows: list[dict], tokenizer: Any, _: Any) -> dict[str, Any]:
    """feature-circuits: clean_prefix, patch_prefix, clean_answer, patch_answer, case."""
    return {
        "clean": [row["clean_prefix"] for row in rows],
        "corrupted": [row["patch_prefix"] for row in rows],
        "answers": [_spaced(row["clean_prefix"], row["clean_answer"]) for row in rows],
        "wrong": [_spaced(row["clean_prefix"], row["patch_answer"]) for row in rows],
        "labels": {"case": [str(row.get("case", "")) for row in rows]},
    }


def _mib(rows: list[dict], tokenizer: Any, counterfactual: str | None) -> dict[str, Any]:
    """MIB: prompt, X_counterfactual, and the answer in metadata, choices or label."""
    kinds = [
        key
        for key, value in rows[0].items()
        if key.endswith("counterfactual") and isinstance(value, Mapping) and "prompt" in value
    ]
    if counterfactual is not None and counterfactual not in kinds:
        raise ValueError(
            f"there is no counterfactual {counterfactual!r} in these rows; they have "
            f"{', '.join(kinds)}"
        )
    other = counterfactual or kinds[0]
    rights, wrongs = [], []
    for row in rows:
        rights.append(_spaced(row["prompt"], _mib_answer(row)))
        twin = row[other]
        about = row.get("metadata")
        if isinstance(about, Mapping) and "subject" in about:
            wrongs.append(_spaced(row["prompt"], about["subject"]))
        else:
            wrongs.append(
                _spaced(row["prompt"], _mib_answer({"choices": row.get("choices"), **twin}))
            )
    return {
        "clean": [row["prompt"] for row in rows],
        "corrupted": [row[other]["prompt"] for row in rows],
        "answers": rights,
        "wrong": wrongs,
    }


def _mib_answer(row: Mapping) -> str:
    about, choices = row.get("metadata"), row.get("choices")
    if isinstance(about, Mapping) and "indirect_object" in about:
        return str(about["indirect_object"])
    if row.get("answerKey") is not None:
        key = row["answerKey"]
        whole = isinstance(key, int) and isinstance(choices, Mapping)
        return str(choices["label"][key] if whole else key)
    if row.get("label") is not None:
        return str(row["label"])
    raise ValueError(
        f"these rows look like MIB's, but the answer is in none of metadata.indirect_object, "
        f"answerKey and label; they have {listed(row)}: name the columns, for example "
        "columns={'clean': 'prompt', 'corrupted': 'random_counterfactual.prompt', 'answers': 'key'}"
    )


def _auto_circuit(found: Mapping) -> tuple[list[dict[str, Any]], Callable]:
    """auto-circuit: {"prompts": [{clean, corrupt, answers, wrong_answers}], "word_idxs",
    "seq_labels"}.
    """
    prompts = found["prompts"]
    if not isinstance(prompts, list | tuple) or not all(isinstance(p, Mapping) for p in prompts):
        raise ValueError(
            f"prompts of an auto-circuit file are a list of mappings, and here {short(prompts)}"
        )
    rows = [dict(row) for row in prompts]
    for row in rows:
        if not {"clean", "corrupt", "answers", "wrong_answers"} <= set(row):
            raise ValueError(
                f"a prompt of an auto-circuit file has clean, corrupt, answers and wrong_answers; "
                f"here it has {listed(row)}"
            )

    def places(rows: list[dict], tokenizer: Any, columns: dict) -> dict[str, Any]:
        """The file's positions, where the prompts have as many tokens for this tokenizer."""
        from interp.tasks.task import encode

        named, size = found.get("word_idxs") or {}, len(found.get("seq_labels") or [])
        lengths = {len(encode(tokenizer, p) if isinstance(p, str) else p) for p in columns["clean"]}
        size = size or named.get("end", -2) + 1
        if not named or lengths != {size}:
            return {}
        return {"positions": {k: int(i) for k, i in named.items() if k.lower() != "end"}}

    return rows, places


def _is_mib(has: set, row: Mapping) -> bool:
    twins = [k for k in has if str(k).endswith("counterfactual")]
    return "prompt" in has and any(
        isinstance(row[k], Mapping) and "prompt" in row[k] for k in twins
    )


def _is_greater_than(has: set, row: Mapping) -> bool:
    if not {"clean", "corrupted", "label"} <= has or "answers" in has:
        return False
    label = str(row["label"]).strip()
    return label.isdigit() and len(label) <= 2 and str(row["clean"])[-1:].isdigit()


FORMATS: list[tuple[Callable[[set, Mapping], bool], Callable]] = [
    (lambda has, row: {"clean", "correct_idx", "incorrect_idx"} <= has, _eap_ioi),
    (lambda has, row: {"clean", "country_idx", "corrupted_country_idx"} <= has, _knowledge),
    (lambda has, row: {"clean_prefix", "patch_prefix", "clean_answer"} <= has, _feature_circuits),
    (_is_greater_than, _greater_than),
    (_is_mib, _mib),
]
