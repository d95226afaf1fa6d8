"""A pile with hostile inputs: each is recorded with a reason, and all others are analysed."""

from __future__ import annotations

import os
import random
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from postmortem.triage.store import Store
from postmortem.triage.tasks import Limits
from tests.triage.kills import many_logs
from tests.triage.piles import oops, triage

DUMP = Path(__file__).parents[2] / "corpus" / "dumps" / "6.12-null-chain.vmcore.zst"


@pytest.mark.slow
def test_a_pile_with_one_hostile_input_in_ten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pile, inside = tmp_path / "pile", tmp_path / "unpack"
    pile.mkdir()
    inside.mkdir()
    monkeypatch.setenv("TMPDIR", str(inside))
    many_logs(pile, 90)
    hostile = _hostile(pile, tmp_path)
    before = set(tmp_path.iterdir())
    with Store.open(tmp_path / "crashes.db") as store:
        triage(store, pile, jobs=2, limits=Limits(seconds=240, memory_bytes=2 << 30))
        names = {name for item in store.inputs(limit=1000) for name in store.files(item.id)}
        names |= {item.name for item in store.inputs(limit=1000)}
        analysed = [item for item in store.inputs(limit=1000) if item.state == "analysed"]
        assert sum(item.kind == "log" for item in analysed) >= 90
        for path in hostile:
            assert any(str(path) in name for name in names), path
        for item in store.inputs(limit=1000):
            assert item.state == "analysed" or item.reason
            assert item.reason is None or item.reason.isprintable()
    new = set(tmp_path.iterdir()) - before
    assert {path.name.partition("-")[0] for path in new} <= {"crashes.db"}
    assert list(inside.iterdir()) == []


def _hostile(pile: Path, outside: Path) -> list[Path]:
    """Ten of them."""
    chance = random.Random(7)
    data = DUMP.read_bytes()
    cut = pile / "cut.vmcore.zst"
    cut.write_bytes(data[: len(data) // 3])
    flipped = pile / "flipped.vmcore.zst"
    wrong = bytearray(data)
    for _ in range(40):
        wrong[chance.randrange(len(wrong))] ^= 1 << chance.randrange(8)
    flipped.write_bytes(wrong)
    zeros = pile / "zeros.vmcore"
    with zeros.open("wb") as file:
        file.truncate(10 << 30)
    header = pile / "header.vmcore"  # an ELF header, then nothing but zeros
    with header.open("wb") as file:
        file.write(b"\x7fELF\2\1\1" + bytes(9) + b"\4\0\x3e\0\1\0\0\0")
        file.truncate(10 << 30)
    bomb = pile / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            with archive.open(f"{number}.log", "w") as member:
                for _ in range(512):
                    member.write(bytes(1 << 20))
    links = pile / "links.tar"
    with tarfile.open(links, "w") as tar:
        link = tarfile.TarInfo("etc")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
        text = oops("acme_tar").encode()
        member_info = tarfile.TarInfo("etc/passwd.log")
        member_info.size = len(text)
        tar.addfile(member_info, BytesIO(text))
    noise = pile / "noise.log"
    noise.write_bytes(chance.randbytes(1 << 20))
    out = pile / "out.log"
    secret = outside / "secret.log"
    secret.write_text(oops("acme_secret"))
    out.symlink_to(secret)
    loop = pile / "loop"
    loop.symlink_to(loop)
    pipe = pile / "pipe"
    os.mkfifo(pipe)
    (pile / "new\nline\x1b[2J.log").write_text(oops("acme_name"))
    return [cut, flipped, zeros, header, bomb, links, noise, out, loop, pipe]
