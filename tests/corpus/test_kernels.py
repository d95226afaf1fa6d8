"""Where kernels are fetched from: whatever mirror the machine's apt uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus import kernels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sources.list",
            "# deb http://o.example/debian sid main\ndeb http://m.example/debian x main\n",
        ),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://m.example/debian\nSuites: x\n"),
        ("sources.list.d/a.list", "deb [signed-by=/k] http://m.example/debian/ trixie main\n"),
    ],
)  # fmt: skip
def test_mirror_is_that_of_apt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.delenv("POSTMORTEM_MIRROR", raising=False)
    monkeypatch.setattr(kernels, "SOURCES", tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert kernels.mirror() == "http://m.example"


def test_mirror_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTMORTEM_MIRROR", "http://mine.example/")
    assert kernels.mirror() == "http://mine.example"


def test_without_a_mirror_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTMORTEM_MIRROR", raising=False)
    monkeypatch.setattr(kernels, "SOURCES", tmp_path)
    with pytest.raises(kernels.FetchError, match="POSTMORTEM_MIRROR"):
        kernels.mirror()
