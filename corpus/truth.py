"""What is true about a capture: the scenario's own words and the machine's.

The first half is decided by whoever wrote the fault (scenarios.toml); the second
is what the machine reported of itself before it was broken (see rootfs/init).
Nothing of it comes from the analyser under test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from corpus.scenarios import Scenario
from postmortem.model.findings import Kind

_SECTION = re.compile(r"^pm-truth: (\w+)$")
_TASK = re.compile(r"^(\d+) \((.*)\) (\w) (\d+)$")
_KERNEL_LINE = re.compile(r"^\[ *\d+\.\d{6}\] ")


@dataclass(frozen=True)
class TruthError(Exception):
    """The guest did not say what it must have said."""

    what: str

    def __str__(self) -> str:
        return self.what


def sections(report: str) -> dict[str, list[str]]:
    """The lines that the guest wrote under each ``pm-truth:`` heading.

    On a board with one serial line the kernel writes to it too: its lines, known by
    their time stamp, are left out.
    """
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in report.splitlines():
        line = line.rstrip("\r")
        heading = _SECTION.match(line)
        if heading:
            current = None if heading[1] == "end" else found.setdefault(heading[1], [])
        elif current is not None and line and not _KERNEL_LINE.match(line):
            current.append(line)
    return found


def machine(report: str) -> dict[str, Any]:
    """What the machine said of itself before it was broken."""
    said = sections(report)
    try:
        version = said["version"][0]
        memory = {
            name: int(value.split()[0]) * 1024
            for name, _, value in (line.partition(":") for line in said["meminfo"])
        }
        return {
            "release": version.split()[2],
            "version": version,
            "cmdline": said["cmdline"][0],
            "nodename": said["hostname"][0],
            "cpus": int(said["nproc"][0]),
            "memory_bytes": memory,
            "modules": {name: int(size) for name, size in map(str.split, said["modules"])},
            "mounts": [line.split() for line in said["mounts"]],
            "slabs": {
                name: {"active": int(active), "total": int(total), "object_bytes": int(size)}
                for name, active, total, size in map(str.split, said.get("slabs", []))
            },
            "tasks": [
                {"pid": int(pid), "comm": comm, "state": state, "parent": int(parent)}
                for pid, comm, state, parent in (
                    match.groups() for match in map(_TASK.match, said["tasks"]) if match
                )
            ],
            "uptime_seconds": float(said["uptime"][0]),
            "time_seconds": int(said["date"][0]),
        }
    except (KeyError, IndexError, ValueError) as error:
        raise TruthError(f"the guest's account of itself is incomplete: {error!r}") from error


def files(report: str) -> dict[str, list[str]]:
    """Files of /proc that the guest read just before it was dumped: ``pm-truth: proc_NAME``."""
    return {
        name.removeprefix("proc_"): lines
        for name, lines in sections(report).items()
        if name.startswith("proc_")
    }


def confirms(scenario: Scenario, console: str) -> None:
    """Raise unless the kernel's own words agree that this scenario took place.

    Emulated machines break by themselves at times; such a capture must not pass
    for the scenario's.
    """
    function = scenario.truth.log.get("function", scenario.truth.function)
    if function and function not in console:
        raise TruthError(f"the kernel does not speak of {function}: something else broke")
    if scenario.says and not re.search(scenario.says, console):
        raise TruthError(f"the kernel does not say {scenario.says!r}")
    for word in ("Oops", "Kernel panic"):
        if scenario.truth.kind is Kind.NONE and word in console:
            raise TruthError(f"{word} on a machine that should be healthy")
