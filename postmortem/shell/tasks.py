"""Tasks as crash's arguments name them."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import drgn

from postmortem.errors import UsageError
from postmortem.shell import crash

if TYPE_CHECKING:
    from postmortem.shell.session import Session


def task_of(session: Session, word: str = "") -> drgn.Object:
    """``struct task_struct *`` of a decimal pid, a hexadecimal address, or of the context.

    :raises UsageError: there is no such task.
    """
    from drgn.helpers.linux.pid import find_task

    if not word:
        return crash.run(session.prog, "set", "", io.StringIO())
    if word.isdecimal():
        found = find_task(session.prog, int(word[:10]))
        if found:
            return found
    with contextlib.suppress(ValueError):
        address = int(word, 16)
        tasks = session.case.tasks
        if tasks is not None and address in tasks.by_address:
            return drgn.Object(session.prog, "struct task_struct *", address)
    raise UsageError(f"no task {word!r}: a decimal pid or a hexadecimal task_struct is wanted")
