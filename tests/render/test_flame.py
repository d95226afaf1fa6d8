"""Flame graphs: folded text and SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from postmortem.model.stacks import FoldedStack
from postmortem.render.flame import MAX_NODES, folded, svg

SVG = "{http://www.w3.org/2000/svg}"


def stack(count: int, *frames: str, state: str = "D") -> FoldedStack:
    return FoldedStack((state,), frames, count, "blocked")


def test_folded_lines_are_outermost_first_with_the_count_last() -> None:
    assert folded([stack(3, "kthread", "worker"), stack(1, "main")]) == (
        "D;kthread;worker 3\nD;main 1\n"
    )


def test_equal_stacks_become_one_line() -> None:
    assert folded([stack(3, "main"), stack(4, "main")]) == "D;main 7\n"


def test_no_name_can_make_a_line_or_a_frame() -> None:
    assert folded([stack(1, "a;b\nc 9")]) == "D;a:b\\x0ac 9 1\n"


def boxes(text: str) -> dict[str, float]:
    """Width of each box by its title's name."""
    found = {}
    for group in ET.fromstring(text).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        if title is not None and rect is not None:
            name = (title.text or "").partition("\n")[0].rpartition(":")[0]
            found[name] = float(rect.attrib["width"])
    return found


def test_width_is_number() -> None:
    widths = boxes(svg([stack(30, "main", "wait"), stack(10, "main", "run")], "t"))
    assert widths["main"] > widths["wait"] > widths["run"] > 0
    assert abs(widths["wait"] / widths["run"] - 3) < 0.05


def test_total_and_share_are_told() -> None:
    text = svg([stack(3, "wait"), stack(1, "run")], "t")
    assert "wait: 3 tasks, 75.0 %" in text
    assert "all: 4 tasks, 100.0 %" in text


def test_hostile_names_are_text() -> None:
    name = '</text><script>alert("1")</script>]]>\x1b[31m\u202e&'
    text = svg([stack(1, name)], name)
    root = ET.fromstring(text)
    assert len(list(root.iter(f"{SVG}script"))) == 1
    assert "\x1b" not in text and "\u202e" not in text


def test_nothing_from_elsewhere_is_loaded() -> None:
    text = svg([stack(1, "main")], "t")
    assert "href" not in text and "url(" not in text and "@import" not in text


def test_no_stacks_make_an_empty_picture() -> None:
    assert ET.fromstring(svg([], "t")).tag == f"{SVG}svg"


def test_deep_and_many_stacks_are_bounded() -> None:
    deep = stack(1, *(f"f{n}" for n in range(5000)))
    many = [stack(1, f"g{n}") for n in range(MAX_NODES + 10)]
    assert len(svg([deep, *many], "t")) < 1 << 20


def test_a_long_title_ends_before_the_legend() -> None:
    title = "x" * 300
    root = ET.fromstring(svg([stack(1, "main")], title))
    assert next(e.text for e in root.iter(f"{SVG}title")) == title
    (heading,) = [e.text or "" for e in root.iter(f"{SVG}text") if "xxx" in (e.text or "")]
    assert heading.endswith("\u2026")
    assert len(heading) * 9 < 1200 - 60


def test_dark_screens_get_a_dark_picture() -> None:
    assert "prefers-color-scheme:dark" in svg([stack(1, "main")], "t")


def test_a_box_names_its_tasks_on_hover() -> None:
    sleeping = FoldedStack(("S",), ("wait",), 3, "sleeping", (("kworker/0:1", 2), ("sh", 1)))
    other = FoldedStack(("S",), ("poll",), 1, "sleeping", (("sh", 1),))
    text = svg([sleeping, other], "t")
    assert "wait: 3 tasks, 75.0 %\nkworker/0:1 (2), sh<" in text
    assert "S: 4 tasks, 100.0 %\nkworker/0:1 (2), sh (2)<" in text


def test_many_names_are_bounded() -> None:
    names = tuple((f"task{n}", 1) for n in range(100))
    text = svg([FoldedStack(("S",), ("wait",), 100, "sleeping", names)], "t")
    assert "task7, ...<" in text
    assert "task9" not in text


def test_the_stack_that_the_machine_died_in_is_marked() -> None:
    dying = FoldedStack(("on a CPU",), ("main", "panic"), 1, "running", (), True)
    root = ET.fromstring(svg([dying, stack(3, "main", "wait")], "t"))
    marked = [g.find(f"{SVG}title") for g in root.iter(f"{SVG}g") if g.get("class") == "marked"]
    assert [title.text.partition(":")[0] for title in marked] == ["on a CPU", "main", "panic"]
    assert "died here" in "".join(root.itertext())


def test_no_legend_of_a_death_where_nothing_died() -> None:
    assert "died here" not in svg([stack(1, "main")], "t")


def test_the_legend_stands_above_the_picture() -> None:
    hues = ("running", "blocked", "waking", "sleeping", "idle", "other")
    root = ET.fromstring(svg([FoldedStack((h,), ("main",), 1, h) for h in hues], "t"))
    rects = list(root.iter(f"{SVG}rect"))
    legend = [float(r.get("y")) + 11 for r in rects if r.get("width") == "11"]
    boxes = root.find(f".//{SVG}g[@class='boxes']")
    assert len(legend) == len(hues)
    assert max(legend) < min(float(r.get("y")) for r in boxes.iter(f"{SVG}rect"))
