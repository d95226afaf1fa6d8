"""Names, machinery, who is to blame, and signatures."""

# ruff: noqa: E501

from __future__ import annotations

import pytest

from postmortem.model.findings import Kind
from postmortem.model.frame import Frame
from postmortem.rules.blame import guilty_frame, is_machinery, normalise, signature


def frames(text: str) -> list[Frame]:
    """Names, innermost first; ``?name`` is doubtful, ``mod:name`` in a module."""
    found = []
    for word in text.split():
        module, _, name = word.lstrip("?").rpartition(":")
        found.append(Frame(name, 1, 2, module or None, reliable=not word.startswith("?")))
    return found


@pytest.mark.parametrize(("name", "plain"), [
    ("acme.isra.0", "acme"), ("acme.constprop.0.isra.1", "acme"), ("acme.part.7.cold", "acme"),
    ("acme.llvm.1234567890", "acme"), ("acme.lto_priv.0", "acme"), ("acme.cold.9", "acme"),
    ("__pfx_acme", "acme"), ("__x64_sys_read", "sys_read"), ("__arm64_sys_read", "sys_read"),
    ("__se_sys_read", "sys_read"), ("SyS_read", "sys_read"), ("ksys_read", "read"),
    ("__do_sys_read", "read"), ("synchronize_rcu_expedited", "synchronize_rcu"),
    ("smp_call_function_many_cond", "smp_call_function"), ("acme", "acme"), ("a.b", "a.b"),
])  # fmt: skip
def test_normalise(name: str, plain: str) -> None:
    assert normalise(name) == plain


@pytest.mark.parametrize("name", ["dump_stack_lvl", "show_stack", "panic", "__warn", "report_bug", "asm_exc_invalid_op", "kasan_report", "print_report", "__asan_load8_noabort", "kmem_cache_alloc_noprof", "kfree", "__kmalloc_node", "vmalloc", "memcpy", "strlen", "_copy_from_user", "find_next_bit", "atomic_inc", "list_del_init", "__list_del_entry_valid", "rb_erase", "xas_load", "kobject_put", "kref_put", "_raw_spin_lock_irqsave", "do_raw_spin_lock", "mutex_lock", "mutex_remove_waiter", "page_pool_alloc_netmem", "__mutex_lock.constprop.0", "down_read", "up_write", "lock_acquire", "__lock_acquire", "__might_sleep", "schedule_timeout", "__schedule", "queue_work_on", "__flush_work", "mod_timer", "hrtimer_start_range_ns", "device_add", "really_probe", "usb_submit_urb", "dput", "iput", "skb_put", "kfree_skb", "refcount_warn_saturate", "debug_print_object", "entry_SYSCALL_64_after_hwframe", "do_syscall_64", "ret_from_fork", "el0t_64_sync", "fortify_panic", "usercopy_abort", "handle_exception", "do_trap_unknown", "handle_adel_int", "alloc_pages_mpol", "wake_up_process", "complete"])  # fmt: skip
def test_machinery_is_never_to_blame(name: str) -> None:
    assert is_machinery(name)


@pytest.mark.parametrize("name", ["acme_start", "tcp_v4_rcv", "ext4_writepages", "find_uprobe", "uprobe_apply", "vfs_write", "do_exit", "wake_up_new_task", "test_out_of_bounds_read", "copy_page_range", "strange_acme", "unix_stream_sendmsg", "run_timer_softirq", "sysrq_handle_crash", "ip_list_rcv", "btrfs_evict_inode", "process_one_work", "kmalloc_acme_test", "console_acme_open", "schedule_tail", "cdev_get", "device_shutdown", "usb_anchor_resume_wakeups", "wait_for_acme", "spin_acme", "memcpy_acme", "report_acme_race", "list_acme"])  # fmt: skip
def test_code_of_drivers_and_subsystems_may_be_to_blame(name: str) -> None:
    assert not is_machinery(name)


@pytest.mark.parametrize(("kind", "stack", "guilty"), [
    (Kind.NULL_DEREFERENCE, "acme_get acme_ioctl", "acme_get"),
    (Kind.NULL_DEREFERENCE, "memcpy ?acme_odd acme_get", "acme_get"),
    (Kind.WARNING, "dump_stack_lvl panic __warn report_bug acme_check", "acme_check"),
    (Kind.SOFT_LOCKUP, "acme_spin acme_loop acme_write vfs_write ksys_write", "acme_write"),
    (Kind.SOFT_LOCKUP, "m:acme_spin m:acme_loop vfs_write ksys_write", "acme_spin"),
    (Kind.RCU_STALL, "sched_show_task rcu_sched_clock_irq asm_sysvec_apic_timer_interrupt"
     " acme_spin acme_ioctl do_vfs_ioctl", "acme_ioctl"),
    (Kind.SOFT_LOCKUP, "smp_call_function_many_cond on_each_cpu acme_flush", "smp_call_function_many_cond"),
    (Kind.HUNG_TASK, "__schedule schedule wait_for_completion acme_wait", "acme_wait"),
    (Kind.HUNG_TASK, "__schedule schedule_timeout __wait_rcu_gp synchronize_rcu acme_stop", "synchronize_rcu"),
    (Kind.SCHEDULING_WHILE_ATOMIC, "__schedule_bug __schedule schedule msleep acme_poll", "acme_poll"),
    (Kind.STACK_OVERFLOW, "acme_walk " * 6 + "vfs_write", "acme_walk"),
    (Kind.STACK_OVERFLOW, "a b a b a b rtnl_newlink rtnetlink_rcv_msg", "rtnl_newlink"),
    (Kind.NULL_DEREFERENCE, "acme:spin_loop acme:list_add kthread ret_from_fork", "spin_loop"),
    (Kind.NULL_DEREFERENCE, "usbcore:usb_submit_urb acme:acme_send", "acme_send"),
    (Kind.WARNING, "dump_stack check_preemption_disabled __bad_area_nosemaphore do_page_fault page_fault",
     "__bad_area_nosemaphore"),
    (Kind.WARNING, "dump_stack panic __warn report_bug do_error_trap invalid_op", None),
    (Kind.SOFT_LOCKUP, "acme_look acme_receive acme_tasklet tasklet_action_common __do_softirq do_softirq_own_stack"
     " irq_exit_rcu sysvec_apic_timer_interrupt asm_sysvec_apic_timer_interrupt other_send do_syscall_64", "acme_tasklet"),
    (Kind.RCU_STALL, "count_memcg_event_mm handle_mm_fault do_user_addr_fault exc_page_fault asm_exc_page_fault"
     " copy_user_generic_unrolled acme_copy acme_ioctl do_vfs_ioctl", "acme_ioctl"),
    (Kind.RCU_STALL, "__schedule schedule schedule_timeout rcu_gp_kthread kthread ret_from_fork", None),
    (Kind.HUNG_TASK, "__schedule schedule rwsem_down_read_slowpath do_user_addr_fault exc_page_fault", "do_user_addr_fault"),
    (Kind.OOM, "dump_header out_of_memory __alloc_pages_slowpath acme_leak", "acme_leak"),
    (Kind.OOM, "dump_header out_of_memory __handle_mm_fault handle_mm_fault asm_exc_page_fault", None),
])  # fmt: skip
def test_guilty_frame(kind: Kind, stack: str, guilty: str | None) -> None:
    found = guilty_frame(frames(stack), kind)
    assert (found.function if found else None) == guilty


def test_compilers_do_not_change_a_signature() -> None:
    gcc = frames("acme_get.isra.0 acme_read.constprop.0 __x64_sys_read do_syscall_64")
    clang = frames("acme_get acme_read __se_sys_read do_syscall_64")
    assert signature(Kind.BUG, "acme_get.isra.0", gcc) == signature(Kind.BUG, "acme_get", clang)


def test_doubtful_frames_do_not_change_a_signature() -> None:
    assert signature(Kind.BUG, "a", frames("a ?x b")) == signature(Kind.BUG, "a", frames("a b"))


def test_report_machinery_does_not_change_a_signature() -> None:
    assert signature(Kind.BUG, "a", frames("dump_stack panic a b")) == signature(
        Kind.BUG, "a", frames("a b")
    )


def test_inlines_do_not_change_a_signature() -> None:
    inline = [Frame("a"), Frame("x", inline=True), Frame("b")]
    assert signature(Kind.BUG, "a", inline) == signature(Kind.BUG, "a", frames("a b"))


def test_levels_go_from_fine_to_coarse() -> None:
    one = signature(Kind.BUG, "a", frames("a b c d e f"))
    other = signature(Kind.BUG, "a", frames("a b c d e g"))
    assert (one.coarse, one.frames) == (other.coarse, other.frames) and one.exact != other.exact


def test_faces_of_one_bug_share_the_coarse_level() -> None:
    assert (
        signature(Kind.KASAN, "a", frames("a")).coarse
        == signature(Kind.GENERAL_PROTECTION, "a", frames("a")).coarse
        == "bad-access:a"
    )


MODULE = 0xFFFFFFFFC0384000


@pytest.mark.parametrize(
    ("kind", "stack", "guilty"),
    [
        # Code without a name stands before the first that has one.
        (Kind.HARD_LOCKUP, [MODULE, MODULE + 9, "acme_write", "vfs_write"], None),
        (Kind.SOFT_LOCKUP, ["watchdog_timer_fn", "asm_sysvec_apic_timer_interrupt", MODULE, "acme_write"], None),
        (Kind.NULL_DEREFERENCE, ["memcpy", MODULE, "acme_write"], None),
        (Kind.NULL_DEREFERENCE, ["acme_read", MODULE, "acme_write"], "acme_read"),
        # It jumped to where no code is: who jumped is to blame. Small numbers are no code.
        (Kind.BAD_EXECUTION, [MODULE, "acme_write"], "acme_write"),
        (Kind.NULL_DEREFERENCE, ["memcpy", 0x400123, "acme_write"], "acme_write"),
        (Kind.SOFT_LOCKUP, [MODULE, "watchdog_timer_fn", "asm_sysvec_apic_timer_interrupt", "acme_write"], "acme_write"),
    ],
)  # fmt: skip
def test_no_frame_without_a_name_is_stepped_over(
    kind: Kind, stack: list[str | int], guilty: str | None
) -> None:
    seen = [Frame(at) if isinstance(at, str) else Frame(None, address=at) for at in stack]
    found = guilty_frame(seen, kind)
    assert (found and found.function) == guilty
