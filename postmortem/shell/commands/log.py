"""``log``: the kernel's messages, as crash prints them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click
import drgn

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell.command import command
from postmortem.shell.structured import write_document

if TYPE_CHECKING:
    from postmortem.model.report import Record
    from postmortem.shell.session import Session

_MAX_RECORDS = 1 << 20


@command("log", "machine")
@click.option("-t", "bare", is_flag=True, help="Without time stamps.")
@click.option("-T", "wall", is_flag=True, help="With the wall clock's time, of this time zone.")
@click.option("-m", "levels", is_flag=True, help="With the level of each message: <6>.")
@click.option("-c", "callers", is_flag=True, help="With the task or CPU that printed it.")
@click.option("-d", "devices", is_flag=True, help="With the device that a message is about.")
@click.option("-a", "audit", is_flag=True, help="Audit records that auditd has not taken yet.")
@click.option("-s", "safe", is_flag=True, help="Buffers of printk_safe (before Linux 5.15).")
@click.option("-R", "rust", is_flag=True, help="Symbols of Rust as they are written.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
def log(
    session: Session,
    bare: bool,
    wall: bool,
    levels: bool,
    callers: bool,
    devices: bool,
    audit: bool,
    safe: bool,
    rust: bool,
    as_json: bool,
) -> None:
    """Print the messages in the kernel's ring buffer."""
    if audit:
        _audit(session)
        return
    if safe:
        _safe(session)
        return
    records = session.case.log
    if not records:
        raise UsageError("log: no message of the kernel could be read")
    boot = None
    if wall:
        system = session.case.system
        if system.crash_time is None or system.uptime_seconds is None:
            raise UsageError("log -T: when the machine booted is not in this file")
        boot = system.crash_time - system.uptime_seconds
    if as_json:
        rows = [{"time": each.time, "level": each.level, "caller": each.caller,
                 "text": clean(each.text)} for each in records]  # fmt: skip
        write_document(session.out, "log", rows)
        return
    said = _devices(session.prog) if devices else {}
    for number, record in enumerate(records):
        parts = [
            f"<{record.level}>" if levels and record.level is not None else "",
            "" if bare else _stamp(record, boot),
            f"[{record.caller}] " if callers and record.caller else "",
            demangled(record.text) if rust else record.text,
        ]
        session.out.write(clean("".join(parts)) + "\n")
        for line in said.get(number, ()):
            session.out.write(clean(f" {line}") + "\n")


def _stamp(record: Record, boot: float | None) -> str:
    if record.time is None:
        return ""
    if boot is None:
        return f"[{record.time:12.6f}] "
    return f"[{time.ctime(boot + record.time)}] "


def _devices(prog: drgn.Program) -> dict[int, list[str]]:
    """``SUBSYSTEM=`` and ``DEVICE=`` of the records that have them, by the record's number."""
    from drgn.helpers.linux.printk import get_printk_records

    said: dict[int, list[str]] = {}
    for number, record in enumerate(get_printk_records(prog)):
        if number >= _MAX_RECORDS:
            break
        found = [f"{key.decode(errors='replace')}={value.decode(errors='replace')}"
                 for key, value in record.context.items()]  # fmt: skip
        if found:
            said[number] = found
    return said


def _audit(session: Session) -> None:
    """The text of every buffer on the kernel's audit queues (kernel/audit.c)."""
    prog, found = session.prog, 0
    for name in ("audit_queue", "audit_retry_queue", "audit_hold_queue"):
        try:
            queue = prog[name]
        except KeyError:
            raise UsageError("log -a: this kernel has no audit queue (CONFIG_AUDIT)") from None
        end, skb = queue.address_of_().value_(), queue.next
        for _ in range(_MAX_RECORDS):
            if not skb or skb.value_() == end:
                break
            data = prog.read(int(skb.data), min(int(skb.len), 16384))
            # struct nlmsghdr, 16 bytes, stands before the text (include/uapi/linux/netlink.h).
            kind, text = int.from_bytes(data[4:6], "little"), data[16:].rstrip(b"\0\n")
            session.out.write(clean(f"type={kind} {text.decode(errors='replace')}") + "\n")
            found += 1
            skb = skb.next
    if not found:
        session.out.write("no audit record waits for auditd\n")


def _safe(session: Session) -> None:
    """``struct printk_safe_seq_buf`` of each CPU: ``len`` and ``buffer``.

    Linux kernel commit 93d102f094be ("printk: remove safe buffers") (in v5.15) took them out.
    """
    from drgn.helpers.linux.percpu import per_cpu

    from postmortem.kernel.system import present_cpus

    names = [name for name in ("safe_print_seq", "nmi_print_seq") if _known(session.prog, name)]
    if not names:
        raise UsageError("log -s: this kernel has no safe buffers: 5.15 took them out")
    for name in names:
        for cpu in present_cpus(session.prog):
            buffer = per_cpu(session.prog[name], cpu)
            size = min(int(buffer.len.counter), buffer.buffer.type_.length or 0)
            session.out.write(f"PRINTK_SAFE_SEQ_BUF: {name}  CPU: {cpu}  LEN: {size}\n")
            text = session.prog.read(buffer.buffer.address_, size) if size else b""
            for line in text.decode(errors="replace").splitlines():
                session.out.write(clean(line) + "\n")


def _known(prog: drgn.Program, name: str) -> bool:
    try:
        prog[name]
    except KeyError:
        return False
    return True


_LEGACY = re.compile(r"_ZN((?:\d+[\w.$]+?)+)17h[0-9a-f]{16}E")
_V0 = re.compile(r"\b_R[A-Za-z]\w+")
_ESCAPES = {"$LT$": "<", "$GT$": ">", "$RF$": "&", "$BP$": "*", "$C$": ",", "$SP$": "@",
            "$u20$": " ", "$u27$": "'", "$u5b$": "[", "$u5d$": "]", "$u7b$": "{", "$u7d$": "}",
            "$u7e$": "~", "..": "::"}  # fmt: skip


def demangled(text: str) -> str:
    """Names of Rust in a text as they are written in the source.

    The kernel's compiler mangles by RFC 2603 ("v0"): of that the path is shown, which is
    what names a function; generic arguments are left out.
    """
    text = _LEGACY.sub(lambda match: _legacy(match[1]), text)
    return _V0.sub(lambda match: "::".join(_path(match[0])) or match[0], text)


def _legacy(path: str) -> str:
    parts = _numbered(path)
    for escape, char in _ESCAPES.items():
        parts = [part.replace(escape, char) for part in parts]
    return "::".join(part.removeprefix("_") if "<" in part else part for part in parts)


def _numbered(text: str) -> list[str]:
    """``3foo3bar``: words behind their lengths."""
    parts: list[str] = []
    while match := re.match(r"\d{1,4}", text):
        end = match.end() + int(match[0])
        parts.append(text[match.end() : end])
        text = text[end:]
    return parts


def _path(symbol: str) -> list[str]:
    """The words of a v0 path in order: ``[s<base 62>_] <length> [_] <bytes>``."""
    found: list[str] = []
    at = 2
    while at < len(symbol):
        match = re.match(r"(?:s[0-9a-zA-Z]*_)?(\d+)_?", symbol[at:])
        if match is None:
            at += 1
            continue
        start = at + match.end()
        size = int(match[1][:5])
        word = symbol[start : start + size]
        if len(word) == size and size:
            found.append(word)
        at = start + size
    return found


@command("rustfilt", "values")
@click.argument("symbol")
def rustfilt(session: Session, symbol: str) -> None:
    """Show a mangled symbol of Rust as the source names it."""
    session.out.write(clean(demangled(symbol)) + "\n")
