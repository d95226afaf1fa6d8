"""The stacks of all tasks, equal ones together, and their flame graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from postmortem.model.findings import Block, Column, Export, Table, Unit
from postmortem.model.stacks import FoldedStack, FoldedStacks
from postmortem.plugin import Context, plugin

if TYPE_CHECKING:
    from postmortem.kernel.tasks.stack_groups import StackGroup, TaskFrames

_MAX_NAMES = 6
_MAX_HOVER = 20
"""Names that are handed on for a box of the picture."""
_STATES = {
    "R": ("running", "on a CPU"),
    "D": ("blocked", "D: uninterruptible sleep"),
    "S": ("sleeping", "S: sleep"),
    "I": ("idle", "I: idle kernel thread"),
    "T": ("other", "T: stopped"),
    "t": ("other", "t: traced"),
    "X": ("other", "X: dead"),
    "Z": ("other", "Z: zombie"),
    "P": ("other", "P: parked"),
}
_ORDER = ("D", "R", "S", "T", "t", "Z", "X", "P", "I")


@plugin("stacks", needs=("types",), in_analysis=False, draws=True)
def stacks(ctx: Context) -> Iterator[Table | Block | Export]:
    """List the kernel stacks of all tasks, equal ones together, the most frequent first.

    With -o FILE.svg a flame graph of the whole machine: wide is where many tasks
    are, by state and by what they wait for. -o FILE.folded writes the same as text
    for other tools.
    """
    from postmortem.kernel.tasks.stack_groups import all_stacks

    prog = ctx.prog
    if prog is None:
        return
    found = ctx.attempt("stacks", lambda: all_stacks(prog))
    if found is None:
        return
    ctx.problems.extend(found.problems)
    yield _table(found.groups, len(found.tasks))
    for group in found.groups:
        yield _block(group)
    if ctx.named:
        yield from exports(ctx, found.groups)


def reason(group: StackGroup, member: TaskFrames) -> str:
    """What a task waits for, in a word; where it runs if it is on a CPU."""
    from postmortem.rules.waits import How, WaitKind

    if member.on_cpu:
        return "idle" if member.idle else "runs"
    if not group.frames:
        return "no stack"
    how = How(group.functions)
    if how.primitive is WaitKind.PREEMPTED:
        return str(how.primitive)
    return str(how.reason or how.primitive or "not known")


def _names(group: StackGroup, limit: int | None = None) -> str:
    """The tasks' names with how many have them: ``kworker (12), kthreadd``."""
    counted = Counter(member.task.comm for member in group.members).most_common()
    shown = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counted[:limit])
    if limit is None:
        return shown
    more = len(counted) - limit
    return f"{shown} and {more} more names" if more > 0 else shown


def _states(group: StackGroup) -> str:
    return " ".join(f"{state}{count}" for state, count in group.states.items())


def _table(groups: Sequence[StackGroup], tasks: int) -> Table:
    return Table(
        title=f"{tasks} tasks, {len(groups)} different stacks",
        columns=(
            Column("tasks", Unit.COUNT),
            Column("states"),
            Column("waits for"),
            Column("who"),
            Column("stack"),
        ),
        rows=tuple(
            (
                group.count,
                _states(group),
                reason(group, group.members[0]),
                _names(group),
                " < ".join(_telling(group.functions)) or group.note or None,
            )
            for group in groups
        ),
    )


def _telling(functions: Sequence[str]) -> tuple[str, ...]:
    """The innermost calls without those that only give up the CPU."""
    from postmortem.rules.waits import is_scheduler

    start = next((n for n, name in enumerate(functions) if not is_scheduler(name)), 0)
    return tuple(functions[start : start + 4])


def _block(group: StackGroup) -> Block:
    pids = ", ".join(str(member.task.pid) for member in group.members)
    lines = [f"tasks: {pids}"]
    for number, frame in enumerate(group.frames):
        offset = f"+{frame.offset:#x}" if frame.offset is not None else ""
        module = f" [{frame.module}]" if frame.module else ""
        name = f"{frame.function}{offset}{module}" if frame.function else f"{frame.pc:#x}"
        lines.append(f"#{number:<3}{name}")
    if not group.frames:
        lines.append(group.note or "no frames")
    return Block(f"{group.count} x {_states(group)}: {_names(group, _MAX_NAMES)}", tuple(lines))


def exports(ctx: Context, groups: Sequence[StackGroup]) -> Iterator[Export]:
    """The flame graph and the same as text."""
    dying = _dying(ctx)
    found: dict[tuple[str, str, bool, int], list[TaskFrames]] = {}
    for number, group in enumerate(groups):
        for member in group.members:
            on_cpu = reason(group, member) if member.on_cpu else ""
            key = (_state(member), on_cpu, member.task.address == dying, number)
            found.setdefault(key, []).append(member)
    reasons = {number: reason(group, group.members[0]) for number, group in enumerate(groups)}
    stacks = FoldedStacks(
        tuple(
            _folded(key, groups[key[3]], members, reasons[key[3]])
            for key, members in sorted(found.items(), key=_place)
        )
    )
    yield Export("Stacks of all tasks", "svg", stacks)
    yield Export("Stacks of all tasks", "folded", stacks)


def _folded(
    key: tuple[str, str, bool, int], group: StackGroup, members: Sequence[TaskFrames], waits: str
) -> FoldedStack:
    state, on_cpu, dying, _number = key
    hue, words = _STATES.get(state, ("other", state))
    if state == "R" and not on_cpu:
        hue, words = "waking", "R: waits for a CPU"
    what = on_cpu or waits
    frames = [
        (frame.function or "?") + (f" [{frame.module}]" if frame.module else "")
        for frame in reversed(group.frames)
    ]
    who = Counter(member.task.comm for member in members).most_common(_MAX_HOVER)
    return FoldedStack(
        (words, what),
        tuple(frames) or ("?",),
        len(members),
        "idle" if what == "idle" else hue,
        tuple(who),
        dying,
    )


def _dying(ctx: Context) -> int | None:
    """Address of the task on the CPU that ran panic()."""
    from postmortem.kernel.cpu.cpus import cpus, panic_cpu

    prog = ctx.prog
    if prog is None:
        return None
    found = ctx.attempt("CPU of the panic", lambda: (panic_cpu(prog), cpus(prog)))
    number, all_cpus = found or (None, ())
    return next((cpu.address for cpu in all_cpus if cpu.number == number), None)


def _state(member: TaskFrames) -> str:
    return "R" if member.on_cpu else member.task.state


def _place(
    item: tuple[tuple[str, str, bool, int], Sequence[TaskFrames]],
) -> tuple[int, str, int]:
    (state, on_cpu, _dying, _number), members = item
    order = _ORDER.index(state) if state in _ORDER else len(_ORDER)
    return (order, on_cpu, -len(members))
