"""Memory of a task and of the page tables: ``vm -p -m -v``, ``pte``, raw copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.command import PASSED_ON, command
from postmortem.shell.tasks import task_of

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_MAX_PAGES = 1 << 20
_MAX_VMAS = 1 << 17


@command("vm", "stacks", settings=PASSED_ON)
@click.option("-p", "pages", is_flag=True, help="Where each page is: in memory, a file, nowhere.")
@click.option("-m", "mm", is_flag=True, help="The whole mm_struct.")
@click.option("-v", "vmas", is_flag=True, help="Each whole vm_area_struct.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def vm(session: Session, pages: bool, mm: bool, vmas: bool, rest: tuple[str, ...]) -> Any:
    """Show the address space of the context, or of PIDs and tasks."""
    if not (pages or mm or vmas):
        return crash.run(session.prog, "vm", " ".join(rest), session.out)
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


def _struct(session: Session, name: str, value: drgn.Object) -> None:
    crash.run(session.prog, "struct", f"{name} {int(value.value_()):x}", session.out)


def _vmas(mm: drgn.Object) -> Iterator[drgn.Object]:
    from drgn.helpers.linux.mm import for_each_vma

    for number, vma in enumerate(for_each_vma(mm)):
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
    from drgn.helpers.linux.fs import d_path

    try:
        return d_path(vma.vm_file.f_path).decode(errors="replace") if vma.vm_file else None
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
