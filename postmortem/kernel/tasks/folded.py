"""The stacks of a machine sorted for a picture: by state, and by what a task waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from postmortem.kernel.tasks.stack_groups import StackGroup, TaskFrames
from postmortem.model.stacks import FoldedStack, FoldedStacks
from postmortem.rules.waits import How, WaitKind

_STATES = {
    "R": ("running", "on a CPU"),
    "D": ("blocked", "D: uninterruptible sleep"),
    "S": ("sleeping", "S: sleep"),
    "I": ("idle", "I: idle kernel thread"),
    "T": ("other", "T: stopped"),
    "t": ("other", "t: traced"),
    "X": ("other", "X: dead"),
    "Z": ("other", "Z: zombie"),
    "P": ("other", "P: parked"),
}
"""Hue and words of each state."""
_MAX_HOVER = 20
"""Names that are handed on for a box of the picture."""
_Key = tuple[str, str, bool, int]
"""State, what it does on a CPU, whether it is the dying one, number of its group."""
_ORDER = ("D", "R", "S", "T", "t", "Z", "X", "P", "I")


def reason(group: StackGroup, member: TaskFrames) -> str:
    """What a task waits for, in a word; where it runs if it is on a CPU."""
    if member.on_cpu:
        return "idle" if member.idle else "runs"
    if not group.frames:
        return "no stack"
    how = How(group.functions)
    if how.primitive is WaitKind.PREEMPTED:
        return str(how.primitive)
    return str(how.reason or how.primitive or "not known")


def folded(groups: Sequence[StackGroup], dying: int | None = None) -> FoldedStacks:
    """All tasks of the groups, those of one group together as far as they are in one state.

    :param dying: Address of the task on the CPU that ran panic(); it stands for itself.
    """
    found: dict[_Key, list[TaskFrames]] = {}
    for number, group in enumerate(groups):
        for member in group.members:
            on_cpu = reason(group, member) if member.on_cpu else ""
            key = (_state(member), on_cpu, member.task.address == dying, number)
            found.setdefault(key, []).append(member)
    reasons = [reason(group, group.members[0]) for group in groups]
    return FoldedStacks(
        tuple(
            _folded(key, groups[key[3]], members, reasons[key[3]])
            for key, members in sorted(found.items(), key=_place)
        )
    )


def _folded(key: _Key, group: StackGroup, members: Sequence[TaskFrames], waits: str) -> FoldedStack:
    state, on_cpu, dying, _number = key
    hue, words = _STATES.get(state, ("other", state))
    if state == "R" and not on_cpu:
        hue, words = "waking", "R: waits for a CPU"
    what = on_cpu or waits
    frames = [
        (frame.function or "?") + (f" [{frame.module}]" if frame.module else "")
        for frame in reversed(group.frames)
    ]
    who = Counter(member.task.comm for member in members).most_common(_MAX_HOVER)
    return FoldedStack(
        (words, what),
        tuple(frames) or ("?",),
        len(members),
        "idle" if what == "idle" else hue,
        tuple(who),
        dying,
    )


def _state(member: TaskFrames) -> str:
    return "R" if member.on_cpu else member.task.state


def _place(item: tuple[_Key, Sequence[TaskFrames]]) -> tuple[int, str, int]:
    (state, on_cpu, _dying, _number), members = item
    order = _ORDER.index(state) if state in _ORDER else len(_ORDER)
    return (order, on_cpu, -len(members))
