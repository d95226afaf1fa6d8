"""Members of a struct, taken out at once."""

from __future__ import annotations

import struct

import pytest

from postmortem.kernel.layout import Layout
from tests.conftest import machine_named

MEMBERS = {"next": "next", "prev": "first|prev", "alias": "prev", "none": "no.such"}


def layout() -> Layout:
    prog = machine_named("6.12-null-chain").prog
    return Layout(prog.type("struct list_head"), MEMBERS)


def test_members_by_their_names() -> None:
    found = layout()
    assert found.has("prev")
    assert found.has("alias")
    assert not found.has("none")
    assert (found.start, found.size) == (0, 16)


def test_a_struct_that_has_none_is_refused() -> None:
    prog = machine_named("6.12-null-chain").prog
    with pytest.raises(LookupError, match="has none of the members"):
        Layout(prog.type("struct list_head"), {"x": "nothing"})


class _Program:
    """Sixteen bytes, of which the second word may be missing."""

    def __init__(self, holes: bool) -> None:
        self._holes = holes

    def read(self, address: int, size: int) -> bytes:
        if self._holes and address + size > 8:
            raise LookupError("not in the dump")
        return struct.pack("<QQ", 7, 8)[address : address + size]


def test_what_is_there_of_a_struct_that_is_not_whole() -> None:
    assert layout().read(_Program(False), 0) == {"next": 7, "prev": 8, "alias": 8}
    assert layout().readable(_Program(True), 0) == {"next": 7}
