"""What the kernel knows of its events: fields and print format of each type number.

Source: include/linux/trace_events.h, kernel/trace/trace_events.c. The lists are the dump's own,
so events of probes, of modules and synthetic ones are in them like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import drgn
from drgn.helpers.linux.list import list_for_each_entry

from postmortem.dump.damage import damage, integer, readable
from postmortem.kernel.layout import Layout
from postmortem.kernel.memo import fact
from postmortem.kernel.tasks.stacks import Symbolizer

_MAX_EVENTS = 65536
_MAX_FIELDS = 256
_MAX_TEXT = 65536


@dataclass(frozen=True)
class Field:
    """One member of an event. ``struct ftrace_event_field``"""

    name: str
    type: str
    """As C writes it: ``char[16]``, ``__data_loc char[]``."""
    offset: int
    size: int
    signed: bool
    length: int | None = None
    """Elements of an array as its format file shows them; 0: it shows none, ``None``: those of
    the type (before v6.4, b6c7abd1c28a)."""

    @property
    def is_array(self) -> bool:
        return "[" in self.type and not self.is_located

    @property
    def is_located(self) -> bool:
        """The field says where in the event its data is, and how long."""
        return self.type.startswith(("__data_loc", "__rel_loc"))

    @property
    def is_relative(self) -> bool:
        """The place counts from behind the field."""
        return self.type.startswith("__rel_loc")


@dataclass(frozen=True)
class Syscall:
    """What is known of a system call. ``struct syscall_metadata``"""

    name: str
    arguments: tuple[str, ...]
    user_mask: int | None = None
    """Arguments whose memory is copied into the event; ``None``: this kernel can't do that, and
    shows numbers in another way (since v6.19, bd9ec1b8f2aa)."""
    size_argument: int = -1
    """Which argument tells how much memory that is."""
    is_string: bool = False


@dataclass(frozen=True)
class EventFormat:
    """One type of event. ``struct trace_event_call``"""

    id: int
    system: str
    name: str
    fields: tuple[Field, ...]
    print_fmt: str
    printed_by: str = ""
    """Name of the function that prints it: ``trace_raw_output_sched_switch``, which does
    as ``print_fmt`` says, or one with a way of its own."""
    syscall: Syscall | None = None
    probed: str = ""
    """System and name of the event that an event probe sits on: ``sched.sched_switch``."""

    @property
    def data_fields(self) -> tuple[Field, ...]:
        """Those that are not common to all events."""
        return tuple(one for one in self.fields if not one.name.startswith("common_"))

    def field(self, name: str) -> Field | None:
        return next((one for one in self.fields if one.name == name), None)


class Formats:
    """All formats by type number; each is read when it is first asked for."""

    def __init__(self, common: tuple[Field, ...], read: Mapping[int, Callable[[], EventFormat]]):
        """
        :param read: What reads the format of a number; it may raise what damage raises.
        """
        self.common = common
        self.problems: list[str] = []
        self._read = read
        self._known: dict[int, EventFormat | None] = {}

    def get(self, number: int) -> EventFormat | None:
        """``None`` for a type that no event has (any more), or that can't be read."""
        if number not in self._known:
            found = None
            read = self._read.get(number)
            if read is not None:
                try:
                    found = read()
                except damage() as exc:
                    self.problems.append(f"event type {number} can't be read: {exc}")
            self._known[number] = found
        return self._known[number]

    def all(self) -> list[EventFormat]:
        """Every format, by number."""
        found = (self.get(number) for number in sorted(self._read))
        return [one for one in found if one is not None]


@fact
def event_formats(prog: drgn.Program) -> Formats:
    """Every event that the kernel knew when it died.

    :raises LookupError: this kernel has no events.
    """
    common = tuple(_fields(prog["ftrace_common_fields"].address_of_()))
    kind = prog.type("struct trace_event_call")
    layout = Layout(kind, {"next": "list.next", "type": "event.type"})
    start = drgn.offsetof(kind, "list")
    head = prog["ftrace_events"].address_
    read: dict[int, Callable[[], EventFormat]] = {}
    formats = Formats(common, read)
    at = int(prog.read_u64(head))
    for _ in range(_MAX_EVENTS):
        if at == head:
            break
        call = at - start
        try:
            values = layout.read(prog, call)
        except damage() as exc:
            formats.problems.append(f"the list of events breaks off: {exc}")
            break
        read.setdefault(values["type"], partial(_format_at, prog, call, common))
        at = values["next"]
    return formats


def _format_at(prog: drgn.Program, call: int, common: tuple[Field, ...]) -> EventFormat:
    return _format(prog, drgn.Object(prog, "struct trace_event_call *", call), common)


def _format(prog: drgn.Program, call: drgn.Object, common: tuple[Field, ...]) -> EventFormat:
    name = _name(prog, call)
    # "class" is a word of Python.
    of = call.member_("class")
    system = _text(of.system)
    number = integer(call.event.type)
    printer = readable(lambda: _printer(prog, call)) or ""
    own: tuple[Field, ...] = ()
    syscall, probed = None, ""
    if printer in ("print_syscall_enter", "print_syscall_exit"):
        meta = drgn.Object(prog, "struct syscall_metadata *", call.data.value_())
        syscall = _syscall(meta)
        if printer == "print_syscall_enter":
            own = tuple(_fields(meta.enter_fields.address_of_()))
    elif printer == "print_eprobe_event":
        probed = readable(lambda: _probed(prog, call)) or ""
    if not own:
        own = tuple(_fields(of.fields.address_of_()))
    return EventFormat(
        id=number,
        system=system,
        name=name,
        fields=(*common, *own),
        print_fmt=readable(lambda: _text(call.print_fmt)) or "",
        printed_by=printer,
        syscall=syscall,
        probed=probed,
    )


def _name(prog: drgn.Program, call: drgn.Object) -> str:
    """``trace_event_name()``: a tracepoint's, or its own."""
    flags = integer(call.flags)
    custom = _flag(prog, "CUSTOM")
    if not flags & custom and flags & _flag(prog, "TRACEPOINT"):
        return _text(call.tp.name)
    return _text(call.member_("name"))


def _flag(prog: drgn.Program, name: str) -> int:
    bit = readable(lambda: int(prog.constant(f"TRACE_EVENT_FL_{name}_BIT")))
    return 1 << bit if bit is not None else 0


def _printer(prog: drgn.Program, call: drgn.Object) -> str:
    symbol = Symbolizer.of(prog).symbol(call.event.funcs.trace.value_())
    return symbol.function if symbol is not None else ""


def _syscall(meta: drgn.Object) -> Syscall:
    count = min(integer(meta.nb_args), 6)
    arguments = readable(lambda: tuple(_text(meta.args[n]) for n in range(count))) or ()
    if not meta.type_.type.has_member("user_mask"):
        return Syscall(_text(meta.member_("name")), arguments)
    return Syscall(
        _text(meta.member_("name")),
        arguments,
        integer(meta.user_mask) & 0xFFFF,
        integer(meta.user_arg_size),
        bool(integer(meta.user_arg_is_str)),
    )


def _probed(prog: drgn.Program, call: drgn.Object) -> str:
    """The event that an event probe sits on."""
    event = drgn.container_of(call, "struct trace_probe_event", "call")
    probe = event.probes.address_of_()
    first = next(iter(list_for_each_entry("struct trace_probe", probe, "list")))
    on = drgn.container_of(first, "struct trace_eprobe", "tp").event
    return f"{_text(on.member_('class').system)}.{_name(prog, on)}"


def _fields(head: drgn.Object) -> Iterator[Field]:
    """The list is built from its end: ``list_add()``."""
    walk = list_for_each_entry("struct ftrace_event_field", head, "link")
    found = []
    for one in islice(walk, _MAX_FIELDS):
        one = one.read_()
        found.append(
            Field(
                name=_text(one.member_("name")),
                type=_text(one.member_("type")),
                offset=integer(one.offset),
                size=integer(one.size),
                signed=bool(one.is_signed),
                length=readable(lambda one=one: integer(one.len)),  # type: ignore[misc]
            )
        )
    return reversed(found)


def _text(pointer: drgn.Object) -> str:
    if not pointer:
        return ""
    raw: bytes = pointer.prog_.read_c_string(pointer.value_(), max_size=_MAX_TEXT)
    return raw.decode("utf-8", "replace")
