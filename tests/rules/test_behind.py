"""Who waits behind whom, by both stacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.model.findings import Kind
from postmortem.rules.behind import behind
from postmortem.rules.causes import Event


def hung(time: float, *stack: str, lock: bool = False, **more: object) -> Event:
    """A task that is told to hang; the first function is the one that waits."""
    return Event(Kind.HUNG_TASK, line=int(time), time=time, began=time - 120, stack=stack,
                 waits_lock=lock, **more)  # type: ignore[arg-type]  # fmt: skip


CIFS, EXT4 = frozenset({"cifs"}), frozenset({"ext4"})
SERVER = hung(200, "compound_send_recv", "SMB2_open", "cifs_atomic_open", "lookup_open", fs=CIFS)
LISTS = hung(201, "walk_component", "path_lookupat", lock=True)
RADIO = hung(200, "acme_remove_interface", "ieee80211_do_stop", "__dev_close_many",
             "rtnetlink_rcv_msg", lock=True, modules=frozenset({"acme", "mac80211"}))  # fmt: skip
SETS = hung(201, "nl80211_pre_doit", "genl_rcv_msg", lock=True, modules=frozenset({"cfg80211"}))
WRITES = hung(200, "submit_bio_wait", "ext4_writepages", waits_io=True, fs=EXT4)
APPENDS = hung(201, "ext4_buffered_write_iter", lock=True, fs=EXT4)


@pytest.mark.parametrize(
    ("holder", "waiter", "known"),
    [
        (SERVER, LISTS, False),
        (RADIO, SETS, True),
        (WRITES, APPENDS, False),
        (RADIO, hung(201, "acme_scan", lock=True, modules=frozenset({"acme"})), True),
    ],
)
def test_it_waits_behind(holder: Event, waiter: Event, known: bool) -> None:
    assert [n for n, _why in behind([holder, waiter], [known, False]).values()] == [0]
    # khungtaskd goes by pid: who waits may be told first.
    first = replace(waiter, line=199, time=200.0, began=80.0)
    assert [n for n, _why in behind([first, holder], [False, known]).values()] == [1]


@pytest.mark.parametrize(
    ("holder", "waiter", "known"),
    [
        (WRITES, LISTS, False),  # it holds no directory
        (SERVER, APPENDS, False),  # another file system
        (RADIO, SETS, False),  # it waits for a lock itself, nobody knows why
        (SERVER, replace(LISTS, waits_lock=False), False),
        (SERVER, replace(LISTS, waits_for=77), False),  # the kernel names the owner
        (SERVER, replace(LISTS, began=5000.0, time=5120.0), False),
        (SERVER, replace(LISTS, boot="2"), False),
        (hung(200, "acme_wait", modules=frozenset({"acme"})),
         hung(201, "acme_scan", lock=True, modules=frozenset({"acme"})), False),
        (replace(SERVER, kind=Kind.RCU_STALL), LISTS, False),
    ],
)  # fmt: skip
def test_it_does_not(holder: Event, waiter: Event, known: bool) -> None:
    assert behind([holder, waiter], [known, False]) == {}


def test_whose_directory_it_is_of_two_file_systems_is_not_known() -> None:
    other = hung(200, "wait_on_buffer", "ext4_find_entry", "lookup_slow", fs=EXT4)
    assert behind([SERVER, other, LISTS], [False] * 3) == {}


def test_what_is_caused_already_stays_so() -> None:
    assert behind([SERVER, LISTS], [False, True]) == {}
