"""What a bucket has more often than all others."""

from __future__ import annotations

from postmortem.triage.special import special

ALL = {
    "module": {"ext4": 1000, "acme": 60, "kvm": 500},
    "release": {"6.1.1": 500, "6.1.2": 400},
    "host": {"web3": 50},
    "told": {"module": 1000},
}


def test_what_all_others_lack_is_special_and_what_all_have_is_not() -> None:
    bucket = {"module": {"ext4": 50, "acme": 50, "kvm": 25}, "host": {"web3": 50}}
    bucket["told"] = {"module": 50}
    (found,) = special(bucket, ALL, 50, 1000)
    assert (found.name, found.value) == ("module", "acme")
    assert (found.inside, found.inside_all, found.outside, found.outside_all) == (50, 50, 10, 950)
    assert found.chance < 1e-30


def test_where_it_is_not_known_counts_for_nothing() -> None:
    # 40 of 40 crashes whose release is known, and 460 of 860 others.
    (found,) = special({"release": {"6.1.1": 40}}, ALL, 50, 1000)
    assert (found.inside, found.inside_all, found.outside, found.outside_all) == (40, 40, 460, 860)


def test_logs_without_a_list_of_modules_are_not_logs_without_modules() -> None:
    everything = {"module": {"acme": 60}, "told": {"module": 60}}
    bucket = {"module": {"acme": 20}, "told": {"module": 20}}
    # All whose modules are known have it: the 940 others had it, too, or not.
    assert special(bucket, everything, 30, 1000) == []
    everything["told"]["module"] = 400
    (found,) = special(bucket, everything, 30, 1000)
    assert (found.inside, found.inside_all, found.outside, found.outside_all) == (20, 20, 40, 380)


def test_few_crashes_tell_nothing() -> None:
    assert special({"module": {"acme": 2}}, ALL, 2, 1000) == []


def test_chance_among_many_values_is_corrected() -> None:
    # One in a thousand each: of a thousand modules one looks special by chance.
    everything = {"module": {f"m{n}": 4 for n in range(1000)}, "told": {"module": 1000}}
    bucket = {"module": {f"m{n}": 1 for n in range(1000)}, "told": {"module": 10}}
    bucket["module"]["m0"] = 2
    assert special(bucket, everything, 10, 1000) == []


def test_counters_that_contradict_each_other_are_no_trouble() -> None:
    assert special({"module": {"acme": 9}}, {"module": {"acme": 1}}, 5, 3) == []


def test_nothing_is_known_of_the_others() -> None:
    assert special({"module": {"acme": 9}}, {}, 9, 9) == []
