"""What the kernel would have printed had somebody pressed a magic SysRq key.

Each key has a printer; the table :data:`PRINTERS` names it by the key's handler, so that
the keys are those of the dump's own kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import chain

import drgn

from postmortem.budget import SECONDS, OverBudget, budget
from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.kernel.rodata import rodata
from postmortem.kernel.sysrq import SysrqKey, sysrq_keys
from postmortem.printers.acting import PLAIN
from postmortem.printers.cformat import printf
from postmortem.printers.lines import INFO, Line, note

Printer = Callable[..., Iterator[Line]]

PRINTERS = {
    "sysrq_handle_showmem": "show_mem:show_mem",
    "sysrq_handle_showstate": "show_state:show_state",
    "sysrq_handle_showstate_blocked": "show_state:show_blocked",
    "sysrq_handle_show_timers": "timer_list:timer_list",
    "sysrq_handle_showlocks": "held_locks:show_all_locks",
    "sysrq_handle_showregs": "show_regs:show_registers",
    "sysrq_handle_showallcpus": "show_regs:show_all_cpus",
    "sysrq_ftrace_dump": "ftrace:ftrace_dump",
    "sysrq_handle_moom": "acting:out_of_memory",
    "sysrq_handle_term": "acting:terminate",
    "sysrq_handle_kill": "acting:kill",
    "sysrq_handle_unrt": "acting:make_normal",
    "sysrq_handle_SAK": "acting:secure_access",
    "sysrq_handle_sync": "acting:sync",
    "sysrq_handle_mountro": "acting:remount",
    "sysrq_handle_thaw": "acting:thaw",
}
"""Module and function that print what a handler prints."""
_REGISTERS = "sysrq_handle_showregs"
"""The one printer that is told a CPU."""
SHOWN = "mtwlpqdz"
"""The keys that only show something: ``--all``."""


def sysrq(prog: drgn.Program, keys: str, cpu: int | None = None) -> Iterator[Line]:
    """The lines that these keys print, one key after the other.

    :param cpu: Whose registers ``p`` shows; the panicking one's if not given.
    :raises UsageError: a key can't be one.
    """
    for key in keys:
        if not (key.isascii() and key.isprintable()) or key.isspace():
            raise UsageError(f"{key!r} is no key: give letters or digits, as in: sysrq mtw")
    return chain.from_iterable(_pressed(prog, key, cpu) for key in keys)


def _pressed(prog: drgn.Program, key: str, cpu: int | None) -> Iterator[Line]:
    try:
        known = sysrq_keys(prog)
    except damage() as exc:
        yield note(f"the keys of this kernel can't be read: {exc}")
        return
    found = known.get(key)
    if found is None:
        yield _help(known)
        return
    yield _header(prog, found)
    printer = _printer(found)
    if printer is None:
        yield note(PLAIN.get(found.handler or "", "what this key does is not known"))
        return
    count = 0
    try:
        with budget(SECONDS):
            given = {"cpu": cpu} if found.handler == _REGISTERS else {}
            for line in printer(prog, **given):
                yield line
                count += 1
    except OverBudget as exc:
        yield note(f"{found.help} is {exc}, after {count} lines")
    except damage() as exc:
        yield note(f"{found.help} breaks off after {count} lines: {exc}")


def _printer(key: SysrqKey) -> Printer | None:
    place = PRINTERS.get(key.handler or "")
    if place is None:
        return None
    module, _, function = place.partition(":")
    printer: Printer = getattr(import_module(f"postmortem.printers.{module}"), function)
    return printer


def _header(prog: drgn.Program, key: SysrqKey) -> Line:
    found = rodata(prog).starting("sysrq: %s\n")
    text = printf(found.text, key.action) if found is not None else f"sysrq: {key.action}"
    return Line(text.rstrip("\n"), INFO)


def _help(keys: dict[str, SysrqKey]) -> Line:
    """The line that h and every key that does nothing print: each operation once."""
    once = {key.operation: key.help for key in reversed(list(keys.values()))}
    first = [key for key in keys.values() if once.pop(key.operation, None) is not None]
    return Line("sysrq: HELP : " + "".join(f"{key.help} " for key in first), INFO)
