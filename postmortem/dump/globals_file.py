"""The file of global variables: 100,000 names and their types in a megabyte.

The names are sorted and lie in blocks that are compressed one by one, so that a
look-up costs the inflation of one block (some 30 us) and not the reading of all.

A line of a block is a name and its candidates, separated by tabs. A candidate is

    [OWNERS:][KERNELS>]TYPE

TYPE is told by :mod:`postmortem.dump.typetext`. OWNERS are the modules that have
the variable, separated by commas, with an empty one for the kernel proper; without
owners it is the kernel's alone, ``*`` are many modules. KERNELS is a hexadecimal
mask over the kernels that were read; it stands there only where kernels differ.

``python -m corpus.generate.globals`` makes the file.
"""

from __future__ import annotations

import bisect
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

MAGIC = b"postmortem variables 1\n"
PATH = Path(__file__).with_name("globals.dat")
_HEADER = struct.Struct("<II")
"""Bytes of the compressed head, and of the dictionary that all blocks share."""
_BLOCK_LINES = 128
_RAW = -15
_CANDIDATE = re.compile(r"(?:([\w,*]*):)?(?:([0-9a-f]+)>)?([^\t]+)")


@dataclass(frozen=True)
class Candidate:
    """One type that a variable of some name has in some kernel."""

    type: str
    owners: tuple[str, ...] = ("",)
    """Modules, an empty name for the kernel proper, ``*`` for many modules."""
    kernels: int = 0
    """Mask of the kernels that have it so; 0 for all that have it."""


@dataclass(frozen=True)
class Marks:
    """What tells kernels apart by the structs that they have, not by what they call themselves."""

    structs: tuple[str, ...] = ()
    kernels: tuple[int, ...] = ()
    """For each kernel the mask of those structs that it has."""


class VariableFile:
    """The file at ``path``, opened when somebody asks for a name."""

    def __init__(self, path: Path = PATH) -> None:
        self._path = path
        self._block: tuple[int, str] = (-1, "")

    @cached_property
    def _data(self) -> bytes:
        data = self._path.read_bytes()
        if not data.startswith(MAGIC):
            raise ValueError(f"{self._path.name} is no table of variables")
        return data

    @cached_property
    def _head(self) -> dict[str, object]:
        size, _dictionary = _HEADER.unpack_from(self._data, len(MAGIC))
        at = len(MAGIC) + _HEADER.size
        head: dict[str, object] = json.loads(zlib.decompress(self._data[at : at + size]))
        return head

    @cached_property
    def _index(self) -> tuple[list[str], list[int], bytes]:
        """First name and end of each block, and the shared dictionary."""
        head, size = _HEADER.unpack_from(self._data, len(MAGIC))
        at = len(MAGIC) + _HEADER.size + head
        ends = [at + size]
        for length in self._list("lengths"):
            ends.append(ends[-1] + int(str(length)))
        return [str(name) for name in self._list("first")], ends, self._data[at : at + size]

    def _list(self, key: str) -> Sequence[object]:
        value = self._head[key]
        assert isinstance(value, list)
        return value

    @cached_property
    def marks(self) -> Marks:
        """How to tell which of the kernels that were read a dump is most like."""
        masks = tuple(int(str(mask), 16) for mask in self._list("marks"))
        return Marks(tuple(map(str, self._list("structs"))), masks)

    def candidates(self, name: str) -> list[Candidate]:
        """The types that variables of this name have; empty if it is not known."""
        first, _ends, _dictionary = self._index
        number = bisect.bisect_right(first, name) - 1
        if number >= 0:
            text = self._text(number)
            at = text.find(f"\n{name}\t")
            if at >= 0:
                return list(parse_line(text[at + 1 : text.index("\n", at + 1)]))
        return self._family(name)

    def _family(self, name: str) -> list[Candidate]:
        """Variables that a macro declares: what they begin with tells their type."""
        for entry in self._list("families"):
            line = str(entry)
            if name.startswith(line.partition("\t")[0]):
                return list(parse_line(line))
        return []

    def _text(self, number: int) -> str:
        """The lines of a block, with a line feed before and behind each."""
        if self._block[0] != number:
            _first, ends, dictionary = self._index
            inflate = zlib.decompressobj(_RAW, zdict=dictionary)
            text = inflate.decompress(self._data[ends[number] : ends[number + 1]]).decode("ascii")
            self._block = (number, f"\n{text}\n")
        return self._block[1]

    def names(self) -> Iterator[str]:
        """All names in the file, in order; not those of families."""
        for number in range(len(self._index[0])):
            for line in self._text(number)[1:-1].split("\n"):
                yield line.partition("\t")[0]


def parse_line(line: str) -> Iterator[Candidate]:
    """The candidates of a line."""
    for text in line.split("\t")[1:]:
        found = _CANDIDATE.fullmatch(text)
        if found is None:
            raise ValueError(f"candidate {text!r} makes no sense")
        owners, kernels, type_text = found.groups()
        owned_by = ("",) if owners is None else tuple(owners.split(","))
        yield Candidate(type_text, owned_by, int(kernels or "0", 16))


def write_line(name: str, candidates: Sequence[Candidate]) -> str:
    """The inverse of :func:`parse_line`."""
    parts = [name]
    for candidate in candidates:
        owners = "" if candidate.owners == ("",) else ",".join(candidate.owners) + ":"
        kernels = f"{candidate.kernels:x}>" if candidate.kernels else ""
        parts.append(f"{owners}{kernels}{candidate.type}")
    return "\t".join(parts)


def write_file(
    lines: Sequence[str],
    families: Sequence[str] = (),
    marks: Marks | None = None,
    dictionary: bytes = b"",
    about: Mapping[str, object] | None = None,
) -> bytes:
    """The whole file out of lines, which must be sorted.

    :param families: Lines whose name is what the names of a family begin with.
    :param dictionary: Text that many blocks have in common.
    :param about: Anything else that is worth knowing about the file.
    """
    parts, first = [], []
    for at in range(0, len(lines), _BLOCK_LINES):
        block = lines[at : at + _BLOCK_LINES]
        first.append(block[0].partition("\t")[0])
        deflate = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, zdict=dictionary)
        parts.append(deflate.compress("\n".join(block).encode("ascii")) + deflate.flush())
    marks = marks or Marks()
    head = {
        "about": dict(about or {}),
        "first": first,
        "lengths": list(map(len, parts)),
        "families": list(families),
        "structs": list(marks.structs),
        "marks": [f"{mask:x}" for mask in marks.kernels],
    }
    packed = zlib.compress(json.dumps(head, separators=(",", ":")).encode(), 9)
    sizes = _HEADER.pack(len(packed), len(dictionary))
    return b"".join([MAGIC, sizes, packed, dictionary, *parts])
