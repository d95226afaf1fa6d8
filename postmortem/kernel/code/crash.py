"""The crash as the dying CPU's stack tells it, for dumps whose log is gone."""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.arch import arch_of
from postmortem.arch.model import Code
from postmortem.kernel.code.fault import Fault, fault_at
from postmortem.kernel.cpu.cpus import Cpu, cpus, panic_cpu
from postmortem.kernel.cpu.registers import InterruptedFrame, interrupted_frames
from postmortem.model.findings import Kind
from postmortem.model.frame import Frame
from postmortem.rules.poison import is_canonical

_NULL_PAGE = 4096

# Functions that call panic() for a reason of their own.
_CALLERS = {
    "sysrq_handle_crash": Kind.USER_REQUESTED,
    "out_of_memory": Kind.OOM,
    "check_panic_on_oom": Kind.OOM,
    "check_hung_uninterruptible_tasks": Kind.HUNG_TASK,
    "watchdog": Kind.HUNG_TASK,
    "watchdog_timer_fn": Kind.SOFT_LOCKUP,
    "watchdog_overflow_callback": Kind.HARD_LOCKUP,
    "watchdog_hardlockup_check": Kind.HARD_LOCKUP,
    "rcu_sched_clock_irq": Kind.RCU_STALL,
    "mount_root_generic": Kind.ROOT_MOUNT,
    "mount_block_root": Kind.ROOT_MOUNT,
    "do_exit": Kind.INIT_KILLED,
    "unknown_nmi_error": Kind.NMI,
    "__warn": Kind.WARNING,
    "__schedule_bug": Kind.SCHEDULING_WHILE_ATOMIC,
    "__stack_chk_fail": Kind.MEMORY_CORRUPTION,
}


@dataclass(frozen=True)
class Crash:
    """Who crashed, and how it looks from its stack."""

    cpu: Cpu
    kind: Kind
    interrupted: InterruptedFrame | None
    """The frame that an exception broke into: the fault."""
    fault: Fault | None
    frames: tuple[Frame, ...]
    """The stack from the fault, or from the caller of panic(), outwards."""


def crash(prog: drgn.Program) -> Crash | None:
    """Read the crash off the panicking CPU's stack; ``None`` if no CPU panicked."""
    number = panic_cpu(prog)
    cpu = next((cpu for cpu in cpus(prog) if cpu.number == number), None)
    if cpu is None or cpu.trace is None:
        return None
    exceptions = arch_of(prog).exceptions
    faults = [
        item for item in interrupted_frames(cpu.trace, arch_of(prog)) if item.entry in exceptions
    ]
    if faults and not _panicked_on_purpose(cpu, faults[-1]):
        return _exception(prog, cpu, faults[-1])
    if cpu.stack and not any(frame.function in _STOPPING for frame in cpu.stack):
        # A kdump saves the registers of the fault itself: the stack starts there.
        at_fault = InterruptedFrame(cpu.stack[0].pc, cpu.trace[0].registers(), None)
        found = _exception(prog, cpu, at_fault)
        if not _can_fault(found.fault, arch_of(prog).code):
            where = cpu.stack[0].function
            raise LookupError(
                f"the stack of CPU {cpu.number} shows neither panic() nor an exception, "
                f"and the instruction that it stands at in {where} accesses no memory"
            )
        return found
    return _called(cpu)


def _can_fault(fault: Fault | None, code: Code) -> bool:
    """Whether the instruction may have raised an exception; that there is none did."""
    if fault is None or fault.address is not None:
        return True
    mnemonic = fault.instruction.mnemonic
    return mnemonic in code.bug or mnemonic.startswith(code.divides)


def _panicked_on_purpose(cpu: Cpu, interrupted: InterruptedFrame) -> bool:
    """Whether panic() was called while an exception was handled, not because of it."""
    for frame in cpu.stack:
        if frame.pc == interrupted.pc:
            return False
        if (frame.function or "") in ("out_of_memory", "check_panic_on_oom"):
            return True
    return False


def _exception(prog: drgn.Program, cpu: Cpu, interrupted: InterruptedFrame) -> Crash:
    fault = fault_at(prog, interrupted.pc, interrupted.registers)
    start = next((n for n, f in enumerate(cpu.stack) if f.pc == interrupted.pc), 0)
    above = [frame.function for frame in cpu.stack[:start]]
    kind = _kind(
        fault,
        arch_of(prog).exceptions.get(interrupted.entry or ""),
        code=arch_of(prog).code,
        warned="__warn" in above,
    )
    return Crash(cpu, kind, interrupted, fault, cpu.stack[start:])


def _kind(fault: Fault | None, entry: Kind | None, *, code: Code, warned: bool) -> Kind:
    """What the exception and the instruction together say."""
    if fault is None:
        return Kind.BAD_EXECUTION if entry in (None, Kind.BAD_POINTER) else entry
    mnemonic = fault.instruction.mnemonic
    if entry is Kind.BUG or (entry is None and mnemonic in code.bug):
        # Any other undefined opcode is just that.
        if mnemonic not in code.bug:
            return Kind.INVALID_OPCODE
        return Kind.WARNING if warned else Kind.BUG
    if fault.base_poison is not None and fault.base_poison.freed:
        return Kind.USE_AFTER_FREE
    if entry is None and mnemonic.startswith(code.divides):
        return Kind.DIVIDE_ERROR
    if entry in (None, Kind.BAD_POINTER) and fault.address is not None:
        if fault.address < _NULL_PAGE:
            return Kind.NULL_DEREFERENCE
        if entry is None and not is_canonical(fault.address):
            return Kind.GENERAL_PROTECTION
    return entry or Kind.BAD_POINTER


_STOPPING = ("panic", "vpanic", "nmi_panic", "crash_kexec", "__crash_kexec")


def _called(cpu: Cpu) -> Crash:
    """panic() was called without an exception: by whom says why."""
    start = 0
    for number, frame in enumerate(cpu.stack):
        if frame.function in _STOPPING:
            start = number + 1
    frames = cpu.stack[start:]
    callers = [(frame.function or "").partition(".")[0] for frame in frames]
    kind = next((_CALLERS[name] for name in callers if name in _CALLERS), None)
    if kind is None:
        kind = Kind.WARNING if "check_panic_on_warn" in callers else Kind.PANIC
    return Crash(cpu, kind, None, None, frames)
