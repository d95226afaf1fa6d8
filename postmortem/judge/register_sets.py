"""Two register sets in one log that hold the same lock: one CPU spins for it, who has it?

A spinlock's slow path gets the lock as its first argument. Another CPU whose registers hold
the same address, and which does not spin, works under that lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from postmortem.log.registers import read_registers
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.blame import guilty_frame, plain
from postmortem.rules.roles import is_spinning

_FIRST_ARGUMENT = {
    "x86_64": "rdi", "aarch64": "x0", "riscv": "a0", "loongarch": "a0", "ppc64": "r3",
    "s390": "r2", "arm": "r0", "mips": "$4",
}  # fmt: skip
_NOT_DATA = frozenset({"rsp", "sp", "pc", "epc", "nip", "era", "r1", "ra", "lr", "x29", "fp"})
"""Registers that hold stacks and code on some architecture."""
_KERNEL = 1 << 31
"""Lower values are no address of the kernel's on any architecture."""
_OF_CPU = re.compile(r"CPU: (?P<cpu>\d{1,5}) (?:UID: \d{1,10} )?PID: \d")
_BACKTRACE = re.compile(r"NMI backtrace for cpu (?P<cpu>\d{1,5})")
_LINES = 400


@dataclass(frozen=True)
class Holder:
    """The CPU that has the lock in a register, and what it was doing."""

    cpu: int
    frame: Frame
    register: str
    lock: int
    line: int
    """Of the report that shows it."""


def holder_of(waiter: Report, reports: Sequence[Report]) -> Holder | None:
    """Who holds the spinlock that a report's CPU waits for; ``None`` if no other CPU, or several.

    :param reports: all of one boot, where ``waiter`` may be among them.
    """
    lock = waiter.registers.get(_FIRST_ARGUMENT.get(waiter.arch or "", ""), 0)
    if lock < _KERNEL:
        return None
    found: dict[int, Holder] = {}
    for report in reports:
        if report.boot != waiter.boot:
            continue
        for cpu, registers in _sets(report):
            name = next((n for n, v in registers.items() if v == lock and n not in _NOT_DATA), None)
            frame = _doing(report, cpu) if name is not None and cpu != waiter.cpu else None
            if name is not None and frame is not None:
                found.setdefault(cpu, Holder(cpu, frame, name, lock, report.line))
    return next(iter(found.values())) if len(found) == 1 else None


def _sets(report: Report) -> Iterator[tuple[int, dict[str, int]]]:
    """The registers of each CPU that a report shows."""
    cpu, registers = report.cpu, dict[str, int]()
    for text in report.text[:_LINES]:
        match = _BACKTRACE.match(text) or _OF_CPU.match(text)
        if match is not None and int(match["cpu"]) != cpu:
            if cpu is not None:
                yield cpu, registers
            cpu, registers = int(match["cpu"]), {}
        elif ":" in text:
            read_registers(text, registers)
    if cpu is not None:
        yield cpu, registers


def _doing(report: Report, cpu: int) -> Frame | None:
    """What a CPU of a report was doing; ``None`` if it spins too, or the report does not tell."""
    if cpu == report.cpu:
        pc = report.pc if report.pc is not None and report.pc.function else None
        frames = [*([pc] if pc else []), *report.frames]
    else:
        start = f"cpu {cpu} "
        frames = [f for s in report.stacks if f"{s.title} ".startswith(start) for f in s.frames]
    if any(is_spinning(plain(frame.function or "")) for frame in frames[:3]):
        return None
    return guilty_frame(frames, report.kind)
