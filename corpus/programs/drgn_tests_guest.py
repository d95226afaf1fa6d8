"""Inside a guest: drgn's tests of a running kernel, on a Program that postmortem made.

Each test is told on a line of its own as soon as it is over.
"""

from __future__ import annotations

import os
import sys
import unittest
from pathlib import Path

import drgn
from tests.linux_kernel import test_debug_info, test_stack_trace

from postmortem.dump.completing import complete_declarations
from postmortem.dump.core import open_core
from postmortem.dump.selfdescribe import describe
from tests import linux_kernel

PACKAGE = "tests.linux_kernel"


class Result(unittest.TestResult):
    """Tells outcomes as they come."""

    def _tell(self, outcome: str, test: unittest.TestCase, why: str = "") -> None:
        print(f"drgn-test: {outcome} {test.id().removeprefix(PACKAGE + '.')} {why}".rstrip())
        sys.stdout.flush()

    def addSuccess(self, test):
        self._tell("ok", test)

    def addFailure(self, test, err):
        self._tell("FAIL", test, _one_line(err))

    def addError(self, test, err):
        self._tell("ERROR", test, _one_line(err))

    def addSkip(self, test, reason):
        self._tell("skip", test, reason)

    def addExpectedFailure(self, test, err):
        self._tell("ok", test)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._tell("FAIL", test, _one_line(err))


def _one_line(err) -> str:
    return f"{err[0].__name__}: {' '.join(str(err[1]).split())[:300]}"


def program() -> drgn.Program:
    """The running kernel without debug information, and the DWARF of the test module."""
    core = open_core("/proc/kcore")
    attach(core.program, dict(core.info.vmcoreinfo))
    load_test_module(core.program)
    return core.program


def attach(prog: drgn.Program, note: dict[str, str]) -> None:
    described = describe(prog, note)
    # Since v6.2 (3bc753c06dd0) a plain char is unsigned, unless drgn was asked too early.
    char = "signed" if prog.type("char").is_signed else "unsigned"
    print(f"drgn-test-program: {described}, char is {char}")
    complete_declarations(prog)  # as the shell does


def load_test_module(prog: drgn.Program) -> None:
    file = os.environ.get("DRGN_TEST_KMOD")
    for module in prog.modules():
        if file and module.name == "drgn_test":
            module.try_file(file, force=True)


def own_program() -> drgn.Program:
    """``Program()`` where a test makes one itself: the kernel's debug information is its own.

    It comes when drgn looks for that of the kernel, so a test that wants none gets none.
    """
    prog = drgn.Program()
    prog.register_debug_info_finder("its own", _describe_kernel, enable_index=0)
    return prog


def _describe_kernel(modules: list[drgn.Module]) -> None:
    for module in modules:
        if isinstance(module, drgn.MainModule) and module.wants_debug_file():
            # By another program: to read VMCOREINFO here would fix what a ``char`` is.
            attach(module.prog, dict(open_core("/proc/kcore").info.vmcoreinfo))
            module.debug_file_status = drgn.ModuleFileStatus.DONT_NEED
        elif module.name != "drgn_test" and module.wants_debug_file():
            module.debug_file_status = drgn.ModuleFileStatus.DONT_NEED


def be_patient() -> None:
    """Python under emulation is twenty times slower than pyroute2 expects of a child."""
    try:
        from pyroute2 import config
    except ImportError:
        return
    config.default_create_socket_timeout = config.default_communicate_timeout = 120


def names() -> list[str]:
    """Modules with tests, those for a crash kernel's /proc/vmcore left out."""
    root = Path(linux_kernel.__file__).parent
    files = (path.relative_to(root) for path in sorted(root.rglob("test_*.py")))
    return [".".join(file.with_suffix("").parts) for file in files if file.parts[0] != "vmcore"]


def main() -> None:
    case = linux_kernel.LinuxKernelTestCase
    case.prog = program()
    modules = Path("/proc/modules").read_text().splitlines()
    test_debug_info.Program = test_stack_trace.Program = own_program
    be_patient()
    case.loaded_modules = {line.split()[0] for line in modules}
    for name in sys.argv[1:] or names():
        suite = unittest.defaultTestLoader.loadTestsFromName(f"{PACKAGE}.{name}")
        suite.run(Result())


if __name__ == "__main__":
    main()
