"""Where the things lie that an analysis leans on: found with the product's own program."""

from __future__ import annotations

import struct
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import drgn
from drgn import offsetof, sizeof
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import follow_phys
from drgn.helpers.linux.percpu import per_cpu
from drgn.helpers.linux.slab import for_each_slab_cache

import postmortem
from postmortem.dump.damage import readable
from postmortem.dump.kallsyms_find import tables_by_shape
from postmortem.dump.selfdescribe import each_module
from postmortem.dump.xarray import idr_entries
from postmortem.kernel.locking.blocking import blocking
from postmortem.kernel.system import present_cpus
from postmortem.kernel.tasks.tasks import all_tasks
from postmortem.kernel.tasks.unwind import sleeping_stacks
from tests.fuzz.dumps.image import PAGE, Extent

_TASK_WORDS = (
    *("state", "__state", "flags", "on_cpu", "mm", "exit_state", "pid", "tgid", "real_parent"),
    *("comm", "signal", "stack", "thread.sp", "pi_blocked_on", "files", "se.exec_start"),
    *("sched_info", "nvcsw", "last_switch_count", "start_time", "on_rq", "blocked_on"),
)
_FEW_SLOTS = 8
"""Of a tree's node: those that are in use on any machine."""
_MAX_TABLES = 300
"""Pages of page tables."""
_SYMBOLS = {
    "time": ("jiffies", "tk_core", "timekeeper_data"),
    "rcu": ("rcu_state",),
    "percpu": ("__per_cpu_offset", "__cpu_present_mask", "__cpu_online_mask", "nr_cpu_ids"),
    "globals": (
        *("panic_cpu", "crashing_cpu", "tainted_mask", "nr_threads", "watchdog_thresh"),
        *("sysctl_hung_task_timeout_secs", "page_offset_base", "vmemmap_base", "init_uts_ns"),
        *("_totalram_pages", "avenrun", "high_memory", "max_pfn", "phys_base"),
    ),
    "fs": ("super_blocks", "block_class", "btf_idr", "sparse_irqs", "irq_desc_tree"),
}
_RANGES = {
    "text": ("_stext", "_etext"),
    "orc": ("__start_orc_unwind", "__stop_orc_unwind"),
    "orc.ip": ("__start_orc_unwind_ip", "__stop_orc_unwind_ip"),
    "btf": ("__start_BTF", "__stop_BTF"),
}


def find_targets(path: Path) -> dict[str, list[Extent]]:
    """Extents of memory by group, each within pages that follow each other."""
    with postmortem.open(path, debuginfod=False) as case:
        if case.dump is None or not case.dump.has_types:
            return {}
        finder = _Finder(case.prog)
        return {group: list(found) for group, found in finder.find().items() if found}


class _Finder:
    def __init__(self, prog: Any) -> None:
        self._prog = prog
        self._init_mm = prog["init_mm"].address_of_()
        self._pages: dict[int, int | None] = {}
        self._groups: dict[str, list[Extent]] = defaultdict(list)

    def find(self) -> dict[str, list[Extent]]:
        steps: tuple[Callable[[], None], ...] = (
            *(self._symbols, self._printk, self._tasks, self._stacks, self._trees),
            *(self._locks, self._run_queues, self._modules, self._file_systems, self._slabs),
            *(self._symbol_table, self._page_tables, self._worker_pools, self._texts),
        )
        for step in steps:
            try:
                step()
            except (LookupError, AttributeError, drgn.FaultError) as exc:
                print(f"targets: {step.__name__}: {exc}", file=sys.stderr)
        return self._groups

    def _physical(self, page: int) -> int | None:
        if page not in self._pages:
            try:
                self._pages[page] = int(follow_phys(self._init_mm, page * PAGE).value_())
            except (LookupError, drgn.FaultError):
                self._pages[page] = None
        return self._pages[page]

    def _take(self, group: str, start: int, size: int) -> None:
        found = self._groups[group]
        end = start + size
        while start < end:
            count = min(end - start, PAGE - start % PAGE)
            physical = self._physical(start // PAGE)
            if physical is not None:
                found.append((start, physical + start % PAGE, count))
            start += count

    def _member(self, group: str, address: int, kind: drgn.Type, name: str, size: int = 8) -> None:
        with suppress(LookupError):
            self._take(group, address + offsetof(kind, name), size)

    def _symbols(self) -> None:
        for group, names in _SYMBOLS.items():
            for name in names:
                with suppress(LookupError):
                    symbol = self._prog.symbol(name)
                    self._take(group, symbol.address, min(symbol.size or 8, 512))
        for group, (first, last) in _RANGES.items():
            with suppress(LookupError):
                start = self._prog.symbol(first).address
                self._take(group, start, self._prog.symbol(last).address - start)
        for name in ("panic_cpu", "nr_cpu_ids", "nr_node_ids", "watchdog_thresh"):
            with suppress(LookupError):
                self._take(f"aim.{name}", self._prog.symbol(name).address, 4)

    def _printk(self) -> None:
        address = self._prog.read_u64(self._prog.symbol("prb").address)
        ring = drgn.Object(self._prog, "struct printk_ringbuffer", address=address)
        self._take("printk.head", address, sizeof(ring))
        count = 1 << ring.desc_ring.count_bits.value_()
        for group, array, kind in (
            ("printk.desc", ring.desc_ring.descs, "struct prb_desc"),
            ("printk.info", ring.desc_ring.infos, "struct printk_info"),
        ):
            self._take(group, array.value_(), count * sizeof(self._prog.type(kind)))
        text = ring.text_data_ring
        self._take("printk.text", text.data.value_(), 1 << text.size_bits.value_())
        self._take("aim.tail_id", ring.desc_ring.tail_id.address_, 8)

    def _tasks(self) -> None:
        kind = self._prog.type("struct task_struct")
        head = self._prog["init_task"].tasks.address_
        self._take("aim.tasks", head, 16)
        for task in all_tasks(self._prog).tasks:
            self._take("task.whole", task.address, sizeof(kind))
            for name in _TASK_WORDS:
                self._member("task.key", task.address, kind, name)
            self._member("text.comm", task.address, kind, "comm", 16)
            for name in ("tasks", "thread_node", "children", "sibling"):
                self._member("task.list", task.address, kind, name, 16)
        first = drgn.Object(self._prog, kind, address=all_tasks(self._prog).tasks[0].address)
        for node in (first.thread_node, first.signal.thread_head):
            self._take("aim.thread", node.address_, 8)

    def _stacks(self) -> None:
        found = sleeping_stacks(self._prog)
        for task, (low, end) in found.bases.items():
            stack = found.by_task.get(task)
            start = stack.sp if stack else low
            self._take("stack.sleeping" if stack else "stack.running", start, end - start)
            self._take("aim.stack", start, end - start)

    def _trees(self) -> None:
        pids = self._prog["init_pid_ns"].idr
        for name, idr in (
            ("pid", pids),
            ("workers", self._prog["worker_pool_idr"]),
            ("btf", self._prog["btf_idr"]),
        ):
            head = int(idr.idr_rt.xa_head.value_())
            self._take(f"tree.{name}", idr.idr_rt.xa_head.address_, 8)
            if head & 3 == 2:
                node = drgn.Object(self._prog, "struct xa_node", address=head - 2)
                self._take(f"tree.{name}", head - 2, sizeof(node))
                self._take(f"aim.tree.{name}", node.slots.address_, sizeof(node.slots))
        self._irqs()
        for _number, address in idr_entries(pids):
            self._take("pids", address, 96)

    def _irqs(self) -> None:
        """A radix tree, since v6.5 a maple tree, whose nodes have a type in their low byte."""
        try:
            root = self._prog["sparse_irqs"].ma_root
            address, kind, slots = root.value_() & ~0xFF, "struct maple_node", "mr64.slot"
        except LookupError:
            root = self._prog["irq_desc_tree"].xa_head
            address, kind, slots = root.value_() & ~3, "struct xa_node", "slots"
        type_ = self._prog.type(kind)
        self._take("tree.irqs", root.address_, 8)
        self._take("tree.irqs", address, sizeof(type_))
        self._take("aim.tree.irqs", address + offsetof(type_, slots), 8 * _FEW_SLOTS)

    def _locks(self) -> None:
        found = blocking(self._prog).waits
        for wait in found.waits:
            if wait.address:
                self._take("locks", wait.address, 64)
        for ring in found.rings.values():
            for waiter in ring.waiters:
                self._take("locks", waiter, 48)

    def _run_queues(self) -> None:
        for cpu in present_cpus(self._prog):
            queue = per_cpu(self._prog["runqueues"], cpu)
            self._take("rq", queue.address_, 512)
            for name in ("curr", "clock"):
                for group in ("rq", f"aim.rq.{name}"):
                    self._member(group, queue.address_, queue.type_, name)
            for name in ("pcpu_hot", "current_task", "watchdog_touch_ts", "rcu_data"):
                with suppress(LookupError):
                    base = self._prog["__per_cpu_offset"][cpu].value_()
                    # Kernel addresses since v6.15: the sum goes round.
                    address = (self._prog.symbol(name).address + base) % (1 << 64)
                    self._take("rq", address, 64)

    def _modules(self) -> None:
        for module in each_module(self._prog):
            address, kind = module.value_(), module.type_.type
            self._take("module", address, sizeof(kind))
            self._member("module", address, kind, "list", 16)
            self._member("text.module", address, kind, "name", 56)

    def _file_systems(self) -> None:
        kind = self._prog.type("struct super_block")
        head = self._prog["super_blocks"].address_of_()
        for block in islice(list_for_each_entry(kind, head, "s_list"), 64):
            self._take("fs", block.value_(), sizeof(kind))
            self._take("fs", block.s_root.value_(), 192)
            self._member(
                "aim.mount", block.s_root.value_(), self._prog.type("struct dentry"), "d_parent"
            )

    def _symbol_table(self) -> None:
        text, data = (self._prog.symbol(name).address for name in ("_stext", "init_task"))
        table = next(tables_by_shape(self._prog, text, data))
        count = self._prog.read_u32(table.num_syms)
        self._take("kallsyms.names", table.num_syms, table.token_table - table.num_syms)
        self._take("kallsyms.tokens", table.token_table, table.token_index - table.token_table)
        self._take("kallsyms.tokens", table.token_index, 512)
        self._take("kallsyms.offsets", table.offsets, 4 * count)
        self._take("kallsyms.offsets", table.relative_base, 8)

    def _page_tables(self) -> None:
        """Of x86-64, the kernel's half: the tops first, as far as they are few."""
        if self._prog.platform.arch != drgn.Architecture.X86_64:
            return
        five = readable(lambda: bool(self._prog["__pgtable_l5_enabled"].value_()))
        top = self._physical(self._init_mm.pgd.value_() // PAGE)
        todo = [(top, 5 if five else 4)] if top is not None else []
        seen: set[int] = set()
        while todo and len(seen) < _MAX_TABLES:
            table, level = todo.pop(0)
            if table in seen:
                continue
            seen.add(table)
            first = 256 if len(seen) == 1 else 0
            self._groups["pagetables"].append((0, table + 8 * first, PAGE - 8 * first))
            with suppress(drgn.FaultError):
                raw = self._prog.read(table, PAGE, True)
                for (entry,) in struct.iter_unpack("<Q", raw[8 * first :]):
                    if entry & 1 and not entry & 0x80 and level > 2:
                        todo.append((entry & 0xF_FFFF_FFFF_F000, level - 1))

    def _worker_pools(self) -> None:
        kind = self._prog.type("struct worker_pool")
        for _number, address in idr_entries(self._prog["worker_pool_idr"]):
            self._take("workers", address, drgn.sizeof(kind))
        for _number, address in idr_entries(self._prog["btf_idr"]):
            section = drgn.Object(self._prog, "struct btf", address=address)
            self._take("btf.module", address, drgn.sizeof(section.type_))
            self._take("btf.module", section.data.value_(), min(int(section.data_size), 1 << 16))

    def _texts(self) -> None:
        uts = self._prog["init_uts_ns"].name
        self._take("text.uts", uts.address_, sizeof(uts.type_))
        self._take("text.uts", self._prog["saved_command_line"].value_(), 64)
        self._take("vmcoreinfo.page", self._prog["vmcoreinfo_data"].value_(), PAGE)

    def _slabs(self) -> None:
        for cache in islice(for_each_slab_cache(self._prog), 512):
            self._take("slab", cache.value_(), 256)
