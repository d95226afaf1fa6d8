"""``search``: who holds a value, through all memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from postmortem.errors import UsageError
from postmortem.kernel.search import Range, kernel_ranges, search, word_pattern
from postmortem.render.clean import clean
from postmortem.shell.command import command
from postmortem.shell.commands.values import address_of
from postmortem.shell.tasks import task_of

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_SHOWN_CHARS = 60


@command("search", "values")
@click.option("-s", "start", metavar="START", help="From this address or symbol on.")
@click.option("-e", "end", metavar="END", help="Up to this one.")
@click.option("-l", "length", metavar="LENGTH", help="So many bytes (hexadecimal).")
@click.option("-k", "which", flag_value="k", default="k", help="All kernel memory (default).")
@click.option("-K", "which", flag_value="K", help="Of it the direct map and the image only.")
@click.option("-V", "which", flag_value="V", help="Of it what vmalloc gave and modules only.")
@click.option("-p", "which", flag_value="p", help="Physical memory.")
@click.option("-t", "which", flag_value="t", help="The kernel stacks of all tasks.")
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
    ranges = _ranges(session, which, start, end, length)
    read = (lambda at, count: prog.read(at, count, True)) if which == "p" else None
    for address, data in search(prog, ranges, pattern, unit=unit, longest=longest, read=read):
        shown = _text(data) if as_text else f"{int.from_bytes(data, 'little'):x}"
        session.out.write(f"{address:x}: {shown}\n")


def _text(data: bytes) -> str:
    return clean(data.decode(errors="replace")[:_SHOWN_CHARS])


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
    if which == "t":
        return _stacks(session)
    everything = kernel_ranges(prog)
    if which == "p":
        direct = [found for found in everything if found.kind == "direct map"]
        return [Range(0, found.end - found.start, "physical") for found in direct]
    if which == "K":
        return [found for found in everything if found.kind != "vmalloc"]
    if which == "V":
        return [found for found in everything if found.kind == "vmalloc"]
    return everything


def _stacks(session: Session) -> list[Range]:
    size = int(session.prog["THREAD_SIZE"].value_())
    tasks = session.case.tasks
    found: list[Range] = []
    for task in tasks.tasks if tasks is not None else ():
        low = int(task_of(session, f"{task.address:x}").stack.value_())
        found.append(Range(low, low + size, "stack"))
    return found
