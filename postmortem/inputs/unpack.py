"""Decompression that loses nothing: whatever can be read of a damaged stream is read.

The file objects of the standard library throw away what they had when the data
breaks off. A log that was cut is the normal case here, and its last lines matter most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

OUT_BYTES = 1 << 17
"""Decompressed at most at once, whatever the data expands to."""
_IN_BYTES = {"zstd": 256}
"""zstd has no bound for its output: 256 bytes expand to 8 MiB at most."""
_IN_DEFAULT = 1 << 16


class DamagedError(Exception):
    """The data breaks off or is no longer what it should be."""


class _Engine(Protocol):
    """One compressed stream; a file may hold several, one behind the other."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most ``max_length`` bytes more."""


def unpack(kind: str, read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    """The content of a ``gzip``, ``xz``, ``bzip2`` or ``zstd`` stream in pieces.

    :param read: gives up to so many compressed bytes, nothing at the end.
    :raises DamagedError: after everything that could be decompressed was given.
    """
    new, errors = _engines(kind)
    step = _IN_BYTES.get(kind, _IN_DEFAULT)
    engine: _Engine | None = None
    rest = b""
    while True:
        data = rest or read(step) or b""
        rest = b""
        if not data:
            if engine is not None:
                raise DamagedError(f"the {kind} data breaks off")
            return
        if engine is None:
            data = data.lstrip(b"\0")  # padding between streams (tar, tape)
            if not data:
                continue
            engine = new()
        try:
            yield from _all_of(engine, data)
        except errors as error:
            raise DamagedError(f"the {kind} data is damaged: {error}") from None
        if engine.eof:
            rest, engine = engine.unused_data, None


def _all_of(engine: _Engine, data: bytes) -> Iterator[bytes]:
    out = engine.decompress(data, OUT_BYTES)
    while out:
        yield out
        if engine.eof:
            return
        # gzip hands back what it did not come to, the others keep it.
        out = engine.decompress(getattr(engine, "unconsumed_tail", b""), OUT_BYTES)


def _engines(kind: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    if kind == "gzip":
        import zlib

        return lambda: zlib.decompressobj(wbits=31), (zlib.error,)
    if kind == "xz":
        import lzma

        return lzma.LZMADecompressor, (lzma.LZMAError, EOFError)
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError, EOFError)
    import zstandard

    return _Zstd, (zstandard.ZstdError, MemoryError)


class _Zstd:
    """zstd in the shape of the others."""

    def __init__(self) -> None:
        import zstandard

        # zstd --ultra --long=31 needs a window this large.
        self._engine = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._engine.decompress(data) if data else b""
