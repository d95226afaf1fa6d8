"""One flipped bit: an address that is right but for one bit, code that differs by one.

Memory without ECC, or a processor at its limits, changes single bits, and no report of the
kernel says so. An address that could not be used is tried with each of its bits flipped back:
if the processor did not accept it as an address and one bit makes it that of a live object,
that is no chance. If it was a valid address of nothing, the object must be of the very type
that the code expects, because 64 neighbours of a wild pointer often meet something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.kernel.code.fault import Fault
from postmortem.kernel.code.typed_registers import Pointer
from postmortem.kernel.identify import SlabObject, slab_object, stack_ranges
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.rules.poison import poison

_BITS = 64
_SMALL = 1 << 16
_ERRORS = (1 << 64) - 4095
"""ERR_PTR() values start here."""
_GENERAL_CACHES = ("kmalloc-", "dma-kmalloc-", "kmalloc-rcl-", "kmalloc-cg-")


class Strength(IntEnum):
    """How much a hit says, the most first."""

    TYPE = 0
    """A live object of the type that the code expects."""
    OBJECT = 1
    """A live object, or a function's first instruction."""
    PLACE = 2
    """Kernel memory that means something: inside of a function or variable, a stack."""


@dataclass(frozen=True)
class BitFlip:
    """A value that one bit turns into something."""

    name: str
    """The register, or ``the address``."""
    value: int
    bit: int
    what: str
    """What is at the address with the bit flipped back."""
    strength: Strength
    canonical: bool
    """The processor would have accepted the value as an address."""

    @property
    def meant(self) -> int:
        """The value with the bit flipped back."""
        return self.value ^ 1 << self.bit

    def __str__(self) -> str:
        return f"{self.name} = {self.value:#x}: bit {self.bit} differs from {self.what}"


def bit_flip(prog: drgn.Program, fault: Fault) -> BitFlip | None:
    """The one bit that explains the address of a fault, if exactly one does."""
    memory = fault.instruction.memory
    if memory is None or fault.base is None or fault.base_value is None:
        return None
    return flipped_pointer(
        prog, fault.base, fault.base_value, fault.pointer, offset=fault.displacement
    )


def flipped_pointer(
    prog: drgn.Program, name: str, value: int, pointer: Pointer | None = None, offset: int = 0
) -> BitFlip | None:
    """What a pointer was before one bit of it changed; ``None`` if nothing or too much fits.

    :param pointer: What it should point to.
    :param offset: What was added to it, so that the value is not used as it is.
    """
    if not _may_be_flipped(prog, value):
        return None
    found = sorted(_hits(prog, name, value, pointer, offset), key=lambda flip: flip.strength)
    if not found:
        return None
    best = [flip for flip in found if flip.strength is found[0].strength]
    if len(best) > 1 or (best[0].canonical and best[0].strength is not Strength.TYPE):
        return None
    return best[0]


def flipped_target(prog: drgn.Program, target: int) -> BitFlip | None:
    """The function that a jump to ``target``, where no code is, was meant for."""
    symbolizer = Symbolizer.of(prog)
    here = symbolizer.symbol(target)
    if target < _SMALL or poison(target) is not None or (here is not None and here.is_code):
        return None
    canonical = arch_of(prog).is_canonical(target)
    found = []
    for bit in range(_BITS):
        symbol = symbolizer.symbol(target ^ 1 << bit)
        # A place inside of a function is no target of a call, and easily met by chance.
        if symbol is not None and symbol.is_code and not symbol.offset:
            what = f"{symbol.function}()"
            found.append(BitFlip("the address", target, bit, what, Strength.OBJECT, canonical))
    return found[0] if len(found) == 1 else None


def _may_be_flipped(prog: drgn.Program, value: int) -> bool:
    """Neither a small number, an error, a poison, nor a pointer that is fine as it is."""
    if value < _SMALL or value >= _ERRORS or poison(value) is not None:
        return False
    if not arch_of(prog).is_pointer(value):
        return True
    slab = slab_object(prog, value)
    return (slab is None or not slab.allocated) and not _readable(prog, value)


def _readable(prog: drgn.Program, address: int) -> bool:
    try:
        prog.read_u8(address)
    except damage():
        return False
    return True


def _hits(
    prog: drgn.Program, name: str, value: int, pointer: Pointer | None, offset: int
) -> Iterator[BitFlip]:
    arch = arch_of(prog)
    canonical = arch.is_canonical(value)
    for bit in range(_BITS):
        meant = value ^ 1 << bit
        if not arch.is_pointer(meant) or poison(meant) is not None:
            continue
        found = _what(prog, meant, pointer, offset)
        if found is not None:
            yield BitFlip(name, value, bit, found[0], found[1], canonical)


def _what(
    prog: drgn.Program, address: int, pointer: Pointer | None, offset: int
) -> tuple[str, Strength] | None:
    slab = slab_object(prog, address)
    if slab is not None:
        if not slab.allocated:
            return None
        expected = pointer is not None and _is_of_type(slab, pointer)
        return str(slab), Strength.TYPE if expected else Strength.OBJECT
    symbol = Symbolizer.of(prog).symbol(address)
    if symbol is not None and symbol.offset < max(symbol.size, 1):
        what = symbol.function + (f"+{symbol.offset:#x}" if symbol.offset else "")
        return what, Strength.PLACE if symbol.offset else Strength.OBJECT
    for task, low, high in stack_ranges(prog):
        if low <= address < high:
            return f"the stack of the task at {task:#x}", Strength.PLACE
    return None


def _is_of_type(slab: SlabObject, pointer: Pointer) -> bool:
    """Whether a slab object can be the struct that the code expects there."""
    if slab.offset != pointer.offset:
        return False
    if slab.cache.startswith(_GENERAL_CACHES):
        # The smallest cache that it fits in; they go 64, 96, 128, 192, 256.
        size = pointer.struct.size or 0
        return slab.size // 2 < size <= slab.size
    tag = pointer.type_name.partition(" ")[2].removesuffix("_struct")
    return bool(tag) and tag in slab.cache
