r"""Which functions are never to blame, as data.

What a function is, its source file says: :mod:`postmortem.rules.families` has that
for the kernels whose sources were read, and here is what the families mean. Every pattern
must match a whole function name (suffixes such as ``.isra.0`` are gone by then);
patterns stand apart by white space. To teach the engine a function that it blames
wrongly, give its file a family (``corpus/generate/machinery.py``) or, where no
source has it, a pattern in ``ELSEWHERE``, and a case to ``tests/rules/test_blame.py``;
the code that reads these is in :mod:`postmortem.rules.blame`.
"""

# ruff: noqa: E501
# fmt: off

from __future__ import annotations

SUFFIXES = r"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv|clone|localalias|cfi|cfi_jt|kcfi|unlikely|warm|\d+)\b)+|\$[0-9a-f]{16,32}"
"""What a compiler appends to a name."""

PREFIXES: tuple[tuple[str, str], ...] = (
    # A symbol that marks the padding before a function.
    (r"__(?:pfx|cfi)_", ""),
    # System call wrappers: gcc and clang inline different ones of them.
    (r"__(?:x64|ia32|x32|arm64|s390x?|riscv|powerpc|loongarch|mips)_(?:compat_)?sys_", "sys_"),
    (r"__se_(?:compat_)?sys_|SyS_|compat_sys_", "sys_"),
    (r"__do_(?:compat_)?sys_|k(?:compat_)?sys_|do_sys_|compat_SyS_", ""),
)

SYSCALL = "sys_"
"""Dropped for signatures only: ``sys_read`` and ``ksys_read`` are one place."""

ALIASES: tuple[tuple[str, str], ...] = (
    (r"_*synchronize_(?:s?rcu|sched|rcu_bh|rcu_tasks)(?:_expedited|_mult|_generic)?", "synchronize_rcu"),
    (r"smp_call_function_(?:single|many|many_cond|any)", "smp_call_function"),
)
"""Families that differ only in how they do the same thing."""

ALWAYS = frozenset({"report", "entry", "copy", "allocator", "lock", "container", "text"})
"""Families of the table that are machinery whole, whatever the report."""

GENERIC = frozenset({"report", "copy", "text"})
"""Families that say nothing, not even where nothing else is known."""

PARTLY: dict[str, str] = {
    "rcu": r"""
        rcu_(?:read|lock|is|dynticks|irq|nmi|user|idle|eqs|note|report|check|lockdep|watching|momentary|barrier|qs)\w*
        _*rcu_(?:read|is|dynticks|barrier|preempt)\w* _*call_(?:s?rcu|rcu_\w+) k(?:v|vm)?free_(?:call_)?rcu\w* debug_lockdep_rcu_\w+
    """,
    "scheduler": r"""
        _*(?:do_|preempt_)?schedule(?:_(?!tail)\w+)? rt_mutex_(?:pre_|post_)?schedule context_switch io_schedule\w* _*preempt_\w+ _*might_\w+ __cant_\w+ _*cond_resched\w*
        _*wake_up(?:_(?!new_task)\w+)? wake_q_\w+ try_to_wake_up (?:autoremove|default|woken)_wake_\w+ complete(?:_\w+)? swake_\w+
        _*wait_for_(?:common|completion)\w* do_wait_for_common _*task_rq_lock raw_spin_rq_\w+ rt_mutex_setprio _*switch_to\w*
    """,
    "deferred": r"""
        _*(?:queue|mod|cancel|flush|drain|destroy|schedule|try_to_grab|insert|start_flush|wait_on)_?(?:delayed_)?(?:work|workqueue|pending|rcu_work)\w*
        _*(?:cancel|flush|enable|disable|alloc)_\w*work\w* work_is_static_object _*alloc_workqueue\w* schedule_(?:timeout|delayed|work)\w*
        _*(?:mod|add|del|try_to_del|detach|lock|internal_add|init|call|expire|enqueue|shutdown)_timer\w* lock_timer_base call_timer_fn
        _*(?:try_to_)?del_timer\w* _*timer_(?:delete|shutdown|pending|reduce|is|fixup)\w* _*hrtimer_\w+ tasklet_\w+ _*local_bh_\w+
        _*kthread_(?:queue|create|stop|flush|cancel|destroy|insert|bind|park|should)\w* task_work_(?:add|cancel|run) irq_work_\w+ wake_up_(?:worker|q)
    """,
    "driver-core": r"""
        _*device_(?:add|del|register|unregister|attach|bind|release|remove|create|destroy|initial|links?|for|node|pm|driver)\w*
        _*driver_(?:register|probe|attach|detach|unregister|sysfs|bound|deferred)\w* really_probe\w* call_driver_probe
        bus_(?:add|remove|for|probe|rescan|notify)\w* (?:get|put)_device\w* devres_\w+ release_nodes _*class_(?:create|register|destroy|unregister)\w* devm_\w+ dpm_\w+ component_\w+
        (?:platform|pci|i2c|spi|mdio|virtio|acpi|pnp|serio|gameport)_(?:drv|device|driver|bus|dev)_?(?:probe|remove|register|unregister|add|match)\w*
        _*(?:sysfs|debugfs|kernfs_create|kernfs_add|kernfs_new)_\w+ internal_create_group\w* _*proc_(?:register|create|mkdir|remove)\w* remove_proc_\w+
        cdev_(?:add|del|init|alloc|device\w*) _*hid_(?:add|device|hw|destroy)_\w+ _*request_firmware\w* module_put try_module_get ref_module
        tty_(?:un)?register_device\w* dev_v?printk\w* _*dev_(?:err|warn|info|notice|printk)\w*
    """,
    "usb-core": r"""
        usb_(?:probe|unbind|set_configuration|generic_driver|new_device|disconnect|disable|control_msg|start_wait_urb|submit|hcd|kill|poison|unpoison|free_urb|alloc_urb|bulk_msg|interrupt_msg|internal|get_descriptor|reset|stop_hub|unanchor|anchor_urb|autopm|deauthorize|authorize|get_dev|put_dev|get_intf|put_intf|ifnum|find_interface)\w*
        __usb_\w+ remove_intf_ep_devs hub_(?:event|port|thread|irq)\w* port_event hcd_\w+
    """,
    "memory": r"""
        v?memdup\w* kv?memdup\w* kstrn?dup\w* kv?z?free\w* kfree_const kv(?:m|z)alloc\w* _*vm(?:alloc|free)\w*
        (?:un)?lock_page\w* _*folio_(?:un)?lock\w* folio_wake\w* _*put_page\w* _*folio_put\w* (?:try_)?get_(?:page|folio) _*page_ref_\w+
        filemap_alloc_folio\w* _*filemap_get_folio\w* pagecache_get_page\w* _*page_cache_alloc\w* _*folio_alloc\w* vma_alloc_\w+
        _*alloc_pages?_\w+ _*alloc_frozen_\w+ memcg_\w*slab\w* obj_cgroup_\w+ _*phys_addr\w* virt_to_\w+ _*might_fault find_lock_entries
        clear_\w*highpage\w* _*copy_user_highpage\w* _?compound_head truncate_inode_pages\w* (?:mmap|vma)_assert_\w+ kmemleak_\w+ _*dump_page\w*
    """,
    "network": r"""
        _*p?skb_(?:put|push|pull|reserve|trim|over_panic|under_panic|panic|clone|copy|expand_head|checksum|release|unref|dequeue|queue|to_sgvec|alloc|may_pull|unlink|unclone|cow|linearize)\w*
        p?skb_(?:put|pull|push|trim)\w* _*(?:alloc|consume|kfree|build)_skb\w* kfree_skbmem _*(?:netdev|napi|dev)_alloc_skb\w*
        sock_(?:wmalloc|alloc_send_\w+|kmalloc|kfree_s|kzfree_s) sk_prot_(?:alloc|free) sk_alloc sk_stop_timer\w* _*lock_sock\w* release_sock synchronize_net
        _*netdev_(?:printk|err|warn|info|alert|notice) unregister_netdev\w* rollback_registered\w* _*page_pool_alloc\w*
    """,
    "files": r"""
        _*d(?:put|get|_lookup\w*|_delete|_kill|_walk) fast_dput _*dentry_kill\w* shrink_dentry_list _*iput\w* igrab ihold alloc_inode
    """,
}
"""Of these families only some functions are machinery: the rest may well be to blame."""

ELSEWHERE: dict[str, str] = {
    "report": r"""
        abort dump_stack_\w+ _*show_(?:stack|regs|trace|backtrace)\w* _*(?:save_stack|print_context)_\w* save_stack dump_trace dump_backtrace\w*
        _*die _*crash_kexec machine_kexec\w* crash_save_\w+ crash_setup_regs oops_(?:begin|end|enter|exit) warn_slowpath_\w+ warn_alloc_\w+ _*[a-z]\w+_panic _*printk\w* vprintk_\w+ va_format
        kasan_(?:object_err|end_report|report_error|report_user_access|unpoison_\w+|poison_\w+|kmalloc\w*|slab_\w+|krealloc|alloc_pages|free_pages|strings)
        __(?:hw)?asan_\w+ check_memory_region\w* __msan_\w+ __tsan_\w+ __ubsan_\w+ __sanitizer_\w+ __hwasan_\w+
        ftrace_(?:call|caller|graph_\w+|regs_\w+|ops_\w+|stub|common) __fentry__ mcount\w*
        (?:trace_event_raw_event|perf_trace|__bpf_trace|__traceiter|__probestub|trace_event_buffer|trace_raw_output|event_triggers)_\w+
        trace_(?:hardirqs|preempt|softirqs)_\w+ lockdep_sys_exit\w* check_usage\w* rust_begin_unwind _R\w*(?:panick|begin_unwind)\w* rust_helper_\w+ <?core::panicking\S*
        refcount_\w+_checked refcount_error_report fortify_panic usercopy_abort \w*assertfail\w* bad_page _*list_(?:add|del)(?:_entry)?_valid\w*
    """,
    "entry": r"""
        (?:exc_|asm_exc_|do_|early_)?(?:invalid_op|int3|divide_error|overflow|bounds|general_protection|stack_segment|double_fault|page_fault|async_page_fault)
        asm_(?:exc|sysvec|common|call|load_gs)_\w+ exc_\w+ do_trap(?:_no_signal)? do_error_trap error_entry fixup_bug do_async_page_fault trace_do_page_fault
        x86_(?:indirect|return)_thunk\w* _*x86_indirect_\w+ retbleed_\w+ native_(?:iret|restore_fl|save_fl|irq_\w+)
        ___?do_page_fault __do_kernel_fault __do_user_fault vmalloc_(?:sync_all|fault)
        el[01][th]?_(?:32|64)_\w+ el[01]h?_(?:dbg|undef|da|ia|abort|sync|error|irq|inv|fiq)\w* do_(?:mem|sp_pc|sp|pc)_abort
        do_(?:DataAbort|PrefetchAbort|undefinstr) _*[dp]abt_(?:svc|usr)\w* __(?:und|irq)_(?:svc|usr)\w* do_el[01]_\w+
        do_serror arm64_\w*serror\w* program_check_\w+ _exception\w* data_access_\w+ instruction_access_\w+ handle_page_fault interrupt_return\w* fault_in_\w+_exception
        pgm_check_\w+ do_(?:ade|ri|bp|tr|cpu|reserved|fpe|watch|mcheck) handle_(?:ri|bp|tr|ade|cpu|sys|tlb\w+)_?(?:int)? ret_from_exception do_debug_exception
        entry_(?:SYSCALL|SYSENTER|INT80)\w* (?:ret|exit)_(?:SYSCALL|SYSENTER|INT80)_?\w* ret_from_(?:fork|syscall|kernel_thread)\w* ret_(?:fast|slow)_syscall ret_to_user
        retint_\w+ do_(?:fast_)?syscall_\w+ do_int80_\w+ int_ret_from_sys_call sysenter_\w+ ia32_sys_call x64_sys_call system_call\w* tracesys\w*
        handle_exception do_trap_(?:unknown|insn|load|store|ecall|break)\w* riscv_intc_\w+ handle_\w+_int tlb_do_page_fault_\d except_vec\w* vec_swi
        syscall_(?:exit|enter|return|trace|call)\w* stub_(?:clone|execve|fork|sigaltstack|rt_\w+|x32_\w+)\w* _*invoke_syscall\w* el0_svc\w* handle_syscall
        secondary_startup\w* start_secondary x86_64_start_\w+ startup_(?:32|64)\w* irqentry_\w+ interrupt_entry preempt_schedule_(?:thunk|irq\w*)
    """,
    "allocator": r"""
        _*k(?:m|z|c|v|vm|vz|re)(?:alloc|free)(?:_(?:node|large|array|order|bulk|cache))*(?:_(?:trace|noprof|track_caller))*
        _*kmem_cache_(?:alloc|free|create|destroy)(?:_(?:node|lru|bulk|usercopy|args))*(?:_(?:trace|noprof))*
        depot_save_stack __vmalloc_node_\w+ __page_frag_\w+ __alloc_frozen_\w+ alloc_pages_\w+ __free_page_list free_hot_cold_\w+ slab_(?:alloc|free)_\w+
    """,
    "text": r"""
        _*mem(?:cpy|set|move|cmp|chr|scan)(?:_(?:erms|orig|rep|fromio|toio|s|mcsafe|generic|c))? _*str(?:n?cpy|n?cat|n?cmp|n?casecmp|n?len|n?chr|rchr|str|lcpy|lcat|scpy)
        s?n?printf vs?n?printf string hex_string copyin copyout copy_user_generic\w* copy_user_enhanced\w* _copy_from_iter_\w+ crc32_[lb]e_base crc32_body
        copy_(?:to|from|in)_user __copy_(?:to|from)_user\w* _*(?:get|put)_user_\w+ csum_partial\w* __bitmap_\w+ logic_(?:in|out)[bwl]
    """,
    "container": r"""
        ida_(?:pre_get|simple_\w+|get_new\w*) idr_(?:pre_get|get_new\w*|get_empty\w*|callback) kobject_uevent\w* radix_tree_\w+_shim
    """,
    "lock": r"""
        _raw_(?:spin|read|write)_\w+ rwsem_down_(?:read|write)_failed\w* call_rwsem_\w+ _*(?:down|up)_(?:read|write)\w* _*mutex_lock_\w+ _*(?:mutex|rwsem|rt_mutex)_(?:add|remove|optimistic|adjust|handoff|mark)_?\w* _*ticket_spin_\w+
        rcu_check_callbacks rcu_dynticks_\w+ call_rcu_(?:bh|sched) cpus_(?:read|write)_\w+ _*might_(?:fault|sleep|resched) _*(?:arch|do|queued|native)_(?:spin|read|write)_lock\w*
    """,
    "deferred": r"""
        flush_(?:workqueue|work|delayed_work) flush_scheduled_work _*queue_(?:delayed_)?work schedule_work schedule_delayed_work _*cancel_work_timer del_timer\w*
    """,
    "network": r"""
        _*page_pool_alloc\w*
    """,
    "driver-core": r"""
        add_uevent_var generic_probe device_release rollback_registered\w* unregister_netdevice_(?:queue|many) netdev_(?:info|warn|err|notice) _*dev_(?:info|notice|warn|err) usb_disconnect
    """,
}
"""Names that the table cannot have, by family: of older kernels, made by macros, thunks."""

TRAPPED = r"""
    report_bug handle_bug fixup_bug bug_handler bug_brk_handler brk_handler do_error_trap _*die die_kernel_fault oops_end
"""
"""The trap was for the report: what follows in the stack is only how the trap was taken."""

UNWINDERS = r"""
    _*unwind_\w+ update_stack_state deref_stack_\w+ arch_stack_walk\w* walk_stackframe
"""
"""They read stacks, and may be what a checker caught at it."""

CORE_MODULES = r"""
    usbcore libcrc32c crc\w+ crc-\w+ xxhash sg_pool hid i2c-core i2c_core spidev serio gameport libphy mdio ulpi regmap-\w+ regmap_\w+ virtio pnp
"""
"""Modules that are built from the places of the table: a function of any other is its own."""

ANCHORS = r"""
    do_syscall_\w+ do_fast_syscall_\w+ do_int80_\w+ entry_\w+ ret_fast_syscall el0_svc\w* _*invoke_syscall system_call\w* x64_sys_call
    tracesys\w* sysenter_dispatch syscall_handler
    process_one_work process_scheduled_works worker_thread kthread ret_from_fork\w* call_timer_fn __run_timers run_ksoftirqd
    __hrtimer_run_queues __run_hrtimer smpboot_thread_fn net_rx_action rcu_(?:process_callbacks|do_batch|core\w*) task_work_run exit_to_user\w*
    get_signal _*handle_mm_fault cpu_startup_entry do_one_initcall vfs_get_tree
    _*vfs_(?:read|write|readv|writev|ioctl|iter_read|iter_write) new_sync_(?:read|write) call_(?:read|write)_iter
    do_iter_(?:read|write)\w* do_loop_readv_writev\w* do_(?:writev|readv|sendfile|vfs_ioctl|dentry_open) __fput iterate_dir
    (?:\w+_)?(?:sys|SyS)_ioctl ksys_ioctl \w+_compat_ioctl compat_\w+_ioctl
    _*sock_(?:sendmsg|recvmsg|ioctl|do_ioctl|write_iter|read_iter|setsockopt|close|release|common_setsockopt)\w* do_sock_setsockopt
    __sys_(?:sendto|recvfrom|sendmm?sg|recvmm?sg|connect|bind|accept4|setsockopt|getsockopt|listen)\w*
    rtnetlink_rcv_msg nfnetlink_rcv_\w+ netlink_dump genl_family_rcv_msg_dumpit _*netif_receive_skb\w* process_backlog _*napi_poll
    tasklet_(?:hi_)?action\w* _*do_softirq handle_softirqs run_timer_softirq
    mmap_region do_mmap\w* _*handle_irq_event\w* generic_smp_call\w* flush_smp_call\w*
"""
"""Dispatchers: what stalls or overflows is blamed on the function that one of these called."""

DISPATCHERS = r"""
    process_one_work process_scheduled_works worker_thread kthread kthread_worker_fn smpboot_thread_fn run_ksoftirqd ret_from_fork\w*
    rcu_do_batch rcu_core\w* rcu_process_callbacks call_timer_fn __run_timers run_timer_softirq __do_softirq handle_softirqs task_work_run
"""
"""They run what others queued: in a stall they are never the loop themselves."""

STALL_MACHINERY = r"""
    \w*apic_timer_\w* \w*_interrupt(?:_entry\w*)? (?:asm_)?sysvec_\w+ _*irq_(?:enter|exit)\w* _*do_softirq\w* do_softirq_own_stack handle_softirqs invoke_softirq
    _?sched_show_task dump_cpu_task rcu_\w+ check_cpu_stall print_\w+ update_process_times tick_\w+ _*hrtimer_\w+
    nmi\w* default_do_nmi do_nmi end_repeat_nmi perf_\w*nmi\w* scheduler_tick sched_tick
    gic_\w+ handle_(?:domain_irq|percpu_\w+|irq_desc|fasteoi_\w+|edge_\w+) _*handle_domain_irq generic_handle_\w+ arch_timer_\w+
    do_interrupt_handler call_on_irq_stack cpu_relax rep_nop csd_lock_wait csd_do_func ktime_\w+ read_tsc delay_\w+ _*(?:const_)?udelay __delay
    native_(?:write_msr|apic_\w+) kvm_(?:wait|guest_apic\w*|clock\w*) is_bpf_text_address is_ftrace_trampoline bpf_ksym_\w+ stack_access_ok deref_stack_\w+
    in_\w*stack\w* get_stack_info\w* _*module_\w*address update_stack_state
"""
"""Skipped in stalls on top of the machinery: the interrupt that noticed, and busy waiting."""

FAULT_ENTRY = r"""
    (?:asm_)?exc_page_fault async_page_fault page_fault do_async_page_fault el1h?_(?:64_)?(?:sync\w*|abort|da) handle_page_fault
    data_access_\w+ do_DataAbort __dabt_svc do_dat_exception
"""
"""A page fault begins here: what is above it in the stack handles it."""

INTERRUPT_ENTRY = r"""
    asm_sysvec_\w+ (?:trace_)?apic_timer_interrupt\w* smp_(?:trace_)?apic_timer_interrupt_entry\w* asm_common_interrupt ret_from_intr
    __irq_svc el1_irq el1h_64_irq (?:asm_exc_|end_repeat_)?nmi retint_\w+ decrementer_common\w* io_int_handler ext_int_handler
    reschedule_interrupt call_function_\w*interrupt
"""
"""How an interrupt gets into the kernel: what is above it in the stack was not the stalled code."""

STALL_DETECTION = r"""
    update_process_times watchdog_timer_fn rcu_sched_clock_irq rcu_check_callbacks _*sched_show_task dump_cpu_task nmi_cpu_backtrace
    rcu_dump_cpu_stacks print_cpu_stall tick_sched_(?:timer|handle) tick_nohz_handler
"""
"""The interrupt is the one that noticed the stall."""

MEMORY_MACHINERY = r"""
    dump_header dump_\w+ out_of_memory oom_\w+ mem_cgroup_\w+ _*mem_cgroup\w* try_charge\w* pagefault_out_of_memory mem_cgroup_oom_synchronize
    _*handle_mm_fault handle_\w+_fault do_(?:anonymous_page|fault|fault_around|wp_page|cow_fault|read_fault|shared_fault|swap_page|huge_pmd_anonymous_page)\w*
    _*do_fault wp_page_copy filemap_\w+ _*swapin_\w+ read_swap_cache\w* swap_\w+ shmem_\w+ page_cache_ra\w* _*do_page_cache_readahead ondemand_readahead
    do_sync_mmap_readahead ra_\w+ _*read_pages _*get_user_pages\w* faultin_page\w* populate_vma_page_range mm_populate alloc_anon_folio
    _*add_to_page_cache\w* page_alloc\w* lock_mm_and_find_vma get_partial_node\w* charge_memcg obj_cgroup\w* do_exit do_group_exit _*reclaim_\w+
"""
"""Skipped where memory runs out: who asks for a page last is rarely who took them."""

HANG_MACHINERY = r"""
    _*wait_(?:for|on|event)\w* do_wait_\w+ out_of_line_wait_\w+ (?:bit|io)_wait\w* sleep_on_\w+ _*bit_\w*wait\w* prepare_to_wait\w*
    _*folio_(?:lock|wait)\w* _*lock_(?:page|folio|buffer)\w* do_read_cache_(?:folio|page)\w* wait_woken msleep\w* usleep_\w+ __refrigerator
    rpc_wait_\w+ _*wait_rcu_gp _synchronize_rcu_expedited\w* srcu_\w+ exp_funnel_lock percpu_rwsem_wait
"""
"""Skipped in hung tasks: how a task waits says nothing about what it waits for."""
