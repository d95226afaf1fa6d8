"""An analysis outlives what would end its process.

A file that shrinks under a mapping (SIGBUS), a defect of a C library (SIGSEGV), the kernel's
out-of-memory killer, a loop inside of C: Python can catch none of them. So the work is done
by a fork, made before anything is open, and this process only waits. If the fork dies,
another one does the work again and leaves out the step in which that happened; where that
does not help, the user gets one sentence.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from postmortem.cli.output import complain, discard
from postmortem.errors import EXIT_UNREADABLE
from postmortem.inputs.pipe import is_pipe
from postmortem.steps import Page, State, supervised

MAX_ATTEMPTS = 4
STEP_LIMITS = 3
"""A step is ended at its limit within Python; inside of C, which knows none, at this multiple."""
OPENING_LIMITS = 12
"""The same for what is no step: opening the dump, DWARF of a whole kernel."""
BLOCKED_SECONDS = 120
"""Without a sign of life and without computing: a disk or a server that does not answer."""
LEAVE_SECONDS = 5
"""After which a process that was told to end is killed."""

_TICK_SECONDS = 1.0
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COPY = "copy the dump again from its origin"
_REPORT = "please report it"


def supervise(files: Sequence[str], output: str | None = None) -> int | None:
    """Fork. ``None`` in the process that does the work; in the other one its exit status.

    Where a fork is not possible or not wanted (``POSTMORTEM_DEBUG=1``) there is one process.

    :param output: What the work writes to: nothing half written is left of it.
    """
    if not _can_fork():
        return None
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # from whoever started us
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # nohup and a shell's background ignore some of them; then the fork does so, too.
    endings = {number for number in _ENDINGS if signal.getsignal(number) is not signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *endings})
    try:
        return _attempts(files, output, {signal.SIGCHLD, *endings})
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _can_fork() -> bool:
    """Whether a fork is all of this process, and prints where it does."""
    if os.environ.get("POSTMORTEM_DEBUG") == "1" or threading.active_count() > 1:
        return False
    try:
        return (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
    except (OSError, ValueError, AttributeError):
        return False


def _attempts(files: Sequence[str], output: str | None, signals: set[signal.Signals]) -> int | None:
    read_once = any(name == "-" or is_pipe(Path(name)) for name in files)
    left_out: dict[str, str] = {}
    notes: list[tuple[str, str]] = []
    sizes = _sizes(files)
    while True:
        child = _Child.fork(signals)
        if child is None or child.pid == 0:
            if child is not None:
                supervised(child.page, left_out, notes)
            return None
        status = child.wait()
        if status is not None:
            return status
        _clear_line()
        before, sizes = sizes, _sizes(files)
        once_more = not (child.state.printing or child.blocked or read_once)
        if not once_more or len(left_out) + len(notes) == MAX_ATTEMPTS - 1:
            return _given_up(files, output, child)
        if sizes != before:
            notes.append(("input", f"it was read again, for it had {before} bytes, then {sizes}"))
        elif child.step is not None:
            left_out[child.step] = f"left out: {child.why}"
        else:
            return _given_up(files, output, child)


def _given_up(files: Sequence[str], output: str | None, child: _Child) -> int:
    if output is not None:
        discard(output, child.pid)
    where = f' at "{child.state.names[-1][1:]}"' if child.state.names else ""
    complain(f"{' '.join(files)} can't be analysed: {child.why}{where}; {child.advice}")
    return EXIT_UNREADABLE


def _sizes(files: Sequence[str]) -> str:
    """The sizes of the files, for comparison and for a person."""
    found = []
    for name in files:
        with suppress(OSError, ValueError):
            found.append(str(Path(name).stat().st_size))
    return "+".join(found)


def _clear_line() -> None:
    """Of the progress that the dead process was showing."""
    with suppress(OSError):
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class _Child:
    """The process that does the work, as the other one sees it."""

    def __init__(self, pid: int, page: Page, signals: set[signal.Signals], alive: int) -> None:
        self.pid = pid
        self.page = page
        self.state = State(0)
        self.why = self.advice = ""
        """Why it died; what a user can do."""
        self.blocked = False
        self._signals = signals
        self._alive = alive
        self._told: int | None = None
        self._leave_at = 0.0
        self._stall = _Stall(pid)

    @staticmethod
    def fork(signals: set[signal.Signals]) -> _Child | None:
        """In the new process its ``pid`` is 0; ``None`` if there can be no other one."""
        sys.stdout.flush()
        sys.stderr.flush()
        page, parent = Page(), os.getpid()
        read, write = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(read)
            os.close(write)
            return None
        if pid == 0:
            os.close(write)
            die_with(parent, read)
            return _Child(0, page, signals, read)
        os.close(read)
        return _Child(pid, page, signals, write)

    @property
    def step(self) -> str | None:
        """The innermost step under way that the rest can do without."""
        return next((name[1:] for name in reversed(self.state.names) if name[0] == "+"), None)

    def wait(self) -> int | None:
        """Its exit status; ``None`` if it did not leave by itself."""
        code = self._ended()
        while code is None:
            said = signal.sigtimedwait(self._signals, _TICK_SECONDS)
            code = self._ended()
            if code is not None:
                break
            if said is not None and said.si_signo != signal.SIGCHLD:
                self._end(said)
            if not self._goes_on():
                code = self._killed()
                break
        os.close(self._alive)
        self.state = self.page.get()
        if code is not None and code >= 0:
            return code
        if self._told is not None:
            return 128 + self._told
        if not self.why:
            self.why, self.advice = explained(-(code or signal.SIGKILL))
        return None

    def _ended(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def _end(self, said: signal.struct_siginfo) -> None:
        """Somebody wants us to end. A terminal has told both; a person or a program only us."""
        self._told = said.si_signo
        self._leave_at = time.monotonic() + LEAVE_SECONDS
        if said.si_code <= 0:
            os.kill(self.pid, said.si_signo)

    def _goes_on(self) -> bool:
        state = self.page.get()
        if state.printing:  # a reader, or a pager, may take for ever
            return True
        if self._told is not None:
            return time.monotonic() < self._leave_at
        self.why = self._stall.found(state) or ""
        self.blocked = self._stall.blocked
        self.advice = "copy the dump to a disk of this machine" if self.blocked else _REPORT
        return not self.why

    def _killed(self) -> int | None:
        """Its end; what waits for a disk inside the kernel can't be killed and is left behind."""
        os.kill(self.pid, signal.SIGKILL)
        for _ in range(20):
            code = self._ended()
            if code is not None:
                return code
            time.sleep(0.05)
        return None


class _Stall:
    """Whether a process still gets on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._beats = -1
        self._began = self._last = 0.0
        self._idle = 0
        self.blocked = False

    def found(self, state: State) -> str | None:
        """To be asked once in a while: why it can be given up.

        Counts how often it was asked, not what a clock says: we may have been stopped, too.
        """
        cpu = _cpu_seconds(self._pid)
        if state.beats != self._beats or not state.reading:
            self._beats, self._began, self._last, self._idle = state.beats, cpu, cpu, 0
            return None
        self._idle = self._idle + 1 if cpu < self._last + 0.02 else 0
        self._last = cpu
        in_step = any(name.startswith("+") for name in state.names)
        limit = state.seconds * (STEP_LIMITS if in_step else OPENING_LIMITS)
        if cpu - self._began > limit:
            return f"a library computed for {limit:.0f} s without an end"
        if self._idle * _TICK_SECONDS > BLOCKED_SECONDS:
            self.blocked = True
            return f"nothing moved for {BLOCKED_SECONDS} s"
        return None


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process, proc(5)'s stat; 0 if that can't be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def explained(number: int) -> tuple[str, str]:
    """What a signal that ended the process means, and what to do."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGBUS:
        return f"a part of the file could not be read any more ({name})", _COPY
    if number == signal.SIGKILL:
        return (
            f"its process was killed, as the kernel does when memory runs out ({name})",
            "give it more memory",
        )
    return f"a library crashed ({name})", _REPORT


def die_with(parent: int, alive: int) -> None:
    """Let this process be killed when the other one, which holds the pipe's end, is gone.

    As prctl(PR_SET_PDEATHSIG) would do, which Python can reach only through ctypes.
    """
    fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)
    if os.getppid() != parent:
        os._exit(1)
