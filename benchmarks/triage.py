"""Speed of a triage: small logs and dumps a second, memory, and a store of many cases.

    python benchmarks/triage.py logs --count 5000
    python benchmarks/triage.py dumps DUMP...
    python benchmarks/triage.py store --cases 1000000 [--store URL]

Elapsed times on a machine that does other things mean little: CPU seconds are printed beside.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import postmortem
from postmortem.triage import schema as t
from postmortem.triage.dask_workers import DaskWorkers
from postmortem.triage.folder import Folder
from postmortem.triage.run import Triage
from postmortem.triage.similar import similar
from postmortem.triage.site.index import index_page
from postmortem.triage.site.site import Options, Site
from postmortem.triage.store import Store
from postmortem.triage.tasks import Limits
from postmortem.triage.workers import LocalWorkers, Workers

CONSOLES = Path(__file__).parent.parent / "corpus" / "console"


def cpu_seconds() -> float:
    """Of this process and of all children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(item.ru_utime + item.ru_stime for item in used)


def own_cpu_seconds() -> float:
    """Of this process alone: it finds inputs and writes the store, whoever analyses."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def triage(
    paths: Sequence[str], folder: str, jobs: int, alone: float = 0, dask: str | None = None
) -> None:
    """:param alone: CPU seconds of one analysis in one process that does nothing else."""
    with Store.open(f"{folder}/crashes.db") as store:
        for again in ("first", "second"):
            began, used, own = time.perf_counter(), cpu_seconds(), own_cpu_seconds()
            workers: Workers = LocalWorkers(jobs, Limits())
            if dask is not None:
                workers = DaskWorkers(dask, Limits())
            peak = Peak()
            run = store.begin_run([])
            counted = Triage(store, workers, run, watch=peak).run(paths)
            workers.close()
            store.end_run(run, complete=True)
            took, used = time.perf_counter() - began, cpu_seconds() - used
            own = own_cpu_seconds() - own
            print(
                f"{again} run: {counted.found} inputs in {took:.1f} s,"
                f" {counted.found / took:.1f}/s,"
                f" {1000 * used / counted.found:.2f} ms of CPU each,"
                f" {counted.found / used:.1f} a second and core; peak {peak.mib} MiB in all;"
                f" {1000 * own / counted.found:.2f} ms each in the one process that writes"
            )
            if alone and again == "first":
                print(f"analysis alone / all of it: {alone * counted.found / used:.2f} (bar 0.90)")


class Peak:
    """The most memory that this process and its workers had at once, looked at twice a second."""

    def __init__(self) -> None:
        self.mib = 0
        self._next = 0.0

    def __call__(self, counted: object) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.5
        mine = os.getpid()
        children = Path(f"/proc/{mine}/task/{mine}/children")
        total = 0
        for number in (str(mine), *children.read_text().split()):
            try:
                status = Path(f"/proc/{number}/status").read_text()
            except OSError:
                continue
            found = re.search(r"VmRSS:\s+(\d+) kB", status)
            total += int(found[1]) if found else 0
        self.mib = max(self.mib, total >> 10)


def logs(count: int, jobs: int, dask: str | None) -> None:
    """Small logs: consoles of the corpus, each made another one by a line of its own."""
    with tempfile.TemporaryDirectory() as folder:
        pile = Path(folder) / "pile"
        pile.mkdir()
        texts = [path.read_bytes() for path in sorted(CONSOLES.glob("6.12-*.log"))]
        size = 0
        for number in range(count):
            data = texts[number % len(texts)] + b"[ 9999.%06d] the end\n" % number
            size += len(data)
            below = pile / f"{number // 1000:03}"
            below.mkdir(exist_ok=True)
            (below / f"{number:06}.log").write_bytes(data)
        some = [str(path) for path in sorted(pile.rglob("*.log"))[: min(count, len(texts) * 4)]]
        for path in some[:5]:
            _analysed(path)
        used = cpu_seconds()
        for path in some:
            _analysed(path)
        each = (cpu_seconds() - used) / len(some)
        print(f"{count} logs of {size // count} bytes; one process, analysis alone:"
              f" {1000 * each:.2f} ms of CPU each, {1 / each:.1f}/s")  # fmt: skip
        triage([str(pile)], folder, jobs, each, dask)


def _analysed(path: str) -> None:
    with postmortem.open(path) as case:
        case.analyze()


def dumps(paths: Sequence[str], jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        triage(paths, folder, jobs)


# --- a store of many cases ------------------------------------------------------------


def store(url: str | None, cases: int, buckets: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(url or f"{folder}/s.db") as opened:
        began = time.perf_counter()
        _fill(opened, cases, buckets)
        print(f"{cases} cases, {buckets} buckets written in {time.perf_counter() - began:.0f} s")
        first = opened.buckets(limit=50)
        late = opened.cases(bucket=first[0].id, limit=50)
        for _ in range(200):
            late = opened.cases(bucket=first[0].id, limit=50, after=late[-1]) or late
        example = opened.case(first[0].best_case)
        asked: dict[str, Callable[[], Any]] = {
            "totals": opened.totals,
            "first 50 buckets": lambda: opened.buckets(limit=50),
            "50 buckets by last seen": lambda: opened.buckets(limit=50, order="last"),
            "next 50 buckets": lambda: opened.buckets(limit=50, after=first[-1]),
            "what is new": lambda: opened.news(0),
            "a bucket's counters": lambda: opened.tallies(first[0].id),
            "its first 50 cases": lambda: opened.cases(bucket=first[0].id, limit=50),
            "50 cases, page 200": lambda: opened.cases(bucket=first[0].id, after=late[-1]),
            "similar": lambda: similar(opened, example.terms, but=first[0].id),
            "is a content known": lambda: opened.known(["0" * 32]),
            "first page as HTML": lambda: _first_page(opened, Path(folder)),
        }
        for name, ask in asked.items():
            times = []
            for _ in range(7):
                began = time.perf_counter()
                ask()
                times.append(time.perf_counter() - began)
            print(f"{name:<26} {1000 * statistics.median(times):8.1f} ms"
                  f"  (slowest {1000 * max(times):.1f})")  # fmt: skip
        print(f"the first page has {FIRST_PAGE[-1] / 1000:.0f} KB")


def _first_page(opened: Store, folder: Path) -> None:
    """What a reader looks at first; its size is printed."""
    with Folder(folder / "pages") as below:
        site = Site(opened, below, Options())
        index_page(site, "index", "crashes", opened.totals(), 1, None)
    FIRST_PAGE.append((folder / "pages" / "index.html").stat().st_size)


FIRST_PAGE: list[int] = []


def _fill(opened: Store, cases: int, buckets: int) -> None:
    """Rows as Books write them, at once; a few buckets have most of the cases."""
    counts = [0] * buckets
    chunk: list[dict[str, Any]] = []
    with opened.writing() as connection:
        for number in range(cases):
            # Every second case is of the few, as fleets have it.
            bucket = number % 50 if number % 2 else (number * 7919) % buckets
            counts[bucket] += 1
            chunk.append(_case(number, bucket))
            if len(chunk) == 20_000 or number == cases - 1:
                connection.execute(t.cases.insert(), chunk)
                chunk = []
        rows = [_bucket(n, count) for n, count in enumerate(counts) if count]
        connection.execute(t.bucket.insert(), rows)
        tally, terms = [], []
        for row in rows:
            for name, values in (("host", 40), ("release", 12), ("module", 60), ("day", 60)):
                for value in range(min(values, row["cases"])):
                    tally.append(
                        {"bucket_id": row["id"], "name": name, "value": f"{value}", "count": 1}
                    )
            for word, weight in _terms(int(row["key"])):
                terms.append({"term": word, "bucket_id": row["id"], "weight": weight})
        # Kept up by Books: all buckets together, and every crash.
        for name, values in (("host", 9973), ("day", 700)):
            for value in range(values):
                day = datetime.date(2024, 1, 1) + datetime.timedelta(value)
                label = f"web{value}" if name == "host" else day.isoformat()
                row = {"bucket_id": t.ALL_BUCKETS, "name": name, "value": label}
                tally.append({**row, "count": cases // values})
        state = {"input": cases, "bucket": cases, "buckets": len(rows), t.LEADING: cases}
        for value, count in state.items():
            tally.append({"bucket_id": "", "name": "state", "value": value, "count": count})
        for start in range(0, len(tally), 20_000):
            connection.execute(t.tally.insert(), tally[start : start + 20_000])
        for start in range(0, len(terms), 20_000):
            connection.execute(t.term.insert(), terms[start : start + 20_000])
    if opened.engine.dialect.name == "postgresql":
        with opened.engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")


def _terms(bucket: int) -> list[tuple[str, float]]:
    deep = [(f"f:common_{depth}_{bucket % (depth * 40 + 3)}", 0.5) for depth in range(10)]
    return [(f"f:fn_{bucket}", 1.5), (f"f:near_{bucket // 4}", 0.9), ("f:vfs_read", 0.3), *deep]


def _case(number: int, bucket: int) -> dict[str, Any]:
    return {
        "id": f"{number:016x}",
        "input_id": f"{number:032x}",
        "part": 0,
        "state": "bucket",
        "kind": "bug",
        "title": f"kernel BUG in fn_{bucket}",
        "shown": f"kernel BUG in fn_{bucket}",
        "summary": "It broke.",
        "confidence": "likely",
        "function": f"fn_{bucket}",
        "module": None,
        "line": 1,
        "source": "log",
        "time": 1_700_000_000 + number * 37 % 60_000_000,
        "time_from": "log",
        "host": f"web{number % 9973}",
        "release": f"6.12.{number % 90}",
        "arch": "x86_64",
        "model": None,
        "firmware": None,
        "uptime": 1.0,
        "features": "[]",
        "terms": json.dumps(_terms(bucket)),
        "incident": None,
        "leads": True,
        "rank": f"{number % 7}",
        "bucket_id": f"b{bucket:09}",
        "run_id": 1,
    }


def _bucket(number: int, count: int) -> dict[str, Any]:
    # The first case that _fill() gives to this bucket is any of it.
    return {
        "id": f"b{number:09}",
        "version": 1,
        "key": str(number),
        "generation": 0,
        "successor_of": None,
        "state": "open",
        "fixed_in": "[]",
        "title": f"kernel BUG in fn_{number}",
        "shown": f"kernel BUG in fn_{number}",
        "kind": "bug",
        "function": f"fn_{number}",
        "module": None,
        "best_case": f"{number:016x}",
        "cases": count,
        "crashes": count,
        "hosts": 40,
        "first": 1_700_000_000,
        "last": 1_700_000_000 + number * 1013 % 60_000_000,
        "created_run": 1,
        "seen_run": 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("logs", "dumps", "store"))
    parser.add_argument("dumps", nargs="*")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--buckets", type=int, default=10_000)
    parser.add_argument("--store")
    parser.add_argument("--dask", metavar="ADDRESS", help="analyse the logs on its workers")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    if given.what == "logs":
        logs(given.count, given.jobs, given.dask)
    elif given.what == "dumps":
        dumps(given.dumps, given.jobs)
    else:
        store(given.store, given.cases, given.buckets)


if __name__ == "__main__":
    main()
