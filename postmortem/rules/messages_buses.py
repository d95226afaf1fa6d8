"""PCI, USB, IOMMU, memory errors, heat: see :mod:`postmortem.rules.messages`."""

# ruff: noqa: E501
# fmt: off
# A table is read by its columns: rows stay as wide as they are.

from __future__ import annotations

from postmortem.model.findings import Kind, Severity
from postmortem.rules.messages import PCI, Layer, Message

_DEV, _HW = Kind.DEVICE_ERROR, Kind.MACHINE_CHECK
_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_HOST, _BUS, _DEVICE = Layer.HOST, Layer.BUS, Layer.DEVICE
_USB = r"usb (?P<device>\d+-\d+(?:\.\d+)*|usb\d+)(?:-port\d+)?: "
_HE = r"(?:mce: )?(?:\{\d+\})?(?:\[Hardware Error\]: ?)+"
_DIMM = "Note the DIMM and watch the rate: replace it if the number of corrected errors grows."
_REPLACE = "Replace the DIMM (or processor) that it names; ask the management controller's log (IPMI SEL)."
_SLOT = "Seat, riser, cable and power of the device; firmware; then the device itself."
_ASPM = "Power saving of the link (pcie_aspm=off) is a known cause."

ROWS: tuple[Message, ...] = (
    # --- memory errors: drivers/edac, drivers/acpi/apei, mm/memory-failure.c -----------------
    Message("edac-corrected", _HW, _HOST, _WARNING,
            r"EDAC (?P<mc>\S+): (?P<errors>\d+) (?P<severity>CE) (?P<what>.{0,60}?) ?on (?P<device>.{1,80}?) \((?P<place>.{0,300})\)?", (" CE ",),
            "EDAC: corrected memory error on {device}", "The memory controller corrected an error of the DIMM {device}{where}: nothing was lost.", (_DIMM,), scope="dimm"),
    Message("edac-corrected", _HW, _HOST, _WARNING, r"EDAC (?P<mc>\S+): (?P<errors>\d+ )?(?P<severity>CE) (?P<what>.{0,120})", (" CE ",),
            "EDAC: corrected memory error", "The memory controller corrected an error ({what}): nothing was lost.", (_DIMM,)),
    Message("edac", _HW, _HOST, _ERROR,
            r"EDAC (?P<mc>\S+): (?P<errors>\d+) (?P<severity>UE) (?P<what>.{0,60}?) ?on (?P<device>.{1,80}?) \((?P<place>.{0,300})\)?", (" UE ",),
            "EDAC: uncorrected memory error on {device}", "The memory controller met an error of the DIMM {device}{where} that it could not correct: the data there is lost.", (_REPLACE,), scope="dimm"),
    Message("edac", _HW, _HOST, _ERROR, r"EDAC (?P<mc>\S+): (?P<errors>\d+ )?(?P<severity>UE) (?P<what>.{0,120})", (" UE ",),
            "EDAC: uncorrected memory error", "The memory controller met an error that it could not correct ({what}): the data there is lost.", (_REPLACE,)),
    Message("ghes-corrected", _HW, _HOST, _WARNING, _HE + r"event severity: (?P<severity>corrected|info)", ("event severity:",),
            "Hardware Error: corrected", "The firmware reported a hardware error that was corrected: nothing was lost.", ("Watch the rate; the lines below it name the part.",), continues=("bert",), stack=True),
    Message("ghes", _HW, _HOST, _ERROR, _HE + r"event severity: (?P<severity>fatal|recoverable|uncorrected)", ("event severity:",),
            "Hardware Error: {severity}", "The firmware reported a hardware error of severity {severity}.", ("The lines below it name the part: section_type, DIMM location, device_id.", _REPLACE), continues=("bert",), stack=True),
    Message("bert", _HW, _HOST, _WARNING, r"BERT: Error records from previous boot", ("BERT: Error records",),
            "BERT: error records from previous boot", "The firmware kept hardware errors of the boot before this log: they may explain why that one ended.", ("Read the records below it: they belong to the boot before.",), stack=True),
    Message("memory-failure", _HW, _HOST, _ERROR, r"Memory failure: (?P<pfn>0x[0-9a-f]+): (?P<what>recovery action for .{1,60}: (?:Ignored|Failed).{0,20}|reserved kernel page.{0,60}|.{0,60}unhandled.{0,40}|kernel page.{0,20})", ("Memory failure: 0x",),
            "Memory failure", "A page with bad memory (frame {pfn}) could not be taken out of use: {what}.", (_REPLACE,)),
    Message("memory-failure", _HW, _HOST, _WARNING, r"Memory failure: (?P<pfn>0x[0-9a-f]+): (?P<what>recovery action for .{1,60}: .{1,40}|Sending SIGBUS to (?P<by>.{1,16}):(?P<pid>\d+) due to hardware memory corruption|Killing (?P<by2>.{1,16}):(?P<pid2>\d+) due to hardware memory corruption|soft offline.{0,60})", ("Memory failure: 0x",),
            "Memory failure", "A page with bad memory (frame {pfn}) was found: {what}.", (_REPLACE,)),
    Message("soft-offline", _HW, _HOST, _INFO, r"Soft offlining pfn (?P<pfn>0x[0-9a-f]+)", ("Soft offlining pfn",), "Memory failure: page taken out of use", "The page frame {pfn} was taken out of use after corrected errors.", (_DIMM,)),

    # --- heat: drivers/thermal ---------------------------------------------------------------
    Message("thermal-shutdown", Kind.THERMAL, _HOST, _ERROR,
            r"(?:thermal (?P<device>[\w.-]+): )?(?:(?P<zone>[\w.-]+): )?(?P<what>critical temperature reached.{0,60}|HARDWARE PROTECTION (?:shutdown|reboot) \(.{1,60}\)|Hardware protection (?:shutdown|reboot).{0,60}|Emergency (?:shutdown|restart) due to.{0,40}|.{0,40}[Oo]ver-?temperature (?:shutdown|condition).{0,40})",
            ("critical temperature reached", "HARDWARE PROTECTION", "emperature shutdown", "emperature condition", "ardware protection"),
            "thermal shutdown", "The machine shut itself down because of heat or a hardware limit: {what}.", ("Cooling: fans, heat sink, air, the sensor itself.",)),
    Message("thermal-throttled", Kind.THERMAL, _HOST, _INFO, r"(?:mce: )?CPU(?P<cpu>\d+): (?P<what>(?:Core|Package) temperature (?:is )?above threshold)", ("emperature above threshold", "emperature is above threshold"),
            "CPU throttled by heat", "A processor ran slower because of heat (CPU {cpu}: {what}).", ("If it comes often: look at the cooling (fans, dust, the room).",)),

    # --- PCI Express: drivers/pci ---------------------------------------------------------
    Message("aer", _DEV, _BUS, _ERROR,
            r"(?:\S+ (?P<device>" + PCI + r"): )?(?:AER: )?(?:(?P<multiple>Multiple )?Uncorrect(?:ed|able) \((?P<severity>Fatal)\) error (?:message )?received(?: from|:)? ?(?P<device2>" + PCI + r")?|PCIe Bus Error: severity=Uncorrect(?:ed|able) \((?P<severity2>Fatal)\), type=(?P<type>[\w ]+))", ("AER: ", "PCIe Bus Error:"),
            "AER: uncorrected fatal error", "PCI Express reported a fatal error of {disk}: what goes over that link is lost.", (_SLOT, "The first error bit in the lines below says which kind.")),
    Message("aer-nonfatal", _DEV, _BUS, _WARNING,
            r"(?:\S+ (?P<device>" + PCI + r"): )?(?:AER: )?(?:(?:Multiple )?Uncorrect(?:ed|able) \((?:Non-Fatal)\) error (?:message )?received(?: from|:)? ?(?P<device2>" + PCI + r")?|PCIe Bus Error: severity=Uncorrect(?:ed|able) \((?:Non-Fatal)\), type=(?P<type>[\w ]+))", ("AER: ", "PCIe Bus Error:"),
            "AER: uncorrected non-fatal error", "PCI Express reported an error of {disk} that it could not correct.", (_SLOT,)),
    Message("aer-corrected", _DEV, _BUS, _INFO,
            r"(?:\S+ (?P<device>" + PCI + r"): )?(?:AER: )?(?:(?:Multiple )?Correct(?:ed|able) error (?:message )?received(?: from|:)? ?(?:id=\w+|(?P<device2>" + PCI + r"))?|PCIe Bus Error: severity=Correct(?:ed|able), type=(?P<type>[\w ]+))", ("AER: ", "PCIe Bus Error:"),
            "AER: corrected errors", "PCI Express corrected an error of {disk}; only many of them matter.", ("Watch the rate.",)),
    Message("aer-unrecovered", _DEV, _BUS, _ERROR, r"(?P<driver>[\w.-]{1,32}) (?P<device>" + PCI + r"): (?:AER: )?(?P<what>device recovery failed|can't recover \(no error_detected callback\))", ("device recovery failed", "can't recover (no error_detected"),
            "AER: device recovery failed", "The driver of {device} could not get over the error: {what}.", (_SLOT,)),
    Message("aer-recovered", _DEV, _BUS, _INFO, r"\S+ (?P<device>" + PCI + r"): (?:AER: )?device recovery successful", ("device recovery successful",), "", recovers=("aer", "aer-nonfatal", "dpc")),
    Message("dpc", _DEV, _BUS, _ERROR, r"pcieport (?P<device>" + PCI + r"): DPC: (?P<what>containment event, status:\S+.{0,80}|unmasked uncorrectable error detected|RP PIO .{0,40}error.{0,40})", ("DPC: ",),
            "DPC: {device} contained an error", "The port {device} cut the link below it because of an error ({what}): its devices are gone for now.", (_SLOT,)),
    Message("pci-gone", _DEV, _BUS, _ERROR,
            r"(?:(?P<driver>\S+) )?(?P<device>" + PCI + r")(?: (?P<netdev>[\w.-]+))?: (?:pciehp: )?(?P<what>(?:Slot\(\S+\): )?(?:Link Down|Card not present|Power fault)|Unable to change power state from \S+ to D0, device inaccessible|can't change power state from \S+ to D0 \(config space inaccessible\)|not ready \d+ms after [\w -]{1,30}; giving up|device (?:is )?(?:gone|disconnected|not accessible|inaccessible)|PCIe link lost.{0,40}|[Aa]dapter removed.{0,20}|PCI(?:e)? link (?:is )?(?:down|lost).{0,30}|.{0,40}fallen off the bus.{0,20})",
            ("Link Down", "Card not present", "Power fault", "device inaccessible", "config space inaccessible", "giving up", "PCIe link lost", "dapter removed", "link is down", "fallen off the bus", "not accessible", "device is gone"),
            "{device}: link lost", "The device {device} can't be reached over PCI Express any more: {what}. All ones that drivers read after this follow from it.", (_SLOT, _ASPM)),
    Message("eeh-lost", _DEV, _BUS, _ERROR, r"(?:EEH: (?P<what>.{0,90}permanently disabled.{0,20}|Unrecoverable slot failure.{0,40}|Unable to recover.{0,60}|Recovery failed.{0,40})|PCI device at location (?P<location>\S+) has failed and will be (?P<severity2>permanently removed))", ("permanently disabled", "Unrecoverable slot failure", "EEH: Unable to recover", "EEH: Recovery failed", "permanently removed"),
            "EEH: adapter{at} permanently disabled", "The POWER platform gave an adapter up{at}: {what}.", ("The location code names the slot: reseat the adapter, look at its firmware, replace it.",)),
    Message("eeh", _DEV, _BUS, _ERROR, r"EEH: (?P<what>Detected (?:PCI bus )?error on (?:PHB#|device )\S+|Frozen P(?:HB#(?P<phb>\S+?)-PE#|E#|HB#?)\s?(?P<pe>\S+) (?:detected|.{0,20}frozen.{0,10})|PHB#(?P<phb2>\S+) failure detected.{0,40}|.{0,40}has failed \d+ times.{0,60})(?:.{0,40}location: (?P<location>\S+))?", ("EEH: ",),
            "EEH: {what}", "The POWER platform cut an adapter off after a bus error ({what}).", ("The location code names the slot; look at adapter, firmware and bus.",)),
    Message("eeh-back", _DEV, _BUS, _INFO, r"EEH: Recovery successful", ("EEH: Recovery successful",), "", recovers=("eeh",)),

    # --- IOMMU: drivers/iommu ----------------------------------------------------------------
    Message("iommu-fault", _DEV, _BUS, _WARNING,
            r"DMAR: (?:\[(?:INTR-REMAP|DMA (?:Read|Write)(?: NO_PASID)?)\] )?Request device \[(?P<device>[0-9a-f:.]+)\] (?:PASID \S+ )?(?:fault addr (?P<address>(?:0x)?[0-9a-f]+)|.{0,30}) ?\[fault reason (?P<reason>\w+)\](?: (?P<what>.{0,60}))?", ("Request device [",),
            "DMAR: fault of {device}", "The device {device} made a DMA that the IOMMU refused: {what}.", ("Its driver unmapped too early or the device is confused; iommu=pt as a test.",)),
    Message("iommu-fault", _DEV, _BUS, _WARNING,
            r"(?:(?P<driver>\S+) )?(?:(?P<device>" + PCI + r"): )?AMD-Vi: Event logged \[(?P<what>IO_PAGE_FAULT|ILLEGAL_DEV_TABLE_ENTRY|DEV_TAB_HARDWARE_ERROR|PAGE_TAB_HARDWARE_ERROR|INVALID_DEVICE_REQUEST)(?: device=(?P<device2>[0-9a-f:.]+))?(?:.{0,40}address=(?P<address>\w+))?", ("AMD-Vi: Event logged",),
            "AMD-Vi: {what} of {disk}", "The device {disk} made a DMA that the IOMMU refused ({what}).", ("Its driver unmapped too early or the device is confused; iommu=pt as a test.",)),
    Message("iommu-gone", _DEV, _BUS, _ERROR, r"(?:(?P<driver>\S+) )?(?:(?P<device>" + PCI + r"): )?(?:AMD-Vi: |DMAR: )?(?:Event logged \[)?(?P<what>IOTLB_INV_TIMEOUT|Invalidation Time-out Error|Completion-Wait loop timed out|QI HEAD.{0,40}|VT-d detected Invalidation (?:Time-out|Completion) Error)(?:.{0,20}?device=(?P<device2>[0-9a-f:.]+))?", ("IOTLB_INV_TIMEOUT", "nvalidation Time-out", "Completion-Wait loop timed out", "detected Invalidation"),
            "IOMMU: invalidation timed out", "A device did not answer the IOMMU: it is gone ({what}).", (_SLOT,)),
    Message("iommu-fault", _DEV, _BUS, _WARNING, r"arm-smmu(?:-v3)? (?P<device>\S+): (?P<what>Unhandled context fault: .{1,120}|event 0x[0-9a-f]{2} received:?|CMDQ timeout|CMD_SYNC timeout.{0,60}|Unexpected global fault.{0,40}|.{0,20}C_BAD_\w+.{0,40}|event: F_\w+ client: \S+.{0,60})", ("Unhandled context fault", "CMDQ timeout", "CMD_SYNC timeout", "Unexpected global fault", "C_BAD_", ": event 0x", "event: F_"),
            "arm-smmu: {what}", "A device made a DMA that the IOMMU {device} refused: {what}.", ("The stream id names the device: its driver unmapped too early, or set up too little.",)),

    # --- USB: drivers/usb --------------------------------------------------------------------
    Message("xhci-dead", _DEV, _DEVICE, _ERROR,
            r"(?P<driver>[xeou]hci[\w-]*) (?P<device>[\w:.-]+): (?P<what>.{0,20}(?:HC died; cleaning up|xHCI host controller not responding, assume dead|Host System Error|Host halt failed, -\d+|can't setup: -\d+|host controller (?:died|process error).{0,30}|fatal error|Host not halted after \d+ microseconds|Abort failed to stop command ring: -\d+|controller (?:reset|start) failed.{0,30}))",
            ("HC died; cleaning up", "assume dead", "Host System Error", "Host halt failed", "host controller process error", "Host not halted", "Abort failed to stop command ring", "host controller died"),
            "{device}: USB controller died", "The USB controller {device} stopped ({what}): all devices on its buses are gone.", ("Look for PCI and IOMMU errors before it; unbind and bind its driver.", _ASPM)),
    Message("xhci-timeout", _DEV, _DEVICE, _WARNING, r"(?P<driver>xhci[\w-]*) (?P<device>[\w:.-]+): (?P<what>xHCI host not responding to stop endpoint command.{0,20}|Command completion event does not match command|Timeout while waiting for setup device command|WARN:? .{0,40}(?:Transfer event|TRB).{0,60}|Mismatch between completed .{0,60}|ERROR (?:Transfer event|unknown event).{0,80})", ("not responding to stop endpoint", "Command completion event does not match", "waiting for setup device", "ERROR Transfer event"),
            "{device}: USB controller in trouble", "The USB controller {device} reported: {what}.", ("Firmware and kernel for this controller; cable and hub.",)),
    # xhci_resume(): the controller had lost its state in a sleep and is set up anew; if that fails, it says so.
    Message("xhci-back", _DEV, _DEVICE, _INFO, r"(?P<driver>xhci[\w-]*) (?P<device>[\w:.-]+): xHC error in resume, USBSTS 0x[0-9a-f]+, Reinit", ("xHC error in resume",), "", recovers=("xhci-timeout",)),
    Message("usb-retry", _DEV, _DEVICE, _INFO, _USB + r"(?P<what>device descriptor read/\w+, error -\d+)", ("device descriptor read/",),
            "usb {device}: {what}", "The USB device at port {device} did not answer as it should: {what}. The kernel tries again before it gives a device up, and says so.", ("-71: signal, cable, hub; -110: no answer. One port: device or cable; all: the controller.",)),
    Message("usb-enum", _DEV, _DEVICE, _WARNING, _USB + r"(?P<what>device not accepting address \d+, error -\d+|unable to enumerate USB device|Cannot enable\. Maybe the USB cable is bad\?|can't set config.{0,40}|over-current (?:change|condition).{0,20}|device not responding.{0,30}|can't read configurations, error -\d+|unable to read config.{0,40}|clear tt.{0,30}error.{0,20})",
            ("not accepting address", "unable to enumerate", "Cannot enable. Maybe", "can't set config", "over-current", "can't read configurations", "unable to read config"),
            "usb {device}: {what}", "The USB device at port {device} does not work: {what}.", ("-71: signal, cable, hub; -110: no answer. One port: device or cable; all: the controller.",)),
)
