"""The release checklist: what must be so before a version goes out, tried and printed as a table.

    python release/check.py                     # every Python of 3.11, 3.12, 3.13, the quick tests
    python release/check.py --short             # some minutes: fewer tests
    python release/check.py --python 3.11 --short
    python release/check.py --keep build/release    # leaves wheel and sdist there

1. The version is the same in pyproject.toml, interp, CITATION.cff and at the top of CHANGELOG.md.
2. Wheel and sdist are built; the package in the wheel is the package in the sdist, byte for byte.
3. In an empty environment of each Python the wheel is installed with its test extra, held to
   constraints.txt; the command answers there; the tests of the unpacked sdist pass.
4. The same with the extras for nnsight and interp-engine, and their tests.
5. The same with the next TransformerLens, which sae-lens does not declare yet: what it would take,
   and no condition of a release.

It needs uv, or takes pip, and what they need to reach their packages. Environments are made in a
temporary folder and removed.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
NEXT = "transformer-lens>=4,<5"
QUICK = "not (slow or browser or model or architecture or notebook or study or fuzz)"
SHORT = (
    "tests/core/test_sites.py",
    "tests/core/test_results.py",
    "tests/core/test_interventions.py",
    "tests/engine/test_engine.py",
    "tests/docs/test_agents.py",
)

# extras, and the tests of theirs that are skipped without them: all, and not only the quick ones
EXTRA = "nnsight,interp-engine"
EXTRA_TESTS = (
    "tests/models/test_traced.py",
    "tests/features/test_engine_values.py",
    "tests/methods/steering/test_engine_continuation.py",
    "-m",
    "not browser",
)


@dataclass
class Row:
    """One environment and what came of it."""

    what: str
    packages: str = ""
    installed: str = ""
    command: str = ""
    tests: str = ""
    problems: list[str] = field(default_factory=list)
    required: bool = True

    def cells(self) -> list[str]:
        verdict = "ok" if not self.problems else "FAILED" if self.required else "does not pass yet"
        return [self.what, self.packages, self.installed, self.command, self.tests, verdict]


def main() -> int:
    """0 where everything that a release needs is so, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--python", action="append", metavar="3.11", help="only this one; repeatable"
    )
    parser.add_argument("--short", action="store_true", help="fewer of the quick tests")
    parser.add_argument("--no-next", action="store_true", help=f"without {NEXT}")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave wheel and sdist there")
    args = parser.parse_args()
    wanted = args.python or PYTHONS
    with tempfile.TemporaryDirectory(prefix="interp-release-") as tmp:
        folder = Path(tmp)
        said = statements()
        wheel, sdist = build(folder / "dist")
        said += same_package(wheel, sdist)
        said += [("wheel and sdist", f"{wheel.name}, {sdist.name}", True)]
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            for made in (wheel, sdist):
                shutil.copy(made, args.keep)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = folder.glob("interp-*")
        found = {version: python_of(version) for version in wanted}
        rows = [
            environment(f"Python {version}", python, wheel, source, folder, short=args.short)
            for version, python in found.items()
            if python
        ]
        first = next((python for python in found.values() if python), None)
        if first:
            name = f"Python {next(v for v, p in found.items() if p)}, interp[{EXTRA}]"
            rows.append(
                environment(name, first, wheel, source, folder, short=args.short, extra=EXTRA)
            )
        if first and not args.no_next:
            name = f"Python {next(v for v, p in found.items() if p)}, {NEXT}"
            rows.append(
                environment(name, first, wheel, source, folder, short=args.short, override=NEXT)
            )
        missing = [version for version, python in found.items() if not python]
    print()
    for what, text, fine in said:
        print(f"{'ok    ' if fine else 'FAILED'}  {what}: {text}")
    heads = ["environment", "TransformerLens, torch", "installed", "command", "tests", ""]
    print("\n" + table([heads, *(row.cells() for row in rows)]))
    for row in rows:
        for problem in row.problems:
            print(f"\n{row.what}: {problem}")
    if missing:
        print(f"\nnot tried, because it is not on this machine: Python {', '.join(missing)}")
    good = (
        all(fine for *_, fine in said) and rows and not any(r.required and r.problems for r in rows)
    )
    return 0 if good and not missing else 1


def statements(root: Path = ROOT) -> list[tuple[str, str, bool]]:
    """What is said of the version, and whether it is the same everywhere: (what, text, fine)."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    module = (root / "interp" / "__init__.py").read_text(encoding="utf-8")
    cited = (root / "CITATION.cff").read_text(encoding="utf-8")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (.+)$", changes, re.M)
    dated = re.search(r"^date-released: (\d{4}-\d{2}-\d{2})$", cited, re.M)
    said = [
        ("interp.__version__", version, f'__version__ = "{version}"\n' in module),
        ("CITATION.cff", version, f"\nversion: {version}\n" in cited),
        ("date of CITATION.cff", dated[1] if dated else "none", dated is not None),
        (
            "first heading of CHANGELOG.md",
            first[1] if first else "none",
            bool(first) and re.match(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", first[1]),
        ),
        ("classifiers", f"{len(project['classifiers'])}", bool(project["classifiers"])),
    ]
    if not project.get("urls"):
        why = (
            "no address of the repository is known yet: fill in [project.urls] and repository-code"
        )
        said.append(("[project.urls]", f"none; {why}", True))
    return [(what, text, bool(fine)) for what, text, fine in said]


def build(to: Path) -> tuple[Path, Path]:
    """The wheel and the sdist of this checkout; the backend is called in place."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(to)]
    run(command, cwd=ROOT)
    return next(to.glob("*.whl")), next(to.glob("*.tar.gz"))


def same_package(wheel: Path, sdist: Path) -> list[tuple[str, str, bool]]:
    """Whether the package in the wheel is the package in the sdist, byte for byte."""
    with zipfile.ZipFile(wheel) as archive:
        inside = {
            name: digest(archive.read(name))
            for name in archive.namelist()
            if name.startswith("interp/") and not name.startswith("interp/_data/")
        }
    with tarfile.open(sdist) as archive:
        source = {
            member.name.split("/", 1)[1]: digest(archive.extractfile(member).read())
            for member in archive.getmembers()
            if member.isfile() and member.name.split("/")[1] == "interp"
        }
    differ = sorted(n for n in inside.keys() | source.keys() if inside.get(n) != source.get(n))
    text = f"{len(inside)} files alike" if not differ else f"differ: {', '.join(differ[:5])}"
    return [("package in wheel and sdist", text, not differ and len(inside) > 300)]


def environment(
    what: str,
    python: str,
    wheel: Path,
    source: Path,
    folder: Path,
    *,
    short: bool,
    override: str = "",
    extra: str = "",
) -> Row:
    """An empty environment with the wheel in it: installed, asked and tested."""
    row = Row(what, required=not override)
    home = folder / f"env-{len(list(folder.glob('env-*')))}"
    print(f"{what}: installing", flush=True)
    began = time.perf_counter()
    try:
        run([python, "-m", "venv", "--without-pip", str(home)])
        install(home, wheel, source / "constraints.txt", override, extra)
        row.installed = f"{time.perf_counter() - began:.0f} s"
        inside = home / "bin" / "python"
        row.packages = run([inside, "-c", VERSIONS]).strip()
        # from an empty folder: what answers is what was installed
        away = Path(tempfile.mkdtemp(dir=folder))
        wants = f"interp {re.search(r'interp-([^-]+)-', wheel.name)[1]}"
        said = [
            run([home / "bin" / "interp", *words], cwd=away)
            for words in (["--version"], ["tasks", "--json"])
        ]
        row.command = "answers" if said[0].strip() == wants else f"says {said[0].strip()!r}"
        if row.command != "answers" or '"ioi"' not in said[1]:
            row.problems.append(f"the installed command: {row.command}")
    except RuntimeError as error:
        row.problems.append(str(error))
        shutil.rmtree(home, ignore_errors=True)
        return row
    print(f"{what}: testing", flush=True)
    which = EXTRA_TESTS if extra else SHORT if short else ()
    row.tests, problem = tests(home / "bin" / "python", source, which)
    row.problems += [problem] if problem else []
    shutil.rmtree(home, ignore_errors=True)
    return row


VERSIONS = """
from importlib.metadata import version
print(version("transformer-lens"), version("torch"), sep=", ")
"""


def install(home: Path, wheel: Path, constraints: Path, override: str, extra: str = "") -> None:
    """The wheel with its test extra, and another; packages are where pip's own settings say."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    asked = subprocess.run([*pip, "config", "list"], capture_output=True, text=True).stdout
    known = dict(re.findall(r"\.(find-links|index-url|extra-index-url)='([^']*)'", asked))
    uv = shutil.which("uv") or next(iter(Path(sys.executable).parent.glob("uv")), None)
    lines = constraints.read_text(encoding="utf-8").splitlines()
    if override:  # the tested set but for what is tried
        name = re.match(r"[\w-]+", override)[0]
        lines = [line for line in lines if not line.startswith(f"{name}==")]
    held = home / "constraints.txt"
    held.write_text("\n".join(lines) + "\n", encoding="utf-8")
    what = f"interp[{','.join(filter(None, ('test', extra)))}] @ {wheel.resolve().as_uri()}"
    if uv:
        links = [x for link in known.get("find-links", "").split() for x in ("--find-links", link)]
        index = ["--default-index", known["index-url"]] if "index-url" in known else []
        other = home / "override.txt"
        other.write_text(f"{override}\n", encoding="utf-8")
        over = ["--override", str(other)] if override else []
        command = [uv, "pip", "install", "-q", "--python", home / "bin" / "python"]
        run([*command, *links, *index, *over, "-c", held, what])
    elif override:
        raise RuntimeError(
            f"{override} against what sae-lens declares needs uv, which can override"
        )
    else:
        run([*pip, "--python", home / "bin" / "python", "install", "-q", "-c", held, what])


def tests(python: Path, source: Path, which: Sequence[str]) -> tuple[str, str]:
    """What the tests said in a word, and what is wrong with them, "" if nothing."""
    began = time.perf_counter()
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", QUICK]
    command += ["--durations=0", *which]
    ran = subprocess.run(command, cwd=source, capture_output=True, text=True)
    lines = [line for line in ran.stdout.splitlines() if line.strip()] or [ran.stderr[-300:]]
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", lines[-1])
    said = f"{', '.join(counts) or lines[-1][:80]} ({time.perf_counter() - began:.0f} s)"
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return said, "" if ran.returncode == 0 else "\n  ".join(["tests:", *failed[:20]] or lines[-3:])


def python_of(version: str) -> str | None:
    """A Python of this version: this one, one on the path, or one that pyenv or uv keeps."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    there = sorted([*kept.glob(f"{version}.*"), *uv.glob(f"cpython-{version}.*")], reverse=True)
    for candidate in [*(str(p / "bin" / "python") for p in there), f"python{version}"]:
        path = shutil.which(candidate)
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        if path:
            ran = subprocess.run([path, "-c", ask], capture_output=True, text=True)
            if ran.stdout.strip() == version:
                return path
    return None


def run(command: list, cwd: Path | None = None) -> str:
    """What a command prints; a RuntimeError with its last words where it fails."""
    command = [str(word) for word in command]
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=clean)
    if ran.returncode:
        last = " / ".join((ran.stderr or ran.stdout).strip().splitlines()[-4:])
        raise RuntimeError(
            f"{Path(command[0]).name} {' '.join(command[1:4])} ... said: {last[:700]}"
        )
    return ran.stdout


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def table(rows: list[list[str]]) -> str:
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, wide)).rstrip() for row in rows)


if __name__ == "__main__":
    sys.exit(main())
