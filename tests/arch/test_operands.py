"""Operands as objdump and gdb print them."""

from __future__ import annotations

import pytest

from postmortem.arch.operands import readable


@pytest.mark.parametrize(
    ("capstone", "shown"),
    [
        ("8(%rdi), %eax", "0x8(%rdi),%eax"),
        ("-9(%rax), %rbx", "-0x9(%rax),%rbx"),
        ("$1, %eax", "$1,%eax"),
        ("$0xffffffea, %eax", "$-0x16,%eax"),
        ("$0xfffffffffffffff0, %rsp", "$-0x10,%rsp"),
        ("$0xfffff000, %eax", "$-0x1000,%eax"),
        ("$0xffffe000, %eax", "$0xffffe000,%eax"),
        ("$0x6b6b6b6b, %eax", "$0x6b6b6b6b,%eax"),
        ("$18446744071562067968, %rax", "$0xffffffff80000000,%rax"),
    ],
)
def test_numbers(capstone: str, shown: str) -> None:
    assert readable(capstone) == shown
