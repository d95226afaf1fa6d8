"""Give a program the types, symbols and unwind tables that lie in the dump itself.

:func:`describe` is all that the rest of the house calls: afterwards
``prog["init_task"]``, ``prog.symbol()``, ``prog.stack_trace()`` and nearly all
of ``drgn.helpers.linux`` work without any debug file. DWARF of vmlinux, when it is
loaded later, is asked first and BTF fills what it lacks; that of modules adds to BTF.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import drgn

from postmortem.dump.available import Available, available
from postmortem.dump.btf import STRUCT, UNION, Btf, BtfError, BtfTypes
from postmortem.dump.btf_index import type_places
from postmortem.dump.damage import damage, tolerated
from postmortem.dump.globals import ANY_MODULE, GlobalVariables, Variable, only_one
from postmortem.dump.kallsyms import (
    ModuleSymbols,
    VmlinuxSymbols,
    text_start,
    vmlinux_symbols,
)
from postmortem.dump.stand_ins import register_stand_ins
from postmortem.dump.without_tables import map_direct
from postmortem.dump.xarray import idr_entries
from postmortem.model.findings import Problem

_MAX_BTF_BYTES = 64 << 20
_LIVE_BTF = Path("/sys/kernel/btf/vmlinux")
SymbolFinder = Callable[[drgn.Program, "str | None", "int | None", bool], Sequence[drgn.Symbol]]
_MAX_MODULES = 4096


@dataclass(frozen=True)
class Description:
    """What the dump could say about itself."""

    symbols: bool
    """Symbols of the kernel proper were found."""
    types: bool
    """BTF was found."""
    unwind: bool
    """ORC tables were found."""
    modules: int
    """Modules whose symbols can be read."""
    problems: tuple[Problem, ...] = ()


def describe(
    prog: drgn.Program,
    vmcoreinfo: Mapping[str, str],
    btf: bytes | None = None,
    memory_end: int = 0,
) -> Description:
    """Attach types, symbols, global variables and ORC of the dump to ``prog``.

    :param prog: A program with a core, nothing else.
    :param vmcoreinfo: The note's lines as key and value.
    :param btf: types of this very kernel, where its memory has none.
    :param memory_end: One past the highest physical address, where that may be read.
    """
    problems: list[Problem] = []
    symbols = _find_symbols(prog, vmcoreinfo, problems)
    if symbols is None:
        return Description(False, False, False, 0, tuple(problems))
    # Only where symbols are missing that of BTF may be one of them.
    text = text_start(vmcoreinfo) if problems else 0
    prog.register_symbol_finder("kallsyms", symbols, enable_index=0)
    if memory_end and map_direct(prog, memory_end):
        why = "those of the direct map are lost: memory is read by page_offset_base"
        problems.append(Problem("page tables", why))
    unwind = _enable_orc(prog)
    try:
        types = DumpTypes(prog, symbols, btf, text)
    except damage() as exc:
        problems.append(Problem("types", f"no BTF in the dump: {exc}"))
        return Description(True, False, unwind, 0, tuple(problems))
    if types.damage:
        problems.append(Problem("types", types.damage))
    prog.cache[_CACHE] = types
    # Before DWARF: that of a module only declares what lies behind the kernel's pointers,
    # and drgn completes a declaration from DWARF alone. That of vmlinux goes first when
    # it comes (DebugInfo.attach).
    prog.register_type_finder("btf", types.find_type, enable_index=0)
    prog.register_object_finder("btf", types.find_object, enable_index=-1)
    register_stand_ins(prog)
    types.modules = _add_modules(prog, problems)
    count = len(types.modules) if types.modules else 0
    return Description(True, True, unwind, count, tuple(problems))


def complete(prog: drgn.Program) -> tuple[Problem, ...]:
    """What needs types, once DWARF has brought them to a dump that has none: modules."""
    problems: list[Problem] = []
    register_stand_ins(prog)
    _add_modules(prog, problems)
    return tuple(problems)


_CACHE = "postmortem types"


def structs_of_module(prog: drgn.Program, module: str) -> Iterator[drgn.Type]:
    """The structs that a module declares itself: those in its own BTF, not in vmlinux's."""
    types = prog.cache.get(_CACHE)
    if isinstance(types, DumpTypes):
        yield from types.structs_of_module(module)


def names_of_symbols(prog: drgn.Program) -> list[str]:
    """The names of the kernel's own symbols, sorted: for completion. None if unknown."""
    types = prog.cache.get(_CACHE)
    return types.names_of_symbols() if isinstance(types, DumpTypes) else []


def kallsyms_lines(prog: drgn.Program) -> Iterator[str]:
    """``/proc/kallsyms``: address, letter, name and ``[module]`` of every symbol."""
    types = prog.cache.get(_CACHE)
    if not isinstance(types, DumpTypes):
        return
    yield from types.kallsyms_lines()
    if types.modules is None:
        return
    for module in list(types.modules.modules()):
        with tolerated():
            for symbol in types.modules.all_of(module):
                yield f"{symbol.address:016x} t {symbol.name}\t[{module}]\n"


def lettered_symbols(prog: drgn.Program) -> list[tuple[int, str, str]]:
    """Address, kind (a letter, as ``nm`` has it) and name of the kernel's own symbols, by
    address; none if its table is not known.
    """
    types = prog.cache.get(_CACHE)
    return types.lettered_symbols() if isinstance(types, DumpTypes) else []


def symbols_of_module(prog: drgn.Program, name: str) -> list[drgn.Symbol]:
    """All symbols of a loaded module."""
    types = prog.cache.get(_CACHE)
    modules = types.modules if isinstance(types, DumpTypes) else None
    return modules.all_of(name) if modules is not None and name in modules.modules() else []


def names_of_structs(prog: drgn.Program) -> list[str]:
    """The names of the kernel's structs and unions, sorted."""
    types = prog.cache.get(_CACHE)
    return types.names_of_structs() if isinstance(types, DumpTypes) else []


def module_symbols_at(prog: drgn.Program, address: int) -> Sequence[drgn.Symbol]:
    """All symbols of the module that has ``address``, in the order of its own table."""
    types = prog.cache.get(_CACHE)
    if isinstance(types, DumpTypes) and types.modules is not None:
        return types.modules.table_at(address)
    return ()


def _find_symbols(
    prog: drgn.Program, vmcoreinfo: Mapping[str, str], problems: list[Problem]
) -> SymbolFinder | None:
    """The symbols in memory; of a running kernel those that it tells root, if need be."""
    try:
        symbols = vmlinux_symbols(prog, vmcoreinfo)
    except damage() as exc:
        if _is_live(prog):
            from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

            with tolerated():
                told: SymbolFinder = load_vmlinux_kallsyms(prog)
                return told
        problems.append(Problem("symbols", f"the symbol table (kallsyms) can't be read: {exc}"))
        return None
    if symbols.table.damage:
        problems.append(Problem("symbols", symbols.table.damage))
    return symbols


def _is_live(prog: drgn.Program) -> bool:
    return bool(prog.flags & drgn.ProgramFlags.IS_LIVE)


def _enable_orc(prog: drgn.Program) -> bool:
    """Let drgn find the ORC tables by their symbols: it wants a module with an address range."""
    try:
        start = prog.symbol("_stext").address
        end = prog.symbol("_end").address
        module = prog.main_module("kernel", create=True)
        module.address_range = (start, end)
        prog.symbol("__start_orc_unwind_ip")
    except (LookupError, ValueError):
        return False
    return True


def _add_modules(prog: drgn.Program, problems: list[Problem]) -> ModuleSymbols | None:
    """Make modules' symbols and ORC known; the list may break off anywhere."""
    found: list[tuple[drgn.Object, list[tuple[int, int]]]] = []
    unreadable: list[str] = []
    try:
        for module in each_module(prog):
            try:
                found.append((module, module_regions(module)))
                _add_unwind_range(prog, module)
            except damage() as exc:
                unreadable.append(str(exc))
    except damage() as exc:
        problems.append(Problem("module list", f"breaks off after {len(found)}: {exc}"))
    if unreadable:
        why = f"{len(unreadable)} modules can't be read, the first because: {unreadable[0]}"
        problems.append(Problem("modules", why))
    if not found:
        return None
    symbols = ModuleSymbols(found)
    prog.register_symbol_finder("module kallsyms", symbols, enable_index=-1)
    return symbols


def each_module(prog: drgn.Program) -> Iterator[drgn.Object]:
    """``struct module *`` of each module that is not still loading; bounded, cycle-safe."""
    head = prog["modules"].address_of_()
    module_type = prog.type("struct module")
    unformed = _constant(prog, "MODULE_STATE_UNFORMED")
    seen = {head.value_()}
    node = head.next.read_()
    while node.value_() not in seen:
        if len(seen) > _MAX_MODULES:
            raise LookupError("more modules than there can be")
        seen.add(node.value_())
        module = drgn.container_of(node, module_type, "list")
        if unformed is None or module.state.value_() != unformed:
            yield module
        node = node.next.read_()
    if node.value_() != head.value_():
        raise LookupError("the list runs in a circle")


def _constant(prog: drgn.Program, name: str) -> int | None:
    try:
        return int(prog.constant(name).value_())
    except LookupError:
        return None


def module_regions(module: drgn.Object) -> list[tuple[int, int]]:
    """``(start, end)`` of the memory that a module's sections occupy.

    :param module: ``struct module *``
    """
    from drgn.helpers.linux.module import module_address_regions

    return [(start, start + size) for start, size in module_address_regions(module) if size]


def _add_unwind_range(prog: drgn.Program, module: drgn.Object) -> None:
    try:
        entry = prog.linux_kernel_loadable_module(module, create=True)
    except MemoryError as exc:  # drgn takes the size of the module's notes as it is
        raise LookupError("the size of a note of it is absurd") from exc
    if not entry.address_ranges:
        entry.address_ranges = module_regions(module)


class DumpTypes:
    """Type and object finders over the BTF of vmlinux and, when needed, of each module."""

    def __init__(
        self, prog: drgn.Program, symbols: SymbolFinder, btf: bytes | None = None, text: int = 0
    ) -> None:
        """
        :param btf: what is read instead of the dump's own BTF.
        :param text: where the search for BTF without a symbol begins; 0 for no search.
        :raises LookupError: the dump has no BTF, or it is damaged at the start.
        :raises drgn.FaultError: its first page is not in the dump.
        """
        self._prog = prog
        self._symbols = symbols
        start, found = _read_btf(prog, text) if btf is None else (0, Available(btf))
        data, missing = found.data, found.missing_bytes
        places = (lambda: type_places(prog, start, len(data))) if start else None
        section = Btf(data, holes=found.holes, places=places)
        self._vmlinux = BtfTypes(prog, section, self._complete)
        self.damage = self._vmlinux.btf.damage
        """Why not all types can be had, if so."""
        if missing:
            what = f"{missing} of {len(data)} bytes of BTF are missing."
            self.damage = f"{what} {self.damage}".rstrip()
        self._globals = GlobalVariables(prog, self._vmlinux.constant, self._has_struct)
        self.modules: ModuleSymbols | None = None
        """Symbols of the modules, once they are known."""
        self._modules: list[_ModuleBtf] | None = None
        self._objects: dict[tuple[str, int], drgn.Object] = {}
        self._text: list[tuple[int, int]] | None = None

    def _module_sections(self) -> list[_ModuleBtf]:
        if self._modules is None:
            self._modules = []  # looking for them asks for types again
            self._modules = list(_module_btfs(self._prog))
        return self._modules

    def _sections(self, name: str) -> Iterator[BtfTypes]:
        """The types of the kernel, then those of each module that knows the string ``name``."""
        yield self._vmlinux
        for module in self._module_sections():
            types = module.types_if(name, self._vmlinux)
            if types is not None:
                yield types

    def kallsyms_lines(self) -> Iterator[str]:
        """Of the kernel proper: address, letter and name."""
        if isinstance(self._symbols, VmlinuxSymbols):
            table = self._symbols.table
            address = table.address
            for index, text in table.names():
                yield f"{address(index):016x} {text[:1]} {text[1:]}\n"

    def names_of_symbols(self) -> list[str]:
        """Of the kernel proper, without those that compilers made (``foo.cold``)."""
        if not isinstance(self._symbols, VmlinuxSymbols):
            return []
        # The first character of each is its kind.
        names = {text[1:] for _, text in self._symbols.table.names()}
        return sorted(name for name in names if name.isidentifier())

    def lettered_symbols(self) -> list[tuple[int, str, str]]:
        """See :func:`lettered_symbols`."""
        if not isinstance(self._symbols, VmlinuxSymbols):
            return []
        table = self._symbols.table
        return sorted((table.address(index), text[:1], text[1:]) for index, text in table.names())

    def names_of_structs(self) -> list[str]:
        """Structs and unions of the kernel proper."""
        btf = self._vmlinux.btf
        found: set[str] = set()
        for type_id in btf.ids(STRUCT, UNION):
            with suppress(BtfError):
                found.add(btf.head(type_id)[1])
        return sorted(found - {""})

    def structs_of_module(self, name: str) -> Iterator[drgn.Type]:
        """The structs in the module's own section."""
        for module in self._module_sections():
            types = module.types(self._vmlinux) if module.name == name else None
            if types is not None:
                for type_id in types.btf.ids(STRUCT):
                    with suppress(BtfError):
                        yield types.type(type_id)

    def find_type(
        self, prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> drgn.Type | None:
        """Find a type as ``Program.register_type_finder()`` describes."""
        try:
            for types in self._sections(name):
                found = types.find(kinds, name)
                if found is not None:
                    return found
        except BtfError:
            pass
        return None

    def _complete(self, name: str) -> drgn.Type | None:
        keyword, _, tag = name.partition(" ")
        kind = drgn.TypeKind.UNION if keyword == "union" else drgn.TypeKind.STRUCT
        return self.find_type(self._prog, drgn.TypeKindSet({kind}), tag, None)

    def find_object(
        self, prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        """Find an object as ``Program.register_object_finder()`` describes."""
        key = (name, flags.value)
        found = self._objects.get(key)
        if found is None:
            try:
                found = self._find_object(name, flags)
            except BtfError:
                return None
            if found is not None:
                self._objects[key] = found
        return found

    def _find_object(self, name: str, flags: drgn.FindObjectFlags) -> drgn.Object | None:
        if flags & drgn.FindObjectFlags.CONSTANT:
            found = self._vmlinux.constant(name)
            if found is not None:
                return found
        symbols = self._symbols(self._prog, name, None, False)
        if symbols:
            return self._at_symbol(name, flags, symbols)
        for types in islice(self._sections(name), 1, None):
            found = None
            if flags & drgn.FindObjectFlags.CONSTANT:
                found = types.constant(name)
            if found is None and flags & drgn.FindObjectFlags.FUNCTION:
                found = self._module_function(types, name)
            if found is not None:
                return found
        return self._module_variable(name) if flags & drgn.FindObjectFlags.VARIABLE else None

    def _at_symbol(
        self, name: str, flags: drgn.FindObjectFlags, symbols: Sequence[drgn.Symbol]
    ) -> drgn.Object | None:
        """A function or variable of the kernel proper, which is where its symbol is."""
        functions = [symbol for symbol in symbols if self._is_text(symbol.address)]
        if functions and flags & drgn.FindObjectFlags.FUNCTION:
            found = self._vmlinux.function(name)
            if found is None:  # BTF leaves some out
                found = self._prog.function_type(self._prog.void_type(), (), is_variadic=True)
            return drgn.Object(self._prog, found, address=functions[0].address)
        if flags & drgn.FindObjectFlags.VARIABLE:
            return self._variable(name, [symbol for symbol in symbols if symbol not in functions])
        return None

    def _module_variable(self, name: str) -> drgn.Object | None:
        """A variable of the one module that has it: of several, none is meant."""
        owners = self._globals.owners(name)
        found: list[Variable] = []
        for module in self.modules.modules() if owners and self.modules else ():
            if module in owners or ANY_MODULE in owners:
                symbols = self.modules.of_module(module, name) if self.modules else []
                variable = self._globals.find(name, symbols, module)
                if variable is not None:
                    found.append(variable)
        if len(found) != 1:
            return None
        return drgn.Object(self._prog, found[0].type, address=found[0].symbol.address)

    def _module_function(self, types: BtfTypes, name: str) -> drgn.Object | None:
        found = types.function(name)
        if found is None:
            return None
        try:
            return drgn.Object(self._prog, found, address=self._prog.symbol(name).address)
        except LookupError:
            return None

    def _is_text(self, address: int) -> bool:
        if self._text is None:
            edges = (("_stext", "_etext"), ("_sinittext", "_einittext"))
            self._text = [
                (start[0].address, end[0].address)
                for start, end in (
                    [self._symbols(self._prog, edge, None, True) for edge in pair] for pair in edges
                )
                if start and end
            ]
        return any(start <= address < end for start, end in self._text)

    def _variable(self, name: str, symbols: Sequence[drgn.Symbol]) -> drgn.Object | None:
        found = self._vmlinux.variable(name)
        if found is not None:
            symbol = only_one(symbols, drgn.sizeof(found))
            variable = Variable(found, symbol) if symbol is not None else None
        else:
            variable = self._globals.find(name, symbols)
        if variable is None:
            return None
        return drgn.Object(self._prog, variable.type, address=variable.symbol.address)

    def _has_struct(self, name: str) -> bool:
        return self._vmlinux.btf.find(STRUCT, name) is not None


def _read_btf(prog: drgn.Program, text: int) -> tuple[int, Available]:
    """Address and bytes of vmlinux's section; the address is 0 if they are from elsewhere."""
    if _is_live(prog):
        with suppress(OSError):
            return 0, Available(_LIVE_BTF.read_bytes())
    try:
        start = prog.symbol("__start_BTF").address
        size = prog.symbol("__stop_BTF").address - start
    except LookupError:
        start, size = _find_btf(prog, text)
    if not 0 < size <= _MAX_BTF_BYTES:
        raise BtfError(f"BTF would have {size} bytes")
    return start, available(prog, start, size)


_HEAD = struct.pack("<HBBII", 0xEB9F, 1, 0, 24, 0)
"""``struct btf_header`` up to ``type_off``, as every kernel has it."""
_CHUNK = 1 << 20
_IMAGE_BYTES = 96 << 20
_SMALLEST_BTF = 1 << 18


def _find_btf(prog: drgn.Program, text: int) -> tuple[int, int]:
    """Start and size of the section, by its head, where its symbols are missing.

    :raises LookupError: it is nowhere behind the start of the kernel's text.
    """
    for start in range(text, text + _IMAGE_BYTES, _CHUNK) if text else ():
        image = available(prog, start, _CHUNK + 24).data
        at = image.find(_HEAD)
        while at >= 0 and len(image) - at >= 24:
            types, names, length = struct.unpack_from("<III", image, at + len(_HEAD))
            if types == names and names + length > _SMALLEST_BTF:
                return start + at, 24 + names + length
            at = image.find(_HEAD, at + 1)
    raise LookupError("neither its symbols nor its head are found")


class _ModuleBtf:
    """A module's BTF, read from memory at once, indexed when a name in it is asked for."""

    def __init__(self, prog: drgn.Program, name: str, data: bytes) -> None:
        self._prog = prog
        self.name = name
        self._data = data
        self._types: BtfTypes | None = None
        self._damaged = False

    def types_if(self, name: str, base: BtfTypes) -> BtfTypes | None:
        """The types, if ``name`` is one of the strings."""
        return self.types(base) if name.encode() + b"\0" in self._data else None

    def types(self, base: BtfTypes) -> BtfTypes | None:
        """The types; ``None`` if the section is damaged."""
        if self._types is None and not self._damaged:
            try:
                self._types = base.continued(Btf(self._data, base.btf))
            except BtfError:
                self._damaged = True
        return self._types


def _module_btfs(prog: drgn.Program) -> Iterator[_ModuleBtf]:
    """BTF of all loaded modules (since v5.11, 36e68442d1af): ``struct btf`` in ``btf_idr``."""
    try:
        for _id, address in islice(idr_entries(prog["btf_idr"]), _MAX_MODULES):
            entry = drgn.Object(prog, "struct btf *", address)
            if not entry.kernel_btf.value_() or not entry.base_btf.value_():
                continue
            size = entry.data_size.value_()
            if 0 < size <= _MAX_BTF_BYTES:
                name = entry.name.string_().decode("ascii", "replace")
                yield _ModuleBtf(prog, name, prog.read(entry.data.value_(), size))
    except damage():
        return
