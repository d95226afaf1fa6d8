"""What the kernel concludes itself, in a line inside its report, as data.

A fault's header is what the CPU saw; these lines are what the kernel made of it, and it
knows more: KASAN undoes its own shadow arithmetic, the fault handler looks at the magic
word at the end of the stack. Where the two differ, the line inside is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from postmortem.model.findings import Kind

_FAULTS = frozenset(
    {Kind.BAD_POINTER, Kind.NULL_DEREFERENCE, Kind.GENERAL_PROTECTION, Kind.BAD_EXECUTION}
)
_STALLS = frozenset({Kind.RCU_STALL})
_WARNS = frozenset({Kind.WARNING})
_LOCKDEP = frozenset({Kind.LOCKDEP})
_RANGE = r"in range \[0x(?P<low>[0-9a-f]{1,16})-0x(?P<high>[0-9a-f]{1,16})\]"


@dataclass(frozen=True)
class Spoken:
    """One line by which the kernel explains its report."""

    text: str
    """Searched in each line of the report; named groups are taken over."""
    literal: str
    """In every such line: asked first, because most lines hold none."""
    within: frozenset[Kind]
    """Kinds of reports in which the line is believed."""
    sentence: str
    kind: Kind | None = None
    """What the report is then."""
    steps: tuple[str, ...] = ()
    sure: bool = True
    """The line leaves no other reading of the report."""
    instead: bool = False
    """The sentence says better than the kind's own what happened."""


ROWS: tuple[Spoken, ...] = (
    # arch/*/mm/kasan: kasan_non_canonical_hook(), mm/kasan/report.c
    Spoken(
        rf"KASAN: null-ptr-deref {_RANGE}", "KASAN: ", _FAULTS,
        "KASAN says that the access went to {low}-{high}, so the pointer was NULL and the"
        " member at offset {low}; the address in the header is its shadow.",
        Kind.NULL_DEREFERENCE,
    ),
    Spoken(
        rf"KASAN: (?:probably )?user-memory-access {_RANGE}", "KASAN: ", _FAULTS,
        "KASAN says that the access went to {low}-{high}, an address of user space; the one in"
        " the header is its shadow.",
        Kind.BAD_POINTER,
    ),
    Spoken(
        rf"KASAN: (?:maybe |probably )?wild-memory-access {_RANGE}", "KASAN: ", _FAULTS,
        "KASAN says that the access went to {low}-{high}, which is no kernel memory; the"
        " address in the header is its shadow.",
    ),
    # do_sea() and do_bad() of arm64, fault_info of arm: the page tables did allow the access.
    Spoken(
        r"synchronous external abort|external abort on (?:non-)?linefetch"
        r"|imprecise external abort", "external abort", _FAULTS,
        "The address is mapped, but the bus or the device behind it answered with an error"
        " (external abort): it has no clock or power, or it is not there, or memory failed.",
        steps=("See whether the device has its clock, its power domain and a reference of"
               " runtime PM at this access, and whether its address in the device tree is right;"
               " if it is RAM, look for memory errors (EDAC, GHES).",),
        instead=True,
    ),
    # task_stack_end_corrupted() in the page fault handler
    Spoken(
        r"Thread overran stack, or stack corrupted", "Thread overran", _FAULTS,
        "The word at the end of the task's stack was overwritten (Thread overran stack, or stack"
        " corrupted): what the registers and the stack hold can't be relied on.",
        Kind.STACK_OVERFLOW,
        ("Look for deep recursion or large locals, and for who writes past an object on the"
         " stack: CONFIG_VMAP_STACK catches the overflow where it happens.",),
        sure=False,
    ),
    Spoken(
        r"<#DF>", "<#DF>", frozenset({Kind.STACK_OVERFLOW}),
        "It was noticed on the stack for double faults (<#DF>).",
    ),
    Spoken(
        r"kernel tried to execute NX-protected page", "NX-protected", _FAULTS,
        "The CPU was to run data: a jump went to a page that may not be executed.",
        Kind.BAD_EXECUTION,
    ),
    Spoken(
        r"unable to execute userspace code \(SMEP\?\)", "userspace code", _FAULTS,
        "The kernel jumped to an address in user space.",
        Kind.BAD_EXECUTION,
    ),
    # lib/ubsan.c
    Spoken(
        r"(?P<said>index -?\d{1,20} is out of range for type '.{1,80}?'"
        r"|shift exponent -?\d{1,20} is .{1,80}|.{1,80} cannot be represented in type '.{1,60}?'"
        r"|load of value -?\d{1,20} is not a valid value for type .{1,60}"
        r"|member access within .{1,80}|division by zero)", "",
        frozenset({Kind.UBSAN}), "UBSAN says: {said}.",
    ),
    # mm/kfence/report.c
    Spoken(
        r"Out-of-bounds (?P<access>read|write) at \S+ \((?P<bytes>\d{1,9})B (?P<side>left|right) of"
        r" kfence-#\d{1,9}\)", "Out-of-bounds ", frozenset({Kind.KFENCE}),
        "The {access} went {bytes} B to the {side} of the object.",
        steps=("Find where that length or index comes from, and which size the object was"
               " allocated with.",),
    ),
    Spoken(
        r"kfence-#\d{1,9}: \S{1,40}, size=(?P<size>\d{1,9}), cache=(?P<cache>\S{1,60})", "kfence-#",
        frozenset({Kind.KFENCE}), "The object has {size} bytes, of the cache {cache}.",
    ),
    # check_preemption_disabled(), lib/smp_processor_id.c
    Spoken(
        r"BUG: using (?P<what>\w{1,40}\(\)) in preemptible", "in preemptible",
        frozenset({Kind.BUG}),
        "{function} used {what} where its task may be moved to another CPU (preemptible code): what"
        " it reads may be of another CPU.",
        steps=("Keep the task on its CPU there (get_cpu(), preempt_disable(), migrate_disable()),"
               " or use this_cpu_*() or raw_* in {function} where it does not matter.",),
        instead=True,
    ),
    # lib/debugobjects.c
    Spoken(
        r"ODEBUG: (?P<what>\w{1,20}) active \(active state \d{1,9}\) object(?: type)?:"
        r" (?:[0-9a-f]{8,16} object type: )?(?P<type>\w{1,60})", "ODEBUG: ", _WARNS,
        "An object of the type {type} was active yet (queued or armed) when {function} came to"
        " its {what}.",
        steps=("Cancel it before (cancel_work_sync(), timer_delete_sync()) on the way of"
               " {function}.",),
        instead=True,
    ),
    # refcount_warn_saturate(), lib/refcount.c; "increment" before v5.5
    Spoken(
        r"refcount_t: (?P<said>underflow; use-after-free)", "refcount_t: ", _WARNS,
        "{function} gave back a reference that was not there (refcount_t: {said}): the count was"
        " 0 already, so the object may have been freed while somebody still used it.",
        steps=("Find the way on which one reference is given back twice, or is used without having"
               " been taken: {function} and its callers.",),
        instead=True,
    ),
    Spoken(
        r"refcount_t: (?P<said>(?:addition|increment) on 0; use-after-free)", "refcount_t: ",
        _WARNS,
        "{function} took a reference to an object whose count was 0 already (refcount_t: {said}):"
        " it was freed, or about to be.",
        steps=("Find out how {function} still reached the object: what should have kept it alive,"
               " or refcount_inc_not_zero() and a lookup that may fail.",),
        instead=True,
    ),
    Spoken(
        r"refcount_t: (?P<said>saturated; leaking memory)", "refcount_t: ", _WARNS,
        "In {function} a count of references ran over, or had been overwritten (refcount_t:"
        " {said}): it stays where it is, and the object is never freed.",
        steps=("Look for references that are taken and never given back, and for who may write"
               " over the object.",),
        instead=True,
    ),
    Spoken(
        r"refcount_t: (?P<said>decrement hit 0; leaking memory)", "refcount_t: ", _WARNS,
        "{function} gave back the last reference by refcount_dec(), which frees nothing"
        " (refcount_t: {said}).",
        steps=("See who should still have held a reference when {function} gave back its own.",),
        instead=True,
    ),
    # kernel/locking/lockdep.c: reports that tell of no order of locks
    Spoken(
        r"trying to register non-static key", "non-static key", _LOCKDEP,
        "{function} used a lock that was never initialised, or whose memory was overwritten"
        " (trying to register non-static key).",
        steps=("Find who should have initialised the lock that {function} takes"
               " (spin_lock_init(), mutex_init()), or who freed or cleared what it is in.",),
        instead=True,
    ),
    Spoken(
        r"suspicious RCU usage", "suspicious RCU usage", _LOCKDEP,
        "lockdep saw that {function} uses what RCU protects without what should protect it there"
        " (suspicious RCU usage).",
        steps=("Look at the check that the line below the header names, and whether {function} or"
               " its caller needs rcu_read_lock() or the lock of the writers.",),
        instead=True,
    ),
    Spoken(
        r"bad (?P<what>unlock balance|contention) detected", "detected!", _LOCKDEP,
        "{function} gave back or waited for a lock that its task does not have (bad {what}).",
        steps=("Find the way on which {function} unlocks twice, or without having locked.",),
        instead=True,
    ),
    Spoken(
        r"held lock freed!", "held lock freed!", _LOCKDEP,
        "Memory was freed with a lock in it that was held, taken in {function}.",
        steps=("Find who frees the object while {function} still works under its lock.",),
        instead=True,
    ),
    Spoken(
        r"lock held when returning to user space!", "returning to user space", _LOCKDEP,
        "A task went back to user space with a lock held that was taken in {function}.",
        steps=("Find the way out of {function} and its callers that does not give the lock back.",),
        instead=True,
    ),
    Spoken(
        r"still has locks held!", "still has locks held!", _LOCKDEP,
        "A task that was to exit or to freeze still held a lock, taken in {function}.",
        steps=("Find the way out of {function} and its callers that does not give the lock back.",),
        instead=True,
    ),
    Spoken(
        r"Nested lock was not taken", "Nested lock", _LOCKDEP,
        "{function} took a lock as nested in another one that is not held.",
        steps=("Look at which outer lock the nest_lock of {function} names, and who should hold"
               " it.",),
        instead=True,
    ),
    Spoken(
        r"Invalid wait context", "Invalid wait context", _LOCKDEP,
        "{function} took a lock that may sleep on a real-time kernel where only spinning is allowed"
        " (Invalid wait context).",
        steps=("Use a raw_spinlock_t in {function}, or move it out of what the callers hold.",),
        instead=True,
    ),
    Spoken(
        r"inconsistent lock state", "inconsistent lock state", _LOCKDEP,
        "A lock is taken in an interrupt, and elsewhere without keeping that interrupt out"
        " (inconsistent lock state); it showed in {function}.",
        instead=True,
    ),
    Spoken(
        r"BUG: (?P<what>MAX_[A-Z_]{1,40}) too low!", "too low!", _LOCKDEP,
        "lockdep ran out of its own tables ({what} too low) and turned itself off: it accuses no"
        " lock.",
        steps=("Nothing is wrong by this alone; lockdep sees nothing from here on.",),
        instead=True,
    ),
    # mm/kasan/report.c
    Spoken(
        r"BUG: KASAN: null-ptr-deref", "null-ptr-deref", frozenset({Kind.KASAN}),
        "The pointer was NULL.",
        steps=("Find who should have set the pointer that {function} used.",),
    ),
    Spoken(
        r"(?P<access>Read|Write) of size (?P<bytes>\d{1,9}) at addr", " of size ",
        frozenset({Kind.KASAN}), "It was a {access} of {bytes} bytes.",
    ),
    Spoken(
        r"located (?P<bytes>\d{1,9}) bytes (?P<side>to the (?:right|left) of|inside of)"
        r" (?:allocated |freed )?(?P<size>\d{1,9})-byte region", "-byte region",
        frozenset({Kind.KASAN}), "The address is {bytes} bytes {side} an object of {size} bytes.",
    ),
    # rt_mutex_handle_deadlock(), kernel/locking/rtmutex.c
    Spoken(
        r"rtmutex deadlock detected", "rtmutex deadlock",
        frozenset({Kind.WARNING, Kind.BUG}),
        "The rtmutex code found that the task waits, perhaps over others, for a lock that it"
        " holds itself; it sleeps for ever.",
        Kind.DEADLOCK,
    ),
    # print_cpu_stall_info(), kernel/rcu/tree_stall.h; the rest of RCU is told by judge/stalls.py
    Spoken(
        r"(?P<cpu>\d{1,6})-.{0,200}\(false positive\?\)", "(false positive?)", _STALLS,
        "RCU says itself that the stall of CPU {cpu} may be none (false positive?): that CPU"
        " was idle while RCU's thread was starved.",
        sure=False,
    ),
    # wd_smp_clear_cpu_pending(), arch/powerpc/kernel/watchdog.c
    Spoken(
        r"CPU[: ](?P<cpu>\d{1,6}) became unstuck", "became unstuck", frozenset({Kind.HARD_LOCKUP}),
        "CPU {cpu} came free again (became unstuck).",
    ),
    # watchdog: print_cpustat(), kernel/watchdog.c
    Spoken(
        r"#\d+: +(?P<system>\d{1,3})% system,\s+(?P<softirq>\d{1,3})% softirq,"
        r"\s+(?P<hardirq>\d{1,3})% hardirq,\s+(?P<idle>\d{1,3})% idle", "% hardirq",
        frozenset({Kind.SOFT_LOCKUP}),
        "In the last period that it was measured, the CPU spent {system}% of its time in system"
        " code, {softirq}% in softirqs and {hardirq}% in interrupts.",
    ),
    # arm64_serror_panic(), arch/arm64/kernel/traps.c
    Spoken(
        r"SError Interrupt", "SError", frozenset({Kind.MACHINE_CHECK}),
        "An SError is the late answer to an access that failed: a device register without clock"
        " or power, or memory with an error.",
        steps=("Look whether what the function reaches had its clock and its power domain on, and"
               " whether its address in the device tree is right.",),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """A row that a line of a report matches."""

    row: Spoken
    number: int
    """Of the line, in the lines that were given."""
    sentence: str
    steps: tuple[str, ...] = ()


@cache
def _pattern(row: Spoken) -> re.Pattern[str]:
    return re.compile(row.text)


def heard(texts: Iterable[str], kind: Kind, function: str | None = None) -> Iterator[Heard]:
    """What lines of a report of this kind say of it, each row at most once.

    :param function: that is to blame, for the sentences that name it.
    """
    name = f"{function}()" if function else "the code that ran"
    rows = [row for row in ROWS if kind in row.within or kind is row.kind]
    if not rows:
        return
    lines = list(texts)
    whole = "\n".join(lines)
    rows = [row for row in rows if row.literal in whole]
    for number, text in enumerate(lines if rows else ()):
        for row in [row for row in rows if row.literal in text]:
            match = _pattern(row).search(text)
            if match is not None:
                rows.remove(row)
                values = {**_plain(match), "function": name}
                said = row.sentence.format_map(values)
                steps = tuple(step.format_map(values) for step in row.steps)
                yield Heard(row, number, said[:1].upper() + said[1:] if not function else said,
                            steps)  # fmt: skip


def _plain(match: re.Match[str]) -> dict[str, str]:
    """The groups, addresses without leading zeros."""
    found = match.groupdict()
    return {key: hex(int(v, 16)) if key in ("low", "high") else v for key, v in found.items()}


def kind_spoken(texts: Iterable[str], kind: Kind) -> Kind:
    """The kind that the kernel itself says this report is, else ``kind``."""
    for found in heard(texts, kind):
        if found.row.kind is not None:
            return found.row.kind
    return kind
