"""A rule's own test: the logs in it are analysed, and the rule held against them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import postmortem
from postmortem.errors import PostmortemError
from postmortem.known.match import known
from postmortem.known.rules import Rule


def failures(rule: Rule, rules: Sequence[Rule]) -> Iterator[str]:
    """One sentence for each example that is not as it says."""
    if not rule.examples:
        yield f"{rule.source}: rule {rule.id} has no example: nothing tests it"
    for number, example in enumerate(rule.examples, 1):
        where = f"{rule.source}: rule {rule.id}, example {number}"
        try:
            with tempfile.TemporaryDirectory(prefix="postmortem-") as folder:
                path = Path(folder, "example.log")
                path.write_text(example.log, encoding="utf-8")
                with postmortem.open(path) as case:
                    found = known(case.analyze(), rules)
        except PostmortemError as error:
            yield f"{where}: {error}"
            continue
        is_known = any(item.rule.id == rule.id and item.is_known for item in found)
        if is_known is not example.known:
            yield f"{where} is {'known' if is_known else 'not known'}, and should not be so"
