"""``bt`` with the options of crash that drgn's has not; everything else is drgn's."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.command import PASSED_ON, command
from postmortem.shell.commands.values import address_of
from postmortem.shell.structured import write_document
from postmortem.shell.tasks import task_of

if TYPE_CHECKING:
    from postmortem.arch.model import Arch
    from postmortem.shell.session import Session

_FRAME = re.compile(r"^( *#\d+ \[[0-9a-f]+\] )(\S+)( at )([0-9a-f]+)(.*)$")
_PLACED = re.compile(r"^( *#\d+ \[)([0-9a-f]+)(\] .*)$")
_REGISTER = re.compile(r"^ +(\w+): ([0-9a-f]{4,16})\b")
_HEADER = re.compile(r"^PID: ", re.MULTILINE)
_TASK_HEADER = re.compile(r'PID: (\d+) +TASK: ([0-9a-f]+) +CPU: (\d+) +COMMAND: "(.*)"')
_FRAME_PARTS = re.compile(
    r"^ *#(\d+) \[([0-9a-f]+)\] (\S+?)(?:\+\w+)? at ([0-9a-f]+)(?: \[(\w+)\])?"
)
_STACK_END_MAGIC = 0x57AC6E9D
"""include/uapi/linux/magic.h: the word at a stack's end that nobody may overwrite."""
_PER_LINE = 2


@command("bt", "stacks", settings=PASSED_ON)
@click.option("-s", "offsets", is_flag=True, help="Each function with the offset into it.")
@click.option("-x", "base", flag_value=16, type=int, help="-s: offsets in hexadecimal.")
@click.option("-t", "text", is_flag=True, help="All text addresses from the stack pointer on.")
@click.option("-T", "all_text", is_flag=True, help="All text addresses on the whole stack.")
@click.option("-r", "raw", is_flag=True, help="The stack's words.")
@click.option("-e", "frames", is_flag=True, help="Exception frames found on the stack.")
@click.option("-v", "check", is_flag=True, help="Look for stacks that have overflowed.")
@click.option("-g", "group", is_flag=True, help="All threads of the task's group.")
@click.option("-n", "no_idle", is_flag=True, help="With -a: not the idle tasks.")
@click.option("-R", "reference", metavar="TEXT", help="Only stacks that name a symbol or address.")
@click.option("-E", "cpu_stacks", is_flag=True, help="Exception frames on the CPUs' own stacks.")
@click.option("-I", "ip", metavar="ADDRESS", help="Unwind from this instruction on (with -S).")
@click.option("-S", "sp", metavar="ADDRESS", help="Unwind from this stack pointer on (with -I).")
@click.option("-o", "-O", "old", is_flag=True, help="As crash's old method: the same as -t here.")
@click.option("-A", "vectors", is_flag=True, help="-a with vector registers; s390 only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document (docs/shell.md).")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def bt(
    session: Session,
    offsets: bool,
    base: int | None,
    text: bool,
    all_text: bool,
    raw: bool,
    frames: bool,
    check: bool,
    group: bool,
    no_idle: bool,
    reference: str | None,
    cpu_stacks: bool,
    ip: str | None,
    sp: str | None,
    old: bool,
    vectors: bool,
    as_json: bool,
    rest: tuple[str, ...],
) -> Any:
    """Print kernel stacks: of the context, of PIDs or tasks, of all CPUs (-a).

    drgn's own options are passed on: -a all CPUs, -c CPUS, -p the panic's task, -f and -F the
    frames' memory, -l lines, -V locals.
    """
    if vectors:
        raise UsageError("bt -A: vector registers are kept in dumps of s390 only")
    if check:
        return _check(session)
    if cpu_stacks:
        return _on_cpu_stacks(session)
    if ip is not None or sp is not None:
        return _from(session, ip, sp)
    named = [word for word in rest if not word.startswith("-")]
    if group:
        rest = (*(word for word in rest if word not in named), *_group(session, named))
    if frames:
        for word in named or [""]:
            _exceptions(session, task_of(session, word))
        return None
    if text or all_text or raw or old:
        for word in named or [""]:
            _words(session, task_of(session, word), whole=all_text or raw, raw=raw)
        return None
    out = io.StringIO()
    result = crash.run(session.prog, "bt", " ".join(rest), out)
    shown = as_crash_places(session.prog, out.getvalue())
    if as_json:
        write_document(session.out, "bt", stacks_of(shown))
        return result
    for stack in _stacks(shown):
        if no_idle and re.search(r'^PID: 0 .*COMMAND: "swapper', stack):
            continue
        if reference is None or _refers(stack, reference):
            session.out.write(_with_offsets(session, stack, base) if offsets else stack)
    return result


def as_crash_places(prog: drgn.Program, text: str) -> str:
    """Frames as crash places them: where the return address lies, which is one word below
    the stack pointer that drgn prints. A frame that was interrupted has none: it stays.

    Behind the registers of a system call stands its number, as crash has it (``ORIG_RAX``).
    """
    if not arch_of(prog).return_on_stack:
        return text
    lines: list[str] = []
    place, interrupted, saved = 0, False, None
    for line in text.splitlines():
        found, register = _PLACED.match(line), _REGISTER.match(line)
        if found is not None:
            place = int(found[2], 16)
            if not interrupted:
                line = f"{found[1]}{place - 8:x}{found[3]}"
        elif register is not None and register[1] == arch_of(prog).pc.upper():
            saved = _original(prog, place, int(register[2], 16))
        elif register is not None and register[1] == "CS" and saved is not None:
            line = f"    ORIG_{arch_of(prog).calls.result.upper()}: {saved:016x}  {line.strip()}"
        interrupted = register is not None
        lines.append(line + "\n")
    return "".join(lines)


def _original(prog: drgn.Program, place: int, pc: int) -> int | None:
    """``pt_regs.orig_ax`` of the registers that were saved at a place, if it is those."""
    arch = arch_of(prog)
    try:
        regs = drgn.Object(prog, "struct pt_regs", address=place)
        if int(regs.member_(arch.pt_regs.get(arch.pc, arch.pc))) == pc:
            return int(regs.orig_ax) & ((1 << 64) - 1)
    except damage():
        return None
    except LookupError:  # another architecture's registers
        return None
    return None


def stacks_of(text: str) -> list[dict[str, object]]:
    """What ``bt`` printed, as data: a stack a task."""
    found: list[dict[str, object]] = []
    for stack in _stacks(text):
        head = _TASK_HEADER.match(stack)
        frames = [
            {"number": int(m[1]), "at": m[2], "function": m[3], "address": m[4], "module": m[5]}
            for m in map(_FRAME_PARTS.match, stack.splitlines())
            if m
        ]
        if head is None:
            continue
        found.append({"pid": int(head[1]), "task": head[2], "cpu": int(head[3]),
                      "command": head[4], "frames": frames})  # fmt: skip
    return found


def _from(session: Session, ip: str | None, sp: str | None) -> Any:
    """The stack from registers that the user chose."""
    prog, arch = session.prog, arch_of(session.prog)
    if ip is None or sp is None:
        raise UsageError("bt -I ADDRESS -S ADDRESS: both are needed to unwind")
    values = {arch.pc: address_of(prog, ip), arch.sp: address_of(prog, sp)}
    names = {arch.pt_regs.get(name, name): value for name, value in values.items()}
    trace = prog.stack_trace(drgn.Object(prog, "struct pt_regs", names))
    symbols = Symbolizer.of(prog)
    for number, frame in enumerate(trace):
        symbol = symbols.symbol(frame.pc)
        name = symbol.function if symbol is not None else "(unknown)"
        place = frame.sp - (8 if number and arch.return_on_stack else 0)
        session.out.write(clean(f"{f'#{number}':>3} [{place:x}] {name} at {frame.pc:x}") + "\n")
    return trace


def _on_cpu_stacks(session: Session) -> None:
    """Registers that the kernel was interrupted with, on the stacks of interrupts (x86-64)."""
    from postmortem.kernel.system import present_cpus

    prog = session.prog
    for cpu in present_cpus(prog):
        try:
            size = int(prog["THREAD_SIZE"].value_())  # IRQ_STACK_SIZE is the same
            top = _per_cpu_value(prog, ("hardirq_stack_ptr", "pcpu_hot.hardirq_stack_ptr"), cpu)
        except damage():
            top = None
        if not top:
            session.out.write(f"CPU {cpu} IRQ STACK: where it is can't be read\n")
            continue
        session.out.write(f"CPU {cpu} IRQ STACK:\n")
        # The pointer is that of the last word.
        low = top + 8 - size
        if not _exception_frames(session, low, size):
            session.out.write("(none found)\n")


def _per_cpu_value(prog: drgn.Program, paths: tuple[str, ...], cpu: int) -> int | None:
    """The first per-CPU variable of several names that this kernel has.

    Linux kernel commit d7b6d709a76a ("x86/percpu: Move irq_stack variables next to
    current_task") (in v6.2) moved it into ``pcpu_hot``; v6.15 took it out again.
    """
    from drgn.helpers.linux.percpu import per_cpu

    for path in paths:
        name, _, member = path.partition(".")
        try:
            value = per_cpu(prog[name], cpu)
        except KeyError:
            continue
        return int((value.member_(member) if member else value).value_())
    return None


def _stacks(text: str) -> list[str]:
    """What ``bt`` printed, a piece a task."""
    starts = [match.start() for match in _HEADER.finditer(text)]
    if not starts:
        return [text]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _refers(stack: str, reference: str) -> bool:
    wanted = reference.removeprefix("0x").lower()
    return any(wanted in (word.lower().lstrip("0"), word) for word in re.findall(r"[\w.]+", stack))


def _with_offsets(session: Session, stack: str, base: int | None) -> str:
    symbols = Symbolizer.of(session.prog)
    lines = []
    for line in stack.splitlines():
        found = _FRAME.match(line)
        symbol = symbols.symbol(int(found[4], 16)) if found else None
        if found and symbol is not None:
            offset = f"{symbol.offset:#x}" if base == 16 else str(symbol.offset)
            line = f"{found[1]}{found[2]}+{offset}{found[3]}{found[4]}{found[5]}"
        lines.append(line + "\n")
    return "".join(lines)


def _group(session: Session, named: list[str]) -> list[str]:
    """Threads of the groups that the named tasks (or the context) belong to."""
    leaders = {task_of(session, word).tgid.value_() for word in named or [""]}
    tasks = session.case.tasks
    return [str(task.pid) for task in tasks.tasks if task.tgid in leaders] if tasks else []


# --- the stack's memory ---------------------------------------------------------------


def _words(session: Session, task: drgn.Object, *, whole: bool, raw: bool) -> None:
    prog = session.prog
    low = int(task.stack.value_())
    size = int(prog["THREAD_SIZE"].value_())
    start = low if whole else max(low, (_stack_pointer(prog, task) or low) - 8)
    if not low <= start < low + size:
        start = low
    data = prog.read(start, low + size - start)
    words = struct.unpack(f"<{len(data) // 8}Q", data[: len(data) // 8 * 8])
    session.out.write(crash.said(prog, "bt", str(task.pid.value_())).split("\n", 1)[0] + "\n")
    if not (raw or whole) and words:
        symbol = Symbolizer.of(prog).symbol(words[0])
        if symbol is not None:
            session.out.write(clean(f"{'START: ':>21}{symbol.function} at {words[0]:x}") + "\n")
    for line in (_raw if raw else _text)(start, words, prog):
        session.out.write(clean(line) + "\n")


def _stack_pointer(prog: drgn.Program, task: drgn.Object) -> int | None:
    try:
        return int(prog.stack_trace(task)[0].sp)
    except damage():
        return None
    except IndexError:  # an empty trace
        return None


def _raw(start: int, words: tuple[int, ...], prog: drgn.Program) -> Iterator[str]:
    """Like ``rd -s``: a word that is a symbol's address is named."""
    symbols = Symbolizer.of(prog)
    for at in range(0, len(words), _PER_LINE):
        named = " ".join(_word(word, symbols) for word in words[at : at + _PER_LINE])
        yield f"{start + at * 8:x}:  {named}".rstrip()


def _word(word: int, symbols: Symbolizer) -> str:
    symbol = symbols.symbol(word)
    if symbol is None:
        return f"{word:016x}"
    return f"{symbol.function}+{symbol.offset}" if symbol.offset else symbol.function


def _text(start: int, words: tuple[int, ...], prog: drgn.Program) -> Iterator[str]:
    low, high = prog.symbol("_stext").address, prog.symbol("_etext").address
    symbols = Symbolizer.of(prog)
    for at, word in enumerate(words):
        symbol = symbols.symbol(word) if low <= word < high or _in_module(prog, word) else None
        if symbol is not None:
            yield f"  [{start + at * 8:x}] {symbol.function} at {word:x}"


def _in_module(prog: drgn.Program, address: int) -> bool:
    try:
        return bool(prog.module(address).name != "kernel")
    except LookupError:
        return False


def _exceptions(session: Session, task: drgn.Object) -> None:
    """Every ``struct pt_regs`` on the stack that can be one the kernel was interrupted with."""
    prog = session.prog
    low, size = int(task.stack.value_()), int(prog["THREAD_SIZE"].value_())
    session.out.write(crash.said(prog, "bt", str(int(task.pid))).split("\n", 1)[0] + "\n")
    if not _exception_frames(session, low, size):
        session.out.write("no exception frame of the kernel is on this stack\n")


def _exception_frames(session: Session, low: int, size: int) -> int:
    """Print those on one stack; how many."""
    prog = session.prog
    arch = arch_of(prog)
    type_ = prog.type("struct pt_regs")
    data = prog.read(low, size)
    found = 0
    for at in range(0, size - (type_.size or size) + 1, 8):
        regs = drgn.Object.from_bytes_(prog, type_, data[at : at + (type_.size or 0)])
        symbol = _interrupted(prog, regs, low, size)
        if symbol is None:
            continue
        found += 1
        session.out.write(
            f"KERNEL-MODE EXCEPTION FRAME AT: {low + at:x}\n"
            + clean(f"    [exception {arch.pc.upper()}: {symbol}]")
            + "\n"
        )
        for row in _rows(arch, regs):
            session.out.write(row + "\n")
    return found


def _interrupted(prog: drgn.Program, regs: drgn.Object, low: int, size: int) -> str | None:
    """Where the kernel was interrupted, if these words can be its registers."""
    arch = arch_of(prog)
    segment = all(int(regs.member_(name)) == value for name, value in arch.kernel_segment.items())
    stack = int(regs.member_(arch.pt_regs.get(arch.sp, arch.sp)))
    # Some bit of the flags is always set while the kernel runs.
    flags = int(regs.member_(arch.pt_regs.get(arch.flags, arch.flags)))
    if not segment or not flags or not low <= stack <= low + size:
        return None
    symbol = Symbolizer.of(prog).symbol(int(regs.member_(arch.pt_regs.get(arch.pc, arch.pc))))
    return f"{symbol.function}+{symbol.offset}" if symbol is not None else None


def _rows(arch: Arch, regs: drgn.Object) -> Iterator[str]:
    names = (arch.pc, arch.sp, arch.flags, *arch.general)
    shown = list(dict.fromkeys(names))
    for start in range(0, len(shown), 3):
        cells = (
            f"{name.upper():>6}: {int(regs.member_(arch.pt_regs.get(name, name))):016x}"
            for name in shown[start : start + 3]
        )
        yield "  ".join(cells)


def _check(session: Session) -> None:
    """Whether the word at each stack's end is still what fork() wrote there."""
    prog = session.prog
    tasks = session.case.tasks
    bad = unreadable = 0
    for task in tasks.tasks if tasks is not None else ():
        try:
            stack = drgn.Object(prog, "struct task_struct *", task.address).stack.value_()
            magic = prog.read_u64(stack)
        except damage():
            unreadable += 1
            continue
        if magic != _STACK_END_MAGIC:
            bad += 1
            session.out.write(
                clean(f"PID: {task.pid}  TASK: {task.address:x}  COMMAND: {task.comm}") + "\n"
                f"  the word at its stack's end ({stack:x}) is {magic:x}: overflowed\n"
            )
    if unreadable:
        session.out.write(f"{unreadable} stacks are not in the dump\n")
    if not bad:
        session.out.write("No stack overflows detected\n")
