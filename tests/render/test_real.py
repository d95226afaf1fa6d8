"""All renderers on machines that really died: what is committed of them in corpus/."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import postmortem
from postmortem import read_json
from postmortem.model.findings import Strength
from postmortem.model.result import Analysis
from postmortem.render.html import page
from postmortem.render.json import print_json
from postmortem.render.text import print_report
from tests.render.test_html import read

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "corpus"
FILES = sorted([*CORPUS.glob("dumps/*.vmcore*"), *CORPUS.glob("console/6.12-*.log")])


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.name)
def real(request: pytest.FixtureRequest) -> Analysis:
    return postmortem.open(request.param).analyze()


def test_its_document_is_valid(real: Analysis) -> None:
    out = io.StringIO()
    print_json(real, out)
    schema = json.loads((ROOT / "docs" / "schema" / "postmortem-1.json").read_text())
    Draft202012Validator(schema).validate(json.loads(out.getvalue()))


@pytest.mark.parametrize("verbose", [False, True])
def test_its_report_is_printable_and_begins_with_the_verdict(real: Analysis, verbose: bool) -> None:
    out = io.StringIO()
    print_report(real, out, verbose=verbose)
    lines = out.getvalue().splitlines()
    assert lines[0] in real.verdict.readable
    assert all(line.isprintable() for line in lines)


def test_its_answer_is_one_screen_with_a_step_that_names_something(real: Analysis) -> None:
    out = io.StringIO()
    print_report(real, out)
    lines = out.getvalue().splitlines()
    assert len(lines) <= 23 and max(map(len, lines)) <= 80
    assert any(line.startswith("Next: ") for line in lines)
    step, culprit = real.verdict.next_steps[0], real.verdict.culprit
    assert culprit.function is None or "()" in step or culprit.function in step
    order = [list(Strength).index(item.strength) for item in real.verdict.evidence]
    assert order == sorted(order)


def test_its_page_is_well_formed(real: Analysis) -> None:
    assert real.verdict.readable in read(page(real))


def test_its_document_reads_back_as_it_was(real: Analysis) -> None:
    out = io.StringIO()
    print_json(real, out)
    # What was drawn comes back as the drawing, not as what it was drawn from.
    assert replace(read_json(out.getvalue()), exports=()) == replace(real, exports=())


def test_its_sentences_are_sentences(real: Analysis) -> None:
    wrong = [
        f"{what}: {text}"
        for text in _sentences(real)
        for what, pattern in _WRONG.items()
        if pattern.search(_without_quotations(text))
    ]
    assert wrong == []


def test_it_opens_and_closes_its_brackets(real: Analysis) -> None:
    for text in map(_without_quotations, _sentences(real)):
        for opens, closes in ("()", "[]"):
            assert text.count(opens) == text.count(closes), text


def _sentences(real: Analysis) -> Iterator[str]:
    """What is composed by us: no evidence, which is mostly quoted."""
    yield real.verdict.summary
    yield from real.verdict.next_steps
    for finding in real.findings:
        yield from filter(None, (finding.explanation, *finding.next_steps))
    for problem in real.problems:
        yield f"{problem.what}: {problem.why}."


def _without_quotations(text: str) -> str:
    return re.sub(r'"[^"]*"', '""', text)


_THINGS = "task|CPU|frame|time|line|byte|page|second|report|lock|waiter|finding|stack"
_WRONG = {
    "two spaces": re.compile(r"  "),
    "a word twice": re.compile(r"(?<![-\w.])([A-Za-z]+) \1(?![-\w.(])"),
    "no value": re.compile(r"\bNone\b|\bnan\b"),
    "an unknown name": re.compile(r"(?:^|\s)\? (?:is|has|was|waits|holds)\b"),
    "one of many": re.compile(rf"(?<![-\w.,])1 (?:{_THINGS})s\b"),
    "many of one": re.compile(rf"(?<![-\w.])(?:[2-9]|[1-9]\d+) (?:{_THINGS})(?![-\w])"),
    "no time": re.compile(r"\bfor 0(?:\.0)? s\b"),
    "space before a stop": re.compile(r" [,.;:)](?:\s|$)"),
    "the wrong article": re.compile(
        r"\ba (?:all|un(?:known|re)|in|ob|ad|e[a-t])\w*|\ban [b-df-gj-np-tv-z]\w\w"
    ),
    "no end": re.compile(r"[\w,;]$"),
    "begins small": re.compile(r"^(?:the|a|an|it|this|that|there|no|in|on) "),
}
