"""Which functions a source defines, and which family its place gives them."""

from __future__ import annotations

import pytest

from corpus.generate.csource import exported, functions
from corpus.generate.machinery import Source, family_of, render, table

C = r"""
/* int not_this(void) { */
#define MAKE(x) static int x(void) \
{ return 0; }
struct acme { int a; };
static const struct acme ops = { .a = 1, };
static __always_inline int acme_get(struct acme *a)
{
	if (a) { return "}{"[0]; }
	return '{';
}
void __sched acme_wait(int (*done)(void *), void *data)
	__acquires(lock)
{
}
static struct acme *acme_find(int a, int b) { return 0; }
SYSCALL_DEFINE2(acme, int, a, int, b)
{
	return 0;
}
DEFINE_IDTENTRY(exc_acme)
{
}
__printf(1, 2) int acme_print(const char *fmt, ...)
{
}
EXPORT_SYMBOL_GPL(acme_print);
int acme_declared(void);
"""


def test_functions_of_c() -> None:
    assert functions(C) == {
        "acme_get",
        "acme_wait",
        "acme_find",
        "sys_acme",
        "exc_acme",
        "acme_print",
    }
    assert exported(C) == {"acme_print"}


def test_functions_of_assembler() -> None:
    text = "SYM_FUNC_START(acme_copy)\nSYM_FUNC_END(acme_copy)\n\tENTRY(acme_old)\nlabel:\n"
    assert functions(text, assembler=True) == {"acme_copy", "acme_old"}


@pytest.mark.parametrize(("path", "family"), [
    ("kernel/locking/mutex.c", "lock"), ("lib/iov_iter.c", "copy"), ("mm/slub.c", "allocator"),
    ("mm/kasan/report.c", "report"), ("mm/kasan/kasan_test.c", ""), ("mm/memory.c", "memory"),
    ("arch/riscv/kernel/entry.S", "entry"), ("arch/sh/lib/memcpy.S", "copy"),
    ("drivers/net/acme.c", ""), ("fs/ext4/inode.c", ""), ("fs/inode.c", "files"),
    ("lib/crypto/acme.c", ""), ("include/linux/rculist.h", "rcu"),
])  # fmt: skip
def test_family_of_a_file(path: str, family: str) -> None:
    assert family_of(path) == family


def source(path: str, names: str, exports: str = "") -> Source:
    return Source(path, frozenset(names.split()), frozenset(exports.split()))


def test_a_name_that_a_driver_has_too_is_in_no_family() -> None:
    found = table([
        source("lib/sort.c", "sort do_swap_it acme_sort", "sort"),
        source("drivers/acme.c", "sort do_swap_it"),
        source("arch/sh/acme.c", "acme_sort"),
    ])  # fmt: skip
    assert found == {"container": {"sort", "acme_sort"}}


def test_the_table_as_text() -> None:
    text = render({"lock": {"mutex_b", "mutex_a"}})
    assert "\n[lock]\nmutex_a\nmutex_b\n[rcu]\n" in text
