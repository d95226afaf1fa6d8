"""SysRq keys on the committed machines, beside what those machines said of themselves.

The kernel's own print is compared line by line by corpus/sysrq_oracle.py.
"""

from __future__ import annotations

import functools
import re

import pytest

import postmortem
from postmortem.errors import UsageError
from postmortem.printers.lines import Line
from postmortem.printers.sysrq import sysrq
from tests.conftest import Machine, machine_named

TASK = re.compile(r"task:(?P<comm>.{1,15}?) +state:(?P<state>\w).* pid: *(?P<pid>\d+) ")
PARENT = re.compile(r" ppid: *(\d+)")


@functools.cache
def _printed(name: str, keys: str) -> list[Line]:
    return list(sysrq(machine_named(name).prog, keys))


def printed(machine: Machine, keys: str) -> list[Line]:
    return _printed(machine.name, keys)


def test_tasks_are_those_that_the_machine_had(machine: Machine) -> None:
    lines = [line.text for line in printed(machine, "t")]
    shown = {int(m["pid"]): (m["comm"], text) for text in lines if (m := TASK.match(text))}
    # Helpers of the script that reported them were gone when the machine was dumped, and
    # idle workers come and go.
    stayed = [task for task in machine.facts["tasks"] if task["pid"] in shown]
    assert len(stayed) > 0.8 * len(machine.facts["tasks"])
    for task in stayed:
        comm, text = shown[task["pid"]]
        parent = PARENT.search(text)
        if not comm.startswith(("kworker", "init", "sh")):  # those are renamed, or exec
            assert comm == task["comm"][:15]
        assert parent is not None
        assert int(parent[1]) in (task["parent"], 1)


def test_every_task_has_a_trace(machine: Machine) -> None:
    lines = [line.text for line in printed(machine, "t")]
    tasks = sum(text.startswith("task:") for text in lines)
    assert lines.count("Call Trace:") == tasks
    assert any(" __schedule+0x" in text for text in lines)


def test_memory_is_that_of_the_machine(machine: Machine) -> None:
    lines = [line.text for line in printed(machine, "m")]
    assert lines[:2] == ["sysrq: Show Memory", "Mem-Info:"]
    numbers = {
        text.partition(" ")[2]: int(text.split()[0])
        for text in lines
        if re.match(r"\d+ pages", text)
    }
    managed = numbers["pages RAM"] - numbers["pages reserved"]
    assert managed * 4096 == machine.facts["memory_bytes"]["MemTotal"]
    assert not any("?" in text.replace("unreclaimable? ", "") for text in lines)


def test_blocks_of_a_free_list_add_up(machine: Machine) -> None:
    lists = [line.text for line in printed(machine, "m") if "*4kB" in line.text]
    assert lists
    for text in lists:
        blocks = re.findall(r"(\d+)\*(\d+)kB", text)
        assert sum(int(count) * int(kib) for count, kib in blocks) == int(
            re.findall(r"= (\d+)kB", text)[0]
        )


def test_help_is_for_h_and_for_keys_that_do_nothing(machine: Machine) -> None:
    (helped,) = printed(machine, "h")
    assert helped.text.startswith("sysrq: HELP : loglevel(0-9) reboot(b) crash(c) ")
    assert helped.level == 6
    assert printed(machine, "%") == [helped]


def test_a_key_that_acts_says_so(machine: Machine) -> None:
    header, said = printed(machine, "b")
    assert header.text == "sysrq: Resetting"
    assert said.ours
    assert said.text.startswith("[postmortem: ")


def test_what_is_no_key_is_refused(machine: Machine) -> None:
    with pytest.raises(UsageError, match="is no key"):
        sysrq(machine.prog, "m t")


def test_a_log_has_no_memory(machine: Machine) -> None:
    with postmortem.open(machine.console) as case, pytest.raises(UsageError, match="only a dump"):
        sysrq(case.prog, "m")


def test_every_cpu_shows_where_it_was(machine: Machine) -> None:
    lines = [line.text for line in printed(machine, "l")]
    shown = [text for text in lines if text.startswith("NMI backtrace for cpu ")]
    assert len(shown) == machine.facts["cpus"]
    heads = [text for text in lines if text.startswith("CPU: ")]
    assert heads
    for head in heads:
        assert f" {machine.facts['release']} #1" in head
        assert "Comm: " in head


def test_registers_of_a_cpu(machine: Machine) -> None:
    lines = [line.text for line in sysrq(machine.prog, "p", cpu=1)]
    assert lines[1].startswith("CPU: 1 ")
    assert any(re.fullmatch(r"RSP: 0018:[0-9a-f]{16} EFLAGS: [0-9a-f]{8}", text) for text in lines)
    # Once more for each exception and for user space, if it was called from there.
    general = sum(text.startswith(("RAX:", "RDX:", "RBP:", "R10:", "R13:")) for text in lines)
    assert general and general % 5 == 0
    with pytest.raises(UsageError, match="there is no CPU 99"):
        list(sysrq(machine.prog, "p", cpu=99))


def test_whom_an_oom_kill_would_choose(machine: Machine) -> None:
    lines = printed(machine, "f")
    rows = [re.match(r"\[ *(\d+)\] .* (\S+)$", line.text) for line in lines]
    pids = {int(row[1]) for row in rows if row}
    kernel = {task["pid"] for task in machine.facts["tasks"] if task["parent"] == 2}
    assert pids
    assert not pids & {1, 2, *kernel}
    said = re.search(r"would choose (\d+) ", lines[-1].text)
    assert said is not None
    assert int(said[1]) in pids


def test_who_would_get_a_signal(machine: Machine) -> None:
    text = printed(machine, "e")[1].text
    assert text.startswith("[postmortem: SIGTERM would go to ")
    assert "(syslogd)" in text
    assert "kthreadd" not in text
    assert " 1 (init)" not in text


@pytest.mark.parametrize("name", ["5.10-sysrq-crash", "6.1-use-after-free", "6.12-null-chain"])
def test_head_of_the_cpu_that_panicked_is_as_the_kernel_printed_it(name: str) -> None:
    """The last report on the console is of the task that panicked, and the dump shows it still.

    After an earlier oops a panic prints no head: the fourth machine that died has none.
    """
    machine = machine_named(name)
    console = machine.console.read_text(errors="replace").replace("\r", "")
    texts = [text.partition("] ")[2] for text in console.splitlines()]
    told = [text for text in texts if re.match(r"CPU: \d+ .*Comm: ", text)][-1]
    hardware = next(text for text in texts if text.startswith("Hardware name: "))
    shown = [line.text for line in printed(machine, "p")]
    taint = re.compile(r"(Not tainted|Tainted: [A-Z ]*) (?=\d+\.\d+\.)")
    assert taint.sub("", shown[1]) == taint.sub("", told)
    # The oops that killed the machine tainted it after its own head was printed.
    added = set(taint.findall(shown[1])[0]) - set(taint.findall(told)[0])
    assert added <= set("Tainted: GD")
    assert hardware in shown
