"""Who had changed the kernel's code: kprobes, uprobes, ftrace's users, live patches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from postmortem.model.findings import Column, Table
from postmortem.plugin import Context, plugin

if TYPE_CHECKING:
    import drgn

_LIVEPATCH = "klp_ftrace_handler"
_MAX_ROWS = 5000


@plugin("probes")
def probes(ctx: Context) -> Iterator[Table]:
    """List probes, their handlers and what they missed, and whom ftrace calls.

    Kprobes and kretprobes with their state, uprobes, and everybody who is registered with
    ftrace: tracers, fprobes, live patches, BPF. `dis` of the shell shows the bytes that they
    changed; `trace --file kprobes/list` prints the kernel's own list.
    """
    prog = ctx.prog
    if not ctx.named or prog is None or not ctx.has_types:
        return
    rows: list[tuple[Any, ...]] = []
    for what, read in (("kprobes", _kprobes), ("uprobes", _uprobes), ("ftrace", _ftrace)):
        rows += ctx.attempt(what, lambda read=read: list(read(prog))) or []  # type: ignore[misc]
    columns = (Column("kind"), Column("at"), Column("handler"), Column("missed"), Column("state"))
    yield Table("Probes and other changes of code", columns, tuple(rows[:_MAX_ROWS]))


def _kprobes(prog: drgn.Program) -> Iterator[tuple[Any, ...]]:
    from postmortem.kernel.code.probes import kprobes
    from postmortem.kernel.tasks.trace import Names

    names = Names(prog)
    for one in kprobes(prog):
        handlers = ", ".join(names.symbol(each, offset=False) for each in one.handlers)
        kind = "kretprobe" if one.returns else "kprobe"
        yield kind, names.symbol(one.address), handlers or None, one.missed, one.marks or None


def _uprobes(prog: drgn.Program) -> Iterator[tuple[Any, ...]]:
    from postmortem.kernel.code.probes import uprobes
    from postmortem.kernel.tasks.trace import Names

    names = Names(prog)
    for one in uprobes(prog):
        handlers = ", ".join(names.symbol(each, offset=False) for each in one.consumers)
        yield "uprobe", f"inode {one.inode}+{one.offset:#x}", handlers or None, None, None


def _ftrace(prog: drgn.Program) -> Iterator[tuple[Any, ...]]:
    from postmortem.kernel.code.patched import ftrace_ops
    from postmortem.kernel.tasks.trace import Names

    names = Names(prog)
    for one in ftrace_ops(prog):
        func = names.symbol(one.func, offset=False)
        kind = "live patch" if func.startswith(_LIVEPATCH) else "ftrace"
        if one.filter is None:
            where = "all functions"
        elif len(one.filter) == 1:
            where = names.symbol(next(iter(one.filter)))
        else:
            where = f"{len(one.filter)} functions"
        yield kind, where, func, None, None
