"""A stack as lines: the culprit, what it was interrupted by, recursion."""

from __future__ import annotations

import pytest

from postmortem.model.frame import Frame
from postmortem.render.frames import frame_lines


def shown(frames: list[Frame], culprit: str | None = None) -> list[str]:
    return [
        f"{'' if line.number is None else line.number} {line.name} {line.note}".strip()
        for line in frame_lines(frames, culprit)
    ]


def test_one_function_that_calls_itself_is_one_line() -> None:
    frames = [Frame("leaf"), *[Frame("walk", 0x10)] * 213, Frame("main")]
    assert shown(frames) == ["0 leaf", "1 walk+0x10 x 213", "214 main"]


def test_functions_that_call_each_other_are_shown_once_and_counted() -> None:
    frames = [Frame("leaf"), *[Frame("left"), Frame("right")] * 50, Frame("main")]
    assert shown(frames) == [
        "0 leaf",
        "1 left",
        "2 right",
        "... these 2 again, x 50 in all",
        "101 main",
    ]


def test_two_rounds_of_several_functions_are_no_recursion() -> None:
    frames = [Frame("left"), Frame("right")] * 2
    assert shown(frames) == ["0 left", "1 right", "2 left", "3 right"]


def test_calls_from_two_places_are_two_lines() -> None:
    assert shown([Frame("walk", 0x10), Frame("walk", 0x20)]) == ["0 walk+0x10", "1 walk+0x20"]


def test_values_of_locals_do_not_hide_a_recursion() -> None:
    frames = [Frame("walk", 1, locals={"depth": str(n)}) for n in range(9)]
    assert shown(frames) == ["0 walk+0x1 x 9"]


def test_the_first_frame_of_the_culprit_is_marked_and_what_handled_it_is_faint() -> None:
    lines = frame_lines([Frame("panic"), Frame("bad"), Frame("bad", 9), Frame("main")], "bad")
    assert [line.culprit for line in lines] == [False, True, False, False]
    assert [line.faint for line in lines] == [True, False, False, False]


def test_what_the_kernel_was_not_sure_of_has_no_number_and_can_be_left_out() -> None:
    frames = [Frame("a"), Frame("old", reliable=False), Frame("b")]
    assert shown(frames) == ["0 a", "? old", "1 b"]
    assert [line.name for line in frame_lines(frames, None, unsure=False)] == ["a", "b"]


@pytest.mark.parametrize("segment", ["irq", "nmi"])
def test_a_segment_is_named_where_it_begins(segment: str) -> None:
    lines = frame_lines(
        [Frame("a", segment=segment), Frame("b", segment=segment), Frame("c")], None
    )
    assert [line.enters for line in lines] == [segment.upper(), "", "TASK"]


def test_a_long_stack_takes_linear_work() -> None:
    frames = [Frame(f"f{n % 7}", n % 11) for n in range(20_000)]
    assert len(frame_lines(frames, None)) <= len(frames)
