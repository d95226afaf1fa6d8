"""The public contract: what an analysis says, as data.

Plugins yield :class:`Finding` objects, :mod:`postmortem.judge.verdict` turns them
into one :class:`Verdict`, :mod:`postmortem.render` shows both. Nothing here
knows a kernel, a dump or a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from postmortem.model.shown import Shown


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
    """A disk, what is made of disks, or a file system."""
    DEVICE_ERROR = "device-error"
    """Any other device, its bus, its firmware, the hypervisor."""
    THERMAL = "thermal"
    SUSPEND = "suspend"
    """The machine could not go to sleep or wake up."""
    CLOCK = "clock"
    """Time jumped: the machine or a guest stood still."""
    STACK_TRACE = "stack-trace"
    """A stack was printed, and the log does not name a failure with it."""
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


class Strength(str, Enum):
    """How much a piece of evidence decides, the strongest first."""

    PROOF = "proof"
    """Memory itself: the object is free, the lock names its owner."""
    SHOWN = "shown"
    """Values explained: what the instruction did with which pointer of which type."""
    SAID = "said"
    """The kernel said so."""
    CONTEXT = "context"
    """Where it was and who had called."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Evidence:
    """One thing that was seen, and where, so that a reader can check it."""

    what: str
    where: str = ""
    """Log line ("log line 812"), task ("task 345"), address, symbol+offset, member ..."""
    strength: Strength = Strength.SAID


_STRENGTHS = tuple(Strength)


def strongest_first(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Ordered by strength; among equals the order stays."""
    return tuple(sorted(evidence, key=lambda item: _STRENGTHS.index(item.strength)))


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


class Holds(str, Enum):
    """What the lines of a block are."""

    LINES = "lines"
    CODE = "code"
    STACK = "stack"
    WAITS = "waits"
    """Who waits for whom."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Block(Shown):
    """Preformatted lines that belong to a finding: disassembly, a stack, a table.

    Lines are data from a dump: renderers escape them.
    """

    title: str
    lines: tuple[str, ...]
    mark: int | None = None
    """Index of the line that matters most (the trapping instruction ...)."""
    holds: Holds = Holds.LINES


@dataclass(frozen=True)
class Text(Shown):
    """Lines that are shown as they are: the kernel's own bytes, for a person or another program.

    Nothing is added, folded or indented; only a terminal gets no control characters.
    """

    title: str
    """Of the section on a page; the text report shows the lines alone."""
    lines: tuple[str, ...]


class Unit(str, Enum):
    """What the cells of a column are; renderers write them, cells stay values."""

    TEXT = "text"
    ID = "id"
    """A number that is a name: pid, CPU, IRQ."""
    COUNT = "count"
    """How many; a float is a rate or a mean."""
    HEX = "hex"
    """An address or a mask; in JSON a string, since many readers lose bits of 64."""
    BYTES = "bytes"
    SECONDS = "seconds"
    """A duration."""
    NS = "ns"
    """A duration in nanoseconds."""
    TIME = "time"
    """Unix time."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Column:
    """What one column of a table holds."""

    name: str
    unit: Unit = Unit.TEXT
    extra: int = 0
    """0: always shown. Where a terminal is too narrow the columns of the largest number go first,
    and the reader is told."""


Cell = str | int | float | None
"""A value in the column's unit; ``None`` is absent and rendered ``-``."""


@dataclass(frozen=True)
class Table(Shown):
    """Rows of values under typed columns."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """Why cells are absent, what was cut."""

    def __post_init__(self) -> None:
        # An outside plugin may give bare names: text then.
        columns = tuple(Column(c) if isinstance(c, str) else c for c in self.columns)
        object.__setattr__(self, "columns", columns)


@dataclass(frozen=True)
class Export:
    """What a plugin found in a form for another program: a drawing, folded stacks, a graph.

    It is drawn (render/exports.py) only if somebody wants it.
    """

    title: str
    suffix: str
    """Of the file that it is written to (``-o FILE.svg``): ``svg``, ``folded``, ``dot``, or one of
    the plugin's own."""
    data: Any
    """A graph (:mod:`postmortem.graph.model`), :class:`postmortem.model.stacks.FoldedStacks`, or
    for a suffix of the plugin's own the text itself."""


@dataclass(frozen=True)
class Finding(Shown):
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
    shown: str = ""
    """The title with the numbers that matter to a reader, where it differs."""
    behind: str = ""
    """What memory knows of the cause beyond the stack, in words that the same bug has again:
    ``owner exited``."""

    @property
    def readable(self) -> str:
        """The title for a person."""
        return self.shown or self.title


RECOVERED = "It recovered"
FOLLOWED = "What followed from it"
"""How those sentences of a summary begin that a short form keeps."""


@dataclass(frozen=True)
class Verdict(Shown):
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
    """Id of the finding that it rests on; ``None`` if nothing was found."""
    shown: str = ""
    """The title with the numbers that matter to a reader, where it differs."""

    @property
    def is_calm(self) -> bool:
        """Nothing was found. A finding of kind ``none`` is still something that is wrong."""
        return self.kind is Kind.NONE and self.finding is None

    @property
    def readable(self) -> str:
        """The title for a person."""
        return self.shown or self.title


@dataclass(frozen=True)
class Problem:
    """Something that limits the answer: what could not be done, and why."""

    what: str
    why: str
