"""One run: open the input, read the facts, let the plugins judge, name the cause.

This is the whole story of ``postmortem analyze`` in the order in which it
happens; every step that fails becomes a problem and the next one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from postmortem.errors import UnknownInputError, UsageError
from postmortem.inputs.recognise import InputKind, recognise
from postmortem.judge.verdict import diagnose
from postmortem.model.findings import Block, Export, Finding, Table, Text
from postmortem.model.result import Analysis, Input, ModuleInfo, System, TaskStack
from postmortem.plugin import Context, Plugin, Result, discover, run_plugin
from postmortem.rules.taints import decode

if TYPE_CHECKING:
    from postmortem.dump.core import Core
    from postmortem.inputs import recognise as recognised
    from postmortem.model.report import Report

Progress = Callable[[str, int, int], None]
"""Called with the stage, what is done and the total (0 if not known)."""

_TAIL_LINES = 15
"""How much of the log's end is shown."""


@dataclass(frozen=True)
class Options:
    """What the user may ask for."""

    vmlinux: Path | None = None
    debug_dirs: tuple[Path, ...] = ()
    debuginfod: bool = True
    plugin_files: tuple[Path, ...] = ()
    progress: Progress | None = None
    only: tuple[str, ...] | None = None
    """Names of the plugins to run, ``None`` for all that belong to an analysis."""


@dataclass
class Opened:
    """An input that was opened, with its facts: what plugins, shell and renderers start from."""

    context: Context
    types_from: str
    cpus: tuple[TaskStack, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    core: Core | None = None

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``timings[stage]``, in seconds."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[stage] = self.timings.get(stage, 0.0) + time.perf_counter() - start


def analyze(paths: Sequence[str | Path], options: Options | None = None) -> Analysis:
    """Analyse a dump (or the parts of one), ``/proc/kcore``, or a log.

    :raises postmortem.errors.PostmortemError: the input can't be analysed at
        all, or an option makes no sense for it.
    """
    options = options or Options()
    plugins, problems = discover(options.plugin_files)
    plugins = _chosen(plugins, options.only)
    opened = open_input(paths, options)
    with opened.timed("judge"):
        results = _run(opened.context, plugins, named=options.only is not None)
    findings = tuple(item for item in results if isinstance(item, Finding))
    with opened.timed("diagnose"):
        findings, verdict = diagnose(findings, opened.context)
    ctx = opened.context
    return Analysis(
        input=ctx.input,
        system=ctx.system,
        types_from=opened.types_from,
        verdict=verdict,
        findings=findings,
        reports=ctx.reports,
        cpus=opened.cpus,
        tables=tuple(item for item in results if isinstance(item, Table)),
        blocks=tuple(item for item in results if isinstance(item, Block)),
        texts=tuple(item for item in results if isinstance(item, Text)),
        exports=tuple(item for item in results if isinstance(item, Export)),
        log_tail=_log_tail(ctx),
        problems=(*problems, *ctx.problems),
        timings=opened.timings,
    )


def open_input(paths: Sequence[str | Path], options: Options) -> Opened:
    """Open whatever ``paths`` are and read the facts that every judgement needs."""
    from postmortem.inputs.text import is_pstore_directory

    names = [str(path) for path in paths]
    if len(names) == 1 and (names[0] == "-" or is_pstore_directory(Path(names[0]))):
        return _open_log(names[0], options)
    what = recognise(paths)
    if what.kind is not InputKind.LOG:
        return _open_dump(what, options)
    if len(names) > 1:
        raise UsageError(
            "several logs are several machines or boots: analyse one at a time,"
            " or all with postmortem log PATH... --jsonl"
        )
    return _open_log(names[0], options)


def _chosen(plugins: list[Plugin], only: tuple[str, ...] | None) -> list[Plugin]:
    if only is None:
        return [item for item in plugins if item.in_analysis]
    known = {item.name for item in plugins}
    for name in only:
        if name not in known:
            raise UsageError(f"there is no plugin {name!r}: postmortem plugins lists them")
    return [item for item in plugins if item.name in only]


def _run(ctx: Context, plugins: list[Plugin], *, named: bool) -> list[Result]:
    results: list[Result] = []
    ctx.named = named
    for item in plugins:
        lack = next(filter(None, map(ctx.lacks, item.needs)), None)
        if lack is None:
            results += run_plugin(item, ctx)
        elif named:
            raise UsageError(f"{item.name} can't run on this input: {lack}")
    return results


def _log_tail(ctx: Context) -> tuple[str, ...]:
    return tuple(
        record.text if record.time is None else f"[{record.time:12.6f}] {record.text}"
        for record in ctx.records[-_TAIL_LINES:]
    )


# --- a log -----------------------------------------------------------------------


def _open_log(path: str, options: Options) -> Opened:
    from postmortem.log.scan import scan_file

    opened = Opened(Context(Input(path, "log", "text", 0, True), System()), "none")
    ctx = opened.context
    with opened.timed("log"):
        scan = scan_file(path)
    lacks = tuple(f"{problem.what}: {problem.why}" for problem in scan.problems)
    ctx.input = Input(path, "log", "text", scan.size, not lacks, lacks)
    ctx.reports = tuple(scan.reports)
    ctx.note(scan.problems)
    if not scan.reports and not scan.boots and not _has_kernel_messages(path):
        raise UnknownInputError(
            f"{path} is text, but no line at its start looks like a message of the kernel:"
            " give a kernel log or a dump"
        )
    if options.vmlinux is not None or options.debug_dirs:
        with opened.timed("debuginfo"):
            opened.types_from = _add_source(ctx, options)
    ctx.system = _system_of_log(ctx.reports, [boot.release for boot in scan.boots])
    return opened


_SAMPLE_BYTES = 1 << 16


def _has_kernel_messages(path: str) -> bool:
    """Whether the start of a log has a line with a printk time or level; unknown is yes."""
    from postmortem.log.lines import records_of_line

    if path == "-" or not Path(path).is_file():
        return True
    with Path(path).open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
    if not head.isascii() and b"\0" in head:
        return True  # compressed or otherwise packed: what is inside was read all the same
    return any(
        record.time is not None or record.level is not None
        for line in head.splitlines()
        for record in records_of_line(line, 0)
    )


def _add_source(ctx: Context, options: Options) -> str:
    """File and line for the frames of all reports, from the debug files that were given."""
    from postmortem.log.symbols import symbolise
    from postmortem.symbolise import DebugFiles

    files = DebugFiles(options.vmlinux, options.debug_dirs)
    before = ctx.reports
    ctx.reports = tuple(symbolise(report, files) for report in before)
    if ctx.reports == before and any(report.frames for report in before):
        ctx.problem("debug information", "it names none of the functions in the log")
        return "none"
    return "dwarf"


def _system_of_log(reports: Sequence[Report], releases: Sequence[str | None]) -> System:
    """What the reports and boot banners of a log say about the machine; the last word counts."""
    known = list(reversed(reports))
    release = next((r.release for r in known if r.release), None)
    return System(
        release=release or next((name for name in reversed(releases) if name), None),
        arch=next((r.arch for r in known if r.arch), None),
        hardware=next((r.hardware for r in known if r.hardware), None),
        taint=decode(next((r.taint for r in known if r.taint), None)),
        modules=tuple(map(ModuleInfo, dict.fromkeys(name for r in known for name in r.modules))),
    )


# --- a dump ----------------------------------------------------------------------


def _open_dump(what: recognised.Input, options: Options) -> Opened:
    # drgn is 50 ms: a log must not pay for it.
    from postmortem.dump.core import open_input as open_core

    opened = Opened(Context(Input("", "", "", 0, True), System()), "none")
    with opened.timed("open"):
        core = open_core(what, progress=options.progress)
    opened.core = core
    info = core.info
    ctx = Context(
        input=Input(
            path=" ".join(map(str, info.paths)),
            kind=str(info.kind),
            format=info.format,
            size=info.size,
            complete=info.complete,
            lacks=info.lacks,
        ),
        system=System(release=info.osrelease, arch=info.arch),
        prog=core.program,
    )
    opened.context = ctx
    _describe(opened, core, options)
    _read_facts(opened, core)
    return opened


def _describe(opened: Opened, core: Core, options: Options) -> None:
    """Types, symbols and unwind tables: from the dump, and from DWARF where there is any."""
    from postmortem.dump.debuginfo import find_debug_info
    from postmortem.dump.selfdescribe import describe

    ctx = opened.context
    with opened.timed("describe"):
        description = describe(core.program, dict(core.info.vmcoreinfo))
    ctx.note(description.problems)
    with opened.timed("debuginfo"):
        search = find_debug_info(
            core,
            vmlinux=options.vmlinux,
            debug_dirs=options.debug_dirs,
            debuginfod=None if options.debuginfod else False,
        )
    ctx.note(search.problems)
    ctx.debug = search.found
    dwarf = search.found is not None
    sources = [name for name, has in (("btf", description.types), ("dwarf", dwarf)) if has]
    opened.types_from = "+".join(sources) or "none"
    ctx.has_types = bool(sources)


def _read_facts(opened: Opened, core: Core) -> None:
    ctx = opened.context
    prog = core.program
    with opened.timed("log"):
        _read_log(ctx, core)
    if not ctx.has_types:
        ctx.problem("tasks, CPUs, memory", "without types only the log can be judged")
        return
    from postmortem.kernel.cpu.cpus import cpus
    from postmortem.kernel.system import system
    from postmortem.kernel.tasks.tasks import all_tasks

    with opened.timed("facts"):
        tasks = ctx.attempt("tasks", lambda: all_tasks(prog))
        if tasks is not None:
            ctx.note(tasks.problems)
            ctx.system, problems = system(prog, tasks, dict(core.info.vmcoreinfo))
            ctx.note(problems)
        found = ctx.attempt("CPUs", lambda: cpus(prog))
        opened.cpus = tuple(
            replace(cpu.as_task_stack(), frames=ctx.with_source(cpu.stack)) for cpu in found or ()
        )


def _read_log(ctx: Context, core: Core) -> None:
    from postmortem.kernel.printk import log_records
    from postmortem.log.scan import reports_from_records

    records = ctx.attempt("log", lambda: log_records(core.program, core.info.vmcoreinfo))
    if records:
        ctx.records = records
        ctx.reports = tuple(reports_from_records(records, core.info.arch))
