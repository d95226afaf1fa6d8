"""Code that is not what was built: one bit of the kernel's text that changed in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postmortem.model.findings import Evidence, Finding, Strength
from postmortem.model.report import Report
from postmortem.plugin import Context

if TYPE_CHECKING:
    import drgn

    from postmortem.kernel.code.text_flip import TextChanges


def with_text(ctx: Context, finding: Finding, report: Report) -> Finding:
    """Say that the kernel's own code is not what was built: by its vmlinux, or as a hint."""
    prog, debug = ctx.prog, ctx.debug
    if prog is None:
        return finding
    if debug is not None:
        from postmortem.kernel.code.text_flip import text_changes

        beside = ctx.attempt("text beside the vmlinux", lambda: text_changes(prog, debug))
        if beside is not None and beside.flip is not None:
            return _with_flip(prog, finding, report, beside)
        if beside is not None and (report.pc is None or report.pc.module is None):
            return finding
    return _with_tear(ctx, prog, finding, report)


def _with_flip(
    prog: drgn.Program, finding: Finding, report: Report, beside: TextChanges
) -> Finding:
    from postmortem.kernel.tasks.stacks import Symbolizer

    flip = beside.flip
    symbol = Symbolizer.of(prog).symbol(flip.address) if flip is not None else None
    if flip is None or symbol is None:
        return finding
    name = symbol.function
    sentence = (
        f"One bit of the text of {name}() differs from the vmlinux: bit {flip.bit} of the byte at"
        f" {name}+{symbol.offset:#x}, {flip.is_now:#04x} for {flip.was:#04x}"
    )
    where = (
        f"text in memory beside the vmlinux: no other byte of {beside.compared_bytes >> 20} MiB"
        " differs but where the kernel patches itself"
    )
    evidence = (*finding.evidence, Evidence(sentence, where, Strength.PROOF))
    frames = [report.pc, *report.frames]
    if any(frame is not None and frame.function == name for frame in frames):
        told = f"{sentence}: this code is not what was built, its memory has changed."
        finding = replace(finding, explanation=f"{finding.explanation} {told}")
    return replace(finding, evidence=evidence)


def _with_tear(ctx: Context, prog: drgn.Program, finding: Finding, report: Report) -> Finding:
    """Without a vmlinux: the code at the fault decodes as no compiler makes it."""
    from postmortem.kernel.code.fault import text_address
    from postmortem.kernel.code.wholeness import torn_code

    place = report.pc
    if place is None or place.function is None or place.offset is None:
        return finding
    pc = text_address(prog, place.function, place.offset, place.size, place.module)
    torn = ctx.attempt("code", lambda: torn_code(prog, pc)) if pc is not None else None
    if torn is None:
        return finding
    seen = (
        f"the code of {torn.function}() is not as it was built: {torn.reason}; one other bit in"
        f" {torn.where} makes it whole"
    )
    told = f"Possibly a bit of this code has changed in memory: {seen}."
    return replace(
        finding,
        explanation=f"{finding.explanation} {told}",
        evidence=(*finding.evidence, Evidence(seen, "text in memory", Strength.SHOWN)),
    )
