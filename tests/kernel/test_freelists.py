"""Free objects of real slabs, beside what drgn says of each object by itself."""

import struct
from typing import Any

import drgn
import pytest
from drgn.helpers.linux.percpu import per_cpu_ptr
from drgn.helpers.linux.slab import find_slab_cache, slab_object_info

from postmortem.kernel.freelists import FreeLists
from tests.conftest import machine_named
from tests.kernel.locking.test_waiters import fresh

NAMES = ["5.10-sysrq-crash", "6.1-oops-then-sysrq", "6.12-null-chain"]


def cache_of(prog: Any, name: str) -> drgn.Object:
    found = find_slab_cache(prog, name)
    assert found is not None
    return found


def slabs(cache: drgn.Object) -> list[drgn.Object]:
    """The slab that each CPU allocates from."""
    found = []
    for cpu in (0, 1):
        cpu_slab = per_cpu_ptr(cache.cpu_slab, cpu)
        found.append(cpu_slab.slab if hasattr(cpu_slab, "slab") else cpu_slab.page)
    return [slab.read_() for slab in found if slab]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cache", ["dentry", "filp", "proc_inode_cache"])
def test_what_is_free_is_free_for_drgn_too(name: str, cache: str) -> None:
    prog = machine_named(name).prog
    found = cache_of(prog, cache)
    lists = FreeLists(found)
    seen = 0
    for slab in slabs(found):
        own = lists.linked(int(slab.freelist.value_()))
        assert len(own) == int(slab.objects) - int(slab.inuse)
        for address in [*own, *lists.set_aside()][:50]:
            info = slab_object_info(prog, address)
            assert info is not None
            assert (info.allocated, info.address) == (False, address)
            seen += 1
    assert seen


def test_a_list_that_leads_back_is_said() -> None:
    prog = fresh("6.12-null-chain")
    found = cache_of(prog, "dentry")
    lists = FreeLists(found)
    head = next(head for cpu in (0, 1)
                if (head := int(per_cpu_ptr(found.cpu_slab, cpu).freelist.value_())))  # fmt: skip
    assert len(lists.linked(head)) > 1
    place = head + int(found.offset)
    swapped = int.from_bytes(place.to_bytes(8, "little"), "big")
    word = struct.pack("<Q", head ^ int(found.random) ^ swapped)
    prog.add_memory_segment(place, 8, lambda _at, count, offset, _p: word[offset : offset + count])
    with pytest.raises(LookupError, match="circle"):
        lists.linked(head)
