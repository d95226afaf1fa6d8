"""x86-64: AMD64 Architecture Programmer's Manual, System V ABI, and the kernel's arch/x86."""

from __future__ import annotations

from postmortem.arch.model import Arch, CallConvention, Code, Registers
from postmortem.model.findings import Kind

_PARTS = {
    "rax": "eax ax al ah",
    "rbx": "ebx bx bl bh",
    "rcx": "ecx cx cl ch",
    "rdx": "edx dx dl dh",
    "rsi": "esi si sil",
    "rdi": "edi di dil",
    "rbp": "ebp bp bpl",
    "rsp": "esp sp spl",
    "rip": "eip ip",
    **{f"r{number}": f"r{number}d r{number}w r{number}b" for number in range(8, 16)},
}
_VIRTUAL_BITS = 57
"""With five levels of page tables; an address of four levels is one of five, too."""


def _is_kernel(value: int) -> bool:
    return value >> 63 == 1


def _is_canonical(value: int) -> bool:
    return value >> (_VIRTUAL_BITS - 1) in (0, (1 << (65 - _VIRTUAL_BITS)) - 1)


def _in_user(registers: Registers) -> bool | None:
    segment = registers.get("cs")
    return None if segment is None else bool(segment & 3)  # the privilege level


def _entry_kind(function: str) -> str:
    """By the names in arch/x86/entry/entry_64.S and asm/idtentry.h."""
    if "nmi" in function:
        return "nmi"
    if "interrupt" in function or "sysvec" in function or function == "ret_from_intr":
        return "irq"
    return "exception"


ARCH = Arch(
    name="x86_64",
    pc="rip",
    sp="rsp",
    flags="rflags",
    general=(
        *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp"),
        *(f"r{number}" for number in range(8, 16)),
    ),
    preserved=("rbx", "rbp", "r12", "r13", "r14", "r15"),
    whole={part: whole for whole, parts in _PARTS.items() for part in parts.split()},
    # struct pt_regs has the older names (arch/x86/include/asm/ptrace.h).
    pt_regs={
        "rip": "ip",
        "rsp": "sp",
        "rflags": "flags",
        **{name: name[1:] for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp")},
    },
    calls=CallConvention(
        parameters=("rdi", "rsi", "rdx", "rcx", "r8", "r9"),
        result="rax",
        clobbered=("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"),
    ),
    code=Code(
        capstone=("CS_ARCH_X86", "CS_MODE_64", "CS_OPT_SYNTAX_ATT"),
        jumps=frozenset({"jmp", "jmpq", "ljmp", "ljmpq"}),
        traps=frozenset({"ud0", "ud1", "ud2", "int3"}),
        bug=frozenset({"ud2"}),
        divides=("div", "idiv"),
        copies=frozenset({"mov", "movq", "movabs", "movabsq"}),
        address_of="lea",
        per_cpu="gs",
    ),
    exceptions={
        "asm_exc_page_fault": Kind.BAD_POINTER,
        "asm_exc_general_protection": Kind.GENERAL_PROTECTION,
        "asm_exc_divide_error": Kind.DIVIDE_ERROR,
        "asm_exc_invalid_op": Kind.BUG,
        "asm_exc_double_fault": Kind.STACK_OVERFLOW,
        "asm_exc_stack_segment": Kind.BAD_POINTER,
        "asm_exc_machine_check": Kind.MACHINE_CHECK,
    },
    entry_kind=_entry_kind,
    syscall_entry="entry_SYSCALL_64",
    interrupt_flag=1 << 9,  # X86_EFLAGS_IF
    in_user=_in_user,
    kernel_segment={"cs": 0x10},  # __KERNEL_CS
    is_kernel=_is_kernel,
    is_canonical=_is_canonical,
    # arch/x86/include/asm/pgtable_types.h
    return_on_stack=True,
    # Behind these stand segment registers that pt_regs does not have.
    kgdb_registers=(
        ("ax", 16),
        ("bx", 16),
        ("cx", 16),
        ("dx", 16),
        ("si", 16),
        ("di", 16),
        ("bp", 16),
        ("sp", 16),
        ("r8", 16),
        ("r9", 16),
        ("r10", 16),
        ("r11", 16),
        ("r12", 16),
        ("r13", 16),
        ("r14", 16),
        ("r15", 16),
        ("ip", 16),
        ("flags", 8),
        ("cs", 8),
        ("ss", 8),
    ),
    page_bits=(
        *((0, "PRESENT"), (1, "RW"), (2, "USER"), (3, "PWT"), (4, "PCD"), (5, "ACCESSED")),
        *((6, "DIRTY"), (7, "PSE"), (8, "GLOBAL"), (63, "NX")),
    ),
    page_frame=((1 << 52) - 1) & ~0xFFF,
)
