"""The examples of docs/library.md, each run as a reader would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DUMPS

GUIDE = Path(__file__).parents[2] / "docs" / "library.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
VMCORE = next(DUMPS.glob("6.12-null-chain.vmcore*"))
SAYS = (
    "null-dereference BUG: unable to handle kernel NULL pointer dereference in pm_peer_port\n",
    r"6\.12\S* \d+ tasks\n\w+\n\w.* < \w.*\n",
    r"Waits \d+\n",
    "BUG: unable to handle kernel NULL pointer dereference in pm_peer_port\n",
)


@pytest.mark.parametrize(("example", "says"), list(zip(EXAMPLES, SAYS, strict=True)))
def test_an_example_runs_and_says_what_it_should(tmp_path: Path, example: str, says: str) -> None:
    script = tmp_path / "example.py"
    script.write_text(f"VMCORE = {str(VMCORE)!r}\n{example}")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )
    assert re.fullmatch(says, done.stdout), done.stdout + done.stderr
