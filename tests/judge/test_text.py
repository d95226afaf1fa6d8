"""What is said of one bit of the kernel's text that is not as in its vmlinux."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import postmortem
from postmortem.judge.reports import finding_of
from postmortem.judge.text import with_text
from postmortem.kernel.code import text_flip
from postmortem.kernel.code.text_flip import Change, TextChanges
from postmortem.model.findings import Finding
from postmortem.plugin import Context
from tests.conftest import machine_named

COMPARED = 14 << 20


class Given(Context):
    """With a vmlinux that nobody reads."""

    @property
    def debug(self) -> Any:
        return object()


@pytest.fixture(scope="module")
def case() -> Iterator[Any]:
    with postmortem.open(machine_named("6.12-null-chain").path) as found:
        yield found


def told(case: Any, monkeypatch: pytest.MonkeyPatch, function: str, *bits: int) -> Finding:
    """The oops of a machine with bits changed at the start of ``function``."""
    address = case.prog.symbol(function).address + 3
    changes = tuple(Change(address + bit, 0x48, 0x48 ^ 1 << bit) for bit in bits)
    monkeypatch.setattr(
        text_flip, "text_changes", lambda prog, debug: TextChanges(changes, COMPARED)
    )
    ctx = Given(case)
    report = next(report for report in case.reports if report.function == "pm_peer_port")
    return with_text(ctx, finding_of(ctx, report), report)


def test_a_bit_in_the_code_that_ran(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(case, monkeypatch, "vfs_write", 4)
    said = "One bit of the text of vfs_write() differs from the vmlinux: bit 4"
    assert said in found.explanation
    assert found.evidence[-1].what.endswith("vfs_write+0x7, 0x58 for 0x48")
    assert "14 MiB" in found.evidence[-1].where


def test_a_bit_elsewhere_is_seen_but_explains_nothing(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told(case, monkeypatch, "msleep", 0)
    assert "msleep" not in found.explanation
    assert "msleep" in found.evidence[-1].what


def test_no_or_many_changes_are_no_flip(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "vmlinux" not in str(told(case, monkeypatch, "vfs_write"))
    assert "vmlinux" not in str(told(case, monkeypatch, "vfs_write", 1, 2))
