"""Writes ``postmortem/rules/machinery.txt.gz``: what each of the kernel's own functions is.

    python -m corpus.generate.machinery

fetches Debian's kernel sources (700 MB, kept in the cache) and takes a quarter of an
hour. A function is what the directory of its source is; :data:`FAMILIES` says which is
which. What the families mean for a report is in :mod:`postmortem.rules.machinery`.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from corpus.generate.csource import exported, functions
from corpus.kernels import Apt, default_cache

SOURCES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "bookworm", "7.2": "sid"}
"""Kernels, and the suite of Debian that has the package linux-source of each."""
TABLE = Path(__file__).parents[2] / "postmortem" / "rules" / "machinery.txt.gz"

FAMILIES: tuple[tuple[str, str], ...] = (
    # Tests, and programs of their own that only live in the same directories.
    (
        "",
        """
        **/kunit/** **/tests/** **/*test*.[ch] **/*torture*.c **/*scale*.c **/vdso/** **/boot/**
        lib/crypto/** lib/math/** lib/raid6/** lib/zlib* lib/zstd/** lib/lz* lib/xz/** lib/842/**
        lib/mpi/** lib/decompress* lib/fonts/** lib/pldmfw/** lib/asn1* lib/nlattr.c lib/inflate.c
        lib/fdt* lib/bootconfig.c lib/digsig.c lib/dynamic_debug.c lib/objagg.c lib/parman.c
        lib/kobject_uevent.c kernel/debug/** kernel/dma/map_benchmark.c
    """,
    ),
    # What looks for a failure or prints one.
    (
        "report",
        """
        kernel/panic.c kernel/printk/** kernel/kcsan/** kernel/kcov.c kernel/watchdog*.c
        kernel/hung_task.c kernel/stacktrace.c kernel/unwind/** kernel/kallsyms.c kernel/cfi.c
        kernel/kstack_erase.c kernel/stackleak.c kernel/locking/lockdep* kernel/locking/*debug*
        kernel/rcu/tree_stall.h kernel/sched/debug.c
        lib/dump_stack.c lib/bug.c lib/nmi_backtrace.c lib/debugobjects.c lib/ubsan.c
        lib/refcount.c lib/ref_tracker.c lib/seq_buf.c lib/smp_processor_id.c lib/ratelimit.c
        lib/fault-inject*.c lib/debug_locks.c lib/bust_spinlocks.c lib/error-inject.c
        lib/errname.c lib/list_debug.c
        mm/kasan/** mm/kmsan/** mm/kfence/** mm/kmemleak.c mm/debug*.c mm/usercopy.c
        mm/failslab.c mm/fail_page_alloc.c mm/page_owner.c
        arch/*/kernel/dumpstack*.c arch/*/kernel/stacktrace*.c arch/*/kernel/unwind*.c
        arch/*/kernel/return_address.c arch/*/lib/error-inject.c
        include/linux/fortify-string.h include/linux/seq_buf.h include/linux/printk.h
        include/linux/kasan*.h include/linux/kmsan*.h include/linux/kcsan*.h
        include/linux/kfence.h include/linux/refcount*.h include/linux/ref_tracker.h
        include/linux/lockdep*.h include/linux/debugobjects.h include/linux/fault-inject*
    """,
    ),
    # From user mode, an interrupt or a trap to the code for it.
    (
        "entry",
        """
        arch/*/entry/** arch/*/kernel/entry* arch/*/kernel/traps* arch/*/mm/fault*
        arch/*/mm/extable* arch/*/kernel/idt.c arch/*/kernel/doublefault* arch/*/kernel/head*
        arch/*/lib/retpoline.S arch/*/kernel/vector* arch/*/kernel/exceptions*
        arch/*/kernel/interrupt* arch/*/kernel/syscall*.c arch/*/kernel/debug-monitors.c
        arch/*/kernel/pgm_check* arch/*/kernel/genex.S arch/*/kernel/scall* arch/*/kernel/nmi.c
        arch/*/kernel/irq.c arch/*/kernel/cpu/bugs.c arch/*/include/asm/idtentry.h
        arch/*/include/asm/entry-common.h lib/extable.c kernel/extable.c
    """,
    ),
    (
        "copy",
        """
        lib/iov_iter.c lib/usercopy.c lib/iomap_copy.c lib/str*_user.c lib/checksum.c mm/maccess.c
        arch/*/lib/*copy* arch/*/lib/*user* arch/*/lib/*uaccess* arch/*/lib/*clear*
        arch/*/lib/mem* arch/*/lib/csum* arch/*/lib/checksum* arch/*/mm/maccess.c
        arch/*/mm/copypage* arch/*/include/asm/uaccess*.h include/asm-generic/uaccess.h
        include/linux/uaccess.h include/linux/uio.h include/linux/iov_iter.h
        include/linux/instrumented.h include/linux/ucopysize.h
    """,
    ),
    (
        "allocator",
        """
        mm/slab* mm/slub.c mm/slob.c mm/page_alloc.c mm/page_frag* mm/vmalloc.c mm/mempool.c
        mm/percpu*.c mm/dmapool.c mm/page_ext.c mm/page_poison.c mm/show_mem.c
        lib/stackdepot.c lib/genalloc.c lib/kasprintf.c lib/sg_pool.c lib/scatterlist.c
        kernel/dma/** include/linux/slab*.h include/linux/gfp*.h include/linux/vmalloc.h
        include/linux/mempool.h include/linux/percpu.h include/linux/dma-mapping.h
        include/linux/page_ref.h
    """,
    ),
    (
        "lock",
        """
        kernel/locking/** lib/lockref.c lib/dec_and_lock.c lib/atomic64.c lib/bucket_locks.c
        arch/*/lib/atomic* arch/*/kernel/paravirt-spinlocks.c
        arch/*/include/asm/*lock*.h arch/*/include/asm/atomic* arch/*/include/asm/bitops*.h
        arch/*/include/asm/cmpxchg*.h arch/*/include/asm/irqflags.h arch/*/include/asm/preempt.h
        include/asm-generic/*lock*.h include/asm-generic/atomic* include/asm-generic/bitops/**
        include/linux/spinlock*.h include/linux/rwlock*.h include/linux/seqlock*.h
        include/linux/local_lock*.h include/linux/bit_spinlock.h include/linux/lockref.h
        include/linux/mutex*.h include/linux/rwsem*.h include/linux/rwbase_rt.h
        include/linux/percpu-rwsem.h include/linux/semaphore.h include/linux/atomic*
        include/linux/atomic/** include/linux/ww_mutex.h include/linux/rtmutex.h
        include/linux/completion.h include/linux/preempt.h include/linux/irqflags.h
    """,
    ),
    ("rcu", "kernel/rcu/** include/linux/rcu*.h include/linux/srcu*.h"),
    (
        "scheduler",
        """
        kernel/sched/** include/linux/wait*.h include/linux/swait.h arch/*/kernel/process*.c
    """,
    ),
    # Work for later: who queues, cancels or waits for it, and who then runs it.
    (
        "deferred",
        """
        kernel/workqueue*.c kernel/time/timer.c kernel/time/hrtimer.c kernel/irq_work.c
        kernel/kthread.c kernel/task_work.c kernel/smp.c kernel/up.c kernel/async.c
        kernel/stop_machine.c kernel/smpboot.c kernel/softirq.c kernel/padata.c
        include/linux/workqueue.h include/linux/timer.h include/linux/hrtimer*.h
        include/linux/interrupt.h include/linux/kthread.h include/linux/smp.h
    """,
    ),
    (
        "interrupt",
        """
        kernel/irq/** kernel/time/* arch/*/kernel/apic/** arch/*/lib/delay.c arch/*/kernel/time.c
        arch/*/kernel/tsc*.c arch/*/kernel/kvm*.c arch/*/kernel/hpet.c arch/*/kernel/smp.c
        arch/*/kernel/paravirt.c drivers/irqchip/irq-gic*.c
    """,
    ),
    (
        "container",
        """
        lib/*list*.c lib/*tree*.c lib/rhashtable.c lib/xarray.c lib/idr.c lib/kobject.c
        lib/percpu*.c lib/assoc_array.c lib/sort.c lib/bsearch.c lib/timerqueue.c
        lib/flex_proportions.c lib/sbitmap.c lib/cpu_rmap.c lib/kfifo.c lib/errseq.c lib/once.c
        include/linux/*list*.h include/linux/rb*.h include/linux/*rhashtable*.h
        include/linux/xarray.h include/linux/idr.h include/linux/kref.h include/linux/kobject.h
        include/linux/percpu-refcount.h include/linux/percpu_counter.h
        include/linux/radix-tree.h include/linux/maple_tree.h include/linux/hashtable.h
        include/linux/kfifo.h
    """,
    ),
    (
        "text",
        """
        lib/string*.c lib/vsprintf.c lib/kstrtox.* lib/hexdump.c lib/bit*.c lib/find_bit.c
        lib/hweight.c lib/crc* lib/crc/** lib/siphash.c lib/xxhash.c lib/uuid.c lib/cpumask.c
        lib/nodemask.c lib/ctype.c lib/parser.c lib/cmdline.c lib/argv_split.c lib/glob.c
        lib/ucs2_string.c lib/bcd.c lib/memweight.c lib/memneq.c lib/memcat_p.c lib/random32.c
        lib/*ashldi3.c lib/*shrdi3.c lib/*di2.c lib/muldi3.c lib/logic*io.c lib/iomap.c
        lib/pci_iomap.c lib/packing.c fs/seq_file.c arch/*/lib/*
        include/linux/string*.h include/linux/bit*.h include/linux/find.h
        include/linux/cpumask.h include/linux/jhash.h include/linux/hash.h
        include/linux/siphash.h include/linux/unaligned/** include/linux/etherdevice.h
        include/linux/seq_file.h include/asm-generic/unaligned.h include/asm-generic/io.h
    """,
    ),
    # Devices, their drivers and their files, and the buses that bring them together.
    (
        "driver-core",
        """
        drivers/base/** lib/devres.c fs/sysfs/** fs/kernfs/** fs/debugfs/** fs/char_dev.c
        fs/proc/generic.c include/linux/device*.h include/linux/device/** include/linux/sysfs.h
        include/linux/debugfs.h drivers/hid/hid-core.c drivers/pci/pci-driver.c
        drivers/i2c/i2c-core-base.c drivers/spi/spi.c drivers/virtio/virtio.c drivers/pnp/driver.c
        drivers/input/serio/serio.c drivers/input/gameport/gameport.c drivers/acpi/bus.c
        drivers/net/phy/mdio_bus.c drivers/tty/tty_io.c kernel/module/main.c kernel/module.c
    """,
    ),
    ("usb-core", "drivers/usb/core/**"),
    (
        "memory",
        """
        mm/** include/linux/mm*.h include/linux/pagemap.h include/linux/highmem*.h
        include/linux/huge_mm.h include/linux/memcontrol.h include/linux/swap*.h
    """,
    ),
    (
        "network",
        """
        net/core/skbuff.c net/core/dev.c net/core/sock.c net/core/page_pool*.c
        include/linux/skbuff*.h include/net/sock.h
    """,
    ),
    ("files", "fs/dcache.c fs/inode.c fs/file_table.c fs/buffer.c include/linux/dcache.h"),
)
"""Family and paths, the first that matches counts: ``*`` stays in a directory, ``**`` does not."""

_STUBS = re.compile(
    r"(?:arch/\w+/(?:boot|um|purgatory|realmode|hyperv)|arch/um|drivers/firmware/efi/libstub"
    r"|arch/\w+/kernel/vdso|.*selftests?|.*[/_-](?:kunit|test)s?\b|Documentation|tools|samples"
    r"|scripts|usr)(?:/|\b)"
)
"""Code that is no part of the running kernel: its names say nothing about the kernel's."""
_BULK = "drivers/gpu/drm/amd/include/"
"""A hundred megabytes of registers without one function."""
_CODE = (".c", ".h", ".S")
SHORTEST = 4
"""Letters of a name that is static and still means something."""


def _pattern(glob: str) -> str:
    parts = re.split(r"(\*\*|\*|\[[^]]*\])", glob)
    wild = {"**": ".*", "*": "[^/]*"}
    return "".join(wild.get(p, p if p.startswith("[") else re.escape(p)) for p in parts)


@cache
def _compiled() -> list[tuple[str, re.Pattern[str]]]:
    return [
        (family, re.compile("|".join(f"(?:{_pattern(glob)})" for glob in globs.split())))
        for family, globs in FAMILIES
    ]


def family_of(path: str) -> str:
    """The family of a source file, empty for none."""
    return next((family for family, pattern in _compiled() if pattern.fullmatch(path)), "")


@dataclass(frozen=True)
class Source:
    """What one file of the kernel defines."""

    path: str
    names: frozenset[str]
    exported: frozenset[str]


def sources(archive: Path) -> Iterator[Source]:
    """Each C and assembler file in the kernel's tar file *archive*."""
    with tarfile.open(archive, "r|xz") as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            if not member.isfile() or not path.endswith(_CODE) or path.startswith(_BULK):
                continue
            file = None if _STUBS.match(path) else tar.extractfile(member)
            if file is not None:
                text = file.read().decode("latin-1")
                names = functions(text, assembler=path.endswith(".S"))
                yield Source(path, frozenset(names), frozenset(exported(text)))


def table(files: Iterable[Source]) -> dict[str, set[str]]:
    """Names by family, the earlier one where a name has several.

    A name that is also somebody else's is in none: it could be theirs.
    """
    order = {family: rank for rank, (family, _) in enumerate(FAMILIES)}
    found: dict[str, str] = {}
    ours: set[str] = set()
    others: set[str] = set()
    for source in files:
        family = family_of(source.path)
        if not family:
            if source.path.endswith(".c") and not source.path.startswith("arch/"):
                others |= source.names
            continue
        ours |= source.exported
        for name in source.names:
            found[name] = min(family, found.get(name, family), key=order.__getitem__)
    kept: dict[str, set[str]] = defaultdict(set)
    for name, family in found.items():
        if name in ours or (name not in others and len(name) >= SHORTEST):
            kept[family].add(name)
    return kept


def render(found: dict[str, set[str]]) -> str:
    """The table as text: a line ``[family]``, then its names, each on a line."""
    lines = [f"# Written by corpus/generate/machinery.py from Linux {', '.join(SOURCES)}."]
    for family, _ in FAMILIES:
        if family:
            lines += [f"[{family}]", *sorted(found.get(family, ()))]
    return "\n".join(lines) + "\n"


def fetch(name: str, cache: Path) -> Path:
    """The tar file with the source of kernel *name*, downloaded if it is not there."""
    suite, root = SOURCES[name], cache / "sources" / name
    archive = root / "usr" / "src" / f"linux-source-{name}.tar.xz"
    if not archive.exists():
        Apt(suite, "amd64", cache / "apt" / f"{suite}-x86_64").unpack(
            [f"linux-source-{name}"], root
        )
    return archive


def main() -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Write the table of the kernel's machinery.")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    archives = [fetch(name, options.cache) for name in SOURCES]
    found = table(chain.from_iterable(map(sources, archives)))
    options.output.write_bytes(gzip.compress(render(found).encode(), mtime=0))
    print(", ".join(f"{family} {len(names)}" for family, names in found.items()), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
