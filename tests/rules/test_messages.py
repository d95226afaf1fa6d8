"""What drivers and file systems say: an example per class, and look-alikes that are harmless."""

# ruff: noqa: E501

from __future__ import annotations

import pytest

from postmortem.judge.messages import explain_message
from postmortem.log.headers import literals, match_header
from postmortem.log.needles import coarse, finder
from postmortem.log.scan import scan_bytes
from postmortem.model.findings import Severity
from postmortem.rules.messages import Layer, messages, row_of

# Row, message as after its prefix, the devices that it is about.
EXAMPLES = [
    ("nvme-polled", "nvme nvme3: I/O tag 12 (100c) QID 2 timeout, completion polled", "nvme3"),
    (
        "nvme-timeout",
        "nvme nvme3: I/O tag 12 (100c) opcode 0x2 (I/O Cmd) QID 2 timeout, aborting req_op:READ(0) size:4096",
        "nvme3",
    ),
    ("nvme-timeout", "nvme nvme3: I/O 12 (Read) QID 3 timeout, aborting", "nvme3"),
    (
        "nvme-down",
        "nvme nvme3: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff",
        "nvme3",
    ),
    ("nvme-gone", "nvme nvme3: Removing after probe failure status: -19", "nvme3"),
    ("nvme-gone", "nvme nvme3: Disabling device after reset failure: -19", "nvme3"),
    ("nvme-not-ready", "nvme nvme3: Device not ready; aborting reset, CSTS=0x1", "nvme3"),
    ("nvme-recovered", "nvme nvme3: 8/0/0 default/read/poll queues", "nvme3"),
    (
        "nvme-status",
        "nvme3n1: Read(0x2) @ LBA 812, 8 blocks, Unrecovered Read Error (sct 0x2 / sc 0x81) DNR",
        "nvme3n1 nvme3",
    ),
    ("nvme-fabric", "nvme nvme5: Reconnecting in 10 seconds...", "nvme5"),
    ("nvme-no-path", "block nvme5n1: no usable path - requeuing I/O", "nvme5n1 nvme5"),
    (
        "scsi-offline",
        "sd 6:0:0:0: Device offlined - not ready after error recovery",
        "scsi 6:0:0:0",
    ),
    (
        "scsi-offline",
        "sd 6:0:0:0: [sdq] Medium access timeout failure. Offlining disk!",
        "scsi 6:0:0:0 sdq",
    ),
    ("scsi-rejecting", "sd 6:0:0:0: rejecting I/O to offline device", "scsi 6:0:0:0"),
    (
        "scsi-sense",
        "sd 6:0:0:0: [sdq] tag#4 Sense Key : Medium Error [current]",
        "scsi 6:0:0:0 sdq",
    ),
    (
        "scsi-result",
        "sd 6:0:0:0: [sdq] tag#4 FAILED Result: hostbyte=DID_TIME_OUT driverbyte=DRIVER_OK cmd_age=61s",
        "scsi 6:0:0:0 sdq",
    ),
    (
        "scsi-abort",
        "sd 6:0:0:0: [sdq] tag#4 uas_eh_abort_handler 0 uas-tag 5 inflight: CMD IN",
        "scsi 6:0:0:0 sdq",
    ),
    (
        "hba-fault",
        "megaraid_sas 0000:3b:00.0: FW in FAULT state Fault code:0x10000 subcode:0x0 func:x",
        "0000:3b:00.0",
    ),
    (
        "hba-fault",
        "megaraid_sas 0000:3b:00.0: Reset failed, shutting down controller.",
        "0000:3b:00.0",
    ),
    ("hba-fault", "mpt3sas_cm0: fault_state(0x2651)!", "mpt3sas_cm0"),
    (
        "hba-log",
        "mpt3sas_cm0: log_info(0x31111000): originator(PL), code(0x11), sub_code(0x1000)",
        "mpt3sas_cm0",
    ),
    (
        "iscsi",
        "connection4:0: ping timeout of 5 secs expired, recv timeout 5, last rx 43",
        "iscsi session 4",
    ),
    ("iscsi-lost", "session4: session recovery timed out after 120 secs", "iscsi session 4"),
    (
        "fc-lost",
        "rport-7:0-2: blocked FC remote port time out: removing target and saving binding",
        "host7",
    ),
    (
        "fc-link",
        "qla2xxx [0000:05:00.0]-500b:7: LOOP DOWN detected (2 7 0 0).",
        "0000:05:00.0 host7",
    ),
    (
        "fc-link",
        "lpfc 0000:05:00.1: 1:1305 Link Down Event x4 received Data: x4 x20",
        "0000:05:00.1",
    ),
    ("fc-link", "zfcp 0.0.1c00: The local link is down: no light detected", "0.0.1c00"),
    (
        "fc-back",
        "qla2xxx [0000:05:00.0]-500a:7: LOOP UP detected (16 Gbps).",
        "0000:05:00.0 host7",
    ),
    ("ata-error", "ata5.00: exception Emask 0x0 SAct 0x40 SErr 0x0 action 0x6 frozen", "ata5"),
    ("ata-media", "ata5.00: error: { UNC }", "ata5"),
    ("ata-media", "ata5.00: error: { IDNF }", "ata5"),
    ("ata-cable", "ata5.00: error: { ICRC ABRT }", "ata5"),
    ("ata-cable", "ata5: SError: { UnrecovData 10B8B BadCRC }", "ata5"),
    ("ata-unplugged", "ata5: SError: { PHYRdyChg CommWake }", "ata5"),
    ("ata-disabled", "ata5.00: disable device", "ata5"),
    ("ata-disabled", "ata5: COMRESET failed (errno=-16)", "ata5"),
    ("mmc-error", "mmc2: Timeout waiting for hardware interrupt.", "mmc2"),
    ("mmc-error", "mmc2: error -110 whilst initialising SD card", "mmc2"),
    ("mmc-error", "mmcblk2: error -110 sending status command, retrying", "mmcblk2"),
    ("mmc-error", "mmcblk2: recovery failed!", "mmcblk2"),
    ("mmc-error", "mmc2: Reset 0x1 never completed.", "mmc2"),
    ("mmc-removed", "mmc2: card aaaa removed", "mmc2"),
    (
        "mmc-host",
        "acme-mmc 4020000.mmc: data error, sending stop command",
        "4020000.mmc",
    ),
    (
        "mmc-host",
        "dwmmc_acme fe310000.mmc: Timeout sending command (cmd 0x202000 arg 0x0 status 0x80202000)",
        "fe310000.mmc",
    ),
    (
        "io-unsupported",
        "critical target error, dev sdq, sector 8 op 0x3:(DISCARD) flags 0x800 phys_seg 1 prio class 2",
        "sdq",
    ),
    (
        "io-error",
        "I/O error, dev sdq, sector 12345 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
        "sdq",
    ),
    ("io-error", "blk_update_request: critical medium error, dev sdq, sector 12345", "sdq"),
    ("io-error", "end_request: I/O error, dev vdq, sector 0", "vdq"),
    ("lost-write", "Buffer I/O error on dev sdq2, logical block 7, lost async page write", "sdq"),
    ("buffer-error", "Buffer I/O error on dev sdq2, logical block 0, async page read", "sdq"),
    ("beyond-end", "mount: attempt to access beyond end of device", ""),
    ("swap-error", "Read-error on swap-device (8:16:4096)", "sdb"),
    ("multipath", "device-mapper: multipath: 253:6: Failing path 8:32.", "dm-6 sdc"),
    ("multipath-back", "device-mapper: multipath: 253:6: Reinstating path 8:32.", "dm-6 sdc"),
    (
        "dm-thin",
        "device-mapper: thin: 253:4: switching pool to out-of-data-space (queue IO) mode",
        "dm-4",
    ),
    ("dm-verity", "device-mapper: verity: 253:1: data block 512 is corrupted", "dm-1"),
    ("dm-integrity", "device-mapper: integrity: dm-2: Checksum failed at sector 0x1f0", "dm-2"),
    ("dm-error", "device-mapper: cache: 253:7: could not commit: metadata error", "dm-7"),
    ("md-failed", "md/raid5:md4: Cannot continue operation (2/5 failed).", "md4"),
    ("md-degraded", "md/raid1:md4: Disk failure on sdq3, disabling device.", "md4 sdq"),
    (
        "md-mended",
        "md/raid1:md4: read error corrected (8 sectors at 812 on sdq3)",
        "md4 sdq",
    ),
    (
        "md-mended",
        "md/raid:md4: read error corrected (8 sectors at 812 on nvme3n1p2)",
        "md4 nvme3n1 nvme3",
    ),
    ("md-kicked", "md: kicking non-fresh sdq3 from array!", "sdq"),
    ("drbd", "block drbd7: IO ERROR: neither local nor remote data, sector 8+8", "drbd7"),
    ("drbd-peer", "drbd acmeres peer1: PingAck did not arrive in time.", "drbd acmeres"),
    ("drbd-disk", "drbd acmeres/0 drbd7: disk( UpToDate -> Failed )", "drbd7"),
    ("nbd", "block nbd3: Connection timed out", "nbd3"),
    ("virtio-blk", "virtio_blk virtio2: [vdq] operation failed", "virtio2 vdq"),
    ("journal-aborted", "Aborting journal on device sdq2-8.", "sdq"),
    ("jbd2-error", "JBD2: I/O error when updating journal superblock for sdq2-8.", "sdq"),
    (
        "ext4-detected-abort",
        "EXT4-fs error (device sdq2): ext4_journal_check_start:83: comm acmed: Detected aborted journal",
        "sdq",
    ),
    (
        "fs-error",
        "EXT4-fs error (device sdq2): ext4_lookup:1855: inode #12: comm acmed: iget: checksum invalid",
        "sdq",
    ),
    ("fs-error", "BTRFS critical (device sdq): corrupt leaf: root=2 block=1 slot=2", "sdq"),
    (
        "fs-error",
        "XFS (sdq): Internal error xfs_trans_cancel at line 954 of file fs/xfs/xfs_trans.c.",
        "sdq",
    ),
    ("fs-error", "FAT-fs (sdq1): error, invalid access to FAT (entry 0x0fffffff)", "sdq"),
    ("fs-error", "SQUASHFS error: Unable to read fragment cache entry [1c6]", ""),
    ("fs-readonly", "EXT4-fs (sdq2): Remounting filesystem read-only", "sdq"),
    ("fs-readonly", "BTRFS info (device sdq): forced readonly", "sdq"),
    ("fs-readonly", "FAT-fs (sdq1): Filesystem has been set read-only", "sdq"),
    (
        "fs-readonly",
        "UBIFS error (ubi0:1 pid 77): ubifs_ro_mode.part.0: switched to read-only mode, error -22",
        "ubi0:1 pid 77",
    ),
    (
        "ext4-io",
        "EXT4-fs warning (device sdq2): ext4_end_bio:343: I/O error 10 writing to inode 12 starting block 9)",
        "sdq",
    ),
    ("ext4-io", "EXT4-fs (sdq2): I/O error while writing superblock", "sdq"),
    ("ext4-old-error", "EXT4-fs (sdq2): error count since last fsck: 4", "sdq"),
    (
        "fs-shutdown",
        "XFS (dm-3): Corruption of in-memory data (0x8) detected at xfs_defer_finish_noroll+0x1/0x2 (fs/xfs/x.c:573).  Shutting down filesystem.",
        "dm-3",
    ),
    (
        "fs-shutdown",
        "XFS (dm-3): Log I/O Error (0x2) detected at xlog_ioend_work+0x1/0x2 (fs/xfs/x.c:1).  Shutting down filesystem.",
        "dm-3",
    ),
    (
        "xfs-io",
        'XFS (dm-3): metadata I/O error in "xfs_buf_ioend" at daddr 0x10 len 8 error 5',
        "dm-3",
    ),
    (
        "alloc-deadlock",
        "XFS: acmed(812) possible memory allocation deadlock size 65552 in kmem_alloc (mode:0x250)",
        "",
    ),
    (
        "btrfs-abort",
        "BTRFS: error (device sdq: state A) in btrfs_commit_transaction:2418: errno=-5 IO failure (Error while writing out transaction)",
        "sdq",
    ),
    (
        "btrfs-device",
        "BTRFS error (device sdq): bdev /dev/sdq errs: wr 1, rd 0, flush 0, corrupt 0, gen 0",
        "sdq",
    ),
    (
        "btrfs-mended",
        "BTRFS info (device sdq): read error corrected: ino 257 off 0 (dev /dev/sdq sector 8)",
        "sdq",
    ),
    (
        "btrfs-csum",
        "BTRFS warning (device sdq): csum failed root 5 ino 257 off 0 csum 0x1 expected csum 0x2 mirror 1",
        "sdq",
    ),
    (
        "zfs-suspended",
        "WARNING: Pool 'tank7' has encountered an uncorrectable I/O failure and has been suspended.",
        "pool tank7",
    ),
    (
        "quota-error",
        "Quota error (device sdq2): qtree_write_dquot: Can't write quota structure (error -28).",
        "sdq",
    ),
    (
        "nfs-silent",
        "nfs: server filer3.acme.test not responding, still trying",
        "server filer3.acme.test",
    ),
    ("nfs-back", "nfs: server filer3.acme.test OK", "server filer3.acme.test"),
    (
        "nfs-error",
        "NFS: state manager: lease expired failed on NFSv4 server filer3 with error 5",
        "server filer3",
    ),
    ("rpc-error", "rpcbind: server filer3 not responding, timed out", "server filer3"),
    (
        "cifs-silent",
        "CIFS: VFS: \\\\smb4.acme.test has not responded in 180 seconds. Reconnecting...",
        "server smb4.acme.test",
    ),
    ("ceph", "libceph: osd3 (1)10.9.8.7:6800 connect error: down", "ceph osd3"),
    (
        "lustre-lost",
        "Lustre: acmefs-OST0003-osc-ffff888012345678: Connection to acmefs-OST0003 (at 10.9.8.7@tcp) was lost; in progress operations using this service will wait",
        "target acmefs-OST0003",
    ),
    ("afs", "kAFS: Lost contact with server 10.9.8.7", ""),
    (
        "edac-corrected",
        "EDAC MC0: 3 CE memory read error on CPU_SrcID#0_MC#1_Chan#1_DIMM#0 (channel:1 slot:0 page:0x7 offset:0x40 grain:32 syndrome:0x0 -  socket:0)",
        "dimm CPU_SrcID#0_MC#1_Chan#1_DIMM#0",
    ),
    (
        "edac",
        "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_Ha#0_Chan#0_DIMM#0 (channel:0 slot:0)",
        "dimm CPU_SrcID#0_Ha#0_Chan#0_DIMM#0",
    ),
    ("ghes-corrected", "{3}[Hardware Error]: event severity: corrected", ""),
    ("ghes", "{1}[Hardware Error]: event severity: fatal", ""),
    ("bert", "BERT: Error records from previous boot:", ""),
    (
        "memory-failure",
        "Memory failure: 0x12345: recovery action for dirty LRU page: Recovered",
        "",
    ),
    ("soft-offline", "Soft offlining pfn 0x12345 at process virtual address 0x0", ""),
    (
        "thermal-shutdown",
        "thermal thermal_zone0: acme-thermal: critical temperature reached, shutting down",
        "thermal_zone0",
    ),
    (
        "thermal-throttled",
        "mce: CPU3: Core temperature is above threshold, cpu clock is throttled (total events = 1)",
        "",
    ),
    (
        "aer",
        "pcieport 0000:00:1c.0: AER: Uncorrected (Fatal) error received: 0000:01:00.0",
        "0000:01:00.0",
    ),
    (
        "aer-nonfatal",
        "acmenet 0000:01:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=Transaction Layer, (Requester ID)",
        "0000:01:00.0",
    ),
    (
        "aer-corrected",
        "pcieport 0000:00:1c.0: AER: Correctable error message received from 0000:01:00.0",
        "0000:01:00.0",
    ),
    (
        "aer-unrecovered",
        "acmenet 0000:01:00.0: AER: can't recover (no error_detected callback)",
        "0000:01:00.0",
    ),
    ("aer-recovered", "pcieport 0000:00:1c.0: AER: device recovery successful", "0000:00:1c.0"),
    (
        "dpc",
        "pcieport 0000:00:1c.0: DPC: containment event, status:0x1f01: unmasked uncorrectable error detected",
        "0000:00:1c.0",
    ),
    ("pci-gone", "pcieport 0000:00:1c.0: pciehp: Slot(4): Link Down", "0000:00:1c.0"),
    (
        "pci-gone",
        "igc 0000:01:00.0 enp1s0: PCIe link lost, device now detached",
        "0000:01:00.0 enp1s0",
    ),
    ("eeh", "EEH: Frozen PHB#3-PE#fd detected", ""),
    ("eeh", "EEH: Detected PCI bus error on PHB#4-PE#1", ""),
    ("ufs", "ufshcd-acme 1d00000.ufshc: link startup failed -110", "1d00000.ufshc"),
    (
        "dasd-path",
        "dasd-eckd 0.0.0301: No operational channel path is left for the device",
        "dasd 0.0.0301",
    ),
    ("eeh-lost", "EEH: Unable to recover from failure from PHB#3-PE#fd.", ""),
    (
        "eeh-lost",
        "EEH: This PCI device has failed 6 times in the last hour and has been"
        " permanently disabled.",
        "",
    ),
    ("eeh-back", "EEH: Recovery successful.", ""),
    (
        "iommu-fault",
        "DMAR: [DMA Read NO_PASID] Request device [03:00.0] fault addr 0xffff0000 [fault reason 0x06] PTE Read access is not set",
        "0000:03:00.0",
    ),
    (
        "iommu-fault",
        "acmenet 0000:03:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000b address=0x20ffff00 flags=0x0000]",
        "0000:03:00.0",
    ),
    (
        "iommu-gone",
        "AMD-Vi: Event logged [IOTLB_INV_TIMEOUT device=03:00.0 address=0x7]",
        "0000:03:00.0",
    ),
    ("xhci-dead", "xhci_hcd 0000:00:14.0: HC died; cleaning up", "0000:00:14.0"),
    (
        "xhci-timeout",
        "xhci_hcd 0000:00:14.0: xHCI host not responding to stop endpoint command",
        "0000:00:14.0",
    ),
    (
        "xhci-back",
        "xhci_hcd 0000:00:14.0: xHC error in resume, USBSTS 0x401, Reinit",
        "0000:00:14.0",
    ),
    ("usb-retry", "usb 3-1.4: device descriptor read/64, error -71", "usb 3-1.4"),
    ("usb-enum", "usb 3-1.4: device not accepting address 9, error -71", "usb 3-1.4"),
    ("fs-error", "XFS (vdq1): log mount/recovery failed: error -117", "vdq"),
    ("xfs-io", "XFS (vdq1): log mount/recovery failed: error -5", "vdq"),
    (
        "clock-unstable",
        "clocksource: timekeeping watchdog on CPU2: Marking clocksource 'tsc' as unstable because the skew is too large:",
        "",
    ),
    ("clock-jump", "clock jump detected: 300 s", ""),
    ("kvm-error", "KVM internal error. Suberror: 1", ""),
    ("xen-error", "xen:grant_table: g.e. 0x31 still in use!", ""),
    ("suspend-failed", "PM: Some devices failed to suspend, or early wake event detected", ""),
    (
        "pm-callback",
        "acmehci 0000:00:14.0: PM: dpm_run_callback(): pci_pm_suspend+0x0/0x170 returns -16",
        "0000:00:14.0",
    ),
    (
        "sched-ext",
        'sched_ext: BPF scheduler "acme_rr" disabled (runnable task stall)',
        "scheduler acme_rr",
    ),
    (
        "sched-ext-stall",
        "sched_ext: acme_rr: acmed[812] failed to run for 31.100s",
        "scheduler acme_rr",
    ),
    (
        "power-domain",
        "acme-pd ffd80000.power-controller: failed to get ack on domain 'npu', target_idle = 0, val=0x1",
        "ffd80000.power-controller",
    ),
    (
        "tx-timeout",
        "acmenet 0000:03:00.0 eth4: NETDEV WATCHDOG: CPU: 3: transmit queue 0 timed out 5120 ms",
        "0000:03:00.0 eth4",
    ),
    (
        "tx-hang",
        "e1000e 0000:00:1f.6 enp0s31f6: Detected Hardware Unit Hang:",
        "0000:00:1f.6 enp0s31f6",
    ),
    (
        "nic-firmware",
        "acmenet 0000:03:00.0: Health issue observed, firmware internal error, severity(3) ERROR:",
        "0000:03:00.0",
    ),
    ("nic-firmware-back", "acmenet 0000:03:00.0: health recovery succeeded", "0000:03:00.0"),
    (
        "bond-down",
        "bond0: (slave eth4): link status definitely down, disabling slave",
        "eth4 bond0",
    ),
    (
        "bond-down",
        "bond3: link status definitely down for interface eth4, disabling it",
        "bond3 eth4",
    ),
    (
        "bond-back",
        "bond3: (slave eth4): link status definitely up, 25000 Mbps full duplex",
        "eth4 bond3",
    ),
    ("bond-none", "bond3: now running without any active interface!", "bond3"),
    ("bond-some", "bond3: active interface up!", "bond3"),
    ("link-down", "mlx5_core 0000:03:00.0 eth4: Link down", "0000:03:00.0 eth4"),
    ("link-down", "cxgb4 0000:03:00.4 eth4: link down", "0000:03:00.4 eth4"),
    ("link-down", "acmenet 0000:03:00.0 eth4: NIC Link is Down", "0000:03:00.0 eth4"),
    (
        "gpu-fault",
        "acmegpu 0000:0a:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:3 pasid:32770)",
        "0000:0a:00.0",
    ),
    (
        "gpu-process",
        "acmegpu 0000:0a:00.0: amdgpu:  Process otter-view pid 812 thread otter-view:cs0 pid 813",
        "0000:0a:00.0",
    ),
    (
        "gpu-process",
        "acmegpu 0000:0a:00.0: amdgpu:  in process otter-view pid 812 thread otter-view:cs0 pid 813",
        "0000:0a:00.0",
    ),
    (
        "gpu-hang",
        "[drm:acmegpu_job_timedout [acmegpu]] *ERROR* ring gfx timeout, signaled seq=3, emitted seq=5",
        "",
    ),
    (
        "gpu-hang",
        "[drm:drm_atomic_helper_wait_for_flip_done [drm_kms_helper]] *ERROR* [CRTC:51:crtc-0] flip_done timed out",
        "",
    ),
    (
        "gpu-wedged",
        "acmegpu 0000:0a:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:0a:00.0 as wedged.",
        "0000:0a:00.0",
    ),
    (
        "gpu-hang",
        "acmegpu 0000:0a:00.0: amdgpu: SMU: I'm not done with your previous command: SMN_C2PMSG_66:0x7",
        "0000:0a:00.0",
    ),
    ("gpu-lost", "acmegpu 0000:0a:00.0: GPU reset(3) failed", "0000:0a:00.0"),
    (
        "gpu-hang",
        "acmegpu 0000:0a:00.0: [drm] *ERROR* ring sdma1 timeout, signaled seq=7, emitted seq=9",
        "0000:0a:00.0",
    ),
    ("gpu-back", "acmegpu 0000:0a:00.0: amdgpu: GPU reset(2) succeeded!", "0000:0a:00.0"),
    (
        "gpu-xid",
        "NVRM: Xid (PCI:0000:0a:00): 79, pid=77, GPU has fallen off the bus.",
        "0000:0a:00.0",
    ),
    (
        "firmware-crash",
        "iwlwifi 0000:04:00.0: Microcode SW error detected. Restarting 0x0.",
        "0000:04:00.0",
    ),
    ("firmware-crash", "acmewifi 0000:04:00.0: firmware crashed! (guid n/a)", "0000:04:00.0"),
    ("firmware-crash", "mt7925e 0000:04:00.0: Message 00020007 (seq 9) timeout", "0000:04:00.0"),
    ("firmware-crash", "mt7925e 0000:04:00.0: driver own failed", "0000:04:00.0"),
    ("firmware-back", "acmewifi 0000:04:00.0: device successfully recovered", "0000:04:00.0"),
    (
        "device-dead",
        "acmeaccel 0000:0b:00.0: device is not responding, giving it up",
        "0000:0b:00.0",
    ),
    ("device-fatal", "acmecan can0.auto: watchdog timeout, resetting", "can0.auto"),
    (
        "drm-error",
        "acmegpu 0000:0a:00.0: [drm] *ERROR* link training failed for good",
        "0000:0a:00.0",
    ),
]

# Rows with a stack behind them: in tests/log/test_messages.py.
WITH_STACK = {"spl-assert", "lustre-assert", "fs-assert", "freeze-failed", "dpm-timeout"}

HARMLESS = [
    "NMI watchdog: Perf NMI watchdog permanently disabled",
    "nvme nvme3: pci function 0000:01:00.0",
    "nvme nvme3: missing or invalid SUBNQN field.",
    "nvme nvme3: Ignoring bogus Namespace Identifiers",
    "sd 6:0:0:0: [sdq] Attached SCSI disk",
    "sd 6:0:0:0: [sdq] No Caching mode page found",
    "sd 6:0:0:0: [sdq] Assuming drive cache: write through",
    "sd 6:0:0:0: Power-on or device reset occurred",
    "sd 6:0:0:0: [sdq] tag#4 Sense Key : Recovered Error [current]",
    "sd 6:0:0:0: [sdq] tag#4 Sense Key : Unit Attention [current]",
    "sd 6:0:0:0: [sdq] tag#4 Sense Key : Illegal Request [current]",
    "sd 6:0:0:0: [sdq] tag#4 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=0s",
    "ata5: SATA link down (SStatus 0 SControl 300)",
    "ata5: SATA link up 6.0 Gbps (SStatus 133 SControl 300)",
    "ata5.00: configured for UDMA/133",
    "ata5: EH complete",
    "ata5: DUMMY",
    "ata5: SATA link down (SStatus 0 SControl 310)",
    "acme-mmc 4020000.mmc: initialized, max. request size: 16384 KB",
    "mmc_host mmc2: Bus speed (slot 0) = 50000000Hz (slot req 400000Hz, actual 400000HZ div = 63)",
    "mmc2: SDHCI controller on fe340000.mmc [fe340000.mmc] using ADMA",
    "qla2xxx [0000:05:00.0]-00fb:7: QLogic QLE2692 - acme.",
    "bond3: (slave eth4): Enslaving as a backup interface with a down link",
    "bond3: (slave eth4): making interface the new active one",
    "[drm] Initialized acmegpu 3.57.0 20150101 for 0000:0a:00.0 on minor 1",
    "[drm:acmegpu_init [acmegpu]] Detected VRAM RAM=8176M, BAR=8192M",
    "md/raid1:md4: redirecting sector 812 to other mirror: sdr3",
    "ata5.00: error: { ABRT }",
    "I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
    "blk_update_request: I/O error, dev sr0, sector 0",
    "mmc2: new ultra high speed SDR104 SDXC card at address aaaa",
    "device-mapper: ioctl: 4.48.0-ioctl (2023-03-01) initialised: dm-devel@redhat.com",
    "md/raid1:md4: active with 2 out of 2 mirrors",
    "EXT4-fs (sdq2): mounted filesystem with ordered data mode. Quota mode: none.",
    "EXT4-fs (sdq2): recovery complete",
    "EXT4-fs (sdq2): orphan cleanup on readonly fs",
    "EXT4-fs (sdq2): re-mounted. Opts: errors=remount-ro",
    "XFS (dm-3): Mounting V5 Filesystem",
    "XFS (dm-3): Ending clean mount",
    "XFS (dm-3): Starting recovery (logdev: internal)",
    "BTRFS info (device sdq): using crc32c (crc32c-intel) checksum algorithm",
    "BTRFS warning (device sdq): space cache v1 is being deprecated",
    "exFAT-fs (loop7): error, failed to read boot sector of an image",
    "nfs: server acme mounted",
    "Lustre: Lustre: Build Version: 2.15.3",
    "EDAC MC0: Giving out device to module acme_edac controller acme: DEV 0000:3a:0a.0 (INTERRUPT)",
    "EDAC sbridge: Seeking for: PCI ID 8086:2fa0",
    "pcieport 0000:00:1c.0: AER: enabled with IRQ 122",
    "pcieport 0000:00:1c.0: DPC: enabled with IRQ 122",
    "pcieport 0000:00:1c.0: pciehp: Slot #4 AttnBtn- PwrCtrl- MRL- AttnInd- PwrInd- HotPlug+",
    "pci 0000:03:00.0: can't disable ASPM; OS doesn't have ASPM control",
    "pci 0000:00:1c.0: BAR 13: failed to assign [io size 0x1000]",
    "acmenet 0000:03:00.0: 8.000 Gb/s available PCIe bandwidth, limited by 2.5 GT/s PCIe x4 link",
    "EEH: pSeries platform initialized",
    "DMAR: Host address width 46",
    "AMD-Vi: Interrupt remapping enabled",
    "xhci_hcd 0000:00:14.0: new USB bus registered, assigned bus number 1",
    "usb 3-1.4: reset SuperSpeed USB device number 2 using xhci_hcd",
    "usb 3-1.4: USB disconnect, device number 3",
    "clocksource: Switched to clocksource tsc",
    "kvm [812]: vcpu0, guest rIP: 0xffffffff81066fa8 ignored rdmsr: 0x3a",
    "kvm: vcpu0 unhandled rdmsr: 0x140",
    "PM: suspend entry (deep)",
    "Freezing user space processes completed (elapsed 0.001 seconds)",
    'sched_ext: BPF scheduler "acme_rr" enabled',
    'sched_ext: BPF scheduler "acme_rr" disabled (unregistered from user space)',
    "acme-reg 1c28000.serial: supply vcc not found, using dummy regulator",
    "acmegpu 0000:0a:00.0: [drm] fb0: acmegpudrmfb frame buffer device",
    "acmegpu 0000:0a:00.0: [drm] Finished loading DMC firmware i915/acme.bin (v2.1)",
    "acmewifi 0000:04:00.0: Direct firmware load for acme/fw-77.bin failed with error -2",
    "ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0.LPCB], AE_NOT_FOUND (20230331/psargs-330)",
    "[Firmware Bug]: TSC ADJUST: CPU0: -1 force to 0",
    "perf: interrupt took too long (2501 > 2500), lowering kernel.perf_event_max_sample_rate",
    "random: crng init done",
    "systemd[1]: acme.service: Main process exited, code=exited, status=1/FAILURE",
    "acmed[77]: I/O error, dev sdq, sector 5",
    "workqueue: acme_work_func hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    'audit: type=1400 audit(1.2:3): apparmor="DENIED" operation="open" comm="acmed" name="device is down"',
]


@pytest.mark.parametrize(("name", "line", "devices"), EXAMPLES, ids=[e[1][:50] for e in EXAMPLES])
def test_message_is_its_class_and_names_its_devices(name: str, line: str, devices: str) -> None:
    header = match_header(line)
    assert header is not None and header.form.name == name
    row = row_of(name)
    assert row is not None
    if row.recovers or row.adds:
        return  # no report of its own
    (report,) = scan_bytes(f"[   10.000000] {line}\n".encode()).reports
    assert (report.form, " ".join(report.devices)) == (name, devices)
    assert report.title and "{" not in report.title and "  " not in report.title


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless_line_is_no_report(line: str) -> None:
    header = match_header(line)
    row = row_of(header.form.name) if header is not None else None
    assert header is None or (row is not None and row.recovers)
    assert scan_bytes(f"[   10.000000] {line}\n".encode()).reports == []


def test_every_row_has_an_example() -> None:
    assert {row.name for row in messages()} - {name for name, _, _ in EXAMPLES} == WITH_STACK


@pytest.mark.parametrize("line", [line for _, line, _ in EXAMPLES])
def test_both_searches_stop_at_the_message(line: str) -> None:
    assert any(literal in line for literal in literals())
    assert any(needle in line.encode() for needle in coarse())
    assert finder()(line.encode())


def test_rows_of_one_name_agree_on_kind_and_layer() -> None:
    for row in messages():
        first = row_of(row.name)
        assert first is not None and (first.kind, first.layer) == (row.kind, row.layer)


def test_what_is_lost_is_an_error_and_what_was_mended_is_not() -> None:
    def severity(name: str) -> Severity:
        row = row_of(name)
        assert row is not None
        return row.severity

    assert severity("nvme-gone") is severity("fs-readonly") is Severity.ERROR
    assert severity("edac-corrected") is Severity.WARNING
    assert severity("aer-corrected") is severity("nvme-polled") is Severity.INFO


def test_a_layer_stands_on_the_ones_below() -> None:
    assert Layer.HOST < Layer.BUS < Layer.DEVICE < Layer.BLOCK < Layer.VOLUME < Layer.FILESYSTEM


def test_a_core_form_is_no_message() -> None:
    assert row_of("page-fault") is None and row_of("") is None


SENTENCES = [
    ("BTRFS: assertion failed: eggs >= 0, in fs/btrfs/nest.c:31", "Btrfs checked"),
    ("XFS: Assertion failed: eggs >= 0, file: fs/xfs/nest.c, line: 31", "XFS checked"),
    ("NVRM: GPU 0000:c1:00.0: GPU has fallen off the bus.", "is not reached any more"),
    (
        "Memory failure: 0x7a11b0: recovery action for clean LRU page: Recovered",
        "was found: recovery action",
    ),
    (
        "DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0x7b1c0000"
        " [fault reason 0x06] PTE Read access is not set",
        "The device 01:00.0 made a DMA",
    ),
]


@pytest.mark.parametrize(("message", "said"), SENTENCES, ids=lambda text: text[:24])
def test_rows_that_share_a_name_have_their_own_sentences(message: str, said: str) -> None:
    (report,) = scan_bytes(f"[    3.000000] {message}\n".encode()).reports
    sentence = explain_message(report)
    assert sentence is not None and said in sentence


def test_how_often_a_line_was_said_is_not_how_often_it_failed() -> None:
    lines = [
        "[  3.000000]  connection3:0: ping timeout of 5 secs expired, recv timeout 5",
        "[  3.000050]  connection3:0: detected conn error (1022)",
    ]
    (report,) = scan_bytes("".join(f"{line}\n" for line in lines).encode()).reports
    sentence = explain_message(report)
    assert sentence is not None and sentence.endswith("Said 2 times.")


def test_how_often_and_in_what_time_a_line_was_said() -> None:
    line = "nfs: server 192.0.2.7 not responding, still trying"
    data = f"[   10.000000] {line}\n[   12.000000] {line}\n[   40.400000] {line}\n".encode()
    (report,) = scan_bytes(data).reports
    sentence = explain_message(report)
    assert sentence is not None and "Said 3 times in 30 s." in sentence
