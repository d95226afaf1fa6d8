"""Who waits for what: every task that sleeps, and the object that it sleeps on.

The functions on the stack say how a task sleeps (:mod:`postmortem.rules.waits`); the
structure that it left on its stack leads to the object
(:mod:`postmortem.kernel.locking.waiters`). Tasks with the same stack are judged
once, and the structure lies at the same place for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage, integer, member
from postmortem.kernel import devices
from postmortem.kernel.cpu import workers
from postmortem.kernel.locking import locks
from postmortem.kernel.locking.lock_names import Name, Names
from postmortem.kernel.locking.since import Since, SleepClock
from postmortem.kernel.locking.waiters import Layout, Ring, Waiters
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.kthreads import kthread_of
from postmortem.kernel.tasks.tasks import Task, TaskReader, all_tasks
from postmortem.kernel.tasks.unwind import Shape, SleepingStack, SleepingStacks, sleeping_stacks
from postmortem.model.findings import Kind, Problem
from postmortem.model.frame import Frame
from postmortem.rules.blame import guilty_frame
from postmortem.rules.waits import LOCKS, How, WaitKind

_ASLEEP = frozenset("SDIP")
_QUIET = frozenset(
    {
        WaitKind.EVENT,
        WaitKind.SLEEP,
        WaitKind.POLL,
        WaitKind.SIGNAL,
        WaitKind.CHILD,
        WaitKind.SOCKET,
        WaitKind.TERMINAL,
        WaitKind.FREEZER,
    }
)
"""Sleeping so is how a healthy machine rests: the object is not looked for."""
_LISTED = frozenset({WaitKind.MUTEX, WaitKind.RWSEM_READ, WaitKind.RWSEM_WRITE, WaitKind.SEMAPHORE})
"""Locks in whose list of waiters a task is for as long as it waits."""
_PAGE_LOCKED = 0
_PAGE_WRITEBACK = 1


@dataclass(frozen=True)
class Wait:
    """One task that sleeps."""

    task: Task
    kind: WaitKind
    primitive: WaitKind | None
    """How it sleeps; ``kind`` may be the reason above it."""
    address: int | None
    """The lock, completion, queue, work item ... that it sleeps on."""
    name: str
    """What that is called; empty where it was not found."""
    proof: str
    """How the object was found, or why not."""
    shape: Shape
    caller: int
    """Index of the frame that called the waiting machinery."""
    since: Since
    super_block: int = 0
    """``struct super_block *`` that the object lies in."""
    detail: str = ""
    peer: int = 0
    """``struct task_struct *`` of whom it waits for, where the object says it."""
    peer_function: str = ""
    """What that task executes for it."""
    device: str = ""
    """Disk that must do I/O before it goes on."""

    @property
    def frame(self) -> Frame:
        """The frame that is to blame for the wait."""
        return guilty(self.shape) or self.shape.frames[self.caller]

    @property
    def object(self) -> str:
        """``mutex pm_config_mutex [pm_fault]``"""
        return f"{self.kind} {self.name}" if self.name else str(self.kind)


@dataclass(frozen=True)
class Target:
    """What was found on a stack."""

    kind: WaitKind
    address: int | None = None
    name: str = ""
    proof: str = ""
    detail: str = ""
    peer: int = 0
    peer_function: str = ""
    device: str = ""
    super_block: int = 0


@dataclass
class Waits:
    """All sleeping tasks of a dump."""

    waits: list[Wait]
    by_task: dict[int, Wait]
    """By address of ``struct task_struct``."""
    rings: dict[int, Ring]
    """The waiter list of each lock, by address of the lock."""
    stacks: SleepingStacks
    clock: SleepClock
    names: Names
    problems: list[Problem]


def guilty(shape: Shape) -> Frame | None:
    """The frame that a hung-task report of this stack blames."""
    return guilty_frame(shape.frames, Kind.HUNG_TASK)


@fact
def waits(prog: drgn.Program, log_time: float | None = None) -> Waits:
    """Every task that sleeps and what it waits for.

    :param log_time: Seconds since boot of the log's last message.
    :raises LookupError: types are missing.
    """
    return WaitReader(prog, log_time).read_all()


def still_sleeps(prog: drgn.Program, stacks: SleepingStacks, task: Task) -> bool:
    """Whether a task sleeps where it slept: of a running kernel it may have gone on since.

    What contradicts itself there may only have been read at two moments.
    """
    stack = stacks.by_task.get(task.address)
    pointer = drgn.Object(prog, "struct task_struct *", task.address)
    try:
        now = TaskReader(prog).read(task.address)[0]
        return stack is None or (now.state, pointer.thread.sp.value_()) == (task.state, stack.sp)
    except damage():
        return True


class WaitReader:
    """Reads the waits of all tasks."""

    def __init__(self, prog: drgn.Program, log_time: float | None = None) -> None:
        self._prog = prog
        self._arch = arch_of(prog)
        self.stacks = sleeping_stacks(prog)
        self._waiters = Waiters(prog, self.stacks)
        self._names = Names(prog)
        self.clock = SleepClock(prog, log_time)
        self._hows: dict[int, How] = {}
        self._rings: dict[int, Ring] = {}
        self._lock_of_ring: dict[int, int | None] = {}
        self._kthreads: dict[int, Task] | None = None
        self._children: dict[int, Task] | None = None
        kind = prog.type("struct task_struct")
        self._blocker = any(
            kind.has_member(name) for name in ("blocker", "blocker_mutex", "blocked_on")
        )
        self._offsets: dict[str, int | None] = {}

    def read_all(self) -> Waits:
        found: list[Wait] = []
        problems = list(self.stacks.problems)
        for task in all_tasks(self._prog).tasks:
            stack = self.stacks.by_task.get(task.address)
            if stack is None or task.state not in _ASLEEP or not stack.shape.frames:
                continue
            found.append(self._wait(stack))
        by_task = {wait.task.address: wait for wait in found}
        for ring in {id(ring): ring for ring in self._rings.values()}.values():
            if ring.broken:
                problems.append(Problem("waiter list", ring.broken))
        problems += self._lost(found)
        return Waits(found, by_task, self._rings, self.stacks, self.clock, self._names, problems)

    def _lost(self, found: Sequence[Wait]) -> Iterator[Problem]:
        """Who waits for a lock is in its list until it has it: else memory is damaged."""
        for wait in found:
            if wait.kind not in _LISTED or wait.address is not None or wait.task.state != "D":
                continue
            known = locks.TYPES[wait.kind] in self._waiters.layouts
            if known and still_sleeps(self._prog, self.stacks, wait.task):
                who = f"{wait.task.comm} ({wait.task.pid})"
                yield Problem("waiter list", f"which {wait.kind} {who} waits for: {wait.proof}")

    def _wait(self, stack: SleepingStack) -> Wait:
        shape = stack.shape
        how = self._hows.get(id(shape))
        if how is None:
            how = self._hows[id(shape)] = How(shape.functions)
        target = self._target(stack, how)
        name = Name(target.name)
        if target.address is not None and not target.name:
            name = self._names.of(target.address)
        kind = target.kind
        if kind is WaitKind.PERCPU_READ and name.super_block:
            kind = WaitKind.FREEZE
        return Wait(
            task=stack.task,
            kind=kind,
            primitive=how.primitive,
            address=target.address,
            name=name.text,
            proof=target.proof,
            shape=shape,
            caller=how.caller,
            since=self.clock.since(stack.task),
            super_block=target.super_block or name.super_block,
            detail=target.detail,
            peer=target.peer,
            peer_function=target.peer_function,
            device=target.device,
        )

    def _target(self, stack: SleepingStack, how: How) -> Target:
        kind = how.primitive
        if kind is None and how.reason is not None and stack.task.state != "D":
            return Target(how.reason)
        if how.reason in _QUIET and kind not in LOCKS and stack.task.state != "D":
            return Target(how.reason)
        read = _READERS.get(kind) if kind is not None else WaitReader._queue
        target = Target(kind or how.reason or WaitKind.UNKNOWN)
        if read is not None:
            try:
                target = read(self, stack, how) or target
            except damage() as exc:
                target = replace(target, proof=f"not found: {exc}")
        if target.address is None and self._blocker:
            said = locks.blocker(self._prog, stack.task.address)
            if said is not None:
                target = Target(*said, proof="task_struct.blocker names it")
        if how.reason is not None and target.kind not in LOCKS and how.reason not in _QUIET:
            target = self._reasoned(target, stack, how)
        return target

    def _end(self, stack: SleepingStack, how: How) -> int:
        """Where the frame of the machinery's caller ends: the structure lies below."""
        offsets = stack.shape.offsets
        index = min(how.caller + 1, len(offsets) - 1)
        return offsets[index] if index > how.caller else len(stack.data)

    # --- locks

    def _listed(self, stack: SleepingStack, how: How) -> Target | None:
        """A lock with a list of waiters: mutex, rwsem, semaphore."""
        kind = how.primitive
        assert kind is not None
        lock_type = locks.TYPES[kind]
        layout = self._waiters.layouts.get(lock_type)
        if layout is None:
            return None
        found = self._hung_on(stack, how, layout)
        if isinstance(found, str):
            return Target(kind, proof=found)
        lock, waiter = found
        return Target(
            kind,
            lock,
            proof=f"its wait list holds the task's {layout.waiter} at {waiter:#x}",
        )

    def _hung_on(self, stack: SleepingStack, how: How, layout: Layout) -> tuple[int, int] | str:
        """The lock and the structure by which the task hangs on it, or why not."""
        waiter = self._waiters.on_stack(stack, layout, self._end(stack, how))
        if waiter is None:
            return f"no {layout.waiter} that is linked on its stack"
        ring = self._waiters.ring(waiter, layout)
        key = id(ring)
        if key not in self._lock_of_ring:
            lock = self._waiters.lock_of(stack, ring, layout)
            self._lock_of_ring[key] = lock
            if lock is not None:
                self._rings[lock] = ring
        lock = self._lock_of_ring[key]
        if lock is None:
            return ring.broken or f"the list of its {layout.waiter} has no head that is a lock"
        return lock, waiter

    def _rt_mutex(self, stack: SleepingStack, how: How) -> Target | None:
        lock = locks.rt_mutex_waited_for(self._prog, stack.task.address)
        if lock is None:
            return None
        return Target(WaitKind.RT_MUTEX, lock, proof="task->pi_blocked_on->lock")

    def _percpu(self, stack: SleepingStack, how: How) -> Target | None:
        kind = how.primitive
        assert kind is not None
        layout = self._waiters.layouts.get("struct wait_queue_head")
        waiters = self._offset("struct percpu_rw_semaphore", "waiters")
        if layout is None or waiters is None:
            return None
        found = self._hung_on(stack, how, layout)
        if not isinstance(found, str):
            lock, waiter = found[0] - waiters, found[1]
            return Target(
                kind, lock, proof=f"its queue holds the task's wait_queue_entry at {waiter:#x}"
            )
        # The writer that waits for the readers to leave: it is named in the lock.
        writer = self._offset("struct percpu_rw_semaphore", "writer.task")
        if writer is None:
            return None
        for _offset, value in stack.words(0, len(stack.data)):
            if self._arch.is_pointer(value, 8) and self._points_to(value + writer, stack.task):
                proof = "percpu_rw_semaphore.writer is this task"
                return Target(WaitKind.PERCPU_WRITE, value, proof=proof)
        return Target(kind, proof=found)

    def _points_to(self, address: int, task: Task) -> bool:
        try:
            return bool(self._prog.read_u64(address) == task.address)
        except damage():
            return False

    # --- completions and what is built on them

    def _completion(self, stack: SleepingStack, how: How) -> Target | None:
        layout = self._waiters.layouts.get("struct swait_queue_head")
        wait = self._offset("struct completion", "wait")
        if layout is None or wait is None:
            return None
        found = self._hung_on(stack, how, layout)
        if isinstance(found, str):
            return Target(WaitKind.COMPLETION, proof=found)
        completion = found[0] - wait
        target = Target(
            WaitKind.COMPLETION,
            completion,
            proof=f"its queue holds the task's swait_queue at {found[1]:#x}",
        )
        for find in (self._flushed, self._in_bio):
            found_there = find(target, stack)
            if found_there is not None:
                return found_there
        return self._stopped(target) or self._child(target) or target

    def _in_bio(self, target: Target, stack: SleepingStack) -> Target | None:
        """The completion is that of a bio: submit_bio_wait()."""
        if stack.shape.find("submit_bio_wait", "bio_await", "bio_await_chain") is None:
            return None
        assert target.address is not None
        words = (value for _offset, value in stack.words(0, len(stack.data)))
        disk = devices.device_of_bio_wait(self._prog, target.address, words)
        if disk is None:
            return None
        return replace(target, kind=WaitKind.IO, name=f"bio to {disk}", device=disk)

    def _flushed(self, target: Target, stack: SleepingStack) -> Target | None:
        """The completion lies in a barrier behind a work item, or in a queue's flusher."""
        address = target.address
        assert address is not None
        if not stack.sp <= address < stack.sp + len(stack.data):
            return None
        done = self._offset("struct wq_barrier", "done")
        worker = workers.flushed_by(self._prog, address - done) if done is not None else None
        if worker is not None:
            return Target(
                WaitKind.WORK,
                worker.work,
                name=self._work_name(worker),
                proof=f"its wq_barrier is linked behind the work of {worker.task.comm}",
                peer=worker.task.address,
                peer_function=worker.function or "",
            )
        done = self._offset("struct wq_flusher", "done")
        flusher = workers.queue_flushed_by(self._prog, address - done) if done is not None else None
        if flusher is None:
            return None
        busy = [w for w in workers.busy_workers(self._prog) if w.queue == flusher.queue]
        names = ", ".join(f"{w.function or '?'} in {w.task.comm}" for w in busy[:4])
        return Target(
            WaitKind.WORKQUEUE,
            flusher.queue,
            name=flusher.name,
            proof="its wq_flusher is on the queue",
            detail=f"executing: {names}" if names else "none of its work is executing",
            peer=busy[0].task.address if busy else 0,
            peer_function=(busy[0].function or "") if busy else "",
        )

    def _work_name(self, worker: workers.Worker) -> str:
        name = self._names.of(worker.work)
        function = f"{worker.function}()" if worker.function else "?"
        text = f"{name.text}, " if name.symbol else ""
        return f"{text}{function} on {worker.queue_name}"

    def _stopped(self, target: Target) -> Target | None:
        """The completion lies in a kernel thread: kthread_stop() or kthread_park()."""
        if self._kthreads is None:
            self._kthreads = {}
            for task in all_tasks(self._prog).tasks:
                try:
                    kthread = kthread_of(self._prog, task)
                except LookupError:
                    break
                if kthread is not None:
                    self._kthreads[kthread] = task
        assert target.address is not None
        for field_name, verb in (("exited", "end"), ("parked", "park")):
            offset = self._offset("struct kthread", field_name)
            if offset is None:
                continue
            thread = self._kthreads.get(target.address - offset)
            if thread is not None:
                return Target(
                    WaitKind.KTHREAD,
                    target.address,
                    name=f"{thread.comm} ({thread.pid}) to {verb}",
                    proof=f"the completion is kthread.{member} of task {thread.pid}",
                    peer=thread.address,
                    peer_function=self._thread_function(target.address - offset),
                )
        return None

    def _thread_function(self, kthread: int) -> str:
        offset = self._offset("struct kthread", "threadfn")
        if offset is None:
            return ""
        try:
            symbol = self._prog.symbol(self._prog.read_u64(kthread + offset))
        except damage():
            return ""
        return str(symbol.name)

    def _child(self, target: Target) -> Target | None:
        """The completion is ``vfork_done`` of a child."""
        offset = self._offset("struct task_struct", "vfork_done")
        if offset is None:
            return None
        if self._children is None:
            self._children = {}
            for task in all_tasks(self._prog).tasks:
                try:
                    done = 0 if task.kthread else self._prog.read_u64(task.address + offset)
                except damage():
                    continue
                if done:
                    self._children[done] = task
        child = self._children.get(target.address or 0)
        if child is None:
            return None
        return Target(
            WaitKind.VFORK,
            target.address,
            name=f"child {child.comm} ({child.pid})",
            proof=f"the completion is vfork_done of task {child.pid}",
            peer=child.address,
        )

    # --- wait queues, bits, pages

    def _queue(self, stack: SleepingStack, how: How) -> Target | None:
        layout = self._waiters.layouts.get("struct wait_queue_head")
        if layout is None:
            return None
        kind = how.primitive if how.primitive not in (None, WaitKind.PREEMPTED) else None
        kind = kind or WaitKind.WAIT_QUEUE
        found = self._hung_on(stack, how, layout)
        if isinstance(found, str):
            known = how.primitive or how.reason or WaitKind.UNKNOWN
            return Target(known, proof=found)
        return Target(
            kind, found[0], proof=f"its queue holds the task's wait_queue_entry at {found[1]:#x}"
        )

    def _bit(self, stack: SleepingStack, how: How) -> Target | None:
        """The word and the bit, from the key beside the queue entry on the stack."""
        layout = self._waiters.layouts.get("struct wait_queue_head")
        kind = how.primitive
        assert kind is not None
        if layout is None:
            return None
        entry = self._waiters.on_stack(stack, layout, self._end(stack, how))
        if entry is None:
            return Target(kind, proof="no wait_queue_entry that is linked on its stack")
        if kind is WaitKind.PAGE:
            return self._page(stack, entry)
        offset = self._offset("struct wait_bit_queue_entry", "wq_entry")
        if offset is None:
            return None
        key = drgn.Object(self._prog, "struct wait_bit_queue_entry", address=entry - offset).key
        word, bit = key.flags.value_(), key.bit_nr.value_()
        if not self._arch.is_kernel(word):
            return Target(kind, proof="the key of its wait_bit_queue_entry is no address")
        proof = f"its wait_bit_queue_entry at {entry - offset:#x} waits for bit {bit} of {word:#x}"
        target = Target(kind, word, proof=proof, detail=f"bit {bit}" if bit >= 0 else "")
        if kind is WaitKind.BUFFER or self._names.of(word).text.startswith("buffer_head.b_state"):
            return self._buffer(target)
        return target

    def _page(self, stack: SleepingStack, entry: int) -> Target | None:
        kind = self._prog.type("struct wait_page_queue")
        waiting = drgn.Object(self._prog, kind, address=entry - drgn.offsetof(kind, "wait"))
        # The page became a folio in v5.16 (4088eef47c3a).
        page = waiting.member_("folio" if kind.has_member("folio") else "page")
        bit = waiting.bit_nr.value_()
        names = {value: name for name, value in self._prog.type("enum pageflags").enumerators or ()}
        flag = names.get(bit, f"bit {bit}").removeprefix("PG_")
        name = f"{flag} of {page.value_():#x}"
        device = ""
        try:
            mapping = page.mapping.value_()
            if mapping and not mapping & 3:
                inode = drgn.Object(self._prog, "struct address_space *", mapping).host
                index = page.index.value_()
                name = f"{flag} of {self._names.path(inode)} page {index}"
                device = self._disk(inode)
        except damage():
            pass
        return Target(
            WaitKind.PAGE,
            page.value_(),
            name=name,
            proof=f"its wait_page_queue at {waiting.address_:#x} waits for {flag}",
            detail=flag,
            device=device,
        )

    def _disk(self, inode: drgn.Object) -> str:
        """Name of the disk on which an inode's data are."""
        if inode.i_sb.value_() == self._prog["blockdev_superblock"].value_():
            whole = drgn.container_of(inode, "struct bdev_inode", "vfs_inode")
            return devices.disk_name(whole.bdev)
        return devices.device_of_super_block(self._prog, inode.i_sb.value_()) or ""

    def _buffer(self, target: Target) -> Target:
        assert target.address is not None
        try:
            head = drgn.Object(self._prog, "struct buffer_head", address=target.address)
            block = head.b_blocknr.value_()
            device = _device_name(head.b_bdev)
        except damage():
            return target
        return replace(
            target,
            kind=WaitKind.BUFFER,
            name=f"block {block} of {device}",
            device=devices.disk_name(head.b_bdev),
        )

    # --- the reason above the primitive

    def _reasoned(self, target: Target, stack: SleepingStack, how: How) -> Target:
        """The same object under the name of what it is for."""
        reason = how.reason
        assert reason is not None
        if target.kind in (WaitKind.WORK, WaitKind.WORKQUEUE, WaitKind.KTHREAD, WaitKind.VFORK):
            return target
        if target.kind in (WaitKind.PAGE, WaitKind.BUFFER):
            return target
        if reason is WaitKind.FUSE and target.address is not None:
            request = devices.fuse_request(self._prog, target.address)
            if request is not None:
                mounted = dict(self._names.super_blocks()).get(request.super_block, "")
                return replace(
                    target,
                    kind=reason,
                    name=f"on {mounted}" if mounted else f"{target.address:#x}",
                    peer=request.daemons[0].address if request.daemons else 0,
                    detail="" if request.daemons else "nobody has its /dev/fuse open",
                )
        if reason is WaitKind.JOURNAL and target.address is not None:
            journal = self._names.of(target.address).journal
            if journal:
                committer = self._committer(journal)
                peer = committer if committer != stack.task.address else 0
                target = replace(target, peer=peer)
        function = stack.shape.functions[how.reason_frame]
        detail = target.detail or f"in {function}()"
        return replace(target, kind=reason, detail=detail)

    def _committer(self, journal: int) -> int:
        """``struct task_struct *`` of the thread that commits a journal."""
        try:
            found = drgn.Object(self._prog, "struct journal_s *", journal).j_task.value_()
        except damage():
            return 0
        return int(found)

    def _offset(self, type_name: str, member: str) -> int | None:
        key = f"{type_name}.{member}"
        if key not in self._offsets:
            try:
                self._offsets[key] = int(drgn.offsetof(self._prog.type(type_name), member))
            except LookupError:
                self._offsets[key] = None
        return self._offsets[key]


def _device_name(bdev: drgn.Object) -> str:
    """``vda1`` of a ``struct block_device *``."""
    disk = bdev.bd_disk.disk_name.string_().decode("utf-8", "replace")
    try:
        # Partitions have a number of their own (v5.11, cb8432d650e2).
        part = integer(member(bdev, "bd_partno", "__bd_flags")) & 0xFF
    except damage():
        part = 0
    return f"{disk}{part}" if part else str(disk)


_READERS: dict[WaitKind, Callable[[WaitReader, SleepingStack, How], Target | None]] = {
    WaitKind.MUTEX: WaitReader._listed,
    WaitKind.RWSEM_READ: WaitReader._listed,
    WaitKind.RWSEM_WRITE: WaitReader._listed,
    WaitKind.SEMAPHORE: WaitReader._listed,
    WaitKind.RT_MUTEX: WaitReader._rt_mutex,
    WaitKind.PERCPU_READ: WaitReader._percpu,
    WaitKind.PERCPU_WRITE: WaitReader._percpu,
    WaitKind.COMPLETION: WaitReader._completion,
    WaitKind.WAIT_QUEUE: WaitReader._queue,
    WaitKind.BIT: WaitReader._bit,
    WaitKind.PAGE: WaitReader._bit,
    WaitKind.BUFFER: WaitReader._bit,
}
