"""Paths of files and mounts; a dentry that is its own grandparent ends the walk."""

from __future__ import annotations

import drgn

from postmortem.dump.damage import member

_MAX_STEPS = 4096
"""PATH_MAX: a path of more components than it may have bytes is none."""


def path_in_mounts(mount: drgn.Object, dentry: drgn.Object) -> str:
    """The whole path of a dentry, through everything that it is mounted on.

    :param mount: ``struct mount *``
    :param dentry: ``struct dentry *``
    :raises LookupError: the path runs in a circle.
    """
    if dentry.d_op and dentry.d_op.d_dname:  # pipefs and its like: no path leads there
        return f"[{dentry.d_inode.i_sb.s_type.name.string_().decode('utf-8', 'replace')}]"
    parts: list[str] = []
    for _ in range(_MAX_STEPS):
        if dentry == mount.mnt.mnt_root and mount != mount.mnt_parent:
            dentry, mount = mount.mnt_mountpoint.read_(), mount.mnt_parent.read_()
            continue
        if dentry in (mount.mnt.mnt_root, dentry.d_parent):
            return "/" + "/".join(reversed(parts))
        parts.append(_name(dentry))
        dentry = dentry.d_parent.read_()
    raise LookupError("the path runs in a circle")


def path_of(path: drgn.Object) -> str:
    """The whole path that a ``struct path`` stands for.

    :raises LookupError: it runs in a circle.
    """
    return path_in_mounts(drgn.container_of(path.mnt, "struct mount", "mnt"), path.dentry.read_())


def path_of_inode(inode: drgn.Object) -> str:
    """A path of an inode from the root of its file system, ``""`` if none is cached.

    :param inode: ``struct inode *``
    :raises LookupError: the path runs in a circle.
    """
    first = inode.i_dentry.first.read_()
    if not first:
        return ""
    # In an anonymous union since v7.1.
    kind = inode.prog_.type("struct dentry")
    alias = "d_alias" if kind.has_member("d_alias") else "d_u.d_alias"
    dentry = drgn.container_of(first, kind, alias)
    parts: list[str] = []
    for _ in range(_MAX_STEPS):
        if dentry == dentry.d_parent:
            return "/".join(reversed(parts))
        parts.append(_name(dentry))
        dentry = dentry.d_parent.read_()
    raise LookupError("the path runs in a circle")


def kernfs_path(node: drgn.Object) -> str:
    """The path below the root of sysfs, or of a cgroup hierarchy.

    :param node: ``struct kernfs_node *``
    :raises LookupError: the path runs in a circle.
    """
    parts: list[str] = []
    for _ in range(_MAX_STEPS):
        # Renamed in v6.15 (633488947ef6).
        parent = member(node, "__parent", "parent").read_()
        if not parent:
            return "/" + "/".join(reversed(parts))
        parts.append(node.name.string_().decode("utf-8", "replace"))
        node = parent
    raise LookupError("the path runs in a circle")


def _name(dentry: drgn.Object) -> str:
    return str(dentry.d_name.name.string_().decode("utf-8", "replace"))
