"""Objects of a module's DWARF that only declares the kernel's structs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import drgn
import pytest

import postmortem
from postmortem.dump.completing import complete_declarations
from tests.conftest import machine_named


@pytest.fixture(scope="module")
def prog() -> Iterator[Any]:
    """A program of this file's own: it gets finders that no other test wants."""
    with postmortem.open(machine_named("6.12-null-chain").path) as case:
        module_variables(case.prog)
        complete_declarations(case.prog)
        yield case.prog


def module_variables(prog: drgn.Program) -> None:
    """Variables as the DWARF of a module would give them: ``list_head`` is but declared."""
    declared = prog.pointer_type(prog.struct_type("list_head"))
    own = prog.struct_type(
        "pm_own",
        16,
        (
            drgn.TypeMember(prog.int_type("int", 4, True), "number"),
            drgn.TypeMember(declared, "list", 64),
        ),
    )
    head = prog.symbol("modules").address
    types: dict[str, Any] = {
        "first": declared,
        "table": prog.array_type(declared, 2),
        "record": own,
        "other": prog.pointer_type(prog.struct_type("nobody_has_it")),
    }

    def find(
        prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        kind = types.get(name)
        return None if kind is None else drgn.Object(prog, kind, address=head)

    prog.register_object_finder("dwarf of a module", find, enable_index=0)


def test_what_a_module_declares_is_whole(prog: Any) -> None:
    head = prog["modules"].address_of_()
    # struct list_head.next is at its start: the word at "modules" points to the first module.
    assert prog["first"].prev.value_() == head.value_()
    assert prog["table"][0].prev.value_() == head.value_()
    assert prog["record"].list.type_.type.is_complete()
    assert prog["record"].number.type_.type_name() == "int"


def test_what_nobody_has_stays_declared(prog: Any) -> None:
    complete_declarations(prog)  # a second time does nothing
    assert not prog["other"].type_.type.is_complete()
    assert prog["init_task"].pid.value_() == 0
