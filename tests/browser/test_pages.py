"""Pages in a real browser: nothing runs off a telephone, and everybody can read them.

Chromium opens each page at 1400 and 400 px, on a light and a dark screen, and axe-core
judges it by WCAG 2.2 AA. ``make test-pages`` installs what it needs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import postmortem
from postmortem.render.html import page
from postmortem.render.output import writer
from tests.browser.seen import Seen, too_wide, violations
from tests.render.hostile import poison
from tests.render.samples import CRASH

pytestmark = pytest.mark.chromium

ROOT = Path(__file__).parents[2]
DUMPS, CONSOLES = ROOT / "corpus" / "dumps", ROOT / "corpus" / "console"
FAILURES = {
    "null-dereference": DUMPS / "6.12-null-chain.vmcore.zst",
    "use-after-free": DUMPS / "6.1-use-after-free.vmcore.zst",
    "healthy": DUMPS / "7.2-healthy-idle.vmcore.xz",
    "deadlock": CONSOLES / "6.12-deadlock-rwsem.log",
    "soft-lockup": CONSOLES / "6.12-soft-lockup.log",
    "oom": CONSOLES / "6.12-oom-user.log",
    "kasan": ROOT / "tests" / "log" / "fixtures" / "kasan_uaf.txt",
}
ATTACK = "<script>document.title='run'</script><img src=http://127.0.0.1:9/x onerror=alert(1)>"
HOSTILE_LOG = f"""\
Linux version 6.9.1 (builder@{ATTACK}) #1 SMP
crashbox{ATTACK} login:
acme: {ATTACK}
BUG: kernel NULL pointer dereference, address: 0000000000000018
Oops: 0000 [#1] SMP
CPU: 0 PID: 71 Comm: <script>x() Not tainted 6.9.1 #1
RIP: 0010:acme_poll+0x12/0x40 [acme]
Call Trace:
 acme_work+0x10/0x20 [acme]
 {ATTACK}
---[ end trace 0000000000000000 ]---
"""


@pytest.fixture(scope="module")
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A page of every failure, and pictures that stand alone."""
    folder = tmp_path_factory.mktemp("pages")
    cut = folder / "cut.vmcore"
    cut.write_bytes(_unpacked(FAILURES["null-dereference"])[: 6 << 20])
    hostile = folder / "hostile.log"
    hostile.write_text(HOSTILE_LOG)
    for name, file in {**FAILURES, "cut": cut, "hostile-log": hostile}.items():
        with postmortem.open(file, debuginfod=False) as case:
            analysis = case.analyze(pictures=True)
        (folder / f"{name}.html").write_text(page(analysis))
        (folder / f"{name}-whole.html").write_text(page(analysis, verbose=True))
    (folder / "hostile.html").write_text(page(poison(CRASH, ATTACK), verbose=True))
    _draw(folder / "waits.svg", FAILURES["deadlock"], "hung")
    _draw(folder / "flame.svg", FAILURES["null-dereference"], "stacks")
    return {file.name: file for file in folder.iterdir()}


def _unpacked(file: Path) -> bytes:
    import zstandard

    with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as reader:
        return reader.read(6 << 20)


def _draw(picture: Path, file: Path, plugin: str) -> None:
    with postmortem.open(file, debuginfod=False) as case:
        analysis = case.run(plugin)
    with picture.open("w", encoding="utf-8") as out:
        writer(analysis, picture.name, plugin=True)(out)


PAGES = [
    *(
        f"{name}{form}.html"
        for name in (*FAILURES, "cut", "hostile-log")
        for form in ("", "-whole")
    ),
    "hostile.html",
]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_can_be_read(
    seen: Seen, written: dict[str, Path], name: str
) -> None:
    address = written[name].as_uri()
    seen.page.goto(address)
    # Nothing hides from the judge in what a reader opens with a click.
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert too_wide(seen) <= 0
    assert seen.page.title() != "run"
    assert seen.page.locator("img, iframe, a, link, object").count() == 0
    assert violations(seen) == []
    assert (seen.asked, seen.said) == ([address], [])


@pytest.mark.parametrize("name", ["hostile.html", "hostile-log.html"])
def test_a_hostile_name_is_shown_as_the_text_that_it_is(
    seen: Seen, written: dict[str, Path], name: str
) -> None:
    seen.page.goto(written[name].as_uri())
    assert "<script>" in seen.page.inner_text("body")
    assert seen.page.locator("script").count() == 1


@pytest.mark.parametrize("name", ["waits.svg", "flame.svg"])
def test_a_picture_fits_its_window(seen: Seen, written: dict[str, Path], name: str) -> None:
    address = written[name].as_uri()
    seen.page.goto(address)
    assert too_wide(seen) <= 0
    assert (seen.asked, seen.said) == ([address], [])


def test_a_flame_graph_on_a_page_is_searched(seen: Seen, written: dict[str, Path]) -> None:
    seen.page.goto(written["null-dereference.html"].as_uri())
    picture = seen.page.locator("svg.pm-flame")
    assert picture.bounding_box()["width"] <= seen.page.viewport_size["width"]
    seen.page.get_by_label("search").fill("kthread")
    assert "kthread: " in picture.locator(".hint").text_content()
    assert 0 < picture.locator(".hit").count() < picture.locator(".boxes g").count()
    assert seen.said == []


def test_the_signature_is_selected_to_be_copied(seen: Seen, written: dict[str, Path]) -> None:
    seen.page.goto(written["null-dereference.html"].as_uri())
    seen.page.locator("button[data-copy]").click()
    assert seen.page.evaluate("String(getSelection())").startswith("null-dereference:")
