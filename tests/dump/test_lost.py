"""Parts of a real dump that are lost, and what it must still tell without them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from drgn.helpers.linux.mm import follow_phys

import postmortem
from postmortem.case import Case
from postmortem.dump import vmcoreinfo
from postmortem.dump.selfdescribe import each_module
from postmortem.dump.vmcoreinfo import START_KERNEL_MAP
from tests.conftest import Machine, machine_named
from tests.fuzz.dumps.image import PAGE, Image, unpack

NAME = "6.12-null-chain"


@pytest.fixture(scope="module")
def whole() -> Machine:
    return machine_named(NAME)


@pytest.fixture(scope="module")
def opened(whole: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    path = tmp_path_factory.mktemp("lost") / "vmcore"
    unpack(whole.path, path)
    found = Image(path)
    yield found
    found.close()


@pytest.fixture
def image(opened: Image) -> Iterator[Image]:
    yield opened
    opened.restore()


def assert_tells_all(path: Path, whole: Machine) -> Case:
    """All tasks, and the truth about the crash, are told."""
    with postmortem.open(path, debuginfod=False) as case:
        verdict = case.analyze().verdict
        assert case.tasks is not None and whole.case.tasks is not None
        assert len(case.tasks.tasks) == len(whole.case.tasks.tasks)
        assert str(verdict.kind) == whole.truth["kind"]
        assert verdict.culprit.function == whole.truth["function"]
    return case


def page_tables(machine: Machine) -> Iterator[int]:
    """Physical address of each table of the kernel's half, but for those of single pages."""
    values = machine.case.dump.vmcoreinfo or {}  # type: ignore[union-attr]
    top = int(values["SYMBOL(swapper_pg_dir)"], 16) - START_KERNEL_MAP
    levels = 5 if values.get("NUMBER(pgtable_l5_enabled)") == "1" else 4
    waiting = [(top + int(values["NUMBER(phys_base)"], 0), levels)]
    while waiting:
        at, level = waiting.pop()
        yield at
        entries = struct.unpack("<512Q", machine.prog.read(at, PAGE, physical=True))
        for entry in entries[256:] if level == levels else entries:
            if entry & 1 and not entry & 0x80 and level > 2:
                waiting.append((entry & 0x000FFFFFFFFFF000, level - 1))


def test_no_page_table_is_left(image: Image, whole: Machine) -> None:
    for table in page_tables(whole):
        image.poke(table, bytes(PAGE))
    case = assert_tells_all(image.path, whole)
    assert not case.input.complete
    assert "phys_base" in " ".join(case.input.lacks)
    assert "page tables" in {problem.what for problem in case.problems}


@pytest.mark.parametrize(
    "line",
    [
        "NUMBER(phys_base)=12zz",
        "SYMBOL(init_uts_ns)=ffffffff80001000",
        "SYMBOL(_stext)=ffffffff80001000",
        "SYMBOL(prb)=ffffffff80001000",
        "SYMBOL(kallsyms_num_syms)=1",
        "SYMBOL(kallsyms_offsets)=ffffffff80001000",
        "OFFSET(prb_desc_ring.descs)=9",
    ],
)
def test_a_line_of_vmcoreinfo_is_wrong(image: Image, whole: Machine, line: str) -> None:
    key = re.escape(line.partition("=")[0]).encode()
    head = image.read(1 << 17, 0)
    for match in re.finditer(key + rb"=[^\n]+", head):
        image.write(match.start(), line.encode().ljust(len(match[0]), b"\n")[: len(match[0])])
    assert_tells_all(image.path, whole)


def test_lines_that_no_kernel_writes_are_known() -> None:
    true = (
        b"OSRELEASE=6.1.0\nBUILD-ID=abc\nPAGESIZE=4096\nSYMBOL(prb)=ffffffff82000000\n"
        b"OFFSET(page.flags)=0\nSIZE(page)=64\nLENGTH(zone.free_area)=11\nKERNELOFFSET=2a000000\n"
        b"NUMBER(phys_base)=1073741824\nNUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-129\nCONFIG_X=y\n"
    )
    assert vmcoreinfo.odd_keys(true) == []
    for odd in (
        b"SYMBOL(a)=fff",
        b"SYMBOL(a)=zz",
        b"OFFSET(b)=-1",
        b"SIZE(c)=99999999",
        b"NUMBER(phys_base)=4097",
        b"KERNELOFFSET=1",
        b"NUMBER(d)=",
    ):
        key = odd.partition(b"=")[0].decode()
        lines = b"\n".join(line for line in true.split(b"\n") if not line.startswith(key.encode()))
        assert vmcoreinfo.odd_keys(lines + odd + b"\n") == [key]
        assert vmcoreinfo.odd_keys(vmcoreinfo.without(lines + odd + b"\n", [key])) == []


def test_nothing_leads_to_the_log(image: Image, whole: Machine) -> None:
    """The ring's head reads as zeroes: its records are known by their shape."""
    ring = whole.prog.read_u64(whole.prog.symbol("prb").address)
    image.poke(physical(whole, ring), bytes(128))
    with postmortem.open(image.path, debuginfod=False) as case:
        verdict = case.analyze().verdict
        assert verdict.culprit.function == whole.truth["function"]
        assert "found by their shape" in " ".join(problem.why for problem in case.problems)
        assert len(case.log) > 400


def test_no_vmcoreinfo_is_left(image: Image, whole: Machine) -> None:
    """Then memory can't be read as the kernel does, but the log still tells of the crash."""
    memory = whole.case.core.memory  # type: ignore[attr-defined]
    for at, _needle in list(memory.search(b"OSRELEASE=")):
        image.poke(at, b"X" * 10)
    head = image.read(1 << 17, 0)
    for match in re.finditer(b"OSRELEASE=", head):
        image.write(match.start(), b"X" * 10)
    with postmortem.open(image.path, debuginfod=False) as case:
        verdict = case.analyze().verdict
        assert str(verdict.kind) == whole.truth["kind"]
        assert verdict.culprit.function == whole.truth["function"]
        assert any("no VMCOREINFO" in lack for lack in case.input.lacks)


def physical(machine: Machine, address: int) -> int:
    values = machine.case.dump.vmcoreinfo or {}  # type: ignore[union-attr]
    return address - START_KERNEL_MAP + int(values["NUMBER(phys_base)"], 0)


def test_a_module_whose_note_has_an_absurd_size(image: Image, whole: Machine) -> None:
    module = next(each_module(whole.prog))
    size = module.notes_attrs.attrs[0].member_("size").address_
    assert size is not None
    place = follow_phys(whole.prog["init_mm"].address_of_(), size).value_()
    image.poke(place, struct.pack("<Q", 1 << 62))
    case = assert_tells_all(image.path, whole)
    assert any("size of a note" in problem.why for problem in case.problems)
