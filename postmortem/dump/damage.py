"""The one definition of damage: what a broken or filtered dump may raise while it is read.

Catch it around every read that the rest can do without, and say what is missing::

    try:
        task = reader.read(address)
    except damage() as exc:
        problems.append(Problem("tasks", str(exc)))

What is no damage is a defect of ours and goes through.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import drgn

T = TypeVar("T")

_NONSENSE: tuple[type[Exception], ...] = (
    drgn.FaultError,  # the page is not in the dump, or the address is nonsense
    drgn.ObjectAbsentError,
    drgn.OutOfBoundsError,
    drgn.BadDataError,
    LookupError,  # no such symbol, type or member in this kernel
    ArithmeticError,  # an address outside of 64 bits, a divisor that became zero
    ValueError,
    struct.error,  # fewer bytes than there should be
    OSError,  # the file or the disk below it
    RecursionError,  # types or objects that lie in each other without an end
    NotImplementedError,  # a type that no kernel has, which drgn does not know either
    SyntaxError,  # a name of a type that is none
)
"""Raised by our own code too, on purpose, where what was read makes no sense."""

_OTHER_TYPE = re.compile(
    r"^'[^']*' (?:is not a|is not iterable|has no len\(\))"
    r"|cannot (?:get size of|convert|cast to|read object with|dereference) "
    r"|^invalid operands? to (?:binary|unary|comparison)"
    r"|argument must be an? (?:array or )?pointer"
    r"|^\w+ type does not have"
)
"""What drgn's C code says, of whatever class, where a damaged BTF has made a struct an integer.

Its frames are not seen, so that it looks like raised by us; Python's own sentences speak of an
object, and quote no type in this way.
"""


def is_damage(exc: BaseException | None) -> bool:
    """Whether reading the dump failed, and not this program.

    An exception of whatever class is damage if it was raised inside of drgn or a
    library below it. AttributeError is if a C struct has no such member. TypeError,
    NameError and the like in our own code are defects.
    """
    if not isinstance(exc, Exception) or isinstance(exc, MemoryError):
        return False  # the step as a whole wants too much (postmortem/steps.py)
    if isinstance(exc, _NONSENSE):
        return True
    if isinstance(exc, (TypeError, AttributeError)) and _OTHER_TYPE.search(str(exc)):
        return True
    if isinstance(exc, AttributeError):
        # A name with a final underscore is a method of drgn's, misspelt.
        absent = isinstance(exc.obj, drgn.Object) and not str(exc.name).endswith("_")
        return absent or _raised_by_drgn(exc)
    return type(exc) is Exception or _raised_by_drgn(exc)  # its C code has no class for the rest


def _raised_by_drgn(exc: Exception) -> bool:
    """Whether the innermost frame is drgn's."""
    innermost = exc.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return False
    module = str(innermost.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in ("drgn", "_drgn")


def damage() -> tuple[type[BaseException], ...]:
    """For ``except damage():``, the class of the exception at hand if it is damage.

    Python evaluates the expression when an exception arrives there, so that more
    than its class can decide.
    """
    exc = sys.exc_info()[1]
    return (type(exc),) if exc is not None and is_damage(exc) else ()


class tolerated:
    """``with tolerated():`` does without the rest of the block where the dump is damaged."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return is_damage(exc)


def readable(read: Callable[[], T]) -> T | None:
    """What ``read`` gives, ``None`` if the dump or this kernel does not have it."""
    try:
        return read()
    except damage():
        return None


def member(parent: drgn.Object, *paths: str) -> drgn.Object:
    """The first of these members that this kernel has: ``member(rq, "core.clock", "clock")``.

    :raises LookupError: it has none of them.
    """
    absent: LookupError | None = None
    for path in paths:
        found = parent
        try:
            for name in path.split("."):
                found = found.member_(name)
        except LookupError as exc:
            absent = exc
            continue
        return found
    raise absent or LookupError("no member was named")


def integer(value: drgn.Object) -> int:
    """An integer, enum, pointer or ``atomic_t`` as a number.

    :raises LookupError: it is none of these in this kernel.
    """
    if value.type_.unaliased().kind == drgn.TypeKind.STRUCT:
        value = value.member_("counter")
    found = value.value_()
    if not isinstance(found, int):
        raise LookupError(f"a {value.type_.type_name()} is no number")
    return int(found)
