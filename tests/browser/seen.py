"""What a browser met while it showed a page, and what a judge says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@dataclass(frozen=True)
class Seen:
    """What a browser met while it showed a page."""

    page: Page
    asked: list[str]
    """Addresses that the page loaded."""
    said: list[str]
    """Dialogs, errors, and what the page's own policy refused."""


def too_wide(seen: Seen) -> int:
    """Pixels by which the document is wider than its window."""
    found: int = seen.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return found


def violations(seen: Seen) -> list[str]:
    """What axe-core does not let pass, with the first element of each."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": {"type": "tag", "values": WCAG}, "resultTypes": ["violations"]}
    found = Axe().run(seen.page, options=options).response["violations"]
    return [f"{item['id']}: {item['nodes'][0]['html'][:200]}" for item in found]
