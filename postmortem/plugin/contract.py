"""What a plugin is, what it is given, and what it may yield."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from postmortem.case.attempt import attempt
from postmortem.case.base import Case
from postmortem.model.findings import Block, Export, Finding, Problem, Table, Text
from postmortem.model.frame import Frame
from postmortem.model.problems import Problems
from postmortem.model.report import Record, Report
from postmortem.model.result import Input, System
from postmortem.plugin.options import Option, values
from postmortem.rules.causes import Rule

if TYPE_CHECKING:
    import drgn

    from postmortem.dump.debuginfo import DebugInfo, SourceLine
    from postmortem.dump.dump import Dump

NEEDS = {
    "log": "kernel messages, from a log or from a dump's printk buffer",
    "dump": "a dump whose memory can be read",
    "types": "a dump with types (BTF or DWARF)",
}
"""What a plugin can ask for. ``symbol:NAME`` and ``type:struct NAME`` are understood too."""

T = TypeVar("T")
Result = Finding | Table | Block | Text | Export
RESULTS = (Finding, Table, Block, Text, Export)
"""What a plugin may yield."""
Run = Callable[..., Iterable[Result]]
R = TypeVar("R", bound=Run)


class Context:
    """What a plugin may read. Everything is data or a ``drgn.Program``; nothing prints.

    A plugin that needs a dump is given a :class:`DumpContext`.
    """

    def __init__(self, case: Case, *, named: bool = False) -> None:
        self.case = case
        """The open input: more facts, each read when it is asked for."""
        self.named = named
        """The user asked for this plugin by its name: list everything, not only what is wrong."""
        self.problems = Problems()
        """What the plugins could not do. What a fact could not read is in the case's own."""
        self.causes: tuple[Rule, ...] = ()
        """Rules of plugins that say which finding explains which."""
        self.memo: dict[str, Any] = {}
        """What judges keep for each other: an index of the reports ..."""

    @classmethod
    def given(
        cls,
        input: Input,
        system: System | None = None,
        records: Sequence[Record] = (),
        reports: Sequence[Report] = (),
        *,
        dump: Dump | None = None,
        named: bool = False,
    ) -> Context:
        """A context of facts that are at hand, without an input to read: for tests."""
        kind = DumpContext if dump is not None else cls
        return kind(Case(input, system, records, reports, dump=dump), named=named)

    @property
    def input(self) -> Input:
        """The file."""
        return self.case.input

    @property
    def system(self) -> System:
        """The machine."""
        return self.case.system

    @property
    def records(self) -> Sequence[Record]:
        """The log, message by message."""
        return self.case.log

    @property
    def reports(self) -> tuple[Report, ...]:
        """The kernel's own reports found in the log, first one first."""
        return self.case.reports

    @property
    def dump(self) -> Dump | None:
        """The dump and what it can be read with; ``None`` for a log."""
        return self.case.dump

    @property
    def prog(self) -> drgn.Program | None:
        """The dump's memory; ``None`` for a log."""
        return self.dump.prog if self.dump is not None else None

    @property
    def has_types(self) -> bool:
        """Whether there is a dump whose structs can be read."""
        return self.dump is not None and self.dump.has_types

    @property
    def debug(self) -> DebugInfo | None:
        """DWARF of the same kernel, where it was found."""
        return self.dump.debug if self.dump is not None else None

    def problem(self, what: str, why: str) -> None:
        """Note something that limits the answer; said twice, it is kept once."""
        self.problems.say(what, why)

    def note(self, problems: Iterable[Problem]) -> None:
        """Take over the problems of a fact."""
        self.problems.extend(problems)

    def attempt(self, what: str, read: Callable[[], T]) -> T | None:
        """Read a fact that the dump may not have; if so, note it and give ``None``."""
        return attempt(self.problems, what, read)

    def lines_at(self, pc: int, *, is_return_address: bool) -> tuple[SourceLine, ...]:
        """Function, file and line at a text address, inlined ones first; empty without DWARF."""
        if self.dump is None:
            return ()
        return self.dump.lines_at(pc, is_return_address=is_return_address)

    def with_source(self, frames: Sequence[Frame]) -> tuple[Frame, ...]:
        """The frames with file and line, and with the frames that were inlined into them."""
        return tuple(frames) if self.dump is None else self.dump.with_source(frames)

    def lacks(self, need: str) -> str | None:
        """Say why ``need`` is not met by this input, ``None`` if it is."""
        if need == "log":
            found = self.input.kind == "log" or self.records
            return None if found else "there is no kernel log"
        dump = self.dump
        if dump is None:
            return "the input is a log, not a dump"
        if need == "dump":
            return None
        if need == "types":
            return None if dump.has_types else "the dump has no types"
        what, _, name = need.partition(":")
        try:
            if what == "symbol":
                dump.prog.symbol(name)
            else:
                dump.prog.type(name)
        except LookupError:
            return f"this kernel has no {what} {name}"
        return None


class DumpContext(Context):
    """The context of a plugin that declared to need a dump: there is one."""

    @property
    def dump(self) -> Dump:
        """The dump and what it can be read with."""
        dump = self.case.dump
        assert dump is not None, "a plugin that needs a dump is not run on a log"
        return dump

    @property
    def prog(self) -> drgn.Program:
        """The dump's memory."""
        return self.dump.prog


@dataclass(frozen=True)
class Plugin:
    """A plugin as discovered: the function and what it declared."""

    name: str
    run: Run
    needs: tuple[str, ...]
    summary: str
    help: str
    in_analysis: bool
    """Runs in ``postmortem analyze``; otherwise only when named."""
    draws: bool = False
    """Its drawings stand on the page of an analysis (``-o FILE.html``) all the same."""
    origin: str = ""
    """Where it came from: ``first-party``, an entry point, or a file."""
    options: tuple[Option, ...] = ()
    causes: tuple[Rule, ...] = ()
    """What it knows of causes: rules beside those of rules/causes.py."""

    @property
    def needs_dump(self) -> bool:
        """Whether it is given a :class:`DumpContext`: it declared a need that no log meets."""
        return any(need != "log" for need in self.needs)

    def values(self, given: Mapping[str, object]) -> dict[str, Any]:
        """The keyword arguments of a run: what was given, or the defaults.

        :raises UsageError: an option is not one of the plugin's, or its value is wrong.
        """
        return values(self.name, self.options, given)


def plugin(
    name: str,
    *,
    needs: Iterable[str] = ("log",),
    in_analysis: bool = True,
    draws: bool = False,
    options: Iterable[Option] = (),
    causes: Iterable[Rule] = (),
) -> Callable[[R], R]:
    """Declare a generator function as the plugin ``name``; its docstring is its help.

    :param draws: it is no part of an analysis, but a page of one shows its drawings.
    :param causes: which findings explain which, beside what rules/causes.py knows.
    :raises ValueError: a need is not known, or an option is not a keyword of the function.
    """
    wanted = tuple(needs)
    declared = tuple(options)
    for need in wanted:
        if need not in NEEDS and need.partition(":")[0] not in ("symbol", "type"):
            raise ValueError(f"plugin {name}: unknown need {need!r}")

    def declare(run: R) -> R:
        _check_options(name, run, declared)
        text = inspect.cleandoc(run.__doc__ or "")
        run.__postmortem_plugin__ = Plugin(  # type: ignore[attr-defined]
            name=name,
            run=run,
            needs=wanted,
            summary=text.partition("\n")[0],
            help=text,
            in_analysis=in_analysis,
            draws=draws,
            options=declared,
            causes=tuple(causes),
        )
        return run

    return declare


def _check_options(name: str, run: Run, options: Sequence[Option]) -> None:
    parameters = inspect.signature(run).parameters
    if any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
        return
    for item in options:
        if item.name not in parameters:
            raise ValueError(f"plugin {name}: {run.__name__}() takes no {item.name!r}")
