"""The stacks of all tasks, equal ones together, and their flame graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from postmortem.errors import UsageError
from postmortem.model.findings import Block, Column, Export, Table, Unit
from postmortem.plugin import DumpContext, option, plugin

if TYPE_CHECKING:
    from postmortem.kernel.tasks.stack_groups import StackGroup

_MAX_NAMES = 6


@plugin(
    "stacks",
    needs=("types",),
    in_analysis=False,
    draws=True,
    options=(
        option(
            "--function",
            help="Only stacks in which such a function stands (* and ? are understood).",
            metavar="NAME",
        ),
        option("--module", help="Only stacks with a function of this module.", metavar="NAME"),
        option("--state", help="Only tasks in these states: D, or DR.", metavar="LETTERS"),
        option("--pid", help="Only these tasks: 1, or 1,7,9.", metavar="PIDS"),
    ),
)
def stacks(
    ctx: DumpContext,
    *,
    function: str | None = None,
    module: str | None = None,
    state: str | None = None,
    pid: str | None = None,
) -> Iterator[Table | Block | Export]:
    """List the kernel stacks of all tasks, equal ones together, the most frequent first.

    With -o FILE.svg a flame graph of the whole machine: wide is where many tasks
    are, by state and by what they wait for. -o FILE.folded writes the same as text
    for other tools.
    """
    from postmortem.kernel.cpu.cpus import panic_task
    from postmortem.kernel.tasks.folded import folded
    from postmortem.kernel.tasks.stack_groups import all_stacks, grouped

    prog = ctx.prog
    found = ctx.attempt("stacks", lambda: all_stacks(prog))
    if found is None:
        return
    ctx.problems.extend(found.problems)
    groups = found.groups
    pids = _pids(pid)
    if state or pids is not None:
        groups = grouped(
            [
                item
                for item in found.tasks
                if (not state or item.task.state in state)
                and (pids is None or item.task.pid in pids)
            ]
        )
    groups = [group for group in groups if _wanted(group, function, module)]
    yield _table(groups, sum(group.count for group in groups))
    for group in groups:
        yield _block(group)
    if ctx.named and groups:
        drawn = folded(groups, ctx.attempt("CPU of the panic", lambda: panic_task(prog)))
        yield Export("Stacks of all tasks", "svg", drawn)
        yield Export("Stacks of all tasks", "folded", drawn)


def _pids(text: str | None) -> frozenset[int] | None:
    """Those that were asked for; ``None``: all."""
    if text is None:
        return None
    words = text.split(",")
    if not all(word.isdecimal() and len(word) < 11 for word in words):
        raise UsageError(f"--pid {text}: numbers with commas between them are wanted")
    return frozenset(map(int, words))


def _wanted(group: StackGroup, function: str | None, module: str | None) -> bool:
    return (function is None or any(fnmatchcase(name, function) for name in group.functions)) and (
        module is None or any(frame.module == module for frame in group.frames)
    )


def _names(group: StackGroup, limit: int | None = None) -> str:
    """The tasks' names with how many have them: ``kworker (12), kthreadd``."""
    counted = Counter(member.task.comm for member in group.members).most_common()
    shown = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counted[:limit])
    if limit is None:
        return shown
    more = len(counted) - limit
    some = f"{more} more name{'s' if more > 1 else ''}"
    return f"{shown} and {some}" if more > 0 else shown


def _states(group: StackGroup) -> str:
    return " ".join(f"{state}{count}" for state, count in group.states.items())


def _table(groups: Sequence[StackGroup], tasks: int) -> Table:
    from postmortem.kernel.tasks.folded import reason
    from postmortem.rules.waits import telling

    columns = ("states", "waits for", "who", "stack")
    return Table(
        title=f"{tasks} tasks, {len(groups)} different stacks",
        columns=(Column("tasks", Unit.COUNT), *map(Column, columns)),
        rows=tuple(
            (
                group.count,
                _states(group),
                reason(group, group.members[0]),
                _names(group),
                " < ".join(telling(group.functions)) or group.note or None,
            )
            for group in groups
        ),
    )


def _block(group: StackGroup) -> Block:
    pids = ", ".join(str(member.task.pid) for member in group.members)
    lines = [f"tasks: {pids}", *(list(group.lines()) or [group.note or "no frames"])]
    return Block(f"{group.count} x {_states(group)}: {_names(group, _MAX_NAMES)}", tuple(lines))
