"""A study's percent source as a notebook: read, given parameters, made reproducible, and written as
text.
"""

import ast
import hashlib
import json
import re
from pathlib import Path
from types import ModuleType

from interp._errors import unknown
from interp.studies.notebooks.paths import folder_of

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
    """sha256 of the source and of its file of claims if it has one, blind to line endings."""
    path = Path(path)
    claims = folder_of(path) / "claims" / f"{path.stem}.toml"
    texts = [p.read_text(encoding="utf-8") for p in (path, claims) if p.exists()]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def parameters(nb: object) -> dict[str, str]:
    """The notebook's parameters and their defaults as source text: {"MODEL": '"smollm2-135m"',
    "FAST": "False"}.
    """
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
    """The notebook with a cell after its parameters cell that sets these values; unknown names are
    refused.
    """
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


def normalise(nb: object, source: Path | None = None, **metadata: object) -> list[str]:
    """Makes an executed notebook reproducible (in place); returns what it removed from stderr, for
    the author.
    """
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
            elif out.output_type == "display_data" and not out.get("data"):
                continue  # what a finished progress bar leaves
            elif (out := _settle_output(out, count)) is not None:
                outputs.append(out)
        cell.outputs = outputs
    if source is not None:
        nb.metadata["interp"] = {
            "source": "/".join(
                ([Path(source).parent.name] if Path(source).parent.name == "src" else [])
                + [Path(source).name]
            ),
            "sha256": digest(source),
            **metadata,
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
    """Strings of several lines become lists of lines, as Jupyter writes them: short diffs, and no
    churn on saving.
    """
    return json.loads(need("nbformat").writes(x, version=4))
