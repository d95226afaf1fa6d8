"""kdump-compressed headers, bitmaps and page descriptors."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.dump import kdump

from . import images
from .test_elf import Bytes

PAGE = images.PAGE


def image(**options: object) -> bytes:
    pages = {pfn: bytes([pfn % 251]) * PAGE for pfn in (*range(3, 20), 40, 41, 99)}
    return images.kdump(pages, 100, images.vmcoreinfo(), **options)  # type: ignore[arg-type]


def test_the_headers_say_what_was_written() -> None:
    header = kdump.read_header(Bytes(image(level=31, status=8)))
    assert header.utsname.release == images.RELEASE
    assert (header.max_pfn, header.nr_cpus, header.dump_level) == (100, 2, 31)
    assert (header.compression, header.incomplete, header.split) == ("zlib", True, False)
    assert header.timestamp == 1_700_000_000


@pytest.mark.parametrize(
    ("status", "name"), [(0, "none"), (1, "zlib"), (2, "lzo"), (4, "snappy"), (0x20, "zstd")]
)
def test_the_status_names_the_compression(status: int, name: str) -> None:
    header = kdump.read_header(Bytes(image(compress=False, status=status)))
    assert header.compression == name


def test_saved_and_existing_pages_are_counted() -> None:
    source = Bytes(image())
    header = kdump.read_header(source)
    assert kdump.saved_pages(source, header) == 20
    assert kdump.existing_pages(source, header) == 100


def test_a_part_counts_its_own_pages() -> None:
    source = Bytes(image(split=(10, 41)))
    header = kdump.read_header(source)
    assert (header.first_pfn, header.last_pfn) == (10, 41)
    assert kdump.saved_pages(source, header) == 11


def naive_runs(bitmap: bytes, first: int, end: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for pfn in range(first, min(end, len(bitmap) * 8)):
        if bitmap[pfn // 8] >> pfn % 8 & 1:
            if runs and runs[-1][1] == pfn:
                runs[-1] = (runs[-1][0], pfn + 1)
            else:
                runs.append((pfn, pfn + 1))
    return runs


bitmaps = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=5),
        st.integers(1, 9000).map(lambda n: b"\xff" * n),
        st.integers(1, 9000).map(bytes),
    ),
    min_size=1,
    max_size=6,
).map(b"".join)


@given(bitmaps, st.data())
@settings(max_examples=60, deadline=None)
def test_runs_of_pages_are_those_of_the_bitmap(bitmap: bytes, data: st.DataObject) -> None:
    pages = len(bitmap) * 8
    first = data.draw(st.integers(0, pages))
    end = data.draw(st.integers(first, pages + 20))
    source = Bytes(b"head" + bitmap)
    runs = list(kdump.bitmap_runs(source, 4, len(bitmap), first, end))
    assert runs == naive_runs(bitmap, first, end)
    counted = kdump.count_pages(source, 4, first, min(end, pages))
    assert counted == sum(high - low for low, high in runs)


def test_a_whole_file_has_no_bad_pages() -> None:
    source = Bytes(image())
    check = kdump.check_pages(source, kdump.read_header(source))
    assert (check.pages, check.lost_bytes, check.empty_pages, check.bad_pages) == (20, 0, 0, ())


def test_pages_behind_the_end_are_found_by_number() -> None:
    whole = image(compress=False)
    source = Bytes(whole[: -2 * PAGE - 100])  # all of 99 and 41, the end of 40
    check = kdump.check_pages(source, kdump.read_header(source))
    assert check.bad_pages == ((40, 42), (99, 100))
    assert check.lost_bytes == 2 * PAGE + 100


def descriptor(data: bytearray, index: int) -> int:
    return kdump.read_header(Bytes(bytes(data))).descriptors_offset + 24 * index


def test_a_page_that_claims_to_be_huge_is_bad() -> None:
    data = bytearray(image())
    struct.pack_into("<I", data, descriptor(data, 2) + 8, 0xFFFFFFF0)
    source = Bytes(bytes(data))
    assert kdump.check_pages(source, kdump.read_header(source)).bad_pages == ((5, 6),)


def test_pages_that_were_never_written_are_counted() -> None:
    data = bytearray(image(status=8))
    for index in (18, 19):
        struct.pack_into("<QIIQ", data, descriptor(data, index), 0, 0, 0, 0)
    source = Bytes(bytes(data))
    assert kdump.check_pages(source, kdump.read_header(source)).empty_pages == 2


@pytest.mark.parametrize("length", [0, 7, 100, 463, 464, 4096, 4150])
def test_a_file_that_ends_in_its_headers_is_refused(length: int) -> None:
    with pytest.raises(kdump.BadKdumpError):
        kdump.read_header(Bytes(image()[:length]))


def test_a_file_without_pages_is_refused() -> None:
    whole = image()
    header = kdump.read_header(Bytes(whole))
    source = Bytes(whole[: header.descriptors_offset + 100])
    with pytest.raises(kdump.BadKdumpError, match="before its first page"):
        kdump.check_pages(source, header)


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 10), (1 << 40, 10), (100, 1 << 40), (100, -1), (-5, 10), (190, 20)]
)
def test_blobs_outside_the_file_are_empty(offset: int, size: int) -> None:
    assert kdump.read_blob(Bytes(bytes(200)), offset, size, 1 << 20) == b""


@given(st.lists(st.tuples(st.integers(0, 4300), st.integers(0, 255)), max_size=8))
@settings(max_examples=300, deadline=None)
def test_no_header_does_harm(changes: list[tuple[int, int]]) -> None:
    data = bytearray(IMAGE)
    for position, value in changes:
        data[position] = value
    source = Bytes(bytes(data))
    try:
        header = kdump.read_header(source)
        check = kdump.check_pages(source, header)
    except kdump.BadKdumpError:
        return
    assert check.pages * 24 <= len(data)


IMAGE = image()


@pytest.mark.parametrize("offset", [0, 8, 4096])
def test_a_page_that_lies_among_the_headers_is_bad(offset: int) -> None:
    data = bytearray(image())
    struct.pack_into("<QIIQ", data, descriptor(data, 2), offset, PAGE, 0, 0)
    source = Bytes(bytes(data))
    assert kdump.check_pages(source, kdump.read_header(source)).bad_pages == ((5, 6),)
