"""From a path to a case: what the input is decides which class reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from postmortem.case.base import Case, Options
from postmortem.errors import UsageError
from postmortem.inputs.recognise import Format, Input, InputKind, recognise
from postmortem.inputs.text import is_pstore_directory

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
    """Open a dump (or the parts of one), ``/proc/kcore``, or a log.

    :param options: fields of :class:`~postmortem.case.base.Options`.
    :raises postmortem.errors.PostmortemError: the input can't be analysed at
        all, or an option makes no sense for it.
    """
    names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    what = recognised([Path(name) for name in names])
    opener: Callable[[Input, Options], Case] = import_module(OPENERS[what.kind]).open_case
    return opener(what, _options(options))


def recognised(paths: Sequence[Path]) -> Input:
    """What the paths are; the records of a pstore and standard input are logs."""
    if len(paths) == 1 and (str(paths[0]) == "-" or is_pstore_directory(paths[0])):
        return Input(InputKind.LOG, Format.TEXT, tuple(paths))
    return recognise(paths)


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
    if values.get("vmlinux") is not None:
        values["vmlinux"] = Path(values["vmlinux"])
    return Options(**values)
