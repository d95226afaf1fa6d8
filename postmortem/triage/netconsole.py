"""``postmortem triage listen``: the messages that machines send by netconsole, until one has died.

Each host's messages go to a file of its own. When a host has said nothing for a while after a
report of its kernel, or starts anew, the file is put among the others that are to be triaged; what
holds no report is forgotten but for its end, which tells what came before. Anybody can send a
packet with any sender: hosts, bytes and files are bounded.

A packet is a line as ``dmesg`` prints it, or netconsole's extended form
(``level,sequence,microseconds,flags;message``, drivers/net/netconsole.c), whose pieces
(``ncfrag=offset/length``) are put together again. The log engine reads both.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from postmortem.errors import UsageError

PORT = 6666
"""netconsole's own choice of a target port."""
QUIET_SECONDS = 60.0
MAX_HOSTS = 10_000
MAX_BYTES = 4 << 20
"""Of a host's messages that are kept while it runs."""
MAX_PACKET = 1 << 16
MAX_PIECES = 64
"""Of messages that are not whole yet, for each host."""
_EXTENDED = re.compile(rb"(?:[\w.+~-]{1,65},)?(\d{1,3}),(\d{1,20}),(\d{1,20}),([^;]{0,200});")
_PIECE = re.compile(rb",ncfrag=(\d{1,6})/(\d{1,6})")
_BOOT = re.compile(rb"\bLinux version \d")
_TELLS = re.compile(
    rb"BUG:|Oops|Kernel panic|WARNING:|INFO: (?:task|rcu)|soft lockup|hard LOCKUP|KASAN|KFENCE"
    rb"|Unable to handle|general protection|Internal error|Out of memory|Machine check"
    rb"|\[Hardware Error\]|stall|cut here"
)
"""What a report may begin with; whether it is one is the log engine's to say."""


@dataclass
class _Host:
    """What one sender has said."""

    data: bytearray = field(default_factory=bytearray)
    heard: float = 0.0
    tells: bool = False
    """Something in it looks like a report."""
    pieces: dict[bytes, dict[int, bytes]] = field(default_factory=dict)
    lost: int = 0
    sequence: int | None = None


class Listener:
    """Takes packets and gives whole logs.

    :param keep: Called with a host and its log, when it is to be looked at.
    """

    def __init__(self, keep: Callable[[str, bytes], None], quiet: float = QUIET_SECONDS) -> None:
        self._keep = keep
        self._quiet = quiet
        self._hosts: dict[str, _Host] = {}
        self.packets = 0
        self.refused = 0
        """Packets of hosts that were too many."""

    @property
    def lost(self) -> int:
        """Messages that were sent and did not come, by their numbers."""
        return sum(host.lost for host in self._hosts.values())

    def packet(self, sender: str, data: bytes, now: float) -> None:
        """One packet."""
        self.packets += 1
        host = self._hosts.get(sender)
        if host is None:
            if len(self._hosts) >= MAX_HOSTS:
                self._forget(now)
            if len(self._hosts) >= MAX_HOSTS:
                self.refused += 1
                return
            host = self._hosts[sender] = _Host()
        host.heard = now
        line = self._whole(host, data)
        if line is not None:
            self._line(sender, host, line)

    def _line(self, sender: str, host: _Host, line: bytes) -> None:
        if _BOOT.search(line) and host.data:
            self._finish(sender, host)
            host.data.clear()
        host.tells = host.tells or _TELLS.search(line) is not None
        host.data += line.rstrip(b"\n") + b"\n"
        if len(host.data) > MAX_BYTES:
            if host.tells:
                self._finish(sender, host)
            cut = host.data.find(b"\n", len(host.data) - MAX_BYTES // 2)
            del host.data[: cut + 1 or MAX_BYTES // 2]

    def _whole(self, host: _Host, data: bytes) -> bytes | None:
        """The message, or ``None`` while pieces of it are missing."""
        head = _EXTENDED.match(data)
        if head is None:
            return data
        piece = _PIECE.search(head[4]) or _PIECE.search(b"," + head[4])
        if piece is None:
            self._number(host, int(head[2]))
            return data
        offset, length = int(piece[1]), int(piece[2])
        pieces = host.pieces.setdefault(head[2], {})
        pieces[offset] = data[head.end() :]
        if len(host.pieces) > MAX_PIECES:
            host.pieces.pop(next(iter(host.pieces)))
        text, place = b"", 0
        while pieces.get(place):
            text += pieces[place]
            place += len(pieces[place])
        if place < length:
            return None
        host.pieces.pop(head[2], None)
        self._number(host, int(head[2]))
        return data[: head.end()].replace(piece[0], b"") + text[:length]

    def _number(self, host: _Host, sequence: int) -> None:
        if host.sequence is not None and 0 < sequence - host.sequence < 1 << 20:
            host.lost += sequence - host.sequence - 1
        host.sequence = sequence

    def tick(self, now: float) -> None:
        """Look for hosts that have said nothing for a while."""
        for sender, host in self._hosts.items():
            if host.tells and now - host.heard >= self._quiet:
                self._finish(sender, host)

    def _forget(self, now: float) -> None:
        """Make room: hosts that have been quiet for long, and have nothing to tell."""
        old = [
            name
            for name, host in self._hosts.items()
            if not host.tells and now - host.heard >= self._quiet
        ]
        for name in old:
            del self._hosts[name]

    def _finish(self, sender: str, host: _Host) -> None:
        if host.tells:
            self._keep(sender, bytes(host.data))
        host.tells = False

    def close(self) -> None:
        """Give what there is."""
        for sender, host in self._hosts.items():
            self._finish(sender, host)


@dataclass
class Keeper:
    """Puts logs into a folder, as ``HOST/TIME.log``: those in which a kernel reports something."""

    folder: Path
    kept: int = 0
    names: dict[str, str] = field(default_factory=dict)
    """Hosts by their address."""

    def __call__(self, sender: str, data: bytes) -> None:
        from postmortem.log.scan import scan_bytes

        if not scan_bytes(data).reports:
            return
        host = self.folder / folder_name(self.names.get(sender, sender))
        host.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        for number in range(1000):
            name = f"{stamp}.log" if not number else f"{stamp}-{number}.log"
            with contextlib.suppress(FileExistsError):
                _write_new(host / name, data)
                self.kept += 1
                return


def _write_new(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(data)
    try:
        os.link(beside, path)  # as rename, but never over a file that is there
    finally:
        beside.unlink()


def folder_name(host: str) -> str:
    """A host's folder: its address or name with nothing that leads elsewhere."""
    return re.sub(r"[^0-9A-Za-z._-]", "-", host).lstrip(".-")[:100] or "unknown"


def address(text: str) -> tuple[str, int]:
    """``ADDRESS:PORT``, ``[V6]:PORT``, ``:PORT`` or ``PORT``.

    :raises UsageError: it is none of them.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        number = int(port)
        if host:
            ipaddress.ip_address(host)
        if not 0 <= number < 1 << 16:
            raise ValueError
    except ValueError:
        raise UsageError(f"{text!r} is no address to listen at (0.0.0.0:{PORT})") from None
    return host or "0.0.0.0", number


@contextlib.contextmanager
def bound(where: tuple[str, int]) -> Iterator[socket.socket]:
    """A UDP socket that listens.

    :raises UsageError: nobody can listen there.
    """
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as found:
        found.setblocking(False)
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        try:
            found.bind(where)
        except OSError as error:
            raise UsageError(f"can't listen at {where[0]}:{where[1]}: {error.strerror}") from error
        yield found


def listen(
    source: socket.socket,
    listener: Listener,
    stop: Callable[[], bool],
    tick_seconds: float = 1.0,
) -> None:
    """Take packets until ``stop`` says so."""
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        ticked = time.monotonic()
        while not stop():
            if selector.select(tick_seconds):
                _drain(source, listener)
            if time.monotonic() - ticked >= tick_seconds:
                ticked = time.monotonic()
                listener.tick(ticked)
        _drain(source, listener)  # what came before the end is kept
    listener.close()


def _drain(source: socket.socket, listener: Listener) -> None:
    """What is there; not more than a while's worth, or nobody would look at the clock."""
    for _ in range(10_000):
        try:
            data, sender = source.recvfrom(MAX_PACKET)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            continue
        listener.packet(str(sender[0]).partition("%")[0], data, time.monotonic())
