"""What tools make of a raw report: syzbot and decode_stacktrace.sh add file and line."""

from __future__ import annotations

import random
import re

_FRAME = re.compile(
    r"(?P<function>[A-Za-z_.$][\w.$]*)\+0x(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+)"
    r"(?P<module> \[[\w-]+(?: [0-9a-f]{8,})?\])?(?P<mark> \([A-Z]\))?"
)
_MODULES = re.compile(r"Modules linked in|Workqueue:")
_FILES = ("fs/heron.c", "drivers/net/pike/pike-main.c", "lib/otter.c", "net/core/reed.c")
_HEADERS = ("./include/linux/eel.h", "include/linux/newt.h", "arch/x86/include/asm/toad.h")


def _place(rng: random.Random, header: bool = False) -> str:
    line = rng.randrange(1, 9000)
    place = f"{rng.choice(_HEADERS if header else _FILES)}:{line}"
    return f"{place} (discriminator {rng.randrange(1, 9)})" if rng.random() < 0.2 else place


def like_syzbot(text: str, seed: int = 0) -> str:
    """File and line behind each function, and lines of their own for inlined functions."""
    rng = random.Random(seed)
    out = []
    for line in text.splitlines(keepends=True):
        found = list(_FRAME.finditer(line))
        if not found or _MODULES.search(line) or " from " in line:
            out.append(line)
            continue
        last = found[-1]
        before, end = line[: last.start()], line[last.end() :]
        if last["mark"] is None:
            for number in range(rng.choice((0, 0, 1, 2))):
                place = f"{rng.choice(_HEADERS)}:{rng.randrange(1, 999)}"
                out.append(f"{before}inl_{number}_newt {place} [inline]{_newline(end)}")
        out.append(f"{before}{last[0]} {rng.choice(_FILES)}:{rng.randrange(1, 9000)}{end}")
    return "".join(out)


def like_decode_stacktrace(text: str, seed: int = 0) -> str:
    """Function and (file:line file:line) instead of function and offset."""

    def symbol(match: re.Match[str]) -> str:
        rng = random.Random(f"{match[0]} {seed}")  # one address is always at one place
        if rng.random() < 0.1 and text.count(match["function"]) == 1:
            place = "??:?"
        else:
            headers = [_place(rng, header=True) for _ in range(rng.choice((0, 0, 1, 2)))]
            place = " ".join([*headers, _place(rng)])
        module = re.sub(r"[\[\]]|(?<=\w) [0-9a-f]{8,}", "", match["module"] or "")
        return f"{match['function']} ({place}){module}{match['mark'] or ''}"

    out = []
    for line in text.splitlines(keepends=True):
        found = list(_FRAME.finditer(line))
        if not found or _MODULES.search(line) or " from " in line:
            out.append(line)
            continue
        last = found[-1]
        out.append(line[: last.start()] + symbol(last) + line[last.end() :])
    return "".join(out)


def _newline(end: str) -> str:
    return "\n" if end.endswith("\n") else ""
