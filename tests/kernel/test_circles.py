"""Lists and paths of a real dump, bent until they lead back to where they began."""

from __future__ import annotations

import struct
from typing import Any

import drgn
import pytest
from drgn.helpers.linux.fs import for_each_mount, mount_dst
from drgn.helpers.linux.pid import find_task

from postmortem.kernel.paths import path_in_mounts, path_of_inode
from postmortem.kernel.tasks.tasks import all_tasks
from tests.conftest import machine_named
from tests.kernel.locking.test_waiters import fresh

NAME = "6.12-null-chain"


@pytest.fixture
def prog() -> Any:
    return fresh(NAME)


def bend(word: drgn.Object, value: int) -> None:
    """Let a pointer hold something else; there is no going back."""
    data = struct.pack("<Q", value)
    word.prog_.add_memory_segment(
        word.address_, 8, lambda _address, count, offset, _physical: data[offset : offset + count]
    )


def test_a_thread_that_follows_itself(prog: Any) -> None:
    whole = all_tasks(machine_named(NAME).prog)
    task = drgn.Object(prog, "struct task_struct *", whole.tasks[0].address)
    for node in (task.thread_node, task.signal.thread_head):
        bend(node.next, task.thread_node.address_)
    found = all_tasks(prog)
    assert [problem.why for problem in found.problems if "circle" in problem.why]
    # The pid tree knows the others.
    assert {task.pid for task in whole.tasks} == {task.pid for task in found.tasks}


def test_a_page_of_zeroes_is_no_task(prog: Any) -> None:
    whole = all_tasks(machine_named(NAME).prog)
    lost = whole.tasks[3]
    size = drgn.sizeof(prog.type("struct task_struct"))
    prog.add_memory_segment(lost.address, size, lambda _at, count, _offset, _physical: bytes(count))
    found = all_tasks(prog)
    assert {task.pid for task in whole.tasks} - {task.pid for task in found.tasks} == {lost.pid}
    assert any("is no task" in problem.why for problem in found.problems)
    assert any(f"of {len(whole.tasks)} could be read" in p.why for p in found.problems)


def debugfs(prog: Any) -> drgn.Object:
    """``struct mount *`` of /sys/kernel/debug."""
    return next(mount for mount in for_each_mount(prog) if mount_dst(mount).endswith(b"/debug"))


def test_a_path_through_mounts(prog: Any) -> None:
    mount = debugfs(prog)
    assert path_in_mounts(mount, mount.mnt.mnt_root.read_()) == "/sys/kernel/debug"


def test_a_path_of_an_inode(prog: Any) -> None:
    assert path_of_inode(find_task(prog, 1).mm.exe_file.f_inode) == "bin/busybox"


def test_a_directory_below_itself(prog: Any) -> None:
    mount = debugfs(prog)
    place = mount.mnt_mountpoint.read_()
    inode = place.d_inode.read_()
    bend(place.d_parent.d_parent, place.value_())
    with pytest.raises(LookupError, match="circle"):
        path_in_mounts(mount, mount.mnt.mnt_root.read_())
    with pytest.raises(LookupError, match="circle"):
        path_of_inode(inode)


def test_a_task_in_a_state_that_none_has_is_damaged(prog: Any) -> None:
    whole = all_tasks(machine_named(NAME).prog)
    bad = whole.tasks[5]
    task = drgn.Object(prog, "struct task_struct *", bad.address)
    bend(task.member_("__state"), 1 << 30)
    found = all_tasks(prog)
    assert {task.pid for task in whole.tasks} - {task.pid for task in found.tasks} == {bad.pid}
    assert any(f"of {len(whole.tasks)} could be read" in p.why for p in found.problems)


def test_without_their_count_the_pid_tree_says_how_many_tasks_there_were(prog: Any) -> None:
    """The list leads past all but the first; nobody says how many are missing."""
    whole = all_tasks(machine_named(NAME).prog)
    first = drgn.Object(prog, "struct task_struct *", whole.tasks[0].address)
    bend(first.tasks.next, prog["init_task"].tasks.address_)
    bend(prog["nr_threads"], 0)
    assert len(all_tasks(prog).tasks) == len(whole.tasks)
