"""The decoder answers as kallsyms was written, in every layout, and survives what is not one."""

from __future__ import annotations

import random
import struct

import drgn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.dump.kallsyms import ModuleSymbols, VmlinuxSymbols, vmlinux_symbols
from tests.dump.synthetic import Kallsyms, Memory, kallsyms

STEXT = 0xFFFFFFFF81000000
RODATA = STEXT + 0x200000
LAYOUTS = [("old", False), ("old", True), ("new", True), ("place", True)]
every_layout = pytest.mark.parametrize(("layout", "ranks"), LAYOUTS)


def symbols_of(count: int = 3000, *, percpu: bool = True) -> list[tuple[str, str, int]]:
    """Functions of 0x40 bytes, with per-CPU symbols before and a few special ones."""
    symbols = [("A", "fixed_percpu_data", 0), ("A", "runqueues", 0x1000)] if percpu else []
    symbols += [("T", "_stext", STEXT), ("T", "_text", STEXT)]
    symbols += [
        ("t", f"task_function_{number}", STEXT + 0x40 * (number + 1)) for number in range(count)
    ]
    symbols += [
        ("d", "list", RODATA + 0x100000),
        ("D", "init_task", RODATA + 0x100010),
        ("d", "list", RODATA + 0x102000),
        ("W", "weak_one", RODATA + 0x102010),
        ("t", "x" * 300, RODATA + 0x102020),
        ("B", "_end", RODATA + 0x103000),
    ]
    return symbols


def finder(table: Kallsyms, lines: dict[str, str] | None = None) -> VmlinuxSymbols:
    memory = Memory()
    memory.put(table.start, table.data)
    given_lines = table.lines if lines is None else lines
    return vmlinux_symbols(memory.prog, {"SYMBOL(_stext)": f"{STEXT:x}", **given_lines})


def table_of(layout: str, ranks: bool = True) -> Kallsyms:
    percpu = layout != "place"
    return kallsyms(symbols_of(percpu=percpu), RODATA, layout=layout, ranks=ranks)


def by_name(symbols: VmlinuxSymbols, name: str) -> list[drgn.Symbol]:
    return list(symbols(drgn.Program(), name, None, False))


def by_address(symbols: VmlinuxSymbols, address: int) -> list[str]:
    return [symbol.name for symbol in symbols(drgn.Program(), None, address, True)]


@every_layout
def test_a_name_gives_its_address(layout: str, ranks: bool) -> None:
    found = by_name(finder(table_of(layout, ranks)), "task_function_1234")
    assert [symbol.address for symbol in found] == [STEXT + 0x40 * 1235]


@every_layout
def test_an_address_inside_a_function_gives_its_name(layout: str, ranks: bool) -> None:
    assert by_address(finder(table_of(layout, ranks)), STEXT + 0x40 * 1235 + 0x3F) == [
        "task_function_1234"
    ]


@every_layout
def test_an_unknown_name_gives_nothing(layout: str, ranks: bool) -> None:
    assert by_name(finder(table_of(layout, ranks)), "no_such_symbol") == []


@every_layout
def test_all_symbols_come_in_order_of_address(layout: str, ranks: bool) -> None:
    expected = [(name, address) for _, name, address in symbols_of(percpu=layout != "place")]
    found = finder(table_of(layout, ranks))(drgn.Program(), None, None, False)
    assert [(symbol.name, symbol.address) for symbol in found] == expected


@every_layout
def test_the_table_is_found_without_vmcoreinfo(layout: str, ranks: bool) -> None:
    symbols = finder(table_of(layout, ranks), lines={})
    assert by_name(symbols, "init_task")[0].address == RODATA + 0x100010


@pytest.mark.parametrize("cut", [0, 0x18])
def test_the_table_is_found_without_its_index(cut: int) -> None:
    """A page is lost that has the index of tokens, and perhaps the last tokens, too."""
    table = table_of("old", False)
    shift = (cut - int(table.lines["SYMBOL(kallsyms_token_index)"], 16)) % 0x1000
    table = kallsyms(symbols_of(), RODATA + shift, layout="old", ranks=False)
    page = int(table.lines["SYMBOL(kallsyms_token_index)"], 16) & -0x1000
    memory = Memory()
    memory.put(table.start, table.data)
    memory.holes += [range(page, page + 0x1000)]
    symbols = vmlinux_symbols(memory.prog, {"SYMBOL(_stext)": f"{STEXT:x}"})
    assert right_and_wrong(symbols, range(0, 3000, 10)) == (300, 0)


def test_the_search_goes_down_from_the_data_section() -> None:
    lines = {"SYMBOL(init_uts_ns)": f"{RODATA + 0x300000:x}"}
    symbols = finder(table_of("old", False), lines)
    assert by_name(symbols, "init_task")[0].address == RODATA + 0x100010


def test_the_size_is_the_distance_to_the_next_address() -> None:
    assert by_name(finder(table_of("new")), "init_task")[0].size == 0x102000 - 0x100010


def test_a_size_that_spans_an_empty_range_is_unknown() -> None:
    assert by_name(finder(table_of("new")), "runqueues")[0].size == 0


def test_of_aliases_the_first_names_the_address() -> None:
    assert by_address(finder(table_of("new")), STEXT + 4) == ["_stext"]


def test_all_symbols_of_a_shared_name_are_given() -> None:
    found = by_name(finder(table_of("new")), "list")
    assert [symbol.address for symbol in found] == [RODATA + 0x100000, RODATA + 0x102000]


def test_small_numbers_are_no_per_cpu_variables() -> None:
    assert by_address(finder(table_of("new")), 0x1000) == []


def test_a_name_longer_than_127_codes_is_whole() -> None:
    assert len(by_name(finder(table_of("new")), "x" * 300)) == 1


@pytest.mark.parametrize(
    ("name", "binding", "kind"),
    [
        ("task_function_1", drgn.SymbolBinding.LOCAL, drgn.SymbolKind.FUNC),
        ("init_task", drgn.SymbolBinding.GLOBAL, drgn.SymbolKind.OBJECT),
        ("weak_one", drgn.SymbolBinding.WEAK, drgn.SymbolKind.UNKNOWN),
    ],
)
def test_the_letter_says_binding_and_kind(
    name: str, binding: drgn.SymbolBinding, kind: drgn.SymbolKind
) -> None:
    symbol = by_name(finder(table_of("new")), name)[0]
    assert (symbol.binding, symbol.kind) == (binding, kind)


def test_a_hole_in_the_names_costs_only_the_names_near_it() -> None:
    table = table_of("new")
    memory = Memory()
    memory.put(table.start, table.data)
    names = int(table.lines["SYMBOL(kallsyms_names)"], 16)
    hole = (names + 0x3000) & ~0xFFF
    memory.holes.append(range(hole, hole + 0x1000))
    symbols = vmlinux_symbols(memory.prog, {"SYMBOL(_stext)": f"{STEXT:x}", **table.lines})
    readable = [
        number
        for number in range(3000)
        if symbols(memory.prog, f"task_function_{number}", None, False)
    ]
    assert symbols.table.missing_bytes == 0x1000
    assert len(readable) > 2000


def with_holes(table: Kallsyms, holes: list[range]) -> VmlinuxSymbols:
    memory = Memory()
    memory.put(table.start, table.data)
    memory.holes += holes
    return vmlinux_symbols(memory.prog, {"SYMBOL(_stext)": f"{STEXT:x}", **table.lines})


def right_and_wrong(symbols: VmlinuxSymbols, numbers: range) -> tuple[int, int]:
    """How many functions are found at their address by name and by address; and how many lies."""
    right = wrong = 0
    for number in numbers:
        address = STEXT + 0x40 * (number + 1)
        name = f"task_function_{number}"
        places = [symbol.address for symbol in by_name(symbols, name)]
        right += places == [address] and by_address(symbols, address) == [name]
        wrong += places not in ([], [address])
        wrong += by_address(symbols, address) not in ([], [name])
        wrong += by_address(symbols, address + 0x3F) not in ([], [name])
    return right, wrong


@every_layout
@pytest.mark.parametrize("part", ["names", "offsets"])
def test_a_page_of_names_or_addresses_costs_the_symbols_on_it(
    layout: str, ranks: bool, part: str
) -> None:
    table = kallsyms(symbols_of(6000, percpu=layout != "place"), RODATA, layout=layout, ranks=ranks)
    start = int(table.lines[f"SYMBOL(kallsyms_{part})"], 16)
    for number in (1, 2):  # from the first whole page on, so that no other part is hit
        page = (start & -0x1000) + number * 0x1000
        symbols = with_holes(table, [range(page, page + 0x1000)])
        right, wrong = right_and_wrong(symbols, range(0, 6000, 10))
        # 4096 bytes are 1024 addresses, or some 270 of these names.
        assert not wrong
        assert 400 < right < 600
        assert "are not known" in symbols.table.damage


def test_names_behind_a_hole_are_counted_back_from_the_next_marker() -> None:
    table = kallsyms(symbols_of(6000), RODATA)
    names = int(table.lines["SYMBOL(kallsyms_names)"], 16)
    hole = (names + 0x5000) & -0x1000
    symbols = with_holes(table, [range(hole, hole + 0x1000)])
    right, wrong = right_and_wrong(symbols, range(6000))
    assert not wrong
    # A name has at least 15 bytes: 273 are on a page, two cut off, and few at its end unsure.
    assert right > 6000 - 273 - 2 - 5


def test_without_any_token_there_are_no_names() -> None:
    table = table_of("new")
    tokens = int(table.lines["SYMBOL(kallsyms_token_table)"], 16) & -0x1000
    with pytest.raises(LookupError, match="tokens are not in the dump"):
        with_holes(table, [range(tokens, tokens + 0x2000)])


@pytest.mark.parametrize("what", ["num_syms", "relative_base", "token_index"])
@every_layout
def test_a_number_that_is_missing_is_told_by_the_rest(layout: str, ranks: bool, what: str) -> None:
    if layout == "place" and what == "relative_base":
        return
    table = table_of(layout, ranks)
    at = int(table.lines[f"SYMBOL(kallsyms_{what})"], 16)
    symbols = with_holes(table, [range(at, at + 4)])
    assert right_and_wrong(symbols, range(0, 3000, 10)) == (300, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), layout=st.sampled_from(LAYOUTS))
def test_holes_make_no_symbol_false(seed: int, layout: tuple[str, bool]) -> None:
    noise = random.Random(seed)
    table = kallsyms(
        symbols_of(4000, percpu=layout[0] != "place"), RODATA, layout=layout[0], ranks=layout[1]
    )
    pages = range(table.start, table.start + len(table.data), 0x1000)
    lost = [p for p in pages if noise.random() < noise.choice([0.05, 0.3])]
    try:
        symbols = with_holes(table, [range(page, page + 0x1000) for page in lost])
    except (LookupError, drgn.FaultError):
        return
    assert right_and_wrong(symbols, range(0, 4000, 20))[1] == 0


def test_without_stext_and_table_there_is_a_reason() -> None:
    with pytest.raises(LookupError, match="text starts"):
        vmlinux_symbols(Memory().prog, {})


def test_an_image_without_table_is_searched_in_vain() -> None:
    memory = Memory()
    memory.put(STEXT, bytes(4 << 20))
    with pytest.raises(LookupError):
        vmlinux_symbols(memory.prog, {"SYMBOL(_stext)": f"{STEXT:x}"})


NUMBERS = st.one_of(
    st.integers(0, (1 << 64) - 1).map(lambda number: f"{number:x}"),
    st.sampled_from(["", "0", "-1", "zz", f"{RODATA:x}", f"{RODATA + 8:x}", "1" * 40]),
)


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(sorted(table_of("new").lines)), NUMBERS))
def test_lines_that_lie_are_refused(changes: dict[str, str]) -> None:
    table = table_of("new")
    try:
        symbols = finder(table, {**table.lines, **changes})
    except (LookupError, drgn.FaultError):
        return
    symbols(drgn.Program(), "init_task", None, False)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32), layout=st.sampled_from(LAYOUTS), hidden=st.booleans())
def test_damaged_tables_end_in_an_answer_or_a_reason(
    seed: int, layout: tuple[str, bool], hidden: bool
) -> None:
    noise = random.Random(seed)
    table = table_of(*layout)
    data = bytearray(table.data)
    for _ in range(noise.choice([1, 20, 2000])):
        data[noise.randrange(len(data))] = noise.randrange(256)
    del data[noise.randrange(len(data)) :: noise.choice([len(data), 1])]
    damaged = Kallsyms(table.start, bytes(data), {} if hidden else table.lines)
    if not data:
        return
    try:
        symbols = finder(damaged)
    except (LookupError, drgn.FaultError):
        return
    questions = (("init_task", None), ("list", None), (None, STEXT + 0x1234), (None, None))
    for name, address in questions:
        symbols(drgn.Program(), name, address, False)


# --- modules -----------------------------------------------------------------


def module_of(
    memory: Memory, symbols: list[tuple[str, int, int, int]], count: int | None = None
) -> drgn.Object:
    """A ``struct module`` with (name, info, value, size), its tables at fixed addresses."""
    base = 0xFFFFFFFFC0100000
    strings = b"\0"
    entries = bytes(24)
    for name, info, value, size in symbols:
        entries += struct.pack("<IBBHQQ", len(strings), info, 0, 1, value, size)
        strings += name.encode() + b"\0"
    head = struct.pack(
        "<QIIQ", base + 0x1000, len(symbols) + 1 if count is None else count, 0, base + 0x8000
    )
    image = bytearray(0x9000)
    image[: len(head) + 8] = struct.pack("<Q", base + 8) + head
    image[0x1000 : 0x1000 + len(entries)] = entries
    image[0x8000 : 0x8000 + len(strings)] = strings
    memory.put(base, bytes(image))
    prog = memory.prog
    void = prog.pointer_type(prog.void_type())
    table = prog.struct_type(
        "mod_kallsyms",
        24,
        [
            drgn.TypeMember(void, "symtab", 0),
            drgn.TypeMember(prog.int_type("unsigned int", 4, False), "num_symtab", 64),
            drgn.TypeMember(void, "strtab", 128),
        ],
    )
    module = prog.struct_type("module", 8, [drgn.TypeMember(prog.pointer_type(table), "kallsyms")])
    return drgn.Object(prog, prog.pointer_type(module), base)


TEXT = 0xFFFFFFFFC0200000
FUNCTION, LOCAL_FUNCTION, DATA = 0x12, 0x02, 0x11


def module_finder(
    symbols: list[tuple[str, int, int, int]], count: int | None = None
) -> ModuleSymbols:
    module = module_of(Memory(), symbols, count)
    return ModuleSymbols([(module, [(TEXT, TEXT + 0x1000)])])


def names_at(symbols: ModuleSymbols, address: int) -> list[str]:
    return [symbol.name for symbol in symbols(drgn.Program(), None, address, True)]


def test_a_module_function_is_found_by_address_and_name() -> None:
    symbols = module_finder([("pm_open", FUNCTION, TEXT + 0x10, 0x20)])
    assert names_at(symbols, TEXT + 0x2F) == ["pm_open"]
    assert symbols(drgn.Program(), "pm_open", None, True)[0].address == TEXT + 0x10


def test_between_the_functions_of_a_module_there_is_nothing() -> None:
    symbols = module_finder([("pm_open", FUNCTION, TEXT + 0x10, 0x20)])
    assert names_at(symbols, TEXT + 0x30) == []


def test_a_function_is_preferred_to_data_at_its_address() -> None:
    symbols = module_finder([("mark", DATA, TEXT, 0), ("pm_open", FUNCTION, TEXT, 0x20)])
    assert names_at(symbols, TEXT) == ["pm_open"]


def test_init_module_does_not_hide_the_name_of_the_function() -> None:
    # kallsyms lists local symbols first, and the alias init_module is global.
    symbols = module_finder(
        [("pm_init", LOCAL_FUNCTION, TEXT, 0x20), ("init_module", FUNCTION, TEXT, 0x20)]
    )
    assert names_at(symbols, TEXT) == ["pm_init"]


@pytest.mark.parametrize("count", [0, 1 << 20, 0xFFFFFFFF, 2000])
def test_a_module_table_that_cannot_be_read_gives_nothing(count: int) -> None:
    assert names_at(module_finder([("pm_open", FUNCTION, TEXT, 0x20)], count), TEXT) == []


DAMAGE = {
    "none of them": ("num_syms", bytes(4)),
    "too many": ("num_syms", b"\xff\xff\xff\x7f"),
    "one more": ("num_syms", None),
    "the base": ("relative_base", b"\xa5\x5a\xa5\x5a\xa5\x5a\xa5\x5a"),
    "the base is zero": ("relative_base", bytes(8)),
    "the index of tokens": ("token_index", bytes(16)),
}


@pytest.mark.parametrize(
    ("layout", "ranks", "what"),
    [
        (layout, ranks, what)
        for layout, ranks in LAYOUTS
        for what, (part, _) in DAMAGE.items()
        if layout != "place" or part != "relative_base"  # since v7.1 there is no base
    ],
)
def test_one_bad_number_costs_no_symbol(layout: str, ranks: bool, what: str) -> None:
    table = table_of(layout, ranks)
    part, garbage = DAMAGE[what]
    at = int(table.lines[f"SYMBOL(kallsyms_{part})"], 16) - table.start
    data = bytearray(table.data)
    if garbage is None:
        garbage = struct.pack("<I", struct.unpack_from("<I", data, at)[0] + 1)
    data[at : at + len(garbage)] = garbage
    damaged = finder(Kallsyms(table.start, bytes(data), table.lines))
    for name, address in (("_stext", STEXT), ("task_function_1234", STEXT + 0x40 * 1235)):
        assert address in [symbol.address for symbol in by_name(damaged, name)]
    assert by_address(damaged, STEXT + 0x40 * 7 + 3) == ["task_function_6"]
