"""A pointer that one bit separates from a live object, and those that only look so."""

from __future__ import annotations

from typing import Any

import pytest

from postmortem.kernel.code.bitflip import Strength, flipped_pointer, flipped_target
from postmortem.kernel.code.typed_registers import Pointer
from postmortem.kernel.tasks.tasks import all_tasks
from tests.conftest import machine_named


@pytest.fixture(scope="module")
def prog() -> Any:
    return machine_named("7.2-healthy-idle").prog


@pytest.fixture(scope="module")
def task(prog: Any) -> int:
    return all_tasks(prog).tasks[3].address


def expected(prog: Any) -> Pointer:
    return Pointer(prog.type("struct task_struct"), 0, "p")


@pytest.mark.parametrize("bit", [40, 45, 58, 62, 63])
def test_bit_of_a_pointer_to_a_task(prog: Any, task: int, bit: int) -> None:
    found = flipped_pointer(prog, "rdi", task ^ 1 << bit, expected(prog))
    assert found is not None
    assert (found.bit, found.meant, found.strength) == (bit, task, Strength.TYPE)
    assert "task_struct" in str(found)
    assert f"bit {bit} differs from" in str(found)


def test_address_that_cannot_be_one_needs_no_type(prog: Any, task: int) -> None:
    found = flipped_pointer(prog, "rax", task ^ 1 << 61)
    assert found is not None
    assert (found.meant, found.strength, found.canonical) == (task, Strength.OBJECT, False)


def test_address_of_nothing_needs_the_type(prog: Any, task: int) -> None:
    assert flipped_pointer(prog, "rax", task ^ 1 << 45) is None
    other = Pointer(prog.type("struct inode"), 0, "inode")
    assert flipped_pointer(prog, "rax", task ^ 1 << 45, other) is None


@pytest.mark.parametrize(
    "value",
    [
        0,
        0x10,
        0xFFF8,
        0xDEAD_0000_0000_0122,
        0x6B6B_6B6B_6B6B_6B7B,
        (1 << 64) - 14,  # ERR_PTR(-EFAULT)
        0xFFFF_C900_0123_4000,
    ],
)
def test_what_never_counts(prog: Any, value: int) -> None:
    assert flipped_pointer(prog, "rbx", value, expected(prog)) is None


def test_pointer_that_is_right_as_it_is(prog: Any, task: int) -> None:
    assert flipped_pointer(prog, "rbx", task, expected(prog)) is None


def test_jump_beside_a_function(prog: Any) -> None:
    start = prog.symbol("vfs_read").address
    found = flipped_target(prog, start ^ 1 << 40)
    assert found is not None
    assert (found.what, found.meant) == ("vfs_read()", start)


def test_jump_into_a_function_or_to_nowhere(prog: Any) -> None:
    start = prog.symbol("vfs_read").address
    assert flipped_target(prog, start + 5) is None
    assert flipped_target(prog, 0x6B6B_6B6B_6B6B_6B6B) is None
    assert flipped_target(prog, (start + 5) ^ 1 << 40) is None
