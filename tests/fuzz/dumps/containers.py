"""More kinds of damage: what a dump is wrapped in, and what expands without an end."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import zstandard

from tests.fuzz.dumps.damage import kind, odd
from tests.fuzz.dumps.image import PAGE, Image

_DESCRIPTOR = struct.Struct("<QIIQ")
_ZLIB, _ZSTD = 1, 0x20
_RECORD = struct.Struct(">qq")
_HEAD_BYTES = 4 << 20
"""Of the dump, where a whole one would only take time."""

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 1, mtime=0),
    "xz": lambda data: lzma.compress(data, preset=0),
    "bz2": lambda data: bz2.compress(data, 1),
    "zst": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
}


def _flipped(rng: random.Random, data: bytes, count: int) -> bytes:
    out = bytearray(data)
    for _ in range(count if out else 0):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


# --- pages that give more, or less, than a page


@kind("kdump.pages", lambda image: image.is_kdump and bool(image.targets))
def _(rng: random.Random, image: Image) -> str:
    """Compressed data of the wrong size, cut off or damaged."""
    size = rng.choice([0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 1 << 20, 1 << 24])
    flag, pack = rng.choice([(_ZLIB, zlib.compress), (_ZSTD, PACKERS["zst"])])
    data = pack(bytes(size))
    if rng.random() < 0.5:
        data = rng.choice([data[: len(data) // 2], _flipped(rng, data, 3)])
    at = image.append(data)
    count = rng.choice([1, 50])
    for _ in range(count):
        group = rng.choice(sorted(image.targets))
        place = image.descriptors.get(rng.choice(image.targets[group])[1] // PAGE)
        if place is not None:
            image.write(place, _DESCRIPTOR.pack(at, len(data), flag, 0))
    return f"{count} pages of {size} bytes, {len(data)} packed, flag {flag:#x}"


# --- makedumpfile's flattened form


def _records(image: Image) -> list[tuple[int, bytes]]:
    step = 1 << 20
    return [(at, image.read(step, at)) for at in range(0, image.size, step)]


def _stream(records: Iterator[tuple[int, int, bytes]], *, end: bool = True) -> bytes:
    head = (b"makedumpfile".ljust(16, b"\0") + _RECORD.pack(1, 1)).ljust(PAGE, b"\0")
    parts = [head]
    for at, size, data in records:
        parts += [_RECORD.pack(at, size), data]
    return b"".join([*parts, _RECORD.pack(-1, -1) if end else b""])


@kind("flattened", lambda image: image.is_kdump or image.is_elf)
def _(rng: random.Random, image: Image) -> str:
    """Records out of order, over each other, by the hundred thousand, or with numbers that lie."""
    how = rng.choice(
        ["order", "over", "small", "many", "far", "offset", "size", "no end", "cut", "bits"]
    )
    records = _records(image)
    place = rng.randrange(len(records))
    at, data = records[place]
    if how == "order":
        rng.shuffle(records)
    elif how == "over":
        records += [(rng.randrange(image.size), rng.randbytes(100)) for _ in range(5)]
    elif how == "small":
        records[place : place + 1] = [(at + i, data[i : i + 1]) for i in range(len(data[:5000]))]
    elif how == "many":
        records += [(rng.randrange(image.size), b"x")] * 300_000
    elif how == "far":
        records[place] = (rng.choice([1 << 40, 1 << 44, 1 << 50, 1 << 61]), data)
    sized = [(start, len(part), part) for start, part in records]
    if how in ("offset", "size"):
        wrong = odd(rng, at if how == "offset" else len(data), 63, image.size)
        sized[place] = (wrong, len(data), data) if how == "offset" else (at, wrong, data)
    flat = _stream(iter(sized), end=how != "no end")
    if how == "cut":
        flat = flat[: rng.randrange(len(flat))]
    elif how == "bits":
        flat = _flipped(rng, flat, 100)
    image.paths = [image.file("flat", flat)]
    return how


# --- makedumpfile --split


def _parts(rng: random.Random, image: Image, count: int) -> list[bytearray]:
    """The dump as parts: each has all headers and the bitmaps, and the pages of one range."""
    top = image.pages[-1] + 1
    cuts = [0, *sorted(rng.sample(range(1, top), count - 1)), top]
    return [_part(image, low, high) for low, high in itertools.pairwise(cuts)]


def _part(image: Image, low: int, high: int) -> bytearray:
    part = bytearray(image.read(image.table, 0))
    struct.pack_into("<iQQ", part, image.block + 12, 1, low, high)
    struct.pack_into("<QQ", part, image.block + 80, low, high)
    pages = [page for page in image.pages if low <= page < high]
    body = bytearray()
    start = len(part) + _DESCRIPTOR.size * len(pages)
    for page in pages:
        at, size, flags, more = _DESCRIPTOR.unpack(image.read(24, image.descriptors[page]))
        part += _DESCRIPTOR.pack(start + len(body), size, flags, more)
        body += image.read(size, at)
    return part + body


@kind("split", lambda image: image.is_kdump)
def _(rng: random.Random, image: Image) -> str:
    how = rng.choice(
        ["whole", "missing", "twice", "range", "damaged", "cut", "reversed", "alone", "flattened"]
    )
    parts = _parts(rng, image, 3)
    one = rng.randrange(len(parts))
    if how == "missing":
        del parts[one]
    elif how == "twice":
        parts.append(parts[one])
    elif how == "range":
        at = image.block + rng.choice([16, 80])
        struct.pack_into("<QQ", parts[one], at, *rng.sample([0, 1, (1 << 64) - 1, 5000], 2))
    elif how == "damaged":
        parts[one][: image.table] = _flipped(rng, bytes(parts[one][: image.table]), 30)
    elif how == "cut":
        del parts[one][rng.randrange(len(parts[one])) :]
    elif how == "reversed":
        parts.reverse()
    data = [bytes(part) for part in parts]
    if how == "flattened":
        data = [_stream(iter([(0, len(part), part)])) for part in data]
    image.paths = [image.file(f"part{number}", part) for number, part in enumerate(data)]
    if how == "alone":
        image.paths = image.paths[1:2]
    return how


# --- compressed once more as a whole


@kind("packed")
def _(rng: random.Random, image: Image) -> str:
    suffix = rng.choice(sorted(PACKERS))
    how = rng.choice(["whole", "cut", "bits", "twice", "empty", "start", "garbage behind"])
    pack = PACKERS[suffix]
    data = pack(b"" if how == "empty" else image.read(_HEAD_BYTES, 0))
    if how == "cut":
        data = data[: rng.randrange(len(data))]
    elif how == "bits":
        data = _flipped(rng, data, rng.choice([1, 20]))
    elif how == "twice":
        data = pack(data)
    elif how == "start":
        data = data[: rng.randrange(2, 40)]
    elif how == "garbage behind":
        data += rng.randbytes(5000)
    image.paths = [image.file(f"packed.{suffix}", data)]
    return f"{suffix} {how}, {len(data)} bytes"


_BOMB_PIECE = bytes(16 << 20)
_BOMB_PIECES = {"gz": 64, "xz": 64, "bz2": 16, "zst": 4096}
"""How many times 16 MiB; zst takes 2 KiB for each."""


@kind("packed.bomb")
def _(rng: random.Random, image: Image) -> str:
    """A true head, then zeroes without an end."""
    suffix = rng.choice(sorted(PACKERS))
    inner = rng.choice(["dump", "flattened dump", "log"])
    head = image.read(_HEAD_BYTES, 0)
    if inner == "flattened dump":
        head = _stream(iter([(0, len(head), head)]), end=False)
    elif inner == "log":
        head = b"[    1.000000] Linux version 6.1.0 (acme@acme)\n"
    # Each format may be several streams, one behind the other.
    pack = PACKERS[suffix]
    data = pack(head) + pack(_BOMB_PIECE) * _BOMB_PIECES[suffix]
    image.paths = [image.file(f"bomb.{suffix}", data)]
    return f"{suffix} of a {inner}, {len(data)} bytes"
