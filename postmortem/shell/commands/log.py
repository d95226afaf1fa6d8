"""``log``: the kernel's messages, as crash prints them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell.command import command

if TYPE_CHECKING:
    from postmortem.model.report import Record
    from postmortem.shell.session import Session


@command("log", "machine")
@click.option("-t", "bare", is_flag=True, help="Without time stamps.")
@click.option("-T", "wall", is_flag=True, help="With the wall clock's time, of this time zone.")
@click.option("-m", "levels", is_flag=True, help="With the level of each message: <6>.")
@click.option("-c", "callers", is_flag=True, help="With the task or CPU that printed it.")
def log(session: Session, bare: bool, wall: bool, levels: bool, callers: bool) -> None:
    """Print the messages in the kernel's ring buffer."""
    records = session.case.log
    if not records:
        raise UsageError("log: no message of the kernel could be read")
    boot = None
    if wall:
        system = session.case.system
        if system.crash_time is None or system.uptime_seconds is None:
            raise UsageError("log -T: when the machine booted is not in this file")
        boot = system.crash_time - system.uptime_seconds
    for record in records:
        parts = [
            f"<{record.level}>" if levels and record.level is not None else "",
            "" if bare else _stamp(record, boot),
            f"[{record.caller}] " if callers and record.caller else "",
            record.text,
        ]
        session.out.write(clean("".join(parts)) + "\n")


def _stamp(record: Record, boot: float | None) -> str:
    if record.time is None:
        return ""
    if boot is None:
        return f"[{record.time:12.6f}] "
    return f"[{time.ctime(boot + record.time)}] "
