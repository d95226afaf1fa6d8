"""What tools make of a raw report: syzbot and decode_stacktrace.sh add file and line."""

from __future__ import annotations

import random
import re

_FRAME = re.compile(
    r"(?P<function>[A-Za-z_.$][\w.$]*)\+0x(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+)"
    r"(?P<module> \[[\w-]+(?: [0-9a-f]{8,})?\])?(?P<mark> \([A-Z]\))?"
)
_ADDRESS = re.compile(r"\[<[0-9a-f]+>\]")
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
        if not found or _MODULES.search(line):
            out.append(line)
            continue
        last = found[-1]
        before, end = line[: last.start()], line[last.end() :]
        mark, called = last["mark"] or "", " from " in before
        bare = last[0].removesuffix(mark)
        for number in range(0 if called else rng.choice((0, 0, 1, 2))):
            place = f"{rng.choice(_HEADERS)}:{rng.randrange(1, 999)}"
            out.append(f"{before}inl_{number}_newt {place} [inline]{mark}{_newline(end)}")
        out.append(f"{before}{bare} {rng.choice(_FILES)}:{rng.randrange(1, 9000)}{mark}{end}")
    return "".join(out)


def like_old_syzbot(text: str, seed: int = 0) -> str:
    """As syzbot did until 2017: ``[<     inline     >]`` where kernels print an address."""
    rng = random.Random(seed)
    out = []
    for line in text.splitlines(keepends=True):
        last = list(_FRAME.finditer(line))[-1:]
        address = _ADDRESS.search(line)
        if not last or not address or _MODULES.search(line) or " from " in line:
            out.append(line)
            continue
        before, end = line[: last[0].start()], line[last[0].end() :]
        for number in range(rng.choice((0, 0, 1, 2))):
            head = _ADDRESS.sub("[<     inline     >]", before, count=1)
            out.append(
                f"{head}inl_{number}_newt {rng.choice(_HEADERS)}:{number + 7}{_newline(end)}"
            )
        out.append(f"{before}{last[0][0]} {rng.choice(_FILES)}:{rng.randrange(1, 9000)}{end}")
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


def by_words(text: str, seed: int = 0) -> str:
    """decode_stacktrace.sh word by word: it takes a line apart at white space, drops addresses,
    and joins what is left by single spaces; times get a width of their own."""
    out = []
    for line in text.splitlines(keepends=True):
        if not (_FRAME.search(line) or _ADDRESS.search(line)) or _MODULES.search(line):
            out.append(line.lstrip(" "))
            continue
        words = [word for word in line.split() if not _ADDRESS.fullmatch(word)]
        if len(words) > 1 and words[0] == "[" and words[1].endswith("]"):
            words[:2] = [f"[{words[1]:>13}"]
        mark = words.pop() if len(words) > 1 and re.fullmatch(r"\([A-Z]*\)", words[-1]) else ""
        module = ""
        if len(words) > 1 and re.fullmatch(r"[0-9a-f]{8,}\]", words[-1]):
            words.pop()  # a build id
            module = words.pop().strip("[]")
        elif len(words) > 1 and re.fullmatch(r"\[[\w-]+\]", words[-1]):
            module = words.pop().strip("[]")
        words.append(_with_places(words.pop(), seed) if words else "")
        out.append(" ".join([*words, *([module] if module else []), mark]) + _newline(line))
    return "".join(out)


def _with_places(word: str, seed: int) -> str:
    """The last word of a line, where it is a function: without offset, with its places."""
    found = re.fullmatch(r"(\w+:)?\(?([A-Za-z_.$][\w.$]*)\+0x[0-9a-f]+/0x[0-9a-f]+\)?:?", word)
    if found is None:
        return word
    rng = random.Random(f"{found[2]} {seed}")
    places = [_place(rng, header=True) for _ in range(rng.choice((0, 0, 1, 2)))]
    return f"{found[1] or ''}{found[2]} ({' '.join([*places, _place(rng)])})"


def _newline(end: str) -> str:
    return "\n" if end.endswith("\n") else ""
