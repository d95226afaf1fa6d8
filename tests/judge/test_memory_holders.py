"""Who is named as holding the memory of a dump, and from which share on."""

from __future__ import annotations

import pytest

from postmortem.judge.memory_holders import _groups_table, _with_holder, _with_pages
from postmortem.kernel.memory import SlabCache, TaskMemory
from postmortem.model.findings import Confidence, Finding, Kind, Severity, TaskRef
from postmortem.model.memory import GroupMemory, MemoryTree, Part, VmallocCaller

MIB = 1 << 20
TOTAL = 100 * MIB


def told(slab: int, rss: int) -> Finding:
    """A machine of 100 MiB whose largest cache and task have so many MiB."""
    finding = Finding("log-1", Kind.OOM, Severity.FATAL, Confidence.LIKELY, "oom", "It ran out.")
    caches = [SlabCache("zorb_node", 192, 1000, 10, slab * MIB)]
    tasks = [TaskMemory(TaskRef(7, "hog"), rss * MIB, 0)]
    return _with_holder(finding, TOTAL, caches, tasks)


@pytest.mark.parametrize(("slab", "named"), [(24, False), (25, True), (90, True)])
def test_slab_cache_is_named_from_a_quarter_on(slab: int, named: bool) -> None:
    found = told(slab, 1)
    assert ("Slab cache zorb_node holds" in found.explanation) is named
    assert found.confidence is (Confidence.CERTAIN if named else Confidence.LIKELY)
    assert found.culprit.task is None


@pytest.mark.parametrize(("rss", "named"), [(39, False), (40, True), (95, True)])
def test_task_is_named_and_the_culprit_from_two_fifths_on(rss: int, named: bool) -> None:
    found = told(1, rss)
    assert ("Task 7 (hog) holds" in found.explanation) is named
    assert found.culprit.task == (TaskRef(7, "hog") if named else None)
    assert [item.where for item in found.evidence] == (["task 7"] if named else [])


def test_kernel_s_own_share_goes_before_a_task_s() -> None:
    assert "Slab cache" in told(50, 45).explanation
    assert told(50, 45).culprit.task is None


def test_sizes_are_said() -> None:
    assert "25.0 MiB of 100.0 MiB in 1000 slots of 192 bytes" in told(25, 1).explanation


def pages(vmalloc: int, rest: int) -> Finding:
    """A machine of 100 MiB of which one caller of vmalloc() and nobody have so many MiB."""
    finding = Finding("log-1", Kind.OOM, Severity.FATAL, Confidence.LIKELY, "oom", "It ran out.")
    parts = (Part("vmalloc", vmalloc * MIB), Part("unaccounted", rest * MIB))
    callers = (VmallocCaller("zorb_grow", 3, vmalloc * MIB),)
    return _with_pages(finding, MemoryTree(TOTAL, parts, (), callers, ()))


@pytest.mark.parametrize(("vmalloc", "named"), [(24, False), (25, True)])
def test_a_caller_of_vmalloc_is_named_from_a_quarter_on(vmalloc: int, named: bool) -> None:
    assert ("zorb_grow holds" in pages(vmalloc, 1).explanation) is named


@pytest.mark.parametrize(("rest", "named"), [(24, False), (25, True)])
def test_what_nobody_counts_is_said_from_a_quarter_on(rest: int, named: bool) -> None:
    found = pages(1, rest)
    assert ("are counted by nobody" in found.explanation) is named
    assert found.confidence is Confidence.LIKELY  # it names no one


def test_cgroups_with_a_limit_are_shown_and_others_not() -> None:
    groups = (GroupMemory("/zorb", 9 * MIB, 10 * MIB, 2), GroupMemory("/free", MIB, None, 0))
    tree = MemoryTree(TOTAL, (), (), (), (), groups=groups)
    (table,) = _groups_table(tree)
    assert table.rows == (("/zorb", 9 * MIB, 10 * MIB, 2),)
    assert _groups_table(MemoryTree(TOTAL, (), (), (), (), groups=groups[1:])) == []
