"""Kprobes, kretprobes and uprobes that were registered. Source: kernel/kprobes.c."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.dump.lists import list_entries
from postmortem.dump.rbtree import rb_entries
from postmortem.kernel.layout import Layout
from postmortem.kernel.memo import fact

_BUCKETS = 64
"""``KPROBE_TABLE_SIZE``"""
_MAX_PROBES = 1 << 17
_MAX_BLACKLIST = 1 << 18
_GONE, _DISABLED, _OPTIMIZED, _FTRACE = 1, 2, 4, 8
"""``KPROBE_FLAG_*``"""
_OPCODE = 1
"""Bytes of ``kprobe_opcode_t``, which an ``int3`` replaces."""


@dataclass(frozen=True)
class Kprobe:
    """One ``struct kprobe`` of a user's; several may share an address."""

    address: int
    """Of the instruction that it watches."""
    pointer: int
    """``struct kprobe *``"""
    returns: bool
    """It is a kretprobe's."""
    pre_handler: int
    post_handler: int
    missed: int
    """How often it was hit while another one was handled."""
    gone: bool
    disabled: bool
    optimized: bool
    """A jump stands there in place of the breakpoint."""
    ftrace: bool
    """Ftrace's call stands there."""
    opcode: int
    """The byte that stood there before; with ftrace or a jump it is the first one's."""

    @property
    def handlers(self) -> tuple[int, ...]:
        """Functions that are called when it is hit."""
        return tuple(one for one in (self.pre_handler, self.post_handler) if one)

    @property
    def marks(self) -> str:
        """What ``kprobes/list`` puts at the end of its line."""
        return (
            ("[GONE]" if self.gone else "")
            + ("[DISABLED]" if self.disabled and not self.gone else "")
            + ("[OPTIMIZED]" if self.optimized else "")
            + ("[FTRACE]" if self.ftrace else "")
        )


@fact
def kprobes(prog: drgn.Program) -> tuple[Kprobe, ...]:
    """All of them, in the order of the kernel's table; what can't be read is left out.

    :raises LookupError: this kernel has none.
    """
    kind = prog.type("struct kprobe")
    table = prog.symbol("kprobe_table").address
    reader = _Reader(prog, kind)
    hlist = int(drgn.offsetof(kind, "hlist"))
    found: list[Kprobe] = []
    for bucket in struct.unpack(f"<{_BUCKETS}Q", prog.read(table, _BUCKETS * 8)):
        node = bucket
        try:
            while node and len(found) < _MAX_PROBES:
                found.extend(reader.probes(node - hlist))
                node = prog.read_u64(node)
        except damage():
            continue
    return tuple(found)


class _Reader:
    def __init__(self, prog: drgn.Program, kind: drgn.Type) -> None:
        self._prog = prog
        self._layout = Layout(
            kind,
            {
                "missed": "nmissed",
                "addr": "addr",
                "pre": "pre_handler",
                "post": "post_handler",
                "opcode": "opcode",
                "flags": "flags",
            },
        )
        self._list = int(drgn.offsetof(kind, "list"))
        # kprobe_aggrprobe(): what its address shares with others is one of its own.
        self._shared = readable(lambda: prog.symbol("aggr_pre_handler").address)
        self._returning = readable(lambda: prog.symbol("pre_handler_kretprobe").address)

    def probes(self, pointer: int) -> Iterator[Kprobe]:
        own = self._layout.read(self._prog, pointer)
        if own["pre"] != self._shared or not own["pre"]:
            yield self._probe(pointer, own, own["flags"])
            return
        head = pointer + self._list
        node = self._prog.read_u64(head)
        for _ in range(_MAX_PROBES):
            if node == head:
                return
            found = self._layout.read(self._prog, node - self._list)
            yield self._probe(node - self._list, found, own["flags"], own["opcode"])
            node = self._prog.read_u64(node)

    def _probe(
        self, pointer: int, found: dict[str, int], shared: int, opcode: int | None = None
    ) -> Kprobe:
        flags = found["flags"]
        return Kprobe(
            address=found["addr"],
            pointer=pointer,
            returns=bool(found["pre"]) and found["pre"] == self._returning,
            pre_handler=found["pre"],
            post_handler=found["post"],
            missed=found["missed"],
            gone=bool(flags & _GONE),
            disabled=bool(flags & (_DISABLED | _GONE)),
            optimized=bool(shared & _OPTIMIZED),
            ftrace=bool(shared & _FTRACE),
            opcode=found["opcode"] if opcode is None else opcode,
        )


def blacklist(prog: drgn.Program) -> Iterator[tuple[int, int]]:
    """Start and end of each range of text that may not be probed.

    :raises LookupError: this kernel has no kprobes.
    """
    head = drgn.Object(prog, "struct list_head", address=prog.symbol("kprobe_blacklist").address)
    walk = list_entries(head, "struct kprobe_blacklist_entry", "list")
    for count, entry in enumerate(walk):
        if count >= _MAX_BLACKLIST:
            return
        yield int(entry.start_addr), int(entry.end_addr)


@dataclass(frozen=True)
class Uprobe:
    """A breakpoint in a file that programs run. ``struct uprobe``"""

    pointer: int
    inode: int
    """Number of the file on its file system."""
    offset: int
    consumers: tuple[int, ...]
    """``handler`` or ``ret_handler`` of each user."""


def uprobes(prog: drgn.Program) -> Iterator[Uprobe]:
    """All uprobes, by file and offset.

    :raises LookupError: this kernel has none.
    """
    root = drgn.Object(prog, "struct rb_root", address=prog.symbol("uprobes_tree").address)
    walk = rb_entries(root, "struct uprobe", "rb_node")
    for count, uprobe in enumerate(walk):
        if count >= _MAX_PROBES:
            return
        yield Uprobe(
            uprobe.value_(),
            int(readable(lambda uprobe=uprobe: uprobe.inode.i_ino.value_()) or 0),  # type: ignore[misc]
            int(uprobe.offset),
            tuple(readable(lambda uprobe=uprobe: list(_consumers(uprobe))) or ()),  # type: ignore[misc]
        )


def _consumers(uprobe: drgn.Object) -> Iterator[int]:
    """A list since v6.12 (cc01bd044e6a), chained pointers before."""
    members = uprobe.consumers
    if members.type_.kind == drgn.TypeKind.POINTER:
        count = 0
        while members and count < _MAX_PROBES:
            yield int(members.handler) or int(members.ret_handler)
            members = members.next
            count += 1
        return
    walk = list_entries(members, "struct uprobe_consumer", "cons_node")
    for count, consumer in enumerate(walk):
        if count >= _MAX_PROBES:
            return
        yield int(consumer.handler) or int(consumer.ret_handler)
