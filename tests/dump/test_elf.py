"""ELF headers and notes: what elf(5) says, and what a liar says."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.dump import elf
from postmortem.inputs.source import PlainFile

from . import images


class Bytes:
    """A source in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def pread(self, count: int, offset: int) -> bytes:
        return self.data[offset : offset + count] if offset >= 0 and count > 0 else b""


CORE = images.elf_core(
    [(0x1000, 0xFFFF888000001000, b"a" * 4096), (0x8000, 0xFFFF888000008000, b"", 8192)],
    images.notes(images.vmcoreinfo()),
)


def test_segments_are_read_with_their_addresses() -> None:
    header = elf.read_elf(Bytes(CORE))
    assert (header.type, header.machine, header.lost_segments) == (elf.ET_CORE, "x86_64", 0)
    loads = [s for s in header.segments if s.type == elf.PT_LOAD]
    assert [(s.paddr, s.vaddr, s.filesz, s.memsz) for s in loads] == [
        (0x1000, 0xFFFF888000001000, 4096, 4096),
        (0x8000, 0xFFFF888000008000, 0, 8192),
    ]


def test_the_header_size_that_qemu_writes_does_not_matter() -> None:
    image = images.qemu_elf(images.machine(), None)
    assert struct.unpack_from("<H", image, 52) == (8,)
    assert len(elf.read_elf(Bytes(image)).segments) == 2


def test_the_number_of_segments_may_be_in_the_first_section() -> None:
    image = bytearray(CORE)
    struct.pack_into("<Q", image, 40, len(image))  # e_shoff
    struct.pack_into("<H", image, 56, 0xFFFF)  # e_phnum = PN_XNUM
    image += struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 3, 0, 0)  # sh_info
    assert len(elf.read_elf(Bytes(bytes(image))).segments) == 3


def test_segments_behind_the_end_are_counted() -> None:
    header = elf.read_elf(Bytes(CORE[: 64 + 56 + 10]))
    assert (len(header.segments), header.lost_segments) == (1, 2)


def test_big_endian_and_32_bit_headers_name_their_machine() -> None:
    head = b"\x7fELF\x02\x02\x01".ljust(16, b"\0")
    head += struct.pack(">HHIQQQIHHHHHH", 4, 22, 1, 0, 0, 0, 0, 64, 56, 0, 0, 0, 0)
    assert elf.read_elf(Bytes(head)).machine == "s390x"
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIIIIIHHHHHH", 4, 3, 1, 0, 0, 0, 0, 52, 32, 0, 0, 0, 0)
    assert elf.read_elf(Bytes(head)).machine == "i386"


@pytest.mark.parametrize(
    ("position", "value", "why"),
    [(54, 57, "57 bytes each"), (4, 9, "class or byte order"), (0, 0, "no ELF header")],
)
def test_contradictions_are_refused(position: int, value: int, why: str) -> None:
    image = bytearray(CORE)
    image[position] = value
    with pytest.raises(elf.BadElfError, match=why):
        elf.read_elf(Bytes(bytes(image)))


def test_notes_are_read_in_order() -> None:
    found = list(elf.parse_notes(images.notes(b"OSRELEASE=x\n")))
    assert [(note.name, note.type, len(note.desc)) for note in found] == [
        (b"CORE", 1, 336),
        (b"CORE", 1, 336),
        (b"VMCOREINFO", 0, 12),
    ]


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 4096])
def test_a_note_that_does_not_fit_ends_the_notes(size: int) -> None:
    data = images.note(b"CORE", 1, b"x" * 8) + struct.pack("<III", 5, size, 1) + b"CORE\0\0\0\0"
    assert [note.desc for note in elf.parse_notes(data)] == [b"x" * 8]


def test_the_build_id_of_a_real_program_is_what_readelf_says() -> None:
    import shutil
    import subprocess

    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("readelf is not installed")
    program = Path(sys.executable).resolve()
    said = subprocess.run([readelf, "-n", program], capture_output=True, text=True).stdout
    source = PlainFile(program)
    found = elf.read_build_id(source, elf.read_elf(source))
    assert found is None if "Build ID" not in said else f"Build ID: {found}" in said


@given(st.lists(st.tuples(st.integers(0, len(CORE) - 1), st.integers(0, 255)), max_size=8))
@settings(max_examples=300, deadline=None)
def test_no_header_does_harm(changes: list[tuple[int, int]]) -> None:
    image = bytearray(CORE[:1024])
    for position, value in changes:
        image[position % len(image)] = value
    source = Bytes(bytes(image))
    try:
        header = elf.read_elf(source)
    except elf.BadElfError:
        return
    list(elf.read_notes(source, header))
    elf.read_sections(source, header)
    elf.read_build_id(source, header)
