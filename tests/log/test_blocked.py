"""Task lists as kernel/sched/core.c prints them, lockdep's as kernel/locking/lockdep.c does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.graph.from_log import log_graph
from postmortem.graph.model import cycles, roots
from postmortem.log.blocked import LoggedTask, lockdep_circle, logged_tasks
from postmortem.log.lines import records_of_line
from postmortem.log.scan import scan_bytes, scan_file
from postmortem.model.findings import Kind
from postmortem.model.report import Record, Report


def records(text: str) -> list[Record]:
    return [Record(number, line) for number, line in enumerate(text.splitlines(), 1)]


NEW = """\
sysrq: Show Blocked State
task:kworker/u8:1    state:D stack:0     pid:28    tgid:28    ppid:2      flags:0x00004000
Workqueue: events_unbound pm_work
Call Trace:
 <TASK>
 __schedule+0x3bf/0xb40
 schedule+0x27/0xd0
 schedule_preempt_disabled+0x15/0x30
 ? srso_return_thunk+0x5/0x5f
 __mutex_lock.constprop.0+0x3a4/0x6b0
 pm_load+0x15/0x20 [pm_fault]
 </TASK>
task:my task with blanks state:D stack:13800 pid: 1234 ppid:   1 flags:0x00000000
Call Trace:
 schedule+0x27/0xd0
something else
 not_a_frame_of_it+0x1/0x2
"""
OLD = """\
  task                        PC stack   pid father
dd              D ffff88003d2c3c28     0  2127   2112 0x00000080
Call Trace:
 [<ffffffff8168bac9>] schedule+0x29/0x70
 [<ffffffff81689519>] schedule_timeout+0x239/0x2d0
"""


def test_task_list_of_new_kernels() -> None:
    first, second = logged_tasks(records(NEW))
    assert (first.pid, first.comm, first.state) == (28, "kworker/u8:1", "D")
    assert [f.function for f in first.frames if f.reliable][-2:] == [
        "__mutex_lock.constprop.0",
        "pm_load",
    ]
    assert first.frames[-1].module == "pm_fault"
    assert (second.pid, second.comm) == (1234, "my task with blanks")


def test_stack_ends_with_the_first_line_that_is_none_of_it() -> None:
    assert [frame.function for frame in logged_tasks(records(NEW))[1].frames] == ["schedule"]


def test_task_list_of_old_kernels() -> None:
    (task,) = logged_tasks(records(OLD))
    assert (task.pid, task.comm, task.state) == (2127, "dd", "D")
    assert [frame.function for frame in task.frames] == ["schedule", "schedule_timeout"]


LOCKDEP = """\
task:left            state:D stack:0     pid:10    tgid:10    ppid:2      flags:0x00004000
Call Trace:
 __schedule+0x3bf/0xb40
 schedule+0x27/0xd0
 __mutex_lock+0x3a4/0x6b0
 f+0x15/0x20
task:right           state:D stack:0     pid:11    tgid:11    ppid:2      flags:0x00004000
Call Trace:
 __schedule+0x3bf/0xb40
 schedule+0x27/0xd0
 __mutex_lock+0x3a4/0x6b0
 g+0x15/0x20

Showing all locks held in the system:
2 locks held by left/10:
 #0: ffffffffc0001000 (a_mutex){+.+.}-{3:3}, at: f+0x10/0x20
 #1: ffffffffc0002000 (b_mutex){+.+.}-{3:3}, at: f+0x18/0x20
2 locks held by right/11:
 #0: ffffffffc0002000 (b_mutex){+.+.}-{3:3}, at: g+0x10/0x20
 #1: ffffffffc0001000 (a_mutex){+.+.}-{3:3}, at: g+0x18/0x20
"""


def test_locks_that_lockdep_lists_give_the_circle() -> None:
    graph = log_graph((), logged_tasks(records(LOCKDEP)))
    (cycle,) = cycles(graph)
    labels = {graph.nodes[edge.source].label for edge in cycle}
    assert labels == {"left (10)", "right (11)", "lock a_mutex", "lock b_mutex"}


BLOCKERS = b"""\
[  100.000000] INFO: task reader:20 blocked for more than 120 seconds.
[  100.000001]       Not tainted 6.17.0 #1
[  100.000002] "echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
[  100.000003] task:reader          state:D stack:0     pid:20    tgid:20    ppid:2      flags:0x00
[  100.000004] Call Trace:
[  100.000005]  <TASK>
[  100.000006]  __schedule+0x3bf/0xb40
[  100.000007]  schedule+0x27/0xd0
[  100.000008]  schedule_preempt_disabled+0x15/0x30
[  100.000009]  __mutex_lock+0x3a4/0x6b0
[  100.000010]  load_table+0x15/0x20
[  100.000011]  kthread+0xfb/0x230
[  100.000012]  </TASK>
[  100.000013] INFO: task reader:20 is blocked on a mutex likely owned by task writer:21.
[  100.000014] task:writer          state:S stack:0     pid:21    tgid:21    ppid:2      flags:0x00
[  100.000015] Call Trace:
[  100.000016]  <TASK>
[  100.000017]  __schedule+0x3bf/0xb40
[  100.000018]  schedule+0x27/0xd0
[  100.000019]  schedule_timeout+0x15/0x30
[  100.000020]  msleep_interruptible+0x15/0x30
[  100.000021]  store_table+0x15/0x20
[  100.000022]  </TASK>
"""


def test_blocker_line_makes_its_task_the_root() -> None:
    """Formats of debug_show_blocker(), kernel/hung_task.c."""
    scan = scan_bytes(BLOCKERS)
    text = "\n".join(line.partition("] ")[2] for line in BLOCKERS.decode().splitlines())
    graph = log_graph(scan.reports, logged_tasks(records(text)))
    (root,) = roots(graph)
    assert (graph.nodes[root].pid, graph.nodes[root].function) == (21, "store_table")
    assert {node.pid for node in graph.tasks(graph.blocked_by([root]))} == {20}


@pytest.mark.parametrize(
    "line",
    [
        "INFO: task reader:20 is blocked on a mutex likely owned by task writer:21.",
        "INFO: task reader:20 blocked on a semaphore likely last held by task writer:21",
        "INFO: task reader:20 <reader> blocked on an rw-semaphore likely owned by task writer:21"
        " <writer>",
    ],
)
def test_every_blocker_line_of_7_2(line: str) -> None:
    """The format strings in the memory of a 7.2 kernel."""
    said = b"INFO: task reader:20 is blocked on a mutex likely owned by task writer:21."
    scan = scan_bytes(BLOCKERS.replace(said, line.encode()))
    graph = log_graph(scan.reports, ())
    assert [graph.nodes[root].pid for root in roots(graph)] == [21]


def test_blocker_that_the_kernel_did_not_find_is_nobody() -> None:
    said = b"INFO: task reader:20 is blocked on a mutex likely owned by task writer:21."
    other = b"INFO: task reader:20 is blocked on a mutex, but the owner is not found."
    graph = log_graph(scan_bytes(BLOCKERS.replace(said, other)).reports, ())
    (root,) = roots(graph)
    assert graph.nodes[root].label.startswith("mutex")


OWN_LOCK = b"""\
[  100.000014] INFO: task writer:21 blocked for more than 120 seconds.
[  100.000015]       Not tainted 6.17.0 #1
[  100.000016] task:writer          state:D stack:0     pid:21    tgid:21    ppid:2      flags:0x00
[  100.000017] Call Trace:
[  100.000018]  <TASK>
[  100.000019]  __schedule+0x3bf/0xb40
[  100.000020]  schedule+0x27/0xd0
[  100.000021]  schedule_timeout+0x15/0x30
[  100.000022]  __wait_for_common+0x97/0x1b0
[  100.000023]  ask_device+0x15/0x20
[  100.000024]  </TASK>
[  100.000025]
[  100.000026] Showing all locks held in the system:
[  100.000027] 1 lock held by reader/20:
[  100.000028]  #0: ffffffffc0001000 (&table->lock){+.+.}-{3:3}, at: load_table+0x15/0x20
[  100.000029] 1 lock held by writer/21:
[  100.000030]  #0: ffffffffc0001000 (&table->lock){+.+.}-{3:3}, at: store_table+0x15/0x20
"""


def test_a_wait_that_lockdep_names_is_not_told_a_second_time_as_unknown() -> None:
    """The blocker line, lockdep's list and the stack tell of one wait."""
    text = BLOCKERS[: BLOCKERS.index(b"[  100.000014]")] + OWN_LOCK
    plain = "\n".join(line.partition("] ")[2] for line in text.decode().splitlines())
    graph = log_graph(scan_bytes(text).reports, logged_tasks(records(plain)))
    (waits,) = graph.out("task:20")
    assert graph.nodes[waits.target].label == "lock &table->lock"
    assert [edge.target for edge in graph.out(waits.target)] == ["task:21"]
    (root,) = roots(graph)
    assert graph.nodes[root].label.startswith("completion")


def test_lockdep_report_gives_its_locks_in_order() -> None:
    text = (
        "WARNING: possible circular locking dependency detected",
        "the existing dependency chain (in reverse order) is:",
        "-> #1 (b_mutex){+.+.}-{3:3}:",
        "       __mutex_lock+0x93/0x9e0",
        "       g+0x24/0x40",
        "-> #0 (a_mutex){+.+.}-{3:3}:",
        "       __lock_acquire+0x1171/0x2000",
        "       lock_acquire+0xbe/0x2d0",
        "       __mutex_lock+0x93/0x9e0",
        "       f+0x24/0x40",
    )
    report = Report(Kind.LOCKDEP, "possible deadlock in f", 1, 10, text)
    assert lockdep_circle(report) == (("b_mutex", "g"), ("a_mutex", "f"))


def test_other_reports_have_no_circle() -> None:
    assert lockdep_circle(Report(Kind.HUNG_TASK, "t", 1, 1, ("-> #1 (b){+.+.}:",))) == ()


@given(st.lists(st.text(max_size=80), max_size=30))
def test_any_text_is_survived(lines: list[str]) -> None:
    log_graph((), logged_tasks(records("\n".join(lines))))


def test_hostile_lines_take_linear_time() -> None:
    line = "task:" + "a " * 20_000 + "state:D"
    start = time.process_time()
    logged_tasks([Record(n, line) for n in range(50)])
    assert time.process_time() - start < 1


# --- the lists in a whole log, found on the way


def lists_of(text: str, tmp_path: Path) -> tuple[list[LoggedTask], list[LoggedTask]]:
    """Once by reading each line, once by the scan that jumps from phrase to phrase."""
    path = tmp_path / "console.log"
    path.write_text(text)
    lines = [
        record
        for number, line in enumerate(text.splitlines(), 1)
        for record in records_of_line(line.encode(), number)
    ]
    return logged_tasks(lines), scan_file(str(path), tasks=True).tasks


CHATTER = "".join(f"[  {n}.000000] usb 1-{n}: new device\n" for n in range(100, 160))
BLOCKED_LIST = """\
[  200.000000] sysrq: Show Blocked State
[  200.000001] task:cp              state:D stack:0     pid:41    tgid:41    ppid:1
[  200.000002] Call Trace:
[  200.000003]  <TASK>
[  200.000004]  __schedule+0x3b8/0xb40
[  200.000005]  acme_wait+0x2f/0x60 [acme]
[  200.000006]  </TASK>
[  200.000007] task:mv              state:D stack:0     pid:42    tgid:42    ppid:1
[  200.000008] Call Trace:
[  200.000009]  acme_flush+0x2f/0x60 [acme]
"""
OLD_LIST = """\
[  200.000000] cp              D    0    41      1 0x00000000
[  200.000002] Call Trace:
[  200.000004]  __schedule+0x3b8/0xb40
[  200.000005]  acme_wait+0x2f/0x60 [acme]
"""
LOCKS_LIST = """\
[  200.000000] Showing all locks held in the system:
[  200.000001] 1 lock held by cp/41:
[  200.000002]  #0: ffff8880 (&acme->lock){+.+.}-{3:3}, at: acme_wait+0x20/0x60
"""
HUNG_LIST = """\
[  190.000000] INFO: task cp:41 blocked for more than 120 seconds.
[  190.000001]       Not tainted 6.12.1 #1
[  190.000002] task:cp              state:D stack:0     pid:41    tgid:41    ppid:1
[  190.000003] Call Trace:
[  190.000004]  acme_wait+0x2f/0x60 [acme]
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (BLOCKED_LIST, [("cp", ["__schedule", "acme_wait"]), ("mv", ["acme_flush"])]),
        (OLD_LIST, [("cp", ["__schedule", "acme_wait"])]),
        (HUNG_LIST, [("cp", ["acme_wait"])]),
        (
            HUNG_LIST + CHATTER + BLOCKED_LIST,
            [("cp", ["__schedule", "acme_wait"]), ("mv", ["acme_flush"])],
        ),
        (LOCKS_LIST, [("cp", [])]),
        (HUNG_LIST + LOCKS_LIST, [("cp", ["acme_wait"])]),
    ],
    ids=["new", "old", "hung", "hung then list", "locks", "hung then locks"],
)
def test_one_pass_finds_the_lists_that_reading_each_line_finds(
    tmp_path: Path, text: str, shown: list[tuple[str, list[str]]]
) -> None:
    slow, fast = lists_of(CHATTER + text + CHATTER, tmp_path)
    assert fast == slow
    assert [(task.comm, [f.function for f in task.frames]) for task in fast] == shown


def test_a_stack_that_was_cut_by_chatter_is_not_put_together(tmp_path: Path) -> None:
    strange = "[  300.000000]  acme_late+0x1/0x2\n"
    slow, fast = lists_of(HUNG_LIST + CHATTER + strange + CHATTER, tmp_path)
    assert fast == slow
    assert [f.function for f in fast[0].frames] == ["acme_wait"]
