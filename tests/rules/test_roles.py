"""Who only suffers from a failure, who only helps, and who may have done it."""

# ruff: noqa: E501

from __future__ import annotations

import pytest

from postmortem.model.findings import Kind
from postmortem.model.report import Frame, Role
from postmortem.rules.blame import guilty_frame
from postmortem.rules.roles import reads_free_list, role_of, suspect_of


def frames(text: str) -> list[Frame]:
    """Names, innermost first; ``mod:name`` in a module."""
    found = []
    for word in text.split():
        module, _, name = word.rpartition(":")
        found.append(Frame(name, 1, 2, module or None))
    return found


@pytest.mark.parametrize(("kind", "stack", "role"), [
    (Kind.NULL_DEREFERENCE, "acme_get acme_ioctl", Role.CULPRIT),
    (Kind.NULL_DEREFERENCE, "list_del_init process_one_work worker_thread kthread", Role.DISPATCHES),
    (Kind.WARNING, "dump_stack __bad_area_nosemaphore do_page_fault", Role.HELPS),
    (Kind.SOFT_LOCKUP, "smp_call_function_many_cond on_each_cpu_cond_mask native_flush_tlb_multi"
     " acme_protect do_syscall_64", Role.AWAITS_CPU),
    (Kind.SOFT_LOCKUP, "acme_spin acme_write do_syscall_64", Role.CULPRIT),
    (Kind.SOFT_LOCKUP, "native_queued_spin_lock_slowpath _raw_spin_lock acme_write do_syscall_64", Role.AWAITS_LOCK),
    (Kind.RCU_STALL, "_raw_spin_lock acme_loop acme_write do_syscall_64", Role.CULPRIT),
    (Kind.RCU_STALL, "__schedule schedule schedule_timeout rcu_gp_kthread kthread ret_from_fork", Role.STARVES),
    (Kind.OOM, "dump_header out_of_memory __alloc_pages acme_read vfs_read", Role.ALLOCATES),
    (Kind.OOM, "dump_header out_of_memory __alloc_pages acme:acme_fill vfs_read", Role.CULPRIT),
    (Kind.BUG, "", Role.UNKNOWN),
])  # fmt: skip
def test_role(kind: Kind, stack: str, role: Role) -> None:
    seen = frames(stack)
    assert role_of(kind, seen, guilty_frame(seen, kind)) is role


@pytest.mark.parametrize(("kind", "function", "reads"), [
    (Kind.GENERAL_PROTECTION, "kmem_cache_alloc", True), (Kind.BAD_POINTER, "__kmalloc_noprof", True),
    (Kind.GENERAL_PROTECTION, "___slab_alloc.isra.0", True), (Kind.NULL_DEREFERENCE, "kmem_cache_alloc", False),
    (Kind.GENERAL_PROTECTION, "kfree", False), (Kind.GENERAL_PROTECTION, "acme_alloc", False),
])  # fmt: skip
def test_a_wild_link_in_the_free_list(kind: Kind, function: str, reads: bool) -> None:
    assert reads_free_list(kind, Frame(function)) is reads


def test_a_module_of_a_driver_does_not_read_the_free_list() -> None:
    assert not reads_free_list(Kind.BAD_POINTER, Frame("__kmalloc", module="acme"))


@pytest.mark.parametrize(("stack", "suspect"), [
    ("acme_get core_call acme:acme_open do_syscall_64", "acme_open"),
    ("acme_get core_call other:other_open do_syscall_64", None),
    ("acme_get do_syscall_64 acme:acme_open", None),
    ("acme:acme_get acme:acme_open", None),
])  # fmt: skip
def test_the_module_that_called_is_suspect(stack: str, suspect: str | None) -> None:
    seen = frames(stack)
    found = suspect_of(seen, seen[0], {"acme"})
    assert (found.function if found else None) == suspect
