"""``net``: devices, and the sockets of a task (``-s -S -n -N -R``)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.dump.damage import damage
from postmortem.dump.lists import list_entries
from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash, structured
from postmortem.shell.command import PASSED_ON, command
from postmortem.shell.tasks import header, task_of

if TYPE_CHECKING:
    from postmortem.shell.session import Session

FAMILIES = {0: "UNSPEC", 1: "UNIX", 2: "INET", 10: "INET6", 16: "NETLINK", 17: "PACKET",
            40: "VSOCK", 44: "XDP"}  # fmt: skip
"""``AF_*`` of include/linux/socket.h."""
TYPES = {1: "STREAM", 2: "DGRAM", 3: "RAW", 4: "RDM", 5: "SEQPACKET", 6: "DCCP", 10: "PACKET"}
"""``enum sock_type`` of include/linux/net.h."""
_S_IFMT, _S_IFSOCK = 0o170000, 0o140000
_COLUMNS = "FD      SOCKET            SOCK       FAMILY:TYPE SOURCE-PORT DESTINATION-PORT"


@command("net", "machine", settings=PASSED_ON)
@click.option("-s", "sockets", is_flag=True, help="Open sockets of the context or of tasks.")
@click.option("-S", "whole", is_flag=True, help="-s with both structs of each.")
@click.option("-n", "namespace", is_flag=True, help="Devices that the context, or a task, sees.")
@click.option("-N", "number", metavar="NUMBER", help="An IPv4 address as memory holds it, in dots.")
@click.option("-R", "reference", metavar="REF", help="-s: only this descriptor, socket or sock.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def net(
    session: Session,
    sockets: bool,
    whole: bool,
    namespace: bool,
    number: str | None,
    reference: str | None,
    as_json: bool,
    rest: tuple[str, ...],
) -> Any:
    """List network devices with their addresses; -a the neighbours (ARP)."""
    if number is not None:
        session.out.write(f"{_dots(number)}\n")
        return None
    if sockets or whole:
        for word in rest or ("",):
            _of_task(session, task_of(session, word), whole=whole, reference=reference)
        return None
    if namespace:
        for word in rest or ("",):
            _devices(session, task_of(session, word))
        return None
    if as_json:
        return structured.run(session.prog, "net", " ".join(rest), session.out)
    return crash.run(session.prog, "net", " ".join(rest), session.out)


def _dots(text: str) -> str:
    """Four bytes as they lie in memory, first byte first."""
    try:
        value = int(text, 0)
    except ValueError:
        raise UsageError(f"net -N: {text} is no number") from None
    if value >> 32:
        raise UsageError(f"net -N: {text} has more than 32 bits")
    return str(ipaddress.IPv4Address(value.to_bytes(4, "little")))


def _of_task(session: Session, task: drgn.Object, *, whole: bool, reference: str | None) -> None:
    lines = []
    for fd, socket in sockets_of(task):
        sock = socket.sk
        addresses = (f"{fd}", f"{int(socket.value_()):x}", f"{int(sock.value_()):x}")
        if reference is not None and reference.removeprefix("0x").lower() not in addresses:
            continue
        lines.append((fd, socket, sock))
    session.out.write(header(task) + "\n")
    if not lines:
        session.out.write("No open sockets.\n")
        return
    for number, (fd, socket, sock) in enumerate(lines):
        if whole or not number:
            session.out.write(_COLUMNS + "\n")
        session.out.write(clean(_row(fd, socket, sock)) + "\n")
        for name, value in (("socket", socket), ("sock", sock)) if whole else ():
            crash.run(session.prog, "struct", f"{name} {int(value.value_()):x}", session.out)


def sockets_of(task: drgn.Object) -> Iterator[tuple[int, drgn.Object]]:
    """Descriptors of a task with their ``struct socket *``."""
    from drgn import container_of
    from drgn.helpers.linux.fs import for_each_file

    if not task.files:
        return
    for fd, file in for_each_file(task):
        try:
            inode = file.f_inode
            if int(inode.i_mode) & _S_IFMT != _S_IFSOCK:
                continue
            yield fd, container_of(inode, "struct socket_alloc", "vfs_inode").socket.address_of_()
        except damage():
            continue


def _row(fd: int, socket: drgn.Object, sock: drgn.Object) -> str:
    head = f"{fd:2}  {int(socket.value_()):x}  {int(sock.value_()):x}"
    if not sock:
        return f"{head}  (no sock)"
    try:
        family = int(sock.member_("__sk_common").skc_family)
        kind = f"{FAMILIES.get(family, family)}:{TYPES.get(int(sock.sk_type), sock.sk_type)}"
        ends = _ends(sock, family)
    except damage():
        return f"{head}  (its sock is not in the dump)"
    return f"{head} {kind:>14} {ends}".rstrip()


def _ends(sock: drgn.Object, family: int) -> str:
    """Both addresses and ports of an internet socket; nothing for others."""
    common = sock.member_("__sk_common")
    source, target = int(common.skc_num), _swapped(int(common.skc_dport))
    if family == 2:
        near = ipaddress.IPv4Address(int(common.skc_rcv_saddr).to_bytes(4, "little"))
        far = ipaddress.IPv4Address(int(common.skc_daddr).to_bytes(4, "little"))
        return f"{near}-{source} {far}-{target}"
    if family == 10:
        ends = [ipaddress.IPv6Address(common.member_(name).to_bytes_())
                for name in ("skc_v6_rcv_saddr", "skc_v6_daddr")]  # fmt: skip
        return f"{ends[0]}-{source} {ends[1]}-{target}"
    return ""


def _swapped(port: int) -> int:
    """Ports lie in memory with the high byte first."""
    return int.from_bytes(port.to_bytes(2, "little"), "big")


def _devices(session: Session, task: drgn.Object) -> None:
    from drgn.helpers.linux.net import netdev_name

    session.out.write(header(task) + "\n")
    if not task.nsproxy:
        session.out.write("(no namespaces: the task has exited)\n")
        return
    session.out.write("   NET_DEVICE     NAME\n")
    for device in list_entries(task.nsproxy.net_ns.dev_base_head, "struct net_device", "dev_list"):
        name = netdev_name(device).decode(errors="replace")
        session.out.write(clean(f"{int(device.value_()):x}  {name}") + "\n")
