"""Names of the functions that a C or assembler file of the kernel defines.

No compiler and no configuration: all that any configuration could build counts.
The kernel's style makes that simple, a definition begins in the first column.
"""

from __future__ import annotations

import re

_NOISE = re.compile(
    r"/\*.*?\*/|//[^\n]*"  # comments
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''  # strings and characters
    r"|^[ \t]*#(?:[^\n\\]|\\\n|\\.)*",  # the preprocessor's lines, with what they continue on
    re.DOTALL | re.MULTILINE,
)
_HEADING = re.compile(r"^(?=[A-Za-z_])([^;{}=]*\))[^;{}=()]*\{", re.MULTILINE)
"""From the first column to the brace of a body; structs and initialisers have no such thing."""
_CALLED = re.compile(r"([A-Za-z_]\w*)[ \t\n]*\(")
_ATTRIBUTE = re.compile(
    r"__(?:attribute__|printf|scanf|section|acquires?\w*|releases?\w*|must_hold\w*|cond_\w+|aligned"
    r"|no_sanitize\w*|alloc_size|assume_aligned|nonnull|declare_args|noreturn|diagnose_as|error"
    r"|bpf_\w+|context_unsafe|counted_by\w*|realloc_size|target\w*|no_context\w*|guarded_by)"
    r"|_Pragma|_Generic|typeof|__typeof__|sizeof|asm|__asm__|if|for|while|switch"
)
_SYSCALL = re.compile(r"(?:COMPAT_)?SYSCALL(?:32)?_DEFINE\d")
_LABEL = re.compile(
    r"^[ \t]*(?:SYM_(?:FUNC|CODE|TYPED_FUNC|INNER)_(?:START|LABEL|ALIAS)\w*|ENTRY(?:_\w+)?|WEAK"
    r"|GLOBAL|_GLOBAL(?:_\w+)?|LEAF|NESTED|FEXPORT)[ \t]*\([ \t]*([A-Za-z_]\w*)",
    re.MULTILINE,
)


_EXPORT = re.compile(r"^[ \t]*EXPORT_\w*SYMBOL\w*[ \t]*\([ \t]*([A-Za-z_]\w*)", re.MULTILINE)


def exported(text: str) -> set[str]:
    """The names that *text* gives to all of the kernel: nobody else can define those."""
    return set(_EXPORT.findall(text))


def functions(text: str, assembler: bool = False) -> set[str]:
    """The functions that *text* defines, static ones too. System calls begin with ``sys_``."""
    if assembler:
        return set(_LABEL.findall(text))
    found = set()
    for heading in _HEADING.finditer(_NOISE.sub(" ", text)):
        name = _name(heading[1])
        if name:
            found.add(name)
    return found


def _name(heading: str) -> str | None:
    """The name that a heading defines: where a macro makes it, the macro's first argument."""
    made = None
    for called in _CALLED.finditer(heading):
        before = heading[: called.start()]
        if before.count("(") != before.count(")") or _ATTRIBUTE.fullmatch(called[1]):
            continue
        if not called[1].isupper():
            return called[1]
        argument = re.match(r"[ \t\n]*([A-Za-z_]\w*)", heading[called.end() :])
        if argument is not None:
            made = f"sys_{argument[1]}" if _SYSCALL.fullmatch(called[1]) else argument[1]
    return made
