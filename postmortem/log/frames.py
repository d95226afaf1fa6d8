"""One line of a stack trace, on every architecture, raw or already symbolised."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from postmortem.model.frame import Frame
from postmortem.rules.blame import family

_SYMBOL = r"[A-Za-z_.$][\w.$]{0,250}"
_RUST = r"<[^\n+]{1,400}?>(?:::[\w<>:{}#$., ]{1,200})?|_R[\w.$]{1,400}"

# [<ffffffff81234567>] ? name+0x12/0x345 [module build-id] (P) file.c:12
_FRAME = re.compile(
    r"\s*\(?(?:\[<?(?:[0-9a-f]{1,16}| +none +)>?\]\s+)?"
    r"(?:\[<?(?P<address>[0-9a-f]{1,16}|\(_*ptrval_*\))>?\]:?\s*\(?)?"
    r"(?P<doubt>\? +)?"
    rf"(?P<function>{_SYMBOL}|{_RUST})\+(?P<offset>0x[0-9a-f]{{1,16}})(?:/(?P<size>0x[0-9a-f]{{1,16}}))?\)?"
    r"(?:\s+\[(?P<module>[\w-]{1,64})(?:\((?P<flags>[A-Z]+)\))?(?:\s+(?P<build>[0-9a-f]{8,40}))?\])?"
    r"(?P<tail>.*)$"
)
_BARE = re.compile(
    r"\s*\(?\[<?(?P<address>[0-9a-f]{8,16})>?\]\)?\s*(?P<doubt>\? *)?(?:0x(?P=address))?"
    r"(?:\s+\[(?P<module>[\w-]{1,64})@(?P<base>[0-9a-f]{8,16})\+0x[0-9a-f]{1,8}\])?\s*$"
)
"""Without kallsyms: an address, and the module that it is in with its base and size."""
_BARE_HEX = re.compile(
    r"\s+(?P<doubt>\? +)?0x(?P<address>[0-9a-f]{8,16})"
    r"(?:\s+\[(?P<module>[\w-]{1,64})@(?P<base>[0-9a-f]{8,16})\+0x[0-9a-f]{1,8}\])?\s*$"
)
# decode_stacktrace.sh and syzbot: name (file.c:12 file.h:3) module / name file.c:12 [inline]
_PATH = r"/?(?:[\w.+~@-]+/){0,30}[\w.+~@-]+\.(?:c|h|S|s|rs|cc|cpp|y|l)"
_PLACE = rf"(?:{_PATH}:\d{{1,6}}|\?\?:(?:\?|0))"
_PLACES = (
    rf"\({_PLACE}(?: \(discriminator \d+\))?"
    rf"(?: (?:{_PLACE}(?: \(discriminator \d+\))?|\[inline\]))*\)"
)
_ARM = re.compile(
    r"\s*(?:\[<(?P<address>[0-9a-f]{8})>\]\s+)?(?P<doubt>\? ?)?"
    rf"\(?(?P<function>{_SYMBOL})(?:\s+\[(?P<module>[\w-]+)\])?\)?"
    rf"\s+from\s+(?:\[<(?P<from>[0-9a-f]{{8}})>\]\s+)?\(?(?P<caller>{_SYMBOL})"
    rf"(?:\+(?P<offset>0x[0-9a-f]+)/(?P<size>0x[0-9a-f]+)(?:\s+\[(?P<caller_module>[\w-]+)(?:\s[0-9a-f]+)?\])?"
    rf"| {_PLACES}(?: (?P<places_module>[\w-]{{1,64}})(?: |$))?)\)?(?P<tail>.*)$"
)
_SYMBOLISED = re.compile(
    r"\s*\(?(?:\[<?[0-9a-f]{1,16}>?\]\s+)?(?:\[<?(?P<address>[0-9a-f]{8,16})>?\]\s*\(?)?"
    r"(?P<old>\[< +inline +>\]\s*)?(?P<doubt>\? +)?"
    rf"(?P<function>{_SYMBOL}|{_RUST}) "
    rf"(?P<places>{_PLACES}"
    rf"|(?(old){_PLACE}|{_PLACE}(?= \[inline\])))(?P<tail>.*)$"
)
_TAIL_MODULE = re.compile(r"\s+\[?(?P<module>[\w-]{1,64})(?:\([A-Z]+\))?\]?(?:[\s)]|$)")
_START = re.compile(r"(?:\[<?(?:[0-9a-f]+| +none +)>?\] *)*(?:\? )?[\w.$]+\+0x[0-9a-f]+(?:/0x|\b)")
# crash: #7 [ffffc90000a0be18] name at ffffffffc0a5c1f2 [module]
_CRASH = re.compile(
    rf"\s*#\d{{1,4}} +\[[0-9a-f]{{8,16}}\](?: \?)? (?P<function>{_SYMBOL})"
    r"(?:\+(?P<offset>\d{1,8}))? at (?P<address>[0-9a-f]{8,16})(?: \[(?P<module>[\w-]{1,64})\])?"
)
# gdb: #1  0xffffffff81234567 in name (arg=1) at file.c:12; drgn: #1  name (file.c:12:3)
_GDB = re.compile(
    rf"\s*#\d{{1,4}} +(?:0x(?P<address>[0-9a-f]{{8,16}}) in )?(?P<function>{_SYMBOL}|{_RUST})"
    r"(?:\+(?P<offset>0x[0-9a-f]{1,8})(?:/(?P<size>0x[0-9a-f]{1,8}))?)?(?P<tail> ?\(.*|)$"
)
PLACES = re.compile(rf"(?<=[0-9a-f]) {_PATH}:\d{{1,6}}\b| {_PLACES}")
"""What a symboliser adds to a function: behind its offset, or instead of it."""
_SOURCE = re.compile(rf"\(?(?P<file>{_PATH}):(?P<line>\d{{1,6}})")
_INTERRUPTED = re.compile(r"\s*--- (?:interrupt|Exception): [0-9a-f]+ at (?P<rest>.*)")
_MARKS = re.compile(r"\s*(?:</?(?P<mark>#?[A-Za-z0-9_]+)> *|<<(?P<old>EOE)>> *)")
_SEGMENTS = {
    "IRQ": "irq",
    "SOFTIRQ": "softirq",
    "NMI": "nmi",
    "TASK": "task",
    "EOI": "task",
    "EOE": "task",
}


class FrameReader:
    """Reads the lines of one stack; knows on which stack of the CPU they are."""

    def __init__(self, segment: str = "task") -> None:
        self.segment = segment
        self.frames: list[Frame] = []
        self.called = False
        """The last frame is of a line ``callee from caller``."""

    def feed(self, text: str) -> bool:
        """Take a line if it is part of a stack."""
        interrupted = _INTERRUPTED.match(text) if "---" in text else None
        rest, marked = self._marks(interrupted["rest"] if interrupted else text)
        if marked and not rest.strip():
            return True
        frames = self._parse(rest)
        self.called = " from " in rest and bool(frames)
        # The kernel knows no inlined functions: text that somebody symbolised gives the same.
        self.frames.extend(self._believed(frame) for frame in frames if not frame.inline)
        return bool(frames) or marked

    def take(self, text: str) -> bool:
        """Take a line if it is a frame as the kernel prints most: nothing marks it."""
        frame = _plain_frame(text, self.segment)
        if frame is None:
            return False
        self.frames.append(frame)
        return True

    def _believed(self, frame: Frame) -> Frame:
        """A return address at offset 0 follows a call that does not return: it belongs to the
        function before in memory, which is not the one that the symbol table names."""
        if frame.offset or frame.offset is None or not self.frames or not frame.function:
            return frame
        if frame.interrupted or family(frame.function) == "entry":
            return frame
        return replace(frame, reliable=False)

    def _marks(self, text: str) -> tuple[str, bool]:
        marked = False
        if "<" not in text:
            return text, marked
        for _ in range(3):
            match = _MARKS.match(text)
            if match is None:
                break
            name = match["mark"] or match["old"] or ""
            closing = match[0].lstrip().startswith("</")
            if name in _SEGMENTS:
                self.segment = "task" if closing else _SEGMENTS[name]
            elif name.startswith("#") or name in ("ENTRY_TRAMPOLINE", "SYSENTER", "UNK"):
                self.segment = "task" if closing else "exception"
            else:
                break
            text, marked = text[match.end() :], True
        return text, marked

    def _parse(self, text: str) -> list[Frame]:
        if "#" in text and text.lstrip().startswith("#"):
            return _numbered(text)
        if " from " in text:
            match = _ARM.match(text)
            if match is not None:
                return self._arm(match)
        match = _FRAME.match(text) if "+0x" in text else None
        if match is not None:
            return [_raw(match, self.segment)]
        match = _SYMBOLISED.match(text) if _has_place(text) else None
        if match is not None:
            return [_symbolised(match, self.segment)]
        match = _BARE.match(text) if "[" in text else None
        if match is None and "0x" in text:
            match = _BARE_HEX.match(text)
        if match is not None:
            return [
                Frame(
                    None,
                    offset=_beyond(match["address"], match["base"]),
                    module=match["module"],
                    address=_address(match["address"]),
                    reliable=not match["doubt"],
                    segment=self.segment,
                )
            ]
        return []

    def _arm(self, match: re.Match[str]) -> list[Frame]:
        caller = Frame(
            match["caller"],
            int(match["offset"], 16) if match["offset"] else None,
            int(match["size"], 16) if match["size"] else None,
            match["caller_module"] or match["places_module"],
            _address(match["from"]),
            segment=self.segment,
            reliable=not match["doubt"],
        )
        callee = match["function"]
        last = self.frames[-1] if self.frames else None
        if last is not None and last.function == callee:
            return [caller]
        if last is not None and self.called and family(last.function or "") != "entry":
            # The frame's own record names another function: that one ends in a call that
            # does not return, and the symbol table gave what follows it in memory.
            self.frames[-1] = replace(last, reliable=False)
        return [
            Frame(
                callee,
                module=match["module"],
                address=_address(match["address"]),
                segment=self.segment,
                reliable=not match["doubt"],
            ),
            caller,
        ]


def _numbered(text: str) -> list[Frame]:
    """A line of crash's, gdb's or drgn's stacks."""
    match = _CRASH.match(text)
    if match is not None:
        return [
            Frame(
                match["function"],
                offset=int(match["offset"]) if match["offset"] else None,
                module=match["module"],
                address=_address(match["address"]),
            )
        ]
    match = _GDB.match(text)
    if match is None:
        return []
    source = list(_SOURCE.finditer(match["tail"]))
    return [
        Frame(
            match["function"],
            offset=int(match["offset"], 16) if match["offset"] else None,
            size=int(match["size"], 16) if match["size"] else None,
            address=_address(match["address"]),
            file=source[-1]["file"] if source else None,
            line=int(source[-1]["line"]) if source else None,
        )
    ]


def _symbolised(match: re.Match[str], segment: str) -> Frame:
    tail = match["tail"]
    # Where functions are inlined the innermost place comes first, the function's own last.
    source = list(_SOURCE.finditer(match["places"]))
    module = _TAIL_MODULE.match(tail)
    return Frame(
        match["function"].lstrip("."),
        module=module["module"] if module else None,
        address=_address(match["address"]),
        reliable=not match["doubt"] and "(unreliable)" not in tail,
        segment=segment,
        file=source[-1]["file"] if source else None,
        line=int(source[-1]["line"]) if source else None,
        inline="[inline]" in tail or bool(match["old"]),
    )


def is_frame(text: str) -> bool:
    """Is this a line of a stack, raw or symbolised?"""
    if text.startswith("#"):
        return _CRASH.match(text) is not None or _GDB.match(text) is not None
    if "+0x" in text:
        return _START.match(text) is not None or (" from " in text and _ARM.match(text) is not None)
    return _has_place(text) and _SYMBOLISED.match(text) is not None


def _has_place(text: str) -> bool:
    """Whether there may be a file and line in it, as a symboliser writes them."""
    return ":" in text and ("." in text or "??" in text)


def raw_frame(text: str) -> str:
    """A line of a stack as the kernel printed it; empty for one that a symboliser added."""
    if ":" not in text:
        return text
    return "" if text.rstrip().endswith("[inline]") else PLACES.sub("", text)


COUNTERS = ("RIP", "EIP", "IP: ", "PC is at ", "pc : ", "epc", "ERA: ", "NIP [", "Krnl PSW")
"""How the lines begin that say where the CPU was."""


@lru_cache(maxsize=16384)
def _plain_frame(text: str, segment: str) -> Frame | None:
    """The same calls stand in most stacks of a kernel."""
    if "<" in text or "#" in text or " from " in text or "---" in text:
        return None
    match = _FRAME.match(text)
    if match is None or text.lstrip().startswith(COUNTERS):
        return None
    frame = _raw(match, segment)
    return None if frame.inline or not frame.offset else frame


def _raw(match: re.Match[str], segment: str) -> Frame:
    address, doubt, function, offset, size, module, _flags, _build, tail = match.groups()
    source = _SOURCE.search(tail) if "." in tail else None
    return Frame(
        function.lstrip("."),  # ppc64's old ABI marks code by a dot
        int(offset, 16),
        int(size, 16) if size else None,
        module,
        _address(address),
        not doubt and "(unreliable)" not in tail,
        segment,
        source["file"] if source else None,
        int(source["line"]) if source else None,
        "[inline]" in tail,
        "(P)" in tail,  # arm64: the program counter of saved registers
    )


def _address(text: str | None) -> int | None:
    if not text or not text.strip("0") or "ptrval" in text:
        return None
    return int(text, 16)


def _beyond(address: str, base: str | None) -> int | None:
    """How far an address is from the start of its module."""
    return int(address, 16) - int(base, 16) if base else None


def parse_frame(text: str, segment: str = "task") -> Frame | None:
    """One frame, or ``None``: for a line that stands alone (RIP, last function ...)."""
    reader = FrameReader(segment)
    return reader.frames[0] if reader.feed(text) and reader.frames else None
