"""A new bug is told to a command and a server; nothing of a crash becomes a command."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from postmortem.errors import UsageError
from postmortem.triage import notify
from postmortem.triage.notify import MAX_NOTICES, Notifier, notices
from postmortem.triage.rows import Bucket
from postmortem.triage.store import Store
from tests.triage.stores import case, outcome

EVIL = "x'; touch /tmp/evil; $(touch /tmp/evil) `touch /tmp/evil` \x1b[31m\n{}"


@pytest.fixture
def buckets(tmp_path: Path) -> list[Bucket]:
    store = Store.open(tmp_path / "x.db")
    told = [outcome("evil", case("evil", shown=EVIL)), outcome("b", case("other"))]
    store.add(store.begin_run([]), told)
    return store.buckets()


class Server(http.server.BaseHTTPRequestHandler):
    got: list[tuple[str, dict[str, object]]]
    answers: list[tuple[int, str]]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.got.append((self.path, json.loads(self.rfile.read(length))))
        status, location = self.answers.pop(0) if self.answers else (200, "")
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Server]]]:
    handler = type("Handler", (Server,), {"got": [], "answers": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}", handler
        found.shutdown()
        thread.join()


def test_a_command_gets_the_bug_on_its_input_and_nothing_in_its_words(
    buckets: list[Bucket], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" "$POSTMORTEM_EVENT" >>{out}\ncat >>{out}\n')
    script.chmod(0o755)
    assert Notifier.of(f"{script} one 'two three' $HOME", None).tell(buckets[:1]) == []
    first, event, data = out.read_text().splitlines()
    assert first == "one two three $HOME"
    assert event == "new-bug"
    told = json.loads(data)
    assert "touch /tmp/evil" in told["title"]
    assert told["title"].isprintable()


@pytest.mark.parametrize(
    ("command", "why"), [("false", "ended with 1"), ("/nowhere/x", "No such file")]
)
def test_a_command_that_fails_is_a_sentence(buckets: list[Bucket], command: str, why: str) -> None:
    (sentence,) = Notifier.of(command, None).tell(buckets[:1])
    assert why in sentence


def test_a_command_that_hangs_is_ended(
    buckets: list[Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "COMMAND_SECONDS", 0.2)
    (sentence,) = Notifier.of("sleep 60", None).tell(buckets[:1])
    assert "more than 0.2 s" in sentence


def test_a_server_gets_the_bug(buckets: list[Bucket], server: tuple[str, type[Server]]) -> None:
    where, handler = server
    assert Notifier.of(None, f"{where}/hook").tell(buckets) == []
    assert [path for path, _ in handler.got] == ["/hook", "/hook"]
    assert {told["bucket"] for _, told in handler.got} == {bucket.id for bucket in buckets}


def test_a_server_that_fails_is_asked_once_more(
    buckets: list[Bucket], server: tuple[str, type[Server]]
) -> None:
    where, handler = server
    handler.answers[:] = [(503, "")]
    assert Notifier.of(None, where).tell(buckets[:1]) == []
    handler.answers[:] = [(404, "")]
    (sentence,) = Notifier.of(None, where).tell(buckets[:1])
    assert "the server said 404" in sentence
    assert len(handler.got) == 3


def test_a_server_leads_nowhere_else(
    buckets: list[Bucket], server: tuple[str, type[Server]]
) -> None:
    where, handler = server
    handler.answers[:] = [(302, f"{where}/elsewhere"), (307, "file:///etc/passwd")]
    assert len(Notifier.of(None, where).tell(buckets)) == 2
    assert {path for path, _ in handler.got} == {"/"}


def test_nobody_there_is_a_sentence(buckets: list[Bucket]) -> None:
    (sentence,) = Notifier.of(None, "http://127.0.0.1:9/").tell(buckets[:1])
    assert "refused" in sentence


def test_a_flood_is_one_notice(buckets: list[Bucket]) -> None:
    found = list(notices(buckets * MAX_NOTICES))
    assert len(found) == MAX_NOTICES + 1
    assert found[-1]["count"] == MAX_NOTICES


@pytest.mark.parametrize(
    ("command", "webhook"),
    [("'", None), ("  ", None), (None, "file:///etc/passwd"), (None, "ftp://x/"), (None, "http:x")],
)
def test_what_makes_no_sense_is_a_sentence(command: str | None, webhook: str | None) -> None:
    with pytest.raises(UsageError):
        Notifier.of(command, webhook)
