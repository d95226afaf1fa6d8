"""KDB's prompt and commands over a dump: ``postmortem shell --kdb``, or ``kdb`` in the shell.

The output is that of the kernel's own debugger (kernel/debug/kdb), whose format strings
are kept. What would change the machine is refused: a dump does not run. On a dump "the
current CPU" is the one that panicked, and a CPU "responds" if its registers are known.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import drgn

from postmortem.dump.damage import damage, readable, tolerated
from postmortem.errors import UsageError
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.render.clean import clean

if TYPE_CHECKING:
    from postmortem.shell.session import Session

_WORD = 8
"""KDB_WORD_SIZE"""
_MAX_LINES = 1 << 16
_SUPPRESSED = "-ims"
"""States that ``ps`` leaves out: idle tasks and sleeping system daemons."""
_REFUSED = {
    "mm": "memory", "rm": "registers", "go": "the machine", "kill": "the machine",
    "reboot": "the machine", "kgdb": "the machine", "bp": "the machine", "ss": "the machine",
}  # fmt: skip
_ENV = {"PROMPT": "[%d]kdb> ", "MOREPROMPT": "more> ", "RADIX": "16", "MDCOUNT": "8",
        "BYTESPERWORD": "8", "DTABCOUNT": "30", "NOSECT": "1"}  # fmt: skip
_OPTIONS = {16: "x", 10: "d", 8: "o"}

USAGE = (
    ("md", "<vaddr>", "Display Memory Contents, also mdWcN, e.g. md8c1"),
    ("mdr", "<vaddr> <bytes>", "Display Raw Memory"),
    ("mdp", "<paddr> <bytes>", "Display Physical Memory"),
    ("mds", "<vaddr>", "Display Memory Symbolically"),
    ("rd", "", "Display Registers"),
    ("ef", "<vaddr>", "Display exception frame"),
    ("bt", "[<vaddr>]", "Stack traceback"),
    ("btp", "<pid>", "Display stack for process <pid>"),
    ("bta", "[<state_chars>|A]", "Backtrace all processes whose state matches"),
    ("btc", "", "Backtrace current process on each cpu"),
    ("btt", "<vaddr>", "Backtrace process given its struct task address"),
    ("env", "", "Show environment variables"),
    ("set", "", "Set environment variables"),
    ("help", "", "Display Help Message"),
    ("?", "", "Display Help Message"),
    ("cpu", "<cpunum>", "Switch to new cpu"),
    ("ps", "[<state_chars>|A]", "Display active task list"),
    ("pid", "<pidnum>", "Switch to another task"),
    ("lsmod", "", "List loaded kernel modules"),
    ("sr", "<key>", "Magic SysRq key"),
    ("dmesg", "[lines]", "Display syslog buffer"),
    ("summary", "", "Summarize the system"),
    ("per_cpu", "<sym> [<bytes>] [<cpu>]", "Display per_cpu variables"),
    ("grephelp", "", "Display help on | grep"),
    ("ftdump", "[skip_#entries] [cpu]", "Dump ftrace log; -skip dumps last #entries"),
)
"""The kernel's own table (maintab of kdb_main.c), without what a dump can't do."""
NAMES = frozenset(name for name, _, _ in USAGE) | frozenset(_REFUSED)


@dataclass
class Kdb:
    """A KDB over one session."""

    session: Session
    only: bool = False
    """There is no other shell to go back to."""
    env: dict[str, str] = field(default_factory=lambda: dict(_ENV))
    cpu: int = 0
    task: int | None = None
    """Address of the task that ``bt`` means; ``None``: the one on the CPU."""
    _last: str = ""
    """The line that an empty one repeats."""
    _next: int | None = None
    """Where ``md`` without an address goes on."""
    _width: int = _WORD

    def __post_init__(self) -> None:
        from postmortem.kernel.cpu.cpus import panic_cpu

        with tolerated():
            self.cpu = panic_cpu(self.session.prog) or 0

    @property
    def prompt(self) -> str:
        text = self.env.get("PROMPT", "kdb> ")
        return text.replace("%d", str(self.cpu))

    def entering(self) -> str:
        """What KDB says when it is entered."""
        task = self._current()
        return (
            f"\nEntering kdb (current=0x{int(task.value_()):016x}, pid {int(task.pid)})"
            f" on processor {self.cpu} due to KDB_ENTER()\n"
        )

    def run(self, text: str) -> None:
        """Run one line and write what it prints.

        :raises UsageError: KDB would not have taken it, or it changes the machine.
        """
        line, pattern = _filtered(text.strip() or self._last)
        words = shlex.split(line)
        if not words:
            return
        self._last = text.strip() or self._last
        name, arguments = words[0], words[1:]
        if name in _REFUSED:
            raise UsageError(f"{name}: {_REFUSED[name]} can't be changed: this is a dump")
        command = self._command(name)
        out = io.StringIO()
        for number, each in enumerate(command(name, arguments)):
            if number >= _MAX_LINES:
                out.write(f"more than {_MAX_LINES} lines\n")
                break
            out.write("\n".join(clean(part) for part in each.split("\n")) + "\n")
        lines = out.getvalue().splitlines()
        for each in lines if pattern is None else _matching(lines, pattern):
            self.session.out.write(each + "\n")

    def _command(self, name: str) -> Callable[[str, list[str]], Iterator[str]]:
        table: Mapping[str, Callable[[str, list[str]], Iterator[str]]] = {
            "mdr": self._raw, "rd": self._registers, "ef": self._frame, "bt": self._bt,
            "btp": self._btp, "btt": self._btt, "bta": self._bta, "btc": self._btc,
            "env": self._environment, "set": self._set, "help": self._help, "?": self._help,
            "h": self._help, "cpu": self._cpu, "ps": self._ps, "pid": self._pid,
            "lsmod": self._lsmod, "sr": self._sr, "dmesg": self._dmesg,
            "summary": self._summary, "summ": self._summary, "per_cpu": self._per_cpu,
            "per": self._per_cpu, "grephelp": self._grephelp, "ftdump": self._ftdump,
        }  # fmt: skip
        if re.fullmatch(r"md(?:[spr]|[1248](?:c\d{1,6})?)?", name) and name != "mdr":
            return self._md
        if name not in table:
            raise UsageError(f"Unknown kdb command: '{name}'")
        return table[name]

    # --- memory -----------------------------------------------------------------------

    def _md(self, name: str, words: list[str]) -> Iterator[str]:
        width = int(self.env.get("BYTESPERWORD", str(_WORD)))
        count = int(self.env.get("MDCOUNT", "8"))
        repeat = None
        if match := re.fullmatch(r"md([1248])(?:c(\d+))?", name):
            width = int(match[1])
            repeat = int(match[2]) if match[2] else None
        symbolic, physical = name == "mds", name == "mdp"
        if words:
            address = self._address(words[0])
        elif self._next is not None:
            address, width = self._next, self._width
        else:
            raise UsageError(f"{name}: an address is wanted")
        if len(words) > 1:
            count = _number(words[1])
        radix = _number(words[2]) if len(words) > 2 else int(self.env.get("RADIX", "16"))
        if radix not in _OPTIONS:
            raise UsageError("Illegal value for RADIX use 8, 10 or 16")
        if symbolic:
            width, repeat = _WORD, count
        elif repeat is None:
            repeat = count * 16 // width
        address &= ~(width - 1)
        self._width = width
        yield from self._lines(address, min(repeat, _MAX_LINES), width, radix,
                               symbolic=symbolic, physical=physical)  # fmt: skip

    def _lines(
        self, address: int, repeat: int, width: int, radix: int, *, symbolic: bool, physical: bool
    ) -> Iterator[str]:
        per_line = 1 if symbolic else 16 // width
        while repeat > 0:
            zeros = self._zeros(address, repeat, width, physical=physical)
            shown = min(per_line, repeat)
            yield self._line(address, shown, per_line, width, radix,
                             symbolic=symbolic, physical=physical)  # fmt: skip
            address += width * shown
            repeat -= shown
            whole = (zeros + per_line - 1) // per_line
            if whole > 2:
                skipped = per_line * (whole - 2)
                end = address + width * skipped - 1
                yield f"0x{address:016x}-0x{end:016x} zero suppressed"
                address += width * skipped
                repeat -= skipped
        self._next = address

    def _zeros(self, address: int, limit: int, width: int, *, physical: bool) -> int:
        """How many words from here on are zero."""
        for number in range(limit):
            word = self._word(address + number * width, width, physical=physical)
            if word is None or word:
                return number
        return limit

    def _line(
        self, address: int, count: int, per_line: int, width: int, radix: int,
        *, symbolic: bool, physical: bool,
    ) -> str:  # fmt: skip
        text = f"phys 0x{address:016x} " if physical else f"0x{address:016x} "
        chars, done = "", 0
        for _ in range(count):
            word = self._word(address, width, physical=physical)
            if word is None:
                break
            text += f"{word:0{2 * width}{_OPTIONS[radix]}} "
            named = self._symbol(word) if symbolic else None
            if named is not None:
                text += named
            else:
                chars += "".join(
                    chr(byte) if 32 <= byte < 127 else "."
                    for byte in word.to_bytes(width, "little")
                )
            address += width
            done += 1
        return text + " " * ((per_line - done) * (2 * width + 1) + 1) + f" {chars}"

    def _word(self, address: int, width: int, *, physical: bool) -> int | None:
        try:
            return int.from_bytes(self.session.prog.read(address, width, physical), "little")
        except damage():
            return None

    def _symbol(self, address: int) -> str | None:
        """``kdb_symbol_print()``: a name with the offset into it."""
        found = Symbolizer.of(self.session.prog).symbol(address)
        if found is None:
            return None
        module = f"[{found.module}]" if found.module else ""
        offset = f"+{found.offset:#x}" if found.offset else ""
        return f"{module}{found.function}{offset}"

    def _raw(self, name: str, words: list[str]) -> Iterator[str]:
        if len(words) != 2:
            raise UsageError("mdr: an address and a number of bytes are wanted")
        address, count = self._address(words[0]), min(_number(words[1]), 1 << 20)
        self._next = address + count
        yield self.session.prog.read(address, count).hex()

    def _per_cpu(self, name: str, words: list[str]) -> Iterator[str]:
        if not 1 <= len(words) <= 3:
            raise UsageError("per_cpu: a variable, and perhaps bytes and a CPU are wanted")
        start = self._address(words[0])
        width = _number(words[1]) if len(words) > 1 else _WORD
        width = width or _WORD
        if width not in (1, 2, 4, 8):
            raise UsageError("Illegal width value")
        wanted = _number(words[2]) if len(words) > 2 else None
        offsets = self.session.prog["__per_cpu_offset"]
        online = self._online()
        if wanted is not None and wanted not in online:
            yield f"cpu {wanted} is not online"
            return
        for cpu in online:
            if wanted is None or cpu == wanted:
                address = (start + int(offsets[cpu])) & ((1 << 64) - 1)
                yield f"{cpu:5} " + self._line(
                    address, 1, 1, width, 16, symbolic=width == _WORD, physical=False
                )

    def _address(self, text: str) -> int:
        """A number, a symbol, ``symbol+offset``, or ``%register``."""
        match = re.fullmatch(r"([^+-]+)(?:([+-])(\w+))?", text)
        if match is None:
            raise UsageError(f"{text}: Invalid symbolic address")
        base = match[1]
        if base.startswith("%"):
            registers = dict(self._known_registers())
            if base[1:] not in registers:
                raise UsageError(f"{base}: no such register is known")
            value = registers[base[1:]]
        elif base in self.env:
            value = _number(self.env[base])
        else:
            try:
                value = int(self.session.prog.symbol(base).address)
            except LookupError:
                value = _number(base)
        offset = _number(match[3]) if match[3] else 0
        return (value - offset if match[2] == "-" else value + offset) & ((1 << 64) - 1)

    # --- tasks ------------------------------------------------------------------------

    def _online(self) -> list[int]:
        from postmortem.kernel.system import present_cpus

        return list(present_cpus(self.session.prog))

    def _running(self, cpu: int) -> drgn.Object:
        from drgn.helpers.linux.sched import cpu_curr

        return cpu_curr(self.session.prog, cpu)

    def _current(self) -> drgn.Object:
        if self.task is not None:
            return drgn.Object(self.session.prog, "struct task_struct *", self.task)
        return self._running(self.cpu)

    def _letter(self, task: drgn.Object) -> str:
        from drgn.helpers.linux.sched import task_cpu, task_state_to_char

        letter = task_state_to_char(task)
        if not int(task.pid) and int(task.value_()) != int(self._running(self.cpu).value_()):
            return "-" if task_cpu(task) != self.cpu else letter
        if int(task.pid) and not task.mm and letter in "IMS":
            return letter.lower()
        return letter

    def _row(self, task: drgn.Object) -> str:
        from drgn.helpers.linux.sched import task_cpu

        cpu = task_cpu(task)
        address = int(task.value_())
        has_cpu = int(int(self._running(cpu).value_()) == address)
        own = "*" if address == int(self._running(self.cpu).value_()) else " "
        comm = task.comm.string_().decode(errors="replace")
        return (
            f"0x{address:016x} {int(task.pid):8} {int(task.parent.pid):8}  {has_cpu} {cpu:4}"
            f"   {self._letter(task)}  0x{int(task.thread.address_of_().value_()):016x} {own}{comm}"
        )

    def _all(self) -> Iterator[drgn.Object]:
        """Every task but the idle ones, as the kernel's list has them."""
        tasks = self.session.case.tasks
        for task in tasks.tasks if tasks is not None else ():
            if task.pid:
                yield drgn.Object(self.session.prog, "struct task_struct *", task.address)

    def _ps(self, name: str, words: list[str]) -> Iterator[str]:
        mask = words[0] if words else self.env.get("PS", "")
        if not words:
            yield from self._suppressed()
        yield f"{'Task Addr':<18}      Pid   Parent [*] cpu State {'Thread':<18} Command"
        for cpu in self._online():
            task = self._running(cpu)
            if self._wanted(task, mask):
                yield self._row(task)
        yield ""
        for task in self._all():
            with tolerated():
                if self._wanted(task, mask):
                    yield self._row(task)

    def _wanted(self, task: drgn.Object, mask: str) -> bool:
        letter = self._letter(task)
        if not mask:
            return letter not in _SUPPRESSED
        return "A" in mask or letter in mask

    def _suppressed(self) -> Iterator[str]:
        idle = sum(self._letter(self._running(cpu)) == "-" for cpu in self._online())
        daemons = sum(self._letter(task) in "ims" for task in self._all())
        text = ""
        if idle:
            text += f"{idle} idle process{'' if idle == 1 else 'es'} (state -)"
            text += " and " if daemons else ""
        if daemons:
            text += f"{daemons} sleeping system daemon (state [ims]) process"
            text += "" if daemons == 1 else "es"
        if text:
            yield f"{text} suppressed,\nuse 'ps A' to see all."

    def _pid(self, name: str, words: list[str]) -> Iterator[str]:
        from drgn.helpers.linux.pid import find_task

        if words and words[0] == "R":
            self.task = None
        elif words:
            pid = _number(words[0])
            found = find_task(self.session.prog, pid)
            if not found:
                yield f"No task with pid={pid}"
                return
            self.task = int(found.value_())
        task = self._current()
        comm = task.comm.string_().decode(errors="replace")
        yield f"KDB current process is {comm}(pid={int(task.pid)})"

    def _cpu(self, name: str, words: list[str]) -> Iterator[str]:
        if words:
            cpu = _number(words[0])
            if cpu not in self._online():
                raise UsageError("Invalid cpu number")
            self.cpu, self.task = cpu, None
            yield self.entering().replace("due to KDB_ENTER()", "due to cpu switch").strip("\n")
            return
        yield f"Currently on cpu {self.cpu}"
        yield f"Available cpus: {self._states()}"

    def _states(self) -> str:
        """``0, 1(-), 2-3(F)``: neighbours in the same state are put together."""
        known = {cpu: "-" if self._letter(self._running(cpu)) == "-" else " "
                 for cpu in self._online()}  # fmt: skip
        runs: list[list[int]] = []
        for cpu in known:
            if runs and runs[-1][-1] == cpu - 1 and known[cpu - 1] == known[cpu]:
                runs[-1].append(cpu)
            else:
                runs.append([cpu])
        return ", ".join(
            f"{run[0]}{f'-{run[-1]}' if len(run) > 1 else ''}"
            + ("" if known[run[0]] == " " else f"({known[run[0]]})")
            for run in runs
        )

    # --- stacks -----------------------------------------------------------------------

    def _bt(self, name: str, words: list[str]) -> Iterator[str]:
        if words:
            yield from self._from(self._address(words[0]))
        else:
            yield from self._stack(self._current())

    def _from(self, address: int) -> Iterator[str]:
        """Return addresses on the stack from a place on, none of them certain."""
        symbols = Symbolizer.of(self.session.prog)
        size = int(self.session.prog["THREAD_SIZE"].value_())
        end = (address // size + 1) * size
        data = self.session.prog.read(address, end - address)
        yield "Call Trace:"
        for at in range(0, len(data) - 7, 8):
            found = symbols.symbol(int.from_bytes(data[at : at + 8], "little"))
            if found is not None and found.offset:
                module = f" [{found.module}]" if found.module else ""
                yield f" ? {found.function}+{found.offset:#x}/{found.size:#x}{module}"

    def _btp(self, name: str, words: list[str]) -> Iterator[str]:
        from drgn.helpers.linux.pid import find_task

        if len(words) != 1:
            raise UsageError("btp: one pid is wanted")
        pid = _number(words[0])
        found = find_task(self.session.prog, pid)
        if found:
            yield from self._stack(found)
        else:
            yield f"No process with pid == {pid} found"

    def _btt(self, name: str, words: list[str]) -> Iterator[str]:
        from postmortem.shell.tasks import task_of

        if len(words) != 1:
            raise UsageError("btt: the address of one task is wanted")
        yield from self._stack(task_of(self.session, f"{self._address(words[0]):x}"))

    def _bta(self, name: str, words: list[str]) -> Iterator[str]:
        mask = words[0] if words else self.env.get("PS", "")
        if not words:
            yield from self._suppressed()
        running = [self._running(cpu) for cpu in self._online()]
        addresses = {int(task.value_()) for task in running}
        for task in running:
            if self._wanted(task, mask):
                yield from self._stack(task)
        for task in self._all():
            if int(task.value_()) not in addresses and self._wanted(task, mask):
                yield from self._stack(task)

    def _btc(self, name: str, words: list[str]) -> Iterator[str]:
        if words:
            cpu = _number(words[0])
            if cpu not in self._online():
                yield f"WARNING: no process for cpu {cpu}"
                return
            yield from self._stack(self._running(cpu))
            return
        yield f"btc: cpu status: Currently on cpu {self.cpu}"
        yield f"Available cpus: {self._states()}"
        for cpu in self._online():
            yield from self._stack(self._running(cpu))

    def _stack(self, task: drgn.Object) -> Iterator[str]:
        yield f"Stack traceback for pid {int(task.pid)}"
        yield self._row(task)
        yield from self._trace(int(task.value_()))

    def _trace(self, address: int) -> Iterator[str]:
        from postmortem.kernel.cpu.cpus import cpus
        from postmortem.kernel.tasks.trace import KernelText, cpu_trace, trace
        from postmortem.kernel.tasks.unwind import sleeping_stacks
        from postmortem.printers.show_regs import stack_info
        from postmortem.printers.show_stack import StackPrinter

        prog = self.session.prog
        printer = StackPrinter(prog)
        stack = sleeping_stacks(prog).by_task.get(address)
        if stack is not None:
            yield from printer.trace(trace(KernelText.of(prog), stack))
            return
        for cpu in cpus(prog):
            if cpu.address == address:
                yield from stack_info(prog, cpu)
                yield from printer.trace(cpu_trace(prog, cpu))
                return
        yield "Call Trace:"
        why = sleeping_stacks(prog).unreadable.get(address, "its registers are not known")
        yield f" (not known: {why})"

    # --- registers --------------------------------------------------------------------

    def _known_registers(self) -> Iterator[tuple[str, int]]:
        """Those of the current CPU, by KDB's short names: ``ax``, ``ip``."""
        from postmortem.arch import arch_of
        from postmortem.kernel.cpu.cpus import cpus

        arch = arch_of(self.session.prog)
        whole = {arch.pt_regs.get(name, name): name
                 for name in (*arch.general, arch.sp, arch.pc, arch.flags)}  # fmt: skip
        for cpu in cpus(self.session.prog):
            if cpu.number == self.cpu and cpu.trace:
                values = cpu.trace[0].registers()
                for name, _ in arch.kgdb_registers:
                    if whole.get(name, name) in values:
                        yield name, values[whole.get(name, name)]

    def _registers(self, name: str, words: list[str]) -> Iterator[str]:
        from postmortem.arch import arch_of

        known = dict(self._known_registers())
        if not known:
            raise UsageError("No current registers.  You may need to select another task")
        line = ""
        for register, digits in arch_of(self.session.prog).kgdb_registers:
            if register not in known:
                continue
            if line and len(line) + len(register) + 4 + digits > 80:
                yield line
                line = ""
            line += ("  " if line else "") + f"{register}: {known[register]:0{digits}x}"
        yield line

    def _frame(self, name: str, words: list[str]) -> Iterator[str]:
        """``show_regs()`` of a ``struct pt_regs``, in its short form."""
        from postmortem.kernel.tasks.trace import Registers
        from postmortem.printers.show_stack import StackPrinter

        if len(words) != 1:
            raise UsageError("ef: one address is wanted")
        address = self._address(words[0])
        size = self.session.prog.type("struct pt_regs").size or 0
        data = self.session.prog.read(address, size)
        values = tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, 168, 8))
        printer = StackPrinter(self.session.prog)
        yield from printer.registers(Registers(values))

    # --- the machine ------------------------------------------------------------------

    def _lsmod(self, name: str, words: list[str]) -> Iterator[str]:
        from drgn.helpers.linux.list import list_for_each_entry

        prog = self.session.prog
        yield "Module                  Size  modstruct     Used by"
        modules = list_for_each_entry("struct module", prog["modules"].address_of_(), "list")
        for number, module in enumerate(modules):
            if number >= _MAX_LINES:
                return
            with tolerated():
                yield self._module(module)

    def _module(self, module: drgn.Object) -> str:
        name = module.member_("name").string_().decode(errors="replace")
        sizes, bases = _memories(module)
        text = f"{name:<20}" + "/".join(f"{size:8}" for size in sizes)
        text += f"  0x{int(module.value_()):016x} "
        if _has(module, "refcnt"):
            # MODULE_REF_BASE is 1: what the module itself holds.
            text += f"{int(module.refcnt.counter) - 1:4} "
        state = module.state.format_(type_name=False).rpartition("_")[2]
        text += {"GOING": " (Unloading)", "COMING": " (Loading)"}.get(state, " (Live)")
        text += " " + "/".join(f"0x{base:016x}" for base in bases)
        users = [
            use.source.member_("name").string_().decode(errors="replace") for use in _users(module)
        ]
        return text + f" [ {' '.join(users)}{' ' if users else ''}]"

    def _sr(self, name: str, words: list[str]) -> Iterator[str]:
        from postmortem.printers.sysrq import sysrq

        if len(words) != 1:
            raise UsageError("sr: one key is wanted")
        for line in sysrq(self.session.prog, words[0][:1], self.cpu):
            yield line.text

    def _ftdump(self, name: str, words: list[str]) -> Iterator[str]:
        from postmortem.printers.ftrace import ftrace_dump

        for line in ftrace_dump(self.session.prog):
            yield line.text

    def _dmesg(self, name: str, words: list[str]) -> Iterator[str]:
        lines = list(_log(self.session.prog))
        wanted = _signed(words[0]) if words else 0
        adjust = max(0, _signed(words[1])) if len(words) > 1 else 0
        total = len(lines)
        if wanted < 0:
            # The first lines, as KDB counts a negative number.
            lines = lines[adjust : adjust - wanted]
        elif wanted > 0:
            lines = lines[max(0, total - wanted - adjust) : max(0, total - adjust)]
        yield from lines

    def _summary(self, name: str, words: list[str]) -> Iterator[str]:
        prog, system = self.session.prog, self.session.case.system
        names = prog["init_uts_ns"].member_("name")
        for part in ("sysname", "release", "version", "machine", "nodename", "domainname"):
            value = names.member_(part).string_().decode(errors="replace")
            yield f"{part:<10} {value}"
        if system.crash_time is not None:
            import time

            date = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(system.crash_time))
            west = prog["sys_tz"].tz_minuteswest.value_() if _known(prog, "sys_tz") else 0
            yield f"date       {date} tz_minuteswest {int(west)}"
        if system.uptime_seconds is not None:
            yield f"uptime     {_uptime(int(system.uptime_seconds))}"
        loads = [int(value) for value in prog["avenrun"]]
        yield "load avg   " + " ".join(
            f"{load >> 11}.{((load & 2047) * 100) >> 11:02}" for load in loads
        )
        yield ""
        for title, pages in self._memory():
            yield f"{title:<16}{pages * 4 if pages is not None else '?':>8} kB"

    def _memory(self) -> Iterator[tuple[str, int | None]]:
        """``si_meminfo()``, in pages."""
        from drgn.helpers.linux.block import nr_blockdev_pages
        from drgn.helpers.linux.mm import totalram_pages

        prog = self.session.prog
        yield "MemTotal:", int(totalram_pages(prog))
        yield (
            "MemFree:",
            readable(lambda: int(prog["vm_zone_stat"][prog.constant("NR_FREE_PAGES")].counter)),
        )
        yield "Buffers:", readable(lambda: int(nr_blockdev_pages(prog)))

    # --- KDB's own --------------------------------------------------------------------

    def _environment(self, name: str, words: list[str]) -> Iterator[str]:
        for key, value in self.env.items():
            yield f"{key}={value}"

    def _set(self, name: str, words: list[str]) -> Iterator[str]:
        text = " ".join(words)
        key, equals, value = text.partition("=")
        if not equals:
            key, _, value = text.partition(" ")
        if not re.fullmatch(r"\w{1,32}", key) or not value:
            raise UsageError("set: NAME=VALUE is wanted")
        if key in ("RADIX", "MDCOUNT", "BYTESPERWORD"):
            _number(value)
        self.env[key] = value[:128]
        return iter(())

    def _help(self, name: str, words: list[str]) -> Iterator[str]:
        yield f"{'Command':<15} {'Usage':<20} Description"
        yield "-" * 58
        for command, usage, text in USAGE:
            space = f"\n{' ' * 36}" if len(usage) > 20 else ""
            yield f"{command:<15.15} {usage:<20}{space}{text}"

    def _grephelp(self, name: str, words: list[str]) -> Iterator[str]:
        yield "Usage of  cmd args | grep pattern:"
        yield "  Any command's output may be filtered through an emulated 'pipe'."
        yield "  'grep' is just a key word."
        yield "  The pattern may include a very limited set of metacharacters:"
        yield "   pattern or ^pattern or pattern$ or ^pattern$"
        yield "  And if there are spaces in the pattern, you may quote it:"
        yield '   "pat tern" or "^pat tern" or "pat tern$" or "^pat tern$"'


def _log(prog: drgn.Program) -> Iterator[str]:
    """Lines as ``kmsg_dump_get_line()`` gives them to a console: with the syslog level."""
    from drgn.helpers.linux.printk import get_printk_records

    records = list(get_printk_records(prog))
    # Without CONFIG_PRINTK_CALLER every record has 0, which no task has all the time.
    callers = any(record.caller_tid or record.caller_cpu is not None for record in records)
    for record in records:
        seconds, rest = divmod(record.timestamp, 1_000_000_000)
        head = f"<{record.facility << 3 | record.level}>[{seconds:5}.{rest // 1000:06}]"
        if callers:
            on_cpu = record.caller_cpu is not None
            who = f"C{record.caller_cpu}" if on_cpu else f"T{record.caller_tid}"
            head += f"[{who:>6}]"
        for text in record.text.decode(errors="replace").split("\n"):
            yield f"{head} {text}"


def _filtered(text: str) -> tuple[str, str | None]:
    """A line and the pattern behind ``| grep``; any other pipe KDB does not know."""
    line, pipe, behind = text.partition("|")
    if not pipe:
        return text, None
    words = behind.split(maxsplit=1)
    if not words or words[0] != "grep" or len(words) < 2:
        raise UsageError("invalid 'pipe', see grephelp")
    return line, words[1].strip().strip('"')


def _matching(lines: list[str], pattern: str) -> list[str]:
    """Lines with the pattern in them; ``^`` and ``$`` bind it to an end."""
    first, last = pattern.startswith("^"), pattern.endswith("$")
    text = pattern.removeprefix("^").removesuffix("$")
    return [
        line
        for line in lines
        if text in line
        and (not first or line.startswith(text))
        and (not last or line.endswith(text))
    ]


def _number(text: str) -> int:
    """As ``kdbgetularg()``: C's prefixes, and hexadecimal digits without any."""
    for base in (0, 16):
        try:
            return int(text, base) & ((1 << 64) - 1)
        except ValueError:
            continue
    raise UsageError(f"{text}: Invalid argument")


def _signed(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _uptime(seconds: int) -> str:
    days, rest = divmod(seconds, 24 * 60 * 60)
    day = f"{days} day{'' if days == 1 else 's'} " if days else ""
    return f"{day}{rest // 3600:02}:{rest // 60 % 60:02}"


def _memories(module: drgn.Object) -> tuple[list[int], list[int]]:
    """Sizes and places of a module's parts.

    Linux kernel commit ac3b43283923 ("module: replace module_layout with module_memory")
    (in v6.4) made four of one.
    """
    if not _has(module, "mem"):
        layout = module.core_layout
        return [int(layout.size)], [int(layout.base)]
    prog = module.prog_
    names = ("MOD_TEXT", "MOD_RODATA", "MOD_RO_AFTER_INIT", "MOD_DATA")
    parts = [module.mem[prog.constant(name)] for name in names]
    return [int(part.size) for part in parts], [int(part.base) for part in parts]


def _users(module: drgn.Object) -> Iterator[drgn.Object]:
    from drgn.helpers.linux.list import list_for_each_entry

    if _has(module, "source_list"):
        uses = list_for_each_entry(
            "struct module_use", module.source_list.address_of_(), "source_list"
        )
        for number, use in enumerate(uses):
            if number >= 1024:
                return
            yield use


def _has(value: drgn.Object, member: str) -> bool:
    try:
        value.member_(member)
    except LookupError:
        return False
    return True


def _known(prog: drgn.Program, name: str) -> bool:
    try:
        prog[name]
    except KeyError:
        return False
    return True
