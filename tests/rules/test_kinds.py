"""One row a kind: each has its plugin, its effect, a sentence and a next step."""

from __future__ import annotations

import pytest

from postmortem.model.findings import Kind
from postmortem.rules import kinds
from postmortem.rules.kinds import RULES, Effect, Family, KindRule

TOLD_BY = {
    Family.OOPS: "null-dereference bad-pointer general-protection use-after-free out-of-bounds"
    " memory-corruption list-corruption double-free stack-overflow divide-error invalid-opcode"
    " bad-execution bug warning stack-trace scheduling-while-atomic",
    Family.PANIC: "panic init-killed root-mount user-requested nmi machine-check",
    Family.MEMORY: "oom allocation-failure memory-leak",
    Family.HANG: "hung-task deadlock",
    Family.LOCKUP: "soft-lockup hard-lockup rcu-stall workqueue-stall",
    Family.CHECKER: "lockdep kasan kmsan kcsan kfence ubsan",
    Family.DEVICE: "io-error device-error thermal suspend clock",
}
EFFECT = {
    Effect.MILD: "warning stack-trace user-requested nmi allocation-failure memory-leak"
    " rcu-stall workqueue-stall lockdep kcsan ubsan io-error"
    " device-error thermal suspend clock",
    Effect.SERIOUS: "scheduling-while-atomic panic init-killed root-mount machine-check oom"
    " hung-task deadlock soft-lockup hard-lockup",
    Effect.DEADLY: "null-dereference bad-pointer general-protection stack-overflow divide-error"
    " invalid-opcode bad-execution bug kmsan",
    Effect.CORRUPTING: "use-after-free out-of-bounds memory-corruption list-corruption double-free"
    " kasan kfence",
}
CLASSES = {
    "bad-access": "null-dereference bad-pointer general-protection use-after-free out-of-bounds"
    " kasan kmsan list-corruption bad-execution",
    "stall": "soft-lockup hard-lockup rcu-stall",
    "hang": "hung-task",
    "invalid-free": "double-free",
}


def test_every_kind_but_none_has_one_row() -> None:
    assert sorted(rule.kind for rule in RULES) == sorted(set(Kind) - {Kind.NONE})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.kind))
def test_row(rule: KindRule) -> None:
    assert str(rule.kind) in TOLD_BY[rule.family].split()
    assert str(rule.kind) in EFFECT[rule.effect].split()
    known = [name for name, members in CLASSES.items() if str(rule.kind) in members.split()]
    assert kinds.bug_class(rule.kind) == (known[0] if known else str(rule.kind))
    assert rule.sentence.endswith(".") and "None" not in kinds.explain(rule.kind, None)
    assert kinds.next_steps(rule.kind)


def test_a_sentence_names_the_culprit() -> None:
    assert kinds.explain(Kind.BUG, "frob").startswith("frob() ")
    assert kinds.explain(Kind.BUG, None).startswith("The kernel ")


def test_who_notices_damage_is_a_witness() -> None:
    witnesses = {rule.kind for rule in RULES if rule.witness}
    assert witnesses == {Kind.MEMORY_CORRUPTION, Kind.OUT_OF_BOUNDS}


def test_sets_are_made_of_the_rows() -> None:
    assert Kind.WARNING in kinds.MILD and Kind.BUG not in kinds.MILD
    assert kinds.CORRUPTING < kinds.DEADLY
    assert Kind.SCHEDULING_WHILE_ATOMIC not in kinds.DEADLY
    assert kinds.LOCKUPS | {Kind.HUNG_TASK, Kind.DEADLOCK} == kinds.STUCK
