"""relay channels: what a part of the kernel wrote for a program that may not have read it.

blktrace and SystemTap write into them. Sources: include/linux/relay.h, kernel/relay.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.system import present_cpus
from postmortem.model.findings import Problem

_MAX_CHANNELS = 4096
_MAX_BYTES = 256 << 20
"""Of one buffer."""
_MAX_SUBBUFS = 1 << 16
BLKTRACE_MAGIC = b"\x74\x61\x65"
"""BLK_IO_TRACE_MAGIC without the version, which lies before it."""

Resync = Callable[[bytes], "int | None"]
"""Where in a torn piece the first whole record begins; ``None``: nowhere."""


@dataclass(frozen=True)
class Subbuf:
    """A sub-buffer, or what is left of one."""

    number: int
    """Counted from the first that was ever begun."""
    address: int
    length: int
    """Bytes that were written and are no padding."""
    consumed: int
    """So many of them had been read."""


@dataclass(frozen=True)
class RelayBuffer:
    """``struct rchan_buf`` of a CPU."""

    address: int
    cpu: int
    produced: int
    """Sub-buffers that were filled."""
    consumed: int
    """Sub-buffers that were read."""
    full: bool
    """There was no room: what came then was not written."""
    subbufs: tuple[Subbuf, ...] = field(repr=False)
    """The oldest first; the last is the one that was being written."""
    torn: Subbuf | None = None
    """The end of the oldest one, over whose beginning the newest is written."""

    @property
    def length(self) -> int:
        """Bytes that lie there, whole sub-buffers and the last."""
        return sum(one.length for one in self.subbufs)

    @property
    def unread(self) -> int:
        """Bytes that nobody had read."""
        return sum(one.length - one.consumed for one in self.subbufs)


@dataclass(frozen=True)
class Channel:
    """``struct rchan``"""

    address: int
    name: str
    """Of its files, without the CPU."""
    folder: str | None
    """That they lie in: a disk's name for blktrace, ``MODULE`` for SystemTap."""
    subbuf_bytes: int
    n_subbufs: int
    owner: str | None
    """The table of callbacks, which tells whose it is: ``blk_relay_callbacks``."""
    dropped: int | None
    """Events of blktrace that found no room; ``None`` for other owners."""
    buffers: tuple[RelayBuffer, ...] = field(repr=False)
    problems: tuple[Problem, ...] = ()

    @property
    def is_blktrace(self) -> bool:
        return self.owner == "blk_relay_callbacks"

    def file_name(self, cpu: int) -> str:
        """For a copy of a buffer: as blktrace calls its own files, else ``FOLDER-NAMEcpu``."""
        folder = (self.folder or "").replace("/", "_")
        if self.is_blktrace:
            return f"{folder or 'disk'}.blktrace.{cpu}"
        name = self.name.replace("/", "_") or f"{self.address:x}-"
        return f"{folder}-{name}{cpu}" if folder else f"{name}{cpu}"


def relay_channels(prog: drgn.Program) -> tuple[Channel, ...]:
    """All that were open.

    :raises LookupError: this kernel has none (CONFIG_RELAY).
    """
    kind = prog.type("struct rchan")
    at = int(drgn.offsetof(kind, "list"))
    head = prog["relay_channels"].address_of_().value_()
    found: list[Channel] = []
    seen: set[int] = set()
    node = prog.read_u64(head)
    while node != head and node not in seen and len(seen) < _MAX_CHANNELS:
        seen.add(node)
        found.append(_channel(prog, node - at))
        following = readable(lambda node=node: prog.read_u64(node))  # type: ignore[misc]
        if not following:
            break
        node = following
    return tuple(found)


def _channel(prog: drgn.Program, address: int) -> Channel:
    """:raises drgn.FaultError: it is not in the dump."""
    chan = drgn.Object(prog, "struct rchan", address=address)
    size, count = int(chan.subbuf_size.value_()), int(chan.n_subbufs.value_())
    name = chan.base_filename.string_().decode("utf-8", "replace")
    folder = readable(lambda: str(chan.parent.d_name.name.string_().decode("utf-8", "replace")))
    callbacks = readable(lambda: str(prog.symbol(int(chan.cb.value_())).name))
    buffers: list[RelayBuffer] = []
    problems: list[Problem] = []
    if not (0 < size <= _MAX_BYTES and 0 < count <= _MAX_SUBBUFS and size * count <= _MAX_BYTES):
        problems.append(Problem(f"relay channel {name}", f"{count} sub-buffers of {size} bytes"))
    else:
        for cpu, pointer in _pointers(prog, chan):
            try:
                buffers.append(_buffer(prog, pointer, cpu, size, count))
            except damage() as exc:
                problems.append(Problem(f"relay channel {name}, CPU {cpu}", str(exc)))
    dropped = None
    if callbacks == "blk_relay_callbacks":
        trace = readable(
            lambda: drgn.Object(prog, "struct blk_trace *", chan.private_data.value_())
        )
        dropped = readable(lambda: integer(trace.dropped)) if trace is not None else None
    return Channel(
        address, name, folder, size, count, callbacks, dropped, tuple(buffers), tuple(problems)
    )


def _pointers(prog: drgn.Program, chan: drgn.Object) -> Iterator[tuple[int, int]]:
    """A CPU and its buffer; a global channel has one for all."""
    from drgn.helpers.linux.percpu import per_cpu_ptr

    seen: set[int] = set()
    for cpu in present_cpus(prog):
        pointer = readable(
            lambda cpu=cpu: int(per_cpu_ptr(chan.buf, cpu)[0].value_())  # type: ignore[misc]
        )
        if pointer and pointer not in seen:
            seen.add(pointer)
            yield cpu, pointer


def _buffer(prog: drgn.Program, address: int, cpu: int, size: int, count: int) -> RelayBuffer:
    buf = drgn.Object(prog, "struct rchan_buf", address=address)
    start, offset = int(buf.start.value_()), int(buf.offset.value_())
    produced, consumed = int(buf.subbufs_produced.value_()), int(buf.subbufs_consumed.value_())
    partly = int(buf.bytes_consumed.value_())
    pads = prog.read(int(buf.padding.value_()), 8 * count)
    paddings = [int.from_bytes(pads[i : i + 8], "little") for i in range(0, len(pads), 8)]
    full = offset > size
    found = []
    # The one that is being written has taken the place of the oldest.
    for number in range(max(0, produced - count + (not full)), produced):
        place = number % count
        length = size - min(paddings[place], size)
        read = length if number < consumed else min(partly, length) if number == consumed else 0
        found.append(Subbuf(number, start + place * size, length, read))
    torn = None
    if not full:
        place = produced % count
        read = min(partly, offset) if produced == consumed else 0
        found.append(Subbuf(produced, start + place * size, offset, read))
        if produced >= count:
            at = start + place * size + offset
            # Its padding is forgotten when the place is taken again.
            torn = Subbuf(produced - count, at, size - offset, 0)
    return RelayBuffer(address, cpu, produced, consumed, full, tuple(found), torn)


def contents(
    prog: drgn.Program, buffer: RelayBuffer, resync: Resync | None = None, *, unread: bool = False
) -> tuple[bytes, list[Problem]]:
    """What lies in a buffer, the oldest first; a sub-buffer that can't be read is left out.

    :param resync: Take the torn end of the oldest as well, from where this finds a record.
    :param unread: Without what had been read.
    """
    parts: list[bytes] = []
    problems: list[Problem] = []
    if resync is not None and buffer.torn is not None:
        torn = buffer.torn
        data = readable(lambda: prog.read(torn.address, torn.length)) or b""
        at = resync(data)
        parts.append(data[at:] if at is not None else b"")
    for one in buffer.subbufs:
        skip = one.consumed if unread else 0
        try:
            parts.append(prog.read(one.address + skip, one.length - skip))
        except damage() as exc:
            what = f"relay, CPU {buffer.cpu}"
            problems.append(Problem(what, f"sub-buffer {one.number} can't be read: {exc}"))
    return b"".join(parts), problems


def first_line(data: bytes) -> int | None:
    """For text: behind the first line feed."""
    at = data.find(b"\n")
    return at + 1 if at >= 0 else None


def first_blktrace(data: bytes) -> int | None:
    """For blktrace: the first record from which on there are only records, up to the end."""
    at = data.find(BLKTRACE_MAGIC)
    while at >= 1:
        if blktrace_length(data[at - 1 :]) == len(data) - (at - 1):
            return at - 1
        at = data.find(BLKTRACE_MAGIC, at + 1)
    return None


def blktrace_length(data: bytes) -> int:
    """How many bytes at the beginning are whole records: ``struct blk_io_trace``, since v7.0
    also ``struct blk_io_trace2``, which is larger and has another version."""
    at = 0
    while data[at + 1 : at + 4] == BLKTRACE_MAGIC:
        head, more = (64, 50) if data[at] == 8 else (48, 46)
        length = head + int.from_bytes(data[at + more : at + more + 2], "little")
        if at + length > len(data):
            break
        at += length
    return at
