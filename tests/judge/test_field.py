"""Logs as people paste them, in invented words, and what a right verdict on each must hold.

The truth was written down before anybody looked at how the code would answer.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import postmortem
from postmortem.model.result import Analysis


class Case(NamedTuple):
    name: str
    kind: str
    culprit: str
    """Pattern on ``function [module]``; ``^$``: nobody is named."""
    holds: tuple[str, ...]
    """Patterns, each in the verdict."""
    lacks: tuple[str, ...]


CASES = [
    Case(
        "hba-dead",
        "io-error|device-error",
        "^$",
        ("mpt3sas_cm0", "non-operational"),
        ("no failure",),
    ),
    Case(
        "dpm-timeout",
        "suspend|panic|device-error",
        "^$|marten_hba",
        ("0000:00:17.0", "marten_hba_(flush|suspend)", "suspend"),
        (),
    ),
    Case("edac-ue-kill", "machine-check", "^$", ("DIMM", "could not correct|uncorrect"), ()),
    Case("wifi-fw", "device-error", "^$", ("firmware", "0000:00:14.3"), ()),
    Case("btrfs-transid", "io-error", "^$", ("sdk", "transid|lost write"), ()),
    Case("scx", "(?!none).*", "^$|quoll", ("quoll", "sched_ext", "stall"), ("no failure",)),
    Case("journal-two-boots", "soft-lockup", "^marten_spin_ring \\[marten\\]$", ("3301",), ()),
    Case(
        "bert-after",
        "null-dereference",
        "^tench_rx \\[tench\\]$",
        ("softirq|interrupt",),
        ("machine went on",),
    ),
    Case("fc-ext4", "io-error|device-error", "^$", ("LOOP DOWN|rport|remote port|link",), ()),
    Case("oom", "oom", "^$", ("tenchsolve", "2210", "14849"), ("cronjob used",)),
    Case(
        "aer-nvme",
        "device-error|io-error",
        "^$",
        ("nvme2|0000:00:1b.4", "AER|PCI|off the bus|link"),
        (),
    ),
    Case("md", "io-error|device-error", "^$", ("ata5|ata6|sdb|sdc", "md127|XFS"), ()),
    Case(
        "riscv",
        "bad-pointer",
        "^marten_dma_map \\[marten\\]$",
        ("page fault on a store|store",),
        (),
    ),
    Case("loongarch", "null-dereference", "^mink_enqueue \\[mink\\]$", ("0*48", "store"), ()),
    Case("s390", "use-after-free", "^stoat_release \\[stoat\\]$", ("free",), ()),
    Case("ppc64-bug", "bug", "^weasel_end_request \\[weasel\\]$", ("req\\.c:412",), ()),
    Case("arm32", "null-dereference", "^otter_set_clock \\[otter\\]$", ("write", "0*14"), ()),
    Case(
        "spin-holder",
        "soft-lockup",
        "^ermine_(poll_status|reap_work) \\[ermine\\]$",
        ("CPU 2", "ffff9a12041ab080|same lock|the lock"),
        (),
    ),
    Case(
        "list-warn",
        "list-corruption|memory-corruption",
        "^badgerly_unlink \\[badgerly\\]$",
        ("list",),
        ("certain culprit",),
    ),
    Case(
        "poison-gpf",
        "use-after-free",
        "^lynx_timer_fn \\[lynx\\]$",
        ("free",),
        ("crunch_numbers\\(\\)",),
    ),
    Case("ci-ansi", "kasan|use-after-free", "^vole_get_stats \\[vole\\]$", ("vole_del_port",), ()),
    Case("talos", "hung-task", "^shrewfs_truncate \\[shrewfs\\]$", ("shrewd", "2311", "122"), ()),
    Case(
        "login-glue",
        "list-corruption|general-protection|use-after-free|double-free|memory-corruption",
        "^pike_drop_session \\[pike\\]$",
        ("list|removed|poison",),
        (),
    ),
    Case(
        "dmesg-T-symbolised", "null-dereference", "^gudgeon_map \\[gudgeon\\]$", ("map\\.c:88",), ()
    ),
    Case(
        "middle-calm",
        "none",
        "^$",
        ("91022|incomplete|missing|not in it", "212"),
        ("^title: no failure found$",),
    ),
    Case("driver-errors", "none", "^$", ("complained", "eth0", "daceadc"), ("crash of",)),
    Case(
        "usb-storage-chain",
        "device-error|io-error",
        "^$",
        ("0000:00:14.0", "HC died|not responding|dead"),
        (),
    ),
    Case("soft-lockup-user", "soft-lockup", "^$", ("user",), ("holds the lock",)),
    Case(
        "softirq-victim",
        "soft-lockup",
        "^dorada_(drain_rx|tasklet) \\[dorada\\]$",
        ("softirq|interrupted",),
        ("deflate_slow\\(\\)",),
    ),
    Case(
        "hung-reader-of-dead-holder",
        "bad-pointer|out-of-bounds",
        "^turbot_fill \\[turbot\\]$",
        ("turbotctl|722",),
        (),
    ),
    Case(
        "rcu-starved-cpu",
        "rcu-stall",
        "^tuna_(wait_idle|reset) \\[tuna\\]$",
        ("CPU ?2|tunad",),
        ("pid 16",),
    ),
    Case(
        "stack-protector",
        "memory-corruption|stack-overflow|out-of-bounds",
        "^wrasse_parse \\[wrasse\\]$",
        ("stack",),
        (),
    ),
    Case("root-mount", "root-mount", "^$", ("nvme0n1p7",), ()),
    Case("mce", "machine-check", "^$", ("bank 4", "CPU 3|CPU: 3"), ()),
    Case(
        "fortify-panic",
        "out-of-bounds|bug",
        "^sole_set_name \\[sole\\]$",
        ("strncpy|overflow",),
        (),
    ),
    Case("netdev-watchdog", "device-error|warning", "^(?!dev_watchdog)", ("enp4s0", "brill"), ()),
    Case(
        "atomic-sleep-irqoff",
        "scheduling-while-atomic",
        "^danio_update \\[danio\\]$",
        ("spin_lock|preempt",),
        (),
    ),
    Case("cifs-json", "io-error|device-error|hung-task", "^$|cifs", ("nas9",), ()),
]


def told(analysis: Analysis) -> str:
    verdict = analysis.verdict
    return "\n".join(
        (
            f"title: {verdict.title}",
            f"summary: {verdict.summary}",
            f"culprit: {verdict.culprit} {verdict.culprit.file}:{verdict.culprit.line}",
            *(f"evidence: {item.what} ({item.where})" for item in verdict.evidence),
            *verdict.next_steps,
            *analysis.input.lacks,
        )
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdict(case: Case) -> None:
    path = Path(__file__).parent / "field" / f"{case.name}.log"
    analysis = postmortem.open(path).analyze()
    verdict, text = analysis.verdict, told(analysis)
    culprit = verdict.culprit
    named = [culprit.function or "", f"[{culprit.module}]" if culprit.module else ""]
    assert re.fullmatch(case.kind, verdict.kind.value)
    assert re.search(case.culprit, " ".join(filter(None, named)))
    assert [p for p in case.holds if not re.search(p, text, re.I | re.M)] == []
    assert [p for p in case.lacks if re.search(p, text, re.I | re.M)] == []
