"""Lines on a terminal or in a file: the only place that turns strings into output.

Every string passes :func:`postmortem.render.clean.clean` here. What the output can
show and how prose is wrapped is :mod:`postmortem.render.terminal`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import IO

from postmortem.model.findings import Cell, Column, Unit
from postmortem.render import cells
from postmortem.render.clean import clean, clean_prose, clean_tabbed
from postmortem.render.terminal import Span, styled, terminal, wrap

MEASURE = 100
"""Prose is not set wider than this, however wide the terminal is."""
LABEL = 12
"""Width of the label column: ``LOAD AVERAGE``."""

_GLUE = "\ue000"
"""A private-use letter for a space that no line may break at; :func:`clean` lets none through."""

Part = str | tuple[str, str]
"""A string, or a string and its style."""


class Page:
    """Collects lines; :meth:`text` gives them with or without escape sequences."""

    def __init__(self, file: IO[str] | None = None, width: int | None = None) -> None:
        found = terminal(file, width)
        self._colours = found.colours
        self._lines: list[str] = []
        self.is_terminal = found.is_terminal
        self.width = max(found.width, 40)
        self.measure = min(self.width, MEASURE)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def blank(self) -> None:
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def heading(self, title: str, aside: str = "") -> None:
        """A section's title, after an empty line."""
        self.blank()
        self.line((title, "heading"), *([("  " + aside, "aside")] if aside else []))

    def line(self, *parts: Part, cut: bool = False) -> None:
        """One line as it is, never wrapped: a name must not be broken in the middle.

        :param cut: It must not be longer than the page is wide.
        """
        if cut:
            parts = tuple(_cut(parts, self.width))
        self._lines.append("".join(self._styled(*_split(part)) for part in parts).rstrip())

    def like(self, width: int) -> Page:
        """An empty page for the same output, at most ``width`` wide."""
        page = copy(self)
        page._lines = []
        page.width = min(self.width, width)
        page.measure = min(self.measure, width)
        return page

    def rows(self) -> list[str]:
        """What was written so far, for :meth:`row` of another page for the same output."""
        return list(self._lines)

    def row(self, row: str) -> None:
        """A line that :meth:`rows` gave."""
        self._lines.append(row)

    def verbatim(self, lines: Iterable[str]) -> None:
        """Lines as they are in a file; a terminal gets no control character but tabs."""
        self._lines += map(clean_tabbed, lines) if self.is_terminal else lines

    def prose(self, *parts: Part, aside: str = "", first: Part = "", rest: str = "") -> None:
        """A paragraph, wrapped between words.

        ``first`` stands before its first line, ``rest`` before the others;
        ``aside`` follows in brackets and is kept on one line if it can be.
        """
        room = max(self.measure - len(rest), 20)
        spans: list[Span] = []
        for part in parts:
            string, style = _split(part)
            lead = " " if spans and string[:1].isspace() else ""
            if string:
                spans.append((lead + clean_prose(string), style))
        if aside:
            aside = f"({clean_prose(aside)})"
            glued = aside.replace(" ", _GLUE) if len(aside) <= room else aside
            spans += [(" ", ""), (glued, "aside")]
        before = self._styled(*_split(first))
        for line in wrap(spans, room):
            text = "".join(self._coloured(string, style) for string, style in line)
            self._lines.append((before + text.replace(_GLUE, " ")).rstrip())
            before = rest

    def labelled(self, label: str, *parts: Part, wrap: bool = False, cut: bool = False) -> None:
        """A value after a right-aligned label, as in crash's banner."""
        before = f"{label:>{LABEL}}{':' if label else ' '} "
        if wrap:
            self.prose(*parts, first=(before, "label"), rest=" " * len(before))
        else:
            self.line((before, "label"), *parts, cut=cut)

    def table(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Cell]],
        *,
        indent: str = "  ",
        cut: bool = True,
        narrow: bool = False,
    ) -> None:
        """Aligned columns, each cell by its column's unit.

        :param narrow: Also where the output is no terminal.

        On a terminal that is too narrow (``cut``) columns that can be missed are left
        out, then the widest texts are folded; a line says what is missing.
        """
        shown = [[_cell(columns, row, i) for i in range(len(columns))] for row in rows]
        titles = [clean(column.name) for column in columns]
        widths = [
            max([len(title), *(len(row[i]) for row in shown)]) for i, title in enumerate(titles)
        ]
        places = list(range(len(columns)))
        if narrow or (cut and self.is_terminal):
            room = self.width - len(indent)
            places = _fitting(columns, widths, room)
            fitting = _shrunk([widths[i] for i in places], room - 2 * (len(places) - 1))
            widths = [dict(zip(places, fitting, strict=True)).get(i, 0) for i in range(len(widths))]

        def lay(row: Sequence[str]) -> str:
            return "  ".join(
                _fit(row[i], widths[i], cells.is_to_the_right(columns[i])) for i in places
            )

        self.line((indent + lay(titles), "label"))
        for row in shown:
            for folded in _fold(row, columns, widths, places):
                self.line(indent + lay(folded))
        if len(places) < len(columns):
            names = ", ".join(title for i, title in enumerate(titles) if i not in places)
            self.prose((f"no room for: {names} (-v shows all)", "aside"), first=indent, rest=indent)

    def _styled(self, string: str, style: str) -> str:
        return self._coloured(clean(string), style)

    def _coloured(self, string: str, style: str) -> str:
        return styled(string, style) if self._colours else string


def write(text: str, file: IO[str]) -> None:
    """Write to ``file`` whatever its encoding can say; the rest as escapes."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    file.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _cut(parts: Iterable[Part], width: int) -> Iterator[Part]:
    """The parts as far as there is room; what is cut ends in ``~``."""
    for part in parts:
        string, style = _split(part)
        string = clean(string)
        if len(string) > width:
            yield string[: max(width - 1, 0)] + "~", style
            return
        width -= len(string)
        yield string, style


def _split(part: Part) -> tuple[str, str]:
    return (part, "") if isinstance(part, str) else part


def _cell(columns: Sequence[Column], row: Sequence[Cell], place: int) -> str:
    return cells.text(row[place] if place < len(row) else None, columns[place])


_READABLE = 24
"""A text column is not squeezed below this while another column can be left out."""


def _fitting(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """The places of the columns that there is room for."""

    def needed(place: int) -> int:
        is_text = columns[place].unit is Unit.TEXT
        return min(widths[place], _READABLE) if is_text else widths[place]

    places = list(range(len(columns)))
    while sum(map(needed, places)) + 2 * (len(places) - 1) > room:
        last = max(places, key=lambda place: (columns[place].extra, place))
        if not columns[last].extra:
            break
        places.remove(last)
    return places


_MAX_FOLDS = 3
"""Lines of a cell; what does not fit into them ends in ``~``."""


def _fold(
    row: Sequence[str], columns: Sequence[Column], widths: Sequence[int], places: Sequence[int]
) -> Iterator[list[str]]:
    """A row as lines: long texts go on below."""
    folded = {i: [row[i]] for i in places}
    for i in places:
        if columns[i].unit is Unit.TEXT and len(row[i]) > widths[i]:
            lines = textwrap.wrap(row[i], widths[i], break_on_hyphens=False) or [""]
            rest = " ".join(lines[_MAX_FOLDS - 1 :])
            folded[i] = [*lines[: _MAX_FOLDS - 1], *([rest] if rest else [])]
    for number in range(max(map(len, folded.values()), default=0)):
        line = [""] * len(row)
        for i, lines in folded.items():
            line[i] = lines[number] if number < len(lines) else ""
        yield line


def _fit(cell: str, width: int, to_right: bool) -> str:
    if len(cell) > width:
        return cell[: width - 1] + "~"
    return cell.rjust(width) if to_right else cell.ljust(width)


def _shrunk(widths: list[int], room: int, least: int = 8) -> list[int]:
    """Cap the widest columns at one common width so that all fit in ``room``."""
    low, high = least, max([least, *widths])
    while low < high:
        cap = (low + high + 1) // 2
        if sum(min(width, cap) for width in widths) <= room:
            low = cap
        else:
            high = cap - 1
    return [min(width, low) for width in widths]
