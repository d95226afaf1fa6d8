"""Workers of a Dask cluster, on as many machines as it has.

Each Dask worker keeps a process of :mod:`postmortem.triage.workers` for each of its threads, with
the same limits as here: a hostile dump ends that process and no Dask worker. All machines must
see the paths; only answers travel, and only this side writes the store.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from postmortem.errors import UnreadableInputError, UsageError
from postmortem.triage.model import InputState, Outcome
from postmortem.triage.tasks import Answer, Item, Limits, Probed, Work
from postmortem.triage.workers import LocalWorkers

_CONNECT_SECONDS = 20
_THREAD = threading.local()


def run_job(work: str, items: tuple[Item, ...], limits: Limits) -> list[tuple[Item, Any]]:
    """On a Dask worker: do all of it, in a process beside it."""
    workers = getattr(_THREAD, "workers", None)
    if workers is None or workers[0] != limits:
        workers = (limits, LocalWorkers(1, limits))
        _THREAD.workers = workers
    workers[1].submit(Work(work), items)
    found: list[tuple[Item, Probed | Outcome]] = []
    while len(found) < len(items):
        found += [(answer.item, answer.found) for answer in workers[1].answers(60.0)]
    return found


class DaskWorkers:
    """An existing cluster, by its scheduler's address."""

    def __init__(self, address: str, limits: Limits) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError("--dask needs Dask: pip install 'postmortem[dask]'") from None
        self._dask: Any = distributed
        self._limits = limits
        self._jobs: dict[Any, tuple[Work, tuple[Item, ...]]] = {}
        try:
            self._client: Any = self._dask.Client(
                address, timeout=_CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError, TimeoutError) as error:
            why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise UnreadableInputError(
                f"the Dask scheduler at {address} does not answer: {why}"
            ) from None

    @property
    def capacity(self) -> int:
        threads: int = sum(self._client.nthreads().values())
        return max(2 * threads, 2)

    def submit(self, work: Work, items: tuple[Item, ...]) -> None:
        # Not pure: the same paths may hold something else in the next run.
        future = self._client.submit(run_job, str(work.value), items, self._limits, pure=False)
        self._jobs[future] = (work, items)

    def answers(self, timeout: float) -> Iterator[Answer]:
        if not self._jobs:
            return
        with contextlib.suppress(TimeoutError), self._client.as_current():
            some = list(self._jobs)
            self._dask.wait(some, timeout=timeout, return_when="FIRST_COMPLETED")
        for future in [future for future in self._jobs if future.done()]:
            work, items = self._jobs.pop(future)
            if future.status == "finished":
                for item, found in future.result():
                    yield Answer(work, item, found)
            else:
                yield from self._lost(future, work, items)
            future.release()

    def _lost(self, future: Any, work: Work, items: tuple[Item, ...]) -> Iterator[Answer]:
        """It killed several Dask workers, or they went away: one by one, then it is to blame."""
        if len(items) > 1:
            for item in items:
                self.submit(work, (item,))
            return
        from postmortem.triage.facts import failed
        from postmortem.triage.worker import unread_id

        error: BaseException | None = None
        with contextlib.suppress(Exception):
            error = future.exception(timeout=5)
        why = f"no Dask worker could do it: {type(error).__name__ if error else future.status}"
        item = items[0]
        content = item.content or unread_id(item)
        yield Answer(work, item, failed(content, item.names, InputState.FAILED, why, item.size))

    def close(self) -> None:
        for future in self._jobs:
            with contextlib.suppress(Exception):
                future.cancel()
        with contextlib.suppress(Exception):
            self._client.close()
