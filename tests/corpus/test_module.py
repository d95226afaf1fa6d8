"""Which files of the fault module decide what a capture holds."""

from corpus import module


def names(fault: str) -> set[str]:
    return {file.name for file in module.sources(fault)}


def test_a_fault_depends_on_the_file_that_offers_it_and_on_the_common_header() -> None:
    assert names("null-chain") == {"faults.h", "memory.c"}


def test_what_an_included_header_stands_for_belongs_to_it() -> None:
    assert names("spinlock-abba") == {"faults.h", "lockups.c", "stuck.h", "stuck.c"}


def test_a_machine_without_a_fault_depends_on_no_source() -> None:
    assert module.sources(None) == []
