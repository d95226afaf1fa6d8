"""The last events that ftrace recorded before the failure."""

from __future__ import annotations

from collections.abc import Iterator

from postmortem.judge.timeline import timeline as told
from postmortem.model.findings import Block
from postmortem.plugin import Context, plugin


@plugin("timeline", needs=("log",))
def timeline(ctx: Context) -> Iterator[Block]:
    """Show what ftrace recorded last before the failure, on its CPU and for its task.

    `postmortem trace` prints all that was recorded.
    """
    yield from told(ctx)
