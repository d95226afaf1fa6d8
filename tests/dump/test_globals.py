"""A global variable gets the type it has in this kernel, or none."""

from __future__ import annotations

from pathlib import Path

import drgn
import pytest

from postmortem.dump.globals import GlobalVariables, only_one
from postmortem.dump.globals_file import Candidate, Marks, VariableFile, write_file, write_line
from postmortem.dump.globals_table import GLOBALS
from postmortem.dump.typetext import TypeText
from tests.dump.synthetic import Memory

AT = 0xFFFFFFFF82000000
LOCAL, GLOBAL = drgn.SymbolBinding.LOCAL, drgn.SymbolBinding.GLOBAL
OLD, NEW = 1, 2
"""Masks of two kernels: only the new one has ``struct maple_tree``."""


def symbol(
    size: int, at: int = AT, binding: drgn.SymbolBinding = LOCAL, name: str = "x"
) -> drgn.Symbol:
    return drgn.Symbol(name, at, size, binding, drgn.SymbolKind.OBJECT)


def program(*, with_list: bool = True) -> drgn.Program:
    """Knows ``struct file_system_type``, with or without the list of newer kernels."""
    prog = Memory().prog
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


def variables(
    tmp_path: Path, *candidates: Candidate, structs: tuple[str, ...] = ()
) -> GlobalVariables:
    """A table with the variable ``x`` only."""
    path = tmp_path / "table"
    marks = Marks(("maple_tree",), (0, 1))
    path.write_bytes(write_file([write_line("x", candidates)], marks=marks))
    return GlobalVariables(
        program(), lambda name: None, lambda name: name in structs, VariableFile(path)
    )


def typed(
    tmp_path: Path,
    *candidates: Candidate,
    sizes: tuple[int, ...],
    structs: tuple[str, ...] = (),
    owner: str = "",
) -> str | None:
    """What these candidates make of symbols of these sizes."""
    symbols = [symbol(size, AT + 256 * number) for number, size in enumerate(sizes)]
    found = variables(tmp_path, *candidates, structs=structs).find("x", symbols, owner)
    return None if found is None else found.type.type_name()


def test_a_name_that_is_not_in_the_table_has_no_type(tmp_path: Path) -> None:
    assert variables(tmp_path, Candidate("int")).find("no_such", [symbol(8)]) is None


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("int", 4, "int"),
        ("int", 8, "int"),
        ("long", 4, None),
        ("int", 0, "int"),
        ("[*]int", 20, "int [5]"),
        ("[*]int", 0, None),
        ("[*]char", 64 << 20, None),
        ("struct missing", 8, None),
        ("[]char", 8, "char []"),
        ("[8]int", 16, "int [4]"),
    ],
)
def test_a_type_must_exist_and_fit_the_symbol(
    tmp_path: Path, text: str, size: int, expected: str | None
) -> None:
    assert typed(tmp_path, Candidate(text), sizes=(size,)) == expected


def test_where_kernels_differ_the_type_is_taken_that_exists(tmp_path: Path) -> None:
    candidates = (
        Candidate("struct missing", ("",), NEW),
        Candidate("struct list_head", ("",), OLD),
    )
    assert typed(tmp_path, *candidates, sizes=(16,)) == "struct list_head"


@pytest.mark.parametrize(
    ("structs", "expected"), [((), "struct hlist_head"), (("maple_tree",), "void *")]
)
def test_of_types_of_one_size_that_of_the_kernel_most_alike_is_taken(
    tmp_path: Path, structs: tuple[str, ...], expected: str
) -> None:
    candidates = (Candidate("struct hlist_head", ("",), OLD), Candidate("*void", ("",), NEW))
    assert typed(tmp_path, *candidates, sizes=(8,), structs=structs) == expected


def test_padding_does_not_make_a_variable_that_of_another_kernel(tmp_path: Path) -> None:
    candidates = (Candidate("long", ("",), NEW), Candidate("int", ("",), OLD))
    assert typed(tmp_path, *candidates, sizes=(8,)) == "int"


def test_static_variables_of_one_name_are_told_apart_by_size(tmp_path: Path) -> None:
    candidates = (Candidate("struct list_head"), Candidate("int"))
    assert typed(tmp_path, *candidates, sizes=(4, 16)) == "struct list_head"


def test_a_module_has_its_own(tmp_path: Path) -> None:
    candidates = (Candidate("int"), Candidate("long", ("ext4",)))
    assert typed(tmp_path, *candidates, sizes=(8,), owner="ext4") == "long"
    assert typed(tmp_path, *candidates, sizes=(8,), owner="xfs") is None
    assert variables(tmp_path, *candidates).owners("x") == {"ext4"}


@pytest.mark.parametrize(("size", "expected"), [(4, "int"), (8, None)])
def test_symbols_of_modules_have_no_padding(
    tmp_path: Path, size: int, expected: str | None
) -> None:
    assert typed(tmp_path, Candidate("int", ("*",)), sizes=(size,), owner="ext4") == expected


@pytest.mark.parametrize(
    ("with_list", "expected"), [(True, "struct hlist_head"), (False, "struct file_system_type *")]
)
def test_a_condition_tells_types_of_one_size_apart(with_list: bool, expected: str) -> None:
    known = GlobalVariables(program(with_list=with_list), lambda _: None, lambda _: False)
    found = known.find("file_systems", [symbol(8)])
    assert found is not None
    assert found.type.type_name() == expected


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


# --- the tables themselves -----------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["init_task", "modules", "prb", "slab_caches", "runqueues", "nf_conntrack_hash"]
)
def test_the_table_has_what_every_analysis_needs(name: str) -> None:
    assert VariableFile().candidates(name)


@pytest.mark.parametrize("name", ["event_sched_switch", "__tracepoint_sched_switch"])
def test_the_table_knows_what_macros_make(name: str) -> None:
    assert VariableFile().candidates(name)


def test_the_table_is_sorted_and_holds_each_name_once() -> None:
    names = list(VariableFile().names())
    assert names == sorted(set(names))


def test_every_type_in_the_tables_is_one() -> None:
    prog = Memory().prog
    word = prog.int_type("int", 4, True)

    def anything(
        prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> drgn.Type | None:
        member = drgn.TypeMember(word, "x")
        if drgn.TypeKind.STRUCT in kinds:
            return prog.struct_type(name, 4, [member])
        if drgn.TypeKind.UNION in kinds:
            return prog.union_type(name, 4, [member])
        if drgn.TypeKind.ENUM in kinds:
            return prog.enum_type(name, word, [drgn.TypeEnumerator("X", 1)])
        return prog.typedef_type(name, word) if drgn.TypeKind.TYPEDEF in kinds else None

    prog.register_type_finder("anything", anything, enable_index=0)
    texts = TypeText(prog, lambda name: drgn.Object(prog, word, 1))
    file = VariableFile()
    written = {found.type for name in file.names() for found in file.candidates(name)}
    for spec in GLOBALS.values():
        written |= {text.split(" if ")[0] for text in spec.split(" | ")}
    for text in written:
        texts.type(text, 64)
