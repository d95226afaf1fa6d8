"""Damage many dumps for hours: ``python -m tests.fuzz.campaign [--seconds N] FILE DUMP...``.

Takes one dump after another, in a new order each time, and damages each in some ways with
fresh seeds. FILE gets a line of JSON for each case, so that it grows with every campaign;
``--table`` prints what became of all of them, with the command line that shows a failure again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz import fuzz_dump

ASK, WHOLE = 30, 60
"""Each so many, plugins and keys are asked; and the program is run as a user runs it."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("dumps", nargs="*", type=Path, metavar="DUMP")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--count", type=int, default=100, help="cases of a dump before the next")
    parser.add_argument("--rounds", type=int, default=1 << 30, help="over all dumps")
    parser.add_argument("--table", action="store_true", help="only print what is in FILE")
    options = parser.parse_intermixed_args(arguments)
    if not options.table:
        dumps = options.dumps or sorted(fuzz_dump.DUMPS.rglob("*.vmcore.*"))
        end = time.monotonic() + options.seconds
        _campaign(options.file.absolute(), dumps, end, options.rounds, options.count)
    cases = list(_cases(options.file))
    for case in cases:
        if _failed(case):
            print(f"--seed {case['seed']} --kind {case['kind']} --count 1 -v {case['dump']}: "
                  f"{_outcomes(case)}")  # fmt: skip
    fuzz_dump.print_table((case["kind"], _outcomes(case)) for case in cases)
    print(f"{len(cases)} cases, {sum(map(_failed, cases))} failed")
    return 1 if not cases or any(map(_failed, cases)) else 0


def _campaign(file: Path, dumps: Sequence[Path], end: float, rounds: int, count: int) -> None:
    fuzz_dump.import_everything()
    for _ in range(rounds):
        for dump in random.sample(dumps, len(dumps)):
            left = end - time.monotonic()
            if left <= 0:
                return
            sys.stdout.flush()
            # Each dump in a process of its own: what is kept of it ends with it.
            pid = os.fork()
            if pid == 0:
                _damage(file, dump, left, count)
            os.waitpid(pid, 0)


def _damage(file: Path, dump: Path, seconds: float, count: int) -> None:
    status = 1
    try:
        limits = ["--count", str(count), "--seconds", str(seconds)]
        often = ["--ask", str(ASK), "--whole", str(WHOLE)]
        status = fuzz_dump.main([*limits, *often, "--tally", str(file), "--quiet", str(dump)])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _cases(file: Path) -> Iterator[dict[str, Any]]:
    with file.open() as lines:
        for line in lines:
            yield json.loads(line)


def _outcomes(case: dict[str, Any]) -> list[str]:
    return [case["row"]["outcome"], *case["false"]]


def _failed(case: dict[str, Any]) -> bool:
    return case["row"]["outcome"] in fuzz_dump.BAD or bool(case["false"])


if __name__ == "__main__":
    sys.exit(main())
