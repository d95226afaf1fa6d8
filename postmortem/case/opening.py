"""From a path to a case: what the input is decides which class reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from postmortem.case.base import Case, Options, Progress
from postmortem.errors import (
    PostmortemError,
    UnknownInputError,
    UnreadableInputError,
    UsageError,
)
from postmortem.inputs.folder import case_in
from postmortem.inputs.pipe import STDIN, Pipe, is_pipe, stdin_as_file
from postmortem.inputs.recognise import Format, Input, InputKind, identify_head, recognise
from postmortem.inputs.source import shown

OPENERS = {
    InputKind.VMCORE: "postmortem.case.dump",
    InputKind.KCORE: "postmortem.case.dump",
    InputKind.LOG: "postmortem.case.log",
}
"""The module that opens each kind of input, by its function ``open_case``.

By name: a log must not pay for the import of drgn. A new kind of input is a row
here, a module, and a row of ``inputs/recognise.py`` that knows its first bytes.
"""

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def open(paths: Paths, **options: Any) -> Case:
    """Open a dump (or the parts of one), ``/proc/kcore``, a log, or the folder of a crash.

    :param options: fields of :class:`~postmortem.case.base.Options`.
    :raises postmortem.errors.PostmortemError: the input can't be analysed at
        all, or an option makes no sense for it.
    """
    names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    given = _options(options)
    what = recognised([Path(name) for name in names], given.progress)
    with _called(what):
        try:
            case = _opener(what.kind)(what, given)
        except (UnknownInputError, UnreadableInputError) as error:
            if what.beside.log is None:
                raise
            case = _opened_log(what.beside.log, given, str(error))
    for sentence in what.beside.broken:
        case.problems.say("dump", sentence)
    return case


def _opener(kind: InputKind) -> Callable[[Input, Options], Case]:
    opener: Callable[[Input, Options], Case] = import_module(OPENERS[kind]).open_case
    return opener


def _opened_log(log: Path, options: Options, why: str) -> Case:
    """The log beside a dump of which nothing can be read."""
    case = _opener(InputKind.LOG)(recognise([log]), options)
    case.problems.say("dump", f"{why}; only the log beside it could be judged")
    return case


def recognised(paths: Sequence[Path], progress: Progress | None = None) -> Input:
    """What the paths are; ``-``, FIFOs and folders are looked into."""
    once = [path for path in paths if str(path) == "-" or is_pipe(path)]
    if once and len(paths) > 1:
        raise UsageError("standard input (-) or a pipe can't be one of several inputs")
    if once and is_pipe(once[0]):
        return _recognised_pipe(Pipe(once[0]), progress)
    if once:
        what = Input(InputKind.LOG, Format.TEXT, (stdin_as_file(),), called=STDIN)
        with _called(what):
            return replace(recognise(what.paths), called=STDIN)
    if len(paths) == 1 and _is_folder(paths[0]):
        return case_in(paths[0])
    return recognise(paths)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # no name of a file at all: recognise() says so
        return False


def _recognised_pipe(pipe: Pipe, progress: Progress | None) -> Input:
    """By its first block: a log is read as it comes, only a dump is kept."""
    found = identify_head(pipe.head, Path(pipe.name))
    if found.kind is InputKind.LOG:
        return replace(found, called=pipe.name, file=pipe)
    file = pipe.kept(progress)
    what = replace(found, paths=(Path(f"/proc/self/fd/{file.fileno()}"),), called=pipe.name)
    with _called(what):
        return replace(recognise(what.paths), called=pipe.name, file=file)


@contextmanager
def _called(what: Input) -> Iterator[None]:
    """In what is said of a makeshift path, say what the user knows it as."""
    try:
        yield
    except PostmortemError as error:
        if what.called is not None:
            error.args = (str(error).replace(shown(what.paths[0]), what.called),)
        raise


def _options(given: dict[str, Any]) -> Options:
    """Paths may be given as text, and one alone where there may be several."""

    def paths(value: Any) -> tuple[Path, ...]:
        several = (value,) if isinstance(value, str | os.PathLike) else value
        return tuple(Path(item) for item in several)

    unknown = set(given) - set(Options.__dataclass_fields__)
    if unknown:
        known = ", ".join(Options.__dataclass_fields__)
        raise UsageError(f"there is no option {sorted(unknown)[0]!r}; there are {known}")
    values = dict(given)
    for name in ("debug_dirs", "plugin_files"):
        if name in values:
            values[name] = paths(values[name])
    for name in ("vmlinux", "btf"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    return Options(**values)
