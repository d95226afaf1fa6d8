"""What follows a header: CPU line, registers, Code, stacks, module list.

:func:`read_body` turns the messages of one report into a :class:`Body`, whatever
the architecture. It never fails: what it doesn't understand it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from postmortem.log.code import CodeReader
from postmortem.log.frames import COUNTERS, FrameReader, parse_frame
from postmortem.log.registers import read_registers
from postmortem.model.findings import TaskRef
from postmortem.model.frame import Frame
from postmortem.model.report import Code, Record


@dataclass
class Trace:
    """One stack of a report, with the program counter printed before it."""

    title: str
    line: int
    owner: str = ""
    """Whose: empty for the report's own, else ``cpu 1`` or ``task kworker/0:1``."""
    pc: Frame | None = None
    frames: list[Frame] = field(default_factory=list)
    user_pc: bool = False
    """The CPU was in user mode when it was stopped."""
    index: int = 0
    """Position in the report's messages."""


@dataclass
class Body:
    """Everything in a report that is not particular to its kind."""

    traces: list[Trace] = field(default_factory=list)
    pc: Frame | None = None
    link: Frame | None = None
    """LR or ra: who called the function that jumped to nowhere."""
    task: TaskRef | None = None
    cpu: int | None = None
    taint: str | None = None
    release: str | None = None
    hardware: str | None = None
    arch: str | None = None
    registers: dict[str, int] = field(default_factory=dict)
    code: Code | None = None
    modules: tuple[str, ...] = ()
    tainting: set[str] = field(default_factory=set)
    """Modules that are not of this kernel's own tree."""
    ended: bool = False
    """An end-of-report line was seen."""
    panic: str | None = None
    work: Frame | None = None
    """The function of the work that a kworker ran."""
    in_user: bool = False
    """The registers are those of a program: the CPU was not in the kernel."""
    held: list[Frame] = field(default_factory=list)
    """Lock acquisitions in ``at:`` form, in order."""


_ADDRESS = r"(?:\[?<?[0-9a-fx]{8,18}>?\]?\s*)"
_PC = (
    # (architecture, pattern); the rest of the line is parsed as a frame
    ("x86_64", re.compile(rf"RIP: (?P<cs>[0-9a-f]{{4}}):{_ADDRESS}{{0,2}}(?P<rest>.*)")),
    ("x86_64", re.compile(rf"RIP: {_ADDRESS}{{0,2}}(?P<rest>[A-Za-z_].*)")),
    ("x86_64", re.compile(rf"RIP {_ADDRESS}{{1,2}}(?P<rest>.*)")),
    ("i386", re.compile(rf"EIP: (?:(?P<cs>[0-9a-f]{{4}}):)?{_ADDRESS}{{0,2}}(?P<rest>.*)")),
    ("i386", re.compile(r"EIP is at (?P<rest>.*)")),
    ("x86", re.compile(rf"IP: {_ADDRESS}{{0,2}}(?P<rest>.*)")),
    ("arm", re.compile(r"PC is at (?P<rest>.*)", re.I)),
    ("aarch64", re.compile(rf"pc : {_ADDRESS}?(?P<rest>(?!lr)\S.*)")),
    ("riscv", re.compile(r"epc : (?P<rest>(?![0-9a-f]{8,16} )[A-Za-z_].*)")),
    ("mips", re.compile(r"epc {1,3}: [0-9a-f]{8,16} (?P<rest>(?!ra : ).*)")),
    ("loongarch", re.compile(r"ERA: [0-9a-f]{8,16} (?P<rest>.*)")),
    ("ppc64", re.compile(r"NIP \[[0-9a-f]{8,16}\] (?P<rest>.*)")),
    ("s390", re.compile(r"Krnl PSW : [0-9a-f]{8,16} [0-9a-f]{8,16} \(?(?P<rest>.*)")),
)
_EXCEPTION = re.compile(
    r"\[exception (?:RIP|PC|NIP): (?P<function>[\w.$]+)(?:\+(?P<offset>\d{1,8}))?"
)
"""crash(8): what ran when the exception came; the stack goes on with its callers."""
_REGISTERS = re.compile(
    r"(?:(?:R[A-DS0189][XIP0-9]|E[A-DS][XIP]|[CD]R\d|[C-GS]S|knlGS|EFLAGS|PKRU|ORIG_[RE]AX|x\d\d?)"
    r" ?: *"
    r"(?:[0-9a-f]{4}:)?[0-9a-f]{4,16}(?:\([0-9a-f]{4}\))? *)+"
)
"""A line of nothing but registers that say neither where the CPU was nor who called."""
_TRAILING = re.compile(r"\b(?:RSP|SS:ESP)\b")
"""In the line that repeats the program counter when the report is over."""
_LINK = re.compile(
    rf"(?:LR is at |lr : {_ADDRESS}?|ra : (?![0-9a-f]{{8}})|ra {{1,4}}: [0-9a-f]{{8,16}} "
    r"|RA: [0-9a-f]{8,16} |LR \[[0-9a-f]{8,16}\] )"
    r"(?P<rest>[A-Za-z_].*)"
)
_LINK_STARTS = ("LR", "lr", "ra", "RA")
_ARCH_MARKS = (
    # (architecture, one of these is in such a line, pattern)
    ("x86_64", ("R",), re.compile(r"R(?:IP|SP|AX):")),
    ("i386", ("E",), re.compile(r"E(?:IP|SP|AX):")),
    (
        "aarch64",
        ("pstate: ", "x29: ", "ESR = ", "Mem abort"),
        re.compile(r"pstate: |x29: |ESR = 0x|Mem abort info"),
    ),
    (
        "arm",
        ("Flags: ", "SVC_32", "pc : [<"),
        re.compile(r"Flags: [nN][zZ]|Mode SVC_32|pc : \[<[0-9a-f]{8}>\]"),
    ),
    (
        "riscv",
        ("epc", "badaddr:"),
        re.compile(r"epc ?: (?![0-9a-f]{8,16} )|status: [0-9a-f]{8,16} badaddr:"),
    ),
    (
        "ppc64",
        ("NIP: ", "GPR00: ", "PAGE_SIZE=", "Instruction dump:"),
        re.compile(r"NIP: |GPR00: |LE PAGE_SIZE=|Instruction dump:"),
    ),
    ("s390", ("Krnl ",), re.compile(r"Krnl (?:PSW|GPRS|Code)")),
    ("mips", ("$ 0 ", "epc", "BadVA"), re.compile(r"\$ 0   : |epc {1,3}: [0-9a-f]{8}|BadVA : ")),
    ("loongarch", ("ERA: ", "ESTAT: ", "BADV: "), re.compile(r"ERA: |ESTAT: |BADV: ")),
)
_CPU = re.compile(
    r"CPU: (?P<cpu>\d{1,6}) (?:UID: \d{1,10} )?PID: (?P<pid>-?\d{1,10}) Comm: (?P<comm>.{1,64}?) "
    r"(?:Kdump: loaded )?"
    r"(?:(?P<clean>Not tainted)|Tainted: (?P<taint>[A-Z -]{1,40}?)) +(?P<release>\d\S*)"
)
_CPU_CUT = re.compile(
    r"CPU: (?P<cpu>\d{1,6}) (?:UID: \d{1,10} )?PID: (?P<pid>-?\d{1,10}) Comm: (?P<comm>\S{1,64})"
)
_PID = re.compile(
    r"Pid: (?P<pid>-?\d{1,10}), comm: +(?P<comm>.{1,32}?) "
    r"(?:(?P<clean>Not tainted)|Tainted: (?P<taint>[A-Z -]{1,40}?)) +(?P<release>\d\S*)"
)
_PROCESS = re.compile(r"Process (?P<comm>.{1,32}) \(pid: (?P<pid>\d{1,10})\b")
_EXITED = re.compile(
    r"note: (?P<comm>.{1,64})\[(?P<pid>\d{1,10})\] exited with (?:irqs disabled|preempt_count)"
)
"""make_task_dead() in kernel/exit.c."""
_TASK = re.compile(
    r"task:(?P<comm>.{1,64}?) +state:(?P<state>\S) +(?:running task +)?"
    r"(?:stack: *\d{1,10} +pid: *(?P<pid>\d{1,10})\b)?"
)
_TAINT_LINE = re.compile(
    # lockdep: 6.1.0 #1 Not tainted; hung tasks: Tainted: G W 6.1.0 #1
    r"(?:(?P<first>\d+\.\d+[^\s:]*) #\S{1,40} (?:SMP )?)?"
    r"(?:Not tainted|(?:Tainted|TAINTED): (?P<taint>[A-Z][A-Z -]{0,40}?))\s*"
    r"(?P<release>\d+\.\d+\S* #\S.{0,80})?$"
)
_HARDWARE = re.compile(r"Hardware name: ?(?P<name>.*)")
_MODULES = re.compile(r"Modules linked in:(?P<list>.*)")
_FOREIGN = re.compile(r"(?P<name>[\w-]+)\([A-Z+-]*[OPF][A-Z+-]*(?:,\w+)?\)$")
"""Out of tree, proprietary or forced; E (unsigned) is what all modules of some builds are."""
_MODULE = re.compile(
    r"(?P<name>(?=\d*[a-z_])[\w-]+)(?P<flags>\([A-Z+-]+(?:,(?:0x)?[0-9a-f]{8})?\))?$", re.I
)
_CRC = re.compile(r"(?:0x)?(?=[a-f]*\d)[0-9a-f]{8}(?:[0-9a-f]{12,32})?$")
"""A checksum or build id behind the name of a module."""
_CODE_WORD = re.compile(r"(?:[0-9a-f]{2}){1,4}$")
_TITLE = re.compile(
    r"\s*(?P<title>(?:Call [Tt]race|(?:stack )?[Bb]acktrace|Trace)(?: \([^)]{1,60}\))?:)"
    r"(?P<rest>.*)"
)
_STACK_OF = re.compile(
    # What heads a stack that is not the report's own
    r"(?:Allocated|Freed|allocated|freed)\b|(?:Last|Second to last) (?:potentially|call)"
    r"|Uninit was|Local variable|-> #\d"
    r"|.{0,120}(?:state was registered| which became |lock's dependencies| at):$"
    r"|(?:assert no writes|read|write|race at unknown|bytes)\b"
    r"|(?:Use-after-free|Out-of-bounds|Invalid|Corrupted|Memory corruption|Object)\b"
    r"|page (?:last|allocated|owner)|page_owner |(?:stack )?backtrace|Trace|Preemption disabled at"
    r"|Stack of|\.\.\.|Last Breaking-Event-Address"
)
_NMI = re.compile(
    r"NMI backtrace for cpu (?P<cpu>\d+)|Sending NMI |Task dump for CPU (?P<dump>\d+)"
)
_AT = re.compile(r".{0,400}?(?:\bat: |\bat:|\}, at: )(?P<rest>\[?<?.*)")
_LOCK_AT = re.compile(r"(?:.{0,300}\}(?:-\{[\w:]+\})?)?, at:$")
_END = re.compile(r"---\[ end (?:trace|Kernel panic)")
_PANIC = re.compile(r"Kernel panic - not syncing: ?(?P<message>.*)")
_WORKQUEUE = re.compile(
    r"Workqueue: (?P<name>\S+) (?P<work>[\w.$]{1,250})(?: \[(?P<module>[\w-]{1,64})\])?"
)


def read_body(records: Sequence[Record], arch: str | None = None) -> Body:
    """Read the messages of one report (header included, it does no harm)."""
    return _BodyReader(arch).read(records)


def _without_crc(text: str) -> list[str]:
    text = re.sub(r"\[last unloaded:.*", "", text)
    return [word for word in text.split() if not _CRC.match(word)]


@lru_cache(maxsize=256)
def _modules_of(text: str) -> tuple[int, tuple[str, ...], frozenset[str]]:
    """How many words a line of modules has, their names, and which are of no kernel's tree.

    All reports of a machine have the same list, or nearly so.
    """
    words = _without_crc(text)
    names = tuple(match["name"] for match in map(_MODULE.match, words) if match)
    return len(words), names, frozenset(m["name"] for m in map(_FOREIGN.match, words) if m)


class _BodyReader:
    def __init__(self, arch: str | None) -> None:
        self.body = Body(arch=arch)
        self.trace: Trace | None = None
        self.reader = FrameReader()
        self.title = ""
        self.owner = ""
        self.owner_pc: Frame | None = None
        self.user_pc = False
        self.code = CodeReader()
        self.modules: list[str] = []
        self.in_modules = False
        self.shown: dict[int, str] = {}
        """Tasks that were listed with their stacks, by pid."""
        self.lock_place = False
        """The last line ended in ``, at:``, and where that is comes on the next."""
        self.index = 0

    def read(self, records: Sequence[Record]) -> Body:
        for self.index, record in enumerate(records):
            if self.trace is None or "+0x" not in record.text or not self._next_frame(record.text):
                self._line(record, record.text.strip())
        body = self.body
        body.arch = self._arch(records) or body.arch
        body.code = self.code.result(body.arch)
        body.modules = tuple(dict.fromkeys(self.modules))
        if body.task is None and len(self.shown) == 1:
            body.task = TaskRef(*next(iter(self.shown.items())))
        body.traces = [trace for trace in body.traces if trace.frames or trace.pc]
        return body

    def _line(self, record: Record, text: str) -> None:
        if not text:
            return
        if self.in_modules:
            if self._module_line(text):
                return
            self.in_modules = False
        if _REGISTERS.fullmatch(text):
            self._registers(text)
            return
        if not self.lock_place and self._known(text):
            return
        if self.trace is not None or "+0x" in text or text[0] == "#" or "<" in text or ":" in text:
            if self._pc(record, text) or self._frame(record, record.text):
                return
        elif self._pc(record, text):
            return
        self._about(record, text)

    def _known(self, text: str) -> bool:
        """Take a line whose first word says all: it is no frame, whatever follows."""
        if text.startswith("Code: "):
            self.reader.called = False
            return self.code.feed(text)
        if text.startswith("---[ end trace ") and text.endswith("]---"):
            self.body.ended = True
            self._close()
            return True
        return text in ("<TASK>", "</TASK>") and self.reader.feed(text)

    # --- stacks ------------------------------------------------------------------

    def _frame(self, record: Record, text: str) -> bool:
        if self.lock_place:
            self.lock_place = False
            frame = parse_frame(text)
            if frame is not None:
                self.body.held.append(frame)
                return True
        if not self.reader.feed(text):
            return False
        if self.reader.frames:
            if self.trace is None:
                self._open(self.title, record)
            assert self.trace is not None
            self.trace.frames = self.reader.frames
        return True

    def _next_frame(self, text: str) -> bool:
        """The plain frame of an open stack, nine of ten lines with an offset: no more is asked."""
        if self.lock_place or self.in_modules or not self.reader.take(text):
            return False
        assert self.trace is not None
        self.trace.frames = self.reader.frames
        return True

    def _registers(self, text: str) -> None:
        """A line of nothing but registers."""
        self.lock_place = self.reader.called = False
        self.code.end()
        if not self.user_pc:
            read_registers(text, self.body.registers)

    def _open(self, title: str, record: Record) -> None:
        self.trace = Trace(
            title.rstrip(": "),
            record.line,
            self.owner,
            self.owner_pc,
            user_pc=self.user_pc,
            index=self.index,
        )
        self.owner_pc = None
        self.user_pc = False
        self.body.traces.append(self.trace)

    def _close(self) -> None:
        self.trace = None
        self.reader = FrameReader()

    def _interrupted(self, record: Record, text: str) -> bool:
        match = _EXCEPTION.match(text)
        if match is None:
            return False
        if self.trace is not None:
            self.trace.owner = "exception"  # how the kernel got from there to the dump
        self._close()
        offset = match["offset"]
        self.body.pc = Frame(match["function"], offset=int(offset) if offset else None)
        self.owner_pc = self.body.pc
        self._open("stack", record)
        return True

    def _pc(self, record: Record, text: str) -> bool:
        if text.startswith("[exception "):
            return self._interrupted(record, text)
        if not text.startswith(COUNTERS) or text.startswith("pc : [<"):
            return False  # 32-bit arm: addresses, and registers beside them
        for arch, pattern in _PC:
            match = pattern.match(text)
            if match is None:
                continue
            rest = match["rest"]
            trailing = bool(_TRAILING.search(rest)) or text.startswith(("RIP [", "RIP  "))
            user = (match.groupdict().get("cs") or "").endswith(("3", "b"))
            if user:
                if self.trace is None or not self.trace.frames:
                    self.user_pc = True
                    seen = self.body.pc is not None or self.body.traces or self.owner
                    self.body.in_user = self.body.in_user or not seen
                self._close()
                self.title = ""
                return True
            frame = parse_frame(rest)
            if frame is None and self.body.pc is None and not self.body.traces:
                # A jump to nowhere: RIP: 0010:0x0
                bare = re.search(r"0x[0-9a-f]{1,16}", text)
                frame = Frame(None, address=int(bare[0], 16)) if bare else None
            if frame is None:
                return True
            if self.trace is not None and self.trace.frames:
                if not trailing and arch != "x86":
                    self.reader.frames.append(
                        Frame(
                            frame.function,
                            frame.offset,
                            frame.size,
                            frame.module,
                            frame.address,
                            segment=self.reader.segment,
                            file=frame.file,
                            line=frame.line,
                        )
                    )
                return True
            if self.owner:
                self.owner_pc = frame
            elif self.body.pc is None or self.body.pc.function is None:
                self.body.pc = frame
                self.owner_pc = frame
            elif not self.body.traces:
                self.owner_pc = self.owner_pc or frame
            else:
                self.owner_pc = frame
            return True
        return False

    # --- everything else ---------------------------------------------------------

    def _about(self, record: Record, text: str) -> None:
        body = self.body
        match = _TITLE.match(text) if "race" in text else None
        if match is not None:
            self._close()
            self.title = match["title"]
            if self.title.lower().startswith(("call trace", "backtrace")):
                self._open(self.title, record)
            if match["rest"].strip():
                self._frame(record, match["rest"])
            return
        match = _NMI.match(text) if "NMI" in text or "dump for" in text else None
        if match is not None:
            self._close()
            cpu = match["cpu"] or match["dump"]
            if cpu:
                self.owner = f"cpu {cpu}"
                self.owner_pc = None
                self.user_pc = False
            return
        match = _TASK.match(text) if text.startswith("task:") else None
        if match is not None:
            self._close()
            self.owner = f"task {match['comm'].strip()}"
            if match["pid"] and not match["comm"].startswith("rcu_"):  # RCU's own thread starves
                self.shown.setdefault(int(match["pid"]), match["comm"].strip())
            return
        if text.endswith("at:") and _LOCK_AT.match(text):
            self._close()
            self.lock_place = True
            return
        if text.startswith("page last ") or (
            text.endswith(":") and (self.trace is None or _STACK_OF.match(text))
        ):
            self._close()
            self.title = text
            return
        if self._about_task(text) or self._about_kernel(text):
            return
        if text.startswith("Hardware name:"):
            body.hardware = body.hardware or text[14:].strip()
        elif text.startswith("Modules linked in:"):
            self.in_modules = True
            self._module_line(text[18:])
        elif text.startswith("---[") and _END.match(text):
            body.ended = True
            self._close()
        elif text.startswith("Workqueue: "):
            match = _WORKQUEUE.match(text)
            if match is not None and body.work is None and not self.owner.startswith("cpu"):
                body.work = Frame(match["work"], module=match["module"])
        elif "Kernel panic" in text:
            match = _PANIC.search(text)
            if match is not None:
                body.panic = body.panic or match["message"]
                self._close()
        elif " at: " in text or " at:" in text:
            match = _AT.match(text)
            frame = parse_frame(match["rest"]) if match else None
            if frame is not None:
                body.held.append(frame)
        elif self.code.feed(text):
            pass
        else:
            match = _LINK.match(text) if text.startswith(_LINK_STARTS) else None
            if match is not None:
                body.link = body.link or parse_frame(match["rest"])
            elif not self.user_pc:
                read_registers(text, body.registers)

    def _about_task(self, text: str) -> bool:
        body = self.body
        match = None
        if "CPU: " in text or "Pid: " in text:
            match = _CPU.search(text) or _PID.search(text) or _CPU_CUT.search(text)
        if match is not None:
            if self.trace is not None and self.trace.frames:
                self._close()  # "CPU: .." begins the next dump
            groups = match.groupdict()
            if self.owner and not self.owner.startswith("task"):
                return True
            if body.task is None:
                body.task = TaskRef(int(match["pid"]), match["comm"].strip())
                body.cpu = int(groups["cpu"]) if groups.get("cpu") else body.cpu
            if body.release is None and groups.get("release"):
                body.release = groups["release"]
                if groups.get("taint"):
                    body.taint = groups["taint"].replace(" ", "").replace("-", "")
            return True
        match = _PROCESS.match(text) if text.startswith("Process ") else None
        if match is None and text.startswith("note: "):
            match = _EXITED.match(text)  # the only name of a task whose report lost its head
        if match is not None and body.task is None:
            body.task = TaskRef(int(match["pid"]), match["comm"].strip())
            return True
        return False

    def _about_kernel(self, text: str) -> bool:
        """Release and taint on a line of their own."""
        match = _TAINT_LINE.match(text) if "ainted" in text else None
        if match is None:
            return False
        release = match["first"] or (match["release"] or "").partition(" ")[0]
        if self.body.release is None and release:
            self.body.release = release
            if match["taint"]:
                self.body.taint = match["taint"].replace(" ", "").replace("-", "")
        return True

    def _module_line(self, text: str) -> bool:
        words, names, foreign = _modules_of(text)
        if len(names) != words or (words == 1 and self.modules and ":" in text):
            return False
        if self.modules and words and all(map(_CODE_WORD.match, _without_crc(text))):
            return False
        self.modules.extend(names[:2000])
        self.body.tainting |= foreign
        return bool(words) or not text.strip()

    def _arch(self, records: Sequence[Record]) -> str | None:
        """Of the first line that tells it."""
        text = "\n".join(record.text for record in records)
        found: str | None = None
        for arch, words, pattern in _ARCH_MARKS:
            if any(word in text for word in words):
                match = pattern.search(text)
                if match is not None:
                    found = arch
                    text = text[: text.rfind("\n", 0, match.start()) + 1]
        return found
