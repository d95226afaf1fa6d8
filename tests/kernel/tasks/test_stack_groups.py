"""Equal stacks come together, the largest group first."""

from __future__ import annotations

from postmortem.kernel.tasks.stack_groups import TaskFrames, grouped
from tests.kernel.cpu_states import frames, task


def test_same_frames_are_one_group_even_as_other_objects() -> None:
    wait, same, run = frames("wait", "main"), frames("wait", "main"), frames("run")
    items = [
        TaskFrames(task(1, 0), run, False),
        TaskFrames(task(2, 0), wait, False),
        TaskFrames(task(3, 0), wait, False),
        TaskFrames(task(4, 0), same, False),
    ]
    groups = grouped(items)
    assert [group.count for group in groups] == [3, 1]
    assert groups[0].functions == ("wait", "main")
    assert groups[0].states == {"R": 3}


def test_tasks_without_a_stack_are_grouped_by_the_reason() -> None:
    items = [
        TaskFrames(task(1, 0), (), False, "its stack is freed"),
        TaskFrames(task(2, 0), (), False, "its stack is freed"),
        TaskFrames(task(3, 0), (), False, "page excluded"),
    ]
    assert [(group.count, group.note) for group in grouped(items)] == [
        (2, "its stack is freed"),
        (1, "page excluded"),
    ]
