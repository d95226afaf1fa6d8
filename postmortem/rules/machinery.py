r"""Which functions are never to blame, as data.

Every pattern must match a whole function name (suffixes such as ``.isra.0`` are
gone by then); patterns stand apart by white space. To teach the engine a function
that it blames wrongly, add a pattern here and a case to ``tests/rules/test_blame.py``;
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

MACHINERY: dict[str, str] = {
    "printing the report": r"""
        _*dump_stack(?:_lvl|_print_info)? _*show_(?:stack|regs|trace|backtrace)\w* dump_backtrace\w*
        unwind_backtrace walk_stackframe arch_stack_walk stack_trace_\w+ save_stack\w* dump_trace
        __die(?:_\w+)? die(?:_\w+)? oops_\w+ _*panic v?panic nmi_panic \w+_panic panic_\w+ check_panic_on_warn
        get_taint __stack_chk_fail ex_handler_\w+ fixup_exception seq_(?:v?printf|puts|putc|write) _*netdev_(?:printk|err|warn|info|alert|notice) _*ubsan_\w+ _*warn(?:_slowpath\w*|_bogus\w*|_alloc\w*|_printk)?
        _*report_bug\w* handle_bug handle_warning fixup_bug bug_handler ret_from_bug
        vprintk\w* _?printk\w* console_\w+ _*printk_safe_\w+ _*dev_(?:err|warn|info|notice|printk|vprintk)\w* print_\w+ va_format
        _*kasan_\w+ __(?:hw)?asan_\w+ check_memory_region\w* end_report\w* start_report
        _*kmsan_\w+ _*msan_\w+ _*kcsan_\w+ __tsan_\w+ _*kfence_\w+ report_\w*(?:race|uninit)\w*
        __sanitizer_\w+ write_comp_data kcov_\w+ ftrace_\w+ __fentry__ mcount\w*
        _*debug_(?:object|print|check|smp|lockdep|timer|hrtimer|work|rcu|exception)\w* __debug_\w+
        (?:trace_event_raw_event|perf_trace|__bpf_trace|__traceiter|trace_event_buffer|trace_raw_output)_\w+
        __this_cpu_preempt_check _*lockdep_\w+ _*schedule_bug _*schedule_debug
        watchdog(?:_\w+)? softlockup_\w+ is_softlockup trace_hardirqs_\w+ trace_preempt_\w+ trace_softirqs_\w+
        nmi_cpu_backtrace\w* nmi_trigger_\w+ arch_trigger_\w+
        _*refcount_\w+ ref_tracker_\w+ spin_(?:bug|dump) rwlock_bug fortify_panic _*fortify_\w+
        usercopy_(?:abort|warn) _*check_(?:object_size|heap_object) __virt_to_phys\w* \w*assertfail\w*
        _*list_(?:add|del)(?:_entry)?_valid\w* object_err slab_(?:err|bug|fix) bad_page\w*
        (?:free_pages_check|free_page_is_bad|check_new_page|check_free_page)\w*
        _*cfi_\w+ rust_begin_unwind _R\w*(?:panick|begin_unwind)\w* rust_helper_\w+ <?core::panicking\S*
    """,
    "traps and entry": r"""
        (?:exc_|asm_exc_|do_|early_)?(?:invalid_op|int3|divide_error|overflow|bounds|general_protection|stack_segment|double_fault|page_fault|async_page_fault)
        (?:asm_)?exc_\w+ do_trap(?:_\w+)? do_error_trap handle_(?:overflow|exception) idt_\w+ error_entry
        _*x86_(?:indirect|return)_\w+ _*retbleed_\w+ clear_bhb_loop native_(?:safe_halt|irq_\w+|save_fl|restore_fl)
        no_context _*bad_area\w* spurious_\w*fault async_page_fault _*do_(?:page|user_addr|kern_addr)_fault\w* bad_page_fault
        ___?do_page_fault handle_page_fault die_kernel_fault _*do_(?:kernel|user)_fault load_unaligned_zeropad
        el[01][th]?_\w+ el[01]h?_(?:dbg|undef|da|ia|abort|sync|error|irq|inv)\w* do_(?:mem|sp_pc|sp|pc)_abort
        do_(?:tag|translation|alignment|bad|page)_\w*(?:fault|area|recovery)\w* do_undefinstr do_bad do_mem_abort
        do_(?:DataAbort|PrefetchAbort) do_el[01]_\w+ arm64?_notify_\w+ do_serror arm64_serror_panic (?:call_)?brk\w*handler
        call_(?:break|undef)\w*_hook bug_brk_handler early_brk\w* handle_break __und_svc\w* __und_usr
        program_check_\w+ do_program_check _exception\w* interrupt_return\w* data_access_\w+ do_hash_fault
        __do_pgm_check pgm_check_\w+ do_(?:dat_exception|protection_exception|report_trap|ade|ri|bp|tr|cpu|reserved)
        entry_\w+ (?:ret|exit)_(?:SYSCALL|SYSENTER|INT80)_?\w* ret_from_(?:fork|syscall|kernel_thread)\w* ret_(?:fast|slow)_syscall
        retint_\w+ do_(?:fast_)?syscall_\w+ do_int80_\w+ int_ret_from_sys_call sysenter_\w+ ia32_sys_call x64_sys_call
        system_call\w* tracesys\w* syscall_(?:exit|enter|return|trace)\w* stub_\w+ _*invoke_syscall\w* syscall_handler
        secondary_startup\w* start_secondary x86_64_start_\w+ __kernel_text_address _*unwind_\w+ _*orc_\w+
        asm_sysvec_\w+ irqentry_exit\w* irqentry_enter\w* interrupt_entry
    """,
    "allocators": r"""
        _*k(?:m|z|c|v|vm|vz|re)alloc\w* _*kv?z?free\w* kfree_sensitive _*do_kmem_cache\w* _*kmem_cache_\w+
        _*(?:slab|slub)_\w+ _+cache_alloc\w* cache_(?:alloc|free)\w* _*cache_free\w* qlist_\w+ quarantine_\w+ do_slab_free mempool_\w+
        _*v(?:m|z)?(?:alloc|free|map|unmap)\w* _*vm_(?:map|unmap)_\w+ remove_vm_area free_vmap_\w+ __vunmap __get_vm_area\w*
        _*alloc_(?:page|percpu|frozen|slab|from|bulk|contig|workqueue|inode$)\w* _*alloc_inode _*get_free_pages?\w* get_zeroed_page\w*
        get_page_from_freelist\w* prep_(?:new|compound)_page\w* post_alloc_hook rmqueue\w* __alloc\w*
        _*free_(?:page|unref|pcppages|frozen|one|reserved|the|slab|to|hot|percpu|large_kmalloc)\w* new_slab\w* allocate_slab\w*
        setup_object\w* discard_slab v?memdup\w* kv?memdup\w* kstrn?dup\w* kvasprintf\w* kasprintf pcpu_\w+ create_object
        (?:free|alloc)_(?:debug_processing|consistency_checks) check_(?:object|slab|bytes\w*) get_partial_node\w* get_any_partial\w* free_to_partial_list\w* page_frag_\w+ _*page_frag\w*
        depot_\w+ stack_depot_\w+ set_track\w* memcg_\w*slab\w* obj_cgroup_\w+ kmemleak_\w+
        _*folio_(?:alloc|prep)\w* _*folio_put\w* _*put_page\w* _*page_ref_\w+ (?:try_)?get_(?:page|folio) kernel_init_pages kernel_init_free_pages vma_alloc_\w+ dma_(?:alloc|pool)_\w+ _*set_page_owner\w*
        filemap_alloc_folio\w* _*filemap_get_folio\w* pagecache_get_page\w* _*page_cache_alloc\w* _*page_pool_alloc\w*
        bpf_map_\w*alloc\w* (?:array|htab|bpf_map|trie|stack_map|dev_map|queue_stack_map)_(?:map_)?alloc\w* _*should_fail\w* fail_dump
    """,
    "memory, strings, bits": r"""
        _*mem(?:cpy|set|move|cmp|chr|dup|scan)(?:_\w+|\d+)? _*str(?:n?cpy|n?cat|n?cmp|n?casecmp|n?len|n?chr|rchr|str|n?str|sep|scpy|scpy_pad|lcpy|lcat|spn|cspn|pbrk|im|reverse)(?:_\w+)?
        _*(?:copy|clear)_(?:to_|from_|in_)?user\w* _*copy_(?:to|from)_(?:kernel|iter)\w* \w+_copy_(?:to|from)_user\w* raw_copy_\w+ copy_user_\w+ simple_copy_to_iter
        _*(?:get|put)_user\w* copyin copyout copy_page clear_page\w* rep_(?:movs|stos)\w* _*arch_(?:copy|clear)_\w+ check_copy_size
        (?:do_)?strncpy_from_user\w* strnlen_user\w* csum_partial\w* crc\d*\w* (?:v|vs|s|vsc|sc)n?printf\w*
        (?:hex_)?string(?:_nocheck|_get_size)? format_decode number pointer hex_dump_to_buffer
        _*find_(?:next|first|last|nth)_\w*bit\w* _*(?:test|set|clear|change)_\w*bit\w* _*bitmap_\w+ hweight\w*
        (?:arch_|raw_|instrumented_)*atomic(?:64|_long)?_\w+ _?atomic_dec_and_\w*lock\w* instrument_\w+ __(?:read|write)_once\w*
        __cmpxchg\w* sized_strscpy kstrto\w+ _*parse_integer\w* simple_strto\w+ cpumask_\w+ clear_\w*highpage\w* _*copy_user_highpage\w* xchg_\w+ arch_static_branch\w* jhash\w* siphash\w* __phys_addr\w* virt_to_\w+ _compound_head PageTail
        __?raw_(?:read|write)[bwlq] logic_(?:in|out)\w+ arch_local_irq_\w+
    """,
    "lists, trees, counters": r"""
        _*(?:list|hlist|llist|plist|klist|rb|rht|rhashtable|radix_tree|xas?|idr|ida|mas|mtree|mt|kref|kset|interval_tree|assoc_array|lockref)_\w+
        _*kobject_\w+ _*kobj_\w+ percpu_(?:ref|counter)_\w+ sort_r?
    """,
    "locks, waiting, RCU": r"""
        (?:_|do_|arch_|queued_|native_|pv_|ticket_|raw_)*(?:spin|read|write|rw|seq|qrw|q)_?(?:un)?(?:lock|trylock|is_locked|can_lock)\w*
        _*(?:raw_)?spin_\w+ _raw_\w+ _*(?:ww_|rt_|rtmutex_)?mutex_\w+ \w+_on_rt_mutex\w* _*rwbase_\w+ _*(?:down|up)(?:_(?:read|write|interruptible|killable|timeout|trylock|common|spinning)\w*)?
        downgrade_write _*rwsem_\w+ _*percpu_(?:down|up)_\w+ native_queued_\w+ _*pv_queued_\w+ osq_\w+
        _*lock_(?:acquire|release|acquired|is_held|downgrade|set|unpin|pin|repin|chain|commit)\w* reacquire_held_locks register_lock_class look_up_lock_class
        (?:mark|assign|validate|search|add|check)_(?:lock|chain|held|usage|irq|prev|prevs|noncircular|deadlock|wait_context|unlock|flags|preemption)\w* find_lock_entries
        seqcount_\w+ seqprop_\w+ (?:read|write)_seq\w+ rcu_(?:read|lock|is|dynticks|irq|nmi|user|idle|eqs|note|report|check|lockdep|watching|momentary|barrier|qs)\w*
        _*rcu_(?:read|is|dynticks|barrier|preempt)\w* _*preempt_\w+ _*might_\w+ __cant_\w+ _*cond_resched\w* _*local_(?:bh|irq|lock|unlock)\w*
        _*wake_up(?:_(?:process|bit|var|all|sync|locked|poll|q|state|interruptible|klogd|page|common|pollfree|worker)\w*)? try_to_wake_up _*wake_q_\w+ (?:autoremove|default)_wake_\w+ complete(?:_all|_with_flags)? swake_\w+ ep_poll_callback
        _*wait_for_(?:common|completion)\w* _*task_rq_lock (?:un)?lock_page\w* folio_(?:un)?lock\w* folio_wake\w*
        lock_sock\w* release_sock\w* _*lock_sock\w* synchronize_net
    """,
    "deferred work": r"""
        _*(?:queue|mod|cancel|flush|drain|destroy|schedule|try_to_grab|insert|start_flush|wait_on)_?(?:delayed_)?(?:work|workqueue|pending|rcu_work)\w*
        _*(?:cancel|flush)_\w*work\w* work_is_static_object
        _*(?:mod|add|del|try_to_del|detach|lock|internal_add|init|call|expire|enqueue|shutdown)_timer\w* lock_timer_base call_timer_fn
        _*(?:try_to_)?del_timer\w* _*timer_(?:delete|shutdown|pending|reduce|is|fixup)\w* sk_stop_timer\w* _*hrtimer_\w+ tasklet_\w+
        _*call_rcu\w* k(?:v|vm)?free_(?:call_)?rcu\w* _*kthread_(?:queue|create|stop|flush|cancel|destroy|insert|bind|park|should)\w*
        task_work_(?:add|cancel|run) irq_work_\w+
    """,
    "driver core": r"""
        _*device_(?:add|del|register|unregister|attach|bind|release|remove|create|destroy|initial|shutdown|links?|for|node|pm|driver)\w*
        _*driver_(?:register|probe|attach|detach|unregister|sysfs|bound|deferred)\w* _*driver_probe_device really_probe\w* call_driver_probe
        bus_(?:add|remove|for|probe|rescan|notify)\w* get_device\w* put_device add_uevent_var devres_\w+ release_nodes _*class_(?:create|register|destroy|unregister)\w* devm_\w+ dpm_\w+ component_\w+
        (?:platform|pci|i2c|spi|mdio|virtio|acpi|pnp|serio|gameport)_(?:drv|device|driver|bus|dev)_?(?:probe|remove|register|unregister|add|match|shutdown)\w*
        _*sysfs_\w+ internal_create_group\w* _*debugfs_\w+ _*proc_(?:register|create|mkdir|remove)\w* remove_proc_\w+ cdev_\w+
        _*usb_(?:probe|unbind|set_configuration|generic_driver|new_device|disconnect|disable|control_msg|start_wait_urb|submit|hcd|kill|poison|unpoison|free_urb|alloc_urb|bulk_msg|interrupt_msg|internal|get_descriptor|reset|stop_hub|anchor|unanchor|autopm|deauthorize|authorize|get_dev|put_dev|get_intf|put_intf|ifnum|find_interface)\w*
        _*usb_hcd\w* remove_intf_ep_devs hub_(?:event|port|thread|irq)\w* port_event hcd_\w+ generic_probe
        _*hid_(?:add|device|hw|destroy)_\w+ _*request_firmware\w* module_put try_module_get ref_module
        tty_(?:un)?register_device\w* rollback_registered\w* unregister_netdev\w*
    """,
    "files": r"""
        _*d(?:put|get|_lookup\w*|_delete|_kill|_walk) fast_dput _*dentry_kill\w* shrink_dentry_list lockref_put_\w+
        _*iput\w* igrab ihold truncate_inode_pages\w*
    """,
    "socket buffers": r"""
        p?skb_(?:put|push|pull|reserve|trim|over_panic|under_panic|panic|clone|copy|expand_head|checksum|release|unref|dequeue|queue|to_sgvec|alloc|may_pull|unlink|unclone|cow)\w*
        _*p?skb_(?:put|pull|push|trim|clone|linearize|unlink|dequeue|queue)\w* _*(?:alloc|consume|kfree)_skb\w* _*(?:netdev|napi|dev)_alloc_skb\w*
        sock_(?:wmalloc|alloc_send_\w+|kmalloc|kfree_s|kzfree_s) sk_prot_(?:alloc|free) sk_alloc
    """,
    "scheduler": r"""
        _*(?:do_)?schedule(?:_\w+)? context_switch _*switch_to\w* io_schedule\w*
    """,
}
"""Functions that are in the stack of a report without being its cause, by what they are."""

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
    mmap_region do_mmap\w* _*handle_irq_event\w* generic_smp_call\w* flush_smp_call\w*
"""
"""Dispatchers: what stalls or overflows is blamed on the function that one of these called."""

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
