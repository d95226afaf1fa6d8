"""What one input gives to the store: plain data, made in a worker, that needs no database.

An :class:`Outcome` is all of one input; its :class:`CaseRow` are the crashes that it tells of:
one for a dump, one for each boot that failed in a log, one that is *calm* where nothing did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from postmortem.model.findings import Signature


class InputState(str, Enum):
    """What became of an input."""

    ANALYSED = "analysed"
    FAILED = "failed"
    """It is a dump or a log, and could not be analysed: it ended the worker, took too long ..."""
    REFUSED = "refused"
    """It is neither, can't be read, or breaks a limit: nothing was analysed."""

    def __str__(self) -> str:
        return self.value


class CaseState(str, Enum):
    """Where a case is listed."""

    BUCKET = "bucket"
    UNSORTED = "unsorted"
    """Something broke, but what is left tells it from nothing else."""
    CALM = "calm"
    """Nothing was found that is wrong."""

    def __str__(self) -> str:
        return self.value


FEATURES = (
    *("host", "release", "arch", "model", "firmware", "taint", "module", "option"),
    *("told", "day"),
)
"""The names of what is counted for each bucket and for all cases (table ``tally``).

``taint`` is a letter, ``module`` a loaded one, ``option`` a word of the kernel's command line,
``told`` is ``module``, ``option`` or ``taint`` where the list of these is known, be it empty;
``day`` a UTC date.
"""
MAX_VALUE = 120
"""Characters of a feature's value; longer ones are cut."""


@dataclass(frozen=True)
class ReportRow:
    """One report in a log."""

    number: int
    kind: str
    title: str
    function: str | None
    module: str | None
    line: int
    boot: int
    seconds: float | None
    consequence_of: int | None
    count: int
    signature: Signature | None


@dataclass(frozen=True)
class CaseRow:
    """One crash as one input tells of it."""

    part: int
    """0, or the number of the boot in a log of several crashes."""
    state: CaseState
    """``BUCKET`` if the signature tells it from others."""
    kind: str
    title: str
    shown: str
    summary: str
    confidence: str
    function: str | None
    module: str | None
    line: int | None
    source: str
    signature: Signature | None
    bug: str | None
    """The key of :func:`postmortem.triage.keys.bug_key`."""
    time: int | None
    """Seconds since the epoch."""
    time_from: str
    """dump, log, file (it was last written then: the crash was before), unknown."""
    host: str | None
    release: str | None
    arch: str | None
    model: str | None
    firmware: str | None
    uptime: float | None
    features: tuple[tuple[str, str], ...]
    """Pairs of a name of :data:`FEATURES` and a value."""
    terms: tuple[tuple[str, float], ...]
    """Words and weights for ``similar``."""
    incident: str | None
    """Two inputs that show the same crash have the same."""
    rank: str
    """The greater, the better an example: sorts as text."""

    def keys(self) -> dict[str, str]:
        """Keys by level; none if nothing tells the case from others."""
        if self.signature is None:
            return {}
        found = self.signature
        levels = {"exact": found.exact, "frames": found.frames, "coarse": found.coarse}
        return {**levels, "bug": self.bug or found.frames}


@dataclass(frozen=True)
class Outcome:
    """All that one input gave."""

    id: str
    """Hash of the content."""
    names: tuple[str, ...]
    """Its files' names; the first is shown."""
    state: InputState
    reason: str | None = None
    kind: str | None = None
    format: str | None = None
    size: int = 0
    complete: bool | None = None
    problems: tuple[tuple[str, str], ...] = ()
    program: str = ""
    seconds: float | None = None
    document: bytes | None = None
    """The analysis as JSON (docs/json.md), compressed by zstd."""
    cases: tuple[CaseRow, ...] = ()
    reports: tuple[ReportRow, ...] = ()


def case_id(input_id: str, part: int) -> str:
    """24 characters of the content's hash, and the part if there are several.

    So many that nobody can make two inputs whose ids are equal.
    """
    return f"{input_id[:24]}.{part}" if part else input_id[:24]


def content_id(parts: Iterable[str]) -> str:
    """The identity of an input of several files: it does not depend on their order or names."""
    hashes = sorted(set(parts))
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.blake2b("\n".join(hashes).encode(), digest_size=16).hexdigest()


def storable(text: str, limit: int = 4000) -> str:
    """Text that every database takes: no NUL, no lone surrogate, no more than ``limit``."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    clean = cut.replace("\0", "�")
    return clean if clean.isascii() else clean.encode("utf-8", "replace").decode("utf-8")
