"""The printk ring buffer (kernel/printk/printk_ringbuffer.c, since v5.10, 896fbe20b4e2).

The whole buffer is read in three pieces and looked at afterwards: a record a
time through the object layer costs more than the rest of an analysis.

The buffer proves itself. A descriptor holds the id of its record, so does the block of
its text, and sequence numbers and ids grow together: what does not fit is damaged, and
what lies on pages that the dump lacks is missed. Both are said, with their extent.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.dump.log_blocks import Blocks, find_blocks
from postmortem.dump.memory import Memory
from postmortem.model.findings import Problem
from postmortem.model.report import Record

_MAX_RECORD_BITS = 20
_MAX_TEXT_BITS = 28
_MAX_BITS_EACH = 10
"""Of text for a record: none is longer (``PRINTKRB_RECORD_MAX``), 32 bytes is what printk plans."""
_MAX_STRUCT = 4096
_DISORDER_NS = 10_000_000_000
"""CPUs read their clocks before they get their places in the log, but not by so much."""
_MAX_HOLES = 4
"""So many are told one by one."""
_LOG_NEWLINE, _LOG_CONT = 2, 8  # enum printk_info_flags
_COMMITTED, _FINALIZED = 1, 2  # enum desc_state
_IDS = (1 << 62) - 1
"""Ids are the lower bits of ``prb_desc.state_var``; the upper two are the state."""


@dataclass(frozen=True)
class PrintkRecord:
    """One ``struct printk_info`` and its text."""

    sequence: int
    text: str
    time_ns: int | None
    """``None`` where its description is damaged, as with ``level``."""
    level: int | None
    facility: int
    """0: the kernel's; others wrote to /dev/kmsg."""
    caller: str | None
    """``T123`` for a task, ``C1`` for a CPU in interrupt (CONFIG_PRINTK_CALLER)."""
    continues: bool
    """Continues the record before it, if that one did not end its line."""
    ends_line: bool = True


@dataclass(frozen=True)
class Log:
    """The log of a dump, as far as it is there."""

    records: tuple[Record, ...]
    """A record a line, as ``dmesg`` prints them, continuations joined."""
    problems: tuple[Problem, ...] = ()
    """Every hole, with its extent."""
    user: frozenset[int] = frozenset()
    """Lines that somebody in user space wrote to /dev/kmsg."""

    @property
    def kernel(self) -> tuple[Record, ...]:
        """The records that the kernel wrote itself: only these can be its reports."""
        if not self.user:
            return self.records
        return tuple(record for record in self.records if record.line not in self.user)


@dataclass
class PrintkRing:
    """What could be read of the ring."""

    records: list[PrintkRecord] = field(default_factory=list)
    """Oldest first."""
    problems: list[Problem] = field(default_factory=list)


def read_ring(prog: drgn.Program, vmcoreinfo: Mapping[str, str]) -> PrintkRing:
    """Read all records of the ring buffer.

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
    sound = 0 < count_bits <= _MAX_RECORD_BITS and 0 < size_bits <= _MAX_TEXT_BITS
    if not sound or size_bits > count_bits + _MAX_BITS_EACH:
        raise LookupError(
            f"the printk ring buffer would have 2^{count_bits} records, 2^{size_bits} bytes"
        )
    count = 1 << count_bits

    def array_of(member: str, struct_name: str) -> _Piece:
        start = prog.read_u64(ring + layout.offset("prb_desc_ring", member))
        return _read(prog, start, count * layout.size(struct_name))

    descs = array_of("descs", "prb_desc")
    descs.require_some()
    data = _read(prog, prog.read_u64(text + layout.offset("prb_data_ring", "data")), 1 << size_bits)
    data.require_some()
    infos = array_of("infos", "printk_info")
    buffer = _Buffer(data, descs, infos, layout, bool(prog.flags & drgn.ProgramFlags.IS_LIVE))
    head = prog.read_u64(ring + layout.offset("prb_desc_ring", "head_id"))
    tail = prog.read_u64(ring + layout.offset("prb_desc_ring", "tail_id"))
    return buffer.records(_id(tail), _id(head), count)


def _id(value: int) -> int:
    """The id in a state variable. They start a little below zero, so that they wrap early."""
    number = value & _IDS
    return number - (_IDS + 1) if number > _IDS >> 1 else number


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


@dataclass(frozen=True)
class _Piece:
    """Memory of which some pages may be missing; those read as zeroes. Empty if all are."""

    data: bytes
    missing: tuple[tuple[int, int], ...] = ()
    """``[start, end)`` in ``data``, ascending."""
    why: str = ""

    def whole(self, start: int, end: int) -> bool:
        """Whether all of ``[start, end)`` is there."""
        if not 0 <= start <= end <= len(self.data):
            return False
        return all(end <= low or high <= start for low, high in self.missing)

    def require_some(self) -> None:
        """
        :raises LookupError: all of it is missing.
        """
        if not self.data:
            raise LookupError(f"the printk ring buffer is not in the dump: {self.why}")


def _read(prog: drgn.Program, address: int, size: int) -> _Piece:
    try:
        return _Piece(bytes(prog.read(address, size)))
    except damage():
        pass
    parts: list[bytes] = []
    missing: list[tuple[int, int]] = []
    why = ""
    at = 0
    while at < size:
        step = min(4096 - (address + at) % 4096, size - at)
        try:
            parts.append(prog.read(address + at, step))
        except damage() as exc:
            why = why or str(exc)
            parts.append(_ZEROES[:step])  # one page for all: damage can claim 256 MiB of them
            if missing and missing[-1][1] == at:
                missing[-1] = (missing[-1][0], at + step)
            else:
                missing.append((at, at + step))
        at += step
    everything = missing == [(0, size)]
    return _Piece(b"" if everything else b"".join(parts), tuple(missing), why)


_ZEROES = bytes(4096)
_LOST, _DAMAGED = "are not in the dump", "are damaged"


class _Buffer:
    """The three arrays of the ring, and what they say about each other."""

    def __init__(
        self, data: _Piece, descs: _Piece, infos: _Piece, layout: _Layout, live: bool = False
    ) -> None:
        self._data, self._descs, self._infos = data, descs, infos
        self._live = live
        self._desc_size = layout.size("prb_desc")
        self._state = layout.offset("prb_desc", "state_var")
        self._block = layout.offset("prb_desc", "text_blk_lpos")
        self._info_size = layout.size("printk_info")
        self._sequence = layout.offset("printk_info", "seq")
        self._time = layout.offset("printk_info", "ts_nsec")
        self._length = layout.offset("printk_info", "text_len")
        self._caller = layout.offset("printk_info", "caller_id")

    def records(self, tail: int, head: int, count: int) -> PrintkRing:
        """All records, and every hole."""
        found = PrintkRing()
        mask = count - 1
        descriptors = [self._descriptor(slot) for slot in range(count)]
        if not self._fits(descriptors, tail, head, count):
            tail, head = self._window(descriptors, count)
            found.problems.append(
                Problem("log", "the ring's first and last record do not fit its descriptors")
            )
        numbers = range(tail, head + 1) if tail <= head else range(0)
        ahead = self._ahead(descriptors, numbers, mask)
        lost: dict[int, str] = {}
        for number in numbers:
            descriptor = descriptors[number & mask]
            if descriptor is None:
                lost[number] = _LOST
                continue
            state, held = descriptor
            if held != number:
                if not self._live:  # of a running kernel it was overwritten in the meantime
                    lost[number] = _DAMAGED
            elif state in (_COMMITTED, _FINALIZED):
                record = self._record(number & mask, number, ahead)
                if isinstance(record, str):
                    lost[number] = record
                else:
                    found.records.append(record)
        found.records = _in_time(found.records)
        found.problems += _holes(lost, ahead, len(found.records))
        bare = sum(record.level is None for record in found.records)
        if bare:
            why = f"{bare} records have lost their time, level and who wrote them"
            found.problems.append(Problem("log", why))
        if not found.records and not lost:
            found.problems.append(Problem("log", "the ring buffer holds no record"))
        return found

    def _descriptor(self, slot: int) -> tuple[int, int] | None:
        """State and id; ``None`` if it is not in the dump."""
        at = slot * self._desc_size
        if not self._descs.whole(at, at + self._desc_size):
            return None
        (state,) = struct.unpack_from("<Q", self._descs.data, at + self._state)
        return state >> 62, _id(state)

    @staticmethod
    def _fits(descriptors: list[tuple[int, int] | None], tail: int, head: int, count: int) -> bool:
        """Whether the ring's ends are ids that their descriptors hold, if these are there."""
        if not 0 <= head - tail < count:
            return False
        ends = ((descriptors[number % count], number) for number in (tail, head))
        return all(held is None or held[1] == number for held, number in ends)

    @staticmethod
    def _window(descriptors: list[tuple[int, int] | None], count: int) -> tuple[int, int]:
        """First and last id of the most records that can be in the ring together."""
        ids = sorted(
            held[1]
            for slot, held in enumerate(descriptors)
            if held is not None and held[0] in (_COMMITTED, _FINALIZED) and held[1] % count == slot
        )
        best = (0, -1)
        most = start = 0
        for end, number in enumerate(ids):
            while number - ids[start] >= count:
                start += 1
            if end - start + 1 > most:
                most, best = end - start + 1, (ids[start], number)
        return best

    def _ahead(
        self, descriptors: list[tuple[int, int] | None], numbers: range, mask: int
    ) -> int | None:
        """How far sequence numbers are ahead of ids: by the same for all, says the majority."""
        seen: Counter[int] = Counter()
        for number in numbers:
            held = descriptors[number & mask]
            at = (number & mask) * self._info_size
            if held is None or held[1] != number or not self._infos.whole(at, at + self._info_size):
                continue
            (sequence,) = struct.unpack_from("<Q", self._infos.data, at + self._sequence)
            if held[0] in (_COMMITTED, _FINALIZED):
                seen[sequence - number] += 1
        return seen.most_common(1)[0][0] if seen else None

    def _record(self, slot: int, number: int, ahead: int | None) -> PrintkRecord | str:
        """The record, or what became of it."""
        # struct prb_data_blk_lpos { unsigned long begin, next; }
        begin, end = struct.unpack_from(
            "<QQ", self._descs.data, slot * self._desc_size + self._block
        )
        block = self._text(begin, end, number)
        if isinstance(block, str):
            return block
        at = slot * self._info_size
        whole = self._infos.whole(at, at + self._info_size)
        sequence = 0
        if whole:
            (sequence,) = struct.unpack_from("<Q", self._infos.data, at + self._sequence)
        if not whole or sequence - number != ahead:
            text = block.rstrip(b"\0").decode("utf-8", "replace")
            return PrintkRecord(number + (ahead or 0), text, None, None, 0, None, False)
        # u16 text_len, u8 facility, u8 flags:5 and level:3 follow each other.
        length, facility, flags = struct.unpack_from("<HBB", self._infos.data, at + self._length)
        (caller,) = struct.unpack_from("<I", self._infos.data, at + self._caller)
        return PrintkRecord(
            sequence=sequence,
            text=block[:length].decode("utf-8", "replace"),
            time_ns=struct.unpack_from("<Q", self._infos.data, at + self._time)[0],
            level=flags >> 5,
            facility=facility,
            caller=f"C{caller & 0x7FFFFFFF}" if caller >> 31 else f"T{caller}",
            continues=bool(flags & _LOG_CONT),
            ends_line=bool(flags & _LOG_NEWLINE),
        )

    def _text(self, begin: int, end: int, number: int) -> bytes | str:
        """The block from ``begin`` to ``end``, logical positions: its id, then the text."""
        if begin & 1:  # no data: the record is empty, or the kernel had no room for its text
            return b""
        size = len(self._data.data)
        if not 8 <= end - begin <= size:
            return _DAMAGED
        if begin // size == (end - 1) // size:
            start, stop = begin % size, (end - 1) % size + 1
        else:  # a block that would wrap is put at the start of the ring whole
            start, stop = 0, end % size
        if not self._data.whole(start, stop):
            return _LOST
        if stop - start < 8 or _id(struct.unpack_from("<Q", self._data.data, start)[0]) != number:
            return _DAMAGED
        return self._data.data[start + 8 : stop]


def _in_time(records: list[PrintkRecord]) -> list[PrintkRecord]:
    """Without the times that lie far from those of both neighbours: these are damaged."""
    result = list(records)
    for here in range(1, len(records) - 1):
        first, time, last = (records[n].time_ns for n in (here - 1, here, here + 1))
        if first is None or time is None or last is None or first > last:
            continue
        if not first - _DISORDER_NS <= time <= last + _DISORDER_NS:
            result[here] = replace(records[here], time_ns=None)
    return result


def _holes(lost: Mapping[int, str], ahead: int | None, read: int) -> list[Problem]:
    """Say which records are missing, as sequence numbers."""
    holes: list[tuple[int, int, str]] = []
    for number, why in lost.items():
        if holes and holes[-1][1] == number - 1 and holes[-1][2] == why:
            holes[-1] = (holes[-1][0], number, why)
        else:
            holes.append((number, number, why))
    found = []
    for first, last, why in holes[:_MAX_HOLES]:
        low, high = first + (ahead or 0), last + (ahead or 0)
        one = f"record {low} {why.replace('are', 'is')}"
        found.append(Problem("log", f"records {low}-{high} {why}" if high > low else one))
    if len(holes) > _MAX_HOLES:
        more = sum(last - first + 1 for first, last, _why in holes[_MAX_HOLES:])
        found.append(
            Problem("log", f"{more} more records in {len(holes) - _MAX_HOLES} places are missing")
        )
    if lost:
        found.append(Problem("log", f"{read} of {read + len(lost)} records could be read"))
    return found


def read_log(
    prog: drgn.Program, vmcoreinfo: Mapping[str, str], memory: Memory | None = None
) -> Log:
    """The log of the dump.

    :param memory: is searched if nothing leads to the log.

    Raises what :func:`read_ring` raises.
    """
    try:
        ring = _best_ring(prog, vmcoreinfo)
    except damage() as exc:
        ring = PrintkRing(problems=[Problem("log", str(exc).partition("\n")[0])])
        found = _by_shape(memory)
        if not found.records:
            raise
        ring = PrintkRing(found.records, [*ring.problems, *found.problems])
    if not ring.records:
        found = _by_shape(memory)
        ring = PrintkRing(found.records, [*ring.problems, *found.problems])
    lines, user = _lines(ring.records)
    return Log(lines, tuple(ring.problems), user)


def _by_shape(memory: Memory | None) -> PrintkRing:
    """The records whose blocks lie somewhere in memory."""
    blocks = find_blocks(memory) if memory is not None else Blocks()
    records = [
        _told(number, blocks.texts[number], blocks.infos.get(number))
        for number in sorted(blocks.texts)
    ]
    if not records:
        return PrintkRing()
    why = f"{len(records)} records were found by their shape in memory; others may be missing"
    return PrintkRing(_in_time(records), [Problem("log", why)])


def _told(number: int, block: bytes, info: bytes | None) -> PrintkRecord:
    """A record from its block and, if it was found, its ``struct printk_info``."""
    if info is None:
        text = block.partition(b"\0")[0].decode("utf-8", "replace")
        return PrintkRecord(number, text, None, None, 0, None, False)
    sequence, ns, length, facility, flags, caller = struct.unpack_from("<QQHBBI", info)
    return PrintkRecord(
        sequence=sequence,
        text=block[:length].decode("utf-8", "replace"),
        time_ns=ns,
        level=flags >> 5,
        facility=facility,
        caller=f"C{caller & 0x7FFFFFFF}" if caller >> 31 else f"T{caller}",
        continues=bool(flags & _LOG_CONT),
        ends_line=bool(flags & _LOG_NEWLINE),
    )


def _best_ring(prog: drgn.Program, vmcoreinfo: Mapping[str, str]) -> PrintkRing:
    """By VMCOREINFO; if that fails or does not fit, by symbols and types, if this gives more."""
    try:
        told = read_ring(prog, vmcoreinfo)
    except damage():
        own = readable(lambda: read_ring(prog, {}))
        if own is None:
            raise
        return own
    if not told.problems:
        return told
    own = readable(lambda: read_ring(prog, {}))
    return told if own is None or _worth(own) <= _worth(told) else own


def _worth(ring: PrintkRing) -> tuple[int, int]:
    """Records, and those of which all is known."""
    return len(ring.records), sum(record.level is not None for record in ring.records)


def _lines(records: Iterable[PrintkRecord]) -> tuple[tuple[Record, ...], frozenset[int]]:
    """The log as ``dmesg`` prints it, and which lines are not the kernel's."""
    lines: list[Record] = []
    user: set[int] = set()
    open_line = False
    for record in records:
        parts = record.text.split("\n")
        # As the kernel prints it: microseconds, cut off and not rounded.
        time = None if record.time_ns is None else record.time_ns // 1000 / 1e6
        joins, open_line = record.continues and open_line, not record.ends_line
        if joins and lines:
            last = lines[-1]
            lines[-1] = Record(
                last.line, last.text + parts.pop(0), last.time, last.level, last.caller
            )
        for part in parts:
            lines.append(Record(len(lines) + 1, part, time, record.level, record.caller))
            if record.facility:
                user.add(len(lines))
    return tuple(lines), frozenset(user)
