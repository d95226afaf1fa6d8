"""Crashes on other machines, by URL through fsspec: file://, http://, s3://, ssh:// ...

What fsspec needs for a protocol (s3fs, sshfs ...) is installed beside it:
``pip install 'postmortem[s3]'``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from postmortem.errors import UnreadableInputError
from postmortem.triage.archives import private_folder
from postmortem.triage.tasks import File, Item

_BLOCK = 4 << 20
MAX_BYTES = 1 << 40
"""Nothing bigger than 1 TiB is fetched; the free space of the disk ends it sooner."""


def listed(url: str) -> Iterator[Any]:
    """All files below a URL, as the server lists them."""
    from postmortem.triage.inputs import refused

    try:
        system, path = _opened(url)
        one = system.isfile(path)
        files = {path: system.info(path)} if one else system.find(path, detail=True)
    except Exception as error:  # each protocol has its own
        yield refused(url, f"it can't be listed: {_said(error)}")
        return
    if not files:
        yield refused(url, "nothing is there")
    folders: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for name, about in sorted(files.items()):
        folders[name.rpartition("/")[0]].append((name, about))
    for _, members in sorted(folders.items()):
        yield from _items(system, members)


def _items(system: Any, members: list[tuple[str, Any]]) -> Iterator[Item]:
    """The files of a folder; a dump and the log beside it are one."""
    from postmortem.triage.inputs import _ASIDE, _DUMP, _LOG

    names = [name.rpartition("/")[2] for name, _ in members]
    dumps = [name for name in names if _DUMP.match(name)]
    logs = [name for name in names if _LOG.match(name)]
    rest = [n for n in names if n not in dumps and n not in logs and not _ASIDE.match(n)]
    mine = [_one(system, name, about) for name, about in members]
    if len(dumps) != 1 or not logs or rest:
        yield from mine
        return
    together = [item for item, name in zip(mine, names, strict=True) if name in (*dumps, *logs)]
    yield Item(
        opened="",
        names=tuple(item.names[0] for item in together),
        paths=tuple(item.paths[0] for item in together),
        files=tuple(item.files[0] for item in together),
        remote=True,
    )


def _one(system: Any, name: str, about: Any) -> Item:
    url = system.unstrip_protocol(name)
    size = about.get("size")
    return Item(url, (url,), (url,), (File(int(size or 0), _changed(about)),), remote=True)


def _changed(about: Any) -> int:
    """A number that is another one when the file is: of its time, or what the server says."""
    said = "".join(
        str(about.get(key) or "") for key in ("ETag", "etag", "LastModified", "mtime", "size")
    )
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=7).digest(), "big")


@contextmanager
def fetched(item: Item) -> Iterator[Item]:
    """The item with its files here, as long as it is needed."""
    with private_folder() as folder:
        room = shutil.disk_usage(folder).free - (1 << 30)
        here = []
        for number, url in enumerate(item.paths):
            name = url.rstrip("/").rpartition("/")[2] or "file"
            safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[:100]
            # Only a folder of several files is known by names.
            target = Path(folder) / (safe if len(item.paths) > 1 else f"{number}-{safe}")
            room -= _fetch(url, target, min(room, MAX_BYTES))
            here.append(str(target))
        opened = folder if len(here) > 1 else here[0]
        yield replace(item, opened=opened, paths=tuple(here))


def _fetch(url: str, target: Path, limit: int) -> int:
    done = 0
    try:
        system, path = _opened(url)
        with system.open(path, "rb") as source, target.open("xb") as file:
            while block := source.read(_BLOCK):
                done += len(block)
                if done > limit:
                    raise UnreadableInputError(
                        f"{url} is larger than the room here: set TMPDIR to a larger disk"
                    )
                file.write(block)
    except UnreadableInputError:
        raise
    except Exception as error:  # each protocol has its own
        raise UnreadableInputError(f"{url} can't be fetched: {_said(error)}") from None
    return done


def _opened(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UnreadableInputError("URLs need fsspec: pip install 'postmortem[remote]'") from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    options = {"endpoint_url": endpoint} if endpoint and url.startswith("s3://") else {}
    system, path = url_to_fs(url, **options)
    return system, path


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
