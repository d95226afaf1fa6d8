"""``postmortem known``: one sentence and an exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from postmortem.cli.known import EXIT_NOT_KNOWN
from postmortem.cli.root import run
from postmortem.known.rules import load

RULE = """
id: mine
cause: The module's peer is NULL.
match: {function: pm_peer_port, module: pm_fault}
kernels: {debian: {fixed: "6.12.200-1"}}
advice: Unload it.
"""


@pytest.fixture(autouse=True)
def no_own_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("POSTMORTEM_DEBUG", "1")


DUMP = "corpus/dumps/6.12-null-chain.vmcore.zst"
LOG = "corpus/console/6.12-null-chain.log"


def test_what_no_rule_knows_is_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["known", LOG]) == EXIT_NOT_KNOWN
    assert capsys.readouterr().out.startswith("Not known: BUG: ")


def test_a_rule_of_one_s_own_is_found_by_name_and_at_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = tmp_path / "config" / "postmortem" / "known" / "mine.yaml"
    rule.parent.mkdir(parents=True)
    rule.write_text(RULE)
    assert run(["known", LOG]) == 0
    at_home = capsys.readouterr().out
    named = tmp_path / "named.yaml"
    rule.rename(named)
    assert run(["known", "--rules", str(named), LOG]) == 0
    assert capsys.readouterr().out == at_home
    assert at_home.splitlines()[0].startswith("Known: mine: The module's peer is NULL; fixed in ")
    assert at_home.splitlines()[1] == "  Unload it."


def test_a_dump_and_its_log_are_known_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "named.yaml"
    named.write_text(RULE)
    assert run(["known", "--json", "--rules", str(named), DUMP]) == 0
    (rule,) = json.loads(capsys.readouterr().out)["rules"]
    # Only the dump has Debian's package version whole: its rule can be compared.
    assert (rule["id"], rule["status"], rule["fixed_in"]) == ("mine", "affected", "6.12.200-1")


def test_shipped_examples_are_known_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rule in load([]):
        for number, example in enumerate(rule.examples):
            log = tmp_path / f"{rule.id}-{number}.log"
            log.write_text(example.log)
            assert run(["known", str(log)]) == (0 if example.known else EXIT_NOT_KNOWN)


def test_rules_are_held_against_their_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["known", "--check"]) == 0
    untested = tmp_path / "mine.yaml"
    untested.write_text(RULE)
    assert run(["known", "--check", "--rules", str(untested)]) == EXIT_NOT_KNOWN
    assert "no example" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["known"], 2),
        (["known", "--rules", "/nowhere", LOG], 2),
        (["known", "/nowhere"], 4),
        (["known", "pyproject.toml"], 3),
    ],
)
def test_mistakes_are_one_sentence(
    args: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == status
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("postmortem: ")
    assert len(rest) <= 1  # try --help


def test_a_bug_of_a_triage_is_known_until_its_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "s.db"
    older = LOG.replace("6.12", "6.1")
    assert run(["triage", older, "--store", str(store)]) == 0
    capsys.readouterr()
    assert run(["known", LOG, "--store", str(store)]) == 0
    said = capsys.readouterr().out
    assert re.fullmatch(r"Known: bucket \w{10}: BUG: .*, 1 crash; not said to be fixed\n", said)
    bucket = said.split()[2].rstrip(":")
    assert run(["bucket", "fixed", bucket, "--in", "6.12.200", "--store", str(store)]) == 0
    capsys.readouterr()
    assert run(["known", LOG, "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["store"]["fixed_in"] == ["6.12.200"]
    assert run(["bucket", "fixed", bucket, "--in", "6.12.100", "--store", str(store)]) == 0
    assert run(["known", older, "--store", str(store)]) == 0
    assert run(["known", LOG, "--store", str(store)]) == EXIT_NOT_KNOWN  # it has the fix
    assert run(["known", LOG, "--store", str(tmp_path / "none.db")]) == 4
