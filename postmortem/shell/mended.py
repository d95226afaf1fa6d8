"""Helpers that drgn's commands call, replaced where theirs are wrong of a dump.

The commands come as they are (``drgn.commands._crash``); each looks a helper up in its own
module when it runs, and that is where ours is put. What stands here goes when drgn has it.
"""

from __future__ import annotations

import functools

import drgn
from drgn.helpers.linux import slab


def mend() -> None:
    """Put ours in place of theirs."""
    from drgn.commands._crash import _kmem

    for module, ours in ((_kmem, slab_cache_usage),):
        setattr(module, ours.__name__, ours)


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
