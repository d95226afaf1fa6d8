"""How well the corpus is grouped: a triage of captured machines against the truth about each.

    postmortem triage --store STORE ~/.cache/postmortem
    python benchmarks/grouping.py STORE

Truth is the kind and function of each scenario (truth.json beside each capture); B-cubed precision
says how pure a case's bucket is, recall how much of its bug is in it, each a mean over all cases.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from postmortem.triage.store import Store


def truth_of(name: str) -> tuple[str, str] | None:
    """(kind, function) of the scenario that a file is of; ``None`` if nothing broke in it."""
    path = Path(name).parent / "truth.json"
    truth = json.loads(path.read_text())
    found = truth["truth"]
    if found.get("kind") in (None, "none"):
        return None
    return found["kind"], found.get("function") or f"scenario {truth['scenario']}"


def main() -> None:
    bugs: dict[str, tuple[str, str]] = {}
    buckets: dict[str, str] = {}
    pairs: dict[str, list[str]] = defaultdict(list)
    unsorted, calm, wrong_calm = 0, 0, []
    with Store.open(sys.argv[1], create=False) as store:
        last = None
        while page := store.cases(limit=500, after=last):
            last = page[-1]
            for case in page:
                name = store.files(case.input_id)[0]
                bug = truth_of(name)
                if bug is None:
                    calm += 1
                    continue
                if case.part:
                    continue
                unsorted += case.state == "unsorted"
                if case.state == "calm":
                    wrong_calm.append(name)
                bugs[case.id] = bug
                buckets[case.id] = case.bucket_id or f"alone {case.id}"
                pairs[str(Path(name).parent)].append(case.id)
    precision = recall = 0.0
    members: dict[str, list[str]] = defaultdict(list)
    families: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case_id, bucket in buckets.items():
        members[bucket].append(case_id)
        families[bugs[case_id][1], ""].append(case_id)
    for case_id, bucket in buckets.items():
        here = members[bucket]
        family = families[bugs[case_id][1], ""]
        both = sum(bugs[other][1] == bugs[case_id][1] for other in here)
        precision += both / len(here)
        recall += both / len(family)
    count = len(buckets)
    mixed = {
        bucket: sorted({bugs[case_id][1] for case_id in found})
        for bucket, found in members.items()
        if len({bugs[case_id][1] for case_id in found}) > 1
    }
    joined = [len({buckets[i] for i in found}) == 1 for found in pairs.values() if len(found) > 1]
    print(f"{count} cases of {len(families)} functions in {len(members)} buckets")
    print(f"B-cubed precision {precision / count:.3f} recall {recall / count:.3f}")
    print(f"dump and console of one machine in one bucket: {sum(joined)} of {len(joined)}")
    print(f"unsorted {unsorted}, calm although broken {len(wrong_calm)}, healthy {calm}")
    for bucket, functions in mixed.items():
        print("  two functions in one bucket:", bucket, ", ".join(functions))
    for folder, found in pairs.items():
        if len({buckets[i] for i in found}) > 1:
            print("  apart:", folder, [(buckets[i], bugs[i]) for i in found])


if __name__ == "__main__":
    main()
