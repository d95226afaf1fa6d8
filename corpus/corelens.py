"""Run the modules of corelens (drgn-tools) on a dump that only describes itself.

    python -m corpus.corelens --tools FOLDER               # boots a guest, which is dumped
    python -m corpus.corelens --tools FOLDER --keep vmcore # and keeps its dump
    python -m corpus.corelens --tools FOLDER --dump vmcore # no guest: this dump

FOLDER is a checkout of drgn-tools, which is not on PyPI; nothing is fetched. The guest has what
the modules look at: SCSI, NVMe, ext4, device mapper, iSCSI, NFS, RDS, KVM, an exported block
device. A module works if it ends by itself and raises nothing. Some need an argument; theirs
are in ``ARGUMENTS``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import drgn

import postmortem
from corpus import initrd
from corpus.capture import one_at_a_time
from corpus.guest import Guest, GuestError
from corpus.kernels import KERNELS, FetchError, Tree, busybox, default_cache, fetch
from corpus.scenarios import load

MODULES = (
    "qemu_fw_cfg", "virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "virtio_balloon",
    "sd_mod", "scsi_debug", "nvme", "ext4", "dm-mod", "dm-multipath", "dm-round-robin",
    "md-mod", "raid0", "raid1", "libiscsi", "scsi_transport_iscsi", "iscsi_tcp",
    "target_core_mod", "target_core_file", "target_core_iblock", "iscsi_target_mod",
    "nfs", "nfsv3", "nfsv4", "nfsd", "rds", "rds_tcp", "rds_rdma", "kvm", "kvm-amd",
    "vhost_net", "tun", "loop",
)  # fmt: skip
ARGUMENTS = {"ls": ["/"], "slabdump": ["filp"], "pstack-dump": ["{folder}/stacks.gz"]}
"""Of modules that do nothing without."""
MEMORY_MIB = 384
DISK_MIB = 32
BOOT_SECONDS = 240
MODULE_SECONDS = 120
SCRIPT = """
mount -t ext4 /dev/sda /mnt || mount -t ext4 /dev/sdb /mnt
(cd /mnt; while :; do mkdir -p a/b; echo 1 > a/b/c; rm -r a; done) > /dev/null 2>&1 &
mkdir -p /dev/mapper
dm-device create pm_vault /dev/nvme0n1
mount -t nfsd nfsd /proc/fs/nfsd
mount -t configfs configfs /sys/kernel/config
mkdir -p /sys/kernel/config/target/core/iblock_0/disk
mkdir -p /sys/kernel/config/target/iscsi/iqn.2026-11.test:disk/tpgt_1
ip link set lo up
sleep 2
echo 'pm: ready' > /dev/report
sleep 600
"""


@dataclass(frozen=True)
class Outcome:
    name: str
    result: str
    """``ok``, ``FAIL``, or ``skip``: it looks at kernel modules that are not loaded."""
    why: str


def capture(tree: Tree, cache: Path, target: Path) -> None:
    """Boot the guest and dump its memory while it runs."""
    with tempfile.TemporaryDirectory(prefix="pm-corelens-") as folder:
        scratch = Path(folder)
        disks = [scratch / "scsi", scratch / "nvme"]
        for disk in disks:
            subprocess.run(["mke2fs", "-q", "-t", "ext4", str(disk), f"{DISK_MIB}M"], check=True)
        healthy = load()["healthy-idle"]
        image = scratch / "initrd"
        image.write_bytes(
            initrd.base(busybox(tree.kernel, cache), tree.with_dependencies(MODULES)).bytes()
            + initrd.scenario(replace(healthy, trigger=SCRIPT).script)
            + initrd.programs(["dm-device"])
        )
        with one_at_a_time(cache), Guest(
            kernel=tree.image,
            initrd=image,
            arguments=healthy.arguments,
            console=scratch / "console.log",
            report=scratch / "report.log",
            memory_mib=MEMORY_MIB,
            arch=tree.kernel.arch,
            devices=("-device", "virtio-scsi-pci,id=scsi0",
                     "-drive", f"file={disks[0]},if=none,id=sd,format=raw",
                     "-device", "scsi-hd,drive=sd,bus=scsi0.0",
                     "-drive", f"file={disks[1]},if=none,id=nv,format=raw",
                     "-device", "nvme,serial=pm,drive=nv",
                     "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"),
        ) as guest:  # fmt: skip
            guest.wait_for("pm: ready", BOOT_SECONDS)
            guest.dump(target)


def outcomes(prog: drgn.Program, loaded: set[str]) -> Iterator[Outcome]:
    """Run every module of the ``drgn_tools`` that can be imported."""
    from drgn_tools import corelens  # type: ignore[import-not-found]

    drgn.set_default_prog(prog)
    prog.cache["using_ctf"] = False  # what corelens' own start would set
    for name, module in sorted(corelens.all_corelens_modules().items()):
        # Two of them say it in the singular, which corelens itself overlooks.
        needed = module.skip_unless_have_kmods or getattr(module, "skip_unless_have_kmod", None)
        needed = [needed] if isinstance(needed, str) else needed or []
        missing = [kmod for kmod in needed if kmod not in loaded and not _built_in(prog, kmod)]
        if missing:
            yield Outcome(name, "skip", f"not loaded: {', '.join(missing)}")
        else:
            yield _run(prog, name, module)


def _built_in(prog: drgn.Program, kmod: str) -> bool:
    """Whether a driver that may be a module is part of the kernel: it has its init function."""
    return f"{kmod}_init" in prog or f"init_{kmod}" in prog or f"{kmod}_init_fs" in prog


def _run(prog: drgn.Program, name: str, module: Any) -> Outcome:
    parser = argparse.ArgumentParser(name)
    module.add_args(parser)
    out = io.TextIOWrapper(io.BytesIO(), write_through=True)
    with tempfile.TemporaryDirectory() as folder, _limit(MODULE_SECONDS):
        words = ARGUMENTS.get(name) or (module.default_args or [[]])[0]
        try:
            with contextlib.redirect_stdout(out):
                module.run(prog, parser.parse_args([word.format(folder=folder) for word in words]))
        except (Exception, SystemExit) as error:  # the code of others, whatever it raises
            return Outcome(name, "FAIL", f"{type(error).__name__}: {str(error)[:200]}")
    return Outcome(name, "ok", f"{out.buffer.tell()} bytes")


@contextlib.contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done in {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m corpus.corelens",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tools", type=Path, required=True, help="checkout of drgn-tools")
    parser.add_argument("--kernel", choices=[*KERNELS], default="6.12")
    parser.add_argument("--dump", type=Path, help="take this one instead of a guest's")
    parser.add_argument("--keep", type=Path, help="where to keep the guest's dump")
    options = parser.parse_args(argv)
    sys.path.insert(0, str(options.tools))
    with tempfile.TemporaryDirectory(prefix="pm-corelens-") as folder:
        dump = options.dump or options.keep or Path(folder) / "vmcore"
        if options.dump is None:
            cache = default_cache().expanduser().resolve()
            try:
                capture(fetch(KERNELS[options.kernel], cache), cache, dump)
            except (FetchError, GuestError, subprocess.SubprocessError) as error:
                print(f"corelens: {error}", file=sys.stderr)
                return 1
        with postmortem.open(dump) as case:
            loaded = {module.name for module in case.system.modules}
            counts: Counter[str] = Counter()
            for outcome in outcomes(case.prog, loaded):
                counts[outcome.result] += 1
                print(f"{outcome.result:4} {outcome.name}: {outcome.why}", flush=True)
    print(f"{counts['ok']} work, {counts['FAIL']} do not, {counts['skip']} were skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
