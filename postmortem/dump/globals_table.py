"""Types of variables that DWARF does not tell, or tells for one configuration only.

They go before what was read off DWARF (:mod:`postmortem.dump.globals_file`), and are
written as :mod:`postmortem.dump.typetext` says, with two more words:

- ``T if struct S.member``: meant only for kernels whose ``struct S`` has the member;
- ``T | U``: the first that exists and is not larger than the symbol.
"""

GLOBALS: dict[str, str] = {
    # Defined by the linker's script or in assembly.
    "jiffies": "volatile unsigned long",
    "phys_base": "unsigned long",
    # drgn finds a static variable of that name first, so its type was not read.
    "in_suspend": "int",
    # Not in the kernels that were read.
    "thread_stack_cache": "*struct kmem_cache",
    "rcu_fanout_leaf": "int",
    "cgroup_destroy_wq": "*struct workqueue_struct",
    "wq_watchdog_thresh": "unsigned long",
    # As long as the configuration says, with padding behind it.
    "node_states": "[NR_NODE_STATES]nodemask_t",
    "vm_zone_stat": "[NR_VM_ZONE_STAT_ITEMS]atomic_long_t",
    "vm_node_stat": "[NR_VM_NODE_STAT_ITEMS]atomic_long_t",
    "vm_numa_stat": "[NR_VM_NUMA_STAT_ITEMS]atomic_long_t",
    "vm_numa_event": "[NR_VM_NUMA_EVENT_ITEMS]atomic_long_t",
    "cgroup_subsys": "[CGROUP_SUBSYS_COUNT]*struct cgroup_subsys",
    "softirq_vec": "[NR_SOFTIRQS]struct softirq_action",
    # The same size before and after.
    "stack_table": "*struct list_head if struct stack_record.hash_list | **struct stack_record",
    "file_systems": "struct hlist_head if struct file_system_type.list | *struct file_system_type",
    "file_systems_lock": "spinlock_t if struct file_system_type.list | rwlock_t",
}
