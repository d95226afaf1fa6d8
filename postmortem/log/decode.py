"""``postmortem decode``: a pasted trace or ``Code:`` line, understood.

Takes what people paste: a whole report, the middle of one, or one line.
"""

from __future__ import annotations

from dataclasses import dataclass

from postmortem.log.body import Body, read_body
from postmortem.log.code import Instruction, disassemble
from postmortem.log.lines import records_of_line
from postmortem.log.scan import scan_bytes
from postmortem.log.wrappers import find_wrapper
from postmortem.model.frame import Frame
from postmortem.model.report import Code, Record, Report

MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Decoded:
    """What a paste holds."""

    reports: tuple[Report, ...]
    pc: Frame | None
    stacks: tuple[tuple[str, tuple[Frame, ...]], ...]
    """Title and frames of each stack, the report's own first."""
    code: Code | None
    instructions: tuple[Instruction, ...]
    arch: str | None


def decode(data: bytes, arch: str | None = None) -> Decoded:
    """Everything that can be told from a paste.

    :param arch: what the ``Code:`` bytes are for; else told from the registers, else x86_64.
    """
    data = data[:MAX_BYTES]
    reports = tuple(scan_bytes(data, "-", arch).reports)
    body = _whole(data, arch)
    code = next((report.code for report in reports if report.code), None) or body.code
    if code is not None and arch is not None and code.arch != arch:
        code = Code(code.data, code.trap, arch)
    pc = next((report.pc for report in reports if report.pc), None) or body.pc
    return Decoded(
        reports=reports,
        pc=pc,
        stacks=_stacks(reports, body),
        code=code,
        instructions=tuple(disassemble(code, pc)) if code is not None else (),
        arch=body.arch or (code.arch if code is not None else None),
    )


def _stacks(reports: tuple[Report, ...], body: Body) -> tuple[tuple[str, tuple[Frame, ...]], ...]:
    """All stacks of the paste; those of different reports are never one."""
    if len(reports) < 2:
        return tuple((trace.title or "stack", tuple(trace.frames)) for trace in body.traces)
    found = []
    for report in reports:
        task = f" of {report.task.comm} ({report.task.pid})" if report.task is not None else ""
        found.append((f"stack{task}", report.frames))
        found += [(stack.title, stack.frames) for stack in report.stacks]
    return tuple((title, frames) for title, frames in found if frames)


def _whole(data: bytes, arch: str | None) -> Body:
    """The paste read as the body of one report, header or not."""
    wrapper = find_wrapper(data)
    records: list[Record] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw if wrapper is None else wrapper(raw)
        if line is not None:
            records.extend(records_of_line(line, number))
    return read_body(records, arch)


def listing(instructions: tuple[Instruction, ...]) -> list[str]:
    """The instructions as lines, the trapping one marked with ``>``."""
    return [
        f"{'>' if i.trapping else ' '} {i.offset:4x}: {i.data.hex(' '):<24} {i.text}"
        for i in instructions
    ]
