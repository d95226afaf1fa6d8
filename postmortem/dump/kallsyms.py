"""The kernel's own symbol table, out of the dump.

:class:`Kallsyms` decodes what scripts/kallsyms.c wrote, and only what is asked
for: a hundred of 150,000 symbols is what an analysis needs. From v6.0 VMCOREINFO
says where the table lies (f09bddbd8661, "vmcoreinfo: add kallsyms_num_syms
symbol"); before that :mod:`postmortem.dump.kallsyms_find` finds it by its shape.
Modules carry an ELF symbol table each.
"""

from __future__ import annotations

import bisect
import struct
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import drgn

from postmortem.dump.damage import damage, tolerated

_TOKENS = 256
_PER_BLOCK = 256
"""Names between two markers."""
_MAX_SYMBOLS = 1 << 22
_MAX_NAMES_BYTES = 64 << 20
_MAX_TEXT_BYTES = 128 << 20
_MAX_CODES = 512
"""KSYM_NAME_LEN: no name has more characters, so no name has more codes."""
_MAX_TOKEN = 128
_MAX_GAP = 16 << 20
"""No symbol is that large: behind it nothing is, or something else."""
_MAX_CACHED = 1 << 16
_KERNEL_SPACE = 1 << 63
_MAX_ADDRESS = (1 << 64) - 1
_SAMPLES = 64
_MAX_ALIASES = 64
_LETTERS = "abcdginprstuvwABCDGINPRSTUVW?-"
"""Types of symbols that nm knows."""
_PAGE = 4096
_IMAGES = 0xFFFFFFFF80000000
"""__START_KERNEL_map: no kernel lies below."""


@dataclass(frozen=True)
class KallsymsTable:
    """Addresses of the parts of kallsyms in kernel memory; 0 where a part does not exist."""

    names: int
    token_table: int
    token_index: int
    num_syms: int
    offsets: int
    relative_base: int = 0
    addresses: int = 0


class Kallsyms:
    """The table of one kernel: names and addresses by index, in order of address.

    The decoder of drgn reads everything at once (0.25 s and 21 MB for 155,000
    symbols), trusts what it reads and decides by the kernel's version.

    :param stext: Address of ``_stext``, if it is known.
    :raises LookupError: this is no symbol table.
    :raises drgn.FaultError: parts of it that cannot be missed are not in the dump.
    """

    def __init__(self, prog: drgn.Program, table: KallsymsTable, stext: int = 0) -> None:
        size = table.token_table - table.names
        if not 0 < size <= _MAX_NAMES_BYTES:
            raise LookupError(f"its names would have {size} bytes")
        self._tokens = _read_tokens(prog, table)
        self._data, self.missing_bytes = read_available(prog, table.names, size)
        self.count = self._count(prog, table.num_syms)
        self._blocks: dict[int, list[int]] = {}
        self._by_name: dict[str, int] | None = None
        self._more: dict[str, list[int]] = {}
        try:
            self._markers, behind_markers = self._find_markers(table.names)
        except LookupError:
            counted = len(self._walk(0, _MAX_SYMBOLS)) - 1
            if self.missing_bytes or counted == self.count:
                raise
            self.count = counted  # the number was damaged, but not absurd
            self._markers, behind_markers = self._find_markers(table.names)
        self.address = self._find_addresses(prog, table, stext)
        self._ranks = None if self.missing_bytes else self._find_ranks(prog, table, behind_markers)

    # --- names ---------------------------------------------------------------

    def _count(self, prog: drgn.Program, num_syms: int) -> int:
        """How many symbols there are: what ``kallsyms_num_syms`` says, or how many names."""
        count = 0
        with tolerated():
            count = int(prog.read_u32(num_syms))
        # A name takes at least a length and one code.
        if 0 < 2 * count <= len(self._data) and count <= _MAX_SYMBOLS:
            return count
        # Behind the last name lie at least four zeroes: the first marker.
        found = len(self._walk(0, _MAX_SYMBOLS)) - 1
        if not found or self.missing_bytes:
            raise LookupError(f"it claims {count} symbols in {len(self._data)} bytes")
        return found

    def name(self, index: int) -> bytes:
        """The letter of the type (as in nm) and the name; empty where it is not readable."""
        number, within = divmod(index, _PER_BLOCK)
        positions = self._block(number)
        if within >= len(positions):
            return b""
        tokens = self._tokens
        return b"".join([tokens[code] for code in self._codes(positions[within])])

    def _codes(self, at: int) -> bytes:
        length = self._data[at]
        if length & 0x80:  # v6.1, 73bbb94466fd: long names take two length bytes
            at += 1
            length = length & 0x7F | self._data[at] << 7
        return self._data[at + 1 : at + 1 + min(length, _MAX_CODES)]

    def _block(self, number: int) -> list[int]:
        """Positions of the names between two markers, as far as they make sense."""
        known = self._blocks.get(number)
        if known is None:
            count = min(_PER_BLOCK, self.count - number * _PER_BLOCK)
            known = self._blocks[number] = self._walk(self._markers[number], count)[:-1]
        return known

    def _walk(self, at: int, count: int) -> list[int]:
        """Positions of ``count`` names from ``at`` on, and that of their end."""
        data = self._data
        end = len(data) - 1
        positions = [at]
        for _ in range(count):
            if at >= end or not data[at]:
                break
            length = data[at]
            if length & 0x80:
                at += 1
                length = length & 0x7F | data[at] << 7
            at += 1 + length
            positions.append(at)
        return positions

    def _find_markers(self, names_at: int) -> tuple[Sequence[int], int]:
        """``kallsyms_markers`` and the address behind: VMCOREINFO does not say where it is.

        It lies between names and token table; only ``kallsyms_seqs_of_names`` may follow.
        """
        count = -(-self.count // _PER_BLOCK)
        for behind in (0, 3 * self.count):
            for padding in range(8):
                end = len(self._data) - behind - padding
                start = end - 4 * count
                if start < 0 or (names_at + start) % 4:
                    continue
                markers = array("I", self._data[start:end])
                if self._are_markers(markers, start):
                    return markers, names_at + end
        raise LookupError("it has no markers where they belong")

    def _are_markers(self, markers: Sequence[int], end: int) -> bool:
        if markers[0] or markers[-1] >= end:
            return False
        if any(markers[i] >= markers[i + 1] for i in range(len(markers) - 1)):
            return False
        last = self.count - (len(markers) - 1) * _PER_BLOCK
        behind = self._walk(markers[-1], last)[-1]
        return bool(self.missing_bytes) or 0 <= end - behind < 8

    def names(self) -> Iterator[tuple[int, str]]:
        """Index, and letter and name as :meth:`name` has them, of all symbols."""
        # str.translate() is 4 times faster than joining tokens name by name.
        expand = {code: token.decode("latin-1") for code, token in enumerate(self._tokens)}
        separator = "\u2028"
        data, text = self._data, self._data.decode("latin-1")
        size = 0
        for number, marker in enumerate(self._markers):
            first = number * _PER_BLOCK
            at = self._walk(marker, min(_PER_BLOCK, self.count - first))
            if at[-1] - at[0] > _PER_BLOCK * _MAX_CODES:
                continue
            # The length takes one byte, or two if the first has its top bit set.
            codes = [text[a + 1 + (data[a] >> 7) : b] for a, b in pairwise(at)]
            names = separator.join(codes).translate(expand)
            size += len(names)
            if size > _MAX_TEXT_BYTES:
                return
            yield from enumerate(names.split(separator) if codes else (), first)

    def find(self, name: bytes) -> list[int]:
        """Indexes of all symbols of this name, in order of address."""
        if self._ranks is None:
            return self._find_in_all(name.decode("latin-1"))
        found = []
        rank = bisect.bisect_left(range(self.count), name, key=self._name_of_rank)
        while rank < self.count and self._name_of_rank(rank) == name:
            found.append(self._index_of_rank(rank))
            rank += 1
        return sorted(found)

    def _find_in_all(self, name: str) -> list[int]:
        if self._by_name is None:
            self._by_name = {}
            for index, text in self.names():
                if self._by_name.setdefault(text, index) != index:
                    self._more.setdefault(text, []).append(index)
        found = []
        for letter in _LETTERS:
            first = self._by_name.get(letter + name)
            if first is not None:
                found += [first, *self._more.get(letter + name, ())]
        return sorted(found)

    def _index_of_rank(self, rank: int) -> int:
        assert self._ranks is not None
        return int.from_bytes(self._ranks[3 * rank : 3 * rank + 3], "big")

    def _name_of_rank(self, rank: int) -> bytes:
        return self.name(self._index_of_rank(rank))[1:]

    def _find_ranks(
        self, prog: drgn.Program, table: KallsymsTable, behind_markers: int
    ) -> bytes | None:
        """``kallsyms_seqs_of_names``: indexes in order of the names, 3 bytes each, big-endian.

        It came in v6.2 (60443c88f3a8) behind the markers, and is the last part since
        v6.4 (404bad70fcf7, "scripts/kallsyms: change the output order").
        """
        behind = [behind_markers, table.offsets + 4 * self.count]
        if table.relative_base:
            behind.append(table.relative_base + 8)
        for at in dict.fromkeys(_align(end, by) for end in reversed(behind) for by in (4, 8)):
            try:
                self._ranks = prog.read(at, 3 * self.count)
            except drgn.FaultError:
                continue
            if self._ranks_are_sorted():
                return self._ranks
        return None

    def _ranks_are_sorted(self) -> bool:
        indexes = [self._index_of_rank(rank) for rank in _samples(self.count)]
        if max(indexes) >= self.count:
            return False
        names = [self.name(index)[1:] for index in indexes]
        return names == sorted(names) and (self.count == 1 or names[0] < names[-1])

    # --- addresses -----------------------------------------------------------

    def _find_addresses(
        self, prog: drgn.Program, table: KallsymsTable, stext: int
    ) -> Callable[[int], int]:
        """The way to turn an index into an address that makes sense here."""
        if table.addresses:
            data = prog.read(table.addresses, 8 * self.count)
            absolute = array("Q", data)
            if self._make_sense(absolute.__getitem__, stext):
                return absolute.__getitem__
            raise LookupError("its addresses make no sense")
        offsets: array[int] = array("i", prog.read(table.offsets, 4 * self.count))
        # Since v7.1 an offset counts from its own place.
        here = table.offsets
        base = int(prog.read_u64(table.relative_base)) if table.relative_base else 0

        def from_place(index: int) -> int:
            return here + 4 * index + offsets[index]

        def from_base(index: int) -> int:
            return base + (offsets[index] & 0xFFFFFFFF)

        def absolute_percpu(index: int) -> int:
            # CONFIG_KALLSYMS_ABSOLUTE_PERCPU (x86 up to v6.14): per-CPU offsets are positive.
            offset = offsets[index]
            return offset if offset >= 0 else base - 1 - offset

        ways = (absolute_percpu, from_base) if table.relative_base else (from_place,)
        for way in ways if base or not table.relative_base else ():
            if self._make_sense(way, stext):
                return way
        # What the base must be for _stext to lie where VMCOREINFO says; if the base may be
        # one, it is rather that line which is damaged.
        absurd = base % _PAGE != 0 or base < _IMAGES
        place = self._index_of(b"_stext") if stext and table.relative_base and absurd else None
        if place is not None:
            base = stext + 1 + offsets[place]
            if self._make_sense(absolute_percpu, stext):
                return absolute_percpu
            base = stext - (offsets[place] & 0xFFFFFFFF)
            if self._make_sense(from_base, stext):
                return from_base
        raise LookupError("its addresses make no sense")

    def _index_of(self, name: bytes) -> int | None:
        """The first symbol of this name, found without an order of names or addresses."""
        return next(iter(self._find_in_all(name.decode("latin-1"))), None)

    def _make_sense(self, address: Callable[[int], int], stext: int) -> bool:
        sampled = [address(index) for index in _samples(self.count)]
        if sampled != sorted(sampled) or not _KERNEL_SPACE <= sampled[-1] < 1 << 64:
            return False
        if not stext:
            return True
        first = bisect.bisect_left(range(self.count), stext, key=address)
        aliases = range(first, min(first + _MAX_ALIASES, self.count))
        return any(self.name(i)[1:] == b"_stext" and address(i) == stext for i in aliases)

    def at(self, address: int) -> int | None:
        """Index of the symbol that ``address`` is in: of aliases the first, as for the kernel."""
        indexes = range(self.count)
        index = bisect.bisect_right(indexes, address, key=self.address) - 1
        if index < 0:
            return None
        return bisect.bisect_left(indexes, self.address(index), key=self.address)

    def size(self, index: int) -> int:
        """Bytes up to the next symbol, 0 if that is too far away to mean anything."""
        address = self.address(index)
        following = bisect.bisect_right(range(self.count), address, lo=index, key=self.address)
        if following >= self.count:
            return 0
        size = self.address(following) - address
        return size if 0 <= size <= _MAX_GAP else 0


def _align(value: int, by: int) -> int:
    return -(-value // by) * by


def _samples(count: int) -> list[int]:
    """Some indexes of ``count``, the first and the last among them."""
    return [number * (count - 1) // _SAMPLES for number in range(_SAMPLES + 1)]


def _read_tokens(prog: drgn.Program, table: KallsymsTable) -> list[bytes]:
    """What each code stands for."""
    starts: tuple[int, ...] = ()
    with tolerated():
        starts = struct.unpack(f"<{_TOKENS}H", prog.read(table.token_index, 2 * _TOKENS))
    if not starts or starts[0] or any(a >= b for a, b in pairwise(starts)):
        return _split_tokens(prog, table.token_table)  # the index is damaged
    # The last token has no successor that would tell its length.
    text = prog.read(table.token_table, starts[-1])
    text += prog.read_c_string(table.token_table + starts[-1], max_size=_MAX_TOKEN) + b"\0"
    tokens = []
    for start in starts:
        end = text.find(b"\0", start, start + _MAX_TOKEN)
        if end < 0:
            raise LookupError("its tokens are damaged")
        tokens.append(text[start:end])
    return tokens


def _split_tokens(prog: drgn.Program, start: int) -> list[bytes]:
    """The tokens one after the other, as the table has them."""
    tokens: list[bytes] = []
    for _ in range(_TOKENS):
        token = prog.read_c_string(start, max_size=_MAX_TOKEN)
        if len(token) >= _MAX_TOKEN:
            raise LookupError("its tokens are damaged")
        tokens.append(token)
        start += len(token) + 1
    return tokens


def read_available(prog: drgn.Program, start: int, size: int) -> tuple[bytes, int]:
    """Read memory; what is not in the dump becomes zeroes, and how many bytes that are."""
    try:
        return prog.read(start, size), 0
    except drgn.FaultError:
        pass
    parts = []
    missing = 0
    at = start
    while at < start + size:
        length = min(_PAGE - at % _PAGE, start + size - at)
        try:
            parts.append(prog.read(at, length))
        except drgn.FaultError:
            parts.append(bytes(length))
            missing += length
        at += length
    return b"".join(parts), missing


# --- the kernel proper --------------------------------------------------------

_LINES = (
    "kallsyms_names",
    "kallsyms_token_table",
    "kallsyms_token_index",
    "kallsyms_num_syms",
    "kallsyms_offsets",
    "kallsyms_relative_base",
    "kallsyms_addresses",
)
_LETTER_KINDS = {
    **dict.fromkeys("bdgr", drgn.SymbolKind.OBJECT),
    "t": drgn.SymbolKind.FUNC,
}


class VmlinuxSymbols:
    """Symbol finder for the kernel proper."""

    def __init__(self, table: Kallsyms) -> None:
        self.table = table
        self._symbols: dict[int, drgn.Symbol] = {}
        self._at: dict[int, list[drgn.Symbol]] = {}

    def __call__(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> Sequence[drgn.Symbol]:
        """Find symbols as ``Program.register_symbol_finder()`` describes."""
        if address is not None:
            found = self._containing(address)
        elif name is not None:
            found = [self._symbol(index) for index in self.table.find(name.encode())]
            # Of several static ones and a global one, the latter is meant.
            found.sort(key=lambda symbol: symbol.binding != drgn.SymbolBinding.GLOBAL)
        else:
            found = [self._symbol(index, text) for index, text in self.table.names()]
        if address is not None and name is not None:
            found = [symbol for symbol in found if symbol.name == name]
        return found[:1] if one else found

    def _containing(self, address: int) -> list[drgn.Symbol]:
        if address < _KERNEL_SPACE:
            # Absolute per-CPU symbols lie there, and would name every small number.
            return []
        found = self._at.get(address)
        if found is None:
            index = self.table.at(address)
            symbol = None if index is None else self._symbol(index)
            inside = symbol is not None and address < symbol.address + max(symbol.size, 1)
            found = [symbol] if symbol is not None and inside else []
            if len(self._at) < _MAX_CACHED:
                self._at[address] = found
        return found

    def _symbol(self, index: int, text: str | None = None) -> drgn.Symbol:
        symbol = self._symbols.get(index)
        if symbol is None:
            if text is None:
                text = self.table.name(index).decode("latin-1")
            symbol = _vmlinux_symbol(text, self.table.address(index), self.table.size(index))
            self._symbols[index] = symbol
        return symbol


def _vmlinux_symbol(text: str, address: int, size: int) -> drgn.Symbol:
    letter = text[:1]
    binding = drgn.SymbolBinding.GLOBAL if letter.isupper() else drgn.SymbolBinding.LOCAL
    if letter.lower() in ("v", "w"):
        binding = drgn.SymbolBinding.WEAK
    kind = _LETTER_KINDS.get(letter.lower(), drgn.SymbolKind.UNKNOWN)
    return drgn.Symbol(text[1:], address & _MAX_ADDRESS, size, binding, kind)


def vmlinux_symbols(prog: drgn.Program, vmcoreinfo: Mapping[str, str]) -> VmlinuxSymbols:
    """The symbols of the kernel proper.

    :param vmcoreinfo: The note's lines as key and value (``SYMBOL(_stext)`` ...).
    :raises LookupError: there is no table that can be read.
    :raises drgn.FaultError: it is not in the dump.
    """
    stext = _line(vmcoreinfo, "_stext")
    told = _from_vmcoreinfo(vmcoreinfo)
    first: BaseException | None = None
    for table, start in _tables(prog, vmcoreinfo, told, stext):
        try:
            return VmlinuxSymbols(Kallsyms(prog, table, start))
        except damage() as exc:
            first = first or exc
    if first is not None and told is not None:
        raise first
    raise LookupError(
        "nothing in the kernel image looks like one"
        if stext
        else "VMCOREINFO does not say where the kernel's text starts"
    )


def _tables(
    prog: drgn.Program,
    vmcoreinfo: Mapping[str, str],
    told: KallsymsTable | None,
    stext: int,
) -> Iterator[tuple[KallsymsTable, int]]:
    """Where the table may be, and the address of ``_stext`` that it must name.

    First where VMCOREINFO says, then by its shape; at last without asking for ``_stext``,
    which is one more number that may be damaged.
    """
    from postmortem.dump.kallsyms_find import tables_by_shape

    if told is not None:
        yield told, stext
    if stext:
        for table in tables_by_shape(prog, stext, _line(vmcoreinfo, "init_uts_ns")):
            yield table, stext
    if told is not None and stext:
        yield told, 0


def _line(vmcoreinfo: Mapping[str, str], name: str) -> int:
    try:
        value = int(vmcoreinfo.get(f"SYMBOL({name})", "0"), 16)
    except ValueError:
        return 0
    return value if 0 <= value < 1 << 64 else 0


def _from_vmcoreinfo(vmcoreinfo: Mapping[str, str]) -> KallsymsTable | None:
    found = {name.removeprefix("kallsyms_"): _line(vmcoreinfo, name) for name in _LINES}
    if not all(found[name] for name in ("names", "num_syms", "token_table", "token_index")):
        return None
    if not (found["offsets"] or found["addresses"]):
        return None
    return KallsymsTable(**found)


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
        self._numbers: dict[str, int] | None = None
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

    def __len__(self) -> int:
        return len(self._modules)

    def modules(self) -> Collection[str]:
        """Names of the modules, in the order of the kernel's list."""
        if self._numbers is None:
            self._numbers = {}
            for number, module in enumerate(self._modules):
                with suppress(drgn.FaultError, LookupError):
                    name = module.name.string_().decode("ascii", "replace")
                    self._numbers[name] = number
        return self._numbers.keys()

    def all_of(self, module: str) -> list[drgn.Symbol]:
        """All symbols of one of the :meth:`modules`."""
        self.modules()
        assert self._numbers is not None
        return self._table(self._numbers[module])

    def of_module(self, module: str, name: str) -> list[drgn.Symbol]:
        """Symbols of this name in one of the :meth:`modules`."""
        return [symbol for symbol in self.all_of(module) if symbol.name == name]

    def table_at(self, address: int) -> Sequence[drgn.Symbol]:
        """All symbols of the module that has ``address``, in the order of its table."""
        at = bisect.bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._regions[at][1]:
            return ()
        return self._table(self._regions[at][2])

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
            except damage():
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
    table: bytes = prog.read(start, last) + tail + b"\0"
    return table
