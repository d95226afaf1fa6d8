"""Facts read from each committed dump, against what the machine's /proc said before it died."""

from __future__ import annotations

import drgn
import pytest

from postmortem.kernel.cpu.cpus import cpus, panic_cpu
from postmortem.kernel.memory import memory, slab_caches
from postmortem.kernel.system import modules, present_cpus
from postmortem.kernel.tasks.tasks import all_tasks
from tests.conftest import Machine


def test_release_name_and_command_line(machine: Machine) -> None:
    system = machine.case.system
    assert system.release == machine.facts["release"]
    assert system.nodename == machine.facts["nodename"]
    assert system.command_line == machine.facts["cmdline"]
    assert system.version is not None
    assert machine.facts["version"].endswith(system.version)


def test_time_is_after_the_machine_last_said_it(machine: Machine) -> None:
    system = machine.case.system
    assert 0 <= system.crash_time - machine.facts["time_seconds"] < 120
    assert 0 <= system.uptime_seconds - machine.facts["uptime_seconds"] < 120


def test_cpus(machine: Machine) -> None:
    assert len(present_cpus(machine.prog)) == machine.facts["cpus"]


def test_memory_total_is_what_meminfo_said(machine: Machine) -> None:
    assert memory(machine.prog).total == machine.facts["memory_bytes"]["MemTotal"]


def test_modules_and_their_sizes(machine: Machine) -> None:
    found = {module.name: module.size for module in modules(machine.prog)}
    assert found == machine.facts["modules"]


def test_every_task_of_proc_is_found(machine: Machine) -> None:
    by_pid = {task.pid: task for task in all_tasks(machine.prog).tasks}
    gone = {task["pid"] for task in machine.facts["tasks"]} - set(by_pid)
    # The shell's children come and go between its look at /proc and the crash.
    assert len(gone) <= 3
    for said in machine.facts["tasks"]:
        task = by_pid.get(said["pid"])
        if task is None or said["comm"].startswith("kworker/"):
            continue  # a kworker is named after what it works on at the moment
        parent = all_tasks(machine.prog).by_address.get(task.parent)
        # /proc shows a kernel thread's whole name, task_struct has room for 15 bytes.
        assert (task.comm, parent.pid if parent else 0) == (said["comm"][:15], said["parent"])


def test_task_list_is_whole(machine: Machine) -> None:
    found = all_tasks(machine.prog)
    assert found.complete
    assert found.problems == []
    assert len(found.tasks) == machine.prog["nr_threads"].value_()


def test_slab_caches_have_the_sizes_that_slabinfo_said(machine: Machine) -> None:
    if not any(machine.facts["slabs"].values()):
        pytest.fail("the machine said nothing of its slab caches")
    found = {cache.name for cache in slab_caches(machine.prog)}
    said = {name for name, slab in machine.facts["slabs"].items() if slab["total"]}
    assert said - found == set()


def test_every_cpu_runs_something(machine: Machine) -> None:
    found = cpus(machine.prog)
    assert [cpu.number for cpu in found] == list(range(machine.facts["cpus"]))
    assert all(cpu.task.comm for cpu in found)


def test_panicking_cpu_is_the_one_that_the_fault_was_pinned_to(machine: Machine) -> None:
    number = panic_cpu(machine.prog)
    if not machine.truth["fatal"]:
        assert number is None
    elif machine.truth["cpu"] is not None:
        assert number == machine.truth["cpu"]


def test_log_ends_as_the_console_did(machine: Machine) -> None:
    """The console is what the machine itself printed; the dump's log must hold the same."""
    printed = machine.console.read_text(errors="replace")
    # Debug messages (level 7) go to the log but not to the console.
    recent = [r.text for r in machine.case.log[-40:] if r.level != 7]
    missing = [text for text in recent if text.strip() and text not in printed]
    assert missing == []


def test_stack_of_the_crash_is_the_call_trace_of_the_console(machine: Machine) -> None:
    """The kernel's own ORC unwinder printed its trace: ours must name the same functions."""
    reports = [report for report in machine.case.reports if report.frames]
    number = panic_cpu(machine.prog)
    if number is None or not reports:
        return  # nobody printed a trace: a healthy machine
    stack = [f.function for f in cpus(machine.prog)[number].stack]
    last = reports[-1]
    printed = [
        frame.function
        for frame in last.frames
        if frame.reliable and frame.segment == "task" and frame.function
    ]
    tail = [name for name in printed if name in stack]
    assert tail == [name for name in stack if name in tail]
    assert len(tail) >= min(4, len(printed))


def test_broken_task_list_falls_back_to_the_pid_tree(machine: Machine) -> None:
    prog = _second_program(machine)
    whole = {task.pid for task in all_tasks(machine.prog).tasks}
    head = prog["init_task"].tasks
    second = head.next.next.value_()
    _overlay(prog, second, (0).to_bytes(8, "little"))
    found = all_tasks(prog)
    assert not found.complete
    assert any("task list" in problem.what for problem in found.problems)
    assert {task.pid for task in found.tasks} == whole


def test_task_list_that_runs_in_a_circle_ends(machine: Machine) -> None:
    prog = _second_program(machine)
    first = prog["init_task"].tasks.next
    _overlay(prog, first.next.next.value_(), first.value_().to_bytes(8, "little"))
    found = all_tasks(prog)
    assert any("circle" in problem.why for problem in found.problems)


def _second_program(machine: Machine) -> drgn.Program:
    """A program of its own for tests that damage it."""
    from postmortem.dump.core import open_core
    from postmortem.dump.selfdescribe import describe

    core = open_core([machine.path])
    describe(core.program, dict(core.info.vmcoreinfo))
    core.program.cache["keep"] = core
    return core.program


def _overlay(prog: drgn.Program, address: int, data: bytes) -> None:
    def read(at: int, count: int, offset: int, physical: bool) -> bytes:
        start = at - address
        return data[start : start + count]

    prog.add_memory_segment(address, len(data), read, physical=False)
