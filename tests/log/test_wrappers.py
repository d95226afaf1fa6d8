"""The same oops inside every format that carries kernel messages."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from postmortem.log.scan import scan_bytes

MESSAGES = [
    (5.000001, "BUG: kernel NULL pointer dereference, address: 0000000000000010"),
    (5.000002, "Oops: 0000 [#1] PREEMPT SMP"),
    (5.000003, 'CPU: 1 PID: 77 Comm: "x" y Not tainted 6.1.0 #1'),
    (5.000004, "RIP: 0010:acme_poke+0x10/0x20 [acme]"),
    (5.000005, "Call Trace:"),
    (5.000006, " acme_write+0x10/0x20 [acme]"),
    (5.000007, "---[ end trace 0000000000000000 ]---"),
]


def kmsg(time: float, text: str) -> str:
    return f"4,100,{round(time * 1e6)},-,caller=T77;{text}\n SUBSYSTEM=acme\n"


def netconsole(time: float, text: str) -> str:
    seq = round(time * 1e6) - 5_000_000
    if len(text) < 20:
        return f"6.1.0,4,{seq},{round(time * 1e6)},-;{text}\n"
    return "".join(
        f"6.1.0,4,{seq},{round(time * 1e6)},-,ncfrag={at}/{len(text)};{text[at : at + 15]}\n"
        for at in range(0, len(text), 15)
    )


def journal_json(time: float, text: str) -> str:
    return (
        json.dumps(
            {
                "__CURSOR": "s",
                "_TRANSPORT": "kernel",
                "PRIORITY": "4",
                "_SOURCE_MONOTONIC_TIMESTAMP": str(round(time * 1e6)),
                "MESSAGE": text,
            }
        )
        + "\n"
    )


def journal_json_bytes(time: float, text: str) -> str:
    return json.dumps({"_TRANSPORT": "kernel", "MESSAGE": list(text.encode())}) + "\n"


def journal_export(time: float, text: str) -> str:
    return (
        f"__CURSOR=s\n__MONOTONIC_TIMESTAMP={round(time * 1e6)}\n_TRANSPORT=kernel\n"
        f"PRIORITY=4\nMESSAGE={text}\n\n"
    )


def dmesg_json(time: float, text: str) -> str:
    return (
        f'      {{\n         "pri": 4,\n         "time": {time:15.6f},\n'
        f'         "msg": {json.dumps(text)}\n      }},'
    )


def lava(time: float, text: str) -> str:
    line = json.dumps(f"[{time:12.6f}] {text}")
    return f'- {{"dt": "2024-05-01T10:00:00.0", "lvl": "target", "msg": {line}}}\n'


def docker_json(time: float, text: str) -> str:
    line = json.dumps(f"[{time:12.6f}] {text}\n")
    return f'{{"log":{line},"stream":"stdout","time":"2026-10-26T00:00:00.000000000Z"}}\n'


def cloud_json(time: float, text: str) -> str:
    return json.dumps({"message": text, "timestamp": f"2026-10-26T00:00:{time:09.6f}Z"}) + "\n"


@pytest.mark.parametrize(
    "wrap",
    [
        *(kmsg, netconsole, journal_json, journal_export, lava, journal_json_bytes),
        *(docker_json, cloud_json),
    ],
    ids=lambda wrap: wrap.__name__,
)
def test_wrapped_oops_is_found(wrap: Callable[[float, str], str]) -> None:
    (report,) = scan_bytes("".join(wrap(*message) for message in MESSAGES).encode()).reports
    assert (report.function, report.module, report.frames[0].function) == (
        "acme_poke",
        "acme",
        "acme_write",
    )


def test_dmesg_json() -> None:
    log = '{\n   "dmesg": [\n' + "".join(dmesg_json(*message) for message in MESSAGES) + "]\n}\n"
    (report,) = scan_bytes(log.encode()).reports
    assert (report.function, report.time) == ("acme_poke", 5.000001)


def test_time_of_the_wrapper_is_the_time_of_the_report() -> None:
    (report,) = scan_bytes("".join(kmsg(*message) for message in MESSAGES).encode()).reports
    assert report.time == 5.000001


def test_fragments_of_a_message_are_joined_though_they_come_late() -> None:
    lines = "".join(netconsole(*message) for message in MESSAGES).splitlines(keepends=True)
    lines[0], lines[2] = lines[2], lines[0]
    (report,) = scan_bytes("".join(lines).encode()).reports
    assert report.title == "BUG: unable to handle kernel NULL pointer dereference in acme_poke"


def test_userspace_lines_of_a_journal_are_not_the_kernels() -> None:
    line = json.dumps({"_TRANSPORT": "stdout", "MESSAGE": MESSAGES[0][1]}) + "\n"
    assert scan_bytes((line * 5).encode()).reports == []


@pytest.mark.parametrize("wrap", [docker_json, cloud_json], ids=lambda wrap: wrap.__name__)
def test_nothing_of_a_json_line_stays_at_what_is_quoted(wrap: Callable[[float, str], str]) -> None:
    said = 'EXT4-fs error (device sdq1): ext4_find_entry:9: comm "x": reading directory lblock 0'
    text = "".join(wrap(*message) for message in (*MESSAGES, (6.0, said)))
    *_, last = scan_bytes(text.encode()).reports
    assert last.text == (said,)


def test_json_that_is_no_logger_is_left_as_it_is() -> None:
    line = (
        '{"lvl": "debug", "msg": "BUG: kernel NULL pointer dereference, address: 0000000000000010"}'
    )
    assert scan_bytes(f"{line}\n".encode() * 5).reports == []
