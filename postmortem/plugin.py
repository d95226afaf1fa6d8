"""The plugin contract and the discovery of plugins.

A plugin is a generator function with a name. It declares what it needs, reads
facts from its :class:`Context` and yields findings, tables and blocks::

    from postmortem.plugin import Context, plugin

    @plugin("uptime", needs=("dump",))
    def uptime(ctx: Context):
        '''Says how long the machine was up.'''
        ...
        yield Finding(...)

The same function runs in ``postmortem analyze``, as ``postmortem NAME FILE``
and from Python. docs/plugins.md is the guide.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from postmortem.errors import UsageError
from postmortem.model.findings import Block, Export, Finding, Problem, Table, Text
from postmortem.model.frame import Frame
from postmortem.model.report import Record, Report
from postmortem.model.result import Input, System

if TYPE_CHECKING:
    import drgn

    from postmortem.dump.debuginfo import DebugInfo, SourceLine

ENTRY_POINT_GROUP = "postmortem.plugins"
FIRST_PARTY = "postmortem_plugins"

NEEDS = {
    "log": "kernel messages, from a log or from a dump's printk buffer",
    "dump": "a dump whose memory can be read",
    "types": "a dump with types (BTF or DWARF)",
}
"""What a plugin can ask for. ``symbol:NAME`` and ``type:struct NAME`` are understood too."""

T = TypeVar("T")
_DAMAGED = (LookupError, ValueError, AttributeError, TypeError, ArithmeticError, struct.error)
"""What a damaged dump can cause besides drgn's own errors (see kernel/damage.py)."""
Result = Finding | Table | Block | Text | Export
Run = Callable[["Context"], Iterable[Result]]


@dataclass
class Context:
    """What a plugin may read. Everything is data or a ``drgn.Program``; nothing prints."""

    input: Input
    system: System
    records: tuple[Record, ...] = ()
    """The log, message by message."""
    reports: tuple[Report, ...] = ()
    """The kernel's own reports found in the log, first one first."""
    prog: drgn.Program | None = None
    """The dump, with types and symbols as far as they were found; ``None`` for a log."""
    has_types: bool = False
    debug: DebugInfo | None = None
    """DWARF of the same kernel, where it was found; it only adds to what the dump says."""
    named: bool = False
    """The user asked for this plugin by its name: list everything, not only what is wrong."""
    memo: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What judges keep for each other: an index of the reports ..."""
    problems: list[Problem] = field(default_factory=list)
    """Say here what could not be read: ``ctx.problem("task list", "page 0x.. excluded")``."""

    def problem(self, what: str, why: str) -> None:
        """Note something that limits the answer; said twice, it is kept once."""
        problem = Problem(what, why)
        if problem not in self.problems:
            self.problems.append(problem)

    def note(self, problems: Iterable[Problem]) -> None:
        """Take over the problems of a fact."""
        for problem in problems:
            self.problem(problem.what, problem.why)

    def attempt(self, what: str, read: Callable[[], T]) -> T | None:
        """Read a fact that the dump may not have; if so, note it and give ``None``."""
        try:
            return read()
        except Exception as exc:
            # Only what a dump can cause: drgn's own errors, lookups, damaged values.
            # Anything else is a defect of the caller's and is not hidden.
            if not isinstance(exc, _DAMAGED) and not (
                type(exc).__module__.startswith(("_drgn", "drgn"))
            ):
                raise
            self.problem(what, str(exc).partition("\n")[0] or type(exc).__name__)
            return None

    def lines_at(self, pc: int, *, is_return_address: bool) -> tuple[SourceLine, ...]:
        """Function, file and line at a text address, inlined ones first; empty without DWARF."""
        if self.debug is None or self.prog is None:
            return ()
        with contextlib.suppress(LookupError):  # code outside of every module
            module = self.prog.module(pc)
            if module.name != "kernel":
                self.debug.add_module(module)
        return self.debug.lines_at(pc, is_return_address=is_return_address)

    def with_source(self, frames: Sequence[Frame]) -> tuple[Frame, ...]:
        """The frames with file and line, and with the frames that were inlined into them."""
        if self.debug is None:
            return tuple(frames)
        result: list[Frame] = []
        for frame in frames:
            lines = self.lines_at(frame.pc, is_return_address=not frame.interrupted)
            for number, line in enumerate(lines):
                physical = number == len(lines) - 1
                result.append(
                    replace(
                        frame,
                        function=frame.function if physical else line.function,
                        offset=frame.offset if physical else None,
                        size=frame.size if physical else None,
                        file=line.file or None,
                        line=line.line or None,
                        inline=not physical,
                        interrupted=frame.interrupted and number == 0,
                    )
                )
            if not lines:
                result.append(frame)
        return tuple(result)

    def lacks(self, need: str) -> str | None:
        """Say why ``need`` is not met by this input, ``None`` if it is."""
        if need == "log":
            found = self.records or self.input.kind == "log"
            return None if found else "there is no kernel log"
        if self.prog is None:
            return "the input is a log, not a dump"
        if need == "dump":
            return None
        if need == "types":
            return None if self.has_types else "the dump has no types"
        what, _, name = need.partition(":")
        try:
            if what == "symbol":
                self.prog.symbol(name)
            else:
                self.prog.type(name)
        except LookupError:
            return f"this kernel has no {what} {name}"
        return None


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
    origin: str = ""
    """Where it came from: ``first-party``, an entry point, or a file."""


def plugin(
    name: str, *, needs: Iterable[str] = ("log",), in_analysis: bool = True
) -> Callable[[Run], Run]:
    """Declare a generator function as the plugin ``name``; its docstring is its help."""
    wanted = tuple(needs)
    for need in wanted:
        if need not in NEEDS and need.partition(":")[0] not in ("symbol", "type"):
            raise ValueError(f"plugin {name}: unknown need {need!r}")

    def declare(run: Run) -> Run:
        text = (run.__doc__ or "").strip()
        run.__postmortem_plugin__ = Plugin(  # type: ignore[attr-defined]
            name=name,
            run=run,
            needs=wanted,
            summary=text.partition("\n")[0],
            help=text,
            in_analysis=in_analysis,
        )
        return run

    return declare


def run_plugin(item: Plugin, ctx: Context) -> list[Result]:
    """Run one plugin; whatever goes wrong in it becomes one line under ``problems``.

    What it yielded before it failed is kept.
    """
    results: list[Result] = []
    try:
        for result in item.run(ctx):
            results.append(result)
    except Exception as exc:
        # A plugin may be anybody's code: no error of its own may end the report.
        reason = str(exc).strip().partition("\n")[0][:200]
        ctx.problem(f"plugin {item.name}", f"{type(exc).__name__}: {reason}")
    return results


# --- discovery ---------------------------------------------------------------


def discover(files: Iterable[str | Path] = ()) -> tuple[list[Plugin], list[Problem]]:
    """Find all plugins: first-party, entry points, the user's folder, then ``files``.

    One that can't be imported is a problem, except in ``files``: those were
    asked for by name.

    :raises UsageError: a file in ``files`` can't be loaded.
    """
    found: dict[str, Plugin] = {}
    problems: list[Problem] = []

    def take(load: Callable[[], ModuleType], origin: str) -> None:
        try:
            module = load()
        except Exception as exc:
            problems.append(Problem(f"plugin {origin}", f"{type(exc).__name__}: {exc}"))
            return
        for item in _declared(module, origin):
            if item.name in found:
                problems.append(
                    Problem(
                        f"plugin {origin}",
                        f"the name {item.name} is taken by {found[item.name].origin}",
                    )
                )
            else:
                found[item.name] = item

    package = importlib.import_module(FIRST_PARTY)
    for info in pkgutil.iter_modules(package.__path__):
        name = f"{FIRST_PARTY}.{info.name}"
        take(lambda name=name: importlib.import_module(name), "first-party")  # type: ignore[misc]
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        take(lambda entry=entry: _module_of(entry.load()), f"entry point {entry.name}")  # type: ignore[misc]
    for path in sorted(user_folder().glob("*.py")):
        take(lambda path=path: _load_file(path), str(path))  # type: ignore[misc]
    for file in files:
        try:
            module = _load_file(Path(file))
        except Exception as exc:
            raise UsageError(
                f"--plugin {file}: can't be loaded ({type(exc).__name__}: {exc})"
            ) from exc
        items = list(_declared(module, str(file)))
        if not items:
            raise UsageError(f"--plugin {file}: declares no plugin (no @plugin function in it)")
        found.update({item.name: item for item in items})
    return list(found.values()), problems


def user_folder() -> Path:
    """The user's own plugins: ``$XDG_CONFIG_HOME/postmortem/plugins``."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "postmortem" / "plugins"


def _declared(module: ModuleType, origin: str) -> Iterator[Plugin]:
    for value in vars(module).values():
        item: Any = getattr(value, "__postmortem_plugin__", None)
        if isinstance(item, Plugin):
            yield replace(item, origin=origin)


def _module_of(loaded: Any) -> ModuleType:
    """An entry point may name a module or a function in one."""
    if isinstance(loaded, ModuleType):
        return loaded
    holder = ModuleType("postmortem_entry_point")
    holder.plugin = loaded  # type: ignore[attr-defined]
    return holder


def _load_file(path: Path) -> ModuleType:
    digest = hashlib.sha1(str(path.resolve()).encode(), usedforsecurity=False).hexdigest()[:8]
    name = f"postmortem_plugin_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no Python file at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
