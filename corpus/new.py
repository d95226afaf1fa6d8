"""Begin a new scenario: a function that breaks the kernel, its row, its truth, all stubs.

python -m corpus.new NAME [--family FILE] [--kind KIND] [--script]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.scenarios import FOLDER, ScenarioError, load
from postmortem.model.findings import Kind

_FAMILY = """\
// SPDX-License-Identifier: GPL-2.0
#include "faults.h"

const struct pm_fault {table}[] = {{
	{{ }}
}};
"""

_FUNCTION = """\
/* TODO: what goes wrong here. */
static PM_FAULT void {function}(void)
{{
	pr_info("nothing breaks yet\\n");
}}

"""

_SCENARIO = """
[{name}]
about = "TODO: one sentence, what happens"
kernels = ["6.12"]
{action}
[{name}.truth]
kind = "{kind}"
{function}"""

_SCRIPT = '''\
says = "TODO: what the kernel says of it"
trigger = """
TODO: what breaks the machine
"""'''


@dataclass(frozen=True)
class Stub:
    """The names that follow from a scenario's name."""

    name: str
    family: str
    """The file of faults/ without its suffix."""

    @property
    def function(self) -> str:
        """The C function that the truth calls guilty."""
        return f"pm_{_word(self.name)}"

    @property
    def table(self) -> str:
        return f"pm_{self.family}_faults"


def _word(name: str) -> str:
    return name.replace("-", "_")


def _insert(file: Path, before: str, text: str) -> None:
    """Put *text* in front of the last match of the pattern *before*."""
    content = file.read_text()
    places = list(re.finditer(before, content, re.MULTILINE))
    if not places:
        raise ScenarioError(f"{file.name} has no place for it, {before!r} is gone")
    start = places[-1].start()
    file.write_text(content[:start] + text + content[start:])


def add_family(faults: Path, stub: Stub) -> None:
    """A new file with an empty table, which Kbuild and main.c know."""
    (faults / f"{stub.family}.c").write_text(_FAMILY.format(table=stub.table))
    kbuild = faults / "Kbuild"
    kbuild.write_text(re.sub(r"(?m)^(pm_fault-y := .*)$", rf"\1 {stub.family}.o",
                             kbuild.read_text()))  # fmt: skip
    main = faults / "main.c"
    _insert(main, r"^\nstatic const struct pm_fault \*const families",
            f"extern const struct pm_fault {stub.table}[];\n")  # fmt: skip
    main.write_text(re.sub(r"(families\[\] = \{.*?)(\n\};)", rf"\1\n\t{stub.table},\2",
                           main.read_text(), count=1, flags=re.DOTALL))  # fmt: skip


def add_fault(faults: Path, stub: Stub) -> None:
    """A function in front of the family's table, and its row at the table's end."""
    file = faults / f"{stub.family}.c"
    if not file.exists():
        add_family(faults, stub)
    _insert(file, r"^const struct pm_fault ", _FUNCTION.format(function=stub.function))
    _insert(file, r"^\t\{ \}", f'\t{{ "{stub.name}", {stub.function} }},\n')


def add_scenario(folder: Path, stub: Stub, kind: Kind, *, script: bool) -> None:
    action = _SCRIPT if script else f'fault = "{stub.name}"'
    function = "" if script else f'function = "{stub.function}"\n'
    with (folder / "scenarios.toml").open("a") as file:
        file.write(
            _SCENARIO.format(name=stub.name, action=action, kind=kind.value, function=function)
        )


def begin(folder: Path, name: str, family: str | None, kind: Kind, *, script: bool) -> list[Path]:
    """Write the stubs of scenario *name* into the corpus at *folder*; the files to go on in."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ScenarioError(f"{name!r} is no name of small letters, digits and dashes")
    if name in load(folder):
        raise ScenarioError(f"[{name}] is there already")
    stub = Stub(name, family or _word(name))
    if not script:
        add_fault(folder / "faults", stub)
    add_scenario(folder, stub, kind, script=script)
    load(folder)
    return ([] if script else [folder / "faults" / f"{stub.family}.c"]) + [
        folder / "scenarios.toml"
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m corpus.new", description="Begin a new scenario with stubs."
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--family", metavar="FILE",
                        help="add the fault to faults/FILE.c, all of whose captures are then made"
                             " anew; default: a file of its own")  # fmt: skip
    parser.add_argument("--kind", type=Kind, default=Kind.BUG, metavar="KIND",
                        help="of the truth: " + ", ".join(kind.value for kind in Kind))  # fmt: skip
    parser.add_argument("--script", action="store_true",
                        help="a shell script breaks the machine, not the fault module")  # fmt: skip
    options = parser.parse_args(argv)
    try:
        files = begin(FOLDER, options.name, options.family, options.kind, script=options.script)
    except (ScenarioError, OSError) as error:
        print(f"new: {error}", file=sys.stderr)
        return 1
    print("Go on in:", *files, sep="\n  ")
    print(f"then: python -m corpus.try {options.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
