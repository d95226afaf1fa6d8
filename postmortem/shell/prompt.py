"""The terminal: a line with history and completion, and its answer through a pager."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from postmortem.cli.output import ReaderLeft
from postmortem.cli.pager import open_paged
from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.completion import Completion
from postmortem.shell.session import Exit, Session, standard_output

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.completion import Completion as Offer
    from prompt_toolkit.document import Document

_STATE = "postmortem"
_RC = ".crashrc"


def interact(session: Session, *, rc: bool = True) -> None:
    """Prompt until the user leaves. Ctrl-C ends a command or empties the line."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.completion import Completion as Offer
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    completion = Completion(session)

    class Completes(Completer):
        def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Offer]:
            piece, names = completion.offered(document.text_before_cursor)
            return [Offer(name, -len(piece)) for name in names]

    file = history_file()
    prompt: PromptSession[str] = PromptSession(
        history=FileHistory(str(file)) if file is not None else InMemoryHistory(),
        completer=Completes(),
        complete_while_typing=False,
        enable_history_search=True,
    )
    session.screen = lambda: _screen(session)
    if rc:
        run_rc(session)
    release = clean(session.case.system.release or "unknown kernel")
    while True:
        try:
            text = prompt.prompt(_prompt(session, release))
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            session.run(text)
        except Exit:
            return
        except ReaderLeft:  # left the pager early
            continue


def _prompt(session: Session, release: str) -> str:
    if session.kdb is not None:
        return clean(session.kdb.prompt)
    pid = session.context_pid()
    return f"{release}{'' if pid is None else f' {pid}'}> "


def _screen(session: Session) -> contextlib.AbstractContextManager[IO[str]]:
    """What a command writes to: paged, if it is long and scrolling is on."""
    scrolling = "off" not in crash.said(session.prog, "set", "scroll")
    return open_paged() if scrolling else standard_output()


def history_file() -> Path | None:
    """Where lines are kept; ``None`` if nowhere can be written."""
    try:
        home = os.environ.get("XDG_STATE_HOME")
        folder = (Path(home) if home else Path.home() / ".local/state") / _STATE
        file = folder / "shell_history"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except (OSError, RuntimeError):  # RuntimeError: nobody knows where home is
        return None
    return file


def run_rc(session: Session) -> None:
    """Run the user's own ``.crashrc``. That of the folder is somebody's who sent a dump, too:
    it is named, and runs only when the user says so.
    """
    home = Path(os.environ.get("HOME") or "/nonexistent") / _RC
    here = Path.cwd() / _RC
    if home.is_file():
        try:
            session.run_script(home)
        except UsageError as exc:
            print(clean(str(exc)), file=sys.stderr)
    with contextlib.suppress(OSError):
        if here.is_file() and not (home.is_file() and here.samefile(home)):
            print(f"./{_RC} is not run by itself; to run it: source ./{_RC}", file=sys.stderr)
