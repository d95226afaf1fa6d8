"""A page of a machine that was traced, with the lines that its own kernel made of it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postmortem.trace.formats import EventFormat, Field, Formats, Syscall

COMMON = (
    Field("common_type", "unsigned short", 0, 2, False),
    Field("common_flags", "unsigned char", 2, 1, False),
    Field("common_preempt_count", "unsigned char", 3, 1, False),
    Field("common_pid", "int", 4, 4, True),
)


class Answers:
    """What print formats refer to, as a table."""

    def __init__(self, told: dict[str, dict[str, Any]] | None = None) -> None:
        self._told = told or {}

    def constant(self, name: str) -> int | None:
        found: int | None = self._told.get("constant", {}).get(name)
        return found

    def type_size(self, name: str) -> tuple[int, bool] | None:
        known = {"u8": (1, False), "u32": (4, False), "u64": (8, False), "s32": (4, True),
                 "gfp_t": (4, False), "pid_t": (4, True)}  # fmt: skip
        found = self._told.get("type_size", {}).get(name) or known.get(name)
        return (found[0], found[1]) if found else None

    def size(self, name: str) -> int | None:
        found: int | None = self._told.get("size", {}).get(name)
        return found

    def string(self, address: int) -> str:
        return str(self._told.get("string", {}).get(f"{address}", f"<{address:x}>"))

    def symbol(self, address: int, offset: bool) -> str:
        return str(self._told.get("symbol", {}).get(f"{address} {offset}", f"{address:#x}"))

    def pointer(self, address: int) -> str:
        return str(self._told.get("pointer", {}).get(f"{address}", f"{address:016x}"))


@dataclass(frozen=True)
class Sample:
    """One page."""

    page: bytes
    """Header included."""
    lines: list[str]
    """Of the kernel, one an event."""
    formats: Formats
    answers: Answers


def load(path: Path) -> Sample:
    document = json.loads(path.read_text())
    formats = {one["id"]: _format(one) for one in document["formats"]}
    read = {number: (lambda one=one: one) for number, one in formats.items()}
    return Sample(
        base64.b64decode(document["page"]),
        document["lines"],
        Formats(COMMON, read),
        Answers(document["environment"]),
    )


def _format(one: dict[str, Any]) -> EventFormat:
    call = one.get("syscall")
    if call is not None:
        call = Syscall(**{**call, "arguments": tuple(call["arguments"])})
    return EventFormat(
        one["id"],
        one["system"],
        one["name"],
        (*COMMON, *(Field(*parts) for parts in one["fields"])),
        one.get("print_fmt", ""),
        one.get("printed_by", ""),
        call,
        one.get("probed", ""),
    )


def event(print_fmt: str, *fields: Field, name: str = "thing", **more: Any) -> EventFormat:
    """An event made up by a test."""
    return EventFormat(1000, "made", name, (*COMMON, *fields), print_fmt, **more)
