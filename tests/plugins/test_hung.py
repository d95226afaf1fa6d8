"""The story that `hung` tells of real machines and logs."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

import postmortem
from postmortem.model.findings import Finding, Kind
from postmortem.model.result import Analysis
from tests.conftest import DUMPS

CONSOLES = DUMPS.parent / "console"


@functools.cache
def analysis(path: Path) -> Analysis:
    return postmortem.open(path, debuginfod=False).analyze()


@functools.cache
def dead_holder() -> Finding:
    path = next(DUMPS.glob("6.1-oops-then-sysrq.vmcore*"))
    return next(f for f in analysis(path).findings if f.kind is Kind.HUNG_TASK)


def test_task_that_died_with_a_lock_is_named_with_its_victim() -> None:
    said = " ".join([dead_holder().explanation, *(e.what for e in dead_holder().evidence)])
    for name in ("pm_config_mutex [pm_fault]", "pm_reloader", "trigger", "exited"):
        assert name in said


def test_hang_goes_back_to_the_oops_that_killed_the_holder() -> None:
    path = next(DUMPS.glob("6.1-oops-then-sysrq.vmcore*"))
    verdict = analysis(path).verdict
    assert verdict.finding is not None
    assert dead_holder().caused_by == (verdict.finding,)


def test_tree_begins_with_the_root() -> None:
    block = next(b for b in dead_holder().blocks if b.title == "Who waits for whom")
    assert block.lines[0].startswith("trigger (")
    assert "pm_reloader" in block.lines[2]


@pytest.mark.parametrize("name", ["6.12-null-chain", "7.2-healthy-idle"])
def test_machine_without_a_hang_gets_no_finding_of_one(name: str) -> None:
    findings = analysis(next(DUMPS.glob(f"{name}.vmcore*"))).findings
    assert [f for f in findings if f.kind in (Kind.HUNG_TASK, Kind.DEADLOCK)] == []


@pytest.mark.parametrize(
    ("console", "function"),
    [("6.12-hung-task.log", "pm_wait_for_ever"), ("6.12-mutex-held.log", "pm_config_reload")],
)
def test_log_alone_names_who_hangs(console: str, function: str) -> None:
    path = CONSOLES / console
    if not path.exists():
        pytest.fail(f"{console} is not in the corpus")
    verdict = analysis(path).verdict
    assert (verdict.kind, verdict.culprit.function) == (Kind.HUNG_TASK, function)


def log(tmp_path: Path, *pairs: tuple[str, int, str, int]) -> Path:
    """A log in which each task is blocked by another, in the words of kernel/hung_task.c."""
    lines = []
    for comm, pid, other, other_pid in pairs:
        lines += [
            f"INFO: task {comm}:{pid} blocked for more than 120 seconds.",
            "      Not tainted 6.17.0 #1",
            '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
            f"task:{comm:15} state:D stack:0     pid:{pid} tgid:{pid} ppid:2 flags:0x00004000",
            "Call Trace:",
            " <TASK>",
            " __schedule+0x3bf/0xb40",
            " schedule+0x27/0xd0",
            " __mutex_lock+0x3a4/0x6b0",
            f" {comm}_load+0x15/0x20",
            " kthread+0xfb/0x230",
            " </TASK>",
            f"INFO: task {comm}:{pid} is blocked on a mutex likely owned by task"
            f" {other}:{other_pid}.",
        ]
    path = tmp_path / "dmesg"
    path.write_text("".join(f"[  {100 + n / 1000:.6f}] {line}\n" for n, line in enumerate(lines)))
    return path


def test_two_blocker_lines_that_close_a_circle_are_a_deadlock(tmp_path: Path) -> None:
    verdict = analysis(log(tmp_path, ("left", 20, "right", 21), ("right", 21, "left", 20))).verdict
    assert verdict.kind is Kind.DEADLOCK
    assert verdict.culprit.task is not None
    assert verdict.culprit.task.comm in ("left", "right")


def test_last_in_a_chain_of_blockers_is_to_blame(tmp_path: Path) -> None:
    path = log(tmp_path, ("first", 20, "second", 21), ("second", 21, "third", 22))
    verdict = analysis(path).verdict
    assert verdict.culprit.task is not None
    assert verdict.culprit.task.comm == "third"
    assert verdict.kind is Kind.HUNG_TASK


def test_ten_thousand_tasks_with_an_event_each_are_one_trouble() -> None:
    from postmortem.graph.model import Edge, EdgeKind, Graph, Node, NodeKind
    from postmortem.judge.hangs import Facts, troubles

    graph = Graph()
    for number in range(10_000):
        task, event = f"t{number}", f"e{number}"
        graph.add(Node(task, NodeKind.TASK, task, "D", 500.0, function="f", hung=True))
        graph.add(Node(event, NodeKind.EVENT, f"completion {number}"))
        graph.link(Edge(task, event, EdgeKind.WAITS))
    (trouble,) = troubles(Facts(graph))
    assert trouble.tasks == 10_000


def test_name_of_a_blocker_may_hold_colons(tmp_path: Path) -> None:
    verdict = analysis(log(tmp_path, ("left", 20, "kworker/3:1", 8120))).verdict
    assert verdict.kind is Kind.HUNG_TASK
    assert "kworker/3:1 (8120)" in verdict.summary


def test_page_fault_waits_for_the_mmap_lock_of_its_own_process(tmp_path: Path) -> None:
    lines = [
        "INFO: task zorbd:77 blocked for more than 120 seconds.",
        "task:zorbd           state:D stack:0     pid:77    ppid:2      flags:0x00004000",
        "Call Trace:",
        " <TASK>",
        " __schedule+0x3bf/0xb40",
        " schedule+0x27/0xd0",
        " rwsem_down_read_slowpath+0x32c/0x380",
        " do_user_addr_fault+0x42f/0x670",
        " exc_page_fault+0x68/0x140",
        " </TASK>",
    ]
    path = tmp_path / "dmesg"
    path.write_text("".join(f"[  {100 + n / 1000:.6f}] {line}\n" for n, line in enumerate(lines)))
    summary = analysis(path).verdict.summary
    assert "the mmap_lock of its own process, which another thread of zorbd (77) holds" in summary


@pytest.mark.parametrize(
    ("frames", "lock"),
    [
        (("down_write_killable", "do_mprotect_pkey"), "the mmap_lock of its own process"),
        (("down_write", "__vm_munmap"), "the mmap_lock of its own process"),
        (("down_read_killable", "__access_remote_vm"), "the mmap_lock of the process that it"),
        (("down_write", "zorb_map", "vm_mmap_pgoff"), "a rwsem (write); the log does not say"),
    ],
)
def test_mmap_lock_is_known_by_who_takes_it(
    tmp_path: Path, frames: tuple[str, ...], lock: str
) -> None:
    sleeps = f"rwsem_down_{'read' if 'read' in frames[0] else 'write'}_slowpath"
    lines = [
        "INFO: task zorbd:77 blocked for more than 120 seconds.",
        "task:zorbd           state:D stack:0     pid:77    ppid:2      flags:0x00004000",
        "Call Trace:",
        *(f" {name}+0x27/0xd0" for name in ("__schedule", "schedule", sleeps, *frames, "el0_svc")),
    ]
    path = tmp_path / "dmesg"
    path.write_text("".join(f"[  {100 + n / 1000:.6f}] {line}\n" for n, line in enumerate(lines)))
    assert lock in analysis(path).verdict.summary


def test_crowd_behind_one_lock_is_trouble_when_somebody_asked_for_the_crash() -> None:
    from postmortem.graph.model import Edge, EdgeKind, Graph, Node, NodeKind
    from postmortem.judge.hangs import Facts, troubles

    def facts(tasks: int, seconds: float) -> Facts:
        graph = Graph()
        graph.add(Node("lock", NodeKind.LOCK, "mutex zorb"))
        for number in range(tasks):
            graph.add(Node(f"t{number}", NodeKind.TASK, f"t{number}", "D", seconds, function="f"))
            graph.link(Edge(f"t{number}", "lock", EdgeKind.WAITS))
        return Facts(graph)

    assert len(troubles(facts(10, 25.0), asked=True)) == 1
    assert troubles(facts(10, 25.0)) == []
    assert troubles(facts(9, 25.0), asked=True) == []
    assert troubles(facts(10, 4.0), asked=True) == []


def test_a_reader_and_a_writer_wait_for_each_other_in_a_circle() -> None:
    """pm_walker reads pm_route_sem and wants pm_port_mutex, which pm_remover has."""
    verdict = analysis(next(DUMPS.glob("6.1-deadlock-rwsem.vmcore*"))).verdict
    assert verdict.kind is Kind.DEADLOCK
    said = " ".join([verdict.summary, *(item.what for item in verdict.evidence)])
    for name in ("pm_walker (", "pm_remover (", "rwsem pm_route_sem", "mutex pm_port_mutex"):
        assert name in said
    assert "pm_port_mutex [pm_fault] is held by pm_remover (" in said
    assert "pm_route_sem [pm_fault] is likely held by pm_walker (" in said
