"""Memory of a task and of the page tables: ``vm -p -m -v``, ``pte``, raw copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.kernel.paths import path_of
from postmortem.kernel.tasks.areas import areas_of
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.addresses import addressed
from postmortem.shell.command import PASSED_ON, command
from postmortem.shell.commands.values import address_of
from postmortem.shell.tasks import task_of

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_MAX_PAGES = 1 << 20
_MAX_VMAS = 1 << 17
_MAX_READ = 16 << 20


@command("vm", "stacks", settings=PASSED_ON)
@click.option("-p", "pages", is_flag=True, help="Where each page is: in memory, a file, nowhere.")
@click.option("-m", "mm", is_flag=True, help="The whole mm_struct.")
@click.option("-v", "vmas", is_flag=True, help="Each whole vm_area_struct.")
@click.option("-f", "flags", metavar="FLAGS", help="Name the bits of a vm_flags (hexadecimal).")
@click.option("-P", "one", metavar="VMA", help="-p of one area only.")
@click.option("-M", "lost", metavar="MM", help="The mm_struct, where the task has it no more.")
@click.option("-R", "reference", metavar="REF", help="Only lines that hold this number or text.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def vm(
    session: Session,
    pages: bool,
    mm: bool,
    vmas: bool,
    flags: str | None,
    one: str | None,
    lost: str | None,
    reference: str | None,
    rest: tuple[str, ...],
) -> Any:
    """Show the address space of the context, or of PIDs and tasks."""
    if flags is not None:
        session.out.write(_flags(session.prog, flags) + "\n")
        return None
    if one is not None:
        return _one(session, one, rest)
    if lost is not None:
        return _areas(session, drgn.Object(session.prog, "struct mm_struct *",
                                           address_of(session.prog, lost)))  # fmt: skip
    if reference is not None:
        wanted = reference.removeprefix("0x").lower()
        for number, line in enumerate(crash.said(session.prog, "vm", " ".join(rest)).splitlines()):
            if not number or wanted in line.lower().split() or reference in line:
                session.out.write(line + "\n")
        return None
    if not (pages or mm or vmas):
        return _plain_vm(session, rest)
    for word in rest or ("",):
        task = task_of(session, word)
        session.out.write(crash.said(session.prog, "vm", str(int(task.pid))).split("\n", 1)[0])
        session.out.write("\n")
        if not task.mm:
            session.out.write("(no mm: a kernel thread)\n")
        elif mm:
            _struct(session, "mm_struct", task.mm)
        else:
            for vma in _vmas(task.mm):
                if vmas:
                    _struct(session, "vm_area_struct", vma)
                else:
                    _pages(session, task.mm, vma)
    return None


def _plain_vm(session: Session, rest: tuple[str, ...]) -> Any:
    """drgn's own, one task after the other: a kernel thread's end is not that of all."""
    result = None
    for number, word in enumerate(rest or ("",)):
        if number:
            session.out.write("\n")
        result = crash.run(session.prog, "vm", word, session.out)
    return result


def _one(session: Session, text: str, rest: tuple[str, ...]) -> None:
    task = task_of(session, rest[0] if rest else "")
    address = address_of(session.prog, text)
    if not task.mm:
        raise UsageError("vm -P: the task is a kernel thread and has no areas")
    for vma in _vmas(task.mm):
        if int(vma.value_()) == address:
            _pages(session, task.mm, vma)
            return
    raise UsageError(f"vm -P: the task has no area at {address:x}")


def _areas(session: Session, mm: drgn.Object) -> None:
    """What ``vm`` shows, of an address space that no task points to any more."""
    session.out.write(f"       MM               PGD\n{int(mm.value_()):x}  {int(mm.pgd):x}\n")
    session.out.write("      VMA            START          END       FLAGS    FILE\n")
    for vma in _vmas(mm):
        line = (f"{int(vma.value_()):x}  {int(vma.vm_start):>12x}  {int(vma.vm_end):>12x}"
                f"  {int(vma.vm_flags):8x}  {_file(vma) or ''}")  # fmt: skip
        session.out.write(clean(line.rstrip()) + "\n")


_VM_FLAGS = (
    "READ", "WRITE", "EXEC", "SHARED", "MAYREAD", "MAYWRITE", "MAYEXEC", "MAYSHARE", "GROWSDOWN",
    "UFFD_MISSING", "PFNMAP", "UFFD_WP", "", "LOCKED", "IO", "SEQ_READ", "RAND_READ", "DONTCOPY",
    "DONTEXPAND", "LOCKONFAULT", "ACCOUNT", "NORESERVE", "HUGETLB", "SYNC", "", "WIPEONFORK",
    "DONTDUMP", "SOFTDIRTY", "MIXEDMAP", "HUGEPAGE", "NOHUGEPAGE", "MERGEABLE",
)  # fmt: skip
"""``VM_*`` of include/linux/mm.h by bit; those of bits 12 and 24 belong to architectures."""


def _flags(prog: drgn.Program, text: str) -> str:
    try:
        value = int(text, 16)
    except ValueError:
        raise UsageError(f"vm -f: {text} is no hexadecimal number") from None
    names = [
        _VM_FLAGS[bit] if bit < len(_VM_FLAGS) and _VM_FLAGS[bit] else f"bit {bit}"
        for bit in range(64)
        if value >> bit & 1
    ]
    return f"{value:x}: ({'|'.join(names)})"


@command("rd", "values", settings=PASSED_ON)
@click.option("-p", "physical", is_flag=True, help="The address is a physical one.")
@click.option("-f", "file", is_flag=True, help="The address is a place in the dump's file.")
@click.option("-m", "machine", is_flag=True, help="A machine address of Xen.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def rd(session: Session, physical: bool, file: bool, machine: bool, rest: tuple[str, ...]) -> Any:
    """Read memory: ADDRESS [COUNT], an address being a symbol, number or (expression).

    \b
    rd jiffies              a word
    rd -32 init_task 8      -8 -16 -32 -64: bits of each
    rd -a linux_banner      as text; -s -S words that are symbols or slab objects by name
    rd -e END START         up to END; -r FILE into a file; -d -D in decimal; -u user memory
    """
    if machine:
        raise UsageError("rd -m: machine addresses are those of Xen, whose dumps are not read")
    if physical or file:
        _elsewhere(session, list(rest), physical=physical)
        return None
    words = addressed(session.prog, "rd", " ".join(rest))
    return crash.run(session.prog, "rd", words, session.out)


def _elsewhere(session: Session, rest: list[str], *, physical: bool) -> None:
    """Words of physical memory or of the file, as ``rd`` shows those of virtual memory."""
    unit = 8
    for size in (8, 16, 32, 64):
        if f"-{size}" in rest:
            rest.remove(f"-{size}")
            unit = size // 8
    rest = [word for word in rest if word != "-x"]
    if not 1 <= len(rest) <= 2 or any(word.startswith("-") for word in rest):
        raise UsageError("rd -p and -f take -8 -16 -32 -64, an address and a count")
    try:
        start, count = int(rest[0], 16), int(rest[1], 0) if len(rest) > 1 else 1
    except ValueError:
        raise UsageError(f"rd: {' '.join(rest)}: numbers are wanted") from None
    if not 0 < count * unit <= _MAX_READ:
        raise UsageError(f"rd: {count} words are not between 1 and {_MAX_READ // unit}")
    if physical:
        data = session.prog.read(start, count * unit, True)
    else:
        with Path(session.case.input.path).open("rb") as opened:
            opened.seek(start)
            data = opened.read(count * unit)
        if len(data) < count * unit:
            raise UsageError(f"rd -f: the file ends before {start + count * unit:x}")
    for at in range(0, len(data), 16):
        line = data[at : at + 16]
        numbers = [int.from_bytes(line[i : i + unit], "little") for i in range(0, len(line), unit)]
        shown = " ".join(f"{number:0{2 * unit}x}" for number in numbers)
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        session.out.write(f"{start + at:16x}:  {shown:<33}   {text}\n")


def _struct(session: Session, name: str, value: drgn.Object) -> None:
    crash.run(session.prog, "struct", f"{name} {int(value.value_()):x}", session.out)


def _vmas(mm: drgn.Object) -> Iterator[drgn.Object]:
    for number, vma in enumerate(areas_of(mm)):
        if number >= _MAX_VMAS:
            raise UsageError(f"vm: more than {_MAX_VMAS} areas: the tree is damaged")
        yield vma


def _pages(session: Session, mm: drgn.Object, vma: drgn.Object) -> None:
    from drgn.helpers.linux.mm import follow_phys

    size = int(session.prog["PAGE_SIZE"].value_())
    start, end = int(vma.vm_start), int(vma.vm_end)
    file = _file(vma)
    session.out.write(clean(f"{int(vma.value_()):x}  {start:x}-{end:x}  {file or ''}") + "\n")
    session.out.write("VIRTUAL     PHYSICAL\n")
    for number, address in enumerate(range(start, end, size)):
        if number >= _MAX_PAGES:
            session.out.write(f"more than {_MAX_PAGES} pages\n")
            return
        try:
            place = f"{int(follow_phys(mm, address)):x}"
        except damage() as exc:
            if isinstance(exc, drgn.FaultError) and "not mapped" not in str(exc):
                place = "(page table not in the dump)"
            elif file:
                offset = address - start + int(vma.vm_pgoff) * size
                place = f"FILE: {file}  OFFSET: {offset:x}"
            else:
                place = "(not mapped)"
        session.out.write(clean(f"{address:<11x} {place}") + "\n")


def _file(vma: drgn.Object) -> str | None:
    try:
        return path_of(vma.vm_file.f_path) if vma.vm_file else None
    except damage():
        return None


@command("pte", "values")
@click.argument("entries", nargs=-1, required=True)
def pte(session: Session, entries: tuple[str, ...]) -> None:
    """Take page table entries apart (hexadecimal; x86-64)."""
    arch = arch_of(session.prog)
    if not arch.page_bits:
        raise UsageError(f"pte: entries of {arch.name} are not known here yet")
    for text in entries:
        try:
            entry = int(text, 16)
        except ValueError:
            raise UsageError(f"pte: {text} is no hexadecimal number") from None
        names = [name for bit, name in arch.page_bits if entry >> bit & 1]
        session.out.write("      PTE         PHYSICAL   FLAGS\n")
        if "PRESENT" in names:
            session.out.write(f"{entry:16x}  {entry & arch.page_frame:8x}  ({'|'.join(names)})\n")
        else:
            # A swap entry's bits mean something else.
            session.out.write(f"{entry:16x}  not present\n")
