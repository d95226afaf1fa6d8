"""x86-64 by its manuals, and the registry."""

from __future__ import annotations

import drgn
import pytest

from postmortem.arch import SUPPORTED, arch_of, by_name
from postmortem.kernel.code.disassembly import decode

ARCH = by_name("x86_64")


def test_registry() -> None:
    assert SUPPORTED == ("x86_64",)
    assert arch_of(drgn.Program(drgn.Platform(drgn.Architecture.X86_64))) is ARCH
    with pytest.raises(LookupError, match="sparc"):
        by_name("sparc")
    with pytest.raises(LookupError):
        arch_of(drgn.Program(drgn.Platform(drgn.Architecture.AARCH64)))
    with pytest.raises(LookupError):
        arch_of(drgn.Program())


@pytest.mark.parametrize(
    ("value", "kernel", "canonical"),
    [
        (0xFFFF_8880_0000_1000, True, True),
        (0xFF11_0000_0000_1000, True, True),  # five levels
        (0xDEAD_0000_0000_0100, True, False),
        (0x0000_7FFF_FFFF_F000, False, True),
        (0x6B6B_6B6B_6B6B_6B6B, False, False),
        (0x1_FFFF_8880_0000_1000, False, False),
    ],
)
def test_shape_of_addresses(value: int, kernel: bool, canonical: bool) -> None:
    assert ARCH.is_kernel(value) is kernel
    assert ARCH.is_canonical(value) is canonical
    assert ARCH.is_pointer(value) is (kernel and canonical)


def test_alignment_of_pointers() -> None:
    assert ARCH.is_pointer(0xFFFF_8880_0000_1008, 8)
    assert not ARCH.is_pointer(0xFFFF_8880_0000_1004, 8)


def test_registers() -> None:
    assert [ARCH.whole_register(name) for name in ("eax", "r9d", "dil", "rbp", "gs")] == [
        *("rax", "r9", "rdi", "rbp", "gs")
    ]
    assert [ARCH.register_name(name) for name in ("r08", "r15", "rax")] == ["r8", "r15", "rax"]
    assert ARCH.saved_as({"rip": 1, "rsp": 2, "rdi": 3, "r12": 4, "cr2": 5}) == {
        "ip": 1, "sp": 2, "di": 3, "r12": 4, "cs": 0x10,
    }  # fmt: skip
    assert ARCH.in_user({"cs": 0x33}) is True
    assert ARCH.in_user({"cs": 0x10}) is False
    assert ARCH.in_user({}) is None
    assert ARCH.interrupts_on({"rflags": 0x202}) is True
    assert ARCH.interrupts_on({"rflags": 0x046}) is False
    assert ARCH.interrupts_on({}) is None


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("asm_exc_nmi", "nmi"),
        ("asm_sysvec_apic_timer_interrupt", "irq"),
        ("ret_from_intr", "irq"),
        ("asm_exc_page_fault", "exception"),
    ],
)
def test_what_an_entry_opens(function: str, kind: str) -> None:
    assert ARCH.entry_kind(function) == kind


@pytest.mark.parametrize(
    ("code", "is_call", "is_jump", "ends_flow"),
    [
        ("e800000000", True, False, False),  # call
        ("ffd0", True, False, False),  # call *%rax
        ("7400", False, True, False),  # je
        ("eb00", False, True, True),  # jmp
        ("ffe0", False, True, True),  # jmp *%rax
        ("c3", False, False, True),  # ret
        ("48cf", False, False, True),  # iretq
        ("0f0b", False, False, True),  # ud2
        ("f4", False, False, False),  # hlt goes on after an interrupt
        ("4889df", False, False, False),  # mov %rbx,%rdi
    ],
)
def test_what_instructions_do(code: str, is_call: bool, is_jump: bool, ends_flow: bool) -> None:
    (found,) = decode(bytes.fromhex(code), 0xFFFF_FFFF_8100_0000, ARCH)
    assert (found.is_call, found.is_jump, found.ends_flow) == (is_call, is_jump, ends_flow)
