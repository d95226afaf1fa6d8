"""Spinlocks: which one a CPU spins on, who queues behind it, and who is likely to hold it.

A spinlock does not record its owner. The holder is told by evidence: a function
on some stack that acquired this very lock and had not released it where the
stack goes on; or, for a lock in an object, one that took some lock and keeps a
pointer to the object.

Source: kernel/locking/qspinlock.c, include/asm-generic/qspinlock_types.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage, tolerated
from postmortem.kernel.code.calls import Calls, argument_at, code_before
from postmortem.kernel.code.disassembly import function_code
from postmortem.kernel.code.typed_registers import typed_registers
from postmortem.kernel.cpu.lockups import CpuState
from postmortem.kernel.cpu.percpu import variable
from postmortem.kernel.identify import SlabObject, slab_object
from postmortem.kernel.locking.lock_names import Names, outer_member
from postmortem.kernel.masks import for_each_possible_cpu
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.tasks import Task
from postmortem.model.frame import Frame

_SLOW_PATHS = re.compile(
    r"(native_|__pv_|resilient_)?queued_(spin_lock|read_lock|write_lock)_slowpath"
)
_LOCK_CODE = re.compile(
    r"_*(raw_)?(spin|read|write)_(lock|trylock)(_irq|_irqsave|_bh|_nested|_irqsave_nested)*"
    r"|(native_|__pv_|resilient_)?queued_\w+|do_raw_(spin|read|write)_lock"
)
_ACQUIRE = re.compile(r"_*raw_(spin|read|write)_(lock|trylock)\w*")
_RELEASE = re.compile(r"_*raw_(spin|read|write)_unlock\w*")
_MAX_QUEUE = 8192
_ALIGNMENT = 4
"""Of ``struct qspinlock``."""
_MAX_LOCK_FRAMES = 2000
"""So many places in code are disassembled in search of holders, about a millisecond each."""
_STACK_WORDS = 1 << 11
_NESTED = 4
"""MCS nodes of a CPU: task, softirq, hardirq, NMI."""


@dataclass(frozen=True)
class QSpinlock:
    """The 32 bits of ``struct qspinlock``."""

    value: int

    @property
    def locked(self) -> bool:
        """Somebody has it."""
        return bool(self.value & 0xFF)

    @property
    def pending(self) -> bool:
        """Somebody is next and spins on the lock itself."""
        return bool(self.value >> 8 & 0xFF)

    @property
    def tail(self) -> tuple[int, int] | None:
        """CPU and nesting level of the last in the queue."""
        tail = self.value >> 16
        return ((tail >> 2) - 1, tail & 3) if tail >> 2 else None

    @property
    def waited_for(self) -> bool:
        return self.pending or self.tail is not None

    def __str__(self) -> str:
        parts = ["locked" if self.locked else "not locked"]
        if self.pending:
            parts.append("one pending")
        if self.tail is not None:
            parts.append(f"queue ends at CPU {self.tail[0]}")
        return f"{self.value:#010x}: {', '.join(parts)}"


@dataclass(frozen=True)
class Spin:
    """A CPU that waits for a spinlock."""

    cpu: int
    lock: int | None
    """Address of the lock, ``None`` if it could not be found."""
    name: str
    """``pm_cache_lock [module]``, the object it is in, or the address."""
    state: QSpinlock | None
    function: str | None
    """Who wanted it."""
    frame: int
    """Index of that function in the CPU's frames."""
    queue: tuple[int, ...] = ()
    """CPUs in the MCS queue, the next to get it first."""
    object: SlabObject | None = None
    """The object that the lock is in."""


@dataclass(frozen=True)
class Holder:
    """Who is likely to hold a lock."""

    task: Task | None
    cpu: int | None
    """``None`` for a task that is on no CPU."""
    frame: Frame
    """The function that took the lock and has not given it back."""
    index: int
    """Its index in the frames."""
    why: str
    certain: bool
    """The code names this very lock; otherwise only the object's address speaks for it."""


def spins(prog: drgn.Program, state: CpuState) -> Spin | None:
    """The spinlock that a CPU waits for, ``None`` if it does not."""
    slow = next(
        (n for n, name in enumerate(state.functions[:8]) if _SLOW_PATHS.fullmatch(name)), None
    )
    inside = [n for n, name in enumerate(state.functions[:8]) if _LOCK_CODE.fullmatch(name)]
    if slow is None or not inside:
        return None
    wanted = max(inside) + 1
    frame = state.frames[wanted] if wanted < len(state.frames) else None
    lock = _lock_in_registers(prog, state, slow == 0)
    if lock is None and frame is not None:
        lock = argument_at(prog, frame.pc)
    function = frame.function if frame is not None else None
    if lock is None:
        return Spin(state.number, None, "a lock that could not be found", None, function, wanted)
    value = _value(prog, lock)
    owner = slab_object(prog, lock) if _symbol(prog, lock) is None else None
    name = Names(prog).of(lock).text
    if owner is not None and frame is not None:
        # A general cache says nothing of the object; the code that takes the lock may.
        member = _member_at_call(prog, frame.pc)
        name = f"{member} ({name})" if member else name
    return Spin(
        cpu=state.number,
        lock=lock,
        name=name,
        state=value,
        function=function,
        frame=wanted,
        queue=tuple(_queue(prog, value)) if value is not None else (),
        object=owner,
    )


def _value(prog: drgn.Program, address: int) -> QSpinlock | None:
    try:
        return QSpinlock(prog.read_u32(address))
    except damage():
        return None


def _lock_in_registers(prog: drgn.Program, state: CpuState, spinning: bool) -> int | None:
    """The lock that a CPU in the slow path waits for, from its registers or top of stack.

    Native code keeps its address in the first argument's register. A guest without
    paravirtual locks spins until the word is free (``virt_spin_lock()``): nothing there
    says that it waits.

    :param spinning: It is in the slow path itself, not in something called by it.
    """
    arch = arch_of(prog)
    argument = arch.calls.parameters[0]
    first = state.registers.get(argument, 0) if spinning else 0
    if arch.is_pointer(first, _ALIGNMENT):
        value = _value(prog, first)
        if value is not None and value.value == 1:
            return first
    names = dict.fromkeys((argument, *arch.preserved, *arch.general))
    candidates = [state.registers.get(name, 0) for name in names]
    candidates += _words(_top_of_stack(prog, state))
    for address in candidates:
        value = _value(prog, address) if arch.is_pointer(address, _ALIGNMENT) else None
        if value is None or not value.waited_for or value.value & 0xFF not in (0, 1, 3):
            continue
        if value.value >> 8 & 0xFF > 1 or (value.tail and value.tail[0] >= _MAX_QUEUE):
            continue
        if value.pending or state.number in _queue(prog, value):
            return address
    return None


_TOP_BYTES = 512


def _top_of_stack(prog: drgn.Program, state: CpuState) -> bytes:
    try:
        return bytes(prog.read(state.registers[arch_of(prog).sp], _TOP_BYTES))
    except damage():
        return b""


@fact
def _nodes(prog: drgn.Program) -> dict[int, tuple[int, int, int]]:
    """The MCS nodes in use: address to CPU, level and address of the next in the queue.

    A node that was left keeps its old ``next``: how many a CPU uses says the
    ``count`` in its first one.
    """
    found: dict[int, tuple[int, int, int]] = {}
    for cpu in for_each_possible_cpu(prog):
        if cpu >= _MAX_QUEUE:
            break
        with tolerated():
            nodes = variable(prog, "qnodes", cpu, "struct qnode [4]")
            for level in range(min(nodes[0].mcs.count.value_(), _NESTED)):
                node = nodes[level].mcs
                found[node.address_of_().value_()] = (cpu, level, node.next.value_())
    return found


def _queue(prog: drgn.Program, value: QSpinlock) -> list[int]:
    """CPUs that queue for a lock, the first first. Bounded, and safe against circles."""
    tail = value.tail
    if tail is None:
        return []
    nodes = _nodes(prog)
    before = {nxt: address for address, (_cpu, _level, nxt) in nodes.items() if nxt}
    at = next((a for a, (cpu, level, _n) in nodes.items() if (cpu, level) == tail), None)
    queue: list[int] = []
    seen: set[int] = set()
    while at is not None and at not in seen:
        seen.add(at)
        queue.insert(0, nodes[at][0])
        at = before.get(at)
    return queue


def _symbol(prog: drgn.Program, address: int) -> drgn.Symbol | None:
    try:
        found = prog.symbol(address)
    except LookupError:
        return None
    return found if address - found.address < 1 << 20 else None


# --- who has taken which lock --------------------------------------------------------


@dataclass(frozen=True)
class _Taken:
    """A lock that a function took before a place in it, and did not give back."""

    lock: int | None
    """``None``: not a constant."""
    at: int
    """Address of the call."""


def _member_at_call(prog: drgn.Program, return_address: int) -> str | None:
    """``pm_table.lock``: the first argument by type, at the call that returns there."""
    instructions = code_before(prog, return_address)
    code = function_code(prog, instructions[-1].address) if instructions else None
    pointer = (
        typed_registers(prog, code).get(arch_of(prog).calls.parameters[0])
        if code is not None
        else None
    )
    if pointer is None:
        return None
    member = outer_member(pointer.struct, pointer.offset)
    if not member or member.startswith("+"):
        return None
    return f"{pointer.type_name.partition(' ')[2]}.{member}"


def taken_locks(prog: drgn.Program, frame: Frame) -> list[_Taken]:
    """Locks that a function took before the place where the stack goes on, and kept."""
    taken: list[_Taken] = []
    for call in Calls.of(prog).before(frame):
        if call.function is None:
            continue
        if _RELEASE.fullmatch(call.function):
            _give_back(taken, call.argument)
        elif _ACQUIRE.fullmatch(call.function):
            taken.append(_Taken(call.argument, call.at))
    return taken


def _give_back(taken: list[_Taken], lock: int | None) -> None:
    """Forget the last acquire of this lock; of any lock if it is not known which."""
    for number in range(len(taken) - 1, -1, -1):
        if lock is None or taken[number].lock in (lock, None):
            del taken[number]
            return


Sleeper = tuple[Task, tuple[Frame, ...], bytes]
"""A task on no CPU, its frames and its raw stack."""


class Search:
    """Looks for the holders of locks; each lock and each piece of code is looked at once."""

    def __init__(self, prog: drgn.Program, states: Sequence[CpuState]) -> None:
        self._prog = prog
        self._states = states
        self.spins: dict[int, Spin] = {}
        """The CPUs that wait for a spinlock."""
        for state in states:
            spin = spins(prog, state)
            if spin is not None:
                self.spins[state.number] = spin
        self._taken: dict[tuple[int, bool], list[_Taken]] = {}
        self._held: dict[int, list[Holder]] = {}

    def holders(self, spin: Spin, others: Callable[[], Iterable[Sleeper]] = tuple) -> list[Holder]:
        """Who is likely to hold the lock that a CPU waits for, the best candidate first.

        Of CPUs that wait for a lock only what lies below their wait counts.

        :param others: Gives the tasks on no CPU; asked if no CPU holds the lock.
        """
        if spin.lock is None:
            return []
        if spin.lock not in self._held:
            found = [*self._on_cpus(spin)] or [*self._off_cpus(spin, others())]
            self._held[spin.lock] = sorted(found, key=lambda holder: not holder.certain)
        return self._held[spin.lock]

    def _locks(self, frame: Frame) -> list[_Taken]:
        key = (frame.pc, frame.interrupted)
        if key not in self._taken:
            enough = len(self._taken) >= _MAX_LOCK_FRAMES
            self._taken[key] = [] if enough else taken_locks(self._prog, frame)
        return self._taken[key]

    def _on_cpus(self, spin: Spin) -> Iterator[Holder]:
        for state in self._states:
            own = self.spins.get(state.number)
            first = own.frame if own is not None else 0
            waits_too = own is not None and own.lock == spin.lock
            task = _task(self._prog, state)
            words: set[int] | None = None
            for index, frame in enumerate(state.frames[first:], first):
                for taken in self._locks(frame):
                    if taken.lock == spin.lock:
                        yield _holder(task, state.number, frame, index, taken, True)
                    elif taken.lock is None and not waits_too:
                        words = _stack_words(self._prog, state) if words is None else words
                        if _keeps_object(spin, words):
                            yield _holder(task, state.number, frame, index, taken, False)

    def _off_cpus(self, spin: Spin, others: Iterable[Sleeper]) -> Iterator[Holder]:
        for task, frames, raw in others:
            for index, frame in enumerate(frames):
                for taken in self._locks(frame):
                    if taken.lock == spin.lock:
                        yield _holder(task, None, frame, index, taken, True)
                    elif taken.lock is None and _keeps_object(spin, _words(raw)):
                        yield _holder(task, None, frame, index, taken, False)


def _holder(
    task: Task | None, cpu: int | None, frame: Frame, index: int, taken: _Taken, certain: bool
) -> Holder:
    how = (
        "took this lock and has not given it back"
        if certain
        else "took a lock, has not given it back, and keeps a pointer to this lock's object"
    )
    name = frame.function or "?"
    start = frame.pc - (frame.offset or 0)
    why = f"{name}() {how} (call at {name}+{taken.at - start:#x})"
    return Holder(task, cpu, frame, index, why, certain)


def _keeps_object(spin: Spin, words: Iterable[int]) -> bool:
    """Whether one of the words points to the lock, or to the start of its object."""
    assert spin.lock is not None
    wanted = {spin.lock}
    if spin.object is not None:
        wanted.add(spin.object.address)
    return not wanted.isdisjoint(words)


def _words(raw: bytes) -> list[int]:
    size = min(len(raw) & ~7, _STACK_WORDS * 8)
    return list(struct.unpack(f"<{size // 8}Q", raw[:size]))


def _stack_words(prog: drgn.Program, state: CpuState) -> set[int]:
    """Registers of a CPU and the words of its current task's stack."""
    found = set(state.registers.values())
    sp = state.registers.get(arch_of(prog).sp)
    if sp is None:
        return found
    try:
        size = int(prog["THREAD_SIZE"])
        end = (sp | (size - 1)) + 1
        found.update(_words(prog.read(sp, min(end - sp, _STACK_WORDS * 8))))
    except damage():
        pass
    return found


def _task(prog: drgn.Program, state: CpuState) -> Task | None:
    from postmortem.kernel.tasks.tasks import all_tasks

    return all_tasks(prog).by_address.get(state.cpu.address)
