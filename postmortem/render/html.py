"""One HTML file that needs nothing else: for mail and bug trackers.

The same sections as the text report, written by a jinja2 template. Every string
is cleaned and escaped where the template puts it out; only our own drawings,
style and script go in as they are. A Content-Security-Policy in the page lets
that one script run and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import IO, Any

import jinja2
from markupsafe import Markup

from postmortem.model.findings import Cell, Column, Export, Severity
from postmortem.model.result import Analysis
from postmortem.model.stacks import FoldedStacks
from postmortem.render import cells, words
from postmortem.render.clean import clean, clean_prose
from postmortem.render.sections import Section, of_plugin, sections


@dataclass(frozen=True)
class Crumb:
    """A link to another page of ours; without ``href`` it is this one."""

    text: str
    href: str = field(default="", metadata={"kept": True})


_PROLOGUE = re.compile(r"^<\?xml[^>]*\?>\s*")


def print_html(
    analysis: Analysis, file: IO[str], *, verbose: bool = False, plugin: bool = False
) -> None:
    """Write the page to ``file``."""
    file.write(page(analysis, verbose=verbose, plugin=plugin))


def page(
    analysis: Analysis,
    *,
    verbose: bool = False,
    plugin: bool = False,
    crumbs: Sequence[Crumb] = (),
) -> str:
    """The whole page.

    :param plugin: Only a plugin was asked by its name: its sections alone.
    :param crumbs: Pages that this one belongs to.
    """
    environment = environment_of_pages()
    found = of_plugin(analysis, verbose) if plugin else sections(analysis, verbose)
    script = _script(environment, analysis)
    return environment.get_template("page.html").render(
        analysis=analysis,
        crumbs=crumbs,
        verdict=analysis.verdict,
        severity=_severity(analysis),
        sections=_placed(found),
        words=words,
        draw=lambda export: _drawn(export, analysis),
        style=Markup(_source(environment, "page.css")),
        script=Markup(script),
        script_hash=_hash(script),
    )


def site_page(template: str, scripts: Sequence[str] = ("triage.js",), **values: Any) -> str:
    """A page of several that lead to each other: an index, a bucket. Escaped like all."""
    environment = environment_of_pages()
    script = "\n".join(_source(environment, name) for name in scripts)
    values["sections"] = _placed(values.get("sections", []))
    return environment.get_template(template).render(
        words=words,
        draw=_left_out,
        style=Markup(_source(environment, "page.css") + _source(environment, "triage.css")),
        script=Markup(script),
        script_hash=_hash(script),
        **values,
    )


def piece(title: str, found: list[Section]) -> str:
    """A title and sections without a page around them, for a notebook."""
    template = environment_of_pages().get_template("piece.html")
    return template.render(title=title, sections=_placed(found), draw=_left_out)


def _left_out(_export: Export) -> str:
    """A notebook draws with its own means."""
    return ""


@cache
def environment_of_pages() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("postmortem.render"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.filters.update(prose=clean_prose, cell=_cell, to_the_right=cells.is_to_the_right)
    environment.tests["of_type"] = lambda item, name: type(item).__name__ == name
    return environment


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _script(environment: jinja2.Environment, analysis: Analysis) -> str:
    """The page's one script, with that of the pictures where there are any."""
    names = ["page.js"]
    if any(isinstance(export.data, FoldedStacks) for export in analysis.exports):
        names.append("flame.js")
    return "\n".join(_source(environment, name) for name in names)


def _shown(value: Any) -> Any:
    """What every ``{{ ... }}`` of the template passes before it is escaped."""
    if isinstance(value, Markup):
        return value
    return clean(str(value))


def _cell(value: Cell, column: Column) -> str:
    return cells.text(value, column)


def _severity(analysis: Analysis) -> str:
    """What the badge says: the severity of what the verdict rests on."""
    if analysis.asked:
        return "info"
    if analysis.verdict.is_calm:
        return "none"
    main = words.verdict_finding(analysis)
    return str(main.severity if main is not None else Severity.FATAL)


def _placed(found: list[Section]) -> list[tuple[str, Section]]:
    """Sections with an anchor each that is theirs alone."""
    return [(f"{section.name}-{number}", section) for number, section in enumerate(found, 1)]


def _drawn(export: Export, analysis: Analysis) -> Markup:
    """A drawing of ours for a page: without its script, which would run on the page."""
    from postmortem.render.exports import draw_for_page

    return Markup(_PROLOGUE.sub("", draw_for_page(export, words.machine_name(analysis))))
