"""The magic SysRq keys that this kernel knows. Source: drivers/tty/sysrq.c."""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.dump.damage import damage, readable
from postmortem.kernel.memo import fact

CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Key of each index of ``sysrq_key_table[]``; capitals since v6.12."""


@dataclass(frozen=True)
class SysrqKey:
    """One key. ``struct sysrq_key_op``"""

    key: str
    operation: int
    """Address: several keys may share one."""
    handler: str | None
    """Name of the function behind it, e.g. ``sysrq_handle_showmem``."""
    help: str
    """What the help line says: ``show-memory-usage(m)``."""
    action: str
    """What the header says: ``Show Memory``."""


@fact
def sysrq_keys(prog: drgn.Program) -> dict[str, SysrqKey]:
    """Keys that do something, in the order of the table.

    :raises LookupError: the kernel was built without CONFIG_MAGIC_SYSRQ.
    """
    from postmortem.kernel.tasks.stacks import Symbolizer

    table = prog["sysrq_key_table"]
    symbolizer = Symbolizer.of(prog)
    found: dict[str, SysrqKey] = {}
    length = min(table.type_.length or 0, len(CHARACTERS))
    for index in range(length):
        try:
            op = table[index].read_()
            if not op:
                continue
            handler = symbolizer.symbol(op.handler.value_())
            found[CHARACTERS[index]] = SysrqKey(
                key=CHARACTERS[index],
                operation=int(op.value_()),
                handler=handler.function if handler is not None else None,
                help=_text(op.help_msg),
                action=_text(op.action_msg),
            )
        except damage():
            continue
    return found


def _text(pointer: drgn.Object) -> str:
    found = readable(lambda: pointer.string_())
    return found.decode("utf-8", "replace") if found is not None else "?"
