"""One line of JSON per input."""

from __future__ import annotations

import json
from pathlib import Path

from postmortem.log.jsonl import document, jsonl, walk

FIXTURES = Path(__file__).parent / "fixtures"
IO_ERROR = b"[    0.500000] I/O error, dev sda, sector 12345 op 0x0:(READ) flags 0x80700\n"


def test_a_line_per_file_of_a_directory() -> None:
    lines = list(jsonl([str(FIXTURES)]))
    assert len(lines) == len(list(FIXTURES.iterdir())) and not any("\n" in line for line in lines)


def test_what_is_in_a_report() -> None:
    (first, second) = document(str(FIXTURES / "x86_gpf.txt"))["reports"]
    assert (first["title"], first["guilty"], first["module"], first["corrupted"]) == (
        "general protection fault in acme_queue_kick",
        "acme_queue_kick",
        "acme_blk",
        False,
    )
    assert second["consequence_of"] == 0


def test_numbers_stay_in_what_people_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs"
        " on unknown-block(8,3)\n"
    )
    (report,) = document(str(path))["reports"]
    assert "unknown-block(8,3)" in report["shown"]
    assert "8,3" not in report["title"]


def test_full_documents_are_json() -> None:
    text = next(jsonl([str(FIXTURES / "kasan_uaf.txt")], full=True))
    assert json.loads(text)["reports"][0]["frames"][3]["function"] == "acme_session_find"


def test_a_file_that_cannot_be_read_says_so_in_its_line() -> None:
    assert document("/does/not/exist")["problems"][0]["what"] == "read"


def test_what_failed_comes_after_what_broke(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(IO_ERROR + (FIXTURES / "x86_gpf.txt").read_bytes())
    reports = document(str(path))["reports"]
    assert [(r["kind"], r["consequence_of"]) for r in reports] == [
        ("general-protection", None),
        ("panic", 0),
        ("io-error", None),
    ]


def test_standard_input_is_not_a_directory() -> None:
    assert list(walk(["-"])) == ["-"]


def test_a_boot_that_is_cut_is_one_of_the_boots(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    banner = "[    0.000000] Linux version 6.1.0 (x@y) #1 SMP\n"
    path.write_text(f"[  900.000000] zorb: late\n{banner}[    0.1] zorb: early\n")
    boots = document(str(path))["boots"]
    assert [(boot["line"], boot["release"]) for boot in boots] == [(1, None), (2, "6.1.0")]
    path.write_text(banner)
    assert [boot["line"] for boot in document(str(path))["boots"]] == [1]
