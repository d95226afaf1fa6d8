"""What lines tell about a boot: that it is only a crash kernel's, what became of the dump.

A crash kernel (kexec, kdump) is told by ``elfcorehdr=`` on its command line: its boot is no
boot of the machine, and its errors are not what the machine died of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from postmortem.log import devices
from postmortem.log.devices import Relations
from postmortem.model.findings import Kind
from postmortem.model.report import Record, Report
from postmortem.rules.blame import signature

PHRASES = (
    *devices.PHRASES,
    "ommand line: ",
    "vmcore",
    "makedumpfile",
    "dumpfile is saved",
    "-- Boot ",
    "-- Reboot --",
    "printk messages dropped",
    "kmsg buffer overrun",
    " kernel messages",
    "suspend entry",
    "suspend exit",
    "reboot: Restarting system",
    "reboot: Power down",
    "reboot: System halted",
)
"""What to stop at besides banners and headers."""

_COMMAND_LINE = re.compile(r"(?:Kernel c|C)ommand line: ")
_MAX_WORDS = 4096
"""Characters of a command line; the kernel's own limit is lower on most machines."""
_SEPARATOR = re.compile(r"-- (?:Boot [0-9a-f]{32}|Reboot) --$")
_FAILED = re.compile(
    r"makedumpfile:? failed|saving vmcore(?:-dmesg\.txt)? failed"
    r"|failed to (?:save|dump) .{0,20}vmcore"
    r"|can't (?:save|dump) .{0,20}vmcore|vmcore.{0,30}(?:not saved|could not be saved)",
    re.I,
)
_SAVED = re.compile(
    r"saving vmcore complete|makedumpfile completed|dumpfile is saved to|saved vmcore"
    r"|vmcore (?:has been )?saved",
    re.I,
)


_DROPPED = re.compile(
    # console_emit_next_record(), kernel/printk/printk.c; systemd-journald's reader of /dev/kmsg
    r"(?:\*\* (?P<printk>\d{1,12}) printk messages dropped|.{0,120}Missed (?P<journal>\d{1,12})"
    r" kernel messages|.{0,120}/dev/kmsg buffer overrun, some messages lost)"
)
_SLEEPS = re.compile(r"PM: suspend (?P<way>entry|exit)(?: \((?P<state>[\w-]{1,20})\))?")
"""pm_suspend(), kernel/power/suspend.c; before v4.19 with the time instead of the state."""
_STOPS = re.compile(r"reboot: (?:Restarting system|Power down|System halted)")
"""kernel_restart(), kernel_power_off(), kernel_halt() (kernel/reboot.c): what reboot(2) ends in.
emergency_restart(), which a panic and sysrq b come to, says nothing."""
_EARLY = 300.0
"""Seconds after its start in which a boot is told by its clock."""
_BACK = 60.0
"""Seconds that the clock must go back by."""


@dataclass
class Boot:
    """One run of a kernel in the capture."""

    line: int
    release: str | None = None
    version: str | None = None
    kdump: bool = False
    """The kernel that only saves the dump."""
    offset: int | None = None
    """KASLR: how far the kernel was moved, bytes."""
    dump: str | None = None
    """What a crash kernel says of the dump: ``saved`` or ``failed``; ``None`` if nothing."""
    dump_said: str = ""
    """In which words."""
    dump_line: int | None = None
    relations: Relations = field(default_factory=Relations)
    """What its devices hang on."""
    begins: float | None = None
    """Seconds after its start at which the log of it begins; ``None`` if it has the beginning."""
    end: float | None = None
    """Time of its last message, seconds after its start."""
    dropped: int = 0
    """Messages that never came to this log, as whoever wrote it says; at least so many."""
    dropped_line: int | None = None
    """Where it says so first."""
    command_line: str | None = None
    asleep: Record | None = None
    """What it said when it went to sleep, if no return from that is in the log."""
    state: str = ""
    """Which sleep: ``s2idle``, ``deep``."""
    stopped: Record | None = None
    """With which words reboot(2) ended it: no panic does."""


class Clock:
    """Tells a boot without a banner: printk's clock, which only grows, is near 0 again.

    Two CPUs print out of order by milliseconds, and what a crash kernel or ``dmesg`` prints
    again has the same times again: both are no boots.
    """

    def __init__(self) -> None:
        self._boot: Boot | None = None
        """The boot that the rest is about."""
        self._last = 0.0
        self._early: set[float] = set()
        """The times near 0 that were seen."""
        self._again = False
        """Messages of before are printed once more."""

    def restarts(self, boot: Boot | None, time: float | None) -> bool:
        """Whether the time of the next report (seconds) proves another boot than that."""
        if time is None:
            return False
        if boot is not self._boot:
            self._boot, self._last, self._early, self._again = boot, time, set(), False
        elif time >= self._last:
            self._last, self._again = time, False
        self._again = self._again or (time < self._last and time in self._early)
        if time >= _EARLY:
            return False
        self._early.add(time)
        return not self._again and self._last - time > _BACK


def is_separator(text: str) -> bool:
    """Whether ``journalctl`` says here that another boot begins."""
    return _SEPARATOR.match(text) is not None


def note(boot: Boot, text: str, line: int, time: float | None = None) -> bool:
    """Keep what a message says about its boot; whether it said anything.

    :param time: seconds since boot.
    """
    words = _COMMAND_LINE.search(text) if "ommand line: " in text else None
    if words is not None:
        boot.command_line = boot.command_line or text[words.end() :][:_MAX_WORDS]
        boot.kdump = boot.kdump or "elfcorehdr=" in text
        return True
    lost = _DROPPED.match(text) if "messages" in text else None
    if lost is not None:
        boot.dropped += max(1, int(lost["printk"] or lost["journal"] or 1))
        boot.dropped_line = boot.dropped_line or line
        return True
    sleeps = _SLEEPS.match(text) if "suspend e" in text else None
    if sleeps is not None:
        entry = sleeps["way"] == "entry"
        boot.asleep = Record(line, text, time) if entry else None
        boot.state = (sleeps["state"] or "") if entry else ""
        return True
    if "reboot: " in text and _STOPS.match(text) is not None:
        boot.stopped = Record(line, text, time)
        return True
    if "dump" in text or "vmcore" in text:
        result = "failed" if _FAILED.search(text) else "saved" if _SAVED.search(text) else None
        if result is not None and boot.dump != "failed":
            boot.dump, boot.dump_said, boot.dump_line = result, text[:200], line
        return result is not None
    return boot.relations.note(text)


NO_RETURN = "suspend-lost"
"""Form of the report of a boot that ends in a sleep."""


def no_returns(boots: Sequence[Boot], reports: Sequence[Report]) -> list[Report]:
    """A report for each boot that went to sleep and of which nothing comes but another boot.

    :param boots: with what comes before the first banner as number 0.
    """
    last = {report.boot: report.line for report in reports}
    found = []
    for number, (boot, following) in enumerate(pairwise(boots)):
        if boot.asleep is None or following.kdump or last.get(number, 0) > boot.asleep.line:
            continue
        state = f" ({boot.state})" if boot.state else ""
        found.append(
            Report(
                kind=Kind.SUSPEND,
                title=f"PM: no return from suspend{state}",
                line=boot.asleep.line,
                end_line=boot.asleep.line,
                text=(boot.asleep.text,),
                time=boot.asleep.time,
                release=boot.release,
                detail={"next_boot": str(following.line), "boot": str(number)},
                boot=number,
                form=NO_RETURN,
                signature=signature(Kind.SUSPEND, NO_RETURN, ()),
            )
        )
    return found


def dump_sentence(boot: Boot) -> str:
    """What became of the dump, if the crash kernel says so."""
    if boot.dump == "failed":
        return f"it could not save the dump (log line {boot.dump_line}: {boot.dump_said})"
    if boot.dump == "saved":
        return f"it saved the dump (log line {boot.dump_line})"
    return ""


def taken_over(boot: Boot) -> str:
    """That a crash kernel took over, and what became of the dump, in a sentence."""
    said = f"Then the crash kernel took over (its boot begins at log line {boot.line})"
    became = dump_sentence(boot)
    if became:
        return f"{said}, and {became}."
    return f"{said}; what became of the dump, the log does not say."


def missing(boots: Iterable[Boot]) -> list[str]:
    """What the log does not have of these boots: their beginning, lines that got lost."""
    found = []
    boot = None
    for boot in boots:
        if boot.begins is not None:
            found.append(
                f"the log begins {boot.begins:.0f} s after the machine was started: what the kernel"
                " said before is not in it"
                if boot.begins >= 1
                else "the log has no banner (Linux version): its first lines are missing"
            )
        if boot.dropped_line is not None:
            messages = "message" if boot.dropped == 1 else "messages"
            found.append(
                f"at least {boot.dropped} {messages} of the kernel got lost before they were"
                f" written, the first at log line {boot.dropped_line}"
            )
    if boot is not None and boot.asleep is not None:
        found.append(
            f"the log ends in a sleep of the machine (log line {boot.asleep.line}:"
            f" {boot.asleep.text}): what came after is not in it"
        )
    return found
