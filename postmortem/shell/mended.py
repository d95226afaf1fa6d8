"""Helpers that drgn's commands call, replaced where theirs are wrong of a dump.

The commands come as they are (``drgn.commands._crash``); each looks a helper up in its own
module when it runs, and that is where ours is put. What stands here goes when drgn has it.
"""

from __future__ import annotations

import functools

import drgn
from drgn.helpers.linux import sched, slab

_TASK_WAKING = 0x200
"""Since v4.14 (8ef9925b02c2)."""


def mend() -> None:
    """Put ours in place of theirs."""
    from drgn.commands._crash import _kmem, _ps, common

    _kmem.__dict__["slab_cache_usage"] = slab_cache_usage
    for module in (_ps, common):
        module.__dict__["task_state_to_char"] = task_state_to_char
    letters = _ps.__dict__["_TASK_STATE_CHAR_TO_STATE"]  # those that foreach takes
    _ps.__dict__["_TASK_STATE_CHAR_TO_STATE"] = {**letters, "W": _TASK_WAKING}


@functools.wraps(slab.slab_cache_usage)
def slab_cache_usage(slab_cache: drgn.Object) -> slab.SlabCacheUsage:
    """With what other CPUs freed: 0.3.0 calls that allocated.

    :raises ValueError: a page of it is not in the dump. The commands call a fault
        corruption, and this unknown.
    """
    from postmortem.kernel.slabinfo import freed_elsewhere

    try:
        usage = slab.slab_cache_usage(slab_cache)
        freed = freed_elsewhere(slab_cache)
    except drgn.FaultError as fault:
        raise ValueError(f"not all of it can be read: {fault}") from None
    return usage._replace(free_objs=usage.free_objs + freed)


@functools.wraps(sched.task_state_to_char)
def task_state_to_char(task: drgn.Object) -> str:
    """``W`` for who is being woken and is on no run queue yet, as crash tells them.

    The kernel's own letters (``task_state_index()``), and so drgn's, call that running.
    """
    letter = sched.task_state_to_char(task)
    if letter != "R":
        return letter
    kind = task.type_.type
    # Linux kernel commit 2f064a59a11f ("sched: Change task_struct::state") (in v5.14).
    state = task.member_("__state" if kind.has_member("__state") else "state")
    return "W" if int(state.value_()) & _TASK_WAKING else letter
