"""Put every captured machine before postmortem and hold its answer against the truth.

    python -m corpus.exam [--cache DIR] [--kernel 6.12] [--only SCENARIO] [--debug-dir DIR]

Each dump is analysed by the command line in a process of its own, as a user
would, and so is the console log of the same crash. Exit status 1 if any answer
is wrong.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.kernels import default_cache

TIME_LIMIT_SECONDS = 120


@dataclass
class Answer:
    """What postmortem said of one file, and what is wrong with it."""

    kernel: str
    scenario: str
    file: str
    seconds: float
    verdict: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    truth: dict[str, Any] = field(default_factory=dict)
    """What can be known from this file."""

    def row(self) -> str:
        """One line of the exam table."""
        culprit = self.verdict.get("culprit") or {}
        module = f" [{culprit['module']}]" if culprit.get("module") else ""
        return (
            f"{self.kernel.split('-')[0]:<14} {self.scenario:<24} {self.file:<22}"
            f" {self.verdict.get('kind') or '-':<24}"
            f" {(culprit.get('function') or '-') + module:<42}"
            f" {'right' if not self.wrong else 'WRONG: ' + '; '.join(self.wrong)}"
            f"  {self.seconds:.2f} s"
        )


def machines(cache: Path, kernel: str | None, only: str | None) -> Iterator[Path]:
    """Folders of captured machines: ``CACHE/KERNEL/SCENARIO/truth.json``."""
    for truth in sorted(cache.glob("*/*/truth.json")):
        folder = truth.parent
        if folder.name.startswith("."):
            continue
        if kernel and not folder.parent.name.startswith(kernel):
            continue
        if only and not fnmatch.fnmatch(folder.name, only):
            continue
        yield folder


def examine(folder: Path, extra: list[str]) -> Iterator[Answer]:
    """Analyse every dump of a machine, then its console log."""
    truth = json.loads((folder / "truth.json").read_text())["truth"]
    reference: dict[str, Any] | None = None
    # Of dumps of other machines than x86_64 the log is read, and nothing else yet.
    foreign = folder.parent.name.endswith("-arm64")
    known = (truth.get("log") or {}) if foreign else {}
    for dump in sorted(folder.glob("vmcore*")):
        answer = ask(folder, dump, extra)
        answer.truth = {**truth, **known}
        answer.wrong += faults(answer.truth, answer.verdict, names=not foreign)
        reference = reference or answer.verdict
        yield answer
    console = folder / "console.log"
    if console.exists():
        answer = ask(folder, console, [])
        known = truth.get("log") or {}
        answer.truth = {**truth, **known}
        answer.wrong += faults(answer.truth, answer.verdict, names=False)
        if not known:
            answer.wrong += differences(reference, answer.verdict)
        yield answer


def ask(folder: Path, file: Path, extra: list[str]) -> Answer:
    """Run ``postmortem analyze --json`` on a file."""
    answer = Answer(folder.parent.name, folder.name, file.name, 0.0)
    command = [sys.executable, "-m", "postmortem", "analyze", "--json", *extra, str(file)]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        answer.wrong.append("no answer in time")
        return answer
    answer.seconds = time.perf_counter() - start
    if done.returncode not in (0, 1):
        answer.wrong.append(f"exit {done.returncode}: {done.stderr.decode(errors='replace')[:200]}")
        return answer
    document = json.loads(done.stdout)
    answer.verdict = document["verdict"]
    answer.verdict["everything"] = json.dumps([document["verdict"], document["findings"]])
    return answer


def faults(truth: dict[str, Any], verdict: dict[str, Any], *, names: bool) -> list[str]:
    """What of the verdict contradicts the truth."""
    if not verdict:
        return ["no verdict"]
    wrong = []
    kinds = [truth["kind"], *truth.get("also", [])]
    if verdict["kind"] not in kinds:
        wrong.append(f"kind is {truth['kind']}")
    culprit = verdict["culprit"]
    for part in ("function", "module"):
        if truth.get(part) and culprit.get(part) != truth[part]:
            wrong.append(f"{part} is {truth[part]}, not {culprit.get(part)}")
    task = (culprit.get("task") or {}).get("comm")
    if truth.get("task") and not fnmatch.fnmatch(task or "", truth["task"]):
        wrong.append(f"task is {truth['task']}, not {task}")
    if isinstance(truth.get("cpu"), int) and culprit.get("cpu") not in (truth["cpu"], None):
        wrong.append(f"CPU is {truth['cpu']}, not {culprit['cpu']}")
    if names:
        said = verdict["everything"]
        wrong += [f"{name} is not named" for name in truth.get("names", []) if name not in said]
    return wrong


def differences(dump: dict[str, Any] | None, log: dict[str, Any]) -> list[str]:
    """Where the log's verdict differs from the dump's."""
    if not dump or not log:
        return []
    wrong = []
    if dump["kind"] != log["kind"]:
        wrong.append(f"the dump says {dump['kind']}")
    signatures = [(v.get("signature") or {}).get("coarse") for v in (dump, log)]
    if signatures[0] != signatures[1]:
        wrong.append(f"signature differs from the dump's {signatures[0]}")
    return wrong


def capture_again(folder: Path, cache: Path) -> None:
    """Break a machine of the same scenario anew, in place of the one in ``folder``."""
    known = json.loads((folder / "truth.json").read_text())
    command = [sys.executable, "-m", "corpus.capture", "--force", "--cache", str(cache)]
    command += ["--kernel", known["kernel"], "--only", known["scenario"], "--road", known["road"]]
    subprocess.run(command, check=False)


def main() -> int:
    """Print the table; 0 if everything is right."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--kernel", help="only kernels that begin so")
    parser.add_argument("--only", help="only this scenario (or pattern)")
    parser.add_argument("--debug-dir", action="append", default=[], help="with DWARF from here")
    parser.add_argument("--recapture", action="store_true",
                        help="capture again what got a wrong answer, and ask again")  # fmt: skip
    parser.add_argument("--wrong", action="store_true", help="print only the wrong answers")
    options = parser.parse_args()
    extra = [word for folder in options.debug_dir for word in ("--debug-dir", folder)]
    asked = 0
    wrong: list[Answer] = []
    for folder in machines(options.cache, options.kernel, options.only):
        answers = list(examine(folder, extra))
        if options.recapture and any(answer.wrong for answer in answers):
            # An emulated guest may not have got to where its scenario wants it; a
            # wrong judgement is wrong of the second guest too.
            for answer in answers:
                print(answer.row(), " (captured again)", flush=True)
            capture_again(folder, options.cache)
            answers = list(examine(folder, extra))
        for answer in answers:
            asked += 1
            wrong += [answer] if answer.wrong else []
            if answer.wrong or not options.wrong:
                print(answer.row(), flush=True)
    for answer in wrong:
        print(answer.row())  # once more where it is seen: the table is long
    print(f"{asked - len(wrong)} of {asked} answers right")
    return 0 if asked and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
