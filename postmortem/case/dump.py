"""A case whose input is memory: a vmcore or /proc/kcore."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from postmortem.arch import SUPPORTED
from postmortem.case.attempt import attempt
from postmortem.case.base import Case, Options
from postmortem.dump.core import Core, open_input
from postmortem.dump.dump import Dump, described
from postmortem.errors import PostmortemError
from postmortem.inputs.recognise import Input as Recognised
from postmortem.inputs.recognise import InputKind
from postmortem.kernel.memo import keep
from postmortem.model.problems import Problems
from postmortem.model.report import Record, Report
from postmortem.model.result import Input, System, TaskStack
from postmortem.steps import reading

if TYPE_CHECKING:
    import drgn

    from postmortem.kernel.printk import Log
    from postmortem.kernel.tasks.stack_groups import Stacks
    from postmortem.kernel.tasks.tasks import TaskList
    from postmortem.model.findings import Problem

    class _WithProblems(Protocol):
        """A fact that says what of it could not be read."""

        @property
        def problems(self) -> Sequence[Problem]: ...

    Found = TypeVar("Found", bound=_WithProblems)

_READ_AGAIN = 2
"""How often what contradicts itself is read again where memory changes meanwhile."""
_TAIL_LINES = 15
"""How much of the log's end is shown."""


_UNTYPED = "without types only the log and the stacks of the CPUs can be judged"
_WAY_OUT = "--btf or --vmlinux gives them (docs/support.md)"


def open_case(what: Recognised, options: Options) -> Case:
    """Open a dump.

    :raises postmortem.errors.PostmortemError: it can't be opened, or the given
        vmlinux is not of this kernel.
    """
    return DumpCase(what, options)


def _bytes_on_disk(path: Path) -> int:
    """What of a file is there: a size alone is only claimed."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def _written(path: Path) -> tuple[int, int] | None:
    """When a file was last written to, in nanoseconds, and its size."""
    try:
        found = path.stat()
    except OSError:  # removed meanwhile: what is open stays
        return None
    return found.st_mtime_ns, found.st_size


class DumpCase(Case):
    """Facts are read from memory when they are asked for."""

    def __init__(self, what: Recognised, options: Options) -> None:
        super().__init__(Input("", "", "", 0, True), options=options)
        self._file = what.file
        self._beside = what.beside
        reading(sum(_bytes_on_disk(path) for path in what.paths))
        # A running kernel's memory changes anyhow, and what was unpacked is a copy.
        self._watched = () if what.outer or what.kind is InputKind.KCORE else what.paths
        self._written = tuple(map(_written, self._watched))
        with self.timed("open"):
            self._core: Core | None = open_input(what, progress=options.progress)
        info = self._core.info
        self._input = Input(
            path=what.called or " ".join(map(str, info.paths)),
            kind=str(info.kind),
            format=info.format,
            size=info.size,
            complete=info.complete,
            lacks=info.lacks,
        )
        self._bare = System(release=info.osrelease, arch=info.arch)
        # A vmlinux of another build is an error of the opening, not of a fact.
        _ = self.dump

    @property
    def core(self) -> Core:
        """The open file below the program."""
        self._check_open()
        assert self._core is not None
        return self._core

    @cached_property
    def dump(self) -> Dump:
        options = self.options
        with self.timed("describe"):
            dump, problems = described(
                self.core,
                vmlinux=options.vmlinux,
                debug_dirs=options.debug_dirs,
                debuginfod=options.debuginfod,
                beside=self._beside.kernels,
                btf=options.btf,
            )
        self.problems.extend(problems)
        self._note(*dump.notes)
        return dump

    def _note(self, *sentences: str) -> None:
        self._input = replace(self._input, notes=(*self._input.notes, *sentences))

    @property
    def _vmcoreinfo(self) -> Mapping[str, str]:
        return self.core.info.vmcoreinfo

    @cached_property
    def _printk(self) -> Log:
        from postmortem.kernel.printk import Log, read_log

        prog, lines = self.prog, self._vmcoreinfo
        memory = None if self.core.info.kind is InputKind.KCORE else self.core.memory
        with self.timed("log"):
            problems = Problems()
            found = attempt(problems, "log", lambda: read_log(prog, lines, memory)) or Log(())
            problems.extend(found.problems)
            if self._beside.log is not None:
                found = self._with_saved(found, self._beside.log, problems)
        self.problems.extend(problems)
        return found

    def _with_saved(self, log: Log, path: Path, problems: Problems) -> Log:
        """The log with what only the file beside the dump has of it."""
        from postmortem.case.saved_log import OtherLogError, completed
        from postmortem.log.blocked import records_of

        try:
            whole = completed(log.records, list(records_of(str(path))), self._bare.release or "")
        except (OtherLogError, PostmortemError) as error:
            self._note(f"{path.name} beside the dump was not used: {error}")
            return log
        if not whole.added:
            return log
        if whole.whole:  # what the dump has lost of the log is there
            problems.clear()
        self._note(
            f"{whole.added} of the log's {len(whole.records)} messages are from {path.name}"
            " beside the dump, which lacks them"
        )
        user = (line for line, own in enumerate(whole.origin, 1) if own in log.user)
        return replace(log, records=whole.records, problems=(), user=frozenset(user))

    @property
    def log(self) -> Sequence[Record]:
        return self._printk.records

    @cached_property
    def reports(self) -> tuple[Report, ...]:
        from postmortem.log.scan import reports_from_records

        # What user space wrote to /dev/kmsg is no report of the kernel's.
        records = self._printk.kernel
        with self.timed("log"):
            return tuple(reports_from_records(records, self.core.info.arch)) if records else ()

    @cached_property
    def tasks(self) -> TaskList | None:
        from postmortem.kernel.tasks.tasks import all_tasks

        if not self._typed():
            return None
        with self.timed("facts"):
            # A task that exits takes the walk along to nowhere: the next one may go through.
            found = self._again("tasks", all_tasks)
        if found is not None:
            self.problems.extend(found.problems)
        return found

    def _again(self, what: str, read: Callable[[drgn.Program], Found]) -> Found | None:
        """A fact; read once more where it contradicts itself and memory changes meanwhile."""
        prog = self.prog
        found = attempt(self.problems, what, lambda: read(prog))
        for _ in range(_READ_AGAIN):
            if found is None or not found.problems or not self._moves():
                break
            keep(prog, read, None)
            again = attempt(Problems(), what, lambda: read(prog))
            if again is not None and len(again.problems) < len(found.problems):
                found = again
            keep(prog, read, found)
        return found

    def _moves(self) -> bool:
        """Whether the memory changes under the reader."""
        live = self._input.kind == InputKind.KCORE.value
        return live or tuple(map(_written, self._watched)) != self._written

    @cached_property
    def system(self) -> System:
        from postmortem.kernel.system import system

        tasks = self.tasks
        if tasks is None:
            return self._bare
        with self.timed("facts"):
            found, problems = system(self.prog, tasks, dict(self._vmcoreinfo))
        self.problems.extend(problems)
        return found

    @cached_property
    def cpus(self) -> tuple[TaskStack, ...]:
        from postmortem.kernel.cpu.bare import saved_stacks
        from postmortem.kernel.cpu.cpus import all_cpus

        dump = self.dump
        if not self._typed():
            with self.timed("facts"):
                return saved_stacks(dump.prog, self.core.info.registers)
        with self.timed("facts"):
            found = self._again("CPUs", all_cpus)
            if found is None:
                return ()
            self.problems.extend(found.problems)
            return tuple(
                replace(cpu.as_task_stack(), frames=dump.with_source(cpu.stack))
                for cpu in found.cpus
            )

    @cached_property
    def stacks(self) -> Stacks | None:
        from postmortem.kernel.tasks.stack_groups import all_stacks

        if not self._typed():
            return None
        prog = self.prog
        with self.timed("facts"):
            found = attempt(self.problems, "stacks", lambda: all_stacks(prog))
        if found is not None:
            self.problems.extend(found.problems)
        return found

    def _typed(self) -> bool:
        if not self.dump.has_types and self.dump.arch in SUPPORTED:
            self.problems.say("tasks, memory", f"{_UNTYPED}: {_WAY_OUT}")
        return self.dump.has_types

    def read_facts(self) -> None:
        # The order in which problems are listed.
        self.reports, self.system, self.cpus  # noqa: B018

    def _moved(self) -> bool:
        now = tuple(map(_written, self._watched))
        moved = any(a is not None and a != b for a, b in zip(now, self._written, strict=True))
        if moved:
            why = "the file was written to while it was read: what was found may contradict itself"
            self.problems.say("input", why)
        return moved

    def _log_tail(self) -> tuple[str, ...]:
        return tuple(
            record.text if record.time is None else f"[{record.time:12.6f}] {record.text}"
            for record in self.log[-_TAIL_LINES:]
        )

    def close(self) -> None:
        """Give memory and files back: nothing of the program may be used any more."""
        if self._core is not None:
            # What is kept there refers back to the program: a circle that C code hides.
            self._core.program.cache.clear()
        self._core = None
        if self._file is not None:
            self._file.close()
        for name in ("dump", "stacks", "tasks"):
            self.__dict__.pop(name, None)
        super().close()
