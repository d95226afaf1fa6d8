"""Tells somebody of a new bug: a command, a webhook.

What comes from a crash never becomes part of a command line: the command is a list of words
that the user wrote, run without a shell; the bug is a JSON document on its standard input.
Neither may take long, and a flood of new bugs is one notice that says so.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from postmortem.errors import UsageError
from postmortem.render.clean import clean
from postmortem.triage.rows import Bucket

MAX_NOTICES = 20
"""Of one run; the rest is counted in one more."""
COMMAND_SECONDS = 60
WEB_SECONDS = 10
ATTEMPTS = 2


@dataclass(frozen=True)
class Notifier:
    """Whom to tell."""

    command: tuple[str, ...] = ()
    webhook: str = ""

    @staticmethod
    def of(command: str | None, webhook: str | None) -> Notifier:
        """:raises UsageError: one of them makes no sense."""
        words: list[str] = []
        if command:
            try:
                words = shlex.split(command)
            except ValueError as error:
                raise UsageError(f"--command {command!r}: {error}") from None
            if not words:
                raise UsageError("--command names no program")
        if webhook and (
            urlsplit(webhook).scheme not in ("http", "https") or not urlsplit(webhook).netloc
        ):
            raise UsageError(f"--webhook {webhook}: it is no http(s) address")
        return Notifier(tuple(words), webhook or "")

    def tell(self, buckets: Sequence[Bucket]) -> list[str]:
        """Tell of new bugs; a sentence for each notice that did not get through."""
        if not (self.command or self.webhook):
            return []
        return [why for notice in notices(buckets) for why in self._send(notice)]

    def _send(self, notice: dict[str, Any]) -> Iterator[str]:
        data = json.dumps(notice).encode()
        for what, send in (("command", self._run), ("webhook", self._post)):
            why = send(data) if getattr(self, what) else ""
            if why:
                yield f"the {what} was not told of {notice['title']}: {why}"

    def _run(self, data: bytes) -> str:
        try:
            done = subprocess.run(
                self.command,
                input=data,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=COMMAND_SECONDS,
                check=False,
                env={**os.environ, "POSTMORTEM_EVENT": "new-bug"},
            )
        except subprocess.TimeoutExpired:
            return f"it took more than {COMMAND_SECONDS} s"
        except OSError as error:
            return error.strerror or str(error)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            return f"it ended with {done.returncode} {clean(said[:200])}".strip()
        return ""

    def _post(self, data: bytes) -> str:
        headers = {"Content-Type": "application/json", "User-Agent": "postmortem"}
        why = ""
        for _ in range(ATTEMPTS):
            request = urllib.request.Request(self.webhook, data, headers)
            try:
                with _opener().open(request, timeout=WEB_SECONDS):
                    return ""
            except urllib.error.HTTPError as error:
                why = f"the server said {error.code}"
                if error.code < 500:
                    break
            except (OSError, ValueError) as error:
                why = clean(str(getattr(error, "reason", error))[:200])
        return why


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What a server answers leads nowhere else: only the address that was named is told."""

    def redirect_request(self, *_args: object, **_names: object) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)


def notices(buckets: Sequence[Bucket]) -> Iterator[dict[str, Any]]:
    """One document for each bug, and one for all that are too many."""
    for bucket in buckets[:MAX_NOTICES]:
        yield {
            "event": "came-back" if bucket.successor_of else "new-bug",
            "bucket": bucket.id,
            "title": clean(bucket.shown),
            "kind": bucket.kind,
            "function": bucket.function,
            "module": bucket.module,
            "crashes": bucket.crashes,
            "hosts": bucket.hosts,
            "first": bucket.first,
            "last": bucket.last,
            "successor_of": bucket.successor_of,
            "best_case": bucket.best_case,
        }
    left = len(buckets) - MAX_NOTICES
    if left > 0:
        yield {"event": "more-new-bugs", "title": f"{left} more new bugs", "count": left}
