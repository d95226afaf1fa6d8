"""Where KDB stands: its CPU, task and variables, and what its arguments mean there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import drgn

from postmortem.dump.damage import tolerated
from postmortem.errors import UsageError
from postmortem.shell.kdb.usage import ENV

if TYPE_CHECKING:
    from postmortem.shell.session import Session

WORD = 8
"""KDB_WORD_SIZE"""
MAX_LINES = 1 << 16


@dataclass(kw_only=True)
class State:
    """What a command may read and change."""

    session: Session
    env: dict[str, str] = field(default_factory=lambda: dict(ENV))
    cpu: int = 0
    task: int | None = None
    """Address of the task that ``bt`` means; ``None``: the one on the CPU."""
    next: int | None = None
    """Where ``md`` without an address goes on."""
    width: int = WORD

    def __post_init__(self) -> None:
        from postmortem.kernel.cpu.cpus import panic_cpu

        with tolerated():
            self.cpu = panic_cpu(self.session.prog) or 0

    def entering(self) -> str:
        """What KDB says when it is entered."""
        task = self.current()
        return (
            f"\nEntering kdb (current=0x{int(task.value_()):016x}, pid {int(task.pid)})"
            f" on processor {self.cpu} due to KDB_ENTER()\n"
        )

    def address(self, text: str) -> int:
        """A number, a symbol, ``symbol+offset``, or ``%register``."""
        match = re.fullmatch(r"([^+-]+)(?:([+-])(\w+))?", text)
        if match is None:
            raise UsageError(f"{text}: Invalid symbolic address")
        base = match[1]
        if base.startswith("%"):
            registers = dict(self.known_registers())
            if base[1:] not in registers:
                raise UsageError(f"{base}: no such register is known")
            value = registers[base[1:]]
        elif base in self.env:
            value = number(self.env[base])
        else:
            try:
                value = int(self.session.prog.symbol(base).address)
            except LookupError:
                value = number(base)
        offset = number(match[3]) if match[3] else 0
        return (value - offset if match[2] == "-" else value + offset) & ((1 << 64) - 1)

    def online(self) -> list[int]:
        from postmortem.kernel.system import present_cpus

        return list(present_cpus(self.session.prog))

    def running(self, cpu: int) -> drgn.Object:
        from drgn.helpers.linux.sched import cpu_curr

        return cpu_curr(self.session.prog, cpu)

    def current(self) -> drgn.Object:
        if self.task is not None:
            return drgn.Object(self.session.prog, "struct task_struct *", self.task)
        return self.running(self.cpu)

    def known_registers(self) -> Iterator[tuple[str, int]]:
        """Those of the current CPU, by KDB's short names: ``ax``, ``ip``."""
        from postmortem.arch import arch_of
        from postmortem.kernel.cpu.cpus import cpus

        arch = arch_of(self.session.prog)
        whole = {arch.pt_regs.get(name, name): name
                 for name in (*arch.general, arch.sp, arch.pc, arch.flags)}  # fmt: skip
        for cpu in cpus(self.session.prog):
            if cpu.number == self.cpu and cpu.trace:
                values = cpu.trace[0].registers()
                for name, _ in arch.kgdb_registers:
                    if whole.get(name, name) in values:
                        yield name, values[whole.get(name, name)]


def number(text: str) -> int:
    """As ``kdbgetularg()``: C's prefixes, and hexadecimal digits without any."""
    for base in (0, 16):
        try:
            return int(text, base) & ((1 << 64) - 1)
        except ValueError:
            continue
    raise UsageError(f"{text}: Invalid argument")


def signed(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0
