"""How judging grows with the number of reports: it must stay in proportion.

    python benchmarks/judging.py [--most 100000]

Makes up N different reports (oopses, warnings, tasks that hang, stalls), judges them as
``postmortem analyze`` does, and prints CPU seconds for N and, per report, the ratio to the
smallest N: a column that grows is a judge that scans all reports for each report.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from postmortem.judge.verdict import diagnose
from postmortem.log.link import link
from postmortem.model.findings import Finding, Kind, TaskRef
from postmortem.model.report import Report
from postmortem.model.result import Input
from postmortem.plugin import Context, discover, run_plugin

SIZES = (500, 2_000, 8_000, 32_000, 100_000)


def report(number: int, kind: Kind) -> Report:
    """A report that is like no other."""
    function = f"acme_{number}"
    text = f"INFO: task t{number}:{number} blocked for more than 120 seconds."
    return Report(
        kind=kind,
        title=f"{kind} in {function}",
        line=10 * number + 1,
        end_line=10 * number + 9,
        text=(text,),
        time=number / 100,
        function=function,
        task=TaskRef(number + 2, f"t{number}"),
    )


def mixed(number: int) -> Kind:
    kinds = (Kind.NULL_DEREFERENCE, Kind.WARNING, Kind.HUNG_TASK, Kind.SOFT_LOCKUP, Kind.KASAN)
    return kinds[number % len(kinds)]


SORTS: dict[str, Callable[[int], Kind]] = {
    "warnings": lambda number: Kind.WARNING,
    "oopses": lambda number: Kind.USE_AFTER_FREE,
    "hung tasks": lambda number: Kind.HUNG_TASK,
    "mixed": mixed,
}


def judge(reports: list[Report], empty: str) -> float:
    """CPU seconds from parsed reports to the verdict."""
    plugins, _ = discover()
    begin = time.process_time()
    ctx = Context.given(Input(empty, "log", "text", 1, True), reports=link(iter(reports)))
    found = [
        item
        for plugin in plugins
        if plugin.in_analysis and not any(map(ctx.lacks, plugin.needs))
        for item in run_plugin(plugin, ctx)
    ]
    diagnose([item for item in found if isinstance(item, Finding)], ctx)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=SIZES[-1])
    most = parser.parse_args().most
    print(f"{'sort':12} {'reports':>8} {'CPU s':>8} {'us each':>8} {'ratio to n':>10}")
    for name, kind in SORTS.items():
        first = 0.0
        for size in (n for n in SIZES if n <= most):
            seconds = judge([report(n, kind(n)) for n in range(size)], str(Path("/dev/null")))
            each = seconds / size
            first = first or each
            print(f"{name:12} {size:8} {seconds:8.2f} {each * 1e6:8.0f} {each / first:10.2f}")


if __name__ == "__main__":
    main()
