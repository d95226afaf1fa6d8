"""Code that is not what was built: one bit of the kernel's text that changed in memory."""

from __future__ import annotations

from dataclasses import replace

from postmortem.model.findings import Evidence, Finding, Strength
from postmortem.model.report import Report
from postmortem.plugin import Context


def with_text(ctx: Context, finding: Finding, report: Report) -> Finding:
    """Say that the kernel's own code is not what the vmlinux has, where there is one."""
    changed = _flipped_text(ctx)
    if changed is None:
        return finding
    function, sentence, size = changed
    inside = (
        f"no other byte of {size >> 20} MiB of text differs but where the kernel patches itself"
    )
    evidence = Evidence(sentence, f"text in memory beside the vmlinux: {inside}", Strength.PROOF)
    frames = [report.pc, *report.frames]
    if any(frame is not None and frame.function == function for frame in frames):
        told = f"{sentence}: memory has changed under it, this code is not what was built."
        finding = replace(finding, explanation=f"{finding.explanation} {told}")
    return replace(finding, evidence=(*finding.evidence, evidence))


def _flipped_text(ctx: Context) -> tuple[str, str, int] | None:
    """The function with the bit, a sentence, and how many bytes were compared."""
    from postmortem.kernel.code.text_flip import text_changes
    from postmortem.kernel.tasks.stacks import Symbolizer

    prog, debug = ctx.prog, ctx.debug
    if prog is None or debug is None:
        return None
    found = ctx.attempt("text beside the vmlinux", lambda: text_changes(prog, debug))
    flip = found.flip if found is not None else None
    symbol = Symbolizer.of(prog).symbol(flip.address) if flip is not None else None
    if found is None or flip is None or symbol is None:
        return None
    sentence = (
        f"One bit of the text of {symbol.function}() differs from the vmlinux: bit {flip.bit} of"
        f" the byte at {symbol.function}+{symbol.offset:#x}, {flip.is_now:#04x} for {flip.was:#04x}"
    )
    return symbol.function, sentence, found.compared_bytes
