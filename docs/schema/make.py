"""Writes postmortem-1.json from the dataclasses: ``python docs/schema/make.py``.

A field added to the contract is a change of the published schema: run this,
look at the difference, and say so in CHANGELOG.md.
"""

from __future__ import annotations

import ast
import inspect
import json
import types
import typing
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from postmortem.model.findings import Export
from postmortem.model.result import SCHEMA, Analysis
from postmortem.render.json import HEX

TARGET = Path(__file__).with_name("postmortem-1.json")
CLOSED = {
    ("Input", "kind"): ["vmcore", "kcore", "log"],
    ("Analysis", "types_from"): ["btf", "dwarf", "btf+dwarf", "none"],
}
"""Strings with a closed list that is no Enum."""

QUOTED = {
    "Analysis": {"log_tail"},
    "Culprit": {"function", "module", "file"},
    "Frame": {"function", "module", "file", "locals"},
    "ModuleInfo": {"name", "taints"},
    "Report": {
        "text",
        "panic",
        "function",
        "module",
        "taint",
        "release",
        "hardware",
        "modules",
        "detail",
        "devices",
        "above",
        "check",
        "tainting",
    },
    "Said": {"text"},
    "Stack": {"title"},
    "System": {"release", "version", "nodename", "hardware", "command_line"},
    "TaskRef": {"comm"},
    "Text": {"lines"},
}
"""Strings that stand in the dump or the log and are copied: anybody may have written them."""

COMPOSED = {
    "Block": {"title", "lines"},
    "Evidence": {"what", "where"},
    "Export": {"title"},
    "Finding": {"title", "shown", "explanation", "next_steps", "behind"},
    "Input": {"path", "lacks", "notes"},
    "Problem": {"what", "why"},
    "Report": {"title", "shown", "alt_titles", "corrupted"},
    "Signature": {"exact", "frames", "coarse"},
    "Table": {"title", "rows", "note"},
    "Text": {"title"},
    "TaskStack": {"note"},
    "Verdict": {"title", "shown", "summary", "next_steps"},
}
"""Our own words around names and lines that come from the input."""

OWN = {
    "Analysis": {"asked", "types_from"},
    "Code": {"arch"},
    "Column": {"name"},
    "Export": {"suffix"},
    "Finding": {"id", "caused_by"},
    "Frame": {"segment"},
    "Input": {"kind", "format"},
    "Report": {"type", "arch", "form"},
    "System": {"arch", "taint"},
    "TaskStack": {"state"},
    "Verdict": {"finding"},
}
"""Nothing of the input is in them, or nothing but one of a few words."""

ORIGIN = "x-from-input"
"""In the schema, on a string: ``quoted`` or ``contains``."""

Schema = dict[str, Any]

DRAWN: Schema = {
    "description": "What other programs read; null for a picture, which `-o FILE` draws.",
    "type": ["string", "null"],
}
"""What the document has instead of an export's data."""


def schema() -> Schema:
    """The whole JSON Schema."""
    definitions: dict[str, Schema] = {
        "Hex": {
            "description": "An address or register value as the kernel writes it.",
            "type": "string",
            "pattern": "^-?0x[0-9a-f]+$",
        }
    }
    root = _object(Analysis, definitions)
    root["properties"] = {"schema": {"const": SCHEMA}, **root["properties"]}
    root["required"] = ["schema", *root["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:postmortem:schema:postmortem-1",
        "title": "postmortem analyze --json",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(cls: type[Any], definitions: dict[str, Schema]) -> Schema:
    hints = typing.get_type_hints(cls)
    documented = _attribute_docs(cls)
    properties = {}
    for field in fields(cls):
        if (cls, field.name) == (Export, "data"):
            properties["text"] = DRAWN
            continue
        if (cls.__name__, field.name) in CLOSED:
            value: Schema = {"enum": CLOSED[cls.__name__, field.name]}
        else:
            value = _type(hints[field.name], definitions, (cls, field.name) in HEX)
        value = {**value, **_origin(cls.__name__, field.name, hints[field.name])}
        about = documented.get(field.name)
        properties[field.name] = {"description": about, **value} if about else value
    return {
        "description": _prose(cls.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _origin(cls: str, field: str, hint: Any) -> Schema:
    """Whether a string is the input's word or ours. A new field must say it."""
    if not _holds_strings(hint):
        return {}
    for origin, known in (("quoted", QUOTED), ("contains", COMPOSED), (None, OWN)):
        if field in known.get(cls, ()):
            return {ORIGIN: origin} if origin else {}
    raise TypeError(f"say in {Path(__file__).name} where the text of {cls}.{field} comes from")


def _holds_strings(hint: Any) -> bool:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is dict:
        args = args[1:]  # names of members
    return hint is str or any(map(_holds_strings, args))


def _type(hint: Any, definitions: dict[str, Schema], is_hex: bool = False) -> Schema:
    if hint is int and is_hex:
        return {"$ref": "#/$defs/Hex"}
    simple = {int: "integer", str: "string", bool: "boolean", type(None): "null"}
    if hint in simple:
        return {"type": simple[hint]}
    if hint is float:
        return {"type": ["number", "null"]}  # null: not a number
    if hint is bytes:
        return {"type": "string", "pattern": "^([0-9a-f]{2})*$"}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union([_type(arg, definitions, is_hex) for arg in args])
    if origin is tuple and args[-1] is Ellipsis:
        return {"type": "array", "items": _type(args[0], definitions, is_hex)}
    if origin is tuple:
        items = [_type(arg, definitions) for arg in args]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(args[1], definitions, is_hex)}
    return _named(hint, definitions)


def _union(options: list[Schema]) -> Schema:
    if any(set(option) != {"type"} for option in options):
        return {"anyOf": options}
    names: list[str] = []
    for option in options:
        kinds = option["type"]
        names += kinds if isinstance(kinds, list) else [kinds]
    return {"type": list(dict.fromkeys(names))}


def _named(cls: type[Any], definitions: dict[str, Schema]) -> Schema:
    name = cls.__name__
    if name not in definitions:
        definitions[name] = {}
        if issubclass(cls, Enum):
            values = [member.value for member in cls]
            definitions[name] = {"description": _prose(cls.__doc__ or ""), "enum": values}
        elif is_dataclass(cls):
            definitions[name] = _object(cls, definitions)
        else:
            raise TypeError(f"the contract holds a {name}, which JSON does not know")
    return {"$ref": f"#/$defs/{name}"}


def _attribute_docs(cls: type[Any]) -> dict[str, str]:
    """The string after each field, which Python itself drops."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for before, after in zip(tree.body, tree.body[1:]):  # noqa: B905 - pairs
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[before.target.id] = _prose(str(after.value.value))
    return found


def _prose(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


if __name__ == "__main__":
    TARGET.write_text(json.dumps(schema(), indent=2) + "\n")
