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
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.command import PASSED_ON, command
from postmortem.shell.tasks import task_of

if TYPE_CHECKING:
    from postmortem.arch.model import Arch
    from postmortem.shell.session import Session

_FRAME = re.compile(r"^( *#\d+ \[[0-9a-f]+\] )(\S+)( at )([0-9a-f]+)(.*)$")
_HEADER = re.compile(r"^PID: ", re.MULTILINE)
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
    rest: tuple[str, ...],
) -> Any:
    """Print kernel stacks: of the context, of PIDs or tasks, of all CPUs (-a).

    drgn's own options are passed on: -a all CPUs, -c CPUS, -p the panic's task, -f and -F the
    frames' memory, -l lines, -V locals.
    """
    if check:
        return _check(session)
    named = [word for word in rest if not word.startswith("-")]
    if group:
        rest = (*(word for word in rest if word not in named), *_group(session, named))
    if frames:
        for word in named or [""]:
            _exceptions(session, task_of(session, word))
        return None
    if text or all_text or raw:
        for word in named or [""]:
            _words(session, task_of(session, word), whole=all_text or raw, raw=raw)
        return None
    out = io.StringIO()
    result = crash.run(session.prog, "bt", " ".join(rest), out)
    for stack in _stacks(out.getvalue()):
        if no_idle and re.search(r'^PID: 0 .*COMMAND: "swapper', stack):
            continue
        if reference is None or _refers(stack, reference):
            session.out.write(_with_offsets(session, stack, base) if offsets else stack)
    return result


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
    from drgn.helpers.linux.pid import find_task

    leaders = {task_of(session, word).tgid.value_() for word in named or [""]}
    tasks = session.case.tasks
    threads = [task.pid for task in tasks.tasks if task.tgid in leaders] if tasks else []
    return [str(pid) for pid in threads if find_task(session.prog, pid)]


# --- the stack's memory ---------------------------------------------------------------


def _words(session: Session, task: drgn.Object, *, whole: bool, raw: bool) -> None:
    prog = session.prog
    low = int(task.stack.value_())
    size = int(prog["THREAD_SIZE"].value_())
    start = low if whole else max(low, _stack_pointer(prog, task) or low)
    if not low <= start < low + size:
        start = low
    data = prog.read(start, low + size - start)
    words = struct.unpack(f"<{len(data) // 8}Q", data[: len(data) // 8 * 8])
    session.out.write(crash.said(prog, "bt", str(task.pid.value_())).split("\n", 1)[0] + "\n")
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
    arch = arch_of(prog)
    low, size = int(task.stack.value_()), int(prog["THREAD_SIZE"].value_())
    type_ = prog.type("struct pt_regs")
    data = prog.read(low, size)
    session.out.write(crash.said(prog, "bt", str(int(task.pid))).split("\n", 1)[0] + "\n")
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
    if not found:
        session.out.write("no exception frame of the kernel is on this stack\n")


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
