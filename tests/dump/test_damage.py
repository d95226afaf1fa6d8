"""What counts as damage, and what as a defect of ours."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import drgn
import pytest

from postmortem.dump.damage import damage, integer, is_damage, member, readable, tolerated

PROG = drgn.Program(drgn.host_platform)
LONG = PROG.int_type("long", 8, True)
PAIR = PROG.struct_type(
    "pair", 16, (drgn.TypeMember(LONG, "first"), drgn.TypeMember(LONG, "second", 64))
)
HERE = drgn.Object(PROG, PAIR, {"first": 1, "second": 2})
NOWHERE = drgn.Object(PROG, PAIR, address=0xFFFF_8880_0000_0000)


def nested(depth: int) -> drgn.Type:
    kind = LONG
    for _ in range(depth):
        kind = PROG.struct_type("deep", 8, (drgn.TypeMember(kind, "inner"),))
    return kind


def raised(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


def deep_in_drgn() -> None:
    """A helper of drgn's meets a type that it does not expect."""
    from drgn.helpers.common.format import decode_flags

    decode_flags(5, ((1, 2, 3),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda: NOWHERE.first.value_(),
        lambda: HERE.third,
        lambda: PROG["nothing"],
        lambda: PROG.read_u64(1 << 64),
        lambda: struct.unpack("<Q", b"short"),
        lambda: 1 // int(HERE.first - 1),
        deep_in_drgn,
        # Raised by drgn's C code, which has no frame of its own.
        lambda: drgn.Object(PROG, nested(2000), address=0).value_(),
        lambda: drgn.Object(PROG, PROG.int_type("huge", 16, True), 1 << 100) + 1,
        lambda: PROG.type("struct 1"),
        lambda: (1 << 70).to_bytes(8, "little"),
    ],
)
def test_what_a_dump_can_cause(call: Callable[[], Any]) -> None:
    assert is_damage(raised(call))
    assert readable(call) is None
    with tolerated():
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: HERE.vaule_(),
        lambda: PAIR.membres,
        lambda: "text".nothing,  # type: ignore[attr-defined]
        lambda: 1 + "1",  # type: ignore[operator]
        lambda: undefined,  # type: ignore[name-defined] # noqa: F821
    ],
)
def test_what_is_a_defect_goes_through(call: Callable[[], Any]) -> None:
    kind = type(raised(call))
    with pytest.raises(kind):
        try:
            call()
        except damage():
            pytest.fail("taken for damage")
    with pytest.raises(kind), tolerated():
        call()


NUMBER = HERE.first
OPAQUE = PROG.struct_type("opaque", None, None)


@pytest.mark.parametrize(
    "call",
    [
        lambda: NUMBER.member_("second"),
        lambda: NUMBER[0],
        lambda: drgn.offsetof(LONG, "second"),
        lambda: drgn.sizeof(OPAQUE),
        lambda: int(HERE),
        lambda: HERE + 1,
        lambda: HERE < 1,
        lambda: ~HERE,
        lambda: NUMBER.string_(),
        lambda: drgn.cast(PAIR, NUMBER),
        lambda: drgn.container_of(NUMBER, PAIR, "first"),
        lambda: len(NUMBER),
        lambda: list(NUMBER),
        lambda: LONG.members,
        lambda: LONG.has_member("first"),
    ],
)
def test_a_type_that_is_another_than_the_kernels(call: Callable[[], Any]) -> None:
    """One bit in BTF makes a struct an integer; drgn's C code says so without a frame."""
    assert is_damage(raised(call))


@pytest.mark.parametrize(
    "call",
    [
        lambda: "a" + 1,  # type: ignore[operator]
        lambda: len(1),  # type: ignore[arg-type]
        lambda: list(1),  # type: ignore[call-overload]
        lambda: int([]),  # type: ignore[call-overload]
        lambda: None.first,  # type: ignore[attr-defined]
        lambda: [] < 1,  # type: ignore[operator]
        lambda: ~"a",  # type: ignore[operator]
        lambda: drgn.Object(PROG, LONG, "one"),
        lambda: drgn.sizeof(),
    ],
)
def test_a_wrong_type_of_our_own_goes_through(call: Callable[[], Any]) -> None:
    assert not is_damage(raised(call))


def test_leaving_is_no_damage() -> None:
    assert not is_damage(KeyboardInterrupt())
    assert damage() == ()


def test_the_first_member_that_there_is() -> None:
    assert member(HERE, "second", "first").value_() == 2
    assert member(HERE, "inner.third", "first").value_() == 1
    with pytest.raises(LookupError, match="third"):
        member(HERE, "third")
    with pytest.raises(drgn.FaultError):
        member(NOWHERE, "first", "second").value_()


def test_numbers() -> None:
    atomic = PROG.struct_type("atomic_t", 8, (drgn.TypeMember(LONG, "counter"),))
    assert integer(HERE.first) == 1
    assert integer(drgn.Object(PROG, atomic, {"counter": 7})) == 7
    with pytest.raises(LookupError):
        integer(HERE)
