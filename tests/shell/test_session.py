"""Lines on their way through the shell."""

from pathlib import Path

import pytest

from postmortem.shell.session import Exit, run_all
from tests.shell.conftest import Shell


def test_a_command_of_crash_answers(shell: Shell) -> None:
    assert 'COMMAND: "trigger"' in shell.says("bt")


def test_a_plugin_is_a_command(shell: Shell) -> None:
    assert "pm_peer_port" in shell.says("oops")


def test_a_plugin_has_its_options(shell: Shell) -> None:
    assert shell.says("oops --json").lstrip().startswith("{")


def test_a_variable_needs_no_command(shell: Shell) -> None:
    assert "swapper/0" in shell.says("init_task.comm")


def test_a_type_needs_no_command(shell: Shell) -> None:
    assert "struct list_head *next" in shell.says("list_head")


def test_an_unknown_word_is_answered_with_near_ones(shell: Shell) -> None:
    assert "analyze" in shell.complains("analize")


def test_a_line_goes_through_a_program(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "out"
    shell.says(f"struct -o list_head | grep prev > {file}")
    assert file.read_text().split() == ["[8]", "struct", "list_head", "*prev;"]


def test_output_goes_to_a_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "out"
    assert shell.says(f"p 1 > {file}") == ""
    shell.says(f"p 2 >> {file}")
    assert file.read_text() == "1 = (int)1\n2 = (int)2\n"


def test_arguments_come_from_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("1\n# not this\n2\n")
    assert shell.says(f"p < {tmp_path}/in") == "1 = (int)1\n2 = (int)2\n"


def test_a_folder_that_is_not_there_is_said(shell: Shell) -> None:
    assert "can't be written" in shell.complains("p 1 > /nowhere/at/all")


def test_a_line_that_nobody_can_interrupt_has_an_end(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def circle(*_given: object) -> None:
        while True:
            pass

    monkeypatch.setattr("postmortem.shell.crash.run", circle)
    shell.session.seconds = 0.1
    assert "given up after" in shell.complains("timer")


def test_a_reader_that_leaves_early_is_no_error(shell: Shell) -> None:
    assert shell.session.run("log | head -1 > /dev/null")


def test_the_history_can_be_run_again(shell: Shell) -> None:
    shell.says("p 1")
    shell.says("p 2")
    assert shell.says("r 1") == "1 = (int)1\n"
    assert shell.says("!!") == "1 = (int)1\n"
    assert shell.says("r p") == "1 = (int)1\n"
    assert "history" in shell.complains("r 99")


def test_an_alias_stands_for_a_line_with_a_pipe(shell: Shell, tmp_path: Path) -> None:
    shell.says(f'alias count "p 1 | wc -l > {tmp_path}/n"')
    shell.says("count")
    assert (tmp_path / "n").read_text().strip() == "1"


def test_a_command_is_not_hidden_by_an_alias(shell: Shell) -> None:
    assert "command" in shell.complains("alias analyze ps")


def test_radix_is_kept_until_it_is_changed(shell: Shell) -> None:
    shell.says("hex")
    assert shell.says("p 17") == "17 = (int)0x11\n"
    shell.says("dec")
    assert shell.says("p 17") == "17 = (int)17\n"


def test_exit_ends_the_lines(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    run_all(shell.session, ["p 1", "exit", "p 2"])
    assert capsys.readouterr().out == "1 = (int)1\n"
    with pytest.raises(Exit):
        shell.session.run("q")


def test_a_failed_line_is_counted_and_the_next_one_runs(shell: Shell) -> None:
    shell.session.run("p nobody_has_this")
    assert shell.session.run("p 1")
    assert shell.session.failed == 1


def test_a_script_that_runs_itself_ends(shell: Shell, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"source {script}\n")
    shell.says(f"source {script}")
    assert shell.session.failed == 1


def test_ctrl_c_ends_the_command_alone(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("postmortem.shell.crash.run", interrupted)
    assert "interrupted" in shell.complains("bt")


def test_text_of_the_dump_moves_no_cursor(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import drgn.commands

    def hostile(*_: object, **__: object) -> None:
        print("comm\x1b[2J\tnext\rfake")

    monkeypatch.setattr(drgn.commands, "run_command", hostile)
    assert shell.says("ps") == "comm\\x1b[2J\tnext\\x0dfake\n"
