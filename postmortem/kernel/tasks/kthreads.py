"""Kernel threads: what the kernel keeps of each beside its task."""

from __future__ import annotations

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.kernel.tasks.tasks import Task


def kthread_of(prog: drgn.Program, task: Task) -> int | None:
    """``struct kthread *`` of a kernel thread."""
    if not task.kthread:
        return None
    kind = prog.type("struct task_struct")
    # Moved in v5.17 (e32cf5dfbe22, "kthread: Generalize pf_io_worker so it can point to
    # struct kthread").
    for member in ("worker_private", "pf_io_worker", "set_child_tid"):
        if kind.has_member(member):
            try:
                found = prog.read_u64(task.address + drgn.offsetof(kind, member))
            except damage():
                continue
            if arch_of(prog).is_kernel(found):
                return int(found)
    return None
