"""Time, guests, suspend, supplies, user schedulers: see :mod:`postmortem.rules.messages`."""

# ruff: noqa: E501
# fmt: off
# A table is read by its columns: rows stay as wide as they are.

from __future__ import annotations

from postmortem.model.findings import Kind, Severity
from postmortem.rules.messages import DEV, Layer, Message

_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_HOST, _SERVICE, _DEVICE = Layer.HOST, Layer.SERVICE, Layer.DEVICE
_HOSTSIDE = "Look at the host: load, pauses, migrations and snapshots at that moment."

ROWS: tuple[Message, ...] = (
    # --- time: kernel/time ------------------------------------------------------------------
    Message("clock-unstable", Kind.CLOCK, _HOST, _INFO,
            r"(?:clocksource: )?(?P<what>timekeeping watchdog on CPU(?P<cpu>\d+): (?:Marking clocksource '[\w-]+' as unstable because the skew is too large:?|.{0,60}wd-\S+ .{0,60}excessive read-back delay.{0,60})|Clocksource [\w-]+ unstable \(delta = -?\d+ ns\)|Marking clocksource '?[\w-]+'? (?:as )?unstable.{0,60})",
            ("as unstable", "read-back delay", " unstable (delta"), "clocksource unstable", "Two clocks of the machine disagree ({what}).", ("Near stalls it means that the machine, or a guest's CPU, stood still.",)),
    Message("clock-jump", Kind.CLOCK, _HOST, _WARNING,
            r"(?P<what>(?:.{0,30}: )?(?:[Cc]lock|[Tt]ime) jump(?:ed)?(?: detected)?.{0,80}|hv_utils:.{0,60}(?:time|clock).{0,60}jump.{0,20}|.{0,30}(?:VM|vCPU|[Gg]uest|virtual machine) (?:was |has been )?(?:paused|suspended|stopped|resumed)\b.{0,80}|.{0,20}[Ss]teal time .{0,60})", ("lock jump", "ime jump", "was paused", "been paused", "was suspended", "uest paused", "uest resumed"),
            "the machine stood still", "The machine did not run for a while: {what}.", (_HOSTSIDE,)),

    # --- virtual machines: arch/x86/kvm, drivers/hv, drivers/xen ------------------------------
    Message("kvm-error", Kind.DEVICE_ERROR, _HOST, _ERROR,
            r"(?:kvm(?:_\w+)?(?: \[\d+\])?: |KVM: |\*\*\* )?(?:vcpu\d+,? ?(?:guest rIP: \S+ )?)?(?P<what>KVM internal error\.? [Ss]uberror: \S+.{0,60}|entry failed, hardware error \S+|KVM: entry failed, hardware error \S+|.{0,30}VM-entry failed.{0,60}|unexpected exit.{0,60}|kvm run failed.{0,40})", ("KVM internal error", "entry failed, hardware error", "VM-entry failed", "kvm run failed"),
            "KVM: {what}", "The hypervisor could not go on with a guest: {what}.", ("The registers below say where the guest was; the VMM's own log says what it did.",)),
    Message("xen-error", Kind.DEVICE_ERROR, _HOST, _WARNING, r"(?:xen[:/_]?\w*:? ?|xenbus: |vif \S+ )?(?P<what>g\.e\. 0x[0-9a-f]+ still in use!?|max_grant_frames reached.{0,40}|.{0,20}xenbus_dev_fatal.{0,40}|.{0,30}error -\d+ .{0,20}backend.{0,40})", ("still in use!", "max_grant_frames reached"),
            "xen: {what}", "Xen's grants ran out or stay in use: {what}.", (_HOSTSIDE,)),

    # --- suspend: kernel/power, drivers/base/power --------------------------------------------
    Message("freeze-failed", Kind.SUSPEND, _SERVICE, _WARNING,
            r"(?:PM: )?(?:Freezing (?P<whose>[\w ]{4,40}?)(?: processes| tasks)? failed|Freezing of tasks (?:failed|aborted)) after (?P<seconds>\d+(?:\.\d+)?) sec(?:onds)? ?\((?P<number_of>\d+) tasks? refusing to freeze(?:, wq_busy=(?P<busy>\d+))?\)", ("refusing to freeze",),
            "PM: freezing of tasks failed in {function}", "Suspend was given up after {seconds} s: {task} did not freeze, it waits in {function}.",
            ("Find out what that task waits for (a FUSE or NFS server, a device): it has to come back, or be stopped before suspend.",), find="hang", stack=True,
            details=(r"^task:(?P<by>.{1,16}?)\s+state:\w.{0,40}?\bpid:(?P<pid>\d+)", r"^(?P<by>\S{1,15}) +[DRS] [0-9a-f]* +\d+ +(?P<pid>\d+) +\d+ 0x")),
    Message("suspend-failed", Kind.SUSPEND, _SERVICE, _WARNING,
            r"(?:PM: )?(?P<what>Some devices failed to (?:suspend|power down|resume|power off).{0,60}|suspend exit failed.{0,20}|[Ff]ailed to (?:suspend|enter sleep).{0,60}|Some system devices failed to power down.{0,40}|Device \S+ failed to suspend(?: \w+)?: error -?\d+)", ("Some devices failed to", "system devices failed to", "failed to suspend"),
            "PM: suspend failed", "The machine could not go to sleep: {what}.", ("The device's own line stands before it.",)),
    Message("pm-callback", Kind.SUSPEND, _DEVICE, _WARNING,
            DEV + r"PM: (?P<what>dpm_run_callback\(\): \S+(?: .{0,40})? returns -?\d+|failed to (?:suspend|resume|freeze|thaw|restore|power ?off|prepare)[\w ]{0,20}: error -?\d+|failed to \w+ .{0,30}: error -?\d+)", ("dpm_run_callback(): ", "PM: failed to "),
            "{device}: failed to suspend or resume", "The driver {driver} could not bring {device} into or out of sleep: {what}.", ("Look at the driver and its device's own lines before it.",)),
    Message("dpm-timeout", Kind.SUSPEND, _DEVICE, _ERROR, r"(?:(?P<driver>[\w.-]+) )?(?P<device>[\w:.@-]+): \*\*\*\* DPM device timeout(?: after (?P<seconds>\d+) seconds)? ?\*\*\*\*", ("DPM device timeout",),
            "{device}: DPM device timeout", "The driver of {device} did not finish going to sleep or waking up.", ("The stack below it shows where it waits.",), find="hang", stack=True),

    # --- sched_ext: kernel/sched/ext.c ----------------------------------------------------------
    Message("sched-ext", Kind.WARNING, _SERVICE, _WARNING, r"sched_ext: (?:BPF scheduler )?\"(?P<device>[^\"]{1,64})\" (?:disabled|errored.{0,20}) ?\((?P<what>(?!unregistered from user space|(?:disabled by )?sysrq).{1,120})\)", ("sched_ext: ",),
            "sched_ext: {device} disabled ({what})", "The BPF scheduler {device} was thrown out ({what}); the kernel's own took over.", ("The fault is in that scheduler, a program of user space.",), scope="scheduler"),
    Message("sched-ext-stall", Kind.WARNING, _SERVICE, _WARNING, r"sched_ext: (?P<device>[\w.-]{1,64}): (?P<what>(?P<by>.{1,16})\[(?P<pid>\d+)\] failed to run for (?P<seconds>[\d.]+)s|watchdog failed to check in for .{1,30}|.{0,80}(?:timed out|invalid|stall).{0,60})", ("sched_ext: ",),
            "sched_ext: {device} stalled", "The BPF scheduler {device} left a task without a CPU: {what}.", ("The fault is in that scheduler, a program of user space.",), scope="scheduler"),

    # --- supplies: drivers/base, drivers/regulator, drivers/pmdomain ---------------------------
    Message("power-domain", Kind.DEVICE_ERROR, _HOST, _WARNING,
            DEV + r"(?P<what>failed to get ack on domain '(?P<domain>[^']{1,40})'.{0,100}|failed to (?:set idle|power (?:on|off)|enable|get idle).{0,30}domain.{0,100}|.{0,40}power.?domain.{0,60}(?:timed? ?out|fail).{0,60}|.{0,20}(?:failed to enable (?:regulator|clock|supply|vdd|vcc)\w*|unbalanced disables for) .{0,60})", ("on domain '", "ower domain", "power-domain", "power_domain", "ailed to enable regulator", "ailed to enable clock", "nbalanced disables for"),
            "{device}: power or clock failed", "Power or clock of a part of the chip did not come: {what}.", ("Check supplies, clocks and power domains of that block in the device tree.",)),
)
