"""What people ask a store on the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from postmortem.cli import triage_fleet as t
from postmortem.errors import UsageError
from tests.triage.filled import DAY, START, pile

Ask = Callable[..., int]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Runs a command on a store of fifty crashes."""
    pile(tmp_path / "crashes.db").close()

    def asked(command: click.Command, *args: object) -> int:
        words = [*map(str, args), "--store", str(tmp_path / "crashes.db")]
        return int(command.main(words, standalone_mode=False))

    return asked


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Seven hosts, all of them with three kernels, 30 days each."""
    file = tmp_path / "fleet.csv"
    lines = ["host,model,kernel,from,to"]
    for host in range(7):
        for kernel in range(70, 73):
            lines.append(f"web{host},R1,6.1.{kernel},{START},{START + 40 * DAY}")
    file.write_text("\n".join(lines))
    return file


def test_pages_are_written_and_found(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(t.pages, tmp_path / "pages") == 0
    assert capsys.readouterr().out == f"{tmp_path}/pages/index.html: 3 bugs\n"
    assert "web1" in (next((tmp_path / "pages" / "bucket").iterdir())).read_text()
    assert ask(t.pages, tmp_path / "private", "--redact") == 0
    assert "web1" not in (next((tmp_path / "private" / "bucket").iterdir())).read_text()


def test_hosts_are_listed(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(t.hosts) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["host", "crashes", "bugs"]
    assert len(lines) == 8
    assert ask(t.hosts, "--json", "--limit", 2) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_rates_have_an_interval_and_say_what_they_lack(
    ask: Ask, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(t.rates, "--fleet", fleet, "--json") == 1
    out, err = capsys.readouterr()
    found = {rate["kernel"]: rate for rate in json.loads(out)}
    assert [found[f"6.1.{n}"]["crashes"] for n in (70, 71, 72)] == [18, 16, 16]
    assert found["6.1.70"]["per_thousand"] == pytest.approx(18 / 280 * 1000)
    assert "no time or no kernel" in err
    assert ask(t.rates, "--fleet", fleet, "--since", "2026-06-01") == 1
    assert "to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("factor", "status", "said"), [("1.01", 7, "not decided"), ("3", 0, "6.1.70: passed")]
)
def test_a_gate_says_it_by_its_exit_status(
    ask: Ask, fleet: Path, capsys: pytest.CaptureFixture[str], factor: str, status: int, said: str
) -> None:
    assert ask(t.gate, "6.1.70", "--fleet", fleet, "--tolerate", factor) == status
    out = capsys.readouterr().out
    assert said in out
    assert "only with it: kernel BUG in new_one" in out


def test_a_worse_release_is_6(ask: Ask, fleet: Path) -> None:
    whole = f"6.1.70,{START},{START + 40 * DAY}"
    fleet.write_text(fleet.read_text().replace(whole, f"6.1.70,{START},{START + 5 * DAY}"))
    assert ask(t.gate, "6.1.70", "--fleet", fleet) == t.EXIT_NEW


def test_what_can_go_is_listed_and_nothing_is_deleted(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(t.prune) == 0  # no file of an invented crash is there
    out, err = capsys.readouterr()
    assert out == ""
    assert "0 files, 0 bytes: can go" in err


@pytest.mark.parametrize("command", [t.hosts, t.prune])
def test_a_store_that_is_not_there_is_a_sentence(command: click.Command, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="there is no store"):
        command.main(["--store", str(tmp_path / "none.db")], standalone_mode=False)


def test_a_day_that_is_none_is_usage(ask: Ask, fleet: Path) -> None:
    with pytest.raises(click.BadParameter, match="no date"):
        ask(t.rates, "--fleet", fleet, "--since", "yesterday")


def test_nobody_is_told_unless_somebody_is_named(ask: Ask, tmp_path: Path) -> None:
    with pile(tmp_path / "x.db") as store:
        assert t.tell(store.buckets(), None, None) == 0
        assert t.tell(store.buckets(), "false", None) == 3
    with pytest.raises(UsageError):
        t.tell([], None, "gopher://x")


def test_names_of_hosts_are_read(tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_text("10.0.0.1,web1\n10.0.0.2, web2 \nodd\n")
    assert t._names(str(file)) == {"10.0.0.1": "web1", "10.0.0.2": "web2"}
    with pytest.raises(UsageError):
        t._names(str(tmp_path / "none"))


LISTEN = "from postmortem.cli.triage_fleet import listen; listen.main()"


def test_a_listener_that_is_ended_keeps_what_it_has(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, str(tmp_path), "--bind", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        port = int(said.split("127.0.0.1:")[1].split(",")[0])
        lines = (Path("corpus/console/6.12-bug.log")).read_bytes().splitlines()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for line in lines:
                out.sendto(line, ("127.0.0.1", port))
        timer = threading.Timer(0.5, process.send_signal, (signal.SIGTERM,))
        timer.start()
        rest = process.stderr.read()
    assert "1 logs kept" in rest
    assert len(list((tmp_path / "127.0.0.1").iterdir())) == 1
