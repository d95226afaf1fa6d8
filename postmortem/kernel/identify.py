"""What an address is: a symbol, a slab object, a stack, a poison value, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from postmortem.arch import arch_of
from postmortem.dump.damage import damage, tolerated
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.stacks import Symbolizer
from postmortem.rules.poison import poison

_PAGE = 4096


@dataclass(frozen=True)
class SlabObject:
    """An object of the slab allocator."""

    cache: str
    address: int
    size: int
    """Bytes of an object of this cache."""
    allocated: bool | None
    """``None`` if the free lists can't be read."""
    offset: int
    """Of the address that was asked for, from the object's start."""

    def __str__(self) -> str:
        state = {True: "allocated", False: "free", None: "state not known"}[self.allocated]
        return f"slab object {self.address:#x}+{self.offset:#x} of {self.cache} ({state})"


def slab_object(prog: drgn.Program, address: int) -> SlabObject | None:
    """The slab object that holds ``address``, ``None`` if none does or it can't be told."""
    from drgn.helpers.linux.slab import slab_object_info

    if not arch_of(prog).is_kernel(address):
        return None
    try:
        info = slab_object_info(prog, address)
    except damage():
        # A corrupted free list is what one looks for here; the object can't be told.
        return None
    if info is None or not info.slab_cache:
        return None
    try:
        name = info.slab_cache.name.string_().decode("utf-8", "replace")
        size = int(info.slab_cache.object_size.value_())
    except damage():
        return None
    return SlabObject(name, info.address, size, info.allocated, address - info.address)


def identify(prog: drgn.Program, value: int) -> str | None:
    """Say in a few words what a register's value is; ``None`` for a plain number."""
    if value < _PAGE:
        return None
    found = poison(value)
    if found is not None:
        return found.meaning
    if not arch_of(prog).is_kernel(value):
        return None
    symbol = Symbolizer.of(prog).symbol(value)
    if symbol is not None:
        module = f" [{symbol.module}]" if symbol.module else ""
        return f"{symbol.function}+{symbol.offset:#x}{module}"
    slab = slab_object(prog, value)
    if slab is not None:
        return str(slab)
    return _task_stack(prog, value)


def _task_stack(prog: drgn.Program, value: int) -> str | None:
    from postmortem.kernel.tasks.tasks import all_tasks

    for task, low, high in stack_ranges(prog):
        if low <= value < high:
            owner = all_tasks(prog).by_address[task]
            return f"stack of task {owner.pid} ({owner.comm})+{value - low:#x}"
    return None


@fact
def stack_ranges(prog: drgn.Program) -> list[tuple[int, int, int]]:
    """``(task address, lowest byte, end)`` of every task's kernel stack."""
    from postmortem.kernel.tasks.tasks import all_tasks

    found: list[tuple[int, int, int]] = []
    with tolerated():
        offset = drgn.offsetof(prog.type("struct task_struct"), "stack")
        size = int(prog["THREAD_SIZE"])
        for task in all_tasks(prog).tasks:
            with tolerated():
                low = prog.read_u64(task.address + offset)
                if low:
                    found.append((task.address, low, low + size))
    return found


def members_at(
    prog: drgn.Program, module: str, offset: int, size: int, limit: int = 4
) -> list[str]:
    """``struct.member`` of each struct that ``module`` declares with a scalar there.

    For a pointer whose type is not known: a module's own structs are few, so
    the offset often leaves one. An empty list if more than ``limit`` would fit.

    :param offset: Bytes from the start of the struct.
    :param size: Bytes that are accessed there.
    """
    from postmortem.dump.selfdescribe import structs_of_module

    found = []
    for struct in structs_of_module(prog, module):
        name = member_at(struct, offset) if offset < (struct.size or 0) else None
        scalar = type_at(struct, offset) if name else None
        if scalar is not None and _sizeof(scalar) == size:
            found.append(f"{struct.type_name()}.{name}")
    return found if len(found) <= limit else []


def type_at(type_: drgn.Type, offset: int, depth: int = 6) -> drgn.Type | None:
    """Type of the scalar member that starts ``offset`` bytes into a struct; a union's first."""
    resolved = type_.unaliased()
    if resolved.kind == drgn.TypeKind.ARRAY and depth:
        size = _sizeof(resolved.type)
        return type_at(resolved.type, offset % size, depth - 1) if size else None
    if resolved.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
        return type_ if offset == 0 else None
    for member in (resolved.members or ()) if depth else ():
        start = member.bit_offset // 8
        if start <= offset < start + _sizeof(member.type):
            found = type_at(member.type, offset - start, depth - 1)
            if found is not None:
                return found
    return None


def _sizeof(type_: drgn.Type) -> int:
    """Bytes; 0 for what has no size."""
    try:
        return int(drgn.sizeof(type_))
    except TypeError:
        return 0


def member_at(type_: drgn.Type, offset: int, depth: int = 6) -> str | None:
    """The member of a struct that starts at ``offset`` bytes: ``"lock.owner"``.

    A union gives its first member. ``None`` if the offset lies outside, or in
    the middle of a scalar.
    """
    if depth == 0:
        return None
    resolved = type_.unaliased()
    if resolved.kind == drgn.TypeKind.ARRAY:
        return _element_at(resolved, offset, depth)
    if resolved.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
        return "" if offset == 0 else None
    if not resolved.is_complete() or resolved.members is None:
        return None
    for member in resolved.members:
        start = member.bit_offset // 8
        if start <= offset < start + _sizeof(member.type):
            inner = member_at(member.type, offset - start, depth - 1)
            if inner is None:
                continue
            path = ".".join(part for part in (member.name, inner) if part).replace(".[", "[")
            # The start of an array is the array.
            return path.removesuffix("[0]") if offset == start else path
    return None


def _element_at(array: drgn.Type, offset: int, depth: int) -> str | None:
    size = _sizeof(array.type)
    if not size:
        return None
    inner = member_at(array.type, offset % size, depth - 1)
    if inner is None:
        return None
    return f"[{offset // size}]" + (f".{inner}" if inner else "")
