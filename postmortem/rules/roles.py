"""What the function that a report names has to do with the failure.

Naming is one question (:mod:`postmortem.rules.blame`), guilt another: who waits for
another CPU, asks for the last page or reads a free list that somebody overwrote is
where the failure shows, not who made it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from postmortem.model.findings import Kind
from postmortem.model.frame import Frame
from postmortem.model.report import Role
from postmortem.rules.blame import dispatches, is_anchor, is_helper, normalise, plain, stalled


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


STALLS = frozenset({Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL})
_CALLS_CPUS = _names(
    "smp_call_function csd_lock_wait on_each_cpu on_each_cpu_mask on_each_cpu_cond"
    " on_each_cpu_cond_mask smp_call_function_many_cond native_flush_tlb_others"
    " native_flush_tlb_multi flush_tlb_others kvm_flush_tlb_others kvm_flush_tlb_multi"
    " hyperv_flush_tlb_others hyperv_flush_tlb_multi xen_flush_tlb_others xen_flush_tlb_multi"
    " smp_call_function_single smp_call_function_many smp_call_function_any generic_exec_single"
    " arch_tlbbatch_flush multi_cpu_stop stop_machine_cpuslocked"
)
"""They return when another CPU has answered."""
_SPINS = _names(
    "native_queued_spin_lock_slowpath queued_spin_lock_slowpath __pv_queued_spin_lock_slowpath"
    " queued_read_lock_slowpath queued_write_lock_slowpath resilient_queued_spin_lock_slowpath"
    " do_raw_spin_lock do_raw_read_lock do_raw_write_lock arch_spin_lock_wait"
    " arch_spin_lock_wait_flags __ticket_spin_lock"
)
"""They return when another CPU has let go of the lock."""
HALTS = _names(
    "native_safe_halt pv_native_safe_halt native_halt default_idle poll_idle acpi_safe_halt"
    " acpi_idle_do_entry acpi_idle_enter mwait_idle intel_idle intel_idle_irq intel_idle_ibrs"
    " mwait_idle_with_hints cpu_do_idle arch_cpu_idle wait cpu_idle_poll xen_safe_halt"
    " arch_safe_halt snooze_loop psw_idle"
)
"""Where a CPU stands that has nothing to do."""
_GRACE_PERIOD = _names("rcu_gp_kthread rcu_gp_fqs_loop rcu_gp_fqs")
_FREE_LIST = _names(
    "kmem_cache_alloc kmem_cache_alloc_trace kmem_cache_alloc_node kmem_cache_alloc_node_trace"
    " kmem_cache_alloc_lru kmem_cache_alloc_bulk __kmalloc __kmalloc_node kmalloc_trace"
    " kmalloc_node_trace __kmalloc_cache __kmalloc_cache_node __kmalloc_track_caller"
    " __kmalloc_node_track_caller __kmem_cache_alloc_node __kmem_cache_alloc_bulk slab_alloc"
    " slab_alloc_node ___slab_alloc __slab_alloc get_freepointer get_freepointer_safe"
    " deactivate_slab get_partial_node cache_alloc_refill ____cache_alloc"
)
"""The slab allocator where it follows the list of free objects, which lies in these themselves."""
_BAD_POINTERS = frozenset({Kind.GENERAL_PROTECTION, Kind.BAD_POINTER})


def is_spinning(function: str) -> bool:
    """Does this function return only when another CPU lets go of a lock?"""
    return function in _SPINS


def calls_cpus(function: str) -> bool:
    """Does this function return only when another CPU has answered its call?"""
    return function in _CALLS_CPUS


def reads_free_list(kind: Kind, pc: Frame | None) -> bool:
    """Did an allocation follow a link in a free object that somebody had overwritten?

    A NULL or small address is not such a link: it is a cache that the caller did not have.
    """
    if kind not in _BAD_POINTERS or pc is None or pc.function is None or pc.module:
        return False
    return plain(pc.function).removesuffix("_noprof") in _FREE_LIST


def role_of(
    kind: Kind, frames: Sequence[Frame], guilty: Frame | None, pc: Frame | None = None
) -> Role:
    """The role of *guilty*, from the frames it was found in.

    :param pc: where it trapped, for faults.
    """
    seen = [frame for frame in frames if frame.reliable and frame.function]
    if kind in STALLS:
        return _in_stall(seen, guilty)
    if pc is not None and kind is Kind.MEMORY_CORRUPTION and reads_free_list(Kind.BAD_POINTER, pc):
        return Role.ALLOCATES
    if kind in (Kind.OOM, Kind.ALLOCATION_FAILURE) and not (guilty and guilty.module):
        return Role.ALLOCATES
    if guilty is None:
        return Role.UNKNOWN
    return _by_itself(guilty)


def _in_stall(seen: Sequence[Frame], guilty: Frame | None) -> Role:
    frames = stalled(seen)
    names = {normalise(frame.function or "") for frame in frames}
    if _GRACE_PERIOD & names:
        return Role.STARVES
    inner = frames[: frames.index(guilty) + 1] if guilty in frames else frames
    doing = {normalise(frame.function or "") for frame in inner}
    if doing & _CALLS_CPUS:
        return Role.AWAITS_CPU
    if doing & _SPINS:
        return Role.AWAITS_LOCK
    return Role.UNKNOWN if guilty is None else _by_itself(guilty)


def _by_itself(guilty: Frame) -> Role:
    if is_anchor(guilty.function or "") or dispatches(guilty):
        return Role.DISPATCHES
    return Role.HELPS if is_helper(guilty) else Role.CULPRIT


def suspect_of(frames: Sequence[Frame], guilty: Frame | None, tainting: Collection[str]) -> (
    Frame | None
):  # fmt: skip
    """The frame of a module from outside the kernel that stands right above *guilty*."""
    seen = [frame for frame in frames if frame.reliable and frame.function]
    above = seen[seen.index(guilty) + 1 :] if guilty in seen else seen
    if guilty is not None and guilty.module in tainting:
        return None
    for frame in above:
        if is_anchor(frame.function or ""):
            return None
        if frame.module in tainting:
            return frame
    return None
