"""How well `similar` ranks: cases with a label each, every one a bucket of its own.

    python benchmarks/similar.py LABELS.csv         lines of path,label

Asked is each case that has another one of its label; a hit is a bucket of that label.
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import postmortem
from postmortem.model.findings import Signature
from postmortem.triage.facts import outcome
from postmortem.triage.model import CaseState, Outcome
from postmortem.triage.similar import similar
from postmortem.triage.store import Store


def main() -> None:
    with Path(sys.argv[1]).open(newline="") as file:
        rows = [(path, label) for path, label in csv.reader(file)]
    labels: dict[str, str] = {}
    outcomes = []
    for number, (path, label) in enumerate(rows):
        found = _alone(path, number)
        if found is not None:
            labels[found.id] = label
            outcomes.append(found)
    many = Counter(labels.values())
    ranks, took = [], []
    with Store.open("sqlite://") as store:
        store.add(store.begin_run([]), outcomes)
        for asked in outcomes:
            label = labels[asked.id]
            if many[label] < 2:
                continue
            case = store.case(asked.id[:24])
            began = time.process_time()
            ranked = similar(store, case.terms, but=case.bucket_id, limit=10)
            took.append(time.process_time() - began)
            said = [labels[store.case(item.bucket.best_case).input_id] for item in ranked]
            ranks.append(said.index(label) + 1 if label in said else 0)
    first, five = ranks.count(1), sum(0 < rank <= 5 for rank in ranks)
    print(f"{len(outcomes)} cases, {len(ranks)} queries that have another one of their bug")
    print(f"first {first / len(ranks):.3f}, within five {five / len(ranks):.3f}")
    middle, worst = 1000 * statistics.median(took), 1000 * max(took)
    print(f"{middle:.1f} ms of CPU a query, the slowest {worst:.1f}")


def _alone(path: str, number: int) -> Outcome | None:
    """A case with a key that no other one has."""
    with postmortem.open(path) as opened:
        found = outcome(opened.analyze(), f"{number:08x}" + 24 * "0", (path,), None)
    row = found.cases[0]
    if row.state is not CaseState.BUCKET:
        return None
    own = f"bug:{number}:x"
    row = replace(row, signature=Signature(own, own, own), bug=own, incident=None)
    return replace(found, cases=(row,), reports=())


if __name__ == "__main__":
    main()
