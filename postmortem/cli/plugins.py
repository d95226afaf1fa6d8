"""A command for every plugin, with the options that it declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from postmortem.cli.analysing import analyse
from postmortem.cli.options import FILE, input_options, output_options, plugin_options
from postmortem.render.clean import clean

if TYPE_CHECKING:
    from postmortem.plugin import Plugin


def plugin_files(ctx: click.Context) -> tuple[str, ...]:
    """The files that were named before the command."""
    return tuple(ctx.find_root().params.get("plugin") or ())


def plugin_command(item: Plugin, settings: dict[str, Any]) -> click.Command:
    """``postmortem NAME FILE``: run this plugin only."""

    @click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
    @plugin_options(item.options)
    @output_options
    @input_options
    @click.pass_context
    def run(ctx: click.Context, /, files: tuple[str, ...], **given: Any) -> int:
        options = {option.name: given.pop(option.name) for option in item.options}
        return analyse(
            files, plugin=item.name, options=options, plugin_files=plugin_files(ctx), **given
        )

    needs = ", ".join(item.needs) or "nothing"
    text = f"{item.help}\n\nNeeds: {needs}. From: {item.origin}."
    return click.command(
        item.name, help=clean_help(text), short_help=item.summary, context_settings=settings
    )(run)


def clean_help(text: str) -> str:
    """A plugin's docstring for a terminal: its lines stay lines."""
    return "\n".join(clean(line) for line in text.splitlines())
