"""SysRq keys that act: what they would have acted on, by what the dump holds.

Nothing is printed as if it had been done. The one text of a kernel among it is the table
that an OOM kill prints first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.memory_groups import memory_groups
from postmortem.kernel.oom import Oom, OomTask, oom, oom_in_group
from postmortem.kernel.rodata import Format, rodata
from postmortem.kernel.slabinfo import slab_infos
from postmortem.kernel.tasks.rows import PF_KTHREAD, Row, task_rows
from postmortem.kernel.zones import nodes
from postmortem.printers.cformat import Field, Value, filled, printf
from postmortem.printers.lines import INFO, Line, lines, note

_MOST = 20
"""So many names are listed."""
_MAX_MOUNTS = 1 << 14
_RDONLY = 1
"""SB_RDONLY of ``super_block.s_flags``."""
_POLICIES = {1: "FIFO", 2: "RR", 6: "DEADLINE"}

PLAIN = {
    "sysrq_handle_loglevel": "the level of what the console shows would be set",
    "sysrq_handle_reboot": "the machine would be restarted at once, without a sync",
    "sysrq_handle_crash": "the machine would panic",
    "handle_poweroff": "the machine would be switched off",
    "sysrq_handle_unraw": "the keyboard would leave raw mode",
    "sysrq_handle_replay_logs": "all messages would be shown on the console again",
    "sysrq_handle_sched_ext_reset": "the BPF scheduler would be taken out",
    "sysrq_handle_sched_ext_dump": "the state of the BPF scheduler would be traced",
}
"""Handlers of which there is nothing more to say."""


def _names(rows: Iterable[Row]) -> str:
    shown = [f"{row.task.pid} ({row.task.comm})" for row in rows]
    more = len(shown) - _MOST
    return ", ".join(shown[:_MOST]) + (f" and {more} more" if more > 0 else "")


def _processes(prog: drgn.Program) -> list[Row]:
    """Processes that a signal to all would reach: not init, no kernel threads."""
    return [
        row
        for row in task_rows(prog).rows
        if row.task.pid == row.task.tgid
        and row.task.pid != 1
        and not row.members.get("flags", PF_KTHREAD) & PF_KTHREAD
    ]


def terminate(prog: drgn.Program) -> Iterator[Line]:
    """Key e."""
    yield from _signalled(prog, "SIGTERM")


def kill(prog: drgn.Program) -> Iterator[Line]:
    """Key i."""
    yield from _signalled(prog, "SIGKILL")


def _signalled(prog: drgn.Program, signal: str) -> Iterator[Line]:
    found = _processes(prog)
    yield note(f"{signal} would go to {len(found)} processes: {_names(found) or 'there is none'}")


def make_normal(prog: drgn.Program) -> Iterator[Line]:
    """Key n: ``normalize_rt_tasks()`` leaves kernel threads alone."""
    kind = prog.type("struct task_struct")
    found = []
    for row in task_rows(prog).rows:
        if row.members.get("flags", PF_KTHREAD) & PF_KTHREAD:
            continue
        task = drgn.Object(prog, kind, address=row.task.address)
        policy = readable(lambda task=task: integer(task.policy))  # type: ignore[misc]
        if policy in _POLICIES:
            found.append(f"{row.task.pid} ({row.task.comm}, {_POLICIES[policy]})")
    listed = ", ".join(found[:_MOST]) or "there is none"
    yield note(f"{len(found)} real-time tasks would be made normal: {listed}")


def secure_access(prog: drgn.Program) -> Iterator[Line]:
    """Key k: all that has the terminal of the console in front."""
    console = readable(lambda: integer(prog["fg_console"]))
    tty = None
    if console is not None:
        tty = readable(lambda: int(prog["vc_cons"][console].d.port.tty.value_()))
    if not tty:
        yield note("no terminal is open on the console in front: nothing would be killed")
        return
    kind = prog.type("struct task_struct")
    found = []
    for row in _processes(prog):
        task = drgn.Object(prog, kind, address=row.task.address)
        own = readable(lambda task=task: int(task.signal.tty.value_()))  # type: ignore[misc]
        if own == tty:
            found.append(row)
    yield note(
        f"SIGKILL would go to {len(found)} processes of the console's session:"
        f" {_names(found) or 'there is none'}; who only has it open is not looked for"
    )


# --- file systems -----------------------------------------------------------------


def sync(prog: drgn.Program) -> Iterator[Line]:
    """Key s."""
    yield from _mounts(prog, "written to their disks", _can_be_written)


def remount(prog: drgn.Program) -> Iterator[Line]:
    """Key u."""
    yield from _mounts(prog, "made read-only", _can_be_written)


def thaw(prog: drgn.Program) -> Iterator[Line]:
    """Key j."""
    yield from _mounts(prog, "thawed", lambda sb: bool(integer(sb.s_writers.frozen)))


def _can_be_written(sb: drgn.Object) -> bool:
    return bool(sb.s_bdev) and not int(sb.s_flags.value_()) & _RDONLY


def _mounts(prog: drgn.Program, what: str, wanted: Callable[[drgn.Object], bool]) -> Iterator[Line]:
    kind = prog.type("struct super_block")
    offset = int(drgn.offsetof(kind, "s_list"))
    head = prog["super_blocks"].address_of_().value_()
    names: list[str] = []
    seen: set[int] = set()
    why = ""
    try:
        node = prog.read_u64(head)
        while node != head and node not in seen and len(seen) < _MAX_MOUNTS:
            seen.add(node)
            sb = drgn.Object(prog, kind, address=node - offset)
            if readable(lambda sb=sb: wanted(sb)):  # type: ignore[misc]
                names.append(_text(sb.s_id) + f" ({_pointed(sb.s_type.name)})")
            node = prog.read_u64(node)
    except damage() as exc:
        why = f"; the list of file systems breaks off: {exc}"
    listed = ", ".join(names[:_MOST]) or "there is none"
    yield note(f"{len(names)} file systems would be {what}: {listed}{why}")


# --- out of memory ----------------------------------------------------------------


def out_of_memory(prog: drgn.Program) -> Iterator[Line]:
    """Key f: the table that is printed before a kill, and who would be killed."""
    found: Oom = oom(prog)
    yield from unreclaimable_slabs(prog)
    yield from tasks_table(prog, found.tasks)
    if found.unreadable:
        yield note(f"{len(found.unreadable)} tasks unreadable: {found.unreadable[0]}")
    chosen = found.chosen
    if chosen is None:
        yield note("no task could be killed")
        return
    yield note(
        f"the OOM killer would choose {chosen.leader.pid} ({chosen.leader.comm}):"
        f" {chosen.points} points, {chosen.rss} pages resident, oom_score_adj {chosen.adj}"
    )
    yield from _limited_groups(prog)


def _limited_groups(prog: drgn.Program) -> Iterator[Line]:
    """Whom a kill within each memory cgroup would hit; nothing without such groups."""
    groups = readable(lambda: memory_groups(prog))
    if groups is None:
        return
    limited = groups.limited()
    for group in limited[:_MOST]:
        found = readable(lambda group=group: oom_in_group(prog, group))  # type: ignore[misc]
        chosen = found.chosen if found is not None else None
        if chosen is None or group.limit_bytes is None:
            continue
        has, may = (size / (1 << 20) for size in (group.usage_bytes, group.limit_bytes))
        yield note(
            f"in {group.path}, which has {has:.1f} of {may:.1f} MiB, it would choose"
            f" {chosen.leader.pid} ({chosen.leader.comm}): {chosen.points} points"
        )
    if len(limited) > _MOST:
        yield note(f"{len(limited) - _MOST} more memory cgroups with a limit are less full")
    if groups.unreadable:
        yield note(f"{len(groups.unreadable)} memory cgroups unreadable: {groups.unreadable[0]}")


_LRU = ("ACTIVE_ANON", "INACTIVE_ANON", "ACTIVE_FILE", "INACTIVE_FILE", "ISOLATED_ANON",
        "ISOLATED_FILE", "UNEVICTABLE")  # fmt: skip


def unreclaimable_slabs(prog: drgn.Program) -> Iterator[Line]:
    """``dump_unreclaimable_slab()``: printed if such slabs have more pages than processes and
    files."""
    strings = rodata(prog)
    title = strings.starting("Unreclaimable slab info:\n")
    heading = strings.starting("Name                      Used")
    row: Format | None = strings.starting("%-17s %10luKB %10luKB")
    if title is None or heading is None or row is None:
        return
    counted = nodes(prog)
    pages = counted.counter("NR_SLAB_UNRECLAIMABLE_B") or 0
    if pages <= sum(counted.counter(f"NR_{name}") or 0 for name in _LRU):
        return
    for found in (title, heading):
        yield from lines(found.text, found.level)
    infos = slab_infos(prog)
    for one in infos.caches:
        if one.total and not one.reclaimable:
            used, whole = one.used * one.size >> 10, one.total * one.size >> 10
            yield Line(printf(row.text, one.name, used, whole).rstrip("\n"), row.level)
    if infos.unreadable:
        yield note(f"{len(infos.unreadable)} slab caches unreadable: {infos.unreadable[0]}")


def tasks_table(prog: drgn.Program, tasks: Iterable[OomTask]) -> Iterator[Line]:
    """``dump_tasks()``"""
    strings = rodata(prog)
    title = strings.starting("Tasks state (memory values in pages):\n")
    heading = strings.starting("[  pid  ]")
    row: Format | None = strings.starting("[%7d] %5d %5d ")
    if title is None or heading is None or row is None:
        yield note("this kernel has no table of tasks that is known")
        return
    for found in (title, heading):
        yield from lines(found.text, found.level)
    names = ["pid", "uid", "tgid", "total_vm", "rss"]
    # The parts of the resident set since v6.10.
    names += ["anon", "file", "shmem"] if "rss_anon" in heading.text else []
    names += ["tables_bytes", "swap", "adj", "comm"]
    for task in tasks:
        values: dict[str, Value] = {
            "pid": task.task.pid,
            "uid": task.uid,
            "tgid": task.task.tgid,
            "comm": task.task.comm,
        }
        rest = iter(names)

        def value(field: Field, rest: Iterator[str] = rest, task: OomTask = task) -> Value:
            name = next(rest, "")
            return values.get(name, getattr(task, name, None))  # noqa: B023

        yield Line(
            filled(row.text, value).rstrip("\n"), row.level if row.level is not None else INFO
        )


def _text(array: drgn.Object) -> str:
    found: bytes = array.string_()
    return found.decode("utf-8", "replace")


def _pointed(pointer: drgn.Object) -> str:
    return readable(lambda: _text(pointer)) or "?"
