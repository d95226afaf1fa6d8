"""What to do next, with the names that this very failure gives.

The table of kinds (rules/kinds.py) says what to look for. Here stand the caller, the
object's cache, the lock, the file and line, who freed it, and the command that goes on
from there. A step asks the reader to look: it claims nothing that the log does not say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postmortem.judge.reports import frame_text, index_of
from postmortem.log.meminfo import printed
from postmortem.model.findings import Finding, Kind
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.blame import guilty_frame, plain
from postmortem.rules.kinds import next_steps

if TYPE_CHECKING:
    from postmortem.plugin import Context

_WAY_IN = re.compile(
    r"(?:do_syscall|entry_|ret_from_|syscall_|__x64_sys_|x64_sys_|invoke_syscall|el0|kthread$|"
    r"asm_|start_secondary|cpu_startup_entry|do_idle|worker_thread|secondary_startup)"
)
"""Who called from here on is no caller: the entry code, the start of a thread."""
_TRACK = re.compile(r"(?P<what>Allocated|Freed) in (?P<function>[\w.$]{1,200})\+0x")
"""mm/slub.c, print_track(): who had the object last."""
_TRACK_LINES = 200


@dataclass(frozen=True)
class _Told:
    """A finding and its report, and the names in them."""

    finding: Finding
    report: Report | None

    @property
    def function(self) -> str:
        """The culprit as a call, empty if none is named."""
        name = self.finding.culprit.function
        return f"{name}()" if name else ""

    @property
    def caller(self) -> str:
        """Who called it."""
        report, name = self.report, self.finding.culprit.function
        if report is None or name is None:
            return ""
        frames = [*([report.pc] if report.pc else []), *report.frames]
        names = [plain(f.function) for f in frames if f.reliable and f.function]
        if name not in names:
            return ""
        after = names[names.index(name) + 1 :]
        found = next((caller for caller in after if caller != name), "")
        return f"{found}()" if found and not _WAY_IN.match(found) else ""

    @property
    def by_caller(self) -> str:
        """A clause on the caller, empty if there is none."""
        return f"; {self.caller} called it" if self.caller else ""

    @property
    def task(self) -> str:
        """The culprit's task, empty if none is named."""
        task = self.finding.culprit.task
        return f"{task.comm} ({task.pid})" if task is not None else ""

    @property
    def cache(self) -> str:
        """The slab cache of the object."""
        return self.report.detail.get("cache", "") if self.report is not None else ""

    @property
    def is_out_of_bounds(self) -> bool:
        """Whether a checker says that the access went past an object that lived."""
        return "out-of-bounds" in self.finding.title

    def tracked(self, what: str) -> str:
        """Who allocated or freed the object, by KASAN's or the allocator's own record."""
        if self.report is None:
            return ""
        for stack in self.report.stacks:
            frame = guilty_frame(stack.frames, self.finding.kind)
            if stack.title.lower().startswith(what.lower()) and frame and frame.function:
                return f"{plain(frame.function)}()"
        lines = map(_TRACK.match, self.report.text[:_TRACK_LINES])
        found = next((m for m in lines if m is not None and m["what"] == what), None)
        return f"{plain(found['function'])}()" if found is not None else ""


def advised(finding: Finding, ctx: Context) -> tuple[str, ...]:
    """The steps of a verdict's finding: a judge's own, else what its kind says, with names."""
    report = index_of(ctx).by_line.get(finding.log_line) if finding.log_line is not None else None
    told = _Told(finding, report)
    general = next_steps(finding.kind)
    own = finding.next_steps or general
    tell = _ADVICE.get(finding.kind) if own == general else None
    first = tell(told) if tell is not None else ""
    if own and not first:
        first = own[0] if _is_concrete(own[0], told) else _with_place(own[0], told)
    return (*([first] if first else []), *own[1:], *_commands(told, ctx))


def _is_concrete(step: str, told: _Told) -> bool:
    """Whether a step names something of this failure, or a command."""
    names = (told.finding.culprit.function, told.finding.culprit.module, told.cache)
    return "()" in step or any(name and name in step for name in names)


def _with_place(step: str, told: _Told) -> str:
    if told.function:
        return f"{step} Start at {told.function}{told.by_caller}."
    # That init ended or a root is missing is nothing that its task could tell more of.
    ended = told.finding.kind in (Kind.INIT_KILLED, Kind.ROOT_MOUNT)
    return f"{step} Start at task {told.task}." if told.task and not ended else step


def _commands(told: _Told, ctx: Context) -> tuple[str, ...]:
    """What goes on from here: a shell on the dump, or the tool that finds the line."""
    place = _place(told)
    if ctx.prog is not None:
        task = told.finding.culprit.task
        parts = [f"bt {task.pid}"] if task is not None and task.pid else []
        parts += [f"dis -r {place.function}+{place.offset:#x}"] if place is not None else []
        if not parts:
            return ()
        return (f"Go on in crash or postmortem shell with {' and '.join(parts)}.",)
    if place is None or place.size is None or (told.report is not None and place.file):
        return ()
    name = frame_text(place).partition(" ")[0]
    file = f"{place.module}.ko" if place.module else "vmlinux"
    return (f"scripts/faddr2line {file} {name} names the line (with debug information).",)


def _place(told: _Told) -> Frame | None:
    """The culprit's own frame, with its offset."""
    report, function = told.report, told.finding.culprit.function
    if report is None or function is None:
        return None
    frames = [*([report.pc] if report.pc else []), *report.frames]
    return next(
        (
            frame
            for frame in frames
            if frame.function and plain(frame.function) == function and frame.offset is not None
        ),
        None,
    )


# --- a row a kind --------------------------------------------------------------------


def _null(told: _Told) -> str:
    if not told.function:
        return ""
    if not told.caller:
        return f"Find who should have set the pointer that {told.function} used."
    return (
        f"Read {told.caller}, which called {told.function}: does it pass the pointer, and who"
        " should have set it?"
    )


def _pointer(told: _Told) -> str:
    if not told.function:
        return ""
    origin = f"from {told.caller}, which called it, or" if told.caller else "from a caller, or"
    return f"Find where {told.function} got the pointer: {origin} from an object that it read."


def _no_address(told: _Told) -> str:
    if not told.function:
        return ""
    return (
        f"Find the object that {told.function} read the bad pointer from: freed or"
        f" overwritten?{' ' + told.caller + ' called it.' if told.caller else ''}"
    )


def _freed(told: _Told) -> str:
    freed, made = told.tracked("Freed"), told.tracked("Allocated")
    if told.is_out_of_bounds and told.function:
        what = f" what {made} allocated" if made else " the object"
        return (
            f"Check the length or index with which {told.function} went past{what}: where does it"
            " come from, and who should have bounded it?"
        )
    if freed and told.function:
        return (
            f"Compare {freed}, which freed the object, with {told.function}, which still used it:"
            " which reference or lock should have kept it?"
        )
    if not told.function:
        return ""
    only = f",{told.cache}" if told.cache else ""
    return (
        f"Find who freed what {told.function} used: boot with slub_debug=FZPU{only}, or with"
        " KASAN, and reproduce."
    )


def _written(told: _Told) -> str:
    made = told.tracked("Allocated")
    if made:
        of = f" ({told.cache})" if told.cache else ""
        return (
            f"Look at who writes to what {made} allocates{of}: past its end, or after it was"
            " freed. KASAN names the write."
        )
    if not told.function:
        return ""
    only = f",{told.cache}" if told.cache else ""
    return (
        f"Reproduce with slub_debug=FZPU{only} or KASAN: who notices, as {told.function} did, is"
        " rarely who wrote."
    )


def _length(told: _Told) -> str:
    if not told.function:
        return ""
    source = f" and {told.caller} gave it" if told.caller else ""
    return f"Check the length that {told.function} trusted{source}; KASAN names the access."


def _list(told: _Told) -> str:
    if not told.function:
        return ""
    return (
        f"Look for a second list_add() or list_del() of the entry in {told.function}"
        f"{' and ' + told.caller if told.caller else ''}, and for the lock of the list."
    )


def _twice(told: _Told) -> str:
    freed = told.tracked("Freed")
    if freed and told.function:
        return f"Compare {freed}, which freed it first, with {told.function}: who owns the object?"
    if not told.function:
        return ""
    only = f",{told.cache}" if told.cache else ""
    return (
        f"Find the free before that of {told.function}: slub_debug=FZPU{only} records who did it."
    )


def _check(told: _Told) -> str:
    report = told.report
    if report is None or "file" not in report.detail:
        return ""
    where = ":".join(filter(None, (report.detail["file"], report.detail.get("lineno"))))
    check = f" of {report.check}()" if report.check else ""
    by = f", and what {told.function} does before it" if told.function else ""
    return f"Read the condition{check} at {where}{by}{told.by_caller}."


def _recursion(told: _Told) -> str:
    return (
        f"Bound the recursion of {told.function}, or move its large locals off the stack."
        * bool(told.function)
    )


def _divisor(told: _Told) -> str:
    if not told.function:
        return ""
    given = f", and what {told.caller} passes to it" if told.caller else ""
    return f"Find where {told.function} takes its divisor from{given}."


def _code(told: _Told) -> str:
    if not told.function:
        return ""
    return (
        f"Compare the bytes at the fault with the code of {told.function}: overwritten text, or a"
        " CPU without that instruction?"
    )


def _jump(told: _Told) -> str:
    if not told.function:
        return ""
    return f"Find the function pointer that {told.function} called: unset, freed or overwritten?"


def _atomic(told: _Told) -> str:
    if not told.function:
        return ""
    return (
        f"Look for what the callers of {told.function} still hold or have turned off: a spinlock,"
        " preemption, interrupts."
    )


def _panic(told: _Told) -> str:
    if not told.function:
        return ""
    return f"Look at what was said just before, and at why {told.function} panics{told.by_caller}."


def _asked(told: _Told) -> str:
    if not told.task:
        return ""
    return f"Ask who ran {told.task}, which asked for it, and why: is there trouble before it?"


def _hung(told: _Told) -> str:
    if not told.function or not told.task:
        return ""
    return (
        f"Find out what {told.task} waits for in {told.function}, and who holds that: the stacks"
        " of all tasks show it (sysrq t, or a dump)."
    )


def _loop(told: _Told) -> str:
    if not told.function:
        return ""
    return f"Find out what the loop or the lock in {told.function} waits for{told.by_caller}."


def _grace(told: _Told) -> str:
    if not told.function:
        return ""
    who = f" of {told.task}" if told.task else ""
    return f"Find out why {told.function}{who} does not come to an end{told.by_caller}."


def _memory(told: _Told) -> str:
    """Who holds the most, by the kernel's own table."""
    if told.report is None:
        return ""
    said = printed(told.report.text)
    row = max(said.tasks, key=lambda row: row.rss_pages, default=None)
    if row is None:
        return ""
    size = row.rss_pages * said.page >> 20
    return (
        f"See whether {row.comm} ({row.pid}), the largest task with {size} MiB, should need so"
        " much; the log's tables show the rest (Mem-Info, slab, tasks)."
    )


def _order(told: _Told) -> str:
    report = told.report
    order = report.detail.get("order", "") if report is not None else ""
    if not told.function or not order.isdigit() or len(order) > 2:
        return ""
    size = printed(report.text if report is not None else ()).page >> 10 << int(order)
    return (
        f"See whether {told.function} needs order {order} ({size} KiB in one piece of memory):"
        " a large or an atomic request may fail on a healthy machine."
    )


_ADVICE: dict[Kind, Callable[[_Told], str]] = {
    Kind.NULL_DEREFERENCE: _null,
    Kind.BAD_POINTER: _pointer,
    Kind.GENERAL_PROTECTION: _no_address,
    Kind.USE_AFTER_FREE: _freed,
    Kind.KASAN: _freed,
    Kind.KFENCE: _freed,
    Kind.OUT_OF_BOUNDS: _length,
    Kind.MEMORY_CORRUPTION: _written,
    Kind.LIST_CORRUPTION: _list,
    Kind.DOUBLE_FREE: _twice,
    Kind.STACK_OVERFLOW: _recursion,
    Kind.DIVIDE_ERROR: _divisor,
    Kind.INVALID_OPCODE: _code,
    Kind.BAD_EXECUTION: _jump,
    Kind.BUG: _check,
    Kind.WARNING: _check,
    Kind.UBSAN: _check,
    Kind.SCHEDULING_WHILE_ATOMIC: _atomic,
    Kind.PANIC: _panic,
    Kind.USER_REQUESTED: _asked,
    Kind.HUNG_TASK: _hung,
    Kind.SOFT_LOCKUP: _loop,
    Kind.HARD_LOCKUP: _loop,
    Kind.RCU_STALL: _grace,
    Kind.OOM: _memory,
    Kind.ALLOCATION_FAILURE: _order,
}
