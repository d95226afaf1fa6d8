"""What a run needs not compute again, since it would come out the same: types out of a whole BTF.

Reading them is half of what an analysis costs. A damage of anything else leaves the bytes of
BTF as they are; a damaged BTF has other bytes, or holes, and is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from postmortem.dump import selfdescribe
from postmortem.dump.btf import Btf


def keep_types() -> None:
    """Let this process and its forks read the same BTF only once."""
    known: dict[bytes, Btf] = {}

    def kept(
        data: bytes,
        base: Btf | None = None,
        holes: Sequence[tuple[int, int]] = (),
        places: Callable[[], Sequence[int]] | None = None,
    ) -> Btf:
        found = known.get(data) if base is None and not holes else None
        if found is None:
            found = Btf(data, base, holes, places)
            if base is None and not holes and not found.damage:
                known[bytes(data)] = found
        return found

    vars(selfdescribe)["Btf"] = kept
