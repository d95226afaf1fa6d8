"""What a dump lacks of its log comes from the file beside it, if that is of the same boot."""

from __future__ import annotations

import pytest

from postmortem.case.saved_log import OtherLogError, completed
from postmortem.model.report import Record

WHOLE = [
    Record(1, "Linux version 6.9.1 (gcc 12)", 0.0),
    Record(2, "e1000: ready", 1.000001),
    Record(3, "kobold: started", 2.5),
    Record(4, "kobold: started", 3.000002),
    Record(5, "caf\u00e9 \x1b mounted", 3.5),
    Record(6, "BUG: kernel NULL pointer dereference, address: 0000000000000008", 4.25),
    Record(7, "Kernel panic - not syncing: Fatal exception", 4.3),
]


def ring(*keep: int) -> list[Record]:
    """The messages that a dump still has, with their times to the nanosecond."""
    kept = [WHOLE[index] for index in keep]
    return [
        record._replace(line=line, time=(record.time or 0) and (record.time or 0) + 9e-7)
        for line, record in enumerate(kept, 1)
    ]


@pytest.mark.parametrize(
    "keep", [(), (0, 1, 2, 3), (3, 4, 5, 6), (0, 1, 5, 6), (1, 3, 5), range(6), range(7)]
)
def test_what_was_lost_anywhere_comes_back_in_its_place(keep: tuple[int, ...]) -> None:
    found = completed(ring(*keep), WHOLE, "6.9.1")
    assert [record.text for record in found.records] == [record.text for record in WHOLE]
    assert [record.line for record in found.records] == list(range(1, 8))
    assert found.added == 7 - len(keep)
    assert found.whole
    assert [bool(origin) for origin in found.origin] == [index in keep for index in range(7)]


def test_what_only_the_dump_has_stays() -> None:
    found = completed(ring(*range(7)), WHOLE[1:5], "6.9.1")
    assert [record.text for record in found.records] == [record.text for record in WHOLE]
    assert not found.whole
    assert found.added == 0


def test_what_the_saver_could_not_print_is_the_same_message() -> None:
    """vmcore-dmesg writes a byte that is no ASCII character as \\x and two digits."""
    saved = [*WHOLE[:4], WHOLE[4]._replace(text="caf\\xc3\\xa9 \\x1b mounted"), *WHOLE[5:]]
    assert completed(ring(*range(7)), saved, "6.9.1").added == 0


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        ([WHOLE[0]._replace(text="Linux version 5.4.0 (x)")], "kernel 5.4.0"),
        ([record._replace(time=(record.time or 0) * 1.1) for record in WHOLE], "another boot"),
        ([], "another boot"),
    ],
)
def test_a_log_of_another_boot_is_refused(saved: list[Record], says: str) -> None:
    with pytest.raises(OtherLogError, match=says):
        completed(ring(*range(7)), saved, "6.9.1")


def test_equal_messages_of_two_boots_at_their_first_moment_prove_nothing() -> None:
    """What is printed before the clock runs is the same at each boot."""
    first = [Record(1, "Linux version 6.9.1 (gcc 12)", 0.0), Record(2, "x86/fpu: ready", 0.0)]
    own = [*first, *(Record(line, f"own {line}", line / 7) for line in range(3, 9))]
    saved = [*first, *(Record(line, f"other {line}", line / 7) for line in range(3, 9))]
    with pytest.raises(OtherLogError):
        completed(own, saved, "6.9.1")
