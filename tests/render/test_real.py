"""All renderers on machines that really died: what is committed of them in corpus/."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import postmortem
from postmortem import read_json
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


def test_its_page_is_well_formed(real: Analysis) -> None:
    assert real.verdict.readable in read(page(real))


def test_its_document_reads_back_as_it_was(real: Analysis) -> None:
    out = io.StringIO()
    print_json(real, out)
    # What was drawn comes back as the drawing, not as what it was drawn from.
    assert replace(read_json(out.getvalue()), exports=()) == replace(real, exports=())
