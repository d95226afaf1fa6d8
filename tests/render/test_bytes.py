"""Exports that are no text: written as they are, never shown, never redacted by halves."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

from postmortem.model.findings import Export
from postmortem.redact import redacted
from postmortem.render.json import print_json
from postmortem.render.output import writer
from tests.conftest import machine_named

DATA = b"\0\xff\r\nPERFILE2"


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    found = machine_named("6.12-null-chain").case.run("relay")
    analysis = replace(found, exports=(Export("samples", "data", DATA),))
    file = tmp_path / "x.data"
    with file.open("w", encoding="utf-8") as opened:
        writer(analysis, str(file), plugin=True)(opened)
    assert file.read_bytes() == DATA
    shown = io.StringIO()
    print_json(analysis, shown)
    (export,) = json.loads(shown.getvalue())["exports"]
    assert export == {"title": "samples", "suffix": "data", "text": None}
    assert redacted(analysis).exports == ()
