"""Variables of the committed dumps have the types that the kernels' DWARF gives them.

``variables.json`` was written by drgn from the vmlinux files of Debian's debug packages:
the type as C writes it, and its bytes. Nothing of it went through the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import drgn
import pytest

from postmortem.dump.core import open_core
from postmortem.dump.selfdescribe import describe

DUMPS = Path(__file__).parents[2] / "corpus" / "dumps"
TRUTH: dict[str, dict[str, tuple[str, int]]] = json.loads(
    (Path(__file__).with_name("variables.json")).read_text()
)


@pytest.fixture(scope="module", params=["5.10", "6.1", "6.12", "7.2"])
def kernel(request: pytest.FixtureRequest) -> Iterator[tuple[str, drgn.Program]]:
    path = sorted(DUMPS.glob(f"{request.param}-*.vmcore.*"))[0]
    core = open_core(path)
    describe(core.program, dict(core.info.vmcoreinfo))
    yield request.param, core.program


def _without_const(name: str) -> str:
    # A qualifier of an array is one of its elements.
    return re.sub(r"\bconst\b|\s+", "", name)


def test_types_and_sizes_are_those_of_dwarf(kernel: tuple[str, drgn.Program]) -> None:
    name, prog = kernel
    wrong = {}
    for variable, (type_name, size) in TRUTH[name].items():
        try:
            found = prog.variable(variable)
        except LookupError:
            wrong[variable] = "not found"
            continue
        its = found.type_.type_name()
        agree = type_name == "anonymous" or _without_const(its) == _without_const(type_name)
        if not agree or drgn.sizeof(found) != size:
            wrong[variable] = f"{its} of {drgn.sizeof(found)} bytes, not {type_name} of {size}"
    assert not wrong


def test_a_variable_is_where_its_symbol_is(kernel: tuple[str, drgn.Program]) -> None:
    name, prog = kernel
    for variable in TRUTH[name]:
        found = prog.variable(variable)
        assert found.address_ in {symbol.address for symbol in prog.symbols(variable)}
