"""Which kernels have a fix, which signatures tell bugs apart, what decisions do."""

from __future__ import annotations

import pytest

from postmortem.model.findings import Kind
from postmortem.rules.blame import signature
from postmortem.triage.grouping import (
    Action,
    Decision,
    Grouping,
    Place,
    comes_after,
    moves,
    release_order,
    usable,
)


@pytest.mark.parametrize(
    ("release", "order"),
    [
        ("6.12.9", (6, 12, 9)),
        ("6.12.117+deb12-cloud-amd64", (6, 12, 117)),
        ("5.14.0-427.13.1.el9_4.x86_64", (5, 14, 0, 427, 13, 1)),
        ("6.13.0-rc3", (6, 13, 0, -1, 3)),
        ("6.13-rc3-00012-gabc", (6, 13, 0, -1, 3)),
        ("custom", ()),
    ],
)
def test_releases_sort_by_their_numbers(release: str, order: tuple[int, ...]) -> None:
    assert release_order(release) == order


@pytest.mark.parametrize(
    ("release", "fixed_in", "after"),
    [
        ("6.12.9", ["6.12.9"], True),
        ("6.12.8", ["6.12.9"], False),
        ("6.13.1", ["6.12.9"], True),
        ("6.1.200", ["6.12.9"], False),
        ("6.1.200", ["6.12.9", "6.1.120"], True),
        ("6.6.1", ["6.12.9", "6.1.120"], False),  # whether that series has the fix is not said
        ("6.13.0-rc1", ["6.13.0-rc2"], False),
        ("6.13.0", ["6.13.0-rc2"], True),
        ("5.14.0-427.13.1.el9_4", ["5.14.0-503.el9"], False),
        (None, ["6.12.9"], False),
        ("6.12.9", [], False),
    ],
)
def test_a_kernel_has_a_fix(release: str | None, fixed_in: list[str], after: bool) -> None:
    assert comes_after(release, fixed_in) is after


def test_what_tells_nothing_apart_has_no_bucket() -> None:
    assert usable(signature(Kind.BUG, "foo", ()))
    assert not usable(signature(Kind.BUG, None, ()))
    assert not usable(signature(Kind.USER_REQUESTED, "sysrq_handle_crash", ()))
    assert not usable(None)


def test_links_of_links_have_one_root() -> None:
    link = Action.MUST_LINK
    grouping = Grouping.of([Decision(link, "c", other_key="b"), Decision(link, "b", other_key="a")])
    assert {grouping.root(key) for key in "abc"} == {"a"}
    apart = Grouping.of(
        [
            Decision(link, "c", other_key="b"),
            Decision(link, "b", other_key="a"),
            Decision(Action.CANNOT_LINK, "c", other_key="a"),
        ]
    )
    assert apart.root("b") == apart.root("c") or apart.root("c") == "c"
    assert apart.root("c") != apart.root("a")


def test_the_id_of_a_bucket_is_the_same_everywhere() -> None:
    assert Place("bug:foo:123").id == Place("bug:foo:123").id
    assert Place("bug:foo:123").id != Place("bug:foo:123", 1).id
    assert len(Place("x").id) == 10


def test_a_new_name_alone_is_no_move() -> None:
    assert moves({"1": "a", "2": "a"}, {"1": "b", "2": "b"}) == {}
    assert moves({"1": "a", "2": "a"}, {"1": "a", "2": "c"}) == {("a", "a"): 1, ("a", "c"): 1}
