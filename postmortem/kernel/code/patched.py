"""Where the kernel's text was changed since it was linked, by whom, and what stood there before.

Kprobes (kernel/kprobes.c), ftrace and what uses it: tracers, fprobes, live patches
(kernel/trace/ftrace.c, kernel/livepatch/patch.c), static keys (kernel/jump_label.c) and static
calls (kernel/static_call_inline.c). Of alternatives nothing is known: their table is freed with
the rest of what only booting needs.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.code.probes import Kprobe, kprobes
from postmortem.kernel.layout import Layout
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.trace import Names

_MAX_ENTRIES = 1 << 20
_MAX_OPS = 4096
_MAX_PAGES = 1 << 14
_MAX_BITS = 16
_CALL = 5
_NOP5 = bytes.fromhex("0f1f440000")
_ENABLED = 1 << 31
"""``FTRACE_FL_ENABLED``"""
_REFERENCES = (1 << 19) - 1
"""The count of users, in the low bits of ``dyn_ftrace.flags``; fewer bits are flags then."""
_BRANCH, _INIT = 1, 2
_TRUE = 1
"""``JUMP_TYPE_TRUE``: the key began as true."""


@dataclass(frozen=True)
class Change:
    """Some bytes of text that are not those of the compiler."""

    address: int
    size: int
    by: str
    """Who changed it, in words: ``kprobe, handler foo``."""
    before: bytes = b""
    """What stood there, as far as that is kept."""

    def text(self, now: bytes) -> str:
        """``kprobe, handler foo: cc was 55``"""
        kept = now[: len(self.before)]
        if not self.before or kept == self.before:
            return self.by
        return f"{self.by}: {kept.hex(' ')} was {self.before.hex(' ')}"


def changes_between(prog: drgn.Program, start: int, end: int) -> list[Change]:
    """All that is known to be changed in ``[start, end)``, by address."""
    found: list[Change] = []
    for source in (_by_kprobes, _by_ftrace, _by_static_keys, _by_static_calls):
        found += readable(lambda source=source: list(source(prog, start, end))) or ()  # type: ignore[misc]
    return sorted(found, key=lambda change: change.address)


# --- kprobes


def _by_kprobes(prog: drgn.Program, start: int, end: int) -> Iterator[Change]:
    names = Names(prog)
    for probe in kprobes(prog):
        if start <= probe.address < end and not probe.ftrace and not probe.gone:
            yield Change(
                probe.address, *_replaced(prog, probe, f"{described(names, probe)}{probe.marks}")
            )


def _replaced(prog: drgn.Program, probe: Kprobe, by: str) -> tuple[int, str, bytes]:
    first = bytes([probe.opcode])
    if not probe.optimized:
        return 1, by, b"" if probe.disabled else first
    rest = readable(
        lambda: bytes(
            drgn.Object(
                prog, "struct optimized_kprobe", address=probe.pointer
            ).optinsn.copied_insn.to_bytes_()
        )
    )
    return _CALL, by, first + rest if rest and any(rest) else first


def described(names: Names, probe: Kprobe) -> str:
    """``kprobe, handler foo``"""
    kind = "kretprobe" if probe.returns else "kprobe"
    handlers = [names.symbol(one, offset=False) for one in probe.handlers]
    if probe.returns or not handlers:
        return kind
    return f"{kind}, handler {' and '.join(handlers)}"


# --- ftrace


@dataclass(frozen=True)
class Ops:
    """Somebody whom functions call. ``struct ftrace_ops``"""

    address: int
    func: int
    trampoline: int
    trampoline_bytes: int
    filter: frozenset[int] | None
    """Addresses of call sites; ``None``: all of them."""
    notrace: frozenset[int]

    def wants(self, site: int) -> bool:
        """Whether it is called from there."""
        return (self.filter is None or site in self.filter) and site not in self.notrace


@fact
def ftrace_ops(prog: drgn.Program) -> tuple[Ops, ...]:
    """All that are registered.

    :raises LookupError: this kernel has no dynamic ftrace.
    """
    found = []
    pointer = prog.read_u64(prog.symbol("ftrace_ops_list").address)
    end = prog.symbol("ftrace_list_end").address
    for _ in range(_MAX_OPS):
        if not pointer or pointer == end:
            break
        ops = drgn.Object(prog, "struct ftrace_ops *", pointer)
        found.append(
            Ops(
                pointer,
                int(ops.func),
                int(ops.trampoline),
                int(ops.trampoline_size),
                readable(lambda ops=ops: _hash(prog, ops.func_hash.filter_hash)) or None,  # type: ignore[misc]
                readable(lambda ops=ops: _hash(prog, ops.func_hash.notrace_hash)) or frozenset(),  # type: ignore[misc]
            )
        )
        pointer = int(ops.next)
    return tuple(found)


def _hash(prog: drgn.Program, table: drgn.Object) -> frozenset[int]:
    """``struct ftrace_hash``: its entries' ``ip``; empty stands for everything."""
    if not table or not int(table.count):
        return frozenset()
    kind = prog.type("struct ftrace_func_entry")
    layout = Layout(kind, {"next": "hlist.next", "ip": "ip"})
    offset = int(drgn.offsetof(kind, "hlist"))
    buckets = 1 << min(int(table.size_bits), _MAX_BITS)
    found: set[int] = set()
    for node in struct.unpack(f"<{buckets}Q", prog.read(int(table.buckets), buckets * 8)):
        while node and len(found) < _MAX_ENTRIES:
            entry = layout.read(prog, node - offset)
            found.add(entry["ip"])
            node = entry["next"]
    return frozenset(found)


def _by_ftrace(prog: drgn.Program, start: int, end: int) -> Iterator[Change]:
    if not ftrace_ops(prog):
        return
    names = Names(prog)
    for site, flags in _sites(prog, start, end):
        if not flags & _ENABLED:
            continue
        who = [names.symbol(one.func, offset=False) for one in ftrace_ops(prog) if one.wants(site)]
        yield Change(site, _CALL, f"ftrace, calls {', '.join(who) or 'somebody'}", _NOP5)


def _sites(prog: drgn.Program, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Address and flags of the call sites in a range. ``struct dyn_ftrace``"""
    kind = prog.type("struct dyn_ftrace")
    size, at = int(drgn.sizeof(kind)), int(drgn.offsetof(kind, "flags"))
    page = drgn.Object(
        prog, "struct ftrace_page *", prog.read_u64(prog.symbol("ftrace_pages_start").address)
    )
    for _ in range(_MAX_PAGES):
        if not page:
            return
        count, records = int(page.index), int(page.records)
        if 0 < count < _MAX_ENTRIES:
            first = prog.read_u64(records)
            last = prog.read_u64(records + (count - 1) * size)
            if first < end and last >= start:
                raw = prog.read(records, count * size)
                sites = [struct.unpack_from("<Q", raw, n * size)[0] for n in range(count)]
                for number in range(bisect_left(sites, start), count):
                    if sites[number] >= end:
                        break
                    (flags,) = struct.unpack_from("<Q", raw, number * size + at)
                    yield sites[number], flags
        page = page.next


# --- static keys and calls


def _by_static_keys(prog: drgn.Program, start: int, end: int) -> Iterator[Change]:
    """Branches that now go the other way than when the kernel was linked."""
    kind = prog.type("struct jump_entry")
    if drgn.sizeof(kind) != 16:
        return
    for table, raw in _tables(prog, "__start___jump_table", "__stop___jump_table", "jump", 16):
        for number, (code, _target, key) in enumerate(struct.iter_unpack("<iiq", raw)):
            entry = table + number * 16
            site = entry + code
            if not start <= site < end:
                continue
            address = entry + 8 + (key & ~3)
            known = drgn.Object(prog, "struct static_key", address=address)
            enabled = readable(lambda known=known: integer(known.enabled) != 0)  # type: ignore[misc]
            began = readable(lambda known=known: bool(int(known.type) & _TRUE))  # type: ignore[misc]
            if enabled is None or began is None or enabled == began:
                continue
            name = Names(prog).symbol(address, offset=False)
            jumps = enabled ^ bool(key & _BRANCH)
            what = "a jump where a nop was" if jumps else "a nop where a jump was"
            yield Change(site, 2, f"static key {name} is {'on' if enabled else 'off'}, {what}")


def _by_static_calls(prog: drgn.Program, start: int, end: int) -> Iterator[Change]:
    for table, raw in _tables(
        prog, "__start_static_call_sites", "__stop_static_call_sites", "static_call", 8
    ):
        for number, (where, key) in enumerate(struct.iter_unpack("<ii", raw)):
            entry = table + number * 8
            site = entry + where
            if not start <= site < end:
                continue
            address = entry + 4 + (key & ~3)
            names = Names(prog)
            name = names.symbol(address, offset=False).removeprefix("__SCK__")
            func = readable(lambda address=address: prog.read_u64(address))  # type: ignore[misc]
            now = names.symbol(func, offset=False) if func else "nothing"
            yield Change(site, _CALL, f"static call {name}, now {now}")


def _tables(
    prog: drgn.Program, first: str, last: str, name: str, size: int
) -> Iterator[tuple[int, bytes]]:
    """Address and bytes of the kernel's own table, and of the modules'."""
    start, stop = prog.symbol(first).address, prog.symbol(last).address
    if 0 < stop - start < _MAX_ENTRIES * size:
        yield start, prog.read(start, (stop - start) // size * size)
    from postmortem.dump.selfdescribe import each_module

    members = {"jump": ("jump_entries", "num_jump_entries"),
               "static_call": ("static_call_sites", "num_static_call_sites")}[name]  # fmt: skip
    for count, module in enumerate(each_module(prog)):
        if count >= _MAX_OPS:
            return
        try:
            table = int(module.member_(members[0]))
            entries = int(module.member_(members[1]))
            if table and 0 < entries < _MAX_ENTRIES:
                yield table, prog.read(table, entries * size)
        except damage():
            continue
