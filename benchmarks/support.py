"""What works on a dump that only describes itself: ``python -m benchmarks.support DUMP``.

Runs drgn's crash commands and the helpers of ``drgn.helpers.linux`` on the dump
with types from BTF alone, in a process of its own, and prints how many give an
answer. With ``--vmlinux FILE`` the same runs with that file's DWARF, and the
answers are compared word by word.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

_SECONDS = 60
"""Limit for one command or helper."""
_ITEMS = 2000
"""How many items of a walk are looked at."""

COMMANDS = """
sys; sys config; log; log -T; log -t; ps; ps -k; ps -u; ps -G; ps -A; ps -s; ps -p 1; ps -c 1
ps -t 1; ps -l; ps -m; ps -a 1; ps -g 1; ps -r 1; ps -S; bt; bt -a; bt 1; bt -f 1; bt -FF 1
bt -l 1; bt -c 0; bt -p; task 1; task -R pid,comm 1; set; set -p; set 1; sig 1; sig -l; sig -g 1
foreach bt; foreach files; foreach set; foreach sig; foreach task -R pid; foreach vm; files 1
files -d {root_dentry}; files -p {root_inode}; mount; mount -n 1; mod; mod -t; net; net -a; dev
dev -i; dev -p; dev -d; dev -D; irq; irq -u; irq -d; irq -b; irq -a; irq -s; timer; timer -r
timer -C 0; runq; runq -t; runq -T; runq -m; runq -g; runq -c 0; kmem -i; kmem -f; kmem -F
kmem -v; kmem -V; kmem -n; kmem -z; kmem -o; kmem -h; kmem -p; kmem -m flags; kmem -s
kmem -s task_struct; kmem -I task_struct -s; kmem -g; kmem {init}; swap; ipcs; ipcs -s; ipcs -m
ipcs -q; vm 1; vtop {init}; vtop -c 1 {init_code}; ptov 1000; ptob 10; btop 10000
ascii 62696c2f7273752f; eval 1 + 2; eval -b 1000; struct task_struct; struct list_head init_task
struct task_struct.pid,comm init_task; union sigval; *list_head init_task; whatis task_struct
whatis init_task; p init_task.comm; p jiffies; p runqueues:0; rd init_task 16
rd -s init_task 16; rd -a linux_banner; rd -p 1000 4; rd -32 init_task; sym init_task; sym -l
sym -q init_ta; sym -n init_task; sym -p init_task; list -h -o task_struct.tasks {init}
list -H modules; tree -t rb {vmap_root}; tree -t ra {pid_idr}; waitq kauditd_wait; bpf
search -t 57ac6e9d; search -s {init_page} -l 1000 0
""".replace("\n", ";")

HELPERS = """
for_each_disk(prog); for_each_partition(prog); nr_blockdev_pages(prog); kaslr_offset(prog)
pgtable_l5_enabled(prog); bpf_btf_for_each(prog); bpf_map_for_each(prog)
bpf_prog_for_each(prog); bpf_link_for_each(prog); cgroup_path(cgroup_get_from_path(prog, '/'))
css_for_each_child(cgroup_get_from_path(prog, '/').self)
cpumask_to_cpulist(cpu_online_mask(prog)); for_each_online_cpu(prog)
for_each_possible_cpu(prog); for_each_present_cpu(prog); num_online_cpus(prog)
cpumask_weight(cpu_possible_mask(prog)); for_each_registered_blkdev(prog)
for_each_registered_chrdev(prog)
[dev_name(d) for d in bus_for_each_dev(prog['pci_bus_type'].address_of_())]; for_each_file(task)
[(d_path(f.f_path)) for _, f in for_each_file(task)]; for_each_mount(prog)
[(mount_src(m), mount_dst(m), mount_fstype(m)) for m in for_each_mount(prog)]
d_path(path_lookup(prog, '/proc')); inode_path(path_lookup(prog, '/proc').dentry.d_inode)
print_mounts(prog); print_files(task); for_each_hstate(prog); hugetlb_total_pages(prog)
hugetlb_total_usage(prog); for_each_resource(prog['ioport_resource'].address_of_())
for_each_sysv_shm(prog); for_each_sysv_sem_array(prog); for_each_sysv_msg_queue(prog)
for_each_irq_desc(prog); irq_get_nr_irqs(prog); irq_to_desc(prog, 1)
[irq_desc_action_names(d) for _, d in for_each_irq_desc(prog)]
[irq_desc_chip_name(d) for _, d in for_each_irq_desc(prog)]
[irq_desc_kstat_cpu(d, 0) for _, d in for_each_irq_desc(prog)]
gate_desc_func(prog['idt_table'][14]); kernfs_path(prog['sysfs_root_kn'])
kernfs_children(prog['sysfs_root_kn']); sysfs_listdir(prog, '/sys')
sysfs_lookup(prog, 'devices'); kobject_path(prog['module_kset'].kobj)
task_is_kthread(find_task(prog, 2)); to_kthread(find_task(prog, 2))
kthread_data(find_task(prog, 2)); list_count_nodes(prog['modules'].address_of_())
validate_list_count_nodes(prog['slab_caches'].address_of_())
mutex_owner(prog['cgroup_mutex'].address_of_()); rwsem_locked(prog['net_rwsem'].address_of_())
rwsem_owner(prog['net_rwsem'].address_of_()); mt_for_each(task.mm.mm_mt.address_of_())
cmdline(task); environ(task); mm_cmdline(task.mm)
access_process_vm(task, task.mm.start_stack, 64); for_each_vma(task.mm)
[vma_name(v) for v in for_each_vma(task.mm)]; vma_find(task.mm, task.mm.start_code)
follow_phys(task.mm, task.mm.start_code); follow_pfn(task.mm, task.mm.start_code)
for_each_vmap_area(prog); find_vmap_area(prog, task.stack); for_each_memory_block(prog)
memory_block_size_bytes(prog); for_each_page(prog); for_each_valid_page_range(prog)
in_direct_map(prog, task); virt_to_phys(prog, task); virt_to_pfn(prog, task)
virt_to_page(prog, task); decode_page_flags(page); compound_head(page); page_to_pfn(page)
page_to_phys(page); page_size(page); PageSlab(page); PageLRU(page); task_rss(prog, task)
task_vsize(task); totalram_pages(prog); vm_commit_limit(prog); vm_memory_committed(prog)
vmalloc_to_page(prog, task.stack); NODE_DATA(prog, 0); for_each_online_pgdat(prog)
for_each_present_section(prog); high_wmark_pages(zone); low_wmark_pages(zone)
min_wmark_pages(zone); zone_page_state(zone, prog['NR_FREE_PAGES']); for_each_module(prog)
[m.name.string_() for m in for_each_module(prog)]
[module_address_regions(m) for m in for_each_module(prog)]
[module_percpu_region(m) for m in for_each_module(prog)]
[module_taints(m) for m in for_each_module(prog)]; address_to_module(prog, module_address)
for_each_net(prog); for_each_netdev(net); [netdev_name(d) for d in for_each_netdev(net)]
netdev_get_by_name(net, 'lo'); netdev_get_by_index(net, 1)
[netdev_ipv4_addrs(d) for d in for_each_netdev(net)]
netdev_for_each_tx_queue(netdev_get_by_name(net, 'lo'))
neigh_table_for_each_neighbor(prog['arp_tbl'].address_of_()); for_each_online_node(prog)
nr_node_ids(prog); for_each_node(prog); panic_message(prog); panic_task(prog); tainted(prog)
for_each_pci_dev(prog); for_each_pci_root_bus(prog)
[pci_name(d) for d in for_each_pci_dev(prog)]
[pci_bus_name(b) for b in for_each_pci_root_bus(prog)]; per_cpu(prog['runqueues'], 0).curr
percpu_counter_sum(prog['vm_committed_as'].address_of_()); find_pid(prog, 1); find_task(prog, 1)
for_each_pid(prog); for_each_task(prog); for_each_task(prog, idle=True)
[t.comm.string_() for t in for_each_task(prog)]; for_each_task_in_group(task); get_dmesg(prog)
get_printk_records(prog); rbtree_inorder_for_each(vmap_root); task_rlimits(task)
cpu_curr(prog, 0); cpu_rq(prog, 0); idle_task(prog, 0); loadavg(prog); task_rq(task)
task_cpu(task); rq_for_each_fair_task(cpu_rq(prog, 0)); rq_for_each_rt_task(cpu_rq(prog, 0))
[get_task_state(t) for t in for_each_task(prog)]
task_group_name(prog['root_task_group'].address_of_())
[task_since_last_arrival_ns(t) for t in for_each_task(prog)]; task_on_cpu(task)
thread_group_leader(task); signal_names(prog); sigpending_for_each(task.pending)
decode_sigset(task.blocked); decode_sigaction_flags(task.sighand.action[1].sa)
for_each_slab_cache(prog); find_slab_cache(prog, 'dentry'); get_slab_cache_aliases(prog)
slab_cache_usage(slab); slab_cache_objects_per_slab(slab); slab_cache_order(slab)
slab_total_usage(prog)
[1 for _ in slab_cache_for_each_allocated_object(slab, 'struct task_struct')]
slab_object_info(prog, task); find_containing_slab_cache(prog, task); slab_cache_is_merged(slab)
[[frame.pc for frame in prog.stack_trace(t) if not frame.is_inline] for t in sleepers]
for_each_swap_info(prog); swap_total_usage(prog); total_swapcache_pages(prog)
ktime_get_seconds(prog); ktime_get_real_seconds(prog); ktime_get_boottime_seconds(prog)
ktime_get_coarse_ns(prog); ktime_get_coarse_real_ns(prog); uptime(prog); uptime_pretty(prog)
timer_base_names(prog); [timer_base_for_each(b) for b in per_cpu(prog['timer_bases'], 0)]
find_user(prog, 0); for_each_user(prog); nr_free_pages(prog)
global_node_page_state(prog, prog['NR_FILE_PAGES'])
global_zone_page_state(prog, prog['NR_FREE_PAGES'])
global_vm_event_state(prog, prog['PGFAULT']); global_numa_event_state(prog, prog['NUMA_HIT'])
waitqueue_active(prog['kauditd_wait'].address_of_())
waitqueue_for_each_task(prog['kauditd_wait'].address_of_())
xa_for_each(prog['btf_idr'].idr_rt.address_of_()); idr_for_each(prog['btf_idr'].address_of_())
radix_tree_for_each(prog['init_pid_ns'].idr.idr_rt.address_of_()); identify_address(prog, task)
identify_address(prog, prog['init_task'].address_); identify_address(prog, task.stack)
""".replace("\n", ";")


@dataclass(frozen=True)
class Answer:
    """What one command or helper gave."""

    text: str
    error: str = ""

    @property
    def works(self) -> bool:
        """It answered, and did not answer with nothing or an apology."""
        return not self.error and bool(self.text.strip())


def _calls(text: str) -> list[str]:
    calls = (call.strip() for call in text.split(";"))
    return [call for call in calls if call]


def _open(path: str, vmlinux: str | None) -> Any:
    from postmortem.dump.core import open_core

    core = open_core(path)
    if vmlinux is None:
        from postmortem.dump.selfdescribe import describe

        describe(core.program, dict(core.info.vmcoreinfo))
    else:
        import drgn

        with contextlib.suppress(drgn.MissingDebugInfoError):
            core.program.load_debug_info([vmlinux])
    return core


def _timed_out(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"took more than {_SECONDS} s")


def _answer(call: Callable[[], object]) -> Answer:
    out = io.StringIO()
    signal.alarm(_SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            result = call()
            if result is not None and not out.getvalue():
                print(_shown(result), file=out)
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        return Answer(out.getvalue(), f"{type(exc).__name__}: {exc}"[:300])
    finally:
        signal.alarm(0)
    return Answer(out.getvalue())


def _shown(result: object) -> str:
    """A result as text: of walks the items, of objects type and value."""
    import drgn

    if isinstance(result, drgn.Object):
        kind = result.type_.kind
        if kind == drgn.TypeKind.POINTER or result.address_ is not None:
            where = result.value_() if kind == drgn.TypeKind.POINTER else result.address_
            return f"{result.type_.type_name()} {where:#x}"
        return repr(result)
    if isinstance(result, (str, bytes, int, float)) or hasattr(result, "_fields"):
        return str(result)
    if isinstance(result, Iterable):
        items = [_shown(item) for item in islice(result, _ITEMS)]
        return f"{len(items)} items\n" + "\n".join(items)
    return str(result)


def work(path: str, vmlinux: str | None) -> dict[str, dict[str, list[str]]]:
    """Run everything in this process."""
    import drgn.cli  # drgn.commands needs it first
    import drgn.commands._crash  # registers "crash"
    import drgn.helpers.common
    import drgn.helpers.linux
    from drgn.commands import run_command

    signal.signal(signal.SIGALRM, _timed_out)
    core = _open(path, vmlinux)  # its end would close the file
    prog = core.program
    names = {**vars(drgn.helpers.linux), **vars(drgn.helpers.common), "prog": prog}
    _add_samples(prog, names)
    results: dict[str, dict[str, list[str]]] = {"commands": {}, "helpers": {}}
    for call in _calls(COMMANDS):
        command = call.format_map(names["samples"])
        answer = _answer(lambda command=command: run_command(prog, f"crash {command}"))
        results["commands"][call] = [answer.text, answer.error]
    for call in _calls(HELPERS):
        answer = _answer(lambda call=call: eval(call, names))
        results["helpers"][call] = [answer.text, answer.error]
    return results


def _add_samples(prog: Any, names: dict[str, Any]) -> None:
    """Objects that helpers are tried on; what is missing makes those that need it fail."""
    samples = {
        "task": "find_task(prog, 1) or find_task(prog, 2)",
        "page": "virt_to_page(prog, task)",
        "zone": "NODE_DATA(prog, 0).node_zones[1].address_of_()",
        "slab": "find_slab_cache(prog, 'task_struct')",
        "net": "prog['init_net'].address_of_()",
        "vmap_root": (
            "(prog['vmap_nodes'][0].busy.root if 'vmap_nodes' in prog"
            " else prog['vmap_area_root']).address_of_()"
        ),
        "sleepers": "[t for t in for_each_task(prog) if not task_on_cpu(t)]",
        "module_address": "module_address_regions(next(iter(for_each_module(prog))))[0][0] + 16",
    }
    for name, expression in samples.items():
        names.pop(name, None)  # some are modules of drgn
        with contextlib.suppress(Exception):
            names[name] = eval(expression, names)
    root = None
    with contextlib.suppress(Exception):
        root = names["task"].fs.root.dentry
    names["samples"] = {
        "root_dentry": f"{root.value_():x}" if root is not None else "0",
        "root_inode": f"{root.d_inode.value_():x}" if root is not None else "0",
        "init": f"{names['task'].value_():x}" if "task" in names else "0",
        "init_page": f"{names['task'].value_() & ~0xFFF:x}" if "task" in names else "0",
        "init_code": _hex(names, "task.mm.start_code.value_()"),
        "vmap_root": _hex(names, "vmap_root.value_()"),
        "pid_idr": _hex(names, "prog['init_pid_ns'].idr.idr_rt.address_"),
    }


def _hex(names: dict[str, Any], expression: str) -> str:
    try:
        return f"{eval(expression, names):x}"
    except Exception:
        return "0"


def run(path: str, vmlinux: str | None) -> dict[str, dict[str, Answer]]:
    """Run everything in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.support", "--worker", path]
    if vmlinux:
        command += ["--vmlinux", vmlinux]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        results = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise SystemExit(f"the worker died ({done.returncode}): {done.stderr[-2000:]}") from None
    return {
        group: {call: Answer(*answer) for call, answer in answers.items()}
        for group, answers in results.items()
    }


_NOISE = re.compile(r"\s+|\bconst\b|\bvolatile\b")
_INLINE = re.compile(r"^.*\(inline\).*\n", re.M)
_PC = re.compile(r" at ([0-9a-f]{16})")


def same(left: str, right: str) -> bool:
    """Whether two answers say the same; spaces and const do not count."""
    return _NOISE.sub("", left) == _NOISE.sub("", right)


def same_stacks(left: str, right: str) -> bool:
    """Whether two answers have the same frames; DWARF adds inline ones and file:line."""
    frames = _PC.findall(left)
    return bool(frames) and frames == _PC.findall(_INLINE.sub("", right))


def report(path: str, vmlinux: str | None) -> None:
    """Print counts, what fails, and what differs."""
    ours = run(path, None)
    truth = run(path, vmlinux) if vmlinux else {}
    print(f"{Path(path).parent}")
    for group, answers in ours.items():
        working = [call for call, answer in answers.items() if answer.works]
        line = f"  {group}: {len(working)} of {len(answers)} work with BTF"
        if truth:
            reference = truth[group]
            also = sum(answer.works for answer in reference.values())
            equal = [call for call in working if same(answers[call].text, reference[call].text)]
            stacks = [
                call
                for call in working
                if call not in equal and same_stacks(answers[call].text, reference[call].text)
            ]
            line += (
                f", {also} with DWARF; {len(equal)} of {len(working)} answers are the same,"
                f" {len(stacks)} have the same frames but no inline ones"
            )
        print(line)
        for call, answer in answers.items():
            dwarf = truth[group][call] if truth else Answer("")
            if not answer.works:
                why = answer.error or "no output"
                beside = ""
                if truth:
                    beside = "; DWARF " + ("works" if dwarf.works else dwarf.error or "no output")
                print(f"    fails    {call}: {why}{beside}")
            elif truth and not (
                same(answer.text, dwarf.text) or same_stacks(answer.text, dwarf.text)
            ):
                print(f"    differs  {call}: {_difference(answer.text, dwarf)}")


def _difference(text: str, dwarf: Answer) -> str:
    if dwarf.error:
        return f"DWARF fails: {dwarf.error}"
    for left, right in zip(text.splitlines(), dwarf.text.splitlines(), strict=False):
        if not same(left, right):
            return f"{left.strip()[:100]!r}, DWARF {right.strip()[:100]!r}"
    return f"{len(text.splitlines())} lines, DWARF {len(dwarf.text.splitlines())}"


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump", nargs="+")
    parser.add_argument("--vmlinux", help="compare with the DWARF of this file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(arguments.dump[0], arguments.vmlinux)))
        return
    for dump in arguments.dump:
        report(dump, arguments.vmlinux)


if __name__ == "__main__":
    main()
