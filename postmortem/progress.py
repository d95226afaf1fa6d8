"""One line on a terminal for whatever lasts longer than a second."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import IO

from postmortem.render.clean import clean
from postmortem.steps import beat

PATIENCE_SECONDS = 1.0
"""Nothing is shown before."""
REFRESH_SECONDS = 0.2
BAR = 30
"""Width of the bar in characters."""


class Progress:
    """Call it with ``(stage, done, total)``; it draws by itself, and only on a terminal.

    A thread draws, so a stage that reports nothing is still seen to be at work.
    """

    def __init__(self, file: IO[str], *, wanted: bool = True) -> None:
        self._file = file
        self._wanted = wanted
        self._state = ("reading", 0, 0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._drawn = False

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        self._state = (stage, done, total)
        beat()

    def __enter__(self) -> Progress:
        if self._wanted and self._file.isatty():
            self._thread = threading.Thread(target=self._draw, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._drawn:
            self._put("\r\x1b[K")

    def _draw(self) -> None:
        start = time.monotonic()
        wait = PATIENCE_SECONDS
        while not self._stop.wait(wait):
            self._drawn = True
            self._put("\r" + line(*self._state, time.monotonic() - start) + "\x1b[K")
            wait = REFRESH_SECONDS

    def _put(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):  # the terminal is gone: nothing to tell anybody
            self._stop.set()


def line(stage: str, done: int, total: int, seconds: float) -> str:
    """``[######      ]  42%  stacks  (3 s)``; without a total only the stage."""
    name = clean(stage)[:40]
    if total <= 0:
        return f"{name} ... ({seconds:.0f} s)"
    share = min(max(done / total, 0.0), 1.0)
    bar = "#" * int(share * BAR)
    return f"[{bar:<{BAR}}] {share:4.0%}  {name}  ({seconds:.0f} s)"
