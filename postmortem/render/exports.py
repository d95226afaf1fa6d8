"""Draws an export, by its suffix and the kind of data that it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postmortem.graph.model import Graph
from postmortem.model.findings import Export
from postmortem.model.stacks import FoldedStacks

PICTURES = frozenset({"svg"})
"""For eyes: in the JSON document they are named but not drawn."""


def draw(export: Export, about: str = "") -> str:
    """The text of the file.

    :param about: Machine and dump, for the title in a picture.
    """
    if isinstance(export.data, str):
        return export.data
    drawer = next(
        (
            draw
            for (suffix, kind), draw in _drawers().items()
            if suffix == export.suffix and isinstance(export.data, kind)
        ),
        None,
    )
    if drawer is None:
        raise TypeError(f"nothing draws {type(export.data).__name__} as {export.suffix}")
    return drawer(export.data, f"{export.title}: {about}" if about else export.title)


def draw_for_page(export: Export, about: str = "") -> str:
    """A picture to stand in a page: without its script, no style that reaches beyond it."""
    from postmortem.render import flame, graph

    title = f"{export.title}: {about}" if about else export.title
    if isinstance(export.data, FoldedStacks):
        return flame.svg(export.data.stacks, title, export.data.unit, alone=False)
    if isinstance(export.data, Graph):
        return graph.svg(export.data, title, least=65)
    raise TypeError(f"{type(export.data).__name__} is no picture")


def _drawers() -> dict[tuple[str, type[Any]], Callable[[Any, str], str]]:
    # Imported when something is drawn: most runs draw nothing.
    from postmortem.render import flame, graph

    return {
        ("svg", Graph): graph.svg,
        ("dot", Graph): lambda data, title: graph.dot(data),
        ("svg", FoldedStacks): lambda data, title: flame.svg(data.stacks, title, data.unit),
        ("folded", FoldedStacks): lambda data, title: flame.folded(data.stacks),
    }
