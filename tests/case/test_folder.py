"""A folder of a crash, opened: the dump's verdict, and the log where the dump lacks it."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

import postmortem
from postmortem.errors import PostmortemError
from postmortem.model.findings import Kind
from tests.conftest import DUMPS

NAME = "6.12-null-chain"
CONSOLE = (DUMPS / f"{NAME}.console.log").read_bytes()
OTHER = (DUMPS / "6.1-use-after-free.console.log").read_bytes()


@pytest.fixture(scope="module")
def image() -> bytes:
    """The start of the dump: its printk buffer lies behind it."""
    with next(DUMPS.glob(f"{NAME}.vmcore*")).open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read(8 << 20)


def lay(folder: Path, dump: bytes | None, log: bytes) -> Path:
    if dump is None:
        (folder / "dump.202611261200").symlink_to(next(DUMPS.glob(f"{NAME}.vmcore*")))
    else:
        (folder / "dump.202611261200").write_bytes(dump)
    (folder / "dmesg.202611261200").write_bytes(log)
    return folder


def test_a_whole_dump_needs_no_log(tmp_path: Path) -> None:
    with postmortem.open(lay(tmp_path, None, CONSOLE)) as case:
        analysis = case.analyze()
    assert (analysis.verdict.kind, analysis.types_from) == (Kind.NULL_DEREFERENCE, "btf")
    assert (analysis.problems, analysis.input.notes) == ((), ())


def test_a_dump_that_was_cut_before_its_log_is_judged_with_the_log(
    tmp_path: Path, image: bytes
) -> None:
    with postmortem.open(lay(tmp_path, image, CONSOLE)) as case:
        analysis = case.analyze()
        texts = [record.text for record in case.log]
    assert analysis.input.kind == "vmcore"
    assert analysis.verdict.kind is Kind.NULL_DEREFERENCE
    assert any(text.startswith("Kernel panic - not syncing") for text in texts)
    assert not [problem for problem in analysis.problems if problem.what == "log"]
    (note,) = analysis.input.notes
    assert "are from dmesg.202611261200 beside the dump" in note


def test_a_dump_that_is_only_a_header_leaves_the_log(tmp_path: Path, image: bytes) -> None:
    with postmortem.open(lay(tmp_path, image[:3000], CONSOLE)) as case:
        analysis = case.analyze()
    assert analysis.verdict.kind is Kind.NULL_DEREFERENCE
    assert analysis.input.kind == "log"
    (problem,) = [problem for problem in analysis.problems if problem.what == "dump"]
    assert "only the log beside it could be judged" in problem.why


def test_the_log_of_another_machine_is_not_taken(tmp_path: Path, image: bytes) -> None:
    with postmortem.open(lay(tmp_path, image, OTHER)) as case:
        analysis = case.analyze()
    assert analysis.verdict.kind is Kind.NONE
    (note,) = analysis.input.notes
    assert note.startswith("dmesg.202611261200 beside the dump was not used: it is of kernel 6.1")


@pytest.mark.parametrize("url", ["https://crash.example/vmcore", "sftp://host/var/crash/vmcore"])
def test_a_url_is_called_a_url(url: str) -> None:
    with pytest.raises(PostmortemError) as caught:
        postmortem.open(url)
    assert str(caught.value).startswith(f"{url} is a URL")
    assert caught.value.exit_status == 4
