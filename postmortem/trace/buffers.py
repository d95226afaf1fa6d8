"""The ring buffers of a dump: every instance, every CPU, what it counted, where its pages are.

Source: kernel/trace/trace.h, kernel/trace/ring_buffer.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import drgn
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.percpu import per_cpu_ptr

from postmortem.dump.damage import damage, integer, member, readable
from postmortem.kernel.layout import Layout
from postmortem.kernel.masks import for_each_possible_cpu
from postmortem.kernel.memo import fact
from postmortem.trace.pages import COMMIT_MASK, Place, decode

_MAX_ARRAYS = 4096
_MAX_PAGES = 1 << 22
_MAX_ORDER = 10
_MAX_CPUS = 8192
_PAGE = 4096
_WRITE_MASK = 0xFFFFF
"""``RB_WRITE_MASK``: above it updates are counted."""
_LIST_FLAGS = 3
"""``RB_FLAG_MASK``: the page behind is the head, or about to be no more."""
_CLOCKS_NOT_IN_NS = frozenset({"counter", "x86-tsc", "ppc-tb"})


@dataclass(frozen=True)
class Stats:
    """What ``per_cpu/cpuN/stats`` counts."""

    entries: int
    """Written and neither overwritten nor read."""
    overrun: int
    commit_overrun: int
    bytes: int
    oldest: int
    """Time stamp of the oldest page."""
    dropped: int
    read: int
    written: int
    """When something was written last, ``rb_time_t write_stamp``; 0 if that is not known."""


@dataclass(frozen=True)
class Page:
    """A sub-buffer to be read. ``struct buffer_page`` and its ``struct buffer_data_page``"""

    address: int
    """Of ``struct buffer_data_page``."""
    bytes: int
    read: int
    """Bytes that somebody has read."""
    write: int
    """Bytes that are reserved, of which ``commit`` are valid."""


class CpuBuffer:
    """The part of a buffer that belongs to one CPU. ``struct ring_buffer_per_cpu``"""

    def __init__(self, owner: Buffer, obj: drgn.Object, cpu: int) -> None:
        self._owner, self._obj, self.cpu = owner, obj, cpu
        self._prog = obj.prog_
        self.problems: list[str] = []

    @cached_property
    def stats(self) -> Stats:
        """
        :raises drgn.FaultError: it is not in the dump.
        """
        obj = self._obj.read_()
        entries, overrun = _local(obj.entries), _local(obj.overrun)
        read = integer(obj.member_("read"))
        return Stats(
            entries=entries - overrun - read,
            overrun=overrun,
            commit_overrun=_local(obj.commit_overrun),
            bytes=_local(obj.entries_bytes) - integer(obj.read_bytes),
            oldest=readable(self._oldest) or 0,
            dropped=_local(obj.dropped_events),
            read=read,
            written=readable(lambda: _time(obj.write_stamp)) or 0,
        )

    def _oldest(self) -> int:
        tail = self._obj.tail_page.value_()
        reader = self._obj.reader_page.value_()
        page = self._page(reader if tail == reader else self._head())
        return int(self._prog.read_u64(page.address))

    def _page(self, address: int) -> Page:
        found = self._owner.page_layout.read(self._prog, address)
        order = min(found.get("order", 0), _MAX_ORDER)
        return Page(found["page"], _PAGE << order, found["read"], found["write"] & _WRITE_MASK)

    def _following(self, address: int) -> int:
        """``rb_inc_page()``"""
        at = self._prog.read_u64(address + self._owner.page_list)
        return int(at & ~_LIST_FLAGS) - self._owner.page_list

    def _head(self) -> int:
        """``rb_set_head_page()``: the page that the pointer before it marks."""
        page = int(self._obj.head_page.value_())
        seen: set[int] = set()
        for _ in range(self._most):
            # How many pages there are may be damaged: once around is enough.
            if page in seen:
                break
            seen.add(page)
            before = self._prog.read_u64(page + self._owner.page_list + 8) & ~_LIST_FLAGS
            mark = self._prog.read_u64(before)
            if mark & _LIST_FLAGS == 1 and mark & ~_LIST_FLAGS == page + self._owner.page_list:
                return page
            page = self._following(page)
        # The writer was about to move it on when the machine died.
        self.problems.append(f"CPU {self.cpu}: no page is marked as the head")
        return int(self._obj.head_page.value_())

    @cached_property
    def _most(self) -> int:
        return min(integer(self._obj.nr_pages) + 2, _MAX_PAGES)

    def pages(self) -> Iterator[Page]:
        """The pages with something in them, oldest first: the reader's, then those of the ring."""
        reader = int(self._obj.reader_page.value_())
        commit = int(self._obj.commit_page.value_())
        if not reader or not commit:
            return
        yield self._page(reader)
        if reader == commit:
            return
        page = self._head()
        seen: set[int] = set()
        for _ in range(self._most):
            if page in seen:
                break
            seen.add(page)
            yield self._page(page)
            if page == commit:
                return
            page = self._following(page)
        self.problems.append(f"CPU {self.cpu}: the page of the last commit is not in the ring")

    def batches(self, tail: int | None = None) -> Iterator[tuple[bytes, list[Place]]]:
        """Data and events of each page, oldest first; what can't be read is left out.

        :param tail: Only so many pages, the last ones.
        """
        pages = self.pages() if tail is None else self._last_pages(tail)
        first = tail is None
        while True:
            try:
                page = next(pages)
            except StopIteration:
                return
            except damage() as exc:
                self.problems.append(f"CPU {self.cpu}: the ring breaks off: {exc}")
                return
            try:
                data, commit, stamp = self._read(page)
            except damage() as exc:
                self.problems.append(f"CPU {self.cpu}: a page can't be read: {exc}")
                first = False
                continue
            if first and page.read:
                stamp = readable(lambda: integer(self._obj.read_stamp)) or stamp
            found = decode(data, commit, stamp, page.read if first else 0)
            first = False
            if found.torn:
                self.problems.append(
                    f"CPU {self.cpu}: page {page.address:#x} is torn: {found.torn}"
                )
            if found.events:
                yield data, found.events

    def _last_pages(self, count: int) -> Iterator[Page]:
        """The last pages of the ring, oldest first."""
        reader = int(self._obj.reader_page.value_())
        at = int(self._obj.commit_page.value_())
        found: list[Page] = []
        if at and at != reader:
            head = self._head()
            for _ in range(count):
                found.append(self._page(at))
                if at == head:
                    break
                at = self._before(at)
        if reader and len(found) < count:
            found.append(self._page(reader))
        yield from reversed(found)

    def _before(self, address: int) -> int:
        at = self._prog.read_u64(address + self._owner.page_list + 8)
        return int(at & ~_LIST_FLAGS) - self._owner.page_list

    def raw_pages(self) -> Iterator[tuple[Page, bytes]]:
        """Whole sub-buffers as they lie in memory, header included."""
        for page in self.pages():
            try:
                yield page, self._prog.read(page.address, page.bytes)
            except damage() as exc:
                self.problems.append(f"CPU {self.cpu}: a page can't be read: {exc}")

    def _read(self, page: Page) -> tuple[bytes, int, int]:
        start = self._owner.data_offset
        raw = self._prog.read(page.address, page.bytes)
        stamp, commit = struct.unpack_from("<QQ", raw)
        return raw[start:], commit & COMMIT_MASK, stamp

    def lost_events(self) -> tuple[int, int]:
        """What a reader that takes events out would be told it has lost, and before which event.

        The kernel tells when it puts the reader's page into the ring: ``rb_get_reader_page()``.
        """
        reader = int(self._obj.reader_page.value_())
        lost = _local(self._obj.overrun) - integer(self._obj.last_overrun)
        if reader == self._obj.commit_page.value_():
            return 0, 0
        page = self._page(reader)
        data, commit, stamp = self._read(page)
        return lost, len(decode(data, commit, stamp, page.read).events)

    def uncommitted_bytes(self) -> int:
        """What was reserved on the last page and not yet valid when the machine died."""
        page = self._page(int(self._obj.commit_page.value_()))
        _, commit, _ = self._read(page)
        return max(0, page.write - commit)


@dataclass(frozen=True)
class Buffer:
    """All CPUs' buffers of an instance: what it records to, or its snapshot.
    ``struct array_buffer`` and ``struct trace_buffer``"""

    obj: drgn.Object
    """``struct array_buffer``"""

    @cached_property
    def _buffer(self) -> drgn.Object:
        return self.obj.buffer.read_()

    @cached_property
    def cpus(self) -> tuple[CpuBuffer, ...]:
        """Those that exist, in the order of their numbers."""
        if not self._buffer:
            return ()
        mask = drgn_cpus(self.obj.prog_)
        found = []
        for cpu in mask[:_MAX_CPUS]:
            own = readable(lambda cpu=cpu: self._buffer.buffers[cpu].read_())  # type: ignore[misc]
            if own:
                found.append(CpuBuffer(self, own, cpu))
        return tuple(found)

    @property
    def time_start(self) -> int:
        return int(self.obj.time_start)

    @cached_property
    def page_layout(self) -> Layout:
        kind = self.obj.prog_.type("struct buffer_page")
        members = ["read", "order", "page"]
        return Layout(
            kind, {**{m: m for m in members}, "write": "write.a.counter|write.a.a.counter"}
        )

    @cached_property
    def page_list(self) -> int:
        """Where the ``struct list_head`` is in a ``struct buffer_page``."""
        return int(drgn.offsetof(self.obj.prog_.type("struct buffer_page"), "list"))

    @cached_property
    def data_offset(self) -> int:
        """Where the events begin on a page."""
        return int(drgn.offsetof(self.obj.prog_.type("struct buffer_data_page"), "data"))

    @cached_property
    def subbuffer_bytes(self) -> int:
        """Bytes of a page of this buffer, header included; since v6.8 (139f84002145)."""
        order = readable(lambda: integer(self._buffer.subbuf_order)) or 0
        return _PAGE << min(order, _MAX_ORDER)

    @property
    def cpu(self) -> int:
        """Whose latency a latency tracer keeps."""
        return int(self.obj.cpu)

    def data(self, cpu: int) -> drgn.Object:
        """``struct trace_array_cpu``"""
        return per_cpu_ptr(self.obj.data, cpu)


@dataclass(frozen=True)
class TraceArray:
    """One instance of ftrace. ``struct trace_array``"""

    obj: drgn.Object
    name: str
    """Of the instance, empty for the main one."""

    @cached_property
    def main(self) -> Buffer:
        # struct trace_buffer was renamed in v5.6 (1c5eb4481e01).
        return Buffer(member(self.obj, "array_buffer", "trace_buffer"))

    @cached_property
    def snapshot(self) -> Buffer | None:
        """The buffer that ``snapshot`` shows and latency tracers keep their worst case in."""
        # Renamed after v6.18; there with CONFIG_TRACER_MAX_TRACE only.
        found = readable(lambda: member(self.obj, "snapshot_buffer", "max_buffer"))
        return Buffer(found) if found is not None and found.buffer else None

    @cached_property
    def shown(self) -> Buffer:
        """The buffer that ``trace`` shows: of a latency tracer the worst case that it kept."""
        worst = readable(lambda: bool(self.obj.current_trace.print_max))
        return (self.snapshot or self.main) if worst else self.main

    @property
    def tracer(self) -> str:
        """Name of the current tracer, ``nop`` if there is none."""
        found = readable(lambda: self.obj.current_trace.name.string_())
        return found.decode("utf-8", "replace") if found else "nop"

    @cached_property
    def _flags(self) -> int:
        return int(self.obj.trace_flags)

    def option(self, name: str) -> bool:
        """Whether an option is on: ``record-tgid``, as ``trace_options`` spells it."""
        known = name.upper().replace("-", "_")
        bit = readable(lambda: int(self.obj.prog_.constant(f"TRACE_ITER_{known}_BIT")))
        return bit is not None and bool(self._flags >> bit & 1)

    @cached_property
    def clock(self) -> str:
        """Which clock the time stamps are of."""
        found = readable(
            lambda: self.obj.prog_["trace_clocks"][integer(self.obj.clock_id)].name.string_()
        )
        return found.decode("utf-8", "replace") if found else "local"

    @property
    def in_ns(self) -> bool:
        """Whether the clock counts nanoseconds."""
        return self.clock not in _CLOCKS_NOT_IN_NS

    @property
    def recording(self) -> bool:
        """Whether it recorded when the machine died: ``tracing_on``."""
        found = readable(lambda: integer(self.main.obj.buffer.record_disabled))
        return found == 0

    def taken(self) -> int:
        """How many entries somebody has read and so taken out of the buffer."""
        return sum(
            stats.read
            for cpu in self.main.cpus
            if (stats := readable(lambda cpu=cpu: cpu.stats)) is not None  # type: ignore[misc]
        )

    def entries(self) -> int:
        """How many entries all CPUs hold; 0 if that can't be read."""
        return sum(
            stats.entries
            for cpu in self.main.cpus
            if (stats := readable(lambda cpu=cpu: cpu.stats)) is not None  # type: ignore[misc]
        )


@fact
def trace_arrays(prog: drgn.Program) -> tuple[TraceArray, ...]:
    """All instances, the main one first. ``ftrace_trace_arrays``

    :raises LookupError: this kernel has no ftrace.
    """
    main = prog["global_trace"].address_of_()
    found = [TraceArray(main, "")]
    walk = list_for_each_entry(
        "struct trace_array", prog["ftrace_trace_arrays"].address_of_(), "list"
    )
    others = []
    try:
        for count, array in enumerate(walk):
            if count >= _MAX_ARRAYS:
                break
            if array.value_() != main.value_():
                name = readable(lambda array=array: array.name.string_())  # type: ignore[misc]
                others.append(TraceArray(array, (name or b"?").decode("utf-8", "replace")))
    except damage():
        pass
    return (*found, *sorted(others, key=lambda one: one.name))


@fact
def drgn_cpus(prog: drgn.Program) -> tuple[int, ...]:
    """Numbers of the possible CPUs."""
    return tuple(for_each_possible_cpu(prog))


def _local(counter: drgn.Object) -> int:
    """``local_t``"""
    return integer(counter.a)


def _time(stamp: drgn.Object) -> int:
    """``rb_time_t``: a ``local64_t``; three words of 32 bits before v6.7."""
    return integer(stamp.time.a) if stamp.type_.has_member("time") else 0
