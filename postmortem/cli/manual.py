"""The manual page, written from the commands themselves (man-pages(7), groff_man(7))."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from postmortem import __version__

_STATUSES = (
    ("0", "analysed"),
    ("1", "analysed, with problems that limit the answer (they are listed)"),
    ("2", "usage: the command line, the wrong vmlinux, an output that can't be written"),
    ("3", "not a dump or log that postmortem knows"),
    ("4", "the input can't be read"),
    ("70", "a defect of postmortem"),
    ("130, 141", "interrupted; the reader of the output left"),
)
_ENVIRONMENT = (
    ("TMPDIR", "Where a dump is unpacked, or kept when it comes through a pipe (/var/tmp)."),
    ("PAGER", "Shows long reports on a terminal (less)."),
    ("NO_COLOR", "If set, nothing is coloured."),
    ("DEBUGINFOD_URLS", "Servers that --debuginfod asks; without that option none is."),
    ("POSTMORTEM_DEBUG", "1 shows where a defect of postmortem happened."),
)
_FILES = (
    ("~/.config/postmortem/config", "Options for every run: option = value below [postmortem]."),
    ("~/.config/postmortem/plugins/*.py", "Plugins of one's own."),
    ("/usr/lib/debug", "Debug information is looked for here."),
)


def page(root: click.Command, ctx: click.Context) -> str:
    """The whole page, in roff."""
    assert isinstance(root, click.Group)
    return "\n".join(_lines(root, ctx)) + "\n"


def _lines(root: click.Group, ctx: click.Context) -> Iterator[str]:
    yield f'.TH POSTMORTEM 1 "" "postmortem {__version__}" "User Commands"'
    yield ".SH NAME"
    summary = (root.help or "").partition("\n")[0].rstrip(".")
    yield f"postmortem \\- {_text(summary[:1].lower() + summary[1:])}"
    yield ".SH SYNOPSIS"
    commands = [(name, root.get_command(ctx, name)) for name in root.list_commands(ctx)]
    for name, command in commands:
        if command is not None:
            yield f".B postmortem {_text(name)}"
            yield _text(" ".join(command.collect_usage_pieces(ctx)))
            yield ".br"
    yield ".SH COMMANDS"
    for name, command in commands:
        if command is not None:
            yield from _command(name, command, ctx)
    yield from _table("EXIT STATUS", _STATUSES)
    yield from _table("ENVIRONMENT", _ENVIRONMENT)
    yield from _table("FILES", _FILES)
    yield ".SH SEE ALSO"
    yield ".BR crash (8), dmesg (1), makedumpfile (8), kdump (5)"


def _command(name: str, command: click.Command, ctx: click.Context) -> Iterator[str]:
    yield f".SS {_text(name)}"
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    for parameter in command.get_params(click.Context(command, info_name=name, parent=ctx)):
        record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if record is not None:
            yield ".TP"
            yield f".B {_text(record[0])}"
            yield _text(record[1])


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        verbatim = bool(lines) and lines[0] == "\b"
        yield ".nf" if verbatim else ".PP"
        yield from map(_text, lines[verbatim:])
        if verbatim:
            yield ".fi"


def _table(title: str, rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in rows:
        yield ".TP"
        yield f".B {_text(name)}"
        yield _text(text)


def _text(text: str) -> str:
    """As roff prints it unchanged: a dash is a minus, a leading dot or quote is no request."""
    text = text.strip().replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text
