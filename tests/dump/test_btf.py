"""BTF becomes the types that the compiler meant, and damaged BTF becomes a BtfError."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from pathlib import Path

import drgn
import pytest

from postmortem.dump.btf import STRUCT, Btf, BtfError, BtfTypes
from postmortem.dump.btf_index import type_places
from postmortem.dump.selfdescribe import _read_btf
from tests.conftest import machine_named
from tests.dump import synthetic as s

STRUCTS = drgn.TypeKindSet({drgn.TypeKind.STRUCT})
ROOT = Path(__file__).parents[2]


def program() -> drgn.Program:
    memory = s.Memory()
    memory.put(0, bytes(range(256)) * 16)
    return memory.prog


def types_of(writer: s.BtfWriter) -> BtfTypes:
    return BtfTypes(program(), Btf(writer.data()))


def shown(writer: s.BtfWriter, type_id: int) -> str:
    return str(types_of(writer).type(type_id))


# --- what the format says -------------------------------------------------------


def test_a_struct_has_its_members_where_they_are() -> None:
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    task = w.struct("task", 16, ("pid", number, 0), ("tgid", number, 64))
    found = types_of(w).type(task)
    assert [(m.name, m.bit_offset // 8) for m in found.members] == [("pid", 0), ("tgid", 8)]
    assert found.size == 16


def test_a_bit_field_is_read_by_its_bits() -> None:
    w = s.BtfWriter()
    number = w.int("unsigned int", 4)
    flags = w.struct("flags", 4, ("low", number, 0, 4), ("high", number, 4, 4))
    prog = program()
    value = drgn.Object(prog, BtfTypes(prog, Btf(w.data())).type(flags), address=0x53)
    assert (value.low.value_(), value.high.value_()) == (3, 5)


@pytest.mark.parametrize(
    ("kind", "text"),
    [(s.CONST, "const int"), (s.VOLATILE, "volatile int"), (s.TYPE_TAG, "int")],
)
def test_qualifiers_and_tags(kind: int, text: str) -> None:
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    qualified = w.add(kind, "", number)
    assert types_of(w).type(qualified).type_name() == text


def test_a_union_a_typedef_a_pointer_and_an_array() -> None:
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    value = w.struct("value", 8, ("i", number, 0), kind=s.UNION)
    value_t = w.add(s.TYPEDEF, "value_t", value)
    array = w.array(w.pointer(value_t), 3)
    types = types_of(w)
    assert types.type(array).type_name() == "value_t *[3]"
    assert types.type(value).kind == drgn.TypeKind.UNION


def test_an_array_of_zero_at_the_end_is_flexible() -> None:
    w = s.BtfWriter()
    letter = w.int("char", 1)
    number = w.int("int", 4, s.SIGNED)
    text = w.struct("text", 4, ("length", number, 0), ("bytes", w.array(letter, 0), 32))
    assert types_of(w).type(text).members[1].type.length is None


def test_a_function_with_variable_arguments() -> None:
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    printk = w.function(number, ("level", number), ("", 0))
    found = types_of(w).type(printk)
    assert (len(found.parameters), found.is_variadic) == (1, True)


def test_the_flag_says_that_an_enum_is_signed() -> None:
    w = s.BtfWriter()
    state = w.enum("state", {"BAD": -1, "GOOD": 0}, signed=True)
    mask = w.enum("mask", {"NONE": 0, "ALL": 0xFFFFFFFF})
    types = types_of(w)
    assert [e.value for e in types.type(state).enumerators] == [-1, 0]
    assert [e.value for e in types.type(mask).enumerators] == [0, 0xFFFFFFFF]


def test_without_any_flag_a_small_negative_number_is_taken_as_one() -> None:
    w = s.BtfWriter()
    state = w.enum("state", {"BAD": -1, "GOOD": 0})
    flags = w.enum("flags", {"TOP": 1 << 31})
    types = types_of(w)
    assert types.type(state).enumerators[0].value == -1
    assert types.type(flags).enumerators[0].value == 1 << 31


def test_an_enum64_has_both_halves() -> None:
    w = s.BtfWriter()
    big = w.add(s.ENUM64, "big", 8, w.name("TOP"), 1, 0x80000000, vlen=1)
    assert types_of(w).type(big).enumerators[0].value == 0x8000000000000001


@pytest.mark.parametrize(("encoding", "signed"), [(0, True), (s.SIGNED, False)])
def test_a_plain_char_is_signed_where_signed_char_lost_its_sign(
    encoding: int, signed: bool
) -> None:
    w = s.BtfWriter()
    w.int("signed char", 1, encoding)
    char = w.int("char", 1)
    assert types_of(w).type(char).is_signed is signed


def test_a_constant_is_found_by_its_name() -> None:
    w = s.BtfWriter()
    w.enum("", {"FIRST": 1})
    w.enum("", {"SECOND": 2, "THIRD": 3})
    constant = types_of(w).constant("THIRD")
    assert constant is not None
    assert constant.value_() == 3


def test_a_type_is_found_by_kind_and_name() -> None:
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    w.add(s.TYPEDEF, "task", number)
    w.struct("task", 4, ("pid", number, 0))
    found = types_of(w).find(STRUCTS, "task")
    assert found is not None
    assert found.kind == drgn.TypeKind.STRUCT


def test_a_declaration_is_completed_by_the_definition() -> None:
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    declared = w.pointer(w.add(s.FWD, "task", 0))
    w.struct("task", 4, ("pid", number, 0))
    types: BtfTypes
    types = BtfTypes(program(), Btf(w.data()), lambda name: types.find(STRUCTS, name.split()[1]))
    assert types.type(declared).type.is_complete()


def test_a_module_goes_on_where_vmlinux_ends() -> None:
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    base = types_of(w)
    m = s.BtfWriter(base.btf.end_id, base.btf.string_end)
    m.struct("session", 4, ("peer", number, 0))
    types = base.continued(Btf(m.data(), base.btf))
    found = types.find(STRUCTS, "session")
    assert found is not None
    assert found.members[0].type.type_name() == "int"


# --- what it must not say -----------------------------------------------------------


def writer_with_int() -> tuple[s.BtfWriter, int]:
    w = s.BtfWriter()
    return w, w.int("int", 4, s.SIGNED)


@pytest.mark.parametrize("kind", [s.TYPEDEF, s.CONST, s.PTR])
def test_a_type_that_is_itself_is_refused(kind: int) -> None:
    w = s.BtfWriter()
    loop = w.add(kind, "loop" if kind == s.TYPEDEF else "", 1)
    with pytest.raises(BtfError):
        types_of(w).type(loop)


def test_a_struct_inside_itself_is_refused() -> None:
    w = s.BtfWriter()
    w.struct("egg", 8, ("hen", 1, 0))
    with pytest.raises(BtfError, match="itself"):
        _ = types_of(w).type(1).members[0].type


def test_two_structs_inside_each_other_are_refused() -> None:
    w = s.BtfWriter()
    w.struct("egg", 8, ("hen", 2, 0))
    w.struct("hen", 8, ("egg", 1, 0))
    with pytest.raises(BtfError, match="itself"):
        _ = types_of(w).type(1).members[0].type


def test_a_struct_that_wraps_another_of_its_size_is_fine() -> None:
    w, number = writer_with_int()
    inner = w.struct("inner", 4, ("i", number, 0))
    outer = w.struct("outer", 4, ("inner", inner, 0))
    assert types_of(w).type(outer).members[0].type.tag == "inner"


def test_a_function_that_takes_itself_is_refused() -> None:
    w = s.BtfWriter()
    function = w.function(0, ("itself", 2))
    w.pointer(function)
    with pytest.raises(BtfError, match="itself"):
        _ = types_of(w).type(function).parameters[0].type


@pytest.mark.parametrize(
    ("offset", "bits"), [(8, 0), (1 << 20, 0), (0, 33), (31, 2)], ids=["size", "far", "wide", "end"]
)
def test_a_member_outside_its_struct_is_refused(offset: int, bits: int) -> None:
    w, number = writer_with_int()
    member = ("i", number, offset, bits) if bits else ("i", number, offset)
    task = w.struct("task", 4, member)
    with pytest.raises(BtfError, match="fit"):
        _ = types_of(w).type(task).members[0].type


def test_a_huge_struct_is_refused() -> None:
    w, number = writer_with_int()
    huge = w.struct("huge", 1 << 31, ("i", number, 0))
    with pytest.raises(BtfError, match="bytes"):
        types_of(w).type(huge)


def test_a_huge_array_is_refused() -> None:
    w, number = writer_with_int()
    array = w.array(w.array(number, 0xFFFFFFFF), 0xFFFFFFFF)
    with pytest.raises(BtfError, match="memory"):
        types_of(w).type(array)


@pytest.mark.parametrize("type_id", [5, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_reference_to_nothing_is_refused(type_id: int) -> None:
    w = s.BtfWriter()
    pointer = w.pointer(type_id)
    with pytest.raises(BtfError, match="no type"):
        types_of(w).type(pointer)


def test_a_name_outside_the_strings_is_refused() -> None:
    w, _number = writer_with_int()
    data = bytearray(w.data())
    data[24:28] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(BtfError, match="string"):
        BtfTypes(program(), Btf(bytes(data))).type(1)


def test_a_name_without_end_is_refused() -> None:
    w = s.BtfWriter()
    w.int("x" * 4000, 4)
    with pytest.raises(BtfError, match="string"):
        types_of(w).type(1)


def test_types_before_an_unknown_kind_stay_good() -> None:
    w, number = writer_with_int()
    w.struct("task", 4, ("pid", number, 0))
    w.add(30, "new", 0)
    types = types_of(w)
    assert types.find(STRUCTS, "task") is not None
    assert "unknown kind 30" in types.btf.damage


def test_the_last_type_may_be_cut_off() -> None:
    w, number = writer_with_int()
    w.add(s.STRUCT, "task", 4, vlen=1000)
    btf = Btf(w.data())
    assert btf.end_id == number + 1
    assert "cut off" in btf.damage


@pytest.mark.parametrize("length", [0, 4, 23, 24, 40, 60])
def test_truncated_sections_are_refused(length: int) -> None:
    w, number = writer_with_int()
    w.struct("task", 4, ("pid", number, 0))
    with pytest.raises(BtfError):
        Btf(w.data()[:length])


def test_strings_that_repeat_without_end_do_not_last() -> None:
    w, _number = writer_with_int()
    w.strings += b"a\0" * 500_000
    btf = Btf(w.data())
    assert btf.find(s.STRUCT, "a") is None


FUZZ = """
import random, sys
import drgn
from postmortem.dump.btf import Btf, BtfError, BtfTypes
from postmortem.dump.btf_index import type_places
from tests.dump.test_btf import program, sample

for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    noise = random.Random(seed)
    data = bytearray(sample())
    for _ in range(noise.choice([1, 3, 30])):
        at = noise.randrange(24, len(data))
        data[at] = noise.choice([0, 1, 2, 3, 4, 5, 8, 0x80, 0xFF, noise.randrange(256)])
    prog = program()
    try:
        types = BtfTypes(prog, Btf(bytes(data)))
    except BtfError:
        continue
    prog.register_type_finder("t", lambda p, k, n, f: types.find(k, n), enable_index=0)
    for type_id in range(1, types.btf.end_id):
        try:
            found = types.type(type_id)
            str(found), found.type_name()
            if found.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION, drgn.TypeKind.ARRAY):
                if drgn.sizeof(found) < 4096:
                    str(drgn.Object(prog, found, address=0))
        except (LookupError, drgn.FaultError, TypeError):
            pass
print("survived")
"""


def sample() -> bytes:
    """A section with every kind of type, to be damaged."""
    w, number = writer_with_int()
    letter = w.int("char", 1)
    inner = w.struct("inner", 8, ("a", number, 0), ("b", number, 32))
    outer = w.struct("outer", 16, ("inner", inner, 0), ("bits", number, 64, 3))
    union = w.struct("", 8, ("x", inner, 0), ("y", number, 0), kind=s.UNION)
    anonymous = w.struct("", 24, ("", union, 0), ("o", outer, 64))
    pointer = w.pointer(anonymous)
    array = w.array(pointer, 2)
    typedef = w.add(s.TYPEDEF, "alias", array)
    const = w.add(s.CONST, "", typedef)
    function = w.function(const, ("p", pointer), ("c", letter))
    w.struct(
        "all", 64, ("f", w.pointer(function), 0), ("c", const, 64), ("t", w.array(letter, 0), 192)
    )
    w.enum("state", {"A": 1, "B": 2})
    w.add(s.FWD, "outer", 0)
    return w.data()


def test_drgn_survives_whatever_damaged_types_say() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, "0", "400"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr


@functools.cache
def real() -> bytes:
    """The section of a real kernel."""
    return _read_btf(machine_named("6.12-null-chain").prog, 0)[1].data


@pytest.mark.parametrize("at", range(0, 24, 4))
def test_one_bad_word_of_the_header_costs_no_type(at: int) -> None:
    whole = Btf(real())
    damaged = Btf(real()[:at] + b"\xa5\x5a\xa5\x5a" + real()[at + 4 :])
    assert damaged.end_id == whole.end_id
    assert damaged.members(damaged.find(STRUCT, "task_struct") or 0)[0].name == "thread_info"
    assert "by their shape" in damaged.damage


@pytest.mark.parametrize("size", [4, 4096])
def test_types_behind_a_damaged_one_keep_their_ids(size: int) -> None:
    """Ids are nothing but positions: one type too few would make every later one another."""
    whole = Btf(real())
    at = 24 + 4 * whole._where[40_000] + 4  # its kind
    damaged = Btf(real()[:at] + bytes(size) + real()[at + size :])
    assert "are lost" in damaged.damage
    assert damaged.end_id == whole.end_id
    last = next(reversed(list(whole.ids(STRUCT))))
    assert (damaged.head(last), damaged.members(last)) == (whole.head(last), whole.members(last))


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_types_around_lost_pages_keep_their_ids(share: float) -> None:
    """Members of those that remain are of the same types, and no name is cut off."""
    chance = random.Random(f"{share}")
    whole, data = Btf(real()), bytearray(real())
    pages = [at for at in range(0x1000, len(data), 0x1000) if chance.random() < share]
    for at in pages:
        data[at : at + 0x1000] = bytes(len(data[at : at + 0x1000]))
    damaged = Btf(bytes(data), holes=[(at, min(at + 0x1000, len(data))) for at in pages])
    assert damaged.end_id == whole.end_id
    assert "are lost in" in damaged.damage
    same = 0
    for type_id in list(whole.ids(STRUCT))[::7]:
        try:
            found = damaged.head(type_id), damaged.members(type_id)
        except BtfError:
            continue
        true = whole.head(type_id), whole.members(type_id)
        if found[0][0] == 0:  # lost
            continue
        assert found[0][2:] == true[0][2:]
        assert [m[1:] for m in found[1]] == [m[1:] for m in true[1]]
        names = zip((m.name for m in found[1]), (m.name for m in true[1]), strict=True)
        assert all(a == b or (a or "").startswith("lost_name_") for a, b in names)
        same += 1
    assert same > 0.8 * len(list(whole.ids(STRUCT))[::7])


def test_a_sorted_section_with_holes_is_numbered_by_the_kernels_list() -> None:
    """In BTF that is sorted by name (v7.0) hardly any type refers to its neighbours."""
    prog = machine_named("7.2-healthy-idle").prog
    start, found = _read_btf(prog, 0)
    whole, data = Btf(found.data), bytearray(found.data)
    chance = random.Random("sorted")
    pages = [at for at in range(0x1000, len(data), 0x1000) if chance.random() < 0.01]
    for at in pages:
        data[at : at + 0x1000] = bytes(len(data[at : at + 0x1000]))
    holes = [(at, min(at + 0x1000, len(data))) for at in pages]
    damaged = Btf(bytes(data), holes=holes, places=lambda: type_places(prog, start, len(data)))
    assert damaged.end_id == whole.end_id
    assert damaged.damage.endswith("are lost")
    kept = [type_id for type_id in whole.ids(STRUCT) if damaged.kind(type_id)[0] == STRUCT]
    assert len(kept) > 0.95 * len(list(whole.ids(STRUCT)))
    assert all(damaged.head(type_id)[2:] == whole.head(type_id)[2:] for type_id in kept)


def test_a_list_of_types_that_is_damaged_is_believed_only_where_it_rises() -> None:
    """One pointer of the kernel's list leads nowhere, one to another type."""
    whole, data = Btf(real()), bytearray(real())
    places = [0, *(24 + 4 * at for at in whole._where)]
    at = places[40_000]
    data[at + 4 : at + 8] = bytes(4)  # its kind
    places[40_005], places[40_010] = 0, places[40_010] + 2
    damaged = Btf(bytes(data), places=lambda: places)
    assert damaged.end_id == whole.end_id
    same = [damaged.head(n) == whole.head(n) for n in range(1, whole.end_id)]
    assert same.count(False) == 1


def test_a_kernel_without_a_list_of_its_types() -> None:
    """No module and no BPF program had asked for types on this machine of 5.10."""
    prog = machine_named("5.10-sysrq-crash").prog
    assert type_places(prog, prog.symbol("__start_BTF").address, 1 << 20) == ()
