"""What comes along for a machine without network: guides, a manual page, completion."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING

import click

from postmortem.cli.output import open_output
from postmortem.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from importlib.abc import Traversable

SHELLS = ("bash", "zsh", "fish")
COMPLETE_VARIABLE = "_POSTMORTEM_COMPLETE"


@click.command()
@click.argument("name", required=False, shell_complete=lambda ctx, param, start: _names(start))
def guide(name: str | None) -> int:
    """Print a guide that came with postmortem: at-3-am, verdict, json, schema ...

    Without NAME it lists them.
    """
    known = dict(_guides())
    if name is not None and name not in known:
        raise UsageError(f"there is no guide {name!r}: {', '.join(known)}")
    with open_output() as file:
        file.write("\n".join(known) + "\n" if name is None else known[name].read_text("utf-8"))
    return EXIT_OK


def _guides() -> Iterator[tuple[str, Traversable]]:
    folder = files("postmortem_docs")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".md"):
            yield file.name.removesuffix(".md"), file
    yield "schema", folder / "schema" / "postmortem-1.json"


def _names(start: str) -> list[str]:
    return [name for name, _ in _guides() if name.startswith(start)]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print what makes a shell complete commands, options and files.

    \b
    bash: postmortem completion bash > ~/.local/share/bash-completion/completions/postmortem
    zsh:  postmortem completion zsh > DIR/_postmortem, where DIR is in $fpath
    fish: postmortem completion fish > ~/.config/fish/completions/postmortem.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    # The bash class runs bash to look at its version, which is not the reader's shell.
    text = found(ctx.find_root().command, {}, "postmortem", COMPLETE_VARIABLE)
    source = text.source_template % text.source_vars()
    with open_output() as file:
        file.write(source.strip() + "\n")
    return EXIT_OK


@click.command()
@click.pass_context
def man(ctx: click.Context) -> int:
    """Print the manual page: postmortem man > postmortem.1"""
    from postmortem.cli.manual import page

    root = ctx.find_root()
    with open_output() as file:
        file.write(page(root.command, root))
    sys.stdout.flush()
    return EXIT_OK


SHIPPED = (guide, completion, man)
