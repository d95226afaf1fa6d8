"""Values and types: ``p`` with C expressions, offsets of members."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.command import command

if TYPE_CHECKING:
    from postmortem.shell.session import Session

# ``runqueues:0``, ``runqueues:a``: one CPU's copies, which is crash's own syntax.
_PER_CPU = re.compile(r"[A-Za-z_][\w.\[\]]*:(?:a|all|[\d,-]+)?")
_MAX_CHARS = 1 << 20


@command("p", "values", raw=True)
@click.option("-x", "base", flag_value=16, type=int, help="Numbers in hexadecimal.")
@click.option("-d", "base", flag_value=10, type=int, help="Numbers in decimal.")
@click.argument("expression")
def p(session: Session, base: int | None, expression: str) -> Any:
    """Print the value of a C expression over the dump's variables and types.

    \b
    p jiffies
    p -x ((struct task_struct *)0xffff888003a18000)->mm->pgd
    p runqueues:0      one CPU's copy of a per-CPU variable, :a those of all
    """
    radix = session.radix
    if _PER_CPU.fullmatch(expression):
        flag = {16: "-x ", 10: "-d "}.get(base or 0, "")
        return crash.run(session.prog, "p", flag + expression, session.out)
    from postmortem.shell.expression import evaluate

    value = evaluate(session.prog, expression)
    text = value.format_(integer_base=base or radix, dereference=False)
    session.out.write(_printable(f"{expression} = {text[:_MAX_CHARS]}") + "\n")
    return value


def _printable(text: str) -> str:
    return "\n".join("\t".join(map(clean, line.split("\t"))) for line in text.split("\n"))


@command("struct", "values", raw=True)
@click.option("-o", "offsets", is_flag=True, help="The offset of each member.")
@click.argument("rest")
def struct(session: Session, offsets: bool, rest: str) -> Any:
    """Show a struct: its declaration, or the one at an address.

    \b
    struct task_struct                     the declaration
    struct -o task_struct                  with the offset of each member
    struct -o task_struct.comm ff110001    with the address of each member
    struct task_struct.comm,pid ff110001   members of the one at an address

    help * tells crash's other options.
    """
    return _struct(session, "struct", offsets, rest)


@command("union", "values", raw=True)
@click.option("-o", "offsets", is_flag=True, help="The offset of each member.")
@click.argument("rest")
def union(session: Session, offsets: bool, rest: str) -> Any:
    """Show a union as struct does a struct."""
    return _struct(session, "union", offsets, rest)


def _struct(session: Session, kind: str, offsets: bool, rest: str) -> Any:
    words = rest.split()
    if "-o" in words:
        offsets = True
        words.remove("-o")
    if not offsets:
        return crash.run(session.prog, kind, rest, session.out)
    if not words or len(words) > 2:
        raise UsageError(f"{kind} -o takes a type and perhaps an address")
    name, _, chosen = words[0].partition(".")
    address = address_of(session.prog, words[1]) if len(words) == 2 else None
    type_ = _type(session.prog, kind, name)
    wanted = [member for member in chosen.split(",") if member]
    missing = set(wanted) - {member.name for member in type_.members or () if member.name}
    if missing and not any("." in member for member in missing):
        raise UsageError(f"{kind} {name} has no member {', '.join(sorted(missing))}")
    out = [f"{kind} {name} {{"]
    for member in type_.members or ():
        if not wanted or member.name in wanted:
            out.append(_member(member, address))
    for nested in sorted(missing):
        offset = drgn.offsetof(type_, nested)
        out.append(f"  {_place(offset * 8, address)} {nested};")
    session.out.write("\n".join(map(clean, out)) + f"\n}}\nSIZE: {type_.size}\n")
    return type_


def _type(prog: drgn.Program, kind: str, name: str) -> drgn.Type:
    for text in (f"{kind} {name}", name):
        try:
            found = prog.type(text)
        except (LookupError, SyntaxError):
            continue
        while found.kind == drgn.TypeKind.TYPEDEF:
            found = found.type
        if found.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
            return found
    raise UsageError(f"no {kind} {name!r} is known here")


def _member(member: drgn.TypeMember, address: int | None) -> str:
    bits = f":{member.bit_field_size}" if member.bit_field_size else ""
    declared = member.type.type_name() if member.type.type_name() else "struct {...}"
    name = f"{member.name or ''}{bits}"
    return f"  {_place(member.bit_offset, address)} {_declaration(declared, name)};"


def _place(bit_offset: int, address: int | None) -> str:
    offset = bit_offset // 8
    return f"[{offset}]" if address is None else f"[{address + offset:x}]"


def _declaration(type_name: str, name: str) -> str:
    """A member as C writes it: arrays and functions have their name in the middle."""
    for mark in ("(*)", " ["):
        head, found, tail = type_name.partition(mark)
        if found:
            inner = f"(*{name})" if mark == "(*)" else f" {name}["
            return head + inner + tail
    return f"{type_name}{name}" if type_name.endswith("*") else f"{type_name} {name}".rstrip()


def address_of(prog: drgn.Program, text: str) -> int:
    """An address as crash takes it: hexadecimal with or without 0x, or a symbol.

    :raises UsageError: it is neither.
    """
    try:
        return int(text, 16)
    except ValueError:
        pass
    try:
        return int(prog.symbol(text).address)
    except LookupError:
        raise UsageError(f"{text} is no address and no symbol") from None
