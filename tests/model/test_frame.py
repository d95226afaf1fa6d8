"""The one frame of logs and dumps."""

from __future__ import annotations

import pytest

from postmortem.model.frame import Frame


def test_a_frame_of_a_log_has_no_program_counter() -> None:
    assert Frame("f", 4, address=0x1004).pc == 0x1004
    with pytest.raises(LookupError, match="frame of f"):
        Frame("f", 4, 32).pc  # noqa: B018 - the reading is what is tested


def test_frames_are_told_apart_by_locals_but_can_be_hashed() -> None:
    one, two = Frame("f", locals={"n": "1"}), Frame("f", locals={"n": "2"})
    assert one != two
    assert {one, two, Frame("f", locals={"n": "1"})} == {one, two}
