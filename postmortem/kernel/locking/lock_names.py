"""What a lock, a completion or a queue is called: its symbol, or the object that it is in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import drgn

from postmortem.dump.damage import damage
from postmortem.dump.lists import list_entries
from postmortem.kernel.identify import member_at, slab_object
from postmortem.kernel.paths import path_in_mounts, path_of_inode
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.kernel.tasks.tasks import all_tasks

_MAX_SUPER_BLOCKS = 1 << 14

_CACHES = {
    "task_struct": "struct task_struct",
    "mm_struct": "struct mm_struct",
    "signal_cache": "struct signal_struct",
    "sighand_cache": "struct sighand_struct",
    "filp": "struct file",
    "files_cache": "struct files_struct",
    "dentry": "struct dentry",
    "inode_cache": "struct inode",
    "sock_inode_cache": "struct socket_alloc",
    "shmem_inode_cache": "struct shmem_inode_info",
    "proc_inode_cache": "struct proc_inode",
    "bdev_cache": "struct bdev_inode",
    "hugetlbfs_inode_cache": "struct hugetlbfs_inode_info",
    "nfs_inode_cache": "struct nfs_inode",
    "xfs_inode": "struct xfs_inode",
    "btrfs_inode": "struct btrfs_inode",
    "fuse_inode": "struct fuse_inode",
    "fuse_request": "struct fuse_req",
    "kernfs_node_cache": "struct kernfs_node",
    "buffer_head": "struct buffer_head",
    "anon_vma": "struct anon_vma",
    "cred_jar": "struct cred",
}
"""C type of the objects of slab caches; others are found by name: ``X_inode_cache``."""


@dataclass(frozen=True)
class Name:
    """What is known of an address."""

    text: str
    """``pm_config_mutex [pm_fault]``, ``inode.i_rwsem of /mnt/one``, ``0xff..`` at worst."""
    symbol: str | None = None
    module: str | None = None
    super_block: int = 0
    """``struct super_block *`` that it lies in."""
    journal: int = 0
    """``journal_t *`` that it lies in."""


def outer_member(kind: drgn.Type, offset: int) -> str:
    """The outermost member that begins ``offset`` bytes into a struct: ``i_rwsem``, not its count.

    An array gives its element; what begins nowhere gives its offset.
    """
    path: list[str] = []
    for _depth in range(8):
        kind = kind.unaliased()
        if kind.kind == drgn.TypeKind.ARRAY:
            size = drgn.sizeof(kind.type)
            path.append(f"[{offset // size}]")
            kind, offset = kind.type, offset % size
            if not offset:
                return "".join(path)
            continue
        if kind.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
            break
        for member in kind.members or ():
            start = member.bit_offset // 8
            if start <= offset < start + drgn.sizeof(member.type):
                break
        else:
            break
        if member.name:
            path.append(f".{member.name}" if path else member.name)
        kind, offset = member.type, offset - start
        array = kind.unaliased().kind == drgn.TypeKind.ARRAY
        if not offset and member.name and not array:
            return "".join(path)
    return "".join([*path, f"+{offset:#x}"])


class Names:
    """Names of addresses; each is looked up once."""

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog
        self._known: dict[int, Name] = {}
        self._mounts: list[tuple[int, str]] | None = None
        self._journals: list[tuple[int, str]] | None = None
        self._stacks: list[tuple[int, int, int]] | None = None

    def of(self, address: int) -> Name:
        """The name of what lies at ``address``."""
        if address not in self._known:
            self._known[address] = self._find(address)
        return self._known[address]

    def _find(self, address: int) -> Name:
        roads = (
            self._symbol,
            self._in_super_block,
            self._in_journal,
            self._in_slab,
            self._on_stack,
        )
        for find in roads:
            try:
                found = find(address)
            except damage():
                continue
            if found is not None:
                return found
        return Name(f"{address:#x}")

    def _symbol(self, address: int) -> Name | None:
        symbol = Symbolizer.of(self._prog).symbol(address)
        if symbol is None:
            return None
        text = symbol.function
        if symbol.offset:
            try:
                member = member_at(self._prog[symbol.function].type_, symbol.offset)
            except LookupError:
                member = None
            text += f".{member}" if member else f"+{symbol.offset:#x}"
        if symbol.module:
            text += f" [{symbol.module}]"
        return Name(text, symbol.function, symbol.module)

    # --- file systems

    def super_blocks(self) -> list[tuple[int, str]]:
        """``struct super_block *`` of every file system, and what it is called."""
        if self._mounts is None:
            self._mounts = []
            try:
                for item in self._each_super_block():
                    self._mounts.append(item)
            except damage():
                pass
        return self._mounts

    def _each_super_block(self) -> Iterator[tuple[int, str]]:
        blocks = list_entries(self._prog["super_blocks"], "struct super_block", "s_list")
        for block in islice(blocks, _MAX_SUPER_BLOCKS):
            kind = block.s_type.name.string_().decode("utf-8", "replace")
            device = block.s_id.string_().decode("utf-8", "replace")
            where = self._mounted_at(block)
            yield block.value_(), f"{kind} on {device}" + (f" at {where}" if where else "")

    def _mounted_at(self, block: drgn.Object) -> str:
        """Where it is mounted first."""
        try:
            if self._prog.type("struct mount").has_member("mnt_instance"):
                mount = drgn.container_of(block.s_mounts.next, "struct mount", "mnt_instance")
            else:
                # A list of its own since v6.18 (mnt_next_for_sb).
                mount = block.s_mounts
            if not mount:
                return ""
            return path_in_mounts(mount, mount.mnt.mnt_root.read_())
        except damage():
            return ""

    def _in_super_block(self, address: int) -> Name | None:
        kind = self._prog.type("struct super_block")
        size = drgn.sizeof(kind)
        for start, text in self.super_blocks():
            if start <= address < start + size:
                member = outer_member(kind, address - start)
                return Name(f"super_block.{member} ({text})", super_block=start)
        return None

    def _in_journal(self, address: int) -> Name | None:
        """The journal of a mounted ext4 (or ocfs2) lies in memory of kmalloc()."""
        kind = self._prog.type("struct journal_s")
        size = drgn.sizeof(kind)
        if self._journals is None:
            self._journals = [
                (journal, text)
                for block, text in self.super_blocks()
                if (journal := self._journal(block))
            ]
        for journal, text in self._journals:
            if journal <= address < journal + size:
                member = outer_member(kind, address - journal)
                return Name(f"journal.{member} ({text})", journal=journal)
        return None

    def _journal(self, block: int) -> int:
        try:
            found = drgn.Object(self._prog, "struct super_block *", block)
            if found.s_type.name.string_() != b"ext4":
                return 0
            info = drgn.cast("struct ext4_sb_info *", found.s_fs_info)
            return int(info.s_journal.value_())
        except damage():
            return 0

    # --- slab objects

    def _in_slab(self, address: int) -> Name | None:
        found = slab_object(self._prog, address)
        if found is None:
            return None
        kind = self._cache_type(found.cache)
        if kind is None or drgn.sizeof(kind) > found.size:
            return Name(f"{found.cache}+{found.offset:#x} at {found.address:#x}")
        member = outer_member(kind, found.offset)
        tag = kind.tag or kind.type_name()
        if member.startswith("vfs_inode."):
            tag, member = "inode", member.removeprefix("vfs_inode.")
        whose = self._whose(kind, found.address)
        return Name(f"{tag}.{member} {whose or f'at {found.address:#x}'}")

    def _cache_type(self, cache: str) -> drgn.Type | None:
        names = [_CACHES[cache]] if cache in _CACHES else []
        if cache.endswith("_inode_cache"):
            names.append(f"struct {cache.removesuffix('_cache')}_info")
        for name in names:
            try:
                return self._prog.type(name)
            except LookupError:
                continue
        return None

    def _whose(self, kind: drgn.Type, address: int) -> str:
        if kind.tag == "mm_struct":
            users = [task for task in all_tasks(self._prog).tasks if task.mm == address]
            if users:
                return f"of {users[0].comm} ({users[0].tgid})"
        if kind.tag == "task_struct":
            task = all_tasks(self._prog).by_address.get(address)
            return f"of {task.comm} ({task.pid})" if task else ""
        inode = self._inode(kind, address)
        return f"of {self.path(inode)}" if inode is not None else ""

    def _inode(self, kind: drgn.Type, address: int) -> drgn.Object | None:
        if kind.tag == "inode":
            return drgn.Object(self._prog, "struct inode *", address)
        for member in kind.members or ():
            if member.name in ("vfs_inode", "inode", "i_vnode", "netfs") and (
                member.type.unaliased().tag == "inode"
            ):
                return drgn.Object(self._prog, "struct inode *", address + member.bit_offset // 8)
        return None

    def path(self, inode: drgn.Object) -> str:
        """A path of the inode, or its number and file system."""
        try:
            found = path_of_inode(inode)
            if found:
                block = dict(self.super_blocks()).get(inode.i_sb.value_(), "")
                return found + (f" ({block})" if block else "")
        except damage():
            pass
        try:
            device = inode.i_sb.s_id.string_().decode("utf-8", "replace")
            block = dict(self.super_blocks()).get(inode.i_sb.value_(), device)
            return f"inode {inode.i_ino.value_()} of {block}"
        except damage():
            return f"inode at {inode.value_():#x}"

    def _on_stack(self, address: int) -> Name | None:
        from postmortem.kernel.tasks.unwind import sleeping_stacks

        stacks = sleeping_stacks(self._prog)
        if self._stacks is None:
            self._stacks = sorted((low, end, task) for task, (low, end) in stacks.bases.items())
        at = bisect_right(self._stacks, (address, (1 << 64), 0)) - 1
        if at < 0:
            return None
        low, end, task = self._stacks[at]
        if not low <= address < end:
            return None
        owner = all_tasks(self._prog).by_address[task]
        return Name(f"{address:#x} on the stack of {owner.comm} ({owner.pid})")
