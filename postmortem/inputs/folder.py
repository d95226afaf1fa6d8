"""A folder that holds what is left of one crash: a dump, the log saved beside it, a vmlinux.

What lies where, as the distributions' tools write it below ``/var/crash``:

- kdump-tools (Debian, Ubuntu): ``STAMP/dump.STAMP`` and ``STAMP/dmesg.STAMP``
- kexec-tools, kdump-utils (RHEL, Fedora): ``HOST-STAMP/vmcore``, ``vmcore-dmesg.txt`` and
  ``kexec-dmesg.log``, which is the log of the kernel that saved the dump
- kdump (SUSE): ``STAMP/vmcore``, ``dmesg.txt``, ``README.txt``, ``vmlinux-RELEASE.gz``
- systemd-pstore: ``STAMP/dmesg.txt``, see ``inputs/text.py``

Dumps and kernels are known by their content; names only tell which text is the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from postmortem.dump import elf
from postmortem.errors import PostmortemError, UnreadableInputError
from postmortem.inputs.recognise import (
    Beside,
    Format,
    Input,
    InputKind,
    identify,
    recognise,
)
from postmortem.inputs.source import PlainFile, shown
from postmortem.inputs.text import is_pstore_directory

_MAX_FILES = 1000
"""Entries of a folder that are looked at."""
_MAX_FOLDERS = 200
_MAX_LISTED = 8
_DEPTH = 2
"""Folders below the given one: systemd-pstore has ``STAMP/001``."""

_DUMP_NAME = re.compile(r"(?:vmcore|dump)(?:[.\-_\d]|$)(?!.*dmesg)")
_LOG_NAME = re.compile(r"(?!kexec-dmesg).*dmesg")
_KERNEL_NAME = re.compile(r"vmlinux")


@dataclass(frozen=True)
class _Found:
    """The files of a folder that matter."""

    dumps: tuple[Path, ...] = ()
    logs: tuple[Path, ...] = ()
    kernels: tuple[Path, ...] = ()
    broken: tuple[str, ...] = ()
    """A sentence for each file that has the name of a dump and is none."""

    def __bool__(self) -> bool:
        return bool(self.dumps or self.logs or self.broken)


def case_in(folder: Path) -> Input:
    """The one crash that a folder is about, itself or in the only such folder below it.

    :raises UnreadableInputError: there is none, or there are several; one sentence says which.
    """
    found = _look(folder)
    if found.dumps:
        return _of_dumps(folder, found)
    if is_pstore_directory(folder):
        return Input(InputKind.LOG, Format.TEXT, (folder,))
    if found.logs:
        return _of_logs(folder, found)
    if found.broken:
        raise UnreadableInputError(found.broken[0])
    below = list(_cases_below(folder, _DEPTH))
    if len(below) == 1:
        return case_in(below[0])
    if below:
        raise UnreadableInputError(
            f"{shown(folder)} holds {len(below)} cases: name one of {_listed(folder, below)}"
        )
    raise UnreadableInputError(
        f"{shown(folder)} is a directory without a dump or the log of a crash:"
        " name the dump or log file"
    )


def _of_dumps(folder: Path, found: _Found) -> Input:
    what = recognise(found.dumps[:1])  # it finds the other parts of a split dump itself
    others = [path for path in found.dumps if path not in what.paths]
    if others:
        raise UnreadableInputError(
            f"{shown(folder)} holds {len(found.dumps)} dumps: name one of"
            f" {_listed(folder, found.dumps)}"
        )
    beside = Beside(_longest(found.logs), found.kernels, found.broken)
    return replace(what, beside=beside)


def _of_logs(folder: Path, found: _Found) -> Input:
    """Only the log was saved, or what should be the dump is none."""
    if len(found.logs) > 1:
        raise UnreadableInputError(
            f"{shown(folder)} holds {len(found.logs)} logs and no dump: name one of"
            f" {_listed(folder, found.logs)}"
        )
    return replace(recognise(found.logs), beside=Beside(None, found.kernels, found.broken))


def _listed(folder: Path, paths: Sequence[Path]) -> str:
    names = ", ".join(shown(path.relative_to(folder)) for path in paths[:_MAX_LISTED])
    more = len(paths) - _MAX_LISTED
    return f"{names} and {more} more" if more > 0 else names


def _longest(logs: Sequence[Path]) -> Path | None:
    """Of several copies of the log that which has most."""
    return max(logs, key=lambda path: path.stat().st_size, default=None)


def _cases_below(folder: Path, depth: int) -> Iterator[Path]:
    for child in _entries(folder, _MAX_FOLDERS, directories=True):
        if _look(child) or is_pstore_directory(child):
            yield child
        elif depth > 1:
            yield from _cases_below(child, depth - 1)


def _entries(folder: Path, limit: int, *, directories: bool) -> list[Path]:
    """
    :raises UnreadableInputError: it may not be read.
    """
    try:
        found = [path for path in folder.iterdir() if not path.is_symlink() or path.exists()]
        kind = Path.is_dir if directories else Path.is_file
        return sorted(path for path in found if kind(path))[:limit]
    except OSError as error:
        raise UnreadableInputError(
            f"{shown(folder)} can't be read: {error.strerror or error}"
        ) from None


def _look(folder: Path) -> _Found:
    dumps: list[Path] = []
    logs: list[Path] = []
    kernels: list[Path] = []
    broken: list[str] = []
    for path in _entries(folder, _MAX_FILES, directories=False):
        try:
            source = PlainFile(path)
        except OSError as error:
            if _DUMP_NAME.match(path.name):
                broken.append(f"{shown(path)} can't be opened: {error.strerror}")
            continue
        try:
            kind = identify(source, path).kind
        except PostmortemError as error:
            if _KERNEL_NAME.match(path.name) or _is_kernel(source):
                kernels.append(path)
            elif _DUMP_NAME.match(path.name):
                broken.append(str(error))
            continue
        except OSError as error:
            broken.append(f"{shown(path)} can't be read: {error.strerror}")
            continue
        finally:
            source.close()
        if kind is InputKind.VMCORE:
            dumps.append(path)
        elif _LOG_NAME.match(path.name):
            logs.append(path)
    return _Found(tuple(dumps), tuple(logs), tuple(kernels), tuple(broken))


def _is_kernel(source: PlainFile) -> bool:
    try:
        header = elf.read_elf(source)
        sections = {section.name for section in elf.read_sections(source, header)}
    except (elf.BadElfError, OSError):
        return False
    return header.type in (elf.ET_EXEC, elf.ET_DYN) and "__ksymtab" in sections
