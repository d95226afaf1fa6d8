"""``bt`` and its kin."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.errors import UsageError
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.shell.kdb.state import State, number
from postmortem.shell.kdb.tasks import every_task, row, states, suppressed, wanted
from postmortem.shell.tasks import by_pid


def bt(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    if words:
        yield from _from(kdb, kdb.address(words[0]))
    else:
        yield from _stack(kdb, kdb.current())


def _from(kdb: State, address: int) -> Iterator[str]:
    """Return addresses on the stack from a place on, none of them certain."""
    symbols = Symbolizer.of(kdb.session.prog)
    size = int(kdb.session.prog["THREAD_SIZE"].value_())
    end = (address // size + 1) * size
    data = kdb.session.prog.read(address, end - address)
    yield "Call Trace:"
    for at in range(0, len(data) - 7, 8):
        found = symbols.symbol(int.from_bytes(data[at : at + 8], "little"))
        if found is not None and found.offset:
            module = f" [{found.module}]" if found.module else ""
            yield f" ? {found.function}+{found.offset:#x}/{found.size:#x}{module}"


def btp(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    if len(words) != 1:
        raise UsageError("btp: one pid is wanted")
    pid = number(words[0])
    found = by_pid(kdb.session, pid)
    if found is not None:
        yield from _stack(kdb, found)
    else:
        yield f"No process with pid == {pid} found"


def btt(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    from postmortem.shell.tasks import task_of

    if len(words) != 1:
        raise UsageError("btt: the address of one task is wanted")
    yield from _stack(kdb, task_of(kdb.session, f"{kdb.address(words[0]):x}"))


def bta(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    mask = words[0] if words else kdb.env.get("PS", "")
    if not words:
        yield from suppressed(kdb)
    running = [kdb.running(cpu) for cpu in kdb.online()]
    addresses = {int(task.value_()) for task in running}
    for task in running:
        if wanted(kdb, task, mask):
            yield from _stack(kdb, task)
    for task in every_task(kdb):
        if int(task.value_()) not in addresses and wanted(kdb, task, mask):
            yield from _stack(kdb, task)


def btc(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    if words:
        cpu = number(words[0])
        if cpu not in kdb.online():
            yield f"WARNING: no process for cpu {cpu}"
            return
        yield from _stack(kdb, kdb.running(cpu))
        return
    yield f"btc: cpu status: Currently on cpu {kdb.cpu}"
    yield f"Available cpus: {states(kdb)}"
    for cpu in kdb.online():
        yield from _stack(kdb, kdb.running(cpu))


def _stack(kdb: State, task: drgn.Object) -> Iterator[str]:
    yield f"Stack traceback for pid {int(task.pid)}"
    yield row(kdb, task)
    yield from _trace(kdb, int(task.value_()))


def _trace(kdb: State, address: int) -> Iterator[str]:
    from postmortem.kernel.cpu.cpus import cpus
    from postmortem.kernel.tasks.trace import KernelText, cpu_trace, trace
    from postmortem.kernel.tasks.unwind import sleeping_stacks
    from postmortem.printers.show_regs import stack_info
    from postmortem.printers.show_stack import StackPrinter

    prog = kdb.session.prog
    printer = StackPrinter(prog)
    stack = sleeping_stacks(prog).by_task.get(address)
    if stack is not None:
        yield from printer.trace(trace(KernelText.of(prog), stack))
        return
    for cpu in cpus(prog):
        if cpu.address == address:
            yield from stack_info(prog, cpu)
            yield from printer.trace(cpu_trace(prog, cpu))
            return
    yield "Call Trace:"
    why = sleeping_stacks(prog).unreadable.get(address, "its registers are not known")
    yield f" (not known: {why})"
