"""Tokens that were lost, told by names of exported symbols: nothing false, most of them."""

from __future__ import annotations

import struct

import drgn
import pytest

import postmortem
from postmortem.dump.kallsyms_find import tables_by_shape
from postmortem.dump.kallsyms_table import Kallsyms, KallsymsTable
from postmortem.dump.kallsyms_tokens import exported_symbols, solved
from tests.conftest import DUMPS
from tests.dump.synthetic import Memory

LOST = b"\xff"
BASE = 0xFFFFFFFF82000000


def test_a_code_is_what_the_others_leave_of_a_name() -> None:
    tokens = [b"a", b"b", LOST, LOST, LOST]
    names = [
        *[(b"\x02\x00", b"Tvfs_a"), (b"\x02\x01", b"Tvfs_b")],
        *[(b"\x02\x03\x00", b"Tvfs_reada"), (b"\x02\x03", b"Tvfs_read")],
    ]
    assert solved(tokens, LOST, names) == [b"a", b"b", b"Tvfs_", b"read", LOST]


def test_names_that_contradict_each_other_tell_nothing() -> None:
    tokens = [b"a", b"b", LOST]
    names = [(b"\x02\x00", b"Tvfs_a"), (b"\x02\x01", b"Tdio_b"), (b"\x02\x00", b"Tnfs_a")]
    assert solved(tokens, LOST, names) == tokens


def test_once_is_not_enough() -> None:
    assert solved([b"a", LOST], LOST, [(b"\x01\x00", b"Tvfs_a")]) == [b"a", LOST]


def test_exports_are_known_by_their_shape() -> None:
    """``struct kernel_symbol``: value, name and namespace, each relative to its own place."""
    names = [f"otter_{letter}{letter}".encode() for letter in "abcdefghijklmnop"]
    memory = Memory()
    place, texts = BASE + 0x4000, BASE + 0x8000
    text = b"\0" + b"".join(name + b"\0" for name in names)
    table = b""
    at = 1
    for number, name in enumerate(names):
        entry = place + 12 * number
        value = BASE - 0x100000 + 64 * number
        table += struct.pack("<iii", value - entry, texts + at - entry - 4, texts - entry - 8)
        at += len(name) + 1
    memory.put(BASE, bytes(0x4000) + table.ljust(0x4000, b"\xff") + text.ljust(0x1000, b"\xff"))
    found = list(exported_symbols(memory.prog, BASE))
    assert found == [(BASE - 0x100000 + 64 * number, name) for number, name in enumerate(names)]


def whole_and_lost(name: str) -> tuple[Kallsyms, drgn.Program, KallsymsTable, int]:
    """The table of a dump, and a program that no longer has the page where its tokens begin."""
    prog = postmortem.open(next(DUMPS.glob(f"{name}.vmcore*")), debuginfod=False).prog
    stext = prog.symbol("_stext").address
    for table in tables_by_shape(prog, stext, prog.symbol("init_task").address):
        try:
            whole = Kallsyms(prog, table, stext)
            break
        except LookupError:
            continue

    def lost(address: int, *_more: object) -> bytes:
        raise drgn.FaultError("page is not in the dump", address)

    prog.add_memory_segment(table.token_table & -4096, 4096, lost)
    return whole, prog, table, stext


@pytest.mark.parametrize("name", ["6.1-use-after-free", "7.2-healthy-idle"])
def test_most_tokens_of_a_lost_page_are_told_and_none_falsely(name: str) -> None:
    whole, prog, table, stext = whole_and_lost(name)
    found = Kallsyms(prog, table, stext)
    for told, right in zip(found._tokens, whole._tokens, strict=True):
        # nm's letter of data is not known: no export says it.
        assert told in (LOST, right) or told == b"?" + right[1:]
    assert found._tokens.count(LOST) < 64
    assert found.address(5) == whole.address(5)
    assert "are not known" in found.damage


def test_without_vmcoreinfo_the_index_behind_the_hole_leads_there() -> None:
    whole, prog, _table, stext = whole_and_lost("5.10-sysrq-crash")
    data = prog.symbol("init_task").address
    found = None
    for table in tables_by_shape(prog, stext, data):
        try:
            found = Kallsyms(prog, table, stext)
            break
        except LookupError:
            continue
    assert found is not None
    assert found.count == whole.count
    numbers = range(0, whole.count, 50)
    told = {number: found.name(number) for number in numbers if found.name(number)}
    assert len(told) > len(numbers) / 3
    for number, name in told.items():
        right = whole.name(number)
        assert name in (right, b"?" + right[1:])
