"""Rows of the store as Python reads them: plain values, without a database."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bucket:
    """A row of ``bucket``: what one bug left."""

    id: str
    version: int
    key: str
    generation: int
    successor_of: str | None
    state: str
    fixed_in: tuple[str, ...]
    title: str
    shown: str
    kind: str
    function: str | None
    module: str | None
    best_case: str
    cases: int
    crashes: int
    hosts: int
    first: int | None
    last: int | None
    created_run: int
    seen_run: int


@dataclass(frozen=True)
class StoredCase:
    """A row of ``cases``."""

    id: str
    input_id: str
    part: int
    state: str
    kind: str
    title: str
    shown: str
    summary: str
    confidence: str
    function: str | None
    module: str | None
    line: int | None
    source: str
    time: int | None
    time_from: str
    host: str | None
    release: str | None
    arch: str | None
    model: str | None
    firmware: str | None
    uptime: float | None
    features: tuple[tuple[str, str], ...]
    terms: tuple[tuple[str, float], ...]
    incident: str | None
    leads: bool
    rank: str
    bucket_id: str | None
    run_id: int


@dataclass(frozen=True)
class StoredInput:
    """A row of ``input``."""

    id: str
    name: str
    state: str
    reason: str | None
    kind: str | None
    format: str | None
    size: int
    complete: bool | None
    problems: tuple[tuple[str, str], ...]
    program: str
    seconds: float | None
    run_id: int


@dataclass(frozen=True)
class Run:
    """A row of ``run``."""

    id: int
    started: int
    ended: int | None
    state: str
    program: str
    machine: str
    arguments: tuple[str, ...]
    found: int
    known: int
    analysed: int
    failed: int


@dataclass(frozen=True)
class Seen:
    """What a name held when it was last read."""

    size: int
    changed: int
    input_id: str


@dataclass(frozen=True)
class Totals:
    """How much is in the store."""

    inputs: int
    cases: int
    buckets: int
    unsorted: int
    calm: int
    failed: int
    """Inputs that are not analysed."""


_JSON = {"fixed_in", "features", "terms", "problems", "arguments"}


def read_row(cls: Any, row: Any) -> Any:
    """A row as its dataclass; lists of lists are tuples again."""
    values = {}
    for name, value in row._mapping.items():
        if name in _JSON:
            value = tuple(tuple(v) if isinstance(v, list) else v for v in json.loads(value))
        values[name] = value
    return cls(**values)


def name_id(name: str) -> str:
    """The key of a file's name, which may be longer than a database indexes."""
    return hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()


def printable(name: str) -> str:
    """A file's name as text that every database takes; bytes that are no UTF-8 as ``\\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace").replace("\0", "�")
