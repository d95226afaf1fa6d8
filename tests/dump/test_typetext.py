"""Each notation of the table means the type of C that it says."""

from __future__ import annotations

import drgn
import pytest

from postmortem.dump.typetext import TypeText
from tests.dump.synthetic import Memory


def texts() -> TypeText:
    """A program that knows ``struct foo`` and the enumerators of an enum without a name."""
    prog = Memory().prog
    members = [drgn.TypeMember(prog.int_type("int", 4, True), "x")]
    known = {"foo": prog.struct_type("foo", 4, members)}
    prog.register_type_finder("t", lambda p, k, name, f: known.get(name), enable_index=0)
    number = prog.int_type("unsigned int", 4, False)
    enum = prog.enum_type(None, number, [drgn.TypeEnumerator("COUNT", 3)])
    count = drgn.Object(prog, enum, 3)
    return TypeText(prog, lambda name: count if name == "COUNT" else None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", "int"),
        ("unsigned long", "unsigned long"),
        ("*void", "void *"),
        ("*const char", "const char *"),
        ("const *char", "char * const"),
        ("volatile unsigned long", "volatile unsigned long"),
        ("struct foo", "struct foo"),
        ("[2][3]int", "int [2][3]"),
        ("*[3]int", "int (*)[3]"),
        ("[3]*int", "int *[3]"),
        ("[]const char", "const char []"),
        ("[*]int", "int [5]"),
        ("[COUNT]int", "int [3]"),
        ("*fn()void", "void (*)(void)"),
        ("*fn(int,*struct foo)*char", "char *(*)(int, struct foo *)"),
        ("*fn(*const char,...)int", "int (*)(const char *, ...)"),
        ("*fn(*fn(int)void)void", "void (*)(void (*)(int))"),
        ("[2]*fn(int)void", "void (*[2])(int)"),
    ],
)
def test_a_text_is_a_type(text: str, expected: str) -> None:
    assert texts().type(text, 20).type_name() == expected


def test_a_struct_without_a_name_has_its_members_where_they_are() -> None:
    found = texts().type("struct 24{a@0 char;b@64 [2]*int;})".rstrip(")"))
    assert (found.tag, found.size) == (None, 24)
    assert [(m.name, m.bit_offset, m.type.type_name()) for m in found.members] == [
        ("a", 0, "char"),
        ("b", 64, "int *[2]"),
    ]


def test_bit_fields_and_unions_without_a_name() -> None:
    found = texts().type("struct 8{@0 union 4{n@0 int;c@0 char;};f@35:5 unsigned int;}")
    inner, field = found.members
    assert inner.name is None
    assert [member.name for member in inner.type.members] == ["n", "c"]
    assert (field.bit_offset, field.bit_field_size) == (35, 5)


def test_an_enum_without_a_name_is_known_by_what_it_has() -> None:
    found = texts().type("[2]enum{COUNT}")
    assert [e.name for e in found.type.enumerators] == ["COUNT"]


@pytest.mark.parametrize("text", ["struct bar", "*struct bar if", "enum{OTHER}", "[OTHER]int"])
def test_what_the_program_lacks_is_missing(text: str) -> None:
    with pytest.raises(LookupError):
        texts().type(text.removesuffix(" if").replace("*", ""))


@pytest.mark.parametrize("text", ["", "*", "[3", "int)", "struct 4{x int;}", "struct 4{x@0 int}"])
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(SyntaxError):
        texts().type(text)


def test_a_member_that_is_larger_here_moves_those_behind_it() -> None:
    """The table is of kernels in which ``struct foo`` had 2 bytes: another configuration."""
    found = texts().type("struct 8{a@0 struct foo;b@16 char;c@32 int;}")
    assert [(m.name, m.bit_offset) for m in found.members] == [("a", 0), ("b", 32), ("c", 64)]
    assert found.size == 12
