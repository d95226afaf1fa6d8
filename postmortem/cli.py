"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

import postmortem
from postmortem import __version__
from postmortem.errors import (
    EXIT_LIMITED,
    EXIT_OK,
    EXIT_UNREADABLE,
    EXIT_USAGE,
    PostmortemError,
    UnknownInputError,
    UnreadableInputError,
    UsageError,
)
from postmortem.render.clean import clean

if TYPE_CHECKING:
    from postmortem.model.result import Analysis
    from postmortem.plugin import Plugin

EXIT_INTERNAL = 70
"""A defect of postmortem itself (EX_SOFTWARE of sysexits.h)."""
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """The built-in commands, and every plugin under its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(_plugins(ctx))]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        builtin = super().get_command(ctx, name)
        if builtin is not None:
            return builtin
        item = _plugins(ctx).get(name)
        return None if item is None else _plugin_command(item)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        raise click.UsageError(f"no command {name!r}{self._suggestion(ctx, name)}", ctx)

    def _suggestion(self, ctx: click.Context, name: str) -> str:
        if os.path.exists(name):  # noqa: PTH110 - a name may be no valid path at all
            return f"; to analyse the file: postmortem analyze {name}"
        import difflib

        near = difflib.get_close_matches(name, self.list_commands(ctx), 1)
        return f"; did you mean {near[0]!r}?" if near else ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        builtin = set(super().list_commands(ctx))
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


def _plugin_files(ctx: click.Context) -> tuple[str, ...]:
    return tuple(ctx.find_root().params.get("plugin") or ())


def _plugins(ctx: click.Context) -> dict[str, Plugin]:
    """All plugins by name, found once a run."""
    memo = ctx.find_root().meta
    if "postmortem.plugins" not in memo:
        from postmortem.plugin import discover

        found, problems = discover(_plugin_files(ctx))
        memo["postmortem.plugins"] = {item.name: item for item in found}
        memo["postmortem.plugin_problems"] = problems
    plugins: dict[str, Plugin] = memo["postmortem.plugins"]
    return plugins


@click.group(cls=Commands, context_settings=HELP)
@click.version_option(__version__, prog_name="postmortem", message="%(prog)s %(version)s")
@click.option(
    "--plugin", metavar="FILE", multiple=True, help="Load the plugins in a Python file too."
)
def cli(plugin: tuple[str, ...]) -> None:
    """Say what killed a Linux machine: from its vmcore, /proc/kcore or log alone.

    \b
    Exit status: 0 analysed, 1 analysed with problems that limit the answer,
    2 usage, 3 not a dump or log we know, 4 unreadable input.
    """


# --- options that several commands share -----------------------------------------


def _input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option(
            "--vmlinux", metavar="FILE", help="Debug information: the vmlinux of the same build."
        ),
        click.option(
            "--debug-dir",
            "debug_dirs",
            metavar="DIR",
            multiple=True,
            help="Look for debug information here too (repeatable).",
        ),
        click.option(
            "--debuginfod/--no-debuginfod",
            default=True,
            help="Ask the servers in DEBUGINFOD_URLS, or none.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/json.md)."),
        click.option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write to FILE; .json, .html, .csv choose the form, with some commands .svg.",
        ),
        click.option("-v", "--verbose", is_flag=True, help="Leave nothing out."),
    )
    for option in reversed(options):
        function = option(function)
    return function


# --- commands --------------------------------------------------------------------


@cli.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@_output_options
@_input_options
@click.option("--plugin", metavar="FILE", multiple=True, help="Run the plugins in FILE too.")
@click.pass_context
def analyze(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    as_json: bool,
    output: str | None,
    verbose: bool,
    plugin: tuple[str, ...],
    **inputs: Any,
) -> int:
    """Say what broke, who did it, how we know, and what to look at next.

    FILE is a vmcore (all parts of a split one), /proc/kcore, or a kernel log;
    - is standard input.
    """
    analysis = _analyze(files, plugin_files=(*_plugin_files(ctx), *plugin), **inputs)
    _show(analysis, as_json, output, verbose)
    return EXIT_LIMITED if analysis.problems else EXIT_OK


@cli.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--jsonl", "as_jsonl", is_flag=True, help="One JSON document a line, one an input.")
@click.option("--full", is_flag=True, help="With --jsonl: frames, registers and text as well.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE.")
def log(paths: tuple[str, ...], as_jsonl: bool, full: bool, output: str | None) -> int:
    """List every kernel report in any number of logs.

    PATH is a log, a folder of logs (searched through), or - for standard input.
    """
    from postmortem.log.jsonl import document, walk
    from postmortem.progress import Progress

    for path in paths:
        if path != "-" and not os.path.lexists(path):
            raise UnreadableInputError(f"{path} does not exist: check the path")
    show: Callable[[dict[str, Any], IO[str]], None]
    if as_jsonl:
        from postmortem.render.json import print_line as show
    else:
        from postmortem.render.text import print_log as show
    status = EXIT_OK
    # Lines that come one by one on the same terminal are progress enough.
    terminal = output is None and sys.stdout.isatty()
    with _open_output(output) as file, Progress(sys.stderr, wanted=not terminal) as progress:
        for number, path in enumerate(walk(paths)):
            progress(f"log {number + 1}")
            found = document(path, full)
            show(found, file)
            if found["problems"]:
                status = EXIT_LIMITED
    return status


@cli.command()
@click.argument("file", metavar="[FILE]", default="-")
@click.option("--arch", help="What the Code: bytes are for, if the paste does not tell: x86_64 ...")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def decode(file: str, arch: str | None, as_json: bool) -> int:
    """Decode a pasted trace or Code: line, from standard input or FILE."""
    from postmortem.log.decode import decode as run

    decoded = run(_read(file), arch)
    if not (decoded.reports or decoded.stacks or decoded.instructions or decoded.pc):
        raise UnknownInputError(
            f"{STDIN if file == '-' else file} holds no trace and no Code: line of a kernel"
        )
    if as_json:
        from postmortem.render.json import dump, plain

        with _open_output() as out:
            dump(plain(decoded), out)
    else:
        from postmortem.render.text import print_decoded

        with _open_output() as out:
            print_decoded(decoded, out)
    return EXIT_OK


def _read(file: str) -> bytes:
    """A small file, or standard input."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as exc:
        raise UnreadableInputError(f"{file} can't be read: {exc.strerror or exc}") from exc


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--plugin", metavar="FILE", multiple=True, help="List the plugins in FILE too.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool, plugin: tuple[str, ...]) -> int:
    """List all plugins, what they need and where they come from."""
    from postmortem.plugin import discover

    found, problems = discover((*_plugin_files(ctx), *plugin))
    if as_json:
        from postmortem.render.json import dump, plain

        listed = {"plugins": [_described(p) for p in found], "problems": plain(problems)}
        with _open_output() as file:
            dump(listed, file)
        return EXIT_LIMITED if problems else EXIT_OK
    from postmortem.model.findings import Column
    from postmortem.render.page import Page, write

    page = Page(sys.stdout)
    page.table(
        [Column(name) for name in ("name", "needs", "in analyze", "from", "does")],
        [
            (p.name, ", ".join(p.needs) or None, _yes(p.in_analysis), p.origin, p.summary)
            for p in sorted(found, key=lambda p: p.name)
        ],
        indent="",
        cut=False,
    )
    with _open_output() as file:
        write(page.text(), file)
    for problem in problems:
        _complain(f"{problem.what}: {problem.why}")
    return EXIT_LIMITED if problems else EXIT_OK


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _described(item: Plugin) -> dict[str, Any]:
    return {
        "name": item.name,
        "summary": item.summary,
        "needs": list(item.needs),
        "in_analysis": item.in_analysis,
        "origin": item.origin,
    }


def _plugin_command(item: Plugin) -> click.Command:
    """``postmortem NAME FILE``: run this plugin only."""

    @click.argument("files", metavar="FILE...", nargs=-1, required=True)
    @_output_options
    @_input_options
    @click.pass_context
    def run(
        ctx: click.Context,
        /,
        files: tuple[str, ...],
        as_json: bool,
        output: str | None,
        verbose: bool,
        **inputs: Any,
    ) -> int:
        plugin_files = _plugin_files(ctx)
        analysis = _analyze(files, plugin_files=plugin_files, only=item.name, **inputs)
        _show(analysis, as_json, output, verbose, plugin=True)
        return EXIT_LIMITED if analysis.problems else EXIT_OK

    needs = ", ".join(item.needs) or "nothing"
    text = f"{item.help}\n\nNeeds: {needs}. From: {item.origin}."
    return click.command(
        item.name, help=clean_help(text), short_help=item.summary, context_settings=HELP
    )(run)


def clean_help(text: str) -> str:
    """A plugin's docstring for a terminal: its lines stay lines."""
    return "\n".join(clean(line) for line in text.splitlines())


# --- running and showing ---------------------------------------------------------


def _analyze(
    files: Sequence[str],
    *,
    vmlinux: str | None,
    debug_dirs: Sequence[str],
    debuginfod: bool,
    plugin_files: Sequence[str],
    only: str | None = None,
) -> Analysis:
    from postmortem.progress import Progress

    with _stdin_as_file(files) as (paths, kept), Progress(sys.stderr) as progress:
        try:
            with postmortem.open(
                paths,
                vmlinux=vmlinux,
                debug_dirs=debug_dirs,
                debuginfod=debuginfod,
                plugin_files=plugin_files,
                progress=progress,
            ) as case:
                analysis = case.analyze() if only is None else case.run(only)
        except PostmortemError as exc:
            if kept is not None:
                exc.args = (str(exc).replace(str(kept), STDIN),)
            raise
    if kept is not None and analysis.input.path == str(kept):
        return replace(analysis, input=replace(analysis.input, path=STDIN))
    return analysis


STDIN = "standard input"


@contextlib.contextmanager
def _stdin_as_file(files: Sequence[str]) -> Iterator[tuple[list[Path], Path | None]]:
    """The files as paths, and the path that stands for ``-``.

    A dump is read at random, so a pipe is kept in a temporary file meanwhile.
    """
    if "-" not in files:
        yield [Path(file) for file in files], None
        return
    if list(files).count("-") > 1:
        raise UsageError("standard input (-) can be given only once")
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="postmortem-") as folder:
        kept = Path(folder) / "stdin"
        try:
            with kept.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        except OSError as exc:
            raise UnreadableInputError(f"{STDIN} can't be read: {exc.strerror}") from exc
        yield [kept if file == "-" else Path(file) for file in files], kept


def _show(
    analysis: Analysis, as_json: bool, output: str | None, verbose: bool, *, plugin: bool = False
) -> None:
    from postmortem.render.output import writer

    write = writer(analysis, output, as_json=as_json, verbose=verbose, plugin=plugin)
    with _open_output(output) as file:
        write(file)


@contextlib.contextmanager
def _open_output(output: str | None = None) -> Iterator[IO[str]]:
    """Standard output, or the file ``output``."""
    try:
        if output is None or output == "-":
            yield sys.stdout
            sys.stdout.flush()
        else:
            with Path(output).open("w", encoding="utf-8") as file:
                yield file
    except BrokenPipeError as exc:
        _silence_stdout()
        raise ReaderLeft from exc
    except OSError as exc:
        if output is None:
            _silence_stdout()
        name = output or "standard output"
        raise UsageError(f"{name} can't be written: {exc.strerror or exc}") from exc


class ReaderLeft(Exception):
    """Nobody reads our output any more. Not an OSError, which click would handle itself."""


# --- the way out -----------------------------------------------------------------


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and leave with its exit status."""
    sys.exit(_run(args))


def _run(args: Sequence[str] | None) -> int:
    try:
        status = cli.main(args, prog_name="postmortem", standalone_mode=False)
        return status if isinstance(status, int) else EXIT_OK
    except PostmortemError as exc:
        _complain(str(exc))
        return exc.exit_status
    except click.exceptions.NoArgsIsHelpError as exc:
        help_text = exc.ctx.get_help() if exc.ctx is not None else exc.format_message()
        print(help_text, file=sys.stderr)
        return EXIT_USAGE
    except click.ClickException as exc:
        _complain(exc.format_message())
        if isinstance(exc, click.UsageError) and exc.ctx is not None:
            print(f"Try '{exc.ctx.command_path} --help' for help.", file=sys.stderr)
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except ReaderLeft:
        return EXIT_BROKEN_PIPE
    except MemoryError:
        _complain("not enough memory for this input")
        return EXIT_UNREADABLE
    except OSError as exc:
        _silence_stdout()
        _complain(f"input or output failed: {exc}")
        return EXIT_UNREADABLE
    except Exception as exc:
        if os.environ.get("POSTMORTEM_DEBUG") == "1":
            raise
        _complain(
            f"internal error ({type(exc).__name__}: {str(exc)[:200]}); please report it with the"
            " output of the same command under POSTMORTEM_DEBUG=1"
        )
        return EXIT_INTERNAL


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"postmortem: {clean(text)}", file=sys.stderr)


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of failing loudly."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
