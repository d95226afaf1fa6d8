"""Disks, their controllers, what is made of disks: see :mod:`postmortem.rules.messages`."""

# ruff: noqa: E501
# fmt: off
# A table is read by its columns: rows stay as wide as they are.

from __future__ import annotations

from postmortem.model.findings import Kind, Severity
from postmortem.rules.messages import PCI, Layer, Message

_IO = Kind.IO_ERROR
_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_BUS, _DEVICE, _BLOCK, _VOLUME = Layer.BUS, Layer.DEVICE, Layer.BLOCK, Layer.VOLUME
_NVME = r"nvme (?P<device>nvme\d+): "
_ATA = r"(?P<device>ata\d+(?:\.\d+)?): "
_SD = r"(?:sd|sr|st|ses|scsi|enclosure) (?P<device>\d+:\d+:\d+:\d+): (?:\[(?P<device2>\w+)\] )?(?:tag#\d+ )?"
_MMC = r"(?P<device>mmc\d+): "
_DM = r"device-mapper: (?P<target>[\w -]{1,32}): (?P<number>\d+:\d+): "
_MD = r"md(?:/\w+)?: ?(?P<device>md\w+): "
_DRBD = r"(?:block (?P<device>drbd\d+)|drbd (?P<resource>[\w.-]+)(?:/\d+)?(?: (?P<device2>drbd\d+))?(?: (?P<peer>[\w.-]+))?): "
_POWER = "Try nvme_core.default_ps_max_latency_us=0 and pcie_aspm=off: power saving is a known cause."
_SLOT = "Check slot, cable, power supply and the drive's firmware; look for PCIe errors before it."
_SMART = "Read the drive's own log (smartctl -x, nvme smart-log), then replace or rewrite what is bad."
_ATA_LINES = "The lines below it say which: UNC is the medium; ICRC, BadCRC, 10B8B the cable; (timeout) a drive, controller or supply that did not answer."
_CABLE = "Change cable and port first: errors of the link are rarely the disk's own."

ROWS: tuple[Message, ...] = (
    # --- nvme: drivers/nvme/host --------------------------------------------------------
    Message("nvme-polled", _IO, _DEVICE, _INFO, _NVME + r"I/O (?:tag )?\d+ .{0,80}timeout, completion polled",
            ("completion polled",), "{device}: lost interrupt",
            "A request of {device} was complete, but its interrupt had not come.",
            ("Check interrupts and, in a guest, the host: the drive itself had answered.",)),
    Message("nvme-timeout", _IO, _DEVICE, _WARNING, _NVME + r"I/O (?:tag )?\d+ .{0,80}timeout",
            ("timeout, aborting", "timeout, reset controller", "timeout, disable controller"),
            "{device}: I/O timeout", "The NVMe controller {device} did not answer a request in time.", (_SMART, _POWER)),
    Message("nvme-down", _IO, _DEVICE, _ERROR,
            _NVME + r"(?P<what>controller is down; will reset): CSTS=(?P<csts>0x[0-9a-f]+)(?:, PCI_STATUS=(?P<status>0x[0-9a-f]+))?",
            ("controller is down; will reset",), "{device}: controller is down",
            "The NVMe controller {device} went down (CSTS={csts}{csts_means}).", (_POWER, _SLOT)),
    Message("nvme-gone", _IO, _DEVICE, _ERROR,
            _NVME + r"(?P<what>Disabling device after reset failure|Removing after probe failure(?: status)?|Removing controller): ?(?P<error>-?\d+)",
            ("Disabling device after reset failure", "Removing after probe failure", "Removing controller:"),
            "{device}: controller failed, disabling device", "The NVMe controller {device} could not be brought back (error {error}): its disks are gone.", (_SLOT, _POWER),
            continues=("nvme-down",)),
    Message("nvme-not-ready", _IO, _DEVICE, _ERROR, _NVME + r"(?P<what>Device not ready; aborting (?:initialisation|reset|shutdown))(?:, CSTS=(?P<csts>0x[0-9a-f]+))?",
            ("Device not ready; aborting",), "{device}: controller not ready", "The NVMe controller {device} did not become ready ({what}).", (_SLOT, _POWER)),
    Message("nvme-recovered", _IO, _DEVICE, _INFO, _NVME + r"\d+/\d+/\d+ default/read/poll queues", ("default/read/poll queues",), "",
            recovers=("nvme-timeout", "nvme-down", "nvme-not-ready")),
    Message("nvme-status", _IO, _BLOCK, _WARNING,
            r"(?P<device>nvme\d+(?:c\d+)?n\d+): (?P<op>[\w ]{2,40})\(0x[0-9a-f]+\) @ LBA (?P<lba>\d+), \d+ blocks, (?P<what>.{3,60}?) \(sct (?P<sct>0x[0-9a-f]+) / sc (?P<sc>0x[0-9a-f]+)\)",
            (" blocks, ",), "{device}: {what}", "The drive {device} answered {op} of LBA {lba} with the status {what}.", (_SMART,)),
    Message("nvme-fabric", _IO, _BUS, _WARNING,
            _NVME + r"(?P<what>failed nvme_keep_alive_end_io|starting error recovery|Reconnecting in \d+ seconds|keep-alive timed? ?out|Connect command failed.{0,60}|failed to connect socket.{0,20}|queue \d+: timeout.{0,60})",
            ("nvme_keep_alive", "starting error recovery", "Reconnecting in ", "Connect command failed", "failed to connect socket", "keep-alive time"),
            "{device}: connection to the target lost", "{device}, an NVMe disk on the network, lost its target ({what}).",
            ("Look at the target and the network between; link messages of the network interface come before.",)),
    Message("nvme-no-path", _IO, _BLOCK, _ERROR, r"(?:block )?(?P<device>nvme\d+n\d+): no (?:usable|available) path - (?P<what>requeuing I/O|failing I/O)",
            ("path - requeuing I/O", "path - failing I/O"), "{device}: no path left", "No path to {device} is left ({what}).",
            ("Look at the paths: each controller's own messages come before.",)),

    # --- SCSI: drivers/scsi ---------------------------------------------------------------
    Message("scsi-offline", _IO, _DEVICE, _ERROR,
            _SD + r"(?P<what>Device offlined - not ready after error recovery|Medium access timeout failure\. Offlining disk!|timing out command, waited \d+s?|Device not ready after error recovery)",
            ("Device offlined", "Offlining disk!", "timing out command, waited"), "{disk}: device offlined",
            "The SCSI device {disk} was taken off line ({what}).", ("Look at the first abort or reset of this host above; then path, cable, drive.",)),
    Message("scsi-rejecting", _IO, _BLOCK, _ERROR, _SD + r"rejecting I/O to (?P<what>offline device|dead device|device being removed)",
            ("rejecting I/O to",), "{disk}: I/O to a dead device", "Requests to {disk} are refused: {what}.", ("Why it went is in the lines above it.",)),
    Message("scsi-sense", _IO, _BLOCK, _WARNING, _SD + r"Sense Key ?: (?P<what>Medium Error|Hardware Error|Not Ready|Aborted Command|Data Protect) \[",
            ("Sense Key :", "Sense Key:"), "{disk}: {what}", "The disk {disk} answered with {what}.", (_SMART,)),
    Message("scsi-result", _IO, _BLOCK, _WARNING,
            _SD + r"(?:tag#\d+ )?(?:FAILED )?Result: hostbyte=(?P<what>DID_(?!OK)\w+) driverbyte=\w+", ("Result: hostbyte=DID_",),
            "{disk}: command failed ({what})", "A command to {disk} failed with {what}.",
            ("DID_NO_CONNECT: the device is gone; DID_TIME_OUT and DID_TRANSPORT_*: look at path, cable and adapter.",)),
    Message("scsi-abort", _IO, _DEVICE, _WARNING,
            r"(?:sd|scsi|mpt3sas|megaraid_sas|qla2xxx|lpfc)? ?(?P<device>\d+:\d+:\d+:\d+): (?:\[(?P<device2>\w+)\] )?(?:tag#\d+ )?(?P<what>attempting task abort|task abort: FAILED|attempting device reset|attempting target reset|attempting host reset|uas_eh_abort_handler|uas_eh_device_reset_handler).{0,60}",
            ("ttempting task abort", "task abort: FAILED", "attempting device reset", "attempting target reset", "attempting host reset", "uas_eh_"),
            "{disk}: command aborted", "A command to {disk} did not end; the driver tried to get it back ({what}).", (_CABLE, _SMART)),
    Message("hba-fault", _IO, _DEVICE, _ERROR,
            r"(?:(?P<device2>mpt[23]sas_cm\d+): |(?P<driver>mpt[23]sas|mpi3mr|megaraid_sas|megasas|smartpqi|hpsa|aacraid|arcmsr\d*|pm80xx|3w-\w+|storvsc|ips|qla2xxx|lpfc|bnx2fc|fnic)[\w-]*:? ?)(?:(?P<device>"
            + PCI + r"|[\w:.-]{1,32}): ?)?(?:\[?\w*\]?:? ?)?.{0,60}?(?P<what>fault_state\(0x[0-9a-f]+\)!?|SAS host is non-operational !*|FW in FAULT state|Firmware (?:crash dump|is in fault state).{0,40}|controller is offline: status code \S+|Controller lockup detected: \S+|controller failed|Reset failed, shutting down (?:controller|adapter)|Host adapter (?:dead|abort request)|Adapter.{0,20}is dead|Unable to (?:reset|recover) (?:the )?(?:adapter|controller))",
            ("fault_state(0x", "host is non-operational", "FW in FAULT", "in fault state", "controller is offline: status", "ontroller lockup detected", "Host adapter dead", "Reset failed, shutting down"),
            "{driver}: adapter failed", "The storage adapter of {driver} failed: {what}. All disks behind it go with it.", ("Firmware, cooling and seat of the adapter; its vendor's tool reads its own log.",)),
    Message("hba-log", _IO, _DEVICE, _WARNING, r"(?P<device>mpt[23]sas_cm\d+|mpi3mr\d+): log_info\(0x(?P<info>[0-9a-f]{8})\): originator\((?P<what>PL|IOP|IR)\)",
            ("): originator(",), "{device}: log_info from {what}", "The adapter {device} reported trouble of its {what} (PL: cable, expander or disk; IOP: firmware).", (_CABLE,)),
    Message("iscsi", _IO, _BUS, _WARNING,
            r"(?:connection(?P<device>\d+):\d+: (?P<what>ping timeout of \d+ secs expired|detected conn error \(\d+\)))", (": ping timeout of", "detected conn error"),
            "iSCSI connection lost", "The iSCSI target of session {device} does not answer ({what}).", ("Look at the network to the target, and at the target.",), scope="iscsi session"),
    Message("iscsi-lost", _IO, _BUS, _ERROR, r"session(?P<device>\d+): session recovery timed out after (?P<what>\d+ secs)", ("session recovery timed out",),
            "iSCSI session lost", "The iSCSI session {device} was given up after {what}: its disks fail from here on.", ("Look at the network to the target, and at the target.",), scope="iscsi session"),
    Message("fc-lost", _IO, _BUS, _ERROR, r"\s*rport-(?P<number>\d+):\S*: (?P<what>blocked FC remote port time out.{0,80})", ("blocked FC remote port",),
            "FC remote port lost", "A Fibre Channel port of {device} did not come back ({what}).", ("Switch, zoning, cable, and the array's port.",)),
    Message("fc-link", _IO, _BUS, _WARNING, r"(?P<driver>qla2xxx|lpfc|bfa|fnic|zfcp|qedf)\S* ?\[?(?P<device>" + PCI + r"|[0-9a-f]\.[0-9a-f]\.[0-9a-f]{4})?\]?(?:-[0-9a-f]{4}:(?P<host>\d{1,5}))?.{0,60}?(?P<what>LOOP DOWN detected|Link [Dd]own [Ee]vent|The local link is down.{0,40}|Devloss timeout|ISP System Error|Abort ISP|PLOGI failure)",
            ("LOOP DOWN", "Link Down Event", "Link down event", "local link is down", "evloss timeout", "ISP System Error"), "{device}: FC link down", "The Fibre Channel adapter {device} ({driver}) reported: {what}.", ("Switch, cable, transceiver, and the array's port.",), lasting=True),
    Message("fc-back", _IO, _BUS, _INFO, r"(?P<driver>qla2xxx|lpfc|bfa|fnic|zfcp|qedf)\S* ?\[?(?P<device>" + PCI + r"|[0-9a-f]\.[0-9a-f]\.[0-9a-f]{4})?\]?(?:-[0-9a-f]{4}:(?P<host>\d{1,5}))?.{0,60}?(?:LOOP UP detected|Link [Uu]p [Ee]vent|The local link has been restored)",
            ("LOOP UP", "Link Up Event", "Link up event", "local link has been restored"), "", recovers=("fc-link", "fc-lost")),

    # --- ATA: drivers/ata -------------------------------------------------------------
    Message("ata-error", _IO, _DEVICE, _WARNING,
            _ATA + r"exception Emask (?P<emask>0x[0-9a-f]+) SAct \S+ SErr (?P<serr>0x[0-9a-f]+) action \S+(?P<what> frozen)?", ("exception Emask",),
            "{device}: exception", "The disk or link at {device} met an error (Emask {emask}, SErr {serr}).", (_ATA_LINES, _SMART)),
    Message("ata-media", _IO, _DEVICE, _WARNING, _ATA + r"error: \{ (?P<what>(?:\w+ )*(?:UNC|IDNF|AMNF) (?:\w+ )*)\}", (": error: {",), "{device}: unreadable sector", "The disk at {device} could not read a sector ({what}): that is its medium, not the cable.", (_SMART,), explains=("ata-error",)),
    Message("ata-cable", _IO, _BUS, _WARNING, _ATA + r"(?:error: \{ (?P<what>(?:\w+ )*ICRC (?:\w+ )*)\}|SError: \{ (?P<what2>(?:\w+ )*(?:BadCRC|10B8B|Dispar|Handshk) (?:\w+ )*)\})",
            (": error: {", "SError: {"), "{device}: errors on the cable", "What came over the cable of {device} was damaged ({what}{what2}).", (_CABLE,), explains=("ata-error",)),
    Message("ata-unplugged", _IO, _BUS, _WARNING, _ATA + r"SError: \{ (?P<what>(?:\w+ )*(?:PHYRdyChg|DevExch|CommWake) (?:\w+ )*)\}", ("SError: {",),
            "{device}: link lost", "The link of {device} went away: unplugged, or its power failed ({what}).", ("Check power and plug of the disk.",), explains=("ata-error",)),
    Message("ata-disabled", _IO, _DEVICE, _ERROR, _ATA + r"(?P<what>disabled|disable device|disabling|COMRESET failed \(errno=-\d+\)|reset failed, giving up|failed to (?:recover|enable) .{1,40})$", (": disable device", ": disabled", "COMRESET failed", "reset failed, giving up"),
            "{device}: disabled", "The disk at {device} was given up ({what}).", (_CABLE, _SMART)),

    # --- mmc: drivers/mmc ----------------------------------------------------------------
    Message("mmc-error", _IO, _DEVICE, _WARNING,
            r"(?P<device>mmc(?:blk)?\d+): (?P<what>error -?\d+ whilst initialising \w+ card|error -?\d+ (?:sending|transferring|requesting) (?:status|stop|data|read|write).{0,80}|timed out sending .{1,60}|(?:Reset 0x[0-9a-f]+ never completed|Internal clock never stabilised).{0,20}|ADMA error.{0,20}|cache flush error -\d+|Timeout waiting for hardware (?:cmd )?interrupt|.{0,40}recovery failed!?|Card stuck (?:being busy|in (?:programming|wrong) state).{0,40}|Got (?:data|command) interrupt \S+ even though no .{0,40}|Controller never released inhibit bit.{0,20}|cqhci: timeout for tag \d+|tried to HW reset card, got error -\d+)",
            ("whilst initialising", " sending status command", " sending stop command", " transferring data", " requesting status", "timed out sending", "never completed", "never stabilised", "ADMA error", "cache flush error", "Timeout waiting for hardware", "recovery failed", "Card stuck", "even though no", "never released inhibit", "timeout for tag", "HW reset card, got error"),
            "{device}: {what}", "The card or its controller {device} failed: {what}.", ("-84: signal; -110: the card, its clock or its supply. Try another card and a slower mode.",)),
    Message("mmc-removed", _IO, _BUS, _WARNING, _MMC + r"card [0-9a-f]{4} removed", (": card ",), "{device}: card removed or silent", "The kernel reached no card at {device} any more: it was taken out, or it does not answer.", ("Taken out? Else its supply, the slot's contacts, or the card itself.",), lasting=True),
    Message("mmc-host", _IO, _DEVICE, _WARNING,
            r"(?P<driver>[\w-]*(?:mmc|sdhci|sdhost|sdhi|msdc)[\w-]*) (?P<device>[\w:.@-]{3,40}): (?P<what>data error, .{0,40}|send stop command failed|fatal err update clk timeout|.{0,20}(?:[Dd]ata|[Cc]ommand|[Cc]md|DTO|[Bb]usy|DMA|[Tt]ransfer) (?:CRC )?(?:error|timeout|timed out)\b.{0,60}|Timeout (?:sending|waiting) .{0,60})",
            ("data error", "send stop command failed", "update clk timeout", " timeout", " timed out", "Timeout sending", "Timeout waiting", "CRC error"),
            "{device}: {what}", "The host controller {device} ({driver}) could not talk to its card: {what}.", ("The card, its contacts, supply and clock; another card in the same slot tells which.",)),

    # --- UFS: drivers/ufs; DASD: drivers/s390/block -----------------------------------------
    Message("ufs", _IO, _DEVICE, _ERROR,
            r"(?P<driver>ufshcd[\w-]*|[\w-]*ufs[\w-]*) (?P<device>[\w.-]{1,48}): (?P<what>(?:ufshcd_\w+: )?(?:link startup failed.{0,20}|Host init failed.{0,20}|[Hh]ost controller enable failed.{0,20}|reset and restore failed.{0,40}|controller reset failed.{0,20}|device reset failed.{0,20}|no response from device.{0,40}|unable to (?:complete|recover).{0,40}))",
            ("link startup failed", "Host init failed", "ost controller enable failed", "reset and restore failed", "controller reset failed", "device reset failed", "no response from device"),
            "{device}: UFS device does not answer", "The UFS storage at {device} ({driver}) does not answer: {what}. All disks on it are gone.", ("Supply, clock and reset of the UFS device; firmware; then the part itself.",)),
    Message("dasd-path", _IO, _BUS, _ERROR,
            r"dasd[\w-]*(?:\.[0-9a-f]+)?:? (?P<device>[0-9a-f]\.[0-9a-f]\.[0-9a-f]{4}): (?:[0-9a-f]\.[0-9a-f]\.[0-9a-f]{4}: )?(?P<what>All cpaths lost.{0,40}|No (?:operational|verified) channel paths? (?:is left|remain)s?.{0,30}|No paths to the device.{0,20})",
            ("All cpaths lost", "channel path", "No paths to the device"),
            "DASD {device}: all channel paths lost", "No channel path to the DASD {device} is left: {what}.", ("Look at the channel, the switch and the storage server (lscss, chpid); not at the disk first.",), scope="dasd"),

    # --- the block layer: block/blk-mq.c, fs/buffer.c, mm/page_io.c ----------------------
    Message("io-unsupported", _IO, _BLOCK, _INFO,
            r"(?:blk_update_request: |print_req_error: |end_request: )?[\w /]{1,40} error, dev (?P<device>[^\s,]+), sector \d+ op 0x[0-9a-f]+:\((?:DISCARD|WRITE_ZEROES|SECURE_ERASE)\)", ("error, dev ",),
            "{device}: discard refused", "The disk {device} refused a discard; no data is concerned."),
    Message("io-error", _IO, _BLOCK, _WARNING,
            r"(?:blk_update_request: |print_req_error: |end_request: )?(?P<what>I/O|critical \w+|critical space allocation|timeout|recoverable transport|protection|device offline|reservation conflict|nexus|device resource|operation not supported) error, dev (?P<device>(?!fd\d|sr\d)[^\s,]+), sector (?P<sector>\d+)(?: op 0x[0-9a-f]+:\((?P<op>\w+)\))?", ("error, dev ",),
            "I/O error, dev {device}", "Requests to the disk {device} failed ({what} error at sector {sector}).", ("The lowest driver's line before it says why.", _SMART)),
    Message("lost-write", _IO, _BLOCK, _ERROR, r"Buffer I/O error on dev(?:ice)? (?P<device>[^,\s]+), logical block (?P<sector>\d+), (?P<what>lost (?:a?sync )?page write)", ("Buffer I/O error",),
            "Buffer I/O error on dev {device}", "Written data did not reach {device}: {what} at block {sector}.", ("Check the file system once the disk answers again.", _SMART)),
    Message("buffer-error", _IO, _BLOCK, _WARNING, r"Buffer I/O error on dev(?:ice)? (?P<device>(?!fd\d|sr\d)[^,\s]+)", ("Buffer I/O error",),
            "Buffer I/O error on dev {device}", "Blocks of {device} could not be read or written.", (_SMART,)),
    Message("beyond-end", _IO, _BLOCK, _WARNING, r"(?:.{1,16}: )?attempt to access beyond end of device", ("beyond end of device",), "attempt to access beyond end of device",
            "A request went past the end of a device: the image is cut, or the file system thinks the disk larger than it is.", ("Compare the size of the disk with that in the file system.",)),
    Message("swap-error", _IO, _BLOCK, _ERROR, r"(?P<what>Read|Write)-error on swap-device \((?P<number>\d+:\d+):\d+\)", ("-error on swap-device",), "{what}-error on swap-device",
            "Swapped memory could not be read back or written: the tasks that need it die.", (_SMART,)),

    # --- device-mapper, md: drivers/md ---------------------------------------------------
    Message("multipath", _IO, _VOLUME, _WARNING, _DM.replace("(?P<target>[\\w -]{1,32})", "multipath") + r"Failing path (?P<path>\d+:\d+)", ("Failing path",),
            "multipath: path failed", "A path to {device} failed.", ("Look at fabric and array if all paths fail, else at that path.",), lasting=True),
    Message("multipath-back", _IO, _VOLUME, _INFO, _DM.replace("(?P<target>[\\w -]{1,32})", "multipath") + r"Reinstating path (?P<path>\d+:\d+)", ("Reinstating path",), "", recovers=("multipath",)),
    Message("dm-thin", _IO, _VOLUME, _ERROR, _DM + r"(?P<what>(?:switching pool|.{0,20}pool) to (?:out-of-data-space(?: mode)?|read-only(?: mode)?|fail(?:ure)? mode|out of metadata space)|metadata operation '.{1,60}' failed.{0,40}|no free .{1,20} space available|aborting current metadata transaction)",
            ("switching pool to", "metadata operation '", " space available", "aborting current metadata"), "device-mapper: {target}: {what}", "The pool {device} reported: {what}. What is on it gets errors.",
            ("Extend the pool (lvextend); after read-only or fail mode run thin_check.",)),
    Message("dm-verity", _IO, _VOLUME, _ERROR, r"device-mapper: verity(?:-fec)?: (?P<number>\d+:\d+): (?P<what>(?:data|metadata) block \d+ is corrupted|FEC \d+: failed to correct.{0,40})", ("is corrupted", "failed to correct"),
            "device-mapper: verity: block is corrupted", "A block of {device} is not what was signed: {what}.", ("Write the image anew; if it comes back, the medium is bad.",)),
    Message("dm-integrity", _IO, _VOLUME, _ERROR, r"device-mapper: (?:integrity|crypt): (?:(?P<device>[^\s:]+): )?(?P<what>(?:Checksum failed at|INTEGRITY AEAD ERROR, |AEAD ERROR, ?)\s?(?:sector )?\S+)", ("Checksum failed at", "AEAD ERROR"),
            "device-mapper: checksum failed", "A sector of {device} is not what was written: {what}.", (_SMART,)),
    Message("dm-error", _IO, _VOLUME, _WARNING, r"device-mapper: (?P<target>[\w -]{1,32}): (?:(?P<number>\d+:\d+): )?(?P<what>.{0,80}(?:[Ff]ail|[Ee]rror|Invalidat|[Uu]nable|corrupt).{0,80})", ("device-mapper: ",),
            "device-mapper: {target} failed", "The device-mapper target {target} reported: {what}.", ("Look at the disks under it: their messages come before.",)),
    Message("md-failed", _IO, _VOLUME, _ERROR,
            r"(?:md/\S+?:|md: ?)(?P<device>md\w+): (?P<what>Cannot continue operation.{0,60}|.{0,30}unrecoverable I/O (?:read )?error.{0,40}|cannot start dirty degraded array|not enough operational (?:devices|mirrors).{0,40}|read error not correctable.{0,60}|failed to run raid set.{0,20}|.{0,60}NOT corrected!!.{0,40}|Too many read errors.{0,40}|insufficient working .{1,40})",
            ("Cannot continue operation", "unrecoverable I/O", "dirty degraded array", "not enough operational", "not correctable", "failed to run raid set", "NOT corrected!!", "insufficient working"),
            "{device}: array failed", "The array {device} failed: {what}.", ("Image the disks before you force it together; find why the members failed.",)),
    Message("md-degraded", _IO, _VOLUME, _WARNING, r"(?:md/\S+?:|md: ?)(?P<device>md\w+): Disk failure on (?P<device2>\w+), disabling device", ("Disk failure on",), "{device}: disk failure on {device2}",
            "The array {device} lost its member {device2}.", ("Replace the member; its own errors come before.",), lasting=True),
    Message("md-mended", _IO, _VOLUME, _INFO, r"md/\S+?:(?P<device>md\w+): read error corrected \((?P<sectors>\d+) sectors at (?P<sector>\d+) on (?P<device2>[\w-]+)\)", ("read error corrected",),
            "{device}: read error corrected", "The array {device} could not read sectors of {device2} and wrote them anew from its other disks: nothing was lost.", (_SMART,), recovers=("io-error", "scsi-sense", "scsi-result", "nvme-status", "buffer-error")),
    Message("md-kicked", _IO, _VOLUME, _WARNING, r"md: kicking non-fresh (?P<device>\w+) from array", ("kicking non-fresh",), "md: kicking non-fresh {device}", "The array was put together without {device}, which was out of date.", ("Find out why it fell out earlier; then add it again.",)),
    Message("drbd-disk", _IO, _VOLUME, _ERROR, _DRBD + r"(?P<what>disk\( \w+ -> (?:Failed|Diskless) \).{0,40}|Local IO failed in.{0,60}|local (?:READ|WRITE) IO error.{0,60})", ("drbd",),
            "{device}: local disk given up", "DRBD gave up the local disk of {device} ({what}): from here on only the peer has the data.", ("Look at the local disk: its own errors come before.",)),
    Message("drbd-peer", _IO, _BUS, _ERROR, _DRBD + r"(?P<what>PingAck did not arrive in time|conn\( \w+ -> (?:NetworkFailure|BrokenPipe|Timeout) \).{0,40}|[Ee]rror receiving .{1,60}|Remote failed to finish a request within.{0,40}|sock was shut down by peer|meta connection shut down by peer)", ("drbd",),
            "drbd: peer lost", "The other node of DRBD's resource {resource}{device} does not answer any more ({what}).", ("Look at the network to the peer, and at the peer.",)),
    Message("drbd", _IO, _VOLUME, _ERROR,
            _DRBD + r"(?P<what>.{0,30}(?:IO ERROR|Split-Brain detected.{0,60}|ASSERT(?:ION)?\(? ?.{1,80}(?: FAILED)?))",
            ("drbd",), "{device}: {what}", "DRBD reported for {device}: {what}.", ("Look at the local disk and at the network to the peer.",)),
    Message("nbd", _IO, _BUS, _WARNING, r"(?:block )?(?P<device>nbd\d+): (?P<what>Connection timed out.{0,40}|shutting down sockets|Receive control failed.{0,40}|Possible stuck request.{0,60}|Send control failed.{0,40}|Other side returned error.{0,20}|Dead connection.{0,40})",
            ("nbd",), "{device}: {what}", "The server behind {device} does not answer: {what}.", ("Look at the nbd server and the network to it.",)),
    Message("virtio-blk", _IO, _DEVICE, _WARNING, r"(?:virtio_blk|xen-blkfront|vbd|blkfront|xen_blkfront)(?: (?P<device>[\w.-]+))?:? (?:\[?(?P<device2>\w+)\]?:? )?(?P<what>op(?:eration)? (?:0x[0-9a-f]+ )?failed|barrier|request timed? ?out|I/O timeout)",
            ("virtio_blk virtio", "blkfront: "), "{device}: request failed", "The host did not serve a request of {device}.", ("Look at the host's storage.",)),
)
