"""Which waits are trouble, and what is said of it: graphs made by hand."""

from __future__ import annotations

import itertools

import pytest

from postmortem.graph.model import Doing, Edge, EdgeKind, Graph, Node, NodeKind
from postmortem.judge.hangs import Facts, hangs, troubles
from postmortem.model.findings import Confidence, Finding, Kind, TaskRef
from postmortem.model.result import Input
from postmortem.plugin import Context
from tests.judge import made

CERTAIN, LIKELY = Confidence.CERTAIN, Confidence.LIKELY


def task(name: str, seconds: float, **more: object) -> Node:
    return Node(name, NodeKind.TASK, name, "D", seconds, pid=len(name), comm=name,
                function=f"{name}_run", **more)  # type: ignore[arg-type]  # fmt: skip


def lock(name: str) -> Node:
    return Node(name, NodeKind.LOCK, f"mutex {name}")


def graph(*nodes: Node, waits: str, sure: Confidence = CERTAIN) -> Graph:
    """*waits* is ``"a>m>b"``: a waits for m, which b holds."""
    found = Graph()
    for node in nodes:
        found.add(node)
    for chain in waits.split():
        names = chain.split(">")
        for source, target in itertools.pairwise(names):
            waiting = found.nodes[source].kind is NodeKind.TASK
            kind = EdgeKind.WAITS if waiting else EdgeKind.HELD
            found.link(Edge(source, target, kind, CERTAIN if waiting else sure))
    return found


def told(found: Graph) -> Finding:
    ctx = Context.given(Input("x", "log", "text", 1, True))
    (finding,) = hangs(ctx, Facts(found))
    return finding


def circle(left: float, right: float, sure: Confidence = CERTAIN, hung: bool = False) -> Graph:
    return graph(
        task("left", left, hung=hung), task("right", right), lock("one"), lock("two"),
        waits="left>two>right>one>left", sure=sure,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("left", "right", "count"), [(30, 30, 1), (1.0, 30, 1), (0.9, 30, 0), (30, 0.9, 0)]
)
def test_circle_is_a_deadlock_once_its_youngest_wait_is_a_second_old(
    left: float, right: float, count: int
) -> None:
    assert len(troubles(Facts(circle(left, right)))) == count


def test_circle_over_a_guess_is_none_before_somebody_hangs() -> None:
    assert troubles(Facts(circle(30, 30, LIKELY))) == []
    assert len(troubles(Facts(circle(30, 30, LIKELY, hung=True)))) == 1


def test_deadlock_names_all_in_the_circle() -> None:
    finding = told(circle(30, 40))
    assert finding.kind is Kind.DEADLOCK
    assert finding.confidence is CERTAIN
    for name in ("left", "right", "mutex one", "mutex two"):
        assert name in finding.explanation
    assert "2 tasks hang, the longest for more than 40.0 s." in finding.explanation


def test_deadlock_says_who_holds_what() -> None:
    assert "left holds mutex one and waits for mutex two" in told(circle(30, 40)).explanation


def behind() -> Graph:
    """``first`` and ``second`` wait for a lock of ``keeper``, which waits for an event."""
    event = Node("event", NodeKind.UNKNOWN, "completion, which one is not known")
    return graph(
        task("first", 200, hung=True), task("second", 190, hung=True),
        task("keeper", 150, hung=True), lock("one"), event,
        waits="first>one>keeper>event second>one",
    )  # fmt: skip


def test_the_owner_of_the_lock_stands_in_title_and_verdict() -> None:
    finding = told(behind())
    assert finding.title == "INFO: task hung in first_run"
    assert finding.shown == "INFO: task hung in first_run (behind keeper in keeper_run)"
    said = (
        "first and 1 more wait for mutex one that keeper holds; keeper itself waits in keeper_run()"
    )
    assert said in finding.explanation
    assert finding.culprit.function == "keeper_run"


def test_a_task_alone_is_behind_nobody() -> None:
    event = Node("event", NodeKind.UNKNOWN, "completion, which one is not known")
    finding = told(graph(task("only", 200, hung=True), event, waits="only>event"))
    assert finding.shown == ""
    assert "itself" not in finding.explanation


def test_task_that_waits_for_itself() -> None:
    finding = told(graph(task("only", 30), lock("one"), waits="only>one>only"))
    assert "waits for mutex one, which it holds itself" in finding.explanation


def test_wait_that_nobody_calls_long_is_no_trouble() -> None:
    young = graph(task("waiter", 500), lock("one"), task("holder", 1), waits="waiter>one>holder")
    assert troubles(Facts(young)) == []


def test_holder_is_the_culprit_and_not_who_waits() -> None:
    found = told(
        graph(task("waiter", 130, hung=True), lock("one"), task("holder", 1),
              waits="waiter>one>holder")
    )  # fmt: skip
    assert found.kind is Kind.HUNG_TASK
    assert found.culprit.function == "holder_run"
    assert found.culprit.task == TaskRef(len("holder"), "holder")
    assert "At the root holder holds mutex one" in found.explanation


def test_what_a_dead_task_holds_is_trouble_at_once() -> None:
    def held_by(sure: Confidence, exited: bool) -> Graph:
        doing = Doing.GONE if exited else Doing.WAITS
        return graph(task("waiter", 0.1), lock("one"), task("dead", 0, doing=doing),
                     waits="waiter>one>dead", sure=sure)  # fmt: skip

    assert len(troubles(Facts(held_by(CERTAIN, True)))) == 1
    assert troubles(Facts(held_by(LIKELY, True))) == []
    assert troubles(Facts(held_by(CERTAIN, False))) == []


def test_a_guessed_holder_is_only_likely() -> None:
    found = told(
        graph(task("waiter", 130, hung=True), lock("one"), task("holder", 1),
              waits="waiter>one>holder", sure=LIKELY)
    )  # fmt: skip
    assert found.confidence is LIKELY
    assert "most likely holds" in found.explanation


def test_silent_device_is_an_io_error() -> None:
    disk = Node("device:zd", NodeKind.DEVICE, "device zd", "one request in flight")
    found = told(graph(task("waiter", 130, hung=True), disk, waits="waiter>device:zd"))
    assert found.kind is Kind.IO_ERROR
    assert "All wait for device zd, which does not answer" in found.explanation
    healthy = Node("device:zd", NodeKind.DEVICE, "device zd")
    assert told(graph(task("w", 130, hung=True), healthy, waits="w>device:zd")).kind is (
        Kind.HUNG_TASK
    )


def test_largest_trouble_comes_first_and_circles_before_all() -> None:
    found = circle(30, 30)
    for node in (lock("three"), task("holder", 1)):
        found.add(node)
    for name in ("w1", "w2x", "w3xx"):
        found.add(task(name, 130, hung=True))
        found.link(Edge(name, "three", EdgeKind.WAITS))
    found.link(Edge("three", "holder", EdgeKind.HELD))
    assert [(bool(item.cycle), item.tasks) for item in troubles(Facts(found))] == [
        (True, 2), (False, 3)
    ]  # fmt: skip


def test_one_task_is_named_where_others_hang_behind_something_else() -> None:
    found = graph(task("zorbd", 130, hung=True), lock("one"), task("holder", 1),
                  waits="zorbd>one>holder")  # fmt: skip
    assert told(found).explanation.startswith("Task zorbd hangs, for more than 2 min 10 s. ")


def test_a_perhaps_is_no_most_likely() -> None:
    found = graph(task("waiter", 130, hung=True), lock("one"), task("holder", 1),
                  waits="waiter>one>holder", sure=Confidence.POSSIBLE)  # fmt: skip
    assert "At the root holder perhaps holds mutex one" in told(found).explanation


@pytest.mark.parametrize(
    ("doing", "state", "said"),
    [
        (Doing.SLEEPS, "sleeping in msleep", "it is sleeping in msleep."),
        (Doing.RUNS, "running on CPU 1", "it is running on CPU 1."),
        (Doing.WAITS, "D in __flush_work", "it is in state D in __flush_work."),
        (Doing.RUNS, "R", "it is in state R."),
        (Doing.GONE, "has exited: it is on no list of tasks", "it has exited."),
        (Doing.UNKNOWN, "", "it does something that is not known."),
    ],
)
def test_what_the_root_does(doing: Doing, state: str, said: str) -> None:
    holder = Node("holder", NodeKind.TASK, "holder", state, 1, doing=doing)
    found = graph(task("waiter", 130, hung=True), lock("one"), holder, waits="waiter>one>holder")
    assert told(found).explanation.endswith(said)


def test_stack_of_who_waits_next_to_a_root_that_is_no_task() -> None:
    """The one behind the other is told by its own stack: it alone waits for the root."""
    found = graph(
        task("first", 130, hung=True, stack=("a",)), lock("one"),
        task("middle", 1, stack=("b", "c")),
        Node("dark", NodeKind.UNKNOWN, "rwsem, which one is not known"),
        waits="first>one>middle",
    )  # fmt: skip
    found.link(Edge("middle", "dark", EdgeKind.WAITS))
    stacks = [block.title for block in told(found).blocks if block.title.startswith("Stack of")]
    assert stacks == ["Stack of middle", "Stack of first"]


def test_an_owner_that_no_task_is_at_is_told_by_its_address() -> None:
    gone = Node("gone", NodeKind.UNKNOWN, "owner 0xffff888001234500", "no task is there",
                address=0xFFFF888001234500)  # fmt: skip
    found = graph(task("waiter", 130, hung=True), lock("one"), gone, waits="waiter>one>gone")
    said = told(found).explanation
    assert "mutex one names its owner at 0xffff888001234500, but no task is there." in said


@pytest.mark.parametrize(("seconds", "count"), [(20, 1), (19, 0)])
def test_a_lock_that_is_kept_long_is_why_a_crash_was_asked_for(seconds: int, count: int) -> None:
    facts = Facts(graph(task("waiter", seconds), lock("one"), task("holder", 1),
                        waits="waiter>one>holder"))  # fmt: skip
    assert len(troubles(facts, asked=True)) == count
    assert troubles(facts) == []


@pytest.mark.parametrize(("seconds", "count"), [(None, 0), (3.0, 1), (3.1, 0), (0.0, 1)])
def test_who_asks_says_what_a_hang_is(seconds: float | None, count: int) -> None:
    found = graph(task("slow", 3.0), task("owner", 0.0), lock("m"), waits="slow>m>owner")
    assert len(troubles(Facts(found), seconds=seconds)) == count


HUNG = made.log(
    "INFO: task zorbd:5 blocked for more than 120 seconds.",
    "      Not tainted 6.9.0 #1",
    "task:zorbd           state:D stack:0     pid:5     ppid:2      flags:0x00004000",
    "Call Trace:",
    " <TASK>",
    " __schedule+0x3e0/0x9a0",
    " schedule+0x5a/0xd0",
    " zorb_wait+0x40/0x90 [zorb]",
    " kthread+0xe5/0x120",
    " </TASK>",
)


@pytest.mark.parametrize(
    ("function", "module", "culprit"),
    [
        ("zorb_other", "zorb", ("zorb_other", "zorb")),
        ("schedule", None, ("zorb_wait", "zorb")),  # all that is left of its stack in memory
        ("rt_mutex_schedule", None, ("zorb_wait", "zorb")),
    ],
)
def test_machinery_that_a_task_waits_in_is_not_blamed(
    function: str, module: str | None, culprit: tuple[str, str]
) -> None:
    waiter = Node("waiter", NodeKind.TASK, "zorbd (5)", "D", 130.0, 5, "zorbd", function, module,
                  stack=(function,), hung=True)  # fmt: skip
    found = Graph()
    found.add(waiter)
    found.add(Node("dark", NodeKind.UNKNOWN, "unknown", "no word of it is on its stack"))
    found.link(Edge("waiter", "dark", EdgeKind.WAITS, Confidence.POSSIBLE))
    (finding,) = hangs(made.context(HUNG), Facts(found, from_dump=True))
    assert (finding.culprit.function, finding.culprit.module) == culprit
    assert finding.confidence is not CERTAIN  # nobody saw what it waits for
