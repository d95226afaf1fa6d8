"""What differs between processors: one file an architecture, and this registry of them.

Nothing outside of this folder names a register, an entry point or the shape of an
address of a dump (the log's own tables of what each architecture prints are in ``log/``).
A new architecture is a file with an :class:`~postmortem.arch.model.Arch` and a row here.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from postmortem.arch.model import Arch

if TYPE_CHECKING:
    import drgn

_FILES = {"x86_64": "postmortem.arch.x86_64"}
"""By the names that uname gives."""
SUPPORTED = tuple(_FILES)
"""Architectures whose dumps can be read."""


@cache
def by_name(name: str) -> Arch:
    """The architecture that uname calls ``name``.

    :raises LookupError: it is not known here.
    """
    if name not in _FILES:
        raise LookupError(f"{name} is not an architecture that is known here")
    found: Arch = import_module(_FILES[name]).ARCH
    return found


@cache
def _by_drgn_name(name: str) -> Arch:
    return by_name(name.lower())


def arch_of(prog: drgn.Program) -> Arch:
    """The architecture of a program.

    :raises LookupError: it has none, or one that is not known here.
    """
    platform = prog.platform
    if platform is None:
        raise LookupError("the program has no architecture")
    return _by_drgn_name(platform.arch.name)
