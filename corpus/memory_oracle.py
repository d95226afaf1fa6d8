"""Compare the memory tree of a dump with what the machine read of itself just before.

    python -m corpus.memory_oracle               # all captures of scenarios sysrq-*
    python -m corpus.memory_oracle VMCORE ...

The guest's /proc/meminfo, /proc/slabinfo and /proc/vmallocinfo are in truth.json. A part
may differ from them by one per cent of itself, half a per mille of all memory or 64 KiB,
whichever is more, for the machine went on while it read; free memory by one per cent of all,
the unaccounted rest by two.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import drgn

import postmortem
from corpus.kernels import default_cache
from corpus.sysrq_oracle import captured
from postmortem.kernel.memory import slab_caches
from postmortem.kernel.memory_groups import memory_groups
from postmortem.kernel.memory_tree import MemoryTree, memory_tree

_STACKS = (
    "copy_process",
    "dup_task_struct",
    "alloc_thread_stack_node",
    "kernel_clone",
    "fork_idle",
)
"""Who asks for the stacks of tasks, as kernels name it."""
_PAGE = 4096
_READER = 64 << 10
"""Bytes that the process had which read the files, and is gone in the dump."""


def compared(tree: MemoryTree, files: dict[str, list[str]]) -> Iterator[tuple[str, int, int]]:
    """Name, bytes by the machine's own words, bytes by the tree."""
    meminfo = {
        name: int(value.split()[0]) * (1 if name.startswith("HugePages") else 1024)
        for name, _, value in (line.partition(":") for line in files["meminfo"])
    }
    parts = {part.name: part for part in tree.parts}
    yield "MemTotal", meminfo["MemTotal"], tree.total_bytes
    yield "free", meminfo["MemFree"], parts["free"].parts[0].bytes
    yield "anonymous", meminfo["AnonPages"], parts["anonymous"].bytes
    cached = meminfo["Cached"] + meminfo["Buffers"] - meminfo["Shmem"]
    yield "page cache", cached, parts["page cache"].bytes
    yield "shmem and tmpfs", meminfo["Shmem"], parts["shmem and tmpfs"].bytes
    yield "slab", meminfo["Slab"], parts["slab"].bytes
    yield "kernel stacks", meminfo["KernelStack"], parts["kernel stacks"].bytes
    tables = meminfo["PageTables"] + meminfo.get("SecPageTables", 0)
    yield "page tables", tables, parts["page tables"].bytes
    boot = int(re.findall(r"(\d+) KiB more", parts["per-CPU"].note)[0]) << 10
    yield "per-CPU, with that of boot", meminfo["Percpu"], parts["per-CPU"].bytes + boot
    huge = meminfo.get("Hugetlb", 0)
    yield "huge pages", huge, parts["huge pages"].bytes
    ours = Counter({one.function: one.bytes for one in tree.vmalloc if one.function not in _STACKS})
    theirs = _vmalloc(files["vmallocinfo"])
    yield "vmalloc", sum(theirs.values()), sum(ours.values())
    for caller, size in theirs.most_common(5):
        yield f"  {caller}", size, ours[caller]
    known = sum((meminfo["MemFree"], meminfo["AnonPages"], cached, meminfo["Shmem"]))
    known += meminfo["Slab"] + meminfo["KernelStack"] + tables + huge
    known += parts["vmalloc"].bytes + meminfo["Percpu"] - boot + parts["free"].parts[1].bytes
    yield "unaccounted", meminfo["MemTotal"] - known, parts["unaccounted"].bytes


def _vmalloc(lines: Sequence[str]) -> Counter[str]:
    """Bytes by caller, of areas that have pages of their own."""
    found: Counter[str] = Counter()
    for line in lines:
        match = re.search(r"(\w[\w.]*)\+0x\S+ (?:\[\S+\] )?pages=(\d+)", line)
        if match is not None and match[1] not in _STACKS:
            found[match[1]] += int(match[2]) * _PAGE
    return found


def slabs(path: str, files: dict[str, list[str]], prog: object) -> Iterator[tuple[str, int, int]]:
    """The largest caches, by /proc/slabinfo."""
    ours = {cache.name: cache.bytes for cache in slab_caches(prog)}  # type: ignore[arg-type]
    theirs: Counter[str] = Counter()
    for line in files["slabinfo"][2:]:
        words = line.split()
        theirs[words[0]] = int(words[5]) * int(words[14]) * _PAGE
    for name, size in theirs.most_common(8):
        yield f"slab {name}", size, ours.get(name, 0)


def boxed(prog: drgn.Program, files: dict[str, list[str]]) -> Iterator[tuple[str, int, int]]:
    """The memory cgroup /box, by its own files."""
    if "box_current" not in files:
        return
    group = next(group for group in memory_groups(prog).groups if group.path == "/box")
    yield "cgroup /box memory.current", int(files["box_current"][0]), group.usage_bytes
    yield "cgroup /box memory.max", int(files["box_max"][0]), group.limit_bytes or 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m corpus.memory_oracle", description=__doc__)
    parser.add_argument("dumps", metavar="VMCORE", type=Path, nargs="*")
    options = parser.parse_args(argv)
    wrong = 0
    killed = sorted(default_cache().glob("*/sysrq-kill/vmcore"))
    for path in options.dumps or [*captured(), *killed]:
        files = json.loads((path.parent / "truth.json").read_text()).get("files")
        if files is None:
            continue
        print("/".join(path.parts[-3:-1]))
        with postmortem.open(path, debuginfod=False) as case:
            tree = memory_tree(case.prog)
            rows = [*compared(tree, files), *slabs(str(path), files, case.prog)]
            rows += boxed(case.prog, files)
        for name, said, ours in rows:
            limit = max(said * 0.01, tree.total_bytes * 0.0005, _READER)
            if name == "unaccounted":
                limit = tree.total_bytes * 0.02
            elif name == "free":
                # CPUs give back the pages on their own lists, of which no file tells.
                limit = tree.total_bytes * 0.01
            right = abs(said - ours) <= limit
            wrong += not right
            print(
                f"  {name:32} {said >> 10:9} KiB {ours >> 10:9} KiB"
                f" {(ours - said) / 1024:+9.0f} {'' if right else '  WRONG'}"
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
