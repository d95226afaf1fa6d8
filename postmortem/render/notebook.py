"""Results as HTML for a notebook: what ``_repr_html_`` of the model and of a case calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postmortem.model.findings import Block, Finding, Table, Verdict
from postmortem.model.result import Analysis
from postmortem.render.html import piece
from postmortem.render.sections import Section, limits, of_block, of_finding, of_verdict, tables

Drawn = tuple[str, list[Section]]


def html(value: Any) -> str:
    """A piece of a page for a result; a case is shown as its analysis."""
    draw = _DRAW.get(type(value))
    if draw is None:
        return html(value.analyze())
    return piece(*draw(value))


def _analysis(value: Analysis) -> Drawn:
    title, found = _verdict(value.verdict)
    return title, [*found, *tables(value.tables), *limits(value)]


def _finding(value: Finding) -> Drawn:
    return value.readable, [of_finding(value)]


def _verdict(value: Verdict) -> Drawn:
    return value.readable, of_verdict(value)


_DRAW: dict[type[Any], Callable[[Any], Drawn]] = {
    Analysis: _analysis,
    Finding: _finding,
    Verdict: _verdict,
    Table: lambda value: (value.title, list(tables((value,)))),
    Block: lambda value: (value.title, [of_block(value)]),
}
