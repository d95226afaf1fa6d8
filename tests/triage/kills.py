"""Triages that are killed, run out of disk, or lose power, held against one that nobody disturbed.

python -m tests.triage.kills --kills 100
python -m tests.triage.kills --full-disk      (root: it mounts a small tmpfs)
python -m tests.triage.kills --power-cuts 20
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from postmortem.triage.store import Store
from tests.triage.piles import oops, triage
from tests.triage.stores import content

_TRIAGE = [sys.executable, "-c", "from postmortem.cli import main; main()", "triage", "--jsonl"]


def many_logs(pile: Path, count: int) -> None:
    """So many crashes of nine functions on four kernels."""
    for number in range(count):
        text = oops(f"acme_f{number % 9}", seconds=number + 1, release=f"6.{number % 4}.1")
        (pile / f"{number:04}.log").write_text(text)


def killed_and_finished(
    folder: Path, pile: Path, delays: Iterable[float], *, portion: int | None = None
) -> bool:
    """Kill a run after each delay, let one finish; whether the store is that of a whole run.

    :param portion: how many further logs there are before each run; all at once if it is ``None``.
    """
    waiting = sorted(pile.iterdir()) if portion else []
    aside = folder / "aside"
    aside.mkdir(exist_ok=True)
    with Store.open(folder / "whole.db") as whole, Store.open(folder / "killed.db") as killed:
        triage(whole, pile, jobs=2)
        for path in waiting:
            path.rename(aside / path.name)
        command = [*_TRIAGE, "--store", str(folder / "killed.db"), str(pile)]
        for delay in delays:
            for path in waiting[:portion]:
                (aside / path.name).rename(path)
            del waiting[:portion]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
        for path in waiting:
            (aside / path.name).rename(path)
        return _finished(whole, killed, pile)


def _finished(whole: Store, broken: Store, pile: Path) -> bool:
    """Let a run end; whether nothing is missing, and nothing twice."""
    done = broken.totals().inputs
    triage(broken, pile, jobs=2)
    print(f"{done} of {whole.totals().inputs} inputs were done by the runs that did not end")
    return content(broken) == content(whole)


# --- a full disk ----------------------------------------------------------------------


def full_and_finished(folder: Path, pile: Path, size_kib: int) -> bool:
    """Let a run fill the disk of the store, make room, let one finish."""
    with _small_disk(folder / "disk", size_kib) as disk:
        command = [*_TRIAGE, "--store", str(disk / "s.db"), str(pile)]
        ended = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        print(f"exit status {ended.returncode}: {ended.stderr.strip()}")
        if ended.returncode != 4 or "make room" not in ended.stderr:
            return False
        subprocess.run(["mount", "-o", "remount,size=512m", str(disk)], check=True)
        with Store.open(folder / "whole.db") as whole, Store.open(disk / "s.db") as filled:
            triage(whole, pile, jobs=2)
            return _finished(whole, filled, pile)


@contextlib.contextmanager
def _small_disk(path: Path, size_kib: int) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(path)], check=True
    )
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


# --- a power cut ----------------------------------------------------------------------


def cut_and_finished(folder: Path, pile: Path, cuts: int, chance: random.Random) -> bool:
    """Take what a disk may have when the power goes, as often as that; let a run finish on it.

    SQLite writes the log first and syncs it before it touches the file itself (WAL, synchronous =
    NORMAL): what may be lost is the end of the log, at any byte, or any sector of its last part.
    """
    with Store.open(folder / "whole.db") as whole:
        triage(whole, pile, jobs=2)
        store = folder / "cut.db"
        for number in range(cuts):
            command = [*_TRIAGE, "--store", str(store), str(pile)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _wait_for_growth(store, process, chance.randrange(1, 400_000))
            process.send_signal(signal.SIGSTOP)
            left = folder / f"left-{number}.db"
            for end in ("", "-wal"):
                if (found := Path(f"{store}{end}")).exists():
                    shutil.copy(found, f"{left}{end}")
            process.send_signal(signal.SIGKILL)
            process.wait()
            _lose_the_end(Path(f"{left}-wal"), chance)
            for end in ("", "-wal", "-shm"):
                Path(f"{store}{end}").unlink(missing_ok=True)
            for end in ("", "-wal"):
                if (found := Path(f"{left}{end}")).exists():
                    found.rename(f"{store}{end}")
        with Store.open(store) as cut:
            return _finished(whole, cut, pile)


def _wait_for_growth(store: Path, process: subprocess.Popen[bytes], size: int) -> None:
    """Until the store's log has grown by so much, or the run has ended."""
    log = Path(f"{store}-wal")
    before = log.stat().st_size if log.exists() else 0
    while process.poll() is None:
        if log.exists() and abs(log.stat().st_size - before) > size:
            return
        time.sleep(0.002)


def _lose_the_end(log: Path, chance: random.Random) -> None:
    if not log.exists() or not (size := log.stat().st_size):
        return
    with log.open("r+b") as file:
        for _ in range(chance.randrange(4)):  # sectors that were not written yet
            file.seek(max(0, size - chance.randrange(1, 64 << 10)) & ~511)
            file.write(bytes(512))
        file.truncate(max(0, size - chance.randrange(0, 32 << 10)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--longest", type=float, default=2.5, help="seconds before a kill")
    parser.add_argument("--full-disk", action="store_true")
    parser.add_argument("--power-cuts", type=int, default=0)
    parser.add_argument("--logs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = parser.parse_args()
    chance = random.Random(given.seed)
    print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory() as name:
        folder, pile = Path(name), Path(name) / "pile"
        pile.mkdir()
        many_logs(pile, given.logs)
        if given.full_disk:
            same = full_and_finished(folder, pile, size_kib=600)
        elif given.power_cuts:
            same = cut_and_finished(folder, pile, given.power_cuts, chance)
        else:
            delays = [chance.uniform(0.2, given.longest) for _ in range(given.kills)]
            each = max(1, given.logs // given.kills)
            same = killed_and_finished(folder, pile, delays, portion=each)
    print("the store is that of a whole run" if same else "THE STORES DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
