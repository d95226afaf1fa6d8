"""What plugins share when they turn a report of the kernel into a finding.

The kernel's own report says what it saw; a finding says what it means and how
sure that is. The texts are data: one row a kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from postmortem.model.findings import (
    Block,
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Kind,
    Severity,
)
from postmortem.model.report import Frame, Report

if TYPE_CHECKING:
    from postmortem.plugin import Context

OOPS_KINDS = frozenset(
    {
        Kind.NULL_DEREFERENCE,
        Kind.BAD_POINTER,
        Kind.GENERAL_PROTECTION,
        Kind.USE_AFTER_FREE,
        Kind.BAD_EXECUTION,
        Kind.STACK_OVERFLOW,
        Kind.DIVIDE_ERROR,
        Kind.INVALID_OPCODE,
        Kind.BUG,
        Kind.WARNING,
        Kind.LIST_CORRUPTION,
        Kind.OUT_OF_BOUNDS,
        Kind.MEMORY_CORRUPTION,
        Kind.DOUBLE_FREE,
        Kind.SCHEDULING_WHILE_ATOMIC,
    }
)
PANIC_KINDS = frozenset(
    {
        Kind.PANIC,
        Kind.INIT_KILLED,
        Kind.ROOT_MOUNT,
        Kind.USER_REQUESTED,
        Kind.NMI,
        Kind.MACHINE_CHECK,
    }
)
MEMORY_KINDS = frozenset({Kind.OOM, Kind.ALLOCATION_FAILURE, Kind.MEMORY_LEAK})
HANG_KINDS = frozenset({Kind.HUNG_TASK, Kind.DEADLOCK})
LOCKUP_KINDS = frozenset({Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL, Kind.WORKQUEUE_STALL})
CHECKER_KINDS = frozenset(
    {Kind.KASAN, Kind.KMSAN, Kind.KCSAN, Kind.KFENCE, Kind.UBSAN, Kind.LOCKDEP, Kind.IO_ERROR}
)

_MILD = frozenset(
    {
        Kind.WARNING,
        Kind.UBSAN,
        Kind.KCSAN,
        Kind.LOCKDEP,
        Kind.ALLOCATION_FAILURE,
        Kind.RCU_STALL,
        Kind.WORKQUEUE_STALL,
        Kind.IO_ERROR,
        Kind.MEMORY_LEAK,
        Kind.NMI,
        Kind.USER_REQUESTED,
    }
)
"""Kinds that a machine survives unless a panic says otherwise."""

EXPLANATIONS: dict[Kind, str] = {
    Kind.NULL_DEREFERENCE: "{function} used a NULL pointer.",
    Kind.BAD_POINTER: "{function} used a pointer to memory that is not mapped or not allowed.",
    Kind.GENERAL_PROTECTION: "{function} used a pointer that is no address at all (non-canonical).",
    Kind.USE_AFTER_FREE: "{function} used memory that had been freed.",
    Kind.OUT_OF_BOUNDS: "{function} went past the end of an object.",
    Kind.MEMORY_CORRUPTION: "Memory was overwritten; it came to light in {function}.",
    Kind.LIST_CORRUPTION: "{function} met a linked list whose neighbours disagree.",
    Kind.DOUBLE_FREE: "{function} freed an object that was free already.",
    Kind.STACK_OVERFLOW: "The kernel stack ran over in {function}.",
    Kind.DIVIDE_ERROR: "{function} divided by zero, or a quotient did not fit.",
    Kind.INVALID_OPCODE: "{function} ran into bytes that are no instruction.",
    Kind.BAD_EXECUTION: "{function} jumped to an address that holds no code.",
    Kind.BUG: "{function} checked an assumption with BUG() and it did not hold.",
    Kind.WARNING: "{function} checked an assumption with WARN() and it did not hold.",
    Kind.SCHEDULING_WHILE_ATOMIC: (
        "{function} went to sleep where sleeping is forbidden: with a spinlock held, "
        "preemption off or in an interrupt."
    ),
    Kind.PANIC: "{function} called panic().",
    Kind.INIT_KILLED: "The init process (pid 1) ended, and the kernel can't go on without it.",
    Kind.ROOT_MOUNT: "The root file system could not be mounted.",
    Kind.USER_REQUESTED: "Somebody asked for this crash.",
    Kind.NMI: "A non-maskable interrupt came that no handler claimed.",
    Kind.MACHINE_CHECK: "The hardware reported an error that can't be corrected.",
    Kind.OOM: "The machine ran out of memory.",
    Kind.ALLOCATION_FAILURE: "{function} asked for memory that could not be had.",
    Kind.MEMORY_LEAK: "Memory was allocated that nothing refers to any more.",
    Kind.HUNG_TASK: "A task has been waiting in {function} and can't be woken.",
    Kind.DEADLOCK: "Tasks wait for each other's locks.",
    Kind.SOFT_LOCKUP: "A CPU has been running {function} without letting anything else run.",
    Kind.HARD_LOCKUP: "A CPU stopped answering even to interrupts, in {function}.",
    Kind.RCU_STALL: "An RCU grace period can't end: a CPU or task stays in {function}.",
    Kind.WORKQUEUE_STALL: "A worker pool makes no progress.",
    Kind.LOCKDEP: "lockdep found that locks can deadlock, in {function}.",
    Kind.KASAN: "KASAN caught an invalid access in {function}.",
    Kind.KMSAN: "KMSAN caught a use of uninitialised memory in {function}.",
    Kind.KCSAN: "KCSAN caught a data race in {function}.",
    Kind.KFENCE: "KFENCE caught an invalid access in {function}.",
    Kind.UBSAN: "UBSAN caught undefined behaviour in {function}.",
    Kind.IO_ERROR: "A device or file system reported errors.",
}

NEXT_STEPS: dict[Kind, tuple[str, ...]] = {
    Kind.NULL_DEREFERENCE: (
        "Look at who should have set the pointer, and at the caller above it.",
    ),
    Kind.BAD_POINTER: ("Find where the pointer came from: the callers, or the object it was in.",),
    Kind.GENERAL_PROTECTION: (
        "Find the object that the bad pointer was read from: is it freed or overwritten?",
    ),
    Kind.USE_AFTER_FREE: (
        "Find who freed the object: boot with slub_debug=FZPU, or with KASAN, and reproduce.",
        "Check the reference count or the lock that should have kept it alive.",
    ),
    Kind.OUT_OF_BOUNDS: ("Check the length that the code trusted; KASAN names the access.",),
    Kind.MEMORY_CORRUPTION: (
        "Who noticed is rarely who wrote: reproduce with slub_debug=FZPU or KASAN.",
    ),
    Kind.LIST_CORRUPTION: (
        "Look for a second list_add or list_del of the entry, and for the lock of the list.",
    ),
    Kind.DOUBLE_FREE: ("Find the first free: slub_debug=FZPU records who did it.",),
    Kind.STACK_OVERFLOW: ("Bound the recursion, or move large locals off the stack.",),
    Kind.BUG: ("Read the condition at the file and line that the report names.",),
    Kind.WARNING: ("Read the condition at the file and line that the report names.",),
    Kind.SCHEDULING_WHILE_ATOMIC: (
        "Look for the spin_lock() or preempt_disable() that the callers still hold.",
    ),
    Kind.INIT_KILLED: (
        "The exit code says how it ended (0x0000000b: signal 11); look at init's own messages.",
    ),
    Kind.ROOT_MOUNT: (
        "Check root= on the command line, the driver of the disk, and the initramfs.",
    ),
    Kind.USER_REQUESTED: ("Ask who asked for it and why: look for trouble before it in the log.",),
    Kind.NMI: (
        "Ask the management controller (IPMI SEL): a dump button or a hardware error sends NMIs.",
    ),
    Kind.MACHINE_CHECK: ("Look at the memory or CPU that the error names; run its vendor's test.",),
    Kind.OOM: (
        "See who held the memory, and whether it should: the tables here, or those that the"
        " kernel printed into the log (Mem-Info, slab and task tables).",
    ),
    Kind.HUNG_TASK: ("Find what it waits for, and who holds that.",),
    Kind.SOFT_LOCKUP: ("Look at the loop or the lock in the stack.",),
    Kind.HARD_LOCKUP: ("Look for the lock that is spun on with interrupts off.",),
    Kind.RCU_STALL: ("Look at the stack of the CPU or task that holds up the grace period.",),
}

_SURE = frozenset({Kind.MEMORY_CORRUPTION, Kind.OUT_OF_BOUNDS})
"""What these name is who noticed it, not who did it."""


def report_id(report: Report) -> str:
    """Id of the finding that a report becomes: other findings refer to it."""
    return f"log-{report.line}"


def reports_of(ctx: Context, kinds: Iterable[Kind]) -> list[Report]:
    """The reports of these kinds, in the order of the log."""
    wanted = frozenset(kinds)
    return [report for report in ctx.reports if report.kind in wanted]


def finding_of(ctx: Context, report: Report, **changes: object) -> Finding:
    """A finding that says what the report says; a plugin adds what the dump knows."""
    file, line = _source(report)
    base = Finding(
        id=report_id(report),
        kind=report.kind,
        severity=severity_of(ctx, report),
        confidence=confidence_of(report),
        title=report.title,
        explanation=explain(report.kind, report.function),
        evidence=tuple(log_evidence(report)),
        culprit=Culprit(
            function=report.function,
            module=report.module,
            file=file,
            line=line,
            task=report.task,
            cpu=report.cpu,
        ),
        caused_by=_cause(ctx, report),
        next_steps=NEXT_STEPS.get(report.kind, ()),
        signature=report.signature,
        log_line=report.line,
        time=report.time,
    )
    from dataclasses import replace

    return replace(base, **changes) if changes else base  # type: ignore[arg-type]


def _source(report: Report) -> tuple[str | None, int | None]:
    """Where the culprit is in the source: the report says so, or debug information did."""
    if "file" in report.detail:
        return report.detail["file"], _number(report.detail.get("lineno"))
    frames = [*([report.pc] if report.pc else []), *report.frames]
    found = next((f for f in frames if f.file and f.function == report.function), None)
    return (found.file, found.line) if found else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) < 10 else None


def _cause(ctx: Context, report: Report) -> tuple[str, ...]:
    index = report.consequence_of
    if index is None or not 0 <= index < len(ctx.reports):
        return ()
    return (report_id(ctx.reports[index]),)


def explain(kind: Kind, function: str | None) -> str:
    """One sentence on what happened."""
    text = EXPLANATIONS.get(kind, "The kernel reported a failure in {function}.")
    return text.format(function=f"{function}()" if function else "the kernel")


def is_panic(report: Report) -> bool:
    """Whether the kernel stopped with this report."""
    return report.title.startswith(("kernel panic", "sysrq triggered crash")) or (
        report.kind in (Kind.INIT_KILLED, Kind.ROOT_MOUNT)
    )


def ended_by(ctx: Context) -> Report | None:
    """The report with which the kernel died although no panic line follows it.

    A machine with a crash kernel jumps into that right from an Oops
    (oops_end(), arch/x86/kernel/dumpstack.c), before panic() prints anything.
    """
    if ctx.prog is None or not ctx.has_types or any(map(is_panic, ctx.reports)):
        return None
    from postmortem.kernel.cpu.cpus import cpus, panic_cpu

    prog = ctx.prog
    found = ctx.attempt("CPUs", lambda: (panic_cpu(prog), cpus(prog)))
    number, all_cpus = found or (None, ())
    task = next((cpu.task for cpu in all_cpus if cpu.number == number), None)
    if task is None:
        return None
    deadly = [report for report in ctx.reports if report.kind not in _MILD and report.task]
    if not deadly or deadly[-1].task is None or deadly[-1].task.pid != task.pid:
        return None
    return deadly[-1]


def severity_of(ctx: Context, report: Report) -> Severity:
    """Fatal if a panic is this report or its consequence."""
    if is_panic(report) or ended_by(ctx) is report:
        return Severity.FATAL
    mine = report_id(report)
    for other in ctx.reports:
        if is_panic(other) and mine in _cause(ctx, other):
            return Severity.FATAL
    if report.kind in _MILD:
        return Severity.WARNING
    return Severity.ERROR


def confidence_of(report: Report) -> Confidence:
    """How sure the report alone makes us of kind and culprit."""
    if report.corrupted or report.truncated:
        return Confidence.POSSIBLE if report.function is None else Confidence.LIKELY
    if report.kind in _SURE:
        return Confidence.LIKELY
    return Confidence.CERTAIN


def log_evidence(report: Report) -> list[Evidence]:
    """The lines of the report that carry it."""
    said = next((text for text in report.text if not text.startswith(_CUT)), report.title)
    found = [Evidence(said, f"log line {report.line}")]
    if report.pc is not None and report.pc.function:
        found.append(Evidence(f"it happened at {frame_text(report.pc)}", "instruction pointer"))
    callers = _callers(report)
    if callers:
        found.append(Evidence(f"called from {' < '.join(callers)}", "call trace in the log"))
    if report.corrupted:
        found.append(Evidence(f"the report is damaged: {report.corrupted}", "log"))
    return found


_CUT = "------------[ cut here"
_MAX_CALLERS = 5


def _callers(report: Report) -> list[str]:
    """Who called the guilty function, nearest first, as far as it is not the way in."""
    names = [frame.function for frame in report.frames if frame.reliable and frame.function]
    if report.function in names:
        names = names[names.index(report.function) + 1 :]
    elif report.pc is None or report.pc.function != report.function:
        return []
    once = [name for name, before in zip(names, [None, *names], strict=False) if name != before]
    return once[:_MAX_CALLERS]


def frame_text(frame: Frame) -> str:
    """``function+0x1c/0x80 [module]`` as the kernel prints it."""
    if frame.function is None:
        return f"{frame.address:#x}" if frame.address is not None else "?"
    text = frame.function
    if frame.offset is not None:
        text += f"+{frame.offset:#x}"
        if frame.size is not None:
            text += f"/{frame.size:#x}"
    return f"{text} [{frame.module}]" if frame.module else text


def code_block(report: Report) -> Block | None:
    """The report's own ``Code:`` bytes, disassembled, the trapping instruction marked."""
    if report.code is None:
        return None
    from postmortem.log.code import disassemble

    instructions = disassemble(report.code)
    mark = next((n for n, item in enumerate(instructions) if item.trapping), None)
    if mark is None:
        return None
    first = max(0, mark - 8)
    shown = instructions[first : mark + 5]
    return Block(
        title="Code at the fault (from the log)",
        lines=tuple(f"{item.offset - report.code.trap:+#6x}:  {item.text}" for item in shown),
        mark=mark - first,
    )
