"""How to step from one kernel frame to its caller, by the ORC tables in the dump.

drgn unwinds one stack at a time in about 0.1 ms. Here a step is looked up once
for each distinct return address and then costs a dictionary access, so that
ten thousand sleeping tasks take a tenth of a second. Only the plain steps of
sleeping tasks are known; for anything else :meth:`Orc.step` gives ``None``, and
the caller asks drgn.

Source: arch/x86/kernel/unwind_orc.c, arch/x86/include/asm/orc_types.h.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum, auto

import drgn

_MAX_ENTRIES = 1 << 24
_ENTRY_BYTES = 6
"""``struct orc_entry`` is packed: s16 sp_offset, s16 bp_offset, u16 of bit-fields."""
_UNDEFINED, _PREV_SP, _BP, _SP = 0, 1, 4, 5
"""ORC_REG_*"""


class Kind(Enum):
    """What lies behind a frame."""

    CALL = auto()
    """The return address into its caller."""
    REGISTERS = auto()
    """A whole ``struct pt_regs``."""
    END = auto()
    """Nothing: the stack ends here."""


@dataclass(frozen=True)
class Step:
    """The canonical frame address is SP or BP plus ``cfa_offset``."""

    kind: Kind
    from_bp: bool = False
    cfa_offset: int = 0
    bp_offset: int | None = None
    """Where BP was saved, from the canonical frame address; ``None``: it was not touched."""


@dataclass(frozen=True)
class _Table:
    """One sorted table: of the kernel proper or of a module."""

    ips: int
    """``int *``: each the distance from the entry itself to an address."""
    entries: int
    """``struct orc_entry *``"""
    count: int


class Orc:
    """The ORC tables of the kernel and its modules."""

    def __init__(self, prog: drgn.Program) -> None:
        """
        :raises LookupError: there are no ORC tables, or in a form not known here.
        """
        self._prog = prog
        entry = prog.type("struct orc_entry")
        if drgn.sizeof(entry) != _ENTRY_BYTES:
            raise LookupError("struct orc_entry has a new size")
        shifts: dict[str | None, tuple[int, int]] = {}
        for member in entry.members:
            shifts[member.name] = (member.bit_offset, member.bit_field_size or 16)
        self._fields = shifts
        # Since v6.4 (fb799447ae29, "x86,objtool: Split UNWIND_HINT_EMPTY in two") the
        # types 0 and 1 say "undefined" and "end"; before, a bit of its own said "end".
        self._kinds = (
            {0: Kind.CALL, 1: Kind.REGISTERS}
            if "end" in shifts
            else {1: Kind.END, 2: Kind.CALL, 3: Kind.REGISTERS}
        )
        ips, ips_end = (
            prog.symbol(name).address for name in ("__start_orc_unwind_ip", "__stop_orc_unwind_ip")
        )
        start, end = prog.symbol("_stext").address, prog.symbol("_etext").address
        table = _Table(ips, prog.symbol("__start_orc_unwind").address, (ips_end - ips) // 4)
        self._regions = [(start, end, table), *self._modules()]
        self._regions.sort(key=lambda region: region[0])
        self._starts = [start for start, _end, _table in self._regions]
        self._steps: dict[int, Step | None] = {}

    def _modules(self) -> list[tuple[int, int, _Table]]:
        from postmortem.dump.selfdescribe import each_module, module_regions

        found = []
        try:
            for module in each_module(self._prog):
                arch = module.arch
                table = _Table(
                    arch.orc_unwind_ip.value_(), arch.orc_unwind.value_(), arch.num_orcs.value_()
                )
                found += [(start, end, table) for start, end in module_regions(module)]
        except (drgn.FaultError, LookupError, AttributeError):
            pass
        return found

    def step(self, return_address: int) -> Step | None:
        """The step out of the frame that ``return_address`` returns into."""
        try:
            return self._steps[return_address]
        except KeyError:
            pass
        try:
            found = self._look_up(return_address - 1)
        except (drgn.FaultError, struct.error):
            found = None
        self._steps[return_address] = found
        return found

    def _look_up(self, address: int) -> Step | None:
        number = bisect_right(self._starts, address) - 1
        if number < 0:
            return None
        start, end, table = self._regions[number]
        if not start <= address < end or not 0 < table.count < _MAX_ENTRIES:
            return None
        low, high = 0, table.count
        while low < high:
            middle = (low + high) // 2
            at = table.ips + 4 * middle
            (distance,) = struct.unpack("<i", self._prog.read(at, 4))
            if at + distance <= address:
                low = middle + 1
            else:
                high = middle
        if not low:
            return None
        raw = self._prog.read(table.entries + _ENTRY_BYTES * (low - 1), _ENTRY_BYTES)
        return self._step(int.from_bytes(raw, "little"))

    def _field(self, entry: int, name: str) -> int:
        offset, size = self._fields.get(name, (0, 0))
        return entry >> offset & ((1 << size) - 1)

    def _step(self, entry: int) -> Step | None:
        kind = self._kinds.get(self._field(entry, "type"))
        if kind is Kind.END or self._field(entry, "end"):
            return Step(Kind.END)
        sp_reg, bp_reg = self._field(entry, "sp_reg"), self._field(entry, "bp_reg")
        if kind is None or sp_reg not in (_SP, _BP) or bp_reg not in (_UNDEFINED, _PREV_SP):
            return None
        return Step(
            kind=kind,
            from_bp=sp_reg == _BP,
            cfa_offset=_signed(self._field(entry, "sp_offset")),
            bp_offset=_signed(self._field(entry, "bp_offset")) if bp_reg == _PREV_SP else None,
        )


def _signed(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value
