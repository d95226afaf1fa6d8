"""What leaves with ``--redact`` names no machine, no network, no person."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from postmortem.graph.model import Edge, EdgeKind, Graph, Node, NodeKind
from postmortem.model.findings import Export, Signature, TaskRef, Text
from postmortem.model.report import Record, Report
from postmortem.model.result import Analysis, Input
from postmortem.model.stacks import FoldedStack, FoldedStacks
from postmortem.redact import Redactor, redacted, redacted_document, redacted_records
from postmortem.render.output import writer
from tests.render.hostile import ATTACKS, poison
from tests.render.samples import CRASH

SECRETS = {
    "server7.office.example.com": "host-1",
    "server7": "host-1",
    "10.20.30.40": "ip-",
    "010.020.030.040": "ip-",
    "2001:db8::17": "ip-",
    "fe80::1ff:fe23:4567:890a": "ip-",
    "52:54:00:12:34:56": "mac-",
    "aa-bb-cc-dd-ee-01": "mac-",
    "alice": "user-",
    "7d444840-9dc0-11d1-b245-5ffdce74fad2": "uuid-",
    "filer.internal": "host-",
}
LINES = (
    "[    0.000000] Kernel command line: root=UUID=7d444840-9dc0-11d1-b245-5ffdce74fad2 ro quiet",
    "[    1.000000] systemd[1]: Set hostname to <server7.office.example.com>.",
    "[    2.000000] eth0: link up, 52:54:00:12:34:56 10.20.30.40/24",
    "[    3.000000] martian source 010.020.030.040 from 2001:db8::17.",
    "[    4.000000] br0: received packet on eth1 with own address (addr:aa-bb-cc-dd-ee-01)",
    "[    5.000000] nfs: server filer.internal not responding, still trying",
    "[    6.000000] sshd[77]: Accepted publickey for alice from fe80::1ff:fe23:4567:890a port 22",
    "[    7.000000] server7 alice 52:54:00:12:34:56 again",
)
TOLD = replace(
    CRASH,
    input=Input("/home/alice/dumps/server7/vmcore", "vmcore", "ELF vmcore", 1, True),
    system=replace(CRASH.system, nodename="server7.office.example.com"),
    log_tail=LINES,
    texts=(Text("log", LINES),),
)


def as_written(analysis: Analysis, name: str) -> str:
    out = io.StringIO()
    writer(analysis, name, verbose=True)(out)
    return out.getvalue()


@pytest.mark.parametrize("name", ["x.txt", "x.json", "x.html", "x.md", "x.csv"])
def test_no_secret_is_in_any_form(name: str) -> None:
    text = as_written(redacted(TOLD), name).lower()
    assert [secret for secret in SECRETS if secret in text] == []


def test_the_same_value_has_the_same_token() -> None:
    tail = redacted(TOLD).log_tail
    host = redacted(TOLD).system.nodename
    assert host == "host-1"
    mac = tail[2].split()[5]
    user = tail[6].split()[6]
    assert tail[7].split()[2:] == [host, user, mac, "again"]


def test_what_is_not_private_stays() -> None:
    lines = [
        "[   12:34:56] BUG: kernel NULL pointer dereference, address: 0000000000000018",
        "RIP: 0010:pm_null_write+0x12/0x20 [pm_fault]",
        "Code: 48 89 e5 53 48 83 ec 10 48 8b 47 08 <48> 89 47 18 c3 90 90 90 90 90",
        "pci 0000:00:1f.2: BAR 5 [mem 0xfeb10000-0xfeb1ffff]",
        "CPU: 1 PID: 312 Comm: sh Not tainted 6.1.0-56-cloud-amd64 #1",
        "lo: 127.0.0.1 ::1 ff:ff:ff:ff:ff:ff 00:00:00:00:00:00",
        "call kernel::sync::add at mm/slub.c, foo.service, https://docs.kernel.org",
        "RAX: 0000000000000000 RBX: ffff888001234567 RCX: 6b6b6b6b6b6b6b6b",
    ]
    assert Redactor().lines(lines) == lines


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        ("connect to 192.168.7.9:443 failed", "192.168.7.9"),
        ("from 192.168.7.9.", "192.168.7.9"),
        ("IPVS: [::ffff:192.168.7.9]:80", "192.168.7.9"),
        ("SRC=2001:0db8:0000:0000:0000:0000:0000:0017 LEN=1", "2001"),
        ("MAC=52:54:00:12:34:56:aa:bb:cc:dd:ee:01:08:00 SRC", "ee:01"),
        ("CIFS: VFS: \\\\filer\\share Send error", "filer"),
        ("source:fe80::17:4 addr:fe80::17:4", "fe80"),
        ("mount filer:/export/x failed", "filer"),
        ("file /home/bob/.ssh/id is gone", "bob"),
        ("Linux version 6.9.1 (bob@builder7) (gcc 13)", "bob"),
        ("Linux version 6.9.1 (bob@builder7) (gcc 13)", "builder7"),
        ("sudo: bob : TTY=pts/0 ; COMMAND=/usr/bin/passwd carol", "carol"),
        ("audit: proctitle=2F62696E2F7368", "2F62"),
        ("pam: session opened for user bob(uid=1000) by bob(uid=0)", "bob"),
    ],
)
def test_names_are_known_by_their_shape_or_by_the_words_before(line: str, gone: str) -> None:
    redactor = Redactor()
    redactor.learn([line])
    assert gone not in redactor.text(line)


def test_a_task_keeps_its_name_unless_it_is_a_user_s() -> None:
    told = replace(
        CRASH,
        log_tail=("New session 3 of user alice.",),
        cpus=tuple(replace(stack, task=TaskRef(5, "alice")) for stack in CRASH.cpus),
    )
    assert {stack.task.comm for stack in redacted(told).cpus} == {"user-1"}
    assert {stack.task.comm for stack in redacted(CRASH).cpus} == {"sh", "swapper/0"}


def test_of_the_command_line_only_what_says_nothing_of_a_place() -> None:
    redactor = Redactor()
    shown = redactor.command_line(
        "BOOT_IMAGE=/vmlinuz root=/dev/mapper/alice-root ip=10.0.0.1::::web3 console=ttyS0,115200"
        ' panic=30 crashkernel=256M quiet nfsroot="web3:/x y" -- secret words'
    )
    assert "console=ttyS0,115200 panic=30 crashkernel=256M quiet" in shown
    for secret in ("alice", "10.0.0.1", "web3", "secret", "y"):
        assert secret not in shown.replace("ttyS0", "").split("=")
        assert f"{secret}-" not in shown
    assert shown.count("=value-") == 4
    assert "web3" not in shown


def test_registers_and_code_of_a_process_are_its_memory() -> None:
    lines = Redactor().lines(
        [
            "RIP: 0010:pm_write+0x1/0x2",
            "RAX: ffff888001020304 RBX: 0000000000000001",
            "RIP: 0033:0x47b7a0",
            "Code: 48 3d 00 f0 ff ff <77> 58 c3",
            "RAX: ffffffffffffffda RBX: 00000000deadbeef",
            " </TASK>",
            "RAX: ffff888001020304",
        ]
    )
    assert lines[0:2] == [
        "RIP: 0010:pm_write+0x1/0x2",
        "RAX: ffff888001020304 RBX: 0000000000000001",
    ]
    assert lines[3] == "Code: (memory)"
    assert "deadbeef" not in lines[4]
    assert lines[6] == "RAX: ffff888001020304"


def test_registers_of_a_process_are_left_out_as_values_too() -> None:
    report = replace(CRASH.reports[0], text=("RIP: 0033:0x47b7a0", "RAX: 00000000deadbeef"))
    (found, *_) = redacted(replace(CRASH, reports=(report,))).reports
    assert found.registers == {}
    assert found.code is None


def test_letters_in_a_register_are_somebody_s_text() -> None:
    report = replace(CRASH.reports[0], registers={"RAX": 0x0074657263657321, "RBX": 0x6B6B6B6B6B})
    (found, *_) = redacted(replace(CRASH, reports=(report,))).reports
    assert set(found.registers) == {"RBX"}
    assert "0074657263657321" not in Redactor().lines(["R09: 0074657263657321", ""])[0]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Object ffff888001: 73 65 63 72 65 74 20 77 6f 72 64 00  secret word.", "(memory)"),
        ("00000010: 73 65 63 72 65 74 20 77", "(memory)"),
        ("Stack: ffff888001020304 6574756f6d6f7270 0000000000000001 00007ffe09386b48", "(memory)"),
        (">ffff888001020300: fa fb fb fb fb fb fb fb", "fa fb fb"),
        ("Code: 48 89 e5 53 48 83 ec 10 <48> 8b", "48 89 e5"),
    ],
)
def test_dumped_memory_is_left_out_and_shadow_is_not(line: str, shown: str) -> None:
    assert shown in Redactor().lines([line, ""])[0]
    assert "secret" not in Redactor().lines([line, ""])[0]


def test_strings_of_locals_are_memory() -> None:
    frame = replace(CRASH.cpus[1].frames[0], locals={"name": '(char [8])"hunter2"'})
    stack = replace(CRASH.cpus[1], frames=(frame,))
    found = redacted(replace(CRASH, cpus=(stack,))).cpus[0].frames[0]
    assert found.locals == {"name": '(char [8])"(memory)"'}


def test_signatures_functions_and_releases_are_the_same_as_without() -> None:
    signature = Signature("a:web3", "b:web3", "c in web3")
    verdict = replace(CRASH.verdict, signature=signature)
    system = replace(CRASH.system, nodename="web3", release="6.1.0.1-4.4.4.4-custom")
    found = redacted(replace(CRASH, verdict=verdict, system=system))
    assert found.verdict.signature == signature
    assert found.system.release == system.release
    assert found.verdict.culprit.function == CRASH.verdict.culprit.function


def test_pictures_are_redacted() -> None:
    graph = Graph()
    graph.add(Node("task:1", NodeKind.TASK, "alice (7)", comm="alice"))
    graph.add(Node("lock:2", NodeKind.LOCK, "mutex of /home/alice/x"))
    graph.link(Edge("task:1", "lock:2", EdgeKind.WAITS))
    stacks = FoldedStacks((FoldedStack(("D",), ("main",), 3, who=(("alice", 3),)),))
    told = replace(CRASH, exports=(Export("Waits", "svg", graph), Export("All", "svg", stacks)))
    found = redacted(told)
    assert "alice" not in as_written(found, "x.html")
    assert [edge.kind for edge in found.exports[0].data.edges] == [EdgeKind.WAITS]


def test_the_report_says_that_it_was_redacted() -> None:
    assert any(note.startswith("redacted:") for note in redacted(CRASH).input.notes)


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_strings_are_no_trouble(attack: str) -> None:
    json.dumps(as_written(redacted(poison(CRASH, attack)), "x.json"))


def test_endless_words_take_no_time() -> None:
    line = "a." * 50_000 + " " + "1:" * 50_000 + " " + "f" * 100_000 + " " + "ab-" * 50_000
    redactor = Redactor()
    redactor.learn([line, "server " * 10_000])
    assert redactor.text(line)


def test_a_document_of_log_is_redacted() -> None:
    document = {
        "path": "/home/alice/web3.log",
        "reports": [{"title": "x", "release": "5.4.0.1", "text": ["alice 10.1.2.3", "web3"]}],
        "problems": [],
    }
    found = redacted_document(document)
    assert "alice" not in json.dumps(found)
    assert "10.1.2.3" not in json.dumps(found)
    assert found["reports"][0]["release"] == "5.4.0.1"
    assert found["path"] == "web3.log"


def test_records_keep_all_but_what_is_private() -> None:
    (record,) = redacted_records([Record(3, "eth0: 10.1.2.3", 1.5, 6, "T1")])
    assert record == Record(3, "eth0: ip-1", 1.5, 6, "T1")


def test_reports_without_text_are_no_trouble() -> None:
    assert isinstance(Redactor().value(Report(CRASH.verdict.kind, "t", 1, 1, ())), Report)
