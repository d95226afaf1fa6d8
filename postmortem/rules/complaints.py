"""How a driver complains where no row of :mod:`postmortem.rules.messages` has its words.

Where a log has levels, the driver says itself what is an error. Else its words are all there
is: those of dev_err() calls all over drivers/. What is harmless although it sounds like an
error is listed here; the places in the kernel's sources say why.
"""

# ruff: noqa: E501

from __future__ import annotations

import re

from postmortem.rules.messages import PCI

ERROR_LEVEL = 3
"""KERN_ERR; lower numbers are worse."""

SUBJECT = re.compile(
    r"(?P<driver>[A-Za-z][\w.-]{0,31}) "
    rf"(?P<device>{PCI}|(?=[\w.@:-]*\d)[\w.@-]{{1,48}}(?::[\w.@-]{{1,32}}){{0,3}}?)"
    r"(?: (?P<netdev>[A-Za-z][\w.-]{0,15})(?: \([\w ]{1,40}\))?)?: "
    r"|(?P<port>ata\d{1,4}(?:\.\d{1,2})?|mmc\d{1,4}|nvme\d{1,4}(?:n\d{1,4})?|md\d{1,4}|phy\d{1,4}|hci\d{1,4}"
    r"|(?:eth|wlan|en[opsx]|wl[opx]|bond|ib)\w{1,13}): "
    r"|(?P<system>[A-Za-z][\w-]{1,15}) (?:[\w ]{1,24} )?\((?:device )?(?P<disk>(?!bug\))[\w.-]{1,40})\): "
)
"""How dev_err(), netdev_err() and file systems begin: who speaks, about which device."""

WORDS = re.compile(
    r"\*ERROR\*|\b(?:error|failed|failure|fatal|timed ?out|timeout|corrupt(?:ed|ion)?|abort(?:ed|ing)"
    r"|not respond\w*|hung|overheat\w*)\b"
    r"|(?:: |=|\()-\d{1,3}\)?$",
    re.I,
)
"""What an error is called; the last: a negative error number that ends the message. What a driver
"can't" do stands in many a message of a healthy machine."""

HARMLESS = re.compile(
    # not errors at all
    r"\b(?:no|0|without(?: any)?|zero|any) (?:\w+ )?(?:errors?|failures?|timeouts?)\b|\berrors?[=:] ?(?:0\b|remount|continue|panic)"
    r"|\berror[ -](?:correct|report|handl|recover|detect|inject|counter|logging|source)|\bcorrect(?:ed|able)\b"
    r"|\b(?:time-?out|timeout)(?:[=:]| (?:is|set|of|value|=|:|\d))|\b(?:default|idle|heartbeat|watchdog)[ =](?:timeout|margin)|\bnowayout="
    r"|\bfail-?(?:over|safe)\b|\b(?:error|failure) (?:rate|count|threshold)|\bresum\w+ after|\brecover(?:ed|y (?:complete|success))"
    # another way is taken: drivers/base/firmware_loader, drivers/regulator/core.c, drivers/pci/setup-bus.c
    r"|Direct firmware load for|BAR \d+.{0,20}: (?:no space|failed to assign|can't (?:assign|claim))|using dummy regulator"
    # what the machine does not have: drivers/pci/pcie/aspm.c, drivers/ata, drivers/scsi/sd.c
    r"|can't disable ASPM|SATA link down \(SStatus 0|No Caching mode page|Assuming drive cache|CHS sector 0|Power-on or device reset occurred"
    r"|bogus Namespace Identifiers|missing or invalid SUBNQN|unhandled (?:rd|wr)msr|probe deferral|error -517\b|\(-?517\)|defer(?:red|ring) probe",
    re.I,
)
"""Words of an error that tell of none."""

USER_SPACE = re.compile(r"[\w.@/-]{1,64}\[\d{1,10}\]: |audit: |traps: |\S{1,16}\[\d+\]: segfault")
"""Not said by a driver."""

CRASHED = re.compile(
    r"(?:traps: )?(?P<comm>\S.{0,15})\[(?P<pid>\d{1,10})\](?::? "
    # arch/x86/mm/fault.c, kernel/traps.c, arch/{x86,powerpc,riscv,arm64}
    r"(?:segfault(?: \(\d+\))? at |general protection fault |trap [\w ]{2,40} ip:|bad frame in "
    r"|unhandled (?:signal \d+ |exception: )|unhandled level \d translation fault|bus error))"
)
"""A program of user space that a signal ends: the kernel only reports it."""
