"""The messages of a log on demand: most questions need only its reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import overload

from postmortem.model.report import Record

_CHUNK = 1 << 20
_SEARCHED = 64 << 20


class LogLines(Sequence[Record]):
    """Every message of a log file; a loop reads the file and keeps nothing.

    Its length and single messages need all of them in memory (some 300 bytes each).
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Record]:
        from postmortem.log.blocked import records_of

        return records_of(self._path)

    def mention(self, phrase: bytes) -> bool:
        """Whether the file as it lies there has these bytes, in its first 64 MiB."""
        kept = b""
        with suppress(OSError), Path(self._path).open("rb") as file:
            for _ in range(_SEARCHED // _CHUNK):
                data = file.read(_CHUNK)
                if not data:
                    break
                if phrase in kept + data:
                    return True
                kept = data[-len(phrase) :]
        return False

    @cached_property
    def _all(self) -> tuple[Record, ...]:
        return tuple(iter(self))

    def __len__(self) -> int:
        return len(self._all)

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self._all[index]
