"""The one gate between hostile strings and a terminal or a page.

Task names, log lines and module names come from a machine that died, perhaps
by an attack: they may hold escape sequences, line breaks or bidi overrides.
"""

from __future__ import annotations

TAB = "    "


def clean(text: str) -> str:
    """Make ``text`` one printable line: what a terminal could act on is shown as an escape.

    ``str.isprintable`` is the judge, so the rule follows Unicode: controls
    (C0, C1), formatting characters (bidi overrides, zero width), surrogates,
    private use, unassigned code points and separators other than space are
    shown as ``\\x1b``, ``\\u202e`` ...; tabs become spaces.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else TAB if char == "\t" else _escape(char) for char in text
    )


def clean_tabbed(line: str) -> str:
    """Like :func:`clean`, for lines that must stay what they are: tabs stay tabs."""
    return "\t".join(map(clean, line.split("\t")))


def clean_prose(text: str) -> str:
    """Like :func:`clean`, for text that is wrapped anyway: any white space is one space."""
    return clean(" ".join(text.split()))


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
