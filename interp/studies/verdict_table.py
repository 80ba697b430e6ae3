"""The verdict table of a study: shown in the notebook, recorded as JSON beside it, compared on
every run.

The environment says what a run is for, so that a notebook needs one call whoever runs it:
INTERP_RECORD=1 records (the builder), INTERP_RECORD=check fails on a changed verdict (the tests),
unset shows only (a reader's own session never overwrites the record). INTERP_ROWS=PATH also writes
this run's rows to PATH.
"""

import html
import json
import os
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from interp import _files
from interp._store import write_text
from interp.studies.claim_files import claims_path, load_claims
from interp.studies.notebooks.paths import file_of, home
from interp.studies.tolerance import narrow, open_words, tolerance
from interp.studies.verdict_rules import (
    DOES_NOT_HOLD,
    HOLDS,
    NOT_TESTABLE,
    PARTLY,
    WORDS,
    Measured,
    Verdict,
    number_text,
    short,
)

# shape and word carry the meaning; the colour only repeats it (these four read on white and on
# black)
MARK = {HOLDS: "✔", PARTLY: "◐", DOES_NOT_HOLD: "✘", NOT_TESTABLE: "○"}
COLOUR = {HOLDS: "#2e9e5b", PARTLY: "#c98a12", DOES_NOT_HOLD: "#d65045", NOT_TESTABLE: "#8a8f98"}
WIDTH = (
    100  # a fixed width: the text form is stored in notebooks and must not depend on who built them
)


class VerdictChanged(Exception):
    """A verdict differs from the recorded one."""


def number(measured: Measured | None) -> dict | None:
    """The measured number as JSON, four significant digits."""
    if measured is None:
        return None
    keep = {k: float(f"{getattr(measured, k):.4g}") for k in ("value", "low", "high")}
    extra = {k: getattr(measured, k) for k in ("unit", "kind") if getattr(measured, k)}
    return {**keep, "n": measured.n, **extra}


def row(verdict: Verdict) -> dict:
    """Everything a verdict row must carry, as plain JSON."""
    claim = verdict.claim
    out = {
        "key": claim.key,
        "verdict": verdict.word,
        "why": verdict.why,
        "says": claim.says,
        "paper": claim.paper,
        "source": claim.source,
        "metric": claim.metric,
        "measured": number(verdict.measured),
        "control": claim.control,
        "control_measured": number(verdict.control),
        "null": claim.null,
        "thresholds": claim.threshold,
        "note": verdict.note,
        "varies": claim.varies,
        "within_tolerance": list(open_words(verdict)),
        "narrow": list(narrow(verdict)),
        "quote": claim.quote,
        "question": claim.question,
        "gates": [
            {
                "name": g.name,
                "measured": number(g.measured),
                "needs": g.threshold,
                "passed": g.passed,
            }
            for g in verdict.gates
        ],
    }
    if verdict.parts:
        out["parts"] = [
            {
                "name": name,
                "verdict": v.word,
                "measured": number(v.measured),
                "control_measured": number(v.control),
                "null": v.claim.null,
                "varies": v.claim.varies,
                "within_tolerance": list(open_words(v)),
                "narrow": list(narrow(v)),
            }
            for name, v in verdict.parts
        ]
    return out


def _interval(got: dict | None) -> str:
    return (
        ""
        if got is None
        else number_text(got["value"], got["low"], got["high"], got.get("kind", ""))
    )


def _n(got: dict) -> str:
    return f"n = {got['n']}" + (f" {got['unit']}" if got.get("unit") else "")


def _word(r: dict) -> str:
    """The verdict's word; whether another lies within a tenth of the interval."""
    return r["verdict"] + (", narrow" if r.get("narrow") else "")


def _why(r: dict) -> str:
    other = " or ".join(f"'{w}'" for w in r.get("narrow", ()))
    return r["why"] + (f"; narrow: another run may say {other}" if other else "")


def _ours(r: dict) -> list[str]:
    """Our number, a line each: the one number, or one line a part, with a verdict of its own unless
    the whole row is not testable.
    """
    lines = [f"{_interval(r['measured'])}, {_n(r['measured'])}"] if r["measured"] else []
    for part in r.get("parts", []):
        got = part["measured"]
        number = f"{_interval(got)}, {_n(got)}" if got else part["verdict"]
        near = " (narrow)" if part.get("narrow") else ""
        mark = "" if r["verdict"] == NOT_TESTABLE else f"{MARK[part['verdict']]} "
        lines.append(f"{mark}{part['name']}: {number}{near}")
    return lines or ["not measured"]


def _control(r: dict) -> list[str]:
    if r["control"] == "none":
        return [f"none (null: {short(r['null'])})"]
    named = [
        r["control"] + (f": {_interval(r['control_measured'])}" if r["control_measured"] else "")
    ]
    for part in r.get("parts", []):
        if part["control_measured"]:
            named.append(f"{part['name']}: {_interval(part['control_measured'])}")
    return named


def _gates(rows: Iterable[dict]) -> list[str]:
    """One line a gate, each once."""
    seen = {}
    for g in (g for r in rows for g in r["gates"]):
        word = "passed" if g["passed"] else "FAILED"
        needs = g.get("needs") or f"at least {short(g['at_least'])}"
        seen[g["name"]] = f"gate {word}: {g['name']} = {_interval(g['measured'])}, needs {needs}"
    return list(seen.values())


# whose claims they are, in the order of the tables: the paper's, ours, and those of older studies
KINDS = {
    "paper": "What the paper says",
    "ours": "What we ask",
    "unquoted": "What the paper says, in our words",
}


def kind_of(r: dict) -> str:
    """Whose claim a recorded row is about: "paper" (it quotes one), "ours", or "unquoted"."""
    return "paper" if r.get("quote") else "ours" if r.get("question") else "unquoted"


def comparisons(rows: Iterable[dict]) -> str:
    """The sentence on how many comparisons were made."""
    rows = list(rows)
    numbers = sum(len(r.get("parts", ())) or 1 for r in rows)
    counted = f"{len(rows)} row{'s'[: len(rows) != 1]} with {numbers} number{'s'[: numbers != 1]}"
    return (
        f"{counted}, each judged by itself at 95 %, without a"
        " correction for their number: of forty such numbers behind which there is nothing, one"
        " would still seem to lie beyond its null."
    )


@dataclass(frozen=True)
class Table:
    """The verdict table of one run: `rows` as recorded, drawn as HTML in a notebook and as text
    elsewhere.
    """

    name: str
    rows: tuple[dict, ...]
    model: str
    fast: bool = False
    note: str = ""

    def counts(self) -> dict[str, int]:
        """How many rows have each verdict, in the order of the four words."""
        return {w: sum(r["verdict"] == w for r in self.rows) for w in WORDS}

    def _kinds(self) -> list[tuple[str, str, list[dict]]]:
        """Each table's kind, its title and its rows, where there are any."""
        sorted_rows = {k: [r for r in self.rows if kind_of(r) == k] for k in KINDS}
        return [(k, KINDS[k], rows) for k, rows in sorted_rows.items() if rows]

    def __iter__(self):
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def _head(self) -> str:
        return f"Verdicts of {self.name} on {self.model}" + (" (FAST)" if self.fast else "")

    def __repr__(self) -> str:
        out = [self._head(), *_gates(self.rows)]
        for kind, title, rows in self._kinds():
            out += ["", f"{title}: {tally(rows)}"]
            for r in rows:
                out += ["", f"{MARK[r['verdict']]} {_word(r).upper()}  {r['key']}"]
                for line in _lines(kind, r):
                    out += textwrap.wrap(
                        line, WIDTH - 4, initial_indent="    ", subsequent_indent="      "
                    )
        feet = [comparisons(self.rows), *([self.note] if self.note else [])]
        return "\n".join([*out, "", *(x for foot in feet for x in textwrap.wrap(foot, WIDTH))])

    def _repr_html_(self) -> str:
        gates = "".join(f"<br>{html.escape(g)}" for g in _gates(self.rows))
        tables = "".join(
            f"<div style='margin-top:.8em'><b>{html.escape(title)}</b>: {tally(rows, ' · ')}</div>"
            + _html_table(kind, rows)
            for kind, title, rows in self._kinds()
        )
        note = f"<br>{html.escape(self.note)}" if self.note else ""
        return (
            f"<div><b>{html.escape(self._head())}</b>{gates}</div>{tables}<div><small>Thresholds"
            f" were fixed before measuring. {html.escape(comparisons(self.rows))}{note}"
            "</small></div>"
        )


def tally(rows: Iterable[dict], between: str = ", ") -> str:
    """How many rows have each verdict, with its mark: "✔ 2 holds, ✘ 1 does not hold"."""
    rows = list(rows)
    counts = {w: sum(r["verdict"] == w for r in rows) for w in WORDS}
    return between.join(f"{MARK[w]} {n} {w}" for w, n in counts.items() if n)


def claim_text(r: dict) -> str:
    """What a row claims: the quote with its place, our question, or older studies' words."""
    if r.get("quote"):
        return f"“{r['quote']}” ({r['source']})"
    return r["says"] if kind_of(r) == "ours" else f"{r['says']} ({r['source']})"


def _lines(kind: str, r: dict) -> list[str]:
    lines = [claim_text(r)]
    lines += [f"the paper's number: {r['paper']}"] if kind != "ours" else []
    lines += [f"metric: {r['metric']}"]
    lines += [f"ours: {x}" for x in _ours(r)] + [f"control: {x}" for x in _control(r)]
    lines += [f"holds if {r['thresholds']} (fixed before measuring)", f"because: {_why(r)}"]
    return lines + ([f"note: {r['note']}"] if r["note"] else [])


def _html_table(kind: str, rows: list[dict]) -> str:
    esc = html.escape
    cell = "padding:.35em .6em;text-align:left;vertical-align:top;white-space:normal"
    heads = ["verdict", "claim", "the paper's number", "measured [95 % interval]", "control"]
    if kind == "ours":
        heads[1:3] = ["question"]
    body = []
    for r in rows:
        word = f"{MARK[r['verdict']]}&nbsp;{esc(_word(r))}"
        badge = f"<b>{word}</b><br><small>{esc(_why(r))}</small>"
        note = f"<br><small>{esc(r['note'])}</small>" if r["note"] else ""
        cells = [f"<b>{esc(r['key'])}</b><br>{esc(claim_text(r))}{note}"]
        cells += [esc(r["paper"])] if kind != "ours" else []
        cells += [
            "<br>".join(map(esc, _ours(r))) + f"<br><small>{esc(r['metric'])}</small>",
            "<br>".join(map(esc, _control(r))),
            esc(r["thresholds"]),
        ]
        first = f'<td style="{cell};border-left:5px solid {COLOUR[r["verdict"]]}">{badge}</td>'
        body.append(
            "<tr>" + first + "".join(f'<td style="{cell}">{c}</td>' for c in cells) + "</tr>"
        )
    head = "".join(f'<th scope="col" style="{cell}">{h}</th>' for h in [*heads, "holds if"])
    return (
        '<table style="border-collapse:collapse;color:inherit;font-size:90%">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def verdicts(
    name: str, rows: Iterable[object], *, model: object, fast: bool = False, seed: int = 0
) -> Table:
    """The verdict table of a study; recorded or compared as the environment says.

    INTERP_RECORD and INTERP_ROWS are explained at the top of this file.

    Example:
        >>> verdicts("00-start-here", [claim.judge(...), ...], model=model, fast=FAST)

    Args:
        name: The study.
        rows: A judged claim each; in a notebook's last cell.
        model: The model, or its name.
        fast: Whether this was the short run, which has a record of its own.
        seed: The seed that is written into the record.

    Returns:
        A table that draws itself, with a sentence on how it compares with the record.

    Raises:
        ValueError: If a row is no verdict, or two rows have one key.
        VerdictChanged: If INTERP_RECORD=check and a row differs from the record.
    """
    rows = list(rows)
    if unjudged := [type(r).__name__ for r in rows if not isinstance(r, Verdict)]:
        raise ValueError(
            f"verdicts takes judged claims, not {unjudged[0]}: pass claim.judge(measured(...),"
            " control=...)"
        )
    keys = [r.claim.key for r in rows]
    if not rows or len(set(keys)) < len(keys):
        raise ValueError(f"every claim has one row of its own, not {keys}")
    _check_file(name, rows)
    plain, model = tuple(row(r) for r in rows), model_name(model)
    mode, note = os.environ.get("INTERP_RECORD", ""), ""
    if mode == "1":
        record(name, plain, model=model, fast=fast, seed=seed)
    elif mode == "check":
        check_recorded(name, plain, fast=fast, model=model)
    else:
        note = _compare_kindly(name, plain, fast, model)
    if path := os.environ.get("INTERP_ROWS"):
        write_text(Path(path), dumps(entry(plain, model, seed) | {"name": name, "fast": fast}))
    return Table(name, plain, model, fast, note)


def _check_file(name: str, judged: list[Verdict]) -> None:
    """Refuses rows that are not the claims of the study's file, each once and unchanged."""
    if not claims_path(name).exists():
        return
    claims, keys = load_claims(name), [r.claim.key for r in judged]
    if set(keys) != set(claims):
        raise ValueError(
            f"{name} was judged on {keys}, but its file of claims has {list(claims)}: every claim"
            " has one row"
        )
    for r in judged:
        if r.claim != claims[r.claim.key]:
            raise ValueError(
                f"claim {r.claim.key!r} was judged by other thresholds than those of its file;"
                " a part with its own has a table there, [KEY.parts.PART]"
            )


def model_name(model: object) -> str:
    """The name a record carries for this model."""
    return (
        model
        if isinstance(model, str)
        else str(getattr(getattr(model, "cfg", model), "model_name", type(model).__name__))
    )


def entry(rows: Iterable[dict], model: str, seed: int) -> dict:
    """The record of one run, without dates and times: the same run writes the same bytes."""
    from interp import __version__

    return {"model": model, "interp": __version__, "seed": seed, "rows": list(rows)}


def dumps(data: object) -> str:
    """The data as JSON, as a record holds it."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def recorded(name: str, folder: Path | None = None) -> dict:
    """The record of a study, {"full": {...}, "fast": {...}}; empty where none was made.

    Args:
        name: The study.
        folder: The notebooks folder; `home()` if None, or the present folder where it has a record
            of this name (a study of your own, opened in Jupyter).
    """
    path = file_of("verdicts", f"{name}.json", folder)
    if not path.exists():
        return {}
    content = _files.read_json(path, "recorded verdicts")
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} does not hold recorded verdicts: it is no mapping")
    return content


def record(
    name: str,
    rows: Iterable[dict],
    *,
    model: str,
    fast: bool,
    seed: int = 0,
    folder: Path | None = None,
) -> Path:
    """Writes this run's rows into the study's record; the other mode's rows stay."""
    both = recorded(name, folder) | {"fast" if fast else "full": entry(rows, model, seed)}
    path = Path(folder or home()) / "verdicts" / f"{name}.json"
    write_text(path, dumps({k: both[k] for k in ("full", "fast") if k in both}))
    return path


def differences(
    name: str, rows: Iterable[dict], *, fast: bool, model: str, folder: Path | None = None
) -> list[str] | None:
    """One sentence for each number and word that the record does not allow.

    Numbers must lie within the tolerance of `interp.studies.tolerance`. Another word is allowed
    where a threshold lies within that tolerance of the numbers, in this run or in the record.

    Args:
        name: The study.
        rows: The rows of this run, as `row` gives them.
        fast: Whether they are compared with the FAST record.
        model: The model of this run.
        folder: The notebooks folder; `home()` if None.

    Returns:
        The sentences; empty when all is as recorded, None when the record is of another model or
        missing.
    """
    was = recorded(name, folder).get("fast" if fast else "full")
    if was is None or was["model"] != model:
        return None
    now, before = ({r["key"]: r for r in some} for some in (rows, was["rows"]))
    lines = []
    for key in before | now:
        if key not in before or key not in now:
            lines.append(
                f"{key}: recorded {_word_of(before.get(key))!r}, now {_word_of(now.get(key))!r}"
            )
        else:
            lines += [f"{key}: {line}" for line in _row_differences(before[key], now[key])]
    return lines


def _word_of(row: dict | None) -> str:
    return "no such row" if row is None else row["verdict"]


def _row_differences(before: dict, now: dict, part: str = "") -> list[str]:
    """What differs by more than the tolerance between two rows of one claim, or of one part."""
    words, lines = {before["verdict"], now["verdict"]}, []
    allowed = {*now.get("within_tolerance", ()), *before.get("within_tolerance", ())}
    # each row allows its own word, and the words that it might as well have had
    if len(words) > 1 and not words & allowed:
        lines.append(f"{part}recorded {before['verdict']!r}, now {now['verdict']!r}")
    reference = now.get("null")
    if reference is None and now["control_measured"]:
        reference = now["control_measured"]["value"]
    varies = now.get("varies", "")
    pairs = [
        ("", before.get("measured"), now["measured"], reference),
        ("control ", before.get("control_measured"), now["control_measured"], None),
    ]
    gates = {g["name"]: g.get("measured") for g in before.get("gates", ())}
    for g in now.get("gates", ()):
        pairs.append((f"gate {g['name']} ", gates.get(g["name"]), g["measured"], None))
    for what, old, new, null in pairs:
        if old is None or new is None:
            continue  # a gate failed on one side, and then the words differ
        by = max(_by(x, varies, null) for x in (old, new))
        if abs(old["value"] - new["value"]) > by + 1e-3 * abs(old["value"]):  # 4 digits are kept
            lines.append(
                f"{part}{what}recorded {short(old['value'])}, now {short(new['value'])}, which is"
                f" more than {short(by)} apart"
            )
    parts = {p["name"]: p for p in before.get("parts", ())}
    for p in now.get("parts", ()):
        if p["name"] in parts:
            lines += _row_differences(parts[p["name"]], p, f"part {p['name']!r} ")
    return lines


def _by(got: dict, varies: str, null: float | None) -> float:
    value, low, high, n = (got[k] for k in ("value", "low", "high", "n"))
    return tolerance(value, low, high, n, varies=varies, null=null)


def check_recorded(
    name: str, rows: Iterable[dict], *, fast: bool, model: str, folder: Path | None = None
) -> bool:
    """Whether there was a record of this model to compare with; every row agrees with it.

    Args:
        name: The study.
        rows: The rows of this run, as `Table.rows` holds them.
        fast: Whether this was the short run.
        model: The model's name.
        folder: The notebooks folder; `home()` if None.

    Raises:
        VerdictChanged: If a number or a word differs by more than the tolerance, naming each; or if
            there is no record, with the command that makes one.
    """
    rows = list(rows)
    mode = "fast" if fast else "full"
    if mode not in recorded(name, folder):
        raise VerdictChanged(
            f"no {mode} verdicts of {name} are recorded; record them: "
            f"python -m interp.studies build {name} --only {mode}"
        )
    changes = differences(name, rows, fast=fast, model=model, folder=folder)
    if changes:
        raise VerdictChanged(
            f"verdicts of {name} ({mode}) changed:\n  "
            + "\n  ".join(changes)
            + f"\nIf that is right: python -m interp.studies build {name}"
        )
    return changes is not None


def _compare_kindly(name: str, rows: tuple[dict, ...], fast: bool, model: str) -> str:
    changes = differences(name, rows, fast=fast, model=model)
    if changes is None:
        return "No record of this model in this mode to compare with; nothing was written."
    if changes:
        return (
            "Differs from the recorded verdicts: " + "; ".join(changes) + ". Nothing was written."
        )
    return "Every verdict is the recorded one, within tolerance; nothing was written."
