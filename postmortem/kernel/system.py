"""The machine: release, time, CPUs, memory, taint, modules, command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import drgn

from postmortem.dump.damage import damage
from postmortem.kernel.masks import for_each_present_cpu
from postmortem.kernel.tasks.tasks import TaskList
from postmortem.kernel.zones import total_pages
from postmortem.model.findings import Problem
from postmortem.model.result import ModuleInfo, System
from postmortem.rules.taints import decode

T = TypeVar("T")

TAINT_LETTERS = "PFSRMBUDAWCIOELKXTNJ"
"""Letter of each bit of ``tainted_mask`` (kernel/panic.c, taint_flags[])."""


class _Facts:
    """Collects what can be read and notes what can't."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except damage() as exc:
            self.problems.append(Problem(what, str(exc) or type(exc).__name__))
            return None


def system(
    prog: drgn.Program, tasks: TaskList, vmcoreinfo: dict[str, str]
) -> tuple[System, list[Problem]]:
    """Read what the machine was; whatever can't be read is ``None`` and a problem."""
    facts = _Facts()
    uts = facts.read("utsname", lambda: prog["init_uts_ns"].name.read_())
    return (
        System(
            release=_text(uts.release) if uts is not None else vmcoreinfo.get("OSRELEASE"),
            version=_text(uts.version) if uts is not None else None,
            arch=_text(uts.machine) if uts is not None else None,
            nodename=_text(uts.nodename) if uts is not None else None,
            hardware=facts.read("DMI", lambda: _hardware(prog)),
            cpus=facts.read("CPUs", lambda: len(present_cpus(prog))),
            memory_bytes=facts.read("memory size", lambda: _memory_bytes(prog)),
            uptime_seconds=facts.read("uptime", lambda: _uptime(prog)),
            crash_time=facts.read("date", lambda: _crash_time(prog, vmcoreinfo)),
            taint=facts.read("taint", lambda: taints(prog["tainted_mask"].value_())) or (),
            modules=facts.read("modules", lambda: modules(prog)) or (),
            command_line=facts.read("command line", lambda: _command_line(prog)),
            load_average=facts.read("load average", lambda: _load_average(prog)),
            tasks=len(tasks.tasks) or None,
            task_states=dict(Counter(task.state for task in tasks.tasks)),
        ),
        facts.problems,
    )


def _text(array: drgn.Object) -> str:
    value: bytes = array.string_()
    return value.decode("utf-8", "replace")


def present_cpus(prog: drgn.Program) -> list[int]:
    """Numbers of the CPUs that the machine has.

    Not only the online ones: panic() takes the others off line when it stops them."""
    return list(for_each_present_cpu(prog))


def taints(mask: int) -> tuple[str, ...]:
    """Explain a taint mask: ``"O: out-of-tree module"``."""
    bits = [bit for bit in range(64) if mask >> bit & 1]
    known = "".join(TAINT_LETTERS[bit] for bit in bits if bit < len(TAINT_LETTERS))
    unknown = (f"#{bit}: a taint that is not known here" for bit in bits[len(known) :])
    return (*decode(known), *unknown)


def _hardware(prog: drgn.Program) -> str | None:
    # What dump_stack() prints as "Hardware name:", lib/dump_stack.c.
    return _text(prog["dump_stack_arch_desc_str"]) or None


def _memory_bytes(prog: drgn.Program) -> int:
    return total_pages(prog) * int(prog["PAGE_SIZE"])


def _uptime(prog: drgn.Program) -> float:
    from drgn.helpers.linux.timekeeping import uptime

    return float(uptime(prog))


def _crash_time(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> int:
    # The kexec crash path writes it into the note; a memory snapshot has the clock only.
    crash_time = vmcoreinfo.get("CRASHTIME", "")
    if crash_time.isdigit():
        return int(crash_time)
    from drgn.helpers.linux.timekeeping import ktime_get_real_seconds

    return int(ktime_get_real_seconds(prog))


def _command_line(prog: drgn.Program) -> str:
    value: bytes = prog["saved_command_line"].string_()
    return value.decode("utf-8", "replace")


def _load_average(prog: drgn.Program) -> tuple[float, float, float]:
    from drgn.helpers.linux.sched import loadavg

    one, five, fifteen = loadavg(prog)
    return one, five, fifteen


def modules(prog: drgn.Program) -> tuple[ModuleInfo, ...]:
    """The loaded modules, as far as the list goes; last loaded first."""
    from drgn.helpers.linux.module import module_taints

    from postmortem.dump.selfdescribe import each_module, module_regions

    found = []
    try:
        for module in each_module(prog):
            regions = module_regions(module)
            found.append(
                ModuleInfo(
                    name=_text(module.name),
                    size=sum(end - start for start, end in regions),
                    taints=module_taints(module),
                    base=regions[0][0] if regions else None,
                )
            )
    except damage():
        pass  # opening the dump has said so already
    return tuple(found)
