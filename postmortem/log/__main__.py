"""``python -m postmortem.log FILE...``: the log half alone, as JSON lines."""

from __future__ import annotations

import sys

from postmortem.log.jsonl import jsonl


def main(arguments: list[str]) -> int:
    """Print one JSON document per input."""
    full = "--full" in arguments
    for line in jsonl([argument for argument in arguments if argument != "--full"], full):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["-"]))
