"""A real PostgreSQL, a real Dask cluster, a real S3 server, all on this machine."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from postmortem.triage import schema as t
from postmortem.triage.dask_workers import DaskWorkers
from postmortem.triage.grouping import Action
from postmortem.triage.run import Triage
from postmortem.triage.store import Store
from postmortem.triage.tasks import Limits
from tests.triage.piles import oops, triage
from tests.triage.stores import case, content, outcome

pytestmark = pytest.mark.slow


@pytest.fixture
def database(postgresql: str) -> Iterator[str]:
    """An empty store on the server."""
    with Store.open(postgresql) as store, store.engine.begin() as connection:
        t.metadata.drop_all(connection)
    yield postgresql


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    folder = tmp_path / "pile"
    folder.mkdir()
    for number in range(120):
        text = oops(f"acme_f{number % 9}", seconds=number + 1, release=f"6.{number % 4}.1")
        (folder / f"{number:04}.log").write_text(text)
    return folder


def test_both_databases_give_the_same(database: str, tmp_path: Path) -> None:
    outcomes = [
        outcome(
            str(number),
            case(
                f"f{number % 5}",
                time=number * 90_000 if number % 3 else None,
                release=f"6.{number % 3}.{number}",
                features=(("host", f"h{number % 4}"), ("module", "x" * 500)),
                incident="i" if number in (3, 8) else None,
                rank=str(number % 4),
            ),
        )
        for number in range(30)
    ]
    with Store.open(database) as server, Store.open(tmp_path / "s.db") as file:
        for store in (server, file):
            store.add(1, outcomes)
            bucket = store.buckets()[0]
            store.decide(Action.FIXED, bucket=bucket.id, releases=["6.1.4"])
        assert content(server) == content(file)
        for order in ("crashes", "last"):
            pages: list[list[str]] = []
            for store in (server, file):
                first = store.buckets(limit=2, order=order)
                rest = store.buckets(limit=9, order=order, after=first[-1])
                pages.append([found.id for found in (*first, *rest)])
            assert pages[0] == pages[1]
        assert server.totals() == file.totals()


def test_two_triages_write_one_database(database: str, pile: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from postmortem.cli import main; main()", "triage"]
    command += ["--jsonl", "--store", database, "-j", "1", str(pile)]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0]
    with Store.open(database) as server, Store.open(tmp_path / "s.db") as file:
        triage(file, pile)
        assert content(server) == content(file)
        assert [run.state for run in server.runs()] == ["complete", "complete"]


def test_a_cluster_gives_the_same_when_a_worker_is_killed(tmp_path: Path, pile: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="pip install .[dask]")
    with (
        Store.open(tmp_path / "here.db") as here,
        Store.open(tmp_path / "there.db") as there,
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
    ):
        triage(here, pile)
        pids = [worker.pid for worker in cluster.workers.values()]
        workers = DaskWorkers(cluster.scheduler_address, Limits())
        killed = threading.Event()

        def kill_one(counted: Any) -> None:
            if counted.analysed > 10 and not killed.is_set():
                killed.set()
                os.kill(pids[0], signal.SIGKILL)

        try:
            run = there.begin_run([])
            Triage(there, workers, run, watch=kill_one).run([str(pile)])
        finally:
            workers.close()
        assert killed.is_set()
        assert content(there) == content(here)


def test_urls_of_files_and_web_servers(tmp_path: Path, pile: Path) -> None:
    pytest.importorskip("fsspec", reason="pip install .[remote]")
    pytest.importorskip("aiohttp", reason="pip install .[remote]")
    handler = partial(_Quiet, directory=str(pile))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Store.open(tmp_path / "s.db") as store:
            counted = triage(
                store,
                f"http://127.0.0.1:{server.server_port}/0001.log",
                f"http://127.0.0.1:{server.server_port}/missing.log",
                f"file://{pile}/0002.log",
            )
            assert (counted.analysed, counted.failed + counted.refused) == (2, 1)
            assert len(store.buckets()) == 2
    finally:
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_bucket_of_an_s3_server(
    tmp_path: Path, pile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs", reason="pip install .[s3]")
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    import s3fs

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system = s3fs.S3FileSystem(endpoint_url=f"http://{host}:{port}")
        system.mkdir("crashes")
        for name in ("0001.log", "0002.log", "0010.log"):
            system.put(str(pile / name), f"crashes/web1/{name}")
        with Store.open(tmp_path / "s.db") as store:
            assert triage(store, "s3://crashes").analysed == 3
            assert triage(store, "s3://crashes").known == 3
            assert sorted(bucket.crashes for bucket in store.buckets()) == [1, 2]
    finally:
        server.stop()


def test_a_database_that_is_not_there_is_one_sentence() -> None:
    pytest.importorskip("psycopg", reason="pip install .[postgresql]")
    from postmortem.triage.engine import StoreError

    with pytest.raises(StoreError, match="can't be used") as raised:
        Store.open("postgresql://nobody:secret@127.0.0.1:1/none")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)
