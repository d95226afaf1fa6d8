"""The commands by their names, the built-in ones and every plugin, and the way out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING

import click

from postmortem import __version__
from postmortem.cli import EXIT_INTERRUPTED
from postmortem.cli.commands import BUILT_IN, analyze
from postmortem.cli.config import defaults
from postmortem.cli.options import FILE
from postmortem.cli.output import ReaderLeft, complain, silence_stdout
from postmortem.cli.plugins import plugin_command, plugin_files
from postmortem.cli.shipped import SHIPPED
from postmortem.errors import (
    EXIT_OK,
    EXIT_UNREADABLE,
    EXIT_USAGE,
    PostmortemError,
    missing_library,
    not_installed,
)

if TYPE_CHECKING:
    from postmortem.plugin import Plugin

EXIT_INTERNAL = 70
"""A defect of postmortem itself (EX_SOFTWARE of sysexits.h)."""
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


LATER = {
    "bucket": "postmortem.cli.triage_bucket",
    "trace": "postmortem.cli.trace",
    "triage": "postmortem.cli.triage",
}
"""Commands of modules that are imported when they are asked for: `analyze` has no need to wait."""


class Commands(click.Group):
    """The built-in commands, and every plugin under its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._built_in(ctx), *sorted(self._plugins(ctx))]

    def _built_in(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *LATER})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in LATER:
            command: click.Command = getattr(import_module(LATER[name]), name)
            return command
        builtin = super().get_command(ctx, name)
        if builtin is not None:
            return builtin
        item = self._plugins(ctx).get(name)
        return None if item is None else plugin_command(item, HELP)

    def _plugins(self, ctx: click.Context) -> dict[str, Plugin]:
        """All plugins by name, found once a run."""
        memo = ctx.find_root().meta
        if "postmortem.plugins" not in memo:
            from postmortem.plugin import discover

            found, _ = discover(plugin_files(ctx))
            memo["postmortem.plugins"] = {item.name: item for item in found}
        plugins: dict[str, Plugin] = memo["postmortem.plugins"]
        return plugins

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            ctx.default_map = {name: defaults(name, command, analyze)}
            return name, command, args[1:]
        raise click.UsageError(f"no command {name!r}{self._suggestion(ctx, name)}", ctx)

    def _suggestion(self, ctx: click.Context, name: str) -> str:
        if os.path.exists(name):  # noqa: PTH110 - a name may be no valid path at all
            return f"; to analyse the file: postmortem analyze {name}"
        import difflib

        near = difflib.get_close_matches(name, self.list_commands(ctx), 1)
        return f"; did you mean {near[0]!r}?" if near else ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        builtin = set(self._built_in(ctx))
        rows: dict[str, list[tuple[str, str]]] = {"Commands": [], "Plugins (FILE)": []}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                group = "Commands" if name in builtin else "Plugins (FILE)"
                rows[group].append((name, command.get_short_help_str(limit=70)))
        for title, lines in rows.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


@click.group(cls=Commands, context_settings=HELP)
@click.version_option(__version__, prog_name="postmortem", message="%(prog)s %(version)s")
@click.option(
    "--plugin",
    metavar="FILE",
    multiple=True,
    type=FILE,
    help="Load the plugins in a Python file too.",
)
def cli(plugin: tuple[str, ...]) -> None:
    """Say what killed a Linux machine: from its vmcore, /proc/kcore or log alone.

    \b
    Exit status: 0 analysed, 1 analysed with problems that limit the answer,
    2 usage, 3 not a dump or log we know, 4 unreadable input.
    """


for _command in (*BUILT_IN, *SHIPPED):
    cli.add_command(_command)


# --- the way out -----------------------------------------------------------------


class Terminated(BaseException):
    """Somebody ends this process: what was begun is cleaned up first."""


def run(args: Sequence[str] | None) -> int:
    """Run a command line; the exit status."""
    ended = [signal.SIGTERM, signal.SIGHUP]
    before = {number: signal.getsignal(number) for number in ended}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # nohup ignores SIGHUP, and goes on doing so
            signal.signal(number, _terminate)
    try:
        return _run(args)
    except Terminated as exc:
        return 128 + int(exc.args[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)


def _run(args: Sequence[str] | None) -> int:
    try:
        status = cli.main(args, prog_name="postmortem", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else EXIT_OK
    except PostmortemError as exc:
        complain(str(exc))
        return exc.exit_status
    except click.exceptions.NoArgsIsHelpError as exc:
        help_text = exc.ctx.get_help() if exc.ctx is not None else exc.format_message()
        print(help_text, file=sys.stderr)
        return EXIT_USAGE
    except click.ClickException as exc:
        complain(exc.format_message())
        if isinstance(exc, click.UsageError) and exc.ctx is not None:
            print(f"Try '{exc.ctx.command_path} --help' for help.", file=sys.stderr)
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt) as exc:
        return _interrupted(exc)
    except (ReaderLeft, BrokenPipeError):
        silence_stdout()
        return EXIT_BROKEN_PIPE
    except SystemExit as exc:
        # How click leaves: 0 when a shell was told what completes, 1 when the reader of help left.
        return EXIT_OK if exc.code == 0 else EXIT_BROKEN_PIPE
    except MemoryError:
        complain("not enough memory for this input")
        return EXIT_UNREADABLE
    except OSError as exc:
        silence_stdout()
        complain(f"input or output failed: {exc}")
        return EXIT_UNREADABLE
    except Exception as exc:
        if os.environ.get("POSTMORTEM_DEBUG") == "1":
            raise
        library = missing_library(exc)
        if library is not None:
            complain(f"{not_installed(library)}, and this input can't be read without it")
            return EXIT_UNREADABLE
        complain(
            f"internal error ({type(exc).__name__}: {str(exc)[:200]}); please report it with the"
            " output of the same command under POSTMORTEM_DEBUG=1"
        )
        return EXIT_INTERNAL


def _interrupted(exc: BaseException) -> int:
    """Say where it was, if somebody else's code was running."""
    told = next((str(e) for e in (exc, exc.__cause__, exc.__context__) if e and e.args), "")
    if told:
        complain(f"interrupted: {told} was running")
    return EXIT_INTERRUPTED
