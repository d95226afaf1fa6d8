"""Rules in YAML: what is wrong in one is said in a sentence, and the schema says the same."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from postmortem.errors import UsageError
from postmortem.known.check import failures
from postmortem.known.rules import SHIPPED, TABLES, Rule, load, read

SCHEMA = json.loads(Path("docs/schema/known-1.json").read_text())
GOOD = {
    "id": "a-rule",
    "cause": "It is so.",
    "link": "https://kernel.example/",
    "match": {"function": ["foo"], "kind": "bug", "text": "x.*y"},
    "kernels": {"upstream": {"since": "5.10", "fixed": ["6.1.2"]}},
    "examples": [{"log": "x", "known": False}],
}
SHIPPED_RULES = load([])


def fits(data: object) -> bool:
    return not list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(data))


def written(data: object, folder: Path) -> Path:
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(data))
    return file


def test_a_good_rule_is_read_and_fits_the_schema(tmp_path: Path) -> None:
    (rule,) = read(written(GOOD, tmp_path))
    assert fits(GOOD)
    assert rule.kernels["upstream"].since == (5, 10)
    assert rule.examples[0].known is False


BAD = {
    "no id": {**GOOD, "id": ""},
    "odd id": {**GOOD, "id": "../x"},
    "no cause": {key: value for key, value in GOOD.items() if key != "cause"},
    "unknown field": {**GOOD, "fix": "6.1"},
    "no match": {**GOOD, "match": {}},
    "matches strangers": {**GOOD, "match": {"kind": "bug"}},
    "link that runs": {**GOOD, "link": "javascript:alert(1)"},
    "link with a bracket": {**GOOD, "link": "https://x.example/<b>"},
    "no version": {**GOOD, "kernels": {"upstream": {"fixed": "soon"}}},
    "no distribution": {**GOOD, "kernels": {"windows": {"fixed": "6.1.1"}}},
    "odd example": {**GOOD, "examples": [{"log": "x", "known": "perhaps"}]},
    "text": "just text",
    "a number": 7,
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_sentence_and_against_the_schema(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(written(BAD[name], tmp_path))
    assert "\n" not in str(caught.value)
    assert not fits(BAD[name])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "line"),
        ("id: a\ncause: c\nmatch: {text: '('}", "regular expression"),
        ("id: a\ncause: c\nmatch: {function: f, kind: bag}", "no kind 'bag'"),
        ("\x00", "can't be read"),
        ("!!python/object/apply:os.system ['true']", "must have some of"),
    ],
)
def test_what_is_no_rule_is_said(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        read(file)


def test_a_version_without_quotes_is_no_number(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("id: a\ncause: c\nmatch: {function: f}\nkernels: {upstream: {fixed: 5.10}}")
    (rule,) = read(file)
    assert rule.kernels["upstream"].fixed == (((5, 10), "5.10"),)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("#" * (1 << 21))
    with pytest.raises(UsageError, match="1 MiB"):
        read(file)


def test_one_s_own_rule_wins_over_a_shipped_one(tmp_path: Path) -> None:
    shipped = SHIPPED_RULES[0].id
    written({**GOOD, "id": shipped}, tmp_path)
    found = {rule.id: rule for rule in load([tmp_path])}
    assert found[shipped].cause == "It is so."
    assert len(found) == len(SHIPPED_RULES)


def test_the_same_id_twice_in_a_folder_is_a_mistake(tmp_path: Path) -> None:
    written([GOOD, GOOD], tmp_path)
    with pytest.raises(UsageError, match="already"):
        load([tmp_path])


@pytest.mark.parametrize("rule", SHIPPED_RULES, ids=lambda rule: rule.id)
def test_a_shipped_rule_keeps_to_its_examples(rule: Rule) -> None:
    assert list(failures(rule, SHIPPED_RULES)) == []
    assert {example.known for example in rule.examples} == {True, False}
    assert rule.link


@pytest.mark.parametrize("file", sorted(SHIPPED.iterdir()), ids=lambda file: file.name)
def test_a_shipped_rule_fits_the_schema(file: Path) -> None:
    jsonschema.validate(yaml.safe_load(file.read_text()), SCHEMA)


def test_the_schema_knows_all_distributions() -> None:
    assert set(SCHEMA["$defs"]["Rule"]["properties"]["kernels"]["properties"]) == set(TABLES)
