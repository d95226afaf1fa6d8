"""How results show themselves in a notebook."""

from __future__ import annotations

from importlib import import_module


class Shown:
    """What a notebook calls to draw a value; the drawing itself is the business of render/."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        # By its name: the model knows no renderer, and nothing is loaded before it is wanted.
        text: str = import_module("postmortem.render.notebook").html(self)
        return text
