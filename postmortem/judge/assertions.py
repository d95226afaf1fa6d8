"""What a report of a check or an oops says about whose doing it is."""

from __future__ import annotations

import re
from dataclasses import replace

from postmortem.model.findings import Confidence, Culprit, Evidence, Finding, Kind
from postmortem.model.report import Report
from postmortem.rules.blame import guilty_frame, plain
from postmortem.rules.kinds import explain, next_steps

_ATOMIC = re.compile(r"in_atomic\(\): (?P<atomic>\d+), irqs_disabled\(\): (?P<irqs>\d+)")
_COUNT = re.compile(r"preempt_count: (?P<count>[0-9a-f]{1,8})\b")
_OUT_OF_TREE = re.compile(r"\b(?P<name>\w{1,60})\((?:[A-Z]*)[OP][A-Z]*[+-]?\)")
"""How ``Modules linked in:`` marks what did not come with the kernel."""
_ALLOCATOR = re.compile(
    r"_*k(?:m|z)alloc(?:_\w+)?|_*kmem_cache_alloc\w*|_+slab_alloc\w*|get_freepointer\w*"
    r"|_*kmalloc_node\w*|_+slab_free|kmem_cache_free\w*|_*kmalloc_noprof|deactivate_slab|get_partial_node"
)
"""Functions of mm/slub.c that follow the list of free objects."""


_POINTERS = frozenset(
    {Kind.GENERAL_PROTECTION, Kind.BAD_POINTER, Kind.USE_AFTER_FREE, Kind.MEMORY_CORRUPTION}
)


def told(finding: Finding, report: Report) -> Finding:
    """An oops or a failed check with what its own lines say of it."""
    if report.kind is Kind.SCHEDULING_WHILE_ATOMIC:
        return _atomic(finding, report)
    if report.form == _TX_TIMEOUT:
        return _tx_timeout(finding, report)
    if report.kind in (Kind.WARNING, Kind.BUG):
        return _check(finding, report)
    if report.form == "slub" and report.kind in _FOUND_LATER:
        return _found_later(finding, report)
    if report.kind in _POINTERS:
        return _freelist(finding, report)
    return finding


_FOUND_LATER = frozenset({Kind.OUT_OF_BOUNDS, Kind.USE_AFTER_FREE})
_ALLOCATED = re.compile(r"\s*(?:INFO: )?Allocated in (?P<function>[\w.]+)\+0x")
_LINES = 40


def _found_later(finding: Finding, report: Report) -> Finding:
    """Damage around an object that SLUB saw when somebody allocated or freed it: it was done
    before, by whoever."""
    cache, what = report.detail.get("cache", "a cache"), report.detail.get("what", "damage")
    how = (
        "somebody wrote to an object past its end, or before its beginning"
        if report.kind is Kind.OUT_OF_BOUNDS
        else "somebody wrote to an object after it was freed"
    )
    by = finding.culprit.function
    seen = f" {by}() only gave the occasion to look." if by else ""
    made = next(filter(None, map(_ALLOCATED.match, report.text[:_LINES])), None)
    evidence = finding.evidence
    if made is not None:
        said = f"the object was allocated in {made['function']}()"
        evidence = (*evidence, Evidence(said, "the report"))
        step = f"Look at all that writes to what {made['function']}() allocates;"
    else:
        step = "Find out what the object is;"
    return replace(
        finding,
        explanation=f"SLUB checked an object of {cache} and found: {what}: {how}.{seen}",
        confidence=Confidence.POSSIBLE,
        evidence=evidence,
        next_steps=(f"{step} KASAN, or slub_debug=FZPU, shows who writes.",),
    )


_TX_TIMEOUT = "netdev-watchdog"


def _tx_timeout(finding: Finding, report: Report) -> Finding:
    """An adapter that does not send any more: the WARN() is only how the kernel says so."""
    device, driver = report.detail.get("device", "a device"), report.detail.get("driver")
    of = f" ({driver})" if driver else ""
    return replace(
        finding,
        explanation=f"The adapter {device}{of} did not send: dev_watchdog() only noticed it.",
        culprit=Culprit(module=driver),
        confidence=Confidence.LIKELY,
        next_steps=(
            "Look for PCI errors and power saving (ASPM, EEE) before it; try without offloads"
            " (TSO); firmware.",
        ),
    )


_HISTORY = re.compile(r"(?P<what>allocated|freed) (?:by|in) ", re.I)
"""How the stacks of an object's life are headed in the reports of KASAN, KFENCE and SLUB."""


def with_history(finding: Finding, report: Report) -> Finding:
    """Who allocated and who freed the object that a checker's report is about."""
    evidence = []
    for stack in report.stacks:
        match = _HISTORY.match(stack.title)
        frame = guilty_frame(stack.frames, report.kind) if match is not None else None
        if match is None or frame is None or frame.function is None:
            continue
        module = f" [{frame.module}]" if frame.module else ""
        said = f"the object was {match['what'].lower()} in {frame.function}(){module}"
        evidence.append(Evidence(said, f"log line {stack.line}"))
    return replace(finding, evidence=(*finding.evidence, *evidence[:2]))


def _atomic(finding: Finding, report: Report) -> Finding:
    """What forbids to sleep: the kernel prints its counters."""
    flags = next(filter(None, map(_ATOMIC.search, report.text[:8])), None)
    counted = next(filter(None, map(_COUNT.search, report.text[:8])), None)
    if flags is None:
        return finding
    count = int(counted["count"], 16) if counted is not None else int(flags["atomic"])
    if int(flags["irqs"]) and not count:
        why = "interrupts were off, and no spinlock was counted"
        step = "Look for the local_irq_save() or spin_lock_irq() that a caller has not undone."
    elif int(flags["irqs"]):
        why = "interrupts were off and preemption was disabled"
        step = "Look for the spin_lock_irqsave() that the callers still hold."
    else:
        why = "preemption was disabled: a spinlock is held, or preempt_disable() was called"
        step = "Look for the spin_lock() or preempt_disable() that the callers have not undone."
    return replace(
        finding,
        explanation=f"{finding.explanation} It may not sleep there, because {why}.",
        evidence=(*finding.evidence, Evidence(f"{flags[0]}: {why}", f"log line {report.line + 1}")),
        next_steps=(step,),
    )


_PLACE = re.compile(r"WARNING: .{0,120}? at [^\s:]{1,200}:\d{1,6} (?P<function>[\w.]{1,200})\+0x")


def _place_of(report: Report) -> str | None:
    """The function that the header names, where the registers do not."""
    found = next(filter(None, map(_PLACE.search, report.text[:8])), None)
    return found["function"] if found is not None else None


def _check(finding: Finding, report: Report) -> Finding:
    """A helper that only asserts is not to blame: its caller failed the check."""
    place = report.pc.function if report.pc is not None else report.detail.get("named")
    place = place or _place_of(report)
    function = finding.culprit.function
    if not place or not function or plain(place).split("+")[0] == function:
        return finding
    if report.detail.get("file") is None:
        general = explain(report.kind, function)
        said = f"{function}() failed a check that {plain(place)}() makes."
        return replace(finding, explanation=finding.explanation.replace(general, said, 1))
    check = f"{plain(place)}() at {report.detail['file']}:{report.detail.get('lineno', '?')}"
    return replace(
        finding,
        explanation=f"{function}() failed a check that {check} makes.",
        culprit=replace(finding.culprit, file=None, line=None),
        evidence=(*finding.evidence, Evidence(f"the check stands in {check}", "header of it")),
        next_steps=(f"Read the condition of the check, {check}, and what {function}() does.",),
    )


def _freelist(finding: Finding, report: Report) -> Finding:
    """An allocator that trips over its list of free objects: somebody else overwrote it."""
    place = plain(report.pc.function) if report.pc is not None and report.pc.function else ""
    if not _ALLOCATOR.fullmatch(place):
        return finding
    names = sorted({m["name"] for text in report.text for m in _OUT_OF_TREE.finditer(text)})
    suspects = ""
    if names:
        suspects = (
            f" Suspect first what is not part of the kernel: {', '.join(names[:4])}"
            " (loaded, which proves nothing yet)."
        )
    asker = report.function
    asked = f" {asker}() only asked for memory." if asker and asker != place else ""
    return replace(
        finding,
        kind=Kind.MEMORY_CORRUPTION,
        title=f"slab freelist corrupted: {report.title.partition(' in ')[0]} in {place}",
        explanation=(
            f"{place}() followed the list of free slab objects, and a pointer in it was"
            " overwritten: a free object was written to, by a use after free or a write past the"
            f" end of its neighbour.{asked} Who wrote is not known.{suspects}"
        ),
        culprit=Culprit(task=None, cpu=finding.culprit.cpu),
        confidence=Confidence.LIKELY,
        next_steps=next_steps(Kind.MEMORY_CORRUPTION),
    )
