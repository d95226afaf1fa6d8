"""From the messages of one report to its :class:`~postmortem.model.report.Report`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from postmortem.log import mce
from postmortem.log.body import Body, Trace, read_body
from postmortem.log.fits import fits
from postmortem.log.frames import PLACES
from postmortem.log.guilty import frames_of, main_trace
from postmortem.log.headers import FORMS, HEADLESS, Form
from postmortem.log.messages import about, message_report
from postmortem.log.split import Section
from postmortem.model.findings import Kind, TaskRef
from postmortem.model.frame import Frame
from postmortem.model.report import Report, Said, Stack
from postmortem.rules.alternatives import branches
from postmortem.rules.blame import (
    cycle,
    guilty_frame,
    is_generic,
    is_machinery,
    normalise,
    plain,
    signature,
    unwinds,
)
from postmortem.rules.kinds import bug_class
from postmortem.rules.roles import reads_free_list, role_of, suspect_of
from postmortem.rules.spoken import kind_spoken

MAX_TEXT = 400
"""Messages kept in ``Report.text``."""
CORRUPTED = "corrupted"
"""What a title names instead of a function that isn't there."""

_CLEAN = (
    (re.compile(r"\b(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{6,16}\b"), "ADDR"),
    (re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?"), ""),
    (re.compile(r"CPU#\d+"), "CPU"),
    (re.compile(r"(?<![\w.])\d+(?![\w])|(?<=[^\w])\d+(?=[^\w]|$)"), "NUM"),
    (re.compile(r"(?<=\.)\d+\b"), "NUM"),
)


_ONLY_STACK = {form.name for form in FORMS if "WARNING:" in form.literals}
"""The header names where the check is, the stack who failed it."""


_Search = Callable[[str], "re.Match[str] | None"]


@cache
def _details(form: Form) -> tuple[_Search, ...]:
    """How each detail is searched for: ``re`` looks for ``^`` at every character."""
    found: list[_Search] = []
    for text in form.details:
        pattern = re.compile(text)
        anchored = all(branch.startswith("^") for branch in branches(text))
        found.append(pattern.match if anchored else pattern.search)
    return tuple(found)


def parse_section(section: Section, arch: str | None = None) -> Report:
    """One report. Never fails: what can't be known is absent, and ``corrupted`` says why."""
    form = section.form
    if form.single:
        return message_report(section)
    body = read_body(section.records, arch)
    detail = _detail(section)
    if body.work is not None and body.work.function:
        detail.setdefault("work", body.work.function)
    kind = kind_spoken((r.text for r in section.records), _kind(form, body, detail))
    frames = frames_of(form, kind, body, named="named" in detail)
    if form.name in _ONLY_STACK:
        frames = _believed(frames)
    frames = _with_work(frames, body)
    guilty = guilty_frame(frames, kind)
    if guilty is not None and (
        _injected(frames[: frames.index(guilty)]) or _mixed_with_injection(section)
    ):
        guilty = None
    blamed = normalise(guilty.function) if guilty and guilty.function else None
    trace = main_trace(body)
    function = blamed or _named(detail, body, alone=trace is None)
    if blamed is None and form.name == "kasan":
        function = _named(detail, body, alone=True) or _unwinder(detail, trace)
    if function is None and trace is None and form.find == "pc" and body.pc is not None:
        function = normalise(body.pc.function) if body.pc.function else None
    shown = blamed if form.name in _ONLY_STACK else function
    if kind is Kind.STACK_OVERFLOW and trace is None:
        function = None  # where an overflow is noticed says nothing about who made it
    why = _corruption(section, body, shown)
    titled = _titled(form, kind)
    title, alts = _titles(titled, detail, shown)
    readable, _ = _titles(titled, detail, shown, _as_printed)
    signed_as = kind
    if function == _SYSRQ:
        kind = Kind.USER_REQUESTED
    pc = (trace.pc if trace else None) or body.pc
    if reads_free_list(kind, pc):
        kind = Kind.MEMORY_CORRUPTION
    sharp = guilty_frame([f for f in frames if not f.inline], kind)
    sharp_name = sharp.function if sharp and sharp.function else function
    return Report(
        kind=kind,
        title=title,
        line=section.records[0].line,
        end_line=section.records[-1].line,
        text=tuple(record.text for record in section.records[:MAX_TEXT]),
        before=tuple(Said(r.line, r.text, r.time) for r in section.before),
        type=_type(form, detail),
        alt_titles=alts,
        time=section.records[0].time,
        clock=section.records[0].clock,
        function=function,
        module=guilty.module if guilty else _module(section, detail, function, frames),
        role=role_of(kind, frames, guilty, pc),
        check=_check_of(form, guilty, pc),
        suspect=suspect_of(frames, guilty, body.tainting),
        tainting=tuple(sorted(body.tainting)),
        pc=pc,
        task=_task(body, detail),
        cpu=_cpu(body, detail),
        taint=body.taint,
        release=body.release,
        hardware=body.hardware,
        arch=body.arch,
        frames=_behind(pc, _with_work(list(trace.frames), body) if trace else ()),
        stacks=tuple(
            Stack(
                " ".join(filter(None, (t.owner, t.title))),
                (*_where(t), *_behind(t.pc, t.frames)),
                t.line,
            )
            for t in body.traces
            if t is not trace
        ),
        registers=body.registers,
        fault_address=_address(detail, body),
        code=body.code,
        modules=body.modules,
        shown="" if readable == title else readable,
        panic=_panic(section),
        detail=detail,
        corrupted=why,
        truncated=section.interrupted is not None,
        form=form.name,
        devices=about(form, detail, section.records[section.at].text),
        signature=signature(
            signed_as,
            sharp_name or _signed(form, detail, title),
            frames,
            _check(form, kind, detail),
            _faces(form, signed_as),
        ),
    )


_CHECKS = {"warning", "badness", "bug-at", "kernel-bug-at", "internal-bug"}
"""Forms whose header has the file and line of a check."""


def _check_of(form: Form, guilty: Frame | None, pc: Frame | None) -> str | None:
    """The function that the header's file and line are in, where that is not to blame."""
    if form.name not in _CHECKS or guilty is None:
        return None
    where = pc if pc is not None and pc.function else None
    if where is None or not where.function or where.function == guilty.function:
        return None
    return normalise(where.function) if is_machinery(where.function) else None


_RUNS_WORK = frozenset({"process_one_work", "process_scheduled_works"})


def _with_work(frames: list[Frame], body: Body) -> list[Frame]:
    """With the function of the work that ran, where a tail call took it off the stack."""
    work = body.work
    if work is None or work.function is None:
        return frames
    if frames and main_trace(body) is None:
        return [*frames, work]  # the report breaks off before its stack
    name = normalise(work.function)
    names = [normalise(f.function) if f.function and f.reliable else "" for f in frames]
    at = next((n for n, one in enumerate(names) if one in _RUNS_WORK), None)
    return frames if at is None or name in names else [*frames[:at], work, *frames[at:]]


def _believed(frames: list[Frame]) -> list[Frame]:
    """Frames with ``?`` count where there are no others (a kernel without frame pointers)."""
    if any(frame.reliable and frame.function for frame in frames):
        return frames
    return [replace(frame, reliable=True) for frame in frames]


def says_something(report: Report) -> bool:
    """Whether a stack without a header names anybody: else it is no report."""
    return report.kind is not Kind.STACK_TRACE or report.function is not None


def _detail(section: Section) -> dict[str, str]:
    form_name = section.form.name
    detail = {k: v for k, v in section.header.match.groupdict().items() if v}
    if section.inlined:
        detail.pop("named", None)
    for header in section.joined:
        inlined = header.match.string.rstrip().endswith("[inline]")
        for key, value in header.match.groupdict().items():
            if value and not (inlined and key == "named"):
                detail.setdefault(key, value)
    if section.form.kind is Kind.STACK_TRACE:
        detail.update(_marks(section))
    patterns = _details(section.form)
    if patterns:
        for record in section.records:
            for search in patterns:
                match = search(record.text)
                if match is not None:
                    for key, value in match.groupdict().items():
                        if value:
                            detail.setdefault(key, value)
    if "Kernel panic" in section.form.literals and not detail.get("message"):
        detail["message"] = _second_line(section)
    if form_name == "mce" and "status" in detail:
        detail.update(mce.decode(detail["status"]))
    if "address2" in detail:
        detail["address"] = detail.pop("address2")
    if "message" not in detail and section.form.name == "rust":
        detail["message"] = section.records[min(section.at + 1, len(section.records) - 1)].text
    return detail


_PANICS = "not syncing:"
_MAX_MESSAGE = 200


def _panic(section: Section) -> str | None:
    """What panic() said, if it is its header; sysrq's crash calls panic() and nothing else."""
    if section.form.name == "sysrq-crash":
        return "sysrq triggered crash"
    if "Kernel panic" not in section.form.literals:
        return None
    said = section.records[section.at].text.partition(_PANICS)[2].strip()
    return (said or _second_line(section))[:_MAX_MESSAGE]


def _second_line(section: Section) -> str:
    """What panic() said, where the header has nothing: RT kernels may break the line there."""
    header, *behind = section.records[section.at : section.at + 2]
    if not header.text.rstrip().endswith(_PANICS) or not behind:
        return ""
    text = behind[0].text.strip()
    return "" if fits(behind[0].text) or text.startswith(("CPU: ", "---[")) else text


_CR2 = re.compile(r"CR2: (?P<cr2>[0-9a-f]{16})$")


# drgn shows values with their types: ((char [16])"comm", (pid_t)123)
_COMM = re.compile(r'\(char ?\[\d{1,3}\]\)\s?"(?P<comm>[^"]{1,15})"')
_PID = re.compile(r"(?<!tgid = )\(pid_t\)(?P<pid>\d{1,10})")


def _whose(about: str) -> dict[str, str]:
    """The task that a debugger was asked for last before its stack."""
    comms, pids = _COMM.findall(about), _PID.findall(about)
    return {"by": comms[-1], "pid": pids[-1]} if comms and pids else {}


def _marks(section: Section) -> dict[str, str]:
    """What a stack without a header says of its cause: only a page fault prints CR2 alone."""
    texts = [record.text.strip() for record in section.records]
    found = next((match["cr2"] for match in map(_CR2.match, texts) if match), None)
    said = texts[0] if section.form is HEADLESS and not section.beheaded else None
    return {
        **({"cr2": found, "address": found} if found else {}),
        **({"said": said} if said else {}),
        **_whose(section.about),
    }


_NULL_PAGE = 0x1000
_POISON_FREE = 0x6B
"""slub_debug fills freed objects with this byte."""
_FREEING = (
    "kfree",
    "kmem_cache_free",
    "__slab_free",
    "set_freepointer",
    "___cache_free",
    "do_slab_free",
)
_SLUB_KINDS = (
    ("already free", Kind.DOUBLE_FREE),
    ("are to be freed", Kind.DOUBLE_FREE),
    ("Poison overwritten", Kind.USE_AFTER_FREE),
    ("Redzone", Kind.OUT_OF_BOUNDS),
    ("adding overwritten", Kind.OUT_OF_BOUNDS),
)


def is_poison(address: int | None) -> bool:
    """Is this address made of the bytes that fill freed memory?"""
    return address is not None and bytes([_POISON_FREE] * 4) in address.to_bytes(
        8, "little", signed=False
    )


def _kind(form: Form, body: Body, detail: dict[str, str]) -> Kind:
    kind = form.kind
    if kind is Kind.STACK_TRACE:
        return _kind_of_stack(body, detail)
    if kind in (Kind.BAD_POINTER, Kind.GENERAL_PROTECTION):
        pc = body.pc.address if body.pc else None
        if (
            is_poison(_address(detail, body))
            or is_poison(pc)
            or (
                kind is Kind.GENERAL_PROTECTION
                and "address" not in detail
                and any(map(is_poison, body.registers.values()))
            )
        ):
            return Kind.USE_AFTER_FREE
    if form.name == "slub":
        for words, better in _SLUB_KINDS:
            if words in detail.get("what", ""):
                return better
    if (
        form.name == "bug-at"
        and detail.get("file") == "mm/slub.c"
        and body.pc is not None
        and (plain(body.pc.function or "") in _FREEING)
    ):
        return Kind.DOUBLE_FREE  # the free list would point to itself
    if form.name == "double-fault" and _stack_ran_out(body):
        return Kind.STACK_OVERFLOW
    if kind in (Kind.BAD_POINTER, Kind.NULL_DEREFERENCE):
        if "instruction fetch" in detail.get("access", ""):
            return Kind.BAD_EXECUTION
        address = _address(detail, body)
        if address is not None and kind is Kind.BAD_POINTER and address < _NULL_PAGE:
            return Kind.NULL_DEREFERENCE
    return kind


_PUSHED = 0x1000
"""A push, a call or the entry of an interrupt writes at most this far below the stack pointer."""


def _stack_ran_out(body: Body) -> bool:
    """A double fault because nothing is mapped below the stack pointer, or by a recursion."""
    stack, fault = body.registers.get("rsp"), body.registers.get("cr2")
    # A stack pointer that is no kernel address did not run out: it was overwritten.
    own = stack is not None and bool(stack >> 63)
    if own and stack is not None and fault is not None and 0 <= stack - fault < _PUSHED:
        return True
    trace = main_trace(body)
    return trace is not None and cycle(trace.frames) is not None


_TRAPS: tuple[tuple[str, Kind], ...] = (
    (r"sysrq_handle_crash", Kind.USER_REQUESTED),
    (r"page_fault_oops|(?:__)?bad_area\w*|no_context|do_translation_fault", Kind.BAD_POINTER),
    (r"(?:asm_)?exc_general_protection|general_protection", Kind.GENERAL_PROTECTION),
    (r"(?:asm_)?exc_divide_error|divide_error", Kind.DIVIDE_ERROR),
    (r"__do_kernel_fault|die_kernel_fault", Kind.BAD_POINTER),
    (r"watchdog_timer_fn", Kind.SOFT_LOCKUP),
    (r"watchdog_overflow_callback|watchdog_hardlockup_check", Kind.HARD_LOCKUP),
    (r"out_of_memory", Kind.OOM),
    (r"check_hung_uninterruptible_tasks|check_hung_task", Kind.HUNG_TASK),
    (r"v?panic", Kind.PANIC),
)
"""What a stack without a header was printed for: who called the printing or the dumping."""


def _kind_of_stack(body: Body, detail: dict[str, str]) -> Kind:
    """A stack alone: the marks of a fault in it, and who is on the way to the report."""
    if "cr2" in detail:
        address = int(detail["cr2"], 16)
        return Kind.NULL_DEREFERENCE if address < _NULL_PAGE else Kind.BAD_POINTER
    names = [f.function for trace in body.traces for f in trace.frames if f.function and f.reliable]
    for pattern, kind in _TRAPS:
        if any(re.fullmatch(pattern, name) for name in names):
            return kind
    return Kind.STACK_TRACE


def _address(detail: dict[str, str], body: Body) -> int | None:
    text = detail.get("address", "")
    try:
        address = int(text, 16)
    except ValueError:
        return body.registers.get("cr2")
    return address if address < 1 << 64 else None


_PLAIN = {
    *("bug-at", "kernel-bug-at", "internal-bug", "fortify", "rust", "warning", "badness", "oops"),
    *(
        "circular",
        "recursive",
        "inversion",
        "irq-unsafe",
        "divide",
        "invalid-opcode",
        "double-fault",
    ),
    *("atomic-sched", "stack-protector", "oom", "oom-kill", "alloc-failure", "mce", "bad-page"),
}
"""Forms that are what their kind means first of all: the kind alone is in the signature."""


def _check(form: Form, kind: Kind, detail: dict[str, str]) -> str:
    """What tells this report from others of its kind in one function."""
    if form.alt or form.name in _PLAIN or form.name.startswith("panic") or kind is not form.kind:
        return ""
    name = form.name.removesuffix("-old").removeprefix(str(kind)).strip("-")
    what = detail.get("what", "") if form.name.startswith(("ubsan", "spinlock")) else ""
    return "-".join(filter(None, (name, what.replace(" ", "-"))))


def _faces(form: Form, kind: Kind) -> str:
    """The bug behind it: ``bad-access`` may show itself as an oops or as a KASAN report."""
    if form.alt and kind is form.kind:
        return form.alt[0].split(" in ")[0]
    return bug_class(kind)


_SYSRQ = "sysrq_handle_crash"


def _injected(frames: list[Frame]) -> bool:
    """Did an injected fault print its own stack into ours?"""
    return any(
        f.function and plain(f.function) in ("should_fail", "should_fail_ex") for f in frames
    )


def _mixed_with_injection(section: Section) -> bool:
    """Fault injection announced a stack of its own in the middle, without a caller to tell."""
    if section.caller is not None or section.form.name not in _ONLY_STACK:
        return False
    return any("FAULT_INJECTION: forcing" in r.text for r in section.records[section.at :])


def _named(detail: dict[str, str], body: Body, alone: bool) -> str | None:
    """The function in the header (or where it trapped, if there is no stack at all)."""
    names = [detail.get("named"), detail.get("function")]
    if "first" in detail and "second" not in detail:
        names.append(detail["first"])  # a race of which only one side is known
    if alone and body.pc is not None:
        names.append(body.pc.function)
    for name in filter(None, names):
        name = plain(re.split(r"[+ ]", name)[0])
        if not (is_generic(name) if alone else is_machinery(name)):
            return normalise(name)
    return None


def _unwinder(detail: dict[str, str], trace: Trace | None) -> str | None:
    """What KASAN caught while the kernel walked a stack: there may be none to show then."""
    name = plain(re.split(r"[+ ]", detail.get("named", ""))[0])
    if trace is not None and any(frame.reliable for frame in trace.frames):
        return None
    return normalise(name) if unwinds(name) else None


def _behind(pc: Frame | None, frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames without the program counter, which most print as the first of them again."""
    if pc is None or not frames or frames[0].function != pc.function:
        return tuple(frames)
    first = frames[0]
    if first.offset is None or pc.offset is None:
        # arm's callees have no offset; in symbolised text the line stands for it.
        both = first.file and pc.file
        differ = (first.file, first.line) != (pc.file, pc.line) if both else not first.reliable
    else:
        differ = first.offset != pc.offset
    return tuple(frames if differ else frames[1:])


def _where(trace: Trace) -> tuple[Frame, ...]:
    """Where another CPU was when it was asked for its stack."""
    return (trace.pc,) if trace.owner and trace.pc is not None and trace.pc.function else ()


def _module(
    section: Section, detail: dict[str, str], function: str | None, frames: Sequence[Frame]
) -> str | None:
    """The module of a function that only the header names, or of a stack without names."""
    match = re.search(r"\[([\w-]+)\]$", detail.get("named", ""))
    if match is not None:
        return match[1]
    if "module" in detail and "first" in detail:
        # A race has two sides.
        same = "second" not in detail or detail["module"] == detail.get("module2")
        return detail["module"] if same else None
    header = section.records[section.at].text
    if function is not None and "[" in header:
        named = rf"\b{re.escape(function)}(?:\.[\w.]+)?\+\S+ \[([\w-]+)"
        match = re.search(named, header)
        return match[1] if match else None
    return next((f.module for f in frames if f.module), None) if _nameless(frames) else None


def _nameless(frames: Sequence[Frame]) -> bool:
    """A stack of a kernel without kallsyms: addresses, and where these are in a module."""
    return len(frames) > 1 and not any(frame.function for frame in frames)


def _task(body: Body, detail: dict[str, str]) -> TaskRef | None:
    pid = _number(detail.get("pid"))
    if "by" in detail and pid is not None:
        return TaskRef(pid, detail["by"])  # not khungtaskd, who only says so
    return body.task


def _cpu(body: Body, detail: dict[str, str]) -> int | None:
    for key in ("cpu", "cpu2"):
        number = _number(detail.get(key))
        if number is not None:
            return number
    return body.cpu


def _number(text: str | None) -> int | None:
    """A pid or CPU; a number of a thousand digits is neither."""
    return int(text) if text and len(text) < 11 and text.isascii() and text.isdigit() else None


def _corruption(section: Section, body: Body, function: str | None) -> str | None:
    form = section.form
    if form.brief:
        return None
    if form.find == "stall" and body.in_user:
        return None  # a program has no kernel stack to print
    if section.beheaded:
        return "its beginning is missing from the log"
    if section.interrupted:
        return f"cut short: {section.interrupted}"
    if form.find == "none":
        return None if body.traces else "it has no stack"
    if form.name == "slab-tracking":
        return "only a part of a report"
    trace = main_trace(body)
    if trace is None or not (function or any(frame.reliable for frame in trace.frames)):
        return "it has no stack"
    if form.find != "race" and form.kind is not Kind.OOM and function is None:
        if _nameless(trace.frames):
            return "its kernel prints no names of functions (no kallsyms)"
        return "no function to blame in its stack"
    return None


def _titles(
    form: Form,
    detail: dict[str, str],
    function: str | None,
    write: Callable[[str], str] | None = None,
) -> tuple[str, tuple[str, ...]]:
    """The title and other titles that it goes by; ``write`` says how a detail stands in it."""
    write = write or tidy
    fields = _Fields(detail, write)
    fields["function"] = function or CORRUPTED
    fields["pair"] = " / ".join(
        normalise(detail[k].split("+")[0]) for k in ("first", "second") if k in detail
    )
    if "access" in detail:
        fields["access"] = detail["access"]
    for key in ("device", "device2"):  # an address is its name
        if key in detail:
            fields[key] = detail[key].strip()
    for key in ("bank", "order"):  # these numbers tell bugs apart
        if key in detail:
            fields[key] = detail[key]
    if fields["what"] == "double-free or invalid-free":
        fields["what"] = "invalid-free"  # the older wording for either
    if fields["tag"]:
        fields["tag"] = fields["tag"].strip("[ ")
    if form.name == "kasan" and "named" not in detail and "access" in detail:
        return "KASAN: {what} {access}".format_map(fields), ()
    if form.name == "kasan" and not fields["access"]:
        return write("KASAN: " + detail.get("rest", ""))[:120], ()
    if function is None and form.bare:
        return form.bare.format_map(fields), ()
    title = " ".join(form.title.format_map(fields).split())[:120]
    alts = tuple(alt.format_map(fields)[:120] for alt in form.alt)
    return title, alts


@cache
def _titled(form: Form, kind: Kind) -> Form:
    """The form that gives the title: that of the kind, where a stack told what it was for.

    A header gives the title in its own words: that a paging request was one of a NULL pointer
    is told by the kind.
    """
    if form.kind is not Kind.STACK_TRACE or kind is Kind.STACK_TRACE:
        return form
    known = (
        f
        for f in FORMS
        if f.kind is kind
        and "{function}" in f.title
        and f.find != "none"
        # panic() is not told by one of the faults that lead to it.
        and (kind is not Kind.PANIC or f.name.startswith("panic"))
    )
    return next((f for f in known if f.title.count("{") == 1), form)


class _Fields(dict[str, str]):
    """What a title may name; of the details only those are written that it asks for."""

    def __init__(self, detail: dict[str, str], write: Callable[[str], str]) -> None:
        super().__init__()
        self._detail, self._write = detail, write

    def __missing__(self, key: str) -> str:
        value = self._detail.get(key)
        self[key] = written = "" if value is None else self._write(value)
        return written


def _as_printed(text: str) -> str:
    """A detail with its numbers, for people."""
    return text.strip().rstrip(".").strip()


def tidy(text: str) -> str:
    """Numbers and addresses out of a message, so that titles of one bug are equal."""
    if ":" in text:
        text = PLACES.sub("", text)
    for pattern, new in _CLEAN:
        text = pattern.sub(new, text)
    text = re.sub(r"(?:Oops: )?(Fatal exception)(?: in interrupt|: panic_on_oops)?", r"\1", text)
    return text.strip().rstrip(".").strip()


def _type(form: Form, detail: dict[str, str]) -> str:
    """syzkaller's name for the sort of report."""
    if "{" not in form.type:
        return form.type
    what = detail.get("what", "")
    tool = form.type.split("-")[0]
    if "infoleak" in what:
        return f"{tool}-INFO-LEAK"
    if "invalid-free" in what:
        return f"{tool}-INVALID-FREE"
    if tool == "KMSAN" or ("free" in what and "use-after-free" not in what):
        return f"{tool}-{what.upper()}"
    access = detail.get("access", "Read").upper()
    if "use-after-free" in what:
        return f"{tool}-USE-AFTER-FREE-{access}"
    return f"{tool}-NULL-POINTER-DEREFERENCE-{access}" if "null-ptr" in what else f"{tool}-{access}"


def _signed(form: Form, detail: dict[str, str], title: str) -> str:
    """What a signature names where there is no function."""
    parts = [detail[k] for k in ("constraint", "order", "bank", "mcacod") if k in detail]
    if "first" in detail:
        parts = sorted(
            normalise(detail[k].split("+")[0]) for k in ("first", "second") if k in detail
        )
    text = " ".join([form.name, *parts]) if parts else title
    return re.sub(r"[^\w/]+", "-", text.lower()).strip("-")
