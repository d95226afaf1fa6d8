"""What the log half hands over: one record per report that the kernel printed.

Pure data. The vmcore half feeds its printk buffer through the same engine, so
these are also what plugins read for a dump.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from postmortem.model.findings import Kind, Signature, TaskRef
from postmortem.model.frame import Frame


class Record(NamedTuple):
    """One message of the kernel with its prefix understood."""

    line: int
    """1-based line number in the original input."""
    text: str
    """The message without prefix, decoded with replacement characters."""
    time: float | None = None
    """Seconds since boot (printk time), where the prefix has it."""
    level: int | None = None
    """syslog level 0..7."""
    caller: str | None = None
    """Who printed it: ``T123`` (task) or ``C1`` (CPU in interrupt)."""
    user: bool = False
    """Somebody in user space wrote it to /dev/kmsg: its syslog facility is not the kernel's."""
    clock: float | None = None
    """Seconds of the wall clock since the first of some month, where only the logger's own
    time stands before the message."""


@dataclass(frozen=True, slots=True)
class Code:
    """The bytes around the program counter as the kernel printed them."""

    data: bytes
    trap: int
    """Index in ``data`` of the trapping instruction."""
    arch: str
    """x86_64, i386, aarch64, arm, riscv, ppc64, s390, mips, loongarch."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A named stack of a report: ``Call Trace``, ``Allocated by task 12``, ..."""

    title: str
    frames: tuple[Frame, ...]
    line: int


class Role(Enum):
    """What the function that a report names has to do with the failure."""

    CULPRIT = "culprit"
    """It did it, as far as the stack tells."""
    HELPS = "helps"
    """Machinery: whoever called it did it, and the stack does not name that one."""
    DISPATCHES = "dispatches"
    """It only calls what others gave it: that function is not in the stack."""
    ALLOCATES = "allocates"
    """It asked for memory: who took it all, or overwrote it, is somebody else."""
    AWAITS_CPU = "awaits a CPU"
    """It waits for another CPU to answer."""
    AWAITS_LOCK = "awaits a lock"
    """It spins for a lock that another CPU holds."""
    STARVES = "starves"
    """The kernel's RCU thread, which got no CPU."""
    UNKNOWN = "unknown"
    """No function is named."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message that stands near a report without being a part of it."""

    line: int
    text: str
    time: float | None = None


@dataclass(frozen=True)
class Report:
    """One report of the kernel: an Oops, a BUG, a stall, an OOM kill ..."""

    kind: Kind
    title: str
    """In syzbot's form: the numbers of one machine are left out, so that one bug has one title."""
    line: int
    """1-based first line in the original."""
    end_line: int
    text: tuple[str, ...]
    """The messages of the report, without prefixes (bounded)."""
    before: tuple[Said, ...] = ()
    """What was said just before, and belongs to no report (bounded)."""
    type: str = ""
    """syzkaller's report type (``KASAN-USE-AFTER-FREE-READ``, ``HANG`` ...), where one fits."""
    alt_titles: tuple[str, ...] = ()
    time: float | None = None
    function: str | None = None
    """The guilty function, normalised; ``None`` where the report names none."""
    module: str | None = None
    """Module of the guilty function; ``None`` for the kernel proper."""
    role: Role = Role.CULPRIT
    """Whether that function did it, or only suffers from it."""
    check: str | None = None
    """The function whose check failed, where that is not the guilty one: the file and line in
    the header are the check's then."""
    suspect: Frame | None = None
    """A module from outside the kernel that called the guilty function."""
    tainting: tuple[str, ...] = ()
    """Modules from outside the kernel: of another tree, proprietary or forced in."""
    pc: Frame | None = None
    """Where it trapped (RIP, pc, NIP, epc, PSW)."""
    task: TaskRef | None = None
    cpu: int | None = None
    taint: str | None = None
    """The taint letters as printed, ``None`` for "Not tainted" or absent."""
    release: str | None = None
    hardware: str | None = None
    arch: str | None = None
    frames: tuple[Frame, ...] = ()
    """The main stack of the report, innermost first, without the PC line."""
    stacks: tuple[Stack, ...] = ()
    """All other stacks of the report (KASAN allocation and free, lockdep chain, other CPUs)."""
    registers: dict[str, int] = field(default_factory=dict)
    fault_address: int | None = None
    code: Code | None = None
    modules: tuple[str, ...] = ()
    panic: str | None = None
    """The message of panic(), where the kernel stopped with this report."""
    detail: dict[str, str] = field(default_factory=dict)
    """What the kind has beyond the common fields (victim, constraint, access, lock classes ...)."""
    corrupted: str | None = None
    """Why the report can't be trusted whole; ``None`` if it can."""
    truncated: bool = False
    count: int = 1
    """How many identical reports this record stands for."""
    last_line: int | None = None
    """Where the last of them is (1-based); ``None`` if there is only one."""
    last_time: float | None = None
    clock: float | None = None
    """When it was told by the logger's clock, in seconds of which only differences mean
    anything; ``None`` in a log with the kernel's own times."""
    last_clock: float | None = None
    form: str = ""
    """Which row of the tables it matched: :data:`postmortem.log.headers.FORMS`,
    :data:`postmortem.rules.messages.MESSAGES`."""
    devices: tuple[str, ...] = ()
    """What it is about, as :mod:`postmortem.log.devices` writes names: disks (not partitions),
    controllers, PCI addresses, network interfaces, servers, with what the log says of them."""
    above: tuple[str, ...] = ()
    """What those hang on, nearest first, as far as the log says it."""
    boot: int = 0
    """Number of the boot that it belongs to, from 1; 0 if the log has no boot banner before it."""
    consequence_of: int | None = None
    """Index in the same list of the report that caused this one."""
    shown: str = ""
    """The title with the numbers that matter to a reader, where it differs."""
    signature: Signature | None = None

    @property
    def is_panic(self) -> bool:
        """Whether the kernel stopped with this report."""
        return self.panic is not None

    @property
    def readable(self) -> str:
        """The title for a person."""
        return self.shown or self.title
