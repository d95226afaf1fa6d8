"""Typed lines, taken apart."""

import pytest

from postmortem.errors import UsageError
from postmortem.shell.line import Line, expand, is_comment, parse


def test_a_command_and_its_arguments() -> None:
    assert parse("  bt -a 119 ") == Line("bt", "-a 119")


def test_a_pipe_goes_to_the_shell_whole() -> None:
    assert parse("ps | grep UN | wc -l") == Line("ps", "", "grep UN | wc -l")


def test_output_goes_to_a_file_or_behind_its_end() -> None:
    assert parse("ps > out.txt").output == "out.txt"
    assert parse("ps >> 'my out'") == Line("ps", "", None, "my out", append=True)


def test_arguments_come_from_a_file() -> None:
    assert parse("bt < pids") == Line("bt", input="pids")


@pytest.mark.parametrize("text", ["p init_task->mm", "p (a | b)", "p 'a > b'", 'sym -q "|"'])
def test_an_expression_is_no_redirection(text: str) -> None:
    name, _, rest = text.partition(" ")
    assert parse(text) == Line(name, rest)


def test_the_star_is_a_command_without_a_blank_behind_it() -> None:
    assert parse("*page ffffea0000000000") == Line("*", "page ffffea0000000000")


def test_quotes_hold_a_word_together() -> None:
    assert parse("ps 'kworker/0:1' -s").words == ["kworker/0:1", "-s"]


@pytest.mark.parametrize("text", ["ps >", "ps |", "| ps", "ps > a b"])
def test_what_is_cut_off_is_said(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_half_a_quotation_is_said() -> None:
    with pytest.raises(UsageError, match="quot"):
        parse("ps 'kworker").words  # noqa: B018


def test_a_line_of_a_megabyte_is_no_command() -> None:
    with pytest.raises(UsageError, match="no command"):
        parse("p " + "a" * (1 << 20))


@pytest.mark.parametrize("text", ["", "   ", "# nothing", "// nothing"])
def test_comments_say_nothing(text: str) -> None:
    assert is_comment(text)


def test_an_alias_stands_for_what_follows_it_too() -> None:
    assert expand("px jiffies", {"px": "p -x"}) == "p -x jiffies"


def test_an_alias_of_its_own_name_counts_once() -> None:
    assert expand("ps 1", {"ps": "ps -l"}) == "ps -l 1"
    assert expand("a", {"a": "b", "b": "a"}) == "a"


def test_aliases_without_end_are_refused() -> None:
    chain = {f"a{n}": f"a{n + 1}" for n in range(100)}
    with pytest.raises(UsageError, match="aliases"):
        expand("a0", chain)
