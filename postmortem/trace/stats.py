"""What the buffers counted, as ``per_cpu/cpuN/stats`` shows it."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.dump.damage import damage, readable
from postmortem.trace.buffers import TraceArray


def stats_lines(array: TraceArray) -> Iterator[str]:
    """The lines of each CPU of an instance, under a heading; without the time of reading."""
    name = array.name or "main buffer"
    state = "recording" if array.recording else "stopped"
    for cpu in array.main.cpus:
        yield f"# {name}, CPU {cpu.cpu}: tracer {array.tracer}, clock {array.clock}, {state}"
        try:
            found = cpu.stats
        except damage() as exc:
            yield f"# its counts can't be read: {exc}"
            continue
        yield f"entries: {found.entries}"
        yield f"overrun: {found.overrun}"
        yield f"commit overrun: {found.commit_overrun}"
        yield f"bytes: {found.bytes}"
        yield f"oldest event ts: {_time(found.oldest, array.in_ns)}"
        yield f"dropped events: {found.dropped}"
        yield f"read events: {found.read}"
        begun = readable(cpu.uncommitted_bytes)
        if begun:
            yield f"# {begun} bytes were reserved and not yet valid: an event was being written"


def _time(stamp: int, in_ns: bool) -> str:
    if not in_ns:
        return f"{stamp}"
    micro = (stamp + 500) // 1000
    return f"{micro // 1_000_000:5}.{micro % 1_000_000:06}"
