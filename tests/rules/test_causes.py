"""What explains what: a hand-written case for each row of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.model.findings import Kind
from postmortem.rules.causes import MAX_CANDIDATES, NEAR, RULES, Event, History


def at(time: float, kind: Kind, **more: object) -> Event:
    """An event that is told at a second, on the line of that number."""
    return Event(kind, line=int(time), time=time, **more)  # type: ignore[arg-type]


def panic(message: str, kind: Kind = Kind.PANIC, **more: object) -> Event:
    return at(30, kind, panic=message, **more)


DISK = frozenset({"sdq"})
LOOPS = Kind.SOFT_LOCKUP

CASES: dict[str, tuple[Event, Event]] = {
    "panic: hung_task:": (
        at(20, Kind.HUNG_TASK),
        panic("hung_task: blocked tasks", Kind.HUNG_TASK),
    ),
    "panic: softlockup:": (at(20, LOOPS), panic("softlockup: hung tasks", LOOPS)),
    "panic: Hard LOCKUP": (at(20, Kind.HARD_LOCKUP), panic("Hard LOCKUP", Kind.HARD_LOCKUP)),
    "panic: hard LOCKUP": (
        at(20, Kind.HARD_LOCKUP),
        panic("Watchdog detected hard LOCKUP on cpu 1", Kind.HARD_LOCKUP),
    ),
    "panic: RCU Stall": (at(20, Kind.RCU_STALL), panic("RCU Stall", Kind.RCU_STALL)),
    "panic: Fatal exception": (at(20, Kind.DIVIDE_ERROR, pid=4), panic("Fatal exception")),
    "panic: Fatal exception after a stack without a head": (
        at(20, Kind.STACK_TRACE, pid=4),
        replace(panic("Oops: Fatal exception"), time=20.5),
    ),
    "panic: Aiee, killing interrupt handler": (
        at(20, Kind.BAD_POINTER, pid=0),
        panic("Aiee, killing interrupt handler!", pid=4),
    ),
    "panic: Attempted to kill the idle task": (
        at(20, Kind.BUG),
        panic("Attempted to kill the idle task!", Kind.INIT_KILLED),
    ),
    "panic: Oopsed too often": (at(20, Kind.BUG), panic("Oopsed too often (kernel.oops_limit)")),
    "panic: panic_on_warn": (at(20, Kind.WARNING), panic("kernel: panic_on_warn set ...")),
    "panic: warned too often": (
        at(20, Kind.WARNING),
        panic("system warned too often (kernel.warn_limit is 9)"),
    ),
    "panic: kasan.fault=panic": (at(20, Kind.KASAN), panic("kasan.fault=panic set ...")),
    "panic: unrecoverable failure": (
        at(20, Kind.SUSPEND),
        panic("acme_hba 0000:41:00.0: unrecoverable failure"),
    ),
    "panic: sysrq triggered crash": (
        at(20, Kind.USER_REQUESTED, panic="sysrq triggered crash"),
        panic("sysrq triggered crash", Kind.USER_REQUESTED),
    ),
    "panic: achine check": (
        at(20, Kind.MACHINE_CHECK),
        panic("Fatal local machine check", Kind.MACHINE_CHECK),
    ),
    "panic: Fatal hardware error": (
        at(20, Kind.MACHINE_CHECK),
        panic("Fatal hardware error!", Kind.MACHINE_CHECK),
    ),
    "panic: Timeout: Not all CPUs": (
        at(20, Kind.MACHINE_CHECK),
        panic("Timeout: Not all CPUs entered broadcast exception handler", Kind.MACHINE_CHECK),
    ),
    "panic: Out of memory": (
        at(20, Kind.OOM),
        panic("Out of memory: system-wide panic_on_oom is enabled", Kind.OOM),
    ),
    "panic: System is deadlocked on memory": (
        at(20, Kind.OOM),
        panic("System is deadlocked on memory", Kind.OOM),
    ),
    "a task died of it, then the kernel": (
        at(20, Kind.BUG, pid=7),
        panic("corrupted stack end detected", Kind.STACK_OVERFLOW, pid=7),
    ),
    "a task died of it, then another called panic()": (
        at(20, Kind.BUG, pid=7),
        panic("frobfs: journal is gone", pid=8),
    ),
    "init was killed for memory": (
        at(20, Kind.OOM),
        panic("Attempted to kill init! exitcode=0x00000009", Kind.INIT_KILLED),
    ),
    "a device failed under a panic": (
        at(20, Kind.IO_ERROR, devices=DISK),
        panic("EXT4-fs (device sdq): panic forced after error", devices=DISK),
    ),
    "asked for after a death": (
        at(20, Kind.NULL_DEREFERENCE),
        replace(
            panic("sysrq triggered crash", Kind.USER_REQUESTED), time=9000.0, line=9000
        ),
    ),
    "asked for because of a hang": (
        at(20, Kind.HUNG_TASK),
        replace(
            panic("sysrq triggered crash", Kind.USER_REQUESTED), time=9000.0, line=9000
        ),
    ),
    "the owner is dead": (
        at(20, Kind.BUG, pid=7),
        at(9000, Kind.HUNG_TASK, began=8880.0, waits_for=7),
    ),
    "a task died with its locks": (at(20, Kind.BUG, pid=7), at(150, Kind.HUNG_TASK, began=30.0)),
    "a task slept with a spinlock held": (at(20, Kind.SCHEDULING_WHILE_ATOMIC), at(45, LOOPS)),
    "the CPU still does not let go": (
        at(40, LOOPS, cpu=3, pid=7, began=14.0),
        at(68, LOOPS, cpu=3, pid=7, began=15.0),
    ),
    "a CPU does not answer the others": (
        at(40, LOOPS, cpu=3, pid=7, began=14.0),
        at(45, LOOPS, cpu=1, pid=9, began=20.0, awaits_cpu=True),
    ),
    "an assertion sleeps with its locks": (
        at(20, Kind.BUG, form="spl-assert"),
        at(9000, Kind.HUNG_TASK, began=8880.0),
    ),
    "the server is silent": (
        at(20, Kind.IO_ERROR, devices=frozenset({"server filer9"})),
        at(9000, Kind.HUNG_TASK, began=8880.0, waits_remote=True),
    ),
    "the driver's device had failed": (
        at(20, Kind.DEVICE_ERROR, layer=2, driver="acmenet"),
        at(30, Kind.SOFT_LOCKUP, driver="acmenet"),
    ),
    "init's file could not be read": (
        at(20, Kind.IO_ERROR, layer=5, form="ext4-error", devices=frozenset({"dm-9"})),
        panic("Attempted to kill init! exitcode=0x00000007", Kind.INIT_KILLED),
    ),
    "the pool stands": (
        at(20, Kind.IO_ERROR, layer=5, form="zfs-suspended", devices=frozenset({"pool tank"})),
        at(9000, Kind.HUNG_TASK, began=8880.0, driver="spl"),
    ),
    "a driver stumbled over its device": (
        at(20, Kind.DEVICE_ERROR, layer=1, driver="acmenet"),
        at(21, Kind.WARNING, driver="acmenet"),
    ),
    "its file system had failed": (
        at(20, Kind.IO_ERROR, layer=5, form="fs-readonly", fs=frozenset({"ext4"}), devices=DISK),
        at(300, Kind.HUNG_TASK, began=180.0, fs=frozenset({"ext4"})),
    ),
    "the GPU does not answer": (
        at(20, Kind.DEVICE_ERROR, layer=2, form="gpu-lost", driver="acmegpu"),
        at(300, Kind.HUNG_TASK, began=180.0, waits_fence=True),
    ),
    "the network to its server had failed": (
        at(20, Kind.DEVICE_ERROR, layer=2, form="bond-none", devices=frozenset({"bond3"})),
        at(300, Kind.HUNG_TASK, began=180.0, fs=frozenset({"nfs"})),
    ),
    "the device was in trouble already": (
        at(20, Kind.DEVICE_ERROR, layer=2, form="tx-hang", devices=frozenset({"0000:06:00.0"})),
        at(23, Kind.DEVICE_ERROR, layer=1, form="pci-gone", devices=frozenset({"0000:06:00.0"})),
    ),
    "a driver goes on about its device": (
        at(20, Kind.DEVICE_ERROR, layer=2, form="gpu-fault", driver="acmegpu",
           devices=frozenset({"0000:0a:00.0"})),
        at(30, Kind.DEVICE_ERROR, layer=2, form="gpu-hang", driver="acmegpu"),
    ),
    "an adapter was given up": (
        at(20, Kind.DEVICE_ERROR, layer=1, form="eeh"),
        at(21, Kind.DEVICE_ERROR, layer=1, form="eeh-lost"),
    ),
    "the bus was cut off": (
        at(20, Kind.DEVICE_ERROR, layer=1, form="eeh"),
        at(30, Kind.HARD_LOCKUP),
    ),
    "the machine stood still": (
        at(20, Kind.CLOCK, layer=0, form="clock-jump"),
        at(21, Kind.RCU_STALL, began=20.5),
    ),
    "what it stands on failed": (
        at(20, Kind.DEVICE_ERROR, layer=1, form="aer", devices=frozenset({"0000:03:00.0"})),
        at(9000, Kind.IO_ERROR, layer=3, form="io-error", devices=DISK,
           above=frozenset({"0000:03:00.0"})),
    ),
    "a failure printed right before it": (
        at(20, Kind.IO_ERROR, layer=2, form="ata-error", devices=frozenset({"ata5"})),
        at(21, Kind.IO_ERROR, layer=3, form="io-error", devices=frozenset({"sdq"})),
    ),
    "a device failed to sleep": (
        at(20, Kind.SUSPEND, layer=2, form="pm-callback"),
        at(21, Kind.SUSPEND, layer=6, form="suspend-failed"),
    ),
    "the disk did not answer": (
        at(20, Kind.IO_ERROR, devices=DISK),
        at(9000, Kind.HUNG_TASK, devices=DISK),
    ),
    "the task waits for I/O that failed": (
        at(20, Kind.IO_ERROR, devices=DISK),
        at(300, Kind.HUNG_TASK, began=180.0, waits_io=True),
    ),
    "a CPU does not let go": (
        at(20, Kind.SOFT_LOCKUP, began=0.0, cpu=1),
        at(121, Kind.HUNG_TASK, began=1.0),
    ),
    "a dead CPU keeps the others waiting": (
        at(20, Kind.HARD_LOCKUP, cpu=0),
        at(30, Kind.SOFT_LOCKUP, cpu=1),
    ),
    "faces of one stall": (
        at(30, Kind.RCU_STALL, began=9.0, cpu=1),
        at(31, Kind.SOFT_LOCKUP, began=9.0, cpu=1),
    ),
    "memory was damaged": (
        at(20, Kind.LIST_CORRUPTION, pid=7),
        at(30, Kind.GENERAL_PROTECTION, pid=8),
    ),
    "the same task again": (at(20, Kind.BUG, pid=7), at(21, Kind.NULL_DEREFERENCE, pid=7)),
    "one device": (
        at(20, Kind.IO_ERROR, devices=DISK),
        at(400, Kind.IO_ERROR, devices=DISK | {"sdq1"}),
    ),
}  # fmt: skip


def rule_between(*events: Event) -> str | None:
    """Name of the rule that links the last event to one before it."""
    history = History()
    for event in events[:-1]:
        history.add(event)
    found = history.cause(events[-1])
    return None if found is None else found[1].name


def test_each_row_has_a_case() -> None:
    assert sorted(CASES) == sorted(rule.name for rule in RULES)


@pytest.mark.parametrize("name", CASES)
def test_row_links(name: str) -> None:
    assert rule_between(*CASES[name]) == name


@pytest.mark.parametrize("name", CASES)
def test_nothing_links_across_a_reboot(name: str) -> None:
    earlier, later = CASES[name]
    assert rule_between(earlier, replace(later, boot="2")) is None


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_caused_by_what_came_later(name: str) -> None:
    earlier, later = CASES[name]
    assert rule_between(replace(earlier, line=99_999, time=99_999.0), later) is None


TIED = {rule.name for rule in RULES if rule.near is None}


@pytest.mark.parametrize("name", sorted(set(CASES) - TIED))
def test_without_a_tie_a_consequence_is_near(name: str) -> None:
    earlier, later = CASES[name]
    far = replace(later, time=20 + 10 * NEAR, began=20 + 10 * NEAR, line=5000)
    assert rule_between(earlier, far) is None


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (at(20, Kind.WARNING), panic("Fatal exception")),
        (at(20, Kind.HUNG_TASK), panic("softlockup: hung tasks", LOOPS)),
        (at(20, Kind.WARNING, pid=7), at(21, Kind.BUG, pid=7)),
        (at(20, Kind.BUG, pid=7), at(21, Kind.NULL_DEREFERENCE, pid=8)),
        (at(20, Kind.IO_ERROR, devices=DISK), at(30, Kind.IO_ERROR, devices=frozenset({"sdr"}))),
        (at(20, Kind.IO_ERROR, devices=DISK), at(145, Kind.HUNG_TASK, began=25.0)),
        (at(20, Kind.SCHEDULING_WHILE_ATOMIC), at(150, Kind.HUNG_TASK, began=30.0)),
        (at(20, Kind.RCU_STALL, idle=True), at(21, LOOPS, cpu=1)),
        (at(20, LOOPS, cpu=1), at(21, Kind.RCU_STALL, idle=True)),
        (at(20, LOOPS, cpu=1), at(21, LOOPS, cpu=2)),
        (at(20, LOOPS, cpu=1, function="a"), at(21, Kind.RCU_STALL, cpu=2, function="b")),
    ],
)
def test_independent(earlier: Event, later: Event) -> None:
    assert rule_between(earlier, later) is None


def test_what_began_first_is_not_the_consequence() -> None:
    stall = at(100, Kind.RCU_STALL, began=79.0)
    assert rule_between(stall, at(101, LOOPS, began=10.0)) is None


def test_a_wait_that_began_before_the_death_is_not_because_of_it() -> None:
    assert rule_between(at(100, Kind.BUG, pid=7), at(150, Kind.HUNG_TASK, began=30.0)) is None


def test_of_many_hung_tasks_the_first_counts_and_of_oopses_the_last() -> None:
    history = History()
    for event in (at(20, Kind.HUNG_TASK, pid=1), at(21, Kind.HUNG_TASK, pid=2), at(22, Kind.BUG),
                  at(23, Kind.BUG)):  # fmt: skip
        history.add(event)
    hung = history.cause(panic("hung_task: blocked tasks", Kind.HUNG_TASK))
    oops = history.cause(panic("Fatal exception"))
    assert (hung and hung[0], oops and oops[0]) == (0, 3)


def test_only_the_last_of_a_kind_are_asked() -> None:
    history = History()
    for number in range(MAX_CANDIDATES + 5):
        history.add(at(20 + number / 100, Kind.BUG))
    assert sum(len(known) for known in history._by_kind.values()) == MAX_CANDIDATES


def test_what_was_but_an_event_fades_what_was_lost_does_not() -> None:
    lone = at(20, Kind.IO_ERROR, layer=2, form="hba-log", devices=DISK, lasting=False)
    dead = replace(lone, form="hba-fault", lasting=True)
    late = at(7000, Kind.IO_ERROR, layer=3, form="io-error", devices=DISK)
    assert rule_between(lone, late) is None
    assert rule_between(dead, late) == "what it stands on failed"
    assert rule_between(replace(lone, last=6800.0), late) == "what it stands on failed"


IN_EXT4, IN_XFS, IN_NFS = (
    at(300, Kind.HUNG_TASK, began=180.0, waits_io=True, fs=frozenset({name}))
    for name in ("ext4", "xfs", "nfs")
)


@pytest.mark.parametrize(
    ("earlier", "later", "tied"),
    [
        # The disk of another file system, a local disk for a task that waits for a server.
        (at(20, Kind.IO_ERROR, layer=3, form="io-error", fs=frozenset({"ext4"})), IN_EXT4, True),
        (at(20, Kind.IO_ERROR, layer=3, form="io-error"), IN_EXT4, True),
        (at(20, Kind.IO_ERROR, layer=3, form="io-error", fs=frozenset({"xfs"})), IN_EXT4, False),
        (at(20, Kind.IO_ERROR, layer=3, form="io-error"), IN_NFS, False),
        # A server of one kind, a task that asks another.
        (at(20, Kind.IO_ERROR, layer=2, form="nfs-silent", fs=frozenset({"nfs"}),
            devices=frozenset({"server filer9"})), IN_NFS, True),
        (at(20, Kind.IO_ERROR, layer=2, form="cifs-silent", fs=frozenset({"cifs"}),
            devices=frozenset({"server smb9"})), IN_NFS, False),
        (at(20, Kind.IO_ERROR, layer=2, form="nfs-silent", fs=frozenset({"nfs"}),
            devices=frozenset({"server filer9"})), IN_XFS, False),
        (at(20, Kind.IO_ERROR, layer=2, form="ceph", fs=frozenset({"ceph"}),
            devices=frozenset({"ceph osd9"})), IN_XFS, True),  # a disk of RBD
        # A disk's name and its address, as far as the log ties them.
        (at(20, Kind.IO_ERROR, layer=3, form="scsi-rejecting", devices=frozenset({"scsi 9:0:0:0"})),
         at(21, Kind.IO_ERROR, layer=5, form="fs-readonly", devices=frozenset({"sdh"})), True),
        (at(20, Kind.IO_ERROR, layer=3, form="scsi-rejecting", devices=frozenset({"scsi 9:0:0:0"})),
         at(21, Kind.IO_ERROR, layer=5, form="fs-readonly", devices=frozenset({"sdh"}),
            above=frozenset({"scsi 7:0:0:0"})), False),
        (at(20, Kind.IO_ERROR, layer=3, form="io-error", devices=DISK),
         at(21, Kind.IO_ERROR, layer=3, form="swap-error"), True),
        (at(20, Kind.IO_ERROR, layer=3, form="io-error", devices=DISK),
         at(21, Kind.IO_ERROR, layer=3, form="swap-error", devices=frozenset({"sdb"})), False),
        # Who waits for a file server stands in its file system.
        (at(20, Kind.IO_ERROR, layer=2, form="nfs-silent", fs=frozenset({"nfs"}),
            devices=frozenset({"server filer9"})), replace(IN_EXT4, fs=frozenset()), False),
        # A PCI function and the name that its driver gives the disk.
        (at(20, Kind.DEVICE_ERROR, layer=1, form="aer", drivers=frozenset({"nvme"}),
            devices=frozenset({"0000:03:00.0"})),
         at(50, Kind.IO_ERROR, layer=2, form="nvme-down", driver="nvme",
            devices=frozenset({"nvme1"})), True),
        (at(20, Kind.DEVICE_ERROR, layer=1, form="aer", drivers=frozenset({"nvme"}),
            devices=frozenset({"0000:03:00.0"})),
         at(50, Kind.IO_ERROR, layer=2, form="nvme-down", driver="nvme",
            devices=frozenset({"nvme1"}), above=frozenset({"0000:05:00.0"})), False),
        (at(20, Kind.DEVICE_ERROR, layer=1, form="aer", drivers=frozenset({"ice"}),
            devices=frozenset({"0000:03:00.0"})),
         at(50, Kind.IO_ERROR, layer=2, form="nvme-down", driver="nvme",
            devices=frozenset({"nvme1"})), False),
        # Whose GPU the fence is of.
        (at(20, Kind.DEVICE_ERROR, layer=2, form="gpu-hang", driver="amdgpu"),
         at(300, Kind.HUNG_TASK, began=180.0, waits_fence=True, code=frozenset({"xe"})), False),
        (at(20, Kind.DEVICE_ERROR, layer=2, form="gpu-hang", driver="amdgpu", ended=22),
         at(300, Kind.HUNG_TASK, began=180.0, waits_fence=True), False),
        # The driver's other modules.
        (at(20, Kind.DEVICE_ERROR, layer=2, form="firmware-crash", driver="mt7925e"),
         at(300, Kind.HUNG_TASK, began=180.0, code=frozenset({"mt76", "mac80211"})), True),
        (at(20, Kind.DEVICE_ERROR, layer=2, form="firmware-crash", driver="mt7925e"),
         at(300, Kind.HUNG_TASK, began=180.0, code=frozenset({"iwlwifi", "mac80211"})), False),
        # Hosts that have numbers.
        (at(20, Kind.IO_ERROR, layer=1, form="fc-link", devices=frozenset({"0000:05:00.0"})),
         at(50, Kind.IO_ERROR, layer=1, form="fc-lost", devices=frozenset({"host7"})), True),
        (at(20, Kind.IO_ERROR, layer=1, form="fc-link", devices=frozenset({"host6"})),
         at(50, Kind.IO_ERROR, layer=1, form="fc-lost", devices=frozenset({"host7"})), False),
        (at(20, Kind.IO_ERROR, layer=2, form="mmc-error", devices=frozenset({"mmc0"})),
         at(21, Kind.IO_ERROR, layer=3, form="io-error", devices=frozenset({"mmcblk1"}),
            above=frozenset({"mmc1"})), False),
    ],
)  # fmt: skip
def test_who_waits_for_what(earlier: Event, later: Event, tied: bool) -> None:
    assert (rule_between(earlier, later) is not None) is tied


@pytest.mark.parametrize(
    ("form", "road", "explains"),
    [
        ("iscsi-lost", "via iSCSI Initiator over TCP/IP", True),
        ("iscsi-lost", "via ahci", False),
        ("iscsi-lost", "", True),  # the log does not say
        ("ata-error", "via ahci", True),
        ("ata-error", "via iSCSI Initiator over TCP/IP", False),
        ("ata-error", "usb 3-1", False),
    ],
)
def test_a_lost_road_concerns_only_the_disks_on_it(form: str, road: str, explains: bool) -> None:
    history = History()
    history.add(at(20, Kind.IO_ERROR, layer=1, form=form, devices=frozenset({"iscsi session 4"})))
    disk = at(21, Kind.IO_ERROR, layer=3, form="io-error", devices=DISK,
              above=frozenset({"host3", road} - {""}))  # fmt: skip
    assert (history.cause(disk) is not None) is explains
