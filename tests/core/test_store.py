"""Files and caches: completely or not at all, one folder, one process at a time."""

import errno
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from interp import _files, _store


def test_what_was_written_is_read_and_nothing_else_is_left(tmp_path):
    folder = tmp_path / "a" / "b"
    assert _store.write_text(folder / "t.txt", "ä\n").read_bytes() == "ä\n".encode()
    _store.write_tensors(folder / "w.safetensors", {"w": torch.eye(3).T[:, :2]})
    assert torch.equal(load_file(folder / "w.safetensors")["w"], torch.eye(3)[:, :2])
    _store.write_arrays(folder / "r.npz", {"unit": "nats"}, {"x": np.arange(3)})
    head, arrays = _files.read_arrays(folder / "r.npz")
    assert head == {"unit": "nats"} and arrays["x"].tolist() == [0, 1, 2]
    assert sorted(p.name for p in folder.iterdir()) == ["r.npz", "t.txt", "w.safetensors"]


def test_an_interrupted_write_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = _store.write_text(tmp_path / "t.txt", "old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("interp._store.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _store.write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["t.txt"]


def test_a_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path))
    assert _store.cache_folder("toys", "x") == tmp_path / "toys" / "x"
    monkeypatch.delenv("INTERP_CACHE")
    assert _store.cache_folder().name == "interp"


def test_a_key_does_not_depend_on_the_order_of_a_mapping():
    assert _store.key({"a": 1, "b": 2}) == _store.key({"b": 2, "a": 1}) != _store.key({"a": 1})
    assert len(_store.key([], 12)) == 12


def _add_one(path):
    with _store.lock(path.with_name(".lock")):
        path.write_text(str(int(path.read_text()) + 1))


def test_a_lock_lets_one_process_work_at_a_time(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_one, args=(path,)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert path.read_text() == "6"


@pytest.mark.parametrize(
    "name, says",
    [
        ("file/x", "what should be its folder is a file"),
        ("a" * 300, "File name too long"),
        ("folder", "Is a directory"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, says):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=f"{name}.* cannot be written \\({says}\\)"):
        _store.write_text(tmp_path / name, "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_a_copy_is_whole_or_not_there(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1_000)

    def full(path, content):
        with open(path, "wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"no room for '.*target': 1\.0 kB were needed"):
            _store.copy(source, tmp_path / "target")
    assert [p.name for p in tmp_path.iterdir()] == ["source"]
    assert _store.copy(source, tmp_path / "new" / "target").read_bytes() == source.read_bytes()
