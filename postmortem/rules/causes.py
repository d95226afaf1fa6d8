"""What explains what: the one table of causes, for the log and for the verdict.

A :class:`Rule` says which later event an earlier one explains. ``postmortem log`` asks it
about the reports in a log, the verdict asks the same about findings: so both give the
same answer. A new chain is a row here and a case in ``tests/rules/test_causes.py``.

Asking is linear: a rule finds its candidates by what must be equal (:class:`Same`), and of
each sort only the last few are looked at.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from postmortem.model.findings import Kind
from postmortem.rules.kinds import CORRUPTING, DEADLY, LOCKUPS, STUCK
from postmortem.rules.owners import REMOTE, family, words

NEAR = 120.0
"""Seconds: without a tie (a task, a device) a consequence begins at most so far behind."""
FADES = 600.0
"""Seconds: after so long a failure that was but an event explains nothing any more, where
what was lost would (a device that is gone, a server that is silent)."""
NEAR_LINES = 3000
"""Lines, where the log has no times."""
MAX_CANDIDATES = 16
"""Events of a kind that are remembered."""
ANY_PANIC = " "
"""For rules about panics whatever they say."""
_SLACK = 1.0
"""Seconds by which clocks and the order of lines may disagree."""


@dataclass(frozen=True)
class Event:
    """A report or a finding, with what rules ask about it."""

    kind: Kind
    line: int | None = None
    """In the log; ``None`` for what only a dump shows."""
    time: float | None = None
    """Seconds since boot at which it was told; of the logger's clock, where a log has only that."""
    last: float | None = None
    """When it was told for the last time."""
    began: float | None = None
    """Seconds since boot at which the trouble began: watchdogs speak long after."""
    pid: int | None = None
    cpu: int | None = None
    function: str | None = None
    panic: str | None = None
    """The message of panic(), where the kernel stopped with it."""
    waits_for: int | None = None
    """Pid of the task that is known to hold what this one waits for."""
    waits_io: bool = False
    """A task that waits for I/O."""
    idle: bool = False
    """A stall of a CPU that does nothing: nothing on it caused or suffers anything."""
    awaits_cpu: bool = False
    """A CPU that waits for another one to answer its call."""
    waits_remote: bool = False
    """A task that waits for a server."""
    waits_lock: bool = False
    """A task that waits for what another one holds: a lock, a transaction of the journal."""
    waits_fence: bool = False
    """A task that waits for a GPU to finish."""
    stack: tuple[str, ...] = ()
    """Of a task that waits: its functions from the one that began to wait outwards."""
    code: frozenset[str] = frozenset()
    """The drivers whose code is on the stack, by the first word of their names."""
    modules: frozenset[str] = frozenset()
    """Those of them that are modules."""
    fs: frozenset[str] = frozenset()
    """The file systems whose code is on the stack; of a message, what is on its devices."""
    lasting: bool = True
    """What failed stays failed until it is said to work again (:attr:`ended`)."""
    devices: frozenset[str] = frozenset()
    """Names of block devices, PCI functions, interfaces, mounts, servers."""
    above: frozenset[str] = frozenset()
    """What those hang on, as the log says: controllers, ports, bridges."""
    form: str = ""
    """Row of rules/messages.py or log/headers.py."""
    layer: int | None = None
    """Of a message (:class:`postmortem.rules.messages.Layer`)."""
    driver: str = ""
    """Of a message's device, or the module of the culprit."""
    drivers: frozenset[str] = frozenset()
    """First words of the drivers of its devices, as far as the log says."""
    ended: int | None = None
    """Line at which the log says that it is over."""
    boot: str = ""
    """Which run of the kernel: nothing crosses a reboot."""

    @property
    def start(self) -> float | None:
        return self.began if self.began is not None else self.time


class Same(Enum):
    """What a cause and its consequence must have in common."""

    NOTHING = "nothing"
    TASK = "task"
    OWNER = "the task that is waited for"
    DEVICE = "device"


@dataclass(frozen=True)
class Rule:
    """``earlier`` explains ``later``."""

    name: str
    earlier: frozenset[Kind]
    later: frozenset[Kind]
    why: str
    """Said of the later one; ``{cause}`` is the earlier one's title."""
    same: Same = Same.NOTHING
    panic: str = ""
    """Words of panic()'s message; a rule without them is not about panics."""
    near: float | None = NEAR
    """Seconds between them; ``None``: any time in the same boot."""
    first: bool = False
    """Of several causes the first one counts, not the nearest."""
    holds: Callable[[Event, Event], bool] = lambda earlier, later: True


def _stands_under(earlier: Event, later: Event) -> bool:
    """A failure of what the later one's device stands on, or an earlier one of the same layer."""
    if earlier.layer is None or later.layer is None or earlier.form == later.form:
        return False
    return earlier.layer <= later.layer


_DISK_SAYS = frozenset({"io-error", "lost-write", "buffer-error", "scsi-sense", "scsi-result",
                        "scsi-rejecting", "scsi-offline", "multipath"})  # fmt: skip
_OVER_NETWORK = frozenset({"nfs-silent", "cifs-silent", "ceph", "iscsi", "nvme-fabric", "nbd",
                           "lustre-lost", "drbd", "rpc-error"})  # fmt: skip
_NETWORK = frozenset({"link-down", "bond-down", "bond-none", "tx-hang", "tx-timeout",
                      "nic-firmware", "pci-gone"})  # fmt: skip
_BESIDE: tuple[tuple[frozenset[str], frozenset[str], str | tuple[str, ...], float], ...] = (
    (frozenset({"ata-error", "ata-media", "ata-cable", "ata-unplugged", "ata-disabled"}),
     _DISK_SAYS, ("sd", "scsi "), 30.0),
    (frozenset({"mmc-host"}), _DISK_SAYS | {"mmc-error", "mmc-removed"}, "mmc", 30.0),
    (frozenset({"mmc-error", "mmc-removed"}), _DISK_SAYS | {"mmc-error"}, "mmcblk", 30.0),
    (frozenset({"fc-link"}), frozenset({"fc-lost"}), "host", 120.0),
    (frozenset({"hba-fault"}), _DISK_SAYS, ("sd", "scsi "), 300.0),  # it waits for its firmware
    (frozenset({"iscsi-lost", "iscsi", "fc-lost", "fc-link", "xhci-dead"}),
     _DISK_SAYS, ("sd", "scsi "), 60.0),
    (frozenset({"ufs"}), _DISK_SAYS, ("sd", "scsi "), 120.0),
    (frozenset({"dasd-path"}), _DISK_SAYS, "dasd", 600.0),
    (frozenset({"eeh", "eeh-lost"}), _DISK_SAYS, ("sd", "scsi "), 30.0),
    (frozenset({"aer", "aer-nonfatal", "dpc"}), frozenset({"aer-unrecovered"}), "", 30.0),
    (frozenset({"dm-thin"}),
     frozenset({"lost-write", "buffer-error", "io-error", "xfs-io", "fs-shutdown", "ext4-io"}),
     "dm-", 120.0),
    (_NETWORK, _OVER_NETWORK, "", 300.0),
    (frozenset({"scsi-rejecting", "scsi-offline"}),
     frozenset({"io-error", "lost-write", "buffer-error", "ext4-io", "ext4-detected-abort",
                "journal-aborted", "jbd2-error", "fs-readonly", "xfs-io", "fs-shutdown"}),
     ("sd", "dm-"), 2.0),
)  # fmt: skip
"""Failures that no line ties to a device, but that drivers print right before what follows:
who fails first, what follows, how its device is named, seconds between."""
_MADE_OF_DISKS = ("dm-", "md", "drbd", "pool ")


_ROADS = (
    ("ata-", ("ahci", "ata_", "sata_", "pata_", "nv_", "mv")),
    ("iscsi", ("iSCSI", "cxgb", "qla4", "be2iscsi", "bnx2i", "qedi")),
    ("fc-", ("qla2", "QLogic", "Emulex", "lpfc", "fnic", "bfa", "zfcp", "qedf", "bnx2fc")),
    ("xhci", ("usb", "uas")),
)
"""By the beginning of a failure's form: names of the drivers whose SCSI hosts it can concern."""


def _other_road(earlier: Event, later: Event) -> bool:
    """Whether the log says that the disk hangs on a host that the failure can't concern."""
    if any(_others(earlier.devices, later.devices | later.above, kind) for kind in _HOSTS):
        return True
    drivers = [name[4:] for name in later.above if name.startswith("via ")]
    if any(name.startswith("usb ") for name in later.above):
        drivers.append("usb")
    known = next((names for form, names in _ROADS if earlier.form.startswith(form)), None)
    return bool(drivers) and known is not None and not any(
        driver.startswith(known) for driver in drivers
    )  # fmt: skip


_AT_ONCE = 5.0
"""Seconds between the failed request of a disk and what is said of the swapped page."""
_HOSTS = ("host", "mmc", "scsi ")


def _others(first: frozenset[str], second: frozenset[str], kind: str) -> bool:
    """Whether both name hosts of a kind, and no common one: ``mmc0`` and ``mmc1``."""
    mine, theirs = (
        {name for name in names if name.startswith(kind) and _NUMBER.fullmatch(name[len(kind) :])}
        for names in (first, second)
    )
    return bool(mine and theirs) and mine.isdisjoint(theirs)


_NUMBER = re.compile(r"[\d:]+")


def _beside(earlier: Event, later: Event) -> bool:
    if earlier.layer is None or later.layer is None:
        return False
    seconds = _between(earlier, later)
    for first, then, named, near in _BESIDE:
        if earlier.form in first and later.form in then and seconds <= near:
            disk = any(device.startswith(named) for device in later.devices)
            return disk and not _other_road(earlier, later)
    if later.form == "swap-error" and not later.devices:
        return earlier.form in _DISK_SAYS and seconds <= _AT_ONCE
    under = 3 >= earlier.layer < later.layer and earlier.form in _DISK_SAYS
    return under and seconds <= 60 and any(d.startswith(_MADE_OF_DISKS) for d in later.devices)


_A_LINE = 0.2
"""Seconds that a line stands for, in a log without any times."""


def _between(earlier: Event, later: Event) -> float:
    """Seconds from the last time that the earlier one was told before the later one."""
    if earlier.time is None or later.time is None:
        known = earlier.line is not None and later.line is not None
        return _A_LINE * ((later.line or 0) - (earlier.line or 0)) if known else math.inf
    last = earlier.last if earlier.last is not None and earlier.last <= later.time else earlier.time
    return later.time - last


def _same_driver(earlier: Event, later: Event) -> bool:
    """Whether the code that stands or runs is of the driver whose device failed."""
    if earlier.layer is None:
        return False
    if earlier.driver and earlier.driver == later.driver:
        return True
    mine = earlier.drivers | ({family(earlier.driver)} if earlier.driver else set())
    return not mine.isdisjoint(later.code)


def _by_function(earlier: Event, later: Event) -> bool:
    """Whether a PCI function of the driver failed, whose device the later one names otherwise.

    A log that does not begin with the boot does not say that ``nvme1`` is 0000:03:00.0.
    """
    if earlier.layer is None or earlier.layer > _PCI or not later.driver:
        return False
    if any(map(_FUNCTION.fullmatch, later.devices | later.above)):
        return False
    theirs = any(map(_FUNCTION.fullmatch, earlier.devices))
    return theirs and family(later.driver) in earlier.drivers


_PCI = 1
_FUNCTION = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_GPU = frozenset({"gpu-hang", "gpu-lost", "gpu-fault", "gpu-wedged", "gpu-xid"})
_HELPERS = frozenset({"drm", "drm_kms_helper", "ttm"})
"""What prints for whatever driver uses it."""


def _same_adapter(earlier: Event, later: Event) -> bool:
    """Whether a driver goes on about its device, of which one of the two lines names none."""
    if earlier.layer is None or later.layer is None or earlier.form == later.form:
        return False
    if earlier.devices and later.devices:
        return _by_function(earlier, later)
    helps = later.driver in _HELPERS and not later.devices and earlier.form in _GPU
    return helps or (bool(earlier.driver) and earlier.driver == later.driver)


def _fence(earlier: Event, later: Event) -> bool:
    """Whether the task waits for a GPU, as one does not answer: of another driver's stack not."""
    if not later.waits_fence or earlier.form not in _GPU:
        return False
    gpus = later.code & _GPU_DRIVERS
    return not gpus or not earlier.driver or family(earlier.driver) in gpus


_GPU_DRIVERS = words(
    """
    amdgpu radeon i915 xe nouveau nvidia msm panfrost panthor lima etnaviv v3d vc4 vmwgfx qxl
    virtio_gpu tegra powervr pvr ast mgag200 habanalabs ivpu
    """
)


def _not_that_road(earlier: Event, later: Event) -> bool:
    """Whether the stack says that what failed is not what the task waits for.

    Who waits inside the code of one file system does not wait for the disk of another one,
    and who waits for a server does not wait for a local disk.
    """
    if not later.fs:
        return earlier.form in _FILE_SERVERS
    if later.fs <= REMOTE and earlier.form not in _OVER_NETWORK | _NETWORK:
        return True
    served = earlier.form in _OVER_NETWORK - _FILE_SERVERS
    if served and not later.fs <= REMOTE:
        return False  # a disk over the network
    return bool(earlier.fs) and earlier.fs.isdisjoint(later.fs)


_FILE_SERVERS = frozenset({"nfs-silent", "nfs-error", "cifs-silent", "lustre-lost", "afs",
                           "rpc-error"})  # fmt: skip
"""Who waits for them does so in the code of their file systems."""


def _io_failed(earlier: Event, later: Event) -> bool:
    return later.waits_io and not _not_that_road(earlier, later)


def _own_fs(earlier: Event, later: Event) -> bool:
    """Whether a file system of the kind in whose code the task stands had failed."""
    failed = earlier.layer == _FS and earlier.form not in ("zfs-suspended", "ext4-old-error")
    return failed and not earlier.fs.isdisjoint(later.fs)


def _network_failed(earlier: Event, later: Event) -> bool:
    return bool(later.fs) and later.fs <= REMOTE and earlier.form in _NETWORK


_FS = 5


def _own_device(earlier: Event, later: Event) -> bool:
    """Whether a check failed in the code that has to do with a device that had failed.

    A radio's driver is two halves: its own module, and mac80211, which restarts it.
    """
    radio = earlier.form == "firmware-crash" and later.driver in ("mac80211", "cfg80211")
    return radio or _same_driver(earlier, later)


_OF_POOLS = frozenset({"zfs", "spl"})


def _pool_stands(earlier: Event, later: Event) -> bool:
    """Whether the task waits inside ZFS, which has stopped a pool until its disks answer."""
    return earlier.form == "zfs-suspended" and later.driver in _OF_POOLS


def _not_read(earlier: Event, later: Event) -> bool:
    """Whether a program died because a page of its file could not be read: that is SIGBUS."""
    return earlier.layer is not None and earlier.layer >= _DISK and _SIGBUS in (later.panic or "")


_DISK = 3
_SIGBUS = "exitcode=0x00000007"
_ASSERTS = frozenset({"spl-assert", "lustre-assert"})
"""Assertions that put their task to sleep for ever."""
_SILENT = ("server ", "ceph ", "target ")


def _server(earlier: Event, later: Event) -> bool:
    """Whether the task waits for a server, and one that is silent is of that kind."""
    if not any(device.startswith(_SILENT) for device in earlier.devices):
        return False
    if earlier.form == "ceph" and any(device.startswith("rbd") for device in later.devices):
        return True  # a disk that Ceph serves
    if earlier.fs and later.fs:
        return not earlier.fs.isdisjoint(later.fs)
    return later.waits_remote


_FAILS = frozenset({Kind.IO_ERROR, Kind.DEVICE_ERROR, Kind.THERMAL})
_ALL = frozenset(Kind)
_STOPS = frozenset({Kind.PANIC, Kind.INIT_KILLED, Kind.ROOT_MOUNT, Kind.NMI, Kind.MACHINE_CHECK})
_LOOPS = frozenset({Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP})
_ASKED = frozenset({Kind.USER_REQUESTED, Kind.NMI})
_CHECKS = frozenset({Kind.WARNING, Kind.KASAN, Kind.KMSAN, Kind.KCSAN, Kind.KFENCE, Kind.UBSAN,
                     Kind.USE_AFTER_FREE, Kind.OUT_OF_BOUNDS, Kind.DOUBLE_FREE, Kind.LOCKDEP,
                     Kind.SCHEDULING_WHILE_ATOMIC})  # fmt: skip
"""What calls check_panic_on_warn()."""


def _one_trouble(earlier: Event, later: Event) -> bool:
    """Stalls that can be faces of one: not of two CPUs, and the cause began no later."""
    if earlier.idle or later.idle:
        return False
    if earlier.kind is later.kind or not _began_no_later(earlier, later):
        return False
    known = earlier.cpu is not None and later.cpu is not None
    return not known or earlier.cpu == later.cpu or earlier.function == later.function


def _began_no_later(earlier: Event, later: Event) -> bool:
    if earlier.start is None or later.start is None:
        return True
    return earlier.start <= later.start + _SLACK


_STILL = 10.0
"""Seconds: watchdogs look every few seconds and round."""


def _still(earlier: Event, later: Event) -> bool:
    """One CPU that its watchdog reports again, still in the same task."""
    if earlier.cpu is None or (earlier.cpu, earlier.pid) != (later.cpu, later.pid):
        return False
    if earlier.kind is not later.kind or earlier.began is None or later.began is None:
        return False
    return abs(earlier.began - later.began) <= _STILL


def _does_not_answer(earlier: Event, later: Event) -> bool:
    """A CPU waits for an answer, and another one was stuck before it began to."""
    if not later.awaits_cpu or earlier.awaits_cpu or earlier.idle or earlier.cpu == later.cpu:
        return False
    return earlier.cpu is not None and _began_no_later(earlier, later)


def _not_idle(earlier: Event, later: Event) -> bool:
    return not earlier.idle and not later.idle and _began_no_later(earlier, later)


def _began_after(earlier: Event, later: Event) -> bool:
    """What waits can't wait because of something that came only later."""
    return earlier.time is None or later.start is None or later.start >= earlier.time - _SLACK


def _panics(words: str, kinds: frozenset[Kind], *, first: bool = False) -> Rule:
    return Rule(
        f"panic: {words}", kinds, _ALL, 'panic() was called over it: "{cause}"',
        panic=words, first=first,
    )  # fmt: skip


# The first rule that finds a cause decides: what the kernel says itself comes first.
RULES: tuple[Rule, ...] = (
    # --- panic() names what it was called for
    _panics("hung_task:", frozenset({Kind.HUNG_TASK, Kind.DEADLOCK}), first=True),
    _panics("softlockup:", frozenset({Kind.SOFT_LOCKUP})),
    _panics("Hard LOCKUP", frozenset({Kind.HARD_LOCKUP})),
    _panics("hard LOCKUP", frozenset({Kind.HARD_LOCKUP})),
    _panics("RCU Stall", frozenset({Kind.RCU_STALL})),
    _panics("Fatal exception", DEADLY | {Kind.USER_REQUESTED, Kind.NMI, Kind.MACHINE_CHECK}),
    # An oops whose head is not in the log is a stack only.
    Rule(
        "panic: Fatal exception after a stack without a head",
        frozenset({Kind.STACK_TRACE}), _ALL,
        'panic() was called over what it shows: "{cause}"',
        panic="Fatal exception", near=1.0,
    ),
    _panics("Aiee, killing interrupt handler", DEADLY),
    _panics("Attempted to kill the idle task", DEADLY),
    _panics("Oopsed too often", DEADLY),
    _panics("panic_on_warn", _CHECKS | CORRUPTING),
    _panics("warned too often", _CHECKS | CORRUPTING),
    _panics("kasan.fault=panic", frozenset({Kind.KASAN, Kind.DOUBLE_FREE})),
    _panics("unrecoverable failure", frozenset({Kind.SUSPEND}), first=True),
    _panics("sysrq triggered crash", frozenset({Kind.USER_REQUESTED})),
    _panics("achine check", frozenset({Kind.MACHINE_CHECK})),
    _panics("Fatal hardware error", frozenset({Kind.MACHINE_CHECK})),
    _panics("Timeout: Not all CPUs", frozenset({Kind.MACHINE_CHECK})),
    _panics("Out of memory", frozenset({Kind.OOM})),
    _panics("System is deadlocked on memory", frozenset({Kind.OOM})),
    # --- panics over something that stands before them
    Rule(
        "a task died of it, then the kernel",
        DEADLY, _STOPS | {Kind.STACK_OVERFLOW},
        "the kernel was not to be trusted any more after {cause}",
        Same.TASK, panic=ANY_PANIC,
    ),
    Rule(
        "a task died of it, then another called panic()",
        DEADLY, frozenset({Kind.PANIC, Kind.INIT_KILLED}),
        "the kernel was not to be trusted any more after {cause}",
        panic=ANY_PANIC,
    ),
    Rule(
        "init was killed for memory",
        frozenset({Kind.OOM}), frozenset({Kind.INIT_KILLED}),
        "memory ran out before it ({cause})",
        panic=ANY_PANIC,
    ),
    Rule(
        "a device failed under a panic",
        _FAILS, frozenset({Kind.PANIC, Kind.INIT_KILLED, Kind.ROOT_MOUNT}),
        "the device had failed before it ({cause})",
        Same.DEVICE, panic=ANY_PANIC, near=None, first=True,
    ),
    Rule(
        "init's file could not be read",
        frozenset({Kind.IO_ERROR}), frozenset({Kind.INIT_KILLED}),
        "its file could not be read any more ({cause})",
        panic=ANY_PANIC, near=600.0, first=True, holds=_not_read,
    ),
    # --- a crash that somebody asked for
    Rule(
        "asked for after a death",
        DEADLY, frozenset({Kind.USER_REQUESTED}),
        "the crash was asked for after {cause}",
        panic=ANY_PANIC, near=None, first=True,
    ),
    Rule(
        "asked for because of a hang",
        STUCK | {Kind.IO_ERROR}, _ASKED,
        "the crash was asked for after {cause}",
        panic=ANY_PANIC, near=None, first=True,
    ),
    # --- tasks that wait
    Rule(
        "the owner is dead",
        DEADLY, STUCK,
        "the task that holds what is waited for died before it ({cause})",
        Same.OWNER, near=None,
    ),
    Rule(
        "a task died with its locks",
        DEADLY, STUCK,
        "a task died before it ({cause}) and may have kept its locks",
        holds=_began_after,
    ),
    Rule(
        "a task slept with a spinlock held",
        frozenset({Kind.SCHEDULING_WHILE_ATOMIC}), LOCKUPS,
        "a task went to sleep with preemption off before it ({cause})",
    ),
    Rule(
        "an assertion sleeps with its locks",
        frozenset({Kind.BUG}), STUCK | {Kind.SUSPEND},
        "a task stopped for ever before it ({cause}), with its locks",
        near=None, first=True, holds=lambda earlier, later: earlier.form in _ASSERTS,
    ),
    Rule(
        "the server is silent",
        frozenset({Kind.IO_ERROR}), frozenset({Kind.HUNG_TASK, Kind.SUSPEND}),
        "the server it waits for does not answer ({cause})",
        near=None, first=True, holds=_server,
    ),
    Rule(
        "the disk did not answer",
        _FAILS, frozenset({Kind.HUNG_TASK, Kind.DEADLOCK, Kind.SUSPEND}),
        "the device had failed before it ({cause})",
        Same.DEVICE, near=None, first=True,
    ),
    Rule(
        "the driver's device had failed",
        frozenset({Kind.DEVICE_ERROR, Kind.IO_ERROR}), STUCK,
        "a device of that driver had failed before it ({cause})",
        near=600.0, first=True, holds=_same_driver,
    ),
    Rule(
        "its file system had failed",
        frozenset({Kind.IO_ERROR}), frozenset({Kind.HUNG_TASK}),
        "the file system had failed before it ({cause})",
        near=600.0, holds=_own_fs,
    ),
    Rule(
        "the GPU does not answer",
        frozenset({Kind.DEVICE_ERROR}), frozenset({Kind.HUNG_TASK, Kind.SUSPEND}),
        "the GPU that it waits for had failed before it ({cause})",
        near=600.0, first=True, holds=_fence,
    ),
    Rule(
        "the network to its server had failed",
        frozenset({Kind.DEVICE_ERROR}), frozenset({Kind.HUNG_TASK, Kind.SUSPEND}),
        "the network had failed before it ({cause})",
        near=600.0, first=True, holds=_network_failed,
    ),
    Rule(
        "the pool stands",
        frozenset({Kind.IO_ERROR}), frozenset({Kind.HUNG_TASK}),
        "ZFS had stopped the pool before it ({cause})",
        near=None, first=True, holds=_pool_stands,
    ),
    Rule(
        "a driver stumbled over its device",
        frozenset({Kind.DEVICE_ERROR, Kind.IO_ERROR}), frozenset({Kind.WARNING}),
        "a device of that driver had failed before it ({cause})",
        near=60.0, first=True, holds=_own_device,
    ),
    Rule(
        "the bus was cut off",
        frozenset({Kind.DEVICE_ERROR}), LOCKUPS,
        "an adapter was cut off the bus before it ({cause})",
        holds=lambda earlier, later: earlier.form == "eeh",
    ),
    Rule(
        "the machine stood still",
        frozenset({Kind.CLOCK}), LOCKUPS,
        "the machine stood still before it ({cause})",
        holds=lambda earlier, later: earlier.form == "clock-jump",
    ),
    Rule(
        "the task waits for I/O that failed",
        frozenset({Kind.IO_ERROR}), frozenset({Kind.HUNG_TASK}),
        "a device had failed before it ({cause})",
        near=600.0, holds=_io_failed,
    ),
    Rule(
        "the CPU still does not let go",
        _LOOPS, _LOOPS,
        "it is the same CPU and task as before ({cause})",
        near=None, first=True, holds=_still,
    ),
    Rule(
        "a CPU does not answer the others",
        _LOOPS, LOCKUPS - {Kind.WORKQUEUE_STALL},
        "a CPU did not let go before it, and may be the one that does not answer ({cause})",
        first=True, holds=_does_not_answer,
    ),
    Rule(
        "a CPU does not let go",
        _LOOPS, frozenset({Kind.HUNG_TASK, Kind.WORKQUEUE_STALL}),
        "a CPU did not let go before it ({cause})",
        holds=_not_idle,
    ),
    Rule(
        "a dead CPU keeps the others waiting",
        frozenset({Kind.HARD_LOCKUP}), LOCKUPS - {Kind.HARD_LOCKUP},
        "a CPU did not let go before it ({cause})",
        holds=_not_idle,
    ),
    Rule(
        "faces of one stall",
        LOCKUPS, STUCK,
        "a CPU did not let go before it ({cause})",
        holds=_one_trouble,
    ),
    # --- one fault after another
    Rule(
        "memory was damaged",
        CORRUPTING, DEADLY,
        "memory was damaged before it ({cause})",
    ),
    Rule(
        "the same task again",
        DEADLY, DEADLY,
        "the kernel was not to be trusted any more after {cause}",
        Same.TASK,
    ),
    Rule(
        "what it stands on failed",
        _FAILS, frozenset({Kind.IO_ERROR, Kind.DEVICE_ERROR}),
        "what it stands on had failed before it ({cause})",
        Same.DEVICE, near=None, first=True, holds=_stands_under,
    ),
    Rule(
        "the device was in trouble already",
        frozenset({Kind.DEVICE_ERROR}), frozenset({Kind.DEVICE_ERROR, Kind.IO_ERROR}),
        "the same device had been in trouble before it ({cause})",
        Same.DEVICE, first=True, holds=lambda earlier, later: earlier.form != later.form,
    ),
    Rule(
        "a failure printed right before it",
        frozenset({Kind.IO_ERROR, Kind.DEVICE_ERROR}),
        frozenset({Kind.IO_ERROR, Kind.DEVICE_ERROR}),
        "it follows at once what failed below it ({cause})",
        near=600.0, first=True, holds=_beside,
    ),
    Rule(
        "a driver goes on about its device",
        frozenset({Kind.DEVICE_ERROR}), frozenset({Kind.DEVICE_ERROR, Kind.IO_ERROR}),
        "the same driver's device had failed before it ({cause})",
        first=True, holds=_same_adapter,
    ),
    Rule(
        "an adapter was given up",
        frozenset({Kind.DEVICE_ERROR}), frozenset({Kind.DEVICE_ERROR}),
        "it had been cut off before ({cause})",
        holds=lambda earlier, later: (earlier.form, later.form) == ("eeh", "eeh-lost"),
    ),
    Rule(
        "a device failed to sleep",
        frozenset({Kind.SUSPEND}), frozenset({Kind.SUSPEND}),
        "a device had refused before it ({cause})",
        near=60.0, first=True, holds=_stands_under,
    ),
    Rule(
        "one device",
        frozenset({Kind.IO_ERROR, Kind.MACHINE_CHECK}),
        frozenset({Kind.IO_ERROR, Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP}),
        "the same device had failed before it ({cause})",
        Same.DEVICE, near=600.0,
    ),
)  # fmt: skip


@dataclass
class History:
    """The events so far, found by what rules ask for."""

    more: tuple[Rule, ...] = ()
    """Rules of others, asked after ours."""
    _events: list[Event] = field(default_factory=list)
    _by_kind: dict[tuple[str, Kind], deque[int]] = field(default_factory=dict)
    _by_task: dict[tuple[str, Kind, int], int] = field(default_factory=dict)
    _by_device: dict[tuple[str, Kind, str], list[int]] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Append an event; events come in their order."""
        number = len(self._events)
        self._events.append(event)
        if event.panic is not None and event.kind is not Kind.USER_REQUESTED:
            return  # after it nothing more happens that it could explain
        kind, boot = event.kind, event.boot
        self._by_kind.setdefault((boot, kind), deque(maxlen=MAX_CANDIDATES)).append(number)
        if event.pid is not None:
            self._by_task[boot, kind, event.pid] = number
        for device in event.devices:
            same = self._by_device.setdefault((boot, kind, device), [])
            if len(same) < MAX_CANDIDATES:
                same.append(number)
            else:
                same[-1] = number  # the first ones and the last

    def cause(self, later: Event) -> tuple[int, Rule] | None:
        """Number of the event that explains ``later``, and the rule that says so."""
        choose = {False: max, True: min}
        for rule in (*_rules_for(later), *(rule for rule in self.more if _is_about(rule, later))):
            fitting = [
                number
                for candidates in self._candidates(rule, later)
                for number in self._fitting(rule, later, candidates)
            ]
            if fitting:
                return choose[rule.first](fitting), rule
        return None

    def _fitting(self, rule: Rule, later: Event, candidates: Iterable[int]) -> Iterator[int]:
        """Of one sort, the newest first: the nearest that fits, or all of them."""
        for number in candidates:
            earlier = self._events[number]
            if _over(earlier, later):
                continue
            near = FADES if rule.near is None and not earlier.lasting else rule.near
            if precedes(earlier, later, near) and rule.holds(earlier, later):
                yield number
                if not rule.first:
                    return

    def _candidates(self, rule: Rule, later: Event) -> Iterator[Iterable[int]]:
        boot = later.boot
        for kind in rule.earlier:
            if rule.same is Same.NOTHING:
                yield reversed(self._by_kind.get((boot, kind), ()))
            elif rule.same is Same.DEVICE:
                for device in later.devices | later.above:
                    yield reversed(self._by_device.get((boot, kind, device), ()))
            else:
                pid = later.pid if rule.same is Same.TASK else later.waits_for
                number = None if pid is None else self._by_task.get((boot, kind, pid))
                yield [] if number is None else [number]


def _rules_for(later: Event) -> tuple[Rule, ...]:
    """What panic() itself says comes first; other events have no panic to ask about."""
    if later.panic is None:
        return _PLAIN.get(later.kind, ())
    said = tuple(rule for rule in _SAID if rule.panic in later.panic)
    return (*said, *_STANDING.get(later.kind, ()))


def _is_about(rule: Rule, later: Event) -> bool:
    """Whether a rule speaks of such an event; one with a panic's words only of that panic."""
    if later.kind not in rule.later or (rule.panic and later.panic is None):
        return False
    return not rule.panic.strip() or rule.panic in (later.panic or "")


_SAID = tuple(rule for rule in RULES if rule.panic.strip())
_STANDING = {
    kind: tuple(rule for rule in RULES if rule.panic == ANY_PANIC and kind in rule.later)
    for kind in Kind
}
_PLAIN = {
    kind: tuple(rule for rule in RULES if not rule.panic and kind in rule.later) for kind in Kind
}


def _over(earlier: Event, later: Event) -> bool:
    """Whether the log says that the earlier one had ended by then."""
    if earlier.ended is None:
        return False
    return later.line is not None and later.line > earlier.ended


def precedes(earlier: Event, later: Event, near: float | None) -> bool:
    """Whether one came before the other, and not too long before."""
    if earlier.line is not None and later.line is not None:
        if earlier.line >= later.line:
            return False
    elif earlier.start is None or later.time is None or earlier.start >= later.time:
        return False
    if near is None:
        return True
    if earlier.time is None or later.start is None:
        lines = earlier.line is None or later.line is None or later.line - earlier.line < NEAR_LINES
        return lines
    told = earlier.time
    if earlier.last is not None and later.time is not None and told <= earlier.last:
        told = min(earlier.last, later.time)  # it went on
    return later.start - told <= near and (
        later.time is None or later.time - earlier.time >= -_SLACK
    )
