"""Could this message belong to the body of a report?

Generous on purpose: what doesn't belong is dropped when the report is parsed,
what is missed here would cut a report short.
"""

from __future__ import annotations

from postmortem.rules.alternatives import Alternatives

_REGISTERS = (
    r"[RE]?(?:IP|SP|AX|BP|SI|BX|DI|DX|CX)|[CD]R\d|R\d\d|[C-GS]S|ORIG_[RE]AX|EFLAGS|PKRU"
    r"|MSR|NIP|LR|GPR\d\d|CFAR|REGS|XER|CR|x\d{1,2}|r\d{1,2}|[ast]\d{1,2}|sp|pc|lr|fp|ip|gp|tp|ra|epc"
    r"|psr|pstate|pmr_save|status|badaddr|cause|Hi|Lo|Status|Cause|BadVA|PrId"
    r"|ERA|RA|CRMD|PRMD|EUEN|ECFG|ESTAT|BADV|PRID"
)


_STARTS = (
    # traps and registers
    r"\$ ?\d+ *:", "Krnl ", r"R:\d", "[Cc]ode:", "Instruction dump", "Last Breaking", "Mem abort",
    "Data abort", "Internal error", "Oops", "PGD", "pgd", "#PF", r"\*p", "Exception stack",
    "Flags: ", "Control: ", "Table", r"CPU: \d", "Pid: ", "Hardware name", "Modules linked",
    "Workqueue",
    "Tainted", r"task[:.]", "Process ", "Comm",
    # stacks
    "Call [Tt]race", "Trace", "Backtrace", "stack backtrace", "Stack", "Preemption",
    # sanitizers and the allocator

       r"(?:[Aa]llocated|[Ff]reed|[Rr]ead|[Ww]rite|Use-after-free|Out-of-bounds|Uninit|Bytes|Memory)\b",
    "Local variable", "Data copied", "value changed", "Reported by", "The buggy", "which belongs",
    "page", "flags:", "raw:", "head:", "addr ", "The physical", "Last potentially",
    "Second to last", "kfence-#", r"CPU\b", r">?[0-9a-f]{8,16}: ",
    r"[0-9a-f]{4}: {1,60}[0-9a-f]{8}\b", "object", "slab", "count ",
    "mapping", "aops", "ino:",
    "name:", "dentry", "KASAN", "kasan",
    # lockdep
    "but task", "which lock", "other info", "Possible ", "Chain", "the existing", "-> #",
    r"\d+ locks? held", "no locks", "and this task", "stack ", "locks held", r"#\d", "hardirqs",
    r"[0-9a-f]{0,16} ?\(.{1,200}\)\{[-+.?]{4,10}\}", "softirqs",
    "irq event", r"\*\*\*", "---", "===", r"\.\.\.  ", r"\S.{0,60}/\d+ (?:is|just|\[)",
    # stalls
    "NMI", "rcu", "[Ww]atchdog:? CPU", "Sending NMI", r"\(detected", "Showing",
    # memory
    "Mem-Info", "Node ", "Swap", "Total swap", "active_anon", "free:", "oom", "Out of memory",
    "Tasks state", r"\[ +pid", r"\[ *\d+\]", "Memory cgroup", "memory:", "swap:", "kmem:", "anon ",
    "file ", "cpu=", "cpuset", "gfp", r"\S+ invoked oom",
    # hardware
    "mce: ", r"\{\d+\}\[Hardware", r"\[Hardware",
    # the end
    "Kernel panic", "Kernel Offset", "Rebooting", "Dumping ftrace", "note: ", "SMP:", "Stopping",
    "general protection", "invalid opcode", "BUG:", "WARNING:", "INFO:", r"\[ *\w", r"\]",
)  # fmt: skip

_FITS = Alternatives(
    (
        r"\s+\S|$",  # indented: a frame, a register line, a continuation
        r"\(?\[<",
        r"\[[0-9a-f]{8,16}\]",
        r"\([\w+]+\+0x",
        "<",
        r"[\w.$]{1,200}(?:\+0x| from )",
        rf"(?:{_REGISTERS})\b *[:\[]",
        *_STARTS,
        r".{0,80}:$",
    )
)


def fits(text: str) -> bool:
    """Does it look like part of a report?"""
    return _FITS.match(text) is not None
