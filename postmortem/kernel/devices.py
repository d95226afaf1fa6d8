"""Block devices that tasks wait for: what is in flight, since when, and what is suspended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage, integer, readable
from postmortem.dump.lists import list_entries
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.tasks import Task, all_tasks

_MAX_DISKS = 1 << 12
_MAX_REQUESTS = 1 << 14
_MAX_QUEUES = 1 << 13
"""One a CPU at most (CONFIG_NR_CPUS)."""
_MAX_SHIFT = 6
"""``sbitmap.shift``: a word has 64 bits."""
_PARTITION = 0xFF
"""BD_PARTNO: the low byte of ``__bd_flags`` (include/linux/blk_types.h)."""
_SECTOR = 512
_OPERATION = 0xFF
"""REQ_OP_MASK: the low bits of ``cmd_flags`` (include/linux/blk_types.h)."""
_OPERATIONS = {0: "read", 1: "write", 2: "flush", 3: "discard", 5: "secure erase", 9: "zero-out"}
_SUSPENDED = 1 << 0 | 1 << 1
"""DMF_BLOCK_IO_FOR_SUSPEND and DMF_SUSPENDED (drivers/md/dm-core.h)."""


@dataclass(frozen=True)
class InFlight:
    """A request that a driver has and has not finished."""

    address: int
    """``struct request *``"""
    operation: str
    size: int
    """Bytes."""
    sector: int
    seconds: float | None
    """Since it was made."""

    def __str__(self) -> str:
        age = f" for {self.seconds:.1f} s" if self.seconds is not None else ""
        return f"{self.operation} of {self.size} bytes at sector {self.sector}{age}"


@dataclass(frozen=True)
class Device:
    """A whole disk."""

    name: str
    """As in /sys/block: ``vda``, ``dm-0``."""
    address: int
    """``struct gendisk *``"""
    mapped_name: str = ""
    """What device mapper calls it."""
    suspended: bool = False
    """Device mapper holds back all I/O."""
    requests: tuple[InFlight, ...] = ()
    """The oldest first."""

    @property
    def label(self) -> str:
        """``device dm-0 (pm_vault)``"""
        return f"device {self.name}" + (f" ({self.mapped_name})" if self.mapped_name else "")

    @property
    def state(self) -> str:
        """In words, what holds it up."""
        parts = []
        if self.suspended:
            parts.append("suspended: I/O is held back until it is resumed")
        if self.requests:
            count = len(self.requests)
            number = "one request" if count == 1 else f"{count} requests"
            oldest = "" if count == 1 else ", the oldest"
            parts.append(f"{number} in flight{oldest}: {self.requests[0]}")
        return "; ".join(parts)

    @property
    def oldest(self) -> float:
        """Age of the oldest request, in seconds."""
        return max((item.seconds or 0.0 for item in self.requests), default=0.0)


@fact
def devices(prog: drgn.Program, now: float | None) -> dict[str, Device]:
    """Every disk by its name.

    :param now: Seconds since boot.
    """
    found: dict[str, Device] = {}
    try:
        for disk in _disks(prog):
            device = _device(prog, disk, now)
            found[device.name] = device
    except damage():
        pass
    return found


def _disks(prog: drgn.Program) -> Iterator[drgn.Object]:
    """``struct gendisk *`` of each whole disk."""
    for device in islice(_class_devices(prog, "block_class"), _MAX_DISKS):
        if prog.type("struct block_device").has_member("bd_device"):
            part = drgn.container_of(device, "struct block_device", "bd_device")
            # A byte of __bd_flags since v6.10 (1116b9fa15c0).
            if not _part_number(part):
                yield part.bd_disk.read_()
        else:  # before v5.11 (0d02129e76ed)
            part = drgn.container_of(device, "struct hd_struct", "__dev")
            if not part.partno:
                yield drgn.container_of(part, "struct gendisk", "part0")


def _part_number(device: drgn.Object) -> int:
    flags = readable(lambda: integer(device.member_("__bd_flags")) & _PARTITION)
    return int(device.bd_partno.value_()) if flags is None else flags


def _class_devices(prog: drgn.Program, name: str) -> Iterator[drgn.Object]:
    """``struct device *`` of each device of a class."""
    address = prog[name].address_of_().value_()
    classes = list_entries(prog["class_kset"].list, "struct subsys_private", "subsys.kobj.entry")
    for private in islice(classes, _MAX_DISKS):
        if private.member_("class").value_() == address:
            devices = private.klist_devices.k_list
            for one in list_entries(devices, "struct device_private", "knode_class.n_node"):
                yield one.device.read_()
            return


def _device(prog: drgn.Program, disk: drgn.Object, now: float | None) -> Device:
    name = disk.disk_name.string_().decode("utf-8", "replace")
    mapped, suspended = "", False
    if name.startswith("dm-"):
        mapped, suspended = _mapped(prog, disk)
    return Device(name, disk.value_(), mapped, suspended, tuple(_in_flight(prog, disk, now)))


def _mapped(prog: drgn.Program, disk: drgn.Object) -> tuple[str, bool]:
    """Name and state of a device-mapper device."""
    try:
        device = drgn.cast("struct mapped_device *", disk.private_data)
        suspended = bool(device.flags.value_() & _SUSPENDED)
    except damage():
        return "", False
    try:
        cell = drgn.cast("struct hash_cell *", device.interface_ptr)
        return cell.name.string_().decode("utf-8", "replace"), suspended
    except damage():
        return "", suspended


def _in_flight(prog: drgn.Program, disk: drgn.Object, now: float | None) -> list[InFlight]:
    from drgn.helpers.linux.block import request_queue_busy_iter

    found: list[InFlight] = []
    try:
        _check_tags(disk.queue)
        for request in request_queue_busy_iter(disk.queue):
            found.append(_request(request, now))
            if len(found) >= _MAX_REQUESTS:
                break
    except damage():
        pass
    return sorted(found, key=lambda item: -(item.seconds or 0.0))


def _check_tags(queue: drgn.Object) -> None:
    """Look at how many tags there are to be asked, before drgn asks them all.

    :raises LookupError: more than any kernel has.
    """
    tag_set = queue.tag_set.read_()
    if not tag_set:
        return
    queues = int(tag_set.nr_hw_queues.value_())
    if not 0 < queues <= _MAX_QUEUES or int(queue.nr_hw_queues.value_()) > _MAX_QUEUES:
        raise LookupError(f"{queues} hardware queues")
    for number in range(queues):
        tags = tag_set.tags[number].read_()
        if tags:
            for bits in (tags.bitmap_tags, tags.breserved_tags):
                depth = int(bits.sb.depth.value_())
                if max(depth, int(bits.sb.map_nr.value_())) > _MAX_REQUESTS or (
                    int(bits.sb.shift.value_()) > _MAX_SHIFT
                ):
                    raise LookupError(f"{depth} tags")


def _request(request: drgn.Object, now: float | None) -> InFlight:
    operation = request.cmd_flags.value_() & _OPERATION
    started = request.start_time_ns.value_() / 1e9
    return InFlight(
        request.value_(),
        _OPERATIONS.get(operation, f"operation {operation}"),
        request.member_("__data_len").value_(),
        request.member_("__sector").value_(),
        max(0.0, now - started) if now is not None and started else None,
    )


def device_of_super_block(prog: drgn.Program, block: int) -> str | None:
    """Name of the disk below a file system.

    :param block: ``struct super_block *``
    """
    try:
        device = drgn.Object(prog, "struct super_block *", block).s_bdev
        return disk_name(device) if device else None
    except damage():
        return None


def disk_name(bdev: drgn.Object) -> str:
    """Name of the whole disk of a ``struct block_device *``."""
    return str(bdev.bd_disk.disk_name.string_().decode("utf-8", "replace"))


def device_of_bio_wait(prog: drgn.Program, completion: int, words: Iterator[int]) -> str | None:
    """The disk of a bio that submit_bio_wait() waits for.

    :param completion: ``struct completion *`` on the stack, the bio's ``bi_private``.
    :param words: Words of the stack, among which is the bio.
    """
    try:
        kind = prog.type("struct bio")
        private = drgn.offsetof(kind, "bi_private")
    except LookupError:
        return None
    is_pointer = arch_of(prog).is_pointer
    for word in words:
        if not is_pointer(word, 8):
            continue
        try:
            if prog.read_u64(word + private) != completion:
                continue
            bio = drgn.Object(prog, kind, address=word)
            # The bio had its disk itself until v5.11 (309dca309fc3).
            if kind.has_member("bi_bdev"):
                return disk_name(bio.bi_bdev)
            return str(bio.bi_disk.disk_name.string_().decode("utf-8", "replace"))
        except damage():
            continue
    return None


# --- FUSE: the device is a process


@dataclass(frozen=True)
class FuseRequest:
    """A request that a FUSE daemon has not answered."""

    super_block: int
    """``struct super_block *``"""
    daemons: tuple[Task, ...]
    """Who has this connection's /dev/fuse open."""


_MAX_FILES = 4096
_MAX_TASKS = 1 << 14


def fuse_request(prog: drgn.Program, queue: int) -> FuseRequest | None:
    """The FUSE request whose wait queue this is.

    :param queue: ``wait_queue_head_t *`` in ``struct fuse_req``.
    """
    try:
        kind = prog.type("struct fuse_req")
        request = drgn.Object(prog, kind, address=queue - drgn.offsetof(kind, "waitq"))
        # Requests have a channel of their own in 7.2, a mount since v5.10 (fcee216beb9c),
        # and had the connection before.
        if kind.has_member("chan"):
            link, member = request.chan, "chan"
            block = _first_mount(link.conn)
        elif kind.has_member("fm"):
            link, member, block = request.fm.fc, "fc", request.fm.sb.value_()
        else:
            link, member, block = request.fc, "fc", 0
    except damage():
        return None
    return FuseRequest(block, tuple(_daemons(prog, link.value_(), member)))


def _files(task: drgn.Object) -> Iterator[drgn.Object]:
    """``struct file *`` of each that a task has open."""
    files = task.files.read_()
    if not files:
        return
    table = files.fdt.read_()
    count = min(int(table.max_fds.value_()), _MAX_FILES)
    words = task.prog_.read(table.open_fds.value_(), (count + 63) // 64 * 8)
    for at, byte in enumerate(words):
        for number in range(8 * at, 8 * at + 8) if byte else ():
            if byte >> number % 8 & 1:
                yield table.fd[number].read_()


def _first_mount(connection: drgn.Object) -> int:
    """``struct super_block *`` of a FUSE connection's first mount."""
    try:
        mount = drgn.container_of(connection.mounts.next, "struct fuse_mount", "fc_entry")
        return int(mount.sb.value_())
    except damage():
        return 0


def _daemons(prog: drgn.Program, link: int, member: str) -> Iterator[Task]:
    """Who has a file of this connection open: ``fuse_dev.fc`` or ``.chan`` is ``link``."""
    try:
        operations = prog.symbol("fuse_dev_operations").address
    except LookupError:
        return
    number = 0
    for task in all_tasks(prog).tasks:
        if task.kthread or task.pid != task.tgid or not task.mm:
            continue
        number += 1
        if number > _MAX_TASKS:
            return
        try:
            for file in _files(drgn.Object(prog, "struct task_struct *", task.address)):
                if file.f_op.value_() != operations or not file.private_data:
                    continue
                device = drgn.cast("struct fuse_dev *", file.private_data)
                if device.member_(member).value_() == link:
                    yield task
                    break
        except damage():
            continue
