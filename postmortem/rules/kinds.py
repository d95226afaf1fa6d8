"""What each kind of failure is: one row a kind.

A new kind is a member of :class:`~postmortem.model.findings.Kind` and a row here: who
tells it, what it does to the machine, how it is said and what to look at next.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postmortem.model.findings import Kind


class Family(Enum):
    """Which plugin tells reports of a kind."""

    OOPS = "oops"
    PANIC = "panic"
    MEMORY = "oom"
    HANG = "hung"
    LOCKUP = "lockups"
    CHECKER = "checkers"
    DEVICE = "devices"


class Effect(Enum):
    """What a failure does to the machine by itself."""

    MILD = "mild"
    """It goes on, unless a panic says otherwise."""
    SERIOUS = "serious"
    """Something broke, but no task died of it and memory is as it was."""
    DEADLY = "deadly"
    """A task is gone with what it held, or memory can't be trusted."""
    CORRUPTING = "corrupting"
    """Deadly, and other memory may have been overwritten: later faults may come from it."""


@dataclass(frozen=True)
class KindRule:
    """All that is known of a kind before a report of it is read."""

    kind: Kind
    family: Family
    effect: Effect
    sentence: str
    """What happened; ``{function}`` is the culprit."""
    steps: tuple[str, ...] = ()
    """What to look at next."""
    bug_class: str = ""
    """Kinds that are faces of one bug share a class, and so a coarse signature."""
    witness: bool = False
    """Who is named noticed it, and is rarely who did it."""


_MILD, _SERIOUS, _DEADLY, _CORRUPTING = Effect
_ACCESS, _STALL, _HANG = "bad-access", "stall", "hang"
_CHECK = ("Read the condition at the file and line that the report names.",)

RULES: tuple[KindRule, ...] = (
    # --- told by plugins/oops.py
    KindRule(
        Kind.NULL_DEREFERENCE, Family.OOPS, _DEADLY,
        "{function} used a NULL pointer.",
        ("Look at who should have set the pointer, and at the caller above it.",),
        _ACCESS,
    ),
    KindRule(
        Kind.BAD_POINTER, Family.OOPS, _DEADLY,
        "{function} used a pointer to memory that is not mapped or not allowed.",
        ("Find where the pointer came from: the callers, or the object it was in.",),
        _ACCESS,
    ),
    KindRule(
        Kind.GENERAL_PROTECTION, Family.OOPS, _DEADLY,
        "{function} used a pointer that is no address at all (non-canonical).",
        ("Find the object that the bad pointer was read from: is it freed or overwritten?",),
        _ACCESS,
    ),
    KindRule(
        Kind.USE_AFTER_FREE, Family.OOPS, _CORRUPTING,
        "{function} used memory that had been freed.",
        (
            "Find who freed the object: boot with slub_debug=FZPU, or with KASAN, and reproduce.",
            "Check the reference count or the lock that should have kept it alive.",
        ),
        _ACCESS,
    ),
    KindRule(
        Kind.OUT_OF_BOUNDS, Family.OOPS, _CORRUPTING,
        "{function} went past the end of an object.",
        ("Check the length that the code trusted; KASAN names the access.",),
        _ACCESS,
        witness=True,
    ),
    KindRule(
        Kind.MEMORY_CORRUPTION, Family.OOPS, _CORRUPTING,
        "Memory was overwritten; it came to light in {function}.",
        ("Who noticed is rarely who wrote: reproduce with slub_debug=FZPU or KASAN.",),
        witness=True,
    ),
    KindRule(
        Kind.LIST_CORRUPTION, Family.OOPS, _CORRUPTING,
        "{function} met a linked list whose neighbours disagree.",
        ("Look for a second list_add or list_del of the entry, and for the lock of the list.",),
        _ACCESS,
    ),
    KindRule(
        Kind.DOUBLE_FREE, Family.OOPS, _CORRUPTING,
        "{function} freed an object that was free already.",
        ("Find the first free: slub_debug=FZPU records who did it.",),
        "invalid-free",
    ),
    KindRule(
        Kind.STACK_OVERFLOW, Family.OOPS, _DEADLY,
        "The kernel stack ran over in {function}.",
        ("Bound the recursion, or move large locals off the stack.",),
    ),
    KindRule(
        Kind.DIVIDE_ERROR, Family.OOPS, _DEADLY,
        "{function} divided by zero, or a quotient did not fit.",
        ("Find where the divisor comes from and who should have kept it from being zero.",),
    ),
    KindRule(
        Kind.INVALID_OPCODE, Family.OOPS, _DEADLY,
        "{function} ran into bytes that are no instruction.",
        ("Compare the bytes at the fault with the function's code: overwritten text, or a CPU"
         " without that instruction?",),
    ),
    KindRule(
        Kind.BAD_EXECUTION, Family.OOPS, _DEADLY,
        "{function} jumped to an address that holds no code.",
        ("Find the function pointer that was called: unset, freed or overwritten?",),
        _ACCESS,
    ),
    KindRule(
        Kind.BUG, Family.OOPS, _DEADLY,
        "{function} checked an assumption with BUG() and it did not hold.", _CHECK,
    ),
    KindRule(
        Kind.WARNING, Family.OOPS, _MILD,
        "{function} checked an assumption with WARN() and it did not hold.", _CHECK,
    ),
    KindRule(
        Kind.STACK_TRACE, Family.OOPS, _MILD,
        "A stack was printed in {function}; what for is in the line before it, if anywhere.",
        ("Read the line before the stack; look for an earlier part of the log.",),
    ),
    KindRule(
        Kind.SCHEDULING_WHILE_ATOMIC, Family.OOPS, _SERIOUS,
        "{function} went to sleep where sleeping is forbidden.",
        ("Look for what the callers still hold or have turned off: a spinlock, preemption, "
         "interrupts.",),
    ),
    # --- told by plugins/panic.py
    KindRule(
        Kind.PANIC, Family.PANIC, _SERIOUS,
        "{function} called panic().",
        ("Look at what was said just before the panic, and at who decided to call panic().",),
    ),
    KindRule(
        Kind.INIT_KILLED, Family.PANIC, _SERIOUS,
        "The init process (pid 1) ended, and the kernel can't go on without it.",
        ("Look at init's own messages before the panic, and at what the exit code says.",),
    ),
    KindRule(
        Kind.ROOT_MOUNT, Family.PANIC, _SERIOUS,
        "The root file system could not be mounted.",
        ("Check root= on the command line, the driver of the disk, and the initramfs.",),
    ),
    KindRule(
        Kind.USER_REQUESTED, Family.PANIC, _MILD,
        "Somebody asked for this crash.",
        ("Ask who asked for it and why: look for trouble before it in the log.",),
    ),
    KindRule(
        Kind.NMI, Family.PANIC, _MILD,
        "A non-maskable interrupt came that no handler claimed.",
        ("Ask the management controller (IPMI SEL): a dump button or a hardware error sends"
         " NMIs.",),
    ),
    KindRule(
        Kind.MACHINE_CHECK, Family.PANIC, _SERIOUS,
        "The hardware reported an error.",
        ("Look at the memory or CPU that the error names; run its vendor's test.",),
    ),
    # --- told by plugins/oom.py
    KindRule(
        Kind.OOM, Family.MEMORY, _SERIOUS,
        "The machine ran out of memory.",
        ("See who held the memory, and whether it should: the tables here, or those that the"
         " kernel printed into the log (Mem-Info, slab and task tables).",),
    ),
    KindRule(
        Kind.ALLOCATION_FAILURE, Family.MEMORY, _MILD,
        "{function} asked for memory that could not be had.",
        ("See the order and the flags of the request: a large or an atomic one may fail on a"
         " healthy machine.",),
    ),
    KindRule(
        Kind.MEMORY_LEAK, Family.MEMORY, _MILD,
        "Memory was allocated that nothing refers to any more.",
        ("Find who should have freed the object: the report names who allocated it.",),
    ),
    # --- told by plugins/hung.py
    KindRule(
        Kind.HUNG_TASK, Family.HANG, _SERIOUS,
        "A task has been waiting in {function} and can't be woken.",
        ("Find what it waits for, and who holds that.",),
        _HANG,
    ),
    KindRule(
        Kind.DEADLOCK, Family.HANG, _SERIOUS,
        "{function} met a lock that it can never have, or that is damaged.",
        ("See which it was: a lock taken twice, a circle of owners, or a lock that was never "
         "initialised or was overwritten.",),
    ),
    # --- told by plugins/lockups.py
    KindRule(
        Kind.SOFT_LOCKUP, Family.LOCKUP, _SERIOUS,
        "A CPU has been running {function} without letting anything else run.",
        ("Look at the loop or the lock in the stack.",),
        _STALL,
    ),
    KindRule(
        Kind.HARD_LOCKUP, Family.LOCKUP, _SERIOUS,
        "A CPU stopped answering even to interrupts, in {function}.",
        ("Look for the lock that is spun on with interrupts off.",),
        _STALL,
    ),
    KindRule(
        Kind.RCU_STALL, Family.LOCKUP, _MILD,
        "An RCU grace period can't end: a CPU or task stays in {function}.",
        ("Look at the stack of the CPU or task that holds up the grace period.",),
        _STALL,
    ),
    KindRule(
        Kind.WORKQUEUE_STALL, Family.LOCKUP, _MILD,
        "A worker pool makes no progress.",
        ("Look at what the busy workers of the pool do.",),
    ),
    # --- told by plugins/checkers.py
    KindRule(
        Kind.LOCKDEP, Family.CHECKER, _MILD,
        "lockdep found that locks can deadlock, in {function}.",
        ("Take the locks of the report in one order, or keep interrupts out where it says so.",),
    ),
    KindRule(
        Kind.KASAN, Family.CHECKER, _CORRUPTING,
        "KASAN caught an invalid access in {function}.",
        ("Compare the stacks of the access, of the allocation and of the free.",),
        _ACCESS,
    ),
    KindRule(
        Kind.KMSAN, Family.CHECKER, _DEADLY,
        "KMSAN caught a use of uninitialised memory in {function}.",
        ("Find the way on which the value is used before anything was written to it.",),
        _ACCESS,
    ),
    KindRule(
        Kind.KCSAN, Family.CHECKER, _MILD,
        "KCSAN caught a data race in {function}.",
        ("See whether both sides need the lock, or the accesses READ_ONCE/WRITE_ONCE.",),
    ),
    KindRule(
        Kind.KFENCE, Family.CHECKER, _CORRUPTING,
        "KFENCE caught an invalid access in {function}.",
        ("Compare the stacks of the access, of the allocation and of the free.",),
    ),
    KindRule(
        Kind.UBSAN, Family.CHECKER, _MILD,
        "UBSAN caught undefined behaviour in {function}.", _CHECK,
    ),
    # --- told by plugins/devices.py; what a message means is in rules/messages*.py
    KindRule(
        Kind.IO_ERROR, Family.DEVICE, _MILD,
        "A disk or file system reported errors.",
        ("Look at the device's own messages, its health (SMART) and its cables.",),
    ),
    KindRule(
        Kind.DEVICE_ERROR, Family.DEVICE, _MILD,
        "A device, its bus or its firmware reported errors.",
        ("Look at the device's own messages before it, its firmware, power and seat.",),
    ),
    KindRule(
        Kind.THERMAL, Family.DEVICE, _MILD,
        "The machine was too hot.",
        ("Look at fans, heat sinks and the sensor itself.",),
    ),
    KindRule(
        Kind.SUSPEND, Family.DEVICE, _MILD,
        "The machine could not go to sleep or wake up.",
        ("Look at the task or device that it names.",),
    ),
    KindRule(
        Kind.CLOCK, Family.DEVICE, _MILD,
        "The machine stood still for a while, or its clock jumped.",
        ("Look at the host of a virtual machine: load, pauses, migrations.",),
    ),
)  # fmt: skip

_BY_KIND = {rule.kind: rule for rule in RULES}


def rule(kind: Kind) -> KindRule | None:
    """The row of a kind; only ``none`` has no row."""
    return _BY_KIND.get(kind)


def kinds_of(family: Family) -> frozenset[Kind]:
    """The kinds that a plugin tells."""
    return frozenset(rule.kind for rule in RULES if rule.family is family)


MILD = frozenset(rule.kind for rule in RULES if rule.effect is Effect.MILD)
CORRUPTING = frozenset(rule.kind for rule in RULES if rule.effect is Effect.CORRUPTING)
DEADLY = CORRUPTING | {rule.kind for rule in RULES if rule.effect is Effect.DEADLY}
LOCKUPS = kinds_of(Family.LOCKUP)
STUCK = LOCKUPS | kinds_of(Family.HANG)


def explain(kind: Kind, function: str | None) -> str:
    """One sentence on what happened."""
    found = _BY_KIND.get(kind)
    text = found.sentence if found else "The kernel reported a failure in {function}."
    text = text.format(function=f"{function}()" if function else "the kernel")
    return text if function else text[:1].upper() + text[1:]


def next_steps(kind: Kind) -> tuple[str, ...]:
    """What to look at next."""
    found = _BY_KIND.get(kind)
    return found.steps if found else ()


def bug_class(kind: Kind) -> str:
    """The name under which kinds that are faces of one bug go together."""
    found = _BY_KIND.get(kind)
    return found.bug_class or str(kind) if found else str(kind)
