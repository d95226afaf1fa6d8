"""The kernel's own symbol table, out of the dump.

From v6.0 VMCOREINFO says where the table lies (f09bddbd8661, "vmcoreinfo: add
kallsyms_num_syms symbol"); before that, or when the note is lost, it is found
by its shape in the kernel image. Modules carry an ELF symbol table each.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import drgn

_SYMBOL_LINES = (
    "kallsyms_names",
    "kallsyms_token_table",
    "kallsyms_token_index",
    "kallsyms_num_syms",
    "kallsyms_offsets",
    "kallsyms_relative_base",
    "kallsyms_addresses",
    "_stext",
)

_DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
"""Tokens 0x30..0x39 of the token table: digits stand for themselves in every kernel."""
_FIRST_DIGIT = 0x30
_TOKENS = 256
_NAMES_PER_MARKER = 256
_IMAGE_BYTES = 64 << 20
"""How much of the kernel image is searched from _stext on."""
_CHUNK = 1 << 20
_MAX_SYMBOLS = 1 << 22


@dataclass(frozen=True)
class KallsymsTable:
    """Addresses of the parts of kallsyms in kernel memory; 0 where a part does not exist."""

    names: int
    token_table: int
    token_index: int
    num_syms: int
    offsets: int
    relative_base: int
    addresses: int = 0
    stext: int = 0


def vmlinux_symbols(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> drgn.SymbolIndex:
    """Read the symbols of the kernel proper.

    :param vmcoreinfo: The note's lines as key and value (``SYMBOL(_stext)`` ...).
    :raises LookupError: there is no table that can be read.
    """
    table = _from_vmcoreinfo(vmcoreinfo)
    if table is None:
        stext = _symbol(vmcoreinfo, "_stext")
        if not stext:
            raise LookupError("VMCOREINFO does not say where the kernel's text starts")
        table = find_by_shape(prog, stext)
    # The decoder of drgn (C, 1 us a symbol) has no public name that takes
    # addresses: its public helper knows only VMCOREINFO.
    from _drgn import _linux_helper_load_builtin_kallsyms as load  # type: ignore[import-not-found]

    index: drgn.SymbolIndex = load(
        prog,
        table.names,
        table.token_table,
        table.token_index,
        table.num_syms,
        table.offsets,
        table.relative_base,
        table.addresses,
        table.stext,
    )
    return index


def _symbol(vmcoreinfo: dict[str, str], name: str) -> int:
    try:
        return int(vmcoreinfo.get(f"SYMBOL({name})", "0"), 16)
    except ValueError:
        return 0


def _from_vmcoreinfo(vmcoreinfo: dict[str, str]) -> KallsymsTable | None:
    found = {name: _symbol(vmcoreinfo, name) for name in _SYMBOL_LINES}
    if not (found["kallsyms_names"] and found["kallsyms_num_syms"]):
        return None
    return KallsymsTable(
        **{name.removeprefix("kallsyms_").lstrip("_"): at for name, at in found.items()}
    )


class _Image:
    """A piece of kernel memory that was read as far as it could be."""

    def __init__(self, start: int, data: bytes) -> None:
        self.start = start
        self.data = data

    def u32(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.data, at)[0])


def find_by_shape(prog: drgn.Program, stext: int) -> KallsymsTable:
    """Find kallsyms in the kernel image: scripts/kallsyms.c lays it out in one piece.

    Up to v6.3 the order is offsets, relative_base, num_syms, names, markers,
    (seqs_of_names,) token_table, token_index, each aligned to 8 bytes.

    :param stext: Address of ``_stext``.
    :raises LookupError: nothing of that shape is there.
    """
    image = _Image(stext, _read_image(prog, stext))
    at = image.data.find(_DIGITS)
    while at >= 0:
        table = _table_around(image, at)
        if table is not None:
            return table
        at = image.data.find(_DIGITS, at + 1)
    raise LookupError("no symbol table (kallsyms) was found in the kernel image")


def _read_image(prog: drgn.Program, start: int) -> bytes:
    """Read the kernel image; what is not mapped or not in the dump becomes zeroes."""
    parts = []
    misses = 0
    for at in range(start & ~0xFFF, start + _IMAGE_BYTES, _CHUNK):
        try:
            parts.append(prog.read(at, _CHUNK))
            misses = 0
        except drgn.FaultError:
            piece, readable = _read_pages(prog, at)
            parts.append(piece)
            misses = 0 if readable else misses + 1
            if misses > 8:  # well past the end of the image
                break
    return b"".join(parts)[start & 0xFFF :]


def _read_pages(prog: drgn.Program, start: int) -> tuple[bytes, bool]:
    pages = []
    readable = False
    for at in range(start, start + _CHUNK, 4096):
        try:
            pages.append(prog.read(at, 4096))
            readable = True
        except drgn.FaultError:
            pages.append(bytes(4096))
    return b"".join(pages), readable


def _align8(value: int) -> int:
    return (value + 7) & ~7


def _table_around(image: _Image, digits_at: int) -> KallsymsTable | None:
    """Check that a token table surrounds ``digits_at`` and walk from it to the other parts."""
    data = image.data
    # 0x30 tokens end before the first digit: go back over their NULs.
    start = digits_at
    for _ in range(_FIRST_DIGIT):
        start = data.rfind(b"\0", max(0, start - 66), start - 1) + 1
        if start <= 0:
            return None
    lengths = []
    at = start
    for _ in range(_TOKENS):
        end = data.find(b"\0", at, at + 66)
        if end < 0:
            return None
        lengths.append(end - at + 1)
        at = end + 1
    index_at = _align8(at)
    expected = [sum(lengths[:i]) for i in range(_TOKENS)]
    if data[index_at : index_at + 2 * _TOKENS] != struct.pack(f"<{_TOKENS}H", *expected):
        return None
    # A token may be empty, so the first may start up to 7 bytes of padding earlier.
    markers = _markers_before(image, start)
    if markers is None:
        return None
    markers_at, count = markers
    return _names_before(image, markers_at, count, start, index_at)


def _markers_before(image: _Image, end: int) -> tuple[int, int] | None:
    """Start and number of ``kallsyms_markers``: rising offsets, the first of them 0.

    ``kallsyms_seqs_of_names`` (v6.2, 60443c88f3a8) lies between markers and token
    table in some versions; those kernels have VMCOREINFO entries and don't come here.
    """
    at = (end & ~3) - 4
    while at > 0 and image.u32(at) == 0:
        at -= 4
    previous = image.u32(at) + 1
    count = 0
    while at >= 0 and count * _NAMES_PER_MARKER < _MAX_SYMBOLS:
        value = image.u32(at)
        if value >= previous:
            return None
        count += 1
        if value == 0:
            return at, count
        previous = value
        at -= 4
    return None


def _names_before(
    image: _Image, markers_at: int, markers: int, tokens_at: int, index_at: int
) -> KallsymsTable | None:
    """Find ``kallsyms_num_syms``: names start 8 bytes after it and end at the markers."""
    data = image.data
    last_marker = image.u32(markers_at + 4 * (markers - 1))
    low, high = (markers - 1) * _NAMES_PER_MARKER, markers * _NAMES_PER_MARKER
    # Names end at most one marker's worth of bytes past the last marker.
    latest = markers_at - last_marker - 8
    earliest = max(0, latest - _NAMES_PER_MARKER * 130)
    for at in range(latest & ~7, earliest & ~7, -8):
        count = image.u32(at)
        if not low < count <= high:
            continue
        names_at = at + 8
        if not _marker_fits(data, names_at, image.u32(markers_at + 4) if markers > 1 else None):
            continue
        relative_base = struct.unpack_from("<Q", data, at - 8)[0]
        offsets_at = at - 8 - _align8(4 * count)
        if offsets_at < 0 or relative_base < 1 << 63:
            continue
        base = image.start
        return KallsymsTable(
            names=base + names_at,
            token_table=base + tokens_at,
            token_index=base + index_at,
            num_syms=base + at,
            offsets=base + offsets_at,
            relative_base=base + at - 8,
            stext=base,
        )
    return None


def _marker_fits(data: bytes, names_at: int, second_marker: int | None) -> bool:
    """Whether the 257th name starts where the second marker says."""
    if second_marker is None:
        return True
    at = names_at
    for _ in range(_NAMES_PER_MARKER):
        length = data[at]
        if length & 0x80:  # v6.1, 73bbb94466fd: long names take two length bytes
            length = (length & 0x7F) | data[at + 1] << 7
            at += 1
        at += 1 + length
    return at - names_at == second_marker


# --- modules -----------------------------------------------------------------

_KINDS = {0: drgn.SymbolKind.UNKNOWN, 1: drgn.SymbolKind.OBJECT, 2: drgn.SymbolKind.FUNC}
_BINDINGS = {
    0: drgn.SymbolBinding.LOCAL,
    1: drgn.SymbolBinding.GLOBAL,
    2: drgn.SymbolBinding.WEAK,
}
_ELF64_SYM = struct.Struct("<IBBHQQ")
_MAX_MODULE_SYMBOLS = 1 << 18
_MAX_MODULES = 4096


class ModuleSymbols:
    """Symbol finder for modules: reads a module's table when somebody asks for it.

    Most questions are about one or two modules; a distribution's machine has
    a hundred loaded.
    """

    def __init__(self, modules: Sequence[tuple[drgn.Object, list[tuple[int, int]]]]) -> None:
        """
        :param modules: ``struct module *`` and the ``(start, end)`` of its memory regions.
        """
        self._tables: list[list[drgn.Symbol] | None] = [None] * len(modules)
        self._by_address: dict[int, tuple[list[int], list[drgn.Symbol]]] = {}
        self._modules = [module for module, _ in modules[:_MAX_MODULES]]
        regions = sorted(
            (start, end, number)
            for number, (_, where) in enumerate(modules[:_MAX_MODULES])
            for start, end in where
        )
        self._regions = regions
        self._starts = [start for start, _, _ in regions]

    def __call__(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> Sequence[drgn.Symbol]:
        """Find symbols as ``Program.register_symbol_finder()`` describes."""
        if address is not None:
            found = self._at(address)
            return [s for s in found if name is None or s.name == name]
        result = []
        for number in range(len(self._modules)):
            for symbol in self._table(number):
                if name is None or symbol.name == name:
                    result.append(symbol)
                    if one:
                        return result
        return result

    def _at(self, address: int) -> list[drgn.Symbol]:
        at = bisect.bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._regions[at][1]:
            return []
        _start, end, number = self._regions[at]
        if number not in self._by_address:
            table = sorted(
                (s for s in self._table(number) if s.address),
                key=lambda s: (s.address, s.kind != drgn.SymbolKind.FUNC, -s.size),
            )
            self._by_address[number] = ([s.address for s in table], table)
        addresses, table = self._by_address[number]
        index = bisect.bisect_right(addresses, address) - 1
        if index < 0:
            return []
        index = bisect.bisect_left(addresses, addresses[index])
        symbol = table[index]
        inside = symbol.address <= address < symbol.address + max(symbol.size, 1)
        return [symbol] if inside and address < end else []

    def _table(self, number: int) -> list[drgn.Symbol]:
        table = self._tables[number]
        if table is None:
            try:
                table = _module_table(self._modules[number])
            except (drgn.FaultError, LookupError, ValueError):
                table = []
            self._tables[number] = table
        return table


def _module_table(module: drgn.Object) -> list[drgn.Symbol]:
    """Read ``module->kallsyms`` (``struct mod_kallsyms``, since v4.5, 8244062ef1e5)."""
    prog = module.prog_
    kallsyms = module.kallsyms
    count = kallsyms.num_symtab.value_()
    if not 0 < count <= _MAX_MODULE_SYMBOLS:
        return []
    raw = prog.read(kallsyms.symtab.value_(), count * _ELF64_SYM.size)
    entries = list(_ELF64_SYM.iter_unpack(raw))
    last = max(entry[0] for entry in entries)
    strings = _read_strings(prog, kallsyms.strtab.value_(), last)
    symbols = []
    for name_at, info, _other, section, value, size in entries:
        end = strings.find(b"\0", name_at)
        if not name_at or end < 0 or not section:  # unnamed, cut off, or undefined
            continue
        symbols.append(
            drgn.Symbol(
                strings[name_at:end].decode("ascii", "replace"),
                value,
                size,
                _BINDINGS.get(info >> 4, drgn.SymbolBinding.UNKNOWN),
                _KINDS.get(info & 0xF, drgn.SymbolKind.UNKNOWN),
            )
        )
    return symbols


def _read_strings(prog: drgn.Program, start: int, last: int) -> bytes:
    """Read a string table whose last string starts at ``last``."""
    if last > 1 << 24:
        raise ValueError("module string table is too long")
    tail = prog.read_c_string(start + last, max_size=1024)
    return bytes(prog.read(start, last)) + tail + b"\0"
