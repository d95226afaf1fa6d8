"""Damage dumps and see what is made of them: ``python -m tests.fuzz.fuzz_dump [DUMP ...]``.

Each case is a seed and a kind of damage; the same pair makes the same damage, so that
``--kind KIND --seed SEED --count 1 -v DUMP`` shows a case again. Fails if an analysis
crashed, hung, took all memory, lost a plugin, let hostile text out, or came to a verdict
that the damage made false: "no failure" on a machine that had failed, an accusation on one
that had not, another kind without a word about it.

Cases are forks of a process that has imported everything, so that one takes 0.2 s of
computing; ``--whole N`` runs each Nth as a user does. ``--tally FILE`` keeps all cases, and
``tests/fuzz/campaign.py`` makes many thousands of them.
"""

from __future__ import annotations

import argparse
import collections
import gc
import importlib
import json
import os
import pkgutil
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import postmortem_plugins

import postmortem
from tests.fuzz.dumps import child, containers  # noqa: F401 - more kinds
from tests.fuzz.dumps.child import Row
from tests.fuzz.dumps.damage import KINDS
from tests.fuzz.dumps.image import Image, unpack
from tests.fuzz.dumps.targets import find_targets
from tests.fuzz.dumps.warm import keep_types

BAD = ("internal", "plugin", "signal", "hang", "memory", "output")
FALSE = ("calm", "accused", "silent", "lost")
ROOM_KIB = 512 << 10
"""Memory that any analysis may take, or twice that of the undamaged dump."""
DUMPS = Path(__file__).parents[2] / "corpus" / "dumps"


@dataclass(frozen=True)
class Case:
    """One damage and its outcome."""

    dump: str
    seed: int
    kind: str
    what: str
    row: Row
    false: tuple[str, ...]
    """What of the verdict the damage made false: of :data:`FALSE`."""

    @property
    def failed(self) -> bool:
        return self.row.outcome in BAD or bool(self.false)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    print(f"seed {options.seed}", flush=True)
    import_everything()
    keep_types()
    cases: list[Case] = []
    with tempfile.TemporaryDirectory() as folder:
        share = options.seconds / len(options.dumps)
        for source in options.dumps:
            cases += _fuzz(source, Path(folder), options, share)
    if not options.quiet:
        print_table((case.kind, (case.row.outcome, *case.false)) for case in cases)
    failed = [case for case in cases if case.failed]
    false = collections.Counter(word for case in cases for word in case.false)
    print(f"{len(cases)} damaged, {len(failed)} failed; {dict(false) or 'no false verdict'}")
    return 1 if failed or not cases else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dumps", nargs="*", type=Path, metavar="DUMP")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "little"))
    parser.add_argument("--count", type=int, default=1 << 30, help="of each dump")
    parser.add_argument("--seconds", type=float, default=300, help="in all")
    parser.add_argument("--kind", default=".*", help="a pattern")
    parser.add_argument(
        "--ask",
        type=int,
        default=3,
        metavar="N",
        help="all plugins and SysRq keys in each Nth case",
    )
    parser.add_argument(
        "--whole",
        type=int,
        default=40,
        metavar="N",
        help="run each Nth case in a process of its own",
    )
    parser.add_argument(
        "--tally", type=Path, metavar="FILE", help="append a line of JSON for each case"
    )
    parser.add_argument("--quiet", action="store_true", help="print no table")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every case")
    options = parser.parse_args(arguments)
    options.dumps = options.dumps or sorted(DUMPS.rglob("*.vmcore.*"))
    return options


def _fuzz(
    source: Path, folder: Path, options: argparse.Namespace, seconds: float
) -> Iterator[Case]:
    path = folder / source.name.removesuffix(source.suffix)
    unpack(source, path)
    image = Image(path)
    image.targets = find_targets(path)
    child.analyse(image.paths, named=False)  # what it keeps, all forks have
    gc.collect()
    gc.freeze()
    healthy = child.run(image, named=True)
    if healthy.outcome not in ("ok", "problems"):
        raise SystemExit(f"{source}, undamaged: {healthy}")
    kinds = [name for name in KINDS if re.fullmatch(options.kind, name) and KINDS[name].fits(image)]
    end = time.monotonic() + seconds  # unpacking and looking for targets is not what was asked for
    for seed in range(options.seed, options.seed + options.count):
        if time.monotonic() > end:
            break
        case = _one(image, source, seed, random.Random(f"kind {seed}").choice(kinds), healthy,
                    named=not seed % options.ask, whole=not seed % options.whole)  # fmt: skip
        if options.tally is not None:
            _keep(options.tally, case)
        if case.failed or case.false or options.verbose:
            print(_line(case, healthy), flush=True)
        yield case
    image.close()


def _one(image: Image, dump: Path, seed: int, kind: str, healthy: Row, *, named: bool,
         whole: bool) -> Case:  # fmt: skip
    what = KINDS[kind].damage(random.Random(f"{seed}/{kind}"), image)
    # What changes meanwhile is changed by the process that reads.
    if whole and not image.live:
        row = child.run_whole(image)
    else:
        row = child.run(image, named=named, pages=named or kind.startswith("text."))
    if row.outcome not in BAD and row.rss_kib > max(2 * healthy.rss_kib, ROOM_KIB):
        row.outcome, row.error = "memory", f"{row.rss_kib >> 10} MiB"
    image.restore()
    other = kind == "packed.bomb" and " of a log" in what  # nothing of the dump is in there
    return Case(str(dump), seed, kind, what, row, () if other else tuple(_false(row, healthy)))


def _false(row: Row, healthy: Row) -> Iterator[str]:
    """How the verdict differs from that of the whole dump, where it must not."""
    if not row.kind:
        return
    silent = not set(row.said) - set(healthy.said)
    if row.kind == "none" != healthy.kind and row.title == "no failure found":
        yield "calm"
    if row.kind != "none" and (
        healthy.kind == "none"
        or (row.confidence == "certain" and row.culprit not in (None, healthy.culprit))
    ):
        yield "accused"
    if silent and row.kind != healthy.kind:
        yield "silent"
    if silent and row.tasks < 0.9 * healthy.tasks:
        yield "lost"


def _line(case: Case, healthy: Row) -> str:
    row = case.row
    told = f"{healthy.title} -> {row.title} ({row.culprit}, {row.confidence})"
    false = ",".join(case.false) or "-"
    what = row.error.strip()[-300:].replace("\n", " / ") or told
    return f"{case.dump} {case.seed} {case.kind} {row.outcome} {false} | {case.what[:90]} | {what}"


def _keep(path: Path, case: Case) -> None:
    with path.open("a") as file:
        file.write(json.dumps(asdict(case)) + "\n")


def print_table(cases: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Of kinds and what became of them: how many there were of each."""
    columns = ("ok", "problems", "outlived", "clean", "oserror", "given up", *BAD, *FALSE)
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for kind, outcomes in cases:
        counts[kind].update(outcomes)
    print(f"{'kind':20}" + "".join(f"{name:>9}" for name in columns))
    for kind, found in sorted(counts.items()):
        print(f"{kind:20}" + "".join(f"{found[name] or '.':>9}" for name in columns))


def import_everything() -> None:
    """Once, so that a fork starts at once and all of them share the memory."""
    for package in (postmortem, postmortem_plugins):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith("__main__"):
                importlib.import_module(info.name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
