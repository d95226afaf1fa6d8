"""``show_all_workqueues()``: what sysrq t prints at its end. Source: kernel/workqueue.c."""

from __future__ import annotations

from collections.abc import Iterator

import drgn

from postmortem.printers.lines import INFO, Line


def show_workqueues(prog: drgn.Program) -> Iterator[Line]:
    """Busy workqueues, then the pools behind them."""
    yield Line("Showing busy workqueues and worker pools:", INFO)
