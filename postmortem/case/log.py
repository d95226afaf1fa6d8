"""A case whose input is text: a console log, pstore records, standard input. Without drgn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from postmortem.case.base import Case, Options
from postmortem.case.lines import LogLines
from postmortem.errors import UnknownInputError, UsageError
from postmortem.inputs.pipe import Pipe
from postmortem.inputs.recognise import Input as Recognised
from postmortem.inputs.text import open_source
from postmortem.log.blocked import LoggedTask
from postmortem.log.boots import Boot, missing
from postmortem.log.complaints import Heard, heard
from postmortem.log.memory import PHRASE, LoggedMemory, logged_memory
from postmortem.log.reader import Reader
from postmortem.log.scan import Scan, scan_stream
from postmortem.model.report import Record, Report
from postmortem.model.result import Input, ModuleInfo, System
from postmortem.rules.taints import decode


def open_case(what: Recognised, options: Options) -> Case:
    """Read a log.

    :raises postmortem.errors.PostmortemError: it can't be read, is not a kernel's,
        or there are several.
    """
    if len(what.paths) > 1:
        raise UsageError(
            "several logs are several machines or boots: analyse one at a time,"
            " or all with postmortem log PATH... --jsonl"
        )
    return LogCase(what, options)


class LogCase(Case):
    """One pass over the text gives all reports when it is opened; lines are read on demand."""

    def __init__(self, what: Recognised, options: Options) -> None:
        path, name = str(what.paths[0]), what.called or str(what.paths[0])
        super().__init__(Input(name, "log", "text", 0, True), log=LogLines(path), options=options)
        self._pipe: Pipe | None = what.file
        self._path = path
        with self.timed("log"):
            scan = scan_stream(open_source(path, self._pipe), tasks=True)
        self._take(name, scan)
        if options.vmlinux is not None or options.debug_dirs:
            with self.timed("debuginfo"):
                self._add_source()

    def _take(self, path: str, scan: Scan) -> None:
        lacks = (
            *(f"{problem.what}: {problem.why}" for problem in scan.problems),
            *missing([scan.head, *scan.boots]),
        )
        self._input = Input(path, "log", "text", scan.size, not lacks, lacks)
        self._reports = tuple(scan.reports)
        self._quoted = scan.quoted
        self._tasks = tuple(scan.tasks)
        self._log_end, self._boots, self._head = scan.end, tuple(scan.boots), scan.head
        self.problems.extend(scan.problems)
        found = scan.reports or scan.boots or scan.shows_kernel or scan.problems
        if not found and scan.size:
            raise UnknownInputError(
                f"{path} is text, but no line in it looks like a message of the kernel:"
                " give a kernel log or a dump"
            )
        self._system = self.system_of(_last_boot(self._reports, self._boots))
        self._types_from = "none"

    @property
    def types_from(self) -> str:
        return self._types_from

    @property
    def log(self) -> Sequence[Record]:
        """The messages one by one; of a pipe there are none, it can be read only once."""
        if self._pipe is None:
            return super().log
        why = f"{self.input.path} can be read only once: save it to a file"
        self.problems.say("single log messages", why)
        return ()

    def mentions(self, phrase: str) -> bool:
        return self._pipe is None and LogLines(self._path).mention(phrase.encode())

    @cached_property
    def heard(self) -> Heard:
        """Of a pipe nothing: it can be read only once."""
        if self._pipe is not None:
            return Heard()
        return heard(Reader(open_source(self._path)).messages())

    def system_of(self, boot: int | None) -> System:
        if boot is None:
            return self._system
        return _system_of_log(self._reports, (self._head or Boot(1), *self._boots), boot)

    @property
    def logged_tasks(self) -> Sequence[LoggedTask]:
        return self._tasks

    @property
    def logged_memory(self) -> Sequence[LoggedMemory]:
        """Of a pipe there are none: it can be read only once."""
        if self._pipe is not None or not self.mentions(PHRASE):
            return ()
        return logged_memory(Reader(open_source(self._path)).messages())

    def _add_source(self) -> None:
        """File and line for the frames of all reports, from the debug files that were given."""
        from postmortem.log.symbols import symbolise
        from postmortem.symbolise import DebugFiles

        files = DebugFiles(self.options.vmlinux, self.options.debug_dirs)
        before = self._reports
        self._reports = tuple(symbolise(report, files) for report in before)
        if self._reports == before and any(report.frames for report in before):
            self.problems.say("debug information", "it names none of the functions in the log")
        else:
            self._types_from = "dwarf"


def _system_of_log(reports: Sequence[Report], boots: Sequence[Boot], number: int) -> System:
    """What a log says about the machine in one of its boots; the last word counts.

    Release, uptime, taint and modules are that boot's; the machine itself is the same in all.

    :param boots: with what no boot banner precedes as number 0.
    """
    boot = boots[number]
    known = [report for report in reversed(reports) if report.boot == number]
    every = [*known, *reversed(reports)]
    release = next((r.release for r in known if r.release), None)
    return System(
        release=release or boot.release,
        version=boot.version,
        uptime_seconds=_uptime(known, boot),
        command_line=boot.command_line,
        arch=next((r.arch for r in every if r.arch), None),
        hardware=next((r.hardware for r in every if r.hardware), None),
        taint=decode(next((r.taint for r in known if r.taint), None)),
        modules=tuple(map(ModuleInfo, dict.fromkeys(name for r in known for name in r.modules))),
    )


def _uptime(latest_first: Sequence[Report], boot: Boot) -> float | None:
    """How long the machine ran, as far as the log goes; seconds."""
    times = [r.last_time or r.time for r in latest_first[:1]]
    known = [time for time in (boot.end, *times) if time is not None]
    return max(known, default=None)


def _last_boot(reports: Sequence[Report], boots: Sequence[Boot]) -> int:
    """Number of the last boot that a report is of, or the last one; a crash kernel's is none."""
    own = [report.boot for report in reports if "boot_of" not in report.detail]
    numbers = (n for n in range(len(boots), 0, -1) if not boots[n - 1].kdump)
    return max(own) if own else next(numbers, 0)
