"""Building notebooks: `src/NN-name.py` (percent format) -> `NN-name.ipynb` with outputs, and edits back.

The same source and the same outputs give the same bytes: fixed cell ids, no times, no widget state, no progress bars.
The metadata holds a hash of the source, so a stale notebook is found without running it.
"""

import ast
import base64
import hashlib
import json
import re
from pathlib import Path
from types import ModuleType

from interp._say import unknown
from interp.studies import exercises, hygiene
from interp.studies.table import write_atomically
from interp.studies.where import find, home

KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
    "language_info": {"name": "python"},
}
WIDGET = "application/vnd.jupyter.widget-view+json"
PROGRESS = re.compile(r"\d+%\|")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")


def need(module: str) -> ModuleType:
    """The module, or a sentence that says how to get it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise ImportError(
            f"{module} is needed to work with notebooks: pip install {module}"
        ) from err


def read_source(path: Path) -> object:
    """The notebook of a percent source, without outputs, with fixed cell ids."""
    nb = need("jupytext").reads(Path(path).read_text(encoding="utf-8"), fmt="py:percent")
    for cell in nb.cells:
        cell.metadata = {"tags": list(cell.metadata["tags"])} if cell.metadata.get("tags") else {}
    return _settle(nb)


def _settle(nb: object) -> object:
    """The notebook with fixed ids and minimal metadata (in place)."""
    nb.nbformat, nb.nbformat_minor = 4, 5
    nb.metadata = need("nbformat").from_dict(dict(KERNEL))
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"cell-{i:03d}"
    return nb


def digest(path: Path) -> str:
    """sha256 of the source, blind to line endings."""
    return hashlib.sha256(Path(path).read_text(encoding="utf-8").encode()).hexdigest()


def parameters(nb: object) -> dict[str, str]:
    """The notebook's parameters and their defaults as source text: {"MODEL": '"smollm2-135m"', "FAST": "False"}."""
    cells = [c for c in nb.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(
            f'a study has one cell tagged "parameters", not {len(cells)}: # %% tags=["parameters"]'
        )
    assigned = [s for s in ast.parse(cells[0].source).body if isinstance(s, ast.Assign)]
    return {
        t.id: ast.unparse(s.value) for s in assigned for t in s.targets if isinstance(t, ast.Name)
    }


def with_parameters(nb: object, values: dict[str, object]) -> object:
    """The notebook with a cell after its parameters cell that sets these values; unknown names are refused."""
    known = parameters(nb)
    for name in values:
        if name not in known:
            raise unknown("parameter", name, known, next(iter(known), ""))
    if values:
        cell = need("nbformat").v4.new_code_cell(
            "\n".join(f"{k} = {v!r}" for k, v in values.items())
        )
        cell.metadata = {"tags": ["injected-parameters"]}
        at = next(i for i, c in enumerate(nb.cells) if "parameters" in c.metadata.get("tags", []))
        nb.cells.insert(at + 1, cell)
        _settle(nb)
    return nb


def normalise(nb: object, source: Path | None = None, **about: object) -> list[str]:
    """Makes an executed notebook reproducible (in place); returns what it removed from stderr, for the author."""
    removed, count = [], 0
    _settle(nb)
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        outputs = []
        for out in cell.outputs:
            if out.output_type == "stream" and out.name == "stderr":
                removed += [
                    line
                    for line in out.text.replace("\r", "\n").splitlines()
                    if line.strip() and not PROGRESS.search(line)
                ]
            elif (out := _settle_output(out, count)) is not None:
                outputs.append(out)
        cell.outputs = outputs
    if source is not None:
        nb.metadata["interp"] = {
            "source": f"src/{Path(source).name}",
            "sha256": digest(source),
            **about,
        }
    return removed


def _settle_output(out: object, count: int) -> object | None:
    if out.output_type == "stream":
        # a carriage return overwrites its line on a screen: keep what would be seen
        out.text = "\n".join(
            line.rsplit("\r", 1)[-1] for line in out.text.replace("\r\n", "\n").split("\n")
        )
        return out if out.text.strip() else None
    if "data" not in out:
        return out
    if out.output_type == "execute_result":
        out.execution_count = count
    data = out.data
    if (
        WIDGET in data
        and not {"text/html", "image/png"} & set(data)
        and PROGRESS.search(data.get("text/plain", ""))
    ):
        return None  # a progress bar's widget
    data.pop(WIDGET, None)
    out.metadata = {}
    if "image/png" in data:
        data["image/png"] = "".join(data["image/png"].split())
    if "text/plain" in data:
        data["text/plain"] = ADDRESS.sub("at 0x...", data["text/plain"])
    return out


def text_of(nb: object) -> str:
    """The notebook file's text."""
    return json.dumps(_plain(nb), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _plain(x: object) -> object:
    """Strings of several lines become lists of lines, as Jupyter writes them: short diffs, and no churn on saving."""
    return json.loads(need("nbformat").writes(x, version=4))


def build(name: str, folder: Path | None = None, *, only: str = "", say: object = print) -> Path:
    """Builds a study: runs it in a clean kernel, records its verdicts, writes the notebook and its exercises.

    only="full" or "fast" leaves the other mode's record as it is. The FAST run records verdicts and is thrown away;
    a tour has none, so it is run once.
    """
    from interp.studies.runner import execute

    folder = Path(folder or home())
    source = find(name, folder)
    dest = folder / f"{source.stem}.ipynb"
    both = ("full",) if hygiene.is_tour(source.stem) else ("full", "fast")
    for mode in (only,) if only else both:
        nb = exercises.solved(
            with_parameters(read_source(source), {"FAST": True} if mode == "fast" else {})
        )
        execute(
            nb,
            cwd=folder,
            progress=True,
            label=f"{source.stem} ({mode})",
            env={
                "INTERP_RECORD": "1",
                "INTERP_ROWS": "",
                "INTERP_NOTEBOOKS": str(folder.resolve()),
            },
        )
        if mode == "full":
            for line in normalise(nb, source):
                say(f"  removed from stderr: {line}")
            write_atomically(dest, text_of(nb))
            write_cover(nb, folder / "figures" / f"{source.stem}.png")
            exercises.write(source, folder)
    for problem in hygiene.problems(source.stem, folder):
        say(f"  problem: {problem}")
    return dest


def write_cover(nb: object, path: Path) -> bool:
    """Whether the notebook has a cell tagged "cover": its first picture is written to path, for the README."""
    outputs = [
        o for c in nb.cells if "cover" in c.metadata.get("tags", []) for o in c.get("outputs", [])
    ]
    pictures = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    if pictures:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(pictures[0]))
    return bool(pictures)


def check(name: str, folder: Path | None = None) -> list[str]:
    """What is wrong with a built notebook, without running it: stale, or not as our notebooks should be."""
    folder = Path(folder or home())
    stem = find(name, folder).stem
    return stale(stem, folder) + hygiene.problems(stem, folder)


def stale(name: str, folder: Path | None = None) -> list[str]:
    """Why the built notebook is not what its source says; empty when it is."""
    folder = Path(folder or home())
    source = find(name, folder)
    dest = folder / f"{source.stem}.ipynb"
    again = f"python -m interp.studies build {source.stem}"
    if not dest.exists():
        return [f"{dest.name} was never built: {again}"]
    built = need("nbformat").read(dest, 4)
    want = _cells(exercises.solved(read_source(source)))
    found = []
    if _cells(built) != want:
        n = next(
            (i for i, (a, b) in enumerate(zip(_cells(built), want)) if a != b),
            min(len(want), len(built.cells)),
        )
        found.append(
            f"{dest.name} differs from its source from cell {n + 1} on: {again} (or, to keep edits made in "
            f"Jupyter: python -m interp.studies pull {source.stem})"
        )
    elif built.metadata.get("interp", {}).get("sha256") != digest(source):
        found.append(f"{dest.name} was built from another version of its source: {again}")
    return found + exercises.stale(source, folder)


def _cells(nb: object) -> list[tuple[str, str, list[str]]]:
    return [(c.cell_type, c.source, list(c.metadata.get("tags", []))) for c in nb.cells]


def pull(name: str, folder: Path | None = None) -> bool:
    """Brings edits made to NN-name.ipynb in Jupyter back into its source; True when the source changed.

    Unchanged cells keep their solution markers. A changed cell that had markers is refused: edit the source.
    """
    folder = Path(folder or home())
    source = find(name, folder)
    edited = need("nbformat").read(folder / f"{source.stem}.ipynb", 4)
    edited.cells = [
        c
        for c in edited.cells
        if "injected-parameters" not in c.metadata.get("tags", []) and c.source.strip()
    ]
    before = read_source(source)
    if _cells(edited) == _cells(exercises.solved(before)):
        return False
    original = {
        exercises.solution(c.source): c.source for c in before.cells if exercises.marked(c.source)
    }
    lost = set(original) - {c.source for c in edited.cells}
    if lost:
        raise ValueError(
            f"a cell with solution markers was changed, and the markers cannot be guessed; edit {source.name}: "
            f"{min(lost).splitlines()[0]!r}"
        )
    for cell in edited.cells:
        cell.source = original.get(cell.source, cell.source)
        cell.metadata = {"tags": list(cell.metadata["tags"])} if cell.metadata.get("tags") else {}
    old = source.read_text(encoding="utf-8")
    header = re.match(r"# ---\n(?:#.*\n)*?# ---\n+", old)
    edited.metadata = {
        "jupytext": {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags"}
    }
    body = (
        need("jupytext").writes(need("nbformat").from_dict(edited), fmt="py:percent").lstrip("\n")
    )
    write_atomically(source, (header.group() if header else "") + body)
    return True
