"""The machine: ``sys -c -t``, ``mach``, symbols of modules, page table entries."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.dump.completing import complete_declarations
from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.render.clean import clean
from postmortem.shell import crash, structured
from postmortem.shell.command import PASSED_ON, command
from postmortem.shell.commands.values import address_of

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_MAX_CALLS = 4096
_MAX_RESOURCES = 65536
_NT_VMCOREDD = 0x700
_DUMP_NAME = 44


@command("sys", "machine", settings=PASSED_ON)
@click.option("-c", "calls", is_flag=True, help="The system calls; with a name or number, that.")
@click.option("-t", "taint", is_flag=True, help="What has tainted the kernel.")
@click.option("-i", "dmi", is_flag=True, help="What the firmware says of the hardware (DMI).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def sys_(session: Session, calls: bool, taint: bool, dmi: bool, rest: tuple[str, ...]) -> Any:
    """Show what machine this is and when it broke; config shows the kernel's configuration."""
    if taint:
        _taint(session)
        return None
    if dmi:
        _firmware(session)
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


def _firmware(session: Session) -> None:
    """``dmi_ident[]``, whose places ``enum dmi_field`` names."""
    prog = session.prog
    try:
        strings = prog["dmi_ident"]
        fields = prog.type("enum dmi_field").enumerators or ()
    except LookupError:
        raise UsageError("sys -i: this kernel keeps no DMI strings (CONFIG_DMI)") from None
    for field in fields:
        if not 0 <= field.value < (strings.type_.length or 0) or not strings[field.value]:
            continue
        try:
            text = strings[field.value].string_().decode(errors="replace")
        except damage():
            text = "(not in the dump)"
        session.out.write(clean(f"{field.name:>28}: {text}") + "\n")


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
@click.option("-l", "listed", is_flag=True, help="All symbols of the kernel and its modules.")
@click.option("-q", "query", metavar="TEXT", help="Those that contain TEXT.")
@click.option("-p", "previous", is_flag=True, help="With the one before it.")
@click.option("-n", "following", is_flag=True, help="With the one behind it.")
@click.argument("rest", nargs=-1)
def sym(
    session: Session,
    module: str | None,
    modules: bool,
    listed: bool,
    query: str | None,
    previous: bool,
    following: bool,
    rest: tuple[str, ...],
) -> Any:
    """Find symbols by name or address; the letter says what it is, as nm does (T: code)."""
    loaded = [item.name for item in session.case.system.modules]
    if module is not None and module not in loaded:
        raise UsageError(f"sym -m: no module {module!r} is loaded")
    if module is not None or modules:
        for name in [module] if module is not None else loaded:
            _module_symbols(session, name)
        return None
    if not (rest or listed or query is not None):
        raise UsageError("sym NAME or ADDRESS; -l lists all, -q TEXT those that contain it")
    if listed or query is not None:
        _listed(session, query or "", loaded)
        return None
    for word in rest:
        _symbol_of(session, word, before=previous, behind=following)
    return None


def _listed(session: Session, text: str, modules: list[str]) -> None:
    from postmortem.dump.selfdescribe import lettered_symbols, symbols_of_module

    for address, letter, name in lettered_symbols(session.prog):
        if text in name:
            session.out.write(clean(f"{address:x} ({letter}) {name}") + "\n")
    for module in modules:
        for symbol in sorted(symbols_of_module(session.prog, module), key=lambda s: s.address):
            if text in symbol.name:
                session.out.write(clean(f"{symbol.address:x} {symbol.name} [{module}]") + "\n")


def _symbol_of(session: Session, word: str, *, before: bool, behind: bool) -> None:
    """One symbol by name or address, perhaps with its neighbours."""
    from postmortem.dump.selfdescribe import lettered_symbols

    table = lettered_symbols(session.prog)
    named = [at for at, (_, _, name) in enumerate(table) if name == word]
    if not table or not named:
        # A module's, or an address.
        crash.run(session.prog, "sym", word, session.out)
        if not (before or behind) or not table:
            return
        address = address_of(session.prog, word)
        named = [max(0, bisect.bisect_right(table, (address, "~", "")) - 1)]
        chosen = [named[0] + 1] if behind else [named[0] - 1] if before else []
    else:
        chosen = [n + step for n in named for step in (-1, 0, 1)
                  if not step or (step < 0 and before) or (step > 0 and behind)]  # fmt: skip
    dump = session.case.dump
    for number in chosen:
        if not 0 <= number < len(table):
            continue
        address, letter, name = table[number]
        line = f"{address:x} ({letter}) {name}"
        for place in dump.lines_at(address, is_return_address=False) if dump else ():
            line += f" {place.file}: {place.line}"
            break
        session.out.write(clean(line) + "\n")


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
    khz, tick = _number(prog, "cpu_khz"), _number(prog, "tick_nsec")
    rows: list[tuple[str, object]] = [
        ("MACHINE TYPE", system.arch),
        ("MEMORY SIZE", f"{(system.memory_bytes or 0) >> 20} MiB" if system.memory_bytes else None),
        ("CPUS", system.cpus),
        ("PROCESSOR SPEED", f"{(khz + 500) // 1000} Mhz" if khz else None),
        # tick_nsec is a second's share.
        ("HZ", round(1e9 / tick) if tick else None),
        ("PAGE SIZE", _number(prog, "PAGE_SIZE")),
        ("KERNEL VIRTUAL BASE", _hex(_number(prog, "page_offset_base"))),
        ("KERNEL VMALLOC BASE", _hex(_number(prog, "vmalloc_base"))),
        ("KERNEL VMEMMAP BASE", _hex(_number(prog, "vmemmap_base"))),
        ("KERNEL TEXT", _symbol(prog, "_stext")),
        ("KERNEL STACK SIZE", _number(prog, "THREAD_SIZE")),
    ]
    for title, value in rows:
        if value is not None:
            session.out.write(clean(f"{title:>22}: {value}") + "\n")


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


@command("dev", "machine", settings=PASSED_ON)
@click.option("-i", "resources", is_flag=True, help="I/O ports and I/O memory.")
@click.option("-V", "listed", is_flag=True, help="Dumps of devices that came with the vmcore.")
@click.option("-v", "one", metavar="NUMBER", help="One of them; with FILE into a file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def dev(
    session: Session,
    resources: bool,
    listed: bool,
    one: str | None,
    as_json: bool,
    rest: tuple[str, ...],
) -> Any:
    """List character and block devices; -p PCI, -d -D disks with their requests in flight."""
    if listed or one is not None:
        _device_dumps(session, one, rest)
        return None
    words = " ".join(("-i", *rest) if resources else rest)
    if as_json:
        return structured.run(session.prog, "dev", words, session.out)
    result = crash.run(session.prog, "dev", words, session.out)
    if resources:
        session.out.write("\n    RESOURCE        RANGE    NAME\n")
        for resource, depth in _resources(session.prog):
            name = resource.name.string_().decode(errors="replace") if resource.name else ""
            span = f"{int(resource.start):08x}-{int(resource.end):08x}"
            line = f"{int(resource.value_()):x}  {span}  {'  ' * depth}{name}"
            session.out.write(clean(line) + "\n")
    return result


def _resources(prog: drgn.Program) -> Iterator[tuple[drgn.Object, int]]:
    """All of ``iomem_resource``, each with how deep it lies in others."""
    seen: set[int] = set()
    todo = [(prog["iomem_resource"].address_of_(), 0)]
    while todo and len(seen) < _MAX_RESOURCES:
        resource, depth = todo.pop()
        if not resource or int(resource.value_()) in seen:
            continue
        seen.add(int(resource.value_()))
        yield resource, depth
        todo += [(resource.sibling, depth), (resource.child, depth + 1)]


def _device_dumps(session: Session, one: str | None, rest: tuple[str, ...]) -> None:
    """``NT_VMCOREDD`` notes: what drivers saved when the crash kernel started."""
    found = list(_device_notes(session))
    if not found:
        raise UsageError("dev: no driver has left a dump of its device in this file")
    if one is None:
        session.out.write("INDEX  SIZE       NAME\n")
        for number, (name, data) in enumerate(found):
            session.out.write(clean(f"{number:5}  {len(data):#8x}   {name}") + "\n")
        return
    if not one.isdecimal() or int(one[:9]) >= len(found):
        raise UsageError(f"dev -v {one}: there are 0 to {len(found) - 1}")
    name, data = found[int(one)]
    if rest:
        Path(rest[0]).write_bytes(data)
        session.out.write(clean(f"{len(data)} bytes of {name} written to {rest[0]}") + "\n")
        return
    for at in range(0, len(data), 16):
        words = " ".join(data[at : at + 16][i : i + 4][::-1].hex() for i in range(0, 16, 4))
        session.out.write(f"{at:8x}:  {words}\n")


def _device_notes(session: Session) -> Iterator[tuple[str, bytes]]:
    """include/uapi/linux/vmcore.h: ``char dump_name[44]`` behind the name, then the data."""
    from postmortem.dump import elf
    from postmortem.inputs.source import PlainFile

    with contextlib.closing(PlainFile(Path(session.case.input.path))) as source:
        try:
            header = elf.read_elf(source)
        except elf.BadElfError:  # another format, which keeps no notes of devices
            return
        for note in elf.read_notes(source, header):
            if note.type == _NT_VMCOREDD:
                name = note.desc[:_DUMP_NAME].split(b"\0")[0].decode(errors="replace")
                yield name, note.desc[_DUMP_NAME:]


@command("mod", "machine", settings=PASSED_ON)
@click.option("-d", "forget", metavar="MODULE", help="Forget a module's debug information.")
@click.option("-D", "forget_all", is_flag=True, help="Forget that of all modules.")
@click.option("-r", "ahead", is_flag=True, help="With -s or -S: read all of it at once.")
@click.option("-R", "again", is_flag=True, help="Read the list of modules again (running machine).")
@click.option("-g", "sections", is_flag=True, help="With -s or -S: sections as symbols.")
@click.option("-o", "old", is_flag=True, help="With -s or -S: crash's old way.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def mod(
    session: Session,
    forget: str | None,
    forget_all: bool,
    ahead: bool,
    again: bool,
    sections: bool,
    old: bool,
    as_json: bool,
    rest: tuple[str, ...],
) -> Any:
    """List modules; -t those that taint, -s MODULE [FILE] and -S load debug information.

    Symbols and types of modules are known without: they come from the dump itself.
    """
    if forget is not None or forget_all:
        raise UsageError(
            "mod -d: debug information stays once it is loaded; symbols come from the dump"
        )
    if again:
        raise UsageError("mod -R: a dump's list of modules does not change")
    complete_declarations(session.prog)
    # -r -g and -o say how crash's gdb reads a file: there is one way here.
    words = " ".join(rest)
    asked = structured.run if as_json else crash.run
    try:
        done = asked(session.prog, "mod", words, session.out)
    except drgn.MissingDebugInfoError:
        # drgn has loaded what there is, and stops before it lists.
        done = asked(session.prog, "mod", "", session.out)
    if "-s" in rest[:-1]:
        _check_loaded(session.prog, *rest[rest.index("-s") + 1 :])
    return done


def _check_loaded(prog: drgn.Program, name: str, file: str | None = None, *_: str) -> None:
    """drgn passes over a file that does not fit without a word."""
    module = next((each for each in prog.modules() if each.name == name), None)
    if module is None:
        raise UsageError(f"mod -s: no module is called {name}")
    if module.debug_file_status is drgn.ModuleFileStatus.HAVE:
        return
    if file is None:
        raise UsageError(f"mod -s: no debug information of {name} was found: name its file, too")
    raise UsageError(f"mod -s: {file} can't be read, is of another build, or has no DWARF")
