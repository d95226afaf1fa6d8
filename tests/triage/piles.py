"""Small piles of invented logs, and a triage over them."""

from __future__ import annotations

from pathlib import Path

from postmortem.triage.model import Outcome
from postmortem.triage.run import Triage
from postmortem.triage.store import Store
from postmortem.triage.tasks import Counted, Limits
from postmortem.triage.workers import LocalWorkers


def oops(function: str, *, seconds: float = 12.5, release: str = "6.12.4", stack: str = "") -> str:
    """A NULL dereference as the kernel prints it, of a module ``acme``."""
    frames = stack or "acme_open+0x40/0x90 [acme]\n vfs_open+0x30/0xd0\n do_sys_openat2+0xa0/0xe0"
    lines = [
        "BUG: kernel NULL pointer dereference, address: 0000000000000010",
        "#PF: supervisor read access in kernel mode",
        "#PF: error_code(0x0000) - not-present page",
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        f"CPU: 1 PID: 300 Comm: acmed Tainted: G           OE      {release} #1",
        "Hardware name: Acme Rack 9/Board, BIOS 2.1 01/02/2025",
        f"RIP: 0010:{function}+0x1a/0x60 [acme]",
        "RSP: 0018:ffffb1d0c0a3fe00 EFLAGS: 00010246",
        "RAX: 0000000000000000 RBX: ffff9e1d0a3fe000 RCX: 0000000000000000",
        "Call Trace:",
        " <TASK>",
        *(f" {line.strip()}" for line in frames.split("\n")),
        " </TASK>",
        "Modules linked in: acme(OE) ext4 qemu_fw_cfg",
        "---[ end trace 0000000000000000 ]---",
        "Kernel panic - not syncing: Fatal exception",
    ]
    banner = f"[    0.000000] Linux version {release} (a@b) (gcc 12) #1 SMP"
    return "\n".join((banner, *(f"[ {seconds:11.6f}] {line}" for line in lines))) + "\n"


def triage(
    store: Store, *paths: Path | str, jobs: int = 1, limits: Limits | None = None, **options: bool
) -> Counted:
    """One run, as the command line does it."""
    workers = LocalWorkers(jobs, limits or Limits())
    run = store.begin_run([str(path) for path in paths])
    told: list[Outcome] = []
    try:
        work = Triage(store, workers, run, told=told.append, **options)
        counted = work.run([str(path) for path in paths])
    finally:
        workers.close()
    store.end_run(run, complete=True)
    return counted
