"""Frames from a trace of drgn's: what they are named, and where they end."""

from __future__ import annotations

from typing import Any

from postmortem.kernel.tasks.stacks import Symbolizer, describe_trace
from tests.conftest import machine_named


class DrgnFrame:
    """As much of a drgn frame as is looked at."""

    is_inline = False
    interrupted = False

    def __init__(self, pc: int, user: bool = False) -> None:
        self.pc = pc
        self._cs = 0x33 if user else 0x10

    def registers(self) -> dict[str, int]:
        return {"cs": self._cs}


def names(*frames: DrgnFrame) -> list[str | None]:
    trace: Any = frames
    return [
        frame.function for frame in describe_trace(machine_named("6.12-null-chain").prog, trace)
    ]


def test_data_is_no_function() -> None:
    prog = machine_named("6.12-null-chain").prog
    data, code = prog.symbol("linux_banner").address, prog.symbol("vfs_read").address
    assert names(DrgnFrame(code + 8), DrgnFrame(data + 8), DrgnFrame(code + 8)) == [
        *("vfs_read", None, "vfs_read")
    ]
    symbol = Symbolizer.of(prog).symbol(data)
    assert symbol is not None
    assert (symbol.function, symbol.is_code) == ("linux_banner", False)


def test_user_space_ends_a_stack() -> None:
    code = machine_named("6.12-null-chain").prog.symbol("vfs_read").address + 8
    assert names(DrgnFrame(code), DrgnFrame(0x7F00_0000_1000, user=True), DrgnFrame(code)) == [
        "vfs_read"
    ]
    # The kernel jumped to a low address: that is a frame of its own.
    assert names(DrgnFrame(code), DrgnFrame(0x7F00_0000_1000), DrgnFrame(code)) == [
        *("vfs_read", None, "vfs_read")
    ]
