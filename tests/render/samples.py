"""Analyses made by hand, for the renderers only: no machine died of these."""

from __future__ import annotations

from postmortem.model.findings import (
    Block,
    Column,
    Confidence,
    Culprit,
    Evidence,
    Finding,
    Kind,
    Problem,
    Severity,
    Signature,
    Table,
    TaskRef,
    Unit,
    Verdict,
)
from postmortem.model.frame import Frame
from postmortem.model.report import Code, Report, Stack
from postmortem.model.result import Analysis, Input, ModuleInfo, System, TaskStack

SHELL = TaskRef(312, "sh")
CULPRIT = Culprit("pm_null_write", "pm_fault", "pm_fault.c", 87, SHELL, 1)
SIGNATURE = Signature(
    exact="null-dereference:pm_null_write:trigger_write:vfs_write:ksys_write",
    frames="null-dereference:pm_null_write:trigger_write:vfs_write",
    coarse="null-dereference in pm_null_write",
)
TITLE = "BUG: unable to handle kernel NULL pointer dereference in pm_null_write"
EVIDENCE = (
    Evidence("BUG: kernel NULL pointer dereference, address: 0000000000000018", "log line 412"),
    Evidence(
        "the trapping instruction is `mov %rax,0x18(%rdi)` and rdi is 0", "pm_null_write+0x12"
    ),
    Evidence("offset 0x18 is `struct pm_job.count`", "type of the first parameter"),
    Evidence("Kernel panic - not syncing: Fatal exception follows 0.002 s later", "log line 451"),
)
CODE = Block(
    "Code at pm_null_write+0x12 [pm_fault]",
    (
        "pm_null_write+0x0   0f 1f 44 00 00           nopl   0x0(%rax,%rax,1)",
        "pm_null_write+0x5   48 c7 c0 2a 00 00 00     mov    $0x2a,%rax",
        "pm_null_write+0x12  48 89 47 18              mov    %rax,0x18(%rdi)     rdi = 0",
        "pm_null_write+0x16  c3                       ret",
    ),
    mark=2,
)
MAIN = Finding(
    id="oops-1",
    kind=Kind.NULL_DEREFERENCE,
    severity=Severity.FATAL,
    confidence=Confidence.CERTAIN,
    title=TITLE,
    explanation="sh wrote to the member count of a struct pm_job through a NULL pointer.",
    evidence=EVIDENCE,
    culprit=CULPRIT,
    signature=SIGNATURE,
    blocks=(CODE,),
    log_line=412,
    time=31.25,
)
CONSEQUENCE = Finding(
    id="panic-1",
    kind=Kind.PANIC,
    severity=Severity.FATAL,
    confidence=Confidence.CERTAIN,
    title="Kernel panic - not syncing: Fatal exception",
    explanation="The kernel is set to panic on an oops.",
    evidence=(Evidence("panic_on_oops is 1", "symbol panic_on_oops"),),
    caused_by=("oops-1",),
    log_line=451,
)
ASIDE = Finding(
    id="hung-1",
    kind=Kind.HUNG_TASK,
    severity=Severity.WARNING,
    confidence=Confidence.LIKELY,
    title="INFO: task hung in pm_wait",
    explanation="kworker/0:2 has waited 130 s for a mutex that nobody holds any more.",
    evidence=(Evidence("state D since 130 s", "task 77"), Evidence("mutex owner is 0", "pm_lock")),
    tables=(
        Table(
            "Waiters",
            (Column("pid", Unit.ID), Column("command"), Column("for", Unit.SECONDS)),
            ((77, "kworker/0:2", 130.25),),
        ),
    ),
    next_steps=("Look who held pm_lock last.",),
)


def unwound(
    address: int,
    function: str | None = None,
    offset: int | None = None,
    file: str | None = None,
    line: int | None = None,
    module: str | None = None,
) -> Frame:
    """A frame as memory gives it."""
    return Frame(function, offset, module=module, address=address, file=file, line=line)


STACK = TaskStack(
    SHELL,
    "R",
    1,
    (
        Frame(
            "pm_null_write",
            0x12,
            0x20,
            "pm_fault",
            0xFFFFFFFFC0201012,
            segment="exception",
            file="pm_fault.c",
            line=87,
            interrupted=True,
            locals={"job": "(struct pm_job *)0x0"},
        ),
        unwound(0xFFFFFFFFC0201400, "trigger_write", 0x40, "pm_fault.c", 240, "pm_fault"),
        unwound(0xFFFFFFFF81400100, "vfs_write", 0xF0, "fs/read_write.c", 584),
        unwound(0xFFFFFFFF81400700, "ksys_write", 0x6F, "fs/read_write.c", 637),
        unwound(0xFFFFFFFF81F00080, "do_syscall_64", 0x5B),
        unwound(0xFFFFFFFF820000AA),
    ),
)
IDLE = TaskStack(
    TaskRef(0, "swapper/0"),
    "I",
    0,
    (unwound(0xFFFFFFFF81F01000, "default_idle", 0xF), unwound(0x1000, "do_idle", 0x1)),
)
REPORT = Report(
    kind=Kind.NULL_DEREFERENCE,
    title=TITLE,
    line=412,
    end_line=449,
    text=("BUG: kernel NULL pointer dereference, address: 0000000000000018", "#PF: ..."),
    type="NULL-POINTER-DEREFERENCE",
    time=31.25,
    function="pm_null_write",
    module="pm_fault",
    pc=Frame("pm_null_write", 0x12, 0x20, "pm_fault"),
    task=SHELL,
    cpu=1,
    taint="G           OE",
    release="6.1.0-56-cloud-amd64",
    arch="x86_64",
    frames=(
        Frame("trigger_write", 0x40, 0x60, "pm_fault"),
        Frame("show_trace_log_lvl", 0x1D2, 0x2EF, reliable=False),
        Frame("vfs_write", 0xF0, 0x440, address=0xFFFFFFFF81400100),
    ),
    stacks=(Stack("Allocated by task 12", (Frame("kmalloc", 1, 2),), 420),),
    registers={"RAX": 0x2A, "RDI": 0},
    fault_address=0x18,
    code=Code(b"\x48\x89\x47\x18\xc3", 0, "x86_64"),
    modules=("pm_fault",),
    signature=SIGNATURE,
)
PANIC_REPORT = Report(
    kind=Kind.PANIC,
    title="kernel panic: Fatal exception",
    line=451,
    end_line=452,
    text=("Kernel panic - not syncing: Fatal exception",),
    consequence_of=0,
)

CRASH = Analysis(
    input=Input(
        "vmcore",
        "vmcore",
        "ELF vmcore",
        268_903_424,
        True,
        ("pages of user space and free pages were filtered out (dump level 31)",),
    ),
    system=System(
        release="6.1.0-56-cloud-amd64",
        version="#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1",
        arch="x86_64",
        nodename="guest",
        hardware="QEMU Standard PC (i440FX + PIIX, 1996)",
        cpus=2,
        memory_bytes=267_911_168,
        uptime_seconds=31.4,
        crash_time=1_763_907_986,
        taint=(
            "D: kernel died recently (oops or BUG)",
            "O: out-of-tree module was loaded",
            "E: unsigned module was loaded",
        ),
        modules=(ModuleInfo("pm_fault", 16384, "OE", 0xFFFFFFFFC0201000), ModuleInfo("virtio")),
        command_line="console=ttyS0 panic_on_oops=1",
        load_average=(0.31, 0.08, 0.02),
        tasks=63,
        task_states={"S": 40, "I": 20, "R": 2, "D": 1},
    ),
    types_from="btf",
    verdict=Verdict(
        kind=Kind.NULL_DEREFERENCE,
        title=TITLE,
        summary="Task sh wrote to member count of a struct pm_job (offset 0x18) through a NULL "
        "pointer, its first parameter. The oops made the kernel panic.",
        confidence=Confidence.CERTAIN,
        culprit=CULPRIT,
        signature=SIGNATURE,
        evidence=EVIDENCE,
        next_steps=(
            "Find who calls pm_null_write with NULL: trigger_write (pm_fault.c:240).",
            "Give --vmlinux or --debug-dir to see file, line and locals.",
        ),
        finding="oops-1",
    ),
    findings=(MAIN, CONSEQUENCE, ASIDE),
    reports=(REPORT, PANIC_REPORT),
    cpus=(IDLE, STACK),
    tables=(
        Table(
            "Largest tasks",
            (
                Column("pid", Unit.ID),
                Column("command"),
                Column("RSS", Unit.BYTES),
                Column("swap", Unit.BYTES),
            ),
            ((1, "init", 5 << 20, None), (312, "sh", 1 << 20, 512)),
            note="swap is off",
        ),
    ),
    blocks=(Block("Note", ("one", "two")),),
    log_tail=(
        "[   31.250000] Kernel panic - not syncing: Fatal exception",
        "[   31.252000] ---[ end Kernel panic - not syncing: Fatal exception ]---",
    ),
    problems=(Problem("task list", "page 0xffff888001234000 is excluded after 61 tasks"),),
    timings={"open": 0.21, "types": 0.08},
)

HEALTHY = Analysis(
    input=Input("snapshot", "vmcore", "kdump-compressed (zlib)", 31_000_000, True),
    system=System(release="6.12.117+deb12-cloud-amd64", cpus=1),
    types_from="btf",
    verdict=Verdict(
        Kind.NONE,
        "no crash: this machine was healthy",
        "Nothing in the log or in memory says that this machine broke.",
        Confidence.LIKELY,
    ),
)

LOG = Analysis(
    input=Input("console.log", "log", "kernel log", 52_000, True),
    system=System(release="6.1.0-56-cloud-amd64"),
    types_from="none",
    verdict=CRASH.verdict,
    findings=(MAIN,),
    reports=(REPORT,),
)

ALL = {"crash": CRASH, "healthy": HEALTHY, "log": LOG}
