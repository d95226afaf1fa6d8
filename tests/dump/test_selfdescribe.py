"""A dump describes itself: a kernel written by hand, and the committed dumps of real ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import drgn
import pytest

from postmortem.dump.core import Core, open_core
from postmortem.dump.selfdescribe import (
    Description,
    _find_btf,
    describe,
    each_module,
    module_regions,
)
from tests.conftest import machine_named
from tests.dump import synthetic as s

STEXT = 0xFFFFFFFF81000000
RODATA = STEXT + 0x200000
BTF = STEXT + 0x400000
DATA = STEXT + 0x600000


def btf_section() -> bytes:
    """``struct list_head``, ``struct module``, one per-CPU variable and one function."""
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    state = w.enum("module_state", {"MODULE_STATE_LIVE": 0, "MODULE_STATE_UNFORMED": 3})
    head = w.struct("list_head", 16, ("next", 0x7F, 0), ("prev", 0x7F, 64))
    assert head < 0x7F
    # The pointer that list_head needs comes later: ids may point forwards.
    while w.next_id < 0x7F:
        w.pointer(head)
    w.pointer(head)
    w.struct("module", 32, ("state", state, 0), ("list", head, 64))
    w.add(s.VAR, "cpu_number", number, 0)
    function = w.function(number)
    w.add(s.FUNC, "do_exit", function)
    return w.data()


def machine(
    *,
    btf: bytes | None = None,
    modules: int = DATA + 0x100,
    extra: tuple[str, str, int] | None = None,
) -> tuple[s.Memory, dict[str, str]]:
    """A kernel of ten symbols whose list of modules starts with ``modules``."""
    section = btf_section() if btf is None else btf
    symbols = [
        ("A", "cpu_number", 0x2000),
        ("T", "_stext", STEXT),
        ("T", "do_exit", STEXT + 0x100),
        ("t", "not_in_btf", STEXT + 0x200),
        ("T", "_etext", STEXT + 0x1000),
        ("R", "__start_BTF", BTF),
        ("R", "__stop_BTF", BTF + len(section)),
        ("d", "modules", DATA + 0x100),
        ("d", "pid_max", DATA + 0x110),
        ("d", "untyped", DATA + 0x120),
        ("B", "_end", DATA + 0x1000),
    ]
    if extra:
        symbols = sorted([*symbols, extra], key=lambda symbol: symbol[2])
    table = s.kallsyms(symbols, RODATA)
    memory = s.Memory()
    memory.put(table.start, table.data)
    memory.put(BTF, section)
    data = bytearray(0x1000)
    data[0x100:0x110] = modules.to_bytes(8, "little") * 2
    data[0x110:0x114] = (32768).to_bytes(4, "little")
    memory.put(DATA, bytes(data))
    return memory, {"SYMBOL(_stext)": f"{STEXT:x}", **table.lines}


def described(**given: object) -> tuple[drgn.Program, Description]:
    memory, lines = machine(**given)  # type: ignore[arg-type]
    return memory.prog, describe(memory.prog, lines)


def test_a_kernel_gives_symbols_and_types_without_any_file() -> None:
    _prog, description = described()
    assert (description.symbols, description.types, description.problems) == (True, True, ())


def test_a_variable_of_the_table_has_its_value() -> None:
    prog, _ = described()
    assert prog["pid_max"].value_() == 32768


def test_a_per_cpu_variable_has_its_type_from_btf() -> None:
    prog, _ = described()
    assert prog["cpu_number"].type_.type_name() == "int"


def test_a_function_has_its_type_from_btf() -> None:
    prog, _ = described()
    assert prog["do_exit"].type_.type_name() == "int (void)"


def test_a_function_that_btf_left_out_is_still_one() -> None:
    prog, _ = described()
    assert prog.function("not_in_btf").address_ == STEXT + 0x200


def test_a_variable_without_a_known_type_is_not_guessed() -> None:
    prog, _ = described()
    with pytest.raises(LookupError):
        prog["untyped"]


def test_a_constant_is_found() -> None:
    prog, _ = described()
    assert prog["MODULE_STATE_UNFORMED"].value_() == 3


def test_two_variables_of_one_name_are_not_mixed_up() -> None:
    prog, _ = described(extra=("d", "pid_max", DATA + 0x200))
    with pytest.raises(LookupError):
        prog["pid_max"]


@pytest.mark.parametrize("btf", [b"", b"no BTF at all", bytes(4096)], ids=["none", "short", "zero"])
def test_without_btf_there_are_symbols_and_a_problem(btf: bytes) -> None:
    prog, description = described(btf=btf)
    assert prog.symbol("do_exit").address == STEXT + 0x100
    assert [problem.what for problem in description.problems] == ["types"]


def test_without_kallsyms_there_is_a_problem_and_nothing_else() -> None:
    description = describe(s.Memory().prog, {})
    assert not (description.symbols or description.types or description.unwind)
    assert [problem.what for problem in description.problems] == ["symbols"]


def test_a_page_of_btf_that_is_missing_costs_what_comes_after_it() -> None:
    w = s.BtfWriter()
    number = w.int("int", 4, s.SIGNED)
    for index in range(2000):
        w.struct(f"s{index}", 4, ("i", number, 0))
    memory, lines = machine(btf=w.data())
    memory.holes.append(range(BTF + 0x4000, BTF + 0x5000))
    description = describe(memory.prog, lines)
    assert memory.prog.type("struct s100").size == 4
    assert any("4096 of" in problem.why for problem in description.problems)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (0xDEAD000000000100, "could not find memory"),
        (0, "could not find memory"),
        (DATA + 0x200, "could not find memory"),
    ],
    ids=["poison", "null", "zeroes"],
)
def test_a_broken_list_of_modules_is_a_problem(first: int, why: str) -> None:
    _prog, description = described(modules=first)
    problems = {problem.what: problem.why for problem in description.problems}
    assert why in problems["module list"]


# --- real kernels ---------------------------------------------------------------------

DUMPS = Path(__file__).parents[2] / "corpus" / "dumps"
FILES = sorted(DUMPS.glob("*.vmcore.*"))
every_dump = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".vmcore")[0])


@cache
def opened(path: Path) -> tuple[Core, Description]:
    core = open_core(path)
    return core, describe(core.program, dict(core.info.vmcoreinfo))


def machine_of(path: Path) -> dict[str, Any]:
    """What the machine said of itself before it died."""
    truth = json.loads((DUMPS / f"{path.name.split('.vmcore')[0]}.truth.json").read_text())
    return dict(truth["machine"])


def tasks_of(prog: drgn.Program) -> Iterator[tuple[int, str]]:
    from drgn.helpers.linux.pid import for_each_task

    for task in for_each_task(prog):
        yield task.pid.value_(), task.comm.string_().decode()


def test_there_are_dumps_of_old_and_new_kernels() -> None:
    assert {"5.10", "6.1", "6.12", "7.2"} <= {path.name.split("-")[0] for path in FILES}


@every_dump
def test_a_real_dump_has_everything(path: Path) -> None:
    _core, description = opened(path)
    assert (description.symbols, description.types, description.unwind) == (True, True, True)
    assert description.problems == ()


@every_dump
def test_the_kernel_names_itself_as_uname_did(path: Path) -> None:
    core, _ = opened(path)
    release = core.program["init_uts_ns"].name.release.string_().decode()
    assert release == machine_of(path)["release"]


@every_dump
def test_the_modules_are_those_of_proc_modules(path: Path) -> None:
    core, _ = opened(path)
    names = {module.name.string_().decode() for module in each_module(core.program)}
    assert names >= set(machine_of(path)["modules"])


@every_dump
def test_the_threads_of_the_cpus_are_there(path: Path) -> None:
    core, _ = opened(path)
    told = machine_of(path)["tasks"]
    threads = {
        (task["pid"], task["comm"]) for task in told if task["comm"].startswith("ksoftirqd/")
    }
    assert threads
    assert threads <= set(tasks_of(core.program))


@every_dump
def test_the_symbol_table_is_found_by_its_shape_too(path: Path) -> None:
    from postmortem.dump.kallsyms import vmlinux_symbols

    core, _ = opened(path)
    lines = {k: v for k, v in core.info.vmcoreinfo.items() if "kallsyms" not in k}
    found = vmlinux_symbols(core.program, lines)(core.program, "init_uts_ns", None, True)
    assert found[0].address == int(lines["SYMBOL(init_uts_ns)"], 16)


TRACE_LINE = re.compile(r"\]  ([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+")


@pytest.mark.parametrize("path", [f for f in FILES if "null-chain" in f.name], ids=lambda p: p.name)
def test_the_stack_is_the_one_on_the_console(path: Path) -> None:
    console = (DUMPS / f"{path.name.split('.vmcore')[0]}.console.log").read_text()
    trace = console.split("Call Trace:")[1].split("</TASK>")[0]
    core, _ = opened(path)
    frames = [frame.name for frame in core.program.crashed_thread().stack_trace()]
    told = TRACE_LINE.findall(trace)
    assert told
    assert [name for name in told if name not in frames] == []


@pytest.mark.parametrize("path", [f for f in FILES if "null-chain" in f.name], ids=lambda p: p.name)
def test_a_module_brings_its_own_types(path: Path) -> None:
    # struct pm_session { u64 id; char name[24]; struct list_head link; struct pm_peer *peer; ... }
    core, _ = opened(path)
    session = core.program.type("struct pm_session")
    assert session.member("peer").offset == 8 + 24 + 16
    assert session.member("peer").type.type.tag == "pm_peer"


@pytest.mark.parametrize("path", [f for f in FILES if "null-chain" in f.name], ids=lambda p: p.name)
def test_a_function_of_a_module_lies_in_its_regions(path: Path) -> None:
    core, _ = opened(path)
    prog = core.program
    address = prog.symbol("pm_peer_port").address
    regions = {
        module.name.string_().decode(): module_regions(module) for module in each_module(prog)
    }
    inside = [n for n, found in regions.items() if any(a <= address < b for a, b in found)]
    assert inside == ["pm_fault"]


def test_a_declaration_in_the_dwarf_of_a_module_hides_no_type_of_the_kernel() -> None:
    memory, lines = machine()
    prog = memory.prog
    declared = prog.struct_type("list_head")

    def of_module(
        prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> drgn.Type | None:
        return declared if name == "list_head" else None

    prog.register_type_finder("dwarf of a module", of_module, enable_index=0)
    describe(prog, lines)
    assert prog.type("struct list_head").is_complete()


def test_btf_is_found_by_its_head_where_its_symbols_are_missing() -> None:
    prog = machine_named("6.12-null-chain").prog
    start = prog.symbol("__start_BTF").address
    size = prog.symbol("__stop_BTF").address - start
    assert _find_btf(prog, prog.symbol("_stext").address) == (start, size)
    with pytest.raises(LookupError):
        _find_btf(prog, 0)
