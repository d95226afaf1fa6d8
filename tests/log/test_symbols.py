"""File and line for frames, from debug information made by the compiler of this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from postmortem.errors import UsageError
from postmortem.log.scan import scan_bytes
from postmortem.log.symbols import Location, symbolise
from postmortem.model.findings import Kind
from postmortem.model.frame import Frame
from postmortem.rules.blame import signature
from postmortem.symbolise import DebugFiles

SOURCE = """\
static inline __attribute__((always_inline)) int acme_inner(volatile int *p)
{
        return *p + 1;
}
__attribute__((noinline)) int acme_poke(volatile int *p)
{
        return acme_inner(p);
}
int main(int argc, char **argv) { (void)argv; return acme_poke(&argc); }
"""

LOG = b"""\
[    5.000001] BUG: kernel NULL pointer dereference, address: 0000000000000010
[    5.000002] Oops: 0000 [#1] PREEMPT SMP
[    5.000003] RIP: 0010:acme_poke+0x0/0x20
[    5.000004] Call Trace:
[    5.000005]  acme_poke+0x3/0x20
[    5.000006]  acme_gone+0x3/0x20
"""


class Known:
    def locations(self, function: str, offset: int, module: str | None) -> tuple[Location, ...]:
        if function == "acme_poke":
            return (Location("acme_inner", "acme.c", 3), Location("acme_poke", "acme.c", 7))
        return ()


def test_inlined_functions_become_frames() -> None:
    report = symbolise(scan_bytes(LOG).reports[0], Known())
    assert [(f.function, f.line, f.inline) for f in report.frames] == [
        ("acme_inner", 3, True),
        ("acme_poke", 7, False),
        ("acme_gone", None, False),
    ]


def test_signature_is_the_same_with_debug_information() -> None:
    plain = scan_bytes(LOG).reports[0]
    rich = symbolise(plain, Known())
    assert signature(Kind.BUG, "acme_poke", rich.frames) == signature(
        Kind.BUG, "acme_poke", plain.frames
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("needs a compiler")
    folder = tmp_path_factory.mktemp("debug")
    (folder / "acme.c").write_text(SOURCE)
    subprocess.run(
        ["gcc", "-g", "-O1", "-o", "vmlinux", "acme.c"], cwd=folder, check=True, capture_output=True
    )
    return folder / "vmlinux"


def test_debug_file_gives_file_and_line(program: Path) -> None:
    report = symbolise(scan_bytes(LOG).reports[0], DebugFiles(program))
    names = [(f.function, f.line) for f in report.frames if f.file]
    assert ("acme_poke", 7) in names or ("acme_inner", 3) in names


def test_debug_folder_is_searched(program: Path) -> None:
    assert DebugFiles(folders=[program.parent]).locations("acme_poke", 0, None) != ()


def test_file_without_debug_information_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError):
        DebugFiles(path).locations("acme_poke", 0, None)


def test_already_symbolised_frames_stay() -> None:
    frame = Frame("acme_poke", 3, 32, file="other.c", line=1)
    report = scan_bytes(LOG).reports[0]
    from dataclasses import replace

    assert symbolise(replace(report, frames=(frame,)), Known()).frames == (frame,)
