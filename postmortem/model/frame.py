"""One frame of a stack, whether the kernel printed it or it was unwound from memory."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Frame:
    """A function that was called and has not returned.

    A frame from memory has an address and lacks what only a log tells (``reliable``);
    one from a log often lacks the address, and never has locals.
    """

    function: str | None
    """As the kernel names it, with its compiler suffixes; ``None`` for a bare address."""
    offset: int | None = None
    """Bytes from the start of the function."""
    size: int | None = None
    """Bytes of the function."""
    module: str | None = None
    """``None`` for the kernel proper."""
    address: int | None = None
    """Where it is: the instruction itself if interrupted, else the return address."""
    reliable: bool = True
    """``False`` for frames printed with ``?`` or ``(unreliable)``."""
    segment: str = "task"
    """task, irq, softirq, nmi, exception (in a log as far as the markers tell)."""
    file: str | None = None
    line: int | None = None
    inline: bool = False
    """The compiler put the function into the next frame; only with DWARF."""
    interrupted: bool = False
    """It did not call the frame before: an interrupt or exception came here."""
    locals: dict[str, str] = field(default_factory=dict, hash=False)
    """Parameters and locals with their values; only with DWARF."""

    @property
    def pc(self) -> int:
        """The address, for readers of memory, where every frame has one.

        :raises LookupError: the frame is of a log that does not tell it.
        """
        if self.address is None:
            raise LookupError(f"the frame of {self.function} has no address")
        return self.address
