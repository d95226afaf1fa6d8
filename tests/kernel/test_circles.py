"""Lists and paths of a real dump, bent until they lead back to where they began."""

from __future__ import annotations

import struct
from typing import Any

import drgn
import pytest
from drgn.helpers.linux.fs import for_each_mount, mount_dst
from drgn.helpers.linux.pid import find_task

from postmortem.dump.lists import list_entries
from postmortem.kernel.irqs import irq_descs
from postmortem.kernel.memory import slab_caches
from postmortem.kernel.paths import kernfs_path, path_in_mounts, path_of, path_of_inode
from postmortem.kernel.tasks.areas import areas_of
from postmortem.kernel.tasks.tasks import all_tasks
from postmortem.kernel.vmalloc import vmap_areas
from postmortem.kernel.zones import total_pages
from tests.conftest import machine_named
from tests.kernel.fabricated import Memory
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


def test_areas_of_a_process(prog: Any) -> None:
    """As fork() copied them and exec() made them: init's program is busybox."""
    for found in (prog, fresh("5.10-sysrq-crash")):
        areas = list(areas_of(find_task(found, 1).mm))
        assert len(areas) == find_task(found, 1).mm.map_count
        starts = [area.vm_start.value_() for area in areas]
        assert starts == sorted(starts)
        assert "/bin/busybox" in {path_of(area.vm_file.f_path) for area in areas if area.vm_file}


def test_areas_that_follow_themselves(prog: Any) -> None:
    old = fresh("5.10-sysrq-crash")
    second = find_task(old, 1).mm.mmap.vm_next
    bend(second.vm_next, second.value_())
    tree = find_task(prog, 1).mm.mm_mt
    root = tree.ma_root.value_()
    node = drgn.Object(prog, "struct maple_node", address=root & ~0xFF)
    bend(node.mr64.slot[0], root & ~0x7F | 2 << 3)
    bend(tree.ma_root, root & ~0x78 | 2 << 3)
    for found in (old, prog):
        with pytest.raises(LookupError, match="circle"):
            list(areas_of(find_task(found, 1).mm))


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


IRQ_TREES = {"6.1-use-after-free": "irq_desc_tree", "6.12-null-chain": "sparse_irqs"}


@pytest.mark.parametrize("name", IRQ_TREES)
def test_interrupts_of_a_tree_that_leads_back_into_itself(name: str) -> None:
    prog = fresh(name)
    assert [number for number, _ in irq_descs(prog)] == list(range(16))  # those of the two PICs
    tree = prog[IRQ_TREES[name]]
    if name.startswith("6.1-"):
        node = drgn.Object(prog, "struct xa_node", address=tree.xa_head.value_() - 2)
        bend(node.slots[3], tree.xa_head.value_())
    else:
        root = tree.ma_root.value_()
        node = drgn.Object(prog, "struct maple_node", address=root & ~0xFF)
        # A leaf: of the type of an inner node it is its own child.
        bend(node.mr64.slot[0], root & ~0x7F | 2 << 3)
        bend(tree.ma_root, root & ~0x78 | 2 << 3)
    with pytest.raises(LookupError, match="circle"):
        list(irq_descs(prog))


def test_areas_of_vmalloc_that_follow_themselves(prog: Any) -> None:
    first = next(vmap_areas(prog))
    bend(first.list.next, first.list.address_of_().value_())
    with pytest.raises(LookupError, match="circle"):
        list(vmap_areas(prog))


def test_slab_caches_that_follow_themselves(prog: Any) -> None:
    whole = slab_caches(machine_named(NAME).prog)
    third = list(list_entries(prog["slab_caches"], "struct kmem_cache", "list"))[2]
    bend(third.list.next, third.list.address_of_().value_())
    assert 0 < len(slab_caches(prog)) <= 3 < len(whole)


def test_a_group_below_itself() -> None:
    memory = Memory(fresh(NAME))
    kind = memory.prog.type("struct kernfs_node")
    root, child = (memory.allocate(drgn.sizeof(kind)) for _ in range(2))
    name = memory.allocate(8)
    memory.write(name, int.from_bytes(b"depot", "little"))
    memory.write(child + drgn.offsetof(kind, "name"), name)
    memory.write(child + drgn.offsetof(kind, "parent"), root)
    node = drgn.Object(memory.prog, "struct kernfs_node *", child)
    assert kernfs_path(node) == "/depot"
    memory.write(child + drgn.offsetof(kind, "parent"), child)
    with pytest.raises(LookupError, match="circle"):
        kernfs_path(node)


def test_as_many_pages_as_the_zones_have(prog: Any) -> None:
    whole = total_pages(prog)
    assert whole * 4096 < 256 << 20  # what QEMU was given
    bend(prog["_totalram_pages"].counter, 1 << 40)
    with pytest.raises(LookupError, match="in the zones"):
        total_pages(fresh_again(prog))


def fresh_again(prog: Any) -> Any:
    """The same program without what it has found out."""
    prog.cache.clear()
    return prog
