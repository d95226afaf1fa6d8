"""The table of the kernel's own functions."""

from __future__ import annotations

import pytest

from postmortem.rules.families import families, family_of


@pytest.mark.parametrize(("name", "family"), [
    ("mutex_lock", "lock"), ("queued_spin_lock_slowpath", "lock"), ("kfree", "allocator"),
    ("kmem_cache_alloc_trace", "allocator"), ("kmem_cache_alloc_noprof", "allocator"),
    ("copy_page_to_iter", "copy"), ("rb_erase", "container"), ("vsnprintf", "text"),
    ("print_report", "report"), ("do_trap", "entry"), ("synchronize_rcu", "rcu"),
    ("acme_start", ""), ("ext4_writepages", ""), ("vfs_write", ""), ("kmalloc_acme_test", ""),
])  # fmt: skip
def test_family(name: str, family: str) -> None:
    assert family_of(name) == family


def test_a_part_of_a_function_is_what_the_function_is() -> None:
    assert family_of("___kfree") == "allocator" and family_of("kfree_noprof") == "allocator"


def test_the_table_has_names_only() -> None:
    assert all(name.isidentifier() for name in families())
