"""What one analysis hands to a renderer: the input, the system, the verdict and all behind it.

Pure data like :mod:`postmortem.model.findings`; the JSON document (docs/json.md) is
these dataclasses, field by field.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from postmortem.model.findings import (
    Block,
    Export,
    Finding,
    Problem,
    Table,
    TaskRef,
    Text,
    Verdict,
)
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.model.shown import Shown

SCHEMA = "postmortem/1"


@dataclass(frozen=True)
class Input:
    """The file that was analysed."""

    path: str
    kind: str
    """vmcore, kcore or log."""
    format: str
    """In words: ``ELF vmcore``, ``kdump-compressed (zlib)`` ..."""
    size: int
    """Bytes."""
    complete: bool
    """Nothing is missing that the dump claims to have."""
    lacks: tuple[str, ...] = ()
    """One sentence each: filtered pages, truncation, missing parts, no VMCOREINFO ..."""
    notes: tuple[str, ...] = ()
    """What else was used or refused, one sentence each: a log or vmlinux beside the dump ..."""


@dataclass(frozen=True)
class ModuleInfo:
    """A loaded kernel module."""

    name: str
    size: int | None = None
    """Bytes of all its sections in memory."""
    taints: str = ""
    """Letters as in /proc/modules: ``OE``."""
    base: int | None = None
    """Start of its core text."""


@dataclass(frozen=True)
class System:
    """The machine that died. ``None`` is "not known", never zero."""

    release: str | None = None
    version: str | None = None
    arch: str | None = None
    nodename: str | None = None
    hardware: str | None = None
    """DMI product line, as the kernel prints it."""
    cpus: int | None = None
    """Present."""
    memory_bytes: int | None = None
    uptime_seconds: float | None = None
    crash_time: int | None = None
    """Unix time of the dump."""
    taint: tuple[str, ...] = ()
    """One entry a flag, ``"O: out-of-tree module"``."""
    modules: tuple[ModuleInfo, ...] = ()
    command_line: str | None = None
    load_average: tuple[float, float, float] | None = None
    tasks: int | None = None
    task_states: dict[str, int] = field(default_factory=dict)
    """How many tasks are in each state (``R``, ``S``, ``D`` ...)."""


@dataclass(frozen=True)
class TaskStack:
    """A task (or an idle CPU) and its stack, innermost frame first."""

    task: TaskRef
    state: str
    cpu: int | None
    frames: tuple[Frame, ...]
    note: str = ""
    """Why the stack is short or missing."""


@dataclass(frozen=True)
class Analysis(Shown):
    """All that one run found out."""

    input: Input
    system: System
    types_from: str
    """btf, dwarf, btf+dwarf or none."""
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    reports: tuple[Report, ...] = ()
    """Every kernel report in the log, parsed."""
    cpus: tuple[TaskStack, ...] = ()
    """What each CPU was doing."""
    tables: tuple[Table, ...] = ()
    blocks: tuple[Block, ...] = ()
    texts: tuple[Text, ...] = ()
    exports: tuple[Export, ...] = ()
    """Drawings and the like, where a plugin that makes them was asked for by name."""
    asked: tuple[str, ...] = ()
    """The plugins that were asked by name; empty: all were, and the verdict is about everything."""
    log_tail: tuple[str, ...] = ()
    """The last lines of the log as the kernel's ``dmesg`` prints them."""
    problems: tuple[Problem, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds by stage."""
