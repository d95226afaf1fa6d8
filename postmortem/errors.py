"""What a user can get wrong, and the exit status that tells a script so."""

from __future__ import annotations

EXIT_OK = 0
"""Analysed."""
EXIT_LIMITED = 1
"""Analysed, with problems that limit the answer."""
EXIT_USAGE = 2
"""The command line makes no sense."""
EXIT_UNKNOWN_INPUT = 3
"""Not a dump or a log that we know."""
EXIT_UNREADABLE = 4
"""The input can't be read: missing, no permission, an I/O error."""


class PostmortemError(Exception):
    """An error for the user: one sentence that says what is wrong and what to do."""

    exit_status = EXIT_USAGE


class UsageError(PostmortemError):
    """Options or arguments that contradict each other or the input."""

    exit_status = EXIT_USAGE


class UnknownInputError(PostmortemError):
    """The file is neither a dump nor a log that we know."""

    exit_status = EXIT_UNKNOWN_INPUT


class UnreadableInputError(PostmortemError):
    """The file can't be read at all."""

    exit_status = EXIT_UNREADABLE


def missing_library(error: BaseException) -> str | None:
    """The Python library that is not installed; ``None`` if that is not what went wrong."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return name if name and name not in ("postmortem", "plugins") else None


def not_installed(library: str) -> str:
    """What to say of it."""
    return f"the Python library {library} is not installed (pip install {library})"
