"""Who uses a file: ``fuser``; pages of a file: ``files -n``; ``mount`` of one filesystem."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.dump.damage import damage
from postmortem.dump.xarray import xarray_entries
from postmortem.errors import UsageError
from postmortem.kernel.paths import path_of
from postmortem.kernel.tasks.areas import areas_of
from postmortem.render.clean import clean
from postmortem.shell import crash, structured
from postmortem.shell.command import PASSED_ON, command
from postmortem.shell.commands.values import address_of

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_MAX_USES = 100_000


@command("fuser", "machine")
@click.argument("file")
def fuser(session: Session, file: str) -> None:
    """List the tasks that use FILE, a full path or an inode's address.

    cwd and root are folders that a task stands in, fd a descriptor, mmap a mapping.
    """
    wanted = None if file.startswith("/") else address_of(session.prog, file)
    found = 0
    for task in _tasks(session):
        uses = {use for use, inode, path in _uses(task) if _is(inode, path, wanted, file)}
        if not uses:
            continue
        if not found:
            session.out.write(" PID         TASK        COMM             USAGE\n")
        found += 1
        comm = task.comm.string_().decode(errors="replace")
        line = f'{int(task.pid):5}  {int(task.value_()):x}  "{comm}"'
        session.out.write(clean(f"{line:<44}  {' '.join(sorted(uses))}") + "\n")
    if not found:
        session.out.write(clean(f"no task uses {file}") + "\n")


def _is(inode: int, path: str | None, wanted: int | None, file: str) -> bool:
    return inode == wanted if wanted is not None else path == file


def _tasks(session: Session) -> Iterator[drgn.Object]:
    tasks = session.case.tasks
    for task in tasks.tasks if tasks is not None else ():
        yield drgn.Object(session.prog, "struct task_struct *", task.address)


def _uses(task: drgn.Object) -> Iterator[tuple[str, int, str | None]]:
    """How a task uses which inode, and by which path."""
    try:
        if task.fs:
            yield "cwd", int(task.fs.pwd.dentry.d_inode), _path(task.fs.pwd)
            yield "root", int(task.fs.root.dentry.d_inode), _path(task.fs.root)
        yield from _opened(task)
        yield from _mapped(task)
    except damage():
        return


def _opened(task: drgn.Object) -> Iterator[tuple[str, int, str | None]]:
    from drgn.helpers.linux.fs import for_each_file

    if not task.files:
        return
    for number, (_, file) in enumerate(for_each_file(task)):
        if number == _MAX_USES:
            return
        yield "fd", int(file.f_inode), _path(file.f_path)


def _mapped(task: drgn.Object) -> Iterator[tuple[str, int, str | None]]:
    if not task.mm:
        return
    for number, vma in enumerate(areas_of(task.mm)):
        if number == _MAX_USES:
            return
        if vma.vm_file:
            yield "mmap", int(vma.vm_file.f_inode), _path(vma.vm_file.f_path)


def _path(path: drgn.Object) -> str | None:
    try:
        return path_of(path)
    except damage():
        return None


@command("files", "machine", settings=PASSED_ON)
@click.option("-n", "node", metavar="INODE", help="Where the pages of an inode lie (crash 9).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def files(session: Session, node: str | None, as_json: bool, rest: tuple[str, ...]) -> Any:
    """List the open files of the context, or of PIDs and tasks.

    drgn's own options are passed on: -c pages cached of each, -d DENTRY, -p INODE, -R REF.
    """
    if node is not None:
        return _nodes(session, address_of(session.prog, node))
    if as_json:
        return structured.run(session.prog, "files", " ".join(rest), session.out)
    return crash.run(session.prog, "files", " ".join(rest), session.out)


def _nodes(session: Session, address: int) -> None:
    """How many of an inode's cached pages lie on which NUMA node."""
    from drgn.helpers.linux.mm import page_to_pfn

    counts: dict[int, int] = {}
    inode = drgn.Object(session.prog, "struct inode *", address)
    kind = session.prog.type("struct page *")
    for number, (_, address) in enumerate(xarray_entries(inode.i_mapping.i_pages)):
        if number == 1 << 22:
            break
        if address & 1:  # xa_is_value(): what was there is said, no page
            continue
        page = drgn.Object(session.prog, kind, address)
        node = _node_of(session.prog, int(page_to_pfn(page)))
        counts[node] = counts.get(node, 0) + 1
    session.out.write("     INODE        NRPAGES\n")
    session.out.write(f"{address:x}  {sum(counts.values()):6}\n\n")
    session.out.write("NODE           PAGES\n")
    for node in sorted(counts):
        name = "unknown" if node < 0 else str(node)
        session.out.write(f"{name:>4}  {counts[node]:14}\n")


def _node_of(prog: drgn.Program, pfn: int) -> int:
    """The node whose range of page frames holds it; -1 if none does."""
    from drgn.helpers.linux.mmzone import for_each_online_pgdat

    for node in for_each_online_pgdat(prog):
        start = int(node.node_start_pfn)
        if start <= pfn < start + int(node.node_spanned_pages):
            return int(node.node_id)
    return -1


@command("mount", "machine", settings=PASSED_ON)
@click.option("-f", "opened", is_flag=True, help="Dentries of open files (before Linux 3.13).")
@click.option("-i", "dirty", is_flag=True, help="Dirty inodes (before Linux 2.6.32).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def mount(session: Session, opened: bool, dirty: bool, as_json: bool, rest: tuple[str, ...]) -> Any:
    """List mounts; a device, folder or address (mount, super block) chooses among them.

    -n PID looks at them from a task.
    """
    if opened or dirty:
        lacks = "s_files" if opened else "s_dirty"
        raise UsageError(
            f"mount -{'f' if opened else 'i'}: struct super_block has no {lacks} in this kernel;"
            " foreach files lists open files"
        )
    words = list(rest)
    options = []
    if "-n" in words:
        at = words.index("-n")
        options, words = words[at : at + 2], words[:at] + words[at + 2 :]
    if as_json:
        return structured.run(session.prog, "mount", " ".join(options), session.out)
    text = crash.said(session.prog, "mount", " ".join(options))
    if not words:
        session.out.write(text)
        return None
    heading, *rows = text.splitlines()
    wanted = {word.removeprefix("0x").lower() if not word.startswith("/") else word
              for word in words}  # fmt: skip
    chosen = [row for row in rows if wanted & set(row.split())]
    if not chosen:
        raise UsageError(f"mount: nothing here is called {' '.join(words)}")
    for row in [heading, *chosen]:
        session.out.write(clean(row) + "\n")
    return None
