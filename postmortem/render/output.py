"""Which form an analysis is written in: the name of the output chooses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from postmortem.errors import UsageError
from postmortem.model.result import Analysis

Writer = Callable[[IO[str]], object]

_TEXT = ("", "txt", "text", "log")
_PAGE = ("html", "htm")
_MARKDOWN = ("md", "markdown")
_SUFFIX = re.compile(r"\.([a-z][a-z0-9_-]{0,11})")
"""A suffix has a letter first: ``report.2026`` is a name of its own."""


def writer(
    analysis: Analysis,
    name: str | None = None,
    *,
    as_json: bool = False,
    as_markdown: bool = False,
    verbose: bool = False,
    plugin: bool = False,
) -> Writer:
    """What writes ``analysis`` to an open file.

    :param name: Of the file; ``None`` for standard output.
    :param plugin: One plugin was asked by its name: no verdict and no banner.
    :raises UsageError: nothing writes files of such a name.
    """
    suffix = _suffix(name)
    if as_json and as_markdown:
        raise UsageError("--json contradicts --md; choose one of them")
    if as_json and suffix not in (*_TEXT, "json"):
        raise UsageError(f"--json contradicts the name of {name}; choose one of them")
    if as_markdown and suffix not in (*_TEXT, *_MARKDOWN):
        raise UsageError(f"--md contradicts the name of {name}; choose one of them")
    if as_json or suffix == "json":
        from postmortem.render.json import print_json

        return lambda file: print_json(analysis, file)
    if suffix in _PAGE:
        from postmortem.render.html import print_html

        return lambda file: print_html(analysis, file, verbose=verbose, plugin=plugin)
    if as_markdown or suffix in _MARKDOWN:
        from postmortem.render.markdown import print_markdown

        return lambda file: print_markdown(analysis, file, verbose=verbose, plugin=plugin)
    if suffix in _TEXT:
        return _text_writer(analysis, verbose=verbose, plugin=plugin)
    found = _data_writer(analysis, suffix)
    if found is None:
        offered = ", ".join(f".{form}" for form in forms(analysis))
        raise UsageError(
            f"this command makes no .{suffix}; the name of {name} may end in {offered}"
        )
    return found


def is_page(name: str | None) -> bool:
    """Whether a file of this name is written as a page, which shows pictures."""
    return _suffix(name) in _PAGE


def forms(analysis: Analysis) -> list[str]:
    """The suffixes that this analysis can be written as."""
    from postmortem.render.csv import tables_of

    csv = ["csv"] if tables_of(analysis) else []
    return ["txt", "json", "html", "md", *csv, *dict.fromkeys(e.suffix for e in analysis.exports)]


def _suffix(name: str | None) -> str:
    found = _SUFFIX.fullmatch(Path(name or "").suffix.lower())
    return found[1] if found else ""


def _text_writer(analysis: Analysis, *, verbose: bool, plugin: bool) -> Writer:
    from postmortem.render.text import print_plugin, print_report

    if plugin:
        return lambda file: print_plugin(analysis, file, verbose=verbose)
    return lambda file: print_report(analysis, file, verbose=verbose)


def _data_writer(analysis: Analysis, suffix: str) -> Writer | None:
    """Tables, drawings, and what outside plugins export; a plugin's own form wins."""
    export = next((e for e in analysis.exports if e.suffix == suffix), None)
    if export is not None:
        from postmortem.render.exports import draw
        from postmortem.render.words import machine_name

        found = export
        if isinstance(found.data, bytes):
            return _bytes_writer(found.data)
        return lambda file: file.write(draw(found, machine_name(analysis)))
    if suffix == "csv":
        from postmortem.render.csv import print_csv, tables_of

        tables = tables_of(analysis)
        return (lambda file: print_csv(tables, file)) if tables else None
    return None


def _bytes_writer(data: bytes) -> Writer:
    """What is no text goes past the encoding of the file."""

    def write(file: IO[str]) -> None:
        file.flush()
        file.buffer.write(data)  # type: ignore[attr-defined]

    return write
