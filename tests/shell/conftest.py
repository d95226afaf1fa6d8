"""A session over a committed dump."""

import io

import pytest

from postmortem.shell.session import Session
from tests.conftest import machine_named


class Shell:
    """A session whose output and complaints are text."""

    def __init__(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.session = Session(machine_named(name).case)
        self._capsys = capsys

    def says(self, line: str) -> str:
        """What a line prints."""
        self._capsys.readouterr()
        self.session.run(line)
        return self._capsys.readouterr().out

    def complains(self, line: str) -> str:
        """What a line is told instead of an answer."""
        self._capsys.readouterr()
        assert not self.session.run(line)
        return self._capsys.readouterr().err


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell over a machine that oopsed."""
    return Shell("6.12-null-chain", capsys)


@pytest.fixture
def quiet() -> io.StringIO:
    return io.StringIO()
