"""Cut one page out of a captured trace, with all that its text refers to, for the fast tests.

    python -m corpus.generate.trace_page VMCORE > tests/trace/data/NAME.json

The lines are those that the guest read; the formats, symbols and strings are the dump's.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import postmortem
from corpus.trace_oracle import told
from postmortem.trace.buffers import trace_arrays
from postmortem.trace.environment import DumpEnvironment
from postmortem.trace.events import HEADER
from postmortem.trace.formats import EventFormat
from postmortem.trace.text import Trace


class Recording:
    """An environment that remembers what it was asked."""

    def __init__(self, env: DumpEnvironment) -> None:
        self._env = env
        self.asked: dict[str, dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        answer = getattr(self._env, name)

        def ask(*given: Any) -> Any:
            found = answer(*given)
            self.asked.setdefault(name, {})[" ".join(map(str, given))] = found
            return found

        return ask


def _plain(format: EventFormat | None) -> dict[str, Any]:
    assert format is not None
    found = asdict(format)
    fields = ((f.name, f.type, f.offset, f.size, f.signed) for f in format.data_fields)
    found["fields"] = list(fields)
    return {name: value for name, value in found.items() if value}


def main() -> None:
    path = Path(sys.argv[1])
    with postmortem.open(path, debuginfod=False) as case:
        trace = Trace(case.prog, trace_arrays(case.prog)[0])
        lines = told(path)["trace_main"]
        best: dict[str, Any] = {}
        for cpu in trace.buffer.cpus:
            for (_, raw), (data, places) in zip(
                list(cpu.raw_pages())[1:], list(cpu.batches()), strict=False
            ):
                if data != raw[16:]:
                    continue
                types = {HEADER.unpack_from(data, at)[0] for _, at, _ in places}
                if len(types) > len(best.get("types", ())):
                    best = {"types": types, "raw": raw, "places": places, "cpu": cpu.cpu}
        trace.env = env = Recording(trace.env)  # type: ignore[assignment]
        trace.printers.env = env  # type: ignore[assignment]
        for _, at, size in best["places"]:
            data = best["raw"][16 + at : 16 + at + size]
            trace.printers.text(HEADER.unpack_from(data)[0], data)
        first, last = (best["places"][n][0] for n in (0, -1))
        wanted = [line for line in lines if f"[{best['cpu']:03}]" in line]
        times = [float(line.split(": ", 1)[0].split()[-1]) for line in wanted]
        low, high = (first + 500) // 1000 / 1e6, (last + 500) // 1000 / 1e6
        document = {
            "about": f"a page of {path.parts[-3]}, events of CPU {best['cpu']}",
            "cpu": best["cpu"],
            "page": base64.b64encode(best["raw"]).decode(),
            "formats": [_plain(trace.formats.get(number)) for number in sorted(best["types"])],
            "environment": env.asked,
            "lines": [line for line, at in zip(wanted, times, strict=True) if low <= at <= high],
        }
        json.dump(document, sys.stdout, separators=(",", ":"))
        print()


if __name__ == "__main__":
    main()
