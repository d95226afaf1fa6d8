"""The process that analyses inputs for a triage, one after the other.

Started by :mod:`postmortem.triage.workers` as ``python -m postmortem.triage.worker FD FD FD``. It
holds no database. Whatever an input does to this process (a crash of a C library, memory, time)
costs that input only: the other side sees it and starts another process.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from postmortem.errors import PostmortemError, UnknownInputError
from postmortem.steps import Page, supervised
from postmortem.triage.model import InputState, Outcome, content_id, storable
from postmortem.triage.tasks import Item, Job, Probed, Work

READY = "ready"
"""Said once everything is imported: that is no input's time."""
if TYPE_CHECKING:
    from postmortem.model.findings import Problem
    from postmortem.plugin import Plugin

_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)
_GROWN_BYTES = 384 << 20
"""Of memory of its own, after which a worker is replaced: no case needs what is left of others."""


def main(arguments: list[str]) -> int:
    """Answer what comes until the other side is gone."""
    import postmortem.triage.facts  # noqa: F401
    from postmortem.cli.supervisor import die_with

    channel, alive, page, parent, memory = map(int, arguments)
    die_with(parent, alive)
    if memory:
        limit_memory(memory)
    shared = Page(page)
    connection = Connection(channel)
    with suppress(EOFError, OSError):
        connection.send(READY)
        while True:
            job: Job = connection.recv()
            for item in job.items:
                supervised(shared, dict(job.left_out))
                connection.send(done(job.work, item))
            if job.last or has_grown():
                connection.send(None)
                return 0
            connection.send(True)
    return 0


def limit_memory(size: int) -> None:
    """No more data than this; a step that wants more is given up, see steps.py."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def has_grown() -> bool:
    from postmortem.budget import data_bytes

    return (data_bytes() or 0) > _GROWN_BYTES


def done(work: Work, item: Item) -> Probed | Outcome:
    """What was asked for; every way in which it can fail is an answer, too."""
    try:
        return _WORK[work](item)
    except PostmortemError as error:
        state = InputState.REFUSED if isinstance(error, UnknownInputError) else InputState.FAILED
        return _failed(item, state, str(error))
    except MemoryError:
        return _failed(item, InputState.FAILED, "it wants more memory than it may have")
    except OSError as error:
        return _failed(item, InputState.FAILED, f"it can't be read: {error.strerror or error}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a step that was given up, or a defect of ours
        why = f"{type(error).__name__}: {str(error)[:200]}"
        return _failed(item, InputState.FAILED, f"a defect of postmortem, please report it: {why}")


def _failed(item: Item, state: InputState, reason: str) -> Outcome:
    from postmortem.triage.facts import failed

    for path, name in zip(item.paths, item.names, strict=False):
        reason = reason.replace(path, name)
    return failed(item.content or unread_id(item), item.names, state, reason, item.size)


def unread_id(item: Item) -> str:
    """The identity of an input that could not be read: its name, size and time."""
    pairs = zip(item.names, item.files, strict=False)
    words = [f"{name}\0{file.size}\0{file.changed}" for name, file in pairs]
    text = "\n".join(("unread", *words))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


# --- what it can do -------------------------------------------------------------------


def probe(item: Item) -> Probed | Outcome:
    """What it is, and the hash of its content. What is neither dump nor log is not read whole."""
    paths = _recognised(item)
    return Probed(content_id(map(content_hash, paths)))


def _recognised(item: Item) -> Iterable[str]:
    """All files that are one with the given ones: the parts of a split dump find each other."""
    from postmortem.inputs.folder import case_in
    from postmortem.inputs.recognise import recognise
    from postmortem.inputs.text import is_pstore_directory

    opened = Path(item.opened)
    if opened.is_dir():
        if is_pstore_directory(opened):
            return item.paths
        what = case_in(opened)
        beside = what.beside
        return [str(p) for p in (*what.paths, beside.log, *beside.kernels) if p is not None]
    return [str(path) for path in recognise([opened]).paths]


def content_hash(path: str) -> str:
    """Of what is in a file. Blocks of zeros are counted, not read: dumps are full of holes."""
    digest = hashlib.blake2b(digest_size=16)
    zeros = 0
    with Path(path).open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            data_at = _next_data(file.fileno(), at, size)
            holes = (data_at - at) // _BLOCK
            zeros += holes
            at += holes * _BLOCK
            block = os.pread(file.fileno(), _BLOCK, at)
            if not block:
                break
            at += len(block)
            if block == _ZEROS:
                zeros += 1
                continue
            if zeros:
                digest.update(b"zeros %d\n" % zeros)
                zeros = 0
            digest.update(block)
    digest.update(b"zeros %d size %d" % (zeros, at))
    return digest.hexdigest()


def _next_data(fd: int, at: int, size: int) -> int:
    """Where something is written at or after ``at``; the size if nothing is."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        import errno

        return size if error.errno == errno.ENXIO else at


@cache
def plugins() -> tuple[tuple[Plugin, ...], list[Problem]]:
    """Looked for once: that takes as long as a fifth of a small log."""
    from postmortem.plugin.discovery import discover

    found, problems = discover(())
    return tuple(found), problems


def analyse(item: Item) -> Outcome:
    """Analyse it."""
    import postmortem
    from postmortem.render.json import document
    from postmortem.triage.facts import outcome
    from postmortem.triage.store_document import pack

    with postmortem.open(item.opened) as case:
        case.plugins, problems = plugins()
        case.problems.extend(problems)
        analysis = case.analyze()
        last = case.log_end
    # Where it lies for the moment, and how long it took, is no part of the answer.
    about = replace(analysis.input, path=storable(item.names[0]))
    data = pack(document(replace(analysis, input=about, timings={})))
    return outcome(analysis, item.content or unread_id(item), item.names, data, last)


def whole(item: Item) -> Probed | Outcome:
    """Both at once, for what has to be fetched first."""
    from postmortem.triage.remote import fetched

    with fetched(item) as here:
        content = probe(here)
        if isinstance(content, Outcome):
            return content
        return analyse(replace(here, content=content.content))


_WORK: dict[Work, Callable[[Item], Probed | Outcome]] = {
    Work.PROBE: probe,
    Work.ANALYSE: analyse,
    Work.WHOLE: whole,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
