"""The command line of triage: 80 columns, JSON lines, exit statuses, one sentence for a mistake."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.triage.piles import oops

_PROGRAM = [sys.executable, "-c", "from postmortem.cli import main; main()"]


def _run(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [*_PROGRAM, *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    folder = tmp_path / "pile"
    folder.mkdir()
    (folder / "a.log").write_text(oops("acme_read"))
    (folder / "b.log").write_text(oops("acme_read", seconds=5, release="6.12.9"))
    (folder / "c.log").write_text(oops("acme_" + "long_" * 20 + "name"))
    return folder


def test_a_list_of_bugs_in_80_columns(pile: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    first = _run("triage", "--store", store, pile)
    assert (first.returncode, first.stderr) == (0, "")
    assert "2 bugs in 3 cases (2 new" in first.stdout
    assert first.stdout.count("NEW") == 2
    assert "6.12.4 (1), 6.12.9 (1)" in first.stdout
    assert all(len(line) <= 80 for line in first.stdout.splitlines())
    (pile / "d.log").write_text(oops("acme_read", seconds=77))
    second = _run("triage", "--store", store, pile)
    assert "(0 new, 1 with new crashes" in second.stdout
    assert "MORE" in second.stdout


def test_for_programs(pile: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    names = "\n".join(str(path) for path in pile.iterdir())
    lines = _run("triage", "--store", store, "--jsonl", "-", text=names).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [item["crashes"] for item in found] == [2, 1]
    assert found[0]["new"] is True
    rows = list(
        csv.DictReader(io.StringIO(_run("triage", "list", "--csv", "--store", store).stdout))
    )
    assert [row["id"] for row in rows] == [item["id"] for item in found]


def test_a_fix_and_what_comes_after_it(pile: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    lines = _run("triage", "--store", store, "--jsonl", pile).stdout.splitlines()
    bucket = json.loads(lines[0])["id"]
    fixed = _run("bucket", "fixed", bucket[:5], "--in", "6.12.9", "--store", store)
    assert fixed.returncode == 0
    shown = _run("bucket", "show", bucket, "--store", store)
    assert "fixed in 6.12.9" in shown.stdout
    assert "CAME BACK" in shown.stdout
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    again = _run("triage", "list", "--store", store)
    assert f"after the fix of {bucket}" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["bucket", "fixed", "zzz", "--in", "soon"], 2, "no kernel release"),
        (["bucket", "show", "zzz"], 2, "no bucket"),
        (["triage", "similar", "zzz"], 2, "no bucket"),
        (["triage", "missing.log"], 4, "can't be opened"),
        (["triage", "regroup", "--to", "99"], 2, "no grouping version"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], status: int, said: str, tmp_path: Path
) -> None:
    store = tmp_path / "s.db"
    _run("triage", "--store", store, tmp_path)
    found = _run(*arguments, "--store", store)
    assert found.returncode == status
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_what_could_not_be_analysed_is_an_exit_status(pile: Path, tmp_path: Path) -> None:
    (pile / "cut.zip").write_bytes(b"PK\3\4 and no more")
    result = _run("triage", "--store", tmp_path / "s.db", pile)
    assert result.returncode == 1
    failed = _run("triage", "list", "--failed", "--store", tmp_path / "s.db")
    assert "cut.zip" in failed.stdout


def test_analyze_does_not_pay_for_the_store(pile: Path) -> None:
    code = (
        "import sys; from postmortem.cli.root import run; run(['analyze', sys.argv[1]]);"
        " sys.stderr.write(' '.join(m for m in sys.modules if m.startswith('sqlalchemy')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(pile / "a.log")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stderr == ""


def test_pages_and_a_notice_and_an_exit_status(pile: Path, tmp_path: Path) -> None:
    store, told = tmp_path / "s.db", tmp_path / "told"
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat >>{told}\n")
    script.chmod(0o755)
    how = ("--store", store, "--html", tmp_path / "pages", "--command", script, "--exit-new")
    assert _run("triage", pile, *how).returncode == 6
    assert told.read_text().count('"event": "new-bug"') == 2
    assert "acme_read" in (tmp_path / "pages" / "index.html").read_text()
    again = _run("triage", pile, *how, "--jsonl")
    assert again.returncode == 0
    assert all(json.loads(line)["id"] for line in again.stdout.splitlines())
    assert told.read_text().count('"event"') == 2


def test_a_notice_that_can_not_be_sent_is_said_before_the_work(pile: Path, tmp_path: Path) -> None:
    found = _run("triage", pile, "--store", tmp_path / "s.db", "--webhook", "gopher://x")
    assert found.returncode == 2
    assert not (tmp_path / "s.db").exists()


def test_a_folder_is_watched_until_a_signal(pile: Path, tmp_path: Path) -> None:
    command = ["triage", "watch", str(pile), "--store", str(tmp_path / "s.db"), "--settle", "0.1"]
    with subprocess.Popen([*_PROGRAM, *command], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "2 new bugs" in process.stderr.readline()
        (pile / "new.log").write_text(oops("other_function", seconds=9))
        assert "1 new bugs" in process.stderr.readline()
        process.terminate()
        assert process.wait(30) == 0


def test_a_fuzzer_s_folder_has_each_crash_once(tmp_path: Path) -> None:
    folder = tmp_path / "crashes" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "description").write_text("BUG: something in acme_read\n")
    for number in range(2):
        (folder / f"log{number}").write_text(oops("acme_read", seconds=number + 3))
        (folder / f"report{number}").write_text(oops("acme_read", seconds=number + 3))
        (folder / f"machineInfo{number}").write_text("x")
    (folder / "report7").write_text(oops("acme_read", seconds=70))
    lines = _run("triage", "--jsonl", "--store", tmp_path / "s.db", tmp_path / "crashes").stdout
    (found,) = map(json.loads, lines.splitlines())
    assert (found["cases"], found["crashes"]) == (3, 3)
