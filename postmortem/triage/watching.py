"""``postmortem triage watch DIR``: what is saved there is triaged as soon as it is whole.

The kernel says when something changes (inotify, by watchfiles); what is looked at then is always
the whole folder, of which only what is new costs anything. So nothing is missed that happened
between two looks, or before the first one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from postmortem.errors import UsageError

SETTLE_SECONDS = 5.0
"""A dump that is still being written changes more often than that."""
LONGEST_SECONDS = 300.0
"""A folder that never comes to rest is looked at all the same."""
EVERY_SECONDS = 3600.0
"""Somebody's network file system tells of nothing."""


def looks(
    folders: list[Path],
    stop: threading.Event,
    *,
    settle: float = SETTLE_SECONDS,
    every: float = EVERY_SECONDS,
    polling: bool = False,
) -> Iterator[None]:
    """Yield once at the beginning, then each time that the folders changed and came to rest.

    :param stop: Set it and the looking ends.
    :param every: Seconds after which there is a look without any change.
    :param polling: Look for changes by listing, where the kernel does not tell (NFS).
    :raises UsageError: one of them can't be watched.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder that can be watched")
    changed = threading.Event()
    ended = threading.Event()
    failed: list[Exception] = []
    watcher = threading.Thread(
        target=_watch, args=(folders, changed, stop, ended, failed, polling), daemon=True
    )
    watcher.start()
    try:
        while not stop.is_set():
            changed.clear()  # before the look: what changes during it is looked at once more
            yield
            _wait(changed, stop, ended, every)
            if failed:
                raise UsageError(f"{folders[0]} can't be watched: {failed[0]}")
            _rest(changed, stop, settle)
    finally:
        stop.set()
        watcher.join(5)


def _watch(
    folders: list[Path],
    changed: threading.Event,
    stop: threading.Event,
    ended: threading.Event,
    failed: list[Exception],
    polling: bool,
) -> None:
    import watchfiles

    try:
        for _ in watchfiles.watch(
            *folders,
            watch_filter=None,
            stop_event=stop,
            debounce=500,
            rust_timeout=1000,
            yield_on_timeout=False,
            raise_interrupt=False,
            force_polling=polling,
            recursive=True,
        ):
            changed.set()
    except Exception as error:  # the other thread says it
        failed.append(error)
    ended.set()


def _wait(
    changed: threading.Event, stop: threading.Event, ended: threading.Event, every: float
) -> None:
    until = time.monotonic() + every
    while not (stop.is_set() or ended.is_set()) and time.monotonic() < until:
        if changed.wait(min(0.5, every)):
            return


def _rest(changed: threading.Event, stop: threading.Event, settle: float) -> None:
    """Wait until nothing has changed for a while, but not for ever."""
    until = time.monotonic() + LONGEST_SECONDS
    while changed.is_set() and not stop.is_set() and time.monotonic() < until:
        changed.clear()
        stop.wait(settle)
