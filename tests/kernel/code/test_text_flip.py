"""Text in memory beside that of the vmlinux."""

from __future__ import annotations

from pathlib import Path

import pytest

import postmortem
from corpus.kernels import default_cache
from postmortem.dump.available import Available
from postmortem.kernel.code.text_flip import Change, compare, text_changes

START = 0xFFFFFFFF9AE00000
MOVED = 0x19E00000
TEXT = bytes(range(1, 129)) * 64


def changed(*changes: tuple[int, bytes]) -> bytes:
    text = bytearray(TEXT)
    for at, data in changes:
        text[at : at + len(data)] = data
    return bytes(text)


def found(text: bytes, *sites: tuple[int, int], moved: int = MOVED) -> tuple[Change, ...]:
    return compare(START, TEXT, Available(text), sites, moved).changes


def test_equal_text_has_no_changes() -> None:
    whole = compare(START, TEXT, Available(TEXT), (), MOVED)
    assert (whole.changes, whole.flip, whole.compared_bytes) == ((), None, len(TEXT))


def test_one_bit() -> None:
    text = changed((0x1003, bytes([TEXT[0x1003] ^ 0x40])))
    flip = compare(START, TEXT, Available(text), (), MOVED).flip
    assert flip is not None
    assert (flip.address, flip.bit, flip.was ^ flip.is_now) == (START + 0x1003, 6, 0x40)


def test_two_bits_are_no_flip() -> None:
    text = changed((5, bytes([TEXT[5] ^ 1])), (4096, bytes([TEXT[4096] ^ 1])))
    both = compare(START, TEXT, Available(text), (), MOVED)
    assert [change.bit for change in both.changes] == [0, 0]
    assert both.flip is None
    assert compare(START, TEXT, Available(changed((5, b"\xff"))), (), MOVED).flip is None


def test_what_the_kernel_writes_itself_is_left_out() -> None:
    text = changed((64, b"\x0f\x1f\x44\0\0"))  # the nop where ftrace would be called
    assert found(text)
    assert found(text, (64, 5)) == ()
    assert compare(START, TEXT, Available(text), [(64, 5)], MOVED).compared_bytes == len(TEXT) - 5
    assert found(text, (len(TEXT) - 1, 5), (-3, 5))  # a place outside of the text does no harm


def test_an_address_moves_with_the_image() -> None:
    at = 0x201
    was = int.from_bytes(TEXT[at : at + 4], "little")
    for now in (was + MOVED, was - MOVED):  # of a per-CPU variable the distance
        text = changed((at, (now & 0xFFFFFFFF).to_bytes(4, "little")))
        assert found(text) == ()
        assert found(text, moved=0x200000)


def test_a_breakpoint_is_somebodys_wish() -> None:
    at = TEXT.index(0x4C)  # one bit makes it int3
    assert found(changed((at, b"\xcc"))) == ()


def test_a_hole_is_not_compared() -> None:
    text = changed((4096, bytes(4096)))
    whole = compare(START, TEXT, Available(text, ((4096, 8192),)), (), MOVED)
    assert (whole.changes, whole.compared_bytes) == ((), 4096)


def kernel_with_its_file() -> tuple[Path, Path] | None:
    cache = default_cache()
    for file in sorted(cache.glob("kernels/6.1*-cloud-amd64/usr/lib/debug/boot/vmlinux-*")):
        dump = cache / file.name.removeprefix("vmlinux-") / "null-chain" / "vmcore"
        if dump.exists():
            return dump, file
    return None


@pytest.mark.capture
def test_a_real_kernel_and_one_bit_of_it() -> None:
    pair = kernel_with_its_file()
    if pair is None:
        pytest.skip("wants a captured machine and the vmlinux of its debug package")
    with postmortem.open(pair[0], vmlinux=pair[1]) as case:
        assert case.dump is not None
        assert case.dump.debug is not None
        prog = case.prog
        place = prog.symbol("vfs_read").address + 0x20
        page = place & -4096
        data = bytearray(prog.read(page, 4096))
        true = text_changes(prog, case.dump.debug)
        assert true is not None
        assert true.changes == ()
        assert true.compared_bytes > 8 << 20
        data[place - page] ^= 1 << 3

        def read(address: int, count: int, offset: int, physical: bool) -> bytes:
            return bytes(data[offset : offset + count])

        prog.add_memory_segment(page, 4096, read)
        prog.cache.clear()
        broken = text_changes(prog, case.dump.debug)
        assert broken is not None
        assert broken.flip is not None
        assert (broken.flip.address, broken.flip.bit) == (place, 3)
