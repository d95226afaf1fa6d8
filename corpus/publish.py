"""Take out of the cache what is committed: consoles, and a few dumps.

python -m corpus.publish
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from corpus import tools, variants
from corpus.capture import folder
from corpus.kernels import KERNELS, FetchError, Tree, default_cache
from corpus.scenarios import Scenario, load
from postmortem.model.findings import Kind

HERE = Path(__file__).parent
CONSOLES = HERE / "console"
DUMPS = HERE / "dumps"
ORACLE = DUMPS / "oracle"
"""Machines whose log says what SysRq keys print: read by the tests of those keys only."""

PRESSED = "pm: pressed"
INIT_STARTS = "as init process"
LIMIT_BYTES = 12 << 20
"""What a committed dump may have."""

COMPRESSORS = {
    ".zst": ["zstd", "-qc", "--ultra", "-22", "--long=27"],
    # A seventh smaller, but five times slower to read.
    ".xz": ["xz", "-c", "--x86", "--lzma2=preset=9e,dict=64MiB"],
}

WHOLE_BOOTS = {"sysrq-crash", "healthy-idle", "healthy-busy", "root-mount"}


def console(scenario: Scenario, text: str) -> str:
    """What of a console is worth keeping: a boot is a boot, a few of them suffice."""
    lines = text.replace("\r", "").splitlines(keepends=True)
    if scenario.name in WHOLE_BOOTS or scenario.truth.kind is Kind.NONE:
        return "".join(lines)
    start = next((n for n, line in enumerate(lines) if INIT_STARTS in line), 0)
    return "".join(lines[start:])


def captures(cache: Path) -> Iterator[tuple[Tree, Scenario]]:
    for kernel in KERNELS.values():
        root = cache / "kernels" / kernel.name
        if root.exists():
            tree = Tree(kernel, root.resolve())
            for scenario in load().values():
                if kernel.name in scenario.kernels:
                    yield tree, scenario


def publish_console(tree: Tree, scenario: Scenario, cache: Path) -> None:
    source = folder(cache, tree, scenario, "outside") / "console.log"
    if source.exists():
        text = console(scenario, source.read_text(errors="replace"))
        (CONSOLES / f"{tree.kernel.name}-{scenario.name}.log").write_text(text)


def publish_dump(tree: Tree, scenario: Scenario, cache: Path, road: str) -> None:
    """Filter the dump, and compress it as a whole.

    Page by page, as kdump compresses, the same dump would be half as large again.
    """
    source = folder(cache, tree, scenario, road)
    name = f"{tree.kernel.name}-{scenario.name}"
    place = ORACLE if scenario.until == PRESSED else DUMPS
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        variants.make(tools.makedumpfile(cache), source / "vmcore", Path(scratch), ["uncompressed"])
        for old in place.glob(f"{name}.vmcore*"):
            old.unlink()
        for suffix, command in COMPRESSORS.items():
            target = place / f"{name}.vmcore{suffix}"
            with target.open("wb") as out:
                subprocess.run([*command, f"{scratch}/vmcore.uncompressed"], stdout=out, check=True)
            if target.stat().st_size <= LIMIT_BYTES:
                break
            target.unlink()
        else:
            raise variants.VariantError(f"{name} is too large to be committed")
    shutil.copy(source / "truth.json", place / f"{name}.truth.json")
    shutil.copy(source / "console.log", place / f"{name}.console.log")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m corpus.publish", description=__doc__)
    parser.add_argument("--only", metavar="SCENARIO", help="the dump of this scenario only")
    parser.add_argument("--consoles", action="store_true", help="leave the dumps as they are")
    options = parser.parse_args(argv)
    cache = default_cache().resolve()
    for path in (CONSOLES, ORACLE):
        path.mkdir(parents=True, exist_ok=True)
    try:
        for tree, scenario in captures(cache):
            publish_console(tree, scenario, cache)
            road = scenario.committed.get(tree.kernel.name)
            if road and not options.consoles and options.only in (None, scenario.name):
                publish_dump(tree, scenario, cache, road)
    except (FetchError, variants.VariantError, OSError) as error:
        print(f"publish: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
