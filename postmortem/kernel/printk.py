"""The printk ring buffer (kernel/printk/printk_ringbuffer.c, since v5.10, 896fbe20b4e2).

The whole buffer is read in three pieces and looked at afterwards: a record a
time through the object layer costs more than the rest of an analysis.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage
from postmortem.model.report import Record

_MAX_RECORD_BITS = 20
_MAX_TEXT_BITS = 28
_MAX_STRUCT = 4096
_LOG_CONT = 8  # enum printk_info_flags
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


def printk_records(prog: drgn.Program, vmcoreinfo: Mapping[str, str]) -> list[PrintkRecord]:
    """Read all records of the ring buffer, oldest first.

    VMCOREINFO says where everything lies (kernel/printk/printk.c,
    log_buf_vmcoreinfo_setup()), so neither types nor symbols are needed.

    :param vmcoreinfo: The note's lines as key and value.
    :raises LookupError: this kernel has no ring buffer, or nonsense in it.
    :raises drgn.FaultError: the buffer is not in the dump.
    """
    layout = _Layout(prog, vmcoreinfo)
    prb = prog.read_u64(layout.address_of_prb())
    ring = prb + layout.offset("printk_ringbuffer", "desc_ring")
    text = prb + layout.offset("printk_ringbuffer", "text_data_ring")
    count_bits = prog.read_u32(ring + layout.offset("prb_desc_ring", "count_bits"))
    size_bits = prog.read_u32(text + layout.offset("prb_data_ring", "size_bits"))
    if not 0 < count_bits <= _MAX_RECORD_BITS or not 0 < size_bits <= _MAX_TEXT_BITS:
        raise LookupError(
            f"the printk ring buffer would have 2^{count_bits} records, 2^{size_bits} bytes"
        )
    count = 1 << count_bits

    def array_of(member: str, struct_name: str) -> bytes:
        start = prog.read_u64(ring + layout.offset("prb_desc_ring", member))
        return _read(prog, start, count * layout.size(struct_name))

    data = prog.read_u64(text + layout.offset("prb_data_ring", "data"))
    buffer = _Buffer(
        data=_read(prog, data, 1 << size_bits),
        descs=array_of("descs", "prb_desc"),
        infos=array_of("infos", "printk_info"),
        layout=layout,
    )
    head = prog.read_u64(ring + layout.offset("prb_desc_ring", "head_id"))
    tail = prog.read_u64(ring + layout.offset("prb_desc_ring", "tail_id"))
    return list(buffer.records(tail, head, count))


class _Layout:
    """Offsets and sizes of printk's structs: from VMCOREINFO, else from types."""

    def __init__(self, prog: drgn.Program, vmcoreinfo: Mapping[str, str]) -> None:
        self._prog = prog
        self._lines = vmcoreinfo

    def address_of_prb(self) -> int:
        """Address of ``struct printk_ringbuffer *prb``."""
        line = self._lines.get("SYMBOL(prb)")
        return int(line, 16) if line else int(self._prog.symbol("prb").address)

    def offset(self, struct_name: str, member: str) -> int:
        """Bytes from the start of the struct."""
        line = self._lines.get(f"OFFSET({struct_name}.{member})")
        if line and line.isdigit():
            return int(line)
        return int(drgn.offsetof(self._prog.type(f"struct {struct_name}"), member))

    def size(self, struct_name: str) -> int:
        """Bytes of the struct."""
        line = self._lines.get(f"SIZE({struct_name})")
        if line and line.isdigit() and 0 < int(line) < _MAX_STRUCT:
            return int(line)
        return int(drgn.sizeof(self._prog.type(f"struct {struct_name}")))


_LONG = (1 << 64) - 1


def _read(prog: drgn.Program, address: int, size: int) -> bytes:
    """Read memory of which some pages may be missing: those become zeroes."""
    try:
        return bytes(prog.read(address, size))
    except damage():
        parts = []
        missing = 0
        at = address
        while at < address + size:
            step = min(4096 - at % 4096, address + size - at)
            try:
                parts.append(prog.read(at, step))
            except damage():
                parts.append(bytes(step))
                missing += step
            at += step
        if missing == size:
            raise
        return b"".join(parts)


class _Buffer:
    def __init__(self, data: bytes, descs: bytes, infos: bytes, layout: _Layout) -> None:
        self._data = data
        self._descs = descs
        self._infos = infos
        self._desc_size = layout.size("prb_desc")
        self._state = layout.offset("prb_desc", "state_var")
        self._block = layout.offset("prb_desc", "text_blk_lpos")
        self._info_size = layout.size("printk_info")
        self._sequence = layout.offset("printk_info", "seq")
        self._time = layout.offset("printk_info", "ts_nsec")
        self._length = layout.offset("printk_info", "text_len")
        self._caller = layout.offset("printk_info", "caller_id")

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
        at = slot * self._desc_size
        (state,) = struct.unpack_from("<Q", self._descs, at + self._state)
        if state >> 62 not in (_COMMITTED, _FINALIZED) or state & (_LONG >> 2) != number:
            return None
        # struct prb_data_blk_lpos { unsigned long begin, next; }
        begin, end = struct.unpack_from("<QQ", self._descs, at + self._block)
        at = slot * self._info_size
        # u16 text_len, u8 facility, u8 flags:5 and level:3 follow each other.
        length, facility, flags = struct.unpack_from("<HBB", self._infos, at + self._length)
        (caller,) = struct.unpack_from("<I", self._infos, at + self._caller)
        return PrintkRecord(
            sequence=struct.unpack_from("<Q", self._infos, at + self._sequence)[0],
            text=self._text(begin, end, length),
            time_ns=struct.unpack_from("<Q", self._infos, at + self._time)[0],
            level=flags >> 5,
            facility=facility,
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


def log_records(prog: drgn.Program, vmcoreinfo: Mapping[str, str]) -> tuple[Record, ...]:
    """The log as ``dmesg`` prints it: a record a line, continuations joined.

    Raises what :func:`printk_records` raises.
    """
    lines: list[Record] = []
    for record in printk_records(prog, vmcoreinfo):
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
