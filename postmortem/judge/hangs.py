"""What hangs, behind whom, and what is said of it: from the graph of waits to findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from postmortem.graph.model import (
    Doing,
    Edge,
    EdgeKind,
    Graph,
    Node,
    NodeKind,
    Taken,
    cycles,
    roots,
)
from postmortem.graph.tree import circle, seconds_text, tree
from postmortem.judge.asked import is_asked, noted
from postmortem.judge.reports import (
    HANG_KINDS,
    confidence_of,
    finding_of,
    index_of,
    log_evidence,
    report_id,
    reports_of,
    severity_of,
)
from postmortem.log.link import event_of
from postmortem.model.findings import (
    Block,
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Holds,
    Kind,
    Severity,
    Signature,
    Strength,
    TaskRef,
)
from postmortem.model.frame import Frame
from postmortem.model.report import Report
from postmortem.plugin import Context
from postmortem.rules.blame import is_machinery
from postmortem.rules.kinds import next_steps

_MAX_EDGES = 6
_MAX_TROUBLES = 40
_CROWD = 10
"""So many tasks behind one thing are no chance ..."""
_CROWD_SECONDS = 5.0
"""... once the first has waited so long: a busy lock changes hands in milliseconds."""
_KEPT_SECONDS = 20.0
"""So long nobody keeps a lock on a machine that works."""
_CIRCLE_SECONDS = 1.0
"""Younger circles may be about to dissolve: a ww_mutex gives way by itself."""


@dataclass(frozen=True)
class Facts:
    """The graph, from wherever it came."""

    graph: Graph
    holding: Mapping[str, Taken] = field(default_factory=dict)
    """By node of a task: the frame that took what others wait for, and how we know."""
    now: float | None = None
    """Seconds since boot."""
    from_dump: bool = False


def _from_dump(ctx: Context, reports: list[Report]) -> Facts | None:
    prog = ctx.prog
    if prog is None or not ctx.has_types:
        return None
    from postmortem.kernel.locking.blocking import blocking

    pids = [report.task.pid for report in reports if report.task is not None]
    found = ctx.attempt("who waits for whom", lambda: blocking(prog, pids, log_time(ctx)))
    if found is None:
        return None
    for problem in found.problems:
        ctx.problem(problem.what, problem.why)
    return Facts(found.graph, found.holding, found.waits.clock.now, True)


def _from_log(ctx: Context, reports: list[Report]) -> Facts:
    from postmortem.graph.from_log import log_graph

    # A list of tasks alone is no hang: somebody asked for it.
    wanted = ctx.prog is not None or reports or ctx.named
    return Facts(log_graph(reports, ctx.case.logged_tasks if wanted else ()))


def _referred_to(ctx: Context, reports: list[Report]) -> Iterator[Finding]:
    """Reports that were taken together, but that a panic refers to one by one."""
    referred = _referred(ctx)
    for report in reports:
        if report_id(report) in referred and report_id(report) != _id_of(ctx, reports):
            cause = _id_of(ctx, reports)
            yield finding_of(ctx, report, caused_by=(cause,), severity=Severity.WARNING)


def _told(ctx: Context, report: Report, facts: Facts) -> Finding:
    """What the kernel has said of a task that hangs no more, or of which nothing is known."""
    finding = finding_of(ctx, report)
    if not facts.from_dump or report.is_panic or finding.severity is Severity.FATAL:
        return finding
    return replace(
        finding,
        severity=Severity.WARNING,
        explanation=f"{finding.explanation} By the time of the dump it went on again.",
    )


def read_facts(ctx: Context) -> Facts:
    """Who waits for whom, from memory where there is any, else from the log; read once."""
    found = ctx.memo.get("who waits")
    if found is None:
        reports = reports_of(ctx, HANG_KINDS)
        found = ctx.memo["who waits"] = _from_dump(ctx, reports) or _from_log(ctx, reports)
    facts: Facts = found
    return facts


def hangs(ctx: Context, facts: Facts, seconds: float | None = None) -> Iterator[Finding]:
    """One finding for each trouble, and what the kernel reported beside them.

    :param seconds: what counts as a hang, instead of khungtaskd's timeout.
    """
    reports = reports_of(ctx, HANG_KINDS)
    used: set[int] = set()
    found = troubles(facts, asked=ctx.named or is_asked(ctx), seconds=seconds)
    if len(found) > _MAX_TROUBLES:
        ctx.problem("hangs", f"{len(found)} of them: the largest {_MAX_TROUBLES} are shown")
    for trouble in found[:_MAX_TROUBLES]:
        mine = [
            report
            for report in reports
            if report.line not in used
            and not report.is_panic
            and _concerns(report, trouble, facts.graph)
        ]
        used |= {report.line for report in mine}
        finding = _finding(ctx, facts, trouble, mine)
        noted(ctx, finding.id, trouble.tasks, facts.graph.nodes[trouble.root].stack)
        yield finding
        yield from _referred_to(ctx, mine)
    for report in reports:
        if report.line not in used:
            yield _told(ctx, report, facts)


@dataclass(frozen=True)
class Trouble:
    """A root, or a circle, and the tasks that hang on it."""

    root: str
    """Id of the node; for a circle, of the task that closed it."""
    cycle: tuple[Edge, ...]
    blocked: tuple[Node, ...]
    """Tasks that can't go on, the longest wait first."""

    @property
    def tasks(self) -> int:
        """How many tasks hang, with all members of convoys."""
        return sum(node.count for node in self.blocked)


def troubles(facts: Facts, *, asked: bool = False, seconds: float | None = None) -> list[Trouble]:
    """Everything that hangs for too long, the largest trouble first.

    :param asked: Somebody asked for the crash: a crowd behind one thing is why, also
        where no task has waited as long as khungtaskd would let it.
    :param seconds: A task that has waited so long hangs, and only such a one.
    """
    graph = facts.graph
    result = []
    for cycle in cycles(graph):
        members = {edge.source for edge in cycle}
        tasks = graph.tasks(members | graph.blocked_by(members))
        inner = graph.tasks(members)
        young = min((node.seconds or 0.0 for node in inner), default=0.0) < _CIRCLE_SECONDS
        unsure = any(edge.confidence is not Confidence.CERTAIN for edge in cycle)
        if not inner or young or (unsure and not any(node.hung for node in tasks)):
            continue
        result.append(Trouble(inner[-1].id, cycle, tuple(tasks)))
    for root in roots(graph):
        tasks = graph.tasks(graph.blocked_by([root]))
        # What a dead task holds is never given back, however short the wait is yet.
        lost = graph.nodes[root].exited and any(
            edge.confidence is Confidence.CERTAIN for edge in graph.into(root)
        )
        slow = asked and (_crowd(tasks) or _long_kept(graph, root, tasks))
        slow = slow or any(node.hung for node in tasks)
        if seconds is not None:
            slow = any((node.seconds or 0.0) >= seconds for node in tasks)
        if lost or slow:
            result.append(Trouble(root, (), tuple(tasks)))
    result = _merged(graph, result)
    result.sort(key=lambda item: (not item.cycle, -item.tasks))
    return result


def _crowd(tasks: Sequence[Node]) -> bool:
    longest = max((node.seconds or 0.0 for node in tasks), default=0.0)
    return sum(node.count for node in tasks) >= _CROWD and longest >= _CROWD_SECONDS


def _long_kept(graph: Graph, root: str, tasks: Sequence[Node]) -> bool:
    """A lock that a known task keeps so long that people lose patience."""
    sure = any(e.kind.holds and e.confidence is Confidence.CERTAIN for e in graph.into(root))
    return sure and max((node.seconds or 0.0 for node in tasks), default=0.0) >= _KEPT_SECONDS


def _merged(graph: Graph, troubles: list[Trouble]) -> list[Trouble]:
    """One trouble of all tasks that wait in one way, each for an event of its own."""
    found: dict[tuple[object, ...], list[Trouble]] = {}
    for trouble in troubles:
        root = graph.nodes[trouble.root]
        key: tuple[object, ...] = (trouble.root, trouble.cycle)
        if not trouble.cycle and root.kind in (NodeKind.EVENT, NodeKind.UNKNOWN):
            key = (root.kind, trouble.blocked[0].function, trouble.blocked[0].stack)
        found.setdefault(key, []).append(trouble)
    return [
        replace(alike[0], blocked=tuple(node for one in alike for node in one.blocked))
        for alike in found.values()
    ]


def log_time(ctx: Context) -> float | None:
    return next((record.time for record in reversed(ctx.records) if record.time is not None), None)


def _concerns(report: Report, trouble: Trouble, graph: Graph) -> bool:
    pid = report.task.pid if report.task is not None else None
    return any(node.pid == pid for node in trouble.blocked) or (
        any(node.count > 1 for node in trouble.blocked)
        and any(node.count > 1 and node.function == report.function for node in trouble.blocked)
    )


def _referred(ctx: Context) -> set[str]:
    """Ids of the findings that a later report, a panic, is said to come from."""
    return {f"log-{line}" for line in index_of(ctx).consequences}


def _id_of(ctx: Context, reports: list[Report]) -> str:
    referred = _referred(ctx)
    chosen = next((r for r in reports if report_id(r) in referred), reports[0])
    return report_id(chosen)


# --- one finding ------------------------------------------------------------------


def _finding(ctx: Context, facts: Facts, trouble: Trouble, reports: list[Report]) -> Finding:
    graph = facts.graph
    first = trouble.blocked[0]
    root = graph.nodes[trouble.root]
    kind = Kind.DEADLOCK if trouble.cycle else Kind.HUNG_TASK
    if root.kind is NodeKind.DEVICE and root.state:
        kind = Kind.IO_ERROR
    culprit = _culprit(facts, trouble, reports)
    lines = circle(graph, trouble.cycle) if trouble.cycle else tree(graph, trouble.root)
    finding = Finding(
        id=_id_of(ctx, reports) if reports else f"hung-{trouble.root}",
        kind=kind,
        severity=_severity(ctx, reports),
        confidence=_confidence(graph, trouble, reports),
        title=_title(graph, trouble, reports, first),
        shown=_shown(graph, trouble, reports, first),
        explanation=_explanation(facts, trouble),
        evidence=(
            *_evidence(facts, trouble),
            *(item for report in reports[:1] for item in log_evidence(report)),
        ),
        culprit=culprit,
        caused_by=_died_of(ctx, facts, root),
        next_steps=_next_steps(facts, trouble, culprit),
        signature=reports[0].signature if reports else _signature(first),
        blocks=(Block("Who waits for whom", lines, holds=Holds.WAITS), *_stacks(graph, trouble)),
        log_line=reports[0].line if reports else None,
        time=reports[0].time if reports else _began(facts, trouble),
        behind=_behind(graph, trouble),
    )
    return finding


_DISK = re.compile(
    r"device ((?:nvme|mmcblk|xvd|vd|sd|dm|md|nbd|rbd|loop|zram|drbd|pmem))(?=[a-z\d-])"
)


def _driver(label: str) -> str:
    """What stands for its driver in the name of a disk: the letters before its number."""
    found = _DISK.match(label)
    return found[1] if found else "of another kind"


def _behind(graph: Graph, trouble: Trouble) -> str:
    """What the stack of who hangs does not tell: two bugs may wait at the same place.

    Of a circle any member may be reported first, behind a device anybody may wait.
    """
    if trouble.cycle:
        names = {node.function for node in _cycle_tasks(graph, trouble) if node.function}
        return f"circle of {', '.join(sorted(names))}" if len(names) > 1 else ""
    root = graph.nodes[trouble.root]
    if root.kind is NodeKind.DEVICE and root.state:
        how = "suspended" if root.state.startswith("suspended") else "without an answer"
        return f"device {_driver(root.label)} {how}"
    if root.kind is NodeKind.TASK and root.doing is Doing.STOPPED:
        return "owner stopped"
    return "owner exited" if root.exited else ""


def _began(facts: Facts, trouble: Trouble) -> float | None:
    """When the longest wait began, in seconds since boot."""
    now = facts.now
    longest = max((node.seconds or 0.0 for node in trouble.blocked), default=0.0)
    return None if now is None else max(0.0, now - longest)


def _severity(ctx: Context, reports: list[Report]) -> Severity:
    if any(severity_of(ctx, report) is Severity.FATAL for report in reports):
        return Severity.FATAL
    return Severity.ERROR


def _signature(node: Node) -> Signature:
    from postmortem.rules.blame import signature

    frames = [Frame(name) for name in node.stack]
    return signature(Kind.HUNG_TASK, node.function, frames)


def _confidence(graph: Graph, trouble: Trouble, reports: list[Report]) -> Confidence:
    """As sure as the least sure step from the longest wait to the root."""
    if graph.nodes[trouble.root].kind is NodeKind.UNKNOWN:
        # That it hangs is certain; behind what is not seen.
        told = confidence_of(reports[0]) if reports else Confidence.LIKELY
        return max(told, Confidence.LIKELY, key=list(Confidence).index)
    edges = trouble.cycle or _path(graph, trouble)
    steps = [edge.confidence for edge in edges] or [Confidence.LIKELY]
    if graph.nodes[trouble.root].kind in (NodeKind.EVENT, NodeKind.LOCK) and not trouble.cycle:
        steps.append(Confidence.LIKELY)  # who should end the wait is not seen
    return max(steps, key=list(Confidence).index)


def _path(graph: Graph, trouble: Trouble) -> tuple[Edge, ...]:
    """The shortest way from the task that waits longest to the root."""
    start = next((node for node in trouble.blocked if node.hung), trouble.blocked[0]).id
    came: dict[str, Edge] = {}
    pending = [start]
    while pending:
        following: list[str] = []
        for node in pending:
            for edge in graph.out(node):
                if edge.target in came or edge.target == start:
                    continue
                came[edge.target] = edge
                following.append(edge.target)
        if trouble.root in came:
            path = [came[trouble.root]]
            while path[-1].source != start:
                path.append(came[path[-1].source])
            return tuple(reversed(path))
        pending = following
    return ()


def _culprit(facts: Facts, trouble: Trouble, reports: list[Report]) -> Culprit:
    root = facts.graph.nodes[trouble.root]
    if trouble.cycle and reports:
        # All in a circle are equally to blame: name the one that the kernel named.
        tasks = _cycle_tasks(facts.graph, trouble)
        root = next((node for node in tasks if node.function == reports[0].function), root)
    if root.kind is NodeKind.DEVICE and root.state:
        return Culprit()  # who waits for a disk is its victim
    if root.kind is not NodeKind.TASK:
        # Nobody is known who could end the wait: who waits is all there is to blame.
        return _who_waits(_last_waiter(facts.graph, trouble), reports)
    held = facts.holding.get(root.id)
    if held is not None and not trouble.cycle:
        return Culprit(held.frame.function, held.frame.module, task=_ref(root))
    return Culprit(root.function, root.module, task=_ref(root))


def _who_waits(waiter: Node, reports: list[Report]) -> Culprit:
    """By the function it waits in, or that the log names where its stack shows only machinery.

    Who waits for I/O has asked a device, which does not answer: no code that waits is to blame.
    """
    told = [r for r in reports if r.task is not None and r.task.pid == waiter.pid]
    if any(event_of(report).waits_io for report in told):
        return Culprit(task=_ref(waiter))
    function, module = waiter.function, waiter.module
    if function is not None and module is None and is_machinery(function):
        named = [r for r in told if r.function is not None and not is_machinery(r.function)]
        function = named[0].function if named else None
        module = named[0].module if named else None
    return Culprit(function, module, task=_ref(waiter))


def _last_waiter(graph: Graph, trouble: Trouble) -> Node:
    """The task next to a root that is none: behind the others, it alone waits for the root."""
    into = [graph.nodes[edge.source] for edge in graph.into(trouble.root)]
    last = [node for node in into if node.kind is NodeKind.TASK]
    hung = next((node for node in trouble.blocked if node.hung), trouble.blocked[0])
    return hung if hung in last or not last else last[0]


def _ref(node: Node) -> TaskRef | None:
    return None if node.pid is None or node.comm is None else TaskRef(node.pid, node.comm)


def _title(graph: Graph, trouble: Trouble, reports: list[Report], first: Node) -> str:
    title = reports[0].title if reports else f"INFO: task hung in {first.function or '?'}"
    if trouble.cycle:
        names = [node.label for node in _cycle_tasks(graph, trouble)]
        how = "with itself" if len(names) == 1 else "of " + ", ".join(names)
        return f"{title} (deadlock {how})"
    return title


def _shown(graph: Graph, trouble: Trouble, reports: list[Report], first: Node) -> str:
    """The title with the task that the one in it waits for, where that is known."""
    if trouble.cycle:
        return ""
    root = graph.nodes[trouble.root]
    last = root if root.kind is NodeKind.TASK else _last_waiter(graph, trouble)
    task = reports[0].task if reports else None
    if last.kind is not NodeKind.TASK or last.pid in (None, task.pid if task else first.pid):
        return ""
    where = f" in {last.function}" if last.function else ""
    return f"{_title(graph, trouble, reports, first)} (behind {last.label}{where})"


def _cycle_tasks(graph: Graph, trouble: Trouble) -> list[Node]:
    return [
        graph.nodes[edge.source]
        for edge in trouble.cycle
        if graph.nodes[edge.source].kind is NodeKind.TASK
    ]


def _explanation(facts: Facts, trouble: Trouble) -> str:
    graph = facts.graph
    text = _how_many(trouble, facts)
    if trouble.cycle:
        return text + _circle_words(graph, trouble)
    root = graph.nodes[trouble.root]
    if root.kind is NodeKind.DEVICE and root.state:
        into = graph.into(root.id)
        all_sure = all(edge.confidence is Confidence.CERTAIN for edge in into)
        who = "All wait" if all_sure else "Perhaps all wait"
        return f"{text}{who} for {root.label}, which does not answer: {root.state}."
    if root.kind is NodeKind.UNKNOWN and root.address is not None:
        lock = graph.nodes[graph.into(root.id)[0].source].label
        return f"{text}{lock} names its owner at {root.address:#x}, but {root.state}."
    if root.kind is NodeKind.UNKNOWN:
        where = "the dump does not show" if facts.from_dump else "the log does not say"
        kind = root.label.partition(",")[0]
        last = _last_waiter(graph, trouble)
        others = _others_words(graph, last)
        place = f" in {last.function}()" if others and last.function else ""
        also = "itself " if others else ""
        return f"{text}{others}{last.label} {also}waits{place} for {_article(kind)}; {where} which."
    if root.kind is not NodeKind.TASK:
        edge = graph.into(root.id)[0]
        waiter = graph.nodes[edge.source].label
        state = f" ({root.state})" if root.state else ""
        own = trouble.tasks > sum(waiting(graph, graph.into(root.id)))
        each = "Each waits for one of its own in the same way: " if own else ""
        source = "dump" if facts.from_dump else "log"
        return (
            f"{text}{each}{waiter} waits for {root.label}{state};"
            f" the {source} does not say who should end this wait."
        )
    held = facts.holding.get(root.id)
    first, *more = graph.into(root.id)
    what = [graph.nodes[e.source].label for e in (first, *more) if e.kind is first.kind]
    does = _DOES.get(first.kind, "holds")
    text += f"At the root {root.label} {sureness(first.confidence)}{does} {', '.join(what[:3])}"
    if held is not None and does == "holds":
        text += f", {'' if held.sure else 'most likely '}taken in {held.frame.function}()"
    if root.exited and root.pid is None and root.label == root.state:
        return f"{text}: nobody gives it back."
    return f"{text}; it {_doing(root)}."


def _others_words(graph: Graph, task: Node) -> str:
    """What the others wait for that a task holds which waits for something else itself."""
    edges = [edge for edge in graph.into(task.id) if edge.kind.holds]
    if not edges:
        return ""
    edge = max(edges, key=lambda edge: sum(waiting(graph, graph.into(edge.source))))
    behind = graph.into(edge.source)
    count = sum(waiting(graph, behind))
    if not count:
        return ""
    first = graph.nodes[behind[0].source].label
    who = first if count == 1 else f"{first} and {count - 1} more"
    return (
        f"{who} {'waits' if count == 1 else 'wait'} for {graph.nodes[edge.source].label} that"
        f" {task.label} {sureness(edge.confidence)}holds; "
    )


def sureness(confidence: Confidence) -> str:
    """The word before the verb."""
    return {Confidence.LIKELY: "most likely ", Confidence.POSSIBLE: "perhaps "}.get(confidence, "")


def _how_many(trouble: Trouble, facts: Facts) -> str:
    """Who hangs; one task is named, since others may hang behind something else.

    khungtaskd says only that a task waits for more than so many seconds.
    """
    least = "" if facts.from_dump else "more than "
    count = trouble.tasks
    seconds = max((node.seconds or 0.0 for node in trouble.blocked), default=0.0)
    longest = seconds_text(seconds)
    if count == 1:
        return (
            f"Task {trouble.blocked[0].label} hangs{f', for {least}{longest}' if seconds else ''}. "
        )
    return f"{count} tasks hang{f', the longest for {least}{longest}' if seconds else ''}. "


def _article(kind: str) -> str:
    if kind == "unknown":
        return "something"
    return f"{'an' if kind[0] in 'aeiouAEIORS' else 'a'} {kind}"


def _doing(root: Node) -> str:
    if root.doing is Doing.GONE:
        return root.state.partition(":")[0] or "has exited"
    if root.doing is Doing.UNKNOWN or not root.state:
        return "does something that is not known"
    # Of a task in a log only the letter is known.
    by_letter = root.doing is Doing.WAITS or len(root.state) == 1
    return f"is in state {root.state}" if by_letter else f"is {root.state}"


def _circle_words(graph: Graph, trouble: Trouble) -> str:
    names = [node.label for node in _cycle_tasks(graph, trouble)]
    locks = [
        graph.nodes[edge.source].label
        for edge in trouble.cycle
        if graph.nodes[edge.source].kind is not NodeKind.TASK
    ]
    if len(names) == 1:
        return f"{names[0]} waits for {', '.join(locks)}, which it holds itself."
    steps = []
    for before, edge in zip((trouble.cycle[-1], *trouble.cycle), trouble.cycle, strict=False):
        node = graph.nodes[edge.source]
        if node.kind is NodeKind.TASK:
            has = f"holds {graph.nodes[before.source].label} and " if before.kind.holds else ""
            steps.append(f"{node.label} {has}{edge.kind} {graph.nodes[edge.target].label}")
    return f"{', '.join(names)} wait for each other in a circle: {'; '.join(steps)}."


def _evidence(facts: Facts, trouble: Trouble) -> Iterator[Evidence]:
    graph = facts.graph
    for edge in (trouble.cycle or _path(graph, trouble))[:_MAX_EDGES]:
        source, target = graph.nodes[edge.source], graph.nodes[edge.target]
        where = f"task {source.pid}" if source.pid is not None else f"{source.address or 0:#x}"
        said = f"{source.label} {_verb(edge, source)} {_object(target)}"
        if facts.from_dump:
            proof = f": {edge.proof}" if edge.proof else ""
            yield Evidence(said + proof, where, Strength.SHOWN)
        else:
            yield Evidence(said, edge.proof or where)
    held = facts.holding.get(trouble.root)
    if held is not None:
        place = f"{held.frame.function}+{held.frame.offset or 0:#x}"
        yield Evidence(held.proof, place, Strength.PROOF if held.sure else Strength.SHOWN)


def _object(target: Node) -> str:
    """What is waited for, within a sentence."""
    kind, comma, rest = target.label.partition(", ")
    return (
        f"{_article(kind)} ({rest})" if target.kind is NodeKind.UNKNOWN and comma else target.label
    )


def _verb(edge: Edge, source: Node) -> str:
    if edge.kind is EdgeKind.WAITS and source.seconds is not None:
        waited = seconds_text(source.seconds)
        if source.count > 1:  # their label says where
            return f"have waited up to {waited} for"
        where = f" in {source.function}()" if source.function else ""
        return f"has waited {waited}{where} for"
    return str(edge.kind) if edge.kind in _PLAIN_VERBS else f"is {edge.kind}"


_PLAIN_VERBS = (EdgeKind.WAITS, EdgeKind.ENDS, EdgeKind.NEEDS, EdgeKind.PERHAPS_NEEDS)
_DOES = {
    EdgeKind.EXECUTED: "executes",
    EdgeKind.ENDS: "is to end:",
    EdgeKind.ANSWERED: "must answer a",
    EdgeKind.COMMITTED: "commits",
}
"""What a root does with what others wait for, where it does not hold it."""


def _died_of(ctx: Context, facts: Facts, root: Node) -> tuple[str, ...]:
    """A task that died of an Oops with a lock in its hands."""
    from postmortem.judge.left_locks import owner_by_code

    report = index_of(ctx).deadly_of.get(root.pid) if root.pid is not None else None
    if report is None and root.exited and root.pid is None:
        report = owner_by_code(ctx, facts).get(root.id)
    return () if report is None else (report_id(report),)


def _next_steps(facts: Facts, trouble: Trouble, culprit: Culprit) -> tuple[str, ...]:
    root = facts.graph.nodes[trouble.root]
    if trouble.cycle:
        return (_order(facts.graph, trouble),)
    if root.kind is NodeKind.DEVICE:
        return (
            f"Look at {root.label}: its driver's messages in the log, the host or the storage"
            " behind it, or who suspended it.",
        )
    if root.kind is NodeKind.UNKNOWN:
        return next_steps(Kind.HUNG_TASK)
    if root.kind is not NodeKind.TASK:
        return (f"Find who should have ended the wait: {root.label}.",)
    if root.exited:
        place = f"{culprit.function}()" if culprit.function else "the function that took the lock"
        return (f"Find the way out of {place} that does not give the lock back.",)
    place = f" in {culprit.function}()" if culprit.function else ""
    held = [facts.graph.nodes[edge.source].label for edge in facts.graph.into(root.id)]
    others = f": the others wait for {held[0]}" if held else ""
    return (f"Find out why {root.label} does not go on{place}{others}.",)


def _order(graph: Graph, trouble: Trouble) -> str:
    """What breaks a circle, with the functions and locks that are in it."""
    tasks = _cycle_tasks(graph, trouble)
    names = list(dict.fromkeys(f"{node.function}()" for node in tasks if node.function))
    where = f" in {', '.join(names)}" if names else " everywhere"
    if len(tasks) == 1:
        return f"Find the way{where} on which the lock is taken twice."
    return f"Take the locks in one order{where}, or give one back before taking the other."


def _stacks(graph: Graph, trouble: Trouble) -> Iterator[Block]:
    """Of the root, or of who waits for it where it is no task, and of the longest wait."""
    if trouble.cycle:
        shown = _cycle_tasks(graph, trouble)
    else:
        root = graph.nodes[trouble.root]
        first = next((node for node in trouble.blocked if node.hung), trouble.blocked[0])
        shown = [root if root.kind is NodeKind.TASK else _last_waiter(graph, trouble), first]
    for node in {node.id: node for node in shown[:4]}.values():
        if node.stack:
            yield Block(f"Stack of {node.label}", node.stack, holds=Holds.STACK)


def waiting(graph: Graph, edges: Iterable[Edge]) -> list[int]:
    """How many tasks stand behind each edge."""
    return [graph.nodes[edge.source].count for edge in edges]
