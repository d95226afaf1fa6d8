"""A buffer as ``cat trace`` shows it. Source: kernel/trace/trace.c, trace_output.c.

Which columns there are differs between kernels; the header that explains them lies in the
kernel's read-only data, so it is asked and no version is.
"""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.masks import num_online_cpus
from postmortem.kernel.rodata import rodata
from postmortem.trace.buffers import Buffer, TraceArray
from postmortem.trace.environment import Cmdlines, DumpEnvironment, cmdlines
from postmortem.trace.events import Event, Wanted, events, skipped
from postmortem.trace.formats import event_formats
from postmortem.trace.graph import Graph
from postmortem.trace.headers import own_header
from postmortem.trace.printers import Options, Printers, mark

_MOST_PRINTED = 1000
"""``TRACE_MAX_PRINT``: bytes of an entry that get into the log."""


class Flags:
    """The column of flags: ``trace_print_lat_fmt()``."""

    def __init__(self, prog: drgn.Program, *, two: bool | None = None) -> None:
        """
        :param two: Whether there are two digits at the end; as this kernel has it if not given.
        """

        def bit(name: str) -> int:
            found = readable(lambda: int(prog.constant(f"TRACE_FLAG_{name}")))
            return found or 0

        self._off, self._unknown = bit("IRQS_OFF"), bit("IRQS_NOSUPPORT")
        self._bh, self._lazy = bit("BH_OFF"), bit("NEED_RESCHED_LAZY")
        self._resched, self._preempt = bit("NEED_RESCHED"), bit("PREEMPT_RESCHED")
        self._hard, self._soft, self._nmi = bit("HARDIRQ"), bit("SOFTIRQ"), bit("NMI")
        # Since v5.13 (54357f0c9149) two digits: how deep, and how often migration is disabled.
        self._two = has_migrate_disable(prog) if two is None else two
        self._known: dict[int, str] = {}

    def text(self, flags: int) -> str:
        """``d..2.`` of the flags and, above them, the preempt count."""
        found = self._known.get(flags)
        if found is None:
            found = self._known[flags] = self._text(flags & 0xFF, flags >> 8)
        return found

    def _text(self, flags: int, count: int) -> str:
        off, bh = flags & self._off, flags & self._bh
        first = (
            "D" if off and bh else "d" if off else "b" if bh
            else "X" if flags & self._unknown else "."
        )  # fmt: skip
        wants = (
            bool(flags & self._resched), bool(flags & self._lazy), bool(flags & self._preempt)
        )  # fmt: skip
        second = _RESCHED[wants]
        hard, soft, nmi = flags & self._hard, flags & self._soft, flags & self._nmi
        third = (
            "Z" if nmi and hard else "z" if nmi else "H" if hard and soft
            else "h" if hard else "s" if soft else "."
        )  # fmt: skip
        if not self._two:
            return f"{first}{second}{third}{f'{count:x}' if count else '.'}"
        low, high = count & 0xF, count >> 4
        return f"{first}{second}{third}{f'{low:x}' if low else '.'}{f'{high:x}' if high else '.'}"


_RESCHED = {
    (True, True, True): "B", (True, True, False): "b", (False, True, True): "L",
    (False, True, False): "l", (True, False, True): "N", (True, False, False): "n",
    (False, False, True): "p", (False, False, False): ".",
}  # fmt: skip


def has_migrate_disable(prog: drgn.Program) -> bool:
    """Whether this kernel shows how often migration is disabled."""
    return bool(readable(lambda: rodata(prog).containing("=> migrate-disable")))


class Trace:
    """One buffer of an instance, as text or event by event."""

    def __init__(
        self,
        prog: drgn.Program,
        array: TraceArray,
        buffer: Buffer | None = None,
        *,
        latency: bool | None = None,
    ) -> None:
        """
        :param buffer: What is shown; if not given, what ``cat trace`` would have.
        :param latency: In the format of the latency tracers; as its option says if not given.
        """
        self.prog, self.array = prog, array
        self.buffer = buffer or array.shown
        self.latency = array.option("latency-fmt") if latency is None else latency
        self.cmdlines: Cmdlines = cmdlines(prog)
        # trace_event_format() shows addresses as they are, unless the option says otherwise;
        # both since v5.12 (efbbdaa22bb7, a345a6718bd5), and 5.10 stable got only the former.
        hashed = array.option("hash-ptr") or not (
            _has_option(prog, "HASH_PTR") or _has_symbol(prog, "trace_event_format")
        )
        self.env = DumpEnvironment(prog, hash_pointers=hashed)
        options = Options(
            print_parent=array.option("print-parent"),
            sym_offset=array.option("sym-offset"),
            sym_addr=array.option("sym-addr"),
            verbose=array.option("verbose"),
        )
        self.formats = event_formats(prog)
        self.printers = Printers(
            self.formats, self.env, options, comm=self.cmdlines.comm, in_ns=array.in_ns
        )
        self.flags = Flags(prog)
        self._graph = Graph(self) if array.tracer == "function_graph" else None

    # --- the whole

    def lines(self, wanted: Wanted | None = None, *, header: bool = True) -> Iterator[str]:
        """The text; each piece ends with a line feed, unless an event has none."""
        if header:
            yield from self.header(wanted)
        if self._graph is not None:
            yield from self._graph.lines(wanted or Wanted())
        elif self.latency:
            yield from self._latency_lines(wanted or Wanted())
        else:
            yield from self._lines(wanted or Wanted())

    def problems(self) -> list[str]:
        """What could not be read or printed."""
        found = [one for cpu in self.buffer.cpus for one in cpu.problems]
        found += self.formats.problems
        why = self.printers.not_understood
        found += [f"{name} is shown by its fields: {why[name]}" for name in sorted(why)]
        return list(dict.fromkeys(found))

    def _annotated(self) -> tuple[bool, set[int]]:
        """Whether to say where a CPU's events begin, and of which it is not said."""
        cpus = self.buffer.cpus
        overruns = sum(readable(lambda cpu=cpu: cpu.stats.overrun) or 0 for cpu in cpus)  # type: ignore[misc]
        started = {cpu.cpu for cpu in cpus if skipped(cpu, self.buffer.time_start)}
        return bool(overruns) and self.array.option("annotate"), started

    def _lines(self, wanted: Wanted) -> Iterator[str]:
        array = self.array
        annotate, started = self._annotated()
        with_context, with_flags = array.option("context-info"), array.option("irq-info")
        with_tgid, in_ns = array.option("record-tgid"), array.in_ns
        width = 7 if self._wide() else 5
        flags, printers, of = self.flags.text, self.printers, self.printers.of
        comms: dict[int, str] = {}
        cpus = {cpu.cpu: f"[{cpu.cpu:03}] " for cpu in self.buffer.cpus}
        index = 0
        for time, cpu, number, flag, pid, data in events(self.buffer, wanted):
            index += 1
            begin = ""
            if annotate and cpu not in started:
                started.add(cpu)
                if index > 1:
                    begin = f"##### CPU {cpu} buffer started ####\n"
            printers.stamp = time
            try:
                text = of(number)(data)
            except Exception:
                text = printers.text(number, data)
            if not with_context:
                yield begin + text
                continue
            task = comms.get(pid)
            if task is None:
                if len(comms) > 65536:
                    comms.clear()
                task = f"{self.cmdlines.comm(pid):>16}-{pid:<{width}} "
                if with_tgid:
                    tgid = self.cmdlines.tgid(pid)
                    task += f"({tgid:7}) " if tgid else "(-------) "
                comms[pid] = task
            if in_ns:
                micro = (time + 500) // 1000
                when = f" {micro // 1000000:5}.{micro % 1000000:06}: "
            else:
                when = f" {time:12}: "
            yield f"{begin}{task}{cpus[cpu]}{flags(flag) if with_flags else ''}{when}{text}"

    def plain(self, event: Event) -> str:
        """One event with its context, not in the latency format."""
        micro = (event.time + 500) // 1000
        when = (
            f" {micro // 1000000:5}.{micro % 1000000:06}"
            if self.array.in_ns
            else f" {event.time:12}"
        )
        flags = self.flags.text(event.flags) if self.array.option("irq-info") else ""
        comm = self.cmdlines.comm(event.pid)
        self.printers.stamp = event.time
        text = self.printers.text(event.type, event.data)
        return f"{comm:>16}-{event.pid:<7} [{event.cpu:03}] {flags}{when}: {text}"

    def _latency_lines(self, wanted: Wanted) -> Iterator[str]:
        annotate, started = self._annotated()
        in_ns, verbose = self.array.in_ns, self.array.option("verbose")
        width = 7 if self._wide() else 5
        start = self.buffer.time_start
        found = _with_next(events(self.buffer, wanted))
        for index, (event, following) in enumerate(found, 1):
            begin = ""
            if annotate and event.cpu not in started:
                started.add(event.cpu)
                if index > 1:
                    begin = f"##### CPU {event.cpu} buffer started ####\n"
            comm = self.cmdlines.comm(event.pid)
            self.printers.stamp = event.time
            since, until = event.time - start, following - event.time
            if verbose:
                lead = (
                    f"{comm:>16} {event.pid:7} {event.cpu:3} {event.flags & 0xFF}"
                    f" {event.flags >> 8 & 0xF:08x} {index:08x} "
                )
                when = _verbose_time(event.time, since, until, in_ns)
            else:
                lead = f"{comm[:8]:>8}-{event.pid:<{width}} {event.cpu:3}"
                lead += self.flags.text(event.flags)
                if in_ns:
                    delay = (until + 500) // 1000 * 1000
                    when = f" {(since + 500) // 1000:4}us{mark(delay)}: "
                else:
                    when = f" {since:4}: "
            yield f"{begin}{lead}{when}{self.printers.text(event.type, event.data)}"

    def _wide(self) -> bool:
        """Whether pids have seven places, since v5.9 (795d6379a47b), or five."""
        return bool(readable(lambda: rodata(self.prog).has("%16s-%-7d ")))

    def dumped(self) -> Iterator[str]:
        """The entries as ``ftrace_dump()`` prints them: for SysRq z and ftrace_dump_on_oops."""
        if self._graph is not None:
            yield from self._graph.lines(Wanted())
            return
        width = 7 if self._wide() else 5
        start, in_ns = self.buffer.time_start, self.array.in_ns
        lost = {
            cpu.cpu: found
            for cpu in self.buffer.cpus
            if (found := readable(cpu.lost_events)) is not None and found[0]
        }
        seen: dict[int, int] = {}
        for event in events(self.buffer):
            count = seen[event.cpu] = seen.get(event.cpu, -1) + 1
            gone, before = lost.get(event.cpu, (0, -1))
            begin = f"CPU:{event.cpu} [LOST {gone} EVENTS]\n" if count == before else ""
            comm = self.cmdlines.comm(event.pid)[:8]
            self.printers.stamp = event.time
            # The next entry is still this one, so no delay has a sign.
            when = (
                f"{(event.time - start + 500) // 1000:4}us " if in_ns else f"{event.time - start:4}"
            )
            yield (
                f"{begin}{comm:>8}-{event.pid:<{width}} {event.cpu:3}"
                f"{self.flags.text(event.flags)} {when}: "
                f"{self.printers.text(event.type, event.data)}"
            )[:_MOST_PRINTED]

    # --- the header

    def header(self, wanted: Wanted | None = None) -> Iterator[str]:
        """What stands before the events."""
        yield f"# tracer: {self.array.tracer}\n#\n"
        own = own_header(self.prog, self.array.tracer)
        if own is not None:
            yield from own
            return
        if not self.array.option("context-info"):
            return
        verbose = self.array.option("verbose")
        if self.latency:
            if not sum(self._totals()):
                return
            yield from self._latency_header()
            if self._graph is not None:
                yield from self._graph.header()
            elif not verbose:
                yield from self._latency_help()
        elif self._graph is not None:
            yield from self._graph.header()
        elif not verbose:
            yield from self._help()

    def _totals(self) -> tuple[int, int]:
        """Entries in the buffer and entries written: ``get_total_entries()``."""
        entries = written = 0
        for cpu in self.buffer.cpus:
            try:
                stats = cpu.stats
            except damage():
                continue
            gone = skipped(cpu, self.buffer.time_start)
            entries += stats.entries - gone
            written += stats.entries - gone if gone else stats.entries + stats.overrun
        return entries, written

    def _online(self) -> int:
        return readable(lambda: int(num_online_cpus(self.prog))) or 0

    def _help(self) -> Iterator[str]:
        entries, written = self._totals()
        yield (
            f"# entries-in-buffer/entries-written: {entries}/{written}   #P:{self._online()}\n#\n"
        )
        tgid = self.array.option("record-tgid")
        if not self.array.option("irq-info"):
            names, marks = ("   TGID   ", "     |    ") if tgid else ("", "")
            yield f"#           TASK-PID    {names} CPU#     TIMESTAMP  FUNCTION\n"
            yield f"#              | |      {marks}   |         |         |\n"
            return
        known = rodata(self.prog)
        places = 12 if tgid else 2
        for word in ("irqs-off", "need-resched", "hardirq/softirq", "preempt-depth",
                     "migrate-disable", "delay"):  # fmt: skip
            mark = "/     delay" if word == "delay" else f"=> {word}"
            for found in known.containing(mark):
                if found.text.startswith("#") and "%.*s" in found.text:
                    yield found.text.replace("%.*s", " " * places)
                    break
        for beginning, words in (
            ("#           TASK-PID  %.*s", "     TGID   "),
            ("#              | |    %.*s", "       |    "),
        ):
            line = known.starting(beginning)
            if line is not None:
                yield line.text.replace("%.*s", words[:places])

    def _latency_help(self) -> Iterator[str]:
        found = rodata(self.prog).starting("#                    _------=> CPU#",
                                           "#                  _------=> CPU#")  # fmt: skip
        if found is not None:
            yield found.text

    def _latency_header(self) -> Iterator[str]:
        entries, written = self._totals()
        cpu = self.buffer.cpu
        data = readable(lambda: self.buffer.data(cpu).read_())
        latency = pid = uid = nice = policy = priority = 0
        comm = ""
        if data is not None:
            latency = integer(data.saved_latency) // 1000  # nsecs_to_usecs() does not round
            comm = data.comm.string_().decode("utf-8", "backslashreplace")
            pid, uid = int(data.pid), int(data.uid.val)
            nice = int(data.nice) - (1 << 64 if int(data.nice) >> 63 else 0)
            policy, priority = int(data.policy), int(data.rt_priority)
        release = readable(lambda: self.prog["init_uts_ns"].name.release.string_()) or b"?"
        on = release.decode("utf-8", "replace")
        yield f"# {self.array.tracer} latency trace v1.1.5 on {on}\n"
        yield f"# {'-' * 68}\n"
        yield (
            f"# latency: {latency} us, #{entries}/{written}, CPU#{cpu} |"
            f" (M:{_preemption(self.prog)} VP:0, KP:0, SP:0 HP:0 #P:{self._online()})\n"
        )
        yield "#    -----------------\n"
        yield (
            f"#    | task: {comm}-{pid} (uid:{uid} nice:{nice} policy:{policy}"
            f" rt_prio:{priority})\n"
        )
        yield "#    -----------------\n"
        start = integer(data.critical_start) if data is not None else 0
        if data is not None and start:
            yield f"#  => started at: {self.printers.ip(start)}\n"
            yield f"#  => ended at:   {self.printers.ip(integer(data.critical_end))}\n#\n"
        yield "#\n"


def _has_option(prog: drgn.Program, name: str) -> bool:
    return readable(lambda: prog.constant(f"TRACE_ITER_{name}_BIT")) is not None


def _with_next(found: Iterator[Event]) -> Iterator[tuple[Event, int]]:
    """Each event with the time of the one behind it; the last with its own."""
    last = None
    for event in found:
        if last is not None:
            yield last, event.time
        last = event
    if last is not None:
        yield last, last.time


def _verbose_time(time: int, since: int, until: int, in_ns: bool) -> str:
    if not in_ns:
        return f"[{time:016x}] {since} (+{until}): "
    since, until = (since + 500) // 1000, (until + 500) // 1000
    return (
        f"[{(time + 500) // 1000:08x}] {since // 1000}.{since % 1000:03}ms"
        f" (+{until // 1000}.{until % 1000:03}ms): "
    )


def _preemption(prog: drgn.Program) -> str:
    """How this kernel preempts, as the header names it."""
    mode = readable(lambda: integer(prog["preempt_dynamic_mode"]))
    version = readable(lambda: prog["init_uts_ns"].name.version.string_()) or b""
    dynamic = mode is not None and b"PREEMPT_DYNAMIC" in version
    if readable(lambda: prog.symbol("preempt_model_str")) is not None:
        # Since v6.16 (8bdc5daaa01e).
        name = {0: "none", 1: "voluntary", 2: "full", 3: "lazy"}.get(mode or 0, "undef")
        if b"PREEMPT_RT" in version:
            return f"PREEMPT_{{RT,({name})}}" if dynamic else "PREEMPT_RT"
        return f"PREEMPT({name})" if dynamic else "PREEMPT"
    if b"PREEMPT_RT" in version:
        return "preempt_rt"
    if dynamic:
        return {0: "server", 1: "desktop", 2: "preempt", 3: "lazy"}.get(mode or 0, "unknown")
    if b"PREEMPT" in version:
        return "preempt"
    # might_sleep() calls it with CONFIG_PREEMPT_VOLUNTARY only.
    return "desktop" if _has_symbol(prog, "_cond_resched", "__cond_resched") else "server"


def _has_symbol(prog: drgn.Program, *names: str) -> bool:
    return any(readable(lambda name=name: prog.symbol(name)) is not None for name in names)  # type: ignore[misc]
