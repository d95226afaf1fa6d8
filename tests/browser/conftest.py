"""A browser, and a window of each size and light."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.seen import Seen

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SCREENS = [(width, scheme) for width in (1400, 400) for scheme in ("light", "dark")]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="make test-pages installs it")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with api.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=found, args=flags)
        yield opened
        opened.close()


@pytest.fixture(params=SCREENS, ids=lambda screen: f"{screen[0]}-{screen[1]}")
def seen(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Seen]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = Seen(context.new_page(), [], [])
    found.page.on("request", lambda item: found.asked.append(item.url))
    found.page.on("pageerror", lambda item: found.said.append(str(item)))
    found.page.on("console", lambda item: found.said.append(item.text))
    found.page.on("dialog", lambda item: (found.said.append(item.message), item.dismiss()))
    yield found
    context.close()
