"""A page of a real machine against the lines of its own kernel, and events that are broken."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from postmortem.trace.events import HEADER
from postmortem.trace.formats import EventFormat, Field, Formats, Syscall
from postmortem.trace.pages import COMMIT_MASK, decode
from postmortem.trace.printers import Options, Printers
from tests.trace.sample import COMMON, Answers, event, load

SAMPLES = sorted((Path(__file__).parent / "data").glob("*.json"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_each_event_is_printed_as_the_kernel_printed_it(path: Path) -> None:
    sample = load(path)
    printers = Printers(sample.formats, sample.answers)
    stamp, commit = struct.unpack_from("<QQ", sample.page)
    data = sample.page[16:]
    found = decode(data, commit & COMMIT_MASK, stamp)
    assert found.torn is None
    shown = []
    for time, at, size in found.events:
        number, _, pid = HEADER.unpack_from(data, at)
        micro = (time + 500) // 1000
        text = printers.text(number, data[at : at + size]).rstrip("\n")
        shown.append((f"{micro // 1000000}.{micro % 1000000:06}", pid, text))
    wanted = []
    for line in sample.lines:
        before, _, text = line.partition(": ")
        task, _, when = before.partition("[")
        wanted.append((when.split()[-1], int(task.rpartition("-")[2]), text))
    assert shown == wanted
    assert not printers.not_understood


def printers(*formats: EventFormat, options: Options | None = None) -> Printers:
    read = {one.id: (lambda one=one: one) for one in formats}
    return Printers(Formats(COMMON, read), Answers({}), options or Options())


def head(number: int) -> bytes:
    return struct.pack("<HHi", number, 0, 1)


X = Field("x", "unsigned int", 8, 4, False)


def test_a_type_that_nobody_knows() -> None:
    """The kernel's words where the module that had the event is gone."""
    assert printers().text(77, head(77) + bytes(8)) == "Unknown type 77\n"


def test_a_format_that_is_not_understood_shows_the_fields_and_why() -> None:
    made = printers(event('"%s", helper(REC->x)', X))
    text = made.text(1000, head(1000) + struct.pack("<I", 26))
    assert text == "thing: x=0x1a [postmortem: what helper() does is not known]\n"
    assert made.not_understood == {"thing": "what helper() does is not known"}


def test_an_event_that_is_too_short_is_shown_as_it_is() -> None:
    made = printers(event('"%u", REC->x', X))
    assert made.text(1000, head(1000) + b"\1").startswith("thing: x=01 [postmortem: ")


def test_a_marker_keeps_its_own_line_feed_and_ends_at_a_zero() -> None:
    fields = (Field("ip", "unsigned long", 8, 8, False), Field("buf", "char[]", 16, 0, False))
    one = EventFormat(5, "ftrace", "print", (*COMMON, *fields), "")
    data = head(5) + struct.pack("<Q", 4096) + b"hello\n\0rest"
    assert printers(one).text(5, data) == "0x00001000: hello\n"


def test_a_stack_ends_at_its_mark() -> None:
    fields = (Field("size", "int", 8, 4, True), Field("caller", "unsigned long[8]", 16, 64, False))
    one = EventFormat(4, "ftrace", "kernel_stack", (*COMMON, *fields), "")
    data = head(4) + struct.pack("<iiQQQ", 2, 0, 4096, (1 << 64) - 1, 8192)
    assert printers(one).text(4, data) == "<stack trace>\n => 0x00001000\n"


def syscall(call: Syscall, print_fmt: str = "") -> EventFormat:
    fields = [Field("__syscall_nr", "int", 8, 4, True)]
    fields += [Field(name, "long", 16 + 8 * n, 8, False) for n, name in enumerate(call.arguments)]
    at = 16 + 8 * len(call.arguments)
    for number, name in enumerate(call.arguments):
        if (call.user_mask or 0) >> number & 1:
            fields.append(Field(f"__{name}_val", "__data_loc char[]", at, 4, False))
            at += 4
    return EventFormat(
        9, "syscalls", "sys_enter_x", (*COMMON, *fields), print_fmt, "print_syscall_enter", call
    )


def test_a_system_call_before_and_since_its_memory_is_copied() -> None:
    """``print_syscall_enter()`` before and since v6.19."""
    old = syscall(Syscall("sys_read", ("fd", "buf")))
    body = head(9) + struct.pack("<iiQQ", 0, 0, 3, 0x7F00)
    assert printers(old).text(9, body) == "sys_read(fd: 3, buf: 7f00)\n"
    new = syscall(Syscall("sys_write", ("fd", "buf", "count"), 2, 2))
    data = b"hi\1"
    body = head(9) + struct.pack("<iiQQQI", 0, 0, 12, 0x7F00, 8, 44 | len(data) << 16) + data
    wanted = 'sys_write(fd: 0xc, buf: 0x7f00 (68:69:01, ...) "hi."..., count: 8)\n'
    assert printers(new).text(9, body) == wanted


def test_open_flags_have_names_where_the_kernel_has_them() -> None:
    """``sys_enter_openat_print()``: the mode only where a file is made."""
    table = '{ 0x1, "O_WRONLY" }, { 0x40, "O_CREAT" }, { 0x10000, "O_DIRECTORY" }'
    call = Syscall("sys_openat", ("dfd", "filename", "flags", "mode"), 2, -1, True)
    one = syscall(call, f'"%s", __print_flags(REC->flags, "|", {table})')

    def shown(flags: int) -> str:
        path = b"/a\0"
        fixed = struct.pack("<iiQQQQI", 0, 0, 5, 16, flags, 0o644, 52 | len(path) << 16)
        return printers(one).text(9, head(9) + fixed + path)

    assert shown(0) == 'sys_openat(dfd: 5, filename: 16 "/a", flags: O_RDONLY)\n'
    wanted = 'sys_openat(dfd: 5, filename: 16 "/a", flags: O_WRONLY|O_CREAT, mode: 0644)\n'
    assert shown(0x41) == wanted


def test_a_probe_that_could_not_read_a_string_says_fault() -> None:
    fields = (Field("__probe_ip", "unsigned long", 8, 8, False),
              Field("name", "__data_loc char[]", 16, 4, False))  # fmt: skip
    one = event('"(%lx) name=\\"%s\\"", REC->__probe_ip, __get_str(name)', *fields, name="p",
                printed_by="print_kprobe_event")  # fmt: skip
    made = printers(one)
    lost = head(1000) + struct.pack("<QI", 4096, 20)
    assert made.text(1000, lost) == "p: (0x1000) name=(fault)\n"
    kept = head(1000) + struct.pack("<QI", 4096, 20 | 3 << 16) + b"ab\0"
    assert made.text(1000, kept) == 'p: (0x1000) name="ab"\n'


def own(name: str, *fields: Field) -> EventFormat:
    """An event that ftrace itself writes: kernel/trace/trace_entries.h."""
    return EventFormat(5, "ftrace", name, (*COMMON, *fields), "")


def numbers(names: str, code: str) -> list[Field]:
    """Fields one behind the other from byte 8 on."""
    found, at = [], 8
    for name, letter in zip(names.split(), code, strict=True):
        size = struct.calcsize(f"<{letter}")
        found.append(Field(name, "number", at, size, letter.islower()))
        at += size
    return found


@pytest.mark.parametrize(
    ("name", "names", "code", "values", "wanted"),
    [
        (
            "osnoise",
            "noise runtime max_sample hw_count nmi_count irq_count softirq_count thread_count",
            "QQQIIIII", (12_345, 1_000_000, 900, 1, 0, 20, 3, 4),
            "1000000      12345  98.76550     900      1      0     20      3      4\n",
        ),
        (
            "timerlat", "seqnum context timer_latency", "IiQ", (7, 2, 15_000),
            "#7     context user-ret timer_latency     15000 ns\n",
        ),
        (
            "hwlat", "duration outer_duration nmi_total_ts tv_sec tv_nsec nmi_count seqnum count",
            "QQQqqIII", (12, 7, 55, 1500, 42, 2, 3, 1),
            "#3     inner/outer(us):   12/7     ts:1500.000000042 count:1"
            " nmi-total:55 nmi-count:2\n",
        ),
        (
            "context_switch",
            "prev_pid next_pid next_cpu prev_prio prev_state next_prio next_state",
            "IIIBBBB", (170, 99, 1, 120, 2, 98, 0),
            "     170:120:D ==> [001]      99: 98:R weeder\n",
        ),
        (
            "wakeup", "prev_pid next_pid next_cpu prev_prio prev_state next_prio next_state",
            "IIIBBBB", (170, 99, 0, 120, 0, 98, 1),
            "     170:120:R   + [000]      99: 98:S weeder\n",
        ),
        (
            "func_repeats", "ip parent_ip count top_delta_ts bottom_delta_ts", "QQHHI",
            (0x10, 0x20, 9, 1, 0),
            "0x00000010 <-0x00000020 (repeats: 9, last_ts:     5.705033)\n",
        ),
    ],
)  # fmt: skip
def test_what_tracers_write_themselves(
    name: str, names: str, code: str, values: tuple[int, ...], wanted: str
) -> None:
    """By the formats of trace_output.c."""
    made = printers(own(name, *numbers(names, code)))
    made.comm = {99: "weeder"}.__getitem__
    made.stamp = 10_000_000_000
    assert made.text(5, head(5) + struct.pack(f"<{code}", *values)) == wanted
