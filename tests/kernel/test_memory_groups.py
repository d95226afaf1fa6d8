"""Memory cgroups of the committed machines, none of which mounted one: only the root is there.

corpus/oom_oracle.py and memory_oracle.py compare groups with a machine that had them.
"""

from __future__ import annotations

from dataclasses import replace

from postmortem.kernel.memory_groups import MemoryGroup, MemoryGroups, memory_groups
from postmortem.kernel.oom import OomTask, worst
from postmortem.kernel.tasks.tasks import Task
from tests.conftest import Machine

BOX = MemoryGroup(1, "/box", 20, 25, None, 0, 25, (9,))


def test_the_root_is_no_group_of_its_own(machine: Machine) -> None:
    found = memory_groups(machine.prog)
    assert found.root
    assert (found.groups, found.unreadable) == ((), ())


def test_the_fullest_comes_first_and_one_without_a_limit_not_at_all() -> None:
    full = replace(BOX, path="/full", usage_bytes=25)
    free = replace(BOX, path="/free", limit_bytes=None)
    groups = MemoryGroups((BOX, free, full), 9)
    assert [group.path for group in groups.limited()] == ["/full", "/box"]


def scored(pid: int, points: int | None) -> OomTask:
    task = Task(pid, pid, pid, f"task{pid}", "S", 0, False, True, 0, 0)
    return OomTask(task, task, 0, 0, 0, 0, 0, 0, 0, 0, points)


def test_of_equal_points_the_later_is_chosen_and_who_has_none_never() -> None:
    """``oom_evaluate_task()`` passes over who has fewer than the best so far."""
    tasks = [scored(1, 5), scored(2, 9), scored(3, 9), scored(4, None)]
    assert worst(tasks) == tasks[2]
    assert worst([scored(1, None)]) is None
    assert worst([scored(1, -7)]) == scored(1, -7)
