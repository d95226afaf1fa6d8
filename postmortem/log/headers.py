"""The table of report forms: how each kind of kernel report begins, and what it is called.

One :class:`Form` per way in which the kernel starts a report. What drivers and
file systems say in one line is in :mod:`postmortem.rules.messages`. A reader who
misses a report adds a row here and a test in ``tests/log/test_headers.py``.

* ``header`` is matched at the start of a message (after a ``watchdog: `` or the like).
* ``details`` are searched in each later line of the report; named groups become ``Report.detail``.
* ``title`` is in syzbot's form and takes the named groups and ``{function}``.
* ``find`` says where the guilty function is: see :mod:`postmortem.log.guilty`.
* ``continues`` names the forms of which this header is only a further line.
"""

# ruff: noqa: E501
# fmt: off
# A table is read by its columns: rows stay as wide as they are.

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import concat

from postmortem.model.findings import Kind
from postmortem.rules.messages import Message, messages


@dataclass(frozen=True, eq=False)
class Form:
    """One way in which a kernel report begins."""

    name: str
    kind: Kind
    header: str
    title: str
    find: str = "trace"
    type: str = ""
    alt: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    continues: tuple[str, ...] = ()
    brief: bool = False
    """The report is complete without a stack (an OOM kill, a machine check)."""
    bare: str = ""
    """The title where no function is known, if it is the kernel's own words."""
    skip: str = ""
    """Functions (a pattern) that are the mechanism of this check, not to blame for it."""
    preface: bool = False
    """Only announces the header that follows, which is the better one."""
    wide: bool = False
    """Other CPUs print into it: NMI backtraces, other tasks."""
    literals: tuple[str, ...] = ()
    """At least one of these is in every header line: what a scan looks for."""
    single: bool = False
    """The one line is all of it: it neither ends nor joins what others are printing."""


FUNC = r"[A-Za-z_.$<][^\s+()\[\]]{0,250}"
_OF = r"(?: \[(?P<module>[\w-]{1,64})\])?"
_HEX = r"(?:0x)?[0-9a-fA-F]+"

_FAULTS = ("page-fault", "s390-fault", "null-deref", "ppc-fault", "user-access", "gpf", "arm-unhandled", "alignment",
           "kernel-bug-at", "list-corruption", "bug-at", "usercopy", "stack-guard", "fortify", "cfi",
           "arm-stack", "trap")
"""Forms that an ``Oops: ...`` line belongs to."""



def _of_message(row: Message) -> Form:
    """A row of :mod:`postmortem.rules.messages` as a form."""
    return Form(row.name, row.kind, row.text, row.title, find=row.find, brief=True, skip=row.skip,
                details=row.details, continues=row.continues, literals=row.literals,
                single=not row.stack)


_KASAN_ACCESS = (
    r"^(?P<access>Read|Write) (?:of|at) (?:size|addr)\b(?: (?P<size>\d+))?",
    r"(?:at|by) addr (?P<address>[0-9a-f]+)",
    r"by task (?P<by>.{1,32})/\d+",
    r"which belongs to the cache (?P<cache>\S+)",
)

FORMS: tuple[Form, ...] = (
    # --- sanitizers ------------------------------------------------------------------
    Form("kasan-free", Kind.DOUBLE_FREE,
         rf"BUG: KASAN: (?P<what>double-free or invalid-free|double-free|invalid-free) in (?P<function>{FUNC})",
         "KASAN: {what} in {function}", find="witness", type="KASAN-{WHAT}",
         alt=("invalid-free in {function}",), details=_KASAN_ACCESS, literals=("BUG: KASAN:",)),
    Form("kasan", Kind.KASAN,
         rf"BUG: KASAN: (?P<rest>(?P<what>[a-z-]+)(?: on address\s+\(?\S+| in (?P<named>{FUNC})).*)",
         "KASAN: {what} {access} in {function}", find="witness", type="KASAN-{WHAT}-{ACCESS}",
         alt=("bad-access in {function}",), details=_KASAN_ACCESS, literals=("BUG: KASAN:",)),
    Form("kmsan", Kind.KMSAN, rf"BUG: KMSAN: (?P<what>[a-z-]+) in (?P<named>{FUNC})",
         "KMSAN: {what} in {function}", find="first", type="KMSAN-{WHAT}",
         alt=("bad-access in {function}",), literals=("BUG: KMSAN:",)),
    Form("kcsan-race", Kind.KCSAN,
         rf"BUG: KCSAN: data-race in (?P<first>{FUNC})(?:\+\S+)?{_OF}"
         rf"(?: / (?P<second>{FUNC})(?: \[(?P<module2>[\w-]{{1,64}})\])?)?",
         "KCSAN: data-race in {pair}", find="race", type="KCSAN-DATARACE",
         literals=("BUG: KCSAN:",)),
    Form("kcsan-assert", Kind.KCSAN,
         rf"BUG: KCSAN: assert: race in (?P<first>{FUNC})(?:\+\S+)?{_OF}"
         rf"(?: / (?P<second>{FUNC})(?: \[(?P<module2>[\w-]{{1,64}})\])?)?",
         "KCSAN: assert: race in {pair}", find="race", type="KCSAN-ASSERT",
         literals=("BUG: KCSAN:",)),
    Form("kfence-corruption", Kind.KFENCE, rf"BUG: KFENCE: memory corruption in (?P<named>{FUNC})",
         "KFENCE: memory corruption in {function}", find="first", type="KFENCE-MEMORY-CORRUPTION",
         literals=("BUG: KFENCE:",)),
    Form("kfence-free", Kind.KFENCE, rf"BUG: KFENCE: invalid free in (?P<named>{FUNC})",
         "KFENCE: invalid free in {function}", find="first", type="KFENCE-INVALID-FREE",
         alt=("invalid-free in {function}",), literals=("BUG: KFENCE:",)),
    Form("kfence", Kind.KFENCE,
         rf"BUG: KFENCE: (?P<what>[a-z -]+?(?P<access>read|write)?) in (?P<named>{FUNC})",
         "KFENCE: {what} in {function}", find="first", type="KFENCE-{WHAT}",
         alt=("bad-access in {function}",), literals=("BUG: KFENCE:",)),
    Form("ubsan-old", Kind.UBSAN, r"UBSAN: Undefined behaviour in (?P<file>[^\s:]+):(?P<lineno>\d+)",
         "UBSAN: undefined-behaviour in {function}", type="UBSAN", literals=("UBSAN:",)),
    Form("ubsan", Kind.UBSAN, r"UBSAN: (?P<what>[a-z-]+) in (?P<file>[^\s:]+):(?P<lineno>\d+)",
         "UBSAN: {what} in {function}", type="UBSAN", literals=("UBSAN:",)),
    Form("kmemleak", Kind.MEMORY_LEAK, r"BUG: memory leak|unreferenced object 0x",
         "memory leak in {function}", find="leak", type="LEAK", continues=("kmemleak",),
         details=(r"unreferenced object \S+ \(size (?P<size>\d+)\)",),
         literals=("BUG: memory leak", "unreferenced object")),

    # --- x86 oopses ------------------------------------------------------------------
    Form("null-deref", Kind.NULL_DEREFERENCE,
         rf"BUG: (?:unable to handle kernel NULL pointer dereference(?: at (?P<address>{_HEX}))?"
         rf"|kernel NULL pointer dereference, address: (?P<address2>{_HEX}))",
         "BUG: unable to handle kernel NULL pointer dereference in {function}", find="pc",
         type="NULL-POINTER-DEREFERENCE", alt=("bad-access in {function}",),
         details=(r"^#PF: (?P<access>\w+ \w+ (?:access|fetch)) in (?P<mode>\w+) mode",),
         literals=("NULL pointer dereference",)),
    Form("page-fault", Kind.BAD_POINTER,
         rf"BUG: unable to handle (?:kernel paging request(?: at (?P<address>{_HEX}))?"
         rf"|page fault for address: (?P<address2>{_HEX}))",
         "BUG: unable to handle kernel paging request in {function}", find="pc",
         type="MEMORY_SAFETY_BUG", alt=("bad-access in {function}",),
         details=(r"^#PF: (?P<access>\w+ \w+ (?:access|fetch)) in (?P<mode>\w+) mode",),
         literals=("BUG: unable to handle",)),
    Form("gpf", Kind.GENERAL_PROTECTION,
         r"(?:Oops: )?general protection fault(?:,? [\w ,-]{0,60}?(?P<address>0x[0-9a-f]+))?: [0-9a-f]{4} ",
         "general protection fault in {function}", find="pc", type="DoS",
         alt=("bad-access in {function}",),
         literals=("general protection fault",)),
    Form("gpf-bare", Kind.GENERAL_PROTECTION, r"general protection fault: [0-9a-f]{4}",
         "general protection fault in {function}", find="pc", type="DoS",
         alt=("bad-access in {function}",), literals=("general protection fault:",)),
    Form("stack-segment", Kind.GENERAL_PROTECTION, r"(?:Oops: )?stack segment: [0-9a-f]{4} ",
         "stack segment fault in {function}", find="pc", type="DoS",
         literals=("stack segment:",)),
    Form("divide", Kind.DIVIDE_ERROR, r"(?:Oops: )?divide[ _]error: [0-9a-f]{4} ",
         "divide error in {function}", find="pc", type="DoS", literals=("divide error:", "divide_error:")),
    Form("invalid-opcode", Kind.INVALID_OPCODE, r"(?:Oops: )?invalid opcode: [0-9a-f]{4} ",
         "invalid opcode in {function}", find="pc", type="DoS", continues=_FAULTS,
         literals=("invalid opcode:",)),
    Form("int3", Kind.INVALID_OPCODE, r"(?:Oops: )?int3: [0-9a-f]{4} ",
         "int3 in {function}", find="pc", type="DoS", literals=("int3:",)),
    Form("trap", Kind.BAD_POINTER,
         r"(?:Oops: )?(?P<what>bounds|alignment check|invalid TSS|segment not present|simd exception"
         r"|SIMD exception|coprocessor (?:segment overrun|error)|control protection|bad pagetable"
         r"|Bad pagetable): [0-9a-f]{4} ",
         "{what} in {function}", find="pc", type="DoS", continues=_FAULTS,
         literals=("bounds:", "alignment check:", "invalid TSS:", "segment not present:",
                   "simd exception:", "SIMD exception:", "coprocessor ", "control protection:",
                   "ad pagetable:")),
    Form("stack-guard", Kind.STACK_OVERFLOW, r"BUG: (?:\w+ )?stack guard page was hit at",
         "BUG: stack guard page was hit in {function}", find="pc",
         alt=("stack-overflow in {function}",), literals=("stack guard page",)),
    Form("stack-overflow", Kind.STACK_OVERFLOW, r"kernel stack overflow \((?:double-fault|page fault)",
         "kernel stack overflow in {function}", find="pc", type="DoS", continues=("stack-guard",),
         alt=("stack-overflow in {function}",), literals=("kernel stack overflow (",)),
    Form("double-fault", Kind.PANIC, r"PANIC: double fault",
         "PANIC: double fault in {function}", find="pc", type="DoS", continues=("stack-guard",),
         preface=True, literals=("double fault",)),
    Form("double-fault", Kind.PANIC, r"(?:Oops: )?double fault: [0-9a-f]{4} ",
         "PANIC: double fault in {function}", find="pc", type="DoS",
         continues=("stack-guard", "stack-overflow", "double-fault"),
         literals=("double fault",)),
    Form("early-exception", Kind.PANIC, r"PANIC: early exception (?:0x)?(?P<vector>[0-9a-f]+).{0,20} IP",
         "PANIC: early exception", find="pc", type="DoS", literals=("PANIC: early exception",)),
    Form("cfi", Kind.BAD_EXECUTION,
         rf"CFI failure (?:at (?P<named>{FUNC})|\(target: )",
         "CFI failure in {function}", find="pc", type="DoS", literals=("CFI failure",)),
    Form("ibt", Kind.BAD_EXECUTION, rf"Missing ENDBR: (?P<named>{FUNC})",
         "Missing ENDBR in {function}", find="named", type="DoS", literals=("Missing ENDBR",)),
    Form("oops", Kind.BAD_POINTER, r"Oops: (?:Oops: )?[0-9a-f]{4,16} \[#\d+\]",
         "Oops in {function}", find="pc", type="DoS", continues=_FAULTS, literals=("Oops:",)),

    # --- arm, arm64, riscv, mips, loongarch, ppc, s390 -----------------------------------
    Form("null-deref", Kind.NULL_DEREFERENCE,
         r"(?:CPU \d+ )?Unable to handle kernel NULL pointer dereference at virtual address (?P<address>[0-9a-fx]+)",
         "BUG: unable to handle kernel NULL pointer dereference in {function}", find="pc",
         type="NULL-POINTER-DEREFERENCE", alt=("bad-access in {function}",),
         literals=("Unable to handle kernel",)),
    Form("user-access", Kind.BAD_POINTER,
         r"Unable to handle kernel access to user memory(?: outside uaccess routines|without uaccess routines)?(?: at virtual address (?P<address>[0-9a-fx]+))?",
         "BUG: unable to handle kernel access to user memory in {function}", find="pc",
         type="MEMORY_SAFETY_BUG", alt=("bad-access in {function}",),
         literals=("Unable to handle kernel",)),
    Form("s390-fault", Kind.BAD_POINTER,
         r"Unable to handle kernel pointer dereference in virtual \w+ address space",
         "BUG: unable to handle kernel pointer dereference in {function}", find="pc",
         type="MEMORY_SAFETY_BUG", alt=("bad-access in {function}",),
         details=(r"^Failing address: (?P<address>[0-9a-f]+)",),
         literals=("Unable to handle kernel",)),
    Form("page-fault", Kind.BAD_POINTER,
         r"(?:CPU \d+ )?Unable to handle kernel (?:paging request|execut\w+ (?:from|of) \S+ memory|write to read-only memory"
         r"|read from unreadable memory|fault|pointer dereference)(?: at virtual(?: kernel)? address (?P<address>[0-9a-fx]+)"
         r"| in virtual kernel address space)?",
         "BUG: unable to handle kernel paging request in {function}", find="pc",
         type="MEMORY_SAFETY_BUG", alt=("bad-access in {function}",),
         details=(r"^Failing address: (?P<address>[0-9a-f]+)",),
         literals=("Unable to handle kernel",)),
    Form("ppc-fault", Kind.BAD_POINTER,
         r"BUG: Unable to handle kernel (?:data access|instruction fetch)(?: \(NULL pointer\?\))?(?: on (?P<access>read|write))?(?: at (?P<address>0x[0-9a-f]+))?",
         "BUG: unable to handle kernel paging request in {function}", find="pc",
         type="MEMORY_SAFETY_BUG", alt=("bad-access in {function}",),
         continues=("ppc-user",), literals=("BUG: Unable to handle kernel",)),
    Form("null-deref", Kind.NULL_DEREFERENCE,
         r"BUG: Kernel NULL pointer dereference(?: on (?P<access>read|write))?(?: at (?P<address>0x[0-9a-f]+))?",
         "BUG: unable to handle kernel NULL pointer dereference in {function}", find="pc",
         type="NULL-POINTER-DEREFERENCE", alt=("bad-access in {function}",), continues=("ppc-user",),
         literals=("BUG: Kernel NULL pointer dereference",)),
    Form("ppc-user", Kind.BAD_POINTER, r"Kernel attempted to (?P<access>\w+) user page \((?P<address>[0-9a-f]+)\)",
         "BUG: unable to handle kernel access to user memory in {function}", find="pc",
         type="MEMORY_SAFETY_BUG", preface=True, literals=("Kernel attempted to",)),
    Form("kernel-bug-at", Kind.BUG, r"(?:Oops - BUG|Kernel BUG|Kernel bug detected) ?\[#\d+\]",
         "kernel BUG in {function}", find="pc", type="BUG", continues=_FAULTS,
         literals=("Oops - BUG", "Kernel BUG", "Kernel bug detected")),
    Form("internal-bug", Kind.BUG, r"Internal error: (?:kernel BUG|Oops - BUG)\b",
         "kernel BUG in {function}", find="pc", type="BUG", continues=_FAULTS,
         literals=("Internal error:",)),
    Form("internal-undefined", Kind.INVALID_OPCODE,
         r"Internal error: Oops - [Uu]ndef(?:ined )?instr(?:uction)?\b",
         "invalid opcode in {function}", find="pc", type="DoS", continues=_FAULTS,
         literals=("Internal error:",)),
    Form("internal-error", Kind.BAD_POINTER, r"Internal error: (?P<what>[^\[]{0,120}?):? *[0-9a-f]* \[#\d+\]",
         "Internal error in {function}", find="pc", type="DoS",
         alt=("bad-access in {function}",), continues=_FAULTS, literals=("Internal error:",)),
    Form("arm-unhandled", Kind.BAD_POINTER,
         r"Unhandled (?:fault|prefetch abort): (?P<what>.{1,80}) \(0x[0-9a-f]+\) at (?P<address>0x[0-9a-f]+)",
         "Unhandled fault in {function}", find="pc", type="DoS",
         alt=("bad-access in {function}",), literals=("Unhandled fault:", "Unhandled prefetch abort:")),
    Form("alignment", Kind.BAD_POINTER, r"Alignment trap: not handling instruction",
         "Alignment trap in {function}", find="pc", type="DoS", literals=("Alignment trap:",)),
    Form("arm-stack", Kind.STACK_OVERFLOW, r"Insufficient stack space to handle exception",
         "kernel stack overflow in {function}", find="pc", type="DoS",
         alt=("stack-overflow in {function}",), literals=("Insufficient stack space",)),
    Form("bad-mode", Kind.BAD_POINTER, r"Bad mode in .{1,60} handler detected",
         "Bad mode in {function}", find="pc", type="DoS", literals=("Bad mode in",)),
    Form("serror", Kind.MACHINE_CHECK, r"SError Interrupt on CPU\d+",
         "SError Interrupt in {function}", find="pc", type="DoS", literals=("SError Interrupt on",)),
    Form("s390-trap", Kind.INVALID_OPCODE,
         r"(?P<what>illegal operation|specification exception|addressing exception|operation exception"
         r"|privileged operation|data exception|fixed point divide exception|translation exception"
         r"|monitor event|protection exception|kernel stack overflow): [0-9a-f]{4} ilc:",
         "{what} in {function}", find="pc", type="DoS", continues=_FAULTS, literals=(" ilc:",)),
    Form("mips-trap", Kind.INVALID_OPCODE,
         r"(?P<what>Reserved instruction in kernel code|Unhandled kernel unaligned access"
         r"|Break instruction in kernel code|Unhandled FPU exception)\[#\d+\]",
         "{what} in {function}", find="pc", type="DoS",
         literals=("in kernel code[#", "unaligned access[#", "FPU exception[#")),
    Form("riscv-trap", Kind.INVALID_OPCODE, r"Oops - (?P<what>.{1,60}?) \[#\d+\]",
         "{what} in {function}", find="pc", type="DoS", continues=_FAULTS, literals=("Oops - ",)),
    Form("ppc-oops", Kind.BAD_POINTER,
         r"Oops: (?P<what>Kernel access of bad area|Exception in kernel mode|Machine check|Weird page fault"
         r"|Bad kernel stack pointer|[A-Z][\w ]{2,40}), sig: \d+",
         "Oops: {what} in {function}", find="pc", type="DoS",
         continues=(*_FAULTS, "ppc-user"), literals=("Oops:",)),
    Form("s390-oops", Kind.BAD_POINTER, r"Oops: [0-9a-f]{4} ilc:\d",
         "Oops in {function}", find="pc", type="DoS", continues=_FAULTS, literals=("Oops:",)),
    Form("oops", Kind.BAD_POINTER, r"Oops ?(?:\[#\d+\]|\[\d+\])", "Oops in {function}", find="pc",
         type="DoS", continues=_FAULTS, literals=("Oops[#", "Oops [#")),

    # --- BUG() and its special sites -------------------------------------------------
    Form("list-corruption", Kind.LIST_CORRUPTION, r"list_(?:add|del)(?:_\w+)? (?:corruption|double add)",
         "BUG: corrupted list in {function}", type="MEMORY_SAFETY_BUG", find="pc",
         alt=("bad-access in {function}",), literals=("list_add", "list_del")),
    Form("list-corruption", Kind.LIST_CORRUPTION, r"kernel BUG at lib/list_debug\.c:\d+",
         "BUG: corrupted list in {function}", type="MEMORY_SAFETY_BUG", find="pc",
         alt=("bad-access in {function}",), continues=("list-corruption",),
         literals=("ernel BUG at",)),
    Form("usercopy", Kind.OUT_OF_BOUNDS,
         r"usercopy: (?:Kernel memory (?:exposure|overwrite) attempt|Bad or missing usercopy)",
         "BUG: bad usercopy in {function}", type="BUG", find="pc", literals=("usercopy: ",)),
    Form("usercopy", Kind.OUT_OF_BOUNDS, r"kernel BUG at mm/usercopy\.c:\d+",
         "BUG: bad usercopy in {function}", type="BUG", find="pc", continues=("usercopy",),
         literals=("ernel BUG at",)),
    Form("fortify", Kind.OUT_OF_BOUNDS, rf"detected buffer overflow in (?P<called>{FUNC})",
         "kernel BUG in {function}", type="BUG", find="pc",
         literals=("detected buffer overflow in",)),
    Form("bug-at", Kind.BUG, r"(?:k|K)ernel BUG at (?P<file>[^\s:]+):(?P<lineno>\d+)",
         "kernel BUG in {function}", type="BUG", find="pc",
         continues=("fortify", "list-corruption", "usercopy", "rust"),
         literals=("ernel BUG at",)),
    Form("bug-at", Kind.BUG, r"(?:k|K)ernel BUG at (?P<where>\S+)(?: \[verbose debug info unavailable\])?",
         "kernel BUG in {function}", type="BUG", find="pc", literals=("ernel BUG at",)),

    # --- atomic, preempt, locks ---------------------------------------------------------
    Form("atomic-sched", Kind.SCHEDULING_WHILE_ATOMIC, r"BUG: scheduling while atomic: ",
         "BUG: scheduling while atomic in {function}", type="ATOMIC_SLEEP", find="scheduled",
         literals=("BUG: scheduling while atomic",)),
    Form("atomic-sleep", Kind.SCHEDULING_WHILE_ATOMIC,
         r"BUG: sleeping function called from invalid context(?: at (?P<file>[^\s:]+):(?P<lineno>\d+))?",
         "BUG: sleeping function called from invalid context in {function}", type="ATOMIC_SLEEP",
         literals=("BUG: sleeping function",)),
    Form("preemptible", Kind.BUG,
         r"BUG: using (?P<what>[a-z_]+\(\)) in preemptible",
         "BUG: using {what} in preemptible code in {function}", type="LOCKDEP", find="caller",
         literals=("BUG: using ",)),
    Form("spinlock", Kind.DEADLOCK,
         r"BUG: (?P<lock>spinlock|rwlock) (?P<what>lockup suspected|lockup|recursion|cpu recursion"
         r"|already unlocked|bad magic|bad pointer|uninitialized|wrong owner|wrong CPU|trylock failure on UP) on ",
         "BUG: {lock} {what} in {function}", type="LOCKDEP",
         literals=("BUG: spinlock", "BUG: rwlock")),
    Form("circular", Kind.LOCKDEP,
         r"(?:WARNING|\[ INFO): possible circular locking dependency detected(?! has)",
         "possible deadlock in {function}", find="lock", type="LOCKDEP",
         bare="WARNING: possible circular locking dependency detected",
         details=(r"^(?P<by>.{1,40}/\d+) is trying to acquire",),
         literals=("circular locking dependency detected",)),
    Form("recursive", Kind.LOCKDEP, r"(?:WARNING|\[ INFO): possible recursive locking detected",
         "possible deadlock in {function}", find="lock", type="LOCKDEP",
         literals=("possible recursive locking",)),
    Form("inversion", Kind.LOCKDEP, r"(?:WARNING|\[ INFO): possible irq lock inversion",
         "possible deadlock in {function}", find="lock-changed", type="LOCKDEP",
         literals=("possible irq lock inversion",)),
    Form("irq-unsafe", Kind.LOCKDEP,
         r"(?:WARNING|\[ INFO): \w+-(?:READ-)?safe -> \w+-(?:READ-)?unsafe lock order detected",
         "possible deadlock in {function}", find="lock-order", type="LOCKDEP",
         literals=("unsafe lock order detected",)),
    Form("inconsistent", Kind.LOCKDEP, r"(?:WARNING|\[ INFO): inconsistent lock state",
         "inconsistent lock state in {function}", find="lock-state", type="LOCKDEP",
         literals=("inconsistent lock state",)),
    Form("rcu-usage", Kind.LOCKDEP, r"(?P<tag>WARNING|\[ INFO): suspicious RCU usage\.?",
         "{tag}: suspicious RCU usage in {function}", type="LOCKDEP", find="caller",
         details=(r"^(?P<file>[^\s:]+):(?P<lineno>\d+) \S.{0,100}!$",),
         literals=("suspicious RCU usage",)),
    Form("unlock-balance", Kind.LOCKDEP, r"(?P<tag>WARNING|\[ BUG): bad unlock balance detected!",
         "{tag}: bad unlock balance in {function}", find="released", type="LOCKDEP",
         literals=("bad unlock balance",)),
    Form("contention-balance", Kind.LOCKDEP, r"(?P<tag>WARNING|\[ BUG): bad contention detected!",
         "{tag}: bad contention in {function}", find="released", type="LOCKDEP",
         literals=("bad contention detected",)),
    Form("lock-freed", Kind.LOCKDEP, r"(?P<tag>WARNING|\[ BUG): held lock freed!",
         "{tag}: held lock freed in {function}", find="held", type="LOCKDEP", literals=("held lock freed!",)),
    Form("lock-user", Kind.LOCKDEP, r"(?P<tag>WARNING|\[ BUG): lock held when returning to user space!",
         "{tag}: lock held when returning to user space in {function}", find="held", brief=True, type="LOCKDEP",
         literals=("lock held when returning",)),
    Form("lock-left", Kind.LOCKDEP, r"(?P<tag>WARNING|\[ BUG): .{0,60}still has locks held!",
         "{tag}: still has locks held in {function}", find="held-inner", type="LOCKDEP",
         literals=("still has locks held!",)),
    Form("nested-lock", Kind.LOCKDEP, r"(?P<tag>WARNING|\[ BUG): Nested lock was not taken",
         "{tag}: nested lock was not taken in {function}", type="LOCKDEP",
         find="held", literals=("Nested lock was not taken",)),
    Form("wait-context", Kind.LOCKDEP, r"\[ BUG: Invalid wait context \]",
         "BUG: Invalid wait context in {function}", find="lock-taken", type="LOCKDEP",
         literals=("Invalid wait context",)),
    Form("lock-key", Kind.LOCKDEP, r"INFO: trying to register non-static key",
         "INFO: trying to register non-static key in {function}", type="LOCKDEP",
         literals=("register non-static key",)),
    Form("wq-leak", Kind.BUG, r"BUG: workqueue leaked (?:lock or atomic|atomic, lock or RCU)",
         "BUG: workqueue leaked lock or atomic in {function}", find="named", brief=True, type="LOCKDEP",
         details=(rf"last function: (?P<named>{FUNC})",), literals=("BUG: workqueue leaked",)),
    Form("lockdep-limit", Kind.LOCKDEP, r"BUG: (?P<what>MAX_[A-Z_]+) too low!",
         "BUG: {what} too low!", find="none", literals=("too low!",)),

    # --- stalls ----------------------------------------------------------------------
    Form("soft-lockup", Kind.SOFT_LOCKUP,
         r"BUG: soft lockup - CPU#?(?P<cpu>\d+) stuck for (?P<stuck>\d+)s!(?: \[(?P<by>.{1,40}):(?P<pid>\d+)\])?",
         "BUG: soft lockup in {function}", find="stall", type="HANG",
         alt=("stall in {function}",), wide=True, literals=("BUG: soft lockup",)),
    # arch/powerpc/kernel/watchdog.c: one CPU notices, the stuck one reports
    Form("hard-lockup", Kind.HARD_LOCKUP,
         r"(?:Watchdog )?CPU[: ]\d+ detected [Hh]ard LOCKUP (?:on )?other CPU[sS][: ] ?(?P<cpu>\d+)",
         "hard lockup in {function}", find="stall", type="HANG", alt=("stall in {function}",),
         preface=True, wide=True, literals=("hard LOCKUP", "Hard LOCKUP")),
    Form("hard-lockup", Kind.HARD_LOCKUP,
         r"(?:Watchdog )?CPU[: ](?P<cpu>\d+) (?:self-detected )?[Hh]ard LOCKUP",
         "hard lockup in {function}", find="stall", type="HANG", alt=("stall in {function}",),
         continues=("hard-lockup",), wide=True, literals=("hard LOCKUP", "Hard LOCKUP")),
    Form("hard-lockup", Kind.HARD_LOCKUP,
         r"(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu (?P<cpu>\d+)",
         "hard lockup in {function}", find="stall", type="HANG", alt=("stall in {function}",),
         wide=True, literals=("hard LOCKUP", "Hard LOCKUP")),
    Form("rcu-stall", Kind.RCU_STALL,
         r"INFO: (?P<flavour>rcu_\w+) (?:self-)?detected(?: expedited)? stalls?(?: on CPUs?(?:/tasks)?)?",
         "INFO: rcu detected stall in {function}", find="stall", type="HANG",
         alt=("stall in {function}",), wide=True, continues=("rcu-stall",),
         literals=("detected stall", "detected expedited stall")),
    Form("rcu-starved", Kind.RCU_STALL, r"(?P<flavour>rcu_\w+) kthread (?:starved for|timer wakeup)",
         "INFO: rcu kthread starved", find="none", type="HANG", wide=True, continues=("rcu-stall",),
         literals=("kthread starved for",)),
    Form("hung-task", Kind.HUNG_TASK,
         r"INFO: task (?P<by>.{1,64}?):(?P<pid>\d+) (?:\[\d+\] )?blocked(?: in I/O wait)? for more than (?P<seconds>\d+) seconds",
         "INFO: task hung in {function}", find="hang", type="HANG", alt=("hang in {function}",),
         details=(r"^INFO: task \S.{0,64} (?:is )?blocked on an? (?P<blocker_lock>\S+)(?:,? (?:but )?(?:likely |last )?owned by "
                  r"(?:task|writer|reader) (?P<blocker>.{1,64}?)\.?$)?",),
         wide=True, literals=("for more than",)),
    Form("cant-die", Kind.HUNG_TASK,
         r"INFO: task (?P<by>.{1,64}?):(?P<pid>\d+) can't die for more than (?P<seconds>\d+) seconds",
         "INFO: task can't die in {function}", find="hang", type="HANG",
         alt=("hang in {function}",), wide=True, literals=("for more than",)),
    Form("wq-lockup", Kind.WORKQUEUE_STALL, r"BUG: workqueue lockup",
         "BUG: workqueue lockup", find="none", type="HANG", wide=True,
         details=(r"^\s*(?:in-flight|pending): .{0,40}?:(?P<work>[A-Za-z_]\w+)",),
         literals=("BUG: workqueue lockup",)),
    Form("csd", Kind.HARD_LOCKUP,
         r"csd: Detected non-responsive CSD lock(?: \(#\d+\) on CPU#(?P<waiter>\d+), waiting (?P<waited_ns>\d+) ns"
         r" for CPU#0*(?P<silent>\d+)(?: (?P<called>[A-Za-z_]\w{0,200}))?)?",
         "smp: csd: non-responsive CSD lock in {function}", find="stall", type="HANG", wide=True,
         literals=("non-responsive CSD lock",)),

    # --- memory ------------------------------------------------------------------------
    Form("oom", Kind.OOM,
         r"(?P<by>.{1,32}?) invoked oom-killer: gfp_mask=(?P<gfp>0x[0-9a-f]+(?:\([^)]{1,200}\))?).{0,30}?, order=(?P<order>-?\d+)",
         "Out of memory: {constraint} order {order}", find="trace", type="DoS", brief=True,
         details=(r"oom-kill:constraint=(?P<constraint>\w+).{0,400}?,task=(?P<victim>.{1,32}),pid=(?P<victim_pid>\d+),uid=(?P<uid>\d+)",
                  r"Kill(?:ed)? process (?P<victim_pid>\d+) \((?P<victim>.{1,32}?)\)",
                  r"anon-rss:(?P<anon_rss_kb>\d+)kB", r"total-vm:(?P<total_vm_kb>\d+)kB",
                  r"^memory: usage (?P<memcg_usage_kb>\d+)kB, limit (?P<memcg_limit_kb>\d+)kB",
                  r"(?P<cgroup_oom>Memory cgroup out of memory)"),
         literals=("invoked oom-killer",)),
    Form("oom-kill", Kind.OOM,
         r"(?:Out of memory|(?P<cgroup_oom>Memory cgroup out of memory)): Kill(?:ed)? process (?P<victim_pid>\d+) \((?P<victim>.{1,32}?)\)",
         "Out of memory: kill", find="none", type="DoS", brief=True, continues=("oom",),
         literals=("ut of memory: Kill",)),
    Form("alloc-failure", Kind.ALLOCATION_FAILURE,
         r"(?P<by>.{1,32}?): page allocation failure: order:(?P<order>\d+), mode:(?P<gfp>\S{1,300})",
         "page allocation failure in {function}", type="DoS", literals=("page allocation failure",)),
    Form("alloc-failure", Kind.ALLOCATION_FAILURE, r"(?P<by>.{1,32}?): vmalloc(?: error| size|:? allocation failure)\b",
         "vmalloc allocation failure in {function}", type="DoS", literals=(": vmalloc",)),
    Form("bad-page", Kind.MEMORY_CORRUPTION, r"BUG: Bad page (?P<what>state|map|cache) in process",
         "BUG: Bad page {what} in {function}", find="badpage",
         bare="BUG: Bad page {what}", literals=("BUG: Bad page",)),
    Form("bad-page", Kind.MEMORY_CORRUPTION, r"BUG: Bad page (?P<what>state|map|cache)\b",
         "BUG: Bad page {what}", find="none", literals=("BUG: Bad page",)),
    Form("rss-counter", Kind.MEMORY_CORRUPTION, r"BUG: Bad rss-counter state",
         "BUG: Bad rss-counter state", find="none", brief=True, continues=("rss-counter",),
         literals=("BUG: Bad rss-counter",)),
    Form("pgtables", Kind.MEMORY_CORRUPTION, r"BUG: non-zero (?P<what>nr_\w+ on freeing mm|\w+ on freeing mm.{0,30})",
         "BUG: non-zero {what}", find="none", brief=True, literals=("on freeing mm",)),
    Form("slub", Kind.MEMORY_CORRUPTION,
         r"BUG (?P<cache>[\w:.#-]{1,64}) \([^)]{1,80}\): (?P<what>[A-Z].{3,120})",
         "BUG: {what}", find="trace", type="DoS", literals=("BUG ",)),
    Form("slub-warn", Kind.MEMORY_CORRUPTION, r"WARNING: .{0,60}\bmm/slub\.c:\d+ at? ?object_err|WARNING: .{0,60}\bmm/slub\.c:\d+ (?:at )?(?:object_err|slab_err|__slab_err|slab_fix)",
         "BUG: slab corruption in {function}", find="pc", type="DoS", continues=("slub",),
         literals=("WARNING:",)),
    Form("slab-tracking", Kind.MEMORY_CORRUPTION,
         r"INFO: (?P<rest>(?:(?:Allocated|Freed) in |(?:Slab|Object) 0x).{0,150})",
         "INFO: {rest}", find="none", continues=("slub", "slab-tracking"),
         literals=("INFO: Allocated in", "INFO: Freed in", "INFO: Slab 0x", "INFO: Object 0x")),
    Form("vfs-busy", Kind.USE_AFTER_FREE, r"VFS: Busy inodes after unmount of (?P<device>\S+)(?: \(\S+\))?",
         "VFS: Busy inodes after unmount (use-after-free)", find="none", type="DoS", brief=True,
         literals=("VFS: Busy inodes after unmount",)),
    Form("vfs-close", Kind.USE_AFTER_FREE, r"VFS: Close: file count is (?:0|zero)",
         "VFS: Close: file count is zero (use-after-free)", find="none", type="DoS", brief=True,
         literals=("VFS: Close: file count",)),
    Form("dentry", Kind.BUG, r"BUG: Dentry .{1,300} still in use",
         "BUG: Dentry still in use in unmount", find="none", literals=("BUG: Dentry",)),
    Form("pagealloc", Kind.MEMORY_CORRUPTION, r"pagealloc: (?:memory corruption|single bit error)",
         "pagealloc: memory corruption in {function}", literals=("pagealloc: ",)),

    # --- WARN() and its special sites ------------------------------------------------
    Form("bp-value", Kind.WARNING,
         r"WARNING: kernel stack (?P<what>regs|frame pointer) at \S+ in .{1,40} has bad (?P<value>'?\w+'? ?value)",
         "WARNING: kernel stack {what} has bad {value}", find="none", brief=True, literals=("WARNING: kernel stack",)),
    Form("odebug", Kind.WARNING, r"WARNING: .{0,100}\blib/debugobjects\.c:\d+",
         "WARNING: ODEBUG bug in {function}", type="WARNING", find="pc",
         skip=r"\w*(?:debug_|rcu_|timer_|timer$|work_|percpu_|kobject_|vunmap|vfree|__free_)\w*",
         details=(r"ODEBUG: (?P<what>.{1,40}?) .{0,40}object(?: type)?: (?P<object>.{1,60})",),
         literals=("WARNING:",)),
    Form("refcount", Kind.WARNING, r"WARNING: .{0,100}\blib/refcount\.c:\d+",
         "WARNING: refcount bug in {function}", type="REFCOUNT_WARNING", find="pc",
         details=(r"^refcount_t: (?P<what>.{1,60})",), literals=("WARNING:",)),
    Form("lockdep-bug", Kind.LOCKDEP, r"WARNING: .{0,100}\bkernel/locking/lockdep\.c:\d+",
         "WARNING: locking bug in {function}", type="LOCKDEP", find="pc", literals=("WARNING:",)),
    Form("kmalloc-bug", Kind.WARNING, r"WARNING: .{0,100}\bmm/.{1,20}\.c.{0,60}\bk.?malloc",
         "WARNING: kmalloc bug in {function}", type="WARNING", find="pc", literals=("WARNING:",)),
    Form("vmalloc-bug", Kind.WARNING, r"WARNING: .{0,100}\bmm/vmalloc\.c.{0,60}__vmalloc_node_range",
         "WARNING: zero-size vmalloc in {function}", type="WARNING", find="pc", literals=("WARNING:",)),
    Form("proc-bug", Kind.WARNING, r"WARNING: .{0,100}\bfs/proc/generic\.c.{0,60}proc_register",
         "WARNING: proc registration bug in {function}", type="WARNING", find="pc",
         skip=r"\w*proc_\w+",
         literals=("WARNING:",)),
    Form("usb-submit", Kind.WARNING, r"WARNING: .{0,100}\busb_submit_urb",
         "WARNING in {function}/usb_submit_urb", type="WARNING", find="pc",
         skip=r"usb_\w+_(?:msg|urb|wait_urb)\w*|usb_submit_urb\w*", literals=("WARNING:",)),
    Form("list-corruption", Kind.LIST_CORRUPTION, r"WARNING: .{0,100}\blib/list_debug\.c:\d+",
         "WARNING in {function}", type="WARNING", find="pc", continues=("list-corruption",), literals=("WARNING:",)),
    Form("kobject-bug", Kind.WARNING, r"WARNING: .{0,100}\blib/kobject\.c:\d+",
         "WARNING: kobject bug in {function}", type="WARNING", find="pc", literals=("WARNING:",)),
    Form("usercopy-bug", Kind.OUT_OF_BOUNDS, r"WARNING: .{0,100}\bmm/usercopy\.c:\d+",
         "WARNING: bad usercopy in {function}", type="WARNING", find="pc", continues=("usercopy",), literals=("WARNING:",)),
    Form("netdev-watchdog", Kind.WARNING, r"NETDEV WATCHDOG: (?P<device>\S+) \((?P<driver>[^)]*)\): transmit queue",
         "NETDEV WATCHDOG: transmit queue timed out", find="none", type="WARNING", brief=True,
         literals=("NETDEV WATCHDOG",)),
    Form("warning", Kind.WARNING,
         rf"WARNING: (?:\[.{{1,200}}?\] )?(?:CPU: \d+ PID: -?\d+ )?(?:at )?(?P<file>[\w./-]+\.[chSr]s?):(?P<lineno>\d+)"
         rf"(?:(?: at)? (?P<named>{FUNC}))?",
         "WARNING in {function}", type="WARNING", find="pc", continues=("netdev-watchdog",),
         literals=("WARNING:",)),
    Form("warning", Kind.WARNING, rf"WARNING: (?:CPU: \d+ PID: -?\d+ )?at (?:(?P<named>{FUNC})\+0x|\S)",
         "WARNING in {function}", type="WARNING", find="pc", literals=("WARNING:",)),
    Form("badness", Kind.WARNING, r"Badness at (?P<file>[^\s:]+):(?P<lineno>\d+)",
         "WARNING in {function}", type="WARNING", find="pc", literals=("Badness at",)),
    Form("rtnl-assert", Kind.WARNING, r"RTNL: assertion failed at (?P<file>[^\s:(]+) ?[:(] ?(?P<lineno>\d+)",
         "RTNL: assertion failed in {function}", find="trace", literals=("RTNL: assertion failed",)),

    # --- hardware ----------------------------------------------------------------------
    Form("mce", Kind.MACHINE_CHECK,
         r"\[Hardware Error\]: CPU (?P<cpu>\d+): Machine Check(?: Exception)?: (?P<mcgstatus>[0-9a-f]+) Bank (?P<bank>\d+): (?P<status>[0-9a-f]+)",
         "mce: Machine Check in bank {bank}", find="none", brief=True, type="",
         details=(r"TSC (?P<tsc>[0-9a-f]+)", r"ADDR (?P<addr>[0-9a-f]+)", r"MISC (?P<misc>[0-9a-f]+)",
                  r"PROCESSOR (?P<processor>\d+:[0-9a-f]+)"),
         literals=("Machine Check",)),
    Form("mce", Kind.MACHINE_CHECK,
         r"\[Hardware Error\]: CPU:(?P<cpu>\d+) \([0-9a-f:]+\) MC(?P<bank>\d+)_STATUS\[[^\]]*\]: (?P<status>0x[0-9a-f]+)",
         "mce: Machine Check in bank {bank}", find="none", brief=True, continues=("mce",),
         details=(r"Error Addr: 0x(?P<addr>[0-9a-f]{1,16})\b",), literals=("_STATUS[",)),
    Form("nmi-unknown", Kind.NMI, r"Uhhuh\. NMI received for unknown reason (?P<reason>[0-9a-f]+)",
         "NMI received for unknown reason", find="none", brief=True, literals=("Uhhuh. NMI",)),
    Form("nmi-serr", Kind.NMI, r"NMI: (?P<what>PCI system error|IOCK error|Not continuing|memory parity error)",
         "NMI: {what}", find="none", brief=True, literals=("NMI: ",)),
    Form("irq-nobody", Kind.BUG, r"irq (?P<irq>\d+): nobody cared",
         "irq: nobody cared", find="none", literals=("nobody cared",)),

    # --- other ---------------------------------------------------------------------------
    Form("netdev-free", Kind.BUG, r"unregister_netdevice: waiting for (?P<device>\S+) to become free",
         "unregister_netdevice: waiting for DEV to become free", find="none", type="DoS", brief=True,
         continues=("netdev-free",), literals=("unregister_netdevice: waiting",)),
    Form("rust", Kind.BUG, r"(?:rust_kernel: )?(?:panicked at|rust_kernel: panicked at) (?P<file>[^\s:]+):(?P<lineno>\d+)",
         "{message} in {function}", find="pc", literals=("panicked at",)),
    Form("sysrq-crash", Kind.USER_REQUESTED, r"(?:sysrq: )?(?:SysRq : )?Trigger a (?:crash|crashdump)",
         "sysrq triggered crash", find="none", brief=True, literals=("Trigger a crash",)),
    Form("root-mount", Kind.ROOT_MOUNT,
         r"Kernel panic - not syncing: (?P<message>VFS: Unable to mount root fs.{0,120}|No (?:working )?init found.{0,120}|Requested init .{1,100} failed.{0,40})",
         "kernel panic: {message}", find="trace", type="DoS", literals=("Kernel panic",)),
    Form("init-killed", Kind.INIT_KILLED,
         r"Kernel panic - not syncing: (?P<message>Attempted to kill (?:init|the idle task)!)(?: exitcode=(?P<exitcode>0x[0-9a-f]+))?",
         "kernel panic: {message}", find="trace", type="DoS", literals=("Kernel panic",)),
    Form("stack-end", Kind.STACK_OVERFLOW, r"Kernel panic - not syncing: corrupted stack end(?: detected inside scheduler)?",
         "kernel panic: corrupted stack end in {function}", type="DoS", alt=("stack-overflow in {function}",),
         literals=("Kernel panic",)),
    Form("stack-protector", Kind.MEMORY_CORRUPTION,
         rf"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: (?:\[?<?[0-9a-f]{{8,16}}>?\]? ?)?(?P<named>{FUNC}(?:\+\S+)?(?: \[[\w-]+\])?)?",
         "kernel panic: stack is corrupted in {function}", type="DoS", find="named", brief=True,
         literals=("Kernel panic",)),
    Form("panic-sysrq", Kind.USER_REQUESTED, r"Kernel panic - not syncing: (?P<message>sysrq triggered crash)",
         "kernel panic: {message}", find="trace", type="DoS",
         literals=("Kernel panic",)),
    Form("panic-oom", Kind.OOM, r"Kernel panic - not syncing: (?P<message>(?:Out of memory|System is deadlocked on memory).{0,120})",
         "kernel panic: {message}", find="trace", type="DoS", literals=("Kernel panic",)),
    Form("panic-mce", Kind.MACHINE_CHECK,
         r"Kernel panic - not syncing: (?P<message>(?:Fatal (?:local )?machine check|Timeout: Not all CPUs entered|Machine check|Uncorrected hardware|Fatal hardware error|Asynchronous SError).{0,100})",
         "kernel panic: {message}", find="trace", type="DoS", literals=("Kernel panic",)),
    Form("panic-hung", Kind.HUNG_TASK, r"Kernel panic - not syncing: (?P<message>hung_task: blocked tasks)",
         "kernel panic: {message}", find="none", type="DoS", literals=("Kernel panic",)),
    Form("panic-soft", Kind.SOFT_LOCKUP, r"Kernel panic - not syncing: (?P<message>softlockup: hung tasks)",
         "kernel panic: {message}", find="none", type="DoS", literals=("Kernel panic",)),
    Form("panic-hard", Kind.HARD_LOCKUP, r"Kernel panic - not syncing: (?P<message>(?:Hard LOCKUP|Watchdog detected hard LOCKUP).{0,40})",
         "kernel panic: Hard LOCKUP", find="none", type="DoS", literals=("Kernel panic",)),
    Form("panic-rcu", Kind.RCU_STALL, r"Kernel panic - not syncing: (?P<message>RCU Stall)",
         "kernel panic: {message}", find="none", type="DoS", literals=("Kernel panic",)),
    Form("panic-nmi", Kind.NMI, r"Kernel panic - not syncing: (?P<message>(?:NMI|nmi_).{0,80})",
         "kernel panic: {message}", find="trace", type="DoS", literals=("Kernel panic",)),
    Form("panic", Kind.PANIC, r"Kernel panic - not syncing: ?(?P<message>.{0,200})",
         "kernel panic: {message}", find="trace", type="DoS", literals=("Kernel panic",)),

    # --- what other programs print of a stack
    Form("crash-bt", Kind.STACK_TRACE,
         r'PID: (?P<pid>\d{1,10}) +TASK: [0-9a-f]{8,16} +CPU: (?P<cpu>\d{1,6}) +COMMAND: "(?P<by>[^"]{0,64})"',
         "stack trace in {function}", find="pc", literals=('COMMAND: "',)),

    # --- whatever else calls itself a BUG ------------------------------------------------
    Form("bug", Kind.BUG, r"BUG: (?P<message>[^\s].{0,200})", "BUG: {message}", find="none",
         literals=("BUG:",)),
    *map(_of_message, messages()),
)

HEADLESS = Form("stack", Kind.STACK_TRACE, r"", "stack trace in {function}", find="pc")
"""A stack whose header is in no table, or is not in the log any more."""

# Who speaks before the header proper.
_SOURCE = re.compile(
    r"(?:(?:rcu|NMI watchdog|watchdog|traps|mce|sched|smp|x86|lkdtm|slab|SLUB|workqueue|kasan|page_owner"
    r"|(?:Uncorrected )?pstore|DMA-API|EDAC|rust_kernel|dump_stack|kernel|\{\d+\}"
    r"|(?:pcieport|pci|ahci|scsi|sd|ata|Oops) ?[\da-f:.]{0,20}): )?(?:CPU\d+: )?"
)

# Headers that count even behind other text on the same line: a login prompt, a message
# without a newline. They are too particular to be said by anybody else.
_STRONG = re.compile(
    r"BUG: (?:KASAN|KMSAN|KCSAN|KFENCE|unable to handle|kernel NULL pointer|soft lockup)|kernel BUG at "
    r"|(?:Oops: )?general protection fault[^\[\n]{0,100}: [0-9a-f]{4} \[#|Unable to handle kernel "
    r"|(?:divide error|invalid opcode|Oops): [0-9a-f]{4} \[#|Kernel panic - not syncing: |Internal error: .{1,60}\[#"
    r"|WARNING: CPU: \d+ PID: -?\d+ at |INFO: rcu_\w+ (?:self-)?detected"
    r"|\[ (?:BUG|INFO): (?:bad|possible|inconsistent|held|suspicious|lock) [a-zA-Z ]+[!\]]"
)

# Messages that look like a header and are none.
_SILENT = re.compile(
    r"WARNING: (?:[Tt]he mand mount|stack recursion|can't access registers|Unprivileged|fbcon)"
    r"|BUG: (?:KASAN: )?$"
    r"|general protection fault ip:"
)


@cache
def _by_literal() -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for index, form in enumerate(FORMS):
        for literal in form.literals:
            found.setdefault(literal, []).append(index)
    return {literal: tuple(indexes) for literal, indexes in found.items()}


@cache
def _pattern(form: Form) -> re.Pattern[str]:
    return re.compile(form.header)  # compiled when its literal is first seen: start-up counts


def literals() -> tuple[str, ...]:
    """What a scan must stop at: every header line holds one of these."""
    return tuple(dict.fromkeys(literal for form in FORMS for literal in form.literals))


@cache
def _title_of(form: Form) -> re.Pattern[str] | None:
    """The title of a form as tools write it; ``None`` where the kernel itself prints the like."""
    words = form.title.removesuffix("in {function}").replace("{tag}", "WARNING")
    if not form.title.endswith("in {function}") or words.startswith("{") or " in " in form.header:
        return None
    parts = map(re.escape, re.split(r"\{\w+\}", words))
    return re.compile(r"[\w ()-]{1,60}".join(parts) + r"in [A-Za-z_][\w.]*(?:\s|$)")


def _is_title(form: Form, text: str, at: int) -> bool:
    """Is this the name of a bug, in a text about it, instead of what a kernel printed?

    A title names the function right behind the words that the kernel's own header goes on
    from with an address, a CPU or a task.
    """
    pattern = _title_of(form)
    return pattern is not None and pattern.match(text, at) is not None


@dataclass(frozen=True)
class Header:
    """A header that was found in a message."""

    form: Form
    match: re.Match[str]


def headless() -> Header:
    """The header that a stack without one gets."""
    match = _pattern(HEADLESS).match("")
    assert match is not None
    return Header(HEADLESS, match)


@cache
def _by_pair() -> dict[str, tuple[str, ...]]:
    """The literals by two letters of each, the pair that fewest of them have."""
    pairs = {text: {text[n : n + 2] for n in range(len(text) - 1)} for text in _by_literal()}
    often = Counter(pair for own in pairs.values() for pair in own)
    found: dict[str, list[str]] = {}
    for text, own in pairs.items():
        found.setdefault(min(own, key=lambda pair: (often[pair], pair)), []).append(text)
    return {pair: tuple(texts) for pair, texts in found.items()}


def _present(text: str) -> list[str]:
    """The literals in a text: few are looked for, those of which a pair of letters is there."""
    table = _by_pair()
    pairs = table.keys() & set(map(concat, text, text[1:]))
    return [literal for pair in pairs for literal in table[pair] if literal in text]


@lru_cache(maxsize=64)
def match_header(text: str) -> Header | None:
    """Is this message the first line of a kernel report?"""
    table = _by_literal()
    present = _present(text)
    if not present or text.startswith("---[ end"):
        return None
    source = _SOURCE.match(text)
    starts = {0, source.end() if source else 0}
    rows = [FORMS[index] for index in sorted({n for literal in present for n in table[literal]})]
    for at in sorted(starts, reverse=True):
        if _SILENT.match(text, at):
            return None
        for form in rows:
            if at and form.single:
                continue  # its device stands in front
            match = _pattern(form).match(text, at)
            if match is not None:
                return None if _is_title(form, text, at) else Header(form, match)
    strong = _STRONG.search(text)
    if strong is not None and strong.start() > 0 and text[strong.start() - 1] not in "\"'`/=":
        for form in rows:
            match = _pattern(form).match(text, strong.start())
            if match is not None:
                return None if _is_title(form, text, strong.start()) else Header(form, match)
    return None
