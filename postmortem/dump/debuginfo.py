"""DWARF, when it is there: file and line, inlined functions, and types of variables.

A dump is analysed with what it says about itself. DWARF only adds, and it is
kept in a Program of its own: drgn would otherwise unwind and name every frame
of every task through DWARF (1.3 ms a task instead of 0.05) and index 600 MB
for the first type that is looked up. Asked for the distinct addresses only,
source lines cost some 50 ms in all.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import drgn

from postmortem.dump import elf
from postmortem.dump.core import Core
from postmortem.dump.damage import damage
from postmortem.errors import UnreadableInputError, UsageError
from postmortem.inputs.compressed import detect
from postmortem.inputs.source import PlainFile, shown
from postmortem.model.findings import Problem

SYSTEM_DIRECTORIES = ("/usr/lib/debug",)
DEBUGINFOD_LIMITS = {
    # Give up a server that is silent or slower than 100 KB/s for so many seconds.
    "DEBUGINFOD_TIMEOUT": "15",
    # And any download that lasts longer than this; a vmlinux has 200 MB and more.
    "DEBUGINFOD_MAXTIME": "300",
    "DEBUGINFOD_RETRY_LIMIT": "0",
}
"""elfutils' own knobs (debuginfod-client-config(7)), used where the user has not set them."""

SILENT_SECONDS = 5
"""A request that failed after so long failed because the server is silent."""

MAX_FILES = 200_000
"""Files of ``--debug-dir`` that are looked at for modules."""

_TREES = (
    "arch|block|certs|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net|rust"
    "|samples|security|sound|usr|virt"
)
_BUILD_DIRECTORY = re.compile(rf"^.*?/linux[^/]*/(?=(?:{_TREES})/)")


@dataclass(frozen=True)
class SourceLine:
    """A function at an address, and where in the source that is."""

    function: str | None
    file: str
    """Relative to the kernel's source tree; empty when unknown."""
    line: int
    """0 when unknown."""
    column: int
    inlined: bool
    """Inlined into the next one of its list."""


@dataclass
class DebugInfo:
    """Debug files that match the dump."""

    program: drgn.Program
    """Reads the dump's memory, has DWARF types and variables, no tasks of its own."""
    vmlinux: Path
    found_by: str
    """``--vmlinux``, ``--debug-dir``, ``system`` or ``debuginfod``."""
    build_id: str | None
    modules: list[str] = field(default_factory=list)
    """Modules whose debug files are loaded."""
    _directories: tuple[Path, ...] = ()
    _use_debuginfod: bool = False
    _lines: dict[int, tuple[SourceLine, ...]] = field(default_factory=dict)
    _tried: set[str] = field(default_factory=set)
    _module_files: dict[str, list[Path]] | None = None

    def lines_at(self, pc: int, *, is_return_address: bool) -> tuple[SourceLine, ...]:
        """The function at ``pc`` and those inlined there, innermost first; empty if unknown.

        A return address belongs to the call before it; the address of an
        interrupted frame (``Frame.interrupted``) to itself.
        """
        address = pc - 1 if is_return_address else pc
        found = self._lines.get(address)
        if found is None:
            try:
                places = list(self.program.source_location(address))
            except damage():
                places = []
            found = tuple(
                SourceLine(
                    place.name(),
                    source_path(place.filename),
                    place.line,
                    place.column,
                    inlined=index < len(places) - 1,
                )
                for index, place in enumerate(places)
            )
            self._lines[address] = found
        return found

    def add_module(self, module: drgn.Module) -> bool:
        """Load the debug file of one module of the dump, if there is one.

        :param module: Of the dump's own program, with its section addresses.
        """
        name = module.name
        if name in self._tried:
            return name in self.modules
        self._tried.add(name)
        ranges = module.address_ranges or ()
        if not ranges:
            return False
        # The names that were made of it so far are those without its DWARF.
        self._lines.clear()
        twin = self.program.relocatable_module(name, ranges[0][0], create=True)
        twin.build_id = module.build_id
        twin.address_ranges = ranges
        for section, address in module.section_addresses.items():
            twin.section_addresses[section] = address
        with suppress(Exception):
            self.program.find_standard_debug_info([twin])
        if not twin.debug_file_path:
            for path in self._files_of(name):
                with suppress(Exception):
                    twin.try_file(path)
                if twin.debug_file_path:
                    break
        if not twin.debug_file_path and self._use_debuginfod and twin.build_id:
            began = time.monotonic()
            with suppress(Exception):
                self.program.load_module_debug_info(twin)
            # A server that made us wait in vain is not asked for every module.
            if not twin.debug_file_path and time.monotonic() - began > SILENT_SECONDS:
                self._use_debuginfod = False
        if twin.debug_file_path:
            self.modules.append(name)
        return bool(twin.debug_file_path)

    def _files_of(self, name: str) -> list[Path]:
        """Files in ``--debug-dir`` that could be the module, for those built out of tree."""
        if self._module_files is None:
            self._module_files = {}
            for path in _walk(self._directories):
                stem = re.sub(r"\.ko(?:\.debug)?$", "", path.name)
                if stem != path.name:
                    self._module_files.setdefault(stem.replace("-", "_"), []).append(path)
        return self._module_files.get(name.replace("-", "_"), [])

    def attach(self, program: drgn.Program) -> None:
        """Give the DWARF of vmlinux to the dump's own program, for a shell's sake."""
        module = program.main_module("kernel", create=True)
        if module.build_id is None and self.build_id:
            module.build_id = bytes.fromhex(self.build_id)
        module.try_file(self.vmlinux, force=True)
        rest = [name for name in program.enabled_type_finders() if name != "dwarf"]
        program.set_enabled_type_finders(["dwarf", *rest])


@dataclass(frozen=True)
class Search:
    """What was found, and what went wrong on the way."""

    found: DebugInfo | None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What was not found or does not fit: the answer does without it."""


def source_path(filename: str) -> str:
    """A DWARF file name without the directory that the kernel was built in."""
    path = os.path.normpath(filename) if filename else ""
    return _BUILD_DIRECTORY.sub("", path)


def find_debug_info(
    core: Core,
    *,
    vmlinux: str | os.PathLike[str] | None = None,
    debug_dirs: Sequence[str | os.PathLike[str]] = (),
    debuginfod: bool = False,
    beside: Sequence[Path] = (),
    system: bool = True,
) -> Search:
    """Look for the dump's vmlinux: the given file, the directories, the system, debuginfod.

    ``beside`` are files of the folder that the dump lies in. A given vmlinux that is of
    another build or has no DWARF raises :class:`~postmortem.errors.UsageError`; finding
    nothing is no error.
    """
    directories = tuple(Path(directory) for directory in debug_dirs)
    for directory in directories:
        if not directory.is_dir():
            raise UsageError(f"--debug-dir {shown(directory)} is not a directory: check the path")
    build_id = kernel_build_id(core)
    program = _second_program(core)
    module = program.main_module("kernel", create=True)
    if build_id:
        module.build_id = bytes.fromhex(build_id)
    program.debug_info_options.directories = (
        *(str(directory) for directory in directories),
        *_tree_of(vmlinux),
        *(SYSTEM_DIRECTORIES if system else ()),
    ) or ("/nonexistent",)
    urls = os.environ.get("DEBUGINFOD_URLS", "").strip()
    problems: list[Problem] = []
    notes: list[str] = []

    def found(path: str | os.PathLike[str], by: str) -> Search:
        return Search(
            DebugInfo(
                program,
                Path(path),
                by,
                build_id,
                _directories=directories,
                _use_debuginfod=debuginfod and bool(urls),
            ),
            tuple(problems),
            tuple(notes),
        )

    if debuginfod and urls:
        for name, value in DEBUGINFOD_LIMITS.items():
            os.environ.setdefault(name, value)
        program.set_enabled_debug_info_finders(["debuginfod"])
    else:
        program.set_enabled_debug_info_finders([])

    if vmlinux is not None:
        path = Path(vmlinux)
        _check_vmlinux(path, core, build_id, f"--vmlinux {shown(path)}")
        _try(partial(module.try_file, path, force=True), problems, shown(path))
        if module.debug_file_path:
            return found(path, "--vmlinux")
        raise UsageError(
            f"--vmlinux {shown(path)} can't be used ({_why(problems)}): give the vmlinux of"
            f" the debug package of {shown(core.info.osrelease)}"
        )
    for path in beside:
        try:
            _check_vmlinux(path, core, build_id, f"{shown(path.name)} beside the dump")
        except (UsageError, UnreadableInputError) as error:
            notes.append(str(error))
            continue
        _try(partial(module.try_file, path, force=True), problems, shown(path))
        if module.debug_file_path:
            return found(path, "beside the dump")
    for path in _likely_files(directories, core.info.osrelease):
        if _matches(path, core, build_id):
            _try(partial(module.try_file, path, force=True), problems, shown(path))
            if module.debug_file_path:
                return found(path, "--debug-dir")
    if build_id:
        # Without a build id drgn would take any file of that name.
        _try(partial(program.find_standard_debug_info, [module]), problems, "debug directories")
        if module.debug_file_path:
            path = Path(module.debug_file_path)
            inside = any(directory in path.parents for directory in directories)
            return found(path, "--debug-dir" if inside else "system")
    if debuginfod:
        miss = _ask_debuginfod(program, module, urls, build_id)
        if module.debug_file_path:
            return found(module.debug_file_path, "debuginfod")
        notes.append(f"debuginfod: {miss}")
    if directories and not problems:
        problems.append(
            Problem("debug information", "no vmlinux of the dump's kernel in --debug-dir")
        )
    return Search(None, tuple(problems), tuple(notes))


def _second_program(core: Core) -> drgn.Program:
    """A program that reads the memory of the first one, whatever format that has."""
    main = core.program
    program = drgn.Program(main.platform)
    program.set_linux_kernel_custom(main["VMCOREINFO"].string_(), False)

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        data: bytes = main.read(address, count, physical)
        return data

    end = (1 << 64) - 1
    program.add_memory_segment(0, end, read, physical=True)
    program.add_memory_segment(0, end, read, physical=False)
    return program


def kernel_build_id(core: Core) -> str | None:
    """The kernel's build id: its notes are in memory, VMCOREINFO names it since v5.9.

    Memory is asked first, by the symbols of the dump: some stable kernels write garbage
    into VMCOREINFO (backports of 905415ff3ffb, "lib/buildid: harden build ID parsing
    logic").
    """
    try:
        start = core.program.symbol("__start_notes").address
        size = core.program.symbol("__stop_notes").address - start
        if 0 < size <= 1 << 16:
            for note in elf.parse_notes(core.program.read(start, size)):
                if note.name == b"GNU" and note.type == elf.NT_GNU_BUILD_ID:
                    return note.desc.hex()
    except damage():
        pass
    return core.info.build_id


def _check_vmlinux(path: Path, core: Core, build_id: str | None, name: str) -> None:
    """Refuse a vmlinux that is none, has no DWARF, or is of another build.

    :param name: what the user knows it as.
    """
    wanted = f"give the vmlinux of the debug package of {shown(core.info.osrelease)}"
    try:
        source = PlainFile(path)
    except OSError as error:
        raise UnreadableInputError(f"{name} can't be read: {error.strerror}") from None
    try:
        head = source.pread(1 << 10, 0)
        if detect(head):
            raise UsageError(f"{name} is {detect(head)} data: decompress it first")
        if head[0x202:0x206] == b"HdrS":
            raise UsageError(f"{name} is a bootable image without debug information: {wanted}")
        try:
            header = elf.read_elf(source)
            sections = {section.name for section in elf.read_sections(source, header)}
        except elf.BadElfError:
            raise UsageError(f"{name} is not an ELF file: {wanted}") from None
        if header.type not in (elf.ET_EXEC, elf.ET_DYN) or "__ksymtab" not in sections:
            raise UsageError(f"{name} is not a kernel: {wanted}")
        if header.machine != core.info.arch:
            raise UsageError(
                f"{name} is a kernel for {header.machine}, not for {core.info.arch}: {wanted}"
            )
        its = elf.read_build_id(source, header)
        if build_id and its and its != build_id:
            raise UsageError(
                f"{name} is of another build, its build id is {its} and the dump's kernel has"
                f" {build_id}: {wanted}"
            )
        if not (build_id and its) and not _same_banner(source, header, core):
            raise UsageError(
                f"{name} has another version banner than the kernel in the dump: {wanted}"
            )
        if not sections & {".debug_info", ".zdebug_info"}:
            raise UsageError(f"{name} has no DWARF, it was stripped: {wanted}")
    except OSError as error:
        raise UnreadableInputError(f"{name} can't be read: {error.strerror}") from None
    finally:
        source.close()


def _matches(path: Path, core: Core, build_id: str | None) -> bool:
    try:
        _check_vmlinux(path, core, build_id, shown(path))
    except (UsageError, UnreadableInputError):
        return False
    return True


def _same_banner(source: PlainFile, header: elf.Elf, core: Core) -> bool:
    """Whether ``linux_banner`` of the file is in the dump's memory (kernels before v5.9)."""
    start = f"Linux version {core.info.osrelease} (".encode()
    for section in elf.read_sections(source, header):
        if section.name != ".rodata":
            continue
        data = source.pread(min(section.size, 64 << 20), section.offset)
        at = data.find(start)
        if at >= 0:
            banner = re.split(rb"[\n\0]", data[at : at + 512], maxsplit=1)[0]
            return next(core.search(banner, limit=1), None) is not None
    return False


def _likely_files(directories: Sequence[Path], release: str) -> Iterator[Path]:
    """Where a vmlinux lies in a directory that somebody names."""
    if not re.fullmatch(r"[\w.+~-]+", release):
        return
    for directory in directories:
        for name in (
            "vmlinux",
            f"vmlinux-{release}",
            f"vmlinux-{release}.debug",
            "vmlinux.debug",
            f"boot/vmlinux-{release}",
            f"lib/modules/{release}/vmlinux",
            f"usr/lib/debug/boot/vmlinux-{release}",
            f"usr/lib/debug/lib/modules/{release}/vmlinux",
        ):
            path = directory / name
            if path.is_file():
                yield path


def _tree_of(vmlinux: str | os.PathLike[str] | None) -> tuple[str, ...]:
    """Where a debug package that has this vmlinux in it has its modules."""
    if vmlinux is None:
        return ()
    parents = Path(vmlinux).absolute().parents
    if parents[0].name == "boot":
        return (str(parents[1]),)
    if len(parents) > 3 and parents[1].name == "modules" and parents[2].name == "lib":
        return (str(parents[3]),)
    return (str(parents[0]),)


def _walk(directories: Sequence[Path]) -> Iterator[Path]:
    count = 0
    for directory in directories:
        for parent, _, names in os.walk(directory):
            for name in names:
                count += 1
                if count > MAX_FILES:
                    return
                yield Path(parent, name)


def _ask_debuginfod(
    program: drgn.Program, module: drgn.Module, urls: str, build_id: str | None
) -> str:
    """Why the servers did not give it, if they did not."""
    if not urls:
        return "no server is known: set DEBUGINFOD_URLS"
    if not build_id:
        return "the dump does not tell its kernel's build id"
    began = time.monotonic()
    _try(partial(program.load_module_debug_info, module), [], "debuginfod")
    waited = time.monotonic() - began
    if waited > SILENT_SECONDS:
        return f"{shown(urls)} did not answer in {waited:.0f} s"
    return f"{shown(urls)} gave no vmlinux for build id {build_id}"


def _try(load: Callable[[], object], problems: list[Problem], what: str) -> None:
    """Debug files are as broken as dumps; none of them ends the analysis."""
    try:
        load()
    except drgn.MissingDebugInfoError:
        pass
    except Exception as error:
        problems.append(Problem(what, shown(str(error))))


def _why(problems: Sequence[Problem]) -> str:
    return "; ".join(problem.why for problem in problems) or "drgn found no DWARF in it"
