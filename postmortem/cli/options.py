"""Options that several commands share, and those that plugins declare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postmortem.log.architectures import spelled

if TYPE_CHECKING:
    from postmortem.plugin.options import Option


Command = Callable[..., Any]

FILE = click.Path(readable=False, path_type=str)
"""A name that a shell completes; whether the file is there is looked at when it is opened."""
FOLDER = click.Path(file_okay=False, readable=False, path_type=str)


def input_options(function: Command) -> Command:
    """What can be said about the input of an analysis."""
    return _with(
        function,
        click.option(
            "--vmlinux",
            metavar="FILE",
            type=FILE,
            help="Debug information: the vmlinux of the same build.",
        ),
        click.option(
            "--btf",
            metavar="FILE",
            type=FILE,
            help="Types of the kernel, if its memory has none: a BTF file or its vmlinux.",
        ),
        click.option(
            "--debug-dir",
            "debug_dirs",
            metavar="DIR",
            type=FOLDER,
            multiple=True,
            help="Look for debug information here too (repeatable).",
        ),
        click.option(
            "--debuginfod/--no-debuginfod",
            default=False,
            help="Ask the servers in DEBUGINFOD_URLS for debug information; else nothing leaves"
            " this machine.",
        ),
    )


def output_options(function: Command) -> Command:
    """Where an analysis goes, and in which form."""
    return _with(
        function,
        click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/json.md)."),
        click.option("--md", "as_markdown", is_flag=True, help="Markdown, for a bug tracker."),
        redact_option,
        click.option(
            "-o",
            "--output",
            metavar="FILE",
            type=FILE,
            help="Write to FILE; .json, .html, .md, .csv choose the form, with some commands .svg.",
        ),
        click.option("-v", "--verbose", is_flag=True, help="Leave nothing out."),
        click.option(
            "--pager/--no-pager",
            default=True,
            help="With -v on a terminal: show it in $PAGER (less), or print it all at once.",
        ),
    )


def redact_option(function: Command) -> Command:
    """For what leaves the house."""
    return click.option(
        "--redact",
        is_flag=True,
        help="Leave out what names machines, networks and people, and memory of processes.",
    )(function)


def _with(function: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        function = option(function)
    return function


def plugin_options(options: Sequence[Option]) -> Callable[[Command], Command]:
    """The options that a plugin declared, as the command line's."""
    return lambda function: _with(function, *map(_click_option, options))


def _click_option(item: Option) -> Callable[[Command], Command]:
    shown = item.default is not None and item.type is not bool
    if item.type is bool:
        return click.option(item.flag, item.name, is_flag=True, default=False, help=item.help)
    kind: Any = _KINDS.get(item.type, click.STRING)
    if item.choices:
        kind = click.Choice(item.choices)
    default = str(getattr(item.default, "value", item.default)) if shown else None
    return click.option(
        item.flag,
        item.name,
        type=kind,
        default=default,
        show_default=shown,
        metavar=item.metavar,
        help=item.help,
    )


_KINDS: dict[type[Any], Any] = {
    int: click.INT,
    float: click.FLOAT,
    Path: click.Path(path_type=Path),
}


def architecture(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """An architecture, as the kernel's tree, uname or a distribution writes it."""
    try:
        return None if value is None else spelled(value)
    except LookupError as error:
        raise click.BadParameter(str(error), ctx, param) from None
