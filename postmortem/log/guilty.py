"""Where in a report the guilty function is: one small function per way of finding it.

``Form.find`` names the way. Each gives the frames to search, innermost first;
:func:`postmortem.rules.blame.guilty_frame` then skips the machinery.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from postmortem.log.body import Body, Trace
from postmortem.log.headers import Form
from postmortem.model.findings import Kind
from postmortem.model.frame import Frame
from postmortem.rules.blame import is_anchor, is_machinery, plain

_ABOUT_OTHERS = (
    "allocated",
    "freed",
    "last potentially",
    "second to last",
    "uninit was",
    "local variable",
    "page last",
    "->",
    "object allocated",
    "last call_rcu",
)


_NAMED = ("call trace", "stack backtrace", "backtrace", "trace")


def main_trace(body: Body) -> Trace | None:
    """The stack of the report itself, not where an object was allocated, not other CPUs."""
    own = [t for t in body.traces if not t.title.lower().startswith(_ABOUT_OTHERS)]
    named = [t for t in own if t.title.lower().startswith(_NAMED)]
    own = named or own
    for trace in own:
        if not trace.owner and trace.frames:
            return trace
    for trace in own:
        if trace.frames:
            return trace
    return None


def _with_pc(body: Body, nowhere: bool = False) -> list[Frame]:
    trace = main_trace(body)
    frames = list(trace.frames) if trace else []
    pc = trace.pc if trace is not None and trace.pc is not None else body.pc
    if pc is not None and pc.function and not nowhere:
        return [pc, *frames]
    if pc is not None and not any(frame.reliable for frame in frames):
        # It jumped to where no function is, and no unwinder gets back from there.
        return [replace(frame, reliable=True) for frame in frames]
    if pc is not None and body.link is not None and frames:
        return [body.link, *frames]  # it jumped to nowhere: the caller is known from LR
    return frames


def _trace(body: Body) -> list[Frame]:
    trace = main_trace(body)
    return list(trace.frames) if trace else []


def _scheduled(body: Body) -> list[Frame]:
    """What called the scheduler: above ``__schedule_bug()`` is how that reports, or panics."""
    frames = _trace(body)
    below = (n for n, frame in enumerate(frames) if frame.function == "__schedule_bug")
    return frames[next(below, -1) + 1 :]


def _first(body: Body) -> list[Frame]:
    """The first stack, also where a ``Call Trace`` of registers follows it."""
    for trace in body.traces:
        if trace.frames and not trace.title.lower().startswith(_ABOUT_OTHERS):
            return list(trace.frames)
    return []


def _witness(body: Body) -> list[Frame]:
    """The stack with the sanitizer in it: another CPU may have printed one in between."""
    for trace in body.traces:
        if any(f.function and "kasan" in f.function and f.reliable for f in trace.frames[:8]) and (
            not trace.title.lower().startswith(_ABOUT_OTHERS)
        ):
            return list(trace.frames)
    return _trace(body)


_FREES = re.compile(r"_*free_(?:unref_)?(?:pages?|folios)(?:_\w+)?|_*free_(?:pages_|page_is_)\w+")
_LATER = re.compile(
    r"free_pcppages_bulk|_*folios?_put\w*|_*put_page|release_pages|_*folio_batch_release"
    r"|_*pagevec_\w+|lru_add_drain\w*"
)
"""Whoever comes along empties a list, or drops the last reference: it was not his page."""
_NEAR = 5


def _page(body: Body) -> list[Frame]:
    """Who freed its page while it was in use; where others found that, who allocated it."""
    own = _trace(body)
    called = [frame for frame in own if frame.reliable] or own
    near = [plain(frame.function) for frame in called[:_NEAR] if frame.function]
    if any(map(_FREES.fullmatch, near)) and not any(map(_LATER.fullmatch, near)):
        return own
    for trace in body.traces:
        if trace.title.lower().startswith("page last allocated") and trace.frames:
            return list(trace.frames)
    return own


def _stall(body: Body) -> list[Frame]:
    """The stack of the CPU that stalled: the report's own, unless another CPU's was asked for."""
    best: list[Frame] = []
    for trace in body.traces:
        pc = [trace.pc] if trace.pc is not None and trace.pc.function else []
        frames = [*pc, *trace.frames]
        useful = [
            f
            for f in frames
            if f.reliable and f.function and not is_machinery(f.function, "STALL_MACHINERY")
        ]
        if useful and not _idle(frames):
            return frames
        best = best or frames
    return best


_IDLE = {
    "default_idle",
    "do_idle",
    "cpu_startup_entry",
    "arch_cpu_idle",
    "default_idle_call",
    "mwait_idle",
    "acpi_idle_enter",
    "cpuidle_enter",
    "rcu_gp_kthread",
    "rcu_gp_fqs_loop",
}


def _idle(frames: list[Frame]) -> bool:
    return any(frame.function in _IDLE for frame in frames if frame.reliable)


def _hang(body: Body) -> list[Frame]:
    for trace in body.traces:
        if trace.frames:
            return list(trace.frames)
    return []


def _lock(body: Body) -> list[Frame]:
    """Where the lock was taken; else the first that tells anything in all the stacks."""
    held = [frame for frame in body.held[:2] if frame.function and not is_anchor(frame.function)]
    if held and held[0].function and not is_machinery(held[0].function):
        return [*held[:1], *_trace(body)]
    chain = [frame for trace in body.traces for frame in trace.frames]
    return [*held, *(chain if not held else _trace(body))]


def _lock_taken(body: Body) -> list[Frame]:
    """Where the lock was taken; a lock that is merely held besides is not to blame."""
    return [*body.held[:1], *_trace(body)]


def _lock_order(body: Body) -> list[Frame]:
    """Where the lock was taken in interrupt context: the first stack that is shown."""
    if body.traces:
        return [*body.traces[0].frames, *_lock(body)]
    return _lock(body)


def _held(body: Body) -> list[Frame]:
    return [*body.held[:1], *_trace(body)]


def _released(body: Body) -> list[Frame]:
    for trace in body.traces:
        if trace.title.endswith(("at", "at:")) and trace.frames:
            return [*trace.frames, *_trace(body)]  # it may be the unlock function itself
    return [*body.held[:1], *_trace(body)]


def _inner_lock(body: Body) -> list[Frame]:
    return [*body.held[-1:], *_trace(body)]


def _nothing(body: Body) -> list[Frame]:
    return []


_WAYS: dict[str, Callable[[Body], list[Frame]]] = {
    "pc": _with_pc,
    "trace": _trace,
    "caller": _trace,
    "badpage": _page,
    "first": _first,
    "scheduled": _scheduled,
    "witness": _witness,
    "leak": _trace,
    "stall": _stall,
    "hang": _hang,
    "lock": _lock,
    "lock-changed": _lock,
    "lock-taken": _lock_taken,
    "lock-state": _held,
    "held": _held,
    "lock-order": _lock_order,
    "held-inner": _inner_lock,
    "released": _released,
}


def frames_of(form: Form, kind: Kind, body: Body, named: bool = True) -> list[Frame]:
    """The frames in which this kind of report has its guilty function.

    :param named: the header itself names the function, where ``find`` relies on that.
    """
    if form.find == "named" and not named:
        return _trace(body)
    if kind is Kind.BAD_EXECUTION and form.find == "pc":
        return _with_pc(body, nowhere=True)
    if form.skip:
        skip = re.compile(form.skip)
        frames = _WAYS[form.find](body)
        return [f for f in frames if not f.function or not skip.fullmatch(plain(f.function))]
    return _WAYS.get(form.find, _nothing)(body)
