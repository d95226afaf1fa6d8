"""What is this file? By content, never by name, in a few milliseconds.

Nothing here imports drgn: a log must be analysed without it. Magic numbers
come from the formats' own headers: makedumpfile ``diskdump_mod.h``, LKCD
``dump.h``, crash ``vmware_vmss.h`` and ``sadump.h``, LiME ``lime.h``, Xen
``xenctrl.h``, Microsoft's ``DUMP_HEADER64``.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from postmortem.dump import elf, kdump, split
from postmortem.errors import UnknownInputError, UnreadableInputError, UsageError
from postmortem.inputs import compressed
from postmortem.inputs.encodings import unicode_of
from postmortem.inputs.flattened import SIGNATURE as FLATTENED_SIGNATURE
from postmortem.inputs.flattened import FlattenedFile
from postmortem.inputs.source import PlainFile, Source, shown
from postmortem.inputs.unpack import DamagedError, unpack

HEAD_BYTES = 1 << 16


class InputKind(str, Enum):
    """Which half of the house an input goes to."""

    VMCORE = "vmcore"
    KCORE = "kcore"
    LOG = "log"

    def __str__(self) -> str:
        return self.value


class Format(str, Enum):
    """How the bytes are laid out."""

    ELF = "ELF"
    KDUMP = "kdump-compressed"
    KCORE = "kcore"
    TEXT = "text"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Beside:
    """What lies in the same folder as an input, where the folder was given."""

    log: Path | None = None
    """The kernel's log, saved before the dump was."""
    kernels: tuple[Path, ...] = ()
    """Files that may be the vmlinux of the kernel."""
    broken: tuple[str, ...] = ()
    """A sentence for each file that should be a dump and is none."""


@dataclass(frozen=True)
class Input:
    """A recognised input."""

    kind: InputKind
    format: Format
    paths: tuple[Path, ...]
    """One file, or the parts of one split dump in the order of memory."""
    flattened: bool = False
    """In makedumpfile's flattened form (``-F``)."""
    outer: str | None = None
    """The compression around the whole file (``zstd``, ``gzip`` ...)."""
    split: bool = False
    """Written by ``makedumpfile --split``."""
    missing_parts: tuple[str, ...] = ()
    """What of a split dump is not there, one sentence each."""
    called: str | None = None
    """What people read instead of the path, where that is a makeshift: ``standard input``."""
    beside: Beside = Beside()
    file: Any = field(default=None, compare=False)
    """What has to stay open: a pipe that is still to be read, or the copy of one."""


def recognise(paths: Sequence[str | os.PathLike[str]]) -> Input:
    """Say what the given file (or the given parts of a split dump) is.

    Raises :class:`~postmortem.errors.PostmortemError` with one sentence for
    whatever can't be analysed.
    """
    if not paths:
        raise UsageError("no input was given: name a vmcore, a log or /proc/kcore")
    files = tuple(Path(path) for path in paths)
    return _gather_parts([_recognise_one(path) for path in files])


def _recognise_one(path: Path) -> Input:
    source = _open(path)
    try:
        return identify(source, path)
    except OSError as error:
        raise UnreadableInputError(f"{shown(path)} can't be read: {error.strerror}") from None
    finally:
        source.close()


def _open(path: Path) -> PlainFile:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UnreadableInputError(
                f"{shown(path)} is a directory: name the dump or log file inside it"
            )
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise UnreadableInputError(
                f"{shown(path)} is not a regular file: save its contents to a file first"
            )
        return PlainFile(path)
    except FileNotFoundError:
        raise UnreadableInputError(absent(path)) from None
    except PermissionError:
        raise UnreadableInputError(
            f"{shown(path)} can't be read without privilege: run as root, or make it readable"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path is not valid"
        if getattr(error, "errno", None) == errno.EPERM and path.name == "kcore":
            reason = "the kernel is locked down"
        raise UnreadableInputError(f"{shown(path)} can't be opened: {reason}") from None


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")


def absent(path: Path) -> str:
    """What to do about a path where nothing is."""
    url = _URL.match(str(path))
    if url is None:
        return f"{shown(path)} does not exist: check the path"
    # A path joins the two slashes of a URL.
    name = shown(f"{url[1]}://{str(path)[url.end() :]}")
    return f"{name} is a URL, and nothing is fetched from the network: download it first"


def identify_head(head: bytes, path: Path) -> Input:
    """Recognise a stream by its first bytes; of compressed ones what is inside.

    :raises postmortem.errors.UnknownInputError: it is nothing that can be analysed.
    """
    outer = compressed.detect(head)
    if outer is None or outer in ("lz4", "lzop"):
        found = Input(InputKind.VMCORE, Format.KDUMP, (path,)) if outer else None
        return found or _identify_bytes(head, _Head(head), path)
    pieces: list[bytes] = []
    with suppress(DamagedError):  # it breaks off where the block ends
        for piece in unpack(outer, io.BytesIO(head).read):
            pieces.append(piece)
            if sum(map(len, pieces)) >= HEAD_BYTES:
                break
    inner = b"".join(pieces)[:HEAD_BYTES]
    if not inner:
        raise UnknownInputError(
            f"{shown(path)} is {outer} data that holds nothing readable: copy it again"
        )
    found = _identify_bytes(inner, _Head(inner), path)
    return replace(found, outer=outer)


def identify(source: PlainFile, path: Path) -> Input:
    """Recognise one open file."""
    if is_proc_kcore(path):
        return Input(InputKind.KCORE, Format.KCORE, (path,))
    head = source.pread(HEAD_BYTES, 0)
    if not head:
        raise UnknownInputError(f"{shown(path)} is empty: the dump or log was never written")
    outer = compressed.detect(head)
    if outer is None:
        return _identify_bytes(head, source, path)
    inner = compressed.read_head(source, outer, HEAD_BYTES, shown(path))
    if not inner:
        raise UnknownInputError(
            f"{shown(path)} is {outer} data that holds nothing readable: copy it again"
        )
    if compressed.detect(inner):
        raise UnknownInputError(
            f"{shown(path)} is compressed more than once: decompress it one level first"
        )
    found = _identify_bytes(inner, _Head(inner), path)
    if found.kind is InputKind.LOG and outer in ("lz4", "lzop"):
        raise UnknownInputError(f"{shown(path)} is a log inside {outer}: decompress it first")
    return Input(found.kind, found.format, found.paths, found.flattened, outer)


class _Head:
    """The first bytes of a file whose rest costs decompression."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def pread(self, count: int, offset: int) -> bytes:
        return self.data[offset : offset + count]


def is_proc_kcore(path: Path) -> bool:
    """Whether it is the running kernel's memory."""
    try:
        return path.samefile("/proc/kcore")
    except OSError:
        return False


def _identify_bytes(head: bytes, source: Source, path: Path) -> Input:
    if head.startswith(FLATTENED_SIGNATURE):
        flat = FlattenedFile(source, stop_after=1 << 16)
        inner = flat.pread(HEAD_BYTES, 0)
        found = _identify_bytes(inner, flat, path) if inner else None
        if found is None or found.kind is not InputKind.VMCORE or found.flattened:
            raise UnknownInputError(
                f"{shown(path)} is in makedumpfile's flattened form but holds no dump we know:"
                " it was probably cut off; copy it again"
            )
        return Input(found.kind, found.format, found.paths, flattened=True)
    if head.startswith(kdump.SIGNATURE):
        return Input(InputKind.VMCORE, Format.KDUMP, (path,))
    if head.startswith(b"\x7fELF"):
        return _identify_elf(source, path)
    name = _unsupported(head, source, path)
    if name:
        raise UnknownInputError(f"{shown(path)} is {name}")
    if len(head) < 64 and any(
        magic.startswith(head) for magic in (FLATTENED_SIGNATURE, kdump.SIGNATURE)
    ):
        raise UnknownInputError(f"{shown(path)} is cut off inside its header: copy it again")
    if looks_like_text(head):
        return Input(InputKind.LOG, Format.TEXT, (path,))
    raise UnknownInputError(
        f"{shown(path)} is neither a dump nor a log that we know: expected an ELF or"
        " kdump-compressed vmcore, /proc/kcore, or the text of a kernel log"
    )


def _identify_elf(source: Source, path: Path) -> Input:
    try:
        header = elf.read_elf(source)
    except elf.BadElfError as error:
        raise UnknownInputError(
            f"{shown(path)} starts like an ELF file but {error}: copy it again from its origin"
        ) from None
    if header.type != elf.ET_CORE:
        raise UnknownInputError(f"{shown(path)} is {_elf_object(header, source)}")
    names: set[bytes] = set()
    types: set[int] = set()
    for note in elf.read_notes(source, header):
        names.add(note.name)
        if note.name in (b"CORE", b"LINUX"):
            types.add(note.type)
    sections = elf.read_sections(source, header)
    # That of Xen's dom0 has both notes: Linux' own, and addresses that only Xen can translate.
    if names & {b"Xen", b"VMCOREINFO_XEN"} or any(
        section.name.startswith((".note.Xen", ".xen_")) for section in sections
    ):
        raise UnknownInputError(
            f"{shown(path)} is a Xen dump, which is not supported yet: use crash(8), or take a"
            " dump inside the guest with kdump"
        )
    if b"VMCOREINFO" in names:
        return Input(InputKind.VMCORE, Format.ELF, (path,))
    if b"VBCORE" in names:
        raise UnknownInputError(
            f"{shown(path)} is a VirtualBox core, which is not supported yet: take a dump"
            " inside the guest with kdump"
        )
    if types & {elf.NT_AUXV, elf.NT_FILE, elf.NT_SIGINFO} and elf.NT_TASKSTRUCT not in types:
        raise UnknownInputError(
            f"{shown(path)} is the core dump of a process, not of a kernel: open it with gdb"
        )
    return Input(InputKind.VMCORE, Format.ELF, (path,))


def _elf_object(header: elf.Elf, source: Source) -> str:
    sections = {section.name for section in elf.read_sections(source, header)}
    give = "give the vmcore as the input"
    if header.type == elf.ET_REL and ".modinfo" in sections | {".gnu.linkonce.this_module"}:
        if ".gnu.linkonce.this_module" in sections or ".modinfo" in sections:
            return f"a kernel module, not a dump: {give}"
        return f"an object file, not a dump: {give}"
    if "__ksymtab" in sections or ".data..percpu" in sections or ".init.text" in sections:
        return f"a kernel (vmlinux), not a dump: {give}, and this file with --vmlinux"
    if header.type in (elf.ET_EXEC, elf.ET_DYN):
        return f"a program or library, not a dump: {give}"
    return f"an ELF file but not a core dump: {give}"


_SADUMP = b"sadump\0\0"
"""In the first block, or behind the header of a medium, which is a block of the disk."""
_NOT_YET = "which is not supported yet: "
_KDUMP_INSTEAD = "take a dump inside the guest with kdump, or analyse its kernel log"
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xed\x23\x8f\x61\x73\x01\x19\xa8", f"an LKCD dump, {_NOT_YET}open it with crash(8)"),
    (b"\xa8\x19\x01\x73\x61\x8f\x23\xed", f"an LKCD dump, {_NOT_YET}open it with crash(8)"),
    (
        b"\xa8\x19\x01\x73\x61\x8f\x23\xfd",
        f"an s390 stand-alone dump, {_NOT_YET}convert it with zgetdump --fmt elf and use crash(8)",
    ),
    (b"DISKDUMP", f"an old diskdump dump, {_NOT_YET}open it with crash(8)"),
    (_SADUMP, f"a Fujitsu sadump dump, {_NOT_YET}convert it with makedumpfile"),
    (b"PAGEDU64", f"a Windows crash dump, {_NOT_YET}open it with WinDbg"),
    (b"PAGEDUMP", f"a Windows crash dump, {_NOT_YET}open it with WinDbg"),
    (b"MDMP\x93\xa7", f"a Windows minidump, {_NOT_YET}open it with WinDbg"),
    (b"EMiL", f"a LiME memory image, {_NOT_YET}open it with volatility3"),
    (b"AVML", f"an AVML memory image, {_NOT_YET}convert it with avml-convert, or use volatility3"),
    (b"\xd0\xbe\xd2\xbe", f"a VMware snapshot (vmss/vmsn), {_NOT_YET}{_KDUMP_INSTEAD}"),
    (b"\xd1\xba\xd1\xba", f"a VMware snapshot (vmss/vmsn), {_NOT_YET}{_KDUMP_INSTEAD}"),
    (b"\xd2\xbe\xd2\xbe", f"a VMware snapshot (vmss/vmsn), {_NOT_YET}{_KDUMP_INSTEAD}"),
    (b"\xd3\xbe\xd3\xbe", f"a VMware snapshot (vmss/vmsn), {_NOT_YET}{_KDUMP_INSTEAD}"),
    (b"\x14\x20\x28\x01", f"a Hyper-V saved state, {_NOT_YET}{_KDUMP_INSTEAD}"),
    (
        b"LibvirtQemudSave",
        f"a libvirt saved domain, {_NOT_YET}use virsh dump --memory-only instead of virsh save",
    ),
    (
        b"LibvirtQemudPart",
        "a libvirt saved domain that was cut off: use virsh dump --memory-only instead",
    ),
    (
        b"QEVM",
        f"a QEMU migration stream (virsh dump without --memory-only), {_NOT_YET}use virsh dump"
        " --memory-only, or dump-guest-memory",
    ),
    (b"Xen saved domain", f"a Xen saved domain, {_NOT_YET}{_KDUMP_INSTEAD}"),
    (b"xlsavedomain", f"a Xen saved domain, {_NOT_YET}{_KDUMP_INSTEAD}"),
    (b"\xed\xeb\x0f\xf0", f"an old Xen dump, {_NOT_YET}open it with crash(8)"),
    (b"\xee\xeb\x0f\xf0", f"an old Xen dump, {_NOT_YET}open it with crash(8)"),
    (b"FreeBSD Kernel Dump", "a FreeBSD dump, not a Linux one: open it with kgdb"),
    (b"QFI\xfb", "a disk image (qcow2), not a memory dump: take the vmcore out of it"),
    (b"KDMV", "a disk image (vmdk), not a memory dump: take the vmcore out of it"),
    (b"vhdxfile", "a disk image (vhdx), not a memory dump: take the vmcore out of it"),
    (b"LPKSHHRH", "a systemd journal: export its text with journalctl -k --file=FILE > log"),
    (b"\x89PNG\r\n\x1a\n", "a picture: the text of the log is needed"),
    (b"\xff\xd8\xff", "a picture: the text of the log is needed"),
    (b"%PDF-", "a PDF document: the text of the log is needed"),
    (
        b"\x17\x08\x44tracing",
        "a trace-cmd trace, not a dump: open it with trace-cmd report",
    ),
    (b"PERFILE2", "a perf recording, not a dump: open it with perf report"),
    (b"!BDN", "a mail folder: save the attached dump or log to a file"),
)


_ARCHIVES: tuple[tuple[int, bytes, str, str], ...] = (
    (257, b"ustar", "a tar archive", "tar -xf {}"),
    (0, b"PK\x03\x04", "a zip archive", "unzip {}"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "7z x {}"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "unrar x {}"),
    (0, b"\xed\xab\xee\xdb", "an RPM package", "rpm2cpio {} | cpio -id"),
    (0, b"!<arch>\ndebian-binary", "a Debian package", "dpkg -x {} ."),
    (0, b"!<arch>\n", "an ar archive", "ar x {}"),
    (0, b"070701", "a cpio archive", "cpio -id < {}"),
)
"""Where the magic stands, the magic, the name, and the command that unpacks it."""


def _archive(head: bytes, path: Path) -> str | None:
    for offset, magic, name, command in _ARCHIVES:
        if head.startswith(magic, offset):
            # What came through a pipe has no name that a shell could use.
            file = shlex.quote(shown(path)) if path.exists() else "FILE"
            unpack = command.format(file)
            return f"{name}: unpack it ({unpack}) and give the folder, dump or log that was in it"
    return None


def _unsupported(head: bytes, source: Source, path: Path) -> str | None:
    """What it is, and what to do, when we know it but can't analyse it."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if any(head.startswith(_SADUMP, 1 << block) for block in range(9, 16)):
        return f"the first medium of a Fujitsu sadump dump, {_NOT_YET}convert it with makedumpfile"
    archive = _archive(head, path)
    if archive is not None:
        return archive
    if head[0x202:0x206] == b"HdrS":
        return "a bootable kernel image, not a dump: give the vmcore as the input"
    if head[:8].strip(b"\0") == b"" and _looks_like_raw_memory(head, source):
        return (
            f"probably a raw memory image, {_NOT_YET}take the dump in ELF form"
            " (dump-guest-memory, kdump)"
        )
    return None


def _looks_like_raw_memory(head: bytes, source: Source) -> bool:
    """A raw image has no magic: the first page of a PC's memory is BIOS data or zeroes."""
    return source.size >= 16 << 20 and source.size % 4096 == 0


_CONTROL = bytes(set(range(0x20)) - set(b"\t\n\r\x0b\x0c\x1b\x08\x07\0")) + b"\x7f"


def looks_like_text(head: bytes) -> bool:
    """Whether a log could start like this.

    Logs of crashed machines have runs of NUL (a file system that lost its
    tail), colour codes and some noise of the serial line in them.
    """
    wide = unicode_of(head)
    if wide is not None:
        head = head.decode(wide, "replace").encode("utf-8", "replace")
    text = head.replace(b"\0", b"")
    if len(text) < len(head) and not re.search(rb"[\t -~]{16}", text):
        return False
    noise = len(text) - len(text.translate(None, _CONTROL))
    if noise * 20 > len(text):
        return False
    high = len(text.translate(None, bytes(range(0x80))))
    if high * 5 > len(text):
        # Many bytes beyond ASCII are text only if they are UTF-8.
        try:
            text[: max(len(text) - 4, 1)].decode("utf-8")
        except UnicodeDecodeError as error:
            return error.start > len(text) - 8
    return re.search(rb"[ -~]{4}", text) is not None


def _gather_parts(inputs: Sequence[Input]) -> Input:
    """Bring the parts of a split dump together; look beside a lonely one for the others."""
    parts = []
    for found in inputs:
        part = _part(found)
        if part is None:
            if len(inputs) > 1:
                raise UsageError(
                    f"one input at a time: {len(inputs)} files were given, and"
                    f" {shown(found.paths[0])} is not a part of a split dump: analyse each alone"
                )
            return found
        parts.append(part)
    for part in parts[1:]:
        if not part.same_dump(parts[0]):
            raise UsageError(
                f"{shown(part.path)} and {shown(parts[0].path)} are parts of different dumps:"
                " give the parts of one dump only"
            )
    if len(parts) == 1:
        parts += split.find_neighbours(parts[0])
    ordered, missing = split.order_parts(parts)
    return Input(
        InputKind.VMCORE,
        Format.KDUMP,
        tuple(part.path for part in ordered),
        flattened=any(found.flattened for found in inputs),
        missing_parts=missing,
        split=True,
    )


def _part(found: Input) -> split.Part | None:
    if found.format is not Format.KDUMP or found.outer is not None:
        return None
    return split.read_part(found.paths[0])
