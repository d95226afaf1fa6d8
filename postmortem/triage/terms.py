"""The words that ``similar`` compares: functions on the stacks, and a few more.

A function counts the less the deeper it lies; machinery and wrappers don't count at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from postmortem.rules.blame import is_anchor, is_machinery, stable
from postmortem.triage.model import storable

_FRAMES = 24
_OTHERS = 16
"""Of other stacks in the report (allocation, free, lock chains)."""
_DEPTH = 0.12
"""How much of its weight a function loses with each frame below the first."""
_WORD = re.compile(r"[A-Za-z_][\w.-]{3,40}")
_COMMON = frozenset(("kernel", "general", "handle", "unable", "info", "task", "read", "write"))


def terms_of(
    title: str,
    function: str | None,
    module: str | None,
    kind: str,
    frames: tuple[Sequence[str], Sequence[str]],
) -> tuple[tuple[str, float], ...]:
    """Words and weights; the prefix says where a word is from.

    :param frames: the main stack and all others, innermost first.
    """
    found: dict[str, float] = {}

    def add(word: str, weight: float) -> None:
        word = storable(word, 100)
        found[word] = max(found.get(word, 0.0), round(weight, 4))

    main, others = frames
    depth = 0
    for name in main[:200]:
        name = stable(name)
        if is_machinery(name) or is_anchor(name) or depth == _FRAMES:
            continue
        add(f"f:{name}", 1 / (1 + _DEPTH * depth))
        depth += 1
    if function:
        add(f"f:{stable(function)}", 1.5)
    for name in dict.fromkeys(map(stable, others[:200])):
        if not is_machinery(name) and sum(word.startswith("o:") for word in found) < _OTHERS:
            add(f"o:{name}", 0.4)
    if module:
        add(f"m:{module}", 0.8)
    add(f"k:{kind}", 0.3)
    for word in _WORD.findall(title)[:12]:
        if word.lower() not in _COMMON and word != function:
            add(f"t:{word.lower()}", 0.3)
    return tuple(sorted(found.items()))
