"""VMCOREINFO's text, and finding it in memory."""

from __future__ import annotations

import pytest

from postmortem.dump import vmcoreinfo

from . import images

TEXT = images.vmcoreinfo()


def test_lines_are_keys_and_values() -> None:
    values = vmcoreinfo.parse(
        b"OSRELEASE=6.1\nno value here\nCONFIG_X=y\nSYMBOL(a)=ff=1\n\0rest=1\n"
    )
    assert values == {"OSRELEASE": "6.1", "CONFIG_X": "y", "SYMBOL(a)": "ff=1"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"BUILD-ID={images.BUILD_ID}", images.BUILD_ID),
        ("BUILD-ID=" + "0" * 40, None),
        ("BUILD-ID=\x7fELF", None),
        ("BUILD-ID=12", None),
        ("X=1", None),
    ],
)
def test_a_build_id_is_only_taken_when_it_can_be_one(line: str, expected: str | None) -> None:
    assert vmcoreinfo.build_id(vmcoreinfo.parse(f"{line}\n".encode())) == expected


@pytest.mark.parametrize(
    ("text", "plausible"),
    [
        (TEXT, True),
        (TEXT.replace(b"PAGESIZE=4096", b"PAGESIZE=4097"), False),
        (TEXT.replace(b"swapper_pg_dir", b"swapped"), False),
        (b"OSRELEASE=6.1\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ff\n", False),
        (b"", False),
    ],
)
def test_plausible_is_what_a_kernel_could_have_written(text: bytes, plausible: bool) -> None:
    assert vmcoreinfo.is_plausible(text) is plausible


def page(text: bytes, at: int = 0) -> bytes:
    return (bytes(at) + text).ljust(8192, b"\0")


def test_the_text_ends_where_the_lines_end() -> None:
    found = list(vmcoreinfo.candidates([(0x5000, page(TEXT))]))
    assert [(c.address, c.text) for c in found] == [(0x5000, TEXT)]


def test_the_page_of_the_kernel_wins_over_a_copy_in_a_buffer() -> None:
    copy = TEXT.replace(b"KERNELOFFSET=0", b"KERNELOFFSET=9")
    assert vmcoreinfo.find([(0, page(copy, 100)), (0x10000, page(TEXT))]) == TEXT


def test_a_text_that_proves_true_wins_over_any_other() -> None:
    earlier = TEXT.replace(b"KERNELOFFSET=0", b"KERNELOFFSET=1")
    chunks = [(0, page(earlier)), (0x10000, page(TEXT, 16))]
    assert vmcoreinfo.find(chunks, lambda text: text == TEXT) == TEXT


def test_what_proves_it_is_the_name_of_the_system() -> None:
    assert vmcoreinfo.utsname_address(TEXT) == images.UTS_NS
    assert vmcoreinfo.utsname_address(b"OSRELEASE=6.1\n") is None


@pytest.mark.parametrize(
    "noise",
    [
        b"OSRELEASE=%s\n",
        b"OSRELEASE=6.1",
        b"OSRELEASE=6.1\nPAGESIZE=4096\n",
        b"\xffOSRELEASE=" * 99,
    ],
)
def test_strings_of_programs_are_not_it(noise: bytes) -> None:
    assert vmcoreinfo.find([(0, page(noise))]) is None


def test_many_false_starts_cost_linear_time() -> None:
    data = b"OSRELEASE=6.1\n" * 60_000
    assert vmcoreinfo.find([(0, data[: 1 << 18])]) is None
