"""A folder is looked at first, and then whenever something in it changed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from postmortem.errors import UsageError
from postmortem.triage.watching import looks


def test_what_comes_and_what_was_there_is_looked_at(tmp_path: Path) -> None:
    stop = threading.Event()
    seen: list[set[str]] = []

    def later(name: str) -> None:
        threading.Timer(0.3, lambda: _crash(tmp_path / name)).start()

    (tmp_path / "before").mkdir()
    for _ in looks([tmp_path], stop, settle=0.2):
        seen.append({path.name for path in tmp_path.rglob("*") if path.is_dir()})
        if len(seen) == 1:
            later("one")
        elif "two" in seen[-1]:
            stop.set()
        elif "one" in seen[-1]:
            later("two")
    assert seen[0] == {"before"}
    assert seen[-1] == {"before", "one", "two"}


def _crash(folder: Path) -> None:
    folder.mkdir()
    (folder / "vmcore-incomplete").write_bytes(b"x")
    (folder / "vmcore-incomplete").rename(folder / "vmcore")


def test_it_looks_without_a_change_too(tmp_path: Path) -> None:
    stop = threading.Event()
    for number, _ in enumerate(looks([tmp_path], stop, every=0.1)):
        if number == 2:
            stop.set()
    assert stop.is_set()


def test_what_is_no_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        next(looks([tmp_path / "none"], threading.Event()))
