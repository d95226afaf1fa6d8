"""Kernels without BTF in their memory: types from a file, and what goes without any."""

from __future__ import annotations

from pathlib import Path

import pytest

import postmortem
from postmortem.case.dump import DumpCase
from postmortem.dump import selfdescribe
from postmortem.errors import UsageError
from postmortem.model.findings import Kind
from tests.conftest import DUMPS
from tests.dump import images

VMCORE = next(DUMPS.glob("6.12-null-chain.vmcore*"))


@pytest.fixture(scope="module")
def btf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The types of that kernel in a file, as a machine that runs it has them in /sys."""
    with postmortem.open(VMCORE) as case:
        _start, found = selfdescribe._read_btf(case.prog, 0)
    assert not found.holes
    file = tmp_path_factory.mktemp("btf") / "vmlinux.btf"
    file.write_bytes(found.data)
    return file


@pytest.fixture(autouse=True)
def without_btf(btf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is one that was built without CONFIG_DEBUG_INFO_BTF."""

    def absent(prog: object, text: int) -> None:
        raise LookupError("could not find symbol with name '__start_BTF'")

    monkeypatch.setattr(selfdescribe, "_read_btf", absent)


def test_the_types_may_come_from_a_file(btf: Path) -> None:
    with postmortem.open(VMCORE, btf=btf) as case:
        analysis = case.analyze()
    assert analysis.types_from == "btf"
    assert analysis.problems == ()
    assert analysis.verdict.kind is Kind.NULL_DEREFERENCE
    assert "peer->port" in analysis.verdict.summary


def test_without_types_log_symbols_and_stacks_are_there() -> None:
    """The console says what the CPUs did: CPU 1 died in a page fault, CPU 0 was stopped idle."""
    with postmortem.open(VMCORE) as case:
        assert isinstance(case, DumpCase)
        analysis = case.analyze()
        address = case.prog.symbol("panic").address
        assert case.prog.symbol(address).name == "panic"
    assert analysis.types_from == "none"
    assert analysis.verdict.kind is Kind.NULL_DEREFERENCE
    assert analysis.verdict.culprit.function == "pm_peer_port"
    functions = {stack.cpu: [f.function for f in stack.frames] for stack in analysis.cpus}
    assert functions[1][1:6] == [
        "panic",
        "oops_end",
        "page_fault_oops",
        "exc_page_fault",
        "asm_exc_page_fault",
    ]
    assert functions[0][0] == "stop_this_cpu"
    assert "do_idle" in functions[0]
    assert any("--btf" in problem.why for problem in analysis.problems)


def test_a_dump_without_saved_registers_has_no_stacks() -> None:
    from postmortem.kernel.cpu.bare import saved_stacks

    with postmortem.open(VMCORE) as case:
        notes = [b"", bytes(336), b"\xff" * 100]
        assert saved_stacks(case.prog, notes) == ()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"hello\n" * 20, "neither BTF nor a vmlinux"),
        (b"\x9f\xeb\x01\x00" + bytes(100), "can't be used"),
        (images.elf_object({".text": b"", "__ksymtab": b""}), "has no .BTF section"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip data: decompress it first"),
    ],
)
def test_a_file_that_has_none_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    file = tmp_path / "types"
    file.write_bytes(data)
    with pytest.raises(UsageError, match="--btf") as caught:
        postmortem.open(VMCORE, btf=file)
    assert says in str(caught.value)


def test_types_of_another_kernel_are_refused(btf: Path) -> None:
    other = next(DUMPS.glob("6.1-use-after-free.vmcore*"))
    with pytest.raises(UsageError, match="of another kernel"):
        postmortem.open(other, btf=btf)
