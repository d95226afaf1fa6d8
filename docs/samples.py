"""Write what a guide shows of the program anew: ``python docs/samples.py``.

A sample is an indented block that begins with ``$ postmortem ...``; what stands below it
is what that command prints. In it ``vmcore`` is a dump that comes with the source.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
INPUTS = {"vmcore": ROOT / "corpus" / "dumps" / "6.12-null-chain.vmcore.zst"}
_SAMPLE = re.compile(r"(?m)^    \$ (postmortem .*)\n((?:    .*\n|\n(?=    ))*)")


def renewed(text: str) -> str:
    """The text of a guide with every sample as the program prints it now."""
    return _SAMPLE.sub(lambda found: _sample(found[1]), text)


def _sample(command: str) -> str:
    lines = [f"$ {command}", *_printed(command).splitlines()]
    return "".join(f"    {line}".rstrip() + "\n" for line in lines)


def _printed(command: str) -> str:
    """What it prints, standard error too, where the inputs lie."""
    with tempfile.TemporaryDirectory() as folder:
        for name, target in INPUTS.items():
            Path(folder, name).symlink_to(target)
        return subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=folder,
            env={**os.environ, "COLUMNS": "80", "XDG_CONFIG_HOME": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout


if __name__ == "__main__":
    for guide in GUIDES:
        guide.write_text(renewed(guide.read_text()))
