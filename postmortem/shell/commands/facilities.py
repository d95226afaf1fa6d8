"""Facilities of the kernel: programs and maps of BPF, shared memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.dump.damage import damage
from postmortem.dump.xarray import idr_entries
from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash, structured
from postmortem.shell.command import PASSED_ON, command

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_INSTRUCTION = 8
"""Bytes of a ``struct bpf_insn``."""
_MAX_CODE = 1 << 20


@command("bpf", "machine", settings=PASSED_ON)
@click.option("-P", "programs", is_flag=True, help="All about every program.")
@click.option("-M", "maps", is_flag=True, help="All about every map.")
@click.option("-p", "program", type=int, metavar="ID", help="All about one program.")
@click.option("-t", "translated", is_flag=True, help="With -p or -P: the bytecode.")
@click.option("-T", "with_bytes", is_flag=True, help="The same with each instruction's bytes.")
@click.option("-j", "jited", is_flag=True, help="With -p or -P: the machine code.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def bpf(
    session: Session,
    programs: bool,
    maps: bool,
    program: int | None,
    translated: bool,
    with_bytes: bool,
    jited: bool,
    as_json: bool,
    rest: tuple[str, ...],
) -> Any:
    """List BPF programs and maps; -m ID all about a map, -s with their structs."""
    words = " ".join(rest)
    if as_json:
        return structured.run(session.prog, "bpf", words, session.out)
    if not (programs or maps or program is not None):
        if translated or with_bytes or jited:
            raise UsageError("bpf -t, -T and -j want a program: -p ID, or -P for all")
        return crash.run(session.prog, "bpf", words, session.out)
    for identity in _ids(session.prog, "map") if maps else ():
        crash.run(session.prog, "bpf", f"-m {identity} {words}".strip(), session.out)
    chosen = list(_ids(session.prog, "prog")) if programs else []
    for identity in chosen if program is None else [program]:
        crash.run(session.prog, "bpf", f"-p {identity} {words}".strip(), session.out)
        found = _program(session.prog, identity) if translated or with_bytes or jited else None
        if found is not None and (translated or with_bytes):
            _bytecode(session, found, with_bytes=with_bytes)
        if found is not None and jited:
            _machine_code(session, found)
    return None


def _each(prog: drgn.Program, kind: str) -> Iterator[drgn.Object]:
    """Each ``struct bpf_prog *`` or ``struct bpf_map *``."""
    for _number, address in idr_entries(prog[f"{kind}_idr"]):
        yield drgn.Object(prog, f"struct bpf_{kind} *", address)


def _ids(prog: drgn.Program, kind: str) -> Iterator[int]:
    for each in _each(prog, kind):
        yield int(each.id if kind == "map" else each.aux.id)


def _program(prog: drgn.Program, identity: int) -> drgn.Object:
    for each in _each(prog, "prog"):
        if int(each.aux.id) == identity:
            return each
    raise UsageError(f"bpf: no program has the ID {identity}")


def _bytecode(session: Session, program: drgn.Object, *, with_bytes: bool) -> None:
    import capstone

    size = min(int(program.len) * _INSTRUCTION, _MAX_CODE)
    start = int(program.insnsi.address_of_()) if hasattr(program, "insnsi") else 0
    data = session.prog.read(start, size)
    machine = capstone.Cs(capstone.CS_ARCH_BPF, capstone.CS_MODE_BPF_EXTENDED)
    machine.skipdata = True
    for each in machine.disasm(data, 0):
        shown = f"  {bytes(each.bytes).hex()}" if with_bytes else ""
        line = f"{each.address // _INSTRUCTION:4}: {each.mnemonic} {each.op_str}".rstrip()
        session.out.write(clean(f"{line}{shown}") + "\n")


def _machine_code(session: Session, program: drgn.Object) -> None:
    from postmortem.arch import arch_of
    from postmortem.kernel.code.disassembly import decode
    from postmortem.shell.commands.code import as_binutils

    size = min(int(program.jited_len), _MAX_CODE)
    if not size:
        session.out.write("(not compiled)\n")
        return
    start = int(program.bpf_func)
    for each in decode(session.prog.read(start, size), start, arch_of(session.prog)):
        session.out.write(
            clean(f"{each.address:#x}:") + "\t" + clean(as_binutils(each.text)) + "\n"
        )


@command("ipcs", "machine", settings=PASSED_ON)
@click.option("-M", "details", is_flag=True, help="Shared memory with the pages of each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def ipcs(session: Session, details: bool, as_json: bool, rest: tuple[str, ...]) -> Any:
    """List System V shared memory (-m), semaphores (-s) and message queues (-q)."""
    if as_json:
        return structured.run(session.prog, "ipcs", " ".join(rest), session.out)
    if not details:
        return crash.run(session.prog, "ipcs", " ".join(rest), session.out)
    text = crash.said(session.prog, "ipcs", " ".join(("-m", *rest)))
    for line in text.splitlines():
        session.out.write(line + "\n")
        word = line.split(maxsplit=1)[0] if line.split() else ""
        if len(word) >= 8 and all(char in "0123456789abcdef" for char in word):
            _pages(session, int(word, 16))
    return None


def _pages(session: Session, address: int) -> None:
    """Pages of a ``struct shmid_kernel``'s file: all, in memory, swapped out."""
    try:
        segment = drgn.Object(session.prog, "struct shmid_kernel *", address)
        inode = segment.shm_file.f_inode
        size = int(session.prog["PAGE_SIZE"].value_())
        pages = -(-int(segment.shm_segsz) // size)
        resident = int(inode.i_mapping.nrpages)
        info = drgn.container_of(inode, "struct shmem_inode_info", "vfs_inode")
        swapped = int(info.swapped)
    except damage() as exc:
        session.out.write(clean(f"PAGES: not in the dump: {exc}") + "\n")
        return
    session.out.write(f"PAGES ALLOCATED/RESIDENT/SWAPPED: {pages}/{resident}/{swapped}\n")
    session.out.write(f"INODE: {int(inode.value_()):x}\n")
