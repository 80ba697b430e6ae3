"""Source code as text: modules of Python's standard library, which every installation has."""

import platform
import sysconfig
from functools import cache
from pathlib import Path

from interp.texts.corpus import Corpus, Document

MODULES = (
    "argparse",
    "ast",
    "bisect",
    "calendar",
    "cmd",
    "codecs",
    "copy",
    "csv",
    "dis",
    "enum",
    "filecmp",
    "fnmatch",
    "fractions",
    "gettext",
    "glob",
    "gzip",
    "heapq",
    "inspect",
    "linecache",
    "mailbox",
    "mimetypes",
    "netrc",
    "numbers",
    "optparse",
    "pickle",
    "pprint",
    "queue",
    "random",
    "sched",
    "shelve",
    "shlex",
    "shutil",
    "statistics",
    "string",
    "tarfile",
    "tempfile",
    "textwrap",
    "threading",
    "timeit",
    "tokenize",
    "trace",
    "types",
    "weakref",
    "zipapp",
)


@cache
def code() -> Corpus:
    """The corpus of source code: some forty modules of Python's standard library, with comments.

    The modules are read, never imported. It is the same for the same version of Python, which
    `metadata` names.

    Example:
        >>> tokens = interp.texts.chunks(model, interp.texts.code(), length=128, n=16)
    """
    home = Path(sysconfig.get_paths()["stdlib"])
    documents = [
        Document(name, (home / f"{name}.py").read_text(encoding="utf-8"))
        for name in MODULES
        if (home / f"{name}.py").is_file()
    ]
    return Corpus(
        "source code", tuple(documents), {"versions": {"python": platform.python_version()}}
    )
