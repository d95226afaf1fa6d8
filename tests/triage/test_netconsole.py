"""Messages of many hosts on a UDP port: from packets to logs that can be triaged."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

import postmortem
from postmortem.errors import UsageError
from postmortem.triage.netconsole import (
    MAX_BYTES,
    MAX_HOSTS,
    Keeper,
    Listener,
    address,
    bound,
    folder_name,
    listen,
)

OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000018",
    "Oops: 0000 [#1] SMP",
    "CPU: 0 PID: 71 Comm: sh Not tainted 6.1.70 #1",
    "RIP: 0010:acme_poll+0x12/0x40 [acme]",
    "Call Trace:",
    " acme_work+0x10/0x20 [acme]",
    "---[ end trace 0000000000000000 ]---",
)


class Kept(list[tuple[str, bytes]]):
    def __call__(self, host: str, data: bytes) -> None:
        self.append((host, data))


def say(listener: Listener, host: str, *lines: str, now: float = 0.0) -> None:
    for line in lines:
        listener.packet(host, line.encode(), now)


def test_a_host_that_is_quiet_after_a_report_is_looked_at_once() -> None:
    kept = Kept()
    listener = Listener(kept, quiet=60)
    say(listener, "10.0.0.1", "eth0: up", *OOPS)
    say(listener, "10.0.0.2", "eth0: up")
    listener.tick(59.0)
    assert kept == []
    listener.tick(60.0)
    listener.tick(600.0)
    listener.close()
    assert kept == [("10.0.0.1", "\n".join(("eth0: up", *OOPS, "")).encode())]


def test_a_boot_ends_a_log() -> None:
    kept = Kept()
    listener = Listener(kept)
    say(listener, "a", *OOPS, "Linux version 6.1.71 (x@y) #1", "eth0: up")
    assert [data.count(b"\n") for _, data in kept] == [len(OOPS)]
    listener.close()
    assert len(kept) == 1  # nothing has failed since


def test_the_extended_form_is_read_and_its_pieces_are_put_together() -> None:
    kept = Kept()
    listener = Listener(kept)
    text = "BUG: kernel NULL pointer dereference, address: 0000000000000018"
    say(listener, "a", f"4,5,1000,-,ncfrag=20/{len(text)};{text[20:]}")
    say(listener, "a", f"4,5,1000,-,ncfrag=0/{len(text)};{text[:20]}")
    say(listener, "a", f"6.1.70,4,6,1001,-;{OOPS[1]}")
    listener.close()
    assert kept[0][1].decode() == f"4,5,1000,-;{text}\n6.1.70,4,6,1001,-;{OOPS[1]}\n"


def test_messages_that_did_not_come_are_counted() -> None:
    listener = Listener(Kept())
    say(listener, "a", "6,10,1,-;x", "6,11,2,-;x", "6,15,3,-;x", "6,3,1,-;a boot later")
    assert listener.lost == 3


def test_a_sender_that_never_ends_takes_no_memory() -> None:
    kept = Kept()
    listener = Listener(kept)
    for _ in range(3 * MAX_BYTES // 50_000):
        listener.packet("a", b"x" * 50_000, 0.0)
    say(listener, "a", *OOPS)
    listener.close()
    assert len(kept[0][1]) <= MAX_BYTES


def test_hosts_are_bounded_and_those_that_are_quiet_make_room() -> None:
    listener = Listener(Kept(), quiet=60)
    for number in range(MAX_HOSTS + 5):
        listener.packet(f"host{number}", b"x", 0.0)
    assert listener.refused == 5
    listener.packet("late", b"x", 100.0)
    assert listener.refused == 5


def test_pieces_that_never_become_whole_are_bounded() -> None:
    listener = Listener(Kept())
    for number in range(10_000):
        say(listener, "a", f"4,{number},1000,-,ncfrag=0/500;x")
    assert listener.packets == 10_000


@pytest.mark.parametrize(
    "data", [b"", b"\0\xff", b"4,5,1,-,ncfrag=999999/0;", b"4,5,1,-,ncfrag=0/999999;", b";" * 999]
)
def test_odd_packets_are_no_trouble(data: bytes) -> None:
    listener = Listener(Kept())
    listener.packet("a", data, 0.0)
    listener.close()


def test_only_what_the_kernel_reports_is_kept(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, names={"10.0.0.1": "../../web1"})
    keeper("10.0.0.2", b"somebody said BUG: and Oops\n")
    keeper("10.0.0.1", "\n".join(OOPS).encode())
    keeper("10.0.0.1", "\n".join(OOPS).encode())
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [file.parent.name for file in files] == ["web1", "web1"]
    assert keeper.kept == 2
    assert all(file.is_relative_to(tmp_path) for file in files)
    assert not [file for file in files if file.name.startswith(".")]
    with postmortem.open(files[0]) as case:
        assert case.analyze().verdict.culprit.function == "acme_poll"


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a\nb", "", ".", "..", "fe80::1", "x" * 999]
)
def test_a_host_s_folder_leads_nowhere_else(name: str) -> None:
    found = folder_name(name)
    assert "/" not in found
    assert found not in ("", ".", "..")
    assert len(found) <= 100


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("6666", ("0.0.0.0", 6666)),
        (":6666", ("0.0.0.0", 6666)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:6666", ("::1", 6666)),
    ],
)
def test_where_to_listen(text: str, found: tuple[str, int]) -> None:
    assert address(text) == found


@pytest.mark.parametrize("text", ["x", "web1:6666", "127.0.0.1:99999", "", "127.0.0.1:"])
def test_where_nobody_can_listen_is_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        address(text)


def test_packets_over_loopback_become_logs_of_their_hosts(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    listener = Listener(keeper, quiet=0.0)
    ended = threading.Event()
    with bound(("127.0.0.1", 0)) as source:
        where = source.getsockname()
        thread = threading.Thread(target=listen, args=(source, listener, ended.is_set, 0.05))
        thread.start()
        for sender in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.bind((sender, 0))
                for line in OOPS if sender != "127.0.0.3" else ("eth0: up",):
                    out.sendto(line.encode(), where)
        for _ in range(200):
            if listener.packets == 2 * len(OOPS) + 1:
                break
            ended.wait(0.05)
        ended.set()
        thread.join()
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == ["127.0.0.1", "127.0.0.2"]
    with pytest.raises(UsageError, match="can't listen"), bound(("192.0.2.1", 6666)):
        pass
