"""``show_regs()`` and the backtraces of all CPUs: what sysrq p and l print.

Source: arch/x86/kernel/process_64.c, lib/dump_stack.c, lib/nmi_backtrace.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial

import drgn

from postmortem.dump.damage import integer, readable
from postmortem.errors import UsageError
from postmortem.kernel.cpu.control import control_registers
from postmortem.kernel.cpu.cpus import Cpu, cpus, panic_cpu
from postmortem.kernel.rodata import Format, rodata
from postmortem.kernel.tasks.rows import task_row
from postmortem.kernel.tasks.trace import cpu_trace
from postmortem.printers.cformat import Field, Value, filled, parsed
from postmortem.printers.lines import INFO, WARNING, Line, note
from postmortem.printers.show_stack import StackPrinter
from postmortem.printers.workqueues import bit_list

_PREEMPT_MODES = ("none", "voluntary", "full", "lazy")
_MAX_COUNTERS = 64
_PKE = 1 << 22
"""X86_CR4_PKE: there is a register of protection keys, which no dump keeps."""


def show_registers(prog: drgn.Program, cpu: int | None = None) -> Iterator[Line]:
    """What sysrq p prints after its header: of a CPU, or of the one that panicked.

    :raises LookupError: the types are missing.
    :raises UsageError: there is no such CPU.
    """
    known = {found.number: found for found in cpus(prog)}
    if cpu is not None and cpu not in known:
        raise UsageError(f"there is no CPU {cpu}: this machine has {bit_list(sorted(known))}")
    number = cpu if cpu is not None else _asking(prog, known)
    if number not in known:
        yield note("no CPU can be read")
        return
    printer = _RegsPrinter(prog)
    for text in printer.show_regs(known[number]):
        yield Line(text)
    yield from _performance(prog, number)


def show_all_cpus(prog: drgn.Program) -> Iterator[Line]:
    """What sysrq l prints after its header.

    :raises LookupError: the types are missing.
    """
    known = {found.number: found for found in cpus(prog)}
    if readable(lambda: prog.symbol("arch_trigger_cpumask_backtrace")) is None:
        yield note("this kernel asks CPUs for their stacks in a way that is not printed yet")
    printer = _RegsPrinter(prog)
    asking = _asking(prog, known)
    for number in [asking, *(n for n in known if n != asking)]:
        if number not in known:
            continue
        found = known[number]
        idle = printer.idle_at(found) if number != asking else None
        if idle is not None:
            yield Line(f"NMI backtrace for cpu {number} skipped: idling at {idle}", WARNING)
        else:
            yield Line(f"NMI backtrace for cpu {number}", WARNING)
            for text in printer.show_regs(found):
                yield Line(text)
        if number == asking and len(known) > 1:
            others = bit_list(sorted(n for n in known if n != asking))
            yield Line(f"Sending NMI from CPU {number} to CPUs {others}:", INFO)


def stack_info(prog: drgn.Program, cpu: Cpu) -> Iterator[str]:
    """What ``dump_stack()`` prints above the trace: who runs where, on which hardware."""
    return _RegsPrinter(prog).head(cpu)


def _asking(prog: drgn.Program, known: Mapping[int, Cpu]) -> int:
    """The CPU that would have asked: the one that panicked, or the first."""
    found = readable(lambda: panic_cpu(prog))
    return found if found in known and found is not None else min(known, default=0)


class _RegsPrinter:
    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._strings = rodata(prog)
        self._stack = StackPrinter(prog)

    # --- who --------------------------------------------------------------------------

    def head(self, cpu: Cpu) -> Iterator[str]:
        """``dump_stack_print_info()``"""
        found = self._strings.format("%sCPU: %d ", "PID: %d Comm: %.20s")
        if found is None:
            yield f"CPU: {cpu.number} PID: {cpu.task.pid} Comm: {cpu.task.comm:.20}"
        else:
            # One string argument after the other follows the name of the task.
            rest = iter(self._rest(found))
            value = partial(self._value, cpu, rest)
            text = found.text.replace("%.*s", "%s")
            yield filled(text, value).rstrip("\n")
        letters = self._taint_words()
        if letters and self._strings.format("%s[%c]=%s") is not None:
            yield f"Tainted: {letters}"
        hardware = readable(lambda: self._prog["dump_stack_arch_desc_str"].string_())
        if hardware:
            yield f"Hardware name: {hardware.decode('utf-8', 'replace')}"

    def _value(self, cpu: Cpu, rest: Iterator[str], field: Field) -> Value:
        if field.label == "CPU":
            return cpu.number
        if field.label == "PID":
            return cpu.task.pid
        if field.label == "UID":
            task = drgn.Object(self._prog, "struct task_struct *", cpu.address)
            return readable(lambda: int(task.cred.euid.val.value_()))
        if field.label == "Comm":
            return cpu.task.comm
        if not field.before:
            # The first of all is the level, the second whether a crash kernel is loaded.
            return next(rest, "")
        return next(rest, "")

    def _rest(self, found: Format) -> list[str]:
        """Values of the fields that have no word before them."""
        name = self._prog["init_uts_ns"].name
        release, version = (_text(part) for part in (name.release, name.version))
        loaded = readable(lambda: integer(self._prog["kexec_crash_image"]))
        values = ["", "Kdump: loaded " if loaded else "", self._tainted(), release]
        values.append(version.partition(" ")[0])
        behind = len(parsed(found.text).fields) - len(values) - 3 - ("UID:" in found.text)
        package = re.search(r" \w+ \S+(?= \()", version)
        has_package = package is not None and self._strings.has(package[0])
        tail = [package[0]] if package is not None and has_package else []
        model = self._preempt_model(version)
        if model:
            tail = [model, *tail]
            tail += [""] * (behind - len(tail))
        else:  # the build id stands before what the distribution added
            tail = [""] * (behind - len(tail)) + tail
        return values + tail

    def _preempt_model(self, version: str) -> str | None:
        """``preempt_model_str()``, in this line since v6.16."""
        if readable(lambda: self._prog.symbol("preempt_model_str")) is None:
            return None
        mode = readable(lambda: integer(self._prog["preempt_dynamic_mode"]))
        name = _PREEMPT_MODES[mode] if mode is not None and 0 <= mode < 4 else "?"
        return f"PREEMPT_{{RT,({name})}}" if "PREEMPT_RT" in version else f"PREEMPT({name})"

    def _tainted(self) -> str:
        """``print_tainted()``"""
        mask = readable(lambda: integer(self._prog["tainted_mask"]))
        if mask is None:
            return UNKNOWN_TAINT
        if not mask:
            return "Not tainted"
        return "Tainted: " + "".join(
            chr(flag.c_true.value_() if mask >> bit & 1 else flag.c_false.value_())
            for bit, flag in self._flags()
        )

    def _taint_words(self) -> str:
        mask = readable(lambda: integer(self._prog["tainted_mask"])) or 0
        words = []
        for bit, flag in self._flags():
            if mask >> bit & 1:
                desc = readable(lambda flag=flag: flag.desc.string_())  # type: ignore[misc]
                if desc is None:
                    return ""
                words.append(f"[{chr(flag.c_true.value_())}]={desc.decode('ascii', 'replace')}")
        return ", ".join(words)

    def _flags(self) -> Iterator[tuple[int, drgn.Object]]:
        flags = readable(lambda: self._prog["taint_flags"])
        if flags is not None:
            for bit in range(min(flags.type_.length or 0, 64)):
                yield bit, flags[bit]

    # --- where ------------------------------------------------------------------------

    def idle_at(self, cpu: Cpu) -> str | None:
        """Where an idle CPU is, if the kernel would leave out its stack for that."""
        pc = _registers(cpu).get("rip")
        if pc is None or readable(lambda: bool(integer(self._prog["backtrace_idle"]))):
            return None
        edges = readable(
            lambda: (
                self._prog.symbol("__cpuidle_text_start").address,
                self._prog.symbol("__cpuidle_text_end").address,
            )
        )
        if edges is None or not edges[0] <= pc < edges[1]:
            return None
        return self._stack.names.symbol(pc)

    def show_regs(self, cpu: Cpu) -> Iterator[str]:
        """``show_regs()``: the head, the registers, and the stack if it is the kernel's."""
        yield from self.head(cpu)
        row = readable(lambda: task_row(self._prog, cpu.address))
        if row is not None:
            yield from self._of_kthread(row)
        registers = _registers(cpu)
        if not registers:
            yield from self._stack.trace(cpu_trace(self._prog, cpu))
            return
        yield from self._registers(registers)
        if registers.get("cs", 0) & 3 != 3:
            yield from self._stack.trace(cpu_trace(self._prog, cpu))

    def _of_kthread(self, row: object) -> Iterator[str]:
        from postmortem.kernel.tasks.rows import Row
        from postmortem.printers.show_state import KthreadPrinter

        assert isinstance(row, Row)
        yield from KthreadPrinter(self._prog).lines(row)

    def _registers(self, regs: Mapping[str, int]) -> Iterator[str]:
        """``__show_regs()``. Control registers are not among those that a dump keeps."""
        user = regs.get("cs", 0) & 3 == 3
        ip = regs.get("rip", 0)
        yield f"RIP: {regs.get('cs', 0):04x}:{self._stack.names.symbol(ip)}"
        yield self._stack.code(ip)
        yield (
            f"RSP: {regs.get('ss', 0):04x}:{_hex(regs, 'rsp')} EFLAGS: {_hex(regs, 'rflags', 8)}"
        )
        for names in (
            ("RAX", "RBX", "RCX"), ("RDX", "RSI", "RDI"), ("RBP", "R08", "R09"),
            ("R10", "R11", "R12"), ("R13", "R14", "R15"),
        ):  # fmt: skip
            yield " ".join(f"{name}: {_hex(regs, _drgn_name(name))}" for name in names)
        regs = {**regs, **control_registers(self._prog, regs.get("gs.base", 0))}
        fs, gs = _hex(regs, "fs.base"), _hex(regs, "gs.base")
        if user:
            yield f"FS:  {fs} GS:  {gs}"
            return
        yield (
            f"FS:  {fs}({regs.get('fs', 0):04x}) GS:{gs}({regs.get('gs', 0):04x})"
            f" knlGS:{_hex(regs, 'knlgs')}"
        )
        yield (
            f"CS:  {regs.get('cs', 0):04x} DS: {regs.get('ds', 0):04x}"
            f" ES: {regs.get('es', 0):04x} CR0: {_hex(regs, 'cr0')}"
        )
        yield f"CR2: {_hex(regs, 'cr2')} CR3: {_hex(regs, 'cr3')} CR4: {_hex(regs, 'cr4')}"
        if regs.get("cr4", 0) & _PKE:
            yield "PKRU: ?"


UNKNOWN_TAINT = "Tainted: ?"


def _registers(cpu: Cpu) -> Mapping[str, int]:
    if cpu.trace is None or not len(cpu.trace):
        return {}
    found: dict[str, int] = readable(lambda: cpu.trace[0].registers()) or {}  # type: ignore[index]
    return found


def _hex(regs: Mapping[str, int], name: str, width: int = 16) -> str:
    value = regs.get(name)
    return "?" if value is None else f"{value:0{width}x}"


def _drgn_name(name: str) -> str:
    """drgn's name of a register: r8 for R08."""
    return f"r{int(name[1:])}" if name[1:].isdigit() else name.lower()


def _performance(prog: drgn.Program, cpu: int) -> Iterator[Line]:
    """``perf_event_print_debug()``: what it reads from the CPU itself is not in a dump."""
    from postmortem.kernel.cpu.percpu import variable

    pmu = readable(lambda: prog["x86_pmu"])
    if pmu is None or not readable(lambda: integer(pmu.handle_irq)):
        return
    general = _counters(pmu, "num_counters", "cntr_mask64")
    fixed = _counters(pmu, "num_counters_fixed", "fixed_cntr_mask64")
    if not general:
        return
    events = readable(lambda: variable(prog, "cpu_hw_events", cpu, "struct cpu_hw_events"))
    if (readable(lambda: integer(pmu.version)) or 0) >= 2:
        yield Line("", INFO)
        for word in ("ctrl:       ", "status:     ", "overflow:   ", "fixed:      "):
            yield Line(f"CPU#{cpu}: {word}?", INFO)
    active = None
    if events is not None:
        active = readable(lambda: int(events.active_mask[0].value_()))
    yield Line(f"CPU#{cpu}: active:     {'?' if active is None else f'{active:016x}'}", INFO)
    for index in range(general):
        left = readable(
            lambda index=index: int(  # type: ignore[misc]
                variable(prog, "pmc_prev_left", cpu, "u64 [64]")[index].value_()
            )
        )
        yield Line(f"CPU#{cpu}:   gen-PMC{index} ctrl:  ?", INFO)
        yield Line(f"CPU#{cpu}:   gen-PMC{index} count: ?", INFO)
        yield Line(
            f"CPU#{cpu}:   gen-PMC{index} left:  {'?' if left is None else f'{left:016x}'}", INFO
        )
    for index in range(fixed):
        yield Line(f"CPU#{cpu}: fixed-PMC{index} count: ?", INFO)


def _counters(pmu: drgn.Object, count: str, mask: str) -> int:
    """How many counters there are: a number before v6.11, a mask since."""
    found = readable(lambda: integer(pmu.member_(count)))
    if found is None:
        found = bin(readable(lambda: integer(pmu.member_(mask))) or 0).count("1")
    return min(found, _MAX_COUNTERS)


def _text(array: drgn.Object) -> str:
    value: bytes = array.string_()
    return value.decode("utf-8", "replace")
