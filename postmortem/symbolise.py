"""Debug information for the frames of a log: ``--vmlinux`` and ``--debug-dir``.

Every file is opened once, whatever the number of frames. Outside of
:mod:`postmortem.log` because that half never imports drgn.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from postmortem.errors import UsageError
from postmortem.log.symbols import Location

if TYPE_CHECKING:
    import drgn


class DebugFiles:
    """Finds where code comes from in a vmlinux and in the modules' debug files."""

    def __init__(self, vmlinux: Path | None = None, folders: Sequence[Path] = ()) -> None:
        self._vmlinux = vmlinux
        self._folders = folders
        self._programs: dict[str, drgn.Program | None] = {}
        self._known: dict[tuple[str, int, str | None], tuple[Location, ...]] = {}

    def locations(self, function: str, offset: int, module: str | None) -> tuple[Location, ...]:
        """Innermost inlined function first; empty if no file says."""
        key = (function, offset, module)
        if key not in self._known:
            self._known[key] = self._look_up(function, offset, module)
        return self._known[key]

    def _look_up(self, function: str, offset: int, module: str | None) -> tuple[Location, ...]:
        program = self._program(module)
        if program is None:
            return ()
        try:
            start = program.symbol(function).address
            found = program.source_location(start + offset)
        except (LookupError, ValueError):
            return ()
        return tuple(
            Location(where.name() or function, where.filename, where.line)
            for where in found
            if where.filename
        )

    def _program(self, module: str | None) -> drgn.Program | None:
        name = module.replace("-", "_") if module else ""
        if name not in self._programs:
            self._programs[name] = self._first_usable(name)
        return self._programs[name]

    def _first_usable(self, name: str) -> drgn.Program | None:
        """What the user named must serve; of files that were merely found the first that does."""
        if not name and self._vmlinux is not None:
            return _open(self._vmlinux)
        for path in self._files.get(name or "vmlinux", ()):
            with suppress(UsageError):
                return _open(path)
        return None

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """Debug files by the name of what they are for: ``vmlinux``, ``acme_nic``."""
        found: dict[str, list[Path]] = {}
        for folder in self._folders:
            for path in sorted(folder.rglob("*"), key=lambda path: (path.suffix != ".debug", path)):
                stem = path.name.split(".ko")[0] if ".ko" in path.name else ""
                if path.name.startswith("vmlinux"):
                    stem = "vmlinux"
                if stem:
                    found.setdefault(stem.replace("-", "_"), []).append(path)
        return found


_KERNEL_START = 0xFFFFFFFF80000000
"""Where the image is linked; a log's addresses don't matter, names and offsets do."""
_MODULE_START = _KERNEL_START + (1 << 30)
_PAGE = 4096


def _open(path: Path) -> drgn.Program:
    import drgn

    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    try:
        if ".ko" in path.name:
            module: drgn.Module = _relocated(program, path)
        else:
            module = program.extra_module(str(path), create=True)
            module.address_range = (_KERNEL_START, (1 << 64) - 1)
        module.try_file(path, force=True)
    except (OSError, ValueError, LookupError) as error:
        raise UsageError(f"{path}: can't be used as debug information: {error}") from error
    if module.debug_file_path is None:
        raise UsageError(f"{path}: has no debug information; give the file of the debug package")
    return program


def _relocated(program: drgn.Program, path: Path) -> drgn.Module:
    """A module's file is not linked: give each of its code sections a place of its own."""
    module = program.relocatable_module(str(path), _MODULE_START, create=True)
    at = _MODULE_START
    for name, size in _code_sections(path):
        module.section_addresses[name] = at
        at += -(-size // _PAGE) * _PAGE
    module.address_range = (_MODULE_START, max(at, _MODULE_START + _PAGE))
    return module


def _code_sections(path: Path) -> list[tuple[str, int]]:
    """Name and bytes of each section that holds code."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as file:
            return [
                (section.name, section.data_size)
                for section in ELFFile(file).iter_sections()
                if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
            ]
    except ELFError as error:
        raise ValueError(f"no ELF file: {error}") from error
