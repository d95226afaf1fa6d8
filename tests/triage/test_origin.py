"""Which host a log is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from postmortem.triage.origin import host_of_lines, host_of_names
from postmortem.triage.store import Store
from tests.triage.piles import oops, triage

PREFIXES = {
    "rsyslog": "May  1 10:00:00 web7 kernel: ",
    "rsyslog with a year": "May 11 2026 10:00:00 web7 kernel: ",
    "RFC 5424": "<4>1 2026-05-01T10:00:00.123Z web7 kernel - - - ",
    "ISO": "2026-05-01T10:00:00.123456+02:00 web7 kernel: ",
    "short-monotonic": "[   12.345678] web7 kernel: ",
    "short-unix": "1780000000.123456 web7 kernel: ",
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES.keys())
def test_syslog_names_the_host(prefix: str) -> None:
    assert host_of_lines(f"{prefix}BUG: something\n".encode() * 3) == "web7"


def test_systemd_says_it_in_the_kernel_s_log() -> None:
    lines = (
        b"[    3.1] systemd[1]: Hostname set to <db2.example.org>.\n[    4.0] EXT4-fs: mounted\n"
    )
    assert host_of_lines(lines) == "db2.example.org"


@pytest.mark.parametrize(
    "lines",
    [
        b"May  1 10:00:00 web7 kernel: a\nMay  1 10:00:01 web8 kernel: b\n",
        b"May  1 10:00:00 web7 sshd[3]: a kernel: b\n",
        b"May  1 10:00:00 localhost kernel: a\n",
        b"[    1.000000] Linux version 6.12.4 (a@web7) #1 SMP\n",
        b"[    1.000000] EXT4-fs web7 kernel: a\n",
        b"",
    ],
)
def test_what_is_not_proven_is_not_said(lines: bytes) -> None:
    assert host_of_lines(lines) is None


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("/var/crash/10.0.0.7-2026-05-01-10:00:00/vmcore", "10.0.0.7"),
        ("/var/crash/127.0.0.1-2026-05-01-10:00:00/vmcore", None),
        ("/var/crash/netconsole/web7/20260501-100000.log", "web7"),
        ("/var/crash/netconsole/web7/20260501-100000-2.log", "web7"),
        ("/srv/consoles/web7/console.log", None),
    ],
)
def test_folders_that_programs_name_by_the_host(name: str, host: str | None) -> None:
    assert host_of_names([name]) == host


def test_a_log_of_a_known_host_counts_for_it(tmp_path: Path) -> None:
    lines = oops("acme_read").splitlines()
    text = "".join(f"May  1 10:00:00 web7 kernel: {line}\n" for line in lines)
    (tmp_path / "messages").write_text(text)
    with Store.open(tmp_path / "s.db") as store:
        triage(store, tmp_path)
        (bucket,) = store.buckets()
        assert store.tallies(bucket.id, "host") == {"host": {"web7": 1}}
