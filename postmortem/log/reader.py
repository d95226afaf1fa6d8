"""A stream of bytes to the messages of its reports, without parsing the rest.

Most of a log is not about reports: :class:`Reader` jumps from one line that may
begin a report to the next and parses only from there to the report's end. It
holds a window of the input, never the whole.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice

from postmortem.inputs.text import Stream
from postmortem.log import boots as boot_facts
from postmortem.log.blocked import TaskLists
from postmortem.log.boots import Boot
from postmortem.log.carried import is_journal, lines_of, undone
from postmortem.log.frames import is_frame
from postmortem.log.headers import match_header
from postmortem.log.lines import plain_record, plain_records, prefixed, records_of_line
from postmortem.log.needles import STACK_STARTS, finder
from postmortem.log.prefix import (
    Prefix,
    are_timed,
    hidden,
    is_late,
    learn,
    shared,
    without,
)
from postmortem.log.prose import is_document
from postmortem.log.split import MAX_HEAD, Section, Splitter
from postmortem.log.wrappers import INNER_NEWLINE
from postmortem.model.report import Record

BEFORE = 14
"""Lines before a header that may belong to it (``[ cut here ]``, the message of a WARN)."""
BEFORE_BYTES = 8192
_LAST_LINES = 20
"""Empty lines at the end that are passed over."""
LEARN = 90
"""Lines around a report that an unknown prefix is learnt from."""
LESSONS = 40
"""So many reports are tried for that."""
LINE_BYTES = 1 << 17
"""A longer line is cut into several of the same number."""
_BLOCK_BYTES = 4096
"""Lines that are read at once."""

_EMPTY_LINE = re.compile(rb"\n[ \t>|]*\r?\n")
"""What sets paragraphs apart."""
_FIRST_LINES = 60
"""Lines among which the log's first messages are looked for."""
_FIRST = 12
"""So many messages may come before the banner: microcode, the memory map of firmware."""
_LINUX = re.compile(r"Linux version (?P<release>\S+)")
_OFFSET = re.compile(r"Kernel Offset: 0x(?P<offset>[0-9a-f]{1,16})")


def _banner(record: Record) -> bool:
    """Is this what a kernel begins with?"""
    return "Linux version " in record.text or "Booting Linux on" in record.text


class Reader:
    """One pass over an input. Positions are offsets in the whole (decompressed) input."""

    def __init__(self, stream: Stream, lists: TaskLists | None = None) -> None:
        """
        :param lists: is fed the lists of tasks on the way, inside of reports and outside.
        """
        self._chunks = stream.chunks()
        self._find = finder()
        self._wrapped = False
        self._data = b""
        self._base = 0
        """Position of the first byte of ``_data``."""
        self._hits: list[int] = []
        """Positions in ``_data`` where a phrase of a header is."""
        self._searched = 0
        """Up to here ``_hits`` are known."""
        self._end = False
        self._hit_from, self._next_hit = 0, -1
        """Between these two positions there is no phrase, see :meth:`_hit_after`."""
        self._new = True
        """There is something in the window that was not searched."""
        self._phrase = False
        """Whether the line that :meth:`_read` is at has a phrase in it."""
        self._line = 1
        """Number of the line at ``_line_at``."""
        self._line_at = 0
        self._crashdump = False
        self._alone: list[Record] = []
        """The messages of the line that was looked at last, if all are whole reports."""
        self._noted = -1
        """The last line that :meth:`_note` kept something of."""
        self._lists = lists
        self._listed = 0
        """Up to here lists of tasks were looked for."""
        self._prefix: Prefix | None = None
        """What stands before every message and is in no table."""
        self._lessons = 0
        self._behead = BEFORE
        """Lines before the next candidate that are read with it."""
        self.shows_kernel = False
        """Some line is shown as messages of the kernel are."""
        self.quoted = False
        """It is somebody's text with messages of a kernel in it."""
        self.boots: list[Boot] = []
        self.head = Boot(1)
        """What comes before the first banner."""

    @property
    def size(self) -> int:
        """Bytes read so far."""
        return self._base + len(self._data)

    def _begin(self) -> None:
        """Note where the log begins: the banner is the first that a kernel prints."""
        lines = self._data.split(b"\n", _FIRST_LINES)[:_FIRST_LINES]
        records = (r for number, raw in enumerate(lines) for r in self._messages(raw, number + 1))
        timed = list(islice((r for r in records if r.time is not None or _banner(r)), _FIRST))
        if timed and timed[0].time and not any(map(_banner, timed)):
            self.head.begins = timed[0].time

    def _time_before(self, start: int) -> float | None:
        """Time of the last message before a line (seconds), if one near it has any."""
        begin = self._lines_before(start) - self._base
        times: list[float | None] = [None]
        for raw in self._data[begin : start - self._base].split(b"\n"):
            times += [r.time for r in records_of_line(raw, 0) if r.time is not None]
        return times[-1]

    def last_record(self) -> Record | None:
        """The last message of the input, once all of it was read.

        One with a time, if there is any: what stands below a paste is not the kernel's.
        """
        end = len(self._data)
        last: Record | None = None
        for _ in range(_LAST_LINES):
            start = self._data.rfind(b"\n", 0, max(0, end - 1)) + 1
            raw = self._data[start:end].rstrip(b"\n")[:LINE_BYTES]
            number = self._number(self._base + start)
            found = [r for r in self._messages(raw, number, user=True) if r.text]
            if found and found[-1].time is not None:
                return found[-1]
            last = last or (found[-1] if found else None)
            if start == 0:
                break
            end = start
        return last

    def messages(self) -> Iterator[Record]:
        """Every message; instead of :meth:`sections`, not besides."""
        self._more(0)
        for record, _start, _after in self._records(0):
            yield record

    def sections(self) -> Iterator[Section]:
        """Reports in the order in which they end."""
        splitter = Splitter()
        done = 0
        start = self._begins_in_a_stack()
        if start is None:
            start = self._next_interesting(0)
        while start is not None:
            if self._alone and not self._cut_before(start):
                # Of drivers' one-line reports there are thousands: nothing around them matters.
                for record in self._alone:
                    yield from splitter.feed(record)
                done = self._line_end(start) + 1
                start = self._next_interesting(done)
                continue
            begin = max(done, self._lines_before(start, self._behead))
            if begin > done:
                splitter.forget()
            if self._lists is not None and begin > self._listed:
                self._lists.rest()
            position = begin
            while position <= start or not self._idle(splitter):
                if position > start:
                    position, ended = self._plain_run(position, splitter)
                    yield from ended
                    if self._idle(splitter):
                        break
                found = self._read(position)
                if found is None:
                    yield from splitter.finish()
                    break
                records, after = found
                for record in records:
                    if position > start and self._idle(splitter):
                        after = position
                        break
                    if self._phrase:
                        self._note(position, record.text.lstrip(), record.time)
                    self._list(record, position)
                    yield from splitter.feed(record, self._phrase)
                if after == position:
                    break
                position = after
            done = self._listed = position
            start = self._next_interesting(position)

    def _idle(self, splitter: Splitter) -> bool:
        """Nothing is open that the next lines could belong to."""
        return splitter.idle and (self._lists is None or self._lists.idle)

    def _plain_run(self, position: int, splitter: Splitter) -> tuple[int, list[Section]]:
        """Read on while lines are plain and without a phrase; where that ended, and reports."""
        ended: list[Section] = []
        if not self._bare or position < self._listed:
            return position, ended
        while True:
            block = self._block(position)
            records = plain_records(block, self._number(position)) if block else []
            count, done = splitter.feed_plain(records)
            ended += done
            for record in records[:count] if self._lists is not None else ():
                self._list(record, position)
            if not count:
                return position, ended
            rest = block.split("\n", count)[count]
            self._line += count
            self._line_at = position = position + len(block) - len(rest)
            if count < len(records) or rest:
                return position, ended

    def _block(self, position: int) -> str:
        """Some of the next whole lines, as latin-1, before one with a phrase in it."""
        local = position - self._base
        until = min(self._hit_after(position) - self._base, local + _BLOCK_BYTES)
        return self._data[local : self._data.rfind(b"\n", local, until) + 1].decode("latin-1")

    def _begins_in_a_stack(self) -> int | None:
        """Start of an early line that is a frame: the head of its report scrolled away."""
        self._more(0)
        start, found = 0, None
        for _ in range(3):
            end = self._line_end(start)
            raw = self._data[start - self._base : end - self._base]
            if any(is_frame(record.text.lstrip()) for record in records_of_line(raw, 0)):
                found = start
            start = min(end + 1, self.size)
        return found

    def _next_interesting(self, position: int) -> int | None:
        while True:
            start = self._next_candidate(position)
            if start is None or self._interesting(start):
                return start
            position = self._task_list(start)

    # --- lists of tasks -----------------------------------------------------------------

    def _list(self, record: Record, line: int) -> None:
        """Let the task lists see a message, once."""
        if self._lists is not None and line >= self._listed:
            self._lists.feed(record)

    def _task_list(self, start: int) -> int:
        """Read the list that a line outside of reports begins, if any; where to go on.

        It ends where nothing of it is open any more, or with the next line that has a
        phrase: that one is looked at for itself.
        """
        after = self._line_end(start) + 1
        if self._lists is None or after <= self._listed:
            return after
        begin = max(self._listed, self._line_start(start - 1)) if start > self._base else start
        if begin > self._listed:
            self._lists.rest()
        for record, line, end in self._records(begin):
            if line > start and (self._phrase or self._lists.idle):
                break
            self._list(record, line)
            after = end
        self._listed = after
        return max(after, start + 1)

    # --- the window ---------------------------------------------------------------------

    def _more(self, keep_from: int) -> bool:
        """Slide the window: drop what is before ``keep_from``, append what comes next."""
        if self._end:
            return False
        chunk = next(self._chunks, b"")
        self._new = True
        if not chunk:
            self._end = True
            return False
        if self._base == 0 and not self._data:
            self.shows_kernel = any(map(prefixed, lines_of(chunk))) or is_journal(chunk)
            if _EMPTY_LINE.search(chunk, 0, 1 << 16) is not None:
                self.quoted = is_document(lines_of(chunk))
            chunk, self._chunks, self._wrapped = undone(chunk, self._chunks)
            if not self.shows_kernel:
                lines = lines_of(chunk)
                self.shows_kernel = any(map(prefixed, lines)) or are_timed(lines)
            self._data = chunk
            self._begin()
            self._data = b""
        self.shows_kernel = self.shows_kernel or b" kernel: " in chunk
        self._number(keep_from)  # while its newlines are still here
        self._data = self._data[keep_from - self._base :] + chunk
        self._base = keep_from
        self._hits = [hit for hit in self._hits if hit >= keep_from]
        return True

    def _search(self) -> None:
        """Look for phrases in what is new in the window, whole lines only."""
        if not self._new:
            return
        self._new = False
        end = len(self._data) if self._end else self._data.rfind(b"\n") + 1
        if len(self._data) - end > LINE_BYTES:
            end = len(self._data)  # a line without end can't be waited for
        begin = max(0, self._searched - self._base)
        if end > begin:
            part = self._data[begin:end] if (begin, end) != (0, len(self._data)) else self._data
            self._hits.extend(self._base + begin + hit for hit in self._find(part))
            self._searched = self._base + end

    def _next_candidate(self, position: int) -> int | None:
        """Start of the next line with a phrase in it, from ``position`` on."""
        while True:
            self._search()
            index = bisect_left(self._hits, position)
            if index < len(self._hits):
                return max(position, self._line_start(self._hits[index]))
            # Keep what may belong to a header that comes next.
            keep = max(position, self._lines_before(self._searched, MAX_HEAD))
            if not self._more(min(keep, self.size)):
                if self._searched >= self.size:
                    return None
                self._search()  # the last line has no newline
                if bisect_left(self._hits, position) == len(self._hits):
                    return None

    def _line_start(self, position: int) -> int:
        local = position - self._base
        return self._base + self._data.rfind(b"\n", max(0, local - LINE_BYTES), local) + 1

    def _line_end(self, start: int) -> int:
        local = start - self._base
        end = self._data.find(b"\n", local, local + LINE_BYTES)
        return self._base + (end if end >= 0 else min(len(self._data), local + LINE_BYTES))

    def _lines_before(self, position: int, count: int = BEFORE) -> int:
        local = position - self._base
        floor = max(0, local - BEFORE_BYTES * max(1, count // BEFORE // 2))
        before = self._data[floor : max(floor, local - 1)].rsplit(b"\n", count)
        if len(before) > 1 and (len(before) > count or floor):
            return self._base + floor + len(before[0]) + 1
        return self._base + (local if floor else 0)

    def _number(self, position: int) -> int:
        """Line number of a position in the window; cheap if positions are near each other."""
        if position == self._line_at:
            return self._line
        a, b = self._line_at - self._base, position - self._base
        if b >= a:
            self._line += self._data.count(b"\n", max(0, a), b)
        else:
            self._line -= self._data.count(b"\n", max(0, b), a)
        self._line_at = position
        return self._line

    # --- lines --------------------------------------------------------------------------

    def _records(self, start: int) -> Iterator[tuple[Record, int, int]]:
        """Messages from a line on, each with where its line starts and where the next does."""
        found = self._read(start)
        while found is not None:
            records, after = found
            for record in records:
                yield record, start, after
            start = after
            found = self._read(start)

    def _read(self, start: int) -> tuple[list[Record], int] | None:
        """The messages of a line and where the next one is; ``None`` at the end."""
        while True:
            local = start - self._base
            end = self._data.find(b"\n", local, local + LINE_BYTES)
            if end >= 0:
                break
            if len(self._data) - local >= LINE_BYTES:
                end = local + LINE_BYTES - 1
                break
            if self._more(start):
                continue
            if local >= len(self._data):
                return None
            end = len(self._data)
            break
        number = self._number(start)
        after = min(self._base + end + 1, self._base + len(self._data))
        self._phrase = self._hit_after(start) < after
        record = plain_record(self._data, local, end, number) if self._bare else None
        records = self._messages(self._data[local:end], number) if record is None else [record]
        if self._base + end < after:
            self._line += self._data.startswith(b"\n", end)  # a long line is cut into pieces
            self._line_at = after
        return records, after

    def _hit_after(self, position: int) -> int:
        """Where the next phrase is, or up to where there is none."""
        if self._new or not self._hit_from <= position <= self._next_hit:
            self._search()
            self._hit_from = position
            index = bisect_left(self._hits, position)
            self._next_hit = self._hits[index] if index < len(self._hits) else self._searched
        return self._next_hit

    @property
    def _bare(self) -> bool:
        """The lines are as the kernel printed them, and numbered as they come."""
        return not self._wrapped and self._prefix is None

    def _messages(self, raw: bytes, number: int, *, user: bool = False) -> list[Record]:
        """The messages on a line.

        :param user: also those that user space wrote: they are no reports of the kernel.
        """
        if not self._wrapped or INNER_NEWLINE not in raw:
            records = records_of_line(raw, number)
        else:
            parts = raw.split(INNER_NEWLINE)
            records = [record for part in parts for record in records_of_line(part, number)]
        if not user:
            records = [record for record in records if not record.user]
        if self._prefix is not None:
            records = [without(record, self._prefix) for record in records]
        return records

    def _learn(self, start: int, before: str = "") -> bool:
        """Learn what stands before the messages around a line that we don't understand.

        :param before: what stands before the message of this line, where that is known.
        """
        self._lessons += 1
        begin = self._lines_before(start) - self._base
        part = self._data[begin : start - self._base + BEFORE_BYTES]
        texts = [r.text for raw in part.split(b"\n")[:LEARN] for r in records_of_line(raw, 0)]
        self._prefix = shared(before, texts) if before else learn(texts)
        return self._prefix is not None

    def _cut_before(self, start: int) -> bool:
        """Whether a ``[ cut here ]`` waits for its header just before a line."""
        local = start - self._base
        return self._data.find(b"cut here ]", max(0, local - 1024), local) >= 0

    def _interesting(self, start: int) -> bool:
        """Is this line a header?"""
        raw = self._data[start - self._base : self._line_end(start) - self._base]
        found = False
        single = True
        number = self._number(start)
        records = self._messages(raw, number)
        if self._prefix is None and self._lessons < LESSONS and any(map(is_late, records)):
            records = self._messages(raw, number) if self._learn(start) else records
        for record in records:
            text = record.text.lstrip()
            header = match_header(text)
            if header is not None or text.startswith("INFO: task "):
                found, self._behead = True, BEFORE
                single = single and header is not None and header.form.single
                if single:
                    self._note(start, text, record.time)
            elif text.startswith(STACK_STARTS):
                found, single, self._behead = True, False, MAX_HEAD
            else:
                single = False
                self._note(start, text, record.time)
        if not found and self._prefix is None and self._lessons < LESSONS:
            before = next(filter(None, (hidden(record.text) for record in records)), "")
            if before and self._learn(start, before):
                return self._interesting(start)
        self._alone = records if found and single else []
        return found

    def _note(self, start: int, text: str, time: float | None) -> None:
        """Keep what a message tells about the kernel that printed it."""
        if start <= self._noted:
            return  # lines before a header are read once more
        if "Linux version " in text or text.startswith("Booting Linux on"):
            self._boot(start, text)
        elif "Starting crashdump kernel" in text:
            self._crashdump = True
        elif self.boots and "Kernel Offset: 0x" in text:
            offset = _OFFSET.search(text)
            if offset is not None:
                self.boots[-1].offset = int(offset["offset"], 16)
        elif boot_facts.is_separator(text):
            self._separated(start)
        elif not boot_facts.note(
            self.boots[-1] if self.boots else self.head, text, self._number(start), time
        ):
            return
        self._noted = start

    def _separated(self, start: int) -> None:
        """journalctl says that another boot begins; its banner may follow."""
        self._begins(start)

    def _begins(self, start: int) -> Boot:
        """Another boot."""
        before = self.boots[-1] if self.boots else self.head
        before.end = self._time_before(start)
        boot = Boot(self._number(start), kdump=self._crashdump)
        self._crashdump = False
        self.boots.append(boot)
        return boot

    def _boot(self, start: int, text: str) -> None:
        match = _LINUX.search(text)
        if match is not None and self.boots and self.boots[-1].release is None:
            boot = self.boots[-1]  # arm says "Booting Linux" first, a journal has its separator
        else:
            boot = self._begins(start)
        if match is not None:
            boot.release, boot.version = match["release"], text[:300]
