"""Who ran for a probe, by the frames of a report. Who calls whom: kernel/kprobes.c,
arch/x86/kernel/kprobes/{core,ftrace,opt}.c, kernel/trace/rethook.c."""

from __future__ import annotations

import pytest

from postmortem.judge.probes import probe_of
from postmortem.model.frame import Frame


def frames(*names: str | None) -> list[Frame]:
    return [Frame(name) for name in names]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        # By ftrace: between them lies a trampoline without a name.
        (
            ("count_bees", "bee_entered", "kprobe_ftrace_handler", None, "hive_open", "vfs_open"),
            ("bee_entered", "a kprobe", "hive_open"),
        ),
        # By a breakpoint, two probes on one address.
        (
            ("bee_entered", "aggr_pre_handler", "kprobe_int3_handler", "do_int3", "exc_int3",
             "asm_exc_int3", "hive_open"),
            ("bee_entered", "a kprobe", "hive_open"),
        ),
        # On return: the function is gone from the stack, its caller is not who is probed.
        (
            ("bee_left", "kretprobe_rethook_handler", "rethook_trampoline_handler",
             "arch_rethook_trampoline_callback", "arch_rethook_trampoline", "vfs_open"),
            ("bee_left", "a kretprobe", None),
        ),
        (("count_bees", "hive_open", "vfs_open"), None),
        # The kernel's own code for probes failed: no handler ran.
        (("kprobe_ftrace_handler", None, "hive_open"), None),
    ],
)  # fmt: skip
def test_the_handler_is_told_from_what_is_probed(
    names: tuple[str | None, ...], wanted: tuple[str, str, str | None] | None
) -> None:
    assert probe_of(frames(*names)) == wanted
