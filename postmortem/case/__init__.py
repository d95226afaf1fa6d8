"""The only door: an input, opened once, that can be asked many things."""

from postmortem.case.base import Case, Options
from postmortem.case.opening import open

__all__ = ("Case", "Options", "open")
