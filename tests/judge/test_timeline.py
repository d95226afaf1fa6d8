"""The last events before a failure: out of a log, and out of machines that were traced."""

from __future__ import annotations

from pathlib import Path

import pytest

import postmortem
from corpus.kernels import default_cache
from postmortem.judge.timeline import timeline
from postmortem.plugin import Context, DumpContext
from postmortem.trace.buffers import trace_arrays
from tests.conftest import Machine

OOPS = """\
BUG: kernel NULL pointer dereference, address: 0000000000000008
#PF: supervisor read access in kernel mode
#PF: error_code(0x0000) - not-present page
Oops: 0000 [#1] PREEMPT SMP NOPTI
CPU: 1 PID: 170 Comm: gardener Not tainted 6.1.0 #1
RIP: 0010:plant_water+0x5/0x10
RAX: 0000000000000000 RBX: ffff888003c4a000 RCX: 0000000000000000
Call Trace:
 <TASK>
 plant_tend+0x11/0x20
 </TASK>
"""
BUFFER = """\
Dumping ftrace buffer:
---------------------------------
  weeder-99        0.....    900us : kfree: call_site=weed+0x1/0x2
gardener-170       1.....   1000us : sys_write(fd: 1)
  <idle>-0         1d.h..   1500us : softirq_raise: vec=1
  weeder-99        0.....   1600us : kfree: call_site=weed+0x1/0x2
gardener-170       0.....   2500us : kmalloc: call_site=plant_seed+0x1/0x2
  weeder-99        0.....   2600us : kfree: call_site=weed+0x1/0x2
---------------------------------
"""


def logged(tmp_path: Path, text: str) -> Context:
    path = tmp_path / "console.log"
    lines = text.splitlines()
    path.write_text("".join(f"[{10 + n / 1000:12.6f}] {line}\n" for n, line in enumerate(lines)))
    return Context(postmortem.open(path))


def test_a_log_gives_the_events_of_the_cpu_and_of_the_task(tmp_path: Path) -> None:
    (block,) = timeline(logged(tmp_path, OOPS + BUFFER))
    assert block.title == (
        "What ftrace recorded last of CPU 1 and gardener (pid 170), as the kernel printed"
        " ftrace's buffer (log line 12)"
    )
    assert [" ".join(line.split()) for line in block.lines] == [
        "-1.500 ms CPU 1 gardener-170 ..... sys_write(fd: 1)",
        "-1.000 ms CPU 1 <idle>-0 d.h.. softirq_raise: vec=1",
        "0.000 ms CPU 0 gardener-170 ..... kmalloc: call_site=plant_seed+0x1/0x2",
    ]


def test_what_breaks_off_is_said(tmp_path: Path) -> None:
    (block,) = timeline(logged(tmp_path, OOPS + BUFFER.removesuffix("-" * 33 + "\n")))
    assert block.title.endswith(", which breaks off")


@pytest.mark.parametrize(
    "text", [OOPS, OOPS.replace("CPU: 1 PID: 170 Comm: gardener", "") + BUFFER]
)
def test_without_events_or_without_a_place_nothing_is_said(tmp_path: Path, text: str) -> None:
    assert list(timeline(logged(tmp_path, text))) == []


def test_a_machine_that_was_not_traced_has_none(machine: Machine) -> None:
    assert [array.entries() for array in trace_arrays(machine.prog)] == [0]
    assert list(timeline(machine.context())) == []


@pytest.mark.capture
@pytest.mark.parametrize("path", sorted(default_cache().glob("*/trace-crash/vmcore")))
def test_the_last_event_of_a_captured_machine(path: Path) -> None:
    """The fault allocates a session, and follows the NULL in it: faults/pm_fault.c."""
    with postmortem.open(path, debuginfod=False) as case:
        (block,) = timeline(DumpContext(case))
    assert "until recording stopped" in block.title
    assert "kmem_cache_alloc: call_site=pm_session_create+" in block.lines[-1]
    assert "trigger-" in block.lines[-1]
