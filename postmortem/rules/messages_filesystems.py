"""File systems, local and of the network: see :mod:`postmortem.rules.messages`."""

# ruff: noqa: E501
# fmt: off
# A table is read by its columns: rows stay as wide as they are.

from __future__ import annotations

from postmortem.model.findings import Kind, Severity
from postmortem.rules.messages import Layer, Message

_IO = Kind.IO_ERROR
_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_FS, _BUS, _DEVICE = Layer.FILESYSTEM, Layer.BUS, Layer.DEVICE
_EXT = r"(?P<fs>EXT[234]-fs)"
_XFS = r"(?P<fs>XFS) \((?P<device>[^)]{1,60})\): "
_BTRFS = r"(?P<fs>BTRFS):? ?(?P<level>critical|error|warning|alert) \(device (?P<device>[^:)\s]{1,60})(?::? state (?P<state>\w+))?\):? ?"
_FSCK = "Check the file system once the device is trusted again."
_DISK = "Look for errors of the disk before it: without any, suspect memory or a bug."
_SERVER = "Look at the server, and at the network to it."
_ASSERT = "Read the condition at the file and line that it names; look for a known bug of this version."
_ASSERT_SKIP = r"\w*(?:spl_panic|spl_dumpstack|libcfs_\w+|lbug_with_loc|lbug|assfail|asswarn|btrfs_assertfail|assertfail|dump_stack\w*|show_stack|xfs_error_report|xfs_corruption_error|xfs_stack_trace|xfs_buf_\w*error)\w*"

ROWS: tuple[Message, ...] = (
    # --- failed assertions of modules: the task sleeps for ever, or the kernel stops ---------
    Message("spl-assert", Kind.BUG, _FS, _ERROR,
            r"(?:SPLError: \d+:\d+:\([\w./-]+:\d+:\w+\(\)\) )?(?P<what>(?:VERIFY|ASSERT)[0-9A-Z_]*\(.{1,300} failed.{0,120})", ("VERIFY", "ASSERT"), "PANIC: assertion failed in {function}",
            "The module checked an assumption and it did not hold: {what}, at {file}:{lineno}. The task {task} stops there for ever and keeps its locks: whoever needs them hangs.", (_ASSERT,),
            find="trace", stack=True, skip=_ASSERT_SKIP,
            details=(r"^(?:SPL )?PANIC at (?P<file>[\w./-]+):(?P<lineno>\d+):(?P<named>\w+)\(\)",)),
    Message("spl-assert", Kind.BUG, _FS, _ERROR,
            r"(?:SPL(?:Error)?: ?)?(?:\d+:\d+:\(\S+\) )?(?:SPL )?PANIC at (?P<file>[\w./-]+):(?P<lineno>\d+):(?P<named>\w+)\(\)", ("PANIC at ",), "PANIC: assertion failed in {function}",
            "A check in {file}:{lineno} failed. The task {task} stops there for ever and keeps its locks: whoever needs them hangs.", (_ASSERT,),
            find="trace", stack=True, skip=_ASSERT_SKIP, continues=("spl-assert",)),
    Message("lustre-assert", Kind.BUG, _FS, _ERROR,
            r"(?:LustreError|LNetError): \d+:\d+:\((?P<file>[\w./-]+):(?P<lineno>\d+):(?P<named>\w+)\(\)\) (?P<what>ASSERTION\( ?.{1,200}? ?\) failed.{0,120}|LBUG\b.{0,40})", ("ASSERTION(", ") LBUG"),
            "LBUG in {function}", "Lustre checked an assumption in {file}:{lineno} and it did not hold ({what}). The task does not go on from there, and keeps what it holds.", (_ASSERT,),
            find="trace", stack=True, skip=_ASSERT_SKIP, continues=("lustre-assert",)),
    Message("fs-assert", Kind.BUG, _FS, _ERROR,
            r"XFS(?: \((?P<device>[^)]{1,60})\))?: Assertion failed: (?P<what>.{1,200}), file: (?P<file>\S+?),? line: (?P<lineno>\d+)", ("Assertion failed:",),
            "XFS: assertion failed in {function}", "XFS checked an assumption and it did not hold: {what}, at {file}:{lineno}.", (_ASSERT,), find="pc", stack=True, skip=_ASSERT_SKIP),
    Message("fs-assert", Kind.BUG, _FS, _ERROR,
            r"(?:BTRFS.{0,60}: )?assertion failed: (?P<what>.{1,200}), in (?P<file>fs/\S+?):(?P<lineno>\d+)", ("assertion failed: ",),
            "BTRFS: assertion failed in {function}", "Btrfs checked an assumption and it did not hold: {what}, at {file}:{lineno}.", (_ASSERT,), find="pc", stack=True, skip=_ASSERT_SKIP),
    Message("fs-assert", Kind.BUG, _FS, _ERROR,
            r"(?P<fs>JBD2?|ocfs2|GFS2|OCFS2|dlm|DLM|nilfs2?|reiserfs|ceph)\S*:? ?(?P<what>.{0,60}(?:[Aa]ssertion (?:failure|failed)|assertion \".{1,100}\" failed)[^;]{0,120})", ("Assertion failure", "assertion \"", "ssertion failed"),
            "{fs}: assertion failed in {function}", "{fs} checked an assumption and it did not hold: {what}.", (_ASSERT,), find="pc", stack=True, skip=_ASSERT_SKIP),

    # --- ext4, jbd2: fs/ext4/super.c, fs/jbd2 ------------------------------------------------
    Message("journal-aborted", _IO, _FS, _ERROR, r"Aborting journal on device (?P<device>[^\s.]+)", ("Aborting journal on device",),
            "journal aborted on {device}", "The journal of the file system on {device} was given up: nothing can be written there any more.", (_DISK, _FSCK)),
    Message("jbd2-error", _IO, _FS, _WARNING, r"JBD2?: (?P<what>.{0,20}(?:Error -\d+ detected when updating journal superblock for|I/O error when updating journal superblock for|Detected IO errors while flushing file data on|IO error reading journal superblock|Failed to read block at offset.{0,20}|recovery failed|Invalid checksum recovering .{1,60})) ?(?P<device>[\w-]+?)?\.?$",
            ("JBD2: ", "JBD: "), "JBD2: error on {device}", "The journal of {device} could not be read or written.", (_DISK,)),
    Message("ext4-detected-abort", _IO, _FS, _WARNING, _EXT + r" error \(device (?P<device>[^)]{1,60})\).{0,120}Detected aborted journal", ("Detected aborted journal",),
            "{fs} error (device {device}): detected aborted journal", "{fs} found its journal on {device} given up already.", (_DISK,)),
    Message("fs-error", _IO, _FS, _WARNING, _EXT + r" error \(device (?P<device>[^)]{1,60})\)(?: in (?P<site>\w+):\d+)?(?:: (?P<site2>[a-z_]\w+):(?P<lineno>\d+))?(?:: (?P<what>.{1,200}))?", ("-fs error (device",),
            "{fs} error (device {device})", "{fs} found on {device} what can't be right: {what}.", (_DISK, _FSCK)),
    Message("fs-readonly", _IO, _FS, _ERROR, _EXT + r" \((?P<device>[^)]{1,60})\): (?P<what>Remounting filesystem read-only)", ("Remounting filesystem read-only",),
            "{fs} ({device}): remounted read-only", "The file system on {device} was set read-only.", (_DISK, _FSCK)),
    Message("ext4-io", _IO, _FS, _WARNING, _EXT + r"(?: warning| error)? \((?:device )?(?P<device>[^)]{1,60})\): (?P<what>(?:ext4_end_bio:\d+: I/O error.{0,80}|I/O error while writing superblock|previous I/O error to superblock detected|unable to read superblock|error loading journal|Delayed block allocation failed for inode.{0,80}|failed to convert unwritten extents.{0,80}|write access unavailable.{0,40}|.{0,40}bad geometry.{0,60}|.{0,30}checksum (?:invalid|mismatch|error).{0,40}))",
            ("ext4_end_bio:", "while writing superblock", "error to superblock detected", "unable to read superblock", "error loading journal", "Delayed block allocation failed", "convert unwritten extents", "write access unavailable", "bad geometry", "checksum invalid", "checksum mismatch", "checksum error"), "{fs} ({device}): {what}", "{fs} could not read or write {device}: {what}.", (_DISK, _FSCK)),
    Message("ext4-old-error", _IO, _FS, _INFO, _EXT + r" \((?P<device>[^)]{1,60})\): (?P<what>error count since last fsck: \d+|initial error at time .{1,120})", ("error count since last fsck", "initial error at time"),
            "{fs} ({device}): errors of an earlier time", "The file system on {device} remembers errors that were before this log ({what}).", (_FSCK,)),

    # --- xfs: fs/xfs -----------------------------------------------------------------------
    Message("fs-shutdown", _IO, _FS, _ERROR,
            _XFS + r"(?P<what>(?:[Ll]og I/O [Ee]rror|Metadata I/O [Ee]rror(?: \(\S+\))?|Corruption of in-memory data(?: \(\S+\))?|Corruption of on-disk metadata(?: \(\S+\))?|Block device removal(?: \(\S+\))?|User initiated shutdown received\.?|I/O [Ee]rror) ?(?:\(0x[0-9a-f]+\) )?[Dd]etected.{0,120}|Filesystem has been shut down.{0,80}|xfs_do_force_shutdown\(0x[0-9a-f]+\) called.{0,80}|Unmount and run xfs_repair|Please (?:unmount|umount) the filesystem and rectify.{0,40})", ("XFS (",),
            "XFS ({device}): shut down", "XFS shut the file system on {device} down: {what}.", (_DISK, "xfs_repair -n shows what is damaged.")),
    Message("fs-error", _IO, _FS, _WARNING,
            _XFS + r"(?P<what>Internal error.{0,200}|Corruption.{0,120}|Metadata corruption detected.{0,120}|Metadata CRC error.{0,120}|corruption.{0,80}|.{0,60}(?:error|failed).{0,12}-(?:74|117)\b.{0,40})", ("XFS (",),
            "XFS error ({device})", "XFS found on {device} what can't be right: {what}.", (_DISK, "xfs_repair -n shows what is damaged."), stack=True),
    Message("xfs-io", _IO, _FS, _WARNING, _XFS + r"(?P<what>[Mm]etadata I/O [Ee]rror.{0,160}|log I/O error.{0,60}|writeback error on .{0,80}|Failing async write.{0,80}|.{0,60}(?:error|failed).{0,12}-(?:5|28)\b.{0,40}|log mount(?:/recovery)? failed.{0,40}|[Ll]og mount failed|failed to read root inode.{0,40}|SB validate failed.{0,40}|mount failed.{0,40})", ("XFS (",),
            "XFS ({device}): I/O error", "XFS could not read or write {device}: {what}.", (_DISK,)),
    Message("alloc-deadlock", _IO, _FS, _WARNING, r"XFS(?: \((?P<device>[^)]{1,60})\))?: (?P<by>.{1,16})\((?P<pid>\d+)\) possible memory allocation deadlock size (?P<size>\d+).{0,60}", ("possible memory allocation deadlock",),
            "XFS: possible memory allocation deadlock", "XFS could not get {size} bytes for task {by} ({pid}) and tries for ever.", ("See what holds the memory.",)),

    # --- btrfs: fs/btrfs -------------------------------------------------------------------
    Message("fs-readonly", _IO, _FS, _ERROR, r"(?P<fs>BTRFS)(?::)? ?(?:info|error|warning|critical) \(device (?P<device>[^:)\s]{1,60})(?::? state \w+)?\):? ?(?P<what>forced readonly|Transaction aborted \(error -?\d+\)|open_ctree failed.{0,20}|Cannot? commit.{0,40}|fs is forced readonly.{0,20}|remount.{0,20}read-?only.{0,40}force.{0,20})", ("forced readonly", "Transaction aborted (error", "open_ctree failed"),
            "BTRFS ({device}): {what}", "Btrfs on {device} went read-only or could not be mounted ({what}).", (_DISK, "btrfs device stats and a scrub tell which member it is.")),
    Message("btrfs-abort", _IO, _FS, _ERROR, _BTRFS + r"(?:in (?P<site>\w+):(?P<lineno>\d+): )(?P<what>errno=-\d+ .{1,120})", ("BTRFS", ": errno=-"),
            "BTRFS error (device {device}): {what}", "A transaction of btrfs on {device} failed in {site}(): {what}.", (_DISK,)),
    Message("btrfs-device", _IO, _FS, _WARNING, _BTRFS + r"(?:bdev (?P<device2>\S+) errs: (?P<what>wr \d+, rd \d+, flush \d+, corrupt \d+, gen \d+)|lost (?:page|super block) write due to .{1,40} on (?P<device3>\S+).{0,40})", ("errs: wr ", "lost page write", "lost super block write"),
            "BTRFS error (device {device}): device errors", "Btrfs counts errors of {device} ({what}; the counters are of the device's whole life).", (_DISK, "btrfs device stats, then a scrub.")),
    Message("btrfs-mended", _IO, _FS, _INFO, r"(?P<fs>BTRFS):? (?:info|warning|error) \(device (?P<device>[^:)\s]{1,60})(?::? state \w+)?\): ?(?P<what>read error corrected.{0,80}|fixed up error.{0,80})", ("read error corrected", "fixed up error"),
            "BTRFS ({device}): error corrected", "Btrfs read bad data on {device} and mended it from another copy.", ("A scrub shows how much of it there is.",), recovers=("btrfs-csum", "btrfs-device", "io-error", "scsi-sense")),
    Message("fs-error", _IO, _FS, _WARNING, _BTRFS + r"(?P<what>.{1,200})", ("BTRFS critical (", "BTRFS error (", "BTRFS: critical (", "BTRFS: error (", "BTRFS alert ("),
            "BTRFS error (device {device})", "Btrfs found on {device} what can't be right: {what}.", (_DISK, "btrfs scrub and btrfs device stats.")),
    Message("btrfs-csum", _IO, _FS, _WARNING, r"(?P<fs>BTRFS) warning \(device (?P<device>[^:)\s]{1,60})(?::? state \w+)?\): ?(?P<what>csum (?:failed|hole).{0,160}|.{0,20}checksum verify failed.{0,120}|tree block .{0,60}mirror.{0,60})", ("csum failed", "checksum verify failed"),
            "BTRFS ({device}): checksum failed", "Btrfs read from {device} what was not written ({what}).", (_DISK, "A scrub; then memtest.")),

    # --- the others -----------------------------------------------------------------------
    Message("fs-readonly", _IO, _FS, _ERROR, r"(?P<fs>FAT-fs|F2FS-fs|UBIFS(?: error)?|NILFS|nilfs|HFSPLUS-fs|hfsplus|JFS|REISERFS(?: error)?|exFAT-fs|ntfs3|OCFS2|GFS2|gfs2|Bcachefs|bcachefs|AFFS|UDF-fs|jfs) ?\(?:? ?(?:fsid=)?(?P<device>[\w:.\-/ ]{1,40}?)\)?: (?P<what>.{0,80}(?:[Ff]ilesystem has been set read-only|switched to read-only mode|stop checkpoint|Stopped filesystem.{0,40}|remount(?:ing|ed)? (?:filesystem )?read-?only|about to withdraw this file system|emergency read only|forced shutdown|File system is now read-only).{0,60})",
            ("set read-only", "read-only mode", "stop checkpoint", "about to withdraw", "emergency read only", "ounting filesystem read", "is now read-only"),
            "{fs} ({device}): read-only", "The file system on {device} was stopped or set read-only: {what}.", (_DISK, _FSCK)),
    Message("fs-error", _IO, _FS, _WARNING, r"(?P<fs>FAT-fs|F2FS-fs|NILFS|HFSPLUS-fs|exFAT-fs|ntfs3|GFS2|gfs2|OCFS2|bcachefs|UDF-fs|SQUASHFS|squashfs|EROFS|erofs|UBIFS|UBI|ubi\d+|jffs2|AFFS|REISERFS|JFS|romfs|ISOFS|cramfs) ?(?P<level>error|critical|ERROR)?:? ?\(?(?:device |fsid=|pid \d+\))?(?!loop\d)(?P<device>[\w.:\-/ ]{0,40}?)\)?: (?P<what>.{0,60}(?:error|Error|corrupt|inconsisten|run fsck to fix|invalid|Invalid|unable to read|Unable to read|failed to read|bad (?:magic|node|block|CRC)|Failed to read|checksum|fatal:).{0,120})",
            ("FAT-fs (", "F2FS-fs (", "NILFS", "GFS2: fsid", "OCFS2: ", "bcachefs (", "SQUASHFS error", "erofs (", "UBIFS error", "ubi0 error", "ubi1 error", "jffs2: ", "REISERFS error", "run fsck to fix", "UDF-fs: error", "exFAT-fs ("),
            "{fs} error ({device})", "{fs} found what can't be right: {what}.", (_DISK, _FSCK)),
    Message("zfs-suspended", _IO, _FS, _ERROR, r"WARNING: Pool '(?P<device>[^']{1,60})' has encountered an uncorrectable I/O failure and has been suspended", ("has been suspended",),
            "zfs: pool {device} suspended", "ZFS stopped the pool {device} because its disks fail: every task that needs it waits.", ("zpool status -v; the disk's errors come before it; zpool clear once it is back.",), scope="pool"),
    # (A damaged image behind a loop device is its owner's affair, not the machine's.)
    Message("quota-error", _IO, _FS, _WARNING, r"Quota error \(device (?P<device>[^)]{1,60})\): \w+: (?P<what>.{1,120})", ("Quota error (device",), "Quota error (device {device})", "Quota of {device} could not be kept: {what}.", (_DISK,)),

    # --- file systems of the network: net/sunrpc, fs/smb, net/ceph ----------------------------
    Message("nfs-silent", _IO, _DEVICE, _WARNING, r"(?:nfs|lockd): server (?P<device>\S+) not responding, (?P<what>still trying|timed out)", ("not responding, still trying", "not responding, timed out"),
            "nfs: server {device} not responding", "The NFS server {device} does not answer ({what}): whoever uses a file of it waits.", (_SERVER,), scope="server", lasting=True),
    Message("nfs-back", _IO, _DEVICE, _INFO, r"(?:nfs|lockd): server (?P<device>\S+) OK", ("nfs: server", "lockd: server"), "", recovers=("nfs-silent",), scope="server"),
    Message("nfs-error", _IO, _DEVICE, _WARNING, r"NFS: (?P<what>state manager:? .{0,60}?failed|\S+: lost \d+ locks|.{0,60}(?:nfs4_reclaim_open_state: Lock reclaim failed!|server .{1,60} error: .{1,60}))(?: on NFSv4 server (?P<device>\S+) with error -?\d+)?", ("state manager", "NFS: "),
            "NFS: {what}", "NFS lost what it held at its server: {what}.", (_SERVER,), scope="server"),
    Message("rpc-error", _IO, _DEVICE, _WARNING, r"(?:rpcbind|RPC|rpc-srv/\w+|svc|nfsd): (?:server (?P<device>\S+) )?(?P<what>not responding, timed out|failed to contact.{0,60}|server \S+ requires stronger authentication)", ("rpcbind: server", "failed to contact"), "RPC: {what}", "A server on the network does not answer: {what}.", (_SERVER,), scope="server", lasting=True),
    Message("cifs-silent", _IO, _DEVICE, _WARNING, r"(?:CIFS|cifs): ?(?:VFS: )?(?:\\\\(?P<device>[^\s\\]+)(?:\\\S*)?)? ?(?P<what>(?:[Ss]erver (?:\S+ )?)?has not responded in \d+ seconds\. Reconnecting.{0,10}|cifs_mount failed w/return code = -\d+|Send error in .{1,60}|sends on sock \S+ stuck for \d+ seconds|No task to wake, unknown frame received.{0,40}|Close unmatched open.{0,60}|cifs_reconnect.{0,80})",
            ("CIFS: ", "CIFS VFS: "), "CIFS: server {device} not responding", "The SMB server {device} does not answer: {what}.", (_SERVER,), scope="server", lasting=True),
    Message("ceph", _IO, _DEVICE, _WARNING, r"(?:lib)?ceph: (?P<what>(?P<device>(?:mon|osd|mds)\d+)\S* .{0,60}(?:session lost, hunting for new mon|down|hung|caps stale|session blocklisted|reconnect (?:denied|failed)|connect error.{0,40}|timeout.{0,20})|tid \d+ on osd\d+ timeout|.{0,40}pool .{1,40} full)", ("libceph: ", "ceph: "),
            "ceph: {what}", "The Ceph cluster does not serve: {what}.", ("Ask the cluster for its health; then the network to it.",), scope="ceph", lasting=True),
    Message("lustre-lost", _IO, _DEVICE, _WARNING, r"Lustre(?:Error)?: (?:\d+:\d+:\(\S+\) )?(?P<device>[\w.-]{1,60}?)(?:-\w{3,4}-[0-9a-f]{8,16})?: (?P<what>Connection to .{1,100} was lost.{0,80}|This client was evicted by .{1,60}|.{0,60}operation \S+ to node \S+ failed.{0,40}|is offline.{0,20}|.{0,30}Communicating with .{1,100}failed.{0,60})", ("Lustre: ", "LustreError: "),
            "Lustre: {what}", "A Lustre server is not reached: {what}.", (_SERVER,), scope="target", lasting=True),
    Message("afs", _IO, _DEVICE, _WARNING, r"(?:afs|kAFS|AFS|9p|9pnet\w*|orangefs|fuse): .{0,30}(?P<what>server .{1,60}(?:not responding|is down|timed out).{0,40}|Lost contact with .{1,80})", ("Lost contact with", "is down", "not responding"), "{what}", "A server on the network does not answer: {what}.", (_SERVER,), lasting=True),
)
