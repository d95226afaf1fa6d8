"""Small BTF sections, kallsyms tables and kernels, written by hand for the tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import drgn

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT = range(9, 17)
DECL_TAG, TYPE_TAG, ENUM64 = range(17, 20)
SIGNED, BOOL = 1, 4

Member = tuple[str, int, int] | tuple[str, int, int, int]


class BtfWriter:
    """Writes BTF type by type; each method returns the id of the type it wrote."""

    def __init__(self, first_id: int = 1, first_string: int = 0) -> None:
        self.strings = b"" if first_string else b"\0"
        self.types = b""
        self._first_string = first_string
        self.next_id = first_id

    def name(self, text: str) -> int:
        """Offset of a new string."""
        if not text:
            return 0
        offset = self._first_string + len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset

    def add(
        self, kind: int, name: str, size: int, *words: int, vlen: int = 0, flag: bool = False
    ) -> int:
        """Any type: the header and the words behind it."""
        info = flag << 31 | kind << 24 | vlen
        self.types += struct.pack(f"<{3 + len(words)}I", self.name(name), info, size, *words)
        self.next_id += 1
        return self.next_id - 1

    def int(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add(INT, name, size, encoding << 24 | size * 8)

    def pointer(self, target: int) -> int:
        return self.add(PTR, "", target)

    def array(self, element: int, count: int) -> int:
        return self.add(ARRAY, "", 0, element, 0, count)

    def struct(self, name: str, size: int, *members: Member, kind: int = STRUCT) -> int:
        """Members are (name, type, bit offset) or (name, type, bit offset, bits)."""
        flag = any(len(member) == 4 for member in members)
        words: list[int] = []
        for member in members:
            bits = member[3] << 24 if len(member) == 4 else 0
            words += (self.name(member[0]), member[1], member[2] | bits)
        return self.add(kind, name, size, *words, vlen=len(members), flag=flag)

    def enum(self, name: str, values: dict[str, int], *, signed: bool = False) -> int:
        words: list[int] = []
        for constant, value in values.items():
            words += (self.name(constant), value & 0xFFFFFFFF)
        return self.add(ENUM, name, 4, *words, vlen=len(values), flag=signed)

    def function(self, result: int, *parameters: tuple[str, int]) -> int:
        words: list[int] = []
        for name, type_id in parameters:
            words += (self.name(name), type_id)
        return self.add(FUNC_PROTO, "", result, *words, vlen=len(parameters))

    def data(self) -> bytes:
        """The section."""
        header = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings)
        )
        return header + self.types + self.strings


@dataclass(frozen=True)
class Kallsyms:
    """A table in memory, and where its parts are."""

    start: int
    data: bytes
    lines: dict[str, str]
    """What VMCOREINFO would say."""


_PAIRS = (b"in", b"it", b"ta", b"sk", b"__", b"st")


def _tokens() -> list[bytes]:
    """Codes 0x80 and up stand for pairs; others for themselves, or nothing much."""
    tokens = [bytes([code]) if 0x20 < code < 0x7F else b"~%d" % code for code in range(256)]
    for number, pair in enumerate(_PAIRS):
        tokens[0x80 + number] = pair
    return tokens


def _compress(name: bytes) -> bytes:
    for number, pair in enumerate(_PAIRS):
        name = name.replace(pair, bytes([0x80 + number]))
    length = len(name)
    prefix = bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7])
    return prefix + name


def kallsyms(
    symbols: Sequence[tuple[str, str, int]],
    start: int,
    *,
    layout: str = "new",
    ranks: bool = True,
    base: int = 0xFFFFFFFF81000000,
) -> Kallsyms:
    """Lay out (letter, name, address), sorted by address, as scripts/kallsyms.c does.

    :param layout: "old" up to v6.3, "new" since v6.4, "place" since v7.1.
    """
    align = 4 if layout == "place" else 8
    codes = [_compress((letter + name).encode()) for letter, name, _ in symbols]
    markers = [sum(map(len, codes[:at])) for at in range(0, len(codes), 256)]
    token_table = b"".join(token + b"\0" for token in _tokens())
    starts = [sum(len(token) + 1 for token in _tokens()[:code]) for code in range(256)]
    by_name = sorted(range(len(symbols)), key=lambda at: symbols[at][1].encode())
    parts: dict[str, bytes] = {
        "kallsyms_num_syms": struct.pack("<I", len(symbols)),
        "kallsyms_names": b"".join(codes),
        "kallsyms_markers": struct.pack(f"<{len(markers)}I", *markers),
        "kallsyms_token_table": token_table,
        "kallsyms_token_index": struct.pack("<256H", *starts),
        "kallsyms_offsets": bytes(4 * len(symbols)),
        "kallsyms_relative_base": struct.pack("<Q", base),
        "kallsyms_seqs_of_names": b"".join(at.to_bytes(3, "big") for at in by_name),
    }
    old = ("offsets", "relative_base", "num_syms", "names", "markers", "seqs_of_names")
    new = ("num_syms", "names", "markers", "token_table", "token_index", "offsets")
    order = (*old, "token_table", "token_index") if layout == "old" else new
    if layout != "old":
        order += ("relative_base", "seqs_of_names") if layout == "new" else ("seqs_of_names",)
    where: dict[str, int] = {}
    data = b""
    for part in order:
        if part == "seqs_of_names" and not ranks:
            continue
        data += bytes(-len(data) % align)
        where[f"kallsyms_{part}"] = start + len(data)
        data += parts[f"kallsyms_{part}"]
    offsets_at = where["kallsyms_offsets"]
    if layout == "place":
        offsets = [address - offsets_at - 4 * at for at, (_, _, address) in enumerate(symbols)]
    else:
        offsets = [a if a < 1 << 31 else base - 1 - a for _, _, a in symbols]
    at = offsets_at - start
    data = data[:at] + struct.pack(f"<{len(offsets)}i", *offsets) + data[at + 4 * len(offsets) :]
    hidden = ("kallsyms_markers", "kallsyms_seqs_of_names")
    lines = {f"SYMBOL({name})": f"{at:x}" for name, at in where.items() if name not in hidden}
    return Kallsyms(start, data + bytes(64), lines)


class Memory:
    """A program whose memory is what was put there; the rest faults."""

    def __init__(self) -> None:
        self.prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        self.holes: list[range] = []

    def put(self, start: int, data: bytes) -> None:
        """Fill memory from ``start`` on, up to the end of a page."""
        data += bytes(-(start + len(data)) % 4096)

        def read(address: int, count: int, offset: int, physical: bool) -> bytes:
            for hole in self.holes:
                if address < hole.stop and hole.start < address + count:
                    raise drgn.FaultError("excluded page", max(address, hole.start))
            return data[offset : offset + count]

        self.prog.add_memory_segment(start, len(data), read)
