"""Lists, trees and bit maps: ``list -B``, ``tree -p -v -N``, ``sbitmapq``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.addresses import addressed
from postmortem.shell.command import PASSED_ON, command
from postmortem.shell.commands.values import address_of

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_MAX_NODES = 1 << 20
_MAX_DEPTH = 128
_VALUED = frozenset({"-t", "-o", "-s", "-S", "-r"})


@command("list", "values", settings=PASSED_ON)
@click.option("-B", "brent", is_flag=True, help="Only whether it runs in a circle, and where.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def list_(session: Session, brent: bool, rest: tuple[str, ...]) -> Any:
    """Walk a linked list from a START: a symbol, an address or an (expression).

    \b
    list -H modules -o module.list -s module.name   behind a head; members of each
    list task_struct.tasks -h ff110001              from one of its structs on
    list -e END START, -r backwards, -l OFFSET, -O OFFSET
    """
    if brent:
        _circle(session, [word for word in rest if not word.startswith("-")])
        return None
    words = addressed(session.prog, "list", " ".join(rest))
    return crash.run(session.prog, "list", words, session.out)


def _circle(session: Session, rest: list[str]) -> None:
    """R. P. Brent's way to find a loop: two places, no memory of where it has been."""
    if not rest:
        raise UsageError("list -B START")
    offset = 0
    if len(rest) > 1 and "." in rest[0]:
        struct, _, member = rest.pop(0).partition(".")
        offset = drgn.offsetof(session.prog.type(f"struct {struct}"), member)

    def next_(address: int) -> int:
        return int(session.prog.read_u64(address + offset))

    start = address_of(session.prog, addressed(session.prog, "list", rest[0]))
    found = brent_loop(next_, start)
    if found is None:
        session.out.write("no loop: it ends\n")
    else:
        length, before = found
        session.out.write(f"loop of {length} entries, {before} entries before it\n")


def brent_loop(next_: Callable[[int], int], start: int) -> tuple[int, int] | None:
    """Length of the loop and how many entries stand before it; ``None`` if the walk ends.

    :raises UsageError: there are more entries than any list has.
    """
    power = length = 1
    slow, fast = start, next_(start)
    for _ in range(_MAX_NODES):
        if not fast:
            return None
        if slow == fast:
            break
        if power == length:
            slow, power, length = fast, power * 2, 0
        fast = next_(fast)
        length += 1
    else:
        raise UsageError(f"list -B: no loop and no end within {_MAX_NODES} entries")
    first = ahead = start
    for _ in range(length):
        ahead = next_(ahead)
    before = 0
    while first != ahead:
        first, ahead, before = next_(first), next_(ahead), before + 1
    return length, before


@command("tree", "values", settings=PASSED_ON)
@click.option("-p", "places", is_flag=True, help="Where each node stands: root/l/r (rbtree).")
@click.option("-v", "verbose", is_flag=True, help="The memory of each node of a maple tree.")
@click.option("-N", "node", is_flag=True, help="START is a node, not a root (rbtree).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def tree(session: Session, places: bool, verbose: bool, node: bool, rest: tuple[str, ...]) -> Any:
    """Walk a red-black, radix, xarray or maple tree from its root.

    \b
    tree -t rbtree -o vmap_area.rb_node vmap_area_root
    tree -t maple ((struct task_struct *)0xff110001)->mm->mm_mt
    -s STRUCT.MEMBERS shows each entry, -l in order, -r OFFSET
    """
    words = addressed(session.prog, "tree", " ".join(rest)).split()
    if not (places or verbose or node):
        return crash.run(session.prog, "tree", " ".join(words), session.out)
    kind = words[words.index("-t") + 1] if "-t" in words[:-1] else "rbtree"
    starts = [word for at, word in enumerate(words)
              if not word.startswith("-") and (not at or words[at - 1] not in _VALUED)]  # fmt: skip
    if len(starts) != 1:
        raise UsageError("tree wants one START")
    if verbose and kind.startswith("m"):
        _maple(session, address_of(session.prog, starts[0]))
        return None
    if not kind.startswith("rb") or verbose:
        raise UsageError("tree -p and -N are here for red-black trees, -v for maple trees")
    offset = _offset(session.prog, words)
    start = address_of(session.prog, starts[0])
    root = start if node else session.prog.read_u64(start)
    for address, place in _rbtree(session.prog, root):
        session.out.write(f"{address - offset:x}\n")
        if places:
            session.out.write(f"  position: {place}\n")
    return None


def _offset(prog: drgn.Program, words: list[str]) -> int:
    if "-o" not in words[:-1]:
        return 0
    text = words[words.index("-o") + 1]
    if text.isdecimal():
        return int(text[:9])
    struct, _, member = text.partition(".")
    try:
        return int(drgn.offsetof(prog.type(f"struct {struct}"), member))
    except LookupError as exc:
        raise UsageError(f"tree -o: {exc}") from None


def _rbtree(prog: drgn.Program, root: int) -> Iterator[tuple[int, str]]:
    """Every node from the top down, left before right. ``struct rb_node``: parent, right, left."""
    seen: set[int] = set()
    todo = [(root, "root", 0)]
    while todo:
        address, place, depth = todo.pop()
        if not address or address in seen or depth > _MAX_DEPTH or len(seen) >= _MAX_NODES:
            continue
        seen.add(address)
        yield address, place
        right, left = prog.read_u64(address + 8), prog.read_u64(address + 16)
        todo += [(right, f"{place}/r", depth + 1), (left, f"{place}/l", depth + 1)]


def _maple(session: Session, address: int) -> None:
    """Every ``struct maple_node`` of a tree as memory has it."""
    prog = session.prog
    root = int(drgn.Object(prog, "struct maple_tree", address=address).ma_root)
    session.out.write(f"maple_tree {address:x}  ma_root {root:x}\n")
    seen: set[int] = set()
    todo = [root]
    while todo and len(seen) < _MAX_NODES:
        entry = todo.pop()
        # An encoded node has type and flags in its low byte; leaves are types 0 and 1.
        node, kind = entry & ~0xFF, entry >> 3 & 0xF
        if entry & 3 != 2 or entry < 4096 or node in seen:
            continue
        seen.add(node)
        session.out.write(f"maple_node {node:x}  type {kind}\n")
        try:
            crash.run(prog, "rd", f"{node:x} 32", session.out)
            words = [prog.read_u64(node + at * 8) for at in range(32)] if kind >= 2 else []
        except damage() as exc:
            session.out.write(clean(f"  not in the dump: {exc}") + "\n")
            continue
        todo += words


@command("sbitmapq", "values")
@click.option("-s", "struct", metavar="STRUCT", help="With -a: what the array holds.")
@click.option("-a", "array", metavar="ADDRESS", help="An array; its used entries are shown.")
@click.option("-p", "pointers", is_flag=True, help="The array holds pointers.")
@click.option("-v", "verbose", is_flag=True, help="Each entry as its struct.")
@click.argument("address")
def sbitmapq(
    session: Session,
    struct: str | None,
    array: str | None,
    pointers: bool,
    verbose: bool,
    address: str,
) -> None:
    """Show a struct sbitmap_queue: which bits (tags of block requests) are in use."""
    if (struct is None) != (array is None) or (verbose and struct is None):
        raise UsageError("sbitmapq: -s and -a belong together, and -v to them")
    prog = session.prog
    queue = drgn.Object(prog, "struct sbitmap_queue", address=address_of(prog, address))
    bits = queue.sb
    set_, cleared = _bits(bits)
    used = sorted(set_ - cleared)
    out = session.out
    if array is None:
        out.write(f"depth = {int(bits.depth)}\nbusy = {len(used)}\ncleared = {len(cleared)}\n")
        out.write(f"bits_per_word = {1 << int(bits.shift)}\nmap_nr = {int(bits.map_nr)}\n")
        for name in ("wake_batch", "ws_active", "min_shallow_depth"):
            value = queue.member_(name)
            value = value.counter if value.type_.type_name() == "atomic_t" else value
            out.write(f"{name} = {int(value)}\n")
        out.write(f"bits in use: {' '.join(map(str, used)) or '(none)'}\n")
        return
    assert struct is not None
    type_ = prog.type(f"struct {struct.partition('.')[0]}")
    first, size = address_of(prog, array), 8 if pointers else type_.size or 0
    for number in used:
        at = first + number * size
        at = prog.read_u64(at) if pointers else at
        out.write(f"{number}: {at:x}\n")
        if verbose:
            crash.run(prog, "struct", f"{struct} {at:x}", out)


def _bits(bitmap: drgn.Object) -> tuple[set[int], set[int]]:
    """Bits that are set, and those of them that were cleared but not yet taken back."""
    per_word, depth = 1 << int(bitmap.shift), int(bitmap.depth)
    words = min(int(bitmap.map_nr), _MAX_NODES // per_word + 1)
    found: tuple[set[int], set[int]] = (set(), set())
    for index in range(words):
        word = bitmap.map[index]
        for which, value in enumerate((int(word.word), int(word.cleared))):
            found[which].update(
                index * per_word + bit
                for bit in range(per_word)
                if value >> bit & 1 and index * per_word + bit < depth
            )
    return found
