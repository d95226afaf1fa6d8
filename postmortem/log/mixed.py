"""Two CPUs that die at once: their reports come line by line in turn, and nothing says whose.

Kernels without caller ids (CONFIG_PRINTK_CALLER) print them so. Each kind of line comes twice
then, and first from the CPU whose report began first: its registers can be told, but not
whose a line of a stack is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postmortem.log.frames import is_frame

if TYPE_CHECKING:
    from postmortem.log.split import Section
    from postmortem.model.report import Record

MIXED = "two CPUs printed at once, and whose the lines of the stacks are can't be told"
_CPU = re.compile(r"CPU: (?P<cpu>\d{1,6}) ")
_KEY = re.compile(r"[^:\[(]{1,24}")
_MARK = re.compile(r"</?#?\w+>$")
_NEAR = 16
"""Lines among which both CPUs have said who they are."""


def is_torn(section: Section) -> bool:
    """Did another report begin before this one said on which CPU it is?"""
    own = section.records[section.at :]
    fault = section.form.find == "pc" and not section.titled and not section.frames
    return fault and not any(_CPU.match(record.text.lstrip()) for record in own)


def unmix(first: Section, second: Section) -> bool:
    """Give both sections their own lines, if the second one holds those of two CPUs."""
    start = second.at + 1
    near = second.records[start : start + _NEAR]
    cpus = [match["cpu"] for r in near if (match := _CPU.match(r.text.lstrip())) is not None]
    if len(cpus) != 2 or cpus[0] == cpus[1]:
        return False
    own: list[Record] = []
    other: list[Record] = []
    seen: set[str] = set()
    for record in second.records[start:]:
        text = record.text.lstrip()
        if is_frame(text) or _MARK.match(text):
            continue
        key = _KEY.match(text)
        again = key is not None and key[0] in seen
        (other if again else own).append(record)
        if key is not None:
            seen.add(key[0])
    first.records += own
    second.records[start:] = other
    for section in (first, second):
        section.fitting = len(section.records)
        section.frames, section.interrupted = 0, MIXED
    return True
