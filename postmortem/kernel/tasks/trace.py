"""Kernel stacks as ``show_trace_log_lvl()`` walks them: every word that may be a return address.

The kernel prints what its unwinder vouches for, and with a question mark whatever else on
the stack points into text (arch/x86/kernel/dumpstack.c).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.cpu.cpus import Cpu
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.ret_stack import Hooked, restore_returns
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.kernel.tasks.tasks import TaskReader
from postmortem.kernel.tasks.unwind import Shape, SleepingStack

_MAX_MODULES = 4096
_IP = 128
"""``struct pt_regs``: 15 general registers, orig_ax, then ip, cs, flags, sp, ss."""
_REGS_BYTES = 168


@dataclass(frozen=True, slots=True)
class Registers:
    """Registers that an entry into the kernel saved on the stack."""

    words: tuple[int, ...]
    """``struct pt_regs`` of x86-64: r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax
    ip cs flags sp ss."""

    @property
    def user(self) -> bool:
        """They are those of user space."""
        return self.words[17] & 3 == 3


Item = tuple[int, bool] | Registers
"""A return address and whether it is vouched for, or registers."""


class KernelText:
    """Which addresses are code: ``__kernel_text_address()``."""

    def __init__(self, prog: drgn.Program) -> None:
        self.hooked = readable(lambda: restore_returns(prog)) or Hooked()
        """Return addresses that a tracer replaced: the kernel prints that one, too."""
        self.ranges: list[tuple[int, int]] = []
        for first, last in (("_stext", "_etext"), ("_sinittext", "_einittext")):
            found = readable(
                lambda first=first, last=last: (  # type: ignore[misc]
                    prog.symbol(first).address,
                    prog.symbol(last).address,
                )
            )
            if found is not None:
                self.ranges.append(found)
        try:
            self.ranges += _module_texts(prog)
        except damage():
            pass
        self.ranges.sort()
        self.lowest = self.ranges[0][0] if self.ranges else 1 << 64
        self._known: dict[int, bool] = {}

    @staticmethod
    def of(prog: drgn.Program) -> KernelText:
        """That of this program."""
        return _kernel_text(prog)

    def holds(self, address: int) -> bool:
        """Whether it is code."""
        found = self._known.get(address)
        if found is None:
            found = any(start <= address < end for start, end in self.ranges)
            self._known[address] = found
        return found


@fact
def _kernel_text(prog: drgn.Program) -> KernelText:
    return KernelText(prog)


def _module_texts(prog: drgn.Program) -> list[tuple[int, int]]:
    from postmortem.dump.selfdescribe import each_module

    found = []
    for count, module in enumerate(each_module(prog)):
        if count >= _MAX_MODULES:
            break
        try:
            # One array of memory ranges since v6.4 (ac3b43283923).
            if module.type_.type.has_member("mem"):
                for name in ("MOD_TEXT", "MOD_INIT_TEXT"):
                    memory = module.mem[prog.constant(name)]
                    start, size = memory.base.value_(), memory.size.value_()
                    found.append((start, start + size))
            else:
                for layout in (module.core_layout, module.init_layout):
                    start = layout.base.value_()
                    found.append((start, start + layout.text_size.value_()))
        except damage():
            continue
    return [(start, end) for start, end in found if start < end]


def trace(text: KernelText, stack: SleepingStack) -> list[Item]:
    """What the kernel prints of the stack of a task that sleeps, in its order."""
    hooked = text.hooked
    slots = hooked.slots
    words = memoryview(stack.data[: len(stack.data) & ~7]).cast("Q")
    low, holds = text.lowest, text.holds
    reliable, saved = _marks(stack.shape)
    end = len(stack.data)
    found: list[Item] = []
    for index, word in enumerate(words):
        if word < low or not holds(word):
            continue
        offset = index * 8
        if offset in saved.ips:
            continue
        sure = offset in reliable
        call = slots.get(stack.sp + offset) if slots else None
        if call is not None and call.trampoline in hooked.graph:
            found.append((call.trampoline, False))
        elif call is not None:
            word = call.trampoline  # of a kretprobe the kernel prints what stands there
        found.append((word, sure))
        if sure and offset + 8 in saved.after:
            registers = _registers(words, (offset + 8) // 8)
            if registers is not None:
                found.append(registers)
        elif sure and offset == saved.last:
            # The outermost frame was called by the entry code: below it lie user registers.
            registers = _user_registers(words, offset + 8, end)
            if registers is not None:
                found.append(registers)
    return found


@dataclass(frozen=True, slots=True)
class _Saved:
    after: frozenset[int]
    """Where registers lie that the unwinder comes to."""
    ips: frozenset[int]
    """Where the ip in them lies: it is printed with them."""
    last: int
    """Where the outermost return address lies."""


_known: dict[int, tuple[Shape, frozenset[int], _Saved]] = {}


def _marks(shape: Shape) -> tuple[frozenset[int], _Saved]:
    """Offsets of the words that the unwinder takes for return addresses, and of registers."""
    known = _known.get(id(shape))
    if known is not None and known[0] is shape:
        return known[1], known[2]
    reliable, regs = set(), set()
    last = -1
    for number, (frame, offset) in enumerate(zip(shape.frames, shape.offsets, strict=True)):
        if frame.interrupted and number:
            regs.add(shape.offsets[number - 1])
        else:
            last = offset - 8
            reliable.add(last)
    saved = _Saved(frozenset(regs), frozenset(at + _IP for at in regs), last)
    if len(_known) > 4096:
        _known.clear()
    _known[id(shape)] = (shape, frozenset(reliable), saved)
    return frozenset(reliable), saved


def _registers(words: memoryview, index: int) -> Registers | None:
    taken = tuple(words[index : index + _REGS_BYTES // 8])
    return Registers(taken) if len(taken) == _REGS_BYTES // 8 else None


def _user_registers(words: memoryview, offset: int, end: int) -> Registers | None:
    """``task_pt_regs()``: at the end of the stack; FRED leaves 16 bytes behind it."""
    if end - offset - _REGS_BYTES not in (0, 16):
        return None
    found = _registers(words, offset // 8)
    return found if found is not None and found.user else None


def cpu_trace(prog: drgn.Program, cpu: Cpu) -> list[Item]:
    """The stack of a task that is on a CPU: what its registers lead to.

    As long as it is all on the task's own stack the words that only may be return
    addresses are there too. The innermost function is not: it is shown with the registers.
    """
    frames = [frame for frame in cpu.trace or () if not frame.is_inline]
    found = readable(lambda: _on_own_stack(prog, cpu, frames))
    if found is not None:
        return found
    return [(frame.pc, True) for frame in cpu.stack[1:]] or [(f.pc, True) for f in cpu.stack]


def _on_own_stack(prog: drgn.Program, cpu: Cpu, frames: list[drgn.StackFrame]) -> list[Item]:
    """
    :raises LookupError: it is on another stack, too.
    """
    task = drgn.Object(prog, "struct task_struct *", cpu.address)
    base = int(task.stack.value_())
    end = base + int(prog["THREAD_SIZE"])
    sps = [int(frame.sp) for frame in frames[: len(cpu.stack)]]
    if not sps or not all(base <= sp <= end for sp in sps):
        raise LookupError("it is on another stack, too")
    start = sps[0] & ~7
    shape = Shape(cpu.stack[: len(sps)], tuple(sp - start for sp in sps))
    known = TaskReader(prog).read(cpu.address)[0]
    stack = SleepingStack(known, start, shape, prog.read(start, end - start))
    return trace(KernelText.of(prog), stack)


class Names:
    """``%pB`` and ``%pS``: the text that an address in code is shown as."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._symbolizer = Symbolizer.of(prog)
        self._text = KernelText.of(prog)
        self._backtrace: dict[int, str] = {}
        self._tables: dict[int, tuple[list[int], dict[int, str]]] = {}

    def backtrace(self, address: int) -> str:
        """``%pB``: of a return address; the call may be the last thing that its function does."""
        found = self._backtrace.get(address)
        if found is None:
            symbol = self._symbol(address - 1)
            if symbol is None:
                found = f"{address:#x}"
            else:
                name, offset, size, module = symbol
                found = f"{name}+{offset + 1:#x}/{size:#x}{module}"
            self._backtrace[address] = found
        return found

    def symbol(self, address: int, *, offset: bool = True) -> str:
        """``%pS``, or ``%ps`` without the offset."""
        symbol = self._symbol(address) if address else None
        if symbol is None:
            return f"{address:#x}"
        name, distance, size, module = symbol
        return f"{name}+{distance:#x}/{size:#x}{module}" if offset else f"{name}{module}"

    def _symbol(self, address: int) -> tuple[str, int, int, str] | None:
        """Name, offset, size and ``" [module]"``."""
        found = self._symbolizer.symbol(address)
        if found is not None and found.module is None:
            return found.function, found.offset, found.size, ""
        # As find_kallsyms_symbol() sees it: a function of a module reaches to the next symbol,
        # so what the compiler put between two functions belongs to the first of them.
        starts, names = self._table(address)
        at = bisect_right(starts, address)
        if not at:
            if found is None:
                return None
            return found.function, found.offset, found.size, f" [{found.module}]"
        base = address if found is None else address - found.offset + found.size
        ends = [end for start, end in self._text.ranges if start <= address < end]
        if found is None and not ends:
            return None
        module = found.module if found is not None else self._module(address)
        end = min([*starts[at : at + 1], *ends], default=base)
        start = starts[at - 1]
        return names[start], address - start, end - start, f" [{module}]"

    def _module(self, address: int) -> str:
        name = readable(lambda: self._prog.module(address).name)
        return "?" if name is None else str(name)

    def _table(self, address: int) -> tuple[list[int], dict[int, str]]:
        """Where a module's symbols lie, and the name of the first one at each place."""
        from postmortem.dump.selfdescribe import module_symbols_at

        symbols = module_symbols_at(self._prog, address)
        key = id(symbols)
        if key not in self._tables:
            names: dict[int, str] = {}
            for symbol in symbols:
                if symbol.address:
                    names.setdefault(symbol.address, symbol.name)
            self._tables[key] = (sorted(names), names)
        return self._tables[key]
