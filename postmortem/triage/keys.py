"""What a case is grouped by: its signature, and what the verdict knows beyond it.

A signature is that of the report, the same from a log and from a dump. The key here forgives what
differs although the bug is the same (which detector fired first, what an interrupt came into, how
the way into the kernel is called), and tells apart what has the same stack (who holds the lock that
all wait for). Where a dump knows more than a log can, their keys differ; the log of the same
crash is in the dump's bucket all the same (:mod:`postmortem.triage.books`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from postmortem.model.findings import Culprit, Kind, Signature
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.blame import SIGNATURE_FRAMES, enters, is_machinery, plain, stable
from postmortem.rules.kinds import bug_class

_PLACELESS = frozenset({Kind.NMI, Kind.OOM})
"""Where it was noticed says nothing: an NMI comes anywhere, memory lacks whoever asks first."""
_WAY = re.compile(r"(?:arch_do_signal|do_signal|exit_to_user_mode|syscall_exit_to|irqentry_)\w*")
"""The way into and out of the kernel, which each kernel calls differently."""
_INTERRUPTS = ("irq", "softirq", "nmi")
_ANYWAY = "bad-access"
"""A class of kinds whose checks notice the same damage, one or the other."""


def bug_key(
    signature: Signature | None, culprit: Culprit, behind: str, report: Report | None
) -> str | None:
    """The key of the grouping's version 2.

    :param culprit: of the finding, not of what broke on it.
    :param behind: what the finding knows of the cause beyond the stack.
    :param report: in the log, of which the signature is if it is of any.
    """
    if signature is None:
        return None
    head, function, digest = _parts(signature)
    if behind.startswith(("circle", "device")):
        return f"{head}:{behind}"
    blamed = stable(culprit.function) if culprit.function else function
    if blamed != function and not behind:
        return f"{head}:{blamed}:behind it"
    kind = _kind(signature.frames)
    if kind is Kind.ROOT_MOUNT:
        return head
    if kind in _PLACELESS:
        return f"{head}:{function}"
    if report is not None:
        digest = _digest(report, signature, function) or digest
    return ":".join(filter(None, (head, function, digest, behind)))


def _parts(signature: Signature) -> tuple[str, str, str]:
    """Class of the kind with the check's name, function, digest of the frames."""
    head, _, rest = signature.frames.partition(":")
    function, _, digest = rest.rpartition(":")
    kind = _kind(signature.frames)
    if kind is None or digest == _hash([]):
        return head, function, digest  # what is forgiven must be made good by the stack
    found = bug_class(kind)
    check = head[len(kind) :]
    return (found if found == _ANYWAY else f"{found}{check}"), function, digest


@lru_cache(maxsize=256)
def _kind_of_head(head: str) -> Kind | None:
    """``warning-refcount`` is a warning; of two names that fit the longer one is meant."""
    fits = [kind for kind in Kind if head == str(kind) or head.startswith(f"{kind}-")]
    return max(fits, key=lambda kind: len(str(kind)), default=None)


def _kind(frames: str) -> Kind | None:
    return _kind_of_head(frames.partition(":")[0])


def _digest(report: Report, signature: Signature, function: str) -> str | None:
    """Of the frames of the bug alone; ``None`` if the signature is of other frames."""
    for frames in (report.frames, (report.pc, *report.frames)):
        named = [f for f in frames if f and f.reliable and f.function and not f.inline]
        names = [stable(f.function or "") for f in named]
        start = names.index(function) if function in names else 0
        below = [name for name in names[start:] if not is_machinery(name)]
        if signature.frames.endswith(":" + _hash(below[:SIGNATURE_FRAMES])):
            return _hash(_own(named[start:])[:SIGNATURE_FRAMES])
    return None


def _own(frames: Sequence[Frame]) -> list[str]:
    """What belongs to the bug: not what an interrupt came into, nor the way into the kernel."""
    found: list[str] = []
    segment = "task"
    for frame in frames:
        if enters(frame) or (segment in _INTERRUPTS and frame.segment == "task"):
            break
        segment = frame.segment
        name = stable(frame.function or "")
        if is_machinery(name) or _WAY.fullmatch(plain(name)):
            continue
        name = name.lstrip("_")
        if not found or found[-1] != name:  # a wrapper and what it wraps
            found.append(name)
    return found


def _hash(names: Sequence[str]) -> str:
    return hashlib.sha1("\n".join(names).encode(), usedforsecurity=False).hexdigest()[:12]
