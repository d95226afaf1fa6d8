"""The ``Code:`` line, disassembled as the kernel's people read it."""

from __future__ import annotations

from postmortem.log.code import disassemble
from postmortem.model.frame import Frame
from postmortem.model.report import Code

PLACE = Frame("zorb_wait", offset=0x12, size=0x20)


def texts(code: Code, place: Frame | None = None) -> list[str]:
    return [" ".join(item.text.split()) for item in disassemble(code, place)]


def test_a_jump_within_the_function_is_named_by_it() -> None:
    # pause; jmp to the pause before it
    code = Code(bytes.fromhex("f390 ebfc 90"), 2, "x86_64")
    assert texts(code, PLACE) == ["pause", "jmp zorb_wait+0x10", "nop"]


def test_a_target_elsewhere_is_told_by_its_distance() -> None:
    """The bytes lie nowhere: an absolute address would be made up."""
    code = Code(bytes.fromhex("e800010000 90"), 0, "x86_64")
    assert texts(code) == ["callq .+0x105", "nop"]
    back = Code(bytes.fromhex("90 e8fbfeffff"), 1, "x86_64")
    assert texts(back, PLACE) == ["nop", "callq .-0x100"]


def test_branches_of_arm64_are_told_alike() -> None:
    # cbz x0, +8; bl -4
    code = Code(bytes.fromhex("400000b4 ffffff97"), 0, "aarch64")
    assert texts(code, PLACE) == ["cbz x0, zorb_wait+0x1a", "bl zorb_wait+0x12"]
