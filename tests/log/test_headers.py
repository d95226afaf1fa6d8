"""Every way in which a report begins, by one line of it."""

# ruff: noqa: E501

from __future__ import annotations

import pytest

from postmortem.log.headers import FORMS, literals, match_header
from postmortem.log.needles import coarse
from postmortem.log.scan import reports_from_records, scan_bytes
from postmortem.model.findings import Kind
from postmortem.model.report import Record, Report
from postmortem.rules.messages import row_of

# (form, kind, first line). Wordings are those of the kernel's own format strings.
EXAMPLES: list[tuple[str, Kind, str]] = [
    ("kasan", Kind.KASAN, "BUG: KASAN: slab-out-of-bounds in acme+0x1/0x2"),
    ("kasan", Kind.KASAN, "BUG: KASAN: use-after-free in acme+0x1/0x2 at addr ffff88003a6bd110"),
    ("kasan-free", Kind.DOUBLE_FREE, "BUG: KASAN: double-free in acme+0x1/0x2"),
    ("kmsan", Kind.KMSAN, "BUG: KMSAN: uninit-value in acme+0x1/0x2"),
    ("kcsan-race", Kind.KCSAN, "BUG: KCSAN: data-race in acme_read / acme_write"),
    ("kcsan-assert", Kind.KCSAN, "BUG: KCSAN: assert: race in acme / acme"),
    ("kfence", Kind.KFENCE, "BUG: KFENCE: use-after-free read in acme+0x1/0x2"),
    ("kfence-free", Kind.KFENCE, "BUG: KFENCE: invalid free in acme+0x1/0x2"),
    ("kfence-corruption", Kind.KFENCE, "BUG: KFENCE: memory corruption in acme+0x1/0x2"),
    ("ubsan", Kind.UBSAN, "UBSAN: array-index-out-of-bounds in drivers/acme/core.c:12:3"),
    ("ubsan-old", Kind.UBSAN, "UBSAN: Undefined behaviour in drivers/acme/core.c:12:3"),
    ("kmemleak", Kind.MEMORY_LEAK, "BUG: memory leak"),
    (
        "null-deref",
        Kind.NULL_DEREFERENCE,
        "BUG: kernel NULL pointer dereference, address: 0000000000000010",
    ),
    (
        "null-deref",
        Kind.NULL_DEREFERENCE,
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000010",
    ),
    (
        "null-deref",
        Kind.NULL_DEREFERENCE,
        "BUG: unable to handle kernel NULL pointer dereference at           (null)",
    ),
    (
        "null-deref",
        Kind.NULL_DEREFERENCE,
        "BUG: Kernel NULL pointer dereference on read at 0x00000010",
    ),
    (
        "page-fault",
        Kind.BAD_POINTER,
        "BUG: unable to handle page fault for address: ffffffff12345678",
    ),
    (
        "page-fault",
        Kind.BAD_POINTER,
        "BUG: unable to handle kernel paging request at ffffffff12345678",
    ),
    (
        "gpf",
        Kind.GENERAL_PROTECTION,
        "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT SMP",
    ),
    ("gpf", Kind.GENERAL_PROTECTION, "general protection fault: 0000 [#1] SMP"),
    (
        "gpf",
        Kind.GENERAL_PROTECTION,
        "Oops: general protection fault, kernel NULL pointer dereference 0x8: 0000 [#1] SMP",
    ),
    ("stack-segment", Kind.GENERAL_PROTECTION, "stack segment: 0000 [#1] SMP"),
    ("divide", Kind.DIVIDE_ERROR, "Oops: divide error: 0000 [#1] SMP"),
    ("invalid-opcode", Kind.INVALID_OPCODE, "Oops: invalid opcode: 0000 [#1] SMP"),
    ("int3", Kind.INVALID_OPCODE, "int3: 0000 [#1] SMP"),
    ("trap", Kind.BAD_POINTER, "alignment check: 0000 [#1] SMP"),
    ("trap", Kind.BAD_POINTER, "Bad pagetable: 000f [#1] SMP"),
    (
        "stack-guard",
        Kind.STACK_OVERFLOW,
        "BUG: TASK stack guard page was hit at 00000000f00df00d (stack is 0..1)",
    ),
    ("double-fault", Kind.PANIC, "traps: PANIC: double fault, error_code: 0x0"),
    (
        "early-exception",
        Kind.PANIC,
        "PANIC: early exception 0x0e IP 10:ffffffff81000000 error 0 cr2 0x0",
    ),
    (
        "cfi",
        Kind.BAD_EXECUTION,
        "CFI failure at acme_call+0x1/0x2 (target: acme_x+0x0/0x8; expected type: 0x1234abcd)",
    ),
    ("ibt", Kind.BAD_EXECUTION, "traps: Missing ENDBR: acme_call+0x0/0x10"),
    (
        "user-access",
        Kind.BAD_POINTER,
        "Unable to handle kernel access to user memory outside uaccess routines at virtual address 0000000000400000",
    ),
    (
        "page-fault",
        Kind.BAD_POINTER,
        "Unable to handle kernel execute from non-executable memory at virtual address ffff800010000000",
    ),
    (
        "s390-fault",
        Kind.BAD_POINTER,
        "Unable to handle kernel pointer dereference in virtual kernel address space",
    ),
    (
        "page-fault",
        Kind.BAD_POINTER,
        "CPU 0 Unable to handle kernel paging request at virtual address 00000004, epc == 80100000, ra == 80100004",
    ),
    (
        "ppc-fault",
        Kind.BAD_POINTER,
        "BUG: Unable to handle kernel data access on read at 0xc0000000deadbeef",
    ),
    (
        "ppc-user",
        Kind.BAD_POINTER,
        "Kernel attempted to read user page (10) - exploit attempt? (uid: 0)",
    ),
    ("ppc-oops", Kind.BAD_POINTER, "Oops: Kernel access of bad area, sig: 11 [#1]"),
    ("internal-bug", Kind.BUG, "Internal error: Oops - BUG: 00000000f2000800 [#1] PREEMPT SMP"),
    (
        "internal-undefined",
        Kind.INVALID_OPCODE,
        "Internal error: Oops - Undefined instruction: 0000000002000000 [#1] SMP",
    ),
    (
        "internal-error",
        Kind.BAD_POINTER,
        "Internal error: synchronous external abort: 0000000096000010 [#1] PREEMPT SMP",
    ),
    ("kernel-bug-at", Kind.BUG, "Kernel BUG [#1]"),
    (
        "arm-unhandled",
        Kind.BAD_POINTER,
        "Unhandled fault: alignment exception (0x001) at 0xc1234567",
    ),
    (
        "alignment",
        Kind.BAD_POINTER,
        "Alignment trap: not handling instruction e1b23f9f at [<c0123456>]",
    ),
    ("arm-stack", Kind.STACK_OVERFLOW, "Insufficient stack space to handle exception!"),
    (
        "bad-mode",
        Kind.BAD_POINTER,
        "Bad mode in Error handler detected on CPU0, code 0xbf000002 -- SError",
    ),
    ("serror", Kind.MACHINE_CHECK, "SError Interrupt on CPU0, code 0x00000000be000011 -- SError"),
    ("s390-trap", Kind.INVALID_OPCODE, "illegal operation: 0001 ilc:1 [#1] SMP"),
    ("mips-trap", Kind.INVALID_OPCODE, "Reserved instruction in kernel code[#1]:"),
    ("riscv-trap", Kind.INVALID_OPCODE, "Oops - illegal instruction [#1]"),
    (
        "list-corruption",
        Kind.LIST_CORRUPTION,
        "list_del corruption. prev->next should be ffff888, but was dead000000000122",
    ),
    (
        "usercopy",
        Kind.OUT_OF_BOUNDS,
        "usercopy: Kernel memory exposure attempt detected from SLUB object 'acme' (offset 0, size 4096)!",
    ),
    ("fortify", Kind.OUT_OF_BOUNDS, "detected buffer overflow in memcpy"),
    ("bug-at", Kind.BUG, "kernel BUG at drivers/acme/core.c:99!"),
    (
        "atomic-sched",
        Kind.SCHEDULING_WHILE_ATOMIC,
        "BUG: scheduling while atomic: acmed/12/0x00000002",
    ),
    (
        "atomic-sleep",
        Kind.SCHEDULING_WHILE_ATOMIC,
        "BUG: sleeping function called from invalid context at mm/page_alloc.c:4983",
    ),
    (
        "preemptible",
        Kind.BUG,
        "BUG: using smp_processor_id() in preemptible [00000000] code: acmed/12",
    ),
    ("spinlock", Kind.DEADLOCK, "BUG: spinlock lockup suspected on CPU#0, acmed/12"),
    ("spinlock", Kind.DEADLOCK, "BUG: rwlock bad magic on CPU#1, acmed/12"),
    ("circular", Kind.LOCKDEP, "WARNING: possible circular locking dependency detected"),
    ("recursive", Kind.LOCKDEP, "[ INFO: possible recursive locking detected ]"),
    ("inversion", Kind.LOCKDEP, "WARNING: possible irq lock inversion dependency detected"),
    ("irq-unsafe", Kind.LOCKDEP, "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected"),
    ("inconsistent", Kind.LOCKDEP, "WARNING: inconsistent lock state"),
    ("rcu-usage", Kind.LOCKDEP, "WARNING: suspicious RCU usage"),
    ("unlock-balance", Kind.LOCKDEP, "WARNING: bad unlock balance detected!"),
    ("contention-balance", Kind.LOCKDEP, "WARNING: bad contention detected!"),
    ("lock-freed", Kind.LOCKDEP, "WARNING: held lock freed!"),
    ("lock-user", Kind.LOCKDEP, "WARNING: lock held when returning to user space!"),
    ("lock-left", Kind.LOCKDEP, "WARNING: acmed/12 still has locks held!"),
    ("nested-lock", Kind.LOCKDEP, "WARNING: Nested lock was not taken"),
    ("wait-context", Kind.LOCKDEP, "[ BUG: Invalid wait context ]"),
    ("lock-key", Kind.LOCKDEP, "INFO: trying to register non-static key."),
    ("wq-leak", Kind.BUG, "BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/12"),
    ("lockdep-limit", Kind.LOCKDEP, "BUG: MAX_LOCKDEP_CHAINS too low!"),
    (
        "soft-lockup",
        Kind.SOFT_LOCKUP,
        "watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [acmed:12]",
    ),
    (
        "soft-lockup",
        Kind.SOFT_LOCKUP,
        "NMI watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [acmed:12]",
    ),
    ("hard-lockup", Kind.HARD_LOCKUP, "NMI watchdog: Watchdog detected hard LOCKUP on cpu 3"),
    ("hard-lockup", Kind.HARD_LOCKUP, "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"),
    ("rcu-stall", Kind.RCU_STALL, "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:"),
    (
        "rcu-stall",
        Kind.RCU_STALL,
        "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... } 22 jiffies",
    ),
    ("rcu-stall", Kind.RCU_STALL, "INFO: rcu_sched self-detected stall on CPU"),
    (
        "rcu-starved",
        Kind.RCU_STALL,
        "rcu: rcu_sched kthread starved for 2000 jiffies! g17 f0x0 RCU_GP_WAIT_FQS(5)",
    ),
    ("hung-task", Kind.HUNG_TASK, "INFO: task acmed:12 blocked for more than 120 seconds."),
    (
        "hung-task",
        Kind.HUNG_TASK,
        "INFO: task acmed:12 blocked in I/O wait for more than 120 seconds.",
    ),
    ("cant-die", Kind.HUNG_TASK, "INFO: task acmed:12 can't die for more than 143 seconds."),
    (
        "wq-lockup",
        Kind.WORKQUEUE_STALL,
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
    ),
    (
        "csd",
        Kind.HARD_LOCKUP,
        "smp: csd: Detected non-responsive CSD lock (#1) on CPU#0, waiting 5000000000 ns for CPU#01",
    ),
    (
        "oom",
        Kind.OOM,
        "acmed invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0",
    ),
    ("oom", Kind.OOM, "acmed invoked oom-killer: gfp_mask=0x201da, order=0, oom_score_adj=0"),
    ("oom-kill", Kind.OOM, "Out of memory: Killed process 12 (acmed) total-vm:1kB, anon-rss:1kB"),
    ("oom-kill", Kind.OOM, "Out of memory: Kill process 12 (acmed) score 901 or sacrifice child"),
    (
        "alloc-failure",
        Kind.ALLOCATION_FAILURE,
        "acmed: page allocation failure: order:9, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)",
    ),
    (
        "alloc-failure",
        Kind.ALLOCATION_FAILURE,
        "acmed: vmalloc error: size 1234, failed to allocate pages, mode:0xcc2",
    ),
    ("bad-page", Kind.MEMORY_CORRUPTION, "BUG: Bad page state in process acmed  pfn:12345"),
    (
        "rss-counter",
        Kind.MEMORY_CORRUPTION,
        "BUG: Bad rss-counter state mm:00000000deadbeef type:MM_ANONPAGES val:1",
    ),
    ("pgtables", Kind.MEMORY_CORRUPTION, "BUG: non-zero pgtables_bytes on freeing mm: 4096"),
    (
        "slub",
        Kind.MEMORY_CORRUPTION,
        "BUG kmalloc-64 (Tainted: G    B      OE     ): Right Redzone overwritten",
    ),
    (
        "slub",
        Kind.MEMORY_CORRUPTION,
        "BUG acme_cache (Not tainted): Objects remaining on __kmem_cache_shutdown()",
    ),
    (
        "slub-warn",
        Kind.MEMORY_CORRUPTION,
        "WARNING: CPU: 1 PID: 173 at mm/slub.c:1127 object_err+0x1dc/0x2c0",
    ),
    (
        "slab-tracking",
        Kind.MEMORY_CORRUPTION,
        "INFO: Freed in acme_put+0x1/0x2 age=12 cpu=0 pid=12",
    ),
    ("vfs-close", Kind.USE_AFTER_FREE, "VFS: Close: file count is 0"),
    (
        "kobject-bug",
        Kind.WARNING,
        "WARNING: CPU: 0 PID: 12 at lib/kobject.c:734 kobject_get+0x1/0x2",
    ),
    (
        "usercopy-bug",
        Kind.OUT_OF_BOUNDS,
        "WARNING: CPU: 0 PID: 12 at mm/usercopy.c:81 usercopy_warn+0x1/0x2",
    ),
    ("vfs-busy", Kind.USE_AFTER_FREE, "VFS: Busy inodes after unmount of loop0 (acmefs)"),
    ("pagealloc", Kind.MEMORY_CORRUPTION, "pagealloc: memory corruption"),
    (
        "bp-value",
        Kind.WARNING,
        "WARNING: kernel stack regs at 00000000deadbeef in acmed:12 has bad 'bp' value 00000000deadbeef",
    ),
    (
        "odebug",
        Kind.WARNING,
        "WARNING: CPU: 0 PID: 12 at lib/debugobjects.c:502 debug_print_object+0x1/0x2",
    ),
    (
        "refcount",
        Kind.WARNING,
        "WARNING: CPU: 0 PID: 12 at lib/refcount.c:28 refcount_warn_saturate+0x1/0x2",
    ),
    (
        "lockdep-bug",
        Kind.LOCKDEP,
        "WARNING: CPU: 0 PID: 12 at kernel/locking/lockdep.c:232 __lock_acquire+0x1/0x2",
    ),
    ("kmalloc-bug", Kind.WARNING, "WARNING: CPU: 0 PID: 12 at mm/util.c:597 kvmalloc_node+0x1/0x2"),
    (
        "vmalloc-bug",
        Kind.WARNING,
        "WARNING: CPU: 0 PID: 12 at mm/vmalloc.c:3137 __vmalloc_node_range+0x1/0x2",
    ),
    (
        "proc-bug",
        Kind.WARNING,
        "WARNING: CPU: 0 PID: 12 at fs/proc/generic.c:330 proc_register+0x1/0x2",
    ),
    (
        "usb-submit",
        Kind.WARNING,
        "WARNING: CPU: 0 PID: 12 at drivers/usb/core/urb.c:502 usb_submit_urb+0x1/0x2",
    ),
    (
        "list-corruption",
        Kind.LIST_CORRUPTION,
        "WARNING: CPU: 0 PID: 12 at lib/list_debug.c:53 __list_del_entry+0x1/0x2",
    ),
    (
        "netdev-watchdog",
        Kind.WARNING,
        "NETDEV WATCHDOG: eth0 (acme_nic): transmit queue 0 timed out",
    ),
    (
        "warning",
        Kind.WARNING,
        "WARNING: CPU: 0 PID: 12 at drivers/acme/core.c:12 acme+0x1/0x2 [acme]",
    ),
    ("warning", Kind.WARNING, "WARNING: at drivers/acme/core.c:12 acme+0x1/0x2()"),
    ("warning", Kind.WARNING, "WARNING: drivers/acme/core.c:12 at acme+0x1/0x2, CPU#1: acmed/12"),
    (
        "warning",
        Kind.WARNING,
        "WARNING: [acme->busy] drivers/acme/core.c:12 at acme+0x1/0x2, CPU#1: acmed/12",
    ),
    ("warning", Kind.WARNING, "WARNING: drivers/acme/core.c:12 at 0x0, CPU#1: acmed/12"),
    ("badness", Kind.WARNING, "Badness at drivers/acme/core.c:12"),
    ("rtnl-assert", Kind.WARNING, "RTNL: assertion failed at net/core/dev.c (1234)"),
    (
        "mce",
        Kind.MACHINE_CHECK,
        "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 7: cc00008000010091",
    ),
    (
        "mce",
        Kind.MACHINE_CHECK,
        "[Hardware Error]: CPU:4 (19:21:2) MC5_STATUS[-|UE|MiscV|AddrV|-|-]: 0xbc00080001010135",
    ),
    ("nmi-unknown", Kind.NMI, "Uhhuh. NMI received for unknown reason 3d on CPU 0."),
    ("nmi-serr", Kind.NMI, "NMI: PCI system error (SERR) for reason a1 on CPU 0."),
    ("irq-nobody", Kind.BUG, 'irq 16: nobody cared (try booting with the "irqpoll" option)'),
    (
        "netdev-free",
        Kind.BUG,
        "unregister_netdevice: waiting for lo to become free. Usage count = 2",
    ),
    (
        "crash-bt",
        Kind.STACK_TRACE,
        'PID: 2311     TASK: ffff9a1203f4c000  CPU: 3    COMMAND: "heron"',
    ),
    ("rust", Kind.BUG, "rust_kernel: panicked at drivers/acme/core.rs:12:3:"),
    ("sysrq-crash", Kind.USER_REQUESTED, "sysrq: Trigger a crash"),
    ("sysrq-crash", Kind.USER_REQUESTED, "sysrq: SysRq : Trigger a crash"),
    (
        "root-mount",
        Kind.ROOT_MOUNT,
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    ),
    (
        "root-mount",
        Kind.ROOT_MOUNT,
        "Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.",
    ),
    (
        "init-killed",
        Kind.INIT_KILLED,
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b",
    ),
    (
        "stack-end",
        Kind.STACK_OVERFLOW,
        "Kernel panic - not syncing: corrupted stack end detected inside scheduler",
    ),
    (
        "stack-protector",
        Kind.MEMORY_CORRUPTION,
        "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: acme+0x1/0x2 [acme]",
    ),
    ("panic-sysrq", Kind.USER_REQUESTED, "Kernel panic - not syncing: sysrq triggered crash"),
    ("panic-oom", Kind.OOM, "Kernel panic - not syncing: System is deadlocked on memory"),
    ("panic-mce", Kind.MACHINE_CHECK, "Kernel panic - not syncing: Fatal machine check"),
    ("panic-hung", Kind.HUNG_TASK, "Kernel panic - not syncing: hung_task: blocked tasks"),
    ("panic-soft", Kind.SOFT_LOCKUP, "Kernel panic - not syncing: softlockup: hung tasks"),
    ("panic-hard", Kind.HARD_LOCKUP, "Kernel panic - not syncing: Hard LOCKUP"),
    ("panic-rcu", Kind.RCU_STALL, "Kernel panic - not syncing: RCU Stall"),
    ("panic-nmi", Kind.NMI, "Kernel panic - not syncing: NMI: Not continuing"),
    ("panic", Kind.PANIC, "Kernel panic - not syncing: acme gave up"),
    ("bug", Kind.BUG, "BUG: acme lost its way"),
    (
        "dentry",
        Kind.BUG,
        "BUG: Dentry 00000000deadbeef{i=1,n=acme} still in use (1) [unmount of acmefs]",
    ),
    ("oops", Kind.BAD_POINTER, "Oops: Oops: 0002 [#1] PREEMPT SMP"),
    ("s390-oops", Kind.BAD_POINTER, "Oops: 0004 ilc:2 [#1] SMP"),
    ("oops", Kind.BAD_POINTER, "Oops[#1]:"),
    ("gpf-bare", Kind.GENERAL_PROTECTION, "general protection fault: 0000"),
    ("stack-overflow", Kind.STACK_OVERFLOW, "kernel stack overflow (double-fault): 0000 [#1] SMP"),
]

GLUED = [
    ("gpf", "kasan: GPF could be caused by NULL-ptr derefgeneral protection fault: 0000 [#1] SMP"),
    ("page-fault", "acme login: BUG: unable to handle page fault for address: ffffffff12345678"),
    (
        "null-deref",
        "acme login: Unable to handle kernel NULL pointer dereference at virtual address 00000008",
    ),
    ("unlock-balance", "status = 0[ BUG: bad unlock balance detected! ]"),
]

SILENT = [
    "ODEBUG: Out of memory. ODEBUG disabled",
    "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
    "WARNING: the mand mount option is being deprecated and",
    "WARNING: fbcon: Driver 'acmedrm' missed to adjust virtual screen size (0x0 vs. 64x16)",
    "traps: acmed[12] general protection fault ip:7f00 sp:7f00 error:0 in libacme.so[7f00+1000]",
    "acmed[12]: segfault at 10 ip 00007f1c sp 00007ffd error 4 in libacme.so[7f00+9000]",
    "Command line: root=/dev/vda1 oops=panic panic_on_warn=1",
    "XFS (vdb): WARNING: Reset corrupted AGFL on AG 0.",
    "INFO: lockdep is turned off.",
    "INFO: NMI handler (perf) took too long to run: 1.2 msecs",
    "acme.c: BUG hunting is fun",
    "---[ end Kernel panic - not syncing: Fatal exception ]---",
    "kernel: panic_on_oops=1",
    "audit: type=1400 msg='Kernel panic - not syncing: acme'",
]


@pytest.mark.parametrize(
    ("form", "kind", "line"), EXAMPLES, ids=[line[:60] for _, _, line in EXAMPLES]
)
def test_first_line_is_recognised(form: str, kind: Kind, line: str) -> None:
    header = match_header(line)
    assert header is not None
    assert (header.form.name, header.form.kind) == (form, kind)


@pytest.mark.parametrize(("form", "line"), GLUED)
def test_first_line_behind_other_text_is_recognised(form: str, line: str) -> None:
    header = match_header(line)
    assert header is not None and header.form.name == form


@pytest.mark.parametrize("line", SILENT)
def test_look_alike_is_no_header(line: str) -> None:
    assert match_header(line) is None


def test_every_form_of_the_core_has_an_example() -> None:
    core = {form.name for form in FORMS if row_of(form.name) is None}
    assert core - {name for name, _, _ in EXAMPLES} == set()


@pytest.mark.parametrize("line", [line for _, _, line in EXAMPLES])
def test_a_scan_stops_at_every_first_line(line: str) -> None:
    assert any(literal in line for literal in literals())


@pytest.mark.parametrize("literal", literals())
def test_the_slow_search_finds_what_the_fast_one_finds(literal: str) -> None:
    assert any(needle in literal.encode() for needle in coarse())


@pytest.mark.parametrize("name", sorted({name for form in FORMS for name in form.continues}))
def test_forms_only_continue_forms_that_exist(name: str) -> None:
    assert name in {form.name for form in FORMS}


def test_what_people_read_keeps_the_numbers() -> None:
    line = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(8,1)"
    (report,) = reports_from_records([Record(1, line)])
    assert report.title.endswith("unknown-block(NUM,NUM)")
    assert report.shown.endswith("unknown-block(8,1)")
    assert report.readable == report.shown


def report(*lines: str) -> Report:
    return reports_from_records([Record(n, line) for n, line in enumerate(lines, 1)])[0]


def test_without_a_function_the_title_is_what_the_kernel_said() -> None:
    line = "WARNING: possible circular locking dependency detected"
    assert report(line).title == line
    assert report("BUG: Bad page map in process acmed  pte:80").title == "BUG: Bad page map"


def test_how_the_scheduler_complains_is_not_what_called_it() -> None:
    found = report(
        "BUG: scheduling while atomic: acmed/77/0x00000201",
        "Call Trace:",
        " dump_stack+0x14d/0x20b",
        " stop_acme_saved+0xcb/0xcb",
        " __schedule_bug+0x10f/0x140",
        " __schedule+0xd18/0x1d30",
        " schedule+0x8f/0x1b0",
        " acme_poll+0x12/0x80",
    )
    assert found.function == "acme_poll"


def test_kasan_may_catch_the_unwinder_itself() -> None:
    head = "BUG: KASAN: slab-out-of-bounds in %s+0x2d/0x330"
    rest = ("Write of size 88 at addr ffff8801d818fe98 by task acmed/40", "Call Trace:")
    assert report(head % "__unwind_start", *rest).function == "__unwind_start"
    assert report(head % "memcpy", *rest).function is None


def test_a_race_has_the_module_of_both_sides() -> None:
    def module(other: str) -> str | None:
        text = f"[    3.0] BUG: KCSAN: data-race in shrew_inc [shrew] / shrew_peek [{other}]\n"
        (report,) = scan_bytes(text.encode()).reports
        assert report.title == "KCSAN: data-race in shrew_inc / shrew_peek"
        return report.module

    assert (module("shrew"), module("mole")) == ("shrew", None)


def test_an_rtmutex_deadlock_is_one() -> None:
    lines = [
        "------------[ cut here ]------------",
        "rtmutex deadlock detected",
        "WARNING: CPU: 1 PID: 18 at kernel/locking/rtmutex.c:1663 rt_mutex_handle_deadlock+0x4c/0x60",
        "CPU: 1 PID: 18 Comm: shrewd Not tainted 6.6.30-rt30 #1",
        "RIP: 0010:rt_mutex_handle_deadlock+0x4c/0x60",
        "Call Trace:",
        " __rt_mutex_slowlock_locked.constprop.0+0x3a4/0x4a0",
        " mutex_lock+0x48/0x90",
        " shrew_update+0x2c/0x80 [shrew]",
        "---[ end trace 0000000000000000 ]---",
    ]
    text = "".join(f"[    3.000000] {line}\n" for line in lines)
    (report,) = scan_bytes(text.encode()).reports
    assert (report.kind, report.function) == (Kind.DEADLOCK, "shrew_update")


def test_a_cut_report_of_a_worker_names_the_work_it_ran() -> None:
    found = report(
        "BUG: unable to handle page fault for address: ffff888100000000",
        "CPU: 1 PID: 77 Comm: kworker/1:2 Not tainted 6.6.1 #1",
        "Workqueue: events acme_reset_work [acme]",
        "RIP: 0010:number+0x464/0x5d0",
    )
    assert (found.function, found.module) == ("acme_reset_work", "acme")
    assert found.pc is not None and found.pc.function == "number"


def test_what_another_cpu_works_at_is_not_what_the_report_ran() -> None:
    found = report(
        "watchdog: BUG: soft lockup - CPU#1 stuck for 23s! [acmed:77]",
        "CPU: 1 PID: 77 Comm: acmed Not tainted 6.6.1 #1",
        "RIP: 0010:number+0x464/0x5d0",
        "NMI backtrace for cpu 3",
        "CPU: 3 PID: 78 Comm: kworker/3:2 Not tainted 6.6.1 #1",
        "Workqueue: events acme_reset_work [acme]",
    )
    assert "work" not in found.detail and found.function != "acme_reset_work"
