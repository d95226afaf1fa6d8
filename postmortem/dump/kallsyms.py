"""The kernel's own symbol table, out of the dump.

From v6.0 VMCOREINFO says where it lies (f09bddbd8661, "vmcoreinfo: add
kallsyms_num_syms symbol"); before that :mod:`postmortem.dump.kallsyms_find` finds it
by its shape; :mod:`postmortem.dump.kallsyms_table` decodes it. Modules carry an ELF
symbol table each.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

import drgn

from postmortem.dump.damage import damage
from postmortem.dump.kallsyms_table import Kallsyms, KallsymsTable

_MAX_CACHED = 1 << 16
_KERNEL_SPACE = 1 << 63
_MAX_ADDRESS = (1 << 64) - 1


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
            found = []
            if symbol is not None and symbol.name:  # its name may not be in the dump
                inside = address < symbol.address + max(symbol.size, 1)
                found = [symbol] if inside else []
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


def text_start(vmcoreinfo: Mapping[str, str]) -> int:
    """Address of ``_stext``, 0 if VMCOREINFO does not say it."""
    return _line(vmcoreinfo, "_stext")


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
        self._first = {number: start for start, _, number in reversed(regions)}
        """The lowest address of each."""

    def __call__(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> Sequence[drgn.Symbol]:
        """Find symbols as ``Program.register_symbol_finder()`` describes."""
        if address is not None:
            found = self._at(address)
            return [s for s in found if name is None or s.name == name]
        result = []
        for number in range(len(self._modules)):
            if self._has_file(prog, number):
                continue
            for symbol in self._table(number):
                if name is None or symbol.name == name:
                    result.append(symbol)
                    if one:
                        return result
        return result

    def _has_file(self, prog: drgn.Program, number: int) -> bool:
        """Whether drgn has the module's file, and with it the same symbols once more."""
        with suppress(LookupError):  # also of the dictionary
            module = prog.module(self._first[number])
            return bool(module.loaded_file_path or module.debug_file_path)
        return False

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
