"""``postmortem sysrq`` of what is no dump."""

from __future__ import annotations

from pathlib import Path

import pytest

from postmortem import cli

CONSOLE = Path(__file__).parents[2] / "corpus" / "console" / "6.12-healthy-idle.log"


def test_of_a_log_it_says_where_to_find_what_the_keys_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["sysrq", "mtq", str(CONSOLE)])
    assert left.value.code == 2
    said = capsys.readouterr().err.splitlines()[0]
    assert "of m it may hold something: postmortem memory FILE" in said
    assert "of t it may hold something: postmortem hung FILE" in said
    assert "of q nothing is read back" in said
