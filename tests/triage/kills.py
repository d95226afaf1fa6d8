"""Triages that are killed at any moment, held against one that nobody killed.

python -m tests.triage.kills --kills 100
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
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
        done = killed.totals().inputs
        triage(killed, pile, jobs=2)
        print(f"{done} of {whole.totals().inputs} inputs were done by the runs that were killed")
        return content(killed) == content(whole)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--logs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = parser.parse_args()
    chance = random.Random(given.seed)
    print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory() as folder:
        pile = Path(folder) / "pile"
        pile.mkdir()
        many_logs(pile, given.logs)
        delays = [chance.uniform(0.2, 2.5) for _ in range(given.kills)]
        each = max(1, given.logs // given.kills)
        same = killed_and_finished(Path(folder), pile, delays, portion=each)
    print("the store is that of a whole run" if same else "THE STORES DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
