"""The graph as far as a log tells it: blocker lines, lockdep's lists, task lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from postmortem.graph.model import Doing, Edge, EdgeKind, Graph, Node, NodeKind
from postmortem.log.blocked import LoggedTask
from postmortem.model.findings import Confidence, Kind
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.rules.blame import guilty_frame, plain
from postmortem.rules.waits import LOCKS, How, WaitKind

# debug_show_blocker() in kernel/hung_task.c, since v6.16: a mutex, a semaphore that was
# "likely last held by", an rw-semaphore with <reader> or <writer> behind the pids.
_BLOCKER = re.compile(
    r"INFO: task .{1,64}:\d+ (?:<\w{1,16}> )?(?:is )?blocked on an? (?P<lock>[\w-]{1,32})"
    r"(?: likely (?:owned|last held) by task (?P<comm>.{1,64}):(?P<pid>\d+))?"
)
_RWSEM = (WaitKind.RWSEM_READ, WaitKind.RWSEM_WRITE)
_FAULTS = frozenset(
    {
        "do_user_addr_fault",
        "lock_mm_and_find_vma",
        "do_page_fault",
        "__do_page_fault",
        "do_exception_handler",
        "handle_page_fault",
    }
)
"""They take the mmap_lock of the task that faults, and no other rwsem."""
_MAPS = re.compile(
    r"_*do_mprotect_pkey|_*vm_munmap|vm_mmap_pgoff|vm_brk_flags|_*do_sys_(?:munmap|mremap|brk)"
    r"|_*\w{3,8}_sys_(?:munmap|mremap|brk|mprotect|remap_file_pages)|(?:do_)?madvise\w*|do_mlock"
    r"|_*mm_populate"
)
"""System calls that change the map of the task's own process: each takes its mmap_lock itself."""
_OTHERS_MM = re.compile(r"_*access_remote_vm|m_start|smaps_\w+|process_vm_rw\w*|task_mmu\w*")
"""They take the mmap_lock of the process that they look at."""
_DOING = {
    "R": Doing.RUNS,
    "S": Doing.WAITS,
    "D": Doing.WAITS,
    "T": Doing.STOPPED,
    "t": Doing.STOPPED,
    "X": Doing.GONE,
    "Z": Doing.GONE,
}
"""By the letter of a task's state."""
_SECONDS = re.compile(r"for more than (?P<seconds>\d+) seconds")


def log_graph(reports: Iterable[Report], tasks: Sequence[LoggedTask]) -> Graph:
    """Who waits for whom, by hung-task reports and task lists."""
    graph = Graph()
    shown = {task.pid: task for task in tasks}
    # khungtaskd's panic over a hung task is none itself.
    hung = [
        r for r in reports if r.kind is Kind.HUNG_TASK and r.task is not None and not r.is_panic
    ]
    for report in hung:
        _add_report(graph, report)
    # lockdep names the very lock: what a report alone tells of a wait is asked after it.
    _add_held_locks(graph, tasks)
    for report in hung:
        _add_blocker(graph, report, shown)
    for task in tasks:
        if task.state == "D":
            _add_unknown(graph, task)
    return graph


def _add_report(graph: Graph, report: Report) -> None:
    assert report.task is not None
    said = _SECONDS.search(report.text[0]) if report.text else None
    node = Node(
        f"task:{report.task.pid}",
        NodeKind.TASK,
        f"{report.task.comm} ({report.task.pid})",
        "D",
        float(said["seconds"][:9]) if said else None,
        report.task.pid,
        report.task.comm,
        report.function,
        report.module,
        stack=tuple(frame.function or "?" for frame in report.frames if frame.reliable),
        hung=True,
        doing=Doing.WAITS,
    )
    graph.add(node)


def _add_blocker(graph: Graph, report: Report, shown: dict[int, LoggedTask]) -> None:
    """What the kernel says that the task waits for, or only how."""
    assert report.task is not None
    node = graph.nodes[f"task:{report.task.pid}"]
    how = How(node.stack)
    blocker = next((match for text in report.text if (match := _BLOCKER.match(text))), None)
    known = _lock_of(graph, node.id)
    if known is not None and (blocker is None or _has_holder(graph, known)):
        return
    if blocker is not None and blocker["pid"]:
        pid = int(blocker["pid"][:9])
        lock = known or f"lock:{blocker['lock']} of {pid}"
        owner = _task(graph, pid, blocker["comm"], shown)
        where = f"log line {report.line}"
        if known is None:
            article = "an" if blocker["lock"][0] in "aeiou" else "a"
            graph.add(Node(lock, NodeKind.LOCK, f"{article} {blocker['lock']}"))
            graph.link(Edge(node.id, lock, EdgeKind.WAITS, Confidence.CERTAIN, where))
        proof = f"the kernel says so in the report at {where}"
        graph.link(Edge(lock, owner, EdgeKind.LIKELY_HELD, Confidence.LIKELY, proof))
    elif how.primitive in _RWSEM and (whose := _mmap_lock(how, node)) is not None:
        lock = f"mmap_lock:{report.task.pid}"
        label = f"the mmap_lock of {whose} holds"
        graph.add(Node(lock, NodeKind.LOCK, label))
        graph.link(
            Edge(node.id, lock, EdgeKind.WAITS, Confidence.LIKELY, f"log line {report.line}")
        )
    elif how.primitive is not None or how.reason is not None:
        kind = _what(how, node.stack)
        _link_unknown(graph, node.id, kind or WaitKind.UNKNOWN, f"log line {report.line}")


def _mmap_lock(how: How, node: Node) -> str | None:
    """Whose mmap_lock the task waits for, and who holds it; ``None`` if it is another lock."""
    caller = plain(node.stack[how.caller]) if node.stack else ""
    if _FAULTS.intersection(node.stack) or _MAPS.fullmatch(caller):
        return f"its own process, which another thread of {node.label}"
    return (
        "the process that it looks at, which one of its threads"
        if _OTHERS_MM.fullmatch(caller)
        else None
    )


def _lock_of(graph: Graph, task: str) -> str | None:
    """The lock that a task is known to wait for."""
    locks = (e.target for e in graph.out(task) if graph.nodes[e.target].kind is NodeKind.LOCK)
    return next(locks, None)


def _has_holder(graph: Graph, lock: str) -> bool:
    return any(edge.kind.holds for edge in graph.out(lock))


_COMMITS = "jbd2_journal_commit_transaction"


def _what(how: How, stack: Sequence[str]) -> WaitKind | None:
    """What a task waits for; the thread that commits a journal waits for its disk."""
    if _COMMITS in stack and "io_schedule" in stack:
        return WaitKind.IO
    return how.primitive if how.primitive in LOCKS else how.reason or how.primitive


def _task(graph: Graph, pid: int, comm: str, shown: dict[int, LoggedTask]) -> str:
    task = shown.get(pid)
    frame = _guilty(task.frames) if task is not None else None
    node = Node(
        f"task:{pid}",
        NodeKind.TASK,
        f"{comm} ({pid})",
        task.state if task is not None else "",
        None,
        pid,
        comm,
        frame.function if frame else None,
        frame.module if frame else None,
        stack=tuple(f.function or "?" for f in task.frames) if task is not None else (),
        doing=_DOING.get(task.state, Doing.UNKNOWN) if task is not None else Doing.UNKNOWN,
    )
    graph.add(node)
    return node.id


def _guilty(frames: Sequence[Frame]) -> Frame | None:
    return guilty_frame(frames, Kind.HUNG_TASK)


def _add_held_locks(graph: Graph, tasks: Sequence[LoggedTask]) -> None:
    """lockdep lists a lock already when a task begins to wait for it: then it is the last one."""
    waiting: dict[int, str] = {}
    for task in tasks:
        kind = How([frame.function or "?" for frame in task.frames]).primitive
        if task.locks and kind in LOCKS and task.state in "DS":
            waiting[task.pid] = task.locks[-1].address
    wanted = set(waiting.values())
    for task in tasks:
        for lock in task.locks:
            if lock.address not in wanted:
                continue
            node = _task(graph, task.pid, task.comm, {task.pid: task})
            lock_id = f"lock:{lock.address}"
            graph.add(Node(lock_id, NodeKind.LOCK, f"lock {lock.name}", lock.address))
            proof = f"lockdep lists it for the task, taken in {lock.function}"
            if waiting.get(task.pid) == lock.address:
                graph.link(Edge(node, lock_id, EdgeKind.WAITS, Confidence.LIKELY, proof))
            else:
                graph.link(Edge(lock_id, node, EdgeKind.HELD, Confidence.LIKELY, proof))


def _add_unknown(graph: Graph, task: LoggedTask) -> None:
    """A blocked task of a list, of which only the stack is known."""
    node = _task(graph, task.pid, task.comm, {task.pid: task})
    if graph.out(node):
        return
    how = How([frame.function or "?" for frame in task.frames])
    kind = _what(how, [frame.function or "?" for frame in task.frames])
    _link_unknown(graph, node, kind or WaitKind.UNKNOWN, f"log line {task.line}")


def _link_unknown(graph: Graph, node: str, kind: WaitKind, proof: str) -> None:
    if graph.out(node):
        return
    target = f"unknown:{node}"
    graph.add(Node(target, NodeKind.UNKNOWN, f"{kind}, which one is not known"))
    graph.link(Edge(node, target, EdgeKind.WAITS, Confidence.POSSIBLE, proof))
