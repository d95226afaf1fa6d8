"""The machine: ``sys -c -t``, ``mach``, symbols of modules, page table entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.command import PASSED_ON, command

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_MAX_CALLS = 4096


@command("sys", "machine", settings=PASSED_ON)
@click.option("-c", "calls", is_flag=True, help="The system calls; with a name or number, that.")
@click.option("-t", "taint", is_flag=True, help="What has tainted the kernel.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def sys_(session: Session, calls: bool, taint: bool, rest: tuple[str, ...]) -> Any:
    """Show what machine this is and when it broke; config shows the kernel's configuration."""
    if taint:
        _taint(session)
        return None
    if calls:
        _calls(session, rest[0] if rest else None)
        return None
    return crash.run(session.prog, "sys", " ".join(rest), session.out)


def _taint(session: Session) -> None:
    taints = session.case.system.taint
    mask = _number(session.prog, "tainted_mask")
    if mask is not None:
        letters = "".join(str(taint)[:1] for taint in taints)
        session.out.write(clean(f"TAINTED_MASK: {mask:x}  {letters}") + "\n")
    if not taints:
        session.out.write("not tainted\n")
    for taint in taints:
        session.out.write(clean(str(taint)) + "\n")


def _calls(session: Session, wanted: str | None) -> None:
    found = [
        (number, name)
        for number, name in _call_table(session.prog)
        if wanted is None or wanted == str(number) or wanted in name
    ]
    if not found:
        raise UsageError(f"sys -c: no system call {wanted!r}")
    session.out.write("NUM  SYSTEM CALL\n")
    for number, name in found:
        session.out.write(f"{number:3}  {clean(name)}\n")


def _call_table(prog: drgn.Program) -> Iterator[tuple[int, str]]:
    """Number and function of every call in ``sys_call_table``.

    :raises UsageError: the kernel has no such table, or it is not in the dump.
    """
    try:
        symbol = prog.symbol("sys_call_table")
        data = prog.read(symbol.address, min(symbol.size, _MAX_CALLS * 8))
    except damage() as exc:
        raise UsageError(f"sys -c: sys_call_table can't be read: {exc}") from None
    symbols = Symbolizer.of(prog)
    for number in range(len(data) // 8):
        address = int.from_bytes(data[number * 8 : number * 8 + 8], "little")
        function = symbols.symbol(address)
        yield number, function.function if function else f"{address:x}"


@command("sym", "values", settings=PASSED_ON)
@click.option("-m", "module", metavar="MODULE", help="All symbols of a module.")
@click.option("-M", "modules", is_flag=True, help="All symbols of all modules.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def sym(session: Session, module: str | None, modules: bool, rest: tuple[str, ...]) -> Any:
    """Find a symbol by name or address; -l lists all, -q TEXT those that contain it."""
    if module is None and not modules:
        return crash.run(session.prog, "sym", " ".join(rest), session.out)
    loaded = [item.name for item in session.case.system.modules]
    if module is not None and module not in loaded:
        raise UsageError(f"sym -m: no module {module!r} is loaded")
    for name in [module] if module is not None else loaded:
        _module_symbols(session, name)
    return None


def _module_symbols(session: Session, name: str) -> None:
    from postmortem.dump.selfdescribe import symbols_of_module

    found = symbols_of_module(session.prog, name)
    session.out.write(clean(f"{name}: {len(found)} symbols") + "\n")
    for symbol in sorted(found, key=lambda symbol: symbol.address):
        session.out.write(clean(f"{symbol.address:x}  {symbol.name}") + "\n")


@command("mach", "machine")
@click.option("-m", "memory", is_flag=True, help="The firmware's map of physical memory (x86).")
def mach(session: Session, memory: bool) -> None:
    """Show the hardware as the kernel saw it: CPUs, memory, page size, limits."""
    system, prog = session.case.system, session.prog
    if memory:
        _memory_map(session)
        return
    rows: list[tuple[str, object]] = [
        ("MACHINE TYPE", system.arch),
        ("MEMORY SIZE", f"{(system.memory_bytes or 0) >> 20} MiB" if system.memory_bytes else None),
        ("CPUS", system.cpus),
        ("HZ", _number(prog, "HZ")),
        ("PAGE SIZE", _number(prog, "PAGE_SIZE")),
        ("KERNEL STACK SIZE", _number(prog, "THREAD_SIZE")),
        ("KERNEL TEXT", _symbol(prog, "_stext")),
        ("DIRECT MAP", _hex(_number(prog, "page_offset_base"))),
        ("VMALLOC", _hex(_number(prog, "vmalloc_base"))),
        ("MEM_MAP", _hex(_number(prog, "vmemmap_base"))),
    ]
    for title, value in rows:
        if value is not None:
            session.out.write(clean(f"{title:>18}: {value}") + "\n")


def _memory_map(session: Session) -> None:
    """``e820_table``: what the firmware told, as far as the kernel changed nothing."""
    try:
        table = session.prog["e820_table"]
        entries = [table.entries[number] for number in range(min(int(table.nr_entries), 4096))]
    except KeyError:
        raise UsageError("mach -m: this kernel keeps no e820 table") from None
    session.out.write("      PHYSICAL ADDRESS RANGE         TYPE\n")
    for entry in entries:
        start = int(entry.addr)
        kind = entry.type.format_(type_name=False).removeprefix("E820_TYPE_")
        session.out.write(
            clean(f"{start:016x} - {start + int(entry.size):016x}  E820_{kind}") + "\n"
        )


def _number(prog: drgn.Program, name: str) -> int | None:
    try:
        return int(prog[name].value_())
    except KeyError:
        return None
    except damage():
        return None


def _symbol(prog: drgn.Program, name: str) -> str | None:
    try:
        return _hex(int(prog.symbol(name).address))
    except LookupError:
        return None


def _hex(value: int | None) -> str | None:
    return None if value is None else f"{value:x}"
