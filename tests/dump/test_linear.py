"""Kernel image and direct map of dumps that come without kernel addresses."""

from __future__ import annotations

import struct
from pathlib import Path

import drgn
import pytest

import postmortem.dump.open_elf as open_elf
from postmortem.dump.core import open_core

from . import images

TEXT = images.vmcoreinfo()


@pytest.fixture
def segments(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """``(virtual, bytes)`` of what is mapped by Python."""
    added: list[tuple[int, int]] = []

    class Spy:
        def __init__(self, program: drgn.Program) -> None:
            self.program = program

        def add_memory_segment(self, address: int, size: int, read: object) -> None:
            added.append((address, size))
            self.program.add_memory_segment(address, size, read)  # type: ignore[arg-type]

        def read(self, address: int, size: int) -> bytes:
            return self.program.read(address, size)

    original = open_elf.map_linear
    monkeypatch.setattr(
        open_elf, "map_linear", lambda program, *rest: original(Spy(program), *rest)
    )
    return added


def opened(folder: Path, memory: bytearray, text: bytes = TEXT) -> drgn.Program:
    path = folder / "dump"
    path.write_bytes(images.qemu_elf(memory, text))
    return open_core(path).program


def test_both_are_mapped_as_the_page_tables_say(
    tmp_path: Path, segments: list[tuple[int, int]]
) -> None:
    memory = images.machine(8 << 20)
    program = opened(tmp_path, memory)
    assert segments == [(images.KERNEL_MAP, 8 << 20), (images.DIRECT_MAP, 8 << 20)]
    for base in (images.KERNEL_MAP, images.DIRECT_MAP):
        assert program.read(base + 0x1FF000, 0x2000) == bytes(memory[0x1FF000:0x201000])


def test_an_image_that_is_not_linear_is_left_to_the_page_tables(
    tmp_path: Path, segments: list[tuple[int, int]]
) -> None:
    memory = images.machine(8 << 20)
    # The second 2 MiB of the image lie where the third should.
    struct.pack_into("<Q", memory, 0x7000 + 8, 2 << 21 | 0xE3)
    program = opened(tmp_path, memory)
    assert segments[0] == (images.KERNEL_MAP, 2 << 20)
    assert program.read_u64(images.KERNEL_MAP + (2 << 20)) == (4 << 20) // 4096


def test_a_direct_map_with_another_order_is_left_to_the_page_tables(
    tmp_path: Path, segments: list[tuple[int, int]]
) -> None:
    memory = images.machine(8 << 20)
    struct.pack_into("<Q", memory, 0x5000 + 8, 3 << 21 | 0xE3)
    program = opened(tmp_path, memory)
    assert images.DIRECT_MAP not in [address for address, _ in segments]
    assert program.read_u64(images.DIRECT_MAP + (2 << 20)) == (6 << 20) // 4096


@pytest.mark.parametrize("line", ["NUMBER(phys_base)=0", f"SYMBOL(_stext)={images.KERNEL_MAP:x}"])
def test_without_what_is_needed_nothing_is_mapped(
    tmp_path: Path, segments: list[tuple[int, int]], line: str
) -> None:
    text = TEXT.replace(line.encode() + b"\n", b"")
    program = opened(tmp_path, images.machine(), text)
    assert segments == []
    if "phys_base" not in line:
        assert program.read_u64(images.DIRECT_MAP + 200 * 4096) == 200


def test_page_tables_full_of_noise_do_no_harm(
    tmp_path: Path, segments: list[tuple[int, int]]
) -> None:
    memory = images.machine()
    for word in range(512):
        struct.pack_into("<Q", memory, images.SWAPPER_PG_DIR + word * 8, 0xFFFF_FFFF_FFFF_FFFF)
    with pytest.raises(drgn.FaultError):
        opened(tmp_path, memory).read(images.DIRECT_MAP, 8)
    assert segments == []
