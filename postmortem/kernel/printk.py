"""The printk ring buffer (kernel/printk/printk_ringbuffer.c, since v5.10, 896fbe20b4e2).

The whole buffer is read in three pieces and looked at afterwards: a record a
time through the object layer costs more than the rest of an analysis.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import drgn

from postmortem.log.report import Record

_MAX_RECORDS = 1 << 20
_MAX_TEXT = 1 << 28
_LOG_NEWLINE, _LOG_CONT = 2, 8  # enum printk_info_flags, include/linux/printk.h
_COMMITTED, _FINALIZED = 1, 2  # enum desc_state


@dataclass(frozen=True)
class PrintkRecord:
    """One ``struct printk_info`` and its text."""

    sequence: int
    text: str
    time_ns: int
    level: int
    facility: int
    caller: str
    """``T123`` for a task, ``C1`` for a CPU in interrupt (CONFIG_PRINTK_CALLER)."""
    continues: bool
    """Continues the record before it."""


def printk_records(prog: drgn.Program) -> list[PrintkRecord]:
    """Read all records of the ring buffer, oldest first.

    :raises LookupError: this kernel has no ring buffer, or nonsense in it.
    :raises drgn.FaultError: the buffer is not in the dump.
    """
    prb = prog["prb"].read_()
    ring = prb.desc_ring.read_()
    count_bits = ring.count_bits.value_()
    if not 0 < count_bits <= 24 or 1 << count_bits > _MAX_RECORDS:
        raise LookupError(f"printk ring buffer would have 2^{count_bits} records")
    count = 1 << count_bits
    text = prb.text_data_ring.read_()
    size_bits = text.size_bits.value_()
    if not 0 < size_bits <= 28 or 1 << size_bits > _MAX_TEXT:
        raise LookupError(f"printk ring buffer would have 2^{size_bits} bytes of text")
    data = _read(prog, text.data.value_(), 1 << size_bits)
    desc_type = prog.type("struct prb_desc")
    info_type = prog.type("struct printk_info")
    descs = _read(prog, ring.descs.value_(), count * drgn.sizeof(desc_type))
    infos = _read(prog, ring.infos.value_(), count * drgn.sizeof(info_type))
    buffer = _Buffer(data, descs, infos, drgn.sizeof(desc_type), _InfoLayout(info_type))
    head = ring.head_id.counter.value_() & _LONG
    tail = ring.tail_id.counter.value_() & _LONG
    return list(buffer.records(tail, head, count))


_LONG = (1 << 64) - 1


def _read(prog: drgn.Program, address: int, size: int) -> bytes:
    """Read memory of which some pages may be missing: those become zeroes."""
    try:
        return bytes(prog.read(address, size))
    except drgn.FaultError:
        parts = []
        missing = 0
        at = address
        while at < address + size:
            step = min(4096 - at % 4096, address + size - at)
            try:
                parts.append(prog.read(at, step))
            except drgn.FaultError:
                parts.append(bytes(step))
                missing += step
            at += step
        if missing == size:
            raise
        return b"".join(parts)


class _InfoLayout:
    """Where the members of ``struct printk_info`` lie."""

    def __init__(self, info: drgn.Type) -> None:
        self.size = drgn.sizeof(info)
        self.sequence = drgn.offsetof(info, "seq")
        self.time = drgn.offsetof(info, "ts_nsec")
        self.length = drgn.offsetof(info, "text_len")
        self.facility = drgn.offsetof(info, "facility")
        self.flags = self.facility + 1  # u8 flags:5, level:3
        self.caller = drgn.offsetof(info, "caller_id")


class _Buffer:
    def __init__(
        self, data: bytes, descs: bytes, infos: bytes, desc_size: int, layout: _InfoLayout
    ) -> None:
        self._data = data
        self._descs = descs
        self._infos = infos
        self._desc_size = desc_size
        self._layout = layout

    def records(self, tail: int, head: int, count: int) -> Iterator[PrintkRecord]:
        mask = count - 1
        for step in range(count):
            number = (tail + step) & (_LONG >> 2)
            record = self._record(number & mask, number)
            if record is not None:
                yield record
            if number == head & (_LONG >> 2):
                break

    def _record(self, slot: int, number: int) -> PrintkRecord | None:
        # struct prb_desc { atomic_long_t state_var; struct { ulong begin, next; } text_blk_lpos; }
        state, begin, end = struct.unpack_from("<QQQ", self._descs, slot * self._desc_size)
        if state >> 62 not in (_COMMITTED, _FINALIZED) or state & (_LONG >> 2) != number:
            return None
        layout = self._layout
        at = slot * layout.size
        sequence = struct.unpack_from("<Q", self._infos, at + layout.sequence)[0]
        time_ns = struct.unpack_from("<Q", self._infos, at + layout.time)[0]
        length = struct.unpack_from("<H", self._infos, at + layout.length)[0]
        caller = struct.unpack_from("<I", self._infos, at + layout.caller)[0]
        flags = self._infos[at + layout.flags]
        return PrintkRecord(
            sequence=sequence,
            text=self._text(begin, end, length),
            time_ns=time_ns,
            level=flags >> 5,
            facility=self._infos[at + layout.facility],
            caller=f"C{caller & 0x7FFFFFFF}" if caller >> 31 else f"T{caller}",
            continues=bool(flags & _LOG_CONT),
        )

    def _text(self, begin: int, end: int, length: int) -> str:
        """Text of the block from ``begin`` to ``end``: logical positions, 8 bytes of id first."""
        if begin & 1:  # no data: the record is empty, or its text was lost
            return ""
        size = len(self._data)
        if begin // size == (end - 1) // size:
            start, stop = begin % size + 8, (end - 1) % size + 1
        else:  # a block that would wrap is put at the start of the ring whole
            start, stop = 8, end % size
        return self._data[start : min(stop, start + length)].decode("utf-8", "replace")


def log_records(prog: drgn.Program) -> tuple[Record, ...]:
    """The log as ``dmesg`` prints it: a record a line, continuations joined.

    Raises what :func:`printk_records` raises.
    """
    lines: list[Record] = []
    for record in printk_records(prog):
        parts = record.text.split("\n")
        time = record.time_ns / 1e9
        if record.continues and lines:
            last = lines[-1]
            lines[-1] = Record(
                last.line, last.text + parts.pop(0), last.time, last.level, last.caller
            )
        for part in parts:
            lines.append(Record(len(lines) + 1, part, time, record.level, record.caller))
    return tuple(lines)
