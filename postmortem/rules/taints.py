"""What the letters behind ``Tainted:`` mean (Documentation/admin-guide/tainted-kernels.rst)."""

from __future__ import annotations

# Words that are as true of the failure that set the letter as of a later one: a dump's
# memory holds what this very crash set, the line of a report what was set before it.
LETTERS = {
    "P": "proprietary module",
    "F": "module was force loaded",
    "S": "hardware out of specification",
    "R": "module was force unloaded",
    "M": "machine check happened",
    "B": "bad page seen",
    "U": "user asked for it",
    "D": "an oops or BUG happened",
    "A": "ACPI table overridden",
    "W": "a warning happened",
    "C": "staging driver",
    "I": "firmware bug worked around",
    "O": "out-of-tree module",
    "E": "unsigned module",
    "L": "a soft lockup happened",
    "K": "live patched",
    "X": "auxiliary (distribution)",
    "T": "built with struct randomization",
    "N": "in-kernel test ran",
    "J": "firmware control interface used",
}
"""``G`` in the first place means: no proprietary module."""


def decode(letters: str | None) -> tuple[str, ...]:
    """Each taint as letter and words: ``"O: out-of-tree module"``."""
    return tuple(
        f"{letter}: {LETTERS.get(letter, 'a taint that is not known here')}"
        for letter in letters or ""
        if letter not in "G -"
    )
