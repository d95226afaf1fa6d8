"""How real stacks sleep. The stacks are those of kernel consoles, innermost first."""

from __future__ import annotations

import pytest

from postmortem.rules.waits import How, WaitKind

STACKS = {
    WaitKind.MUTEX: "__schedule schedule schedule_preempt_disabled __mutex_lock.constprop.0 f",
    WaitKind.RWSEM_READ: (
        "__schedule schedule schedule_preempt_disabled rwsem_down_read_slowpath down_read f"
    ),
    WaitKind.RWSEM_WRITE: (
        "__schedule schedule schedule_preempt_disabled rwsem_down_write_slowpath f kthread"
    ),
    WaitKind.SEMAPHORE: "__schedule schedule schedule_timeout __down_common down f kthread",
    WaitKind.PERCPU_READ: "__schedule schedule percpu_rwsem_wait __percpu_down_read f",
    WaitKind.PERCPU_WRITE: "__schedule schedule percpu_rwsem_wait percpu_down_write f",
    WaitKind.RT_MUTEX: (
        "__schedule rt_mutex_schedule rt_mutex_slowlock_block.constprop.0"
        " rt_mutex_slowlock.constprop.0 rt_mutex_lock f"
    ),
    WaitKind.COMPLETION: "__schedule schedule schedule_timeout __wait_for_common f",
    WaitKind.BUFFER: (
        "__schedule schedule io_schedule bit_wait_io __wait_on_bit out_of_line_wait_on_bit"
        " __wait_on_buffer f"
    ),
    WaitKind.PAGE: "__schedule schedule io_schedule folio_wait_bit_common folio_wait_writeback f",
    WaitKind.BIT: "__schedule schedule bit_wait __wait_on_bit out_of_line_wait_on_bit f",
    WaitKind.SLEEP: "__schedule schedule schedule_timeout msleep_interruptible f g",
}


@pytest.mark.parametrize(("kind", "stack"), STACKS.items(), ids=str)
def test_primitive(kind: WaitKind, stack: str) -> None:
    assert How(stack.split()).primitive is kind


@pytest.mark.parametrize(("kind", "stack"), STACKS.items(), ids=str)
def test_caller_is_the_function_above_the_machinery(kind: WaitKind, stack: str) -> None:
    names = stack.split()
    assert names[How(names).caller] == "f"


REASONS = {
    WaitKind.WORK: "__schedule schedule schedule_timeout __wait_for_common __flush_work f",
    WaitKind.WORKQUEUE: "__schedule schedule schedule_timeout __wait_for_common flush_workqueue f",
    WaitKind.KTHREAD: "__schedule schedule schedule_timeout wait_for_completion kthread_stop f",
    WaitKind.RCU: (
        "__schedule schedule schedule_timeout __wait_for_common __wait_rcu_gp synchronize_rcu f"
    ),
    WaitKind.SRCU: "__schedule schedule schedule_timeout __wait_for_common __synchronize_srcu f",
    WaitKind.FUSE: "__schedule schedule request_wait_answer __fuse_simple_request fuse_do_getattr",
    WaitKind.JOURNAL: "__schedule schedule jbd2_log_wait_commit jbd2_complete_transaction f",
    WaitKind.PIPE: "__schedule schedule pipe_read vfs_read ksys_read do_syscall_64",
    WaitKind.FUTEX: "__schedule schedule futex_wait_queue futex_wait do_futex __x64_sys_futex",
    WaitKind.CHILD: "__schedule schedule do_wait kernel_wait4 __do_sys_wait4 do_syscall_64",
    WaitKind.POLL: "__schedule schedule schedule_hrtimeout_range do_sys_poll __x64_sys_poll",
    WaitKind.PTRACE: "__schedule schedule do_signal_stop get_signal arch_do_signal_or_restart",
    WaitKind.EVENT: "__schedule schedule worker_thread kthread ret_from_fork",
}


@pytest.mark.parametrize(("kind", "stack"), REASONS.items(), ids=str)
def test_reason(kind: WaitKind, stack: str) -> None:
    assert How(stack.split()).reason is kind


LATER_WORDS = {
    # The last function of each table row and its neighbours: rows are joined from pieces.
    "xlog_wait": WaitKind.JOURNAL,
    "jbd2_log_wait_for_space": WaitKind.JOURNAL,
    "btrfs_commit_transaction": WaitKind.JOURNAL,
    "sbitmap_queue_get": WaitKind.REQUEST,
    "scsi_execute_cmd": WaitKind.REQUEST,
    "wbt_wait": WaitKind.REQUEST,
    "rpc_wait_bit_killable": WaitKind.RPC,
    "balance_dirty_pages": WaitKind.IO,
    "wb_wait_for_completion": WaitKind.IO,
    "md_flush_request": WaitKind.IO,
    "fifo_open": WaitKind.PIPE,
    "anon_pipe_read": WaitKind.PIPE,
    "do_epoll_wait": WaitKind.POLL,
    "io_cqring_wait": WaitKind.POLL,
    "unix_stream_read_generic": WaitKind.SOCKET,
    "inet_csk_accept": WaitKind.SOCKET,
    "tcp_recvmsg": WaitKind.SOCKET,
    "kmsg_read": WaitKind.TERMINAL,
    "n_tty_read": WaitKind.TERMINAL,
    "rcu_gp_fqs_loop": WaitKind.EVENT,
    "kjournald2": WaitKind.EVENT,
    "fuse_dev_do_read": WaitKind.EVENT,
    "scsi_error_handler": WaitKind.EVENT,
}


@pytest.mark.parametrize(("function", "kind"), LATER_WORDS.items())
def test_function_gives_its_reason(function: str, kind: WaitKind) -> None:
    assert how_of(f"__schedule schedule {function} f g").reason is kind


def how_of(stack: str) -> How:
    return How(stack.split())


def test_thread_of_unknown_name_rests_in_its_own_loop() -> None:
    how = how_of("__schedule schedule pm_loop kthread ret_from_fork ret_from_fork_asm")
    assert how.reason is WaitKind.EVENT


def test_work_that_sleeps_is_not_an_idle_worker() -> None:
    how = how_of("__schedule schedule schedule_timeout msleep f process_one_work worker_thread")
    assert (how.primitive, how.reason) == (WaitKind.SLEEP, None)


def test_preempted_task_waits_for_the_cpu() -> None:
    how = how_of("__schedule preempt_schedule_irq raw_irqentry_exit_cond_resched f")
    assert how.primitive is WaitKind.PREEMPTED


def test_no_stack_at_all() -> None:
    how = How([])
    assert (how.primitive, how.reason, how.caller) == (None, None, 0)
