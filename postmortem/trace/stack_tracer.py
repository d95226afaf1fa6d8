"""What the stack tracer found: the deepest stack since it was turned on.

Source: kernel/trace/trace_stack.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import drgn

from postmortem.dump.damage import readable
from postmortem.kernel.tasks.trace import Names

_MAX_ENTRIES = 500
"""``STACK_TRACE_ENTRIES``"""
_DISABLED = """\
#
#  Stack tracer disabled
#
# To enable the stack tracer, either add 'stacktrace' to the
# kernel command line
# or 'echo 1 > /proc/sys/kernel/stack_tracer_enabled'
#
"""


def stack_max_size(prog: drgn.Program) -> int:
    """Bytes of the deepest stack.

    :raises LookupError: this kernel has no stack tracer.
    """
    return int(prog.read_u64(prog.symbol("stack_trace_max_size").address))


def stack_trace(prog: drgn.Program) -> Iterator[str]:
    """The lines of ``stack_trace``.

    :raises LookupError: this kernel has no stack tracer.
    """
    count = _u32(prog, "stack_trace_nr_entries")
    if count > _MAX_ENTRIES:
        raise LookupError(f"the stack tracer claims {count} entries, more than it has room for")
    at = prog.symbol("stack_dump_trace").address
    calls = struct.unpack(f"<{count}Q", prog.read(at, count * 8))
    at = prog.symbol("stack_trace_index").address
    depths = (*struct.unpack(f"<{count}I", prog.read(at, count * 4)), 0)
    yield f"        Depth    Size   Location    ({count} entries)\n"
    yield "        -----    ----   --------\n"
    enabled = readable(lambda: _u32(prog, "stack_tracer_enabled"))
    if enabled == 0 and not stack_max_size(prog):
        yield _DISABLED
    names = Names(prog)
    for number, (call, depth) in enumerate(zip(calls, depths, strict=False)):
        size = depth - depths[number + 1]
        yield f"{number:3}) {depth:8}   {size:5}   {names.symbol(call)}\n"


def _u32(prog: drgn.Program, name: str) -> int:
    return int(prog.read_u32(prog.symbol(name).address))
