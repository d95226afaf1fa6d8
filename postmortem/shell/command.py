"""What a command of the shell is, and the table of all of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from postmortem.errors import UsageError

if TYPE_CHECKING:
    from postmortem.plugin import Plugin
    from postmortem.shell.session import Session

HELP: dict[str, Any] = {"help_option_names": ["--help"], "max_content_width": 100}
PASSED_ON = {**HELP, "ignore_unknown_options": True}
"""For a command that knows some options itself and passes the others on."""


@dataclass(frozen=True)
class Command:
    """A word that the shell knows, with what it runs."""

    name: str
    topic: str
    parser: click.Command
    """Takes the arguments; the session is its context's object."""
    raw: bool = False
    """The rest of the line is one argument: an expression, another command."""

    @property
    def summary(self) -> str:
        return self.parser.get_short_help_str(limit=70)

    def run(self, session: Session, rest: str) -> Any:
        """Run it with arguments as they were typed; what it gives back."""
        try:
            words = _raw(rest, self.parser) if self.raw else shlex.split(rest)
        except ValueError as exc:
            raise UsageError(f"{self.name}: {exc}") from None
        try:
            with self.parser.make_context(self.name, words, obj=session) as ctx:
                return self.parser.invoke(ctx)
        except click.exceptions.Exit:
            return None
        except click.exceptions.NoArgsIsHelpError as exc:
            session.out.write(exc.ctx.get_help() + "\n" if exc.ctx else "")
            return None

    def help(self) -> str:
        """What ``help NAME`` prints."""
        return self.parser.get_help(click.Context(self.parser, info_name=self.name))


def _raw(rest: str, parser: click.Command) -> list[str]:
    """The command's own options in front, and what follows as one word."""
    words: list[str] = []
    known = {text for parameter in parser.params for text in parameter.opts} | {"--help"}
    while rest.split(" ", 1)[0] in known:
        word, _, rest = rest.partition(" ")
        words.append(word)
        rest = rest.lstrip()
    # A dash may begin an expression: what follows is no option.
    return [*words, "--", rest] if rest else words


_BUILT_IN: dict[str, Command] = {}


def command(
    name: str, topic: str, *, raw: bool = False, settings: Mapping[str, Any] = HELP
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function a command; it gets the session first, then what click parsed."""

    def made(function: Callable[..., Any]) -> Callable[..., Any]:
        parser = click.command(name, context_settings=dict(settings))(click.pass_obj(function))
        _BUILT_IN[name] = Command(name, topic, parser, raw)
        return function

    return made


@cache
def _built_in() -> dict[str, Command]:
    # Each registers its own.
    from postmortem.shell.commands import (  # noqa: F401
        code,
        collections,
        facilities,
        files,
        judging,
        listing,
        log,
        machine,
        memory,
        network,
        own,
        search,
        slabs,
        stacks,
        values,
    )

    return _BUILT_IN


def commands_of(session: Session) -> dict[str, Command]:
    """Our commands in a session: what is built in, and a command for every plugin."""
    plugins = {item.name: plugin_command(item) for item in session.case.plugins}
    return {**plugins, **_built_in()}


@cache
def plugin_command(item: Plugin) -> Command:
    """A plugin with its options, as it is on the command line but for the file."""
    from postmortem.cli.options import plugin_options

    @plugin_options(item.options)
    @click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/json.md).")
    @click.option("-v", "--verbose", is_flag=True, help="Leave nothing out.")
    @click.pass_obj
    def run(session: Session, /, as_json: bool, verbose: bool, **options: Any) -> Any:
        from postmortem.render.output import writer

        analysis = session.case.run(item.name, **options)
        writer(analysis, as_json=as_json, verbose=verbose, plugin=True)(session.out)
        return analysis

    from postmortem.cli.plugins import clean_help

    parser = click.command(
        item.name, help=clean_help(item.help), short_help=item.summary, context_settings=HELP
    )(run)
    return Command(item.name, "diagnosis", parser)
