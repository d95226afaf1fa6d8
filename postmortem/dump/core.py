"""Open a dump: a ``drgn.Program`` that reads its memory, and what the dump is and lacks.

drgn reads ELF and kdump-compressed files itself. What it can't know or gets
wrong is settled here, before and after: a missing VMCOREINFO note, an empty
utsname, parts of a split dump, files that end too early, headers that lie,
and QEMU's identity-mapped segments, which would make a NULL pointer readable.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import drgn

from postmortem.dump import elf, kdump
from postmortem.dump.open_elf import open_elf, open_kcore
from postmortem.dump.open_kdump import open_kdump, open_split
from postmortem.dump.opened import Core, DumpInfo, excluded_pages, limited
from postmortem.dump.without_tables import map_image
from postmortem.errors import (
    PostmortemError,
    UnknownInputError,
    UnreadableInputError,
    UsageError,
)
from postmortem.inputs.compressed import Unpacked
from postmortem.inputs.flattened import FlattenedFile, flattened_copy
from postmortem.inputs.recognise import Format, Input, InputKind, recognise
from postmortem.inputs.source import PlainFile, Progress, Source, shown

__all__ = ("Core", "DumpInfo", "excluded_pages", "open_core", "open_input")


def open_core(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    progress: Progress | None = None,
) -> Core:
    """Open a dump, the parts of a split dump, or ``/proc/kcore``.

    ``progress(what, done, total)`` is called with bytes while something long
    runs. Raises :class:`~postmortem.errors.PostmortemError`.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    given = recognise(paths)
    return open_input(given, progress=progress)


def open_input(given: Input, *, progress: Progress | None = None) -> Core:
    """Open what :func:`~postmortem.inputs.recognise.recognise` found."""
    name = shown(given.paths[0])
    if given.kind is InputKind.LOG:
        raise UsageError(f"{name} is a log, not a dump: analyse it as a log")
    try:
        if given.kind is InputKind.KCORE:
            return open_kcore(given)
        if given.split:
            return open_split(given, progress)
        source = PlainFile(given.paths[0])
        unpacked = None
        if given.outer:
            unpacked = Unpacked(source, given.outer, name, progress)
            source = PlainFile(given.paths[0], os.dup(unpacked.file.fileno()))
        core = _open_file(given, source, name, progress)
    except (elf.BadElfError, kdump.BadKdumpError) as error:
        raise UnknownInputError(
            f"{name} is a damaged dump, {error}: copy it again from its origin"
        ) from None
    except OSError as error:
        raise UnreadableInputError(f"{name} can't be read: {error.strerror or error}") from None
    except drgn.FaultError as error:
        raise UnknownInputError(
            f"{name} is a damaged dump, its kernel page tables can't be read"
            f" ({shown(str(error))}): copy it again from its origin"
        ) from None
    except PostmortemError:
        raise
    except Exception as error:
        # drgn and libkdumpfile raise many kinds for a file that contradicts itself.
        raise UnknownInputError(
            f"{name} is a damaged dump ({shown(str(error))}): copy it again from its origin"
        ) from None
    size = given.paths[0].stat().st_size
    info = replace(core.info, size=size)
    if map_image(core.program, info.vmcoreinfo, info.memory_end):
        sentence = "page tables of the kernel's image are lost: it is read by phys_base"
        info = limited(info, sentence)
    if given.outer:
        info = replace(
            info,
            outer_compression=given.outer,
            format=f"{info.format}, inside {given.outer}",
        )
    if unpacked is not None and unpacked.excess:
        sentence = (
            f"the {given.outer} data goes on behind the end of the dump: that was not unpacked"
        )
        info = replace(info, lacks=(*info.lacks, sentence))
    if unpacked is not None and unpacked.broken:
        info = limited(info, f"the {given.outer} data around the dump is cut off or damaged")
    return replace(core, info=info)


def _open_file(given: Input, source: PlainFile, name: str, progress: Progress | None) -> Core:
    image: Source = FlattenedFile(source) if given.flattened else source
    if isinstance(image, FlattenedFile) and not (image.ended and given.format is Format.KDUMP):
        # libkdumpfile reads whole flattened kdump files as they are; these it refuses
        # (cut off), or has no guard against what they claim (ELF, millions of records).
        flat, source = image, PlainFile(given.paths[0], flattened_copy(image, name, progress))
        core = _open_plain(given, source, source, name, progress)
        if not flat.ended:
            sentence = "the flattened stream ends without its end mark: it was cut off"
            core = replace(core, info=limited(core.info, sentence))
    else:
        core = _open_plain(given, source, image, name, progress)
    if given.flattened:
        core = replace(core, info=replace(core.info, format=f"{core.info.format}, flattened"))
    return core


def _open_plain(
    given: Input, source: PlainFile, image: Source, name: str, progress: Progress | None
) -> Core:
    if given.format is Format.KDUMP:
        return open_kdump(given, source, image, name, progress)
    return open_elf(given, source, image, name, progress)
