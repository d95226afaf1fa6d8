"""Files of tracefs besides the buffers, as ``cat`` would have shown them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import drgn

from postmortem.trace.buffers import TraceArray, trace_arrays
from postmortem.trace.probes import kprobe_profile, kprobes_blacklist, kprobes_list
from postmortem.trace.profile import profile_lines
from postmortem.trace.stack_tracer import stack_max_size, stack_trace

_PROFILE = re.compile(r"trace_stat(?:/function(\d{1,5}))?")


def _max_size(prog: drgn.Program) -> Iterator[str]:
    yield f"{stack_max_size(prog)}\n"


FILES: dict[str, Callable[[drgn.Program], Iterator[str]]] = {
    "stack_max_size": _max_size,
    "stack_trace": stack_trace,
    "kprobes/list": kprobes_list,
    "kprobes/blacklist": kprobes_blacklist,
    "kprobe_profile": kprobe_profile,
}
"""By the name below ``/sys/kernel/tracing``, or ``/sys/kernel/debug``."""
OF_INSTANCES: dict[str, Callable[[TraceArray], Iterator[str]]] = {}
"""Those that each instance has."""
KNOWN = (*FILES, "trace_stat/functionN", "tracing_max_latency")


def tracing_max_latency(array: TraceArray) -> Iterator[str]:
    """Microseconds of the longest section or delay that a latency tracer saw."""
    found = int(array.obj.max_latency)
    found -= (found >> 63) << 64
    # tracing_nsecs_read(): -1 is what was never set.
    yield f"{found if found == -1 else found // 1000}\n"


OF_INSTANCES["tracing_max_latency"] = tracing_max_latency


def is_known(name: str) -> bool:
    """Whether it is one of those that can be shown."""
    return name in FILES or name in OF_INSTANCES or _PROFILE.fullmatch(name) is not None


def file_lines(prog: drgn.Program, name: str, array: TraceArray | None = None) -> Iterator[str]:
    """The lines of a file.

    :param array: Of this instance, of the main one if not given.
    :raises KeyError: it is none of those that are known.
    :raises LookupError: this kernel has not what it shows.
    """
    profile = _PROFILE.fullmatch(name)
    if profile is not None:
        return profile_lines(prog, int(profile[1]) if profile[1] else None)
    if name in OF_INSTANCES:
        return OF_INSTANCES[name](array or trace_arrays(prog)[0])
    return FILES[name](prog)
