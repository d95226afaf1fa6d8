"""``kmem`` with the options of crash that drgn's has not: ``-S -P -c -C -r``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.dump.damage import damage
from postmortem.dump.lists import list_entries
from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash, structured
from postmortem.shell.addresses import addressed
from postmortem.shell.command import PASSED_ON, command

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_MAX_SLABS = 100_000


@command("kmem", "machine", settings=PASSED_ON)
@click.option("-S", "slabs", is_flag=True, help="All of a slab cache: per CPU, nodes, objects.")
@click.option("-P", "physical", is_flag=True, help="The address is a physical one.")
@click.option("-c", "hash_", is_flag=True, help="The page hash table (Linux 2.4).")
@click.option("-C", "hash_", is_flag=True, help="The same with its pages.")
@click.option("-r", "roots", is_flag=True, help="Slab caches with their cgroups' (before 5.9).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def kmem(
    session: Session,
    slabs: bool,
    physical: bool,
    hash_: bool,
    roots: bool,
    as_json: bool,
    rest: tuple[str, ...],
) -> Any:
    """Show how the kernel's memory is used, or what an address belongs to.

    drgn's own options are passed on: -i summary, -f -F free lists, -s [CACHE] slab caches,
    -v vmalloc, -V counters, -n nodes and sections, -z zones, -o per-CPU offsets, -h huge
    pages, -p -m MEMBERS pages, -g [FLAGS] page flags, -I CACHES to leave out.
    """
    if hash_:
        raise UsageError("kmem -c: this kernel has no page_hash_table; it went with Linux 2.4")
    if roots and "slab_root_caches" not in session.prog:
        raise UsageError(
            "kmem -r: this kernel has no slab_root_caches: since 5.9 cgroups share slab caches"
        )
    if slabs:
        _caches(session, rest)
        return None
    words = addressed(session.prog, "kmem", " ".join(rest))
    if physical:
        # A page frame's address is that of the direct map; drgn finds its page from there.
        words = _to_direct_map(session.prog, words)
    if as_json:
        return structured.run(session.prog, "kmem", words, session.out)
    return crash.run(session.prog, "kmem", words, session.out)


def _to_direct_map(prog: drgn.Program, words: str) -> str:
    from drgn.helpers.linux.mm import phys_to_virt

    try:
        return " ".join(f"{int(phys_to_virt(prog, int(word, 16))):x}" for word in words.split())
    except ValueError:
        raise UsageError(f"kmem -P: {words} is no physical address") from None


def _caches(session: Session, names: tuple[str, ...]) -> None:
    found = 0
    for cache in list_entries(session.prog["slab_caches"], "struct kmem_cache", "list"):
        try:
            name = cache.name.string_().decode(errors="replace")
        except damage():
            continue
        if names and name not in names:
            continue
        found += 1
        crash.run(session.prog, "kmem", f"-s {name}", session.out)
        try:
            _cache(session, cache)
        except damage() as exc:
            session.out.write(clean(f"{name}: not all of it is in the dump: {exc}") + "\n")
    if not found:
        raise UsageError(f"kmem -S: no slab cache is called {' '.join(names)}")


def _cache(session: Session, cache: drgn.Object) -> None:
    """Slabs of each CPU and of each node, with the objects of each."""
    out = session.out
    free = _Free(cache)
    if _has(cache, "cpu_slab"):
        from drgn.helpers.linux.percpu import per_cpu_ptr

        from postmortem.kernel.system import present_cpus

        for cpu in present_cpus(session.prog):
            cpu_slab = per_cpu_ptr(cache.cpu_slab, cpu)
            out.write(f"CPU {cpu} KMEM_CACHE_CPU:\n  {int(cpu_slab.value_()):x}\n")
            slab = cpu_slab.slab if _has(cpu_slab, "slab") else cpu_slab.page
            out.write(f"CPU {cpu} SLAB:\n")
            _slabs(session, cache, iter([slab] if slab else []), free)
    elif "sheaves" not in "".join(member.name or "" for member in cache.type_.type.members or ()):
        out.write("(what the CPUs keep is not known for this kernel)\n")
    # Linux kernel commit 5ba6bc27b1f9 ("slab: decouple pointer to barn from kmem_cache_node")
    # (in v7.1) made a pair of each pointer.
    pairs = _has(cache, "per_node")
    nodes = cache.per_node if pairs else cache.node
    # The array is declared for all nodes there may be, and allocated for those there are.
    for number in range(min(nodes.type_.length or 0, _nodes(session.prog))):
        node = nodes[number].node if pairs else nodes[number]
        if not node:
            continue
        out.write(
            f"KMEM_CACHE_NODE   NODE  PARTIAL\n{int(node.value_()):x}  {number:4}  "
            f"{int(node.nr_partial)}\nNODE {number} PARTIAL:\n"
        )
        _slabs(session, cache, _partial(session.prog, node), free)


def _nodes(prog: drgn.Program) -> int:
    try:
        return int(prog["nr_node_ids"].value_())
    except KeyError:  # !CONFIG_NUMA
        return 1


def _partial(prog: drgn.Program, node: drgn.Object) -> Iterator[drgn.Object]:
    # Linux kernel commit d122019bf061 ("mm: Split slab into its own type") (in v5.17).
    for name, link in (("struct slab", "slab_list"), ("struct page", "slab_list"),
                       ("struct page", "lru")):  # fmt: skip
        try:
            type_ = prog.type(name)
            drgn.offsetof(type_, link)
        except LookupError:
            continue
        yield from list_entries(node.partial, name, link)
        return


class _Free:
    """Which objects of a cache are free, slab by slab."""

    def __init__(self, cache: drgn.Object) -> None:
        from postmortem.kernel.freelists import FreeLists

        self._lists = FreeLists(cache)
        self._aside = self._lists.set_aside()

    def objects(self, slab: drgn.Object) -> frozenset[int]:
        return self._aside | self._lists.linked(int(slab.freelist.value_()))


def _slabs(session: Session, cache: drgn.Object, slabs: Iterator[drgn.Object], free: _Free) -> None:
    from drgn.helpers.linux.mm import page_to_virt

    out, number = session.out, 0
    for number, slab in enumerate(slabs, 1):
        if number > _MAX_SLABS:
            out.write(f"  more than {_MAX_SLABS} slabs\n")
            return
        page = drgn.cast("struct page *", slab)
        first = _object(cache, int(page_to_virt(page)))
        total = int(slab.objects)
        inside = [first + index * int(cache.size) for index in range(min(total, 65536))]
        held = set(inside) - free.objects(slab)
        out.write("  SLAB              MEMORY            TOTAL  ALLOCATED  FREE\n")
        out.write(f"  {int(slab.value_()):x}  {int(page_to_virt(page)):x}  {total:5}"
                  f"  {len(held):9}  {total - len(held):4}\n")  # fmt: skip
        out.write("  FREE / [ALLOCATED]\n")
        for address in inside:
            out.write(f"   [{address:x}]\n" if address in held else f"    {address:x}\n")
    if not number:
        out.write("  (empty)\n")


def _object(cache: drgn.Object, start: int) -> int:
    """Where the object begins in its place: behind the red zone, if there is one."""
    return start + (int(cache.red_left_pad) if _has(cache, "red_left_pad") else 0)


def _has(value: drgn.Object, member: str) -> bool:
    try:
        value.member_(member)
    except LookupError:
        return False
    return True
