"""Changed text of committed machines: what is said of it agrees with the bytes that stand there."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from postmortem.kernel.code.patched import Change, changes_between, ftrace_ops
from postmortem.kernel.code.probes import kprobes, uprobes
from postmortem.kernel.tasks.trace import Names
from tests.conftest import machine_named

MACHINES = ("5.10-sysrq-crash", "6.1-use-after-free", "6.12-null-chain", "7.2-healthy-idle")
JUMPS = (0xE9, 0xEB)


def text_of(name: str) -> tuple[Any, list[Change]]:
    prog = machine_named(name).prog
    start, end = (prog.symbol(one).address for one in ("_stext", "_etext"))
    return prog, changes_between(prog, start, end)


@pytest.mark.parametrize("name", MACHINES)
def test_a_static_key_that_changed_is_a_jump_or_a_nop_now(name: str) -> None:
    prog, found = text_of(name)
    keys = [one for one in found if one.by.startswith("static key ")]
    assert keys
    for one in keys:
        assert (prog.read_u8(one.address) in JUMPS) == (", a jump where" in one.by), one


@pytest.mark.parametrize("name", MACHINES)
def test_a_static_call_goes_where_its_key_says(name: str) -> None:
    prog, found = text_of(name)
    names = Names(prog)
    calls = [one for one in found if one.by.startswith("static call ")]
    checked = wrong = 0
    for one in calls:
        opcode, distance = struct.unpack("<Bi", prog.read(one.address, 5))
        if opcode in (0xE8, 0xE9):
            target = names.symbol(one.address + 5 + distance, offset=False)
            checked += 1
            wrong += not one.by.endswith(f", now {target}")
    # Many are patched to give 0 without any call.
    assert (wrong, bool(checked)) == (0, bool(calls))


def test_nobody_had_set_probes() -> None:
    prog, found = text_of("6.12-null-chain")
    assert [one.by for one in found if not one.by.startswith("static ")] == []
    assert (kprobes(prog), list(uprobes(prog)), ftrace_ops(prog)) == ((), [], ())


def test_bytes_are_shown_where_they_differ() -> None:
    one = Change(0, 1, "kprobe, handler weed", b"\x55")
    assert one.text(b"\xcc") == "kprobe, handler weed: cc was 55"
    assert one.text(b"\x55") == "kprobe, handler weed"
    assert Change(0, 5, "static call sow, now reap").text(bytes(5)) == "static call sow, now reap"
