"""To read a fact that a dump may not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from postmortem.budget import GivenUp
from postmortem.model.problems import Problems
from postmortem.steps import step

T = TypeVar("T")


def attempt(problems: Problems, what: str, read: Callable[[], T]) -> T | None:
    """``read()``, or ``None`` and a problem if the dump does not have it or it takes for ever.

    Only what a dump can cause is caught: anything else is a defect of the caller's
    and is not hidden.
    """
    from postmortem.dump.damage import damage

    try:
        with step(what):
            return read()
    except GivenUp as exc:
        problems.say(what, str(exc))
        return None
    except damage() as exc:
        problems.say(what, str(exc).partition("\n")[0] or type(exc).__name__)
        return None
