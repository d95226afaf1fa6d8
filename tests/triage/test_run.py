"""A pile goes in, buckets come out: with real workers on small invented logs."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from postmortem.triage.store import Store
from postmortem.triage.tasks import Limits
from postmortem.triage.worker import content_hash
from tests.triage.kills import killed_and_finished, many_logs
from tests.triage.piles import oops, triage


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "crashes.db") as opened:
        yield opened


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    folder = tmp_path / "pile"
    folder.mkdir()
    return folder


def test_logs_of_one_bug_are_one_bucket_and_cost_nothing_again(store: Store, pile: Path) -> None:
    (pile / "a.log").write_text(oops("acme_read"))
    (pile / "b.log").write_text(oops("acme_read", seconds=99, release="6.1.7"))
    (pile / "c.log").write_text(oops("acme_write"))
    first = triage(store, pile)
    assert (first.analysed, first.known, first.failed) == (3, 0, 0)
    read, write = store.buckets()
    assert (read.crashes, read.module, write.crashes) == (2, "acme", 1)
    assert store.tallies(read.id, "release") == {"release": {"6.1.7": 1, "6.12.4": 1}}
    assert store.tallies("", "model") == {"model": {"Acme Rack 9/Board": 3}}
    assert set(store.tallies(read.id, "taint")["taint"]) == {"E", "O"}
    again = triage(store, pile)
    assert (again.analysed, again.known) == (0, 3)


def test_the_same_content_under_another_name_is_known(store: Store, pile: Path) -> None:
    (pile / "a.log").write_text(oops("acme_read"))
    (pile / "b.log").write_text(oops("acme_read"))
    assert triage(store, pile).analysed == 1
    (pile / "a.log").rename(pile / "moved.log")
    assert triage(store, pile).analysed == 0
    (bucket,) = store.buckets()
    assert bucket.crashes == 1
    assert len(store.files(store.case(bucket.best_case).input_id)) == 3


def test_the_same_crash_in_two_logs_counts_once(store: Store, pile: Path) -> None:
    (pile / "console.log").write_text("BIOS says hello\n" + oops("acme_read"))
    (pile / "netconsole.log").write_text(oops("acme_read"))
    triage(store, pile)
    (bucket,) = store.buckets()
    assert (bucket.cases, bucket.crashes) == (2, 1)


def test_each_boot_that_failed_is_a_case(store: Store, pile: Path) -> None:
    (pile / "console.log").write_text(oops("acme_read") + oops("acme_write", seconds=50))
    triage(store, pile)
    assert sorted(bucket.function or "" for bucket in store.buckets()) == [
        "acme_read",
        "acme_write",
    ]


def test_a_healthy_log_is_calm_and_other_files_are_refused(store: Store, pile: Path) -> None:
    (pile / "ok.log").write_text("[    0.000000] Linux version 6.12.4 (a@b) #1 SMP\n")
    (pile / "data.bin").write_bytes(bytes(range(256)) * 40)
    (pile / "empty").touch()
    counted = triage(store, pile)
    assert (counted.analysed, counted.refused, counted.failed) == (1, 2, 0)
    assert store.totals().calm == 1
    assert all(item.reason for item in store.inputs(state="refused"))


def test_links_out_of_the_folder_are_refused(store: Store, pile: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.log"
    secret.write_text(oops("acme_read"))
    (pile / "link.log").symlink_to(secret)
    (pile / "folder").symlink_to(tmp_path)
    (pile / "loop").symlink_to(pile)
    os.mkfifo(pile / "pipe")
    triage(store, pile)
    assert store.buckets() == []
    assert len(store.inputs(state="refused")) == 4


def test_hostile_names_are_names(store: Store, pile: Path) -> None:
    name = b"a\n\x1b[31m\xff.log"
    with open(os.path.join(os.fsencode(pile), name), "wb") as file:  # noqa: PTH118, PTH123
        file.write(oops("acme_read").encode())
    triage(store, pile)
    (bucket,) = store.buckets()
    assert store.files(store.case(bucket.best_case).input_id) == [f"{pile}/a\n\x1b[31m\\xff.log"]


def test_a_folder_of_kdump_is_one_case(store: Store, pile: Path) -> None:
    dump = next(
        path for path in (Path(__file__).parents[2] / "corpus/dumps").glob("*null-chain.vmcore.zst")
    )
    folder = pile / "web7-2026-11-26-12:00:00"
    folder.mkdir()
    (folder / "vmcore").write_bytes(dump.read_bytes())
    (folder / "vmcore-dmesg.txt").write_text(oops("acme_read"))  # of another machine: only noted
    (folder / "kexec-dmesg.log").write_text("[    0.000000] Linux version 6.12.4 (a@b) #1 SMP\n")
    counted = triage(store, pile)
    assert (counted.found, counted.analysed) == (1, 1)
    (bucket,) = store.buckets()
    assert store.case(bucket.best_case).source == "vmcore"


# --- archives -------------------------------------------------------------------------


def _tar(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, BytesIO(data))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
def test_archives_are_looked_into(store: Store, pile: Path, kind: str) -> None:
    members = {
        "web1/a.log": oops("acme_read").encode(),
        "web2/b.log": oops("acme_write").encode(),
    }
    path = pile / f"crashes.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    else:
        _tar(path, members, f"w:{kind.partition('.')[2]}")
    assert triage(store, pile).analysed == 3  # the archive itself is remembered, too
    assert len(store.buckets()) == 2
    names = {item.name for item in store.inputs()}
    assert names == {str(path), f"{path}!/web1/a.log", f"{path}!/web2/b.log"}
    assert triage(store, pile).known == 1


def test_nothing_gets_out_of_the_folder_to_unpack_in(
    store: Store, pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "unpack"
    inside.mkdir()
    monkeypatch.setenv("TMPDIR", str(inside))
    with tarfile.open(pile / "evil.tar", "w") as archive:
        for name in ("../out.log", "/tmp/out.log", "x/../../out.log"):
            info = tarfile.TarInfo(name)
            data = oops("acme_read").encode()
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
        link = tarfile.TarInfo("sub")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        through = tarfile.TarInfo("sub/through.log")
        through.size = len(data)
        archive.addfile(through, BytesIO(data))
    before = set(tmp_path.rglob("*"))
    triage(store, pile)
    assert set(tmp_path.rglob("*")) - before <= {
        tmp_path / f"crashes.db{end}" for end in ("", "-wal", "-shm")
    }
    assert list(inside.iterdir()) == []
    assert any("left out" in (item.reason or "") for item in store.inputs())


def test_a_bomb_is_ended(store: Store, pile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from postmortem.triage import archives

    monkeypatch.setattr(archives, "RATIO_BYTES", 1 << 22)
    with zipfile.ZipFile(pile / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.log", bytes(1 << 24))
    (pile / "good.log").write_text(oops("acme_read"))
    triage(store, pile)
    assert len(store.buckets()) == 1
    assert any("times its size" in (i.reason or "") for i in store.inputs(state="failed"))


# --- what goes wrong ------------------------------------------------------------------


def test_holes_are_not_read_and_do_not_change_the_hash(tmp_path: Path) -> None:
    holes, written = tmp_path / "holes", tmp_path / "written"
    with holes.open("wb") as file:
        file.write(b"x")
        file.truncate(3 << 20)
    written.write_bytes(b"x" + bytes((3 << 20) - 1))
    assert content_hash(str(holes)) == content_hash(str(written))
    longer = tmp_path / "longer"
    longer.write_bytes(written.read_bytes() + b"\0")
    assert content_hash(str(longer)) != content_hash(str(written))
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 << 30)
    assert content_hash(str(tmp_path / "huge"))


def test_a_worker_that_dies_or_hangs_costs_its_input_only(
    store: Store, pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_deadly_worker(tmp_path, monkeypatch)
    for name in ("a", "die", "b", "hang", "c"):
        (pile / f"{name}.log").write_text(oops(f"acme_{name}"))
    counted = triage(store, pile, limits=Limits(seconds=9))
    assert (counted.analysed, counted.failed) == (3, 2)
    reasons = {Path(i.name).stem: i.reason or "" for i in store.inputs(state="failed")}
    assert "SIGSEGV" in reasons["die"]
    assert "longer than 9 s" in reasons["hang"]
    # They are known now; with --retry they are tried again, and the good ones are not.
    assert triage(store, pile, limits=Limits(seconds=9)).known == 5


def _with_deadly_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers whose analysis ends or hangs for some names, as a C library would."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, signal, time, sys\n"
        "def hook(event, arguments):\n"
        "    if event == 'open' and isinstance(arguments[0], str):\n"
        "        stack = sys._getframe()\n"
        "        while stack is not None and stack.f_code.co_name != 'analyse':\n"
        "            stack = stack.f_back\n"
        "        if stack is None: return\n"
        "        if arguments[0].endswith('die.log'): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "        while arguments[0].endswith('hang.log'): time.sleep(1)\n"
        "if 'postmortem.triage.worker' in ' '.join(sys.orig_argv): sys.addaudithook(hook)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))


def test_a_killed_run_loses_nothing_and_doubles_nothing(tmp_path: Path, pile: Path) -> None:
    many_logs(pile, 60)
    assert killed_and_finished(tmp_path, pile, [0.8, 1.2])


@pytest.mark.slow
def test_twenty_killed_runs(tmp_path: Path, pile: Path) -> None:
    many_logs(pile, 1500)
    delays = [0.5 + 0.11 * number for number in range(20)]
    assert killed_and_finished(tmp_path, pile, delays)


def test_a_dump_and_the_console_of_its_machine_are_one_crash(store: Store, pile: Path) -> None:
    dumps = Path(__file__).parents[2] / "corpus/dumps"
    for name in ("vmcore.zst", "console.log"):
        (pile / name).write_bytes((dumps / f"6.12-null-chain.{name}").read_bytes())
    triage(store, pile)
    (bucket,) = store.buckets()
    assert (bucket.cases, bucket.crashes, bucket.function) == (2, 1, "pm_peer_port")
    assert store.case(bucket.best_case).source == "vmcore"
