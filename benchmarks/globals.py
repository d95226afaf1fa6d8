"""Compare the types of global variables with DWARF: ``python -m benchmarks.globals VMLINUX...``.

For every name of the table that this kernel has a symbol for: do address and type
agree with what the vmlinux's DWARF says?
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import drgn

from benchmarks.struct_types import describe as describe_type
from benchmarks.vmlinux import Image, debug_program
from postmortem.dump.globals_file import VariableFile
from postmortem.dump.globals_table import GLOBALS
from postmortem.dump.selfdescribe import describe


def compare(path: Path) -> tuple[Counter[str], list[str]]:
    """Counts of each outcome, and a line for each difference."""
    image = Image(path)
    description = describe(image.prog, image.vmcoreinfo())
    if description.problems:
        raise SystemExit(f"{path}: {description.problems}")
    dwarf = debug_program(path)
    outcomes: Counter[str] = Counter()
    lines = []
    for name in sorted({*GLOBALS, *VariableFile().names()} & set(image.symbols)):
        outcome, detail = _compare_one(image, dwarf, name)
        outcomes[outcome] += 1
        if detail:
            lines.append(f"{name}: {outcome}: {detail}")
    return outcomes, lines


def _compare_one(image: Image, dwarf: drgn.Program, name: str) -> tuple[str, str]:
    truth = _variable(dwarf, name)
    ours = _variable(image.prog, name)
    where = image.symbols[name]
    if truth is None:
        return ("no variable", "") if ours is None else ("not in DWARF", str(ours.type_))
    if ours is None:
        if len(where) > 1:
            return "one of several", ""
        return "not found", f"{truth.type_.type_name()}, of {where[0][1]} bytes"
    if truth.address_ is not None and truth.address_ != ours.address_:
        # DWARF names one of several of that name, not always the right one.
        return "another of that name", f"{ours.address_:#x}, not {truth.address_:#x}"
    if describe_type(ours.type_) == describe_type(truth.type_):
        return "equal", ""
    if _without_const(ours.type_.type_name()) == _without_const(truth.type_.type_name()):
        return "equal but for const", ""
    return "differs", f"{ours.type_.type_name()}, DWARF has {truth.type_.type_name()}"


def _without_const(name: str) -> str:
    return re.sub(r"\b(const|volatile)\b|\s+", "", name)


def _variable(prog: drgn.Program, name: str) -> drgn.Object | None:
    try:
        return prog.variable(name)
    except (LookupError, drgn.BadDataError):  # drgn can't read a constant of 16 bytes
        return None


def main() -> None:
    """Print the outcome for each vmlinux."""
    for argument in sys.argv[1:]:
        outcomes, lines = compare(Path(argument))
        print(f"{Path(argument).name}: {dict(outcomes)}")
        for line in lines:
            print("  " + line)


if __name__ == "__main__":
    main()
