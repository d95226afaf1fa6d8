"""The scenarios of scenarios.toml, read and checked."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from postmortem.model.findings import Kind

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
ANYWHERE = -1
FAULT_MODULE = "pm_fault"
"""The module of faults/, guilty of every fault that it was asked for."""


class ScenarioError(Exception):
    """The scenario file says something that cannot be."""


@dataclass(frozen=True)
class Truth:
    """What a correct analysis of this scenario says. See scenarios.toml for the members."""

    kind: Kind
    also: tuple[Kind, ...] = ()
    function: str | None = None
    module: str | None = None
    task: str | None = None
    """A shell pattern; ``None`` where the task has no part in it."""
    cpu: int | None = None
    fatal: bool = True
    names: tuple[str, ...] = ()
    log: Mapping[str, Any] = field(default_factory=dict)
    """Members that are different for who has only the console log."""


@dataclass(frozen=True)
class Scenario:
    """One way in which a machine breaks. See scenarios.toml for the members."""

    name: str
    about: str
    kernels: tuple[str, ...]
    arguments: str
    memory_mib: int
    cpu: int
    until: str
    seconds: float
    truth: Truth
    fault: str | None = None
    trigger: str | None = None
    before: str = ""
    says: str | None = None
    host: str | None = None
    initrd: bool = True
    vmcoreinfo: bool = True
    module_btf: bool = True
    formats: tuple[str, ...] = ()
    makedumpfile: str = "-d 31 -z"
    committed: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    disk_mib: int = 0
    host_arguments: Mapping[str, Any] = field(default_factory=dict)
    on_request: bool = False
    cpus: int = 0
    numa_nodes: int = 0
    snapshot: bool = False
    """The dump is taken at ``pm: host``, and the machine goes on to ``until``."""

    @property
    def script(self) -> str:
        """The shell script that becomes /bin/trigger in the guest."""
        pin = "" if self.cpu == ANYWHERE else f"taskset -p {1 << self.cpu:x} $$ > /dev/null\n"
        action = self.trigger or f"echo {self.fault} > /proc/pm_fault"
        return "\n".join(part.strip("\n") for part in (pin, self.before, action) if part.strip())

    @property
    def can_kdump(self) -> bool:
        """Only a machine that dies, and was up before, can start its crash kernel."""
        return self.until == "panic" and self.initrd and self.vmcoreinfo

    def digest(self, *ingredients: bytes) -> str:
        """Changes whenever a capture of this scenario would; not with its words or truth."""
        members = asdict(self)
        for name in ("about", "kernels", "seconds", "says", "truth", "committed", "on_request"):
            del members[name]
        for name in (
            "modules", "programs", "disk_mib", "host_arguments", "cpus", "numa_nodes", "snapshot",
        ):  # fmt: skip
            if not members[name]:
                del members[name]
        written = json.dumps(members, sort_keys=True).encode()
        return hashlib.sha256(b"\0".join((written, *ingredients))).hexdigest()[:16]


def load(folder: Path = FOLDER) -> dict[str, Scenario]:
    """All scenarios by name, in the order of the files ``scenarios*.toml``."""
    file = folder / "presets.toml"
    presets = tomllib.loads(file.read_text()) if file.exists() else {}
    found: dict[str, Scenario] = {}
    for file in sorted(folder.glob("scenarios*.toml"), reverse=True):
        document = tomllib.loads(file.read_text())
        defaults = document.pop("defaults")
        for name, given in document.items():
            if name in found:
                raise ScenarioError(f"[{name}] is there twice, in {file.name} too")
            found[name] = _scenario(name, {**defaults, **_with_presets(name, given, presets)})
    return found


def _with_presets(
    name: str, given: Mapping[str, Any], presets: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What is given, on top of the presets that it names."""
    named = given.get("preset", [])
    whole: dict[str, Any] = {}
    for preset in [named] if isinstance(named, str) else named:
        if preset not in presets:
            raise ScenarioError(f"[{name}] names a preset that there is not: {preset}")
        whole = _on_top(whole, presets[preset])
    return _on_top(whole, {key: value for key, value in given.items() if key != "preset"})


def _on_top(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """The members of both; the shell lines of ``before`` add up, the truth's members too."""
    both = {**lower, **upper}
    if "before" in lower and "before" in upper:
        both["before"] = lower["before"] + upper["before"]
    if "truth" in lower and isinstance(upper.get("truth"), dict):
        both["truth"] = {**lower["truth"], **upper["truth"]}
    return both


def _scenario(name: str, given: dict[str, Any]) -> Scenario:
    try:
        unknown = set(given) - {one.name for one in fields(Scenario)}
        if unknown:
            raise ScenarioError(f"[{name}] has unknown members: {', '.join(sorted(unknown))}")
        if ("fault" in given) == ("trigger" in given) and given.get("initrd", True):
            raise ScenarioError(f"[{name}] needs either a fault or a trigger")
        truth = _truth(given)
        members: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                   for key, value in given.items() if key != "truth"}  # fmt: skip
        return Scenario(name=name, truth=truth, **members)
    except (KeyError, TypeError, ValueError) as error:
        raise ScenarioError(f"[{name}]: {error}") from error


def _truth(given: dict[str, Any]) -> Truth:
    """The truth with what follows from the way the trigger is run."""
    said = dict(given["truth"])
    said["module"] = said.get("module", FAULT_MODULE if "fault" in given else "") or None
    said["kind"] = Kind(said["kind"])
    said["also"] = tuple(Kind(kind) for kind in said.get("also", ()))
    said["names"] = tuple(said.get("names", ()))
    said["task"] = said.get("task", "trigger") or None
    cpu = said.get("cpu", given["cpu"] if said["kind"] is not Kind.NONE else ANYWHERE)
    said["cpu"] = None if cpu == ANYWHERE else cpu
    return Truth(**said)
