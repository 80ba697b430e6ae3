"""How a task looks: its prompts with positions, differences and answers marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class Shown:
    """Prompts as text in a terminal and as a page in a notebook."""

    task: Any  # a Task; its module imports this one

    def _lines(self, i: int) -> list[tuple[str, list[tuple[str, str, bool]]]]:
        task = self.task
        if (
            "rows" in task.__dict__
        ):  # several lengths, or answers of several tokens: each prompt by itself
            row = task.rows[i]
            clean, corrupted = row.clean, row.corrupted
            at = {name: int(index) for name, index in row.positions.items()}
            at.setdefault("END", len(clean) - 1)
        else:
            clean = task.clean[i].tolist()
            corrupted = task.corrupted[i].tolist() if task.paired else None
            at = {name: int(index[i]) for name, index in task.positions.items()}
        names: dict[int, list[str]] = {}
        for name, index in at.items():
            names.setdefault(index, []).append(name)
        rows = []
        other = clean if corrupted is None else corrupted
        differs = [a != b for a, b in zip(clean, other, strict=True)]
        for kind, tokens in (("clean", clean), (self._other, corrupted)):
            if tokens is None:
                continue
            text = [task.tokenizer.decode([int(t)]) for t in tokens]
            rows.append(
                (kind, [(w, " ".join(names.get(k, [])), differs[k]) for k, w in enumerate(text)])
            )
        return rows

    @property
    def _other(self) -> str:
        """What the prompts are called that the clean ones are compared with."""
        return str(self.task.metadata.get("other prompts", "corrupted"))

    def _answers(self, i: int) -> list[tuple[str, str]]:
        """(what it is called, the words with their own spaces) of each kind of answer."""
        task = self.task
        if "rows" in task.__dict__:
            row = task.rows[i]

            def whole(answers: Sequence[list[int]]) -> str:
                return " or ".join(repr(task.tokenizer.decode(ids)) for ids in answers)

            found = [("answer", whole(row.answers)), ("wrong", whole(row.wrong))]
            return found + ([("after the swap", whole(row.swap_answers))] * task.has_swap_answers)

        def words(ids: Any, count: Any) -> str:
            counted = [int(t) for t, c in zip(ids[i], count[i]) if c]
            return " or ".join(repr(task.tokenizer.decode([t])) for t in counted)

        found = [
            ("answer", words(task.answers, task.answers_count)),
            ("wrong", words(task.wrong, task.wrong_count)),
        ]
        if task.has_swap_answers:
            found.append(("after the swap", words(task.swap_answers, task.swap_answers_count)))
        return found

    def __repr__(self) -> str:
        out = []
        for i in range(len(self.task)):
            for kind, words in self._lines(i):
                marked = "".join(
                    _marked(w, name if kind == "clean" else "", differs)
                    for w, name, differs in words
                )
                out.append(f"{kind:>9}  {marked}")
            answers = ", ".join(f"{kind} {text}" for kind, text in self._answers(i) if text)
            out.append(f"{'':>9}  {answers}")
        out.append(f"{'':>9}  [NAME] a position, *word* where clean and {self._other} differ")
        return "\n".join(out)

    def _repr_html_(self) -> str:
        out = []
        for i in range(len(self.task)):
            for kind, words in self._lines(i):
                line = ""
                for word, name, differs in words:
                    style = (
                        "background:rgba(230,159,0,.35)"
                        if differs
                        else "border-bottom:2px solid #0072b2"
                        if name
                        else ""
                    )
                    mark = (
                        f"<sub style='opacity:.75'>{escape(name)}</sub>"
                        if name and kind == "clean"
                        else ""
                    )
                    line += f"<span style='white-space:pre;{style}'>{escape(word)}</span>{mark}"
                cell = "padding:1px 10px 1px 0;text-align:left;vertical-align:top"
                out.append(
                    f"<tr><td style='{cell};opacity:.7'>{kind}</td><td"
                    f" style='{cell}'>{line}</td></tr>"
                )
            answer = ", ".join(
                f"{kind} <b>{escape(text)}</b>" for kind, text in self._answers(i) if text
            )
            out.append(
                f"<tr><td></td><td style='padding-bottom:8px;text-align:left'>{answer}</td></tr>"
            )
        note = f"shaded: clean and {self._other} differ; underlined: a named position"
        note = f"<small>{note}</small>"
        return f"<table>{''.join(out)}</table>{note}"


def _marked(token: str, name: str, differs: bool) -> str:
    """A token for a terminal: its stars inside its space, its name after it, line breaks as they
    are written.
    """
    token = "".join(c if c.isprintable() else repr(c)[1:-1] for c in token)
    word = token.lstrip(" ")
    if differs:
        token = f"{token[: len(token) - len(word)]}*{word}*"
    return f"{token}[{name}]" if name else token
