"""The committed dumps, opened once a worker, each with the truth about its machine."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import postmortem
from postmortem.case import Case
from postmortem.plugin import Context, DumpContext

# How long a test takes is a matter of the machine, and no answer is wrong for it.
settings.register_profile("postmortem", deadline=None)
settings.load_profile("postmortem")

DUMPS = Path(__file__).parent.parent / "corpus" / "dumps"
NAMES = sorted(path.name.removesuffix(".truth.json") for path in DUMPS.glob("*.truth.json"))


@dataclass(frozen=True)
class Machine:
    """A machine of the corpus: its dump, opened, and what is true about it."""

    name: str
    path: Path
    console: Path
    truth: dict[str, Any]
    """What a correct analysis says (corpus/scenarios.toml)."""
    facts: dict[str, Any]
    """What the machine's own /proc said before it was broken."""

    @property
    def case(self) -> Case:
        """The open dump; shared, so nobody may close it."""
        return _opened(self.path)

    def context(self, **options: Any) -> Context:
        """A context of one's own of the open dump."""
        return DumpContext(self.case, **options)

    @property
    def prog(self) -> Any:
        """The ``drgn.Program``."""
        return self.case.prog


@functools.cache
def _opened(path: Path) -> Case:
    return postmortem.open(path, debuginfod=False)


@functools.cache
def machine_named(name: str) -> Machine:
    """The committed machine ``name``: ``6.12-null-chain``."""
    document = json.loads((DUMPS / f"{name}.truth.json").read_text())
    path = next(DUMPS.glob(f"{name}.vmcore*"))
    return Machine(
        name, path, DUMPS / f"{name}.console.log", document["truth"], document["machine"]
    )


@pytest.fixture(params=NAMES)
def machine(request: pytest.FixtureRequest) -> Machine:
    """Each committed machine in turn."""
    return machine_named(request.param)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests run only where they are asked for: ``-m slow``."""
    if "slow" in str(config.option.markexpr):
        return
    slow = [item for item in items if item.get_closest_marker("slow") is not None]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
