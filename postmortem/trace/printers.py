"""The text of each event: by its print format, or as the kernel's own code prints it.

Source: kernel/trace/trace_output.c, trace_syscalls.c, trace_kprobe.c, trace_events_synth.c. A
printer takes the bytes of an event and gives its text with the line feed that ends it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from postmortem.trace.formats import EventFormat, Field, Formats, Syscall
from postmortem.trace.print_fmt import (
    Environment,
    Layout,
    Node,
    NotUnderstood,
    compiled,
    decoded,
    filled_format,
    filled_format_of,
    flags_text,
    printer,
)

Printer = Callable[[bytes], str]

_MASK = (1 << 64) - 1
_LONG = struct.Struct("<Q")
_USER_STACK_ENTRIES = 8
_MARKS = (
    (1_000_000_000, "$"), (100_000_000, "@"), (10_000_000, "*"), (1_000_000, "#"),
    (100_000, "!"), (10_000, "+"),
)  # fmt: skip
"""Nanoseconds, and the sign of a longer delay: ``trace_find_mark()``."""


@dataclass(frozen=True)
class Options:
    """Options of an instance that change what its events look like."""

    print_parent: bool = True
    sym_offset: bool = False
    sym_addr: bool = False
    verbose: bool = False


@dataclass
class Printers:
    """A printer for each type of event, made when the first one of it is printed."""

    formats: Formats
    env: Environment
    options: Options = Options()
    not_understood: dict[str, str] = field(default_factory=dict)
    """By event: why it is shown by its fields."""
    _known: dict[int, Printer] = field(default_factory=dict)
    comm: Callable[[int], str] = str
    """Name of a task, for what the wakeup tracers write."""
    stamp: int = 0
    """Time of the event at hand, for those that tell another time by it."""
    in_ns: bool = True

    def when(self, time: int) -> str:
        """``trace_print_time()``"""
        if not self.in_ns:
            return f" {time:12}"
        micro = (time + 500) // 1000
        return f" {micro // 1000000:5}.{micro % 1000000:06}"

    def of(self, number: int) -> Printer:
        """The printer of a type."""
        found = self._known.get(number)
        if found is None:
            found = self._known[number] = self._make(number)
        return found

    def text(self, number: int, data: bytes) -> str:
        """The text of one event, whatever is wrong with it."""
        try:
            return self.of(number)(data)
        except (ValueError, struct.error, TypeError, OverflowError, IndexError) as exc:
            format = self.formats.get(number)
            return self.raw(format, data, f"it can't be printed: {exc}")

    def _make(self, number: int) -> Printer:
        format = self.formats.get(number)
        if format is None:
            return lambda d: f"Unknown type {number}\n"
        try:
            if format.system == "ftrace":
                make = _FTRACE.get(format.name)
                if make is not None:
                    return make(self, format)
            make = _PRINTED_BY.get(format.printed_by)
            if make is not None:
                return make(self, format)
            return printer(format, self.env, f"{format.name}: ", "\n")
        except NotUnderstood as exc:
            why = str(exc)
        except (ValueError, struct.error, TypeError, OverflowError, RecursionError) as exc:
            why = f"its print format makes no sense: {exc}"
        self.not_understood[format.name] = why
        return lambda d: self.raw(format, d, why)

    def raw(self, format: EventFormat | None, data: bytes, why: str) -> str:
        """An event as its fields in hexadecimal."""
        if format is None:
            return f"{data[8:].hex(' ')} [postmortem: {why}]\n"
        parts = []
        for one in format.data_fields:
            part = data[one.offset : one.offset + one.size] if one.size else data[one.offset :]
            if one.size in (1, 2, 4, 8) and not one.is_array and len(part) == one.size:
                parts.append(f"{one.name}=0x{int.from_bytes(part, 'little'):x}")
            else:
                parts.append(f"{one.name}={part[:64].hex()}")
        return f"{format.name}: {' '.join(parts)} [postmortem: {why}]\n"

    # --- pieces

    def ip(self, address: int, offset: bool | None = None) -> str:
        """``seq_print_ip_sym()``"""
        if not address:
            return "0"
        wanted = self.options.sym_offset if offset is None else offset
        text = self.env.symbol(address, wanted)
        if not wanted:
            # kallsyms_lookup() does not name the module.
            text = text.partition(" [")[0]
        if text.startswith("0x"):
            text = f"0x{address:08x}" if not wanted else text
        return f"{text} <{address:016x}>" if self.options.sym_addr else text


def mark(delay: int) -> str:
    """The sign of a long time in nanoseconds: ``trace_find_mark()``."""
    return next((sign for limit, sign in _MARKS if delay > limit), " ")


def _offset(format: EventFormat, name: str) -> int:
    found = format.field(name)
    if found is None:
        raise NotUnderstood(f"the event has no field {name}")
    return found.offset


def _number(format: EventFormat, name: str) -> Callable[[bytes], int]:
    one = format.field(name)
    if one is None or one.size not in (1, 2, 4, 8):
        raise NotUnderstood(f"the event has no number {name}")
    start, end, signed = one.offset, one.offset + one.size, one.signed
    return lambda d: int.from_bytes(d[start:end], "little", signed=signed)


# --- ftrace's own events


def _function(made: Printers, format: EventFormat) -> Printer:
    ip, parent = _number(format, "ip"), _number(format, "parent_ip")
    show, with_parent = made.ip, made.options.print_parent

    def text(d: bytes) -> str:
        from_ = parent(d)
        if with_parent and from_:
            return f"{show(ip(d))} <-{show(from_)}\n"
        return f"{show(ip(d))}\n"

    return text


def _print(made: Printers, format: EventFormat) -> Printer:
    """``trace_marker`` and ``trace_printk()`` without constant format."""
    ip, start = _number(format, "ip"), _offset(format, "buf")

    def text(d: bytes) -> str:
        end = d.find(0, start)
        raw = d[start : end if end >= 0 else len(d)]
        return f"{made.ip(ip(d))}: {raw.decode('utf-8', 'backslashreplace')}"

    return text


def _bputs(made: Printers, format: EventFormat) -> Printer:
    ip, at = _number(format, "ip"), _number(format, "str")
    return lambda d: f"{made.ip(ip(d))}: {made.env.string(at(d))}"


def _bprint(made: Printers, format: EventFormat) -> Printer:
    ip, fmt, start = _number(format, "ip"), _number(format, "fmt"), _offset(format, "buf")

    def text(d: bytes) -> str:
        shown = filled_format(made.env.string(fmt(d)), d[start:], made.env)
        return f"{made.ip(ip(d))}: {shown}"

    return text


def _stack(made: Printers, format: EventFormat) -> Printer:
    start = _offset(format, "caller")

    def text(d: bytes) -> str:
        lines = ["<stack trace>\n"]
        for at in range(start, len(d) - 7, 8):
            (address,) = _LONG.unpack_from(d, at)
            if address == _MASK:
                break
            lines.append(f" => {made.ip(address)}\n")
        return "".join(lines)

    return text


def _user_stack(made: Printers, format: EventFormat) -> Printer:
    start = _offset(format, "caller")

    def text(d: bytes) -> str:
        lines = ["<user stack trace>\n"]
        for at in range(start, min(len(d) - 7, start + 8 * _USER_STACK_ENTRIES), 8):
            (address,) = _LONG.unpack_from(d, at)
            if not address:
                break
            lines.append(f" =>  <{address:016x}>\n")
        return "".join(lines)

    return text


def _raw_data(made: Printers, format: EventFormat) -> Printer:
    number, start = _number(format, "id"), _offset(format, "buf")
    return lambda d: (
        f"# {number(d) & 0xFFFFFFFF:x} buf:{''.join(f' {byte:02x}' for byte in d[start:])}\n"
    )


def _func_repeats(made: Printers, format: EventFormat) -> Printer:
    ip, parent, count = (_number(format, name) for name in ("ip", "parent_ip", "count"))
    top, bottom = _number(format, "top_delta_ts"), _number(format, "bottom_delta_ts")

    def text(d: bytes) -> str:
        caller = f" <-{made.ip(parent(d))}" if made.options.print_parent else ""
        last = made.stamp - (top(d) << 32 | bottom(d))
        return f"{made.ip(ip(d))}{caller} (repeats: {count(d)}, last_ts:{made.when(last)})\n"

    return text


_STATES = "RSDTtXZPI"
"""``task_index_to_char()``"""


def _switched(sign: str) -> Callable[[Printers, EventFormat], Printer]:
    """What the wakeup tracers write themselves: ``trace_ctxwake_print()``."""

    def make(made: Printers, format: EventFormat) -> Printer:
        before = [_number(format, f"prev_{name}") for name in ("pid", "prio", "state")]
        after = [_number(format, f"next_{name}") for name in ("pid", "prio", "state")]
        cpu = _number(format, "next_cpu")

        def text(d: bytes) -> str:
            one, two = ([read(d) for read in reads] for reads in (before, after))
            sides = [f"{pid:7}:{prio:3}:{_STATES[state]}" for pid, prio, state in (one, two)]
            return f" {sides[0]} {sign} [{cpu(d):03}] {sides[1]} {made.comm(two[0])}\n"

        return text

    return make


def _hwlat(made: Printers, format: EventFormat) -> Printer:
    names = ("seqnum", "duration", "outer_duration", "tv_sec", "tv_nsec", "count")
    reads = [_number(format, name) for name in names]
    nmi_count, nmi_total = _number(format, "nmi_count"), _number(format, "nmi_total_ts")

    def text(d: bytes) -> str:
        number, inner, outer, seconds, rest, count = (read(d) for read in reads)
        # CONFIG_GENERIC_SCHED_CLOCK is not set on x86.
        nmi = f" nmi-total:{nmi_total(d)} nmi-count:{nmi_count(d)}" if nmi_count(d) else ""
        return (
            f"#{number:<5} inner/outer(us): {inner:4}/{outer:<5}"
            f" ts:{seconds}.{rest:09} count:{count}{nmi}\n"
        )

    return text


_TIMERLAT_CONTEXTS = ("irq", "thread", "user-ret")


def _timerlat(made: Printers, format: EventFormat) -> Printer:
    sequence, context = _number(format, "seqnum"), _number(format, "context")
    latency = _number(format, "timer_latency")
    return lambda d: (
        f"#{sequence(d):<5} context {_TIMERLAT_CONTEXTS[context(d)]:>6}"
        f" timer_latency {latency(d):9} ns\n"
    )


def _osnoise(made: Printers, format: EventFormat) -> Printer:
    runtime, noise, most = (_number(format, name) for name in ("runtime", "noise", "max_sample"))
    counts = [
        _number(format, f"{name}_count") for name in ("hw", "nmi", "irq", "softirq", "thread")
    ]

    def text(d: bytes) -> str:
        whole = runtime(d)
        ratio = (whole - noise(d)) * 10_000_000 // whole if whole else 0
        shown = f"{whole} {noise(d):10} {ratio // 100_000:3}.{ratio % 100_000:05} {most(d):7}"
        return shown + "".join(f" {count(d):6}" for count in counts) + "\n"

    return text


_FTRACE: dict[str, Callable[[Printers, EventFormat], Printer]] = {
    "function": _function,
    "print": _print,
    "bputs": _bputs,
    "bprint": _bprint,
    "kernel_stack": _stack,
    "user_stack": _user_stack,
    "raw_data": _raw_data,
    "func_repeats": _func_repeats,
    "timerlat": _timerlat,
    "osnoise": _osnoise,
    "hwlat": _hwlat,
    "context_switch": _switched("==>"),
    "wakeup": _switched("  +"),
}


# --- system calls


def _syscall_enter(made: Printers, format: EventFormat) -> Printer:
    call = format.syscall
    if call is None:
        raise NotUnderstood("nothing is known of the system call")
    fields = [one for one in format.data_fields if one.size == 8 and not one.is_located]
    fields = fields[: len(call.arguments)]
    types = [f"{one.type} " if made.options.verbose else "" for one in fields]
    unpack = Layout(fields).unpack
    if not fields:
        return lambda d: f"{call.name}()\n"
    if call.user_mask is not None:
        flags = _open_flags(format) if not made.options.verbose else []
        if flags:
            return _open_with_flags(call, unpack, _user_data(format, call), flags)
        return _with_user_data(call, types, unpack, _user_data(format, call))
    template = ", ".join(
        f"{kind}{argument}: %x" for kind, argument in zip(types, call.arguments, strict=False)
    )
    whole = f"{call.name}({template})\n"
    return lambda d: whole % tuple([value & _MASK for value in unpack(d)])


def _user_data(format: EventFormat, call: Syscall) -> list[Callable[[bytes], bytes] | None]:
    """For each argument what takes the copy of its memory out of the event."""
    unpack = struct.Struct("<I").unpack_from
    found: list[Callable[[bytes], bytes] | None] = []
    for number, argument in enumerate(call.arguments):
        one = format.field(f"__{argument}_val")
        if one is None or not (call.user_mask or 0) >> number & 1:
            found.append(None)
            continue

        def copy(d: bytes, at: int = one.offset) -> bytes:
            (place,) = unpack(d, at)
            start = place & 0xFFFF
            return d[start : start + (place >> 16)]

        found.append(copy)
    return found


def _with_user_data(
    call: Syscall,
    types: list[str],
    unpack: Callable[[bytes], tuple[int, ...]],
    copies: list[Callable[[bytes], bytes] | None],
) -> Printer:
    """How kernels print that copy strings and buffers of system calls."""

    def text(d: bytes) -> str:
        values = [value & _MASK for value in unpack(d)]
        parts = []
        for number, value in enumerate(values):
            shown = f"{value}" if value < 10 else f"0x{value:x}"
            part = f"{types[number]}{call.arguments[number]}: {shown}"
            copy = copies[number]
            if copy is not None:
                data = copy(d)
                if call.size_argument < 0 or call.is_string:
                    part += f' "{decoded(data)}"'
                else:
                    wanted = values[call.size_argument] if call.size_argument < len(values) else 0
                    part += _buffer(data, _signed32(wanted))
            parts.append(part)
        return f"{call.name}({', '.join(parts)})\n"

    return text


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _buffer(data: bytes, wanted: int) -> str:
    cut = len(data) < wanted
    text = f" ({data.hex(':')}{', ...' if cut else ''})"
    if not any(32 <= byte < 127 for byte in data):
        return text
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return f'{text} "{shown}"{"..." if cut else ""}'


_FLAG = re.compile(r'\{ (0x[0-9a-f]+), "(O_\w+)" \}')
_O_DIRECTORY, _O_ACCMODE = "O_DIRECTORY", 3
_TMPFILE_BIT = 0x400000
"""``__O_TMPFILE`` of all architectures that this tool reads."""


def _open_flags(format: EventFormat) -> list[tuple[int, str]]:
    """The names of open()'s flags, where the kernel shows them: they are in its print format."""
    found = [(int(value, 16), name) for value, name in _FLAG.findall(format.print_fmt)]
    directory = next((value for value, name in found if name == _O_DIRECTORY), None)
    # The kernel's own table begins with it.
    return [(_TMPFILE_BIT | directory, "O_TMPFILE"), *found] if directory else []


def _open_with_flags(
    call: Syscall,
    unpack: Callable[[bytes], tuple[int, ...]],
    copies: list[Callable[[bytes], bytes] | None],
    flags: list[tuple[int, str]],
) -> Printer:
    """``sys_enter_openat_print()``"""
    creates = next((value for value, name in flags if name == "O_CREAT"), 0) | flags[0][0]

    def text(d: bytes) -> str:
        values = [value & _MASK for value in unpack(d)]
        parts = []
        for number, value in enumerate(values):
            name = call.arguments[number]
            if number == 2:
                bits = value & 0xFFFFFFFF
                shown = flags_text(bits | -(bits & 0x80000000) & _MASK, "|", flags)
                if not bits & _O_ACCMODE:
                    shown = f"O_RDONLY|{shown}" if bits else "O_RDONLY"
                parts.append(f"flags: {shown}")
                if not bits & creates:
                    break
            elif number == 3:
                parts.append(f"{name}: 0{value & 0xFFFFFFFF:03o}")
            else:
                copy = copies[number]
                parts.append(f"{name}: {value}" + (f' "{decoded(copy(d))}"' if copy else ""))
        return f"{call.name}({', '.join(parts)})\n"

    return text


def _syscall_exit(made: Printers, format: EventFormat) -> Printer:
    name = format.syscall.name if format.syscall is not None else format.name
    value = _number(format, "ret")
    return lambda d: f"{name} -> 0x{value(d) & _MASK:x}\n"


# --- probes


def _probe_arguments(made: Printers, format: EventFormat) -> Printer:
    """What follows the address: `` name="..." count=3``."""
    text, nodes, layout = compiled(format, made.env)
    skip = text[: text.find(")") + 1] if text.startswith("(") else ""
    nodes = nodes[skip.count("%lx") :]
    text = text[len(skip) :].replace('"%s"', "%s")
    quoted = [_quoted(node) if node.kind == "str" else node for node in nodes]
    return filled_format_of(text, quoted, made.env, layout, "\n")


def _quoted(node: Node) -> Node:
    """What could not be read when the probe was hit has no length."""
    of, where = node.of, node.where
    if where is None:
        return node
    return node._replace(of=lambda v, d: f'"{of(v, d)}"' if where(d)[1] else "(fault)")


def _probe(made: Printers, format: EventFormat) -> Printer:
    rest, ip = _probe_arguments(made, format), _number(format, "__probe_ip")
    name = format.name
    return lambda d: f"{name}: ({made.ip(ip(d), True)}){rest(d)}"


def _return_probe(made: Printers, format: EventFormat) -> Printer:
    rest = _probe_arguments(made, format)
    function, back = _number(format, "__probe_func"), _number(format, "__probe_ret_ip")
    name = format.name
    return lambda d: f"{name}: ({made.ip(back(d), True)} <- {made.ip(function(d), False)}){rest(d)}"


def _user_probe(made: Printers, format: EventFormat) -> Printer:
    rest, name = _probe_arguments(made, format), format.name
    if format.field("__probe_ip") is not None:
        ip = _number(format, "__probe_ip")
        return lambda d: f"{name}: (0x{ip(d):x}){rest(d)}"
    function, back = _number(format, "__probe_func"), _number(format, "__probe_ret_ip")
    return lambda d: f"{name}: (0x{back(d):x} <- 0x{function(d):x}){rest(d)}"


def _event_probe(made: Printers, format: EventFormat) -> Printer:
    rest, name = _probe_arguments(made, format), format.name
    on = format.probed or "?"
    return lambda d: f"{name}: ({on}){rest(d)}"


# --- synthetic events

_SYNTHETIC = {
    "s64": "d", "s32": "d", "u32": "u", "s16": "d", "u16": "u", "s8": "d", "u8": "u",
    "char": "d", "unsigned char": "u", "int": "d", "unsigned int": "u", "long": "d",
    "bool": "d", "pid_t": "d",
}  # fmt: skip


def _synthetic(made: Printers, format: EventFormat) -> Printer:
    """``print_synth_event()``"""
    shows = [(one.name, _synthetic_field(made, one)) for one in format.data_fields]
    name = format.name

    def text(d: bytes) -> str:
        return f"{name}: {' '.join(f'{field}={show(d)}' for field, show in shows)}\n"

    return text


def _synthetic_field(made: Printers, one: Field) -> Printer:
    start, end = one.offset, one.offset + one.size
    if one.is_located:
        if "char" not in one.type:
            raise NotUnderstood("a stack in a synthetic event")
        unpack = struct.Struct("<I").unpack_from

        def string(d: bytes) -> str:
            at = unpack(d, start)[0] & 0xFFFF
            stop = d.find(0, at)
            return decoded(d[at : stop if stop >= 0 else len(d)])

        return string
    if one.is_array:
        return lambda d: decoded(d[start:end])
    if one.type == "gfp_t":
        raise NotUnderstood("a gfp_t in a synthetic event")
    signed = _SYNTHETIC.get(one.type, "u") == "d"
    size = min(one.size, 8)
    return lambda d: str(int.from_bytes(d[start : start + size], "little", signed=signed))


_PRINTED_BY: dict[str, Callable[[Printers, EventFormat], Printer]] = {
    "print_syscall_enter": _syscall_enter,
    "print_syscall_exit": _syscall_exit,
    "print_kprobe_event": _probe,
    "print_kretprobe_event": _return_probe,
    "print_fentry_event": _probe,
    "print_fexit_event": _return_probe,
    "print_uprobe_event": _user_probe,
    "print_eprobe_event": _event_probe,
    "print_synth_event": _synthetic,
}
