"""Types of the kernel's global variables, which BTF does not have.

One table for all versions: a variable exists if its symbol does, so an entry
for a variable that came or went does no harm. Where a type changed, the
alternatives are listed newest first; the one whose size fits the symbol is
taken. The table was read off the kernels' sources and is compared with
their DWARF by ``python -m benchmarks.globals VMLINUX``. Per-CPU variables are not here, because BTF
describes them.

``[]`` takes the length from the symbol's size, ``[NAME]`` from the enumerator.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import drgn

GLOBALS: dict[str, str] = {
    # --- tasks, pids, scheduler
    "init_task": "struct task_struct",
    "init_pid_ns": "struct pid_namespace",
    "init_struct_pid": "struct pid",
    "init_nsproxy": "struct nsproxy",
    "init_time_ns": "struct time_namespace",
    "init_uts_ns": "struct uts_namespace",
    "init_ipc_ns": "struct ipc_namespace",
    "init_mm": "struct mm_struct",
    "init_fs": "struct fs_struct",
    "pid_max": "int",
    "nr_threads": "int",
    "total_forks": "unsigned long",
    "task_state_array": "char *[]",
    "task_struct_cachep": "struct kmem_cache *",
    "thread_stack_cache": "struct kmem_cache *",
    "root_task_group": "struct task_group",
    "task_groups": "struct list_head",
    "def_rt_bandwidth": "struct rt_bandwidth",
    "sysctl_sched_rt_runtime": "int",
    "sysctl_sched_rt_period": "int | unsigned int",
    "avenrun": "unsigned long [3]",
    "calc_load_tasks": "atomic_long_t",
    "uidhash_table": "struct hlist_head []",
    # --- CPUs
    "__cpu_online_mask": "struct cpumask",
    "__cpu_possible_mask": "struct cpumask",
    "__cpu_present_mask": "struct cpumask",
    "__cpu_active_mask": "struct cpumask",
    "__num_online_cpus": "atomic_t",
    "nr_cpu_ids": "unsigned int",
    "boot_cpu_data": "struct cpuinfo_x86",
    "idt_table": "gate_desc []",
    "tsc_khz": "unsigned int",
    "cpu_khz": "unsigned int",
    "__per_cpu_offset": "unsigned long []",
    "__pgtable_l5_enabled": "unsigned int",
    "pgdir_shift": "unsigned int",
    "ptrs_per_p4d": "unsigned int",
    "page_offset_base": "unsigned long",
    "vmalloc_base": "unsigned long",
    "vmemmap_base": "unsigned long",
    "phys_base": "unsigned long",
    # --- panic, oops, taint, sysrq
    "panic_cpu": "atomic_t",
    "panic_on_oops": "int",
    "panic_on_warn": "int",
    "panic_timeout": "int",
    "panic_notifier_list": "struct atomic_notifier_head",
    "oops_in_progress": "int",
    "die_counter": "int",
    "crashing_cpu": "int",
    "crash_notes": "note_buf_t *",
    "crash_kexec_post_notifiers": "bool",
    "tainted_mask": "unsigned long",
    "taint_flags": "struct taint_flag []",
    "system_state": "enum system_states",
    "early_boot_irqs_disabled": "bool",
    "sysrq_enabled": "int",
    "sysrq_key_table": "struct sysrq_key_op *[]",
    "unknown_nmi_panic": "int",
    "sysctl_panic_on_oom": "int",
    "sysctl_oom_kill_allocating_task": "int",
    "saved_command_line": "char *",
    "boot_command_line": "char []",
    "linux_banner": "char []",
    "dmi_ident": "char *[]",
    "dmi_ids_string": "char []",
    "dump_stack_arch_desc_str": "char []",
    # --- lockups, hung tasks, RCU
    "sysctl_hung_task_timeout_secs": "unsigned long",
    "sysctl_hung_task_panic": "unsigned int",
    "sysctl_hung_task_warnings": "int",
    "sysctl_hung_task_check_count": "int",
    "sysctl_hung_task_detect_count": "atomic_long_t | unsigned long",
    "watchdog_task": "struct task_struct *",
    "watchdog_thresh": "int",
    "watchdog_cpumask": "struct cpumask",
    "watchdog_enabled": "unsigned long",
    "watchdog_user_enabled": "int",
    "softlockup_panic": "unsigned int",
    "hardlockup_panic": "unsigned int",
    "sysctl_hardlockup_all_cpu_backtrace": "int",
    "rcu_state": "struct rcu_state",
    "rcu_tasks": "struct rcu_tasks",
    "rcu_cpu_stall_suppress": "int",
    # --- time
    "jiffies": "unsigned long",
    "jiffies_64": "u64",
    "timekeeper_data": "struct tk_data []",
    "tk_core": (
        "struct tk_data"
        " | struct { seqcount_raw_spinlock_t seq; struct timekeeper timekeeper; }"
        " | struct { seqcount_t seq; struct timekeeper timekeeper; }"
    ),
    "shadow_timekeeper": "struct timekeeper",
    "tick_next_period": "ktime_t",
    # --- memory
    "_totalram_pages": "atomic_long_t",
    "totalreserve_pages": "unsigned long",
    "min_low_pfn": "unsigned long",
    "max_low_pfn": "unsigned long",
    "max_pfn": "unsigned long",
    "high_memory": "void *",
    "mem_section": "struct mem_section **",
    "__highest_present_section_nr": "unsigned long",
    "sections_per_block": "int",
    "memblock": "struct memblock",
    "memory_subsys": "struct bus_type",
    "node_data": "struct pglist_data *[]",
    "node_states": "nodemask_t [NR_NODE_STATES]",
    "nr_node_ids": "unsigned int",
    "vm_zone_stat": "atomic_long_t [NR_VM_ZONE_STAT_ITEMS]",
    "vm_node_stat": "atomic_long_t [NR_VM_NODE_STAT_ITEMS]",
    "vm_numa_stat": "atomic_long_t [NR_VM_NUMA_STAT_ITEMS]",
    "vm_numa_event": "atomic_long_t [NR_VM_NUMA_EVENT_ITEMS]",
    "vm_committed_as": "struct percpu_counter",
    "sysctl_overcommit_ratio": "int",
    "sysctl_overcommit_kbytes": "unsigned long",
    "vmap_area_root": "struct rb_root",
    "vmap_area_list": "struct list_head",
    "free_vmap_area_list": "struct list_head",
    "vmap_nodes": "struct vmap_node *",
    "nr_vmap_nodes": "unsigned int",
    "vmap_zone_size": "unsigned int",
    "shrinker_list": "struct list_head",
    "gfpflag_names": "struct trace_print_flags []",
    "hstates": "struct hstate []",
    "hugetlb_max_hstate": "int",
    "swap_info": "struct swap_info_struct *[]",
    "swapper_spaces": "struct address_space *[]",
    "nr_swapper_spaces": "unsigned int []",
    "nr_swapfiles": "unsigned int",
    "nr_swap_pages": "atomic_long_t",
    "total_swap_pages": "long",
    "slab_caches": "struct list_head",
    "slab_kset": "struct kset *",
    "kmem_cache": "struct kmem_cache *",
    "root_mem_cgroup": "struct mem_cgroup *",
    "cgrp_dfl_root": "struct cgroup_root",
    "cgroup_roots": "struct list_head",
    "stack_pools": "void ** | void *[]",
    "stack_slabs": "void *[]",
    # --- modules, BPF, tracing
    "modules": "struct list_head",
    "mod_tree": "struct mod_tree_root",
    "module_kset": "struct kset *",
    "module_ktype": "struct kobj_type",
    "btf_idr": "struct idr",
    "prog_idr": "struct idr",
    "map_idr": "struct idr",
    "link_idr": "struct idr",
    "ftrace_trace_arrays": "struct list_head",
    "global_trace": "struct trace_array",
    "kprobe_table": "struct hlist_head []",
    "kprobe_blacklist": "struct list_head",
    "stack_tracer_enabled": "int",
    "stack_trace_max_size": "unsigned long",
    "stack_trace_index": "unsigned int []",
    "stack_dump_trace": "unsigned long []",
    # --- printk, console
    "prb": "struct printk_ringbuffer *",
    "printk_rb_static": "struct printk_ringbuffer",
    "log_buf": "char *",
    "log_buf_len": "u32",
    "clear_seq": "struct latched_seq | u64",
    "syslog_seq": "u64",
    "console_list": "struct hlist_head",
    "console_drivers": "struct console *",
    # --- interrupts, timers, workqueues
    "irq_desc_tree": "struct xarray",
    "sparse_irqs": "struct maple_tree",
    "nr_irqs": "int",
    "total_nr_irqs": "unsigned int",
    "softirq_vec": "struct softirq_action [NR_SOFTIRQS]",
    "softirq_to_name": "char *[NR_SOFTIRQS]",
    "poll_spurious_irq_timer": "struct timer_list",
    "workqueues": "struct list_head",
    "worker_pool_idr": "struct idr",
    "unbound_pool_hash": "struct hlist_head []",
    "wq_watchdog_thresh": "unsigned long",
    # --- files, devices, net
    "super_blocks": "struct list_head",
    "file_systems": "struct hlist_head | struct file_system_type *",
    "mount_hashtable": "struct hlist_head *",
    "dentry_hashtable": "struct hlist_bl_head *",
    "inode_hashtable": "struct hlist_head *",
    "blockdev_superblock": "struct super_block *",
    "sysfs_root_kn": "struct kernfs_node *",
    "ns_file_operations": "struct file_operations",
    "fuse_conn_list": "struct list_head",
    "major_names": "struct blk_major_name *[]",
    "block_class": "struct class",
    "chrdevs": "struct char_device_struct *[]",
    "cdev_map": "struct kobj_map *",
    "bdev_map": "struct kobj_map *",
    "bus_kset": "struct kset *",
    "class_kset": "struct kset *",
    "devices_kset": "struct kset *",
    "bus_ktype": "struct kobj_type",
    "class_ktype": "struct kobj_type",
    "device_ktype": "struct kobj_type",
    "driver_ktype": "struct kobj_type",
    "pci_bus_type": "struct bus_type",
    "pci_root_buses": "struct list_head",
    "ioport_resource": "struct resource",
    "iomem_resource": "struct resource",
    "input_dev_list": "struct list_head",
    "input_handler_list": "struct list_head",
    "init_net": "struct net",
    "net_namespace_list": "struct list_head",
    "arp_tbl": "struct neigh_table",
    "ipc_mni_shift": "int",
}

_ARRAY = re.compile(r"(.+?)\s*\[(\w*)\]$")
_STRUCT = re.compile(r"struct \{(.*)\}$")


def global_type(
    prog: drgn.Program, name: str, symbol_size: int, constant: Callable[[str], int | None]
) -> drgn.Type | None:
    """The type of the global variable ``name``, ``None`` if the table has none that fits.

    :param symbol_size: Bytes up to the next symbol, 0 if not known.
    :param constant: Value of an enumerator.
    """
    spec = GLOBALS.get(name)
    if spec is None:
        return None
    best = None
    for alternative in spec.split(" | "):
        found = _parse(prog, alternative, symbol_size, constant)
        if found is None:
            continue
        size = _sizeof(found)
        if size == symbol_size:
            return found
        # The distance to the next symbol includes padding, so it may be larger.
        if best is None and (not symbol_size or size <= symbol_size):
            best = found
    return best


def _sizeof(found: drgn.Type) -> int:
    try:
        return int(drgn.sizeof(found))
    except TypeError:
        return 0


def _parse(
    prog: drgn.Program, text: str, symbol_size: int, constant: Callable[[str], int | None]
) -> drgn.Type | None:
    anonymous = _STRUCT.match(text)
    if anonymous:
        return _anonymous_struct(prog, anonymous.group(1))
    array = _ARRAY.match(text)
    try:
        if array is None:
            return prog.type(text)
        element = prog.type(array.group(1))
        length = array.group(2)
        if not length:
            count = symbol_size // drgn.sizeof(element) if symbol_size else None
        elif length.isdigit():
            count = int(length)
        else:
            count = constant(length)
            if count is None:
                return None
        return prog.array_type(element, count)
    except (LookupError, TypeError, SyntaxError, ValueError):
        return None


def _anonymous_struct(prog: drgn.Program, body: str) -> drgn.Type | None:
    """Lay out ``type name; type name;`` as C does."""
    members = []
    at = 0
    try:
        for declaration in filter(None, (part.strip() for part in body.split(";"))):
            type_name, _, name = declaration.rpartition(" ")
            found = prog.type(type_name)
            align = drgn.alignof(found)
            at = -(-at // align) * align
            members.append(drgn.TypeMember(found, name, at * 8))
            at += drgn.sizeof(found)
    except (LookupError, TypeError, SyntaxError):
        return None
    return prog.struct_type(None, at, members)
