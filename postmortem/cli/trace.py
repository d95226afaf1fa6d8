"""``postmortem trace FILE``: what ftrace recorded, read after death."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from postmortem.cli.options import FILE
from postmortem.cli.output import check_output, complain, open_output
from postmortem.cli.supervisor import supervise
from postmortem.errors import EXIT_LIMITED, EXIT_OK, UsageError
from postmortem.render.clean import clean

if TYPE_CHECKING:
    import drgn

    from postmortem.trace.buffers import TraceArray
    from postmortem.trace.events import Wanted
    from postmortem.trace.text import Trace

_LAST = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|ms|s)?")
_NS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000, None: 1_000_000_000}


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("-i", "--instance", metavar="NAME", help="Of this instance; all: of every one.")
@click.option("-c", "--cpu", "cpus", type=int, multiple=True, metavar="CPU", help="Of this CPU.")
@click.option("-p", "--pid", "pids", type=int, multiple=True, metavar="PID", help="Of this task.")
@click.option(
    "-e", "--event", "names", multiple=True, metavar="NAME",
    help="Of this name: sched_switch, sched:*, 'kmem:mm_*'.",
)  # fmt: skip
@click.option("--last", metavar="TIME", help="The last 50ms, 2s, 100us before the death.")
@click.option("--snapshot", is_flag=True, help="The snapshot instead of the buffer.")
@click.option("--latency", is_flag=True, help="In the format of the latency tracers.")
@click.option("--no-header", is_flag=True, help="Without the lines of # before the events.")
@click.option("--stats", is_flag=True, help="What the buffers counted: entries, overruns, lost.")
@click.option("--calls", is_flag=True, help="Traced calls that had not returned, with their time.")
@click.option(
    "--sections", is_flag=True, help="Interrupts or preemption still off: since, by whom."
)
@click.option(
    "--file", "name", metavar="NAME",
    help="A file of tracefs: stack_trace, trace_stat, kprobes/list ...",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, one an event.")
@click.option(
    "-o", "--output", metavar="FILE", type=FILE,
    help="Write to FILE: NAME.dat for trace-cmd, NAME.json in Chrome's trace format, or text.",
)  # fmt: skip
@click.option(
    "--dat-version",
    type=click.Choice(["6", "7"]),
    default="6",
    help="Of a trace.dat; 6 if not given.",
)
def trace(
    files: tuple[str, ...],
    instance: str | None,
    cpus: tuple[int, ...],
    pids: tuple[int, ...],
    names: tuple[str, ...],
    last: str | None,
    snapshot: bool,
    latency: bool,
    no_header: bool,
    stats: bool,
    calls: bool,
    sections: bool,
    name: str | None,
    as_json: bool,
    output: str | None,
    dat_version: str,
) -> int:
    """Print what ftrace had recorded when the machine died, as cat trace would have.

    FILE is a vmcore or /proc/kcore; formats of events are read from it, so those of probes,
    modules and synthetic events are shown as well. A trace.dat, a saved text of cat trace or of
    trace-cmd report, and a log with a printed buffer will do, too: docs/trace.md.
    """
    import postmortem

    length = _nanoseconds(last)
    check_output(output, files)
    status = supervise(files, output)
    if status is not None:
        return status
    saved = _saved(files)
    if saved is not None:
        if calls or sections or stats or snapshot or latency or name is not None:
            raise UsageError(f"{files[0]} is a trace, not a dump: it has events only")
        return _from_saved(
            saved, instance, (cpus, pids, names), length, not no_header, as_json, output
        )
    with postmortem.open(files, debuginfod=False) as case:
        if calls or sections or name is not None:
            what = name or ("calls" if calls else "sections")
            return _other(case.prog, what, name is None, instance, pids, output)
        arrays = _arrays(case.prog, instance, everything=stats or _is_dat(output))
        if stats:
            from postmortem.trace.stats import stats_lines

            with open_output(output) as file:
                for array in arrays:
                    file.writelines(f"{clean(line)}\n" for line in stats_lines(array))
            return EXIT_OK
        traces = [_trace(case.prog, one, snapshot, latency) for one in arrays]
        if not any(_holds(one) for one in traces):
            complain(_nothing(arrays, snapshot))
            return EXIT_OK
        wanted = _wanted(traces[0], cpus, pids, names, length)
        with open_output(output) as file:
            if _is_dat(output):
                _write_dat(
                    file, traces, wanted, int(dat_version), bool(cpus or pids or names or last)
                )
            else:
                _write_texts(file, traces, wanted, not no_header, as_json, output)
    return _told(traces)


def _write_texts(
    file: IO[str],
    traces: list[Trace],
    wanted: Wanted,
    header: bool,
    as_json: bool,
    output: str | None,
) -> None:
    if output is not None and output.endswith(".json"):
        from postmortem.trace.exports import chrome

        file.writelines(chrome(traces, wanted))
        return
    for one in traces:
        if len(traces) > 1 and not as_json:
            file.write(f"# instance: {clean(one.array.name or 'the main buffer')}\n")
        file.writelines(_text(one, wanted, as_json, header))


def _told(traces: list[Trace]) -> int:
    """Say what could not be read; the exit status."""
    problems = [problem for one in traces for problem in one.problems()]
    for problem in dict.fromkeys(problems):
        complain(problem)
    return EXIT_LIMITED if problems else EXIT_OK


def _saved(files: tuple[str, ...]) -> Path | None:
    """The file, if it holds a trace that somebody saved, as events or as text."""
    from postmortem.trace.saved_dat import is_dat
    from postmortem.trace.saved_text import is_text

    path = Path(files[0])
    return path if len(files) == 1 and path.is_file() and (is_dat(path) or is_text(path)) else None


def _from_saved(
    path: Path,
    instance: str | None,
    chosen: tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]],
    length: int | None,
    header: bool,
    as_json: bool,
    output: str | None,
) -> int:
    """What a trace.dat or the text of a trace has."""
    from postmortem.trace.saved_dat import is_dat, saved_traces
    from postmortem.trace.saved_text import SavedText

    if _is_dat(output):
        raise UsageError("a trace.dat is written out of a dump, not out of a trace that is one")
    if not is_dat(path):
        text = SavedText(path, *chosen, length)
        with open_output(output) as file:
            if output is not None and output.endswith(".json"):
                file.writelines(text.chrome())
            else:
                file.writelines(text.json() if as_json else _cleaned(text.lines(header)))
        for problem in text.problems:
            complain(problem)
        return EXIT_LIMITED if text.problems else EXIT_OK
    with path.open("rb") as stream:
        traces: list[Trace] = list(saved_traces(stream, path))
        if instance != "all":
            traces = [one for one in traces if one.array.name == (instance or "")]
        if not traces:
            raise UsageError(f"{path} has no instance {instance!r}")
        wanted = _wanted(traces[0], *chosen, length)
        with open_output(output) as file:
            _write_texts(file, traces, wanted, header, as_json, output)
        return _told(traces)


_EMPTY = {
    "calls": "no call that a tracer followed was in progress when the machine died",
    "sections": "no section that a latency tracer watched was open when the machine died",
}


def _other(
    prog: drgn.Program,
    what: str,
    own: bool,
    instance: str | None,
    pids: tuple[int, ...],
    output: str | None,
) -> int:
    """What is no buffer: a file of tracefs, the calls in progress, or the open sections.

    :param own: It is no file.
    """
    from postmortem.dump.damage import damage

    try:
        pieces = list(_pieces(prog, what, own, instance, pids))
    except damage() as exc:
        complain(f"{what}: {exc}")
        return EXIT_LIMITED
    if not pieces:
        complain(_EMPTY[what] if own else f"{what} is empty")
    with open_output(output) as file:
        file.writelines(_cleaned(pieces))
    return EXIT_OK


def _pieces(
    prog: drgn.Program, what: str, own: bool, instance: str | None, pids: tuple[int, ...]
) -> Iterator[str]:
    from postmortem.kernel.tasks.trace import Names
    from postmortem.trace.calls import calls_in_progress
    from postmortem.trace.files import KNOWN, file_lines, is_known
    from postmortem.trace.sections import open_sections

    if not own:
        if not is_known(what):
            raise UsageError(f"--file {what} is not known; there are: {', '.join(KNOWN)}")
        yield from file_lines(prog, what, _arrays(prog, instance, everything=False)[0])
    elif what == "calls":
        yield from (f"{line}\n" for line in calls_in_progress(prog, pids))
    else:
        names = Names(prog)
        yield from (f"{section.sentence(names)}\n" for section in open_sections(prog))


def _nanoseconds(last: str | None) -> int | None:
    if last is None:
        return None
    found = _LAST.fullmatch(last.strip())
    if found is None:
        raise UsageError(f"--last {last}: give a time such as 50ms, 2s or 100us")
    return int(float(found[1]) * _NS[found[2]])


def _is_dat(output: str | None) -> bool:
    return output is not None and output.endswith(".dat")


def _arrays(prog: drgn.Program, instance: str | None, everything: bool) -> list[TraceArray]:
    from postmortem.dump.damage import damage
    from postmortem.errors import UnreadableInputError
    from postmortem.trace.buffers import trace_arrays

    try:
        known = trace_arrays(prog)
    except damage() as exc:
        raise UnreadableInputError(f"the buffers of ftrace can't be found: {exc}") from exc
    if instance == "all" or (instance is None and everything):
        return list(known)
    if instance is None:
        return [known[0]]
    found = [one for one in known if one.name == instance]
    if not found:
        names = ", ".join(clean(one.name) for one in known[1:]) or "none but the main buffer"
        raise UsageError(f"no instance {instance!r}; there are: {names}")
    return found


def _trace(prog: drgn.Program, array: TraceArray, snapshot: bool, latency: bool) -> Trace:
    from postmortem.trace.text import Trace

    buffer = None
    if snapshot:
        buffer = array.snapshot
        if buffer is None:
            raise UsageError("no snapshot was taken on this machine")
    return Trace(prog, array, buffer, latency=True if latency else None)


def _holds(trace: Trace) -> bool:
    return any(True for cpu in trace.buffer.cpus for _ in cpu.batches())


def _nothing(arrays: list[TraceArray], snapshot: bool) -> str:
    if snapshot:
        return "the snapshot of ftrace is empty"
    taken = sum(one.taken() for one in arrays)
    if taken:
        return (
            f"the buffer is empty: all {taken} entries were taken out of it, as trace_pipe, SysRq z"
            " and ftrace_dump_on_oops do; what the latter two print is in the log"
        )
    if len(arrays) == 1 and arrays[0].name:
        return f"nothing is recorded in the instance {arrays[0].name}"
    return "ftrace had recorded nothing when the machine died"


def _wanted(
    trace: Trace,
    cpus: tuple[int, ...],
    pids: tuple[int, ...],
    names: tuple[str, ...],
    length: int | None,
) -> Wanted:
    from postmortem.trace.events import Wanted, last_time

    types = None
    if names:
        types = frozenset(
            one.id
            for one in trace.formats.all()
            if any(_matches(one.system, one.name, name) for name in names)
        )
        if not types:
            raise UsageError(f"the kernel has no event {' or '.join(map(repr, names))}")
    since = None
    if length is not None:
        if not trace.array.in_ns:
            raise UsageError(
                f"the clock {trace.array.clock} counts no time: --last can't be measured"
            )
        since = max(0, last_time(trace.buffer) - length)
    return Wanted(
        frozenset(cpus) if cpus else None, frozenset(pids) if pids else None, types, since
    )


def _matches(system: str, name: str, pattern: str) -> bool:
    wanted_system, colon, wanted = pattern.replace("/", ":").rpartition(":")
    return fnmatchcase(name, wanted or "*") and (not colon or fnmatchcase(system, wanted_system))


def _write_dat(
    file: IO[str], traces: list[Trace], wanted: Wanted, version: int, chosen: bool
) -> None:
    from postmortem.trace.trace_dat import write

    file.flush()
    if file is sys.stdout or not file.buffer.seekable():  # type: ignore[attr-defined]
        raise UsageError("a trace.dat is written to a file, not into a pipe")
    write(file.buffer, traces, wanted if chosen else None, version)  # type: ignore[attr-defined]


def _text(trace: Trace, wanted: Wanted, as_json: bool, header: bool) -> Iterator[str]:
    if as_json:
        from postmortem.trace.exports import json_lines

        return json_lines(trace, wanted)
    return _cleaned(trace.lines(wanted, header=header))


def _cleaned(pieces: Iterable[str]) -> Iterator[str]:
    """Line feeds are the trace's own; whatever else a terminal acts on is shown as an escape."""
    for piece in pieces:
        if piece[:-1].isprintable() and piece[-1:] == "\n":
            yield piece
        else:
            yield "\n".join(map(clean, piece.split("\n")))
