"""The one notebook for what limits an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

from postmortem.model.findings import Problem

LIBRARY = "library "
"""How ``what`` begins where a Python library is not installed."""


class Problems(list[Problem]):
    """Each thing that could not be done, in the order of meeting it; said twice, kept once."""

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        super().__init__()
        self.extend(problems)

    def say(self, what: str, why: str) -> None:
        """Note one: ``problems.say("task list", "page 0x1000 is not in the dump")``."""
        self.append(Problem(what, why))

    def append(self, problem: Problem, /) -> None:
        if problem not in self:
            super().append(problem)

    def insert(self, index: SupportsIndex, problem: Problem, /) -> None:
        if problem not in self:
            super().insert(index, problem)

    def extend(self, problems: Iterable[Problem], /) -> None:
        """Take over the problems of a fact."""
        for problem in problems:
            self.append(problem)
