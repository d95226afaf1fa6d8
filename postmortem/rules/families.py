"""Where the kernel's own functions come from: the table that ``corpus.generate`` writes.

Read when the first stack is judged, in some milliseconds.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("machinery.txt.gz")


@cache
def families() -> dict[str, str]:
    """The family of each name that the kernel's sources define in one of its own places."""
    found: dict[str, str] = {}
    for section in zlib.decompress(TABLE.read_bytes(), wbits=31).decode().split("[")[1:]:
        family, _, names = section.partition("]")
        found.update(dict.fromkeys(names.split(), family))
    return found


def family_of(name: str) -> str:
    """``lock``, ``allocator`` ...; empty for a name that is in no source of the table.

    A kernel between or after those of the table may split a function: ``__foo`` and
    ``foo_noprof`` are what ``foo`` was.
    """
    known = families()
    return known.get(name) or known.get(name.strip("_").removesuffix("_noprof"), "")
