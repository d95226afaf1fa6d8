"""Values found in memory made by hand."""

import re

import pytest

from postmortem.kernel.search import CHUNK_BYTES, Range, search, word_pattern


class Memory:
    """Bytes at an address; a page of it may be missing."""

    def __init__(self, data: bytes, base: int = 0x1000, missing: int | None = None) -> None:
        self.data, self.base, self.missing = data, base, missing

    def __call__(self, address: int, size: int) -> bytes:
        hole = self.missing
        if hole is not None and address < hole + 4096 and hole < address + size:
            raise LookupError("not in the dump")
        at = address - self.base
        return self.data[at : at + size]

    def search(self, pattern: re.Pattern[bytes], unit: int, longest: int) -> list[int]:
        whole = [Range(self.base, self.base + len(self.data), "all")]
        found = search(None, whole, pattern, unit=unit, longest=longest, read=self)  # type: ignore[arg-type]
        return [address for address, _ in found]


def test_a_word_is_found_where_it_is_aligned() -> None:
    word = (0x1122334455667788).to_bytes(8, "little")
    memory = Memory(bytes(4) + word + bytes(4) + word)
    assert memory.search(word_pattern([0x1122334455667788], 8), 8, 8) == [0x1010]


def test_words_side_by_side_are_all_found() -> None:
    assert Memory(bytes(32)).search(word_pattern([0], 8), 8, 8) == [0x1000, 0x1008, 0x1010, 0x1018]


def test_text_across_two_chunks_is_found_once() -> None:
    data = bytearray(CHUNK_BYTES + 100)
    data[CHUNK_BYTES - 3 : CHUNK_BYTES + 3] = b"abcdef"
    found = Memory(bytes(data)).search(re.compile(b"abcdef"), 1, 6)
    assert found == [0x1000 + CHUNK_BYTES - 3]


@pytest.mark.parametrize(("value", "fits"), [(0xAB, True), (0xAC, False), (0xBB, True)])
def test_masked_bits_may_be_anything(value: int, fits: bool) -> None:
    pattern = word_pattern([0xAB], 2, 0xFF10)
    data = (value | 0x4200).to_bytes(2, "little")
    assert bool(Memory(data).search(pattern, 2, 2)) is fits


def test_a_missing_page_is_passed_over() -> None:
    data = bytearray(3 * 4096)
    data[0:8] = data[8192:8200] = b"\x11" * 8
    memory = Memory(bytes(data), missing=0x2000)
    assert memory.search(word_pattern([0x1111111111111111], 8), 8, 8) == [0x1000, 0x3000]
