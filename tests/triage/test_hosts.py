"""One machine that fails in many ways is ill itself."""

from __future__ import annotations

from pathlib import Path

from postmortem.judge.faults import _flip_sentence
from postmortem.kernel.code.bitflip import BitFlip, Strength
from postmortem.triage.hosts import hosts
from postmortem.triage.store import Store
from tests.triage.stores import case, outcome

# The judge's own words: the store looks for them.
FLIP = _flip_sentence(
    BitFlip("rax", 0xFFFF888000000040, 6, "an object of acme", Strength.TYPE, True)
)


def test_many_unlike_bugs_machine_checks_and_flipped_bits_point_to_the_machine(
    tmp_path: Path,
) -> None:
    store = Store.open(tmp_path / "x.db")
    told = [
        *(case(f"f{n}", host="ill") for n in range(3)),
        *(case("one_bug", host="busy") for _ in range(5)),
        case("mce", host="hot", kind="machine-check"),
        case("g", host="flips", summary=f"It used a pointer. {FLIP}"),
        case("asked", host="tested", kind="user-requested"),
        case("h", host=None),
    ]
    store.add(store.begin_run([]), [outcome(str(n), row) for n, row in enumerate(told)])
    found = {host.name: host for host in hosts(store)}
    assert set(found) == {"ill", "busy", "hot", "flips"}
    assert found["ill"].suspicion == ("3 unlike bugs",)
    assert (found["busy"].crashes, found["busy"].bugs, found["busy"].suspicion) == (5, 1, ())
    assert found["hot"].suspicion == ("1 machine check",)
    assert found["flips"].suspicion == ("one flipped bit explains 1 crash",)
    assert [host.name for host in hosts(store)] == ["ill", "flips", "hot", "busy"]
    assert len(hosts(store, limit=2)) == 2
