"""One QEMU guest: start it, read its console, talk QMP to it, take its memory.

The guests run under TCG, so that the corpus can be captured on any machine: no
/dev/kvm, no root.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

POLL_SECONDS = 0.05


class GuestError(Exception):
    """The guest did not do what the scenario expects of it."""


@dataclass(frozen=True)
class Machine:
    """The hardware of a guest, in QEMU's words."""

    qemu: str
    options: tuple[str, ...]
    report: tuple[str, ...]
    """Puts the chardev "report" on a second serial line."""
    console: str
    """Kernel argument that puts the kernel's messages on the serial line."""


MACHINES = {
    "x86_64": Machine(
        "qemu-system-x86_64",
        ("-accel", "tcg,thread=multi", "-cpu", "max"),
        ("-serial", "chardev:report"),
        "console=ttyS0",
    ),
    "aarch64": Machine(
        "qemu-system-aarch64",
        ("-accel", "tcg,thread=multi", "-machine", "virt", "-cpu", "cortex-a72"),
        # This board has one serial line only; a PCI card brings ttyS0 and ttyS1.
        ("-chardev", "null,id=unused", "-device", "pci-serial-2x,chardev1=unused,chardev2=report"),
        "console=ttyAMA0",
    ),
}


@dataclass
class Guest:
    """A running guest; a context manager that never leaves a QEMU behind."""

    kernel: Path
    initrd: Path | None
    arguments: str
    console: Path
    """File that receives everything the guest writes to its serial line."""
    report: Path
    """File for the second serial line, on which rootfs/init reports."""
    memory_mib: int = 256
    cpus: int = 2
    numa_nodes: int = 1
    """Between which CPUs and memory are divided."""
    arch: str = "x86_64"
    vmcoreinfo: bool = True
    """Offer the fw_cfg file into which a guest puts its VMCOREINFO note."""
    devices: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _qmp: Qmp | None = field(default=None, init=False)
    _scratch: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False)

    def __enter__(self) -> Guest:
        machine = MACHINES[self.arch]
        # The path of a UNIX socket must be short, so it gets a folder of its own.
        self._scratch = tempfile.TemporaryDirectory(prefix="pm-")
        qmp = Path(self._scratch.name) / "qmp"
        for file in (self.console, self.report):
            file.write_bytes(b"")
        command = [
            machine.qemu, *machine.options,
            "-smp", self._processors(), "-m", f"{self.memory_mib}M", *self._numa(),
            "-nodefaults", "-display", "none", "-no-reboot",
            "-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console",
            "-chardev", f"file,id=report,path={self.report}", *machine.report,
            "-qmp", f"unix:{qmp},server=on,wait=off",
            "-kernel", str(self.kernel),
            *(("-initrd", str(self.initrd)) if self.initrd else ()),
            "-append", f"{machine.console} {self.arguments}",
            *(("-device", "vmcoreinfo") if self.vmcoreinfo else ()),
            *self.devices,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            self._qmp = Qmp(qmp, self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _processors(self) -> str:
        """A socket a node: the kernel warns of CPUs that share a cache across nodes."""
        if self.numa_nodes == 1:
            return str(self.cpus)
        cores = self.cpus // self.numa_nodes
        return f"{self.cpus},sockets={self.numa_nodes},cores={cores},threads=1"

    def _numa(self) -> list[str]:
        options: list[str] = []
        if self.numa_nodes > 1:
            cpus, mib = self.cpus // self.numa_nodes, self.memory_mib // self.numa_nodes
            for node in range(self.numa_nodes):
                options += ["-object", f"memory-backend-ram,id=node{node},size={mib}M"]
                last = (node + 1) * cpus - 1
                options += ["-numa", f"node,memdev=node{node},cpus={node * cpus}-{last}"]
        return options

    def _stop(self) -> None:
        if self._qmp is not None:
            self._qmp.close()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        if self._scratch is not None:
            self._scratch.cleanup()

    @property
    def qmp(self) -> Qmp:
        assert self._qmp is not None, "the guest is not running"
        return self._qmp

    def text(self) -> str:
        """Everything that the guest has written so far."""
        return "\n".join(file.read_text(errors="replace") for file in (self.console, self.report))

    def wait_for(self, pattern: str, seconds: float) -> str:
        """Wait until the guest writes *pattern*; give the text that matched."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + seconds
        seen = -1
        while True:
            ended = self._process is None or self._process.poll() is not None
            size = sum(file.stat().st_size for file in (self.console, self.report))
            if size != seen:
                seen = size
                found = expression.search(self.text())
                if found:
                    return found[0]
            if ended:
                raise GuestError(f"the guest ended before {pattern!r}")
            if time.monotonic() > deadline:
                raise GuestError(f"no {pattern!r} from the guest within {seconds:g} s")
            time.sleep(POLL_SECONDS)

    def wait_for_end(self, seconds: float) -> None:
        """Wait until the guest powers itself off."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise GuestError(f"the guest still runs after {seconds:g} s") from None

    def dump_formats(self) -> set[str]:
        """What this build of QEMU can write: "elf", "kdump-zlib", ..."""
        return set(self.qmp.run("query-dump-guest-memory-capability")["formats"])

    def dump(self, target: Path, format: str = "elf") -> None:
        """Write the whole memory of the stopped guest to *target*."""
        self.qmp.run("stop")
        arguments: dict[str, Any] = {"paging": False, "protocol": f"file:{target}"}
        if format != "elf":
            arguments["format"] = format
        self.qmp.run("dump-guest-memory", **arguments)


class Qmp:
    """The QEMU machine protocol: one JSON document a line, each way."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(300)
        deadline = time.monotonic() + seconds
        while True:
            with suppress(OSError):
                self._socket.connect(str(path))
                break
            if process.poll() is not None:
                assert process.stderr is not None
                raise GuestError(f"QEMU: {process.stderr.read().decode().strip()}")
            if time.monotonic() > deadline:
                raise GuestError("QEMU opened no QMP socket")
            time.sleep(POLL_SECONDS)
        self._lines = self._socket.makefile("rb")
        self._lines.readline()  # the greeting
        self.run("qmp_capabilities")

    def run(self, command: str, **arguments: Any) -> Any:
        """Execute *command*, give what it returns."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._socket.sendall(json.dumps(request).encode())
        while True:
            line = self._lines.readline()
            if not line:
                raise GuestError(f"QEMU ended during {command}")
            answer = json.loads(line)
            if "error" in answer:
                raise GuestError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            # anything else is an asynchronous event

    def close(self) -> None:
        self._socket.close()
