"""The diagnosis in the shell: ``analyze``, ``why`` a task waits, ``where`` an address is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell.command import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postmortem.graph.model import Edge, Graph
    from postmortem.model.result import Analysis
    from postmortem.shell.session import Session

_MAX_STEPS = 64


@command("analyze", "diagnosis")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/json.md).")
@click.option("-v", "--verbose", is_flag=True, help="Leave nothing out.")
def analyze(session: Session, as_json: bool, verbose: bool) -> Analysis:
    """Say what broke, who did it, how we know, and what to look at next."""
    from postmortem.render.output import writer

    analysis = session.case.analyze()
    writer(analysis, as_json=as_json, verbose=verbose)(session.out)
    return analysis


@command("why", "diagnosis")
@click.argument("pid", type=click.IntRange(0), required=False)
def why(session: Session, pid: int | None) -> None:
    """Say what a task waits for, who holds that, and so on to the root of it.

    Without PID the task of the context is meant.
    """
    from postmortem.judge.hangs import read_facts
    from postmortem.plugin.contract import Context

    if pid is None:
        pid = session.context_pid()
        if pid is None:
            raise UsageError("why PID: there is no context")
    session.case.read_facts()
    graph = read_facts(Context(session.case, named=True)).graph
    node = next((node for node in graph.nodes.values() if node.pid == pid), None)
    if node is None:
        raise UsageError(
            f"pid {pid} is not among the tasks that wait, nor holds what they wait for"
        )
    session.out.write(clean(_text(graph, node.id)) + "\n")
    if not graph.out(node.id):
        session.out.write("  waits for nothing that is known here\n")
    for depth, edge in _chain(graph, node.id):
        proof = f"  [{edge.proof}]" if edge.proof else ""
        line = f"{'  ' * depth}{edge.kind} {_text(graph, edge.target)}{proof}"
        session.out.write(clean(line) + "\n")


def _text(graph: Graph, name: str) -> str:
    from postmortem.graph.tree import node_text

    return node_text(graph.nodes[name])


def _chain(graph: Graph, start: str) -> Iterator[tuple[int, Edge]]:
    """What is above a node, depth first; each edge once."""
    seen: set[tuple[str, str]] = set()
    todo = [(1, edge) for edge in reversed(graph.out(start))]
    while todo and len(seen) < _MAX_STEPS:
        depth, edge = todo.pop()
        if (edge.source, edge.target) in seen:
            continue
        seen.add((edge.source, edge.target))
        yield depth, edge
        todo += [(depth + 1, more) for more in reversed(graph.out(edge.target))]


@command("where", "diagnosis")
@click.argument("address")
def where(session: Session, address: str) -> None:
    """Say all that is known about an address: symbol, slab object, stack, poison, page."""
    from postmortem.shell.commands.values import address_of

    value = address_of(session.prog, address)
    for text in _known(session, value) or [_page(session, value)]:
        session.out.write(clean(f"{value:#x}: {text}") + "\n")


@command("refs", "diagnosis")
@click.option("-n", "limit", type=click.IntRange(1, 100_000), default=100, show_default=True,
              help="No more than so many.")  # fmt: skip
@click.argument("address")
def refs(session: Session, limit: int, address: str) -> None:
    """Say who points to an address: each word of kernel memory that holds it, and its owner."""
    from postmortem.kernel.search import kernel_ranges, search, word_pattern
    from postmortem.shell.commands.values import address_of

    value = address_of(session.prog, address)
    ranges = kernel_ranges(session.prog)
    found = search(session.prog, ranges, word_pattern([value], 8), unit=8, longest=8)
    for number, (at, _) in enumerate(found):
        if number == limit:
            session.out.write(f"more than {limit}: -n N shows more\n")
            return
        owner = "; ".join(_known(session, at)) or "nothing is known of it"
        session.out.write(clean(f"{at:#x}: {owner}") + "\n")


_MAX_LINKS = 4
"""How far ``context`` follows a pointer."""


@command("context", "diagnosis")
@click.option("-f", "number", type=click.IntRange(0, 1000), default=0, show_default=True,
              help="The frame whose registers are meant (bt numbers them).")  # fmt: skip
@click.argument("task", required=False, default="")
def context(session: Session, number: int, task: str) -> None:
    """Show what the registers of a frame hold, each pointer followed.

    Without TASK that of the context is meant. Only registers that the unwinder knows in
    that frame are shown.
    """
    from postmortem.arch import arch_of
    from postmortem.shell.tasks import task_of

    found = task_of(session, task)
    trace = session.prog.stack_trace(found)
    if number >= len(trace):
        raise UsageError(f"context: the stack has {len(trace)} frames")
    frame, arch = trace[number], arch_of(session.prog)
    try:
        registers = frame.registers()
    except LookupError:
        registers = {}
    name = _known(session, int(frame.pc))
    session.out.write(clean(f"#{number} {frame.pc:x} {'; '.join(name)}") + "\n")
    for register in (*arch.general, arch.sp):
        if register in registers:
            for line in _links(session, int(registers[register])):
                session.out.write(clean(f"{register:>5}: {line}") + "\n")
                register = ""


def _links(session: Session, value: int) -> Iterator[str]:
    """A value and what is at it, as long as each is an address of the kernel's."""
    from postmortem.arch import arch_of
    from postmortem.dump.damage import damage

    arch = arch_of(session.prog)
    seen: set[int] = set()
    for depth in range(_MAX_LINKS):
        known = "; ".join(_known(session, value)) if arch.is_kernel(value) else ""
        arrow = "-> " if depth else ""
        yield f"{'   ' * depth}{arrow}{value:016x}  {known}".rstrip()
        if not arch.is_kernel(value) or value in seen or value % 8:
            return
        seen.add(value)
        try:
            value = session.prog.read_u64(value)
        except damage():
            return


def _known(session: Session, value: int) -> list[str]:
    from postmortem.kernel.identify import identify, slab_object
    from postmortem.kernel.tasks.stacks import Symbolizer

    said: list[str] = []
    symbol = Symbolizer.of(session.prog).symbol(value)
    if symbol is not None:
        module = f" [{symbol.module}]" if symbol.module else ""
        said.append(f"{symbol.function}+{symbol.offset:#x}/{symbol.size:#x}{module}")
    found = slab_object(session.prog, value)
    if found is not None:
        said.append(
            f"slab object at {found.address:#x} of {found.cache}, {found.size} bytes,"
            f" offset {value - found.address:#x}"
        )
    known = identify(session.prog, value)
    if known and not any(known in text for text in said):
        said.append(known)
    return said


def _page(session: Session, value: int) -> str:
    from postmortem.dump.damage import damage

    try:
        session.prog.read(value, 1)
    except damage():
        return "nothing is known; not in the dump"
    return "readable memory; nothing more is known"
