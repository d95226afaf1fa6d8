"""Results as HTML for a notebook: what ``_repr_html_`` of the model and of a case calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from postmortem.model.findings import Block, Finding, Table, Verdict
from postmortem.model.result import Analysis
from postmortem.render import html as page


def html(value: Any) -> str:
    """A piece of a page for a result; a case is shown as its analysis."""
    draw = _DRAW.get(type(value))
    if draw is None:
        return html(value.analyze())
    return "\n".join(draw(value))


def _analysis(value: Analysis) -> Iterable[str]:
    yield f"<h3>{page._esc(value.verdict.title)}</h3>"
    yield from page._verdict(value)
    yield from page._tables(value.tables)
    yield from page._limits(value)


def _finding(value: Finding) -> Iterable[str]:
    yield f"<h3>{page._esc(value.title)} {page._aside(value)}</h3>"
    yield f"<p>{page._esc(value.explanation)}</p>"
    yield from page._evidence(value.evidence)
    yield from page._blocks(value.blocks)
    yield from page._tables(value.tables)


def _verdict(value: Verdict) -> Iterable[str]:
    yield f"<h3>{page._esc(value.title)}</h3><p>{page._esc(value.summary)}</p>"
    yield from page._evidence(value.evidence)


_DRAW: dict[type[Any], Callable[[Any], Iterable[str]]] = {
    Analysis: _analysis,
    Finding: _finding,
    Verdict: _verdict,
    Table: lambda value: page._tables((value,)),
    Block: lambda value: page._blocks((value,)),
}
