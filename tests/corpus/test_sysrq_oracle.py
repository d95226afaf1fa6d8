"""The comparison itself: a wrong column must not pass for one that moved."""

from __future__ import annotations

from pathlib import Path

import pytest

import postmortem
from corpus.exam import capture_again
from corpus.publish import ORACLE
from corpus.sysrq_oracle import Compared, Shown, captured, compare, judge, oom_sections, sections
from postmortem.printers.sysrq import SHOWN

NODE = "Node 0 active_anon:{}kB inactive_anon:{}kB mapped:{}kB present:{}kB"


def judged(key: str, their: str, our: str, levels: tuple[int, int] = (4, 4)) -> Compared:
    found = Compared(key)
    judge(found, (their, levels[0]), (our, levels[1]))
    return found


def test_a_field_may_drift_as_far_as_is_said() -> None:
    found = judged("m", NODE.format(100, 0, 8, 900), NODE.format(128, 0, 12, 900))
    assert dict(found.moved) == {"active_anon": 1, "mapped": 1}
    assert not found.unequal


@pytest.mark.parametrize(
    "wrong",
    [
        NODE.format(100, 0, 8, 901),  # what never moves
        NODE.format(9_000_000, 0, 8, 900),  # too far
        NODE.format(100, 0, 8, 900).replace("mapped", "maped"),
        NODE.format(100, 0, 8, 900).replace("Node 0 ", "Node 0  "),
    ],
)
def test_anything_else_is_unequal(wrong: str) -> None:
    assert len(judged("m", NODE.format(100, 0, 8, 900), wrong).unequal) == 1


def test_the_level_counts() -> None:
    text = "Mem-Info:"
    assert judged("m", text, text, (4, 4)).equal == 1
    assert judged("m", text, text, (4, 6)).unequal


def test_a_missing_line_is_unequal() -> None:
    found = Compared("m")
    missing: Shown | None = None
    judge(found, ("Mem-Info:", 4), missing)
    assert found.unequal == [("<4>Mem-Info:", "(none)")]


def unequal(path: Path) -> list[tuple[str, str, str]]:
    """Key, the kernel's line, ours."""
    found = []
    with postmortem.open(path, debuginfod=False) as case:
        told = {**sections(case), **oom_sections(case)}
        assert {"m"} < set(told)
        for key, theirs in told.items():
            if key in ("f", "h") or key in SHOWN:
                found += [(key, *pair) for pair in compare(case, key, theirs).unequal]
    return found


def test_committed_machine_prints_what_its_kernel_printed() -> None:
    """A kernel with lockdep that pressed every key just before it was dumped."""
    path = next(ORACLE.glob("6.12own-sysrq-locks.vmcore*"))
    compared = {}
    with postmortem.open(path, debuginfod=False) as case:
        for key, theirs in sections(case).items():
            compared[key] = compare(case, key, theirs)
    assert {key: found.unequal for key, found in compared.items() if found.unequal} == {}
    # Where nothing moves by itself nearly all is equal; the key that is written to a file
    # shows its own locks, registers and stacks, which are gone.
    least = {"h": 1, "m": 10, "t": 700, "w": 78, "q": 120, "d": 18, "z": 3}
    assert {key: compared[key].equal >= least[key] for key in least} == dict.fromkeys(least, True)


@pytest.mark.capture
@pytest.mark.parametrize("path", captured(), ids=lambda path: "-".join(path.parts[-3:-1]))
def test_captured_machines(path: Path) -> None:
    """What the kernel printed, and what we print of the same machine a moment later.

    In that moment anything may happen: once more of a second machine, where a wrong line is
    wrong again.
    """
    first = unequal(path)
    if first:
        print(path, first)
        capture_again(path.parent, path.parents[2])
        assert unequal(path) == []
