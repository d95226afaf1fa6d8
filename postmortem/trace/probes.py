"""Probes as the kernel's own files show them: ``kprobes/list``, ``kprobes/blacklist``,
``kprobe_profile``. Source: kernel/kprobes.c, kernel/trace/trace_kprobe.c."""

from __future__ import annotations

from collections.abc import Iterator

import drgn
from drgn.helpers.linux.list import list_for_each_entry

from postmortem.dump.damage import readable
from postmortem.kernel.code.probes import blacklist, kprobes
from postmortem.kernel.tasks.trace import Names
from postmortem.trace.buffers import drgn_cpus

_MAX_EVENTS = 1 << 17


def kprobes_list(prog: drgn.Program) -> Iterator[str]:
    """``kprobes/list``"""
    names = Names(prog)
    for probe in kprobes(prog):
        kind = "r" if probe.returns else "k"
        name = names.symbol(probe.address)
        if name.startswith("0x"):
            place = f"{name} "
        else:
            symbol, _, module = name.partition(" ")
            function, _, offset = symbol.rpartition("+")
            module = module.strip("[]") or " "
            place = f"{function}+{offset.partition('/')[0]}  {module} "
        yield f"{probe.address:016x}  {kind}  {place}{probe.marks}\n"


def kprobes_blacklist(prog: drgn.Program) -> Iterator[str]:
    """``kprobes/blacklist``"""
    names = Names(prog)
    for start, end in blacklist(prog):
        yield f"0x{start:016x}-0x{end:016x}\t{names.symbol(start, offset=False)}\n"


def kprobe_profile(prog: drgn.Program) -> Iterator[str]:
    """``kprobe_profile``: hits and misses of the probes that are events."""
    ops = prog.symbol("trace_kprobe_ops").address
    returning = readable(lambda: prog.symbol("kretprobe_dispatcher").address)
    for event in _dynamic_events(prog):
        if event.ops.value_() != ops:
            continue
        probe = drgn.container_of(event, prog.type("struct trace_kprobe"), "devent")
        missed = int(probe.rp.kp.nmissed)
        if returning and int(probe.rp.handler) == returning:
            missed += int(probe.rp.nmissed)
        name = probe.tp.event.call.name.string_().decode("utf-8", "backslashreplace")
        hits = _hits(prog, probe.nhit)
        yield f"  {name:<44} {hits:15} {missed:15}\n"


def _hits(prog: drgn.Program, counter: drgn.Object) -> int:
    from drgn.helpers.linux.percpu import per_cpu_ptr

    total = 0
    for cpu in drgn_cpus(prog):
        found = readable(lambda cpu=cpu: int(per_cpu_ptr(counter, cpu)[0]))  # type: ignore[misc]
        total += found or 0
    return total


def _dynamic_events(prog: drgn.Program) -> Iterator[drgn.Object]:
    head = drgn.Object(
        prog, "struct list_head", address=prog.symbol("dyn_event_list").address
    ).address_of_()
    for count, event in enumerate(list_for_each_entry("struct dyn_event", head, "list")):
        if count >= _MAX_EVENTS:
            return
        yield event
