"""What time it was by the kernel's own clock. Source: kernel/time/timekeeping.c."""

from __future__ import annotations

import drgn


def timekeeper(prog: drgn.Program) -> drgn.Object:
    """``struct timekeeper`` of the core; an element of ``timekeeper_data`` since v6.13.

    :raises LookupError: this kernel has neither.
    """
    try:
        return prog["tk_core"].timekeeper.read_()
    except LookupError:
        return prog["timekeeper_data"][0].timekeeper.read_()


def monotonic_ns(prog: drgn.Program) -> int:
    """CLOCK_MONOTONIC when it was last brought up to date, at most a tick before the dump."""
    mono = timekeeper(prog).tkr_mono
    return int(mono.base.value_() + (mono.xtime_nsec.value_() >> mono.shift.value_()))
