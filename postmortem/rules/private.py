"""What in a report names a machine, a network or a person, or was a process's memory.

Judgement as data for ``--redact``. A row names the thing and how it is known: by its own
shape (an address of a network has one), or by what stands before it in the messages of the
kernel and of the programs that write to its log. What has neither shape nor herald can't be
known; docs/at-3-am.md says so.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple


class Shape(NamedTuple):
    """Something that is known by how it is written."""

    what: str
    """The name of its tokens: ``ip`` gives ``ip-1``."""
    pattern: str
    secret: Callable[[str], bool]
    """Whether this one is private: every machine has 127.0.0.1."""
    group: str = ""
    """Of the pattern, where not all of it is the thing: ``addr:fe80::1``."""


def _private_address(text: str) -> bool:
    """Whether it is an address at all, and one that tells something."""
    try:
        # printk's %pi4 pads with zeros, which ipaddress refuses.
        octets = text.split(".")
        plain = (
            ".".join(str(int(o)) for o in octets) if len(octets) == 4 and ":" not in text else text
        )
        address = ipaddress.ip_address(plain)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or int(address) == 0xFFFFFFFF)


_NO_CARD = {"00", "ff"}


def _private_mac(text: str) -> bool:
    """Not the broadcast and not the absent one."""
    return not set(re.split("[:-]", text.lower())) <= _NO_CARD


_PUBLIC_HOSTS = ("kernel.org", "debian.org", "ubuntu.com", "redhat.com", "fedoraproject.org")
"""Who builds kernels and whom their messages point to."""


def _private_host(text: str) -> bool:
    name = text.lower()
    return not any(name == host or name.endswith(f".{host}") for host in _PUBLIC_HOSTS)


def _always(_text: str) -> bool:
    return True


_DOMAINS = (
    "com|net|org|edu|gov|mil|int|info|biz|io|dev|cloud|app|local|localdomain|lan|home|internal"
    "|intra|intranet|corp|private|test|example|invalid|arpa|eu|de|uk|fr|nl|be|ch|at|it|es|pt|se"
    "|fi|dk|pl|cz|us|ca|br|cn|jp|kr|in|au|nz|ru|ua"
)
"""Ends of host names. Endings that are also those of files (``.so``, ``.rs``, ``.py``) are not
among them."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,62}[a-z0-9_])?"
_DOTTED = r"(?:\d{1,3}\.){3}\d{1,3}"

SHAPES = (
    Shape(
        "mac",
        r"(?<![0-9a-f])(?<![0-9a-f][:-])(?:[0-9a-f]{2}[:-]){5,}[0-9a-f]{2}(?![0-9a-f])",
        _private_mac,
    ),
    Shape(
        "ip",
        rf"(?<![\w:.])(?:(?:\w{{0,32}}[g-z_]\w{{0,32}}|\w{{5,32}}):)?"
        rf"(?P<ip6>(?=[0-9a-f.]*:[0-9a-f.]*:)[0-9a-f:]{{2,39}}(?:{_DOTTED})?)(?![\w:])",
        _private_address,
        "ip6",
    ),
    Shape("ip", rf"(?<!\d)(?<!\d\.){_DOTTED}(?!\d)", _private_address),
    Shape("uuid", r"(?<![0-9a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-f])", _always),
    Shape(
        "host",
        rf"(?<![\w-])(?<!\w\.)(?:{_LABEL}\.){{1,8}}(?:{_DOMAINS})(?![\w-])(?!\.\w)",
        _private_host,
    ),
)
"""The order is that of trying: what looks like a MAC address is not asked for an IP."""


class Herald(NamedTuple):
    """Words before a name. The name that they announce is replaced wherever it stands."""

    what: str
    pattern: str
    """With the name as its one group."""


_USER = r"([a-z_](?:[a-z0-9_.-]{0,30}[a-z0-9_])?\$?)"
_HOST = r"([a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?)"

HERALDS = (
    Herald("user", rf"/(?:home|Users|var/spool/mail|var/mail|var/spool/cron/crontabs)/{_USER}"),
    Herald("user", rf"\b(?:user|acct|logname|ruser|luser|suser)=[\"']?{_USER}"),
    Herald("user", rf"\b[ae]?uid=\d+\({_USER}\)"),
    Herald("user", rf"\b(?:for|of|invalid) user {_USER}"),
    Herald("user", rf"\b(?:publickey|password) for {_USER} from\b"),
    Herald("user", rf"\bsudo(?:\[\d+\])?:\s+{_USER} :"),
    Herald("user", rf"\bCRON(?:\[\d+\])?: \({_USER}\) "),
    Herald("user", rf"\bLinux version \S+ \({_USER}@"),
    Herald("host", rf"\bLinux version \S+ \([^@)\s]{{1,64}}@{_HOST}\)"),
    Herald("host", rf"\b(?:hostname|nodename|systemd\.hostname)[=:] ?[\"'<]?{_HOST}"),
    Herald("host", rf"\bset hostname to <{_HOST}>"),
    Herald("host", rf"\b(?:nfs|lockd|NFS4?|ceph|rpc): server {_HOST}"),
    Herald("host", rf"\\\\{_HOST}\\"),
    Herald("host", rf"(?<![\w/.:-]){_HOST}:/(?=[\w ])"),
    Herald("host", rf"\bo2net: .{{0,40}}\bnode {_HOST} \(num "),
)
"""Letters of either case; what the kernel prints of servers is in fs/nfs, fs/lockd, fs/smb."""

EVERYBODYS = frozenset(
    {
        "", "root", "nobody", "daemon", "bin", "sys", "sync", "mail", "www-data", "systemd", "dbus",
        "messagebus", "unknown", "none", "(none)", "localhost", "localhost.localdomain", "linux",
        "kernel", "server", "user", "host", "a", "the", "with", "on", "in", "is", "not", "and",
        "file", "http", "https", "ftp", "nfs", "pci", "usb", "acpi", "dev", "space", "mode", "from",
        "memory", "access", "data", "code", "task", "pages", "page", "c", "d", "e",
    }
)  # fmt: skip
"""Names that every machine has, and words that follow a herald without being a name."""

COMMANDS = re.compile(
    r"\b(?:COMMAND=|proctitle=|cmdline=|CMD \(|exec(?:uting)? command:? |argv=|cmd=)(?P<text>.+)",
    re.IGNORECASE,
)
"""What a program was started with: nothing of it stays."""

KERNEL_COMMAND_LINE = re.compile(r"\b(?:Kernel command line|Command line): (?P<text>.+)")
"""init/main.c and arch/*/kernel/setup.c print it so."""

SAFE_PARAMETERS = frozenset(
    """
    acpi acpi_osi apic audit clocksource cma console cpuidle.off_state crashkernel debug
    default_hugepagesz earlyprintk elevator fsck.mode fsck.repair hugepages hugepagesz
    hung_task_panic idle init initcall_debug intel_idle.max_cstate intel_iommu iommu
    irqaffinity isolcpus kasan kasan.fault kasan_multi_shot kfence.sample_interval
    kptr_restrict kvm.nx_huge_pages l1tf log_buf_len loglevel lsm maxcpus mce mds mem
    memmap_on_memory mitigations modprobe.blacklist module.sig_enforce module_blacklist
    net.ifnames nmi_watchdog no_console_suspend noapic nohz nohz_full nokaslr nomodeset
    nomodule nosmp nosmt nowatchdog nr_cpus numa numa_balancing oops page_owner page_poison
    panic panic_on_oops panic_on_taint panic_on_warn panic_print pci pcie_aspm
    pcie_aspm.policy preempt printk.devkmsg printk.time processor.max_cstate psi quiet
    rcu_nocbs rcupdate.rcu_cpu_stall_timeout rd.driver.blacklist retbleed ro rootdelay
    rootfstype rootwait rw scsi_mod.use_blk_mq selinux slab_nomerge slub_debug
    softlockup_panic spec_store_bypass_disable spectre_v2 splash stacktrace swapaccount
    swiotlb systemd.unified_cgroup_hierarchy threadirqs transparent_hugepage tsc tsx
    udbg-immortal usbcore.autosuspend vga watchdog_thresh workqueue.watchdog_thresh
    zswap.enabled
    """.split()  # noqa: SIM905
)
"""Parameters of the kernel whose values say what it does and not where or whose it is."""

PLAIN_VALUE = re.compile(r"(?:0x[0-9a-fA-F]{1,8}|\d{1,9}[KMGTkmgt]?|on|off|auto|force|y|n|yes|no)")
"""A value that names nobody, whatever the parameter is."""

USER_PC = re.compile(
    r"\bRIP: 00(?:33|23|2b):"  # x86-64, and a 32-bit process on it
    r"|\bEIP: 00(?:73|23|2b):"
    r"|\bRIP:?\s+e033:"  # Xen PV
)
"""From here on a report prints a process's registers and code (arch/x86/kernel/process_64.c):
CS with the lowest two bits set is user mode."""

USER_SEGV = re.compile(
    r"^\S.{0,80}\b(?:segfault at|general protection fault|trap) .*\bip:[0-9a-f]+ sp:"
)
"""A process died: the ``Code:`` line that follows is its own (arch/x86/mm/fault.c)."""

HEX_VALUE = re.compile(r"\b[0-9a-f]{8,16}\b(?!-)", re.IGNORECASE)
CODE_BYTES = re.compile(r"\bCode: ?(?P<text>.+)")
DUMPED = re.compile(
    r"(?:(?<=[\s:>])|^)(?P<text>(?:[0-9a-f]{2}[ \t]+){7,}[0-9a-f]{2}(?:[^0-9a-f\n].*)?)$",
    re.IGNORECASE,
)
_WORD = r"(?:[0-9a-f]{16}|[0-9a-f]{8})"
DUMPED_WORDS = re.compile(
    rf"(?:(?<=[\s:>])|^)(?P<text>(?:{_WORD}[ \t]+){{3,}}{_WORD}(?![0-9a-f:]).*)$", re.IGNORECASE
)
"""Memory as print_hex_dump() and the slab allocator write it: an object may be a buffer of a
process. KASAN's shadow bytes are no memory of anybody (:func:`is_shadow`)."""


def is_shadow(text: str) -> bool:
    """KASAN's shadow: how many bytes may be used, or one of its marks (mm/kasan/kasan.h)."""
    found = [int(byte, 16) for byte in re.findall(r"\b[0-9a-f]{2}\b", text, re.IGNORECASE)]
    return all(byte <= 7 or byte >= 0xF0 for byte in found)


def is_text(value: int) -> bool:
    """Letters in a register are a piece of somebody's text; a poison repeats one byte."""
    found = value.to_bytes(8, "little").rstrip(b"\0")
    return len(found) >= 5 and len(set(found)) > 2 and all(0x20 <= byte < 0x7F for byte in found)
