"""Which report is only the consequence of an earlier one: the causes of rules/, asked of a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from postmortem.log.devices import DRIVER, PORTS
from postmortem.log.since import began, corrected, halted, idles, silent_cpu, stalled_cpus, told_at
from postmortem.log.standstill import standstill
from postmortem.model.findings import Kind
from postmortem.model.frame import Frame
from postmortem.model.report import Report, Role
from postmortem.rules.behind import behind
from postmortem.rules.blame import plain
from postmortem.rules.causes import Event, History
from postmortem.rules.messages import row_of
from postmortem.rules.owners import families, family, file_system, file_systems
from postmortem.rules.waits import LOCKS, How, WaitKind


def link(reports: Iterable[Report]) -> list[Report]:
    """Set ``consequence_of`` where an earlier report explains a later one."""
    reports = _stood(list(reports))
    known = Known(reports)
    linked: list[Report] = []
    events: list[Event] = []
    history = History()
    for report in reports:
        event = event_of(report, known)
        events.append(event)
        found = history.cause(event)
        history.add(event)
        if found is not None:
            root = linked[found[0]].consequence_of
            # A panic after an oops often comes without a stack: nothing is missing.
            corrupted = None if report.is_panic else report.corrupted
            cause = found[0] if root is None else root
            report = replace(report, consequence_of=cause, corrupted=corrupted)
        linked.append(report)
    return _with_waiters(linked, events)


def _with_waiters(linked: list[Report], events: list[Event]) -> list[Report]:
    """Those that wait behind others that hang come from what those come from."""
    waits = behind(events, [report.consequence_of is not None for report in linked])
    for number, (holder, _why) in waits.items():
        linked[number] = replace(linked[number], consequence_of=holder)
    if not waits:
        return linked
    return [replace(one, consequence_of=_origin(linked, number)) for number, one in _each(linked)]


def _each(linked: list[Report]) -> list[tuple[int, Report]]:
    return list(enumerate(linked))


def _origin(linked: list[Report], number: int) -> int | None:
    """The first link of the chain that a report is in; ``None`` for that one itself."""
    seen = {number}
    cause = linked[number].consequence_of
    while cause is not None and cause not in seen:
        seen.add(cause)
        above = linked[cause].consequence_of
        if above is None:
            return cause
        cause = above
    return cause if cause != number else None


def _stood(reports: list[Report]) -> list[Report]:
    """Mark the stalls of a machine that stood still: for how many seconds it did."""
    found = standstill(reports)
    return [
        replace(report, detail={**report.detail, "stood": f"{found[report.line]:.0f}"})
        if report.line in found
        else report
        for report in reports
    ]


class Known:
    """What the reports of a log say of devices together: one line alone says less."""

    def __init__(self, reports: Iterable[Report]) -> None:
        self._fs: dict[tuple[int, str], set[str]] = {}
        self._drivers: dict[tuple[int, str], set[str]] = {}
        for report in reports:
            name = _own_fs(report)
            driver = report.detail.get("driver", "") if report.devices else ""
            for device in report.devices:
                if name is not None:
                    self._fs.setdefault((report.boot, device), set()).add(name)
                if driver and driver not in PORTS:
                    self._drivers.setdefault((report.boot, device), set()).add(family(driver))

    def fs(self, report: Report) -> frozenset[str]:
        """What is on the devices of a message."""
        own = _own_fs(report)
        return frozenset({own}) if own is not None else self._all(self._fs, report)

    def drivers(self, report: Report) -> frozenset[str]:
        """First words of the drivers of a message's devices."""
        told = (name.removeprefix(DRIVER) for name in report.above if name.startswith(DRIVER))
        return self._all(self._drivers, report) | frozenset(map(family, told))

    @staticmethod
    def _all(table: dict[tuple[int, str], set[str]], report: Report) -> frozenset[str]:
        found = (table.get((report.boot, device), set()) for device in report.devices)
        return frozenset().union(*found)


_FS_OF_FORM = (("nfs-", "nfs"), ("cifs-", "cifs"), ("ceph", "ceph"), ("lustre-", "lustre"),
               ("jbd2", "ext4"), ("journal-", "ext4"), ("zfs-", "zfs"))  # fmt: skip


def _own_fs(report: Report) -> str | None:
    """The file system that a message is of."""
    if "fs" in report.detail:
        return file_system(report.detail["fs"].split(" ")[0])
    return next((name for form, name in _FS_OF_FORM if report.form.startswith(form)), None)


def event_of(report: Report, known: Known | None = None) -> Event:
    """A report, as the rules see it.

    :param known: what other reports of the log say of its devices.
    """
    row = row_of(report.form, report.text) if report.form else None
    frames = _stack(report)
    waits = report.kind in _WAITING and bool(frames)
    how = How([frame.function or "?" for frame in frames]) if waits else _AWAKE
    known = known or Known([report])
    return Event(
        kind=Kind.NONE if corrected(report) else report.kind,
        line=report.line,
        time=told_at(report),
        last=report.last_time if report.time is not None else report.last_clock,
        began=began(report),
        pid=report.task.pid if report.task is not None else None,
        cpu=_cpu(report),
        function=report.function,
        panic=report.panic,
        waits_for=_owner(report),
        waits_io=report.kind is Kind.HUNG_TASK and (_in(how, _IO_WAITS) or _in_iowait(frames)),
        waits_remote=waits and _in(how, _REMOTE),
        waits_lock=waits and _for_others(how, frames),
        waits_fence=waits and any(map(_FENCE.match, _names(frames[:_NEAREST]))),
        stack=tuple(_names(frames[how.caller : how.caller + _DEPTH])) if waits else (),
        code=families(frames) if row is None else frozenset(),
        modules=frozenset(family(f.module) for f in frames if f.module) if waits else frozenset(),
        fs=file_systems(frames) if row is None else known.fs(report),
        lasting=row is None or row.lasts,
        idle=idles(report) or halted(report) or "stood" in report.detail,
        awaits_cpu=report.role is Role.AWAITS_CPU,
        devices=frozenset(report.devices) | _of_thread(report),
        above=frozenset(report.above),
        form=report.form,
        layer=row.layer if row is not None else None,
        driver=report.detail.get("driver", report.module or _speaks_for(report)),
        drivers=known.drivers(report),
        ended=_ended(report),
        boot=report.detail.get("boot", ""),
    )


_THREAD = re.compile(
    r"(?:xfsaild|xfs-\w{1,12}|jbd2|kjournald|dmcrypt_write|f2fs_\w{1,16})/"
    r"(?P<disk>(?:[sh]d[a-z]|x?vd[a-z]|nvme\d|dm-\d|md\d|rbd\d|nbd\d|drbd\d|mmcblk\d)\w{0,8})(?:-\d{1,8})?"
)


def _of_thread(report: Report) -> frozenset[str]:
    """The disk that a hung thread of a file system is named after."""
    if report.kind is not Kind.HUNG_TASK or report.task is None:
        return frozenset()
    found = _THREAD.fullmatch(report.task.comm or "")
    return frozenset({found["disk"]}) if found is not None else frozenset()


def _speaks_for(report: Report) -> str:
    """The module that prints under a name of its own."""
    text = "".join(report.text[:1])
    return next((driver for word, driver in _VOICES if text.startswith(word)), "")


_VOICES = (("NVRM:", "nvidia"), ("nvme nvme", "nvme"), ("mpt3sas_cm", "mpt3sas"))


def _cpu(report: Report) -> int | None:
    """The CPU that the trouble is on, if it is one."""
    silent = silent_cpu(report)
    if silent is not None:
        return silent
    stalled = stalled_cpus(report)
    return stalled[0] if report.cpu is None and len(stalled) == 1 else report.cpu


def _owner(report: Report) -> int | None:
    """Pid of the task that the kernel says holds the lock: its name may hold colons."""
    pid = report.detail.get("blocker", "").rpartition(":")[2]
    return int(pid) if pid.isdigit() and len(pid) < 10 else None


_IO_WAITS = frozenset(
    {WaitKind.IO, WaitKind.REQUEST, WaitKind.JOURNAL, WaitKind.PAGE, WaitKind.BUFFER}
)


_REMOTE = frozenset({WaitKind.RPC})
_WAITING = frozenset({Kind.HUNG_TASK, Kind.SUSPEND})
_AWAKE = How(())


_NEAREST = 10
"""Innermost frames among which it stands what a task waits for."""
_DEPTH = 48
_IOWAIT = re.compile(r"io_schedule\w*|bit_wait_io\w*|blk_io_schedule|mutex_lock_io\w*")
"""They count the task among those that wait for I/O, whatever it is for."""
_FENCE = re.compile(
    r"dma_fence_\w*wait\w*|dma_resv_wait\w*|reservation_object_wait\w*|drm_sched_entity_\w+"
    r"|drm_atomic_helper_wait_for_\w+|drm_syncobj_\w*wait\w*|ttm_bo_wait\w*|i915_request_wait\w*"
)


def _stack(report: Report) -> list[Frame]:
    frames = report.frames or next((stack.frames for stack in report.stacks), ())
    pc = [report.pc] if report.pc is not None and report.kind not in _WAITING else []
    return [*pc, *(frame for frame in frames if frame.reliable)]


def _names(frames: Iterable[Frame]) -> list[str]:
    return [plain(frame.function) for frame in frames if frame.function]


def _in(how: How, what: frozenset[WaitKind]) -> bool:
    return how.reason in what or how.primitive in what


def _for_others(how: How, frames: Sequence[Frame]) -> bool:
    """Whether it waits for a lock or for the journal, which it does not write itself."""
    if how.primitive in LOCKS:
        return True
    return how.reason is WaitKind.JOURNAL and not _in_iowait(frames)


def _in_iowait(frames: Sequence[Frame]) -> bool:
    return any(map(_IOWAIT.fullmatch, _names(frames[:6])))


def _ended(report: Report) -> int | None:
    line = report.detail.get("recovered_line", "")
    return int(line) if line.isdigit() and len(line) < 12 else None
