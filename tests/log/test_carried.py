"""One oops and one quiet log are the same, whatever carried them here."""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Callable

import pytest

from postmortem.log.scan import scan_bytes
from tests.log.test_prefix import OOPS

Carry = Callable[[list[str]], str]

MESSAGES = [
    f"[  812.{number:06d}] {line}" for number, line in enumerate(OOPS.splitlines(), start=402110)
]
QUIET = [
    "[  100.402110] otter0: port 14(stoat3a1b22c0) entered blocking state",
    "[  100.402118] stoat3a1b22c0: entered allmulticast mode",
    "[  104.402124] TCP: Possible SYN flooding on port 8443. Sending cookies.",
    "[  109.402131] otterfs (vdc): mounted filesystem r/w",
    "[  112.402136] vdd: detected capacity change from 20971520 to 41943040",
]
STAMP = "2031-04-02T11:20:01.334118201Z"


def each(line: Callable[[str], str]) -> Carry:
    return lambda messages: "".join(line(message) + "\n" for message in messages)


def as_object(**more: object) -> Carry:
    """An object a line; the message is where ``...`` stands."""

    def put(value: object, message: str) -> object:
        if isinstance(value, dict):
            return {key: put(inner, message) for key, inner in value.items()}
        return message if value is ... else value

    return each(lambda message: json.dumps(put(more, message)))


def from_kmsg(message: str) -> str:
    """As fluent-bit's reader of /dev/kmsg has it."""
    seconds, usec = message[1:13].split(".")
    fields = {"priority": 4, "sequence": 9, "sec": int(seconds), "usec": int(usec)}
    return json.dumps({**fields, "msg": message.partition("] ")[2]})


def pretty(messages: list[str]) -> str:
    found = [{"insertId": "a", "MESSAGE": m, "_TRANSPORT": "kernel"} for m in messages]
    return json.dumps(found, indent=2) + "\n"


def verbose(message: str) -> str:
    return (
        "Wed 2031-04-02 11:20:01.334118 UTC [s=1a;i=2b;b=3c;m=4d;t=5e;x=6f]\n"
        f"    _TRANSPORT=kernel\n    MESSAGE={message.partition('] ')[2]}\n    _HOSTNAME=pond"
    )


def coloured(escape: str) -> Carry:
    return each(lambda message: f"{escape}[32m{message[:15]}{escape}[0m{message[15:]}{escape}[0m")


def page(messages: list[str]) -> str:
    lines = (html.escape(message).replace("  ", "&nbsp; ") for message in messages)
    return "<html><body><p>" + "<br>\n".join(lines) + "</p></body></html>\n"


CARRIERS: dict[str, Carry] = {
    "docker": as_object(log=..., stream="stdout", time=STAMP),
    "fluent-bit": as_object(date=1.5, log=..., kubernetes={"pod_name": "x", "labels": {}}),
    "/dev/kmsg": each(from_kmsg),
    "logstash": as_object(**{"@timestamp": STAMP, "message": ..., "host": {"name": "pond"}}),
    "cloud": as_object(insertId="a", jsonPayload={"MESSAGE": ...}, timestamp=STAMP),
    "fluentd": each(lambda m: f"{STAMP}\tkernel.dmesg\t{json.dumps({'message': m})}"),
    "splunk": as_object(preview=False, result={"_raw": ...}),
    "CRI": each(lambda m: f"{STAMP} stdout F {m}"),
    "kubectl": each(lambda m: f"[pod/agent-x2x/dmesg] {m}"),
    "compose": each(lambda m: f"kmsg-1  | {m}"),
    "RFC 5424": each(lambda m: f"1 {STAMP} pond kernel - - - {m}"),
    "pretty": pretty,
    "one string": lambda messages: json.dumps({"Output": "\n".join(messages)}, indent=2),
    "verbose": each(verbose),
    "logcat": each(lambda m: f"W/kernel  (    0): {m.partition('] ')[2]}"),
    "cat -v": coloured("^["),
    "rsyslog": coloured("#033"),
    "page": page,
    "numbered": each(lambda m: f"12:{m}"),
    "CI": each(lambda m: f"job\tRun kernel\t{STAMP} {m}"),
    "Python": each(lambda m: f"2031-04-02 11:20:01,334 - serial - DEBUG - {m}"),
    "wide": lambda messages: "\r\n".join(messages),
}


@pytest.mark.parametrize("name", CARRIERS)
def test_an_oops(name: str) -> None:
    (report,) = scan_bytes(CARRIERS[name](MESSAGES).encode()).reports
    assert report.title == "BUG: unable to handle kernel NULL pointer dereference in otter_commit"
    assert report.task is not None
    assert (report.module, report.task.pid, report.cpu) == ("otterfs", 4411, 3)
    assert [frame.function for frame in report.frames[:2]] == ["otter_writeback", "do_writepages"]


@pytest.mark.parametrize("name", CARRIERS)
def test_a_log_in_which_nothing_failed_is_one_of_a_kernel(name: str) -> None:
    scan = scan_bytes(CARRIERS[name](QUIET).encode())
    assert (scan.reports, scan.shows_kernel) == ([], True)


@pytest.mark.parametrize(
    "text",
    [
        '{"message": "started", "level": "info"}\n{"message": "ready", "level": "info"}\n',
        "agent step [    1.000000] of 9\nagent step [    0.500000] of 9\n" * 4,
        "to do: [    1.000000] milk\n" + "bread\n" * 9,
    ],
)
def test_what_no_kernel_printed(text: str) -> None:
    assert not scan_bytes(text.encode()).shows_kernel


def test_quoted_lines_among_short_answers_are_wrapped_ones() -> None:
    wrapped = "".join(f"> > {part}\n" for m in MESSAGES for part in textwrap.wrap(m, 72) or [""])
    mail = f"Heron wrote:\n> Gull wrote:\n{wrapped}>\n> No idea.\nNor have I.\n"
    (report,) = scan_bytes(mail.encode()).reports
    assert report.title == "BUG: unable to handle kernel NULL pointer dereference in otter_commit"
    assert report.text[-1].startswith("---[ end trace")


def test_a_path_that_a_mailer_broke_behind_a_slash() -> None:
    mail = (
        "> > [    3.330118] ------------[ cut here ]------------\n"
        "> > [    3.330122] UBSAN: array-index-out-of-bounds in\n"
        "> > drivers/usb/typec/otters/holts.c:214:31\n"
        "> > [    3.330127] index 8 is out of range for type 'u8 [8]'\n"
        "> > [    3.330131] CPU: 2 UID: 0 PID: 1771 Comm: kworker/2:3 Not tainted\n"
        "> > 6.15.6-1-acme #1 PREEMPT(full)\n"
        "> > [    3.330152] Call Trace:\n"
        "> > [    3.330155]  <TASK>\n"
        "> > [    3.330175] holt_status_update (drivers/usb/typec/otters/\n"
        "> > holts.c:214) typec_otters\n"
        "> > [    3.330188] holt_message (drivers/usb/typec/otters/holts.c:261)\n"
        "> > typec_otters\n"
        "> > [    3.330246] ---[ end trace ]---\n"
        "> > Good luck.\n"
    )
    (report,) = scan_bytes(mail.encode()).reports
    assert report.title == "UBSAN: array-index-out-of-bounds in holt_status_update"
    frame = report.frames[0]
    assert (frame.function, frame.module) == ("holt_status_update", "typec_otters")
    assert (frame.file, frame.line) == ("drivers/usb/typec/otters/holts.c", 214)
