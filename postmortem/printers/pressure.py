"""The files of /proc/pressure, and ``cpu.pressure`` and its like of a control group."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.kernel.psi import Pressure, PsiGroup


def pressure_lines(group: PsiGroup, resource: str) -> Iterator[str]:
    """The lines of the file of a resource, as ``psi_show()`` writes them."""
    for found in group.pressures:
        if found.resource == resource:
            yield _line(found)


def _line(found: Pressure) -> str:
    averages = " ".join(
        f"avg{seconds}={found.percent(window):.2f}" for window, seconds in enumerate((10, 60, 300))
    )
    return f"{'full' if found.full else 'some'} {averages} total={found.total_ns // 1000}"
