"""``search``: who holds a value, through all memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
import drgn

from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.kernel.search import Range, kernel_ranges, search, word_pattern
from postmortem.kernel.tasks.areas import areas_of
from postmortem.shell.command import command
from postmortem.shell.commands.values import address_of
from postmortem.shell.tasks import header, task_of

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_SHOWN_CHARS = 56
"""As many as crash shows."""


@command("search", "values")
@click.option("-s", "start", metavar="START", help="From this address or symbol on.")
@click.option("-e", "end", metavar="END", help="Up to this one.")
@click.option("-l", "length", metavar="LENGTH", help="So many bytes (hexadecimal).")
@click.option("-k", "which", flag_value="k", default="k", help="All kernel memory (default).")
@click.option("-K", "which", flag_value="K", help="Of it the direct map and the image only.")
@click.option("-V", "which", flag_value="V", help="Of it what vmalloc gave and modules only.")
@click.option("-p", "which", flag_value="p", help="Physical memory.")
@click.option("-t", "which", flag_value="t", help="The kernel stacks of all tasks.")
@click.option("-T", "which", flag_value="T", help="The kernel stacks of what runs on CPUs.")
@click.option("-u", "which", flag_value="u", help="Memory of the context's program.")
@click.option("-x", "around", type=click.IntRange(0, 256), default=0, metavar="COUNT",
              help="So many values before and behind each that is found.")  # fmt: skip
@click.option("-m", "mask", metavar="MASK", help="Bits that may be anything (hexadecimal).")
@click.option("-c", "as_text", is_flag=True, help="The values are strings.")
@click.option("-w", "size", flag_value=4, type=int, help="The values have 32 bits.")
@click.option("-h", "size", flag_value=2, type=int, help="The values have 16 bits.")
@click.argument("values", nargs=-1, required=True)
def find(
    session: Session,
    start: str | None,
    end: str | None,
    length: str | None,
    which: str,
    around: int,
    mask: str | None,
    as_text: bool,
    size: int | None,
    values: tuple[str, ...],
) -> None:
    """Print every address at which one of the VALUES lies: numbers, symbols or text.

    Numbers are hexadecimal. Pages that are not in the dump are passed over.
    """
    prog = session.prog
    unit = size or 8
    if as_text:
        encoded = [value.encode() for value in values]
        pattern = re.compile(b"|".join(map(re.escape, encoded)))
        unit, longest = 1, max(map(len, encoded))
        if not longest:
            raise UsageError("search -c: an empty string is everywhere")
    else:
        free = _number(mask) if mask else 0
        numbers = [address_of(prog, value) for value in values]
        if any(number >> (8 * unit) for number in (*numbers, free)):
            raise UsageError(f"a value has more than {8 * unit} bits")
        pattern, longest = word_pattern(numbers, unit, free), unit
    names = {} if as_text else {address_of(prog, value): value for value in values
                                if not _is_number(value)}  # fmt: skip
    read = _reader(session, which)
    for head, ranges in _places(session, which, start, end, length):
        found = search(prog, ranges, pattern, unit=unit, longest=longest, read=read)
        for number, (address, data) in enumerate(found):
            if head and not number:
                session.out.write(f"{head}\n")
            value = int.from_bytes(data, "little")
            name = f" ({names[value]})" if value in names else ""
            shown = _text(_line(prog, address, data, read)) if as_text else f"{value:x}{name}"
            if around and not as_text:
                _around(session, address, unit, around, read)
            else:
                session.out.write(f"{address:x}: {shown}\n")


def _reader(session: Session, which: str) -> Callable[[int, int], bytes] | None:
    """How what is searched is read, if not as the kernel's memory."""
    prog = session.prog
    if which == "p":
        return lambda at, count: prog.read(at, count, True)
    if which == "u":
        from drgn.helpers.linux.mm import access_process_vm

        task = task_of(session)
        return lambda at, count: access_process_vm(task, at, count)
    return None


def _line(
    prog: drgn.Program, at: int, data: bytes, read: Callable[[int, int], bytes] | None
) -> bytes:
    """What was found with the bytes behind it, as far as they are there."""
    try:
        return (read or prog.read)(at, _SHOWN_CHARS)
    except damage():
        return data


def _around(
    session: Session,
    address: int,
    unit: int,
    count: int,
    read: Callable[[int, int], bytes] | None,
) -> None:
    start = address - unit * count
    try:
        data = (read or session.prog.read)(start, unit * (2 * count + 1))
    except damage():  # a neighbour is not in the dump
        start, data = address, (read or session.prog.read)(address, unit)
    for at in range(0, len(data), unit):
        value = int.from_bytes(data[at : at + unit], "little")
        mark = "*" if start + at == address else " "
        session.out.write(f"{mark} {start + at:x}: {value:0{2 * unit}x}\n")
    session.out.write("\n")


def _is_number(text: str) -> bool:
    try:
        int(text, 16)
    except ValueError:
        return False
    return True


def _places(
    session: Session, which: str, start: str | None, end: str | None, length: str | None
) -> list[tuple[str, list[Range]]]:
    """Ranges with what is written above what is found in them."""
    if start is None and which in ("t", "T"):
        return list(_stacks(session, active=which == "T"))
    return [("", _ranges(session, which, start, end, length))]


def _text(data: bytes) -> str:
    """As crash shows it: what is not printable is a dot."""
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)


def _number(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise UsageError(f"{text} is no hexadecimal number") from None


def _ranges(
    session: Session, which: str, start: str | None, end: str | None, length: str | None
) -> list[Range]:
    prog = session.prog
    if start is not None:
        first = address_of(prog, start)
        if end is not None:
            last = address_of(prog, end)
        elif length is not None:
            last = first + _number(length)
        else:
            holding = (r for r in kernel_ranges(prog) if r.start <= first < r.end)
            last = next((found.end for found in holding), 0)
        if last <= first:
            raise UsageError("the search ends before it starts: -e END or -l LENGTH")
        return [Range(first, last, "asked for")]
    if which == "u":
        task = task_of(session)
        if not task.mm:
            raise UsageError("search -u: the context is a kernel thread and has no such memory")
        return [Range(int(vma.vm_start), int(vma.vm_end), "program") for vma in areas_of(task.mm)]
    everything = kernel_ranges(prog)
    if which == "p":
        direct = [found for found in everything if found.kind == "direct map"]
        return [Range(0, found.end - found.start, "physical") for found in direct]
    if which == "K":
        return [found for found in everything if found.kind != "vmalloc"]
    if which == "V":
        return [found for found in everything if found.kind == "vmalloc"]
    return everything


def _stacks(session: Session, *, active: bool) -> Iterator[tuple[str, list[Range]]]:
    """The stack of each task; those of idle tasks first."""
    prog = session.prog
    size = int(prog["THREAD_SIZE"].value_())
    for task in _running(prog) if active else _all_tasks(session):
        try:
            low = int(task.stack.value_())
            yield header(task), [Range(low, low + size, "stack")]
        except damage():
            continue


def _running(prog: drgn.Program) -> Iterator[drgn.Object]:
    from drgn.helpers.linux.sched import cpu_curr

    from postmortem.kernel.system import present_cpus

    for cpu in present_cpus(prog):
        yield cpu_curr(prog, cpu)


def _all_tasks(session: Session) -> Iterator[drgn.Object]:
    from drgn.helpers.linux.sched import idle_task

    from postmortem.kernel.system import present_cpus

    for cpu in present_cpus(session.prog):
        yield idle_task(session.prog, cpu)
    tasks = session.case.tasks
    for task in tasks.tasks if tasks is not None else ():
        if task.pid:
            yield drgn.Object(session.prog, "struct task_struct *", task.address)
