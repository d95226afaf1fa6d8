"""One analysis in a process of its own, with limits; what became of it, as a row."""

from __future__ import annotations

import faulthandler
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import IO, Any

import drgn

import postmortem
from postmortem.cli.supervisor import supervise
from postmortem.errors import (
    EXIT_LIMITED,
    EXIT_OK,
    EXIT_UNKNOWN_INPUT,
    EXIT_UNREADABLE,
    PostmortemError,
    UsageError,
)
from postmortem.model.result import Analysis
from postmortem.printers.sysrq import SHOWN, sysrq
from postmortem.render.clean import clean
from postmortem.render.exports import PICTURES, draw
from postmortem.render.output import writer
from postmortem.steps import notes
from tests.fuzz.dumps.image import Image

CPU_SECONDS = 20
WALL_SECONDS = 600
MEMORY_BYTES = 2 << 30
NAMED = ("hung", "waits", "locks", "lockups", "stacks", "oom", "oops", "panic", "crash", "memory")
"""Plugins that are asked by their names too."""
KEYS = f"{SHOWN}hfeiknsuj0b"
"""SysRq keys that are pressed then, each kind of them."""
MOST_LINES = 1 << 20
"""No key may print more: the committed machines have a hundred tasks."""

GIVEN_UP = "can't be analysed: "
"""What a supervisor says in the end."""

HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)
"""What no output may hold, whatever the dump held."""


@dataclass
class Row:
    """What one analysis came to."""

    outcome: str = ""
    """ok, problems (said), clean (one sentence), oserror, outlived (a step ended its process and
    was left out), given up (none of several attempts ended well); or one of ``fuzz_dump.BAD``."""
    kind: str = ""
    title: str = ""
    culprit: str | None = None
    confidence: str = ""
    tasks: int = 0
    said: tuple[str, ...] = ()
    """Problems and lacks."""
    error: str = ""
    cpu_seconds: float = 0.0
    rss_kib: int = 0


def run(image: Image, *, named: bool, pages: bool = True) -> Row:
    """Analyse the image in a fork of this process.

    :param named: ask for plugins and SysRq keys by name, too.
    :param pages: write HTML, too, a third of the cost of an analysis that is warm.
    """
    read, write = os.pipe()
    with tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            os.close(read)
            _child(image, named, pages, errors, write)
        os.close(write)
        killer = threading.Timer(WALL_SECONDS, os.kill, (pid, signal.SIGKILL))
        killer.start()
        with os.fdopen(read, "rb") as pipe:
            data = pipe.read()
        _, status, usage = os.wait4(pid, 0)
        killer.cancel()
        errors.seek(0)
        told = errors.read()[:3000].decode("utf-8", "replace")
    seconds = usage.ru_utime + usage.ru_stime
    row = Row(**json.loads(data)) if data else _killed(status, told, seconds)
    row.said, row.cpu_seconds, row.rss_kib = tuple(row.said), seconds, usage.ru_maxrss
    return row


def run_whole(image: Image) -> Row:
    """Analyse the image as a user does: ``postmortem analyze`` in a process of its own."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))

    command = [sys.executable, "-m", "postmortem", "analyze", "--no-debuginfod", "--json"]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*command, *image.paths], stdout=output, stderr=errors, preexec_fn=limited
        )
        killer = threading.Timer(WALL_SECONDS, process.kill)
        killer.start()
        _, status, usage = os.wait4(process.pid, 0)
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        text = output.read().decode("utf-8", "replace")
        told = errors.read()[:3000].decode("utf-8", "replace")
    seconds = usage.ru_utime + usage.ru_stime
    row = _told(process.returncode, text, told) or _killed(status, told, seconds)
    row.cpu_seconds, row.rss_kib = seconds, usage.ru_maxrss
    return row


def _told(status: int, text: str, told: str) -> Row | None:
    """What the program said of a dump; ``None`` if it did not end as it should."""
    if status in (EXIT_UNKNOWN_INPUT, EXIT_UNREADABLE) and told.count("\n") == 1:
        return Row("given up" if GIVEN_UP in told else "clean", error=told)
    if status not in (EXIT_OK, EXIT_LIMITED):
        return None
    bad = [*_bad("a.json", text), *([f"on stderr: {told}"] if told else [])]
    result = json.loads(text)
    verdict, problems = result["verdict"], result["problems"]
    said = [f"{problem['what']}: {problem['why']}" for problem in problems]
    return _row(
        bad,
        [*said, *result["input"]["lacks"]],
        kind=verdict["kind"],
        title=verdict["title"],
        culprit=verdict["culprit"]["function"],
        confidence=str(verdict["confidence"]),
        tasks=result["system"]["tasks"] or 0,
    )


def _killed(status: int, told: str, seconds: float) -> Row:
    if not os.WIFSIGNALED(status):
        given_up = os.waitstatus_to_exitcode(status) == EXIT_UNREADABLE and GIVEN_UP in told
        return Row("given up" if given_up else "internal", error=told)
    number = os.WTERMSIG(status)
    if number in (signal.SIGKILL, signal.SIGXCPU):
        return Row("hang", error=f"after {seconds:.0f} s of computing: {told}")
    return Row("signal", error=f"signal {number}: {told}")


def _child(image: Image, named: bool, pages: bool, errors: IO[bytes], write: int) -> None:
    os.dup2(errors.fileno(), 2)
    faulthandler.enable(errors)
    faulthandler.register(signal.SIGXCPU, errors, all_threads=False, chain=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    status = supervise(list(map(str, image.paths)))
    if status is not None:  # what was found out was written by the process that did the work
        sys.stderr.flush()
        os._exit(status)
    if image.live:
        threading.Thread(target=_change, args=(image,), daemon=True).start()
    try:
        row = analyse(image.paths, named=named, pages=pages)
    except MemoryError:
        row = Row("memory", error=traceback.format_exc()[-3000:])
    except BaseException:
        row = Row("internal", error=traceback.format_exc()[-3000:])
    with os.fdopen(write, "wb") as pipe:
        pipe.write(json.dumps(asdict(row)).encode())
    os._exit(0)


def _change(image: Image) -> None:
    time.sleep(0.02)
    while True:
        for at, data in image.live:
            image.change_now(at, data)
            time.sleep(0.0005)


def analyse(paths: list[Path], *, named: bool, pages: bool = True) -> Row:
    """What ``postmortem analyze`` does, and ``postmortem NAME``; every output is checked."""
    try:
        with postmortem.open(paths, debuginfod=False) as case:
            for what, why in notes():
                case.problems.say(what, why)
            analysis = case.analyze()
            bad = list(_bad_outputs(analysis, pages=pages))
            said = [*_said(analysis), *analysis.input.lacks]
            for name in NAMED if named else ():
                try:
                    more = case.run(name)
                except UsageError:  # it can't run on what is left of the dump
                    continue
                bad += _bad_outputs(more)
                said += _said(more)
            if named and case.dump is not None:
                bad += _bad_keys(case.prog)
    except PostmortemError as exc:
        return Row("clean", error=f"{type(exc).__name__}: {exc}")
    except OSError as exc:
        return Row("oserror", error=f"{type(exc).__name__}: {exc}")
    found = analysis.verdict
    return _row(
        bad,
        said,
        kind=str(found.kind),
        title=found.title,
        culprit=found.culprit.function,
        confidence=str(found.confidence),
        tasks=analysis.system.tasks or 0,
    )


def _row(bad: list[str], said: list[str], **verdict: Any) -> Row:
    """The row of an analysis that came to an end."""
    outlived = [text for text in said if "left out: " in text]
    died = [text for text in said if text.startswith("plugin ") and text not in outlived]
    outcome = "outlived" if outlived else "problems" if said else "ok"
    if any("SIGXCPU" in text for text in outlived):
        outcome = "hang"
    return Row(
        outcome="output" if bad else "plugin" if died else outcome,
        said=tuple(dict.fromkeys(said)),
        error="; ".join(bad or died or outlived),
        **verdict,
    )


def _said(analysis: Analysis) -> list[str]:
    return [f"{problem.what}: {problem.why}" for problem in analysis.problems]


def _bad_outputs(analysis: Analysis, *, pages: bool = True) -> Iterator[str]:
    plugin = bool(analysis.asked)
    outputs = [("a.txt", False), ("a.txt", True), ("a.json", False)]
    for name, verbose in [*outputs, *([("a.html", True)] if pages else [])]:
        file = io.StringIO()
        writer(analysis, name, verbose=verbose, plugin=plugin)(file)
        yield from _bad(name, file.getvalue())
    for export in analysis.exports:
        yield from _bad(f"a.{export.suffix}", draw(export), picture=export.suffix in PICTURES)


def _bad_keys(prog: drgn.Program) -> Iterator[str]:
    """Lines of SysRq keys that no kernel prints and that do not say that they are ours."""
    for key in KEYS:
        count = 0
        for line in islice(sysrq(prog, key), MOST_LINES + 1):
            count += 1
            yield from _bad(f"sysrq {key}", clean(line.text))
            if line.ours != line.text.startswith("[postmortem: "):
                yield f"sysrq {key} says {line.text[:80]!r} as if it were another's"
        if not 0 < count <= MOST_LINES:
            yield f"sysrq {key} has {count} lines"


def _bad(name: str, text: str, *, picture: bool = False) -> Iterator[str]:
    found = HOSTILE.search(text)
    if found:
        near = text[max(0, found.start() - 40) : found.start() + 20]
        yield f"{name} holds {found.group()!r} near {near!r}"
    if name.endswith("json"):
        json.loads(text)
    if picture or name.endswith("html"):
        foreign = _Tags()
        foreign.feed(text)
        yield from (f"{name} holds <{tag}>" for tag in foreign.found)


class _Tags(HTMLParser):
    """Looks for markup that can only have come from the dump."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        active = any(name.startswith("on") for name, _ in attrs)
        if tag.startswith("pwn") or tag in ("img", "iframe", "object") or active:
            self.found.append(tag)
