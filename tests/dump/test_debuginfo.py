"""Debug files: which one matches, and what it adds.

The vmlinux is a few functions that gcc compiled with -g and linked where a kernel
lies; the dump is written by hand and carries the same build id.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import drgn
import pytest

from postmortem.dump.core import Core, open_core
from postmortem.dump.debuginfo import find_debug_info, kernel_build_id, source_path
from postmortem.errors import UnreadableInputError, UsageError

from . import images

SOURCE = """\
static inline __attribute__((always_inline)) int inner(const int *p)
{
	return *p + 1;
}

__attribute__((noinline)) int outer(const int *p)
{
	return inner(p) * 2;
}

const char linux_banner[] = "Linux version 6.9.1-test (gcc) #1 SMP";
int table __attribute__((section("__ksymtab"))) = 1;
int _start(void) { return outer(&table); }
"""
INNER_LINE = 3
LINK_ADDRESS = images.KERNEL_MAP + 0x10000
OTHER_BUILD_ID = "f" * 40

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def build(folder: Path, *options: str, build_id: str | None = images.BUILD_ID) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.c").write_text(SOURCE)
    link = f"-Wl,--build-id={'0x' + build_id if build_id else 'none'}"
    subprocess.run(
        [
            *("gcc", "-O2", "-g", "-nostdlib", "-static", "-mcmodel=kernel", "-fno-pic"),
            *("-no-pie", "-fno-asynchronous-unwind-tables", link, "-Wl,-z,noseparate-code"),
            *(f"-Wl,-Ttext-segment={LINK_ADDRESS:#x}", *options),
            *("-o", "vmlinux", "kernel.c"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "vmlinux"


@pytest.fixture(scope="module")
def vmlinux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("vmlinux"))


def dump(folder: Path, *, build_id: str | None = images.BUILD_ID, banner: bytes = b"") -> Core:
    memory = images.machine()
    memory[400 * 4096 : 400 * 4096 + len(banner)] = banner
    path = folder / "vmcore"
    path.write_bytes(images.qemu_elf(memory, images.vmcoreinfo(build_id=build_id)))
    return open_core(path)


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DEBUGINFOD_"):
            monkeypatch.delenv(name)


def function(vmlinux: Path, name: str) -> range:
    """Addresses of a function, by nm."""
    said = subprocess.run(["nm", "-S", vmlinux], capture_output=True, text=True, check=True)
    rows = [line.split() for line in said.stdout.splitlines()]
    start, size = next((row[0], row[1]) for row in rows if row[-1] == name)
    return range(int(start, 16), int(start, 16) + int(size, 16))


def test_lines_and_inlined_functions_are_found(tmp_path: Path, vmlinux: Path) -> None:
    found = find_debug_info(dump(tmp_path), vmlinux=vmlinux).found
    assert found is not None
    assert (found.found_by, found.build_id) == ("--vmlinux", images.BUILD_ID)
    stacks = [
        [(line.function, line.inlined, Path(line.file).name) for line in lines]
        for pc in function(vmlinux, "outer")
        if (lines := found.lines_at(pc, is_return_address=False))
    ]
    assert [("inner", True, "kernel.c"), ("outer", False, "kernel.c")] in stacks
    lines = {
        line.line
        for pc in function(vmlinux, "outer")
        for line in found.lines_at(pc, is_return_address=False)
        if line.function == "inner"
    }
    assert INNER_LINE in lines


def test_a_return_address_belongs_to_the_call_before_it(tmp_path: Path, vmlinux: Path) -> None:
    found = find_debug_info(dump(tmp_path), vmlinux=vmlinux).found
    assert found is not None
    end = function(vmlinux, "outer").stop
    assert found.lines_at(end, is_return_address=True)[-1].function == "outer"
    beyond = found.lines_at(end, is_return_address=False)
    assert not beyond or beyond[-1].function != "outer"


def test_an_address_without_source_has_no_lines(tmp_path: Path, vmlinux: Path) -> None:
    found = find_debug_info(dump(tmp_path), vmlinux=vmlinux).found
    assert found is not None
    assert found.lines_at(0, is_return_address=False) == ()
    assert found.lines_at((1 << 64) - 1, is_return_address=True) == ()


def test_its_variables_have_types_and_the_memory_of_the_dump(tmp_path: Path, vmlinux: Path) -> None:
    found = find_debug_info(dump(tmp_path), vmlinux=vmlinux).found
    assert found is not None
    table = found.program["table"]
    assert table.type_.type_name() == "int"
    # Page n of the dump holds the number n, which the file does not.
    frame, inside = divmod(table.address_ - images.KERNEL_MAP, images.PAGE)
    assert table.value_() == (frame if inside % 8 == 0 else 0)


def test_another_build_is_refused_with_both_ids(tmp_path: Path) -> None:
    other = build(tmp_path / "other", build_id=OTHER_BUILD_ID)
    with pytest.raises(UsageError) as caught:
        find_debug_info(dump(tmp_path), vmlinux=other)
    assert OTHER_BUILD_ID in str(caught.value)
    assert images.BUILD_ID in str(caught.value)


def test_the_build_id_in_memory_is_believed_before_vmcoreinfo(tmp_path: Path) -> None:
    memory = images.machine()
    note = images.note(b"GNU", 3, bytes.fromhex(images.BUILD_ID))
    memory[400 * 4096 : 400 * 4096 + len(note)] = note
    path = tmp_path / "vmcore"
    path.write_bytes(images.qemu_elf(memory, images.vmcoreinfo(build_id=OTHER_BUILD_ID)))
    core = open_core(path)
    assert kernel_build_id(core) == OTHER_BUILD_ID
    start = images.KERNEL_MAP + 400 * 4096
    places = {"__start_notes": start, "__stop_notes": start + len(note)}
    symbols = [
        drgn.Symbol(name, at, 1, drgn.SymbolBinding.GLOBAL, drgn.SymbolKind.OBJECT)
        for name, at in places.items()
    ]
    core.program.register_symbol_finder("test", drgn.SymbolIndex(symbols), enable_index=0)
    assert kernel_build_id(core) == images.BUILD_ID


def test_a_stripped_kernel_is_called_stripped(tmp_path: Path, vmlinux: Path) -> None:
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-g", "-o", stripped, vmlinux], check=True)
    with pytest.raises(UsageError, match="stripped"):
        find_debug_info(dump(tmp_path), vmlinux=stripped)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"not a kernel", "not an ELF file"),
        (b"", "not an ELF file"),
        (b"\x1f\x8b\x08\0", "gzip data: decompress"),
        (bytes(0x202) + b"HdrS", "bootable image"),
        (images.elf_object({".text": b"", ".debug_info": b""}), "not a kernel"),
        (images.elf_object({"__ksymtab": b""}, machine=images.EM_AARCH64), "for aarch64"),
    ],
)
def test_what_is_no_vmlinux_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=why):
        find_debug_info(dump(tmp_path), vmlinux=path)


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="No such file"):
        find_debug_info(dump(tmp_path), vmlinux=tmp_path / "none")
    with pytest.raises(UsageError, match="not a directory"):
        find_debug_info(dump(tmp_path), debug_dirs=[tmp_path / "none"])


BANNER = b"Linux version 6.9.1-test (gcc) #1 SMP"


def test_old_kernels_are_matched_by_their_banner(tmp_path: Path, vmlinux: Path) -> None:
    core = dump(tmp_path, build_id=None, banner=BANNER + b"\n\0")
    found = find_debug_info(core, vmlinux=vmlinux).found
    assert found is not None
    assert found.lines_at(function(vmlinux, "outer").start, is_return_address=False)


def test_old_kernels_with_another_banner_are_refused(tmp_path: Path, vmlinux: Path) -> None:
    core = dump(tmp_path, build_id=None, banner=BANNER.replace(b"#1", b"#2") + b"\n\0")
    with pytest.raises(UsageError, match="version banner"):
        find_debug_info(core, vmlinux=vmlinux)


@pytest.mark.parametrize(
    "place",
    [
        "vmlinux",
        f"vmlinux-{images.RELEASE}",
        f"boot/vmlinux-{images.RELEASE}",
        f"lib/modules/{images.RELEASE}/vmlinux",
        f"usr/lib/debug/boot/vmlinux-{images.RELEASE}",
        f".build-id/{images.BUILD_ID[:2]}/{images.BUILD_ID[2:]}.debug",
    ],
)
def test_a_directory_is_searched(tmp_path: Path, vmlinux: Path, place: str) -> None:
    target = tmp_path / "debug" / place
    target.parent.mkdir(parents=True)
    shutil.copy(vmlinux, target)
    found = find_debug_info(dump(tmp_path), debug_dirs=[tmp_path / "debug"], system=False).found
    assert found is not None
    assert (found.found_by, found.vmlinux) == ("--debug-dir", target)


def test_a_directory_with_another_build_is_no_error(tmp_path: Path) -> None:
    build(tmp_path / "debug", build_id=OTHER_BUILD_ID)
    search = find_debug_info(dump(tmp_path), debug_dirs=[tmp_path / "debug"], system=False)
    assert search.found is None
    assert [problem.why for problem in search.problems] == [
        "no vmlinux of the dump's kernel in --debug-dir"
    ]


def test_nothing_found_is_no_problem(tmp_path: Path) -> None:
    search = find_debug_info(dump(tmp_path), system=False)
    assert (search.found, search.problems) == (None, ())


def test_damaged_debug_files_end_nothing(tmp_path: Path, vmlinux: Path) -> None:
    data = bytearray(vmlinux.read_bytes())
    info = data.index(b"kernel.c")
    for at in range(0, len(data), 97):
        if at > 4096 and abs(at - info) > 64 and at < len(data) - 2000:
            data[at] ^= 0x5A
    broken = tmp_path / "vmlinux"
    broken.write_bytes(bytes(data))
    core = dump(tmp_path)
    try:
        found = find_debug_info(core, vmlinux=broken).found
    except UsageError:
        return
    assert found is not None
    found.lines_at(function(vmlinux, "outer").start, is_return_address=False)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("kernel/panic.c", "kernel/panic.c"),
        ("./include/linux/list.h", "include/linux/list.h"),
        (
            "/build/reproducible-path/linux-6.1.192/arch/x86/entry/entry_64.S",
            "arch/x86/entry/entry_64.S",
        ),
        ("/home/me/linux/mm/slub.c", "mm/slub.c"),
        ("/home/me/driver/main.c", "/home/me/driver/main.c"),
        ("", ""),
    ],
)
def test_files_are_named_as_in_the_source_tree(name: str, path: str) -> None:
    assert source_path(name) == path


# debuginfod


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path, vmlinux: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Debian's debuginfod serves the vmlinux on loopback."""
    program = shutil.which("debuginfod")
    if program is None:
        pytest.skip("debuginfod is not installed")
    files = tmp_path / "served"
    files.mkdir()
    shutil.copy(vmlinux, files)
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    process = subprocess.Popen(
        [program, "-d", ":memory:", "-p", str(port), "-F", files],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "cache"))
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{url}buildid/{images.BUILD_ID}/debuginfo", timeout=2):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        else:
            pytest.skip("debuginfod did not get ready")
        yield url
    finally:
        process.terminate()
        process.wait()


def test_a_server_is_asked_only_when_somebody_says_so(
    tmp_path: Path, vmlinux: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = dump(tmp_path)
    assert find_debug_info(core, system=False).found is None
    monkeypatch.setenv("DEBUGINFOD_URLS", server)
    # Distributions set DEBUGINFOD_URLS for everybody: that is nobody's wish to ask.
    assert find_debug_info(core, system=False).found is None
    found = find_debug_info(core, system=False, debuginfod=True).found
    assert found is not None
    assert found.found_by == "debuginfod"
    assert found.lines_at(function(vmlinux, "outer").start, is_return_address=False)


def test_a_server_without_it_is_named(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBUGINFOD_URLS", server)
    core = dump(tmp_path, build_id=OTHER_BUILD_ID)
    search = find_debug_info(core, system=False, debuginfod=True)
    assert search.found is None
    assert OTHER_BUILD_ID in search.notes[0]
    assert search.problems == ()  # the answer does without it


def test_a_silent_server_costs_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postmortem.dump.debuginfo.SILENT_SECONDS", 0.5)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        accepted: list[socket.socket] = []
        threading.Thread(target=lambda: accepted.append(listener.accept()[0]), daemon=True).start()
        monkeypatch.setenv("DEBUGINFOD_URLS", f"http://127.0.0.1:{listener.getsockname()[1]}/")
        monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "cache"))
        monkeypatch.setenv("DEBUGINFOD_TIMEOUT", "1")
        search = find_debug_info(dump(tmp_path), system=False, debuginfod=True)
    assert search.found is None
    assert "did not answer" in search.notes[0]


def test_asking_without_a_server_says_how(tmp_path: Path) -> None:
    search = find_debug_info(dump(tmp_path), system=False, debuginfod=True)
    assert "DEBUGINFOD_URLS" in search.notes[0]


# a file beside the dump


def test_a_vmlinux_beside_the_dump_is_used_if_it_is_of_that_build(
    tmp_path: Path, vmlinux: Path
) -> None:
    found = find_debug_info(dump(tmp_path), system=False, beside=[vmlinux]).found
    assert found is not None
    assert (found.found_by, found.vmlinux) == ("beside the dump", vmlinux)


def test_a_vmlinux_of_another_build_beside_the_dump_is_said_and_no_more(
    tmp_path: Path, vmlinux: Path
) -> None:
    core = dump(tmp_path, build_id=OTHER_BUILD_ID)
    search = find_debug_info(core, system=False, beside=[vmlinux])
    assert search.found is None
    assert search.problems == ()
    (note,) = search.notes
    assert note.startswith(f"{vmlinux.name} beside the dump is of another build")
    assert OTHER_BUILD_ID in note
