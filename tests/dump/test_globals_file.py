"""What is written into the file of variables comes out of it, name by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from postmortem.dump.globals_file import (
    Candidate,
    Marks,
    VariableFile,
    parse_line,
    write_file,
    write_line,
)


def made(tmp_path: Path, *lines: str, **more: object) -> VariableFile:
    path = tmp_path / "variables"
    path.write_bytes(write_file(sorted(lines), **more))  # type: ignore[arg-type]
    return VariableFile(path)


def test_a_line_says_owners_kernels_and_type() -> None:
    line = "debug\tint\t,ext4:struct foo\txfs:3>struct 8{a@0:3 int;}\t*:a>bool"
    candidates = [
        Candidate("int"),
        Candidate("struct foo", ("", "ext4")),
        Candidate("struct 8{a@0:3 int;}", ("xfs",), 3),
        Candidate("bool", ("*",), 10),
    ]
    assert list(parse_line(line)) == candidates
    assert write_line("debug", candidates) == line


def test_each_name_of_many_blocks_is_found(tmp_path: Path) -> None:
    lines = [f"name_{number}\t[{number}]int" for number in range(1000)]
    file = made(tmp_path, *lines, dictionary=b"\t[1]int\n")
    for number in (0, 1, 127, 128, 500, 999):
        assert file.candidates(f"name_{number}") == [Candidate(f"[{number}]int")]
    assert list(file.names()) == sorted(line.partition("\t")[0] for line in lines)


@pytest.mark.parametrize("name", ["aaa", "name_1", "name", "zzz", "name_22", "x\ty", ""])
def test_what_is_not_there_is_not_found(tmp_path: Path, name: str) -> None:
    assert made(tmp_path, "name_2\tint", "other\tint").candidates(name) == []


def test_a_family_has_the_type_that_its_macro_gives(tmp_path: Path) -> None:
    file = made(tmp_path, "event_list\tint", families=["event_\t,*:struct call"])
    assert file.candidates("event_sched_switch") == [Candidate("struct call", ("", "*"))]
    assert file.candidates("event_list") == [Candidate("int")]


def test_marks_come_out_as_they_went_in(tmp_path: Path) -> None:
    marks = Marks(("bar", "foo"), (1, 3))
    assert made(tmp_path, "a\tint", marks=marks).marks == marks


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="no table of variables"):
        VariableFile(path).candidates("a")
