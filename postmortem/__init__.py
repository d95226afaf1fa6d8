"""Says what killed a Linux machine, from its vmcore, /proc/kcore or log alone.

    with postmortem.open("vmcore") as case:
        print(case.analyze().verdict.title)

docs/library.md is the guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postmortem.case import Case
    from postmortem.case.opening import Paths
    from postmortem.model.result import Analysis

__version__ = "0.1.0"

__all__ = ("__version__", "open", "read_json")


def open(paths: Paths, **options: Any) -> Case:
    """Open a dump (or the parts of one), ``/proc/kcore``, or a log.

    :param options: ``vmlinux``, ``debug_dirs``, ``debuginfod``, ``plugin_files``,
        ``progress``: see :class:`postmortem.case.Options`.
    :raises postmortem.errors.PostmortemError: one sentence says what is wrong.
    """
    # Nothing is imported before it is used: this package is also that of the command line.
    from postmortem.case.opening import open

    return open(paths, **options)


def read_json(document: str | bytes | Mapping[str, Any]) -> Analysis:
    """Read an analysis back that ``--json`` or :func:`postmortem.render.json.document` wrote.

    :raises ValueError: it is no such document.
    """
    from postmortem.render.json import read

    return read(document)
