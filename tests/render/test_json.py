"""The JSON document: valid against the published schema, whatever the strings are."""

from __future__ import annotations

import io
import json
import math
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from postmortem.model.result import Analysis
from postmortem.render.json import document, print_json, read
from tests.render.hostile import ATTACKS, poison
from tests.render.samples import ALL, CRASH

SCHEMA_FOLDER = Path(__file__).parents[2] / "docs" / "schema"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads((SCHEMA_FOLDER / "postmortem-1.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def written(analysis: Analysis) -> str:
    out = io.StringIO()
    print_json(analysis, out)
    return out.getvalue()


def test_the_published_schema_is_that_of_the_dataclasses() -> None:
    made = runpy.run_path(str(SCHEMA_FOLDER / "make.py"))["schema"]()
    assert json.loads((SCHEMA_FOLDER / "postmortem-1.json").read_text()) == made


@pytest.mark.parametrize("name", ALL)
def test_a_document_is_valid(name: str, validator: Draft202012Validator) -> None:
    validator.validate(json.loads(written(ALL[name])))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_document_is_valid_and_ascii(
    attack: str, validator: Draft202012Validator
) -> None:
    text = written(poison(CRASH, attack))
    assert text.isascii()
    assert "\x1b" not in text
    text.encode().decode("utf-8", "strict")
    validator.validate(json.loads(text))


def test_an_unknown_field_is_refused(validator: Draft202012Validator) -> None:
    assert not validator.is_valid({**document(CRASH), "extra": 1})


def test_no_reader_meets_a_lone_surrogate() -> None:
    read: dict[str, Any] = json.loads(written(poison(CRASH, "a\ud800b")))
    assert read["verdict"]["title"] == "a?b"


def test_addresses_are_hex_strings() -> None:
    read = document(CRASH)
    assert read["cpus"][1]["frames"][0]["address"] == "0xffffffffc0201012"
    assert read["system"]["modules"][0]["base"] == "0xffffffffc0201000"
    assert read["reports"][0]["registers"] == {"RAX": "0x2a", "RDI": "0x0"}
    assert read["reports"][0]["fault_address"] == "0x18"
    assert read["reports"][0]["code"]["data"] == "48894718c3"


def test_enums_are_their_values() -> None:
    read = document(CRASH)
    assert (read["schema"], read["verdict"]["kind"]) == ("postmortem/1", "null-dereference")
    assert type(read["verdict"]["kind"]) is str


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(number: float) -> None:
    analysis = replace(CRASH, timings={"open": number})
    assert json.loads(written(analysis))["timings"] == {"open": None}


def test_the_same_analysis_gives_the_same_bytes() -> None:
    assert written(CRASH) == written(replace(CRASH))


# --- and back


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_document_reads_back_as_it_was(name: str) -> None:
    assert read(written(ALL[name])) == ALL[name]


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"schema": "postmortem/0"}'])
def test_another_document_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="schema"):
        read(text)


def test_a_document_that_lacks_something_is_refused() -> None:
    whole = document(CRASH)
    del whole["verdict"]["title"]
    with pytest.raises(ValueError, match="Verdict without title"):
        read(whole)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert read({**document(CRASH), "mood": "calm"}) == CRASH


def test_the_schema_says_what_is_a_quotation() -> None:
    schema = json.loads((SCHEMA_FOLDER / "postmortem-1.json").read_text())
    properties = {name: item.get("properties", {}) for name, item in schema["$defs"].items()}
    assert properties["TaskRef"]["comm"]["x-from-input"] == "quoted"
    assert properties["Evidence"]["what"]["x-from-input"] == "contains"
    assert "x-from-input" not in properties["Finding"]["id"]
    assert schema["properties"]["log_tail"]["x-from-input"] == "quoted"
