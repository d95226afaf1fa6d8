"""Options for every run: ``~/.config/postmortem/config``, one ``option = value`` a line.

[postmortem]            every command that has the option
debuginfod = yes
debug-dir = /srv/debug

[analyze]               this command
verbose = yes
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from postmortem.errors import UsageError

EVERY = "postmortem"
"""The section that is for all commands."""
_MAX_BYTES = 1 << 16


def config_file() -> Path | None:
    """Where it would be; ``None`` where there is no home."""
    base = os.environ.get("XDG_CONFIG_HOME")
    try:
        return Path(base or Path.home() / ".config", "postmortem", "config")
    except RuntimeError:
        return None


def defaults(name: str, command: click.Command, every: click.Command) -> dict[str, Any]:
    """What the file says for one command, by the names of its parameters.

    :param every: the command whose options may stand in the section for all commands.
    :raises UsageError: one sentence says what is wrong in the file.
    """
    path = config_file()
    sections = _read(path) if path is not None else {}
    known = _options(command)
    common = _checked(path, EVERY, sections.get(EVERY, {}), _options(every))
    own = _checked(path, name, sections.get(name, {}), known)
    merged = {**{option: value for option, value in common.items() if option in known}, **own}
    return {
        known[option].name or option: value.split() if known[option].multiple else value
        for option, value in merged.items()
    }


def _options(command: click.Command) -> dict[str, click.Option]:
    return {
        flag.removeprefix("--"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
        if flag.startswith("--")
    }


def _checked(
    path: Path | None, section: str, values: Mapping[str, str], known: Mapping[str, object]
) -> Mapping[str, str]:
    for option in values:
        if option not in known:
            raise UsageError(f"{path}: there is no option {option!r} for [{section}]")
    return values


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_BYTES)
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text: write lines like debuginfod = yes") from None
    except OSError:  # there is none, or not for us: as with plugins
        return {}
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"{path} can't be understood: {why}") from None
    return {section: dict(parser[section]) for section in parser.sections()}
