"""One input, opened once, and everything that can be asked of it.

The command line, plugins, a notebook: all come through a :class:`Case`. Each fact
is read when it is first asked for, kept, and what it could not read is noted once
in :attr:`Case.problems`. docs/library.md is the guide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from postmortem.errors import UsageError
from postmortem.model.findings import Block, Confidence, Export, Finding, Table, Text
from postmortem.model.problems import Problems
from postmortem.model.report import Record, Report
from postmortem.model.result import Analysis, Input, System, TaskStack
from postmortem.model.shown import Shown
from postmortem.steps import doing

if TYPE_CHECKING:
    import drgn

    from postmortem.dump.dump import Dump
    from postmortem.kernel.tasks.stack_groups import Stacks
    from postmortem.kernel.tasks.tasks import TaskList
    from postmortem.log.blocked import LoggedTask
    from postmortem.log.boots import Boot
    from postmortem.log.complaints import Heard
    from postmortem.log.memory import LoggedMemory
    from postmortem.plugin.contract import Plugin, Result

Progress = Callable[[str, int, int], None]
"""Called with the stage, what is done and the total (0 if not known)."""

_TAIL_LINES = 15
"""How much of the log's end is shown."""


@dataclass(frozen=True)
class Options:
    """What may be said when a case is opened."""

    vmlinux: Path | None = None
    """Debug information: the vmlinux of the same build."""
    btf: Path | None = None
    """Types of the dump's kernel, a BTF file or its vmlinux, where memory has none."""
    debug_dirs: tuple[Path, ...] = ()
    """More folders to look for debug information in."""
    debuginfod: bool = False
    """Whether the servers in ``DEBUGINFOD_URLS`` are asked; nothing else uses the network."""
    plugin_files: tuple[Path, ...] = ()
    """Python files whose plugins are there too."""
    progress: Progress | None = None


def _less_sure(finding: Finding) -> Finding:
    """What rests on memory that changes under the reader proves nothing."""
    sure = finding.confidence is Confidence.CERTAIN
    return replace(finding, confidence=Confidence.LIKELY) if sure else finding


class Case(Shown):
    """An input and its facts. This one has only what it is given: a subclass reads an input.

    Use it as a context manager, or call :meth:`close`.
    """

    def __init__(
        self,
        input: Input,
        system: System | None = None,
        log: Sequence[Record] = (),
        reports: Sequence[Report] = (),
        *,
        dump: Dump | None = None,
        options: Options | None = None,
    ) -> None:
        self._input = input
        self._system = system or System()
        self._log = log
        self._reports = tuple(reports)
        self._log_end: Record | None = None
        self._boots: tuple[Boot, ...] = ()
        self._head: Boot | None = None
        self._quoted = False
        self._dump = dump
        self.options = options or Options()
        self.problems = Problems()
        """What limits the answers so far."""
        self.timings: dict[str, float] = {}
        """Seconds by stage; what a stage waits for another one counts there."""
        self._running: list[float] = []
        self.closed = False

    # --- facts ------------------------------------------------------------------------

    @property
    def input(self) -> Input:
        """The file, and what it lacks."""
        return self._input

    @property
    def system(self) -> System:
        """The machine, as far as the input tells."""
        return self._system

    def system_of(self, boot: int | None) -> System:
        """The machine as one of its boots had it; 0 is what no boot banner precedes."""
        return self.system

    @property
    def log(self) -> Sequence[Record]:
        """The kernel's messages, one by one."""
        return self._log

    def mentions(self, phrase: str) -> bool:
        """Whether the log has a phrase, cheaply: of large or packed logs that is not looked up."""
        return any(phrase in record.text for record in self.log)

    @property
    def reports(self) -> tuple[Report, ...]:
        """The kernel's own reports in the log, parsed, the first one first."""
        return self._reports

    @property
    def logged_tasks(self) -> Sequence[LoggedTask]:
        """The tasks that lists in the log show: those of sysrq t and w, and of lockdep."""
        from postmortem.log.blocked import logged_tasks

        return logged_tasks(self.log)

    @property
    def logged_memory(self) -> Sequence[LoggedMemory]:
        """What the kernel printed of the memory: for sysrq m, an OOM, a failed allocation."""
        from postmortem.log.memory import PHRASE, logged_memory

        return logged_memory(self.log) if self.mentions(PHRASE) else ()

    @property
    def log_end(self) -> Record | None:
        """The last message of the log: what the machine still said."""
        return self._log_end or (self.log[-1] if self.dump is not None and self.log else None)

    @cached_property
    def heard(self) -> Heard:
        """What devices and programs complained of in the log; it costs a pass over all of it."""
        from postmortem.log.complaints import heard

        return heard(self.log)

    @property
    def boots(self) -> tuple[Boot, ...]:
        """The boots in a log, the first one first."""
        return self._boots

    def boot(self, number: int) -> Boot | None:
        """One of them by its number, as reports have it; 0 is what no boot banner precedes."""
        if number == 0:
            return self._head
        return self._boots[number - 1] if number <= len(self._boots) else None

    @property
    def quoted(self) -> bool:
        """The input is somebody's text (a mail, documentation) with kernel messages in it."""
        return self._quoted

    @property
    def dump(self) -> Dump | None:
        """The memory and what it can be read with; ``None`` for a log."""
        return self._dump

    @property
    def prog(self) -> drgn.Program:
        """The memory as a ``drgn.Program``.

        :raises UsageError: the input has no memory: it is a log.
        """
        return self._need_dump("memory").prog

    @property
    def types_from(self) -> str:
        """btf, dwarf, btf+dwarf or none."""
        return self.dump.types_from if self.dump is not None else "none"

    @property
    def tasks(self) -> TaskList | None:
        """All tasks; ``None`` (and a problem) if the dump's can't be read."""
        self._need_dump("tasks")
        return None

    @property
    def cpus(self) -> tuple[TaskStack, ...]:
        """What each CPU was doing; empty (and a problem) if the dump does not tell."""
        self._need_dump("CPUs")
        return ()

    @property
    def stacks(self) -> Stacks | None:
        """The kernel stacks of all tasks, equal ones together; ``None`` if they can't be read."""
        self._need_dump("stacks")
        return None

    def _need_dump(self, what: str) -> Dump:
        dump = self.dump
        if dump is None:
            raise UsageError(f"{self.input.path} is a log, which has no {what}: only a dump has")
        return dump

    # --- judging ----------------------------------------------------------------------

    @cached_property
    def plugins(self) -> tuple[Plugin, ...]:
        """All plugins: ours, installed ones, the user's own."""
        from postmortem.plugin.discovery import discover

        found, problems = discover(self.options.plugin_files)
        self.problems.extend(problems)
        return tuple(found)

    def analyze(self, *, pictures: bool = False) -> Analysis:
        """Let all plugins judge, and name the cause.

        :param pictures: With what a page shows beside: the stacks of all tasks, drawn.
        """
        self._check_open()
        judges = [item for item in self.plugins if item.in_analysis]
        found = self._judge(judges, {}, named=False)
        if not pictures:
            return found
        return replace(found, exports=(*found.exports, *self._pictures()))

    def _pictures(self) -> Iterator[Export]:
        """Drawings of plugins that are no part of an analysis. What they lack limits no answer."""
        from postmortem.plugin.contract import Context
        from postmortem.plugin.running import run_plugin

        ctx = Context(self, named=True)
        for item in self.plugins:
            if item.draws and not item.in_analysis and not any(map(ctx.lacks, item.needs)):
                with self.timed(item.name):
                    results = run_plugin(item, ctx)
                yield from (result for result in results if isinstance(result, Export))

    def run(self, name: str, **options: object) -> Analysis:
        """Run one plugin by its name, as ``postmortem NAME FILE`` does, with its options.

        :raises UsageError: there is no such plugin or option, or this input is not
            what the plugin needs.
        """
        self._check_open()
        item = next((item for item in self.plugins if item.name == name), None)
        if item is None:
            raise UsageError(f"there is no plugin {name!r}: postmortem plugins lists them")
        return self._judge([item], {name: item.values(options)}, named=True)

    def _judge(
        self, plugins: Sequence[Plugin], values: dict[str, dict[str, Any]], *, named: bool
    ) -> Analysis:
        from postmortem.judge.boots import boot_of
        from postmortem.judge.verdict import diagnose, only_asked
        from postmortem.plugin.contract import Context
        from postmortem.plugin.running import run_plugin

        self.read_facts()
        ctx = Context(self, named=named)
        ctx.causes = tuple(rule for item in plugins for rule in item.causes)
        results: list[Result] = []
        with self.timed("judge"):
            for item in plugins:
                lack = next(filter(None, map(ctx.lacks, item.needs)), None)
                if lack is None:
                    results += run_plugin(item, ctx, values.get(item.name, {}))
                elif named:
                    raise UsageError(f"{item.name} can't run on this input: {lack}")
        findings = tuple(item for item in results if isinstance(item, Finding))
        if self._moved():
            findings = tuple(map(_less_sure, findings))
        with self.timed("diagnose"):
            findings, verdict = diagnose(findings, ctx)
        asked = tuple(item.name for item in plugins) if named else ()
        if named:
            # One question's answer is no verdict on the machine.
            verdict = only_asked(asked)
        return Analysis(
            input=self.input,
            system=self.system_of(boot_of(findings[0], ctx)) if findings else self.system,
            types_from=self.types_from,
            asked=asked,
            verdict=verdict,
            findings=findings,
            reports=self.reports,
            cpus=self.cpus if self.dump is not None else (),
            tables=tuple(item for item in results if isinstance(item, Table)),
            blocks=tuple(item for item in results if isinstance(item, Block)),
            texts=tuple(item for item in results if isinstance(item, Text)),
            exports=tuple(item for item in results if isinstance(item, Export)),
            log_tail=self._log_tail(),
            problems=tuple(Problems([*self.problems, *ctx.problems])),
            timings=dict(self.timings),
        )

    def read_facts(self) -> None:
        """Read what every judgement needs, in the order in which one builds on the other."""

    def _moved(self) -> bool:
        """Whether the input changed while it was read; a problem, too, if so."""
        return False

    def _log_tail(self) -> tuple[str, ...]:
        return ()

    # --- life -------------------------------------------------------------------------

    def close(self) -> None:
        """Let the input go. Results that were handed out stay good."""
        self.closed = True
        self._dump = None

    def __enter__(self) -> Case:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self.closed:
            raise UsageError(f"the case of {self.input.path} is closed: open it again")

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``timings[stage]``, without that of stages inside it."""
        start = time.perf_counter()
        self._running.append(0.0)
        try:
            with doing(stage):
                yield
        finally:
            whole = time.perf_counter() - start
            inside = self._running.pop()
            if self._running:
                self._running[-1] += whole
            self.timings[stage] = self.timings.get(stage, 0.0) + whole - inside
