"""A folder of a crash is that crash, as each distribution lays it out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from postmortem.errors import PostmortemError, UnreadableInputError
from postmortem.inputs.folder import case_in
from postmortem.inputs.recognise import InputKind
from tests.dump import images

ELF = images.qemu_elf(images.machine(), images.vmcoreinfo())
KDUMP = images.kdump(images.pages_of(images.machine()), 1024, images.vmcoreinfo())
OTHER = images.kdump(
    images.pages_of(images.machine()), 1024, images.vmcoreinfo({"OSRELEASE": "5.0"})
)
LOG = b"[    0.000000] Linux version 6.9.1 (gcc 12)\n[    1.5] Kernel panic - not syncing: sysrq\n"
KERNEL = images.elf_object({".text": b"", "__ksymtab": b""})

LAYOUTS = {
    "kdump-tools": {"dump.202611261200": KDUMP, "dmesg.202611261200": LOG},
    "kdump-utils": {"vmcore": KDUMP, "vmcore-dmesg.txt": LOG, "kexec-dmesg.log": LOG * 9},
    "over ssh": {"vmcore.flat": images.flattened(KDUMP), "vmcore-dmesg.txt": LOG},
    "kdump of SUSE": {
        "vmcore": ELF,
        "dmesg.txt": LOG,
        "README.txt": b"Kernel crashdump\n----------------\n",
        "System.map-6.4.0-default": b"ffffffff81000000 T _stext\n",
        "vmlinux-6.4.0-default.gz": gzip.compress(KERNEL),
    },
    "unpacked by hand": {"vmcore.gz": gzip.compress(ELF), "dmesg": LOG, "notes.txt": b"hello\n"},
}


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_folder_of_each_tool_is_its_dump_with_the_log(tmp_path: Path, name: str) -> None:
    files = LAYOUTS[name]
    found = case_in(lay(tmp_path / "2026", files))
    dump, log = list(files)[:2]
    assert found.kind is InputKind.VMCORE
    assert [path.name for path in found.paths] == [dump]
    assert found.beside.log is not None
    assert found.beside.log.name == log


def test_a_kernel_beside_the_dump_is_found_by_its_content(tmp_path: Path) -> None:
    lay(tmp_path, {"vmcore": ELF, "kernel-image": KERNEL, "System.map": b"0 T x\n"})
    assert [path.name for path in case_in(tmp_path).beside.kernels] == ["kernel-image"]


def test_the_parts_of_one_dump_are_one_case(tmp_path: Path) -> None:
    pages = images.pages_of(images.machine())
    text = images.vmcoreinfo()
    for number, window in enumerate(((0, 512), (512, 1024)), 1):
        part = images.kdump(pages, 1024, text, split=window)
        lay(tmp_path, {f"vmcore{number}": part})
    assert [path.name for path in case_in(tmp_path).paths] == ["vmcore1", "vmcore2"]


def test_the_only_case_below_is_taken(tmp_path: Path) -> None:
    lay(tmp_path / "127.0.0.1-2026-11-26-12:00:00", {"vmcore": KDUMP})
    lay(tmp_path, {"kexec_cmd": b"/sbin/kexec -p\n"})
    assert case_in(tmp_path).paths[0].name == "vmcore"


def test_several_cases_are_listed(tmp_path: Path) -> None:
    for day in range(12):
        lay(tmp_path / f"2026112{day:x}", {"vmcore": KDUMP})
    with pytest.raises(UnreadableInputError) as caught:
        case_in(tmp_path)
    said = str(caught.value)
    assert "holds 12 cases" in said
    assert "20261120, 20261121" in said
    assert said.endswith("and 4 more")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"vmcore": KDUMP, "vmcore.old": OTHER}, "holds 2 dumps: name one of vmcore, vmcore.old"),
        ({"dmesg.0": LOG, "dmesg.1": LOG}, "holds 2 logs and no dump: name one of dmesg.0"),
        ({"notes.txt": b"hello\n"}, "is a directory without a dump"),
        ({"vmcore": b""}, "is empty"),
        ({}, "is a directory without a dump"),
    ],
)
def test_what_is_not_one_case_is_said(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(PostmortemError) as caught:
        case_in(lay(tmp_path, files))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dump_that_was_never_written_leaves_the_log_and_is_said(tmp_path: Path) -> None:
    found = case_in(lay(tmp_path, {"vmcore-incomplete": b"", "vmcore-dmesg.txt": LOG}))
    assert found.kind is InputKind.LOG
    assert len(found.beside.broken) == 1
    assert "vmcore-incomplete is empty" in found.beside.broken[0]


def test_a_link_to_nowhere_and_a_folder_in_a_circle_do_no_harm(tmp_path: Path) -> None:
    lay(tmp_path, {"vmcore": KDUMP})
    (tmp_path / "latest").symlink_to("gone")
    (tmp_path / "self").symlink_to(tmp_path)
    assert case_in(tmp_path).paths[0].name == "vmcore"
