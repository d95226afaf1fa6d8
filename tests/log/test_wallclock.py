"""When a machine booted, told by the kernel's own lines that name both clocks."""

from __future__ import annotations

import pytest

from postmortem.log.wallclock import boot_time
from postmortem.model.report import Record

# 2026-11-26 12:00:00 UTC
NOON = 1_795_694_400
RTC = "rtc_cmos 00:04: setting system clock to 2026-11-26T12:00:00 UTC (1795694400)"
OLD = "rtc_cmos 00:04: setting system clock to 2026-11-26 12:00:00 UTC (1795694400)"
AUDIT = "audit: type=1400 audit(1795694460.500:4): apparmor"


@pytest.mark.parametrize(
    ("records", "booted"),
    [
        ([Record(1, RTC, 2.5)], NOON - 2.5),
        ([Record(1, OLD, 2.5)], NOON - 2.5),
        # The hardware's clock was wrong by a second, which was corrected later.
        ([Record(1, RTC, 2.5), Record(2, AUDIT, 61.0)], NOON + 60.5 - 61.0),
        ([Record(1, RTC)], None),  # printed without printk's time: it ties nothing
        ([Record(1, "zorb: audit(x) of (1795694400)", 1.0)], None),
        ([], None),
    ],
)
def test_the_last_line_that_names_both_clocks_counts(
    records: list[Record], booted: float | None
) -> None:
    assert boot_time(records) == booted
