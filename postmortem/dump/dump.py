"""An open dump with everything that describes it: what those who read kernel memory are given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import drgn

from postmortem.arch import SUPPORTED
from postmortem.dump.btf_file import check_types, read_btf_file
from postmortem.dump.core import Core
from postmortem.dump.debuginfo import DebugInfo, SourceLine, find_debug_info
from postmortem.dump.selfdescribe import complete, describe
from postmortem.inputs.recognise import InputKind
from postmortem.model.findings import Problem
from postmortem.model.frame import Frame


@dataclass(frozen=True)
class Dump:
    """A dump's memory, and the types, symbols and source lines to read it with."""

    prog: drgn.Program
    """With types, symbols and unwind tables as far as they were found."""
    has_types: bool
    """Whether structs can be read; without types only symbols and the log can."""
    types_from: str = "none"
    """``btf``, ``dwarf``, ``btf+dwarf`` or ``none``."""
    debug: DebugInfo | None = None
    """DWARF of the same kernel, where it was found; it only adds to what the dump says."""
    notes: tuple[str, ...] = ()
    """Debug information that was looked for and not found, or refused, one sentence each."""
    vmcoreinfo: Mapping[str, str] | None = None
    arch: str | None = None

    def lines_at(self, pc: int, *, is_return_address: bool) -> tuple[SourceLine, ...]:
        """Function, file and line at a text address, inlined ones first; empty without DWARF."""
        if self.debug is None:
            return ()
        with suppress(LookupError):  # code outside of every module
            module = self.prog.module(pc)
            if module.name != "kernel":
                self.debug.add_module(module)
        return self.debug.lines_at(pc, is_return_address=is_return_address)

    def with_source(self, frames: Sequence[Frame]) -> tuple[Frame, ...]:
        """The frames with file and line, and with the frames that were inlined into them."""
        if self.debug is None:
            return tuple(frames)
        result: list[Frame] = []
        for frame in frames:
            lines = self.lines_at(frame.pc, is_return_address=not frame.interrupted)
            for number, line in enumerate(lines):
                physical = number == len(lines) - 1
                result.append(
                    replace(
                        frame,
                        function=frame.function if physical else line.function,
                        offset=frame.offset if physical else None,
                        size=frame.size if physical else None,
                        file=line.file or None,
                        line=line.line or None,
                        inline=not physical,
                        interrupted=frame.interrupted and number == 0,
                    )
                )
            if not lines:
                result.append(frame)
        return tuple(result)


def described(
    core: Core,
    *,
    vmlinux: str | os.PathLike[str] | None = None,
    debug_dirs: Sequence[str | os.PathLike[str]] = (),
    debuginfod: bool = False,
    beside: Sequence[Path] = (),
    btf: Path | None = None,
) -> tuple[Dump, tuple[Problem, ...]]:
    """Types, symbols and unwind tables: from the dump, and from DWARF where there is any.

    :param btf: a file with the types of this kernel, for one that has none in memory.
    :raises postmortem.errors.UsageError: the given vmlinux or BTF is not of this kernel.
    """
    vmcoreinfo = dict(core.info.vmcoreinfo)
    if core.info.arch not in SUPPORTED:
        why = f"of a dump of {core.info.arch} only the log is read yet: drgn and crash read more"
        dump = Dump(core.program, False, vmcoreinfo=vmcoreinfo, arch=core.info.arch)
        return dump, (Problem("symbols, types", why),)
    given = None if btf is None else read_btf_file(btf, core)
    live = core.info.kind is InputKind.KCORE
    memory_end = 0 if live else core.info.memory_end
    own = describe(core.program, vmcoreinfo, given, memory_end)
    if btf is not None:
        check_types(core.program, btf, own)
    search = find_debug_info(
        core, vmlinux=vmlinux, debug_dirs=debug_dirs, debuginfod=debuginfod, beside=beside
    )
    has_dwarf = search.found is not None
    if search.found is not None and own.symbols and not own.types:
        search.found.attach(core.program)
        kept = (problem for problem in own.problems if problem.what != "types")
        own = replace(own, problems=(*kept, *complete(core.program)))
    sources = [name for name, has in (("btf", own.types), ("dwarf", has_dwarf)) if has]
    dump = Dump(
        prog=core.program,
        has_types=bool(sources),
        types_from="+".join(sources) or "none",
        debug=search.found,
        notes=search.notes,
        vmcoreinfo=vmcoreinfo,
        arch=core.info.arch,
    )
    return dump, (*own.problems, *search.problems)
