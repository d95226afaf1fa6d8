"""Network adapters, graphics, radios, firmware, any driver: see :mod:`postmortem.rules.messages`."""

# ruff: noqa: E501
# fmt: off
# A table is read by its columns: rows stay as wide as they are.

from __future__ import annotations

from postmortem.model.findings import Kind, Severity
from postmortem.rules.messages import DEV, DRM, Layer, Message

_K = Kind.DEVICE_ERROR
_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_BUS, _DEVICE = Layer.BUS, Layer.DEVICE
_NIC = "Look for PCI errors and power saving (ASPM, EEE) before it; try without offloads (TSO); firmware."
_GPU = "Keep the driver's error state; look for a page fault or a firmware message before it."
_FW = "Firmware and driver versions; PCI errors or power saving before it; the driver's health report (devlink health)."
_OF_GPU = r"(?:" + DEV + DRM + r"|\[drm(?::[\w.]+)?(?: \[(?P<driver2>\w+)\])?\] ?(?:\*ERROR\* ?|(?=GPU HANG)))"
"""Graphics drivers name their device, or, in older ones, only their module."""
_RESET = r"(?:GPU|[Dd]evice|[Ee]ngine|[Cc]ontroller|[Cc]hip|[Aa]dapter|HW|[Hh]ardware|MODE\d|mode\d)"

ROWS: tuple[Message, ...] = (
    # --- network: net/sched/sch_generic.c, drivers/net -----------------------------------------
    Message("tx-timeout", _K, _DEVICE, _WARNING, DEV + r"NETDEV WATCHDOG: CPU: (?P<cpu>\d+): transmit queue (?P<queue>\d+) timed out (?P<ms>\d+) ms", ("NETDEV WATCHDOG: CPU",),
            "NETDEV WATCHDOG: transmit queue timed out", "The adapter {netdev} ({driver}) did not send for {ms} ms: dev_watchdog() only noticed it.", (_NIC,)),
    Message("tx-hang", _K, _DEVICE, _WARNING, DEV + r"(?P<what>Detected Hardware Unit Hang|Detected Tx Unit Hang|.{0,20}[Tt][Xx] (?:unit )?[Hh]ang.{0,60}|[Tt][Xx] timeout.{0,60}|TX timeout detected.{0,20}|tx_timeout.{0,60}|transmit timed out.{0,40}|TX timeout on queue.{0,60}|[Tt]ransmit (?:queue )?\d* ?(?:hang|hung|stall)\w*.{0,40})",
            ("Unit Hang", "x hang", "X hang", "x timeout", "X timeout", "tx_timeout", "transmit timed out", "ransmit queue"),
            "{device}: transmit hang", "The adapter {netdev} at {device} stopped sending ({what}).", (_NIC,)),
    Message("nic-firmware", _K, _DEVICE, _ERROR, DEV + r"(?P<what>.{0,20}(?:Health issue observed.{0,80}|device's health compromised.{0,60}|health recovery failed.{0,40}|timeout\. Will cause a leak of a command resource|Firmware not responding.{0,40}|Keep alive watchdog timeout.{0,20}|[Hh]eartbeat (?:failure|lost|timeout).{0,40}|Firmware hung.{0,40}|poll_health.{0,60}|synd 0x[0-9a-f]+: .{1,60}|CQ error.{0,60}|reset \d+ failed.{0,30}))",
            ("Health issue observed", "health compromised", "health recovery failed", "leak of a command resource", "irmware not responding", "Keep alive watchdog", "eartbeat ", "irmware hung", "poll_health", "synd 0x"),
            "{device}: firmware does not answer", "The firmware of {device} ({driver}) failed: {what}.", (_FW,), lasting=True),
    Message("nic-firmware-back", _K, _DEVICE, _INFO, DEV + r".{0,20}health recovery succeeded", ("health recovery succeeded",), "", recovers=("nic-firmware",)),
    Message("bond-down", _K, _DEVICE, _WARNING, r"(?P<device2>[\w.-]+): (?:\(slave (?P<device>[\w.-]+)\): )?(?P<what>link status definitely down)(?: for interface (?P<device3>[\w.-]+?),)?", ("link status definitely down",),
            "{device}: link down", "The bond {device2} lost its link {device}.", ("Cable, switch, transceiver; the adapter's own messages come before.",), lasting=True),
    Message("bond-back", _K, _DEVICE, _INFO, r"[\w.-]+: (?:\(slave (?P<device>[\w.-]+)\): )?link status definitely up(?: for interface (?P<device3>[\w.-]+?),)?", ("link status definitely up",), "", recovers=("bond-down",)),
    Message("bond-none", _K, _DEVICE, _WARNING, r"(?P<device>[\w.-]+): (?P<what>now running without any active interface)", ("without any active interface",),
            "{device}: no link left", "The bond {device} lost its last link: nothing gets through it.", ("Cable, switch, transceiver; the adapters' own messages come before.",), lasting=True),
    Message("bond-some", _K, _DEVICE, _INFO, r"(?P<device>[\w.-]+): active interface up", ("active interface up",), "", recovers=("bond-none",)),
    Message("link-down", _K, _DEVICE, _INFO, r"(?:" + DEV + r"(?:NIC )?[Ll]ink (?:is )?[Dd]own|(?:(?P<driver2>[\w-]+): )?(?P<device2>(?:eth|en|bond|ib)\w+):? (?:NIC )?[Ll]ink (?:is )?[Dd]own)\b.{0,60}", ("Link is Down", "Link is down", "link is down", ": Link down", ": Link Down", ": link down"),
            "{disk}: link down", "The network link of {disk} went down.", ("Cable, switch, transceiver.",)),

    # --- graphics: drivers/gpu/drm --------------------------------------------------------------
    Message("gpu-fault", _K, _DEVICE, _WARNING, _OF_GPU + r"(?:amdgpu: )?(?P<what>\[\w+\] (?:no-retry |retry )?page fault \(src_id.{0,120}|.{0,20}VM_CONTEXT1_PROTECTION_FAULT.{0,60}|GPU fault detected.{0,60}|fifo: fault [0-9a-f]{2} .{0,120}|.{0,10}SCHED_ERROR \S+.{0,40})", ("page fault (src_id", "PROTECTION_FAULT", "GPU fault detected", "fifo: fault", "SCHED_ERROR"),
            "{device}: GPU page fault", "A program or driver made the GPU {device} use memory that it may not ({what}){of_task}.", ("The process that the lines name, and Mesa.",)),
    Message("gpu-process", _K, _DEVICE, _INFO, _OF_GPU + r"(?:amdgpu: ?)? *.{0,24}?(?:Process information: process|(?:in |for )?[Pp]rocess|offending task:) (?P<by>.{1,32}?)(?: pid (?P<pid>\d+)| \()", ("rocess ", "offending task:"), "", adds=("gpu-fault", "gpu-hang")),
    Message("gpu-wedged", _K, _DEVICE, _ERROR, DEV + DRM + r"(?P<what>.{0,40}?(?:declared device \S+ as wedged|device wedged).{0,60})", (" wedged",),
            "{device}: given up as wedged", "The driver {driver} gave the device {device} up ({what}): nothing runs on it until it is bound anew or the machine restarts.", (_GPU,)),
    Message("gpu-lost", _K, _DEVICE, _ERROR,
            _OF_GPU + r"(?P<what>.{0,40}?(?:GPU Recovery Failed.{0,40}|GPU reset ?\(\d+\) failed.{0,20}|Failed to reset chip.{0,20}|cancelling all in-flight rendering.{0,20}|VRAM is lost.{0,40}|GPU is lost.{0,30}|" + _RESET + r" reset (?:has )?(?:failed|timed out|unsuccessful).{0,40}|[Ff]ailed to reset (?:the )?" + _RESET + r".{0,40}|asic reset failed.{0,30}|" + _RESET + r" (?:recovery|restart) failed.{0,40}))",
            ("GPU Recovery Failed", "reset(", "ailed to reset", "in-flight rendering", "VRAM is lost", "GPU is lost", "reset failed", "reset timed out", "reset unsuccessful", "ecovery failed", "estart failed", "reset has failed"),
            "{device}: reset failed", "The device {device} ({driver}) hung and could not be brought back: {what}.", (_GPU,)),
    Message("gpu-hang", _K, _DEVICE, _WARNING,
            _OF_GPU + r"(?:amdgpu: )?(?P<what>.{0,40}?(?:ring \S+ timeout.{0,80}|GPU HANG: .{1,120}|Timedout job: .{1,120}|GPU reset begin!?.{0,20}|flip_done timed out.{0,20}|commit wait timed out.{0,20}|GPU hang.{0,80}|(?:GPU|gpu) (?:lockup|hung|fault|timeout|stuck).{0,80}|hangcheck.{0,80}|SMU: (?:I'm not done with your previous command|response:0x[0-9A-F]{8} for index).{0,60}|hung (?:job|engine|ring|channel).{0,60}|(?:job|engine|ring|channel|fence) \S{0,30} ?(?:timeout|timed out|hung|hang|stuck).{0,60}|[Ff]ence (?:wait )?timed? ?out.{0,60}|(?:SMU|PSP|SMC|MES|GuC|HuC|DMCUB).{0,40}(?:not responding|no response|fail|timed? ?out|error).{0,60}))",
            (" timeout", "GPU HANG", "GPU hang", "Timedout job", "GPU reset begin", " timed out", "hangcheck", " hung", "lockup", " stuck", "SMU: ", "MES failed", "GuC", "DMCUB", "PSP "),
            "{device}: {what}", "The device {device} ({driver}) hung: {what}{of_task}.", (_GPU,)),
    Message("gpu-back", _K, _DEVICE, _INFO, DEV + DRM + r"(?:amdgpu: )?.{0,30}(?:GPU reset ?(?:\(\d+\))? ?(?:has )?succeeded(?!, trying)|soft recovered|GPU recovery succeeded).{0,30}", ("reset succeeded", ") succeeded", "recovery succeeded", "soft recovered"), "", recovers=("gpu-hang", "gpu-fault")),
    Message("gpu-xid", _K, _DEVICE, _WARNING, r"NVRM: Xid \((?:PCI:)?(?P<device>[0-9a-f:.]+)\): (?P<xid>\d+), (?:pid='?(?P<pid>\d+)'?, name=(?P<by>[^,<]{1,32}), )?(?P<what>.{0,160})", ("NVRM: Xid",),
            "NVRM: Xid {xid}", "The driver of the GPU {device} reported Xid {xid}{xid_means}{of_task}.", ("Xid 13, 31, 43: a program; 48, 63, 64, 92, 94, 95: its memory; 61, 62, 119, 120: its firmware; 74: NVLink; 79: off the bus.",)),
    Message("gpu-lost", _K, _DEVICE, _ERROR, r"NVRM: (?:GPU (?:at )?(?:PCI:)?(?P<device>[0-9a-f:.]+): )?(?P<what>.{0,30}(?:GPU has fallen off the bus|RmInitAdapter failed!?.{0,40}|GPU is lost).{0,30})", ("fallen off the bus", "RmInitAdapter failed", "GPU is lost"),
            "NVRM: {what}", "The GPU {device} is not reached any more: {what}.", (_GPU, "PCI errors, power, heat.")),

    # --- radios, sound, anything with firmware -----------------------------------------------------
    Message("firmware-crash", _K, _DEVICE, _WARNING,
            r"(?:" + DEV + r"|(?P<device2>(?:phy|wlan|hci|ieee80211 phy|Bluetooth: hci)\w*): )(?P<what>.{0,40}?(?:Microcode SW error detected.{0,40}|[Ff]irmware (?:has )?(?:crashed|halted or crashed|error|assert\w*|hung|hang|died|exception|fault|panic|is dead|failed).{0,80}|(?:FW|fw|F/W) (?:crash|assert|error|exception|hang|fault|panic|died)\w*.{0,60}|Failed to start RT ucode.{0,40}|SYSASSERT.{0,40}|ADVANCED_SYSASSERT|ASSERT \w+.{0,60}|hardware (?:is )?dead.{0,40}|MCU (?:fail|hang).{0,60}))",
            ("SW error detected", "irmware crashed", "irmware has", "irmware error", "irmware assert", "irmware hung", "irmware hang", "irmware died", "irmware exception", "irmware fault", "irmware panic", "irmware is dead", "irmware failed", "FW crash", "FW assert", "FW error", "FW exception", "FW hang", "fw crash", "fw error", "fw assert",
             "RT ucode", "SYSASSERT", "ardware is dead", "MCU "),
            "{disk}: firmware crashed", "The firmware of {disk} failed: {what}.", (_FW,)),
    Message("firmware-crash", _K, _DEVICE, _WARNING,
            r"(?:" + DEV + r"|(?P<device2>(?:phy|wlan|hci|ieee80211 phy|Bluetooth: hci)\w*): )(?P<what>.{0,40}?(?:Timeout waiting for hardware access.{0,60}|Message [0-9a-f]{8} \(seq \d+\) timeout|chip reset.{0,10}fail.{0,20}|driver own failed|Queue \d+ (?:is )?stuck.{0,80}|MCU timeout.{0,60}|wmi command \d+ timeout.{0,40}))",
            ("waiting for hardware access", ") timeout", "chip reset", "driver own failed", " stuck", "MCU timeout", "wmi command "),
            "{disk}: firmware does not answer", "The firmware of {disk} does not answer its driver: {what}.", (_FW,)),
    Message("firmware-back", _K, _DEVICE, _INFO, r"(?:" + DEV + r"|(?P<device2>ieee80211 phy\d+): )(?:.{0,20}firmware (?:recovered|restart(?:ed)? successful\w*|reloaded).{0,30}|device successfully recovered)", ("irmware recovered", "irmware restart", "successfully recovered"), "", recovers=("firmware-crash",)),

    # --- any driver ---------------------------------------------------------------------------
    Message("device-dead", _K, _DEVICE, _ERROR,
            DEV + DRM + r"(?P<what>.{0,40}?(?:[Cc]ontroller|[Dd]evice|[Aa]dapter|[Hh]ardware|[Ff]irmware|[Cc]ard|[Cc]hip|HW|FW|[Mm]odem|[Ee]ngine) (?:is |has |was |went )?(?:down|dead|died|gone|lost|not responding|non-?responsive|unresponsive|stopped responding|wedged|in (?:a )?(?:fatal|fault|error|failed) state|hung|offline|disappeared|removed unexpectedly|unrecoverable).{0,80})",
            ("is down", "went down", " is dead", " died", "is gone", "is lost", "was lost", "not responding", "stopped responding", "responsive", "wedged", "fatal state", "fault state", "error state", "failed state", " hung", "is offline", "disappeared", "removed unexpectedly", "unrecoverable"),
            "{device}: {what}", "The device {device} ({driver}) failed: {what}.", (_FW,)),
    Message("device-fatal", _K, _DEVICE, _WARNING,
            DEV + DRM + r"(?P<what>.{0,60}?(?:[Ff]atal (?:hardware |HW |firmware )?error|[Hh]ardware error|[Uu]nrecoverable (?:hardware )?error|internal (?:hardware )?error|parity error|ECC error|hang detected|[Ll]ink (?:is )?lost|watchdog (?:timeout|timed out|expired)|command (?:timeout|timed out)|(?:request|transfer|transaction|reset) (?:timeout|timed out)|timed? ?out waiting for .{1,40}|i2c (?:bus )?(?:timeout|timed out)|bus (?:is )?(?:hung|stuck|locked up)|SDA (?:is )?stuck.{0,20}|(?:DMA|dma) (?:timeout|timed out|error|failed)).{0,80})",
            ("atal error", "atal hardware error", "atal HW error", "atal firmware error", "ardware error", "nrecoverable", "internal error", "internal hardware error", "parity error", "ECC error", "hang detected", "ink lost", "ink is lost", "watchdog time", "watchdog expired", " timed out", " timeout", "us hung", "SDA stuck", "DMA error", "DMA failed", "dma failed", "locked up"),
            "{device}: {what}", "The driver {driver} reported for {device}: {what}."),
    Message("drm-error", _K, _DEVICE, _WARNING, DEV + r"\[drm(?::[\w.]+)?(?: \[\w+\])?\] ?\*ERROR\* ?(?P<what>.{1,200})", ("*ERROR*",),
            "{device}: {what}", "The graphics driver {driver} reported an error of {device}: {what}.", (_GPU,)),
)
