"""To read a fact that a dump may not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from postmortem.budget import GivenUp
from postmortem.errors import missing_library, not_installed
from postmortem.model.problems import LIBRARY, Problems
from postmortem.steps import step

T = TypeVar("T")


def attempt(problems: Problems, what: str, read: Callable[[], T]) -> T | None:
    """``read()``, or ``None`` and a problem if the dump does not have it or it takes for ever.

    Only what a dump can cause is caught, or a library that is not installed: anything else is
    a defect of the caller's and is not hidden.
    """
    from postmortem.dump.damage import damage

    try:
        with step(what):
            return read()
    except GivenUp as exc:
        problems.say(what, str(exc))
        return None
    except ImportError as exc:
        if not say_missing(problems, what, exc):
            raise
        return None
    except damage() as exc:
        problems.say(what, str(exc).partition("\n")[0] or type(exc).__name__)
        return None


def say_missing(problems: Problems, what: str, error: ImportError) -> bool:
    """Note that a step was left out for want of a library; whether it was that.

    The name begins as confidence.py knows it: the answer is less sure without the step.
    """
    library = missing_library(error)
    if library is None:
        return False
    name = f"{LIBRARY}{library}"
    if not any(problem.what == name for problem in problems):
        problems.say(
            name, f"{not_installed(library)}; left out for want of it: {what} and the like"
        )
    return True
