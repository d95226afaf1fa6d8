"""Read the variables of a kernel and of its modules out of their debug files.

drgn's index knows every variable that stands outside a function. The files'
symbol tables say which of them there are, where and how large; a variable counts
only when DWARF puts it at the very address of its symbol.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import drgn
from elftools.elf.elffile import ELFFile

from corpus.generate.ctypes_text import InexpressibleError, expression
from postmortem.dump.btf import STRUCT, Btf

_PLATFORM = drgn.Platform(drgn.Architecture.X86_64)
_SYMBOL = struct.Struct("<IBBHQQ")
_OBJECT, _FILE = 1, 4
_NOISE = re.compile(
    r"__(UNIQUE_ID|ksymtab|kstrtab|kstrtabns|crc|func__|pfx|BTF_ID|already_done)_|.*\.\d+$"
)
"""Names that the build invents: nobody asks for them, and a compiler numbers them anew."""


@dataclass(frozen=True)
class Variable:
    """A variable that DWARF and symbol table agree on."""

    module: str
    """Empty for the kernel proper."""
    name: str
    size: int
    """Bytes, as its symbol says."""
    type: str
    """In the notation of :mod:`postmortem.dump.typetext`."""


@dataclass
class Reading:
    """What was found, and why the rest was not."""

    variables: list[Variable] = field(default_factory=list)
    structs: list[str] = field(default_factory=list)
    """Names of the structs in the BTF of the kernel proper."""
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Symbol:
    name: str
    address: int
    size: int
    file: str | None
    """Base name of the source file, for one that only that file sees."""


def read_file(path: Path, module: str, into: Reading) -> None:
    """Add the variables of one vmlinux or module."""
    prog = drgn.Program(_PLATFORM)
    try:
        prog.extra_module("file", create=True).try_file(str(path), force=True)
    except (ValueError, LookupError, OSError) as error:
        into.left_out[f"file without DWARF: {type(error).__name__}"] += 1
        return
    for symbol in _symbols(path):
        if _NOISE.match(symbol.name):
            into.left_out["inside a function, or named by the build"] += 1
            continue
        found = _find(prog, symbol)
        if found is None:
            into.left_out["not in DWARF, or elsewhere"] += 1
            continue
        try:
            text = expression(found)
        except InexpressibleError as error:
            into.left_out[f"can't be said: {error}"] += 1
            continue
        into.variables.append(Variable(module, symbol.name, symbol.size, text))


def _find(prog: drgn.Program, symbol: _Symbol) -> drgn.Type | None:
    for file in dict.fromkeys((symbol.file, None)):
        try:
            found = prog.variable(symbol.name, file)
        except (LookupError, drgn.BadDataError):
            continue
        if found.address_ == symbol.address:
            return found.type_
    return None


def _symbols(path: Path) -> Iterator[_Symbol]:
    with path.open("rb") as file:
        elf = ELFFile(file)
        section = elf.get_section_by_name(".symtab")
        if section is None:
            return
        table, strings = section.data(), elf.get_section(section["sh_link"]).data()
    source = None
    for at, info, _other, index, value, size in _SYMBOL.iter_unpack(table):
        kind = info & 0xF
        if kind not in (_OBJECT, _FILE):
            continue
        name = strings[at : strings.index(b"\0", at)].decode("ascii", "replace")
        if kind == _FILE:
            source = name
        elif name and index and size:
            yield _Symbol(name, value, size, source if not info >> 4 else None)


def struct_names(vmlinux: Path) -> list[str]:
    """Names of the structs that the kernel carries with it as BTF."""
    with vmlinux.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".BTF")
        btf = Btf(section.data())
    return sorted({name for number in btf.ids(STRUCT) if (name := btf.head(number)[1])})


def read_tree(root: Path) -> Reading:
    """The variables of a debug package that was unpacked below ``root``."""
    reading = Reading()
    vmlinux = next(path for path in sorted(root.rglob("vmlinux*")) if not path.is_symlink())
    read_file(vmlinux, "", reading)
    reading.structs = struct_names(vmlinux)
    for path in sorted(root.rglob("*.ko")) + sorted(root.rglob("*.ko.debug")):
        name = path.name.split(".ko")[0].replace("-", "_")
        read_file(path, name, reading)
    return reading
