"""``postmortem sysrq KEYS FILE``: the kernel's own words after its death."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

import click

from postmortem.cli.options import FILE
from postmortem.cli.output import check_output, open_output
from postmortem.cli.supervisor import supervise
from postmortem.errors import EXIT_LIMITED, EXIT_OK, UsageError
from postmortem.render.clean import clean

if TYPE_CHECKING:
    from postmortem.printers.lines import Line


@click.command()
@click.argument("words", metavar="KEYS FILE...", nargs=-1, required=True)
@click.option("--all", "all_keys", is_flag=True, help="All keys that show something; no KEYS.")
@click.option("-c", "--cpu", type=int, metavar="CPU", help="Whose registers p shows.")
@click.option("-x", "--decode", "levels", is_flag=True, help="Name the level of each line.")
@click.option("--json", "as_json", is_flag=True, help="As dmesg --json would list the lines.")
@click.option("-o", "--output", metavar="FILE", type=FILE, help="Write to FILE.")
def sysrq(
    words: tuple[str, ...],
    all_keys: bool,
    cpu: int | None,
    levels: bool,
    as_json: bool,
    output: str | None,
) -> int:
    """Print what the magic SysRq keys KEYS would have printed, in that kernel's own format.

    \b
    m memory            t all tasks, run queues, workqueues
    w blocked tasks     l stacks of busy CPUs     p registers
    q timers            d locks held (lockdep)    h all keys of that kernel

    docs/sysrq.md tells which fields differ from what the living kernel would have printed.
    """
    import postmortem
    from postmortem.printers.sysrq import SHOWN
    from postmortem.printers.sysrq import sysrq as printed

    keys, files = (SHOWN, words) if all_keys else (words[0], words[1:])
    if not files:
        raise UsageError("say which keys and which dump: postmortem sysrq m vmcore")
    check_output(output, files)
    status = supervise(files, output)
    if status is not None:
        return status
    with postmortem.open(files, debuginfod=False) as case:
        if case.dump is None:
            raise UsageError(_of_log(case.input.path, keys))
        lines = printed(case.prog, keys, cpu)
        with open_output(output) as file:
            whole = _json(lines, file) if as_json else _text(lines, file, levels)
    return EXIT_OK if whole else EXIT_LIMITED


_READ_BACK = {
    "memory": "mf",
    "hung": "twd",
    "timeline": "z",
}
"""The command that reads from a log what these keys printed into it."""


def _of_log(path: str, keys: str) -> str:
    """Where to find what a log holds of the keys."""
    told = [
        f"of {' and '.join(found)} it may hold something: postmortem {command} FILE"
        for command, known in _READ_BACK.items()
        if (found := [key for key in dict.fromkeys(keys) if key in known])
    ]
    if rest := [k for k in dict.fromkeys(keys) if not any(k in x for x in _READ_BACK.values())]:
        told.append(f"of {' and '.join(rest)} nothing is read back from a log")
    return f"{path} is a log, which has no memory to press keys on; {'; '.join(told)}"


def _text(lines: Iterable[Line], file: IO[str], levels: bool) -> bool:
    from postmortem.printers.dmesg import LEVELS

    whole = True
    for text, level, ours in lines:
        if levels:
            name = LEVELS[4 if level is None else level] if not ours else ""
            file.write(f"{name:<6}: ")
        file.write(f"{clean(text)}\n")
        whole = whole and not ours
    return whole


def _json(lines: Iterable[Line], file: IO[str]) -> bool:
    from postmortem.render.json import dump

    found = list(lines)
    document = [{"pri": 4 if x.level is None else x.level, "msg": x.text} for x in found]
    dump({"sysrq": document}, file)
    return not any(line.ours for line in found)
