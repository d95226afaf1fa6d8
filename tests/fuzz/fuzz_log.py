"""Fuzz target for the log half: ``python tests/fuzz/fuzz_log.py -max_total_time=300 CORPUS``.

Needs ``atheris``. Anything that comes out as an exception is a bug, and so is a
report that points outside of its input.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from postmortem.log.decode import decode
    from postmortem.log.scan import scan_bytes


def one_input(data: bytes) -> None:
    """Scan and decode; check what every reader of a report relies on."""
    lines = data.count(b"\n") + 1
    scan = scan_bytes(data)
    for index, report in enumerate(scan.reports):
        assert report.consequence_of is None or report.consequence_of < index
        assert report.line >= 1
        if not data.startswith((b"\x1f\x8b", b"\xfd7z", b"BZh", b"\x28\xb5")):
            assert report.line <= report.end_line <= lines
    decode(data[:4096])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
