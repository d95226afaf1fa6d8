"""Which task that hangs waits behind which other, by what both stacks say.

khungtaskd reports who waits for a lock and who holds it alike, in the order of their pids.
A stack does not say which lock it is, but some functions are known to take one that there is
only once (RTNL), or that belongs to a place (a directory). Who waits there, while another task
hangs for a reason of its own under the same lock or in the same code, most likely waits
for that one: likely, never certain.
"""

from __future__ import annotations

from collections.abc import Sequence

from postmortem.model.findings import Kind
from postmortem.rules.causes import Event
from postmortem.rules.owners import words

NEAR = 600.0
"""Seconds between two reports of one jam."""
_SLACK = 10.0
"""Seconds by which the one that waits may seem to have begun first: khungtaskd looks rarely."""
_TOP = 2
"""Functions right above the waiting ones, one of which takes the lock."""

_RTNL_TAKEN = words(
    """
    rtnl_lock rtnl_lock_killable rtnl_trylock rtnetlink_rcv_msg rtnetlink_rcv linkwatch_event
    nl80211_pre_doit dev_ioctl devinet_ioctl addrconf_verify_work addrconf_dad_work
    addrconf_ioctl register_netdev unregister_netdev netdev_run_todo tun_chr_close tun_detach
    default_device_exit_batch netlink_dump inet_rtm_newaddr ipv6_sock_mc_join
    ipv6_sock_mc_close ip_mc_drop_socket packet_release reg_todo wiphy_register
    ethnl_default_doit ethtool_ioctl sock_do_ioctl cfg80211_rfkill_sync_work
    """
)
"""Callers of rtnl_lock(), which is often left out of a stack: it only jumps to mutex_lock()."""
_RTNL_HELD = words(
    """
    rtnl_newlink rtnl_setlink rtnl_dellink do_setlink rtnl_dump_ifinfo dev_close
    dev_close_many __dev_close_many dev_open __dev_open dev_change_flags __dev_change_flags
    dev_ifsioc dev_set_mtu unregister_netdevice_many unregister_netdevice_many_notify
    register_netdevice unregister_netdevice_queue cleanup_net ieee80211_stop ieee80211_do_stop
    ieee80211_open ieee80211_do_open ieee80211_reconfig linkwatch_do_dev inet_rtm_deladdr
    dev_deactivate_many netdev_set_features_generic __netdev_update_features
    ethtool_set_ringparam
    """
)
"""Functions that run with RTNL held."""
_DIR_TAKEN = words(
    """
    walk_component lookup_slow __lookup_slow open_last_lookups do_last path_openat iterate_dir
    filename_create do_unlinkat do_rmdir do_renameat2 lock_rename lookup_one_len_unlocked
    do_mkdirat done_path_create
    """
)
"""They take the lock of a directory's inode, whatever file system it is of."""
_DIR_HELD = words(
    """
    lookup_open atomic_open lookup_slow __lookup_slow iterate_dir vfs_unlink vfs_rmdir
    vfs_mkdir vfs_rename vfs_create vfs_link vfs_symlink vfs_mknod open_last_lookups
    """
)
_WHY = {
    "rtnl": "it waits for a lock of the network (RTNL), under which another task hangs ({cause})",
    "dir": "it waits for the lock of a directory, as somebody who hangs below one holds it"
    " ({cause})",
    "fs": "it waits for a lock in the same file system in which another task hangs ({cause})",
    "code": "it waits for a lock in the same code in which another task hangs ({cause})",
}


def behind(events: Sequence[Event], caused: Sequence[bool]) -> dict[int, tuple[int, str]]:
    """By number of a task that waits for a lock: behind which other one, and how that is said.

    :param caused: whether the cause of each is known already.
    """
    hung = [
        number
        for number, event in enumerate(events)
        if event.kind is Kind.HUNG_TASK and event.panic is None and event.stack
    ]
    holders: dict[tuple[str, str, str], list[int]] = {}
    for number in hung:
        if caused[number] or not events[number].waits_lock:
            for place in _holds(events[number], caused[number]):
                holders.setdefault((events[number].boot, *place), []).append(number)
    found: dict[int, tuple[int, str]] = {}
    for number in hung:
        later = events[number]
        if caused[number] or not later.waits_lock or later.waits_for is not None:
            continue
        for place in _wants(later):
            near = [
                other
                for other in holders.get((later.boot, *place), ())[:_MANY]
                if _jammed(events[other], later)
            ]
            if near and not (place[0] == "dir" and _of_several(events, near)):
                found[number] = (near[0], _WHY[place[0]])
                break
    return found


_MANY = 64


def _jammed(holder: Event, waiter: Event) -> bool:
    """Whether both hang at one time, the holder no later."""
    if holder.start is None or waiter.start is None:
        return True
    return -_SLACK <= waiter.start - holder.start <= NEAR


def _of_several(events: Sequence[Event], numbers: Sequence[int]) -> bool:
    """Tasks hang in several file systems: whose directory it is can't be told."""
    return len({events[number].fs for number in numbers}) > 1


def _wants(event: Event) -> list[tuple[str, str]]:
    """Where it waits, the most telling first."""
    top = frozenset(event.stack[:_TOP])
    found: list[tuple[str, str]] = []
    if top & _RTNL_TAKEN and not top & _RTNL_HELD:
        found.append(("rtnl", ""))
    found += [("fs", name) for name in sorted(event.fs)]
    if not event.fs and top & _DIR_TAKEN:
        found.append(("dir", ""))
    found += [("code", name) for name in sorted(event.modules)]
    return found


def _holds(event: Event, known: bool) -> list[tuple[str, str]]:
    """Where others wait for it.

    :param known: why it hangs: then all of its driver hangs behind it.
    """
    names = frozenset(event.stack)
    found = [("fs", name) for name in sorted(event.fs)]
    if known:
        found += [("code", name) for name in sorted(event.modules)]
    if names & _RTNL_HELD:
        found.append(("rtnl", ""))
    if names & _DIR_HELD and event.fs:
        found.append(("dir", ""))
    return found
