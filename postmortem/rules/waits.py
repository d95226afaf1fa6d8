"""What a sleeping task waits for, told by the functions on its stack: rules as data.

Two questions are asked of a stack. *How* does it sleep: the innermost functions
name the primitive, and so the structure that lies on the stack. *What for*: the
first function above them with a meaning of its own names the reason. Patterns
must match a whole name; compiler suffixes are gone by then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache

from postmortem.rules.blame import plain


class WaitKind(str, Enum):
    """What a task waits for."""

    MUTEX = "mutex"
    RWSEM_READ = "rwsem (read)"
    RWSEM_WRITE = "rwsem (write)"
    SEMAPHORE = "semaphore"
    RT_MUTEX = "rt_mutex"
    PERCPU_READ = "percpu_rwsem (read)"
    PERCPU_WRITE = "percpu_rwsem (write)"
    COMPLETION = "completion"
    WAIT_QUEUE = "wait queue"
    BIT = "bit"
    PAGE = "page"
    BUFFER = "buffer"
    IO = "I/O"
    REQUEST = "request"
    JOURNAL = "journal commit"
    FREEZE = "frozen file system"
    WORK = "work item"
    WORKQUEUE = "workqueue"
    KTHREAD = "kernel thread"
    RCU = "RCU grace period"
    SRCU = "SRCU grace period"
    FUSE = "FUSE request"
    RPC = "RPC"
    PIPE = "pipe"
    FUTEX = "futex"
    VFORK = "vfork"
    CHILD = "child"
    SIGNAL = "signal"
    PTRACE = "tracer"
    FREEZER = "freezer"
    POLL = "poll"
    SOCKET = "socket"
    TERMINAL = "terminal"
    SLEEP = "time"
    EVENT = "event"
    """A kernel thread that has nothing to do."""
    PREEMPTED = "CPU"
    """It does not wait: it was taken off the CPU or was woken already."""
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


_SCHEDULER = r"""
    _*schedule(?:_timeout\w*|_preempt_disabled|_hrtimeout\w*|_idle|_rtlock)? io_schedule\w*
    _*switch_to\w* preempt_schedule\w* _*cond_resched\w* rt_mutex_schedule
"""
_PREEMPTED = r"""
    preempt_schedule\w* _*cond_resched\w* raw_irqentry_exit_cond_resched irqentry_exit\w*
    exit_to_user_mode\w* (?:asm_)?sysvec_\w+
"""

_PRIMITIVES: tuple[tuple[WaitKind, str], ...] = (
    (WaitKind.MUTEX, r"_*mutex_lock\w* _*ww_mutex_lock\w*"),
    (WaitKind.RWSEM_READ, r"rwsem_down_read\w* _*down_read\w*"),
    (WaitKind.RWSEM_WRITE, r"rwsem_down_write\w* _*down_write\w*"),
    (WaitKind.SEMAPHORE, r"_*down(?:_common|_interruptible|_killable|_timeout)?"),
    (
        WaitKind.RT_MUTEX,
        r"_*rt_mutex_(?:slow|lock|wait)\w* rtlock_slow\w* rt_spin_lock\w* rwbase_\w+",
    ),
    (WaitKind.PERCPU_READ, r"_*percpu_down_read\w*"),
    (WaitKind.PERCPU_WRITE, r"percpu_down_write"),
    (WaitKind.PERCPU_READ, r"percpu_rwsem_wait"),
    (WaitKind.COMPLETION, r"_*(?:do_)?wait_for_(?:common|completion)\w*"),
    (
        WaitKind.PAGE,
        r"folio_wait_\w+ _*folio_lock\w* _*lock_page\w* wait_on_page_\w+"
        r" put_and_wait_on_page_locked"
        r" migration_entry_wait\w* softleaf_entry_wait\w*",
    ),
    (WaitKind.BUFFER, r"_*wait_on_buffer _*lock_buffer"),
    (WaitKind.BIT, r"_*wait_on_bit\w* out_of_line_wait_on_\w+ bit_wait\w* wait_on_var_event"),
    (WaitKind.SLEEP, r"msleep\w* usleep_\w+ do_nanosleep hrtimer_nanosleep fsleep ssleep"),
    (WaitKind.WAIT_QUEUE, r"_*wait_event\w* do_wait_intr\w* wait_woken prepare_to_wait\w*"),
)

_REASONS: tuple[tuple[WaitKind, str], ...] = (
    (WaitKind.WORK, r"_*flush_work _*cancel_(?:delayed_)?work\w* _*flush_delayed_work"),
    (WaitKind.WORKQUEUE, r"_*flush_workqueue drain_workqueue destroy_workqueue"),
    (WaitKind.KTHREAD, r"kthread_(?:stop|park|stop_put|flush_work\w*|destroy_worker)"),
    (
        WaitKind.SRCU,
        r"_*synchronize_srcu\w* srcu_barrier",
    ),
    (
        WaitKind.RCU,
        r"_*synchronize_(?:rcu|sched|rcu_tasks)\w* _*wait_rcu_gp rcu_barrier\w* synchronize_net"
        r" cond_synchronize_rcu\w* rcu_sync_enter",
    ),
    (WaitKind.FUSE, r"request_wait_answer _*fuse_\w*(?:request|send)\w*"),
    (
        WaitKind.RPC,
        r"rpc_wait_\w+ _*rpc_(?:execute|run)\w* nfs\w*_wait_\w+ cifs_wait\w* wait_for_response",
    ),
    (
        WaitKind.JOURNAL,
        r"jbd2_log_wait_commit wait_transaction_(?:locked|switching)"
        r" jbd2_journal_commit_transaction"
        r" add_transaction_credits start_this_handle do_get_write_access _*jbd2_log_wait_for_space"
        r" xlog_(?:wait|grant)\w* xfs_log_force\w*"
        r" btrfs_(?:commit|wait_for_commit|wait_current)\w*",
    ),
    (
        WaitKind.REQUEST,
        r"blk_mq_get_tag blk_mq_freeze_queue_wait\w* _*bio_queue_enter blk_queue_enter"
        r" rq_qos_wait wbt_wait"
        r" blk_execute_rq\w* blk_rq_\w*wait\w* scsi_(?:execute\w*|block_when_processing_errors)"
        r" nvme_submit_sync_cmd\w* _*nvme_submit_sync_cmd sbitmap_\w*get\w*",
    ),
    (
        WaitKind.IO,
        r"submit_bio_wait blk_io_schedule _*blkdev_(?:direct_IO\w*|issue_\w+) _*iomap_dio_rw"
        r" dio_\w+"
        r" bio_await\w* dm_(?:wait|submit)\w* read_events wait_for_all_aios swap_read\w*"
        r" sync_inodes_sb"
        r" wb_wait_for_completion balance_dirty_pages\w* wait_sb_inodes md_\w+",
    ),
    (
        WaitKind.PIPE,
        r"pipe_(?:read|write|wait\w*) anon_pipe_(?:read|write) wait_for_partner fifo_open"
        r" opipe_prep ipipe_prep",
    ),
    (WaitKind.FUTEX, r"_*futex_(?:wait|do_wait|lock_pi)\w* do_futex"),
    (WaitKind.VFORK, r"wait_for_vfork_done kernel_clone _do_fork"),
    (WaitKind.CHILD, r"do_wait kernel_wait4 kernel_waitid\w* _*do_sys_wait4"),
    (WaitKind.SIGNAL, r"sigsuspend do_sigtimedwait (?:__x64_)?sys_pause"),
    (WaitKind.PTRACE, r"ptrace_stop do_signal_stop do_jobctl_trap get_signal"),
    (WaitKind.FREEZER, r"_*refrigerator"),
    (
        WaitKind.POLL,
        r"do_(?:sys_)?poll do_select poll_schedule_timeout\w* (?:do_)?ep_poll do_epoll_wait"
        r" io_cqring_wait\w*",
    ),
    (
        WaitKind.SOCKET,
        r"_*skb_wait_for_more_packets sk_wait_\w+ sk_stream_wait_\w+"
        r" inet_csk_(?:accept|wait\w*) unix_(?:accept|wait\w*|stream_\w+)"
        r" _*skb_recv_\w+ tcp_recvmsg\w* inet_wait_for_connect",
    ),
    (
        WaitKind.TERMINAL,
        r"n_tty_(?:read|write) tty_wait_until_sent\w* do_syslog syslog_print kmsg_read"
        r" devkmsg_read",
    ),
    (
        WaitKind.EVENT,
        r"worker_thread rescuer_thread kthread_worker_fn smpboot_thread_fn kthreadd kswapd"
        r" kcompactd"
        r" ksm_scan_thread irq_thread oom_reaper kauditd_thread devtmpfs\w+ rcu_\w*kthread\w*"
        r" rcu_tasks_one_gp rcu_gp_fqs_loop"
        r" kjournald2 khugepaged watchdog fuse_dev_\w*read\w* loop_thread io_wq\w+ vhost_\w+"
        r" scsi_error_handler ubi_thread nbd_\w+",
    ),
)
"""Asked in this order for each frame, from the innermost outwards."""

LOCKS = frozenset(
    {
        WaitKind.MUTEX,
        WaitKind.RWSEM_READ,
        WaitKind.RWSEM_WRITE,
        WaitKind.SEMAPHORE,
        WaitKind.RT_MUTEX,
        WaitKind.PERCPU_READ,
        WaitKind.PERCPU_WRITE,
    }
)
"""What somebody holds."""

_FAR = 8
"""How many frames above the primitive the reason may stand."""


@lru_cache(maxsize=1)
def _scheduler() -> re.Pattern[str]:
    return _whole(_SCHEDULER)


@lru_cache(maxsize=1)
def _preempted() -> re.Pattern[str]:
    return _whole(_PREEMPTED)


def _whole(patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns.split()))


@lru_cache(maxsize=2)
def _compiled(reasons: bool) -> tuple[tuple[WaitKind, re.Pattern[str]], ...]:
    return tuple((kind, _whole(text)) for kind, text in (_REASONS if reasons else _PRIMITIVES))


@lru_cache(maxsize=4096)
def _kind_of(function: str, reasons: bool) -> WaitKind | None:
    for kind, pattern in _compiled(reasons):
        if pattern.fullmatch(function):
            return kind
    return None


def is_scheduler(function: str) -> bool:
    """Whether the function only gives up the CPU."""
    return _scheduler().fullmatch(plain(function)) is not None


def telling(functions: Sequence[str]) -> tuple[str, ...]:
    """The innermost calls of a stack without those that only give up the CPU."""
    start = next((n for n, name in enumerate(functions) if not is_scheduler(name)), 0)
    return tuple(functions[start : start + 4])


class How:
    """How the innermost frames of a stack sleep."""

    __slots__ = ("caller", "primitive", "primitive_frame", "reason", "reason_frame")

    def __init__(self, functions: Sequence[str]) -> None:
        """
        :param functions: Names of a stack's functions, innermost first.
        """
        names = [plain(name) for name in functions]
        self.primitive: WaitKind | None = None
        self.primitive_frame = 0
        """Outermost frame of the waiting machinery."""
        start = next(
            (n for n, name in enumerate(names) if not _scheduler().fullmatch(name)), len(names)
        )
        self.primitive_frame = max(0, start - 1)
        for number in range(start, len(names)):
            kind = _kind_of(names[number], False)
            if kind is None:
                break
            # bit_wait_io < __wait_on_bit < __wait_on_buffer: the outermost says most.
            self.primitive = _narrower(self.primitive, kind)
            self.primitive_frame = number
        self.reason: WaitKind | None = None
        self.reason_frame = 0
        first = self.primitive_frame + 1
        for number in range(first, min(first + _FAR, len(names))):
            kind = _kind_of(names[number], True)
            # A thread rests in its own loop only, not in what that has called.
            if kind is not None and (kind is not WaitKind.EVENT or number == first):
                self.reason, self.reason_frame = kind, number
                break
        if self.primitive is None:
            if any(_preempted().fullmatch(name) for name in names[: start + 1]):
                self.primitive = WaitKind.PREEMPTED
            elif self.reason is None and names[first + 1 : first + 2] == ["kthread"]:
                self.reason, self.reason_frame = WaitKind.EVENT, first
        self.caller = min(self.primitive_frame + 1, max(0, len(names) - 1))
        """The frame that called the waiting machinery."""


def _narrower(inner: WaitKind | None, outer: WaitKind) -> WaitKind:
    if inner is None or inner in (WaitKind.BIT, WaitKind.WAIT_QUEUE):
        return outer
    if inner is WaitKind.PERCPU_READ and outer is WaitKind.PERCPU_WRITE:
        return outer
    return inner
