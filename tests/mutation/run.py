"""Change the rules by one operator, one number, one word at a time: does a test notice?

    make mutation [MUTANTS=60] [SEED=1]
    python tests/mutation/run.py --survivors     # the last run, once more

A copy of the tree is changed, never the tree itself. The sample is drawn from all
mutants by a seed that is printed, so that a run can be had again. What survives is
printed with its change: either a test is missing, or the change makes no difference.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
CONFIG = HERE / "cosmic-ray.toml"
COPIED = ("postmortem", "plugins", "tests", "pyproject.toml")
LINKED = ("corpus", "docs", "benchmarks", "README.md")


def copy_tree(folder: Path) -> None:
    """What is changed is copied, what is only read is linked."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(TOP / name, folder / name)
    for name in LINKED:
        (folder / name).symlink_to(TOP / name)
    # Installed, the plugins have this name; here it must mean the copy.
    (folder / "postmortem_plugins").symlink_to("plugins")


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **os.environ, "PATH": path, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"
    }  # fmt: skip


def run(folder: Path, *words: str) -> None:
    subprocess.run(words, cwd=folder, env=environment(folder), check=True)


def draw(database: Path, count: int, seed: int) -> int:
    """Leave *count* mutants to be tried; how many there are."""
    with use_db(str(database), WorkDB.Mode.open) as work:
        pending = sorted(item.job_id for item in work.pending_work_items)
        places = {
            item.job_id: tuple(
                (str(m.module_path), m.operator_name, m.occurrence) for m in item.mutations
            )
            for item in work.pending_work_items
        }
        # Ids are drawn anew with each database: the order must not depend on them.
        pending.sort(key=lambda job: places[job])
        chosen = set(random.Random(seed).sample(pending, min(count, len(pending))))
        skipped = WorkResult(output="not drawn", worker_outcome=WorkerOutcome.SKIPPED)
        work.set_multiple_results([job for job in pending if job not in chosen], skipped)
        return len(pending)


def report(database: Path) -> None:
    """Each survivor with its change, then the figures."""
    outcomes: Counter[str] = Counter()
    with use_db(str(database), WorkDB.Mode.open) as work:
        completed = work.completed_work_items
    for item, result in completed:
        if result.worker_outcome is WorkerOutcome.SKIPPED:
            continue
        outcome = result.test_outcome
        outcomes[outcome.value if outcome else str(result.worker_outcome.value)] += 1
        if outcome is TestOutcome.SURVIVED:
            for mutation in item.mutations:
                print(f"\n{mutation.module_path}:{mutation.start_pos[0]}")
            print("\n".join(_changed(result.diff or "")))
    tried = sum(outcomes.values())
    print("\n" + ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())))
    if tried:
        survived = outcomes[TestOutcome.SURVIVED.value]
        print(f"{survived} of {tried} survived ({survived / tried:.0%})")


def _changed(diff: str) -> list[str]:
    lines = diff.splitlines()[2:]
    return [f"    {line}" for line in lines if line.startswith(("-", "+")) and line[1:].strip()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mutants", type=int, default=60, help="how many are tried")
    parser.add_argument("--seed", type=int, default=None, help="of the sample; default: any")
    parser.add_argument("--only", action="append", default=[], metavar="PATH",
                        help="change this file or folder only; may be repeated")  # fmt: skip
    parser.add_argument("--database", type=Path, default=TOP / ".mutation.sqlite")
    parser.add_argument("--survivors", action="store_true", help="print the last run's, no new run")
    options = parser.parse_args()
    database: Path = options.database.resolve()
    if options.survivors:
        report(database)
        return 0
    seed: int = random.randrange(1 << 32) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="pm-mutation-") as scratch:
        folder = Path(scratch)
        copy_tree(folder)
        config = CONFIG.read_text()
        if options.only:
            config = re.sub("(?m)^module-path = .*$", f"module-path = {options.only}", config)
        (folder / CONFIG.name).write_text(config)
        run(folder, "cosmic-ray", "--verbosity", "ERROR", "baseline", CONFIG.name)
        run(folder, "cosmic-ray", "init", "--force", CONFIG.name, str(database))
        run(folder, "cr-filter-operators", str(database), CONFIG.name)
        known = draw(database, options.mutants, seed)
        print(f"{options.mutants} of {known} mutants, seed {seed}", flush=True)
        run(folder, "cosmic-ray", "exec", CONFIG.name, str(database))
    report(database)
    return 0


if __name__ == "__main__":
    sys.exit(main())
