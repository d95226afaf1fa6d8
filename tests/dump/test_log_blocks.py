"""The log found by the shape of its blocks, where nothing leads to it any more."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from postmortem.dump.log_blocks import find_blocks
from postmortem.dump.memory import Memory, PhysicalRange
from tests.conftest import Machine, machine_named

IDS = (1 << 62) - 1
COUNT = 256
FIRST = (1 << 32) - COUNT
"""The id of the first record of a ring with so many descriptors."""


class Bytes(Memory):
    """Physical memory from 1 MiB on."""

    start = 1 << 20

    def __init__(self, data: bytes) -> None:
        self.data = data

    def ranges(self) -> Iterator[PhysicalRange]:
        yield PhysicalRange(self.start, self.start + len(self.data))

    def read(self, address: int, size: int) -> bytes:
        at = address - self.start
        return self.data[at : at + size] if at >= 0 else b""


def laid_out(texts: list[bytes], *, infos: bool = True) -> bytes:
    """The blocks of these records behind each other, and an array that describes them."""
    data = bytearray(8192)
    described = bytearray(88 * COUNT)
    for number, text in enumerate(texts):
        # Behind a text there may be bytes of an older one.
        block = (text + b"\0").ljust(-(-(len(text) + 2) // 8) * 8, b"x")
        data += struct.pack("<Q", FIRST + number & IDS) + block
        slot = (FIRST + number) & (COUNT - 1)
        struct.pack_into("<QQH", described, 88 * slot, number, number * 1000, len(text))
    data += bytes(-len(data) % 4096 + 4096)
    return bytes(data + (described if infos else b"") + bytes(1 << 16))


TEXTS = [b"Linux version 6.1.0", b"one", b"number two", b"Call Trace:", b"the end"]


def test_texts_and_what_describes_them() -> None:
    found = find_blocks(Bytes(laid_out(TEXTS)))
    texts = {
        n: found.texts[n][: struct.unpack_from("<QQH", found.infos[n])[2]] for n in found.infos
    }
    assert [texts[number] for number in sorted(texts)] == TEXTS
    assert min(texts) == FIRST


def test_without_descriptions_the_texts_are_left() -> None:
    found = find_blocks(Bytes(laid_out(TEXTS, infos=False)))
    assert found.infos == {}
    assert [text.partition(b"\0")[0] for _, text in sorted(found.texts.items())] == TEXTS


def test_memory_without_a_log() -> None:
    alone = bytes(4096) + b"Linux version 6.1.0 stands in a file\n" + bytes(4096)
    assert find_blocks(Bytes(alone)).texts == {}


def test_the_log_of_a_real_machine() -> None:
    machine: Machine = machine_named("6.12-null-chain")
    found = find_blocks(machine.case.core.memory)  # type: ignore[attr-defined]
    console = machine.console.read_text(errors="replace")
    lengths = {n: struct.unpack_from("<QQH", info)[2] for n, info in found.infos.items()}
    texts = [found.texts[n][:size].decode() for n, size in lengths.items()]
    there = sum(text in console for text in texts)
    assert there >= 400 and there > 0.95 * len(texts)
    assert any("pm_peer_port" in text for text in texts)
