"""Which functions are never to blame, as data.

Every pattern must match a whole function name (suffixes such as ``.isra.0`` are
gone by then). Add a pattern here with a test in ``tests/log/test_functions.py``;
code that reads these is in :mod:`postmortem.log.functions`.
"""

from __future__ import annotations

SUFFIXES = r"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv|clone|localalias|cfi|cfi_jt|kcfi|unlikely|warm|\d+)\b\.?\d*)+|\$[0-9a-f]{32}|\.cfi_jt"
"""What a compiler appends to a name."""

PREFIXES: tuple[tuple[str, str], ...] = (
    # A symbol that marks the padding before a function.
    (r"__(?:pfx|cfi)_", ""),
    # System call wrappers: gcc and clang inline different ones of them.
    (r"__(?:x64|ia32|x32|arm64|s390x?|riscv|powerpc|loongarch|mips)_(?:compat_)?sys_", "sys_"),
    (r"__se_(?:compat_)?sys_", "sys_"),
    (r"(?:compat_)?SyS_", "sys_"),
    (r"compat_sys_", "sys_"),
    (r"__do_(?:compat_)?sys_|k(?:compat_)?sys_|do_sys_", ""),
)

SYSCALL = r"sys_"
"""Dropped for signatures only: ``sys_read`` and ``ksys_read`` are one place."""

ALIASES: tuple[tuple[str, str], ...] = (
    (r"(?:__)?synchronize_(?:s?rcu|sched|rcu_bh|net)(?:_expedited|_mult|_tasks)?", "synchronize_rcu"),
    (r"smp_call_function_(?:single|many|many_cond|any)|generic_exec_single|on_each_cpu(?:_cond)?(?:_mask)?", "smp_call_function"),
)
"""Families that differ only in how they do the same thing."""

MACHINERY: dict[str, tuple[str, ...]] = {
    "reporting": (
        r"(?:__)?dump_stack(?:_lvl|_print_info)?", r"show_(?:stack|regs|trace|backtrace)\w*", r"__show_regs",
        r"dump_backtrace\w*", r"unwind_backtrace", r"walk_stackframe", r"arch_stack_walk", r"stack_trace_\w+",
        r"save_stack\w*", r"(?:__)?die(?:_\w+)?", r"oops_\w+", r"(?:v?panic|nmi_panic|__stack_chk_fail|ubsan_\w+|__ubsan_\w+)",
        r"(?:__)?warn(?:_slowpath\w*|_bogus\w*|_alloc\w*)?", r"__report_bug", r"report_bug\w*", r"handle_(?:bug|warning)", r"fixup_bug", r"do_error_trap",
        r"(?:exc_|asm_exc_|do_|)invalid_op", r"(?:asm_)?exc_\w+", r"(?:do_|early_)?(?:trap|invalid_op|int3|divide_error|overflow|bounds|general_protection|stack_segment|double_fault)",
        r"do_trap(?:_\w+)?", r"handle_(?:overflow|exception)", r"(?:idt|ia32)_\w+", r"vprintk\w*", r"_?printk\w*", r"console_\w+", r"_dev_(?:err|warn|info|printk)\w*", r"dev_printk\w*",
        r"print_\w+", r"(?:__)?kasan_\w+", r"__asan_\w+", r"__hwasan_\w+", r"kasan_\w+", r"check_memory_region\w*", r"end_report\w*", r"start_report",
        r"(?:__)?msan_\w+", r"kmsan_\w+", r"__kmsan\w*", r"__msan_\w+", r"(?:__)?kcsan_\w+", r"__tsan_\w+", r"kfence_\w+", r"__kfence_\w+", r"report_\w*(?:race|uninit)\w*",
        r"__sanitizer_\w+", r"write_comp_data", r"handle_null_ptr_deref", r"check_(?:unlock|noncircular|prev_add|prevs_add|deadlock|wait_context|preemption_disabled|flags|usage\w*|irq_usage|chain_key|heap_object|bogus_address|stack_object|bug_on_\w+)",
        r"debug_smp_processor_id", r"__this_cpu_preempt_check", r"lockdep_\w+", r"ret_from_bug", r"nmi_cpu_backtrace\w*", r"nmi_trigger_\w+", r"arch_trigger_\w+",
        r"watchdog(?:_\w+)?", r"softlockup_\w+", r"is_softlockup", r"__?schedule_bug", r"trace_hardirqs_\w+", r"trace_preempt_\w+", r"debug_exception_\w+",
        r"bug_handler", r"brk_handler", r"(?:call_break|early_brk|do_debug|do_brk|call|bug_brk)\w*(?:64|_hook|_handler)?", r"el1?_?\w*(?:dbg|undef|da|abort|sync|error|brk64|irq|inv|fpac|bti)\w*", r"el[01][ht]_\w+",
        r"do_(?:sp_pc|sp|pc)_abort", r"do_(?:mem|tag|translation|alignment|bad|page)_?(?:abort|fault|area\w*|check_fault|recovery)\w*",
        r"__do_(?:kernel_fault|user_fault)", r"die_kernel_fault", r"arm_notify_die", r"arm64_\w*notify_die", r"do_(?:undefinstr|bad|mem_abort|DataAbort|PrefetchAbort|el[01]_\w+)",
        r"__(?:dabt|pabt|und|irq)_(?:svc|usr)(?:_\w+)?", r"do_serror", r"arm64_serror_panic", r"do_trap_(?:break|unknown|insn_\w+|load_\w+|store_\w+|ecall_\w+|error)", r"handle_break",
        r"program_check_\w+", r"do_program_check", r"_exception\w*", r"interrupt_return\w*", r"data_access_\w+", r"do_hash_fault", r"bad_page_fault", r"___?do_page_fault", r"handle_page_fault", r"__do_pgm_check", r"pgm_check_\w+", r"do_(?:dat_exception|protection_exception|no_context|report_trap|ade|ri|bp|tr|cpu|reserved)",
        r"refcount_\w+", r"__refcount_\w+", r"debug_print_object", r"spin_(?:bug|dump)", r"rwlock_bug", r"__warn_printk", r"__bug_table\w*", r"fortify_panic", r"__fortify_\w+", r"usercopy_(?:abort|warn)", r"__check_(?:object_size|heap_object)", r"check_object_size",
        r"__list_(?:add|del_entry)_valid\w*", r"__list_(?:add|del)_\w+", r"list_\w+_corruption", r"object_err", r"slab_(?:err|bug|fix)", r"bad_page\w*", r"(?:free_pages_check|check_new_pages?|check_free_page)(?:_bad)?\w*", r"__cfi_\w+", r"cfi_\w+", r"rust_begin_unwind", r"_R\w*panic\w*", r"rust_helper_\w+", r"<?core::panicking\S*",
    ),
    "entry": (
        r"(?:entry|ret|exit)_(?:SYSCALL|SYSENTER|INT80|from)_?\w*", r"entry_\w+", r"ret_from_(?:fork|exception|syscall|kernel_thread)\w*", r"do_(?:fast_)?syscall_\w+", r"(?:do_)?int80_\w+",
        r"system_call\w*", r"tracesys\w*", r"syscall_(?:exit|enter|return|trace)\w*", r"stub_\w+", r"secondary_startup\w*", r"start_secondary", r"x86_64_start_\w+",
        r"error_entry", r"(?:page|async_page)_fault", r"__x86_(?:indirect|return)_\w+", r"(?:__)?retbleed_\w+", r"clear_bhb_loop", r"native_\w*(?:halt|irq_\w+|save_fl|restore_fl)", r"x64_sys_call", r"ia32_sys_call", r"arch_local_irq_\w+", r"mcount\w*", r"ftrace_\w+", r"__fentry__", r"invoke_syscall\w*",
    ),
    "allocators": (
        r"(?:__|___)?k(?:m|z|c|v|vm|vz|re)alloc\w*", r"(?:__)?kv?free\w*", r"kz?free_sensitive", r"(?:__|do_)?kmem_cache_(?:alloc|free|shrink|create|destroy)\w*", r"(?:__)?(?:slab|slub)_\w+", r"___?slab_\w+", r"cache_(?:alloc|free)\w*", r"qlist_\w+", r"quarantine_\w+", r"do_slab_free", r"mempool_\w+",
        r"(?:__)?(?:v|vz)(?:alloc|free|map|unmap)\w*", r"__vmalloc_\w+", r"remove_vm_area", r"(?:__)?alloc_(?:pages?|percpu|frozen|slab|from|bulk|contig)\w*", r"(?:__)?get_free_pages?\w*", r"get_zeroed_page\w*", r"(?:__)?get_page_from_freelist\w*", r"prep_(?:new|compound)_page\w*", r"rmqueue\w*", r"(?:__)?free_(?:pages?|unref|pcppages|frozen|one|reserved|the|slab|to|hot|percpu)\w*", r"__alloc\w*", r"new_slab\w*", r"allocate_slab\w*", r"setup_object\w*", r"discard_slab", r"memdup_user\w*", r"v?memdup\w*", r"kmemdup\w*", r"kstrdup\w*", r"kstrndup", r"__get_vm_area_node\w*", r"pcpu_\w+", r"free_debug_processing", r"alloc_debug_processing", r"alloc_consistency_checks", r"free_consistency_checks", r"check_(?:object|slab|bytes\w*)", r"(?:__)?page_frag_\w+", r"depot_\w+", r"stack_depot_\w+", r"set_track\w*", r"poison_\w+", r"kasan\w*", r"memcg_\w*slab\w*", r"obj_cgroup_\w+", r"kmemleak_\w+", r"(?:__)?folio_alloc\w*", r"folio_prep_\w+", r"vma_alloc_\w+", r"kvmemdup\w*", r"dma_alloc_\w+", r"dma_pool_\w+",
    ),
    "memory and strings": (
        r"(?:__)?(?:mem(?:cpy|set|move|cmp|chr|dup)|str\w{2,8})(?:_\w+|\d+)?", r"__?(?:copy|clear)_(?:to|from|in)?_?user\w*", r"_?copy_(?:to|from)_(?:user|iter|kernel)\w*", r"copy_user_\w+", r"(?:__)?(?:get|put)_user\w*", r"raw_copy_\w+", r"rep_(?:movs|stos)\w*", r"__arch_(?:copy|clear)\w+", r"clear_(?:page|huge_page)\w*", r"copy_page(?!_)\w*", r"csum_partial\w*", r"(?:v|vs|s|vsc|sc)n?printf\w*", r"vsnprintf", r"string(?:_nocheck)?", r"format_decode", r"number", r"pointer", r"_?find_(?:next|first|last)_\w*(?:bit|bits)\w*", r"(?:__)?(?:test|set|clear|change)(?:_and_(?:set|clear|change))?_bit\w*", r"(?:arch_|raw_)?(?:atomic|atomic64|atomic_long)_\w+", r"instrument_\w+", r"(?:__)?(?:read|write)_once\w*", r"__read_once\w*", r"__?write_once\w*", r"check_copy_size", r"copyin", r"copyout", r"(?:do_)?strncpy_from_user\w*", r"strnlen_user\w*", r"(?:__)?bitmap_\w+", r"hweight\w*", r"(?:un)?likely_\w+", r"__bad_area\w*", r"__cmpxchg\w*", r"xchg_\w+", r"arch_static_branch\w*", r"hex_dump_to_buffer", r"jhash\w*", r"_compound_head", r"PageTail", r"load_unaligned_zeropad", r"siphash\w*", r"__virt_addr_valid", r"__phys_addr\w*", r"virt_to_\w+",
    ),
    "lists and trees": (
        r"(?:__)?(?:list|hlist|llist|plist|klist)_\w+", r"(?:__)?rb_\w+", r"(?:__)?rht_\w+", r"rhashtable_\w+", r"(?:__)?radix_tree_\w+", r"(?:__)?xas?_\w+", r"(?:__)?idr_\w+", r"ida_\w+", r"mas_\w+", r"mtree_\w+", r"mt_\w+", r"kref_\w+", r"kobject_\w+", r"kset_\w+", r"(?:__)?interval_tree_\w+", r"percpu_ref_\w+", r"percpu_counter_\w+", r"sort_r?", r"lockref_\w+", r"assoc_array_\w+", r"augmented_\w+", r"erase_entry", r"__hlist_\w+",
    ),
    "locks": (
        r"(?:_|__|do_|arch_|queued_|native_|pv_|__pv_|ticket_)*(?:raw_)*(?:queued_)?(?:spin|read|write|rw|seq|qrw|q)_?(?:un)?(?:lock|trylock|is_locked|can_lock)\w*", r"_*(?:spin|raw_spin)_\w+", r"(?:__|___)?(?:ww_)?mutex_\w+", r"(?:__)?rt_mutex_\w+", r"(?:__)?(?:down|up)(?:_(?:read|write|interruptible|killable|timeout|trylock|common))*\w*", r"downgrade_write", r"rwsem_\w+", r"(?:__)?percpu_(?:down|up)_\w+", r"(?:__)?(?:bit_)?spin_lock\w*", r"native_queued_\w+", r"__?pv_queued_\w+", r"queued_(?:spin|read|write)_\w+", r"lock_(?:acquire|release|acquired|is_held\w*|downgrade|set_class|unpin\w*|pin\w*|repin\w*)\w*", r"(?:__)?lock_(?:acquire|release)\w*", r"register_lock_class", r"look_up_lock_class", r"__lock_\w+", r"(?:mark|assign|validate|search|find|add|check)_(?:lock|chain|held|usage|irq)\w*", r"seqcount_\w+", r"seqprop_\w+", r"(?:read|write)_seq\w+", r"rcu_(?:read|lock|is|dynticks|irq|nmi|user|idle|eqs|note|sched|report|check|lockdep|watching|momentary)\w*", r"(?:__)?rcu_(?:read|is|dynticks)\w*", r"preempt_(?:count|schedule|disable|enable)\w*", r"___?preempt_\w+", r"(?:__|___)?might_(?:sleep|fault|resched|alloc)\w*", r"___might_sleep", r"__cant_\w+", r"(?:_)?cond_resched\w*", r"local_(?:bh|irq|lock|unlock)\w*", r"(?:__)?local_bh_\w+", r"osq_\w+", r"lockdep_\w+", r"kcov_\w+", r"(?:__)?wake_up(?:_\w+)?", r"(?:try|default|autoremove)_(?:to_)?wake_\w+", r"complete(?:_all|_with_flags)?", r"swake_\w+", r"ep_poll_callback", r"_raw_\w+", r"mutex", r"semaphore",
    ),
    "deferred work": (
        r"(?:__)?(?:queue|mod|cancel|flush|drain|destroy|schedule|try_to_grab|insert|delayed|start_flush|alloc|wait_on|work)_?(?:delayed_)?(?:work|workqueue|pending|rcu_work)\w*", r"(?:__)?(?:cancel|flush)_\w*work\w*", r"__flush_work\w*", r"work_is_static_object", r"(?:__)?(?:mod|add|del|try_to_del|detach|timer|lock|internal_add|init|call|expire|process|destroy|shutdown)_?(?:delete|shutdown)?_?timers?(?:_\w+)?", r"timer_(?:delete|shutdown|pending|reduce|is|fixup)\w*", r"__timer_delete\w*", r"(?:__)?hrtimer_(?!run_queues\b)\w+", r"tasklet_\w+", r"(?:__)?debug_(?:object|check|timer|hrtimer|work|rcu|print)\w*", r"__debug_\w+", r"call_rcu\w*", r"(?:__)?call_rcu\w*", r"kfree_rcu\w*", r"kvfree_call_rcu", r"kthread_(?:queue|create|stop|flush|cancel|destroy|insert|bind|park|should)\w*", r"__kthread_\w+", r"task_work_(?:add|cancel|run)", r"irq_work_\w+", r"lookup_object_or_alloc", r"debug_object\w*",
    ),
    "driver core": (
        r"(?:__)?device_(?!exit|init)(?:add|del|register|unregister|attach|bind|release|remove|create|destroy|initial|shutdown|links|link|for|node|link|pm|driver)\w*", r"(?:__)?driver_(?:register|probe|attach|detach|unregister|sysfs|bound|deferred)\w*", r"really_probe\w*", r"bus_(?:add|remove|for|probe|rescan|notify)\w*", r"call_driver_probe", r"(?:platform|pci|usb|usb_serial|hid|i2c|spi|mdio|virtio|acpi|pnp|hub)_(?:drv_|device_|driver_|bus_|port_|dev_|probe_|generic_|)?(?:probe|remove|register|unregister|add|match|shutdown)(?:_\w+)?", r"(?:__)?hid_(?:add|device|hw)_\w+", r"devres_\w+", r"release_nodes", r"devm_\w+", r"put_device", r"get_device", r"dpm_\w+", r"(?:__)?sysfs_\w+", r"internal_create_group\w*", r"(?:__)?debugfs_\w+", r"proc_(?:register|create|mkdir|remove)\w*", r"(?:__)?proc_(?:create|mkdir)\w*", r"remove_proc_\w+", r"usb_\w*(?:probe_interface|unbind_interface|set_configuration|generic_driver_probe|probe_device|new_device|disconnect|disable_device|disable_interface|control_msg|start_wait_urb|submit_urb|hcd_\w+|kill_urb|poison_urb|free_urb|bulk_msg|interrupt_msg|internal_control_msg|get_descriptor|reset_device|stop_hub|alloc_urb)\w*", r"usb_(?:submit|kill|free|alloc|get|put|anchor|unanchor|poison|unpoison|autopm|set|reset|deauthorize|authorize)_\w+", r"hub_(?:event|port|thread|irq)\w*", r"port_event", r"__usb_\w+", r"hcd_\w+", r"hid_hw_\w+", r"request_firmware\w*", r"_request_firmware\w*", r"cdev_\w+", r"component_\w+", r"module_put", r"try_module_get", r"ref_module",
    ),
    "files": (
        r"(?:__)?d(?:put|get|_lookup\w*|entry_\w+|_delete|_kill|_walk)", r"fast_dput", r"lockref_put_\w+", r"(?:__)?dentry_kill\w*", r"shrink_dentry_list", r"(?:__)?iput\w*", r"(?:__)?igrab", r"ihold",
    ),
    "sockets and buffers": (
        r"(?:__)?(?:p?skb|napi_skb|kfree_skb|consume_skb)_(?:put|push|pull|reserve|trim|over_panic|under_panic|panic|clone|copy|copy_bits|expand_head|checksum\w*|release\w*|unref|dequeue\w*|queue_\w+|to_sgvec\w*|alloc\w*|headers_\w+|may_pull\w*)", r"(?:__)?alloc_skb\w*", r"(?:__)?(?:netdev|napi)_alloc_skb\w*", r"(?:__)?dev_alloc_skb\w*", r"(?:__)?kfree_skb\w*", r"sock_(?:wmalloc|alloc_send_\w+|kmalloc|kfree_s|kzfree_s)", r"lock_sock\w*", r"release_sock\w*", r"(?:__)?lock_sock\w*", r"sk_prot_(?:alloc|free)", r"sk_alloc",
    ),
    "scheduler": (
        r"(?:__|do_)?schedule(?:_\w+)?", r"context_switch", r"(?:__)?switch_to\w*", r"io_schedule\w*", r"preempt_schedule\w*", r"schedule_bug",
    ),
}
"""Functions that are in the stack of a report without being its cause, by what they are."""

ANCHORS: tuple[str, ...] = (
    # Dispatchers: the function that a stall is blamed on is the one that they called.
    r"do_syscall_\w+", r"do_fast_syscall_\w+", r"do_int80_\w+", r"entry_\w+", r"ret_fast_syscall", r"el0_svc\w*", r"invoke_syscall", r"el0_svc_common", r"system_call\w*", r"__invoke_syscall", r"x64_sys_call", r"tracesys\w*",
    r"process_one_work", r"process_scheduled_works", r"worker_thread", r"kthread", r"ret_from_fork\w*", r"call_timer_fn", r"__run_timers",
    r"__hrtimer_run_queues", r"__run_hrtimer", r"run_ksoftirqd", r"smpboot_thread_fn", r"net_rx_action", r"rcu_(?:process_callbacks|do_batch|core\w*)", r"task_work_run", r"exit_to_user\w*", r"exit_to_usermode_loop", r"do_exit", r"do_group_exit", r"get_signal", r"handle_mm_fault", r"__handle_mm_fault",
    r"vfs_(?:read|write|ioctl|fsync|fallocate|open|mkdir|rmdir|unlink|rename|statfs|getattr|symlink|link|iter_write|iter_read)", r"new_sync_(?:read|write)", r"__vfs_(?:read|write)", r"call_(?:read|write)_iter", r"do_iter_(?:read|write|readv_writev)\w*", r"do_loop_readv_writev\w*", r"do_vfs_ioctl", r"do_dentry_open", r"do_writev", r"do_readv", r"__fput", r"iterate_dir", r"do_sendfile",
    r"sock_(?:sendmsg\w*|recvmsg\w*|ioctl|do_ioctl|write_iter|read_iter|setsockopt|close|release)", r"__sock_(?:sendmsg|recvmsg|release|setsockopt)\w*", r"____?sys_(?:sendmsg|recvmsg)", r"__sys_(?:sendto|recvfrom|sendmsg|recvmsg|sendmmsg|recvmmsg|connect|bind|accept4|setsockopt|getsockopt|listen)\w*", r"do_sock_setsockopt", r"rtnetlink_rcv_msg", r"netlink_rcv_skb", r"genl_(?:rcv_msg|family_rcv_msg\w*)", r"nfnetlink_rcv_\w+", r"netif_receive_skb\w*", r"__netif_receive_skb\w*", r"process_backlog", r"napi_poll", r"__napi_poll", r"mmap_region", r"do_mmap\w*", r"vfs_get_tree", r"do_one_initcall", r"notifier_call_chain", r"handle_irq_event\w*", r"__handle_irq_event\w*", r"generic_smp_call\w*", r"flush_smp_call\w*",
)

STALL_MACHINERY: tuple[str, ...] = (
    r"(?:asm_|)sysvec_\w+", r"(?:smp_|)(?:__sysvec_|)\w*apic_timer_\w+", r"apic_timer_interrupt", r"reschedule_interrupt", r"call_function_\w*interrupt", r"\w*_interrupt",
    r"common_interrupt", r"asm_common_interrupt", r"irq_(?:enter|exit)\w*", r"__irq_(?:enter|exit)\w*", r"(?:__)?do_softirq\w*", r"handle_softirqs", r"invoke_softirq",
    r"update_process_times", r"tick_\w+", r"hrtimer_\w+", r"__hrtimer_\w+", r"rcu_\w+", r"check_cpu_stall", r"print_\w+stall\w*", r"nmi\w*", r"default_do_nmi", r"do_nmi", r"end_repeat_nmi", r"exc_nmi", r"asm_exc_nmi", r"perf_\w+nmi\w*", r"scheduler_tick", r"sched_tick",
    r"gic_\w+", r"handle_(?:domain_irq|percpu_\w+|irq_desc|fasteoi_\w+|edge_\w+)", r"(?:__)?handle_domain_irq", r"generic_handle_\w+", r"arch_timer_\w+", r"do_interrupt_handler", r"call_on_irq_stack", r"el1h?_\w*", r"el1_\w+", r"cpu_relax", r"rep_nop", r"csd_lock_wait", r"csd_do_func", r"ktime_\w+", r"read_tsc", r"delay_\w+", r"__?(?:const_)?udelay", r"__delay", r"native_(?:safe_halt|write_msr|apic_\w+|irq_\w+|queued_\w+)", r"pv_\w+", r"kvm_(?:wait|guest_apic\w*|clock\w*)", r"unwind_\w+", r"__unwind_\w+", r"orc_\w+", r"(?:__)?kernel_text_address", r"is_bpf_text_address", r"bpf_ksym_\w+", r"stack_access_ok", r"deref_stack_\w+", r"in_\w*stack\w*", r"get_stack_info\w*", r"(?:__)?module_\w*address", r"update_stack_state", r"debug_lockdep_\w+",
)
"""Skipped in stalls on top of the machinery: the interrupt that noticed, and busy waiting."""

HANG_MACHINERY: tuple[str, ...] = (
    r"(?:__)?wait_(?:for|on|event)\w*", r"do_wait_\w+", r"(?:__)?wait_\w*", r"out_of_line_wait_\w+", r"(?:bit|io)_wait\w*", r"io_schedule\w*", r"sleep_on_\w+", r"(?:__)?bit_\w+wait\w*", r"prepare_to_wait\w*", r"finish_wait", r"(?:__)?folio_(?:lock|wait)\w*", r"(?:__)?lock_(?:page|folio|buffer|sock)\w*", r"wait_woken", r"msleep\w*", r"usleep_\w+", r"schedule\w*", r"__refrigerator", r"rpc_wait_\w+", r"rwsem_\w+", r"(?:__)?down_\w+", r"(?:__)?flush_\w*work\w*", r"__cancel_work\w*", r"kthread_stop\w*", r"rt_mutex_\w+", r"rwbase_\w+", r"__rt_\w+", r"(?:__)?wait_rcu_gp", r"_synchronize_rcu_expedited\w*", r"srcu_\w+", r"exp_funnel_lock",
)
"""Skipped in hung tasks: how a task waits says nothing about what it waits for."""
