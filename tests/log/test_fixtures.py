"""Whole reports of every architecture, written by hand after the kernel's own format strings."""

from __future__ import annotations

from pathlib import Path

import pytest

from postmortem.log.scan import scan_file
from postmortem.model.findings import Kind
from postmortem.model.report import Report

FIXTURES = Path(__file__).parent / "fixtures"


def first(name: str) -> Report:
    return scan_file(str(FIXTURES / f"{name}.txt")).reports[0]


@pytest.mark.parametrize(
    ("name", "kind", "arch", "function", "module", "pid", "cpu"),
    [
        ("arm64_null", Kind.NULL_DEREFERENCE, "aarch64", "acme_ring_start", "acme_nic", 611, 3),
        ("arm_paging", Kind.BAD_POINTER, "arm", "acme_gpio_show", "acme_gpio", 88, 1),
        ("riscv_oops", Kind.NULL_DEREFERENCE, "riscv", "acme_dma_submit", "acme_dma", 140, 2),
        ("ppc64_data", Kind.NULL_DEREFERENCE, "ppc64", "acme_fc_scan", "acme_fc", 2031, 5),
        ("s390_pointer", Kind.NULL_DEREFERENCE, "s390", "acme_ccw_start", "acme_ccw", 909, 1),
        ("mips_paging", Kind.NULL_DEREFERENCE, "mips", "acme_led_show", "acme_led", 301, 0),
        ("loongarch_oops", Kind.NULL_DEREFERENCE, "loongarch", "acme_map_bar", "acme_pci", 512, 1),
        ("i386_oops", Kind.NULL_DEREFERENCE, "i386", "acme_isa_probe", "acme_isa", 1204, None),
        ("x86_gpf", Kind.GENERAL_PROTECTION, "x86_64", "acme_queue_kick", "acme_blk", 4242, 7),
        ("kasan_uaf", Kind.KASAN, None, "acme_session_find", "acme", 2001, 0),
        ("hung_task", Kind.HUNG_TASK, None, "acme_snapshot", "acme_fs", 3310, None),
        ("rcu_stall", Kind.RCU_STALL, "x86_64", "acme_solve", None, 700, 2),
        ("deadlock_lockdep", Kind.LOCKDEP, None, "acme_move", None, 400, 0),
        ("warn_624", Kind.WARNING, "x86_64", "acme_account", "acme", 91, 2),
    ],
)
def test_who_did_what_where(
    name: str,
    kind: Kind,
    arch: str | None,
    function: str,
    module: str | None,
    pid: int,
    cpu: int | None,
) -> None:
    report = first(name)
    task = report.task
    assert task is not None
    assert (report.kind, report.arch, report.function, report.module, task.pid, report.cpu) == (
        kind,
        arch,
        function,
        module,
        pid,
        cpu,
    )


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.txt")), ids=lambda path: path.stem)
def test_no_fixture_is_called_corrupted(path: Path) -> None:
    assert [r.corrupted for r in scan_file(str(path)).reports if r.corrupted] == []


@pytest.mark.parametrize(
    "name", ["arm64_null", "x86_gpf", "hung_task", "mce_fatal", "s390_pointer"]
)
def test_the_panic_is_a_consequence_of_the_first_report(name: str) -> None:
    assert [r.consequence_of for r in scan_file(str(FIXTURES / f"{name}.txt")).reports] == [None, 0]


def test_look_alikes_are_silent() -> None:
    assert scan_file(str(FIXTURES / "look_alikes.txt")).reports == []


def test_segments_follow_the_markers() -> None:
    frames = first("x86_gpf").frames
    assert [
        (f.function, f.segment) for f in frames if f.function in ("acme_complete", "kthread")
    ] == [("acme_complete", "irq"), ("kthread", "task")]


def test_an_interrupted_function_inside_a_stack_is_a_frame() -> None:
    assert "acme_busy" in [frame.function for frame in first("x86_gpf").frames]


def test_a_doubtful_frame_is_marked() -> None:
    doubtful = [frame.function for frame in first("x86_gpf").frames if not frame.reliable]
    assert doubtful == ["__pfx_acme_complete"]


def test_kasan_names_who_allocated_and_who_freed() -> None:
    stacks = {stack.title: stack.frames[-1].function for stack in first("kasan_uaf").stacks}
    assert stacks == {
        "Allocated by task 2001": "acme_session_new",
        "Freed by task 2002": "acme_session_put",
    }


def test_hung_task_names_its_blocker() -> None:
    assert first("hung_task").detail["blocker"] == "restore:3311"


def test_oom_has_victim_and_constraint() -> None:
    detail = first("oom_memcg").detail
    assert (detail["constraint"], detail["victim"], detail["anon_rss_kb"]) == (
        "CONSTRAINT_MEMCG",
        "java",
        "519952",
    )


def test_oom_is_one_report_to_its_last_line() -> None:
    reports = scan_file(str(FIXTURES / "oom_memcg.txt")).reports
    assert [(report.line, report.end_line) for report in reports] == [(1, 25)]


def test_machine_check_is_decoded() -> None:
    detail = first("mce_fatal").detail
    assert (detail["bank"], detail["severity"], detail["mcacod"]) == ("3", "fatal", "0400")


def test_modules_are_listed_without_flags() -> None:
    assert first("x86_gpf").modules == ("acme_blk", "nvme", "nvme_core")


def test_registers_of_the_trap_are_kept() -> None:
    assert first("x86_gpf").registers["rbp"] == 0xDEAD4EAD00000000


@pytest.mark.parametrize(
    ("name", "trap"),
    [
        ("x86_gpf", "48"),
        ("arm64_null", "230c40f9"),
        ("riscv_oops", "9467"),
        ("arm_paging", "00309 4e5".replace(" ", "")),
        ("ppc64_data", "10003fe9"),
        ("mips_paging", "8c430004"),
    ],
)
def test_code_points_at_the_trapping_bytes(name: str, trap: str) -> None:
    code = first(name).code
    assert code is not None
    assert code.data[code.trap :].hex().startswith(trap)


def test_warning_knows_its_source_line() -> None:
    detail = first("warn_624").detail
    assert (detail["file"], detail["lineno"]) == ("drivers/acme/core.c", "212")


def test_lines_are_those_of_the_file() -> None:
    assert [(r.line, r.end_line) for r in scan_file(str(FIXTURES / "warn_624.txt")).reports] == [
        (1, 15)
    ]
