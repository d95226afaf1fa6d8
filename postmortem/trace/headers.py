"""Headers that tracers print themselves, in place of the usual one.

Source: kernel/trace/trace_osnoise.c. Which of the forms a kernel has is told by its read-only
data, where the lines of its own lie.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import readable
from postmortem.kernel.rodata import rodata

_RT = (
    "#                                _-------=> irqs-off\n",
    "#                               / _------=> need-resched\n",
    "#                              | / _-----=> need-resched-lazy\n",
    "#                              || / _----=> hardirq/softirq\n",
    "#                              ||| / _---=> preempt-depth\n",
    "#                              |||| / _--=> preempt-lazy-depth\n",
    "#                              ||||| / _-=> migrate-disable\n",
)
_PLAIN = (
    "#                                _-----=> irqs-off\n",
    "#                               / _----=> need-resched\n",
    "#                              | / _---=> hardirq/softirq\n",
    "#                              || / _--=> preempt-depth\n",
)
_OSNOISE = {
    "rt": (
        *_RT,
        "#                              |||||| /          ",
        "                                     MAX\n",
        "#                              ||||| /                         ",
        "                    SINGLE      Interference counters:\n",
        "#                              |||||||               RUNTIME   ",
        "   NOISE  %% OF CPU  NOISE    +-----------------------------+\n",
        "#           TASK-PID      CPU# |||||||   TIMESTAMP    IN US    ",
        "   IN US  AVAILABLE  IN US     HW    NMI    IRQ   SIRQ THREAD\n",
        "#              | |         |   |||||||      |           |      ",
        "       |    |            |      |      |      |      |      |\n",
    ),
    "plain": (
        *_PLAIN,
        "#                              ||| / _-=> migrate-disable     ",
        "                    MAX\n",
        "#                              |||| /     delay               ",
        "                    SINGLE      Interference counters:\n",
        "#                              |||||               RUNTIME   ",
        "   NOISE  %% OF CPU  NOISE    +-----------------------------+\n",
        "#           TASK-PID      CPU# |||||   TIMESTAMP    IN US    ",
        "   IN US  AVAILABLE  IN US     HW    NMI    IRQ   SIRQ THREAD\n",
        "#              | |         |   |||||      |           |      ",
        "       |    |            |      |      |      |      |      |\n",
    ),
}
_TIMERLAT = {
    "rt": (
        *_RT,
        "#                              |||||| /\n",
        "#                              |||||||             ACTIVATION\n",
        "#           TASK-PID      CPU# |||||||   TIMESTAMP    ID     ",
        "       CONTEXT                LATENCY\n",
        "#              | |         |   |||||||      |         |      ",
        "            |                       |\n",
    ),
    "plain": (
        *_PLAIN,
        "#                              ||| / _-=> migrate-disable\n",
        "#                              |||| /     delay\n",
        "#                              |||||            ACTIVATION\n",
        "#           TASK-PID      CPU# |||||   TIMESTAMP   ID      ",
        "      CONTEXT                 LATENCY\n",
        "#              | |         |   |||||      |         |      ",
        "            |                       |\n",
    ),
}
_HEADERS = {"osnoise": _OSNOISE, "timerlat": _TIMERLAT}


def own_header(prog: drgn.Program, tracer: str) -> Iterator[str] | None:
    """What this tracer prints before its events; ``None`` if that is what all print."""
    forms = _HEADERS.get(tracer)
    if forms is None:
        return None
    strings = rodata(prog)
    for lines in forms.values():
        if all(readable(lambda line=line: strings.has(line)) for line in lines):  # type: ignore[misc]
            return iter(lines)
    return None
