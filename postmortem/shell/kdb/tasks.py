"""``ps``, ``pid`` and ``cpu``: tasks, and which one is meant."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import tolerated
from postmortem.errors import UsageError
from postmortem.shell.kdb.state import State, number
from postmortem.shell.tasks import by_pid

_SUPPRESSED = "-ims"
"""States that ``ps`` leaves out: idle tasks and sleeping system daemons."""


def letter(kdb: State, task: drgn.Object) -> str:
    from drgn.helpers.linux.sched import task_cpu, task_state_to_char

    state = task_state_to_char(task)
    if not int(task.pid) and int(task.value_()) != int(kdb.running(kdb.cpu).value_()):
        return "-" if task_cpu(task) != kdb.cpu else state
    if int(task.pid) and not task.mm and state in "IMS":
        return state.lower()
    return state


def row(kdb: State, task: drgn.Object) -> str:
    from drgn.helpers.linux.sched import task_cpu

    cpu = task_cpu(task)
    address = int(task.value_())
    has_cpu = int(int(kdb.running(cpu).value_()) == address)
    own = "*" if address == int(kdb.running(kdb.cpu).value_()) else " "
    comm = task.comm.string_().decode(errors="replace")
    return (
        f"0x{address:016x} {int(task.pid):8} {int(task.parent.pid):8}  {has_cpu} {cpu:4}"
        f"   {letter(kdb, task)}  0x{int(task.thread.address_of_().value_()):016x} {own}{comm}"
    )


def every_task(kdb: State) -> Iterator[drgn.Object]:
    """Every task but the idle ones, as the kernel's list has them."""
    tasks = kdb.session.case.tasks
    for task in tasks.tasks if tasks is not None else ():
        if task.pid:
            yield drgn.Object(kdb.session.prog, "struct task_struct *", task.address)


def ps(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    mask = words[0] if words else kdb.env.get("PS", "")
    if not words:
        yield from suppressed(kdb)
    yield f"{'Task Addr':<18}      Pid   Parent [*] cpu State {'Thread':<18} Command"
    for cpu in kdb.online():
        task = kdb.running(cpu)
        if wanted(kdb, task, mask):
            yield row(kdb, task)
    yield ""
    for task in every_task(kdb):
        with tolerated():
            if wanted(kdb, task, mask):
                yield row(kdb, task)


def wanted(kdb: State, task: drgn.Object, mask: str) -> bool:
    state = letter(kdb, task)
    if not mask:
        return state not in _SUPPRESSED
    return "A" in mask or state in mask


def suppressed(kdb: State) -> Iterator[str]:
    idle = sum(letter(kdb, kdb.running(cpu)) == "-" for cpu in kdb.online())
    daemons = sum(letter(kdb, task) in "ims" for task in every_task(kdb))
    text = ""
    if idle:
        text += f"{idle} idle process{'' if idle == 1 else 'es'} (state -)"
        text += " and " if daemons else ""
    if daemons:
        text += f"{daemons} sleeping system daemon (state [ims]) process"
        text += "" if daemons == 1 else "es"
    if text:
        yield f"{text} suppressed,\nuse 'ps A' to see all."


def pid(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    if words and words[0] == "R":
        kdb.task = None
    elif words:
        pid = number(words[0])
        found = by_pid(kdb.session, pid)
        if found is None:
            yield f"No task with pid={pid}"
            return
        kdb.task = int(found.value_())
    task = kdb.current()
    comm = task.comm.string_().decode(errors="replace")
    yield f"KDB current process is {comm}(pid={int(task.pid)})"


def cpu(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    if words:
        cpu = number(words[0])
        if cpu not in kdb.online():
            raise UsageError("Invalid cpu number")
        kdb.cpu, kdb.task = cpu, None
        yield kdb.entering().replace("due to KDB_ENTER()", "due to cpu switch").strip("\n")
        return
    yield f"Currently on cpu {kdb.cpu}"
    yield f"Available cpus: {states(kdb)}"


def states(kdb: State) -> str:
    """``0, 1(-), 2-3(F)``: neighbours in the same state are put together."""
    known = {cpu: "-" if letter(kdb, kdb.running(cpu)) == "-" else " "
             for cpu in kdb.online()}  # fmt: skip
    runs: list[list[int]] = []
    for cpu in known:
        if runs and runs[-1][-1] == cpu - 1 and known[cpu - 1] == known[cpu]:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ", ".join(
        f"{run[0]}{f'-{run[-1]}' if len(run) > 1 else ''}"
        + ("" if known[run[0]] == " " else f"({known[run[0]]})")
        for run in runs
    )
