"""Which function is to blame, and what a bug is called for ever.

Used for stacks from a log and for stacks unwound from a dump alike: both give
the same answer for the same frames.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from postmortem.model.findings import Kind, Signature
from postmortem.model.frame import Frame
from postmortem.rules import machinery as rules
from postmortem.rules.alternatives import Alternatives
from postmortem.rules.families import family_of
from postmortem.rules.kinds import bug_class
from postmortem.rules.rust import demangle

SIGNATURE_FRAMES = 5
"""How many frames below the machinery the middle level of a signature has."""


@cache
def _pattern(name: str) -> Alternatives:
    text = rules.PARTLY[name] if name in rules.PARTLY else getattr(rules, name)
    return Alternatives(text.split())


@cache
def _elsewhere() -> tuple[Alternatives, tuple[tuple[str, Alternatives], ...]]:
    """All patterns at once, and by family."""
    families = tuple((name, text.split()) for name, text in rules.ELSEWHERE.items())
    every = Alternatives(pattern for _name, patterns in families for pattern in patterns)
    return every, tuple((name, Alternatives(patterns)) for name, patterns in families)


@cache
def _suffixes() -> re.Pattern[str]:
    return re.compile(rf"(?:{rules.SUFFIXES})+$")


@cache
def _replacements() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(f"(?:{pattern})"), new) for pattern, new in rules.PREFIXES)


@cache
def _aliases() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(f"(?:{pattern})$"), new) for pattern, new in rules.ALIASES)


@cache
def _renamed() -> re.Pattern[str]:
    """Any of the prefixes and aliases: most names have none."""
    prefixes = (pattern for pattern, _new in rules.PREFIXES)
    aliases = (f"(?:{pattern})$" for pattern, _new in rules.ALIASES)
    return re.compile("|".join(f"(?:{pattern})" for pattern in (*prefixes, *aliases)))


@lru_cache(maxsize=8192)
def normalise(name: str) -> str:
    """The name as the source has it: no compiler suffix, no wrapper prefix."""
    if name.startswith("_R"):
        return demangle(_suffixes().sub("", name))
    if "." in name or "$" in name:
        name = _suffixes().sub("", name) or name
    if _renamed().match(name) is None:
        return name
    for pattern, new in _replacements():
        match = pattern.match(name)
        if match is not None and match.end() < len(name):
            name = new + name[match.end() :]
    for pattern, new in _aliases():
        if pattern.match(name):
            return new
    return name


@lru_cache(maxsize=8192)
def plain(name: str) -> str:
    """The name without compiler suffixes only."""
    if name.startswith("__pfx_"):
        name = name[6:]
    if "." not in name and "$" not in name:
        return name
    return _suffixes().sub("", name) or name


@lru_cache(maxsize=8192)
def family(name: str) -> str:
    """What the function is by its source file (``lock``, ``allocator`` ...), else empty."""
    name = plain(name)
    known = family_of(name)
    if known:
        return known
    every, by_family = _elsewhere()
    if every.fullmatch(name) is None:
        return ""
    return next((f for f, pattern in by_family if pattern.fullmatch(name)), "")


def is_generic(name: str) -> bool:
    """Is this a function like memcpy(), that never says anything, not even alone?"""
    return family(name) in rules.GENERIC


@lru_cache(maxsize=8192)
def is_machinery(name: str, also: str = "") -> bool:
    """Is this function in stacks because of how the kernel works, not because of the bug?

    :param also: name of a further list in :mod:`postmortem.rules.machinery`.
    """
    name = plain(name)
    what = family(name)
    if what in rules.ALWAYS or (what and not family_of(name)):
        return True
    if what in rules.PARTLY and _pattern(what).fullmatch(name):
        return True
    return bool(also) and _pattern(also).fullmatch(name) is not None


def dispatches(frame: Frame) -> bool:
    """Does it only run what it was given? Then that is missing in the stack."""
    return _pattern("DISPATCHERS").fullmatch(plain(frame.function or "")) is not None


def unwinds(name: str) -> bool:
    """Does it walk stacks?"""
    return _pattern("UNWINDERS").fullmatch(plain(name)) is not None


@lru_cache(maxsize=8192)
def is_anchor(name: str) -> bool:
    """Does this function only dispatch to the one above it in the stack?"""
    return _pattern("ANCHORS").fullmatch(plain(name)) is not None


_STALLS = {Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL}
_HANGS = {Kind.HUNG_TASK}
_ALSO = {
    Kind.HUNG_TASK: "HANG_MACHINERY",
    Kind.SCHEDULING_WHILE_ATOMIC: "HANG_MACHINERY",
    Kind.OOM: "MEMORY_MACHINERY",
    Kind.ALLOCATION_FAILURE: "MEMORY_MACHINERY",
}
"""Lists in :mod:`postmortem.rules.machinery` that count for some kinds only."""
_RECURSION = 4
"""Calls of a function by itself, one after the other, that make a recursion."""


_IMAGES = 0xFFFFFFFF80000000
"""x86-64: code of the kernel and of its modules lies above."""


def guilty_frame(frames: Sequence[Frame], kind: Kind) -> Frame | None:
    """The frame to blame. ``frames`` start with the program counter, if there is one.

    None if code without a name stands before it: that may be the one.
    """
    found = _guilty_of_named(frames, kind)
    if found is None or all(frame.function for frame in frames):
        return found
    before = frames[: next(at for at, frame in enumerate(frames) if frame is found)]
    if kind in _STALLS:
        entered = [at for at, f in enumerate(before) if f.interrupted or enters(f)]
        before = before[entered[-1] :] if entered else before
    else:
        before = before[1:]  # a jump to where no code is: who jumped is to blame
    return None if any(_is_unnamed(frame) for frame in before) else found


def _is_unnamed(frame: Frame) -> bool:
    code = frame.address is not None and frame.address >= _IMAGES
    return code and frame.reliable and not frame.function


def enters(frame: Frame) -> bool:
    """Is it how an interrupt gets into the kernel?"""
    return bool(frame.function and _pattern("INTERRUPT_ENTRY").fullmatch(plain(frame.function)))


def _guilty_of_named(frames: Sequence[Frame], kind: Kind) -> Frame | None:
    candidates = [frame for frame in frames if frame.reliable and frame.function]
    if kind in _STALLS:
        loop = _after_fault(stalled(candidates))
        return _in_module(loop) or _anchored(loop, "STALL_MACHINERY")
    if kind is Kind.STACK_OVERFLOW:
        return _recursion(candidates) or _anchored(candidates, "")
    if kind in _HANGS:
        bucket = _bucket(candidates)
        if bucket is not None:
            return bucket
    if kind is Kind.OOM and any(normalise(f.function or "") in _USER_FAULTS for f in candidates):
        return None  # the memory was for a process, whatever the kernel copied just then
    also = _ALSO.get(kind, "")
    for frame in candidates:
        if not is_helper(frame, also):
            return frame
    return None if kind is Kind.OOM else _last_resort(candidates, kind)


def is_helper(frame: Frame, also: str = "") -> bool:
    """Is the frame's function machinery? One of a loadable module is that module's own."""
    assert frame.function is not None
    if frame.module and not _pattern("CORE_MODULES").fullmatch(frame.module):
        return False
    return is_machinery(frame.function, also)


_NEAR = 8
"""Frames within which the trap of a report stands."""
_SLEEPS = frozenset({"report", "scheduler", "lock", "deferred", "rcu"})
"""How a task sleeps says nothing about what it sleeps for."""


def _last_resort(frames: Sequence[Frame], kind: Kind) -> Frame | None:
    """All is machinery: then the innermost that neither reports nor brought the report about."""
    rest = list(frames)
    if kind in _ALSO:
        return next((f for f in rest if family(f.function or "") not in _SLEEPS), None)
    trap = _pattern("TRAPPED")
    trapped = any(trap.fullmatch(plain(frame.function or "")) for frame in rest[:_NEAR])
    passed = ("report", "entry") if trapped else ("report",)
    while rest and family(rest[0].function or "") in passed:
        rest.pop(0)
    return rest[0] if rest else None


_USER_FAULTS = {"do_user_addr_fault", "handle_mm_fault", "do_page_fault"}
_BUCKETS = {"synchronize_rcu", "rtnl_lock"}
"""What half the system waits for at once: who waits says nothing then."""


def _bucket(frames: Sequence[Frame]) -> Frame | None:
    for frame in frames:
        assert frame.function is not None
        if is_anchor(frame.function):
            return None
        if normalise(frame.function) in _BUCKETS:
            return frame
    return None


def stalled(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Without the interrupt that noticed the stall, if there is something else."""
    entry, detects = _pattern("INTERRUPT_ENTRY"), _pattern("STALL_DETECTION")
    noticed = False
    for index, frame in enumerate(frames):
        noticed = noticed or bool(frame.function and detects.fullmatch(plain(frame.function)))
        if noticed and frame.function and entry.fullmatch(plain(frame.function)):
            return frames[index + 1 :] or frames
    return frames


def _after_fault(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Without the page fault that a copy of user memory took: its handler is not the loop."""
    fault = _pattern("FAULT_ENTRY")
    for index, frame in enumerate(frames):
        name = frame.function or ""
        if fault.fullmatch(plain(name)):
            below = frames[index + 1 :]
            return below if any(not is_anchor(f.function or "") for f in below) else frames
        if family(name) != "memory" and not is_helper(frame, "STALL_MACHINERY"):
            return frames
    return frames


def _in_module(frames: Sequence[Frame]) -> Frame | None:
    """A loadable module that never lets go: of what it calls only the innermost counts."""
    for frame in frames:
        assert frame.function is not None
        if is_anchor(frame.function):
            return None
        if frame.module and not is_helper(frame, "STALL_MACHINERY"):
            return frame
    return None


_PERIOD = 4
"""Functions that call each other in a circle, at most."""


@dataclass(frozen=True)
class Cycle:
    """Functions that call each other without end."""

    functions: tuple[str, ...]
    """Innermost first; one that calls itself stands alone."""
    first: int
    """Index of the first frame of it."""
    count: int
    """How many frames are of it."""


def cycle(frames: Sequence[Frame]) -> Cycle | None:
    """The recursion in a stack, innermost frame first: the same few names again and again."""
    names = [frame.function for frame in frames]
    for period in range(1, _PERIOD + 1):
        run = 0
        for index in range(period, len(names) + 1):
            same = index < len(names) and names[index] and names[index] == names[index - period]
            if same:
                run += 1
                continue
            if run >= period * (_RECURSION - 1) and run >= _RECURSION:
                first = index - run - period
                once = [name or "" for name in names[first : first + period]]
                return Cycle(tuple(once), first, run + period)
            run = 0
    return None


def _recursion(frames: Sequence[Frame]) -> Frame | None:
    """A function that calls itself without end, itself or over others."""
    found = cycle(frames)
    if found is None:
        return None
    circle = frames[found.first : found.first + len(found.functions)]
    return next((frame for frame in circle if not is_helper(frame)), circle[0])


def _anchored(frames: Sequence[Frame], also: str) -> Frame | None:
    """It may be seen anywhere in a loop or recursion: blame what the dispatcher called."""
    previous: Frame | None = None
    for frame in frames:
        assert frame.function is not None
        if normalise(frame.function) == "smp_call_function":
            return frame  # it waits for another CPU: no matter for whom
        if previous is not None and is_anchor(frame.function):
            return None if dispatches(previous) else previous
        if not is_helper(frame, also):
            previous = frame
    return None if previous is not None and dispatches(previous) else previous


@lru_cache(maxsize=8192)
def stable(name: str) -> str:
    """The name for signatures: what differs between compilers is gone."""
    name = normalise(name)
    return name[4:] if name.startswith(rules.SYSCALL) and len(name) > 4 else name


def signature(
    kind: Kind, guilty: str | None, frames: Sequence[Frame], check: str = "", bug: str = ""
) -> Signature:
    """Three levels of "the same bug", from the guilty function and the stack.

    :param frames: the program counter and the stack, innermost first.
    :param check: which check of the kind it was (``refcount``), if it has a name.
    :param bug: what the coarse level groups by, if not what the kind does.
    """
    names = [stable(f.function) for f in frames if f.reliable and f.function and not f.inline]
    function = stable(guilty) if guilty else "unknown"
    start = names.index(function) if function in names else 0
    below = [name for name in names[start:] if not is_machinery(name)]
    suffix = f"-{check}" if check else ""
    return Signature(
        exact=f"{kind}{suffix}:{function}:{_hash(below)}",
        frames=f"{kind}{suffix}:{function}:{_hash(below[:SIGNATURE_FRAMES])}",
        coarse=f"{bug or bug_class(kind)}{suffix}:{function}",
    )


def _hash(names: Sequence[str]) -> str:
    return hashlib.sha1("\n".join(names).encode(), usedforsecurity=False).hexdigest()[:12]
