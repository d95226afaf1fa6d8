"""Whose kernel a release is, and whether it is older than another.

``uname -r`` says it in each distribution's own way. Where the first three numbers are those of
the stable tree they can be compared with it; RHEL, Ubuntu, SLES and others keep the numbers
they began with, and only their own count tells what is in the kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

Version = tuple[int, ...]


class Distribution(NamedTuple):
    """How a distribution's releases look."""

    name: str
    pattern: str
    """Of the release; its group ``own`` is what counts, where that is not the upstream number."""
    upstream: bool
    """Whether the first three numbers are the stable tree's."""
    branch: int = 4
    """How many numbers of its own count name a branch that gets fixes of its own."""


DISTRIBUTIONS = (
    Distribution("oracle", r"(?P<own>[\d.]+-[\d.]+)\.el\d+uek\b", False),
    Distribution("openeuler", r"(?P<own>[\d.]+-[\d.]+)\.oe\d", False),
    Distribution("rhel", r"(?P<own>[\d.]+-[\d.]+)\.el\d", False),
    Distribution("fedora", r"[\d.]+-\d[\w.]*\.fc\d+\b", True),
    Distribution("amazon", r"[\d.]+-[\d.]+\.amzn\d", True),
    Distribution("azurelinux", r"[\d.]+-\d+\.(?:azl|cm)\d", True),
    Distribution("arch", r"[\d.]+-(?:arch|lts|zen|hardened)\d", True),
    Distribution("sles", r"(?P<own>[\d.]+-[\d.]+)-(?:default|azure|rt|64kb)$", False),
    Distribution(
        "ubuntu",
        r"(?P<own>\d+\.\d+\.0-\d+)-(?:generic|lowlatency|aws|azure|gcp|gke|gkeop|ibm|kvm|oracle"
        r"|oem|raspi|realtime|nvidia|hwe|server|virtual)\b",
        False,
        3,
    ),
)
"""Read on release strings of these distributions; the most particular form first."""

_DEBIAN = re.compile(r"\bDebian (?P<package>(?P<upstream>\d+\.\d+\.\d+)-\d[\w.~+]*)")
"""The package's version, which the kernel has in its ``version`` and in its banner."""
_UPSTREAM = re.compile(r"(?P<numbers>\d+\.\d+(?:\.\d+)?)(?:-rc(?P<rc>\d+))?(?P<rest>.*)", re.DOTALL)
_MAX = 200


@dataclass(frozen=True)
class Release:
    """A kernel's release, taken apart."""

    text: str
    distribution: str
    """``upstream`` for one that no distribution built; ``unknown`` for what does not look so."""
    upstream: Version | None
    """Of the stable tree: ``(6, 1, 75)``; ``None`` where the numbers do not tell that."""
    own: Version | None
    """The distribution's own count; ``None`` where it has none but the upstream number."""

    @property
    def known_to(self) -> tuple[str, ...]:
        """The tables of a rule that can tell about this release, the most particular first."""
        return tuple(
            name
            for name, version in ((self.distribution, self.own), ("upstream", self.upstream))
            if version is not None
        )

    def version(self, table: str) -> Version | None:
        """Its place in the count of ``table``."""
        return self.upstream if table == "upstream" else self.own


def parse(release: str, version: str | None = None) -> Release:
    """Take ``uname -r`` apart.

    :param version: ``uname -v``: Debian's package version is only there.
    """
    text = release.strip()[:_MAX]
    debian = _DEBIAN.search((version or "")[:_MAX])
    if debian:
        own = numbers(debian["package"])
        return Release(text, "debian", numbers(debian["upstream"]), own)
    match = _UPSTREAM.match(text)
    if match is None:
        return Release(text, "unknown", None, None)
    base = _base(match)
    for row in DISTRIBUTIONS:
        found = re.match(row.pattern, text)
        if found:
            own_text = found.groupdict().get("own")
            counted = numbers(own_text) if own_text else None
            return Release(text, row.name, base if row.upstream else None, counted)
    if re.match(r"-\d", match["rest"]) or match["numbers"].count(".") == 1:
        # An ABI number of some distribution (Debian's 6.1.0-18-amd64 without its version),
        # or a release candidate's name without its third number.
        known = base if match["rc"] else None
        return Release(text, "upstream" if match["rc"] else "unknown", known, None)
    return Release(text, "upstream", base, None)


def _base(match: re.Match[str]) -> Version:
    """``6.7-rc3`` comes before 6.7 and after the last 6.6.x."""
    found = numbers(match["numbers"])
    while len(found) < 3:
        found = (*found, 0)
    return (*found, -1, int(match["rc"])) if match["rc"] else found


def numbers(text: str) -> Version:
    """All numbers in a version, in their order: ``4.18.0-513.5.1`` is (4, 18, 0, 513, 5, 1)."""
    return tuple(int(number[:9]) for number in re.findall(r"\d+", text)[:12])


_BRANCHES = {"upstream": 2, "debian": 2, **{row.name: row.branch for row in DISTRIBUTIONS}}


def branch(version: Version, table: str) -> Version:
    """What gets fixes of its own: 6.1 of the stable tree, 4.18.0-513 of RHEL."""
    return version[: _BRANCHES[table]]
