"""The answer about a scenario is put beside its truth."""

from __future__ import annotations

import importlib

from corpus.exam import Answer

# "try" is a word of the language: the module is for `python -m corpus.try`.
attempt = importlib.import_module("corpus.try")


def test_each_member_of_the_truth_stands_beside_what_was_said() -> None:
    verdict = {"kind": "bug", "culprit": {"function": "pm_b", "task": {"comm": "sh"}, "cpu": 0}}
    answer = Answer("6.12", "some", "vmcore", 1.0, verdict, ["function is pm_a, not pm_b"])
    truth = {"kind": "bug", "function": "pm_a", "module": "", "task": None, "cpu": 0}
    rows = [line.split() for line in attempt.differences(truth, answer)]
    assert rows == [
        ["truth", "vmcore"],
        ["kind", "bug", "bug"],
        ["function", "pm_a", "pm_b"],
        ["module", "-", "-"],
        ["task", "-", "sh"],
        ["cpu", "0", "0"],
        ["wrong:", "function", "is", "pm_a,", "not", "pm_b"],
    ]
