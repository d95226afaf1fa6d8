"""The names of architectures: each tool has its own."""

from __future__ import annotations

import re

_NAMES = {
    "x86_64": "x86_64 x86-64 amd64 x64",
    "i386": "i386 i486 i586 i686 x86 ia32",
    "aarch64": "aarch64 arm64 armv8 armv8l armv9",
    "arm": "arm armhf armel armv5tel armv6l armv7 armv7l armv7hl",
    "riscv": "riscv riscv64",
    "ppc64": "ppc64 ppc64le ppc64el powerpc powerpc64 powerpc64le",
    "s390": "s390 s390x",
    "mips": "mips mips64 mipsel mips64el mips64le",
    "loongarch": "loongarch loongarch64 loong64",
}
"""Our name, and what the kernel's arch/, uname -m, Debian and Fedora call it."""

_KNOWN = {name: ours for ours, names in _NAMES.items() for name in names.split()}


def spelled(name: str) -> str:
    """Our name of an architecture that somebody else named.

    :raises LookupError: it is none that we know.
    """
    found = _KNOWN.get(re.sub(r"\s", "", name.lower()))
    if found is None:
        raise LookupError(f"{name!r} is no architecture known here: {', '.join(_NAMES)}")
    return found
