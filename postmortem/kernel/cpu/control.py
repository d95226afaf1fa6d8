"""Control registers of the CPUs, which only QEMU's own notes have.

``struct QEMUCPUState`` (target/i386/arch_dump.c): version and size, 16 general registers,
rip, rflags, ten segments of 24 bytes, cr0 to cr4, kernel_gs_base.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import drgn

from postmortem.dump.opened import QEMU_STATES

_CONTROL = struct.Struct("<6Q")
_SEGMENTS_AT = 8 + 18 * 8
_SEGMENT_BYTES = 24
_GS = 4
"""cs ds es fs gs ss ldt tr gdt idt"""
_CONTROL_AT = _SEGMENTS_AT + 10 * _SEGMENT_BYTES


def control_registers(prog: drgn.Program, gs_base: int) -> Mapping[str, int]:
    """Those of the CPU whose per-CPU memory lies at ``gs_base``; empty if nobody kept them."""
    for state in prog.cache.get(QEMU_STATES, ()):
        if len(state) < _CONTROL_AT + _CONTROL.size:
            continue
        (base,) = struct.unpack_from("<Q", state, _SEGMENTS_AT + _GS * _SEGMENT_BYTES + 16)
        if base == gs_base and base:
            cr0, _cr1, cr2, cr3, cr4, shadow = _CONTROL.unpack_from(state, _CONTROL_AT)
            return {"cr0": cr0, "cr2": cr2, "cr3": cr3, "cr4": cr4, "knlgs": shadow}
    return {}
