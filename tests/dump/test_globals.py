"""A global variable gets the type it has in this kernel, or none."""

from __future__ import annotations

import drgn
import pytest

from postmortem.dump.globals import global_variable, only_one
from postmortem.dump.globals_table import GLOBALS
from tests.dump.synthetic import Memory

AT = 0xFFFFFFFF82000000
LOCAL, GLOBAL = drgn.SymbolBinding.LOCAL, drgn.SymbolBinding.GLOBAL


def symbol(
    size: int, at: int = AT, binding: drgn.SymbolBinding = LOCAL, name: str = "x"
) -> drgn.Symbol:
    return drgn.Symbol(name, at, size, binding, drgn.SymbolKind.OBJECT)


def program(*, with_list: bool = True, data: bytes = b"") -> drgn.Program:
    """Knows ``struct file_system_type``, with or without the list of newer kernels."""
    memory = Memory()
    memory.put(AT, data or bytes(4096))
    prog = memory.prog
    pointer = prog.pointer_type(prog.void_type())
    known = {
        "hlist_head": prog.struct_type("hlist_head", 8, [drgn.TypeMember(pointer, "first")]),
        "file_system_type": prog.struct_type(
            "file_system_type", 8, [drgn.TypeMember(pointer, "list" if with_list else "next")]
        ),
        "list_head": prog.struct_type("list_head", 16, [drgn.TypeMember(pointer, "next")]),
    }
    prog.register_type_finder("t", lambda p, k, name, f: known.get(name), enable_index=0)
    return prog


def typed(
    monkeypatch: pytest.MonkeyPatch, spec: str, *symbols: drgn.Symbol, **given: object
) -> str | None:
    """What the table entry ``spec`` makes of these symbols."""
    monkeypatch.setitem(GLOBALS, "x", spec)
    prog = program(**given)  # type: ignore[arg-type]
    found, _symbol = global_variable(prog, "x", symbols, {"COUNT": 3}.get)
    return None if found is None else found.type_name()


def test_a_name_that_is_not_in_the_table_has_no_type() -> None:
    assert global_variable(program(), "no_such", [symbol(8)], lambda _: None) == (None, None)


@pytest.mark.parametrize(
    ("spec", "size", "expected"),
    [
        ("int", 4, "int"),
        ("int", 8, "int"),
        ("long", 4, None),
        ("int", 0, "int"),
        ("int [*]", 20, "int [5]"),
        ("int [COUNT]", 64, "int [3]"),
        ("int [NO_SUCH]", 64, None),
        ("int [2][3] | int [2][2]", 16, "int [2][2]"),
        ("struct missing | int", 8, "int"),
        ("struct missing", 8, None),
        ("char []", 8, "char []"),
        ("char [*]", 64 << 20, "char []"),
    ],
)
def test_a_type_must_exist_and_fit_the_symbol(
    monkeypatch: pytest.MonkeyPatch, spec: str, size: int, expected: str | None
) -> None:
    assert typed(monkeypatch, spec, symbol(size)) == expected


def test_padding_at_the_end_of_an_array_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\x01\0\0\0" * 3 + bytes(4084)
    assert typed(monkeypatch, "int [~]", symbol(64), data=data) == "int [3]"


@pytest.mark.parametrize(
    ("with_list", "expected"), [(True, "struct hlist_head"), (False, "struct file_system_type *")]
)
def test_a_condition_tells_types_of_one_size_apart(
    monkeypatch: pytest.MonkeyPatch, with_list: bool, expected: str
) -> None:
    spec = GLOBALS["file_systems"]
    assert typed(monkeypatch, spec, symbol(8), with_list=with_list) == expected


def test_a_struct_without_a_name_is_laid_out_as_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GLOBALS, "x", "struct { char a; long b; int c; }")
    found, _symbol = global_variable(program(), "x", [symbol(64)], lambda _: None)
    assert found is not None
    assert [(m.name, m.bit_offset // 8) for m in found.members] == [("a", 0), ("b", 8), ("c", 16)]
    assert found.size == 24


# --- names that several variables share ---------------------------------------------


def test_two_static_variables_that_both_fit_are_not_told_apart() -> None:
    assert only_one([symbol(16), symbol(16, AT + 64)], 16) is None


def test_the_global_variable_is_meant_and_not_a_static_one() -> None:
    shared = symbol(64, AT + 64, GLOBAL)
    assert only_one([symbol(16), shared], 16) == shared


def test_the_one_that_is_large_enough_is_meant() -> None:
    large = symbol(32, AT + 64)
    assert only_one([symbol(8), large], 16) == large


def test_of_two_that_fit_the_exact_one_is_meant() -> None:
    exact = symbol(16)
    assert only_one([symbol(64, AT + 64), exact], 16) == exact


def test_no_symbol_no_variable() -> None:
    assert only_one([], 4) is None


# --- the table itself ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["init_task", "modules", "prb", "slab_caches", "runqueues"])
def test_the_table_has_what_every_analysis_needs(name: str) -> None:
    assert name in GLOBALS


def test_every_type_in_the_table_is_c() -> None:
    prog = program()
    for name, spec in GLOBALS.items():
        for text in spec.split(" | "):
            plain = text.split(" if ")[0].replace("[*]", "[1]").replace("[~]", "[1]")
            declarations = (
                [part.rpartition(" ")[0] for part in plain[8:-1].split(";") if part.strip()]
                if plain.startswith("struct {")
                else [plain.split("[")[0]]
            )
            for declaration in declarations:
                try:
                    prog.type(declaration.strip())
                except LookupError:
                    continue  # C, but of a kernel
                except SyntaxError as exc:
                    pytest.fail(f"{name}: {declaration}: {exc}")
