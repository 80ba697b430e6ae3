"""Claims as data: one file a study, `notebooks/claims/NN-name.toml`, read by `load_claims`.

    [sparse]                                     # the claim's key
    quote = "less than 5% of the heads are retrieval"   # letter for letter; or question = "..."
    place = "Wu et al. 2024, abstract"           # where the quote stands
    metric = "share of heads that score above 0.1"
    unit = "prompts"                             # what varies behind the interval
    direction = "<="
    holds = 0.05
    partly = 0.1
    null = 1.0                                   # without a control, the value that means no effect

A claim in several parts lists them, `parts = ["prose", "code"]`; a part with thresholds of its own
has a table, `[sparse.parts.code]`, with what differs there. The other fields are those of `Claim`.
"""

import html
import math
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from interp._errors import short, unknown
from interp._files import regular, short_reason
from interp.studies.notebooks.paths import file_of
from interp.studies.verdict_rules import Claim

REQUIRED = ("metric", "unit", "holds")
PART = (
    *REQUIRED,
    "partly",
    "direction",
    "control",
    "null",
    "control_kind",
    "varies",
    "convergence",
    "invalid",
    "unsettled",
)
OPTIONAL = ("quote", "place", "question", "says", "paper", "parts", "needs", *PART[3:])
NUMBERS = ("holds", "partly", "null")
OURS = "our question"


class Claims(Mapping):
    """The claims of a study by key, which show themselves as one table.

    Example:
        >>> claims = load_claims("13-retrieval-heads")
        >>> claims["sparse"].judge(measured(...))
    """

    def __init__(self, name: str, claims: dict[str, Claim]) -> None:
        self.name, self._claims = name, claims

    def __getitem__(self, key: str) -> Claim:
        if key not in self._claims:
            raise unknown("claim", key, list(self._claims), next(iter(self._claims), ""))
        return self._claims[key]

    def __contains__(self, key: object) -> bool:
        return key in self._claims

    def __iter__(self) -> Iterator[str]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)

    def __repr__(self) -> str:
        out = [f"{len(self)} claims of {self.name}"]
        for claim in self.values():
            out += ["", f"{claim.key}: {_about(claim)}"]
            for line in _rule(claim):
                out += textwrap.wrap(line, 96, initial_indent="    ", subsequent_indent="      ")
        return "\n".join(out)

    def _repr_html_(self) -> str:
        cell = "padding:.35em .6em;text-align:left;vertical-align:top;white-space:normal"
        heads = ("", "what the paper says, or what we ask", "what we measure", "holds if")
        head = "".join(f'<th scope="col" style="{cell}">{h}</th>' for h in heads)
        body = []
        for claim in self.values():
            told = [f"<b>{html.escape(claim.key)}</b>", html.escape(_about(claim))]
            measure, rule, *against = map(html.escape, _rule(claim))
            told += [measure, rule + "".join(f"<br><small>{x}</small>" for x in against)]
            body.append("<tr>" + "".join(f'<td style="{cell}">{x}</td>' for x in told) + "</tr>")
        return (
            '<table style="border-collapse:collapse;color:inherit;font-size:90%">'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
            "<div><small>These thresholds were fixed before anything was measured.</small></div>"
        )


def _about(claim: Claim) -> str:
    if claim.quote:
        return f"“{claim.quote}” ({claim.source})"
    return f"{claim.question} ({claim.source})"


def _rule(claim: Claim) -> list[str]:
    """What is measured, when it holds, and beside what."""
    rows = [f"{claim.metric} ({claim.unit})", claim.threshold]
    if claim.control != "none":
        rows.append(f"beside: {claim.control}")
    elif claim.null is not None:
        rows.append(f"fails at {claim.null:g}")
    if claim.convergence:
        rows.append(f"no convergence gate: {claim.convergence}")
    return rows


def load_claims(name: str | Path, folder: Path | None = None) -> Claims:
    """The claims of a study, by key.

    Example:
        >>> claims = load_claims("13-retrieval-heads")
        >>> claims                              # as a table
        >>> claims["sparse"].holds
        0.05

    Args:
        name: The study's name, for `claims/NAME.toml` of the notebooks, or the path of a .toml
            file anywhere ("my-study/claims.toml").
        folder: The notebooks folder; `home()` if None.

    Returns:
        A mapping in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a claim is incomplete, or has a field that no claim has.
    """
    path = claims_path(name, folder)
    if not path.exists():
        raise FileNotFoundError(
            f"no claims at {path}: write them there, or give the path of a file, for example"
            ' load_claims("my-study/claims.toml")'
        )
    tables = _tables(path)
    if not tables:
        raise ValueError(f"{path.name} has no claim; a claim is a table such as [sparse]")
    return Claims(path.stem, {key: _claim(key, table, path) for key, table in tables.items()})


def _tables(path: Path) -> dict[str, object]:
    """What stands in a .toml file; a ValueError that names it where that is no TOML."""
    try:
        return tomllib.loads(regular(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r} is not UTF-8 text: save it as UTF-8 first") from None
    except IsADirectoryError:
        raise ValueError(f"{str(path)!r} is a folder, not a file of claims") from None
    except RecursionError:
        raise ValueError(f"{str(path)!r} nests too deeply: it is no file of claims") from None
    except ValueError as error:  # tomllib's own, and integers of more than 4,300 digits
        raise ValueError(f"{str(path)!r} is not TOML ({short_reason(error)})") from None


def claims_path(name: str | Path, folder: Path | None = None) -> Path:
    """Where the claims of a study are, whether or not the file exists."""
    if str(name).endswith(".toml"):
        return Path(name)
    return file_of("claims", f"{name}.toml", folder)


def _claim(key: str, table: object, path: Path) -> Claim:
    where = f"claim {short(key)} in {path.name}"
    if not isinstance(table, dict):
        raise ValueError(f"{where} is {short(table)}; a claim is a table such as [{short(key)}]")
    for field, value in table.items():
        if field not in REQUIRED + OPTIONAL:
            raise ValueError(f"{where}: {unknown('field', field, REQUIRED + OPTIONAL, 'metric')}")
        _check_kind(field, value, where)
    if missing := [field for field in REQUIRED if field not in table]:
        raise ValueError(f"{where} has no {missing[0]}")
    quote, question = table.get("quote", ""), table.get("question", "")
    if bool(quote) == bool(question):
        raise ValueError(
            f"{where} needs either quote = a sentence of the paper, letter for letter, with its"
            " place, or question = what we ask ourselves"
        )
    if quote and not table.get("place"):
        raise ValueError(f'{where} quotes a paper: place = "Wu et al. 2024, abstract"')
    place = table.get("place", "")
    parts = table.get("parts", ())
    needs = table.get("needs")
    claim = Claim(
        key,
        says=table.get("says") or quote or question,
        paper=table.get("paper") or ("no number" if quote else OURS),
        source=place if quote else f"{OURS}, {place}" if place else OURS,
        metric=table["metric"],
        holds=table["holds"],
        partly=table.get("partly"),
        direction=table.get("direction", ">="),
        control=table.get("control", "none"),
        null=table.get("null"),
        parts=tuple(parts),
        needs=tuple(needs) if needs else None,
        varies=table.get("varies", ""),
        quote=quote,
        question=question,
        unit=table["unit"],
        convergence=table.get("convergence", ""),
        invalid=table.get("invalid", ""),
        unsettled=table.get("unsettled", ""),
        control_kind=table.get("control_kind", ""),
        own=_own(parts, where) if isinstance(parts, dict) else (),
    )
    for part in claim.parts:
        claim.part(part)  # a part's own thresholds must make sense, too
    return claim


def _check_kind(field: str, value: object, where: str) -> None:
    """Nothing where a field of a claim holds what it should; otherwise a ValueError."""
    if field in NUMBERS:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits, kind = fits and math.isfinite(value), "a number"
    elif field == "needs":
        fits = isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value)
        kind = "two whole numbers, such as [2, 1]"
    elif field == "parts":
        fits = isinstance(value, dict) or (
            isinstance(value, list) and all(isinstance(name, str) for name in value)
        )
        kind = 'a list of names, such as ["prose", "code"], or a table for each part'
    else:
        fits, kind = isinstance(value, str), "a text"
    if not fits:
        raise ValueError(f"{where}: {field} should be {kind}, and is {short(value)}")


def _own(parts: dict, where: str) -> tuple:
    """What differs in each part that has a table of its own."""
    for name, fields in parts.items():
        if not isinstance(fields, dict):
            raise ValueError(
                f"{where}, part {name!r} should be a table such as [{name}], and is {short(fields)}"
            )
        for field, value in fields.items():
            _check_kind(field, value, f"{where}, part {name!r}")
            if field not in PART:
                raise ValueError(
                    f"{where}, part {name!r}: {unknown('field', field, PART, 'holds')}"
                )
    return tuple((name, tuple(fields.items())) for name, fields in parts.items() if fields)
