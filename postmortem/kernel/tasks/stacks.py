"""Kernel stacks: unwound by drgn from ORC, named from kallsyms, told apart by context."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import drgn

from postmortem.arch import arch_of
from postmortem.arch.model import Arch
from postmortem.dump.damage import damage
from postmortem.kernel.layout import Layout
from postmortem.kernel.memo import fact
from postmortem.model.frame import Frame

_NAME = re.compile(r"[\w.$]{1,511}", re.ASCII)
"""What a compiler names a function."""
_MAX_FRAMES = 256
"""A kernel stack is 16 KiB: more frames than this are recursion or garbage."""


@dataclass(frozen=True)
class Symbol:
    """What an address in kernel text is."""

    function: str
    offset: int
    size: int
    module: str | None
    is_code: bool = True
    """Not known to be data, and with a name that can be one."""


class Symbolizer:
    """Names of text addresses; each distinct address is looked up once."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._is_kernel = arch_of(prog).is_kernel
        self._known: dict[int, Symbol | None] = {}

    @staticmethod
    def of(prog: drgn.Program) -> Symbolizer:
        """The symbolizer of this program."""
        return _symbolizer(prog)

    def symbol(self, address: int) -> Symbol | None:
        """The function that holds ``address``, ``None`` for what is no kernel text."""
        if address not in self._known:
            self._known[address] = self._look_up(address)
        return self._known[address]

    def caller(self, return_address: int) -> Symbol | None:
        """The function that made a call: its return address may lie past its end."""
        found = self.symbol(return_address - 1)
        if found is None:
            return None
        return replace(found, offset=found.offset + 1)

    def _look_up(self, address: int) -> Symbol | None:
        if not self._is_kernel(address):
            return None  # per-CPU symbols lie at low addresses, code does not
        try:
            found = self._prog.symbol(address)
        except LookupError:
            return None
        module = None
        try:
            name = self._prog.module(address).name
            module = None if name == "kernel" or "vmlinux" in name else name
        except LookupError:
            pass
        is_code = found.kind != drgn.SymbolKind.OBJECT and _NAME.fullmatch(found.name) is not None
        return Symbol(found.name, address - found.address, found.size, module, is_code)


@fact
def _symbolizer(prog: drgn.Program) -> Symbolizer:
    return Symbolizer(prog)


def describe_trace(prog: drgn.Program, trace: Iterable[drgn.StackFrame]) -> tuple[Frame, ...]:
    """Turn a drgn stack trace into plain frames, innermost first, up to user space."""
    frames, last = _described(prog, trace)
    for _ in range(_MAX_TRAMPOLINES):
        if last is None or frames[-1].function is not None:
            break
        if frames[-1].interrupted:
            behind, last = _behind_a_wild_call(prog, last)
        else:
            behind, last = _behind_a_trampoline(prog, last)
        frames += behind[: _MAX_FRAMES - len(frames)]
    return segmented(frames, arch_of(prog))


def _described(
    prog: drgn.Program, trace: Iterable[drgn.StackFrame]
) -> tuple[list[Frame], drgn.StackFrame | None]:
    """The frames, and drgn's of the outermost."""
    symbolizer = Symbolizer.of(prog)
    is_kernel, in_user = arch_of(prog).is_kernel, arch_of(prog).in_user
    frames: list[Frame] = []
    last: drgn.StackFrame | None = None
    for frame in trace:
        if frame.is_inline:
            continue
        try:
            pc = frame.pc
        except LookupError:
            break
        if not is_kernel(pc) and in_user(frame.registers()) is not False:
            break
        interrupted = frame.interrupted or not frames
        found = symbolizer.symbol(pc) if interrupted else symbolizer.caller(pc)
        if found is not None and not found.is_code:
            found = None  # nobody runs there: the address or the table of symbols is damaged
        frames.append(
            Frame(
                function=found.function if found else None,
                offset=found.offset if found else None,
                size=found.size if found else None,
                module=found.module if found else None,
                address=pc,
                interrupted=frame.interrupted,
            )
        )
        if len(frames) >= _MAX_FRAMES:
            break
        last = frame
    return frames, last


_Continued = tuple[list[Frame], drgn.StackFrame | None]


def _behind_a_wild_call(prog: drgn.Program, frame: drgn.StackFrame) -> _Continued:
    """Go on behind a call to an address that is no code: its return address was just pushed."""
    arch = arch_of(prog)
    registers = frame.registers()
    try:
        sp = registers[arch.sp]
        caller = prog.read_u64(sp)
        if not arch.is_kernel(caller):
            return [], None
        return _continued(prog, registers, caller, sp + 8)
    except damage():
        return [], None


_MAX_TRAMPOLINES = 8
_MAX_OPS = 4096
_CALL = 5
"""``MCOUNT_INSN_SIZE``"""
_RETURNS_AT = (168, 176, 208, 216)
"""Where ``ftrace_caller`` and ``ftrace_regs_caller`` return to: above ``struct pt_regs``, the
flags of the latter, and what CONFIG_FRAME_POINTER adds (MCOUNT_FRAME_SIZE)."""


def _behind_a_trampoline(prog: drgn.Program, frame: drgn.StackFrame) -> _Continued:
    """Go on behind ftrace's call: its trampolines are copies of code, without unwind tables.

    ``orc_ftrace_find()`` looks into the tables of what they are copies of; the layout of their
    frame is told by the call that lies before the return address.
    """
    try:
        if not any(start <= frame.pc < end for start, end in _ftrace_trampolines(prog)):
            return [], None
        registers = frame.registers()
        sp = registers[arch_of(prog).sp]
        for offset in _RETURNS_AT:
            caller = prog.read_u64(sp + offset)
            found = Symbolizer.of(prog).caller(caller)
            if found is not None and found.is_code and prog.read_u8(caller - _CALL) == 0xE8:
                return _continued(prog, registers, caller, sp + offset + 8)
    except damage():
        pass
    return [], None


@fact
def _ftrace_trampolines(prog: drgn.Program) -> tuple[tuple[int, int], ...]:
    """Start and end of the trampolines of all ``struct ftrace_ops``."""
    layout = Layout(
        prog.type("struct ftrace_ops"),
        {"next": "next", "start": "trampoline", "size": "trampoline_size"},
    )
    found = []
    ops = prog.read_u64(prog.symbol("ftrace_ops_list").address)
    end = prog.symbol("ftrace_list_end").address
    for _ in range(_MAX_OPS):
        if not ops or ops == end:
            break
        one = layout.read(prog, ops)
        if one["start"]:
            found.append((one["start"], one["start"] + one["size"]))
        ops = one["next"]
    return tuple(found)


def _continued(
    prog: drgn.Program, registers: Mapping[str, int], caller: int, sp: int
) -> _Continued:
    """The stack from a caller on.

    :param caller: A return address.
    :param sp: What the stack pointer is once it has returned.
    """
    arch = arch_of(prog)
    kept = {name: registers.get(name, 0) for name in arch.preserved}
    trace = prog.stack_trace(pt_regs(prog, {**kept, arch.pc: caller, arch.sp: sp}))
    found, last = _described(prog, trace)
    # Its innermost address is a return address, not an interrupted one.
    if found:
        symbol = Symbolizer.of(prog).caller(found[0].pc)
        found[0] = replace(
            found[0],
            interrupted=False,
            function=symbol.function if symbol else None,
            offset=symbol.offset if symbol else None,
            size=symbol.size if symbol else None,
            module=symbol.module if symbol else None,
        )
    return found, last


def pt_regs(prog: drgn.Program, registers: Mapping[str, int]) -> drgn.Object:
    """``struct pt_regs`` of the kernel with these registers.

    :raises LookupError: the type is missing.
    """
    kind = prog.type("struct pt_regs")
    raw = bytearray(drgn.sizeof(kind))
    for name, value in arch_of(prog).saved_as(registers).items():
        struct.pack_into("<Q", raw, drgn.offsetof(kind, name), value)
    return drgn.Object.from_bytes_(prog, kind, bytes(raw))


def segmented(frames: list[Frame], arch: Arch) -> tuple[Frame, ...]:
    """Name the context of each frame: task, irq, softirq, nmi or exception.

    What runs above an interrupted frame belongs to what interrupted it; the
    entry code's name tells which.
    """
    result: list[Frame] = []
    start = 0
    for number, frame in enumerate(frames):
        if frame.interrupted and number > start:
            result += _in_segment(
                frames[start:number], arch.entry_kind(frames[number - 1].function or "")
            )
            start = number
    return tuple(result + _in_segment(frames[start:], "task"))


_SOFTIRQ_LOOPS = ("__do_softirq", "handle_softirqs")


def _in_segment(frames: list[Frame], kind: str) -> list[Frame]:
    loops = [number for number, f in enumerate(frames) if f.function in _SOFTIRQ_LOOPS]
    softirq_end = loops[-1] + 1 if loops else 0
    return [
        replace(frame, segment="softirq" if number < softirq_end else kind)
        for number, frame in enumerate(frames)
    ]


@dataclass(frozen=True)
class Recursion:
    """A return address that fills a stack."""

    function: str
    module: str | None
    count: int
    """How often it lies on the stack."""
    stack_bytes: int
    """Size of the stack."""


_RECURSION_MIN = 8


def recursion(prog: drgn.Program, task_address: int) -> Recursion | None:
    """Find the function that called itself over and over on a task's stack.

    Counts return addresses on the whole stack, because unwinding stops where
    an overflow has destroyed the innermost frames.

    :param task_address: ``struct task_struct *``
    """
    task = drgn.Object(prog, "struct task_struct *", task_address)
    try:
        size = int(prog["THREAD_SIZE"])
        data = prog.read(task.stack.value_(), size)
    except damage():
        return None
    is_pointer = arch_of(prog).is_pointer
    words = Counter(word for (word,) in struct.iter_unpack("<Q", data) if is_pointer(word))
    symbolizer = Symbolizer.of(prog)
    for address, count in words.most_common(8):
        if count < _RECURSION_MIN:
            break
        found = symbolizer.caller(address)
        if found is not None and found.offset > 1:
            return Recursion(found.function, found.module, count, size)
    return None
