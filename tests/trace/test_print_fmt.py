"""Print formats as C and the kernel's vsprintf() understand them; truths written by hand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.trace.formats import Field
from postmortem.trace.print_fmt import NotUnderstood, filled_format, printer
from tests.trace.sample import Answers, event

HEAD = bytes(8)
ANSWERS = Answers(
    {
        "constant": {"PAGE_SHIFT": 12, "ZONE_DMA": 0, "ZONE_NORMAL": 2},
        "symbol": {"4096 True": "do_it+0x10/0x20", "4096 False": "do_it"},
        "pointer": {"4096": "00000000deadbeef"},
        "string": {"4096": "a string"},
    }
)
X = Field("x", "unsigned int", 8, 4, False)
S = Field("s", "int", 8, 4, True)
L = Field("l", "unsigned long", 8, 8, False)


def text(print_fmt: str, field: Field, data: bytes) -> str:
    return printer(event(print_fmt, field), ANSWERS)(HEAD + data)


def of_x(print_fmt: str, value: int) -> str:
    return text(print_fmt, X, struct.pack("<I", value))


def of_s(print_fmt: str, value: int) -> str:
    return text(print_fmt, S, struct.pack("<i", value))


def of_l(print_fmt: str, value: int) -> str:
    return text(print_fmt, L, struct.pack("<Q", value))


@pytest.mark.parametrize(
    ("print_fmt", "value", "wanted"),
    [
        ('"x=%u", REC->x', 4294967295, "x=4294967295"),
        ('"x=%d", REC->x', 4294967295, "x=-1"),
        ('"%5d|%-5d|%05d", REC->x, REC->x, REC->x', 42, "   42|42   |00042"),
        ('"%#x %#x", REC->x, REC->x & 0', 255, "0xff 0x0"),
        ('"%08x %o 100%%", REC->x, REC->x', 8, "00000008 10 100%"),
        ('"%hhu %hx", REC->x, REC->x', 0x12345, "69 2345"),
        ('"%lx", (unsigned long)REC->x << 12', 0x100000, "100000000"),
        ('"%x", REC->x << 12', 0x100001, "1000"),
        ('"%d", REC->x > 5 ? 1 : 0', 6, "1"),
        ('"%d", REC->x == (unsigned int)-1', 4294967295, "1"),
        ('"%s", REC->x ? "yes" : "no"', 0, "no"),
        ('"%s" "%s", REC->x & 1 ? "a" : "", "\\"q\\"\\n"', 1, 'a"q"\n'),
        ('"%c", REC->x', 0x141, "A"),
        ('"%*d", 4, REC->x', 7, "   7"),
        ('"%d", (int)(REC->x / 7) % 3', 35, "2"),
        ('"%d", !REC->x || REC->x > 3 && 0', 0, "1"),
        ('"%u", REC->x - 2', 1, "4294967295"),
        ('"%lu", sizeof(unsigned long) + sizeof(REC->x)', 1, "12"),
        ('"%d", PAGE_SHIFT', 0, "12"),
        ('"%u", __builtin_bswap32(REC->x)', 1, "16777216"),
    ],
)
def test_numbers(print_fmt: str, value: int, wanted: str) -> None:
    assert of_x(print_fmt, value) == wanted


@pytest.mark.parametrize(
    ("print_fmt", "value", "wanted"),
    [
        ('"%d", REC->s / 2', -7, "-3"),
        ('"%d", REC->s % 4', -7, "-3"),
        ('"%u", REC->s', -1, "4294967295"),
        ('"%x", ~REC->s', 0, "ffffffff"),
        ('"%ld", (long)REC->s', -5, "-5"),
        ('"%llu", (u64)REC->s', -1, "18446744073709551615"),
        ('"%d", -REC->s >> 1', 9, "-5"),
        ('"%d", REC->s < 0', -1, "1"),
    ],
)
def test_signs(print_fmt: str, value: int, wanted: str) -> None:
    assert of_s(print_fmt, value) == wanted


@pytest.mark.parametrize(
    ("print_fmt", "wanted"),
    [
        ('"%pS %ps", (void *)REC->l, (void *)REC->l', "do_it+0x10/0x20 do_it"),
        ('"%p %px", REC->l, REC->l', "00000000deadbeef 0000000000001000"),
        ('"%s", REC->l', "a string"),
        ('"%lx", (unsigned long)((u64 *)REC->l + 2)', "1010"),
    ],
)
def test_pointers(print_fmt: str, wanted: str) -> None:
    assert of_l(print_fmt, 4096) == wanted


def test_flags_and_names() -> None:
    flags = '"%s", REC->x ? __print_flags(REC->x, "|", { 1, "A" }, { 6UL, "B" }, {8,"C"}) : "none"'
    assert of_x(flags, 0) == "none"
    assert of_x(flags, 1 | 2 | 4 | 0x40) == "A|B|0x40"
    # Half of a mask is none of it.
    assert of_x(flags, 2 | 8) == "C|0x2"
    names = '"zone=%s", __print_symbolic(REC->x, { ZONE_DMA, "DMA" }, { ZONE_NORMAL, "Normal" })'
    assert of_x(names, 2) == "zone=Normal"
    assert of_x(names, 7) == "zone=0x7"
    assert of_s('"%s", __print_symbolic(REC->s, { -1, "none" })', -1) == "none"


def test_braces_in_a_string_are_no_table() -> None:
    assert of_x('"{%x} %s", REC->x, __print_symbolic(REC->x, { 1, "{1}" })', 1) == "{1} {1}"


def located(kind: str, data: bytes, name: str = "a") -> tuple[Field, bytes]:
    """A dynamic array: where it is, how long, and it itself."""
    return Field(name, f"__data_loc {kind}[]", 8, 4, False), struct.pack(
        "<I", 12 | len(data) << 16
    ) + data


@pytest.mark.parametrize(
    ("kind", "print_fmt", "data", "wanted"),
    [
        ("char", '"%s.", __get_str(a)', b"eth0\0junk", "eth0."),
        ("char", '"%.*s", 3, __get_str(a)', b"eth0\0", "eth"),
        ("u8", '"%s", __print_hex(__get_dynamic_array(a), __get_dynamic_array_len(a))',
         b"\1\2\xff", "01 02 ff"),
        ("u8", '"%s", __print_hex_str(__get_dynamic_array(a), 2)', b"\1\2\xff", "0102"),
        ("u32", '"%s", __print_array(__get_dynamic_array(a), 2, 4)',
         struct.pack("<II", 1, 255), "{0x1,0xff}"),
        ("u8", '"%*phC", 3, __get_dynamic_array(a)', b"\1\2\xff", "01:02:ff"),
        ("unsigned long", '"%s", __get_bitmask(a)', struct.pack("<Q", 1 << 33 | 5),
         "00000002,00000005"),
        ("unsigned long", '"%*pbl", 64, __get_dynamic_array(a)', struct.pack("<Q", 0x107), "0-2,8"),
        ("u32", '"%u", ((u32 *)__get_dynamic_array(a))[1]', struct.pack("<II", 7, 9), "9"),
        ("u8", '"%pM", __get_dynamic_array(a)', bytes(range(6)), "00:01:02:03:04:05"),
        ("u8", '"%pI4", __get_dynamic_array(a)', bytes([10, 0, 2, 15]), "10.0.2.15"),
        ("u8", '"%pI6c", __get_dynamic_array(a)', bytes(15) + b"\1", "::1"),
        ("u8", '"%pISpc", __get_sockaddr(a)',
         struct.pack("<HBB4B", 2, 0, 80, 127, 0, 0, 1), "127.0.0.1:80"),
    ],
)  # fmt: skip
def test_dynamic_arrays(kind: str, print_fmt: str, data: bytes, wanted: str) -> None:
    assert text(print_fmt, *located(kind, data)) == wanted


def test_a_relative_array_counts_from_behind_its_field() -> None:
    field = Field("a", "__rel_loc char[]", 8, 4, False)
    assert text('"%s", __get_rel_str(a)', field, struct.pack("<I", 0 | 3 << 16) + b"ab\0") == "ab"


def test_an_array_of_the_event() -> None:
    comm = Field("comm", "char[16]", 8, 16, False)
    assert (
        text('"[%s] %d", REC->comm, REC->comm[1]', comm, b"init\0x".ljust(16, b"\0"))
        == "[init] 110"
    )


@pytest.mark.parametrize(
    "print_fmt",
    [
        "",
        "REC->x",
        '"%d"',
        '"%d", REC->nothing',
        '"%d", no_such_function(REC->x)',
        '"%d", NO_SUCH_NAME',
        '"%d", ({ int i = 0; i; })',
        '"%d", REC->x); int y = (1',
        '"%y", REC->x',
        '"%s", __print_flags(REC->x, "|", { REC->x, "A" })',
        '"%s", __get_str(x)',
        '"%d", REC->x++',
        '"%d", ' + "(" * 5000 + "1" + ")" * 5000,
        '"%d", *(int *)REC->x',
        '"%d", 1 / 0',
        '"' + "x" * 70000 + '"',
        '"%pV", REC->x',
    ],
)
def test_what_is_not_understood_is_refused_with_a_reason(print_fmt: str) -> None:
    with pytest.raises(NotUnderstood, match=r"\w"):
        printer(event(print_fmt, X), ANSWERS)


@given(st.text(max_size=80))
def test_any_text_is_a_format_or_refused(rest: str) -> None:
    try:
        show = printer(event(f'"%d" {rest}', X), ANSWERS)
    except NotUnderstood:
        return
    assert isinstance(show(HEAD + bytes(4)), str)


def test_a_packed_format_of_trace_printk() -> None:
    packed = struct.pack("<i", -3) + b"name\0" + bytes(3) + struct.pack("<Q", 1 << 40)
    assert filled_format("%d:%s:%llx%%\n", packed, ANSWERS) == "-3:name:10000000000%\n"
