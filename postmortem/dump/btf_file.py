"""Types from a file, for kernels that have none in their memory (``--btf``).

A BTF file as ``bpftool btf dump file /sys/kernel/btf/vmlinux format raw`` or
``pahole --btf_encode_detached`` writes it and BTFHub keeps it by release, or a vmlinux
with a ``.BTF`` section. A vmlinux tells its build; bare BTF does not, so it must at least
read the one task that every kernel has at a known place.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import drgn

from postmortem.dump import elf
from postmortem.dump.btf import MAGIC
from postmortem.dump.core import Core
from postmortem.dump.damage import damage
from postmortem.errors import UnreadableInputError, UsageError
from postmortem.inputs.compressed import detect
from postmortem.inputs.source import PlainFile, shown

if TYPE_CHECKING:
    from postmortem.dump.selfdescribe import Description

_MAX_BYTES = 64 << 20
_SECTION = ".BTF"


def read_btf_file(path: Path, core: Core) -> bytes:
    """The BTF in a file.

    :raises UsageError: it has none, or is of another build than the dump's kernel.
    :raises UnreadableInputError: it can't be read.
    """
    name = f"--btf {shown(path)}"
    try:
        source = PlainFile(path)
    except OSError as error:
        raise UnreadableInputError(f"{name} can't be read: {error.strerror}") from None
    try:
        head = source.pread(64, 0)
        if head[:2] == struct.pack("<H", MAGIC):
            return source.pread(_MAX_BYTES, 0)
        if detect(head):
            raise UsageError(f"{name} is {detect(head)} data: decompress it first")
        return _of_vmlinux(source, name, core)
    except OSError as error:
        raise UnreadableInputError(f"{name} can't be read: {error.strerror}") from None
    finally:
        source.close()


def _of_vmlinux(source: PlainFile, name: str, core: Core) -> bytes:
    from postmortem.dump.debuginfo import kernel_build_id

    try:
        header = elf.read_elf(source)
        sections = {section.name: section for section in elf.read_sections(source, header)}
    except elf.BadElfError:
        raise UsageError(f"{name} is neither BTF nor a vmlinux: give one of the two") from None
    section = sections.get(_SECTION)
    if section is None:
        raise UsageError(
            f"{name} has no {_SECTION} section: pahole --btf_encode_detached=FILE makes BTF of"
            " its DWARF, or give it with --vmlinux"
        )
    its, wanted = elf.read_build_id(source, header), kernel_build_id(core)
    if its and wanted and its != wanted:
        raise UsageError(
            f"{name} is of another build, its build id is {its} and the dump's kernel has"
            f" {wanted}: give the vmlinux of {shown(core.info.osrelease)}"
        )
    return source.pread(min(section.size, _MAX_BYTES), section.offset)


def check_types(prog: drgn.Program, path: Path, found: Description) -> None:
    """Whether the types are those of the kernel: it calls its first task ``swapper``.

    (``INIT_TASK_COMM`` in include/linux/init_task.h; CPU 0's has ``/0`` behind it.)

    :raises UsageError: they are not, or there are none in the file.
    """
    name = f"--btf {shown(path)}"
    if not found.symbols:
        return  # said as a problem: without symbols types are of no use
    if not found.types:
        why = next((item.why for item in found.problems if item.what == "types"), "")
        raise UsageError(f"{name} can't be used: {shown(why)}")
    try:
        task = prog["init_task"]
        fits = task.comm.string_().startswith(b"swapper") and task.pid.value_() == 0
    except drgn.FaultError:
        fits = True  # that page is not in the dump: nothing speaks against it
    except damage():
        fits = False  # the symbol is longer or shorter than the type
    if not fits:
        raise UsageError(f"{name} is of another kernel: the first task can't be read with it")
