"""The commands that are no plugins: analyze, known, log, dmesg, sysrq, trace ..."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from postmortem.cli.analysing import analyse
from postmortem.cli.known import known
from postmortem.cli.options import (
    FILE,
    architecture,
    input_options,
    output_options,
    redact_option,
)
from postmortem.cli.output import check_output, complain, open_output
from postmortem.cli.plugins import plugin_files
from postmortem.cli.supervisor import supervise
from postmortem.cli.sysrq import sysrq
from postmortem.errors import (
    EXIT_LIMITED,
    EXIT_OK,
    EXIT_UNREADABLE,
    UnknownInputError,
    UnreadableInputError,
    UsageError,
)
from postmortem.render.clean import clean_tabbed

if TYPE_CHECKING:
    from postmortem.case import Case
    from postmortem.plugin import Plugin


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@output_options
@input_options
@click.option(
    "--plugin", metavar="FILE", multiple=True, type=FILE, help="Run the plugins in FILE too."
)
@click.pass_context
def analyze(
    ctx: click.Context, /, files: tuple[str, ...], plugin: tuple[str, ...], **options: Any
) -> int:
    """Say what broke, who did it, how we know, and what to look at next.

    FILE is a vmcore (all parts of a split one), /proc/kcore, a kernel log, or the folder of
    a crash, such as /var/crash/202611261200; - is standard input.
    """
    return analyse(files, plugin_files=(*plugin_files(ctx), *plugin), **options)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=FILE)
@click.option("--jsonl", "as_jsonl", is_flag=True, help="One JSON document a line, one an input.")
@click.option("--full", is_flag=True, help="With --jsonl: frames, registers and text as well.")
@redact_option
@click.option("-o", "--output", metavar="FILE", type=FILE, help="Write to FILE.")
def log(
    paths: tuple[str, ...], as_jsonl: bool, full: bool, redact: bool, output: str | None
) -> int:
    """List every kernel report in any number of logs.

    PATH is a log, a folder of logs (searched through), or - for standard input.
    """
    from postmortem.inputs.recognise import absent
    from postmortem.log.jsonl import document, walk
    from postmortem.progress import Progress

    show: Callable[[dict[str, Any], IO[str]], None]
    if as_jsonl:
        from postmortem.render.json import print_line as show
    else:
        from postmortem.render.text import print_log as show
    missing = [path for path in paths if path != "-" and not os.path.lexists(path)]
    for path in missing:
        complain(absent(Path(path)))
    # In the lines for machines each input has its own, also that which is not there.
    files = list(walk(path for path in paths if as_jsonl or path not in missing))
    check_output(output, files)
    status = EXIT_LIMITED if missing else EXIT_OK
    # Lines that come one by one on the same terminal are progress enough.
    terminal = output is None and sys.stdout.isatty()
    with open_output(output) as file, Progress(sys.stderr, wanted=not terminal) as progress:
        for number, path in enumerate(files):
            progress(f"log {number + 1}")
            found = document(path, full)
            if redact:
                from postmortem.redact import redacted_document

                found = redacted_document(found)
            show(found, file)
            if found["problems"]:
                status = EXIT_LIMITED
    return EXIT_UNREADABLE if len(missing) == len(paths) else status


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("-T", "--ctime", is_flag=True, help="Wall-clock times, of this machine's time zone.")
@click.option("-x", "--decode", "levels", is_flag=True, help="Name the level of each message.")
@click.option("--caller", "callers", is_flag=True, help="Name the task or CPU that printed it.")
@click.option("--json", "as_json", is_flag=True, help="As dmesg --json prints it.")
@redact_option
@click.option("-o", "--output", metavar="FILE", type=FILE, help="Write to FILE.")
def dmesg(
    files: tuple[str, ...],
    ctime: bool,
    levels: bool,
    callers: bool,
    as_json: bool,
    redact: bool,
    output: str | None,
) -> int:
    """Print the kernel's log that is in a dump, as dmesg does."""
    import postmortem
    from postmortem.printers.dmesg import dmesg_json, dmesg_lines
    from postmortem.render.json import dump

    check_output(output, files)
    status = supervise(files, output)
    if status is not None:
        return status
    with postmortem.open(files) as case:
        records = case.log
        known = [p for p in case.problems if p.what.startswith(("log", "printk"))]
        for problem in known:
            complain(f"{problem.what}: {problem.why}")
        if not records:
            raise UnreadableInputError(f"no message of a kernel could be read from {files[0]}")
        boot_time = _boot_time(case) if ctime else None
        if redact:
            from postmortem.redact import redacted_records

            records = redacted_records(records)
        with open_output(output) as file:
            if as_json:
                dump(dmesg_json(records), file)
                return EXIT_LIMITED if known else EXIT_OK
            shown = output is None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
            lines = dmesg_lines(records, boot_time=boot_time, levels=levels, callers=callers)
            for record, line in zip(records, lines, strict=True):
                text = clean_tabbed(line)
                file.write((_coloured(text, record.level) if shown else text) + "\n")
    return EXIT_LIMITED if known else EXIT_OK


def _boot_time(case: Case) -> float:
    """When the machine booted, in seconds since the epoch."""
    from postmortem.log.wallclock import boot_time

    system = case.system
    if system.crash_time is not None and system.uptime_seconds is not None:
        return system.crash_time - system.uptime_seconds
    if len(case.boots) > 1:
        raise UsageError("-T: this log is of several boots; cut out the one that is meant")
    found = boot_time(case.log)
    if found is None:
        raise UsageError("-T: when the machine booted is not in this file; leave -T out")
    return found


_ERRORS, _WARNINGS = 3, 4


def _coloured(text: str, level: int | None) -> str:
    if level is None or level > _WARNINGS:
        return text
    return click.style(text, fg="red" if level <= _ERRORS else "yellow")


@click.command()
@click.argument("file", metavar="[FILE]", default="-", type=FILE)
@click.option(
    "--arch",
    callback=architecture,
    metavar="NAME",
    help="What the Code: bytes are for, if the paste does not tell: x86_64, arm64, ppc64le ...",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def decode(file: str, arch: str | None, as_json: bool) -> int:
    """Decode a pasted trace or Code: line, from standard input or FILE."""
    from postmortem.inputs.pipe import STDIN
    from postmortem.log.decode import decode as run

    decoded = run(_read(file), arch)
    if not (decoded.reports or decoded.stacks or decoded.instructions or decoded.pc):
        raise UnknownInputError(
            f"{STDIN if file == '-' else file} holds no trace and no Code: line of a kernel"
        )
    if as_json:
        from postmortem.render.json import dump, plain

        with open_output() as out:
            dump(plain(decoded), out)
    else:
        from postmortem.render.text import print_decoded

        with open_output() as out:
            print_decoded(decoded, out)
    return EXIT_OK


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-c", "--command", "lines", metavar="LINE", multiple=True,
              help="Run LINE and leave (repeatable).")  # fmt: skip
@click.option("-i", "--input", "script", metavar="FILE", help="Run the lines of FILE first.")
@click.option("-s", "--silent", is_flag=True, help="No banner.")
@click.option("--crashrc/--no-crashrc", " /--no_crashrc", default=True,
              help="Run ~/.crashrc, or not.")  # fmt: skip
@click.option("--minimal", is_flag=True,
              help="Only log, dis, rd, sym, eval, set: without types, too.")  # fmt: skip
@click.option("--mod", "modules", metavar="FOLDER", type=click.Path(path_type=Path),
              help="Look for the modules' debug information here.")  # fmt: skip
@click.option("--no-modules", "--no_modules", is_flag=True,
              help="As crash's: nothing of modules is read ahead in any case.")  # fmt: skip
@click.option("--no-scroll", "--no_scroll", is_flag=True, help="No pager.")
@click.option("--kdb", is_flag=True, help="With KDB's prompt and commands (docs/kdb.md).")
@input_options
@click.pass_context
def shell(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    lines: tuple[str, ...],
    script: str | None,
    silent: bool,
    crashrc: bool,
    minimal: bool,
    modules: Path | None,
    no_modules: bool,
    no_scroll: bool,
    kdb: bool,
    **options: Any,
) -> int:
    """A crash-style shell: crash's commands, the diagnosis, Python (docs/shell.md).

    Lines come from the terminal, from -c or -i, or from standard input.
    """
    from postmortem.shell.start import Start, start

    if modules is not None:
        options["debug_dirs"] = (*options.get("debug_dirs", ()), modules)
    how = Start(tuple(lines), script, silent, crashrc, minimal, scroll=not no_scroll, kdb=kdb)
    with _opened(ctx, files, options) as case:
        return start(case, how)


def _opened(ctx: click.Context, files: tuple[str, ...], options: dict[str, Any]) -> Case:
    import postmortem

    return postmortem.open(files, plugin_files=plugin_files(ctx), **options)


def _read(file: str) -> bytes:
    """A small file, or standard input."""
    from postmortem.log.decode import MAX_BYTES

    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_BYTES)
        with Path(file).open("rb") as opened:
            return opened.read(MAX_BYTES)
    except OSError as exc:
        raise UnreadableInputError(f"{file} can't be read: {exc.strerror or exc}") from exc


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--plugin", metavar="FILE", multiple=True, type=FILE, help="List the plugins in FILE too."
)
@click.pass_context
def plugins(ctx: click.Context, as_json: bool, plugin: tuple[str, ...]) -> int:
    """List all plugins, what they need and where they come from."""
    from postmortem.plugin import discover

    found, problems = discover((*plugin_files(ctx), *plugin))
    if as_json:
        from postmortem.render.json import dump, plain

        listed = {"plugins": [_described(p) for p in found], "problems": plain(problems)}
        with open_output() as file:
            dump(listed, file)
        return EXIT_LIMITED if problems else EXIT_OK
    _list(found)
    for problem in problems:
        complain(f"{problem.what}: {problem.why}")
    return EXIT_LIMITED if problems else EXIT_OK


def _list(found: list[Plugin]) -> None:
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
    with open_output() as file:
        write(page.text(), file)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _described(item: Plugin) -> dict[str, Any]:
    from postmortem.render.json import plain

    return {
        "name": item.name,
        "summary": item.summary,
        "needs": list(item.needs),
        "in_analysis": item.in_analysis,
        "origin": item.origin,
        "options": [
            {
                "flag": option.flag,
                "type": option.type.__name__,
                "default": plain(option.default),
                "help": option.help,
            }
            for option in item.options
        ],
    }


BUILT_IN = (analyze, known, log, dmesg, sysrq, decode, shell, plugins)
