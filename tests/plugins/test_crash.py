"""With the log taken away, the dying CPU's stack must tell the same crash."""

from __future__ import annotations

import pytest

from postmortem.kernel.code.crash import crash
from postmortem.plugin import DumpContext, discover, run_plugin
from tests.conftest import Machine, machine_named
from tests.kernel.locking.test_waiters import fresh

CRASHED = ["5.10-sysrq-crash", "6.1-use-after-free", "6.12-null-chain"]


@pytest.mark.parametrize("name", CRASHED)
def test_stack_alone_tells_kind_function_and_task(name: str) -> None:
    machine = machine_named(name)
    (finding,) = run_plugin(_plugin(), _without_log(machine))
    truth = machine.truth
    assert finding.kind in [truth["kind"], *truth["also"]]  # type: ignore[union-attr]
    if truth["function"]:
        assert finding.culprit.function == truth["function"]  # type: ignore[union-attr]
        assert finding.culprit.module == truth["module"]  # type: ignore[union-attr]
    assert finding.culprit.task.comm == truth["task"]  # type: ignore[union-attr]
    assert finding.culprit.cpu == truth["cpu"]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", CRASHED)
def test_silent_when_the_log_tells_it(name: str) -> None:
    assert run_plugin(_plugin(), machine_named(name).context()) == []


def test_silent_on_a_machine_that_lives() -> None:
    assert run_plugin(_plugin(), _without_log(machine_named("7.2-healthy-idle"))) == []


def test_a_wrong_panic_cpu_accuses_nobody() -> None:
    """The CPU idles: its stack has no panic() and its instruction touches no memory."""
    prog = fresh("7.2-healthy-idle")
    number = prog["panic_cpu"].counter
    prog.add_memory_segment(number.address_, 4, lambda _at, count, _offset, _physical: bytes(count))
    with pytest.raises(LookupError, match="neither panic"):
        crash(prog)


def _plugin() -> object:
    return next(item for item in discover()[0] if item.name == "crash")


def _without_log(machine: Machine) -> object:
    case = machine.case
    return DumpContext.given(case.input, case.system, dump=case.dump)
