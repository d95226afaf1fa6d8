"""Where each type lies in BTF, by the kernel's own list of them.

``struct btf`` of vmlinux (kernel/bpf/btf.c) has ``types``: a pointer to each type by its id.
The kernel makes it when the first module or BPF program comes. So it can be told which ids lie
behind a hole, also in a sorted BTF, in which types hardly refer to their neighbours.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import drgn

from postmortem.dump.available import available
from postmortem.dump.damage import readable

_POINTER_BYTES = 8
_LEAST_BYTES = 12
"""A type without anything behind its header."""
_LEAST = 1000
"""So many of the kernel's types there are at least."""


def type_places(prog: drgn.Program, start: int, size: int) -> Sequence[int]:
    """Byte offset of each type in the section by its id; 0 where that is not known.

    The first members of ``struct btf`` have been ``data`` and ``types`` since v4.18
    (69b693f0aefa), so that this needs no types.

    :param start: Address of the section.
    :return: Nothing if the kernel has no such list or it is not in the dump.
    """
    head = readable(lambda: _head(prog))
    if head is None or head[0] != start:
        return ()
    count = size // _LEAST_BYTES
    raw = available(prog, head[1], count * _POINTER_BYTES).data
    places: list[int] = [0]  # void, which is not among them
    latest, last = 0, 0
    for number, (pointer,) in enumerate(struct.iter_unpack("<Q", raw[_POINTER_BYTES:]), 1):
        place = pointer - start
        # Rising, by no less than a type takes: what else stands there is damage, or no pointer.
        sound = latest < place < size and place - latest >= _LEAST_BYTES * (number - last)
        places.append(place if sound else 0)
        if sound:
            latest, last = place, number
    return places[: last + 1] if last >= _LEAST else ()


def _head(prog: drgn.Program) -> tuple[int, int]:
    address = prog.read_u64(prog.symbol("btf_vmlinux").address)
    data, types = struct.unpack("<QQ", prog.read(address, 16))
    return data, types
