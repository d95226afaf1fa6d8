"""A verdict against rules: what is asked is true, and what the version says of the fix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postmortem.known.match import Status, known, sentence
from postmortem.known.rules import Rule, Span, load, read
from postmortem.model.findings import Culprit, Kind
from postmortem.model.result import Analysis
from tests.render.samples import CRASH


def rule(text: str, tmp_path) -> Rule:  # type: ignore[no-untyped-def]
    file = tmp_path / "rule.yaml"
    file.write_text(text)
    (found,) = read(file)
    return found


BASE = "id: x\ncause: A cause.\nlink: https://kernel.example/x\nmatch:\n"


@pytest.mark.parametrize(
    ("match", "has"),
    [
        ("  function: pm_null_write", True),
        ("  function: 'pm_*'", True),
        ("  function: pm_null", False),
        ("  function: [other, pm_null_write]\n  kind: null-dereference", True),
        ("  function: pm_null_write\n  kind: [deadlock, use-after-free]", False),
        ("  function: pm_null_write\n  module: pm_fault", True),
        ("  function: pm_null_write\n  module: ext4", False),
        ("  frames: [trigger_write, vfs_write]", True),
        ("  frames: [trigger_write, elsewhere]", False),
        ("  frames: show_trace_log_lvl", False),
        ("  text: 'address: 0+18$'", True),
        ("  text: 'address: 0+19$'", False),
    ],
)
def test_all_that_a_rule_names_must_be_true(match: str, has: bool, tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert bool(known(CRASH, [rule(BASE + match, tmp_path)])) is has


def with_kernel(release: str, version: str | None = None) -> Analysis:
    return replace(CRASH, system=replace(CRASH.system, release=release, version=version))


KERNELS = """
kernels:
  upstream:
    since: "5.4"
    fixed: ["5.10.209", "6.1.75", "6.7.2"]
  rhel: {fixed: ["4.18.0-477.30.1", "4.18.0-513.5.1"]}
  ubuntu: {fixed: 5.15.0-92}
"""


@pytest.mark.parametrize(
    ("release", "status", "fixed_in"),
    [
        ("6.1.74", Status.AFFECTED, "6.1.75"),
        ("6.1.75", Status.FIXED, "6.1.75"),
        ("5.10.208", Status.AFFECTED, "5.10.209"),
        ("5.3.18", Status.FIXED, ""),
        ("5.15.100", Status.AFFECTED, "6.1.75"),  # its branch is not on record
        ("6.12.1", Status.FIXED, "6.7.2"),
        ("6.7.0-rc3", Status.AFFECTED, "6.7.2"),
        ("6.5.6-300.fc39.x86_64", Status.AFFECTED, "6.7.2"),
        ("4.18.0-513.1.1.el8.x86_64", Status.AFFECTED, "4.18.0-513.5.1"),
        ("4.18.0-477.30.1.el8.x86_64", Status.FIXED, "4.18.0-477.30.1"),
        ("4.18.0-553.el8.x86_64", Status.FIXED, "4.18.0-513.5.1"),
        ("5.15.0-91-generic", Status.AFFECTED, "5.15.0-92"),
        ("5.15.0-92-generic", Status.FIXED, "5.15.0-92"),
        ("5.14.21-150500.55.39-default", Status.UNTOLD, "6.7.2"),
        ("6.1.0-18-amd64", Status.UNTOLD, "6.7.2"),
        ("", Status.UNTOLD, "6.7.2"),
    ],
)
def test_the_version_tells_whether_it_is_that_bug(  # type: ignore[no-untyped-def]
    release: str, status: Status, fixed_in: str, tmp_path
) -> None:
    text = BASE + "  function: pm_null_write\n" + KERNELS
    (found,) = known(with_kernel(release), [rule(text, tmp_path)])
    assert (found.status, found.fixed_in) == (status, fixed_in)
    assert found.is_known is (status is not Status.FIXED)


def test_debian_s_upstream_number_is_in_its_version(tmp_path) -> None:  # type: ignore[no-untyped-def]
    text = BASE + "  function: pm_null_write\n" + KERNELS
    told = with_kernel("6.1.0-17-amd64", "#1 SMP Debian 6.1.69-1 (2023-12-30)")
    (found,) = known(told, [rule(text, tmp_path)])
    assert (found.status, found.fixed_in) == (Status.AFFECTED, "6.1.75")


def test_one_sentence(tmp_path) -> None:  # type: ignore[no-untyped-def]
    text = BASE + "  function: pm_null_write\n" + KERNELS
    found = rule(text, tmp_path)
    said = {r: sentence(known(with_kernel(r), [found])[0]) for r in ("6.1.74", "6.1.80", "5.3.1")}
    assert said["6.1.74"] == "Known: x: A cause; fixed in 6.1.75 <https://kernel.example/x>"
    assert "6.1.80 has its fix (since 6.1.75)" in said["6.1.80"]
    assert "5.3.1 is older than that bug" in said["5.3.1"]


def test_what_is_surely_known_comes_first() -> None:
    match = load([])[0].match
    mine = replace(match, kinds=(), modules=(), functions=("pm_null_write",))
    unsure = Rule("unsure", "c", mine, kernels={"sles": Span()})
    sure = Rule("sure", "c", mine, kernels={"upstream": Span(fixed=(((6, 2), "6.2"),))})
    found = known(with_kernel("6.1.7"), [unsure, sure])
    assert [item.rule.id for item in found] == ["sure", "unsure"]


def test_a_calm_verdict_is_no_known_issue() -> None:
    verdict = replace(CRASH.verdict, kind=Kind.NONE, culprit=Culprit(), finding=None)
    assert known(replace(CRASH, verdict=verdict), load([])) == []
