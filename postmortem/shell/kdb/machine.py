"""``lsmod``, ``dmesg``, ``summary``, ``sr``, ``ftdump``: the machine as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import readable, tolerated
from postmortem.dump.lists import list_entries
from postmortem.errors import UsageError
from postmortem.shell.kdb.state import MAX_LINES, State, signed


def lsmod(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    prog = kdb.session.prog
    yield "Module                  Size  modstruct     Used by"
    modules = list_entries(prog["modules"], "struct module", "list")
    for number, module in enumerate(modules):
        if number >= MAX_LINES:
            return
        with tolerated():
            yield _module(kdb, module)


def _module(kdb: State, module: drgn.Object) -> str:
    name = module.member_("name").string_().decode(errors="replace")
    sizes, bases = _memories(module)
    text = f"{name:<20}" + "/".join(f"{size:8}" for size in sizes)
    text += f"  0x{int(module.value_()):016x} "
    if _has(module, "refcnt"):
        # MODULE_REF_BASE is 1: what the module itself holds.
        text += f"{int(module.refcnt.counter) - 1:4} "
    state = module.state.format_(type_name=False).rpartition("_")[2]
    text += {"GOING": " (Unloading)", "COMING": " (Loading)"}.get(state, " (Live)")
    text += " " + "/".join(f"0x{base:016x}" for base in bases)
    users = [
        use.source.member_("name").string_().decode(errors="replace") for use in _users(module)
    ]
    return text + f" [ {' '.join(users)}{' ' if users else ''}]"


def sr(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    from postmortem.printers.sysrq import sysrq

    if len(words) != 1:
        raise UsageError("sr: one key is wanted")
    for line in sysrq(kdb.session.prog, words[0][:1], kdb.cpu):
        yield line.text


def ftdump(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    from postmortem.printers.ftrace import ftrace_dump

    for line in ftrace_dump(kdb.session.prog):
        yield line.text


def dmesg(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    lines = list(_log(kdb.session.prog))
    wanted = signed(words[0]) if words else 0
    adjust = max(0, signed(words[1])) if len(words) > 1 else 0
    total = len(lines)
    if wanted < 0:
        # The first lines, as KDB counts a negative number.
        lines = lines[adjust : adjust - wanted]
    elif wanted > 0:
        lines = lines[max(0, total - wanted - adjust) : max(0, total - adjust)]
    yield from lines


def summary(kdb: State, name: str, words: list[str]) -> Iterator[str]:
    prog, system = kdb.session.prog, kdb.session.case.system
    names = prog["init_uts_ns"].member_("name")
    for part in ("sysname", "release", "version", "machine", "nodename", "domainname"):
        value = names.member_(part).string_().decode(errors="replace")
        yield f"{part:<10} {value}"
    if system.crash_time is not None:
        import time

        date = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(system.crash_time))
        west = prog["sys_tz"].tz_minuteswest.value_() if _known(prog, "sys_tz") else 0
        yield f"date       {date} tz_minuteswest {int(west)}"
    if system.uptime_seconds is not None:
        yield f"uptime     {_uptime(int(system.uptime_seconds))}"
    loads = [int(value) for value in prog["avenrun"]]
    yield "load avg   " + " ".join(
        f"{load >> 11}.{((load & 2047) * 100) >> 11:02}" for load in loads
    )
    yield ""
    for title, pages in _memory(kdb):
        yield f"{title:<16}{pages * 4 if pages is not None else '?':>8} kB"


def _memory(kdb: State) -> Iterator[tuple[str, int | None]]:
    """``si_meminfo()``, in pages."""
    from drgn.helpers.linux.block import nr_blockdev_pages
    from drgn.helpers.linux.mm import totalram_pages

    prog = kdb.session.prog
    yield "MemTotal:", int(totalram_pages(prog))
    yield (
        "MemFree:",
        readable(lambda: int(prog["vm_zone_stat"][prog.constant("NR_FREE_PAGES")].counter)),
    )
    yield "Buffers:", readable(lambda: int(nr_blockdev_pages(prog)))


def _log(prog: drgn.Program) -> Iterator[str]:
    """Lines as ``kmsg_dump_get_line()`` gives them to a console: with the syslog level."""
    from drgn.helpers.linux.printk import get_printk_records

    records = list(get_printk_records(prog))
    # Without CONFIG_PRINTK_CALLER every record has 0, which no task has all the time.
    callers = any(record.caller_tid or record.caller_cpu is not None for record in records)
    for record in records:
        seconds, rest = divmod(record.timestamp, 1_000_000_000)
        head = f"<{record.facility << 3 | record.level}>[{seconds:5}.{rest // 1000:06}]"
        if callers:
            on_cpu = record.caller_cpu is not None
            who = f"C{record.caller_cpu}" if on_cpu else f"T{record.caller_tid}"
            head += f"[{who:>6}]"
        for text in record.text.decode(errors="replace").split("\n"):
            yield f"{head} {text}"


def _uptime(seconds: int) -> str:
    days, rest = divmod(seconds, 24 * 60 * 60)
    day = f"{days} day{'' if days == 1 else 's'} " if days else ""
    return f"{day}{rest // 3600:02}:{rest // 60 % 60:02}"


def _memories(module: drgn.Object) -> tuple[list[int], list[int]]:
    """Sizes and places of a module's parts.

    Linux kernel commit ac3b43283923 ("module: replace module_layout with module_memory")
    (in v6.4) made four of one.
    """
    if not _has(module, "mem"):
        layout = module.core_layout
        return [int(layout.size)], [int(layout.base)]
    prog = module.prog_
    names = ("MOD_TEXT", "MOD_RODATA", "MOD_RO_AFTER_INIT", "MOD_DATA")
    parts = [module.mem[prog.constant(name)] for name in names]
    return [int(part.size) for part in parts], [int(part.base) for part in parts]


def _users(module: drgn.Object) -> Iterator[drgn.Object]:
    if _has(module, "source_list"):
        uses = list_entries(module.source_list, "struct module_use", "source_list")
        for number, use in enumerate(uses):
            if number >= 1024:
                return
            yield use


def _has(value: drgn.Object, member: str) -> bool:
    try:
        value.member_(member)
    except LookupError:
        return False
    return True


def _known(prog: drgn.Program, name: str) -> bool:
    try:
        prog[name]
    except KeyError:
        return False
    return True
