"""Values and types: ``p`` with C expressions, offsets of members."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import drgn

from postmortem.dump.damage import damage
from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.shell import crash
from postmortem.shell.addresses import addressed
from postmortem.shell.command import PASSED_ON, command

if TYPE_CHECKING:
    from postmortem.shell.session import Session

# ``runqueues:0``, ``runqueues:a``: one CPU's copies, which is crash's own syntax.
_PER_CPU = re.compile(r"[A-Za-z_][\w.\[\]]*:(?:a|all|[\d,-]+)?")
_MAX_CHARS = 1 << 20
_MAX_NESTED = 8
_COMPOUND = (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION)


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

    value = whole_array(evaluate(session.prog, expression))
    if _is_per_cpu(session.prog, value):
        _copies(session, expression, value)
        return value
    text = value.format_(integer_base=base or radix, dereference=False)
    session.out.write(_printable(f"{expression} = {text[:_MAX_CHARS]}") + "\n")
    return value


def whole_array(value: drgn.Object) -> drgn.Object:
    """An array that is declared without a length (``linux_banner``) is as long as its symbol."""
    type_ = value.type_
    if type_.kind != drgn.TypeKind.ARRAY or type_.length or value.address_ is None:
        return value
    try:
        symbol = value.prog_.symbol(value.address_)
        length = min(symbol.size, _MAX_CHARS) // drgn.sizeof(type_.type)
        if drgn.sizeof(type_.type) == 1:
            # Its symbol ends where the next one begins, which may be far behind the text.
            length = min(length, len(value.string_()) + 1)
    except (LookupError, TypeError):
        return value
    if symbol.address != value.address_ or not length:
        return value
    array = value.prog_.array_type(type_.type, length)
    return drgn.Object(value.prog_, array, address=value.address_)


def _is_per_cpu(prog: drgn.Program, value: drgn.Object) -> bool:
    """Whether a variable is one of each CPU's own: then its symbol is only an offset."""
    try:
        size = prog.symbol("__per_cpu_end").address - prog.symbol("__per_cpu_start").address
        start = prog.symbol("__per_cpu_start").address
    except LookupError:
        return False
    return value.address_ is not None and start <= value.address_ < start + size


def _copies(session: Session, name: str, value: drgn.Object) -> None:
    from drgn.helpers.linux.percpu import per_cpu_ptr

    from postmortem.kernel.system import present_cpus

    out = ["PER-CPU DATA TYPE:", f"  {value.type_.type_name()} {name};", "PER-CPU ADDRESSES:"]
    for cpu in present_cpus(session.prog):
        out.append(f"  [{cpu}]: {per_cpu_ptr(value.address_of_(), cpu).value_():x}")
    session.out.write("\n".join(map(clean, out)) + "\n")


def _printable(text: str) -> str:
    return "\n".join("\t".join(map(clean, line.split("\t"))) for line in text.split("\n"))


@command("struct", "values", raw=True)
@click.option("-o", "offsets", is_flag=True, help="The offset of each member.")
@click.option("-r", "raw", is_flag=True, help="The memory of the one at an address, as words.")
@click.option("-p", "follow", is_flag=True, help="What members that are pointers point to.")
@click.option("-u", "user", is_flag=True, help="The address is one of the context's program.")
@click.option("-f", "file", is_flag=True, help="The address is a place in the dump's file.")
@click.argument("rest")
def struct(
    session: Session, offsets: bool, raw: bool, follow: bool, user: bool, file: bool, rest: str
) -> Any:
    """Show a struct: its declaration, or the one at an address.

    \b
    struct task_struct                     the declaration
    struct -o task_struct                  with the offset of each member
    struct -o task_struct.comm ff110001    with the address of each member
    struct task_struct.comm,pid ff110001   members of the one at an address

    help * tells crash's other options.
    """
    if raw:
        return _raw(session, rest)
    if user or file:
        return _copied(session, rest, from_file=file)
    if follow:
        return _followed(session, rest)
    return _struct(session, "struct", offsets, rest)


def _copied(session: Session, rest: str, *, from_file: bool) -> drgn.Object:
    """A struct whose bytes lie in a program's memory, or somewhere in the dump's file."""
    type_, chosen, address = _one_struct(session, rest)
    size = type_.size or 0
    if from_file:
        with Path(session.case.input.path).open("rb") as opened:
            opened.seek(address)
            data = opened.read(size)
        if len(data) < size:
            raise UsageError(f"struct -f: the file ends before {address + size:x}")
    else:
        from drgn.helpers.linux.mm import access_process_vm

        from postmortem.shell.tasks import task_of

        data = access_process_vm(task_of(session), address, size)
    value = drgn.Object.from_bytes_(session.prog, type_, data)
    _write_members(session, value, chosen)
    return value


def _followed(session: Session, rest: str) -> drgn.Object:
    type_, chosen, address = _one_struct(session, rest)
    value = drgn.Object(session.prog, type_, address=address)
    for name in chosen or [member.name for member in type_.members or () if member.name]:
        member = value.member_(name)
        shown = member.format_(integer_base=session.radix, dereference=False)
        session.out.write(_printable(f"{name} = {shown[:_MAX_CHARS]}") + "\n")
        if member.type_.unaliased_kind() == drgn.TypeKind.POINTER and member:
            try:
                target = member[0].format_(integer_base=session.radix, dereference=False)
            except damage() as exc:
                target = f"(not in the dump: {exc})"
            except TypeError:  # void, a function
                continue
            session.out.write(_printable(f"-> {target[:_MAX_CHARS]}") + "\n")
    return value


def _one_struct(session: Session, rest: str) -> tuple[drgn.Type, list[str], int]:
    """The type, the members that were asked for, and the address."""
    words = addressed(session.prog, "struct", rest).split()
    if len(words) != 2:
        raise UsageError("struct -p, -u and -f take a type and an address")
    name, _, chosen = words[0].partition(".")
    members = [member for member in chosen.split(",") if member]
    type_ = _type(session.prog, "struct", name)
    known = {member.name for member in type_.members or ()}
    if missing := [member for member in members if "." not in member and member not in known]:
        raise UsageError(f"struct {name} has no member {', '.join(missing)}")
    return type_, members, address_of(session.prog, words[1])


def _write_members(session: Session, value: drgn.Object, chosen: list[str]) -> None:
    if not chosen:
        shown = value.format_(integer_base=session.radix, dereference=False)
        session.out.write(_printable(shown[:_MAX_CHARS]) + "\n")
    for name in chosen:
        shown = value.member_(name).format_(integer_base=session.radix, dereference=False)
        session.out.write(_printable(f"{name} = {shown[:_MAX_CHARS]}") + "\n")


def _raw(session: Session, rest: str) -> Any:
    """As crash's ``struct -r``: what ``rd`` shows of so many bytes."""
    words = addressed(session.prog, "struct", rest).split()
    if len(words) != 2:
        raise UsageError("struct -r takes a type and an address")
    size = _type(session.prog, "struct", words[0]).size or 0
    address = address_of(session.prog, words[1])
    return crash.run(session.prog, "rd", f"{address:x} {(size + 7) // 8}", session.out)


@command("whatis", "values", settings=PASSED_ON)
@click.option("-o", "offsets", is_flag=True, help="The offset of each member.")
@click.option("-r", "size", metavar="SIZE", help="All structs of SIZE bytes, or from LOW-HIGH.")
@click.option("-m", "member", metavar="TYPE", help="All structs with a member of this type.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def whatis(
    session: Session, offsets: bool, size: str | None, member: str | None, rest: tuple[str, ...]
) -> Any:
    """Say what a type or variable is declared as, or find structs by size or member."""
    if size is not None or member is not None:
        _find_structs(session, size, member)
        return None
    if offsets:
        return _struct(session, "struct", True, " ".join(rest))
    if rest and rest[0] in ("struct", "union") and len(rest) == 2:
        # As drgn takes it: one word.
        return crash.run(session.prog, rest[0], rest[1], session.out)
    return crash.run(session.prog, "whatis", " ".join(rest), session.out)


def _find_structs(session: Session, size: str | None, member: str | None) -> None:
    from postmortem.dump.selfdescribe import names_of_structs

    low, high = _sizes(size) if size is not None else (0, 1 << 62)
    wanted = member.removeprefix("struct ").removeprefix("union ") if member else None
    session.out.write("  SIZE  TYPE\n")
    for name in names_of_structs(session.prog):
        for keyword in ("struct", "union"):
            try:
                type_ = session.prog.type(f"{keyword} {name}")
                fits = low <= (type_.size or 0) <= high and (
                    wanted is None or any(_names(each, wanted) for each in type_.members or ())
                )
            except (LookupError, SyntaxError):
                continue
            if fits:
                session.out.write(clean(f"{type_.size or 0:6}  {keyword} {name}") + "\n")


def _names(member: drgn.TypeMember, wanted: str) -> bool:
    name = member.type.type_name().removeprefix("struct ").removeprefix("union ")
    return name in (wanted, f"{wanted} *")


def _sizes(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    try:
        return int(low, 0), int(high, 0) if dash else int(low, 0)
    except ValueError:
        raise UsageError(f"whatis -r: {text} is no size and no range of sizes") from None


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
        return crash.run(session.prog, kind, addressed(session.prog, kind, rest), session.out)
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
            out += _member(member, 0, address, 1)
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


def _member(member: drgn.TypeMember, before: int, address: int | None, depth: int) -> list[str]:
    """A member with its offset; an unnamed struct or union with those of its members.

    :param before: Bits from the start of the outermost struct.
    """
    at = before + member.bit_offset
    place = _place(at, address)
    indent = "    " * (depth - 1)
    declared = member.type.type_name()
    inner = member.type
    if "<anonymous>" in declared and inner.kind in _COMPOUND and depth < _MAX_NESTED:
        keyword = "union" if inner.kind == drgn.TypeKind.UNION else "struct"
        lines = [f"  {' ' * len(place)} {indent}{keyword} {{"]
        for each in inner.members or ():
            lines += _member(each, at, address, depth + 1)
        name = f" {member.name}" if member.name else ""
        return [*lines, f"  {' ' * len(place)} {indent}}}{name};"]
    bits = f":{member.bit_field_size}" if member.bit_field_size else ""
    return [f"  {place} {indent}{_declaration(declared, f'{member.name or str()}{bits}')};"]


def _place(bit_offset: int, address: int | None) -> str:
    offset = bit_offset // 8
    place = f"[{offset}]" if address is None else f"[{address + offset:x}]"
    return f"{place:>6}"


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
