"""Debug information for the frames of a log: ``--vmlinux`` and ``--debug-dir``.

Every file is opened once, whatever the number of frames. Outside of
:mod:`postmortem.log` because that half never imports drgn.
"""

from __future__ import annotations

from collections.abc import Sequence
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
            found = program.source_location(f"{function}+{offset:#x}")
        except (LookupError, ValueError):
            return ()
        return tuple(
            Location(where.name or function, where.filename, where.line)
            for where in found
            if where.filename
        )

    def _program(self, module: str | None) -> drgn.Program | None:
        name = module.replace("-", "_") if module else ""
        if name not in self._programs:
            file = self._files.get(name) if name else self._vmlinux or self._files.get("vmlinux")
            self._programs[name] = _open(file) if file is not None else None
        return self._programs[name]

    @cached_property
    def _files(self) -> dict[str, Path]:
        """Debug files by the name of what they are for: ``vmlinux``, ``acme_nic``."""
        found: dict[str, Path] = {}
        for folder in self._folders:
            for path in sorted(folder.rglob("*")):
                stem = path.name.split(".ko")[0] if ".ko" in path.name else ""
                if path.name.startswith("vmlinux"):
                    stem = "vmlinux"
                if stem:
                    found.setdefault(stem.replace("-", "_"), path)
        return found


def _open(path: Path) -> drgn.Program:
    import drgn

    program = drgn.Program()
    module = program.main_module(str(path), create=True)
    try:
        module.address_range = (0, (1 << 64) - 1)
        module.try_file(path)
    except (OSError, ValueError, LookupError) as error:
        raise UsageError(f"{path}: can't be used as debug information: {error}") from error
    if module.debug_file_path is None:
        raise UsageError(f"{path}: has no debug information; give the file of the debug package")
    return program
