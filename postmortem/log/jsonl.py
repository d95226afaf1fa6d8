"""``postmortem log PATH... --jsonl``: one line of JSON per input."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from postmortem.errors import PostmortemError
from postmortem.inputs.text import is_pstore_directory
from postmortem.log.boots import Boot
from postmortem.log.scan import Scan, scan_file
from postmortem.model.findings import Kind
from postmortem.model.frame import Frame
from postmortem.model.report import Report


def jsonl(paths: Iterable[str], full: bool = False) -> Iterator[str]:
    """A JSON document per log, without newlines in it. Unreadable ones say so in theirs.

    :param full: with frames, registers and text of each report.
    """
    for path in walk(paths):
        yield json.dumps(document(path, full), separators=(",", ":"))


def walk(paths: Iterable[str]) -> Iterator[str]:
    """The files behind the paths; directories are walked, a pstore directory is one input."""
    for name in paths:
        path = Path(name)
        if name == "-" or not path.is_dir() or is_pstore_directory(path):
            yield name
            continue
        for child in sorted(path.rglob("*")):
            if child.is_file():
                yield str(child)


def document(path: str, full: bool = False) -> dict[str, Any]:
    """What is in one log, as JSON types."""
    try:
        scan = scan_file(path)
    except PostmortemError as error:
        return {"path": path, "reports": [], "problems": [{"what": "read", "why": str(error)}]}
    except Exception as error:  # our mistake, but the other inputs are not to suffer for it
        why = f"a defect of postmortem, please report it: {type(error).__name__}: {error}"
        return {"path": path, "reports": [], "problems": [{"what": "read", "why": why[:300]}]}
    return scan_dict(scan, full)


def scan_dict(scan: Scan, full: bool = False) -> dict[str, Any]:
    """A scan as JSON types. What only failed (I/O, memory) comes after what broke."""
    return {
        "path": scan.path,
        "reports": [report_dict(report, full) for report in crashes_first(scan.reports)],
        "boots": [
            {"line": boot.line, "release": boot.release, "kdump": boot.kdump}
            for boot in (*_first_boot(scan), *scan.boots)
        ],
        "problems": [{"what": problem.what, "why": problem.why} for problem in scan.problems],
    }


def _first_boot(scan: Scan) -> Iterator[Boot]:
    """The boot that is cut, where another one follows: what the log begins with."""
    own = [report for report in scan.reports if report.boot == 0]
    if scan.boots and (own or scan.head.end is not None):
        release = next((report.release for report in own if report.release), None)
        yield replace(scan.head, release=scan.head.release or release)


_FAILURES = {Kind.STACK_TRACE, Kind.IO_ERROR, Kind.ALLOCATION_FAILURE, Kind.OOM}


def crashes_first(reports: Sequence[Report]) -> list[Report]:
    """The kernel's own bugs in their order, then what failed around it, links kept."""
    order = sorted(
        range(len(reports)),
        key=lambda index: (
            reports[index].kind in _FAILURES and not reports[index].is_panic,
            index,
        ),
    )
    place = {old: new for new, old in enumerate(order)}
    found = []
    for index in order:
        report = reports[index]
        if report.consequence_of is not None:
            report = replace(report, consequence_of=place[report.consequence_of])
        found.append(report)
    return found


def report_dict(report: Report, full: bool = False) -> dict[str, Any]:
    """A report as JSON types."""
    task = report.task
    signature = report.signature
    data: dict[str, Any] = {
        "kind": str(report.kind),
        "title": report.title,
        "shown": report.readable,
        "type": report.type,
        "alt_titles": list(report.alt_titles),
        "guilty": report.function,
        "module": report.module,
        "line": report.line,
        "end_line": report.end_line,
        "time": report.time,
        "task": None if task is None else {"pid": task.pid, "comm": task.comm},
        "cpu": report.cpu,
        "arch": report.arch,
        "release": report.release,
        "taint": report.taint,
        "corrupted": report.corrupted is not None,
        "corrupted_why": report.corrupted,
        "truncated": report.truncated,
        "count": report.count,
        "consequence_of": report.consequence_of,
        "signature": None if signature is None else signature.coarse,
        "signatures": None
        if signature is None
        else {"exact": signature.exact, "frames": signature.frames, "coarse": signature.coarse},
    }
    if full:
        data.update(
            hardware=report.hardware,
            pc=None if report.pc is None else frame_dict(report.pc),
            frames=[frame_dict(frame) for frame in report.frames],
            stacks=[
                {
                    "title": stack.title,
                    "line": stack.line,
                    "frames": [frame_dict(frame) for frame in stack.frames],
                }
                for stack in report.stacks
            ],
            registers={name: f"{value:#x}" for name, value in report.registers.items()},
            fault_address=None if report.fault_address is None else f"{report.fault_address:#x}",
            code=None
            if report.code is None
            else {
                "bytes": report.code.data.hex(),
                "trap": report.code.trap,
                "arch": report.code.arch,
            },
            modules=list(report.modules),
            detail=report.detail,
            text=list(report.text),
        )
    return data


def frame_dict(frame: Frame) -> dict[str, Any]:
    """A frame as JSON types, without what it doesn't have."""
    data = {
        "function": frame.function,
        "offset": frame.offset,
        "size": frame.size,
        "module": frame.module,
        "address": None if frame.address is None else f"{frame.address:#x}",
        "segment": frame.segment,
        "file": frame.file,
        "line": frame.line,
    }
    found: dict[str, Any] = {key: value for key, value in data.items() if value is not None}
    if not frame.reliable:
        found["reliable"] = False
    if frame.inline:
        found["inline"] = True
    return found
