"""Calls that a tracer follows until they return, and where these will really return to.

The function graph tracer, kretprobes and fprobes put the address of a trampoline
(``return_to_handler``, ``arch_rethook_trampoline``) in place of a return address, and keep the
true one in a list of the task. Whoever unwinds such a stack ends at the trampoline. So the words
that were replaced are read as what they were: :func:`restore_returns` lays them over the
program's memory, and all that reads a stack sees the true callers, as ``ftrace_graph_ret_addr()``
and ``unwind_recover_rethook()`` let the kernel's own unwinder.

Source: kernel/trace/fgraph.c, kernel/trace/rethook.c, kernel/kprobes.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.layout import Layout
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.tasks import all_tasks

_MAX_CALLS = 4096
_MAX_WORDS = 1 << 16
_MAX_IDLE = 8192
_OFFSET = 0x3FF
"""``FGRAPH_FRAME_OFFSET_MASK``: words back to the frame of the call."""
_TYPE_SHIFT, _TYPE_MASK, _DATA = 10, 3, 2
_DATA_SHIFT, _DATA_MASK, _INDEX_SHIFT, _INDEX_MASK = 12, 0x1F, 17, 0xF
_GRAPH = ("return_to_handler",)
_RETHOOK = ("arch_rethook_trampoline", "__kretprobe_trampoline", "kretprobe_trampoline")
_BUCKETS = 64
"""``KPROBE_TABLE_SIZE``: of the table of kprobes, and of kretprobes' instances before v5.11."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call in progress that is traced."""

    function: int
    """Its address, 0 if that is not kept: only the function graph tracer does."""
    returns_to: int
    slot: int
    """Where on the stack its return address was replaced."""
    began: int = 0
    """``trace_clock_local()`` in nanoseconds, 0 if that is not kept."""
    trampoline: int = 0
    """What stands on the stack instead."""


@dataclass
class Hooked:
    """All calls in progress of all tasks, outermost first."""

    by_task: dict[int, list[Call]] = field(default_factory=dict)
    """By address of ``struct task_struct``."""
    slots: dict[int, Call] = field(default_factory=dict)
    """By the place on the stack; only where the trampoline's address still stands there."""
    graph: frozenset[int] = frozenset()
    """Trampolines of the function graph tracer."""


@fact
def restore_returns(prog: drgn.Program) -> Hooked:
    """Let replaced return addresses be read as they were, for all who read this program.

    :raises LookupError: the types are missing.
    """
    found = hooked_calls(prog)
    for slot, call in found.slots.items():
        word = struct.pack("<Q", call.returns_to)
        prog.add_memory_segment(
            slot, 8, lambda _at, count, offset, _physical, word=word: word[offset : offset + count]
        )
    return found


def hooked_calls(prog: drgn.Program) -> Hooked:
    """Find the calls in progress, if any tracer that follows returns was ever on."""
    reader = _Reader(prog)
    if not reader.any_used():
        return Hooked()
    reader.prepare()
    found = Hooked(graph=_trampolines(prog, _GRAPH))
    others = _trampolines(prog, _RETHOOK)
    for address in _task_addresses(prog):
        calls = []
        for read, trampolines in ((reader.graph, found.graph), (reader.hooks, others)):
            try:
                for call in read(address):
                    place = _restored(prog, call, trampolines)
                    if place is not None:
                        calls.append(place)
            except damage():
                continue
        if calls:
            calls.sort(key=lambda call: -call.slot)
            found.by_task[address] = calls
    for calls in found.by_task.values():
        for call in calls:
            # A call that ends with a jump hands its own slot on: only the last one knows.
            if call.returns_to not in (found.graph | others):
                found.slots.setdefault(call.slot, call)
    return found


def _trampolines(prog: drgn.Program, names: tuple[str, ...]) -> frozenset[int]:
    found = (readable(lambda name=name: prog.symbol(name).address) for name in names)  # type: ignore[misc]
    return frozenset(address for address in found if address)


def _restored(prog: drgn.Program, call: Call, trampolines: frozenset[int]) -> Call | None:
    """The call, if its place on the stack still holds a trampoline: lists outlive calls."""
    if call.slot & 7 or not call.returns_to:
        return None
    word = readable(lambda: int(prog.read_u64(call.slot)))
    if word is None or word not in trampolines:
        return None
    return Call(call.function, call.returns_to, call.slot, call.began, word)


def _task_addresses(prog: drgn.Program) -> Iterator[int]:
    from postmortem.kernel.system import present_cpus

    for task in all_tasks(prog).tasks:
        yield task.address
    for cpu in list(present_cpus(prog))[:_MAX_IDLE]:
        idle = readable(lambda cpu=cpu: variable(prog, "runqueues", cpu, "struct rq").idle.value_())  # type: ignore[misc]
        if idle:
            yield int(idle)


class _Reader:
    """Reads what a task keeps about its calls, whichever way this kernel keeps it."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        task = prog.type("struct task_struct")
        self._members = readable(
            lambda: Layout(
                task,
                {
                    "stack": "ret_stack",
                    "at": "curr_ret_stack",
                    "hooks": "rethooks.first",
                    "probes": "kretprobe_instances.first",
                },
            )
        )
        of_tasks = self._members is not None and any(map(self._members.has, ("hooks", "probes")))
        self._old = {} if of_tasks else _old_instances(prog)

    def prepare(self) -> None:
        """Find out how calls are kept; of no use where there are none."""
        prog = self._prog
        task = prog.type("struct task_struct")
        self._frame = readable(
            lambda: Layout(
                prog.type("struct ftrace_ret_stack"),
                {"ret": "ret", "func": "func", "calltime": "calltime", "retp": "retp"},
            )
        )
        self._bytes = readable(lambda: int(drgn.sizeof(prog.type("struct ftrace_ret_stack")))) or 0
        # Since v6.12 a stack of words with frames in it (42675b723b48); an array before.
        self._words = readable(lambda: _points_to_words(task)) or False
        self._timed = _TimedTracers(prog)

    def any_used(self) -> bool:
        """Whether some task may have such a call; cheap, so that all others lose no time."""
        if self._members is None:
            return False
        return bool(self._old) or self._graph_used() or self._hooks_used()

    def _graph_used(self) -> bool:
        """Idle tasks get their stack when the tracer is first started, and keep it."""
        from postmortem.kernel.system import present_cpus

        try:
            return any(
                variable(self._prog, "idle_ret_stack", cpu, "unsigned long").value_()
                for cpu in list(present_cpus(self._prog))[:_MAX_IDLE]
            )
        except damage():
            return True

    def _hooks_used(self) -> bool:
        """Whether there are kprobes, or anybody whom functions call: fprobes."""
        try:
            table = self._prog.symbol("kprobe_table").address
            if any(self._prog.read(table, _BUCKETS * 8)):
                return True
            ops = self._prog.read_u64(self._prog.symbol("ftrace_ops_list").address)
            return bool(ops != self._prog.symbol("ftrace_list_end").address)
        except damage():
            return True

    def graph(self, task: int) -> Iterator[Call]:
        """What ``task->ret_stack`` holds."""
        if self._members is None or self._frame is None or not self._members.has("stack"):
            return
        found = self._members.read(self._prog, task)
        stack, at = found["stack"], found["at"]
        if not stack:
            return
        if self._words:
            yield from self._shadow_stack(stack, at)
            return
        # Functions that are not to be traced once took FTRACE_NOTRACE_DEPTH off.
        if at < -1:
            at += 65536
        for index in range(min(at + 1, _MAX_CALLS)):
            yield self._call(stack + index * self._bytes)

    def _call(self, address: int, began: int = 0) -> Call:
        assert self._frame is not None
        found = self._frame.read(self._prog, address)
        return Call(found["func"], found["ret"], found.get("retp", 0), found.get("calltime", began))

    def _shadow_stack(self, stack: int, at: int) -> list[Call]:
        """``get_ret_stack()``: from the top down, each word says how far below its frame lies."""
        found: list[Call] = []
        if not 0 < at <= _MAX_WORDS:
            return found
        words = memoryview(self._prog.read(stack, at * 8)).cast("Q")
        while at > 0:
            top = at - 1
            back = words[top] & _OFFSET
            if not 0 < back <= top:
                break
            at = top - back
            found.append(self._call(stack + at * 8, self._began(words, at, top)))
        return found[::-1]

    def _began(self, words: memoryview, frame: int, top: int) -> int:
        """When the call began, of the words that tracers store above its frame."""
        at = top
        while at > frame + self._bytes // 8:
            word = words[at]
            if word >> _TYPE_SHIFT & _TYPE_MASK != _DATA:
                return 0
            at -= (word >> _DATA_SHIFT & _DATA_MASK) + 1
            if at > frame and self._timed.keeps_time(word >> _INDEX_SHIFT & _INDEX_MASK):
                return int(words[at])
            at -= 1
        return 0

    def hooks(self, task: int) -> Iterator[Call]:
        """What hangs on ``task->rethooks`` or ``task->kretprobe_instances``."""
        yield from self._old.get(task, ())
        if self._members is None:
            return
        found = self._members.read(self._prog, task)
        for name, kind, link in (
            ("hooks", "struct rethook_node", "llist"),
            ("probes", "struct kretprobe_instance", "llist"),
        ):
            node = found.get(name, 0)
            if not node:
                continue
            offset = int(drgn.offsetof(self._prog.type(kind), link))
            layout = Layout(self._prog.type(kind), {"ret": "ret_addr", "frame": "frame|fp"})
            for _ in range(_MAX_CALLS):
                if not node:
                    break
                one = layout.read(self._prog, node - offset)
                yield Call(0, one["ret"], one["frame"])
                node = self._prog.read_u64(node)


def _points_to_words(task: drgn.Type) -> bool:
    kind = task.member("ret_stack").type
    while kind.kind in (drgn.TypeKind.TYPEDEF, drgn.TypeKind.POINTER):
        kind = kind.type
    return bool(kind.kind == drgn.TypeKind.INT)


class _TimedTracers:
    """Which users of the shadow stack begin their data with the time of the call.

    Since v6.13 (f1f36e22bee9) that is not kept with the call itself.
    """

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._known: dict[int, bool] = {}

    def keeps_time(self, index: int) -> bool:
        found = self._known.get(index)
        if found is None:
            name = readable(lambda: self._entry(index)) or ""
            found = self._known[index] = name.startswith(("trace_graph_", "profile_graph_"))
        return found

    def _entry(self, index: int) -> str:
        ops = self._prog.read_u64(self._prog.symbol("fgraph_array").address + index * 8)
        kind = self._prog.type("struct fgraph_ops")
        entry = self._prog.read_u64(ops + int(drgn.offsetof(kind, "entryfunc")))
        return str(self._prog.symbol(entry).name)


def _old_instances(prog: drgn.Program) -> dict[int, list[Call]]:
    """Instances of kretprobes in a table of all tasks, before v5.11 (d741bf41d7c7)."""
    try:
        kind = prog.type("struct kretprobe_instance")
        table = prog.symbol("kretprobe_inst_table").address
        layout = Layout(kind, {"task": "task", "ret": "ret_addr", "frame": "fp"})
        offset = int(drgn.offsetof(kind, "hlist"))
        words = memoryview(prog.read(table, _BUCKETS * 8)).cast("Q")
    except damage():
        return {}
    found: dict[int, list[Call]] = {}
    count = 0
    for node in words:
        while node and count < _MAX_CALLS:
            count += 1
            try:
                one = layout.read(prog, node - offset)
                found.setdefault(one["task"], []).append(Call(0, one["ret"], one["frame"]))
                node = prog.read_u64(node)
            except damage():
                break
    return found
