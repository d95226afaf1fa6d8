"""The public contract: what an analysis says, as data.

Plugins yield :class:`Finding` objects, :mod:`postmortem.judge.verdict` turns them
into one :class:`Verdict`, :mod:`postmortem.render` shows both. Nothing here
knows a kernel, a dump or a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Kind(str, Enum):
    """What broke. A closed list: grow it deliberately, and say so in docs/."""

    NULL_DEREFERENCE = "null-dereference"
    BAD_POINTER = "bad-pointer"
    GENERAL_PROTECTION = "general-protection"
    USE_AFTER_FREE = "use-after-free"
    OUT_OF_BOUNDS = "out-of-bounds"
    MEMORY_CORRUPTION = "memory-corruption"
    LIST_CORRUPTION = "list-corruption"
    DOUBLE_FREE = "double-free"
    STACK_OVERFLOW = "stack-overflow"
    DIVIDE_ERROR = "divide-error"
    INVALID_OPCODE = "invalid-opcode"
    BAD_EXECUTION = "bad-execution"
    BUG = "bug"
    WARNING = "warning"
    SCHEDULING_WHILE_ATOMIC = "scheduling-while-atomic"
    DEADLOCK = "deadlock"
    HUNG_TASK = "hung-task"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    RCU_STALL = "rcu-stall"
    WORKQUEUE_STALL = "workqueue-stall"
    OOM = "oom"
    ALLOCATION_FAILURE = "allocation-failure"
    MEMORY_LEAK = "memory-leak"
    MACHINE_CHECK = "machine-check"
    NMI = "nmi"
    INIT_KILLED = "init-killed"
    ROOT_MOUNT = "root-mount"
    USER_REQUESTED = "user-requested"
    LOCKDEP = "lockdep"
    KASAN = "kasan"
    KMSAN = "kmsan"
    KCSAN = "kcsan"
    KFENCE = "kfence"
    UBSAN = "ubsan"
    IO_ERROR = "io-error"
    PANIC = "panic"
    """panic() called by kernel code for a reason that has no kind of its own."""
    NONE = "none"

    def __str__(self) -> str:
        return self.value


class Severity(str, Enum):
    """How bad: the machine died of it, something broke, it may matter, good to know."""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    def __str__(self) -> str:
        return self.value


class Confidence(str, Enum):
    """How sure: the evidence proves it, points to it, or only allows it."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Evidence:
    """One thing that was seen, and where, so that a reader can check it."""

    what: str
    where: str = ""
    """Log line ("log line 812"), task ("task 345"), address, symbol+offset, member ..."""


@dataclass(frozen=True)
class TaskRef:
    """A task by the two things that every log and every dump has of it."""

    pid: int
    comm: str


@dataclass(frozen=True)
class Culprit:
    """Who did it, as far as known. Absent parts are ``None``."""

    function: str | None = None
    module: str | None = None
    """``None`` for the kernel proper."""
    file: str | None = None
    line: int | None = None
    task: TaskRef | None = None
    cpu: int | None = None


@dataclass(frozen=True)
class Signature:
    """The same bug gives the same strings: no address, offset, pid, CPU or line in them.

    The log and the dump of one crash give the same signature, with or without
    debug information.
    """

    exact: str
    """Kind, guilty function and all reliable frames below the report machinery."""
    frames: str
    """Kind, guilty function and the first few frames."""
    coarse: str
    """Kind and guilty function, readable."""


@dataclass(frozen=True)
class Block:
    """Preformatted lines that belong to a finding: disassembly, a stack, a table.

    Lines are data from a dump: renderers escape them.
    """

    title: str
    lines: tuple[str, ...]
    mark: int | None = None
    """Index of the line that matters most (the trapping instruction ...)."""


@dataclass(frozen=True)
class Table:
    """Rows under named columns; a cell of ``None`` is absent and rendered ``-``."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]
    note: str = ""
    """Why cells are absent, what was cut."""


@dataclass(frozen=True)
class Export:
    """What a plugin found in a form for another program: a drawing, folded stacks, a graph."""

    title: str
    suffix: str
    """Of the file that it is written to (``-o FILE.svg``): ``svg``, ``folded``, ``dot``."""
    text: str


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (or worth knowing), with evidence."""

    id: str
    """Unique in one analysis: plugin name and a running part, e.g. ``oops-1``."""
    kind: Kind
    severity: Severity
    confidence: Confidence
    title: str
    """In syzbot's form: ``KASAN: slab-use-after-free Read in foo``."""
    explanation: str
    """One to three sentences for a tired engineer."""
    evidence: tuple[Evidence, ...] = ()
    culprit: Culprit = field(default_factory=Culprit)
    caused_by: tuple[str, ...] = ()
    """Ids of the findings that this one is a consequence of."""
    next_steps: tuple[str, ...] = ()
    signature: Signature | None = None
    blocks: tuple[Block, ...] = ()
    tables: tuple[Table, ...] = ()
    log_line: int | None = None
    """First line of the kernel's own report of it in the log (1-based), for ordering."""
    time: float | None = None
    """Seconds since boot of the event, where known."""


@dataclass(frozen=True)
class Verdict:
    """What broke, who did it, how we know, what to look at next."""

    kind: Kind
    title: str
    summary: str
    confidence: Confidence
    culprit: Culprit = field(default_factory=Culprit)
    signature: Signature | None = None
    evidence: tuple[Evidence, ...] = ()
    next_steps: tuple[str, ...] = ()
    finding: str | None = None
    """Id of the finding that it rests on; ``None`` for kind ``none``."""


@dataclass(frozen=True)
class Problem:
    """Something that limits the answer: what could not be done, and why."""

    what: str
    why: str
