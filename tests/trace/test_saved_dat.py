"""A trace.dat put together by hand around a page of a real machine, whole and damaged."""

from __future__ import annotations

import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest

from postmortem.errors import PostmortemError
from postmortem.trace.saved_dat import parsed_format, saved_traces
from postmortem.trace.trace_dat import format_file
from tests.trace.sample import Sample, load

DATA = sorted((Path(__file__).parent / "data").glob("*.json"))
START = b"\x17\x08\x44tracing"


def sized(text: bytes, code: str = "Q") -> bytes:
    return struct.pack(f"<{code}", len(text)) + text


def texts(sample: Sample) -> dict[int, bytes]:
    """The parts that both versions have, by their option of version 7."""
    formats = sample.formats.all()
    own = [format_file(one).encode() for one in formats if one.system == "ftrace"]
    rest = [one for one in formats if one.system != "ftrace"]
    events = struct.pack("<I", len(rest))
    for one in rest:
        events += one.system.encode() + b"\0" + struct.pack("<I", 1)
        events += sized(format_file(one).encode())
    return {
        16: b"header_page\0" + sized(b"") + b"header_event\0" + sized(b""),
        17: struct.pack("<I", len(own)) + b"".join(map(sized, own)),
        18: events,
        19: sized(b"ffffffff81000000 T _text\n", "I"),
        20: sized(b"", "I"),
        21: sized(b"1 gardener\n"),
    }


def version6(sample: Sample) -> bytes:
    out = START + b"6\0" + struct.pack("<BBI", 0, 8, 4096) + b"".join(texts(sample).values())
    out += struct.pack("<I", 1) + b"options  \0" + struct.pack("<H", 0) + b"flyrecord\0"
    at = len(out) + 16
    at += -at % 4096
    out += struct.pack("<QQ", at, 4096)
    return out.ljust(at, b"\0") + sample.page


def version7(sample: Sample) -> bytes:
    """With compressed sections and pages."""

    def packed(data: bytes) -> bytes:
        small = zlib.compress(data)
        return struct.pack("<III", 1, len(small), len(data)) + small

    out = START + b"7\0" + struct.pack("<BBI", 0, 8, 4096) + b"zlib\x001.2\0"
    options = b""
    start = len(out) + 8
    body = b""
    for number, content in texts(sample).items():
        options += struct.pack("<HIQ", number, 8, start + len(body))
        data = packed(content)
        body += struct.pack("<HHIQ", number, 1, 0, len(data)) + data
    pages = packed(sample.page)
    buffer = struct.pack("<Q", start + len(body)) + b"\0[local]\0\0"[:9]
    buffer += struct.pack("<IIIQQ", 4096, 1, 0, start + len(body) + 16, len(pages))
    body += struct.pack("<HHIQ", 3, 1, 0, len(pages)) + pages
    options += struct.pack("<HI", 3, len(buffer)) + buffer + struct.pack("<HIQ", 0, 8, 0)
    data = packed(options)
    at = start + len(body)
    return out + struct.pack("<Q", at) + body + struct.pack("<HHIQ", 0, 1, 0, len(data)) + data


@pytest.mark.parametrize("made", [version6, version7], ids=["6", "7"])
@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_the_lines_are_those_of_the_kernel(path: Path, made: type) -> None:
    sample = load(path)
    (trace,) = saved_traces(BytesIO(made(sample)), Path("trace.dat"))
    trace.printers.env = sample.answers
    lines = [line.rstrip("\n")[17:] for line in trace.lines(header=False)]
    assert len(lines) == len(sample.lines)
    differ = {
        theirs.split(": ")[1].split("(")[0].split(" ")[0]
        for theirs, ours in zip(sample.lines, lines, strict=True)
        if theirs[17:].split(None, 2)[1:] != ours.split(None, 2)[1:]
    }
    # What the kernel prints by code of its own is told by a function, which no file names.
    assert {name for name in differ if not name.startswith(("sys_", "pm_"))} == set()
    assert len(differ) < 20


def test_a_field_keeps_its_brackets() -> None:
    text = (
        "name: bloom\nID: 7\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;"
        "\tsigned:0;\n\n\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:1;\n"
        "\tfield:__data_loc char[] name;\toffset:24;\tsize:4;\tsigned:1;\n\nprint fmt: "
        '"%s", REC->comm'
    )
    found = parsed_format("garden", text)
    assert found is not None
    assert [(one.name, one.type) for one in found.data_fields] == [
        ("comm", "char[16]"), ("name", "__data_loc char[]"),
    ]  # fmt: skip
    assert found.print_fmt == '"%s", REC->comm'


@pytest.mark.parametrize("made", [version6, version7], ids=["6", "7"])
def test_damage_ends_in_a_sentence(made: type) -> None:
    whole = bytes(made(load(DATA[0])))
    chance = random.Random(7)
    for _ in range(100):
        data = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(chance.randrange(4)):
            data[chance.randrange(len(data) or 1) : 1] = bytes([chance.randrange(256)])
        broken = bytearray(whole)
        for _ in range(3):
            broken[chance.randrange(min(len(broken), 4000))] = chance.randrange(256)
        for one in (bytes(data), bytes(broken)):
            try:
                for trace in saved_traces(BytesIO(one), Path("trace.dat")):
                    for cpu in trace.buffer.cpus:
                        assert sum(len(places) for _, places in cpu.batches()) < 4096
                    assert len(trace.formats.all()) < 1000
            except PostmortemError as exc:
                assert str(exc).startswith("trace.dat: ")
