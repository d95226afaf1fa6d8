"""perf's events: who counts what, what was counted, and the buffers of samples.

Sources: include/linux/perf_event.h, kernel/events/core.c, kernel/events/internal.h,
include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.cpu.clock import machine_time
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.system import present_cpus
from postmortem.kernel.tasks.tasks import Task, all_tasks
from postmortem.model.findings import Problem, TaskRef

_MAX_EVENTS = 1 << 16
_MAX_PMUS = 4096
_MAX_PAGES = 1 << 16
"""Of one buffer: 256 MiB."""
_MAX_ATTR = 4096
_U64 = (1 << 64) - 1
_EVENT_TIME = 4
"""``ctx->is_active``: its time runs. Source: kernel/events/core.c."""
_STATES = {-4: "dead", -3: "exit", -2: "error", -1: "off", 0: "inactive", 1: "active"}
_TRACEPOINT = 2
_HARDWARE = (
    "cpu-cycles", "instructions", "cache-references", "cache-misses", "branch-instructions",
    "branch-misses", "bus-cycles", "stalled-cycles-frontend", "stalled-cycles-backend",
    "ref-cycles",
)  # fmt: skip
_SOFTWARE = (
    "cpu-clock", "task-clock", "page-faults", "context-switches", "cpu-migrations",
    "minor-faults", "major-faults", "alignment-faults", "emulation-faults", "dummy",
    "bpf-output", "cgroup-switches",
)  # fmt: skip
_CACHES = ("L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node")
_OPERATIONS = ("load", "store", "prefetch")


@dataclass(frozen=True)
class Attr:
    """``struct perf_event_attr``: what was asked for."""

    type: int
    config: int
    period: int
    """Events, or samples in a second: see :attr:`by_frequency`; 0: it only counts."""
    by_frequency: bool
    sample_type: int
    sample_id_all: bool
    write_backward: bool
    raw: bytes = field(repr=False)
    """As the program gave it to the kernel, ``size`` bytes."""


@dataclass(frozen=True)
class PerfBuffer:
    """``struct perf_buffer``: what a program maps to read samples."""

    address: int
    pages: tuple[int, ...] = field(repr=False)
    page_bytes: int
    overwrite: bool
    """Nobody has to read it: new records replace the oldest."""
    head: int
    """Where the next record would go, counted in bytes since the beginning."""
    tail: int
    """Up to where the program has read."""
    lost: int

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.pages) * self.page_bytes

    @property
    def written(self) -> int:
        """Bytes since the beginning; what is written backwards counts down from 0."""
        return -self.head & _U64 if self.head >> 63 else self.head


@dataclass(frozen=True)
class PerfEvent:
    """``struct perf_event``"""

    address: int
    id: int
    name: str
    """As perf calls it: cpu-clock, sched:sched_switch."""
    pmu: str | None
    state: str
    attr: Attr
    cpu: int
    """-1: on every CPU."""
    on_cpu: int
    """On which it counted when the machine died; -1: on none."""
    task: TaskRef | None
    """Whose events are counted; ``None``: those of whoever ran on the CPU."""
    owner: TaskRef | None
    """Who opened it; ``None``: the kernel itself, or it is gone."""
    count: int
    """With its children's (tasks that inherited it); of a hardware counter as it was last read."""
    enabled_ns: int
    running_ns: int
    parent: int
    """``struct perf_event *`` that it is a child's copy of; 0: none."""
    buffer: int
    """``struct perf_buffer *``; 0: none."""
    handler: str | None
    """Who is called for each sample, if not perf itself: the watchdog, a BPF program."""
    programs: tuple[str, ...]
    """Names of BPF programs attached to it."""

    @property
    def is_tracepoint(self) -> bool:
        return self.attr.type == _TRACEPOINT


@dataclass
class PerfEvents:
    """All that were found."""

    events: list[PerfEvent] = field(default_factory=list)
    buffers: dict[int, PerfBuffer] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def perf_events(prog: drgn.Program) -> PerfEvents:
    """Those of each CPU, of each task, and those that each task has opened.

    :raises LookupError: this kernel has no perf (CONFIG_PERF_EVENTS).
    """
    reader = _Reader(prog)
    found = PerfEvents()
    seen: set[int] = set()
    for what, addresses in (
        ("events of CPUs", reader.of_cpus()),
        ("events of tasks", reader.of_tasks()),
        ("events that tasks own", reader.owned()),
    ):
        try:
            for address in addresses:
                if address in seen:
                    continue
                if len(seen) >= _MAX_EVENTS:
                    raise LookupError("more events than there can be")
                seen.add(address)
                _take(reader, found, address)
        except damage() as exc:
            found.problems.append(Problem(what, str(exc)))
    found.events = _with_children(found.events)
    return found


def _with_children(events: list[PerfEvent]) -> list[PerfEvent]:
    """``__perf_event_read_value()``: an event counts what its living children counted too.

    Contexts of a task and its child are exchanged between them: the event of one that has ended
    lives on in its child.
    """
    children: dict[int, list[PerfEvent]] = {}
    for one in events:
        if one.parent:
            children.setdefault(one.parent, []).append(one)
    return [_with(one, children.get(one.address, [])) for one in events]


def _with(event: PerfEvent, children: list[PerfEvent]) -> PerfEvent:
    if not children:
        return event
    heir = children[0] if event.state in ("exit", "dead") else event
    return replace(
        event,
        count=event.count + sum(one.count for one in children),
        enabled_ns=event.enabled_ns + sum(one.enabled_ns for one in children),
        running_ns=event.running_ns + sum(one.running_ns for one in children),
        state=heir.state,
        task=heir.task,
        on_cpu=heir.on_cpu,
    )


def _take(reader: _Reader, found: PerfEvents, address: int) -> None:
    try:
        event = reader.event(address)
    except damage() as exc:
        found.problems.append(Problem("perf event", f"{address:#x} can't be read: {exc}"))
        return
    found.events.append(event)
    if event.buffer and event.buffer not in found.buffers:
        try:
            found.buffers[event.buffer] = reader.buffer(event.buffer)
        except damage() as exc:
            found.problems.append(Problem("perf buffer", f"{event.buffer:#x}: {exc}"))


class _Reader:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._event = prog.type("struct perf_event")
        self._context = prog.type("struct perf_event_context")
        self._tasks = all_tasks(prog)
        self._cpus = present_cpus(prog)
        self._now = machine_time(prog, self._cpus).now_ns

    # --- where they are

    def of_cpus(self) -> Iterator[int]:
        """Since v6.2 a CPU has one context (bd2756811766); before, one for each kind of PMU."""
        contexts: dict[int, None] = {}
        for cpu in self._cpus:
            own = readable(
                lambda cpu=cpu: variable(  # type: ignore[misc]
                    self._prog, "perf_cpu_context", cpu, "struct perf_cpu_context"
                )
            )
            if own is not None:
                contexts[int(own.ctx.address_of_().value_())] = None
        if not contexts:
            contexts = dict.fromkeys(self._contexts_of_pmus())
        for context in contexts:
            yield from self._of_context(context)

    def _contexts_of_pmus(self) -> Iterator[int]:
        from drgn.helpers.linux.percpu import per_cpu_ptr

        head = self._prog["pmus"].address_of_().value_()
        for node in self._list(head, _MAX_PMUS):
            pmu = drgn.Object(
                self._prog, "struct pmu",
                address=node - int(drgn.offsetof(self._prog.type("struct pmu"), "entry")),
            )  # fmt: skip
            for cpu in self._cpus:
                own = readable(
                    lambda pmu=pmu, cpu=cpu: per_cpu_ptr(pmu.pmu_cpu_context, cpu)  # type: ignore[misc]
                )
                if own:
                    yield int(own.ctx.address_of_().value_())

    def of_tasks(self) -> Iterator[int]:
        """``task->perf_event_ctxp``: one context, or one for hardware and one for software."""
        for task in self._tasks.tasks:
            pointers = readable(lambda task=task: self._pointers(task))  # type: ignore[misc]
            for pointer in pointers or ():
                if pointer:
                    yield from self._of_context(pointer)

    def _pointers(self, task: Task) -> list[int]:
        value = self._task(task).perf_event_ctxp.value_()
        return [int(one) for one in value] if isinstance(value, list) else [int(value)]

    def owned(self) -> Iterator[int]:
        """``task->perf_event_list``: also events that no context has."""
        at = int(drgn.offsetof(self._event, "owner_entry"))
        for task in self._tasks.tasks:
            head = readable(
                lambda task=task: int(  # type: ignore[misc]
                    self._task(task).perf_event_list.address_of_().value_()
                )
            )
            if head is not None:
                for node in self._list(head, _MAX_EVENTS):
                    yield node - at

    def _task(self, task: Task) -> drgn.Object:
        return drgn.Object(self._prog, "struct task_struct", address=task.address)

    def _of_context(self, context: int) -> Iterator[int]:
        at = int(drgn.offsetof(self._event, "event_entry"))
        head = context + int(drgn.offsetof(self._context, "event_list"))
        for node in self._list(head, _MAX_EVENTS):
            yield node - at

    def _list(self, head: int, most: int) -> Iterator[int]:
        """The nodes of a list; a loop, or a page that is missing, ends it."""
        seen: set[int] = set()
        node = readable(lambda: self._prog.read_u64(head)) or 0
        while node and node != head and node not in seen and len(seen) < most:
            seen.add(node)
            yield node
            node = readable(lambda node=node: self._prog.read_u64(node)) or 0  # type: ignore[misc]

    # --- what they are

    def event(self, address: int) -> PerfEvent:
        """``struct perf_event *``"""
        event = drgn.Object(self._prog, self._event, address=address)
        state = int(event.state.value_())
        enabled, running = self._times(event, state)
        attr = self._attr(event)
        pmu = readable(lambda: _string(event.pmu.name))
        return PerfEvent(
            address=address,
            id=int(event.id.value_()),
            name=self._name(event, attr, pmu),
            pmu=pmu,
            state=_STATES.get(state, str(state)),
            attr=attr,
            cpu=int(event.cpu.value_()),
            on_cpu=int(event.oncpu.value_()),
            task=self._ref(lambda: event.ctx.task.value_()),
            owner=self._ref(lambda: event.owner.value_()),
            count=_counted(event.count) + _counted(event.child_count),
            enabled_ns=enabled + _counted(event.child_total_time_enabled),
            running_ns=running + _counted(event.child_total_time_running),
            parent=int(event.parent.value_()),
            buffer=readable(lambda: int(event.rb.value_())) or 0,
            handler=self._handler(event),
            programs=tuple(self._programs(event)),
        )

    def _times(self, event: drgn.Object, state: int) -> tuple[int, int]:
        """``__perf_update_times()`` with the time of death."""
        enabled = int(event.total_time_enabled.value_())
        running = int(event.total_time_running.value_())
        since = self._context_time(event) - int(event.tstamp.value_())
        if since > 0:
            enabled += since if state >= 0 else 0
            running += since if state >= 1 else 0
        return enabled, running

    def _context_time(self, event: drgn.Object) -> int:
        """``perf_event_time_now()``: the context's clock stands still while it is not active."""
        context = readable(lambda: event.ctx[0])
        if context is None:
            return 0
        time = context.time
        # A struct of its own since v7.0; before, ``timestamp`` beside it.
        if time.type_.unaliased().kind == drgn.TypeKind.STRUCT:
            value, stamp = int(time.time.value_()), int(time.stamp.value_())
        else:
            value, stamp = int(time.value_()), int(context.timestamp.value_())
        if not int(context.is_active.value_()) & _EVENT_TIME:
            return value
        return value + max(0, self._now - stamp)

    def _attr(self, event: drgn.Object) -> Attr:
        attr = event.attr
        size = min(int(attr.size.value_()) or _MAX_ATTR, drgn.sizeof(attr.type_), _MAX_ATTR)
        raw = self._prog.read(attr.address_of_().value_(), size)
        # The clocks' events are given to PMUs of their own (0d6d062ca27e); what was asked for
        # is kept beside it.
        original = readable(lambda: int(event.orig_type.value_()))
        kind = int(attr.type.value_()) if original is None else original
        return Attr(
            kind,
            int(attr.config.value_()),
            int(attr.sample_period.value_()),
            bool(attr.freq.value_()),
            int(attr.sample_type.value_()),
            bool(attr.sample_id_all.value_()),
            bool(readable(lambda: int(attr.write_backward.value_()))),
            kind.to_bytes(4, "little") + raw[4:],
        )

    def _name(self, event: drgn.Object, attr: Attr, pmu: str | None) -> str:
        call = readable(lambda: int(event.tp_event.value_()))
        if call:
            named = readable(lambda: self._traced(call))
            if named:
                return named
        return event_name(attr.type, attr.config, pmu)

    def _traced(self, call: int) -> str | None:
        from postmortem.trace.formats import event_formats

        kind = drgn.Object(self._prog, "struct trace_event_call *", call)
        number = int(kind.event.type.value_())
        format = event_formats(self._prog).get(number)
        return f"{format.system}:{format.name}" if format is not None else None

    def _ref(self, pointer: Callable[[], int]) -> TaskRef | None:
        address = readable(pointer)
        task = self._tasks.by_address.get(address) if address else None
        return task.ref if task is not None else None

    def _handler(self, event: drgn.Object) -> str | None:
        address = readable(lambda: int(event.overflow_handler.value_()))
        if not address:
            return None
        name = readable(lambda: str(self._prog.symbol(address).name))
        own = ("perf_event_output_forward", "perf_event_output_backward", "perf_event_output")
        return None if name in own else name or f"{address:#x}"

    def _programs(self, event: drgn.Object) -> Iterator[str]:
        program = readable(lambda: event.prog.read_())
        if program is not None and program:
            yield _program(program)
        array = readable(lambda: event.tp_event.prog_array.read_())
        if array is None or not array:
            return
        for number in range(64):
            program = readable(lambda n=number: array.items[n].prog.read_())  # type: ignore[misc]
            if program is None or not program:
                return
            yield _program(program)

    def buffer(self, address: int) -> PerfBuffer:
        """``struct perf_buffer *``"""
        # struct ring_buffer until v5.8 (56de4e8f9146).
        names = ("struct perf_buffer", "struct ring_buffer")
        kind = next(k for k in (readable(lambda n=n: self._prog.type(n)) for n in names) if k)  # type: ignore[misc]
        rb = drgn.Object(self._prog, kind, address=address)
        page = drgn.Object(
            self._prog, "struct perf_event_mmap_page", address=int(rb.user_page.value_())
        )
        count = int(rb.nr_pages.value_())
        if not 0 < count <= _MAX_PAGES:
            raise LookupError(f"it would have {count} pages")
        size = self._page_size() << (readable(lambda: int(rb.page_order.value_())) or 0)
        at = address + int(drgn.offsetof(kind, "data_pages"))
        raw = self._prog.read(at, count * 8)
        pages = tuple(int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8))
        return PerfBuffer(
            address,
            pages,
            size,
            bool(rb.overwrite.value_()),
            int(page.data_head.value_()),
            int(page.data_tail.value_()),
            _counted(rb.lost),
        )

    def _page_size(self) -> int:
        return int(readable(lambda: self._prog["PAGE_SIZE"].value_()) or 4096)


def event_name(kind: int, config: int, pmu: str | None) -> str:
    """What perf calls an event of this type and config."""
    if kind == 0 and config < len(_HARDWARE):
        return _HARDWARE[config]
    if kind == 1 and config < len(_SOFTWARE):
        return _SOFTWARE[config]
    if kind == _TRACEPOINT:
        return f"tracepoint {config}"
    if kind == 3:
        cache, operation, result = config & 0xFF, config >> 8 & 0xFF, config >> 16 & 0xFF
        if cache < len(_CACHES) and operation < len(_OPERATIONS):
            return f"{_CACHES[cache]}-{_OPERATIONS[operation]}{'-misses' if result else 's'}"
    if kind == 4:
        return f"r{config:x}"
    if kind == 5:
        return "breakpoint"
    return f"{pmu or f'type {kind}'}/config={config:#x}/"


def _counted(value: drgn.Object) -> int:
    """``local64_t``, ``atomic64_t``, ``local_t``: atomics in each other."""
    for _ in range(4):
        if value.type_.unaliased().kind != drgn.TypeKind.STRUCT:
            break
        value = value.member_(next(m.name for m in value.type_.unaliased().members if m.name))
    return integer(value)


def _string(pointer: drgn.Object) -> str:
    return str(pointer.string_().decode("utf-8", "replace"))


def _program(program: drgn.Object) -> str:
    name = readable(lambda: str(program.aux.name.string_().decode("utf-8", "replace")))
    number = readable(lambda: int(program.aux.id.value_()))
    return f"{name or 'bpf'}#{number}" if number is not None else name or "bpf"


def contents(prog: drgn.Program, buffer: PerfBuffer) -> tuple[bytes, int]:
    """The ring's bytes as they lie in memory; pages that are missing as zeroes, and how many."""
    parts, missing = [], 0
    for page in buffer.pages:
        data = readable(lambda page=page: prog.read(page, buffer.page_bytes))  # type: ignore[misc]
        missing += data is None
        parts.append(data or bytes(buffer.page_bytes))
    return b"".join(parts), missing


@dataclass(frozen=True)
class Records:
    """The records of a buffer, whole, the oldest first."""

    records: tuple[bytes, ...]
    torn: str | None = None
    """Why it ended before its end."""


def records(prog: drgn.Program, buffer: PerfBuffer, backward: bool) -> Records:
    """What nobody has read yet.

    :param backward: ``attr.write_backward``: the newest record lies at the head, and what lies
        behind it is older.
    """
    data, missing = contents(prog, buffer)
    lost = f"{missing} of its pages are not in the dump" if missing else None
    if backward:
        found, torn = _split(data, buffer.head, len(data), ended=True)
        return Records(tuple(reversed(found)), torn or lost)
    unread = (buffer.head - buffer.tail) & _U64
    if buffer.overwrite and buffer.head <= len(data):
        unread = buffer.head  # never wrapped: all of it is there
    elif unread > len(data):
        what = (
            "it was overwritten from its start" if buffer.overwrite else "its tail makes no sense"
        )
        return Records((), f"{what}: where its oldest record begins can't be known")
    found, torn = _split(data, buffer.head - unread, unread, ended=False)
    return Records(tuple(found), torn or lost)


def _split(data: bytes, start: int, length: int, *, ended: bool) -> tuple[list[bytes], str | None]:
    """Records of ``struct perf_event_header``: u32 type, u16 misc, u16 size.

    :param ended: The end is where no record is any more, and may be amid an old one.
    """
    at, size = start % len(data), len(data)
    doubled = (data + data)[at : at + length]
    found: list[bytes] = []
    position = 0
    while position + 8 <= len(doubled):
        length_here = int.from_bytes(doubled[position + 6 : position + 8], "little")
        kind = int.from_bytes(doubled[position : position + 4], "little")
        if ended and (length_here == 0 or position + length_here > size):
            return found, None
        if length_here < 8 or length_here & 7 or not 0 < kind < 64:
            return found, f"{len(doubled) - position} bytes at its end are no record"
        if position + length_here > len(doubled):
            return found, "its last record is not whole"
        found.append(doubled[position : position + length_here])
        position += length_here
    return found, None
