"""``postmortem trace``: what a user may ask for by mistake, and a machine without a trace."""

from __future__ import annotations

import pytest

from postmortem.cli.root import run
from tests.conftest import machine_named

USAGE = 2


@pytest.fixture(scope="module")
def dump() -> str:
    return str(machine_named("6.12-null-chain").path)


def test_a_machine_without_a_trace_gets_one_sentence(
    dump: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["trace", dump]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "postmortem: ftrace had recorded nothing when the machine died\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--last", "soon"], "give a time such as 50ms"),
        (["-i", "nobody"], "no instance 'nobody'"),
    ],
)
def test_a_mistake_gets_one_sentence(
    dump: str, capfd: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert run(["trace", dump, *options]) == USAGE
    err = capfd.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_an_empty_snapshot_is_one_too(dump: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", dump, "--snapshot"]) == 0
    assert capfd.readouterr().err == "postmortem: the snapshot of ftrace is empty\n"


def test_counts_are_shown_of_every_cpu(dump: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", dump, "--stats"]) == 0
    out = capfd.readouterr().out
    assert out.count("\nentries: 0\n") == 2
    assert out.startswith("# main buffer, CPU 0: tracer nop, clock local, ")


def test_files_of_tracefs_on_a_machine_that_never_traced(
    dump: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["trace", dump, "--file", "stack_max_size"]) == 0
    assert capfd.readouterr().out == "0\n"
    assert run(["trace", dump, "--calls"]) == 0
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert run(["trace", dump, "--file", "made/up"]) == USAGE
    assert "there are: stack_max_size, " in capfd.readouterr().err
    assert run(["trace", dump, "--file", "trace_stat/function0"]) == 1
    assert "without the function profiler" in capfd.readouterr().err
