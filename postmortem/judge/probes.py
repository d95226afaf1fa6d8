"""A failure inside the handler of a probe, or in a function whose code somebody had changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.model.findings import Evidence, Finding, Strength
from postmortem.model.frame import Frame
from postmortem.model.report import Report

if TYPE_CHECKING:
    import drgn

    from postmortem.plugin import Context

_ENTERED = {
    "kprobe_ftrace_handler": "a kprobe",
    "kprobe_int3_handler": "a kprobe",
    "aggr_pre_handler": "a kprobe",
    "aggr_post_handler": "a kprobe",
    "opt_pre_handler": "a kprobe",
    "optimized_callback": "a kprobe",
    "kprobe_debug_handler": "a kprobe",
    "fprobe_handler": "an fprobe",
    "fprobe_entry": "an fprobe",
    "klp_ftrace_handler": "a live patch",
}
"""Who calls the handlers of probes: kernel/kprobes.c, arch/x86/kernel/kprobes, trace/fprobe.c."""
_RETURNED = {
    "kretprobe_rethook_handler": "a kretprobe",
    "__kretprobe_trampoline_handler": "a kretprobe",
    "kretprobe_trampoline_handler": "a kretprobe",
    "trampoline_handler": "a kretprobe",
    "fprobe_exit_handler": "an fprobe",
    "fprobe_return": "an fprobe",
    "rethook_trampoline_handler": "a return probe",
}
"""The same when the probed function returns: who that was is not on the stack any more."""
_BETWEEN = frozenset({
    "arch_ftrace_ops_list_func", "__ftrace_ops_list_func", "ftrace_ops_list_func",
    "ftrace_ops_assist_func", "ftrace_regs_caller", "ftrace_caller", "ftrace_regs_call",
    "ftrace_call", "asm_exc_int3", "exc_int3", "do_int3", "do_int3_user", "int3", "asm_exc_debug",
    "exc_debug", "kprobe_exceptions_notify", "notify_die", "atomic_notifier_call_chain",
    "notifier_call_chain", "kprobe_fault_handler", "optprobe_template_func",
})  # fmt: skip
"""What lies between a probed function and who calls the handlers."""


def with_probe(ctx: Context, finding: Finding, report: Report) -> Finding:
    """Say that what failed ran for a probe, and where that one was."""
    said = probe_of(report.frames)
    if said is None:
        return finding
    handler, kind, probed = said
    place = f" in {probed}()" if probed else ""
    what = f"{handler}() ran as the handler of {kind}{place}"
    evidence = [Evidence(what, f"call trace at log line {report.line}", Strength.SAID)]
    prog = ctx.prog
    if prog is not None and ctx.has_types:
        evidence += ctx.attempt("kprobes", lambda: _registered(prog, handler)) or []
    return replace(
        finding,
        explanation=f"{finding.explanation} {what}.",
        evidence=(*finding.evidence, *evidence),
    )


def probe_of(frames: Sequence[Frame]) -> tuple[str, str, str | None] | None:
    """Handler, kind of the probe, and the function that is probed if the stack has it."""
    for number, frame in enumerate(frames):
        name = frame.function or ""
        kind = _ENTERED.get(name) or _RETURNED.get(name)
        if kind is None:
            continue
        if not number or not frames[number - 1].function:
            return None
        outer = (
            other.function
            for other in frames[number + 1 :]
            if other.function
            and other.function not in _BETWEEN
            and other.function not in _ENTERED
            and other.function not in _RETURNED
        )
        probed = next(outer, None) if name in _ENTERED else None
        return str(frames[number - 1].function), kind, probed
    return None


def _registered(prog: drgn.Program, handler: str) -> list[Evidence]:
    """The kprobes that have this handler, as the kernel keeps them."""
    from postmortem.kernel.code.probes import kprobes
    from postmortem.kernel.tasks.trace import Names

    names = Names(prog)
    found = []
    for probe in kprobes(prog):
        if any(names.symbol(one, offset=False).split(" ")[0] == handler for one in probe.handlers):
            marks = f" {probe.marks}" if probe.marks else ""
            what = f"kprobe at {names.symbol(probe.address)}{marks} has the handler {handler}()"
            found.append(Evidence(what, f"struct kprobe at {probe.pointer:#x}", Strength.CONTEXT))
    return found[:_MAX_NAMED]


_MAX_NAMED = 4
