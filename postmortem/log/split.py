"""From a stream of messages to the messages of one report each.

Reports of different CPUs come mixed: where the prefix has a caller id, each
caller has its own open report. Where it has none, a message continues the open
report as long as it looks like part of one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache

from postmortem.log.fits import fits
from postmortem.log.frames import is_frame
from postmortem.log.headers import HEADLESS, Form, Header, headless, match_header
from postmortem.log.mixed import is_torn, unmix
from postmortem.log.needles import DEBUGGER
from postmortem.model.report import Record

MAX_RECORDS = 3000
"""Messages of one report that are kept."""
MAX_STRANGERS = 60
"""So many messages that don't fit end a report."""
NEARBY = 6
"""Messages before a report that are kept with it."""
MAX_GAP = 40.0
"""Seconds without a message end a report."""
MAX_BACK = 60.0
"""A CPU that answers an NMI prints with the clock that it saw when it got stuck."""
_BOOT_SECONDS = 1.0
"""A time below starts a boot."""
MAX_AFTER_END = 40
"""Messages after ``---[ end trace ]---`` that may still be registers of the report."""
MAX_CUT = 12
"""Messages between ``[ cut here ]`` and its header."""
MAX_AGE = 4000
"""A caller that printed nothing for so many messages is done with its report."""
_AGING = 256
"""Every so many messages somebody looks for those."""
_JOIN = 60
"""A further header line must come within so many messages of the first."""

_ANOTHER = "another report began"
_RULED = ("kasan", "kmsan", "kcsan", "kfence", "ubsan")
"""Forms that end with a line of ``=``."""

_ASKED = "sysrq-crash"
_WHOLE = ("kmsan",)
"""Those whose stacks after the first say what the report is about."""

_CUT = re.compile(r"-{4,20}\[ cut here \]-{4,20}|8<--- cut here ---")
_CUTS = frozenset("-8")
"""How such a line begins."""
_END = re.compile(r"-{2,4}\[ end (?:trace|Kernel panic)")
_RULE = re.compile(r"={30,}$")
_LISTING = ("Code starting with", "All code")
_BOOT = ("Linux version ", "Booting Linux on physical CPU")
_TAIL = re.compile(
    r"[RE]?(?:IP|SP|[A-DS][XI]|BP|FLAGS)\b|R\d\d:|[CD]R\d:|[C-GS]S:|Code:|PKRU:|ORIG_|note: "
    r"|<TASK>|</TASK>|Modules|Kernel panic|$"
)
"""What is printed once more after the end."""
MAX_HEAD = 120
"""Messages before the end of a stack that may belong to it, where its header is lost."""
_ASKS = 20
"""Lines before a debugger's stack in which it may have been asked whose that is."""
_FEW = 2
"""Fewer frames are no stack."""
_ABOUT = re.compile(
    r"CPU: \d|Pid: \d|Hardware name:|Workqueue: |Tainted: \[|[RE]IP: |[RE]SP: |[RE][A-D]X: "
    r"|[RE][SD]I: |[RE]BP: |R\d\d: |FS: |CS: |CR\d: |DR\d: |PKRU: |Code: |pc : |lr : |sp : "
    r"|x\d\d?: |pstate: |task: |Stack ?:|Modules linked|$"
)
"""What is printed between a message and the stack that it comes with."""
_NEAR = 8
_LISTED = re.compile(
    r"^\s*task:|NMI backtrace for cpu|Sending NMI|FAULT_INJECTION|name fail|locks? held by"
    r"|Task dump|^\S.{0,24}? +[RSDTtXZPIN] +(?:[0-9a-f]{8,16}|running|\d)"
    r"|Show(?:ing)? |\bstate:\S+ +stack:|CPU ?\d+: stopping"
)
"""Stacks that were asked for, or that belong to something that was."""
_OWN_STACK = re.compile(r"CPU: \d|Pid: \d|Call [Tt]race:|Hardware name:|Mem-Info:")
"""A one-line report that goes on like this is more than a line: what follows is its own."""
_TITLE = re.compile(r"Call [Tt]race|Backtrace|(?:stack )?backtrace:")
_WIDE = re.compile(
    r"Sending NMI |NMI backtrace for cpu|Task dump for CPU|Showing (?:all|busy)|Workqueue: "
)
_MARKS = (_TITLE, _END, _WIDE, _RULE)
_MARKED = frozenset("CBsb-=SNTW")
"""How the lines that :meth:`Splitter._mark` looks for begin."""


_PATIENCE = 3
"""So many messages of others may be between a header and the first line of its report."""
_SHOWN_BY = "fs-assert"
"""A failed assertion is printed before the BUG() or WARN() that shows its stack."""
_BUGS = frozenset({"bug-at", "kernel-bug-at", "internal-bug"})
_WARNS = 12
"""So many lines may be between the message of a check and the WARN() that shows its stack."""


def _is_warning(header: Header) -> bool:
    return "WARNING:" in header.form.literals


_REGISTER = re.compile(r"(?:[Rr]?[A-Za-z]{1,3}\d{0,2}|epc|pc|lr) ?: ?[0-9a-f]{8,16}\b")


def _shows_registers(records: Sequence[Record]) -> bool:
    """Whether a stack has registers above it, as a trap's has and a dump_stack()'s not."""
    return any(_REGISTER.match(record.text.lstrip()) for record in records)


def _goes_on_listing(records: Sequence[Record]) -> bool:
    """Whether the last of these is in a stack that was asked for: one whose own line was lost."""
    for record in reversed(records):
        if _LISTED.search(record.text):
            return True
        text = record.text.lstrip()
        if not (is_frame(text) or _TITLE.match(text) or fits(record.text)):
            return False
    return False


def _follows(before: float, now: float) -> bool:
    """Whether a line of time ``now`` can belong to a report whose last line is of ``before``."""
    if now < before - _BOOT_SECONDS and now < _BOOT_SECONDS:
        return False
    return -MAX_BACK < now - before < MAX_GAP


class _Shape(Enum):
    """What a message is to a report that is open."""

    FRAME = auto()
    FITS = auto()
    """Some line of its own, of which no more is to be known."""
    OTHER = auto()


@lru_cache(maxsize=8192)
def _shape(text: str) -> _Shape:
    """The same frames, and many other lines, stand in most reports of a kernel."""
    stripped = text.lstrip()
    if is_frame(stripped):
        return _Shape.FRAME
    head = stripped[:1]
    if not head or (head in _CUTS and _CUT.match(stripped)) or not fits(text):
        return _Shape.OTHER
    marked = head in _MARKED and any(pattern.match(stripped) for pattern in _MARKS)
    return _Shape.OTHER if marked else _Shape.FITS


@dataclass
class Section:
    """The messages of one report."""

    header: Header
    records: list[Record]
    at: int
    """Index of the header message in ``records``."""
    caller: str | None
    frames: int = 0
    titled: bool = False
    """``Call Trace:`` was seen."""
    strangers: int = 0
    fitting: int = 0
    """Messages up to the last one that looks like part of the report."""
    ended: bool = False
    after_end: int = 0
    wide: bool = False
    interrupted: str | None = None
    """Why it isn't whole: what came between."""
    joined: list[Header] = field(default_factory=list)
    rules: int = 0
    last_time: float | None = None
    closed: bool = False
    fed: int = 0
    """When its last message came, in messages."""
    beheaded: bool = False
    """It has no header because the log does not have its beginning any more."""
    aside: bool = False
    """It began in the middle of the stack of another report, which goes on."""
    order: int = 0
    """How many reports began before it."""
    before: tuple[Record, ...] = ()
    """What was said just before, and belongs to no report."""
    about: str = ""
    """What stood before a stack that a debugger printed: of which task it is."""
    torn: Section | None = None
    """The report that this one interrupted: its lines may be among those of this one."""

    @property
    def form(self) -> Form:
        return self.header.form

    @property
    def inlined(self) -> bool:
        """Its header so far is one that a symboliser wrote for an inlined function."""
        return self.header.match.string.rstrip().endswith("[inline]")

    def takes_header(self, header: Header) -> bool:
        """Is this header only a further line of the same report?"""
        if self.inlined and header.form.kind is self.form.kind and not self.frames:
            return True
        if self.titled or self.ended or len(self.records) - self.at > _JOIN:
            # A stall prints its second header after the first one's stacks.
            return self.form.name in header.form.continues and (
                header.form.wide or header.form.brief
            )
        names = {self.form.name, *(joined.form.name for joined in self.joined)}
        return not names.isdisjoint(header.form.continues)

    @property
    def traced(self) -> bool:
        """Has its stack begun?"""
        return self.titled or self.frames > 2


class Splitter:
    """Feed it messages in order; it gives back sections as they end."""

    def __init__(self) -> None:
        self._open: dict[str | None, Section] = {}
        self._cut: dict[str | None, list[Record]] = {}
        self._last: Section | None = None
        self._half: Record | None = None
        self._begun = 0
        self._fed = 0
        self._cut_at: dict[str | None, int] = {}
        self._aside: Section | None = None
        self._recent: deque[Record] = deque(maxlen=MAX_HEAD)
        self._before: Record | None = None
        self._doubled = False
        """Two consoles write into this log: every message comes twice."""
        self._top = True
        """Nothing but what may be a part of a stack has come yet."""

    @property
    def idle(self) -> bool:
        """Nothing is open: the caller may skip ahead to the next header."""
        return not self._open and not self._cut and self._half is None and self._aside is None

    def feed(self, record: Record, phrase: bool = True) -> list[Section]:
        """Take one message; the sections that ended with it, oldest first.

        :param phrase: whether a header's phrase is in it (a search said so).
        """
        self._fed += 1
        before, self._before = self._before, record
        alike = before is not None and before.text == record.text
        if (alike or self._doubled) and self._again(before, record, phrase):
            return []
        if self._fed % _AGING == 0:
            return [*self._age(), *self._take(record, phrase)]
        if not phrase and self._next_frame(record):
            return []
        return self._take(record, phrase)

    def feed_plain(self, records: Sequence[Record]) -> tuple[int, list[Section]]:
        """Take messages without a phrase until nothing is open; how many, and what ended.

        The same as :meth:`feed` for each; most of them only go on with what is open.
        """
        done: list[Section] = []
        at = 0
        while at < len(records) and not self.idle:
            at = self._go_on(records, at)
            if at < len(records):
                done += self.feed(records[at], phrase=False)
                at += 1
        return at, done

    def _go_on(self, records: Sequence[Record], at: int) -> int:
        """Take frames and other messages that only fit into the open report; where to go on."""
        caller = records[at].caller
        section = self._open.get(caller)
        if (
            section is None
            or section.ended
            or self._cut
            or self._half is not None
            or self._aside is not None
            or self._doubled
            or (section.form.brief and not section.frames)
        ):
            return at
        taken = section.records
        room = min(MAX_RECORDS - 1 - len(taken), _AGING - 1 - self._fed % _AGING)
        last, frames = section.last_time, section.frames
        fresh = []
        for record in records[at : at + max(room, 0)]:
            now = record.time
            if record.caller != caller or now is None:
                break
            if last is not None and not 0 <= now - last < MAX_GAP:
                break
            shape = _shape(record.text)
            if shape is _Shape.OTHER:
                break
            if shape is _Shape.FRAME:
                frames += 1
            fresh.append(record)
            last = now
        if fresh:
            taken += fresh
            self._fed += len(fresh)
            self._before = fresh[-1]
            section.strangers = 0 if frames > section.frames else section.strangers
            section.frames, section.last_time = frames, last
            section.fitting, section.fed = len(taken), self._fed
        return at + len(fresh)

    def _next_frame(self, record: Record) -> bool:
        """Take the next frame of a stack, as most lines of a report are: no more is asked."""
        section = self._open.get(record.caller)
        if (
            section is None
            or not section.frames
            or section.ended
            or self._cut
            or self._half is not None
            or self._aside is not None
            or "+0x" not in record.text
            or len(section.records) >= MAX_RECORDS - 1
        ):
            return False
        if record.time is not None and section.last_time is not None:
            passed = record.time - section.last_time
            if not 0 <= passed < MAX_GAP:
                return False
        if not is_frame(record.text.lstrip()):
            return False
        section.records.append(record)
        section.fitting = len(section.records)
        section.frames += 1
        section.strangers = 0
        section.fed = self._fed
        if record.time is not None:
            section.last_time = record.time
        return True

    def _again(self, before: Record | None, record: Record, phrase: bool) -> bool:
        """Is this the last message once more, in a log to which two consoles write?

        A header that comes twice at one time tells; the first message that comes alone ends it.
        """
        same = (
            before is not None
            and before.text == record.text
            and before.time == record.time
            and before.caller == record.caller
        )
        if self._doubled:
            # What was left out is not what the next message is compared with.
            self._before = None if same else record
            self._doubled = same or before is None
            return same
        if not (same and phrase and record.text.strip()):
            return False
        header = match_header(record.text.lstrip())
        self._doubled = header is not None and not header.form.single
        self._before = None if self._doubled else record
        return self._doubled

    def _age(self) -> list[Section]:
        """End what has been open for too long: each costs time at every message."""
        for caller in [c for c, at in self._cut_at.items() if self._fed - at > MAX_AGE]:
            self._flush(caller)
        old = [key for key, one in self._open.items() if self._fed - one.fed > MAX_AGE]
        done = [section for key in old for section in self._end_of(key, "nothing more came")]
        aside = self._aside
        if aside is not None and self._fed - aside.fed > MAX_AGE:
            done += self._end_aside()
        return sorted(done, key=lambda section: section.order)

    def _take(self, record: Record, phrase: bool) -> list[Section]:
        stripped = record.text.lstrip()
        header = match_header(stripped) if phrase else None
        if header is None and (phrase or self._half is not None):
            header = self._broken_header(record, stripped)
        if header is not None:
            if header.form.single and not self._goes_on(record, header):
                return self._single(record, header)
            return self._header(record, header)
        if stripped[:1] in _CUTS and _CUT.match(stripped):
            # The header comes after the cut, with a message or two between.
            self._flush(record.caller)
            self._cut[record.caller] = [record]
            self._cut_at[record.caller] = self._fed
            return []
        if self._cut and record.caller in self._cut:
            pending = self._cut[record.caller]
            pending.append(record)
            if len(pending) > MAX_CUT:
                self._flush(record.caller)
            return []
        return self._plain(record, stripped)

    def _broken_header(self, record: Record, text: str) -> Header | None:
        """A task's name may hold a newline, and then the header is on two lines."""
        before, self._half = self._half, None
        if text.startswith("INFO: task "):
            self._half = record
        elif (
            before is not None
            and before.caller == record.caller
            and before.time == record.time
            and "for more than" in text
        ):
            return match_header(f"{before.text} {text}")
        return None

    def _goes_on(self, record: Record, header: Header) -> bool:
        """Is a one-line message here only a line of the report that is open?"""
        section = self._open.get(record.caller) if header.form.continues else None
        return section is not None and section.takes_header(header)

    def _single(self, record: Record, header: Header) -> list[Section]:
        """One line that is a report of its own, whoever prints around it."""
        section = Section(header, [record], 0, record.caller, closed=True, order=self._begun)
        self._begun += 1
        return [section]

    def _flush(self, caller: str | None) -> None:
        """No header came: what was held back belongs to the open report, if any."""
        section = self._open.get(caller)
        self._cut_at.pop(caller, None)
        for record in self._cut.pop(caller, []):
            if section is not None:
                self._append(section, record)

    def finish(self) -> list[Section]:
        """The input is at its end."""
        torn = [first for section in self._open.values() for first in self._torn_by(section)]
        done = sorted(
            [*self._open.values(), *torn, *self._end_aside()], key=lambda section: section.order
        )
        for section in done:
            del section.records[max(section.fitting, section.at + 1) :]
            if not section.ended and not section.traced and not section.form.brief:
                section.interrupted = section.interrupted or "the log ends"
        self._open.clear()
        self._cut.clear()
        return [one for one in done if one.form is not HEADLESS or one.frames >= _FEW]

    def _header(self, record: Record, header: Header) -> list[Section]:
        section = self._open.get(record.caller)
        if (
            section is None
            and record.caller is None
            and self._last is not None
            and not self._last.closed
        ):
            section = self._last
        if section is not None and (
            section.takes_header(header) or self._same_event(section, header)
        ):
            if section.form.preface or section.inlined or self._says_more(section, header):
                section.header = header
            section.joined.append(header)
            self._flush(record.caller)
            self._append(section, record)
            section.fitting = len(section.records)
            return []
        if section is not None and self._only_passes(section, header):
            return self._open_aside(record, header)
        before = self._cut.pop(record.caller, [])
        self._cut_at.pop(record.caller, None)
        if section is not None and section.form.name == _ASKED and header.form.find != "none":
            before = [*section.records, *before]  # the crash that somebody asked for
            del self._open[section.caller]
        done = self._end_of(record.caller, _ANOTHER)
        torn = (
            done.pop() if done and record.caller is None and self._tears(done[-1], header) else None
        )
        new = Section(
            header,
            [*before, record],
            len(before),
            record.caller,
            last_time=record.time,
            order=self._begun,
            fed=self._fed,
            before=tuple(self._recent)[-NEARBY:],
            torn=torn,
        )
        self._recent.clear()
        self._begun += 1
        self._open[record.caller] = new
        self._last = new
        if len(self._open) > 64:  # a garbled log; a machine has no 64 reports at once
            oldest = min(self._open, key=lambda key: self._open[key].records[-1].line)
            done += self._end_of(oldest, "too many reports at once")
        return done

    def _tears(self, section: Section, header: Header) -> bool:
        """Did another CPU begin to die before this report was told whose it is?"""
        return header.form.find == "pc" and section.torn is None and is_torn(section)

    def _says_more(self, section: Section, header: Header) -> bool:
        """Does the message of a WARN() tell its kind better than the place of the check?"""
        said = header.form
        vague = said.name == "bug" or "Kernel panic" in said.literals or _is_warning(header)
        return section.form.name == "warning" and not vague

    def _only_passes(self, section: Section, header: Header) -> bool:
        """A line of another CPU in the middle of a stack, without a caller to tell them apart."""
        form = header.form
        if not form.brief or "Kernel panic" in form.literals or form.name == _ASKED:
            return False
        if section.caller is not None or section.ended:
            return False
        if section.frames:
            return True
        # Its stack may still come, unless the new one is of a kind that brings a stack.
        waits = len(section.records) - max(section.fitting, section.at + 1) <= _PATIENCE
        return form.find == "none" and not section.form.brief and waits

    def _open_aside(self, record: Record, header: Header) -> list[Section]:
        done = self._end_aside()
        self._aside = Section(
            header,
            [record],
            0,
            record.caller,
            last_time=record.time,
            order=self._begun,
            fed=self._fed,
            aside=True,
        )
        self._begun += 1
        return done

    def _end_aside(self) -> list[Section]:
        aside, self._aside = self._aside, None
        if aside is None:
            return []
        aside.closed = True
        del aside.records[max(aside.fitting, 1) :]
        return [aside]

    def _same_event(self, section: Section, header: Header) -> bool:
        """Is the new header a part of what is open: panic() or WARN() before its stack?"""
        if section.titled or section.ended:
            return False
        name = header.form.name
        behind = len(section.records) - section.at
        if section.form.name == _SHOWN_BY and (_is_warning(header) or name in _BUGS):
            return not section.frames and behind <= _WARNS
        if section.form.brief:
            return False
        if name.startswith("panic"):
            # panic() that interrupts a warning before its stack: the stack is the warning's.
            return not section.form.name.startswith("panic") and behind <= _JOIN
        warns, warned = (_is_warning(h) for h in (header, section.header))
        if section.frames or warns == warned:
            return False
        if warned:
            return behind == 1  # up to 4.12 WARN() prints its message second
        # The check prints what it found, then warns to get a stack; or the report itself warns.
        return behind <= _WARNS and section.form.find in ("none", "stall")

    def _plain(self, record: Record, text: str) -> list[Section]:
        section = self._open.get(record.caller)
        if section is None:
            section = self._foreign(record)
        if section is None or (not section.frames and self._done_before(section, text)):
            self._without_header(record, text)
            return []
        if text.startswith(_BOOT):
            return self._end_all("the machine restarted")
        if self._aside is not None and section.caller is None:
            form = self._aside.form
            if section.titled and form.find != "none" and _OWN_STACK.match(text):
                return self._aside_takes_over(section, record, text)
            if form.details and len(self._aside.records) < _JOIN and not is_frame(text):
                self._append(self._aside, record)
                if fits(text):
                    self._aside.fitting = len(self._aside.records)
        if (
            record.time is not None
            and section.last_time is not None
            and not _follows(section.last_time, record.time)
        ):
            return self._end_of(section.caller, "nothing more came")
        if section.ended:
            return self._after_end(section, record, text)
        frame = is_frame(text)
        if not frame and not fits(record.text):
            section.strangers += 1
            if section.strangers > MAX_STRANGERS:
                return self._end_of(section.caller, "other messages came between")
            self._append(section, record)
            return []
        if text:
            section.fitting = len(section.records) + 1
        self._append(section, record)
        if frame:
            section.frames += 1
            section.strangers = 0
        elif text[:1] in _MARKED and self._mark(section, text):
            return self._end_of(section.caller, None)
        if len(section.records) >= MAX_RECORDS:
            return self._end_of(section.caller, None)
        return []

    def _aside_takes_over(self, section: Section, record: Record, text: str) -> list[Section]:
        """The report that came between has a stack of its own: the other one's is over."""
        done = self._end_of(section.caller, None)
        aside, self._aside = self._aside, None
        assert aside is not None
        aside.aside = False
        self._open[aside.caller] = self._last = aside
        return [*done, *self._plain(record, text)]

    def _done_before(self, section: Section, text: str) -> bool:
        """Is this the stack of somebody else: the open report is a line, and long past?"""
        if not section.form.brief:
            return False
        past = len(section.records) - max(section.fitting, section.at + 1)
        alone = not section.frames and past > _PATIENCE
        return alone and _TITLE.match(text) is not None

    def forget(self) -> None:
        """The next message does not follow the last one: some were passed over."""
        self._recent.clear()
        self._top = False

    def _without_header(self, record: Record, text: str) -> None:
        """Does a stack begin that no header announced, or is this the rest of one?"""
        recent = [old for old in self._recent if old.caller == record.caller]
        self._recent.append(record)
        titled, ended = _TITLE.match(text) is not None, _END.match(text) is not None
        framed = bool(recent) and is_frame(text) and is_frame(recent[-1].text.lstrip())
        # Not in the middle of a log, where it is the rest of a stack; but a debugger's is whole.
        framed = framed and (self._top or text.startswith(DEBUGGER))
        self._top = self._top and (is_frame(text) or not text)
        if not (titled or ended or framed):
            return
        own: list[Record] = []
        before: Record | None = None
        for old in reversed(recent):
            about = old.text.lstrip()
            if not (_ABOUT.match(about) or _REGISTER.match(about) if titled else fits(old.text)):
                before = old
                break
            own.insert(0, old)
        # Registers stand between the line that says what for and the stack.
        if any(_LISTED.search(old.text) for old in recent[-len(own) - _NEAR :]):
            return  # somebody asked for the stacks of tasks or CPUs
        if titled and not own and _goes_on_listing(recent):
            return
        said = titled and before is not None and before.text.strip() != ""
        records = [*([before] if said and before else []), *own, record]
        section = Section(
            headless(),
            records,
            0,
            record.caller,
            frames=sum(is_frame(old.text.lstrip()) for old in records),
            titled=titled or ended,
            fitting=len(records),
            ended=ended,
            last_time=record.time,
            fed=self._fed,
            beheaded=not said and (not own or _shows_registers(own)) if titled else True,
            order=self._begun,
            about="\n".join(old.text for old in recent[:-1][-_ASKS:]) if framed else "",
        )
        self._begun += 1
        self._recent.clear()
        self._open[record.caller] = self._last = section

    def _mark(self, section: Section, text: str) -> bool:
        """Note what a line says about the state of its report; is it the last?"""
        if _TITLE.match(text):
            section.titled = True
        elif _END.match(text):
            section.ended = True
        elif _WIDE.match(text):
            section.wide = True
        elif _RULE.match(text):
            if section.records[-2:][0].text.startswith(_LISTING):
                return False  # decode_stacktrace.sh underlines its listing of the code
            section.rules += 1
            return section.frames > 0 and section.form.name.startswith(_RULED)
        return False

    def _foreign(self, record: Record) -> Section | None:
        """A message of somebody who has no report open."""
        last = self._last
        if last is None or last.closed:
            return None
        if record.caller is None:
            return last  # a line that lost its prefix
        if last.wide or last.caller is None:
            return last
        return None

    def _after_end(self, section: Section, record: Record, text: str) -> list[Section]:
        section.after_end += 1
        if section.after_end > MAX_AFTER_END or not _TAIL.match(text):
            return self._end_of(section.caller, None)
        self._append(section, record)
        if section.beheaded:
            section.fitting = len(section.records)  # all there is of its registers
        return []

    def _append(self, section: Section, record: Record) -> None:
        if len(section.records) < MAX_RECORDS:
            section.records.append(record)
        section.fed = self._fed
        if record.time is not None:
            section.last_time = record.time

    def _end_of(self, caller: str | None, why: str | None) -> list[Section]:
        section = self._open.pop(caller, None)
        if section is None:
            return []
        before = self._torn_by(section)
        section.closed = True
        del section.records[max(section.fitting, section.at + 1) :]
        if section.form is HEADLESS and section.frames < _FEW:
            return before
        if (
            why
            and not section.form.brief
            and (
                not section.traced
                or (why == _ANOTHER and section.form.name.startswith(_WHOLE) and not section.rules)
            )
        ):
            section.interrupted = section.interrupted or why
        return [*before, section]

    def _torn_by(self, section: Section) -> list[Section]:
        """The report that this one began in the middle of, now that all lines of both are here."""
        torn, section.torn = section.torn, None
        if torn is None:
            return []
        unmix(torn, section)
        return [torn]

    def _end_all(self, why: str) -> list[Section]:
        done: list[Section] = []
        for caller in list(self._open):
            done += self._end_of(caller, why)
        done += self._end_aside()
        return sorted(done, key=lambda section: section.order)


def split(records: Sequence[Record], phrases: Collection[int]) -> Iterator[Section]:
    """All reports in a stream of messages, in the order in which they end.

    :param phrases: indexes of the messages with a header's phrase in them.
    """
    splitter = Splitter()
    for index, record in enumerate(records):
        yield from splitter.feed(record, index in phrases)
    yield from splitter.finish()
