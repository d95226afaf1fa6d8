"""One triage: what is there, what of it is new, and what workers find in that, into the store.

The store is the only memory. A run that ends in the middle loses what was not written yet, at most
:data:`SECONDS` of work, and the next one does that again: an input counts when its transaction is
through, with all its cases, and never twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from postmortem.triage.archives import Unpacked, private_folder, shown_problem, unpack_all
from postmortem.triage.facts import failed
from postmortem.triage.inputs import Archive, Found, in_folder, is_url, renamed, walk
from postmortem.triage.model import InputState, Outcome
from postmortem.triage.rows import Seen
from postmortem.triage.store import Store
from postmortem.triage.tasks import Answer, Counted, Item, Probed, Work
from postmortem.triage.worker import content_hash
from postmortem.triage.workers import Workers

SECONDS = 1.0
"""What is done is written at least so often."""
PORTION = 200
"""Or when so many inputs are done."""
_SMALL = 1 << 20
_TOGETHER = 32
"""Small items that one worker gets at once."""
_LOOK_UP = 256

Watch = Callable[[Counted], None]


@dataclass
class _Batch:
    """What is done and not yet written."""

    outcomes: list[Outcome] = field(default_factory=list)
    names: list[tuple[str, Seen]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        if len(self.outcomes) + len(self.names) >= PORTION:
            return True
        return bool(self.outcomes or self.names) and time.monotonic() - self.since > SECONDS


class Triage:
    """One run over a pile."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        run_id: int,
        *,
        again: bool = False,
        retry: bool = False,
        watch: Watch | None = None,
        told: Callable[[Outcome], None] | None = None,
    ) -> None:
        """
        :param again: analyse what is known, too.
        :param retry: analyse again what failed.
        :param watch: is told how far it is.
        :param told: is told each new outcome, once it is written.
        """
        self.counted = Counted(started=time.monotonic())
        self._store, self._workers, self._run = store, workers, run_id
        self._again, self._retry = again, retry
        self._watch = watch or (lambda counted: None)
        self._told = told or (lambda outcome: None)
        self._batch = _Batch()
        self._under_way = 0
        self._to_analyse: list[Item] = []
        self._asked: set[str] = set()
        """Contents that a worker has now: the same in another file is not done twice."""
        self._twins: dict[str, list[Item]] = {}
        self._stack = ExitStack()

    def run(self, paths: Iterable[str]) -> Counted:
        """Work off all that is below the paths."""
        with self._stack:
            for portion in _portions(walk(paths), _LOOK_UP):
                self._take(portion)
            self.counted.listed = True
            self._drain()
            self._write()
        self._watch(self.counted)
        return self.counted

    def _drain(self) -> None:
        """Wait for all that is under way."""
        while self._under_way or self._to_analyse:
            self._send_analyses(all_of_them=True)
            self._collect()

    # --- in ---------------------------------------------------------------------------

    def _take(self, portion: list[Found]) -> None:
        portion = [found for found in portion if not self._is_store(found)]
        items = [found for found in portion if isinstance(found, Item)]
        self._probe(self._unknown(items))
        for found in portion:
            if isinstance(found, Outcome):
                self._refuse(found)
            elif isinstance(found, Archive):
                self._unpack(found)

    def _is_store(self, found: Found) -> bool:
        """The store may lie in the pile itself, with what SQLite keeps beside it."""
        name = found.name if isinstance(found, Archive) else found.names[0]
        store = self._store.file
        return store is not None and name in {f"{store}{end}" for end in ("", "-wal", "-shm")}

    def _refuse(self, found: Outcome) -> None:
        self.counted.found += 1
        if self._store.known([found.id]) and not self._again:
            self.counted.known += 1
            return
        self._count(found)
        self._batch.outcomes.append(found)

    def _unknown(self, items: list[Item]) -> list[Item]:
        """Without those whose files are as they were when they were last read."""
        self.counted.found += len(items)
        if self._again:
            return items
        seen = self._store.seen([name for item in items for name in item.names])
        new = [item for item in items if not _as_it_was(item, seen)]
        if self._retry and len(new) < len(items):
            ids = {seen[item.names[0]].input_id for item in items if item.names[0] in seen}
            bad = {i for i, s in self._store.known(ids).items() if s == InputState.FAILED}
            new += [
                item for item in items if item not in new and seen[item.names[0]].input_id in bad
            ]
        self.counted.known += len(items) - len(new)
        return new

    def _probe(self, items: list[Item]) -> None:
        here = [item for item in items if not item.remote]
        for some in _bundles(here):
            self._submit(Work.PROBE, some)
        for item in items:
            if item.remote:
                self._submit(Work.WHOLE, (item,))

    def _submit(self, work: Work, items: tuple[Item, ...]) -> None:
        while self._under_way >= self._workers.capacity * _TOGETHER:
            self._send_analyses()
            self._collect()
        self._under_way += len(items)
        self._workers.submit(work, items)
        self._send_analyses()

    def _send_analyses(self, *, all_of_them: bool = False) -> None:
        """Give workers what was probed, in bundles while there is enough."""
        enough = sum(item.size for item in self._to_analyse) >= _SMALL
        if not self._to_analyse or not (all_of_them or enough or len(self._to_analyse) > 7):
            return
        items, self._to_analyse = self._to_analyse, []
        for some in _bundles(items):
            self._under_way += len(some)
            self._workers.submit(Work.ANALYSE, some)

    # --- out --------------------------------------------------------------------------

    def _collect(self) -> None:
        """Take what workers have done."""
        probed: list[Answer] = []
        for answer in self._workers.answers(0.2):
            self._under_way -= 1
            if isinstance(answer.found, Outcome):
                self._finished(answer.item, answer.found)
            else:
                probed.append(answer)
        if probed:
            self._sort(probed)
        if self._batch.is_due():
            self._write()
        self._watch(self.counted)

    def _sort(self, probed: list[Answer]) -> None:
        """Which contents are new."""
        ids = [answer.found.content for answer in probed if isinstance(answer.found, Probed)]
        known = {} if self._again else self._store.known(ids)
        if self._retry:
            known = {i: state for i, state in known.items() if state != InputState.FAILED}
        for answer, content in zip(probed, ids, strict=True):
            item = replace(answer.item, content=content)
            if content in known:
                self.counted.known += 1
                self._remember(item, content)
            elif content in self._asked:
                self.counted.known += 1
                self._twins.setdefault(content, []).append(item)
            else:
                self._asked.add(content)
                self._to_analyse.append(item)

    def _finished(self, item: Item, found: Outcome) -> None:
        self._count(found)
        self._batch.outcomes.append(found)
        # What could not be read may be readable next time, though its time has not changed.
        if item.content is not None or item.remote or found.state is InputState.REFUSED:
            self._remember(item, found.id)
        for twin in self._twins.pop(found.id, ()):
            self._remember(twin, found.id)
        self._asked.discard(found.id)

    def _count(self, found: Outcome) -> None:
        name = {
            InputState.ANALYSED: "analysed",
            InputState.FAILED: "failed",
            InputState.REFUSED: "refused",
        }[found.state]
        setattr(self.counted, name, getattr(self.counted, name) + 1)

    def _remember(self, item: Item, content: str) -> None:
        if item.source is None:  # an archive is remembered as a whole
            for name, file in zip(item.names, item.files, strict=True):
                self._batch.names.append((name, Seen(file.size, file.changed, content)))

    def _write(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if not (batch.outcomes or batch.names):
            return
        again = self._again or self._retry
        self._store.add(self._run, batch.outcomes, batch.names, again=again)
        for outcome in batch.outcomes:
            self._told(outcome)

    # --- archives ---------------------------------------------------------------------

    def _unpack(self, archive: Archive) -> None:
        """Everything in an archive, then the archive itself: it is done when its files are."""
        as_item = Item(archive.path, (archive.name,), (archive.path,), (archive.file,))
        if not self._unknown([as_item]):
            return
        try:
            content = content_hash(archive.path)
        except OSError as error:
            why = f"it can't be read: {error.strerror or error}"
            return self._finished(as_item, failed("", as_item.names, InputState.FAILED, why))
        with private_folder() as folder:
            unpacked = unpack_all(archive.path, folder)
            for portion in _portions(in_folder(folder), _LOOK_UP):
                self._take([renamed(found, folder, archive) for found in portion])
            self._drain()
        outcome = _of_archive(archive, content, unpacked)
        self._finished(replace(as_item, content=content), outcome)


def _of_archive(archive: Archive, content: str, unpacked: Unpacked) -> Outcome:
    problem = shown_problem(archive.name, unpacked)
    if unpacked.broken is not None and unpacked.members == 0:
        return failed(content, (archive.name,), InputState.FAILED, unpacked.broken)
    from postmortem import __version__

    return Outcome(
        id=content,
        names=(archive.name,),
        state=InputState.ANALYSED if unpacked.broken is None else InputState.FAILED,
        reason=problem,
        kind="archive",
        format="archive",
        size=archive.file.size,
        complete=problem is None,
        program=__version__,
    )


def _as_it_was(item: Item, seen: dict[str, Seen]) -> bool:
    return item.source is None and all(
        name in seen and (seen[name].size, seen[name].changed) == (file.size, file.changed)
        for name, file in zip(item.names, item.files, strict=True)
    )


def _portions(found: Iterable[Found], count: int) -> Iterator[list[Found]]:
    portion: list[Found] = []
    for item in found:
        portion.append(item)
        if len(portion) == count or isinstance(item, Archive):
            yield portion
            portion = []
    if portion:
        yield portion


def _bundles(items: list[Item]) -> Iterator[tuple[Item, ...]]:
    """Small ones together, large ones alone."""
    bundle: list[Item] = []
    for item in items:
        if item.size >= _SMALL:
            yield (item,)
            continue
        bundle.append(item)
        if len(bundle) == _TOGETHER or sum(one.size for one in bundle) >= 4 * _SMALL:
            yield tuple(bundle)
            bundle = []
    if bundle:
        yield tuple(bundle)


def absolute(path: str) -> str:
    """As the store names it: the same from whatever folder it was given."""
    return path if is_url(path) else os.path.abspath(path)  # noqa: PTH100 - links stay
