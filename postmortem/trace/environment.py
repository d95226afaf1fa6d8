"""What a trace's text needs from the dump besides the events: names of tasks, symbols, strings."""

from __future__ import annotations

from functools import lru_cache

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.memo import fact
from postmortem.kernel.pointers import pointers
from postmortem.kernel.tasks.trace import Names

_MAX_STRING = 4096
_MAX_CMDLINES = 1 << 22
_COMM_BYTES = 16
_PID_MASK = 0x7FFF
"""``PID_MAX_DEFAULT - 1``"""
_NONE = 0xFFFFFFFF
"""``NO_CMDLINE_MAP``"""


class DumpEnvironment:
    """The kernel that died, as print formats refer to it."""

    def __init__(self, prog: drgn.Program, *, hash_pointers: bool = True) -> None:
        self._prog = prog
        self._names = Names(prog)
        self.hash_pointers = hash_pointers
        self._hashed = lru_cache(maxsize=1 << 16)(pointers(prog).hashed)
        self._strings: dict[int, str] = {}
        self._symbols: dict[tuple[int, bool], str] = {}

    def constant(self, name: str) -> int | None:
        found = readable(lambda: int(self._prog.constant(name)))
        return found if found is not None else readable(lambda: integer(self._prog[name]))

    def size(self, name: str) -> int | None:
        return readable(lambda: int(drgn.sizeof(self._prog.type(name))))

    def type_size(self, name: str) -> tuple[int, bool] | None:
        return readable(lambda: _number(self._prog.type(name)))

    def string(self, address: int) -> str:
        """``%s`` of a pointer to the kernel's memory."""
        found = self._strings.get(address)
        if found is None:
            if len(self._strings) > 65536:
                self._strings.clear()
            found = self._strings[address] = self._read_string(address)
        return found

    def _read_string(self, address: int) -> str:
        if not address:
            return "(null)"
        if address < 4096 or address > (1 << 64) - 4096:
            return "(efault)"
        try:
            raw: bytes = self._prog.read_c_string(address, max_size=_MAX_STRING)
        except damage():
            return "?"
        return raw.decode("utf-8", "backslashreplace")

    def symbol(self, address: int, offset: bool) -> str:
        key = (address, offset)
        found = self._symbols.get(key)
        if found is None:
            if len(self._symbols) > 65536:
                self._symbols.clear()
            found = self._symbols[key] = self._names.symbol(address, offset=offset)
        return found

    def pointer(self, address: int) -> str:
        return self._hashed(address) if self.hash_pointers else f"{address:016x}"


def _number(kind: drgn.Type) -> tuple[int, bool] | None:
    bare = kind
    while bare.kind == drgn.TypeKind.TYPEDEF:
        bare = bare.type
    if bare.kind == drgn.TypeKind.ENUM and bare.type is not None:
        bare = bare.type
    if bare.kind == drgn.TypeKind.POINTER:
        return 8, False
    if bare.kind not in (drgn.TypeKind.INT, drgn.TypeKind.BOOL):
        return None
    return int(bare.size), bare.kind == drgn.TypeKind.INT and bool(bare.is_signed)


class Cmdlines:
    """Names that the kernel kept of tasks which were traced: ``saved_cmdlines``.

    :ivar by_pid: All of them.
    """

    def __init__(self, by_pid: dict[int, str], tgids: dict[int, int] | None = None) -> None:
        self.by_pid = by_pid
        self.tgids = tgids or {}

    def comm(self, pid: int) -> str:
        """``trace_find_cmdline()``"""
        if pid == 0:
            return "<idle>"
        if pid < 0:
            return "<XXX>"
        return self.by_pid.get(pid, "<...>")

    def tgid(self, pid: int) -> int:
        """``trace_find_tgid()``: 0 if it was not recorded."""
        return self.tgids.get(pid, 0)


@fact
def cmdlines(prog: drgn.Program) -> Cmdlines:
    """Those of this dump; empty where they can't be read."""
    try:
        known = _by_pid(prog)
    except damage():
        known = {}
    return Cmdlines(known, readable(lambda: _tgids(prog, known)))


def _by_pid(prog: drgn.Program) -> dict[int, str]:
    buffer = prog["savedcmd"].read_()
    count = min(integer(buffer.cmdline_num), _MAX_CMDLINES)
    pids = memoryview(prog.read(buffer.map_cmdline_to_pid.value_(), count * 4)).cast("I")
    to_cmdline = buffer.map_pid_to_cmdline
    length = to_cmdline.type_.length or 0
    back = memoryview(prog.read(to_cmdline.address_, length * 4)).cast("I")
    saved = buffer.saved_cmdlines
    # Within the same allocation since v6.9 (0b18c852cc6f).
    at = saved.value_() if saved.type_.kind == drgn.TypeKind.POINTER else saved.address_
    comms = prog.read(at, count * _COMM_BYTES)
    found = {}
    for index, pid in enumerate(pids):
        # Two pids may share a slot of the table: the last one has it.
        if (
            pid != _NONE
            and pid
            and length
            and back[pid & _PID_MASK if length > _PID_MASK else pid % length] == index
        ):
            raw = comms[index * _COMM_BYTES : (index + 1) * _COMM_BYTES]
            found[pid] = raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
    return found


def _tgids(prog: drgn.Program, known: dict[int, str]) -> dict[int, int]:
    table = prog["tgid_map"].read_()
    if not table:
        return {}
    found = {}
    for pid in known:
        tgid = readable(lambda pid=pid: integer(table[pid]))  # type: ignore[misc]
        if tgid:
            found[pid] = tgid
    return found
