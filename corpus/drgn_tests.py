"""Run drgn's own tests of a kernel on our program, which has no debug information.

    python -m corpus.drgn_tests                        # all of them on 6.12: 20 minutes and more
    python -m corpus.drgn_tests helpers.test_mm  # some of them

The tests are those of drgn's source package on PyPI, in the version that is installed.
They run inside a guest, on its /proc/kcore; only the making of their Program is ours
(``corpus/programs/drgn_tests_guest.py``). The test module that they come with is built and
loaded, and its DWARF lies beside it, as a user's would who builds a module.

The guest has what the tests look for: btrfs-progs (of the host), bridges and PCIe devices, an
interrupt that two devices share, a neighbour, schedulers. Of 908 tests of drgn 0.3.0 899 pass.
These can't without debug information of the kernel proper: two that load all there is
(``mod -S``), one that wants vmlinux's file, one that shows an inlined frame. Five are skipped for
what Debian's 6.12 has not: CONFIG_IKCONFIG, MEM_PREPARE_ONLINE, radix trees as they were in 4.19.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from corpus import initrd, live, module
from corpus.capture import one_at_a_time
from corpus.guest import Guest, GuestError
from corpus.kernels import KERNELS, FetchError, Tree, busybox, default_cache, fetch
from corpus.scenarios import load

RUNNER = Path(__file__).parent / "programs" / "drgn_tests_guest.py"
MODULES = ("qemu_fw_cfg", "virtio_pci", "virtio_blk", "ext4", "btrfs", "loop", "configs", "bridge",
           "mq-deadline", "binfmt_misc", "dummy", "sch_prio", "sch_sfq", "sch_tbf",
           "sch_ingress")  # fmt: skip
PROGRAMS = ("mkfs.btrfs", "btrfs")
MACHINE = (
    "-machine", "q35", "-device", "pcie-root-port,id=root0,chassis=1,slot=1",
    "-device", "pci-bridge,id=bridge0,chassis_nr=2,bus=pcie.0",
)  # fmt: skip
DISKS = (
    # Without MSI vectors, four slots apart: both have the same line, and so one interrupt.
    "virtio-blk-pci,drive=disk,addr=0x8,vectors=0",
    "virtio-blk-pci,drive=spare,addr=0xc,vectors=0",
)
MEMORY_MIB = 1024
SPARE_BYTES = 1 << 30
SECONDS = 2 * 3600
_RESULT = re.compile(r"^drgn-test: (ok|FAIL|ERROR|skip) (\S+)(?: (.*))?$", re.MULTILINE)

SCRIPT = """
mount -t ext4 -o ro /dev/vda /mnt
mount -t tmpfs tmpfs /mnt/bin
cp /bin/busybox /mnt/bin
chroot /mnt /bin/busybox --install -s /bin
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
echo +cpu > /sys/fs/cgroup/cgroup.subtree_control
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
mount -t tmpfs tmpfs /mnt/var
mkdir /mnt/var/run
ip link set lo up
ip link set dummy0 up
ip link set dummy0 arp on
ip addr add 192.0.2.33/24 dev dummy0
arp -i dummy0 -s 192.0.2.34 02:00:00:00:00:34
cat > /mnt/bin/run-tests << 'END'
export DRGN_TEST_KMOD=/{site}/drgn_test.ko.debug DRGN_RUN_LINUX_KERNEL_TESTS=1
export DRGN_TEST_DISK=/dev/vdb
export PYTHONPATH=/{site} PYTHONHOME={home} PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
{python} /{site}/{runner} {names} > /dev/report 2> /dev/console
echo "pm: status $?" > /dev/report
sleep 60
END
cat > /bin/next << 'END'
for folder in proc sys dev tmp; do mount -o move /$folder /mnt/$folder; done
cd /mnt
mount -o move . /
exec chroot . /bin/sh /bin/run-tests
END
exit 44
"""
"""The disk becomes the root of the tree, as it is on a machine: in a chroot below the first RAM
disk every file would have another name than in the kernel. Process 1 does it, because it shares
its root with ``init_task``, which is where drgn looks files up from."""


def sources(cache: Path) -> Path:
    """drgn's source package of the installed version, unpacked."""
    name = f"drgn-{version('drgn')}"
    root = cache / "drgn" / name
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        wanted = ["--no-deps", "--no-binary", "drgn", f"drgn=={version('drgn')}"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *wanted]
        done = subprocess.run(
            [*command, "--no-build-isolation", "-d", str(root.parent)],
            capture_output=True,
            text=True,
        )
        archive = root.parent / f"{name}.tar.gz"
        if not archive.exists():
            raise FetchError(f"drgn's sources can't be had from PyPI: {done.stderr.strip()}")
        with tarfile.open(archive) as packed:
            packed.extractall(root.parent, filter="data")
    return root


def helpers(cache: Path) -> Path:
    """What the tests import besides, in a folder: pyroute2 makes sockets of many kinds."""
    target = cache / "drgn" / "packages"
    if not target.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        done = subprocess.run(
            [*command, "--target", str(target), "pyroute2"], capture_output=True, text=True
        )
        if done.returncode:
            raise FetchError(f"pyroute2 can't be had from PyPI: {done.stderr.strip()}")
    return target


def programs() -> list[Path]:
    """Programs of this host that tests call, as far as they are installed."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = {name: shutil.which(name, path=search) for name in PROGRAMS}
    for name, path in found.items():
        if path is None:
            print(f"drgn-tests: {name} is missing, some tests will fail", file=sys.stderr)
    return [Path(path) for path in found.values() if path]


def run(tree: Tree, cache: Path, names: Sequence[str], seconds: float) -> str:
    """Run the tests in a guest; give what it reported until it ended or time was up."""
    root = sources(cache)
    target = tree.root / "drgn_test.ko"
    if not target.exists():
        module.make(tree, root / "tests" / "linux_kernel" / "kmod", "drgn_test", target)
    with tempfile.TemporaryDirectory(prefix="pm-drgn-") as folder:
        scratch = Path(folder)
        disk = scratch / "disk"
        more = (root / "tests", root / "tools", root / "util.py", RUNNER,
                helpers(cache) / "pyroute2", target.with_suffix(".ko.debug"))  # fmt: skip
        names_of_hosts = scratch / "root" / "etc" / "hosts"
        names_of_hosts.parent.mkdir(parents=True)
        names_of_hosts.write_text("127.0.0.1 localhost\n")
        live.python_disk(disk, scratch, *more, programs=programs())
        spare = scratch / "spare"  # the tests make it swap and file systems
        with spare.open("wb") as file:
            file.truncate(SPARE_BYTES)
        modules = [*tree.with_dependencies(MODULES), target]
        script = SCRIPT.format(
            site=live.SITE,
            home=sys.base_prefix,
            python=os.path.realpath(sys.executable),
            runner=RUNNER.name,
            names=" ".join(names),
        )
        healthy = load()["healthy-idle"]
        image = scratch / "initrd"
        image.write_bytes(
            initrd.base(busybox(tree.kernel, cache), modules).bytes()
            + initrd.scenario(replace(healthy, trigger=script).script)
        )
        report = scratch / "report.log"
        with one_at_a_time(cache), Guest(
            kernel=tree.image,
            initrd=image,
            arguments=healthy.arguments,
            console=scratch / "console.log",
            report=report,
            memory_mib=MEMORY_MIB,
            arch=tree.kernel.arch,
            devices=(*MACHINE,
                     "-drive", f"file={disk},if=none,id=disk,format=raw,readonly=on",
                     "-drive", f"file={spare},if=none,id=spare,format=raw",
                     *(word for disk in DISKS for word in ("-device", disk))),
        ) as guest:  # fmt: skip
            try:
                guest.wait_for(r"pm: status \d+", seconds)
            except GuestError as error:
                print(f"drgn-tests: {error}", file=sys.stderr)
        console = (scratch / "console.log").read_text(errors="replace")
        text = report.read_text(errors="replace").replace("\r", "")
    return text if "drgn-test: " in text else f"{text}\n{console[-4000:]}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m corpus.drgn_tests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kernel", choices=[*KERNELS], default="6.12")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="give up after so long")
    parser.add_argument("--output", type=Path, help="keep the guest's report in this file")
    parser.add_argument("names", nargs="*", help="modules below tests.linux_kernel; all if none")
    options = parser.parse_args(argv)
    cache = default_cache().expanduser().resolve()
    try:
        tree = fetch(KERNELS[options.kernel], cache)
        report = run(tree, cache, options.names, options.seconds)
    except (FetchError, GuestError, subprocess.SubprocessError) as error:
        print(f"drgn-tests: {error}", file=sys.stderr)
        return 1
    if options.output:
        options.output.write_text(report)
    results = _RESULT.findall(report)
    if not results:
        print(f"drgn-tests: no test ran:\n{report}", file=sys.stderr)
        return 1
    for outcome, name, why in results:
        if outcome in ("FAIL", "ERROR"):
            print(f"{outcome} {name}: {why}")
    counts = Counter(outcome for outcome, _name, _why in results)
    done = "" if "pm: status" in report else "; time was up"
    print(f"{options.kernel}: {counts['ok']} pass, {counts['FAIL'] + counts['ERROR']} fail, "
          f"{counts['skip']} were skipped{done}")  # fmt: skip
    return 1 if counts["FAIL"] or counts["ERROR"] or done else 0


if __name__ == "__main__":
    sys.exit(main())
