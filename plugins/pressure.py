"""Pressure stall information: how much time was lost waiting for CPU, memory and I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from postmortem.model.findings import Cell, Column, Table, Text, Unit
from postmortem.plugin import DumpContext, option, plugin

if TYPE_CHECKING:
    from postmortem.kernel.psi import PsiGroup

_RESOURCES = ("cpu", "memory", "io", "irq")


@plugin(
    "pressure",
    needs=("types",),
    in_analysis=False,
    options=(
        option("--proc", type=bool, help="As /proc/pressure and the groups' files print it."),
    ),
)
def pressure(ctx: DumpContext, *, proc: bool = False) -> Iterator[Table | Text]:
    """List the pressure on CPU, memory and I/O, of the machine and of each control group.

    Percentages are of the last 10, 60 and 300 seconds; "full" is time in which nobody got on.
    """
    from postmortem.kernel.psi import group_pressures, why_not
    from postmortem.kernel.psi import pressure as whole

    reason = why_not(ctx.prog)
    if reason is not None:
        yield Text("Pressure", (reason,))
        return
    own = ctx.attempt("pressure", lambda: whole(ctx.prog))
    more = ctx.attempt("pressure of groups", lambda: list(group_pressures(ctx.prog)))
    found = [*([own] if own is not None else []), *(more or [])]
    if proc:
        yield from _files(found)
        return
    if own is not None:
        yield _waiting(own)
    yield Table(
        "Pressure",
        (
            Column("group"), Column("on"), Column("of"), Column("10 s, %", Unit.COUNT),
            Column("60 s, %", Unit.COUNT), Column("300 s, %", Unit.COUNT), Column("total", Unit.NS),
        ),
        tuple(_rows(found)),
        "some: at least one task waited; full: all that had work to do did",
    )  # fmt: skip


def _rows(groups: Iterable[PsiGroup]) -> Iterator[tuple[Cell, ...]]:
    for group in groups:
        for resource in _RESOURCES:
            for one in group.pressures:
                if one.resource == resource and (one.total_ns or not group.path):
                    how = "full" if one.full else "some"
                    percents = (one.percent(window) for window in range(3))
                    yield (group.path or "all", resource, how, *percents, one.total_ns)


def _waiting(group: PsiGroup) -> Table:
    names = {"io": "waiting for I/O", "memory": "waiting for memory", "runnable": "runnable"}
    rows = tuple((names[name], count) for name, count in group.tasks.items())
    columns = (Column("tasks that were"), Column("count", Unit.COUNT))
    return Table("When the machine died", columns, rows)


def _files(groups: Iterable[PsiGroup]) -> Iterator[Text]:
    from postmortem.printers.pressure import pressure_lines

    for group in groups:
        for resource in _RESOURCES:
            lines = tuple(pressure_lines(group, resource))
            name = (
                f"{group.path}/{resource}.pressure" if group.path else f"/proc/pressure/{resource}"
            )
            if lines:
                yield Text(name, (f"{name}:", *lines))
