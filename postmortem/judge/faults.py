"""What memory adds to an oops: the faulting instruction, its operands, their types and objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from postmortem.arch.constants import loads
from postmortem.judge.assertions import told
from postmortem.judge.bit_flips import with_flip
from postmortem.judge.fate import outcome
from postmortem.judge.left_locks import with_left_locks
from postmortem.judge.reports import code_block, finding_of
from postmortem.judge.text import with_text
from postmortem.model.findings import Block, Confidence, Evidence, Finding, Holds, Kind, Strength
from postmortem.model.report import Report
from postmortem.plugin import Context
from postmortem.rules.blame import cycle
from postmortem.rules.poison import poison

if TYPE_CHECKING:
    import drgn

    from postmortem.kernel.code.bitflip import BitFlip
    from postmortem.kernel.code.fault import Fault

_ASSERTIONS = frozenset(
    {Kind.BUG, Kind.WARNING, Kind.LIST_CORRUPTION, Kind.SCHEDULING_WHILE_ATOMIC}
)
"""The kernel stopped by itself: the instruction is a trap and its operands mean nothing."""


def oops_finding(ctx: Context, report: Report) -> Finding:
    """An oops, BUG or WARN: what its report says, and what memory adds."""
    plain = told(finding_of(ctx, report), report)
    said = outcome(ctx, report).sentence
    # What memory adds may fail on a damaged dump: what the log says must not be lost.
    more = partial(_explained, ctx, report, plain)
    found = more() if ctx.prog is None else ctx.attempt("more on an oops", more) or plain
    found = with_flip(found, report) if ctx.prog is None else found
    found = replace(found, explanation=f"{found.explanation} {said}".rstrip())
    return with_left_locks(ctx, with_text(ctx, found, report), report)


_FIRST_PAGE = 4096
"""Bytes: an address below is an offset from NULL."""


def _with_offset(finding: Finding, report: Report) -> Finding:
    """How far from NULL the access went: the offset of the member that was meant."""
    address = report.fault_address
    if report.kind is not Kind.NULL_DEREFERENCE or not address or address >= _FIRST_PAGE:
        return finding
    said = f"The access went to {address:#x}, the offset of a member or element."
    return replace(finding, explanation=f"{finding.explanation} {said}")


def _explained(ctx: Context, report: Report, finding: Finding) -> Finding:
    prog = ctx.prog
    fault = _fault(ctx, report) if prog is not None and ctx.has_types else None
    if prog is None or fault is None:
        block = code_block(ctx, report)
        finding = replace(finding, blocks=(block,)) if block else finding
        finding = _with_offset(_with_poison(finding, report), report)
    else:
        finding = replace(finding, blocks=(_code(prog, fault),))
        finding = _with_source(ctx, finding, report, fault)
        if report.kind not in _ASSERTIONS:
            finding = _with_access(ctx, finding, fault)
    if report.kind is Kind.STACK_OVERFLOW:
        finding = _with_recursion(ctx, finding, report)
    if report.pc is not None and report.pc.function is None and report.pc.address is not None:
        finding = _with_target(ctx, finding, report, report.pc.address)
    return finding


def _with_source(ctx: Context, finding: Finding, report: Report, fault: Fault) -> Finding:
    """File and line of the culprit, and its locals, where DWARF has them."""
    if ctx.debug is None or ctx.prog is None:
        return finding
    culprit = finding.culprit
    if report.pc is not None and report.function == report.pc.function:
        lines = ctx.lines_at(fault.instruction.address, is_return_address=False)
        if lines and lines[0].line:
            culprit = replace(culprit, file=lines[0].file, line=lines[0].line)
    from postmortem.kernel.code.locals import frame_locals

    program = ctx.debug.program
    found = ctx.attempt("locals", lambda: frame_locals(program, fault.registers)) or ()
    text = tuple(f"{item.function}: {item.name} = {item.value}" for item in found)
    blocks = (*finding.blocks, Block("Parameters and locals", text)) if text else finding.blocks
    return replace(finding, culprit=culprit, blocks=blocks)


def _fault(ctx: Context, report: Report) -> Fault | None:
    from postmortem.arch import arch_of
    from postmortem.kernel.code.fault import fault_at, text_address

    place = report.pc
    prog = ctx.prog
    if prog is None or place is None or place.function is None or place.offset is None:
        return None
    pc = text_address(prog, place.function, place.offset, place.size, place.module)
    if pc is None:
        return None
    arch = arch_of(prog)
    registers = {arch.register_name(name): value for name, value in report.registers.items()}
    return ctx.attempt("code at the fault", lambda: fault_at(prog, pc, registers))


def _code(prog: drgn.Program, fault: Fault) -> Block:
    from postmortem.kernel.code.fault import fault_listing

    lines, mark = fault_listing(prog, fault)
    return Block("Code at the fault", lines, mark, Holds.CODE)


def _with_access(ctx: Context, finding: Finding, fault: Fault) -> Finding:
    """Explain the memory operand: value, type, member, poison, object."""
    where = f"{fault.code.name}+{fault.instruction.address - fault.code.start:#x}"
    evidence = list(finding.evidence)
    sentences = []
    if fault.base is not None and fault.base_value is not None:
        access = f"{fault.instruction.text}: {fault.base} = {fault.base_value:#x}"
        if fault.address is not None:
            verb = "writes to" if _writes(fault) else "reads"
            access += f", so it {verb} {fault.address:#x}"
        evidence.append(Evidence(access, where, Strength.SHOWN))
    if fault.pointer is not None:
        sentence = _pointer_sentence(fault)
        sentences.append(sentence)
        evidence.append(
            Evidence(
                f"{fault.base} is {fault.pointer.expression}, a pointer to"
                f" {fault.pointer.type_name}, so {fault.member or 'no member'} is meant",
                "types of the function's parameters",
                Strength.SHOWN,
            )
        )
    elif finding.kind is Kind.NULL_DEREFERENCE:
        evidence += _candidates(ctx, finding, fault)
    if fault.base_poison is not None:
        sentences.append(f"The pointer is a poison value ({fault.base_poison.meaning}).")
        evidence.append(
            Evidence(
                f"{fault.base} = {fault.base_value:#x}: {fault.base_poison.meaning}",
                where,
                Strength.SHOWN,
            )
        )
    evidence += _objects(fault)
    flip = _flip(ctx, fault)
    if flip is not None:
        evidence.append(Evidence(str(flip), where))
        sentences.append(_flip_sentence(flip))
    freed = _freed_object(fault)
    if freed and finding.kind in (Kind.USE_AFTER_FREE, Kind.GENERAL_PROTECTION):
        sentences.append(freed)
    return replace(
        finding,
        explanation=" ".join([finding.explanation, *sentences]),
        evidence=tuple(evidence),
    )


def _objects(fault: Fault) -> Iterator[Evidence]:
    """The slab objects that registers point into, each once."""
    told: dict[tuple[int, str, bool | None], list[str]] = {}
    for register, found in fault.objects.items():
        if register in fault.pointers or register == fault.base or found.allocated is False:
            key = (found.address, found.cache, found.allocated)
            at = f" (+{found.offset:#x})" if found.offset else ""
            told.setdefault(key, []).append(f"{register}{at}")
    for (address, cache, allocated), registers in told.items():
        state = {True: "allocated", False: "free", None: "state not known"}[allocated]
        point = "points" if len(registers) == 1 else "point"
        yield Evidence(
            f"{_listed(registers)} {point} into slab object {address:#x} of {cache} ({state})",
            "slab allocator",
            Strength.PROOF if allocated is False else Strength.SAID,
        )


def _listed(registers: list[str]) -> str:
    """Registers that say the same, in one line."""
    return " and ".join([", ".join(registers[:-1]), registers[-1]][len(registers) < 2 :])


def _flip(ctx: Context, fault: Fault) -> BitFlip | None:
    from postmortem.kernel.code.bitflip import bit_flip

    prog = ctx.prog
    return None if prog is None else ctx.attempt("bit flips", lambda: bit_flip(prog, fault))


def _flip_sentence(flip: BitFlip) -> str:
    return (
        f"With bit {flip.bit} flipped {flip.name} would be {flip.meant:#x}, {flip.what}:"
        " a single bit may have changed in memory or on its way."
    )


def _candidates(ctx: Context, finding: Finding, fault: Fault) -> Iterator[Evidence]:
    """Which struct of the culprit's module has a member where the NULL pointer was used."""
    from postmortem.kernel.identify import members_at

    prog, module, memory = ctx.prog, finding.culprit.module, fault.instruction.memory
    if prog is None or module is None or memory is None or fault.address is None:
        return
    address, size = fault.address, memory.size
    found = ctx.attempt("module types", lambda: members_at(prog, module, address, size))
    if found:
        yield Evidence(
            f"offset {address:#x} with {size} bytes fits {' or '.join(found)}",
            f"structs that {module} declares",
            Strength.SHOWN,
        )


def _writes(fault: Fault) -> bool:
    memory = fault.instruction.memory
    return memory is not None and memory.written


def _pointer_sentence(fault: Fault) -> str:
    pointer = fault.pointer
    assert pointer is not None
    member = fault.member
    what = f"{pointer.expression} ({pointer.type_name} *)"
    state = "is NULL" if fault.base_value == 0 else f"is {fault.base_value:#x}"
    if member is None:
        return f"{what} {state}."
    verb = "written to" if _writes(fault) else "read"
    return (
        f"{what} {state}; {member} at offset {pointer.offset + fault.displacement:#x} was {verb}."
    )


def _freed_object(fault: Fault) -> str:
    for register, found in fault.objects.items():
        if found.allocated is False:
            pointer = fault.pointers.get(register)
            what = pointer.expression if pointer else register
            return f"{what} lies in a freed object of slab cache {found.cache}."
    return ""


def _with_poison(finding: Finding, report: Report) -> Finding:
    """Name the poison values among the registers of a report, where there is no dump to ask."""
    values = {**report.registers, "the address": report.fault_address or 0}
    known = {name: item for name in values if (item := poison(values[name])) is not None}
    own = [name for name in known if _loaded(report, values[name])]
    alike: dict[tuple[int, str], list[str]] = {}
    for name, item in known.items():
        if name not in own:
            alike.setdefault((values[name], item.meaning), []).append(name)
    evidence = [
        Evidence(
            f"{_listed(names)} = {value:#x}: {meaning}", "registers in the log", Strength.SHOWN
        )
        for (value, meaning), names in alike.items()
    ]
    if own:
        said = (
            f"{_listed(own)} hold poison that the code loads itself, as list_del() does to"
            " mark the entry that it takes out: they say nothing of the entry before"
        )
        evidence.append(Evidence(said, "constants in the Code: line", Strength.CONTEXT))
    return replace(finding, evidence=(*finding.evidence, *evidence))


def _loaded(report: Report, value: int) -> bool:
    """Whether an instruction before the fault holds the value as a constant."""
    code = report.code
    return code is not None and loads(code.arch, code.data[: code.trap], value)


def _jumped(report: Report, target: int) -> bool:
    """Whether it was the fetch of the instruction that failed, not what the instruction did."""
    return report.kind is Kind.BAD_EXECUTION or report.fault_address == target


def _with_target(ctx: Context, finding: Finding, report: Report, target: int) -> Finding:
    """Say where a jump went that met no code."""
    found = poison(target)
    what = found.meaning if found is not None else None
    if what is None and not _jumped(report, target):
        return finding  # it may be code of a kernel that prints no names
    prog = ctx.prog
    if what is None and prog is not None and ctx.has_types:
        from postmortem.kernel.identify import identify

        what = ctx.attempt("jump target", lambda: identify(prog, target))
    meaning = f": {what}" if what else ", which holds no code"
    if prog is not None and ctx.has_types:
        from postmortem.kernel.code.bitflip import flipped_target

        flip = ctx.attempt("bit flips", lambda: flipped_target(prog, target))
        if flip is not None:
            meaning += f". {_flip_sentence(flip)[:-1]}"
    return replace(
        finding,
        explanation=f"{finding.explanation} It jumped to {target:#x}{meaning}.",
        evidence=(*finding.evidence, Evidence(f"jumped to {target:#x}", "instruction pointer")),
    )


def _with_recursion(ctx: Context, finding: Finding, report: Report) -> Finding:
    from postmortem.kernel.tasks.stacks import recursion
    from postmortem.kernel.tasks.tasks import all_tasks

    prog = ctx.prog
    if prog is None or report.task is None:
        return _recursion_of_log(finding, report)
    task = all_tasks(prog).by_pid(report.task.pid)
    found = recursion(prog, task.address) if task is not None else None
    if task is None or found is None:
        return _recursion_of_log(finding, report)
    sentence = (
        f"{found.function}() recursed: {found.count} of its frames fill the"
        f" {found.stack_bytes // 1024} KiB stack."
    )
    return replace(
        finding,
        confidence=Confidence.CERTAIN,
        explanation=f"{finding.explanation} {sentence}",
        evidence=(
            *finding.evidence,
            Evidence(
                f"return addresses into {found.function} lie {found.count} times on the stack",
                f"stack of task {task.pid}",
                Strength.PROOF,
            ),
        ),
    )


def _recursion_of_log(finding: Finding, report: Report) -> Finding:
    """The functions that call each other without end, as far as the report's stack shows."""
    frames = [*([report.pc] if report.pc is not None else []), *report.frames]
    found = cycle([frame for frame in frames if frame.reliable and frame.function])
    if found is None:
        return finding
    names = [f"{name}()" for name in found.functions]
    who = f"{names[0]} calls itself" if len(names) == 1 else f"{', '.join(names)} call each other"
    return replace(
        finding,
        explanation=f"{finding.explanation} {who}: {found.count} frames of the stack are theirs.",
        evidence=(
            *finding.evidence,
            Evidence(f"recursion: {who}, {found.count} frames", "call trace in the log"),
        ),
    )
