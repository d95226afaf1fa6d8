"""A real PostgreSQL server, where Debian's package is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _server_user() -> list[str]:
    """The server refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of an empty database on a server of our own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install .[postgresql]")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server is installed (Debian's package postgresql)")
    programs = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="postmortem-pg-", dir="/tmp"))
    run = _server_user()
    if run:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    control = [*run, str(programs / "pg_ctl"), "-D", str(data), "-w", "-s"]
    quick = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    try:
        make = [*run, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "pm"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd="/")
        log = ["-l", str(folder / "log"), "-o", quick]
        subprocess.run([*control, *log, "start"], check=True, cwd="/")
        yield f"postgresql://pm@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)
