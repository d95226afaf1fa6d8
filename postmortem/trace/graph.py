"""The text of the function graph tracer: calls, indented, with their durations.

Source: kernel/trace/trace_functions_graph.c. A call whose return is the next entry of its CPU is
one line, so each CPU is read with the entry behind before the CPUs are merged.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from postmortem.dump.damage import integer, readable
from postmortem.trace.buffers import CpuBuffer
from postmortem.trace.events import HEADER, Event, Wanted
from postmortem.trace.printers import mark

if TYPE_CHECKING:
    from postmortem.trace.text import Trace

_INDENT = 2
_MOST_DEPTH = 50
"""``FTRACE_RETFUNC_DEPTH``"""
_PROC_LENGTH = 14
_MAX_OPTIONS = 64
_DEFAULTS = ("cpu", "overhead", "duration", "irqs")
_FILL = "              |  "
_LAST = (1 << 64) - 4095


@dataclass
class _Cpu:
    """What is remembered of a CPU between its lines. ``struct fgraph_cpu_data``"""

    last_pid: int = -1
    depth: int = 0
    depth_irq: int = -1
    entered: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Call:
    """``struct ftrace_graph_ent`` or ``struct ftrace_graph_ret``"""

    function: int
    depth: int
    duration: int = 0
    overrun: int = 0
    value: int | None = None
    arguments: tuple[int, ...] = ()


class Graph:
    """The printer of one buffer that the function graph tracer has filled."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._options = _options(trace)
        self._cpus: dict[int, _Cpu] = {}
        self._context = trace.array.option("context-info")
        count = max((cpu.cpu for cpu in trace.buffer.cpus), default=0)
        self._width = len(f"{count}")
        entry = next((t for t in (11, 10) if self._name(t) == "funcgraph_entry"), -1)
        self._entry = self._number("funcgraph_entry", entry)
        self._retaddr = self._number("funcgraph_retaddr_entry", -1)
        self._exit = self._number("funcgraph_exit", -1)
        self._irq = readable(
            lambda: (
                trace.prog.symbol("__irqentry_text_start").address,
                trace.prog.symbol("__irqentry_text_end").address,
            )
        )

    def _name(self, number: int) -> str:
        found = self._trace.formats.get(number)
        return found.name if found is not None else ""

    def _number(self, name: str, default: int) -> int:
        found = (n for n in range(1, 64) if self._name(n) == name)
        return next(found, default)

    # --- the header

    def header(self) -> Iterator[str]:
        """``__print_graph_headers_flags()``"""
        on = self._options
        latency = self._trace.latency
        if latency:
            size = 16 * ("abstime" in on) + 4 * ("cpu" in on) + 17 * ("proc" in on)
            for words in (
                "  _-----=> irqs-off        ", " / _----=> need-resched    ",
                "| / _---=> hardirq/softirq ", "|| / _--=> preempt-depth   ",
                "||| /                      ",
            ):  # fmt: skip
                yield f"#{' ' * size}{words}\n"
        for parts in (
            ("     TIME       ", " CPU", "  TASK/PID       ", "||||   ", "  DURATION   ",
             "               FUNCTION CALLS\n"),
            ("      |         ", " |  ", "   |    |        ", "||||   ", "   |   |      ",
             "               |   |   |   |\n"),
        ):  # fmt: skip
            wanted = (
                "abstime" in on, "cpu" in on, "proc" in on, latency, "duration" in on, True
            )  # fmt: skip
            yield "#" + "".join(p for p, shown in zip(parts, wanted, strict=True) if shown)

    # --- the lines

    def lines(self, wanted: Wanted) -> Iterator[str]:
        """The text of each entry; empty where it belongs to another."""
        streams = [
            self._paired(cpu)
            for cpu in self._trace.buffer.cpus
            if wanted.cpus is None or cpu.cpu in wanted.cpus
        ]
        for event, leaf in heapq.merge(*streams, key=lambda pair: (pair[0].time, pair[0].cpu)):
            if wanted.pids is not None and event.pid not in wanted.pids:
                continue
            if wanted.types is not None and event.type not in wanted.types:
                continue
            if wanted.since is not None and event.time < wanted.since:
                continue
            if event.type in (self._entry, self._retaddr):
                yield self._entered(event, leaf)
            elif event.type == self._exit:
                yield self._left(event)
            else:
                yield self._comment(event)

    def _paired(self, cpu: CpuBuffer) -> Iterator[tuple[Event, Event | None]]:
        """Each event of a CPU; a call together with its return if that follows at once."""
        waiting: Event | None = None
        start = self._trace.buffer.time_start
        for event in _of_cpu(cpu):
            if event.time < start:
                continue
            if waiting is not None:
                if (
                    event.type == self._exit
                    and event.pid == waiting.pid
                    and (self._call(event).function == self._call(waiting).function)
                ):
                    yield waiting, event
                    waiting = None
                    continue
                yield waiting, None
                waiting = None
            if event.type in (self._entry, self._retaddr):
                waiting = event
            else:
                yield event, None
        if waiting is not None:
            yield waiting, None

    def _call(self, event: Event) -> _Call:
        format = self._trace.formats.get(event.type)
        values = {}
        for one in format.data_fields if format is not None else ():
            if one.size in (1, 2, 4, 8) and not one.is_array:
                raw = event.data[one.offset : one.offset + one.size]
                values[one.name] = int.from_bytes(raw, "little", signed=one.signed)
        return _Call(
            values.get("func", 0) & ((1 << 64) - 1),
            max(-1, min(values.get("depth", 0), 1 << 10)),
            values.get("rettime", 0) - values.get("calltime", 0),
            values.get("overrun", 0),
            values.get("retval"),
        )

    def _cpu(self, event: Event) -> _Cpu:
        return self._cpus.setdefault(event.cpu, _Cpu())

    def _entered(self, event: Event, leaf: Event | None) -> str:
        call, cpu = self._call(event), self._cpu(event)
        if self._skip_entry(cpu, call):
            return ""
        text = self._prologue(event, cpu, call.function)
        if leaf is None:
            cpu.depth = call.depth
            cpu.entered[call.depth] = call.function
            return f"{text}{self._filled()}{self._pad(call.depth)}{self._shown(call)}() {{\n"
        back = self._call(leaf)
        cpu.depth = call.depth - 1
        cpu.entered.pop(call.depth, None)
        text += self._duration(back.duration) + self._pad(call.depth)
        if back.value is not None and "retval" in self._options:
            text += f"{self._shown(call)}(); /* = {self._value(back.value)} */\n"
        else:
            text += f"{self._shown(call)}();\n"
        return text + self._interrupt(event, back.function, "<==========")

    def _left(self, event: Event) -> str:
        call, cpu = self._call(event), self._cpu(event)
        if self._skip_return(cpu, call):
            return ""
        cpu.depth = call.depth - 1
        match = cpu.entered.pop(call.depth, 0) == call.function or call.depth >= _MOST_DEPTH
        text = self._prologue(event, cpu, None) + self._duration(call.duration)
        text += self._pad(call.depth)
        if call.value is not None and "retval" in self._options:
            text += f"}} /* {self._shown(call)} = {self._value(call.value)} */\n"
        elif match and "tail" not in self._options:
            text += "}\n"
        else:
            text += f"}} /* {self._shown(call)} */\n"
        if "overrun" in self._options:
            text += f" (Overruns: {call.overrun})\n"
        return text + self._interrupt(event, call.function, "<==========")

    def _comment(self, event: Event) -> str:
        """Whatever else was recorded in between."""
        if self._name(event.type) in ("function", "kernel_stack"):
            return self._trace.plain(event)
        cpu = self._cpu(event)
        text = self._trace.printers.text(event.type, event.data)
        if self._name(event.type) in ("print", "bprint", "bputs"):
            text = text.partition(": ")[2]
        pad = " " * ((cpu.depth + 1) * _INDENT) if cpu.depth > 0 else ""
        return (
            f"{self._prologue(event, cpu, None)}{self._filled()}{pad}/* "
            f"{text.removesuffix(chr(10))} */\n"
        )

    # --- pieces

    def _shown(self, call: _Call) -> str:
        return self._trace.env.symbol(call.function, False)

    def _value(self, value: int) -> str:
        value &= (1 << 64) - 1
        wide = value | 0xFFFFFFFF00000000 if value >> 31 == 1 else value
        if wide >= _LAST and "retval-hex" not in self._options:
            return f"{wide - (1 << 64)}"
        return f"0x{value:x}"

    def _pad(self, depth: int) -> str:
        return " " * (max(0, depth) * _INDENT)

    def _prologue(self, event: Event, cpu: _Cpu, function: int | None) -> str:
        text = self._switched(event, cpu)
        if function is not None:
            text += self._interrupt(event, function, "==========>")
        return text + self._columns(event)

    def _switched(self, event: Event, cpu: _Cpu) -> str:
        before, cpu.last_pid = cpu.last_pid, event.pid
        if before in (-1, event.pid):
            return ""
        line = " ------------------------------------------\n"
        return (
            f"{line} {event.cpu:{self._width}}) {self._proc(before)} => {self._proc(event.pid)}\n"
            f"{line}\n"
        )

    def _columns(self, event: Event) -> str:
        if not self._context:
            return ""
        on, text = self._options, ""
        if "abstime" in on:
            seconds, rest = divmod(event.time, 1_000_000_000)
            text += f"{seconds:5}.{rest // 1000:06} |  "
        if "cpu" in on:
            text += f" {event.cpu:{self._width}}) "
        if "proc" in on:
            text += f"{self._proc(event.pid)} | "
        if self._trace.latency:
            text += f" {self._trace.flags.text(event.flags)} | "
        return text

    def _proc(self, pid: int) -> str:
        name = f"{self._trace.cmdlines.comm(pid)[:7]}-{pid}"
        spaces = max(0, _PROC_LENGTH - len(name))
        return f"{' ' * (spaces // 2)}{name}{' ' * (spaces - spaces // 2)}"

    def _interrupt(self, event: Event, function: int, arrow: str) -> str:
        """A line where an interrupt comes or goes: ``print_graph_irq()``."""
        if self._irq is None or not self._irq[0] <= function < self._irq[1]:
            return ""
        timed = self._context and "duration" in self._options
        return f"{self._columns(event)}{'  ' if timed else ''}{arrow}{' |' if timed else ''}\n"

    def _filled(self) -> str:
        return _FILL if self._context and "duration" in self._options else ""

    def _duration(self, nanoseconds: int) -> str:
        if not self._context or "duration" not in self._options:
            return ""
        nanoseconds &= (1 << 64) - 1
        sign = mark(nanoseconds) if "overhead" in self._options else " "
        return f"{sign} {duration(nanoseconds)}|  "

    # --- interrupts that are left out

    def _skip_entry(self, cpu: _Cpu, call: _Call) -> bool:
        if "irqs" in self._options:
            return False
        if cpu.depth_irq >= 0:
            return True
        if self._irq is None or not self._irq[0] <= call.function < self._irq[1]:
            return False
        cpu.depth_irq = call.depth
        return True

    def _skip_return(self, cpu: _Cpu, call: _Call) -> bool:
        if "irqs" in self._options or cpu.depth_irq == -1:
            return False
        if cpu.depth_irq >= call.depth:
            cpu.depth_irq = -1
        return True


def duration(nanoseconds: int) -> str:
    """``trace_print_graph_duration()``: at most seven digits, eight columns."""
    micro, rest = divmod(nanoseconds, 1000)
    text = f"{micro}"
    if len(text) < 7:
        text += f".{f'{rest:03}'[: 7 - len(text)]}"
    return f"{text} us {' ' * max(0, 8 - len(text))}"


def _of_cpu(cpu: CpuBuffer) -> Iterator[Event]:
    for data, places in cpu.batches():
        for time, at, size in places:
            if size >= HEADER.size:
                number, flags, pid = HEADER.unpack_from(data, at)
                yield Event(time, cpu.cpu, number, flags, pid, data[at : at + size])


def _options(trace: Trace) -> frozenset[str]:
    """The tracer's options that are on, without ``funcgraph-``."""
    flags = readable(lambda: _tracer_options(trace))
    return flags if flags is not None else frozenset(_DEFAULTS)


def _tracer_options(trace: Trace) -> frozenset[str]:
    array = trace.array.obj
    # Since v6.18 each instance has its own.
    flags = (
        array.current_trace_flags
        if array.type_.type.has_member("current_trace_flags")
        else array.current_trace.flags
    )
    value = integer(flags.val)
    found = set()
    for number in range(_MAX_OPTIONS):
        option = flags.opts[number]
        if not option.name:
            break
        if value & integer(option.bit):
            found.add(option.name.string_().decode("utf-8", "replace").removeprefix("funcgraph-"))
    return frozenset(found)
