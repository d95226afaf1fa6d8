"""The graph of who blocks whom, put together from the waits and the locks' owners."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.graph.model import Doing, Edge, EdgeKind, Graph, Node, NodeKind, Taken
from postmortem.kernel.code.calls import with_tails
from postmortem.kernel.cpu.cpus import Cpu, cpus
from postmortem.kernel.devices import Device, device_of_super_block, devices
from postmortem.kernel.locking import locks
from postmortem.kernel.locking.holders import Holders
from postmortem.kernel.locking.waits import Wait, Waits, still_sleeps, waits
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.hidden import with_hidden
from postmortem.kernel.tasks.tasks import Task, TaskReader, all_tasks
from postmortem.model.findings import Confidence, Kind, Problem
from postmortem.model.frame import Frame
from postmortem.rules.blame import guilty_frame
from postmortem.rules.waits import LOCKS, WaitKind, is_scheduler

_CONVOY = 4
"""So many tasks with one stack that wait for one thing are drawn as one."""
_MAX_CANDIDATES = 4
EXITED = "a task that has exited"
LOST = "its last holder"
"""Of a lock whose owner word names one that waits for it."""
_SLEEP = re.compile(
    r"_*schedule\w*|\w*nanosleep\w*|common_nsleep\w*|__(?:x64|se|do)_sys_\w+|x64_sys_call"
    r"|do_syscall_64"
)


def _only_sleeps(functions: tuple[str, ...], syscall_entry: str) -> bool:
    """Whether the task came from user space just to sleep: then it can hold no lock.

    No lock of the kernel outlives a system call, so the owner that is written
    down was another task in the same memory.
    """
    return (
        bool(functions)
        and all(_SLEEP.fullmatch(name) for name in functions[:-1])
        and functions[-1].startswith(syscall_entry)
    )


_MAX_SEARCHES = 64
"""For how many locks a holder is looked for that nothing is written down of."""
_MAX_STACKS = 4096
"""How many tasks are searched for a holder of whom nothing is written down."""

_OBJECTS = {
    WaitKind.WORK: NodeKind.WORK,
    WaitKind.WORKQUEUE: NodeKind.WORK,
    **dict.fromkeys(LOCKS, NodeKind.LOCK),
    WaitKind.FREEZE: NodeKind.LOCK,
}
_NEVER = frozenset({WaitKind.PREEMPTED, WaitKind.EVENT})
_PEERS = frozenset(
    {WaitKind.WORK, WaitKind.WORKQUEUE, WaitKind.KTHREAD, WaitKind.FUSE, WaitKind.JOURNAL}
)
_PEER_LABELS = {
    WaitKind.KTHREAD: EdgeKind.ENDS,
    WaitKind.FUSE: EdgeKind.ANSWERED,
    WaitKind.JOURNAL: EdgeKind.COMMITTED,
}
_DISK = frozenset(
    {WaitKind.PAGE, WaitKind.BUFFER, WaitKind.IO, WaitKind.REQUEST, WaitKind.JOURNAL, WaitKind.BIT}
)
"""Waits that most often end when a disk answers."""


@dataclass
class Blocking:
    """The graph and what it was made from."""

    graph: Graph
    waits: Waits
    by_node: dict[str, Wait] = field(default_factory=dict)
    """The wait of a task's node (of the first task, for a convoy)."""
    holding: dict[str, Taken] = field(default_factory=dict)
    """By node of a task: the frame that took what others wait for, and how we know."""
    super_blocks: dict[str, int] = field(default_factory=dict)
    """By node of a lock: the ``struct super_block *`` that it lies in."""
    problems: list[Problem] = field(default_factory=list)


@fact
def blocking(
    prog: drgn.Program, reported: Iterable[int] = (), log_time: float | None = None
) -> Blocking:
    """Who blocks whom.

    :param reported: Pids that khungtaskd has complained about.
    :raises LookupError: types are missing.
    """
    return _Builder(prog, waits(prog, log_time), frozenset(reported)).build()


def task_node(task: int) -> str:
    """Id of a task's node.

    :param task: ``struct task_struct *``
    """
    return f"task:{task:x}"


class _Builder:
    def __init__(self, prog: drgn.Program, found: Waits, reported: frozenset[int]) -> None:
        self._prog = prog
        self._waits = found
        self._reported = reported
        self._tasks = all_tasks(prog)
        self._holders = Holders(prog)
        self._is_pointer = arch_of(prog).is_pointer
        self._cpus: dict[int, Cpu] = {}
        self._result = Blocking(Graph(), found, problems=list(found.problems))
        self._graph = self._result.graph
        self._node_of: dict[int, str] = {}
        self._stacks: dict[int, tuple[Frame, ...]] = {}
        self._searches = 0

    def build(self) -> Blocking:
        try:
            self._cpus = {cpu.address: cpu for cpu in cpus(self._prog)}
        except damage() as exc:
            self._result.problems.append(Problem("CPUs", str(exc)))
        blocked = [wait for wait in self._waits.waits if self._counts(wait)]
        by_object: dict[str, list[Wait]] = {}
        for wait in blocked:
            by_object.setdefault(_object_id(wait), []).append(wait)
        owners = {name: self._owner(group[0]) for name, group in by_object.items()}
        held = {owner.task for owner in owners.values() if owner is not None and owner.task}
        held |= {wait.peer for wait in blocked if wait.peer}
        for name, group in by_object.items():
            self._add_object(name, group, owners[name])
            self._add_waiters(name, group, held)
        for name, group in by_object.items():
            self._add_holders(name, group, owners[name])
        return self._result

    def _counts(self, wait: Wait) -> bool:
        """Whether the task is blocked, not at rest."""
        if wait.kind in _NEVER:
            return False
        if wait.task.state == "D" or wait.kind in LOCKS or wait.kind is WaitKind.FREEZE:
            return wait.kind is not WaitKind.SLEEP or wait.since.uninterruptible
        return wait.kind in _PEERS and wait.address is not None

    def _owner(self, wait: Wait) -> locks.Owner | None:
        if wait.address is None or wait.kind not in LOCKS:
            return None
        try:
            found = locks.owner(self._prog, wait.kind, wait.address)
            return found and self._believed(found, wait)
        except damage() as exc:
            self._result.problems.append(Problem(f"owner of {wait.object}", str(exc)))
            return None

    def _believed(self, owner: locks.Owner, wait: Wait) -> locks.Owner:
        """The owner, if its word can be one; else nobody is known to be."""
        if owner.task and not self._is_pointer(owner.task, 8):
            why = f"{owner.member} is no address"
        elif not owner.awaited and wait.task.address in self._listed(wait):
            why = f"{owner.member} says that nobody waits, but {wait.task.comm} is in its list"
        else:
            return owner
        if not still_sleeps(self._prog, self._waits.stacks, wait.task):
            return owner  # read at two moments of a kernel that runs
        self._result.problems.append(Problem(f"owner of {wait.object}", why))
        return replace(owner, task=0, certain=False, state="its word is damaged")

    def _listed(self, wait: Wait) -> Collection[int]:
        """The tasks in a lock's own list."""
        ring = self._waits.rings.get(wait.address or 0)
        return ring.waiters.values() if ring is not None else ()

    # --- what is waited for

    def _add_object(self, name: str, group: list[Wait], owner: locks.Owner | None) -> None:
        wait = group[0]
        state = owner.state if owner is not None else wait.detail
        kind = _OBJECTS.get(wait.kind, NodeKind.EVENT)
        if wait.address is None and not wait.name:
            kind, state = NodeKind.UNKNOWN, wait.proof
        label = wait.object if wait.address is not None or wait.name else f"{wait.kind}, unknown"
        if wait.kind in (WaitKind.RWSEM_READ, WaitKind.RWSEM_WRITE):
            label = f"rwsem {wait.name}"
        elif wait.kind in (WaitKind.PERCPU_READ, WaitKind.PERCPU_WRITE):
            label = f"percpu_rwsem {wait.name}"
        self._graph.add(Node(name, kind, label.strip(), state, address=wait.address))
        if wait.super_block:
            self._result.super_blocks[name] = wait.super_block

    # --- who waits

    def _add_waiters(self, name: str, group: list[Wait], held: set[int]) -> None:
        alike: dict[int, list[Wait]] = {}
        for wait in group:
            if wait.task.address in held:
                self._add_waiter(name, [wait])
            else:
                alike.setdefault(id(wait.shape), []).append(wait)
        for same in alike.values():
            if len(same) >= _CONVOY:
                self._add_waiter(name, same)
            else:
                for wait in same:
                    self._add_waiter(name, [wait])

    def _add_waiter(self, name: str, same: list[Wait]) -> None:
        wait = same[0]
        seconds = max((w.since.longest or 0.0 for w in same), default=None)
        frame = wait.frame
        if len(same) > 1:
            label = f"{len(same)} tasks in {frame.function or '?'}"
            first = ", ".join(f"{w.task.comm} ({w.task.pid})" for w in same[:3])
            label += f": {first} ..."
        else:
            label = f"{wait.task.comm} ({wait.task.pid})"
        node = Node(
            task_node(wait.task.address),
            NodeKind.TASK,
            label,
            _waiting_state(wait)[1],
            seconds,
            wait.task.pid,
            wait.task.comm,
            frame.function,
            frame.module,
            wait.task.address,
            count=len(same),
            stack=wait.shape.functions,
            hung=any(self._hung(w) for w in same),
            doing=_waiting_state(wait)[0],
        )
        self._graph.add(node)
        self._result.by_node[node.id] = wait
        for member in same:
            self._node_of[member.task.address] = node.id
        confidence = Confidence.CERTAIN if wait.address is not None else Confidence.POSSIBLE
        self._graph.link(Edge(node.id, name, EdgeKind.WAITS, confidence, wait.proof))

    def _hung(self, wait: Wait) -> bool:
        longest = wait.since.longest
        if wait.task.pid in self._reported:
            return True
        if longest is None or longest < self._waits.clock.timeout:
            return False
        return wait.since.uninterruptible or (wait.task.state == "D" and wait.kind in LOCKS)

    # --- who is waited for

    def _add_holders(self, name: str, group: list[Wait], owner: locks.Owner | None) -> None:
        wait = group[0]
        if wait.kind in _PEERS and wait.peer:
            self._add_peer(name, wait)
            return
        if wait.device or wait.kind in _DISK:
            self._add_device(name, group)
            return
        if owner is None or wait.address is None:
            return
        longest = max((w.since.longest or 0.0 for w in group), default=0.0)
        if owner.task and owner.certain:
            if any(member.task.address == owner.task for member in group) and not (
                self._took_before(owner.task, wait)
            ):
                self._add_lost(name, wait, owner)
                return
            node = self._holder_node(owner.task, longest)
            if self._graph.nodes[node].kind is NodeKind.UNKNOWN:
                why = f"{owner.member}, but {self._graph.nodes[node].state}"
                self._result.problems.append(Problem(f"owner of {wait.object}", why))
            self._hold(node, owner.task, wait.kind, wait.address, owner.member)
            self._graph.link(Edge(name, node, EdgeKind.HELD, Confidence.CERTAIN, owner.member))
            return
        if owner.state in ("free", "open to readers"):
            return
        self._add_candidates(name, group, owner, longest)

    def _add_device(self, name: str, group: list[Wait]) -> None:
        """The disk whose answer a wait needs."""
        now = self._waits.clock.now
        disks = devices(self._prog, now)
        wait = group[0]
        if wait.device in disks:
            disk = disks[wait.device]
            self._link_device(name, disk, EdgeKind.NEEDS, Confidence.CERTAIN, wait.name)
            return
        longest = max((w.since.longest or 0.0 for w in group), default=0.0)
        slow = [d for d in disks.values() if d.suspended or d.oldest >= max(1.0, longest / 2)]
        for disk in slow if len(slow) == 1 else ():
            proof = f"the only disk that holds up I/O: {disk.state}"
            self._link_device(name, disk, EdgeKind.PERHAPS_NEEDS, Confidence.POSSIBLE, proof)

    def _link_device(
        self, name: str, disk: Device, kind: EdgeKind, confidence: Confidence, proof: str
    ) -> None:
        node_id = f"device:{disk.name}"
        if node_id in self._graph.nodes:
            self._graph.link(Edge(name, node_id, kind, confidence, proof))
            return
        mounted = [
            text.replace(f" on {disk.name}", "")
            for block, text in self._waits.names.super_blocks()
            if device_of_super_block(self._prog, block) == disk.name
        ]
        node = Node(
            node_id,
            NodeKind.DEVICE,
            disk.label + (f" with {', '.join(mounted[:3])}" if mounted else ""),
            disk.state,
            disk.oldest or None,
            address=disk.address,
        )
        self._graph.add(node)
        self._graph.link(Edge(name, node.id, kind, confidence, proof))

    def _took_before(self, task: int, wait: Wait) -> bool:
        """Whether some function on the stack of a lock's owner can have taken the lock."""
        assert wait.address is not None
        frames = with_tails(self._prog, self._frames(task))
        if self._holders.acquirer(frames, wait.kind, wait.address) is not None:
            return True
        # The code names a static lock only; one in an object may have been taken anywhere.
        static = self._waits.names.of(wait.address).symbol is not None
        return not static or self._holders.through_wrapper(frames, wait.kind, wait.address)

    def _add_lost(self, name: str, wait: Wait, owner: locks.Owner) -> None:
        """The waiter is said to own the lock itself, but can't have taken it."""
        node = Node(
            f"lost:{owner.task:x}",
            NodeKind.TASK,
            LOST,
            "has exited, or has returned from what took it, without giving it back",
            address=owner.task,
            doing=Doing.GONE,
        )
        self._graph.add(node)
        proof = (
            f"{owner.member} is {wait.task.comm} ({wait.task.pid}), which waits for it, and no"
            " function on its stack is seen to have taken it: it took it before and returned, or"
            " the task_struct was another task's then"
        )
        self._graph.link(Edge(name, node.id, EdgeKind.HELD, Confidence.LIKELY, proof))

    def _add_peer(self, name: str, wait: Wait) -> None:
        label = _PEER_LABELS.get(wait.kind, EdgeKind.EXECUTED)
        node = self._holder_node(wait.peer, 0.0)
        self._graph.link(Edge(name, node, label, Confidence.CERTAIN, wait.proof))
        frames = self._frames(wait.peer)
        for frame in frames:
            if frame.function == wait.peer_function:
                proof = f"task {self._graph.nodes[node].pid} executes {frame.function}()"
                self._result.holding.setdefault(node, Taken(frame, proof, True))

    def _add_candidates(
        self, name: str, group: list[Wait], owner: locks.Owner, longest: float
    ) -> None:
        wait = group[0]
        assert wait.address is not None
        self._searches += 1
        if self._searches > _MAX_SEARCHES:
            if self._searches == _MAX_SEARCHES + 1:
                why = f"too many locks without one: the first {_MAX_SEARCHES} were looked at"
                self._result.problems.append(Problem("holders told from stacks", why))
            return
        waiting = {member.task.address for member in group}
        found = self._holders.candidates(wait.kind, wait.address, self._others(waiting))
        hint = owner.task
        likely = [item for item in found if item.confidence is Confidence.LIKELY]
        named = {item.task.address for item in likely}
        if (hint in named or not likely) and hint in self._tasks.by_address and hint not in waiting:
            node = self._holder_node(hint, longest)
            proof = f"{owner.member}; a hint of the kernel's"
            self._hold(node, hint, wait.kind, wait.address, proof)
            self._graph.link(Edge(name, node, EdgeKind.LIKELY_HELD, Confidence.LIKELY, proof))
        for item in (likely or found)[:_MAX_CANDIDATES]:
            node = self._holder_node(item.task.address, longest)
            if item.frame is not None:
                frame = self._frames(item.task.address)[item.frame]
                self._result.holding.setdefault(node, Taken(frame, item.proof, False))
            label = (
                EdgeKind.LIKELY_HELD
                if item.confidence is Confidence.LIKELY
                else EdgeKind.PERHAPS_HELD
            )
            self._graph.link(Edge(name, node, label, item.confidence, item.proof))

    def _others(self, waiting: set[int]) -> Iterable[tuple[Task, Sequence[Frame], bytes]]:
        count = 0
        for task in self._tasks.tasks:
            if task.address in waiting or count >= _MAX_STACKS:
                continue
            stack = self._waits.stacks.by_task.get(task.address)
            if stack is not None:
                wait = self._waits.by_task.get(task.address)
                if wait is not None and wait.kind is WaitKind.EVENT:
                    continue
                count += 1
                yield task, self._frames(task.address), stack.data
            elif task.address in self._cpus:
                count += 1
                yield task, self._frames(task.address), b""

    def _frames(self, task: int) -> tuple[Frame, ...]:
        """A task's stack, with what a tail call hides; the same object each time."""
        known = self._stacks.get(task)
        if known is None:
            stack, cpu = self._waits.stacks.by_task.get(task), self._cpus.get(task)
            known = stack.shape.frames if stack is not None else cpu.stack if cpu else ()
            owner = self._tasks.by_address.get(task)
            if owner is not None and owner.kthread:
                whole = with_hidden(self._prog, owner, known)
                known = whole if len(whole) > len(known) else known
            self._stacks[task] = known
        return known

    def _hold(self, node: str, task: int, kind: WaitKind, address: int, member: str) -> None:
        """Remember which frame of the holder took the lock."""
        frames = self._frames(task)
        at = self._holders.acquirer(frames, kind, address)
        if at is None or not at[1]:
            # What a tail call hides may have taken this very lock.
            whole = with_tails(self._prog, frames)
            found = self._holders.acquirer(whole, kind, address)
            if found is not None and (at is None or found[1]):
                frames, at = whole, found
        if at is None:
            return
        frame = frames[at[0]]
        which = "this very lock" if at[1] else f"a {kind}"
        proof = f"{frame.function}() has taken {which} and not given it back; {member}"
        self._result.holding.setdefault(node, Taken(frame, proof, at[1]))

    def _holder_node(self, address: int, longest: float) -> str:
        """The node of a task that somebody waits for."""
        known = self._node_of.get(address)
        if known is not None:
            return known
        task = self._tasks.by_address.get(address)
        node = self._gone(address, longest) if task is None else self._holder(task, longest)
        self._graph.add(node)
        self._node_of[address] = node.id
        return node.id

    def _holder(self, task: Task, longest: float) -> Node:
        wait = self._waits.by_task.get(task.address)
        frames = self._frames(task.address)
        functions = tuple(frame.function or "?" for frame in frames)
        frame = _guilty(frames)
        doing, state = self._state(task, wait)
        reused = self._younger(task, longest) or _only_sleeps(
            functions, arch_of(self._prog).syscall_entry
        )
        label = f"{task.comm} ({task.pid})"
        if reused:
            label, state = EXITED, f"its task_struct is now that of {label}"
            frame, functions = None, ()
        node = Node(
            task_node(task.address),
            NodeKind.TASK,
            label,
            state,
            wait.since.longest if wait is not None else None,
            None if reused else task.pid,
            None if reused else task.comm,
            frame.function if frame else None,
            frame.module if frame else None,
            task.address,
            stack=functions,
            doing=Doing.GONE if reused else doing,
        )
        if wait is not None:
            self._result.by_node.setdefault(node.id, wait)
        return node

    def _younger(self, task: Task, longest: float) -> bool:
        """Whether the task began after the wait for it: its memory was another task's then."""
        now = self._waits.clock.now
        if now is None or not longest:
            return False
        started = self._waits.clock.since(task).started
        return started is not None and started > now - longest + 0.5

    def _state(self, task: Task, wait: Wait | None) -> tuple[Doing, str]:
        if task.state in "ZX":
            return Doing.GONE, "has exited"
        if task.on_cpu:
            return Doing.RUNS, f"running on CPU {task.cpu}"
        if task.state in "Tt":
            return Doing.STOPPED, "stopped"
        if wait is not None and wait.kind is not WaitKind.PREEMPTED:
            return _waiting_state(wait)
        if task.state == "R":
            return Doing.RUNS, "runnable, waits for a CPU"
        return Doing.WAITS, task.state

    def _gone(self, address: int, longest: float) -> Node:
        """An owner that is on no list of tasks: it has exited, or the word is no owner."""
        try:
            old, _raw = TaskReader(self._prog).read(address)
        except damage():
            return Node(
                task_node(address),
                NodeKind.UNKNOWN,
                f"owner {address:#x}",
                "no task is there, or its memory is not in the dump",
                address=address,
            )
        label, pid, comm = EXITED, None, None
        named = 0 < old.pid < 1 << 22 and bool(old.comm) and old.comm.isprintable()
        if named and not self._younger(old, longest):
            label, pid, comm = f"{old.comm} ({old.pid})", old.pid, old.comm
        if not self._tasks.complete:
            return Node(
                task_node(address),
                NodeKind.UNKNOWN,
                label if pid is not None else f"owner {address:#x}",
                "not among the tasks that could be read: whether it has exited is not known",
                pid=pid,
                comm=comm,
                address=address,
            )
        return Node(
            task_node(address),
            NodeKind.TASK,
            label,
            "has exited: it is on no list of tasks",
            pid=pid,
            comm=comm,
            address=address,
            doing=Doing.GONE,
        )


def _waiting_state(wait: Wait) -> tuple[Doing, str]:
    """``sleeping in msleep``, ``D in __flush_work``: the machinery that it waits in."""
    machinery = wait.shape.frames[max(0, wait.caller - 1)].function or "?"
    if is_scheduler(machinery):
        machinery = wait.shape.frames[wait.caller].function or "?"
    machinery = machinery.partition(".")[0]
    if wait.kind is WaitKind.SLEEP:
        return Doing.SLEEPS, f"sleeping in {machinery}"
    return Doing.WAITS, f"{wait.task.state} in {machinery}"


def _guilty(frames: Sequence[Frame]) -> Frame | None:
    """The function that a task is in, without the machinery below it."""
    own = [frame for frame in frames if frame.segment == "task" and frame.function]
    return guilty_frame(own, Kind.HUNG_TASK) or (own[0] if own else None)


def _object_id(wait: Wait) -> str:
    if wait.address is not None:
        return f"{'lock' if wait.kind in LOCKS else 'object'}:{wait.address:x}"
    if wait.name:
        return f"object:{wait.name}"
    return f"unknown:{wait.task.address:x}"
