"""VMCOREINFO: the kernel's own note on where its tables lie.

Text of ``KEY=value`` lines that the kernel writes at boot into one page
(``kernel/vmcore_info.c``, before v6.9 ``kernel/crash_core.c``). A kdump kernel
or QEMU's vmcoreinfo device copies it into the dump; where neither did, the
page itself is still in memory and can be found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

MAX_TEXT_BYTES = 1 << 16
"""The kernel has one page for it; 64 KiB is the largest page."""

START = re.compile(rb"OSRELEASE=[0-9][ -~]{0,63}\n")
_LINE = re.compile(rb"[A-Za-z][ -<>-~]{0,120}=[ -~]{0,400}\n")


def parse(text: bytes) -> dict[str, str]:
    """The lines as a mapping; lines that are not ``KEY=value`` are skipped."""
    values: dict[str, str] = {}
    for line in text.split(b"\0", 1)[0].split(b"\n"):
        key, equals, value = line.partition(b"=")
        if equals:
            values[key.decode("ascii", "replace")] = value.decode("ascii", "replace")
    return values


@dataclass(frozen=True)
class Candidate:
    """Text that looks like VMCOREINFO, and the physical address it was found at."""

    address: int
    text: bytes

    @property
    def score(self) -> int:
        """How much it looks like the page that the kernel keeps.

        The kernel allocates a whole page and writes from its start; copies in
        user memory, the page cache or a log start anywhere.
        """
        values = parse(self.text)
        lines = self.text.count(b"\n")
        return (
            min(lines, 200)
            + (1000 if self.address % 4096 == 0 else 0)
            + (500 if "SYMBOL(swapper_pg_dir)" in values and "PAGESIZE" in values else 0)
            + (100 if any(key.startswith("SYMBOL(") for key in values) else 0)
        )


def text_at(data: bytes, start: int) -> bytes:
    """The unbroken run of VMCOREINFO lines that starts at ``start``."""
    position = start
    limit = min(len(data), start + MAX_TEXT_BYTES)
    while position < limit:
        match = _LINE.match(data, position, limit)
        # There is one such line in a note: the next one starts another text.
        if match is None or (position > start and match.group().startswith(b"OSRELEASE=")):
            break
        position = match.end()
    return data[start:position]


def is_plausible(text: bytes) -> bool:
    """Whether a kernel could have written it and drgn can work with it."""
    values = parse(text)
    try:
        page_size = int(values["PAGESIZE"], 0)
        int(values["SYMBOL(swapper_pg_dir)"], 16)
    except (KeyError, ValueError):
        return False
    return (
        page_size in (4096, 8192, 16384, 65536)
        and bool(values.get("OSRELEASE"))
        and text.count(b"\n") >= 20
    )


def candidates(chunks: Iterable[tuple[int, bytes]]) -> Iterator[Candidate]:
    """Every plausible text in ``(physical address, bytes)`` chunks.

    Chunks may overlap; a text that is cut by the end of a chunk must lie whole
    in the next one.
    """
    for address, data in chunks:
        at = data.find(b"OSRELEASE=")
        while at >= 0:
            if START.match(data, at):
                text = text_at(data, at)
                if is_plausible(text):
                    yield Candidate(address + at, text)
            at = data.find(b"OSRELEASE=", at + 1)


def find(
    chunks: Iterable[tuple[int, bytes]], is_true: Callable[[bytes], bool] = lambda text: False
) -> bytes | None:
    """The first text that ``is_true`` confirms, else the one that looks best."""
    best: Candidate | None = None
    for candidate in candidates(chunks):
        if is_true(candidate.text):
            return candidate.text
        if best is None or candidate.score > best.score:
            best = candidate
    return best.text if best else None


START_KERNEL_MAP = 0xFFFFFFFF80000000
"""x86-64's __START_KERNEL_map: virtual address of the kernel's image, before KASLR."""


def utsname_address(text: bytes) -> int | None:
    """Physical address where ``init_uts_ns.name`` must hold "Linux" if the text is true (x86-64).

    A note of an earlier boot, or somebody's copy of one, names other addresses.
    """
    return utsname_of(parse(text))


def utsname_of(values: Mapping[str, str]) -> int | None:
    """The same of its lines."""
    try:
        return (
            int(values["SYMBOL(init_uts_ns)"], 16)
            + int(values.get("OFFSET(uts_namespace.name)", "0"), 0)
            - START_KERNEL_MAP
            + int(values["NUMBER(phys_base)"], 0)
        )
    except (KeyError, ValueError):
        return None


_VALUES = {
    "SYMBOL": re.compile("0*[89a-f][0-9a-f]{15}"),  # the kernel's half of memory
    "OFFSET": re.compile("[0-9]{1,7}"),
    "SIZE": re.compile("[0-9]{1,7}"),
    "LENGTH": re.compile("[0-9]{1,9}"),
    "NUMBER": re.compile("-?(0x)?[0-9a-f]{1,20}"),
    "KERNELOFFSET": re.compile("[0-9a-f]{1,16}"),
    "PAGESIZE": re.compile("[0-9]{4,6}"),
    "CRASHTIME": re.compile("[0-9]{1,12}"),
}
_ALIGNED = {"NUMBER(phys_base)": 0, "KERNELOFFSET": 16}
"""The image is moved by multiples of 2 MiB (CONFIG_PHYSICAL_ALIGN); how the number is written."""
_IMAGE_ALIGN = 1 << 21


def odd_keys(text: bytes) -> list[str]:
    """Lines that no kernel writes: damaged, if the rest was written by one."""
    return [key for key, value in parse(text).items() if _is_odd(key, value)]


def _is_odd(key: str, value: str) -> bool:
    shape = _VALUES.get(key.partition("(")[0])
    if shape is None or ("(" in key) != key.endswith(")"):
        return "(" in key
    if shape.fullmatch(value) is None:
        return True
    try:
        return key in _ALIGNED and int(value, _ALIGNED[key]) % _IMAGE_ALIGN != 0
    except ValueError:
        return True


def without(text: bytes, keys: Iterable[str]) -> bytes:
    """The text without the lines of these keys."""
    odd = {key.encode("ascii", "replace") for key in keys}
    lines = text.split(b"\0", 1)[0].split(b"\n")
    return b"\n".join(line for line in lines if line.partition(b"=")[0] not in odd)


def build_id(values: Mapping[str, str]) -> str | None:
    """BUILD-ID in hex (v5.9 and later), ``None`` when missing or known to be garbage.

    Linux 6.12-rc1's ``lib/buildid: harden build ID parsing logic`` (905415ff3ffb)
    was backported broken to some stable kernels; the note then holds text that
    is no build id or an id of zeroes.
    """
    value = values.get("BUILD-ID", "").lower()
    if re.fullmatch(r"[0-9a-f]{16,128}", value) and value.strip("0"):
        return value
    return None
