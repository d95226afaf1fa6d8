"""Make postmortem's table of global variables out of Debian's debug packages.

    python -m corpus.generate.globals read 6.12-cloud 7.2 ...   # fetch, read, delete
    python -m corpus.generate.globals read --tree FOLDER NAME   # one that is unpacked already
    python -m corpus.generate.globals write                     # what was read, into the table

A debug package is up to 1.2 GB to fetch and 6 GB to unpack, a minute or ten to read,
and is gone afterwards; what was read stays in the cache, 10 MB a kernel.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.generate.globals_dwarf import Reading, Variable, read_tree
from corpus.kernels import Apt, FetchError, default_cache
from postmortem.dump.globals_file import PATH, Candidate, Marks, write_file, write_line

_FLAVOURS = {"cloud": "cloud-amd64", "amd64": "amd64", "rt": "rt-amd64"}
_SUITES = {
    "5.10": ("bullseye", "linux-image-"),
    "6.1": ("bookworm", "linux-image-"),
    "6.12": ("bookworm", "linux-image-6.12-"),
    "7.2": ("sid", "linux-image-"),
}
KERNELS = {
    f"{version}-{flavour}": (suite, f"{prefix}{package}")
    for version, (suite, prefix) in _SUITES.items()
    for flavour, package in _FLAVOURS.items()
}
"""Suite and meta package of each kernel that is read."""

FAMILIES = (
    "TRACE_SYSTEM_", "__SCK__", "__bpf_trace_tp_map_", "__event_", "__param_str_", "__param_",
    "__setup_str_", "__setup_", "__syscall_meta__", "__tpstrtab_", "__tracepoint_", "event_class_",
    "event_", "print_fmt_", "str__", "trace_event_fields_", "trace_event_type_funcs_",
)  # fmt: skip
"""What macros put before a name (``TRACE_EVENT``, ``module_param`` ...): all are of one type.

A longer one stands before a shorter one."""
_FAMILY_SHARE = 0.9
"""Part of a family's variables that must be of one type; the others are listed one by one."""
_MANY_OWNERS = 8
_TEXT_ARRAY = re.compile(r"^\[\d+\]((?:const )?char)$")
_DICTIONARY_BYTES = 32 << 10
_MARKS_PER_PAIR = 12


@dataclass(frozen=True)
class Kernel:
    """What was read of one kernel."""

    name: str
    variables: list[Variable]
    structs: frozenset[str]


# --- reading ----------------------------------------------------------------------------


def read(name: str, cache: Path, tree: Path | None = None) -> Reading:
    """Read one kernel of :data:`KERNELS` and keep the outcome in the cache."""
    if tree is not None:
        reading = read_tree(tree)
    else:
        suite, meta = KERNELS[name]
        apt = Apt(suite, "amd64", cache / "apt" / f"{suite}-x86_64")
        image = next(part for part in apt.depends(meta) if part.startswith("linux-image-"))
        scratch = cache / f".dwarf-{name}"
        try:
            apt.unpack([f"{image.removesuffix('-unsigned')}-dbg"], scratch)
            reading = read_tree(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    document = {
        "variables": [list(asdict(variable).values()) for variable in reading.variables],
        "structs": reading.structs,
        "left_out": reading.left_out,
    }
    target = _kept(cache) / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document))
    return reading


def _kept(cache: Path) -> Path:
    return cache / "globals"


def load(path: Path) -> Kernel:
    """What :func:`read` has kept."""
    document = json.loads(path.read_text())
    variables = [Variable(*fields) for fields in document["variables"]]
    return Kernel(path.stem, variables, frozenset(document["structs"]))


# --- one table out of many kernels ------------------------------------------------------


def table(kernels: Sequence[Kernel]) -> bytes:
    """The file of :mod:`postmortem.dump.globals_file`."""
    seen: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for bit, kernel in enumerate(kernels):
        for variable in kernel.variables:
            owners = seen[variable.name][variable.type]
            owners[variable.module] = owners.get(variable.module, 0) | 1 << bit
    for types in seen.values():
        _merge_texts(types)
    families = dict(_families(seen))
    lines = [
        write_line(name, _candidates(seen[name]))
        for name in sorted(seen)
        if not _is_of_family(seen[name], families.get(_prefix(name) or ""))
    ]
    return write_file(
        lines,
        [write_line(prefix, [Candidate(text, ("", "*"))]) for prefix, text in families.items()],
        marks(kernels),
        _dictionary(lines),
        {"kernels": [kernel.name for kernel in kernels]},
    )


def _merge_texts(types: dict[str, dict[str, int]]) -> None:
    """A text that has another length in each kernel (a banner, a format) is as long as it is."""
    for text in [text for text in types if _TEXT_ARRAY.match(text)]:
        general = _TEXT_ARRAY.sub(r"[*]\1", text)
        others = [other for other in types if _TEXT_ARRAY.sub(r"[*]\1", other) == general]
        if len(others) > 1:
            merged: dict[str, int] = defaultdict(int)
            for other in others:
                for owner, mask in types.pop(other).items():
                    merged[owner] |= mask
            types[general] = merged


def _candidates(types: Mapping[str, Mapping[str, int]]) -> list[Candidate]:
    """The types of one name, owners of a type together, the most frequent type first."""
    counts = Counter(owner for owners in types.values() for owner in owners)
    ambiguous = max(counts.values()) > 1
    found = []
    for text, owners in types.items():
        by_mask: dict[int, list[str]] = defaultdict(list)
        for owner, mask in owners.items():
            by_mask[mask if ambiguous else 0].append(owner)
        for mask, names in by_mask.items():
            modules = sorted(name for name in names if name)
            if len(modules) > _MANY_OWNERS:
                modules = ["*"]
            kernel = [""] if "" in names else []
            found.append(Candidate(text, (*kernel, *modules), mask))
    return sorted(found, key=lambda candidate: (-candidate.kernels, candidate.type))


def _prefix(name: str) -> str | None:
    return next((prefix for prefix in FAMILIES if name.startswith(prefix)), None)


def _families(seen: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """The type that nearly all names of a family have."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, types in seen.items():
        prefix = _prefix(name)
        if prefix is not None:
            counts[prefix].update(_any_length(text) for text in types)
    for prefix in FAMILIES:
        for text, count in counts[prefix].most_common(1):
            if count >= _FAMILY_SHARE * counts[prefix].total():
                yield prefix, text


def _any_length(text: str) -> str:
    return re.sub(r"^\[\d+\]", "[*]", text)


def _is_of_family(types: Iterable[str], text: str | None) -> bool:
    return text is not None and all(_any_length(own) == text for own in types)


def _dictionary(lines: Sequence[str]) -> bytes:
    """The types that stand in most lines, the most frequent last, where they cost least."""
    counts = Counter(part for line in lines for part in line.split("\t")[1:])
    texts, size = [], 0
    for text, count in counts.most_common():
        size += len(text) + 2
        if count < 2 or size > _DICTIONARY_BYTES:
            break
        texts.append(f"\t{text}\n")
    return "".join(reversed(texts)).encode()


def marks(kernels: Sequence[Kernel]) -> Marks:
    """Structs that tell each kernel from each other one, a few for each pair."""
    chosen: dict[str, None] = {}
    for one in kernels:
        for other in kernels:
            differ = sorted(one.structs - other.structs)
            step = max(1, len(differ) // _MARKS_PER_PAIR)
            chosen.update(dict.fromkeys(differ[::step][:_MARKS_PER_PAIR]))
    structs = tuple(sorted(chosen))
    masks = tuple(
        sum((name in kernel.structs) << bit for bit, name in enumerate(structs))
        for kernel in kernels
    )
    return Marks(structs, masks)


# --- command line -----------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m corpus.generate.globals",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    reading = commands.add_parser("read", help="read kernels")
    reading.add_argument("kernels", nargs="+", choices=list(KERNELS), metavar="KERNEL")
    reading.add_argument("--tree", type=Path, help="where its debug package is unpacked")
    commands.add_parser("write", help="write the table")
    options = parser.parse_args(argv)
    cache = default_cache().expanduser().resolve()
    try:
        if options.command == "read":
            for name in options.kernels:
                outcome = read(name, cache, options.tree)
                print(f"{name}: {len(outcome.variables)} variables; {dict(outcome.left_out)}")
            return 0
    except FetchError as error:
        print(f"globals: {error}", file=sys.stderr)
        return 1
    kernels = [load(path) for path in sorted(_kept(cache).glob("*.json"))]
    PATH.write_bytes(table(kernels))
    names = len({variable.name for kernel in kernels for variable in kernel.variables})
    print(f"{len(kernels)} kernels, {names} names, {PATH.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
