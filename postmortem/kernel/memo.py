"""Facts that are read once for a program and kept in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import drgn

T = TypeVar("T")
P = ParamSpec("P")


def fact(
    read: Callable[Concatenate[drgn.Program, P], T],
) -> Callable[Concatenate[drgn.Program, P], T]:
    """Keep what ``read(prog, ...)`` gave the first time; what it raised is not kept.

    Further parameters are those of the first call.
    """
    key = _key(read)

    @wraps(read)
    def reader(prog: drgn.Program, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if key not in prog.cache:
            prog.cache[key] = read(prog, *args, **kwargs)
        found: T = prog.cache[key]
        return found

    return reader


def keep(prog: drgn.Program, read: Callable[..., T], value: T | None) -> None:
    """Let a fact have this value from now on; ``None``: let it be read again."""
    if value is None:
        prog.cache.pop(_key(read), None)
    else:
        prog.cache[_key(read)] = value


def _key(read: Callable[..., object]) -> str:
    return f"postmortem {read.__module__}.{read.__qualname__}"
