"""When a machine booted, by what its own log says of the wall clock.

Two of the kernel's messages name both clocks, for printk's time stands before them:

- ``setting system clock to 2026-11-26T12:00:00 UTC (1795694400)``
  (drivers/rtc/class.c, rtc_hctosys())
- ``audit: type=1400 audit(1795694400.123:4): ...`` (kernel/audit.c)
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from postmortem.model.report import Record

_SET = re.compile(r"setting system clock to [-0-9]{10}[T ][:0-9]{8} UTC \((?P<unix>\d{9,11})\)")
_AUDIT = re.compile(r"audit\((?P<unix>\d{9,11}\.\d{3}):\d+\)")


def boot_time(records: Iterable[Record]) -> float | None:
    """Seconds since the epoch at which printk's clock was zero; ``None`` if nothing tells.

    The last word counts: the clock of the hardware may be corrected later.
    """
    found = None
    for record in records:
        if record.time is None or "(" not in record.text:
            continue
        match = _SET.search(record.text) or _AUDIT.search(record.text)
        if match is not None:
            found = float(match["unix"]) - record.time
    return found
