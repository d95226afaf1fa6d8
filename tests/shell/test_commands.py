"""Commands of our own. The truth is C's, the machine's or the scenario's."""

import re
import struct

import pytest
from drgn.helpers.linux.slab import find_slab_cache, slab_cache_for_each_allocated_object

from postmortem.shell.mended import task_state_to_char
from tests.conftest import machine_named
from tests.kernel.locking.test_waiters import fresh
from tests.shell.conftest import Shell


def test_help_lists_ours_and_those_of_crash(shell: Shell) -> None:
    listed = shell.says("help").split()
    assert {"dis", "analyze", "hung", "bt", "kmem", "why"} <= set(listed)


@pytest.mark.parametrize("name", ["dis", "hung", "bt", "why", "log"])
def test_help_tells_about_each(shell: Shell, name: str) -> None:
    assert re.search(rf"(?i)\b{name}\b", shell.says(f"help {name}"))


def test_help_for_nothing_is_said(shell: Shell) -> None:
    assert "no command" in shell.complains("help nobody_has_this")


def test_the_diagnosis_names_the_culprit_of_the_scenario(shell: Shell) -> None:
    truth = machine_named("6.12-null-chain").truth
    assert truth["function"] in shell.says("analyze")


def test_dis_shows_a_function_from_its_start_to_its_end(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    symbol = prog.symbol("do_exit")
    lines = shell.says("dis do_exit").splitlines()
    addresses = [int(line.split()[0], 16) for line in lines]
    assert addresses[0] == symbol.address
    assert addresses == sorted(addresses)
    assert symbol.address < addresses[-1] < symbol.address + symbol.size
    assert "<do_exit+" in lines[-1]


def test_dis_of_an_address_is_one_instruction(shell: Shell) -> None:
    assert len(shell.says("dis do_exit+0").splitlines()) == 1
    assert len(shell.says("dis do_exit 3").splitlines()) == 3


def test_dis_backwards_ends_at_the_address(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    second = int(shell.says("dis do_exit 2").splitlines()[1].split()[0], 16)
    lines = shell.says(f"dis -r {second:x}").splitlines()
    assert [int(line.split()[0], 16) for line in lines] == [
        prog.symbol("do_exit").address,
        second,
    ]


def test_dis_takes_offsets_in_either_base(shell: Shell) -> None:
    assert "+0x" in shell.says("dis -x do_exit 2").splitlines()[1]
    assert "+0x" not in shell.says("dis do_exit 2").splitlines()[1].split(":")[0]


@pytest.mark.parametrize("line", ["dis nobody_has_this", "dis do_exit -3", "dis 10", "dis -r 10"])
def test_dis_says_what_it_can_not(shell: Shell, line: str) -> None:
    assert shell.complains(line)


def test_offsets_of_members(shell: Shell) -> None:
    lines = shell.says("struct -o list_head").splitlines()
    assert [line.strip() for line in lines] == [
        "struct list_head {",
        "[0] struct list_head *next;",
        "[8] struct list_head *prev;",
        "}",
        "SIZE: 16",
    ]


def test_a_struct_at_an_address_has_its_members_there(shell: Shell) -> None:
    assert "[1008] struct list_head *prev;" in shell.says("struct -o list_head.prev 1000")


def test_a_member_that_is_not_there_is_said(shell: Shell) -> None:
    assert "no member" in shell.complains("struct -o list_head.nobody")
    assert "nobody_has_this" in shell.complains("struct -o nobody_has_this")


def test_p_takes_expressions_and_crash_s_copies_of_a_cpu(shell: Shell) -> None:
    assert shell.says("p -x init_task.pid + 16") == "init_task.pid + 16 = (int)0x10\n"
    assert ".nr_running" in shell.says("p runqueues:0")


def test_log_is_what_the_machine_printed(shell: Shell) -> None:
    plain = shell.says("log -t").splitlines()
    assert plain[0].startswith("Linux version 6.12")
    assert shell.says("log").splitlines()[0] == f"[    0.000000] {plain[0]}"
    assert shell.says("log -m").splitlines()[0].startswith("<5>[    0.000000] Linux version")


def test_where_names_a_symbol_and_says_when_nothing_is_known(shell: Shell) -> None:
    assert "init_task+0x0" in shell.says("where init_task")
    assert "nothing is known" in shell.says("where 1000")


def test_why_says_that_a_task_does_not_wait(shell: Shell) -> None:
    assert "not among" in shell.complains("why 4000000")


def test_python_is_at_hand(shell: Shell) -> None:
    assert shell.says("py prog['init_task'].pid.value_() + 1") == "1\n"
    shell.says("p 41")
    assert shell.says("py _.value_() + 1") == "42\n"
    assert "ZeroDivisionError" in shell.complains("py 1/0")


def test_repeat_is_for_a_running_machine(shell: Shell) -> None:
    assert "does not change" in shell.complains("repeat ps")


def test_bt_with_offsets_names_the_same_functions(shell: Shell) -> None:
    plain = re.findall(r"\] (\S+) at", shell.says("bt"))
    offsets = re.findall(r"\] (\S+)\+\d+ at", shell.says("bt -s"))
    assert offsets == plain
    assert re.search(r"\+0x[0-9a-f]+ at", shell.says("bt -s -x"))


def test_bt_finds_the_trace_s_addresses_among_the_stack_s_text(shell: Shell) -> None:
    trace = re.findall(r" at ([0-9a-f]+)$", shell.says("bt 1"), re.MULTILINE)
    text = re.findall(r" at ([0-9a-f]+)$", shell.says("bt -t 1"), re.MULTILINE)
    assert set(trace[1:-1]) <= set(text)


def test_bt_shows_the_stack_s_words_with_the_magic_at_its_end(shell: Shell) -> None:
    # STACK_END_MAGIC of include/uapi/linux/magic.h
    assert "57ac6e9d" in shell.says("bt -r 1").splitlines()[1]


def test_no_stack_of_a_sound_machine_has_overflowed(shell: Shell) -> None:
    assert shell.says("bt -v") == "No stack overflows detected\n"


def test_bt_of_a_symbol_shows_the_stacks_that_name_it(shell: Shell) -> None:
    assert 'COMMAND: "trigger"' in shell.says("bt -R pm_peer_port")
    assert shell.says("bt -R nobody_has_this") == ""


def test_idle_tasks_can_be_left_out(shell: Shell) -> None:
    assert "swapper" in shell.says("bt -a")
    assert "swapper" not in shell.says("bt -a -n")


def test_search_finds_what_was_put_there(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    head = prog["init_task"].tasks.address_of_().value_()
    after = prog["init_task"].tasks.next.value_()
    assert f"{after + 8:x}: {head:x}" in shell.says(f"search {head:x}").splitlines()


def test_search_for_text(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    comm = prog["init_task"].comm.address_of_().value_()
    found = shell.says(f"search -s {comm - 64:x} -l 100 -c swapper/0").splitlines()
    # With the bytes behind it, as crash shows them.
    assert [line.partition("..")[0] for line in found] == [f"{comm:x}: swapper/0"]


def test_search_with_bits_that_may_be_anything(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    flags = prog["init_task"].flags
    line = shell.says(f"search -w -s {flags.address_:x} -l 4 -m ff {flags.value_() ^ 0x55:x}")
    assert line == f"{flags.address_:x}: {flags.value_():x}\n"


@pytest.mark.parametrize(
    "line",
    ["search 1ffffffffffffffffff", "search -s 10 -e 5 1", "search -c ''", "search -w 100000000"],
)
def test_a_search_for_nothing_is_said(shell: Shell, line: str) -> None:
    assert shell.complains(line)


def test_system_calls_are_numbered_as_the_abi_says(shell: Shell) -> None:
    # arch/x86/entry/syscalls/syscall_64.tbl
    assert re.search(r"^ 59  \S*sys_execve$", shell.says("sys -c 59"), re.MULTILINE)


def test_what_tainted_the_kernel(shell: Shell) -> None:
    assert "out-of-tree module" in shell.says("sys -t")


def test_symbols_of_a_module(shell: Shell) -> None:
    assert "pm_peer_port" in shell.says("sym -m pm_fault")
    assert "no module" in shell.complains("sym -m nobody")


def test_the_machine_has_the_cpus_it_said_it_had(shell: Shell) -> None:
    facts = machine_named("6.12-null-chain").facts
    assert re.search(rf"CPUS: {facts['cpus']}$", shell.says("mach"), re.MULTILINE)


def test_refs_say_who_points_there(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    task = next(t for t in shell.session.case.tasks.tasks if t.comm == "trigger")
    said = shell.says(f"refs -n 500 {task.address:x}")
    # The thread's group leader is the task itself.
    own = task.address + prog.type("struct task_struct").member("group_leader").offset
    assert re.search(rf"^{own:#x}: .*task_struct", said, re.MULTILINE)


def test_states_have_the_names_that_crash_gives_them(shell: Shell) -> None:
    line = next(line for line in shell.says("ps 1").splitlines() if line.endswith(" init"))
    assert line.split()[4] == "IN"
    assert re.search(r"^ +RU: \d+$", shell.says("ps -S"), re.MULTILINE)
    assert re.search(r"^\[.*\] +\[IN\]  PID: 1 ", shell.says("ps -m"), re.MULTILINE)


def test_foreach_takes_those_names(shell: Shell) -> None:
    assert 'COMMAND: "init"' in shell.says("foreach IN bt")
    assert 'COMMAND: "init"' not in shell.says("foreach RU bt")


def test_members_of_unnamed_unions_have_their_offsets(shell: Shell) -> None:
    # include/linux/mm_types.h: lru and buddy_list share one place behind flags.
    said = shell.says("struct -o page")
    assert re.search(r"^ +\[8\] +struct list_head lru;$", said, re.MULTILINE)
    assert re.search(r"^ +\[8\] +struct list_head buddy_list;$", said, re.MULTILINE)


def test_a_variable_of_each_cpu_has_an_address_for_each(shell: Shell) -> None:
    from drgn.helpers.linux.percpu import per_cpu_ptr

    prog = machine_named("6.12-null-chain").prog
    lines = shell.says("p runqueues").splitlines()
    assert lines[1].strip() == "struct rq runqueues;"
    for cpu in (0, 1):
        assert f"  [{cpu}]: {per_cpu_ptr(prog['runqueues'].address_of_(), cpu).value_():x}" in lines


def test_text_without_a_declared_length_is_shown(shell: Shell) -> None:
    assert '"Linux version 6.12' in shell.says("p linux_banner")


def test_gdb_s_way_to_ask_for_hexadecimal(shell: Shell) -> None:
    assert shell.says("p/x 17") == "17 = (int)0x11\n"


def test_the_firmware_s_map_has_the_machine_s_memory(shell: Shell) -> None:
    assert "E820_RAM" in shell.says("mach -m")


def test_the_exception_frame_is_where_the_fault_was(shell: Shell) -> None:
    assert "[exception RIP: pm_peer_port+" in shell.says("bt -e")
    assert "no exception frame" in shell.says("bt -e 1")


def test_page_table_entries_are_taken_apart(shell: Shell) -> None:
    # arch/x86/include/asm/pgtable_types.h
    assert "2916000  (PRESENT|RW|USER|ACCESSED|DIRTY|NX)" in shell.says("pte 8000000002916067")
    assert "not present" in shell.says("pte 1000")
    assert "hexadecimal" in shell.complains("pte x")


def test_structs_are_found_by_size_and_by_member(shell: Shell) -> None:
    assert re.search(r"^ +16  struct list_head$", shell.says("whatis -r 16"), re.MULTILINE)
    assert "struct task_struct" in shell.says("whatis -m mm_struct")
    assert "no size" in shell.complains("whatis -r abc")
    assert shell.says("whatis jiffies") == "volatile unsigned long jiffies;\n"


def test_a_struct_s_words(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    link = prog["init_task"].tasks
    words = shell.says("struct -r list_head init_task.tasks").split()
    assert words[:3] == [
        f"{link.address_:x}:",
        f"{link.next.value_():016x}",
        f"{link.prev.value_():016x}",
    ]


def test_where_each_page_of_a_task_is(shell: Shell) -> None:
    said = shell.says("vm -p 1")
    assert "/bin/busybox" in said
    assert re.search(r"^[0-9a-f]+ +[0-9a-f]+$", said, re.MULTILINE)
    assert "a kernel thread" in shell.says("vm -p 2")


def test_whole_structs_of_an_address_space(shell: Shell) -> None:
    assert "(struct mm_struct)" in shell.says("vm -m 1")
    assert "(struct vm_area_struct)" in shell.says("vm -v 1")


def test_frames_are_where_the_return_address_lies(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    frames = re.findall(r"#\d+ \[(\w+)\] \S+ at (\w+)", shell.says("bt 1"))
    assert len(frames) > 3
    # The word at each place is the address that is shown, but for the innermost frame's.
    assert all(prog.read_u64(int(at, 16)) == int(pc, 16) for at, pc in frames[1:])


def test_the_number_of_the_system_call_stands_by_its_registers(shell: Shell) -> None:
    said = shell.says("bt 1")
    number = re.search(r"ORIG_RAX: ([0-9a-f]{16})  CS: 0033", said)
    assert number
    # The kernel's table leads from the number to a function that is on the stack.
    name = shell.says(f"sys -c {int(number[1], 16)}").split()[-1]
    assert f" {name} at " in said


def test_a_stack_from_registers_of_ones_own(shell: Shell) -> None:
    frames = re.findall(r"#\d+ \[(\w+)\] (\S+) at (\w+)", shell.says("bt 1"))
    place, name, pc = frames[1]
    # As if the function had just been called: its return address is on top.
    said = shell.says(f"bt -I {frames[0][1]} -S {place}")
    assert f"{name} at {pc}" in said


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("bt -A", "s390"),
        ("bt -I 1000", "both"),
        ("kmem -c", "page_hash_table"),
        ("kmem -r", "slab_root_caches"),
        ("log -s", "5.15"),
        ("mount -f", "s_files"),
        ("mod -D", "stays"),
        ("rd -m 0", "Xen"),
        ("dev -V", "no driver"),
        ("net -N x", "no number"),
        ("bpf -t", "-p ID"),
        ("sbitmapq -v 1000", "belong together"),
        ("search -u 1", "kernel thread"),
        ("fuser nobody_has_this", "no address"),
    ],
)
def test_what_can_not_be_had_is_said_with_its_reason(shell: Shell, line: str, why: str) -> None:
    shell.says("set 2")
    try:
        assert why in shell.complains(line)
    finally:
        shell.says("set -p")


def test_an_address_as_memory_holds_it(shell: Shell) -> None:
    assert shell.says("net -N 0x0100007f") == "127.0.0.1\n"


def test_physical_memory_is_that_of_the_image(shell: Shell) -> None:
    prog = machine_named("6.12-null-chain").prog
    word = prog.read_u64(prog.symbol("init_task").address)
    place = shell.says("vtop init_task").split()[-1]
    assert f"{word:016x}" in shell.says(f"rd -p {place}")


def test_init_uses_its_own_program(shell: Shell) -> None:
    rows = shell.says("fuser /bin/busybox").splitlines()
    assert any(row.split()[0] == "1" and "mmap" in row for row in rows[1:])


def test_a_slab_has_its_cpus_and_nodes(shell: Shell) -> None:
    said = shell.says("kmem -S task_struct")
    init = machine_named("6.12-null-chain").prog["init_task"].tasks.next
    first = (
        int(init.value_())
        - machine_named("6.12-null-chain").prog.type("struct task_struct").member("tasks").offset
    )
    assert "KMEM_CACHE_NODE" in said
    # init's task is in use, wherever its slab is listed.
    assert f"    {first:x}\n" not in said


@pytest.mark.parametrize(
    ("flags", "names"), [("1", "READ"), ("100073", "READ|WRITE|MAYREAD|MAYWRITE|MAYEXEC|ACCOUNT")]
)
def test_flags_of_areas_have_the_names_of_mm_h(shell: Shell, flags: str, names: str) -> None:
    assert shell.says(f"vm -f {flags}").strip() == f"{flags}: ({names})"


@pytest.mark.parametrize(
    ("mangled", "written"),
    [
        ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
        ("_RNvNtCs5678_7mycrate3foo3bar", "mycrate::foo::bar"),
        ("not_mangled", "not_mangled"),
    ],
)
def test_names_of_rust(shell: Shell, mangled: str, written: str) -> None:
    assert shell.says(f"rustfilt {mangled}") == f"{written}\n"


def test_registers_of_a_frame_are_followed(shell: Shell) -> None:
    said = shell.says("context -f 1 1")
    assert said.startswith("#1 ")
    assert re.search(r"rsp: ff[0-9a-f]{14}  stack of task 1 \(init\)", said)


def test_foreach_shows_kernel_threads_and_the_rest(shell: Shell) -> None:
    tasks = machine_named("6.12-null-chain").case.tasks
    assert tasks is not None
    shown = re.findall(r"^PID: (\d+) ", shell.says("foreach vm"), re.MULTILINE)
    assert {int(pid) for pid in shown} >= {task.pid for task in tasks.tasks}


def test_minimal_has_few_commands(shell: Shell) -> None:
    shell.session.minimal = True
    try:
        assert "with --minimal" in shell.complains("ps")
        assert shell.says("rd jiffies")
    finally:
        shell.session.minimal = False


@pytest.mark.parametrize("name", ["5.10-sysrq-crash", "6.1-oops-then-sysrq", "6.12-null-chain"])
@pytest.mark.parametrize("cache", ["dentry", "filp", "proc_inode_cache"])
def test_kmem_counts_what_each_object_by_itself_is(
    name: str, cache: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(name, capsys)
    found = find_slab_cache(shell.session.prog, cache)
    assert found is not None
    allocated = sum(1 for _ in slab_cache_for_each_allocated_object(found, "void"))
    row = shell.says(f"kmem -s {cache}").splitlines()[1].split()
    assert (int(row[2]), row[-1]) == (allocated, cache)


def test_kmem_calls_what_is_not_in_the_dump_unknown_and_not_corrupt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = Shell("7.2-healthy-idle", capsys).says("kmem -s")  # sheaves are not in this one
    assert "[UNKNOWN]" in said
    assert "CORRUPTED" not in said


def test_mod_lists_where_there_is_no_debug_information(shell: Shell) -> None:
    assert "pm_fault" in shell.says("mod -S /nonexistent")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("mod -s nobody_has_this", "no module is called"),
        ("mod -s pm_fault", "no debug information"),
        (f"mod -s pm_fault {__file__}", "another build"),
    ],
)
def test_mod_says_why_nothing_was_loaded(shell: Shell, line: str, why: str) -> None:
    assert why in shell.complains(line)


def test_a_task_that_is_being_woken_has_a_state_of_its_own() -> None:
    prog = fresh("6.12-null-chain")
    task = prog["init_task"].address_of_()
    assert task_state_to_char(task) == "R"
    waking = struct.pack("<I", 0x200)
    prog.add_memory_segment(
        int(task.member_("__state").address_),
        4,
        lambda _at, count, offset, _p: waking[offset:][:count],
    )
    assert task_state_to_char(task) == "W"
