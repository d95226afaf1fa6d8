"""What the guides show is what the program prints, and what they tell to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from docs.samples import GUIDES, renewed
from postmortem.cli.root import cli


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_every_sample_is_what_the_program_prints_now(guide: Path) -> None:
    """``python docs/samples.py`` writes them anew."""
    text = guide.read_text()
    assert renewed(text) == text


def test_there_are_samples() -> None:
    assert any("    $ postmortem " in guide.read_text() for guide in GUIDES)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_commands_and_options_of_the_guides_exist(guide: Path) -> None:
    context = click.Context(cli)
    for line in re.findall(r"(?m)^    (?:\$ |.*\| )?postmortem ([a-z].*)$", guide.read_text()):
        name, *words = _words(line)
        if name in EXAMPLES:
            continue
        command = cli.get_command(context, name)
        assert command is not None, line
        known = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        } | {"--help"}
        asked = {word for word in words if re.fullmatch(r"-[A-Za-z]|--[a-z][a-z-]*", word)}
        assert asked <= known, line


EXAMPLES = {"dimms", "grep", "threads"}
"""Plugins that docs/plugins.md teaches to write."""


def _words(line: str) -> list[str]:
    """The words of a command line up to what the shell makes of it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found = []
    for word in lexer:
        if word in ("|", "<", ">", ";", "&&"):
            break
        found.append(word)
    return found
