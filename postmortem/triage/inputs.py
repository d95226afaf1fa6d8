"""What there is to be analysed below the given paths: files, cases of several files, archives.

What is in a file is looked at only as far as its first bytes. A folder is one input where names say
so that the dump tools give (``inputs/folder.py`` has the list), or where it holds pstore records;
then postmortem.open() takes it as a whole. No link is followed below a given folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from postmortem.inputs.text import is_pstore_directory
from postmortem.triage.facts import failed
from postmortem.triage.model import InputState, Outcome
from postmortem.triage.tasks import File, Item
from postmortem.triage.worker import unread_id

_DUMP = re.compile(r"(?:vmcore|dump)(?:[.\-_\d]|$)(?!.*dmesg)")
_LOG = re.compile(r"(?!kexec-dmesg).*dmesg")
_ASIDE = re.compile(r"kexec-dmesg|README|vmlinu[xz]|System\.map|config-|.*\.(?:ko|debug|btf)$")
"""What the dump tools put beside a dump, and is no crash."""
_FUZZED = re.compile(r"(log|report)(\d{1,6})")
"""What syzkaller keeps of each crash in workdir/crashes/ID: the console, and the report in it."""
MAX_DEPTH = 64
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")


@dataclass(frozen=True)
class Archive:
    """A file that holds files."""

    path: str
    name: str
    file: File


Found = Item | Archive | Outcome
"""An outcome is of what is refused as it stands."""


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def walk(paths: Iterable[str]) -> Iterator[Found]:
    """All that is below the paths.

    :param paths: files, folders; what is not there is refused with a sentence.
    """
    for path in paths:
        if is_url(path):
            from postmortem.triage.remote import listed

            yield from listed(path)
            continue
        try:
            status = os.stat(path)  # noqa: PTH116 - a name may be no valid path at all
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "the path is not valid"
            yield refused(path, f"it can't be opened: {why}")
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from in_folder(path)
        elif stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode):
            yield _of_file(path, status)
        else:
            yield refused(path, "it is not a regular file: save its contents to a file first")


def in_folder(top: str, depth: int = 0) -> Iterator[Found]:
    """All that is in a folder, in the order of names; a folder at a time is held in memory."""
    try:
        with os.scandir(top) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield refused(top, f"it can't be read: {error.strerror or error}")
        return
    files = [entry for entry in found if entry.is_file(follow_symlinks=False)]
    folders = [entry for entry in found if entry.is_dir(follow_symlinks=False)]
    together = _one_case(top, files)
    if together is not None:
        yield together
        files = []
    files = _of_fuzzer(files)
    for entry in files:
        try:
            yield _of_file(entry.path, entry.stat(follow_symlinks=False))
        except OSError as error:
            yield refused(entry.path, f"it can't be read: {error.strerror or error}")
    for entry in found:
        if entry.is_symlink():
            if not os.path.exists(entry.path):  # noqa: PTH110
                yield refused(entry.path, "it is a link to nothing")
            elif not _leads_inside(entry.path, top):
                yield refused(entry.path, "it is a link out of its folder: name what it points to")
        elif not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
            yield refused(entry.path, "it is not a regular file")
    for entry in folders:
        if depth == MAX_DEPTH:
            yield refused(entry.path, f"it lies more than {MAX_DEPTH} folders deep")
        else:
            yield from in_folder(entry.path, depth + 1)


def _of_fuzzer(files: list[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    """Of a folder of syzkaller each crash once: its console, else its report, and its dump."""
    kept = {
        (match[1], match[2]): entry
        for entry in files
        if (match := _FUZZED.fullmatch(entry.name)) is not None
    }
    if not kept or not any(entry.name == "description" for entry in files):
        return files
    crashes = [e for (kind, n), e in kept.items() if kind == "log" or ("log", n) not in kept]
    return [*crashes, *(entry for entry in files if _DUMP.match(entry.name))]


def _leads_inside(link: str, top: str) -> bool:
    """Whether what a link points to is met in its own folder anyway."""
    real, folder = os.path.realpath(link), os.path.realpath(top)
    return real.startswith(folder + os.sep)


def _one_case(top: str, files: list[os.DirEntry[str]]) -> Item | None:
    """The folder as one input, where it is about one crash."""
    dumps = [entry for entry in files if _DUMP.match(entry.name)]
    logs = [entry for entry in files if _LOG.match(entry.name)]
    rest = [e for e in files if e not in dumps and e not in logs and not _ASIDE.match(e.name)]
    crash = dumps and logs and not rest and _few_dumps(dumps)
    if not crash and not (files and is_pstore_directory(Path(top))):
        return None
    mine = [*dumps, *logs] if crash else files
    try:
        sizes = tuple(_file(entry.stat(follow_symlinks=False)) for entry in mine)
    except OSError:
        return None
    names = tuple(entry.path for entry in mine)
    return Item(top, names, names, sizes)


def _few_dumps(dumps: list[os.DirEntry[str]]) -> bool:
    """One dump, or the parts of a split one: ``vmcore_1``, ``vmcore.2`` ..."""
    stems = {re.sub(r"[._\-]?\d{1,2}$", "", entry.name) for entry in dumps}
    return len(dumps) == 1 or len(stems) == 1


def _of_file(path: str, status: os.stat_result) -> Item | Archive:
    from postmortem.triage.archives import is_archive

    file = _file(status)
    if stat.S_ISREG(status.st_mode) and is_archive(path):
        return Archive(path, path, file)
    return Item(path, (path,), (path,), (file,))


def _file(status: os.stat_result) -> File:
    return File(status.st_size, status.st_mtime_ns)


def refused(name: str, why: str) -> Outcome:
    """What is not analysed, and why."""
    item = Item(name, (name,), (name,), (File(0, 0),))
    return failed(unread_id(item), item.names, InputState.REFUSED, why)


def renamed(found: Found, folder: str, archive: Archive) -> Found:
    """What was found in an unpacked archive, by the names that it has in there."""

    def inside(path: str) -> str:
        return f"{archive.name}!/{os.path.relpath(path, folder)}"

    if isinstance(found, Archive):
        return refused(inside(found.path), "it is an archive in an archive: unpack it first")
    if isinstance(found, Outcome):
        name = inside(found.names[0])
        return failed(
            refused(name, "").id, (name,), found.state, (found.reason or "").replace(folder, "")
        )
    # Its content is its identity; the time of unpacking says nothing.
    files = tuple(File(file.size, archive.file.changed) for file in found.files)
    return replace(found, names=tuple(map(inside, found.names)), files=files, source=archive.name)
