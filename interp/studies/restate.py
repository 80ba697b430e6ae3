"""Recorded rows under a file of claims whose words changed, without measuring anything again.

What a claim quotes, whose it is, what its numbers count and why it was not tested can be written
down better after a run. The numbers stay those of the run, and so do the thresholds.
"""

import re
from collections.abc import Mapping

from interp.studies.verdict_rules import NOT_TESTABLE, Claim, Gate, Measured, Verdict
from interp.studies.verdict_table import row

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def restated(rows: list[dict], claims: Mapping[str, Claim]) -> list[dict]:
    """The rows with the words of these claims.

    A row whose control is no longer the recorded one ("none": the claim is judged against its own
    null), or which was not tested, is judged again from its recorded numbers; every other row
    keeps its verdict.

    Example:
        >>> restated(recorded("13-retrieval-heads")["full"]["rows"], load_claims(...))

    Args:
        rows: What was recorded.
        claims: The claims by key.

    Raises:
        ValueError: If a claim has no row or a row no claim, or a threshold is another one.
    """
    if {r["key"] for r in rows} != set(claims):
        raise ValueError(
            f"the record has the claims {[r['key'] for r in rows]}, the file {list(claims)}: a new"
            " or missing claim needs a run"
        )
    return [_restated(r, claims[r["key"]]) for r in rows]


WORDS = ("says", "paper", "source", "metric", "control", "null", "varies", "quote", "question")


JUDGED_BY = ("control", "null", "varies")  # the words on which a verdict depends


def _judged_alike(old: dict, claim: Claim) -> bool:
    """Whether the row was judged as this claim would be, whatever else the two say."""
    same = all(old.get(name) == getattr(claim, name) for name in JUDGED_BY)
    return same and old["thresholds"] == claim.threshold and not (claim.invalid or claim.unsettled)


def _restated(old: dict, claim: Claim) -> dict:
    if _judged_alike(old, claim):
        return old | {name: getattr(claim, name) for name in WORDS}
    was, now = (set(NUMBER.findall(t)) for t in (_fixed(old["thresholds"]), claim.threshold))
    if not was <= now or old["null"] not in (None, claim.null):
        raise ValueError(
            f"claim {claim.key!r} was judged by {old['thresholds']!r}, and its file says"
            f" {claim.threshold!r}: other thresholds need a run"
        )
    parts = {p["name"]: p for p in old.get("parts", ())}
    measured = (
        {name: _part(claim.part(name), p) for name, p in parts.items()}
        if parts
        else _number(old["measured"])
    )
    control = None
    if claim.control != "none":
        control = (
            {n: _number(p["control_measured"]) for n, p in parts.items() if p["measured"]}
            if parts
            else _number(old["control_measured"])
        )
    gates = [_gate(g) for g in old["gates"]]
    verdict = claim.judge(measured, control=control, gate=gates, note=old["note"])
    new = row(verdict)
    if claim.control == old["control"] and not verdict.untested:
        # a condition beside the threshold is not recorded, only what came of it
        new |= {"verdict": old["verdict"], "why": old["why"]}
        new |= {"narrow": []} if verdict.word != old["verdict"] else {}
        for p in new.get("parts", ()):
            p["verdict"] = parts[p["name"]]["verdict"]
    return new


def _fixed(threshold: str) -> str:
    """A threshold without its null, which a claim with another control does not share."""
    return threshold.split("; partly beyond")[0]


def _number(got: dict | None) -> Measured | None:
    return None if got is None else Measured(**got)


def _part(claim: Claim, part: dict) -> Measured | Verdict:
    if part["measured"] is None:
        return Verdict(claim, NOT_TESTABLE, "")
    return _number(part["measured"])


def _gate(got: dict) -> Gate:
    at_least = got.get("at_least")
    needs = got.get("needs", "")
    if needs:
        at_least = float(NUMBER.findall(needs)[0]) if "least" in needs else None
    at_most = float(NUMBER.findall(needs)[0]) if "most" in needs else None
    return Gate(got["name"], _number(got["measured"]), at_least, at_most)
