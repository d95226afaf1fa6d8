"""One bit that differs, by what a log shows: a pointer beside its neighbours, a value beside
the one that it should be.

RAM without ECC changes single bits, and nothing in a log says so. But a register that is right
but for one bit, where others point into the same part of memory, is no chance: two pointers
agree in their upper half by nothing else than what they point into. Poison, offsets and the
bits in which a kernel's own regions differ never count. That memory changed is possible then,
and no more: code can write a wrong bit, too. What a dump adds is in ``kernel/code/bitflip.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from postmortem.model.findings import Confidence, Evidence, Finding, Kind
from postmortem.model.report import Report
from postmortem.rules.poison import poison

_BITS = {
    "x86_64": range(42, 64),
    "aarch64": range(48, 56),  # 47: linear map and vmalloc; 56 and up: tags
    "riscv": range(48, 64),  # below: its regions
    "ppc64": range(52, 60),  # 49 to 51: vmalloc and vmemmap; 60 and up: the kind of segment
}
"""Bits of a kernel pointer that say neither which region nor which page."""
_KERNEL = 1 << 63
_SHARED = 32
"""Pointers into one part of memory agree in what is above this bit."""
_NEIGHBOURS = 2
"""Other pointers, of different values, that it must agree with."""
_REACH = 4096
"""Bytes: how far a member is from its object's beginning, at most."""
_SHADOW = 0xDFFF
"""KASAN_SHADOW_OFFSET of x86 and arm64 begins with it."""
_NO_POINTERS = re.compile(
    r"(?:cr|dr)\d|[fg]s|e?flags|pstate|status|cause|msr|cr|xer|ctr|cfar|dar|dsisr|trap|orig_[re]ax"
    r"|pkru|psr|badaddr|badva|[re]?sp|[re]?ip|pc|epc|nip|ssp"
)
_POINTERS = frozenset(
    {Kind.GENERAL_PROTECTION, Kind.BAD_POINTER, Kind.USE_AFTER_FREE, Kind.MEMORY_CORRUPTION}
)
_BYTE = re.compile(r"First byte 0x(?P<is>[0-9a-f]{1,2}) instead of 0x(?P<right>[0-9a-f]{1,2})")
"""check_bytes_and_report(), mm/slub.c."""
_SINGLE = re.compile(r"pagealloc: single bit error")
"""check_poison_mem() (mm/page_poison.c) says it itself."""
_LINES = 40
_STEP = (
    "Test the memory (memtest86+ over night) and look for errors that ECC corrected (EDAC,"
    " rasdaemon); does this machine crash in other, unrelated code as well?"
)


@dataclass(frozen=True)
class Flip:
    """A value that is right but for one bit."""

    name: str
    value: int
    bit: int
    near: tuple[str, ...]
    """Registers that point close to what was meant."""

    @property
    def meant(self) -> int:
        """The value with the bit flipped back."""
        return self.value ^ 1 << self.bit


def with_flip(finding: Finding, report: Report) -> Finding:
    """Say that one bit differs, where registers or the kernel's own words show it."""
    if report.kind in _POINTERS and (flip := flip_of(report)) is not None:
        state = "set" if flip.meant & 1 << flip.bit else "clear"
        said = (
            f"{flip.name} = {flip.value:#x}: one bit differs from an address near"
            f" {_listed(flip.near)}: with bit {flip.bit} {state} it would be {flip.meant:#x}"
        )
        return _told(finding, said, "registers in the log")
    said = next(_differing(report), "")
    return _told(finding, said, "the kernel's own words") if said else finding


def flip_of(report: Report) -> Flip | None:
    """The pointer of a fault that one bit parts from its neighbours."""
    pointers = {
        name: value
        for name, value in report.registers.items()
        if not _NO_POINTERS.fullmatch(name) and value
    }
    for name, value in _used(report, pointers):
        found = _flips(name, value, pointers, report.arch or "")
        if len(found) == 1:
            return found[0]
    return None


def _used(report: Report, pointers: dict[str, int]) -> Iterator[tuple[str, int]]:
    """What the faulting access went through: registers near the address, then the address."""
    address = report.fault_address
    if address is None:
        return
    for name, value in pointers.items():
        if abs(address - value) < _REACH:
            yield name.upper(), value
    yield "the address", address


def _flips(name: str, value: int, pointers: dict[str, int], arch: str) -> list[Flip]:
    if value >> 48 == _SHADOW or poison(value) is not None:
        return []
    if any(_alike(value, other) for other in _others(value, pointers).values()):
        return []  # as it is, it has its like
    found = []
    for bit in _BITS.get(arch, ()):
        meant = value ^ 1 << bit
        near = {n: v for n, v in _others(value, pointers).items() if _alike(meant, v)}
        if meant & _KERNEL and len(set(near.values())) >= _NEIGHBOURS:
            found.append(Flip(name, value, bit, tuple(n.upper() for n in near)))
    return found


def _others(value: int, pointers: dict[str, int]) -> dict[str, int]:
    """Registers that were not made of the value itself."""
    return {name: other for name, other in pointers.items() if abs(other - value) >= _REACH}


def _alike(one: int, other: int) -> bool:
    return one >> _SHARED == other >> _SHARED


def _differing(report: Report) -> Iterator[str]:
    """What the kernel compared itself and found to differ in one bit."""
    for text in report.text[:_LINES]:
        if _SINGLE.search(text):
            yield f"{text.strip()}: one bit of a page differs from its poison"
        match = _BYTE.search(text)
        if match is not None and _is_whole(text):
            value, right = int(match["is"], 16), int(match["right"], 16)
            if (value ^ right).bit_count() == 1:
                bit = _bit(value ^ right)
                yield f"one byte is {value:#x} for {right:#x}: one bit differs, bit {bit}"


_RANGE = re.compile(r"0x(?P<first>[0-9a-f]{8,16})-0x(?P<last>[0-9a-f]{8,16}) @offset=")


def _is_whole(text: str) -> bool:
    """Of a range of bytes that were overwritten only one is no chance."""
    found = _RANGE.search(text)
    return found is None or found["first"] == found["last"]


def _bit(value: int) -> int:
    return value.bit_length() - 1


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _told(finding: Finding, said: str, where: str) -> Finding:
    sure = finding.confidence
    return replace(
        finding,
        explanation=(
            f"{finding.explanation} {said[0].upper()}{said[1:]}. A bit may have changed in the RAM"
            " (no ECC, or hardware at its limits), and then no code is to blame; the log does not"
            " prove it."
        ),
        evidence=(*finding.evidence, Evidence(said, where)),
        confidence=Confidence.LIKELY if sure is Confidence.CERTAIN else sure,
        next_steps=(*finding.next_steps, _STEP),
    )
