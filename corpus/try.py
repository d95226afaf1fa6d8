"""Capture a scenario and hold postmortem's answer against its truth.

python -m corpus.try NAME [--kernel 6.12] [--force]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus import capture, exam
from corpus.kernels import KERNELS, default_cache
from corpus.scenarios import ScenarioError, load

LAST_LINES = 25


def differences(truth: Mapping[str, Any], answer: exam.Answer) -> Iterator[str]:
    """A line for each member of the truth: what it is, and what was said."""
    culprit = answer.verdict.get("culprit") or {}
    said = {
        "kind": answer.verdict.get("kind"),
        "function": culprit.get("function"),
        "module": culprit.get("module"),
        "task": (culprit.get("task") or {}).get("comm"),
        "cpu": culprit.get("cpu"),
    }
    yield f"{'':10} {'truth':28} {answer.file}"
    for member, value in said.items():
        true = truth.get(member)
        known = "-" if true in (None, "") else str(true)
        yield f"{member:10} {known:28} {'-' if value is None else value}"
    yield from (f"wrong: {fault}" for fault in answer.wrong)


def report(folder: Path) -> Iterator[str]:
    """The answers about one captured machine, each beside the truth."""
    for answer in exam.examine(folder, []):
        yield from (answer.row(), *differences(answer.truth, answer), "")


def failed(folder: Path) -> Iterator[str]:
    """The end of the console of a capture that did not come about."""
    console = folder.with_name(f".{folder.name}.partial") / "console.log"
    if console.exists():
        yield f"The end of {console}:"
        yield from console.read_text(errors="replace").splitlines()[-LAST_LINES:]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m corpus.try", description="Capture a scenario and ask postmortem about it."
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--kernel", action="append", choices=[*KERNELS], default=[])
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--force", action="store_true", help="capture again what is there")
    options = parser.parse_args(argv)
    cache: Path = options.cache.expanduser().resolve()
    words = ["--only", options.name, "--cache", str(cache)]
    words += [word for kernel in options.kernel for word in ("--kernel", kernel)]
    try:
        wanted = capture.chosen(load(), options.kernel, [options.name], "outside")
    except ScenarioError as error:
        print(f"try: {error}", file=sys.stderr)
        return 1
    status = capture.main(words + (["--force"] if options.force else []))
    for kernel, scenario in wanted:
        tree = capture.fetch(KERNELS[kernel], cache)
        folder = capture.folder(cache, tree, scenario, "outside")
        there = (folder / "truth.json").exists()
        for line in report(folder) if there else failed(folder):
            print(line)
            status = 1 if line.startswith("wrong: ") else status
    return status


if __name__ == "__main__":
    sys.exit(main())
