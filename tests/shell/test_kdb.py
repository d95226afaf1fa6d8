"""KDB's commands. The truth is what the format strings of kernel/debug/kdb make of the memory."""

import io
import re

import pytest

from postmortem.cli.root import run as main
from postmortem.errors import UsageError
from postmortem.shell.kdb import Kdb
from tests.conftest import machine_named
from tests.shell.conftest import Shell

PROG = "6.12-null-chain"


def _says(shell: Shell, line: str) -> str:
    return shell.says(f"kdb {line}")


def test_memory_is_shown_in_lines_of_two_words(shell: Shell) -> None:
    prog = machine_named(PROG).prog
    start = prog.symbol("linux_banner").address
    words = [prog.read_u64(start + at) for at in (0, 8)]
    text = prog.read(start, 16).decode()
    # kdb_machreg_fmt0, the words each with a blank, "%*s" of one column, a blank, the text.
    assert _says(shell, "md linux_banner 1") == (
        f"0x{start:016x} {words[0]:016x} {words[1]:016x}   {text}\n"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("md1c4 linux_banner", "4c 69 6e 75 " + " " * 37 + " Linu"),
        ("md4c1 linux_banner", "756e694c " + " " * 28 + " Linu"),
        ("md8c1 linux_banner", "762078756e694c"),
    ],
)
def test_words_of_other_sizes(shell: Shell, line: str, expected: str) -> None:
    if line.startswith("md8"):
        word = machine_named(PROG).prog.read(
            machine_named(PROG).prog.symbol("linux_banner").address, 8
        )
        expected = f"{int.from_bytes(word, 'little'):016x} " + " " * 18 + " Linux ve"
    assert _says(shell, line).split(" ", 1)[1] == expected + "\n"


def test_raw_memory(shell: Shell) -> None:
    assert _says(shell, "mdr linux_banner 5") == b"Linux".hex() + "\n"


def test_zeros_are_left_out(shell: Shell) -> None:
    prog = machine_named(PROG).prog
    page = prog.symbol("empty_zero_page").address
    lines = _says(shell, "md empty_zero_page 8").splitlines()
    # 8 lines of 2 words, all zero: the first, a range of six, the last.
    assert len(lines) == 3
    assert lines[1] == f"0x{page + 16:016x}-0x{page + 16 + 6 * 16 - 1:016x} zero suppressed"


def test_symbols_of_a_stack(shell: Shell) -> None:
    place = re.findall(r"#1 \[(\w+)\] (\w+)", shell.says("bt 1"))[0]
    assert re.search(rf" {place[1]}\+0x[0-9a-f]+ ", _says(shell, f"mds 0x{place[0]} 1"))


def test_tasks_in_a_state(shell: Shell) -> None:
    lines = _says(shell, "ps A").splitlines()
    assert lines[0] == (
        "Task Addr               Pid   Parent [*] cpu State Thread             Command"
    )
    tasks = machine_named(PROG).case.tasks
    assert tasks is not None
    shown = {int(line.split()[1]) for line in lines[1:] if line}
    assert shown >= {task.pid for task in tasks.tasks}
    own = [line for line in lines if " *" in line]
    assert len({line.split()[1] for line in own}) == 1


def test_sleeping_daemons_are_counted(shell: Shell) -> None:
    said = _says(shell, "ps")
    daemons = [row for row in _says(shell, "ps ims").splitlines()[1:] if row]
    assert f"{len(daemons)} sleeping system daemon (state [ims]) processes suppressed," in said


def test_a_stack_is_that_of_bt(shell: Shell) -> None:
    functions = re.findall(r"#\d+ \[\w+\] (\S+) at", shell.says("bt 1"))
    said = _says(shell, "btp 1")
    assert said.startswith("Stack traceback for pid 1\n0x")
    sure = re.findall(r"^ ([\w.]+)\+0x", said, re.MULTILINE)
    assert sure == functions


def test_nobody_is_found(shell: Shell) -> None:
    assert _says(shell, "btp 99999") == "No process with pid == 99999 found\n"
    assert _says(shell, "pid 99999") == "No task with pid=99999\n"
    assert _says(shell, "btc 77") == "WARNING: no process for cpu 77\n"


@pytest.mark.parametrize("line", ["mm 0 1", "rm ax 1", "go", "reboot", "kill -9 1"])
def test_what_changes_the_machine_is_refused(shell: Shell, line: str) -> None:
    assert "this is a dump" in shell.complains(f"kdb {line}")


@pytest.mark.parametrize(
    "line", ["nobody_has_this", "md", "md nobody_has_this", "btt 1000", "md 0 1 7", "ef"]
)
def test_mistakes_are_one_line(shell: Shell, line: str) -> None:
    assert shell.complains(f"kdb {line}").count("\n") == 1


def test_lines_are_filtered(shell: Shell, quiet: io.StringIO) -> None:
    kdb = Kdb(session=shell.session)
    shell.session.out, before = quiet, shell.session.out
    try:
        kdb.run('help | grep "^md "')
        assert quiet.getvalue().startswith("md              <vaddr>")
        assert len(quiet.getvalue().splitlines()) == 1
        with pytest.raises(UsageError, match="pipe"):
            kdb.run("ps | wc")
    finally:
        shell.session.out = before


def test_per_cpu_variables_are_at_their_offsets(shell: Shell) -> None:
    prog = machine_named(PROG).prog
    start = prog.symbol("runqueues").address
    at = (start + int(prog["__per_cpu_offset"][0])) & ((1 << 64) - 1)
    lines = _says(shell, "per_cpu runqueues 4").splitlines()
    assert lines[0].startswith(f"    0 0x{at:016x} ")


def test_the_log_has_the_level_of_each_message(shell: Shell) -> None:
    record = machine_named(PROG).case.log[0]
    said = _says(shell, "dmesg -1")
    assert said.startswith(f"<{record.level}>[    0.000000")
    assert record.text in said
    assert len(_says(shell, "dmesg 3").splitlines()) == 3


def test_memory_of_the_machine(shell: Shell) -> None:
    said = _says(shell, "summary")
    assert re.search(r"^MemTotal: +[1-9]\d+ kB$", said, re.MULTILINE)
    assert f"release    {machine_named(PROG).case.system.release}\n" in said


def test_an_empty_line_goes_on(shell: Shell) -> None:
    kdb = Kdb(session=shell.session)
    shell.session.kdb = kdb
    try:
        first = shell.says("md linux_banner 1").split()[0]
        assert int(shell.says("md").split()[0], 16) == int(first, 16) + 16
        assert shell.session.run("exit")
        assert shell.session.kdb is None
    finally:
        shell.session.kdb = None


def test_what_is_set_counts(shell: Shell) -> None:
    kdb = Kdb(session=shell.session)
    kdb.run("set MDCOUNT=1")
    assert kdb.env["MDCOUNT"] == "1"
    with pytest.raises(UsageError):
        kdb.run("set MDCOUNT=x-")


def test_as_a_shell_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(machine_named(PROG).path)
    assert main(["shell", "--kdb", path, "-c", "mdr linux_banner 5", "-c", "exit"]) == 0
    assert capsys.readouterr().out == b"Linux".hex() + "\n"
