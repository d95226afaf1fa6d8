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
from postmortem.rules.roles import HALTS, calls_cpus, is_spinning

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
_INNER = 3
"""Frames at the top of a stack that say what a CPU is at."""
_MOST = 16


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
            frame = doing(report, cpu) if name is not None and cpu != waiter.cpu else None
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


def doing(report: Report, cpu: int) -> Frame | None:
    """What a CPU of a report was doing; ``None`` if it only waits, or the report does not tell.

    Spinning for a lock, calling other CPUs and idling keep nobody waiting.
    """
    frames = _frames_of(report, cpu)
    inner = frames[:_INNER]
    if any(is_spinning(name) or name in HALTS or calls_cpus(name) for name in _names(inner)):
        return None
    return guilty_frame(frames, report.kind)


def _frames_of(report: Report, cpu: int) -> list[Frame]:
    if cpu == (report.cpu if report.cpu is not None else _asked(report)):
        pc = report.pc if report.pc is not None and report.pc.function else None
        return [*([pc] if pc else []), *report.frames]
    start = f"cpu {cpu} "
    return [f for s in report.stacks if f"{s.title} ".startswith(start) for f in s.frames]


def _asked(report: Report) -> int | None:
    """The CPU of the main stack, where the report is about none: the only one that was asked."""
    if any(stack.title.startswith("cpu ") for stack in report.stacks):
        return None
    found = {int(m["cpu"]) for text in report.text[:_LINES] if (m := _BACKTRACE.match(text))}
    return found.pop() if len(found) == 1 else None


def _names(frames: Sequence[Frame]) -> list[str]:
    return [plain(frame.function) for frame in frames if frame.function]


_INTERRUPT_FLAG = 0x200
"""X86_EFLAGS_IF"""
_PSR_I = 0x80
"""PSR_I_BIT of arm64: interrupts are masked."""


def interrupts_off(report: Report, cpu: int) -> str:
    """The register that says that a CPU of a report takes no interrupts; empty if none does."""
    registers = next((found for number, found in _sets(report) if number == cpu), {})
    flags, state = registers.get("eflags"), registers.get("pstate")
    if flags is not None and not flags & _INTERRUPT_FLAG:
        return f"EFLAGS {flags:#x}"
    if state is not None and report.arch == "aarch64" and state & _PSR_I:
        return f"pstate {state:#x}"
    return ""


@dataclass(frozen=True)
class Tie:
    """One CPU spins for a lock that another one has in a register."""

    waiter: int
    holder: int
    lock: int
    register: str


def locks_of(report: Report) -> list[Tie]:
    """The spinning CPUs of a report, and who has their locks in a register and does not spin."""
    argument = _FIRST_ARGUMENT.get(report.arch or "", "")
    sets = list(_sets(report))
    found = []
    for waiter, registers in sets:
        lock = registers.get(argument, 0)
        spins = any(map(is_spinning, _names(_frames_of(report, waiter)[:_INNER])))
        if lock < _KERNEL or not spins:
            continue
        for cpu, others in sets:
            name = next((n for n, v in others.items() if v == lock and n not in _NOT_DATA), None)
            if name is not None and cpu != waiter and doing(report, cpu) is not None:
                found.append(Tie(waiter, cpu, lock, name))
    return found[:_MOST]
